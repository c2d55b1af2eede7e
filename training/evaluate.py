"""Evaluate a model on labelled mitochondrial variants and compare it with baselines.

    python training/evaluate.py --corpus build/corpus --out training/figures \
        --scores mini-512=results/mitomap/mini-512/scores.parquet \
                 mini-2048=results/mitomap/mini-2048/scores.parquet \
        --model build/evo2-mini/model

``--scores`` names tables of the workflow, one for each window length. Labels, locus class and
MitoTIP come from the VCF that was scored. The model is compared, on the same variants, with

- an interpolated Markov model (training/markov.py) of the same training genomes,
- the rule that a transversion is worse than a transition,
- the rule that a variant in a tRNA is worse than one in the control region; this rule uses no
  sequence,
- MitoTIP, which was made with such labels.

Intervals are 95 % bootstrap intervals; positions are resampled.

With ``--model``, the program also reports bits per base, on the held-out windows of each group and
on the reference. The first base of a window is left out. The values of the model come from its
training.json, or with ``--run-model`` from the model itself. Those of the Markov models are
computed on the same bases.

The program writes ``evaluation.md``, which it also prints, ``evaluation.json`` with the same
values, and two figures, ``roc.svg`` and ``auroc_by_window.svg``. ``--card`` names a page into which
the tables are inserted, between the comments ``evaluation`` and ``end of evaluation``.
"""

import argparse
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pysam
import torch
from matplotlib.figure import Figure
from pydantic import ValidationError
from sklearn.metrics import roc_curve
from transformers.utils import logging

from evo2_tasks import Evo2ForCausalLM
from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.arrays import FloatArray, IntArray, number_groups
from evo2_tasks.evaluation.draws import Resampling
from evo2_tasks.evaluation.estimates import (
    Difference,
    Estimate,
    compare,
    count_coverage,
    estimate,
)
from evo2_tasks.evaluation.metrics import (
    AUROC,
    AVERAGE_PRECISION,
    SPEARMAN,
    Metric,
    sensitivity_at,
)
from evo2_tasks.genome.reference import Reference
from evo2_tasks.io.files import read_json, write_json
from evo2_tasks.table.provenance import read_provenance
from training.markov import MarkovModel, as_bases, train_markov, variant_llr
from training.train import (
    Corpus,
    Recipe,
    Stretch,
    read_corpus,
    read_window,
    validate,
    validation_windows,
)

MARKOV, TRANSVERSION, LOCUS, MITOTIP = "Markov", "transversion", "locus class", "MitoTIP"
STRANDS = {"llr": "both", "llr_fwd": "forward", "llr_rev": "reverse"}
CLASSES = ("tRNA", "coding")  # the locus classes in which there are pathogenic variants
WITHIN = "within classes"
LOCUS_RANKS = {"control_region": 0, "tRNA": 2}  # other classes: 1
TRANSITIONS = {"AG", "GA", "CT", "TC"}
CARD_BEGIN = "<!-- evaluation: written by training/evaluate.py -->"
CARD_END = "<!-- end of evaluation -->"
SENSITIVITY = sensitivity_at(0.95)
BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"

BoolArray = npt.NDArray[np.bool_]
Text = npt.NDArray[np.str_]


@dataclass(frozen=True)
class Variants:
    """The labelled variants of a VCF, one row each."""

    contig: Text
    pos: IntArray  # 1-based
    ref: Text
    alt: Text
    is_pathogenic: BoolArray
    locus: Text
    mitotip: FloatArray  # NaN where there is none

    @property
    def keys(self) -> list[tuple[str, int, str, str]]:
        """The keys by which variants are joined."""
        columns = (self.contig, self.pos, self.ref, self.alt)
        return list(zip(*(column.tolist() for column in columns), strict=True))

    @property
    def groups(self) -> IntArray:
        """The cluster of each variant for the bootstrap: its position, as a number."""
        return number_groups(self.contig, self.pos)


@dataclass(frozen=True)
class ScoreTable:
    """A table of the workflow, with its rows in the order of the variants.

    Attributes:
        name: Name from the command line.
        window_length: In bases.
        scores: Scores by strand, higher = more pathogenic; NaN for a variant without a score.
        status: Why a variant has or lacks a score.
    """

    name: str
    window_length: int
    scores: dict[str, FloatArray]
    status: Text


