"""Tables that can be put into a score store, and what the files next to them state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from evo2_tasks.config.objects import is_url
from evo2_tasks.config.resolve import ScoringSettings
from evo2_tasks.errors import InputError
from evo2_tasks.genome.fasta import FastaSequence, digest_sequences
from evo2_tasks.genome.windows import WindowSettings
from evo2_tasks.io.digests import digest_file
from evo2_tasks.io.files import reading
from evo2_tasks.io.words import shown, shown_path
from evo2_tasks.layout import ANY_SHARD, REUSED, RUN, TABLE, WINDOWS
from evo2_tasks.table.documents import Run, Signature
from evo2_tasks.table.parquet import open_table
from evo2_tasks.table.provenance import read_provenance
from evo2_tasks.table.schema import SCORES_VERSION, is_result
from evo2_tasks.table.statements import read_run_of, read_statement, require_table

UNKNOWN_DEVICE: Final = "unknown"
"""Kind of device of scores of which no file states it. No job runs on such a device."""


@dataclass(frozen=True, slots=True)
class SourceTable:
    """A table that can be added.

    Attributes:
        path: The table.
        state: Inode, size and time of the table, from before it was read.
        signature: The signature of its scores.
        settings: How its windows were placed.
        fasta: The FASTA of its reference.
        circular_contigs: The circular contigs of its reference; None if no file states them.
        device: The kind of device that computed its scores.
        reused: The file that lists the rows whose scores came from a store; None if none did.
    """

    path: Path
    state: tuple[int, ...]
    signature: Mapping[str, Any]
    settings: WindowSettings
    fasta: Path
    circular_contigs: frozenset[str] | None
    device: str
    reused: Path | None


def check_table(path: Path, fasta: Path | None, circular_contigs: Sequence[str]) -> SourceTable:
    """Read what a table and the files next to it state.

    Raises:
        InputError: The table cannot be added.
    """
    with open_table(path) as file:
        schema = file.schema_arrow
    state = _read_state(path)
    if not is_result(schema):
        raise InputError(
            f"{shown_path(path)}: has other columns than a table of `merge`. Expected a "
            f"{TABLE} of an earlier run."
        )
    signature = read_provenance(path).signature
    settings = _read_settings(path, signature)
    digest = digest_file(path)
    run = read_run_of(path, table_digest=digest)
    stated = None if run is None else run.reference
    found = fasta or (None if stated is None else Path(stated.fasta))
    if found is None:
        why = f"there is no {RUN} next to the table" if run is None else f"its {RUN} is of an "
        why += "" if run is None else "earlier version and does not state the FASTA"
        raise InputError(f"{shown_path(path)}: {why}. Name the FASTA of its reference by --fasta.")
    if fasta is None and stated is not None and is_url(stated.fasta):
        raise InputError(
            f"{shown_path(path)}: the FASTA of its run is {shown_path(stated.fasta)}, and only the "
            "workflow reads files by URL. Download it, and name it by --fasta."
        )
    if fasta is None and not found.exists():
        raise InputError(
            f"{shown_path(path)}: the FASTA of its run, {shown_path(found)}, does not exist. If it "
            "has moved, name it by --fasta."
        )
    circular = _find_circular(path, signature, run)
    if circular_contigs and circular not in (None, frozenset(circular_contigs)):
        names = ", ".join(sorted(circular or ())) or "none"
        raise InputError(
            f"--circular-contigs: names {shown(', '.join(circular_contigs), 200)}, but the run of "
            f"{shown_path(path)} states other circular contigs: {shown(names, 200)}. Leave the "
            "option out."
        )
    return SourceTable(
        path=path,
        state=state,
        signature=signature,
        settings=settings,
        fasta=found,
        circular_contigs=frozenset(circular_contigs) if circular_contigs else circular,
        device=_name_device(run),
        reused=_find_reused(path, digest),
    )


def _read_state(path: Path) -> tuple[int, ...]:
    """What changes if a file is replaced or written."""
    with reading(path):
        stated = path.stat()
    return stated.st_dev, stated.st_ino, stated.st_size, stated.st_mtime_ns


def require_same_state(table: SourceTable) -> None:
    """Make sure that all rows in memory are of the table that was checked.

    Raises:
        InputError: The table was replaced.
    """
    if _read_state(table.path) != table.state:
        raise InputError(
            f"{shown_path(table.path)}: changed while it was read. Make sure that no run writes "
            "it, and run the command again."
        )


def _read_settings(path: Path, signature: Mapping[str, Any]) -> WindowSettings:
    """How the windows of a table were placed.

    Raises:
        InputError: The signature is not complete, or is of another version.
    """
    stated = Signature.parse(signature, f"{shown_path(path)}: its signature")
    if stated.haplotype_of is not None:
        raise InputError(
            f"{shown_path(path)}: its scores are those of the genome of a sample (`haplotype_of`), "
            "and a store has scores on the reference. Leave this table out."
        )
    needed = {one.name for one in fields(ScoringSettings)}
    if None in (stated.weights, stated.dtype, stated.fp8, stated.prepend_bos):
        raise InputError(
            f"{shown_path(path)}: its signature does not state the model. Expected a {TABLE} that "
            "`merge` wrote."
        )
    if stated.scores_version != SCORES_VERSION or stated.scoring.keys() != needed:
        raise InputError(
            f"{shown_path(path)}: its scores were computed by another version of evo2-tasks "
            f"(scores_version {stated.scores_version}, here {SCORES_VERSION}), so no run would "
            "find them. Score the variants again."
        )
    try:
        return WindowSettings(**stated.scoring)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise InputError(f"{shown_path(path)}: its signature is not valid: {error}.") from error


def _find_circular(
    table: Path, signature: Mapping[str, Any], run: Run | None
) -> frozenset[str] | None:
    """The circular contigs of a run, as its files state them; None if none does.

    An earlier version states them in the windows of the shards only.
    """
    if run is not None and run.reference is not None:
        return frozenset(run.reference.circular_contigs)
    for windows in sorted(table.with_name(WINDOWS).glob(f"{ANY_SHARD}.parquet")):
        if ".segments" in windows.suffixes:
            continue
        made = read_provenance(windows)
        settings = made.settings or {}
        is_of_table = all(made.signature[key] == signature.get(key) for key in made.signature)
        if is_of_table and isinstance(settings.get("circular_contigs"), list):
            return frozenset(map(str, settings["circular_contigs"]))
    return None


def _name_device(run: Run | None) -> str:
    """The kind of device of a run; of several kinds, a name that is not that of any device."""
    kinds = [] if run is None else sorted(run.devices)
    if not kinds:
        return UNKNOWN_DEVICE
    return kinds[0] if len(kinds) == 1 else f"one of: {', '.join(kinds)}"


def _find_reused(table: Path, digest: str) -> Path | None:
    """The file next to a table that lists its rows whose scores came from a store.

    Raises:
        InputError: The file is of another table.
    """
    reused = table.with_name(REUSED)
    if not reused.exists():
        return None
    require_table(table, [read_statement(reused, "merge")], table_digest=digest)
    return reused


def require_sequences(table: SourceTable, sequences: Sequence[FastaSequence]) -> None:
    """Make sure that a FASTA has the sequences of the table's run.

    Raises:
        InputError: It has others.
    """
    digest = digest_sequences(sequences)
    if digest != table.signature["reference"]:
        raise InputError(
            f"{shown_path(table.fasta)}: is not the reference of {shown_path(table.path)}: its "
            f"GA4GH seqcol digest is {digest}, expected {shown(table.signature['reference'])}. "
            "Name the FASTA of that run by --fasta."
        )
