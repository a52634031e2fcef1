"""Models to look at, small and quick, and the faults that are planted in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from qiskit_machine_learning.connectors import TorchConnector
from torch import Tensor, nn

from qhq.ansatz import build
from qhq.ansatz.program import Ansatz
from qhq.ansatz.spec import load_ansatz
from qhq.backends.local.statevector import StatevectorExecutor
from qhq.diagnostics.doctor import Background, Diagnosis
from qhq.diagnostics.doctor.checks import examine
from qhq.models.hybrid import Shape, build_model
from qhq.models.spec import ModelSpec
from qhq.quantum.adjoint_network import AdjointNetwork
from qhq.quantum.layer import QuantumLayer

WINDOWS = 64


@dataclass(frozen=True)
class Design:
    """An architecture: recurrent unit, circuit, and the way round it."""

    unit: str
    skip: str
    ansatz: str = "reference"
    circuit: dict[str, Any] = field(default_factory=lambda: {"qubits": 3, "depth": 2})
    model: dict[str, Any] = field(default_factory=dict)
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.unit}-{self.ansatz}-{self.skip}"

    def with_circuit(self, **changes: Any) -> Design:
        return replace(self, circuit={**self.circuit, **changes})

    def with_model(self, **changes: Any) -> Design:
        return replace(self, model={**self.model, **changes})


DESIGNS = (
    Design("gru", "add"),
    Design("lstm", "concat", "efficient_su2"),
    Design("rnn", "none", "reuploading", model={"activation_before": "tanh"}),
)
"""Three architectures that differ in everything."""


@dataclass
class Patient:
    """A model, and what the doctor is given with it."""

    model: Any
    circuit: Ansatz
    inputs: Tensor
    targets: Tensor
    background: Background

    def diagnosis(self, **options: Any) -> Diagnosis:
        return examine(self.model, self.inputs, self.targets, background=self.background, **options)


def patient(design: Design) -> Patient:
    circuit = build(load_ansatz(design.ansatz, design.circuit))
    layer = QuantumLayer(circuit, StatevectorExecutor(circuit), seed=design.seed)
    parts = {"recurrent": [{"unit": design.unit, "hidden": 8}], "skip": design.skip, **design.model}
    spec = ModelSpec.model_validate(parts)
    model = build_model(
        spec, Shape(1, 1, 1), quantum=layer, angle_scaling=circuit.angle_scaling, seed=design.seed
    )
    inputs, targets = samples(design.seed)
    return Patient(model, circuit, inputs, targets, Background(circuit=circuit))


def samples(seed: int = 0, count: int = WINDOWS, length: int = 10) -> tuple[Tensor, Tensor]:
    """Walks relative to their last value, and the step that follows plus a part of the last one."""
    generator = np.random.default_rng([17, seed])
    steps = generator.normal(size=(count, length + 1))
    walks = steps.cumsum(axis=1)
    targets = steps[:, -1] * 0.5 + 0.5 * steps[:, -2]
    inputs = walks[:, :-1] - walks[:, -2:-1]
    return torch.tensor(inputs[:, :, None]).float(), torch.tensor(targets[:, None, None]).float()


def train(case: Patient, steps: int, *, only: Callable[[str], bool] = lambda name: True) -> None:
    """Some steps of Adam on the weights whose names are chosen; the background learns of it."""
    initial = {name: each.detach().clone() for name, each in case.model.state_dict().items()}
    chosen = [each for name, each in case.model.named_parameters() if only(name)]
    optimizer = torch.optim.Adam(chosen, lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.mse_loss(case.model(case.inputs), case.targets).backward()
        optimizer.step()
    case.background = replace(case.background, initial=initial, epochs=steps)


def stock_layer(circuit: Ansatz, *, input_gradients: bool) -> TorchConnector:
    """A user's own layer over the same circuit."""
    network = AdjointNetwork(
        circuit=circuit.circuit,
        observables=list(circuit.observables),
        input_params=circuit.inputs,
        weight_params=circuit.weights,
        input_gradients=input_gradients,
    )
    return TorchConnector(network, initial_weights=np.full(circuit.num_weights, 0.7))


@torch.no_grad()
def scale(case: Patient, weight: float, bias: float | None = None) -> None:
    """Scale what makes the latent features, and give them all one bias."""
    case.model.to_latent.weight.mul_(weight)
    if bias is not None:
        case.model.to_latent.bias.fill_(bias)
