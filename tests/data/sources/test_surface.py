"""The points of qmoms, read whole and named by the schema; and the contracts marked to them.

Contracts are exact at the points, fixed in strike and expiry, and know only the past.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from qhq.data.checks.options import check_options
from qhq.data.sessions import third_fridays
from qhq.data.sources import surface
from qhq.data.sources.surface import (
    _WIDTH,
    Smile,
    mark_strikes,
    read_points,
    read_smiles,
    read_surface,
    surface_contracts,
)
from qhq.errors import DataError

pytestmark = pytest.mark.skipif(find_spec("qmoms") is None, reason="needs the extra data")


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return read_points()


def years(rows: pd.DataFrame) -> np.ndarray:
    return ((rows["expiry"] - rows["date"]).dt.days / 365).to_numpy()


def test_every_row_of_the_file_is_there_once(rows: pd.DataFrame) -> None:
    assert len(rows) == 67_500
    assert rows["contract_id"].nunique() == 5 * 3 * 18
    assert not rows.duplicated(["contract_id", "date"]).any()
    assert not rows.isna().any().any()
    assert set(rows["kind"]) == {"surface"}
    assert not {"bid", "ask", "volume", "open_interest"} & set(rows.columns)


def test_a_point_keeps_its_numbers(rows: pd.DataFrame) -> None:
    first = rows[rows["contract_id"] == "12490-30d-P10"].iloc[0]
    assert (first["underlying"], str(first["date"].date()), first["right"]) == ("12490", "2023-01-03", "put")
    assert str(first["expiry"].date()) == "2023-02-02"
    numbers = first[["strike", "iv", "spot", "forward"]].to_numpy(dtype=float)
    assert_allclose(numbers, [124.9849, 0.361869, 141.55, 142.029179])
    assert_allclose(first["rate"], 0.04111739)


def test_the_right_follows_the_sign_of_delta(rows: pd.DataFrame) -> None:
    """Points on the put side lie below the forward, those on the call side above, except near delta 50."""
    far = rows[rows["contract_id"].str.endswith(("10", "25"))]
    assert_allclose(far["right"] == "put", far["strike"] < far["forward"])


def test_rates_are_continuously_compounded_over_365_days(rows: pd.DataFrame) -> None:
    plain = rows[rows["underlying"] == "93436"]
    assert_allclose(plain["forward"], plain["spot"] * np.exp(plain["rate"] * years(plain)), rtol=2e-7)


def test_the_forward_takes_off_whole_dividends(rows: pd.DataFrame) -> None:
    dividend = rows["spot"] - rows["forward"] * np.exp(-rows["rate"] * years(rows))
    assert (dividend > -1e-3).all()
    known = {"12490": [0, 1.65, 1.66, 3.28, 3.301], "14593": [0, 0.167, 0.23, 0.24, 0.46]}
    for name, sums in known.items():
        paid = dividend[rows["underlying"] == name].to_numpy()
        assert np.abs(paid[:, None] - np.array(sums)).min(axis=1).max() < 1e-3


def test_rates_are_interpolated_in_days() -> None:
    points = pd.DataFrame({"date": ["a", "b", "a"], "days": [15.0, 30.0, 99.0]})
    rates = pd.DataFrame({"date": ["a", "a"], "days": [20.0, 10.0], "rate": [2.0, 1.0]})
    assert_allclose(surface._match_rates(points, rates), [0.015, np.nan, 0.02])


def test_the_package_is_not_imported(rows: pd.DataFrame) -> None:
    assert "qmoms" not in sys.modules


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surface, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"must have the package qmoms.*pip install 'qhq\[data\]'"):
        read_points()


def test_a_changed_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spec = ModuleSpec("qmoms", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(surface, "find_spec", lambda name: spec)
    with pytest.raises(DataError, match=r"must hold data/surface.csv with the columns id, date.*qmoms==0"):
        read_points()


needs_qmoms = pytest.mark.skipif(find_spec("qmoms") is None, reason="needs the extra data")

MATURITIES = (30, 60, 91)
RATES = {30: 0.04, 60: 0.045, 91: 0.046}
REACH = np.linspace(-1.3, 1.3, 17)
"""Log-moneyness of the points, in standard deviations until expiry."""


def skew(moneyness: np.ndarray) -> np.ndarray:
    return 0.4 - 0.3 * moneyness


def make_points(spot: np.ndarray, volatility=skew, name: str = "X") -> pd.DataFrame:
    """Points of a stock without dividends, with a volatility that is a function of log-moneyness alone."""
    dates = pd.bdate_range("2023-01-03", periods=len(spot))
    tables = [
        _make_smile(date, price, days, volatility)
        for date, price in zip(dates, spot, strict=True)
        for days in MATURITIES
    ]
    return pd.concat(tables, ignore_index=True).assign(underlying=name, style="european", kind="surface")


def _make_smile(date: pd.Timestamp, spot: float, days: int, volatility) -> pd.DataFrame:
    moneyness = REACH * 0.4 * np.sqrt(days / 365)
    forward = spot * np.exp(RATES[days] * days / 365)
    return pd.DataFrame(
        {
            "date": date,
            "expiry": date + pd.Timedelta(days=days),
            "strike": forward * np.exp(moneyness),
            "right": np.where(moneyness < 0, "put", "call"),
            "iv": volatility(moneyness),
            "spot": spot,
            "forward": forward,
            "rate": RATES[days],
        }
    )


def wander(sessions: int, seed: int = 0) -> np.ndarray:
    steps = np.random.default_rng(seed).normal(scale=0.02, size=sessions)
    return 150 * np.exp(np.cumsum(steps))


def first_session(points: pd.DataFrame) -> list[Smile]:
    return next(iter(read_smiles(points).values()))


def days_left(rows: pd.DataFrame) -> np.ndarray:
    return (rows["expiry"] - rows["date"]).dt.days.to_numpy()


@pytest.fixture(scope="module")
def points() -> pd.DataFrame:
    return make_points(wander(130))


@pytest.fixture(scope="module")
def contracts(points: pd.DataFrame) -> pd.DataFrame:
    return surface_contracts(points)


@pytest.fixture(scope="module")
def real() -> pd.DataFrame:
    return read_surface()


@pytest.mark.parametrize("place", range(3))
def test_a_point_is_marked_at_its_own_volatility(points: pd.DataFrame, place: int) -> None:
    smiles = first_session(points)
    own = smiles[place]
    marks = mark_strikes(smiles, own.days, own.forward * np.exp(own.moneyness[1:-1]))
    assert_allclose(marks.iv, own.volatility[1:-1])
    assert_allclose([marks.forward, marks.rate], [own.forward, own.rate])


def test_total_variance_is_linear_in_time_at_equal_moneyness(points: pd.DataFrame) -> None:
    smiles = first_session(points)
    near, far = smiles[1:]
    forward = mark_strikes(smiles, 70, np.array([150.0])).forward
    moneyness = np.array([-0.1, 0.0, 0.05])
    marks = mark_strikes(smiles, 70, forward * np.exp(moneyness))
    before, after = near.variance(moneyness), far.variance(moneyness)
    assert_allclose(marks.iv**2 * 70 / 365, before + (after - before) * 10 / 31)


@settings(deadline=None, max_examples=25)
@given(level=st.floats(0.05, 1.5), days=st.integers(30, 91))
def test_a_flat_surface_is_flat_everywhere(level: float, days: int) -> None:
    smiles = first_session(make_points(np.array([150.0]), lambda moneyness: np.full(len(moneyness), level)))
    assert_allclose(mark_strikes(smiles, days, np.array([140.0, 150.0, 160.0])).iv, level)


@pytest.mark.parametrize("days", [30, 31, 59, 60, 75, 91])
def test_the_forward_is_that_of_the_rate(points: pd.DataFrame, days: int) -> None:
    smiles = first_session(points)
    marks = mark_strikes(smiles, days, np.array([150.0]))
    assert_allclose(marks.forward, smiles[0].spot * np.exp(marks.rate * days / 365))


def test_nothing_is_extrapolated(points: pd.DataFrame) -> None:
    """Not in days, and not beyond the points of the shorter maturity, which reach less far."""
    smiles = first_session(points)
    for days in (29, 92):
        marks = mark_strikes(smiles, days, np.array([150.0]))
        assert np.isnan([marks.iv[0], marks.forward, marks.rate]).all()
    reach = smiles[0].moneyness[-1]
    strikes = mark_strikes(smiles, 45, np.array([150.0])).forward * np.exp([0.99 * reach, 1.01 * reach])
    assert_array_equal(np.isfinite(mark_strikes(smiles, 45, strikes).iv), [True, False])


def test_in_the_money_points_are_left_out(points: pd.DataFrame) -> None:
    """A put above the forward and a call below it would stand beside the other side's points."""
    wrong = points.assign(right=np.where(points["right"] == "put", "call", "put"), iv=9.0)
    assert_allclose(surface_contracts(pd.concat([points, wrong]))["iv"], surface_contracts(points)["iv"])


