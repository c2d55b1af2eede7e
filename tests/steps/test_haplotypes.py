"""Haplotypes from genotypes to tables, all steps in one process.

A score beside neighbours is compared with that of the same allele on an edited reference, which
knows nothing of haplotypes.
"""

import json
import random
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pysam
import pysam.bcftools
import pytest
from click.testing import CliRunner

from evo2_tasks.cli import main
from evo2_tasks.config.load import load_config
from evo2_tasks.config.resolve import resolve_haplotypes, resolve_merge_haplotypes
from evo2_tasks.errors import InputError
from evo2_tasks.io.interruption import Interrupted, Interruption
from evo2_tasks.layout import (
    CARRIERS,
    COMPOUNDS,
    GROUPS,
    HAPLOTYPES,
    HAPLOTYPES_RUN,
    PAIR_COUNTS,
    PAIR_SCORES,
    PAIRS,
    REFERENCE,
    RUN,
    SHARDS,
    SPLIT,
    TABLE,
    WINDOWS,
    hits_file,
    shard_file,
    shard_run_file,
)
from evo2_tasks.steps import haplotypes as haplotypes_step
from evo2_tasks.steps import merge_haplotypes as merge_haplotypes_step
from tests.project import (
    DATA,
    Project,
    pairs_of_shards,
    run_haplotypes,
    run_score,
    run_steps,
    write_project,
)

WINDOW = 96
TOLERANCE = 1e-6 * WINDOW
"""How far two scores of the same windows may be apart, in another batch: nats in float32."""

Line = tuple[str, int, str, str, Sequence[str]]
"""Contig, position, REF, ALT and the genotypes."""


def write_vcf(lines: Sequence[Line], samples: Sequence[str]) -> str:
    columns = ["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT"]
    header = ["##fileformat=VCFv4.4", "\t".join([*columns, *samples])]
    contigs = dict.fromkeys(line[0] for line in lines)
    header[1:1] = [f"##contig=<ID={contig}>" for contig in contigs]
    header[1:1] = ['##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">']
    rows = ["\t".join([c, str(pos), ".", ref, alt, ".", "PASS", ".", "GT", *calls])
            for c, pos, ref, alt, calls in lines]  # fmt: skip
    return "".join(f"{line}\n" for line in [*header, *rows])


def make_genome(seed: int = 1, length: int = 700) -> dict[str, str]:
    rng = random.Random(seed)
    return {name: "".join(rng.choices("ACGT", k=length)) for name in ("line", "ring")}


def make_lines(genome: dict[str, str], *, seed: int, spacing: int = 9) -> list[Line]:
    """SNVs, insertions and deletions with phased genotypes of two samples; none overlap."""
    rng = random.Random(seed)
    lines: list[Line] = []
    for contig, bases in genome.items():
        pos = 10
        while pos < len(bases) - 10:
            ref = bases[pos - 1]
            other = rng.choice([base for base in "ACGT" if base != ref])
            kind = rng.choice("sssid")
            if kind == "s":
                alleles = (ref, other)
            elif kind == "i":
                alleles = (ref, ref + "".join(rng.choices("ACGT", k=rng.randint(1, 3))))
            else:
                alleles = (bases[pos - 1 : pos + rng.randint(1, 3)], ref)
            calls = [rng.choice(["0|1", "1|0", "1|1", "0|0", "./."]) for _ in range(2)]
            lines.append((contig, pos, *alleles, calls))
            pos += rng.randint(1, 2 * spacing)
    return lines


def make_project(
    folder: Path,
    checkpoint: Path | None,
    lines: Sequence[Line],
    *,
    genome: dict[str, str],
    samples: Sequence[str] = ("S1", "S2"),
    haplotypes: dict[str, Any] | None = None,
    **parts: Any,
) -> Project:
    keys = {"haplotypes": {"samples": "all"} if haplotypes is None else haplotypes}
    model = {} if checkpoint is None else {"model": {"checkpoint": str(checkpoint)}}
    return write_project(
        folder,
        genome=genome,
        variants=write_vcf(lines, samples),
        reference={"circular_contigs": ["ring"] if "ring" in genome else []},
        scoring={"window_length": WINDOW, **parts.pop("scoring", {})},
        variant_set={**keys, **parts.pop("variant_set", {})},
        output=str(folder / "results"),
        **model,
        **parts,
    )


