"""The steps in a row, in one process: what goes in comes out, however it is cut."""

import json
import random
import string
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evo2_tasks import Evo2ForCausalLM, score_task, tasks
from evo2_tasks.config import RunConfig, load_config
from evo2_tasks.errors import InputError
from evo2_tasks.table.files import read_rows, write_table
from evo2_tasks.table.provenance import Provenance, package_version, read_provenance
from evo2_tasks.table.schema import STATUSES, scores_schema

slow_fixtures = settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

rng = random.Random(11)
GENOME = {
    "chr1": "".join(rng.choices("ACGT", k=900)) + "ACACACACAC" * 5 + "N" * 40,
    "ring": "".join(rng.choices("ACGT", k=333)),
    "short": "ACGTTGCA",
}


def write_config(folder: Path, variants: bytes, **changes: object) -> RunConfig:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "genome.fa").write_text("".join(f">{n}\n{s}\n" for n, s in GENOME.items()))
    (folder / "in.vcf").write_bytes(variants)
    (folder / "model").mkdir(exist_ok=True)
    if not (folder / "model" / "config.json").exists():
        (folder / "model" / "config.json").write_text("{}")
    return load_config(
        {
            "references": {"g": {"fasta": str(folder / "genome.fa"), "circular_contigs": ["ring"]}},
            "models": {"m": {"checkpoint": str(folder / "model"), "gpus": 0}},
            "scorings": {"s": {"model": "m", "window_length": 64}},
            "variant_sets": {
                "v": {
                    "variants": str(folder / "in.vcf"),
                    "reference": "g",
                    "scorings": ["s"],
                    "max_ref_mismatch_share": 1,
                }
            },
            "output": str(folder / "results"),
            **changes,
        }
    )


def write_stub_scores(windows: Path, out: Path) -> None:
    """Numbers that follow from the row alone, in the place of a model's."""
    signature = {**read_provenance(windows).signature, "weights": "stub"}
    metadata = Provenance(signature, package_version(), model="stub").metadata()
    schema = scores_schema()
    with write_table(out, schema, metadata=metadata) as writer:
        for batch in read_rows(windows, ["record", "allele", "status"]):
            rows = batch.to_pydict()
            numbers = [
                record + allele / 8 if status == "scored" else None
                for record, allele, status in zip(*rows.values(), strict=True)
            ]
            columns = [*rows.values(), *[numbers] * (len(schema.names) - 3)]
            writer.write_columns(dict(zip(schema.names, columns, strict=True)))
    side = {"windows_run": 0, "tokens_run": 0, "wall_s": 0}
    out.with_suffix(".json").write_text(json.dumps(side))


def run_steps(config: RunConfig, folder: Path, *, stub: bool = True) -> Path:
    """Split, windows, score and merge; gives the table."""
    shards, work = folder / "shards", folder / "s"
    tasks.split(config, variant_set="v", variants=None, out=shards)
    for shard in range(1, config.shards + 1):
        name = tasks.shard_name(shard, config.shards)
        windows, segments = work / "windows" / name, work / "windows" / f"{name}.segments"
        tasks.windows(
            config,
            variant_set="v",
            scoring="s",
            shard=shards / name,
            split_file=shards / "split.json",
            out=windows,
            segments_file=segments,
        )
        scores = work / "scores" / name
        if stub:
            write_stub_scores(windows, scores)
        else:
            score_task.score(
                config,
                scoring="s",
                windows_file=windows,
                segments_file=segments,
                out=scores,
                threads=1,
            )
    tasks.merge(
        config,
        variant_set="v",
        scoring="s",
        split_file=shards / "split.json",
        windows_folder=work / "windows",
        scores_folder=work / "scores",
        out=work / "scores.parquet",
        run_json=work / "run.json",
    )
    return work / "scores.parquet"


