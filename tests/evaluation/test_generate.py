"""The program that lets a model write: what it looks for, what it counts, what it draws."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from evo2_tasks import Evo2ForCausalLM
from training import generate
from training.generate import (
    TRNA,
    acceptor_pairs,
    composition,
    find_most_like,
    find_open_frame,
    make_tasks,
    read_trna,
    stops_per_100_codons,
    write_on,
)
from training.markov import as_bases

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def genome() -> np.ndarray:
    lines = (ROOT / "data" / "rCRS.fa").read_text().splitlines()[1:]
    return as_bases("".join(lines).upper())


@pytest.fixture(scope="module")
def trna() -> np.ndarray:
    return read_trna(ROOT / "data" / "rCRS.fa")


def test_the_trna_of_the_reference_is_one(trna: np.ndarray) -> None:
    assert len(trna) == 75
    assert acceptor_pairs(trna) == 7
    assert acceptor_pairs(as_bases("A" * 75)) == 0


def test_the_longest_frame_of_the_human_mitochondrion_is_in_nd5(genome: np.ndarray) -> None:
    start, end = find_open_frame(genome)
    # MT-ND5 is 12337-14148, its stop codon included.
    assert (start - 12_336) % 3 == 0
    assert start <= 12_336
    assert end == 14_145
    assert stops_per_100_codons(genome[start:end]) == 0
    assert genome[end : end + 3].tobytes() == b"TAA"


def test_frames_and_stops_are_counted_in_whole_codons() -> None:
    assert find_open_frame(as_bases("TAACCCCCCTAGCC")) == (1, 13)
    assert find_open_frame(as_bases("TAATAATAATAATAA"))[0] in (1, 2)
    assert stops_per_100_codons(as_bases("AGATAACCCTAGAGGTT")) == 80  # AGA TAA CCC TAG AGG
    assert stops_per_100_codons(as_bases("CAGATAACC")) == 0


def test_the_place_most_like_a_pattern() -> None:
    assert find_most_like(as_bases("AAAAACGTTAAA"), as_bases("CGAT")) == (5, 0.75)


def test_composition_tells_bases_from_other_tokens() -> None:
    assert composition(as_bases("AACGTNnn")) == [0.25, 0.125, 0.125, 0.125, 0.375]


def test_tasks_hold_what_is_in_the_genome(genome: np.ndarray, trna: np.ndarray) -> None:
    of_trna, protein = make_tasks(genome, trna, 500)
    np.testing.assert_array_equal(of_trna.truth, genome[slice(*TRNA)])
    np.testing.assert_array_equal(of_trna.prompt, genome[TRNA[0] - 500 : TRNA[0]])
    assert len(protein.truth) == 300
    assert stops_per_100_codons(protein.truth) == 0
    text = genome.tobytes()
    assert protein.prompt.tobytes() + protein.truth.tobytes() in text


def test_a_prompt_goes_on_across_position_0(genome: np.ndarray, trna: np.ndarray) -> None:
    of_trna, _ = make_tasks(genome, trna, 5_000)
    wrapped = np.concatenate([genome[TRNA[0] - 5_000 :], genome[: TRNA[0]]])
    np.testing.assert_array_equal(of_trna.prompt, wrapped)


def test_a_genome_without_trna_is_refused(trna: np.ndarray) -> None:
    with pytest.raises(generate.InputError, match="no tRNA found"):
        make_tasks(np.random.default_rng(1).choice(as_bases("ACGT"), 5_000), trna, 100)


def test_tokens_are_drawn_from_the_whole_distribution(small_model: Evo2ForCausalLM) -> None:
    prompt = as_bases("ACGTTGCAACGT")
    torch.manual_seed(1)
    samples = write_on(small_model, prompt, 1, 4_000)
    drawn = np.bincount(np.concatenate(samples), minlength=512) / 4_000
    with torch.no_grad():
        logits = small_model(torch.from_numpy(prompt.astype(np.int64))[None]).logits[0, -1]
    expected = logits.softmax(-1).numpy()
    # All 512 tokens, the end of a document and the padding too, within five standard errors.
    assert (np.abs(drawn - expected) < 5 * np.sqrt(expected / 4_000) + 5 / 4_000).all()
    assert (drawn > 0).sum() > 200


def test_the_end_of_a_document_does_not_end_a_sample(small_model: Evo2ForCausalLM) -> None:
    torch.manual_seed(1)
    samples = write_on(small_model, as_bases("ACGT"), 40, 60)
    assert {len(one) for one in samples} == {40}
    after = np.concatenate([one[np.argmax(one == 0) + 1 :] for one in samples if (one == 0).any()])
    assert len(after)
    assert (after != small_model.config.pad_token_id).mean() > 0.9


def test_a_table_is_printed(
    small_model: Evo2ForCausalLM,
    genome: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    small_model.save_pretrained(tmp_path / "model")
    np.save(tmp_path / "bases.npy", np.concatenate([genome, genome]))
    rows = [
        "name\tgroup\tstart\tlength\tcircular\tcluster\tsplit\tvalidation_start\tsha512t24u",
        f"one\tmito_mammals\t0\t{len(genome)}\t1\t0\ttraining\t\t-",
        f"two\tmito_mammals\t{len(genome)}\t{len(genome)}\t1\t1\tvalidation\t\t-",
    ]
    (tmp_path / "sequences.tsv").write_text("\n".join(rows) + "\n")
    command = [
        *("generate.py", "--model", str(tmp_path / "model"), "--corpus", str(tmp_path)),
        *("--reference", str(ROOT / "data" / "rCRS.fa")),
        *("--prompt-length", "40", "--num-samples", "2"),
    ]
    monkeypatch.setattr(sys, "argv", command)
    generate.main()
    first = capsys.readouterr().out
    assert "Held-out genome two of mito_mammals, 2 samples, prompts of 40 bases" in first
    assert first.count("| genome | ") == first.count("| generated and shuffled | ") == 2
    assert "| 1.000 | 7.00 |" in first
    generate.main()
    assert capsys.readouterr().out == first

    monkeypatch.setattr(sys, "argv", [*command, "--group", "fungi"])
    with pytest.raises(SystemExit) as end:
        generate.main()
    assert end.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
