"""Plots of haplotypes: scores alone and beside others, changes by the number of neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import plotly.graph_objects as go

from evo2_tasks.io.words import counted
from evo2_tasks.report.haplotypes import neighbour_range
from evo2_tasks.report.style import BLUE, MUTED, Plot, make_layout, rounded
from evo2_tasks.report.words import decimal
from evo2_tasks.table.statistics import Distribution

HEIGHT: Final = 360
QUANTILES: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
_MEDIAN: Final = 2


def plot_by_neighbours(plot_id: str, title: str, changes: Mapping[int, Distribution]) -> Plot:
    """Plot quantiles of the change of the score by the number of neighbours.

    Args:
        plot_id: Id of the plot.
        title: Title of the plot.
        changes: ``llr_background - llr_alone``, nats, by the key of ``Changes.by_neighbours``.
    """
    layout = make_layout(
        HEIGHT, x="neighbours in the window", y="llr_background - llr_alone, nats",
        showlegend=False,
    )  # fmt: skip
    places = list(range(len(changes)))
    names = [neighbour_range(power) for power in changes]
    layout.xaxis.update(
        tickvals=places, ticktext=names, range=[-0.5, len(places) - 0.5], zeroline=False
    )
    figure = go.Figure(layout=layout)
    quantiles = np.array([[one.quantile(share) for share in QUANTILES] for one in changes.values()])
    texts = [
        f"{name} neighbour{'' if name == '1' else 's'}<br>{counted(one.count, 'row')}<br>"
        f"median {decimal(values[_MEDIAN])}<br>quartiles {decimal(values[1])} and "
        f"{decimal(values[3])}<br>5 % and 95 % {decimal(values[0])} and {decimal(values[4])}<br>"
        f"lowest {decimal(one.minimum)}, highest {decimal(one.maximum)}"
        for name, one, values in zip(names, changes.values(), quantiles.tolist(), strict=True)
    ]
    median = quantiles[:, _MEDIAN]
    for low, high, width in ((0, 4, 1.5), (1, 3, 6)):
        figure.add_scatter(
            x=places, y=rounded(median), mode="markers", marker={"color": BLUE, "size": 1},
            hoverinfo="skip",
            error_y={
                "type": "data", "symmetric": False, "color": BLUE, "thickness": width, "width": 0,
                "array": rounded(quantiles[:, high] - median),
                "arrayminus": rounded(median - quantiles[:, low]),
            },
        )  # fmt: skip
    figure.add_scatter(
        x=places, y=rounded(median), mode="markers", hovertext=texts, hoverinfo="text",
        marker={
            "color": BLUE, "symbol": "diamond", "size": 11, "line": {"color": MUTED, "width": 1},
        },
    )  # fmt: skip
    medians = "; ".join(
        f"{name}: {decimal(value)} ({counted(one.count, 'row')})"
        for name, value, one in zip(names, median.tolist(), changes.values(), strict=True)
    )
    caption = (
        "Change of the score by the number of other alleles in the window: median (diamond), "
        f"quartiles (thick line), 5 % and 95 % (thin line). Medians in nats: {medians}."
    )
    if not all(one.is_exact for one in changes.values()):
        caption += " Quantiles of more than 100,000 rows are accurate to 0.2 %."
    return Plot(plot_id, title, caption, figure, HEIGHT)
