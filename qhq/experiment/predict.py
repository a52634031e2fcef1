"""What has not happened yet: a run's forecast of the sessions after the last row, with intervals.

    plan_prediction   the run's source brought up to date, or another file; windows, and what the encoder
                      makes of them: all that a backend is asked
    -> predict        the forecasts of one backend in the unit of the data, their intervals at every level,
                      and what has come true of those that were asked for with ``since``

Nothing is fitted here: weights, scalers and the errors that intervals are made of are the run's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import torch

from qhq.backends.executor import Executor
from qhq.backends.local.statevector import StatevectorExecutor
from qhq.backends.registry import kind_of
from qhq.data.ahead import Ahead, prepare_ahead, say_calendar, say_jumps
from qhq.data.load import load_panel
from qhq.data.windows import Windows
from qhq.errors import ConfigError, DataError
from qhq.evaluation.baselines.persistence import in_sample_naive_mae, last_value, symbol_scale
from qhq.evaluation.conformal import COVERAGE, Conformal, coverage_of, fit_conformal, follow_conformal
from qhq.evaluation.metrics import score_windows
from qhq.evaluation.probabilistic import column_of
from qhq.experiment.evaluate import (
    EXACT,
    Array,
    circuit_arguments,
    encode,
    forecast_quantiles,
    forecast_scaled,
)
from qhq.experiment.opening import Experiment
from qhq.experiment.other_data import AskedData, OtherDataRequest, read_request, tell_format
from qhq.experiment.reopening import open_trained, read_finished
from qhq.experiment.words import say_test, say_untrained
from qhq.paths import as_argument
from qhq.runs.answers import (
    ForecastRow,
    LeftOutSeries,
    OtherDataRecord,
    PredictionRecord,
    ScoredRecord,
    SkillRecord,
)
from qhq.runs.comparison import run_skill
from qhq.runs.looks import add_look
from qhq.runs.measures import Errors
from qhq.runs.record import Looks, RunRecord
from qhq.runs.run_folder import FINISHED, WALK, RunFolder, read_walk


@dataclass(frozen=True)
class PredictRequest:
    """What ``qhq predict`` was asked for.

    Attributes:
        data: Where rows come from; ``since`` is the first target of the sessions behind.
        levels: Probabilities that the intervals are to hold.
        until: Last session of the horizon that is asked for; None is all of it.
        offline: Whether Yahoo's prices are taken from the cache alone.
    """

    data: OtherDataRequest = field(default_factory=OtherDataRequest)
    levels: tuple[float, ...] = (COVERAGE,)
    until: date | None = None
    offline: bool = False


@dataclass(frozen=True)
class Skill:
    """What a run was measured to be worth beside the last-value forecast.

    Attributes:
        value: 1 - MAE / MAE of the last value, averaged over symbols; None if the last value never errs.
        shown: Whether a test over many dates and several models shows it.
        verdict: Both in a sentence.
    """

    value: float | None
    shown: bool
    verdict: str


@dataclass(frozen=True, eq=False)
class PredictPlan:
    """A prediction that could be made now.

    Attributes:
        folder: The run, of a walk-forward its newest fold.
        name: Of the run or the walk-forward that was asked for.
        request: What was asked for.
        experiment: The run on its data.
        ahead: What is to be forecast.
        latent: What the encoder makes of it, shape (N, I).
        skill: What the run was measured to be worth.
        trained_to: Last date of a target that it was trained on.
    """

    folder: RunFolder
    name: str
    request: PredictRequest
    experiment: Experiment
    ahead: Ahead
    latent: torch.Tensor
    skill: Skill
    trained_to: str

    @property
    def count(self) -> int:
        """Windows that are forecast, N."""
        return len(self.ahead.windows)

    def arguments(self) -> tuple[Array, Array]:
        """What a circuit is run at: angles (N, I), and weights (W,)."""
        return circuit_arguments(self.experiment, self.latent)


@dataclass(frozen=True, eq=False)
class AheadForecasts:
    """Forecasts of one backend, (N, H, K) as windows have them, and their ends (N, H, K) at each level.

    ``quantiles`` are those that a model of a distribution gives, by level, (N, H, K) each. ``errors`` is the
    backend whose errors made the intervals, and ``intervals`` says how, for people.
    """

    plan: PredictPlan
    forecast: Array
    ends: Mapping[float, tuple[Array, Array]]
    looks: Looks | None
    quantiles: Mapping[float, Array] = field(default_factory=dict)
    errors: str = EXACT.name
    intervals: str = ""

    def rows(self) -> list[ForecastRow]:
        """One row a window, session, target and level, in the order of the dates, then of the symbols."""
        windows, until = self.plan.ahead.windows, self.plan.request.until
        symbols, made = windows.symbol.tolist(), windows.input_dates[:, -1].astype(str).tolist()
        days, actual, last = windows.dates, windows.targets, last_value(windows)
        limit = None if until is None else np.datetime64(until, "D")
        rows = []
        for place in np.ndindex(*self.forecast.shape):
            number, step, target = place
            if limit is not None and days[number, step] > limit:
                continue
            came = float(actual[place])
            spread = {column_of(level): float(each[place]) for level, each in self.quantiles.items()}
            rows += [
                ForecastRow.model_validate(
                    {
                        "symbol": symbols[number],
                        "made_after": made[number],
                        "date": str(days[number, step]),
                        "horizon": step + 1,
                        "target": windows.cut.targets[target],
                        "forecast": float(self.forecast[place]),
                        "low": float(low[place]),
                        "high": float(high[place]),
                        "level": level,
                        "last_value": float(last[place]),
                        "actual": came if np.isfinite(came) else None,
                        **spread,
                    }
                )
                for level, (low, high) in self.ends.items()
            ]
        return rows

    def scored(self) -> ScoredRecord | None:
        """Errors and coverage of the forecasts that have come true; None if none has."""
        windows = self.plan.ahead.windows
        true = np.flatnonzero(_has_come(windows))
        if not len(true):
            return None
        came, train = windows.select(true), self.plan.experiment.data.train
        # Other rows may begin behind the training split: then there is no scale, and no MASE.
        scale = symbol_scale(came, in_sample_naive_mae(train) if len(train) else {})
        naive = last_value(came)
        coverage = [
            asdict(each)
            for level, ends in self.ends.items()
            for each in coverage_of((ends[0][true], ends[1][true]), came, level, came.targets)
        ]
        return ScoredRecord(
            windows=len(came),
            first=str(came.dates.min()),
            last=str(came.dates.max()),
            metrics=Errors(**asdict(score_windows(came, self.forecast[true], naive, scale))),
            naive=Errors(**asdict(score_windows(came, naive, naive, scale))),
            coverage=coverage,
            looks=self.looks,
        )


def plan_prediction(folder: RunFolder, request: PredictRequest) -> PredictPlan:
    """Open a run, bring its data up to date and cut what is to be forecast.

    Args:
        folder: A run, or a walk-forward, of which the newest fold forecasts.
        request: What is asked for.

    Raises:
        QHQError: If the run is not finished, the data cannot be read or do not fit it, or no series has what
            a forecast takes.
    """
    name, (folder, skill) = folder.name, _forecaster(folder)
    record = read_finished(folder)
    for level in request.levels:
        if not 0 < level < 1:
            raise ConfigError(
                "--level must lie between 0 and 1", got=f"{level:g}", fix="Take 0.9, for example"
            )
    asked = _asked(folder, request)
    try:
        ahead = _read_ahead(asked, request, record)
    except DataError as error:
        raise tell_format(error, asked.known.spec, request.data) from error
    experiment = open_trained(folder, ahead.data)
    latent = encode(experiment, ahead.windows)
    trained_to = str(asked.known.splits["train"][1])
    return PredictPlan(folder, name, request, experiment, ahead, latent, skill, trained_to)


def forecast_ahead(plan: PredictPlan, executor: Executor | None, backend: str = EXACT.name) -> AheadForecasts:
    """Forecast with the run's weights, its circuit run by an executor.

    Args:
        plan: What is to be forecast.
        executor: The circuit on a backend; None if the run has none.
        backend: Name of its entry.

    Raises:
        QHQError: If the backend fails, or a level needs more windows than the validation split has.
    """
    windows = plan.ahead.windows
    scaled, expectations = forecast_scaled(plan.experiment, executor, windows, plan.latent)
    forecast = plan.experiment.data.scaler.to_raw_units(scaled, windows)
    found = _own_errors(plan, backend)
    own = [] if found is None else [each.level for each in found]
    ends = _intervals(plan, forecast, found or [])
    came = windows.select(_has_come(windows))
    looks = None
    if len(came):
        other = plan.experiment.data.other
        shared = other is None or other.overlap.compared > 0
        looks = add_look(came, run=plan.name, command="predict", part_of=plan.name if shared else None)
    quantiles = forecast_quantiles(plan.experiment, windows, plan.latent, expectations)
    every = all(level in own for level in ends)
    errors, said = (backend if every else EXACT.name), _say_intervals(plan, backend, own, exact=found is None)
    return AheadForecasts(plan, forecast, ends, looks, quantiles, errors, said)


def _forecaster(folder: RunFolder) -> tuple[RunFolder, Skill]:
    """The run that forecasts, and its measured skill: of a walk-forward the newest fold, and that of all."""
    if not folder.file(WALK).is_file():
        record = read_finished(folder)
        tested = record.tested()
        said = say_test(tested)
        # Of a run that kept its baseline there is nothing to test.
        if not say_untrained(record):
            said += f" 'qhq ablate {as_argument(folder.path)}' tests it over several seeds."
        return folder, Skill(run_skill(tested), False, said)
    walk = read_walk(folder)
    if walk.status != FINISHED or not walk.folds:
        raise ConfigError(
            "Only a finished walk-forward can forecast",
            got=f"{folder.name}, which was cut off or is still training",
            fix=f"Continue it with 'qhq train --resume {as_argument(folder.path)}'",
        )
    newest = RunFolder(folder.file(f"fold-{walk.folds[-1].fold:03d}"))
    return newest, Skill(run_skill(walk.tested()), walk.beats_last_value, str(walk.verdict))


def _asked(folder: RunFolder, request: PredictRequest) -> AskedData:
    """The run's source to its newest row, unless the request itself says where it ends."""
    data = request.data
    # Before the user's own overrides, which win where they say otherwise.
    own = ("data.offline=true",) if request.offline else ()
    asked = read_request(folder, replace(data, overrides=(*own, *data.overrides), since=None))
    keys = {each.partition("=")[0].strip() for each in data.overrides}
    if data.path is not None or "data.end" in keys:
        return asked
    # A config of source yahoo must name its end, for a training that can be repeated: none is the newest row.
    return replace(asked, spec=asked.spec.model_copy(update={"end": None}))


