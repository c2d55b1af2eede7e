"""Longest common stretches, compared with a plain loop over all places."""

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evo2_tasks.genome import copies
from evo2_tasks.genome.copies import COPY_LENGTH, SEED, Copy, find_copies, read_contigs
from evo2_tasks.genome.reference import Reference

COMPLEMENT = str.maketrans("ACGT", "TGCA")


def reverse(bases: str) -> str:
    return bases.translate(COMPLEMENT)[::-1]


def common_length(one: str, other: str) -> int:
    length = 0
    for a, b in zip(one, other, strict=False):
        if a != b or a not in "ACGT":
            break
        length += 1
    return length


def plain(sequence: str, contigs: list[tuple[str, str]]) -> tuple[int, int]:
    """Length of the longest stretch, and copied bases, by a loop over all pairs of places."""
    longest = 0
    copied: set[int] = set()
    for _, bases in contigs:
        for text, is_reverse in ((sequence, False), (reverse(sequence), True)):
            for i in range(len(text)):
                for j in range(len(bases)):
                    length = common_length(text[i:], bases[j:])
                    longest = max(longest, length)
                    if length >= COPY_LENGTH:
                        places = range(i, i + length)
                        copied |= {len(text) - 1 - k if is_reverse else k for k in places}
    return longest if longest >= SEED else 0, len(copied)


def require_true(copy: Copy, sequence: str, contigs: list[tuple[str, str]]) -> None:
    """The stretch is where it is said to be."""
    own = sequence[copy.start : copy.start + copy.length]
    bases = dict(contigs)[copy.contig or ""]
    there = bases[copy.contig_start : copy.contig_start + copy.length]
    assert own == (there if copy.strand == "+" else reverse(there))


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[str], list[tuple[str, str]]]:
    """Sequences that are pasted together from pieces of contigs, reversed pieces, and noise."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    letters = draw(st.sampled_from(["ACGT", "AC", "ACGTN", "A"]))
    contigs = [
        (f"c{i}", "".join(rng.choices(letters, k=rng.randint(0, 90))))
        for i in range(rng.randint(1, 3))
    ]
    sequences = []
    for _ in range(rng.randint(0, 3)):
        text = ""
        for _ in range(rng.randint(0, 3)):
            bases = rng.choice(contigs)[1]
            i, j = sorted(rng.choices(range(len(bases) + 1), k=2))
            text += rng.choice([bases[i:j], reverse(bases[i:j])])
            text += "".join(rng.choices("ACGT", k=rng.randint(0, 5)))
        sequences.append(text)
    return sequences, contigs


@settings(max_examples=40)
@given(cases(), st.sampled_from([1, 7, 64, 1000]), st.sampled_from([16, 50, 1000]))
def test_stretches_are_those_of_a_plain_loop(
    case: tuple[list[str], list[tuple[str, str]]], piece: int, block: int
) -> None:
    """Whatever the pieces in which the reference comes and the blocks in which it is searched."""
    sequences, contigs = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copies, "_BLOCK_BASES", block)
        patch.setattr(copies, "_PAIRS_AT_ONCE", 50)
        found = find_copies(
            sequences,
            [
                (name, [bases[i : i + piece] for i in range(0, len(bases), piece)])
                for name, bases in contigs
            ],
        )
    assert len(found) == len(sequences)
    for sequence, copy in zip(sequences, found, strict=True):
        assert (copy.length, copy.copied) == plain(sequence, contigs)
        if copy.length:
            require_true(copy, sequence, contigs)


def test_a_circular_contig_is_read_over_its_origin(tmp_path: Path) -> None:
    rng = random.Random(3)
    bases = "".join(rng.choices("ACGT", k=300))
    fasta = tmp_path / "g.fa"
    fasta.write_text(f">linear\n{reverse(bases)[::-1]}\n>circle\n{bases}\n")
    over = bases[-40:] + bases[:50]
    reference = Reference(fasta, circular_contigs=["circle"])
    (found,) = find_copies([over], read_contigs(reference, len(over)))
    assert found == Copy(90, 0, "circle", 260, "+", 90)
    (found,) = find_copies([over], read_contigs(Reference(fasta), len(over)))
    assert found == Copy(50, 40, "circle", 0, "+", 90)
    (found,) = find_copies([reverse(over)], read_contigs(reference, len(over)))
    assert found == Copy(90, 0, "circle", 260, "-", 90)