HEADER = b"##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
contigs = st.sampled_from(["chr1", "1", "ring", "short", "chr9", "<b>", "=1+1", "a/../b"])
hostile = st.text(
    st.characters(exclude_characters="\t\n\r\0,", exclude_categories=("Cs",)), min_size=1
)
alleles = st.one_of(
    st.text("ACGT", min_size=1, max_size=4),
    st.text("ACGTNacgtR", min_size=1, max_size=4),
    st.sampled_from(["*", ".", "<DEL>", "<*>", "A[chr1:5[", "A.", ".A", "C<ctg1>"]),
    hostile,
)


@st.composite
def records(draw: st.DrawFn) -> tuple[bytes, list[tuple[str, int, str, str, int]]]:
    """A data line, and the alleles that it names; half of the REFs are right."""
    contig = draw(contigs)
    pos = draw(st.integers(-2, 1100))
    ref = draw(alleles.filter(lambda text: text.strip()))
    sequence = GENOME.get(contig, "")
    if draw(st.booleans()) and 0 < pos <= len(sequence):
        ref = sequence[pos - 1 : pos - 1 + draw(st.integers(1, 5))]
    alts = draw(st.lists(alleles, min_size=1, max_size=3))
    line = "\t".join([contig, str(pos), ".", ref, ",".join(alts), ".", ".", "."])
    named = [
        (contig, pos, upper(ref), upper(alt), 0 if alts == ["."] else i)
        for i, alt in enumerate(alts, start=1)
    ]
    return line.encode() + b"\n", named


def upper(allele: str) -> str:
    return allele.upper() if all(c in string.ascii_letters for c in allele) else allele


@slow_fixtures
@given(lines=st.lists(records(), max_size=30), num_shards=st.integers(2, 7))
def test_rows_out_are_alleles_in_and_shards_leave_no_trace(
    tmp_path_factory: pytest.TempPathFactory,
    lines: Sequence[tuple[bytes, list[tuple[str, int, str, str, int]]]],
    num_shards: int,
) -> None:
    folder = tmp_path_factory.mktemp("run")
    text = HEADER + b"".join(line for line, _ in lines)
    table = run_steps(write_config(folder, text), folder / "one")
    rows = pq.read_table(table).to_pylist()
    named = [(i, *allele) for i, (_, alleles) in enumerate(lines) for allele in alleles]
    keys = ("record", "contig", "pos", "ref", "alt", "allele")
    assert [tuple(row[key] for key in keys) for row in rows] == named
    for row in rows:
        assert row["status"] in STATUSES
        assert (row["llr"] is not None) == (row["status"] == "scored")
        assert row["status"] == "scored" or row["flags"] == []
    run = json.loads(table.with_name("run.json").read_text())
    assert run["alleles"] == len(rows) == sum(run["by_status"].values())

    in_shards = write_config(folder, text, shards=num_shards)
    assert run_steps(in_shards, folder / "many").read_bytes() == table.read_bytes()


@slow_fixtures
@given(text=st.one_of(st.binary(max_size=400), st.binary(max_size=200).map(HEADER.__add__)))
def test_any_bytes_end_in_rows_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, text: bytes
) -> None:
    folder = tmp_path_factory.mktemp("run")
    said = None
    try:
        table = run_steps(write_config(folder, text), folder / "results")
    except InputError as error:
        said = str(error)
    if said is None:
        assert set(pq.read_table(table)["status"].to_pylist()) <= set(STATUSES)
    else:
        assert said.isprintable(), "one line, without control characters"
        assert not list((folder / "results").rglob("*.parquet"))


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory, small_model: Evo2ForCausalLM) -> Path:
    folder = tmp_path_factory.mktemp("model")
    small_model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("checkpoint", ["random", "evo2-mini"])
