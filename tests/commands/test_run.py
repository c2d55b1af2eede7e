"""`run` and `score_variants`: the steps in one process give what the workflow gives.

The file is long because both are tested on the same runs, which are made once.
"""

import fcntl
import inspect
import json
import os
import random
import shlex
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from click.testing import CliRunner, Result

from evo2_tasks import Evo2ForCausalLM, score_variants
from evo2_tasks.cli import main
from evo2_tasks.commands import run_steps
from evo2_tasks.commands.run import run
from evo2_tasks.config.schema import (
    ModelConfig,
    ReferenceConfig,
    RunSettings,
    ScoringConfig,
    VariantSetConfig,
)
from evo2_tasks.config.single import SETTINGS, WORKFLOW_ONLY
from evo2_tasks.errors import InputError
from evo2_tasks.io.interruption import EXIT_INTERRUPTED, Interrupted, Interruption
from evo2_tasks.layout import RUN_LOCK
from evo2_tasks.layout import STEPS as STEPS_OF_LAYOUT
from evo2_tasks.table.schema import STATUSES
from tests import processes
from tests.project import COLUMNS, write_genome
from tests.workflow.rules import read_rules
from tests.workflow.run import run_workflow

GENERATOR = random.Random(4)
LINE = "".join(GENERATOR.choices("ACGT", k=700))
# No base is predicted after R by the model of these tests.
LINE = LINE[:250] + "R" + LINE[251:400] + "N" * 100 + LINE[500:]
RING = "".join(GENERATOR.choices("ACGT", k=300))
CHANGED = f"{LINE[:80]}{'A' if LINE[80] != 'A' else 'C'}{LINE[81:]}"
WINDOW_LENGTH = 64


def other(base: str) -> str:
    return "ACGT"[("ACGT".index(base) + 1) % 4]


def snv(contig: str, pos: int, **keys: str) -> str:
    ref = {"line": LINE, "ring": RING}.get(contig, "A" * 1000)[pos - 1]
    return record(contig, pos, **{"ref": ref, "alt": other(ref), **keys})


def record(contig: str, pos: object, ref: str, alt: str, filters: str = "PASS") -> str:
    return f"{contig}\t{pos}\t.\t{ref}\t{alt}\t.\t{filters}\tX={pos}\n"


RECORDS = [
    *(snv("line", pos) for pos in range(40, 200, 8)),
    snv("line", 1),  # no_context
    snv("line", 255),  # non_finite
    snv("line", 400),  # too_many_n
    record("line", 520, LINE[519], LINE[519] + "ACGTACGTACGTACGTACGTACGT"),  # too_long
    record("line", 60, other(LINE[59]), LINE[59]),  # ref_alt_swapped
    record("line", 61, other(LINE[60]), other(other(LINE[60]))),  # ref_mismatch
    record("line", 701, "A", "C"),  # position_out_of_range
    snv("nowhere", 5),  # contig_not_found
    record("line", 62, LINE[61], "R"),  # non_acgt_allele
    record("line", 63, LINE[62], "<DEL>"),  # symbolic_allele
    record("line", 64, LINE[63], f"{LINE[63]}[ring:7["),  # breakend
    record("line", 65, LINE[64], f"*,{other(LINE[64])}"),  # overlapping_deletion
    record("line", 66, LINE[65], LINE[65]),  # not_a_variant
    record("line", 67, LINE[66], "."),  # missing_allele
    snv("line", 68, filters="q10"),  # filtered
    record("line", "x", "A", "C"),  # invalid_record
    snv("ring", 1),
    record("ring", 299, RING[298:300], RING[298]),
]
HEADER = (
    "##fileformat=VCFv4.3\n"
    '##INFO=<ID=X,Number=1,Type=String,Description="x">\n'
    '##FILTER=<ID=q10,Description="q">\n'
    f"{COLUMNS}"
)
SETTINGS_HERE = {
    "window_length": WINDOW_LENGTH,
    "max_n_share": 0.4,
    "circular_contigs": ["ring"],
    "carry": ["X"],
    "filters": {"pass_only": True},
    "gpus": 0,
}
"""Settings of the runs of this module."""


