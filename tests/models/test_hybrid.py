"""The reference model: every part learns, whatever it is made of; the seed decides its weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from qhq.ansatz.assemble import build
from qhq.ansatz.spec import AnsatzSpec, RotationBlock
from qhq.backends.registry import open_backend
from qhq.errors import ConfigError
from qhq.models.hybrid import Shape, build_model
from qhq.models.spec import ModelSpec, RecurrentLayerSpec
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
