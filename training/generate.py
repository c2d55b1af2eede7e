"""Compare DNA that a model generates with mitochondrial DNA: composition, tRNA pairs, stop codons.

    python training/generate.py --model build/evo2-mini/model --corpus build/corpus

The prompts are taken from a held-out genome: one ends before a transfer RNA of 75 bases, the other
before a stretch of 100 codons in a protein. The model continues each prompt. Each token is drawn
from the whole distribution of the model (temperature 1, no cut-off, all 512 tokens). The table
compares the generated sequence with the sequence of the genome, and with the generated sequence
shuffled, which has the same composition.

The transfer RNA is the position most similar to tRNA-Leu(UUR) of the human reference, without gaps.
The protein is the longest stretch without a stop codon of the vertebrate mitochondrial code on the
forward strand, so the sequence of the genome has no stop codon by construction. A sample that gains
or loses a base is out of frame from that base on, and no longer aligned with the genome.
"""

import argparse
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pysam
import torch
from transformers import GenerationConfig
from transformers.utils import logging

from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.errors import InputError
from training.markov import as_bases
from training.train import Corpus, Stretch, read_corpus

TRNA = (3229, 3304)  # tRNA-Leu(UUR) on the rCRS, 0-based, half-open
MIN_LIKENESS = 0.7  # share of equal bases below which no tRNA is found
NUM_CODONS = 100
STOPS = [as_bases(stop) for stop in ("TAA", "TAG", "AGA", "AGG")]  # vertebrate mitochondrial
STEM = 7  # base pairs in the acceptor stem of a tRNA; one base follows its second strand
PAIRS = {b"AT", b"TA", b"CG", b"GC", b"GT", b"TG"}

Bases = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Task:
    """A stretch to generate.

    Attributes:
        name: Name of the stretch.
        prompt: The bases before it.
        truth: Its bases in the genome.
        measure: Functions that measure a sequence, by name of the column.
    """

    name: str
    prompt: Bases
    truth: Bases
    measure: dict[str, Callable[[Bases], float]]


# Finding the stretches, and measuring sequences.


def find_open_frame(bases: Bases) -> tuple[int, int]:
    """Longest stretch of whole codons without a stop in the three forward frames.

    Returns:
        Start and end in the bases, 0-based, half-open.
    """
    best = (0, 0)
    for frame in range(3):
        num_codons = (len(bases) - frame) // 3
        codons = bases[frame : frame + 3 * num_codons].reshape(-1, 3)
        is_stop = np.any([(codons == stop).all(axis=1) for stop in STOPS], axis=0)
        stops = np.concatenate([[-1], np.flatnonzero(is_stop), [num_codons]])
        longest = int(np.argmax(np.diff(stops)))
        start, end = (frame + 3 * int(codon) for codon in (stops[longest] + 1, stops[longest + 1]))
        best = max(best, (start, end), key=lambda ends: ends[1] - ends[0])
    return best


def find_most_like(bases: Bases, pattern: Bases) -> tuple[int, float]:
    """The 0-based position where a pattern fits best without gaps, and the share of equal bases."""
    windows = np.lib.stride_tricks.sliding_window_view(bases, len(pattern))
    likeness = (windows == pattern).mean(axis=1)
    start = int(np.argmax(likeness))
    return start, float(likeness[start])