def _read_ahead(asked: AskedData, request: PredictRequest, record: RunRecord) -> Ahead:
    spec = asked.spec
    try:
        panel = load_panel(spec)
    except DataError as error:
        if request.data or spec.path is None:
            raise
        # A run folder of somebody else may name any file: no line of it belongs into a message or a log.
        raise DataError(
            "The file of prices that a run names must be one that qhq can read",
            got=f"{spec.path}, named by {record.run}",
            fix=f"'qhq data check {as_argument(spec.path)}' says what is wrong; name another with"
            " --data FILE",
        ) from error
    return prepare_ahead(
        panel, spec, asked.known, asked.scalers, since=request.data.since, until=request.until
    )


def _exact(experiment: Experiment, windows: Windows) -> Array:
    """Forecasts of the exact engine in the unit of the data, (N, H, K)."""
    executor = None if experiment.ansatz is None else StatevectorExecutor(experiment.ansatz)
    scaled = forecast_scaled(experiment, executor, windows)[0]
    return experiment.data.scaler.to_raw_units(scaled, windows)


def _own_errors(plan: PredictPlan, backend: str) -> list[Conformal] | None:
    """Radii by the errors that a run measured on the backend it forecasts on; None where it measured none.

    Only the fit of a head asks a backend for the validation split. These radii hold on that backend alone:
    what another one gives, the exact engine among them, has other errors.
    """
    record, entry = read_finished(plan.folder), plan.experiment.backend
    exact = entry.shots is None and not entry.is_noisy and not kind_of(entry).is_hardware
    fitted = record.head is not None or record.finetuned is not None
    if not fitted or exact or record.quantum is None or backend != record.backend:
        return None
    intervals = None if record.metrics is None else record.metrics.intervals
    if intervals is None or intervals.conformal is None:
        return []
    return [Conformal.from_dict(each.to_dict()) for each in (intervals.conformal, *intervals.levels)]


