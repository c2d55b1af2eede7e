"""The steps in a row, in one process: what goes in comes out, however it is cut."""

import json
import random
import string
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pysam
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evo2_tasks.commands.convert import convert
from evo2_tasks.config.schema import RunConfig
from evo2_tasks.errors import InputError
from evo2_tasks.evo2 import checkpoints
from evo2_tasks.layout import shard_file
from evo2_tasks.steps import export as export_step
from evo2_tasks.table.provenance import read_provenance
from evo2_tasks.table.schema import STATUSES
from tests import project
from tests.project import files_of_shards, run_merge, run_score, run_steps, write_project

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


HEADER = project.HEADER.encode()


def write_config(folder: Path, variants: bytes, **parts: Any) -> RunConfig:
    """A config for these variants, of which none stops the run."""
    of_set = {"max_ref_mismatch_share": 1, **parts.pop("variant_set", {})}
    parts = {"reference": {"circular_contigs": ["ring"]}, "variant_set": of_set, **parts}
    return write_project(folder, genome=GENOME, variants=variants, **parts).load()


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


@pytest.mark.parametrize("model", ["random", "evo2-mini"])
def test_with_a_model_shards_and_budgets_change_no_number(
    tmp_path: Path, checkpoint: Path, model: str
) -> None:
    generator = random.Random(2)
    lines = []
    for _ in range(60):
        contig = generator.choice(["chr1", "ring"])
        pos = generator.randrange(1, 300)
        ref = GENOME[contig][pos - 1 : pos - 1 + generator.randint(1, 3)]
        alt = "".join(generator.choices("ACGT", k=generator.randint(1, 3)))
        lines.append(f"{contig}\t{pos}\t.\t{ref}\t{alt}\t.\t.\t.\n")
    source = str(checkpoint) if model == "random" else model
    tables = []
    for name, shards, run in (
        ("one", 1, {"batch_tokens": 65_536}),
        ("many", 7, {"batch_tokens": 200, "part_tokens": 1_000}),
    ):
        config = write_config(
            tmp_path,
            HEADER + "".join(lines).encode(),
            shards=shards,
            run=run,
            model={"checkpoint": source},
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
    tmp_path: Path, checkpoint: Path
) -> None:
    model = {"checkpoint": str(checkpoint)}
    config = write_config(tmp_path, HEADER + b"ring\t5\t.\tA\tC\n", model=model)
    table = run_steps(config, tmp_path / "results", stub=False)
    provenance = read_provenance(table)
    assert provenance.model == "m"
    assert provenance.signature["dtype"] == "float32"
    assert provenance.signature["scoring"]["window_length"] == 64
    assert len(provenance.signature["weights"]) == 64
    run = json.loads((tmp_path / "results" / "s" / "run.json").read_text())
    assert run["verification"] == {"status": "not_verified", "reason": "no published model"}
    assert run["shards"][0]["verification"] == run["verification"]
    split = json.loads((tmp_path / "results" / "shards" / "split.json").read_text())
    assert provenance.signature["reference"] == split["reference"]["digest"]

    other = write_config(tmp_path, HEADER, model=model, scoring={"window_length": 65})
    (files,) = files_of_shards(other, tmp_path / "results")
    with pytest.raises(InputError, match="window_length"):
        run_score(other, replace(files, scores=tmp_path / "other.parquet"))
    assert not (tmp_path / "other.parquet").exists()


def test_a_published_file_scores_as_the_folder_that_it_converts_to(tmp_path: Path) -> None:
    golden = Path(__file__).parents[1] / "data" / "golden" / "tiny_7b_1m"
    folder = tmp_path / "converted"
    convert(golden / "model.pt", folder, model=None, config=golden / "config.yml")
    published = {"checkpoint": str(golden / "model.pt"), "config": str(golden / "config.yml")}
    text = HEADER + b"ring\t50\t.\tN\tG\nring\t60\t.\tA\tC,G,T,GG\nchr1\t9\t.\tC\tCA\n"
    tables = [
        run_steps(
            write_config(tmp_path, text, model=model),
            tmp_path / name,
            stub=False,
        )
        for name, model in (("file", published), ("folder", {"checkpoint": str(folder)}))
    ]
    assert tables[0].read_bytes() == tables[1].read_bytes()


