"""The faults: for each code how it is planted, and in which architectures."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from qhq.backends.executor import Report
from qhq.backends.local.statevector import StatevectorExecutor
from tests.diagnostics.doctor.patients import DESIGNS, Design, Patient, scale, stock_layer, train

Plant = Callable[[Patient], None]


def input_gradients_off(case: Patient) -> None:
    case.model.quantum = stock_layer(case.circuit, input_gradients=False)


def gradient_none(case: Patient) -> None:
    encode = case.model.encode
    case.model.encode = lambda windows, static=None: encode(windows, static).detach()


def detached_behind_a_skip(case: Patient) -> None:
    """The way round the circuit gives the encoder its gradient; the circuit gives none."""
    angles = case.model.angles
    case.model.angles = lambda latent: angles(latent).detach()


@torch.no_grad()
def gradient_zero(case: Patient) -> None:
    """The head answers with its bias alone on what the encoder gives, though not on the circuit."""
    case.model.to_latent.weight.zero_()


def gradient_vanishing(case: Patient) -> None:
    scale(case, 1e-8)


@torch.no_grad()
def gradient_exploding(case: Patient) -> None:
    case.model.head.weight.mul_(1e6)


def dead_relu(case: Patient) -> None:
    case.model.activation_before = nn.ReLU()
    scale(case, 1.0, bias=-10.0)


class Activated(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.forward = function


def dead_by_another_name(function: Callable[[torch.Tensor], torch.Tensor], bias: float = -10.0) -> Plant:
    def plant(case: Patient) -> None:
        case.model.activation_before = Activated(function)
        scale(case, 1.0, bias=bias)

    return plant


ZERO = torch.zeros(())
DEAD_RELUS = [
    dead_by_another_name(nn.functional.relu6),
    dead_by_another_name(lambda latent: nn.functional.threshold(latent, 0.1, 0.0)),
    dead_by_another_name(lambda latent: latent.clamp(min=0)),
    dead_by_another_name(lambda latent: latent.clamp_min(0)),
    dead_by_another_name(lambda latent: torch.clamp(latent, torch.zeros_like(latent), None)),
    dead_by_another_name(lambda latent: torch.maximum(latent, ZERO)),
    dead_by_another_name(lambda latent: torch.max(torch.zeros_like(latent), latent)),
    dead_by_another_name(lambda latent: torch.minimum(latent, ZERO), bias=10.0),
]


def angles_small(case: Patient) -> None:
    scale(case, 1e-3, bias=0.012 / np.pi)


def angles_saturated(case: Patient) -> None:
    case.model.activation_before = nn.Identity()
    scale(case, 1.0, bias=6.0)


def saturated(function: Callable[[torch.Tensor], torch.Tensor]) -> Plant:
    def plant(case: Patient) -> None:
        case.model.activation_before = Activated(function)
        case.model.angle_scaling = nn.Identity()
        scale(case, 1.0, bias=6.0)

    return plant


SATURATED = [saturated(each) for each in (torch.erf, nn.functional.hardsigmoid, nn.functional.hardtanh)]


def folded_by_a_cosine(case: Patient) -> None:
    case.model.activation_before = Activated(torch.cos)
    case.model.angle_scaling = nn.Identity()
    scale(case, 60.0)


def angles_wrapped(case: Patient) -> None:
    case.model.activation_before = nn.Identity()
    case.model.angle_scaling = nn.Identity()
    scale(case, 60.0)


def output_band_tight(case: Patient) -> None:
    scale(case, 1e-4, bias=0.3)


def weights_never_move(case: Patient) -> None:
    train(case, 3, only=lambda name: "quantum" not in name)


@torch.no_grad()
def circuit_bypassed(case: Patient) -> None:
    """The way that each skip connection has to do without the circuit."""
    outputs = case.circuit.num_outputs
    if case.model.spec.skip == "concat":
        case.model.head.weight[:, :outputs] *= 1e-6
    else:
        for parameter in case.model.layer_norm.parameters():
            parameter.mul_(1e-6)


def replaced_by_a_module(case: Patient) -> None:
    case.model.quantum = nn.Linear(case.circuit.num_inputs, case.circuit.num_outputs)


class Drawing(StatevectorExecutor):
    """An executor that answers with another circuit's values."""

    def expectations(self, inputs, weights):
        return np.cos(super().expectations(inputs, weights))

    def forward(self, inputs, weights):
        values, residual = super().forward(inputs, weights)
        return np.cos(values), residual