def run_all(project: Project, *, stub: bool = True) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Run all steps; gives the two tables, with the alleles spelled out."""
    config = project.load()
    folder = config.output / "v"
    run_steps(config, folder, stub=stub)
    run_haplotypes(config, folder, stub=stub)
    return read_tables(folder / "s")


def read_tables(work: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The two tables of a scoring, with the alleles in the place of their keys."""
    spelled = pd.read_parquet(work / TABLE).set_index(["record", "allele"])
    names = {
        key: (row.contig, row.pos, row.ref, row.alt)
        for key, row in spelled[["contig", "pos", "ref", "alt"]].iterrows()
    }
    carriers = pq.read_table(work / HAPLOTYPES).to_pylist()
    for row in carriers:
        row["name"] = names[row["record"], row["allele"]]
        row["background"] = [names[one["record"], one["allele"]] for one in row["background"]]
    groups = pq.read_table(work / COMPOUNDS).to_pylist()
    for row in groups:
        row["members"] = tuple(names[one["record"], one["allele"]] for one in row["members"])
    return pd.DataFrame(carriers), pd.DataFrame(groups)


def key_rows(carriers: pd.DataFrame, groups: pd.DataFrame) -> dict[Any, dict[str, Any]]:
    """All rows by what they are about, without the numbers of their records."""
    rows = {
        (row["name"], row["sample"], row["haplotype"]): row
        for row in carriers.drop(columns=["record", "allele"]).to_dict("records")
    }
    joint = groups.to_dict("records")
    rows |= {(row["members"], row["sample"], row["haplotype"]): row for row in joint}
    assert len(rows) == len(carriers) + len(groups)
    return rows


def require_equal(one: dict[Any, dict[str, Any]], other: dict[Any, dict[str, Any]]) -> None:
    """Two sets of rows are equal; scores up to their last bits."""
    assert one.keys() == other.keys()
    for key, row in one.items():
        for name, value in row.items():
            if name.startswith(("llr", "interaction")):
                assert other[key][name] == pytest.approx(value, abs=3 * TOLERANCE), (key, name)
            elif value == value:
                assert other[key][name] == value, (key, name)
            else:
                assert other[key][name] != other[key][name], (key, name)


# --- the scores


@pytest.fixture(scope="module")
def genome() -> dict[str, str]:
    return make_genome()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Project:
    """A run of two shards, with scores of a model."""
    genome = make_genome()
    folder = tmp_path_factory.mktemp("finished")
    lines = make_lines(genome, seed=4)
    project = make_project(folder, checkpoint, lines, genome=genome, shards=2)
    run_all(project, stub=False)
    return project


def results_of(project: Project) -> Path:
    return project.load().output / "v" / "s"


def edit(bases: str, alleles: Sequence[tuple[str, int, str, str]]) -> str:
    """A sequence with alleles of a VCF, which do not overlap."""
    for _, pos, ref, alt in sorted(alleles, key=lambda one: -one[1]):
        assert bases[pos - 1 : pos - 1 + len(ref)] == ref
        bases = bases[: pos - 1] + alt + bases[pos - 1 + len(ref) :]
    return bases


def test_a_score_beside_neighbours_is_that_on_a_reference_with_them(
    finished: Project, genome: dict[str, str], checkpoint: Path, tmp_path: Path
) -> None:
    carriers, _ = read_tables(results_of(finished))
    beside = carriers[carriers["num_background"] > 0]
    assert len(beside) > 100
    sequences: dict[str, str] = {}
    lines: list[Line] = []
    rows = list(beside.to_dict("records"))
    for number, row in enumerate(rows):
        contig, pos, ref, alt = row["name"]
        shift = sum(len(one[3]) - len(one[2]) for one in row["background"] if one[1] < pos)
        name = f"{contig}{number}"
        sequences[name] = edit(genome[contig], row["background"])
        # The padding base of an indel may be one that a neighbour changes.
        padded = sequences[name][pos - 1 + shift]
        lines.append((name, pos + shift, padded + ref[1:], padded + alt[1:], []) if len(ref) != len(
            alt) else (name, pos + shift, ref, alt, []))  # fmt: skip
    columns = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    text = "".join(f"{c}\t{pos}\t.\t{ref}\t{alt}\t.\t.\t.\n" for c, pos, ref, alt, _ in lines)
    project = write_project(
        tmp_path,
        genome=sequences,
        variants=f"##fileformat=VCFv4.4\n{columns}{text}",
        reference={"circular_contigs": [name for name in sequences if name.startswith("ring")]},
        model={"checkpoint": str(checkpoint)},
        scoring={"window_length": WINDOW},
        output=str(tmp_path / "results"),
    )
    config = project.load()
    table = pd.read_parquet(run_steps(config, config.output / "v", stub=False))
    assert (table["status"] == "scored").all()
    for row, expected in zip(rows, table.to_dict("records"), strict=True):
        for suffix in ("", "_fwd", "_rev"):
            found = row[f"llr_background{suffix}"]
            assert found == pytest.approx(expected[f"llr{suffix}"], abs=TOLERANCE), row["name"]
        windows = {"clipped", "low_context", "low_downstream", "n_in_window"}
        assert windows & {*row["flags"]} == windows & {*expected["flags"]}


