"""Reasons: which cause a status has. Each is made by one small input."""

from collections.abc import Sequence
from pathlib import Path

import pysam
import pytest

from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.variants import open_variants
from evo2_tasks.genome.windows import WindowSettings, place_allele
from evo2_tasks.table.schema import FLAGS, REASON_MEANINGS, REASONS, STATUSES

CORPUS = Path(__file__).parent.parent / "data" / "corpus"

LIST = {
    "rs123\nc-3-G-T\n": "unknown_notation",
    "c-x3-G-T\nc-3-G-T\n": "bad_position",
    "c:99999999999999999999:G:T\nc-3-G-T\n": "bad_position",
    "c-3--T\nc-3-G-T\n": "empty_column",
    "c-3-G-\nc-3-G-T\n": "empty_alt",
    "NC_000001.1:-1:G:T\nc-3-G-T\n": "bad_position",
    "NC_000001.1:2:G:T1\nc-3-G-T\n": "bad_sequence",
    "NC_000001.1:2:-1:T\nc-3-G-T\n": "bad_sequence",
    "NC_000009.1:2:1:T\nc-3-G-T\n": "unknown_contig",
    "NC_000001.1:10:3:T\nc-3-G-T\n": "reaches_past_end",
    "NC_000001.1:12:1:T\nc-3-G-T\n": "after_end",
    "variant,gene\nc-3-G-T,X,Y\nc-3-G-T,X\nc-3-G-T,X\n": "too_many_columns",
    'variant,gene\n"c-3-G-T,X\nc-3-G-T,X\nc-3-G-T,X\n': "open_quote",
}
TABLE = {
    "1,,A,C": "empty_column",
    "c,1.5,A,C": "bad_position",
    "c,4.30E+07,A,C": "bad_position",
    'c,3,G,"T,"': "empty_alt",
    "c,3,G,T,9": "too_many_columns",
    'c,3,G,"T': "open_quote",
}
BED = {
    "c\t3": "too_few_columns",
    "c\t5\t3": "bad_region",
    "c\t3\t3": "bad_region",
    "c\t3\t5\tn\t0\tx": "bad_strand",
    "c\t3\t5\tn\t0\t+\t5\t3": "bad_blocks",
    "c\t3\t5\tn\t0\t+\t3\t5\t0\t2\t1,1\t0,9": "bad_blocks",
    "c\t3\t5": "no_codon",
    "c\t20\t30": "after_end",
    "d\t3\t9": "unknown_contig",
    "huge\t0\t3000000000": "too_many_alleles",
}


@pytest.fixture
def reference(tmp_path: Path) -> Reference:
    fasta = tmp_path / "r.fa"
    fasta.write_text(">c\nACGTACGTACGT\n>NC_000001.1\nACGTACGTACGT\n")
    return Reference(fasta)


def reasons_of(path: Path, reference: Reference, kinds: Sequence[str] = ()) -> list[str | None]:
    source = open_variants(path, reference=reference, saturate=kinds)  # type: ignore[arg-type]
    settings = WindowSettings(window_length=64)
    return [place_allele(variant, reference, settings).reason for variant in source]


@pytest.mark.parametrize(("text", "reason"), LIST.items())
def test_a_line_of_a_list(tmp_path: Path, reference: Reference, text: str, reason: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(text)
    assert reasons_of(path, reference)[0] == reason


@pytest.mark.parametrize(("line", "reason"), TABLE.items())
def test_a_row_of_a_table(tmp_path: Path, reference: Reference, line: str, reason: str) -> None:
    path = tmp_path / "a.csv"
    good = "c,3,G,T\n"
    path.write_text(f"contig,pos,ref,alt\n{good}{good}{line}\n")
    assert reasons_of(path, reference)[2] == reason


@pytest.mark.parametrize(("line", "reason"), BED.items())
def test_a_region(
    tmp_path: Path, reference: Reference, monkeypatch: pytest.MonkeyPatch, line: str, reason: str
) -> None:
    monkeypatch.setattr("evo2_tasks.genome.saturation.MAX_ALLELES", 128)
    path = tmp_path / "a.bed"
    plain = "c\t0\t1\tn\t0\t+\t0\t1\t0\t1\t1,\t0,\n"
    line = line.replace("huge\t0\t3000000000", "c\t0\t12")
    path.write_text(plain + plain + plain + line + "\n")
    assert reasons_of(path, reference, ["codon"])[3] == reason


def test_an_interval_list(tmp_path: Path, reference: Reference) -> None:
    path = tmp_path / "a.interval_list"
    path.write_text("@HD\tVN:1.6\nc\t3\t5\t+\tn\nc\t5\t3\t+\tn\nc\t3\n")
    found = reasons_of(path, reference, ["codon"])
    assert found[-2:] == ["bad_region", "too_few_columns"]


def test_a_tab_in_a_field_of_a_bcf(tmp_path: Path, reference: Reference) -> None:
    header = pysam.VariantHeader()
    header.contigs.add("c", length=12)
    header.info.add("X", 1, "String", "text")
    path = tmp_path / "a.bcf"
    with pysam.VariantFile(str(path), "wb", header=header) as file:
        record = file.new_record(contig="c", start=2, alleles=("G", "T"))
        record.info["X"] = "a\tb"
        file.write(record)
    assert reasons_of(path, reference) == ["tab_in_field"]


def test_every_reason_is_labelled_somewhere() -> None:
    of_corpus = set()
    for path in CORPUS.glob("*.expected.tsv"):
        lines = path.read_text(encoding="utf-8").splitlines()
        rows = [line.split("\t") for line in lines if not line.startswith("#")]
        of_corpus |= {row[rows[0].index("reason")] for row in rows[1:]} - {"."}
    of_score = {name for name, one in REASON_MEANINGS.items() if one.status == "non_finite"}
    of_readers = {*LIST.values(), *TABLE.values(), *BED.values(), "tab_in_field"}
    of_readers.add("not_in_haplotype")  # in test_sample_genomes
    assert of_corpus | of_readers | of_score >= {*REASONS}
    assert of_corpus | of_readers <= {*REASONS}


def test_a_name_has_one_meaning() -> None:
    assert not {*REASONS} & {*STATUSES, *FLAGS}
    assert {one.status for one in REASON_MEANINGS.values()} <= {*STATUSES}
