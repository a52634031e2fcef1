"""qhq's engines as backends, and the exact one: statevector values, gradients by adjoint differentiation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike
from qiskit import transpile
from qiskit.quantum_info import SparsePauliOp

from qhq.ansatz.factors import factors_of
from qhq.ansatz.program import Ansatz, count_facts
from qhq.backends.executor import FloatArray, Report, shape_error
from qhq.backends.factors import TwoPassFactorsExecutor
from qhq.engine import MOST_NOISY_QUBITS, DensityEngine, MixtureEngine, StatevectorEngine
from qhq.engine.compile import AngleMap, separate_angles

if TYPE_CHECKING:
    from torch import Tensor

    from qhq.engine import MetricEngine, TorchEngine


class Engine(Protocol):
    """What an engine of qhq does with arrays whose shapes fit."""

    def expectations(self, inputs: ArrayLike, weights: ArrayLike) -> FloatArray:
        """Expectation values (B, O)."""

    def forward(self, inputs: ArrayLike, weights: ArrayLike) -> tuple[FloatArray, Any]:
        """The same, and what ``backward`` goes on from."""

    def backward(self, residual: Any, cotangent: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Pull a cotangent (B, O) back to inputs (B, I) and weights (W,)."""


class EngineExecutor(ABC):
    """An ansatz on an engine of qhq's; see :class:`qhq.backends.executor.Executor`.

    Values and gradients come in the precision of the inputs: float32 in, float32 out. A value that is not
    finite is passed through, for the loss to show it.
    """

    def __init__(self, ansatz: Ansatz, engine: Engine) -> None:
        self._ansatz, self._engine = ansatz, engine

    @property
    def ansatz(self) -> Ansatz:
        """What it was opened for."""
        return self._ansatz

    def expectations(self, inputs: ArrayLike, weights: ArrayLike) -> FloatArray:
        """Expectation values (B, O) for inputs (B, I), in radians, and weights (W,)."""
        return self._engine.expectations(*self._checked(inputs, weights))

    def vjp(
        self, inputs: ArrayLike, weights: ArrayLike, cotangent: ArrayLike
    ) -> tuple[FloatArray, FloatArray]:
        """Pull a cotangent (B, O) back to inputs (B, I) and weights (W,)."""
        values, residual = self.forward(inputs, weights)
        return self.backward(residual, self._fitting(cotangent, values.shape, "cotangent"))

    def forward(self, inputs: ArrayLike, weights: ArrayLike) -> tuple[FloatArray, Any]:
        """``expectations``, and what ``backward`` goes on from without a second pass."""
        return self._engine.forward(*self._checked(inputs, weights))

    def backward(self, residual: Any, cotangent: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """``vjp`` of a forward pass."""
        return self._engine.backward(residual, cotangent)

    @abstractmethod
    def report(self) -> Report:
        """Say what ran."""

    def _checked(self, inputs: ArrayLike, weights: ArrayLike) -> tuple[FloatArray, FloatArray]:
        inputs, weights = np.asarray(inputs), np.asarray(weights)
        if inputs.ndim != 2 or inputs.shape[1] != self._ansatz.num_inputs:
            raise shape_error("inputs", inputs.shape, (None, self._ansatz.num_inputs))
        return inputs, self._fitting(weights, (self._ansatz.num_weights,), "weights")

    def _fitting(self, values: ArrayLike, shape: tuple[int, ...], name: str) -> FloatArray:
        array = np.asarray(values)
        if array.shape != shape:
            raise shape_error(name, array.shape, shape)
        return array


_ExactForm = Literal["states", "density matrices", "mixtures"]


def exact_form(ansatz: Ansatz) -> _ExactForm:
    """What the exact engine holds of a circuit: states, unless it resets often.

    A state takes a qubit more, and twice the time, for each reset; a density matrix takes twice the qubits
    and nothing for a reset. Measured on 64 samples with gradients, the density matrix is the faster one from
    6 resets on 2 to 5 qubits, from 7 on 6, and from 8 on 7. Where neither fits, a mixture of a few states
    does, whose gradients cost two passes an angle.
    """
    parts = factors_of(ansatz)
    if len(parts) > 1:
        # Each is held for itself: the answer is that of the one that takes most.
        widest = max(parts, key=lambda part: part.ansatz.num_qubits + part.ansatz.num_resets)
        return exact_form(widest.ansatz)
    qubits, resets = ansatz.num_qubits, ansatz.num_resets
    if qubits <= MOST_NOISY_QUBITS:
        return "density matrices" if resets > max(5, qubits) else "states"
    return "mixtures" if resets and qubits + resets > _MOST_DEFERRED else "states"


# Qubits with those of resets, beyond which states take too long.
_MOST_DEFERRED = 18


def _density_engine(ansatz: Ansatz) -> DensityEngine:
    """The noisy engine without noise."""
    separated, expressions = separate_angles(ansatz.lowered)
    if any(step.operation.num_qubits > 2 for step in separated.data):
        # Level 0 writes gates in others and no more: no separated angle may be optimised away.
        separated = transpile(separated, basis_gates=_NARROW, optimization_level=0)
    named = {each.name: each for each in separated.parameters}
    return DensityEngine(
        separated,
        {},
        pauli_coefficients(ansatz.observables),
        [named[f"theta_{place}"] for place in range(len(expressions))],
        AngleMap(expressions, ansatz.inputs, ansatz.weights),
    )


# Gates on one and two qubits in which any other can be written; all parametric ones are among them.
_NARROW = ["rx", "ry", "rz", "p", "rxx", "ryy", "rzz", "rzx", "u", "cx", "reset"]


def pauli_coefficients(observables: Sequence[SparsePauliOp]) -> FloatArray:
    """Coefficients (O, 4^n) of the Pauli strings ``sum_q p_q 4^q``, digits I, X, Y, Z."""
    found = np.zeros((len(observables), 4 ** int(observables[0].num_qubits)))
    for row, observable in zip(found, observables, strict=True):
        z, x = observable.paulis.z.astype(int), observable.paulis.x.astype(int)
        digits = x + 3 * z - 2 * x * z  # X 1, Z 3, both of them Y 2
        np.add.at(row, digits @ 4 ** np.arange(z.shape[1]), observable.coeffs.real)
    return found


class StatevectorExecutor(EngineExecutor):
    """An ansatz on the exact engine, which holds states unless it resets often (`exact_form`).

    Args:
        ansatz: The program.
        name: What the report calls it.
        threads: Most threads to use; 0 means all cores.
    """

    def __init__(self, ansatz: Ansatz, *, name: str = "statevector", threads: int = 0) -> None:
        # An entry says 0 for all cores, so that no key is left empty; the engine says None.
        self._name, self._threads = name, threads or None
        self._ansatz = ansatz
        super().__init__(ansatz, self._held())

    def _held(self) -> Engine:
        ansatz, parts = self._ansatz, factors_of(self._ansatz)
        if len(parts) > 1:
            alone = [StatevectorExecutor(part.ansatz, threads=self._threads or 0) for part in parts]
            return TwoPassFactorsExecutor(ansatz, parts, alone)
        form = exact_form(ansatz)
        if form == "states":
            return self._statevector
        if form == "density matrices":
            return _density_engine(ansatz)
        return MixtureEngine(ansatz.lowered, ansatz.observables, ansatz.inputs, ansatz.weights)

    @cached_property
    def _statevector(self) -> StatevectorEngine:
        ansatz = self._ansatz
        return StatevectorEngine(
            ansatz.lowered,
            ansatz.observables,
            ansatz.inputs,
            ansatz.weights,
            threads=self._threads,
        )

    @cached_property
    def torch_engine(self) -> TorchEngine:
        """The same program over torch operations, for tensors that live on an accelerator."""
        from qhq.engine import TorchEngine

        return TorchEngine(self._statevector.tape)

    def expectations_on_device(self, inputs: Tensor, weights: Tensor) -> Tensor:
        """Expectation values (B, O), differentiable by torch, on the device of the inputs."""
        return self.torch_engine.expectations(inputs, weights)

    def metric(self, inputs: ArrayLike, weights: ArrayLike, *, blocks: bool = False) -> FloatArray:
        """The Fubini-Study metric (W, W) by the weights (W,), the mean over inputs (B, I) in radians.

        With ``blocks`` only what rotations that stand beside each other have in common.
        """
        engine = self._metric_engine
        return (engine.blocks if blocks else engine.metric)(*self._checked(inputs, weights))

    @cached_property
    def _metric_engine(self) -> MetricEngine:
        from qhq.engine import MetricEngine

        ansatz = self._ansatz
        return MetricEngine(ansatz.lowered, ansatz.inputs, ansatz.weights, threads=self._threads)

    def report(self) -> Report:
        """Say what ran."""
        facts = count_facts(self._ansatz)
        return Report(
            backend=self._name,
            qubits=facts.qubits,
            depth=facts.depth,
            two_qubit_gates=facts.two_qubit_gates,
        )
