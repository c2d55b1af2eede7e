"""The function ``score_variants``: scores as a DataFrame, for notebooks and programs.

It runs the steps of the workflow in this process, so its rows and numbers are those of the
workflow.
"""

import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from evo2_tasks.commands.run_steps import WRITERS, OneScoring, run_steps
from evo2_tasks.config.resolve import ScoreSettings
from evo2_tasks.config.single import SETTINGS, make_single_run, naming_file, naming_settings
from evo2_tasks.errors import InputError
from evo2_tasks.genome.columns import find_columns, find_hgvs
from evo2_tasks.io.files import keep_others_out, writing
from evo2_tasks.io.progress import bars_in_notebook
from evo2_tasks.io.words import first_line, shown
from evo2_tasks.layout import RUN_LOCK
from evo2_tasks.table.provenance import read_provenance

if TYPE_CHECKING:
    import pandas as pd

    from evo2_tasks.evo2.modeling import Evo2ForCausalLM
    from evo2_tasks.runtime.scoring_jobs import ScoringModel

VARIANTS: Final = "variants"
"""Name of the argument, and of the files that it is written to."""

EMPTY_LIST: Final = "contig\tpos\tref\talt\n"
"""A file of variants without variants."""
LIST_HEADER: Final = "variant\n"
"""Header of a file with a list of variants. With it, no entry is read as a header."""


def score_variants(
    model: "str | Path | Evo2ForCausalLM",
    variants: "str | Path | Sequence[str] | pd.DataFrame",
    fasta: str | Path,
    *,
    results: str | Path | None = None,
    threads: int | None = None,
    **settings: Any,
) -> "pd.DataFrame":
    """Score variants, one row for each allele, with the columns of the table of the workflow.

    Args:
        model: A checkpoint as a config names it: ``evo2-mini``, a folder, a published file, or
            ``owner/name@commit`` after ``evo2-tasks fetch``. Or a model in memory, which is not
            loaded again for each call.
        variants: A file of variants in any format that a config accepts; a list of variants
            (``MT:3243:A:G``, ``MT-3243-A-G``, SPDI, HGVS of the genome); or a DataFrame with the
            columns of a table of variants: contig, pos (from 1), ref and alt, or hgvs.
        fasta: FASTA of the reference, plain or bgzipped.
        results: Folder to keep the files of the steps in. A call that was interrupted continues
            there if it is made again. Default: a temporary folder.
        threads: CPU threads of the model. Default: torch decides.
        **settings: Keys of the config by name, for example ``window_length=1024``,
            ``circular_contigs=["MT"]``, ``gff="genes.gff3"``, ``carry=["AF"]``, ``gpus=0``. The
            release and the config of a published file are ``release`` and ``model_config``.

    Returns:
        A row for each allele in the order of the input, with its status, its scores in nats and
        the other columns of the table. ``attrs`` has the signature of the scores, the model and the
        version of this package.

    Raises:
        InputError: The variants, the reference or a setting cannot be used.
    """
    require_pandas()
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise InputError(f"threads: is {shown(repr(threads))}; expected a whole number from 1 on.")
    with ExitStack() as stack:
        stack.enter_context(bars_in_notebook())
        stack.enter_context(without_modes())
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="evo2-tasks-")))
        file = find_file(variants, work, settings)
        checkpoint, opened = find_model(model, settings)
        if opened is not None:
            settings = settings | {"dtype": opened.loaded.dtype, "gpus": count_gpus(opened)}
        if file.parent == work:
            stack.enter_context(naming_file(file, VARIANTS))
            stack.enter_context(naming_list(variants))
        single = make_single_run(
            file,
            Path(fasta),
            checkpoint,
            output=work / "results" if results is None else Path(results),
            settings=settings,
            made=[] if opened is None else ["checkpoint"],
        )
        stack.enter_context(naming_settings(single))
        stack.enter_context(
            keep_others_out(single.config.output, RUN_LOCK, WRITERS, "another one with results=")
        )
        stack.enter_context(using_threads(threads))
        one = OneScoring(
            single.config,
            single.model,
            single.scoring,
            threads,
            open_model=lambda score: opened or open_checkpoint(score, threads),
            is_in_memory=opened is not None,
        )
        return read_frame(run_steps(one))


