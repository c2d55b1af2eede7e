"""Tables and lists of other programs: what they mean, or one line; no position is off by one."""

import random
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evo2_tasks.errors import InputError
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.variants import VariantSource, open_variants
from tests.genome.refusals import read_refusal

rng = random.Random(20)
BASES = "".join(rng.choices("ACGT", k=600))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    path = tmp_path_factory.mktemp("genome") / "genome.fa"
    path.write_text(f">chr17\n{BASES}\n")
    return Reference(path)


def write(folder: Path, text: str) -> Path:
    path = folder / "input"
    path.write_text(text)
    return path


def keys(source: VariantSource) -> list[tuple[object, ...]]:
    return [(row.contig, row.pos, row.ref, row.alt) for row in source]


def tabbed(*lines: str) -> str:
    """Lines whose blanks become tabs; a blank within a cell is written as ``_``."""
    return "".join(line.replace(" ", "\t").replace("_", " ") + "\n" for line in lines)


# Regions that count from 1.

BIOMART = "Chromosome/scaffold_name Gene_start_(bp) Gene_end_(bp) Gene_name"
FROM_ONE = {
    "BioMart": (tabbed(BIOMART, "17 101 110 BRCA1"), "-F'\\t' -v OFS='\\t' 'NR > 1 {print $1, $2"),
    "BioMart, the gene first": (
        tabbed("Gene_stable_ID " + BIOMART, "ENSG1 17 101 110 BRCA1"),
        "{print $2, $3 - 1, $4}",
    ),
    "BioMart as CSV": (
        "Chromosome/scaffold name,Gene start (bp),Gene end (bp)\n17,101,110\n",
        "awk -F',' -v OFS='\\t' 'NR > 1 {print $1, $2 - 1, $3}",
    ),
    "biomaRt": (
        "chromosome_name\tstart_position\tend_position\n17\t101\t110\n",
        "a table that is not BED",
    ),
    "a data frame of GRanges": (
        tabbed("seqnames start end strand", "chr17 101 110 +"),
        "a data frame of Bioconductor, whose positions count from 1",
    ),
    "GRanges with names of rows and quotes": (
        '"seqnames" "start" "end" "width" "strand"\n"1" "chr17" 101 110 10 "*"\n'.replace(
            " ", "\t"
        ),
        '\'NR > 1 {gsub(/"/, ""); print $2, $3 - 1, $4}\'',
    ),
    "segments": (
        tabbed("ID chrom loc.start loc.end num.mark", "S 17 101 110 5"),
        "{print $2, $3 - 1, $4}",
    ),
    "single bases": (
        tabbed("chr17 101 101", "chr17 201 210", "chr17 301 301"),
        "most regions end where they start, which shows that the positions count from 1",
    ),
    "from and to": (tabbed("contig from to", "chr17 101 110"), "{print $1, $2 - 1, $3}"),
}


@pytest.mark.parametrize("name", FROM_ONE)
def test_regions_that_count_from_one_are_not_read_as_bed(
    tmp_path: Path, reference: Reference, name: str
) -> None:
    text, message = FROM_ONE[name]
    found = read_refusal(write(tmp_path, text), saturate=["snv"], reference=reference)
    assert message in found
    assert "line 1" in found


@pytest.mark.parametrize("name", ["BioMart", "BioMart as CSV", "biomaRt", "segments"])
def test_the_command_of_the_message_writes_the_bed(
    tmp_path: Path, reference: Reference, name: str
) -> None:
    """The columns of the message, applied to the text, give the first base that the table has."""
    text, _ = FROM_ONE[name]
    with pytest.raises(InputError) as caught:
        open_variants(write(tmp_path, text), saturate=["snv"], reference=reference)
    printed = str(caught.value).partition("{print ")[2].partition("}")[0]
    columns = [int(number) - 1 for number in re.findall(r"\$(\d+)", printed)]
    cells = text.splitlines()[1].split("," if "CSV" in name else "\t")
    contig, start, end = (cells[column] for column in columns)
    bed = write(tmp_path, f"{contig}\t{int(start) - 1}\t{end}\n")
    positions = {row.pos for row in open_variants(bed, saturate=["snv"], reference=reference)}
    assert positions == set(range(101, 111))


