"""What `plan` reckons, against what a run then does."""

import json
import random
from pathlib import Path

import pytest
from click.testing import CliRunner

from evo2_tasks.cli import main
from evo2_tasks.commands import measure as measure_command
from evo2_tasks.commands import plan as plan_command
from evo2_tasks.config.resolve import resolve_model, resolve_plan, resolve_score
from evo2_tasks.config.schema import RunConfig
from evo2_tasks.cost.rates import Rate, Rates
from evo2_tasks.cost.shapes import read_shape
from tests.project import HEADER, Project, run_steps, write_project

GENOME = {"line": 900, "ring": 350}


def write_run(folder: Path, **variant_set: object) -> Project:
    """A run of two scorings, with these keys of the variant set."""
    rng = random.Random(4)
    genome = {name: "".join(rng.choices("ACGT", k=length)) for name, length in GENOME.items()}
    lines = [HEADER]
    for _ in range(40):
        contig = rng.choice(list(genome))
        pos = rng.randrange(1, GENOME[contig] + 1)
        ref = genome[contig][pos - 1 : pos - 1 + rng.randint(1, 3)]
        alts = {"".join(rng.choices("ACGT", k=rng.randint(1, 3))) for _ in range(rng.randint(1, 3))}
        lines.append(f"{contig}\t{pos}\t.\t{ref}\t{','.join(sorted(alts))}\t.\t.\t.\n")
    lines.append("line\t5\t.\tA\t<DEL>\t.\t.\t.\n")
    centered = {"model": "m", "window_length": 64}
    tiled = {"window_placement": "tiled", "strands": "forward", "max_allele_length": 8}
    return write_project(
        folder,
        genome=genome,
        variants="".join(lines),
        reference={"circular_contigs": ["ring"]},
        model={"checkpoint": "evo2-mini"},
        scorings={"centered": centered, "tiled": centered | tiled},
        variant_set={"max_ref_mismatch_share": 1, **variant_set},
        shards=3,
        run={"part_tokens": 3_000, "batch_tokens": 2_048},
    )


def plan(config: RunConfig, **options: object) -> list[dict[str, object]]:
    given = {"rates_file": None, "device": None, "device_memory_gb": None, "price": None}
    return plan_command.plan(resolve_plan(config), **(given | {"job_hours": 2.0} | options))


