import json

import numpy as np
import pandas as pd


def train(qhq, *pairs):
    result = qhq("train", "tiny.yaml", "--json", *(part for pair in pairs for part in ("--set", pair)))
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    return record, pd.read_csv(f"{record['path']}/predictions.csv")


def test_intervals_hold_about_as_often_as_they_say(qhq):
    record, predictions = train(qhq)
    (coverage,) = record["metrics"]["intervals"]["coverage"]
    inside = predictions["actual"].between(predictions["low"], predictions["high"])
    np.testing.assert_allclose(coverage["held"]["value"], inside.mean(), atol=1e-12)
    assert coverage["level"] == 0.9
    assert coverage["held"]["dates"] == predictions["date"].nunique()
    assert coverage["held"]["low"] <= coverage["held"]["value"] <= coverage["held"]["high"]
    rates = inside.groupby(predictions["date"]).mean()
    by_date = coverage["by_date"]
    np.testing.assert_allclose((by_date["lowest"], by_date["highest"]), (rates.min(), rates.max()))
    assert record["metrics"]["intervals"]["verdict"].startswith("Intervals at 90 % held ")
    assert 0.75 < coverage["held"]["value"] <= 1
    assert (predictions["low"] < predictions["forecast"]).all()
    assert (predictions["forecast"] < predictions["high"]).all()


def test_a_validation_split_too_short_for_them_is_reported(qhq):
    split = "{train: 0.7, validation: 0.04, test: 0.26}"
    record, predictions = train(qhq, f"data.split={split}", "data.symbols=[AAPL]")
    assert "validation windows" in record["metrics"]["intervals"]["reason"]
    assert "low" not in predictions


def test_every_forecast_is_counted_in_the_same_bins(qhq):
    record, predictions = train(qhq)
    histogram = record["metrics"]["histogram"]
    for name, counts in histogram["counts"].items():
        assert len(counts) == len(histogram["edges"]) - 1
        assert sum(counts) + sum(histogram["outside"][name]) == len(predictions)
    assert set(histogram["counts"]) == {"test", "naive"}
    assert record["metrics"]["detail"]["test"]["smape"] > 0


def test_intervals_may_follow_a_drift(qhq):
    record, predictions = train(qhq, "intervals=adaptive")
    intervals = record["metrics"]["intervals"]
    assert intervals["kind"] == "adaptive"
    assert set(intervals["adaptive"]["alpha"]) == {"AAPL", "MSFT"}
    inside = predictions["actual"].between(predictions["low"], predictions["high"])
    np.testing.assert_allclose(intervals["coverage"][0]["held"]["value"], inside.mean(), atol=1e-12)
    width = (predictions["high"] - predictions["low"]).groupby(predictions["symbol"])
    assert (width.nunique() > 1).all()
