"""The last stage: the winner, and what the sweep started from, trained with fresh seeds and then tested.

These are runs as those of `qhq train`, beside all others in the runs folder. Their names are kept before the
first is trained, so that a sweep that was cut off goes on with the same runs. They are compared date by date
on the windows that all of them share: a stage may have changed the window, and then a run's first test
windows are not those of another. Realised volatility is judged by QLIKE, as everywhere; all else by the error
over the unit of its group and target.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from qhq.data.panel import FloatArray
from qhq.data.windows import Cut
from qhq.errors import ConfigError
from qhq.evaluation.baselines.catalogue import task_baseline
from qhq.evaluation.baselines.har import VOLATILITIES
from qhq.evaluation.bootstrap import median_interval
from qhq.evaluation.confidence_set import confidence_set, say_set
from qhq.evaluation.losses import ABSOLUTE, QLIKE, qlike
from qhq.evaluation.significance import compare_groups
from qhq.experiment.config import ExperimentConfig
from qhq.files import MOST_TABLE_BYTES, Json, read_json, read_regular
from qhq.paths import runs_dir
from qhq.runs.looks import add_look
from qhq.runs.record import Looks, RunRecord
from qhq.runs.run_folder import FAILED, RunFolder, is_run_name, new_name
from qhq.runs.schema import LAST_VALUE
from qhq.runs.studies import FinalRecord, FinalRow, SetRecord
from qhq.studies.comparisons import Measured, compare_all, mean_losses, tested
from qhq.studies.runner import Outcome, Study, Values
from qhq.studies.runner.reproducible import Fingerprints, digest, tested_windows
from qhq.studies.sweep.spec import FinalSpec, SweepSpec, change
from qhq.studies.sweep.trials import SweepCell, TrialStore, read_final, train_trial

WINNER, START = "winner", "start"
_MODELS = (WINNER, START)

_METRICS = ("mae", "rmse", "mape", "mase", "skill")


class Finals(Study[SweepCell, FinalRecord]):
    """The runs of the last stage: every variant with every fresh seed.

    Args:
        configs: By variant.
        seeds: Of each.
        store: The sweep's.
    """

    def __init__(self, configs: dict[str, ExperimentConfig], seeds: range, store: TrialStore) -> None:
        self.configs, self.seeds, self.store = configs, seeds, store
        self.folder = store.folder

    def plan(self) -> list[SweepCell]:
        """Every run, under the name that it was planned with; the winner's are written down as looks."""
        self.names, self.looks = self.plan_names()
        return [
            SweepCell(name, "run", config, Fingerprints.of(config))
            for variant, names in self.names.items()
            for name, config in zip(names, self._with_seeds(variant), strict=True)
        ]

    def plan_names(self) -> tuple[dict[str, list[str]], Looks]:
        """Names of the runs by variant, planned before or new, and how often the test split was seen.

        A look at a test split is written down with the names of the runs that look, and before them: a sweep
        that was cut off goes on with the runs that it had planned, and they count once.
        """
        # A name is joined to the runs folder: a folder that somebody else made must not lead out of it.
        known = {key: name for key, name in _read_planned(self.folder).items() if is_run_name(name)}
        names, planned, looks = dict[str, list[str]](), dict[str, str](), dict[str, Looks]()
        # The winner last: the looks that are reported then count those of the start, on the same test split.
        for variant, config in sorted(self.configs.items(), key=lambda each: each[0] == WINNER):
            keys = {f"{config.name} {digest(config)} s{seed}": seed for seed in self.seeds}
            test, new = tested_windows(config.data), sum(key not in known for key in keys)
            looks[variant] = add_look(test, run=self.folder.name, command="sweep", times=new)
            named = {key: known.get(key) or new_name(config.name, seed) for key, seed in keys.items()}
            names[variant], planned = list(named.values()), planned | named
        self.folder.write_json("final.json", {**known, **planned})
        return {variant: names[variant] for variant in self.configs}, looks[WINNER]

    @staticmethod
    def measure(cell: SweepCell) -> Outcome:
        """Train, and test."""
        return train_trial(cell)

    def summarise(self, done: Mapping[str, Values]) -> FinalRecord:
        """Compare; a record as plain JSON.

        Raises:
            ConfigError: If no seed of the winner could be trained.
        """
        good = {
            variant: [name for name in names if done[name]["status"] != FAILED]
            for variant, names in self.names.items()
        }
        if not good[WINNER]:
            raise ConfigError(
                "The winner must be trained to its end with one fresh seed at least",
                got=f"none; the first said: {done[self.names[WINNER][0]].get('error')}",
                fix="Mend what the last stage sets, and call it again",
            )
        runs = {variant: [RunFolder(runs_dir() / name) for name in names] for variant, names in good.items()}
        cuts = [Cut.of(config.data) for config in self.configs.values()]
        baseline = next((name for name in map(task_baseline, cuts) if name != LAST_VALUE), LAST_VALUE)
        trained = {variant: each for variant, each in runs.items() if each}
        losses = read_losses(trained, cuts[0].targets, baseline)
        rows = [_row(variant, each, len(self.seeds)) for variant, each in runs.items()]
        rows += [_baseline(name, trained) for name in dict.fromkeys((LAST_VALUE, losses.baseline))]
        return FinalRecord(
            seeds=list(self.seeds),
            windows=losses.windows,
            dates=losses.dates,
            loss=losses.loss,
            baseline=losses.baseline,
            rows=[FinalRow.model_validate(row) for row in _compared(rows, losses)],
            confidence_set=_confidence_set(losses),
            looks=self.looks,
        )

    def _with_seeds(self, variant: str) -> list[ExperimentConfig]:
        return [self.configs[variant].model_copy(update={"seed": seed}) for seed in self.seeds]


