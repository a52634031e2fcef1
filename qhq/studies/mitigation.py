"""Error mitigation of an evaluation: which methods there are, and the two fitted on training windows.

`trex`, `zne` and `pec` change what a backend runs (`qhq.backends.registry.open_mitigated`). `affine` and
`head` are made of what any backend gives: it is also asked about a seeded few of the training windows, for
which the exact values are known.

`affine`: noise takes an expectation value x nearly to a x + b, each observable with an a and b of its own
(depolarizing of all qubits does exactly that), so both are fitted by least squares and undone. The backend's
values are fitted on the exact ones: the other way round, shot noise would pull every slope towards 0.

`head`: the model's linear head is fitted anew to give, from what the backend gave, what the exact model
gives (`qhq.experiment.refit`, which fine-tuning shares).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from qhq.backends.backend import BackendSpec, Method
from qhq.backends.executor import DeviceCost, Executor, FloatArray, Report
from qhq.backends.registry import check_mitigation, kind_of, open_backend
from qhq.errors import ConfigError, nearest
from qhq.evaluation.bootstrap import date_interval
from qhq.evaluation.losses import task_losses
from qhq.experiment.evaluate import EXACT, WindowForecasts, ask_circuit, choose_windows, decode_scaled, encode
from qhq.experiment.opening import Experiment
from qhq.experiment.refit import Lesson, refit_head, why_no_head

Mitigation = Literal["none", "trex", "zne", "pec", "affine", "head"]
_METHODS: tuple[Mitigation, ...] = get_args(Mitigation)
FITTED: tuple[Mitigation, ...] = ("affine", "head")
_ALL = "all"

# Training windows that `affine` and `head` are fitted on.
# A few circuits beside those of a test split.
_TRAINING_WINDOWS = 32

# Shots that the seconds on a device are forecast for where values are exact.
# Those of `ibm_*` as shipped.
_FORECAST_SHOTS = 4096

_LEAST_WINDOWS = 8
# Undoing a smaller slope would make the shot noise of a value more than twenty times as large.
_LEAST_SLOPE = 0.05

# A slope that is not four standard errors from 0 would make the corrected values mostly noise.
_LEAST_ERRORS = 4.0


def read_methods(words: Sequence[str]) -> tuple[str, ...]:
    """Methods as asked for, each once, in the order of `_METHODS`; ``all`` stands alone.

    Raises:
        ConfigError: If one is unknown.
    """
    for word in words:
        if word not in (*_METHODS, _ALL):
            raise ConfigError(
                "--mitigation must name a known method, or all",
                got=f"'{word}'",
                fix=nearest(word, [*_METHODS, _ALL]),
            )
    return (_ALL,) if _ALL in words else tuple(method for method in _METHODS if method in words)


@dataclass(frozen=True)
class Refused:
    """A method that ``all`` leaves out on a backend, and why."""

    backend: str
    mitigation: str
    reason: str


@dataclass(frozen=True)
class Ask:
    """What a backend is asked, once for all methods that are made of the same answers.

    Attributes:
        entry: The backend.
        method: What it does against noise itself; None leaves it as its entry has it.
        mitigations: Methods that its answers serve; None where none was asked for.
    """

    entry: BackendSpec
    method: Method | None = None
    mitigations: tuple[Mitigation | None, ...] = (None,)

    @property
    def key(self) -> str:
        """Name of the backend, and of its method if it was asked for one."""
        return self.entry.name if self.method is None else f"{self.entry.name}, {self.method}"

    @property
    def is_fitted(self) -> bool:
        """Whether it is also asked about training windows."""
        return any(each in FITTED for each in self.mitigations)

    @property
    def words(self) -> str | None:
        """Its methods, for a table of costs."""
        return None if self.method is None else ", ".join(each or "" for each in self.mitigations)


def plan_asks(entry: BackendSpec, words: Sequence[str]) -> tuple[list[Ask], list[Refused]]:
    """What to ask a backend for methods as `read_methods` gives them.

    Where asking costs nothing, ``none`` is added: a method says little without it.

    Raises:
        ConfigError: If the backend would ignore one that was named.
    """
    if not words:
        return [Ask(entry)], []
    refused: list[Refused] = []
    wanted: list[Mitigation] = []
    kind = kind_of(entry)
    for each in _METHODS:
        if each not in words and _ALL not in words:
            continue
        if _ALL in words:
            reason = kind.why_not(entry, _own(each))
            if reason is not None:
                refused.append(Refused(entry.name, each, reason))
                continue
        else:
            check_mitigation(entry, _own(each))
        wanted.append(each)
    if not kind.is_hardware and "none" not in wanted:
        wanted.insert(0, "none")
    methods = list(dict.fromkeys(map(_own, wanted)))
    asks = [Ask(entry, each, tuple(one for one in wanted if _own(one) == each)) for each in methods]
    return asks, refused


def _own(mitigation: Mitigation) -> Method:
    """What a backend itself does for a method."""
    return "none" if mitigation == "affine" or mitigation == "head" else mitigation  # noqa: PLR1714


def made_of(method: Method) -> tuple[Mitigation, ...]:
    """Methods that the answers of a backend serve which does this against noise."""
    return ("none", *FITTED) if method == "none" else (method,)


def device_cost(executor: Executor, rows: int, report: Report) -> DeviceCost | None:
    """What rows cost on a device, or would on that which is simulated; None without a device."""
    forecast: Callable[[int, int], DeviceCost] | None = getattr(executor, "forecast_cost", None)
    return None if forecast is None else forecast(rows, report.shots or _FORECAST_SHOTS)


def prepare_lesson(experiment: Experiment, seed: int, count: int = _TRAINING_WINDOWS) -> Lesson:
    """Draw a seeded few of the training windows, and give them their exact values.

    Raises:
        ConfigError: If there are too few.
    """
    train = experiment.data.train
    if len(train) < _LEAST_WINDOWS:
        raise ConfigError(
            f"affine and head are fitted on at least {_LEAST_WINDOWS} windows of the training split",
            got=f"{len(train)} in these data",
            fix="Evaluate on the run's own data, or leave them out",
        )
    assert experiment.ansatz is not None
    windows = choose_windows(train, min(count, len(train)), seed)
    latent = encode(experiment, windows)
    exact = open_backend(EXACT, experiment.ansatz, seed=0)
    return Lesson(latent, ask_circuit(experiment, exact, latent))


@dataclass(frozen=True)
class Affine:
    """What a backend makes of exact values x, observable by observable: ``slope x + offset``.

    Attributes:
        slope: Shape (O,); 1 where the training windows do not tell it.
        offset: Shape (O,).
        error: Variance of a value about the line, shape (O,).
        centre: Mean of the exact values, shape (O,).
        spread: Sum of their squared distances from it, shape (O,).
        count: Windows it was fitted on.
    """

    slope: FloatArray
    offset: FloatArray
    error: FloatArray
    centre: FloatArray
    spread: FloatArray
    count: int

    def undo(self, values: FloatArray) -> FloatArray:
        """Values (N, O) as they would be without it."""
        corrected: FloatArray = (values - self.offset) / self.slope
        return corrected

    def variances(self, values: FloatArray, own: FloatArray) -> FloatArray:
        """Variances (N, O) of corrected values: those of the values themselves, and that of the fit."""
        distance = self.undo(values) - self.centre
        with np.errstate(divide="ignore", invalid="ignore"):
            leverage = np.where(self.spread > 0, distance**2 / self.spread, 0.0)
        found: FloatArray = (own + self.error * (1 / self.count + leverage)) / self.slope**2
        return found


def fit_affine(found: FloatArray, exact: FloatArray) -> Affine:
    """Fit what a backend made, (M, O), of exact values (M, O), by least squares."""
    count = len(exact)
    centre, mean = exact.mean(axis=0), found.mean(axis=0)
    distance = exact - centre
    spread = (distance**2).sum(axis=0)
    # An observable that hardly moves over the windows tells no slope, and rounding would give it one.
    moves = spread > 1e-12 * count
    slope = np.where(moves, (distance * (found - mean)).sum(axis=0) / np.where(moves, spread, 1.0), 1.0)
    left = found - mean - slope * distance
    # Slope and offset have taken two of the degrees of freedom.
    error = (left**2).sum(axis=0) / max(1, count - 2)
    known = moves & (slope > _LEAST_ERRORS * np.sqrt(error / np.where(moves, spread, 1.0)))
    slope = np.where(known & (slope > _LEAST_SLOPE), slope, 1.0)
    return Affine(slope, mean - slope * centre, error, centre, spread, count)


def suit_model(
    experiment: Experiment, entry: str, asks: Sequence[Ask], named: Sequence[str]
) -> tuple[list[Ask], list[Refused]]:
    """Leave the method ``head`` out where the model has no head that could be refitted.

    Raises:
        ConfigError: If it was named.
    """
    reason = why_no_head(experiment)
    if reason is None or not any("head" in each.mitigations for each in asks):
        return list(asks), []
    if "head" in named:
        raise ConfigError(
            "The mitigation 'head' needs the head of the reference model", got=reason, fix="Use affine"
        )
    kept = [
        replace(each, mitigations=tuple(one for one in each.mitigations if one != "head")) for each in asks
    ]
    return [each for each in kept if each.mitigations], [Refused(entry, "head", reason)]


@dataclass(frozen=True)
class Corrected:
    """What a method makes of a backend's answers.

    Attributes:
        expectations: Shape (N, O), corrected where the method corrects them.
        scaled: Scaled outputs of the model, shape (N, H, K).
        variances: Sampling variances of the expectation values, (N, O); None where they are not known.
    """

    expectations: FloatArray
    scaled: NDArray[np.float64]
    variances: FloatArray | None


def correct(
    experiment: Experiment,
    mitigation: Mitigation | None,
    latent: torch.Tensor,
    answers: FloatArray,
    lesson: Lesson | None,
    stds: FloatArray | None = None,
) -> Corrected:
    """Make a method's forecast of a backend's answers.

    Args:
        experiment: Whose model reads them.
        mitigation: The method.
        latent: Of the N test windows, shape (N, I).
        answers: Expectation values of these, then of the lesson if there is one, shape (N + M, O).
        lesson: Training windows among the answers.
        stds: Standard errors of the answers, where the backend says them.
    """
    count = len(latent)
    values, learned = answers[:count], answers[count:]
    variances = None if stds is None else stds[:count] ** 2
    head = None
    if mitigation == "affine":
        assert lesson is not None
        fitted = fit_affine(learned, lesson.exact)
        variances = None if variances is None else fitted.variances(values, variances)
        values = fitted.undo(values)
    elif mitigation == "head":
        assert lesson is not None
        head = refit_head(experiment, lesson, learned)
    return Corrected(values, decode_scaled(experiment, latent, values, head), variances)


@dataclass(frozen=True)
class Moments:
    """How far expectation values are from the exact ones, and why.

    Attributes:
        bias: Root mean square over windows and observables of what is wrong with them on average.
        variance: Mean over windows and observables of their sampling variance; 0 of exact values, None where
            nothing tells it.
    """

    bias: float | None
    variance: float | None


def moments_of_draws(draws: Sequence[FloatArray], exact: FloatArray) -> Moments:
    """Bias and variance from R independent draws (N, O) of the same values; one draw is taken as exact."""
    errors = np.stack(draws) - exact
    variance = float(errors.var(axis=0, ddof=1).mean()) if len(draws) > 1 else 0.0
    # The mean of R draws scatters too, and its square would count that as bias.
    square = float((errors.mean(axis=0) ** 2).mean()) - variance / len(draws)
    return Moments(max(0.0, square) ** 0.5, variance)


def moments_of_stds(values: FloatArray, exact: FloatArray, variances: FloatArray) -> Moments:
    """Bias and variance from one draw (N, O) whose sampling variances (N, O) are known where finite."""
    known = np.isfinite(variances)
    if not known.any():
        return Moments(None, None)
    variance = float(variances[known].mean())
    square = float(((values - exact)[known] ** 2).mean()) - variance
    return Moments(max(0.0, square) ** 0.5, variance)


def date_losses_of(evaluations: Sequence[WindowForecasts]) -> tuple[NDArray[np.float64], str]:
    """Loss of each date (D,) by the first loss of the task, the mean of several draws; and its name."""
    found = [task_losses(each.windows, {"own": each.forecast}, each.scale) for each in evaluations]
    name = found[0].primary
    losses: NDArray[np.float64] = np.mean([each.by_name[name]["own"] for each in found], axis=0)
    return losses, name


@dataclass(frozen=True)
class Gain:
    """Forecast error that a method saves, as a share of that without it.

    Attributes:
        gain: Above 0 where the method helps; None where the forecast without it never errs.
        gain_low: Lower end of its 95 % interval, paired by date; None where there is none.
        gain_high: Upper end.
        gain_loss: The loss that it is of.
        gain_reason: Why there is no interval; empty where there is one.
    """

    gain: float | None
    gain_low: float | None
    gain_high: float | None
    gain_loss: str
    gain_reason: str = ""


def gain_of(found: NDArray[np.float64], reference: NDArray[np.float64], loss: str, horizon: int) -> Gain:
    """Tell what a method saves from losses (D,) of each date, with it and without it."""
    if not reference.any():
        return Gain(None, None, None, loss, "a forecast that never errs without it")
    if np.array_equal(found, reference):
        # Of two forecasts that are one a bootstrap has nothing to draw.
        return Gain(0.0, 0.0, 0.0, loss)

    def saved(pairs: FloatArray) -> float:
        return 1 - float(pairs[:, 0].sum() / pairs[:, 1].sum())

    interval = date_interval(np.column_stack([found, reference]), saved, horizon=horizon)
    return Gain(interval.value, interval.low, interval.high, loss, interval.reason)
