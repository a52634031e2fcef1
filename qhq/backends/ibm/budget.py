"""What a device will cost before it costs anything, and the cap that refuses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from qhq.backends.backend import DeviceState
from qhq.backends.devices.isa import JOB_SECONDS
from qhq.backends.executor import CostForecast, FloatArray, HardwareExecutor
from qhq.backends.ibm import IBMSpec, calibration_circuits, circuits_per_sample, shots_per_circuit
from qhq.backends.ibm.records import LaidOut
from qhq.errors import BackendError, apart

# Shots of all circuits that one job may have.
# IBM's own limit: a job of more is refused by the service.
_MOST_EXECUTIONS = 10_000_000


def count_circuits(spec: IBMSpec, program: LaidOut, rows: Sequence[int]) -> int:
    """Circuits of jobs with so many rows each, those that learn the readout errors included."""
    each = program.settings * circuits_per_sample(spec)
    return sum(rows) * each + len(rows) * calibration_circuits(spec)


def estimate_seconds(spec: IBMSpec, program: LaidOut, rows: Sequence[int]) -> float:
    """Time on the device of jobs with so many rows each.

    Every job takes 2 s, and every shot the time of its gates, of its readout and of the pause of the device
    (``rep_delay``), all from the latest calibration. With ZNE, gates that are folded take as much longer as
    the noise factor says.
    """
    factors = spec.zne.noise_factors if spec.is_on(spec.zne.enable, from_level=2) else (1.0,)
    sample = sum(program.idle_seconds + factor * program.gate_seconds for factor in factors)
    learning = calibration_circuits(spec) * program.idle_seconds
    circuits = sum(rows) * program.settings * sample + len(rows) * learning
    return len(rows) * JOB_SECONDS + shots_per_circuit(spec) * circuits


def seconds_of_jobs(spec: IBMSpec, program: LaidOut, rows: Sequence[int]) -> list[float]:
    """Time on the device of each job with so many rows; see :func:`estimate_seconds`."""
    return [estimate_seconds(spec, program, [each]) for each in rows]


def rows_per_job(spec: IBMSpec, program: LaidOut) -> int:
    """Most rows of values that one job may have.

    Raises:
        BackendError: If one row alone is more than a job may have.
    """
    each = program.settings * circuits_per_sample(spec) * shots_per_circuit(spec)
    # The circuit that learns the readout errors counts towards the limit of the job too.
    spare = _MOST_EXECUTIONS - calibration_circuits(spec) * shots_per_circuit(spec)
    if spare < each:
        raise BackendError(
            f"A job must stay within {_MOST_EXECUTIONS:,} shots of all its circuits",
            got=f"{spec.shots:,} shots a value on {spec.name}, too many for one sample",
            fix="Lower --shots; nothing was sent",
        )
    return min(spec.samples_per_job, spare // each)


def rows_of_jobs(spec: IBMSpec, program: LaidOut, samples: int) -> list[int]:
    """How many rows each job of so many samples has."""
    step = rows_per_job(spec, program)
    return [min(step, samples - start) for start in range(0, samples, step)]


def check_cap(spec: IBMSpec, jobs: Sequence[float], spent: float) -> None:
    """Refuse jobs that would go beyond the cap of the entry.

    The service stops a job after whole seconds, so each must have at least its forecast, rounded up.

    Args:
        spec: The entry.
        jobs: Forecast of each job, seconds.
        spent: Seconds that others took, or may still take.

    Raises:
        BackendError: If they would.
    """
    if spec.max_qpu_seconds is None or not jobs:
        return
    # The service counts whole seconds of each job, so the cap must hold for the rounded sum.
    needed, whole = sum(jobs), sum(map(math.ceil, jobs))
    if spent + whole > spec.max_qpu_seconds:
        so_far = f" after {spent:.1f} s" if spent else ""
        rounded = "" if spent + needed > spec.max_qpu_seconds else f", {whole} s in whole seconds a job"
        raise BackendError(
            "A run on a device must stay within max_qpu_seconds",
            got=f"about {_seconds(needed, spec.max_qpu_seconds)} s{rounded} on {spec.name}{so_far},"
            f" cap {spec.max_qpu_seconds:g} s",
            fix="Lower --samples or --shots, or raise max_qpu_seconds of the entry; nothing was sent",
        )


def job_limits(spec: IBMSpec, jobs: Sequence[float], spent: float) -> list[int] | None:
    """Whole seconds after which the service stops each job; None where the entry has no cap.

    What the cap leaves is shared out by the forecasts, so that all jobs together cannot take more than it,
    whatever the forecasts are worth.

    Args:
        spec: The entry.
        jobs: Forecast of each job, seconds.
        spent: Seconds that others took, or may still take.

    Raises:
        BackendError: If the cap leaves too little.

    >>> spec = IBMSpec(kind="ibm", name="ibm_fez", max_qpu_seconds=60)
    >>> job_limits(spec, [2.5, 2.5, 5.0], spent=9.5)
    [12, 12, 24]
    """
    check_cap(spec, jobs, spent)
    if spec.max_qpu_seconds is None:
        return None
    # Each has its forecast; what is left over goes by the forecasts, rounded down, so that the sum keeps to
    # the cap.
    least = [math.ceil(each) for each in jobs]
    spare = math.floor(spec.max_qpu_seconds - spent) - sum(least)
    return [low + int(spare * each / sum(jobs)) for low, each in zip(least, jobs, strict=True)]


def check_plan(spec: IBMSpec, needed: float, remaining: float | None) -> None:
    """Refuse what the plan has no time for: the service would take it and let it wait.

    Raises:
        BackendError: If too little is left.
    """
    if remaining is not None and (remaining <= 0 or needed > remaining):
        raise BackendError(
            "The plan must have the time left that a run needs",
            got=f"about {_seconds(needed, remaining)} s on {spec.name}, {_seconds(remaining, needed)} s left",
            fix="Lower --samples or --shots, wait for the next period of the plan, or take another instance; "
            "nothing was sent",
        )


def check_plan_together(costs: Sequence[CostForecast], instances: Mapping[str, str]) -> None:
    """Refuse jobs of several devices that the plan has no time for together: each alone may fit.

    Args:
        costs: Forecasts, one a device.
        instances: The instance, and so the plan, that each device is used through.

    Raises:
        BackendError: If too little is left.
    """
    for instance in sorted(set(instances.values())):
        shared = [each for each in costs if each.jobs and instances.get(each.backend) == instance]
        left = [each.remaining_seconds for each in shared if each.remaining_seconds is not None]
        needed = sum(each.qpu_seconds for each in shared)
        if len(shared) > 1 and left and needed > min(left):
            raise BackendError(
                "The plan must have the time left that all devices need together",
                got=f"about {needed:.1f} s on {', '.join(dict.fromkeys(each.backend for each in shared))}, "
                f"{min(left):.1f} s left",
                fix="Lower --samples or --shots, or name fewer devices; nothing was sent",
            )


def forecast_within_cap(
    questions: Sequence[tuple[HardwareExecutor, FloatArray, FloatArray]],
) -> list[CostForecast]:
    """The cost of several questions to one device; all together stay within the cap of its entry.

    Args:
        questions: Executors of the same entry, each with its inputs (B, I) and weights (W,).

    Raises:
        BackendError: If the service does not answer.
    """
    costs = [executor.forecast(len(inputs), inputs, weights) for executor, inputs, weights in questions]
    cap = costs[0].max_qpu_seconds
    if len(costs) == 1 or cap is None:
        return costs
    # Each alone might fit, and would be given all of the cap.
    spare = max(0.0, cap - sum(cost.spent_seconds for cost in costs))
    needed = sum(cost.qpu_seconds for cost in costs)
    shared = []
    for (executor, inputs, weights), cost in zip(questions, costs, strict=True):
        part = spare * cost.qpu_seconds / needed if needed else 0.0
        executor.share_cap(cost.spent_seconds + part)
        shared.append(executor.forecast(len(inputs), inputs, weights))
    return shared


def add_costs(costs: Sequence[CostForecast]) -> CostForecast:
    """One forecast for several questions to one device, whose plan must have time for all of them."""
    first, most = costs[0], [each.most_seconds for each in costs if each.most_seconds is not None]
    caps = [each.max_qpu_seconds for each in costs if each.max_qpu_seconds is not None]
    whole = replace(
        first,
        samples=sum(each.samples for each in costs),
        jobs=sum(each.jobs for each in costs),
        pubs=sum(each.pubs for each in costs),
        circuits=sum(each.circuits for each in costs),
        executions=sum(each.executions for each in costs),
        qpu_seconds=sum(each.qpu_seconds for each in costs),
        # Each has its share of the entry's.
        max_qpu_seconds=round(sum(caps), 6) if caps else None,
        refusal=next((each.refusal for each in costs if each.refusal), None),
        held_samples=sum(each.held_samples for each in costs),
        spent_seconds=sum(each.spent_seconds for each in costs),
        most_seconds=sum(most) if len(most) == len(costs) else None,
    )
    try:
        check_plan_together(costs, {first.backend: ""})
    except BackendError as error:
        return replace(whole, refusal=whole.refusal or f"{error.must}: {error.got}")
    return whole


def forecast_refusal(
    spec: IBMSpec, jobs: Sequence[float], spent: float, state: DeviceState, remaining: float | None
) -> str | None:
    """Why jobs would be refused as things are, by cap, plan or device; None if they would not."""
    if not jobs:
        return None
    try:
        check_cap(spec, jobs, spent)
        check_plan(spec, sum(jobs), remaining)
    except BackendError as error:
        return f"{error.must}: {error.got}"
    return None if state.online else f"{spec.name} is {state.message or 'offline'}"


def beside_service(forecast: CostForecast, seconds: float) -> CostForecast:
    """A forecast with what the service expects beside it, and what that would mean."""
    notes = []
    if forecast.most_seconds is not None and seconds > forecast.most_seconds:
        notes.append(
            f"the cap leaves {forecast.most_seconds:g} s, after which the service would stop the jobs"
        )
    if forecast.remaining_seconds is not None and seconds > forecast.remaining_seconds:
        notes.append(f"the plan has {forecast.remaining_seconds:.1f} s left")
    return replace(forecast, service_seconds=seconds, service_note="; ".join(notes) or None)


def _seconds(seconds: float, other: float) -> str:
    """Tenths of a second, or what it takes to tell them from others that they are compared with."""
    shown = f"{seconds:.1f}"
    return shown if shown != f"{other:.1f}" or seconds == other else apart(seconds, other)[0]
