import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.circuit.library import UnitaryGate
from qiskit.quantum_info import SparsePauliOp, random_unitary

from qhq.engine import StatevectorEngine, TorchEngine

from .circuits import Problem, random_observables, random_problem, ring_problem

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def assert_same(problem, rng, device, batch=3):
    engine = StatevectorEngine(problem.circuit, problem.observables, problem.inputs, problem.weights)
    inputs, weights = problem.numbers(rng, batch)
    x, w = (torch.tensor(a, device=device, requires_grad=True) for a in (inputs, weights))
    values = TorchEngine(engine.tape).expectations(x, w)
    np.testing.assert_allclose(values.detach().cpu(), engine.expectations(inputs, weights), atol=1e-12)
    cotangent = rng.normal(size=values.shape)
    # Zero times the parameters: a circuit may use none of them.
    (values * torch.tensor(cotangent, device=device)).sum().add(0 * x.sum() + 0 * w.sum()).backward()
    for tensor, expected in zip((x, w), engine.vjp(inputs, weights, cotangent), strict=True):
        np.testing.assert_allclose(tensor.grad.cpu(), expected, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("seed", range(40))
def test_torch_engine_is_the_exact_engine(seed, device):
    rng = np.random.default_rng([9, seed])
    assert_same(random_problem(rng, 1 + seed % 6), rng, device)


@pytest.mark.parametrize("device", DEVICES)
def test_dense_matrices(device):
    rng = np.random.default_rng(4)
    x = ParameterVector("x", 2)
    circuit = QuantumCircuit(3)
    circuit.ry(x[0].sin() * x[1], 0)
    circuit.cx(0, 2)
    circuit.x(2)
    circuit.append(UnitaryGate(random_unitary(4, seed=1)), [2, 1])
    circuit.ry(x[1].abs() * x[0], 1)
    circuit.append(UnitaryGate(random_unitary(8, seed=2)), [1, 0, 2])
    assert_same(Problem(circuit, random_observables(rng, 3), list(x), []), rng, device)


@pytest.mark.parametrize("device", DEVICES)
def test_without_parameters_and_observables(device):
    circuit = QuantumCircuit(1)
    circuit.h(0)
    engine = StatevectorEngine(circuit, [SparsePauliOp("X")], [], [])
    empty = torch.zeros((2, 0), device=device), torch.zeros(0, device=device)
    np.testing.assert_allclose(TorchEngine(engine.tape).expectations(*empty).cpu(), [[1], [1]], atol=1e-6)
    bare = StatevectorEngine(circuit, [], [], [])
    assert TorchEngine(bare.tape).expectations(*empty).shape == (2, 0)


def test_precision_follows_the_inputs():
    problem = ring_problem(3, 1)
    engine = StatevectorEngine(problem.circuit, problem.observables, problem.inputs, problem.weights)
    inputs, weights = problem.numbers(np.random.default_rng(6), 2, np.float32)
    values = TorchEngine(engine.tape).expectations(torch.tensor(inputs), torch.tensor(weights))
    assert values.dtype == torch.float32
    np.testing.assert_allclose(values, engine.expectations(inputs, weights), atol=1e-5)


def test_second_derivatives():
    problem = ring_problem(2, 1)
    engine = StatevectorEngine(problem.circuit, problem.observables, problem.inputs, problem.weights)
    over_torch = TorchEngine(engine.tape)
    numbers = problem.numbers(np.random.default_rng(8), 2)
    inputs, weights = (torch.tensor(a, requires_grad=True) for a in numbers)
    assert torch.autograd.gradgradcheck(over_torch.expectations, (inputs, weights))
