"""The windows of tracks, compared with a search through all windows for each base."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo2_tasks.genome.tiles import Tile, Tiling, cut_stretches, lay_windows, tile_regions
from evo2_tasks.genome.window_pairs import STRANDS, Interval, Strand, merge_intervals

lengths = st.integers(1, 90)
windows = st.integers(1, 60)


@st.composite
def tilings(draw: st.DrawFn) -> tuple[Tiling, int]:
    window = draw(windows)
    least = draw(st.integers(0, window - 1))
    circular = draw(st.booleans())
    return lay_windows(
        draw(lengths), circular=circular, window_length=window, min_context=least
    ), least


def all_windows(tiling: Tiling) -> list[Interval]:
    """Every window that begins at a multiple of the step inside the contig."""
    found = []
    for start in range(0, tiling.length, tiling.step):
        end = start + tiling.window_length
        found.append((start, end if tiling.circular else min(end, tiling.length)))
    return found


def contexts(tiling: Tiling, base: int, strand: Strand) -> list[tuple[int, Interval]]:
    """What a strand reads before a base in each window that has the base."""
    found = []
    for start, end in all_windows(tiling):
        for at in (base, base + tiling.length) if tiling.circular else (base,):
            if start <= at < end:
                before = at - start if strand == "forward" else end - 1 - at
                found.append((before, (start, end)))
    return found


@given(tilings(), st.sampled_from(STRANDS["both"]))
def test_a_base_is_taken_from_the_first_window_with_the_most_before_it(
    laid: tuple[Tiling, int], strand: Strand
) -> None:
    tiling, least = laid
    for base in range(tiling.length):
        taken = tiling.find(base, strand)
        found = contexts(tiling, base, strand)
        most = max(before for before, _ in found)
        expected = next(window for before, window in found if before == most)
        assert (taken.start, taken.end) == expected
        assert taken.first <= base < taken.last
        if tiling.circular:
            promised = least if least < tiling.window_length else 0
        else:
            promised = min(least, base if strand == "forward" else tiling.length - 1 - base)
        assert most >= promised


@given(tilings(), st.sampled_from(STRANDS["both"]))
def test_all_bases_of_a_range_are_taken_from_its_window(
    laid: tuple[Tiling, int], strand: Strand
) -> None:
    tiling, _ = laid
    for base in range(tiling.length):
        taken = tiling.find(base, strand)
        for other in (taken.first, taken.last - 1):
            assert tiling.find(other, strand) == taken


@given(
    tilings(),
    st.lists(st.tuples(st.integers(0, 89), st.integers(1, 40)), max_size=6),
    st.sampled_from([*STRANDS.values()]),
    st.integers(1, 7),
)
def test_each_base_of_regions_is_taken_once_on_each_strand(
    laid: tuple[Tiling, int],
    regions: list[tuple[int, int]],
    strands: tuple[Strand, ...],
    num_slices: int,
) -> None:
    tiling, _ = laid
    asked = {
        base for start, size in regions for base in range(start, min(start + size, tiling.length))
    }
    stretches = {"c": merge_intervals((base, base + 1) for base in asked)}
    slices = cut_stretches(stretches, num_slices)
    sizes = [sum(end - start for start, end in one.get("c", [])) for one in slices]
    assert max(sizes) - min(sizes) <= 1
    assert merge_intervals(piece for one in slices for piece in one.get("c", [])) == stretches["c"]
    for one in [stretches, *slices]:
        tiles = list(tile_regions(one, {"c": tiling}, strands))
        for strand in strands:
            of_strand = [tile for tile in tiles if tile.strand == strand]
            assert [
                base
                for tile in of_strand
                for first, last in tile.pieces
                for base in range(first, last)
            ] == [base for start, end in one.get("c", []) for base in range(start, end)]
            for tile in of_strand:
                require_same_contexts(tile, tiling)
        firsts = [tile.pieces[0][0] for tile in tiles]
        assert all(left <= right for left, right in pairwise(firsts))


def require_same_contexts(tile: Tile, tiling: Tiling) -> None:
    first_read, end_read = tile.find_read(tiling.length)
    assert tile.start <= first_read < end_read <= tile.end
    listed = tile.list_contexts(tiling.length)
    for (first, last), found in zip(tile.pieces, listed, strict=True):
        for base, context in zip(range(first, last), found, strict=True):
            taken = tiling.find(base, tile.strand)
            assert (taken.start, taken.end) == (tile.start, tile.end)
            assert context == max(contexts(tiling, base, tile.strand))[0]
            assert context < end_read - first_read


@pytest.mark.parametrize(
    ("length", "circular", "least", "step"),
    [(10**6, False, None, 8192 - 512), (1000, True, None, 750), (1000, True, 5000, 250)],
)
def test_steps(length: int, circular: bool, least: int | None, step: int) -> None:
    tiling = lay_windows(length, circular=circular, window_length=8192, min_context=least)
    assert tiling.step == step


def test_a_few_regions_of_a_chromosome_need_few_windows() -> None:
    tiling = lay_windows(248_956_422, circular=False, window_length=8192, min_context=None)
    stretches = {"chr1": [(10, 20), (200_000_000, 200_000_100)]}
    tiles = list(tile_regions(stretches, {"chr1": tiling}, STRANDS["both"]))
    assert len(tiles) == 4
    assert [tile.num_bases for tile in tiles] == [10, 10, 100, 100]