@dataclass(frozen=True)
class Study:
    """The variants, and all metrics that were computed so far, in their order.

    ``rows`` is ``all``, a locus class, or ``within classes``: pairs within a locus class, pooled.
    """

    variants: Variants
    resampling: Resampling
    estimates: list[dict[str, Any]] = field(default_factory=list)
    differences: list[dict[str, Any]] = field(default_factory=list)

    def estimate(
        self, name: str, scores: FloatArray, *, rows: str = "all", metric: Metric = AUROC
    ) -> Estimate:
        """Compute and keep a metric of a score on some rows."""
        inside, strata = self._select(rows)
        estimated = estimate(
            metric,
            self.variants.is_pathogenic[inside],
            scores[inside],
            groups=self.variants.groups[inside],
            strata=strata,
            resampling=self.resampling,
        )
        self.estimates.append({"score": name, "rows": rows} | asdict(estimated))
        return estimated

    def compare(
        self, names: tuple[str, str], first: FloatArray, second: FloatArray, *, rows: str
    ) -> Difference:
        """Compute and keep the AUROC of the first score minus that of the second on some rows."""
        inside, strata = self._select(rows)
        difference = compare(
            AUROC,
            self.variants.is_pathogenic[inside],
            first[inside],
            second[inside],
            groups=self.variants.groups[inside],
            strata=strata,
            resampling=self.resampling,
        )
        scores = {"first_score": names[0], "second_score": names[1], "rows": rows}
        self.differences.append(scores | asdict(difference))
        return difference

    def find_auroc(self, name: str, rows: str) -> dict[str, Any]:
        """An AUROC that was computed before."""
        key = {"score": name, "rows": rows, "metric": AUROC.name}
        return next(one for one in self.estimates if key.items() <= one.items())

    def _select(self, rows: str) -> tuple[BoolArray, Text | None]:
        """Which rows, and their strata."""
        if rows in CLASSES:
            return self.variants.locus == rows, None
        everything = np.ones(len(self.variants.pos), dtype=bool)
        return everything, self.variants.locus if rows == WITHIN else None


# Reading the inputs.


def read_variants(path: Path) -> Variants:
    """Read the variants that have a label.

    Raises:
        InputError: The file cannot be read, or no variant has a label.
    """
    pysam.set_verbosity(0)  # no message about a missing index
    rows = []
    try:
        with pysam.VariantFile(str(path)) as file:
            for record in file:
                label, locus = record.info.get("LABEL"), record.info.get("LOCUS", "")
                if label in ("pathogenic", "benign"):
                    for alt in record.alts or ():
                        mitotip = record.info.get("MITOTIP", math.nan)
                        key = (record.contig, record.pos, record.ref, alt)
                        rows.append((*key, label == "pathogenic", locus, mitotip))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    if not rows:
        raise InputError(f"{path}: no variant with INFO LABEL pathogenic or benign.")
    return Variants(*(np.array(column) for column in zip(*rows, strict=True)))


def read_score_table(name: str, path: Path, variants: Variants) -> ScoreTable:
    """Read a scores.parquet, and put its rows in the order of the variants.

    Raises:
        InputError: The file is not a table of the workflow, or lacks a variant.
    """
    scoring = read_provenance(path).signature["scoring"]
    table = pq.read_table(path)
    keys = zip(
        *(table.column(key).to_pylist() for key in ("contig", "pos", "ref", "alt")), strict=True
    )
    row_of = {key: row for row, key in enumerate(keys)}
    missing = [key for key in variants.keys if key not in row_of]
    if missing:
        raise InputError(f"{path}: lacks {len(missing)} of the variants, the first {missing[0]}.")
    order = [row_of[key] for key in variants.keys]
    scores = {
        strand: -table.column(column).to_numpy()[order]
        for column, strand in STRANDS.items()
        if table.column(column).null_count < table.num_rows
    }
    if "both" not in scores:
        raise InputError(f"{path}: no row has a score.")
    status = np.array(table.column("status").to_pylist())[order]
    return ScoreTable(name, int(scoring["window_length"]), scores, status)


