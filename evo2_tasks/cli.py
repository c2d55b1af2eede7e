"""The command ``evo2-tasks``: options in, one call of a step or a command.

Steps, commands and the modules of the config are imported when they are called: some take seconds
(torch), and some need an extra of the package. The file is long because it holds the options and
help texts of all commands, and nothing else.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO, get_args

import click

from evo2_tasks import config as configs
from evo2_tasks.config.choices import (
    BATCH_TOKENS,
    CIRCULAR_MIN_CONTEXT,
    MAX_SEQUENCE_LENGTH,
    WINDOW_LENGTH,
    ConsequenceField,
    Fp8Mode,
    Release,
)
from evo2_tasks.config.objects import is_url
from evo2_tasks.errors import InputError
from evo2_tasks.io.files import require_writable
from evo2_tasks.io.imports import collection_paused, resume_collection, without_pandas
from evo2_tasks.io.interruption import EXIT_INTERRUPTED, Interrupted, raise_on_sigterm
from evo2_tasks.io.streams import (
    LineFormatter,
    LogFile,
    LogStream,
    open_missing_streams,
    plain_streams,
    writing_output,
)
from evo2_tasks.io.words import first_line, shown_path, without_controls
from evo2_tasks.layout import EXPORTS, NO_LAYER, PROBE, SPLIT, TABLE

if TYPE_CHECKING:
    from evo2_tasks.config.resolve import ModelSettings
    from evo2_tasks.config.schema import RunConfig

EXIT_BAD_INPUT: Final = 2
SMALL_MODEL: Final = "evo2-mini"
"""The model that comes with the package."""
# The extra of the package that brings a module which a command may lack.
EXTRAS: Final = {
    "torch": "torch",
    "transformers": "torch",
    "safetensors": "evaluation",
    "huggingface_hub": "torch",
    "pybigtools": "tracks",
    "sklearn": "evaluation",
    "scipy": "evaluation",
    "plotly": "evaluation",
    "jinja2": "evaluation",
    "markupsafe": "evaluation",
}

STEPS, TABLES, MODELS, RUNS = "Workflow steps", "Tables", "Models", "Runs"
GROUPS: Final = (RUNS, TABLES, MODELS, STEPS)


class LocalPath(click.Path):
    """A path; a URL is refused, because only the workflow reads files by URL."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read a path."""
        if isinstance(value, str) and is_url(value):
            raise InputError(
                f"{value} is a URL, and this command reads and writes files of a file system. Copy "
                "the file or the folder first, and name the copy."
            )
        return super().convert(value, param, ctx)


PATH = LocalPath(path_type=Path)

logger = logging.getLogger("evo2_tasks")


