import copy
import io
import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from qiskit import transpile
from qiskit.circuit import Parameter
from qiskit_aer.primitives import EstimatorV2
from qiskit_machine_learning.connectors import TorchConnector
from qiskit_machine_learning.gradients import ParamShiftEstimatorGradient
from qiskit_machine_learning.neural_networks import EstimatorQNN
from safetensors.torch import load_file, save_file

from qhq.ansatz import AnsatzSpec, build, load_ansatz
from qhq.ansatz.blocks import Entangler, RotationBlock
from qhq.backends.local.statevector import StatevectorExecutor
from qhq.backends.registry import find_backend, open_backend
from qhq.errors import BackendError, ConfigError
from qhq.quantum.layer import ANGLE_SCALINGS, AngleScaling, QuantumLayer
from tests.ansatz.circuits import SPECS, built, random_values, statevector_expectations


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


@pytest.mark.parametrize("duplicate", [through_pickle, through_torch])
def test_a_pickle_leaves_the_backend_behind_until_it_is_reopened(duplicate):
    layer = opened()
    rows = angles(layer, 2)
    again = duplicate(layer)
    assert "backend=None" in repr(again)
    with pytest.raises(BackendError, match=r"must be opened on a backend.*reopen"):
        again(rows)
    again.reopen(open_backend("aer", built("ry"), seed=0))
    np.testing.assert_array_equal(again(rows).detach(), layer(rows).detach())