# The baselines.


def make_baselines(
    variants: Variants, reference: Reference, markov: MarkovModel
) -> dict[str, FloatArray]:
    """The scores that the model is compared with, higher = more pathogenic."""
    changes = np.char.add(variants.ref, variants.alt)
    llr = [
        variant_llr(markov, reference, contig, pos - 1, ref, alt)
        for contig, pos, ref, alt in variants.keys
    ]
    return {
        MARKOV: -np.array(llr),
        TRANSVERSION: (~np.isin(changes, list(TRANSITIONS))).astype(np.float64),
        LOCUS: np.array([LOCUS_RANKS.get(locus, 1) for locus in variants.locus.tolist()], float),
        MITOTIP: np.where(variants.locus == "tRNA", variants.mitotip, np.nan),
    }


def train_on_group(corpus: Corpus, group: str, order: int) -> MarkovModel:
    """A Markov model of the training sequences of a group.

    Raises:
        InputError: There is no such group.
    """
    if group not in corpus.training:
        names = ", ".join(corpus.training)
        raise InputError(f"--markov-group: {group} is not in the corpus, which has {names}.")
    stretches = corpus.training[group]
    return train_markov(
        (np.asarray(corpus.bases[one.start : one.start + one.length]) for one in stretches), order
    )


# The tables.


def table_of_windows(study: Study, tables: Sequence[ScoreTable]) -> list[str]:
    """Metrics on all variants, for each window length and strand."""
    rows = []
    for table in tables:
        for strand, scores in table.scores.items():
            cells = metrics_of_all(study, f"{table.name} {strand}", scores)
            rows.append([f"{table.window_length:,}", strand, *cells])
        if len(table.scores) == len(STRANDS):
            correlation = estimate(
                SPEARMAN,
                table.scores["forward"],
                table.scores["reverse"],
                groups=study.variants.groups,
                resampling=study.resampling,
            )
            study.estimates.append(
                {"score": f"{table.name} forward and reverse", "rows": "all"} | asdict(correlation)
            )
            rows[-len(STRANDS)].append(shown(correlation))
    header = ["window", "strand", "AUROC", "AUPRC", "sensitivity", "Spearman of the strands"]
    return markdown(header, rows)


def table_of_baselines(study: Study, baselines: Mapping[str, FloatArray]) -> list[str]:
    """Metrics of the baselines on all variants."""
    rows = [
        [name, *metrics_of_all(study, name, scores)]
        for name, scores in baselines.items()
        if name != MITOTIP
    ]
    return markdown(["baseline", "AUROC", "AUPRC", "sensitivity"], rows)


def metrics_of_all(study: Study, name: str, scores: FloatArray) -> list[str]:
    """The metrics of a score on all variants, as cells of a table."""
    metrics = (AUROC, AVERAGE_PRECISION, SENSITIVITY)
    return [shown(study.estimate(name, scores, metric=metric)) for metric in metrics]


def table_within_classes(study: Study, scores: Mapping[str, FloatArray]) -> list[str]:
    """AUROC within each locus class, and of all pairs within a class, pooled."""
    rows = [
        [name]
        + [
            shown(study.estimate(name, values, rows=place))
            for place in (*CLASSES, WITHIN)
            if name != MITOTIP or place == "tRNA"
        ]
        for name, values in scores.items()
    ]
    return markdown(["score", *CLASSES, f"{WITHIN}, pooled"], rows)


def table_of_differences(
    study: Study, tables: Sequence[ScoreTable], baselines: Mapping[str, FloatArray]
) -> list[str]:
    """AUROC of each window length minus that of each baseline, on the same variants."""
    # Within a class, all variants have the same class, so it is not a baseline there.
    others = {"all": LOCUS, "tRNA": MITOTIP, "coding": None, WITHIN: None}
    rows = []
    for place, other in others.items():
        for table in tables:
            cells = [place, f"{table.window_length:,}"]
            for name, scores in baselines.items():
                if name in (MARKOV, TRANSVERSION, other):
                    names = (f"{table.name} both", name)
                    difference = study.compare(names, table.scores["both"], scores, rows=place)
                    cells.append(shown(difference, sign="+"))
                else:
                    cells.append("")
            rows.append(cells)
    return markdown(["variants", "window", *(f"minus {name}" for name in baselines)], rows)


