"""Variants of another assembly: where `split` stops, where it warns, and where the warning goes."""

import json
import logging
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pysam
import pytest

from evo2_tasks.config.schema import RunConfig
from evo2_tasks.errors import InputError
from evo2_tasks.layout import SHARDS, SPLIT
from tests.project import COLUMNS, HEADER, run_merge, run_split, run_steps, write_project

RING = "".join(random.Random(3).choices("ACGT", k=16_569))
WRONG = {"A": "C", "C": "G", "G": "T", "T": "A"}


def variant_lines(num_alleles: int, num_wrong: int) -> list[list[str]]:
    """SNVs whose REF is wrong for the first ones; neither allele is in the reference there."""
    lines = []
    for number in range(num_alleles):
        pos = 100 + 7 * number
        ref = RING[pos - 1]
        ref = WRONG[ref] if number < num_wrong else ref
        lines.append(["MT", str(pos), ".", ref, WRONG[ref], ".", ".", "."])
    return lines


def as_vcf(lines: list[list[str]], *meta: str) -> str:
    head = ["##fileformat=VCFv4.2", *meta, COLUMNS.rstrip("\n")]
    return "\n".join([*head, *map("\t".join, lines)]) + "\n"


def write_set(folder: Path, text: str | bytes, **parts: Any) -> RunConfig:
    return write_project(folder, genome={"MT": RING}, variants=text, **parts).load()


