"""A training step of a QLSTM, circuits in its gates, beside a PennyLane one of the same shape, one thread.

Both have linear layers around circuits of RY encoding, layers of RY and a ring of CX, and <Z> on each qubit.
They are given the same weights, and must forecast the same before anything is timed.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.table import Table, Target, milliseconds, times
from qhq.ansatz.assemble import build
from qhq.ansatz.spec import load_ansatz
from qhq.backends.local.statevector import StatevectorExecutor
from qhq.models.gates import Circuits, build_gated, by_rows
from qhq.models.hybrid import Shape
from qhq.models.own_forecaster import OwnForecaster
from qhq.models.spec import ModelSpec

SECONDS = 10.0
"""A contender is timed for about so long, and for three steps at least."""
BUSY_CORES = 0.1
"""A run in which others kept more than this busy can show that the target is met, not that it is missed."""
OURS, APART, THEIRS = "qhq, all gates at once", "qhq, gate by gate", "PennyLane, default.qubit"


@dataclass(frozen=True)
class Size:
    """Of a QLSTM and what it is trained on."""

    hidden: int = 4
    qubits: int = 4
    depth: int = 2
    window: int = 10
    batch: int = 32


def build_ours(size: Size, *, together: bool = True) -> OwnForecaster:
    """The model of ``unit: qlstm``."""
    ansatz = build(load_ansatz("reference", {"qubits": size.qubits, "depth": size.depth}))
    alone, rows = (StatevectorExecutor(each, threads=1) for each in (ansatz, by_rows(ansatz)))
    spec = ModelSpec(recurrent=({"unit": "qlstm", "hidden": size.hidden},))  # type: ignore[arg-type]
    circuits = Circuits(ansatz, alone, rows if together else None, seed=0)
    return build_gated(spec, Shape(1, 1, 1, window=size.window), circuits, seed=0)


class PennyLaneQLSTM(nn.Module):
    """The same, each gate a node of ``default.qubit`` with backpropagation, broadcast over the batch."""

    def __init__(self, ours: OwnForecaster, size: Size) -> None:
        super().__init__()
        import pennylane as qml

        unit: Any = ours.module.layers[0]  # type: ignore[index]
        self.enter, self.leave = unit.enter["both"], unit.leave
        self.head, self.hidden = ours.module.head, size.hidden
        self.weights = nn.ParameterList(
            layer.weight.detach().reshape(size.depth, size.qubits) for layer in unit.circuits.layers
        )

        @qml.qnode(qml.device("default.qubit", wires=size.qubits), interface="torch", diff_method="backprop")
        def node(angles: Tensor, weights: Tensor) -> Any:
            for qubit in range(size.qubits):
                qml.RY(angles[..., qubit], wires=qubit)
            for layer in range(size.depth):
                for qubit in range(size.qubits):
                    qml.RY(weights[layer, qubit], wires=qubit)
                for qubit in range(size.qubits):
                    qml.CNOT(wires=[qubit, (qubit + 1) % size.qubits])
            return [qml.expval(qml.PauliZ(qubit)) for qubit in range(size.qubits)]

        self.node = node

    def forward(self, windows: Tensor) -> Tensor:
        """Forecasts (B, 1, 1) of windows (B, T, 1)."""
        state = cell = windows.new_zeros(len(windows), self.hidden)
        for step in windows.unbind(1):
            angles = torch.pi * torch.tanh(self.enter(torch.cat([step, state], dim=-1)))
            gates = [
                torch.stack(self.node(angles, weights), dim=-1).to(windows.dtype) @ weight + bias
                for weight, bias, weights in zip(
                    self.leave.weight, self.leave.bias, self.weights, strict=True
                )
            ]
            cell = torch.sigmoid(gates[1]) * cell + torch.sigmoid(gates[0]) * torch.tanh(gates[3])
            state = torch.sigmoid(gates[2]) * torch.tanh(cell)
        forecast: Tensor = self.head(state)
        return forecast.reshape(-1, 1, 1)


def step_of(model: nn.Module, windows: Tensor, targets: Tensor) -> Callable[[], Tensor]:
    """One step of Adam on a batch."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def step() -> Tensor:
        optimizer.zero_grad()
        forecast: Tensor = model(windows)
        nn.functional.mse_loss(forecast, targets).backward()
        optimizer.step()
        return forecast.detach()

    return step


def take_turns(steps: dict[str, Callable[[], Tensor]], seconds: float) -> dict[str, float]:
    """Median seconds of a step by contender, over rounds in which each is asked: all meet the same load.

    A round has as many steps of a contender as take about as long as one of the slowest.
    """
    once = {name: (step(), _seconds(step))[1] for name, step in steps.items()}
    counts = {name: max(1, min(50, round(max(once.values()) / each))) for name, each in once.items()}
    taken: dict[str, list[float]] = {name: [] for name in steps}
    begun = perf_counter()
    while len(next(iter(taken.values()))) < 3 or perf_counter() - begun < len(steps) * seconds:
        for name, step in steps.items():
            taken[name] += [_seconds(step) for _ in range(counts[name])]
    return {name: statistics.median(each) for name, each in taken.items()}


def _seconds(step: Callable[[], Tensor]) -> float:
    begun = perf_counter()
    step()
    return perf_counter() - begun


def measure(*, quick: bool) -> dict[str, Any]:
    """Median seconds of a step by contender, and the largest difference of what both forecast."""
    torch.set_num_threads(1)
    size, seconds = Size(), 1.0 if quick else SECONDS
    draw = np.random.default_rng(0)
    windows = torch.as_tensor(draw.normal(size=(size.batch, size.window, 1)), dtype=torch.float32)
    targets = torch.as_tensor(draw.normal(size=(size.batch, 1, 1)), dtype=torch.float32)
    theirs = PennyLaneQLSTM(build_ours(size), size)
    with torch.no_grad():
        apart = float((theirs(windows) - build_ours(size).eval()(windows)).abs().max())
    contenders: dict[str, nn.Module] = {
        OURS: build_ours(size), APART: build_ours(size, together=False), THEIRS: theirs
    }  # fmt: skip
    steps = {name: step_of(model, windows, targets) for name, model in contenders.items()}
    return {"size": vars(size), "seconds": take_turns(steps, seconds), "apart": apart}


def tables(result: dict[str, Any]) -> list[Table]:
    """A row a contender."""
    size, seconds = result["size"], result["seconds"]
    note = (
        f"A training step: hidden {size['hidden']}, {size['qubits']} qubits, depth {size['depth']}, window"
        f" {size['window']}, batch {size['batch']}. The weights are the same, and the forecasts differ by"
        f" {result['apart']:.1e} at most."
    )
    rows = tuple((name, milliseconds(each), times(each / seconds[OURS])) for name, each in seconds.items())
    return [Table("QLSTM", note, ("", "a step, ms", "of qhq's"), rows)]


def targets(result: dict[str, Any]) -> list[Target]:
    """At least 50 times as fast as PennyLane's, with the same forecasts."""
    gain = result["seconds"][THEIRS] / result["seconds"][OURS]
    same, busy = result["apart"] <= 1e-5, result.get("others_cores", 0.0) > BUSY_CORES
    measured = f"{times(gain)} ({milliseconds(result['seconds'][OURS])} ms)"
    return [
        Target("QLSTM, PennyLane / qhq", ">= 50x", measured, True if gain >= 50 else None if busy else False),
        Target("QLSTM, forecasts of both", "<= 1e-5 apart", f"{result['apart']:.1e}", same),
    ]
