"""Consequences that the input states: VEP's ``CSQ``, SnpEff's ``ANN``, bcftools' ``BCSQ``.

Each of these INFO fields has entries joined by commas, one for each allele and transcript, and the
header names the columns of an entry. Which program wrote a field is recognised by the columns, not
by the name of the field: VEP writes ``ANN`` too if it is asked to. The file is long because it
holds the conventions of three programs, which differ in how an entry names its allele.
"""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Final, Literal, NamedTuple

from evo2_tasks.errors import InputError
from evo2_tasks.genome.alleles import TrimmedAllele, trim
from evo2_tasks.genome.carry import decode_percent
from evo2_tasks.genome.protein_changes import ProteinChange, parse_change, shorten, spell_change
from evo2_tasks.genome.records import Variant
from evo2_tasks.genome.terms import (
    BCFTOOLS_TERMS,
    INTERGENIC,
    RANKS,
    SPECIFIC_TERMS,
    Consequence,
    find_most_severe,
    transcript_preference,
)
from evo2_tasks.io.vcf_text import VcfHeader
from evo2_tasks.io.words import shown, shown_path

logger = logging.getLogger(__name__)

MAX_WAITING: Final = 100_000
"""Records that wait for one further on, to which their field refers."""

_HGVS: Final = 400  # characters of a name: more than those that are shown
_REMEMBERED: Final = 5  # unknown terms, for a message
_PLACES: Final = re.compile(r"(?:^|,)@([0-9]{1,18})")
_CHANGE: Final = re.compile(r"([0-9]{1,18})([A-Za-z]*)>([A-Za-z]*)")
_NUMBER: Final = re.compile(r"[0-9]{1,18}(?![0-9])")
_AMINO_ACID: Final = re.compile(r"[A-Z][a-z]{2}")
_LETTERS: Final[Mapping[str, str]] = {
    "Ala": "A", "Arg": "R", "Asn": "N", "Asp": "D", "Asx": "B", "Cys": "C", "Gln": "Q",
    "Glu": "E", "Glx": "Z", "Gly": "G", "His": "H", "Ile": "I", "Leu": "L", "Lys": "K",
    "Met": "M", "Phe": "F", "Pro": "P", "Pyl": "O", "Sec": "U", "Ser": "S", "Ter": "*",
    "Thr": "T", "Trp": "W", "Tyr": "Y", "Val": "V", "Xaa": "X",
}  # fmt: skip
_SYMBOLIC: Final[Mapping[str, str]] = {
    "DEL": "deletion",
    "DUP": "duplication",
    "DUP:TANDEM": "tandem_duplication",
    "INS": "insertion",
    "INV": "inversion",
}
"""How VEP names a symbolic allele."""

Program = Literal["VEP", "SnpEff", "bcftools"]


class Entry(NamedTuple):
    """An entry of the field: the effect of an allele on a transcript, or on another feature.

    Attributes:
        cells: Its columns.
        terms: Terms of the Sequence Ontology.
        allele: The allele as the program spells it; null if it does not name one.
        number: Number of the allele in its record, from 1; null if it is not stated.
        changes: Alleles of the haplotype that has the effect, trimmed, by bcftools.
    """

    cells: _Cells
    terms: tuple[str, ...]
    allele: str | None = None
    number: int | None = None
    changes: tuple[TrimmedAllele, ...] = ()


class Feature(NamedTuple):
    """The transcript or other feature of an entry; what is not stated is null.

    Attributes:
        gene: Name of the gene, or its identifier.
        gene_id: Identifier of the gene.
        transcript: Identifier of the transcript; null for another feature.
        strand: ``+`` or ``-``.
        amino_acids: The change of the protein.
        is_selected: Whether the transcript is MANE Select, canonical or VEP's own pick.
        cds_length: Bases of the coding sequence; 0 if it is not stated.
    """

    gene: str | None
    gene_id: str | None
    transcript: str | None
    strand: str | None
    amino_acids: str | None
    is_selected: bool = False
    cds_length: int = 0

    @property
    def preference(self) -> tuple[bool, tuple[bool, int, str]]:
        """Features of one severity are chosen in this order, the smallest first."""
        return self.transcript is None, transcript_preference(
            is_selected=self.is_selected,
            cds_length=self.cds_length,
            transcript=self.transcript or "",
        )


