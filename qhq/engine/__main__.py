"""``python -m qhq.engine``: compile the kernels for this machine now, not in the first training."""

from __future__ import annotations

import numpy as np
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.quantum_info import SparsePauliOp

from qhq.engine.runtime.statevector import StatevectorEngine


def compile_kernels() -> None:
    """Run one small circuit in float32, the precision of a training unless its config says otherwise."""
    angle = Parameter("x")
    circuit = QuantumCircuit(1)
    circuit.ry(angle, 0)
    engine = StatevectorEngine(circuit, [SparsePauliOp("Z")], [angle], [])
    engine.expectations(np.zeros((1, 1), np.float32), np.zeros(0, np.float32))


if __name__ == "__main__":
    compile_kernels()
