"""Write the pages and files that are made from the code: run by ``make fix``.

- ``workflow/config.schema.json`` and the tables in ``docs/configuration.md``: from the models of
  `evo2_tasks.config`.
- ``docs/columns.md`` (by ``columns.py``): from the columns of `evo2_tasks.table`.
- ``docs/figures/data_flow.svg`` (by ``figures/data_flow.py``).
- The terms in ``docs/consequences.md``: from `evo2_tasks.genome.terms`.
- ``docs/cli.md`` (by ``commands.py``): from the commands of `evo2_tasks.cli`.
- The table of scorers in ``docs/generation.md``: from the models of `evo2_tasks.config`.
- The tables in ``docs/evaluation.md``: from the columns of `evo2_tasks.evaluation`.
- The tables in ``docs/published-models.md``: from the registry in `evo2_tasks.hub` and the
  arithmetic of `evo2_tasks.cost`.
- ``docs/versions.md`` (by ``versions.py``): from ``pyproject.toml`` and ``constraints.txt``.
"""

import json
from pathlib import Path
from typing import Any

from columns import column_table, columns_page, meaning_table
from commands import commands_page
from figures.data_flow import draw
from versions import versions_page

from evo2_tasks.config.schema import SCORERS, config_schema
from evo2_tasks.cost.memory import device_memory
from evo2_tasks.cost.shapes import RELEASE_SHAPES, ModelShape
from evo2_tasks.evaluation.schema import (
    CURVE_COLUMNS,
    CURVES,
    METRIC_COLUMNS,
    METRICS,
    RATIO_METRIC_COLUMNS,
    SUBSETS,
)
from evo2_tasks.genome.columns import FILTER_NAMES, HGVS_NAMES, KEY_NAMES
from evo2_tasks.genome.terms import BCFTOOLS_TERMS, SEVERITY, SPECIFIC_TERMS
from evo2_tasks.hub import published_releases

ROOT = Path(__file__).parent.parent
SECTIONS = {
    "Top level": None,
    "references": "ReferenceConfig",
    "models": "ModelConfig",
    "scorings": "ScoringConfig",
    "variant_sets": "VariantSetConfig",
    "columns": "ColumnsConfig",
    "random_snvs": "RandomSnvsConfig",
    "haplotypes": "HaplotypesConfig",
    "sequence_sets": "SequenceSetConfig",
    "filters": "FilterConfig",
    "labels": "LabelConfig",
    "track_sets": "TrackSetConfig",
    "generations": "GenerationConfig",
    "prompts": "PromptsConfig",
    "scorers": "ScorerConfig",
    "gc_content": "GcContentConfig",
    "gc_pattern": "GcPatternConfig",
    "motif": "MotifConfig",
    "peaks": "PeaksConfig",
    "orf_length": "OrfLengthConfig",
    "edit_distance": "EditDistanceConfig",
    "repeat_content": "RepeatContentConfig",
    "likelihood": "LikelihoodConfig",
    "probes": "ProbeConfig",
    "calibrations": "CalibrationConfig",
    "combine": "CombinationConfig",
    "run": "RunSettings",
}
Schema = dict[str, Any]
WINDOWS = (8_192, 65_536, 1_048_576)
SEGMENT_LENGTH = 65_536
GPU_GB = (24, 48, 80, 141)  # A10 or 4090; L40S; A100 or H100; H200
GPUS = (1, 2, 4)
USED = 0.8  # of a GPU's memory, as `plan` suggests batches with


def describe_type(schema: Schema) -> str:
    """What a value of a schema may be, in words."""
    match schema:
        case {"anyOf": [one, {"type": "null"}]}:
            return describe_type(one)
        case {"oneOf": forms}:
            return " or ".join(map(describe_type, forms))
        case {"enum": values}:
            return ", ".join(f"`{value}`" for value in values)
        case {"type": "array", "items": {"enum": _} as items}:
            return f"list of {describe_type(items)}"
        case {"type": "array", "items": {"type": "array"}}:
            return "list of pairs of whole numbers"
        case {"type": "array", "items": {"$ref": _}}:
            return "list of sections"
        case {"type": "array", "items": {"type": "number"}}:
            return "list of numbers"
        case {"type": "array"}:
            return "list of text"
        case {"type": "boolean"}:
            return "`true`, `false`"
        case {"const": value}:
            return f"`{value}`"
        case {"type": "integer", "minimum": least, "maximum": most}:
            return f"whole number from {least} to {most}"
        case {"type": "integer", "minimum": least}:
            return f"whole number from {least}"
        case {"type": "number", "minimum": least, "maximum": most}:
            return f"number from {least:g} to {most:g}"
        case {"type": "number", "exclusiveMinimum": least, "maximum": most}:
            return f"number above {least:g}, at most {most:g}"
        case {"type": "number", "exclusiveMinimum": least, "exclusiveMaximum": most}:
            return f"number above {least:g} and below {most:g}"
        case {"type": "number", "minimum": least}:
            return f"number from {least:g}"
        case {"type": "number"}:
            return "number"
        case {"type": "string", "format": "path"}:
            return "path"
        case {"type": "string", "pattern": _}:
            return "name"
        case {"type": "string", "minLength": 1}:
            return "text"
        case {"type": "object", "additionalProperties": {"$ref": _}}:
            return "section for each name"
        case {"type": "object", "additionalProperties": {"type": _} as value}:
            return f"{describe_type(value)} for each name"
        case {"type": "object"} | {"$ref": _}:
            return "section"
    raise ValueError(f"no words for the type {schema}")


