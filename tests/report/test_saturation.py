"""Stretches of which every substitution is scored, against pandas on the whole table."""

from __future__ import annotations

import html
import json
import re
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evo2_tasks.genome.records import CarryField
from evo2_tasks.report.changes import ChangeReader, find_changes
from evo2_tasks.report.saturation import (
    FEWEST_POSITIONS,
    LARGEST_GAP,
    MOST_STRETCHES,
    STRETCH_POSITIONS,
    Saturation,
    find_saturation,
)
from evo2_tasks.report.saturation_plots import color_span
from evo2_tasks.report.style import DIVERGING
from evo2_tasks.report.words import decimal
from tests.evaluation.build import (
    CARRY,
    Columns,
    make_columns,
    read_frame,
    saturated_columns,
    write_page,
    write_scoring,
)
from tests.report.page import plots_of

ROOT = Path(__file__).parents[2]


def take(columns: Columns, keep: list[int]) -> Columns:
    """Some of the rows, in this order, numbered again from 0."""
    taken = {name: [values[row] for row in keep] for name, values in columns.items()}
    return taken | {"record": list(range(len(keep)))}


def find(folder: Path, columns: Columns, **settings: Any) -> Saturation:
    return find_saturation(write_scoring(folder / "one", columns, **settings))


def test_a_matrix_is_the_pivot_of_its_rows(tmp_path: Path) -> None:
    regions = [("chr1", 101, 160), ("chr1", 400, 474), ("chr2", 401, 415)]
    found = find(tmp_path, saturated_columns(regions), row_group_rows=37)
    frame = read_frame(tmp_path / "one" / "scores.parquet")
    stretches = found.stretches
    assert [(one.contig, one.first_pos, one.last_pos) for one in stretches] == regions
    assert found.num_positions == 60 + 75 + 15
    for one in stretches:
        inside = frame["pos"].between(one.first_pos, one.last_pos) & (frame["contig"] == one.contig)
        rows = frame[inside]
        pivot = rows.pivot_table(
            index="alt", columns="pos", values="llr", observed=True, dropna=False
        )
        expected = pivot.reindex(index=list("ACGT"), columns=range(one.first_pos, one.last_pos + 1))
        np.testing.assert_array_equal(one.llr, expected.to_numpy())
        assert one.bases == "".join(rows.drop_duplicates("pos")["ref"])
        means = rows.groupby("pos")["llr"].mean()
        np.testing.assert_allclose(one.means, means.reindex(expected.columns).to_numpy())


def test_long_regions_are_cut_and_nothing_is_lost(tmp_path: Path) -> None:
    found = find(tmp_path, saturated_columns([("chr1", 1, 1_000)]))
    assert found.num_positions == 1_000
    assert len(found.stretches) == MOST_STRETCHES
    # 60 at a time while more than 90 are left.
    assert found.num_stretches == 17
    lengths = [len(one.bases) for one in found.stretches]
    assert min(lengths) >= STRETCH_POSITIONS / 2
    assert max(lengths) <= 1.5 * STRETCH_POSITIONS


