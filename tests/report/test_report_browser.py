"""The page in a real browser: figures are drawn, the console is clean, nothing is requested."""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evo2_tasks.report.horizons import write_page as write_horizons_page
from tests.evaluation.build import (
    LABELS,
    hostile_columns,
    make_columns,
    saturated_columns,
    score_again,
    without_scores,
    write_page,
    write_scoring,
)
from tests.report.build_calibrations import (
    TOO_FEW,
    Made,
    normal,
    stratified,
    write_calibrated_page,
)
from tests.report.build_combined import (
    LENGTHS,
    longer_windows,
    signatures_of_lengths,
    write_combined_page,
)
from tests.report.build_explanation import write_explained
from tests.report.build_generation import write_hostile_generation
from tests.report.build_haplotypes import write_haplotype_page, write_haplotypes
from tests.report.build_tracks import write_hostile_tracks
from tests.report.test_consequences import ANNOTATIONS, SHARES, annotate

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on the path"),
]

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
]
SETS = (
    "labelled", "unlabelled", "unscored", "empty", "one-class", "number", "large", "hostile",
    "saturated", "consequences", "calibrated", "uncalibrated", "combined",
    "haplotypes", "explained", "tracks", "generation",
)  # fmt: skip
PHONE_WIDTH = 390


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


def write_set(folder: Path, name: str) -> Path:
    """The page of a variant set of some kind."""
    columns, settings = make_columns(600), dict(LABELS)
    match name:
        case "labelled":
            write_scoring(folder / "two", score_again(columns))
        case "unlabelled":
            settings = {}
        case "unscored":
            columns = without_scores(columns)
        case "empty":
            columns, settings = make_columns(0), {}
        case "one-class":
            columns["KIND"] = ["good"] * 600
        case "number":
            settings = {"labels": {"OTHER": {"harmful": "high"}}}
        case "large":
            columns = make_columns(100_000, num_contigs=40)
        case "saturated":
            regions = [("<b>%{x}</b>", 1, 85), ("chr1", 5_001, 5_700)]
            columns, settings = saturated_columns(regions), {}
        case "calibrated":
            # One stratum is too small, and one calibration has only a background.
            made = [stratified(), Made("other", background={None: normal(300)}, has_labels=False)]
            return write_calibrated_page(folder, columns, made)[0]
        case "uncalibrated":
            return write_calibrated_page(folder, columns, [stratified(reason=TOO_FEW)])[0]
        case "consequences":
            columns = annotate(columns)
            write_scoring(folder / "one", columns, annotations=ANNOTATIONS)
            return write_page(folder, **settings)
        case "combined":
            combination = {"scorings": [*LENGTHS], "ensembles": ["rank_mean", "z_mean"]}
            combinations = {"windows": combination}
            return write_combined_page(
                folder, longer_windows(600), signatures_of_lengths(), combinations, **settings
            )
        case "haplotypes":
            return write_haplotype_page(write_haplotypes(folder))
        case "explained":
            return write_explained(folder)
        case "tracks":
            return write_hostile_tracks(folder)
        case "generation":
            return write_hostile_generation(folder)
        case "hostile":
            columns, carry = hostile_columns()
            write_scoring(folder / "one", columns, carry=carry)
            return write_page(folder, **settings)
    write_scoring(folder / "one", columns)
    return write_page(folder, ["one", "two"] if name == "labelled" else ["one"], **settings)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: write_set(tmp_path_factory.mktemp(name), name) for name in SETS}


class Visit:
    """An open page, and what it did that it should not."""

    def __init__(self, browser: Any, path: Path, **settings: Any) -> None:
        self.context = browser.new_context(**settings)
        self.tab = self.context.new_page()
        self.tab.set_default_navigation_timeout(180_000)  # a busy machine is no failure
        self.said: list[str] = []
        self.requested: list[str] = []
        self.loaded: list[str] = []
        self.tab.on("console", lambda message: self.said.append(message.text))
        self.tab.on("pageerror", lambda error: self.said.append(str(error)))
        self.tab.on("dialog", lambda dialog: (self.said.append("dialog"), dialog.dismiss()))
        self.tab.on("request", lambda request: self.requested.append(request.url))
        self.tab.on("requestfinished", lambda request: self.loaded.append(request.url))
        self.tab.goto(path.as_uri(), wait_until="load")

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def count(self, selector: str) -> int:
        return int(self.tab.locator(selector).count())


