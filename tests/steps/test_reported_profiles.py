"""The report draws the profiles of the alleles with the lowest scores: against pandas."""

import json
import random
import shlex
import shutil
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evo2_tasks.cli import explain
from evo2_tasks.config.evaluation import resolve_report
from evo2_tasks.config.load import load_config
from evo2_tasks.config.resolve import resolve_readouts
from evo2_tasks.errors import InputError
from evo2_tasks.jobs import step_inputs, step_settings
from evo2_tasks.layout import PROFILES, READOUTS, TABLE
from evo2_tasks.report.profile_plots import spell_command
from evo2_tasks.report.words import NOTHING, fixed
from evo2_tasks.steps import report as report_step
from evo2_tasks.steps import score_readouts as score_readouts_step
from tests.project import (
    HEADER,
    Project,
    files_of_shards,
    run_merge,
    run_split,
    run_windows,
    write_project,
)
from tests.report.page import plots_of, read_page, rows_of
from tests.steps.test_embeddings import merge_profiles

GENOME = {name: "".join(random.Random(name).choices("ACGT", k=size))
          for name, size in (("line", 400), ("ring", 120))}  # fmt: skip


def make_variants() -> str:
    """SNVs, insertions and deletions on both contigs, also across the origin of the circle."""
    lines, draw = [HEADER], random.Random(3)
    for name, bases in GENOME.items():
        for number, pos in enumerate(range(1, len(bases) - 4, len(bases) // 15)):
            ref = bases[pos - 1 : pos - 1 + (1, 1, 1, 4)[number % 4]]
            alt = draw.choice("ACGT".replace(ref[0], "")) + ("", "", "GAT", "")[number % 4]
            lines.append(f"{name}\t{pos}\t.\t{ref}\t{alt}\t.\t.\t.\n")
    return "".join(lines)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Project:
    return write_project(
        tmp_path_factory.mktemp("profiles"),
        genome=GENOME,
        variants=make_variants(),
        reference={"circular_contigs": ["ring"]},
        model={"checkpoint": str(checkpoint)},
        scoring={"window_length": 64, "profile": 50},
        shards=1,
    )


@pytest.fixture(scope="module")
def results(project: Project) -> Path:
    """The folder of the variant set, with its report."""
    config, folder = project.load(), project.genome.parent / "results" / "v"
    run_split(config, folder)
    run_windows(config, folder)
    for files in files_of_shards(config, folder):
        score_readouts_step.score_readouts(
            resolve_readouts(config, "s"),
            windows_file=files.windows,
            segments_file=files.segments,
            out=files.scores,
            scores=None,
            readouts=folder / "s" / READOUTS / files.scores.stem,
            audited=None,
            threads=1,
        )
    merge_profiles(config, folder)
    run_merge(config, folder)
    write_report(project, folder)
    return folder


def write_report(project: Project, folder: Path) -> None:
    settings = resolve_report(project.load(), "v")
    report_step.report(settings, results=folder, out=folder / "report.html")


def read_lowest(results: Path) -> pd.DataFrame:
    scores = pd.read_parquet(results / "s" / TABLE).dropna(subset="llr")
    lowest = scores.sort_values("llr", kind="stable").head(20)
    return lowest.merge(pd.read_parquet(results / "s" / PROFILES), on=["record", "allele"])


def test_the_bars_are_the_profiles_of_the_twenty_lowest(results: Path) -> None:
    plots = plots_of(results / "report.html")
    lowest = read_lowest(results)
    assert len(lowest) == sum(title.endswith(", forward strand") for title in plots) == 20
    for _, row in lowest.iterrows():
        name = f"{row['contig']}:{row['pos']} {row['ref']}&gt;{row['alt']}"
        for strand, suffix, step in (("forward", "fwd", 1), ("reverse", "rev", -1)):
            plot = plots[f"{name}, {strand} strand"]
            values = row[f"profile_{suffix}"].astype(float)
            assert plot["data"][0]["y"] == pytest.approx(values, rel=1e-4)
            assert f"to {fixed(values.sum())}." in plot["caption"]
            if len(row["ref"]) == len(row["alt"]) == 1:
                bases = GENOME[row["contig"]]
                places = [(row["pos"] - 1 + step * i) % len(bases) for i in range(5)]
                found = [text.partition("<")[0] for text in plot["data"][0]["hovertext"][:5]]
                assert found == [f"{row['contig']}:{at + 1} {bases[at]}" for at in places]


def test_the_table_links_to_the_figures_and_each_has_a_command(results: Path) -> None:
    page = read_page(results / "report.html")
    links = [one["href"] or "" for one in page.all("a") if "aria-label" in one]
    anchors = [one["id"] for one in page.all("h3") if "id" in one]
    assert [link.removeprefix("#") for link in links] == anchors
    assert len(anchors) == 20
    commands = [text for tag, text in page.texts if tag == "code" and "explain" in text]
    parsed = [shlex.split(one) for one in commands]
    assert [one[-1] for one in parsed] == [
        f"{row['contig']}:{row['pos']}:{row['ref']}:{row['alt']}"
        for _, row in read_lowest(results).iterrows()
    ]
    option_names = {option for one in explain.params for option in one.opts}
    assert {part for one in parsed for part in one if part.startswith("--")} <= option_names
    assert rows_of(results / "report.html", "Lowest llr")[0][8] == "figures"
    assert len(rows_of(results / "report.html", "Highest llr")[0]) == 9


def test_profiles_of_other_alleles_are_refused(
    results: Path, project: Project, tmp_path: Path
) -> None:
    shutil.copytree(results, tmp_path / "v")
    path = tmp_path / "v" / "s" / PROFILES
    table = pq.read_table(path)
    lowest = read_lowest(results)["record"][0]
    at = table["record"].to_pylist().index(lowest)
    other = next(i for i, one in enumerate(table["profile_fwd"].to_pylist()) if one and i != at)
    rows = [other if i == at else i for i in range(len(table))]
    moved = table.take(rows).set_column(0, "record", table["record"])
    pq.write_table(moved.set_column(1, "allele", table["allele"]), path)
    with pytest.raises(InputError, match="has the profile of another allele"):
        write_report(project, tmp_path / "v")


def test_a_row_without_a_profile_has_no_figures(
    results: Path, project: Project, tmp_path: Path
) -> None:
    shutil.copytree(results, tmp_path / "v")
    path = tmp_path / "v" / "s" / PROFILES
    table = pq.read_table(path)
    gone = set(read_lowest(results)["record"][:2])
    is_kept = [one not in gone for one in table["record"].to_pylist()]
    for name in ("profile_fwd", "profile_rev"):
        values = [one if kept else None
                  for one, kept in zip(table[name].to_pylist(), is_kept, strict=True)]  # fmt: skip
        column = pa.array(values, pa.list_(pa.float16()))
        table = table.set_column(table.schema.get_field_index(name), name, column)
    pq.write_table(table, path)
    write_report(project, tmp_path / "v")
    rows = rows_of(tmp_path / "v" / "report.html", "Lowest llr")
    assert [row[8] for row in rows[:3]] == [NOTHING, NOTHING, "figures"]


def test_only_profiles_change_the_job_of_the_report(project: Project) -> None:
    config = json.loads(json.dumps(project.config))
    assert step_inputs(load_config(config)).report["v"][-1] == f"v/s/{PROFILES}"
    assert step_inputs(load_config(config)).drawn_bases["v"]
    assert json.loads(step_settings(load_config(config)).report["v"])["profiles"] == ["s"]
    del config["scorings"]["s"]["profile"]
    assert not [one for one in step_inputs(load_config(config)).report["v"] if PROFILES in one]
    assert not step_inputs(load_config(config)).drawn_bases["v"]
    assert json.loads(step_settings(load_config(config)).report["v"]) == {"scorings": ["s"]}


def test_a_command_of_hostile_names_is_one_argument_or_not_shown() -> None:
    row = {"contig": "-$(x) '<b>", "pos": 7, "ref": "A", "alt": "C"}
    command = shlex.split(spell_command(row, "v", "s"))
    assert command[-2:] == ["--", "-$(x) '<b>:7:A:C"]
    assert not spell_command(row | {"contig": "a\u202eb"}, "v", "s")
    assert not spell_command(row | {"alt": "C" * 400}, "v", "s")
