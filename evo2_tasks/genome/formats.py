"""Recognising the format of a file of variants or regions by its content.

A file is read only as a format that it is: a header of a table is never data, and a file of another
format is refused with one line that says what it is and what to do.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from evo2_tasks.errors import InputError
from evo2_tasks.genome.bed import is_data, is_header, looks_like_feature, parse_feature
from evo2_tasks.genome.columns import (
    KEY_NAMES,
    NO_COLUMNS,
    find_columns,
    find_hgvs,
    looks_like_header,
    possible_columns,
)
from evo2_tasks.genome.foreign_formats import (
    BINARY_MAGIC,
    NUM_SAM_COLUMNS,
    explain_entries,
    explain_entry,
    explain_lines,
    explain_mark,
    explain_table,
)
from evo2_tasks.genome.hgvs import looks_like_hgvs
from evo2_tasks.genome.interval_lists import HEADER_LINES, looks_like_region, parse_interval
from evo2_tasks.genome.region_tables import explain_header, explain_rows
from evo2_tasks.genome.table_cells import DELIMITERS, find_delimiter, split_cells, split_header
from evo2_tasks.genome.variant_lists import (
    ListLayout,
    add_heading,
    find_layout,
    looks_like_variant,
    strip_comment,
)
from evo2_tasks.genome.variant_tables import is_table_header
from evo2_tasks.io.lines import MAX_ROW_BYTES, decode, drop_mark, read_lines, read_start
from evo2_tasks.io.vcf_text import BCF_MAGIC, COLUMNS, NUM_KEYS, looks_like_data
from evo2_tasks.io.words import shown, shown_path

logger = logging.getLogger(__name__)

Format = Literal["vcf", "bcf", "table", "parquet", "list", "bed", "intervals"]

FORMAT_WORDS: Mapping[Format, str] = {
    "vcf": "a VCF",
    "bcf": "a BCF",
    "table": "a table",
    "parquet": "a Parquet file",
    "list": "a list of variants",
    "bed": "a BED file",
    "intervals": "an interval list",
}
"""Formats, in the words of messages."""

REGION_FORMATS = frozenset[Format]({"bed", "intervals"})
"""Formats that list regions."""

WITHOUT_BASES = frozenset[Format]({"list", *REGION_FORMATS})
"""Formats that can only be read with the reference, because they do not state all bases. So can a
table with a column of HGVS."""

SAMPLE_BYTES = 1 << 16
"""Data lines are looked at up to this size, and at least `SAMPLE_LINES` of them if they fit into
the size of a row."""
SAMPLE_LINES = 10
MAX_COLUMNS = 1 << 21
"""Most columns of a line that shows the format. Cohorts of 10^6 samples stay below this limit."""

_EXPECTED = (
    "expected VCF, BCF, Parquet, a table with tabs or commas whose header names the columns "
    "contig, pos, ref and alt, or hgvs, a list of chr-pos-ref-alt or HGVS, or BED"
)
_EXPECTED_REGIONS = (
    "expected the regions of a BED (contig, start from 0 and end, separated by tabs) or of an "
    "interval list, which `saturate`, `random_snvs` and track sets read"
)
_BLANKS = (
    "the columns are separated by blanks; expected {expected}. Write the file again, for example: "
    "sed -E '/^##/! s/^ +//; /^##/! s/ +/\\t/g' FILE > NEW"
)

_DELIMITERS: tuple[bytes | None, ...] = (b"\t", b",", b";", b"|", None)

Line = tuple[int, bytes]
"""A line with its number, from 1."""


@dataclass
class Sample:
    """The lines of a text file that show its format.

    Attributes:
        path: The file.
        first: The first line that is not blank; number 0 if there is none.
        is_vcf: Whether a line states that this is VCF.
        header: The first line that names all columns of a table of variants; None if there is none.
        comment: The last line with ``#`` before the data.
        has_sam_header: Whether the data follow a header as in SAM and Picard's interval lists.
        data: The first data lines, without headings of genome browsers.
    """

    path: Path
    first: Line = (0, b"")
    is_vcf: bool = False
    header: Line | None = None
    comment: Line | None = None
    has_sam_header: bool = False
    data: list[Line] = field(default_factory=list)

    @property
    def lines(self) -> list[bytes]:
        """The text of the data lines."""
        return [line for _, line in self.data]

    @property
    def shown(self) -> Line:
        """The line to show in a message: the first with data, else the first."""
        return self.data[0] if self.data else self.first

    def error(self, line: Line, problem: str) -> InputError:
        """An error about a line, which is quoted."""
        number, text = line
        quoted = shown(decode(text[:60]))
        return InputError(f"{shown_path(self.path)}: line {number}: '{quoted}': {problem}.")


def find_format(
    path: Path, *, has_regions: bool = False, columns: Mapping[str, str] = NO_COLUMNS
) -> Format:
    """Recognise the format of a file by its content.

    Args:
        path: The file.
        has_regions: Whether the file is expected to list regions. One line of BED is then enough.
        columns: Names of the columns of a table, by role, as the config has them.

    Raises:
        InputError: The format cannot be read; the message states what the file looks like and how
            to convert it.
    """
    start = read_start(path)
    if start.startswith(BCF_MAGIC):
        return "bcf"
    if start.startswith(b"PAR1"):
        return "parquet"
    wanted = "regions" if has_regions else "variants"
    if not start:
        raise InputError(f"{shown_path(path)}: the file is empty; expected {wanted}.")
    for magic, name in BINARY_MAGIC.items():
        if start.startswith(magic):
            raise InputError(f"{shown_path(path)}: this is {name}; expected {wanted}.")
    if len(start) >= 8 and bytes(4) in (start[:8:2], start[1:8:2]):
        raise InputError(f"{shown_path(path)}: this is text in UTF-16; save it as UTF-8.")
    sample = read_sample(path, columns)
    if not sample.first[0]:
        raise InputError(f"{shown_path(path)}: the file has no lines but blank ones.")
    if sample.is_vcf:
        _require_vcf_columns(sample)
        return "vcf"
    if sample.header is not None:
        names = tuple(sample.header[1].upper().split(b"\t")[:NUM_KEYS])
        return "vcf" if names == COLUMNS[:NUM_KEYS] and not columns else "table"
    if columns:
        _refuse_columns(sample, columns)
    found = _find_regions(sample) if has_regions else _find_variants(sample)
    if found is None:
        raise _explain_unknown(sample, _EXPECTED_REGIONS if has_regions else _EXPECTED)
    return found


def read_sample(path: Path, columns: Mapping[str, str]) -> Sample:
    """Read the comments and the first data lines of a text file, however long the comments are."""
    sample = Sample(path)
    num_bytes = 0
    for number, raw in enumerate(read_lines(path), start=1):
        line = drop_mark(raw) if number == 1 else raw
        if not line.strip(b" \t"):
            continue
        sample.first = sample.first if sample.first[0] else (number, line)
        if not sample.is_vcf:
            _require_few_columns(sample, (number, line))
        if sample.header is None and not sample.is_vcf and not sample.data:
            sample.is_vcf = line.startswith(b"##fileformat=VCF")
            may_be_header = b"\t" in line or b"," in line or "hgvs" in columns
            may_be_header = may_be_header and len(line) <= MAX_ROW_BYTES
            if not sample.is_vcf and may_be_header and is_table_header(line, columns):
                sample.header = (number, line)
                continue
        if line.startswith(b"#"):
            sample.comment = sample.comment if sample.data else (number, line)
        elif line.startswith(HEADER_LINES) and not sample.data:
            sample.has_sam_header = True
        elif is_data(line):
            sample.data.append((number, line))
            num_bytes += len(line)
            if num_bytes >= MAX_ROW_BYTES or (
                num_bytes >= SAMPLE_BYTES and len(sample.data) >= SAMPLE_LINES
            ):
                break
    return sample


def _require_few_columns(sample: Sample, line: Line) -> None:
    """Refuse a line before it is split into so many cells that they fill the memory.

    Raises:
        InputError: The line has more than ``MAX_COLUMNS``.
    """
    if any(line[1].count(delimiter or b" ") >= MAX_COLUMNS for delimiter in _DELIMITERS):
        problem = f"this line has more than {MAX_COLUMNS:,} columns; check the format and line ends"
        raise sample.error(line, problem)


def _find_variants(sample: Sample) -> Format | None:
    """Recognise a list, or VCF without a header; refuse a table whose columns are not clear."""
    layout = _list_layout(sample)
    if _is_hgvs_table(sample, layout):
        return "table"
    header = _find_header(sample)
    if header is not None and not _is_header_of_list(layout, header[1]):
        if _names_regions(header[1]) and _most(sample, looks_like_feature):
            return "bed"
        _refuse_header(sample, *header)
    if layout.num_fitting and 2 * layout.num_fitting >= layout.num_lines:
        return "list"
    if _most(sample, looks_like_region) or _is_interval_list(sample):
        return "intervals"
    _refuse_foreign(sample)
    if _most(sample, looks_like_data):
        return "vcf"
    if _most(sample, looks_like_feature):
        return "bed"
    return None


def _find_regions(sample: Sample) -> Format | None:
    """Recognise a file of regions. Of a format of variants, the caller says what is wrong."""
    if _most(sample, looks_like_region) or _is_interval_list(sample):
        return "intervals"
    if _most(sample, looks_like_data) and not _most(sample, looks_like_feature):
        return "vcf"
    if _most(sample, lambda line: looks_like_variant(strip_comment(line))):
        return "list"
    _refuse_foreign(sample, has_regions=True)
    _refuse_tables_of_regions(sample)
    if _most(sample, looks_like_data):
        return "vcf"
    return "bed" if any(map(looks_like_feature, sample.lines)) else None


def _most(sample: Sample, looks_right: Callable[[bytes], bool]) -> bool:
    """Whether at least half of the data lines look like those of a format."""
    num_fitting = sum(map(looks_right, sample.lines))
    return bool(num_fitting) and 2 * num_fitting >= len(sample.data)


def _is_interval_list(sample: Sample) -> bool:
    """Whether lines after a header as in SAM are intervals; those of SAM are not."""
    return sample.has_sam_header and any(map(_looks_like_interval, sample.lines))


def _looks_like_interval(line: bytes) -> bool:
    try:
        parse_interval(line)
    except ValueError:
        return False
    return line.count(b"\t") < NUM_SAM_COLUMNS - 1


def _list_layout(sample: Sample) -> ListLayout:
    lines = [(number, strip_comment(line)) for number, line in sample.data]
    try:
        return find_layout(add_heading(sample.comment, iter(lines)))
    except ValueError as error:
        raise InputError(f"{shown_path(sample.path)}: {error}.") from error


def _is_hgvs_table(sample: Sample, layout: ListLayout) -> bool:
    """Whether the variants are in a column that is called HGVS, in a table with tabs or commas."""
    if layout.header:
        fits = 2 * layout.num_fitting >= layout.num_lines and layout.delimiter in DELIMITERS
        return fits and find_hgvs(layout.names) == layout.names[layout.column]
    # R writes row names without a name for their column.
    names = split_header(sample.lines[0]) if sample.data else []
    hgvs = find_hgvs(names)
    if hgvs is None or len(names) < 2:
        return False
    delimiter = find_delimiter(sample.lines[0]).encode()
    rows = [_split_row(line, delimiter) for line in sample.lines[1:]]
    after = names.index(hgvs) + 1
    num = sum(len(row) == len(names) + 1 and looks_like_hgvs(row[after]) for row in rows)
    return num > 0 and 2 * num >= len(rows)


def _find_header(sample: Sample) -> tuple[Line, list[str], str] | None:
    """A line that looks like the header of a table, its names and its delimiter; else None.

    It is the first data line, or the comment above it that has as many columns.
    """
    candidates = [(line, sample.lines[1:], False) for line in sample.data[:1]]
    if sample.comment is not None and not sample.comment[1].startswith(b"##"):
        candidates.append((sample.comment, sample.lines, True))
    for line, rows, is_comment in candidates:
        for delimiter in _DELIMITERS:
            if delimiter is None and any(b"\t" in one for one in (line[1], *rows)):
                continue
            if delimiter is not None and delimiter not in line[1]:
                continue
            if delimiter in (b";", b"|") and b"\t" in line[1]:
                continue
            names = _split_names(line[1], delimiter)
            cells = [_split_row(row, delimiter) for row in rows]
            if is_comment or delimiter is None:
                widths = Counter(map(len, cells)).most_common(1)
                # R writes row names without a name for their column.
                fitting = (len(names), len(names) + 1)
                if len(names) < 3 or (widths and widths[0][0] not in fitting):
                    continue
            if any(looks_like_variant(name) or explain_entry(name) for name in names):
                continue
            if looks_like_header(names, cells) or explain_table(names):
                return line, names, "" if delimiter is None else decode(delimiter)
    return None


def _split_names(line: bytes, delimiter: bytes | None) -> list[str]:
    names = _split_row(line, delimiter)
    return [name.lstrip("# ") if place == 0 else name for place, name in enumerate(names)]


def _split_row(line: bytes, delimiter: bytes | None) -> list[str]:
    cells: list[str] | str = []
    if delimiter in (b"\t", b","):
        cells = split_cells(decode(line), decode(delimiter))
    if isinstance(cells, str) or not cells:
        cells = decode(line).split(None if delimiter is None else decode(delimiter))
    return [cell.strip(' \t"') for cell in cells]


def _is_header_of_list(layout: ListLayout, names: Sequence[str]) -> bool:
    """Whether the header is of a list: it does not have columns of contig and position too."""
    if not layout.header or 2 * layout.num_fitting < layout.num_lines:
        return False
    possible = possible_columns(names)
    lowered = {name.lower() for name in names}
    return not all(
        possible[role] or lowered.intersection(KEY_NAMES[role]) for role in ("contig", "pos")
    )


def _names_regions(names: Sequence[str]) -> bool:
    """Whether a header has the columns of BED and none for alleles."""
    possible = possible_columns(names)
    lowered = {name.lower() for name in names}
    return is_header("\t".join(names).encode()) and not any(
        possible[role] or lowered.intersection(KEY_NAMES[role]) for role in ("ref", "alt")
    )


def _refuse_header(sample: Sample, line: Line, names: Sequence[str], delimiter: str) -> None:
    """Say which columns a table lacks, or that its columns are not separated as they should be."""
    where = f"{shown_path(sample.path)}: line {line[0]}"
    if not delimiter:
        raise InputError(f"{where}: {_BLANKS.format(expected='tabs or commas')}.")
    if delimiter not in "\t,":
        raise InputError(
            f"{where}: the columns are separated by '{delimiter}'; expected tabs or commas. Save "
            f"the table again with one of these."
        )
    mark = explain_mark(line[1])
    if mark is not None:
        raise InputError(f"{where}: this looks like {mark}; {_EXPECTED}.")
    if all(len(name) > 1 and name[0] == name[-1] == "'" for name in names):
        raise InputError(
            f"{where}: the cells are in single quotes; expected double quotes or none. Write the "
            f'file again: tr -d "\'" < FILE > NEW.'
        )
    explanation = explain_table(names)
    if explanation is None and not any(possible_columns(names).values()):
        explanation = explain_entries(sample.lines)
    if explanation is not None:
        raise InputError(f"{where}: this looks like {explanation}.")
    find_columns(names, (), NO_COLUMNS, where)


def _refuse_columns(sample: Sample, columns: Mapping[str, str]) -> None:
    """Say why the columns that the config names are not found."""
    header = _find_header(sample)
    if header is not None and header[2] in ("\t", ","):
        find_columns(header[1], (), columns, f"{shown_path(sample.path)}: line {header[0][0]}")
    if header is not None:
        _refuse_header(sample, *header)
    name = next(iter(columns.values()))
    raise sample.error(
        sample.shown,
        f"columns names '{shown(name)}', but this line is not a header with this name. Add a "
        "header line, or name the columns of the table as it does",
    )


def _refuse_foreign(sample: Sample, *, has_regions: bool = False) -> None:
    """Refuse what fits BED, VCF or nothing, but is of another format."""
    explanation = explain_lines(sample.lines, has_regions=has_regions)
    if explanation is not None:
        _refuse_late_header(sample)
        raise sample.error(sample.data[0], f"this looks like {explanation}")
    rows = [b"\t".join(line.split()) for line in sample.lines if b"\t" not in line]
    if 2 * sum(map(looks_like_data, rows)) > len(sample.data):
        raise sample.error(sample.data[0], _BLANKS.format(expected="tabs, as VCF has them"))


def _refuse_tables_of_regions(sample: Sample) -> None:
    """Refuse a table of regions that is not BED, or that counts from 1."""
    if not sample.data:
        return
    header = _find_header(sample)
    if header is None or header[0] != sample.data[0]:
        rows = [_split_row(row, b"\t" if b"\t" in row else None) for row in sample.lines]
        explanation = explain_rows(rows)
    else:
        _, names, delimiter = header
        rows = [_split_row(row, delimiter.encode() or None) for row in sample.lines[1:]]
        has_quotes = any(b'"' in row for row in sample.lines)
        explanation = explain_header(names, rows, delimiter, has_quotes)
        if explanation is None and is_header("\t".join(names).encode()):
            logger.warning(
                "%s: line %d names the columns; the starts are read as counting from 0, as in BED",
                shown_path(sample.path),
                header[0][0],
            )
    if explanation is not None:
        raise sample.error(sample.data[0], explanation)


def _require_vcf_columns(sample: Sample) -> None:
    """Refuse a VCF with blanks for tabs, or whose #CHROM line has its columns in another order."""
    if sample.data and not any(b"\t" in line for line in sample.lines):
        rows = [b"\t".join(line.split()) for line in sample.lines]
        if 2 * sum(map(looks_like_data, rows)) >= len(rows):
            raise sample.error(sample.data[0], _BLANKS.format(expected="tabs, as VCF has them"))
        for delimiter in (b",", b";"):
            rows = [line.replace(delimiter, b"\t") for line in sample.lines]
            if 2 * sum(map(looks_like_data, rows)) >= len(rows):
                raise sample.error(
                    sample.data[0],
                    f"the columns are separated by '{decode(delimiter)}'; expected tabs, as VCF "
                    f"has them. Save the file again with tabs",
                )
    if sample.comment is None or not sample.comment[1].upper().startswith(COLUMNS[0]):
        return
    text = decode(sample.comment[1]).lower()
    names = (text.split("\t") if "\t" in text else text.split())[: len(COLUMNS)]
    names[0] = names[0].removeprefix("#")
    for role, place in (("contig", 0), ("pos", 1), ("ref", 3), ("alt", 4)):
        found = [i for i, name in enumerate(names) if name in KEY_NAMES[role]]
        if found and place not in found:
            raise sample.error(
                sample.comment,
                "the columns of a VCF are #CHROM, POS, ID, REF and ALT in this order. Put them "
                "into this order, or make a table: remove the lines that begin with ##",
            )


