"""A whole training step of the thesis-size model, with and without its quantum layer, one thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.clock import medians, race
from benchmarks.table import Table, Target, milliseconds
from qhq.ansatz.assemble import build
from qhq.ansatz.blocks import RotationBlock
from qhq.ansatz.program import Ansatz
from qhq.ansatz.spec import AnsatzSpec
from qhq.backends.registry import open_training_backend
from qhq.engine import StatevectorEngine
from qhq.models.hybrid import HybridForecaster, Shape, build_model
from qhq.models.spec import ModelSpec, RecurrentLayerSpec
from qhq.quantum.layer import QuantumLayer

BATCH, WINDOW, QUBITS, DEPTH = 32, 20, 6, 4
WITHOUT, WITH, LAYER, ENGINE = "step without", "step with", "layer alone", "engine alone"


def reference_ansatz() -> Ansatz:
    """6 qubits, depth 4, Rot."""
    return build(AnsatzSpec(qubits=QUBITS, depth=DEPTH, blocks=(RotationBlock(gates="Rot"),)))


def model_of(quantum: QuantumLayer | None) -> HybridForecaster:
    """GRU 4 x 32 and six latent features."""
    spec = ModelSpec(recurrent=(RecurrentLayerSpec(hidden=32),) * 4, latent=QUBITS)
    return build_model(spec, Shape(features=1, horizon=1, targets=1), quantum=quantum, seed=0)


def training_step(model: HybridForecaster) -> Callable[[], Any]:
    """Forward, loss, backward, Adam."""
    generator = torch.Generator().manual_seed(0)
    windows = torch.randn(BATCH, WINDOW, 1, generator=generator)
    targets = torch.randn(BATCH, 1, 1, generator=generator)
    # So small that thousands of steps on one batch do not end in vanishing, denormal (slow) gradients.
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-7)

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(model(windows), targets).backward()
        optimizer.step()

    return step


def layer_step(layer: QuantumLayer) -> Callable[[], Any]:
    """The layer without a model."""
    angles = torch.linspace(-3, 3, BATCH * QUBITS).reshape(BATCH, QUBITS).requires_grad_()
    cotangent = torch.ones(BATCH, QUBITS)
    return lambda: torch.autograd.grad(layer(angles), (angles, layer.weight), cotangent)


def engine_step(ansatz: Ansatz, layer: QuantumLayer) -> Callable[[], Any]:
    """The engine without torch."""
    engine = StatevectorEngine(ansatz.circuit, ansatz.observables, ansatz.inputs, ansatz.weights, threads=1)
    angles = torch.linspace(-3, 3, BATCH * QUBITS).reshape(BATCH, QUBITS).numpy()
    weights, cotangent = layer.weight.detach().numpy(), torch.ones(BATCH, QUBITS).numpy()
    return lambda: engine.backward(engine.forward(angles, weights)[1], cotangent)


def measure(*, quick: bool) -> dict[str, Any]:
    """Medians, in seconds."""
    torch.set_num_threads(1)
    ansatz = reference_ansatz()
    layer = QuantumLayer(ansatz, open_training_backend("aer", ansatz, seed=0), seed=0)
    steps = {
        WITHOUT: training_step(model_of(None)),
        WITH: training_step(model_of(layer)),
        LAYER: layer_step(layer),
        ENGINE: engine_step(ansatz, layer),
    }
    for step in steps.values():
        step()
    return {"seconds": medians(race(steps, seconds=2 if quick else 15))}


def share(result: dict[str, Any]) -> float:
    """What the quantum layer adds, as a part of the classical step."""
    seconds = result["seconds"]
    return seconds[WITH] / seconds[WITHOUT] - 1


def tables(result: dict[str, Any]) -> list[Table]:
    """The steps and their parts."""
    classical = result["seconds"][WITHOUT]
    rows = [(name, milliseconds(each), f"{each / classical:.1%}") for name, each in result["seconds"].items()]
    added = result["seconds"][WITH] - classical
    rows.insert(2, ("added by the quantum layer", milliseconds(added), f"{share(result):.1%}"))
    note = (
        f"GRU 4 x 32, window {WINDOW}, {QUBITS} qubits, depth {DEPTH}, Rot, batch {BATCH}, Adam; one thread."
    )
    return [Table("The training step", note, ("", "ms", "of the step without"), tuple(rows))]


def targets(result: dict[str, Any]) -> list[Target]:
    """The layer by itself: with minus without is within the noise of the steps."""
    layer = result["seconds"][LAYER] / result["seconds"][WITHOUT]
    return [
        Target("Quantum layer beside the classical step", "<= 15 %", f"{100 * layer:.1f} %", layer <= 0.15)
    ]