def _intervals(
    plan: PredictPlan, forecast: Array, own: Sequence[Conformal]
) -> dict[float, tuple[Array, Array]]:
    """Ends (N, H, K) of the intervals at every level, of the kind that the run's config asks for.

    Levels that the run measured on this backend (``own``) are split conformal: what came after its validation
    split would have to be asked of the backend before the level could follow it.
    """
    experiment, ahead = plan.experiment, plan.ahead
    windows, held = ahead.windows, experiment.data.validation
    adaptive = experiment.config.intervals == "adaptive"
    # On the exact engine, whatever the backend: a device would have to be paid for each of these windows.
    measured = {each.level: each for each in own}
    levels = dict.fromkeys(plan.request.levels)
    asked = not measured.keys() >= levels.keys()
    before = _exact(experiment, held) if asked and len(held) else None
    history, past = ahead.history, None
    if adaptive and asked:
        # Sessions asked for with --since lie in both, and would move the level twice.
        history = history.select(~np.isin(history.starts, windows.starts))
        past = _exact(experiment, history) if len(history) else np.empty((0, *forecast.shape[1:]))
    found = {}
    for level in levels:
        if level in measured:
            found[level] = measured[level].interval(windows, forecast)
            continue
        conformal = _conformal(plan, held, before, level)
        if before is None or past is None:
            found[level] = conformal.interval(windows, forecast)
            continue
        every = replace(windows, starts=np.concatenate([history.starts, windows.starts]))
        followed = follow_conformal(conformal, (held, before), (every, np.concatenate([past, forecast])))
        found[level] = followed.ends[0][len(history) :], followed.ends[1][len(history) :]
    return found