@dataclass(frozen=True)
class Place:
    """A working directory with the files of a run."""

    folder: Path

    def run(self, out: str = "scores.parquet", **changes: Any) -> Path:
        """Run the command's function in this folder; gives the table."""
        options = {"exports": (), "has_report": False, **changes.pop("options", {})}
        done = run(
            Path("in.vcf"),
            fasta=Path("genome.fa"),
            checkpoint=Path("model"),
            out=Path(out),
            settings=SETTINGS_HERE | changes,
            threads=1,
            **options,
        )
        return self.folder / done.table

    def table(self, out: str = "scores") -> Path:
        """The table in the folder of the results."""
        (found,) = (self.folder / f"{out}.results").glob("*/*/scores.parquet")
        return found

    def scores(self, out: str = "scores") -> Path:
        """The scores of the shard."""
        return self.table(out).parent / "scores" / "1-of-1.parquet"


def write_place(folder: Path, checkpoint: Path) -> None:
    write_genome(folder / "genome.fa", {"line": LINE, "ring": RING})
    (folder / "in.vcf").write_text(HEADER + "".join(RECORDS))
    shutil.copytree(checkpoint, folder / "model")


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory, small_model: Evo2ForCausalLM) -> Path:
    """A model whose output is not finite from the letter R on.

    One channel is 0 but for R, whose embedding has nothing else. It has no part in the logits, and
    overflows in the first gated MLP.
    """
    folder, model, channel = tmp_path_factory.mktemp("model"), deepcopy(small_model), 3
    inner = model.model
    with torch.no_grad():
        inner.embed_tokens.weight[:, channel] = 0
        inner.embed_tokens.weight[ord("R")] = 0
        inner.embed_tokens.weight[ord("R"), channel] = 1
        for name, parameter in inner.named_parameters():
            if name.rpartition(".")[0].endswith(("out_filter_dense", "out_proj", "l3")):
                parameter[channel] = 0
        next(inner.norm.parameters())[channel] = 0
        for matrix in (inner.layers[0].mlp.l1, inner.layers[0].mlp.l2):
            matrix.weight[:, channel] = 1e20
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, broken: Path) -> Place:
    """A finished run of all statuses, which tests do not change."""
    folder = tmp_path_factory.mktemp("finished")
    write_place(folder, broken)
    before = Path.cwd()
    os.chdir(folder)
    try:
        Place(folder).run()
    finally:
        os.chdir(before)
    return Place(folder)