def plan_finals(
    sweep: SweepSpec,
    final: FinalSpec,
    start: ExperimentConfig,
    winner: ExperimentConfig,
    store: TrialStore,
) -> Finals:
    """Choose what is trained, with seeds that no stage has seen.

    Raises:
        ConfigError: If what the last stage sets makes no valid config.
    """
    each = {WINNER: winner, **({START: start} if final.baseline else {})}
    configs = {
        name: change(config, final.set, "final, set").model_copy(update={"name": f"{sweep.name}-{name}"})
        for name, config in each.items()
    }
    if START in configs and digest(configs[START]) == digest(configs[WINNER]):
        del configs[START]
    # Stages train with the seeds from start.seed on. The winner was chosen by these, and would look better
    # with them than it is.
    first = start.seed + max(sweep.seeds_of(stage) for stage in sweep.stages)
    return Finals(configs, range(first, first + final.seeds), store)


def _read_planned(folder: RunFolder) -> Json:
    """``final.json``: names of final runs that were planned; empty if there is none yet.

    Raises:
        ConfigError: If it is damaged.
    """
    path = folder.file("final.json")
    if not path.is_file():
        return {}
    try:
        content = read_json(path, most=MOST_TABLE_BYTES, what="record of a sweep")
        got = f"a {type(content).__name__}"
    except ValueError as error:
        content, got = None, str(error)
    if not isinstance(content, dict):
        raise ConfigError(
            "A record of a sweep must be a JSON object",
            got=f"{path}: {got}",
            fix="Remove it; it is made again",
        )
    return content


def _row(variant: str, folders: list[RunFolder], seeds: int) -> Json:
    """One flat object: medians over seeds with their intervals."""
    records = [read_final(folder) for folder in folders]
    row: Json = {"variant": variant, "seeds": len(records)}
    row["failed"] = seeds - len(records)
    for key in _METRICS:
        values = [getattr(record.tested().test, key) for record in records]
        row |= _median(key, [value for value in values if value is not None])
    # Of a walk-forward every fold is a model of its own, of one size: a walk is healthy if all of them are.
    models = [_models(folder) for folder in folders]
    row["parameters"] = sum(models[0][0].parameters.values()) if models else None
    row["healthy"] = sum(
        all(each.doctor is not None and each.doctor.healthy is True for each in of_one) for of_one in models
    )
    every = [each for of_one in models for each in of_one]
    row["seconds"] = round(sum(each.seconds.get("train_all_legs", 0.0) for each in every), 2)
    return {**row, "runs": [folder.name for folder in folders]}


def _models(folder: RunFolder) -> list[RunRecord]:
    """The record of each model of a final run."""
    folds = [RunFolder(path.parent) for path in sorted(folder.path.glob("fold-*/run.json"))]
    return [each.read_record() for each in folds or [folder]]


