"""One change has the same numbers in every notation: VCF, SPDI, HGVS in a list and in a table."""

import random
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pysam
import pytest

from evo2_tasks.exports import sites
from evo2_tasks.layout import TABLE
from evo2_tasks.table.schema import ALL_SCORE_COLUMNS
from tests.project import HEADER, run_steps, write_project

rng = random.Random(5)
LINE = (
    "".join(rng.choices("ACGT", k=200)) + "CAG" * 8 + "T" * 12 + "".join(rng.choices("ACGT", k=200))
)
CIRCLE = "".join(rng.choices("ACGT", k=150))
NC, MT = "NC_000017.11", "NC_012920.1"
PLACED = ["window_start", "window_end"]

# The repeat CAG x 8 is at 201..224, T x 12 at 225..236.
CHANGES = {
    f"{NC}:g.221_224delinsG": (NC, 221, LINE[220:224], "G"),
    f"{NC}:g.222_224del": (NC, 200, LINE[199:203], LINE[199]),
    f"{NC}:g.201_203dup": (NC, 224, "G", "GCAG"),
    f"{NC}:g.201_224CAG[10]": (NC, 200, LINE[199], LINE[199] + "CAGCAG"),
    f"{NC}:g.225del": (NC, 235, "TT", "T"),
    f"{NC}:g.236_237insTT": (NC, 224, "G", "GTT"),
    f"{NC}:g.101_110inv": (NC, 101, LINE[100:110], "{inverted}"),
    f"{NC}:g.101_102ins201_206": (NC, 101, LINE[100], LINE[100] + "CAGCAG"),
    f"{MT}:m.150_1insACCA": (MT, 150, CIRCLE[149], CIRCLE[149] + "ACCA"),
    f"{MT}:m.149_2dup": (MT, 2, CIRCLE[1], CIRCLE[1] + CIRCLE[148:] + CIRCLE[:2]),
}


def invert(bases: str) -> str:
    return bases[::-1].translate(str.maketrans("ACGT", "TGCA"))


def score(
    folder: Path, checkpoint: Path, name: str, variants: str | pa.Table, circle: str = CIRCLE
) -> pl.DataFrame:
    project = write_project(
        folder / name,
        genome={NC: LINE, MT: circle},
        variants=variants if isinstance(variants, str) else "",
        model={"checkpoint": str(checkpoint)},
        reference={"circular_contigs": [MT]},
    )
    if isinstance(variants, pa.Table):
        pq.write_table(variants, project.variants)
    return pl.read_parquet(run_steps(project.load(), folder / name / "v", stub=False))


def numbers(table: pl.DataFrame) -> pl.DataFrame:
    return table.select("status", *ALL_SCORE_COLUMNS)


def test_vcf_spdi_and_hgvs_have_the_same_numbers(tmp_path: Path, checkpoint: Path) -> None:
    vcf, spdi = HEADER, ""
    for contig, pos, ref, alt in CHANGES.values():
        spelled = alt.format(inverted=invert(ref))
        vcf += f"{contig}\t{pos}\t.\t{ref}\t{spelled}\t.\t.\t.\n"
        spdi += f"{contig}:{pos - 1}:{ref}:{spelled}\n"
    expected = score(tmp_path, checkpoint, "vcf", vcf)
    assert set(expected["status"]) == {"scored"}
    others = {
        "spdi": spdi,
        "hgvs": "\n".join(CHANGES),
        "table": "gene,hgvs\n" + "".join(f"X,{name}\n" for name in CHANGES),
        "parquet": pa.table({"hgvs": [*CHANGES]}),
    }
    for name, variants in others.items():
        found = score(tmp_path, checkpoint, name, variants)
        assert numbers(found).equals(numbers(expected)), name
        assert found.select(PLACED).equals(expected.select(PLACED))


@pytest.mark.parametrize("change", ["del", "inv", "delinsACCAT", "del{stated}"])
def test_a_change_across_the_origin_has_the_numbers_of_a_circle_that_begins_elsewhere(
    tmp_path: Path, checkpoint: Path, change: str
) -> None:
    first, last = 146, 4
    ref = CIRCLE[first - 1 :] + CIRCLE[:last]
    found = score(
        tmp_path, checkpoint, "across", f"{MT}:m.{first}_{last}{change.format(stated=ref)}\n"
    )
    shift = 75
    turned = CIRCLE[shift:] + CIRCLE[:shift]
    pos = first - shift
    assert turned[pos - 1 :].startswith(ref)
    before = turned[pos - 2]
    alt = {"inv": invert(ref), "delinsACCAT": "ACCAT"}.get(change, "")
    line = f"{MT}\t{pos - 1}\t.\t{before}{ref}\t{before}{alt}\t.\t.\t.\n"
    expected = score(tmp_path, checkpoint, "turned", HEADER + line, turned)
    assert expected["status"].to_list() == ["scored"]
    assert numbers(found).equals(numbers(expected))
    assert found["pos"].item() + len(found["ref"].item()) - 1 == 150 + last


def test_sites_have_no_ref_across_the_origin(
    tmp_path: Path, checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = [f"{MT}:m.146_4del", f"{MT}:m.150_1insACCA", f"{MT}:m.145_150del"]
    score(tmp_path, checkpoint, "sites", "\n".join(names))
    out = tmp_path / "sites.vcf.gz"
    assert sites.write(tmp_path / "sites" / "v" / "s" / TABLE, out) == 2
    with pysam.VariantFile(str(out)) as vcf:
        assert [line.pos for line in vcf] == [144, 150]
    assert (
        "record 0, allele 1 is left out of the sites: its REF goes across the origin" in caplog.text
    )