def stops_per_100_codons(bases: Bases) -> float:
    """Number of stop codons per 100 codons, in the frame of the first base."""
    codons = bases[: len(bases) // 3 * 3].reshape(-1, 3)
    num_stops = sum(int((codons == stop).all(axis=1).sum()) for stop in STOPS)
    return 100 * num_stops / len(codons)


def acceptor_pairs(bases: Bases) -> float:
    """Number of base pairs between the first seven bases and the seven before the last base."""
    text = bases.tobytes()
    return sum(text[i : i + 1] + text[-2 - i : len(text) - 1 - i] in PAIRS for i in range(STEM))


def composition(bases: Bases) -> list[float]:
    """Shares of A, C, G, T and of all other tokens."""
    shares = [float((bases == base).mean()) for base in b"ACGT"]
    return [*shares, 1 - sum(shares)]


# The tasks, and the sequences that the model generates.


def make_tasks(genome: Bases, trna: Bases, prompt_length: int) -> list[Task]:
    """The two stretches of a circular genome.

    Raises:
        InputError: No tRNA or no protein was found.
    """

    def make(name: str, start: int, length: int, **measure: Callable[[Bases], float]) -> Task:
        prompt = genome[np.arange(start - min(prompt_length, len(genome) - length), start)]
        return Task(name, prompt, genome[start : start + length], measure)

    trna_start, likeness = find_most_like(genome, trna)
    if likeness < MIN_LIKENESS:
        raise InputError(
            f"genome: no tRNA found; the best position has {likeness:.0%} equal bases."
        )
    frame_start, frame_end = find_open_frame(genome)
    if frame_end - frame_start < 9 * NUM_CODONS:
        raise InputError(f"genome: no open frame of {3 * NUM_CODONS} codons.")
    # The stretch is inside the protein, so the prompt contains its start and its frame.
    start = frame_start + 3 * ((frame_end - frame_start) // 6)
    return [
        make("tRNA", trna_start, len(trna), acceptor_pairs=acceptor_pairs),
        make("protein", start, 3 * NUM_CODONS, stops_per_100_codons=stops_per_100_codons),
    ]


def write_on(
    model: Evo2ForCausalLM, prompt: Bases, length: int, num_samples: int
) -> list[npt.NDArray[np.int64]]:
    """Continue a prompt with tokens drawn from the model's whole distribution."""
    tokens = torch.from_numpy(prompt.astype(np.int64))[None]
    config = GenerationConfig(
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        max_new_tokens=length,
        num_return_sequences=num_samples,
        # No token ends the sequence. None would mean the end-of-document token of the model.
        eos_token_id=model.config.vocab_size,
        pad_token_id=model.config.pad_token_id,
    )
    with torch.inference_mode():
        written = model.generate(
            tokens,  # type: ignore[arg-type] # `wraps` of generate hides its `self`
            attention_mask=torch.ones_like(tokens),
            generation_config=config,
        )
    return list(written[:, len(prompt) :].numpy())


def table_lines(
    task: Task, samples: Iterable[npt.NDArray[np.int64]], of_group: Bases, seed: int
) -> list[str]:
    """Lines of Markdown for a stretch, with the means of the samples."""
    # Tokens above the bytes become 0, which is not a base.
    written = [np.where(one < 256, one, 0).astype(np.uint8) for one in samples]
    rng = np.random.default_rng(seed)
    shuffled = [rng.permutation(one) for one in written]
    header = ["", "A", "C", "G", "T", "other tokens", "as in the genome"]
    header += [name.replace("_", " ") for name in task.measure]
    lines = [header, ["---"] * len(header)]
    for name, texts in (
        ("generated", written),
        ("genome", [task.truth]),
        ("generated and shuffled", shuffled),
    ):
        numbers = np.mean([composition(text) for text in texts], axis=0)
        cells = [f"{number:.3f}" for number in numbers]
        cells.append(f"{np.mean([(text == task.truth).mean() for text in texts]):.3f}")
        counts = [[measure(text) for text in texts] for measure in task.measure.values()]
        cells += [f"{np.mean(of_texts):.2f}" for of_texts in counts]
        lines.append([name, *cells])
    cells = [f"{number:.3f}" for number in composition(of_group)]
    lines.append(["group", *cells, *[""] * (len(header) - 6)])
    return [f"| {' | '.join(line)} |" for line in lines]


# The command.


def find_genome(
    corpus: Corpus, group: str, trna: Bases, prompt_length: int
) -> tuple[Stretch, list[Task]]:
    """The first held-out circular genome of a group that has both stretches.

    Raises:
        InputError: There is no such genome.
    """
    for stretch in corpus.validation.get(group, []):
        genome = np.asarray(corpus.bases[stretch.start : stretch.start + stretch.length])
        if stretch.circular:
            try:
                return stretch, make_tasks(genome, trna, prompt_length)
            except InputError:
                continue
    raise InputError(f"--group: {group} has no held-out circular genome with tRNA and protein.")


def read_trna(path: Path) -> Bases:
    """tRNA-Leu(UUR) of the human reference.

    Raises:
        InputError: The file cannot be read.
    """
    try:
        with pysam.FastxFile(str(path)) as file:
            text = next(iter(file)).sequence or ""
    except (OSError, StopIteration) as error:
        raise InputError(f"{path}: cannot be read; expected the rCRS as FASTA.") from error
    return as_bases(text[slice(*TRNA)].upper())


def run(arguments: argparse.Namespace) -> None:
    """Generate the sequences and print the tables."""
    trna = read_trna(arguments.reference)
    corpus = read_corpus(arguments.corpus)
    stretch, tasks = find_genome(corpus, arguments.group, trna, arguments.prompt_length)
    of_group = np.concatenate(
        [
            corpus.bases[one.start : one.start + one.length]
            for one in corpus.training[arguments.group]
        ]
    )
    model = Evo2ForCausalLM.from_pretrained(arguments.model, dtype=torch.float32)
    torch.manual_seed(arguments.seed)
    names = name_sequences(arguments.corpus)
    print(
        f"Held-out genome {names[stretch.start]} of {arguments.group}, {arguments.num_samples} "
        f"samples, prompts of {len(tasks[0].prompt):,} bases, seed {arguments.seed}."
    )
    for task in tasks:
        samples = write_on(model, task.prompt, len(task.truth), arguments.num_samples)
        print(f"\n{task.name}, {len(task.truth)} bases\n")
        print("\n".join(table_lines(task, samples, of_group, arguments.seed)))


def name_sequences(folder: Path) -> dict[int, str]:
    """The names of the sequences of a corpus, by their start in its bases."""
    lines = (folder / "sequences.tsv").read_text(encoding="utf-8").splitlines()
    header = lines[0].split("\t")
    rows = [dict(zip(header, line.split("\t"), strict=True)) for line in lines[1:]]
    return {int(row["start"]): row["name"] for row in rows}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Compare generated DNA with mitochondrial DNA.")
    parser.add_argument("--model", type=Path, required=True, help="folder of the model")
    parser.add_argument("--corpus", type=Path, required=True, help="folder that prepare.py wrote")
    parser.add_argument("--group", default="mito_mammals")
    parser.add_argument("--reference", type=Path, default=Path("data/rCRS.fa"))
    parser.add_argument("--prompt-length", type=int, default=1_700, help="bases")
    parser.add_argument("--num-samples", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    logging.disable_progress_bar()
    try:
        run(parser.parse_args())
    except InputError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