def test_without_neighbours_both_scores_are_those_of_the_table(finished: Project) -> None:
    carriers, _ = read_tables(results_of(finished))
    table = pd.read_parquet(results_of(finished) / TABLE).set_index(["record", "allele"])
    assert (carriers["num_background"] == 0).any()
    for row in carriers.to_dict("records"):
        expected = table.loc[row["record"], row["allele"]]
        for suffix in ("", "_fwd", "_rev"):
            assert row[f"llr_alone{suffix}"] == expected[f"llr{suffix}"]
            if row["num_background"] == 0:
                assert row[f"llr_background{suffix}"] == expected[f"llr{suffix}"]


def test_each_carried_allele_has_a_row_for_each_of_its_haplotypes(finished: Project) -> None:
    carriers, _ = read_tables(results_of(finished))
    expected = set()
    with pysam.VariantFile(str(finished.variants)) as file:
        for record in file:
            for sample, call in record.samples.items():
                for haplotype, allele in enumerate(call["GT"], start=1):
                    if allele:
                        name = (record.contig, record.pos, record.ref, record.alts[allele - 1])
                        expected.add((name, sample, haplotype))
    assert expected == {
        (row["name"], row["sample"], row["haplotype"]) for row in carriers.to_dict("records")
    }
    order = carriers[["record", "allele", "sample", "haplotype"]]
    assert order.equals(order.sort_values([*order.columns]))


def test_a_compound_is_scored_like_one_record_with_all_its_changes(
    finished: Project, genome: dict[str, str], checkpoint: Path, tmp_path: Path
) -> None:
    carriers, groups = read_tables(results_of(finished))
    assert len(groups) > 5
    alone = {row["name"]: row for row in carriers.to_dict("records")}
    joint = []
    for row in groups.to_dict("records"):
        contig, members = row["contig"], row["members"]
        assert {one[0] for one in members} == {contig}
        # The record has a base of padding before the first change, as VCF asks for indels.
        first = min(pos for _, pos, _, _ in members) - 1
        last = max(pos + len(ref) for _, pos, ref, _ in members) - 1
        ref = genome[contig][first:last]
        moved = [(contig, pos - first, one, other) for _, pos, one, other in members]
        joint.append((contig, first + 1, ref, edit(ref, moved), ["0", "0"]))
        total = sum(alone[name]["llr_alone"] for name in members)
        assert row["llr_sum"] == pytest.approx(total, abs=1e-12)
        assert row["interaction"] == row["llr_joint"] - row["llr_sum"]
    project = make_project(tmp_path, checkpoint, joint, genome=genome)
    table = pd.read_parquet(run_steps(project.load(), project.load().output / "v", stub=False))
    for row, expected in zip(groups.to_dict("records"), table.to_dict("records"), strict=True):
        for suffix in ("", "_fwd", "_rev"):
            found = row[f"llr_joint{suffix}"]
            assert found == pytest.approx(expected[f"llr{suffix}"], abs=TOLERANCE), row["members"]
        assert genome[row["contig"]][row["pos"] - 1 :].startswith(row["ref"])


# --- what changes nothing


@pytest.mark.parametrize("change", ["samples", "records", "shards", "bcf", "listed samples"])
def test_the_order_of_the_input_and_the_shards_change_nothing(
    finished: Project, genome: dict[str, str], checkpoint: Path, tmp_path: Path, change: str
) -> None:
    lines = make_lines(genome, seed=4)
    parts: dict[str, Any] = {"shards": 5 if change == "shards" else 2}
    samples = ["S1", "S2"]
    if change == "records":
        random.Random(1).shuffle(lines)
    if change == "samples":
        samples = ["S2", "S1"]
        lines = [(*line[:4], line[4][::-1]) for line in lines]
    if change == "listed samples":
        parts["haplotypes"] = {"samples": ["S2", "S1"]}
    project = make_project(tmp_path, checkpoint, lines, genome=genome, samples=samples, **parts)
    if change == "bcf":
        with pysam.VariantFile(str(project.variants)) as file:
            text = [*file]
            with pysam.VariantFile(str(tmp_path / "in.bcf"), "wb", header=file.header) as bcf:
                for record in text:
                    bcf.write(record)
        (tmp_path / "in.bcf").replace(project.variants)
    found = run_all(project, stub=False)
    require_equal(key_rows(*read_tables(results_of(finished))), key_rows(*found))
    counts, expected = (
        json.loads((results_of(one) / HAPLOTYPES_RUN).read_text()) for one in (project, finished)
    )
    for key in ("rows", "alone", "pairs", "compounds", "by_flag", "by_status", "genotypes"):
        assert counts[key] == expected[key], key