def test_with_a_model_shards_and_budgets_change_no_number(
    tmp_path: Path, model_folder: Path, checkpoint: str
) -> None:
    generator = random.Random(2)
    lines = []
    for _ in range(60):
        contig = generator.choice(["chr1", "ring"])
        pos = generator.randrange(1, 300)
        ref = GENOME[contig][pos - 1 : pos - 1 + generator.randint(1, 3)]
        alt = "".join(generator.choices("ACGT", k=generator.randint(1, 3)))
        lines.append(f"{contig}\t{pos}\t.\t{ref}\t{alt}\t.\t.\t.\n")
    source = str(model_folder) if checkpoint == "random" else checkpoint
    models = {"m": {"checkpoint": source, "gpus": 0}}
    tables = []
    for name, shards, run in (
        ("one", 1, {"batch_tokens": 65_536}),
        ("many", 7, {"batch_tokens": 200, "part_tokens": 1_000}),
    ):
        config = write_config(
            tmp_path, HEADER + "".join(lines).encode(), shards=shards, run=run, models=models
        )
        tables.append(pq.read_table(run_steps(config, tmp_path / name, stub=False)))
    one, many = tables
    assert one.num_rows == 60
    assert one["status"].to_pylist().count("scored") > 40
    for column in one.schema.names:
        if pa.types.is_floating(one[column].type):
            # float32 in batches of other shapes; sums of up to 64 tokens
            assert many[column].to_pylist() == [
                None if value is None else pytest.approx(value, abs=6.4e-5)
                for value in one[column].to_pylist()
            ]
        else:
            assert many[column].to_pylist() == one[column].to_pylist()


def test_the_model_and_the_settings_stand_in_the_signature(
    tmp_path: Path, model_folder: Path
) -> None:
    models = {"m": {"checkpoint": str(model_folder), "gpus": 0}}
    config = write_config(tmp_path, HEADER + b"ring\t5\t.\tA\tC\n", models=models)
    table = run_steps(config, tmp_path / "results", stub=False)
    provenance = read_provenance(table)
    assert provenance.model == "m"
    assert provenance.signature["dtype"] == "float32"
    assert provenance.signature["scoring"]["window_length"] == 64
    assert len(provenance.signature["weights"]) == 64
    split = json.loads((tmp_path / "results" / "shards" / "split.json").read_text())
    assert provenance.signature["reference"] == split["reference"]["digest"]

    other = write_config(
        tmp_path,
        HEADER,
        models=models,
        scorings={"s": {"model": "m", "window_length": 65}},
    )
    windows = tmp_path / "results" / "s" / "windows" / "1-of-1.parquet"
    with pytest.raises(InputError, match="window_length"):
        score_task.score(
            other,
            scoring="s",
            windows_file=windows,
            segments_file=windows.with_suffix(".parquet.segments"),
            out=tmp_path / "other.parquet",
            threads=1,
        )
    assert not (tmp_path / "other.parquet").exists()


def test_a_published_file_scores_as_the_folder_that_it_converts_to(tmp_path: Path) -> None:
    golden = Path(__file__).parent / "data" / "golden" / "tiny_7b_1m"
    folder = tmp_path / "converted"
    score_task.convert(golden / "model.pt", folder, model=None, config=golden / "config.yml")
    published = {"checkpoint": str(golden / "model.pt"), "config": str(golden / "config.yml")}
    text = HEADER + b"ring\t50\t.\tN\tG\nring\t60\t.\tA\tC,G,T,GG\nchr1\t9\t.\tC\tCA\n"
    tables = [
        run_steps(
            write_config(tmp_path, text, models={"m": {"gpus": 0, **model}}),
            tmp_path / name,
            stub=False,
        )
        for name, model in (("file", published), ("folder", {"checkpoint": str(folder)}))
    ]
    assert tables[0].read_bytes() == tables[1].read_bytes()


def test_a_gpu_that_is_not_there_is_one_clear_line(tmp_path: Path, model_folder: Path) -> None:
    if torch.accelerator.is_available():
        pytest.skip("this machine has a GPU")
    models = {"m": {"checkpoint": str(model_folder)}}
    config = write_config(tmp_path, HEADER + b"ring\t5\t.\tA\tC\n", models=models)
    with pytest.raises(InputError, match=r"models\.m\.gpus: 1 asked for"):
        run_steps(config, tmp_path / "results", stub=False)


