"""Lists of variants: ``chr-pos-ref-alt``, ``chr:pos:ref:alt``, SPDI or HGVS, one on a line.

A list may have more columns, for example the gene, and a header. Whether a comma begins the next
allele or the next column is decided over the whole list.
"""

from __future__ import annotations

import difflib
import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from evo2_tasks.errors import InputError
from evo2_tasks.genome import table_cells
from evo2_tasks.genome.foreign_formats import explain_entry
from evo2_tasks.genome.hgvs import is_hgvs, looks_like_hgvs, looks_like_other_hgvs, read_hgvs
from evo2_tasks.genome.records import CarryField, InvalidRecord, NoAllele, Record
from evo2_tasks.genome.variant_tables import NULL_TEXTS
from evo2_tasks.io.lines import MAX_ROW_BYTES, decode, drop_mark, read_lines
from evo2_tasks.io.vcf_text import Unreadable, parse_position
from evo2_tasks.io.words import shown, shown_path

if TYPE_CHECKING:
    from evo2_tasks.genome.reference import Reference

logger = logging.getLogger(__name__)

SEPARATORS = "-:"
MAX_START = 2**63 - 1

# A RefSeq accession with version. A line with colons that begins with one is SPDI, whose positions
# count from 0.
_ACCESSION = re.compile(r"[A-Z]{2}_[A-Z]*[0-9]+\.[0-9]+")
_BASES_OR_NONE = re.compile(r"[A-Za-z]*")
_ALLELES = re.compile(r"[A-Za-z,.*]+")
_PLAIN_BASES = re.compile(r"[ACGT]+", re.IGNORECASE)


# A cell that can hold a variant at all; most cells of other columns fail this quickly.
_POSITION = re.compile(r"[-:]\+?[0-9]+[-:]|:[cgmnopr]\.")
_COMMENT = re.compile(r"[ \t]+#.*")
_NUMBER = re.compile(r"[+-]?[0-9]+")
_HEADER_WORD = re.compile(
    r"\W*([a-z0-9]+[_ .-])*(variants?|ids?|snps?|snvs?|spdi|hgvs|alleles?|mutations?|names?"
    r"|markers?|keys?|loc(us|i)|coordinates?)([_ .-][a-z0-9]+)*\W*"
    r"|\W*(chr\w*|contig)[:-]pos\w*[:-]ref\w*[:-]alt\w*\W*",
    re.IGNORECASE,
)
_DELIMITERS = ("\t", ",", " ")
_DELIMITER = re.compile(r"[\t, ]")
_WHOLE = ("", 0)
_EVERYWHERE = [_WHOLE, *((delimiter, 0) for delimiter in _DELIMITERS)]


_Column = tuple[str, int]
"""A delimiter and the index of a column; without a delimiter, the whole line."""
_Kind = Literal["alleles", "hgvs", "other"]
"""Kinds of variants: with their alleles, HGVS of the genome, and HGVS of anything else."""


class ListLayout(NamedTuple):
    """Where the variants of a list are.

    Attributes:
        header: Number of the line with the names of the columns; 0 if there is none.
        names: The names of the columns; empty if there is no header.
        delimiter: Tab, comma, or a blank for any number of blanks; empty if the list has one
            column.
        column: Index of the column of the variants.
        num_lines: Number of lines with data.
        num_fitting: How many of them have a variant there.
    """

    header: int
    names: tuple[str, ...]
    delimiter: str
    column: int
    num_lines: int
    num_fitting: int