def test_another_assembly_is_one_warning_for_all_scorings(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    header = "##fileformat=VCFv4.2\n##contig=<ID=line,length=901>\n" + HEADER.split("\n", 1)[1]
    project = write_run(tmp_path, max_ref_mismatch_share=0.5)
    genome = "".join(project.genome.read_text().split("\n")[1])
    lines = "".join(
        f"line\t{pos}\t.\t{'C' if genome[pos - 1] == 'A' else 'A'}\tG\t.\t.\t.\n"
        for pos in range(50, 70)
    )
    project.variants.write_text(header + lines)
    assert len(plan(project.load())) == 2
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len([text for text in said if "(line: 901 and 900)" in text]) == 1
    assert len([text for text in said if "20 of 20 alleles (100%)" in text]) == 1
    assert len([text for text in said if "The run will stop in `split`." in text]) == 1


def test_the_alleles_of_regions_and_lists_are_counted(tmp_path: Path) -> None:
    (tmp_path / "in.bed").write_text("line\t100\t120\nring\t340\t360\nnowhere\t1\t2\n")
    (tmp_path / "in.txt").write_text("line-100-A-.\nline:100:A:A\nnowhere:1:A:C\n")
    for file, saturate, by_status in [
        ("in.bed", ["snv"], {"to_score": 90, "position_out_of_range": 1, "contig_not_found": 1}),
        ("in.txt", [], {"missing_allele": 1, "not_a_variant": 1, "contig_not_found": 1}),
    ]:
        run = write_run(tmp_path, variants=str(tmp_path / file), saturate=saturate)
        bills = plan(run.load())
        assert [bill["by_status"] for bill in bills] == [by_status] * 2


def test_a_run_does_what_was_planned(tmp_path: Path) -> None:
    config = write_run(tmp_path).load()
    bills = {bill["scoring"]: bill for bill in plan(config)}
    for scoring, bill in bills.items():
        table = run_steps(config, tmp_path, scoring, stub=False)
        run = json.loads(table.with_name("run.json").read_text())
        done = {"to_score" if key == "scored" else key: n for key, n in run["by_status"].items()}
        assert bill["by_status"] == done
        assert bill["alleles"] == run["alleles"]
        assert bill["windows"] == run["windows_run"]
        assert bill["tokens"] == run["tokens_run"]
        memory = bill["memory_mb"]
        peak = max(shard["peak_memory_mb"] for shard in run["shards"])
        assert memory["process"] > memory["device"]
        assert peak > 0


def test_time_and_price_follow_from_the_rate(tmp_path: Path) -> None:
    config = write_run(tmp_path).load()
    rate = Rate(
        device="cpu of ours",
        model="m",
        window_length=64,
        tokens_per_s=100.0,
        flops_per_token=1e6,
        source="ours",
    )
    rates = tmp_path / "rates.json"
    Rates(rates=(rate,)).write(rates)
    bill = plan(config, rates_file=rates, price=3.0, job_hours=1e-6)[0]
    assert bill["hours"] == pytest.approx(bill["flops"] / 1e8 / 3600)
    assert bill["price"] == pytest.approx(3 * bill["hours"])
    assert bill["suggested_shards"] == pytest.approx(bill["hours"] / 1e-6, abs=1)
    shape = read_shape(resolve_model("models.m", "m", config.models["m"]))
    assert bill["flops"] == bill["tokens"] * shape.flops_per_token(64)


def test_calibrate_measures_and_keeps_what_is_there(tmp_path: Path) -> None:
    config = write_run(tmp_path).load()
    out = tmp_path / "rates.json"
    for scoring in ("centered", "centered", "tiled"):
        measure_command.measure(resolve_score(config, scoring), out=out, threads=1, seconds=0.1)
    (rate,) = Rates.read(out).rates
    assert rate.device.startswith("cpu ")
    assert rate.threads == 1
    assert rate.tokens_per_s > 0
    (bill, _) = plan(config, rates_file=out)
    assert bill["hours"] == pytest.approx(bill["tokens"] / rate.tokens_per_s / 3600, rel=0.01)


def test_the_command_prints_a_bill(tmp_path: Path) -> None:
    config = write_run(tmp_path).config_file
    text = CliRunner().invoke(main, ["plan", "--config", str(config), "--device-memory", "8"])
    assert text.exit_code == 0, text.output
    assert "symbolic_allele" in text.stdout
    assert "batch_tokens" in text.stdout
    machine = CliRunner().invoke(main, ["plan", "--config", str(config), "--json"])
    assert len(json.loads(machine.stdout)["plan"]) == 2


def test_the_total_adds_up_the_scorings(tmp_path: Path) -> None:
    config = write_run(tmp_path).load()
    bills = plan(config, price=2.0)
    total = plan_command.add_up(bills)
    for key in ("windows", "tokens", "flops", "price"):
        assert total[key] == pytest.approx(bills[0][key] + bills[1][key])
    assert total["alleles"] == sum(bill["by_status"]["to_score"] for bill in bills)
    assert total["gpu_hours"] == 0
    assert total["cpu_hours"] == pytest.approx(bills[0]["hours"] + bills[1]["hours"])
    *_, title, alleles, windows, tokens, _, time, price = plan_command.describe_estimates(bills)
    assert title == "total of 2 scorings"
    assert alleles.split()[-1] == f"{total['alleles']:,}"
    assert windows.split()[-1] == f"{total['windows']:,}"
    assert tokens.split()[-1] == f"{total['tokens']:,}"
    assert time.endswith("of one CPU")
    assert price.split()[-1] == f"{total['price']:,.2f}"


def test_the_total_keeps_gpus_and_cpus_apart_and_one_scoring_has_none(tmp_path: Path) -> None:
    bills = plan(write_run(tmp_path).load())
    total = plan_command.add_up([bills[0] | {"gpus": 1}, bills[1]])
    assert (total["gpu_hours"], total["cpu_hours"]) == (bills[0]["hours"], bills[1]["hours"])
    assert "price" not in total
    unknown = [
        bills[0],
        {key: bills[1][key] for key in bills[1] if key != "hours"} | {"rate": None},
    ]
    assert "cpu_hours" not in plan_command.add_up(unknown)
    assert any(
        "unknown: no rate is known for some" in line
        for line in plan_command.describe_estimates(unknown)
    )
    assert not any("total" in line for line in plan_command.describe_estimates(bills[:1]))