@pytest.mark.parametrize("kind", ["vcf", "bcf"])
def test_regions_give_the_rows_of_a_file_with_their_records(
    genome: dict[str, str], tmp_path: Path, kind: str
) -> None:
    lines = make_lines(genome, seed=4)
    tables = []
    for name in ("regions", "records"):
        some = [
            line
            for line in lines
            if line[0] == "line" and line[1] <= 400 and line[1] + len(line[2]) > 200
        ]
        project = make_project(
            tmp_path / name,
            None,
            some if name == "records" else lines,
            genome=genome,
            variant_set={} if name == "records" else {"regions": ["line:200-400"]},
        )
        if name == "regions":
            with pysam.VariantFile(str(project.variants)) as file:
                records = [*file]
                mode = {"vcf": "wz", "bcf": "wb"}[kind]
                with pysam.VariantFile(f"{project.variants}.new", mode, header=file.header) as new:
                    for record in records:
                        new.write(record)
            project.variants.with_name("in.vcf.new").replace(project.variants)
            if kind == "bcf":
                pysam.bcftools.index(str(project.variants))
            else:
                pysam.tabix_index(str(project.variants), preset="vcf", keep_original=True)
        carriers, groups = run_all(project)
        numbers = [one for one in carriers if one.startswith("llr")]
        spelled = ["members", "sample", "haplotype", "contig", "pos", "ref", "alt"]
        tables.append(key_rows(carriers.drop(columns=numbers), groups[spelled]))
        assert len(carriers) > 20
    require_equal(*tables)


def test_a_record_with_several_alleles_gives_the_rows_of_several_records(
    genome: dict[str, str], tmp_path: Path
) -> None:
    bases = genome["line"]
    others = {base: [one for one in "ACGT" if one != base] for base in "ACGT"}
    rng = random.Random(3)
    sites = [(pos, bases[pos - 1]) for pos in sorted(rng.sample(range(50, 600), 80))]
    whole: list[Line] = []
    split: list[Line] = []
    for pos, ref in sites:
        alts = rng.sample(others[ref], 2)
        calls = [rng.choice(["0|1", "2|1", "1|1", "2|0", ".|2"]) for _ in range(2)]
        whole.append(("line", pos, ref, ",".join(alts), calls))
        for number, alt in enumerate(alts, start=1):
            # As bcftools norm -m- writes the other allele: as the reference.
            names = {"0": "0", ".": ".", str(number): "1"}
            parts = ["|".join(names.get(one, "0") for one in call.split("|")) for call in calls]
            split.append(("line", pos, ref, alt, parts))
    tables = []
    for name, lines in (("whole", whole), ("split", split)):
        project = make_project(tmp_path / name, None, lines, genome=genome)
        carriers, groups = run_all(project)
        numbers = [one for one in carriers if one.startswith("llr")]
        spelled = ["members", "sample", "haplotype", "contig", "pos", "ref", "alt"]
        tables.append(key_rows(carriers.drop(columns=numbers), groups[spelled]))
    require_equal(*tables)


# --- a cohort


def make_cohort(bases: str, num_samples: int) -> tuple[list[Line], list[str]]:
    """Mitochondrial genomes with the variants of a tree of haplogroups, and some of their own."""
    rng = random.Random(8)
    free = rng.sample(range(200, 16_400), 400)
    free = [pos for pos in free if bases[pos - 1] in "ACGT"]
    carried: dict[int, set[int]] = {}

    def grow(members: list[int], depth: int) -> None:
        for _ in range(rng.randint(2, 6)):
            carried.setdefault(free.pop(), set()).update(members)
        if depth and len(members) > 3:
            cut = rng.randint(1, len(members) - 1)
            grow(members[:cut], depth - 1)
            grow(members[cut:], depth - 1)

    grow(list(range(num_samples)), 4)
    for sample in rng.sample(range(num_samples), 15):
        carried.setdefault(free.pop(), set()).add(sample)
    lines: list[Line] = []
    for pos, members in sorted(carried.items()):
        ref = bases[pos - 1]
        alt = {"A": "G", "G": "A", "C": "T", "T": "C"}[ref]
        calls = ["1" if number in members else "0" for number in range(num_samples)]
        lines.append(("MT", pos, ref, alt, calls))
    return lines, [f"s{number:03}" for number in range(num_samples)]