class VariantListReader:
    """Reads a list of variants, plain, gzip or bgzip.

    A contig name may itself contain ``-`` and ``:``. The separator of a line is the last of the two
    in it, and the line is split from the right. SPDI is turned into the spelling of VCF: an
    insertion or deletion gets the base before it, or the base after it at the start of a contig.

    Args:
        path: The file.
        carry: Columns to carry along, as text. They need a header.
        reference: The reference that the variants refer to.

    Raises:
        InputError: A column of ``carry`` is not in the header, or several columns hold variants.
    """

    def __init__(self, path: Path, carry: Sequence[str], reference: Reference) -> None:
        self.path = path
        self._reference = reference
        try:
            self._layout = find_layout(add_heading(_find_comment(path), _data_lines(path)))
        except ValueError as error:
            raise InputError(f"{shown_path(path)}: {error}") from error
        self._carried = [self._find_column(name) for name in carry]
        self.carry_fields = tuple(CarryField(name, "string") for name in carry)
        if self._layout.delimiter and not self._layout.header:
            logger.warning(
                "%s: the first column is read as the variant; further columns are not read, "
                "neither as alleles nor to carry. To carry them, add a header.",
                shown_path(path),
            )

    def records(self) -> Iterator[Record | NoAllele | InvalidRecord]:
        """The lines in the order of the file; blank lines and comments (``#``) are skipped."""
        layout = self._layout
        for number, text in _data_lines(self.path):
            if number == layout.header:
                continue
            cells = split_cells(text, layout.delimiter)
            if cells is None:
                yield InvalidRecord("open_quote", "a quoted field has no closing quote", number)
                continue
            if layout.header and len(cells) > len(layout.names) and any(cells[len(layout.names) :]):
                explanation = f"{len(cells)} columns, but the header has {len(layout.names)}"
                yield InvalidRecord("too_many_columns", explanation, number)
                continue
            cells += [""] * (max(layout.column + 1, len(layout.names)) - len(cells))
            record = parse_entry(cells[layout.column].strip(" \t"), self._reference)
            carried = tuple(_as_carried(cells[column].strip()) for column in self._carried)
            if isinstance(record, Unreadable):
                yield InvalidRecord(*record, number)
            elif isinstance(record, Record):
                yield record._replace(carried=(carried,) * len(record.alts) if carried else ())
            else:
                yield record._replace(carried=carried)

    def log_problems(self) -> None:
        """Do nothing: carried columns are text, which always fits."""

    def _find_column(self, name: str) -> int:
        names = self._layout.names
        if names.count(name) == 1:
            return names.index(name)
        problem = "the list has no header that names columns. Add one, for example: variant,gene"
        if names:
            by_lower = {other.lower(): other for other in names}
            near = difflib.get_close_matches(name.lower(), by_lower, n=3)
            hint = " or ".join(by_lower[one] for one in near)
            problem = (
                f"the list has {'more than one' if name in names else 'no'} column of that name"
                f"{f'; did you mean {shown(hint)}?' if near and name not in names else '.'} The "
                f"columns are: {shown(', '.join(names), 400)}"
            )
        raise InputError(f"{shown_path(self.path)}: carry: '{shown(name)}': {problem}.")


def find_layout(lines: Iterable[tuple[int, str]]) -> ListLayout:
    """Find the column of the variants, over all lines together.

    A column of HGVS is that of the variants only if no other column holds variants.

    Args:
        lines: The data lines with their numbers, without comments.

    Raises:
        ValueError: Several columns hold variants.
    """
    first: tuple[int, str] | None = None
    first_fits = False
    counts = _Counts()
    for line in lines:
        found = _find_variants(line[1])
        if first is None:
            first, first_fits = line, bool(found)
            if not first_fits:
                continue
        counts.add(line, found)
    if first is None:
        return ListLayout(0, (), "", 0, 0, 0)
    number, text = first
    if not first_fits and counts.num_lines:
        for delimiter in _DELIMITERS:
            names = split_cells(text, delimiter) if delimiter in text else None
            columns = counts.find_columns(delimiter)
            is_used = 2 * counts.with_delimiter[delimiter] >= counts.num_lines
            is_header = names is not None and not any(map(_NUMBER.fullmatch, names))
            if is_used and is_header and names and len(names) > max(columns, default=len(names)):
                return _with_header(number, names, delimiter, columns, counts)
        if counts.num_fitting(*_WHOLE) and len(text) <= 80 and _HEADER_WORD.fullmatch(text):
            num_whole = counts.num_fitting(*_WHOLE)
            return ListLayout(number, (text.strip('"'),), "", 0, counts.num_lines, num_whole)
    counts.num_lines += not first_fits
    for delimiter in _DELIMITERS:
        is_used = 2 * counts.with_delimiter[delimiter] >= counts.num_lines
        num_first = counts.num_fitting(delimiter, 0)
        if delimiter == ",":
            is_used = is_used and counts.alleles.are_columns(counts.num_lines)
        elif num_first <= counts.num_fitting(*_WHOLE):
            is_used = False
        if is_used and 2 * num_first >= counts.num_lines:
            if delimiter in counts.several:
                raise ValueError(_describe_several(*counts.several[delimiter]))
            return ListLayout(0, (), delimiter, 0, counts.num_lines, num_first)
    return ListLayout(0, (), "", 0, counts.num_lines, counts.num_fitting(*_WHOLE))


