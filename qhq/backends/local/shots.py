"""Shots without a shot-by-shot simulation: what is measured together, and draws from exact probabilities.

A training under shots needs values at two shifts of every angle, each from shots of its own. Their
probabilities are exact numbers, which qhq's engines give for all rows in one batch; only the outcomes are
drawn. That is the same distribution as Aer's sampler draws from, at a small part of its time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.primitives.containers import BitArray
from qiskit.quantum_info import PauliList, SparsePauliOp

from qhq.ansatz.program import Ansatz
from qhq.backends.executor import FloatArray, Parity, Report, check_parity
from qhq.backends.gradients import OpenedCircuit, ValuesExecutor
from qhq.backends.local import SimulatedSpec
from qhq.engine import StateEngine
from qhq.engine.compile import without_resets

PARITY_ROWS = 4
"""Rows that an engine and Aer are compared at before the engine is trained on."""

# A row has 4,096 probabilities then, and drawing from them takes longer than the circuit.
MOST_DRAWN_QUBITS = 12
"""Widest circuit whose shots are drawn from an engine's probabilities."""

# Most probabilities held at once: 32 MB, and four times as much while a state becomes them.
_NUMBERS_PER_DRAW = 2**22

Probabilities = Callable[[FloatArray], FloatArray]
"""Rows (N, P) of parameters -> probabilities (N, 2^n) of the outcomes; qubit q is bit q."""


@dataclass(frozen=True)
class MeasuredGroup:
    """Pauli operators that one setting of the readout measures together.

    Attributes:
        letters: What is measured on each qubit, qubit 0 first: I, X, Y or Z.
        masks: For each Pauli operator of the group the qubits it acts on, shape (P, Q), bool.
        coefficients: Share of each of them in each observable, shape (P, O).
    """

    letters: str
    masks: NDArray[np.bool_]
    coefficients: FloatArray

    def rotate(self, circuit: QuantumCircuit) -> QuantumCircuit:
        """Append the change of basis behind which a readout of Z reads this group's letters."""
        rotated: QuantumCircuit = circuit.copy()
        for qubit, letter in enumerate(self.letters):
            if letter == "Y":
                rotated.sdg(qubit)
            if letter in "XY":
                rotated.h(qubit)
        return rotated

    def measure(self, circuit: QuantumCircuit) -> QuantumCircuit:
        """Append the change of basis and the measurement of all qubits (register ``meas``)."""
        measured: QuantumCircuit = self.rotate(circuit).measure_all(inplace=False)
        return measured

    def contribution(self, bits: BitArray) -> FloatArray:
        """Average the shots of N circuits into this group's part of the observables, shape (N, O)."""
        # BitArray packs big-endian: the last bit belongs to qubit 0.
        unpacked = np.unpackbits(bits.array, axis=-1)[..., ::-1][..., : self.masks.shape[1]]
        parities = np.stack(
            [np.bitwise_xor.reduce(unpacked[..., mask], axis=-1).mean(axis=-1) for mask in self.masks],
            axis=-1,
        )
        values: FloatArray = (1.0 - 2.0 * parities) @ self.coefficients
        return values


def measured_groups(observables: Sequence[SparsePauliOp]) -> tuple[MeasuredGroup, ...]:
    """Sort the Pauli operators of O observables into qubit-wise commuting groups.

    >>> [group.letters for group in measured_groups([SparsePauliOp("IZ"), SparsePauliOp("ZI")])]
    ['ZZ']
    """
    shares: dict[str, FloatArray] = {}
    for index, observable in enumerate(observables):
        for label, coefficient in observable.simplify().to_list():
            row = shares.setdefault(label, np.zeros(len(observables)))
            # Observables are Hermitian: what is imaginary is rounding.
            row[index] += coefficient.real
    groups = PauliList(list(shares)).group_commuting(qubit_wise=True)
    return tuple(_group(group.to_labels(), shares) for group in groups)


def _group(labels: Sequence[str], shares: dict[str, FloatArray]) -> MeasuredGroup:
    # Labels stand qubit 0 rightmost.
    columns = zip(*(label[::-1] for label in labels), strict=True)
    return MeasuredGroup(
        letters="".join(max(column) if set(column) != {"I"} else "I" for column in columns),
        masks=np.array([[letter != "I" for letter in label[::-1]] for label in labels]),
        coefficients=np.stack([shares[label] for label in labels]),
    )


