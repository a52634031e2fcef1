"""The colours of figures, which are seen on white paper and on a dark page.

A dark page inverts its figures and turns their hues back, so white becomes black. Whatever carries a value, a
line, a dot or the edge of a band, stands out by 3 to 1 at least on both (WCAG 2.2, 1.4.11). Of matplotlib's
own colours orange, pink, cyan and olive do not.
"""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from numpy.typing import ArrayLike

AMBER, TEAL, MAGENTA, OLIVE = "#b85c00", "#0b7285", "#c2439c", "#7a7a10"

COLOURS = ("tab:blue", AMBER, "tab:green", "tab:red", "tab:purple", TEAL, MAGENTA, OLIVE)
"""Of lines side by side, in their order."""


def shade(
    axes: Axes,
    along: ArrayLike,
    ends: tuple[ArrayLike, ArrayLike],
    colour: str,
    alpha: float,
    label: str | None = None,
) -> None:
    """Draw a band with its edges: its inside alone, light as it is, is not told from the ground.

    Args:
        axes: Where.
        along: Places along the axis.
        ends: The lower and the upper end at each of them.
        colour: Of the edges, and of the inside.
        alpha: How much of the colour the inside has.
        label: In the legend.
    """
    low, high = ends
    # Thinner than a line of values, or an edge would be read as one.
    axes.fill_between(
        along, low, high, facecolor=to_rgba(colour, alpha), edgecolor=colour, linewidth=0.6, label=label
    )
