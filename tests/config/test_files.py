"""Files that a config names are looked at before any job: one line that names the key."""

import os
from pathlib import Path
from typing import Any

import pytest

from evo2_tasks.config import files
from evo2_tasks.config.load import load_config
from evo2_tasks.errors import InputError

GENOME = ">chr1 first\nACGT\n>chrM\nACGT\n"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "g.fa").write_text(GENOME)
    (tmp_path / "v.vcf").touch()
    return {
        "references": {"g": {"fasta": "g.fa"}},
        "models": {"m": {"checkpoint": "evo2-mini"}},
        "scorings": {"s": {"model": "m"}},
        "variant_sets": {"v": {"variants": "v.vcf", "reference": "g", "scorings": ["s"]}},
    }


def problem(config: dict[str, Any]) -> str:
    with pytest.raises(InputError) as error:
        load_config(config)
    return str(error.value)


def test_an_output_that_is_a_file_is_one_line(config: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "results").write_text("")
    assert problem(config) == (
        "config: output: results is a file, expected a folder; name another folder"
    )
    config["output"] = "results/deeper"
    assert problem(config).startswith(f"config: output: {tmp_path / 'results'} is a file")


@pytest.mark.skipif(os.getuid() == 0, reason="the superuser may write everywhere")
def test_an_output_without_write_permission_is_one_line(
    config: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    config["output"] = "locked/results"
    assert problem(config) == (
        f"config: output: {tmp_path / 'locked'} cannot be written to; name another folder"
    )


def test_an_output_that_cannot_be_written_is_one_line(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    assert problem(config) == (
        f"config: output: {tmp_path} cannot be written to; name another folder"
    )


def test_an_output_that_is_there_or_can_be_made_is_accepted(
    config: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "there").mkdir()
    for output in ("there", "there/deep/deeper", str(tmp_path / "new")):
        assert load_config(config | {"output": output}).output == Path(output)


@pytest.mark.parametrize("has_index", [False, True])
def test_a_circular_contig_that_the_fasta_lacks_is_one_line(
    config: dict[str, Any], tmp_path: Path, has_index: bool
) -> None:
    if has_index:
        (tmp_path / "g.fa.fai").write_text("chr1\t4\t12\t4\t5\nchrM\t4\t23\t4\t5\n")
    config["references"]["g"]["circular_contigs"] = ["chrM", "chrMT"]
    assert problem(config) == (
        "config: references.g.circular_contigs[1]: g.fa has no sequence 'chrMT'; did you mean chrM?"
        " it has: chr1, chrM"
    )
    config["references"]["g"]["circular_contigs"] = ["chrM"]
    load_config(config)


def test_contigs_of_a_compressed_fasta_without_an_index_are_left_to_split(
    config: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "g.fa").write_bytes(b"\x1f\x8b")
    config["references"]["g"]["circular_contigs"] = ["chrM"]
    load_config(config)


def test_contigs_of_a_large_index_are_left_to_split(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "g.fa.fai").write_text("chr1\t4\t12\t4\t5\n")
    config["references"]["g"]["circular_contigs"] = ["chrM"]
    assert "has no sequence 'chrM'" in str(problem(config))
    monkeypatch.setattr(files, "MOST_BYTES", 10)
    load_config(config)


@pytest.mark.parametrize(
    ("written", "way_out"),
    [
        ("evo2_7b", "write `arcinstitute/evo2_7b@bda0089f92582d5baabf0f22d9fc85f3588f6b58`"),
        ("Evo2-7B", "write `arcinstitute/evo2_7b@bda0089f92582d5baabf0f22d9fc85f3588f6b58`"),
        ("weights/evo2_40b.pt", "write `arcinstitute/evo2_40b@"),
        ("evo2_40b.pt.part0", "write `arcinstitute/evo2_40b@"),
        ("arcinstitute/evo2_7b", "write `arcinstitute/evo2_7b@"),
        ("arcinstitute/evo2_7b@main", "write `arcinstitute/evo2_7b@"),
        ("evo2_7b_microviridae", "`evo2-tasks fetch evo-design/evo-2-7b-8k-microviridae` prints"),
        ("lab/tuned", "`evo2-tasks fetch lab/tuned` prints the commit"),
        ("evo2_mini", "Write `evo2-mini` for the model that comes with the package"),
        ("evo2", "or one of the known models: evo2-mini, evo2_1b_base, evo2_7b, "),
    ],
)
def test_the_name_of_a_model_without_its_file_leads_to_the_model(
    config: dict[str, Any], written: str, way_out: str
) -> None:
    config["models"]["m"]["checkpoint"] = written
    said = problem(config)
    assert said.startswith(f"config: models.m.checkpoint: {written} does not exist")
    assert way_out in said


@pytest.mark.parametrize("written", ["weights/tuned.pt", "tuned.pt", "/data/models/mine"])
def test_a_path_that_names_no_model_gets_no_advice_about_hubs(
    config: dict[str, Any], written: str
) -> None:
    config["models"]["m"]["checkpoint"] = written
    said = problem(config)
    assert "does not exist" in said
    assert "hub" not in said
