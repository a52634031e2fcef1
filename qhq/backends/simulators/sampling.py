"""From measured bits to expectation values: what to measure together, and how to average it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit
from qiskit.primitives.containers import BitArray
from qiskit.quantum_info import PauliList, SparsePauliOp

from qhq.backends.executor import FloatArray


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

    def measure(self, circuit: QuantumCircuit) -> QuantumCircuit:
        """Append the change of basis and the measurement of all qubits (register ``meas``)."""
        rotated = circuit.copy()
        for qubit, letter in enumerate(self.letters):
            if letter == "Y":
                rotated.sdg(qubit)
            if letter in "XY":
                rotated.h(qubit)
        rotated.measure_all()
        return rotated

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