def test_a_header_of_bed_is_read_with_a_word(
    tmp_path: Path, reference: Reference, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path, tabbed("Chr Start Stop Gene", "chr17 100 110 BRCA1"))
    source = open_variants(path, saturate=["snv"], reference=reference)
    assert {row.pos for row in source} == set(range(101, 111))
    assert "line 1 names the columns; the starts are read as counting from 0" in caplog.text


@pytest.mark.parametrize("line", ["chr17 x y", "Panel X v1", "chr17 100 x", "chr17"])
def test_a_bad_first_line_costs_one_row(tmp_path: Path, reference: Reference, line: str) -> None:
    path = write(tmp_path, tabbed(line, "chr17 100 110", "chr17 300 310"))
    rows = list(open_variants(path, saturate=["snv"], reference=reference))
    assert [row.record for row in rows if row.status == "invalid_record"] == [0]
    assert {row.pos for row in rows if row.record == 1} == set(range(101, 111))


def test_one_region_without_bases_costs_one_row(tmp_path: Path, reference: Reference) -> None:
    path = write(tmp_path, tabbed("chr17 100 110", "chr17 200 200", "chr17 300 310"))
    rows = list(open_variants(path, saturate=["snv"], reference=reference))
    assert [row.record for row in rows if row.status == "invalid_record"] == [1]


# Variants with a start and an end.


@pytest.mark.parametrize("start", ["start", "chromStart", "Start", "Start_Position"])
def test_a_start_that_counts_from_zero_is_no_position(tmp_path: Path, start: str) -> None:
    end = start.replace("start", "end").replace("Start", "End")
    header = f"chrom\t{start}\t{end}\tref\talt\n"
    rows = [(100, 101, "A", "C"), (200, 202, "AC", "A"), (300, 301, "G", "T")]
    text = header + "".join(f"chr17\t{a}\t{b}\t{r}\t{x}\n" for a, b, r, x in rows)
    with pytest.raises(InputError, match=f"'{start}' counts from 0.*'{end}' - '{start}'"):
        open_variants(write(tmp_path, text), columns={"pos": start})
    columns = {
        "chrom": ["chr17"] * 3,
        **dict(zip((start, end, "ref", "alt"), map(list, zip(*rows, strict=True)), strict=True)),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="counts from 0"):
        open_variants(tmp_path / "a.parquet", columns={"pos": start})


def test_a_start_that_counts_from_one_is_a_position(tmp_path: Path) -> None:
    """MAF: the end of a deletion is its last base, that of an insertion the base after it."""
    rows = [(100, 100, "A", "C"), (200, 201, "AC", "A"), (300, 301, "-", "T")]
    text = "chrom\tStart_Position\tEnd_Position\tref\talt\n"
    text += "".join(f"chr17\t{a}\t{b}\t{r}\t{x}\n" for a, b, r, x in rows)
    source = open_variants(write(tmp_path, text), columns={"pos": "Start_Position"})
    assert [row.pos for row in source] == [100, 200, 300]


def test_a_table_of_variants_with_start_and_end_is_not_called_bed(tmp_path: Path) -> None:
    text = tabbed("chrom start end ref alt", "chr17 100 101 A C")
    with pytest.raises(InputError, match=r"no column for pos \(possible: start\)"):
        open_variants(write(tmp_path, text))


# Rows of tables.

HEADER = "chrom,pos,ref,alt,gene,score\n"


def test_an_unquoted_comma_in_alt_shifts_no_column(tmp_path: Path) -> None:
    text = HEADER + "c,1,A,C,G,TTN,\nc,2,A,C,TTN,1\nc,3,A,C,TTN,2\n"
    rows = list(open_variants(write(tmp_path, text), carry=["gene", "score"]))
    assert [row.status for row in rows] == ["invalid_record", None, None]
    assert [row.carried for row in rows[1:]] == [("TTN", "1"), ("TTN", "2")]


