"""`store lookup`, `store stat` and `store compact`, against the table that was added."""

import json
import random
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from evo2_tasks.cli import main
from evo2_tasks.commands import store_add, store_lookup
from evo2_tasks.commands.plan import plan
from evo2_tasks.commands.store_lookup_text import describe_answers
from evo2_tasks.config.load import load_config
from evo2_tasks.config.resolve import resolve_model, resolve_plan
from evo2_tasks.config.schema import ModelConfig
from evo2_tasks.runtime.score_store import make_model_key
from evo2_tasks.scoring.deltas import SCORE_NAMES
from evo2_tasks.table.store import Store
from evo2_tasks.table.store_models import ModelRecord, write_model
from tests.commands.stored_tables import (
    SETTINGS,
    DrawnTable,
    draw_alleles,
    draw_genome,
    write_drawn_table,
)
from tests.project import HEADER, make_config

GENOME = {"chr1": "ACGTTGCATT" * 40, "chrM": "GATTACATGC" * 20}
ALLELES = [
    ("chr1", 201, "A", "G"),
    ("chr1", 204, "T", "TA"),
    ("chrM", 1, "G", "C"),
    ("chr1", 251, "A", "T"),
]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments])


def ask(*arguments: object) -> Any:
    done = run("store", "lookup", "--json", *arguments)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)["alleles"]


def assert_refused(result: Result, said: str) -> None:
    assert result.exit_code == 2, result.output
    lines = [line for line in result.stderr.splitlines() if not line.startswith("INFO: made the")]
    assert len(lines) == 1, result.stderr
    assert said in lines[0]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> DrawnTable:
    """A table whose alleles are in the store next to it."""
    folder = tmp_path_factory.mktemp("drawn")
    table = write_drawn_table(folder, GENOME, ALLELES, circular=["chrM"])
    (added,) = store_add.add([table.path], folder / "store")
    assert added.added == len(ALLELES)
    return table


def store_of(drawn: DrawnTable) -> Path:
    return drawn.path.parent / "store"


def options_of(drawn: DrawnTable) -> list[object]:
    """The options that name the store and the reference."""
    return [
        "--store", store_of(drawn), "--fasta", drawn.fasta, "--circular-contigs", "chrM"
    ]  # fmt: skip


def scores_in_table(drawn: DrawnTable, row: int, suffix: str) -> dict[str, float]:
    values = pd.read_parquet(drawn.path).iloc[row]
    return {name: values[name + suffix] for name in SCORE_NAMES}


@pytest.mark.parametrize("row", range(len(ALLELES)))
def test_the_scores_of_both_strands_are_those_of_the_table(drawn: DrawnTable, row: int) -> None:
    (answer,) = ask(":".join(map(str, ALLELES[row])), *options_of(drawn))
    (result,) = answer["results"]
    forward, reverse = (scores_in_table(drawn, row, suffix) for suffix in ("_fwd", "_rev"))
    assert result["scores"]["forward"] == {**forward, "device": "H100"}
    assert result["scores"]["reverse"] == {**reverse, "device": "H100"}
    assert result["scores"]["mean"] == pytest.approx(
        {name: (forward[name] + reverse[name]) / 2 for name in SCORE_NAMES}
    )
    placed = drawn.placed[row]
    assert (result["window_start"], result["window_end"]) == (
        placed.window_start, placed.window_end
    )  # fmt: skip
    assert "to_run" not in result


@pytest.mark.parametrize(
    "spelled",
    [
        "chr1-201-A-G",
        "1:201:A:G",
        "chr1:201:a:g",
        "chr1:g.201A>G",
        " chr1:201:A:G ",
        "chr1:200:TA:TG",
    ],
)
def test_every_spelling_of_an_allele_is_found(drawn: DrawnTable, spelled: str) -> None:
    (answer,) = ask(spelled, *options_of(drawn))
    assert answer["results"][0]["scores"]["forward"]["llr"] == drawn.scores[0]["llr_fwd"]


def test_positions_may_have_separators(tmp_path: Path) -> None:
    genome = {"chr1": "ACGTTGCATT" * 200}
    drawn = write_drawn_table(tmp_path, genome, [("chr1", 1201, "A", "G")])
    list(store_add.add([drawn.path], store_of(drawn)))
    options = ["--store", store_of(drawn), "--fasta", drawn.fasta]
    (answer,) = ask("chr1:1,201:A:G", *options)
    assert "mean" in answer["results"][0]["scores"]
    two = ask("chr1:1201:A:G,T", *options)
    assert ["mean" in one["results"][0]["scores"] for one in two] == [True, False]


