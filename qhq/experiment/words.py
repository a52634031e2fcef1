"""What the record of one run says in a sentence: of its test split, and of its validation split.

One training with one seed tests nothing, so no sentence here calls a model better or worse: each gives the
error beside that of the task's baseline, and says what it was measured on. Only `qhq ablate` tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from qhq.errors import apart
from qhq.evaluation.baselines.catalogue import title_of
from qhq.runs.comparison import run_skill
from qhq.runs.measures import Errors, TestMetrics
from qhq.runs.record import RunRecord, Validation, WalkRecord
from qhq.runs.schema import LAST_VALUE
from qhq.runs.seeds import SeedTable

_ONE_SEED = "One seed, not tested"

# Errors that differ by less than this fraction are the same: a sum over symbols is never exact.
_SAME = 1e-9


def say_test(metrics: TestMetrics) -> str:
    """The model's error on the test split beside that of its task's baseline.

    What is compared is the error over that of the last value, averaged over symbols and targets, so that no
    symbol decides by the size of its prices. MASE weighs windows another way: where the two do not agree,
    both are given.
    """
    name, rival = metrics.baseline, metrics.forecasts[_key(metrics.baseline)]
    skills = [run_skill(metrics, each) for each in ("test", _key(name))]
    own, other = (None if skill is None else 1 - skill for skill in skills)
    if own is None or other is None or other <= _SAME * own:
        return f"{_ONE_SEED}: {_title(name)} does not err on the test split at all."
    count = len(metrics.symbols)
    over = f", averaged over {count} symbols" if count > 1 else ""
    said = f"{_ONE_SEED}: on the test split the model's error is {_beside(own, other, _title(name))}{over}"
    mase, against = metrics.test.mase, rival.mase
    if mase is not None and against is not None and (own - other) * (mase - against) < 0:
        said += f"; by MASE it is the other way round, {' against '.join(apart(mase, against))}"
    return f"{said}."


def say_seeds(table: SeedTable) -> str:
    """The mean error over seeds beside those of the last value and of the strongest baseline."""
    count = len(table.rows)
    skill, sd = table.mean["skill"], table.sd["skill"]
    if skill is None or sd is None:
        return f"{count} seeds: the last-value forecast does not err on the test split at all."
    first = (
        f"{count} seeds, mean and standard deviation: skill {100 * skill:+.2f} ± {100 * sd:.2f} % over the"
        " last value"
    )
    rival = table.strongest_measures["skill"]
    if table.strongest == LAST_VALUE or rival is None:
        beside = "which is the strongest baseline here"
    else:
        beside = f"beside {100 * rival:+.2f} % of the strongest baseline, {_title(table.strongest)}"
    return (
        f"{first}, {beside}. The spread is that of chance in training alone and tests nothing; 'qhq ablate'"
        " tests."
    )


def say_validation(validation: Validation) -> str:
    """What the validation split says of the weights that were kept, without a look at the test split."""
    name, epoch, untrained = validation.baseline, validation.epoch, validation.untrained_loss
    if epoch == 0 and untrained is not None:
        same = f", which is {_title(name)}" if validation.is_baseline else ""
        if validation.fitted:
            return (
                f"No strength of the head brought the validation loss below {untrained:.5g}, that of a head"
                f" of zeros, which is kept{same}."
            )
        # As many digits as the line of an epoch has, which it is read beside.
        start, lowest = f"{untrained:.5g}", ""
        if validation.lowest_loss is not None:
            start, reached = apart(untrained, validation.lowest_loss, digits=5)
            lowest = f" (the lowest was {reached}, after epoch {validation.lowest_epoch})"
        return (
            f"Training did not improve on the untrained model: after no epoch was the validation loss below"
            f" {start}{lowest}. The untrained model is kept{same}."
        )
    rival = validation.naive if name == LAST_VALUE else validation.baselines[name]
    kind = "pooled MAE" if validation.symbols > 1 else "MAE"
    pair = f"{kind} {_pair(validation.model.mae, rival.mae)}"
    own, other = validation.relative["model"], validation.relative[_key(name)]
    mae, against = validation.model.mae, rival.mae
    # Of opposite signs: by one figure the model is better, by the other it is worse.
    if None not in (own, other, mae, against) and (own - other) * (mae - against) < 0:  # type: ignore[operator]
        pair += ": the other way round, since pooled the dearest symbols weigh most"
    if own is None or other is None or other <= _SAME * own:
        return f"On the validation split {_title(name)} does not err at all; {pair}."
    over = f", averaged over {validation.symbols} symbols" if validation.symbols > 1 else ""
    beside = f"{_beside(own, other, _title(name))}{over}"
    whose = "the fitted head" if validation.fitted else f"epoch {epoch}"
    said = f"On the validation split the error of {whose} is {beside}"
    if validation.better:
        return f"{said} ({pair})."
    return f"No better than its baseline before any test: {said[0].lower()}{said[1:]} ({pair})."


def say_untrained(record: RunRecord | WalkRecord) -> list[str]:
    """A line on a run whose forecasts no backend can change; none on any other.

    Whoever compares backends, noise or mitigation on such a run would see no effect, and take that for an
    answer.
    """
    if not isinstance(record, RunRecord) or record.quantum is None or record.validation is None:
        return []
    validation = record.validation
    if validation.epoch != 0 or not validation.is_baseline:
        return []
    return [
        f"This run kept its untrained model, which is {_title(validation.baseline)} whatever the circuit"
        " gives: no backend, noise or mitigation can change its forecasts."
        f" {_instead(record.epochs, validation)}."
    ]


def _instead(epochs: int | None, validation: Validation) -> str:
    """What may lead to a run whose forecasts depend on its circuit, without a full stop."""
    epoch = validation.lowest_epoch
    if epoch is None or epochs is None:
        return "Compare backends by a run that learned something"
    if epoch >= epochs:
        return (
            f"Its validation loss was lowest after the last of its {epochs} epochs: train longer before"
            " comparing (training.epochs)"
        )
    return (
        f"More epochs would not help: its validation loss was lowest after epoch {epoch} of {epochs}. Before"
        " comparing, try a lower training.learning_rate, another model, or a target that can be forecast"
        " ('qhq train experiments/volatility')"
    )


def say_pooled(errors: Mapping[str, Errors], naive: Errors) -> list[str]:
    """Why MAE and skill do not agree which forecasts are better than the last value; nothing if they do.

    Args:
        errors: By the name that a table has for a forecast.
        naive: Of the last value.
    """
    odd = [name for name, each in errors.items() if disagree(each, naive)]
    return [say_disagreement(odd)] if odd else []


def disagree(own: Errors, naive: Errors) -> bool:
    """Whether a forecast is better than the last value by its MAE and worse by its skill, or the reverse."""
    if own.mae is None or naive.mae is None or own.skill is None:
        return False
    return (own.mae - naive.mae) * own.skill > 0


def say_disagreement(names: Iterable[str]) -> str:
    """Why MAE and skill disagree on the forecasts of these names."""
    names = list(names)
    # The label of a backend with a method against noise has a comma of its own.
    between = "; " if any("," in name for name in names) else ", "
    return (
        f"MAE and skill disagree on {between.join(names)}: MAE is pooled, so that the dearest symbols weigh"
        " most; skill is the mean over the symbols."
    )


def say_subset(record: RunRecord | WalkRecord) -> list[str]:
    """A line on a run whose own figures are of some windows of each split; none on any other."""
    whole = record.data.test
    if not isinstance(record, RunRecord) or record.samples is None or whole is None or not whole.windows:
        return []
    if record.samples >= whole.windows:
        return []
    return [
        f"These figures are of {record.samples} of the {whole.windows} test windows, a seeded subset that"
        f" {record.backend} was asked for: 'qhq eval {record.run}' forecasts all of them."
    ]


def _four(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"


# So few dates say little of coverage, however many windows lie on them.
_FEW_DATES = 30

# With fewer values a date than this the coverage of a single date is hardly more than 0 or 1.
_MANY_VALUES = 10


def say_coverage(coverage: Sequence[Mapping[str, Any]]) -> str:
    """How often the intervals held what came, one step ahead, and how much that says.

    Args:
        coverage: As `qhq.evaluation.conformal.Coverage` has it, of each horizon.
    """
    first = coverage[0]
    held, dates = first["held"], first["by_date"]
    ends = (
        f"95 % interval {100 * held['low']:.1f} to {100 * held['high']:.1f} %"
        if held["low"] is not None
        else held["reason"]
    )
    said = (
        # Of several steps only the first is said, which would pass for all of them.
        f"Intervals at {100 * first['level']:g} % held{', one step ahead,' if len(coverage) > 1 else ''}"
        f" {100 * held['value']:.1f} % of what came"
        f" ({held['count']:,} values on {held['dates']} dates, {ends})"
    )
    if held["count"] >= _MANY_VALUES * held["dates"]:
        said += f"; single dates from {100 * dates['lowest']:.0f} to {100 * dates['highest']:.0f} %"
    parts = [f"{name} {100 * part['value']:.0f} %" for name, part in first["by_regime"].items()]
    said += f"; {', '.join(parts)}" if len(parts) > 1 else ""
    if held["dates"] < _FEW_DATES and held["count"] > held["dates"]:
        said += (
            f". The values of a date hold or fail together: these are {held['dates']} observations, not more"
        )
    return f"{said}."


def say_distribution(measured: Mapping[str, Any], crps_skill: float | None) -> str:
    """What the quantiles of a model are worth, and how often the widest pair held what came, one step ahead.

    Args:
        measured: As `qhq.evaluation.probabilistic.score_quantiles` has it.
        crps_skill: Beside the last value with the quantiles of its own errors; None where there are none.
    """
    said = f"The forecast distribution has a CRPS of {_four(measured['crps'])}"
    if crps_skill is not None:
        word = "less" if crps_skill > 0 else "more"
        said += f", {_percent(100 * crps_skill)} % {word} than the last value with its own errors' quantiles"
    widest = measured["coverage"][0] if measured["coverage"] else None
    if widest is not None:
        said += f". Its {100 * widest['level']:g} % interval held {100 * widest['held']['value']:.1f} %"
    return f"{said}."


def _beside(own: float, other: float, name: str) -> str:
    change = 100 * (own / other - 1)
    if abs(change) <= 100 * _SAME:
        return f"that of {name}"
    return f"{_percent(change)} % {'more' if change > 0 else 'less'} than that of {name}"


def _percent(change: float) -> str:
    """The size of a change in two decimals, or in two digits where it would be a zero that is none."""
    size = abs(change)
    return f"{size:.2f}" if size >= 0.005 else f"{size:.2g}"


def _pair(own: float | None, other: float | None) -> str:
    if own is None or other is None:
        return f"{_four(own)} against {_four(other)}"
    return " against ".join(apart(own, other))


def _title(baseline: str) -> str:
    return "the last-value forecast" if baseline == LAST_VALUE else title_of(baseline)


def _key(baseline: str) -> str:
    """The name of a baseline's forecast in a record."""
    return "naive" if baseline == LAST_VALUE else baseline
