"""Files next to a table that belong to another table: refused by every command that reads them."""

import hashlib
import itertools
import json
import logging
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evo2_tasks.commands.show import show
from evo2_tasks.config.evaluation import resolve_evaluate, resolve_report
from evo2_tasks.config.schema import LabelConfig, RunConfig
from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.results import read_curves, read_metrics
from evo2_tasks.evaluation.schema import CURVE_COLUMNS, METRIC_COLUMNS
from evo2_tasks.layout import CURVES, EXPORTS, METRICS, RUN, TABLE
from evo2_tasks.steps import evaluate as evaluate_step
from evo2_tasks.steps import report as report_step
from evo2_tasks.steps.export import export
from evo2_tasks.table.documents import Run
from tests.project import COLUMNS, run_merge, run_steps, write_project

FILES = (TABLE, RUN, METRICS, CURVES)
LABELS = {"CLASS": {"positive": ["bad"], "negative": ["good"]}}
SEQUENCE = "".join(random.Random(4).choices("ACGT", k=600))
HEADER = (
    "##fileformat=VCFv4.2\n##contig=<ID=c,length=600>\n"
    f'##INFO=<ID=CLASS,Number=1,Type=String,Description="x">\n{COLUMNS}'
)


def make_variants(seed: int) -> str:
    """Sixty SNVs with a label each; the keys of the rows do not depend on the seed."""
    choose = random.Random(seed)
    lines = [HEADER]
    for pos in sorted(choose.sample(range(100, 500), 60)):
        ref = SEQUENCE[pos - 1]
        alt = choose.choice([base for base in "ACGT" if base != ref])
        lines.append(f"c\t{pos}\t.\t{ref}\t{alt}\t.\t.\tCLASS={choose.choice(['good', 'bad'])}\n")
    return "".join(lines)


def finish_steps(folder: Path, seed: int) -> RunConfig:
    """The table of a labelled variant set, with its run.json."""
    project = write_project(
        folder, genome={"c": SEQUENCE}, variants=make_variants(seed), variant_set={"labels": LABELS}
    )
    config = project.load()
    run_steps(config, folder)
    return config


def finish_run(folder: Path, seed: int) -> RunConfig:
    """A finished run: all files of a scoring of a labelled variant set."""
    config = finish_steps(folder, seed)
    table = folder / "s" / TABLE
    evaluate_step.evaluate(
        resolve_evaluate(config, "v"),
        table=table,
        out=table.with_name(METRICS),
        curves_file=table.with_name(CURVES),
    )
    return config


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, RunConfig]:
    """Folders of a scoring of two finished runs, and the config of the first."""
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    config = finish_run(one, 1)
    finish_run(two, 2)
    return one / "s", two / "s", config


def evaluate_to(config: RunConfig, table: Path, folder: Path) -> None:
    evaluate_step.evaluate(
        resolve_evaluate(config, "v"),
        table=table,
        out=folder / f"new-{METRICS}",
        curves_file=folder / f"new-{CURVES}",
    )


def make_report(config: RunConfig, folder: Path) -> Path:
    page = folder / "report.html"
    report_step.report(resolve_report(config, "v"), results=folder, out=page)
    return page


def export_vcf(folder: Path) -> Path:
    out = folder / "s" / "scores.vcf.gz"
    export(folder / "s" / TABLE, to="vcf")
    return out


def test_every_swap_of_files_between_two_runs_is_refused(
    runs: tuple[Path, Path, RunConfig], tmp_path: Path
) -> None:
    *finished, config = runs
    for number, choice in enumerate(itertools.product((0, 1), repeat=len(FILES))):
        folder = tmp_path / str(number)
        work = folder / "s"
        work.mkdir(parents=True)
        of = dict(zip(FILES, choice, strict=True))
        for name, run in of.items():
            shutil.copy(finished[run] / name, work / name)
        readers: dict[str, tuple[tuple[str, ...], Callable[[], Any]]] = {
            "show": ((METRICS,), lambda: list(show(work / TABLE))),  # noqa: B023
            "show of metrics": ((METRICS,), lambda: list(show(work / METRICS))),  # noqa: B023
            **{
                f"export to {to}": ((RUN,), lambda to=to: export(work / TABLE, to=to))  # noqa: B023
                for to in EXPORTS
            },
            "evaluate": ((RUN,), lambda: evaluate_to(config, work / TABLE, folder)),  # noqa: B023
            "report": (
                (RUN, METRICS, CURVES),
                lambda: make_report(config, folder),  # noqa: B023
            ),
        }
        before = {path.name for path in folder.rglob("*")}
        for reads, read in readers.values():
            wrong = [name for name in reads if of[name] != of[TABLE]]
            if not wrong:
                read()
                continue
            said = rf"{wrong[0]} was made from another table than .*{TABLE}\. .* again"
            with pytest.raises(InputError, match=said):
                read()
        made = {path.name for path in folder.rglob("*")} - before
        for name in (*EXPORTS.values(), f"new-{METRICS}", f"new-{CURVES}"):
            assert (name in made) == (of[RUN] == of[TABLE]), name
        assert ("report.html" in made) == (len(set(of.values())) == 1)


