"""Whether a ranking is more than the luck of the seeds, and what ties."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from qhq.runs.record import RunRecord
from qhq.runs.run_folder import RunFolder
from qhq.runs.studies import FinalRecord, StageNoise, StageRecord
from qhq.studies.sweep.final import _compared, read_losses
from qhq.studies.sweep.ranking import (
    MeasuredPoint,
    best_of,
    measure_noise,
    measure_trends,
    relative_error,
    say_noise,
    table_rows,
    trial_losses,
)
from qhq.studies.sweep.study import say_choice, say_sweep_verdict
from tests.runs.records import MINIMAL


def test_pure_noise_is_called_a_ranking_no_more_often_than_the_level():
    generator = np.random.default_rng(3)
    called = sum(measure_noise(generator.normal(size=(8, 3))).is_ranking for _ in range(200))
    assert called <= 20


def test_points_that_differ_are_a_ranking_whatever_a_seed_adds_to_all():
    generator = np.random.default_rng(0)
    points, seeds = np.arange(8.0)[:, None], 100 * generator.normal(size=3)
    noise = measure_noise(points + seeds + 0.1 * generator.normal(size=(8, 3)))
    assert noise.is_ranking
    np.testing.assert_allclose(noise.seed_sd, 0.1, rtol=0.5)
    np.testing.assert_allclose(noise.point_sd, points.std(ddof=1), rtol=0.1)


def test_the_p_value_is_that_of_friedman_by_permutation():
    values = np.random.default_rng(1).normal(size=(5, 10)) + 0.4 * np.arange(5)[:, None]
    by_table = stats.friedmanchisquare(*values).pvalue
    np.testing.assert_allclose(measure_noise(values).p_value, by_table, atol=0.02)


@pytest.mark.parametrize("shape", [(1, 3), (4, 1), (0, 1)])
def test_one_seed_or_one_point_tells_nothing(shape):
    noise = measure_noise(np.ones(shape))
    assert noise.is_ranking is None
    assert say_noise(noise).startswith("Indistinguishable")


def test_a_trend_is_spearmans_and_its_interval_holds_it():
    generator = np.random.default_rng(0)
    size = np.repeat(np.arange(1.0, 8.0), 5)
    values = size + generator.normal(size=35)
    (trend,) = measure_trends({"depth": size, "constant": np.ones(35)}, values)
    np.testing.assert_allclose(trend.rho, stats.spearmanr(size, values).statistic)
    assert trend.key == "depth"
    assert 0 < trend.low < trend.rho < trend.high <= 1


def test_a_few_points_have_no_trend():
    assert measure_trends({"depth": [1, 2, 3]}, np.array([1.0, 2.0, 3.0])) == []


def record_of(**keys) -> RunRecord:
    return RunRecord.model_validate(MINIMAL | keys)


def entry(name: str, values: list[float], parameters: int, status: str = "finished") -> MeasuredPoint:
    records = tuple(record_of(parameters={"all": parameters}) for _ in values)
    return MeasuredPoint(
        {"a": name}, tuple(f"{name}-s{n}" for n in range(len(values))), records, np.array(values), status
    )


def test_of_what_ties_the_simplest_is_chosen():
    entries = [entry("large", [0.90], 100), entry("small", [0.91], 10), entry("tiny", [0.99], 1)]
    assert best_of(entries, 0.02).point == {"a": "small"}
    assert best_of(entries, 0.0).point == {"a": "large"}
    rows = table_rows(entries, best_of(entries, 0.02), 0.02)
    assert [(row["a"], row["tied"], row["chosen"]) for row in rows] == [
        ("large", True, False),
        ("small", True, True),
        ("tiny", False, False),
    ]


def test_what_failed_or_was_pruned_is_never_the_best():
    bad = [entry("failed", [0.1, math.nan], 1, "failed"), entry("pruned", [0.1], 1, "pruned")]
    assert best_of(bad, 0.0) is None
    assert best_of([*bad, entry("good", [2.0], 9)], 10.0).point == {"a": "good"}
    assert table_rows(bad, None, 0.0)[0]["value"] is None


def test_a_value_is_the_error_over_that_of_the_last_value():
    metrics = {"validation": {"mae": 2.0, "mape": None}, "validation_naive": {"mae": 4.0, "mape": 1.0}}
    record = record_of(metrics=metrics)
    assert relative_error(record, "mae") == 0.5
    assert math.isnan(relative_error(record, "mape"))
    assert math.isnan(relative_error(record_of(), "mae"))


def test_the_metric_of_a_trial_is_that_of_its_symbols_and_of_an_earlier_version_the_pooled_one():
    metrics = {"validation": {"mae": 2.0, "mase": 1.5}, "validation_naive": {"mae": 4.0, "mase": 1.0}}
    record = record_of(metrics=metrics, relative={"mae": 1.2, "rmse": None})
    assert relative_error(record, "mae") == 1.2
    assert relative_error(record, "mase") == 1.5
    assert math.isnan(relative_error(record, "rmse"))


def test_losses_of_finals_do_not_know_the_unit_of_a_symbol_or_target(tmp_path):
    found = []
    for place, factor in enumerate((1.0, 1e6)):
        rng = np.random.default_rng(0)
        rows = []
        for symbol, target in itertools.product("AB", ("close", "volume")):
            for day in range(12):
                actual, forecast, naive = rng.uniform(1, 2, 3) * (
                    factor if (symbol, target) == ("B", "volume") else 1
                )
                rows.append((symbol, f"2020-01-{day + 1:02}", 1, actual, forecast, naive, target))
        names = ["symbol", "date", "horizon", "actual", "forecast", "naive", "target"]
        frame = pd.DataFrame(rows, columns=names).sort_values(["date", "symbol"], kind="stable")
        (tmp_path / str(place)).mkdir()
        frame.to_csv(tmp_path / str(place) / "predictions.csv", index=False)
        found.append(read_losses({"winner": [RunFolder(tmp_path / str(place))]}).measured)
    for name in ("winner", "last_value"):
        np.testing.assert_allclose(found[1][name][0]["losses"], found[0][name][0]["losses"])


def stage_of(**changes) -> StageRecord:
    noise = StageNoise(
        points=3, seeds=2, seed_sd=None, point_sd=None, p_value=None, margin=0.0315, is_ranking=None
    )
    best = {"best": "depth 3", "value": 0.9962, "lowest": "depth 3", "lowest_value": 0.9962, "tied": 1}
    counts = {"points": 3, "pruned": 0, "failed": 0}
    return StageRecord.model_validate({
        "stage": "circuit", "search": "grid", "keys": ["quantum.depth"], **counts, **best, "noise": noise,
        "rows": [], **changes,
    })  # fmt: skip


def final_of(rows, **more) -> FinalRecord:
    about = {"seeds": [3, 4], "windows": 80, "dates": 80, "baseline": "last_value"}
    return FinalRecord.model_validate({**about, "rows": rows, **more})


def test_the_choice_says_what_is_lowest_and_why_another_is_taken():
    stage = stage_of(best="depth 1", value=1.0252, lowest="depth 3", lowest_value=0.9962, tied=3)
    said = say_choice(stage)
    for words in ("Lowest error: depth 3 (0.9962)", "Chosen: depth 1 (1.0252), by the tie rule: 3 points lie",
                  "within 0.0315 of the lowest", "fewest parameters"):  # fmt: skip
        assert words in said
    same = stage.updated(best="depth 3", value=0.9962)
    assert say_choice(same.updated(tied=1)) == "Chosen: depth 3 (0.9962), the lowest error."
    assert "the lowest error and the fewest parameters of the 3" in say_choice(same)


STAGES = [stage_of()]


def predictions(folder, edge: dict[str, float], seed: int) -> RunFolder:
    """A run whose error is that of the last value less a symbol's edge, and some luck of the seed."""
    days = pd.bdate_range("2020-01-01", periods=80).strftime("%Y-%m-%d")
    naive, luck = 3 + np.random.default_rng(0).exponential(size=80), np.random.default_rng(seed)
    rows = []
    for symbol, gain in edge.items():
        error = naive - gain + 0.5 * luck.normal(size=80)
        both = zip(days, error, naive, strict=True)
        rows += [(symbol, day, 1, 100.0, 100 + one, 100 + other) for day, one, other in both]
    names = ["symbol", "date", "horizon", "actual", "forecast", "naive"]
    frame = pd.DataFrame(rows, columns=names).sort_values(["date", "symbol"], kind="stable")
    folder.mkdir()
    frame.to_csv(folder / "predictions.csv", index=False)
    return RunFolder(folder)


