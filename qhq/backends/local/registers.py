"""Circuits on qubits of their own: the exact engine holds a state of each, and not one of all.

The state of a circuit whose qubits fall into groups that no gate couples is a product. One of two groups of
six takes 2 * 2^6 amplitudes and not 2^12.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from qiskit import QuantumCircuit

from qhq.ansatz.program import Ansatz, on_qubits
from qhq.backends.executor import FloatArray
from qhq.engine import Residual, StatevectorEngine

# Below, one state costs no more than several: forward and back a batch of 64 takes 0.08 ms on 4 + 4 qubits
# either way; on 6 + 6 it takes 1.3 ms as one and 0.1 ms as two.
FEWEST_QUBITS = 9

Places = NDArray[np.int64]


def groups_of(ansatz: Ansatz) -> list[tuple[int, ...]]:
    """Groups of qubits that neither a gate nor an observable has in common with others."""
    group = {qubit: {qubit} for qubit in range(ansatz.num_qubits)}

    def join(qubits: Sequence[int]) -> None:
        whole = set().union(*(group[each] for each in qubits))
        group.update(dict.fromkeys(whole, whole))

    circuit = ansatz.lowered
    for step in circuit.data:
        join([circuit.find_bit(bit).index for bit in step.qubits])
    for each in ansatz.observables:
        if read := np.flatnonzero((each.paulis.x | each.paulis.z).any(axis=0)).tolist():
            join(read)
    return sorted({tuple(sorted(each)) for each in group.values()})


@dataclass(frozen=True)
class _Register:
    """One group on an engine, and where its inputs, weights and outputs are among all."""

    engine: StatevectorEngine
    inputs: Places
    weights: Places
    outputs: Places


class RegistersEngine:
    """Expectations and gradients of circuits on qubits of their own; arguments as of `StatevectorEngine`.

    Args:
        ansatz: All of them.
        groups: Their qubits, from `groups_of`.
        threads: Most threads to use; None means all cores.
    """

    def __init__(
        self, ansatz: Ansatz, groups: Sequence[tuple[int, ...]], *, threads: int | None = None
    ) -> None:
        self._sizes = ansatz.num_inputs, ansatz.num_weights, ansatz.num_outputs
        read = [(each, _outputs_of(ansatz, each)) for each in groups]
        self._registers = [_open(ansatz, each, outputs, threads) for each, outputs in read if outputs]

    def expectations(self, inputs: ArrayLike, weights: ArrayLike) -> FloatArray:
        """Expectation values (B, O)."""
        rows, own = np.asarray(inputs), np.asarray(weights)
        return self._joined(len(rows), [
            each.engine.expectations(rows[:, each.inputs], own[each.weights]) for each in self._registers
        ])  # fmt: skip

    def forward(self, inputs: ArrayLike, weights: ArrayLike) -> tuple[FloatArray, list[Residual]]:
        """The same, and what ``backward`` goes on from."""
        rows, own = np.asarray(inputs), np.asarray(weights)
        found = [each.engine.forward(rows[:, each.inputs], own[each.weights]) for each in self._registers]
        return self._joined(len(rows), [values for values, _ in found]), [residual for _, residual in found]

    def backward(self, residual: list[Residual], cotangent: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Pull a cotangent (B, O) back to inputs (B, I) and weights (W,)."""
        pulled = np.asarray(cotangent)
        dtype = residual[0].inputs.dtype
        by_inputs, by_weights = (
            np.zeros((len(pulled), self._sizes[0]), dtype),
            np.zeros(self._sizes[1], dtype),
        )
        for each, left in zip(self._registers, residual, strict=True):
            found = each.engine.backward(left, pulled[:, each.outputs])
            # Added: an input or a weight may stand in several registers.
            by_inputs[:, each.inputs] += found[0]
            by_weights[each.weights] += found[1]
        return by_inputs, by_weights

    def _joined(self, batch: int, values: Sequence[FloatArray]) -> FloatArray:
        joined = np.empty((batch, self._sizes[2]), values[0].dtype)
        for each, own in zip(self._registers, values, strict=True):
            joined[:, each.outputs] = own
        return joined


def _open(ansatz: Ansatz, qubits: tuple[int, ...], outputs: Sequence[int], threads: int | None) -> _Register:
    circuit, own = ansatz.lowered, QuantumCircuit(len(qubits))
    place = {qubit: index for index, qubit in enumerate(qubits)}
    for step in circuit.data:
        wires = [circuit.find_bit(bit).index for bit in step.qubits]
        if wires[0] in place:
            own.append(step.operation, [place[each] for each in wires])
    present = set(own.parameters)
    inputs, weights = (
        np.array([k for k, each in enumerate(given) if each in present], np.int64)
        for given in (ansatz.inputs, ansatz.weights)
    )
    engine = StatevectorEngine(
        own,
        [on_qubits(ansatz.observables[k], qubits) for k in outputs],
        [ansatz.inputs[k] for k in inputs],
        [ansatz.weights[k] for k in weights],
        threads=threads,
    )
    return _Register(engine, inputs, weights, np.array(outputs, np.int64))


def _outputs_of(ansatz: Ansatz, qubits: Sequence[int]) -> list[int]:
    """Places of the observables that read a group; one that reads no qubit is left to that of qubit 0."""
    reads = [(each.paulis.x | each.paulis.z).any(axis=0) for each in ansatz.observables]
    own = list(qubits)
    return [k for k, read in enumerate(reads) if read[own].any() or (not read.any() and 0 in own)]
