"""The score store against a plain dictionary, and which parts of a key count."""

import json
import math
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo2_tasks.errors import InputError
from evo2_tasks.genome.window_pairs import Strand
from evo2_tasks.scoring.deltas import SCORE_NAMES
from evo2_tasks.table import store_files
from evo2_tasks.table.store import (
    Store,
    digest_signature,
    make_contig_key,
    store_signature,
)
from evo2_tasks.table.store_rows import (
    KEY_COLUMNS,
    keys_schema,
    make_keys,
    strand_columns,
)
from tests.table.build import signature, slow_disk
from tests.table.stores import (
    BOTH,
    CIRCULAR,
    LINEAR,
    REFGET,
    Key,
    Row,
    Scores,
    as_keys,
    as_table,
    find,
    make_row,
    make_scores,
    small_files,
)


def order(scores: Scores) -> list[tuple[float, float]]:
    """Scores in the order of the choice: -0.0 before 0.0, and null last."""
    return [(math.inf, 0.0) if one is None else (one, math.copysign(1, one)) for one in scores]


def is_stored(scores: Scores | None) -> bool:
    return (
        scores is not None
        and scores[0] is not None
        and all(one is None or math.isfinite(one) for one in scores)
    )


def expect(
    rows: Sequence[Row], key: Key | None, strands: Sequence[Strand], device: str | None
) -> tuple[Scores | None, ...]:
    """What a lookup must find, by the plain words of `Store.lookup`."""
    of_device: dict[str, dict[str, Scores]] = {}
    for row in rows:
        if row.key != key or device not in (None, row.device):
            continue
        for strand in strands:
            scores = getattr(row, strand)
            if is_stored(scores):
                best = of_device.setdefault(row.device, {})
                best[strand] = min(scores, best.get(strand, scores), key=order)
    complete = [name for name in sorted(of_device) if set(of_device[name]) == set(strands)]
    found = []
    for strand in strands:
        having = complete or [name for name in sorted(of_device) if strand in of_device[name]]
        found.append(of_device[having[0]][strand] if having else None)
    return tuple(found)


def same(one: object, other: object) -> bool:
    """Equal, and zeros of the same sign."""
    return repr(one) == repr(other)


numbers = st.one_of(
    st.sampled_from([0.0, -0.0, 1.5, -1.5, 5e-324]),
    st.floats(allow_nan=False, allow_infinity=False),
)
"""Few enough that rows share their first scores."""
alts = st.sampled_from(["", "A", "C", "AC", "ACGT" * 3_000, "ACGT" * 3_000 + "A"])
keys = st.builds(
    Key,
    st.sampled_from([0, 1, 2, 3, 2**40]),
    st.sampled_from([0, 1]),
    alts,
    st.sampled_from([-3, 0, 7]),
    st.sampled_from([64, 65]),
)
scores = st.tuples(numbers, *[st.none() | numbers] * (len(SCORE_NAMES) - 1)) | st.tuples(
    *[st.sampled_from([1.0, None, math.nan, math.inf, -math.inf])] * len(SCORE_NAMES)
)
rows = st.builds(
    Row,
    keys,
    st.none() | scores,
    st.none() | scores,
    st.sampled_from(["cpu AVX2", "cpu AVX512", "NVIDIA H100"]),
)


@slow_disk
@given(
    files=st.lists(st.tuples(st.lists(rows, max_size=12), st.booleans()), max_size=5),
    queries=st.lists(st.none() | keys, max_size=20),
    strands=st.sampled_from([BOTH, ("forward",), ("reverse",)]),
    device=st.sampled_from([None, "cpu AVX2", "NVIDIA H100", "unknown"]),
    row_group_rows=st.sampled_from([1, 2, 100]),
    file_rows=st.sampled_from([1, 3, 100]),
)
def test_a_lookup_finds_what_a_dictionary_finds(
    files: list[tuple[list[Row], bool]],
    queries: list[Key | None],
    strands: Sequence[Strand],
    device: str | None,
    row_group_rows: int,
    file_rows: int,
) -> None:
    with TemporaryDirectory() as folder, small_files(row_group_rows, file_rows):
        store = Store(Path(folder) / "store")
        written: dict[str, list[Row]] = {LINEAR: [], CIRCULAR: []}
        for of_file, circular in files:
            contig = CIRCULAR if circular else LINEAR
            num_stored = store.write(signature(), contig, as_table(of_file))
            kept = {
                (row.key, row.device)
                for row in of_file
                if is_stored(row.forward) or is_stored(row.reverse)
            }
            assert num_stored == len(kept)
            written[contig] += of_file
        asked = [*queries, *(row.key for of_file, _ in files for row in of_file)]
        for contig, of_contig in written.items():
            expected = [expect(of_contig, key, strands, device) for key in asked]
            found = find(store, asked, strands, contig=contig, device=device)
            assert same(found, expected)
        store.compact()
        for contig, of_contig in written.items():
            expected = [expect(of_contig, key, strands, device) for key in asked]
            found = find(store, asked, strands, contig=contig, device=device)
            assert same(found, expected)
            kept = {
                (row.key, row.device)
                for row in of_contig
                if is_stored(row.forward) or is_stored(row.reverse)
            }
            (described,) = store.describe().signatures or [None]
            num_rows = {one.contig: one.rows for one in described.contigs} if described else {}
            assert num_rows.get(contig, 0) == len(kept)
        before = sorted(Path(folder).rglob("*"))
        store.compact()
        assert sorted(Path(folder).rglob("*")) == before  # nothing is left to do


