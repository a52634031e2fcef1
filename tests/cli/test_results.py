"""The verdict of a training: judged without a unit, so that no symbol decides by the size of its prices."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qhq.cli.train import _next, _summary, result_tables, verdict
from qhq.evaluation.baselines.persistence import last_value
from qhq.evaluation.losses import score_options
from qhq.evaluation.metrics import relative_errors, score, score_by_symbol
from qhq.runs.record import RunRecord
from tests.evaluation.panels import option_windows
from tests.runs.records import MINIMAL

NAMES = ("SHIB", "AAPL", "BRK-A")


def run(metrics, task="forecast", **keys):
    """The record of a run with these metrics."""
    return RunRecord.model_validate(MINIMAL | {"task": task, "metrics": metrics, **keys})


def measured(levels, factors, moves=(0.01, 0.01, 0.01), *, earlier=False, baseline="last_value"):
    """Metrics as a run has them, of symbols at ``levels`` on which the model errs ``factors`` as the naive.

    ``moves`` are the errors of the last value in the test split over those in training, in percent of the
    price; a run of an earlier version has errors pooled over the symbols.
    """
    symbol = np.repeat(NAMES, 20)
    level = np.repeat(np.asarray(levels, dtype=float), 20)[:, None, None]
    sign = np.random.default_rng(0).choice([-1.0, 1.0], level.shape)
    actual = level * (1 + np.repeat(moves, 20)[:, None, None] * sign)
    model = actual + np.repeat(np.asarray(factors, dtype=float), 20)[:, None, None] * (level - actual)
    scale = 0.01 * level.ravel()
    group = None if earlier else symbol
    forecasts = {"test": model, "naive": level, "har": actual + 0.9 * (level - actual)}
    each = {name: score_by_symbol(symbol, actual, one, level, scale) for name, one in forecasts.items()}
    whole = {name: asdict(score(actual, one, level, scale, group=group)) for name, one in forecasts.items()}
    relative = {name: asdict(relative_errors(actual, one, level, symbol)) for name, one in forecasts.items()}
    return {
        "test": whole["test"],
        "naive": whole["naive"],
        "baselines": {"har": whole["har"], "black_scholes": whole["har"]},
        "baseline": baseline,
        "symbols": {
            name: {forecast: asdict(rows[name]) for forecast, rows in each.items()} for name in NAMES
        },
        **({} if earlier else {"relative": relative}),
    }


@given(
    # Powers of two scale without rounding: else the last printed digit could differ by chance.
    st.lists(st.integers(-23, 23).map(lambda power: 2.0**power), min_size=3, max_size=3),
    st.lists(st.floats(0.5, 2.0), min_size=3, max_size=3),
    st.sampled_from(["last_value", "black_scholes"]),
)
def test_the_sentence_does_not_know_the_size_of_the_prices(levels, factors, baseline):
    metrics = measured(levels, factors, baseline=baseline)
    sentence = verdict(run(metrics))
    assert sentence == verdict(run(measured((1, 1, 1), factors, baseline=baseline)))
    naive = metrics["naive"] if baseline == "last_value" else metrics["baselines"]["black_scholes"]
    assert sentence.startswith("One seed, not tested: on the test split")
    assert not {"better", "worse", "below", "above"} & set(sentence.replace(",", " ").split())
    if " less than" in sentence and "MASE" not in sentence:
        assert metrics["test"]["mase"] <= naive["mase"]
        assert metrics["test"]["skill"] > naive["skill"]


def test_one_dear_symbol_is_outvoted():
    assert verdict(run(measured((1e-5, 150, 500_000), (1.2, 1.2, 0.95)))) == (
        "One seed, not tested: on the test split the model's error is 11.67 % more than that of the"
        " last-value forecast, averaged over 3 symbols."
    )


def test_where_mase_does_not_agree_both_are_reported():
    metrics = measured((1, 1, 1), (0.5, 0.9, 1.3), moves=(0.01, 0.01, 0.1))
    assert metrics["test"]["skill"] > 0
    assert verdict(run(metrics)).endswith(
        "% less than that of the last-value forecast, averaged over 3 symbols; by MASE it is the other way"
        " round, 4.8 against 4."
    )


@pytest.mark.parametrize("factors", [(1.2, 1.2, 0.95), (0.9, 0.9, 0.95)])
def test_a_run_of_an_earlier_version_is_judged_by_the_symbols_it_kept(factors):
    levels = (1e-5, 150, 500_000)
    old, new = (verdict(run(measured(levels, factors, earlier=each))) for each in (True, False))
    assert old == new


def test_the_table_of_a_run_of_an_earlier_version_tells_the_skill_of_its_verdict():
    metrics = measured((1e-5, 150, 500_000), (1.2, 1.2, 0.95), earlier=True)
    assert metrics["test"]["skill"] > 0  # that of the dearest symbol
    table = result_tables(run(metrics))[0]
    skills = [float(str(cell)) for cell in table.columns[-1].cells]
    np.testing.assert_allclose(skills[:2], [-11.67, 0], atol=5e-3)


def test_the_strongest_of_several_baselines_is_named_beside_the_table():
    metrics = measured((1, 1, 1), (0.9, 0.9, 0.9))  # HAR errs 0.9 of the last value's error
    said = "The strongest baseline here is HAR, with a skill of +10.00 %."
    assert said in result_tables(run(metrics))
    alone = result_tables(run(metrics | {"baselines": {}}))
    assert not any("strongest" in str(part) for part in alone)


def test_a_run_without_symbols_says_what_its_metrics_say():
    metrics = measured((1, 1, 1), (0.9, 0.9, 0.9)) | {"symbols": {}}
    assert verdict(run(metrics)) == (
        "One seed, not tested: on the test split the model's error is 10.00 % less than that of the"
        " last-value forecast."
    )
    metrics["naive"] = metrics["test"] = {**metrics["test"], "skill": None}
    assert "does not err on the test split at all" in verdict(run(metrics))


def test_a_training_without_a_circuit_names_no_backend():
    record = run({}, epochs=3, seconds={"total": 1.25})
    assert _summary(record, "b").endswith("Trained 3 epochs in 1.2 s, without a circuit.")
    assert _summary(record.updated(quantum={"qubits": 2}), "b").endswith("Trained 3 epochs on aer in 1.2 s.")


@pytest.mark.parametrize(
    ("keys", "verbs"),
    [
        ({"quantum": {"qubits": 2}}, ["report", "predict", "eval"]),
        ({}, ["report", "predict"]),
        ({"task": "price", "quantum": {"qubits": 2}}, ["report", "eval"]),
    ],
)
def test_a_training_ends_with_the_commands_that_fit_the_run(keys, verbs, tmp_path, monkeypatch):
    """No forecast of what is priced from today, and no noise without a circuit."""
    monkeypatch.setenv("QHQ_RUNS_DIR", str(tmp_path))  # another one is the latest, so that each is named
    record = run({}, run="r", **keys)
    head, *lines = _next(record)[0].split("\n")
    assert head == "Next:"
    assert [line.split()[:3] for line in lines] == [["qhq", verb, "r"] for verb in verbs]


def test_implied_volatilities_are_of_the_same_rows_and_what_has_none_is_reported():
    """A model below intrinsic value on its worst rows must not be rid of them."""
    windows = option_windows()
    good, bad = windows.targets * 1.01, windows.targets * 1.01
    bad[:10] = -1.0
    forecasts = {"test": bad, "naive": last_value(windows), "black_scholes": good}
    whole = {name: asdict(score_options(windows, one)) for name, one in forecasts.items()}
    assert {each["iv_rows"] for each in whole.values()} == {len(windows)}
    assert whole["test"]["iv_mae"] > whole["black_scholes"]["iv_mae"]
    metrics = measured((1, 1, 1), (0.9, 0.9, 0.9)) | {"options": {**whole, "symbols": {}}}
    *_, table, reported = result_tables(run(metrics, task="price"))
    assert {str(cell) for cell in table.columns[-1].cells} == {f"{len(windows):,}"}
    assert reported.startswith("Forecasts outside what any volatility gives, such as below intrinsic value")
    assert f"of {len(windows)}: model 10, last-value forecast 1. They" in reported