@pytest.mark.parametrize("release", sorted(score_task.NEEDS_FP8))
def test_a_release_that_needs_fp8_is_refused(
    tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch, release: str
) -> None:
    monkeypatch.setattr(score_task, "recognise", lambda _: release)
    models = {"m": {"checkpoint": str(model_folder), "gpus": 0}}
    config = write_config(tmp_path, HEADER + b"ring\t5\t.\tA\tC\n", models=models)
    with pytest.raises(InputError, match=rf"{release}.*FP8"):
        run_steps(config, tmp_path / "results", stub=False)


def test_variants_of_another_assembly_stop_the_run(tmp_path: Path) -> None:
    wrong = {"A": "C", "C": "G", "G": "T", "T": "A"}
    sequence = GENOME["chr1"]
    lines = "".join(
        f"chr1\t{pos}\t.\t{wrong[sequence[pos - 1]]}\t{wrong[wrong[sequence[pos - 1]]]}\t.\t.\t.\n"
        for pos in range(1, 301)
    )
    config = write_config(tmp_path, HEADER + lines.encode())
    strict = config.model_copy(
        update={
            "variant_sets": {
                "v": config.variant_sets["v"].model_copy(update={"max_ref_mismatch_share": 0.5})
            }
        }
    )
    with pytest.raises(InputError, match=r"100 of the first 100 alleles.*another assembly"):
        run_steps(strict, tmp_path / "results")


def test_a_run_without_any_score_says_so_at_each_step_and_ends_with_its_rows(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = b"".join(b"NC_0001\t%d\t.\tA\tC\t.\t.\t.\n" % pos for pos in range(1, 6))
    config = write_config(tmp_path, HEADER + lines, shards=1)
    table = run_steps(config, tmp_path)
    assert pq.read_table(table)["status"].to_pylist() == ["contig_not_found"] * 5
    said = "1-of-1.parquet: NO SCORE for any of 5 alleles: contig_not_found 5"
    assert f"{tmp_path / 'shards'}/{said}" in caplog.text
    assert f"{table}: NO SCORE for any of 5 alleles: contig_not_found 5" in caplog.text
    assert f"contig 'NC_0001' is not found in {tmp_path / 'genome.fa'}, which has " in caplog.text


def test_an_export_without_its_run_asks_for_the_variants(tmp_path: Path) -> None:
    config = write_config(tmp_path, HEADER + b"ring\t5\t.\tA\tC\t.\t.\t.\n")
    table = run_steps(config, tmp_path / "results")
    table.with_name("run.json").unlink()
    out = tmp_path / "out.vcf.gz"
    with pytest.raises(InputError, match="--variants"):
        tasks.export(table, to="vcf", variants=None, out=out)
    assert not out.exists()
    tasks.export(table, to="vcf", variants=tmp_path / "in.vcf", out=out)
    assert out.exists()


def test_hundred_thousand_alleles_all_come_back(tmp_path: Path) -> None:
    generator = random.Random(4)
    text = [HEADER.decode()]
    sequence = GENOME["chr1"]
    expected = 0
    while expected < 100_000:
        pos = generator.randrange(1, len(sequence) + 3)
        ref = sequence[pos - 1 : pos] or "A"
        alts = generator.sample("ACGT", generator.randint(1, 3))
        text.append(f"chr1\t{pos}\t.\t{ref}\t{','.join(alts)}\t.\t.\t.\n")
        expected += len(alts)
    config = write_config(tmp_path, "".join(text).encode(), shards=3)
    table = run_steps(config, tmp_path / "results")
    run = json.loads(table.with_name("run.json").read_text())
    assert run["alleles"] == expected == pq.read_metadata(table).num_rows
    assert sum(run["by_status"].values()) == expected
    assert set(run["by_status"]) >= {"scored", "not_a_variant", "position_out_of_range"}
