"""The page of a track set: logos, lines and the table of regions, compared with pandas."""

from __future__ import annotations

import html
import json
import weakref
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evo2_tasks.errors import InputError
from evo2_tasks.io.digests import SourceFiles
from evo2_tasks.layout import TILES, TRACK_REGIONS, TRACK_TABLE, TRACKS_RUN
from evo2_tasks.report import track_summaries
from evo2_tasks.report.track_logos import LETTERS, ROW_BASES
from evo2_tasks.report.track_pages import write_track_page
from evo2_tasks.report.track_summaries import (
    LOGO_BASES,
    MOST_BINS,
    MOST_DRAWN,
    MOST_LISTED,
    read_track_summary,
)
from evo2_tasks.report.words import NOTHING
from evo2_tasks.table.tracks import TrackBases, read_track_bases
from tests.report.build_tracks import (
    HOSTILE,
    LENGTHS,
    LINES,
    find_entropy,
    find_probabilities,
    make_tracks,
    write_hostile_tracks,
    write_tracks,
)
from tests.report.page import plots_of, read_page, rows_of


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hostile_tracks(tmp_path_factory.mktemp("tracks"))


def read_region(number: int) -> pd.DataFrame:
    """The rows of the table between start and end of a line."""
    _, start, end, _, contig, _ = LINES[number]
    table = make_tracks()
    inside = (table["contig"] == contig) & (table["pos"] > start) & (table["pos"] <= end)
    return table[inside].reset_index(drop=True)


def find_plots(page: Path, kind: str) -> list[dict[str, Any]]:
    return [plot for title, plot in plots_of(page).items() if title.startswith(kind)]


def read_letters(plot: dict[str, Any]) -> dict[tuple[int, str], np.ndarray]:
    """The outline of each letter of a logo, by its column and base. (points, 2)"""
    letters = {}
    for trace in plot["data"]:
        if trace.get("fill") != "toself":
            continue
        row = int(trace["xaxis"][1:] or 1) - 1
        points = np.array([trace["x"], trace["y"]], dtype=float).T
        for outline in np.split(points, np.flatnonzero(np.isnan(points[:, 0]))):
            outline = outline[~np.isnan(outline[:, 0])]
            if len(outline):
                assert (outline[0] == outline[-1]).all()
                middle = (outline[:, 0].min() + outline[:, 0].max()) / 2
                key = row * ROW_BASES + round(middle), trace["name"]
                assert key not in letters
                letters[key] = outline - [row * -ROW_BASES, 0]
    return letters