def test_a_gpu_that_is_not_there_is_one_clear_line(tmp_path: Path, checkpoint: Path) -> None:
    if torch.accelerator.is_available():
        pytest.skip("this machine has a GPU")
    models = {"m": {"checkpoint": str(checkpoint)}}
    config = write_config(tmp_path, HEADER + b"ring\t5\t.\tA\tC\n", models=models)
    with pytest.raises(InputError, match=r"models\.m\.gpus: 1 required"):
        run_steps(config, tmp_path / "results", stub=False)


SNV = f"ring\t9\t.\t{GENOME['ring'][8]}\t{'ACGT'['CGTA'.index(GENOME['ring'][8])]}\n".encode()


@pytest.fixture
def golden_release(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A golden checkpoint, which holds FP8 scales, as if it were a release that needs FP8."""
    golden = Path(__file__).parents[1] / "data" / "golden" / "tiny_1b_8k"
    files = {"checkpoint": str(golden / "model.pt"), "config": str(golden / "config.yml")}
    monkeypatch.setattr(checkpoints, "recognise", lambda _: "evo2_1b_base")
    return files


def test_a_release_that_needs_fp8_has_it_and_is_refused_without(
    tmp_path: Path, golden_release: dict[str, str]
) -> None:
    def run_with(name: str, **model: object) -> Path:
        config = write_config(tmp_path, HEADER + SNV, model=golden_release | model)
        return run_steps(config, tmp_path / name, stub=False)

    with pytest.raises(InputError, match=r"models\.m: .*near random.*allow_without_fp8"):
        run_with("refused", fp8="off")
    tables = {
        "emulate": run_with("default"),
        "hopper": run_with("hopper", fp8="hopper"),
        "off (allow_without_fp8)": run_with("allowed", fp8="off", allow_without_fp8=True),
    }
    signatures = [read_provenance(table).signature for table in tables.values()]
    assert [signature["fp8"] for signature in signatures] == [*tables]
    scores = [pq.read_table(table, columns=["llr"])["llr"][0].as_py() for table in tables.values()]
    assert len(set(scores)) == 3
    # The scales shape the scores, so they count in the digest of the weights.
    assert signatures[0]["weights"] == signatures[1]["weights"] != signatures[2]["weights"]


def test_another_model_runs_as_its_config_says(
    tmp_path: Path, golden_release: dict[str, str]
) -> None:
    folder = tmp_path / "converted"
    checkpoint, yml = (Path(golden_release[key]) for key in ("checkpoint", "config"))
    convert(checkpoint, folder, model=None, config=yml)
    for fp8 in ("ada", "off"):
        config_json = folder / "config.json"
        config_json.write_text(json.dumps({**json.loads(config_json.read_text()), "fp8": fp8}))
        config = write_config(tmp_path, HEADER + SNV, model={"checkpoint": str(folder)})
        table = run_steps(config, tmp_path / fp8, stub=False)
        assert read_provenance(table).signature["fp8"] == fp8


def test_fp8_without_scales_is_one_clear_line(tmp_path: Path, checkpoint: Path) -> None:
    model = {"checkpoint": str(checkpoint), "fp8": "emulate"}
    config = write_config(tmp_path, HEADER + b"ring\t5\t.\tA\tC\n", model=model)
    with pytest.raises(InputError, match=r"models\.m: .*needs FP8 scales.*layer 0"):
        run_steps(config, tmp_path / "results", stub=False)


def test_variants_of_another_assembly_stop_the_run(tmp_path: Path) -> None:
    wrong = {"A": "C", "C": "G", "G": "T", "T": "A"}
    sequence = GENOME["chr1"]
    lines = "".join(
        f"chr1\t{pos}\t.\t{wrong[sequence[pos - 1]]}\t{wrong[wrong[sequence[pos - 1]]]}\t.\t.\t.\n"
        for pos in range(1, 301)
    )
    limit = {"max_ref_mismatch_share": 0.5}
    config = write_config(tmp_path, HEADER + lines.encode(), variant_set=limit)
    with pytest.raises(InputError, match=r"300 of 300 alleles.*another assembly"):
        run_steps(config, tmp_path / "results")
    assert not list((tmp_path / "results").rglob("*.parquet"))


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
    assert f"contig 'NC_0001' was not found in {tmp_path / 'genome.fa'}, which has: " in caplog.text


@pytest.mark.parametrize("late", ["s/scores", "s/windows", "shards"])
def test_a_file_that_an_earlier_run_wrote_late_is_not_merged(tmp_path: Path, late: str) -> None:
    """Same positions, another alternate allele: keys, statuses and signatures are the same."""
    line = HEADER + b"ring\t5\t.\t%s\t%s\t.\t.\t.\n"
    ref = GENOME["ring"][4].encode()
    one, other = (b"A", b"C") if ref in b"GT" else (b"G", b"T")
    run_steps(write_config(tmp_path, line % (ref, one)), tmp_path / "one")
    config = write_config(tmp_path, line % (ref, other))
    table = run_steps(config, tmp_path / "other")
    right = table.read_bytes()
    name = shard_file(1, 1)
    (tmp_path / "one" / late / name).replace(tmp_path / "other" / late / name)
    with pytest.raises(InputError, match=r"was made from another version of .*"):
        run_merge(config, tmp_path / "other")
    assert table.read_bytes() == right


def test_parts_of_another_number_of_shards_go_with_the_merge(tmp_path: Path) -> None:
    config = write_config(tmp_path, HEADER + b"ring\t5\t.\tA\tC\t.\t.\t.\n")
    for folder in ("1-of-2.parts", "1-of-1.parts", "own"):
        (tmp_path / "results" / "s" / "scores" / folder).mkdir(parents=True)
    run_steps(config, tmp_path / "results")
    left = {path.name for path in (tmp_path / "results" / "s" / "scores").iterdir()}
    assert left == {"1-of-1.parquet", "1-of-1.json", "own"}


def test_an_export_without_its_run_asks_for_the_variants(tmp_path: Path) -> None:
    config = write_config(tmp_path, HEADER + b"ring\t5\t.\tA\tC\t.\t.\t.\n")
    table = run_steps(config, tmp_path / "results")
    table.with_name("run.json").unlink()
    out = tmp_path / "out.vcf.gz"
    with pytest.raises(InputError, match="--variants"):
        export_step.export(table, to="vcf", variants=None, out=out)
    assert not out.exists()
    export_step.export(table, to="vcf", variants=tmp_path / "in.vcf", out=out)
    assert out.exists()


def test_only_the_vcf_takes_variants(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="format vcf"):
        export_step.export(tmp_path / "scores.parquet", to="tsv", variants=tmp_path / "in.vcf")


def of_regions(folder: Path, bed: str, **parts: Any) -> RunConfig:
    """A config whose variants are every SNV and deletion of some regions."""
    of_set = {
        "variants": str(folder / "in.bed"),
        "saturate": ["snv", "deletion"],
        "carry": ["name"],
    }
    (folder / "in.bed").write_text(bed)
    return write_config(folder, HEADER, variant_set=of_set, **parts)


def test_the_alleles_of_a_region_are_cut_into_shards(tmp_path: Path) -> None:
    bed = "chr1\t0\t300\tone\nnowhere\t0\t9\nno region\nring\t300\t400\ttwo\nchr1\t290\t310\n"
    table = run_steps(of_regions(tmp_path, bed), tmp_path / "one")
    many = of_regions(tmp_path, bed, shards=7)
    assert run_steps(many, tmp_path / "many").read_bytes() == table.read_bytes()
    sizes = [
        pq.read_metadata(tmp_path / "many" / "shards" / shard_file(shard, 7)).num_rows
        for shard in range(1, 8)
    ]
    num_alleles = 4 * (300 + 33 + 20)
    assert sum(sizes) == num_alleles + 3
    # Those of one position stay together.
    assert max(sizes) - min(sizes) <= 8
    rows = pq.read_table(table).to_pylist()
    by_record: dict[int, list[dict[str, object]]] = {}
    for row in rows:
        by_record.setdefault(row["record"], []).append(row)
    assert [len(by_record[record]) for record in range(5)] == [1200, 1, 1, 133, 80]
    assert {row["name"] for row in by_record[0]} == {"one"}
    for record, status, pos in [(1, "contig_not_found", 1), (3, "position_out_of_range", 334)]:
        first = by_record[record][0]
        found = [first[name] for name in ("allele", "status", "pos", "ref", "alt", "llr")]
        assert found == [0, status, pos, None, None, None]
    assert (by_record[2][0]["status"], by_record[2][0]["contig"]) == ("invalid_record", None)


def test_regions_are_scored_as_a_vcf_of_the_same_alleles(tmp_path: Path) -> None:
    model = {"checkpoint": "evo2-mini"}
    config = of_regions(tmp_path, "chr1\t0\t12\nring\t330\t333\n", model=model)
    table = run_steps(config, tmp_path / "regions", stub=False)
    rows = pq.read_table(table).to_pylist()
    assert len(rows) == 4 * 15
    lines = [f"{row['contig']}\t{row['pos']}\t.\t{row['ref']}\t{row['alt']}\n" for row in rows]
    vcf = write_config(tmp_path, HEADER + "".join(lines).encode(), model=model)
    others = pq.read_table(run_steps(vcf, tmp_path / "vcf", stub=False)).to_pylist()
    # The same rows in the same order make the same batches, to the last bit.
    for row, other in zip(rows, others, strict=True):
        for name in ("status", "flags", "llr", "llr_aligned", "llr_fwd", "llr_rev"):
            assert row[name] == other[name], row

    out = tmp_path / "sites.vcf.gz"
    export_step.export(table, to="vcf", variants=None, out=out)
    with pysam.VariantFile(str(out)) as file:
        sites = [(r.chrom, r.pos, r.ref, alt) for r in file for alt in r.alts or ()]
    assert sites == [(row["contig"], row["pos"], row["ref"], row["alt"]) for row in rows]


def test_a_list_is_scored_as_a_vcf_of_the_same_alleles(tmp_path: Path) -> None:
    sequence = GENOME["chr1"]
    aliases = {"contig_aliases": {"NC_1.1": "chr1"}}
    vcf = [
        f"chr1\t101\t.\t{sequence[100]}\tTA\n",
        f"chr1\t200\t.\t{sequence[199:202]}\t{sequence[199]}\n",
    ]
    config = write_config(tmp_path, HEADER + "".join(vcf).encode(), reference=aliases)
    expected = pq.read_table(run_steps(config, tmp_path / "vcf")).to_pylist()
    lines = f"# two\nchr1-101-{sequence[100]}-TA\nNC_1.1:200:2:\n"
    config = write_config(tmp_path, lines.encode(), reference=aliases)
    found = pq.read_table(run_steps(config, tmp_path / "list")).to_pylist()
    assert [row["contig"] for row in found] == ["chr1", "NC_1.1"]
    assert "alias_contig" in found[1]["flags"]
    names = ("reference_contig", "pos", "ref", "alt", "status", "window_start", "window_end")
    for one, other in zip(found, expected, strict=True):
        assert [one[name] for name in names] == [other[name] for name in names]


def test_a_table_with_named_columns_is_scored_as_a_vcf_of_the_same_alleles(tmp_path: Path) -> None:
    bases = GENOME["chr1"]
    vcf = f"chr1\t101\t.\t{bases[100]}\tTA\nchr1\t200\t.\t{bases[199]}\t{bases[199]}C\n"
    config = write_config(tmp_path, HEADER + vcf.encode())
    expected = pq.read_table(run_steps(config, tmp_path / "vcf")).drop_columns(["record"])
    table = "chr\thg19_pos\tpos38\tref\talt\n"
    table += f"chr1\t1\t101\t{bases[100]}\tTA\nchr1\t2\t200\t{bases[199]}\t{bases[199]}C\n"
    config = write_config(tmp_path, table.encode(), variant_set={"columns": {"pos": "pos38"}})
    found = pq.read_table(run_steps(config, tmp_path / "table")).drop_columns(["record"])
    assert found.to_pylist() == expected.to_pylist()


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
    assert run["contigs"] == {"chr1": len(GENOME["chr1"])}
    assert set(run["by_status"]) >= {"scored", "not_a_variant", "position_out_of_range"}


def test_a_reference_of_rna_stops_split(tmp_path: Path) -> None:
    config = write_config(tmp_path, HEADER + b"ring\t5\t.\tA\tC\t.\t.\t.\n")
    fasta = next(iter(config.references.values())).fasta
    fasta.write_text(fasta.read_text().replace("T", "U").replace("t", "u"))
    fasta.with_name(fasta.name + ".fai").unlink(missing_ok=True)
    with pytest.raises(InputError, match=r"contig '\w+' is RNA: it has [\d,]+ U and 0 T"):
        run_steps(config, tmp_path)