def test_a_contract_is_one_thing(contracts: pd.DataFrame) -> None:
    kept = contracts.groupby("contract_id")[["underlying", "expiry", "strike", "right"]].nunique()
    assert (kept == 1).all(axis=None)
    assert not contracts.duplicated(["contract_id", "date"]).any()
    assert contracts["contract_id"].nunique() == len(contracts[["expiry", "strike"]].drop_duplicates())


def test_a_name_tells_expiry_right_and_strike(contracts: pd.DataFrame) -> None:
    parts = contracts["contract_id"].str.split("-", expand=True)
    assert_array_equal(parts[1], contracts["expiry"].dt.strftime("%Y%m%d"))
    assert_array_equal(parts[2], np.where(contracts["right"] == "put", "P", "C"))
    assert_allclose(parts[3].astype(float), contracts["strike"])


def test_contracts_live_from_91_to_30_days_before_a_third_friday(contracts: pd.DataFrame) -> None:
    left = days_left(contracts)
    assert (left.min(), left.max()) == (30, 91)
    expiries = contracts["expiry"].to_numpy().astype("datetime64[D]")
    assert set(expiries) <= set(third_fridays(expiries.min(), expiries.max()))


def test_a_known_surface_comes_back(contracts: pd.DataFrame) -> None:
    """The volatility depends on log-moneyness alone, so the way between maturities changes nothing."""
    moneyness = np.log(contracts["strike"] / contracts["forward"])
    assert_allclose(contracts["iv"], skew(moneyness))