def outcome_values(group: MeasuredGroup, flips: FloatArray) -> FloatArray:
    """Mean contribution of each outcome of n qubits to each observable.

    Args:
        group: What is measured together.
        flips: Probability to read 1 for a 0, and 0 for a 1, shape (n, 2).

    Returns:
        Shape (2**n, O); outcome x has qubit q in its bit q.
    """
    # <measured Z | 0> = 1 - 2u, <measured Z | 1> = 2d - 1.
    read = np.stack([1 - 2 * flips[:, 0], 2 * flips[:, 1] - 1], axis=1)
    total = np.zeros((2 ** len(flips), group.coefficients.shape[1]))
    for mask, coefficients in zip(group.masks, group.coefficients, strict=True):
        string = np.ones(1)
        for qubit, factor in enumerate(read):
            string = np.kron(factor if mask[qubit] else np.ones(2), string)
        total += np.outer(string, coefficients)
    return total


def flip_probabilities(probabilities: FloatArray, flips: FloatArray) -> FloatArray:
    """Probabilities (N, 2**n) of outcomes -> those of what is read, same shape."""
    rows, qubits = len(probabilities), len(flips)
    read = probabilities.reshape(rows, *[2] * qubits)
    for qubit, (up, down) in enumerate(flips):
        confusion = np.array([[1 - up, down], [up, 1 - down]])
        # Qubit 0 is the last axis.
        axis = qubits - qubit
        read = np.moveaxis(np.tensordot(confusion, read, axes=(1, axis)), 0, axis)
    flat: FloatArray = read.reshape(rows, -1)
    return flat


class Draws:
    """How outcomes are drawn.

    Args:
        shots: Shots a value.
        flips: Probability to read 1 for a 0, and 0 for a 1, shape (n, 2).
        readout: ``sampled`` draws from what is read, ``exact`` from the state, its errors averaged.
        generator: Where the outcomes come from.

    Attributes:
        flips: Readout errors that the average over drawn outcomes still has to take in, shape (n, 2).
        errors: All of them, shape (n, 2).
    """

    def __init__(
        self, shots: int, flips: FloatArray, *, readout: str, generator: np.random.Generator
    ) -> None:
        self._shots, self._generator = shots, generator
        sampled = readout == "sampled"
        # Errors that are in the bits must not be averaged in once more.
        self._in_bits = flips if sampled and flips.any() else None
        self.flips, self.errors = (np.zeros_like(flips) if sampled else flips), flips

    def frequencies(self, probabilities: FloatArray) -> FloatArray:
        """Share of the shots (N, 2^n) that gave each outcome."""
        if self._in_bits is not None:
            probabilities = flip_probabilities(probabilities, self._in_bits)
        # Rounding leaves some below zero, or above one in sum, which a multinomial refuses.
        probabilities = probabilities.clip(min=0)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        return self._generator.multinomial(self._shots, probabilities) / self._shots


