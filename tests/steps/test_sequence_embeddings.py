"""Embeddings of sequence sets: against a plain hook on each sequence alone."""

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray

from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.cli import main
from evo2_tasks.config.load import load_config
from evo2_tasks.config.sequences import (
    resolve_embed_sequences,
    resolve_merge_sequence_embeddings,
)
from evo2_tasks.errors import InputError
from evo2_tasks.io.interruption import Interrupted, Interruption
from evo2_tasks.layout import (
    SEQUENCE_EMBEDDINGS,
    SEQUENCE_SHARDS,
    SPLIT,
    embeddings_run_file,
    layer_file,
    shard_file,
)
from evo2_tasks.scoring import sequence_sums
from evo2_tasks.steps.embed_sequences import embed_sequences
from evo2_tasks.steps.merge_sequence_embeddings import merge_sequence_embeddings
from evo2_tasks.table.sequence_embeddings import read_sequence_embeddings
from tests.steps.test_sequences import ODD, SequenceSet, draw, make_set, read, reverse

MODULES = {"blocks.1": "model.layers.1", "norm": "model.norm"}
LAYERS = list(MODULES)
MIXED = {**draw(3, 12), **ODD, "odd": "AC" * 25 + "N"}
TOLERANCE = 2e-5


@dataclass(frozen=True)
class Embedded(SequenceSet):
    """A sequence set with embeddings, and the files of its steps."""

    def embed(self, shard: int = 1) -> Path:
        settings = resolve_embed_sequences(load_config(self.config), "S", "s")
        name = shard_file(shard, self.config["shards"])
        out = self.folder / "out/S/s" / SEQUENCE_EMBEDDINGS / name
        file = self.folder / "out" / "S" / SEQUENCE_SHARDS / name
        embed_sequences(settings, shard=file, out=out, threads=None)
        return out

    def merge_layer(self, layer: str) -> Path:
        folder = self.folder / "out/S/s"
        out = folder / layer_file(layer)
        merge_sequence_embeddings(
            resolve_merge_sequence_embeddings(load_config(self.config), "S", "s", layer),
            split_file=self.folder / "out" / "S" / SEQUENCE_SHARDS / SPLIT,
            embeddings_folder=folder / SEQUENCE_EMBEDDINGS,
            out=out,
            run_json=embeddings_run_file(out),
        )
        return out

    def run_layers(self) -> list[Path]:
        self.split()
        for shard in range(1, self.config["shards"] + 1):
            self.embed(shard)
        return [
            self.merge_layer(layer) for layer in self.config["scorings"]["s"]["embeddings"]["layer"]
        ]


def make(folder: Path, checkpoint: Path, sequences: dict[str, str], **keys: Any) -> Embedded:
    embeddings = {"layer": LAYERS, **keys.pop("embeddings", {})}
    scoring = {"embeddings": embeddings, **keys.pop("scoring", {})}
    made = make_set(folder, checkpoint, sequences, scoring=scoring, **keys)
    return Embedded(made.folder, made.config)


def hooked(model: Evo2ForCausalLM, bases: str, layer: str, *, bos: bool = False) -> NDArray[Any]:
    """The output of a layer at each base of a text that is run alone, float64. (L, D)."""
    kept: list[torch.Tensor] = []
    hook = model.get_submodule(MODULES[layer]).register_forward_hook(
        lambda _module, _args, output: kept.append(output[0].double())
    )
    with torch.no_grad():
        model(torch.tensor([([0] if bos else []) + list(bases.upper().encode())]))
    hook.remove()
    return kept[0].numpy()[int(bos) :]


def column(path: Path, name: str) -> list[NDArray[np.float32] | None]:
    values = pq.read_table(path).column(name).to_pylist()
    return [None if one is None else np.array(one, np.float32) for one in values]


@pytest.mark.parametrize("bos", [False, True])
def test_an_embedding_is_the_mean_of_a_plain_hook(
    tmp_path: Path, checkpoint: Path, small_model: Evo2ForCausalLM, bos: bool
) -> None:
    made = make(
        tmp_path,
        checkpoint,
        MIXED,
        shards=2,
        max_length=200,
        scoring={"prepend_bos": bos},
        embeddings={"keep_strands": True},
        run={"segment_length": 64},
    )
    scores = read(made.run())
    for path, layer in zip(made.run_layers(), LAYERS, strict=True):
        assert [(one["record"], one["sequence"], one["length"]) for one in read(path)] == [
            (one["record"], one["sequence"], one["length"]) for one in scores
        ]
        found = {name: column(path, "embedding" + name) for name in ("", "_fwd", "_rev")}
        for row, (score, bases) in enumerate(zip(scores, MIXED.values(), strict=True)):
            if score["status"] != "scored":
                assert [one[row] for one in found.values()] == [None] * 3, score
                continue
            forward, backward = (
                hooked(small_model, text, layer, bos=bos).mean(axis=0)
                for text in (bases, reverse(bases))
            )
            expected = {"": (forward + backward) / 2, "_fwd": forward, "_rev": backward}
            for name, values in expected.items():
                scale = np.abs(values).max()
                np.testing.assert_allclose(found[name][row], values, atol=TOLERANCE * scale)
        stated = json.loads(embeddings_run_file(path).read_text())
        num_scored = sum(one["status"] == "scored" for one in scores)
        assert (stated["rows"], stated["filled"]) == (len(MIXED), num_scored)
        assert "tokens" not in stated
    assert not list((tmp_path / "out/S/s" / SEQUENCE_EMBEDDINGS).glob("*.parts"))


