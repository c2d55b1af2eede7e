"""The corpus: what is linked, what is held out, against sets of 21-mers written out."""

import random
from pathlib import Path

import numpy as np
import pytest

from evo2_tasks.errors import InputError
from training import prepare
from training.train import read_corpus

COMPLEMENT = str.maketrans("ACGT", "TGCA")


def draw(seed: int, length: int) -> str:
    return "".join(random.Random(seed).choices("ACGT", k=length))


def mutate(bases: str, share: float, seed: int) -> str:
    generator = random.Random(seed)
    return "".join(
        generator.choice("ACGT") if generator.random() < share else base for base in bases
    )


def canonical_kmers(bases: str) -> set[str]:
    kmers = {bases[i : i + 21] for i in range(len(bases) - 20)}
    return {
        min(kmer, kmer.translate(COMPLEMENT)[::-1]) for kmer in kmers if set(kmer) <= set("ACGT")
    }


def write_fasta(path: Path, sequences: dict[str, str]) -> Path:
    path.write_text("".join(f">{name}\n{bases}\n" for name, bases in sequences.items()))
    return path


def as_array(bases: str) -> prepare.Bases:
    return np.frombuffer(bases.encode(), dtype=np.uint8)


def test_a_sketch_estimates_the_share_of_common_kmers() -> None:
    first = draw(1, 60_000)
    other = mutate(first, 0.02, 2).translate(COMPLEMENT)[::-1]
    exact = canonical_kmers(first), canonical_kmers(other)
    sketches = prepare.sketch(as_array(first)), prepare.sketch(as_array(other))
    share = len(exact[0] & exact[1]) / min(map(len, exact))
    estimate = len(np.intersect1d(*sketches)) / min(map(len, sketches))
    assert 0.3 < share < 0.9
    assert estimate == pytest.approx(share, abs=0.03)
    assert len(sketches[0]) == pytest.approx(len(exact[0]) / 16, rel=0.05)


def test_relatives_are_one_cluster_and_strangers_are_not() -> None:
    first, second = draw(1, 20_000), draw(2, 20_000)
    family = [first, mutate(first, 0.05, 3), mutate(first, 0.05, 4).translate(COMPLEMENT)[::-1]]
    bases = [second, *family, draw(5, 20_000), "ACGT"]
    assert prepare.find_clusters([prepare.sketch(as_array(one)) for one in bases]) == [
        *[0, 1, 1, 1],
        *[4, 5],
    ]


def test_no_relative_of_a_held_out_sequence_is_trained_on(tmp_path: Path) -> None:
    families = {}
    for family in range(60):
        founder = draw(family, 3000)
        for member in range(1 + family % 3):
            families[f"f{family}.{member}"] = mutate(founder, 0.02 * (member > 0), member)
    many = write_fasta(tmp_path / "many.fa", families)
    few = write_fasta(tmp_path / "few.fa", {"long": draw(99, 10_000)})
    sequences, bases = prepare.read_genomes([many, few], {"many"})
    for sequence, cluster in zip(
        sequences, prepare.find_clusters([prepare.sketch(one) for one in bases]), strict=True
    ):
        sequence.cluster = cluster
    prepare.hold_out(sequences, seed=1)
    by_family: dict[str, set[str]] = {}
    for sequence in sequences:
        if sequence.group == "many":
            by_family.setdefault(sequence.name.partition(".")[0], set()).add(sequence.split)
    assert all(len(splits) == 1 for splits in by_family.values())
    held_out = [one for one in sequences if one.split == "validation"]
    assert 0.04 * len(families) <= len(held_out) <= 0.09 * len(families)
    prepare.write_corpus(tmp_path / "corpus", sequences, bases)

    corpus = read_corpus(tmp_path / "corpus")
    texts = families | {"long": draw(99, 10_000)}
    read = {
        split: [
            corpus.bases[one.start : one.start + one.length].tobytes().decode()
            for stretches in of_split.values()
            for one in stretches
        ]
        for split, of_split in (("training", corpus.training), ("validation", corpus.validation))
    }
    assert texts["long"][:9600] in read["training"]
    assert texts["long"][9600:] in read["validation"]
    names = {one.name for one in held_out}
    assert set(read["validation"][:-1]) == {texts[name] for name in names}
    assert not set(read["validation"]) & set(read["training"])


@pytest.mark.parametrize(
    ("text", "circular", "said"),
    [
        (">a\nACGT\n>a\nACGT\n", [], "a occurs twice"),
        ("", [], "no sequences"),
        (">a\nACGT\n", ["other"], "no file for other"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, text: str, circular: list[str], said: str) -> None:
    (tmp_path / "g.fa").write_text(text)
    with pytest.raises(InputError, match=said):
        prepare.read_genomes([tmp_path / "g.fa"], circular)
