"""Sequence sets: from a FASTA to a table, by the steps and by the command ``score-sequences``."""

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner

from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.cli import main
from evo2_tasks.config.load import load_config
from evo2_tasks.config.sequences import (
    resolve_merge_sequences,
    resolve_score_sequences,
    resolve_split_sequences,
)
from evo2_tasks.errors import InputError
from evo2_tasks.io.interruption import Interrupted, Interruption
from evo2_tasks.layout import (
    SEQUENCE_RUN,
    SEQUENCE_SCORES,
    SEQUENCE_SHARDS,
    SEQUENCE_TABLE,
    SPLIT,
    shard_file,
)
from evo2_tasks.scoring import sequence_batches
from evo2_tasks.steps.merge_sequences import merge_sequences
from evo2_tasks.steps.score_sequence_set import score_sequence_set
from evo2_tasks.steps.split_sequences import split_sequences
from evo2_tasks.table.parts import parts_folder

TOKEN_TOLERANCE = 2e-5
ODD = {
    "empty": ("", "empty"),
    "gap": ("AC-GT", "invalid_record"),
    "stop": ("ACGT*", "invalid_record"),
    "rna": ("ACGUU", "rna"),
    "long": ("ACGT" * 60, "too_long"),
    "protein": ("MKVLWAALLVTFLAGCQ", "too_many_n"),
    "single": ("A", "no_context"),
    "lower": ("acgtnacg", "scored"),
}


def draw(seed: int, number: int) -> dict[str, str]:
    rng = random.Random(seed)
    return {
        f"s{i}": "".join(rng.choices("ACGT", k=rng.choice([2, 3, 10, 40, 41, 200])))
        for i in range(number)
    }


def write_fasta(path: Path, sequences: dict[str, str]) -> Path:
    path.write_text("".join(f">{name} words\n{bases}\n" for name, bases in sequences.items()))
    return path


def alone(model: Evo2ForCausalLM, bases: str, *, bos: bool = False) -> np.ndarray:
    """Log-probabilities of the predicted tokens of a sequence that is run alone."""
    ids = torch.tensor([([0] if bos else []) + list(bases.upper().encode())])
    with torch.no_grad():
        log_probs = model(ids).logits.double().log_softmax(-1)[0]
    return np.array([log_probs[t, token].item() for t, token in enumerate(ids[0, 1:])])


def reverse(bases: str) -> str:
    return bases.upper().translate(str.maketrans("ACGT", "TGCA"))[::-1]


@dataclass(frozen=True)
class SequenceSet:
    """A sequence set and the files of its steps."""

    folder: Path
    config: dict[str, Any]

    def split(self) -> Path:
        settings = resolve_split_sequences(load_config(self.config), "S")
        out = self.folder / "out" / "S" / SEQUENCE_SHARDS
        split_sequences(settings, sequences=None, out=out)
        return out

    def score(self, shard: int = 1) -> Path:
        settings = resolve_score_sequences(load_config(self.config), "S", "s")
        name = shard_file(shard, self.config["shards"])
        out = self.folder / "out/S/s" / SEQUENCE_SCORES / name
        file = self.folder / "out" / "S" / SEQUENCE_SHARDS / name
        score_sequence_set(settings, shard=file, out=out, threads=None)
        return out

    def merge(self) -> Path:
        folder = self.folder / "out/S/s"
        merge_sequences(
            resolve_merge_sequences(load_config(self.config), "S", "s"),
            split_file=self.folder / "out" / "S" / SEQUENCE_SHARDS / SPLIT,
            scores_folder=folder / SEQUENCE_SCORES,
            out=folder / SEQUENCE_TABLE,
            run_json=folder / SEQUENCE_RUN,
        )
        return folder / SEQUENCE_TABLE

    def run(self) -> Path:
        self.split()
        for shard in range(1, self.config["shards"] + 1):
            self.score(shard)
        return self.merge()


def make_set(
    folder: Path,
    checkpoint: Path,
    sequences: dict[str, str],
    *,
    scoring: dict[str, Any] | None = None,
    shards: int = 1,
    run: dict[str, Any] | None = None,
    **keys: Any,
) -> SequenceSet:
    folder.mkdir(parents=True, exist_ok=True)
    fasta = write_fasta(folder / "in.fa", sequences)
    return SequenceSet(
        folder,
        {
            "models": {"m": {"checkpoint": str(checkpoint), "gpus": 0}},
            "scorings": {"s": {"model": "m", **(scoring or {})}},
            "sequence_sets": {
                "S": {"sequences": str(fasta), "scorings": ["s"], **keys},
            },
            "shards": shards,
            "run": {"part_tokens": 400, "batch_tokens": 300, **(run or {})},
            "output": str(folder / "out"),
        },
    )


