"""The command ``run``: from a file of variants and a FASTA to a table, in one process.

It runs the steps of the workflow on the files of the workflow, with one shard. So its table has the
bytes of the workflow's. The config that it writes continues its work on a cluster.
"""

import os
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import yaml

from evo2_tasks.commands.run_steps import WRITERS, OneScoring, run_steps
from evo2_tasks.config.evaluation import resolve_report
from evo2_tasks.config.schema import TABLE_SUFFIX
from evo2_tasks.config.single import (
    VARIANT_SET,
    SingleRun,
    make_single_run,
    naming_file,
    naming_settings,
)
from evo2_tasks.errors import InputError
from evo2_tasks.io.digests import digest_file
from evo2_tasks.io.files import (
    keep_others_out,
    local_file,
    replace_atomically,
    require_other_file,
    require_writable,
    writing,
)
from evo2_tasks.io.words import counted, shown_path
from evo2_tasks.layout import (
    COPIED_INPUT,
    INDEXED,
    RUN,
    RUN_LOCK,
    SCORES,
    config_of,
    export_file,
    report_of,
    results_of,
    shard_run_file,
)
from evo2_tasks.steps.export import export
from evo2_tasks.steps.index import index
from evo2_tasks.table.documents import Run

HEADER = """\
# Written by `evo2-tasks run`, which writes it again: copy it before you change it.
# Snakemake continues from these results, in the same working directory:
#   snakemake -s "$(evo2-tasks workflow-path)" --configfile {file} --cores 1
# If you change a setting here, give the scoring a new name, and if you change `shards`, add
# `--forcerun split`: Snakemake does not know with which settings these files were made.
"""


@dataclass(frozen=True, slots=True)
class Finished:
    """What the command wrote.

    Attributes:
        table: The table.
        config: The config.
        others: Exports, their indexes and the report.
        run: What the JSON file next to the table states.
    """

    table: Path
    config: Path
    others: tuple[Path, ...]
    run: Run


def run(
    variants: Path,
    *,
    fasta: Path,
    checkpoint: Path,
    out: Path,
    settings: Mapping[str, object],
    exports: Sequence[str] = (),
    has_report: bool = False,
    threads: int | None = None,
) -> Finished:
    """Score the variants of a file, and write the table, a JSON file and the config next to it.

    Finished parts, and the scores, are kept in a folder next to the table. The same command
    continues from them.

    Args:
        variants: The file of variants; ``-`` is standard input.
        fasta: The reference.
        checkpoint: The model, as ``checkpoint`` names it in a config.
        out: The table.
        settings: Keys of the config by name; see ``evo2_tasks/config/single.py``.
        exports: Other formats to write next to the table.
        has_report: Whether to write the HTML report next to the table.
        threads: CPU threads of the model; None leaves the choice to torch.

    Raises:
        InputError: A file cannot be read or written, a setting is not allowed, the model cannot run
            with these settings, or another process writes the same results.
        Interrupted: The process received a signal to stop. All finished parts are kept.
    """
    # Threads that wait for each other sleep. Otherwise they take twice the CPU time, and on a busy
    # machine twice the wall time. OpenMP reads it when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    results = results_of(out)
    require_outputs(out, exports, has_report=has_report, sources=(variants, fasta))
    is_stream = variants == Path("-")
    single = make_single_run(
        results / COPIED_INPUT if is_stream else variants,
        fasta,
        checkpoint,
        output=results,
        settings=settings,
        exports=exports,
        made=["variants"] if is_stream else [],
    )
    if has_report:
        import_module("evo2_tasks.steps.report")  # a package that is missing is reported at once
    with (
        naming_settings(single),
        naming_file(results / COPIED_INPUT, "standard input"),
        only_run(results, config_of(out)),
    ):
        if is_stream:
            copy_input(variants, results / COPIED_INPUT)
        write_config(single, config_of(out))
        one = OneScoring(single.config, single.model, single.scoring, threads)
        table = run_steps(one)
        publish(table, out)
        others = list(write_exports(out, exports))
        if has_report:
            others.append(write_report(single, out))
    return Finished(out, config_of(out), tuple(others), Run.read(shard_run_file(out)))


