"""Implied volatilities of 100,000 quotes beside QuantLib, which takes one quote at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.clock import medians, race
from benchmarks.table import Table, Target, digits, milliseconds
from qhq.pricing.black_scholes import implied_volatility, price, vega

QUOTES = 100_000
QHQ, QUANTLIB, PRICE = "qhq", "QuantLib, quote by quote", "for comparison: qhq, prices from volatilities"
TRUTH = 1e-8
"""Largest error allowed where a rounding of the price moves the volatility by less."""

Invert = Callable[[], Any]


def draw_options(number: int) -> tuple[np.ndarray, ...]:
    """Forwards, strikes, years, volatilities, discounts and rights: a day to three years, calls and puts."""
    draw = np.random.default_rng(0)
    forward = draw.uniform(1, 1000, number)
    strike = forward * np.exp(draw.normal(0, 0.3, number))
    years = draw.uniform(1 / 365, 3, number)
    volatility = draw.uniform(0.05, 1.5, number)
    return forward, strike, years, volatility, np.exp(-0.04 * years), draw.choice([-1.0, 1.0], number)


def open_quantlib(options: tuple[np.ndarray, ...], quotes: np.ndarray) -> Invert:
    """QuantLib's safeguarded Newton in a Python loop, to the same accuracy."""
    import QuantLib

    forward, strike, years, _, discount, right = options
    kinds = [QuantLib.Option.Call if each > 0 else QuantLib.Option.Put for each in right]
    columns = (kinds, *(each.tolist() for each in (strike, forward, quotes, discount)))
    roots = np.sqrt(years)
    solve = QuantLib.blackFormulaImpliedStdDev
    return lambda: (
        np.array([solve(*row, 0.0, 0.3, 1e-14, 1000) for row in zip(*columns, strict=True)]) / roots
    )


def open_steps(options: tuple[np.ndarray, ...]) -> tuple[dict[str, Invert], str]:
    """What to race, and why QuantLib sits out if it does."""
    quotes = price(*options)
    forward, strike, years, _, discount, right = options
    steps: dict[str, Invert] = {
        QHQ: lambda: implied_volatility(quotes, forward, strike, years, discount, right),
        PRICE: lambda: price(*options),
    }
    try:
        steps[QUANTLIB] = open_quantlib(options, quotes)
    except ImportError as error:
        return steps, f"skipped: {error.name} is not installed"
    return steps, ""


def largest_error(options: tuple[np.ndarray, ...], found: np.ndarray) -> float:
    """Against the volatilities drawn, where a rounding of the price moves them by less than ``TRUTH``."""
    forward, strike, _, volatility, discount, _ = options
    with np.errstate(all="ignore"):
        # QuantLib's own formula rounds like the larger of its two terms.
        told = np.finfo(float).eps * discount * np.maximum(forward, strike) / vega(*options) < TRUTH / 8
    return float(np.abs(found - volatility)[told].max())


def measure(*, quick: bool) -> dict[str, Any]:
    """Medians, in seconds, and errors."""
    options = draw_options(QUOTES)
    steps, skipped = open_steps(options)
    answers = {name: step() for name, step in steps.items()}
    errors = {name: largest_error(options, answers[name]) for name in steps if name != PRICE}
    seconds = medians(race(steps, seconds=1 if quick else 10, least=3))
    return {"quotes": QUOTES, "seconds": seconds, "errors": errors, "skipped": skipped}


def tables(result: dict[str, Any]) -> list[Table]:
    """Time and error of each."""
    rows = [
        (
            name,
            milliseconds(seconds),
            digits(1e6 * seconds / result["quotes"]),
            f"{result['errors'][name]:.1e}" if name in result["errors"] else "",
        )
        for name, seconds in result["seconds"].items()
    ]
    if result["skipped"]:
        rows.append((QUANTLIB, result["skipped"], "", ""))
    note = f"{result['quotes']:,} random quotes; errors where a rounding of the price moves less than 1e-8."
    headers = ("", "ms", "us a quote", "largest error")
    return [Table("Implied volatility", note, headers, tuple(rows))]


def targets(result: dict[str, Any]) -> list[Target]:
    """100,000 quotes in less than a second, to 1e-8."""
    seconds, error = result["seconds"][QHQ], result["errors"][QHQ]
    return [
        Target("100,000 implied volatilities", "< 1 s", f"{digits(seconds)} s", seconds < 1),
        Target("Error of an implied volatility", "<= 1e-8", f"{error:.1e}", error <= TRUTH),
    ]
