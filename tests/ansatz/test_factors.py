"""Factors of an ansatz: what they give side by side is what the whole gives."""

from __future__ import annotations

import numpy as np
import pytest
from qiskit.circuit import ParameterVector, QuantumCircuit
from qiskit.quantum_info import SparsePauliOp

from qhq.ansatz import factors as module
from qhq.ansatz.assemble import build_ansatz
from qhq.ansatz.factors import factors_of
from qhq.ansatz.program import Ansatz, without_entanglers
from qhq.backends.executor import Executor
from qhq.backends.factors import FactorsExecutor
from qhq.backends.local.statevector import StatevectorExecutor
from qhq.backends.registry import open_backend, open_parity_reference, open_training_backend


def falling_apart() -> Ansatz:
    """Qubits 0 and 3, 1 and 4 with a reset, 2 without an input; inputs and weights that parts share."""
    x, w = ParameterVector("x", 2), ParameterVector("w", 2)
    circuit = QuantumCircuit(5)
    circuit.ry(x[0], [0, 1])
    circuit.cx(0, 3)
    circuit.rz(w[0], 3)
    circuit.rx(w[1] * x[1], 3)
    circuit.barrier()
    circuit.crx(w[1], 1, 4)
    circuit.reset(1)
    circuit.ry(x[1], 1)
    circuit.cx(4, 1)
    circuit.rx(w[0], 2)
    labels = ["ZIIII", "IZIIZ", "IIIII", "IIZII", "IIIZI", "IYIIX"]  # qubit 4 first
    return Ansatz(circuit, tuple(x), tuple(w), tuple(SparsePauliOp(label) for label in labels))


@pytest.fixture
def small(monkeypatch):
    """Parts of circuits of any width."""
    monkeypatch.setattr(module, "FEWEST_QUBITS", 0)


def points(ansatz: Ansatz) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    shapes = (3, ansatz.num_inputs), ansatz.num_weights, (3, ansatz.num_outputs)
    inputs, weights, cotangent = (generator.uniform(-1, 1, shape) for shape in shapes)
    return inputs, weights, cotangent


def answers(executor: Executor, ansatz: Ansatz) -> list[np.ndarray]:
    inputs, weights, cotangent = points(ansatz)
    return [executor.expectations(inputs, weights), *executor.vjp(inputs, weights, cotangent)]


def test_qubits_that_nothing_couples_are_parts(small):
    found = factors_of(falling_apart())
    assert [each.outputs for each in found] == [(1, 2, 3, 5), (0, 4)]
    assert [each.ansatz.num_qubits for each in found] == [3, 2]
    assert [each.inputs for each in found] == [(0, 1), (0, 1)]


def test_a_wide_circuit_of_parts_falls_apart():
    wide = build_ansatz("side_by_side", parts=[{"qubits": 5}, {"qubits": module.FEWEST_QUBITS - 5}])
    assert [each.ansatz.num_qubits for each in factors_of(wide)] == [5, module.FEWEST_QUBITS - 5]
    coupled = build_ansatz("reference", qubits=module.FEWEST_QUBITS)
    assert len(factors_of(coupled)) == 1
    assert len(factors_of(without_entanglers(coupled))) == module.FEWEST_QUBITS


def test_a_small_circuit_and_one_that_holds_together_stay_whole(monkeypatch):
    assert len(factors_of(falling_apart())) == 1
    monkeypatch.setattr(module, "FEWEST_QUBITS", 0)
    whole = falling_apart()
    joined = Ansatz(whole.circuit, whole.inputs, whole.weights, (SparsePauliOp("ZZZZZ"),))
    assert len(factors_of(joined)) == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_exact_engine_gives_of_parts_what_it_gives_of_the_whole(dtype, monkeypatch):
    ansatz = falling_apart()
    inputs, weights, cotangent = (each.astype(dtype) for each in points(ansatz))
    whole = StatevectorExecutor(ansatz)
    monkeypatch.setattr(module, "FEWEST_QUBITS", 0)
    many, near = StatevectorExecutor(ansatz), 1e-5 if dtype == np.float32 else 1e-12
    found, residual = many.forward(inputs, weights)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, whole.expectations(inputs, weights), atol=near)
    np.testing.assert_array_equal(many.expectations(inputs, weights), found)
    for _ in range(2):  # and once more of the same forward pass
        pulled = many.backward(residual, cotangent)
        for each, wanted in zip(pulled, whole.vjp(inputs, weights, cotangent), strict=True):
            np.testing.assert_allclose(each, wanted, atol=near)
            assert each.dtype == dtype


def test_aer_gives_of_parts_what_it_gives_of_the_whole(monkeypatch):
    ansatz = falling_apart()
    wanted = answers(StatevectorExecutor(ansatz), ansatz)
    monkeypatch.setattr(module, "FEWEST_QUBITS", 0)
    opened = [
        open_training_backend("aer", ansatz, seed=0),
        open_backend("aer", ansatz),
        open_parity_reference("aer", ansatz, seed=0),
    ]
    assert opened[1].report().qubits == ansatz.num_qubits
    for executor in opened:
        assert isinstance(executor, FactorsExecutor)
        for found, want in zip(answers(executor, ansatz), wanted, strict=True):
            np.testing.assert_allclose(found, want, atol=1e-9)


def test_under_noise_each_part_is_a_circuit_of_its_own(small):
    ansatz = falling_apart()
    inputs, weights, _ = points(ansatz)
    found = open_backend("aer_noisy", ansatz).expectations(inputs, weights)
    for part in factors_of(ansatz):
        alone = open_backend("aer_noisy", part.ansatz)
        own = alone.expectations(inputs[:, list(part.inputs)], weights[list(part.weights)])
        np.testing.assert_allclose(found[:, list(part.outputs)], own, atol=1e-12)


def test_parts_draw_shots_of_their_own(small):
    circuit, x = QuantumCircuit(2), ParameterVector("x", 1)
    circuit.ry(x[0], [0, 1])
    ansatz = Ansatz(circuit, tuple(x), (), (SparsePauliOp("IZ"), SparsePauliOp("ZI")))
    found = open_backend("aer_shots", ansatz).expectations(np.full((20, 1), 1.5), np.zeros(0))
    assert (found[:, 0] != found[:, 1]).any()
    np.testing.assert_allclose(found, np.cos(1.5), atol=5 / np.sqrt(1024))