@dataclass(frozen=True, slots=True)
class FieldFormat:
    """The entries of a field, as the header describes them.

    Attributes:
        field: The INFO field.
        program: The program that wrote it.
        columns: The place of each column, by its name in lower case.
        names_all: Whether a record without the field is one without a gene. Only bcftools leaves
            it out there, and only in local mode: else it has left out what no sample carries.
    """

    field: str
    program: Program
    columns: Mapping[str, int]
    names_all: bool = False


def read_format(header: VcfHeader, field: str, path: Path, where: str) -> FieldFormat:
    """Read the columns of the field from the header.

    Args:
        header: Of the file.
        field: The INFO field.
        path: The file, for messages.
        where: The key of the config, for messages.

    Raises:
        InputError: The header does not define the field, or does not name its columns.
    """
    defined = {one.get("ID", ""): one.get("Description", "") for one in header.definitions("INFO")}
    if field not in defined:
        others = [name for name in ("CSQ", "ANN", "BCSQ") if name in defined]
        has = f"Name {' or '.join(others)}, which it defines" if others else "Annotate it"
        raise InputError(
            f"{where}: the header of {shown_path(path)} defines no INFO field {field!r}. {has}, or "
            "remove the key."
        )
    description = defined[field]
    _, _, listed = description.partition("Format:")
    if not listed:
        listed = description.rpartition(":")[2]
    names = [name.strip(" '\"").lower() for name in listed.split("|")]
    columns = {name: place for place, name in reversed([*enumerate(names)])}
    # ALLELE_NUM does not do in its place: it is wrong once a record has been split.
    names_allele = "allele" in columns
    if "annotation" in columns and names_allele:
        return FieldFormat(field, "SnpEff", columns)
    if "consequence" in columns:
        if "amino_acid_change" in columns:
            is_local = description.lower().startswith("local")
            return FieldFormat(field, "bcftools", columns, names_all=is_local)
        if names_allele:
            return FieldFormat(field, "VEP", columns)
    raise InputError(
        f"{where}: the header of {shown_path(path)} describes {field} as "
        f"'{shown(description, 200)}'. Expected the columns of VEP, SnpEff or bcftools csq, "
        "separated by '|': Allele (not of bcftools) and Consequence or Annotation among them. "
        "Annotate the file again with these columns."
    )


