"""The sites of a table, against a plain path in Python, bcftools and pysam."""

from __future__ import annotations

import gzip
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pysam
import pysam.bcftools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evo2_tasks.errors import InputError
from evo2_tasks.exports.sites import write
from evo2_tasks.genome.alleles import trim_to_vcf
from evo2_tasks.steps.index import index
from evo2_tasks.table import sorting
from evo2_tasks.table.provenance import canonical_json
from tests.table.build import Row, make_row, signature, slow_disk, write_result, write_run

ANNOTATIONS = (
    "consequence", "consequences", "gene", "gene_id", "transcript", "transcript_strand",
    "amino_acids", "vrs_id", "spdi",
)  # fmt: skip
LENGTHS = {"chr2": 300, "chr10": 400, "chrM": 100}
"""In the order of the reference, which is neither that of names nor that of the rows."""


def annotated(row: Row, **values: Any) -> Row:
    return {**dict.fromkeys(ANNOTATIONS), **row, **values}


def write_sites(folder: Path, rows: Sequence[Row], *, lengths: Any = LENGTHS, **more: Any) -> Path:
    table = write_result(folder / "scores.parquet", rows, **more)
    write_run(table, lengths)
    target = folder / "scores.sites.vcf.gz"
    write(table, target)
    return target


def lines_of(vcf: Path) -> list[list[str]]:
    text = gzip.decompress(vcf.read_bytes()).decode()
    return [line.split("\t") for line in text.split("\n") if line and line[0] != "#"]


def info_of(cells: Sequence[str]) -> dict[str, str]:
    return dict(entry.split("=") for entry in cells[7].split(";")) if cells[7] != "." else {}


def shortest(pos: int, ref: str, alt: str) -> tuple[int, str, str]:
    """Take one common base after the other off, as long as both keep one."""
    while min(len(ref), len(alt)) > 1 and ref[-1] == alt[-1]:
        ref, alt = ref[:-1], alt[:-1]
    while min(len(ref), len(alt)) > 1 and ref[0] == alt[0]:
        pos, ref, alt = pos + 1, ref[1:], alt[1:]
    return pos, ref, alt


def expected(rows: Sequence[Row], order: Sequence[str]) -> list[tuple[str, int, str, str, float]]:
    """Each allele once, with the score of its first row."""
    scores: dict[tuple[int, int, str, str], float] = {}
    for row in rows:
        if row["status"] == "scored":
            allele = shortest(row["pos"], row["ref"], row["alt"])
            scores.setdefault((order.index(row["reference_contig"]), *allele), row["llr"])
    return [(order[number], *rest, score) for (number, *rest), score in sorted(scores.items())]


def make_rows(seed: int, num_rows: int = 300) -> list[Row]:
    """Rows of three contigs in no order, with repeats, padded alleles and rows without a score."""
    rng = random.Random(seed)
    rows = []
    for record in range(num_rows):
        contig = rng.choice([*LENGTHS])
        ref, alt = ("".join(rng.choices("AC", k=rng.choice([1, 1, 2, 4]))) for _ in range(2))
        status = rng.choice(["scored"] * 5 + ["too_many_n", "no_context"])
        row = make_row(
            record, 1, "not_a_variant" if ref == alt else status, reference_contig=contig,
            contig=contig.removeprefix("chr"), pos=rng.randint(1, 40), ref=ref, alt=alt,
        )  # fmt: skip
        rows.append(row)
    nulls = dict.fromkeys(("contig", "reference_contig", "pos", "ref", "alt"))
    return [*rows, make_row(num_rows, 0, "invalid_record", **nulls)]


@slow_disk
@given(seed=st.integers(0, 10**6), num_rows=st.integers(0, 300))
def test_each_scored_allele_is_one_line(
    tmp_path_factory: pytest.TempPathFactory, seed: int, num_rows: int
) -> None:
    folder = tmp_path_factory.mktemp("sites")
    rows = make_rows(seed, num_rows)
    found = lines_of(write_sites(folder, rows))
    wanted = expected(rows, [*LENGTHS])
    assert [(c[0], int(c[1]), c[3], c[4]) for c in found] == [one[:4] for one in wanted]
    assert [float(info_of(cells)["evo2_llr"]) for cells in found] == [one[4] for one in wanted]
    assert all(cells[2] == cells[5] == cells[6] == "." and len(cells) == 8 for cells in found)


def test_pieces_of_the_sort_leave_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = make_rows(1)
    whole = write_sites(tmp_path, rows).read_bytes()
    for pieces in (1, 2, 7):
        for name, value in {"run_rows": 50, "piece_rows": pieces}.items():
            monkeypatch.setitem(sorting.sort_rows.__kwdefaults__, name, value)
        assert write_sites(tmp_path, rows).read_bytes() == whole


