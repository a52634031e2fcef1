"""Other people's circuits on engine and Aer: ``python -m benchmarks.public_circuits DIR [MOST_QUBITS]``.

Reads every ``.qasm`` file (OpenQASM 2 or 3) below a folder, makes its rotation angles weights and its first
one an input, and holds values and slopes against ``Statevector`` of the circuit with numbers in it.
"""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
from qiskit import QuantumCircuit, qasm2, qasm3
from qiskit.circuit import Parameter
from qiskit.circuit.library import get_standard_gate_name_mapping
from qiskit.exceptions import QiskitError
from qiskit.quantum_info import SparsePauliOp, Statevector

from qhq.ansatz.program import Ansatz
from qhq.backends import open_backend
from qhq.engine.compile import STANDARD, class_of, without_final_measurements
from qhq.errors import QHQError

STEP = 1e-4


def observables(qubits):
    single = [SparsePauliOp.from_sparse_list([(p, [q], 1.0)], qubits) for q in range(qubits) for p in "ZX"]
    return (*single, SparsePauliOp("Y" * qubits))


def read(path):
    text = path.read_text(encoding="utf-8-sig")
    if "OPENQASM 3" in text:
        return qasm3.loads(text)
    return qasm2.loads(
        text,
        include_path=(path.parent, *qasm2.LEGACY_INCLUDE_PATH),
        custom_instructions=qasm2.LEGACY_CUSTOM_INSTRUCTIONS,
    )


def opened(circuit):
    """Gates that the file defines are opened, for their angles to be seen."""
    standard = set(get_standard_gate_name_mapping()) | {"measure", "barrier", "reset"}
    for _ in range(20):
        own = {step.name for step in circuit.data if step.name not in standard and step.operation.definition}
        if not own:
            break
        circuit = circuit.decompose(gates_to_decompose=sorted(own))
    return circuit


def with_weights(circuit):
    """The circuit with a parameter for each angle, and what stood there."""
    names, numbers = [], []
    made = QuantumCircuit(circuit.qubits, circuit.clbits, *circuit.qregs, *circuit.cregs)
    for step in circuit.data:
        operation = step.operation
        kind = class_of(operation)
        if kind in STANDARD and operation.params:
            fresh = [Parameter(f"w{len(names) + k}") for k in range(len(operation.params))]
            names += fresh
            numbers += [float(value) for value in operation.params]
            operation = kind(*fresh)
        made.append(operation, step.qubits, step.clbits)
    if not names:  # an ansatz takes an input at least
        names, numbers = [Parameter("x")], [0.3]
        encoded = made.copy_empty_like()
        encoded.rx(names[0], 0)
        made = encoded.compose(made, made.qubits, made.clbits)
    return made, names, np.array(numbers)


def compare(circuit):
    """Worst differences of values and of a slope along one direction, on the engine and on Aer."""
    made, names, numbers = with_weights(opened(circuit))
    measured = observables(made.num_qubits)
    ansatz = Ansatz(made, (names[0],), tuple(names[1:]), measured)
    generator = np.random.default_rng(0)
    row = numbers + generator.normal(size=len(numbers)) / 10
    bare = without_final_measurements(made)

    def truth(values):
        state = Statevector(bare.assign_parameters(dict(zip(names, values.tolist(), strict=True))))
        return np.array([state.expectation_value(each).real for each in measured])

    wanted, direction = truth(row), generator.normal(size=len(row))
    slope = (
        8 * (truth(row + STEP * direction) - truth(row - STEP * direction))
        - (truth(row + 2 * STEP * direction) - truth(row - 2 * STEP * direction))
    ) / (12 * STEP)
    cotangent = generator.normal(size=(1, len(measured)))
    engine, aer = open_backend("statevector", ansatz, seed=0), open_backend("aer", ansatz, seed=0)
    rows, weights = row[None, :1], row[1:]
    across, along = engine.vjp(rows, weights, cotangent)
    found = float(across[0, 0] * direction[0] + along @ direction[1:])
    return (
        float(np.abs(engine.expectations(rows, weights)[0] - wanted).max()),
        abs(found - float(cotangent[0] @ slope)) / (1 + float(np.abs(direction).sum())),
        float(np.abs(aer.expectations(rows, weights)[0] - wanted).max()),
    )


def main(folder, most_qubits=12):
    counts, worst = Counter(), np.zeros(3)
    for path in sorted(Path(folder).rglob("*.qasm")):
        try:
            circuit = read(path)
        except (QiskitError, ValueError, OSError) as error:
            counts["not read by Qiskit"] += 1
            print(f"{path.name}: not read: {str(error)[:120]}")
            continue
        if circuit.num_qubits > most_qubits:
            counts[f"over {most_qubits} qubits"] += 1
            continue
        try:
            found = compare(circuit)
        except QHQError as error:
            counts["refused"] += 1
            print(f"{path.name}: refused: {str(error)[:200]}")
            continue
        right = found[0] < 1e-10 and found[1] < 1e-6 and found[2] < 1e-9
        counts["right" if right else "WRONG"] += 1
        worst = np.maximum(worst, found)
        if not right:
            print(f"{path.name}: {found}")
    print(dict(counts), "worst of values, slopes, values on Aer:", *(f"{each:.1e}" for each in worst))
    return int(counts["WRONG"] > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *map(int, sys.argv[2:])))
