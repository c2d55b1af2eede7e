"""How well the scores of a table separate its labels, as lines of text."""

from collections.abc import Collection, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from evo2_tasks.errors import InputError
from evo2_tasks.evaluation.estimates import (
    Estimate,
    count_coverage,
    estimate,
    estimate_by_group,
    number_groups,
)
from evo2_tasks.evaluation.metrics import AUROC
from evo2_tasks.table.files import open_table, read_rows


def describe_labels(
    source: Path,
    *,
    label: str,
    positive: Collection[str],
    negative: Collection[str],
    group: str | None,
) -> Iterator[str]:
    """AUROC of ``-llr`` with its interval: of all labelled rows, within groups, in each group.

    Intervals are of 95 %, from draws of positions, since alleles of one position are not
    independent.

    Args:
        source: A scores table.
        label: The column of labels, carried from the input.
        positive: Values of it that count as positive: those that should score below the others.
        negative: Values that count as negative; rows with any other value are left out.
        group: A column whose groups are to be seen alone, locus or consequence say.

    Yields:
        Lines of text.

    Raises:
        InputError: A column is missing, or no row has a label.
    """
    columns = ["contig", "pos", "status", "llr", label, *([group] if group else [])]
    with open_table(source, columns) as file:
        schema = file.schema_arrow
    table = pa.Table.from_batches(
        list(read_rows(source, columns)), pa.schema([schema.field(name) for name in columns])
    )
    table = table.set_column(4, label, table[label].cast(pa.string()))
    table = table.filter(pc.is_in(table[label], pa.array([*positive, *negative], pa.string())))
    if not table.num_rows:
        raise InputError(
            f"{source}: no row has {', '.join([*positive, *negative])} in {label}; give the values "
            "as they stand in the table."
        )
    is_positive = pc.is_in(table[label], pa.array([*positive], pa.string())).to_numpy()
    scores = -table["llr"].to_numpy()
    positions = number_groups(table["contig"].cast(pa.string()).to_numpy(), table["pos"].to_numpy())
    yield f"AUROC of -llr, {label}: {shown(estimate(AUROC, is_positive, scores, groups=positions))}"
    status = table["status"].cast(pa.string()).to_numpy()
    coverage = count_coverage(is_positive, scores, status)
    for name, num in coverage.unscored_by_status.items():
        yield f"  without a score, {name}: {num:,}"
    if group is None:
        return
    names = table[group].cast(pa.string()).fill_null(".").to_numpy()
    within = estimate(AUROC, is_positive, scores, groups=positions, strata=names)
    yield f"  within {group}, pooled: {shown(within)}"
    by_group = estimate_by_group(AUROC, is_positive, scores, groups=positions, strata=names)
    for name, figure in by_group.items():
        yield f"  {group} {name}: {shown(figure)}"


def shown(figure: Estimate) -> str:
    """A figure with its interval and what it rests on, or why there is none."""
    counts = f"{figure.num_positive:,} against {figure.num_negative:,}"
    if figure.value is None:
        return f"none, {counts}: {figure.reason}"
    if figure.low is None or figure.high is None:
        return f"{figure.value:.3f}, {counts}: {figure.reason}"
    return f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}], {counts}"