def _conformal(plan: PredictPlan, held: Windows, before: Array | None, level: float) -> Conformal:
    """The radius at a level: measured on the run's validation split, or as the run's record has it."""
    if before is not None and plan.ahead.own:
        return fit_conformal(held, before, level)
    metrics = read_finished(plan.folder).metrics
    intervals = None if metrics is None else metrics.intervals
    known = None if intervals is None or intervals.conformal is None else intervals.conformal
    if known is not None and known.level == level:
        return Conformal.from_dict(known.to_dict())
    if before is not None:
        return fit_conformal(held, before, level)
    raise DataError(
        "A level other than the run's needs the rows of its validation split",
        got=f"level {level:g}, and rows that begin after it",
        fix="Give all rows, from the run's on, or leave --level out",
    )


def _has_come(windows: Windows) -> Any:
    """Whether all targets of a window are known, shape (N,)."""
    return np.isfinite(windows.targets).all(axis=(1, 2))


def prediction_record(
    prediction: AheadForecasts, backend: str, today: date | None = None
) -> PredictionRecord:
    """A prediction's rows, and all that must be said of them."""
    plan = prediction.plan
    ahead = plan.ahead
    now = today or date.today()
    other = plan.experiment.data.other
    return PredictionRecord(
        run=plan.name,
        leaks=list(plan.experiment.data.caveat.leaks),
        backend=backend,
        trained_to=plan.trained_to,
        last_row=str(ahead.last),
        age_days=int((np.datetime64(now, "D") - ahead.last).astype(int)),
        sessions_missed=ahead.calendar.missed(now),
        session=str(ahead.sessions[0]),
        half_day=ahead.calendar.is_half_day(ahead.sessions[0]),
        calendar=ahead.calendar.words,
        period=ahead.calendar.every or "session",
        intervals=prediction.intervals,
        errors_of=prediction.errors,
        skill=SkillRecord(**asdict(plan.skill)),
        data=None if other is None else OtherDataRecord.model_validate(other.to_dict()),
        fingerprint=plan.experiment.data.fingerprint,
        left_out=[LeftOutSeries(**asdict(each)) for each in ahead.left_out],
        expired=ahead.expired,
        notes=_notes(plan),
        called=dict(ahead.called),
        rows=prediction.rows(),
        scored=prediction.scored(),
    )


