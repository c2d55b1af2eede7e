"""Writes the tables that the readers are tried on, with the project's own schemas and writer.

Next to them, what was written is in ``expected.json``: the values of every table, and the answers
to the questions of ``ask_tables.py``, computed in plain Python.

Every column has the values that readers get wrong: nulls, the ends of the range of its type, the
float next to zero, text with commas, quotes and letters outside ASCII. A seed makes them, so that
the files have the same values each time. Run by the project's environment:

    python -m tests.readers.parquet.make_tables build/readers/tables
"""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from evo2_tasks.evaluation.schema import curves_schema, metrics_schema
from evo2_tasks.genome.records import CarryField
from evo2_tasks.table.calibration_schema import (
    background_schema,
    calibrated_schema,
    calibration_schema,
    folds_schema,
    make_calibrated_part,
    ratios_schema,
)
from evo2_tasks.table.combined import combined_schema
from evo2_tasks.table.embeddings import embeddings_schema
from evo2_tasks.table.generation_schema import generated_schema, steps_schema
from evo2_tasks.table.parquet import write_table
from evo2_tasks.table.probes import applied_schema, predictions_schema
from evo2_tasks.table.provenance import Provenance
from evo2_tasks.table.schema import (
    ANNOTATION_COLUMNS,
    FINAL_COLUMNS,
    annotations_schema,
    audit_schema,
    compounds_schema,
    haplotypes_schema,
    make_schema,
    reused_schema,
    tracks_schema,
)
from evo2_tasks.table.sequence_embeddings import sequence_embeddings_schema
from evo2_tasks.table.sequence_schema import sequences_table_schema
from evo2_tasks.table.shard_readouts import profiles_schema
from evo2_tasks.table.track_embeddings import track_embeddings_schema
from tests.readers.encode import encode
from tests.table.build import signature

CARRY: Final = (
    CarryField("AF", "float", True, ""),
    CarryField("DB", "bool", False, ""),
    CarryField("CLNSIG", "string", False, ""),
    CarryField("MQ", "float", False, ""),
    CarryField("DP", "int", False, ""),
)
CONTIGS: Final = ("chr1", "chr2", "HLA-A*01:01", "MT")
TEXTS: Final = ("", "A", "Pathogenic", 'a,"b"; c', "ALB\u00c1N \U0001f9ec", "NA", "nan", "null")
WIDTH: Final = 6
"""Channels of the embeddings."""

ROWS: Final = 90
ROW_GROUP_ROWS: Final = 30


