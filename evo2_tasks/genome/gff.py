"""The lines of a GFF3 file that describe genes, transcripts, exons and coding parts."""

from __future__ import annotations

import logging
import re
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt

from evo2_tasks.errors import InputError
from evo2_tasks.genome.reference import Reference
from evo2_tasks.io.lines import decode, drop_mark, read_lines
from evo2_tasks.io.words import shown, shown_path

logger = logging.getLogger(__name__)

MAX_PARTS: Final = 10_000_000
"""Most exons and coding parts of a file. The human genome of Ensembl has 2.6 million."""

MAX_NODES: Final = 2_000_000
"""Most genes and transcripts of a file. The human genome of Ensembl has 0.5 million."""

MAX_TEXT_BYTES: Final = 1 << 28
"""Most bytes of all names and identifiers of a file together."""

MAX_LINE_BYTES: Final = 1 << 22
"""Most bytes of a line, whose attributes are all read."""

EXON, CDS = 0, 1

_PARTS: Final = {
    b"exon": EXON,
    b"CDS": CDS,
    b"five_prime_UTR": EXON,
    b"three_prime_UTR": EXON,
    b"UTR": EXON,
    b"5UTR": EXON,
    b"3UTR": EXON,
    b"noncoding_exon": EXON,
    b"pseudogenic_exon": EXON,
}
_NODE: Final = re.compile(rb"(?:gene|rna|transcript|gene_segment|ribozyme)$", re.IGNORECASE)
_PARENT: Final = re.compile(rb"(?:^|;) *Parent=([^;]*)")
_ID: Final = re.compile(rb"(?:^|;) *ID=([^;]*)")
# The ninth column of a GTF: words with a value in quotes or a number after a blank.
_GTF: Final = re.compile(rb' *[A-Za-z_][A-Za-z0-9_.]* +("[^"]*"|[0-9]+) *(;|$)')
_GENE_DBXREF: Final = re.compile(r"(?:^|,)GeneID:([0-9]+)")
_SELECTED: Final = frozenset({"mane_select", "ensembl_canonical", "canonical", "refseq_select"})
_REGION: Final = re.compile(rb"##sequence-region\s+(\S+)\s+0*([0-9]{1,18})\s+0*([0-9]{1,18})\s*$")
_STRANDS: Final = {b"+": 1, b"-": -1}
_MOST_DIGITS: Final = 18
_MOST_ANCESTORS: Final = 10
_MOST_LENGTHS: Final = 5

Column = npt.NDArray[Any]

Key = tuple[str, bytes]
"""Contig in the reference and identifier of a feature. Other contigs may reuse an identifier."""


@dataclass(frozen=True, slots=True)
class GeneLine:
    """A gene, a transcript, or a coding part without a parent.

    Attributes:
        contig: Name of the contig in the reference.
        start: First base, 0-based. On several lines of one identifier, that of the first of them.
        end: The base after the last one.
        strand: 1, -1, or 0 if there is none.
        kind: Type of the feature, in lower case.
        identifier: Its ``ID``.
        parents: Identifiers of its parents, as in the file.
        name: Its ``Name``.
        gene_name: Its attribute ``gene_name`` or ``gene``.
        gene_id: Its attribute ``gene_id``, the ``GeneID`` of its ``Dbxref``, or ``locus_tag``.
        transcript_id: Its attribute ``transcript_id``.
        biotype: Its biotype.
        is_selected: Whether it has the tag MANE Select or canonical.
        is_pseudo: Whether it is marked as a pseudogene, whose reading frame means nothing.
    """

    contig: str
    start: int
    end: int
    strand: int
    kind: str
    identifier: str
    parents: tuple[bytes, ...]
    name: str
    gene_name: str
    gene_id: str
    transcript_id: str
    biotype: str
    is_selected: bool
    is_pseudo: bool

    @property
    def is_gene(self) -> bool:
        """Whether it is a gene, and not one of its transcripts."""
        return self.kind.endswith("gene") and not self.parents

    @property
    def is_transcript(self) -> bool:
        """Whether it is a transcript even if it has no exons."""
        return not self.kind.endswith("gene") and self.kind != "cds"