class InputConsequences:
    """Finds the consequence of each allele in the field of its record.

    Args:
        described: The columns of the field.
        path: The file, for messages.
        is_resolved: Whether an allele is spelled in A, C, G and T and its REF is in the reference.
    """

    def __init__(
        self, described: FieldFormat, path: Path, is_resolved: Callable[[Variant], bool]
    ) -> None:
        self._described = described
        self._path = path
        self._is_resolved = is_resolved
        self._reader = _READERS[described.program]
        self._unknown: dict[str, None] = {}
        self._num_unknown = self._num_unmatched = self._num_unnamed = self._num_lost = 0

    def find(self, variants: Iterable[Variant]) -> Iterator[Consequence]:
        """The consequence of each allele, in the order of the alleles.

        Args:
            variants: The rows of whole records. The first carried value is the text of the field.
        """
        records = (tuple(rows) for _, rows in groupby(variants, attrgetter("record")))
        if self._described.program == "bcftools":
            yield from self._find_bcftools(records)
        else:
            for rows in records:
                entries = self._entries(rows)
                by_row = self._match(rows, entries) if entries else [[] for _ in rows]
                yield from map(self._combine, by_row)
        self._log_problems()

    def _entries(self, rows: Sequence[Variant]) -> list[Entry]:
        text = rows[0].carried[0]
        if not isinstance(text, str):
            return []
        columns, read = self._described.columns, self._reader.read
        entries = (read(_Cells(one, columns)) for one in text.split(","))
        return [self._with_terms(one) for one in entries if one.terms]

    def _with_terms(self, entry: Entry) -> Entry:
        """The entry with the terms of the list of Ensembl, where it has them."""
        if all(term in RANKS for term in entry.terms):
            return entry
        terms = tuple(self._reader.terms.get(term, term) for term in entry.terms)
        for term in terms:
            if term not in RANKS:
                self._num_unknown += 1
                if len(self._unknown) < _REMEMBERED:
                    self._unknown.setdefault(term)
        return entry._replace(terms=terms)

    def _match(self, rows: Sequence[Variant], entries: Sequence[Entry]) -> list[list[Entry]]:
        """The entries of each row of a record, of VEP or SnpEff."""
        alts = [row.alt or "" for row in rows]
        numbers = [entry.number for entry in entries if entry.number is not None]
        is_numbered = len(numbers) == len(entries) and max(numbers) <= len(alts)
        if is_numbered and len(alts) > 1:
            # VEP's ALLELE_NUM. Of one ALT it may be that of a record that was split afterwards.
            by_number: dict[int | None, list[Entry]] = {}
            for entry in entries:
                by_number.setdefault(entry.number, []).append(entry)
            return [by_number.get(row.allele, []) for row in rows]
        by_allele: dict[str, list[Entry]] = {}
        for entry in entries:
            by_allele.setdefault((entry.allele or "").upper(), []).append(entry)
        is_vep = self._described.program == "VEP"
        ref = rows[0].ref or ""
        matched: list[list[Entry]] = [[] for _ in alts]
        # A likely spelling of one ALT before an unlikely one of another. What is left is of ALTs
        # that the record had when it was annotated.
        for spellings in zip(*spell_alleles(ref, alts, as_vep=is_vep), strict=True):
            for place, spelling in enumerate(spellings):
                if not matched[place]:
                    matched[place] = by_allele.pop(spelling, [])
        if len(alts) == len(by_allele) == 1 and not matched[0]:
            (allele,) = by_allele
            if _may_be(allele, ref, alts[0], as_vep=is_vep):
                matched[0] = [*entries]
        self._num_unmatched += any(
            alt.isalpha() and not found for alt, found in zip(alts, matched, strict=True)
        )
        return matched

    def _find_bcftools(self, records: Iterable[Sequence[Variant]]) -> Iterator[Consequence]:
        """The consequence of each allele by bcftools, where ``@123`` is an entry of another line.

        Records wait for the one that they refer to, within a contig.
        """
        waiting: deque[_Waiting] = deque()
        compound: dict[int, _ByChange] = {}
        contig: str | None = None
        for rows in records:
            first = rows[0]
            if first.contig != contig:
                yield from self._settle(waiting, compound, before=None)
                compound.clear()
                contig = first.contig
            entries = self._entries(rows)
            several = [entry for entry in entries if len(entry.changes) > 1]
            if several and first.pos is not None:
                _add_entries(compound.setdefault(first.pos, {}), several)
                if len(compound) > MAX_WAITING:
                    del compound[next(iter(compound))]
            text = first.carried[0]
            places = _PLACES.findall(text) if isinstance(text, str) and "@" in text else ()
            numbers = frozenset(map(int, places))
            waiting.append(_Waiting(rows, entries, numbers, max(numbers, default=-1)))
            yield from self._settle(waiting, compound, before=first.pos)
        yield from self._settle(waiting, compound, before=None)

    def _settle(
        self, waiting: deque[_Waiting], compound: Mapping[int, _ByChange], *, before: int | None
    ) -> Iterator[Consequence]:
        """The consequences of the records that need no record further on.

        Args:
            waiting: The records in order; those that are settled are removed.
            compound: Entries of several changes on this contig, by position.
            before: Position of the last record that was read; None if no other one comes.
        """
        while waiting:
            is_late = len(waiting) > MAX_WAITING
            if before is not None and not is_late and waiting[0].last >= before:
                break
            rows, entries, places, _ = waiting.popleft()
            self._num_lost += any(place not in compound for place in places)
            if self._described.names_all and not isinstance(rows[0].carried[0], str):
                for row in rows:
                    # bcftools passes over symbolic alleles, also where the reference has them.
                    is_outside = (row.alt or "").isalpha() and self._is_resolved(row)
                    yield Consequence(INTERGENIC, (INTERGENIC,)) if is_outside else Consequence()
                continue
            unnamed = self._reduce(entry for entry in entries if not entry.changes)
            self._num_unnamed += len(rows) > 1 and bool(unnamed)
            own: _ByChange = {}
            _add_entries(own, entries)
            named = [own, *(compound[place] for place in places if place in compound)]
            for row in rows:
                change = _change_of(row)
                found = [entry for one in named for entry in one.get(change, ())] if change else []
                is_stated = (row.alt or "").isalpha()
                yield self._combine([*unnamed, *found] if is_stated else [])

    def _combine(self, entries: Sequence[Entry]) -> Consequence:
        """The consequence of an allele, from its entries."""
        if not entries:
            return Consequence()
        terms = {term for entry in entries for term in entry.terms}
        worst = find_most_severe(terms)
        if worst == INTERGENIC:  # SnpEff names the neighbours of the place
            return Consequence(worst, tuple(sorted(terms)))
        features = (self._reader.describe(entry) for entry in entries if worst in entry.terms)
        chosen = min(features, key=attrgetter("preference"))
        return Consequence(
            worst,
            tuple(sorted(terms)),
            chosen.gene,
            chosen.gene_id,
            chosen.transcript,
            chosen.strand,
            chosen.amino_acids,
        )

    def _reduce(self, entries: Iterable[Entry]) -> list[Entry]:
        """Of the entries with each term, the one that is chosen first."""
        best: dict[str, tuple[tuple[object, ...], Entry]] = {}
        for entry in entries:
            preference = self._reader.describe(entry).preference
            for term in entry.terms:
                if term not in best or preference < best[term][0]:
                    best[term] = preference, entry
        kept = {id(entry): entry for _, entry in best.values()}
        return list(kept.values())

    def _log_problems(self) -> None:
        name, field = shown_path(self._path), self._described.field
        if self._unknown:
            terms = ", ".join(map(shown, self._unknown))
            logger.warning(
                "%s: %s: terms that are not in the list of Ensembl: %s (%d in total). They are in "
                "`consequences`; `consequence` is one of them only where there is no other",
                name, field, terms, self._num_unknown,
            )  # fmt: skip
        if self._num_unmatched:
            logger.warning(
                "%s: %s: records with an ALT that no entry names: %d. Such an ALT has no "
                "consequence",
                name, field, self._num_unmatched,
            )  # fmt: skip
        if self._num_unnamed:
            logger.warning(
                "%s: %s: records with several ALTs and entries that do not say of which ALT they "
                "are: %d. These entries count for every ALT. To avoid this, split the records with "
                "`bcftools norm -m -any` before `bcftools csq`",
                name, field, self._num_unnamed,
            )  # fmt: skip
        if self._num_lost:
            logger.warning(
                "%s: %s: records that refer to a record (@POS) which is not there: %d",
                name, field, self._num_lost,
            )  # fmt: skip


