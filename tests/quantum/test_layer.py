import copy
import io
import pickle

import numpy as np
import pytest
import torch
from qiskit_aer.primitives import EstimatorV2
from qiskit_machine_learning.connectors import TorchConnector
from qiskit_machine_learning.gradients import ParamShiftEstimatorGradient
from qiskit_machine_learning.neural_networks import EstimatorQNN
from safetensors.torch import load_file, save_file

from qhq.ansatz import AnsatzSpec, build
from qhq.backends.registry import open_backend
from qhq.backends.simulators.statevector import StatevectorExecutor
from qhq.errors import BackendError
from qhq.quantum.layer import QuantumLayer
from tests.ansatz.circuits import SPECS, built, random_values


def opened(name="ry", backend="aer", seed=0):
    ansatz = built(name)
    return QuantumLayer(ansatz, open_backend(backend, ansatz, seed=seed), seed=seed)


def angles(layer, *leading, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    shape = (*leading, layer.neural_network.num_inputs)
    return (torch.rand(shape, generator=generator, dtype=dtype) * 6 - 3).requires_grad_()


@pytest.mark.parametrize("name", SPECS)
def test_gradients_are_finite_differences(name):
    layer = opened(name).double()
    inputs = angles(layer, 2)

    def run(rows, weight):
        return torch.func.functional_call(layer, {"weight": weight}, (rows,))

    assert torch.autograd.gradcheck(run, (inputs, layer.weight), eps=1e-5, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["ry", "rot", "zz_feature_map", "efficient_su2"])
def test_the_layer_is_the_stock_connector(name):
    ansatz, layer = built(name), opened(name)
    estimator = EstimatorV2()
    stock = TorchConnector(
        EstimatorQNN(
            circuit=ansatz.circuit,
            estimator=estimator,
            observables=list(ansatz.observables),
            input_params=list(ansatz.inputs),
            weight_params=list(ansatz.weights),
            gradient=ParamShiftEstimatorGradient(estimator),
            input_gradients=True,
            default_precision=0.0,
        ),
        initial_weights=layer.weight.detach().numpy(),
    )
    results = []
    for module in (layer, stock):
        rows = angles(layer, 2, dtype=torch.float32)
        values = module(rows)
        (values * torch.arange(1, values.numel() + 1).reshape(values.shape)).sum().backward()
        results.append((values.detach(), rows.grad, module.weight.grad))
    for ours, theirs in zip(*results, strict=True):
        scale = max(1.0, float(theirs.abs().max()))
        np.testing.assert_allclose(ours / scale, theirs / scale, atol=1e-6)


@pytest.mark.parametrize("leading", [(), (5,), (2, 3), (2, 1, 3), (0,)])
def test_any_leading_shape_goes_forward_and_back(leading):
    layer = opened()
    rows = angles(layer, *leading)
    values = layer(rows)
    values.sum().backward()
    assert (values.shape, rows.grad.shape) == ((*leading, 3), rows.shape)


def test_leading_dimensions_only_regroup_the_rows():
    layer = opened()
    rows = angles(layer, 2, 3)
    np.testing.assert_array_equal(layer(rows).reshape(6, 3).detach(), layer(rows.reshape(6, 3)).detach())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_dtype_is_kept(dtype):
    layer = opened().to(dtype)
    rows = angles(layer, 2, dtype=dtype)
    values = layer(rows)
    values.sum().backward()
    assert {values.dtype, rows.grad.dtype, layer.weight.grad.dtype} == {dtype}


def test_the_layer_is_a_torch_connector():
    assert isinstance(opened(), TorchConnector)


def test_weights_come_from_the_seed_and_from_nowhere_else():
    before = torch.get_rng_state()
    first, again, other = opened(seed=3), opened(seed=3), opened(seed=4)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.weight, again.weight)
    assert not torch.equal(first.weight, other.weight)
    assert first.weight.abs().max() <= np.pi


def test_one_tensor_is_saved_and_loads_back(tmp_path):
    layer, other = opened(seed=0), opened(seed=1)
    assert list(layer.state_dict()) == ["weight"]
    assert [name for name, _ in layer.named_parameters()] == ["weight"]
    save_file(layer.state_dict(), tmp_path / "layer.safetensors")
    other.load_state_dict(load_file(tmp_path / "layer.safetensors"))
    rows = angles(layer, 2)
    np.testing.assert_array_equal(other(rows).detach(), layer(rows).detach())


def through_pickle(layer):
    return pickle.loads(pickle.dumps(layer))