class _Counts:
    """How many lines of a list have a variant in which column, by the delimiter.

    Attributes:
        num_lines: Number of lines.
        with_delimiter: How many of them contain a delimiter.
        alleles: What comes after commas.
        several: By delimiter, the first line with a variant behind its first column.
    """

    def __init__(self) -> None:
        self.num_lines = 0
        self.with_delimiter = Counter[str]()
        self.alleles = _CommaCounts()
        self.several: dict[str, tuple[int, str]] = {}
        self._by_kind = Counter[tuple[_Kind, _Column]]()

    def add(self, line: tuple[int, str], found: Mapping[_Column, _Kind]) -> None:
        """Count a line with its variants."""
        self.num_lines += 1
        for delimiter in set(_DELIMITER.findall(line[1])):
            self.with_delimiter[delimiter] += 1
        for place, kind in found.items():
            self._by_kind[kind, place] += 1
            is_another = kind == "hgvs" == found.get((place[0], 0))
            if place[1] and (kind == "alleles" or is_another):
                self.several.setdefault(place[0], line)
        if (",", 0) in found:
            self.alleles.add(line[1])

    def num_fitting(self, delimiter: str, column: int) -> int:
        """How many lines have a variant in a column.

        HGVS of transcripts counts only beside others: a list of it alone is refused with advice.
        """
        place = (delimiter, column)
        num_read = self._by_kind["alleles", place] + self._by_kind["hgvs", place]
        return num_read + self._by_kind["other", place] if num_read else 0

    def find_columns(self, delimiter: str) -> list[int]:
        """The columns with variants in at least half of the lines: those of HGVS, or others."""
        columns = sorted({place[1] for _, place in self._by_kind if place[0] == delimiter})
        fitting = [c for c in columns if 2 * self.num_fitting(delimiter, c) >= self.num_lines]
        with_alleles = [
            c for c in fitting if 2 * self._by_kind["alleles", (delimiter, c)] >= self.num_lines
        ]
        return with_alleles or fitting


def _describe_several(number: int, text: str) -> str:
    return (
        f"line {number}: '{shown(text, 60)}' has several variants. Write one variant on each line, "
        f"for example: tr ', \\t' '\\n' < FILE > NEW. If the further columns are not to be scored, "
        f"add a header that names the columns, and keep one column of variants"
    )


def add_heading(
    comment: tuple[int, bytes] | None, lines: Iterator[tuple[int, str]]
) -> Iterator[tuple[int, str]]:
    """The data lines, after the comment above them if it names their columns.

    Args:
        comment: The last comment above the data, if there is one.
        lines: The data lines with their numbers.
    """
    first = next(lines, None)
    if first is None:
        return
    if comment is not None and not comment[1].startswith(b"##"):
        text = decode(comment[1]).lstrip("# ")
        if text.count("\t") == first[1].count("\t") > 0 and _POSITION.search(text) is None:
            yield comment[0], text
    yield first
    yield from lines


def split_cells(text: str, delimiter: str) -> list[str] | None:
    """The cells of a line; None if the quotes of a cell are not closed properly."""
    if not delimiter:
        is_quoted = len(text) > 1 and text[0] == text[-1] == '"' and text.count('"') == 2
        return [text[1:-1] if is_quoted else text]
    if delimiter == " ":
        return text.split()
    cells = table_cells.split_cells(text, delimiter)
    return None if isinstance(cells, str) else cells


def looks_like_variant(text: str) -> bool:
    """Whether a text is a variant in one of the forms that a list may use."""
    return _find_kind(text) in ("alleles", "hgvs")


def _find_kind(text: str) -> _Kind | None:
    """What kind of variant a text is; None if it is none."""
    if _POSITION.search(text) is None or len(text.split()) != 1:
        return None
    if looks_like_hgvs(text):
        return "hgvs"
    if _has_alleles(text):
        return "alleles"
    return "other" if looks_like_other_hgvs(text) else None


