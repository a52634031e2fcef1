"""A model of changes is its baseline before training, and a run keeps it unless an epoch is better."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from qhq.evaluation.baselines.persistence import black_scholes, last_value
from qhq.experiment.checkup import examine_design, examine_run, examine_subject
from qhq.experiment.config import load_config
from qhq.experiment.evaluate import forecast_scaled
from qhq.experiment.fit import fit
from qhq.experiment.opening import open_design
from qhq.experiment.run import train_run
from qhq.experiment.words import _instead, say_pooled, say_validation
from qhq.runs.measures import Errors
from qhq.runs.record import Validation
from qhq.training.loop import Watcher
from tests.data.panels import option_frame

SMALL = ("quantum.qubits=2", "quantum.depth=1", "data.window=4", "data.static=[]")
OPTIONS = ("data.source=csv", "data.panel=options", "data.path=options.csv", "data.features=[bid, ask, spot]",
           "data.targets=[bid, ask]", "data.split.held_out=[]", *SMALL)  # fmt: skip
WALK = ("data.scaling=window", "training.learning_rate=0.00001")
"""So slow that no epoch comes from the weights as drawn to the last value: the untrained model is best."""


def untrained(*overrides, config="tiny.yaml"):
    """Forecast of the untrained model, of the last value, and the windows of the test split."""
    experiment = open_design(load_config(config, overrides))
    windows = experiment.data.test
    scaled, _ = forecast_scaled(experiment, None, windows)
    return experiment.data.scaler.to_raw_units(scaled, windows), windows


@pytest.mark.parametrize("skip", ["none", "add", "concat"])
@pytest.mark.parametrize("scaling", ["window", "log_return"])
def test_an_untrained_model_of_changes_is_the_last_value(study, scaling, skip):
    forecast, windows = untrained(f"data.scaling={scaling}", f"model.skip={skip}", "data.horizon=2")
    np.testing.assert_allclose(forecast, last_value(windows), rtol=1e-12)


@pytest.mark.parametrize("task", ["price", "forecast"])
@pytest.mark.parametrize(
    ("scaling", "baseline"),
    [("residual", black_scholes), ("over_strike", last_value), ("over_spot", last_value)],
)
def test_an_untrained_model_of_options_is_its_baseline(study, task, scaling, baseline):
    option_frame(sessions=60).to_csv(study / "options.csv", index=False)
    changes = (f"data.scaling={scaling}", f"data.task={task}", "model.output_activation=tanh")
    forecast, windows = untrained(*OPTIONS, *changes, config="experiments/options")
    np.testing.assert_allclose(forecast, baseline(windows), rtol=1e-9)


def test_an_untrained_model_of_volatilities_is_black_scholes(study):
    option_frame(sessions=60).to_csv(study / "options.csv", index=False)
    changes = ("data.scaling=implied_volatility", "data.features=[mid, spot]", "data.targets=[mid]")
    forecast, windows = untrained(*OPTIONS, *changes, config="experiments/options")
    np.testing.assert_allclose(forecast, black_scholes(windows), rtol=1e-9)


@pytest.mark.parametrize("changes", [("data.scaling=minmax",), ("model.output_activation=sigmoid",)])
def test_where_zero_is_no_baseline_the_model_starts_as_drawn(study, changes):
    assert not open_design(load_config("tiny.yaml", ("data.scaling=window", *changes))).model.closed


def test_training_begins_with_the_weights_as_drawn(study):
    """The start at the baseline costs no step: epochs are those of a model that knows nothing of it."""
    config = load_config("tiny.yaml", WALK)
    histories = []
    for at_zero in (True, False):
        experiment = open_design(config, at_baseline=at_zero)
        state = fit(experiment, Watcher())
        histories.append(state.history)
        assert not experiment.model.closed
        head = experiment.model.head.weight.detach().abs().max()
        assert (state.best_epoch, float(head) == 0) == ((0, True) if at_zero else (state.best_epoch, False))
    assert histories[0] == histories[1]


def test_a_training_that_comes_to_nothing_keeps_the_baseline_and_says_so(study):
    run = train_run(load_config("tiny.yaml", WALK), Watcher())
    record = run.read_record().to_dict()
    validation, losses = record["validation"], pd.read_csv(run.file("history.csv"))["validation_loss"]
    assert validation["lowest_loss"] == pytest.approx(losses.min(), rel=1e-12)
    assert validation["lowest_epoch"] == 1 + losses.argmin() >= 1
    assert (record["best_epoch"], validation["epoch"], validation["better"]) == (0, 0, False)
    assert validation["loss"] == validation["untrained_loss"] == record["validation_loss"]
    assert validation["model"] == validation["naive"]
    assert validation["verdict"].startswith("Training did not improve on the untrained model")
    assert validation["verdict"].endswith("is kept, which is the last-value forecast.")
    assert record["metrics"]["test"] == record["metrics"]["naive"]
    assert record["verdict"].startswith("One seed, not tested")
    assert record["doctor"]["healthy"]


def test_the_doctor_looks_at_what_was_trained_though_the_start_is_kept(study):
    assert examine_design(load_config("tiny.yaml", WALK)).healthy
    run = train_run(load_config("tiny.yaml", WALK), Watcher())
    found = examine_subject(run.name)
    assert (
        found.subject
        == f"run {run.name}, with the weights of its last epoch, though it forecasts with the untrained ones"
    )
    assert found.diagnosis.healthy
    run.resume.unlink()
    assert examine_subject(run.name).subject == f"run {run.name}, as it began"
    assert examine_run(run).healthy


def test_a_checkpoint_behind_its_baseline_is_named_at_once(study):
    """Levels are scaled as they are: after an epoch the model is far behind the last value."""
    record = train_run(load_config("tiny.yaml", ("training.epochs=1",)), Watcher()).read_record().to_dict()
    validation = record["validation"]
    assert (validation["epoch"], validation["better"], validation["is_baseline"]) == (1, False, False)
    own, other = validation["model"]["mae"], validation["naive"]["mae"]
    assert own > 1.2 * other
    assert validation["verdict"].startswith("No better than its baseline before any test: on the validation")
    assert validation["verdict"].endswith(
        f"averaged over 2 symbols (pooled MAE {own:.4g} against {other:.4g})."
    )


def test_where_pooled_errors_are_the_other_way_round_the_sentence_says_so():
    """A dear symbol gains, two cheap ones lose: each symbol counts alike, and the pooled pair says why."""
    errors = {"mase": 1.0, "rmse": 1.0, "mape": 1.0, "skill": 0.0}
    content = {
        "epoch": 3, "symbols": 3, "is_baseline": False, "better": False,
        "relative": {"model": 1.2, "naive": 1.0},
        "model": {"mae": 0.9, **errors}, "naive": {"mae": 1.0, **errors},
    }  # fmt: skip
    said = say_validation(Validation.model_validate(content))
    assert "20.00 % more than that of the last-value forecast, averaged over 3 symbols" in said
    assert (
        "pooled MAE 0.9 against 1: the other way round, since pooled the dearest symbols weigh most" in said
    )
    alike = Validation.model_validate(content | {"model": {"mae": 1.1, **errors}})
    assert "other way round" not in say_validation(alike)


def test_what_to_do_instead_hangs_on_where_the_loss_was_lowest():
    """A loss that rose for epochs is no reason to train longer, and one that still fell is."""
    errors = {"mae": 1.0, "mase": 1.0, "rmse": 1.0, "mape": 1.0, "skill": 0.0}
    content = {
        "epoch": 0, "symbols": 1, "is_baseline": True, "better": False,
        "relative": {"model": 1.0, "naive": 1.0}, "model": errors, "naive": errors,
        "untrained_loss": 1.0984961, "lowest_loss": 1.0985302,
    }  # fmt: skip
    for lowest, said in ((2, "More epochs would not help: its validation loss was lowest after epoch 2 of 9"),
                         (9, "train longer before"), (None, "by a run that learned something")):  # fmt: skip
        validation = Validation.model_validate(content | {"lowest_epoch": lowest})
        assert said in _instead(9, validation)
    assert "below 1.0985 (the lowest was 1.09853, after epoch 2)" in say_validation(
        Validation.model_validate(content | {"lowest_epoch": 2})
    )


def test_mae_and_skill_that_disagree_are_explained():
    naive = Errors(mae=1.0, skill=0.0)
    for mae, skill, count in (
        (1.1, 0.01, 1),
        (0.9, -0.01, 1),
        (1.1, -0.01, 0),
        (0.9, 0.01, 0),
        (1.1, None, 0),
    ):
        assert len(say_pooled({"aer": Errors(mae=mae, skill=skill)}, naive)) == count


def test_whoever_compares_backends_is_told_that_an_untrained_model_cannot_move(study, qhq):
    """Noise that changes nothing would else be read as a circuit that no noise can harm."""
    train_run(load_config("tiny.yaml", WALK), Watcher())
    for words in (("eval", "--backend", "aer"), ("predict", "--level", "0.9")):
        result = qhq(*words)
        assert result.exit_code == 0, result.stderr
        said = " ".join(result.stdout.split())
        assert "kept its untrained model, which is the last-value forecast whatever the circuit gives" in said


def test_a_model_that_learned_has_no_such_line(study, qhq):
    train_run(load_config("tiny.yaml"), Watcher())
    assert "untrained" not in qhq("eval", "--backend", "aer").stdout