def test_a_copy_shares_the_backend_and_nothing_else():
    layer = opened()
    rows = angles(layer, 2)
    again = copy.deepcopy(layer)
    np.testing.assert_array_equal(again(rows).detach(), layer(rows).detach())
    with torch.no_grad():
        again.weight.zero_()
    again.open("aer_shots")
    assert layer.weight.abs().min() > 0
    assert layer.neural_network.backend == "aer"


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
    with torch.no_grad():
        np.testing.assert_array_equal(layer(torch.as_tensor(inputs)), expected)
    np.testing.assert_allclose(layer(torch.as_tensor(inputs)).detach(), expected, atol=1e-12)


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


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_angles_that_are_no_real_numbers_are_refused(dtype):
    ansatz = build(AnsatzSpec(qubits=2))
    layer = QuantumLayer(ansatz, StatevectorExecutor(ansatz), seed=0)
    with pytest.raises(BackendError, match="must be real floating point"):
        layer(torch.zeros((5, 2), dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_layer_in_half_precision_is_near_the_one_in_single(dtype):
    layer = opened("ry", "statevector")
    rows = angles(layer, 5, dtype=torch.float32).detach()
    exact = layer(rows).detach()
    layer.to(dtype)
    out = layer(rows.to(dtype))
    out.sum().backward()
    assert {out.dtype, layer.weight.grad.dtype} == {dtype}
    np.testing.assert_allclose(out.detach().float(), exact, atol=0.05)


@pytest.mark.parametrize("given", [np.zeros((2, 3)), [[0.0, 0.0, 0.0]], 1.0, "angles"])
def test_what_is_no_tensor_is_refused_by_its_type(given):
    with pytest.raises(BackendError, match=rf"must be a torch tensor. Got a {type(given).__name__}"):
        opened()(given)


def test_a_sparse_tensor_is_refused_in_words():
    with pytest.raises(BackendError, match=r"plain dense ones.*to_dense"):
        opened()(torch.eye(3).to_sparse())


def test_rows_of_any_memory_layout_give_the_same():
    layer = opened("ry", "statevector").double()
    rows = angles(layer, 4).detach()
    expected = layer(rows).detach()
    wide = torch.zeros(4, 6, dtype=torch.float64)
    wide[:, ::2] = rows
    for laid_out in (rows.T.contiguous().T, wide[:, ::2]):
        np.testing.assert_array_equal(layer(laid_out).detach(), expected)
    one = rows[:1].expand(4, 3).requires_grad_()
    np.testing.assert_array_equal(layer(one).detach(), layer(rows[:1].repeat(4, 1)).detach())


def test_what_is_not_finite_shows_in_the_values_of_the_engine_and_is_refused_by_aer():
    rows = torch.full((2, 3), float("nan"))
    assert opened("ry", "statevector")(rows).isnan().all()
    with pytest.raises(BackendError, match="must be finite"):
        opened("ry", "aer")(rows)


def test_nothing_to_train_gives_values_without_a_graph():
    layer = opened("ry", "statevector").requires_grad_(False)
    rows = angles(layer, 2).detach()
    assert not layer(rows).requires_grad
    with torch.inference_mode():
        np.testing.assert_array_equal(layer(rows), layer(rows.clone()))


# The obvious line: a name, the exact engine, scaled inputs.


def test_a_name_is_enough_and_inputs_are_scaled_as_its_file_says():
    ansatz = build(load_ansatz("reference", {"qubits": 4, "depth": 2}))
    layer = QuantumLayer("reference", qubits=4, depth=2).double()
    inputs = 5 * angles(layer, 6).detach()
    scaled = AngleScaling(ansatz.angle_scaling)(inputs).numpy()
    expected = statevector_expectations(ansatz, scaled, layer.weight.detach().numpy())
    np.testing.assert_allclose(layer(inputs).detach(), expected, atol=1e-12)


@pytest.mark.parametrize("kind", ["pi_tanh", "half_pi_tanh", "pi_sin", "two_arctan"])
def test_each_scaling_is_applied_in_values_and_gradients(kind):
    layer = QuantumLayer(AnsatzSpec(qubits=2, angle_scaling=kind)).double()
    bare = QuantumLayer(layer.ansatz, scale_inputs=False).double()
    rows, again = angles(layer, 3), angles(layer, 3)
    layer(rows).sum().backward()
    bare(AngleScaling(kind)(again)).sum().backward()
    np.testing.assert_allclose(rows.grad, again.grad, atol=1e-14)
    np.testing.assert_allclose(layer.weight.grad, bare.weight.grad, atol=1e-14)


def test_over_an_executor_inputs_are_angles_unless_said_otherwise():
    ansatz = built("ry")
    executor = StatevectorExecutor(ansatz)
    angled, scaled = QuantumLayer(ansatz, executor), QuantumLayer(ansatz, executor, scale_inputs=True)
    rows = angles(angled, 2, dtype=torch.float32).detach()
    np.testing.assert_array_equal(scaled(rows).detach(), angled(AngleScaling("pi_tanh")(rows)).detach())
    assert "scale_inputs=False" in repr(angled)
    assert "scale_inputs=True" in repr(scaled)


def test_the_scaling_adds_nothing_to_the_state():
    assert list(QuantumLayer("reference", qubits=2).state_dict()) == ["weight"]


@pytest.mark.parametrize("given", ["statevector", "aer", find_backend("aer")])
def test_a_backend_may_be_named(given):
    layer = QuantumLayer("reference", given, qubits=2, depth=1)
    exact = QuantumLayer("reference", qubits=2, depth=1)
    rows = angles(layer, 3, dtype=torch.float32)
    np.testing.assert_allclose(layer(rows).detach(), exact(rows).detach(), atol=1e-6)


def test_a_layer_opens_elsewhere_with_the_same_weights():
    layer = QuantumLayer("reference", qubits=3, depth=1)
    rows = angles(layer, 4, dtype=torch.float32).detach()
    exact = layer(rows).detach()
    for backend in ("aer", "aer_shots", "statevector"):
        layer.open(backend)
        assert layer.neural_network.backend == backend
        with torch.no_grad():
            np.testing.assert_allclose(layer(rows), exact, atol=1e-5 if backend != "aer_shots" else 0.2)


def test_the_printed_layer_says_what_it_runs():
    text = repr(QuantumLayer("reference", qubits=4, depth=2))
    for fact in ("'reference'", "qubits=4", "inputs=4", "weights=8", "outputs=4", "backend='statevector'"):
        assert fact in text


def test_what_is_no_ansatz_is_refused():
    ansatz = built("ry")
    with pytest.raises(ConfigError, match="Got a Linear"):
        QuantumLayer(torch.nn.Linear(4, 4))
    with pytest.raises(ConfigError, match="already built"):
        QuantumLayer(ansatz, qubits=4)
    with pytest.raises(ConfigError, match="Did you mean 'reference'"):
        QuantumLayer("referense")
    with pytest.raises(ConfigError, match="qubit_count"):
        QuantumLayer("reference", qubit_count=4)
    with pytest.raises(ConfigError, match="statevector"):
        QuantumLayer(ansatz, "statevectr")


# An executor of another ansatz is refused at once.

OTHERS = {
    "more inputs": AnsatzSpec(qubits=4, depth=2),
    "more weights": AnsatzSpec(qubits=3, depth=3),
    "other outputs": AnsatzSpec(qubits=3, depth=2, observables=("Z0",)),
    "other observables": AnsatzSpec(qubits=3, depth=2, observables=("X0", "Z1", "Z2")),
    "other gates": AnsatzSpec(qubits=3, depth=2, blocks=(RotationBlock(gates="RX"),)),
    "other couplings": AnsatzSpec(qubits=3, depth=2, entangler=Entangler(pattern="linear")),
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("backend", ["statevector", "aer", "aer_noisy", "fake_nairobi"])
def test_another_circuits_executor_is_refused_at_once(other, backend):
    layer, rows = opened("ry", "statevector"), torch.zeros(2, 3)
    before = layer(rows).detach()
    stranger = build(OTHERS[other])
    with pytest.raises(BackendError, match="must be opened for the ansatz of its layer"):
        layer.reopen(open_backend(backend, stranger, seed=0))
    np.testing.assert_array_equal(layer(rows).detach(), before)


def test_another_circuits_executor_is_refused_when_the_layer_is_made():
    with pytest.raises(BackendError, match=r"Got one for 'ansatz' \(4 qubits"):
        QuantumLayer(built("ry"), StatevectorExecutor(build(AnsatzSpec(qubits=4, depth=2))))


def test_the_same_program_under_other_names_gates_or_scaling_is_taken():
    ansatz = built("ry")
    names = {each: Parameter(f"p{index}") for index, each in enumerate(ansatz.parameters)}
    renamed = replace(
        ansatz,
        circuit=ansatz.circuit.assign_parameters(names),
        inputs=tuple(names[each] for each in ansatz.inputs),
        weights=tuple(names[each] for each in ansatz.weights),
        angle_scaling="pi_sin",
    )
    lowered = replace(ansatz, circuit=transpile(ansatz.circuit, basis_gates=["rz", "sx", "cx"]))
    layer = QuantumLayer(ansatz, StatevectorExecutor(ansatz))
    for same in (renamed, lowered, built("ry")):
        layer.reopen(StatevectorExecutor(same))


def test_an_executor_of_the_users_own_needs_no_ansatz():
    class Own:
        def __init__(self, inner):
            self.expectations, self.vjp, self.report = inner.expectations, inner.vjp, inner.report

    layer = opened("ry", "statevector")
    rows = angles(layer, 2)
    expected = layer(rows)
    layer.reopen(Own(layer.neural_network.executor))
    np.testing.assert_array_equal(layer(rows).detach(), expected.detach())
    layer(rows).sum().backward()
    assert rows.grad.abs().max() > 0


# Aer with gradient adjoint: the engine where gradients are asked for, after a look at both.


def test_a_training_step_on_aer_runs_on_the_engine_and_values_alone_on_aer():
    ansatz = built("ry")
    executor = open_backend("aer", ansatz)
    asked = []
    original = executor.expectations
    executor.expectations = lambda *arguments: asked.append(len(arguments[0])) or original(*arguments)
    layer = QuantumLayer(ansatz, executor)
    rows = angles(layer, 16)
    for _ in range(3):
        layer(rows).sum().backward()
    assert asked == [4]  # the check of the first step
    with torch.no_grad():
        layer(rows)
    assert asked == [4, 16]


def test_a_training_step_on_aer_is_refused_where_the_engine_differs():
    ansatz = built("ry")
    executor = open_backend("aer", ansatz)
    executor.expectations = lambda inputs, weights: np.ones((len(inputs), 3))
    layer = QuantumLayer(ansatz, executor)
    with pytest.raises(BackendError, match="must agree with Aer"):
        layer(angles(layer, 2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_follow_the_default_dtype_of_torch(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        layer = QuantumLayer("reference", qubits=2, depth=1, seed=3)
    finally:
        torch.set_default_dtype(before)
    assert layer.weight.dtype == dtype
    assert [name for name, _ in layer.named_parameters()] == list(layer.state_dict()) == ["weight"]
    other = QuantumLayer("reference", qubits=2, depth=1, seed=3)
    np.testing.assert_array_equal(layer.weight.float().numpy(force=True), other.weight.numpy(force=True))


@pytest.mark.parametrize("kind", ANGLE_SCALINGS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_angles_are_bounded_and_keep_shape_and_dtype(kind, dtype):
    values = torch.linspace(-1e3, 1e3, 1001, dtype=dtype).reshape(7, 11, 13)
    angles = AngleScaling(kind)(values)
    assert (angles.shape, angles.dtype) == (values.shape, dtype)
    assert angles.abs().max() <= math.pi * (1 + 1e-6)


@pytest.mark.parametrize("kind", ANGLE_SCALINGS)
def test_no_input_is_dead_near_zero(kind):
    values = torch.linspace(-0.5, 0.5, 11, dtype=torch.float64, requires_grad=True)
    AngleScaling(kind)(values).sum().backward()
    assert values.grad.min() > 0.5


def test_an_unknown_kind_names_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'pi_tanh'"):
        AngleScaling("pi_tan")


def test_the_kind_is_shown():
    assert str(AngleScaling("pi_sin")) == "AngleScaling(pi_sin)"
