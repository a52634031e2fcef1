"""Runs of a frozen circuit with a fitted head: no gradients, and everything else as of any run."""

from __future__ import annotations

import numpy as np
import pytest

from qhq.backends.local.statevector import StatevectorExecutor
from qhq.data.prepare import prepare
from qhq.errors import ConfigError
from qhq.experiment.checkup import examine_run, examine_subject
from qhq.experiment.config import load_config
from qhq.experiment.evaluate import forecast_windows
from qhq.experiment.opening import open_on_data
from qhq.experiment.questions import open_questions
from qhq.experiment.reopening import open_trained
from qhq.experiment.run import resume_run, train_run
from qhq.runs.run_folder import FINISHED, RUNNING
from qhq.training.loop import Watcher

FEATURES = "model={kind: features}"


def config(*overrides: str):
    return load_config("tiny.yaml", [FEATURES, *overrides])


def train(*overrides: str):
    return train_run(config(*overrides), Watcher())


@pytest.mark.parametrize("head", ["ridge", "lasso", "boosting"])
def test_run_comes_back_from_its_folder_and_forecasts_the_same(study, head):
    folder = train(f"model.head.kind={head}", *(["model.head.trees=5"] if head == "boosting" else []))
    record = folder.read_record()
    assert (record.status, record.head.kind) == (FINISHED, head)
    assert not list(folder.path.rglob("*.pkl"))
    assert not folder.resume.exists()
    again = open_trained(folder)
    found = forecast_windows(again, StatevectorExecutor(again.ansatz), again.data.test)
    np.testing.assert_allclose(found.metrics().mae, record.tested().test.mae, rtol=1e-6)


def test_same_seed_gives_the_same_bytes(study):
    texts = [(train(f"seed={seed}").path / "predictions.csv").read_bytes() for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_head_on_the_window_itself_is_the_ridge_baseline(study):
    strengths = "model.head.strengths=[0.01]"
    folder = train("quantum=null", strengths, "data.symbols=[AAPL]")
    opened = open_trained(folder)
    rows = opened.inputs(opened.data.train).flatten(1).double().numpy()
    targets = opened.data.scaler.targets(opened.data.train).reshape(len(rows), -1)
    standard = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    both = np.hstack([standard, np.ones((len(rows), 1))])
    penalty = np.diag([0.01 * len(rows)] * rows.shape[1] + [0.0])
    weights = np.linalg.solve(both.T @ both + penalty, both.T @ targets)
    np.testing.assert_allclose(
        opened.model.head.weight.numpy() * rows.std(axis=0)[:, None], weights[:-1], rtol=1e-3, atol=1e-6
    )


def test_circuit_keeps_the_weights_of_its_seed(study):
    folder, drawn = train(), open_on_data(config(), prepare(config().data))
    kept = open_trained(folder).model.quantum.weight
    np.testing.assert_array_equal(kept.detach(), drawn.model.quantum.weight.detach())


def test_projected_features_are_read_and_kept_with_the_run(study):
    opened = open_trained(train("model.observables=projected"))
    qubits = opened.ansatz.num_qubits
    assert opened.ansatz.num_outputs == 3 * qubits + 9 * qubits * (qubits - 1) // 2
    assert len(opened.model.head.weight) == opened.ansatz.num_outputs


@pytest.mark.parametrize("projection", ["pca", "random"])
def test_projection_sees_the_training_split_alone(study, projection):
    settings = config(f"model.projection={projection}")
    data = prepare(settings.data)
    own = open_on_data(settings, data).model.projection
    values = open_on_data(settings, data).latent(data.train)
    if projection == "pca":
        scores = (values - values.mean(dim=0)) @ own
        np.testing.assert_allclose(scores.var(dim=0, correction=0), 1.0, rtol=1e-3)
    later = data.validation.panel  # rows of the other splits may be anything
    later.values[:] = later.values * 1.5
    np.testing.assert_array_equal(own, open_on_data(settings, data).model.projection)


def test_projection_none_needs_as_many_inputs_as_values(study):
    with pytest.raises(ConfigError, match="as many circuit inputs as a window has values"):
        train("model.projection=none")


def test_head_may_see_the_window_beside_the_features(study):
    with_window, without = (
        open_trained(train(f"model.include_inputs={word}")).model for word in ("true", "false")
    )
    assert len(with_window.head.weight) == len(without.head.weight) + with_window.projection.shape[0]


def test_subset_is_of_every_symbol_and_of_every_split(study):
    folder = train("model.samples=12")
    record, opened = folder.read_record(), open_trained(folder)
    assert record.head.windows == {"train": 12, "validation": 12}
    questions = open_questions(opened)
    assert questions is not None
    some = questions.windows("test")
    assert len(some) == 12
    assert set(some.symbol) == set(opened.data.test.symbol)
    assert len(folder.file("predictions.csv").read_text().splitlines()) == 13


def test_run_that_was_cut_off_is_fitted_again_to_the_same(study):
    whole, cut = train(), train()
    cut.weights.unlink()
    cut.write_record(cut.read_record().updated(status=RUNNING))
    resume_run(cut, Watcher())
    assert whole.weights.read_bytes() == cut.weights.read_bytes()


def test_a_head_no_better_than_none_is_not_kept(study):
    folder = train("model.head={kind: boosting, trees: 1, learning_rate: 1.0, subsample: 0.05, depth: 12}")
    record, model = folder.read_record(), open_trained(folder).model
    assert not record.head.kept
    assert record.best_epoch == 0
    assert not model.head.start.any()
    assert len(model.head.value) == 0
    assert "head of zeros" in record.validation.verdict


def test_doctor_says_which_checks_do_not_apply(study):
    folder = train()
    assert "do not apply" in examine_subject(str(folder.path)).subject
    assert not {"gradient_none", "barren_plateau", "weights_never_move"} & {
        each.code for each in examine_run(folder).findings
    }
    before = examine_subject("tiny.yaml", [FEATURES, "model.observables=projected"])
    assert "constant_forecast" not in before.codes


def test_shots_are_drawn_and_belong_to_the_seed(study):
    one, same, exact = (
        train(f"backend={name}", "data.start=2012-06-01").weights.read_bytes()
        for name in ("aer_shots", "aer_shots", "aer")
    )
    assert one == same != exact


def test_two_middles_are_refused(study):
    with pytest.raises(ConfigError, match="before the head"):
        train("model.middle={hidden: 4, outputs: 4}")


def test_reservoir_is_fed_the_newest_values(study):
    settings = ["quantum={ansatz: reservoir}", "model.projection=last", "data.symbols=[AAPL]"]
    opened = open_trained(train(*settings))
    values = opened.latent(opened.data.train)
    newest = (values - values.mean(dim=0)) / values.std(dim=0, correction=0)
    angles = opened.model.angles(values)
    np.testing.assert_allclose(angles, np.pi * np.tanh(0.3 * newest.numpy()), atol=1e-4)