def read_split(folder: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((folder / SHARDS / SPLIT).read_text())
    return summary


def write_bcf(vcf: Path, bcf: Path) -> None:
    with (
        pysam.VariantFile(str(vcf)) as given,
        pysam.VariantFile(str(bcf), "wb", header=given.header) as file,
    ):
        for record in given:
            file.write(record)


@pytest.mark.parametrize("shards", [1, 7, 16])
@pytest.mark.parametrize("num_alleles", [10, 40, 160])
def test_the_share_is_that_of_the_set_whatever_the_shards(
    tmp_path: Path, shards: int, num_alleles: int
) -> None:
    limit = num_alleles // 2
    for num_wrong in (limit, limit + 1):
        folder = tmp_path / str(num_wrong)
        config = write_set(folder, as_vcf(variant_lines(num_alleles, num_wrong)), shards=shards)
        if num_wrong == limit:
            run_split(config, folder)
            assert read_split(folder)["ref_mismatches"] == num_wrong
            assert read_split(folder)["ref_compared"] == num_alleles
            continue
        with pytest.raises(InputError) as error:
            run_split(config, folder)
        said = str(error.value)
        assert f"genome.fa: {num_wrong} of {num_alleles} alleles (" in said
        assert "The contig lengths of the FASTA are those of GRCh37, GRCh38 or T2T-CHM13" in said
        assert "\n" not in said
        assert not list((folder / SHARDS).glob("*.parquet"))


def test_nine_wrong_alleles_stop_nothing_and_the_order_does_not_matter(tmp_path: Path) -> None:
    config = write_set(tmp_path / "nine", as_vcf(variant_lines(9, 9)))
    run_split(config, tmp_path / "nine")
    # The first twenty are wrong, of fifty: an end after the tenth would be too early.
    config = write_set(tmp_path / "fifty", as_vcf(variant_lines(50, 20)), shards=5)
    run_split(config, tmp_path / "fifty")
    assert read_split(tmp_path / "fifty")["ref_mismatches"] == 20


@pytest.mark.parametrize(
    "other",
    [
        ["MT", "500", ".", "A", "<DEL>", ".", ".", "."],
        ["chrUn", "500", ".", "A", "C", ".", ".", "."],
        ["MT", "16570", ".", "A", "C", ".", ".", "."],
        ["MT", "500", ".", "N", "C", ".", ".", "."],
        ["MT", "500", ".", "A", "A", ".", ".", "."],
        ["MT", "broken"],
    ],
)
def test_alleles_without_a_comparison_do_not_count(tmp_path: Path, other: list[str]) -> None:
    config = write_set(tmp_path, as_vcf([*variant_lines(9, 9), *[other] * 30]))
    run_split(config, tmp_path)
    assert read_split(tmp_path)["ref_compared"] == 9


def test_filtered_alleles_do_not_count(tmp_path: Path) -> None:
    lines = [[*line[:6], "LowQual" if i < 20 else "PASS", "."] for i, line in
             enumerate(variant_lines(40, 20))]  # fmt: skip
    filters = {"filters": {"pass_only": True}, "max_ref_mismatch_share": 0}
    run_split(write_set(tmp_path, as_vcf(lines), variant_set=filters), tmp_path)
    assert read_split(tmp_path)["ref_compared"] == 20


@pytest.mark.parametrize("kind", ["tsv", "list", "parquet", "bcf", "regions"])
def test_every_format_is_guarded(tmp_path: Path, kind: str) -> None:
    lines = variant_lines(20, 20)
    text = as_vcf(lines, "##contig=<ID=MT>")
    variant_set: dict[str, Any] = {}
    if kind == "tsv":
        text = "contig\tpos\tref\talt\n" + "".join(
            "\t".join((line[0], line[1], line[3], line[4])) + "\n" for line in lines
        )
    elif kind == "list":
        text = "".join(f"{line[0]}-{line[1]}-{line[3]}-{line[4]}\n" for line in lines)
    config = write_set(tmp_path, text, shards=4)
    variants = tmp_path / "in.vcf"
    if kind == "parquet":
        columns = zip(*((line[0], int(line[1]), line[3], line[4]) for line in lines), strict=True)
        names = ("contig", "pos", "ref", "alt")
        variants = tmp_path / "in.parquet"
        pq.write_table(pa.table(dict(zip(names, map(list, columns), strict=True))), variants)
    elif kind == "bcf":
        variants = tmp_path / "in.bcf"
        write_bcf(tmp_path / "in.vcf", variants)
    elif kind == "regions":
        variants = Path(
            pysam.tabix_index(str(tmp_path / "in.vcf"), preset="vcf", keep_original=True)
        )
        variant_set = {"regions": ["MT:1-1000"]}
    variant_set["variants"] = str(variants)
    config = write_set(tmp_path / "again", text, shards=4, variant_set=variant_set)
    with pytest.raises(InputError, match=r"20 of 20 alleles \(100%\).*another assembly"):
        run_split(config, tmp_path)


def test_a_contradicting_header_is_in_log_and_run_json_and_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    text = as_vcf(variant_lines(5, 0), "##contig=<ID=MT,length=16571,assembly=hg18>")
    config = write_set(tmp_path, text)
    table = run_steps(config, tmp_path)
    run = json.loads(table.with_name("run.json").read_text())
    assert run["scored"] == 5
    (warning,) = run["warnings"]
    assert "(MT: 16,571 and 16,569). The header is that of hg18, and the contig" in warning
    assert "0 of 5 REF alleles do not match" in warning
    assert warning in caplog.text
    assert read_split(tmp_path)["warnings"] == [warning]


@pytest.mark.parametrize("kind", ["bcf", "regions"])
def test_the_header_of_binary_and_indexed_files_is_compared_too(tmp_path: Path, kind: str) -> None:
    text = as_vcf(variant_lines(12, 0), "##contig=<ID=MT,length=16571>")
    write_set(tmp_path, text)
    plain = str(tmp_path / "in.vcf")
    variant_set: dict[str, Any] = {}
    if kind == "bcf":
        variants = tmp_path / "in.bcf"
        write_bcf(tmp_path / "in.vcf", variants)
    else:
        variants = Path(pysam.tabix_index(plain, preset="vcf", keep_original=True))
        variant_set = {"regions": ["MT"]}
    variant_set["variants"] = str(variants)
    run_split(write_set(tmp_path / "again", text, variant_set=variant_set), tmp_path)
    (warning,) = read_split(tmp_path)["warnings"]
    assert "MT: 16,571 and 16,569" in warning


def test_a_split_of_an_earlier_version_can_still_be_merged(tmp_path: Path) -> None:
    config = write_set(tmp_path, HEADER + "MT\t5\t.\tA\tC\t.\t.\t.\n")
    run_steps(config, tmp_path)
    summary = read_split(tmp_path)
    for key in ("warnings", "ref_compared", "ref_mismatches"):
        del summary[key]
    (tmp_path / SHARDS / SPLIT).write_text(json.dumps(summary))
    table = run_merge(config, tmp_path)
    assert json.loads(table.with_name("run.json").read_text())["warnings"] == []


CAUSES = {
    "REF has an N, as some callers": lambda pos, ref, alt: (pos, "N", f"N{alt}"),
    "ALT is the base of the reference. Exchange ref and alt": lambda pos, ref, alt: (pos, alt, ref),
    "so the positions count from 0. Add 1 to each": lambda pos, ref, alt: (pos - 1, ref, alt),
    "REF is one base further left. Subtract 1": lambda pos, ref, alt: (pos + 1, ref, alt),
    "REF is the complement of the reference": lambda pos, ref, alt: (
        pos,
        ref.translate(COMPLEMENT),
        alt.translate(COMPLEMENT),
    ),
}
COMPLEMENT = str.maketrans("ACGT", "TGCA")


@pytest.mark.parametrize("cause", CAUSES)
def test_what_explains_the_mismatches_better_than_another_assembly(
    tmp_path: Path, cause: str
) -> None:
    rng = random.Random(3)
    lines = []
    for pos in sorted(rng.sample(range(2, 500), 40)):
        ref = RING[pos - 1]
        changed = CAUSES[cause](pos, ref, rng.choice([base for base in "ACGT" if base != ref]))
        lines.append(["MT", str(changed[0]), ".", changed[1], changed[2], ".", ".", "."])
    config = write_set(tmp_path, as_vcf(lines))
    with pytest.raises(InputError) as error:
        run_split(config, tmp_path)
    assert cause in str(error.value)
    assert "another assembly" not in str(error.value)
    assert "or raise max_ref_mismatch_share (0.5)." in str(error.value)