@dataclass(frozen=True, slots=True)
class GffLines:
    """What a GFF3 file has on the contigs of a reference.

    The columns have one value for each exon and coding part, sorted by owner and start.

    Attributes:
        nodes: Genes, transcripts, and coding parts without a parent.
        numbers: Number of each node, by its contig and identifier.
        keys: Contig and identifier of each owner of exons or coding parts.
        proteins: Of several proteins directly below one gene each is an owner of its own; here with
            the number of its identifier.
        owners: Number of the owner.
        starts: First base, 0-based.
        ends: The base after the last one.
        strands: 1, -1 or 0.
        kinds: ``EXON`` or ``CDS``.
        phases: Phase of a coding part; 0 if there is none.
        pieces: Number of the coding part's own identifier; -1 if it has none.
        piece_names: These identifiers.
        features: Number of lines of each type.
    """

    nodes: Sequence[GeneLine]
    numbers: dict[Key, int]
    keys: Sequence[Key]
    proteins: Mapping[int, int]
    owners: Column
    starts: Column
    ends: Column
    strands: Column
    kinds: Column
    phases: Column
    pieces: Column
    piece_names: Sequence[str]
    features: Counter[str]

    @property
    def other_columns(self) -> tuple[Column, ...]:
        """The columns besides owner, start and end."""
        return self.strands, self.kinds, self.phases, self.pieces

    def find_node(self, key: Key) -> GeneLine | None:
        """The line with an identifier on a contig; null if there is none."""
        number = self.numbers.get(key)
        return None if number is None else self.nodes[number]

    def find_parents(self, line: GeneLine) -> Iterator[int]:
        """The numbers of a line's parents that the file has."""
        for parent in line.parents:
            number = self.numbers.get((line.contig, parent))
            if number is not None:
                yield number

    def find_gene(self, line: GeneLine) -> GeneLine | None:
        """The gene of a line: itself, or the farthest of its ancestors."""
        found = line if line.is_gene else None
        for _ in range(_MOST_ANCESTORS):
            number = next(self.find_parents(line), None)
            if number is None:
                break
            found = line = self.nodes[number]
        return found


