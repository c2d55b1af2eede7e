"""Digests of alleles: two spellings have the same digest exactly if they are the same change."""

import random
from pathlib import Path

import numpy as np
import pyarrow as pa

from evo2_tasks.evaluation.training_alleles import digest_alleles, find_known, merge_digests
from evo2_tasks.genome.reference import Reference
from tests.project import write_genome

SEQUENCE = "".join(random.Random(3).choices("AC", k=60))


def make_rows(alleles: list[tuple[int, str, str]], flags: list[str]) -> pa.Table:
    pos, ref, alt = zip(*alleles, strict=True)
    return pa.table(
        {
            "reference_contig": ["c"] * len(pos),
            "pos": pos,
            "ref": ref,
            "alt": alt,
            "flags": [flags] * len(pos),
        }
    )


def draw_alleles() -> list[tuple[int, str, str]]:
    """Alleles of a sequence with many repeats, trimmed and padded, each at a place of its own."""
    rng = random.Random(7)
    alleles = []
    while len(alleles) < 3_000:
        start, length = rng.randrange(55), rng.randrange(1, 5)
        ref = SEQUENCE[start : start + length]
        alt = "".join(rng.choices("AC", k=rng.randrange(1, 5)))
        if ref != alt:
            alleles.append((start + 1, ref, alt))
    return alleles


def test_equal_digests_are_equal_haplotypes(tmp_path: Path) -> None:
    """The oracle: the sequence with the change."""
    reference = Reference(write_genome(tmp_path / "g.fa", {"c": SEQUENCE}))
    alleles = draw_alleles()
    digests = digest_alleles(make_rows(alleles, ["moved"]), reference, "key").tolist()
    changed = [SEQUENCE[: pos - 1] + alt + SEQUENCE[pos - 1 + len(ref) :]
               for pos, ref, alt in alleles]  # fmt: skip
    by_haplotype: dict[str, set[int]] = {}
    for haplotype, digest in zip(changed, digests, strict=True):
        by_haplotype.setdefault(haplotype, set()).add(digest)
    assert all(len(found) == 1 for found in by_haplotype.values())
    assert len({*digests}) == len(by_haplotype) < len(alleles) / 2


def test_only_indels_need_the_reference_to_be_recognised(tmp_path: Path) -> None:
    reference = Reference(write_genome(tmp_path / "g.fa", {"c": SEQUENCE}))
    same = [one for one in draw_alleles() if len(one[1]) == len(one[2])]
    found = [digest_alleles(make_rows(same, flags), reference, "key") for flags in ([], ["moved"])]
    assert np.array_equal(*found)


def test_another_key_gives_other_digests_and_known_ones_are_found(tmp_path: Path) -> None:
    reference = Reference(write_genome(tmp_path / "g.fa", {"c": SEQUENCE}))
    rows = make_rows(draw_alleles(), ["moved"])
    one, other = (digest_alleles(rows, reference, key) for key in ("key", "another"))
    known = merge_digests([one[:100], one[50:150]])
    assert np.array_equal(find_known(one, known), np.isin(one, one[:150]))
    assert not find_known(other, known).any()
    assert not find_known(one, merge_digests([])).any()
