"""How often qhq's verdicts are right where the truth is known: ``python -m benchmarks.verdicts``.

**Size.** On data where no forecast is better than another, how often is one called better? Each line is 200
data sets of one kind, 130 test dates each, and a family of three pairs, one forecast against three others,
under Holm as `qhq ablate` and `qhq sweep` test it. Two kinds of forecasts are judged on the same data:

- *fitted*: an autoregression of five lags fitted on 500 dates before, against the last value, the drift and
  an exponential smoothing. None can be better than the last value, and most are a little worse;
- *equal*: four forecasts with errors of the same law, none better in the mean by construction. This is the
  hard case: every claim of "better" is false, and nothing is in the claimant's disfavour.

Counted are claims of better than the last value, and of better than the strongest rival, the one with the
lowest loss on the same dates.

**Power.** On returns with a planted autocorrelation of .2, .3 and .4, how often is an autoregression called
better than the last value, over 130 and over 500 dates? The oracle tests the same families by Holm on the
same data, and knows the true long-run variance of each difference (of 2,000 further data sets), so that its
critical values are those of the normal distribution.

``--tests`` measures the test of a mean alone against others that could have been chosen.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from statistics import NormalDist
from typing import Any

import numpy as np

from qhq.data.panel import FloatArray
from qhq.evaluation.mean_test import mean_test
from qhq.evaluation.significance import SIGNIFICANCE, compare_pairs
from qhq.seeding import child_generator

TRAIN, DATES, LAGS, HORIZON = 500, 130, 5, 5
MODEL, LAST, DRIFT, SMOOTH = "model", "last value", "drift", "smoothing"
RIVALS = (LAST, DRIFT, SMOOTH)
FAMILY = [(MODEL, rival) for rival in RIVALS]

Losses = dict[str, FloatArray]
Generator = np.random.Generator
Row = dict[str, Any]


def filtered(shocks: FloatArray, memory: float) -> FloatArray:
    """x_t = memory x_(t-1) + shock_t along the last axis."""
    from scipy.signal import lfilter

    values: FloatArray = lfilter([1.0], [1.0, -memory], shocks, axis=-1)
    return values


def volatilities(rng: Generator, count: int) -> FloatArray:
    """Volatility of a GARCH(1,1) with a persistence of .98."""
    shocks, variance, last = rng.normal(size=count + 200), 1.0, 0.0
    path = np.empty(count + 200)
    for t, shock in enumerate(shocks):
        variance = 0.02 + 0.08 * last**2 + 0.90 * variance
        last = math.sqrt(variance) * shock
        path[t] = math.sqrt(variance)
    return path[200:]


# Returns without an autocorrelation, and errors of one law: shapes (n,) and (4, n).


def garch_returns(rng: Generator, count: int) -> FloatArray:
    return volatilities(rng, count) * rng.normal(size=count)


def garch_errors(rng: Generator, count: int) -> FloatArray:
    return volatilities(rng, count) * rng.normal(size=(4, count))


def jumping_returns(rng: Generator, count: int) -> FloatArray:
    return rng.normal(size=count) + 8 * rng.normal(size=count) * (rng.uniform(size=count) < 0.03)


def jumping_errors(rng: Generator, count: int) -> FloatArray:
    """The jump meets all forecasts alike; what they see of the day differs."""
    jumps = 8 * rng.normal(size=count) * (rng.uniform(size=count) < 0.03)
    return jumps + rng.normal(size=(4, count))


def t3_returns(rng: Generator, count: int) -> FloatArray:
    return rng.standard_t(3, size=count)


def t3_errors(rng: Generator, count: int) -> FloatArray:
    return rng.standard_t(3, size=(4, count))


def lasting_errors(rng: Generator, count: int) -> FloatArray:
    return filtered(rng.normal(size=(4, count + 400)), 0.98)[:, 400:]


def overlapping_errors(rng: Generator, count: int) -> FloatArray:
    """Errors of forecasts five rows ahead, made each day."""
    sums = np.cumsum(rng.normal(size=(4, count + HORIZON)), axis=1)
    return sums[:, HORIZON:] - sums[:, :-HORIZON]


SIZES: dict[str, tuple[Callable[..., FloatArray] | None, Callable[..., FloatArray], int]] = {
    "GARCH(1,1)": (garch_returns, garch_errors, 1),
    "random walk with jumps": (jumping_returns, jumping_errors, 1),
    "t3 innovations": (t3_returns, t3_errors, 1),
    "AR(.98) errors": (None, lasting_errors, 1),
    "overlapping, H = 5": (garch_returns, overlapping_errors, HORIZON),
}


def equal_losses(errors: FloatArray) -> Losses:
    """Absolute errors (4, n) by the names of the family."""
    return dict(zip((MODEL, *RIVALS), np.abs(errors), strict=True))


def fitted_losses(returns: FloatArray, horizon: int) -> Losses:
    """Losses of forecasts of the level, fitted before the last dates and judged on them.

    Args:
        returns: Changes of the level, shape (TRAIN + D + horizon - 1,).
        horizon: Rows ahead, H; the loss of a date is the mean over 1 to H rows, as in `qhq`.
    """
    count = len(returns) - TRAIN - horizon + 1
    known = returns[:TRAIN]
    lagged = np.column_stack([known[LAGS - lag : TRAIN - lag] for lag in range(1, LAGS + 1)])
    mean = known.mean()
    weights = np.linalg.solve(
        (lagged - mean).T @ (lagged - mean) + np.eye(LAGS), (lagged - mean).T @ (known[LAGS:] - mean)
    )
    levels = np.concatenate([[0.0], np.cumsum(returns)])
    smooth = filtered(0.5 * levels, 0.5)
    errors: dict[str, list[FloatArray]] = {name: [] for name in (MODEL, *RIVALS)}
    origins = np.arange(TRAIN, TRAIN + count)
    past = np.column_stack([returns[origins - lag] for lag in range(1, LAGS + 1)])
    change = np.zeros(count)
    for step in range(1, horizon + 1):
        actual = levels[origins + step]
        # Further ahead the autoregression goes on from its own forecasts.
        next_change = mean + (past - mean) @ weights
        past, change = np.column_stack([next_change, past[:, :-1]]), change + next_change
        forecasts = (
            levels[origins] + change,
            levels[origins],
            levels[origins] + step * mean,
            smooth[origins],
        )
        for name, forecast in zip(errors, forecasts, strict=True):
            errors[name].append(np.abs(actual - forecast))
    return {name: np.mean(each, axis=0) for name, each in errors.items()}


def claims(losses: Losses, horizon: int) -> tuple[bool, bool]:
    """Whether the model is called better than the last value, and than the strongest rival."""
    found = {each.second: each.verdict() for each in compare_pairs(losses, horizon, family=FAMILY)}
    strongest = min(RIVALS, key=lambda name: float(losses[name].mean()))
    return found[LAST] == "better", found[strongest] == "better"


def measure_size(kind: str, repeats: int) -> list[Row]:
    """Rates of false claims on one kind of data, of fitted and of equal forecasts."""
    returns, errors, horizon = SIZES[kind]
    rows = []
    for name in ("fitted", "equal"):
        if name == "fitted" and returns is None:
            continue
        rng = child_generator(0, f"{kind}, {name}")
        found = []
        for _ in range(repeats):
            if name == "equal":
                losses = equal_losses(errors(rng, DATES))
            else:
                assert returns is not None
                losses = fitted_losses(returns(rng, TRAIN + DATES + horizon - 1), horizon)
            found.append(claims(losses, horizon))
        last, strongest = np.sum(found, axis=0)
        rows.append({"data": kind, "forecasts": name, "repeats": repeats,
                     "better_than_last_value": rate(int(last), repeats),
                     "better_than_strongest": rate(int(strongest), repeats)})  # fmt: skip
    return rows


def measure_power(memory: float, dates: int, repeats: int, reference: int) -> Row:
    """Rates of true claims on planted returns, beside those of the oracle on the same data."""
    rng = child_generator(0, f"power {memory} {dates}")

    def draw() -> Losses:
        returns = filtered(rng.normal(size=TRAIN + dates + 200), memory)[200:]
        return fitted_losses(returns, 1)

    means = np.array(
        [
            [np.mean(each[MODEL] - each[rival]) for rival in RIVALS]
            for each in (draw() for _ in range(reference))
        ]
    )
    errors = means.std(axis=0, ddof=1)
    hits, oracle = 0, 0
    for _ in range(repeats):
        losses = draw()
        hits += claims(losses, 1)[0]
        oracle += oracle_claims(losses, errors)
    return {"memory": memory, "dates": dates, "repeats": repeats, "qhq": rate(hits, repeats),
            "oracle": rate(oracle, repeats), "behind": (oracle - hits) / repeats}  # fmt: skip


def oracle_claims(losses: Losses, errors: FloatArray) -> bool:
    """Whether Holm calls the model better than the last value, with the true standard errors (3,)."""
    scores = np.array([np.mean(losses[MODEL] - losses[rival]) for rival in RIVALS]) / errors
    p_values = [2 * NormalDist().cdf(-abs(score)) for score in scores]
    adjusted, highest = {}, 0.0
    for place, index in enumerate(np.argsort(p_values)):
        highest = max(highest, min(1.0, (len(RIVALS) - place) * p_values[index]))
        adjusted[RIVALS[index]] = highest
    return bool(adjusted[LAST] <= SIGNIFICANCE and scores[RIVALS.index(LAST)] < 0)


def rate(hits: int, count: int) -> dict[str, float]:
    """Share of hits with its 95 % Clopper-Pearson interval."""
    from scipy.stats import binomtest

    interval = binomtest(hits, count).proportion_ci()
    return {"rate": hits / count, "low": float(interval.low), "high": float(interval.high)}


# The test of a mean beside others.


def truncated(series: FloatArray, horizon: int) -> float:
    """P-value with the variance cut at the horizon and the factor of Harvey, Leybourne and Newbold."""
    from scipy.stats import t

    count, centred = len(series), series - series.mean()
    covariance = [centred[lag:] @ centred[: count - lag] / count for lag in range(horizon)]
    variance = max(covariance[0] + 2 * sum(covariance[1:]), 1e-9 * covariance[0])
    factor = (count + 1 - 2 * horizon + horizon * (horizon - 1) / count) / count
    statistic = series.mean() / math.sqrt(variance / count) * math.sqrt(factor)
    return float(2 * t.sf(abs(statistic), count - 1))


def newey_west(series: FloatArray, horizon: int, fixed_b: bool = False) -> float:
    """P-value with Newey and West's variance and automatic bandwidth, never below H - 1.

    With fixed-b critical values (Kiefer and Vogelsang, 2005) only the 5 % level is known: 0 or 1.
    """
    from arch.covariance.kernel import Bartlett

    bandwidth = max(Bartlett(series).bandwidth, horizon - 1)
    variance = Bartlett(series, bandwidth=bandwidth).cov.long_run[0, 0]
    statistic = abs(series.mean()) / math.sqrt(variance / len(series))
    if not fixed_b:
        return 2 * NormalDist().cdf(-statistic)
    part = (bandwidth + 1) / len(series)
    return float(statistic <= 1.96 + 2.9694 * part + 0.4160 * part**2 - 0.5324 * part**3)


def prewhitened(series: FloatArray, horizon: int) -> float:
    """Newey and West's variance of what an autoregression leaves, recoloured (Andrews and Monahan, 1992)."""
    from arch.covariance.kernel import Bartlett

    centred = series - series.mean()
    memory = min(0.97, float(centred[1:] @ centred[:-1] / (centred[:-1] @ centred[:-1])))
    rest = centred[1:] - memory * centred[:-1]
    bandwidth = max(Bartlett(rest).bandwidth, horizon - 1)
    variance = Bartlett(rest, bandwidth=bandwidth).cov.long_run[0, 0] / (1 - memory) ** 2
    return 2 * NormalDist().cdf(-abs(series.mean()) / math.sqrt(variance / len(series)))


