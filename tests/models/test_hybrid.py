"""The reference model: every part learns, whatever it is made of; the seed decides its weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from qhq.ansatz.assemble import build
from qhq.ansatz.blocks import RotationBlock
from qhq.ansatz.spec import AnsatzSpec
from qhq.backends.registry import open_backend
from qhq.errors import ConfigError
from qhq.models.hybrid import Shape, TanhMLP, build_model, matched_width, mlp_parameters, open_activation
from qhq.models.spec import ACTIVATIONS, MiddleSpec, ModelSpec, RecurrentLayerSpec
from qhq.quantum.layer import QuantumLayer

SHAPE = Shape(features=1, horizon=1, targets=1)
ANSATZ = build(AnsatzSpec(qubits=2, depth=2, blocks=(RotationBlock(gates="RY"),)))


def quantum(seed: int = 5, ansatz=ANSATZ) -> QuantumLayer:
    return QuantumLayer(ansatz, open_backend("aer", ansatz, seed=0), seed=seed)


def model(seed: int = 1, *, shape: Shape = SHAPE, hybrid: bool = True, **changes):
    spec = ModelSpec(**changes)
    return build_model(spec, shape, quantum=quantum() if hybrid else None, seed=seed)


def windows(seed: int, batch: int = 16, features: int = 1) -> torch.Tensor:
    values = np.random.default_rng(seed).normal(size=(batch, 12, features))
    return torch.tensor(values, dtype=torch.float32)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("skip", ["none", "add", "concat"])
@pytest.mark.parametrize("activation", ["none", "relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("unit", ["lstm", "gru", "rnn"])
def test_every_encoder_tensor_and_circuit_weight_has_a_gradient(unit, activation, skip, seed):
    net = model(
        seed,
        recurrent=[{"unit": unit, "hidden": 6}, {"unit": unit, "hidden": 5}],
        activation_before=activation,
        activation_after="none" if activation == "relu" else activation,
        skip=skip,
    )
    check_gradients_after_one_step(net)


@pytest.mark.parametrize("unit", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("skip", ["none", "add", "concat"])
def test_relu_after_the_circuit_lets_gradients_through(unit, skip):
    """It closes on negative expectation values; with this circuit seed some of each are positive."""
    check_gradients_after_one_step(
        model(recurrent=[{"unit": unit, "hidden": 6}], activation_after="relu", skip=skip)
    )


def check_gradients_after_one_step(net) -> None:
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    inputs, target = windows(3), torch.tensor(np.random.default_rng(4).normal(size=(16, 1, 1))).float()
    torch.nn.functional.mse_loss(net(inputs), target).backward()
    optimizer.step()
    for name, tensor in net.named_parameters():
        assert tensor.grad is not None, name
        assert float(tensor.grad.abs().max()) > 0, name
    assert (net.quantum.weight.grad.abs() > 0).all()


def test_forward_is_encode_angles_circuit_decode():
    net = model()
    latent = net.encode(windows(0))
    whole, parts = net(windows(0)), net.decode(latent, net.quantum(net.angles(latent)))
    np.testing.assert_array_equal(whole.detach(), parts.detach())


@pytest.mark.parametrize("hybrid", [True, False])
@pytest.mark.parametrize(("features", "horizon", "targets"), [(1, 1, 1), (3, 5, 1), (2, 1, 2), (4, 3, 2)])
def test_output_shape_is_horizon_by_targets(features, horizon, targets, hybrid):
    net = model(shape=Shape(features, horizon, targets), hybrid=hybrid)
    assert net(windows(0, 7, features)).shape == (7, horizon, targets)


def test_mixed_stack_of_layers_of_own_sizes():
    layers = [RecurrentLayerSpec(unit=unit, hidden=hidden) for unit, hidden in
              [("lstm", 3), ("gru", 7), ("rnn", 4), ("lstm", 5)]]  # fmt: skip
    net = model(recurrent=layers, hybrid=False, latent=3, layer_norm=True, dropout=0.3)
    assert [layer.hidden_size for layer in net.encoder.layers] == [3, 7, 4, 5]
    assert net(windows(0)).shape == (16, 1, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_kept(dtype):
    net = model().to(dtype)
    assert net(windows(0).to(dtype)).dtype == dtype


def test_seed_decides_the_weights_and_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    one, same, other = (model(seed).head.weight.detach() for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    np.testing.assert_array_equal(before, torch.get_rng_state())


def test_forget_gates_start_open():
    net = model(recurrent=[{"unit": "lstm", "hidden": 4}])
    layer = net.encoder.layers[0]
    np.testing.assert_array_equal((layer.bias_ih_l0 + layer.bias_hh_l0)[4:8].detach(), np.ones(4))


def test_parts_cover_every_parameter_once():
    net = model(layer_norm=True)
    listed = [id(parameter) for part in net.parts().values() for parameter in part]
    assert sorted(listed) == sorted(id(parameter) for parameter in net.parameters())


def test_dropout_is_silent_in_evaluation():
    net = model(dropout=0.5).eval()
    np.testing.assert_array_equal(net(windows(0)).detach(), net(windows(0)).detach())


def test_adding_needs_as_many_outputs_as_inputs():
    ansatz = build(AnsatzSpec(qubits=2, observables=("Z0",)))
    with pytest.raises(ConfigError, match="as many circuit outputs as inputs. Got 2 inputs and 1 outputs"):
        build_model(ModelSpec(skip="add"), SHAPE, quantum=quantum(ansatz=ansatz), seed=0)


def test_angles_are_never_scaled_twice():
    with pytest.raises(ConfigError, match=r"scaled once.*scale_inputs=False"):
        build_model(ModelSpec(latent=2), SHAPE, quantum=QuantumLayer(ANSATZ), seed=0)


SIZES = st.integers(1, 40)


@given(SIZES, SIZES, st.integers(0, 5000))
def test_no_other_width_is_nearer(inputs, outputs, weights):
    width = matched_width(inputs, outputs, weights)
    assert width >= outputs
    distance = {each: abs(mlp_parameters(inputs, each, outputs) - weights)
                for each in range(outputs, width + 3)}  # fmt: skip
    assert distance[width] == min(distance.values())
    step = mlp_parameters(inputs, 1, outputs)
    assert distance[width] <= step / 2 or (width == outputs and weights < width * step)


@given(SIZES, st.integers(1, 12), st.integers(0, 100), st.integers(0, 9))
def test_the_outputs_have_full_rank(inputs, outputs, weights, seed):
    torch.manual_seed(seed)
    mlp = TanhMLP(inputs, matched_width(inputs, outputs, weights), outputs).double()
    values = mlp(torch.randn(200, inputs, dtype=torch.float64)).detach()
    assert torch.linalg.matrix_rank(values - values.mean(dim=0)) == outputs


def test_weights_of_an_earlier_version_are_read():
    spec = ModelSpec(latent=2, middle=MiddleSpec(hidden=3, outputs=2))
    written, read = (build_model(spec, SHAPE, quantum=None, seed=seed) for seed in (1, 2))
    earlier = {name.replace("mlp.", "twin."): each for name, each in written.state_dict().items()}
    assert earlier.keys() != written.state_dict().keys()
    read.load_state_dict(earlier)
    for name, tensor in written.state_dict().items():
        np.testing.assert_array_equal(read.state_dict()[name], tensor)


@pytest.mark.parametrize(("inputs", "hidden", "outputs"), [(4, 1, 4), (3, 5, 2)])
def test_parameters_are_counted_as_they_are(inputs, hidden, outputs):
    mlp = TanhMLP(inputs, hidden, outputs)
    assert sum(each.numel() for each in mlp.parameters()) == mlp_parameters(inputs, hidden, outputs)
    assert mlp(torch.zeros(7, inputs)).shape == (7, outputs)


@pytest.mark.parametrize("skip", ["none", "add", "concat"])
def test_every_tensor_of_a_model_with_an_mlp_learns(skip):
    net = model(hybrid=False, latent=3, middle={"hidden": 2, "outputs": 3}, skip=skip)
    torch.nn.functional.mse_loss(net(windows(3)), torch.ones(16, 1, 1)).backward()
    for name, tensor in net.named_parameters():
        assert tensor.grad is not None, name
        assert float(tensor.grad.abs().max()) > 0, name


def test_all_else_starts_as_in_the_hybrid():
    hybrid = build_model(ModelSpec(), SHAPE, quantum=quantum(), seed=3)
    spec = ModelSpec(latent=2, middle=MiddleSpec(hidden=1, outputs=2))
    classical = build_model(spec, SHAPE, quantum=None, seed=3)
    others = {name: each for name, each in classical.named_parameters() if not name.startswith("mlp")}
    for name, tensor in others.items():
        np.testing.assert_array_equal(tensor.detach(), hybrid.get_parameter(name).detach())


def test_the_mlp_takes_the_angles_that_the_circuit_took():
    net = model(hybrid=False, latent=2, middle={"hidden": 2, "outputs": 2, "angle_scaling": "half_pi_tanh"})
    latent = 100 * torch.ones(1, 2)
    np.testing.assert_allclose(net.angles(latent), np.full((1, 2), np.pi / 2), rtol=1e-6)
    np.testing.assert_array_equal(net.middle(latent).detach(), net.mlp(net.angles(latent)).detach())
    assert [id(each) for each in net.parts()["circuit"]] == [id(each) for each in net.mlp.parameters()]


def test_two_middles_are_refused():
    with pytest.raises(ConfigError, match="Either a quantum layer or model.middle"):
        build_model(ModelSpec(middle=MiddleSpec()), SHAPE, quantum=quantum(), seed=0)


def test_adding_needs_as_many_outputs_of_the_mlp_as_inputs():
    spec = ModelSpec(latent=3, middle=MiddleSpec(outputs=2), skip="add")
    with pytest.raises(ConfigError, match="as many middle outputs as inputs. Got 3 inputs and 2 outputs"):
        build_model(spec, Shape(1, 1, 1), quantum=None, seed=0)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_of_the_table_takes_each_value_on_its_own(name):
    activation, values = open_activation(name), torch.linspace(-3, 3, 13)
    assert list(activation.parameters()) == []
    whole, each = activation(values), torch.stack([activation(value) for value in values])
    torch.testing.assert_close(whole, each)
    torch.testing.assert_close(activation.train()(values), activation.eval()(values))


def test_an_unknown_activation_names_the_nearest():
    with pytest.raises(ValidationError, match=r"'gelo' is no activation.*gelu"):
        ModelSpec(activation_before="gelo")


@pytest.mark.parametrize("skip", ["none", "add", "concat"])
def test_a_deeper_head_learns_and_starts_at_the_baseline(skip):
    spec = ModelSpec(head_layers=(7, 3), head_activation="tanh", skip=skip)
    net = build_model(spec, SHAPE, quantum=quantum(), seed=1, at_zero=True)
    np.testing.assert_array_equal(net(windows(0)).detach(), np.zeros((16, 1, 1)))
    assert [each.out_features for each in net.head_layers if isinstance(each, torch.nn.Linear)] == [7, 3]
    net.closed = False
    check_gradients_after_one_step(net)
    listed = [id(each) for part in net.parts().values() for each in part]
    assert sorted(listed) == sorted(id(each) for each in net.parameters())


def test_a_model_without_an_encoder_reads_every_value_of_the_window():
    shape = Shape(features=2, horizon=1, targets=1, window=12)
    net = model(shape=shape, encoder="none", skip="add")
    given = windows(0, features=2).requires_grad_()
    net(given).sum().backward()
    assert (given.grad.abs().amax(dim=0) > 0).all()


def test_static_features_go_through_layers_of_their_own():
    net = model(shape=Shape(1, 1, 1, static=3), static_layers=(5, 2), head_activation="tanh")
    given, static = windows(0), torch.randn(16, 3, generator=torch.Generator().manual_seed(0))
    assert net.to_latent.in_features == net.encoder.hidden + 2
    net(given, static).square().sum().backward()
    for name, each in net.named_parameters():
        assert float(each.grad.abs().max()) > 0, name
    listed = [id(each) for part in net.parts().values() for each in part]
    assert sorted(listed) == sorted(id(each) for each in net.parameters())
    with pytest.raises(ConfigError, match=r"static_layers must have static features"):
        model(static_layers=(5,))
