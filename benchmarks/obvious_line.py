"""What the README's first Python line costs, beside the bare step: nobody should need a faster one.

The bare step is a layer over the exact engine that is given angles: forward and backward of the engine and
torch's own bookkeeping, which at this size is most of it. The engine without torch stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.clock import medians, race
from benchmarks.table import Table, Target, milliseconds
from qhq.ansatz.spec import load_ansatz
from qhq.backends.local.statevector import StatevectorExecutor
from qhq.backends.registry import open_backend
from qhq.engine import StatevectorEngine
from qhq.quantum.layer import QuantumLayer

QUBITS, DEPTH, BATCHES = 4, 2, (16, 64)
ENGINE, BARE, NAME, AER = (
    "engine without torch",
    "bare step",
    "QuantumLayer(name)",
    "over open_backend('aer')",
)
LIMIT = 2.0


def layers() -> dict[str, QuantumLayer]:
    """The bare step, the obvious line, and the older line over Aer's entry."""
    named = QuantumLayer("reference", qubits=QUBITS, depth=DEPTH)
    ansatz = named.ansatz
    return {
        BARE: QuantumLayer(ansatz, StatevectorExecutor(ansatz, threads=1)),
        NAME: named,
        AER: QuantumLayer(ansatz, open_backend("aer", ansatz)),
    }


def layer_step(layer: QuantumLayer, batch: int) -> Callable[[], Any]:
    """Forward and backward, with the gradients of inputs and weights."""
    inputs = torch.linspace(-1, 1, batch * QUBITS).reshape(batch, QUBITS).requires_grad_()
    cotangent = torch.ones(batch, QUBITS)
    return lambda: torch.autograd.grad(layer(inputs), (inputs, layer.weight), cotangent)


def engine_step(layer: QuantumLayer, batch: int) -> Callable[[], Any]:
    """The same in NumPy, at the angles that the scaling makes."""
    ansatz = layer.ansatz
    engine = StatevectorEngine(ansatz.circuit, ansatz.observables, ansatz.inputs, ansatz.weights, threads=1)
    angles = np.pi * np.tanh(np.linspace(-1, 1, batch * QUBITS, dtype=np.float32)).reshape(batch, QUBITS)
    weights, cotangent = layer.weight.detach().numpy(), np.ones((batch, QUBITS), np.float32)
    return lambda: engine.backward(engine.forward(angles, weights)[1], cotangent)


def measure(*, quick: bool) -> dict[str, Any]:
    """Medians, in seconds, and how far the layer's values are from the engine's."""
    torch.set_num_threads(1)
    assert load_ansatz("reference").angle_scaling == "pi_tanh"
    opened, rows = layers(), []
    for batch in BATCHES:
        steps = {ENGINE: engine_step(opened[NAME], batch)}
        steps |= {name: layer_step(layer, batch) for name, layer in opened.items()}
        by_inputs, by_weights = steps[NAME]()
        _, expected = steps[ENGINE]()
        for step in steps.values():
            step()
        rows.append(
            {
                "batch": batch,
                "seconds": medians(race(steps, seconds=1 if quick else 5)),
                "apart": float(np.abs(by_weights.numpy() - expected).max() / np.abs(expected).max()),
                "finite": bool(torch.isfinite(by_inputs).all()),
            }
        )
    return {"rows": rows}


def ratio(row: dict[str, Any], name: str = NAME) -> float:
    """Times the bare step."""
    return float(row["seconds"][name] / row["seconds"][BARE])


def tables(result: dict[str, Any]) -> list[Table]:
    """Each way, beside the bare step."""
    rows = tuple(
        (f"{row['batch']}", name, milliseconds(seconds), f"{ratio(row, name):.2f}x")
        for row in result["rows"]
        for name, seconds in row["seconds"].items()
    )
    note = (
        f"circuits/reference.yaml, {QUBITS} qubits, depth {DEPTH}, float32, forward and backward; one thread."
    )
    return [Table("The obvious Python line", note, ("batch", "way", "ms", "of the bare step"), rows)]


def targets(result: dict[str, Any]) -> list[Target]:
    """Within twice the bare step, at every batch."""
    return [
        Target(
            f"README's first line / bare step, batch {row['batch']}",
            f"<= {LIMIT:g}x",
            f"{ratio(row):.2f}x",
            ratio(row) <= LIMIT,
        )
        for row in result["rows"]
    ]