def _median(key: str, values: list[float]) -> Json:
    if not values:
        return {key: None, f"{key}_low": None, f"{key}_high": None, f"{key}_seeds": []}
    found = median_interval(values)
    ends = {f"{key}_low": found.low, f"{key}_high": found.high}
    return {key: found.value, **ends, f"{key}_seeds": list(found.values)}


def _baseline(name: str, runs: Mapping[str, list[RunFolder]]) -> Json:
    """The row of a baseline, from the first variant whose windows it could be fitted on."""
    every = [read_final(folders[0]).tested() for folders in runs.values()]
    found = [{LAST_VALUE: each.naive, **each.baselines} for each in every]
    own = next(each[name] for each in found if name in each)
    return {"variant": name, "seeds": None, **{key: getattr(own, key) for key in _METRICS}}


def _compared(rows: list[Json], losses: Losses) -> list[Json]:
    """Add to each row what it is beside the last value, the baseline of the task and the start."""
    measured = losses.measured
    rivals = {LAST_VALUE: "vs_naive"}
    rivals |= {losses.baseline: "vs_baseline"} if losses.baseline != LAST_VALUE else {}
    rivals |= {START: "vs_start"} if START in measured else {}
    family = [(WINNER, rival) for rival in rivals]
    pairs = compare_all(measured, losses.horizon, list(rivals), family)
    found = {(each.first, each.second): each for each in pairs}
    for row in rows:
        for rival, key in rivals.items():
            row.update(tested(measured, found.get((row["variant"], rival)), key, _MODELS))
            # Beside the test over all symbols, not instead of it: these were not named in advance.
            row.update(_groups(losses, row["variant"], rival, key))
    return rows


def _groups(losses: Losses, variant: str, rival: str, key: str) -> Json:
    """What the symbols say alone, as exploration: the mean over them may hide that they differ."""
    names = ("better", "worse", "p")
    # A failed variant has no losses, and of one seed nothing is tested.
    few = variant not in losses.measured or any(
        len(losses.measured[name]) < 2 for name in (variant, rival) if name in _MODELS
    )
    if few or variant == rival or len(losses.groups) < 2:
        return {f"{key}_symbols_{name}": None for name in names}
    pairs = {name: (each[variant], each[rival]) for name, each in losses.groups.items()}
    found = compare_groups(pairs, losses.horizon)
    values = (", ".join(found.better), ", ".join(found.worse), found.p_value)
    return {f"{key}_symbols_{name}": value for name, value in zip(names, values, strict=True)}


def _confidence_set(losses: Losses) -> SetRecord:
    # Only the models are candidates: that HAR is better than the last value is no finding of a sweep.
    means = {name: mean_losses(losses.measured[name]) for name in (*_MODELS, LAST_VALUE)
             if name in losses.measured}  # fmt: skip
    found = confidence_set(means, LAST_VALUE, horizon=losses.horizon)
    return SetRecord.model_validate(
        {**found.to_dict(), "sentence": say_set(found, "models", "the last value")}
    )


@dataclass(frozen=True)
class Losses:
    """What can be compared.

    Attributes:
        measured: Losses of each date, of each run of a variant, of the last value, and of the baseline of the
            task where it is another.
        groups: By symbol, losses of each of its dates (D,) by variant, over all seeds.
        windows: Forecasts that all runs share.
        dates: How many dates they are of.
        horizon: Rows ahead of the furthest forecast, H.
        baseline: Name of the baseline of the task.
        loss: Name of the loss.
    """

    measured: Measured
    groups: dict[str, dict[str, FloatArray]]
    windows: int
    dates: int
    horizon: int
    baseline: str = LAST_VALUE
    loss: str = ABSOLUTE


