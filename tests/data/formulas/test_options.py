import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from qhq.data.checks.options import check_options
from qhq.data.columns import COMPUTED
from qhq.data.formulas import complete_market, compute_columns
from qhq.errors import DataError
from qhq.pricing import black_scholes
from tests.data.panels import option_frame

NAMES = tuple(COMPUTED["options"])


def computed(frame, names=NAMES):
    return compute_columns(complete_market(check_options(frame, "test"), 0.01), "options", names)


def test_years_forward_and_moneyness_are_their_formulas():
    panel = computed(option_frame())
    days = panel.column("expiry") - panel.dates.astype(np.int64)
    assert_allclose(panel.column("years"), days / 365)
    discount = np.exp(-panel.column("rate") * panel.column("years"))
    assert_allclose(panel.column("forward"), panel.column("spot") / discount)
    assert_allclose(panel.column("log_moneyness"), np.log(panel.column("strike") / panel.column("forward")))
    same = panel.code[1:] == panel.code[:-1]
    before = panel.column("iv")[:-1][same]
    expected = panel.column("log_moneyness")[1:][same] / (before * np.sqrt(panel.column("years")[1:][same]))
    known = np.isfinite(expected)
    assert known.any()
    assert_allclose(panel.column("moneyness")[1:][same][known], expected[known])
    first = np.flatnonzero(np.r_[True, ~same])
    assert np.isnan(panel.column("moneyness")[first]).all()
    assert np.isnan(panel.column("delta")[first]).all()


def test_iv_and_mid_are_made_of_each_other():
    frame = option_frame()
    quotes = frame.drop(columns=[name for name in ("iv", "mid") if name in frame])
    panel = computed(quotes)
    assert_allclose(panel.column("mid"), (panel.column("bid") + panel.column("ask")) / 2)
    surface = frame.drop(columns=[name for name in ("bid", "ask", "mid", "last") if name in frame])
    surface["iv"] = 0.3
    points = computed(surface, [name for name in NAMES if name != "spread"])
    market = [points.column(name) for name in ("forward", "strike", "years")]
    discount = np.exp(-points.column("rate") * points.column("years"))
    expected = black_scholes.price(*market, np.full(len(points.code), 0.3), discount, points.column("right"))
    assert_allclose(points.column("mid"), expected)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_the_future_moves_nothing_before_it(seed):
    frame = option_frame()
    rng = np.random.default_rng(seed)
    day = np.unique(frame["date"])[len(np.unique(frame["date"])) // 2]
    late = frame["date"] >= day
    changed = frame.copy()
    factor = rng.uniform(0.8, 1.2, late.sum())
    for name in ("bid", "ask", "mid", "last", "spot"):
        if name in frame:
            changed.loc[late, name] *= factor
    if "iv" in frame:
        changed.loc[late, "iv"] *= factor
    before, after = computed(frame), computed(changed)
    early = before.dates < np.datetime64(str(day)[:10], "D")
    assert early.any()
    assert_array_equal(before.values[early], after.values[early])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_what_stands_beside_a_window_knows_nothing_of_the_days_quotes(seed):
    frame = option_frame()
    rng = np.random.default_rng(seed)
    day = np.unique(frame["date"])[-1]
    today = frame["date"] == day
    changed = frame.copy()
    factor = rng.uniform(0.9, 1.1, today.sum())
    for name in ("bid", "ask", "mid", "last", "iv"):
        if name in frame:
            changed.loc[today, name] *= factor
    before, after = computed(frame), computed(changed)
    for name in (
        "years",
        "forward",
        "log_moneyness",
        "moneyness",
        "delta",
        "gamma",
        "vega",
        "theta",
        "weekday",
    ):
        assert_array_equal(before.column(name), after.column(name))


def test_an_unknown_column_names_the_nearest():
    with pytest.raises(DataError, match="log_moneyness"):
        computed(option_frame(), ["log_moneynes"])