def test_a_base_of_a_circle_counts_once_from_the_reading_with_more_bases_before_it(
    tmp_path: Path, checkpoint: Path, small_model: Evo2ForCausalLM
) -> None:
    sequences = {name: one for name, one in draw(4, 8).items() if len(one) > 1}
    made = make(
        tmp_path,
        checkpoint,
        sequences,
        circular=True,
        scoring={"strands": "reverse", "min_context": 16},
        embeddings={"layer": ["norm"]},
    )
    (path,) = made.run_layers()
    for found, forward in zip(column(path, "embedding"), sequences.values(), strict=True):
        bases = reverse(forward)
        context = min(16, len(bases) // 2)
        whole = hooked(small_model, bases, "norm")
        origin = hooked(small_model, bases[-context:] + bases[:context], "norm")
        expected = np.concatenate([origin[context:], whole[context:]])
        assert len(expected) == len(bases)
        np.testing.assert_allclose(found, expected.mean(axis=0), atol=TOLERANCE * 4)


def test_a_killed_job_continues_and_gives_the_same_bytes(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make(tmp_path / "whole", checkpoint, draw(5, 14))
    expected = [path.read_bytes() for path in whole.run_layers()]
    made = make(tmp_path / "killed", checkpoint, draw(5, 14))
    made.split()
    left = killed = 0

    def stop(_self: Interruption) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Interrupted("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(Interruption, "check", stop)
        while not (
            out := made.folder / "out/S/s" / SEQUENCE_EMBEDDINGS / shard_file(1, 1)
        ).exists():
            left = killed = killed + 4
            with contextlib.suppress(Interrupted):
                made.embed()
    run = json.loads(out.with_suffix(".json").read_text())
    assert killed > 4
    assert 0 < run["parts_kept"] < run["parts"]
    assert [made.merge_layer(layer).read_bytes() for layer in LAYERS] == expected


def test_embeddings_leave_the_scores_alone(tmp_path: Path, checkpoint: Path) -> None:
    made = make(tmp_path, checkpoint, draw(6, 6))
    with_embeddings = made.run().read_bytes()
    plain = make_set(tmp_path / "plain", checkpoint, draw(6, 6))
    assert plain.run().read_bytes() == with_embeddings


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_narrow_values_have_the_stated_error(tmp_path: Path, checkpoint: Path, dtype: str) -> None:
    sequences = {**draw(7, 9), "empty": ""}
    wide = make(tmp_path / "wide", checkpoint, sequences).run_layers()[0]
    path = make(
        tmp_path / "narrow", checkpoint, sequences, embeddings={"dtype": dtype}
    ).run_layers()[0]
    exact = np.concatenate([rows.embedding for rows in read_sequence_embeddings(wide)])
    rows = list(read_sequence_embeddings(path))
    narrow = np.concatenate([one.embedding for one in rows])
    assert np.concatenate([one.record for one in rows]).tolist() == list(range(10))
    assert np.isnan([narrow[-1], exact[-1]]).all()
    errors = json.loads(embeddings_run_file(path).read_text())["errors"]["embedding"]
    assert 0 < np.abs(exact - narrow)[:-1].max() == pytest.approx(errors["largest"])


def test_a_value_that_is_not_finite_is_null(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = sequence_sums._run_batch

    def break_norm(model: Any, batch: Any, *args: Any, **keys: Any) -> Any:
        found = run(model, batch, *args, **keys)
        for reading, one in zip(batch, found, strict=True):
            if reading == b"ACGTT":
                for sums in one.values():
                    sums["norm"] = sums["norm"] * np.float32(np.nan)
        return found

    monkeypatch.setattr(sequence_sums, "_run_batch", break_norm)
    made = make(
        tmp_path, checkpoint, {"a": "ACGTT", "b": "ACGTA"}, embeddings={"keep_strands": True}
    )
    blocks, norm = made.run_layers()
    assert [one is None for one in column(blocks, "embedding")] == [False, False]
    assert [one is None for one in column(norm, "embedding")] == [True, False]
    assert [one is None for one in column(norm, "embedding_fwd")] == [True, False]
    assert [one is None for one in column(norm, "embedding_rev")] == [False, False]


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path, checkpoint: Path) -> None:
    made = make(tmp_path, checkpoint, draw(8, 6), shards=2)
    made.split()
    made.embed(1)
    with pytest.raises(InputError, match="2-of-2"):
        made.merge_layer("norm")
    made.embed(2)
    made.merge_layer("norm")
    with pytest.raises(InputError, match=r"layer: has no blocks\.0; it has: blocks\.1, norm"):
        made.merge_layer("blocks.0")
    fewer = make(tmp_path, checkpoint, draw(8, 6), shards=2, embeddings={"layer": ["norm"]})
    fewer.merge_layer("norm")
    circular = make(tmp_path, checkpoint, draw(8, 6), shards=2, circular=True)
    with pytest.raises(InputError, match="circular"):
        circular.merge_layer("norm")
    other = make(tmp_path, checkpoint, draw(9, 6), shards=2)
    other.split()
    with pytest.raises(InputError, match="another version of"):
        other.merge_layer("norm")


def test_show_describes_the_table(tmp_path: Path, checkpoint: Path) -> None:
    path = make(tmp_path, checkpoint, {**draw(1, 4), "empty": ""}).run_layers()[0]
    shown = CliRunner().invoke(main, ["show", str(path)])
    assert shown.exit_code == 0, shown.output
    assert "5, 4 of them with embeddings" in shown.output
    assert "length (Euclidean norm) of embedding" in shown.output