def test_bcftools_finds_the_file_valid_sorted_and_indexed(tmp_path: Path) -> None:
    target = write_sites(tmp_path, make_rows(2))
    index(target)
    assert target.with_name("scores.sites.vcf.gz.tbi").exists()
    text = pysam.bcftools.view("--no-version", str(target), catch_stdout=True)
    ordered = pysam.bcftools.sort("-Ov", str(target), catch_stdout=True)
    data = [line for line in text.splitlines() if line[0] != "#"]
    assert [line for line in ordered.splitlines() if line[0] != "#"] == data
    with pysam.VariantFile(str(target)) as file:
        assert not file.header.samples
        lengths = {name: contig.length for name, contig in file.header.contigs.items()}
        inside = [(one.contig, one.pos) for one in file.fetch("chr10", 9, 20)]
    assert lengths == LENGTHS
    on_contig = [(c[0], int(c[1]), len(c[3])) for c in lines_of(target) if c[0] == "chr10"]
    overlaps = [(name, pos) for name, pos, size in on_contig if pos <= 20 and pos + size > 10]
    assert inside == overlaps


@settings(max_examples=30)
@given(data=st.data())
def test_a_left_aligned_allele_is_spelled_as_bcftools_norm_spells_it(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("norm")
    genome = "".join(random.Random(data.draw(st.integers(0, 99))).choices("ACGT", k=60))
    (folder / "ref.fa").write_text(f">c\n{genome}\n")
    lines = []
    for _ in range(20):
        start = data.draw(st.integers(0, 50))
        ref = genome[start : start + data.draw(st.integers(1, 6))]
        alt = data.draw(st.text("ACGT", min_size=1, max_size=6).filter(lambda a, r=ref: a != r))
        lines.append((start + 1, ref, alt))
    text = "##fileformat=VCFv4.2\n##contig=<ID=c,length=60>\n"
    text += "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    for number, (pos, ref, alt) in enumerate(lines):
        text += f"c\t{pos}\t{number}\t{ref}\t{alt}\t.\t.\t.\n"
    (folder / "in.vcf").write_text(text)
    arguments = ["-f", str(folder / "ref.fa"), str(folder / "in.vcf")]
    normed = pysam.bcftools.norm(*arguments, catch_stdout=True)
    by_line = {
        int(cells[2]): (int(cells[1]), cells[3], cells[4])
        for cells in (line.split("\t") for line in normed.splitlines() if line[0] != "#")
    }
    for number, (pos, ref, alt) in enumerate(lines):
        ours = trim_to_vcf(pos, ref, alt)
        assert ours == shortest(pos, ref, alt)
        # bcftools also moves; where it did not, the spellings are the same.
        if by_line[number][0] >= pos:
            assert ours == by_line[number]


def test_consequences_and_identifiers_are_in_the_lines_and_nothing_where_they_are_null(
    tmp_path: Path,
) -> None:
    rows = [
        annotated(
            make_row(0, reference_contig="chrM", pos=4, flags=["moved", "clipped"]),
            consequence="missense_variant", consequences=["intron_variant", "missense_variant"],
            gene="MT-ND2", gene_id="ENSG1", transcript="ENST1", transcript_strand="+",
            amino_acids="W24R", vrs_id="ga4gh:VA.x", spdi="NC_012920.1:3:A:C",
        ),
        annotated(make_row(1, reference_contig="chrM", pos=5)),
    ]  # fmt: skip
    target = write_sites(tmp_path, rows, annotations=ANNOTATIONS)
    first, second = (info_of(cells) for cells in lines_of(target))
    assert float(first.pop("evo2_llr")) == rows[0]["llr"]
    assert first == {
        "evo2_flags": "moved&clipped", "evo2_consequence": "missense_variant",
        "evo2_consequences": "intron_variant&missense_variant", "evo2_gene": "MT-ND2",
        "evo2_gene_id": "ENSG1", "evo2_transcript": "ENST1", "evo2_transcript_strand": "+",
        "evo2_amino_acids": "W24R", "evo2_vrs_id": "ga4gh:VA.x",
        "evo2_spdi": "NC_012920.1:3:A:C",
    }  # fmt: skip
    assert [*second] == ["evo2_llr"]
    with pysam.VariantFile(str(target)) as file:
        assert {name: (one.number, one.type) for name, one in file.header.info.items()} == {
            "evo2_llr": ("A", "Float"),
            "evo2_flags": ("A", "String"),
        } | {f"evo2_{name}": ("A", "String") for name in ANNOTATIONS}


@settings(max_examples=30)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12))
def test_any_text_is_one_value_that_can_be_read_back(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    folder = tmp_path_factory.mktemp("escape")
    row = annotated(
        make_row(0, reference_contig="chrM", pos=4), gene=text, consequences=[text, "b&c", text]
    )
    target = write_sites(folder, [row], annotations=ANNOTATIONS)
    with pysam.VariantFile(str(target)) as file:
        (line,) = file
        (gene,) = line.info["evo2_gene"]
        (terms,) = line.info["evo2_consequences"]
    assert unquote(gene) == text
    assert [unquote(term) for term in terms.split("&")] == [text, "b&c", text]
    (cells,) = lines_of(target)
    assert cells[7].split() == cells[7].splitlines() or not text.isascii()
    assert len(cells[7].splitlines()) == 1


def test_the_header_states_where_the_scores_come_from(tmp_path: Path) -> None:
    target = write_sites(tmp_path, make_rows(3))
    header = gzip.decompress(target.read_bytes()).decode().split("#CHROM")[0].splitlines()
    assert f"##evo2_signature={canonical_json(signature())}" in header
    assert "##evo2_version=0.1.0" in header
    assert "##evo2_model=evo2-mini" in header


def test_without_stated_contigs_they_have_the_order_of_the_table(tmp_path: Path) -> None:
    rows = [
        make_row(i, reference_contig=contig, pos=9 - i) for i, contig in enumerate(["z", "a", "z"])
    ]
    target = write_sites(tmp_path, rows, lengths=None)
    assert [(cells[0], cells[1]) for cells in lines_of(target)] == [
        ("z", "7"), ("z", "9"), ("a", "8"),
    ]  # fmt: skip


def test_a_contig_that_no_vcf_can_name_is_left_out_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [
        make_row(0, reference_contig="a,b", pos=4),
        make_row(1, reference_contig="chrM", pos=5),
    ]
    target = write_sites(tmp_path, rows, lengths={"a,b": 10, "chrM": 100})
    assert [cells[0] for cells in lines_of(target)] == ["chrM"]
    assert (
        "record 0, allele 1 is left out of the sites: VCF forbids its contig's name" in caplog.text
    )


def test_alleles_that_no_vcf_can_hold_are_left_out_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A symbolic allele that the reference resolves has a score, and its bases are not there."""
    rows = [
        make_row(0, reference_contig="chrM", pos=9, ref="A", alt="<DEL>"),
        make_row(1, reference_contig="chrM", pos=98, ref="ACGT", alt="A"),
        make_row(2, reference_contig="chrM", pos=100, ref="AC", alt="AT"),
        make_row(3, reference_contig="chrM", pos=97, ref="ACGT", alt="A"),
        make_row(4, reference_contig="chrM", pos=9, ref=None, alt="A"),
    ]
    target = write_sites(tmp_path, rows)
    # The third row changes the first base of the circle.
    assert [cells[1:5] for cells in lines_of(target)] == [
        ["1", ".", "C", "T"], ["97", ".", "ACGT", "A"],
    ]  # fmt: skip
    said = [line for line in caplog.messages if "left out of the sites" in line]
    assert [line.split(": ", 1)[1] for line in said] == [
        "record 0, allele 1 is left out of the sites: its alleles are not spelled in bases.",
        "record 4, allele 1 is left out of the sites: its alleles are not spelled in bases.",
        "record 1, allele 1 is left out of the sites: its REF goes across the origin of its "
        "contig.",
    ]


def test_the_base_before_an_indel_is_one_that_vcf_allows(tmp_path: Path) -> None:
    rows = [
        make_row(0, reference_contig="chrM", pos=4, ref="R", alt="RT"),
        make_row(1, reference_contig="chrM", pos=5, ref="NAC", alt="NA"),
    ]
    target = write_sites(tmp_path, rows)
    assert [cells[1:5] for cells in lines_of(target)] == [
        ["4", ".", "A", "AT"], ["6", ".", "AC", "A"],
    ]  # fmt: skip


def test_positions_that_tbi_cannot_hold_get_a_csi(tmp_path: Path) -> None:
    row = make_row(0, reference_contig="chrM", pos=2**29 + 5)
    target = write_sites(tmp_path, [row], lengths={"chrM": 2**30})
    assert target.with_name("scores.sites.vcf.gz.csi").exists()
    with pysam.VariantFile(str(target)) as file:
        assert [one.pos for one in file.fetch("chrM", 2**29, 2**29 + 10)] == [2**29 + 5]


def test_a_table_without_scores_is_a_header(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    target = write_sites(tmp_path, [make_row(0, 1, "ref_mismatch", reference_contig="chrM")])
    assert lines_of(target) == []
    assert "no allele has a score" in caplog.text
    pysam.bcftools.view(str(target), catch_stdout=True)


@pytest.mark.parametrize(("name", "said"), [("scores.parquet", "input file"), ("s.vcf", ".gz")])
def test_a_wrong_output_is_one_line(tmp_path: Path, name: str, said: str) -> None:
    table = write_result(tmp_path / "scores.parquet", [make_row(0)])
    with pytest.raises(InputError, match=said):
        write(table, tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scores.parquet"]


def test_a_table_of_another_run_is_refused(tmp_path: Path) -> None:
    target = write_sites(tmp_path, make_rows(4))
    kept = target.read_bytes()
    table = write_result(tmp_path / "scores.parquet", make_rows(5))
    with pytest.raises(InputError, match=r"run\.json"):
        write(table, target)
    assert target.read_bytes() == kept
