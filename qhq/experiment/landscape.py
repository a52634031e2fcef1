"""The loss around a run's weights, in two random directions (Li et al., NeurIPS 2018, arXiv:1712.09913).

A direction is drawn for all weights and then filter-normalised: each row of a matrix gets the length of the
same row of the weights, and each vector (a bias, the angles of a circuit) that of the vector. So a step of 1
is as long as the weights themselves whatever their scale, and pictures of two models can be compared.

The model is called with other tensors in the place of its weights and never changed, so that it is the same
afterwards even if the measurement is cut off.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from qhq.errors import ConfigError
from qhq.experiment.fit import open_trainer
from qhq.experiment.opening import Experiment
from qhq.models.features import FeatureForecaster
from qhq.runs.answers import Landscape, LandscapePart
from qhq.seeding import child_generator

OnPoint = Callable[[int, int, str], object]


class _Outputs(nn.Module):
    """What the loss is computed of, as the forward pass of a module."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *arguments: Tensor) -> Tensor:
        """All values of each target."""
        found: Tensor = getattr(self.model, "outputs", self.model)(*arguments)
        return found


@torch.no_grad()
def measure_landscape(  # noqa: PLR0913
    experiment: Experiment,
    *,
    points: int,
    span: float,
    samples: int,
    seed: int,
    part: LandscapePart,
    weights: str,
    step: OnPoint | None = None,
    note: Callable[[str], object] | None = None,
) -> Landscape:
    """Measure the training loss on a grid around the weights that a model holds.

    Args:
        experiment: Whose model, on the exact engine.
        points: Of each direction; odd, so that the weights themselves are in the middle.
        span: How far it goes, where 1 is the length of the weights.
        samples: Training windows that the loss is computed of, spread evenly.
        seed: Of the directions.
        part: ``all`` weights, or those of the ``circuit`` alone.
        weights: Which weights the model holds, for the record.
        step: Called with (done, total, what) before each point.
        note: Told what it costs, once that is known.

    Raises:
        ConfigError: If the model has no such weights, or its head was fitted and not trained.
    """
    model = experiment.model
    moved = _moved(experiment, part)
    trainer = open_trainer(experiment)
    rows = torch.linspace(0, len(trainer.train) - 1, min(samples, len(trainer.train))).round().long()
    arguments, targets = trainer.train.arguments(rows), trainer.train.targets[rows]
    training = model.training
    model.eval()  # dropout would draw another mask at each point
    outputs, steps = _Outputs(model), np.linspace(-span, span, points)
    begin = {name: each.detach().clone() for name, each in moved.items()}
    first, second = (_direction(begin, seed, name) for name in ("first", "second"))

    def loss_at(across: float, along: float) -> float:
        there = {f"model.{name}": begin[name] + across * first[name] + along * second[name] for name in begin}
        found = trainer.loss(functional_call(outputs, there, arguments), targets)
        value = float(found)
        return value if math.isfinite(value) else math.nan

    try:
        centre = loss_at(0.0, 0.0)
        started = time.perf_counter()
        loss_at(0.0, 0.0)  # the first one may have waited for kernels to be compiled
        took = time.perf_counter() - started
        if note is not None:
            note(
                f"The landscape takes {points * points:,} forward passes of {len(rows)} windows,"
                f" about {took * points * points:.0f} s on the exact engine"
            )
        losses = []
        for number, along in enumerate(steps):
            if step is not None:
                step(number * points, points * points, "the loss around the weights")
            losses.append([loss_at(float(across), float(along)) for across in steps])
    finally:
        model.train(training)
    return Landscape(
        part=part, weights=weights, samples=len(rows), seed=seed, span=span, loss=centre,
        parameters=sum(each.numel() for each in begin.values()),
        losses=[[None if math.isnan(each) else each for each in row] for row in losses],
    )  # fmt: skip


def _moved(experiment: Experiment, part: LandscapePart) -> dict[str, nn.Parameter]:
    """The weights that are moved, by name."""
    model = experiment.model
    if isinstance(model, FeatureForecaster):
        raise ConfigError(
            "A landscape is of weights that were trained by gradients",
            got=f"a {experiment.config.model.kind} model, whose head was fitted at once",
            fix="Take a run of another model",
        )
    inside = {id(each) for each in model.parts()["circuit"]}
    found = {name: each for name, each in model.named_parameters() if part == "all" or id(each) in inside}
    if not found:
        raise ConfigError(
            "A landscape of the circuit needs a circuit with weights",
            got="a model without any",
            fix="Take part='all'",
        )
    return found


def _direction(begin: dict[str, Tensor], seed: int, name: str) -> dict[str, Tensor]:
    """A random direction, each filter as long as that of the weights."""
    draw = child_generator(seed, f"landscape/{name}")
    found = {}
    for key, each in begin.items():
        drawn = torch.as_tensor(draw.normal(size=tuple(each.shape)), dtype=each.dtype)
        filters = (drawn.flatten(1), each.flatten(1)) if each.ndim > 1 else (drawn[None], each[None])
        lengths = [torch.linalg.vector_norm(one, dim=1, keepdim=True) for one in filters]
        found[key] = (filters[0] * (lengths[1] / lengths[0].clamp_min(1e-12))).reshape(each.shape)
    return found
