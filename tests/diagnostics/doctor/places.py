"""The same faults where a circuit stands elsewhere: in a wrapped module, and in the gates of a unit.

A `Place` says where the parts of a model are (what makes the circuit's inputs, the circuits, what reads
them), and a fault is planted by these. So one table serves both.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from qhq.ansatz import build
from qhq.ansatz.program import Ansatz
from qhq.ansatz.spec import load_ansatz
from qhq.backends.local.statevector import StatevectorExecutor
from qhq.diagnostics.doctor import Background
from qhq.models.gates import Circuits, build_gated, by_rows
from qhq.models.hybrid import Shape
from qhq.models.own import as_forecaster, wrap
from qhq.models.source import ModuleSource
from qhq.models.spec import ModelSpec
from qhq.quantum.layer import QuantumLayer
from tests.diagnostics.doctor.faults import Activated, Drawing
from tests.diagnostics.doctor.patients import Patient, samples, stock_layer

STEPS = 4
SHAPE = Shape(features=1, horizon=1, targets=1, window=STEPS)
REFERENCE = {"qubits": 3, "depth": 2}


class Flat(nn.Module):
    """The whole window at once."""

    def __init__(self, quantum: nn.Module, *, round_it: bool = False) -> None:
        super().__init__()
        self.encoder = nn.Linear(STEPS, 6)
        self.before = nn.Linear(6, quantum.num_inputs)
        self.quantum = quantum
        self.around = nn.Linear(6, 1) if round_it else None
        self.head = nn.Linear(quantum.num_outputs, 1)

    def forward(self, windows: Tensor) -> Tensor:
        states = self.encoder(windows.flatten(1)).tanh()
        forecast = self.head(self.quantum(self.before(states)))
        forecast = forecast if self.around is None else forecast + self.around(states)
        return forecast.reshape(-1, 1, 1)


class Rows(nn.Module):
    """A row of the circuit for each step, in one call."""

    def __init__(self, quantum: nn.Module) -> None:
        super().__init__()
        self.encoder = nn.GRU(1, 6, batch_first=True)
        self.before = nn.Linear(6, quantum.num_inputs)
        self.quantum = quantum
        self.head = nn.Linear(quantum.num_outputs, 1)

    def forward(self, windows: Tensor) -> Tensor:
        states, _ = self.encoder(windows)
        return self.head(self.quantum(self.before(states)).mean(dim=1)).reshape(-1, 1, 1)


class Stepwise(nn.Module):
    """A call of the circuit at each step, which takes what the last one gave."""

    def __init__(self, quantum: nn.Module) -> None:
        super().__init__()
        self.encoder = nn.Linear(1, 6)
        self.before = nn.Linear(6 + quantum.num_outputs, quantum.num_inputs)
        self.quantum = quantum
        self.head = nn.Linear(quantum.num_outputs, 1)

    def forward(self, windows: Tensor) -> Tensor:
        state = windows.new_zeros(len(windows), self.quantum.num_outputs)
        for step in self.encoder(windows).tanh().unbind(dim=1):
            state = self.quantum(self.before(torch.cat([step, state], dim=-1)))
        return self.head(state).reshape(-1, 1, 1)


@dataclass
class Place(Patient):
    """A patient whose parts are named.

    Attributes:
        before: Linear maps that make the circuits' inputs.
        holder: The module that has the circuits as its children.
        head: The last linear map.
    """

    before: list[nn.Linear]
    holder: nn.Module
    head: nn.Linear

    @property
    def layers(self) -> dict[str, Any]:
        """The circuits by name in ``holder``."""
        return {name: each for name, each in self.holder.named_children() if isinstance(each, QuantumLayer)}

    @torch.no_grad()
    def scale(self, weight: float, bias: float | None = None) -> None:
        """Scale the maps before the circuits, and give them all one bias."""
        for each in self.before:
            each.weight.mul_(weight)
            if bias is not None:
                each.bias.fill_(bias)

    def change_inputs(self, change: Callable[[Tensor], Tensor]) -> None:
        """Change what the circuits are given."""
        for each in self.before:
            each.register_forward_hook(lambda _, __, values: change(values))

    def without_scaling(self, scaling: Callable[[Tensor], Tensor]) -> None:
        """Another map to angles than the bounded one."""
        for each in self.layers.values():
            each.angle_scaling = Activated(scaling)


def wrapped(make: Callable[..., nn.Module], circuit: dict[str, Any], **options: Any) -> Place:
    """A module in memory, as a run has it."""
    torch.manual_seed(3)
    ansatz = build(load_ansatz("reference", circuit))
    executor = StatevectorExecutor(ansatz, threads=1)
    module = make(QuantumLayer(ansatz, executor, seed=3, scale_inputs=True), **options)
    name = wrap(module).file
    model = as_forecaster(
        ModuleSource(name, name, module=module),
        module,
        SHAPE,
        ["quantum"],
        seed=0,
        dtype=torch.float32,
        at_zero=False,
    )
    return _place(model, ansatz, [module.before], module, module.head)


def gated(circuit: dict[str, Any], *units: str) -> Place:
    """A recurrent unit with circuits in its gates, the last of the units."""
    ansatz = build(load_ansatz("reference", circuit))
    alone, rows = (StatevectorExecutor(each, threads=1) for each in (ansatz, by_rows(ansatz)))
    spec = ModelSpec(recurrent=[{"unit": unit, "hidden": 3} for unit in units])
    model = build_gated(spec, SHAPE, Circuits(ansatz, alone, rows, 5), seed=1)
    unit = model.module.layers[-1]
    return _place(model, ansatz, list(unit.enter.values()), unit.circuits.layers, model.module.head)


def _place(model: Any, ansatz: Ansatz, before: list[Any], holder: nn.Module, head: Any) -> Place:
    inputs, targets = samples(length=STEPS)
    return Place(model, ansatz, inputs, targets, Background(circuit=ansatz), before, holder, head)


Make = Callable[[dict[str, Any]], Place]

WRAPPED: dict[str, Make] = {
    "flat": lambda circuit: wrapped(Flat, circuit),
    "rows": lambda circuit: wrapped(Rows, circuit),
    "stepwise": lambda circuit: wrapped(Stepwise, circuit),
}
GATES: dict[str, Make] = {
    "qlstm": lambda circuit: gated(circuit, "qlstm"),
    "qgru": lambda circuit: gated(circuit, "qgru"),
    "gru and qlstm": lambda circuit: gated(circuit, "gru", "qlstm"),
}
PLACES = {**WRAPPED, **GATES}
BEHIND_AN_ENCODER = {name: PLACES[name] for name in ("flat", "rows", "stepwise", "gru and qlstm")}
"""Those that have something before the circuits' inputs that trains."""
ROUND: dict[str, Make] = {"flat": lambda circuit: wrapped(Flat, circuit, round_it=True), **GATES}
"""Those that can do without a circuit, or without one of several."""


