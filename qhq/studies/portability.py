"""The same checkpoint on one backend after another, each beside the exact simulator.

plan_evaluation (backends, windows, what hardware will cost; nothing is sent)
    -> run_evaluation (all that goes to hardware is sent first, so that the queues of several devices run side
       by side; then backend after backend is measured or waited for)
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np

from qhq.backends.backend import BackendSpec
from qhq.backends.devices.calibration import Calibration, save_snapshot
from qhq.backends.executor import Executor, FloatArray, Report
from qhq.backends.ibm.budget import check_plan_together
from qhq.backends.ibm.jobs import list_jobs
from qhq.backends.ibm.journal import in_run
from qhq.backends.ibm.records import STORED
from qhq.backends.ibm.waiting import TALK
from qhq.backends.registry import kind_of
from qhq.errors import BackendError, JobError, QHQError
from qhq.evaluation.metrics import why_no_percent
from qhq.experiment.evaluate import (
    EXACT,
    WindowForecasts,
    beside_baselines,
    expectation_error,
    forecast_windows,
    is_stepwise,
    sampling_error,
)
from qhq.experiment.other_data import OtherDataRequest
from qhq.files import Json
from qhq.runs.answers import BackendResult, EvaluationRecord
from qhq.runs.looks import add_look
from qhq.runs.measures import Errors
from qhq.runs.run_folder import provenance
from qhq.runs.schema import SCHEMA_VERSION
from qhq.studies.mitigation import (
    FITTED,
    Ask,
    Gain,
    Mitigation,
    Moments,
    correct,
    date_losses_of,
    device_cost,
    gain_of,
    moments_of_draws,
    moments_of_stds,
)
from qhq.studies.portability_plan import EvalPlan, instances_of, open_for
from qhq.studies.runner import MemoryStore, Outcome, Runner, Study, StudyEvents, Values
from qhq.studies.selection import (
    Pending,
    Skipped,
    as_they_end,
    nothing_left,
    side_by_side,
)

_REPLAYED = "answered from the journal, nothing was sent or paid again; another --seed measures anew"


def run_evaluation(
    plan: EvalPlan, progress: StudyEvents | None = None, meanwhile: Callable[[], None] = lambda: None
) -> EvaluationRecord:
    """Evaluate the checkpoint on each backend and keep the results under ``evals/``.

    A backend that fails holds up no other: what was sent elsewhere is waited for and kept. ``meanwhile`` is
    done once all is sent, as the queues run.

    Raises:
        QHQError: If a backend fails, the first error; what the others gave is kept. If the plan has no time
            for all devices together, before anything is sent.
    """
    # Each forecast was checked against its instance alone; together they may ask for more than is left.
    check_plan_together(plan.costs, instances_of(plan.opened, _by_entry(plan.asks)))
    progress = progress or StudyEvents()
    study = Portability(plan)
    try:
        record = Runner(_Queues(study, progress, meanwhile), progress).run(study)
    except BaseException as fault:
        # An interrupt, or a bug in qhq: what was measured is kept, and no thread goes on unseen.
        study.stop()
        why = "interrupted" if isinstance(fault, KeyboardInterrupt) else f"{type(fault).__name__}: {fault}"
        _keep(plan, {**study.summarise(study.store.cells), "failed": {"backend": None, "error": why}})
        raise
    finally:
        study.close()
    record["skipped"] = [asdict(each) for each in study.skipped]
    if study.failures:
        name, error = study.failures[0]
        _keep(plan, {**record, "failed": {"backend": name, "error": str(error)}})
        for other, also in study.failures[1:]:
            TALK.get().tell(f"Error on {other} too: {also}")
        raise error
    if not record["results"]:
        raise nothing_left(study.skipped)
    # It is written down before it is looked at again: what it cost must not be lost to a bug in qhq.
    return EvaluationRecord.model_validate({**record, "file": str(_keep(plan, record))})


def _by_entry(asks: Sequence[Ask]) -> dict[str, list[Ask]]:
    names = dict.fromkeys(ask.entry.name for ask in asks)
    return {name: [ask for ask in asks if ask.entry.name == name] for name in names}


@dataclass(frozen=True, eq=False)
class EvaluationCell:
    """A cell: one question. It is asked in this process, which has the connections and the journal."""

    ask: Ask
    study: Portability = field(repr=False)

    @property
    def key(self) -> str:
        """Name of the backend, and of what it does against noise."""
        return self.ask.key


class Portability(Study[EvaluationCell, Json]):
    """The backends of one evaluation, those of hardware open from the moment that something is sent to them.

    Every backend is asked about the very same numbers: what was sent would not be found again otherwise. An
    evaluation is made anew each time, and what a device has answered is found in its journal, so that no
    store is needed.

    Attributes:
        failures: Backends that failed, and how.
        skipped: Those of a glob that could not be used.
    """

    title = "evaluation"

    def __init__(self, plan: EvalPlan) -> None:
        self.planned = plan
        self.store: MemoryStore[EvaluationCell] = MemoryStore()
        self.failures: list[tuple[str, QHQError]] = []
        self.skipped = list(plan.skipped)
        self.failed: set[str] = set()
        # Jobs whose results were in the journal before.
        hardware = any(kind_of(entry).is_hardware for entry in plan.entries)
        self._stored = {str(job.job_id) for job in list_jobs() if job.state == STORED} if hardware else set()
        self._hardware = dict(plan.opened)
        self._seconds: dict[str, float] = {}
        self._evaluations: dict[tuple[str, str | None], list[WindowForecasts]] = {}
        # Before anything is measured: an evaluation that was cut off has been a look all the same.
        data, name = plan.experiment.data, plan.folder.name
        shared = data.other is None or data.other.overlap.compared > 0
        self._looks = add_look(data.test, run=name, command="eval", part_of=name if shared else None)

    def plan(self) -> list[EvaluationCell]:
        """Every question."""
        return [EvaluationCell(ask, self) for ask in self.planned.asks]

    @staticmethod
    def measure(cell: EvaluationCell) -> Outcome:
        """Evaluate on a backend, and on a device wait for what was sent; nothing if it fails."""
        study = cell.study
        found: list[BackendResult] | None = study.attempt(cell.ask, partial(study.results, cell.ask))
        return Outcome({"results": [each.to_dict() for each in found or []]})

    def summarise(self, done: Mapping[str, Values]) -> Json:
        """The record of an evaluation; results in the order asked for."""
        plan, data = self.planned, self.planned.experiment.data
        return {
            "run": plan.folder.name,
            "leaks": list(data.caveat.leaks),
            "other_data": None if data.other is None else data.other.to_dict(),
            "mape_reason": why_no_percent(plan.windows),
            "looks": self._looks.to_dict(),
            "results": [
                self._with_gain(BackendResult.model_validate(result)).to_dict()
                for ask in plan.asks
                for result in done.get(ask.key, {}).get("results", [])
            ],
            "refused": [asdict(each) for each in plan.refused],
        }

    def measure_exact(self) -> None:
        """Evaluate on the exact simulator, which every backend is compared with; as the queues run."""
        plan = self.planned
        executor = (
            open_for(Ask(EXACT), plan.experiment, plan.request.seed) if plan.experiment.ansatz else None
        )
        self._exact = forecast_windows(plan.experiment, executor, plan.windows, plan.latent)

    def attempt(self, ask: Ask, act: Callable[[], Any]) -> Any:
        """Do something with a backend; if it fails it is left out, or its error is kept for the end."""
        started = time.perf_counter()
        try:
            return act()
        except QHQError as error:
            self.failed.add(ask.key)
            # A job that failed may have been paid for: that is no reason to say nothing.
            if (
                ask.entry.name in self.planned.globbed
                and isinstance(error, BackendError)
                and not isinstance(error, JobError)
            ):
                self.skipped.append(Skipped(ask.key, f"{error.must}: {error.got}"))
            else:
                self.failures.append((ask.key, error))
            return None
        finally:
            self._seconds[ask.key] = self._seconds.get(ask.key, 0.0) + time.perf_counter() - started

    def is_device(self, ask: Ask) -> bool:
        """Whether a backend has a queue, and is asked anything."""
        # Called step by step, nothing can be sent ahead: the next angles are known when the last are back.
        plan = self.planned.experiment
        return kind_of(ask.entry).is_hardware and plan.ansatz is not None and not is_stepwise(plan)

    def send(self, ask: Ask) -> None:
        """Send what a device is asked, and wait for nothing; it is asked for its calibration once more."""
        with in_run(self.planned.folder.name):
            self._hardware[ask.key].send(*self.planned.arguments(ask))

    def wait(self, ask: Ask) -> None:
        """Wait until the journal has the results of a device, each of which may come before another's."""
        with in_run(self.planned.folder.name):
            self._hardware[ask.key].wait(*self.planned.arguments(ask))

    def results(self, ask: Ask) -> list[BackendResult]:
        """Evaluate on a backend: one object of ``results`` for each method that its answers serve."""
        plan, started = self.planned, time.perf_counter()
        if plan.experiment.ansatz is None:
            return [
                self._result(
                    ask, None, forecast_windows(plan.experiment, None, plan.windows, plan.latent), None
                )
            ]
        with in_run(plan.folder.name):
            # A device is used as the forecast opened it, so that the cost that was confirmed is that of this
            # very circuit.
            executor = self._hardware.get(ask.key) or open_for(ask, plan.experiment, plan.request.seed)
            answers = [plan.answers(ask, executor)]
        report = executor.report()
        if ask.method is not None and report.shots is not None and not kind_of(ask.entry).is_hardware:
            # Once more with other shots: what differs is their variance, whatever a method made of them.
            other = open_for(ask, plan.experiment, plan.request.seed, stream="/again")
            answers.append(plan.answers(ask, other))
        rows = []
        for mitigation in ask.mitigations:
            row = self._mitigated(ask, mitigation, answers, executor, report)
            rows.append(row.updated(wall_seconds=self._wall(ask, started)))
        return rows

    def _wall(self, ask: Ask, started: float) -> float:
        return self._seconds.get(ask.key, 0.0) + time.perf_counter() - started

    def _mitigated(
        self,
        ask: Ask,
        mitigation: Mitigation | None,
        answers: list[FloatArray],
        executor: Executor,
        report: Report,
    ) -> BackendResult:
        """The result of one method, made of a backend's answers."""
        plan = self.planned
        stds = None if is_stepwise(plan.experiment) else getattr(executor, "stds", None)
        stds = None if stds is None else stds.reshape(len(answers[0]), -1)
        corrected = [
            correct(plan.experiment, mitigation, plan.latent, each, plan.lesson, stds) for each in answers
        ]
        evaluations = [
            beside_baselines(plan.experiment, plan.windows, each.scaled, each.expectations, report)
            for each in corrected
        ]
        row = self._result(ask, mitigation, evaluations[0], executor)
        if mitigation is None:
            return row
        self._evaluations[ask.entry.name, mitigation] = evaluations
        exact, variances = self._exact.expectations, corrected[0].variances
        assert exact is not None
        if kind_of(ask.entry).is_hardware:
            moments = (
                Moments(None, None)
                if variances is None
                else moments_of_stds(corrected[0].expectations, exact, variances)
            )
        else:
            moments = moments_of_draws([each.expectations for each in corrected], exact)
        fitted = plan.lesson if mitigation in FITTED else None
        rows = len(plan.windows) + (len(fitted) if fitted is not None else 0)
        cost = device_cost(executor, rows, report)
        return row.updated(
            training_windows=0 if fitted is None else len(fitted),
            circuits=cost and cost.circuits,
            executions=cost and cost.executions,
            device_seconds=cost and cost.seconds,
            expectation_bias=moments.bias,
            expectation_variance=moments.variance,
        )

    def _with_gain(self, result: BackendResult) -> BackendResult:
        """The same with what a method saves beside the same backend without it."""
        if result.mitigation in (None, "none"):
            return result
        reference = self._evaluations.get((result.backend, "none"))
        losses, name = date_losses_of(self._evaluations[result.backend, result.mitigation])
        if reference is None:
            gain = Gain(None, None, None, name, "add --mitigation none to compare with")
        else:
            horizon = self.planned.windows.cut.horizon
            gain = gain_of(losses, date_losses_of(reference)[0], name, horizon)
        return result.updated(**asdict(gain))

    def _result(
        self, ask: Ask, mitigation: Mitigation | None, evaluation: WindowForecasts, executor: Executor | None
    ) -> BackendResult:
        plan, exact, entry, started = self.planned, self._exact, ask.entry, time.perf_counter()
        metrics, report = evaluation.metrics(), evaluation.report
        skills = metrics.skill, exact.metrics().skill
        jobs = list(report.job_ids) if report else []
        # Without jobs nothing was replayed: the empty set is part of every set.
        replayed = bool(jobs) and set(jobs) <= self._stored
        return BackendResult(
            backend=entry.name,
            mitigation=mitigation,
            kind=entry.kind,
            note=_REPLAYED if replayed else kind_of(entry).note,
            samples=len(evaluation.windows),
            shots=report.shots if report else None,
            metrics=Errors(**asdict(metrics)),
            naive=Errors(**asdict(evaluation.naive_metrics())),
            baselines={
                name: Errors(**asdict(evaluation.score(each))) for name, each in evaluation.baselines.items()
            },
            delta_mae=metrics.mae - exact.metrics().mae,
            # The change of MAE is in the unit of the targets, and of several symbols the dearest makes it up.
            delta_skill=None if skills[0] is None or skills[1] is None else skills[0] - skills[1],
            mae_sampling_error=sampling_error(evaluation, len(plan.experiment.data.test)),
            expectation_error=expectation_error(evaluation, exact),
            depth=report.depth if report else None,
            two_qubit_gates=report.two_qubit_gates if report else None,
            layout=list(report.layout) if report and report.layout else None,
            calibration=report.calibration if report else None,
            qpu_seconds=report.qpu_seconds if report else 0.0,
            job_ids=jobs,
            expectation_std=_typical_std(executor),
            replayed=replayed,
            calibration_file=_keep_calibration(plan, entry, executor),
            wall_seconds=self._wall(ask, started),
        )

    def stop(self) -> None:
        """Let no thread send anything more."""
        for executor in self._hardware.values():
            executor.stop()

    def close(self) -> None:
        """Close batches and sessions: an open one costs by the wall clock."""
        for executor in self._hardware.values():
            executor.close()


