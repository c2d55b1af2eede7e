"""Text from data in a report: without markup, on one line, short."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from evo2_tasks.evaluation.results import read_metrics
from evo2_tasks.evaluation.text import describe_metrics
from evo2_tasks.genome.records import CarryField
from evo2_tasks.layout import METRICS
from evo2_tasks.report.words import (
    allele,
    decimal,
    plot_text,
    printable,
    script_json,
    share,
    variant,
)
from tests.evaluation.build import (
    CARRY,
    HOSTILE,
    LABELS,
    hostile_columns,
    make_columns,
    write_page,
    write_scoring,
)
from tests.report.page import read_page


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    columns, carry = hostile_columns()
    texts = {"shard": HOSTILE[0], "device": HOSTILE[1], "node": HOSTILE[2], "torch": HOSTILE[3]}
    shards = [{**texts, "windows_run": 2, "tokens_run": 100, "wall_s": 1.0}]
    run = {
        "shards": shards,
        "verification": {HOSTILE[0]: HOSTILE[1]},
        "variants": {
            "variants": HOSTILE[3],
            "format": "vcf",
            "records": 1,
            "regions": [HOSTILE[1]],
        },
    }
    write_scoring(folder / "one", columns, carry=carry, run=run, dtype=HOSTILE[0])
    return write_page(folder, **LABELS)


def test_markup_in_data_is_inert(hostile: Path) -> None:
    html = read_page(hostile)
    assert html.open == []
    assert len(html.all("script")) == 3
    assert not html.all("img")
    assert not html.all("svg")
    assert all((link["href"] or "").startswith("#") for link in html.all("a"))
    names = {name for _, attributes in html.elements for name in attributes}
    assert not {name for name in names if name.startswith("on")}
    text = html.text()
    assert HOSTILE[0] in text
    assert "\u202e" not in text
    assert "\u2028" not in hostile.read_text(encoding="utf-8")


def test_text_in_plots_has_no_tags_of_its_own(hostile: Path) -> None:
    ours = re.compile(r"</?(br|extra)>")

    def texts(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [text for one in value.values() for text in texts(one)]
        if isinstance(value, list):
            return [text for one in value for text in texts(one)]
        return [value] if isinstance(value, str) else []

    plots = json.loads(read_page(hostile).scripts()[0])
    found = [ours.sub("", text) for plot in plots for text in texts(plot)]
    assert any("alert" in text for text in found)
    assert not [text for text in found if "<" in text or ">" in text]


def test_names_of_the_config_are_inert_too(tmp_path: Path) -> None:
    columns = make_columns(60)
    for name in HOSTILE:
        columns[name] = columns["OTHER"]
    carry = (*CARRY, *(CarryField(name, "float", False, "") for name in HOSTILE))
    table = write_scoring(tmp_path / "one", columns, carry=carry)
    labels = LABELS["labels"] | {HOSTILE[0]: {"harmful": "low"}}
    page = write_page(tmp_path, labels=labels, baselines=dict.fromkeys(HOSTILE, "high"))
    html = read_page(page)
    assert html.open == []
    assert len(html.all("script")) == 3
    assert not html.all("img")
    lines = describe_metrics(read_metrics(table.with_name(METRICS)))
    assert all(line.isprintable() for line in lines)


def test_long_alleles_are_shortened(hostile: Path) -> None:
    text = read_page(hostile).text()
    assert "A" * 12 + "… (10,000)" in text
    assert "A" * 50 not in text


def test_words() -> None:
    nothing = {"record": 1_055, "contig": None, "pos": None, "ref": None, "alt": None}
    assert variant(nothing) == "record 1055"  # as in the table and in the log
    assert allele("ACGT") == "ACGT"
    assert allele("A" * 10_000) == "A" * 12 + "… (10,000)"
    assert allele(None) == "\N{EN DASH}"
    assert decimal(-1234.5) == "\N{MINUS SIGN}1,234"
    assert [decimal(2.5), decimal(2.5, zeros=True)] == ["2.5", "2.50"]
    assert decimal(-0.001234) == "\N{MINUS SIGN}0.00123"
    assert [share(*pair) for pair in [(0, 5), (1, 10**6), (5, 5), (999_999, 10**6)]] == [
        "0 %", "< 0.1 %", "100 %", "> 99.9 %"
    ]  # fmt: skip
    assert printable("a\nb\u202ec") == "a\\nb\\u202ec"
    assert plot_text("<b>&amp;") == "&lt;b&gt;&amp;amp;"
    assert script_json(["</script>", "&", "\u2028"]) == (
        '["\\u003c/script\\u003e","\\u0026","\\u2028"]'
    )
