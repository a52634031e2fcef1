"""What a run records of itself: design, data, versions, git commit, results."""

from __future__ import annotations

import datetime
import platform
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from qhq import __version__
from qhq.ansatz.describe import describe
from qhq.backends.parity import Parity
from qhq.data.prepare import Prepared
from qhq.experiment.evaluate import Evaluation
from qhq.experiment.opening import Experiment
from qhq.experiment.results import metrics_record
from qhq.training.loop import TrainingState

PACKAGES = ("qiskit", "qiskit-aer", "qiskit-machine-learning", "torch", "numpy", "pandas")


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


def design_record(experiment: Experiment, parity: Parity | None) -> dict[str, Any]:
    """What is known before training: the run's design and what it runs on."""
    config, data = experiment.config, experiment.data
    return {
        "created": now(),
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
            **_parts(data),
            "quarantine": data.quarantine.to_dict(),
            "doubts": [asdict(doubt) for doubt in data.doubts],
            "notes": list(data.notes),
        },
        "scaler": data.scaler.to_dict(),
        "static_scaler": None if data.static is None else data.static.to_dict(),
        "parameters": {
            part: sum(each.numel() for each in tensors) for part, tensors in experiment.model.parts().items()
        },
        "versions": versions(),
        "git": git_commit(),
    }


def result_record(
    experiment: Experiment, state: TrainingState, evaluation: Evaluation, watch: Stopwatch
) -> dict[str, Any]:
    """What is known after training: epochs, seconds, metrics beside the baselines', a collapse if any."""
    collapse = evaluation.collapse
    return {
        "finished": now(),
        "epochs": state.epoch,
        "best_epoch": state.best_epoch,
        "validation_loss": state.best_loss,
        "seconds": {**watch.seconds(), "train_all_legs": round(state.seconds, 4)},
        "metrics": metrics_record(evaluation, experiment.config.data.split.held_out),
        "collapse": None if collapse is None else collapse.to_dict(),
    }


def versions() -> dict[str, str]:
    """Versions of Python, qhq and the packages that decide numbers."""
    found = {"python": platform.python_version(), "qhq": __version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found


def git_commit() -> dict[str, Any] | None:
    """Commit of the current folder's repository and whether it has changes; None outside of one."""
    commit, status = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    return None if commit is None else {"commit": commit, "changed": bool(status)}


def now() -> str:
    """Now, in UTC, as ISO 8601."""
    return datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds")


def _git(*arguments: str) -> str | None:
    try:
        answer = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def _parts(data: Prepared) -> dict[str, dict[str, Any]]:
    """Windows of each part, and the first and last date of its targets."""
    parts = {"train": data.train, "validation": data.validation, "test": data.test}
    return {
        name: {"windows": len(part), "from": str(part.dates.min()), "to": str(part.dates.max())}
        for name, part in parts.items()
    }


def _quantum(experiment: Experiment, parity: Parity | None) -> dict[str, Any] | None:
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