def _has_alleles(text: str) -> bool:
    """Whether a text is ``chr-pos-ref-alt``, ``chr:pos:ref:alt`` or SPDI."""
    fields = _split(text)
    if len(fields) != 4 or not fields[0] or parse_position(fields[1].encode()) is None:
        return False
    return bool(_ALLELES.fullmatch(fields[2]) and _ALLELES.fullmatch(fields[3])) or (
        _ACCESSION.fullmatch(fields[0]) is not None
    )


def strip_comment(line: bytes) -> str:
    """The text of a line, without a comment behind its variant."""
    text = decode(line).strip(" \t")
    if "#" in text:
        entry = _COMMENT.sub("", text, count=1)
        if looks_like_variant(entry):
            return entry
    return text


class _CommaCounts:
    """Whether what follows a comma is the next allele or the next column."""

    def __init__(self) -> None:
        self._num = self._num_implausible = 0
        self._endings: set[str] = set()

    def add(self, text: str) -> None:
        """Count a line whose first cell is a variant."""
        cells = split_cells(text, ",") or [text]
        if len(cells) > 1:
            self._num += 1
            self._num_implausible += not _may_be_alts(*cells)
            if len(self._endings) < 2:
                self._endings.add(",".join(cells[1:]))

    def are_columns(self, num_lines: int) -> bool:
        """Whether most of it cannot be alleles, or is one longer text on all lines (a gene)."""
        is_everywhere = self._num == num_lines
        is_same = len(self._endings) == 1 and any(len(ending) > 1 for ending in self._endings)
        least = self._num - (1 if is_everywhere else 0)
        return 2 * self._num_implausible > least or (is_everywhere and is_same and num_lines > 1)


def _may_be_alts(variant: str, *texts: str) -> bool:
    """Whether texts may be more alternate alleles of a variant. HGVS has one."""
    if _find_kind(variant.strip(" \t")) != "alleles":
        return False
    ref = _split(variant)[2]
    return all(_may_be_alt(text, ref) for text in texts)


def _may_be_alt(text: str, ref: str) -> bool:
    """Whether a text may be an ALT of this REF: one base, as many as REF, or an indel as in VCF."""
    if text in ("*", "."):
        return True
    if not _PLAIN_BASES.fullmatch(text):
        return False
    return len(text) in (1, len(ref)) or text[0].upper() == ref[:1].upper()


def _find_variants(text: str) -> dict[_Column, _Kind]:
    """The kinds of the variants of a line, by delimiter and column, and of the whole line."""
    if _POSITION.search(text) is None:
        return {}
    if _DELIMITER.search(text) is None and '"' not in text:  # most lists have one column
        kind = _find_kind(text)
        return {} if kind is None else dict.fromkeys(_EVERYWHERE, kind)
    found = {}
    for delimiter in ("", *_DELIMITERS):
        for column, cell in enumerate(split_cells(text, delimiter) or []):
            kind = _find_kind(cell.strip(" \t"))
            if kind is not None:
                found[delimiter, column] = kind
    return found


def _with_header(
    number: int,
    names: Sequence[str],
    delimiter: str,
    columns: Sequence[int],
    counts: _Counts,
) -> ListLayout:
    bare = tuple(name.strip(" \t").removeprefix("#") for name in names)
    named = [column for column in columns if bare[column].lower() == "hgvs"]
    columns = named if len(named) == 1 else columns
    if len(columns) > 1:
        listed = ", ".join(bare[column] for column in sorted(columns))
        raise ValueError(
            f"line {number}: several columns hold variants ({shown(listed, 200)}). Keep one of them"
        )
    num_fitting = counts.num_fitting(delimiter, columns[0])
    return ListLayout(number, bare, delimiter, columns[0], counts.num_lines, num_fitting)


