"""Embeddings of regions: against a plain hook on whole windows, one at a time."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner

from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.cli import main
from evo2_tasks.config.track_embeddings import (
    resolve_embed_tracks,
    resolve_merge_track_embeddings,
)
from evo2_tasks.errors import InputError
from evo2_tasks.layout import (
    TILES,
    TRACK_EMBEDDINGS,
    TRACK_REGIONS,
    embeddings_run_file,
    layer_file,
    segments_file,
    shard_file,
)
from evo2_tasks.runtime.track_jobs import TrackEmbedder
from evo2_tasks.scoring import sequence_sums
from evo2_tasks.steps.embed_tracks import embed_tracks
from evo2_tasks.steps.merge_track_embeddings import merge_track_embeddings
from evo2_tasks.table.sequence_embeddings import read_sequence_embeddings
from tests.steps.test_tracks import COMPLEMENT, GENOME, LENGTHS, Tracks, make_tracks

MODULES = {"blocks.1": "model.layers.1", "norm": "model.norm"}
LAYERS = list(MODULES)
TOLERANCE = 2e-5
INSIDE = {
    0: ("line", [(300, 420)]),
    1: ("line", [(10, 11)]),
    2: ("line", [(0, 130)]),
    3: ("line", [(120, 140)]),
    4: ("line", [(650, 700)]),
    6: ("ring", [(0, 230)]),
    7: ("small-ring", [(3, 13), (43, 50)]),
    8: ("short", [(0, 40)]),
    9: ("one", [(0, 1)]),
}
NUM_RECORDS = 12


@dataclass(frozen=True)
class Embedded(Tracks):
    """A track set with embeddings."""

    def embed(self, shard: int) -> Path:
        name = shard_file(shard, self.config.shards)
        tiles = self.results / TILES / name
        out = self.results / TRACK_EMBEDDINGS / name
        embed_tracks(
            resolve_embed_tracks(self.config, "t", "s"),
            tiles_file=tiles,
            segments_file=segments_file(tiles),
            regions_table=tiles.with_name(TRACK_REGIONS),
            out=out,
            threads=1,
        )
        return out

    def merge_layer(self, layer: str) -> Path:
        out = self.results / layer_file(layer)
        merge_track_embeddings(
            resolve_merge_track_embeddings(self.config, "t", "s", layer),
            tiles_folder=self.results / TILES,
            embeddings_folder=self.results / TRACK_EMBEDDINGS,
            out=out,
            run_json=embeddings_run_file(out),
        )
        return out

    def run_layers(self) -> list[Path]:
        self.tile()
        for shard in range(1, self.config.shards + 1):
            self.embed(shard)
        return [self.merge_layer(one) for one in self.data["scorings"]["s"]["embeddings"]["layer"]]


def make(folder: Path, checkpoint: Path, **keys: Any) -> Embedded:
    embeddings = {"layer": LAYERS, "tokens": 8} | keys.pop("embeddings", {})
    scoring = {"embeddings": embeddings} | keys.pop("scoring", {})
    made = make_tracks(folder, checkpoint, scoring=scoring, **keys)
    return Embedded(made.folder, made.data)


def column(path: Path, name: str) -> list[np.ndarray | None]:
    values = pq.read_table(path).column(name).to_pylist()
    return [None if one is None else np.array(one, np.float32) for one in values]


def plain_outputs(model: Evo2ForCausalLM, text: str, *, bos: bool) -> dict[str, np.ndarray]:
    """The output of each layer at the last token of a text that is run alone."""
    kept: dict[str, np.ndarray] = {}

    def keep(layer: str) -> Any:
        def hook(_module: Any, _args: Any, output: torch.Tensor) -> None:
            kept[layer] = output[0, -1].double().numpy()

        return hook

    hooks = [
        model.get_submodule(module).register_forward_hook(keep(layer))
        for layer, module in MODULES.items()
    ]
    with torch.no_grad():
        model(torch.tensor([([0] if bos else []) + list(text.encode())]))
    for one in hooks:
        one.remove()
    return kept


def spell(contig: str, base: int, context: int, strand: str) -> str:
    bases, length = GENOME[contig], LENGTHS[contig]
    step = -1 if strand == "rev" else 1
    text = "".join(bases[(base - step * back) % length] for back in range(context, -1, -1))
    return text.translate(COMPLEMENT) if strand == "rev" else text


def expected_means(
    model: Evo2ForCausalLM, tracks: pl.DataFrame, strand: str, *, bos: bool
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """The mean outputs of each region: each base has read what the tracks state."""
    contexts = {
        (contig, pos - 1): context
        for contig, pos, context in tracks.select("contig", "pos", f"context_{strand}").iter_rows()
    }
    outputs = {
        (contig, base): plain_outputs(model, spell(contig, base, context, strand), bos=bos)
        for (contig, base), context in contexts.items()
    }
    for record, (contig, blocks) in INSIDE.items():
        own = [outputs[contig, base] for block in blocks for base in range(*block)]
        yield record, {name: np.mean([one[name] for one in own], axis=0) for name in LAYERS}


@pytest.mark.parametrize("bos", [False, True])
def test_an_embedding_is_the_mean_of_a_plain_hook(
    tmp_path: Path, checkpoint: Path, small_model: Evo2ForCausalLM, bos: bool
) -> None:
    made = make(
        tmp_path,
        checkpoint,
        shards=3,
        scoring={"prepend_bos": bos},
        embeddings={"keep_strands": True},
        run={"segment_length": 64, "part_tokens": 200},
    )
    tracks = made.run()
    paths = made.run_layers()
    # The longest regions are in two shards.
    shards = [
        set(
            pq.read_table(made.results / TRACK_EMBEDDINGS / shard_file(one, 3))[
                "record"
            ].to_pylist()
        )
        for one in (1, 2, 3)
    ]
    assert any(a & b for a, b in pairwise(shards))
    regions = pl.read_parquet(made.results / TILES / TRACK_REGIONS)
    keys = ["record", "contig", "start", "end", "name", "status"]
    expected = {
        strand: dict(expected_means(small_model, tracks, strand, bos=bos))
        for strand in ("fwd", "rev")
    }
    for path, layer in zip(paths, LAYERS, strict=True):
        assert pl.read_parquet(path, columns=keys).equals(regions.select(keys))
        found = {name: column(path, "embedding" + name) for name in ("", "_fwd", "_rev")}
        for record in range(NUM_RECORDS):
            if record not in INSIDE:
                assert [one[record] for one in found.values()] == [None] * 3
                continue
            forward, reverse = (expected[one][record][layer] for one in ("fwd", "rev"))
            for name, values in {
                "": (forward + reverse) / 2, "_fwd": forward, "_rev": reverse
            }.items():  # fmt: skip
                scale = np.abs(values).max()
                np.testing.assert_allclose(found[name][record], values, atol=TOLERANCE * scale)
        stated = json.loads(embeddings_run_file(path).read_text())
        assert (stated["rows"], stated["filled"]) == (NUM_RECORDS, len(INSIDE))
        assert "tokens" not in stated
    assert not list(made.results.glob(f"{TRACK_EMBEDDINGS}/*.parts"))


def test_a_killed_job_continues_and_gives_the_same_bytes(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = {"run": {"part_tokens": 200, "batch_tokens": 150}}
    expected = [
        one.read_bytes() for one in make(tmp_path / "one", checkpoint, **parts).run_layers()
    ]
    killed = make(tmp_path / "two", checkpoint, **parts)
    killed.tile()
    run, calls = TrackEmbedder.embed, []

    def embed(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return run(*args)

    monkeypatch.setattr(TrackEmbedder, "embed", embed)
    with pytest.raises(KeyboardInterrupt):
        killed.embed(1)
    out = killed.results / TRACK_EMBEDDINGS / shard_file(1, 1)
    assert not out.exists()
    killed.embed(1)
    stated = json.loads(out.with_suffix(".json").read_text())
    assert stated["parts_kept"] == 3
    assert stated["parts"] == len(calls) - 1 > 5
    assert [killed.merge_layer(layer).read_bytes() for layer in LAYERS] == expected


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_narrow_values_have_the_stated_error(tmp_path: Path, checkpoint: Path, dtype: str) -> None:
    wide = make(tmp_path / "wide", checkpoint, scoring={"strands": "reverse"}).run_layers()[0]
    keys = {"dtype": dtype}
    made = make(tmp_path / "narrow", checkpoint, scoring={"strands": "reverse"}, embeddings=keys)
    path = made.run_layers()[0]
    exact = np.concatenate([rows.embedding for rows in read_sequence_embeddings(wide)])
    narrow = np.concatenate([rows.embedding for rows in read_sequence_embeddings(path)])
    has_none = [record not in INSIDE for record in range(NUM_RECORDS)]
    assert np.isnan(narrow).all(axis=1).tolist() == np.isnan(exact).all(axis=1).tolist() == has_none
    errors = json.loads(embeddings_run_file(path).read_text())["errors"]["embedding"]
    assert 0 < np.nanmax(np.abs(exact - narrow)) == pytest.approx(errors["largest"])
    shown = CliRunner().invoke(main, ["show", str(path)])
    assert shown.exit_code == 0, shown.output
    assert "12, 9 of them with embeddings" in shown.output


def test_a_value_that_is_not_finite_is_null(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = sequence_sums._run_batch

    def break_norm(model: Any, batch: Any, *args: Any, **keys: Any) -> Any:
        found = run(model, batch, *args, **keys)
        for reading, one in zip(batch, found, strict=True):
            if reading == GENOME["short"].encode():
                for sums in one.values():
                    sums["norm"] = sums["norm"] * np.float32(np.nan)
        return found

    monkeypatch.setattr(sequence_sums, "_run_batch", break_norm)
    made = make(tmp_path, checkpoint, embeddings={"keep_strands": True})
    blocks, norm = made.run_layers()
    assert column(blocks, "embedding")[8] is not None
    assert [column(norm, "embedding" + one)[8] is None for one in ("", "_fwd", "_rev")] == [
        True, True, False
    ]  # fmt: skip
    assert column(norm, "embedding")[9] is not None


def test_embeddings_leave_the_tracks_alone(tmp_path: Path, checkpoint: Path) -> None:
    plain = make_tracks(tmp_path, checkpoint)
    plain.run()
    before = {one: one.read_bytes() for one in plain.results.rglob("*") if one.is_file()}
    added = make(tmp_path, checkpoint)
    for shard in (1,):
        added.embed(shard)
    added.merge_layer("norm")
    assert {one: one.read_bytes() for one in before} == before


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path, checkpoint: Path) -> None:
    made = make(tmp_path, checkpoint, shards=2)
    made.tile()
    made.embed(1)
    with pytest.raises(InputError, match="2-of-2"):
        made.merge_layer("norm")
    made.embed(2)
    with pytest.raises(InputError, match=r"layer: has no blocks\.0; it has: blocks\.1, norm"):
        made.merge_layer("blocks.0")
    fewer = make(tmp_path, checkpoint, shards=2, embeddings={"layer": ["norm"]})
    fewer.merge_layer("norm")
    (tmp_path / "x.bed").write_text("line\t1\t5\n")
    with pytest.raises(InputError, match=r"x\.bed"):
        made.embed(1)
    made.tile()
    with pytest.raises(InputError, match="another version of"):
        made.merge_layer("norm")
