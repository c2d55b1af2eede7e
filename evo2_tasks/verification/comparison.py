"""Comparison of a loaded model with its known values, and the search for causes of differences."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from evo2_tasks.errors import InputError
from evo2_tasks.evo2.checkpoints import layer_digests
from evo2_tasks.evo2.config import HYENA_LI
from evo2_tasks.evo2.modeling import Evo2ForCausalLM
from evo2_tasks.hub import HubFile
from evo2_tasks.io.digests import digest_file
from evo2_tasks.io.files import read_json, write_json
from evo2_tasks.io.words import shown_path
from evo2_tasks.scoring.reference import last_logits, mean_scores, predictions
from evo2_tasks.table.documents import Verification
from evo2_tasks.table.provenance import canonical_json, package_version
from evo2_tasks.verification.expected import (
    NOT_VERIFIED,
    Arithmetic,
    Check,
    Expected,
    Finding,
    read_published,
    status_of,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of comparing a model with its expected values.

    Attributes:
        of: Name of the model or file that the values come from.
        findings: One for each quantity of each check.
        causes: Possible causes if a quantity is outside both bands, the likeliest first.
    """

    of: str
    findings: tuple[Finding, ...]
    causes: tuple[str, ...]

    @property
    def status(self) -> str:
        """``same_arithmetic``, ``other_arithmetic``, ``failed`` or ``not_verified``."""
        return status_of(self.findings)

    def complaint(self) -> str:
        """What is wrong and the possible causes, as one line."""
        outside = [
            f"{one.check}, {one.quantity}: "
            + ("not finite" if one.difference is None else f"difference {one.difference:.2g}")
            + f", at most {one.other:g} is allowed"
            for one in self.findings
            if one.band == "outside"
        ]
        return (
            f"it does not give the values of {self.of} ({'; '.join(outside)}). "
            f"Likely: {'; or '.join(self.causes)}."
        )


def measure(model: Evo2ForCausalLM, check: Check) -> Mapping[str, Sequence[float]]:
    """Measure the quantities of a check. Returns the values of each one."""
    if check.measure == "scores":
        return {"score": mean_scores(model, check.sequences, check.rounding)}
    if check.measure == "predictions":
        return predictions(model, check.sequences, check.rounding)
    [prompt] = check.sequences
    return {"logit": last_logits(model, prompt, check.tokens, check.rounding)}


def compare(
    model: Evo2ForCausalLM,
    expected: Expected,
    here: Arithmetic,
    *,
    short: bool,
    files: Sequence[HubFile] = (),
) -> Comparison:
    """Measure a model, compare it with its expected values, and look for causes of differences.

    Args:
        model: The model, in eval mode.
        expected: Its expected values.
        here: The arithmetic that it computes with.
        short: Whether to run the short form of the checks that have one, and to leave out the
            other checks.
        files: The files that the model was loaded from.
    """
    checks = [check.shortened() for check in expected.checks if check.num_short]
    if not short:
        checks = list(expected.checks)
    findings, failed = [], []
    for check in checks:
        found = check.judge(measure(model, check), here)
        findings += found
        if any(finding.band == "outside" for finding in found):
            failed.append(check)
    causes: tuple[str, ...] = ()
    if failed:
        causes = tuple(find_causes(model, expected, failed[0], here, files))
        causes = causes or (
            "weights of another model, damaged weights, or layers in another order; or a device "
            "that computes wrong",
        )
    return Comparison(expected.name, tuple(findings), causes)


def find_causes(
    model: Evo2ForCausalLM,
    expected: Expected,
    failed: Check,
    here: Arithmetic,
    files: Sequence[HubFile],
) -> Iterator[str]:
    """Possible causes of a failed check: differences from what is known, and changes that mend it.

    Args:
        model: The model.
        expected: Its expected values.
        failed: A check that it failed.
        here: The arithmetic that it computes with.
        files: The files that it was loaded from.

    Yields:
        Phrases for a message, the likeliest cause first.
    """
    yield from differing_files(files, expected.files)

    def is_met_by(check: Check) -> bool:
        elsewhere = replace(here, device_class="")  # so that either band counts
        return all(one.band != "outside" for one in check.judge(measure(model, check), elsewhere))

    upper = tuple(sequence.upper() for sequence in failed.sequences)
    if upper != failed.sequences and is_met_by(replace(failed, sequences=upper)):
        yield "the sequences are in lower case, which is other tokens: give them in upper case"
    mode = model.config.fp8
    if not model.config.has_fp8_scales:
        if failed.arithmetic.fp8 != "off":
            yield "FP8 is off, and the checkpoint has no FP8 scales: take the published file"
    else:
        for other, said in (
            (
                "emulate",
                "FP8 is off"
                if mode == "off"
                else f"FP8 matrix multiplications use the sums of {mode}",
            ),
            ("off", "FP8 is on, but the values were computed without it"),
        ):
            if other != mode:
                model.config.fp8 = other
                if is_met_by(failed):
                    yield f"{said}: set fp8 to {other}"
        model.config.fp8 = mode
    if expected.layers and here.dtype == failed.arithmetic.dtype:
        yield from differing_layers(layer_digests(model), expected.layers)
    rounded = rounded_poles(model)
    if rounded:
        yield f"the poles of layers {_listed(rounded)} are rounded to bfloat16"


