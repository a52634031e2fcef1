"""Every optimiser and schedule: it trains, goes on after a kill as if there had been none, and is checked."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from qhq.training.checkpoint import load_state, save_state
from qhq.training.loop import Watcher
from qhq.training.spec import OPTIMIZERS, TrainingSpec
from tests.training.test_loop import trainer, weights

CONFIGS = {
    **{name: {"optimizer": name} for name in OPTIMIZERS},
    "momentum": {"optimizer": {"kind": "sgd", "momentum": 0.9, "nesterov": True}, "clip_norm": 1.0},
    "cosine": {"schedule": {"kind": "cosine", "warm_up": 2, "floor": 0.1}},
    "step": {"schedule": {"kind": "step", "every": 2, "gamma": 0.1}},
    "plateau": {"schedule": {"kind": "plateau", "patience": 1}, "learning_rate": 0.1, "patience": None},
    "groups": {"optimizer": "adamw", "circuit": {"learning_rate": 0.1, "weight_decay": 0.0}},
}


def with_circuit(**changes):
    """A trainer whose model calls its first layer the circuit."""
    run = trainer(**changes)
    model = run.model
    model.parts = lambda: {"encoder": [], "circuit": [*model.first.parameters()],
                           "head": [*model.last.parameters()]}  # fmt: skip
    return type(run)(model, run.train, run.validation, run.spec, seed=run.seed)


@pytest.mark.parametrize("name", CONFIGS)
def test_it_trains_and_a_resumed_run_equals_an_uninterrupted_one(tmp_path, name):
    whole = with_circuit(**CONFIGS[name])
    state = whole.run(whole.initial_state(), Watcher())
    assert state.history[-1].train_loss < state.history[0].train_loss
    path = tmp_path / "resume.pt"
    for epochs in (1, 3, 4):
        part = with_circuit(**CONFIGS[name])
        begun = load_state(path, {}) if path.exists() else part.initial_state()
        save_state(part.run(begun, Watcher(), until=epochs), path, {})
    last = with_circuit(**CONFIGS[name])
    resumed = last.run(load_state(path, {}), Watcher())
    assert resumed.history == state.history
    for one, other in zip(weights(whole), weights(last), strict=True):
        np.testing.assert_array_equal(one, other)


def rates(spec: TrainingSpec, batches: int, losses=()) -> np.ndarray:
    at = (np.arange(spec.epochs * batches) + 0.5) / batches
    return np.array([spec.schedule.factor(each, spec.epochs, losses[: int(each)]) for each in at])


def test_cosine_falls_from_one_to_its_floor_after_a_straight_rise():
    found = rates(
        TrainingSpec.model_validate(
            {"epochs": 10, "schedule": {"kind": "cosine", "warm_up": 2, "floor": 0.2}}
        ),
        100,
    )
    np.testing.assert_allclose(np.diff(found[:200]), 1 / 200)
    assert (np.diff(found[200:]) < 0).all()
    np.testing.assert_allclose(found[200 + 400], 0.6, atol=2e-3)  # half the way down, half the way through
    np.testing.assert_allclose(found[-1], 0.2, atol=1e-4)
    assert found.min() > 0


def test_steps_fall_at_their_epochs():
    spec = TrainingSpec.model_validate(
        {"epochs": 6, "schedule": {"kind": "step", "every": 2, "gamma": 0.1, "warm_up": 1}}
    )
    np.testing.assert_allclose(rates(spec, 1), [0.5, 1, 1, 0.1, 0.1, 0.01])


def test_a_plateau_lowers_the_rate_once_for_each_wait():
    spec = TrainingSpec.model_validate({"epochs": 8, "schedule": {"kind": "plateau", "gamma": 0.5}})
    losses = [3.0, 2.0, 2.0, 2.5, 1.0, 1.0, 1.0, 1.0]
    np.testing.assert_allclose(rates(spec, 1, losses), [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25])


def test_the_circuit_has_its_own_rate_and_decay_and_nothing_else_does():
    run = with_circuit(
        optimizer={"kind": "sgd"}, schedule={"kind": "step", "every": 1, "gamma": 0.5},
        learning_rate=0.01, weight_decay=0.1, circuit={"learning_rate": 0.2, "weight_decay": 0.0}, epochs=2,
    )  # fmt: skip
    rest, circuit = run.optimizer.param_groups
    assert [id(each) for each in circuit["params"]] == [id(each) for each in run.model.first.parameters()]
    assert [id(each) for each in rest["params"]] == [id(each) for each in run.model.last.parameters()]
    assert (rest["weight_decay"], circuit["weight_decay"]) == (0.1, 0.0)
    run.run(run.initial_state(), Watcher())
    np.testing.assert_allclose([group["lr"] for group in run.optimizer.param_groups], [0.005, 0.1])


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adamw_shrinks_weights_and_adam_adds_to_their_gradient(decay):
    """One step from a gradient g: AdamW moves by lr * sign(g) and lr * decay * w; Adam by lr * sign(g)."""
    for kind, expected in (("adam", 1.0 - 0.01), ("adamw", 1.0 * (1 - 0.01 * decay) - 0.01)):
        run = trainer(optimizer=kind, weight_decay=decay)
        parameter = next(run.model.parameters())
        with torch.no_grad():
            parameter.fill_(1.0)
        parameter.grad = torch.full_like(parameter, 0.5)
        run.optimizer.step()
        np.testing.assert_allclose(parameter.detach(), expected, rtol=1e-6)


def test_lbfgs_ends_at_the_least_squares_solution_of_a_linear_model():
    run = trainer(optimizer={"kind": "lbfgs", "steps": 30}, batch_size=50, learning_rate=1.0, dtype="float64")
    assert len(run.train) == 50
    state = run.run(run.initial_state(), Watcher())
    adam = trainer(batch_size=50)
    slower = adam.run(adam.initial_state(), Watcher())
    assert state.best_loss < slower.best_loss / 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "adamm"}, "adamm"),
        ({"optimizer": {"kind": "adam", "momentum": 0.9}}, "momentum"),
        ({"optimizer": {"kind": "sgd", "nesterov": True}}, "nesterov needs a momentum"),
        ({"optimizer": "lbfgs", "clip_norm": 1.0}, "one step length for all, and takes no clip_norm"),
        ({"optimizer": "lbfgs", "weight_decay": 0.1}, "takes no weight_decay"),
        ({"optimizer": "lbfgs", "circuit": {"learning_rate": 0.1}}, "takes no circuit.learning_rate"),
        ({"schedule": "plateau", "patience": 2}, "must be below patience"),
        ({"schedule": {"kind": "cosine", "every": 3}}, "every"),
        ({"schedule": {"kind": "step", "gamma": math.inf}}, "gamma"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        TrainingSpec.model_validate(changes)