def _integers(kind: pa.DataType) -> tuple[int, ...]:
    bits = kind.bit_width
    return (0, 1, -1, 2 ** (bits - 1) - 1, -(2 ** (bits - 1)), 2 ** (bits * 2 // 3) + 1)


def _floats(kind: pa.DataType) -> tuple[float, ...]:
    """Zero of both signs, the smallest and the largest numbers of a type."""
    smallest, largest = {
        pa.float16(): (2.0**-24, 65504.0),
        pa.float32(): (2.0**-149, (2 - 2.0**-23) * 2.0**127),
        pa.float64(): (5e-324, sys.float_info.max),
    }[kind]
    return (0.0, -0.0, smallest, -smallest, largest, -largest, 0.5, -1.25)


def make_value(chosen: random.Random, kind: pa.DataType) -> Any:
    """A value of an Arrow type."""
    if pa.types.is_dictionary(kind):
        return chosen.choice(CONTIGS)
    if pa.types.is_string(kind):
        return chosen.choice(TEXTS)
    if pa.types.is_boolean(kind):
        return chosen.random() < 0.5
    if pa.types.is_integer(kind):
        return chosen.choice(_integers(kind))
    if pa.types.is_floating(kind):
        if chosen.random() < 0.5:
            return chosen.choice(_floats(kind))
        return pa.scalar(chosen.gauss(0, 3), kind).as_py()
    if pa.types.is_struct(kind):
        return {field.name: make_cell(chosen, field) for field in kind}
    if pa.types.is_fixed_size_list(kind):
        return [make_value(chosen, kind.value_type) for _ in range(kind.list_size)]
    if pa.types.is_list(kind):
        return [make_cell(chosen, kind.value_field) for _ in range(chosen.choice([0, 1, 2, 5]))]
    if pa.types.is_map(kind):
        return [(text, make_value(chosen, kind.item_type)) for text in chosen.sample(TEXTS, 2)]
    raise NotImplementedError(kind)


def make_cell(chosen: random.Random, field: pa.Field) -> Any:
    """A value of a field, or null where the field may be null."""
    if field.nullable and chosen.random() < 0.15:
        return None
    return make_value(chosen, field.type)


def fill(schema: pa.Schema, num_rows: int, seed: str) -> dict[str, list[Any]]:
    """Values for every column of a schema; keys and positions as in a table of alleles."""
    columns = {}
    for field in schema:
        chosen = random.Random(f"{seed} {field.name}")
        columns[field.name] = [make_cell(chosen, field) for _ in range(num_rows)]
    rows = range(num_rows)
    known: Mapping[str, Callable[[int], Any]] = {
        "record": lambda row: row // 2,
        "allele": lambda row: 1 + row % 2,
        "contig": lambda row: CONTIGS[row * len(CONTIGS) // num_rows],
        "reference_contig": lambda row: CONTIGS[row * len(CONTIGS) // num_rows],
        # On the last contig, positions that need more than 32 bits.
        "pos": lambda row: (2**31 if row * len(CONTIGS) // num_rows == 3 else 0) + 100 + 7 * row,
    }
    for name, make in known.items():
        if name in columns:
            columns[name] = [make(row) for row in rows]
    return columns


def result_schema() -> pa.Schema:
    """The result with every column that `annotate` can add, and carried ones."""
    return make_schema([*FINAL_COLUMNS, *ANNOTATION_COLUMNS], CARRY)


def make_result(num_rows: int, seed: str) -> dict[str, list[Any]]:
    """The rows of a result; one of them is a line that could not be read, one has a long ALT."""
    columns = fill(result_schema(), num_rows, seed)
    if num_rows > 40:
        for name in ("contig", "reference_contig", "pos", "ref", "alt"):
            columns[name][40] = None
        columns["alt"][41] = "tACGT" * 16_000
        # Infinity is a value of VCF; the model's own numbers are never infinite.
        columns["MQ"][42:44] = [math.inf, -math.inf]
    return columns


def all_tables() -> dict[str, tuple[pa.Schema, dict[str, list[Any]]]]:
    """Schema and values of each file."""
    parts = [
        make_calibrated_part(name, has_background=True, has_labels=True, is_prefixed=True)
        for name in ("common", "clinvar-2026")
    ]
    plain = {
        "calibrated": calibrated_schema(parts),
        "annotations": annotations_schema([column.name for column in ANNOTATION_COLUMNS]),
        "combined": combined_schema(["mini-128", "mini-512"], ["mean", "rank_mean"], []),
        "haplotypes": haplotypes_schema(),
        "compounds": compounds_schema(),
        "tracks": tracks_schema(),
        "embeddings.float32": embeddings_schema(WIDTH, "float32", strands=False),
        "embeddings.float16": embeddings_schema(WIDTH, "float16", strands=False),
        "embeddings.int8": embeddings_schema(WIDTH, "int8", strands=False),
        "track_embeddings": track_embeddings_schema(WIDTH, "float16", strands=False),
        "sequence_embeddings": sequence_embeddings_schema(WIDTH, "float32", strands=False),
        "sequences": sequences_table_schema(per_base=True),
        "profiles": profiles_schema(pa.float16()),
        "predictions": predictions_schema(),
        "applied": applied_schema(),
        "calibration": calibration_schema(),
        "background": background_schema(),
        "ratios": ratios_schema(),
        "folds": folds_schema(),
        "audit": audit_schema(),
        "reused": reused_schema(),
        "generated": generated_schema(["likelihood"]),
        "steps": steps_schema(["likelihood"]),
        "metrics": metrics_schema(),
        "curves": curves_schema(),
    }
    tables = {name: (schema, fill(schema, ROWS, name)) for name, schema in plain.items()}
    for name, num_rows in (("scores", ROWS), ("scores_one", 1), ("scores_empty", 0)):
        tables[name] = (result_schema(), make_result(num_rows, name))
    other = make_result(ROWS, "scores_other")
    for name in ("reason", "CLNSIG", "DP", "AF"):
        other[name] = [None] * ROWS
    tables["scores_other"] = (result_schema(), other)
    return tables


# --- questions


def answer(tables: Mapping[str, tuple[pa.Schema, dict[str, list[Any]]]]) -> dict[str, Any]:
    """The answers to the questions of ``ask_tables.py``; a comparison with null is not true."""
    scores, other = tables["scores"][1], tables["scores_other"][1]
    llr = [value for value in scores["llr"] if value is not None]
    reasons = [value for value in scores["reason"] if value is not None]
    return {
        "region": sum(
            contig == "chr2" and pos <= 300
            for contig, pos in zip(scores["contig"], scores["pos"], strict=True)
            if pos is not None
        ),
        "below_zero": sum(value < 0 for value in llr),
        "smallest_and_largest": [min(llr), max(llr)],
        "last_text": max(value for value in scores["alt"] if value is not None),
        "after_t": sum(value > "t" for value in scores["alt"] if value is not None),
        "not_equal": sum(value != "MT" for value in reasons),
        "not_in": sum(value not in ("MT", "chr1") for value in reasons),
        "with_list": sum(value is not None for value in scores["consequences"]),
        "with_flag": sum("A" in value for value in scores["flags"]),
        "joined": sum(
            (contig, pos) in KNOWN
            for contig, pos in zip(scores["contig"], scores["pos"], strict=True)
        ),
        "of_each_contig": [[contig, scores["contig"].count(contig)] for contig in sorted(CONTIGS)],
        "two_runs": [
            sum(value is not None for value in [*scores["DP"], *other["DP"]]),
            sum(contig == "MT" for contig in [*scores["contig"], *other["contig"]]),
        ],
        "integers_then_floats": [0.5, 1.0, 2.0, 2.5],
        "names_in_other_case": [0.125, 0.25, 0.375, 0.5],
        "metadata": "evo2-mini",
        # Of three: those that `record < 15`, `pos <= 300` and `contig = 'chr1'` need by the
        # smallest and largest values of each. In bytes, `chr1` is between `HLA` and `chr2`.
        "row_groups": [1, 1, 2],
        # Of copies with a wrong bit: none is read with other values.
        "damaged": 0,
    }


KNOWN: Final = frozenset({("chr1", 107), ("MT", 2**31 + 100 + 7 * 70), ("chr2", 107)})
"""Alleles of a table to join, two of which are in `scores`."""


def write_small_tables(folder: Path) -> None:
    """The tables to join with `scores`, and pairs of files that are read as one table."""
    columns = {"contig": ["chr1", "MT", "chr2"], "pos": [107, 2**31 + 100 + 7 * 70, 107]}
    assert set(zip(*columns.values(), strict=True)) == KNOWN
    small = {
        "known/1": columns,
        "integers_then_floats/1": {"DP": [1, 2]},
        "integers_then_floats/2": {"DP": [0.5, 2.5]},
        "names_in_other_case/1": {"af": [0.125, 0.25], "AF": [0.75, 0.875]},
        "names_in_other_case/2": {"AF": [0.625, 1.0], "af": [0.375, 0.5]},
    }
    for name, values in small.items():
        path = folder / f"{name}.parquet"
        path.parent.mkdir(exist_ok=True)
        pq.write_table(pa.table(values), path)
    (folder / "two_runs").mkdir(exist_ok=True)
    for number, name in enumerate(("scores", "scores_other"), start=1):
        whole = (folder / f"whole/{name}.parquet").read_bytes()
        (folder / f"two_runs/{number}.parquet").write_bytes(whole)


def write_damaged(folder: Path) -> None:
    """Copies of `scores` in each of which one bit of a page of `llr` is another."""
    whole = (folder / "whole/scores.parquet").read_bytes()
    (folder / "damaged").mkdir(exist_ok=True)
    group = pq.read_metadata(folder / "whole/scores.parquet").row_group(0)
    paths = [group.column(i).path_in_schema for i in range(group.num_columns)]
    chunk = group.column(paths.index("llr"))
    # After the page's header, of less than 60 bytes.
    start, end = chunk.data_page_offset + 60, chunk.data_page_offset + chunk.total_compressed_size
    chosen = random.Random(1)
    for number in range(12):
        data = bytearray(whole)
        data[chosen.randrange(start, end)] ^= 1 << chosen.randrange(8)
        (folder / "damaged" / f"{number:02d}.parquet").write_bytes(data)


# --- files


def write_tables(folder: Path) -> None:
    """Write every table to a folder, and what was written."""
    (folder / "whole").mkdir(parents=True, exist_ok=True)
    tables = all_tables()
    expected = {}
    for name, (schema, columns) in tables.items():
        stated = Provenance(signature(weights_digest=name), "0.1.0", "evo2-mini")
        with write_table(
            folder / "whole" / f"{name}.parquet",
            schema,
            metadata=stated.metadata(),
            row_group_rows=ROW_GROUP_ROWS,
        ) as writer:
            writer.write_columns(columns)
        maps = [field.name for field in schema if pa.types.is_map(field.type)]
        values = columns | {key: [dict(value) for value in columns[key]] for key in maps}
        expected[name] = {
            key: [encode(value) for value in column] for key, column in values.items()
        }
    write_small_tables(folder)
    write_damaged(folder)
    stated = {"tables": expected, "answers": encode(answer(tables))}
    (folder / "expected.json").write_text(json.dumps(stated))


if __name__ == "__main__":
    write_tables(Path(sys.argv[1]))
