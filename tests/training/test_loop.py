"""The loop: validation decides, and a resumed run equals an uninterrupted one bit for bit."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from qhq.errors import ConfigError
from qhq.training.checkpoint import load_state, save_state
from qhq.training.loop import Samples, Trainer, TrainingState, Watcher, gradient_norm, history_csv
from qhq.training.spec import TrainingSpec


class Line(nn.Module):
    """A stand-in model with dropout, so that a generator that moved would show."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.first, self.last = nn.Linear(3, 8), nn.Linear(8, 1)
        self.dropout = nn.Dropout(0.2)

    def forward(self, windows):
        return self.last(self.dropout(torch.tanh(self.first(windows[:, -1]))))[:, None, :]

    def parts(self):
        return {"encoder": [*self.first.parameters()], "circuit": [], "head": [*self.last.parameters()]}


def samples(seed: int, count: int) -> Samples:
    generator = np.random.default_rng(seed)
    inputs = torch.tensor(generator.normal(size=(count, 5, 3)), dtype=torch.float32)
    return Samples(inputs, inputs[:, -1:, :1] * 0.5 + 0.1)


def trainer(seed: int = 3, **changes) -> Trainer:
    spec = TrainingSpec(**{"epochs": 6, "batch_size": 8, "learning_rate": 0.01, **changes})
    return Trainer(Line(), samples(1, 50), samples(2, 20), spec, seed=seed)


class Stop(Exception):
    pass


class StopAfter(Watcher):
    def __init__(self, path, epochs, batches=0):
        self.path, self.epochs, self.batches = path, epochs, batches

    def epoch_done(self, state):
        save_state(state, self.path, {})

    def batch_done(self, loss, gradient_norms):
        if self.epochs == 0:
            self.batches -= 1
            if self.batches < 0:
                raise Stop

    def epoch_started(self, epoch, batches):
        self.epochs -= epoch > 0


def weights(trainer: Trainer) -> list[np.ndarray]:
    return [tensor.numpy().copy() for tensor in trainer.model.state_dict().values()]


def test_training_reduces_the_loss():
    run = trainer()
    state = run.run(run.initial_state(), Watcher())
    assert state.history[-1].train_loss < state.history[0].train_loss / 2


def test_the_history_has_the_learning_rate_of_each_epochs_last_batch():
    run = trainer(schedule={"kind": "step", "every": 1, "gamma": 0.5})
    history = run.run(run.initial_state(), Watcher()).history
    expected = [run.spec.learning_rate * 0.5**epoch for epoch in range(len(history))]
    np.testing.assert_allclose([record.learning_rate for record in history], expected)


@pytest.mark.parametrize(("epochs", "batches"), [(0, 0), (0, 3), (1, 0), (3, 5)])
def test_cut_off_and_resumed_equals_uninterrupted(tmp_path, epochs, batches):
    whole = trainer()
    whole_state = whole.run(whole.initial_state(), Watcher())
    path, cut = tmp_path / "resume.pt", trainer()
    with pytest.raises(Stop):
        cut.run(cut.initial_state(), StopAfter(path, epochs, batches))
    fresh = trainer()
    state = load_state(path, {}) if path.exists() else fresh.initial_state()
    resumed_state = fresh.run(state, Watcher())
    for one, other in zip(weights(whole), weights(fresh), strict=True):
        np.testing.assert_array_equal(one, other)
    assert resumed_state.history == whole_state.history


def test_seed_decides_the_batches():
    runs = [trainer(seed=seed) for seed in (1, 1, 2)]
    for run in runs:
        run.run(run.initial_state(), Watcher())
    np.testing.assert_array_equal(weights(runs[0])[0], weights(runs[1])[0])
    assert not np.array_equal(weights(runs[0])[0], weights(runs[2])[0])


def test_global_generator_is_left_alone():
    before = torch.get_rng_state()
    run = trainer(epochs=2)
    run.run(run.initial_state(), Watcher())
    np.testing.assert_array_equal(before, torch.get_rng_state())


def test_best_validation_epoch_is_kept_and_patience_stops():
    run = trainer(epochs=200, patience=3, learning_rate=0.05)
    state = run.run(run.initial_state(), Watcher())
    losses = [record.validation_loss for record in state.history]
    best = int(np.argmin(losses))
    assert state.stopped
    assert len(losses) == best + 1 + 3
    np.testing.assert_allclose(run.validation_loss(), losses[best], rtol=1e-6)


def test_the_untrained_model_is_a_candidate_and_patience_starts_with_the_epochs():
    """From the truth every step leads away; patience counts from the best epoch, not from the start."""
    run = trainer(epochs=30, patience=2, learning_rate=0.5)
    run.train.targets.neg_()  # what is learned is wrong on the validation split
    before = weights(run)
    state = run.run(run.initial_state(), Watcher())
    losses = [record.validation_loss for record in state.history]
    assert state.untrained_loss == state.best_loss < min(losses)
    assert state.best_epoch == 0
    assert state.epoch == int(np.argmin(losses)) + 1 + 2
    for one, other in zip(before, weights(run), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_state_of_an_earlier_version_goes_on_as_it_would_have():
    """Its file has no loss of epoch 0: then that is no candidate, and the rest is the same."""
    run = trainer(epochs=4)
    whole = run.run(run.initial_state(), Watcher())
    again = trainer(epochs=4)
    plain = again.run(again.initial_state(), Watcher(), until=2).to_dict()
    del plain["untrained_loss"]
    fresh = trainer(epochs=4)
    state = fresh.run(TrainingState.from_dict(plain), Watcher())
    assert (state.history, state.best_epoch) == (whole.history, whole.best_epoch)
    assert state.untrained_loss == np.inf


@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_every_loss_trains(loss):
    run = trainer(loss=loss, epochs=3)
    state = run.run(run.initial_state(), Watcher())
    assert state.history[-1].train_loss < state.history[0].train_loss


def test_gradients_are_clipped():
    run = trainer(clip_norm=1e-3, epochs=1)
    norms = []
    run.optimizer.register_step_pre_hook(lambda *_: norms.append(gradient_norm([*run.model.parameters()])))
    run.run(run.initial_state(), Watcher())
    assert max(norms) < 1.001e-3


def test_diverged_loss_is_an_error():
    run = trainer()
    run.train.targets[:] = float("nan")
    with pytest.raises(ConfigError, match="finite.*learning_rate"):
        run.run(run.initial_state(), Watcher())


def test_gradient_norm_is_the_norm_of_all_gradients():
    parameters = [nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))]
    parameters[0].grad, parameters[1].grad = torch.tensor([3.0, 0.0, 0.0]), torch.tensor([0.0, 4.0])
    np.testing.assert_allclose(gradient_norm(parameters), 5.0)
    assert gradient_norm([]) == 0.0


def test_state_is_not_shared_with_the_optimizer():
    run = trainer(epochs=2)
    seen = []

    class Keep(Watcher):
        def epoch_done(self, state):
            seen.append((state, copy.deepcopy(state.to_dict())))

    run.run(run.initial_state(), Keep())
    state, copied = seen[0]
    torch.testing.assert_close(state.to_dict()["optimizer"]["state"], copied["optimizer"]["state"])


@pytest.mark.parametrize("name", ["mse", "mae", "huber"])
def test_every_point_loss_is_zero_where_forecasts_are_right(name):
    targets = torch.linspace(-2, 2, 12).reshape(4, 3, 1)
    samples = Samples(torch.zeros(4, 2, 1), targets)
    trainer = Trainer(Parrot(targets), samples, samples, TrainingSpec(loss=name), seed=0)
    assert trainer.validation_loss() == 0
    trainer.model.answers = targets + 1
    assert trainer.validation_loss() > 0


class Parrot(torch.nn.Module):
    """Gives the same answers to any windows."""

    def __init__(self, answers):
        super().__init__()
        self.answers, self.weight = answers, torch.nn.Parameter(torch.zeros(1))

    def forward(self, windows):
        return self.answers + 0 * self.weight

    def parts(self):
        return {"head": [self.weight]}


class Circuit(nn.Module):
    """Stands for a circuit: what it gives is heard."""

    def forward(self, values):
        return torch.cos(values)


class WithCircuit(Line):
    def __init__(self) -> None:
        super().__init__()
        self.circuit = Circuit()

    def forward(self, windows):
        return self.last(self.circuit(self.first(windows[:, -1])))[:, None, :]

    def heard_circuits(self):
        return [self.circuit]


@pytest.mark.parametrize("slowly", [False, True])
def test_an_epoch_keeps_the_band_of_the_circuits_outputs_and_how_far_the_weights_came(slowly):
    model, spec = WithCircuit(), TrainingSpec(epochs=2, batch_size=8, learning_rate=0.01)
    model.hears_slowly = slowly
    begun = {name: each.clone() for name, each in model.state_dict().items()}
    validation = samples(2, 16)
    run = Trainer(model, samples(1, 50), validation, spec, seed=3)
    state = run.run(run.initial_state(), Watcher())
    record = state.history[-1]
    model.load_state_dict(state.model)
    with torch.no_grad():
        given = torch.cos(model.first(validation.inputs[:, -1])).double().numpy()
    band = [record.output_q05, record.output_q25, record.output_q50, record.output_q75, record.output_q95]
    np.testing.assert_allclose(band, np.quantile(given, [0.05, 0.25, 0.5, 0.75, 0.95]), atol=1e-6)
    moved = [
        float((state.model[name] - begun[name]).square().sum()) for name in ("first.weight", "first.bias")
    ]
    np.testing.assert_allclose(record.drift_encoder, sum(moved) ** 0.5, rtol=1e-5)
    assert record.drift_circuit == 0.0
    assert not model.circuit._forward_hooks


def test_a_state_of_an_earlier_version_lacks_what_is_measured_since():
    run = trainer(epochs=1)
    plain = run.run(run.initial_state(), Watcher()).to_dict()
    plain["history"] = [
        {key: value for key, value in row.items() if not key.startswith(("drift", "output"))}
        for row in plain["history"]
    ]
    record = TrainingState.from_dict(plain).history[0]
    assert record.drift_head is None
    assert history_csv([record]).splitlines()[1].endswith(",,,,,,,,")