@pytest.mark.parametrize("name", SETS)
def test_every_figure_is_drawn_and_nothing_else_happens(
    browser: Any, pages: dict[str, Path], name: str
) -> None:
    with Visit(browser, pages[name]) as visit:
        drawn = visit.tab.evaluate(
            """() => [...document.querySelectorAll(".drawing")].map((one) => ({
                id: one.id,
                svg: one.querySelectorAll("svg.main-svg").length,
                marks: one.querySelectorAll(
                    ".points path, .point path, path.js-line, path.js-fill, .hm image").length,
                width: one.querySelector("svg.main-svg")?.clientWidth ?? 0,
            }))"""
        )
        assert [one for one in drawn if not (one["svg"] and one["marks"] and one["width"])] == []
        assert len(drawn) >= {"unscored": 0, "empty": 0, "explained": 3}.get(name, 4)
        # What a pointer finds is text from data too.
        for one in drawn[:40]:
            visit.tab.locator(f"#{one['id']}").hover()
        assert visit.said == []
        own = pages[name].as_uri()
        assert [url for url in visit.requested if url != own and not url.startswith("data:")] == []
        assert visit.count("script") == 3 - (not drawn)


@pytest.mark.parametrize("name", SETS)
def test_a_phone_does_not_scroll_sideways(browser: Any, pages: dict[str, Path], name: str) -> None:
    phone = {
        "viewport": {"width": PHONE_WIDTH, "height": 844},
        "is_mobile": True,
        "has_touch": True,
    }
    with Visit(browser, pages[name], **phone) as visit:
        width = visit.tab.evaluate("document.documentElement.scrollWidth")
        assert width == PHONE_WIDTH
        assert visit.said == []


def test_the_policy_stops_a_script_that_is_not_ours(browser: Any, pages: dict[str, Path]) -> None:
    page = pages["unlabelled"]
    other = page.with_name("other.html")
    text = page.read_text().replace("</main>", "<script>window.theirs = 1</script></main>")
    other.write_text(text.replace("</main>", "<img src='https://example.org/x.png'></main>"))
    with Visit(browser, other) as visit:
        assert visit.tab.evaluate("window.theirs") is None
        assert sum("Content Security Policy" in line for line in visit.said) == 2
        assert visit.loaded == [other.as_uri()]


def test_tables_are_sorted_by_keyboard(browser: Any, pages: dict[str, Path]) -> None:
    with Visit(browser, pages["unlabelled"]) as visit:
        table = visit.tab.locator("#strongest table").first
        head = table.locator("th", has_text="llr_fwd")

        def values() -> list[float]:
            cells = table.locator("tbody td:nth-child(7)")
            found = cells.evaluate_all("cells => cells.map(cell => Number(cell.dataset.value))")
            return [float(one) for one in found]

        before = values()
        head.locator("button").focus()
        visit.tab.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == "ascending"
        assert values() == sorted(before)
        visit.tab.keyboard.press("Space")
        assert head.get_attribute("aria-sort") == "descending"
        assert values() == sorted(before, reverse=True)
        assert table.locator("[aria-sort]").count() == 1


def test_the_whole_cell_of_a_head_sorts(browser: Any, pages: dict[str, Path]) -> None:
    with Visit(browser, pages["unlabelled"]) as visit:
        head = visit.tab.locator("#strongest table").first.locator("th", has_text="contig")
        box = head.bounding_box()
        assert box is not None
        for corner in ((2, 2), (box["width"] - 2, box["height"] - 2)):
            before = head.get_attribute("aria-sort")
            head.click(position={"x": corner[0], "y": corner[1]})
            assert head.get_attribute("aria-sort") not in (None, before)