@pytest.mark.parametrize(("place", "line"), [(0, 0), (1, 2), (2, 3), (3, 4)])
def test_the_letters_are_as_high_as_their_share_of_the_information(
    page: Path, place: int, line: int
) -> None:
    plot = find_plots(page, "Logo")[place]
    table = read_region(line)[:LOGO_BASES]
    probs = find_probabilities(table)
    expected = probs.mul(2 - find_entropy(probs), axis=0)
    letters = read_letters(plot)
    for column in range(len(table)):
        outlines = {base: letters.pop((column, base), None) for base in "ACGT"}
        heights = expected.loc[column]
        if heights.isna().any():
            assert all(one is None for one in outlines.values())
            continue
        spans = []
        for base, outline in outlines.items():
            if outline is None:
                assert heights[base] < 2e-4
                continue
            bottom, top = outline[:, 1].min(), outline[:, 1].max()
            assert top - bottom == pytest.approx(heights[base], abs=3e-4)
            assert column - 0.5 < outline[:, 0].min() < outline[:, 0].max() < column + 0.5
            spans.append((bottom, top))
        spans.sort()
        assert spans[0][0] == pytest.approx(0, abs=4e-4)
        assert spans[-1][1] == pytest.approx(heights.sum(), abs=5e-4)
        sizes = [top - bottom for bottom, top in spans]
        assert sizes == pytest.approx(sorted(sizes), abs=2e-4)
        for (_, top), (bottom, _) in pairwise(spans):
            assert bottom == pytest.approx(top, abs=2e-4)
    assert not letters
    texts = [trace for trace in plot["data"] if trace.get("mode") == "text"]
    assert "".join("".join(one["text"]) for one in texts) == "".join(table["ref"])
    assert len(texts) == -(-len(table) // ROW_BASES)


def test_letters_have_the_shape_of_letters() -> None:
    """Area by the shoelace formula: of A, that of its strokes, so its hole is open."""
    for outline in LETTERS.values():
        assert outline.min() == 0.0
        assert outline.max() == 1.0
    x, y = LETTERS["A"].T
    area = abs(np.dot(x[:-1], y[1:]) - np.dot(y[:-1], x[1:])) / 2
    # The outer line and the hole, each by itself.
    outer = (1 + 0.24) / 2 - (0.54 + 0.38) / 2 * 0.23
    hole = 0.22 * 0.33 / 2
    assert area == pytest.approx(outer - hole)


def test_the_table_has_the_means_of_each_region(page: Path) -> None:
    rows = rows_of(page, "Regions, s")
    assert [row[0] for row in rows] == [str(number + 1) for number in range(len(LINES))]
    for number, row in enumerate(rows):
        assert row[5].split(",")[0] == LINES[number][-1]
        if LINES[number][4] is None:
            assert row[6:] == ["0", NOTHING, NOTHING]
            continue
        table = read_region(number)
        assert row[6] == f"{len(table):,}"
        for text, column in zip(row[7:], ["entropy", "logp_ref"], strict=True):
            found = float(text.replace("\N{MINUS SIGN}", "-"))
            assert found == pytest.approx(table[column].astype(float).mean(), abs=6e-4)


def test_the_lines_are_means_of_bins(page: Path) -> None:
    [plot] = find_plots(page, "Entropy")  # one region is longer than its logo
    table = read_region(3)
    width = -(-len(table) // MOST_BINS)
    bins = table.groupby((table["pos"] - 101) // width)
    for trace, column in zip(plot["data"], ["entropy", "logp_ref"], strict=True):
        assert len(trace["x"]) == len(bins) <= MOST_BINS
        assert trace["x"] == pytest.approx(list(bins["pos"].mean()))
        expected = bins[column].mean()
        found = pd.Series(trace["y"], dtype=float)
        pd.testing.assert_series_equal(
            found, expected.astype(float), check_names=False, check_index_type=False, rtol=1e-4
        )
    assert "means of 3 positions" in plot["caption"]


def test_what_is_left_out_is_stated(page: Path) -> None:
    captions = [plot["caption"] for plot in find_plots(page, "Logo")]
    assert "positions 101 to 300: the first 200 of 4,800 bases" in captions[2]
    assert "Positions between them that are not in the tracks: 20." in captions[1]
    assert "Bases without values, which have no letters: 1." in captions[0]
    text = read_page(page).text()
    assert "s: 3 of 6 regions are not, or not completely, in the tracks" in text
    assert "numbers that are not finite for 3 bases" in text


def test_the_first_regions_are_listed_and_the_first_with_bases_drawn(tmp_path: Path) -> None:
    table = make_tracks()
    table = table[table["contig"] == "two"].reset_index(drop=True)
    lost = ("nowhere", 1, 5, None, None, "contig_not_found")
    region = ("two", 40, 45, None, "two", "scored")
    num = MOST_LISTED + 20
    write_tracks(tmp_path / "s", table, [*[lost] * num, *[region] * (MOST_DRAWN + 3)])
    page = tmp_path / "report.html"
    write_track_page(tmp_path, page, "t", ["s"])
    assert len(rows_of(page, "Regions, s")) == MOST_LISTED
    assert page.read_text().count('class="drawing"') == MOST_DRAWN
    text = read_page(page).text()
    assert f"The first {MOST_LISTED} of {num + MOST_DRAWN + 3} regions are listed." in text
    assert f"The first {MOST_DRAWN} regions with bases are drawn." in text


def test_hostile_names_stay_text(page: Path) -> None:
    text = page.read_text()
    assert "<img" not in text
    assert "\u202e" not in text
    made = read_page(page)
    assert not made.all("img")
    assert len(made.all("script")) == 3
    assert any(HOSTILE.split("\u202e", maxsplit=1)[0] in part for _, part in made.texts)
    for plot in find_plots(page, "Logo")[:1]:
        [bar] = [trace for trace in plot["data"] if trace["type"] == "bar"]
        assert all("<img" not in one for one in bar["hovertext"])
        assert html.escape(next(iter(LENGTHS))[:20], quote=False) in bar["hovertext"][0]


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    table = make_tracks().head(200)
    write_tracks(tmp_path / "s", table)
    out = tmp_path / "report.html"
    run_file = tmp_path / "s" / TRACKS_RUN
    run = json.loads(run_file.read_text())
    run_file.write_text(json.dumps(run | {"table_digest": "0" * 64}))
    with pytest.raises(InputError, match="is about another table"):
        write_track_page(tmp_path, out, "t", ["s"])
    run_file.write_text(json.dumps(run))
    (tmp_path / "s" / TILES / TRACK_REGIONS).write_bytes(
        (tmp_path / "s" / TRACK_TABLE).read_bytes()
    )
    with pytest.raises(InputError, match="was made from another version of the file of regions"):
        write_track_page(tmp_path, out, "t", ["s"])
    assert not out.exists()


def test_the_reader_keeps_no_piece_of_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces: list[weakref.ref[np.ndarray]] = []
    most = 0

    def watch(source: Path) -> Iterator[TrackBases]:
        nonlocal most
        for bases in read_track_bases(source):
            whole = bases.probs if bases.probs.base is None else bases.probs.base
            pieces.append(weakref.ref(whole))
            most = max(most, sum(one() is not None for one in pieces))
            yield bases

    monkeypatch.setattr(track_summaries, "read_track_bases", watch)
    # Regions in each piece, all of which are drawn.
    starts = range(200, 4_600, 400)
    lines = [(HOSTILE, start, start + 9, None, HOSTILE, "scored") for start in starts]
    write_tracks(tmp_path, make_tracks(), lines, group_rows=400)
    summary = read_track_summary(tmp_path, "s", SourceFiles())
    assert [len(one.first_bases().start) for one in summary.list_drawn()] == [9] * len(lines)
    assert len(pieces) > 12
    assert most <= 2