def input_gradients_off(case: Place) -> None:
    for name in case.layers:
        layer = stock_layer(case.circuit, input_gradients=False)
        layer.num_outputs = case.circuit.num_outputs  # which the module asks for
        setattr(case.holder, name, layer)


def gradient_none(case: Place) -> None:
    case.change_inputs(torch.detach)


@torch.no_grad()
def gradient_zero(case: Place) -> None:
    case.scale(0.0)


def gradient_vanishing(case: Place) -> None:
    case.scale(1e-8)


@torch.no_grad()
def gradient_exploding(case: Place) -> None:
    case.head.weight.mul_(1e6)


def dead_relu(case: Place) -> None:
    case.change_inputs(torch.relu)
    case.scale(1.0, bias=-10.0)


def angles_small(case: Place) -> None:
    case.scale(1e-3, bias=0.012 / math.pi)


def angles_saturated(case: Place) -> None:
    case.scale(1.0, bias=6.0)


def angles_wrapped(case: Place) -> None:
    case.without_scaling(lambda values: values * 1.0)
    case.scale(60.0)


def folded_by_a_cosine(case: Place) -> None:
    case.without_scaling(torch.cos)
    case.scale(60.0)


def output_band_tight(case: Place) -> None:
    case.scale(1e-4, bias=0.3)


def weights_never_move(case: Place) -> None:
    initial = {name: each.detach().clone() for name, each in case.model.state_dict().items()}
    inside = {id(each) for layer in case.layers.values() for each in layer.parameters()}
    chosen = [each for each in case.model.parameters() if id(each) not in inside]
    optimizer = torch.optim.Adam(chosen, lr=0.01)
    for _ in range(2):
        optimizer.zero_grad()
        nn.functional.mse_loss(case.model(case.inputs), case.targets).backward()
        optimizer.step()
    case.background = replace(case.background, initial=initial, epochs=2, relative=True)


@torch.no_grad()
def circuit_bypassed(case: Place) -> None:
    """The whole circuit beside a way round it; of a unit's gates one, whose map is all but shut."""
    if len(case.layers) == 1:
        case.head.weight.mul_(1e-6)
    else:
        case.model.module.layers[-1].leave.weight[0].mul_(1e-6)


def replaced_by_a_module(case: Place) -> None:
    """Of several one is enough."""
    name, layer = next(iter(case.layers.items()))
    linear = nn.Linear(layer.num_inputs, layer.num_outputs)
    linear.num_inputs, linear.num_outputs = layer.num_inputs, layer.num_outputs
    setattr(case.holder, name, linear)


def replaced_by_another_executor(case: Place) -> None:
    case.model.reopen(Drawing(case.circuit))


