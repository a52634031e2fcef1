"""Whatever a config chooses: a run goes on after a cut, is healthy, runs on noisy backends, and is drawn.

The suite takes some of the choices all the way; with ``QHQ_CHOICES`` set it takes each of them, on the
loopback service of IBM Quantum too::

    QHQ_CHOICES=all python -m pytest tests/experiment/test_choices.py -k all_the_way
"""

from __future__ import annotations

import os

import numpy as np
import pytest

import qhq
from qhq.cli.train import result_tables
from qhq.errors import ConfigError
from qhq.experiment.checkup import examine_run
from qhq.experiment.config import load_config
from qhq.experiment.run import resume_run, train_run
from qhq.report.model_diagram import diagram_of_run, draw_diagram
from qhq.runs.run_folder import list_runs
from qhq.training.loop import Watcher
from tests.experiment.test_run import CutOff, assert_same_weights, write_prices
from tests.loopback.fixtures import loopback, no_backoff

__all__ = ["loopback", "no_backoff"]

CHOICES = {
    "adamw": ["training.optimizer=adamw", "training.weight_decay=0.01", "training.schedule=cosine"],
    "sgd": ["training.optimizer={kind: sgd, momentum: 0.9}", "training.schedule={kind: step, warm_up: 1}"],
    "rmsprop": ["training.optimizer=rmsprop", "training.schedule={kind: plateau, patience: 1}"],
    "lbfgs": ["training.optimizer=lbfgs", "training.batch_size=4096", "training.learning_rate=1"],
    "natural": [
        "training.optimizer={kind: qng, samples: 8}", "training.circuit={learning_rate: 0.05}",
        "quantum.depth=2",
    ],
    "rates": ["training.circuit={learning_rate: 0.05, weight_decay: 0}", "training.weight_decay=0.01"],
    "quantile": ["training.loss=quantile", "data.horizon=2", "training.horizon_weights=[1, 0.5]"],
    "gaussian": ["training.loss=gaussian", "data.scaling=window"],
    "both directions": [
        "model.recurrent=[{unit: gru, hidden: 3, bidirectional: true}, {unit: lstm, residual: true}]",
        "model.pooling=attention", "model.activation_before=silu",
    ],
    "convolution": ["model.recurrent=[{unit: tcn, hidden: 4, layer_norm: true}]", "model.pooling=mean"],
    "no encoder": ["model.encoder=none", "model.head_layers=[6]", "model.head_activation=gelu"],
    "student_t": ["training.loss=student_t", "training.quantiles=[0.1, 0.5, 0.9]"],
    "qlstm": ["model.recurrent=[{unit: qlstm, hidden: 2}]", "training.optimizer=qng"],
    "qgru": ["model.recurrent=[{unit: gru, hidden: 3}, {unit: qgru, hidden: 2}]"],
    "qlstm_bare": [
        "model.recurrent=[{unit: qlstm_bare, hidden: 1}]", "quantum.overrides={observables: [Z0]}",
        "quantum.depth=2",
    ],
    "parallel": ["model.circuits={arrange: parallel, count: 2}", "model.head_layers=[4]"],
    "sequence": ["model.circuits={arrange: sequence, count: 2}", "training.optimizer=qng"],
    "parts": [
        "model.circuits={arrange: sequence}", "quantum.ansatz=side_by_side",
        "quantum.overrides={parts: [{ansatz: reference, qubits: 2}, {ansatz: real_amplitudes, qubits: 1}]}",
        "training.optimizer=qng",
    ],
    "qlstm_six_bare": [
        "model.recurrent=[{unit: qlstm_six_bare, hidden: 1}]", "quantum.ansatz=qlstm", "quantum.qubits=2",
        "quantum.overrides={observables: [Z0]}",
    ],
    "per_horizon": ["model.circuits={arrange: per_horizon}", "data.horizon=2"],
    "per_target": ["model.circuits={arrange: per_target}", "data.targets=[close, volume]",
                   "data.features=[close, volume]"],
    "window": [
        "model.circuits={arrange: window}", "quantum.depth=5",
        "quantum.overrides={encoding: {repeat: true, fresh: true}}",
    ],
    "mae": ["training.loss=mae", "training.clip_norm=0.1", "training.schedule={kind: constant, warm_up: 1}"],
    "huber": [
        "training.loss=huber", "training.optimizer={kind: sgd, momentum: 0.9, nesterov: true}",
        "training.schedule={kind: cosine, floor: 0.1, warm_up: 1}", "training.dtype=float64",
    ],
    "diagonal": [
        "training.optimizer={kind: qng, metric: blocks}", "training.circuit={learning_rate: 0.05}",
    ],
    "mixed layers": [
        "model.recurrent=[{unit: rnn, hidden: 3, layer_norm: true}, {unit: tcn, hidden: 3, residual: true},"
        " {unit: lstm, hidden: 3, bidirectional: true, residual: true}]",
        "model.pooling=max", "model.layer_norm=true", "model.skip=concat", "model.activation_after=mish",
    ],
    "deep head": ["model.head_layers=[6, 4]", "model.skip=none", "model.output_activation=tanhshrink"],
    "static path": [
        "data.features=[adj_close, volume]", "data.static=[volume]", "model.static_layers=[3]",
        "data.scaling={volume: log_standard}",
    ],
    "qgru_bare": [
        "model.recurrent=[{unit: qgru_bare, hidden: 1}]", "quantum.overrides={observables: [Z0]}",
        "quantum.depth=2", "training.loss=gaussian",
    ],
    "gates of a distribution": ["model.recurrent=[{unit: qlstm, hidden: 2}]", "training.loss=student_t"],
    "horizons of a distribution": [
        "model.circuits={arrange: per_horizon}", "data.horizon=2", "training.loss=quantile",
        "training.horizon_weights=[1, 0.5]",
    ],
    "targets of a distribution": [
        "model.circuits={arrange: per_target}", "data.targets=[close, volume]",
        "data.features=[close, volume]", "training.loss=gaussian",
    ],
}  # fmt: skip