def test_several_alleles_are_answered_in_order(drawn: DrawnTable) -> None:
    texts = [":".join(map(str, one)) for one in ALLELES]
    answers = ask(*reversed(texts), *options_of(drawn))
    assert [answer["query"] for answer in answers] == texts[::-1]
    done = run("store", "lookup", *texts, *options_of(drawn))
    assert done.exit_code == 0
    assert [line for line in done.stdout.splitlines() if line in texts] == texts
    assert f"{drawn.scores[0]['llr_fwd']:.6g}" in done.stdout
    assert "To score what is missing" not in done.stdout


def test_a_strand_alone_is_shown_without_a_mean(tmp_path: Path) -> None:
    forward = replace(SETTINGS, strands="forward")
    drawn = write_drawn_table(tmp_path, GENOME, ALLELES[:1], settings=forward)
    list(store_add.add([drawn.path], store_of(drawn)))
    (answer,) = ask("chr1:201:A:G", "--store", store_of(drawn), "--fasta", drawn.fasta)
    (result,) = answer["results"]
    assert list(result["scores"]) == ["forward"]
    assert result["to_run"]["strands"] == ["reverse"]


# --- what would be run


def write_config(drawn: DrawnTable, variants: str, **parts: Any) -> Path:
    folder = drawn.path.parent
    (folder / "in.vcf").write_text(HEADER + variants)
    scoring = {
        key: value
        for key, value in asdict(SETTINGS).items()
        if key not in ("window_step", "horizon", "min_context")
    }
    config = make_config(
        folder,
        reference={"circular_contigs": ["chrM"]},
        model={"checkpoint": "evo2-mini"},
        scoring=scoring,
        **parts,
    )
    file = folder / "config.json"
    file.write_text(json.dumps(config))
    return file


@pytest.mark.parametrize("allele", [("chr1", 221, "A", "C"), ("chr1", 224, "T", "TCC")])
def test_the_work_of_a_missing_allele_is_that_of_plan(
    drawn: DrawnTable, tmp_path: Path, allele: tuple[str, int, str, str]
) -> None:
    contig, pos, ref, alt = allele
    config = write_config(drawn, f"{contig}\t{pos}\t.\t{ref}\t{alt}\t.\t.\t.\n")
    (answer,) = ask(":".join(map(str, allele)), "--store", tmp_path / "none", "--config", config)
    (result,) = answer["results"]
    (planned,) = plan(
        resolve_plan(load_config(config)),
        rates_file=None, device=None, device_memory_gb=None, price=None, job_hours=2.0,
    )  # fmt: skip
    assert result["to_run"]["tokens"] == planned["tokens"]
    assert result["to_run"]["windows"] == planned["windows"]
    assert result["to_run"]["seconds"] == pytest.approx(planned["hours"] * 3600)
    assert result["to_run"]["device"] == planned["rate"]["device"]
    text = run("store", "lookup", ":".join(map(str, allele)), "--store", tmp_path / "none",
               "--config", config)  # fmt: skip
    assert f"{planned['tokens']:,} tokens" in text.stdout
    assert "To score what is missing: add `run: {store: " in text.stdout


def test_the_store_of_a_config_is_asked(drawn: DrawnTable, tmp_path: Path) -> None:
    config = write_config(drawn, "", run={"store": str(tmp_path / "none")})
    asked = run("store", "lookup", "chr1:221:A:C", "--config", config)
    assert asked.exit_code == 0, asked.output
    advice = asked.stdout.splitlines()[-1]
    assert advice == (
        "To score what is missing: add the alleles to the variants of this config, and run "
        "snakemake."
    )
    other = tmp_path / "other"
    asked = run("store", "lookup", "chr1:221:A:C", "--config", config, "--store", other)
    assert f"add `run: {{store: {other}}}` to a config" in asked.stdout
    without = write_config(drawn, "")
    assert_refused(run("store", "lookup", "chr1:221:A:C", "--config", without), "by --store, or by")


def test_a_scoring_of_a_config_finds_its_own_scores(drawn: DrawnTable, tmp_path: Path) -> None:
    config = write_config(drawn, "chr1\t201\t.\tA\tG\t.\t.\t.\n")
    done = run("store", "lookup", "chr1:201:A:G", "--store", store_of(drawn), "--config", config)
    assert_refused(done, "has no record of models.m, so it is not known whether its scores are")
    store = tmp_path / "store"
    list(store_add.add([drawn.path], store))
    model = resolve_model("models.m", "m", ModelConfig(checkpoint=Path("evo2-mini")))
    record = ModelRecord(
        key=make_model_key(model), weights="ab" * 32, fp8="off", version="1", name="m"
    )
    write_model(store, record)
    (answer,) = ask("chr1:201:A:G", "--store", store, "--config", config, "--scoring", "s")
    (result,) = answer["results"]
    assert result["scoring"] == "s"
    assert result["scores"]["reverse"]["llr"] == drawn.scores[0]["llr_rev"]
    (by_name,) = ask("chr1:201:A:G", "--store", store, "--fasta", drawn.fasta, "--model", "m")
    assert by_name["results"][0]["models"] == ["m"]
    assert_refused(
        run("store", "lookup", "chr1:201:A:G", "--store", store, "--fasta", drawn.fasta,
            "--model", "n"),
        "no signature is of a model named 'n'. The store has scores of: m.",
    )  # fmt: skip