def require_pandas() -> Any:
    """Pandas, which is not installed with the package alone.

    Raises:
        InputError: It is not installed.
    """
    try:
        return import_module("pandas")
    except ModuleNotFoundError as error:
        if error.name != "pandas":
            raise
        raise InputError(
            "score_variants: needs pandas; install the package with its extra: "
            "pip install 'evo2-tasks[pandas]'"
        ) from error


def open_checkpoint(settings: ScoreSettings, threads: int | None) -> "ScoringModel":
    """Load and check a model."""
    opened: ScoringModel = load_scoring_jobs().open_scoring_model(settings, threads)
    return opened


def load_scoring_jobs() -> Any:
    """The module that imports torch.

    Raises:
        InputError: torch or transformers is not installed.
    """
    try:
        return import_module("evo2_tasks.runtime.scoring_jobs")
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "transformers"):
            raise
        raise InputError(
            f"score_variants: needs {error.name}; install the package with its extra: "
            "pip install 'evo2-tasks[torch]'"
        ) from error


def find_model(
    model: "str | Path | Evo2ForCausalLM", settings: Mapping[str, object]
) -> tuple[Path, "ScoringModel | None"]:
    """The checkpoint of a model, and the model itself if it is in memory.

    Raises:
        InputError: It is neither a name nor a model, or a setting is about loading a model that is
            in memory.
    """
    if isinstance(model, str | Path):
        return Path(model), None
    jobs = load_scoring_jobs()
    if not isinstance(model, jobs.Evo2ForCausalLM):
        raise InputError(
            f"model: is a {type_name(model)}; expected the name or the path of a checkpoint, or an "
            "Evo2ForCausalLM."
        )
    for name in SETTINGS["models"]:
        if settings.get(name) is not None:
            raise InputError(f"{name}: cannot be combined with a model in memory; leave it out.")
    opened: ScoringModel = jobs.wrap_model(model)
    # By its weights, so that another model in memory does not continue the work of this one.
    return Path(f"model-{opened.loaded.weights_digest[:16]}"), opened


def count_gpus(opened: "ScoringModel") -> int:
    """The GPUs that a model in memory is on."""
    return sum(device.type != "cpu" for device in opened.loaded.devices)


@contextmanager
def using_threads(threads: int | None) -> Iterator[None]:
    """Leave torch the number of threads that it had."""
    if threads is None:
        yield
        return
    torch = import_module("torch")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def without_modes() -> Iterator[None]:
    """Compute as the workflow does, also if the caller has set a data type or device for torch."""
    torch = sys.modules.get("torch")
    if torch is None:  # so nothing is set
        yield
        return
    with ExitStack() as stack:
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        if torch.get_default_device() != torch.device("cpu"):
            stack.enter_context(torch.device("cpu"))
        yield


def type_name(value: object) -> str:
    """The name of a type, with the package if that is not Python itself."""
    of = type(value)
    package = of.__module__.partition(".")[0]
    return of.__name__ if package == "builtins" else f"{package}.{of.__name__}"


