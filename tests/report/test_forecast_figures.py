"""Figures of forecasts: percentage errors are drawn and said only where they mean something."""

from __future__ import annotations

import numpy as np
import pytest

from qhq.report.forecast_figures import draw_errors, has_shares, say_errors
from tests.report.test_drawing_law import forecasts


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_value_that_is_not_above_zero_has_no_share(value):
    rows = forecasts()
    assert has_shares(rows)
    rows.loc[3, "actual"] = value
    assert not has_shares(rows)


def test_percentage_errors_that_are_refused_are_neither_drawn_nor_said():
    rows = forecasts()
    labels = [axes.get_xlabel() for axes in draw_errors(rows).axes]
    assert "absolute percentage error" in labels
    assert "percentage" in say_errors(rows)
    rows["actual"] = np.log(rows["actual"]) - 5
    (alone,) = draw_errors(rows, shares=False).axes
    assert alone.get_xlabel() == labels[0]
    assert "percentage" not in say_errors(rows, shares=False)
