"""What a model is trained for: how many values it gives for each target, their loss, and what they forecast.

An `Objective` reads a model's outputs, (B, H, K) where there is one value a target and (B, H, K, V) where
there are several: the quantiles, or the parameters of a distribution. From them come the loss, the point
forecast that every metric is computed of, and the quantiles that stand beside it. All are in scaled units.

A model that starts at its baseline gives outputs of 0. So that these are a sensible forecast of a spread,
too, an objective with several values is fitted once to the training targets (`Objective.start`): outputs of
0 then stand for the baseline with the spread that the training targets have about it.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint
from math import e, log, pi

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from qhq.training.spec import LOSSES, TrainingSpec

# Of a target that never changes: a spread of 0 has no likelihood.
_LEAST_SPREAD = 1e-6

# softplus of it is 1.
_AS_ONE = log(e - 1)

# Degrees of freedom that a Student-t begins with, about those of daily returns.
_FIRST_DF = 5.0


class Objective:
    """A loss that is a mean over windows, horizons and targets of the loss of each.

    Args:
        levels: Probabilities of the quantiles that are reported, ascending, 0.5 among them.

    Attributes:
        values: Outputs for each target, V.
        fitted: What `start` gave of the training targets. A model takes it over, among its weights.
    """

    values = 1

    def __init__(self, levels: tuple[float, ...]) -> None:
        self.levels = levels
        self.fitted: Tensor | None = None

    def losses(self, outputs: Tensor, targets: Tensor, start: Tensor | None) -> Tensor:
        """Loss of each target, (B, H, K).

        Args:
            outputs: Of the model, (B, H, K) or (B, H, K, V).
            targets: Shape (B, H, K).
            start: What `start` gave.
        """
        raise NotImplementedError

    def start(self, targets: Tensor) -> Tensor | None:
        """What outputs are read by: the spread of training targets (N, H, K); None of a point forecast."""
        del targets
        return None

    def point(self, outputs: Tensor, start: Tensor | None) -> Tensor:
        """The point forecast, (B, H, K)."""
        del start
        return outputs

    def quantiles(self, outputs: Tensor, start: Tensor | None) -> Tensor | None:
        """Quantiles (B, H, K, L) at ``levels``; None of a point forecast."""
        del outputs, start
        return None


class PointObjective(Objective):
    """One value a target, and a loss of PyTorch's that compares it with what came."""

    def __init__(self, levels: tuple[float, ...], loss: type[nn.Module]) -> None:
        super().__init__(levels)
        self.mean, self.each = loss(), loss(reduction="none")

    def losses(self, outputs: Tensor, targets: Tensor, start: Tensor | None) -> Tensor:  # noqa: ARG002
        """As the loss has it."""
        each: Tensor = self.each(outputs, targets)
        return each


class Quantiles(Objective):
    """One value for each level, by the pinball loss (Koenker and Bassett, Econometrica 1978).

    The point forecast is the median. Values that cross are put into order, which is never a worse forecast
    (Chernozhukov, Fernandez-Val and Galichon, Econometrica 2010).
    """

    def __init__(self, levels: tuple[float, ...]) -> None:
        super().__init__(levels)
        self.values = len(levels)

    def start(self, targets: Tensor) -> Tensor | None:
        """Quantiles (H, K, V) of the training targets about their median."""
        # NumPy's, since PyTorch's refuses more than 16 million values.
        found = np.moveaxis(np.quantile(targets.numpy(), self.levels, axis=0), 0, -1)
        return torch.as_tensor(found - found[..., self.levels.index(0.5), None], dtype=targets.dtype)

    def _values(self, outputs: Tensor, start: Tensor | None) -> Tensor:
        return outputs if start is None else outputs + start

    def losses(self, outputs: Tensor, targets: Tensor, start: Tensor | None) -> Tensor:
        """Twice the mean pinball loss of the levels: that of the median alone is the absolute error."""
        missed = targets[..., None] - self._values(outputs, start)
        levels = torch.tensor(self.levels, dtype=outputs.dtype)
        # In the order of the levels, not sorted: each value learns its own level.
        return 2 * torch.maximum(levels * missed, (levels - 1) * missed).mean(dim=-1)

    def point(self, outputs: Tensor, start: Tensor | None) -> Tensor:
        """The median, (B, H, K)."""
        return self.quantiles(outputs, start)[..., self.levels.index(0.5)]

    def quantiles(self, outputs: Tensor, start: Tensor | None) -> Tensor:
        """The values in order, (B, H, K, V)."""
        return self._values(outputs, start).sort(dim=-1).values