def describe_default(key: str, section: Schema) -> str:
    """The default of a key, as it would be written in the file."""
    if key in section.get("required", []):
        return "required"
    default = section["properties"][key]["default"]
    return (
        "" if default in (None, [], {}) or isinstance(default, dict) else f"`{json.dumps(default)}`"
    )


def key_table(section: Schema) -> str:
    """A Markdown table of a section's keys."""
    rows = ["| key | value | default | meaning |", "| --- | --- | --- | --- |"]
    for key, schema in section["properties"].items():
        meaning = " ".join(schema["description"].split())
        cells = [f"`{key}`", describe_type(schema), describe_default(key, section), meaning]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def configuration_page(page: str) -> str:
    """The page with its tables written again."""
    schema = json.loads(config_schema())
    # A key that is a section takes its meaning from the section where the schema has none.
    for properties in (part["properties"] for part in [schema, *schema["$defs"].values()]):
        for value in properties.values():
            if "$ref" in value and "description" not in value:
                value["description"] = schema["$defs"][value["$ref"].split("/")[-1]]["description"]
    parts = []
    for title, name in SECTIONS.items():
        section = schema if name is None else schema["$defs"][name]
        heading = "## Top level" if name is None else f"## `{title}`"
        parts.append(f"{heading}\n\n{section['description']}\n\n{key_table(section)}\n")
    names = KEY_NAMES | {"HGVS": HGVS_NAMES, "filter, for `pass_only`": FILTER_NAMES}
    rows = ["| column | names |", "| --- | --- |"]
    rows += [
        f"| {key} | {', '.join(f'`{name}`' for name in each)} |" for key, each in names.items()
    ]
    page = replace_between(page, "names", "\n".join(rows) + "\n")
    return replace_between(page, "keys", "\n".join(parts))


def evaluation_page(page: str) -> str:
    """The page with the columns of metrics and curves written again."""
    parts = [
        ["### `metrics.parquet`"],
        column_table(METRIC_COLUMNS),
        ["If a calibration of the variant set has labels, two columns follow:"],
        column_table(RATIO_METRIC_COLUMNS),
        meaning_table("metric", METRICS),
        meaning_table("subset", SUBSETS),
        ["### `curves.parquet`"],
        ["Points of curves for plots. Only the curves of `llr` and of `lr` have intervals."],
        column_table(CURVE_COLUMNS),
        meaning_table("curve", CURVES),
    ]
    return replace_between(page, "metrics", "\n\n".join("\n".join(part) for part in parts) + "\n")


def generation_page(page: str) -> str:
    """The page with the table of the scorers written again."""
    definitions = json.loads(config_schema())["$defs"]
    rows = ["| scorer | keys | the number |", "| --- | --- | --- |"]
    for name, scorer in SCORERS.items():
        section = definitions[scorer.__name__]
        keys = [
            f"`{key}`" if key in section.get("required", []) else f"[`{key}`]"
            for key in section["properties"]
        ]
        link = f"[`{name}`](configuration.md#{name})"
        rows.append(f"| {link} | {', '.join(keys)} | {section['description']} |")
    return replace_between(page, "scorers", "\n".join(rows) + "\n")


def consequences_page(page: str) -> str:
    """The page with the terms and their order written again."""
    order = ", ".join(f"`{term}`" for term in SEVERITY)
    page = replace_between(page, "order", f"{order}.\n")
    rows = ["| program | term | becomes |", "| --- | --- | --- |"]
    for program, table in (
        ("bcftools csq", BCFTOOLS_TERMS),
        ("SnpEff, older VEP", SPECIFIC_TERMS),
    ):
        rows += [
            f"| {program} | `{term}` | `{becomes}` |"
            for term, becomes in table.items()
            if term != becomes
        ]
    return replace_between(page, "terms", "\n".join(rows) + "\n")


def published_models_page(page: str) -> str:
    """The page with the tables of files, memory and GPUs written again."""
    page = replace_between(page, "files", file_table() + "\n")
    return replace_between(page, "memory", f"{memory_table()}\n\n{gpu_table()}\n")


