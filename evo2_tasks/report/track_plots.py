"""Lines of tracks: entropy and log-probability of the reference along a region."""

from __future__ import annotations

from typing import Final

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from evo2_tasks.report.style import BLUE, MUTED, VERMILION, Plot, make_layout, rounded
from evo2_tasks.report.track_summaries import BinnedMeans
from evo2_tasks.report.words import count, decimal

_HEIGHT: Final = 300
_PANELS: Final = (("entropy", "bits", BLUE), ("logp_ref", "nats", VERMILION))


def plot_lines(plot_id: str, title: str, bins: BinnedMeans) -> Plot:
    """Plot the mean entropy and ``logp_ref`` of each bin of a region, one above the other.

    Args:
        plot_id: Id of the plot.
        title: Title of the plot.
        bins: The means.
    """
    layout = make_layout(_HEIGHT, x="position", y="", showlegend=False)
    figure = go.Figure(layout=layout)
    middles = bins.middles()
    axis = layout.yaxis.to_plotly_json()
    figure.layout.xaxis.update(
        anchor="y2", zeroline=False, tickformat="~s" if bins.end > 99_999 else ",d", nticks=8
    )
    words = []
    for number, (name, unit, color) in enumerate(_PANELS):
        means = bins.means(name)
        suffix = "" if number == 0 else "2"
        figure.add_scatter(
            x=rounded_positions(middles), y=rounded(means), name=name, yaxis=f"y{suffix}",
            mode="lines+markers" if _has_lonely(means) else "lines", connectgaps=False,
            line={"color": color, "width": 1.2}, marker={"color": color, "size": 3},
            hovertemplate=f"%{{x:,}}<br>{name} %{{y}} {unit}<extra></extra>",
        )  # fmt: skip
        figure.layout[f"yaxis{suffix}"] = axis | {
            "domain": [0.55, 1.0] if number == 0 else [0.0, 0.45], "zeroline": False,
            "title": {"text": f"{name}, {unit}", "font": {"color": MUTED, "size": 12},
                      "standoff": 8},
        }  # fmt: skip
        known = means[~np.isnan(means)]
        if len(known):
            low, high = decimal(float(known.min())), decimal(float(known.max()))
            words.append(f"{name} from {low} to {high} {unit}")
    caption = (
        f"Positions {count(bins.start + 1)} to {count(bins.end)}, "
        + ("base by base" if bins.width == 1 else f"means of {count(bins.width)} positions")
        + f": {' and '.join(words) or 'no base has values'}."
    )
    return Plot(plot_id, title, caption, figure, _HEIGHT, is_wide=True)


def rounded_positions(positions: NDArray[np.float64]) -> list[float]:
    """Positions, which ``rounded`` would make equal to their neighbours."""
    return [float(one) for one in positions]


def _has_lonely(means: NDArray[np.float64]) -> bool:
    """Whether a value has no neighbour, so that no line goes to it."""
    known = np.pad(~np.isnan(means), 1)
    return bool((known[1:-1] & ~known[:-2] & ~known[2:]).any())
