"""The chain from the reference to the table: a file of another run in place of the right one."""

import json
import os
import random
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.cli import main
from evo2_tasks.evo2 import Evo2Config
from evo2_tasks.genome.reference import Reference
from evo2_tasks.io.digests import SourceFiles, digest_file
from evo2_tasks.layout import (
    ANNOTATIONS,
    AUDIT,
    AUDIT_RUN,
    AUDITED,
    CARRIED,
    READOUTS,
    REFERENCE,
    RUN,
    SCORES,
    SHARDS,
    SPLIT,
    TABLE,
    WINDOWS,
    segments_file,
    shard_file,
    shard_run_file,
)
from evo2_tasks.layout import STEPS as STEPS_OF_LAYOUT
from tests.project import HEADER, Project, write_project

INFO = '##INFO=<ID=X,Number=1,Type=Float,Description="x">\n'
REPORT = (
    "# Sequence-Name\tSequence-Role\tAssigned-Molecule\tAssigned-Molecule-Location/Type\t"
    "GenBank-Accn\tRelationship\tRefSeq-Accn\tAssembly-Unit\tSequence-Length\tUCSC-style-name\n"
    "{one}\tassembled-molecule\t1\tChromosome\tCM1.1\t=\tNC_1.1\tPrimary Assembly\t400\tchr1\n"
    "{two}\tassembled-molecule\t2\tChromosome\tCM2.1\t=\tNC_2.1\tPrimary Assembly\t300\tchr2\n"
)
GENES = """##gff-version 3
chr1\tx\tgene\t40\t300\t.\t+\t.\tID=gene:G1;Name={name};biotype=lncRNA
chr1\tx\tlnc_RNA\t40\t300\t.\t+\t.\tID=transcript:T1;Parent=gene:G1;biotype=lncRNA
chr1\tx\texon\t40\t300\t.\t+\t.\tParent=transcript:T1
ring\tx\tgene\t40\t99\t.\t+\t.\tID=gene:G2;Name=two;biotype=protein_coding
ring\tx\tmRNA\t40\t99\t.\t+\t.\tID=transcript:T2;Parent=gene:G2;biotype=protein_coding
ring\tx\texon\t40\t99\t.\t+\t.\tParent=transcript:T2
ring\tx\tCDS\t40\t99\t.\t+\t0\tParent=transcript:T2
"""
POSITIONS = {"chr1": (5, 60, 130, 260, 390), "ring": (3, 90, 180, 240, 298)}
SPELLED = {"chr1": "chr1", "ring": "NC_2.1"}
"""The contigs as the variants spell them; the second needs the assembly report."""
SHARD = shard_file(1, 2)


def make_genome(seed: int) -> dict[str, str]:
    """Sequences that have the same bases at the positions of the variants for every seed."""
    fixed, free = random.Random(1), random.Random(seed)
    lengths = {"chr1": 400, "ring": 300}
    genome = {}
    for name, length in lengths.items():
        bases = free.choices("ACGT", k=length)
        for pos in POSITIONS[name]:
            bases[pos - 1] = fixed.choice("ACGT")
        genome[name] = "".join(bases)
    return genome


def make_variants(*, turn: int = 1, info: float = 0.25) -> str:
    """An SNV at each position: the base that comes ``turn`` letters after REF."""
    genome, lines = make_genome(1), []
    for contig, positions in POSITIONS.items():
        for pos in positions:
            ref = genome[contig][pos - 1]
            alt = "ACGT"[("ACGT".index(ref) + turn) % 4]
            lines.append(f"{SPELLED[contig]}\t{pos}\t.\t{ref}\t{alt}\t.\t.\tX={info + pos}\n")
    return HEADER.replace("#CHROM", INFO + "#CHROM") + "".join(lines)