@pytest.fixture
def place(tmp_path: Path, finished: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The working directory with a copy of the finished run."""
    shutil.copytree(finished.folder, tmp_path / "copy", copy_function=shutil.copy2)
    monkeypatch.chdir(tmp_path / "copy")
    place = Place(tmp_path / "copy")
    # As in the original, the system changed the scores last; their own time stays.
    os.utime(place.scores(), ns=(place.scores().stat().st_mtime_ns,) * 2)
    return place


@pytest.fixture
def empty(tmp_path: Path, broken: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The working directory with the files of a run, and no results."""
    write_place(tmp_path, broken)
    monkeypatch.chdir(tmp_path)
    return Place(tmp_path)


def invoke(*arguments: str, input: str | None = None) -> Result:  # noqa: A002 - click's name
    return CliRunner().invoke(main, ["run", *arguments], input=input)


# --- the same as the workflow


def test_every_status_is_in_these_tests(finished: Place) -> None:
    table = pd.read_parquet(finished.table())
    assert {*table.status.astype(str)} == {*STATUSES}
    assert len(table) == len(RECORDS) + 1  # one record has two ALT alleles


def test_snakemake_gives_the_same_bytes_from_the_config_alone(
    tmp_path: Path, finished: Place, broken: Path
) -> None:
    write_place(tmp_path, broken)
    shutil.copy2(finished.folder / "scores.config.yaml", tmp_path)
    target = str(finished.table().relative_to(finished.folder))
    run_workflow(tmp_path, target, "--configfile", "scores.config.yaml")
    assert (tmp_path / target).read_bytes() == (finished.folder / "scores.parquet").read_bytes()


def test_snakemake_finds_the_scores_finished_and_makes_the_report(place: Place) -> None:
    place.run()  # once more: what is kept must not look older than what is made again
    before = place.table().read_bytes()
    output = run_workflow(place.folder, "--configfile", "scores.config.yaml")
    assert "Writing the report of variants" in output
    assert "2 of 2 steps (100%) done" in output
    assert place.table().read_bytes() == before
    again = run_workflow(place.folder, "--configfile", "scores.config.yaml", "-n")
    assert "Nothing to be done" in again


def test_a_dataframe_is_that_of_the_table(place: Place) -> None:
    frame = score_variants("model", "in.vcf", "genome.fa", threads=1, **SETTINGS_HERE)
    pd.testing.assert_frame_equal(frame, pd.read_parquet("scores.parquet"), check_exact=True)
    assert frame.attrs["model"] == "model"
    assert frame.attrs["signature"]["scoring"]["window_length"] == WINDOW_LENGTH


def test_the_steps_are_in_the_order_of_the_rules() -> None:
    rules = read_rules()
    order = [*run_steps.STEPS]
    for name in order:
        earlier = {one for step in order[: order.index(name)] for one in rules[step].outputs}
        assert rules[name].inputs - {"{file}"} <= earlier, name


# Rules that a run with these settings never needs, and why. A new rule is in one of the two lists.
NEVER: dict[str, str] = {
    **dict.fromkeys(("identify", "lookup"), "store"),
    "draw": "random_snvs",
    **dict.fromkeys(("audit", "merge_audit"), "audit"),
    **dict.fromkeys(("score_readouts", "add_readouts"), "embeddings"),
    "merge_embeddings": "embeddings",
    "merge_profiles": "profile",
    **dict.fromkeys(("haplotypes", "score_haplotypes", "merge_haplotypes"), "haplotypes"),
    **dict.fromkeys(("fit_calibration", "calibrate"), "calibrations"),
    **dict.fromkeys(("fit_probe", "apply_probe"), "probes"),
    "evaluate": "labels",
}
OF_OTHER_SETS = ("split_sequences", "score_sequence_set", "merge_sequences", "embed_sequences",
    "merge_sequence_embeddings", "tile", "score_tracks", "merge_tracks", "export_tracks",
    "report_tracks", "embed_tracks", "merge_track_embeddings", "combine", "evaluate_combined",
    "read_prompts", "generate_sequences", "merge_generation", "report_generation",
)  # fmt: skip
AFTER_THE_TABLE = ("export", "export_bigwig", "index", "report")


def test_each_rule_is_run_or_is_asked_for_by_a_setting_that_is_refused() -> None:
    named = [*run_steps.STEPS, *NEVER, *OF_OTHER_SETS, *AFTER_THE_TABLE]
    assert sorted(named) == sorted(STEPS_OF_LAYOUT)
    refused = {name for names in WORKFLOW_ONLY.values() for name in names}
    assert {*NEVER.values()} <= refused


def test_each_key_of_the_config_is_a_setting_or_is_refused() -> None:
    sections = {
        "references": (ReferenceConfig, {"fasta"}),
        "models": (ModelConfig, {"checkpoint"}),
        "scorings": (ScoringConfig, {"model"}),
        "variant_sets": (VariantSetConfig, {"variants", "reference", "scorings", "exports"}),
        "run": (RunSettings, set()),
    }
    for section, (model, own) in sections.items():
        named = [*SETTINGS[section].values(), *WORKFLOW_ONLY[section], *own]
        assert sorted(named) == sorted(model.model_fields), section
    names = [name for keys in SETTINGS.values() for name in keys]
    arguments = inspect.signature(score_variants).parameters
    assert len({*names}) == len(names)
    assert not {*names} & {*arguments}


# --- again, and after a kill


def test_a_second_run_keeps_the_scores(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    before = place.scores().read_bytes(), Path("scores.parquet").read_bytes()
    monkeypatch.setattr(run_steps, "score", lambda *_, **__: pytest.fail("scored again"))
    place.run()
    assert (place.scores().read_bytes(), Path("scores.parquet").read_bytes()) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda place: place.run(strands="forward"),
        lambda place: (shutil.copy(place.folder / "other.vcf", "in.vcf"), place.run()),
        lambda place: (write_genome(Path("genome.fa"), {"line": CHANGED, "ring": RING}),
                       place.run()),
    ],
    ids=["setting", "variants", "reference"],
)  # fmt: skip
def test_what_a_change_affects_is_computed_again(
    place: Place, change: Callable[[Place], object]
) -> None:
    Path("other.vcf").write_text(HEADER + "".join(RECORDS[5:]))
    before = place.scores().read_bytes()
    change(place)
    assert place.scores().read_bytes() != before
    frame = pd.read_parquet("scores.parquet")
    stated = json.loads(Path("scores.json").read_text())
    assert stated["alleles"] == len(frame)


