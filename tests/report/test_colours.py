"""What carries a value is seen on white paper, and on a dark page, which inverts its figures."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from tests.report.test_drawing_law import LAW

# invert(1) hue-rotate(180deg) of the style, by Filter Effects 1: the hue's turn after 1 - colour.
TURN = np.array([[-0.574, 1.43, 0.144], [0.426, 0.43, 0.144], [0.426, 1.43, -0.856]])


def luminance(colour) -> float:
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def least_contrast(colour, alpha: float | None = None) -> float:
    """Of a colour on white, and on black after the style has turned it."""
    *parts, own = to_rgba(colour)
    share = own if alpha is None else alpha
    light = share * np.array(parts) + 1 - share
    dark = np.clip(TURN @ (1 - light), 0, 1)
    return min(1.05 / (luminance(light) + 0.05), (luminance(dark) + 0.05) / 0.05)


SEEN = ["draw_forecasts", "draw_series", "draw_errors", "draw_changes", "draw_rolling_skill",
        "draw_prediction", "draw_ablation", "draw_portability", "draw_walk", "draw_noise", "draw_budget",
        "draw_stage", "draw_history"]  # fmt: skip


@pytest.mark.parametrize("name", SEEN)
def test_what_carries_a_value_stands_out_by_three_to_one(name):
    """WCAG 2.2, 1.4.11."""
    faint = []
    for axes in LAW[name]().axes:
        for line in axes.lines:
            marks = [line.get_color()] + [line.get_markeredgecolor()] * (line.get_marker() != "None")
            faint += [line for each in marks if least_contrast(each, line.get_alpha()) < 3]
        for shape in (*axes.collections, *axes.patches):
            colours = [*np.atleast_2d(shape.get_facecolor()), *np.atleast_2d(shape.get_edgecolor())]
            if colours and max(map(least_contrast, colours)) < 3:
                faint.append(shape)
    assert [(each.get_label(), type(each).__name__) for each in faint] == []


def test_a_light_inside_alone_is_faint():
    assert least_contrast("tab:blue", 0.18) < 3 < least_contrast("tab:blue")