class Gaussian(Objective):
    """Mean and standard deviation, by the negative log-likelihood of a normal distribution."""

    values = 2

    def start(self, targets: Tensor) -> Tensor | None:
        """Standard deviation (H, K) of the training targets."""
        return targets.std(dim=0, correction=0).clamp_min(_LEAST_SPREAD)

    def _spread(self, outputs: Tensor, start: Tensor | None) -> Tensor:
        # Times the fitted spread, not plus: an output of the same size then means the same at every scale.
        spread: Tensor = functional.softplus(outputs[..., 1] + _AS_ONE) + _LEAST_SPREAD
        return spread if start is None else spread * start

    def losses(self, outputs: Tensor, targets: Tensor, start: Tensor | None) -> Tensor:
        """Negative log-density of what came."""
        spread = self._spread(outputs, start)
        each: Tensor = ((targets - outputs[..., 0]) / spread) ** 2 / 2 + spread.log() + log(2 * pi) / 2
        return each

    def point(self, outputs: Tensor, start: Tensor | None) -> Tensor:  # noqa: ARG002
        """The mean, (B, H, K), which is the median."""
        return outputs[..., 0]

    def quantiles(self, outputs: Tensor, start: Tensor | None) -> Tensor:
        """Quantiles of the normal distribution, (B, H, K, L)."""
        normal: Tensor = torch.special.ndtri(torch.tensor(self.levels, dtype=outputs.dtype))
        return outputs[..., :1] + self._spread(outputs, start)[..., None] * normal


class StudentT(Gaussian):
    """Location, scale and degrees of freedom above 2, by the likelihood of a Student-t: heavy tails."""

    values = 3

    def start(self, targets: Tensor) -> Tensor | None:
        """The scale (H, K) at which the variance is that of the training targets."""
        spread = super().start(targets)
        return None if spread is None else spread * ((_FIRST_DF - 2) / _FIRST_DF) ** 0.5

    def _freedom(self, outputs: Tensor) -> Tensor:
        # The inverse of softplus, so that an output of 0 means the degrees of freedom to begin with.
        above: Tensor = functional.softplus(outputs[..., 2] + log(np.expm1(_FIRST_DF - 2)))
        return 2 + above

    def losses(self, outputs: Tensor, targets: Tensor, start: Tensor | None) -> Tensor:
        """Negative log-density of what came."""
        spread, freedom = self._spread(outputs, start), self._freedom(outputs)
        # Unchecked: on a NaN torch would raise a ValueError of its own here, where `finite` says what to do.
        distribution = torch.distributions.StudentT(freedom, outputs[..., 0], spread, validate_args=False)
        density: Tensor = distribution.log_prob(targets)  # type: ignore[no-untyped-call]
        return -density

    def quantiles(self, outputs: Tensor, start: Tensor | None) -> Tensor:
        """Quantiles of the Student-t, (B, H, K, L)."""
        from scipy.stats import t  # half a second to import, and no other objective needs it

        freedom = self._freedom(outputs).detach().double().numpy()[..., None]
        # By SciPy: torch's Student-t has no quantiles (icdf).
        at = torch.as_tensor(t.ppf(np.array(self.levels), freedom), dtype=outputs.dtype)
        return outputs[..., :1] + self._spread(outputs, start)[..., None] * at


def open_objective(spec: TrainingSpec) -> Objective:
    """Make the objective that a config names."""
    found = EntryPoint(spec.loss, LOSSES[spec.loss], "").load()
    objective: Objective = (
        found(spec.quantiles) if issubclass(found, Objective) else PointObjective(spec.quantiles, found)
    )
    return objective


def mean_loss(
    objective: Objective,
    outputs: Tensor,
    targets: Tensor,
    start: Tensor | None,
    weights: tuple[float, ...] | None,
) -> Tensor:
    """The loss that training minimises.

    Args:
        objective: Its kind.
        outputs: Of the model.
        targets: Shape (B, H, K).
        start: What `Objective.start` gave.
        weights: Of each horizon, (H,); None weighs all alike.
    """
    if weights is None and isinstance(objective, PointObjective):
        # PyTorch's own mean: in another order of summation the last bit may differ from earlier versions'.
        whole: Tensor = objective.mean(outputs, targets)
        return whole
    each = objective.losses(outputs, targets, start)
    if weights is not None:
        share = torch.tensor(weights, dtype=each.dtype)
        each = each * (share / share.mean())[:, None]
    return each.mean()