WHOLE = "QHQ_CHOICES" in os.environ
SOME = ("natural", "quantile", "convolution", "student_t", "parts", "window")
"""Those of the suite: whatever differs in how it is trained, resumed or evaluated."""
DEVICE = ("parts",)
"""Those that the suite takes to the service."""


OWN_PRICES = {"data.source": "csv", "data.path": "own.csv", "data.symbols": ["A", "B"], "data.start": None}


@pytest.mark.parametrize("name", CHOICES if WHOLE else SOME)
def test_a_choice_goes_all_the_way(study, name, loopback, no_backoff):
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
    np.testing.assert_allclose(found.results[0]["expectation_error"], 0, atol=1e-6)
    diagram = diagram_of_run(whole, whole.read_record())
    assert draw_diagram(diagram).axes
    assert diagram.weights == sum(whole.read_record().parameters.values())
    assert np.isfinite(run.predict()["forecast"].to_numpy()).all()
    if WHOLE or name in DEVICE:
        _run_on_the_service(study, run)


def _run_on_the_service(study, run):
    """As on a device: the same circuits as jobs, whose values are off by noise and shots alone."""
    (study / "backends.yaml").write_text(
        "ibm_*: {kind: ibm, resilience_level: 0, poll_seconds: 0.01, settle_seconds: 0.01}\n"
    )
    found = run.evaluate("ibm_fez", samples=2, shots=2048, yes=True)
    assert np.isfinite(found.metrics["mae"].to_numpy(dtype=float)).all()
    assert found.report.loc["ibm_fez", "job_ids"]
    assert 1e-6 < found.results[0]["expectation_error"] < 0.2


@pytest.mark.parametrize("name", [each for each in CHOICES if WHOLE] or ["parallel"])
def test_a_choice_is_ablated(study, name):
    config = load_config("tiny.yaml", ["training.epochs=1", *CHOICES[name]])
    found = qhq.ablate(config.model_dump(mode="json"), seeds=1, workers=1)
    assert {"hybrid", "mlp"} <= set(found.rows["variant"])
    assert np.isfinite(found.rows["mae"].to_numpy(dtype=float)).all()


def test_a_line_search_on_shots_is_refused_before_anything_is_written(study):
    with pytest.raises(ConfigError, match=r"lbfgs compares losses.*shots on aer_shots"):
        train_run(load_config("tiny.yaml", ["training.optimizer=lbfgs", "backend=aer_shots"]), Watcher())
    assert list_runs() == []