def _notes(plan: PredictPlan) -> list[str]:
    """What is to be known of the rows, without the last full stop."""
    ahead, other = plan.ahead, plan.experiment.data.other
    notes = [] if other is None else other.row_notes()
    metrics = read_finished(plan.folder).metrics
    there = set(ahead.windows.panel.group_names) | set(ahead.windows.panel.symbols)
    gone = [name for name in ({} if metrics is None else metrics.symbols) if name not in there]
    # A list of symbols on the command line says which are wanted.
    if gone and not any(each.startswith("data.symbols") for each in plan.request.data.overrides):
        notes.append(f"Without a row here, though the run knows them: {', '.join(gone)}")
    calendar = say_calendar(ahead)
    return [*notes, *say_jumps(ahead), *([calendar] if calendar else [])]


def _say_intervals(plan: PredictPlan, backend: str, own: Sequence[float], *, exact: bool) -> str:
    """How intervals were made, and on which backend the errors were measured.

    Args:
        plan: What was forecast.
        backend: Where.
        own: Levels whose errors the run measured there.
        exact: Whether it could not have measured any there.
    """
    kind = plan.experiment.config.intervals
    how = "split conformal" if kind == "split" else "adaptive conformal"
    where = "the run's validation split" if plan.ahead.own else "what is known of the run's validation split"
    by_exact = f"{how}, by the errors of the exact engine on {where}"
    record = read_finished(plan.folder)
    if exact:
        fitted = record.quantum is not None and (record.head is not None or record.finetuned is not None)
        if not fitted or backend == record.backend:
            return by_exact
        return f"{by_exact}; the head was fitted on {record.backend}, whose errors serve forecasts made there"
    levels = list(dict.fromkeys(plan.request.levels))
    other = [f"{100 * level:g} %" for level in levels if level not in own]
    windows = record.head.windows if record.head is not None else record.finetuned.windows  # type: ignore[union-attr]
    by_own = (
        f"split conformal, by the errors on {backend} on {windows.get('validation', 0)} windows of the run's"
        " validation split"
    )
    if not other:
        return by_own
    missing = f"at {', '.join(other)} {by_exact}: the run kept none of {backend} at that level"
    return missing if len(other) == len(levels) else f"{by_own}; {missing}"


# Newest rows of a series that a figure shows before its forecast.
_SHOWN_ROWS = 60


def history_of(plan: PredictPlan) -> pd.DataFrame:
    """The newest values of what is forecast: columns symbol, date, target, value."""
    windows = plan.ahead.windows
    panel, frames = windows.panel, []
    for code in dict.fromkeys(windows.code.tolist()):
        # Behind the last row the panel has the sessions that are forecast, without values.
        rows = np.flatnonzero((panel.code == code) & (panel.dates <= plan.ahead.last))[-_SHOWN_ROWS:]
        for name in windows.cut.targets:
            values, dates = panel.column(name)[rows], panel.dates[rows].astype("datetime64[s]")
            frames.append(
                pd.DataFrame({"symbol": panel.symbols[code], "date": dates, "target": name, "value": values})
            )
    return pd.concat(frames, ignore_index=True)