def _refuse_late_header(sample: Sample) -> None:
    """Refuse a table with other lines above its header, for example a title."""
    for line in sample.data[1:]:
        if is_table_header(line[1]):
            raise sample.error(
                line,
                "this is the header of a table. Remove the lines above it, or begin them with #",
            )


def _refuse_variants_elsewhere(sample: Sample) -> None:
    """Refuse a list without a header whose variants are not in the first column."""
    for line in sample.data[:1]:
        for delimiter in (b"\t", b","):
            cells = [decode(cell).strip(' "') for cell in line[1].split(delimiter)]
            if len(cells) > 1 and any(map(looks_like_variant, cells)):
                raise sample.error(
                    line,
                    "the variant is not in the first column, and the columns have no names. Add a "
                    "header, for example: gene<tab>variant",
                )


def _explain_unknown(sample: Sample, expected: str) -> InputError:
    """What a file looks like that is of no format; the message names the first line that is odd."""
    if sample.has_sam_header and not sample.data:
        return sample.error(sample.first, "this is the header of SAM or of an interval list alone")
    for line in (sample.first, *sample.data[:1]):
        mark = explain_mark(line[1])
        if mark is not None:
            return sample.error(line, f"this looks like {mark}; {expected}")
    entries = explain_entries(sample.lines)
    if entries is not None:
        line = next(line for line in sample.data if explain_entries([line[1]]) == entries)
        return sample.error(line, f"this looks like {entries}")
    _refuse_late_header(sample)
    _refuse_variants_elsewhere(sample)
    for delimiter in (b",", b";", b"|"):
        tabbed = [line.replace(delimiter, b"\t") for line in sample.lines if delimiter in line]
        num_variants = sum(
            any(map(looks_like_variant, decode(line).split("\t"))) for line in tabbed
        )
        num_regions = sum(map(looks_like_feature, tabbed))
        if 2 * max(num_variants, num_regions) > len(sample.data):
            return sample.error(
                sample.data[0],
                f"the columns are separated by '{decode(delimiter)}'; expected tabs. Save the file "
                f"again with tabs",
            )
    formats = {
        "VCF": looks_like_data,
        "a list of chr-pos-ref-alt": lambda line: looks_like_variant(strip_comment(line)),
        "BED": looks_like_feature,
    }
    name, looks_right = max(formats.items(), key=lambda one: sum(map(one[1], sample.lines)))
    num_fitting = sum(map(looks_right, sample.lines))
    if not num_fitting:
        reason = _explain_region(sample.shown[1]) if expected == _EXPECTED_REGIONS else ""
        return sample.error(sample.shown, f"{reason}{expected}")
    odd = next(line for line in sample.data if not looks_right(line[1]))
    return sample.error(
        odd,
        f"this line is not as in {name}, but {num_fitting} of the first {len(sample.data)} lines "
        f"are. Correct the others, or begin them with #: at least half must be right",
    )


def _explain_region(line: bytes) -> str:
    """Why a line is not a region of a BED."""
    try:
        parse_feature(line)
    except ValueError as error:
        return f"{error}; "
    return ""