def require_outputs(
    out: Path, exports: Sequence[str], *, has_report: bool, sources: Sequence[Path]
) -> None:
    """Make sure, before any work, that the files can be written and are no inputs.

    Raises:
        InputError: One of them cannot, or is an input, or the table has another ending.
    """
    if out.suffix != TABLE_SUFFIX:
        raise InputError(
            f"--out: {shown_path(out)}: expected a name that ends in {TABLE_SUFFIX}; the other "
            "files have the same name with other endings."
        )
    targets = [out, shard_run_file(out), config_of(out), *(export_file(out, to) for to in exports)]
    targets += [report_of(out)] if has_report else []
    for target in targets:
        require_other_file(target, *sources)
        require_writable(target)


@contextmanager
def only_run(results: Path, config: Path) -> Iterator[None]:
    """Keep other processes of this command from the folder of the results.

    If the body fails because of its input and nothing has been scored, what is new is removed.

    Args:
        results: The folder, which is made if it is missing.
        config: The config that the body writes.

    Raises:
        InputError: Another process has the folder, or it cannot be made.
    """
    new = [path for path in (results, config) if not path.exists()]
    with keep_others_out(results, RUN_LOCK, WRITERS, "another file with --out"):
        try:
            yield
        except InputError:
            if results in new and not any(results.glob(f"*/*/{SCORES}/*")):
                shutil.rmtree(results, ignore_errors=True)
                if config in new:
                    config.unlink(missing_ok=True)
            raise


def copy_input(variants: Path, target: Path) -> None:
    """Copy standard input to a file that the steps read more than once.

    A copy with the same bytes stays as it is, so that it is no newer than what was made from it.
    """
    with local_file(variants) as spool:
        if not (target.is_file() and digest_file(target) == digest_file(spool)):
            copy_file(spool, target)


def write_config(single: SingleRun, target: Path) -> None:
    """Write the config, if there is not the same one already."""
    text = yaml.safe_dump(dict(single.written), sort_keys=False, allow_unicode=True)
    text = HEADER.format(file=shlex.quote(str(target))) + text
    with suppress(OSError, ValueError):
        if target.read_text(encoding="utf-8") == text:
            return
    with replace_atomically(target) as temporary, writing(target):
        temporary.write_text(text, encoding="utf-8", newline="\n")


def publish(table: Path, out: Path) -> None:
    """Copy the table, and the ``run.json`` next to it, to where the user wants them."""
    copy_file(table, out)
    copy_file(table.with_name(RUN), shard_run_file(out))


def copy_file(source: Path, target: Path) -> None:
    """Copy a file; the target appears when it is complete."""
    with replace_atomically(target) as temporary, writing(target):
        shutil.copyfile(source, temporary)


def write_exports(table: Path, exports: Sequence[str]) -> Iterator[Path]:
    """Write the table in other formats next to it, and the indexes of those that have one.

    Yields:
        The files, without the indexes.
    """
    for to in exports:
        export(table, to=to)
        file = export_file(table, to)
        if to in INDEXED:
            index(file)
        yield file


def write_report(single: SingleRun, table: Path) -> Path:
    """Write the report next to the table."""
    page = report_of(table)
    report = import_module("evo2_tasks.steps.report").report  # imports plotly
    settings = resolve_report(single.config, VARIANT_SET)
    report(settings, results=single.config.output / VARIANT_SET, out=page)
    return page


def describe_finished(done: Finished) -> Iterator[str]:
    """What the command prints at its end."""
    by_status = ", ".join(f"{number:,} {status}" for status, number in done.run.by_status.items())
    yield f"{shown_path(done.table)}: {counted(done.run.alleles, 'row')}: {by_status or 'none'}"
    for file in done.others:
        yield shown_path(file)
    yield f"{shown_path(done.config)}: the config, for snakemake --configfile"