_ByChange = dict[TrimmedAllele, list["Entry"]]
"""Entries by each allele of their haplotypes."""


def _add_entries(by_change: _ByChange, entries: Iterable[Entry]) -> None:
    for entry in entries:
        for change in entry.changes:
            by_change.setdefault(change, []).append(entry)


class _Waiting(NamedTuple):
    """A record of bcftools with its entries.

    Attributes:
        rows: Its rows.
        entries: Its entries.
        places: The positions that it refers to.
        last: The last of them; -1 if there is none.
    """

    rows: Sequence[Variant]
    entries: list[Entry]
    places: frozenset[int]
    last: int


class _Cells:
    """The cells of an entry by the names of their columns."""

    __slots__ = ("_cells", "_columns")

    def __init__(self, entry: str, columns: Mapping[str, int]) -> None:
        self._cells = entry.split("|")
        self._columns = columns

    def get(self, *names: str) -> str | None:
        """The first of these columns with a value; null if none has one."""
        cells = self._cells
        for name in names:
            place = self._columns.get(name, len(cells))
            if place < len(cells) and (value := cells[place].strip()) not in ("", "."):
                return decode_percent(value)
        return None

    def terms(self, name: str) -> tuple[str, ...]:
        """The terms of a column, which are joined by ``&``."""
        text = self.get(name) or ""
        return tuple(term for part in text.split("&") if (term := part.strip()))


