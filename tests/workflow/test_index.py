"""The index of an exported VCF after Snakemake: not older than the VCF, and made again if lost."""

import gzip
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pysam
import pytest
import yaml

from evo2_tasks.config.load import load_config
from evo2_tasks.errors import InputError
from evo2_tasks.exports.vcf_index import index_vcf
from evo2_tasks.io.bgzip import BgzfWriter
from evo2_tasks.steps.index import index
from tests.project import COLUMNS, make_config, run_steps, write_project
from tests.workflow.run import run_workflow

pytestmark = pytest.mark.slow

SEQUENCE = "ACGT" * 50
READ = """
import pysam, sys
with pysam.VariantFile(sys.argv[1]) as file:
    print(sum(1 for _ in file.fetch("c", 0, 100)))
"""


def write_run(folder: Path, positions: list[int], length: int) -> None:
    """A run whose table is finished, with a config that asks for the VCF."""
    meta = f"##fileformat=VCFv4.2\n##contig=<ID=c,length={length}>\n{COLUMNS}"
    lines = [f"c\t{pos}\t.\t{SEQUENCE[pos - 1]}\tN\t.\t.\t.\n" for pos in positions]
    write_project(
        folder,
        genome={"c": SEQUENCE},
        variants=meta + "".join(lines),
        variant_set={"exports": ["vcf"]},
    )
    config = make_config(variant_set={"exports": ["vcf"], "variants": "in.vcf"})
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    # What the workflow finds finished; the time of a file decides, as no job has been recorded.
    run_steps(load_config(make_config(folder)), folder / "results" / "v")


def run_to_end(folder: Path, *arguments: str) -> str:
    return run_workflow(folder, *arguments, "--rerun-triggers", "mtime")


@pytest.mark.parametrize(
    ("positions", "length", "kind"),
    [
        ([10, 20, 30], len(SEQUENCE), ".tbi"),
        ([10, 20, 30], 2**29 + 1, ".csi"),
        ([30, 20, 10], len(SEQUENCE), ""),
    ],
    ids=["tbi", "csi", "unsorted"],
)
def test_the_index_is_newer_than_the_vcf_and_made_again_if_it_is_lost(
    tmp_path: Path, positions: list[int], length: int, kind: str
) -> None:
    write_run(tmp_path, positions, length)
    run_to_end(tmp_path)
    vcf = tmp_path / "results" / "v" / "s" / "scores.vcf.gz"
    made = [suffix for suffix in (".tbi", ".csi") if Path(f"{vcf}{suffix}").exists()]
    assert made == ([kind] if kind else [])
    assert "Nothing to be done" in run_to_end(tmp_path)
    if not kind:
        return
    found = Path(f"{vcf}{kind}")
    assert found.stat().st_mtime_ns >= vcf.stat().st_mtime_ns
    expected, changed = found.read_bytes(), vcf.stat().st_mtime_ns
    found.unlink()
    planned = run_to_end(tmp_path, "--dry-run")
    assert re.findall(r"^Job \d+: (\w+)", planned, re.MULTILINE) == ["Indexing"]
    run_to_end(tmp_path)
    assert found.read_bytes() == expected
    assert vcf.stat().st_mtime_ns == changed
    assert "Nothing to be done" in run_to_end(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", READ, vcf], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("3\n", "")


def write_vcf(folder: Path, *positions: int) -> Path:
    text = folder / "x.vcf"
    lines = [f"c\t{pos}\t.\tA\tC\t.\t.\t.\n" for pos in positions]
    text.write_text(f"##fileformat=VCFv4.2\n##contig=<ID=c>\n{COLUMNS}" + "".join(lines))
    vcf = folder / "x.vcf.gz"
    subprocess.run(
        [sys.executable, "-c", "import pysam, sys; pysam.tabix_compress(*sys.argv[1:], force=True)",
         text, vcf],
        check=True,
    )  # fmt: skip
    return vcf


def test_the_index_is_not_older_where_the_clock_of_the_other_machine_is_ahead(
    tmp_path: Path,
) -> None:
    vcf = write_vcf(tmp_path, 1, 2)
    ahead = time.time_ns() + 60 * 10**9
    os.utime(vcf, ns=(ahead, ahead))
    made = index_vcf(vcf)
    assert made is not None
    assert made.stat().st_mtime_ns == ahead


def test_the_statement_follows_the_kind_of_the_index(tmp_path: Path) -> None:
    stated = tmp_path / "x.vcf.gz.index"
    for positions, kind in [
        ((1, 2), ".tbi"),
        ((2, 1), ""),
        ((1, 2**29 + 5), ".csi"),
        ((1,), ".tbi"),
    ]:
        vcf = write_vcf(tmp_path, *positions)
        index(vcf, out=stated)
        assert stated.read_text() == (f"x.vcf.gz{kind}\n" if kind else "none\n")
        found = {path.name for path in tmp_path.iterdir()}
        assert found == {"x.vcf", "x.vcf.gz", "x.vcf.gz.index", f"x.vcf.gz{kind}"}
        if kind:
            index(vcf, out=tmp_path / f"x.vcf.gz{kind}")
        wrong = tmp_path / f"x.vcf.gz{'.tbi' if kind == '.csi' else '.csi'}"
        with pytest.raises(InputError, match="is not the index of"):
            index(vcf, out=wrong)


def test_only_a_bgzipped_vcf_is_indexed(tmp_path: Path) -> None:
    vcf = write_vcf(tmp_path, 1, 2)
    plain = tmp_path / "x.vcf"
    before = plain.read_bytes()
    with gzip.open(tmp_path / "gzip.vcf.gz", "wb") as file:
        file.write(before)
    with pysam.VariantFile(str(vcf)) as text:
        pysam.VariantFile(str(tmp_path / "x.bcf"), "wb", header=text.header).close()
    names = [path.name for path in tmp_path.iterdir()]
    for wrong in (plain, tmp_path / "gzip.vcf.gz", tmp_path / "x.bcf"):
        with pytest.raises(InputError, match="is not a VCF that is compressed with bgzip"):
            index(wrong)
    with vcf.open("wb") as raw, BgzfWriter(raw) as out:
        out.write(before + b"c\tx\t.\tA\tC\t.\t.\t.\n")
    with pytest.raises(InputError, match="line 6: is not a record of a VCF"):
        index(vcf)
    assert plain.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == names
