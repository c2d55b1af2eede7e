"""Generations: from prompts to sequences, by the steps and by the command ``generate``."""

import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.cli import main
from evo2_tasks.config.generations import resolve_generate, resolve_merge_generation
from evo2_tasks.errors import InputError
from evo2_tasks.generation.search import Search
from evo2_tasks.io.digests import digest_file
from evo2_tasks.io.files import keep_others_out
from evo2_tasks.io.interruption import Interrupted
from evo2_tasks.layout import (
    GENERATED,
    GENERATION_FASTA,
    GENERATION_RUN,
    GENERATION_STEPS,
    GENERATION_TABLE,
    RUN_LOCK,
    shard_file,
    shard_run_file,
)
from evo2_tasks.runtime import generation_jobs
from evo2_tasks.steps import merge_generation as merge_step
from evo2_tasks.table.parts import parts_folder
from tests import processes
from tests.steps.generations import (
    GENOME,
    PROMPT_FASTA,
    RESULTS,
    SEARCH,
    Generation,
    make_generation,
    read,
)

STATUSES = {
    "one": "generated",
    "gap": "invalid_record",
    "rna": "rna",
    "protein": "too_many_n",
    "empty": "empty",
    "two": "generated",
    "long": "too_long",
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Generation:
    made = make_generation(tmp_path_factory.mktemp("finished"), checkpoint)
    made.run()
    return made


def read_fasta(path: Path) -> dict[str, tuple[dict[str, str], str]]:
    """The header's words and the bases of each record."""
    records = {}
    for part in path.read_text().split(">")[1:]:
        header, _, bases = part.partition("\n")
        name, *words = header.split(" ")
        records[name] = dict(word.split("=") for word in words), bases.replace("\n", "")
    return records


# --- what is made


def test_every_prompt_comes_back_with_all_its_sequences(finished: Generation) -> None:
    rows = read(finished.out / GENERATION_TABLE)
    keys = [(number, sequence) for number in range(len(PROMPT_FASTA)) for sequence in range(2)]
    assert [(row["record"], row["sequence"]) for row in rows] == keys
    assert [row["prompt"] for row in rows[::2]] == list(PROMPT_FASTA)
    for row in rows:
        assert row["status"] == STATUSES[row["prompt"]]
        is_made = row["status"] == "generated"
        assert (row["bases"] is not None) is is_made
        assert row["length"] == (25 if is_made else 0)
        assert (row["log_prob"] is not None) is is_made
        assert (row["score_gc_content"] is not None) is is_made
    stated = json.loads((finished.out / GENERATION_RUN).read_text())
    assert (stated["num_prompts"], stated["sequences"], stated["generated"]) == (7, 14, 4)
    assert stated["by_status"]["generated"] == 4
    assert stated["signature"]["search"]["seed"] == 3
    assert sum(stated["compare_with"]["words"]) == len(GENOME) - 2


def test_the_fasta_has_the_sequences_and_their_provenance(finished: Generation) -> None:
    records = read_fasta(finished.out / GENERATION_FASTA)
    rows = [row for row in read(finished.out / GENERATION_TABLE) if row["bases"]]
    assert list(records) == [f"G_{row['record']}_{row['sequence']}" for row in rows]
    for row, (words, bases) in zip(rows, records.values(), strict=True):
        assert bases == row["bases"]
        assert set(bases) <= set("ACGT")
        assert words["prompt"] == row["prompt"]
        assert words["seed"] == "3"
        assert float(words["log_prob"]) == pytest.approx(row["log_prob"], rel=1e-5)
        assert float(words["score"]) == pytest.approx(row["total"], rel=1e-5)
        assert float(words["score_gc_content"]) == pytest.approx(row["total"], rel=1e-5)


def test_the_sequences_are_those_of_a_search_of_each_prompt(
    finished: Generation, small_model: Evo2ForCausalLM
) -> None:
    """Prompt 5 is continued in the same way without the others; bases are in upper case."""
    settings = generation_jobs.make_search_settings(generation_jobs_settings(finished))
    search = Search(small_model, GENOME[50:90], settings, scorers_of(finished), prompt_number=5)
    steps = list(search.run())
    rows = [row for row in read(finished.out / GENERATION_TABLE) if row["record"] == 5]
    assert [row["bases"] for row in rows] == [one.bases for one in search.results()]
    logged = [row for row in read(finished.out / GENERATION_STEPS) if row["record"] == 5]
    candidates = [one for step in steps for one in step.candidates]
    assert [(row["sequence"], row["step"], row["candidate"]) for row in logged] == [
        (one.sequence, one.step, one.candidate) for one in candidates
    ]
    for row, one in zip(logged, candidates, strict=True):
        assert (row["parent"], row["bases"], row["chosen"]) == (one.parent, one.bases, one.chosen)
        assert row["log_prob"] == pytest.approx(one.log_prob)
        assert row["score_gc_content"] == row["total"] == pytest.approx(one.total)


def generation_jobs_settings(made: Generation) -> Any:
    return resolve_generate(made.load(), "G")


def scorers_of(made: Generation) -> Any:
    settings = generation_jobs_settings(made)
    return generation_jobs.open_scorers(settings, None).scorers  # type: ignore[arg-type]


def test_the_log_likelihood_is_that_of_a_plain_pass(
    finished: Generation, small_model: Evo2ForCausalLM
) -> None:
    for row in read(finished.out / GENERATION_TABLE):
        if not row["bases"]:
            continue
        prompt = PROMPT_FASTA[row["prompt"]].upper()
        ids = torch.tensor([list((prompt + row["bases"]).encode())])
        with torch.no_grad():
            log_probs = small_model(ids).logits.double().log_softmax(-1)[0]
        total = sum(
            log_probs[place - 1, ids[0, place]].item() for place in range(len(prompt), ids.shape[1])
        )
        assert row["log_prob"] == pytest.approx(total, abs=1e-3)


def test_the_same_prompts_in_other_shards_give_the_same_sequences(
    tmp_path: Path, checkpoint: Path, finished: Generation
) -> None:
    made = make_generation(tmp_path, checkpoint, shards=3)
    made.run()
    assert sorted(path.name for path in (made.out / GENERATED).glob("*.json")) == [
        f"{number}-of-3.json" for number in (1, 2, 3)
    ]
    for name in RESULTS:
        assert (made.out / name).read_bytes() == (finished.out / name).read_bytes()


# --- comparisons


def test_copies_composition_and_frames_are_in_the_table(
    tmp_path: Path, checkpoint: Path, finished: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sequence that is made of the reference is found there, over the origin and reversed."""
    over = GENOME[-30:] + GENOME[:20]
    reverse = GENOME[100:160].translate(str.maketrans("ACGT", "TGCA"))[::-1]
    frame = "GG" + "ATG" + "GCC" * 5 + "TAA" + "CC"
    monkeypatch.setattr(merge_step, "COMPARED_BASES", 60)
    rows = [
        {"record": number, "bases": bases, "length": len(bases)}
        for number, bases in enumerate([over, reverse, frame])
    ]
    reference = merge_step.open_reference(merge_step_settings(finished).compare_with)
    found = merge_step._add_reference(rows, reference)
    names = ("match", "match_start", "match_contig", "match_pos", "match_strand")
    of = [tuple(row.get(f"reference_{name}") for name in names) for row in found]
    assert of[0] == (50, 0, "c", 371, "+")
    assert of[1] == (60, 0, "c", 101, "-")
    assert [row["copied"] for row in found] == [50, 60, 0]
    described = merge_step._describe(frame, "ACGN", merge_step.Copy(), 1)
    assert (described["orf_codons"], described["orf_start"], described["orf_end"]) == (6, 2, 23)
    assert described["gc"] == pytest.approx(sum(map(frame.count, "GC")) / len(frame))
    assert described["prompt_gc"] == pytest.approx(2 / 3)


def merge_step_settings(made: Generation) -> Any:
    return resolve_merge_generation(made.load(), "G")


# --- killing


def test_an_interrupted_job_continues_with_the_same_bytes(
    tmp_path: Path, checkpoint: Path, finished: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM after every single step, and every state is saved and read again."""
    made = make_generation(tmp_path, checkpoint)
    made.prompts()
    run_step = Search.run_step

    def stop(self: Search) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return run_step(self)

    monkeypatch.setattr(Search, "run_step", stop)
    interruptions = 0
    while interruptions < 30:
        try:
            made.generate()
            break
        except Interrupted:
            interruptions += 1
    assert 8 <= interruptions < 30  # five steps of two prompts, the last of which are not saved
    made.merge()
    for name in RESULTS:
        assert (made.out / name).read_bytes() == (finished.out / name).read_bytes()
    assert not parts_folder(made.out / GENERATED / shard_file(1, 1)).exists()


def test_steps_after_a_lost_state_are_computed_again(
    tmp_path: Path, checkpoint: Path, finished: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_generation(tmp_path, checkpoint)
    made.prompts()
    monkeypatch.setattr(generation_jobs, "SECONDS_BETWEEN_SAVES", 0.0)
    monkeypatch.setattr(generation_jobs, "SAVE_SHARE", 0)
    run_step, done = Search.run_step, 0

    def fail(self: Search) -> Any:
        nonlocal done
        done += 1
        if done == 5:
            raise RuntimeError
        return run_step(self)

    monkeypatch.setattr(Search, "run_step", fail)
    with pytest.raises(RuntimeError):
        made.generate()
    (state,) = made.out.glob("generated/*.parts/*/0.state")
    state.write_bytes(state.read_bytes()[:-9])
    made.generate()
    made.merge()
    for name in RESULTS:
        assert (made.out / name).read_bytes() == (finished.out / name).read_bytes()


def test_killed_at_any_moment_the_command_gives_the_same_bytes(
    tmp_path: Path, checkpoint: Path, finished: Generation
) -> None:
    """SIGKILL, again and again, at random moments of the step."""
    made = make_generation(tmp_path, checkpoint)
    made.prompts()
    rng, kills = random.Random(5), 0
    for _ in range(60):
        process = processes.start(_generate, made)
        process.join(rng.uniform(0.05, 1.2) if kills < 4 else None)
        if process.exitcode is None:
            process.kill()
            process.join()
            kills += 1
        elif process.exitcode == 0:
            break
    assert kills
    made.merge()
    for name in RESULTS:
        assert (made.out / name).read_bytes() == (finished.out / name).read_bytes()
    assert not [path for path in made.out.rglob("*") if ".tmp" in path.suffixes]


def _generate(made: Generation) -> None:
    generation_jobs.SECONDS_BETWEEN_SAVES = 0.0  # type: ignore[misc] # in a process of its own
    generation_jobs.SAVE_SHARE = 0  # type: ignore[misc] # in a process of its own
    run_step = Search.run_step

    def slowly(self: Search) -> Any:
        time.sleep(0.05)
        return run_step(self)

    Search.run_step = slowly  # type: ignore[method-assign] # in a process of its own
    made.generate()


# --- what is refused


def test_a_job_without_a_prompt_to_continue_opens_no_model(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad.fa").write_text(">a\n\n>b\nAC-GT\n")
    made = make_generation(tmp_path, checkpoint, prompts={"fasta": str(tmp_path / "bad.fa")})
    made.prompts()
    monkeypatch.setattr("evo2_tasks.runtime.scoring_jobs.open_scoring_model", None)
    made.generate()
    made.merge()
    rows = read(made.out / GENERATION_TABLE)
    assert [row["status"] for row in rows] == ["empty", "empty", *["invalid_record"] * 2]
    stated = json.loads((made.out / GENERATION_RUN).read_text())
    assert stated["signature"] is None
    assert (made.out / GENERATION_FASTA).read_text() == ""


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def score(sequences, prompt):\n    return [1 / 0]\n", "ZeroDivisionError"),
        ("def score(sequences, prompt):\n    return [1.0]\n", "1 number for 8 sequences"),
        ("import nothing_there\n", "imports nothing_there, which is missing"),
        ("x = 1\n", "has no function score"),
    ],
)
def test_a_function_that_cannot_be_used_is_one_clear_line(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, code: str, message: str
) -> None:
    module = f"scorer_{abs(hash(code))}"
    (tmp_path / f"{module}.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    made = make_generation(tmp_path, checkpoint, scorers=[{"function": f"{module}:score"}])
    made.prompts()
    with pytest.raises(InputError, match=message):
        made.generate()


def test_a_function_of_the_user_guides_the_search_and_its_file_is_stated(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "few_a.py").write_text(
        "import pandas\n\n\ndef score(sequences, prompt):\n"
        "    return [-one.count('A') for one in sequences]\n"
    )
    monkeypatch.chdir(tmp_path)
    made = make_generation(tmp_path, checkpoint, scorers=[{"function": "few_a:score"}])
    made.run()
    rows = [row for row in read(made.out / GENERATION_TABLE) if row["bases"]]
    assert all(row["score_score"] == -row["bases"].count("A") for row in rows)
    stated = json.loads((made.out / GENERATION_RUN).read_text())
    assert stated["functions"] == {"few_a:score": digest_file(tmp_path / "few_a.py")}


def test_a_prompt_without_a_candidate_in_the_first_step_has_rows_without_numbers(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "not_after.py").write_text(
        "def length(sequences, prompt):\n"
        f"    veto = prompt == {GENOME[:40]!r}\n"
        "    return [float('-inf') if veto else len(one) for one in sequences]\n"
    )
    monkeypatch.chdir(tmp_path)
    scorers = [{"function": "not_after:length"}, {"gc_content": {"target": 0.5}}]
    made = make_generation(tmp_path, checkpoint, scorers=scorers)
    rows = read(made.run())
    assert made.report().exists()
    numbers = ("bases", "log_prob", "total", "score_length", "score_gc_content", "gc")
    for row in rows:
        assert row["status"] == {"one": "no_candidate"}.get(row["prompt"], STATUSES[row["prompt"]])
        assert [row[name] is None for name in numbers] == [row["status"] != "generated"] * 6
    steps = [one for one in read(made.out / GENERATION_STEPS) if one["prompt"] == "one"]
    assert len(steps) == 8
    assert not any(one["chosen"] for one in steps)
    # The header has the length of the sequence and the number of the scorer of this name.
    for header, bases in read_fasta(made.out / GENERATION_FASTA).values():
        assert (header["length"], header["score_length"]) == (str(len(bases)), "25")


def test_files_of_other_settings_or_prompts_are_not_merged(
    tmp_path: Path, checkpoint: Path
) -> None:
    made = make_generation(tmp_path, checkpoint)
    made.prompts()
    made.generate()
    other = make_generation(tmp_path, checkpoint, seed=4)
    with pytest.raises(InputError, match=r"was made with other settings .* seed"):
        other.merge()
    (tmp_path / "prompts.fa").write_text(">x\nACGT\n")
    made.prompts()
    with pytest.raises(InputError, match="was made from another version of the prompts"):
        made.merge()
    with pytest.raises(InputError, match=r"1-of-2\.json: cannot be read"):
        make_generation(tmp_path, checkpoint, shards=2).merge()


# --- the command


def test_the_command_gives_the_files_of_the_workflow(
    tmp_path: Path, checkpoint: Path, finished: Generation
) -> None:
    (tmp_path / "scorers.yaml").write_text("- gc_content: {target: 0.7}\n")
    options = {
        "--model": checkpoint, "--gpus": 0, "--prompt-fasta": finished.folder / "prompts.fa",
        "--compare-with": finished.folder / "genome.fa", "--circular-contig": "c",
        "--max-prompt-length": 100, "--scorers": tmp_path / "scorers.yaml", "--threads": 1,
        "--out": tmp_path / "G.fa", "--html": tmp_path / "page.html",
        **{f"--{key.replace('_', '-')}": one for key, one in SEARCH.items() if key != "scorers"},
    }  # fmt: skip
    words = [str(word) for pair in options.items() for word in pair]
    result = CliRunner().invoke(main, ["generate", *words])
    assert result.exit_code == 0, result.output
    rows, expected = read(tmp_path / "G.parquet"), read(finished.out / GENERATION_TABLE)
    assert rows == expected
    assert read(tmp_path / "G.steps.parquet") == read(finished.out / GENERATION_STEPS)
    assert read_fasta(tmp_path / "G.fa").keys() == read_fasta(finished.out / "sequences.fa").keys()
    assert "<h1>G</h1>" in (tmp_path / "page.html").read_text()
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--prompt", "ACGT", "--out", "x.txt"], "--out: x.txt: expected a name that ends in .fa"),
        (["--out", "x.fa"], "generate: prompts: there is no prompt"),
        (["--prompt-fasta", "no.fa", "--out", "x.fa"], "prompts.fasta: no.fa does not exist"),
        (["--prompt", "AC!", "--out", "x.fa"], "prompts.text: expected bases"),
        (["--prompt", " ", "--out", "x.fa"], "generate: prompts.text: has no bases"),
        (["--prompt", "ACGU", "--out", "x.fa"], "generate: prompts.text: is RNA"),
        (["--tag", "|X__A|", "--out", "x.fa"], "prompts.tag: 'X__A' is not a rank with a name"),
        (
            ["--prompt", "ACGT", "--beam-width", "2", "--out", "x.fa"],
            "scorers: is missing: a search with several candidates needs a scorer",
        ),
        (
            ["--prompt", "ACGT", "--scorer", "gc_content", "--out", "x.fa"],
            "scorers[0].gc_content.target: is missing",
        ),
        (
            ["--prompt", "ACGT", "--scorer", "gc_content:0.4", "--out", "x.fa"],
            "--scorer: 'gc_content:0.4' has no keys",
        ),
        (
            ["--prompt", "ACGT", "--scorer", "motif:motif=AXC", "--out", "x.fa"],
            "scorers[0].motif: motif is 'AXC'; expected one or more of the letters",
        ),
        (
            ["--prompt", "ACGT", "--scorer", "likelihood:model=nothing", "--out", "x.fa"],
            "generate: scorers[0].likelihood.model: nothing does not exist",
        ),
        (["--model", "nothing", "--prompt", "ACGT", "--out", "x.fa"], "generate: model: nothing"),
    ],
)
def test_wrong_options_are_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["generate", "--model", "evo2-mini", "--length", "5", *options]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert list(tmp_path.iterdir()) == []


def test_two_commands_do_not_write_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with keep_others_out(tmp_path / "x.parts", RUN_LOCK, "`evo2-tasks generate`", "another file"):
        arguments = ["generate", "--model", "evo2-mini", "--length", "5", "--prompt", "ACGT"]
        result = CliRunner().invoke(main, [*arguments, "--out", "x.fa"])
    assert result.exit_code == 2
    assert "x.parts: another `evo2-tasks generate` is writing to this folder" in result.output
    assert [path.name for path in tmp_path.rglob("*")] == ["x.parts", RUN_LOCK]


def test_prompts_from_standard_input_and_a_second_model(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, small_model: Evo2ForCausalLM
) -> None:
    """The scorer's number is the mean log-probability of a plain pass of the second model."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").touch()  # not a folder; the command does not use it
    options = {
        "--model": "evo2-mini", "--gpus": 0, "--prompt-fasta": "-", "--length": 6,
        "--samples-per-beam": 2, "--scorer": f"likelihood:model={checkpoint}", "--out": "x.fa",
        "--threads": 1,
    }  # fmt: skip
    words = [str(word) for pair in options.items() for word in pair]
    result = CliRunner().invoke(main, ["generate", *words], input=">p\nACGTTGCA\n")
    assert result.exit_code == 0, result.output
    (row,) = read(tmp_path / "x.parquet")
    ids = torch.tensor([list(("ACGTTGCA" + row["bases"]).encode())])
    with torch.no_grad():
        log_probs = small_model(ids).logits.double().log_softmax(-1)[0]
    own = [log_probs[place - 1, ids[0, place]].item() for place in range(8, 14)]
    assert row["score_likelihood"] == pytest.approx(sum(own) / 6, abs=1e-4)
    stated = json.loads((tmp_path / "x.json").read_text())
    assert [*stated["models"]] == [str(checkpoint)]


def test_shards_state_who_made_them(finished: Generation, tmp_path: Path, checkpoint: Path) -> None:
    made = make_generation(tmp_path, checkpoint)
    made.prompts()
    stated = json.loads(shard_run_file(made.generate()).read_text())
    assert stated["alleles_tried"] == 4
    assert stated["parts"] == 2
    # Eight candidates of 25 bases for each of two prompts; nothing follows the last base.
    assert stated["tokens_run"] == 2 * 8 * 24
    assert stated["device_class"]


def test_the_example_of_the_docs_prints_what_it_shows(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "generation.md").read_text()
    example = page.partition("From Python:\n\n```python\n")[2]
    code, _, rest = example.partition("```\n")
    exec(compile(code, "generation.md", "exec"), {})  # noqa: S102 # our own page
    assert capsys.readouterr().out == rest.partition("```text\n")[2].partition("```")[0]
