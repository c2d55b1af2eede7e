"""The rooms of the package know only what they are meant to know."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from evo2_tasks.cli import main
from evo2_tasks.config.load import load_config
from evo2_tasks.config.schema import dump_config

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "evo2_tasks"

# Not safetensors, whose part for numpy needs no torch; its other part imports torch.
TORCH = {"accelerate", "huggingface_hub", "tokenizers", "torch", "transformers"}
FRONT = {"click", "snakemake"}  # how the package is called
HEAVY = {"numpy", "pandas", "pyarrow", "pysam", "safetensors", *TORCH}


@dataclass(frozen=True)
class Room:
    """The files of a folder, or a file of the root, and what they may import.

    Attributes:
        files: Names of its files.
        ours: Rooms that its files may import, besides their own.
        never: Other packages that none of its files imports.
        with_torch: Files that may import torch all the same; what imports them does so lazily or
            needs torch itself.
    """

    files: frozenset[str]
    ours: frozenset[str]
    never: frozenset[str]
    with_torch: frozenset[str]


def room(files: str, *ours: str, never: set[str], with_torch: str = "") -> Room:
    return Room(
        frozenset(files.split()), frozenset(ours), frozenset(never), frozenset(with_torch.split())
    )


# From the ground up. Every file of the package is in this table.
ROOMS = {
    "errors": room("errors", never=HEAVY | FRONT),
    "layout": room("layout", never=HEAVY | FRONT),
    "hub": room("hub", "errors", never=HEAVY | FRONT),
    "io": room(
        "allocation bgzip bigwig digests documents files htslib imports interruption lines"
        " private_folders progress streams vcf_text words",
        "errors",
        never=TORCH | FRONT | {"pandas", "pyarrow"},
    ),
    "config": room(
        "calibrations choices embeddings evaluation explain files generation_options"
        " generation_problems generation_rules generations load objects probes resolve schema"
        " sequences sets single text track_embeddings tracks yaml_files",
        "errors",
        "hub",
        "layout",
        never=HEAVY | FRONT,
    ),
    # With torch and transformers and nothing of ours, so that a shared checkpoint can carry it.
    "evo2": room(
        "allocation attention cache checkpoints config documents file_values folders fp8 keywords"
        " layers losses modeling operators placement precision published rotary tokenizer",
        never=FRONT | {"pandas", "pyarrow", "pydantic", "pysam"},
        with_torch="attention cache checkpoints config folders fp8 keywords layers modeling"
        " operators placement precision published rotary tokenizer",
    ),
    "genome": room(
        "alleles assembly bcf bed blocks carried_alleles carried_types carry chromosomes"
        " codon_spans codons columns compounds consequences contigs copies csq explained fasta"
        " fasta_bases foreign_formats formats genes genotypes gff haplotype_edits"
        " haplotype_windows haplotypes hgvs identifiers input_consequences interval_lists"
        " known_assemblies letters orfs prompts protein_changes random_snvs records reference"
        " region_tables regions sample_genomes saturation sequences symbolic table_cells terms"
        " tiles track_regions variant_lists variant_tables variants vcf window_layout"
        " window_pairs windows words",
        "errors",
        "io",
        never=TORCH | FRONT,
    ),
    "scoring": room(
        "branches deltas embeddings finite horizons layer_sums layers likelihood part_sizes passes"
        " profiles readouts reference score sequence_batches sequence_sums sequences"
        " track_values tracks windows",
        "evo2",
        "genome",
        never=FRONT | {"pandas", "pathlib", "pyarrow", "pysam"},
        with_torch="branches finite layer_sums likelihood reference score sequence_batches"
        " sequence_sums tracks",
    ),
    "generation": room(
        "draws functions likelihood records sampling scorers search sequence_scorers settings"
        " states tensor_files",
        "evo2",
        "genome",
        "io",
        "scoring",
        never=FRONT | {"pandas", "pyarrow", "pysam"},
        with_torch="likelihood sampling search states tensor_files",
    ),
    "table": room(
        "annotations audit audit_choice calibrated calibration_schema calibrations carried"
        " combined distinct_pairs documents embeddings generation_documents generation_parts"
        " generation_schema haplotypes hits identities joined merge pairs parquet parts probes"
        " profiles provenance query readout_parts reference_blocks run schema scores segments"
        " sequence_documents sequence_embeddings sequence_rows sequence_schema sequences"
        " shard_readouts shards snvs sorting statements statistics store store_compaction"
        " store_files store_lookup store_models store_rows store_shards store_writer"
        " track_embeddings tracks",
        "errors",
        "genome",
        "io",
        "layout",
        "scoring",
        never=TORCH | FRONT,
    ),
    "exports": room(
        "bedgraph bigwig browsers sites track_bigwigs tsv vcf vcf_header vcf_index vcf_info"
        " vcf_lines",
        "config",
        "errors",
        "genome",
        "io",
        "layout",
        "table",
        never=TORCH | FRONT,
    ),
    "evaluation": room(
        "applied_evidence arrays backgrounds calibrations curves differences drawn_metrics draws"
        " estimates evidence folds labelled_windows labels local_windows measurements metrics"
        " probabilities probe_features probe_files probe_folds probe_models probe_scores"
        " probe_statements probe_words probes results schema scorings selection sequence_free"
        " strata strengths text training_alleles values",
        "errors",
        "genome",
        "io",
        "layout",
        "table",
        never=TORCH | FRONT,
        with_torch="probe_files",  # safetensors alone, which needs no torch
    ),
    "report": room(
        "audits bins blocks calibrated_scores calibration_plots calibration_sections"
        " calibrations changes combination_plots combination_sections combinations comparison"
        " consequence_plots consequences contigs drawings evidence explanations"
        " generation_pages generation_plots generation_summaries haplotype_plots"
        " haplotype_sections haplotypes horizons label_plots label_sections label_tables"
        " metric_words page plots probe_plots probe_sections probes profile_plots profiles rows"
        " run_tables saturation saturation_plots scorings sections style summary tables"
        " track_logos track_pages track_plots track_summaries words",
        "errors",
        "evaluation",
        "genome",
        "io",
        "layout",
        "table",
        never=TORCH | FRONT,
    ),
    "verification": room(
        "comparison device_checks device_embeddings device_fp8 device_report device_times expected"
        " plain_operators",
        "errors",
        "evo2",
        "hub",
        "io",
        "scoring",
        "table",
        never=FRONT,
        with_torch="comparison device_checks device_embeddings device_fp8 device_report"
        " device_times plain_operators",
    ),
    "runtime": room(
        "canaries claims devices drawn_variants explained_alleles generation_jobs genomes inputs"
        " models node_copies processes references score_store scoring_jobs sequence_jobs speed"
        " track_jobs",
        "config",
        "errors",
        "evo2",
        "generation",
        "genome",
        "hub",
        "io",
        "layout",
        "scoring",
        "table",
        "verification",
        never=FRONT,
        with_torch="canaries claims devices explained_alleles generation_jobs models scoring_jobs"
        " sequence_jobs speed track_jobs",
    ),
    "cost": room(
        "embeddings generation layers memory probes rates shapes tokens",
        "config",
        "errors",
        "genome",
        "hub",
        "io",
        "runtime",
        "scoring",
        "table",
        never=TORCH | FRONT,
    ),
    "readout_jobs": room(
        "readout_jobs", "config", "cost", "errors", "layout", "table", never=HEAVY | FRONT
    ),
    "probe_jobs": room("probe_jobs", "config", "cost", "errors", "layout", never=HEAVY | FRONT),
    "jobs": room(
        "jobs",
        "config",
        "cost",
        "errors",
        "hub",
        "io",
        "layout",
        "probe_jobs",
        "readout_jobs",
        "table",
        never=HEAVY | FRONT,
    ),
    "steps": room(
        "annotate apply_probe audit calibrate carry combine draw embed_sequences embed_tracks"
        " evaluate export export_tracks fetch fit_calibration fit_probe generate_sequences"
        " haplotypes identify index lookup merge merge_audit merge_embeddings merge_generation"
        " merge_haplotypes merge_profiles merge_sequence_embeddings merge_sequences"
        " merge_track_embeddings merge_tracks read_prompts report report_generation"
        " report_tracks score score_readouts score_sequence_set score_tracks split"
        " split_sequences tile windows",
        "config",
        "cost",
        "errors",
        "evaluation",
        "evo2",
        "exports",
        "generation",
        "genome",
        "hub",
        "io",
        "layout",
        "report",
        "runtime",
        "scoring",
        "table",
        never=FRONT,
        with_torch="apply_probe fetch fit_probe",
    ),
    "commands": room(
        "aligned_text convert demo doctor explain generate horizon measure plan"
        " plan_generations plan_sequences plan_store plan_tracks query run run_steps"
        " score_sequences score_variants show show_calibrations show_embeddings show_files"
        " show_generations show_haplotypes show_probes show_sequences show_tracks status"
        " status_generations status_sequences store store_add store_lookup store_lookup_text"
        " store_tables store_targets verify workflow_path",
        "config",
        "cost",
        "errors",
        "evaluation",
        "evo2",
        "exports",
        "generation",
        "genome",
        "hub",
        "io",
        "layout",
        "report",
        "runtime",
        "scoring",
        "steps",
        "table",
        "verification",
        never=FRONT,
        with_torch="convert doctor horizon measure verify",
    ),
    "cli": room("cli", "config", "errors", "io", "layout", never=HEAVY | {"snakemake"}),
}


def imports_of(file: Path) -> Iterator[str]:
    """Dotted names that a file imports, those inside functions too."""
    package = ".".join(file.relative_to(ROOT).with_suffix("").parts[:-1])
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1])
            module = f"{base}.{node.module or ''}".strip(".") if node.level else node.module or ""
            yield from (f"{module}.{alias.name}" for alias in node.names)


def files_of(name: str) -> list[Path]:
    file = PACKAGE / f"{name}.py"
    return [file] if file.exists() else sorted((PACKAGE / name).rglob("*.py"))


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_imports_only_what_it_may_know(name: str) -> None:
    for file in files_of(name):
        never = ROOMS[name].never
        if file.stem not in ROOMS[name].with_torch and file.stem != "__init__":
            never |= TORCH
        for imported in imports_of(file):
            top, *rest = imported.split(".")
            where = f"{file.relative_to(ROOT)} imports {imported}"
            assert top not in never, where
            if top == "evo2_tasks":
                assert rest, where
                assert rest[0] in {name, *ROOMS[name].ours}, where


def test_every_file_of_the_package_has_a_rule() -> None:
    for name in ROOMS:
        assert {file.stem for file in files_of(name)} - {"__init__"} == ROOMS[name].files, name
    files = {file.relative_to(PACKAGE).parts[0] for file in PACKAGE.rglob("*.py")}
    assert {file.removesuffix(".py") for file in files} - {"__init__"} == {*ROOMS}


def test_a_room_imports_only_rooms_below_it() -> None:
    names = [*ROOMS]
    for number, (name, one) in enumerate(ROOMS.items()):
        assert one.ours <= {*names[:number]}, name


def test_nothing_in_the_package_knows_snakemake() -> None:
    for file in PACKAGE.rglob("*.py"):
        assert not [name for name in imports_of(file) if name.split(".")[0] == "snakemake"], file


def test_the_workflow_imports_the_config_and_the_jobs_only() -> None:
    for file in [ROOT / "workflow" / "Snakefile", *(ROOT / "workflow").rglob("*.smk")]:
        code = "\n".join(
            line for line in file.read_text().splitlines() if re.match(r"\s*(from|import) ", line)
        )
        for imported in re.findall(
            r"^\s*(?:from|import)\s+(evo2_tasks\S*)(?: import (.*))?", code, re.M
        ):
            module, names = imported
            allowed = {
                "evo2_tasks.config",
                "evo2_tasks.config.load",
                "evo2_tasks.config.objects",
                "evo2_tasks.jobs",
                "evo2_tasks.errors",
            }
            assert module in allowed or (module, names.split()[0]) == ("evo2_tasks", "jobs"), file


def modules_after(code: str) -> set[str]:
    """Top-level names of the modules that a fresh interpreter has after running the code."""
    code += "\nimport sys; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


def run_command(*arguments: str) -> str:
    return (
        "from evo2_tasks.cli import main\n"
        f"try: main({list(arguments)!r})\n"
        "except SystemExit as end: assert not end.code, end.code"
    )


def test_help_needs_no_package_but_click() -> None:
    helps = [["--help"], *([name, "--help"] for name in sorted(main.commands))]
    loaded = modules_after("\n".join(run_command(*words) for words in helps))
    assert not loaded & {*HEAVY, "jinja2", "plotly", "pydantic", "scipy", "sklearn", "yaml"}


def test_a_command_does_not_import_pandas_for_pyarrow() -> None:
    assert "pandas" in modules_after("import pyarrow; pyarrow.array([1])")
    in_command = (
        "import importlib.util, pyarrow\n"
        "from evo2_tasks.io.imports import without_pandas\n"
        "with without_pandas(): pyarrow.array([1]); assert importlib.util.find_spec('pandas')\n"
    )
    assert "pandas" not in modules_after(in_command)
    modules_after(in_command + "import pandas; assert pandas.DataFrame")


def test_a_step_imports_only_what_it_uses(tmp_path: Path) -> None:
    config = load_config(ROOT / "config.yaml", look_for_files=False)
    file = tmp_path / "config.json"
    file.write_text(dump_config(config))
    of_set = ("--config", str(file), "--variant-set", "mitomap")
    loaded = modules_after(run_command("split", *of_set, "--out", str(tmp_path / "shards")))
    assert "pyarrow" in loaded
    assert not loaded & {*TORCH, "pandas", "plotly", "scipy", "sklearn", "yaml"}


def test_metrics_need_no_other_package_until_one_is_used() -> None:
    modules = ("steps.merge", "steps.evaluate", "steps.report", "commands.show")
    loaded = modules_after(f"import {', '.join(f'evo2_tasks.{name}' for name in modules)}")
    assert not loaded & {"scipy", "sklearn"}


def test_importing_the_model_needs_no_package_that_only_image_models_need() -> None:
    # Afterwards, an image model of the same process still gets scipy's function.
    modules_after("""
import sys
import evo2_tasks.evo2
loaded = {name.partition(".")[0] for name in sys.modules}
assert not loaded & {"scipy", "sklearn", "torchvision", "pandas", "matplotlib"}, loaded

from transformers.loss.loss_for_object_detection import linear_sum_assignment as deferred
rows, columns = deferred([[4, 1, 3], [2, 0, 5], [3, 2, 2]])
assert (rows.tolist(), columns.tolist()) == ([0, 1, 2], [1, 0, 2])
from scipy.optimize import linear_sum_assignment
assert deferred is not linear_sum_assignment
""")


def test_importing_the_package_is_light() -> None:
    assert not modules_after("import evo2_tasks") & HEAVY
    assert not modules_after("import evo2_tasks.config, evo2_tasks.jobs") & HEAVY


@pytest.mark.parametrize("name", [name for name in ROOMS if name != "evo2"])
def test_what_needs_no_torch_loads_without_it(name: str) -> None:
    modules = [
        ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for file in files_of(name)
        if file.stem not in {"__init__", *ROOMS[name].with_torch}
    ]
    loaded = modules_after(f"import {', '.join(modules)}")
    assert not loaded & TORCH
    if ROOMS[name].never >= HEAVY:
        assert not loaded & HEAVY
