"""Calibrations and combined tables in a config: what is refused, and what the steps get."""

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from evo2_tasks.config.calibrations import TEXT_COLUMNS
from evo2_tasks.config.evaluation import resolve_evaluate, resolve_report
from evo2_tasks.config.load import load_config
from evo2_tasks.config.resolve import (
    ALLELE_TYPE,
    TRINUCLEOTIDE,
    resolve_calibrate,
    resolve_combine,
    resolve_fit_calibration,
    sets_of_calibration,
)
from evo2_tasks.config.schema import dump_config
from evo2_tasks.errors import InputError
from evo2_tasks.evaluation import strata
from evo2_tasks.jobs import step_inputs
from evo2_tasks.layout import (
    CALIBRATED_COLUMNS,
    CALIBRATION_FILES,
    CONSEQUENCE_COLUMNS,
    CONSEQUENCE_LISTS,
)
from evo2_tasks.table import calibration_schema
from evo2_tasks.table.schema import ANNOTATION_COLUMNS, final_schema

Config = dict[str, Any]

CONFIG: Config = {
    "references": {
        "genome": {"fasta": "genome.fa"},
        "plain": {"fasta": "./genome.fa"},
        "with-genes": {"fasta": "genome.fa", "gff": "genes.gff3"},
        "circle": {"fasta": "genome.fa", "circular_contigs": ["c"]},
        "other": {"fasta": "other.fa"},
    },
    "models": {"tiny": {"checkpoint": "model"}},
    "scorings": {
        "short": {"model": "tiny", "window_length": 64},
        "long": {"model": "tiny", "window_length": 128},
    },
    "variant_sets": {
        "calls": {
            "variants": "a.vcf",
            "reference": "genome",
            "scorings": ["short", "long"],
            "carry": {"SVTYPE": "text", "AF": "number"},
            "calibrations": ["random", "clinvar"],
        },
        "labelled": {
            "variants": "a.vcf",
            "reference": "genome",
            "scorings": ["short", "long"],
            "labels": {
                "CLNSIG": {"positive": ["Pathogenic"], "negative": ["Benign"]},
                "fitness": {"harmful": "low"},
            },
        },
        "background": {
            "random_snvs": {"number": 100},
            "reference": "genome",
            "scorings": ["long", "short"],
        },
    },
    "calibrations": {
        "random": {"background": "background", "by": ["type"]},
        "clinvar": {"background": "background", "set": "labelled", "label": "CLNSIG"},
    },
    "combine": {"windows": {"variant_set": "calls", "scorings": ["short", "long"]}},
}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A valid config, in a directory that holds the files it names."""
    monkeypatch.chdir(tmp_path)
    for name in ("genome.fa", "other.fa"):
        Path(name).write_text(">c\nACGT\n")
    for name in ("a.vcf", "genes.gff3"):
        Path(name).touch()
    Path("model").mkdir()
    Path("model/config.json").write_text("{}")
    return copy.deepcopy(CONFIG)


def error_of(data: object) -> str:
    with pytest.raises(InputError) as caught:
        load_config(data)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_what_the_steps_get(config: Config) -> None:
    loaded = load_config(config)
    assert load_config(json.loads(dump_config(loaded))) == loaded
    random = resolve_fit_calibration(loaded, "random")
    assert (random.background, random.by, random.label) == ("background", ("type",), None)
    assert (random.score, random.harmful, random.reference) == ("llr", "low", None)
    assert not {"prior", "label", "field"} & {*random.triggers()}
    clinvar = resolve_fit_calibration(loaded, "clinvar")
    assert (clinvar.labelled, clinvar.field, clinvar.prior) == ("labelled", "CLNSIG", 0.1)
    assert clinvar.label == loaded.variant_sets["labelled"].labels["CLNSIG"]
    settings = resolve_calibrate(loaded, "calls", "short")
    assert [one.fit for one in settings.calibrations] == [random, clinvar]
    assert settings.find(Path("made")) == {
        name: Path("made", name, "short", "calibration.parquet") for name in ("random", "clinvar")
    }
    combined = resolve_combine(loaded, "windows")
    assert combined.find(Path("results/calls")) == {
        name: Path("results/calls", name, "scores.parquet") for name in ("short", "long")
    }
    report = resolve_report(loaded, "calls")
    assert report.calibrate["short"] == settings
    assert report.combine == (combined,)
    assert resolve_report(loaded, "labelled").calibrate == {}


def test_a_set_may_have_the_name_of_nothing(config: Config) -> None:
    """A calibration without a background has nothing to do with a set of the name ``None``."""
    config["variant_sets"]["None"] = {
        "variants": "a.vcf",
        "reference": "other",
        "scorings": ["long"],
    }
    del config["calibrations"]["clinvar"]["background"]
    config["calibrations"]["random"]["by"] = ["trinucleotide"]
    loaded = load_config(config)
    assert sets_of_calibration(loaded, "clinvar") == ["labelled", "calls"]
    assert sets_of_calibration(loaded, "random") == ["background", "calls"]
    inputs = step_inputs(loaded).calibrations
    assert inputs.background["clinvar"] == {"short": [], "long": []}
    assert inputs.background_file["clinvar"] == {"short": [], "long": []}


def test_a_set_without_calibrations_has_the_settings_that_it_had_before(config: Config) -> None:
    loaded = load_config(config)
    assert {*resolve_evaluate(loaded, "labelled").triggers()} == {"baselines", "groups", "labels"}
    assert resolve_evaluate(loaded, "calls").triggers()["calibrations"] == ("random", "clinvar")


def test_another_prior_or_label_makes_the_calibration_again_and_a_default_does_not(
    config: Config,
) -> None:
    def triggers(**keys: object) -> dict[str, object]:
        changed = copy.deepcopy(config)
        changed["calibrations"]["clinvar"] |= keys
        return resolve_fit_calibration(load_config(changed), "clinvar").triggers()

    before = triggers()
    assert triggers(prior=0.1, score="llr", harmful="low", by=[]) == before
    changes: list[dict[str, object]] = [
        {"prior": 0.0441},
        {"score": "llr_aligned"},
        {"harmful": "high"},
        {"by": ["type"]},
        {"background": "labelled"},
    ]
    for change in changes:
        assert triggers(**change) != before, change
    config["variant_sets"]["labelled"]["labels"]["CLNSIG"]["negative"] = ["Likely_benign"]
    assert triggers() != before


def test_trinucleotides_are_read_from_the_reference_of_a_set_that_the_calibration_is_about(
    config: Config,
) -> None:
    config["calibrations"] = {
        "old": {"background": "old/{scoring}.parquet", "by": ["trinucleotide"]}
    }
    del config["variant_sets"]["calls"]["calibrations"]
    loaded = load_config(config)
    with pytest.raises(InputError, match=r"calibrations\.old: .*trinucleotide, which needs a ref"):
        resolve_fit_calibration(loaded, "old")
    config["variant_sets"]["calls"]["calibrations"] = ["old"]
    loaded = load_config(config, look_for_files=False)
    reference = resolve_fit_calibration(loaded, "old").reference
    assert reference is not None
    assert reference.fasta == Path("genome.fa")


@pytest.mark.parametrize(("name", "is_read"), [("genome", False), ("circle", True)])
def test_labels_on_a_circular_contig_need_its_length(
    config: Config, name: str, is_read: bool
) -> None:
    """Blocks of positions have a gap around each other, also around the origin of a circle."""
    for variant_set in config["variant_sets"].values():
        variant_set["reference"] = name
    loaded = load_config(config, look_for_files=False)
    assert (resolve_fit_calibration(loaded, "clinvar").reference is not None) == is_read
    assert resolve_fit_calibration(loaded, "random").reference is None
    bases = step_inputs(loaded).calibrations.bases
    assert bases == {"clinvar": ["genome.fa"] if is_read else [], "random": []}


def test_a_command_by_hand_names_what_is_not_there(config: Config) -> None:
    loaded = load_config(config)
    with pytest.raises(InputError, match=r"--calibration: .* has no 'rendom'; did you mean random"):
        resolve_fit_calibration(loaded, "rendom")
    with pytest.raises(InputError, match=r"--scoring: .* has no 'shirt'; did you mean short"):
        resolve_fit_calibration(loaded, "random", "shirt")
    assert resolve_fit_calibration(loaded, "random", "short").name == "random"
    with pytest.raises(InputError, match=r"--combination: .* has no 'window'; did you mean wind"):
        resolve_combine(loaded, "window")
    with pytest.raises(InputError, match=r"variant_sets\.labelled: has no `calibrations`"):
        resolve_calibrate(loaded, "labelled", "short")
    config["calibrations"]["random"] = {"file": "old/{scoring}/calibration.parquet"}
    loaded = load_config(config, look_for_files=False)
    with pytest.raises(InputError, match=r"calibrations\.random: is a file of an earlier run"):
        resolve_fit_calibration(loaded, "random")


def at(*path: str, value: object = None, **keys: object) -> Callable[[Config], None]:
    """An edit: other keys of a section, or a value of a key."""

    def edit(config: Config) -> None:
        section = config
        for name in path[:-1]:
            section = section[name]
        section[path[-1]] = section[path[-1]] | keys if value is None else value

    return edit


def one_calibration(**keys: object) -> Callable[[Config], None]:
    """An edit: one calibration with these keys, used by the set ``calls``."""

    def edit(config: Config) -> None:
        config["calibrations"] = {"x": keys}
        config["variant_sets"]["calls"]["calibrations"] = ["x"]

    return edit


def both(*edits: Callable[[Config], None]) -> Callable[[Config], None]:
    def edit(config: Config) -> None:
        for one in edits:
            one(config)

    return edit


def with_scorings(name: str, *scorings: str) -> Callable[[Config], None]:
    return at("variant_sets", name, "scorings", value=[*scorings])


WRONG: dict[str, tuple[Callable[[Config], None], str, str]] = {
    "empty": (one_calibration(), "calibrations.x", "expected `background`, or `set` and `label`"),
    "null": (one_calibration(background=None), "calibrations.x", "expected `background`, or `set`"),
    "settings alone": (one_calibration(prior=0.2), "calibrations.x", "expected `background`"),
    "unknown key": (
        one_calibration(bckground="background"),
        "calibrations.x.bckground",
        "unknown key; did you mean background?",
    ),
    "unknown key of combine": (
        at("combine", "windows", ensemble=["z_mean"]),
        "combine.windows.ensemble",
        "unknown key; did you mean ensembles?",
    ),
    "label without set": (
        one_calibration(label="CLNSIG"),
        "calibrations.x.label",
        "needs `set`, which the calibration does not have",
    ),
    "set without label": (
        one_calibration(background="background", set="labelled"),
        "calibrations.x.set",
        "needs `label`",
    ),
    "prior without labels": (
        one_calibration(background="background", prior=0.2),
        "calibrations.x.prior",
        "needs `set`",
    ),
    "by without background": (
        one_calibration(set="labelled", label="CLNSIG", by=["type"]),
        "calibrations.x.by",
        "needs `background`",
    ),
    "file and background": (
        one_calibration(file="old/{scoring}/calibration.parquet", background="background"),
        "calibrations.x.background",
        "cannot be combined with `file`",
    ),
    "file and harmful": (
        one_calibration(file="old/{scoring}/calibration.parquet", harmful="high"),
        "calibrations.x.harmful",
        "cannot be combined with `file`",
    ),
    "file of another name": (
        one_calibration(file="old/{scoring}/thresholds.parquet"),
        "calibrations.x.file",
        "old/{scoring}/thresholds.parquet is not a path that ends in calibration.parquet",
    ),
    "unknown background": (
        one_calibration(background="bckground"),
        "calibrations.x.background",
        "`variant_sets` has no 'bckground'; did you mean background? it has: calls, labelled, "
        "background. A table of an earlier run is a path that ends in .parquet",
    ),
    "background of another format": (
        one_calibration(background="old/scores.tsv"),
        "calibrations.x.background",
        "a path that ends in .parquet",
    ),
    "unknown mark": (
        one_calibration(background="old/{variant_set}/{scoring}.parquet"),
        "calibrations.x.background",
        'a path may not contain "{", except in {scoring}',
    ),
    "unknown set": (
        one_calibration(set="labeled", label="CLNSIG"),
        "calibrations.x.set",
        "`variant_sets` has no 'labeled'; did you mean labelled?",
    ),
    "unknown label": (
        one_calibration(set="labelled", label="CLNSG"),
        "calibrations.x.label",
        "variant_sets.labelled.labels has no 'CLNSG'; did you mean CLNSIG? it has: CLNSIG, fitness",
    ),
    "set without labels": (
        one_calibration(set="background", label="CLNSIG"),
        "calibrations.x.label",
        "variant_sets.background has no `labels`",
    ),
    "label of numbers": (
        one_calibration(set="labelled", label="fitness"),
        "calibrations.x.label",
        "'fitness' is a label of numbers; expected one with `positive` and `negative`",
    ),
    "prior of 1": (
        one_calibration(set="labelled", label="CLNSIG", prior=1),
        "calibrations.x.prior",
        "1 is too large; the largest allowed value is 0.98",
    ),
    "prior of 0": (
        one_calibration(set="labelled", label="CLNSIG", prior=0),
        "calibrations.x.prior",
        "0 is too small; the smallest allowed value is 1e-06",
    ),
    "by as a text": (
        one_calibration(background="background", by="type"),
        "calibrations.x.by",
        'expected a list, got "type"',
    ),
    "name with a slash": (
        at("calibrations", value={"a/b": {"background": "background"}}),
        "calibrations",
        'the name "a/b" is not allowed',
    ),
    "unknown calibration": (
        at("variant_sets", "calls", calibrations=["clinvar", "rando"]),
        "variant_sets.calls.calibrations[1]",
        "`calibrations` has no 'rando'; did you mean random? it has: random, clinvar",
    ),
    "no calibration at all": (
        at("calibrations", value={}),
        "variant_sets.calls.calibrations[0]",
        "`calibrations` has no 'random'; it has no entries",
    ),
    "twice the same": (
        at("variant_sets", "calls", calibrations=["random", "random"]),
        "variant_sets.calls.calibrations",
        '"random" is named twice',
    ),
    "scoring that the background lacks": (
        with_scorings("background", "short"),
        "variant_sets.calls.calibrations[0]",
        "'random' is made from variant_sets.background, which does not have the scoring 'long'; "
        "add it to variant_sets.background.scorings",
    ),
    "scoring that the labels lack": (
        with_scorings("labelled", "short"),
        "variant_sets.calls.calibrations[1]",
        "'clinvar' is made from variant_sets.labelled, which does not have the scoring 'long'",
    ),
    "other genome": (
        at("variant_sets", "calls", reference="other"),
        "variant_sets.calls.calibrations[0]",
        "variant_sets.calls has the reference 'other', and variant_sets.background has 'genome'; "
        "their scores cannot be compared",
    ),
    "other circles": (
        at("variant_sets", "calls", reference="circle"),
        "variant_sets.calls.calibrations[0]",
        "their scores cannot be compared",
    ),
    "labels of another genome": (
        at("variant_sets", "labelled", reference="other"),
        "calibrations.clinvar.set",
        "variant_sets.labelled has the reference 'other', and variant_sets.background has 'genome'",
    ),
    "unknown stratum": (
        one_calibration(background="background", by=["typ"]),
        "calibrations.x.by[0]",
        "the table of variant_sets.background has no column 'typ'; did you mean type? its columns "
        "of text are: type, trinucleotide, contig, reference_contig, ref, alt. Random SNVs have",
    ),
    "stratum without genes": (
        one_calibration(background="background", by=["type", "consequence"]),
        "calibrations.x.by[1]",
        "has no column 'consequence'; its columns of text are: type, trinucleotide, contig, "
        "reference_contig, ref, alt. 'consequence' needs a `gff` of the reference 'genome'",
    ),
    "stratum that is a list": (
        both(
            one_calibration(background="background", by=["consequences"]),
            at("variant_sets", "background", reference="with-genes"),
        ),
        "calibrations.x.by[0]",
        "has no text in the column 'consequences'; did you mean consequence?",
    ),
    "stratum that only the background has": (
        one_calibration(background="labelled", by=["CLNSIG"]),
        "calibrations.x.by[0]",
        "the table of variant_sets.calls has no column 'CLNSIG'; its columns of text are: type, "
        "trinucleotide, contig, reference_contig, ref, alt, SVTYPE. Others can be named in "
        "variant_sets.calls.carry",
    ),
    "stratum of numbers": (
        one_calibration(background="calls", by=["AF"]),
        "calibrations.x.by[0]",
        "the table of variant_sets.calls has no text in the column 'AF'",
    ),
    "stratum of a label of numbers": (
        one_calibration(background="labelled", by=["fitness"]),
        "calibrations.x.by[0]",
        "the table of variant_sets.labelled has no text in the column 'fitness'",
    ),
    "table of this run as a path": (
        one_calibration(background="results/background/{scoring}/scores.parquet"),
        "calibrations.x.background",
        "results/background/{scoring}/scores.parquet is a table of this run; write: background",
    ),
    "calibration of this run as a file": (
        at(
            "calibrations",
            copy={"file": "results/calibrations/random/{scoring}/calibration.parquet"},
        ),
        "calibrations.copy.file",
        "is made by this run; name the calibration 'random' in the variant set instead",
    ),
    "one table for two scorings": (
        one_calibration(background="old/short/scores.parquet"),
        "calibrations.x.background",
        "old/short/scores.parquet is one file, but variant_sets.calls has 2 scorings; write "
        "{scoring} where the path has the name of the scoring",
    ),
    "one calibration for two scorings": (
        one_calibration(file="old/calibration.parquet"),
        "calibrations.x.file",
        "old/calibration.parquet is one file, but variant_sets.calls has 2 scorings",
    ),
    "carried quantile": (
        both(
            at("variant_sets", "calls", calibrations=["random"], carry=["SVTYPE", "phred"]),
        ),
        "variant_sets.calls.carry[1]",
        "'phred' is a column that `calibrate` makes; remove it from `carry`",
    ),
    "carried quantile of several calibrations": (
        at("variant_sets", "calls", carry={"random.quantile": "text"}),
        "variant_sets.calls.carry.random.quantile",
        "'random.quantile' is a column that `calibrate` makes",
    ),
    "label with the name of a calibrated column": (
        both(
            at("variant_sets", "labelled", calibrations=["clinvar"]),
            at("variant_sets", "labelled", "labels", evidence={"harmful": "high"}),
        ),
        "variant_sets.labelled.labels.evidence",
        "'evidence' is also a column that `calibrate` makes",
    ),
    "carried column of a combined table": (
        at("variant_sets", "calls", carry=["long.llr"]),
        "variant_sets.calls.carry[0]",
        "'long.llr' is a column that `combine` makes",
    ),
    "carried ensemble": (
        both(
            at("combine", "windows", ensembles=["rank_mean"]),
            at("variant_sets", "calls", carry=["rank_mean"]),
        ),
        "variant_sets.calls.carry[0]",
        "'rank_mean' is a column that `combine` makes",
    ),
    "one scoring": (
        at("combine", "windows", scorings=["short"]),
        "combine.windows.scorings",
        "expected at least 2 entries, got 1",
    ),
    "one scoring twice": (
        at("combine", "windows", scorings=["short", "short"]),
        "combine.windows.scorings",
        '"short" is named twice',
    ),
    "unknown scoring": (
        at("combine", "windows", scorings=["short", "lnog"]),
        "combine.windows.scorings[1]",
        "`scorings` has no 'lnog'; did you mean long?",
    ),
    "scoring of another set": (
        both(
            at("variant_sets", "calls", calibrations=[]),
            with_scorings("calls", "short"),
        ),
        "combine.windows.scorings[1]",
        "variant_sets.calls does not have the scoring 'long'; add it to "
        "variant_sets.calls.scorings",
    ),
    "unknown set of a combination": (
        at("combine", "windows", variant_set="cals"),
        "combine.windows.variant_set",
        "`variant_sets` has no 'cals'; did you mean calls?",
    ),
    "no set": (
        at("combine", value={"windows": {"scorings": ["short", "long"]}}),
        "combine.windows.variant_set",
        "is missing, and there is no default",
    ),
    "unknown ensemble": (
        at("combine", "windows", ensembles=["mean"]),
        "combine.windows.ensembles[0]",
        "\"mean\" is not allowed; expected 'rank_mean' or 'z_mean'",
    ),
    "reserved scoring": (
        at("scorings", combined={"model": "tiny"}),
        "scorings.combined",
        "this name is reserved in the results folder",
    ),
    "reserved set": (
        at("variant_sets", calibrations=CONFIG["variant_sets"]["background"]),
        "variant_sets.calibrations",
        "this name is reserved in the results folder",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_line_that_names_the_key(config: Config, case: str) -> None:
    edit, key, what = WRONG[case]
    edit(config)
    message = error_of(config)
    assert message.startswith(f"config: {key}: "), message
    assert what in message


def test_two_names_of_one_genome_can_be_compared(config: Config) -> None:
    """A set whose file brings its own genes has a reference without ``gff`` under another name."""
    config["variant_sets"]["calls"]["reference"] = "plain"
    config["variant_sets"]["background"]["reference"] = "with-genes"
    load_config(config)


def test_strata_of_genes_need_them_in_both_sets(config: Config) -> None:
    one_calibration(background="background", by=["consequence", "gene"])(config)
    config["variant_sets"]["background"]["reference"] = "with-genes"
    assert "the table of variant_sets.calls has no column 'consequence'" in error_of(config)
    config["variant_sets"]["calls"]["reference"] = "with-genes"
    load_config(config)


def test_a_set_may_be_compared_with_itself(config: Config) -> None:
    one_calibration(background="calls", set="labelled", label="CLNSIG", by=["SVTYPE"])(config)
    load_config(config)


# --- files of earlier runs


def test_a_background_of_an_earlier_run_has_a_table_for_each_scoring(config: Config) -> None:
    one_calibration(background="old/{scoring}/scores.parquet", by=["SVTYPE"])(config)
    Path("old/short").mkdir(parents=True)
    Path("old/short/scores.parquet").touch()
    message = error_of(config)
    assert message.startswith(
        "config: calibrations.x.background: old/long/scores.parquet does not exist (looked in "
    )
    assert "more error" not in message
    load_config(config, look_for_files=False)
    Path("old/long").mkdir()
    Path("old/long/scores.parquet").touch()
    load_config(config)


def test_a_calibration_of_an_earlier_run_is_a_folder_with_all_its_files(config: Config) -> None:
    one_calibration(file="old/calibration.parquet")(config)
    config["variant_sets"]["calls"]["scorings"] = ["short"]
    del config["combine"]
    Path("old").mkdir()
    assert "calibrations.x.file: old/calibration.parquet does not exist" in error_of(config)
    Path("old/calibration.parquet").touch()
    message = error_of(config)
    assert re.search(r"old/background\.parquet does not exist .*copy all of them", message)
    assert "(and 2 more errors)" in message
    for name in CALIBRATION_FILES:
        Path("old", name).touch()
    settings = resolve_calibrate(load_config(config), "calls", "short")
    assert settings.find(Path("made")) == {"x": Path("old/calibration.parquet")}
    assert settings.calibrations[0].fit is None


def test_a_file_that_no_set_uses_is_not_looked_for(config: Config) -> None:
    config["calibrations"]["later"] = {"file": "later/calibration.parquet"}
    load_config(config)


# --- the names that the config knows without loading the tables


def test_the_names_of_columns_are_those_of_the_tables() -> None:
    keys = ["record", "allele"]
    names = [column.name for column in calibration_schema.CALIBRATED_COLUMNS]
    assert names == [*keys, *CALIBRATED_COLUMNS]
    schema = final_schema()
    for name in TEXT_COLUMNS:
        assert schema.field(name).type in (pa.string(), pa.dictionary(pa.int32(), pa.string()))
    assert (ALLELE_TYPE, TRINUCLEOTIDE) == (strata.TYPE, strata.TRINUCLEOTIDE)
    lists = [one.name for one in ANNOTATION_COLUMNS if pa.types.is_list(one.type)]
    assert lists == [*CONSEQUENCE_LISTS]
    assert {*CONSEQUENCE_LISTS} <= {*CONSEQUENCE_COLUMNS}
