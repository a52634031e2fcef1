"""A skill beyond what was ever seen is doubted; what its own past explains, or a formula makes, is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qhq.data.prepare import prepare
from qhq.data.spec import DataSpec
from qhq.evaluation.baselines.persistence import last_value
from qhq.experiment import plausibility
from qhq.experiment.config import load_config
from qhq.experiment.opening import open_experiment
from qhq.experiment.plausibility import judge_skill


@pytest.mark.parametrize(("source", "doubted"), [("bundled", True), ("synthetic", False)])
def test_what_nobody_ever_saw_is_doubted_of_a_market_alone(study, monkeypatch, source, doubted):
    experiment = open_experiment(load_config("tiny.yaml", ["backend=statevector", "data.start=2004-01-01"]))
    targets = experiment.data.scaler.targets(experiment.data.splits.validation.windows)

    def omniscient(_experiment, _executor, windows):
        places = np.linspace(0, len(targets) - 1, len(windows)).round().astype(int)
        return targets[places], None

    monkeypatch.setattr(plausibility, "forecast_scaled", omniscient)
    data = experiment.config.data.model_copy(update={"source": source})
    seen = replace(experiment, config=experiment.config.model_copy(update={"data": data}))
    assert bool(plausibility.doubt_skill(seen)) is doubted


def judged(source, forecast, **keys):
    spec = DataSpec(source=source, symbols=("A", "B"), features=("close",), targets=("close",), **keys)
    data = prepare(spec)
    windows = data.validation
    return list(judge_skill(data.train, windows, forecast(windows), last_value(windows), spec))


def leaking(share):
    return lambda windows: last_value(windows) + share * (windows.targets - last_value(windows))


@pytest.mark.parametrize("horizon", [1, 3])
def test_a_forecast_that_knows_a_third_of_what_comes_is_doubted(horizon):
    (doubt,) = judged("random_walk", leaking(1 / 3), horizon=horizon)
    assert doubt.code == "implausible_skill:close"
    np.testing.assert_allclose(doubt.statistic, 5 / 9, atol=0.05)  # 1 - (2/3)^2
    assert "skill +33.3 %" in doubt.got


def test_the_last_value_and_a_small_skill_raise_none():
    assert judged("random_walk", last_value) == []
    assert judged("random_walk", leaking(0.03)) == []


def test_the_best_forecast_of_a_planted_signal_is_honest():
    def best(windows):
        last, before = (windows.along("close")[:, [place]] for place in (-1, -2))
        return (last * np.sqrt(last / before))[:, None]

    assert judged("planted", best) == []
    assert len(judged("planted", leaking(0.6))) == 1
