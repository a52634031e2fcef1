"""One checkpoint on one backend: forecasts in the unit of the data, intervals, baselines, and its errors."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import TypedDict

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from qhq.backends.executor import Executor, FloatArray, Report
from qhq.backends.noisy import AerSpec
from qhq.data.caveat import NO_CAVEAT, Caveat
from qhq.data.panel import IntArray
from qhq.data.windows import Windows, spread_subset
from qhq.errors import ConfigError, DataError
from qhq.evaluation.baselines.catalogue import fit_baselines
from qhq.evaluation.baselines.persistence import in_sample_naive_mae, last_value, symbol_scale
from qhq.evaluation.collapse import Collapse, find_collapse
from qhq.evaluation.conformal import (
    AdaptiveRecord,
    ConformalRecord,
    Regimes,
    coverage_of,
    fit_conformal,
    follow_conformal,
)
from qhq.evaluation.losses import has_option_prices
from qhq.evaluation.metrics import Metrics, score_windows
from qhq.evaluation.probabilistic import column_of, crps_skill, last_value_quantiles, score_quantiles
from qhq.experiment.config import IntervalKind
from qhq.experiment.opening import Experiment
from qhq.experiment.words import say_coverage, say_distribution
from qhq.files import Json
from qhq.models.features import FeatureForecaster
from qhq.models.own_forecaster import OwnForecaster
from qhq.runs.measures import Distribution

Array = NDArray[np.float64]

# The model is given windows in multiples of so many, the last of them repeated. A matrix product of a few
# rows takes another path through the linear algebra than one of many, and the rest of a vector another than
# its body: the last bit may be another. Filled up, a window gets the same bits alone as among those of a
# whole split, so tomorrow's forecast is the one that an evaluation gives the day after.
_LOT = 64

EXACT = AerSpec(kind="aer", name="exact")
"""What every backend is compared with: the exact simulator, whatever `backends.yaml` says."""


@dataclass(frozen=True)
class WindowForecasts:
    """What a checkpoint forecast on some windows.

    ``forecast``, ``naive`` and each of ``baselines`` have shape (N, H, K), in the unit of the raw data;
    ``expectations`` (N, O) is what the circuit gave, None without one; ``scale`` (N,) is that of MASE.
    ``quantiles`` are those of a model of a distribution by level, each (N, H, K), in the unit of the data.
    """

    windows: Windows
    forecast: Array
    naive: Array
    baselines: dict[str, Array]
    expectations: Array | None
    scale: Array
    report: Report | None
    collapse: Collapse | None
    quantiles: dict[float, Array] = field(default_factory=dict)

    def metrics(self) -> Metrics:
        """Metrics of the forecast over all windows."""
        return self.score(self.forecast)

    def naive_metrics(self) -> Metrics:
        """Metrics of the last value over the same windows."""
        return self.score(self.naive)

    def score(self, forecast: Array) -> Metrics:
        """Metrics of any forecast of these windows."""
        return score_windows(self.windows, forecast, self.naive, self.scale)


@torch.no_grad()
def forecast_windows(
    experiment: Experiment, executor: Executor | None, windows: Windows, latent: torch.Tensor | None = None
) -> WindowForecasts:
    """Forecast ``windows`` with the experiment's model, its circuit run by ``executor``.

    The model's weights are read, nothing of it is changed; its own backend is not asked. ``latent`` is what
    `encode` made of the windows, if it is known.
    """
    latent = encode(experiment, windows) if latent is None else latent
    scaled, expectations = forecast_scaled(experiment, executor, windows, latent)
    report = None if executor is None else executor.report()
    found = beside_baselines(experiment, windows, scaled, expectations, report)
    return replace(found, quantiles=forecast_quantiles(experiment, windows, latent, expectations))


def beside_baselines(
    experiment: Experiment,
    windows: Windows,
    scaled: Array,
    expectations: FloatArray | None,
    report: Report | None,
) -> WindowForecasts:
    """Put scaled outputs (N, H, K) of some windows into the unit of the data, beside the baselines."""
    scaler, train = experiment.data.scaler, experiment.data.train
    forecast = scaler.to_raw_units(scaled, windows)
    # Other data than the run's may hold none of its training split, and then nothing can be fitted on it.
    fitted = fit_baselines(train) if len(train) else {}
    return WindowForecasts(
        windows=windows,
        forecast=forecast,
        # Not among the baselines, from which it is taken out below: a record has it under a key of its own,
        # which others rely on.
        naive=last_value(windows),
        baselines={name: each(windows) for name, each in fitted.items() if name != "last_value"},
        expectations=None if expectations is None else np.asarray(expectations, dtype=np.float64),
        # Of the training split, whatever is evaluated: MASE of two evaluations of a run are comparable only
        # so.
        scale=symbol_scale(windows, in_sample_naive_mae(train)),
        report=report,
        collapse=find_collapse(windows, forecast, scaled, scaler.targets(windows), level=scaler.level),
    )


@torch.no_grad()
def encode(experiment: Experiment, windows: Windows) -> torch.Tensor:
    """Latent features (N, I) of windows, which every backend is asked about alike."""
    experiment.model.eval()
    return experiment.latent(windows.select(_filled_up(len(windows))))[: len(windows)]


@torch.no_grad()
def circuit_arguments(experiment: Experiment, latent: torch.Tensor) -> tuple[Array, Array]:
    """What the circuit is run at: angles (N, I), and weights (W,).

    A module of one's own may ask for R rows a window: (N * R, I). If it does so in several calls, these are
    the angles on the exact engine; on another, all but the first call's will differ.
    """
    model = experiment.model.eval()
    assert model.quantum is not None
    # Filled up here as well: the bounded map runs over vectors, the rest of which takes another path.
    angles = model.angles(latent[_filled_up(len(latent))])[: len(latent)]
    return angles.reshape(-1, angles.shape[-1]).numpy(), model.quantum.weight.detach().numpy()


@torch.no_grad()
def forecast_scaled(
    experiment: Experiment, executor: Executor | None, windows: Windows, latent: torch.Tensor | None = None
) -> tuple[Array, Array | None]:
    """Scaled outputs (N, H, K), and expectation values (N, O) where ``executor`` ran the circuit."""
    model = experiment.model.eval()
    latent = encode(experiment, windows) if latent is None else latent
    if executor is not None and model.quantum is not None:
        # What fills the lot up is not sent: on a device every row is paid for.
        found = ask_circuit(experiment, executor, latent)
        return decode_scaled(experiment, latent, found), np.asarray(found, dtype=np.float64)
    rows = _filled_up(len(latent))
    scaled = model.decode(latent[rows], model.middle(latent[rows]))[: len(latent)].double().numpy()
    return scaled, None


@torch.no_grad()
def ask_circuit(experiment: Experiment, executor: Executor, latent: torch.Tensor) -> FloatArray:
    """What a backend gives for latent features: (N, O), or (N, R * O) where a window has R rows.

    A circuit that is called at each step is asked step by step, as each needs the answers before.
    """
    model = experiment.model.eval()
    if isinstance(model, OwnForecaster) and model.stepwise:
        answers: FloatArray = model.run_on(executor, latent).numpy()
        return answers
    return executor.expectations(*circuit_arguments(experiment, latent)).reshape(len(latent), -1)


@torch.no_grad()
def forecast_quantiles(
    experiment: Experiment, windows: Windows, latent: torch.Tensor, expectations: Array | None
) -> dict[float, Array]:
    """Quantiles of some windows by level, each (N, H, K), in the unit of the data; none of a point forecast.

    Every scaler's way back is increasing, so that the quantile of a scaled value is that of the value.

    Args:
        experiment: Whose model forecasts.
        windows: What is forecast.
        latent: Their latent features, shape (N, I).
        expectations: Values of the circuit for them, (N, O); None where the model computes them itself.
    """
    model = experiment.model.eval()
    # A head that was fitted forecasts points alone.
    if isinstance(model, FeatureForecaster) or model.shape.values == 1:
        return {}
    rows = latent[_filled_up(len(latent))]
    middle = model.middle(rows)
    if expectations is not None:
        # A backend gives float64; the head reads what it was trained with.
        middle = torch.as_tensor(expectations, dtype=latent.dtype)[_filled_up(len(latent))]
    found = model.quantiles(rows, middle)
    assert found is not None
    scaled = found[: len(latent)].double().numpy()
    return {
        level: experiment.data.scaler.to_raw_units(scaled[..., place], windows)
        for place, level in enumerate(model.objective.levels)
    }


@torch.no_grad()
def decode_scaled(
    experiment: Experiment,
    latent: torch.Tensor,
    expectations: FloatArray,
    head: torch.nn.Linear | None = None,
) -> Array:
    """Scaled outputs (N, H, K) of what the circuit gave.

    Args:
        experiment: Whose model reads it.
        latent: Latent features of the windows, shape (N, I).
        expectations: Values of the circuit for them, shape (N, O).
        head: Another head than the model's own.
    """
    rows = _filled_up(len(latent))
    middle = torch.as_tensor(expectations, dtype=latent.dtype)[rows]
    model = experiment.model.eval()
    # A module of one's own has no head that anybody else could know.
    others = (head,) if model.has_known_head else ()
    decoded: Array = model.decode(latent[rows], middle, *others)[: len(latent)].double().numpy()
    return decoded


def is_stepwise(experiment: Experiment) -> bool:
    """Whether a forecast calls the circuit several times, so that not all angles are known beforehand."""
    return experiment.model.stepwise


def _filled_up(count: int) -> IntArray:
    """Numbers of some rows, the last one repeated to the end of the last lot."""
    return np.minimum(np.arange(-(-count // _LOT) * _LOT, dtype=np.intp), count - 1)


CONTRACT = ("strike", "spot", "years")
"""Columns of ``predictions.csv`` that say where an option stood when it was forecast."""


def predictions_csv(
    evaluation: WindowForecasts, ends: tuple[Array, Array] | None = None, caveat: Caveat = NO_CAVEAT
) -> str:
    """Write forecasts as CSV: symbol, date, horizon, actual, forecast, naive; floats in full precision.

    Each other baseline has a column of its name, and ``ends`` of intervals, each (N, H, K), have the columns
    low and high; quantiles have columns of their own at the end. Of options, ``symbol`` is the contract, and
    ``underlying`` is given as well, and of their prices where the contract stood when it was forecast:
    ``strike``, ``spot`` and ``years`` to expiry; with several targets each row also names its ``target``;
    with a caveat, each row names its leaks.
    """
    windows = evaluation.windows
    count, horizon = windows.dates.shape
    names = windows.cut.targets
    rows = {
        # The order of (N, H, K) arrays when they are raveled: window, then horizon, then target.
        "symbol": np.repeat(windows.symbol, horizon * len(names)),
        "date": np.repeat(windows.dates.ravel(), len(names)).astype("datetime64[D]").astype(str),
        "horizon": np.tile(np.repeat(np.arange(1, horizon + 1), len(names)), count),
        "actual": windows.targets.ravel(),
        "forecast": evaluation.forecast.ravel(),
        "naive": evaluation.naive.ravel(),
        **{name: forecast.ravel() for name, forecast in evaluation.baselines.items()},
    }
    if ends is not None:
        rows["low"], rows["high"] = (end.ravel() for end in ends)
    if windows.panel.groups:
        rows["underlying"] = np.repeat(windows.group, horizon * len(names))
        # As the forecast knew them, not as they were when its target came: with a later spot, contracts
        # whose underlying had just moved would be sorted by the very surprise that the error measures.
        known = [name for name in CONTRACT if has_option_prices(windows) and name in windows.panel.columns]
        rows |= {name: np.repeat(windows.known(name), horizon * len(names)) for name in known}
    if len(names) > 1:
        rows["target"] = np.tile(names, count * horizon)
    frame = pd.DataFrame(rows)
    for key, found in caveat.to_dict().items() if caveat else ():
        # In every row, not in a header: rows are what is copied into other tables.
        frame[key] = " ".join(found)
    for level, values in evaluation.quantiles.items():
        frame[column_of(level)] = values.ravel()
    stream = io.StringIO()
    # Unix line ends on every system, and pandas writes the shortest text that reads back to the same float.
    frame.to_csv(stream, index=False, lineterminator="\n")
    return stream.getvalue()


class IntervalsRecord(TypedDict, total=False):
    """What a record says of intervals: a ``reason`` where there are none, else all the others.

    ``levels`` are conformal radii at other levels than that of ``conformal``, of a run whose errors on the
    validation split cannot be found again without asking its backend.
    """

    kind: IntervalKind
    reason: str
    conformal: ConformalRecord
    levels: list[ConformalRecord]
    adaptive: AdaptiveRecord
    coverage: list[Json]
    verdict: str


@dataclass(frozen=True)
class Intervals:
    """Ends of the intervals about a run's forecasts, each (N, H, K), and what its record says of them."""

    ends: tuple[Array, Array] | None
    record: IntervalsRecord


