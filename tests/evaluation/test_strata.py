"""The strata of alleles: text, allele type, and trinucleotide from the FASTA."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo2_tasks.config import resolve
from evo2_tasks.errors import InputError
from evo2_tasks.evaluation import strata
from evo2_tasks.evaluation.strata import StratumReader, find_trinucleotides
from evo2_tasks.genome.reference import Reference

LINEAR = "GTACGANTCR"
CIRCLE = "CATTGG"
OPPOSITE = {"A": "T", "C": "G", "G": "C", "T": "A"}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    fasta = tmp_path_factory.mktemp("genome") / "g.fa"
    fasta.write_text(f">linear\n{LINEAR}\n>circle\n{CIRCLE}\n")
    return Reference(fasta, circular_contigs=["circle"])


def make_snvs(*rows: tuple[str | None, int | None, str | None, str | None]) -> pa.Table:
    names = ["reference_contig", "pos", "ref", "alt"]
    types = [pa.dictionary(pa.int32(), pa.string()), pa.int64(), pa.string(), pa.string()]
    columns = [
        pa.array(values, kind) for values, kind in zip(zip(*rows, strict=True), types, strict=True)
    ]
    return pa.table(columns, names=names)


def expect_trinucleotide(bases: str, pos: int, alt: str, *, circular: bool) -> str | None:
    """The slow way: write out the bases around the SNV, and turn them if it is of A or G."""
    if circular:
        bases = bases * 3
        pos += len(bases) // 3
    around = [bases[i] if 0 <= i < len(bases) else "-" for i in range(pos - 2, pos + 1)]
    if any(base not in "ACGT" for base in around) or around[1] == alt:
        return None
    if around[1] in "AG":
        around, alt = [OPPOSITE[base] for base in reversed(around)], OPPOSITE[alt]
    return f"{around[0]}[{around[1]}>{alt}]{around[2]}"


@pytest.mark.parametrize("contig", ["linear", "circle"])
def test_trinucleotide_of_every_snv_of_a_contig(reference: Reference, contig: str) -> None:
    bases = {"linear": LINEAR, "circle": CIRCLE}[contig]
    snvs = [(pos, alt) for pos in range(1, len(bases) + 1) for alt in "ACGT"]
    rows = make_snvs(*((contig, pos, bases[pos - 1], alt) for pos, alt in snvs))
    expected = [
        expect_trinucleotide(bases, pos, alt, circular=contig == "circle") for pos, alt in snvs
    ]
    assert find_trinucleotides(rows, reference, Path("t")) == expected
    assert {one is None for one in expected} == {True, False}


def test_trinucleotide_is_read_around_the_origin_of_a_circle(reference: Reference) -> None:
    rows = make_snvs(("circle", 1, "C", "T"), ("circle", 6, "G", "A"), ("linear", 1, "G", "A"))
    # The last base of the circle is G, the first is C: G[C>T]A, and G-G-C read backwards.
    assert find_trinucleotides(rows, reference, Path("t")) == ["G[C>T]A", "G[C>T]C", None]


def test_trinucleotide_does_not_depend_on_the_spelling_of_an_snv(reference: Reference) -> None:
    rows = make_snvs(
        ("linear", 4, "C", "T"), ("linear", 2, "TACG", "TATG"), ("linear", 4, "CG", "TG"),
        ("circle", 6, "GC", "AC"),  # REF goes on at the first base of the circle
        ("circle", 6, "GC", "GT"),
    )  # fmt: skip
    assert find_trinucleotides(rows, reference, Path("t")) == [
        *(["A[C>T]G"] * 3),
        "G[C>T]C",
        "G[C>T]A",
    ]


def test_only_snvs_have_a_trinucleotide(reference: Reference) -> None:
    rows = make_snvs(
        ("linear", 3, "A", "AT"), ("linear", 3, "AC", "A"), ("linear", 3, "AC", "GT"),
        ("linear", 3, "A", "<DEL>"), ("linear", 3, "A", "N"), ("linear", 3, "A", "*"),
        ("linear", 3, "A", "A"), (None, 3, "A", "C"), ("linear", None, "A", "C"),
        ("linear", 3, None, None),
    )  # fmt: skip
    assert find_trinucleotides(rows, reference, Path("t")) == [None] * rows.num_rows


def write(path: Path, **columns: pa.Array) -> pa.Table:
    table = pa.table(columns)
    pq.write_table(table, path)
    return table


def find(path: Path, table: pa.Table, *by: str, reference: Reference | None = None) -> list[object]:
    reader = StratumReader(by, reference, path)
    reader.require_columns()
    found = reader.find(table.select(reader.columns))
    return [None if number < 0 else found.names[number] for number in found.numbers]


def test_strata_of_text(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    table = write(
        path,
        MC=pa.array(["SO:0001583|missense_variant", "", ".", None, "missense_variant"]),
        gene=pa.array(["G", "G", None, "H", "G"], pa.dictionary(pa.int32(), pa.string())),
        csq=pa.array([["a", "b"], ["a"], [], None, ["a", "b"]], pa.list_(pa.string())),
        common=pa.array([True, False, None, True, True]),
        exon=pa.array([3, 3, None, 4, 3]),
    )
    missense = "missense_variant"
    assert find(path, table, "MC") == [missense, None, None, None, missense]
    assert find(path, table, "gene") == ["G", "G", None, "H", "G"]
    assert find(path, table, "csq") == ["a,b", "a", None, None, "a,b"]
    assert find(path, table, "common") == ["true", "false", None, "true", "true"]
    assert find(path, table, "exon") == ["3", "3", None, "4", "3"]
    assert find(path, table, "gene", "csq") == ["G | a,b", "G | a", None, None, "G | a,b"]
    assert find(path, table) == [None] * 5


def test_strata_of_types(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    table = write(
        path,
        ref=pa.array(["A", "AC", "A", "AC", "TAC", "A"]),
        alt=pa.array(["C", "GT", "AT", "A", "TGC", "<DEL>"]),
        gene=pa.array(["G"] * 5 + [None]),
    )
    types = ["snv", "mnv", "insertion", "deletion", "snv", "deletion"]
    assert find(path, table, "type") == types
    assert find(path, table, "gene", "type") == [*(f"G | {one}" for one in types[:5]), None]


TEXT = st.text("a|\\ ", min_size=1, max_size=4)


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=8))
def test_two_values_never_look_like_two_others(pairs: list[tuple[str, str]]) -> None:
    one, other = zip(*pairs, strict=True)
    rows = pa.table({"one": pa.array(one), "other": pa.array(other)})
    found = StratumReader(("one", "other"), None, Path("t")).find(rows)
    assert len(found.names) == len(set(found.names)) == len(set(pairs))
    names = [found.names[number] for number in found.numbers]
    assert len({*zip(names, pairs, strict=True)}) == len(set(pairs))


def test_the_name_of_a_long_value_is_short_and_its_own() -> None:
    values = ["A" * 200, "A" * 201, "A" * 202, "A" * 100_000]
    found = StratumReader(("alt",), None, Path("t")).find(pa.table({"alt": values * 2}))
    assert found.numbers.tolist() == [0, 1, 2, 3] * 2
    assert len({*found.names}) == 4
    assert found.names[0] == values[0]
    assert max(map(len, found.names)) <= 200


def test_the_config_has_the_same_words() -> None:
    assert (resolve.ALLELE_TYPE, resolve.TRINUCLEOTIDE) == (strata.TYPE, strata.TRINUCLEOTIDE)


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("GENE", "has no column 'GENE', which `by` of the calibration names"),
        ("AF", "column 'AF' has the type double, but `by` of the calibration needs groups"),
        ("AFS", "column 'AFS' has the type list<element: double>, but `by`"),
    ],
)
def test_a_column_that_gives_no_strata(tmp_path: Path, by: str, message: str) -> None:
    path = tmp_path / "t.parquet"
    write(path, AF=pa.array([0.1]), AFS=pa.array([[0.1]], pa.list_(pa.float64())))
    with pytest.raises(InputError, match=r"t\.parquet") as error:
        StratumReader((by,), None, path).require_columns()
    assert message in str(error.value)
    assert "\n" not in str(error.value)
