"""Names of one sequence in different files: ``17`` and ``chr17``, ``MT`` and ``chrM``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from evo2_tasks.errors import InputError
from evo2_tasks.io.lines import decode, read_lines
from evo2_tasks.io.words import shown, shown_path

logger = logging.getLogger(__name__)

MAX_LOGGED = 200
MAX_REMEMBERED = 100_000

# Columns of an NCBI assembly report that hold a name of the row's sequence. Assigned-Molecule is
# one only where the sequence is the molecule: an unplaced scaffold is assigned to one as well.
_REPORT_NAMES = ("Sequence-Name", "GenBank-Accn", "RefSeq-Accn", "UCSC-style-name")
_REPORT_MOLECULE = ("Sequence-Role", "assembled-molecule", "Assigned-Molecule")
_REPORT_LENGTH = "Sequence-Length"
_MITOCHONDRIA = frozenset({"M", "MT"})


class ContigNames:
    """Finds the reference's name of a contig, never by guessing.

    In this order: the same name; the table of the user; the one sequence that the assembly report
    or the rule (with or without ``chr``, ``M`` or ``MT``) leads to. Where these lead to several,
    the contig is not found.

    Args:
        lengths: The sequences of the reference.
        aliases: From names of the input to names of the reference.
        assembly_report: An NCBI ``*_assembly_report.txt``.
        source: The FASTA, for messages.
    """

    def __init__(
        self,
        lengths: Mapping[str, int],
        aliases: Mapping[str, str] | None = None,
        assembly_report: Path | None = None,
        *,
        source: str = "reference",
    ) -> None:
        self._lengths = lengths
        self._aliases = dict(aliases or {})
        self._source = source
        self._found: dict[str, str | None] = {}
        self._num_logged = 0
        for name, target in self._aliases.items():
            if target not in lengths:
                raise InputError(
                    f"contig_aliases: '{shown(name)}' is to be '{shown(target)}', which is no "
                    f"sequence of {source}."
                )
        self._by_rule: dict[str, set[str]] = {}
        for name in lengths:
            self._by_rule.setdefault(_bare_name(name), set()).add(name)
        self._by_report = (
            {} if assembly_report is None else _read_report(assembly_report, lengths, source)
        )

    def resolve(self, contig: str) -> str | None:
        """The reference's name of a contig; null if there is none or more than one."""
        try:
            return self._found[contig]
        except KeyError:
            found = self._find(contig)
        if len(self._found) < MAX_REMEMBERED:
            self._found[contig] = found
        return found

    def _find(self, contig: str) -> str | None:
        if contig in self._lengths:
            return contig
        if contig in self._aliases:
            alias = self._aliases[contig]
            self._log(
                logging.INFO, "contig '%s' is '%s' by contig_aliases", shown(contig), shown(alias)
            )
            return alias
        by_report = self._by_report.get(contig, set())
        candidates = by_report | self._by_rule.get(_bare_name(contig), set())
        if len(candidates) > 1:
            names = ", ".join(sorted(candidates))
            self._log(
                logging.WARNING,
                "contig '%s' is not found: it could be any of %s; say which by contig_aliases",
                shown(contig),
                shown(names),
            )
            return None
        if not candidates:
            self._log(
                logging.WARNING,
                "contig '%s' is not found in %s, which has %s; contig_aliases can name it",
                shown(contig),
                self._source,
                shown(", ".join(self._lengths)),
            )
            return None
        (found,) = candidates
        how = "the assembly report" if by_report else "the rule for the prefix chr and for M, MT"
        self._log(logging.INFO, "contig '%s' is '%s' by %s", shown(contig), shown(found), how)
        return found

    def _log(self, level: int, message: str, *arguments: str) -> None:
        """Log once per contig, of a file full of rubbish names only the first ones."""
        self._num_logged += 1
        if self._num_logged <= MAX_LOGGED:
            logger.log(level, message, *arguments)


def _bare_name(name: str) -> str:
    """A name without ``chr``, the mitochondrion's always ``MT``."""
    bare = name[3:] if name[:3].lower() == "chr" and len(name) > 3 else name
    return "MT" if bare in _MITOCHONDRIA else bare


def _read_report(path: Path, lengths: Mapping[str, int], source: str) -> dict[str, set[str]]:
    """From each name in the report to the names in the reference of the same sequence."""
    header: list[str] = []
    by_name: dict[str, set[str]] = {}
    for line in read_lines(path):
        cells = decode(line).split("\t")
        if line.startswith(b"#"):
            header = [cells[0].lstrip("# "), *cells[1:]] if len(cells) > 1 else header
            continue
        row = dict(zip(header, cells, strict=False))
        names = {row[column] for column in _REPORT_NAMES if column in row}
        role, molecule, assigned = _REPORT_MOLECULE
        if row.get(role) == molecule and assigned in row:
            names.add(row[assigned])
        names.discard("na")
        targets = {name for name in names if name in lengths}
        length = row.get(_REPORT_LENGTH, "na")
        for target in sorted(targets):
            if length != "na" and length != str(lengths[target]):
                logger.warning(
                    "%s: '%s' has %s bases, but %d in %s: not taken for the same sequence",
                    shown_path(path),
                    shown(target),
                    shown(length),
                    lengths[target],
                    source,
                )
                targets.discard(target)
        for name in names:
            by_name.setdefault(name, set()).update(targets)
    if not header or not by_name:
        raise InputError(
            f"{shown_path(path)}: no rows of an NCBI assembly report; expected the file that ends "
            f"in _assembly_report.txt."
        )
    return by_name