def prediction_intervals(
    kind: IntervalKind,
    train: Windows,
    validation: WindowForecasts,
    test: WindowForecasts,
    levels: Sequence[float] = (),
) -> Intervals:
    """Fit intervals on the forecasts of the validation split, and measure them on those of the test split.

    A validation split too short for them is noted in the record; it is no fault of the run.

    Args:
        kind: ``split`` keeps the radius of the validation split, ``adaptive`` lets it follow what was held.
        train: Training windows, whose volatility says what is calm and what turbulent.
        validation: Forecasts that the radius is measured on.
        test: Forecasts that get intervals.
        levels: Other levels whose radii are kept, where the validation split is long enough for them.
    """
    try:
        conformal = fit_conformal(validation.windows, validation.forecast)
    except DataError as error:
        # Intervals are an addition: a short validation split must not cost a training that has ended.
        return Intervals(None, {"kind": kind, "reason": str(error)})
    record: IntervalsRecord = {"kind": kind, "conformal": conformal.to_dict()}
    if levels:
        record["levels"] = []
    for level in levels:
        with suppress(DataError):
            # A high level needs more windows than there may be; the others are kept all the same.
            kept = fit_conformal(validation.windows, validation.forecast, level)
            record["levels"].append(kept.to_dict())
    if kind == "adaptive":
        before, after = ((each.windows, each.forecast) for each in (validation, test))
        followed = follow_conformal(conformal, before, after)
        ends, record["adaptive"] = followed.ends, followed.to_dict()
    else:
        ends = conformal.interval(test.windows, test.forecast)
    regimes = Regimes.fit(train) if len(train) else None
    coverage = [
        asdict(each)
        for each in coverage_of(ends, test.windows, conformal.level, test.windows.targets, regimes)
    ]
    record |= {"coverage": coverage, "verdict": say_coverage(coverage)}
    return Intervals(ends, record)