# --- mistakes


@pytest.mark.parametrize(
    ("allele", "said"),
    [
        ("chr1:201:C:G", "the reference has A at chr1:201, and not C"),
        ("chr1:9999:A:G", "chr1 has the positions 1 to 400"),
        ("chr9:201:A:G", "has no sequence for the contig 'chr9'; its sequences are: chr1, chrM"),
        ("chr1:201:A", "'chr1:201:A' is not a variant; expected"),
        ("rs80357906", "looks like"),
        ("chr1:201:A:N", "non_acgt_allele"),
        ("NC_000009.12:200:A:G", "has no sequence for the contig 'NC_000009.12'"),
        ("chr9:g.201A>G", "has no sequence for the contig 'chr9'"),
        ("NM_000059.4:c.68-7T>A", "'NM_000059.4:c.68-7T>A'"),
    ],
)
def test_an_allele_that_is_not_on_the_reference_is_a_mistake(
    drawn: DrawnTable, allele: str, said: str
) -> None:
    done = run("store", "lookup", "chr1:201:A:G", allele, *options_of(drawn))
    assert_refused(done, said)
    assert f"{drawn.scores[0]['llr_fwd']:.6g}" in done.stdout  # the other one is answered


WORDS = (
    "chr1 chrM c : - :g. :m. 1 201 9,201 -1 9223372036854775808 A G TA > del dup ins inv _ <DEL> "
    "* . , N n NC_000001.11 NM_1.1:c. \u00e9 rs1 [3] ="
)
PIECES = [*WORDS.split(), " ", "\t", "\0"]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=8).map("".join), min_size=1, max_size=4))
def test_any_text_is_answered(drawn: DrawnTable, texts: list[str]) -> None:
    answers = list(
        store_lookup.lookup(texts, store_of(drawn), fasta=drawn.fasta, circular_contigs=["chrM"])
    )
    assert list(dict.fromkeys(one["query"] for one in answers)) == list(dict.fromkeys(texts))
    assert [*describe_answers(answers, store_of(drawn), None)]
    json.dumps(answers, allow_nan=False)


def test_a_name_that_may_be_two_contigs_is_not_guessed(tmp_path: Path) -> None:
    genome = {"chr1": "ACGT" * 50, "CHR1": "ACGA" * 50}
    drawn = write_drawn_table(tmp_path, genome, [("chr1", 101, "A", "G")])
    list(store_add.add([drawn.path], store_of(drawn)))
    done = run("store", "lookup", "1:101:A:G", "--store", store_of(drawn), "--fasta", drawn.fasta)
    assert_refused(done, "could be '1'; its sequences are: chr1, CHR1")


def test_wrong_options_are_one_line(drawn: DrawnTable, tmp_path: Path) -> None:
    store, fasta = store_of(drawn), drawn.fasta
    asked = ["store", "lookup", "chr1:201:A:G", "--store"]
    (tmp_path / "empty").mkdir()
    config = write_config(drawn, "")
    for arguments, said in [
        ([*asked, store], "name the FASTA of the reference by --fasta, or a config by --config"),
        ([*asked, tmp_path / "none", "--fasta", fasta], "the score store does not exist"),
        ([*asked, tmp_path / "empty", "--fasta", fasta], "the score store has no scores"),
        ([*asked, fasta, "--fasta", fasta], "the score store cannot be read: Not a directory"),
        ([*asked, store, "--fasta", tmp_path / "no.fa"], "no.fa: cannot be opened: No such file"),
        ([*asked, store, "--fasta", fasta, "--scoring", "s"], "Name it by --config."),
        ([*asked, store, "--config", config, "--signature", "ab"], "cannot be combined with"),
        ([*asked, store, "--config", config, "--scoring", "t"], "`scorings` has no 't'"),
        ([*asked, store, "--config", config, "--model", "x"], "`models` has no 'x'"),
        ([*asked, store, "--fasta", fasta, "--model", "x"], "does not know the name of any model"),
        ([*asked, store, "--fasta", fasta, "--circular-contigs", "x"], "'x' is not a sequence"),
        (["store", "stat", "--store", tmp_path / "none"], "the score store does not exist"),
        (["store", "compact", "--store", tmp_path / "empty"], "the score store has no scores"),
        (["store", "compact", "--store", store, "--signature", "?"], "is not the beginning of a"),
    ]:
        assert_refused(run(*arguments), said)