def test_a_cohort_costs_what_its_distinct_neighbourhoods_cost(tmp_path: Path) -> None:
    bases = "".join((DATA / "rCRS.fa").read_text().splitlines()[1:])
    lines, samples = make_cohort(bases, 100)
    window = 2_048
    project = write_project(
        tmp_path,
        genome={"MT": bases},
        variants=write_vcf(lines, samples),
        reference={"circular_contigs": ["MT"]},
        scoring={"window_length": window},
        variant_set={"haplotypes": {"samples": "all"}},
        output=str(tmp_path / "results"),
    )
    carriers, groups = run_all(project)
    # By the definition: each base of the window of an SNV is at most half a window away.
    distinct, num_rows = set(), 0
    for contig, pos, ref, alt, calls in lines:
        for number, call in enumerate(calls):
            if call == "1":
                num_rows += 1
                near = tuple(
                    other[1]
                    for other in lines
                    if other[4][number] == "1"
                    and other[1] != pos
                    and (other[1] - pos + window // 2) % len(bases) < window
                )
                if near:
                    distinct.add((contig, pos, ref, alt, near))
    joint = {row["members"] for row in groups.to_dict("records")}
    counts = json.loads((results_of(project) / HAPLOTYPES_RUN).read_text())
    assert len(carriers) == counts["rows"] == num_rows
    assert counts["pairs"] == len(distinct) + len(joint)
    assert counts["pairs"] < num_rows / 5


def test_plan_counts_the_pairs_and_windows_that_are_run(finished: Project) -> None:
    done = CliRunner().invoke(main, ["plan", "--config", str(finished.config_file), "--json"])
    assert done.exit_code == 0, done.stderr
    (planned,) = json.loads(done.stdout)["plan"]
    work = results_of(finished)
    counts, alone = (json.loads((work / name).read_text()) for name in (HAPLOTYPES_RUN, RUN))
    assert planned["haplotype_pairs"] == counts["pairs"]
    assert planned["windows"] == counts["windows_run"] + alone["windows_run"]
    assert planned["tokens"] == counts["tokens_run"] + alone["tokens_run"]


# --- what ends with one line


def run_command(project: Project, *arguments: str) -> str:
    """The one line of a command that refuses its input."""
    done = CliRunner().invoke(main, [*arguments])
    assert done.exit_code == 2, (done.exit_code, done.stderr, done.exception)
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    assert len(errors) == 1, done.stderr
    return errors[0]


def start_split(project: Project) -> str:
    """What `split` says about the genotypes of its input, and `plan` too."""
    config = project.load()
    shards = config.output / "v" / SHARDS
    line = run_command(
        project, "split", "--config", str(project.config_file), "--variant-set", "v",
        "--out", str(shards),
    )  # fmt: skip
    assert not (shards / SPLIT).exists()
    planned = run_command(project, "plan", "--config", str(project.config_file))
    assert line in planned or "model" in planned
    return line


@pytest.mark.parametrize(
    ("content", "keys", "message"),
    [
        ("contig\tpos\tref\talt\nline\t5\tA\tC\n", {}, "genotypes of a VCF or BCF"),
        ("line-5-A-C\n", {}, "genotypes of a VCF or BCF"),
        (
            "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
            "line\t5\t.\tA\tC\t.\t.\t.\n",
            {},
            "the file has no samples",
        ),
        (None, {"samples": ["S1", "S3"]}, "no sample 'S3'"),
        (None, {"samples": ["all"]}, "no sample 'all'"),
    ],
    ids=["table", "list", "no samples", "another sample", "a sample named all"],
)
def test_a_file_without_the_genotypes_is_refused_in_one_line(
    tmp_path: Path,
    genome: dict[str, str],
    content: str | None,
    keys: dict[str, Any],
    message: str,
) -> None:
    lines = make_lines(genome, seed=2)[:5]
    project = make_project(
        tmp_path, None, lines, genome=genome, haplotypes={"samples": "all"} | keys
    )
    if content is not None:
        project.variants.write_text(content)
    line = start_split(project)
    assert message in line
    assert str(project.variants) in line


def test_a_set_without_the_key_has_no_such_command(finished: Project, tmp_path: Path) -> None:
    config = json.loads(finished.config_file.read_text())
    del config["variant_sets"]["v"]["haplotypes"]
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config))
    of_set = ["--config", str(file), "--variant-set", "v", "--scoring", "s", "--out", "x"]
    line = run_command(finished, "haplotypes", *of_set, "--split", "x", "--windows", "x")
    assert "variant_sets.v: has no `haplotypes`. Add the key" in line