def score_distribution(validation: Windows | None, evaluation: WindowForecasts) -> Distribution | None:
    """Measures of the quantiles beside the last value's; None of a point forecast.

    Args:
        validation: Where the last value's errors are measured; None leaves its quantiles out.
        evaluation: Of a model of a distribution.
    """
    if not evaluation.quantiles:
        return None
    levels, windows = list(evaluation.quantiles), evaluation.windows
    own = np.stack(list(evaluation.quantiles.values()), axis=-1)
    naive = None if validation is None else last_value_quantiles(validation, windows, levels)
    measured = score_quantiles(windows, own, levels)
    skill = None if naive is None else crps_skill(windows, own, naive, levels)
    return Distribution(
        levels=levels,
        test={**measured},
        naive=None if naive is None else {**score_quantiles(windows, naive, levels)},
        naive_point_crps=evaluation.naive_metrics().mae,
        crps_skill=skill,
        verdict=say_distribution(measured, skill),
    )


def choose_windows(windows: Windows, samples: int | None, seed: int) -> Windows:
    """Draw a seeded subset of windows, stratified by symbol, in order of time.

    Raises:
        ConfigError: If more are asked for than there are.
    """
    count = len(windows)
    if samples is None:
        return windows
    if samples > count:
        raise ConfigError(
            "--samples must not exceed the test split",
            got=f"{samples} of {count} windows",
            fix="Ask for fewer",
        )
    return spread_subset(windows, samples, seed)


def sampling_error(evaluation: WindowForecasts, population: int) -> float | None:
    """Standard error of the MAE for having evaluated a subset, in the unit of the prices.

    That of simple random sampling without replacement (Cochran, Sampling Techniques, 1977, eq. 2.20);
    drawing equal shares of each symbol makes it smaller, so this is an upper bound. 0 for the whole split,
    None for a single window, which says nothing of the spread.
    """
    errors = np.abs(evaluation.forecast - evaluation.windows.targets).mean(axis=(1, 2))
    count = len(errors)
    if count == population:
        return 0.0
    if count == 1:
        return None
    return float(errors.std(ddof=1) * np.sqrt((1 - count / population) / count))


def expectation_error(evaluation: WindowForecasts, exact: WindowForecasts) -> float | None:
    """Mean |<O> - exact| over windows and observables; None where the model has no circuit."""
    if evaluation.expectations is None or exact.expectations is None:
        return None
    return float(np.abs(evaluation.expectations - exact.expectations).mean())