def find_file(variants: object, work: Path, settings: Mapping[str, Any]) -> Path:
    """The file of the variants; a list or a DataFrame is written to one.

    Args:
        variants: The argument of the caller.
        work: Folder to write to.
        settings: Name the columns of a table, and those to carry.

    Raises:
        InputError: It is none of what is accepted.
    """
    if isinstance(variants, str | Path):
        path = Path(variants)
        if isinstance(variants, str) and not path.exists() and ":" in variants:
            raise InputError(
                f"variants: {shown(variants)} is not a file. Write a list for variants themselves: "
                "[...]."
            )
        return path
    pandas = require_pandas()
    if isinstance(variants, pandas.DataFrame):
        return write_frame(variants, work / f"{VARIANTS}.parquet", settings)
    if isinstance(variants, pandas.Series | pandas.Index | np.ndarray):
        variants = variants.tolist()
    if isinstance(variants, Sequence) and not isinstance(variants, bytes):
        return write_list(variants, work / f"{VARIANTS}.txt")
    raise InputError(
        f"variants: is a {type_name(variants)}; expected a path, a list of texts or a DataFrame of "
        "pandas."
    )


def write_list(variants: Sequence[object], target: Path) -> Path:
    """Write a list of variants to a file, one on a line.

    Raises:
        InputError: An entry is not a text of one line.
    """
    for number, one in enumerate(variants):
        is_line = isinstance(one, str) and one.strip() and len(one.splitlines()) == 1
        if not is_line or str(one).startswith("#"):
            raise InputError(
                f"variants: entry {number} is {shown(repr(one))}; expected a text such as "
                "'MT:3243:A:G'."
            )
    text = LIST_HEADER + "".join(f"{one}\n" for one in variants) if variants else EMPTY_LIST
    with writing(target):
        target.write_text(text, encoding="utf-8")
    return target


@contextmanager
def naming_list(variants: object) -> Iterator[None]:
    """Name a list in the message that a file has no variants, which names its first line.

    Raises:
        InputError: The body has raised it.
    """
    try:
        yield
    except InputError as error:
        if f"line 1: '{LIST_HEADER.strip()}'" not in str(error):
            raise
        first = next(iter(variants))  # type: ignore[call-overload] # this file is from a list
        raise InputError(
            f"variants: no entry of the list is a variant; the first is {shown(repr(first))}. "
            "Expected texts such as 'MT:3243:A:G', SPDI or HGVS of the genome; give values in "
            "columns as a DataFrame."
        ) from error


def write_frame(frame: "pd.DataFrame", target: Path, settings: Mapping[str, Any]) -> Path:
    """Write the columns of a DataFrame that are read to a Parquet file.

    Raises:
        InputError: A column is missing, or its values have no type that Parquet has.
    """
    names = [str(name) for name in frame.columns]
    carry = list(settings.get("carry") or ())
    named = dict(settings.get("columns") or {})
    hgvs = find_hgvs(names)
    if not named and hgvs is not None:
        named = {"hgvs": hgvs}
    found = find_columns(names, carry, named, VARIANTS)
    used = [*found.keys, *([] if found.filters is None else [found.filters]), *found.carried]
    columns = {}
    for column in dict.fromkeys(used):
        values = frame.iloc[:, column]
        if column in found.keys and values.dtype == object:  # contigs may be numbers and texts
            values = values.map(partial(_as_text, names[column]), na_action="ignore")
        try:
            columns[names[column]] = pa.array(values, from_pandas=True)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise InputError(
                f"variants: column {shown(names[column])}: {first_line(error)}; expected values of "
                "one type."
            ) from error
    with writing(target):
        pq.write_table(pa.table(columns), target)
    return target


def _as_text(column: str, value: object) -> str:
    """A cell as a text.

    Raises:
        InputError: It has several values: VCF readers give a list of ALT alleles.
    """
    if not isinstance(value, str) and isinstance(value, Iterable):
        raise InputError(
            f"variants: column {shown(column)}: has {shown(repr(value))}; expected one value in "
            f"each row. For several ALT alleles call frame.explode({column!r}) first."
        )
    return str(value)


def read_frame(table: Path) -> "pd.DataFrame":
    """Read the table, with what it states about its scores."""
    frame: pd.DataFrame = pq.read_table(table).to_pandas()
    provenance = read_provenance(table)
    frame.attrs = {
        "signature": dict(provenance.signature),
        "model": provenance.model,
        "version": provenance.version,
    }
    return frame
