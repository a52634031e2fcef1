"""Fractional gates: an rzz whose angle is free, for devices that have it between 0 and pi/2 alone.

A free angle has another value in each row, and each must lie within the range that the device is calibrated
for. With t = angle mod 2 pi, and up to a global phase,

    rzz(t) = rzz(t)                          0      <= t <= pi/2
           = ZZ . (X rzz(pi - t) X)          pi/2   <  t <= pi
           = ZZ . rzz(t - pi)                pi     <  t <= 3 pi/2
           = X rzz(2 pi - t) X               3 pi/2 <  t <  2 pi

(X on one of the two qubits), so that with rz(pi) for Z and rx(pi) for X, both of them fractional gates too,
one circuit holds for all rows: their angles are 0 or pi, as the row has it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from qiskit.circuit import Parameter, ParameterExpression, QuantumCircuit

from qhq.backends.executor import FloatArray


def within_range(
    circuit: QuantumCircuit, parameters: Sequence[str], values: FloatArray
) -> tuple[QuantumCircuit, tuple[str, ...], FloatArray]:
    """Write every rzz with an angle between 0 and pi/2, whatever the row.

    Args:
        circuit: In the gates of a device.
        parameters: Names of its parameters, in the order of the columns.
        values: Rows, shape (N, P), radians.

    Returns:
        A circuit that does the same, the names of its parameters, and its rows.
    """
    if "rzz" not in circuit.count_ops():
        return circuit, tuple(parameters), values
    written = _Written(circuit, list(parameters), values)
    for step in circuit.data:
        if step.operation.name == "rzz":
            written.add_rzz(step.operation.params[0], step.qubits)
        else:
            written.circuit.append(step.operation, step.qubits, step.clbits)
    return written.finished()


class _Written:
    """The circuit as it is written anew, with the columns that it needs besides the old ones."""

    def __init__(self, circuit: QuantumCircuit, names: list[str], values: FloatArray) -> None:
        self.circuit = circuit.copy_empty_like()
        self._names, self._columns = names, [values[:, place] for place in range(values.shape[1])]
        self._rows = len(values)

    def add_rzz(self, angle: ParameterExpression | float, qubits: Sequence[object]) -> None:
        """Add an rzz, with the gates around it that bring its angle into range."""
        turned = np.mod(self._values(angle), 2 * np.pi)
        beyond = (turned > np.pi / 2) & (turned <= 3 * np.pi / 2)
        turned = np.where(beyond, turned - np.pi, turned)
        turned = np.where(turned > np.pi, turned - 2 * np.pi, turned)
        flipped = turned < 0
        inside = np.clip(np.abs(turned), 0.0, np.pi / 2)
        first, second = qubits
        for qubit in (first, second):
            self._add("rz", np.pi * beyond, [qubit])
        self._add("rx", np.pi * flipped, [first])
        self._add("rzz", inside, [first, second])
        self._add("rx", np.pi * flipped, [first])

    def finished(self) -> tuple[QuantumCircuit, tuple[str, ...], FloatArray]:
        """What was written; parameters that stand nowhere any more are left out."""
        used = {parameter.name for parameter in self.circuit.parameters}
        kept = [place for place, name in enumerate(self._names) if name in used]
        columns = [self._columns[place] for place in kept]
        values = np.stack(columns, axis=1) if columns else np.zeros((self._rows, 0))
        return self.circuit, tuple(self._names[place] for place in kept), values

    def _add(self, gate: str, angles: FloatArray, qubits: list[object]) -> None:
        """Add a rotation by angles (N,): a number where all rows have the same, and nothing where it is 0."""
        if np.ptp(angles) == 0:
            if angles[0] != 0 or gate == "rzz":
                getattr(self.circuit, gate)(float(angles[0]), *qubits)
            return
        name = f"fractional_{len(self._names)}"
        self._names.append(name)
        self._columns.append(angles)
        getattr(self.circuit, gate)(Parameter(name), *qubits)

    def _values(self, angle: ParameterExpression | float) -> FloatArray:
        """An angle in every row, shape (N,)."""
        if not isinstance(angle, ParameterExpression) or not angle.parameters:
            return np.full(self._rows, float(angle))
        places = [(parameter, self._names.index(parameter.name)) for parameter in angle.parameters]
        bound = [
            angle.bind({parameter: float(self._columns[place][row]) for parameter, place in places})
            for row in range(self._rows)
        ]
        found = np.array([float(each) for each in bound])
        assert all(map(math.isfinite, found))
        return found
