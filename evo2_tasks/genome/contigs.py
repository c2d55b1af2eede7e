"""Different names of one sequence: ``17`` and ``chr17``, ``MT`` and ``chrM``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

from evo2_tasks.errors import InputError
from evo2_tasks.io.lines import MAX_ROW_BYTES, decode, read_lines
from evo2_tasks.io.words import shown, shown_path

logger = logging.getLogger(__name__)

MAX_LOGGED = 200
MAX_REMEMBERED = 100_000
MAX_LISTED = 100

# Columns of an NCBI assembly report with a name of the row's sequence. Assigned-Molecule is a name
# only if the sequence is the whole molecule: unplaced scaffolds are assigned to a molecule as well.
_REPORT_NAMES = ("Sequence-Name", "GenBank-Accn", "RefSeq-Accn", "UCSC-style-name")
_REPORT_MOLECULE = ("Sequence-Role", "assembled-molecule", "Assigned-Molecule")
_REPORT_LENGTH = "Sequence-Length"
_MITOCHONDRIA = frozenset({"M", "MT"})


class ContigNames:
    """Finds the name of a contig in the reference, without guessing.

    The first of these that applies is used:

    1. a sequence of the reference with the same name,
    2. the user's aliases,
    3. the only sequence that the assembly report and the rule lead to. The rule ignores the prefix
       ``chr`` and takes ``M`` for ``MT``. If they lead to several sequences, the contig is not
       found.

    Args:
        lengths: Length of each sequence of the reference by its name, bases.
        aliases: Maps names in the input to names in the reference.
        assembly_report: An NCBI ``*_assembly_report.txt``.
        source: Path of the FASTA, for messages.

    Raises:
        InputError: An alias names a sequence that the reference does not have, or the assembly
            report cannot be used.
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
        self._resolved: dict[str, str | None] = {}
        self._num_logged = 0
        for name, target in self._aliases.items():
            if target not in lengths:
                raise InputError(
                    f"contig_aliases maps '{shown(name)}' to '{shown(target)}', but {source} has "
                    f"no sequence of that name. Correct the name."
                )
        # Of the names that the rule changes only: a draft assembly has a million others.
        self._by_rule: dict[str, set[str]] = {}
        for name in lengths:
            bare = bare_name(name)
            if bare != name:
                self._by_rule.setdefault(bare, set()).add(name)
        self._by_report = (
            {} if assembly_report is None else _read_report(assembly_report, lengths, source)
        )

    def resolve(self, contig: str) -> str | None:
        """The name of a contig in the reference; null if no sequence matches, or several do."""
        try:
            return self._resolved[contig]
        except KeyError:
            name = self.find(contig)
        if name != contig and self._num_logged < MAX_LOGGED:
            self._num_logged += 1
            self._log_name(contig)
        if len(self._resolved) < MAX_REMEMBERED:
            self._resolved[contig] = name
        return name

    def find(self, contig: str) -> str | None:
        """Like :meth:`resolve`, without a message: for contigs that may have no variants."""
        if contig in self._lengths:
            return contig
        if contig in self._aliases:
            return self._aliases[contig]
        candidates = self._candidates(contig)
        return next(iter(candidates)) if len(candidates) == 1 else None

    def why_not_found(self, contig: str) -> str:
        """The reason in the table for a contig that :meth:`resolve` does not find."""
        return "several_contigs" if len(self._candidates(contig)) > 1 else "unknown_contig"

    def _candidates(self, contig: str) -> set[str]:
        """The sequences that the assembly report and the rule lead to."""
        bare = bare_name(contig)
        candidates = self._by_report.get(contig, set()) | self._by_rule.get(bare, set())
        return candidates | {bare} if bare in self._lengths else candidates

    def _log_name(self, contig: str) -> None:
        """Log how a contig was found under another name, or why it was not found."""
        if contig in self._aliases:
            logger.info(
                "contig '%s' is '%s' in the reference, by contig_aliases",
                shown(contig),
                shown(self._aliases[contig]),
            )
            return
        candidates = self._candidates(contig)
        if len(candidates) > 1:
            logger.warning(
                "contig '%s' was not found: several match (%s); map it to one in contig_aliases",
                shown(contig),
                shown(", ".join(sorted(candidates))),
            )
            return
        if not candidates:
            names = ", ".join(islice(self._lengths, MAX_LISTED))
            logger.warning(
                "contig '%s' was not found in %s, which has: %s; map it to one in contig_aliases",
                shown(contig),
                self._source,
                shown(names),
            )
            return
        by_report = self._by_report.get(contig)
        how = "the assembly report" if by_report else "the rule for the prefix chr and for M, MT"
        (name,) = candidates
        logger.info("contig '%s' is '%s' in the reference, by %s", shown(contig), shown(name), how)


def bare_name(name: str) -> str:
    """A name without the prefix ``chr``; ``M`` becomes ``MT``."""
    bare = name[3:] if name[:3].lower() == "chr" and len(name) > 3 else name
    return "MT" if bare in _MITOCHONDRIA else bare


def _read_report(path: Path, lengths: Mapping[str, int], source: str) -> dict[str, set[str]]:
    """Map each name in the report to the names of the same sequence in the reference."""
    header: list[str] = []
    by_name: dict[str, set[str]] = {}
    for line in read_lines(path, max_line_bytes=MAX_ROW_BYTES):
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
                    "%s: '%s' has %s bases, but %d in %s: not treated as the same sequence",
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
            f"{shown_path(path)}: this is not an NCBI assembly report; expected the file whose "
            f"name ends in _assembly_report.txt."
        )
    return by_name
