"""The examples of the documentation run, and print what their pages show."""

import json
import re
import shlex
import shutil
from pathlib import Path

import click
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from evo2_tasks.cli import main
from tests.snippets import ENTRIES, PROGRAMS, ROOT, make_folder, missing, read_blocks, run_page

PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "data/README.md",
    "evo2_tasks/checkpoints/evo2-mini/README.md",
    "training/README.md",
    *sorted(page.relative_to(ROOT).as_posix() for page in ROOT.glob("docs/**/*.md")),
]
WITH_PROGRAMS = [
    page for page in PAGES if any(one.language in PROGRAMS for one in read_blocks(page))
]


def test_each_page_with_programs_has_an_entry() -> None:
    assert sorted(ENTRIES) == sorted(WITH_PROGRAMS)


@pytest.mark.parametrize("page", WITH_PROGRAMS)
def test_each_reason_is_about_one_block(page: str) -> None:
    blocks = read_blocks(page)
    for line, reason in ENTRIES[page].other.items():
        assert reason.strip()
        assert any(block.first_line.startswith(line) for block in blocks), line


@pytest.mark.parametrize("page", WITH_PROGRAMS)
def test_the_tests_that_run_examples_elsewhere_exist(page: str) -> None:
    entry = ENTRIES[page]
    for reason in (entry.all_other, *entry.other.values()):
        for file, _, test in re.findall(r"\b(tests/[\w/]+(?:\.py)?)(::(\w+))?", reason):
            assert (ROOT / file).exists(), reason
            if test:
                assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), reason


def run(page: str, folder: Path) -> None:
    make_folder(folder)
    assert run_page(page, folder) == []


@pytest.mark.parametrize(
    "page", [page for page, entry in ENTRIES.items() if not (entry.slow or entry.all_other)]
)
def test_the_examples_of_a_page_print_what_it_shows(page: str, tmp_path: Path) -> None:
    run(page, tmp_path / "checkout")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the examples of README.md were run."""
    folder = tmp_path_factory.mktemp("demo") / "checkout"
    run("README.md", folder)
    return folder


@pytest.mark.slow
def test_the_demo_prints_what_the_readme_shows(demo: Path) -> None:
    assert (demo / "results" / "mitomap" / "report.html").exists()


@pytest.mark.slow
def test_the_demo_separates_its_labels_as_the_card_of_the_model_says(demo: Path) -> None:
    evaluation = json.loads((ROOT / "training" / "figures" / "evaluation.json").read_text())
    (in_card,) = [
        one["value"]
        for one in evaluation["estimates"]
        if (one["score"], one["rows"], one["metric"]) == ("mini-512 both", "all", "auroc")
    ]
    table = pd.read_parquet(demo / "results" / "mitomap" / "mini-512" / "scores.parquet")
    auroc = roc_auc_score(table["LABEL"] == "pathogenic", -table["llr"])
    assert auroc == pytest.approx(in_card, abs=2e-3)  # another CPU sums in another order
    # The strands are read by themselves; a model that knows genes sees the same on both.
    assert table[["llr_fwd", "llr_rev"]].corr(method="spearman").iloc[0, 1] > 0.5


@pytest.mark.slow
def test_quantiles_and_points_follow_from_the_tables(demo: Path) -> None:
    table, calibrated = (
        pd.read_parquet(demo / "results" / "mitomap" / "mini-512" / f"{name}.parquet")
        for name in ("scores", "calibrated")
    )
    background = pd.read_parquet(demo / "results" / "random-snvs" / "mini-512" / "scores.parquet")
    rows = table.merge(calibrated, on=["record", "allele"], validate="one_to_one")
    assert (rows["status"] == "scored").all()
    sizes = background["consequence"].value_counts()
    large = set(sizes[sizes >= 100].index)
    assert large == {"missense_variant"}
    for row in rows.itertuples():
        own = background["consequence"] == row.consequence
        assert row.stratum_fallback == (row.consequence not in large)
        assert row.stratum == ("all" if row.stratum_fallback else row.consequence)
        scores = background["llr"] if row.stratum_fallback else background["llr"][own]
        share = ((scores < row.llr).sum() + (scores == row.llr).sum() / 2) / len(scores)
        edge = 1 / (2 * len(scores))
        assert row.quantile == pytest.approx(min(max(share, edge), 1 - edge))
    assert rows["lr"].notna().all()
    for row in rows.itertuples():
        reached = [k for k in (1, 2, 3, 4, 8) if row.lr_low >= 350 ** (k / 8)]
        reached += [-k for k in (1, 2, 3, 4, 8) if row.lr_high <= 350 ** (-k / 8)]
        assert row.evidence == max(reached, key=abs, default=0)


@pytest.mark.slow
def test_the_report_has_the_background_and_the_evidence(demo: Path) -> None:
    strengths = pd.read_parquet(
        demo / "results" / "calibrations" / "mitomap" / "mini-512" / "calibration.parquet"
    )
    assert len(strengths) == 8
    assert strengths["reached"].tolist() == strengths["bound"].notna().tolist()
    page = (demo / "results" / "mitomap" / "report.html").read_text()
    assert "Calibrated scores" in page
    assert "Evidence strength by the published method; not for clinical use" in page


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page, entry in ENTRIES.items() if entry.slow and page != "README.md"]
)
def test_the_slow_examples_of_a_page_print_what_it_shows(
    page: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = tmp_path / "checkout"
    make_folder(folder)
    if ENTRIES[page].demo:
        for name in ("results", ".snakemake"):
            shutil.copytree(request.getfixturevalue("demo") / name, folder / name)
    assert run_page(page, folder) == []


def test_a_line_that_is_not_printed_is_found() -> None:
    printed = "a 1\nb  2.0001\n\nc 3\nd 4\n"
    assert missing("a 1\nb 2.0\nc 3\n", printed) == []
    assert missing("b 2.0\n...\nd 4\n", printed) == []
    assert missing("c 3\n...\na 1\n", printed) == ["a 1"]
    assert missing("a 1\nc 3\n", printed) == ["c 3"]
    assert missing("a 2\n", printed) == ["a 2"]
    assert missing("b 2.01\n", printed) == ["b 2.01"]
    assert missing("d 4\ne 5\n", printed) == ["e 5"]


def take(parameter: click.Parameter, context: click.Context, value: object) -> object:
    """A value as it is written: no file is opened. A parameter that is required must be there."""
    if parameter.required and value in (None, ()):
        raise click.MissingParameter(ctx=context, param=parameter)
    return value


def test_the_example_of_each_command_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(click.Parameter, "process_value", take)
    examples = [block.text for block in read_blocks("docs/cli.md") if block.language == "sh"]
    assert len(examples) > 40
    for example in examples:
        assert example.startswith(("evo2-tasks ", "snakemake "))
        for line in re.findall(r"^evo2-tasks .*$", example.replace("\\\n", " "), re.MULTILINE):
            assert not re.search(r"[<>|]", re.sub(r"'[^']*'", "", line)), "to be quoted"
            words = shlex.split(line)[1:]
            command: click.Command = main
            context = click.Context(main, info_name="evo2-tasks")
            while isinstance(command, click.Group):
                _, found, words = command.resolve_command(context, words)
                assert found is not None
                command = found
            command.make_context(command.name, words, parent=context)