def shown(result: Estimate | Difference, sign: str = "") -> str:
    """A value with its interval, or the reason why there is none."""
    if result.value is None:
        return result.reason
    text = f"{result.value:{sign}.3f}"
    if result.low is None or result.high is None:
        return f"{text} ({result.reason})"
    return f"{text} [{result.low:{sign}.3f}, {result.high:{sign}.3f}]"


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table; short rows are filled with empty cells."""
    lines = [header, ["---"] * len(header)]
    lines += [[*row, *[""] * (len(header) - len(row))] for row in rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]


# Bits per base.


def measure_bits(
    folder: Path,
    corpus: Corpus,
    reference: Reference,
    *,
    run_model: bool,
    markov: MarkovModel,
    markov_group: str,
) -> dict[str, dict[str, float]]:
    """Bits per base of each group, for the model and for two Markov models.

    The first Markov model is trained on `markov_group`, the second one on the group itself. The
    second one uses the order with the lowest value on these bases, which is in its favour.

    Raises:
        InputError: The folder's training.json is missing, or has no recipe.
    """
    facts = read_json(folder / "training.json")
    try:
        recipe = Recipe.model_validate(facts.get("recipe"))
    except ValidationError as error:
        raise InputError(f"{folder / 'training.json'}: has no recipe of train.py.") from error
    contig = next(iter(reference.contigs))
    bases = as_bases(reference.fetch(contig, 0, reference.contigs[contig]))
    alone = Corpus(bases, {}, {reference.path.stem: [Stretch(0, len(bases), circular=True)]})

    bits_of_model = facts.get("final_validation", {})
    if run_model or not corpus.validation.keys() <= bits_of_model.keys():
        bits_of_model = run_on_held_out(folder, corpus, recipe)
    bits_of_model |= run_on_held_out(folder, alone, recipe)
    bits = {}
    for held_out in (alone, corpus):
        for group in held_out.validation:
            own = markov
            if group in corpus.training and group != markov_group:
                own = train_on_group(corpus, group, markov.order)
            windows = [
                read_window(held_out.bases, window, recipe.window_length)
                for window in validation_windows(held_out, recipe, limit=None)[group]
            ]
            by_order = {
                order: own.truncate(order).bits_per_base(windows)
                for order in range(own.order, 0, -2)
            }
            best = min(by_order, key=by_order.__getitem__)
            bits[group] = {
                "model": bits_of_model[group],
                "markov": markov.bits_per_base(windows),
                "markov_of_group": by_order[best],
                "order_of_group": best,
            }
    return bits


def run_on_held_out(folder: Path, corpus: Corpus, recipe: Recipe) -> dict[str, float]:
    """Bits per base of the model in a folder, on the windows of train.py."""
    model = Evo2ForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return validate(model, corpus, recipe, limit=None, matmul_dtype="float32")


def table_of_bits(
    bits: Mapping[str, Mapping[str, float]], markov_group: str, order: int
) -> list[str]:
    """Bits per base by group."""
    header = [
        "held out",
        "model",
        f"order-{order} Markov, {markov_group}",
        "Markov of the group itself, its best order",
    ]
    rows = []
    for group, row in bits.items():
        cells = [group, *(f"{row[name]:.4f}" for name in ("model", "markov", "markov_of_group"))]
        rows.append([*cells[:-1], f"{cells[-1]} ({row['order_of_group']})"])
    return markdown(header, rows)


# The figures.


def draw_roc(
    variants: Variants,
    tables: Sequence[ScoreTable],
    baselines: Mapping[str, FloatArray],
    path: Path,
) -> None:
    """ROC curves of all variants."""
    figure, axis = plt.subplots(figsize=(5.2, 4.8), layout="constrained")
    shades = mpl.colormaps["Blues"](np.linspace(0.45, 1, len(tables)))
    lines = [
        (f"{table.window_length:,} bases", table.scores["both"], shade, "-")
        for table, shade in zip(tables, shades, strict=True)
    ]
    lines += [
        (name, baselines[name], colour, style)
        for name, colour, style in (
            (LOCUS, ORANGE, "--"),
            (MARKOV, GREEN, "-."),
            (TRANSVERSION, PURPLE, ":"),
        )
    ]
    for name, scores, colour, style in lines:
        is_scored = ~np.isnan(scores)
        false_rate, true_rate, _ = roc_curve(variants.is_pathogenic[is_scored], scores[is_scored])
        axis.plot(false_rate, true_rate, color=colour, linestyle=style, label=name)
    axis.axline((0, 0), slope=1, color="0.7", linewidth=0.8)
    axis.set(xlabel="1 - specificity", ylabel="sensitivity", aspect="equal")
    axis.legend(frameon=False, loc="lower right")
    save(figure, path)


def draw_auroc_by_window(study: Study, tables: Sequence[ScoreTable], path: Path) -> None:
    """AUROC with its interval against window length, and the baselines on all variants."""
    figure, axis = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    lines = (
        ("all", BLUE, "o", "all variants"),
        ("tRNA", ORANGE, "s", "tRNA"),
        ("coding", GREEN, "^", "coding"),
        (WITHIN, PURPLE, "D", "within locus classes"),
    )
    lengths = np.array([table.window_length for table in tables])
    for number, (rows, colour, marker, label) in enumerate(lines):
        found = [study.find_auroc(f"{table.name} both", rows) for table in tables]
        values = np.array([one["value"] for one in found], dtype=np.float64)
        ends = np.array([[one["low"], one["high"]] for one in found], dtype=np.float64).T
        axis.errorbar(
            lengths * 1.03 ** (number - 1.5),  # side by side
            values,
            yerr=np.abs(ends - values),
            color=colour,
            marker=marker,
            markersize=4,
            capsize=2,
            label=label,
        )
    for name, style in ((LOCUS, "--"), (MARKOV, "-."), (TRANSVERSION, ":")):
        value = study.find_auroc(name, "all")["value"]
        axis.axhline(value, color="0.4", linestyle=style, linewidth=0.9, label=f"{name}, all")
    axis.set_xscale("log")
    axis.set_xticks(lengths, [f"{length:,}" for length in lengths])
    axis.minorticks_off()
    axis.set(xlabel="window length, bases", ylabel="AUROC, 95 % interval")
    axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Write a figure; repeated runs write the same bytes."""
    with mpl.rc_context({"svg.hashsalt": "evo2-tasks"}):
        figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


