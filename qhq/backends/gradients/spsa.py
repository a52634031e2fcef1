"""Gradients on a budget: simultaneous perturbation, a few circuits a sample however many angles there are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from qhq.backends.executor import FloatArray
from qhq.backends.gradients.parameter_shift import with_weights
from qhq.backends.spec import SpsaSpec
from qhq.seeding import child_generator


class Spsa:
    """Simultaneous perturbation (Spall, IEEE Trans. Automat. Contr. 37, 332, 1992).

    All inputs and weights of a sample move at once by ``c * d``, each ``d`` +1 or -1 at random, and
    ``(f(p + c d) - f(p - c d)) / (2 c) * d`` is an estimate of the gradient whose mean is right up to
    ``c**2``. Its spread falls with the number of perturbations averaged; each sample has its own, so the
    weights' gradient also averages over the batch.

    Args:
        values: Expectation values (N, O) at rows (N, I + W) of inputs, then weights.
        settings: Perturbations a sample, and their step.
        seed: Where the directions come from; the same seed and calls give the same.
    """

    def __init__(self, values: Callable[[FloatArray], FloatArray], settings: SpsaSpec, seed: int) -> None:
        self._values, self._settings = values, settings
        self._generator = child_generator(seed, "spsa")

    def vjp(
        self, inputs: FloatArray, weights: FloatArray, cotangent: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Estimate the pullback of a cotangent (B, O) to inputs (B, I) and weights (W,)."""
        rows = with_weights(inputs, weights)
        count, step = self._settings.perturbations, self._settings.step
        directions = self._generator.choice([-1.0, 1.0], size=(count, *rows.shape))
        moved = np.stack([rows + step * directions, rows - step * directions])
        values = self._values(moved.reshape(-1, rows.shape[1])).reshape(*moved.shape[:3], cotangent.shape[1])
        slopes = np.einsum("rbo,bo->rb", values[0] - values[1], cotangent) / (2 * step)
        gradients = np.einsum("rb,rbp->bp", slopes, directions) / count
        return gradients[:, : inputs.shape[1]], gradients[:, inputs.shape[1] :].sum(axis=0)
