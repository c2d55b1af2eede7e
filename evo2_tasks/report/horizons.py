"""The page of the command ``horizon``: error, ranking and cost of each window and horizon."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import plotly.graph_objects as go
from markupsafe import Markup

from evo2_tasks.io.files import replace_atomically, writing
from evo2_tasks.report.page import PLOTLY, POLICY, inline_script, read_file, script_source
from evo2_tasks.report.style import SERIES, Plot, make_layout, rounded
from evo2_tasks.report.words import printable, script_json

HEIGHT: Final = 340
TO_ONE: Final = {"maxallowed": 1.02}  # otherwise values that are all 1 get an axis from 0 to 2
PLOTS: Final[tuple[tuple[str, str, str, dict[str, Any]], ...]] = (
    ("spearman", "Ranking", "Spearman with the full llr", TO_ONE),
    ("rms", "Error", "rms difference of llr, nats", {"type": "log"}),
    ("auroc", "Separation of labels", "AUROC of -llr", TO_ONE),
    ("cost", "Cost", "windows for each allele and strand", {"type": "log"}),
)
COLUMNS: Final = (
    *("window_length", "horizon", "cost", "alleles", "rms", "p99", "largest"),
    *("spearman", "auroc"),
)
MEANINGS: Final = (
    "The full llr is that of the longest windows without a horizon. cost: tokens to run for each "
    "allele and strand, in windows of the longest length. rms, p99 and largest: root mean square, "
    "99th percentile and maximum of the differences from the full llr, in nats. spearman: rank "
    "correlation with the full llr. auroc: AUROC of -llr for the labels."
)
DRAW: Final = (
    "for (const plot of JSON.parse(document.getElementById('plots').textContent))"
    " Plotly.newPlot(plot.id, plot.data, plot.layout, {responsive: true, displaylogo: false});"
)
STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem;"
    "color:#1d2126;background:#fff}"
    ".plots{display:grid;gap:1rem;"
    "grid-template-columns:repeat(auto-fit,minmax(min(26rem,100%),1fr))}"
    "figure{margin:0;min-width:0}figcaption{font-size:13px;color:#5a626c}"
    ".table{overflow-x:auto}table{border-collapse:collapse}"
    "td,th{padding:.15rem .7rem;text-align:right}"
    "tr.suggested{font-weight:600;background:#e3eef6}code{background:#f4f2ee;padding:.1rem .3rem}"
)


def write_page(result: Mapping[str, Any], out: Path) -> None:
    """Write the page, which needs no other file and no network.

    Args:
        result: The fields of `evo2_tasks.commands.horizon.Horizons`, and ``rule``: what the
            suggested row has to keep.
        out: The HTML file.

    Raises:
        InputError: The file cannot be written.
    """
    with replace_atomically(out) as temporary, writing(out):
        temporary.write_text(render_page(result), encoding="utf-8", newline="\n")


def render_page(result: Mapping[str, Any]) -> str:
    """The page as HTML."""
    rows = result["rows"]
    plots = [
        plot_column(number, rows, *one)
        for number, one in enumerate(PLOTS)
        if any(row[one[0]] is not None for row in rows)
    ]
    scripts = [inline_script(read_file(PLOTLY)), inline_script(DRAW)]
    policy = POLICY.format(scripts=" ".join(map(script_source, scripts)))
    title = f"Windows and horizons: {printable(result['variant_set'])}, "
    title += printable(result["scoring"])
    figures = Markup("").join(
        Markup(
            '<figure><h2>{}</h2><div id="{}" role="img" aria-label="{}"></div>'
            "<figcaption>{}</figcaption></figure>"
        ).format(plot.title, plot.name, plot.caption, plot.caption)
        for plot in plots
    )
    page = Markup(
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width"><title>{title}</title>'
        "<style>{style}</style></head><body><h1>{title}</h1><p>{sample}</p>"
        "<p>Cheapest window and horizon with {rule}: <code>{line}</code></p>"
        '<div class="plots">{figures}</div><h2>All windows and horizons</h2><p>{meanings}</p>'
        '<div class="table" tabindex="0" role="region" aria-label="Table">{table}</div>'
        '<script type="application/json" id="plots">{data}</script>'
        "<script>{plotly}</script><script>{draw}</script></body></html>\n"
    ).format(
        policy=policy,
        title=title,
        style=STYLE,
        sample=describe_sample(result),
        rule=result["rule"],
        line=result["line"],
        meanings=MEANINGS,
        figures=figures,
        table=tabulate(rows),
        data=script_json([plot.content() for plot in plots]),
        plotly=scripts[0],
        draw=scripts[1],
    )
    return str(page)


def describe_sample(result: Mapping[str, Any]) -> str:
    """Which alleles were scored, in a sentence."""
    kinds = ", ".join(f"{number:,} {kind}" for kind, number in result["sample"].items())
    labels = ", ".join(f"{number:,} {label}" for label, number in result["labels"].items())
    sentence = f"Alleles that were scored: {kinds}."
    return f"{sentence} Of these, with a label: {labels}." if labels else sentence


def plot_column(
    number: int, rows: Sequence[Mapping[str, Any]], name: str, title: str, y: str, axis: Any
) -> Plot:
    """A column of the table against the horizon, one line for each window length."""
    layout = make_layout(HEIGHT, x="horizon, tokens", y=y)
    horizons = sorted({row["horizon"] for row in rows if row["horizon"]})
    layout.xaxis.update(type="log", tickvals=horizons, ticktext=[f"{one:,}" for one in horizons])
    layout.yaxis.update(axis)
    if layout.yaxis.type == "log":
        ticks = choose_log_ticks([row[name] for row in rows if row["horizon"]])
        layout.yaxis.update(tickvals=ticks, ticktext=[f"{tick:,g}" for tick in ticks])
    figure = go.Figure(layout=layout)
    lengths = list(dict.fromkeys(row["window_length"] for row in rows))
    for series, length in zip(SERIES, lengths[: len(SERIES)], strict=False):
        some = [row for row in rows if row["window_length"] == length and row["horizon"]]
        figure.add_scatter(
            x=[row["horizon"] for row in some],
            y=rounded([math.nan if row[name] is None else row[name] for row in some]),
            mode="lines+markers",
            name=f"window {length:,}",
            line=series.line(),
            marker=series.marker(7),
        )
    caption = f"{title}: {y}, against the horizon, for windows of {', '.join(map(str, lengths))}."
    return Plot(f"figure-{number + 1}", title, caption, figure, HEIGHT)


def choose_log_ticks(values: Sequence[float | None]) -> list[float]:
    """Ticks of a logarithmic axis, each with its whole number: 1, 2 and 5 of each power of ten.

    Args:
        values: What the axis shows. None, NaN and what is not above 0 have no place on it.

    Returns:
        The ticks from the last one below the values to the first one above them.
    """
    shown = [value for value in values if value is not None and value > 0 and math.isfinite(value)]
    if not shown:
        return []
    lowest, highest = (math.floor(math.log10(one)) for one in (min(shown), max(shown)))
    ticks = [
        float(f"{digit}e{power}") for power in range(lowest, highest + 2) for digit in (1, 2, 5)
    ]
    first = max((tick for tick in ticks if tick <= min(shown)), default=ticks[0])
    last = min((tick for tick in ticks if tick >= max(shown)), default=ticks[-1])
    return [tick for tick in ticks if first <= tick <= last]


def tabulate(rows: Sequence[Mapping[str, Any]]) -> Markup:
    """The table of all rows."""

    def cell(row: Mapping[str, Any], name: str) -> str:
        value = row[name]
        if value is None:
            return "none" if name == "horizon" else "-"
        return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"

    heads = Markup("").join(Markup("<th>{}</th>").format(name) for name in COLUMNS)
    lines = [
        Markup('<tr class="{}">{}</tr>').format(
            "suggested" if row["is_suggested"] else "",
            Markup("").join(Markup("<td>{}</td>").format(cell(row, name)) for name in COLUMNS),
        )
        for row in rows
    ]
    return Markup("<table><tr>{}</tr>{}</table>").format(heads, Markup("").join(lines))