def through_torch(layer):
    stream = io.BytesIO()
    torch.save(layer, stream)
    stream.seek(0)
    return torch.load(stream, weights_only=False)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, through_pickle, through_torch])
def test_a_copy_leaves_the_backend_behind_until_it_is_reopened(duplicate):
    layer = opened()
    rows = angles(layer, 2)
    again = duplicate(layer)
    with pytest.raises(BackendError, match=r"must be opened on a backend.*reopen"):
        again(rows)
    again.reopen(open_backend("aer", built("ry"), seed=0))
    np.testing.assert_array_equal(again(rows).detach(), layer(rows).detach())


def test_a_layer_moves_to_another_backend_and_back():
    layer = opened()
    rows = angles(layer, 4)
    exact = layer(rows).detach()
    layer.reopen(open_backend("aer_shots", built("ry"), seed=0))
    sampled = layer(rows).detach()
    assert not torch.equal(sampled, exact)
    np.testing.assert_allclose(sampled, exact, atol=5 / np.sqrt(1024))
    layer.reopen(open_backend("aer", built("ry"), seed=0))
    np.testing.assert_array_equal(layer(rows).detach(), exact)


def test_inference_needs_no_gradient():
    layer = opened()
    with torch.no_grad():
        assert not layer(angles(layer, 2)).requires_grad


def test_a_frozen_layer_still_passes_gradients_on():
    layer = opened()
    layer.weight.requires_grad_(False)
    rows = angles(layer, 2)
    layer(rows).sum().backward()
    assert layer.weight.grad is None
    assert rows.grad.abs().max() > 0


def test_a_second_derivative_is_refused():
    layer = opened()
    rows = angles(layer, 2)
    (first,) = torch.autograd.grad(layer(rows).sum(), rows, create_graph=True)
    with pytest.raises(BackendError, match="differentiated once only"):
        first.sum().backward()


@pytest.mark.parametrize("shape", [(), (4,), (2, 2)])
def test_another_number_of_angles_is_refused(shape):
    with pytest.raises(BackendError, match=r"last dimension of the angles.* for 3 inputs"):
        opened()(torch.zeros(shape))


def test_training_moves_the_weights_downhill():
    layer = opened()
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.1)
    rows = angles(layer, 4, dtype=torch.float32).detach()
    losses = []
    for _ in range(15):
        optimiser.zero_grad()
        loss = layer(rows).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_a_layers_values_are_the_executors():
    ansatz = built("ry")
    executor = open_backend("aer", ansatz, seed=0)
    layer = QuantumLayer(ansatz, executor, seed=0).double()
    inputs, _ = random_values(ansatz, 3)
    expected = executor.expectations(inputs, layer.weight.detach().numpy())
    np.testing.assert_array_equal(layer(torch.as_tensor(inputs)).detach(), expected)


def test_tensors_off_the_cpu_stay_on_their_device():
    """The meta device stands in for an accelerator: any copy through NumPy would fail on it."""
    ansatz = build(AnsatzSpec(qubits=2))
    layer = QuantumLayer(ansatz, StatevectorExecutor(ansatz), seed=0).to("meta")
    out = layer(torch.zeros((5, 3, 2), device="meta"))
    assert (out.device.type, out.shape) == ("meta", (5, 3, 2))


def test_weights_changed_before_the_backward_pass_are_noticed():
    ansatz = build(AnsatzSpec(qubits=2))
    layer = QuantumLayer(ansatz, StatevectorExecutor(ansatz), seed=0)
    out = layer(torch.zeros((5, 2))).sum()
    with torch.no_grad():
        layer.weight.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.backward()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_goes_by_float32_and_back(dtype):
    ansatz = build(AnsatzSpec(qubits=2))
    layer = QuantumLayer(ansatz, StatevectorExecutor(ansatz), seed=0)
    rows = torch.randn((5, 2), generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()
    out = layer(rows)
    assert out.dtype == dtype
    np.testing.assert_allclose(out.detach().float(), layer(rows.detach().float()).detach(), atol=1e-2)
    out.sum().backward()
    assert rows.grad.dtype == dtype


@pytest.mark.parametrize("dtype", [torch.int64, torch.complex64])
def test_angles_that_are_no_real_numbers_are_refused(dtype):
    ansatz = build(AnsatzSpec(qubits=2))
    layer = QuantumLayer(ansatz, StatevectorExecutor(ansatz), seed=0)
    with pytest.raises(BackendError, match="must be real floating point"):
        layer(torch.zeros((5, 2), dtype=dtype))