def test_a_signature_is_named_by_its_first_digits(drawn: DrawnTable) -> None:
    (known,) = Store(store_of(drawn)).describe().signatures
    for digits in (known.digest, known.digest[:4], known.digest[:6].upper()):
        (answer,) = ask("chr1:201:A:G", *options_of(drawn), "--signature", digits)
        assert answer["results"][0]["signature"] == known.digest
    near = ("0" if known.digest[0] != "0" else "1") + known.digest[1:8]
    asked = ["store", "lookup", "chr1:201:A:G", *options_of(drawn), "--signature"]
    assert_refused(run(*asked, near), f"Did you mean {known.digest[:12]}?")


def test_digits_of_several_signatures_are_refused(tmp_path: Path) -> None:
    store = tmp_path / "store"
    for length in range(64, 64 + 17):
        scoring = replace(SETTINGS, window_length=length)
        drawn = write_drawn_table(tmp_path / str(length), GENOME, ALLELES[:1], settings=scoring)
        list(store_add.add([drawn.path], store))
    digests = [one.digest for one in Store(store).describe().signatures]
    assert len(digests) == 17  # so two begin with the same digit
    first = next(one[0] for one in digests if sum(d[0] == one[0] for d in digests) > 1)
    same = [one[:12] for one in digests if one[0] == first]
    done = run("store", "compact", "--store", store, "--signature", first)
    assert_refused(done, f"--signature: {first} begins {len(same)} signatures of {store}: ")
    assert all(one in done.stderr for one in same)


def test_a_contig_that_is_stored_as_circular_is_pointed_out(drawn: DrawnTable) -> None:
    (answer,) = ask("chrM:1:G:C", "--store", store_of(drawn), "--fasta", drawn.fasta)
    (result,) = answer["results"]
    assert not result["scores"]
    assert "as a circular contig; see --circular-contigs" in result["note"]


# --- stat and compact


def read_stat(store: Path) -> Any:
    return json.loads(run("store", "stat", "--store", store, "--json").stdout)


def test_compaction_keeps_what_is_found_and_stat_counts_it(tmp_path: Path) -> None:
    rng = random.Random(1)
    genome = draw_genome(rng, {"line": 500, "ring": 300})
    store = tmp_path / "store"
    tables = []
    for number in range(4):
        alleles = draw_alleles(rng, genome, 40)
        drawn = write_drawn_table(
            tmp_path / str(number), genome, alleles, circular=["ring"],
            devices=["A100" if number % 2 else "H100"],
        )  # fmt: skip
        tables.append(drawn)
        list(store_add.add([drawn.path], store))

    def answers() -> list[Mapping[str, Any]]:
        texts = [
            ":".join(map(str, values))
            for drawn in tables
            for values in pd.read_parquet(drawn.path)[["contig", "pos", "ref", "alt"]].to_numpy()
        ]
        return list(store_lookup.lookup(texts, store, fasta=drawn.fasta, circular_contigs=["ring"]))

    before, found = answers(), read_stat(store)
    (one,) = found["signatures"]
    files = [*store.rglob("*.parquet")]
    assert one["files"] == found["files"] == len(files) == 8
    assert one["files_to_merge"] == 8
    assert one["bytes"] == sum(file.stat().st_size for file in files)
    assert one["rows"] == sum(len(pd.read_parquet(file, partitioning=None)) for file in files)
    assert one["devices"] == ["A100", "H100"]
    assert "useful: 8 files can be merged" in run("store", "stat", "--store", store).stdout
    done = run("store", "compact", "--store", store, "--signature", one["signature"][:8])
    assert done.exit_code == 0
    assert ": 8 files with " in done.stdout
    (after,) = read_stat(store)["signatures"]
    assert (after["files"], after["files_to_merge"]) == (2, 0)
    assert after["devices"] == ["A100", "H100"]
    assert "not needed" in run("store", "stat", "--store", store).stdout
    assert answers() == before


def test_the_commands_do_not_import_torch(drawn: DrawnTable) -> None:
    arguments = ["store", "lookup", "chr1:201:A:G", "chr1:202:C:G", *map(str, options_of(drawn))]
    code = (
        "import sys\nfrom evo2_tasks.cli import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=120)