def replaced_by_another_executor(case: Patient) -> None:
    case.model.quantum.reopen(Drawing(case.circuit))


def replaced_by_a_mock(case: Patient) -> None:
    """An executor of another kind, that answers without a circuit."""

    class Mock:
        def expectations(self, inputs, weights):
            return -np.cos(np.asarray(inputs))

        def vjp(self, inputs, weights, cotangent):
            return np.sin(np.asarray(inputs)) * cotangent, np.ones_like(np.asarray(weights))

        def report(self):
            return Report(backend="mock", qubits=3, depth=0, two_qubit_gates=0)

    case.model.quantum.reopen(Mock())


def not_called(case: Patient) -> None:
    outputs = case.circuit.num_outputs
    case.model.middle = lambda latent: torch.cos(latent[:, :1]).expand(-1, outputs)


def mocked(case: Patient) -> None:
    outputs = case.circuit.num_outputs
    case.model.quantum.forward = lambda angles: torch.cos(angles[:, :1]).expand(-1, outputs)


def shot_noise(case: Patient) -> None:
    case.background = replace(case.background, shots=4)
    scale(case, 0.3)


@torch.no_grad()
def constant_forecast(case: Patient) -> None:
    case.model.head.weight.mul_(1e-7)


def inputs_of_another_dtype(case: Patient) -> None:
    case.inputs = case.inputs.double()


def whole_angles(case: Patient) -> None:
    angles = case.model.angles
    case.model.angles = lambda latent: angles(latent).long()


def double_angles(case: Patient) -> None:
    """The circuit answers in double precision, which the head cannot take."""
    angles = case.model.angles
    case.model.angles = lambda latent: angles(latent).double()
    case.model.quantum.register_forward_hook(lambda _, __, output: output.double())


def bfloat16(case: Patient) -> None:
    """NumPy has no such numbers: the layer cannot run."""
    case.model.bfloat16()
    case.inputs = case.inputs.bfloat16()


def head_of_another_dtype(case: Patient) -> None:
    case.model.head.double()


def head_on_another_device(case: Patient) -> None:
    case.model.head.to("meta")


def buffer_on_another_device(case: Patient) -> None:
    case.model.head.register_buffer("shift", torch.zeros(1, device="meta"))
    case.model.head.register_forward_hook(lambda head, _, output: output + head.shift)


@torch.no_grad()
def not_finite(case: Patient) -> None:
    case.model.to_latent.weight[0, 0] = float("nan")


def closed(case: Patient) -> None:
    case.model = pickle.loads(pickle.dumps(case.model))


def as_designed(case: Patient) -> None:
    """The fault is in the design."""


FLAT_AT_ZERO = (
    Design("gru", "add", circuit={"qubits": 3, "depth": 2, "encoding": {"gates": "RX"}}),
    Design("lstm", "concat", circuit={"qubits": 2, "blocks": [{"gates": "RX RZ"}]}),
    Design("rnn", "none", "sim_01", circuit={"qubits": 3, "entangler": {"pattern": "none"}}),
)
"""Circuits whose outputs are even in each input, so stationary at 0."""

BLIND = tuple(each.with_circuit(observables=["Z0", "Z1"]) for each in (
    Design("gru", "none", circuit={"qubits": 3, "entangler": {"pattern": "none"}}),
    Design("lstm", "concat", circuit={"qubits": 4, "depth": 1, "entangler": {"pattern": "none"}}),
    Design("rnn", "concat", "sim_01", circuit={"qubits": 3}),
))  # fmt: skip

PHASES = {
    "encoding": {"gates": "RZ", "hadamard": True},
    "blocks": [{"gates": "RZ"}],
    "entangler": {"gate": "cz"},
}
ALONG_X = {"encoding": {"gates": "RX"}, "blocks": [{"gates": "RX"}], "entangler": {"pattern": "none"},
           "observables": ["X0", "X1", "X2"]}  # fmt: skip