COLOR_OF_TEXT = """(other) => {
    const color = getComputedStyle(document.querySelector("#figure-1 text")).fill;
    return color && color !== other ? color : false;
}"""


def color_of_text(visit: Visit, *, before: str = "") -> str:
    """The color once it is another one: a figure is drawn anew some time after the change."""
    return str(visit.tab.wait_for_function(COLOR_OF_TEXT, arg=before).json_value())


def test_figures_follow_the_scheme_and_print_in_light(browser: Any, pages: dict[str, Path]) -> None:
    with Visit(browser, pages["unlabelled"], color_scheme="dark") as visit:
        dark = color_of_text(visit)
        visit.tab.emulate_media(color_scheme="light")
        light = color_of_text(visit, before=dark)
        visit.tab.emulate_media(color_scheme="dark")
        assert color_of_text(visit, before=light) == dark
        visit.tab.emulate_media(color_scheme="dark", media="print")
        assert color_of_text(visit, before=dark) == light
        background = "getComputedStyle(document.body).backgroundColor"
        assert visit.tab.evaluate(background) == "rgb(255, 255, 255)"
        assert visit.said == []


def test_figures_follow_the_width(browser: Any, pages: dict[str, Path]) -> None:
    with Visit(browser, pages["unlabelled"], viewport={"width": 1280, "height": 900}) as visit:
        visit.tab.set_viewport_size({"width": PHONE_WIDTH, "height": 844})
        visit.tab.wait_for_function(
            """() => [...document.querySelectorAll(".drawing")].every((one) =>
                one.querySelector("svg.main-svg").clientWidth <= one.clientWidth)"""
        )
        assert visit.tab.evaluate("document.documentElement.scrollWidth") == PHONE_WIDTH


def test_buttons_of_a_figure_are_there_under_the_pointer_only(
    browser: Any, pages: dict[str, Path]
) -> None:
    looks = """() => [...document.querySelectorAll(".modebar-group")].map((one) =>
        [getComputedStyle(one).opacity, getComputedStyle(one).backgroundColor])"""
    # The one at this place is opaque, or none is.
    is_seen = """(place) => [...document.querySelectorAll(".modebar-group")].every((one, at) =>
        getComputedStyle(one).opacity === (at === place ? "1" : "0"))"""
    with Visit(browser, pages["unlabelled"]) as visit:
        assert all(one == ["0", "rgba(0, 0, 0, 0)"] for one in visit.tab.evaluate(looks))
        visit.tab.locator("#figure-2").hover()
        visit.tab.wait_for_function(is_seen, arg=1)
        visit.tab.mouse.move(2, 2)
        visit.tab.wait_for_function(is_seen, arg=-1)


def test_tables_of_figures_fit_a_screen_and_their_rows_are_low(
    browser: Any, pages: dict[str, Path]
) -> None:
    with Visit(browser, pages["labelled"], viewport={"width": 1280, "height": 900}) as visit:
        tables = visit.tab.evaluate(
            """() => [...document.querySelectorAll("#labels .table")].map((one) => ({
                hidden: one.scrollWidth - one.clientWidth,
                rows: [...one.querySelectorAll("tbody tr")].map((row) => row.clientHeight)}))"""
        )
        assert len(tables) >= 4
        assert [one["hidden"] for one in tables] == [0] * len(tables)
        assert max(height for one in tables for height in one["rows"]) <= 72  # three lines


@pytest.mark.parametrize("width", [PHONE_WIDTH, 1280])
def test_each_combined_score_is_named_on_both_axes(
    browser: Any, pages: dict[str, Path], width: int
) -> None:
    with Visit(browser, pages["combined"], viewport={"width": width, "height": 900}) as visit:
        figure = visit.tab.locator("#combined .drawing").first
        figure.locator("svg.main-svg").first.wait_for()
        visible = [
            [label.text_content() for label in figure.locator(f".{axis}tick text").all()
             if label.is_visible()]
            for axis in "xy"
        ]  # fmt: skip
        assert visible[0] == visible[1]
        assert visible[0] == [*(f"{name}.llr" for name in LENGTHS), "rank_mean", "z_mean"]