def _read_vep(cells: _Cells) -> Entry:
    number = _read_number(cells.get("allele_num"))
    return Entry(cells, cells.terms("consequence"), cells.get("allele"), number)


def _describe_vep(entry: Entry) -> Feature:
    cells = entry.cells
    mane = cells.get("mane_select") or cells.get("mane")
    is_mane = mane is not None and mane.lower() != "mane_plus_clinical"
    position, amino_acids = cells.get("protein_position"), cells.get("amino_acids")
    return Feature(
        gene=cells.get("symbol", "gene"),
        gene_id=cells.get("gene"),
        transcript=(
            cells.get("feature") if cells.get("feature_type") in (None, "Transcript") else None
        ),
        strand={"1": "+", "+1": "+", "-1": "-", "+": "+", "-": "-"}.get(cells.get("strand") or ""),
        amino_acids=_spell_vep(position, amino_acids, entry.terms),
        is_selected=is_mane or cells.get("canonical") == "YES" or cells.get("pick") == "1",
        cds_length=_length(cells.get("cds_position")),
    )


def _read_snpeff(cells: _Cells) -> Entry:
    return Entry(cells, cells.terms("annotation"), cells.get("allele"))


def _describe_snpeff(entry: Entry) -> Feature:
    cells = entry.cells
    is_transcript = (cells.get("feature_type") or "").lower() == "transcript"
    return Feature(
        gene=cells.get("gene_name", "gene_id"),
        gene_id=cells.get("gene_id"),
        transcript=cells.get("feature_id") if is_transcript else None,
        strand=None,
        amino_acids=_spell_hgvs(cells.get("hgvs.p")),
        cds_length=_length(cells.get("cds.pos / cds.length", "cds.pos/cds.length")),
    )


def _read_bcftools(cells: _Cells) -> Entry:
    terms = tuple(term.lstrip("*") for term in cells.terms("consequence"))
    if terms and terms[0].startswith("@"):  # an entry of another record, which is looked up
        return Entry(cells, ())
    return Entry(cells, terms, changes=tuple(_read_changes(cells.get("dna_change") or "")))


def _describe_bcftools(entry: Entry) -> Feature:
    cells = entry.cells
    spelled = cells.get("amino_acid_change") or ""
    change = parse_change(spelled) if _read_number(spelled) is not None else None
    strand = cells.get("strand")
    return Feature(
        gene=cells.get("gene"),
        gene_id=None,
        transcript=cells.get("transcript"),
        strand=strand if strand in ("+", "-") else None,
        amino_acids=None if change is None else spell_change(change, frozenset(entry.terms)),
    )


class _Reader(NamedTuple):
    """How the entries of a program are read.

    Attributes:
        read: Reads the allele and the terms of an entry.
        describe: Reads the rest, for the entries that it takes.
        terms: Terms of the program that are not in the list of Ensembl, with those that are.
    """

    read: Callable[[_Cells], Entry]
    describe: Callable[[Entry], Feature]
    terms: Mapping[str, str]


_READERS: Final[Mapping[Program, _Reader]] = {
    "VEP": _Reader(_read_vep, _describe_vep, SPECIFIC_TERMS),
    "SnpEff": _Reader(_read_snpeff, _describe_snpeff, SPECIFIC_TERMS),
    "bcftools": _Reader(_read_bcftools, _describe_bcftools, BCFTOOLS_TERMS),
}


def _read_changes(text: str) -> Iterator[TrimmedAllele]:
    """The alleles of ``121ACG>A+124TA>T``, trimmed."""
    for part in text.split("+"):
        found = _CHANGE.fullmatch(part)
        if found is not None and found[2].upper() != found[3].upper():
            yield trim(int(found[1]) - 1, found[2].upper(), found[3].upper())


