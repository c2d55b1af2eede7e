"""`store add`: what a lookup finds afterwards, against the table itself."""

import json
import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from evo2_tasks.cli import main
from evo2_tasks.commands import store_add
from evo2_tasks.config.resolve import ScoringSettings
from evo2_tasks.errors import InputError
from evo2_tasks.genome.reference import Reference
from evo2_tasks.genome.windows import PlacedAllele
from evo2_tasks.io.digests import digest_file
from evo2_tasks.layout import REUSED, RUN
from evo2_tasks.scoring.deltas import SCORE_NAMES
from evo2_tasks.table.parquet import read_rows
from evo2_tasks.table.schema import STRAND_SUFFIXES
from evo2_tasks.table.store import Store, make_contig_key
from evo2_tasks.table.store_rows import keys_schema
from tests.commands.stored_tables import (
    SETTINGS,
    DrawnTable,
    draw_alleles,
    draw_genome,
    write_drawn_table,
)

LENGTHS = {"line": 400, "ring": 150, "short": 40}
TILED = replace(SETTINGS, window_placement="tiled", window_step=16, max_allele_length=8)


def add(table: Path, store: Path, **options: Any) -> store_add.Added:
    (added,) = store_add.add([table], store, **options)
    return added


def find(drawn: DrawnTable, store: Path, circular: tuple[str, ...]) -> list[dict[str, Any] | None]:
    """What the store has of each row of a table; None if it has neither strand."""
    reference = Reference(drawn.fasta, circular_contigs=circular)
    found: list[dict[str, Any] | None] = []
    for placed in drawn.placed:
        row = None
        if placed.pair is not None:
            row = find_one(drawn, store, placed, reference)
        found.append(None if row is None or not any(row.values()) else row)
    return found


def find_one(
    drawn: DrawnTable, store: Path, placed: PlacedAllele, reference: Reference
) -> dict[str, Any]:
    contig = str(placed.reference_contig)
    key = make_contig_key(
        reference.refget_accession(contig), circular=reference.is_circular(contig)
    )
    length = int(placed.window_end or 0) - int(placed.window_start or 0)
    values = [
        placed.edit_start, placed.edit_ref, placed.edit_alt, placed.window_start, length
    ]  # fmt: skip
    arrays = [pa.array([value], one.type) for value, one in zip(values, keys_schema(), strict=True)]
    keys = pa.table(arrays, schema=keys_schema())
    (row,) = Store(store).lookup(drawn.signature, key, keys, ("forward", "reverse")).to_pylist()
    return {
        name + suffix: row[name + suffix]
        for suffix in STRAND_SUFFIXES.values()
        for name in SCORE_NAMES
    }


def expected(drawn: DrawnTable) -> list[dict[str, Any] | None]:
    """The scores of each row, as pandas reads the table."""
    rows = pd.read_parquet(drawn.path).to_dict("records")
    names = [name + suffix for suffix in STRAND_SUFFIXES.values() for name in SCORE_NAMES]
    found: list[dict[str, Any] | None] = []
    for row in rows:
        scores = {name: None if pd.isna(row[name]) else row[name] for name in names}
        found.append(scores if any(value is not None for value in scores.values()) else None)
    return found


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), scoring=st.sampled_from([SETTINGS, TILED]), many=st.booleans())
def test_a_lookup_finds_the_scores_of_the_table(
    tmp_path_factory: pytest.TempPathFactory, seed: int, scoring: ScoringSettings, many: bool
) -> None:
    folder = tmp_path_factory.mktemp("add")
    rng = random.Random(seed)
    genome = draw_genome(rng, LENGTHS)
    alleles = draw_alleles(rng, genome, 60 if many else 5)
    drawn = write_drawn_table(
        folder, genome, alleles, circular=["ring"], settings=scoring, seed=seed
    )
    added = add(drawn.path, folder / "store")
    wanted = expected(drawn)
    assert not added.left_out
    assert added.rows == len(alleles)
    assert added.without_score == wanted.count(None)
    assert added.added + added.present == len(alleles) - wanted.count(None)
    assert find(drawn, folder / "store", ("ring",)) == wanted