def fixed_cosines(series: FloatArray, _: int) -> float:
    """Equal-weighted cosines, .41 n^(2/3) of them, as Lazarus and others recommend (2018)."""
    from scipy.fft import dct
    from scipy.stats import t

    count = int(0.41 * len(series) ** (2 / 3))
    transforms = dct(series, type=2, norm="ortho")
    statistic = transforms[0] / math.sqrt(np.mean(transforms[1 : count + 1] ** 2))
    return float(2 * t.sf(abs(statistic), count))


TESTS: dict[str, Callable[[FloatArray, int], float]] = {
    "cut at the horizon, HLN": truncated,
    "Newey-West": newey_west,
    "Newey-West, fixed-b": lambda series, horizon: newey_west(series, horizon, fixed_b=True),
    "prewhitened": prewhitened,
    "cosines, fixed B": fixed_cosines,
    "qhq": lambda series, horizon: mean_test(series, horizon).p_value,
}


def differences(kind: str, rng: Generator, count: int) -> tuple[FloatArray, int]:
    """A difference of equal losses, and its horizon."""
    if kind in SIZES:
        _, errors, horizon = SIZES[kind]
        first, second = np.abs(errors(rng, count)[:2])
        return first - second, horizon
    shocks = rng.normal(size=(2, count + 400))
    if kind.startswith("AR"):
        return filtered(shocks[0], float(kind[3:-1]))[400:], 1
    slow = filtered(shocks[0], 0.95) * math.sqrt((1 - 0.95**2) / 4)
    return (slow + math.sqrt(0.75) * shocks[1])[400:], 1