@dataclass(frozen=True)
class Chain:
    """A project and its results, made by the commands of the steps."""

    project: Project

    @property
    def folder(self) -> Path:
        return self.project.config_file.parent / "results"

    @property
    def num_shards(self) -> int:
        return int(self.project.config["shards"])

    @property
    def table(self) -> Path:
        return self.folder / "s" / TABLE

    def path(self, file: str) -> Path:
        """A file of the project, or of the results."""
        inputs = {"fasta": self.project.genome, "variants": self.project.variants}
        report = self.project.config_file.with_name("report.txt")
        genes = self.project.config_file.with_name("genes.gff3")
        return {**inputs, "assembly_report": report, "gff": genes}.get(file, self.folder / file)

    def run(self, step: str, *, status: int | None = 0, scoring: str = "s") -> str:
        """Run a step for all shards until one fails; gives the last line of the last log."""
        line = ""
        for arguments in self._commands(step, scoring):
            command = [step.replace("_", "-"), *map(str, arguments)]
            done = CliRunner().invoke(main, command)
            line = done.stderr.strip().rpartition("\n")[2]
            assert done.exit_code == 0 or isinstance(done.exception, SystemExit), done.exception
            if done.exit_code:
                assert done.exit_code == 2, done.stderr
                assert status != 0, done.stderr
                assert done.stderr.count("ERROR: ") == 1, done.stderr
                return line
        assert not status, f"{step} has not been refused"
        return line

    def _commands(self, step: str, scoring: str) -> Iterator[list[object]]:
        config: list[object] = ["--config", self.project.config_file]
        of_set = [*config, "--variant-set", "v"]
        of_scoring = [*of_set, "--scoring", scoring]
        shards, work = self.folder / SHARDS, self.folder / scoring
        windows, scores = work / WINDOWS, work / SCORES
        split_file = shards / SPLIT
        names = [shard_file(shard, self.num_shards) for shard in range(1, self.num_shards + 1)]
        match step:
            case "split":
                yield [*of_set, "--out", shards]
            case "carry":
                yield [*of_set, "--out", self.folder / CARRIED]
            case "annotate":
                yield [*of_set, "--out", self.folder / ANNOTATIONS]
            case "windows":
                for name in names:
                    inputs = ["--shard", shards / name, "--split", split_file]
                    outputs = ["--out", windows / name]
                    outputs += ["--segments", segments_file(windows / name)]
                    yield [*of_scoring, *inputs, *outputs]
            case "score" | "score_readouts":
                for name in names:
                    inputs = ["--windows", windows / name]
                    inputs += ["--segments", segments_file(windows / name), "--threads", "1"]
                    outputs = ["--out", scores / name]
                    if step == "score_readouts":
                        outputs += ["--readouts", work / READOUTS / Path(name).stem, work / AUDITED]
                    yield [*config, "--scoring", scoring, *inputs, *outputs]
            case "audit":
                inputs = ["--split", split_file, "--windows", windows]
                yield [*of_scoring, *inputs, "--out", work / AUDITED]
            case "merge_audit":
                inputs = ["--split", split_file, "--windows", windows, "--scores", scores]
                inputs += ["--audited", work / AUDITED, "--readouts", work / READOUTS]
                yield [*of_scoring, *inputs, "--out", work / AUDIT, "--run-json", work / AUDIT_RUN]
            case "merge":
                inputs = ["--split", split_file, "--windows", windows, "--scores", scores]
                outputs = ["--out", work / TABLE, "--run-json", work / RUN]
                joined = [self.folder / CARRIED, self.folder / ANNOTATIONS]
                yield [*of_scoring, *inputs, *outputs, *joined]

    def contents(self) -> dict[str, bytes]:
        """All results, without the parts, which a score job may leave."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file() and ".parts" not in str(path)
        }

    def copy(self, folder: Path) -> "Chain":
        """The project and the results in another folder."""
        shutil.copytree(self.project.config_file.parent, folder, dirs_exist_ok=True)
        old, new = str(self.project.config_file.parent), str(folder)
        text = self.project.config_file.read_text().replace(old, new)
        (folder / "config.json").write_text(text)
        return Chain(
            Project(
                genome=folder / "genome.fa",
                variants=folder / "in.vcf",
                checkpoint=folder / "model",
                config_file=folder / "config.json",
                config=json.loads(text),
            )
        )

    def take(self, other: "Chain", *files: str) -> None:
        """Put files of another run in the place of the own, with size and time of the own."""
        for file in files:
            target = self.path(file)
            stat = target.stat()
            shutil.copyfile(other.path(file), target)
            if file == "fasta":
                assert target.stat().st_size == stat.st_size
            os.utime(target, ns=(stat.st_atime_ns, stat.st_mtime_ns))


STEPS = ("split", "carry", "annotate", "windows", "score", "merge")
AUDIT_STEPS = ("windows", "audit", "score_readouts", "merge_audit", "merge")
"""The steps of the scoring ``t``, which has a horizon and an audit."""


def make_chain(folder: Path, checkpoint: Path, **changes: Any) -> Chain:
    """A finished run, with changes of what is named."""
    genome = make_genome(changes.pop("genome", 1))
    variants = make_variants(**changes.pop("variants", {}))
    report = folder / "report.txt"
    folder.mkdir(parents=True)
    names = {"one": "chr1", "two": "ring", **changes.pop("report", {})}
    report.write_text(REPORT.format_map(names))
    genes = folder / "genes.gff3"
    genes.write_text(GENES.format(name=changes.pop("gene", "one")))
    reference = {"assembly_report": str(report), "circular_contigs": ["ring"], "gff": str(genes)}
    parts: dict[str, Any] = {
        "reference": reference,
        "model": {"checkpoint": str(checkpoint)},
        "variant_set": {"carry": ["X"], "sort_by_position": True},
        "shards": 2,
    }
    scoring = {"model": "m", "window_length": 64, **changes.pop("scoring", {})}
    share = changes.pop("share", 0.5)
    parts["scorings"] = {"s": scoring, "t": {**scoring, "horizon": 16, "audit": share}}
    for key, value in changes.items():
        parts[key] = {**parts.get(key, {}), **value} if isinstance(value, dict) else value
    chain = Chain(write_project(folder, genome=genome, variants=variants, **parts))
    for step in STEPS:
        chain.run(step)
    for step in AUDIT_STEPS:
        chain.run(step, scoring="t")
    return chain


OLDER: dict[str, dict[str, Any]] = {
    "FASTA": {"genome": 2},
    "VCF": {"variants": {"turn": 2}},
    "INFO": {"variants": {"info": 0.5}},
    "assembly report": {"report": {"two": "other"}},
    "shards": {"shards": 3},
    "filters": {"variant_set": {"filters": {"contigs": ["chr1", "NC_2.1"]}}},
    "types": {"variant_set": {"carry": {"X": "text"}}},
    "circles": {"reference": {"circular_contigs": []}},
    "genes": {"gene": "other"},
    "genetic codes": {"reference": {"genetic_codes": {"ring": 2}}},
    "window": {"scoring": {"window_length": 66}},
    "share": {"share": 0.25},
    "model": {},
}
"""Runs that differ from the right one, by what differs."""


@pytest.fixture(scope="module")
def make(
    tmp_path_factory: pytest.TempPathFactory, checkpoint: Path, small_model: Evo2ForCausalLM
) -> Callable[[str], Chain]:
    """Gives the right run, or one that differs in what is named; each is made once."""
    folder = tmp_path_factory.mktemp("chains")
    made: dict[str, Chain] = {}
    other = folder / "other-model"

    def get(name: str) -> Chain:
        if name not in made:
            changes = dict(OLDER.get(name, {}))
            if name == "model":
                config = Evo2Config.from_pretrained(checkpoint)
                Evo2ForCausalLM(config).save_pretrained(other)
                changes["model"] = {"checkpoint": str(other)}
            made[name] = make_chain(folder / name / "project", checkpoint, **changes)
        return made[name]

    return get


SHARDS_1 = f"{SHARDS}/{SHARD}"
SPLIT_JSON = f"{SHARDS}/{SPLIT}"
BLOCKS = f"{SHARDS}/{REFERENCE}"
WINDOWS_1 = f"s/{WINDOWS}/{SHARD}"
SEGMENTS_1 = str(segments_file(Path(WINDOWS_1)))
SCORES_1 = f"s/{SCORES}/{SHARD}"
RUN_1 = str(shard_run_file(Path(SCORES_1)))

LINKS: dict[tuple[str, str], str] = {
    ("fasta", "windows"): "FASTA",
    ("assembly_report", "windows"): "assembly report",
    (SPLIT_JSON, "windows"): "FASTA, VCF, shards, filters, assembly report",
    (SPLIT_JSON, "merge"): "FASTA, VCF, INFO, shards, filters, assembly report",
    (SHARDS_1, "windows"): "VCF",
    (SHARDS_1, "merge"): "VCF",
    (BLOCKS, "windows"): "FASTA",
    (BLOCKS, "merge"): "FASTA",
    (CARRIED, "merge"): "VCF, INFO, types",
    ("gff", "merge"): "genes",
    (ANNOTATIONS, "merge"): "FASTA, VCF, INFO, assembly report, circles, genes, genetic codes",
    (WINDOWS_1, "score"): "FASTA, VCF, INFO, assembly report, circles, window",
    (WINDOWS_1, "merge"): "FASTA, VCF, INFO, assembly report, circles, window",
    (SEGMENTS_1, "score"): "FASTA, VCF, INFO, assembly report, circles, window",
    (SCORES_1, "merge"): "FASTA, VCF, INFO, assembly report, circles, window, model",
    (RUN_1, "merge"): "FASTA, VCF, INFO, assembly report, circles, window, model",
}
"""What a file that a step reads may have been made from: the step refuses each."""

WINDOWS_T = f"t/{WINDOWS}/{SHARD}"
SEGMENTS_T = str(segments_file(Path(WINDOWS_T)))
WHOLE_T = f"t/{AUDITED}/{SHARD}"
WHOLE_SEGMENTS_T = str(segments_file(Path(WHOLE_T)))
READOUT_T = f"t/{READOUTS}/{Path(SHARD).stem}/{AUDIT}"
READOUT_RUN_T = str(shard_run_file(Path(READOUT_T)))
AUDIT_T, AUDIT_RUN_T = f"t/{AUDIT}", f"t/{AUDIT_RUN}"

PLACED = "FASTA, VCF, INFO, assembly report, circles, window"
AUDIT_LINKS: dict[tuple[str, str], str] = {
    ("fasta", "audit"): "FASTA",
    (SPLIT_JSON, "audit"): "FASTA, VCF, INFO, shards, filters, assembly report",
    (BLOCKS, "audit"): "FASTA",
    (WINDOWS_T, "audit"): PLACED,
    (WINDOWS_T, "score_readouts"): PLACED,
    (WINDOWS_T, "merge_audit"): PLACED,
    (SEGMENTS_T, "score_readouts"): PLACED,
    (WHOLE_T, "score_readouts"): f"{PLACED}, share",
    (WHOLE_T, "merge_audit"): f"{PLACED}, share",
    (WHOLE_SEGMENTS_T, "score_readouts"): f"{PLACED}, share",
    (READOUT_T, "merge_audit"): f"{PLACED}, share, model",
    (READOUT_RUN_T, "merge_audit"): f"{PLACED}, share, model",
    (AUDIT_T, "merge"): f"{PLACED}, share, model",
    (AUDIT_RUN_T, "merge"): f"{PLACED}, share, model",
}
"""The same for the steps of an audit."""


@pytest.mark.parametrize(
    ("file", "step", "older"),
    [
        (*link, older)
        for link, names in (LINKS | AUDIT_LINKS).items()
        for older in names.split(", ")
    ],
)
def test_an_older_file_is_refused_by_the_step_that_reads_it(
    tmp_path: Path, make: Callable[[str], Chain], file: str, step: str, older: str
) -> None:
    chain = make("right").copy(tmp_path / "project")
    chain.take(make(older), file)
    before = chain.contents()
    scoring = "t" if (file, step) in AUDIT_LINKS else "s"
    line = chain.run(step, status=2, scoring=scoring)
    assert re.search(r"another version|other settings|other sequences|differ in scoring\.", line), (
        line
    )
    assert chain.contents() == before


PAIRS: dict[tuple[str, ...], str] = {
    (WINDOWS_1, SEGMENTS_1): "FASTA, VCF, INFO, assembly report, circles",
    (SCORES_1, RUN_1): "FASTA, VCF, INFO, assembly report, circles, window, model",
}


@pytest.mark.parametrize(
    ("files", "older"),
    [(files, older) for files, names in PAIRS.items() for older in names.split(", ")],
)
@pytest.mark.parametrize("score_again", [False, True])
def test_older_files_of_all_shards_that_belong_together_are_not_merged(
    tmp_path: Path,
    make: Callable[[str], Chain],
    files: tuple[str, ...],
    older: str,
    score_again: bool,
) -> None:
    """As jobs write them late that began before the input was changed."""
    chain = make("right").copy(tmp_path / "project")
    chain.take(make(older), *files, *(file.replace("1-of-2", "2-of-2") for file in files))
    if score_again and WINDOWS_1 in files:
        chain.run("score")
    right = chain.table.read_bytes()
    chain.run("merge", status=2)
    assert chain.table.read_bytes() == right


READ: dict[str, dict[str, str]] = {
    "split": {"variants": "VCF", "assembly_report": "assembly report"},
    "carry": {"variants": "INFO"},
    "annotate": {"variants": "VCF", "gff": "genes", "assembly_report": "assembly report"},
    "windows": {
        SPLIT_JSON: "FASTA",
        SHARDS_1: "VCF",
        BLOCKS: "FASTA",
        "assembly_report": "assembly report",
    },
    "score": {WINDOWS_1: "VCF", SEGMENTS_1: "FASTA"},
    "merge": {
        SPLIT_JSON: "INFO",
        SHARDS_1: "VCF",
        BLOCKS: "FASTA",
        CARRIED: "INFO",
        ANNOTATIONS: "genes",
        "gff": "genes",
        WINDOWS_1: "VCF",
        SCORES_1: "model",
        RUN_1: "model",
    },
    "audit": {SPLIT_JSON: "INFO", BLOCKS: "FASTA", WINDOWS_T: "VCF"},
    "score_readouts": {WINDOWS_T: "VCF", WHOLE_T: "share", WHOLE_SEGMENTS_T: "share"},
    "merge_audit": {WINDOWS_T: "VCF", WHOLE_T: "share", READOUT_T: "model", READOUT_RUN_T: "model"},
}
"""Files that a step reads, and a run of which one takes the place at the end of the step."""


@pytest.mark.parametrize(
    ("step", "file"), [(step, file) for step, files in READ.items() for file in files]
)
def test_a_file_that_is_replaced_while_a_step_runs_stops_it(
    tmp_path: Path,
    make: Callable[[str], Chain],
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    file: str,
) -> None:
    chain = make("right").copy(tmp_path / "project")
    before = chain.contents()
    check = SourceFiles.require_unchanged

    def replace_first(files: SourceFiles) -> None:
        chain.take(make(READ[step][file]), file)
        before.update({file: chain.contents()[file]} if file in before else {})
        check(files)

    make(READ[step][file])
    monkeypatch.setattr(SourceFiles, "require_unchanged", replace_first)
    if step == "score_readouts":  # else finished files are kept as they are
        shutil.rmtree(chain.folder / "t" / (SCORES if file == WINDOWS_T else READOUTS))
        before = chain.contents()
    line = chain.run(step, status=2, scoring="t" if step in AUDIT_STEPS[1:4] else "s")
    assert f"{chain.path(file).name}: changed while it was read" in line
    after = chain.contents()
    if step == "split":  # its shards are removed, so that nobody uses them
        before = {
            name: text
            for name, text in before.items()
            if name in after or not name.startswith(f"{SHARDS}/")
        }
        assert not list((chain.folder / SHARDS).glob("*-of-*"))
    assert after == before


def test_a_reference_that_is_replaced_while_split_reads_it_stops_it(
    tmp_path: Path, make: Callable[[str], Chain], monkeypatch: pytest.MonkeyPatch
) -> None:
    chain, older = make("right").copy(tmp_path / "project"), make("FASTA")
    read = Reference.read_sequences

    def replace_first(reference: Reference, *arguments: Any) -> Any:
        chain.take(older, "fasta")
        return read(reference, *arguments)

    monkeypatch.setattr(Reference, "read_sequences", replace_first)
    line = chain.run("split", status=2)
    assert "genome.fa has other sequences" in line
    assert not list((chain.folder / SHARDS).glob("*-of-*"))


def forget_statements(chain: Chain, *files: str) -> None:
    """Take from files what an earlier version did not state, and repair the digests of sources."""
    metadata_of_before = {"signature", "version", "model", "order", "source"}
    for file in files:
        path = chain.path(file)
        if path.suffix == ".json":
            stated = json.loads(path.read_text())
            del stated["statements"]
            path.write_text(json.dumps(stated))
            continue
        table = pq.read_table(path)
        kept = {
            key: value
            for key, value in (table.schema.metadata or {}).items()
            if key.decode().removeprefix("evo2_tasks.") in metadata_of_before
        }
        if file in (SEGMENTS_1, SEGMENTS_1.replace("1-of-2", "2-of-2")):
            kept = {}
        elif f"/{SCORES}/" in file:
            windows = chain.path(file.replace(f"/{SCORES}/", f"/{WINDOWS}/"))
            kept[b"evo2_tasks.source"] = digest_file(windows).encode()
        pq.write_table(table.replace_schema_metadata(kept), path)


@pytest.fixture
def earlier(tmp_path: Path, make: Callable[[str], Chain]) -> Chain:
    """A finished run as an earlier version left it: no file has statements."""
    chain = make("right").copy(tmp_path / "project")
    files = (SPLIT_JSON, CARRIED, WINDOWS_1, SEGMENTS_1, SCORES_1, RUN_1)
    both = dict.fromkeys([*files, *(file.replace("1-of-2", "2-of-2") for file in files)])
    forget_statements(chain, *both)
    chain.path(BLOCKS).unlink()
    return chain


def test_shards_of_an_earlier_version_are_merged(earlier: Chain) -> None:
    right = pq.read_table(earlier.table)
    earlier.table.unlink()
    earlier.run("merge")
    assert pq.read_table(earlier.table).equals(right)


@pytest.mark.parametrize(
    ("file", "older"), [(SHARDS_1, "VCF"), (WINDOWS_1, "FASTA"), (SCORES_1, "FASTA")]
)
def test_what_an_earlier_version_stated_is_compared(
    earlier: Chain, make: Callable[[str], Chain], file: str, older: str
) -> None:
    earlier.take(make(older), file)
    assert "another version" in earlier.run("merge", status=2)


def test_shards_of_an_earlier_version_with_other_windows_are_refused(
    earlier: Chain, make: Callable[[str], Chain]
) -> None:
    # All shards, so that their signatures agree with each other.
    files = [WINDOWS_1, SEGMENTS_1, SCORES_1, RUN_1]
    both = [*files, *(file.replace("1-of-2", "2-of-2") for file in files)]
    for file in both:
        earlier.take(make("window"), file)
    forget_statements(earlier, *both)
    assert "other settings than those of the config: " in (line := earlier.run("merge", status=2))
    assert "window_length" in line


@pytest.mark.parametrize("key", ["record", "allele"])
def test_carried_keys_of_another_type_are_one_line(
    tmp_path: Path, make: Callable[[str], Chain], key: str
) -> None:
    chain = make("right").copy(tmp_path / "project")
    path = chain.path(CARRIED)
    rows = pq.read_table(path)
    texts = pa.array([f"{value}" for value in rows[key].to_pylist()])
    pq.write_table(rows.set_column(rows.schema.get_field_index(key), key, texts), path)
    line = chain.run("merge", status=2)
    assert f"column {key} has the type string, expected int" in line


def test_a_file_in_place_of_the_folder_of_shards_is_one_line(
    tmp_path: Path, make: Callable[[str], Chain]
) -> None:
    chain = make("right").copy(tmp_path / "project")
    shutil.rmtree(chain.folder / SHARDS)
    (chain.folder / SHARDS).write_text("mine")
    assert "cannot be written" in chain.run("split", status=2)
    assert (chain.folder / SHARDS).read_text() == "mine"


def test_new_scores_of_windows_of_an_earlier_version_need_new_segments(earlier: Chain) -> None:
    before = earlier.contents()
    line = earlier.run("score", status=2)
    assert "does not state which windows it belongs to. Delete it, so that `windows`" in line
    line = earlier.run("windows", status=2)
    assert "does not state the digests of the shards" in line
    assert "evo2-tasks split --config CONFIG --variant-set v --out " in line
    assert earlier.contents() == before
    # As the message says; the shards keep their bytes.
    earlier.run("split")
    assert earlier.contents()[SHARDS_1] == before[SHARDS_1]
    earlier.run("merge")
    for step in ("windows", "score", "merge"):
        earlier.run(step)


LATER = {
    "fasta": ("windows", "score", "merge"),
    "assembly_report": ("windows", "score", "merge"),
    "gff": ("annotate", "merge"),
    "variants": ("carry", "annotate", "merge"),
    SHARDS_1: ("windows", "score", "merge"),
    SPLIT_JSON: ("windows", "score", "merge"),
    BLOCKS: ("windows", "score", "merge"),
    CARRIED: ("merge",),
    ANNOTATIONS: ("merge",),
    WINDOWS_1: ("score", "merge"),
    SEGMENTS_1: ("score", "merge"),
    SCORES_1: ("merge",),
    RUN_1: ("merge",),
}
"""The steps that follow the one that writes a file; for an input, those that read it again."""


def test_whatever_is_swapped_between_two_runs_is_refused_or_changes_nothing(
    tmp_path: Path, make: Callable[[str], Chain]
) -> None:
    """Thirty draws of files, of the run that they come from, and of the step that comes next."""
    rng = random.Random(21)
    right = make("right")
    table = right.table.read_bytes()
    stated = json.loads(right.table.with_name(RUN).read_text())
    ends = []
    for number in range(30):
        older = rng.choice([*OLDER])
        files = [file for file in LATER if make(older).path(file).exists()]
        swapped = rng.sample(files, rng.choice([1, 1, 2, 3]))
        if rng.random() < 0.5:  # in the second shard too
            swapped += [file.replace("1-of-2", "2-of-2") for file in swapped if "1-of-2" in file]
        steps = max((LATER[file.replace("2-of-2", "1-of-2")] for file in swapped), key=len)
        steps = steps[rng.randrange(len(steps)) :]
        chain = right.copy(tmp_path / str(number))
        chain.take(make(older), *swapped)
        # What is left of an earlier run must not count as the result of this one.
        chain.table.unlink()
        for step in steps:
            if chain.run(step, status=None).startswith("ERROR"):
                break
        is_refused = not chain.table.exists()
        ends.append(is_refused)
        if not is_refused:
            what = f"{number}: {older}: {swapped}, then {steps}"
            assert chain.table.read_bytes() == table, what
            run = json.loads(chain.table.with_name(RUN).read_text())
            for key in ("signature", "warnings", "by_status"):
                assert run[key] == stated[key], what
            del run["variants"]["variants"]  # the path, which is that of the other folder
            assert run["variants"].items() <= stated["variants"].items(), what
    assert {True, False} == {*ends}, "some are refused, some are harmless"


PATTERNS = {
    "fasta": "the FASTA",
    "assembly_report": "the assembly report",
    "gff": "the GFF",
    **{
        file: f"`{{variant_set}}/{'{scoring}' + file[1:] if deep else file}`".replace(
            "1-of-2", "{shard}"
        )
        for deep, files in (
            (False, (SHARDS_1, SPLIT_JSON, BLOCKS, CARRIED, ANNOTATIONS)),
            (True, (WINDOWS_1, SEGMENTS_1, SCORES_1, RUN_1, WINDOWS_T, SEGMENTS_T)),
            (True, (WHOLE_T, WHOLE_SEGMENTS_T, READOUT_T, READOUT_RUN_T, AUDIT_T, AUDIT_RUN_T)),
        )
        for file in files
    },
}
"""The files as the documentation names them."""

MADE_FROM_TABLES = {
    "`{variant_set}/{scoring}/calibrated.parquet`",
    "`{variant_set}/combined/{combination}/combined.parquet`",
}
"""Files that are documented in the same table and are made from finished tables of scores. Their
links are tested in ``tests/table/test_calibrated.py`` and ``tests/table/test_combined.py``."""

STORE_FILES = {
    "`{variant_set}/shards/sequences.parquet`",
    "`models/{model}.identity.json`",
    "`{variant_set}/{scoring}/hits/{shard}.parquet`",
    "`{variant_set}/{scoring}/hits/{shard}.json`",
    "`{variant_set}/{scoring}/reused.parquet`",
}
"""Files of runs with a store. Their links, and those of ``lookup``, are tested in
``tests/steps/test_store_failures.py``."""

ELSEWHERE = re.compile(
    r"/(haplotypes|haplotype_scores|compounds)[/.]|the file of variants"
    r"|/(embeddings|profiles|probes|readouts\.json)[/.`]?|{track_set}/|{sequence_set}/|sequence set"
    r"|generations/{generation}/"
)
"""Files and steps of haplotypes, embeddings, probes, tracks, sequences and generations. Their links
are tested in the file of tests of their steps: ``test_haplotypes.py``, and so on."""


def test_the_documentation_has_the_links_that_are_tested(make: Callable[[str], Chain]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "output.md").read_text()
    table = page.partition("## Which file belongs to which")[2].partition("\n- ")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    rows = rows[2:]
    elsewhere = MADE_FROM_TABLES | STORE_FILES
    assert {name for name, _, _ in rows} >= elsewhere
    rows = [row for row in rows if row[0] not in elsewhere]
    rows = [row for row in rows if not ELSEWHERE.search(row[0])]
    documented = {(name, step) for name, _, by in rows for step in re.findall(r"`(\w+)`", by)}
    documented = {(name, step) for name, step in documented if step != "lookup"}
    documented = {(name, step) for name, step in documented if "haplotypes" not in step}
    # The report draws compounds only: tests/report/test_haplotype_section.py compares the bases.
    documented.remove(("the FASTA", "report"))
    assert documented == {(PATTERNS[file], step) for file, step in LINKS | AUDIT_LINKS}
    between = [STEPS_OF_LAYOUT[step] for step in ("carry", "annotate", "windows", "score")]
    outputs = {f"`{output}`" for step in between for output in step.outputs}
    assert outputs <= {name for name, _, _ in rows}
    for name, states, _ in rows:
        file = next(file for file, pattern in PATTERNS.items() if pattern == name)
        keys = re.findall(r"`([\w.]+)`(?=[,:])", states)
        path = make("right").path(file)
        if path.suffix == ".json":
            stated = json.loads(path.read_text())
            for key in keys:
                value: Any = stated
                for part in key.split("."):
                    value = value[part]
                assert value, key
            assert {f"statements.{key}" for key in stated.get("statements", ())} <= {*keys}
        elif path.suffix == ".parquet":
            metadata = pq.read_metadata(path).metadata or {}
            found = {key.decode().removeprefix("evo2_tasks.") for key in metadata}
            found -= {"ARROW:schema", "version", "order", "model", "step"}
            assert found == {*keys}, name