few_numbers = st.sampled_from([-2.0, -1.0, -0.0, 0.0, 1.0])
few_scores = st.tuples(
    few_numbers, st.none() | few_numbers, *[st.just(1.0)] * (len(SCORE_NAMES) - 2)
)


@slow_disk
@given(
    files=st.lists(
        st.lists(
            st.builds(
                Row,
                st.sampled_from([Key(), Key(edit_alt="T")]),
                st.none() | few_scores,
                st.none() | few_scores,
                st.sampled_from(["a", "b"]),
            ),
            max_size=8,
        ),
        min_size=2,
        max_size=4,
    ),
    strands=st.sampled_from([BOTH, ("forward",)]),
)
def test_the_choice_among_rows_of_one_key_depends_on_their_values_alone(
    files: list[list[Row]], strands: Sequence[Strand]
) -> None:
    asked = [Key(), Key(edit_alt="T")]
    every_row = [row for of_file in files for row in of_file]
    with TemporaryDirectory() as folder:
        store = Store(Path(folder))
        for of_file in files:
            store.write(signature(), LINEAR, as_table(of_file))
        expected = [expect(every_row, key, strands, None) for key in asked]
        assert same(find(store, asked, strands), expected)
        store.compact()
        assert same(find(store, asked, strands), expected)


def test_a_listing_that_misses_a_file_is_made_again(tmp_path: Path) -> None:
    row = make_row()
    store = Store(tmp_path)
    store.write(signature(), LINEAR, as_table([row]))
    original = store_files.list_folder
    listings: list[list[Path]] = [[]]

    def miss_first(folder: Path) -> list[Path]:
        return listings.pop() if listings else original(folder)

    with patch.object(store_files, "list_folder", miss_first):
        assert find(store, [row.key]) == [(row.forward, row.reverse)]


SCORING = {
    "window_length": 1024,
    "window_placement": "tiled",
    "window_step": 256,
    "strands": "both",
    "horizon": 128,
    "max_allele_length": 256,
    "max_n_share": 0.5,
    "min_context": 512,
    "prepend_bos": False,
}
OTHER = {
    "window_length": 1025,
    "window_placement": "centered",
    "window_step": 128,
    "horizon": None,
    "prepend_bos": True,
    "strands": "forward",
    "max_allele_length": 7,
    "max_n_share": 0.25,
    "min_context": None,
}
NOT_IN_KEY = ["strands", "max_allele_length", "max_n_share", "min_context"]


@pytest.mark.parametrize("setting", SCORING)
def test_the_settings_of_a_scoring_that_shape_a_number_are_part_of_the_key(
    tmp_path: Path, setting: str
) -> None:
    store = Store(tmp_path)
    row = make_row()
    store.write(signature(scoring=SCORING), LINEAR, as_table([row]))
    changed = signature(scoring=SCORING | {setting: OTHER[setting]})
    hit = (row.forward, row.reverse)
    expected = hit if setting in NOT_IN_KEY else (None, None)
    assert find(store, [row.key], of=changed) == [expected]
    assert find(store, [row.key], of=signature(scoring=SCORING)) == [hit]


def test_a_new_setting_of_a_scoring_is_part_of_the_key(tmp_path: Path) -> None:
    store = Store(tmp_path)
    row = make_row()
    store.write(signature(scoring=SCORING), LINEAR, as_table([row]))
    assert find(store, [row.key], of=signature(scoring=SCORING | {"new": 1})) == [(None, None)]


SIGNATURE_CHANGES = {
    "scores_version": 2,
    "weights": "1" * 64,
    "dtype": "bfloat16",
    "fp8": "hopper",
    "prepend_bos": True,
    "new": None,
}