DIFFERENCES = (*SIZES, "AR(.5)", "AR(.8)", "AR(.9)", "AR(.98)", "noise + a quarter AR(.95)")


def measure_tests(kind: str, dates: int, repeats: int) -> Row:
    """How often each test of a mean of zero rejects it, two-sided at 5 %."""
    rng = child_generator(0, f"{kind}, {dates}")
    drawn = [differences(kind, rng, dates) for _ in range(repeats)]
    found = {
        name: sum(test(*each) < SIGNIFICANCE for each in drawn) / repeats for name, test in TESTS.items()
    }
    return {"data": kind, "dates": dates, "repeats": repeats, **found}


def size_lines(repeats: int) -> Iterator[tuple[Row, str]]:
    for row in (row for kind in SIZES for row in measure_size(kind, repeats)):
        last, strongest = (say_rate(row[f"better_than_{name}"]) for name in ("last_value", "strongest"))
        what = f"{row['data']:23s} {row['forecasts']:6s}"
        yield row, f"size   {what}  than last value {last}  than strongest {strongest}"


def power_lines(repeats: int, reference: int) -> Iterator[tuple[Row, str]]:
    for dates in (130, 500):
        for memory in (0.2, 0.3, 0.4):
            row = measure_power(memory, dates, repeats, reference)
            qhq, oracle, behind = say_rate(row["qhq"]), say_rate(row["oracle"]), 100 * row["behind"]
            yield (
                row,
                f"power  AR({memory}) {dates} dates: qhq {qhq}  oracle {oracle}  behind {behind:.1f} points",
            )


