"""What a run records of itself: design, data, versions, git commit, results."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from qhq.ansatz.program import describe
from qhq.backends.parity import Parity
from qhq.data.prepare import Prepared
from qhq.experiment.evaluate import Evaluation
from qhq.experiment.intervals import Intervals
from qhq.experiment.opening import Experiment
from qhq.experiment.results import metrics_record
from qhq.runs.provenance import now, provenance
from qhq.runs.record import SCHEMA_VERSION, Plausibility, RunRecord
from qhq.runs.run_folder import RUNNING
from qhq.training.loop import TrainingState


class Stopwatch:
    """Wall seconds by phase."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.phases: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time the block as the phase ``name``."""
        start = time.perf_counter()
        yield
        self.phases[name] = round(time.perf_counter() - start, 4)

    def seconds(self) -> dict[str, float]:
        """Total so far, and each phase."""
        return {"total": round(time.perf_counter() - self.started, 4), **self.phases}


def design_record(
    experiment: Experiment, parity: Parity | None, plausibility: Plausibility | None = None
) -> RunRecord:
    """What is known before training: the run's design and what it runs on."""
    config, data = experiment.config, experiment.data
    content = {
        "schema_version": SCHEMA_VERSION,
        "status": RUNNING,
        **provenance(),
        "task": config.data.task,
        **config.data.caveat.to_dict(),
        "backend": config.backend,
        "backend_entry": experiment.backend.model_dump(mode="json"),
        "seed": config.seed,
        "design": config.model_dump(mode="json"),
        "quantum": _quantum(experiment, parity),
        "data": {
            "fingerprint": data.fingerprint,
            "first": str(data.span[0]),
            "last": str(data.span[1]),
            **_split_facts(data),
            "quarantine": data.quarantine.to_dict(),
            "doubts": [asdict(doubt) for doubt in data.doubts],
            "notes": list(data.notes),
        },
        "scaler": data.scaler.to_dict(),
        "static_scaler": None if data.static is None else data.static.to_dict(),
        "parameters": {
            part: sum(each.numel() for each in tensors) for part, tensors in experiment.model.parts().items()
        },
    }
    doubted = {} if plausibility is None else {"plausibility": plausibility.to_dict()}
    return RunRecord.model_validate({**content, **doubted})


def result_record(
    experiment: Experiment,
    state: TrainingState,
    evaluation: Evaluation,
    intervals: Intervals,
    watch: Stopwatch,
) -> dict[str, object]:
    """What is known after training: epochs, seconds, metrics beside the baselines', a collapse if any."""
    collapse = evaluation.collapse
    return {
        "finished": now(),
        "epochs": state.epoch,
        "best_epoch": state.best_epoch,
        "validation_loss": state.best_loss,
        "seconds": {**watch.seconds(), "train_all_legs": round(state.seconds, 4)},
        "metrics": {
            **metrics_record(evaluation, experiment.config.data.split.held_out),
            "intervals": intervals.record,
        },
        "collapse": None if collapse is None else collapse.to_dict(),
    }


def _split_facts(data: Prepared) -> dict[str, dict[str, object]]:
    """Windows of each split, and the first and last date of its targets."""
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    return {
        name: {"windows": len(split), "from": str(split.dates.min()), "to": str(split.dates.max())}
        for name, split in splits.items()
    }


def _quantum(experiment: Experiment, parity: Parity | None) -> dict[str, object] | None:
    if experiment.ansatz is None:
        return None
    facts = describe(experiment.ansatz)
    return {
        "qubits": facts.qubits,
        "inputs": experiment.ansatz.num_inputs,
        "outputs": experiment.ansatz.num_outputs,
        "weights": experiment.ansatz.num_weights,
        "angle_scaling": experiment.ansatz.angle_scaling,
        "depth": facts.depth,
        "two_qubit_gates": facts.two_qubit_gates,
        "engine": experiment.executor_name(),
        "parity_max_abs": None if parity is None else parity.max_abs,
    }