def test_empty_cells_at_the_end_of_all_rows_are_no_columns(tmp_path: Path) -> None:
    text = HEADER + "c,1,A,C,T,1,\nc,2,A,C,G,2,\n"
    rows = list(open_variants(write(tmp_path, text), carry=["gene", "score"]))
    assert [row.carried for row in rows] == [("T", "1"), ("G", "2")]


def test_a_comment_between_rows_is_no_record(tmp_path: Path) -> None:
    text = "#chrom\tpos\tref\talt\nc\t1\tA\tC\n#c\t2\tA\tC\n# old\nc\t3\tA\tC\n"
    assert keys(open_variants(write(tmp_path, text))) == [("c", 1, "A", "C"), ("c", 3, "A", "C")]
    text = 'chrom,pos,ref,alt,note\nc,1,A,C,"a\n#b"\nc,3,A,C,x\n'
    rows = list(open_variants(write(tmp_path, text), carry=["note"]))
    assert [row.carried for row in rows] == [("a\n#b",), ("x",)]


def test_blanks_in_a_list_of_alts(tmp_path: Path) -> None:
    text = 'chrom,pos,ref,alt\nc,1,A,"C, G"\n'
    assert [row.alt for row in open_variants(write(tmp_path, text))] == ["C", "G"]


@pytest.mark.parametrize("rows", [1, 3])
def test_a_comma_in_a_position_is_not_a_name_of_a_row(tmp_path: Path, rows: int) -> None:
    lines = ["MT,3,243,A,G", "MT,8,344,A,G", "MT,11,778,G,A"][:rows]
    source = open_variants(write(tmp_path, "\n".join(["chrom,pos,ref,alt", *lines, ""])))
    assert [row.status for row in source] == ["invalid_record"] * rows


def test_names_of_rows_are_unique(tmp_path: Path) -> None:
    header = "contig\tpos\tref\talt\n"
    rows = [("a", "1", "5", "A", "C"), ("b", "1", "5", "A", "C"), ("b", "2", "6", "A", "C")]
    text = "".join("\t".join(row) + "\n" for row in rows)
    assert {row.status for row in open_variants(write(tmp_path, header + text))} == {
        "invalid_record"
    }
    text = text.replace("b\t2", "c\t2")
    assert [row.pos for row in open_variants(write(tmp_path, header + text))] == [5, 5, 6]


@pytest.mark.parametrize("pos", ["4.30E+07", "1.23E+08", "1.00E+03"])
def test_a_position_that_a_spreadsheet_rounded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, pos: str
) -> None:
    source = open_variants(write(tmp_path, f"chrom,pos,ref,alt\nc,{pos},A,C\nc,5,A,C\n"))
    assert [row.status for row in source] == ["invalid_record", None]
    assert f"pos '{pos}' may be rounded, as spreadsheets do" in caplog.text


@pytest.mark.parametrize(
    ("pos", "number"),
    [("4.3e+07", 43_000_000), ("1e+05", 100_000), ("1E+05", 100_000), ("5.00E+02", 500)],
)
def test_an_exact_position_in_scientific_notation(tmp_path: Path, pos: str, number: int) -> None:
    """R's write.table writes a position so where it is shorter."""
    source = open_variants(write(tmp_path, f"chrom,pos,ref,alt\nc,{pos},A,C\n"))
    assert [row.pos for row in source] == [number]


@pytest.mark.parametrize(
    ("header", "row", "names"),
    [
        ("chrom,pos,ref,alt", "c\t1\tA\tC", "by commas, those of the rows by tabs"),
        ("chrom\tpos\tref\talt", "c,1,A,C", "by tabs, those of the rows by commas"),
        ("chrom\tpos\tref\talt", "c 1  A C", "by tabs, those of the rows by blanks"),
        ("chrom,pos,ref,alt", "c;1;A;C", "by commas, those of the rows by ';'"),
    ],
)
def test_rows_with_another_delimiter_than_the_header(
    tmp_path: Path, header: str, row: str, names: str
) -> None:
    with pytest.raises(InputError, match=f"line 1: .*separated {names}"):
        open_variants(write(tmp_path, f"{header}\n{row}\n{row}\n"))


# Lists.