class _Reader:
    """Collects the lines of a file. Lines of one identifier become one node."""

    def __init__(self, path: Path, reference: Reference) -> None:
        self.path = path
        self.reference = reference
        self.contigs: dict[bytes, str | None] = {}
        self.nodes: list[GeneLine] = []
        self.numbers: dict[Key, int] = {}
        self.owner_numbers: dict[Key, int] = {}
        self.piece_numbers: dict[bytes, int] = {}
        self.features: Counter[str] = Counter()
        self.num_bytes = 0
        self.num_bad = self.first_bad = 0
        self.other_lengths: list[str] = []
        self.starts, self.ends = array("q"), array("q")
        self.owners, self.pieces = array("l"), array("l")
        self.strands, self.kinds, self.phases = array("b"), array("b"), array("b")

    def read(self) -> None:
        is_gff3 = False
        lines = read_lines(self.path, max_line_bytes=MAX_LINE_BYTES)
        for number, line in enumerate(lines, start=1):
            raw = drop_mark(line) if number == 1 else line
            if raw.startswith((b"##FASTA", b">")):
                break
            if region := _REGION.match(raw):
                self._compare_length(region)
            if raw.startswith(b"#") or not raw.strip():
                continue
            cells = raw.split(b"\t")
            if len(cells) != 9 or not self._add(cells):
                self.num_bad += 1
                self.first_bad = self.first_bad or number
            elif not is_gff3:
                self._refuse_gtf(cells[8], number)
                is_gff3 = b"=" in cells[8]

    def _compare_length(self, region: re.Match[bytes]) -> None:
        """Compare the part of a contig that a ``##sequence-region`` states with the reference.

        Some programs state the part with genes, so a part inside the contig says nothing.
        """
        contig = self._resolve(region[1])
        first, last = int(region[2]), int(region[3])
        length = last if contig is None else self.reference.contigs[contig]
        if last > length or (first == 1 and last != length):
            if len(self.other_lengths) < _MOST_LENGTHS:
                self.other_lengths.append(f"{contig} ({last:,} instead of {length:,})")
            elif self.other_lengths[-1] != "...":
                self.other_lengths.append("...")

    def _refuse_gtf(self, attributes: bytes, number: int) -> None:
        if b"=" not in attributes.split(b'"')[0] and _GTF.match(attributes):
            raise InputError(
                f"{shown_path(self.path)}: line {number}: is GTF, expected GFF3, with ID= and "
                f"Parent= in the ninth column. Ensembl has each genome as GFF3 too; or convert: "
                f"gffread --keep-genes FILE.gtf -o FILE.gff3"
            )

    def _add(self, cells: Sequence[bytes]) -> bool:
        """Add a line; whether its columns can be read."""
        spelled, _, kind, first, last, _, sign, phase, attributes = cells
        if not (first.isdigit() and last.isdigit() and len(last) <= _MOST_DIGITS):
            return False
        start, end = int(first[-_MOST_DIGITS:]) - 1, int(last)
        if not 0 <= start < end or sign not in (b"+", b"-", b".", b"?"):
            return False
        part = _PARTS.get(kind)
        if part is None and not _NODE.search(kind):
            return True
        try:
            contig = self.contigs[spelled]
        except KeyError:
            contig = self.contigs[spelled] = self._resolve(spelled)
            self._count_text(len(spelled))
            if len(self.contigs) > MAX_NODES:
                self._refuse_size(f"{MAX_NODES:,} contigs")
        if contig is None:
            return True
        strand = _STRANDS.get(sign, 0)
        if part is None:
            self._add_node(contig, start, end, strand, kind, _identifier(attributes), attributes)
            return True
        if part == CDS and phase not in (b"0", b"1", b"2", b"."):
            return False
        offset = int(phase) if part == CDS and phase != b"." else 0
        self._add_part(contig, start, end, strand, kind, offset, attributes)
        return True

    def _resolve(self, spelled: bytes) -> str | None:
        name = decode(spelled)
        return self.reference.find(name) or self.reference.find(unquote(name))

    def _add_part(
        self,
        contig: str,
        start: int,
        end: int,
        strand: int,
        kind: bytes,
        phase: int,
        attributes: bytes,
    ) -> None:
        self.features[decode(kind)] += 1
        part = _PARTS[kind]
        parent = _PARENT.search(attributes)
        owners = parent[1].split(b",") if parent else []
        piece = -1
        if part == CDS:
            identifier = _identifier(attributes)
            if identifier:
                piece = self.piece_numbers.setdefault(identifier, len(self.piece_numbers))
                if piece == len(self.piece_numbers) - 1:
                    self._count_text(len(identifier))
            if not parent and (identifier := identifier or _other_name(attributes)):
                owners = [b"\0" + identifier]  # never the identifier of a gene
                self._add_node(contig, start, end, strand, kind, owners[0], attributes)
        if len(self.starts) + len(owners) > MAX_PARTS:
            self._refuse_size(f"{MAX_PARTS:,} exons and coding parts")
        for owner in owners:
            key = contig, owner
            number = self.owner_numbers.setdefault(key, len(self.owner_numbers))
            if number == len(self.owner_numbers) - 1:
                self._count_text(len(owner))
            self.owners.append(number)
            self.starts.append(start)
            self.ends.append(end)
            self.strands.append(strand)
            self.kinds.append(part)
            self.phases.append(phase)
            self.pieces.append(piece)

    def _add_node(
        self,
        contig: str,
        start: int,
        end: int,
        strand: int,
        kind: bytes,
        identifier: bytes,
        attributes: bytes,
    ) -> None:
        key = contig, identifier or b"\0" + str(len(self.nodes)).encode()
        number = self.numbers.get(key)
        if number is not None:
            self.nodes[number] = self._join(self.nodes[number], start, end)
            return
        self.features[decode(kind)] += 1
        line = _make_node(contig, start, end, strand, kind, identifier, attributes)
        names = (line.identifier, line.name, line.gene_name, line.gene_id, line.transcript_id)
        self._count_text(sum(map(len, (*names, *line.parents))))
        self.numbers[key] = len(self.nodes)
        self.nodes.append(line)
        if len(self.nodes) > MAX_NODES:
            self._refuse_size(f"{MAX_NODES:,} genes and transcripts")

    def _join(self, line: GeneLine, start: int, end: int) -> GeneLine:
        """A line that goes on in another one, over the origin if the contig is circular."""
        length = self.reference.contigs[line.contig]
        if self.reference.is_circular(line.contig) and line.end <= length:
            if line.end == length and start == 0:
                return replace(line, end=length + end)
            if line.start == 0 and end == length:
                return replace(line, start=start, end=length + line.end)
        return replace(line, start=min(line.start, start), end=max(line.end, end))

    def _count_text(self, num_bytes: int) -> None:
        self.num_bytes += num_bytes
        if self.num_bytes > MAX_TEXT_BYTES:
            self._refuse_size(f"{MAX_TEXT_BYTES:,} bytes of names and identifiers of genes")

    def _refuse_size(self, what: str) -> None:
        raise InputError(
            f"{shown_path(self.path)}: has more than {what}. No genome has so many; keep the "
            "contigs of the reference, or fewer features."
        )

    def finish(self) -> GffLines:
        """The columns, sorted by owner and start."""
        owners, starts = _as_numbers(self.owners), _as_numbers(self.starts)
        kinds, pieces = np.array(self.kinds, np.int8), _as_numbers(self.pieces)
        keys = list(self.owner_numbers)
        proteins = self._separate_proteins(owners, kinds, pieces, keys)
        order = np.lexsort((starts, owners))
        return GffLines(
            nodes=self.nodes,
            numbers=self.numbers,
            keys=keys,
            proteins=proteins,
            owners=owners[order],
            starts=starts[order],
            ends=_as_numbers(self.ends)[order],
            strands=np.array(self.strands, np.int8)[order],
            kinds=kinds[order],
            phases=np.array(self.phases, np.int8)[order],
            pieces=pieces[order],
            piece_names=[decode(name) for name in self.piece_numbers],
            features=self.features,
        )

    def _separate_proteins(
        self, owners: Column, kinds: Column, pieces: Column, keys: list[Key]
    ) -> dict[int, int]:
        """Give each of several proteins that are directly below a gene an owner of its own."""
        nodes = (self.numbers.get(key) for key in keys)
        is_gene = np.array([n is not None and self.nodes[n].is_gene for n in nodes], bool)
        if not is_gene.any():
            return {}
        chosen = np.flatnonzero(is_gene[owners] & (kinds == CDS))
        pairs = np.stack([owners[chosen], pieces[chosen]], axis=1)
        found, places = np.unique(pairs, axis=0, return_inverse=True)
        several = np.bincount(found[:, 0], minlength=len(keys))[found[:, 0]] > 1
        numbers = np.where(several, len(keys) + np.cumsum(several) - 1, found[:, 0])
        owners[chosen] = numbers[places.reshape(-1)]
        split = found[several]
        proteins = {len(keys) + n: int(piece) for n, (_, piece) in enumerate(split)}
        keys.extend([keys[int(owner)] for owner, _ in split])
        return proteins