class _Queues:
    """The workers of an evaluation: devices, whose queues run side by side, and this process meanwhile.

    All that goes to hardware is sent first; then simulators are measured, then each device as its results
    come: those of one are kept though another's queue is interrupted.
    """

    def __init__(self, study: Portability, progress: StudyEvents, meanwhile: Callable[[], None]) -> None:
        self.study, self.progress, self.meanwhile = study, progress, meanwhile

    def run(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """See `qhq.studies.runner.local.Workers`."""
        study, targets = self.study, list(items)
        devices = [each for each in targets if study.is_device(each.ask)]
        if devices:
            self.progress.measuring(f"sending to {', '.join(each.key for each in devices)}")
        acts = [(each, partial(study.send, each.ask)) for each in devices]
        side_by_side([partial(study.attempt, each.ask, act) for each, act in acts])
        waiting = {
            each: Pending(partial(study.attempt, each.ask, partial(study.wait, each.ask)))
            for each in devices
            if each.key not in study.failed
        }
        # Such as the imports of matplotlib: while queues run there are seconds to spare.
        self.meanwhile()
        # Only now, after all is sent: the exact values are needed by results alone, and queues wait for
        # nobody.
        study.measure_exact()
        for each in targets:
            if each not in devices:
                self.progress.measuring(each.key)
                yield each, function(each)
            elif each not in waiting:
                yield each, Outcome({"results": []})
        left = [each.key for each in waiting]
        if left:
            self.progress.measuring(f"waiting for {', '.join(left)}")
        for each, _ in as_they_end(waiting):
            if each.key in study.failed:
                yield each, Outcome({"results": []})
            else:
                self.progress.measuring(each.key)
                yield each, function(each)
            left.remove(each.key)
            if left:
                self.progress.measuring(f"waiting for {', '.join(left)}")


def _typical_std(executor: Executor | None) -> float | None:
    """Standard error of one expectation value, root mean square, as a service has it; None without one."""
    stds: Any = getattr(executor, "stds", None)
    if stds is None or not np.isfinite(stds).any():
        return None
    return float(np.sqrt(np.mean(stds[np.isfinite(stds)] ** 2)))


def _keep_calibration(plan: EvalPlan, entry: BackendSpec, executor: Executor | None) -> str | None:
    """Store the calibration that an evaluation ran under beside it, once; None where there is none."""
    calibration: Calibration | None = getattr(executor, "calibration", None)
    if calibration is None:
        return None
    # Never what the device calls itself: a snapshot of somebody else's may call it ``../../x``.
    name = f"evals/{re.sub(r'[^A-Za-z0-9_-]', '_', entry.name)[:60]}-{calibration.fingerprint[:12]}.json.gz"
    path = plan.folder.file(name)
    if not path.exists():
        save_snapshot(calibration, path)
    return name


def _keep(plan: EvalPlan, record: Json) -> object:
    request = {**asdict(plan.request), "data": _asked_data(plan.request.data)}
    path = plan.folder.add_evaluation(
        {"schema_version": SCHEMA_VERSION, **record, **provenance(), "request": request}
    )
    # It names jobs and what they cost: the user's alone, like the journal that they stand in.
    path.chmod(0o600)
    return path


def _asked_data(request: OtherDataRequest) -> Json | None:
    if not request:
        return None
    since = None if request.since is None else str(request.since)
    return {"path": request.path, "set": list(request.overrides), "since": since}