# The command.


def evaluate(
    study: Study, tables: Sequence[ScoreTable], baselines: Mapping[str, FloatArray]
) -> list[str]:
    """Compute all metrics on the variants, and show them as lines of Markdown."""
    variants, is_pathogenic = study.variants, study.variants.is_pathogenic
    lines = [
        "## All variants",
        "",
        f"{len(is_pathogenic):,} variants, {is_pathogenic.sum():,} of them pathogenic. The "
        f"prevalence, which is the chance level of AUPRC, is {is_pathogenic.mean():.3f}. "
        "Sensitivity is reported at a specificity of 0.95. The "
        f"{100 * study.resampling.confidence:g} % intervals are from "
        f"{study.resampling.num_resamples:,} bootstrap samples of the "
        f"{variants.groups.max() + 1:,} positions.",
        "",
        *table_of_windows(study, tables),
        "",
    ]
    for table in tables:
        coverage = count_coverage(is_pathogenic, table.scores["both"], table.status)
        if coverage.num_unscored:
            reasons = ", ".join(
                f"{name} {num}" for name, num in coverage.unscored_by_status.items()
            )
            lines += [f"{table.name}: {coverage.num_unscored:,} have no score: {reasons}.", ""]
    numbers = ", ".join(
        f"{of_class} {(is_pathogenic & (variants.locus == of_class)).sum():,} and "
        f"{(~is_pathogenic & (variants.locus == of_class)).sum():,}"
        for of_class in CLASSES
    )
    scores = {f"{table.name} both": table.scores["both"] for table in tables}
    return [
        *lines,
        *table_of_baselines(study, baselines),
        "",
        "## AUROC within locus classes",
        "",
        f"Pathogenic and benign variants: {numbers}.",
        "",
        *table_within_classes(study, scores | dict(baselines)),
        "",
        "## Differences in AUROC on the same variants",
        "",
        *table_of_differences(study, tables, baselines),
    ]


