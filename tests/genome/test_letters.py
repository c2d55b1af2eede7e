"""A reference that is RNA or protein stops the run: its scores would be garbage."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo2_tasks.errors import InputError
from evo2_tasks.genome.fasta import read_fasta
from evo2_tasks.genome.letters import require_dna


def check(tmp_path: Path, text: str, *used: str) -> None:
    fasta = tmp_path / "g.fa"
    fasta.write_text(text)
    require_dna(fasta, list(read_fasta(fasta)), used)


@pytest.mark.parametrize("bases", ["ACGUUACG", "acguuacg", "UUT", "ACGUNNNN", "NNNU"])
def test_a_used_contig_with_more_u_than_t_is_one_line(tmp_path: Path, bases: str) -> None:
    dna = ">dna\n" + "ACGT" * 20 + "\n"
    with pytest.raises(InputError, match=r"contig 'rna' is RNA: it has \d U and \d T"):
        check(tmp_path, f"{dna}>rna\n{bases}\n", "dna", "rna")
    check(tmp_path, f"{dna}>rna\n{bases}\n", "dna")


@pytest.mark.parametrize("bases", ["ACGT", "ACGTU", "NNNN", "ACGTNNNNNNNN", "ACRYACRT", "", "UT"])
def test_dna_is_accepted(tmp_path: Path, bases: str) -> None:
    check(tmp_path, f">c\n{bases}\n", "c")


@pytest.mark.parametrize("bases", ["MKVLAAGIV", "EFILPQ", "RYSWACG", "ACGEFIL----"])
def test_a_reference_that_is_no_dna_is_one_line(tmp_path: Path, bases: str) -> None:
    with pytest.raises(InputError, match=r"only \d+% of its letters other than N are A, C, G or T"):
        check(tmp_path, f">c\n{bases}\n")


@given(st.lists(st.text("ACGTUNRYacgtunry-", max_size=200), min_size=1, max_size=3))
def test_letters_are_counted_as_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, sequences: list[str]
) -> None:
    fasta = tmp_path_factory.mktemp("letters") / "g.fa"
    fasta.write_text("".join(f">c{i}\n{bases}\n" for i, bases in enumerate(sequences)))
    for bases, found in zip(sequences, read_fasta(fasta), strict=True):
        upper = bases.upper()
        letters = found.letters
        assert letters.acgt == sum(letter in "ACGT" for letter in upper)
        assert (letters.n, letters.t, letters.u) == tuple(map(upper.count, "NTU"))
        assert letters.acgt + letters.n + letters.u + letters.other == len(bases)