def test_what_is_added_twice_is_stored_once(tmp_path: Path) -> None:
    rng = random.Random(2)
    genome = draw_genome(rng, LENGTHS)
    drawn = write_drawn_table(tmp_path, genome, draw_alleles(rng, genome, 80), circular=["ring"])
    store = tmp_path / "store"
    first = add(drawn.path, store)
    files = sorted(store.rglob("*.parquet"))
    again = add(drawn.path, store)
    assert (again.added, again.present) == (0, first.added + first.present)
    assert sorted(store.rglob("*.parquet")) == files
    Store(store).compact()
    assert add(drawn.path, store).added == 0


def test_few_rows_in_memory_store_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(3)
    genome = draw_genome(rng, LENGTHS)
    drawn = write_drawn_table(tmp_path, genome, draw_alleles(rng, genome, 200), circular=["ring"])
    whole = add(drawn.path, tmp_path / "whole")
    monkeypatch.setattr(store_add, "ROWS_AT_ONCE", 10)
    monkeypatch.setattr(store_add, "BATCH_ROWS", 7)
    pieces = add(drawn.path, tmp_path / "pieces")
    assert whole.as_json() == pieces.as_json()
    assert find(drawn, tmp_path / "whole", ("ring",)) == find(drawn, tmp_path / "pieces", ("ring",))


def test_what_was_interrupted_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(4)
    genome = draw_genome(rng, LENGTHS)
    drawn = write_drawn_table(tmp_path, genome, draw_alleles(rng, genome, 120), circular=["ring"])
    store = tmp_path / "store"
    written, write = [], Store.write

    def fail_later(self: Store, *arguments: Any) -> int:
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(write(self, *arguments))
        return written[-1]

    with monkeypatch.context() as patch:
        patch.setattr(store_add, "ROWS_AT_ONCE", 10)
        patch.setattr(store_add, "BATCH_ROWS", 5)
        patch.setattr(Store, "write", fail_later)
        with pytest.raises(KeyboardInterrupt):
            add(drawn.path, store)
    found = [one for one in find(drawn, store, ("ring",)) if one is not None]
    wanted = expected(drawn)
    assert found
    assert all(one in wanted for one in found)
    rest = add(drawn.path, store)
    assert rest.added + rest.present == len(wanted) - wanted.count(None)
    whole = add(drawn.path, tmp_path / "whole")
    assert sum(written) + rest.added == whole.added


# --- circular or linear


def test_windows_show_which_contigs_are_circular(tmp_path: Path) -> None:
    """Without a statement, no row is stored under the wrong kind of contig."""
    rng = random.Random(5)
    genome = draw_genome(rng, LENGTHS)
    drawn = write_drawn_table(
        tmp_path, genome, draw_alleles(rng, genome, 150), circular=["ring"], states_reference=False
    )
    added = add(drawn.path, tmp_path / "store", fasta=drawn.fasta)
    assert not added.left_out
    keys = {path.name for path in (tmp_path / "store").glob("signature=*/contig=*")}
    reference = Reference(drawn.fasta)
    of = reference.refget_accession
    assert keys == {
        f"contig={of('line')}", f"contig={of('ring')}.circular", f"contig={of('short')}"
    }  # fmt: skip


def test_rows_that_may_be_of_a_circular_contig_are_not_added(tmp_path: Path) -> None:
    """Windows in the middle of a contig show nothing; only substitutions are the same on both."""
    genome = {"ring": "ACGTTGCA" * 40}
    alleles = [("ring", 161, "A", "G"), ("ring", 163, "G", "GTT"), ("ring", 150, "GCA", "G")]
    drawn = write_drawn_table(tmp_path, genome, alleles, circular=["ring"], states_reference=False)
    added = add(drawn.path, tmp_path / "store", fasta=drawn.fasta)
    same = write_drawn_table(tmp_path / "linear", genome, alleles)
    expected_added = sum(one == other for one, other in zip(drawn.placed, same.placed, strict=True))
    assert added.added == expected_added
    assert added.assumed_linear == ("ring",)
    assert "linear. If one is circular" in list(store_add.describe_added(added))[-1]
    assert added.left_out == (
        {} if expected_added == 3 else {"circular_or_linear": 3 - expected_added}
    )
    stated = add(drawn.path, tmp_path / "stated", fasta=drawn.fasta, circular_contigs=["ring"])
    assert (stated.added, stated.left_out, stated.assumed_linear) == (3, {}, ())
    assert [*(tmp_path / "stated").glob("signature=*/contig=*.circular")]