def test_a_new_checkpoint_is_used(place: Place) -> None:
    before = Path("scores.parquet").read_bytes()
    model = Evo2ForCausalLM.from_pretrained("model")
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(2)
    model.save_pretrained("model")
    place.run()
    assert Path("scores.parquet").read_bytes() != before


def give_old_times(folder: Path) -> None:
    for path in folder.iterdir():
        os.utime(path, (1.6e9, 1.6e9))


@pytest.mark.parametrize("kind", ["copied", "renamed", "linked"])
def test_a_checkpoint_that_is_replaced_by_an_older_one_is_used(place: Place, kind: str) -> None:
    model = Evo2ForCausalLM.from_pretrained("model")
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(2)
    model.save_pretrained("other")
    give_old_times(Path("other"))
    give_old_times(Path("model"))
    if kind == "linked":
        Path("model").rename("first")
        Path("model").symlink_to("first")
    before = place.run().read_bytes()
    if kind == "copied":
        shutil.copytree("other", "model", dirs_exist_ok=True)  # keeps the times
    elif kind == "renamed":
        shutil.rmtree("model")
        Path("other").rename("model")
    else:
        Path("model").unlink()
        Path("model").symlink_to("other")
    assert place.run().read_bytes() != before


def test_the_command_in_the_config_finds_it(place: Place) -> None:
    Path("it's here").mkdir()
    place.run("it's here/my scores.parquet")
    config = Path("it's here/my scores.config.yaml")
    (line,) = [one for one in config.read_text().splitlines() if "--configfile" in one]
    words = shlex.split(line.removeprefix("#"))
    assert words[words.index("--configfile") + 1] == str(config)


def test_scores_of_another_window_length_stay(place: Place) -> None:
    place.run(window_length=96)
    assert len([*Path("scores.results/variants").glob("*/scores.parquet")]) == 2


def test_a_run_that_was_stopped_continues_after_its_last_part(
    empty: Place, finished: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"part_tokens": 1_000}
    whole = empty.run("whole.parquet", **small).read_bytes()
    checks = iter(range(1000))

    def check(_self: Interruption) -> None:
        if next(checks) == 5:
            raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(Interruption, "check", check)
        with pytest.raises(Interrupted):
            empty.run(**small)
    assert not Path("scores.parquet").exists()
    assert Path("scores.config.yaml").exists()
    assert empty.run(**small).read_bytes() == whole
    (shard,) = json.loads(Path("scores.json").read_text())["shards"]
    assert shard["parts_kept"] > 0
    del finished


def start_and_wait(folder: str, words: list[str]) -> None:
    os.chdir(folder)
    main(words)


