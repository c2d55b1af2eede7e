"""Identifiers in the table of a run."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from evo2_tasks.config.load import load_config
from evo2_tasks.genome.reference import Reference
from tests.genome.vrs_library import identify_by_library
from tests.project import DATA, run_steps, write_demo

COLUMNS = [("vrs", "vrs_id"), ("spdi", "spdi")]
RESOLVED = {"too_long", "too_many_n", "no_context", "scored"}


@pytest.mark.parametrize("asked", [["vrs"], ["spdi"], ["spdi", "vrs"]])
def test_the_table_of_the_demo_has_the_identifiers_that_are_asked_for(
    tmp_path: Path, asked: list[str]
) -> None:
    config = load_config(write_demo(tmp_path, 400, variant_set={"identifiers": asked}, shards=2))
    table = pq.read_table(run_steps(config, tmp_path / "v"))
    made = [name for kind, name in COLUMNS if kind in asked]
    assert [name for name in table.column_names if name in dict(COLUMNS).values()] == made
    reference = Reference(DATA / "rCRS.fa")
    for row in table.to_pylist():
        is_resolved = row["status"] in RESOLVED
        assert all((row[name] is not None) == is_resolved for name in made), row
        if is_resolved and "vrs" in asked:
            start, ref, alt = row["pos"] - 1, row["ref"], row["alt"]
            assert row["vrs_id"] == identify_by_library(reference, "MT", start, ref, alt)
        if is_resolved and "spdi" in asked:
            contig, first, deleted, _ = row["spdi"].split(":")
            assert reference.fetch(contig, int(first), int(first) + len(deleted)) == deleted