def differing_files(found: Sequence[HubFile], known: Sequence[HubFile]) -> Iterator[str]:
    """Phrases about files that differ from the known ones. A ``.pt`` may have another name."""

    def key(file: HubFile) -> str:
        return file.name[max(0, file.name.find(".pt")) :]

    by_key = {key(one): one for one in known}
    for file in found:
        one = by_key.get(key(file))
        if one is None or one.bytes is None or file.bytes is None:
            continue
        if file.bytes < one.bytes:
            yield f"{file.name} is cut short or another file: {file.bytes:,} of {one.bytes:,} bytes"
        elif file.bytes > one.bytes:
            yield f"{file.name} is another file: {file.bytes:,} bytes, expected {one.bytes:,}"
        elif None not in (one.sha256, file.sha256) and one.sha256 != file.sha256:
            yield f"{file.name} is another file: its SHA-256 is {file.sha256}"


def differing_layers(found: Sequence[str], known: Sequence[str]) -> Iterator[str]:
    """Phrases about layers whose tensors differ from the known ones."""
    differing = [layer for layer, digest in enumerate(known) if found[layer] != digest]
    places = {digest: layer for layer, digest in enumerate(known)}
    moved = [layer for layer in differing if found[layer] in places]
    if moved:
        yield f"layers {_listed(moved)} are in another order"
    changed = [layer for layer in differing if layer not in moved]
    if changed:
        yield f"the weights of layers {_listed(changed)} are different"


def rounded_poles(model: Evo2ForCausalLM) -> list[int]:
    """Layers whose poles, which should be float32, have only the digits of bfloat16."""
    poles = {
        layer: model.get_parameter(f"model.layers.{layer}.mixer.filter.log_poles")
        for layer, operator in enumerate(model.config.operators)
        if operator == HYENA_LI
    }
    return [layer for layer, one in poles.items() if torch.equal(one, one.bfloat16().float())]


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def describe_files(paths: Sequence[Path], *, hashed: bool) -> list[HubFile]:
    """Size of each file, and its SHA-256 if ``hashed``."""
    return [
        HubFile(path.name, path.stat().st_size, digest_file(path) if hashed else None)
        for path in paths
    ]


def verify_once(
    model: Evo2ForCausalLM,
    here: Arithmetic,
    *,
    checkpoint: Path,
    release: str | None,
    weights_digest: str,
) -> tuple[dict[str, Any], str | None]:
    """Compare a model with its published values in the short form, unless that was done before.

    A result that is not a failure is kept next to the checkpoint, or in the user's cache if that
    folder is not writable.

    Args:
        model: The model.
        here: The arithmetic that it computes with.
        checkpoint: Where it was loaded from.
        release: Name of the published model that the checkpoint states, or None.
        weights_digest: Digest of its weights.

    Returns:
        The result, and what is wrong as one line (None if nothing is). The result has the keys
        ``status``, ``of`` (the release), ``differences`` (by check and quantity) and, after a
        failure, ``causes``. If there are no values to compare with, it has ``status`` and
        ``reason``.
    """
    if release is None:
        return {"status": NOT_VERIFIED, "reason": "no published model"}, None
    expected = read_published(release)
    if not any(check.num_short for check in expected.checks):
        advice = "run evo2-tasks verify" if expected.checks else "none are published"
        reason = f"no values of {release} in the short form; {advice}"
        return {"status": NOT_VERIFIED, "reason": reason}, None
    key = canonical_json(
        {
            "weights": weights_digest,
            "torch": torch.__version__,
            "version": package_version(),
            **asdict(here),
        }
    )
    places = [
        checkpoint.with_name(f".{checkpoint.name}.verified.json"),
        _user_cache() / f"{weights_digest}.verified.json",
    ]
    for place in places:
        if _is_trusted(place, checkpoint) and key in (kept := _read_kept(place)):
            return Verification.parse(kept[key], shown_path(place)).as_json(), None
    comparison = compare(model, expected, here, short=True)
    result = Verification(
        status=comparison.status,
        of=release,
        differences={f"{one.check}, {one.quantity}": one.difference for one in comparison.findings},
    ).as_json()
    if comparison.causes:
        return result | {"causes": list(comparison.causes)}, comparison.complaint()
    _keep(result, key, places)
    return result, None


def _read_kept(place: Path) -> dict[str, Any]:
    return read_json(place, remedy=Verification.remedy)


def _is_trusted(place: Path, checkpoint: Path) -> bool:
    """Whether a file of results can be read, and is of this user or of the checkpoint's owner."""
    if not place.is_file() or not os.access(place, os.R_OK):
        return False
    return place.stat().st_uid in (os.getuid(), checkpoint.stat().st_uid)


def _keep(result: Mapping[str, Any], key: str, places: Sequence[Path]) -> None:
    """Add a result to the file in the first place that is writable."""
    for place in places:
        try:
            write_json(place, (_read_kept(place) if place.is_file() else {}) | {key: result})
        except InputError as error:
            logger.info("%s", error)
        else:
            return


def _user_cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "evo2-tasks"