def test_sigterm_ends_a_run_with_its_status(empty: Place) -> None:
    shutil.rmtree("model")
    words = ["run", "in.vcf", "--fasta", "genome.fa", "--checkpoint", "evo2-mini"]
    words += ["--window-length", "1024", "--threads", "1"]
    process = processes.start(start_and_wait, str(empty.folder), words)
    windows = "scores.results/variants/*/windows/*.segments.parquet"
    while process.is_alive() and not [*empty.folder.glob(windows)]:
        time.sleep(0.02)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGTERM)
    assert processes.wait(process) == EXIT_INTERRUPTED
    assert not Path("scores.parquet").exists()
    assert not [*empty.folder.rglob("*.tmp*")]


# --- standard input, exports, the report


def test_standard_input_is_read_once_and_kept(empty: Place, finished: Place) -> None:
    arguments = ["-", "--fasta", "genome.fa", "--checkpoint", "model", "--gpus", "0"]
    arguments += ["--window-length", "64", "--circular-contigs", "ring", "--carry", "X"]
    arguments += ["--pass-only", "--threads", "1", "--max-n-share", "0.4"]
    done = invoke(*arguments, input=Path("in.vcf").read_text())
    assert done.exit_code == 0, done.output
    assert Path("scores.parquet").read_bytes() == (finished.folder / "scores.parquet").read_bytes()
    copy = Path("scores.results/input")
    made = copy.stat().st_mtime_ns
    assert invoke(*arguments, input=Path("in.vcf").read_text()).exit_code == 0
    assert copy.stat().st_mtime_ns == made
    assert copy.read_text() == Path("in.vcf").read_text()


def test_a_message_about_standard_input_names_it(empty: Place) -> None:
    done = invoke("-", "--fasta", "genome.fa", "--checkpoint", "model", "--gpus", "0", input="")
    assert done.exit_code == 2
    assert "ERROR: standard input: the file is empty; expected variants." in done.stderr
    assert not Path("scores.results").exists()


def test_columns_and_contigs_have_other_names(empty: Place) -> None:
    ref, alt = bases("line", 40)
    Path("in.tsv").write_text(f"chrom\told_pos\tnew_pos\tref\talt\nNC_1.1\t7\t40\t{ref}\t{alt}\n")
    arguments = ["in.tsv", "--fasta", "genome.fa", "--checkpoint", "model", "--gpus", "0"]
    arguments += ["--window-length", "64", "--contig-aliases", "NC_1.1", "line"]
    assert "Name the right ones" in invoke(*arguments).stderr
    done = invoke(*arguments, "--columns", "pos", "new_pos")
    assert done.stdout.startswith("scores.parquet: 1 row: 1 scored"), done.output


def test_exports_and_the_report_are_next_to_the_table(place: Place) -> None:
    table = place.run(
        "of.mine.parquet", options={"exports": ("vcf", "tsv", "bigwig"), "has_report": True}
    )
    names = {path.name for path in place.folder.iterdir() if path.name.startswith("of.mine")}
    assert names == {
        "of.mine.parquet",
        "of.mine.json",
        "of.mine.config.yaml",
        "of.mine.results",
        "of.mine.html",
        "of.mine.vcf.gz",
        "of.mine.tsv",
        "of.mine.bw",
        "of.mine.trackDb.txt",
        "of.mine.igv.xml",
    }
    # The commands on tables find what they need next to this one too.
    Path("of.mine.vcf.gz").unlink()
    done = CliRunner().invoke(main, ["export", str(table), "--to", "vcf"])
    assert done.exit_code == 0, done.output
    assert Path("of.mine.vcf.gz").exists()


def test_the_command_names_what_it_wrote(empty: Place) -> None:
    done = invoke(
        *("in.vcf", "--fasta", "genome.fa", "--checkpoint", "model", "--gpus", "0"),
        *("--window-length", "64", "--exports", "sites", "--out", "o.parquet"),
    )
    assert done.exit_code == 0, done.output
    first, *others = done.stdout.splitlines()
    assert first.startswith(f"o.parquet: {len(RECORDS) + 1} rows: ")
    assert others == ["o.sites.vcf.gz", "o.config.yaml: the config, for snakemake --configfile"]


# --- mistakes