def _change_of(row: Variant) -> TrimmedAllele | None:
    if row.ref is None or row.alt is None or row.ref == row.alt:
        return None
    return trim(row.start, row.ref, row.alt)


def spell_alleles(ref: str, alts: Sequence[str], *, as_vep: bool) -> Iterator[list[str]]:
    """The four spellings under which an entry may name each ALT of a record, the likeliest first.

    Args:
        ref: REF of the record, in upper case.
        alts: The ALTs, in upper case.
        as_vep: Whether VEP wrote the entry. It removes the first base of all alleles if they share
            it and one of them is an insertion or deletion, and names an empty allele ``-``.

    Source:
        Ensembl VEP, module Parser/VCF, and its option ``--minimal``.
    """
    spelled = [one for one in alts if "*" not in one and "<" not in one]
    is_indel = any(len(one) != len(ref) for one in spelled)
    cuts = is_indel and len({one[:1] for one in (ref, *spelled)}) == 1
    for alt in alts:
        yield _spell_allele(ref, alt, cuts=cuts, as_vep=as_vep)


def _may_be(allele: str, ref: str, alt: str, *, as_vep: bool) -> bool:
    """Whether an entry may name the only ALT of a record that was changed after it was annotated.

    Left-aligning turns the bases of an insertion, and changes the base before it, which SnpEff
    spells too. A symbolic allele has many names.
    """
    is_spelled = not allele.strip("ACGTUN-")
    if alt.startswith("<"):
        return not is_spelled
    if not alt.isalpha() or len(alt) == len(ref) or not is_spelled:
        return False
    if not as_vep:
        return len(allele) == len(alt)
    return sorted(allele.strip("-")) == sorted(trim(0, ref, alt).alt)


def _spell_allele(ref: str, alt: str, *, cuts: bool, as_vep: bool) -> list[str]:
    if alt.startswith("<"):
        name = alt.strip("<>")
        return [_SYMBOLIC.get(name, name).upper(), alt, name, name]
    as_record = (alt[1:] or "-") if cuts and "*" not in alt else alt
    alone = (alt[1:] or "-") if len(alt) != len(ref) and alt[:1] == ref[:1] else alt
    spellings = [as_record, alone, alt] if as_vep else [alt, as_record, alone]
    is_changed = alt.isalpha() and alt != ref
    return [*spellings, (trim(0, ref, alt).alt or "-") if is_changed else alt]


def _length(position: str | None) -> int:
    """The length in a position such as ``357/2268``; 0 if it is not stated."""
    _, has_length, length = (position or "").rpartition("/")
    return (_read_number(length) or 0) if has_length else 0


def _read_number(text: str | None) -> int | None:
    """The number at the start of a text; null if there is none, or one of more than 18 digits."""
    found = _NUMBER.match(text or "")
    return int(found[0]) if found else None


def _spell_vep(position: str | None, amino_acids: str | None, terms: Sequence[str]) -> str | None:
    """The change of a protein from VEP's columns: ``685-686`` and ``TS/PP``."""
    first = _read_number(position)
    if first is None or amino_acids is None:
        return None
    ref, has_alt, alt = amino_acids.partition("/")
    ref = ref.strip("-")
    alt = alt.strip("-") if has_alt else ref
    if "frameshift_variant" in terms and alt.endswith("X"):
        kept = alt[:-1]  # what follows the shift is not known
        if ref.startswith(kept):
            ref, alt, first = ref[len(kept) :], "", first + len(kept)
    return spell_change(ProteinChange(first, ref, alt), frozenset(terms))


def _spell_hgvs(change: str | None) -> str | None:
    """The change of a protein from its HGVS name: ``p.Glu119Asp`` is ``E119D``."""
    if change is None:
        return None
    text = change.rpartition("p.")[2][:_HGVS].replace("(", "").replace(")", "")
    text = _AMINO_ACID.sub(lambda found: _LETTERS.get(found[0], found[0]), text)
    same = re.fullmatch(r"([A-Z*])([0-9]+)=", text)
    text = f"{same[1]}{same[2]}{same[1]}" if same else text
    return shorten(text) or None
