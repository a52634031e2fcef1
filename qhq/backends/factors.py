"""The factors of an ansatz, each opened by itself, as one executor: their values side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from qhq.ansatz.factors import Factor, factors_of
from qhq.ansatz.program import Ansatz
from qhq.backends.executor import Executor, FloatArray, Report, shape_error
from qhq.seeding import child_seed


class FactorsExecutor:
    """An ansatz whose factors are run one after the other; see :class:`qhq.backends.executor.Executor`.

    Args:
        ansatz: The whole.
        parts: Its factors, two or more.
        executors: One for each part.
    """

    def __init__(self, ansatz: Ansatz, parts: Sequence[Factor], executors: Sequence[Any]) -> None:
        self.ansatz, self._parts, self._executors = ansatz, tuple(parts), tuple(executors)

    def expectations(self, inputs: ArrayLike, weights: ArrayLike) -> FloatArray:
        """Expectation values (B, O) for inputs (B, I), in radians, and weights (W,)."""
        values = [each.expectations(*given) for each, given in self._asked(inputs, weights)]
        return self._side_by_side(values)

    def vjp(
        self, inputs: ArrayLike, weights: ArrayLike, cotangent: ArrayLike
    ) -> tuple[FloatArray, FloatArray]:
        """Pull a cotangent (B, O) back to inputs (B, I) and weights (W,)."""
        pulls = [
            # Columns of a matrix are strided, and kernels read rows of memory.
            each.vjp(*given, np.ascontiguousarray(np.asarray(cotangent)[:, part.outputs]))
            for part, (each, given) in zip(self._parts, self._asked(inputs, weights), strict=True)
        ]
        return self._summed(pulls, np.asarray(inputs))

    def report(self) -> Report:
        """Say what ran: of all factors together, as wide as the whole and as deep as the deepest."""
        reports: list[Report] = [each.report() for each in self._executors]
        layouts = [each.layout for each in reports if each.layout is not None]
        return replace(
            reports[0],
            # Whatever is not said here anew is the same of all, which are of one entry.
            qubits=sum(each.qubits for each in reports),
            depth=max(each.depth for each in reports),
            two_qubit_gates=sum(each.two_qubit_gates for each in reports),
            layout=sum(layouts, ()) if layouts else None,
        )

    @property
    def calibration(self) -> Any:
        """What they run under; None without a device."""
        return getattr(self._executors[0], "calibration", None)

    def _asked(
        self, inputs: ArrayLike, weights: ArrayLike
    ) -> list[tuple[Any, tuple[FloatArray, FloatArray]]]:
        rows, shared = np.asarray(inputs), np.asarray(weights)
        if rows.ndim != 2 or rows.shape[1] != self.ansatz.num_inputs:
            raise shape_error("inputs", rows.shape, (None, self.ansatz.num_inputs))
        if shared.shape != (self.ansatz.num_weights,):
            raise shape_error("weights", shared.shape, (self.ansatz.num_weights,))
        return [
            (each, (np.ascontiguousarray(rows[:, part.inputs]), shared[list(part.weights)]))
            for part, each in zip(self._parts, self._executors, strict=True)
        ]

    def _side_by_side(self, values: Sequence[FloatArray]) -> FloatArray:
        found = np.empty((len(values[0]), self.ansatz.num_outputs), values[0].dtype)
        for part, each in zip(self._parts, values, strict=True):
            found[:, part.outputs] = each
        return found

    def _summed(
        self, pulls: Sequence[tuple[FloatArray, FloatArray]], inputs: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Gradients of the whole: an input or weight of several factors has the sum of theirs."""
        by_inputs = np.zeros(inputs.shape, pulls[0][0].dtype)
        by_weights = np.zeros(self.ansatz.num_weights, pulls[0][1].dtype)
        for part, (own_inputs, own_weights) in zip(self._parts, pulls, strict=True):
            # By lists of places, of which a place that stood twice would be added to once: a factor names
            # each once.
            by_inputs[:, part.inputs] += own_inputs
            by_weights[list(part.weights)] += own_weights
        return by_inputs, by_weights


class TwoPassFactorsExecutor(FactorsExecutor):
    """The same of executors that go back from where their forward pass ended."""

    def forward(self, inputs: ArrayLike, weights: ArrayLike) -> tuple[FloatArray, Any]:
        """``expectations``, and what ``backward`` goes on from."""
        passes = [each.forward(*given) for each, given in self._asked(inputs, weights)]
        values = self._side_by_side([values for values, _ in passes])
        return values, (np.asarray(inputs), [each for _, each in passes])

    def backward(self, residual: Any, cotangent: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """``vjp`` of a forward pass."""
        inputs, own = residual
        pulls = [
            each.backward(one, np.ascontiguousarray(np.asarray(cotangent)[:, part.outputs]))
            for part, each, one in zip(self._parts, self._executors, own, strict=True)
        ]
        return self._summed(pulls, inputs)


def open_factors(ansatz: Ansatz, open_one: Callable[[Ansatz, int], Executor], seed: int) -> Executor:
    """Open an ansatz, or each of its factors.

    Args:
        ansatz: The whole.
        open_one: Opens an ansatz with a seed.
        seed: Of the whole; each factor draws from a stream of its own.
    """
    parts = factors_of(ansatz)
    if len(parts) == 1:
        return open_one(ansatz, seed)
    opened = [open_one(part.ansatz, child_seed(seed, f"part {k}")) for k, part in enumerate(parts)]
    return join_factors(ansatz, parts, opened)


def join_factors(ansatz: Ansatz, parts: Sequence[Factor], executors: Sequence[Executor]) -> Executor:
    """One executor of those of its factors; of a single one that itself."""
    if len(parts) == 1:
        return executors[0]
    both = all(hasattr(each, "forward") and hasattr(each, "backward") for each in executors)
    return (TwoPassFactorsExecutor if both else FactorsExecutor)(ansatz, parts, executors)