def read_named_path(text: str) -> tuple[str, Path]:
    """Parse NAME=FILE of the command line."""
    name, separator, path = text.partition("=")
    if not (name and separator and path):
        raise argparse.ArgumentTypeError(f"expected NAME=FILE, got {text}")
    return name, Path(path)


def read_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Evaluate scores of the demo variants.")
    parser.add_argument(
        "--scores", type=read_named_path, nargs="+", required=True, metavar="NAME=FILE"
    )
    parser.add_argument("--corpus", type=Path, required=True, help="folder that prepare.py wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--variants", type=Path, default=Path("data/mitomap.vcf.gz"))
    parser.add_argument("--reference", type=Path, default=Path("data/rCRS.fa"))
    parser.add_argument("--circular-contigs", nargs="*", default=["MT"], metavar="CONTIG")
    parser.add_argument("--card", type=Path, help="page to insert the tables into")
    parser.add_argument("--model", type=Path, help="folder of the model, for bits per base")
    parser.add_argument(
        "--run-model",
        action="store_true",
        help="compute bits per base; default: from training.json",
    )
    parser.add_argument("--markov-group", default="mito_mammals", metavar="GROUP")
    parser.add_argument("--markov-order", type=int, default=11, metavar="BASES")
    parser.add_argument("--num-resamples", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def run(arguments: argparse.Namespace) -> None:
    """Read, compute, print and write."""
    resampling = Resampling(arguments.num_resamples, arguments.seed)
    variants = read_variants(arguments.variants)
    study = Study(variants, resampling)
    tables = [read_score_table(name, path, variants) for name, path in arguments.scores]
    tables.sort(key=lambda table: table.window_length)
    reference = Reference(arguments.reference, circular_contigs=arguments.circular_contigs)
    corpus = read_corpus(arguments.corpus)
    group, order = arguments.markov_group, arguments.markov_order
    markov = train_on_group(corpus, group, order)
    baselines = make_baselines(variants, reference, markov)

    arguments.out.mkdir(parents=True, exist_ok=True)
    lines = evaluate(study, tables, baselines)
    draw_roc(variants, tables, baselines, arguments.out / "roc.svg")
    draw_auroc_by_window(study, tables, arguments.out / "auroc_by_window.svg")
    written = {
        "resampling": asdict(resampling),
        "markov": {"group": group, "order": order},
        "windows": {table.name: table.window_length for table in tables},
        "estimates": study.estimates,
        "differences": study.differences,
    }
    if arguments.model:
        bits = measure_bits(
            arguments.model,
            corpus,
            reference,
            run_model=arguments.run_model,
            markov=markov,
            markov_group=group,
        )
        lines += ["", "## Bits per base", "", *table_of_bits(bits, group, order)]
        written["bits_per_base"] = bits
    text = "\n".join(lines) + "\n"
    print(text, end="")
    (arguments.out / "evaluation.md").write_text(text, encoding="utf-8")
    if arguments.card:
        page = arguments.card.read_text(encoding="utf-8")
        before, begin, rest = page.partition(CARD_BEGIN)
        _, end, after = rest.partition(CARD_END)
        if not (begin and end):
            raise InputError(f"{arguments.card}: lacks {CARD_BEGIN} or {CARD_END}.")
        # The page has a higher heading above the tables.
        tables_of_page = text.replace("\n## ", "\n### ").replace("## All", "### All", 1)
        arguments.card.write_text(
            f"{before}{begin}\n\n{tables_of_page}\n{end}{after}", encoding="utf-8"
        )
    write_json(arguments.out / "evaluation.json", written)


def main() -> None:
    """Run from the command line."""
    logging.disable_progress_bar()
    arguments = read_arguments()
    try:
        run(arguments)
    except InputError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