@pytest.mark.parametrize(
    "text",
    [
        "chr17-5-A-G,chr17-6-C-T,chr17-7-A-T\n",
        "chr17-5-A-G, chr17-6-C-T\n",
        "chr17:5:A:G chr17:6:C:T\nchr17:7:A:T\n",
        "chr17-5-A-G\tchr17-6-C-T\nchr17-7-A-T\tchr17-8-A-T\n",
        "chr17-5-A-G\tTTN\nchr17-6-A-G\tTTN\nchr17-7-A-T\tchr17-8-A-T\n",
    ],
)
def test_several_variants_on_a_line_are_not_lost(
    tmp_path: Path, reference: Reference, text: str
) -> None:
    with pytest.raises(InputError, match="has several variants"):
        open_variants(write(tmp_path, text), reference=reference)


@pytest.mark.parametrize("header", ["chr-pos-ref-alt", "CHROM:POS:REF:ALT", "contig-pos-ref-alt"])
def test_the_form_of_the_entries_as_a_header(
    tmp_path: Path, reference: Reference, header: str
) -> None:
    path = write(tmp_path, f"{header}\nchr17-5-A-G\n")
    assert keys(open_variants(path, reference=reference)) == [("chr17", 5, "A", "G")]


# Formats that are refused: the message names the way out.

ENTRIES = "".join(f"chr17-{pos}-A-G\n" for pos in (5, 6, 7))
REFUSED = {
    "Hail": ('locus\talleles\nchr17:5\t["A","C"]\n', "this looks like a table of Hail"),
    "regenie": (
        tabbed("CHROM GENPOS ID ALLELE0 ALLELE1", "17 5 rs1 A C"),
        "columns: {pos: GENPOS, ref: ALLELE0, alt: ALLELE1}",
    ),
    "BOLT-LMM": (
        tabbed("SNP CHR BP GENPOS ALLELE1 ALLELE0", "rs1 17 5 0.1 A C"),
        "columns: {pos: BP, ref: ALLELE0, alt: ALLELE1}",
    ),
    "JSON lines": ('{"chrom":"chr17","pos":5,"ref":"A","alt":"C"}\n', "looks like JSON; expected"),
    "JSON": ('[{"chrom":"chr17","pos":5}]\n', "looks like JSON; expected"),
    "a pointer of Git LFS": ("version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "UTF-16 without a mark": ("c\0h\0r\0o\0m\0\n\0", "this is text in UTF-16; save it as UTF-8"),
    "blanks without a header": ("chr17 5 A C\nchr17 6 A C\n", "print $1, $2, $3, $4}' FILE"),
    "R's write.table": (
        '"chrom" "pos" "ref" "alt"\n"1" "chr17" 5 "A" "C"\n"2" "chr17" 6 "A" "C"\n',
        "line 1: the columns are separated by blanks; expected tabs or commas",
    ),
    "single quotes": (
        "'chrom','pos','ref','alt'\n'chr17','5','A','C'\n",
        "line 1: the cells are in single quotes",
    ),
    "a title": (
        "Table S3. Variants of patients\n\nchrom\tpos\tref\talt\nchr17\t5\tA\tC\n",
        "line 3: 'chrom\\tpos\\tref\\talt': this is the header of a table. Remove the lines above",
    ),
    "a list with the gene first": (
        ENTRIES.replace("chr17", "TTN\tchr17"),
        "the variant is not in the first column, and the columns have no names. Add a header",
    ),
    "a numbered list": (
        ENTRIES.replace("chr17", "1\tchr17"),
        "the variant is not in the first column",
    ),
    "VCF with commas": (
        "##fileformat=VCFv4.2,,,\n#CHROM,POS,ID,REF,ALT\nchr17,5,.,A,C\n",
        "the columns are separated by ','; expected tabs, as VCF has them",
    ),
    "VCF with semicolons": (
        "##fileformat=VCFv4.2;;;\n#CHROM;POS;ID;REF;ALT\nchr17;5;.;A;C\n",
        "the columns are separated by ';'; expected tabs, as VCF has them",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_file_is_one_line_with_the_way_out(
    tmp_path: Path, reference: Reference, name: str
) -> None:
    text, message = REFUSED[name]
    assert message in read_refusal(write(tmp_path, text), reference=reference)