@pytest.mark.parametrize(
    "where",
    [["backend=aer_noisy"], ["backend=aer_shots"], ["training.backends=[aer, aer_noisy]"],
     ["training.injection={backend: fake_fez}"]],
    ids=lambda where: where[0],
)  # fmt: skip
def test_a_natural_gradient_needs_the_state(study, where):
    with pytest.raises(ConfigError, match="needs the state of the circuit, which only the exact engine has"):
        train_run(load_config("tiny.yaml", ["training.optimizer=qng", *where]), Watcher())
    assert list_runs() == []


@pytest.mark.parametrize(
    ("loss", "model"),
    [("quantile", {}), ("gaussian", {"model.circuits": {"arrange": "per_horizon"}}), ("student_t", {})],
)
def test_quantiles_flow_into_forecasts_metrics_figures_and_predictions(study, loss, model):
    write_prices("own.csv")
    own = {"training.loss": loss, "data.horizon": 2, "training.quantiles": [0.05, 0.5, 0.95], **model}
    run = qhq.train("tiny.yaml", set={**OWN_PRICES, **own})
    frame = run.forecasts
    assert frame.columns[-3:].tolist() == ["q_0.05", "q_0.5", "q_0.95"]
    np.testing.assert_allclose(frame["q_0.5"], frame["forecast"], rtol=1e-6)
    assert (frame["q_0.05"] < frame["q_0.5"]).all()
    assert (frame["q_0.5"] < frame["q_0.95"]).all()
    found = run.record["metrics"]["distribution"]
    actual, levels = frame["actual"].to_numpy(), np.array(found["levels"])
    missed = actual[:, None] - frame[["q_0.05", "q_0.5", "q_0.95"]].to_numpy()
    losses = np.maximum(levels * missed, (levels - 1) * missed).mean(axis=0)
    np.testing.assert_allclose(list(found["test"]["pinball"].values()), [*losses, losses.mean()])
    held = ((missed[:, 0] >= 0) & (missed[:, 2] <= 0)).reshape(-1, 2).mean(axis=0)
    np.testing.assert_allclose([each["held"]["value"] for each in found["test"]["coverage"]], held)
    assert found["naive"]["crps"] < found["naive_point_crps"]
    skill, word = found["crps_skill"], "less" if found["crps_skill"] > 0 else "more"
    assert f"{abs(100 * skill):.2f} % {word} than the last value" in found["verdict"]
    assert "Its 90 % interval held" in found["verdict"]
    assert found["verdict"] in [str(each) for each in result_tables(run.read())]
    assert (run.folder / "figures" / "forecast.png").stat().st_size > 0
    ahead = run.predict(level=0.8)
    assert ahead.columns[-3:].tolist() == ["q_0.05", "q_0.5", "q_0.95"]
    np.testing.assert_allclose(ahead["q_0.5"], ahead["forecast"], rtol=1e-6)


def test_the_folds_of_a_walk_forward_pool_their_quantiles(study):
    write_prices("own.csv")
    changes = {"training.loss": "quantile", "data.split.scheme": "rolling", "data.split.folds": 2}
    run = qhq.train("tiny.yaml", set={**OWN_PRICES, **changes, "training.epochs": 1}, workers=1)
    assert "q_0.95" in run.forecasts
    assert "q_0.95" not in run.metrics.index
    assert run.record["metrics"]["distribution"]["test"]["crps"] > 0


def test_weights_of_horizons_must_fit_the_horizon(study):
    with pytest.raises(ConfigError, match=r"one weight for each of data.horizon; got 2 for 1"):
        load_config("tiny.yaml", ["training.horizon_weights=[1, 2]"])


def test_an_activation_cannot_bend_a_distribution(study):
    overrides = ["training.loss=gaussian", "model.output_activation=tanh"]
    with pytest.raises(ConfigError, match="output_activation must be none"):
        train_run(load_config("tiny.yaml", overrides), Watcher())


def test_a_head_that_is_fitted_forecasts_points(study):
    overrides = ["model={kind: features}", "training.loss=quantile"]
    with pytest.raises(ConfigError, match=r"point forecast. Got training.loss quantile"):
        train_run(load_config("tiny.yaml", overrides), Watcher())
