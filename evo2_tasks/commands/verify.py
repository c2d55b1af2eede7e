"""The command ``verify``: whether a checkpoint gives its known values on this device."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate

from evo2_tasks.config.resolve import ModelSettings
from evo2_tasks.errors import InputError
from evo2_tasks.evo2.checkpoints import layer_digests, read_release
from evo2_tasks.evo2.modeling import Evo2ForCausalLM
from evo2_tasks.evo2.published import find_parts
from evo2_tasks.io.files import write_json
from evo2_tasks.runtime.devices import device_class, devices_of
from evo2_tasks.runtime.models import LoadedModel, open_model
from evo2_tasks.verification.comparison import compare, describe_files, differing_files, measure
from evo2_tasks.verification.expected import (
    NOT_VERIFIED,
    Arithmetic,
    Check,
    Expected,
    dump_expected,
    published_sequences,
    read_expected,
    read_published,
)

logger = logging.getLogger(__name__)

# Bands of the values of a user's own model, nats per token and share of tokens. The first of each
# pair allows for other threads and devices. The second allows for another arithmetic: in the golden
# checkpoints with FP8, bfloat16 changes a score by up to 0.047, a loss by 0.009 and an accuracy by
# 0.0014, and FP8 off changes a score by 0.075 and a loss by 0.023.
OWN_BANDS = {
    "float32": {"score": (1e-4, 0.05), "loss": (1e-4, 0.02), "accuracy": (5e-4, 0.01)},
    "bfloat16": {"score": (3e-3, 0.05), "loss": (1e-3, 0.02), "accuracy": (5e-4, 0.01)},
}
OWN_SHORT = 4  # number of sequences of the short form


def verify(
    settings: ModelSettings, *, expected_file: Path | None, short: bool, threads: int | None
) -> dict[str, Any]:
    """Load a checkpoint and compare it with its known values.

    Args:
        settings: The checkpoint, and how to run it.
        expected_file: File of values that `write_expected` wrote; None for the published values.
        short: Whether to run the short form, without checksums of files.
        threads: CPU threads of the model; None leaves the choice to torch.

    Returns:
        The result: ``status``, ``of``, ``release``, the arithmetic, ``files``, ``findings``,
        ``causes`` and ``complaint``.

    Raises:
        InputError: The checkpoint or the values cannot be read. The message also states how the
            files differ from the known ones.
    """
    checkpoint = settings.checkpoint
    expected = None if expected_file is None else read_expected(expected_file)
    files = weight_files(checkpoint)
    known = expected
    if known is None:
        known = read_published(settings.model or checkpoint.name.partition(".")[0])
    try:
        loaded = load(settings, threads)
        release = release_of(settings)
    except InputError as error:
        causes = list(differing_files(describe_files(files, hashed=False), known.files))
        raise InputError(
            f"{error} Likely: {'; or '.join(causes)}." if causes else str(error)
        ) from error
    if expected is None:
        expected = read_published(release) if release else Expected("no published model", (), ())
    here = arithmetic_of(loaded.model, loaded.dtype)
    described = describe_files(files, hashed=not short and bool(expected.files))
    comparison = compare(loaded.model, expected, here, short=short, files=described)
    return {
        "status": comparison.status,
        "of": expected.name,
        "release": release,
        **asdict(here),
        "files": {
            "known": bool(expected.files),
            "differing": list(differing_files(described, expected.files)),
        },
        "findings": [asdict(finding) for finding in comparison.findings],
        "causes": list(comparison.causes),
        "complaint": comparison.complaint() if comparison.causes else None,
    }


def write_expected(settings: ModelSettings, *, out: Path, short: bool, threads: int | None) -> None:
    """Measure a checkpoint that is known to be right, and write its values for `verify`.

    Args:
        settings: The checkpoint, and how to run it.
        out: The file to write.
        short: Whether to leave out the long sequences.
        threads: CPU threads of the model; None leaves the choice to torch.

    Raises:
        InputError: The checkpoint cannot be read, or the file cannot be written.
    """
    loaded = load(settings, threads)
    measures = {"RNA variants": ("scores", "rna")}
    if not short:
        measures["four sequences"] = ("predictions", "prompts")
    checks = [
        note_values(loaded, name, measure_name, published_sequences()[sequences])
        for name, (measure_name, sequences) in measures.items()
    ]
    expected = Expected(
        name=out.name,
        files=tuple(describe_files(weight_files(settings.checkpoint), hashed=True)),
        checks=tuple(checks),
        layers=tuple(layer_digests(loaded.model)),
    )
    write_json(out, dump_expected(expected))
    logger.info("%s: values of %s written", out, settings.written)


def note_values(
    loaded: LoadedModel, name: str, measure_name: str, sequences: tuple[str, ...]
) -> Check:
    """A check whose known values are those that the model gives now."""
    check = Check(
        name=name,
        measure=measure_name,
        sequences=sequences,
        num_short=OWN_SHORT if measure_name == "scores" else 0,
        rounding="float32",
        arithmetic=arithmetic_of(loaded.model, loaded.dtype),
        values={},
        bands=OWN_BANDS[loaded.dtype],
        source="evo2-tasks verify --write-expected",
    )
    values = measure(loaded.model, check)
    bands = {quantity: check.bands[quantity] for quantity in values}
    return replace(check, values=values, bands=bands)


def load(settings: ModelSettings, threads: int | None) -> LoadedModel:
    """Load the model of a command that has no config.

    Raises:
        InputError: It cannot run as the settings say.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    return open_model(settings, None)


def arithmetic_of(model: Evo2ForCausalLM, dtype: str) -> Arithmetic:
    """The arithmetic that a model computes with."""
    return Arithmetic(dtype, model.config.fp8, device_class(devices_of(model)))


def release_of(settings: ModelSettings) -> str | None:
    """The name of the published model that a checkpoint states; None without such a name.

    Raises:
        InputError: It cannot be read.
    """
    try:
        return read_release(settings.checkpoint, model=settings.model, config=settings.config)
    except ValueError as error:
        raise InputError(str(error)) from error


def weight_files(checkpoint: Path) -> list[Path]:
    """The files with the weights of a checkpoint; empty if there is no checkpoint."""
    if checkpoint.is_dir():
        return sorted(checkpoint.glob("*.safetensors"))
    try:
        return find_parts(checkpoint)
    except ValueError:
        return []


def describe_verification(found: Mapping[str, Any]) -> Iterator[str]:
    """The result of `verify`, as lines of text."""
    yield f"{found['of']}: {found['status']}"
    yield f"  {found['dtype']}, fp8 {found['fp8']}, on {found['device_class']}"
    for differing in found["files"]["differing"]:
        yield f"  {differing}"
    if found["findings"]:
        rows = [
            (
                one["check"],
                one["quantity"],
                "not finite" if one["difference"] is None else f"{one['difference']:.2g}",
                f"{one['same']:g}",
                f"{one['other']:g}",
                one["band"],
            )
            for one in found["findings"]
        ]
        headers = ("check", "quantity", "difference", "same", "other", "band")
        table = tabulate(rows, headers=headers, disable_numparse=True, tablefmt="simple")
        yield from table.split("\n")


def require_verified(found: Mapping[str, Any]) -> None:
    """Make sure that a model gives its known values.

    Raises:
        InputError: It does not, or no values are known for it.
    """
    if found["status"] == NOT_VERIFIED:
        raise InputError(
            "verify: not_verified: there are no values to compare with. Write values with "
            "--write-expected on a machine where you trust the model, and pass that file here "
            "with --expected."
        )
    if found["complaint"]:
        raise InputError(f"verify: {found['complaint']}")
