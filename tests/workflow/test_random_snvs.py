"""A real run of the workflow on random SNVs of the demo genome with the model of the package."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pysam
import pytest
import yaml
from click.testing import CliRunner

from evo2_tasks.cli import main
from evo2_tasks.commands.plan import plan
from evo2_tasks.config.load import load_config
from evo2_tasks.config.resolve import resolve_draw, resolve_plan, resolve_split
from evo2_tasks.errors import InputError
from evo2_tasks.steps.draw import draw
from evo2_tasks.steps.split import split
from tests.project import DATA, make_config
from tests.workflow.run import run_workflow

pytestmark = pytest.mark.slow

NUMBER = 12
KEYS = ["record", "allele", "contig", "pos", "ref", "alt"]


def write_config(folder: Path, shards: int) -> dict[str, Any]:
    config = make_config(
        reference={"fasta": str(DATA / "rCRS.fa"), "circular_contigs": ["MT"]},
        model={"checkpoint": "evo2-mini"},
        variant_set={
            "random_snvs": {"number": NUMBER, "contigs": ["chrM"]},
            "identifiers": ["spdi"],
            "exports": ["vcf", "sites", "tsv"],
        },
        shards=shards,
        run={"batch_tokens": 4096},
    )
    del config["variant_sets"]["v"]["variants"]
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return config


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_config(folder, 2)
    run_workflow(folder)
    return folder


def read_table(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "results" / "v" / "s" / "scores.parquet")


def test_every_drawn_snv_has_a_score_an_identifier_and_a_line_in_the_exports(folder: Path) -> None:
    table = read_table(folder)
    assert (table["status"] == "scored").all()
    assert table["record"].tolist() == [*range(NUMBER)]
    assert table["llr"].notna().all()
    with pysam.FastaFile(str(DATA / "rCRS.fa")) as genome:
        bases = genome.fetch("MT")
    assert [bases[pos - 1] for pos in table["pos"]] == table["ref"].tolist()
    assert not table.duplicated(["pos", "alt"]).any()
    assert table["pos"].is_monotonic_increasing
    spdi = [
        f"{pos - 1}:{ref}:{alt}"
        for pos, ref, alt in zip(table["pos"], table["ref"], table["alt"], strict=True)
    ]
    assert [text.partition(":")[2] for text in table["spdi"]] == spdi
    for name in ("scores.vcf.gz", "scores.sites.vcf.gz"):
        with pysam.VariantFile(str(folder / "results" / "v" / "s" / name)) as vcf:
            lines = [(one.contig, one.pos, one.ref, *(one.alts or ())) for one in vcf]
        rows = zip(table["contig"], table["pos"], table["ref"], table["alt"], strict=True)
        assert lines == [*rows], name
    run = json.loads((folder / "results" / "v" / "s" / "run.json").read_text())
    assert run["variants"]["variants"] == "results/v/random_snvs.vcf.gz"
    assert (run["variants"]["records"], run["alleles"]) == (NUMBER, NUMBER)
    assert "random_snvs.vcf.gz" in (folder / "results" / "v" / "report.html").read_text()


def test_a_finished_run_has_nothing_to_do(folder: Path) -> None:
    assert "Nothing to be done" in run_workflow(folder, "--dry-run")


def test_plan_counts_the_snvs_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_config(write_config(tmp_path, 2))
    options = dict.fromkeys(("rates_file", "device", "device_memory_gb", "price"))
    (estimate,) = plan(resolve_plan(config), job_hours=2.0, **options)
    assert estimate["alleles"] == NUMBER
    assert not (tmp_path / "results").exists()


def test_another_number_of_shards_draws_the_same(folder: Path, tmp_path: Path) -> None:
    write_config(tmp_path, 3)
    run_workflow(tmp_path, "results/v/s/scores.parquet")
    pd.testing.assert_frame_equal(read_table(tmp_path)[KEYS], read_table(folder)[KEYS])
    drawn = [one / "results" / "v" / "random_snvs.vcf.gz" for one in (folder, tmp_path)]
    assert drawn[0].read_bytes() == drawn[1].read_bytes()


def test_a_step_by_hand_names_the_command_that_draws(tmp_path: Path) -> None:
    config = load_config(write_config(tmp_path, 2))
    with pytest.raises(InputError, match=r"random_snvs\.vcf\.gz: does not exist; .*-tasks draw"):
        split(resolve_split(config, "v"), variants=None, out=tmp_path / "shards")
    draw(resolve_draw(config, "v"), out=tmp_path / "random_snvs.vcf.gz")
    split(resolve_split(config, "v"), variants=None, out=tmp_path / "shards")
    assert (tmp_path / "shards" / "split.json").exists()


def test_a_drawn_set_gives_what_the_same_snvs_in_a_file_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Genes, the audit of a horizon, exports, and the commands that read the results.
    config = write_config(tmp_path, 1)
    config["references"]["g"] |= {"gff": str(DATA / "rCRS.gff3"), "genetic_codes": {"MT": 2}}
    config["scorings"]["s"] |= {"window_length": 128, "horizon": 16, "audit": 1.0}
    monkeypatch.chdir(tmp_path)
    draw(resolve_draw(load_config(config), "v"), out=Path("drawn.vcf.gz"))
    config["variant_sets"]["w"] = {**config["variant_sets"]["v"], "variants": "drawn.vcf.gz"}
    del config["variant_sets"]["w"]["random_snvs"]
    Path("config.yaml").write_text(yaml.safe_dump(config))
    run_workflow(tmp_path)

    for name in ("annotations.parquet", "s/scores.parquet", "s/audit.parquet"):
        first, second = (pd.read_parquet(f"results/{one}/{name}") for one in "vw")
        pd.testing.assert_frame_equal(first, second)
        assert len(first) == NUMBER, name
    assert pd.read_parquet("results/v/annotations.parquet")["gene"].notna().any()
    assert pd.read_parquet("results/v/s/audit.parquet")["llr_window"].notna().all()
    for name in ("s/scores.vcf.gz", "s/scores.sites.vcf.gz"):
        files = [pysam.VariantFile(f"results/{one}/{name}") for one in "vw"]
        first, second = ([str(line) for line in file] for file in files)
        assert first == second, name

    table = "results/SET/s/scores.parquet"
    horizon = ["horizon", "--config", "config.yaml", "--variant-set", "SET", "--scoring", "s"]
    for command in (
        ["show", table],
        ["query", table, "MT:1-16569"],
        ["query", table, "--consequence", "missense_variant"],
        [*horizon, "--out", "page.html", "--threads", "1"],
    ):
        first, second = (print_of([one.replace("SET", name) for one in command]) for name in "vw")
        assert first.strip(), command
        assert first.replace("v, s:", "w, s:").replace("/v/", "/w/") == second, command
    status = json.loads(print_of(["status", "results", "--json"]))
    assert [one["is_merged"] for one in status["status"]] == [True, True]


def print_of(arguments: list[str]) -> str:
    """What a command prints."""
    done = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout
