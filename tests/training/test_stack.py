"""Several trainings at once: each member is trained as alone, and goes on as it would have."""

import copy

import numpy as np
import pytest
import torch

from qhq.errors import ConfigError
from qhq.models.hybrid import Shape, build_model
from qhq.models.spec import ModelSpec, RecurrentLayerSpec
from qhq.models.stack import Stack
from qhq.training.loop import Samples, Trainer, TrainingState, Watcher
from qhq.training.spec import TrainingSpec
from qhq.training.stack import StackTrainer, spec_cannot_stack

MEMBERS = 3
FEW = {"epochs": 5, "batch_size": 7, "learning_rate": 0.05}
SPECS = {
    "adam, clipped": TrainingSpec(**FEW, patience=1, clip_norm=0.05, weight_decay=0.01),
    "sgd, momentum": TrainingSpec(**FEW, patience=None, optimizer={"kind": "sgd", "momentum": 0.5}),
    "rates of their own": TrainingSpec(
        **FEW, patience=2, optimizer="adamw", circuit={"learning_rate": 0.2}, schedule="cosine", loss="mae"
    ),
}


def samples(seed, count):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 5, 2, generator=generator)
    return Samples(inputs, inputs[:, -1:, :1] + 0.3 * torch.randn(count, 1, 1, generator=generator))


TRAIN, VALIDATION = samples(0, 24), samples(1, 9)


def trainers(spec):
    model = ModelSpec(recurrent=(RecurrentLayerSpec(hidden=4),), latent=3, middle={"hidden": 3, "outputs": 3})
    return [
        Trainer(
            build_model(model, Shape(2, 1, 1), quantum=None, seed=seed), TRAIN, VALIDATION, spec, seed=seed
        )
        for seed in range(MEMBERS)
    ]


class Keeper(Watcher):
    """Keeps what a kill would leave on disk."""

    def __init__(self):
        self.states = []

    def epoch_done(self, state):
        self.states.append(copy.deepcopy(state))


def train(spec, states=None, **keys):
    """States that a stack ends with, and all on the way."""
    alone = trainers(spec)
    states = states or [each.initial_state() for each in alone]
    stack, keepers = Stack([each.model for each in alone]), [Keeper() for _ in alone]
    return StackTrainer(alone, stack).run(states, keepers, **keys), keepers


def assert_same(one: TrainingState, other: TrainingState):
    for name, tensor in one.model.items():
        assert torch.equal(tensor, other.model[name]), name
    assert [each.validation_loss for each in one.history] == [each.validation_loss for each in other.history]
    for mine, its in zip(one.optimizer["state"].values(), other.optimizer["state"].values(), strict=True):
        for name, value in mine.items():
            assert value is its[name] or torch.equal(value, its[name])


@pytest.mark.parametrize("name", SPECS)
def test_each_member_is_trained_as_alone(name):
    found, _ = train(SPECS[name])
    for trainer, state in zip(trainers(SPECS[name]), found, strict=True):
        alone = trainer.run(trainer.initial_state(), Watcher())
        assert (state.epoch, state.best_epoch, state.stopped) == (
            alone.epoch,
            alone.best_epoch,
            alone.stopped,
        )
        for mine, own in zip(state.history, alone.history, strict=True):
            ours, theirs = (np.array(list(vars(each).values()), dtype=float) for each in (mine, own))
            np.testing.assert_allclose(ours, theirs, atol=1e-5)  # what an epoch has none of is NaN in both
        for key, tensor in alone.best_model.items():
            np.testing.assert_allclose(state.best_model[key], tensor, atol=1e-4)
    if SPECS[name].patience == 1:
        assert len({state.epoch for state in found}) > 1, "the members should stop at different epochs"


def test_after_a_kill_every_member_goes_on_bit_for_bit():
    spec = SPECS["adam, clipped"]
    whole, keepers = train(spec)
    first = [keeper.states[0] for keeper in keepers]
    # Killed while the second epoch was kept: of one member it is on disk, of the others it is not.
    for ahead in ([first[0], keepers[1].states[1], first[2]], first):
        again, _ = train(spec, ahead)
        for one, other in zip(whole, again, strict=True):
            assert_same(one, other)


def test_a_leg_and_the_next_are_one_training():
    spec = SPECS["rates of their own"]
    whole, _ = train(spec)
    leg, _ = train(spec, until=2)
    assert [state.epoch for state in leg] == [2] * MEMBERS
    for one, other in zip(whole, train(spec, leg)[0], strict=True):
        assert_same(one, other)


def test_a_member_goes_on_alone_from_what_the_stack_left():
    spec = SPECS["sgd, momentum"]
    whole, keepers = train(spec)
    trainer = trainers(spec)[1]
    alone = trainer.run(keepers[1].states[1], Watcher())
    np.testing.assert_allclose(alone.best_loss, whole[1].best_loss, atol=1e-5)


def test_a_loss_that_is_no_number_is_an_error():
    with pytest.raises(ConfigError, match="finite"):
        train(TrainingSpec(**{**FEW, "learning_rate": 1e30}, optimizer="sgd"))


def test_what_is_trained_alone_says_why():
    assert not spec_cannot_stack(TrainingSpec())
    assert "lbfgs" in spec_cannot_stack(TrainingSpec(optimizer="lbfgs"))
    assert "metric" in spec_cannot_stack(TrainingSpec(optimizer="qng"))
    assert "plateau" in spec_cannot_stack(TrainingSpec(schedule="plateau"))
