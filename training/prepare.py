"""Make the corpus for training/train.py: bases, and which of them are held out.

    python training/prepare.py genomes/*.fa.gz --circular mito_mammals bacteria --out build/corpus

The group of a sequence is the name of its file without endings. The validation measures the model
on sequences that it has not seen, so no close relative of a validation genome is used for training:

- Two sequences are linked if they share 5 % of the 21-mers of the smaller one, on either strand.
  Linked sequences, within and across files, form a cluster. Human and chimpanzee mitochondria share
  20 %, human and gibbon 5.5 %.
- Whole clusters are drawn with a fixed seed until 4 % of the sequences of a group are held out. A
  cluster with more than 5 % of a group stays in training.
- In a group of fewer than ten sequences, for example bacterial chromosomes, the last 4 % of each
  sequence are held out instead, and the sequences are treated as linear.

The program writes two files. ``bases.npy`` has all sequences one after the other as upper-case
ASCII. ``sequences.tsv`` has a row for each sequence: ``start`` is the 0-based offset in
``bases.npy``, ``length`` is in bases, ``split`` is training, validation or both,
``validation_start`` is the 0-based position in the sequence from which on it is held out (if
``split`` is both), and ``sha512t24u`` is the GA4GH digest of the upper-case bases.
"""

import argparse
import base64
import csv
import hashlib
import sys
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pysam

from evo2_tasks.errors import InputError

K = 21
SKETCH = 16  # one in 16 k-mers is compared, chosen by hash
RELATED = 0.05  # smallest share of the smaller sketch by which two sequences are linked
HELD_OUT = 0.04  # share of the sequences of a group, or of each sequence in a small group
LARGEST = 0.05  # a cluster with a larger share of the sequences of a group stays in training
FEW = 10  # sequences; in a smaller group, the end of each sequence is held out
SEED = 20_260_101
FASTA_ENDINGS = {".fa", ".fasta", ".fna", ".fas", ".gz", ".bgz"}

Bases = npt.NDArray[np.uint8]
Sketch = npt.NDArray[np.uint64]


@dataclass
class CorpusSequence:
    """A row of ``sequences.tsv``; the docstring of the module describes the columns."""

    name: str
    group: str
    start: int
    length: int
    circular: bool
    cluster: int
    split: str
    validation_start: int | None
    sha512t24u: str


def read_genomes(
    paths: Iterable[Path], circular: Collection[str]
) -> tuple[list[CorpusSequence], list[Bases]]:
    """Read FASTA files, compressed or not, and mark all sequences for training.

    Raises:
        InputError: A file is missing or empty, or two sequences have the same name.
    """
    sequences: list[CorpusSequence] = []
    all_bases: list[Bases] = []
    names: set[str] = set()
    start = 0
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path}: there is no such file; expected a FASTA file.")
        group = group_of(path)
        num_before = len(sequences)
        with pysam.FastxFile(str(path)) as file:
            for entry in file:
                name, text = entry.name or "", (entry.sequence or "").upper()
                if name in names:
                    raise InputError(
                        f"{path}: {name} occurs twice; give each sequence its own name."
                    )
                names.add(name)
                digest = sha512t24u(text)
                sequences.append(
                    CorpusSequence(
                        name=name,
                        group=group,
                        start=start,
                        length=len(text),
                        circular=group in circular,
                        cluster=len(sequences),
                        split="training",
                        validation_start=None,
                        sha512t24u=digest,
                    )
                )
                all_bases.append(np.frombuffer(text.encode("ascii"), dtype=np.uint8))
                start += len(text)
        if len(sequences) == num_before:
            raise InputError(f"{path}: no sequences; expected a FASTA file.")
    unknown = sorted(set(circular) - {sequence.group for sequence in sequences})
    if unknown:
        raise InputError(
            f"--circular: no file for {', '.join(unknown)}; groups are file names without endings."
        )
    return sequences, all_bases


def group_of(path: Path) -> str:
    """The name of a file without the endings of FASTA and compression."""
    while path.suffix.lower() in FASTA_ENDINGS:
        path = path.with_suffix("")
    return path.name


def sha512t24u(text: str) -> str:
    """The digest by which GA4GH refget names a sequence, without its prefix."""
    return base64.urlsafe_b64encode(hashlib.sha512(text.encode("ascii")).digest()[:24]).decode()


def sketch(bases: Bases) -> Sketch:
    """One in 16 of the distinct canonical 21-mers of A, C, G and T, as sorted hashes.

    The choice depends on the k-mer only, so two sketches share k-mers as the sequences do.
    """
    num_kmers = len(bases) - K + 1
    if num_kmers < 1:
        return np.empty(0, dtype=np.uint64)
    codes = np.full(256, 4, dtype=np.uint64)
    codes[np.frombuffer(b"ACGT", dtype=np.uint8)] = np.arange(4)
    code = codes[bases]
    is_base = code < 4
    forward = np.zeros(num_kmers, dtype=np.uint64)
    reverse = np.zeros(num_kmers, dtype=np.uint64)
    for i in range(K):
        part = code[i : i + num_kmers]
        forward |= (part & np.uint64(3)) << np.uint64(2 * (K - 1 - i))
        reverse |= (~part & np.uint64(3)) << np.uint64(2 * i)
    num_others = np.concatenate([[0], np.cumsum(~is_base)])
    is_kmer = num_others[K:] == num_others[:-K]
    hashes = np.minimum(forward, reverse)[is_kmer]
    # The finaliser of MurmurHash3, a permutation of 64-bit numbers.
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        hashes = (hashes ^ (hashes >> np.uint64(33))) * np.uint64(factor)
    hashes ^= hashes >> np.uint64(33)
    return np.unique(hashes[hashes % np.uint64(SKETCH) == 0])


