"""The sequences that `split` writes, against the definition of GA4GH refget."""

import base64
import hashlib
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from evo2_tasks.errors import InputError
from evo2_tasks.table.sequences import read_sequences
from tests.project import HEADER, run_split, write_project

GENOME = {"b": "acgtNNRYacgt" * 7, "unused": "GATTACA" * 3, "a": "ACGTTGCA" * 9}


def refget(bases: str) -> str:
    digest = hashlib.sha512(bases.upper().encode()).digest()[:24]
    return "SQ." + base64.urlsafe_b64encode(digest).decode()


def test_all_sequences_of_the_reference_are_written_in_its_order(tmp_path: Path) -> None:
    project = write_project(tmp_path, genome=GENOME, variants=f"{HEADER}a\t1\t.\tA\tC\t.\t.\t.\n")
    run_split(project.load(), tmp_path)
    file = tmp_path / "shards" / "sequences.parquet"
    assert pq.read_table(file).to_pylist() == [
        {"reference_contig": name, "length": len(bases), "refget": refget(bases)}
        for name, bases in GENOME.items()
    ]
    stated = json.loads((tmp_path / "shards" / "split.json").read_text())["statements"]
    assert stated["sequences"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert {name: tuple(one) for name, one in read_sequences(file, "v").items()} == {
        name: (name, len(bases), refget(bases)) for name, bases in GENOME.items()
    }


def test_shards_of_an_earlier_version_are_one_line(tmp_path: Path) -> None:
    file = tmp_path / "shards" / "sequences.parquet"
    with pytest.raises(InputError) as caught:
        read_sequences(file, "calls")
    assert str(caught.value).endswith(
        f"Write it with: evo2-tasks split --config CONFIG --variant-set calls --out {file.parent}. "
        "The shards stay the same, and no finished job runs again."
    )