def test_what_symbols_say_alone_is_reported_as_exploration(tmp_path):
    edge = {"UP": 0.6, "DOWN": -0.6}
    runs = [predictions(tmp_path / str(seed), edge, seed) for seed in (1, 2)]
    losses = read_losses({"winner": runs})
    assert losses.groups.keys() == edge.keys()
    np.testing.assert_allclose(
        np.mean([each["winner"] for each in losses.groups.values()], axis=0),
        np.mean([each["losses"] for each in losses.measured["winner"]], axis=0),
    )
    row, _ = _compared([{"variant": "winner", "seeds": 2}, {"variant": "last_value"}], losses)
    assert row["vs_naive"] == "not shown"
    assert (row["vs_naive_symbols_better"], row["vs_naive_symbols_worse"]) == ("UP", "DOWN")
    said = say_sweep_verdict(STAGES, final_of([row]))
    assert "not shown to differ from the last value (detectable" in said
    assert "Holm over one pair, 5 %, 2 fresh seeds)" in said
    assert said.endswith("symbol by symbol under Holm, it is better for UP and worse for DOWN.")


def test_symbols_of_finals_stay_the_texts_that_they_are(tmp_path):
    """NA is a ticker and no missing value, and 0700 is another than 700."""
    edge = {"NA": 0.6, "0700": -0.6, "700": 0.1}
    other = dict(zip(("A", "B", "C"), edge.values(), strict=True))
    read = [
        read_losses({"winner": [predictions(tmp_path / name, each, 1)]})
        for name, each in (("texts", edge), ("letters", other))
    ]
    assert set(read[0].groups) == set(edge)
    losses = [each.measured["winner"][0]["losses"] for each in read]
    np.testing.assert_allclose(*losses, rtol=1e-12)


