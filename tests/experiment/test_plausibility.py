"""A skill that is too good to be true is doubted of a market, not of a panel that a formula makes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qhq.experiment import plausibility
from qhq.experiment.config import load_config
from qhq.experiment.opening import open_experiment


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