def test_strikes_below_the_spot_at_listing_are_puts() -> None:
    """The spot leaps from 100 to 128: strikes of old stay what they were, new ones come with the new spot."""
    spot = np.repeat([100.0, 128.0], [10, 40])
    rows = surface_contracts(make_points(spot))
    leap = rows["date"].unique()[10]
    early = rows[rows["date"] < leap]
    old = rows["strike"].between(100 * (1 - _WIDTH), 100 * (1 + _WIDTH)) & rows["expiry"].isin(
        early["expiry"]
    )
    assert_array_equal(rows["right"][old] == "put", rows["strike"][old] < 100)
    assert_array_equal(rows["right"][~old] == "put", rows["strike"][~old] < 128)
    assert early["strike"].max() <= 115 < rows["strike"].max()


@settings(deadline=None, max_examples=40)
@given(spot=st.floats(1.0, 5000.0))
def test_strikes_are_a_round_step_apart(spot: float) -> None:
    strikes = surface_contracts(make_points(np.full(2, spot)))["strike"].unique()
    (step,) = {round(after - before, 6) for before, after in pairwise(np.sort(strikes))}
    assert 0.025 * spot - 1e-6 <= step <= 0.0625 * spot + 1e-6
    assert_allclose(strikes / step, np.rint(strikes / step))


