"""Five seeds trained at once beside the same five one after another: whole epochs, one thread.

The published model first: GRU 4 x 32, window 20, 6 qubits, depth 4, Rot, batch 32. Both ways take turns, and
each pair of turns gives a ratio; what both learn is compared as well.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch

from benchmarks.table import Table, Target
from benchmarks.training_step import reference_ansatz
from qhq.ansatz.assemble import build
from qhq.ansatz.program import Ansatz
from qhq.ansatz.spec import load_ansatz
from qhq.backends.registry import open_training_backend
from qhq.models.hybrid import Shape, build_model
from qhq.models.spec import ModelSpec, RecurrentLayerSpec
from qhq.models.stack import Stack
from qhq.quantum.layer import QuantumLayer
from qhq.training.loop import Samples, Trainer, Watcher
from qhq.training.spec import TrainingSpec
from qhq.training.stack import StackTrainer

SEEDS, WINDOW, BATCHES = 5, 20, 20
PUBLISHED = "GRU 4 x 32, 6 qubits, depth 4, batch 32"


def layers(unit: str, hidden: int, count: int) -> tuple[RecurrentLayerSpec, ...]:
    """Recurrent layers that are all the same."""
    return (RecurrentLayerSpec(unit=unit, hidden=hidden),) * count


def cases() -> dict[str, tuple[tuple[RecurrentLayerSpec, ...], Ansatz, int]]:
    """Name -> layers, circuit and batch size."""
    published, quick = reference_ansatz(), build(load_ansatz("reference", {"qubits": 4, "depth": 2}))
    return {
        PUBLISHED: (layers("gru", 32, 4), published, 32),
        "GRU 16, 4 qubits, depth 2, batch 64": (layers("gru", 16, 1), quick, 64),
        "LSTM 4 x 16, 6 qubits, depth 4, batch 32": (layers("lstm", 16, 4), published, 32),
    }


def samples(seed: int, count: int) -> Samples:
    """Windows of a random walk, and what follows."""
    generator = torch.Generator().manual_seed(seed)
    walks = torch.randn(count, WINDOW + 1, 1, generator=generator).cumsum(dim=1) / WINDOW
    return Samples(walks[:, :-1], walks[:, -1:])


def trainers(recurrent: tuple[RecurrentLayerSpec, ...], ansatz: Ansatz, batch: int) -> list[Trainer]:
    """One a seed; each trains one epoch."""
    train, validation = samples(0, BATCHES * batch), samples(1, 256)
    spec, shape = TrainingSpec(epochs=1, batch_size=batch), Shape(features=1, horizon=1, targets=1)
    made = []
    for seed in range(SEEDS):
        layer = QuantumLayer(ansatz, open_training_backend("aer", ansatz, seed=0), seed=seed)
        model = build_model(ModelSpec(recurrent=recurrent), shape, quantum=layer, seed=seed)
        made.append(Trainer(model, train, validation, spec, seed=seed))
    return made


def measure(*, quick: bool) -> dict[str, Any]:
    """Of each case: medians of seconds of both ways and of their ratio, and the largest difference."""
    torch.set_num_threads(1)
    found = {}
    for name, case in cases().items():
        alone = trainers(*case)
        first = [trainer.initial_state() for trainer in alone]
        stack = StackTrainer(alone, Stack([trainer.model for trainer in alone]))  # type: ignore[misc]
        pairs, apart = [], 0.0
        for turn in range(3 if quick else 11):
            started = time.perf_counter()
            singly = [trainer.run(state, Watcher()) for trainer, state in zip(alone, first, strict=True)]
            between = time.perf_counter()
            at_once = stack.run(first, [Watcher()] * SEEDS)
            if turn:  # the first turn warms up
                pairs.append((between - started, time.perf_counter() - between))
            apart = max(
                apart,
                *(
                    abs(one.history[0].validation_loss - other.history[0].validation_loss)
                    for one, other in zip(singly, at_once, strict=True)
                ),
            )
        found[name] = {
            "one after another": statistics.median(one for one, _ in pairs),
            "at once": statistics.median(other for _, other in pairs),
            "ratio": statistics.median(one / other for one, other in pairs),
            "apart": apart,
        }
    return {"cases": found}


def tables(result: dict[str, Any]) -> list[Table]:
    """A row a model."""
    rows = [
        (
            name,
            f"{case['one after another']:.2f}",
            f"{case['at once']:.2f}",
            f"{case['ratio']:.2f}",
            f"{case['apart']:.0e}",
        )
        for name, case in result["cases"].items()
    ]
    note = (
        f"{SEEDS} seeds, an epoch of {BATCHES} batches each, validation included; one thread. The ratio is"
        " the median over pairs of turns; the last column is the largest difference of a validation loss."
    )
    columns = ("", "one after another, s", "at once, s", "times as fast", "differ by")
    return [Table("Many seeds at once", note, columns, tuple(rows))]


def targets(result: dict[str, Any]) -> list[Target]:
    """The published model, and that both ways learn the same."""
    case = result["cases"][PUBLISHED]
    apart = max(each["apart"] for each in result["cases"].values())
    return [
        Target("Five seeds at once, published model", ">= 3", f"{case['ratio']:.1f}", case["ratio"] >= 3),
        Target("Losses of seeds trained at once and singly", "<= 1e-5", f"{apart:.0e}", apart <= 1e-5),
    ]