def replaced_where_all_are_asked_at_once(case: Place) -> None:
    together = case.model.module.layers[-1].circuits._together
    together.network.reopen(Drawing(together.network.ansatz))


def not_called(case: Place) -> None:
    for each in case.layers.values():
        each.__class__ = type("Idle", (type(each),), {"__call__": _idle})


def _idle(layer: Any, values: Tensor) -> Tensor:
    return torch.cos(values[..., :1]).expand(*values.shape[:-1], layer.num_outputs)


def mocked(case: Place) -> None:
    for each in case.layers.values():
        each.forward = lambda values, layer=each: _idle(layer, values)


def shot_noise(case: Place) -> None:
    case.background = replace(case.background, shots=4)
    case.scale(0.3)


@torch.no_grad()
def constant_forecast(case: Place) -> None:
    case.head.weight.mul_(1e-7)


def inputs_of_another_dtype(case: Place) -> None:
    case.inputs = case.inputs.double()


def head_of_another_dtype(case: Place) -> None:
    case.head.double()


def head_on_another_device(case: Place) -> None:
    case.head.to("meta")


@torch.no_grad()
def not_finite(case: Place) -> None:
    case.before[0].weight[0, 0] = float("nan")


def closed(case: Place) -> None:
    case.model = pickle.loads(pickle.dumps(case.model))


def as_designed(_: Place) -> None:
    """The fault is in the design."""


FLAT_AT_ZERO = {"qubits": 3, "depth": 2, "encoding": {"gates": "RX"}}
BLIND = {"qubits": 3, "entangler": {"pattern": "none"}, "observables": ["Z0", "Z1"]}
IDLE = {
    "qubits": 3, "depth": 2, "encoding": {"gates": "RZ", "hadamard": True}, "blocks": [{"gates": "RZ"}],
    "entangler": {"gate": "cz"},
}  # fmt: skip
HALF_BLIND = {
    "qubits": 2, "encoding": {"gates": "RX"}, "blocks": [{"gates": "RX"}], "entangler": {"pattern": "none"},
    "observables": ["Z0", "Z1", "X0"],
}  # fmt: skip
PLATEAU = {
    "qubits": 8, "depth": 16, "blocks": [{"gates": "Rot"}], "observables": ["Z0 Z1"],
}  # fmt: skip

Plant = Callable[[Place], None]

FAULTS: list[tuple[str, Plant, dict[str, Any], dict[str, Make]]] = [
    ("input_gradients_off", input_gradients_off, REFERENCE, BEHIND_AN_ENCODER),
    ("gradient_none", gradient_none, REFERENCE, PLACES),
    ("gradient_zero", gradient_zero, REFERENCE, BEHIND_AN_ENCODER),
    ("gradient_vanishing", gradient_vanishing, REFERENCE, BEHIND_AN_ENCODER),
    ("gradient_exploding", gradient_exploding, REFERENCE, PLACES),
    ("dead_relu", dead_relu, REFERENCE, PLACES),
    ("angles_small", angles_small, FLAT_AT_ZERO, PLACES),
    ("angles_saturated", angles_saturated, REFERENCE, PLACES),
    ("angles_wrapped", angles_wrapped, REFERENCE, PLACES),
    ("angles_wrapped", folded_by_a_cosine, REFERENCE, PLACES),
    ("output_band_tight", output_band_tight, REFERENCE, PLACES),
    ("some_inputs_ignored", as_designed, BLIND, PLACES),
    ("all_inputs_ignored", as_designed, IDLE, PLACES),
    ("some_outputs_constant", as_designed, HALF_BLIND, PLACES),
    ("weights_never_move", weights_never_move, REFERENCE, PLACES),
    ("circuit_bypassed", circuit_bypassed, REFERENCE, ROUND),
    ("quantum_replaced", replaced_by_a_module, REFERENCE, PLACES),
    ("quantum_replaced", replaced_by_another_executor, REFERENCE, PLACES),
    ("quantum_replaced", replaced_where_all_are_asked_at_once, REFERENCE, GATES),
    ("quantum_not_executed", not_called, REFERENCE, PLACES),
    ("quantum_not_executed", mocked, REFERENCE, PLACES),
    ("barren_plateau", as_designed, PLATEAU, PLACES),
    ("dtype_mismatch", inputs_of_another_dtype, REFERENCE, PLACES),
    ("dtype_mismatch", head_of_another_dtype, REFERENCE, PLACES),
    ("device_mismatch", head_on_another_device, REFERENCE, PLACES),
    ("shot_noise", shot_noise, REFERENCE, PLACES),
    ("constant_forecast", constant_forecast, REFERENCE, PLACES),
    ("not_finite", not_finite, REFERENCE, PLACES),
    ("forward_fails", closed, REFERENCE, PLACES),
]
"""Code, how it is planted, in which circuit and in which places."""