@pytest.mark.parametrize("key", SIGNATURE_CHANGES)
def test_the_keys_of_a_signature_are_part_of_the_key(tmp_path: Path, key: str) -> None:
    store = Store(tmp_path)
    row = make_row()
    store.write(signature(), LINEAR, as_table([row]))
    changed = signature() | {key: SIGNATURE_CHANGES[key]}
    assert find(store, [row.key], of=changed) == [(None, None)]


def test_the_digest_of_the_reference_and_names_of_contigs_are_not_part_of_the_key(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path)
    row = make_row()
    store.write(signature(), LINEAR, as_table([row]))
    changed = signature(reference_digest="of a FASTA with other names")
    assert find(store, [row.key], of=changed) == [(row.forward, row.reverse)]
    assert find(store, [row.key], of=store_signature(changed)) == [(row.forward, row.reverse)]
    assert "chr" not in json.dumps(store_signature(changed))


@pytest.mark.parametrize("contig", [CIRCULAR, make_contig_key(REFGET[:-1] + "Z", circular=False)])
def test_sequence_and_circularity_are_part_of_the_key(tmp_path: Path, contig: str) -> None:
    store = Store(tmp_path)
    row = make_row()
    store.write(signature(), LINEAR, as_table([row]))
    assert find(store, [row.key], contig=contig) == [(None, None)]


KEY_CHANGES = {
    "edit_start": 1001,
    "edit_ref": 0,
    "edit_alt": "g",
    "window_start": -500,
    "window_length": 1023,
}


@pytest.mark.parametrize("column", KEY_CHANGES)
def test_each_column_of_the_key_counts(tmp_path: Path, column: str) -> None:
    store = Store(tmp_path)
    row = make_row()
    store.write(signature(), LINEAR, as_table([row]))
    assert [*KEY_CHANGES] == [*KEY_COLUMNS]
    changed = row.key._replace(**{column: KEY_CHANGES[column]})
    assert find(store, [changed, row.key]) == [(None, None), (row.forward, row.reverse)]


def test_a_strand_is_stored_and_found_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    forward, reverse = make_scores(1), make_scores(2)
    store.write(signature(), LINEAR, as_table([Row(Key(), forward, None)]))
    assert find(store, [Key()]) == [(forward, None)]
    assert find(store, [Key()], ("reverse",)) == [(None,)]
    store.write(signature(), LINEAR, as_table([Row(Key(), None, reverse)]))
    assert find(store, [Key()]) == [(forward, reverse)]
    store.compact()
    assert find(store, [Key()]) == [(forward, reverse)]


def test_a_device_with_both_strands_is_preferred(tmp_path: Path) -> None:
    store = Store(tmp_path)
    rows = [Row(Key(), make_scores(1), None, "a"), Row(Key(), make_scores(2), make_scores(3), "b")]
    for row in rows:
        store.write(signature(), LINEAR, as_table([row]))
    assert find(store, [Key()]) == [(rows[1].forward, rows[1].reverse)]
    assert find(store, [Key()], ("forward",)) == [(rows[0].forward,)]
    assert find(store, [Key()], device="a") == [(rows[0].forward, None)]


def test_many_alleles_and_many_rows_at_one_position_are_matched_in_little_memory(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path)
    insertions = ["".join(bases) for bases in product("ACGT", repeat=7)]
    rows = [make_row(Key(edit_ref=0, edit_alt=alt)) for alt in insertions]
    store.write(signature(), LINEAR, as_table(rows))
    expected = [(row.forward, row.reverse) for row in rows]
    assert find(store, [row.key for row in rows]) == expected


@pytest.mark.parametrize("strand", BOTH)
@pytest.mark.parametrize("name", SCORE_NAMES)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_strand_that_is_not_finite_is_never_stored(
    tmp_path: Path, strand: Strand, name: str, value: float
) -> None:
    store = Store(tmp_path)
    row = make_row()
    broken = list(getattr(row, strand))
    broken[SCORE_NAMES.index(name)] = value
    store.write(signature(), LINEAR, as_table([row._replace(**{strand: tuple(broken)})]))
    other: Strand = "reverse" if strand == "forward" else "forward"
    assert find(store, [row.key], (strand, other)) == [(None, getattr(row, other))]
    (file,) = tmp_path.rglob("*.parquet")
    stored = pq.read_table(file).to_pylist()[0]
    assert all(stored[column] is None for column in strand_columns(strand))


