"""Every baseline: what it says, which data it suits, and how it is fitted on the training windows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from qhq.data.panel import FloatArray
from qhq.data.windows import Cut, Windows
from qhq.evaluation.baselines.black_scholes import black_scholes, has_priced_targets, suits_black_scholes
from qhq.evaluation.baselines.har import fit_har, suits_har
from qhq.evaluation.baselines.last_value import last_value

Forecaster = Callable[[Windows], FloatArray]
"""Forecasts of windows, shape (N, H, K), in the unit of the targets."""


@dataclass(frozen=True)
class Baseline:
    """A forecast that needs no model.

    Attributes:
        meaning: What it says, for people.
        suits: Whether it can be had for windows cut like these.
        fit: Makes it, from the training windows alone.
    """

    meaning: str
    suits: Callable[[Windows], bool]
    fit: Callable[[Windows], Forecaster]


BASELINES: dict[str, Baseline] = {
    "last_value": Baseline("last value", lambda _: True, lambda _: last_value),
    "har": Baseline("HAR (day, week and month)", suits_har, fit_har),
    "black_scholes": Baseline(
        "Black-Scholes, volatility of the row before", suits_black_scholes, lambda _: black_scholes
    ),
}


def fit_baselines(train: Windows) -> dict[str, Forecaster]:
    """Fit each baseline that suits the data on the training windows, ``{name: forecaster}``."""
    return {name: each.fit(train) for name, each in BASELINES.items() if each.suits(train)}


def task_baseline(cut: Cut) -> str:
    """Name the baseline that a task is judged against: pricing has today's spot, a forecast has not."""
    return "black_scholes" if cut.task == "price" and has_priced_targets(cut) else "last_value"