def test_a_set_in_which_nobody_carries_an_allele_has_empty_tables(
    tmp_path: Path, genome: dict[str, str]
) -> None:
    lines = [(*line[:4], ["0|0", "./."]) for line in make_lines(genome, seed=2)]
    project = make_project(tmp_path, None, lines, genome=genome, shards=3)
    carriers, groups = run_all(project)
    assert (len(carriers), len(groups)) == (0, 0)
    for name in (HAPLOTYPES, COMPOUNDS):
        file = results_of(project) / name
        done = CliRunner().invoke(main, ["show", str(file)])
        assert done.exit_code == 0, done.stderr
    counts = json.loads((results_of(project) / HAPLOTYPES_RUN).read_text())
    assert counts["genotypes"]["missing"] == len(lines)
    assert counts["genotypes"]["calls"] == 2 * len(lines)


# --- a job that ends before its time


def test_a_killed_job_goes_on_and_gives_the_same_bytes(
    finished: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = json.loads(finished.config_file.read_text())
    config["run"] = {"part_tokens": 4 * WINDOW, "batch_tokens": 4 * WINDOW}
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config))
    loaded = load_config(file)
    whole, broken = (
        replace(files, scores=tmp_path / name / files.scores.name)
        for name in ("whole", "broken")
        for files in pairs_of_shards(loaded, loaded.output / "v")[:1]
    )
    run_score(loaded, whole)
    expected = whole.scores.read_bytes()
    checks = iter(range(1, 10_000))

    def check(_self: Interruption) -> None:
        if next(checks) == 17:
            raise Interrupted

    with monkeypatch.context() as patched:
        patched.setattr(Interruption, "check", check)
        with pytest.raises(Interrupted):
            run_score(loaded, broken)
    assert not broken.scores.exists()
    run_score(loaded, broken)
    assert broken.scores.read_bytes() == expected
    stated = json.loads(shard_run_file(broken.scores).read_text())
    assert 0 < stated["parts_kept"] < stated["parts"]


def test_the_hits_of_a_store_are_not_for_the_pairs_of_haplotypes(
    finished: Project, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished.config_file.parent, folder)
    text = finished.config_file.read_text().replace(str(finished.config_file.parent), str(folder))
    config = json.loads(text) | {"run": {"store": str(tmp_path / "store")}}
    (folder / "config.json").write_text(json.dumps(config))
    loaded = load_config(folder / "config.json")
    pairs = pairs_of_shards(loaded, loaded.output / "v")[0]
    expected = pairs.scores.read_bytes()
    # What `lookup` wrote about the alleles of the shard has the same name.
    hits_file(pairs.scores).parent.mkdir(exist_ok=True)
    hits_file(pairs.scores).write_bytes(b"of other windows")
    run_score(loaded, pairs)
    assert pairs.scores.read_bytes() == expected
    assert not (tmp_path / "store").exists()


# --- files of another run


@pytest.fixture(scope="module")
def stubbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs that differ in one thing; numbers take the place of a model's scores."""
    genome = make_genome()
    lines = make_lines(genome, seed=4)
    other = [(*line[:4], line[4][::-1]) for line in lines]
    folders = {}
    for name, rows, keys in (
        ("own", lines, {"samples": "all"}),
        ("genotypes", other, {"samples": "all"}),
        ("variants", make_lines(genome, seed=5), {"samples": "all"}),
        ("distance", lines, {"samples": "all", "compound_distance": 7}),
    ):
        folder = tmp_path_factory.mktemp(name)
        project = make_project(folder, None, rows, genome=genome, haplotypes=keys, shards=2)
        run_all(project)
        folders[name] = folder
    return folders


