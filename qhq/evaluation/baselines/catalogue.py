"""Every baseline: what it says, which data it suits, and how it is fitted on the training windows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from qhq.data.panel import FloatArray
from qhq.data.windows import Cut, Windows
from qhq.errors import ConfigError, nearest
from qhq.evaluation.baselines.har import fit_har, fit_log_har, is_judged_by_har, suits_har, suits_log_har
from qhq.evaluation.baselines.persistence import black_scholes, is_priced, last_value, suits_black_scholes
from qhq.evaluation.baselines.regression import Setting, fit_gradient_boosting, fit_ridge
from qhq.evaluation.baselines.univariate import Autoregression, Drift, ExponentialSmoothing, MovingAverage

# Forecasts of windows, shape (N, H, K), in the unit of the targets.
_Forecaster = Callable[[Windows], FloatArray]


@dataclass(frozen=True)
class Baseline:
    """A forecast that needs no model.

    Attributes:
        title: Its name in a sentence.
        meaning: What it says, for people.
        suits: Whether it can be had for windows cut like these.
        fit: Makes it, from the training windows alone.
        light: Whether it costs next to nothing, so that every run is put beside it.
        of_task: Whether it is the one that the literature of its task sets as the line to beat.
    """

    title: str
    meaning: str
    suits: Callable[[Windows], bool]
    fit: Callable[[Windows], _Forecaster]
    light: bool = False
    of_task: bool = False


@dataclass(frozen=True)
class ScaledBaseline:
    """A regression on what a model sees.

    Attributes:
        title: Its name in a sentence.
        meaning: What it says, for people.
        fit: Makes it, from the scaled training windows alone.
    """

    title: str
    meaning: str
    fit: Callable[[Setting], _Forecaster]
    of_task = False


def _suits_all(_: Windows) -> bool:
    return True


BASELINES: dict[str, Baseline | ScaledBaseline] = {
    "last_value": Baseline("the last value", "last value", _suits_all, lambda _: last_value, light=True),
    "drift": Baseline("drift", "last value, and on with the mean change in training", _suits_all, Drift.fit),
    "moving_average": Baseline("the moving average", "mean of the last rows", _suits_all, MovingAverage.fit),
    "exponential_smoothing": Baseline(
        "exponential smoothing", "exponential smoothing", _suits_all, ExponentialSmoothing.fit
    ),
    "ar": Baseline("AR", "AR, of prices ARIMA(p, 1, 0)", _suits_all, Autoregression.fit),
    "har": Baseline("HAR", "HAR (day, week and month)", suits_har, fit_har, light=True, of_task=True),
    # Not light: beside every run HAR is enough, which is what the task is judged against.
    "log_har": Baseline(
        "log-HAR", "log-HAR (logarithms of day, week and month)", suits_log_har, fit_log_har, of_task=True
    ),
    "black_scholes": Baseline(
        "Black-Scholes with the volatility of the day before",
        "Black-Scholes, volatility of the row before",
        suits_black_scholes,
        lambda _: black_scholes,
        light=True,
        of_task=True,
    ),
    "ridge": ScaledBaseline("ridge regression", "ridge regression on the scaled windows", fit_ridge),
    "gradient_boosting": ScaledBaseline(
        "boosted trees", "boosted trees on the scaled windows", fit_gradient_boosting
    ),
}
"""From the simplest on; only those marked light are beside every run."""

_LABELS = {
    # What a run's record calls the model and the last value.
    "test": "model",
    "naive": "last-value forecast",
    "last_value": "last-value forecast",
    # A column of a terminal has no place for the title.
    "black_scholes": "Black-Scholes, volatility of the day before",
}


def title_of(name: str) -> str:
    """Name a baseline in a sentence; one of another version is named by its key."""
    return BASELINES[name].title if name in BASELINES else name


def label_of(name: str) -> str:
    """Name a forecast of a record in a row of a table: the model (``test``), the last value or a baseline."""
    return _LABELS.get(name) or title_of(name)


def fit_baselines(train: Windows) -> dict[str, _Forecaster]:
    """Fit each light baseline that suits the data on the training windows, ``{name: forecaster}``."""
    return {
        name: each.fit(train)
        for name, each in BASELINES.items()
        if isinstance(each, Baseline) and each.light and each.suits(train)
    }


def fit_all_baselines(setting: Setting, names: Iterable[str] | None = None) -> dict[str, _Forecaster]:
    """Fit every baseline that suits the data, or those of some names, ``{name: forecaster}``.

    Raises:
        ConfigError: If a name is not that of a baseline, or it does not suit the data.
    """
    known = suited_baselines(setting.train)
    chosen = known if names is None else tuple(names)
    for name in chosen:
        if name not in known:
            raise ConfigError(
                "A baseline must be one that suits the data", got=f"'{name}'", fix=nearest(name, known)
            )
    return {name: _fit(BASELINES[name], setting) for name in chosen}


def suited_baselines(train: Windows) -> tuple[str, ...]:
    """Names of the baselines that can be had for windows cut like these."""
    return tuple(
        name for name, each in BASELINES.items() if isinstance(each, ScaledBaseline) or each.suits(train)
    )


def _fit(baseline: Baseline | ScaledBaseline, setting: Setting) -> _Forecaster:
    return baseline.fit(setting.train) if isinstance(baseline, Baseline) else baseline.fit(setting)


def task_baseline(cut: Cut) -> str:
    """Name the baseline that a task is judged against.

    Pricing has today's spot, a forecast has not. Of a realised volatility it is HAR: whatever remembers more
    than one session is better than its last value, which shows nothing.
    """
    if is_priced(cut):
        return "black_scholes"
    return "har" if is_judged_by_har(cut) else "last_value"