def test_rows_without_scores_make_no_folder(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    assert store.write(signature(), LINEAR, as_table([Row(Key(), None, None)])) == 0
    assert store.write(signature(), LINEAR, as_table([])) == 0
    assert find(store, [Key()]) == [(None, None)]
    assert store.describe().signatures == ()
    assert store.compact().files_before == 0
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("column", ["device", *KEY_COLUMNS])
def test_a_row_with_scores_needs_a_key_and_a_device(tmp_path: Path, column: str) -> None:
    rows = as_table([make_row()])
    place = rows.schema.get_field_index(column)
    field = rows.schema.field(column)
    rows = rows.set_column(place, column, pa.nulls(1, field.type))
    with pytest.raises(ValueError, match=f"no {column}"):
        Store(tmp_path).write(signature(), LINEAR, rows)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("contig", ["chr1", "SQ.short", "../" + REFGET, REFGET + "/..", ""])
def test_only_a_refget_accession_names_a_folder(tmp_path: Path, contig: str) -> None:
    with pytest.raises(ValueError, match="key of a contig"):
        Store(tmp_path).write(signature(), contig, as_table([make_row()]))
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("key", ["weights", "scoring"])
def test_the_signature_of_windows_is_refused(tmp_path: Path, key: str) -> None:
    of_windows = {name: value for name, value in signature().items() if name != key}
    with pytest.raises(InputError, match="does not state the weights"):
        Store(tmp_path).lookup(of_windows, LINEAR, as_keys([Key()]), BOTH)


def test_a_folder_states_its_signature(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(signature(), LINEAR, as_table([make_row(), make_row(Key(5))]))
    store.write(signature(), CIRCULAR, as_table([make_row()]))
    (described,) = store.describe().signatures
    assert described.signature == store_signature(signature())
    assert described.digest == digest_signature(signature())
    assert described.version
    assert [(one.contig, one.files, one.rows) for one in described.contigs] == [
        (LINEAR, 1, 2),
        (CIRCULAR, 1, 1),
    ]
    sizes = [path.stat().st_size for path in tmp_path.rglob("*.parquet")]
    assert sorted(one.num_bytes for one in described.contigs) == sorted(sizes)
    assert store.signature(described.digest) == described.signature


def test_other_programs_read_the_files(tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    rows = [make_row(Key(start)) for start in range(50)]
    Store(tmp_path).write(signature(), CIRCULAR, as_table(rows))
    frame = polars.read_parquet(tmp_path / "**/*.parquet", hive_partitioning=True)
    assert frame["contig"].unique().to_list() == [CIRCULAR]
    assert frame["edit_start"].to_list() == [*range(50)]
    assert frame["llr_fwd"].to_list() == [row.forward and row.forward[0] for row in rows]


def test_equal_rows_make_an_equal_file(tmp_path: Path) -> None:
    rows = [make_row(Key(start)) for start in range(50)]
    store = Store(tmp_path)
    store.write(signature(), LINEAR, as_table(rows))
    store.write(signature(), LINEAR, as_table(rows[::-1]))
    assert len([*tmp_path.rglob("*.parquet")]) == 1


def test_a_lookup_reads_only_the_row_groups_that_it_needs(tmp_path: Path) -> None:
    rows = [make_row(Key(start)) for start in range(100)]
    store = Store(tmp_path)
    with small_files(row_group_rows=10, file_rows=50):
        store.write(signature(), LINEAR, as_table(rows))
    read: list[tuple[str, int]] = []
    original = store_files.StoreFile.open_row_group

    def note(self: store_files.StoreFile, number: int) -> store_files.RowGroupReader:
        read.append((self.path.name[:5], number))
        return original(self, number)

    with patch.object(store_files.StoreFile, "open_row_group", note):
        keys = [Key(25), Key(71), Key(1000)]
        assert find(store, keys) == [
            (rows[25].forward, rows[25].reverse),
            (rows[71].forward, rows[71].reverse),
            (None, None),
        ]
    assert read == [("0-49-", 2), ("50-99", 2)]


def test_keys_of_windows_without_those_with_a_background() -> None:
    edit = {"start": 1, "num_ref": 1, "alt": "A"}
    windows = pa.Table.from_pylist(
        [
            {**Key()._asdict(), "window_end": 1524, "background": []},
            {**Key()._asdict(), "window_end": 1524, "background": [edit]},
            {**dict.fromkeys([*KEY_COLUMNS, "window_end"]), "background": []},
            {**Key(window_start=-24)._asdict(), "window_end": 1000, "background": []},
        ],
        schema=pa.schema(
            [
                *keys_schema(),
                ("window_end", pa.int64()),
                ("background", pa.list_(pa.struct([("start", pa.int64()), ("alt", pa.string())]))),
            ]
        ),
    )
    nothing = dict.fromkeys(KEY_COLUMNS)
    found = make_keys(windows)
    assert found.schema.equals(keys_schema())
    assert found.to_pylist() == [
        Key()._asdict(),
        nothing,
        nothing,
        Key(window_start=-24)._asdict(),
    ]
