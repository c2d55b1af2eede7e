"""Training: the batches, and that a repeated or continued run gives the same result."""

import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.errors import InputError
from training import prepare, train
from training.train import Corpus, Recipe, Stretch, Window

ROOT = Path(__file__).parent.parent.parent
RECIPE = ROOT / "training" / "evo2-mini.yaml"
SMALL = [
    "model.hidden_size=16",
    "model.intermediate_size=32",
    "model.hyena_se_groups=4",
    "model.hyena_mr_groups=4",
    "mix={random: 1.0}",
    "target_group=random",
    "window_length=64",
    "batch_tokens=256",
    "total_tokens=3072",
    "warmup_steps=2",
    "log_every_steps=3",
    "validate_every_steps=6",
]


@pytest.fixture
def recipe() -> Recipe:
    return train.read_recipe(RECIPE, SMALL)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    generator = random.Random(1)
    with (tmp_path / "random.fa").open("w") as file:
        for i in range(30):
            bases = "ACG" * 40 if i % 2 else "".join(generator.choices("ACGT", k=150))
            file.write(f">{i}\n{bases}\n")
    sequences, all_bases = prepare.read_genomes([tmp_path / "random.fa"], {"random"})
    prepare.hold_out(sequences, seed=1)
    prepare.write_corpus(tmp_path / "corpus", sequences, all_bases)
    return train.read_corpus(tmp_path / "corpus")


def run(recipe: Recipe, corpus: Corpus, out: Path, stop: int | None = None) -> dict[str, Any]:
    train.train(recipe, corpus, out, should_stop=lambda step: stop is not None and step >= stop)
    facts: dict[str, Any] = json.loads((out / "model" / "training.json").read_text())
    return facts


def losses(out: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (out / "training.jsonl").read_text().splitlines()]
    return [
        {key: line[key] for key in line if key not in ("seconds", "bases_per_s")} for line in lines
    ]


def test_two_runs_are_the_same_to_the_digit(recipe: Recipe, corpus: Corpus, tmp_path: Path) -> None:
    first, second = (run(recipe, corpus, tmp_path / name) for name in "ab")
    assert first["final_validation"] == second["final_validation"]
    assert losses(tmp_path / "a") == losses(tmp_path / "b")
    assert losses(tmp_path / "a")[-2]["loss"] < losses(tmp_path / "a")[0]["loss"] - 0.5
    other = run(recipe.model_copy(update={"seed": 2}), corpus, tmp_path / "c")
    assert other["final_validation"] != first["final_validation"]


def test_a_run_that_was_stopped_goes_on_to_the_same_end(
    recipe: Recipe, corpus: Corpus, tmp_path: Path
) -> None:
    whole = run(recipe, corpus, tmp_path / "whole")
    for stop in (4, 7):
        assert run(recipe, corpus, tmp_path / "cut", stop=stop)["step"] == stop
    cut = run(recipe, corpus, tmp_path / "cut")
    assert cut["final_validation"] == whole["final_validation"]
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")


def test_the_model_is_written_for_from_pretrained(
    recipe: Recipe, corpus: Corpus, tmp_path: Path
) -> None:
    facts = run(recipe, corpus, tmp_path / "run")
    model = Evo2ForCausalLM.from_pretrained(tmp_path / "run" / "model", dtype=torch.float32)
    bits = train.validate(model, corpus, recipe, limit=None, matmul_dtype="float32")
    assert bits == facts["final_validation"]
    assert 0 < bits["random"] < math.log2(512)


def test_another_model_is_not_trained_on(recipe: Recipe, corpus: Corpus, tmp_path: Path) -> None:
    run(recipe, corpus, tmp_path / "run", stop=1)
    other = train.read_recipe(RECIPE, [*SMALL, "model.hidden_size=32"])
    with pytest.raises(InputError, match="made with model"):
        run(other, corpus, tmp_path / "run")


def test_poles_stay_below_zero(recipe: Recipe, corpus: Corpus, tmp_path: Path) -> None:
    fast = recipe.model_copy(update={"lr": recipe.lr.model_copy(update={"poles": 1.0})})
    run(fast, corpus, tmp_path / "run")
    model = Evo2ForCausalLM.from_pretrained(tmp_path / "run" / "model", dtype=torch.float32)
    for name, parameter in model.named_parameters():
        if name.endswith("log_poles"):
            assert (parameter < 0).all()


def test_a_window_is_read_on_its_strand_and_around_the_circle() -> None:
    bases = np.frombuffer(b"xxACCGTNxx", dtype=np.uint8)
    circle, line = Stretch(2, 6, circular=True), Stretch(2, 6, circular=False)
    for stretch, offset, is_reverse, length, expected in (
        (circle, 0, False, 4, b"ACCG"),
        (circle, 4, False, 4, b"TNAC"),
        (circle, 4, True, 4, b"GTNA"),
        (line, 1, True, 3, b"CGG"),
        (line, 0, False, 8, b"ACCGTN\x01\x01"),
    ):
        window = Window(stretch, offset, is_reverse=is_reverse)
        assert train.read_window(bases, window, length).tobytes() == expected


def test_batches_read_every_group_both_strands_and_all_offsets() -> None:
    """Each base says where it is, so a window says where it was read from."""
    recipe = train.read_recipe(
        RECIPE, ["mix={a: 3.0, b: 1.0}", "window_length=4", "batch_tokens=400"]
    )
    bases = np.frombuffer(b"ACCATGTA" + b"CAGATTAC", dtype=np.uint8)
    stretches = {"a": [Stretch(0, 8, circular=True)], "b": [Stretch(8, 8, circular=False)]}
    corpus = Corpus(bases, stretches, stretches)
    rows = [
        bytes(row)
        for step in range(20)
        for row in train.draw_batch(corpus, recipe, step).to(torch.uint8).numpy()
    ]
    possible = {
        group: {
            train.read_window(bases, Window(stretch, offset, is_reverse=reverse), 4).tobytes()
            for (stretch,) in [stretches[group]]
            for offset in range(8 if stretch.circular else 5)
            for reverse in (False, True)
        }
        for group in stretches
    }
    assert set(rows) == possible["a"] | possible["b"]
    share = np.mean([row in possible["a"] - possible["b"] for row in rows])
    assert share == pytest.approx(
        0.75 * len(possible["a"] - possible["b"]) / len(possible["a"]), abs=0.08
    )


def test_the_schedule_rises_stays_and_falls_to_nothing(recipe: Recipe) -> None:
    scales = [recipe.lr_scale(step) for step in range(recipe.num_steps)]
    assert recipe.num_steps == 12
    assert scales[:3] == [0.5, 1, 1]
    assert scales[9] == 1
    assert scales[10] == pytest.approx(2 / 2.4)
    assert scales[11] == pytest.approx(1 / 2.4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("model.hidden_size", "expected key=value"),
        ("seed=-1", "seed"),
        ("unknown=1", "unknown"),
        ("a.b=1", "expected key=value"),
    ],
)
def test_a_wrong_change_of_the_recipe_is_one_line(change: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        train.read_recipe(RECIPE, [change])


def test_a_recipe_that_the_corpus_cannot_serve(corpus: Corpus, recipe: Recipe) -> None:
    for update, said in (
        ({"mix": {"nowhere": 1.0}}, "nowhere not in the corpus"),
        ({"target_group": "nowhere"}, "nowhere has no held-out sequences"),
        ({"batch_tokens": 100}, "not a multiple"),
    ):
        with pytest.raises(InputError, match=said):
            train.check_recipe(recipe.model_copy(update=update), corpus)