def test_the_stretches_with_the_lowest_mean_are_kept_in_the_order_of_the_table(
    tmp_path: Path,
) -> None:
    regions = [("chr1", 1_000 * number + 1, 1_000 * number + 40) for number in range(20)]
    found = find(tmp_path, saturated_columns(regions))
    frame = read_frame(tmp_path / "one" / "scores.parquet")
    means = frame.groupby(frame["pos"] // 1_000)["llr"].mean()
    expected = sorted(means.nsmallest(MOST_STRETCHES).index)
    assert [one.first_pos // 1_000 for one in found.stretches] == expected
    assert found.num_stretches == 20


def test_batches_and_row_groups_make_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = saturated_columns([("chr1", 1, 301), ("chr2", 5, 130)])
    whole = find(tmp_path / "whole", columns)
    monkeypatch.setitem(
        ChangeReader.read.__globals__["read_rows"].__kwdefaults__,
        "batch_rows",
        7,
    )
    pieces = find(tmp_path / "pieces", columns)
    assert (pieces.num_stretches, pieces.num_positions) == (
        whole.num_stretches,
        whole.num_positions,
    )
    for one, other in zip(pieces.stretches, whole.stretches, strict=True):
        assert (one.first_pos, one.bases) == (other.first_pos, other.bases)
        np.testing.assert_array_equal(one.llr, other.llr)


def test_codons_are_as_good_as_substitutions(tmp_path: Path) -> None:
    columns = saturated_columns([("chr1", 1, 60)])
    columns["status"] = ["scored"] * len(columns["pos"])
    columns["llr"] = list(range(len(columns["pos"])))
    llr = dict(zip(zip(columns["pos"], columns["alt"], strict=True), columns["llr"], strict=True))
    bases = "".join(columns["ref"][::3])
    rows = []
    for start in range(0, 60, 3):
        codon = bases[start : start + 3]
        for other in map("".join, product("ACGT", repeat=3)):
            at = [i for i in range(3) if codon[i] != other[i]]
            if at:
                alone = llr[start + 1 + at[0], other[at[0]]] if len(at) == 1 else -1_000
                rows.append((start + 1, codon, other, alone))
    codons = make_columns(len(rows))
    for name, values in zip(
        ("pos", "ref", "alt", "llr"), map(list, zip(*rows, strict=True)), strict=True
    ):
        codons[name] = values
    codons["contig"] = codons["reference_contig"] = ["chr1"] * len(rows)
    codons["status"] = ["scored"] * len(rows)
    (plain,) = find(tmp_path / "plain", columns).stretches
    (spelled,) = find(tmp_path / "codons", codons).stretches
    assert (spelled.first_pos, spelled.bases) == (plain.first_pos, plain.bases)
    np.testing.assert_array_equal(spelled.llr, plain.llr)


@pytest.mark.parametrize(
    ("name", "is_saturated"),
    [("all", True), ("most", True), ("fewer", False), ("short", False), ("apart", False)],
)
def test_regions_that_are_not_saturated_are_not_shown(
    tmp_path: Path, name: str, is_saturated: bool
) -> None:
    last = FEWEST_POSITIONS - 1 if name == "short" else 40
    columns = saturated_columns([("chr1", 1, last)])
    columns["llr"] = [-1.0] * len(columns["pos"])
    columns["status"] = ["scored"] * len(columns["pos"])
    keep = list(range(len(columns["pos"])))
    if name in ("most", "fewer"):
        # All three substitutions of the first positions, one of each of the others.
        num_whole = 3 * (20 if name == "most" else 19)
        keep = [*range(num_whole), *range(num_whole, len(keep), 3)]
    if name == "apart":
        columns["pos"] = [pos * (LARGEST_GAP + 1) for pos in columns["pos"]]
    found = find(tmp_path, take(columns, keep))
    assert bool(found.stretches) == is_saturated
    assert (found.num_stretches == 1) == is_saturated


def test_an_ordinary_table_has_no_stretch(tmp_path: Path) -> None:
    found = find(tmp_path, make_columns(2_000))
    assert found == Saturation([], 0, 0)


def test_the_page_shows_and_describes_them(tmp_path: Path) -> None:
    write_scoring(tmp_path / "one", saturated_columns([("chr1", 3_001, 3_700)]))
    page = write_page(tmp_path).read_text()
    section = re.findall(r'<section id="saturation".*?</section>', page, re.DOTALL)[0]
    assert section.count("<figure") == MOST_STRETCHES
    assert (
        "the 8 stretches with the lowest mean llr, out of 12 stretches with 700 positions"
        in section
    )
    frame = read_frame(tmp_path / "one" / "scores.parquet")
    captions = re.findall(r"<figcaption[^>]*>(.*?)</figcaption>", section)
    titles = re.findall(r"chr1:([\d,]+) to ([\d,]+), one</div>", section)
    for caption, ends in zip(captions, titles, strict=True):
        first, last = (int(end.replace(",", "")) for end in ends)
        rows = frame[frame["pos"].between(first, last)]
        lowest = rows.loc[rows["llr"].idxmin()]
        lowest_llr = (
            f"{lowest['pos']:,} {lowest['ref']}&gt;{lowest['alt']} ({decimal(lowest['llr'])})"
        )
        assert f"The lowest llr is that of {lowest_llr}" in caption
        means = rows.groupby("pos")["llr"].mean()
        assert f"The position with the lowest mean is {means.idxmin():,} " in caption
        assert caption.startswith(f"{last - first + 1} positions, mean llr ")


def test_the_figure_holds_the_numbers_and_the_sequence(tmp_path: Path) -> None:
    table = write_scoring(tmp_path / "one", saturated_columns([("chr1", 3_001, 3_060)]))
    (stretch,) = find_saturation(table).stretches
    page = write_page(tmp_path).read_text()
    plots = json.loads(re.findall(r'id="plots">(.*?)</script>', page)[0])
    (plot,) = [one for one in plots if "yaxis2" in one["layout"]]
    matrix, letters, dots, bars = plot["data"]
    found = np.array(matrix["z"], dtype=float)
    np.testing.assert_allclose(found, stretch.llr, rtol=1e-4)
    assert "".join(letters["text"][0]) == stretch.bases
    assert ["ACGT"[row] for row in dots["y"]] == list(stretch.bases)
    np.testing.assert_allclose(np.array(bars["y"], dtype=float), stretch.means, rtol=1e-4)
    for trace in (matrix, letters, bars):
        assert trace["x"] == list(range(3_001, 3_061))
    span = color_span([stretch.llr])
    assert (matrix["zmin"], matrix["zmax"]) == (-span, span)
    values = pd.Series(stretch.llr.ravel()).dropna().abs()
    assert (values > span).mean() <= 0.01 + 1 / len(values)


def add_rows(columns: Columns, rows: list[tuple[int, str, str, float]]) -> Columns:
    """The rows and some more of chr1, each a position, ref, alt and llr, sorted by position."""
    more = make_columns(len(rows), seed=3)
    more["contig"] = more["reference_contig"] = ["chr1"] * len(rows)
    for name, values in zip(("pos", "ref", "alt", "llr"), zip(*rows, strict=True), strict=True):
        more[name] = list(values)
    more["status"] = ["scored"] * len(rows)
    both = {name: [*columns[name], *more[name]] for name in columns}
    order = np.argsort(both["pos"], kind="stable").tolist()
    return take(both, order)


def all_scored(regions: list[tuple[str, int, int]]) -> Columns:
    columns = saturated_columns(regions)
    num_rows = len(columns["pos"])
    values = np.random.default_rng(2).normal(-1, 1, num_rows).tolist()
    return columns | {"status": ["scored"] * num_rows, "llr": values}


def test_deletions_are_a_row_of_the_matrix(tmp_path: Path) -> None:
    columns = all_scored([("chr1", 1, 60)])
    bases = "".join(columns["ref"][::3])
    # As a saturation set spells them: with the base before, the first one with the base after.
    rows = [(1, bases[:2], bases[1], -7.0)] if bases[0] != bases[1] else []
    rows += [(pos - 1, bases[pos - 2 : pos], bases[pos - 2], -pos / 10) for pos in range(2, 61)]
    write_scoring(tmp_path / "one", add_rows(columns, rows))
    (stretch,) = find_saturation(tmp_path / "one" / "scores.parquet").stretches
    expected = {pos: -pos / 10 for pos in range(2, 61)} | ({1: -7.0} if len(rows) == 60 else {})
    found = {pos: one for pos, one in enumerate(stretch.deletions, start=1) if np.isfinite(one)}
    assert found == pytest.approx(expected)
    plots = plots_of(write_page(tmp_path))
    (title,) = [one for one in plots if one.startswith("Every substitution and deletion of chr1")]
    matrix = plots[title]["data"][0]
    assert plots[title]["layout"]["yaxis"]["ticktext"] == [*"ACGT", "del", "ref"]
    assert matrix["z"][4][1:] == pytest.approx([-pos / 10 for pos in range(2, 61)], rel=1e-4)
    texts = [html.unescape(text.partition("<br>")[0]) for text in matrix["hovertext"][4][1:]]
    assert texts == [f"chr1:{pos} {ref}>{alt}" for pos, ref, alt, _ in rows[-59:]]
    lowest = "1 " if len(rows) == 60 and -7.0 < -6.0 else "59 "
    assert f"their lowest llr is that of {lowest}" in plots[title]["caption"]


@pytest.mark.parametrize("strand", ["+", "-", None])
def test_codons_have_a_matrix_of_their_own(tmp_path: Path, strand: str | None) -> None:
    columns = all_scored([("chr1", 301, 360)])
    bases = "".join(columns["ref"][::3])
    rng = np.random.default_rng(4)
    rows = [
        (301 + start, bases[start : start + 3], other, float(rng.normal(-3, 1)))
        for start in range(0, 60, 3)
        for other in map("".join, product("ACGT", repeat=3))
        if other != bases[start : start + 3]
    ]
    columns = add_rows(columns, rows)
    num_rows = len(columns["pos"])
    carry = CARRY
    if strand:
        columns["name"], columns["strand"] = ["exon <5>"] * num_rows, [strand] * num_rows
        carry = (*CARRY, CarryField("name", "string", False, ""),
                 CarryField("strand", "string", False, ""))  # fmt: skip
    write_scoring(tmp_path / "one", columns, carry=carry)
    plots = plots_of(write_page(tmp_path))
    (title,) = [one for one in plots if one.startswith("Every codon of chr1:301 to 360")]
    remark = {"+": " (exon &lt;5&gt;; forward strand)", "-": " (exon &lt;5&gt;; reverse strand)"}
    assert title == f"Every codon of chr1:301 to 360{remark.get(strand or '', '')}, one"
    (matrix,) = plots[title]["data"]
    known = {f"chr1:{pos} {ref}>{alt}": llr for pos, ref, alt, llr in rows}
    found = {
        html.unescape(text.partition("<br>")[0]): value
        for texts, values in zip(matrix["hovertext"], matrix["z"], strict=True)
        for text, value in zip(texts, values, strict=True)
        if value is not None
    }
    assert found == pytest.approx(known, rel=1e-4)
    layout = plots[title]["layout"]
    turn = str.maketrans("ACGT", "TGCA")
    codons = [bases[start : start + 3] for start in range(0, 60, 3)]
    shown = [one.translate(turn)[::-1] for one in codons] if strand == "-" else codons
    assert [text[:3] for text in layout["xaxis"]["ticktext"]] == shown
    labels = layout["yaxis"]["ticktext"]
    assert labels == sorted(labels)
    assert len(labels) == 64
    # The row of a label has the alleles that it stands for.
    for label, texts in zip(labels, matrix["hovertext"], strict=True):
        alts = {text.partition("<br>")[0].rpartition(">")[2] for text in texts}
        assert alts == {label.translate(turn)[::-1] if strand == "-" else label}


def test_a_few_changes_of_three_bases_are_no_codons(tmp_path: Path) -> None:
    columns = all_scored([("chr1", 301, 360)])
    bases = "".join(columns["ref"][::3])
    rows = [(301, bases[:3], "ACG" if bases[:3] != "ACG" else "TTT", -1.0)] * 20
    write_scoring(tmp_path / "one", add_rows(columns, rows))
    (stretch,) = find_saturation(tmp_path / "one" / "scores.parquet").stretches
    assert stretch.codons is None


@pytest.mark.parametrize(
    ("allele", "changes"),
    [
        ((5, "A", "G"), [(5, 0, 0, 2)]),
        ((5, "AC", "AT"), [(6, 0, 1, 3)]),
        ((5, "AAA", "AAC"), [(7, 0, 0, 1), (5, 1, 0, 1)]),
        ((5, "AAA", "CCC"), [(5, 1, 0, 21)]),
        ((5, "AC", "GT"), []),
        ((5, "AC", "A"), [(6, 2, 0, 1)]),
        ((5, "AC", "C"), [(5, 3, 1, 0)]),
        ((5, "AA", "A"), [(6, 2, 0, 0)]),
        ((5, "A", "AC"), []),
        ((5, "ACG", "A"), []),
        ((5, "N", "A"), []),
        ((5, "ARC", "GRC"), [(5, 0, 0, 2)]),
    ],
)
def test_the_changes_of_an_allele(
    allele: tuple[int, str, str], changes: list[tuple[int, ...]]
) -> None:
    assert list(find_changes(*allele)) == changes


def luminance(color: str) -> float:
    """Relative luminance of sRGB, as WCAG defines it."""
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def as_deuteranope(color: str) -> np.ndarray[Any, Any]:
    """What is left of a colour without the middle cones (Viénot et al. 1999), linear RGB."""
    channels = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]) ** 2.2
    turned = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])
    found: np.ndarray[Any, Any] = turned @ channels
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_distinguish_the_colours_of_the_two_signs(scheme: str) -> None:
    script = (ROOT / "evo2_tasks/report/report.js").read_text()
    dark = dict(re.findall(r'"(#[0-9a-f]{6})": "(#[0-9a-f]{6})"', script))
    colors = list(DIVERGING) if scheme == "light" else [dark[color] for color in DIVERGING]
    lights = [luminance(color) for color in colors]
    # The farther from 0, the more a colour differs from the paper.
    rising = lights if scheme == "light" else [-light for light in lights]
    assert rising[0] < rising[1] < rising[2] > rising[3] > rising[4]
    for low, high in ((0, 4), (1, 3)):
        (red, _, blue), (other_red, _, other_blue) = map(
            as_deuteranope, (colors[low], colors[high])
        )
        assert red > 2 * blue
        assert other_blue > 1.5 * other_red
