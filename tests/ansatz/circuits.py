"""Specs and reference values that the tests of ansatz, backends and quantum share."""

import numpy as np
from qiskit.quantum_info import Operator, Statevector

from qhq.ansatz.assemble import Ansatz, build
from qhq.ansatz.spec import AnsatzSpec

NO_ENTANGLER = {"pattern": "none"}
SPECS = {
    "ry": {"qubits": 3, "depth": 2},
    "rx_rz": {"qubits": 3, "blocks": [{"gates": "RX RZ"}], "entangler": {"pattern": "linear", "gate": "cz"}},
    "rot": {"qubits": 2, "blocks": [{"gates": "Rot"}], "observables": ["Z0 Z1", "X0", "YI"]},
    "reuploading": {
        "qubits": 3,
        "depth": 2,
        "encoding": {"gates": "RZ RY", "hadamard": True, "repeat": True},
        "entangler": {"pattern": "full"},
    },
    "real_amplitudes": {
        "qubits": 3,
        "blocks": [{"kind": "real_amplitudes"}],
        "entangler": NO_ENTANGLER,
    },
    "efficient_su2": {
        "qubits": 2,
        "depth": 2,
        "blocks": [{"kind": "efficient_su2", "entanglement": "linear"}],
        "entangler": NO_ENTANGLER,
    },
    "zz_feature_map": {"qubits": 3, "encoding": {"kind": "zz_feature_map"}},
    "mixed": {"qubits": 2, "blocks": [{"gates": "RX"}, {"kind": "real_amplitudes"}]},
}


def built(name: str) -> Ansatz:
    return build(AnsatzSpec.model_validate(SPECS[name]))


def bound(ansatz: Ansatz, row: np.ndarray):
    """Circuit at one row of values: inputs, then weights."""
    return ansatz.circuit.assign_parameters(dict(zip(ansatz.parameters, row, strict=True)))


def statevector_expectations(ansatz: Ansatz, inputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Slow and obvious: one state a row, shape (B, O)."""
    states = [Statevector(bound(ansatz, np.concatenate([row, weights]))) for row in inputs]
    return np.array([[state.expectation_value(each).real for each in ansatz.observables] for state in states])


def matrix(ansatz: Ansatz, row: np.ndarray) -> np.ndarray:
    return Operator(bound(ansatz, row)).data


def random_values(ansatz: Ansatz, batch: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (B, I) and weights (W,) within [-pi, pi]."""
    generator = np.random.default_rng(seed)
    inputs = generator.uniform(-np.pi, np.pi, (batch, ansatz.num_inputs))
    return inputs, generator.uniform(-np.pi, np.pi, ansatz.num_weights)