BAD = [
    (["in.vcf", "--fasta", "none.fa"], "fasta: none.fa does not exist (looked in "),
    (["none.vcf", "--fasta", "genome.fa"], "variants: none.vcf does not exist (looked in "),
    (["in.vcf", "--fasta", "genome.fa", "--window-length", "9"],
     "window_length: 9 is too small; the smallest allowed value is 64"),
    (["in.vcf", "--fasta", "genome.fa", "--horizon", "60"], "horizon: 60 is too large; with "),
    (["in.vcf", "--fasta", "genome.fa", "--circular-contigs", "rng"],
     "circular_contigs[0]: genome.fa has no sequence 'rng'; did you mean ring? "),
    (["in.vcf", "--fasta", "genome.fa", "--out", "scores.tsv"],
     "--out: scores.tsv: expected a name that ends in .parquet"),
    (["in.vcf", "--fasta", "genome.fa", "--checkpoint", "none"], "checkpoint: none does not exist"),
    (["in.vcf", "--fasta", "genome.fa", "--carry", "AF", "--gff", "none.gff3"],
     "gff: none.gff3 does not exist"),
    (["in.vcf", "--fasta", "genome.fa", "--gpus", "99"], "gpus: 99 required, but torch "),
    (["genome.fa", "--fasta", "genome.fa"], "genome.fa: "),
    (["in.vcf", "--fasta", "in.vcf"], "in.vcf: "),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[message for _, message in BAD])
def test_a_mistake_gives_one_line_and_leaves_nothing(
    empty: Place, arguments: list[str], message: str
) -> None:
    before = sorted(empty.folder.rglob("*"))
    defaults = ["--checkpoint", "model", "--gpus", "0", "--window-length", "64"]
    done = invoke(*defaults, *arguments)
    assert done.exit_code == 2, done.output
    (line,) = [one for one in done.stderr.splitlines() if one.startswith("ERROR: ")]
    assert line.startswith(f"ERROR: {message}")
    assert not done.stdout
    left = {*empty.folder.rglob("*")} - {*before}
    assert {path.name for path in left} <= {"genome.fa.fai"}


def test_an_input_is_not_overwritten(empty: Place) -> None:
    shutil.copy("in.vcf", "in.parquet")
    done = invoke("in.parquet", "--fasta", "genome.fa", "--out", "in.parquet")
    assert done.exit_code == 2
    assert "is an input file" in done.stderr


def test_two_runs_do_not_write_the_same_results(place: Place) -> None:
    with (Path("scores.results") / RUN_LOCK).open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another `evo2-tasks run` or `score_variants` is "):
            place.run()
    place.run()


def test_a_failure_keeps_earlier_results(place: Place) -> None:
    before = Path("scores.parquet").read_bytes()
    Path("in.vcf").write_text("no VCF\n")
    with pytest.raises(InputError):
        place.run()
    assert Path("scores.parquet").read_bytes() == before
    assert place.scores().exists()


def test_the_default_model_is_named(empty: Place) -> None:
    done = invoke("in.vcf", "--fasta", "none.fa")
    assert "WARNING: --checkpoint: not given, so evo2-mini is used" in done.stderr


# --- score_variants

NAMED = ["line:40:{}:{}", "line-48-{}-{}", "ring:1:{}:{}"]
ALLELES = [("line", 40), ("line", 48), ("ring", 1)]


def bases(contig: str, pos: int) -> tuple[str, str]:
    ref = {"line": LINE, "ring": RING}[contig][pos - 1]
    return ref, other(ref)


@pytest.fixture
def small(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., pd.DataFrame]]:
    """`score_variants` with the small model, in a folder with a genome."""
    write_genome(tmp_path / "genome.fa", {"line": LINE, "ring": RING})
    monkeypatch.chdir(tmp_path)

    def score(variants: Any, model: Any = checkpoint, **settings: Any) -> pd.DataFrame:
        defaults = {"window_length": 64, "circular_contigs": ["ring"], "threads": 1}
        if isinstance(model, Path):
            defaults["gpus"] = 0
        return score_variants(model, variants, "genome.fa", **defaults | settings)

    yield score
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("evo2")]