@pytest.mark.parametrize("name", [METRICS, CURVES])
def test_metrics_of_other_labels_are_refused_next_to_the_same_table(
    runs: tuple[Path, Path, RunConfig], tmp_path: Path, name: str
) -> None:
    # The config exchanges the classes: carried columns and table stay the same, byte for byte.
    work = tmp_path / "s"
    shutil.copytree(runs[0], work)
    config = runs[2]
    exchanged = {"CLASS": LabelConfig(positive=("good",), negative=("bad",))}
    sets = {"v": config.variant_sets["v"].model_copy(update={"labels": exchanged})}
    late = config.model_copy(update={"variant_sets": sets})
    make_report(config, tmp_path)
    evaluate_to(late, work / TABLE, tmp_path)
    shutil.copy(tmp_path / f"new-{name}", work / name)
    said = rf"{name} was made with other settings .*: labels\.CLASS\.negative.* run evaluate again"
    with pytest.raises(InputError, match=said):
        make_report(config, tmp_path)
    shutil.copy(tmp_path / f"new-{METRICS}", work / METRICS)
    shutil.copy(tmp_path / f"new-{CURVES}", work / CURVES)
    make_report(late, tmp_path)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        *((METRICS, one.name) for one in METRIC_COLUMNS if not one.nullable),
        (METRICS, "num_negative"),
        *((CURVES, one.name) for one in CURVE_COLUMNS if not one.nullable),
        (CURVES, "allele"),
    ],
)
def test_a_missing_value_of_metrics_or_curves_is_one_line(
    runs: tuple[Path, Path, RunConfig], tmp_path: Path, name: str, column: str
) -> None:
    work = tmp_path / "s"
    shutil.copytree(runs[0], work)
    rows = pq.read_table(work / name)
    at = rows.schema.get_field_index(column)
    pq.write_table(rows.set_column(at, column, pa.nulls(len(rows), rows[column].type)), work / name)
    read = read_metrics if name == METRICS else read_curves
    with pytest.raises(InputError, match=rf"{name}: column .*{column}: a value is missing"):
        read(work / name)


def test_an_edited_table_is_refused(runs: tuple[Path, Path, RunConfig], tmp_path: Path) -> None:
    shutil.copytree(runs[0], tmp_path / "s")
    table = tmp_path / "s" / TABLE
    rows = pq.read_table(table)
    pq.write_table(rows.set_column(rows.schema.get_field_index("llr"), "llr", rows["pos"]), table)
    readers = [
        lambda: list(show(table)),
        lambda: export_vcf(tmp_path),
        lambda: make_report(runs[2], tmp_path),
    ]
    for read in readers:
        with pytest.raises(InputError, match="was made from another table"):
            read()


def forget_statements(work: Path) -> None:
    """Make the files those of an earlier version, which did not state the table."""
    run = json.loads((work / RUN).read_text())
    del run["table_digest"]
    (work / RUN).write_text(json.dumps(run))
    for name in (METRICS, CURVES):
        pq.write_table(pq.read_table(work / name).replace_schema_metadata(None), work / name)


def test_files_of_an_earlier_version_are_used_with_a_warning(
    runs: tuple[Path, Path, RunConfig], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    work = tmp_path / "s"
    shutil.copytree(runs[0], work)
    stated = {"show": list(show(work / TABLE)), "page": make_report(runs[2], tmp_path).read_text()}
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]
    forget_statements(work)
    readers: dict[str, tuple[str, Callable[[], Any]]] = {
        "show": (f"against {METRICS}", lambda: list(show(work / TABLE))),
        "page": (
            f"{RUN}, {METRICS}, {CURVES}",
            lambda: make_report(runs[2], tmp_path).read_text(),
        ),
        "export": (RUN, lambda: export_vcf(tmp_path)),
    }
    for name, (said, read) in readers.items():
        caplog.clear()
        got = read()
        warnings = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
        assert len(warnings) == 1, name
        assert said in warnings[0]
        assert "earlier version" in warnings[0]
        assert name not in stated or got == stated[name]


def test_a_merge_that_was_killed_before_run_json_is_noticed_and_recovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = finish_steps(tmp_path, 1)
    export_vcf(tmp_path)
    (tmp_path / "in.vcf").write_text(make_variants(2))

    def die(*_args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Run, "write", die)
        with pytest.raises(KeyboardInterrupt):
            run_steps(config, tmp_path)
    with pytest.raises(InputError, match=f"{RUN} was made from another table"):
        export_vcf(tmp_path)
    table = run_merge(config, tmp_path)
    stated = json.loads((tmp_path / "s" / RUN).read_text())["table_digest"]
    assert stated == hashlib.sha256(table.read_bytes()).hexdigest()
    export_vcf(tmp_path)


def test_a_table_that_is_replaced_while_it_is_read_is_one_line(
    runs: tuple[Path, Path, RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, config = runs
    work = tmp_path / "s"
    shutil.copytree(one, work)
    kept = {name: (work / name).read_bytes() for name in (METRICS, CURVES)}
    plan = evaluate_step.plan_metrics

    def replace_table(*args: Any) -> Any:
        shutil.copy(two / TABLE, work / TABLE)
        return plan(*args)

    monkeypatch.setattr(evaluate_step, "plan_metrics", replace_table)
    with pytest.raises(InputError, match="changed while it was read"):
        evaluate_step.evaluate(
            resolve_evaluate(config, "v"),
            table=work / TABLE,
            out=work / METRICS,
            curves_file=work / CURVES,
        )
    assert kept == {name: (work / name).read_bytes() for name in kept}
