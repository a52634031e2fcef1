"""The same checkpoint on one backend after another, each beside the exact simulator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from qhq.backends.executor import Executor
from qhq.backends.registry import open_backend
from qhq.backends.spec import AerSpec, BackendSpec, load_backends
from qhq.data.windows import Windows
from qhq.errors import ConfigError, nearest
from qhq.experiment.evaluate import Evaluation, evaluate
from qhq.experiment.opening import Experiment, open_run
from qhq.experiment.record import git_commit, now, versions
from qhq.seeding import child_seed
from qhq.studies.subset import choose_windows
from qhq.tracking.run_folder import RunFolder

EXACT = AerSpec(kind="aer", name="exact")


@dataclass(frozen=True)
class EvalRequest:
    """What ``qhq eval`` was asked for.

    ``backends`` are entries of ``backends.yaml`` or globs; ``samples`` limits the test windows to a
    seeded subset; ``shots`` replaces the shots of sampling entries; ``seed`` draws shots and subset.
    """

    backends: tuple[str, ...]
    samples: int | None = None
    shots: int | None = None
    seed: int = 0


def evaluate_run(folder: RunFolder, request: EvalRequest) -> dict[str, Any]:
    """Evaluate a run's checkpoint on each backend asked for and keep the result under ``evals/``.

    Returns:
        ``run`` and ``results``, one object a backend, as the contract of the command line has it.

    Raises:
        QHQError: If a backend is unknown, the folder is damaged, or a backend cannot be opened.
    """
    entries = select_backends(request.backends, load_backends(), request.shots)
    experiment = open_run(folder)
    test = experiment.data.test
    windows = choose_windows(test, request.samples, request.seed)
    exact = _evaluate_on(experiment, EXACT, windows, request.seed)
    results = []
    for entry in entries:
        evaluation = _evaluate_on(experiment, entry, windows, request.seed)
        results.append(_result(entry, evaluation, exact))
    record = {"run": folder.name, "results": results}
    provenance = {"created": now(), "request": asdict(request), "versions": versions(), "git": git_commit()}
    folder.add_evaluation({**record, **provenance})
    return record


def select_backends(
    wanted: tuple[str, ...], known: Mapping[str, BackendSpec], shots: int | None
) -> list[BackendSpec]:
    """Entries that names and globs stand for, each once, in the order asked for.

    Raises:
        ConfigError: If one stands for none, or ``shots`` is given and every entry is exact.
    """
    chosen: dict[str, BackendSpec] = {}
    for name in wanted:
        matches = [entry for entry in known if fnmatchcase(entry, name)]
        if not matches:
            raise ConfigError(
                "--backend must be an entry of backends.yaml, or a glob that matches one",
                got=f"'{name}'",
                fix=nearest(name, known),
            )
        chosen.update({match: known[match] for match in matches})
    if shots is None:
        return list(chosen.values())
    if all(entry.shots is None for entry in chosen.values()):
        raise ConfigError(
            "--shots needs a sampling backend",
            got=f"--shots {shots} with {', '.join(chosen)}, exact",
            fix="Add --backend aer_shots, or leave --shots out",
        )
    return [
        entry if entry.shots is None else entry.model_copy(update={"shots": shots})
        for entry in chosen.values()
    ]


def _evaluate_on(experiment: Experiment, entry: BackendSpec, windows: Windows, seed: int) -> Evaluation:
    executor: Executor | None = None
    if experiment.ansatz is not None:
        executor = open_backend(entry, experiment.ansatz, seed=child_seed(seed, f"eval/{entry.name}"))
    return evaluate(experiment, executor, windows)


def _result(entry: BackendSpec, evaluation: Evaluation, exact: Evaluation) -> dict[str, Any]:
    metrics, report = evaluation.metrics(), evaluation.report
    error = None
    if evaluation.expectations is not None and exact.expectations is not None:
        error = float(np.abs(evaluation.expectations - exact.expectations).mean())
    return {
        "backend": entry.name,
        "samples": len(evaluation.windows),
        "shots": report.shots if report else None,
        "metrics": asdict(metrics),
        "naive": asdict(evaluation.naive_metrics()),
        "delta_mae": metrics.mae - exact.metrics().mae,
        "expectation_error": error,
        "depth": report.depth if report else None,
        "two_qubit_gates": report.two_qubit_gates if report else None,
        "layout": list(report.layout) if report and report.layout else None,
        "calibration": report.calibration if report else None,
        "qpu_seconds": report.qpu_seconds if report else 0.0,
        "job_ids": list(report.job_ids) if report else [],
    }