def make_frame() -> pd.DataFrame:
    rows = [(contig, pos, *bases(contig, pos)) for contig, pos in ALLELES]
    return pd.DataFrame(rows, columns=["Chrom", "position", "REF", "alt_allele"])


def test_a_list_a_frame_and_a_file_give_the_same_rows(
    small: Callable[..., pd.DataFrame],
) -> None:
    frame = make_frame()
    frame.to_csv("in.tsv", sep="\t", index=False)
    names = [name.format(*bases(*allele)) for name, allele in zip(NAMED, ALLELES, strict=True)]
    by_list, by_frame, by_file = small(names), small(frame), small("in.tsv")
    pd.testing.assert_frame_equal(by_list, by_frame, check_exact=True)
    pd.testing.assert_frame_equal(by_list, by_file, check_exact=True)
    assert [*by_list.status] == ["scored"] * 3
    assert [*zip(by_list.contig, by_list.pos, strict=True)] == ALLELES


def test_a_model_in_memory_gives_the_same_scores(
    small: Callable[..., pd.DataFrame], small_model: Evo2ForCausalLM
) -> None:
    by_name, in_memory = small(make_frame()), small(make_frame(), small_model)
    pd.testing.assert_frame_equal(by_name, in_memory, check_exact=True)
    assert by_name.attrs["signature"] == in_memory.attrs["signature"]


def test_no_entry_of_a_list_vanishes(small: Callable[..., pd.DataFrame]) -> None:
    # One that looks like a header, one that cannot be read, one with a comment.
    entries = ["variant_id", "line:40:{}:{}".format(*bases("line", 40)), "rs123 # a", "nonsense"]
    frame = small([*entries, *[entries[1]] * 4])
    assert [*frame.record] == [*range(8)]
    assert [*frame.status.astype(str)] == ["invalid_record", "scored", *["invalid_record"] * 2] + [
        "scored"
    ] * 4


def test_columns_of_a_frame_are_carried_with_their_types(
    small: Callable[..., pd.DataFrame],
) -> None:
    frame = make_frame().assign(score=[0.5, None, 2], name=["a", None, "c"], junk=[{}, 1, "x"])
    scored = small(frame, carry=["score", "name"])
    assert scored.score.isna().tolist() == [False, True, False]
    assert scored.name.tolist()[2] == "c"
    assert scored.score.dtype == float


def test_contigs_may_be_numbers_and_texts(small: Callable[..., pd.DataFrame]) -> None:
    frame = make_frame()
    frame["Chrom"] = [1, "line", "X"]
    assert [*small(frame).contig] == ["1", "line", "X"]


def test_no_variants_give_no_rows(small: Callable[..., pd.DataFrame]) -> None:
    assert len(small([])) == len(small(make_frame()[:0])) == 0
    assert "llr" in small([])


@pytest.mark.parametrize("is_in_memory", [False, True])
def test_results_that_are_kept_are_used_again(
    small: Callable[..., pd.DataFrame],
    small_model: Evo2ForCausalLM,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_in_memory: bool,
) -> None:
    model = small_model if is_in_memory else checkpoint
    first = small(make_frame(), model, results="kept")
    monkeypatch.setattr(run_steps, "write_scores", lambda *_, **__: pytest.fail("scored again"))
    pd.testing.assert_frame_equal(small(make_frame(), model, results="kept"), first)


def test_two_calls_do_not_write_the_same_results(small: Callable[..., pd.DataFrame]) -> None:
    small(make_frame(), results="kept")
    with (Path("kept") / RUN_LOCK).open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="Wait until it has ended, or name another one with "):
            small(make_frame(), results="kept")


