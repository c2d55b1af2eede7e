"""Genotypes: the rules of VCF 4.4 and 4.5 case by case, against pysam, and as a stream."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pysam
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pysam import bcftools

from evo2_tasks.errors import InputError
from evo2_tasks.genome.genotypes import (
    NO_SET,
    UNNAMED_SET,
    UNPHASED,
    Genotypes,
    parse_call,
    read_genotypes,
)
from evo2_tasks.genome.variants import open_variants
from tests.genome.plain_haplotypes import read_call

FIXED = "c\t{pos}\t.\tA\t{alt}\t.\t.\t.\t"
HEADER = """##fileformat=VCFv{version}
##contig=<ID=c,length=1000>
##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">
##FORMAT=<ID=DP,Number=1,Type=Integer,Description="Depth">
##FORMAT=<ID=PS,Number=1,Type=Integer,Description="Phase set">
##FORMAT=<ID=PSL,Number=.,Type=String,Description="Phase sets">
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t"""


def read(keys: str, *samples: str, alt: str = "C,G") -> Genotypes:
    line = FIXED.format(pos=1, alt=alt) + "\t".join([keys, *samples])
    names = [f"S{i}" for i in range(len(samples))]
    return read_genotypes([line.encode()], names, samples=None, source="a.vcf")


def entries(genotypes: Genotypes) -> list[tuple[int, int, int, bool]]:
    """Allele, haplotype, phase set and whether it is on every haplotype."""
    columns = genotypes.allele, genotypes.haplotype, genotypes.phase_set, genotypes.everywhere
    return list(zip(*(column.tolist() for column in columns), strict=True))


P, N, U = UNNAMED_SET, NO_SET, UNPHASED


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("0|1", [(1, 2, P, False)]),
        ("1|0", [(1, 1, P, False)]),
        ("1|2", [(1, 1, P, False), (2, 2, P, False)]),
        ("0/1", [(1, U, N, False)]),
        ("1/2", [(1, U, N, False), (2, U, N, False)]),
        ("1|1", [(1, 1, P, True), (1, 2, P, True)]),
        ("1/1", [(1, 1, N, True), (1, 2, N, True)]),
        # Half-calls: an omitted first mark is / if the call has any /.
        ("1|.", [(1, 1, P, False)]),
        (".|1", [(1, 2, P, False)]),
        ("./1", [(1, U, N, False)]),
        ("1/.", [(1, U, N, False)]),
        # Haploid calls have one haplotype, phased or not.
        ("1", [(1, 1, P, True)]),
        ("|1", [(1, 1, P, True)]),
        ("/1", [(1, 1, N, True)]),
        # The mark before each allele counts.
        ("/0|1", [(1, 2, P, False)]),
        ("|1/0", [(1, 1, P, False)]),
        ("/1|0", [(1, U, N, False)]),
        ("|0/1", [(1, U, N, False)]),
        ("1/0|1", [(1, 3, P, False), (1, U, N, False)]),
        ("0|1|1", [(1, 2, P, False), (1, 3, P, False)]),
        ("0/1/1", [(1, U, N, False)]),
        ("1|1|1|1", [(1, place, P, True) for place in (1, 2, 3, 4)]),
        ("0|0|0|0|0|2", [(2, 6, P, False)]),
        ("0|0", []),
        ("0/0", []),
        ("0", []),
    ],
)
def test_each_kind_of_call(call: str, expected: list[tuple[int, int, int, bool]]) -> None:
    found = read("GT", call)
    assert entries(found) == expected
    assert (found.counts.missing, found.counts.unreadable) == (0, 0)


@pytest.mark.parametrize("call", [".", "./.", ".|.", "", "./././."])
def test_a_missing_call_is_counted(call: str) -> None:
    found = read("GT", call)
    assert entries(found) == []
    assert found.counts.missing == 1


def test_what_is_counted() -> None:
    found = read("GT", "0|1", "./.", "1|.", "0/1", "x", "0|9", "0/.", "1/1")
    counts = found.counts
    assert (counts.calls, counts.missing, counts.partly_missing) == (8, 1, 2)
    assert (counts.unreadable, counts.unphased) == (2, 1)
    assert read("DP", "3", "4").counts.missing == 2


@pytest.mark.parametrize(
    "call", ["1|", "/", "a|1", "1||0", "-1|0", "0 1", "1,0", "0|1 ", "9999999999|0", "0|3"]
)
def test_a_call_that_is_none_leaves_no_row(call: str) -> None:
    found = read("GT", call, "0|1")
    assert found.counts.unreadable == 1
    assert found.sample.tolist() == [1]


def test_names_of_phase_sets() -> None:
    found = read("GT:DP:PS", "0|1:3:7", "0|1:3:.", "0|1", "0/1:3:7", "1/1:3:7", "1|1:3:8")
    names = [found.set_name(i) for i in range(len(found.record))]
    assert names == ["7", None, None, None, None, None, "8", "8"]
    assert [one.field for one in found.phase_sets] == ["PS", "PS"]


def test_each_allele_has_its_phase_set_in_a_list() -> None:
    found = read("GT:PSL", "1|2:a,b", "1|2:.,b", "1|1:a,b", "0|1:.", "/1|2:.,b", "1|2:a")
    rows = [
        (sample, allele, place, found.set_name(i))
        for i, (sample, allele, place) in enumerate(
            zip(found.sample.tolist(), found.allele.tolist(), found.haplotype.tolist(), strict=True)
        )
    ]
    assert rows == [
        (0, 1, 1, "a"),
        (0, 2, 2, "b"),
        (1, 1, U, None),  # named in no set of the list: not phased with any other allele
        (1, 2, 2, "b"),
        (2, 1, 1, "a"),
        (2, 1, 2, "b"),
        (3, 1, 2, None),  # the list is missing: the unnamed phase set
        (4, 1, U, None),
        (4, 2, 2, "b"),
        (5, 1, U, None),  # a list that does not fit the call
        (5, 2, U, None),
    ]
    assert found.phase_set.tolist()[6] == UNNAMED_SET


def test_ps_and_psl_of_one_name_are_two_sets() -> None:
    lines = [
        FIXED.format(pos=1, alt="C") + "GT:PS\t0|1:7",
        FIXED.format(pos=2, alt="C") + "GT:PSL\t0|1:.,7",
        FIXED.format(pos=3, alt="C") + "GT:PS:PSL\t0|1:7:.,7",
    ]
    found = read_genotypes([line.encode() for line in lines], ["S"], samples=None, source="a.vcf")
    assert found.phase_set.tolist() == [1, 2, 2]
    assert [one.field for one in found.phase_sets] == ["PS", "PSL"]


def test_gt_may_be_any_field_and_fields_at_the_end_may_be_left_out() -> None:
    assert entries(read("DP:GT:PS", "3:0|1:4", "3:1|0", "3")) == [
        (1, 2, 1, False),
        (1, 1, P, False),
    ]


@given(
    st.lists(
        st.tuples(st.sampled_from(["/", "|"]), st.sampled_from([".", "0", "1", "2"])),
        min_size=1,
        max_size=5,
    ),
    st.booleans(),
    st.data(),
)
def test_agrees_with_the_rules_written_out(tokens, is_first_left_out, data: st.DataObject) -> None:
    text = "".join(mark + number for mark, number in tokens)
    text = text[1:] if is_first_left_out else text
    ps = data.draw(st.sampled_from(["", ".", "7"]))
    names = [data.draw(st.sampled_from([".", "a", "b"])) for _ in tokens]
    psl = data.draw(st.sampled_from(["", ",".join(names)]))
    found = read("GT:PS:PSL", f"{text}:{ps}:{psl}")
    expected = [
        (
            entry.key[1],
            entry.place or UNPHASED,
            entry.everywhere,
            entry.phase_set if entry.phase_set and entry.phase_set[0] else None,
        )
        for entry in read_call(text, ps, psl, 0)
    ]
    rows = [
        (
            allele,
            place,
            everywhere,
            tuple(found.phase_sets[number - 1]) if number > UNNAMED_SET else None,
        )
        for allele, place, number, everywhere in entries(found)
    ]
    assert sorted(rows, key=repr) == sorted(expected, key=repr)


def write(path: Path, rng: random.Random, names: list[str], version: str) -> list[list[str]]:
    """A VCF with random diploid and haploid calls, and its calls."""
    calls = ["0|1", "1|0", "1/1", "0/1", "./.", "1|.", ".", "1", "0|0", "2|1", "1|1"]
    table = []
    with path.open("w") as vcf:
        vcf.write(HEADER.format(version=version) + "\t".join(names) + "\n")
        for pos in range(1, 60):
            row = [rng.choice(calls) for _ in names]
            vcf.write(FIXED.format(pos=pos, alt="C,G") + "GT:PS\t")
            vcf.write("\t".join(f"{call}:{rng.choice(['.', 5])}" for call in row) + "\n")
            table.append(row)
    return table


def to_tuples(genotypes: Genotypes) -> Iterator[tuple[object, ...]]:
    for i in range(len(genotypes.record)):
        yield (
            genotypes.samples[genotypes.sample[i]],
            int(genotypes.record[i]),
            int(genotypes.allele[i]),
            int(genotypes.haplotype[i]),
            genotypes.set_name(i),
            bool(genotypes.everywhere[i]),
        )


def test_agrees_with_pysam(tmp_path: Path) -> None:
    path = tmp_path / "a.vcf"
    write(path, random.Random(1), ["B", "A", "C"], "4.2")
    found = {(s, r, a, h) for s, r, a, h, *_ in to_tuples(open_variants(path).read_genotypes(None))}
    expected = set()
    with pysam.VariantFile(str(path)) as file:
        for record, line in enumerate(file):
            for name, sample in line.samples.items():
                numbers = sample.allele_indices
                for place, allele in enumerate(numbers, start=1):
                    if not allele:
                        continue
                    on_all = set(numbers) == {allele}
                    phased = sample.phased or len(numbers) == 1
                    expected.add((name, record, allele, place if phased or on_all else UNPHASED))
    assert found == expected


@pytest.mark.parametrize("version", ["4.2", "4.4", "4.5"])
def test_a_bcf_and_regions_give_the_same(tmp_path: Path, version: str) -> None:
    path = tmp_path / "a.vcf"
    write(path, random.Random(2), ["B", "A"], version)
    bcf = str(tmp_path / "a.bcf")
    bcftools.view("-O", "b", "-o", bcf, str(path), catch_stdout=False)
    pysam.tabix_compress(str(path), str(path) + ".gz")
    pysam.tabix_index(str(path) + ".gz", preset="vcf")
    expected = list(to_tuples(open_variants(path).read_genotypes(None)))
    assert list(to_tuples(open_variants(bcf).read_genotypes(None))) == expected
    zipped = open_variants(tmp_path / "a.vcf.gz", regions=["c:10-30"])
    few = list(to_tuples(zipped.read_genotypes(None)))
    inside = [(s, r - 9, *rest) for s, r, *rest in expected if 9 <= r < 30]
    assert few == inside


def test_samples_are_chosen_by_name_and_sorted(tmp_path: Path) -> None:
    path = tmp_path / "a.vcf"
    write(path, random.Random(3), ["B", "A", "C"], "4.2")
    source = open_variants(path)
    every = list(to_tuples(source.read_genotypes(None)))
    found = source.read_genotypes(["C", "A"])
    assert found.samples == ("A", "C")
    assert list(to_tuples(found)) == [row for row in every if row[0] != "B"]


@pytest.mark.parametrize(
    ("names", "samples", "message"),
    [
        ([], None, "no samples"),
        (["NA1"], ["NA2"], r"no sample 'NA2'\. Did you mean NA1\?.*Its samples are: NA1"),
        (["A", "A"], None, "two samples have the name 'A'"),
        (["A", "A", "B"], ["A"], "two samples have the name 'A'"),
    ],
)
def test_samples_that_cannot_be_chosen(names, samples, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        read_genotypes([], names, samples=samples, source="a.vcf")
    assert "\n" not in str(error.value)


def test_of_two_samples_with_one_name_others_can_be_chosen() -> None:
    line = (FIXED.format(pos=1, alt="C") + "GT\t0|1\t0|1\t1|0").encode()
    found = read_genotypes([line], ["A", "A", "B"], samples=["B"], source="a.vcf")
    assert entries(found) == [(1, 1, P, False)]


def test_other_formats_have_no_genotypes(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("contig\tpos\tref\talt\nc\t1\tA\tC\n")
    with pytest.raises(InputError, match="VCF or BCF, but this is a table"):
        open_variants(tmp_path / "a.tsv").read_genotypes(None)


def test_lines_that_are_no_record_have_no_genotypes() -> None:
    good = FIXED.format(pos=1, alt="C") + "GT\t0|1"
    lines = ["c\t1\t.", "c\tx\t.\tA\tC\t.\t.\t.\tGT\t0|1", good + "\t0|1", good]
    found = read_genotypes([line.encode() for line in lines], ["S"], samples=None, source="a.vcf")
    assert found.record.tolist() == [3]


def test_memory_is_that_of_the_carried_alleles() -> None:
    """A thousand samples, of which few carry an allele: nothing is kept for the others."""
    num_samples, num_records = 1_000, 300
    fixed = FIXED.format(pos=1, alt="C").encode() + b"GT"
    plain = fixed + b"\t0|0" * num_samples
    carried = fixed + b"\t0|1" + b"\t0|0" * (num_samples - 1)

    def lines() -> Iterator[bytes]:
        for number in range(num_records):
            yield carried if number % 3 == 0 else plain

    names = [f"S{i}" for i in range(num_samples)]
    read_genotypes([plain], names, samples=None, source="a.vcf")
    tracemalloc.start()
    found = read_genotypes(lines(), names, samples=None, source="a.vcf")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found.record) == num_records // 3
    assert peak < 3_000 * num_samples
    assert found.counts.calls == num_samples * num_records


def test_arrays_have_narrow_types() -> None:
    found = read("GT", "0|1")
    assert found.record.dtype == found.phase_set.dtype == np.int32
    assert found.everywhere.dtype == np.bool_
    assert parse_call(b"0|1") is parse_call(b"0|1")