@settings(deadline=None, max_examples=15)
@given(cut=st.integers(1, 119), seed=st.integers(0, 2**32 - 1))
def test_later_points_change_nothing_before(points: pd.DataFrame, cut: int, seed: int) -> None:
    last = points["date"].unique()[cut]
    generator = np.random.default_rng(seed)
    changed = points.copy()
    after = changed["date"] > last
    changed.loc[after, ["strike", "forward", "spot"]] *= generator.uniform(0.5, 2.0)
    changed.loc[after, "iv"] *= generator.uniform(0.5, 2.0)
    changed.loc[after, "rate"] *= generator.uniform(0.5, 2.0)
    for other in (changed, points[~after]):
        known, same = (
            rows[rows["date"] <= last].reset_index(drop=True)
            for rows in (surface_contracts(points), surface_contracts(other))
        )
        pd.testing.assert_frame_equal(same, known, check_exact=True)


def test_a_session_without_a_maturity_lacks_the_expiries_beside_it(points: pd.DataFrame) -> None:
    missing = points["date"].unique()[5]
    less = points[(points["date"] != missing) | ((points["expiry"] - points["date"]).dt.days < 91)]
    rows, whole = surface_contracts(less), surface_contracts(points)
    assert (days_left(whole[whole["date"] == missing]) > 60).any()
    assert not (days_left(rows[rows["date"] == missing]) > 60).any()
    assert len(rows[rows["date"] != missing]) == len(whole[whole["date"] != missing])


def test_the_order_of_the_points_does_not_matter(points: pd.DataFrame, contracts: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(surface_contracts(points.sample(frac=1.0, random_state=1)), contracts)


def test_underlyings_do_not_touch(points: pd.DataFrame, contracts: pd.DataFrame) -> None:
    both = surface_contracts(pd.concat([make_points(wander(130, seed=1), name="Y"), points]))
    own = both[both["underlying"] == "X"].reset_index(drop=True)
    pd.testing.assert_frame_equal(own, contracts)


@needs_qmoms
def test_the_surface_gives_enough_contracts(real: pd.DataFrame) -> None:
    assert 15_000 < len(real) < 25_000
    assert (real.groupby("underlying")["contract_id"].nunique() > 100).all()
    assert real.groupby("contract_id").size().median() > 20
    assert not real.isna().any().any()
    assert real["iv"].between(0.1, 1.0).all()
    assert not {"bid", "ask", "volume", "open_interest"} & set(real.columns)


@needs_qmoms
def test_the_surface_keeps_the_rules_of_options(real: pd.DataFrame) -> None:
    panel = check_options(real, "the surface data")
    assert (panel.label, len(panel.symbols)) == ("surface", real["contract_id"].nunique())
    assert check_options(real.assign(kind="traded"), "the surface data").label == "traded"


@needs_qmoms
def test_the_forward_of_the_surface_holds_between_maturities(real: pd.DataFrame) -> None:
    plain = real[real["underlying"] == "93436"]
    assert_allclose(
        plain["forward"], plain["spot"] * np.exp(plain["rate"] * days_left(plain) / 365), rtol=2e-7
    )


@needs_qmoms
def test_the_surface_has_hardly_any_calendar_arbitrage() -> None:
    """Total variance that falls with maturity at equal log-moneyness: 0.3 % of places."""
    falls = [
        far.variance(grid) < near.variance(grid)
        for _, rows in read_points().groupby("underlying")
        for smiles in read_smiles(rows).values()
        for near, far in pairwise(smiles)
        for grid in [np.linspace(near.moneyness[0], near.moneyness[-1], 11)]
    ]
    assert np.mean(falls) < 0.01


@needs_qmoms
def test_the_two_sides_of_a_smile_keep_16_to_18_points() -> None:
    counts = {
        len(smile.moneyness)
        for _, rows in read_points().groupby("underlying")
        for smiles in read_smiles(rows).values()
        for smile in smiles
    }
    assert counts == {16, 17, 18}