def file_table() -> str:
    """The releases: what is known of their files, and their shapes."""
    rows = [
        "| release | parameters | layers (attention) | width | file | GB | name on the hub |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for release in published_releases():
        shape = RELEASE_SHAPES[release.model]
        files = "<br>".join(f"`{file.name}`" for file in release.files)
        gigabytes = sum(file.bytes or 0 for file in release.files) / 1e9
        cells = [
            f"`{release.model}`",
            f"{shape.parameters / 1e9:.2f} billion",
            f"{shape.num_layers} ({shape.num_attention})",
            f"{shape.hidden_size:,}",
            files or f"`{release.model}.pt`",
            f"{gigabytes:.1f}" if files else "not known",
            f"`{release.repository}@{release.revision or '...'}`",
        ]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def distinct_shapes() -> dict[ModelShape, str]:
    """Each shape, with the releases that have it."""
    names: dict[ModelShape, list[str]] = {}
    for name, shape in RELEASE_SHAPES.items():
        names.setdefault(shape, []).append(f"`{name}`")
    return {shape: ", ".join(releases) for shape, releases in names.items()}


def window_memory(shape: ModelShape, dtype: str, window: int, **settings: Any) -> float:
    """GB that one window takes on a device."""
    memory = device_memory(
        shape,
        dtype,
        window_length=window,
        batch_tokens=window,
        segment_length=SEGMENT_LENGTH,
        **settings,
    )
    return memory.total / 1e9


def memory_table() -> str:
    """Memory of one window by release, dtype and length."""
    rows = [
        f"| release | dtype | {' | '.join(f'{window:,}' for window in WINDOWS)} | with `offload` |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for shape, releases in distinct_shapes().items():
        for dtype in ("bfloat16", "float32"):
            cells = [f"{window_memory(shape, dtype, window):.1f}" for window in WINDOWS]
            cells.append(f"{window_memory(shape, dtype, WINDOWS[-1], offload=True):.1f}")
            rows.append(f"| {releases} | {dtype} | {' | '.join(cells)} |")
    return "\n".join(rows)


def gpu_table() -> str:
    """The smallest GPUs whose memory holds one window in bfloat16, by their number."""
    rows = [
        f"| release | {' | '.join(f'{window:,}' for window in WINDOWS)} | with `offload` |",
        "| --- | --- | --- | --- | --- |",
    ]
    for shape, releases in distinct_shapes().items():
        cells = [fitting_gpus(shape, window) for window in WINDOWS]
        cells.append(fitting_gpus(shape, WINDOWS[-1], offload=True))
        rows.append(f"| {releases} | {' | '.join(cells)} |")
    return "\n".join(rows)


def fitting_gpus(shape: ModelShape, window: int, **settings: Any) -> str:
    """For example ``1 x 80, 2 x 48``: more GPUs only where they may be smaller."""
    found: list[str] = []
    least = max(GPU_GB) + 1
    for number in GPUS:
        needed = window_memory(shape, "bfloat16", window, num_devices=number, **settings)
        fitting = [size for size in GPU_GB if needed <= USED * size]
        if fitting and fitting[0] < least:
            least = fitting[0]
            found.append(f"{number} x {least}")
    return ", ".join(found) or f"more than {GPUS[-1]} x {GPU_GB[-1]}"


def replace_between(page: str, name: str, text: str) -> str:
    """Replace the text between the two marks of this name."""
    start = f"<!-- {name}: written by docs/generate.py -->\n"
    end = f"<!-- end of {name} -->"
    before, _, rest = page.partition(start)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"the page has no marks {start.strip()} and {end}")
    return f"{before}{start}\n{text}\n{end}{after}"


def generated_files() -> dict[Path, str]:
    """Each file that is made from the code, as it should be."""
    configuration = ROOT / "docs" / "configuration.md"
    consequences = ROOT / "docs" / "consequences.md"
    evaluation = ROOT / "docs" / "evaluation.md"
    generation = ROOT / "docs" / "generation.md"
    published = ROOT / "docs" / "published-models.md"
    return {
        ROOT / "workflow" / "config.schema.json": config_schema() + "\n",
        ROOT / "docs" / "columns.md": columns_page(),
        ROOT / "docs" / "cli.md": commands_page(),
        ROOT / "docs" / "versions.md": versions_page(),
        ROOT / "docs" / "figures" / "data_flow.svg": draw(),
        configuration: configuration_page(configuration.read_text(encoding="utf-8")),
        consequences: consequences_page(consequences.read_text(encoding="utf-8")),
        generation: generation_page(generation.read_text(encoding="utf-8")),
        evaluation: evaluation_page(evaluation.read_text(encoding="utf-8")),
        published: published_models_page(published.read_text(encoding="utf-8")),
    }


if __name__ == "__main__":
    for file, text in generated_files().items():
        file.write_text(text, encoding="utf-8")