class SampledProgram:
    """Expectation values from outcomes drawn from exact probabilities; each call draws anew.

    Args:
        sources: For each group the probabilities of what is measured.
        groups: What is measured together.
        draws: How outcomes are drawn.
    """

    def __init__(
        self, sources: Sequence[Probabilities], groups: Sequence[MeasuredGroup], draws: Draws
    ) -> None:
        self._sources, self._draws = sources, draws
        self._values = [outcome_values(group, draws.flips) for group in groups]
        self._means = [outcome_values(group, draws.errors) for group in groups]

    def __call__(self, values: FloatArray) -> FloatArray:
        """Estimates (N, O) at rows (N, P)."""
        return self._sum(values, self._draws.frequencies, self._values)

    def exact(self, values: FloatArray) -> FloatArray:
        """What the estimates (N, O) at rows (N, P) are on average."""
        return self._sum(values, lambda probabilities: probabilities, self._means)

    def _sum(
        self, values: FloatArray, read: Callable[[FloatArray], FloatArray], means: Sequence[FloatArray]
    ) -> FloatArray:
        def run(rows: FloatArray) -> FloatArray:
            parts = [read(source(rows)) @ mean for source, mean in zip(self._sources, means, strict=True)]
            total: FloatArray = np.sum(parts, axis=0)
            return total

        outcomes, outputs = means[0].shape
        chunks = by_chunks(run, values, max(1, _NUMBERS_PER_DRAW // outcomes))
        return np.concatenate([np.zeros((0, outputs)), *chunks])


def state_probabilities(
    circuit: QuantumCircuit, parameters: Sequence[Parameter], group: MeasuredGroup, *, threads: int
) -> Probabilities:
    """Probabilities of what a group of a noiseless circuit measures, from the exact engine."""
    unitary, wires = without_resets(group.rotate(circuit))
    # Every angle is an input: the rows of a parameter shift differ in all of them.
    engine = StateEngine(unitary, parameters, (), threads=threads or None)
    width = unitary.num_qubits
    # Axes of the array (N, 2, ..., 2), whose last one is qubit 0: what was reset is summed over.
    lost = [width - wire for wire in range(width) if wire not in wires]
    kept = [width - wire for wire in reversed(wires)]

    def probabilities(values: FloatArray) -> FloatArray:
        states = engine.states(values, np.zeros(0))
        found: FloatArray = states.real**2 + states.imag**2
        if not lost:
            return found
        axes = found.reshape(len(found), *[2] * width).transpose(0, *kept, *lost)
        # Summed over the qubits that nobody reads, last: what is left are marginal probabilities.
        return np.ascontiguousarray(axes.reshape(len(found), 1 << len(wires), -1).sum(axis=-1))

    return probabilities


class SampledTrainingExecutor(ValuesExecutor):
    """What a training under shots runs on: values and shifted values drawn on an engine of qhq's.

    The first rows are compared with Aer's exact values before anything is drawn.

    Args:
        spec: The entry.
        aer: The ansatz in Aer, which says what ran.
        open_drawn: Makes the engine ready for a circuit and its parameters.
        open_judge: Makes Aer's exact values ready for the same, for the comparison.
        seed: Where perturbations of SPSA come from.
        engine: Which engine, for the error that it differs from Aer.
    """

    def __init__(
        self,
        spec: SimulatedSpec,
        aer: ValuesExecutor,
        *,
        open_drawn: Callable[[QuantumCircuit, Sequence[Parameter]], SampledProgram],
        open_judge: Callable[[QuantumCircuit, Sequence[Parameter]], OpenedCircuit],
        seed: int,
        engine: str,
    ) -> None:
        # Before the base, which asks for the program.
        self._aer, self._open_drawn, self._open_judge, self._engine_name = aer, open_drawn, open_judge, engine
        super().__init__(spec, aer.ansatz, seed, spec.spsa)

    def open_program(self, circuit: QuantumCircuit, parameters: Sequence[Parameter]) -> OpenedCircuit:
        """The engine's draws, behind a comparison of the first rows."""
        drawn, agreed = self._open_drawn(circuit, parameters), False

        def run(values: FloatArray) -> FloatArray:
            nonlocal agreed
            # Once is enough: circuit and noise stay, and every later step would pay Aer's time for it.
            if not agreed and len(values):
                few = values[:PARITY_ROWS]
                distance = float(np.abs(drawn.exact(few) - self._open_judge(circuit, parameters)(few)).max())
                check_parity(Parity(distance, 0.0), engine=self._engine_name)
                agreed = True
            return drawn(values)

        return run

    def report(self) -> Report:
        """Say what ran."""
        return self._aer.report()


class SampledExecutor:
    """An entry with shots: Aer for values, and draws on an engine of qhq's wherever gradients are asked for.

    Args:
        aer: The ansatz in Aer.
        engine: The same on the engine.
    """

    def __init__(self, aer: ValuesExecutor, engine: SampledTrainingExecutor) -> None:
        self.aer, self.engine = aer, engine

    @property
    def ansatz(self) -> Ansatz:
        """What it was opened for."""
        return self.aer.ansatz

    def expectations(self, inputs: ArrayLike, weights: ArrayLike) -> FloatArray:
        """Aer's estimates (B, O) for inputs (B, I), in radians, and weights (W,).

        Raises:
            BackendError: If a shape does not fit, a value is not finite, or Aer fails.
        """
        return self.aer.expectations(inputs, weights)

    def vjp(
        self, inputs: ArrayLike, weights: ArrayLike, cotangent: ArrayLike
    ) -> tuple[FloatArray, FloatArray]:
        """Pull a cotangent (B, O) back to inputs (B, I) and weights (W,), on the engine.

        Raises:
            BackendError: If a shape does not fit, a value is not finite, or the engine differs from Aer.
        """
        return self.engine.vjp(inputs, weights, cotangent)

    def forward(
        self, inputs: ArrayLike, weights: ArrayLike
    ) -> tuple[FloatArray, tuple[ArrayLike, ArrayLike]]:
        """Estimates (B, O) of the engine, and what ``backward`` goes on from."""
        return self.engine.expectations(inputs, weights), (inputs, weights)

    def backward(
        self, residual: tuple[ArrayLike, ArrayLike], cotangent: ArrayLike
    ) -> tuple[FloatArray, FloatArray]:
        """Pull a cotangent (B, O) of a forward pass back, by shots of its own."""
        return self.engine.vjp(*residual, cotangent)

    def report(self) -> Report:
        """Say what ran."""
        return self.aer.report()


def by_chunks(run: Callable[[FloatArray], FloatArray], values: FloatArray, rows: int) -> list[FloatArray]:
    """Run rows (N, P) at most ``rows`` at a time."""
    return [run(values[start : start + rows]) for start in range(0, len(values), rows)]