class Command(click.Command):
    """A command of one of the groups, with an example in its help.

    Args:
        group: The heading under which `evo2-tasks --help` lists the command.
        example: Command lines that show how it is called.
    """

    def __init__(self, *args: Any, group: str, example: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group
        self.example = example

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the options. The help is written here, so it may meet a full disk."""
        with writing_output():
            return super().parse_args(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the example, line by line as it is."""
        with formatter.section("Example"):
            for line in self.example.splitlines():
                formatter.write(f"  {line}\n")


class CommandGroup(click.Group):
    """Several commands under one name."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the options. The help is written here, so it may meet a full disk."""
        with writing_output():
            return super().parse_args(ctx, args)


class CommandLine(click.Group):
    """A group of commands that reports a user's mistake in one line."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the options. Help and version are written here, so they may meet a full disk."""
        try:
            with writing_output():
                return super().parse_args(ctx, args)
        except InputError as error:  # the log is not open yet
            click.echo(f"ERROR: {error}", err=True)
            ctx.exit(EXIT_BAD_INPUT)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands under the headings of their groups, no summary cut."""
        for group in GROUPS:
            rows = [
                (name, command.get_short_help_str(limit=1000))
                for name, command in list_commands(self)
                if command.group == group
            ]
            with formatter.section(group):
                formatter.write_dl(rows)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Read the arguments and run a command; no control character reaches the terminal."""
        open_missing_streams()
        with plain_streams(), without_pandas(), collection_paused():
            return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; exit with 2 for a user's mistake."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            logger.error("%s", " ".join(str(error).split()))
            ctx.exit(EXIT_BAD_INPUT)
        except (Interrupted, KeyboardInterrupt):
            logger.error(
                "interrupted; run the command again: it continues after the last finished part"
            )
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
        except PermissionError as error:  # a closed folder does not show which files it has
            if error.filename is None:
                raise
            logger.error(
                "%s: %s. Ask the owner for permission, or name another file.",
                shown_path(error.filename),
                first_line(error),
            )
            ctx.exit(EXIT_BAD_INPUT)
        except BrokenPipeError:  # the program that reads our output, such as `head`, has ended
            sys.stderr.close()
            ctx.exit(0)


def list_commands(group: click.Group) -> list[tuple[str, Command]]:
    """The commands of the command line with their names, of two words if they are in a group."""
    found = []
    for name, command in group.commands.items():
        if isinstance(command, Command):
            found.append((name, command))
        elif isinstance(command, click.Group):
            found += [(f"{name} {inner}", one) for inner, one in list_commands(command)]
    return found


def read_config(
    _ctx: click.Context, _param: click.Parameter, value: Path | None
) -> RunConfig | None:
    """Read and check the config that ``--config`` names, if it does; ``-`` is standard input.

    A step needs only some of the files that the config names, and reports the one that it lacks.
    """
    return None if value is None else configs.load.load_config(value, look_for_files=False)


def add_log_file(_ctx: click.Context, _param: click.Parameter, value: Path | None) -> None:
    """Write the log to the file that ``--log`` names too, after what it holds.

    The file may hold the log of an earlier attempt of the same job, which ends with its error.
    """
    if value is None:
        return
    try:
        value.parent.mkdir(parents=True, exist_ok=True)
        handler = LogFile(value, logger)
    except OSError as error:
        raise InputError(f"--log: {value} cannot be written: {error.strerror}.") from error
    handler.setFormatter(LineFormatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)


def print_line(line: str) -> None:
    """Print a line on standard output; see `writing_output`."""
    with writing_output():
        click.echo(without_controls(line, keep="\t"))


def print_json(value: Any) -> None:
    """Print a value as JSON, in which control characters are escapes."""
    for line in json.dumps(value, indent=2).split("\n"):
        print_line(line)


def load(module: str) -> Any:
    """A module of a step or a command, ``steps.split`` for example."""
    imported = import_module(f"evo2_tasks.{module}")
    resume_collection()
    return imported


def file_option(*names: str, **options: Any) -> Callable[..., Any]:
    """An option that names a file."""
    return click.option(*names, type=PATH, metavar="FILE", **options)


def output_option(*names: str, **options: Any) -> Callable[..., Any]:
    """An option that names a file to write, which is checked before the command starts its work."""
    return file_option(*names, callback=check_output, **options)


def check_output(_context: click.Context, _option: click.Parameter, value: Path | None) -> Any:
    """Refuse a file that cannot be written; - is standard output."""
    if value is not None and str(value) != "-":
        require_writable(value)
    return value


def folder_option(*names: str, **options: Any) -> Callable[..., Any]:
    """An option that names a folder."""
    return click.option(*names, type=PATH, metavar="FOLDER", **options)


def config_option(**options: Any) -> Callable[..., Any]:
    """The option ``--config``, which hands a command the config that it names."""
    return click.option(
        "--config",
        type=PATH,
        callback=read_config,
        metavar="FILE",
        help="Config of the run; - reads it from standard input.",
        **options,
    )


log_option = click.option(
    "--log",
    type=PATH,
    expose_value=False,
    is_eager=True,
    callback=add_log_file,
    metavar="FILE",
    help="File to write the log to as well.",
)
other_variants_option = file_option(
    "--variants", help="Variants to read instead of those in the config; - is standard input."
)
variant_set_option = click.option(
    "--variant-set", required=True, metavar="NAME", help="Name of the variant set in the config."
)
sequence_set_option = click.option(
    "--sequence-set", required=True, metavar="NAME", help="Name of the sequence set in the config."
)
track_set_option = click.option(
    "--track-set", required=True, metavar="NAME", help="Name of the track set in the config."
)
generation_option = click.option(
    "--generation", required=True, metavar="NAME", help="Name of the generation in the config."
)
scoring_option = click.option(
    "--scoring", required=True, metavar="NAME", help="Name of the scoring in the config."
)
threads_option = click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="CPU threads of the model. Default: torch decides.",
)
hits_option = file_option(
    "--hits",
    help="Scores of the store, from `lookup`. Default: in the folder hits, next to the folder of "
    "the scores, if the config has a store.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def step(function: Callable[..., None]) -> Callable[..., None]:
    """Give a step of the workflow its options ``--config`` and ``--log``."""
    with_config: Callable[..., None] = config_option(required=True)(function)
    return log_option(with_config)


@click.group(cls=CommandLine, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="evo2-tasks")
def main() -> None:
    """Variant effect scores from the DNA language model Evo 2.

    `snakemake` runs the workflow steps. Each step can also be run by hand on the files that the
    step before it wrote.
    """
    handler = LogStream()
    handler.setFormatter(LineFormatter("%(levelname)s: %(message)s"))
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    raise_on_sigterm()


@main.command(
    cls=Command,
    group=RUNS,
    example="evo2-tasks plan --config config.yaml --device H100 --device-memory 80 --price 2.5",
)
@config_option(default=Path("config.yaml"), show_default=True)
@file_option(
    "--rates",
    "rates_file",
    help="File of measured rates (written by `measure`). Default: published rates.",
)
@click.option(
    "--device", help="Estimate for the device with this text in its name, for example A100."
)
@click.option(
    "--device-memory",
    "device_memory_gb",
    type=float,
    metavar="GB",
    help="Memory of the device. The plan then suggests batch_tokens.",
)
@click.option("--price", type=float, help="Price of one hour of one device.")
@click.option(
    "--job-hours",
    type=float,
    default=2.0,
    show_default=True,
    help="Target length of one scoring job, in hours.",
)
@json_option
def plan(config: RunConfig, as_json: bool, **options: Any) -> None:
    """Estimate alleles, sequences, windows, tokens, memory, time and price of a run."""
    module = load("commands.plan")
    estimates = module.plan(
        configs.resolve.resolve_plan(config),
        tracks=configs.tracks.resolve_plan_tracks(config),
        sequences=configs.sequences.resolve_plan_sequences(config),
        generations=configs.generations.resolve_plan_generations(config),
        **options,
    )
    if as_json:
        total = module.add_up(estimates)
        print_json({"plan": estimates, "total": total})
    else:
        for line in module.describe_estimates(estimates):
            print_line(line)


@main.command(cls=Command, group=RUNS, example="evo2-tasks demo my-demo")
@click.argument("folder", type=PATH)
def demo(folder: Path) -> None:
    """Make a folder with the config and the data of the demo, and print how to run it."""
    for line in load("commands.demo").demo(folder):
        print_line(line)


@main.command(
    cls=Command,
    group=RUNS,
    example='snakemake -s "$(evo2-tasks workflow-path)" \\\n'
    '  --profile "$(evo2-tasks workflow-path --profile local)"',
)
@click.option("--profile", metavar="NAME", help="Print the folder of this profile instead.")
def workflow_path(profile: str | None) -> None:
    """Print the path of the Snakefile, for `snakemake -s` and for `module:`."""
    print_line(str(load("commands.workflow_path").workflow_path(profile)))


@main.command(
    cls=Command,
    group=TABLES,
    example="evo2-tasks explain MT:3243:A:G --config config.yaml --html explained.html",
)
@click.argument("allele", metavar="CONTIG:POS:REF:ALT")
@step
@click.option(
    "--variant-set", metavar="NAME", help="Variant set. Default: one that has the allele."
)
@click.option("--scoring", metavar="NAME", help="Scoring. Default: one that has the allele.")
@output_option("--html", help="HTML page to write: figures, tables, SNVs near the allele.")
@click.option(
    "--run-model",
    is_flag=True,
    help="Run the model also if the run has the profile of the allele: the page then has all SNVs "
    "near the allele.",
)
@threads_option
def explain(
    config: RunConfig, allele: str, variant_set: str | None, scoring: str | None, **options: Any
) -> None:
    """Explain the score of one allele: its tokens, the SNVs near it, its row in the table.

    If the run has a profile of the allele (`profile` of the scoring), no model is opened. Else the
    model runs on the allele and on the SNVs near it.
    """
    candidates = configs.explain.resolve_explain(config, variant_set, scoring)
    for line in load("commands.explain").explain(candidates, allele, **options):
        print_line(line)


@main.command(
    cls=Command,
    group=RUNS,
    example="evo2-tasks horizon --config config.yaml --variant-set mitomap --scoring mini-512 \\\n"
    "  --out horizon.html",
)
@step
@variant_set_option
@scoring_option
@output_option("--out", required=True, help="HTML page to write: figures and the table.")
@click.option(
    "--alleles",
    type=click.IntRange(min=2),
    default=300,
    show_default=True,
    help="Number of alleles to score, of each type and label in equal numbers where possible.",
)
@threads_option
@json_option
def horizon(
    config: RunConfig, variant_set: str, scoring: str, as_json: bool, **options: Any
) -> None:
    """Measure how long the windows and the horizon of a scoring must be.

    Some alleles of a variant set are scored in whole windows of several lengths. The table has the
    cost of each length and horizon, and how much the scores and their ranking change.
    """
    module = load("commands.horizon")
    result = module.horizon(
        configs.resolve.resolve_scoring_of(config, variant_set, scoring),
        configs.resolve.resolve_carry(config, variant_set),
        configs.resolve.resolve_annotate(config, variant_set),
        configs.evaluation.resolve_evaluate(config, variant_set, find_layers(config)),
        **options,
    )
    if as_json:
        print_json(module.as_json(result))
    else:
        for line in module.describe(result):
            print_line(line)


@main.command(cls=Command, group=RUNS, example="evo2-tasks status results")
@click.argument("results", type=PATH, default=Path("results"))
@click.option(
    "--failed",
    "failed",
    type=click.File(),
    metavar="FILE",
    help="For a run that has ended: file that lists the logs of all failed jobs, one per line; - "
    "reads it from standard input. Default: failed jobs are recognised by their logs.",
)
@json_option
def status(results: Path, failed: TextIO | None, as_json: bool) -> None:
    """Print the progress of a run: shards, alleles, rate, time left, failed jobs.

    RESULTS is the folder that the config names as `output`.
    """
    module = load("commands.status")
    logs = None if failed is None else [Path(line) for line in failed.read().splitlines()]
    statuses = module.read_status(results, failed=logs)
    if as_json:
        print_json({"status": [one.as_json() for one in statuses]})
    else:
        for line in module.describe_status(statuses):
            print_line(line)


@main.command(
    cls=Command,
    group=STEPS,
    example="evo2-tasks draw --config config.yaml --variant-set background \\\n"
    "  --out random_snvs.vcf.gz",
)
@step
@variant_set_option
@output_option("--out", required=True, help="File to write: a bgzipped VCF, named .vcf.gz.")
def draw(config: RunConfig, variant_set: str, **files: Any) -> None:
    """Draw the random SNVs of a variant set with `random_snvs`, for `split`."""
    load("steps.draw").draw(configs.resolve.resolve_draw(config, variant_set), **files)


@main.command(
    cls=Command,
    group=STEPS,
    example="evo2-tasks split --config config.yaml --variant-set mitomap --out shards",
)
@step
@variant_set_option
@other_variants_option
@folder_option("--out", required=True, help="Folder to write: the shards.")
def split(config: RunConfig, variant_set: str, **files: Any) -> None:
    """Read the variants, one row per allele, and split them into shards."""
    load("steps.split").split(configs.resolve.resolve_split(config, variant_set), **files)


@main.command(
    cls=Command,
    group=STEPS,
    example="evo2-tasks carry --config config.yaml --variant-set mitomap --out carried.parquet",
)
@step
@variant_set_option
@other_variants_option
@output_option("--out", required=True, help="File to write: the carried columns.")
def carry(config: RunConfig, variant_set: str, **files: Any) -> None:
    """Copy fields or columns of the variants to a table, for `merge`."""
    load("steps.carry").carry(configs.resolve.resolve_carry(config, variant_set), **files)


@main.command(
    cls=Command,
    group=STEPS,
    example="evo2-tasks annotate --config config.yaml --variant-set mitomap \\\n"
    "  --out annotations.parquet",
)
@step
@variant_set_option
@other_variants_option
@output_option("--out", required=True, help="File to write: genes, consequences, identifiers.")
def annotate(config: RunConfig, variant_set: str, **files: Any) -> None:
    """Find the gene, the consequence and the identifiers of each allele, for `merge`."""
    load("steps.annotate").annotate(configs.resolve.resolve_annotate(config, variant_set), **files)


@main.command(
    cls=Command,
    group=STEPS,
    example="evo2-tasks windows --config config.yaml --variant-set mitomap --scoring mini-512 \\\n"
    "  --shard shards/1-of-4.parquet --split shards/split.json \\\n"
    "  --out windows.parquet --segments segments.parquet",
)
@step
@variant_set_option
@scoring_option
@file_option("--shard", required=True, help="Shard from `split`.")
@file_option("--split", "split_file", required=True, help=f"The {SPLIT} from `split`.")
@output_option("--out", required=True, help="File to write: the alleles with their windows.")
@output_option(
    "--segments",
    "segments_file",
    required=True,
    help="File to write: the reference bases of the windows.",
)
def windows(config: RunConfig, variant_set: str, scoring: str, **files: Any) -> None:
    """Give each allele its status and its windows, and collect the reference bases."""
    load("steps.windows").windows(
        configs.resolve.resolve_windows(config, variant_set, scoring), **files
    )


@main.command(
    cls=Command,
    group=STEPS,
    example="evo2-tasks identify --config config.yaml --model evo2-mini --out identity.json",
)
@step
@click.option("--model", required=True, metavar="NAME", help="Name of the model in the config.")
@output_option("--out", required=True, help="JSON file to write: the digests of the model's files.")
def identify(config: RunConfig, model: str, **files: Any) -> None:
    """Compute the digests of the files of a model, by which the store knows it."""
    load("steps.identify").identify(configs.resolve.resolve_identify(config, model), **files)


@main.command(
    cls=Command,
    group=STEPS,
    example="evo2-tasks lookup --config config.yaml --variant-set mitomap --scoring mini-512 \\\n"
    "  --windows windows/1-of-4.parquet --segments windows/1-of-4.segments.parquet \\\n"
    "  --split shards/split.json --identity identity.json --out hits/1-of-4.parquet",
)
@step
@variant_set_option
@scoring_option
@file_option(
    "--windows", "windows_file", required=True, help="Alleles with their windows, from `windows`."
)
@file_option("--segments", "segments_file", required=True, help="Reference bases, from `windows`.")
@file_option("--split", "split_file", required=True, help=f"The {SPLIT} from `split`.")
@file_option("--identity", "identity_file", required=True, help="File from `identify`.")
@output_option("--out", required=True, help="File to write: the scores that the store has.")
def lookup(config: RunConfig, variant_set: str, scoring: str, **files: Any) -> None:
    """Find the alleles of a shard whose scores the store (`run.store`) has, for `score`."""
    load("steps.lookup").lookup(
        configs.resolve.resolve_lookup(config, variant_set, scoring), **files
    )


@main.command(
    cls=Command,
    group=STEPS,
    example="evo2-tasks score --config config.yaml --scoring mini-512 \\\n"
    "  --windows windows.parquet --segments segments.parquet --out scores.parquet",
)
@step
@scoring_option
@file_option(
    "--windows", "windows_file", required=True, help="Alleles with their windows, from `windows`."
)
@file_option("--segments", "segments_file", required=True, help="Reference bases, from `windows`.")
@output_option("--out", required=True, help="File to write: the scores of the shard.")
@hits_option
@threads_option
def score(config: RunConfig, scoring: str, **options: Any) -> None:
    """Run the model on the reference and the alternate window of each allele."""
    load("steps.score").score(configs.resolve.resolve_score(config, scoring), **options)


@main.command(
    cls=Command,
    group=STEPS,
    example="evo2-tasks audit --config config.yaml --variant-set mitomap --scoring mini-512 \\\n"
    "  --split shards/split.json --windows windows --out audit",
)
@step
@variant_set_option
@scoring_option
@file_option("--split", "split_file", required=True, help=f"The {SPLIT} from `split`.")
@folder_option(
    "--windows", "windows_folder", required=True, help="Folder with the windows of all shards."
)
@folder_option("--out", required=True, help="Folder to write: whole windows of each shard.")
def audit(config: RunConfig, variant_set: str, scoring: str, **files: Any) -> None:
    """Choose the alleles to score without a horizon too, and write their whole windows."""
    load("steps.audit").audit(configs.resolve.resolve_audit(config, variant_set, scoring), **files)


@main.command(
    "score-readouts",
    cls=Command,
    group=STEPS,
    example="evo2-tasks score-readouts --config config.yaml --scoring mini-512 \\\n"
    "  --windows windows/1-of-4.parquet --segments windows/1-of-4.segments.parquet \\\n"
    "  --out scores/1-of-4.parquet --readouts readouts audit",
)
@step
@scoring_option
@file_option(
    "--windows", "windows_file", required=True, help="Alleles with their windows, from `windows`."
)
@file_option("--segments", "segments_file", required=True, help="Reference bases, from `windows`.")
@output_option(
    "--out",
    help="File to write: the scores of the shard. Finished scores of these windows are kept.",
)
@file_option(
    "--scores",
    help="Instead of --out: finished scores of the shard. Only the read-outs are made.",
)
@folder_option("--readouts", required=True, help="Folder to write: the read-outs of the shard.")
@hits_option
@threads_option
@click.argument("audited", type=PATH, required=False)
def score_readouts(config: RunConfig, scoring: str, **options: Any) -> None:
    """Score a shard like `score`, and make the read-outs (`audit`, `embeddings`, `profile`)."""
    load("steps.score_readouts").score_readouts(
        configs.resolve.resolve_readouts(config, scoring), **options
    )


@main.command(
    "merge-embeddings",
    cls=Command,
    group=STEPS,
    example="evo2-tasks merge-embeddings --config config.yaml --variant-set mitomap \\\n"
    "  --scoring mini-512 --layer blocks.10 --split shards/split.json --windows windows \\\n"
    "  --scores scores --readouts readouts --out embeddings/blocks.10.parquet \\\n"
    "  --run-json embeddings/blocks.10.json",
)
@step
@variant_set_option
@scoring_option
@click.option(
    "--layer", required=True, metavar="NAME", help="Published name of a layer of the scoring."
)
@file_option("--split", "split_file", required=True, help=f"The {SPLIT} from `split`.")
@folder_option(
    "--windows", "windows_folder", required=True, help="Folder with the windows of all shards."
)
@folder_option(
    "--scores", "scores_folder", required=True, help="Folder with the scores of all shards."
)
@folder_option(
    "--readouts", "readouts_folder", required=True, help="Folder with the read-outs of all shards."
)
@output_option("--out", required=True, help="File to write: the embeddings of the layer.")
@output_option(
    "--run-json", required=True, help="File to write: counts, error of the data type, work."
)
def merge_embeddings(
    config: RunConfig, variant_set: str, scoring: str, layer: str, **files: Any
) -> None:
    """Combine the embeddings of a layer of all shards into one table."""
    settings = configs.embeddings.resolve_merge_embeddings(config, variant_set, scoring, layer)
    load("steps.merge_embeddings").merge_embeddings(settings, **files)


@main.command(
    "merge-profiles",
    cls=Command,
    group=STEPS,
    example="evo2-tasks merge-profiles --config config.yaml --variant-set mitomap \\\n"
    "  --scoring mini-512 --split shards/split.json --windows windows --scores scores \\\n"
    "  --readouts readouts --out profiles.parquet --run-json profiles.json",
)
@step
@variant_set_option
@scoring_option
@file_option("--split", "split_file", required=True, help=f"The {SPLIT} from `split`.")
@folder_option(
    "--windows", "windows_folder", required=True, help="Folder with the windows of all shards."
)
@folder_option(
    "--scores", "scores_folder", required=True, help="Folder with the scores of all shards."
)
@folder_option(
    "--readouts", "readouts_folder", required=True, help="Folder with the read-outs of all shards."
)
@output_option("--out", required=True, help="File to write: the profiles.")
@output_option(
    "--run-json", required=True, help="File to write: counts, error of the data type, work."
)
def merge_profiles(config: RunConfig, variant_set: str, scoring: str, **files: Any) -> None:
    """Combine the token by token differences of all shards into one table."""
    settings = configs.embeddings.resolve_merge_profiles(config, variant_set, scoring)
    load("steps.merge_profiles").merge_profiles(settings, **files)


@main.command(
    "merge-audit",
    cls=Command,
    group=STEPS,
    example="evo2-tasks merge-audit --config config.yaml --variant-set mitomap \\\n"
    "  --scoring mini-512 --split shards/split.json --windows windows --audited audit \\\n"
    "  --scores scores --readouts readouts --out audit.parquet \\\n"
    "  --run-json audit.json",
)
@step
@variant_set_option
@scoring_option
@file_option("--split", "split_file", required=True, help=f"The {SPLIT} from `split`.")
@folder_option(
    "--windows", "windows_folder", required=True, help="Folder with the windows of all shards."
)
@folder_option(
    "--audited", "audited_folder", required=True, help="Folder with the files from `audit`."
)
@folder_option(
    "--scores", "scores_folder", required=True, help="Folder with the scores of all shards."
)
@folder_option(
    "--readouts", "readouts_folder", required=True, help="Folder with the read-outs of all shards."
)
@output_option("--out", required=True, help="File to write: the scores of the whole windows.")
@output_option("--run-json", required=True, help="File to write: windows, tokens, time, devices.")
def merge_audit(config: RunConfig, variant_set: str, scoring: str, **files: Any) -> None:
    """Combine the scores of whole windows of all shards into one table."""
    settings = configs.resolve.resolve_merge_audit(config, variant_set, scoring)
    load("steps.merge_audit").merge_audit(settings, **files)


@main.command(
    cls=Command,
    group=STEPS,
    example="evo2-tasks merge --config config.yaml --variant-set mitomap --scoring mini-512 \\\n"
    "  --split shards/split.json --windows windows --scores scores \\\n"
    "  --out scores.parquet --run-json run.json carried.parquet",
)
@step
@variant_set_option
@scoring_option
@file_option("--split", "split_file", required=True, help=f"The {SPLIT} from `split`.")
@folder_option(
    "--windows", "windows_folder", required=True, help="Folder with the windows of all shards."
)
@folder_option(
    "--scores", "scores_folder", required=True, help="Folder with the scores of all shards."
)
@output_option("--out", required=True, help="File to write: the table.")
@output_option("--run-json", required=True, help="File to write: counts, devices, versions, times.")
@click.argument("joined", type=PATH, nargs=-1, metavar="[TABLE]...")
def merge(config: RunConfig, variant_set: str, scoring: str, **files: Any) -> None:
    """Combine the scores of all shards into one table with a row for each input allele.

    TABLE is a file from `annotate` or `carry`, whose columns are added. Each of the two is needed
    if the config asks for its columns.
    """
    load("steps.merge").merge(configs.resolve.resolve_merge(config, variant_set, scoring), **files)


@main.command(
    cls=Command,
    group=STEPS,
    example="evo2-tasks haplotypes --config config.yaml --variant-set cohort \\\n"
    "  --scoring mini-512 --split shards/split.json --windows windows \\\n  --out haplotypes",
)
@step
@variant_set_option
@scoring_option
@other_variants_option
@file_option("--split", "split_file", required=True, help=f"The {SPLIT} from `split`.")
@folder_option(
    "--windows", "windows_folder", required=True, help="Folder with the windows of all shards."
)
@folder_option(
    "--out", required=True, help="Folder to write: who has each allele, and windows to score."
)
def haplotypes(config: RunConfig, variant_set: str, scoring: str, **files: Any) -> None:
    """Find the other alleles of each haplotype, and place the windows with them.

    `score` then scores the files `haplotypes/{shard}.parquet` like any file of windows.
    """
    settings = configs.resolve.resolve_haplotypes(config, variant_set, scoring)
    load("steps.haplotypes").haplotypes(settings, **files)


@main.command(
    "merge-haplotypes",
    cls=Command,
    group=STEPS,
    example="evo2-tasks merge-haplotypes --config config.yaml --variant-set cohort \\\n"
    "  --scoring mini-512 --table scores.parquet --pairs haplotypes --scores haplotype_scores \\\n"
    "  --out haplotypes.parquet --compounds compounds.parquet --run-json haplotypes.json",
)
@step
@variant_set_option
@scoring_option
@file_option(
    "--table", required=True, help="Table from `merge`, with the scores of the alleles alone."
)
@folder_option(
    "--pairs", "pairs_folder", required=True, help="Folder with the files from `haplotypes`."
)
@folder_option(
    "--scores", "scores_folder", required=True, help="Folder with the scores of these windows."
)
@output_option("--out", required=True, help="File to write: the alleles of each sample.")
@output_option("--compounds", required=True, help="File to write: alleles that act together.")
@output_option("--run-json", required=True, help="File to write: counts, time, devices.")
def merge_haplotypes(config: RunConfig, variant_set: str, scoring: str, **files: Any) -> None:
    """Give each allele of each sample its score with the other alleles of its haplotype."""
    settings = configs.resolve.resolve_merge_haplotypes(config, variant_set, scoring)
    load("steps.merge_haplotypes").merge_haplotypes(settings, **files)


@main.command(
    cls=Command,
    group=STEPS,
    example="evo2-tasks tile --config config.yaml --track-set genes --scoring mini-512 \\\n"
    "  --out tiles",
)
@step
@track_set_option
@scoring_option
@file_option(
    "--regions", help="Regions to read instead of those in the config; - is standard input."
)
@folder_option("--out", required=True, help="Folder to write: regions, and windows of each shard.")
def tile(config: RunConfig, track_set: str, scoring: str, **files: Any) -> None:
    """Find the windows from which the bases of a track set are read.

    A region that cannot be read has a row with a status in `regions.parquet`.
    """
    load("steps.tile").tile(configs.tracks.resolve_tile(config, track_set, scoring), **files)


@main.command(
    "score-tracks",
    cls=Command,
    group=STEPS,
    example="evo2-tasks score-tracks --config config.yaml --scoring mini-512 \\\n"
    "  --tiles tiles/1-of-1.parquet --segments tiles/1-of-1.segments.parquet \\\n"
    "  --out track_scores/1-of-1.parquet",
)
@step
@scoring_option
@file_option("--tiles", "tiles_file", required=True, help="The windows of a shard, from `tile`.")
@file_option("--segments", "segments_file", required=True, help="Their bases, from `tile`.")
@output_option("--out", required=True, help="File to write: one row for each base.")
@threads_option
def score_tracks(config: RunConfig, scoring: str, **files: Any) -> None:
    """Run the model on the windows of a shard of a track set."""
    load("steps.score_tracks").score_tracks(
        configs.tracks.resolve_score_tracks(config, scoring), **files
    )


@main.command(
    "merge-tracks",
    cls=Command,
    group=STEPS,
    example="evo2-tasks merge-tracks --config config.yaml --track-set genes --scoring mini-512 \\\n"
    "  --tiles tiles --scores track_scores --out tracks.parquet --run-json tracks.json",
)
@step
@track_set_option
@scoring_option
@folder_option("--tiles", "tiles_folder", required=True, help="Folder with the files from `tile`.")
@folder_option(
    "--scores", "scores_folder", required=True, help="Folder with the files from `score-tracks`."
)
@output_option("--out", required=True, help="File to write: the tracks of all shards.")
@output_option("--run-json", required=True, help="File to write: counts, time, devices.")
def merge_tracks(config: RunConfig, track_set: str, scoring: str, **files: Any) -> None:
    """Combine the tracks of all shards into one table with a row for each base of the regions."""
    settings = configs.tracks.resolve_merge_tracks(config, track_set, scoring)
    load("steps.merge_tracks").merge_tracks(settings, **files)


@main.command(
    "embed-tracks",
    cls=Command,
    group=STEPS,
    example="evo2-tasks embed-tracks --config config.yaml --track-set genes --scoring mini-512 \\\n"
    "  --tiles tiles/1-of-1.parquet --segments tiles/1-of-1.segments.parquet \\\n"
    "  --regions tiles/regions.parquet --out track_embeddings/1-of-1.parquet",
)
@step
@track_set_option
@scoring_option
@file_option("--tiles", "tiles_file", required=True, help="The windows of a shard, from `tile`.")
@file_option("--segments", "segments_file", required=True, help="Their bases, from `tile`.")
@file_option("--regions", "regions_table", required=True, help="The regions, from `tile`.")
@output_option("--out", required=True, help="File to write: sums over the bases of regions.")
@threads_option
def embed_tracks(config: RunConfig, track_set: str, scoring: str, **files: Any) -> None:
    """Sum the outputs of layers over the bases of the regions of a shard."""
    settings = configs.track_embeddings.resolve_embed_tracks(config, track_set, scoring)
    load("steps.embed_tracks").embed_tracks(settings, **files)


@main.command(
    "merge-track-embeddings",
    cls=Command,
    group=STEPS,
    example="evo2-tasks merge-track-embeddings --config config.yaml --track-set genes \\\n"
    "  --scoring mini-512 --layer blocks.10 --tiles tiles --embeddings track_embeddings \\\n"
    "  --out embeddings/blocks.10.parquet --run-json embeddings/blocks.10.json",
)
@step
@track_set_option
@scoring_option
@click.option(
    "--layer", required=True, metavar="NAME", help="Published name of a layer of the scoring."
)
@folder_option("--tiles", "tiles_folder", required=True, help="Folder with the files from `tile`.")
@folder_option(
    "--embeddings", "embeddings_folder", required=True, help="Folder with the files of all shards."
)
@output_option("--out", required=True, help="File to write: the embeddings of the layer.")
@output_option(
    "--run-json", required=True, help="File to write: counts, error of the data type, work."
)
def merge_track_embeddings(
    config: RunConfig, track_set: str, scoring: str, layer: str, **files: Any
) -> None:
    """Combine the embeddings of a layer of all shards into one table with a row for each region."""
    settings = configs.track_embeddings.resolve_merge_track_embeddings(
        config, track_set, scoring, layer
    )
    load("steps.merge_track_embeddings").merge_track_embeddings(settings, **files)


@main.command(
    "export-tracks",
    cls=Command,
    group=STEPS,
    example="evo2-tasks export-tracks --out results/genes/mini-512 \\\n"
    "  results/genes/mini-512/tracks.parquet",
)
@log_option
@folder_option("--out", required=True, help="Folder of the files.")
@click.argument("table", type=PATH, metavar="TABLE")
def export_tracks(**files: Any) -> None:
    """Write tracks as bigWig, for genome browsers.

    TABLE is the file from `merge-tracks`. The JSON file next to it has the lengths of the contigs.
    """
    load("steps.export_tracks").export_tracks(**files)


@main.command(
    "report-tracks",
    cls=Command,
    group=STEPS,
    example="evo2-tasks report-tracks --config config.yaml --track-set genes \\\n"
    "  --results results/genes --out report.html",
)
@step
@track_set_option
@folder_option("--results", required=True, help="Folder with the results of the track set.")
@output_option("--out", required=True, help="File to write: the HTML page.")
def report_tracks(config: RunConfig, track_set: str, **files: Any) -> None:
    """Write the HTML report of a track set: its regions, with sequence logos of the first ones."""
    load("steps.report_tracks").report_tracks(
        configs.tracks.resolve_report_tracks(config, track_set), **files
    )


@main.command(
    "read-prompts",
    cls=Command,
    group=STEPS,
    example="evo2-tasks read-prompts --config config.yaml --generation mito --out prompts.parquet",
)
@step
@generation_option
@file_option(
    "--prompts", help="FASTA or BED to read instead of that of the config; - is standard input."
)
@output_option(
    "--out", required=True, help="File to write: the prompts. Their counts are written next to it."
)
def read_prompts(config: RunConfig, generation: str, **files: Any) -> None:
    """Read the prompts of a generation, one row each, and check its scorers."""
    load("steps.read_prompts").read_prompts(
        configs.generations.resolve_prompts(config, generation), **files
    )


@main.command(
    "generate-sequences",
    cls=Command,
    group=STEPS,
    example="evo2-tasks generate-sequences --config config.yaml --generation mito \\\n"
    "  --prompts prompts.parquet --out generated/1-of-1.parquet",
)
@step
@generation_option
@file_option("--prompts", required=True, help="The prompts, from `read-prompts`.")
@output_option(
    "--out",
    required=True,
    help="File to write, named after the shard: the sequences. Their steps are written next to it.",
)
@threads_option
def generate_sequences(config: RunConfig, generation: str, **options: Any) -> None:
    """Continue the prompts of a shard with the model."""
    settings = configs.generations.resolve_generate(config, generation)
    load("steps.generate_sequences").generate_sequences(settings, **options)


@main.command(
    "merge-generation",
    cls=Command,
    group=STEPS,
    example="evo2-tasks merge-generation --config config.yaml --generation mito \\\n"
    "  --prompts prompts.parquet --generated generated --fasta sequences.fa \\\n"
    "  --out sequences.parquet --steps steps.parquet --run-json generation.json",
)
@step
@generation_option
@file_option("--prompts", required=True, help="The prompts, from `read-prompts`.")
@folder_option("--generated", required=True, help="Folder with the files of all shards.")
@output_option("--fasta", required=True, help="File to write: the sequences as FASTA.")
@output_option("--out", required=True, help="File to write: the table of the sequences.")
@output_option("--steps", required=True, help="File to write: the table of the steps.")
@output_option("--run-json", required=True, help="File to write: counts, times, devices, versions.")
def merge_generation(config: RunConfig, generation: str, **files: Any) -> None:
    """Combine the sequences of all shards, and compare them with prompts and reference."""
    load("steps.merge_generation").merge_generation(
        configs.generations.resolve_merge_generation(config, generation), **files
    )


@main.command(
    "report-generation",
    cls=Command,
    group=STEPS,
    example="evo2-tasks report-generation --config config.yaml --generation mito \\\n"
    "  --results results/generations/mito --out report.html",
)
@step
@generation_option
@folder_option("--results", required=True, help="Folder with the results of the generation.")
@output_option("--out", required=True, help="File to write: the HTML page.")
def report_generation(config: RunConfig, generation: str, **files: Any) -> None:
    """Write the HTML report of a generation: composition, copies, scores, the search."""
    load("steps.report_generation").report_generation(
        configs.generations.resolve_report_generation(config, generation), **files
    )


@main.command(
    "fit-calibration",
    cls=Command,
    group=STEPS,
    example="evo2-tasks fit-calibration --config config.calibration.yaml \\\n"
    "  --calibration mitomap --scoring mini-512 \\\n"
    "  --background results/random-snvs/mini-512/scores.parquet \\\n"
    "  --labelled results/mitomap/mini-512/scores.parquet \\\n"
    "  --out results/calibrations/mitomap/mini-512",
)
@step
@click.option(
    "--calibration", required=True, metavar="NAME", help="Name of the calibration in the config."
)
@scoring_option
@file_option("--background", help="Table of the background, if the calibration has one.")
@file_option("--labelled", help="Table of the set with the labels, if the calibration has one.")
@folder_option("--out", "out_folder", required=True, help="Folder to write: the calibration.")
def fit_calibration(config: RunConfig, calibration: str, scoring: str, **files: Any) -> None:
    """Make a calibration from the scores of a background and of labelled variants."""
    settings = configs.resolve.resolve_fit_calibration(config, calibration, scoring)
    load("steps.fit_calibration").fit_calibration(settings, scoring=scoring, **files)


@main.command(
    cls=Command,
    group=STEPS,
    example="evo2-tasks calibrate --config config.calibration.yaml --variant-set mitomap \\\n"
    "  --scoring mini-512 --table results/mitomap/mini-512/scores.parquet \\\n"
    "  --calibrations results/calibrations \\\n"
    "  --out results/mitomap/mini-512/calibrated.parquet",
)
@step
@variant_set_option
@scoring_option
@file_option("--table", required=True, help="Table from `merge`.")
@folder_option(
    "--calibrations",
    "calibrations_folder",
    required=True,
    help="Folder with the calibrations from `fit-calibration`, each in a folder NAME/SCORING. "
    "Those that the config names as a `file` are read from there.",
)
@output_option("--out", required=True, help="File to write: quantiles and evidence of each row.")
def calibrate(
    config: RunConfig, variant_set: str, scoring: str, calibrations_folder: Path, **files: Any
) -> None:
    """Give each row of a table its quantile among a background, and its evidence strength.

    Evidence strengths are by a published method. They are not for clinical use.
    """
    settings = configs.resolve.resolve_calibrate(config, variant_set, scoring)
    calibrations = settings.find(calibrations_folder)
    load("steps.calibrate").calibrate(settings, calibrations=calibrations, **files)


probe_option = click.option(
    "--probe", required=True, metavar="NAME", help="Name of the probe in the variant set."
)


def find_layers(config: RunConfig) -> Any:
    """The layers of the embeddings of a config, which depend on its models."""
    return load("cost.probes").find_layers(config)


@main.command(
    "fit-probe",
    cls=Command,
    group=STEPS,
    example="evo2-tasks fit-probe --config config.probe.yaml --variant-set mitomap \\\n"
    "  --scoring mini-2k --probe locus --layer blocks.8 \\\n"
    "  --table results/mitomap/mini-2k/scores.parquet \\\n"
    "  --out results/mitomap/mini-2k/probes/locus/blocks.8 \\\n"
    "  results/mitomap/mini-2k/embeddings/blocks.8.parquet",
)
@step
@variant_set_option
@scoring_option
@probe_option
@click.option(
    "--layer",
    default=NO_LAYER,
    metavar="NAME",
    help=f"Layer of the embeddings. Default: {NO_LAYER}, for a probe that uses no layer.",
)
@file_option("--table", required=True, help="Table from `merge`.")
@folder_option(
    "--out", "out_folder", required=True, help="Folder to write: the probe and its predictions."
)
@click.argument("embeddings", type=PATH, required=False)
def fit_probe(
    config: RunConfig, variant_set: str, scoring: str, probe: str, layer: str, **files: Any
) -> None:
    """Train a probe: a linear model that predicts a label from EMBEDDINGS and scores.

    EMBEDDINGS is the file of the layer from `merge-embeddings`. The predictions of labelled rows
    come from folds.
    """
    settings = configs.probes.resolve_fit_probe(
        config,
        find_layers(config),
        variant_set=variant_set,
        scoring=scoring,
        probe=probe,
        layer=None if layer == NO_LAYER else layer,
    )
    load("steps.fit_probe").fit_probe(settings, **files)


@main.command(
    "apply-probe",
    cls=Command,
    group=STEPS,
    example="evo2-tasks apply-probe --config config.yaml --variant-set cohort \\\n"
    "  --scoring mini-2k --probe locus \\\n"
    "  --trained results/mitomap/mini-2k/probes/locus/blocks.8 \\\n"
    "  --table results/cohort/mini-2k/scores.parquet --out applied.parquet \\\n"
    "  results/cohort/mini-2k/embeddings/blocks.8.parquet",
)
@step
@variant_set_option
@scoring_option
@probe_option
@click.option(
    "--trained", type=PATH, required=True, help=f"Folder of the probe, or the {PROBE} in it."
)
@file_option("--table", required=True, help="Table from `merge`.")
@output_option("--out", required=True, help="File to write: the predictions.")
@click.argument("embeddings", type=PATH, nargs=-1)
def apply_probe(
    config: RunConfig, variant_set: str, scoring: str, probe: str, **files: Any
) -> None:
    """Predict the alleles of a table with a probe that was trained before.

    EMBEDDINGS are files from `merge-embeddings`; that of the layer of the probe is used.
    """
    settings = configs.probes.resolve_apply_probe(
        config, find_layers(config), variant_set=variant_set, scoring=scoring, probe=probe
    )
    load("steps.apply_probe").apply_probe(settings, **files)


@main.command(
    cls=Command,
    group=STEPS,
    example="evo2-tasks combine --config config.yaml --combination lengths \\\n"
    "  --results results/mitomap --out combined.parquet",
)
@step
@click.option(
    "--combination", required=True, metavar="NAME", help="Name under `combine` in the config."
)
@folder_option("--results", required=True, help="Folder with the results of the variant set.")
@output_option("--out", required=True, help="File to write: the scores of all scorings.")
def combine(config: RunConfig, combination: str, results: Path, **files: Any) -> None:
    """Write the scores of several scorings into one table, and ensembles of them."""
    settings = configs.resolve.resolve_combine(config, combination)
    load("steps.combine").combine(settings, tables=settings.find(results), **files)


@main.command(
    cls=Command,
    group=STEPS,
    example="evo2-tasks export --to vcf results/mitomap/mini-512/scores.parquet",
)
@click.argument("table", type=PATH)
@click.option("--to", type=click.Choice([*EXPORTS]), required=True, help="Format to write.")
@file_option("--variants", help="For vcf: the scored file, if it has moved.")
@output_option(
    "--out",
    help="File to write; - writes to standard output, uncompressed. Default: next to the table.",
)
@log_option
def export(table: Path, to: str, **files: Any) -> None:
    """Write a table as VCF, sites, TSV, bedGraph or bigWig.

    The VCF is the scored file with INFO fields added. The sites are the scored alleles as a sorted
    VCF without samples, with which other programs annotate VCFs. The bedGraph and the bigWig have
    the mean llr of the SNVs of each position. Next to a bigWig are a session of IGV and the stanza
    of a UCSC track hub.
    """
    load("steps.export").export(table, to=to, **files)


@main.command(
    cls=Command,
    group=STEPS,
    example="evo2-tasks index results/mitomap/mini-512/scores.vcf.gz",
)
@click.argument("vcf", type=PATH)
@output_option("--out", help="File to write: the name of the index. Or the .tbi or .csi itself.")
@log_option
def index(vcf: Path, out: Path | None) -> None:
    """Make the index of an exported VCF again, next to it (.tbi or .csi).

    A VCF whose records are not sorted has no index.
    """
    load("steps.index").index(vcf, out=out)


@main.command(
    cls=Command,
    group=STEPS,
    example="evo2-tasks evaluate --config config.yaml --variant-set mitomap \\\n"
    "  --table scores.parquet --out metrics.parquet --curves curves.parquet",
)
@step
@variant_set_option
@file_option("--table", required=True, help="Table from `merge`.")
@output_option("--out", required=True, help="File to write: the metrics.")
@output_option(
    "--curves", "curves_file", required=True, help="File to write: the points of the curves."
)
def evaluate(config: RunConfig, variant_set: str, **files: Any) -> None:
    """Measure how well the scores separate the labels of the variants."""
    settings = configs.evaluation.resolve_evaluate(config, variant_set, find_layers(config))
    load("steps.evaluate").evaluate(settings, **files)


@main.command(
    cls=Command,
    group=STEPS,
    example="evo2-tasks report --config config.yaml --variant-set mitomap \\\n"
    "  --results results/mitomap --out report.html",
)
@step
@variant_set_option
@folder_option("--results", required=True, help="Folder with the results of the variant set.")
@output_option("--out", required=True, help="File to write: the HTML page.")
def report(config: RunConfig, variant_set: str, **files: Any) -> None:
    """Write the HTML report of a variant set: settings, results, evaluation."""
    settings = configs.evaluation.resolve_report(config, variant_set, find_layers(config))
    load("steps.report").report(settings, **files)


@main.command(
    "split-sequences",
    cls=Command,
    group=STEPS,
    example="evo2-tasks split-sequences --config config.yaml --sequence-set genes \\\n"
    "  --out sequences",
)
@step
@sequence_set_option
@file_option(
    "--sequences", help="FASTA to read instead of that in the config; - is standard input."
)
@folder_option("--out", required=True, help="Folder to write: the shards.")
def split_sequences(config: RunConfig, sequence_set: str, **files: Any) -> None:
    """Read a FASTA, one row per sequence, and split it into shards."""
    settings = configs.sequences.resolve_split_sequences(config, sequence_set)
    load("steps.split_sequences").split_sequences(settings, **files)


@main.command(
    "score-sequence-set",
    cls=Command,
    group=STEPS,
    example="evo2-tasks score-sequence-set --config config.yaml --sequence-set genes \\\n"
    "  --scoring mini-512 --shard sequences/1-of-4.parquet --out sequence_scores/1-of-4.parquet",
)
@step
@sequence_set_option
@scoring_option
@file_option("--shard", required=True, help="Shard from `split-sequences`.")
@output_option("--out", required=True, help="File to write: the log-likelihoods of the shard.")
@threads_option
def score_sequence_set(config: RunConfig, sequence_set: str, scoring: str, **options: Any) -> None:
    """Compute the log-likelihoods of the sequences of a shard."""
    settings = configs.sequences.resolve_score_sequences(config, sequence_set, scoring)
    load("steps.score_sequence_set").score_sequence_set(settings, **options)


@main.command(
    "merge-sequences",
    cls=Command,
    group=STEPS,
    example="evo2-tasks merge-sequences --config config.yaml --sequence-set genes \\\n"
    "  --scoring mini-512 --split sequences/split.json --scores sequence_scores \\\n"
    "  --out sequences.parquet --run-json sequences.json",
)
@step
@sequence_set_option
@scoring_option
@file_option("--split", "split_file", required=True, help=f"The {SPLIT} from `split-sequences`.")
@folder_option(
    "--scores", "scores_folder", required=True, help="Folder with the tables of all shards."
)
@output_option("--out", required=True, help="File to write: the table.")
@output_option("--run-json", required=True, help="File to write: counts, times, devices, versions.")
def merge_sequences(config: RunConfig, sequence_set: str, scoring: str, **files: Any) -> None:
    """Combine the log-likelihoods of all shards into one table."""
    settings = configs.sequences.resolve_merge_sequences(config, sequence_set, scoring)
    load("steps.merge_sequences").merge_sequences(settings, **files)


@main.command(
    "embed-sequences",
    cls=Command,
    group=STEPS,
    example="evo2-tasks embed-sequences --config config.yaml --sequence-set genes \\\n"
    "  --scoring mini-512 --shard sequences/1-of-4.parquet \\\n"
    "  --out sequence_embeddings/1-of-4.parquet",
)
@step
@sequence_set_option
@scoring_option
@file_option("--shard", required=True, help="Shard from `split-sequences`.")
@output_option("--out", required=True, help="File to write: the embeddings of the shard.")
@threads_option
def embed_sequences(config: RunConfig, sequence_set: str, scoring: str, **options: Any) -> None:
    """Average the outputs of layers over each sequence of a shard."""
    settings = configs.sequences.resolve_embed_sequences(config, sequence_set, scoring)
    load("steps.embed_sequences").embed_sequences(settings, **options)


@main.command(
    "merge-sequence-embeddings",
    cls=Command,
    group=STEPS,
    example="evo2-tasks merge-sequence-embeddings --config config.yaml --sequence-set genes \\\n"
    "  --scoring mini-512 --layer blocks.10 --split sequences/split.json \\\n"
    "  --embeddings sequence_embeddings --out embeddings/blocks.10.parquet \\\n"
    "  --run-json embeddings/blocks.10.json",
)
@step
@sequence_set_option
@scoring_option
@click.option(
    "--layer", required=True, metavar="NAME", help="Published name of a layer of the scoring."
)
@file_option("--split", "split_file", required=True, help=f"The {SPLIT} from `split-sequences`.")
@folder_option(
    "--embeddings", "embeddings_folder", required=True, help="Folder with the files of all shards."
)
@output_option("--out", required=True, help="File to write: the embeddings of the layer.")
@output_option(
    "--run-json", required=True, help="File to write: counts, error of the data type, work."
)
def merge_sequence_embeddings(
    config: RunConfig, sequence_set: str, scoring: str, layer: str, **files: Any
) -> None:
    """Combine the embeddings of a layer of all shards of a sequence set into one table."""
    settings = configs.sequences.resolve_merge_sequence_embeddings(
        config, sequence_set, scoring, layer
    )
    load("steps.merge_sequence_embeddings").merge_sequence_embeddings(settings, **files)


@main.command(
    cls=Command,
    group=STEPS,
    example="evo2-tasks fetch arcinstitute/evo2_7b@bda0089f92582d5baabf0f22d9fc85f3588f6b58",
)
@click.argument("checkpoint", metavar="OWNER/NAME@COMMIT")
@output_option("--out", help="JSON file to write: the folder and the files of the model.")
@log_option
def fetch(checkpoint: str, out: Path | None) -> None:
    """Download a model from a hub, check and convert it, and keep it for all jobs.

    If COMMIT is the name of a branch or missing, the command only prints the commit to use.
    """
    load("steps.fetch").fetch(checkpoint, out=out)


@main.command(
    cls=Command, group=TABLES, example="evo2-tasks show results/mitomap/mini-512/scores.parquet"
)
@click.argument("table", type=PATH)
def show(table: Path) -> None:
    """Print provenance, counts by status, flag, consequence, quantiles, first rows and metrics.

    The calibrated columns next to the table are counted too. Other files of a run can be shown
    alone: metrics, a calibration, an audit, and all other tables with their columns and first rows.
    """
    for line in load("commands.show").show(table):
        print_line(line)


@main.command(
    cls=Command,
    group=TABLES,
    example="evo2-tasks query scores.parquet chr17:43,044,295-43,045,000\n"
    "evo2-tasks query scores.parquet --gene BRCA1 --consequence missense_variant",
)
@click.argument("table", type=PATH)
@click.argument("region", required=False)
@click.option(
    "--consequence",
    "consequences",
    metavar="TERM",
    multiple=True,
    help="Only rows with this most severe consequence; may be repeated.",
)
@click.option(
    "--gene",
    "genes",
    metavar="NAME",
    multiple=True,
    help="Only rows of the gene with this name or identifier; may be repeated.",
)
def query(
    table: Path, region: str | None, consequences: tuple[str, ...], genes: tuple[str, ...]
) -> None:
    """Print the rows of a region, a gene or a consequence as tab-separated text.

    REGION is 1-based and includes both ends, for example chr17:43,044,295-43,045,000. If HLA:1 is
    a contig and position 1 of the contig HLA too, write {HLA:1} or {HLA}:1. A row is printed if it
    is in the region, has one of the consequences and is of one of the genes; each of the three may
    be left out. The column consequence has the most severe consequence of an allele, and no other
    one is compared. The columns of the calibrated.parquet next to the table follow those of the
    table.
    """
    lines = load("commands.query").query(table, region, consequences=consequences, genes=genes)
    for line in lines:
        print_line(line)


@main.group(cls=CommandGroup)
def probe() -> None:
    """Look at a trained probe (`variant_sets.SET.probes` in the config)."""


@probe.command(
    "show",
    cls=Command,
    group=MODELS,
    example="evo2-tasks probe show results/mitomap/mini-2k/probes/locus/blocks.8",
)
@click.argument("folder", type=PATH)
def probe_show(folder: Path) -> None:
    """Print what a probe was trained on, its layer, its signature, and how well it predicts.

    FOLDER is the folder of the probe. Its metrics are cross-validated.
    """
    for line in load("commands.show_probes").show_probe(folder):
        print_line(line)


@main.group(cls=CommandGroup)
def store() -> None:
    """Keep scores in a store, in which later runs find them (`run.store` in the config)."""


store_option = folder_option("--store", required=True, help="Folder of the score store.")
fasta_option = file_option(
    "--fasta", help="FASTA of the reference. Default: the one that the run or the config names."
)
circular_option = click.option(
    "--circular-contigs",
    "circular_contigs",
    multiple=True,
    metavar="NAME",
    help="Circular contig of the FASTA; may be repeated. Default: those that the run or the config "
    "names.",
)


@store.command(
    "add",
    cls=Command,
    group=TABLES,
    example="evo2-tasks store add results/mitomap/mini-512/scores.parquet --store /data/scores",
)
@click.argument("tables", type=PATH, nargs=-1, required=True, metavar="TABLE...")
@store_option
@fasta_option
@circular_option
@json_option
@log_option
def store_add(tables: tuple[Path, ...], as_json: bool, **options: Any) -> None:
    """Put the scores of tables of earlier runs into a store.

    TABLE is a scores.parquet of this package. Its alleles are placed again on the reference of its
    run, which is compared with the one that the table states. A row that would get other windows
    than those of the table is not added, and is counted. Scores that the store has are not added
    again.
    """
    module = load("commands.store_add")
    done = []
    for added in module.add(tables, **options):
        done.append(added.as_json())
        if not as_json:
            for line in module.describe_added(added):
                print_line(line)
    if as_json:
        print_json({"tables": done})


@store.command(
    "stat", cls=Command, group=TABLES, example="evo2-tasks store stat --store /data/scores"
)
@store_option
@json_option
def store_stat(store: Path, as_json: bool) -> None:
    """Print what a store has: signatures, models, alleles, files, bytes, devices.

    The files are listed and their footers read, and no scores. A signature is the model and all
    settings that a score depends on. If an allele was scored several times, it has several rows
    until the store is compacted.
    """
    module = load("commands.store")
    found = module.stat(store)
    if as_json:
        print_json(found)
    else:
        for line in module.describe_stat(found):
            print_line(line)


@store.command(
    "lookup",
    cls=Command,
    group=TABLES,
    example="evo2-tasks store lookup MT:3243:A:G --store /data/scores --config config.yaml \\\n"
    "  --scoring mini-512\n"
    "evo2-tasks store lookup 'NC_012920.1:m.3243A>G' --store /data/scores --fasta rCRS.fa \\\n"
    "  --circular-contigs MT",
)
@click.argument("alleles", nargs=-1, required=True, metavar="ALLELE...")
@folder_option("--store", help="Folder of the score store. Default: `run.store` of the config.")
@click.option(
    "--signature", metavar="DIGITS", help="First digits of a signature, as `store stat` prints it."
)
@click.option(
    "--model",
    metavar="NAME",
    help="Only scores of the model with this name in the config; without a config, in the config "
    "of the run that stored them.",
)
@config_option()
@click.option(
    "--scoring",
    "scorings",
    metavar="NAME",
    multiple=True,
    help="Scoring of the config; may be repeated. Default: all scorings of the config.",
)
@fasta_option
@circular_option
@json_option
def store_lookup(
    alleles: tuple[str, ...],
    store: Path | None,
    config: RunConfig | None,
    scorings: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> None:
    """Print the stored scores of alleles, or what scoring them would take.

    ALLELE is chr17:43045712:A:G, chr17-43045712-A-G, SPDI, or HGVS of the genome. Without a
    config, all signatures of the store are looked up, or those that --signature or --model name.
    A score that is not in the store is not an error: the exit code is 0. It is 2 if an allele
    cannot be read or is not on the reference.
    """
    module = load("commands.store_lookup")
    settings = configs.resolve.resolve_stored(config, scorings, options["model"], options["fasta"])
    folder = module.choose_store(store, settings)
    answers = list(module.lookup(alleles, folder, settings, **options))
    if as_json:
        print_json({"alleles": answers})
    else:
        for line in load("commands.store_lookup_text").describe_answers(answers, folder, settings):
            print_line(line)
    module.require_spelled(answers)


@store.command(
    "compact", cls=Command, group=TABLES, example="evo2-tasks store compact --store /data/scores"
)
@store_option
@click.option(
    "--signature",
    metavar="DIGITS",
    help="First digits of the only signature to compact. Default: all signatures.",
)
@log_option
def store_compact(store: Path, signature: str | None) -> None:
    """Merge small files of a store, so that it has fewer files.

    Runs may read and write the store at the same time. Of several rows of an allele from one kind
    of device, one is kept.
    """
    module = load("commands.store")
    print_line(module.describe_compaction(store, module.compact(store, signature=signature)))


def model_options(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command on one checkpoint the options that a model has in a config."""
    options = [
        click.argument("checkpoint", type=PATH),
        click.option("--model", type=click.Choice(get_args(Release)), help=RELEASE_HELP),
        file_option("--config", help=MODEL_CONFIG_HELP),
    ]
    function = device_options(function)
    for option in reversed(options):
        function = option(function)
    return function


RELEASE_HELP: Final = "Name of the release, for a published .pt file."
MODEL_CONFIG_HELP: Final = "The .yml config of a .pt file that is not a published release."


def device_options(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of how a model runs."""
    options = [
        click.option(
            "--dtype",
            type=click.Choice(["bfloat16", "float32"]),
            help="Data type of the weights. Default: bfloat16 on a GPU, else float32.",
        ),
        click.option(
            "--fp8",
            type=click.Choice(get_args(Fp8Mode)),
            help="How the input projections are computed. Default: the mode of the checkpoint.",
        ),
        click.option(
            "--allow-without-fp8",
            is_flag=True,
            help="Allow fp8 off for a checkpoint that needs FP8 (scores are then near random).",
        ),
        click.option(
            "--gpus",
            type=click.IntRange(min=0),
            help="Number of GPUs; 0 for the CPU. Default: 0 for evo2-mini, else 1.",
        ),
        threads_option,
    ]
    for option in reversed(options):
        function = option(function)
    return function


def read_model(command: str, options: dict[str, Any]) -> ModelSettings:
    """The model of a command's options."""
    return configs.resolve.resolve_model(command, command, configs.schema.ModelConfig(**options))


@main.command(
    cls=Command,
    group=RUNS,
    example="evo2-tasks run calls.vcf.gz --fasta GRCh38.fa --checkpoint /models/evo2_7b \\\n"
    "  --out scores.parquet --exports vcf\n"
    "evo2-tasks run mitomap.vcf.gz --fasta rCRS.fa --circular-contigs MT --window-length 1024",
)
@click.argument("variants", type=PATH)
@file_option("--fasta", required=True, help="FASTA of the reference, plain or bgzipped.")
@output_option(
    "--out",
    default=Path(TABLE),
    show_default=True,
    help="File to write: one row for each allele, .parquet. The config, the results folder and "
    "exports have the same name with other endings.",
)
@click.option(
    "--checkpoint",
    type=PATH,
    metavar="CHECKPOINT",
    help="The model, as `checkpoint` names it in a config: a folder, a published .pt file, a model "
    f"on a hub, or {SMALL_MODEL}. Default: {SMALL_MODEL}, which is for mitochondria.",
)
@click.option("--release", type=click.Choice(get_args(Release)), help=RELEASE_HELP)
@file_option("--model-config", help=MODEL_CONFIG_HELP)
@click.option(
    "--window-length",
    type=int,
    default=WINDOW_LENGTH,
    show_default=True,
    help="Number of reference bases around an allele that the model reads.",
)
@click.option(
    "--window-placement",
    type=click.Choice(["centered", "tiled"]),
    help="Each allele in the middle of its own window, or windows that alleles share. Default: "
    "centered.",
)
@click.option(
    "--strands",
    type=click.Choice(["both", "forward", "reverse"]),
    help="Strands that the model reads. The score is their mean. Default: both.",
)
@click.option(
    "--horizon",
    type=int,
    help="Number of tokens to score from the first difference on. Default: all up to the end of "
    "the window.",
)
@click.option(
    "--max-n-share",
    type=float,
    help="Largest share of letters other than A, C, G, T in a window that is scored. Default: 0.5.",
)
@click.option(
    "--circular-contigs", multiple=True, metavar="NAME", help="Circular contig; may be repeated."
)
@click.option(
    "--contig-aliases",
    multiple=True,
    type=(str, str),
    metavar="NAME CONTIG",
    help="Name of a contig in the variants, and its name in the FASTA; may be repeated. Names with "
    "and without chr need none.",
)
@file_option(
    "--assembly-report", help="NCBI's assembly report, whose names of the contigs may be used."
)
@click.option(
    "--columns",
    multiple=True,
    type=(click.Choice(["contig", "pos", "ref", "alt", "hgvs"]), str),
    metavar="KEY COLUMN",
    help="Column of a table of variants that is contig, pos, ref, alt or hgvs; may be repeated. "
    "Usual names need none.",
)
@click.option(
    "--max-ref-mismatch-share",
    type=float,
    help="Share of alleles with another REF than the FASTA above which the run ends. Default: 0.5.",
)
@file_option("--gff", help="GFF3 of the genes. The table then has genes and consequences.")
@click.option(
    "--genetic-codes",
    multiple=True,
    type=(str, int),
    metavar="CONTIG NUMBER",
    help="NCBI's translation table of a contig, for example MT 2; may be repeated.",
)
@click.option(
    "--consequence-from",
    type=click.Choice(get_args(ConsequenceField)),
    help="INFO field of the variants from which to read genes and consequences.",
)
@click.option(
    "--carry", multiple=True, metavar="NAME", help="Field or column to copy; may be repeated."
)
@click.option(
    "--regions",
    multiple=True,
    metavar="REGION",
    help="Region to read by the index of the variants, chr1:1000-2000 for example; may be "
    "repeated.",
)
@click.option("--pass-only", is_flag=True, help="Score only records whose FILTER is PASS.")
@click.option(
    "--saturate",
    multiple=True,
    type=click.Choice(["snv", "deletion", "insertion", "codon"]),
    help="Changes to make at every position of a BED, which VARIANTS is then; may be repeated.",
)
@click.option(
    "--exports",
    multiple=True,
    type=click.Choice([*EXPORTS]),
    help="Other format to write next to the table; may be repeated.",
)
@click.option("--report", "has_report", is_flag=True, help="Write the HTML report too.")
@click.option(
    "--batch-tokens", type=int, help="Number of tokens that go through the model at once."
)
@device_options
@log_option
def run(
    variants: Path,
    fasta: Path,
    checkpoint: Path | None,
    out: Path,
    exports: tuple[str, ...],
    has_report: bool,
    threads: int | None,
    genetic_codes: tuple[tuple[str, int], ...],
    contig_aliases: tuple[tuple[str, str], ...],
    columns: tuple[tuple[str, str], ...],
    pass_only: bool,
    **settings: Any,
) -> None:
    """Score a file of variants on this machine, without a config file.

    VARIANTS is any file of variants that a config accepts; - reads it from standard input. The
    command writes the table, a config, and a folder of results, from which the same command
    continues after a stop, and `snakemake --configfile` on a cluster.
    """
    if checkpoint is None:
        logger.warning(
            "--checkpoint: not given, so %s is used, which was trained mainly on mitochondria of "
            "animals. For other genomes name a published model.",
            SMALL_MODEL,
        )
    module = load("commands.run")
    settings |= {
        "genetic_codes": dict(genetic_codes),
        "contig_aliases": dict(contig_aliases),
        "columns": dict(columns),
        "filters": {"pass_only": True} if pass_only else {},
    }
    done = module.run(
        variants,
        fasta=fasta,
        checkpoint=checkpoint or Path(SMALL_MODEL),
        out=out,
        # Options that are not given: None, no entry of several, and a flag that is off.
        settings={
            name: one for name, one in settings.items() if one or (one == 0 and one is not False)
        },
        exports=exports,
        has_report=has_report,
        threads=threads,
    )
    for line in module.describe_finished(done):
        print_line(line)


@main.command(
    "score-sequences",
    cls=Command,
    group=RUNS,
    example="evo2-tasks score-sequences genes.fa --model evo2-mini --out genes.parquet\n"
    "evo2-tasks score-sequences plasmids.fa.gz --model /models/evo2_7b --circular --per-base \\\n"
    "  --out plasmids.parquet",
)
@click.argument("sequences", type=PATH, metavar="FASTA")
@click.option(
    "--model",
    "checkpoint",
    type=PATH,
    required=True,
    metavar="CHECKPOINT",
    help="The model, as `checkpoint` names it in a config: a folder, a published .pt file, or "
    "evo2-mini.",
)
@click.option("--release", type=click.Choice(get_args(Release)), help=RELEASE_HELP)
@file_option("--model-config", help=MODEL_CONFIG_HELP)
@output_option("--out", required=True, help="File to write: one row for each sequence, .parquet.")
@click.option(
    "--strands",
    type=click.Choice(["both", "forward", "reverse"]),
    default="both",
    show_default=True,
    help="Strands that the model reads. The values are their mean.",
)
@click.option(
    "--circular",
    is_flag=True,
    help="The sequences are circular: predict the first bases from the last ones.",
)
@click.option(
    "--min-context",
    type=click.IntRange(min=0),
    default=CIRCULAR_MIN_CONTEXT,
    show_default=True,
    help="With --circular: bases before the first one that the model reads.",
)
@click.option("--per-base", is_flag=True, help="Write the log-probability of each base too.")
@click.option(
    "--prepend-bos",
    is_flag=True,
    help="Begin with a BOS token, so that the first base is predicted.",
)
@click.option(
    "--max-length",
    type=click.IntRange(1, 2**31 - 1),
    default=MAX_SEQUENCE_LENGTH,
    show_default=True,
    help="Longest sequence that is scored, in bases.",
)
@click.option(
    "--max-n-share",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Largest share of letters other than A, C, G, T in a sequence that is scored.",
)
@click.option(
    "--batch-tokens",
    type=click.IntRange(min=1),
    default=BATCH_TOKENS,
    show_default=True,
    help="Number of tokens that go through the model at once.",
)
@click.option(
    "--kv-cache",
    type=click.Choice(["device", "offload"]),
    default="device",
    show_default=True,
    help="Where the keys and values of attention of a long sequence are kept.",
)
@device_options
@log_option
def score_sequences(
    sequences: Path,
    release: Release | None,
    model_config: Path | None,
    out: Path,
    batch_tokens: int,
    kv_cache: Any,
    threads: int | None,
    **options: Any,
) -> None:
    """Compute the log-likelihood of each sequence of a FASTA.

    FASTA may be plain, gzipped or bgzipped; - reads it from standard input. The table has a row for
    each record. Sequences are read whole, from the first base to the last one. A run that was
    stopped continues if the same command is run again.
    """
    module = load("commands.score_sequences")
    names = ("checkpoint", "dtype", "fp8", "allow_without_fp8", "gpus")
    model = {name: options.pop(name) for name in names}
    module.score_sequences(
        sequences,
        configs.resolve.resolve_model(
            "score-sequences",
            str(model["checkpoint"]),
            configs.schema.ModelConfig(model=release, config=model_config, **model),
        ),
        module.SequenceOptions(**options),
        configs.schema.RunSettings(batch_tokens=batch_tokens, kv_cache=kv_cache),
        out=out,
        threads=threads,
    )


@main.command(
    cls=Command,
    group=RUNS,
    example="evo2-tasks generate --model evo2-mini --prompt-fasta prompts.fa --length 1000 \\\n"
    "  --num-sequences 4 --seed 1 --out sequences.fa\n"
    "evo2-tasks generate --model evo2-mini --reference rCRS.fa --region MT:1-500 --length 512 \\\n"
    "  --beam-width 2 --samples-per-beam 4 --scorer gc_content:target=0.4 \\\n"
    "  --out sequences.fa --html report.html",
)
@click.option(
    "--model",
    "checkpoint",
    type=PATH,
    required=True,
    metavar="CHECKPOINT",
    help="The model, as `checkpoint` names it in a config: a folder, a published .pt file, or "
    "evo2-mini.",
)
@click.option("--release", type=click.Choice(get_args(Release)), help=RELEASE_HELP)
@file_option("--model-config", help=MODEL_CONFIG_HELP)
@file_option("--prompt-fasta", help="FASTA of the prompts; - is standard input.")
@click.option("--prompt", metavar="BASES", help="Bases of a single prompt.")
@file_option("--reference", help="FASTA of the genome of --region or --bed.")
@click.option("--region", help="The prompt as a region of the reference, such as MT:1-500.")
@file_option("--bed", help="The prompts as regions of the reference: BED or interval list.")
@click.option("--tag", help="Phylogenetic tag before each prompt, or alone: '|D__...|'.")
@click.option(
    "--max-prompt-length",
    type=click.IntRange(1, 2**31 - 1),
    default=MAX_SEQUENCE_LENGTH,
    show_default=True,
    help="Longest prompt that is continued, in letters, with its tag.",
)
@click.option(
    "--length",
    type=click.IntRange(1, 2**31 - 1),
    required=True,
    help="Number of bases to generate, without the prompt.",
)
@click.option(
    "--num-sequences",
    type=click.IntRange(1, 1_000_000),
    default=1,
    show_default=True,
    help="Number of sequences for each prompt.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    default=0,
    show_default=True,
    help="The same seed gives the same sequences again on the same kind of device.",
)
@click.option(
    "--temperature",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    help="Below 1 likely bases are drawn more often; 0 always takes the likeliest one.",
)
@click.option("--top-k", type=click.IntRange(min=1), help="Draw among this many likeliest bases.")
@click.option(
    "--top-p",
    type=click.FloatRange(0, 1, min_open=True),
    help="Draw among the fewest likeliest bases with this probability.",
)
@click.option(
    "--chunk-length",
    type=click.IntRange(min=1),
    default=128,
    show_default=True,
    help="Bases that each step of the search adds.",
)
@click.option(
    "--beam-width",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Candidates that a step keeps, for each sequence.",
)
@click.option(
    "--samples-per-beam",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Candidates that a step draws for each kept one.",
)
@click.option(
    "--scorer",
    "scorers",
    multiple=True,
    metavar="KIND:KEY=VALUE,...",
    help="What guides the search, such as gc_content:target=0.4. May be given several times.",
)
@file_option("--scorers", "scorers_file", help="YAML with a list of scorers, as in a config.")
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    help="Most candidates that go through the model together.",
)
@click.option(
    "--batch-tokens",
    type=click.IntRange(min=1),
    default=BATCH_TOKENS,
    show_default=True,
    help="Number of tokens that go through the model of a scorer at once.",
)
@file_option(
    "--compare-with",
    help="FASTA to look for copies in. Default: the reference of the prompts.",
)
@click.option(
    "--circular-contig",
    "circular_contigs",
    multiple=True,
    metavar="NAME",
    help="Circular contig of these FASTA files. May be given several times.",
)
@click.option(
    "--genetic-code",
    type=int,
    default=1,
    show_default=True,
    help="NCBI's translation table of the open reading frames.",
)
@output_option("--out", required=True, help="FASTA to write. Tables are written next to it.")
@output_option("--html", help="HTML page to write: composition, copies, scores, the search.")
@device_options
@log_option
def generate(
    release: Release | None,
    model_config: Path | None,
    prompt_fasta: Path | None,
    prompt: str | None,
    region: str | None,
    bed: Path | None,
    tag: str | None,
    max_prompt_length: int,
    out: Path,
    html: Path | None,
    threads: int | None,
    **options: Any,
) -> None:
    """Generate DNA sequences that continue prompts.

    Next to the FASTA, a .parquet file has a row for each sequence, a .steps.parquet file every
    candidate of every step, and a .json file what they were made with. A run that was stopped
    continues if the same command is run again.
    """
    of_model = ("checkpoint", "dtype", "fp8", "allow_without_fp8", "gpus")
    model = {name: options.pop(name) for name in of_model}
    of_files = (
        "reference", "compare_with", "circular_contigs", "scorers", "scorers_file", "batch_tokens",
    )  # fmt: skip
    files = {name: options.pop(name) for name in of_files}
    settings = configs.generation_options.make_settings(
        name="".join(one if one.isascii() and one.isalnum() else "_" for one in out.stem).strip("_")
        or "sequence",
        model={**model, "model": release, "config": model_config},
        prompts={
            "fasta": prompt_fasta,
            "text": prompt,
            "region": region,
            "bed": bed,
            "tag": tag,
            "max_length": max_prompt_length,
        },
        search=options,
        **files,
    )
    load("commands.generate").generate(settings, out=out, html=html, threads=threads)


@main.command(
    cls=Command,
    group=MODELS,
    example="evo2-tasks verify /models/evo2_7b.pt\nevo2-tasks verify evo2-mini --gpus 0 --short",
)
@model_options
@file_option("--expected", help="File of values to compare with. Default: the published values.")
@output_option(
    "--write-expected",
    "out",
    help="Write the values of this model to a file, for later comparisons.",
)
@click.option(
    "--short", is_flag=True, help="Run only checks that take seconds, and no checksums of files."
)
@json_option
def verify(
    expected: Path | None,
    out: Path | None,
    short: bool,
    as_json: bool,
    threads: int | None,
    **model: Any,
) -> None:
    """Check that a checkpoint gives the published (or given) values on this device.

    The exit code is 0 if all values are within one of two bands of allowed differences. It is 2
    if a value is outside both bands, or if there are no values to compare with.
    """
    module = load("commands.verify")
    settings = read_model("verify", model)
    if out is not None:
        if expected is not None:
            raise InputError("verify: give --expected or --write-expected, not both.")
        module.write_expected(settings, out=out, short=short, threads=threads)
        return
    found = module.verify(settings, expected_file=expected, short=short, threads=threads)
    if as_json:
        print_json(found)
    else:
        for line in module.describe_verification(found):
            print_line(line)
    module.require_verified(found)


@main.command(
    cls=Command,
    group=MODELS,
    example="evo2-tasks doctor /models/evo2_7b.pt --out doctor.json",
)
@model_options
@output_option("--out", required=True, help="JSON file to write.")
@click.option("--quick", is_flag=True, help="Run short windows and no slow FP8 mode; for a CPU.")
def doctor(out: Path, quick: bool, threads: int | None, **model: Any) -> None:
    """Write a report on how a model runs on this device, to send to somebody without such a device.

    The report has versions, the device, the values of `verify` in every FP8 mode, rates, memory,
    and the rounding of FP8 matrix multiplications. A model of random weights checks the device
    itself. The report has no paths, and no names of machines or users.
    """
    load("commands.doctor").doctor(
        read_model("doctor", model), out=out, quick=quick, threads=threads
    )


@main.command(
    cls=Command,
    group=MODELS,
    example="evo2-tasks measure --config config.yaml --scoring mini-512 --out rates.json",
)
@step
@scoring_option
@output_option(
    "--out", required=True, help="File of rates to add to. Rates that it already has are kept."
)
@threads_option
@click.option(
    "--seconds", type=float, default=20.0, show_default=True, help="Time to measure, in seconds."
)
def measure(config: RunConfig, scoring: str, **options: Any) -> None:
    """Measure how many tokens per second this device runs, for `plan --rates`."""
    load("commands.measure").measure(configs.resolve.resolve_score(config, scoring), **options)


@main.command(
    cls=Command,
    group=MODELS,
    example="evo2-tasks convert /models/evo2_7b.pt /models/evo2_7b\n"
    "evo2-tasks convert /models/evo2_7b copy.pt\nevo2-tasks convert evo2-mini mini.pt",
)
@click.argument("source", type=PATH)
@click.argument("out", type=PATH)
@click.option("--model", help="Name of the release of a published .pt file, for example evo2_7b.")
@file_option(
    "--config",
    help="The .yml config of a .pt file that is not a published release. Default: the .yml of the "
    "same name next to it, as this command writes it.",
)
@log_option
def convert(source: Path, out: Path, **options: Any) -> None:
    """Convert a published checkpoint to a folder for `from_pretrained`, or a folder back.

    Either SOURCE is a published .pt file (or its .part0) and OUT is a folder, or SOURCE is such a
    folder, or evo2-mini, and the name of OUT ends in .pt.
    """
    load("commands.convert").convert(source, out, **options)