def test_other_circular_contigs_than_those_of_the_run_are_refused(tmp_path: Path) -> None:
    drawn = write_drawn_table(
        tmp_path, {"ring": "ACGT" * 50}, [("ring", 5, "A", "G")], circular=["ring"]
    )
    with pytest.raises(InputError, match="states other circular contigs: ring"):
        add(drawn.path, tmp_path / "store", circular_contigs=["line"])
    assert not (tmp_path / "store").exists()


def test_an_allele_across_the_origin_of_a_circle_is_added(tmp_path: Path) -> None:
    """HGVS can state it, and VCF cannot."""
    genome = {"ring": "ACGTTGCATC" * 20}
    alleles = [("ring", 199, "TCAC", "G"), ("ring", 200, "CA", "GT"), ("ring", 1, "A", "C")]
    drawn = write_drawn_table(tmp_path, genome, alleles, circular=["ring"])
    assert add(drawn.path, tmp_path / "store").added == 3
    assert find(drawn, tmp_path / "store", ("ring",)) == expected(drawn)


# --- devices


@pytest.mark.parametrize(
    ("devices", "stored"),
    [(("H100", "H100"), "H100"), (("H100", "A100"), "one of: A100, H100"), ((), "unknown")],
)
def test_the_kind_of_device_is_stored_if_it_is_known(
    tmp_path: Path, devices: tuple[str, ...], stored: str
) -> None:
    drawn = write_drawn_table(
        tmp_path, {"c": "ACGTTGCA" * 40}, [("c", 81, "A", "G")], devices=devices
    )
    add(drawn.path, tmp_path / "store")
    assert stat(tmp_path / "store")["signatures"][0]["devices"] == [stored]


def test_reused_rows_were_not_computed_on_the_device_of_the_run(tmp_path: Path) -> None:
    drawn = write_drawn_table(
        tmp_path, {"c": "ACGTTGCA" * 40}, [("c", 81, "A", "G"), ("c", 82, "C", "G")]
    )
    reused = pa.table({"record": pa.array([1], pa.int64()), "allele": pa.array([1], pa.int32())})
    stated = {"evo2_tasks.source": digest_file(drawn.path)}
    pa.parquet.write_table(reused.replace_schema_metadata(stated), tmp_path / REUSED)
    add(drawn.path, tmp_path / "store")
    assert stat(tmp_path / "store")["signatures"][0]["devices"] == ["H100", "unknown"]
    stated = {"evo2_tasks.source": "0" * 64}
    pa.parquet.write_table(reused.replace_schema_metadata(stated), tmp_path / REUSED)
    with pytest.raises(InputError, match=r"reused\.parquet was made from another table"):
        add(drawn.path, tmp_path / "store")


# --- rows that are not added


def test_rows_that_no_run_would_find_are_counted(tmp_path: Path) -> None:
    genome = {"c": "ACGTTGCA" * 10 + "R" + "ACGTTGCA" * 10}
    drawn = write_drawn_table(tmp_path, genome, [("c", 81, "A", "G"), ("c", 20, "T", "G")])
    added = add(drawn.path, tmp_path / "store")
    assert drawn.placed[0].background
    assert (added.added, added.left_out) == (1, {"iupac_ref": 1})


def test_a_row_with_other_windows_is_not_added(tmp_path: Path) -> None:
    """A table that was edited, whose run.json is gone."""
    genome = {"c": "ACGTTGCA" * 40}
    drawn = write_drawn_table(tmp_path, genome, [("c", 81, "A", "G"), ("c", 91, "G", "A")])
    table = pa.parquet.read_table(drawn.path)
    starts = pa.array(
        [one + number for number, one in enumerate(table["window_start"].to_pylist())]
    )
    index = table.schema.get_field_index("window_start")
    pa.parquet.write_table(table.set_column(index, table.schema.field(index), starts), drawn.path)
    with pytest.raises(InputError, match="made from another table"):
        add(drawn.path, tmp_path / "store")
    (tmp_path / RUN).unlink()
    added = add(drawn.path, tmp_path / "store", fasta=drawn.fasta)
    assert (added.added, added.left_out) == (1, {"other_windows": 1})


