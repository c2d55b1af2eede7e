"""A config is read as it is meant, or refused in one line that names the key.

Most of the file is a table of wrong configs, each with its line.
"""

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from evo2_tasks.config import resolve, schema
from evo2_tasks.config.evaluation import resolve_report
from evo2_tasks.config.load import load_config
from evo2_tasks.config.resolve import find_checkpoint, resolve_score, resolve_scoring
from evo2_tasks.config.schema import RunConfig, config_schema, dump_config
from evo2_tasks.errors import InputError
from evo2_tasks.evo2.config import FP8_MODES

ROOT = Path(__file__).parents[2]

MINIMAL: dict[str, Any] = {
    "references": {"genome": {"fasta": "genome.fa"}},
    "models": {"tiny": {"checkpoint": "model"}},
    "scorings": {"short": {"model": "tiny", "window_length": 64}},
    "variant_sets": {"calls": {"variants": "a.vcf", "reference": "genome", "scorings": ["short"]}},
}

ON_HUB = "arcinstitute/evo2_7b@bda0089f92582d5baabf0f22d9fc85f3588f6b58"

Edit = Callable[[dict[str, Any]], object]


@pytest.fixture
def minimal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A valid config, in a directory that holds the files it names."""
    monkeypatch.chdir(tmp_path)
    Path("genome.fa").write_text(">c\nACGT\n")
    Path("a.vcf").touch()
    Path("model").mkdir()
    Path("model/config.json").write_text("{}")
    return copy.deepcopy(MINIMAL)


def error_of(data: object) -> str:
    with pytest.raises(InputError) as caught:
        load_config(data)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_defaults_are_those_of_the_documentation(minimal: dict[str, Any]) -> None:
    del minimal["scorings"]["short"]["window_length"]
    config = load_config(minimal)
    scoring = config.scorings["short"]
    assert (scoring.window_length, scoring.window_placement, scoring.strands) == (
        8192,
        "centered",
        "both",
    )
    assert config.models["tiny"].gpus is None
    assert config.models["tiny"].dtype is None
    assert config.shards == 1
    assert config.run.batch_tokens == 65_536
    assert config.output == Path("results")


def test_the_config_of_the_checkout_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    config = load_config(Path("config.yaml"), look_for_files=False)
    assert config.variant_sets["mitomap"].variants == Path("data/mitomap.vcf.gz")


def test_fields_that_evaluation_reads_are_carried(minimal: dict[str, Any]) -> None:
    label = {
        "positive": ["Pathogenic"],
        "negative": ["Benign"],
        "where": {"MC": ["missense_variant"]},
        "min_review_stars": 1,
        "resample_by": "GENE",
    }
    minimal["variant_sets"]["calls"] |= {
        "carry": ["AC", "MC"],
        "labels": {"CLNSIG": label},
        "groups": ["MC", "GENE"],
        "baselines": {"CADD": "high"},
    }
    carried = load_config(minimal).variant_sets["calls"].carried
    assert carried == ("AC", "MC", "CLNSIG", "CLNREVSTAT", "GENE", "CADD")


def test_off_needs_no_quotes(minimal: dict[str, Any]) -> None:
    text = yaml.safe_dump(minimal).replace("checkpoint: model", "checkpoint: model\n    fp8: off")
    assert yaml.safe_load(text)["models"]["tiny"]["fp8"] is False
    config = load_config(yaml.safe_load(text))
    assert config.models["tiny"].fp8 == "off"
    assert load_config(json.loads(dump_config(config))) == config


def test_the_modes_of_fp8_are_those_of_the_model() -> None:
    schema = json.loads(config_schema())["$defs"]["ModelConfig"]["properties"]["fp8"]
    assert tuple(schema["anyOf"][0]["enum"]) == FP8_MODES


def test_a_config_is_frozen(minimal: dict[str, Any]) -> None:
    config = load_config(minimal)
    with pytest.raises(ValueError, match="frozen"):
        config.shards = 3


def test_a_store_has_a_folder_of_its_own(minimal: dict[str, Any]) -> None:
    assert load_config(minimal).run.store is None
    minimal["run"] = {"store": "shared/store"}
    config = load_config(minimal)
    assert (config.run.store, config.run.store_write) == (Path("shared/store"), True)
    for results in ("results", "shared/../results", str(Path("results").absolute())):
        minimal["run"] = {"store": results}
        assert error_of(minimal) == (
            "config: run.store: is the folder of the results (`output`); name another folder"
        )
    minimal["run"] = {"store_write": False}
    assert error_of(minimal) == "config: run.store_write: needs `store`, which `run` does not have"
    minimal["run"] = {"store": "a.vcf"}
    assert error_of(minimal) == (
        "config: run.store: a.vcf is a file, expected a folder; name another folder"
    )
    minimal["models"]["x.identity"] = minimal["models"]["tiny"]
    load_config({**minimal, "run": {}})
    minimal["run"] = {"store": "store"}
    assert error_of(minimal) == (
        "config: models.x.identity: a name that ends in .identity is reserved in the results "
        "folder; choose another name"
    )


def test_dumped_config_reads_back_equal(minimal: dict[str, Any]) -> None:
    minimal["references"]["genome"]["contig_aliases"] = {"1": "chr1 'x' \"y\" ü"}
    config = load_config(minimal)
    text = dump_config(config)
    assert "\n" not in text
    assert load_config(json.loads(text)) == config


def test_standard_input(minimal: dict[str, Any]) -> None:
    code = (
        "import evo2_tasks.config.load as c, pathlib;"
        "print(c.load_config(pathlib.Path('-')).scorings['short'].window_length)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, input=json.dumps(minimal), capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "64\n"


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (
            lambda c: c["scorings"]["short"].update(window_lenght=64),
            "config: scorings.short.window_lenght: unknown key; did you mean window_length?"
            " allowed here: model, window_length, ",
        ),
        (lambda c: c.update(scoring={}), "config: scoring: unknown key; did you mean scorings?"),
        (lambda c: c.update(zzz=1), "config: zzz: unknown key; allowed here: references, "),
        (
            lambda c: c.update(run={"batch_token": 1}),
            "config: run.batch_token: unknown key; did you mean batch_tokens? allowed here: batch",
        ),
        (
            lambda c: c["models"]["tiny"].update(fp8=True),
            "config: models.tiny.fp8: true is not allowed; expected 'off', 'emulate', 'hopper'",
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(filters={"pass": True}),
            "config: variant_sets.calls.filters.pass: unknown key; did you mean pass_only?",
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(columns={"posi": "x"}),
            "config: variant_sets.calls.columns.posi: unknown key; did you mean pos?"
            " allowed here: contig, pos, ref, alt",
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(columns={"pos": 5}),
            "config: variant_sets.calls.columns.pos: expected a text, got 5",
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(columns={"ref": "A2", "alt": "A2"}),
            "config: variant_sets.calls.columns.alt: 'A2' is also the column of ref",
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(columns={"hgvs": "h", "pos": "p"}),
            "config: variant_sets.calls.columns.hgvs: cannot be combined with contig, pos, ref and",
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(columns={"pos": "p"}, saturate=["snv"]),
            "config: variant_sets.calls.columns: cannot be combined with `saturate`",
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(labels={"L": {"positives": ["a"]}}),
            "config: variant_sets.calls.labels.L.positives: unknown key; did you mean positive?",
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(labels={"L": {"positive": ["a"]}}),
            "config: variant_sets.calls.labels.L: expected either `positive` and `negative`, or",
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(
                labels={"L": {"positive": ["a"], "harmful": "low"}}
            ),
            "config: variant_sets.calls.labels.L: expected either `positive` and `negative`, ",
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(
                labels={"L": {"positive": ["a"], "negative": ["b", "a"]}}
            ),
            'config: variant_sets.calls.labels.L: "a" is both positive and negative',
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(groups=["GENE"]),
            "config: variant_sets.calls.groups: needs `labels`",
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(baselines={"CADD": "up"}),
            "config: variant_sets.calls.baselines.CADD: ",
        ),
        (lambda c: c.pop("models"), "config: models: is missing, and there is no default"),
        (
            lambda c: c["variant_sets"]["calls"].pop("variants"),
            "config: variant_sets.calls.variants: is missing, and there is no default; name a file",
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(random_snvs={"number": 5}),
            "config: variant_sets.calls.random_snvs: cannot be combined with `variants`",
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(random_snvs={"number": 0}),
            "config: variant_sets.calls.random_snvs.number: 0 is too small",
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(random_snvs={"number": 5, "seed": -1}),
            "config: variant_sets.calls.random_snvs.seed: -1 is too small",
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(random_snvs={"number": 5, "sed": 1}),
            "config: variant_sets.calls.random_snvs.sed: unknown key; did you mean seed?",
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(
                variants=None, random_snvs={"number": 5, "contigs": ["c"], "regions": "genome.fa"}
            ),
            "config: variant_sets.calls.random_snvs.regions: cannot be combined with `contigs`",
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(
                variants=None, random_snvs={"number": 5, "regions": "none.bed"}
            ),
            "config: variant_sets.calls.random_snvs.regions: none.bed does not exist",
        ),
        (
            lambda c: c["variant_sets"]["calls"].pop("reference"),
            "config: variant_sets.calls.reference: is missing",
        ),
        (lambda c: c.update(shards="2"), 'config: shards: expected a whole number, got "2"'),
        (lambda c: c.update(shards=2.5), "config: shards: expected a whole number, got 2.5"),
        (lambda c: c.update(shards=True), "config: shards: expected a whole number, got true"),
        (
            lambda c: c.update(shards=0),
            "config: shards: 0 is too small; the smallest allowed value is 1",
        ),
        (lambda c: c.update(scorings=None), "config: scorings: expected a mapping of names"),
        (lambda c: c.update(scorings={}), "config: scorings: expected at least one entry"),
        (lambda c: c.update(run=3), "config: run: expected a mapping of keys to values, got 3"),
        (
            lambda c: c["scorings"]["short"].update(prepend_bos="yes"),
            'config: scorings.short.prepend_bos: expected true or false, got "yes"',
        ),
        (
            lambda c: c["scorings"]["short"].update(strands="fwd"),
            "config: scorings.short.strands: \"fwd\" is not allowed; expected 'both', 'forward' or",
        ),
        (
            lambda c: c["scorings"]["short"].update(max_n_share=1.5),
            "config: scorings.short.max_n_share: 1.5 is too large; the largest allowed value is 1",
        ),
        (
            lambda c: c["scorings"]["short"].update(max_n_share=float("nan")),
            "config: scorings.short.max_n_share: expected a number, got NaN",
        ),
        (
            lambda c: c["scorings"]["short"].update(window_length=63),
            "config: scorings.short.window_length: 63 is too small; "
            "the smallest allowed value is 64",
        ),
        (
            lambda c: c["references"]["genome"].update(circular_contigs="MT"),
            'config: references.genome.circular_contigs: expected a list, got "MT"',
        ),
        (
            lambda c: c["references"]["genome"].update(circular_contigs=[1]),
            "config: references.genome.circular_contigs[0]: expected a text, got 1; put it in",
        ),
        (
            lambda c: c["references"]["genome"].update(circular_contigs=["M", "M"]),
            'config: references.genome.circular_contigs: "M" is named twice',
        ),
        (
            lambda c: c["references"]["genome"].update(fasta=7),
            "config: references.genome.fasta: expected a path, got 7",
        ),
        (
            lambda c: c["references"]["genome"].update(fasta=""),
            "config: references.genome.fasta: expected a path, got an empty text",
        ),
        (
            lambda c: c["references"]["genome"].update(fasta="{x}.fa"),
            'config: references.genome.fasta: a path may not contain "{"',
        ),
        (lambda c: c.update(output="a\nb"), 'config: output: a path may not contain "\\n"'),
        (
            lambda c: c["variant_sets"].update({"a/b": c["variant_sets"]["calls"]}),
            'config: variant_sets: the name "a/b" is not allowed; expected letters, digits',
        ),
        (
            lambda c: c["scorings"].update({"..": c["scorings"]["short"]}),
            'config: scorings: the name ".." is not allowed',
        ),
        *(
            (
                lambda c, name=name: c["variant_sets"].update({name: c["variant_sets"]["calls"]}),
                f"config: variant_sets.{name}: this name is reserved in the results folder",
            )
            for name in ("models", "logs", "calibrations", "generations")
        ),
        (
            lambda c: c["scorings"].update({"shards": c["scorings"]["short"]}),
            "config: scorings.shards: this name is reserved in the results folder",
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(scorings=["shrot"]),
            "config: variant_sets.calls.scorings[0]: `scorings` has no 'shrot'; did you mean"
            " short? it has: short",
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(scorings=[]),
            "config: variant_sets.calls.scorings: expected at least one entry, got none",
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(reference="hg38"),
            "config: variant_sets.calls.reference: `references` has no 'hg38'; it has: genome",
        ),
        (
            lambda c: c["scorings"]["short"].update(model="big"),
            "config: scorings.short.model: `models` has no 'big'; it has: tiny",
        ),
        (
            lambda c: c["models"]["tiny"].update(model="evo2_7b", config="model/config.json"),
            "config: models.tiny.config: cannot be combined with `model`; keep one of the two",
        ),
        (
            lambda c: c["models"]["tiny"].update(checkpoint=ON_HUB, model="evo2_7b"),
            "config: models.tiny.model: is not allowed for a model on a hub, whose files state",
        ),
        (
            lambda c: c["models"]["tiny"].update(model="evo2_8b"),
            "config: models.tiny.model: \"evo2_8b\" is not allowed; expected 'evo2_1b_base', ",
        ),
        (
            lambda c: c["models"]["tiny"].update(gpus=-1),
            "config: models.tiny.gpus: -1 is too small; the smallest allowed value is 0",
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(saturate=["snp"]),
            "config: variant_sets.calls.saturate[0]: \"snp\" is not allowed; expected 'snv', 'del",
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(saturate=["snv", "snv"]),
            'config: variant_sets.calls.saturate: "snv" is named twice',
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(saturate=["snv"], regions=["1"]),
            "config: variant_sets.calls.regions: cannot be combined with `saturate`",
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(
                haplotypes={"samples": "all", "by": "codon"}
            ),
            "config: variant_sets.calls.haplotypes.by: `codon` needs a `gff` of the reference "
            "'genome', which has none; name a GFF3 file there",
        ),
        (
            lambda c: (
                c["references"]["genome"].update(gff="genes.gff3"),
                c["variant_sets"]["calls"].update(
                    haplotypes={"samples": "all", "by": "codon", "compound_distance": 2}
                ),
            ),
            "config: variant_sets.calls.haplotypes.compound_distance: cannot be combined with "
            "`by: codon`; remove one of the two keys",
        ),
        (
            lambda c: c["references"]["genome"].update(genetic_codes={"MT": 2}),
            "config: references.genome.genetic_codes: needs `gff`, which the reference does not",
        ),
        (
            lambda c: c["references"]["genome"].update(genetic_codes={"MT": 7}),
            "config: references.genome.genetic_codes.MT: 7 is not a known translation table of "
            "NCBI; expected one of 1, 2, 3, 4, 5, 6, 9, 10,",
        ),
        (
            lambda c: c["references"]["genome"].update(genetic_codes={"MT": 34}),
            "config: references.genome.genetic_codes.MT: 34 is too large; the largest allowed",
        ),
        (
            lambda c: (
                c["references"]["genome"].update(gff="genes.gff3"),
                c["variant_sets"]["calls"].update(consequence_from="CSQ"),
            ),
            "config: variant_sets.calls.consequence_from: cannot be combined with the `gff` of the "
            "reference 'genome'; remove one of the two. If other variant sets need the `gff`, add "
            "a reference with the same `fasta` and without `gff`",
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(consequence_from="CSQ", saturate=["snv"]),
            "config: variant_sets.calls.consequence_from: cannot be combined with `saturate`",
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(consequence_from="vep"),
            "config: variant_sets.calls.consequence_from: \"vep\" is not allowed; expected 'CSQ',",
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(haplotypes={}),
            "config: variant_sets.calls.haplotypes.samples: is missing, and there is no default",
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(haplotypes={"samples": "S1"}),
            "config: variant_sets.calls.haplotypes.samples: expected `all`, or a list of names of "
            'samples, also of a single one, got "S1"',
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(haplotypes={"samples": []}),
            "config: variant_sets.calls.haplotypes.samples: expected at least one entry, got none",
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(haplotypes={"samples": ["S1", "S1"]}),
            'config: variant_sets.calls.haplotypes.samples: "S1" is named twice',
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(
                haplotypes={"samples": "all", "compound_distance": -1}
            ),
            "config: variant_sets.calls.haplotypes.compound_distance: -1 is too small; the "
            "smallest allowed value is 0",
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(haplotypes={"sample": "all"}),
            "config: variant_sets.calls.haplotypes.sample: unknown key; did you mean samples? "
            "allowed here: samples, compound_distance",
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(
                haplotypes={"samples": "all"}, saturate=["snv"]
            ),
            "config: variant_sets.calls.haplotypes: cannot be combined with `saturate`, which "
            "reads a BED: only a VCF or BCF has genotypes; remove one of the two keys",
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(
                haplotypes={"samples": "all"}, columns={"pos": "p"}
            ),
            "config: variant_sets.calls.haplotypes: cannot be combined with `columns`",
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(identifiers=["hgvs"]),
            "config: variant_sets.calls.identifiers[0]: \"hgvs\" is not allowed; expected 'vrs' or",
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(
                consequence_from="CSQ", carry=["AC", "gene"]
            ),
            "config: variant_sets.calls.carry[1]: 'gene' is a column that `annotate` makes; remove",
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(
                identifiers=["vrs"], carry={"vrs_id": "text"}
            ),
            "config: variant_sets.calls.carry.vrs_id: 'vrs_id' is a column that `annotate` makes",
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(
                consequence_from="CSQ",
                labels={"X": {"harmful": "low"}},
                baselines={"gene": "low"},
            ),
            "config: variant_sets.calls.baselines.gene: is a column of text, expected one of num",
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(
                consequence_from="CSQ", labels={"consequence": {"harmful": "low"}}
            ),
            "config: variant_sets.calls.labels.consequence.harmful: needs a column of numbers",
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(exports=["bed"]),
            "config: variant_sets.calls.exports[0]: \"bed\" is not allowed; expected 'vcf', ",
        ),
        (
            lambda c: c["references"]["genome"].update(fasta="none.fa"),
            "config: references.genome.fasta: none.fa does not exist (looked in ",
        ),
        (
            lambda c: c["references"]["genome"].update(assembly_report="report.txt"),
            "config: references.genome.assembly_report: report.txt does not exist",
        ),
        (
            lambda c: c["variant_sets"]["calls"].update(variants="model"),
            "config: variant_sets.calls.variants: model is a folder, expected a file",
        ),
        (
            lambda c: c["models"]["tiny"].update(checkpoint="."),
            "config: models.tiny.checkpoint: the folder . has no config.json",
        ),
        (
            lambda c: c["models"]["tiny"].update(checkpoint="evo2_7b.pt"),
            "config: models.tiny.checkpoint: evo2_7b.pt does not exist",
        ),
        (
            lambda c: c["models"]["tiny"].update(config="7b.yml"),
            "config: models.tiny.config: 7b.yml does not exist",
        ),
        (
            lambda c: c.update(output="x" * 70 + "{"),
            'config: output: a path may not contain "{"',
        ),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_key(
    minimal: dict[str, Any], edit: Edit, expected: str
) -> None:
    edit(minimal)
    assert error_of(minimal).startswith(expected)


def test_further_problems_are_counted(minimal: dict[str, Any]) -> None:
    minimal["shards"] = 0
    minimal["colour"] = "red"
    assert error_of(minimal).startswith("config: colour: unknown key")
    assert error_of(minimal).endswith("(and 1 more error)")
    minimal["size"] = 1
    assert error_of(minimal).endswith("(and 2 more errors)")


@pytest.mark.parametrize("data", [None, {}, [], "text", 3])
def test_what_is_no_mapping_is_refused(data: object) -> None:
    assert "expected a mapping with the keys references, models, scorings" in error_of(data)


def test_a_mapping_that_holds_itself_is_refused(minimal: dict[str, Any]) -> None:
    minimal["run"] = minimal
    assert "not a mapping of keys to values" in error_of(minimal)


def scoring(minimal: dict[str, Any], **settings: object) -> dict[str, Any]:
    minimal["scorings"]["short"] |= settings
    return minimal


@pytest.mark.parametrize(
    "settings",
    [
        {"window_length": 100, "horizon": 50, "max_allele_length": 50},
        {"window_length": 101, "horizon": 50, "max_allele_length": 51},
        {
            "window_placement": "tiled",
            "window_length": 100,
            "window_step": 20,
            "horizon": 40,
            "max_allele_length": 40,
        },
        {"window_placement": "tiled", "window_length": 64, "window_step": 1, "horizon": 31},
    ],
)
def test_the_largest_windows_that_hold_their_allele_are_allowed(
    minimal: dict[str, Any], settings: dict[str, object]
) -> None:
    load_config(scoring(minimal, **settings))


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"window_length": 100, "horizon": 51}, "horizon: 51 is too large"),
        ({"window_length": 101, "horizon": 51}, "horizon: 51 is too large"),
        ({"horizon": 0}, "horizon: 0 is too small"),
        ({"window_length": 100, "max_allele_length": 51}, "max_allele_length: 51 is too large"),
        ({"window_length": 101, "max_allele_length": 52}, "max_allele_length: 52 is too large"),
        ({"window_step": 0}, "window_step: 0 is too small"),
        (
            {"window_placement": "tiled", "window_length": 100, "window_step": 20, "horizon": 41},
            "horizon: 41 is too large; with window_length 100 and window_step 20 at most 40 fits",
        ),
        (
            {
                "window_placement": "tiled",
                "window_length": 100,
                "window_step": 20,
                "max_allele_length": 41,
            },
            "max_allele_length: 41 is too large; with window_length 100 and window_step 20 at most",
        ),
        (
            {"window_placement": "tiled", "window_length": 100, "window_step": 52},
            "max_allele_length: 25 is too large; with window_length 100 and window_step 52 at most",
        ),
    ],
)
def test_a_window_that_could_not_hold_its_allele_is_refused(
    minimal: dict[str, Any], settings: dict[str, object], key: str
) -> None:
    assert error_of(scoring(minimal, **settings)).startswith(f"config: scorings.short.{key}")


def test_settings_of_a_scoring_have_their_defaults_resolved(minimal: dict[str, Any]) -> None:
    assert asdict(resolve_scoring(load_config(minimal).scorings["short"])) == {
        "window_length": 64,
        "window_placement": "centered",
        "window_step": None,
        "strands": "both",
        "horizon": None,
        "max_allele_length": 16,
        "max_n_share": 0.5,
        "min_context": None,
        "prepend_bos": False,
    }
    tiled = load_config(scoring(minimal, window_placement="tiled", window_length=4096))
    assert resolve_scoring(tiled.scorings["short"]).window_step == 1024
    named = load_config(scoring(minimal, window_step=100, min_context=0, max_allele_length=1))
    assert resolve_scoring(named.scorings["short"]).window_step == 100
    assert resolve_scoring(named.scorings["short"]).min_context == 0
    assert resolve_scoring(named.scorings["short"]).max_allele_length == 1
    centered = load_config(scoring(minimal, window_placement="centered"))
    assert resolve_scoring(centered.scorings["short"]).window_step is None


def test_numbers_that_mean_the_same_dump_the_same(minimal: dict[str, Any]) -> None:
    one = asdict(resolve_scoring(load_config(scoring(minimal, max_n_share=1)).scorings["short"]))
    other = asdict(
        resolve_scoring(load_config(scoring(minimal, max_n_share=1.0)).scorings["short"])
    )
    assert json.dumps(one) == json.dumps(other)


def test_files_are_not_looked_for_on_request(minimal: dict[str, Any]) -> None:
    minimal["references"]["genome"]["fasta"] = "later.fa"
    assert load_config(minimal, look_for_files=False).references["genome"].fasta == Path("later.fa")


def test_a_model_on_a_hub_need_not_be_there_yet(minimal: dict[str, Any]) -> None:
    minimal["models"]["tiny"]["checkpoint"] = ON_HUB
    config = load_config(minimal)
    assert load_config(json.loads(dump_config(config))) == config
    assert str(config.models["tiny"].checkpoint) == ON_HUB


@pytest.mark.parametrize("name", ["arcinstitute/evo2_7b", "arcinstitute/evo2_7b@main"])
def test_a_model_on_a_hub_without_its_commit_is_explained(
    minimal: dict[str, Any], name: str
) -> None:
    minimal["models"]["tiny"]["checkpoint"] = name
    message = error_of(minimal)
    assert message.startswith(f"config: models.tiny.checkpoint: {name} does not exist (looked in")
    assert message.endswith(
        f". evo2_7b is published on a hub: write `{ON_HUB}`, which is downloaded before the first "
        "job (or by `evo2-tasks fetch`), or the path of the file that you have downloaded"
    )


def test_a_name_of_the_package_s_own_checkpoints_is_found_there(
    minimal: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundled = tmp_path / "package" / "evo2-small"
    bundled.mkdir(parents=True)
    (bundled / "config.json").write_text("{}")
    monkeypatch.setattr(resolve, "BUNDLED_CHECKPOINTS", tmp_path / "package")
    minimal["models"]["tiny"]["checkpoint"] = "evo2-small"
    assert find_checkpoint(load_config(minimal).models["tiny"].checkpoint) == bundled
    minimal["models"]["tiny"]["checkpoint"] = "model"
    assert find_checkpoint(load_config(minimal).models["tiny"].checkpoint) == Path("model")


# --- reading files


def test_a_file_says_its_name_in_the_error(minimal: dict[str, Any]) -> None:
    Path("my config.yaml").write_text(yaml.safe_dump(minimal | {"shard": 2}))
    with pytest.raises(InputError, match=r"^my config\.yaml: shard: unknown key; did you mean"):
        load_config(Path("my config.yaml"))


def test_dates_and_windows_text_files_are_read(minimal: dict[str, Any]) -> None:
    Path("2020-01-01").touch()
    text = yaml.safe_dump(minimal).replace("a.vcf", "2020-01-01").replace("\n", "\r\n")
    Path("c.yaml").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert load_config(Path("c.yaml")).variant_sets["calls"].variants == Path("2020-01-01")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"shards: 1\nshards: 2\n", "c.yaml: line 2, column 1: not valid YAML: the key 'shards'"),
        (b"a: {b: 1, b: 2}", "c.yaml: line 1, column 11: not valid YAML: the key 'b' occurs twice"),
        (b"a: [1", "c.yaml: line 1, column 6: not valid YAML: expected ',' or ']'"),
        (b"\tx: 1", "c.yaml: line 1, column 1: not valid YAML: found character"),
        (b"a: !!python/object/apply:os.getcwd []", "c.yaml: line 1, column 4: not valid YAML: "),
        (b"a: 2020-13-45", "c.yaml: not valid YAML: month must be in 1..12"),
        (b"a: \x00", "c.yaml: not valid YAML: unacceptable character"),
        (b"a: \xff", "c.yaml: is not UTF-8 text (byte 4)"),
        (b"", "c.yaml: expected a mapping with the keys references"),
        (b"? [a]\n: 1", "c.yaml: line 1, column 3: not valid YAML: found unhashable key"),
    ],
)
def test_a_file_that_is_no_yaml_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_bytes(content)
    assert error_of(Path("c.yaml")).startswith(expected)


def test_a_missing_config_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert error_of(Path("c.yaml")) == "c.yaml: cannot be read: No such file or directory"


def test_a_merge_key_of_yaml_may_be_overruled(minimal: dict[str, Any]) -> None:
    del minimal["scorings"]
    text = "scorings:\n  base: &base {model: tiny, window_length: 64}\n"
    text += "  short: {<<: *base, window_length: 128}\n"
    Path("c.yaml").write_text(yaml.safe_dump(minimal) + text)
    assert load_config(Path("c.yaml")).scorings["short"].window_length == 128


def test_a_key_that_stands_twice_in_a_file_behind_a_mapping_is_refused(
    minimal: dict[str, Any],
) -> None:
    Path("c.yaml").write_text(yaml.safe_dump(minimal) + "shards: 2\nshards: 3\n")
    with pytest.raises(InputError, match=r"^c\.yaml: line \d+, .* the key 'shards' occurs twice"):
        load_config(minimal, files=["c.yaml"])
    Path("c.yaml").write_text(yaml.safe_dump(minimal))
    with pytest.raises(InputError, match=r"^c\.yaml: shards: 0 is too small"):
        load_config(minimal | {"shards": 0}, files=["c.yaml"])


# --- the schema and the cost


def test_the_committed_schema_is_current() -> None:
    committed = (ROOT / "workflow" / "config.schema.json").read_text()
    assert committed == config_schema() + "\n", "run `make fix`"


def test_the_schema_describes_each_key() -> None:
    schema = json.loads(config_schema())
    sections = [schema, *schema["$defs"].values()]
    for section in sections:
        assert section["additionalProperties"] is False
        for key, value in section["properties"].items():
            assert value.get("description"), key


def test_release_names_are_those_of_the_presets() -> None:
    from evo2_tasks.evo2.config import PRESETS  # noqa: PLC0415 - imports torch

    annotation = schema.ModelConfig.model_fields["model"].annotation
    assert set(get_args(get_args(annotation)[0])) == set(PRESETS)


def test_importing_is_light() -> None:
    code = (
        "import sys, evo2_tasks.config, evo2_tasks.jobs;"
        "print([m for m in ('numpy', 'pandas', 'pyarrow', 'pysam', 'torch', 'transformers')"
        " if m in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    "keys",
    [
        {"columns": {"pos": "p"}},
        {"carry": ["ID"]},
        {"labels": {"L": {"harmful": "low"}}},
        {"groups": ["G"]},
        {"baselines": {"B": "low"}},
        {"consequence_from": "CSQ"},
        {"filters": {"pass_only": True}},
        {"regions": ["1"]},
        {"saturate": ["snv"]},
    ],
    ids=lambda keys: next(iter(keys)),
)
def test_what_has_no_meaning_for_random_snvs_is_refused(
    minimal: dict[str, Any], keys: dict[str, Any]
) -> None:
    del minimal["variant_sets"]["calls"]["variants"]
    minimal["variant_sets"]["calls"]["random_snvs"] = {"number": 5}
    assert load_config(minimal).variant_sets["calls"].random_snvs is not None
    minimal["variant_sets"]["calls"] |= keys
    key = next(iter(keys))
    message = rf"^config: variant_sets\.calls\.{key}: cannot be combined with `random_snvs`, which|"
    message += rf"^config: variant_sets\.calls\.{key}: cannot be combined with `random_snvs`, whose"
    with pytest.raises(InputError, match=message):
        load_config(minimal)


def test_a_config_has_one_type() -> None:
    assert isinstance(load_config(MINIMAL, look_for_files=False), RunConfig)


# --- defaults of a checkpoint that comes with the package


@pytest.mark.parametrize(
    ("model", "gpus", "dtype"),
    [
        ({"checkpoint": "evo2-mini"}, 0, "float32"),
        ({"checkpoint": "evo2-mini", "gpus": 1}, 1, "float32"),
        ({"checkpoint": "evo2-mini", "gpus": 1, "dtype": "bfloat16"}, 1, "bfloat16"),
        ({"checkpoint": "folder/evo2-mini"}, 1, "bfloat16"),
        ({"checkpoint": "other.pt"}, 1, "bfloat16"),
        ({"checkpoint": "other.pt", "gpus": 0}, 0, "float32"),
        ({"checkpoint": "other.pt", "gpus": 2, "dtype": "float32"}, 2, "float32"),
    ],
)
def test_gpus_and_dtype_follow_the_checkpoint(
    minimal: dict[str, Any], model: dict[str, Any], gpus: int, dtype: str
) -> None:
    minimal["models"]["tiny"] = model
    config = load_config(minimal, look_for_files=False)
    settings = resolve_score(config, "short").model
    assert (settings.gpus, settings.dtype) == (gpus, dtype)


@pytest.mark.parametrize(
    ("genome", "variants", "source"),
    [
        ({}, {}, ""),
        ({}, {"identifiers": ["spdi"]}, ""),
        ({}, {"consequence_from": "ANN"}, "INFO field ANN of the variants"),
        ({"gff": "genes.gff3"}, {}, "genes.gff3; genetic codes: standard"),
        (
            {"gff": "genes.gff3", "genetic_codes": {"MT": 2, "chrC": 11}},
            {},
            "genes.gff3; genetic codes: MT: 2, chrC: 11",
        ),
    ],
)
def test_the_report_names_the_source_of_the_consequences(
    minimal: dict[str, Any], genome: dict[str, Any], variants: dict[str, Any], source: str
) -> None:
    Path("genes.gff3").touch()
    next(iter(minimal["references"].values())).update(genome)
    minimal["variant_sets"]["calls"].update(variants)
    assert resolve_report(load_config(minimal), "calls").consequences == source
