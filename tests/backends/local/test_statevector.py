"""The exact engine as a backend: Aer's values and gradients, in the precision that is asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from qhq.ansatz import AnsatzSpec, build, load_ansatz
from qhq.ansatz.blocks import RotationBlock
from qhq.backends import executor as executor_module
from qhq.backends import open_backend
from qhq.backends.executor import _TOLERANCE, Parity, check_parity, measure_parity, parity_tolerance
from qhq.backends.local import StatevectorSpec
from qhq.backends.local.statevector import StatevectorExecutor
from qhq.backends.noisy import AerSpec
from qhq.backends.registry import open_parity_reference, open_training_backend
from qhq.errors import BackendError

SHIPPED = [
    "reference",
    "real_amplitudes",
    "efficient_su2",
    "zz_feature_map",
    "reuploading",
    "brickwork",
    "qlstm",
]


def values(ansatz, batch: int, dtype=np.float64):
    generator = np.random.default_rng(7)
    shapes = (batch, ansatz.num_inputs), (ansatz.num_weights,), (batch, ansatz.num_outputs)
    return tuple(generator.normal(size=shape).astype(dtype) for shape in shapes)


@pytest.mark.parametrize("name", SHIPPED)
def test_values_and_gradients_equal_aer(name):
    ansatz = build(load_ansatz(name))
    engine = StatevectorExecutor(ansatz)
    aer = open_backend(AerSpec(kind="aer", gradient="parameter_shift"), ansatz, seed=0)
    inputs, weights, cotangent = values(ansatz, 5)
    np.testing.assert_allclose(
        engine.expectations(inputs, weights), aer.expectations(inputs, weights), atol=1e-12
    )
    for one, other in zip(
        engine.vjp(inputs, weights, cotangent), aer.vjp(inputs, weights, cotangent), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-10)
    assert measure_parity(engine, aer, inputs, weights).max_abs < 1e-10


@pytest.mark.parametrize("name", SHIPPED)
def test_twin_for_accelerators_equals_the_engine(name):
    ansatz = build(load_ansatz(name))
    engine = StatevectorExecutor(ansatz)
    inputs, weights, cotangent = values(ansatz, 5)
    leaves = torch.tensor(inputs, requires_grad=True), torch.tensor(weights, requires_grad=True)
    out = engine.expectations_on_device(*leaves)
    np.testing.assert_allclose(out.detach(), engine.expectations(inputs, weights), atol=1e-12)
    out.backward(torch.tensor(cotangent))
    for leaf, gradient in zip(leaves, engine.vjp(inputs, weights, cotangent), strict=True):
        np.testing.assert_allclose(leaf.grad, gradient, atol=1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_precision_follows_the_inputs(dtype):
    ansatz = build(AnsatzSpec(qubits=3))
    engine, arrays = StatevectorExecutor(ansatz), values(ansatz, 4, dtype)
    assert engine.expectations(*arrays[:2]).dtype == dtype
    assert {gradient.dtype for gradient in engine.vjp(*arrays)} == {np.dtype(dtype)}


def test_backward_can_be_asked_twice():
    ansatz = build(AnsatzSpec(qubits=3))
    engine = StatevectorExecutor(ansatz)
    inputs, weights, cotangent = values(ansatz, 4)
    _, residual = engine.forward(inputs, weights)
    first, second = engine.backward(residual, cotangent), engine.backward(residual, 2 * cotangent)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_allclose(2 * one, other, atol=1e-12)


@pytest.mark.parametrize("name", ["inputs", "weights", "cotangent"])
def test_wrong_shapes_are_refused(name):
    ansatz = build(AnsatzSpec(qubits=3))
    inputs, weights, cotangent = values(ansatz, 4)
    wrong = {"inputs": inputs[:, :1], "weights": weights[:1], "cotangent": cotangent[:2]}[name]
    arrays = {"inputs": inputs, "weights": weights, "cotangent": cotangent, name: wrong}
    with pytest.raises(BackendError, match=f"The {name} of an executor must have the shape"):
        StatevectorExecutor(ansatz).vjp(**arrays)


def test_training_runs_on_the_engine_where_the_gradient_is_adjoint():
    ansatz = build(AnsatzSpec(qubits=2))
    adjoint, shift = (AerSpec(kind="aer", gradient=gradient) for gradient in ("adjoint", "parameter_shift"))
    assert isinstance(open_training_backend(adjoint, ansatz, seed=0), StatevectorExecutor)
    assert open_training_backend(shift, ansatz, seed=0).report().backend == "aer"
    assert open_parity_reference(adjoint, ansatz, seed=0).report().backend == "aer"
    assert open_parity_reference(shift, ansatz, seed=0) is None
    assert open_parity_reference(StatevectorSpec(kind="statevector"), ansatz, seed=0) is None


def test_aer_with_adjoint_gradient_has_aer_values_and_engine_gradients():
    ansatz = build(AnsatzSpec(qubits=3, depth=2))
    aer = open_backend("aer", ansatz, seed=0)
    inputs, weights, cotangent = values(ansatz, 4)
    engine = StatevectorExecutor(ansatz)
    np.testing.assert_allclose(
        aer.expectations(inputs, weights), engine.expectations(inputs, weights), atol=1e-12
    )
    for one, other in zip(
        aer.vjp(inputs, weights, cotangent), engine.vjp(inputs, weights, cotangent), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_adjoint_gradient_needs_exact_values():
    with pytest.raises(ValueError, match="adjoint needs exact values"):
        AerSpec(kind="aer", gradient="adjoint", shots=100)


class Shifted:
    """An executor that is wrong by a little."""

    def __init__(self, executor, by: float) -> None:
        self.executor, self.by = executor, by

    def expectations(self, inputs, weights):
        return self.executor.expectations(inputs, weights) + self.by

    def vjp(self, inputs, weights, cotangent):
        return self.executor.vjp(inputs, weights, cotangent)


@pytest.mark.parametrize("by", [2 * _TOLERANCE, float("nan")])
def test_gate_refuses_an_engine_that_differs(by):
    ansatz = build(AnsatzSpec(qubits=2))
    aer = open_backend("aer", ansatz, seed=0)
    inputs, weights, _ = values(ansatz, 4)
    parity = measure_parity(Shifted(StatevectorExecutor(ansatz), by), aer, inputs, weights)
    with pytest.raises(BackendError, match="engine must agree with Aer to 1e-05"):
        check_parity(parity)


def test_gate_lets_pass_what_agrees():
    check_parity(Parity(values=_TOLERANCE, gradients=0.0))


def test_the_tolerance_grows_with_the_gates_by_rounding_alone():
    assert parity_tolerance(np.float32, 10) == _TOLERANCE == parity_tolerance(np.float64, 10_000)
    assert _TOLERANCE < parity_tolerance(np.float32, 140) < 2e-4


@pytest.mark.parametrize("qubits", [3, 6])
@pytest.mark.parametrize("gates", ["RY", "RX RZ", "Rot"])
def test_a_deep_circuit_in_single_precision_passes_the_gate(gates, qubits):
    ansatz = build(AnsatzSpec(qubits=qubits, depth=7, blocks=(RotationBlock(gates=gates),)))
    generator = np.random.default_rng(0)
    inputs = generator.uniform(-np.pi, np.pi, (8, qubits)).astype(np.float32)
    weights = generator.uniform(-np.pi, np.pi, ansatz.num_weights).astype(np.float32)
    engine = StatevectorExecutor(ansatz)
    aer = open_backend(AerSpec(kind="aer", gradient="parameter_shift"), ansatz, seed=0)
    parity = measure_parity(engine, aer, inputs, weights)
    check_parity(parity, parity_tolerance(np.float32, ansatz.circuit.size()))


class Turned(Shifted):
    """An executor that is right but for one gradient."""

    def __init__(self, executor, place: int, by: float) -> None:
        super().__init__(executor, 0.0)
        self.place, self.turn = place, by

    def vjp(self, inputs, weights, cotangent):
        slopes = [each.copy() for each in self.executor.vjp(inputs, weights, cotangent)]
        slopes[self.place].flat[0] += self.turn
        return tuple(slopes)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("samples", [1, 3, 20])
def test_the_gradient_of_a_wide_circuit_is_compared_along_a_direction(monkeypatch, samples, kind):
    ansatz = build(AnsatzSpec(qubits=3, depth=2))
    monkeypatch.setattr(executor_module, "_MOST_AMPLITUDES", samples << 3)
    aer = open_backend(AerSpec(kind="aer", gradient="parameter_shift"), ansatz, seed=0)
    monkeypatch.setattr(aer, "vjp", lambda *_: pytest.fail("parameter shifts of a wide circuit take hours"))
    counted = []
    values_of = aer.expectations
    monkeypatch.setattr(aer, "expectations", lambda x, w: counted.append(len(x)) or values_of(x, w))
    inputs, weights, _ = (each.astype(kind) for each in values(ansatz, 24))
    engine = StatevectorExecutor(ansatz)
    parity = measure_parity(engine, aer, inputs, weights)
    assert (counted[0], max(counted), len(counted)) == (samples, samples, 5)
    check_parity(parity, parity_tolerance(kind, ansatz.circuit.size()))
    for place in (0, 1):
        wrong = measure_parity(Turned(engine, place, 0.1), aer, inputs, weights)
        assert wrong.values < _TOLERANCE < 100 * _TOLERANCE < wrong.gradients
    lost = measure_parity(Turned(engine, 1, np.nan), aer, inputs, weights)
    assert lost.gradients == np.inf