def merge_again(folder: Path) -> None:
    """Run `merge_haplotypes` on the files of a folder, which may be a copy."""
    config = load_config(folder / "config.json", look_for_files=False)
    work = folder / "results" / "v" / "s"
    merge_haplotypes_step.merge_haplotypes(
        resolve_merge_haplotypes(config, "v", "s"),
        table=work / TABLE,
        pairs_folder=work / PAIRS,
        scores_folder=work / PAIR_SCORES,
        out=work / HAPLOTYPES,
        compounds=work / COMPOUNDS,
        run_json=work / HAPLOTYPES_RUN,
    )


FIRST = shard_file(1, 2)
SWAPPED = {
    "table and its JSON file": ("variants", [TABLE, RUN], "pairs.json was made from another"),
    "a file of pairs": ("genotypes", [f"{PAIRS}/{FIRST}"], "pairs.json was made from another"),
    "who has the alleles": ("genotypes", [f"{PAIRS}/{CARRIERS}"], "pairs.json was made from"),
    "which are together": ("distance", [f"{PAIRS}/{GROUPS}"], "pairs.json was made from another"),
    "the folder, other settings": ("distance", [PAIRS], "compound_distance"),
    "the folder, other alleles": ("variants", [PAIRS], "pairs.json was made from another"),
    "scores": ("genotypes", [f"{PAIR_SCORES}/{FIRST}"], f"{FIRST} was made from another"),
    "scores and their JSON file": (
        "genotypes",
        [f"{PAIR_SCORES}/{FIRST}", f"{PAIR_SCORES}/1-of-2.json"],
        f"{FIRST} was made from another",
    ),
    "the JSON file of scores": (
        "genotypes", [f"{PAIR_SCORES}/1-of-2.json"], "1-of-2.json was made from another",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SWAPPED)
def test_a_file_of_another_run_is_refused(
    stubbed: dict[str, Path], tmp_path: Path, case: str
) -> None:
    other, names, message = SWAPPED[case]
    folder = tmp_path / "run"
    shutil.copytree(stubbed["own"], folder)
    work, taken = folder / "results" / "v" / "s", stubbed[other] / "results" / "v" / "s"
    merge_again(folder)
    for name in (HAPLOTYPES, COMPOUNDS, HAPLOTYPES_RUN):
        (work / name).unlink()
    for name in names:
        if (work / name).is_dir():
            shutil.rmtree(work / name)
            shutil.copytree(taken / name, work / name)
        else:
            shutil.copyfile(taken / name, work / name)
    with pytest.raises(InputError, match=re.escape(message)):
        merge_again(folder)
    assert not [name for name in (HAPLOTYPES, COMPOUNDS, HAPLOTYPES_RUN) if (work / name).exists()]


def test_windows_and_variants_of_another_run_are_refused(
    stubbed: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(stubbed["own"], folder)
    config = load_config(folder / "config.json", look_for_files=False)
    own, other = (one / "results" / "v" for one in (folder, stubbed["variants"]))

    def find(variants: Path) -> None:
        haplotypes_step.haplotypes(
            resolve_haplotypes(config, "v", "s"),
            variants=variants,
            split_file=own / SHARDS / SPLIT,
            windows_folder=own / "s" / WINDOWS,
            out=tmp_path / "out",
        )

    find(folder / "in.vcf")
    shutil.rmtree(tmp_path / "out")
    with pytest.raises(InputError, match=r"split\.json was made from another version of .*in\.vcf"):
        find(stubbed["variants"] / "in.vcf")
    for name in (f"{SHARDS}/{FIRST}", f"s/{WINDOWS}/{FIRST}"):
        kept = (own / name).read_bytes()
        shutil.copyfile(other / name, own / name)
        with pytest.raises(InputError, match="was made from another version of"):
            find(folder / "in.vcf")
        (own / name).write_bytes(kept)
    assert not (tmp_path / "out").exists()
    find(folder / "in.vcf")


# --- genes


GENES = "".join(
    f"line\t.\t{kind}\t101\t{end}\t.\t+\t{phase}\t{names}\n"
    for kind, end, phase, names in (
        ("mRNA", 190, ".", "ID=T;biotype=protein_coding"),
        ("exon", 130, ".", "Parent=T"),
        ("CDS", 130, 0, "Parent=T"),
    )
)


@pytest.mark.parametrize("by", ["codon", "distance"])
def test_compounds_have_a_joint_consequence(tmp_path: Path, by: str) -> None:
    """The codons are ATG GCT AAA CGT; three SNVs follow one another in AAA and CGT."""
    bases = make_genome()["line"]
    bases = bases[:100] + "ATGGCTAAACGTGGTTCTTACCATTGGTAA" + bases[130:]
    lines: list[Line] = [
        ("line", 108, "A", "C", ["1|0", "1|1"]),
        ("line", 109, "A", "T", ["1|0", "0|1"]),
        ("line", 110, "C", "A", ["0|0", "0|1"]),
        ("line", 112, "T", "A", ["0|0", "0|1"]),
    ]
    (tmp_path / "genes.gff3").write_text(f"##gff-version 3\n{GENES}")
    project = write_project(
        tmp_path,
        genome={"line": bases},
        variants=write_vcf(lines, ("S1", "S2")),
        reference={"gff": str(tmp_path / "genes.gff3")},
        scoring={"window_length": WINDOW},
        variant_set={"haplotypes": {"samples": "all", "by": by}},
        output=str(tmp_path / "results"),
    )
    _, groups = run_all(project)
    found = {
        (row["sample"], row["haplotype"], tuple(one[1] for one in row["members"])): (
            row["consequence"], row["amino_acids"], row["gene"], row["transcript"],
        )
        for row in groups.to_dict("records")
    }  # fmt: skip
    two_snvs = ("missense_variant", "K3T", "T", "T")
    expected = {("S1", 1, (108, 109)): two_snvs}
    if by == "codon":
        expected[("S2", 2, (108, 109))] = two_snvs
        expected[("S2", 2, (110, 112))] = ("synonymous_variant", "R4R", "T", "T")
    else:
        expected[("S2", 2, (108, 109, 110, 112))] = ("missense_variant", "K3T;R4R", "T", "T")
    assert {key: value[:2] for key, value in found.items()} == {
        key: value[:2] for key, value in expected.items()
    }
    assert {value[3] for value in found.values()} == {"T"}
    shown = CliRunner().invoke(main, ["show", str(results_of(project) / COMPOUNDS)]).stdout
    assert "missense_variant" in shown
    assert "K3T" in shown
    planned = CliRunner().invoke(main, ["plan", "--config", str(project.config_file), "--json"])
    assert planned.exit_code == 0, planned.stderr
    counts = json.loads((results_of(project) / HAPLOTYPES_RUN).read_text())
    assert json.loads(planned.stdout)["plan"][0]["haplotype_pairs"] == counts["pairs"]


@pytest.mark.parametrize("where", ["an exon of a compound", "elsewhere"])
def test_the_joint_consequences_are_of_the_reference_that_was_read(
    tmp_path: Path, where: str
) -> None:
    bases = make_genome()["line"]
    bases = bases[:100] + "ATGGCTAAACGTGGTTCTTACCATTGGTAA" + bases[130:]
    lines: list[Line] = [("line", pos, "A", "C", ["1|0", "1|1"]) for pos in (108, 109)]
    (tmp_path / "genes.gff3").write_text(f"##gff-version 3\n{GENES}")
    project = write_project(
        tmp_path,
        genome={"line": bases},
        variants=write_vcf(lines, ("S1", "S2")),
        reference={"gff": str(tmp_path / "genes.gff3")},
        scoring={"window_length": WINDOW},
        variant_set={"haplotypes": {"samples": "all"}},
        output=str(tmp_path / "results"),
    )
    run_all(project)
    kept = {name: (results_of(project) / name).read_bytes() for name in (HAPLOTYPES, COMPOUNDS)}
    pos = 107 if where == "an exon of a compound" else 600
    other = "ACGT"["CATG".index(bases[pos - 1])]
    project.genome.write_text(f">line\n{bases[: pos - 1]}{other}{bases[pos:]}\n")
    with pytest.raises(InputError, match="has other sequences than when split read it"):
        merge_again(tmp_path)
    assert {name: (results_of(project) / name).read_bytes() for name in kept} == kept
    project.genome.write_text(f">line\n{bases}\n")
    merge_again(tmp_path)
    # A folder of an earlier version does not state the reference.
    pairs = results_of(project) / PAIRS / PAIR_COUNTS
    stated = json.loads(pairs.read_text())
    del stated["files"][REFERENCE]
    pairs.write_text(json.dumps(stated))
    with pytest.raises(InputError, match=r"pairs\.json: an earlier version of evo2-tasks wrote"):
        merge_again(tmp_path)


def test_compounds_without_genes_have_no_consequence(finished: Project) -> None:
    _, groups = read_tables(results_of(finished))
    for name in ("consequence", "consequences", "gene", "transcript", "amino_acids"):
        assert groups[name].isna().all()
    shown = CliRunner().invoke(main, ["show", str(results_of(finished) / COMPOUNDS)]).stdout
    assert "llr_joint" in shown
    assert "consequence" not in shown
