"""Whatever a config chooses: a run goes on after a cut, is healthy, runs on noisy backends, and is drawn."""

from __future__ import annotations

import numpy as np
import pytest

import qhq
from qhq.errors import ConfigError
from qhq.experiment.checkup import examine_run
from qhq.experiment.config import load_config
from qhq.experiment.run import resume_run, train_run
from qhq.runs.run_folder import list_runs
from qhq.training.loop import Watcher
from tests.experiment.test_run import CutOff, assert_same_weights

CHOICES = {
    "adamw": ["training.optimizer=adamw", "training.weight_decay=0.01", "training.schedule=cosine"],
    "sgd": ["training.optimizer={kind: sgd, momentum: 0.9}", "training.schedule={kind: step, warm_up: 1}"],
    "rmsprop": ["training.optimizer=rmsprop", "training.schedule={kind: plateau, patience: 1}"],
    "lbfgs": ["training.optimizer=lbfgs", "training.batch_size=4096", "training.learning_rate=1"],
    "rates": ["training.circuit={learning_rate: 0.05, weight_decay: 0}", "training.weight_decay=0.01"],
}  # fmt: skip


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_trains_resumes_and_runs_everywhere(study, name):
    overrides = ["data.start=2012-06-01", "model.dropout=0.05", *CHOICES[name]]
    config = load_config("tiny.yaml", overrides)
    whole = train_run(config, Watcher())
    with pytest.raises(KeyboardInterrupt):
        train_run(config, CutOff(1, 1))
    cut = list_runs()[-1]
    resume_run(cut, Watcher())
    assert_same_weights(whole, cut)
    assert (whole.path / "predictions.csv").read_bytes() == (cut.path / "predictions.csv").read_bytes()
    assert examine_run(whole).healthy
    run = qhq.open_run(whole.path)
    assert np.isfinite(run.forecasts["forecast"].to_numpy()).all()
    found = run.evaluate("aer", "aer_noisy", "fake_fez", samples=2)
    assert np.isfinite(found.metrics["mae"].to_numpy(dtype=float)).all()
    assert found.metrics.index.tolist() == ["aer", "aer_noisy", "fake_fez"]


def test_a_line_search_on_shots_is_refused_before_anything_is_written(study):
    with pytest.raises(ConfigError, match=r"lbfgs compares losses.*shots on aer_shots"):
        train_run(load_config("tiny.yaml", ["training.optimizer=lbfgs", "backend=aer_shots"]), Watcher())
    assert list_runs() == []