@pytest.mark.parametrize("width", [PHONE_WIDTH, 1280])
def test_each_consequence_has_its_row_in_the_figure(
    browser: Any, pages: dict[str, Path], width: int
) -> None:
    with Visit(browser, pages["consequences"], viewport={"width": width, "height": 900}) as visit:
        figure = visit.tab.locator("#consequences .drawing")
        figure.locator("svg.main-svg").first.wait_for()
        places = []
        for label in figure.locator(".ytick text").all():
            box = label.bounding_box()
            assert box is not None
            term = re.sub(r" \(\d+\)$", "", label.text_content() or "")
            places.append((box["y"], box["y"] + box["height"], term))
        places.sort()
        cells = visit.tab.locator("#consequences tbody th").all_text_contents()
        assert [term for *_, term in places] == cells[: len(SHARES)]
        assert all(one[1] <= other[0] for one, other in itertools.pairwise(places))
        assert figure.locator(".boxes path.box").count() == len(SHARES) - 1
        assert figure.get_attribute("aria-label") == "llr by consequence, one"
        plot = figure.locator("rect.nsewdrag").bounding_box()
        assert plot is not None
        assert plot["width"] > 0.3 * width
        assert visit.said == []


def test_without_scripts_words_and_tables_are_there(browser: Any, pages: dict[str, Path]) -> None:
    with Visit(browser, pages["labelled"], java_script_enabled=False) as visit:
        assert visit.tab.locator("noscript").inner_text().startswith("The plots need JavaScript")
        assert visit.count("table") > 5
        assert visit.count("th button") == 0


def write_horizons(folder: Path) -> Path:
    """The page of `horizon`, with errors over three powers of ten and an AUROC that is always 1."""
    rows = [
        {
            "window_length": length, "horizon": horizon, "cost": length * horizon / 60_000,
            "alleles": 300, "rms": 3.7 / horizon**1.7, "p99": 9.0, "largest": 12.5,
            "spearman": 1 - 1 / horizon, "auroc": 1.0, "is_suggested": length == horizon == 128,
        }
        for length in (512, 256, 128)
        for horizon in (16, 32, 64, 128)
    ]  # fmt: skip
    result = {
        "variant_set": "<b>set</b>", "scoring": "s", "sample": {"snv": 300}, "rows": rows,
        "labels": {"positive": 150, "negative": 150}, "rule": "a Spearman of at least 0.99",
        "line": "window_length: 128, horizon: 128",
    }  # fmt: skip
    write_horizons_page(result, folder / "horizon.html")
    return folder / "horizon.html"


def test_the_page_of_horizons_fits_a_phone_and_its_axes_have_whole_numbers(
    browser: Any, tmp_path: Path
) -> None:
    page = write_horizons(tmp_path)
    with Visit(browser, page, viewport={"width": PHONE_WIDTH, "height": 844}) as visit:
        visit.tab.wait_for_function("document.querySelectorAll('.js-plotly-plot').length === 4")
        assert visit.tab.evaluate("document.documentElement.scrollWidth") == PHONE_WIDTH
        ticks: list[list[str]] = visit.tab.evaluate(
            """() => [...document.querySelectorAll(".js-plotly-plot")].map((one) =>
                [...one.querySelectorAll(".ytick text")].map((tick) => tick.textContent))"""
        )
        assert visit.said == []
    spearman, rms, auroc, cost = ([float(tick) for tick in some] for some in ticks)
    for shown in (spearman, rms, auroc, cost):
        assert shown == sorted(set(shown))
        assert len(shown) >= 2
    assert max(spearman + auroc) == 1
    assert rms == [0.001, 0.002, 0.005, 0.01, 0.02]
    assert cost == [0.05, 0.1, 0.2, 0.5, 1]