def test_a_winner_of_one_seed_is_not_tested(tmp_path):
    losses = read_losses({"winner": [predictions(tmp_path / "1", {"UP": 0.9, "TOO": 0.9}, 1)]})
    row, _ = _compared([{"variant": "winner", "seeds": 1}, {"variant": "last_value"}], losses)
    assert (row["vs_naive"], row["vs_naive_reason"]) == ("not tested", "one seed")
    assert row["vs_naive_symbols_better"] is None
    assert "not tested against the last value (one seed)" in say_sweep_verdict(STAGES, final_of([row]))


def test_a_winner_on_volatility_is_judged_by_qlike_and_tested_against_har_too(tmp_path):
    runs = [predictions(tmp_path / str(seed), {"A": 0.6}, seed) for seed in (1, 2)]
    for run in runs:
        table = pd.read_csv(run.path / "predictions.csv")
        for name in ("actual", "forecast", "naive"):
            table[name] = (table[name] - 100) / 10
        table.assign(har=table["actual"] + 0.1).to_csv(run.path / "predictions.csv", index=False)
    losses = read_losses({"winner": runs}, ["log_garman_klass"], "har")
    assert (losses.loss, losses.baseline) == ("qlike", "har")
    np.testing.assert_allclose(losses.measured["har"][0]["losses"], np.exp(-0.2) + 0.2 - 1, rtol=1e-9)
    rows = [{"variant": "winner", "seeds": 2}, {"variant": "last_value"}, {"variant": "har"}]
    row = _compared(rows, losses)[0]
    assert (row["vs_naive"], row["vs_baseline"]) == ("better", "worse")
    said = say_sweep_verdict(STAGES, final_of(rows, loss=losses.loss, baseline=losses.baseline))
    assert "better than the last value, worse than HAR and" in said
    assert "(QLIKE, Diebold-Mariano, Holm over two pairs, 5 %, 2 fresh seeds)" in said


def test_losses_of_trials_are_those_of_the_dates_that_all_share():
    def record(first: int, shift: float) -> RunRecord:
        dates = [f"2020-01-{day:02}" for day in range(first, first + 4)]
        losses = [float(day) + shift for day in range(first, first + 4)]
        return record_of(validation_losses={"dates": dates, "losses": losses, "naive": losses})

    found = trial_losses({"a": [record(1, 0.0), record(1, 1.0)], "b": [record(3, 0.5)]})
    assert {name: each.tolist() for name, each in found.items()} == {
        "a": [3.5, 4.5], "b": [3.5, 4.5], "last_value": [3.0, 4.0]
    }  # fmt: skip
    assert trial_losses({"a": [record(1, 0.0)], "old": [record_of()]}) == {}
    assert trial_losses({"a": [record(1, 0.0)], "b": [record(9, 0.0)]}) == {}
    assert trial_losses({}) == {}
