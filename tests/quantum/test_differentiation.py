"""Whatever torch does with a function, it may do with a quantum layer, or the layer says why not."""

from __future__ import annotations

import gc
import io

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, stack_module_state, vjp, vmap
from torch.fx.experimental.proxy_tensor import make_fx

from qhq.errors import BackendError
from qhq.quantum import QuantumLayer
from qhq.quantum.network import NETWORKS

# torch imports what it deprecates itself when it compiles or goes forward.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")

BACKENDS = ["statevector", "aer"]


def opened(backend="statevector", seed=0):
    return QuantumLayer("reference", backend, qubits=3, depth=2, seed=seed).double()


def rows(*shape, seed=0):
    return torch.randn(*shape, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def function_of(layer):
    return lambda weight, inputs: functional_call(layer, {"weight": weight}, (inputs,))


@pytest.fixture(params=BACKENDS)
def layer(request):
    return opened(request.param)


def assert_near(one, other):
    np.testing.assert_allclose(one.detach(), other.detach(), atol=1e-12)


# torch.func


def test_grad_is_backward(layer):
    call, weight, inputs = function_of(layer), layer.weight.detach(), rows(4)
    by_weight, by_inputs = grad(lambda w, x: call(w, x).square().sum(), argnums=(0, 1))(weight, inputs)
    w, x = weight.clone().requires_grad_(), inputs.clone().requires_grad_()
    call(w, x).square().sum().backward()
    assert_near(by_weight, w.grad)
    assert_near(by_inputs, x.grad)


def test_jacobians_are_those_of_autograd(layer):
    call, arguments = function_of(layer), (layer.weight.detach(), rows(2))
    expected = torch.autograd.functional.jacobian(call, arguments)
    for one, other in zip(jacrev(call, argnums=(0, 1))(*arguments), expected, strict=True):
        assert_near(one, other)
    values, pull = vjp(call, *arguments)
    unit = torch.zeros_like(values)
    unit[1, 2] = 1.0
    for one, other in zip(pull(unit), expected, strict=True):
        assert_near(one, other[1, 2])


@pytest.mark.parametrize("dims", [(0, 0), (1, 1), (1, 0)])
def test_vmap_over_inputs_is_a_larger_batch(layer, dims):
    inputs = rows(4, 5)
    expected = layer(inputs.movedim(dims[0], 0)).movedim(0, dims[1])
    assert_near(vmap(layer, in_dims=dims[0], out_dims=dims[1])(inputs), expected)
    with torch.no_grad():
        assert_near(vmap(layer, in_dims=dims[0], out_dims=dims[1])(inputs), expected)


def test_vmaps_nest_and_reach_single_samples(layer):
    inputs = rows(2, 3)
    assert_near(vmap(vmap(layer))(inputs), layer(inputs))


def test_vmap_over_weights_is_an_ensemble(layer):
    members = [opened(seed=seed) for seed in range(3)]
    state, _ = stack_module_state(members)
    inputs = rows(2)
    values = vmap(lambda each: functional_call(layer, each, (inputs,)))(state)
    assert_near(values, torch.stack([member(inputs) for member in members]))
    each_its_own = vmap(function_of(layer))(state["weight"], rows(3, 2))
    assert_near(each_its_own[1], members[1](rows(3, 2)[1]))


def test_gradients_sample_by_sample(layer):
    call, weight, inputs = function_of(layer), layer.weight.detach(), rows(4)

    def loss(w, x):
        return call(w, x).square().sum()

    expected = torch.stack([grad(loss)(weight, each) for each in inputs])
    assert_near(vmap(grad(loss), in_dims=(None, 0))(weight, inputs), expected)


def dual(layer, inputs):
    with forward_ad.dual_level():
        layer(forward_ad.make_dual(inputs, inputs))


@pytest.mark.parametrize(
    "ask",
    [
        lambda layer, inputs: jvp(layer, (inputs,), (inputs,)),
        lambda layer, inputs: jacfwd(layer)(inputs),
        lambda layer, inputs: hessian(lambda x: layer(x).sum())(inputs),
        dual,
    ],
)
def test_forward_mode_is_refused_in_words(layer, ask):
    with pytest.raises(BackendError, match="reverse mode"):
        ask(layer, rows(2))


def test_a_second_derivative_is_refused_in_words_but_on_the_exact_engine():
    layer = opened("aer")
    with pytest.raises(BackendError, match="differentiated once only, unless it stands on the exact engine"):
        grad(lambda x: grad(lambda y: layer(y).sum())(x).sum())(rows(2))


def test_derivatives_of_gradients_are_those_of_finite_differences():
    layer = opened()
    inputs, weight = rows(2).requires_grad_(), layer.weight.detach().clone().requires_grad_()
    call = function_of(layer)
    assert torch.autograd.gradgradcheck(lambda w, x: call(w, x).square(), (weight, inputs))


def test_hessians_and_their_products_are_the_same_whichever_way_torch_goes():
    layer, inputs = opened(), rows(2)
    call, weight = function_of(layer), layer.weight.detach()

    def loss(values):
        return call(values, inputs).square().sum()

    whole = jacrev(jacrev(loss))(weight)
    np.testing.assert_allclose(whole, whole.T, atol=1e-12)
    by_columns = torch.autograd.functional.hessian(loss, weight)
    np.testing.assert_allclose(whole, by_columns, atol=1e-12)
    direction = torch.linspace(-1, 1, len(weight), dtype=torch.float64)
    _, product = torch.autograd.functional.hvp(loss, weight, direction)
    np.testing.assert_allclose(product, whole @ direction, atol=1e-12)
    third = grad(lambda w: grad(lambda v: (grad(loss)(v) * direction).sum())(w) @ direction)(weight)
    step = 1e-4 * direction
    near = [direction @ jacrev(jacrev(loss))(weight + sign * step) @ direction for sign in (1, -1)]
    np.testing.assert_allclose(third @ direction, (near[0] - near[1]) / 2e-4, rtol=1e-5, atol=1e-7)


def test_the_older_batched_gradients_are_refused_in_words():
    inputs = rows(2).requires_grad_()
    with pytest.raises(BackendError, match="torch.func in place of is_grads_batched"):
        torch.autograd.grad(
            opened()(inputs).sum(0), inputs, torch.eye(3, dtype=torch.float64), is_grads_batched=True
        )


# torch.compile: as a part of one graph, whatever compiles it


@pytest.mark.parametrize(("compiler", "fullgraph"), [("eager", False), ("aot_eager", True)])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_compiled_model_gives_the_same_values_and_gradients(compiler, backend, fullgraph):
    torch._dynamo.reset()
    layer = opened(backend)
    model = nn.Sequential(nn.Linear(3, 3), layer, nn.Linear(3, 1)).double()
    fast = torch.compile(model, backend=compiler, fullgraph=fullgraph)
    results = []
    for run in (model, fast):
        inputs = rows(5).requires_grad_()
        model.zero_grad()
        values = run(inputs)
        values.square().sum().backward()
        results.append([values, inputs.grad, *(each.grad for each in model.parameters())])
    for one, other in zip(*results, strict=True):
        assert_near(one, other)


def test_a_compiled_layer_follows_its_weights_shapes_and_backends():
    torch._dynamo.reset()
    layer = opened("aer")
    fast = torch.compile(layer, backend="aot_eager")
    for inputs in (rows(5), rows(2), rows(2, 4), rows(5).float()):
        np.testing.assert_allclose(fast(inputs).detach(), layer(inputs).detach(), atol=1e-6)
        with torch.no_grad():
            layer.weight.add_(0.1)
            np.testing.assert_allclose(fast(inputs), layer(inputs), atol=1e-6)
    layer.open("statevector")
    assert_near(fast(rows(5)), layer(rows(5)))
    layer.open("aer_shots")
    np.testing.assert_allclose(fast(rows(5)).detach(), opened()(rows(5)).detach(), atol=2)


def test_a_compiled_graph_whose_layer_is_gone_says_so():
    network = opened().neural_network
    handle = network.handle
    assert NETWORKS[handle] is network
    del network
    gc.collect()
    with pytest.raises(BackendError, match="whose layer is gone"):
        torch.ops.qhq.expectations(rows(2), torch.zeros(6), handle, 3)


def test_whatever_records_a_graph_records_the_circuit_and_not_its_values():
    layer = opened()
    for mode in ("real", "fake", "symbolic"):
        graph = make_fx(layer, tracing_mode=mode, _allow_non_fake_inputs=True)(rows(4))
        assert_near(graph(rows(4, seed=1)), layer(rows(4, seed=1)))
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert layer(torch.zeros(4, 3, dtype=torch.float64)).shape == (4, 3)


def test_a_transform_inside_a_compiled_graph_is_a_vmap_or_refused_in_words():
    torch._dynamo.reset()
    layer, inputs = opened(), rows(2, 3)
    assert_near(torch.compile(vmap(layer), backend="eager")(inputs), layer(inputs))
    with pytest.raises(BackendError, match="must be differentiated by autograd"):
        make_fx(grad(lambda x: layer(x).sum()))(rows(2))
    with pytest.raises(Exception, match=r"compiled graph a quantum layer.*torch.func.grad, vjp or jacrev"):
        torch.compile(grad(lambda x: layer(x).sum()), backend="eager")(rows(2))


@pytest.mark.parametrize("strict", [False, True])
def test_an_exported_program_would_outlive_its_backend(strict):
    torch._dynamo.reset()
    with pytest.raises(BackendError, match=r"must run each time.*torch.export.*state_dict"):
        torch.export.export(opened(), (rows(2),), strict=strict)


def test_tracing_is_refused_before_values_turn_into_constants():
    with pytest.raises(BackendError, match=r"torch.jit.trace.*constants"):
        torch.jit.trace(opened(), rows(2))
    with pytest.raises(BackendError, match=r"torch.fx.symbolic_trace.*torch.compile"):
        torch.fx.symbolic_trace(torch.nn.Sequential(opened()))
    with pytest.raises(BackendError, match=r"torch.jit.script, which compiles Python"):
        torch.jit.script(torch.nn.Sequential(opened()))


# torch's exporter, and what it imports, warn of themselves
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_export_to_onnx_is_refused_in_words():
    with pytest.raises(BackendError, match="an export to ONNX, which would store"):
        torch.onnx.export(opened(), (rows(2),), io.BytesIO(), dynamo=False)
