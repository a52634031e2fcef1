"""The training loop of the published stock study: its circuit is called once a sample.

Its grid is 105 hybrids of one stacked LSTM. Here each of them takes a few training steps as that study takes
them: PennyLane's default.qubit with backpropagation, one call a sample, the results stacked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from statistics import median

import torch

QUBITS, DEPTHS, ROTATIONS = range(2, 7), range(1, 8), (1, 2, 3)
BATCH, WINDOW, LAYERS, HIDDEN = 32, 20, 4, 16

Cell = tuple[int, int, int]
"""Qubits, depth, rotations."""


def cells() -> Iterator[Cell]:
    """The 105 circuits of the grid."""
    return ((qubits, depth, turns) for qubits in QUBITS for depth in DEPTHS for turns in ROTATIONS)


class PublishedModel(torch.nn.Module):
    """Stacked LSTM, linear, circuit beside its own inputs, linear."""

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        qubits, depth, turns = cell
        self.recurrent = torch.nn.LSTM(1, HIDDEN, LAYERS, batch_first=True)
        self.before = torch.nn.Linear(HIDDEN, qubits)
        self.weights = torch.nn.Parameter(torch.randn(depth, qubits, turns))
        self.after = torch.nn.Linear(2 * qubits, 1)
        self.node = _node(qubits, turns)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Forecasts (B, 1) of windows (B, T, 1)."""
        latent = self.before(self.recurrent(windows)[0][:, -1])
        rows = [torch.stack(self.node(sample, self.weights)) for sample in latent]
        return self.after(torch.cat([torch.stack(rows).to(latent.dtype), latent], dim=1))


def _node(qubits: int, turns: int) -> Callable[[torch.Tensor, torch.Tensor], list[torch.Tensor]]:
    import pennylane as qml

    @qml.qnode(qml.device("default.qubit", wires=qubits), interface="torch")
    def node(inputs, weights):
        qml.AngleEmbedding(inputs, wires=range(qubits), rotation="Y")
        for layer in weights:
            for q in range(qubits):
                if turns == 1:
                    qml.RY(layer[q, 0], wires=q)
                elif turns == 2:
                    qml.RX(layer[q, 0], wires=q)
                    qml.RZ(layer[q, 1], wires=q)
                else:
                    qml.Rot(*layer[q], wires=q)
            for q in range(qubits if qubits > 2 else 1):
                qml.CNOT(wires=[q, (q + 1) % qubits])
        return [qml.expval(qml.PauliZ(q)) for q in range(qubits)]

    return node


def step_seconds(cell: Cell, repeats: int = 3) -> float:
    """Median of a few training steps of one circuit, after one that warms up."""
    model = PublishedModel(cell)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(0)
    windows = torch.randn(BATCH, WINDOW, 1, generator=generator)
    targets = torch.randn(BATCH, 1, generator=generator)
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(model(windows), targets).backward()
        optimizer.step()
        times.append(time.perf_counter() - start)
    return median(times[1:])