def test_symbolic_alleles_are_counted(tmp_path: Path) -> None:
    drawn = write_drawn_table(tmp_path, {"c": "ACGTTGCA" * 40}, [("c", 81, "AC", "A")])
    table = pa.parquet.read_table(drawn.path)
    index = table.schema.get_field_index("alt")
    alts = pa.array(["<DEL>"])
    pa.parquet.write_table(table.set_column(index, table.schema.field(index), alts), drawn.path)
    (tmp_path / RUN).unlink()
    added = add(drawn.path, tmp_path / "store", fasta=drawn.fasta)
    assert (added.added, added.left_out) == (0, {"symbolic": 1})
    assert "ALT is symbolic" in [*store_add.describe_added(added)][1]


def test_a_table_without_rows_adds_nothing(tmp_path: Path) -> None:
    drawn = write_drawn_table(tmp_path, {"c": "ACGTTGCA" * 40}, [])
    assert add(drawn.path, tmp_path / "store").as_json() == {
        "table": str(drawn.path), "rows": 0, "without_score": 0, "added": 0, "present": 0,
        "left_out": {}, "assumed_linear": [],
    }  # fmt: skip


def test_a_table_that_is_replaced_while_it_is_read_stores_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows would be stored under the signature of the table that was there before."""
    genome = {"c": "ACGTTGCA" * 40}
    drawn = write_drawn_table(tmp_path / "one", genome, [("c", 81, "A", "G")])
    other = write_drawn_table(tmp_path / "two", genome, [("c", 81, "A", "G")], seed=1)

    def replace_first(*arguments: Any, **options: Any) -> Any:
        other.path.replace(drawn.path)
        return read_rows(*arguments, **options)

    monkeypatch.setattr(store_add, "read_rows", replace_first)
    with pytest.raises(InputError, match="changed while it was read"):
        add(drawn.path, tmp_path / "store")
    assert not (tmp_path / "store").exists()


@pytest.mark.slow
def test_killed_at_any_moment_it_leaves_a_valid_store(tmp_path: Path) -> None:
    rng = random.Random(6)
    genome = draw_genome(rng, {"line": 2_000, "ring": 900})
    drawn = write_drawn_table(tmp_path, genome, draw_alleles(rng, genome, 600), circular=["ring"])
    store = tmp_path / "store"
    code = (
        "import sys\nfrom pathlib import Path\nfrom evo2_tasks.commands import store_add\n"
        "store_add.ROWS_AT_ONCE = store_add.BATCH_ROWS = 10\nprint('ready', flush=True)\n"
        "list(store_add.add([Path(sys.argv[1])], Path(sys.argv[2])))"
    )
    command = [sys.executable, "-c", code, str(drawn.path), str(store)]
    wanted = expected(drawn)
    numbers = []
    for _ in range(5):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(rng.uniform(0.05, 0.6))
        process.kill()
        process.wait()
        process.stdout.close()
        found = find(drawn, store, ("ring",))
        assert all(one in (None, right) for one, right in zip(found, wanted, strict=True))
        numbers.append(len(found) - found.count(None))
    assert numbers == sorted(numbers)
    add(drawn.path, store)
    assert find(drawn, store, ("ring",)) == wanted
    assert not [path for path in store.rglob(".*") if path.is_file()]


def test_a_strand_that_is_not_finite_is_not_stored(tmp_path: Path) -> None:
    genome = {"c": "ACGTTGCA" * 40}
    drawn = write_drawn_table(tmp_path, genome, [("c", 81, "A", "G"), ("c", 92, "T", "A")])
    table = pa.parquet.read_table(drawn.path)
    for name, values in {"ll_ref_rev": [float("inf"), 1.0], "llr_fwd": [1.0, None]}.items():
        index = table.schema.get_field_index(name)
        table = table.set_column(index, table.schema.field(index), pa.array(values))
    pa.parquet.write_table(table, drawn.path)
    (tmp_path / RUN).unlink()
    assert add(drawn.path, tmp_path / "store", fasta=drawn.fasta).added == 2
    first, second = find(drawn, tmp_path / "store", ())
    assert first is not None
    assert second is not None
    assert [name for name, value in first.items() if value is None] == [
        name + "_rev" for name in SCORE_NAMES
    ]
    assert [name for name, value in second.items() if value is None] == [
        name + "_fwd" for name in SCORE_NAMES
    ]


# --- mistakes


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments])


def stat(store: Path) -> Any:
    return json.loads(run("store", "stat", "--store", store, "--json").stdout)


@pytest.fixture
def drawn(tmp_path: Path) -> DrawnTable:
    return write_drawn_table(tmp_path, {"c": "ACGTTGCA" * 40}, [("c", 81, "A", "G")])


def assert_refused(result: Result, said: str) -> None:
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_another_genome_is_refused(tmp_path: Path, drawn: DrawnTable) -> None:
    drawn.fasta.write_text(">c\n" + "ACGTTGCC" * 40 + "\n")
    done = run("store", "add", drawn.path, "--store", tmp_path / "store")
    assert_refused(done, "genome.fa: is not the reference of")
    assert not (tmp_path / "store").exists()


def test_a_fasta_that_has_moved_is_named(tmp_path: Path, drawn: DrawnTable) -> None:
    drawn.fasta.rename(tmp_path / "moved.fa")
    done = run("store", "add", drawn.path, "--store", tmp_path / "store")
    assert_refused(done, "genome.fa, does not exist. If it has moved, name it by --fasta.")
    done = run(
        "store", "add", drawn.path, "--store", tmp_path / "store", "--fasta", tmp_path / "moved.fa"
    )
    assert done.exit_code == 0
    assert done.stdout == (
        f"{drawn.path}: 1 added, 0 in the store before, 0 not added, 0 without a score\n"
    )


def test_a_fasta_by_url_has_to_be_downloaded(tmp_path: Path, drawn: DrawnTable) -> None:
    stated = json.loads((tmp_path / RUN).read_text())
    stated["reference"]["fasta"] = "s3://lab/genome.fa"
    (tmp_path / RUN).write_text(json.dumps(stated))
    done = run("store", "add", drawn.path, "--store", tmp_path / "store")
    assert_refused(done, "the FASTA of its run is s3://lab/genome.fa, and only the workflow reads")
    done = run("store", "add", drawn.path, "--store", tmp_path / "s", "--fasta", drawn.fasta)
    assert done.exit_code == 0


def test_a_table_of_an_earlier_version_needs_the_fasta(tmp_path: Path) -> None:
    drawn = write_drawn_table(
        tmp_path, {"c": "ACGTTGCA" * 40}, [("c", 81, "A", "G")], states_reference=False
    )
    done = run("store", "add", drawn.path, "--store", tmp_path / "store")
    assert_refused(done, "does not state the FASTA. Name the FASTA of its reference by --fasta.")
    (tmp_path / RUN).unlink()
    done = run("store", "add", drawn.path, "--store", tmp_path / "store")
    assert_refused(done, "there is no run.json next to the table. Name the FASTA")


def test_one_bad_table_stops_the_others_before_they_are_added(
    tmp_path: Path, drawn: DrawnTable
) -> None:
    other = tmp_path / "other.parquet"
    pa.parquet.write_table(pa.table({"a": [1]}), other)
    done = run("store", "add", drawn.path, other, "--store", tmp_path / "store")
    assert_refused(done, "other.parquet: has other columns than a table of `merge`")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scores_version": 0}, "by another version of evo2-tasks (scores_version 0, here 1)"),
        ({"weights": None}, "its signature does not state the model"),
        ({"scoring": {"window_length": 64}}, "by another version of evo2-tasks"),
    ],
)
def test_a_table_of_another_version_is_refused(
    tmp_path: Path, drawn: DrawnTable, change: dict[str, Any], said: str
) -> None:
    table = pa.parquet.read_table(drawn.path)
    signature = {
        key: value for key, value in {**drawn.signature, **change}.items() if value is not None
    }
    metadata = {**table.schema.metadata, b"evo2_tasks.signature": json.dumps(signature).encode()}
    pa.parquet.write_table(table.replace_schema_metadata(metadata), drawn.path)
    (tmp_path / RUN).unlink()
    done = run("store", "add", drawn.path, "--store", tmp_path / "s", "--fasta", drawn.fasta)
    assert_refused(done, said)


def test_a_store_that_is_a_file_is_refused(tmp_path: Path, drawn: DrawnTable) -> None:
    done = run("store", "add", drawn.path, "--store", drawn.fasta)
    assert_refused(done, "genome.fa: the score store cannot be read")


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "in.vcf"
    file.write_text("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n")
    done = run("store", "add", file, "--store", tmp_path / "store")
    assert_refused(
        done,
        "in.vcf: cannot be read: it is not a Parquet file. Expected a table that a step of "
        "evo2-tasks wrote, for example scores.parquet.",
    )
    assert not (tmp_path / "store").exists()