def _data_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not blank and not comments, with their numbers."""
    for number, line in enumerate(read_lines(path, max_line_bytes=MAX_ROW_BYTES), start=1):
        text = strip_comment(drop_mark(line) if number == 1 else line)
        if text and not text.startswith("#"):
            yield number, text


def _find_comment(path: Path) -> tuple[int, bytes] | None:
    """The last comment above the data."""
    comment = None
    for number, line in enumerate(read_lines(path, max_line_bytes=MAX_ROW_BYTES), start=1):
        kept = drop_mark(line) if number == 1 else line
        if kept.startswith(b"#"):
            comment = number, kept
        elif kept.strip(b" \t"):
            break
    return comment


def _as_carried(text: str) -> str | None:
    return None if text in NULL_TEXTS else text


def _split(text: str) -> list[str]:
    separator = max(SEPARATORS, key=text.rfind)
    return text.rsplit(separator, 3)


def parse_entry(text: str, reference: Reference) -> Record | NoAllele | Unreadable:
    """Read the variant of a line, or state why it cannot be read.

    Args:
        text: `chr-pos-ref-alt`, `chr:pos:ref:alt`, SPDI, or HGVS of the genome.
        reference: The reference that the variant refers to.
    """
    if looks_like_hgvs(text) or (is_hgvs(text) and not _has_alleles(text)):
        return read_hgvs(text, reference)
    fields = _split(text)
    if len(fields) < 4 or not fields[0] or len(text.split()) > 1:
        explanation = explain_entry(text)
        if explanation is not None:
            return Unreadable("unknown_notation", f"'{shown(text)}' looks like {explanation}")
        return Unreadable(
            "unknown_notation",
            f"'{shown(text)}' is not a variant; expected chr-pos-ref-alt, chr:pos:ref:alt, SPDI or "
            "HGVS",
        )
    contig, pos_text, ref, alt = fields
    pos = parse_position(pos_text.encode())
    if pos is None:
        explanation = f"position '{shown(pos_text)}' is not a 64-bit integer"
        return Unreadable("bad_position", explanation)
    if text[len(contig)] == ":" and _ACCESSION.fullmatch(contig):
        return _parse_spdi(contig, pos, ref, alt, reference)
    alts = alt.split(",")
    if not ref or "" in alts:
        return Unreadable(
            "empty_alt" if ref else "empty_column",
            "an allele is empty; only SPDI (RefSeq accession, then colons) may have that",
        )
    return Record(contig, pos, ref, alts, None, ())


def _parse_spdi(
    contig: str, start: int, deleted: str, inserted: str, reference: Reference
) -> Record | NoAllele | Unreadable:
    """Turn an SPDI into the spelling of VCF.

    Args:
        contig: Name of the sequence.
        start: Number of bases before the change.
        deleted: The replaced bases (may be empty), or their number.
        inserted: The bases that replace them; may be empty.
        reference: The reference that the variant refers to.

    Returns:
        The variant. If ``deleted`` is a number and the reference does not have these bases: a
        `NoAllele`. If the SPDI cannot be read: why.

    Source:
        Holmes et al. 2020, SPDI: data model for variants and applications at NCBI.
    """
    if not 0 <= start < MAX_START:
        return Unreadable(
            "bad_position",
            f"position '{start}' is out of range; SPDI counts the bases before the change, from 0",
        )
    if not _BASES_OR_NONE.fullmatch(inserted):
        explanation = f"inserted sequence '{shown(inserted)}', expected letters only"
        return Unreadable("bad_sequence", explanation)
    name = reference.resolve(contig)
    length = reference.contigs[name] if name is not None else 0
    if not _BASES_OR_NONE.fullmatch(deleted):
        number = parse_position(deleted.encode())
        if number is None or number < 0:
            return Unreadable(
                "bad_sequence",
                f"deleted sequence '{shown(deleted)}', expected letters or the number of bases",
            )
        if name is None:
            return NoAllele(contig, start + 1, "contig_not_found", reference.why_not_found(contig))
        if start + number > length:
            reason = "after_end" if start >= length else "reaches_past_end"
            return NoAllele(contig, start + 1, "position_out_of_range", reason)
        deleted = reference.fetch(name, start, start + number)
    end = start + len(deleted)
    if (deleted and inserted) or name is None or end > length:
        return Record(contig, start + 1, deleted, [inserted], None, ())
    if start == 0:
        after = reference.fetch(name, end, min(end + 1, length))
        return Record(contig, 1, deleted + after, [inserted + after], None, ())
    before = reference.fetch(name, start - 1, start)
    return Record(contig, start, before + deleted, [before + inserted], None, ())
