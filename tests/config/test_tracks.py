"""What is refused in the track sets of a config, and what runs their jobs again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evo2_tasks.config.load import load_config
from evo2_tasks.config.tracks import (
    resolve_merge_tracks,
    resolve_score_tracks,
    resolve_tile,
    track_targets,
)
from evo2_tasks.errors import InputError
from tests.project import make_config

Change = Callable[[dict[str, Any]], object]


def make(folder: Path) -> dict[str, Any]:
    track_set = {"regions": str(folder / "x.bed"), "reference": "g", "scorings": ["s"]}
    return make_config(folder, track_sets={"t": track_set})


def load(data: dict[str, Any]) -> Any:
    return load_config(data, look_for_files=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda c: c["track_sets"]["t"].update(scorings=["x"]),
            "config: track_sets.t.scorings[0]: `scorings` has no 'x'",
        ),
        (
            lambda c: c["track_sets"]["t"].update(reference="h"),
            "config: track_sets.t.reference: `references` has no 'h'; it has: g",
        ),
        (
            lambda c: c["track_sets"]["t"].update(outputs=["bw"]),
            "config: track_sets.t.outputs[0]: \"bw\" is not allowed; expected 'bigwig'",
        ),
        (
            lambda c: c["track_sets"]["t"].update(region="x"),
            "config: track_sets.t.region: unknown key; did you mean regions?",
        ),
        (
            lambda c: c["scorings"]["s"].update(min_context=64),
            "config: scorings.s.min_context: 64 is too large for tracks; a window of 64 bases has",
        ),
        (
            lambda c: c["track_sets"].update(v=c["track_sets"]["t"]),
            "config: track_sets.v: variant_sets.v has this name too",
        ),
        (
            lambda c: c["track_sets"].update(generations=c["track_sets"]["t"]),
            "config: track_sets.generations: this name is reserved in the results folder",
        ),
        (
            lambda c: c.update(track_sets={}, variant_sets={}),
            "config: variant_sets: there is no set to score; add one here or under `track_sets`",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(tmp_path: Path, change: Change, message: str) -> None:
    data = make(tmp_path)
    load(data)
    change(data)
    with pytest.raises(InputError) as caught:
        load(data)
    assert str(caught.value).startswith(message)


def test_a_file_of_regions_has_to_exist(tmp_path: Path) -> None:
    data = make(tmp_path)
    for name in ("genome.fa", "in.vcf"):
        (tmp_path / name).touch()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"track_sets.t.regions: .*x.bed does not exist"):
        load_config(data)


@pytest.mark.parametrize(
    ("change", "steps"),
    [
        (lambda c: c["scorings"]["s"].update(horizon=9, max_n_share=0.1), ()),
        (lambda c: c["scorings"]["s"].update(window_placement="tiled"), ()),
        (lambda c: c["track_sets"]["t"].update(outputs=["bigwig"]), ()),
        (lambda c: c["scorings"]["s"].update(min_context=20), ("tile", "score")),
        (lambda c: c["scorings"]["s"].update(strands="forward"), ("tile", "score")),
        (lambda c: c["models"]["m"].update(dtype="bfloat16"), ("score",)),
        (lambda c: c["references"]["g"].update(circular_contigs=["c"]), ("tile",)),
        (lambda c: c.update(shards=7), ("tile",)),
    ],
)
def test_a_change_runs_the_steps_that_it_affects(
    tmp_path: Path, change: Change, steps: tuple[str, ...]
) -> None:
    data = make(tmp_path)
    before = load(data)
    change(data)
    after = load(data)
    changed = {
        name
        for name, resolve in {
            "tile": lambda c: resolve_tile(c, "t", "s"),
            "score": lambda c: resolve_score_tracks(c, "s"),
            "merge": lambda c: resolve_merge_tracks(c, "t", "s"),
        }.items()
        if resolve(before).triggers() != resolve(after).triggers()
    }
    assert changed == set(steps)


def test_targets(tmp_path: Path) -> None:
    data = make(tmp_path)
    tables = ["t/s/tracks.parquet", "t/s/tracks.json"]
    assert track_targets(load(data)) == [*tables, "t/report.html"]
    data["track_sets"]["t"]["outputs"] = ["bigwig"]
    files = ["t/s/tracks.logp_ref.bw", "t/s/tracks.entropy.bw"]
    assert track_targets(load(data)) == [*tables, *files, "t/report.html"]


def test_an_unknown_track_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--track-set: `track_sets` has no 'u'"):
        resolve_tile(load(make(tmp_path)), "u", "s")
