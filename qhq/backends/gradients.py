"""Executors of backends that give values alone, and how their gradients are found.

Parameter shift is exact, at two circuits an angle and sample; SPSA is an estimate, of a few circuits a sample
however many angles there are. :class:`ValuesExecutor` puts either behind the verbs of an executor.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike
from qiskit.circuit import Parameter, QuantumCircuit

from qhq.ansatz.program import Ansatz
from qhq.backends.backend import BackendSpec, SpsaSpec
from qhq.backends.executor import FloatArray, Report, as_values
from qhq.engine.compile import AngleMap, separate_angles
from qhq.seeding import child_generator

# Some 100 MB of Aer's results.
ROWS_PER_PUB = 8192
"""Most parameter rows sent at once."""


class OpenedCircuit(Protocol):
    """A parametrised circuit that a backend is ready to run."""

    def __call__(self, values: FloatArray) -> FloatArray:
        """Expectation values (N, O) at parameter values (N, P)."""


class ParameterShift:
    """The parameter-shift rule over every occurrence of an angle.

    Each gate of the lowered circuit has an angle a of its own and turns by exp(-i a G / 2) with
    G**2 = 1 (up to phase), so d<O>/da = (<O>(a + pi/2) - <O>(a - pi/2)) / 2 holds exactly
    (Schuld et al., Phys. Rev. A 99, 032331, 2019). The chain rule takes it on to inputs and weights.

    Args:
        ansatz: The program.
        open_program: Makes a backend ready for a circuit and its parameters.
    """

    def __init__(
        self, ansatz: Ansatz, open_program: Callable[[QuantumCircuit, Sequence[Parameter]], OpenedCircuit]
    ) -> None:
        # A weight that stands in two gates has two shifts, so each occurrence is a parameter of its own
        # here.
        circuit, angles, self._map = by_angles(ansatz)
        self._inputs = ansatz.num_inputs
        self._program = open_program(circuit, angles)

    def values(self, rows: FloatArray) -> FloatArray:
        """Expectation values (N, O) of the circuit that is shifted, at rows (N, I + W)."""
        return self._program(self._map.angles(rows, np.zeros(0)))

    def vjp(
        self, inputs: FloatArray, weights: FloatArray, cotangent: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Pull a cotangent (B, O) back to inputs (B, I) and weights (W,)."""
        rows = _with_weights(inputs, weights)
        angles = self._map.angles(rows, np.zeros(0))
        gradients, _ = self._map.pullback(rows, np.zeros(0), self._angle_gradients(angles, cotangent))
        return gradients[:, : self._inputs], gradients[:, self._inputs :].sum(axis=0)

    def _angle_gradients(self, angles: FloatArray, cotangent: FloatArray) -> FloatArray:
        """Gradient (B, K) of the contracted outputs by each angle (B, K)."""
        gradients = np.zeros_like(angles)
        # All shifts of some samples at once: a PUB of one sample's shifts would pay the overhead B times.
        step = max(1, ROWS_PER_PUB // max(1, 2 * angles.shape[1]))
        for start in range(0, len(angles), step):
            rows = slice(start, start + step)
            jacobian = self._jacobian(angles[rows])
            gradients[rows] = np.einsum("kbo,bo->bk", jacobian, cotangent[rows])
        return gradients

    def _jacobian(self, angles: FloatArray) -> FloatArray:
        """Derivative (K, B, O) of every output by every angle (B, K), from one broadcast PUB."""
        batch, count = angles.shape
        shifts = np.multiply.outer([0.5, -0.5], np.pi * np.eye(count))
        # Both signs, each angle, each sample: (2, K, B, K).
        shifted = angles + shifts[:, :, None, :]
        values = self._program(shifted.reshape(-1, count)).reshape(2, count, batch, -1)
        jacobian: FloatArray = (values[0] - values[1]) / 2
        return jacobian


def by_angles(ansatz: Ansatz) -> tuple[QuantumCircuit, list[Parameter], AngleMap]:
    """The lowered circuit with a parameter of its own in each parametric gate, and what these are.

    Returns:
        The circuit, its K >= 1 parameters in order, and the map to them from rows (I + W): weights are
        columns like inputs here, since each row may have its own.
    """
    circuit, expressions = separate_angles(ansatz.lowered)
    if not expressions:
        # Aer runs rows of numbers only for a circuit with a parameter: one that changes nothing, on |0>.
        zero = Parameter("zero")
        expressions = (zero.bind({zero: 0.0}),)
        circuit = circuit.copy_empty_like()
        circuit.rz(Parameter("theta_0"), 0)
        circuit.compose(ansatz.lowered, inplace=True)
    named = {each.name: each for each in circuit.parameters}
    angles = [named[f"theta_{k}"] for k in range(len(expressions))]
    return circuit, angles, AngleMap(expressions, ansatz.parameters, ())


def _with_weights(inputs: FloatArray, weights: FloatArray) -> FloatArray:
    """Rows (B, I + W): each sample's inputs, then the weights."""
    return np.hstack([inputs, np.broadcast_to(weights, (len(inputs), len(weights)))])


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
        # A stream of its own: how many shots are drawn must not change the directions.
        self._generator = child_generator(seed, "spsa")

    def vjp(
        self, inputs: FloatArray, weights: FloatArray, cotangent: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Estimate the pullback of a cotangent (B, O) to inputs (B, I) and weights (W,)."""
        rows = _with_weights(inputs, weights)
        count, step = self._settings.perturbations, self._settings.step
        # Signs, not normal numbers: the estimate divides by each, which must not come near 0.
        directions = self._generator.choice([-1.0, 1.0], size=(count, *rows.shape))
        # Both sides of all directions in one call, so that a device gets one request.
        moved = np.stack([rows + step * directions, rows - step * directions])
        values = self._values(moved.reshape(-1, rows.shape[1])).reshape(*moved.shape[:3], cotangent.shape[1])
        slopes = np.einsum("rbo,bo->rb", values[0] - values[1], cotangent) / (2 * step)
        # For directions of signs, dividing by an entry is the same as multiplying by it.
        gradients = np.einsum("rb,rbp->bp", slopes, directions) / count
        return gradients[:, : inputs.shape[1]], gradients[:, inputs.shape[1] :].sum(axis=0)


Gradient = Callable[[FloatArray, FloatArray, FloatArray], tuple[FloatArray, FloatArray]]
"""Inputs (B, I), weights (W,) and a cotangent (B, O) -> its pullback to inputs and weights."""


class ValuesExecutor(ABC):
    """An executor of a backend that gives values alone; see :class:`qhq.backends.executor.Executor`.

    A subclass implements `open_program` and `report`; checking shapes and applying the gradient rule of the
    entry is done here. The constructor calls `open_program`, so set what that needs before calling it.

    Args:
        spec: The entry.
        ansatz: The program.
        seed: Where the perturbations of SPSA come from.
        spsa: How SPSA estimates, where the entry says so.
    """

    def __init__(self, spec: BackendSpec, ansatz: Ansatz, seed: int, spsa: SpsaSpec | None = None) -> None:
        self._entry, self._ansatz = spec, ansatz
        # A number for each angle, whatever expression stands in the circuit: Aer's own binding has faults.
        self._shift = ParameterShift(ansatz, self.open_program)
        if spec.gradient == "spsa":
            self._gradient: Gradient = Spsa(self._shift.values, spsa or SpsaSpec(), seed).vjp
        else:
            self._gradient = self.open_gradient()

    @property
    def ansatz(self) -> Ansatz:
        """What it was opened for."""
        return self._ansatz

    def expectations(self, inputs: ArrayLike, weights: ArrayLike) -> FloatArray:
        """Expectation values (B, O) for inputs (B, I), in radians, and weights (W,).

        Raises:
            BackendError: If a shape does not fit, a value is not finite, or the backend fails.
        """
        return self._shift.values(_with_weights(*self._checked(inputs, weights)))

    def vjp(
        self, inputs: ArrayLike, weights: ArrayLike, cotangent: ArrayLike
    ) -> tuple[FloatArray, FloatArray]:
        """Pull a cotangent (B, O) back to inputs (B, I) and weights (W,).

        Raises:
            BackendError: If a shape does not fit, a value is not finite, or the backend fails.
        """
        inputs, weights = self._checked(inputs, weights)
        cotangent = as_values(cotangent, (len(inputs), self._ansatz.num_outputs), "cotangent")
        return self._gradient(inputs, weights, cotangent)

    @abstractmethod
    def report(self) -> Report:
        """Say what ran so far."""

    @abstractmethod
    def open_program(self, circuit: QuantumCircuit, parameters: Sequence[Parameter]) -> OpenedCircuit:
        """Make the backend ready for a circuit whose every angle is a parameter of its own."""

    def open_gradient(self) -> Gradient:
        """The gradient rule other than SPSA: by default parameter shift of the circuit that gives values."""
        return self._shift.vjp

    def _checked(self, inputs: ArrayLike, weights: ArrayLike) -> tuple[FloatArray, FloatArray]:
        return (
            as_values(inputs, (None, self._ansatz.num_inputs), "inputs"),
            as_values(weights, (self._ansatz.num_weights,), "weights"),
        )

    def report_on(self, circuit: QuantumCircuit) -> Report:
        """The report of a circuit that ran; a subclass adds what its backend knows."""
        return Report(
            backend=self._entry.name or self._entry.kind,
            qubits=self._ansatz.num_qubits,
            depth=circuit.depth(),
            two_qubit_gates=circuit.num_nonlocal_gates(),
            shots=self._entry.shots,
        )