def find_clusters(sketches: Sequence[Sketch]) -> list[int]:
    """Single linkage of related sketches: for each sketch, the lowest index of its cluster."""
    sizes = np.array([len(one) for one in sketches])
    owners = np.repeat(np.arange(len(sketches)), sizes)
    hashes = np.concatenate(sketches)
    order = np.argsort(hashes, kind="stable")
    hashes, owners = hashes[order], owners[order]

    cluster = list(range(len(sketches)))

    def root(index: int) -> int:
        while cluster[index] != index:
            cluster[index] = index = cluster[cluster[index]]
        return index

    for index, one in enumerate(sketches):
        left = np.searchsorted(hashes, one, side="left")
        right = np.searchsorted(hashes, one, side="right")
        sharing = [owners[i:j] for i, j in zip(left, right, strict=True) if j - i > 1]
        if not sharing:
            continue
        num_shared = np.bincount(np.concatenate(sharing), minlength=len(sketches))
        smaller = np.minimum(sizes, sizes[index])
        related = (num_shared > 0) & (num_shared >= RELATED * smaller)
        for other in np.flatnonzero(related[:index]):
            first, second = sorted((root(index), root(int(other))))
            cluster[second] = first
    return [root(index) for index in range(len(sketches))]


def hold_out(sequences: Sequence[CorpusSequence], seed: int) -> None:
    """Mark the held-out sequences; see the docstring of the module."""
    group_sizes = Counter(sequence.group for sequence in sequences)
    few = {group for group, size in group_sizes.items() if size < FEW}
    clusters: dict[int, list[CorpusSequence]] = defaultdict(list)
    for sequence in sequences:
        clusters[sequence.cluster].append(sequence)
    num_held_out: Counter[str] = Counter()
    rng = np.random.default_rng(seed)
    for group in sorted(group_sizes.keys() - few):
        of_group = [c for c, members in clusters.items() if any(m.group == group for m in members)]
        for drawn in rng.permutation(of_group):
            members = clusters[int(drawn)]
            if num_held_out[group] >= HELD_OUT * group_sizes[group]:
                break
            if members[0].split == "validation":
                continue
            counts = Counter(member.group for member in members)
            if any(
                other in few or num_held_out[other] + num > max(1, LARGEST * group_sizes[other])
                for other, num in counts.items()
            ):
                continue
            num_held_out.update(counts)
            for member in members:
                member.split = "validation"
    for sequence in sequences:
        if sequence.group in few:
            sequence.split = "both"
            sequence.circular = False
            sequence.validation_start = sequence.length - round(HELD_OUT * sequence.length)


def write_corpus(
    folder: Path, sequences: Sequence[CorpusSequence], all_bases: Sequence[Bases]
) -> None:
    """Write the two files of a corpus."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "bases.npy", np.concatenate(all_bases))
    columns = [field.name for field in fields(CorpusSequence)]
    with (folder / "sequences.tsv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(columns)
        for sequence in sequences:
            values = [getattr(sequence, column) for column in columns]
            writer.writerow([int(value) if isinstance(value, bool) else value for value in values])


def summary(sequences: Sequence[CorpusSequence]) -> str:
    """A line for each group: its size, and how much of it is held out."""
    lines = [f"{'group':24} {'sequences':>9} {'bases':>12} {'held out':>9} {'bases':>11} clusters"]
    for group in dict.fromkeys(sequence.group for sequence in sequences):
        members = [sequence for sequence in sequences if sequence.group == group]
        held_out = [sequence for sequence in members if sequence.split == "validation"]
        num_bases = sum(sequence.length - (sequence.validation_start or 0) for sequence in held_out)
        num_bases += sum(
            sequence.length - sequence.validation_start
            for sequence in members
            if sequence.validation_start is not None
        )
        shown = "stretches" if members[0].split == "both" else str(len(held_out))
        sizes = Counter(sequence.cluster for sequence in members)
        largest = max(sizes.values())
        lines.append(
            f"{group:24} {len(members):9,} {sum(s.length for s in members):12,} {shown:>9} "
            f"{num_bases:11,} {len(sizes):,}, the largest of {largest:,}"
        )
    return "\n".join(lines)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Make a training corpus from FASTA files.")
    parser.add_argument("genomes", type=Path, nargs="+", help="FASTA files, one for each group")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--circular", nargs="*", default=[], metavar="GROUP")
    parser.add_argument("--without", nargs="*", default=[], metavar="GROUP")
    parser.add_argument("--seed", type=int, default=SEED, help="seed of the draw for validation")
    arguments = parser.parse_args()
    try:
        paths = [path for path in arguments.genomes if group_of(path) not in arguments.without]
        sequences, all_bases = read_genomes(paths, arguments.circular)
    except InputError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    clusters = find_clusters([sketch(bases) for bases in all_bases])
    for sequence, cluster in zip(sequences, clusters, strict=True):
        sequence.cluster = cluster
    hold_out(sequences, arguments.seed)
    write_corpus(arguments.out, sequences, all_bases)
    print(summary(sequences))


if __name__ == "__main__":
    main()
