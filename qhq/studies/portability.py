"""The same checkpoint on one backend after another, each beside the exact simulator.

plan_evaluation (backends, windows, what hardware will cost; nothing is sent)
    -> run_evaluation (backend after backend; each result is on disk before the next is asked)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from qhq.backends.devices.calibration import Calibration
from qhq.backends.devices.snapshot import save_snapshot
from qhq.backends.executor import Executor
from qhq.backends.ibm.budget import CostForecast
from qhq.backends.ibm.jobs import list_jobs
from qhq.backends.ibm.journal import STORED, in_run
from qhq.backends.ibm.spec import IBMSpec
from qhq.backends.registry import open_backend
from qhq.backends.spec import AerSpec, BackendSpec
from qhq.data.windows import Windows
from qhq.errors import QHQError
from qhq.experiment.evaluate import Evaluation, evaluate
from qhq.experiment.opening import Experiment, open_run
from qhq.experiment.record import git_commit, now, versions
from qhq.seeding import child_seed
from qhq.studies.selection import select_backends, with_shots
from qhq.studies.subset import choose_windows, sampling_error
from qhq.tracking.run_folder import RunFolder

EXACT = AerSpec(kind="aer", name="exact")
BEST_CASE = "best case: one past day's calibration, no crosstalk, no drift"


REPLAYED = "answered from the journal, nothing was sent or paid again; another --seed measures anew"


@dataclass(frozen=True)
class EvalRequest:
    """What ``qhq eval`` was asked for.

    ``backends`` are entries of ``backends.yaml``, devices or globs; ``samples`` limits the test windows to
    a seeded subset; ``shots`` replaces the shots of sampling entries; ``seed`` draws shots and subset.
    """

    backends: tuple[str, ...]
    samples: int | None = None
    shots: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class EvalPlan:
    """An evaluation that could start now; ``costs`` has one forecast for each hardware backend."""

    folder: RunFolder
    request: EvalRequest
    experiment: Experiment
    entries: tuple[BackendSpec, ...]
    windows: Windows
    costs: tuple[CostForecast, ...]


def plan_evaluation(folder: RunFolder, request: EvalRequest) -> EvalPlan:
    """Open the run, choose backends and windows, and forecast what hardware will cost.

    Raises:
        QHQError: If a backend is unknown, the folder is damaged, or a service cannot be asked.
    """
    entries = with_shots(select_backends(request.backends, _list_devices), request.shots)
    experiment = open_run(folder)
    windows = choose_windows(experiment.data.test, request.samples, request.seed)
    hardware = [entry for entry in entries if isinstance(entry, IBMSpec)]
    costs = tuple(_forecast(entry, experiment, len(windows)) for entry in hardware if experiment.ansatz)
    return EvalPlan(folder, request, experiment, tuple(entries), windows, costs)


def _forecast(entry: IBMSpec, experiment: Experiment, samples: int) -> CostForecast:
    # The client of the service takes two seconds to import.
    from qhq.backends.ibm.executor import forecast_cost

    assert experiment.ansatz is not None
    return forecast_cost(entry, experiment.ansatz, samples=samples)


def _list_devices(template: IBMSpec) -> list[str]:
    from qhq.backends.ibm.opening import list_devices

    return [each.name for each in list_devices(template) if each.state and each.state.online]


def run_evaluation(plan: EvalPlan, progress: Callable[[int, int, str], None]) -> dict[str, Any]:
    """Evaluate the checkpoint on each backend and keep the results under ``evals/``.

    Returns:
        ``run`` and ``results``, one object a backend, as the contract of the command line has it.

    Raises:
        QHQError: If a backend fails; what the backends before it gave is kept.
    """
    exact = evaluate(plan.experiment, _open(plan, EXACT), plan.windows)
    record: dict[str, Any] = {
        "run": plan.folder.name,
        "leaks": list(plan.experiment.data.leaks),
        "results": [],
    }
    try:
        for number, entry in enumerate(plan.entries):
            progress(number, len(plan.entries), entry.name)
            record["results"].append(_measure(plan, entry, exact))
    except QHQError as error:
        _keep(plan, {**record, "failed": {"backend": entry.name, "error": str(error)}})
        raise
    progress(len(plan.entries), len(plan.entries), "")
    record["file"] = str(_keep(plan, record))
    return record


def _measure(plan: EvalPlan, entry: BackendSpec, exact: Evaluation) -> dict[str, Any]:
    started, known = time.perf_counter(), _stored_jobs(entry)
    with in_run(plan.folder.name):
        executor = _open(plan, entry)
        evaluation = evaluate(plan.experiment, executor, plan.windows)
    result = _result(plan, entry, evaluation, exact)
    replayed = bool(result["job_ids"]) and set(result["job_ids"]) <= known
    return {
        **result,
        "replayed": replayed,
        "note": REPLAYED if replayed else result["note"],
        "calibration_file": _keep_calibration(plan, executor),
        "wall_seconds": time.perf_counter() - started,
    }


def _stored_jobs(entry: BackendSpec) -> set[str]:
    """Jobs whose results were in the journal before."""
    if not isinstance(entry, IBMSpec):
        return set()
    return {str(job.job_id) for job in list_jobs() if job.state == STORED}


def _open(plan: EvalPlan, entry: BackendSpec) -> Executor | None:
    if plan.experiment.ansatz is None:
        return None
    seed = child_seed(plan.request.seed, f"eval/{entry.name}")
    return open_backend(entry, plan.experiment.ansatz, seed=seed)


def _keep_calibration(plan: EvalPlan, executor: Executor | None) -> str | None:
    """Store the calibration that an evaluation ran under beside it, once; None where there is none."""
    calibration: Calibration | None = getattr(executor, "calibration", None)
    if calibration is None:
        return None
    name = f"evals/{calibration.name}-{calibration.fingerprint[:12]}.json.gz"
    if not (plan.folder.path / name).exists():
        save_snapshot(calibration, plan.folder.path / name)
    return name


def _keep(plan: EvalPlan, record: dict[str, Any]) -> object:
    request = asdict(plan.request)
    provenance = {"created": now(), "request": request, "versions": versions(), "git": git_commit()}
    return plan.folder.add_evaluation({**record, **provenance})


def _result(plan: EvalPlan, entry: BackendSpec, evaluation: Evaluation, exact: Evaluation) -> dict[str, Any]:
    metrics, report = evaluation.metrics(), evaluation.report
    skills = metrics.skill, exact.metrics().skill
    return {
        "backend": entry.name,
        "kind": entry.kind,
        "note": BEST_CASE if entry.kind == "fake" else "",
        "samples": len(evaluation.windows),
        "shots": report.shots if report else None,
        "metrics": asdict(metrics),
        "naive": asdict(evaluation.naive_metrics()),
        "delta_mae": metrics.mae - exact.metrics().mae,
        # The change of MAE is in the unit of the targets, and of several symbols the dearest makes it up.
        "delta_skill": None if skills[0] is None or skills[1] is None else skills[0] - skills[1],
        "mae_sampling_error": sampling_error(evaluation, len(plan.experiment.data.test)),
        "expectation_error": expectation_error(evaluation, exact),
        "depth": report.depth if report else None,
        "two_qubit_gates": report.two_qubit_gates if report else None,
        "layout": list(report.layout) if report and report.layout else None,
        "calibration": report.calibration if report else None,
        "qpu_seconds": report.qpu_seconds if report else 0.0,
        "job_ids": list(report.job_ids) if report else [],
    }


def expectation_error(evaluation: Evaluation, exact: Evaluation) -> float | None:
    """Mean |<O> - exact| over windows and observables; None where the model has no circuit."""
    if evaluation.expectations is None or exact.expectations is None:
        return None
    return float(np.abs(evaluation.expectations - exact.expectations).mean())
