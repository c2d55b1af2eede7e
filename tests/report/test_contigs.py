"""Regions of a contig that are far from each other, against the positions themselves."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo2_tasks.report.contigs import (
    FAR_SHARE,
    MOST_BLOCKS,
    MOST_REGIONS,
    Extent,
    Region,
    find_regions,
)
from tests.evaluation.build import make_columns, read_frame, write_page, write_scoring
from tests.report.page import plots_of, read_page


def extent_of(positions: list[int], *, pieces: int = 1) -> Extent:
    extent = Extent(positions[0], positions[0])
    for piece in np.array_split(np.array(positions), pieces):
        if len(piece):
            extent.add(piece)
    return extent


def spans(positions: list[int]) -> list[tuple[int, int]]:
    return [(one.first_pos, one.last_pos) for one in find_regions("c", extent_of(positions))]


@pytest.mark.parametrize(
    ("positions", "expected"),
    [
        ([*range(100, 160), *range(50_000, 50_090)], [(100, 159), (50_000, 50_089)]),
        # The two regions on the left are far from each other only if the third is set apart.
        (
            [*range(1, 20), *range(5_000, 5_030), *range(10**8, 10**8 + 9)],
            [(1, 19), (5_000, 5_029), (10**8, 10**8 + 8)],
        ),
        # A single allele far away has a panel of its own beside two regions.
        (
            [*range(1, 20), *range(9_000, 9_020), 90_000],
            [(1, 19), (9_000, 9_019), (90_000, 90_000)],
        ),
        ([*range(1, 500, 7)], [(1, 498)]),  # dense
        ([1, 10_000, 20_000, 500_000], [(1, 500_000)]),  # no region, four single alleles
        ([*range(1, 20), 90_000], [(1, 90_000)]),  # one region and one allele
        ([*range(1, 400), *range(600, 1_000)], [(1, 999)]),  # a gap, but not a far one
        ([7], [(7, 7)]),
        ([7, 7, 7], [(7, 7)]),
    ],
)
def test_regions_that_are_far_from_each_other(
    positions: list[int], expected: list[tuple[int, int]]
) -> None:
    assert spans(positions) == expected
    assert spans(positions[::-1]) == expected


def test_there_are_at_most_some_regions() -> None:
    few = [start + pos for start in range(0, 8 * 10**6, 10**6) for pos in range(1, 30)]
    assert len(spans(few)) == MOST_REGIONS == 8
    many = [start + pos for start in range(0, 9 * 10**6, 10**6) for pos in range(1, 30)]
    assert len(spans(many)) <= MOST_REGIONS


@given(st.lists(st.integers(1, 3 * 10**8), min_size=1, max_size=300), st.integers(1, 5))
def test_every_row_is_in_one_region(positions: list[int], pieces: int) -> None:
    extent = extent_of(positions, pieces=pieces)
    assert extent.num_rows == len(positions)
    regions = find_regions("c", extent)
    for pos in positions:
        assert sum(one.first_pos <= pos <= one.last_pos for one in regions) == 1
    assert (regions[0].first_pos, regions[-1].last_pos) == (min(positions), max(positions))
    covered = sum(one.last_pos - one.first_pos + 1 for one in regions)
    whole = max(positions) - min(positions) + 1
    assert len(regions) == 1 or covered <= FAR_SHARE * whole * 1.1


def test_blocks_of_a_long_contig_are_joined() -> None:
    positions = np.random.default_rng(1).integers(1, 2 * 10**8, 50_000)
    extent = extent_of(positions.tolist(), pieces=7)
    assert len(extent.blocks) <= MOST_BLOCKS
    assert extent.counts.sum() == 50_000
    width = extent.width
    blocks, counts = np.unique((positions - 1) // width, return_counts=True)
    assert extent.blocks.tolist() == blocks.tolist()
    assert extent.counts.tolist() == counts.tolist()
    whole = [Region("c", int(positions.min()), int(positions.max()))]
    assert find_regions("c", extent) == whole


def test_each_region_has_a_panel(tmp_path: Path) -> None:
    columns = make_columns(300)
    columns["contig"] = columns["reference_contig"] = ["chr7"] * 300
    columns["pos"] = [*range(1_001, 1_151), *range(90_000_001, 90_000_151)]
    table = write_scoring(tmp_path / "one", columns)
    page = write_page(tmp_path)
    panels = [title for title in plots_of(page) if title.startswith("llr along")]
    frame = read_frame(table).dropna(subset="llr")
    for title, (low, high) in zip(panels, [(1_001, 1_150), (90_000_001, 90_000_150)], strict=True):
        first, last = (int(text.replace(",", "")) for text in re.findall(r"[\d,]{4,}", title))
        pos = frame["pos"][frame["pos"].between(low, high)]
        assert (first, last) == (pos.min(), pos.max())
    assert "has a panel for each region" in read_page(page).text()
