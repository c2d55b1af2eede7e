"""A search that is interrupted and goes on gives the same bytes."""

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.errors import InputError
from evo2_tasks.generation.scorers import WeightedScorer
from evo2_tasks.generation.search import Search
from evo2_tasks.generation.sequence_scorers import GcContent
from evo2_tasks.generation.settings import SearchSettings

from .test_search import GC, ORF, PROMPT, make_model, veto

SETTINGS = SearchSettings(
    length=60, chunk_length=9, beam_width=3, samples_per_beam=2, num_sequences=2, batch_size=5
)


@pytest.mark.parametrize(
    "operators",
    [["hyena_se", "hyena_mr", "attention", "hyena_li", "attention"], ["hyena_li", "hyena_se"]],
    ids="-".join,
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("is_guided", [True, False])
def test_each_saved_state_continues_to_the_same_bytes(
    tmp_path: Path, operators: list[str], dtype: torch.dtype, is_guided: bool
) -> None:
    model = make_model(operators).to(dtype)
    scorers = [GC, ORF] if is_guided else []
    settings = SETTINGS if is_guided else replace(SETTINGS, beam_width=1, samples_per_beam=1)
    search = Search(model, PROMPT, settings, scorers)
    steps = []
    while not search.is_finished:
        steps.append(search.run_step())
        if not search.is_finished:
            search.save(tmp_path / f"{search.next_step}.safetensors")
    files = sorted(tmp_path.iterdir())
    assert len(files) == settings.num_steps - 1
    for file in files:
        again = Search(model, PROMPT, settings, scorers)
        again.restore(file)
        assert again.next_step == int(file.stem)
        for step in steps[again.next_step :]:
            assert again.run_step() == step  # each float is the same
            if not again.is_finished:
                again.save(tmp_path / "again")
                before = tmp_path / f"{again.next_step}.safetensors"
                assert (tmp_path / "again").read_bytes() == before.read_bytes()
        assert again.results() == search.results()


def test_an_ended_search_is_restored_too(small_model: Evo2ForCausalLM, tmp_path: Path) -> None:
    settings = replace(SETTINGS, beam_width=1)
    first = Search(small_model, PROMPT, settings, [GC])
    first.run_step()
    start = first.results()[0].bases
    scorers = [GC, veto(lambda one: not one.startswith(start) or len(one) < 27)]
    search = Search(small_model, PROMPT, settings, scorers)
    steps = [search.run_step() for _ in range(4)]
    assert [len(step.candidates) for step in steps] == [4, 4, 4, 2]
    search.save(tmp_path / "state")
    again = Search(small_model, PROMPT, settings, scorers)
    again.restore(tmp_path / "state")
    assert list(again.run()) == list(search.run())
    assert again.results() == search.results()
    assert [one.status for one in again.results()] == ["no_candidate", "generated"]


@pytest.fixture
def saved(small_model: Evo2ForCausalLM, tmp_path: Path) -> Path:
    search = Search(small_model, PROMPT, SETTINGS, [GC])
    search.run_step()
    search.save(tmp_path / "state")
    return tmp_path / "state"


def test_the_state_of_another_search_is_refused(small_model: Evo2ForCausalLM, saved: Path) -> None:
    others = [
        Search(small_model, PROMPT + "A", SETTINGS, [GC]),
        Search(small_model, PROMPT, replace(SETTINGS, seed=1), [GC]),
        Search(small_model, PROMPT, replace(SETTINGS, batch_size=4), [GC]),
        Search(small_model, PROMPT, SETTINGS, [replace(GC, weight=2.0)]),
        Search(small_model, PROMPT, SETTINGS, [WeightedScorer("other", GcContent(0.8))]),
        Search(small_model, PROMPT, SETTINGS, [GC], prompt_number=1),
        Search(make_model(["attention"]), PROMPT, SETTINGS, [GC]),
    ]
    for other in others:
        with pytest.raises(ValueError, match="is the state of another search"):
            other.restore(saved)


def test_a_damaged_state_is_refused(small_model: Evo2ForCausalLM, saved: Path) -> None:
    search = Search(small_model, PROMPT, SETTINGS, [GC])
    whole = saved.read_bytes()
    for damaged in (b"", whole[:100], whole[:-1], b"\0" * len(whole)):
        saved.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"state: cannot be read: "):
            search.restore(saved)
    save_file({"logits": torch.zeros(1)}, saved)
    with pytest.raises(ValueError, match="states nothing about its tensors"):
        search.restore(saved)
    with pytest.raises(ValueError, match="cannot be read"):
        search.restore(saved.with_name("missing"))
    assert search.next_step == 0


def test_a_state_is_a_plain_file_without_the_keys_of_the_prompt(saved: Path) -> None:
    tensors = load_file(saved)
    assert tensors["logits"].shape == (6, 4)  # two searches keep three sequences each
    keys = {name: one for name, one in tensors.items() if name.endswith("keys")}
    assert {*keys} <= {"3.own.keys", "3.shared.0.keys", "3.shared.1.keys"}
    assert sum(one.shape[2] for name, one in keys.items() if "shared.1" not in name) == 9


def test_a_state_that_cannot_be_written_is_one_line(
    small_model: Evo2ForCausalLM, tmp_path: Path
) -> None:
    search = Search(small_model, PROMPT, SETTINGS, [GC])
    with pytest.raises(ValueError, match="there is no state to go on from"):
        search.save(tmp_path / "state")
    search.run_step()
    with pytest.raises(InputError, match="is not a regular file"):
        search.save(tmp_path)


KILLED = """
import json, os, signal, sys, time
from dataclasses import asdict
from pathlib import Path
import torch
from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.generation.scorers import WeightedScorer
from evo2_tasks.generation.search import Search
from evo2_tasks.generation.sequence_scorers import GcContent
from evo2_tasks.generation.settings import SearchSettings
from evo2_tasks.io.files import replace_atomically

model = Evo2ForCausalLM.from_pretrained(sys.argv[1])
out, settings = Path(sys.argv[2]), SearchSettings(**json.loads(sys.argv[3]))
num_kills = 0

def run():
    search = Search(model, sys.argv[4], settings, [WeightedScorer("gc", GcContent(0.7))])
    state = out / "state"
    if state.exists():
        search.restore(state)
    while not search.is_finished:
        step = search.run_step()
        with replace_atomically(out / f"{step.step}.json") as file:
            file.write_text(json.dumps(asdict(step)))
        if not search.is_finished:
            search.save(state)
    (out / "results.json").write_text(json.dumps([asdict(one) for one in search.results()]))

wait_s = 0.03
while True:
    child = os.fork()
    if child == 0:
        run()
        os._exit(0)
    time.sleep(wait_s)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if status == 0:
        break
    num_kills += 1
    wait_s *= 1.3
print(num_kills)
"""


def test_killing_a_search_again_and_again_changes_no_byte(
    small_model: Evo2ForCausalLM, checkpoint: Path, tmp_path: Path
) -> None:
    settings = replace(SETTINGS, length=120, chunk_length=8)
    numbers = {name: value for name, value in asdict(settings).items() if name != "sampling"}
    out = tmp_path / "out"
    out.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(checkpoint), str(out), json.dumps(numbers), PROMPT],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 5
    search = Search(small_model, PROMPT, settings, [WeightedScorer("gc", GcContent(0.7))])
    for step in search.run():
        assert (out / f"{step.step}.json").read_text() == json.dumps(asdict(step))
    results = json.dumps([asdict(one) for one in search.results()])
    assert (out / "results.json").read_text() == results