def test_values_of_numpy_are_settings(small: Callable[..., pd.DataFrame]) -> None:
    plain = small(make_frame())
    settings = {"window_length": np.int64(64), "circular_contigs": np.array(["ring"])}
    pd.testing.assert_frame_equal(small(make_frame(), **settings), plain, check_exact=True)
    names = np.array(["line:40:{}:{}".format(*bases("line", 40))])
    assert [*small(names).llr] == [*small(pd.Index(names)).llr]
    assert small(names).llr[0] == pytest.approx(plain.llr[0], abs=1e-5)  # another batch


def test_modes_of_torch_change_no_score(
    small: Callable[..., pd.DataFrame], small_model: Evo2ForCausalLM
) -> None:
    plain = small(make_frame(), small_model)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.device("meta"):
        pd.testing.assert_frame_equal(small(make_frame(), small_model), plain, check_exact=True)


def test_a_model_without_values_is_refused(
    small: Callable[..., pd.DataFrame], small_model: Evo2ForCausalLM
) -> None:
    with pytest.raises(InputError, match="model: some of its parameters have no values"):
        small(make_frame(), deepcopy(small_model).to("meta"))


def test_it_runs_in_a_thread_and_leaves_torch_as_it_was(
    small: Callable[..., pd.DataFrame],
) -> None:
    found: list[pd.DataFrame] = []
    before = torch.get_num_threads(), signal.getsignal(signal.SIGINT)
    thread = threading.Thread(
        target=lambda: found.append(small(make_frame(), threads=before[0] + 1))
    )
    thread.start()
    thread.join()
    assert len(found[0]) == 3
    assert (torch.get_num_threads(), signal.getsignal(signal.SIGINT)) == before


@pytest.mark.parametrize(
    ("variants", "settings", "message"),
    [
        ([3], {}, r"variants: entry 0 is 3; expected a text such as 'MT:3243:A:G'\."),
        (["# line:40:A:C"], {}, "variants: entry 0 is "),
        (["a\nb"], {}, "variants: entry 0 is "),
        ("line:40:A:C", {}, "variants: line:40:A:C is not a file. Write a list"),
        (7, {}, "variants: is a int; expected a path, a list of texts or a DataFrame"),
        (pa.table({"chrom": []}), {}, "variants: is a pyarrow.Table; expected a path, a list"),
        (["nonsense"], {}, "variants: no entry of the list is a variant; the first is 'nonsense'"),
        (["line\t9\tA\tC"], {}, "variants: no entry of the list is a variant"),
        (
            make_frame().assign(alt_allele=[["A"], ("C", "T"), []]),
            {},
            r"variants: column alt_allele: has \['A'\]; expected one value in each row",
        ),
        ([], {"threads": 0}, "threads: is 0; expected a whole number from 1 on"),
        ([], {"threads": "2"}, "threads: is '2'; expected a whole number from 1 on"),
        (pd.DataFrame({"chrom": ["line"]}), {}, "variants: the table has no column for "),
        ([], {"window_lenght": 8}, "window_lenght: there is no such setting. Did you mean window_"),
        ([], {"embeddings": {}}, "embeddings: only the workflow has this setting"),
        ([], {"window_length": 8}, "window_length: 8 is too small"),
        ([], {"strands": "none"}, "strands: "),
        ([], {"model": "none"}, None),
    ],
)
def test_a_mistake_is_an_input_error(
    small: Callable[..., pd.DataFrame], variants: Any, settings: dict[str, Any], message: str | None
) -> None:
    with pytest.raises(InputError, match=message or "checkpoint: none does not exist") as caught:
        small(variants, **({"model": Path("none")} if message is None else settings))
    assert "\n" not in str(caught.value)


def test_a_setting_of_loading_needs_a_checkpoint(
    small: Callable[..., pd.DataFrame], small_model: Evo2ForCausalLM
) -> None:
    with pytest.raises(InputError, match="dtype: cannot be combined with a model in memory"):
        small([], small_model, dtype="float32")
    with pytest.raises(InputError, match="model: is a int; expected "):
        small([], 7)


def test_the_extra_is_named_where_pandas_is_missing(
    small: Callable[..., pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match=r"needs pandas; .* pip install 'evo2-tasks\[pandas\]'"):
        small([])