def command(*arguments: object) -> Any:
    return CliRunner().invoke(main, ["score-sequences", *map(str, arguments)])


def read(table: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(table).to_pylist()
    return rows


# --- the numbers


@pytest.mark.parametrize("bos", [False, True])
@pytest.mark.parametrize("shards", [1, 3])
def test_each_record_is_a_row_with_the_values_that_it_has_alone(
    tmp_path: Path, checkpoint: Path, small_model: Evo2ForCausalLM, bos: bool, shards: int
) -> None:
    odd = {name: bases for name, (bases, _) in ODD.items()}
    sequences = {**draw(1, 12), **odd, **draw(1, 3), "last": "AC"}
    made = make_set(
        tmp_path, checkpoint, sequences, shards=shards, max_length=239,
        scoring={"prepend_bos": bos}, per_base=True,
    )  # fmt: skip
    rows = read(made.run())
    assert [row["record"] for row in rows] == list(range(len(sequences)))
    assert [row["sequence"] for row in rows] == list(sequences)
    expected = {name: status for name, (_, status) in ODD.items()}
    if bos:
        expected["single"] = "scored"
    for row, bases in zip(rows, sequences.values(), strict=True):
        assert row["length"] == len(bases)
        assert row["status"] == expected.get(row["sequence"], "scored")
        values = [value for name, value in row.items() if name.startswith(("ll", "mean", "bits"))]
        if row["status"] != "scored":
            assert values == [None] * 9
            assert row["predicted"] is row["log_probs_fwd"] is row["log_probs_rev"] is None
            continue
        both = [alone(small_model, one, bos=bos) for one in (bases, reverse(bases))]
        assert row["predicted"] == len(bases) - 1 + bos
        assert row["flags"] == (["n_in_sequence"] if row["sequence"] == "lower" else [])
        for suffix, values in zip(("_fwd", "_rev"), both, strict=True):
            near = {"abs": TOKEN_TOLERANCE * len(bases)}
            assert row[f"ll{suffix}"] == pytest.approx(values.sum(), **near)
            assert row[f"mean_log_prob{suffix}"] == pytest.approx(values.mean(), **near)
            assert row[f"bits_per_base{suffix}"] == pytest.approx(
                -values.mean() / np.log(2), **near
            )
        mean = (row["ll_fwd"] + row["ll_rev"]) / 2
        assert row["ll"] == mean
        assert row["mean_log_prob"] == mean / row["predicted"]
        # Base i of the sequence, on both strands.
        forward, backward = row["log_probs_fwd"], row["log_probs_rev"][::-1]
        assert len(forward) == len(backward) == len(bases)
        for found, values in ((forward, both[0]), (backward, both[1])):
            assert found[: 1 - bos] == [None] * (1 - bos)
            np.testing.assert_allclose(found[1 - bos :], values, atol=TOKEN_TOLERANCE)


def test_a_strand_that_is_not_asked_for_has_no_values(tmp_path: Path, checkpoint: Path) -> None:
    made = make_set(tmp_path, checkpoint, draw(2, 3), scoring={"strands": "reverse"})
    for row in read(made.run()):
        assert row["ll"] == row["ll_rev"] is not None
        assert row["ll_fwd"] is row["mean_log_prob_fwd"] is row["bits_per_base_fwd"] is None
        assert "log_probs_rev" not in row


def test_a_circle_has_a_prediction_for_each_base(
    tmp_path: Path, checkpoint: Path, small_model: Evo2ForCausalLM
) -> None:
    sequences = {**draw(3, 6), "single": "A"}
    made = make_set(
        tmp_path, checkpoint, sequences, circular=True, per_base=True, scoring={"min_context": 4}
    )
    rows = read(made.run())
    assert rows[-1]["status"] == "no_context"
    for row, bases in zip(rows[:-1], sequences.values(), strict=False):
        context = min(4, len(bases) // 2)
        assert row["flags"] == ["circular"]
        assert row["predicted"] == len(bases)
        whole = alone(small_model, bases)
        origin = alone(small_model, bases[-context:] + bases[:context])
        expected = [*origin[-context:], *whole[context - 1 :]]
        np.testing.assert_allclose(row["log_probs_fwd"], expected, atol=TOKEN_TOLERANCE)
        near = {"abs": TOKEN_TOLERANCE * len(bases)}
        assert row["ll_fwd"] == pytest.approx(sum(expected), **near)


def test_a_broken_strand_is_null_and_a_finite_one_keeps_its_values(
    tmp_path: Path,
    checkpoint: Path,
    small_model: Evo2ForCausalLM,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The model has no number for the letter K, which the other strand reads as M."""
    run = sequence_batches.window_log_probs

    def run_without_k(model: Evo2ForCausalLM, windows: list[bytes], **options: Any) -> Any:
        found = run(model, windows, **options)
        for window, log_probs in zip(windows, found, strict=True):
            log_probs[[token == ord("K") for token in window[1:]]] = np.nan
        return found

    monkeypatch.setattr(sequence_batches, "window_log_probs", run_without_k)
    made = make_set(tmp_path, checkpoint, {"a": "ACGK" + "ACGT" * 3, "b": "ACGTAC"}, per_base=True)
    first, second = read(made.run())
    assert (first["status"], first["reason"]) == ("non_finite", "forward_strand")
    assert (
        first["ll"] is first["ll_fwd"] is first["bits_per_base"] is first["log_probs_fwd"] is None
    )
    assert first["ll_rev"] == pytest.approx(alone(small_model, "ACGT" * 3 + "MCGT").sum(), abs=1e-3)
    assert len(first["log_probs_rev"]) == 16
    assert (first["flags"], first["predicted"]) == ([], 15)
    assert (second["status"], second["reason"]) == ("scored", None)


def test_mostly_broken_values_stop_the_job(tmp_path: Path, small_model: Evo2ForCausalLM) -> None:
    broken = Evo2ForCausalLM(small_model.config)
    torch.nn.init.constant_(broken.lm_head.weight, torch.nan)
    broken.save_pretrained(tmp_path / "model")
    sequences = {f"s{i}": "ACGT" + "ACGT"[i % 4] for i in range(100)}
    made = make_set(tmp_path, tmp_path / "model", sequences)
    with pytest.raises(InputError, match="max_non_finite_share"):
        made.run()


# --- one function for the command and the workflow


def test_the_command_writes_the_table_of_the_workflow(tmp_path: Path, checkpoint: Path) -> None:
    sequences = {**draw(4, 10), **{name: bases for name, (bases, _) in ODD.items()}}
    made = make_set(tmp_path, checkpoint, sequences, run={"part_tokens": 1_048_576})
    expected = made.run()
    out = tmp_path / "own.parquet"
    result = command(
        tmp_path / "in.fa", "--model", checkpoint, "--gpus", 0, "--out", out,
        "--batch-tokens", 300,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert pq.read_table(out).equals(pq.read_table(expected))
    metadata = [pq.read_metadata(path).metadata for path in (out, expected)]
    differing = [key for key in metadata[0] if metadata[0][key] != metadata[1].get(key)]
    assert [key for key in differing if b"ARROW" not in key] == [b"evo2_tasks.model"]
    stated = [
        json.loads(path.read_text())
        for path in (out.with_suffix(".json"), expected.with_name(SEQUENCE_RUN))
    ]
    counts = ("records", "bases", "scored", "predicted", "by_status", "by_flag", "tokens_run")
    own, of_workflow = ({key: one[key] for key in counts} for one in stated)
    assert own == of_workflow
    assert stated[0]["bases"] == sum(map(len, sequences.values()))
    names = {"in.fa", "out", "own.parquet", "own.json"}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_standard_input_and_an_empty_file(tmp_path: Path, checkpoint: Path) -> None:
    for text, rows in (("", []), (">a\nACGTA\n", ["a"])):
        out = tmp_path / "out.parquet"
        arguments = ["-", "--model", str(checkpoint), "--gpus", "0", "--out", str(out)]
        result = CliRunner().invoke(main, ["score-sequences", *arguments], input=text)
        assert result.exit_code == 0, result.output
        assert [row["sequence"] for row in read(out)] == rows


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["in.fa", "--model", "nowhere", "--gpus", "0", "--out", "o.parquet"], "nowhere"),
        (["no.fa", "--model", "evo2-mini", "--out", "o.parquet"], "no.fa"),
        (["in.fa", "--model", "evo2-mini", "--out", "o.tsv"], "ends in .parquet"),
        (["bad.fa", "--model", "evo2-mini", "--out", "o.parquet"], "not FASTA"),
        (["s3://b/in.fa", "--model", "evo2-mini", "--out", "o.parquet"], "is a URL"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_fasta(tmp_path / "in.fa", {"a": "ACGT"})
    (tmp_path / "bad.fa").write_text("ACGT\n")
    result = command(*arguments)
    assert result.exit_code == 2
    errors = [line for line in result.output.splitlines() if line.startswith("ERROR")]
    assert len(errors) == 1
    assert words in errors[0]
    assert {path.name for path in tmp_path.iterdir()} == {"in.fa", "bad.fa"}


# --- resuming


def test_a_stopped_job_continues_and_writes_the_same_bytes(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sequences = {**draw(5, 25), "same": "ACGTACGT", "again": "ACGTACGT"}
    whole = make_set(tmp_path / "whole", checkpoint, sequences, per_base=True)
    whole.split()
    expected = whole.score().read_bytes()
    num_parts = json.loads(whole.score().with_suffix(".json").read_text())["parts"]
    assert num_parts > 3
    kept = []
    for number in (1, 4, 9, 14):
        made = make_set(tmp_path / f"{number}", checkpoint, sequences, per_base=True)
        made.split()
        with monkeypatch.context() as patch:
            checks = iter(range(1, 1_000))

            def check(_self: Interruption, checks: Any = checks, number: int = number) -> None:
                if next(checks) == number:
                    raise Interrupted

            patch.setattr(Interruption, "check", check)
            with pytest.raises(Interrupted):
                made.score()
        out = made.folder / "out/S/s" / SEQUENCE_SCORES / shard_file(1, 1)
        assert not out.exists()
        assert made.score().read_bytes() == expected
        kept.append(json.loads(out.with_suffix(".json").read_text())["parts_kept"])
        out.unlink()  # as Snakemake does if the job dies before its end is noted
        assert made.score().read_bytes() == expected
        assert json.loads(out.with_suffix(".json").read_text())["parts_kept"] == num_parts
        made.merge()
        assert not parts_folder(out).exists()
    assert kept[0] == 0
    assert kept[-1] > 0
    assert kept == sorted(kept)


def test_other_settings_or_other_sequences_use_no_finished_part(
    tmp_path: Path, checkpoint: Path
) -> None:
    made = make_set(tmp_path, checkpoint, draw(6, 12))
    made.split()
    parts = json.loads(made.score().with_suffix(".json").read_text())["parts"]
    changes: list[tuple[dict[str, str], dict[str, Any]]] = [
        (draw(6, 12), {"circular": True}),
        (draw(6, 12), {"per_base": True}),
        (draw(6, 12), {"scoring": {"prepend_bos": True}}),
        (draw(7, 12), {}),
    ]
    for sequences, keys in changes:
        other = make_set(tmp_path, checkpoint, sequences, **keys)
        other.split()
        assert json.loads(other.score().with_suffix(".json").read_text())["parts_kept"] == 0
    again = make_set(tmp_path, checkpoint, draw(7, 12))
    again.split()
    assert json.loads(again.score().with_suffix(".json").read_text())["parts_kept"] > 0
    assert parts > 1


# --- files that do not belong together


def test_merge_refuses_files_of_another_run(tmp_path: Path, checkpoint: Path) -> None:
    made = make_set(tmp_path, checkpoint, draw(8, 6), shards=2)
    made.split()
    made.score(1)
    with pytest.raises(InputError, match="2-of-2"):
        made.merge()
    made.score(2)
    longer = make_set(tmp_path, checkpoint, draw(9, 6), shards=2)
    longer.split()
    with pytest.raises(InputError, match="another version of"):
        longer.merge()
    circular = make_set(tmp_path, checkpoint, draw(8, 6), shards=2, circular=True)
    circular.split()
    with pytest.raises(InputError, match="circular"):
        circular.merge()
    made.split()
    assert len(read(made.merge())) == 6


def test_shards_have_similar_numbers_of_bases(tmp_path: Path, checkpoint: Path) -> None:
    rng = random.Random(10)
    sequences = {f"s{i}": "ACGT" * rng.choice([1, 1, 1, 50]) for i in range(300)}
    made = make_set(tmp_path, checkpoint, sequences, shards=4)
    out = made.split()
    bases = [
        sum(row["length"] for row in read(out / shard_file(shard, 4))) for shard in range(1, 5)
    ]
    assert sum(bases) == sum(map(len, sequences.values()))
    assert max(bases) - min(bases) <= 2 * 200 + 300
