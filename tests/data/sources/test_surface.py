"""The points of qmoms: read whole, named by the schema, and its conventions as documented."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from qhq.data.sources import surface
from qhq.data.sources.surface import read_points
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
        part = dividend[rows["underlying"] == name].to_numpy()
        assert np.abs(part[:, None] - np.array(sums)).min(axis=1).max() < 1e-3


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