def read_losses(
    runs: Mapping[str, Sequence[RunFolder]], targets: Sequence[str] = (), baseline: str = LAST_VALUE
) -> Losses:
    """Read the forecasts of runs, measured by the loss of their targets.

    Args:
        runs: Finished runs of each variant.
        targets: Names of what they forecast.
        baseline: That of the task; it is left out where the runs have no column of it.
    """
    frames = {variant: [_read(folder) for folder in folders] for variant, folders in runs.items()}
    every = [frame for each in frames.values() for frame in each]
    shared = every[0].index
    for frame in every[1:]:
        shared = shared.intersection(frame.index)
    shared = shared.sort_values()
    cut = {variant: [frame.loc[shared] for frame in each] for variant, each in frames.items()}
    first = every[0].loc[shared]
    loss = QLIKE if targets and VOLATILITIES.keys() >= set(targets) else ABSOLUTE
    # The unit of the first run for all of them: it must weigh symbols, not variants.
    unit = _unit(first) if loss == ABSOLUTE else _is_log(first, targets)
    columns = {variant: ("forecast", each) for variant, each in cut.items()}
    columns[LAST_VALUE] = ("naive", [first])
    # A winner whose windows are too short for HAR is tested against that of the start.
    known = next((each[0] for each in cut.values() if baseline in each[0]), None)
    if known is None:
        baseline = LAST_VALUE
    else:
        columns[baseline] = (baseline, [known])
    measure = _by_date if loss == ABSOLUTE else _qlike_by_date
    measured = {
        name: [{"losses": measure(frame, column, unit).tolist()} for frame in each]
        for name, (column, each) in columns.items()
    }
    groups = {
        str(name): {
            variant: np.mean([measure(frame.loc[rows.index], column, rows) for frame in each], axis=0)
            for variant, (column, each) in columns.items()
        }
        for name, rows in unit.groupby(first["underlying"])
    }
    horizon = int(shared.get_level_values("horizon").max())
    dates = len(measured[LAST_VALUE][0]["losses"])
    return Losses(measured, groups, len(shared), dates, horizon, baseline, loss)


def _read(folder: RunFolder) -> pd.DataFrame:
    """Predictions by origin (the first date that a window forecasts), symbol, horizon and target."""
    content = read_regular(folder.file("predictions.csv"), most=MOST_TABLE_BYTES)
    # Names stay texts: NA is a ticker, and so are 0700 and 700.
    names = dict.fromkeys(("symbol", "underlying", "target"), str)
    frame = pd.read_csv(io.BytesIO(content), dtype=names, keep_default_na=False)
    # A table of one target does not name it, and one of stocks has no underlyings.
    if "target" not in frame:
        frame["target"] = ""
    if "underlying" not in frame:
        frame["underlying"] = frame["symbol"]
    size = frame["horizon"].max() * frame["target"].nunique()
    window = np.arange(len(frame)) // size
    # The rows of a window stand together. Its first date names it: a forecast five days ahead is one of the
    # day it was made on, and dates are what is tested.
    frame["origin"] = frame.groupby(window)["date"].transform("first")
    return frame.set_index(["origin", "symbol", "horizon", "target"])


def _unit(frame: pd.DataFrame) -> pd.Series[float]:
    """Mean error of the last value of each row's group and target; 1 where it never errs."""
    error = (frame["naive"] - frame["actual"]).abs()
    unit: pd.Series[float] = error.groupby([frame["underlying"], pd.Grouper(level="target")]).transform(
        "mean"
    )
    return unit.where(unit > 0, 1.0)


def _by_date(frame: pd.DataFrame, column: str, unit: pd.Series[float]) -> FloatArray:
    """Mean error over the unit of each date, shape (D,)."""
    error = (frame[column] - frame["actual"]).abs() / unit
    means: FloatArray = error.groupby(level="origin").mean().to_numpy(dtype=np.float64)
    return means


def _is_log(frame: pd.DataFrame, targets: Sequence[str]) -> pd.Series[float]:
    """1 for each row whose volatility is a logarithm, else 0; a table of one target does not name it."""
    names = frame.index.get_level_values("target")
    is_log = [float(VOLATILITIES[name or targets[0]]) for name in names]
    return pd.Series(is_log, index=frame.index)


def _qlike_by_date(frame: pd.DataFrame, column: str, is_log: pd.Series[float]) -> FloatArray:
    """Mean QLIKE of each date, shape (D,)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        actual, found = (
            np.where(is_log > 0, frame[name], np.log(np.maximum(frame[name], 0.0)))
            for name in ("actual", column)
        )
        # A session that did not move charges every forecast alike.
        error = np.where(np.isneginf(actual), -np.inf, actual - found)
    losses: pd.Series[float] = pd.Series(qlike(error), index=frame.index)
    return np.asarray(losses.groupby(level="origin").mean().to_numpy(), dtype=np.float64)