def read_gff(path: Path, reference: Reference) -> GffLines:
    """Read the lines of a GFF3 file that are on contigs of a reference.

    Lines after ``##FASTA``, and features other than genes, transcripts, exons and coding parts, are
    skipped. Lines whose columns cannot be read are skipped with one warning.

    Args:
        path: The file: plain, gzip or bgzip.
        reference: The genome. Its aliases also resolve the contig names of the file.

    Raises:
        InputError: The file cannot be read, is not GFF3, is too large, or has no contig of the
            reference.
    """
    reader = _Reader(path, reference)
    reader.read()
    if reader.num_bad and not reader.contigs:
        raise InputError(
            f"{shown_path(path)}: line {reader.first_bad}: is not GFF3; expected nine columns that "
            "are separated by tabs: contig, source, type, start, end, score, strand, phase, "
            "attributes."
        )
    if reader.num_bad:
        logger.warning(
            "%s: %s lines are left out, the first of them line %d: expected nine columns, with "
            "start, end, strand and phase in columns 4, 5, 7 and 8",
            shown_path(path),
            f"{reader.num_bad:,}",
            reader.first_bad,
        )
    if reader.contigs and not any(reader.contigs.values()):
        theirs = shown(", ".join(decode(name) for name in islice(reader.contigs, 20)), 200)
        ours = shown(", ".join(islice(reference.contigs, 20)), 200)
        raise InputError(
            f"{shown_path(path)}: none of its contigs ({theirs}) is in "
            f"{shown_path(reference.path)} ({ours}); take the genes of this assembly, or map the "
            "names in contig_aliases."
        )
    if reader.other_lengths:
        logger.warning(
            "%s: states another length than %s for these contigs: %s. If the genes are of another "
            "assembly, the consequences are wrong: take the GFF3 file of this assembly",
            shown_path(path),
            shown_path(reference.path),
            "; ".join(map(shown, reader.other_lengths)),
        )
    return reader.finish()


