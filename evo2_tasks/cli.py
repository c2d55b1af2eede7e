"""The command ``evo2-tasks``: one subcommand for each step, thin over :mod:`evo2_tasks.tasks`."""

import json
import logging
import sys
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any, get_args

import click

from evo2_tasks.commands import plan as plan_command
from evo2_tasks.commands import status as status_command
from evo2_tasks.commands.show import show_table
from evo2_tasks.config.load import load_config
from evo2_tasks.config.schema import Fp8Mode, ModelConfig, Release, RunConfig
from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.schema import figures_schema
from evo2_tasks.evaluation.text import describe_figures
from evo2_tasks.exports.tsv import format_header, format_rows
from evo2_tasks.io.interruption import EXIT_INTERRUPTED, Interrupted, raise_on_sigterm
from evo2_tasks.layout import EXPORTS, METRICS, SPLIT, export_file
from evo2_tasks.steps import export as export_step
from evo2_tasks.steps import merge as merge_step
from evo2_tasks.steps import split as split_step
from evo2_tasks.steps import windows as windows_step
from evo2_tasks.table.parquet import open_table, read_rows
from evo2_tasks.table.query import find_rows

EXIT_BAD_INPUT = 2
# The extra of the package that brings what a command may miss.
EXTRAS = {
    "torch": "torch",
    "transformers": "torch",
    "safetensors": "torch",
    "huggingface_hub": "torch",
    "sklearn": "evaluation",
    "scipy": "evaluation",
    "plotly": "evaluation",
    "jinja2": "evaluation",
    "markupsafe": "evaluation",
}

PATH = click.Path(path_type=Path)

logger = logging.getLogger("evo2_tasks")


class CommandLine(click.Group):
    """A group of commands that tells a user's mistake in one line."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; exit with 2 for what the user got wrong."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            logger.error("%s", " ".join(str(error).split()))
            ctx.exit(EXIT_BAD_INPUT)
        except (Interrupted, KeyboardInterrupt):
            logger.error("interrupted; run it again to go on from what is finished")
            ctx.exit(EXIT_INTERRUPTED)
        except ModuleNotFoundError as error:
            module = (error.name or "").partition(".")[0]
            if module not in EXTRAS:
                raise
            logger.error(
                "%s: needs %s; install the package with its extra: pip install '.[%s]'",
                ctx.invoked_subcommand,
                module,
                EXTRAS[module],
            )
            ctx.exit(EXIT_BAD_INPUT)
        except BrokenPipeError:  # the reader of our output, `head` say, has seen enough
            sys.stderr.close()
            ctx.exit(0)


def read_config(_ctx: click.Context, _param: click.Parameter, value: Path) -> RunConfig:
    """Read and check the config that ``--config`` names; ``-`` is standard input.

    A step needs some of the files that the config names, not all, and says which it misses.
    """
    return load_config(value, look_for_files=False)


def add_log_file(_ctx: click.Context, _param: click.Parameter, value: Path | None) -> None:
    """Write the log to the file that ``--log`` names, beside the terminal, after what it holds.

    An earlier try of the same job has said there why it ended.
    """
    if value is None:
        return
    try:
        value.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(value, encoding="utf-8")
    except OSError as error:
        raise InputError(f"--log: {value} cannot be written: {error.strerror}.") from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)


log_option = click.option(
    "--log",
    type=PATH,
    expose_value=False,
    is_eager=True,
    callback=add_log_file,
    help="Write the log to this file too.",
)


def step(function: Callable[..., None]) -> Callable[..., None]:
    """Give a step of the workflow its options ``--config`` and ``--log``."""
    function = click.option(
        "--config",
        type=PATH,
        required=True,
        callback=read_config,
        metavar="FILE",
        help="The run's config; - reads it from standard input.",
    )(function)
    return log_option(function)


@click.group(cls=CommandLine, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="evo2-tasks")
def main() -> None:
    """Variant effect scores from the DNA language model Evo 2.

    The steps of the workflow are split, windows, score and merge; each can be run by hand on what
    the one before it wrote.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    raise_on_sigterm()


