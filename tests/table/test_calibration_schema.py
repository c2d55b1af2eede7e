"""The schema of ``calibrated.parquet``: which columns belong to which calibration."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evo2_tasks import layout
from evo2_tasks.errors import InputError
from evo2_tasks.table.calibration_schema import (
    BACKGROUND_COLUMNS,
    CALIBRATED_COLUMNS,
    EVIDENCE_COLUMNS,
    CalibratedPart,
    calibrated_schema,
    find_calibrated_parts,
    make_calibrated_part,
)

KEYS = ["record", "allele"]
OF_BACKGROUND = [column.name for column in BACKGROUND_COLUMNS]
OF_LABELS = [column.name for column in EVIDENCE_COLUMNS]
BOTH = (True, True)
KINDS = [BOTH, (True, False), (False, True)]
NAMES = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,8}\Z") | st.sampled_from(
    ["quantile", "a.quantile", "lr", "record", "a", "a.lr", "a-b", "a_b"]
)


def make_parts(kinds: dict[str, tuple[bool, bool]]) -> tuple[CalibratedPart, ...]:
    return tuple(
        make_calibrated_part(
            name, has_background=background, has_labels=labels, is_prefixed=len(kinds) > 1
        )
        for name, (background, labels) in kinds.items()
    )


def test_the_columns_of_one_calibration_have_no_prefix() -> None:
    parts = make_parts({"common": BOTH})
    assert calibrated_schema(parts).names == [*KEYS, *OF_BACKGROUND, *OF_LABELS]
    assert [column.name for column in CALIBRATED_COLUMNS] == calibrated_schema(parts).names


def test_the_config_knows_the_names_of_the_columns() -> None:
    assert [*layout.CALIBRATED_COLUMNS] == [*OF_BACKGROUND, *OF_LABELS]


def test_the_columns_of_several_calibrations_begin_with_their_names() -> None:
    schema = calibrated_schema(make_parts({"a.b": (True, False), "c-d": (False, True)}))
    names = [*(f"a.b.{name}" for name in OF_BACKGROUND), *(f"c-d.{name}" for name in OF_LABELS)]
    assert schema.names == [*KEYS, *names]


@given(st.dictionaries(NAMES, st.sampled_from(KINDS), min_size=1, max_size=4))
def test_a_reader_finds_the_calibrations_that_were_written(
    kinds: dict[str, tuple[bool, bool]],
) -> None:
    parts = make_parts(kinds)
    file = pa.BufferOutputStream()
    pq.write_table(calibrated_schema(parts).empty_table(), file)
    found = find_calibrated_parts(pq.read_schema(pa.BufferReader(file.getvalue())), "f")
    assert found == parts
    assert [(one.has_background, one.has_labels) for one in found] == [*kinds.values()]


def rename(schema: pa.Schema, old: str, new: str) -> pa.Schema:
    return pa.schema([one.with_name(new) if one.name == old else one for one in schema])


@pytest.mark.parametrize("kinds", [{"a": BOTH}, {"a": BOTH, "b": BOTH}])
def test_other_columns_are_one_clear_line(kinds: dict[str, tuple[bool, bool]]) -> None:
    schema = calibrated_schema(make_parts(kinds))
    last = schema.field(len(schema) - 1)
    others = {
        last.name: pa.schema([*schema][:-1]),
        "new": schema.append(pa.field("new", pa.int64())),
        "lr_lower": rename(schema, schema.names[-4], "lr_lower"),
        schema.names[4]: schema.set(4, schema.field(4).with_type(pa.int64())),
        schema.names[5]: schema.set(5, schema.field(5).remove_metadata()),
        "the columns": pa.schema([*schema][::-1]),
    }
    for name, other in others.items():
        with pytest.raises(InputError, match=rf"^f: .*{name}.* Run `calibrate` again\.$"):
            find_calibrated_parts(other, "f")
    for none in (pa.schema([]), pa.schema([*schema][:2])):
        with pytest.raises(InputError, match=r"Run `calibrate` again"):
            find_calibrated_parts(none, "f")


def test_a_table_that_another_program_wrote_is_one_clear_line(tmp_path: Path) -> None:
    schema = calibrated_schema(make_parts({"a": BOTH}))
    file = tmp_path / "calibrated.parquet"
    pd.DataFrame(schema.empty_table().to_pandas()).to_parquet(file)
    with pytest.raises(InputError, match=r"Run `calibrate` again"):
        find_calibrated_parts(pq.read_schema(file), "f")