def _as_numbers(column: array[int]) -> npt.NDArray[np.int64]:
    return np.array(column, np.int64)


def _make_node(
    contig: str,
    start: int,
    end: int,
    strand: int,
    kind: bytes,
    identifier: bytes,
    attributes: bytes,
) -> GeneLine:
    values = _read_attributes(attributes)
    parents = values.get("Parent", "")
    found = _PARENT.search(attributes) if parents else None
    biotype = values.get("biotype") or values.get("transcript_type") or ""
    spelled_kind = decode(kind).lower()
    dbxref = _GENE_DBXREF.search(values.get("Dbxref", ""))
    own_id = decode(identifier.removeprefix(b"\0")) if identifier else ""
    return GeneLine(
        contig=contig,
        start=start,
        end=end,
        strand=strand,
        kind=spelled_kind,
        identifier=unquote(own_id) or _other_name(attributes).decode(errors="replace"),
        parents=tuple(found[1].split(b",")) if found else (),
        name=values.get("Name", ""),
        gene_name=values.get("gene_name") or values.get("gene") or "",
        gene_id=values.get("gene_id") or (dbxref[1] if dbxref else values.get("locus_tag", "")),
        transcript_id=values.get("transcript_id", ""),
        biotype=biotype,
        is_selected=any(
            tag.strip().lower().replace(" ", "_") in _SELECTED
            for tag in values.get("tag", "").split(",")
        ),
        is_pseudo=values.get("pseudo") == "true" or "pseudogene" in values,
    )


def _read_attributes(attributes: bytes) -> dict[str, str]:
    """The attributes of a line; of one that is there twice, the first."""
    values: dict[str, str] = {}
    for one in decode(attributes).split(";"):
        name, _, value = one.strip(" ").partition("=")
        values.setdefault(name, unquote(value) if "%" in value else value)
    return values


def _identifier(attributes: bytes) -> bytes:
    found = _ID.search(attributes)
    return found[1] if found else b""


def _other_name(attributes: bytes) -> bytes:
    """A name of a feature without ``ID``."""
    values = _read_attributes(attributes)
    names = ("locus_tag", "protein_id", "transcript_id", "Name", "gene")
    return next(filter(None, map(values.get, names)), "").encode()
