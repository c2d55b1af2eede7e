"""Changes of the genome of a haplotype, from the config to a table, all steps in one process."""

import json
import random
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

from evo2_tasks.cli import main
from evo2_tasks.commands.store_tables import check_table
from evo2_tasks.config.load import load_config
from evo2_tasks.errors import InputError
from evo2_tasks.layout import SPLIT
from evo2_tasks.table.documents import Split
from evo2_tasks.table.provenance import read_provenance
from tests.project import Project, files_of_shards, run_split, run_steps, run_windows, write_project

HEADER = """##fileformat=VCFv4.4
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tS1\tS2
"""


def make_bases(seed: int) -> str:
    rng = random.Random(seed)
    return "".join(rng.choices("ACGT", k=300))


def make_project(folder: Path, **asked: Any) -> Project:
    """A set of 20 bases, with SNVs of two samples in and around them."""
    bases = make_bases(1)
    other = bases.translate(str.maketrans("ACGT", "CGTA"))
    rows = [
        f"c\t{pos}\t.\t{bases[pos - 1]}\t{other[pos - 1]}\t.\t.\t.\tGT\t{call}\t1|1\n"
        for pos, call in zip(range(60, 150, 3), ["1|0", "0|1"] * 15, strict=True)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "phased.vcf").write_text(HEADER + "".join(rows))
    genotypes = {"variants": str(folder / "phased.vcf"), "sample": "S1", "haplotype": 1} | asked
    return write_project(
        folder,
        genome={"c": bases},
        variants="c\t100\t120\n",
        scoring={"window_length": 64},
        variant_set={"saturate": ["snv"], "haplotype_of": genotypes},
        output=str(folder / "results"),
        shards=2,
    )


def test_the_signature_has_the_haplotype(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    table = run_steps(project.load(), tmp_path / "results" / "v")
    stated = read_provenance(table).signature["haplotype_of"]
    assert (stated["sample"], stated["haplotype"]) == ("S1", 1)
    split = Split.read(tmp_path / "results" / "v" / "shards" / SPLIT)
    assert split.inputs["haplotype_of"] == stated["variants"]
    rows = pd.read_parquet(table)
    assert set(rows["status"]) == {"scored"}
    assert (
        rows["flags"].map(lambda flags: "haplotype_ref" in flags).sum() == 4 * 3
    )  # those of 102, 108, 114 and 120
    with pytest.raises(InputError, match=r"genome of a sample \(`haplotype_of`\)"):
        check_table(table, None, ())


def test_windows_of_another_haplotype_are_refused(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    folder = tmp_path / "results" / "v"
    run_split(project.load(), folder)
    other = make_project(tmp_path, haplotype=2)
    with pytest.raises(InputError, match="other settings than those of the config: haplotype_of"):
        run_windows(other.load(), folder)
    project = make_project(tmp_path)
    genotypes = tmp_path / "phased.vcf"
    genotypes.write_text(genotypes.read_text().replace("1|0", "0|1"))
    with pytest.raises(InputError, match=r"another version of .*phased\.vcf"):
        run_windows(project.load(), folder)
    assert not any(one.windows.exists() for one in files_of_shards(project.load(), folder))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"sample": "S3"}, "haplotype_of.sample: the file has no sample 'S3'"),
        ({"haplotype": 3}, "haplotype_of.haplotype: is 3, but a genotype of S1 has at most 2"),
    ],
)
def test_a_haplotype_that_is_not_there_is_one_line(
    tmp_path: Path, asked: dict[str, Any], message: str
) -> None:
    project = make_project(tmp_path, **asked)
    with pytest.raises(InputError, match=message):
        run_split(project.load(), tmp_path / "results" / "v")
    assert not (tmp_path / "results" / "v" / "shards" / SPLIT).exists()


def test_genotypes_of_another_assembly_or_format_are_one_line(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    genotypes = tmp_path / "phased.vcf"
    lines = genotypes.read_text().splitlines(keepends=True)
    bases = make_bases(1)
    complement = bases.translate(str.maketrans("ACGT", "TGCA"))
    moved = [
        line.replace(f"\t.\t{bases[pos - 1]}\t", f"\t.\t{complement[pos - 1]}\t")
        for line, pos in zip(lines[2:], range(60, 150, 3), strict=True)
    ]
    genotypes.write_text("".join([*lines[:2], *moved]))
    with pytest.raises(InputError, match=r"phased\.vcf: haplotype_of: .* REF that does not match"):
        run_split(project.load(), tmp_path / "results" / "v")
    genotypes.write_text("c-5-A-C\n")
    with pytest.raises(InputError, match="haplotype_of needs the genotypes of a VCF or BCF"):
        run_split(project.load(), tmp_path / "results" / "v")


def test_a_key_without_saturate_or_file_is_refused(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    config = json.loads(project.config_file.read_text())
    del config["variant_sets"]["v"]["saturate"]
    project.config_file.write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"variant_sets\.v\.haplotype_of: needs `saturate`"):
        load_config(project.config_file)


def test_plan_counts_the_rows_in_the_genome(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    config = json.loads(project.config_file.read_text())
    config["models"]["m"] = {"checkpoint": "evo2-mini"}
    project.config_file.write_text(json.dumps(config))
    done = CliRunner().invoke(main, ["plan", "--config", str(project.config_file), "--json"])
    assert done.exit_code == 0, done.output
    [estimate] = json.loads(done.stdout)["plan"]
    assert estimate["by_status"] == {"to_score": 60}


def test_another_haplotype_runs_the_steps_of_its_set_again(tmp_path: Path) -> None:
    from evo2_tasks.jobs import step_inputs, step_settings  # noqa: PLC0415

    one, other = (make_project(tmp_path, haplotype=number).load() for number in (1, 2))
    assert step_inputs(one).genotypes == {"v": [str(tmp_path / "phased.vcf")]}
    before, after = step_settings(one), step_settings(other)
    changed = [
        name for name in ("split", "windows", "carry", "annotate", "merge")
        if getattr(before, name) != getattr(after, name)
    ]  # fmt: skip
    assert {"split", "windows"} <= {*changed}
    assert "merge" not in changed


@pytest.mark.parametrize(
    ("call", "flag"), [("0|0", None), ("0|1", None), ("./.", None), ("0/1", "unphased")]
)
def test_a_haplotype_without_alleles_has_the_rows_of_the_reference(
    tmp_path: Path, call: str, flag: str | None
) -> None:
    project = make_project(tmp_path)
    genotypes = tmp_path / "phased.vcf"
    text = genotypes.read_text()
    genotypes.write_text(text.replace("\t1|0\t", f"\t{call}\t").replace("\t0|1\t", f"\t{call}\t"))
    config = json.loads(project.config_file.read_text())
    config["variant_sets"]["v"]["saturate"] = ["snv", "deletion", "insertion", "codon"]
    found = []
    for name in ("with", "without"):
        loaded = load_config(config)
        run_steps(loaded, tmp_path / name)
        windows = [pd.read_parquet(one.windows) for one in files_of_shards(loaded, tmp_path / name)]
        table = pd.read_parquet(tmp_path / name / "s" / "scores.parquet")
        found.append((pd.concat(windows), table))
        config["variant_sets"]["v"].pop("haplotype_of", None)
    for one, other in zip(*found, strict=True):
        columns = [column for column in other if column != "flags"]
        pd.testing.assert_frame_equal(one[columns], other[columns])
        more = {*one["flags"].explode().dropna()} - {*other["flags"].explode().dropna()}
        assert more == ({flag} if flag else set())