IDLE = (
    Design("gru", "add", circuit={"qubits": 3, "depth": 2, **PHASES}),
    Design("lstm", "concat", circuit={"qubits": 2, "depth": 1, **PHASES}),
    Design("rnn", "none", circuit={"qubits": 3, "depth": 2, **ALONG_X}),
)
"""Circuits that turn nothing that is measured."""

HALF_BLIND = tuple(
    replace(each, circuit={**ALONG_X, "qubits": 2, "observables": ["Z0", "Z1", "X0"]})
    for each in (Design("gru", "none"), Design("lstm", "concat"), Design("rnn", "none"))
)
"""Two outputs that see the inputs, and one that cannot."""

_DEEP = (
    Design("gru", "none", circuit={"qubits": 8, "depth": 16, "blocks": [{"gates": "Rot"}]}),
    Design("lstm", "concat", "sim_06", circuit={"qubits": 8, "depth": 4}),
    Design("rnn", "concat", "efficient_su2", circuit={"qubits": 8, "depth": 14}),
)
FLAT = tuple(each.with_circuit(observables=["Z0 Z1"]) for each in _DEEP)

_ALONE = {"qubits": 10, "depth": 1, "entangler": {"pattern": "none"},
          "observables": ["Z0 Z1 Z2 Z3 Z4 Z5 Z6 Z7 Z8 Z9"]}  # fmt: skip
FLAT_PRODUCTS = (
    Design("gru", "none", circuit={**_ALONE, "blocks": [{"gates": "RY"}]}),
    Design("lstm", "concat", circuit={**_ALONE, "blocks": [{"gates": "RX"}]}),
    Design("rnn", "concat", circuit={**_ALONE, "blocks": [{"gates": "RY RZ"}]}),
)
"""Single qubits, measured by one observable of all of them."""

ROUND = (
    Design("gru", "concat"),
    Design("lstm", "add", model={"layer_norm": True}),
    Design("rnn", "concat", "efficient_su2"),
)

FAULTS: dict[str, list[tuple[Plant, tuple[Design, ...]]]] = {
    "input_gradients_off": [(input_gradients_off, DESIGNS)],
    "gradient_none": [(gradient_none, DESIGNS), (detached_behind_a_skip, DESIGNS)],
    "gradient_zero": [(gradient_zero, DESIGNS)],
    "gradient_vanishing": [(gradient_vanishing, DESIGNS)],
    "gradient_exploding": [(gradient_exploding, DESIGNS)],
    "dead_relu": [(each, DESIGNS) for each in (dead_relu, *DEAD_RELUS)],
    "angles_small": [(angles_small, FLAT_AT_ZERO)],
    "angles_saturated": [(each, DESIGNS) for each in (angles_saturated, *SATURATED)],
    "angles_wrapped": [(angles_wrapped, DESIGNS), (folded_by_a_cosine, DESIGNS)],
    "output_band_tight": [(output_band_tight, DESIGNS)],
    "some_inputs_ignored": [(as_designed, BLIND)],
    "all_inputs_ignored": [(as_designed, IDLE)],
    "some_outputs_constant": [(as_designed, HALF_BLIND)],
    "weights_never_move": [(weights_never_move, DESIGNS)],
    "circuit_bypassed": [(circuit_bypassed, ROUND)],
    "quantum_replaced": [
        (replaced_by_a_module, DESIGNS),
        (replaced_by_another_executor, DESIGNS),
        (replaced_by_a_mock, DESIGNS),
    ],
    "quantum_not_executed": [(not_called, DESIGNS), (mocked, DESIGNS)],
    "barren_plateau": [(as_designed, FLAT), (as_designed, FLAT_PRODUCTS)],
    "dtype_mismatch": [
        (inputs_of_another_dtype, DESIGNS),
        (head_of_another_dtype, DESIGNS),
        (whole_angles, DESIGNS),
        (double_angles, DESIGNS),
        (bfloat16, DESIGNS),
    ],
    "device_mismatch": [(head_on_another_device, DESIGNS), (buffer_on_another_device, DESIGNS)],
    "shot_noise": [(shot_noise, DESIGNS)],
    "constant_forecast": [(constant_forecast, DESIGNS)],
    "not_finite": [(not_finite, DESIGNS)],
    "forward_fails": [(closed, DESIGNS)],
}
"""Code -> how it is planted, and the architectures that it is planted in."""