def test_lines(repeats: int) -> Iterator[tuple[Row, str]]:
    for dates in (60, 130, 500):
        for kind in DIFFERENCES:
            row = measure_tests(kind, dates, repeats)
            yield (
                row,
                f"{dates} dates, {kind}: " + "  ".join(f"{name} {100 * row[name]:.1f}" for name in TESTS),
            )


def say_rate(found: Mapping[str, float]) -> str:
    return f"{100 * found['rate']:5.1f} % ({100 * found['low']:.1f} to {100 * found['high']:.1f})"


def _settle() -> None:
    """Take what is imported out of the garbage collector's sight: statsmodels calls it thousands of times."""
    claims(equal_losses(t3_errors(np.random.default_rng(0), DATES)), 1)
    gc.collect()
    gc.freeze()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--repeats", type=int, default=200, help="data sets of each line; twice as many for power"
    )
    parser.add_argument("--reference", type=int, default=2000, help="further ones, for the oracle's variance")
    parser.add_argument("--tests", action="store_true", help="tests of a mean alone, one beside the other")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    _settle()
    count = arguments.repeats
    every = chain(size_lines(count), power_lines(2 * count, arguments.reference))
    rows = []
    for row, text in test_lines(count) if arguments.tests else every:
        rows.append(row)
        if not arguments.json:
            print(text, flush=True)
    if arguments.json:
        print(json.dumps({"rows": rows}))


if __name__ == "__main__":
    main()
