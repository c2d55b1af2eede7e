from __future__ import annotations

import pyarrow as pa
import pytest

from evo2_tasks.errors import InputError
from evo2_tasks.genome.records import CarryField
from evo2_tasks.table.schema import (
    ALL_SCORE_COLUMNS,
    FLAGS,
    SCORE_COLUMNS,
    STATUSES,
    carried_schema,
    final_schema,
    make_schema,
    scores_schema,
    segments_schema,
    shard_schema,
    windows_schema,
)

SCHEMAS = [
    shard_schema,
    carried_schema,
    windows_schema,
    segments_schema,
    scores_schema,
    final_schema,
]


def test_the_lists_are_closed_and_ordered():
    assert STATUSES == (
        "invalid_record", "filtered", "missing_allele", "not_a_variant", "overlapping_deletion",
        "breakend", "symbolic_allele", "non_acgt_allele", "contig_not_found",
        "position_out_of_range", "ref_alt_swapped", "ref_mismatch", "too_long", "too_many_n",
        "no_context", "non_finite", "scored",
    )  # fmt: skip
    assert FLAGS == (
        "clipped", "low_context", "low_downstream", "n_in_window", "alias_contig", "iupac_ref",
        "moved", "resolved_symbolic", "haplotype_ref", "unphased", "several_phase_sets",
        "overlapping_background", "incomplete_background",
    )  # fmt: skip


def test_the_result_has_its_columns_in_order():
    assert final_schema().names == [
        "record", "allele", "contig", "reference_contig", "pos", "ref", "alt", "status", "reason",
        "flags", "window_start", "window_end",
        *SCORE_COLUMNS,
        *(f"{name}_fwd" for name in SCORE_COLUMNS),
        *(f"{name}_rev" for name in SCORE_COLUMNS),
    ]  # fmt: skip
    assert tuple(final_schema().names[12:]) == ALL_SCORE_COLUMNS


@pytest.mark.parametrize("schema", SCHEMAS)
def test_every_field_states_meaning_and_unit(schema):
    for field in schema():
        assert len(field.metadata[b"description"]) > 10, field.name
        assert field.metadata[b"unit"], field.name


def test_types_are_those_of_the_contract():
    schema = final_schema()
    category = pa.dictionary(pa.int32(), pa.string())
    assert {schema.field(name).type for name in ("contig", "reference_contig", "status")} == {
        category
    }
    assert schema.field("flags").type.value_type == pa.string()
    assert {schema.field(name).type for name in ALL_SCORE_COLUMNS} == {pa.float64()}
    required = {field.name for field in schema if not field.nullable}
    assert required == {"record", "allele", "status", "flags"}


def test_carried_columns_follow_with_their_types():
    carry = [CarryField("AF", "float", True, "Frequency"), CarryField("DB", "bool", False, "")]
    for schema in (carried_schema, final_schema):
        fields = list(schema(carry))[-2:]
        assert [field.name for field in fields] == ["AF", "DB"]
        assert fields[0].type.value_type == pa.float64()
        assert fields[0].metadata[b"description"] == b"Frequency"
        assert fields[1].type == pa.bool_()


@pytest.mark.parametrize("name", ["status", "llr_fwd", "window_end", "record"])
def test_a_carried_column_cannot_have_one_of_our_names(name):
    with pytest.raises(InputError, match=f"'{name}' is the name of one of the table's own"):
        make_schema((), [CarryField(name, "int", False, "")])


def test_a_carried_column_cannot_come_twice():
    field = CarryField("AF", "int", False, "")
    with pytest.raises(InputError, match="'AF' is named twice"):
        carried_schema([field, field])