@main.command()
@click.option(
    "--config",
    type=PATH,
    default=Path("config.yaml"),
    show_default=True,
    callback=read_config,
    metavar="FILE",
    help="The run's config; - reads it from standard input.",
)
@click.option("--rates", type=PATH, help="Rates that calibrate measured; else published ones.")
@click.option("--device", help="Words of the name of the device to reckon with, A100 say.")
@click.option("--device-memory", type=float, help="Its memory, GB, to suggest batch_tokens for.")
@click.option("--price", type=float, help="Price of an hour of one device.")
@click.option(
    "--job-hours", type=float, default=2.0, show_default=True, help="Wanted length of a job."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plan(
    config: RunConfig,
    rates: Path | None,
    device: str | None,
    device_memory: float | None,
    price: float | None,
    job_hours: float,
    as_json: bool,
) -> None:
    """Reckon what a run will take: alleles, windows, tokens, memory, time, price."""
    bills = plan_command.plan(
        config,
        rates_file=rates,
        device=device,
        device_memory_gb=device_memory,
        price=price,
        job_hours=job_hours,
    )
    if as_json:
        click.echo(json.dumps({"plan": bills}, indent=2))
    else:
        for line in plan_command.describe_bills(bills):
            click.echo(line)


@main.command()
@step
@click.option("--variant-set", required=True, help="Name of the variant set in the config.")
@click.option("--variants", type=PATH, help="Read these variants instead; - is standard input.")
@click.option("--out", type=PATH, required=True, help=f"Folder for the shards and {SPLIT}.")
def split(config: RunConfig, variant_set: str, variants: Path | None, out: Path) -> None:
    """Read the variants, one row per allele, and cut them into shards."""
    split_step.split(config, variant_set=variant_set, variants=variants, out=out)


@main.command()
@step
@click.option("--variant-set", required=True, help="Name of the variant set in the config.")
@click.option("--scoring", required=True, help="Name of the scoring in the config.")
@click.option("--shard", type=PATH, required=True, help="A shard that split wrote.")
@click.option("--split", "split_file", type=PATH, required=True, help=f"The {SPLIT}.")
@click.option("--out", type=PATH, required=True, help="The alleles with their windows.")
@click.option("--segments", "segments_file", type=PATH, required=True, help="The bases they need.")
def windows(
    config: RunConfig,
    variant_set: str,
    scoring: str,
    shard: Path,
    split_file: Path,
    out: Path,
    segments_file: Path,
) -> None:
    """Give each allele its window and its status, and collect the reference bases."""
    windows_step.windows(
        config,
        variant_set=variant_set,
        scoring=scoring,
        shard=shard,
        split_file=split_file,
        out=out,
        segments_file=segments_file,
    )


@main.command()
@step
@click.option("--scoring", required=True, help="Name of the scoring in the config.")
@click.option("--windows", "windows_file", type=PATH, required=True, help="What windows wrote.")
@click.option("--segments", "segments_file", type=PATH, required=True, help="Its reference bases.")
@click.option("--out", type=PATH, required=True, help="The scores of the shard.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads of the model.")
def score(
    config: RunConfig,
    scoring: str,
    windows_file: Path,
    segments_file: Path,
    out: Path,
    threads: int | None,
) -> None:
    """Run the model on each allele's reference and alternate windows."""
    # Only this step needs torch, which takes seconds to import.
    from evo2_tasks.steps import score as score_module  # noqa: PLC0415

    score_module.score(
        config,
        scoring=scoring,
        windows_file=windows_file,
        segments_file=segments_file,
        out=out,
        threads=threads,
    )


@main.command()
@step
@click.option("--variant-set", required=True, help="Name of the variant set in the config.")
@click.option("--scoring", required=True, help="Name of the scoring in the config.")
@click.option("--split", "split_file", type=PATH, required=True, help=f"The {SPLIT}.")
@click.option("--windows", "windows_folder", type=PATH, required=True, help="Folder of windows.")
@click.option("--scores", "scores_folder", type=PATH, required=True, help="Folder of scores.")
@click.option("--out", type=PATH, required=True, help="The table.")
@click.option("--run-json", type=PATH, required=True, help="What was run, where and how long.")
def merge(
    config: RunConfig,
    variant_set: str,
    scoring: str,
    split_file: Path,
    windows_folder: Path,
    scores_folder: Path,
    out: Path,
    run_json: Path,
) -> None:
    """Combine the scores of all shards into one table, a row for each input allele."""
    merge_step.merge(
        config,
        variant_set=variant_set,
        scoring=scoring,
        split_file=split_file,
        windows_folder=windows_folder,
        scores_folder=scores_folder,
        out=out,
        run_json=run_json,
    )


@main.command()
@click.argument("table", type=PATH)
@click.option("--to", type=click.Choice([*EXPORTS]), required=True, help="Format to write.")
@click.option("--variants", type=PATH, help="For vcf: the file that was scored, if it has moved.")
@click.option("--out", type=PATH, help="File to write; beside the table if not given.")
@log_option
def export(table: Path, to: str, variants: Path | None, out: Path | None) -> None:
    """Write a table as VCF (the scored file with INFO fields added), as TSV or as bedGraph.

    The bedGraph has the mean llr of the SNVs of each position.
    """
    export_step.export(table, to=to, variants=variants, out=out or export_file(table, to))


@main.command()
@click.argument("table", type=PATH)
def show(table: Path) -> None:
    """Print what a table is: provenance, rows by status and flag, first rows, figures."""
    columns = figures_schema().names
    with open_table(table) as file:
        is_figures = file.schema_arrow.names == columns
    figures = table if is_figures else table.with_name(METRICS)
    if not is_figures:
        for line in show_table(table):
            click.echo(line)
    if figures.exists():
        click.echo("\nhow well the scores separate the labels, with intervals of 95 %")
        rows = [row for batch in read_rows(figures, columns) for row in batch.to_pylist()]
        for line in describe_figures(rows):
            click.echo(f"  {line}")


@main.command()
@step
@click.option("--variant-set", required=True, help="Name of the variant set in the config.")
@click.option("--table", type=PATH, required=True, help="The table that merge wrote.")
@click.option("--out", type=PATH, required=True, help="The figures.")
@click.option("--curves", "curves_file", type=PATH, required=True, help="Points of curves.")
def evaluate(
    config: RunConfig, variant_set: str, table: Path, out: Path, curves_file: Path
) -> None:
    """Measure how well the scores separate the labels of the variants."""
    # Only this step needs scikit-learn and scipy, which take a second to import.
    from evo2_tasks.steps import evaluate as evaluation_task  # noqa: PLC0415

    evaluation_task.evaluate(
        config, variant_set=variant_set, table=table, out=out, curves_file=curves_file
    )


@main.command()
@step
@click.option("--variant-set", required=True, help="Name of the variant set in the config.")
@click.option("--results", type=PATH, required=True, help="Folder of the variant set's results.")
@click.option("--out", type=PATH, required=True, help="The HTML page.")
def report(config: RunConfig, variant_set: str, results: Path, out: Path) -> None:
    """Write a page about a variant set: what was run, what came out, what it is worth."""
    # Only this step needs plotly and jinja2, and the libraries of evaluate.
    from evo2_tasks.steps import report as report_task  # noqa: PLC0415

    report_task.report(config, variant_set=variant_set, results=results, out=out)


@main.command()
@click.argument("results", type=PATH, default=Path("results"))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(results: Path, as_json: bool) -> None:
    """Print how far a run has come: shards, alleles, rate, time left, failed jobs."""
    statuses = status_command.read_status(results)
    if as_json:
        click.echo(json.dumps({"status": [one.as_json() for one in statuses]}, indent=2))
    else:
        for line in status_command.describe_status(statuses):
            click.echo(line)


@main.command()
@click.argument("table", type=PATH)
@click.argument("region")
def query(table: Path, region: str) -> None:
    """Print the rows of a region, as tab-separated text.

    REGION is 1-based with both ends included, for example chr17:43,044,295-43,045,000.
    """
    found = find_rows(table, region)
    first = next(found, None)
    with open_table(table) as file:
        click.echo(format_header(file.schema_arrow))
    for rows in chain([] if first is None else [first], found):
        for line in format_rows(rows):
            click.echo(line)


@main.command()
@step
@click.option("--scoring", required=True, help="Name of the scoring in the config.")
@click.option("--out", type=PATH, required=True, help="Table of rates; what it has is kept.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads of the model.")
@click.option("--seconds", type=float, default=20.0, show_default=True, help="Time to measure.")
def calibrate(
    config: RunConfig, scoring: str, out: Path, threads: int | None, seconds: float
) -> None:
    """Measure how fast this device runs a scoring's model, for plan --rates."""
    # The model needs torch, which takes seconds to import.
    from evo2_tasks.commands import measure as calibrate_module  # noqa: PLC0415

    calibrate_module.calibrate(config, scoring=scoring, out=out, threads=threads, seconds=seconds)


def model_options(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command on one checkpoint the options that a model has in a config."""
    options = [
        click.argument("checkpoint", type=PATH),
        click.option("--model", type=click.Choice(get_args(Release)), help="Release that it is."),
        click.option("--config", type=PATH, help="Published .yml description of one that is none."),
        click.option("--dtype", type=click.Choice(["bfloat16", "float32"]), help="Of its weights."),
        click.option(
            "--fp8", type=click.Choice(get_args(Fp8Mode)), help="How projections are computed."
        ),
        click.option("--allow-without-fp8", is_flag=True, help="Take off where FP8 is needed."),
        click.option("--gpus", type=click.IntRange(min=0), default=1, help="0 for the CPU."),
        click.option("--threads", type=click.IntRange(min=1), help="CPU threads of the model."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


@main.command()
@model_options
@click.option("--expected", type=PATH, help="Figures to compare with in place of published ones.")
@click.option("--write-expected", "out", type=PATH, help="Write this model's figures instead.")
@click.option("--short", is_flag=True, help="Only what takes seconds; no checksums of files.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(
    expected: Path | None,
    out: Path | None,
    short: bool,
    as_json: bool,
    threads: int | None,
    **model: Any,
) -> None:
    """Is this checkpoint, on this device and in this precision, the model that it should be?

    Exits with 0 if its figures are within one of two bands, and with 2 if they are not or if there
    are none to compare with.
    """
    # Only the model needs torch, which takes seconds to import.
    from evo2_tasks.commands import verify as verify_task  # noqa: PLC0415

    settings = ModelConfig(**model)
    if out is not None:
        if expected is not None:
            raise InputError("verify: give --expected or --write-expected, not both.")
        verify_task.write_expected(settings, out=out, short=short, threads=threads)
        return
    found = verify_task.verify(settings, expected_file=expected, short=short, threads=threads)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        for line in verify_task.describe_verification(found):
            click.echo(line)
    verify_task.require_verified(found)


@main.command()
@model_options
@click.option("--out", type=PATH, required=True, help="JSON file to write.")
@click.option("--quick", is_flag=True, help="Short windows, and no slow way of FP8: for a CPU.")
def doctor(out: Path, quick: bool, threads: int | None, **model: Any) -> None:
    """Measure what a model does on this device, for somebody who has none like it.

    Versions, the device, verify's figures in every way of FP8, rates and memory, and whose rules
    its FP8 products follow. The file holds no path, and no name of a machine or a user.
    """
    # Only the model needs torch, which takes seconds to import.
    from evo2_tasks.commands import doctor as doctor_task  # noqa: PLC0415

    doctor_task.doctor(ModelConfig(**model), out=out, quick=quick, threads=threads)


@main.command()
@click.argument("checkpoint", metavar="OWNER/NAME@COMMIT")
@click.option("--out", type=PATH, help="JSON file to write: where it is, and what its files are.")
@log_option
def fetch(checkpoint: str, out: Path | None) -> None:
    """Get a model from a hub, check and convert it, and keep it for all jobs.

    With a branch, or without a commit, it says which commit that is.
    """
    # To convert it needs torch, which takes seconds to import.
    from evo2_tasks.steps import fetch as fetch_task  # noqa: PLC0415

    fetch_task.fetch(checkpoint, out=out)


@main.command()
@click.argument("source", type=PATH)
@click.argument("out", type=PATH)
@click.option("--model", help="Release that a published file is, for example evo2_7b.")
@click.option("--config", type=PATH, help="Published .yml description of a file that is none.")
@log_option
def convert(source: Path, out: Path, model: str | None, config: Path | None) -> None:
    """Convert a published checkpoint to a folder for from_pretrained, or the folder back.

    SOURCE is a published .pt file (or its .part0) and OUT a folder, or SOURCE is such a folder
    and OUT ends in .pt.
    """
    # Only the model needs torch, which takes seconds to import.
    from evo2_tasks.commands import convert as convert_module  # noqa: PLC0415

    convert_module.convert(source, out, model=model, config=config)
