"""One stage: rounds of points, each trained with every seed, pruned on the way, ranked at the end.

Points come from Optuna's ask and tell: a grid, TPE or chance. They are proposed in rounds, and only whole
rounds are reported back: a proposal then depends on the stage, its seed and the values reported before, never
on how many workers there were or which was the first. A sweep that was interrupted asks again from the start
and gets the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import optuna

from qhq.documents import validate
from qhq.errors import ConfigError
from qhq.evaluation.confidence_set import confidence_set, say_set
from qhq.experiment.config import ExperimentConfig
from qhq.runs.record import RunRecord
from qhq.runs.run_folder import FAILED, FINISHED
from qhq.runs.schema import LAST_VALUE
from qhq.runs.studies import PointRow, SetRecord, StageRecord, StageTrend
from qhq.seeding import child_seed
from qhq.studies.runner import Outcome, Runner, Study, Values
from qhq.studies.runner.reproducible import digest
from qhq.studies.sweep.ranking import (
    MeasuredPoint,
    best_of,
    measure_noise,
    measure_trends,
    relative_error,
    table_rows,
    trial_losses,
)
from qhq.studies.sweep.spec import (
    Listed,
    Point,
    Range,
    Space,
    StageSpec,
    SweepSpec,
    change,
    look_up,
    number_of,
)
from qhq.studies.sweep.trials import (
    PRUNED,
    SweepCell,
    TrialStore,
    group_of,
    open_trial,
    train_together,
    train_trial,
)


@dataclass(frozen=True)
class Proposal:
    """One point, and Optuna's own handle on it."""

    number: int
    point: Point
    handle: optuna.Trial


class Proposals:
    """The proposals of one stage.

    Args:
        stage: What to propose from.
        seed: Of the sampler.
        first: The point of the config that the stage starts from, if it lies in the space: TPE and chance
            begin with it, so that a stage never ends below where it began.
    """

    def __init__(self, stage: StageSpec, seed: int, first: Point | None) -> None:
        # Optuna's own line for every trial would stand between those of the progress.
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.stage, self.space = stage, stage.points
        self.study = optuna.create_study(sampler=_sampler(stage, seed), pruner=_pruner(stage))
        if stage.search == "grid":
            self.left = self._enqueue(list(self.space.grid()))
        else:
            self.left = stage.trials or 0
            self._enqueue([first] if first is not None else [])

    def _enqueue(self, points: list[Point]) -> int:
        for point in points:
            self.study.enqueue_trial(point)
        return len(points)

    def rounds(self) -> Iterator[list[Proposal]]:
        """Rounds until all is proposed; each must be reported before the next is asked for."""
        # A grid that prunes nothing learns nothing between rounds: in one round no worker waits for the
        # slowest.
        whole = self.stage.search == "grid" and self.stage.prune is None
        while self.left:
            size = self.left if whole else min(self.stage.round, self.left)
            self.left -= size
            yield [self._ask() for _ in range(size)]

    def _ask(self) -> Proposal:
        handle = self.study.ask()
        point = {key: self._suggest(handle, key) for key in self.space.options}
        return Proposal(handle.number, point, handle)

    def _suggest(self, handle: optuna.Trial, key: str) -> str | int | float:
        options = self.space.options[key]
        if not isinstance(options, Range):
            return str(handle.suggest_categorical(key, options.values))
        # Optuna gets the last number, as it warns of a range that its step does not divide; and what it
        # adds up in floating point is brought back to the number that it stands for.
        if options.whole:
            step = int(options.step or 1)
            low, last = int(options.low), int(options.last)
            return handle.suggest_int(key, low, last, step=step, log=options.log)
        found = handle.suggest_float(key, options.low, options.last, step=options.step, log=options.log)
        return options.nearest(found)

    def give_up(self, proposal: Proposal, value: float, epoch: int) -> bool:
        """Report a value after some epochs; whether Optuna's pruner gives the point up."""
        proposal.handle.report(value, epoch)
        return bool(proposal.handle.should_prune())

    def tell(self, proposal: Proposal, value: float | None, *, pruned: bool = False) -> None:
        """Tell how a point ended; None is a point that could not be trained."""
        if pruned:
            self.study.tell(proposal.handle, state=optuna.trial.TrialState.PRUNED)
        elif value is None:
            # Reported as failed, not as a huge error: TPE would flee all neighbours of such a value.
            self.study.tell(proposal.handle, state=optuna.trial.TrialState.FAIL)
        else:
            self.study.tell(proposal.handle, value)


def _sampler(stage: StageSpec, seed: int) -> optuna.samplers.BaseSampler:
    # Optuna's samplers seed NumPy's RandomState, which takes no more than 32 bits.
    number = child_seed(seed, f"sweep/{stage.name}") % 2**32
    if stage.search == "tpe":
        return optuna.samplers.TPESampler(seed=number)
    # For a grid, too: its points are all enqueued, and the sampler is never asked.
    return optuna.samplers.RandomSampler(seed=number)


def _pruner(stage: StageSpec) -> optuna.pruners.BasePruner:
    if stage.prune is None:
        return optuna.pruners.NopPruner()
    if stage.prune.kind == "median":
        # The first round runs to its end: before it there is no median to be below.
        return optuna.pruners.MedianPruner(n_startup_trials=stage.round)
    # The better half, not Optuna's better quarter, which of a round of eight would be two points.
    return optuna.pruners.SuccessiveHalvingPruner(min_resource=stage.prune.at[0], reduction_factor=2)


_AGAIN = "Remove the folder of that trial below trials/; it is trained again"


@dataclass(frozen=True)
class PlannedStage:
    """Where a stage is in its sweep.

    Attributes:
        sweep: The whole search.
        stage: This one of its stages.
        start: The config that the stage before left.
    """

    sweep: SweepSpec
    stage: StageSpec
    start: ExperimentConfig

    @property
    def base(self) -> ExperimentConfig:
        """The config that this stage's points change."""
        return change(self.start, self.stage.set, f"stage {self.stage.name}, set")

    def config(self, point: Point) -> ExperimentConfig:
        """The config of a point.

        Raises:
            ConfigError: If the point makes no valid config.
        """
        return change(self.base, self.stage.points.changes(point), f"stage {self.stage.name}")

    def trials(self, point: Point) -> dict[str, ExperimentConfig]:
        """Names and configs of a point's trials, one a seed."""
        config = self.config(point)
        seeds = range(config.seed, config.seed + self.sweep.seeds_of(self.stage))
        name = digest(config)
        return {f"{name}-s{seed}": config.model_copy(update={"seed": seed}) for seed in seeds}


class _Round(Study[SweepCell, dict[int, MeasuredPoint]]):
    """Points that were proposed together, each trained with every seed: to a rung, or to the end.

    Args:
        place: The stage.
        proposed: The points.
        store: The sweep's.
        until: Epochs of the rung; None is the end, and then each trial counts as progress.
        meet: Called with each point that has been trained with every seed.
    """

    def __init__(
        self,
        place: PlannedStage,
        proposed: Sequence[Proposal],
        store: TrialStore,
        until: int | None = None,
        meet: Callable[[MeasuredPoint], None] | None = None,
    ) -> None:
        self.place, self.proposed, self.store = place, proposed, store
        self.until, self.meet = until, meet
        self.counted = until is None
        self.trials = {each.number: place.trials(each.point) for each in proposed}
        self.owners = {name: each for each in proposed for name in self.trials[each.number]}

    def plan(self) -> list[SweepCell]:
        """Every trial of every point."""
        return [open_trial(*trial, self.until) for each in self.trials.values() for trial in each.items()]

    @staticmethod
    def measure(cell: SweepCell) -> Outcome:
        """Train."""
        return train_trial(cell)

    @staticmethod
    def measure_together(cells: Sequence[SweepCell]) -> list[Outcome]:
        """Train several seeds of a point."""
        return train_together(cells)

    def group(self, cell: SweepCell) -> str:
        """Seeds of a point."""
        return group_of(cell)

    def follow(self, key: str, done: Mapping[str, Values]) -> None:
        """Tell of a point when its last seed is there."""
        if self.meet is not None and all(name in done for name in self.trials[self.owners[key].number]):
            self.meet(self._entry(self.owners[key], done))

    def summarise(self, done: Mapping[str, Values]) -> dict[int, MeasuredPoint]:
        """Entries by the proposals' numbers."""
        return {each.number: self._entry(each, done) for each in self.proposed}

    def _entry(self, proposal: Proposal, done: Mapping[str, Values]) -> MeasuredPoint:
        names = tuple(self.trials[proposal.number])
        keys = [name if self.until is None else f"{name}-e{self.until}" for name in names]
        records = tuple(validate(RunRecord, done[key], f"trial {key}", fix=_AGAIN) for key in keys)
        failed = any(record.status == FAILED for record in records)
        values = np.array([relative_error(record, self.place.sweep.metric) for record in records])
        status = FAILED if failed else FINISHED if self.until is None else PRUNED
        return MeasuredPoint(proposal.point, names, records, values, status)


def _run_round(
    place: PlannedStage,
    proposals: Proposals,
    proposed: Sequence[Proposal],
    store: TrialStore,
    runner: Runner,
    meet: Callable[[MeasuredPoint], None],
) -> list[MeasuredPoint]:
    """Train points that were proposed together, and give up on the way what Optuna's pruner says.

    Args:
        place: The stage.
        proposals: Where they come from.
        proposed: The points.
        store: The sweep's.
        runner: Who trains.
        meet: Called with each point that has been trained to the end with every seed.

    Returns:
        Entries of the proposals, in their order.

    Raises:
        QHQError: If workers die, are not of the driver's version, or cannot write.
    """
    prune, epochs = place.stage.prune, place.base.training.epochs
    entries, left = dict[int, MeasuredPoint](), list(proposed)
    # A rung at the last epoch or beyond is the full training itself.
    for until in () if prune is None else (each for each in prune.at if each < epochs):
        found = runner.run(_Round(place, left, store, until))
        for proposal in list(left):
            entry = found[proposal.number]
            # A failed trial has no value to be pruned by: it fails in the full training.
            good = np.isfinite(entry.values).all()
            if good and proposals.give_up(proposal, float(np.median(entry.values)), until):
                entries[proposal.number] = entry
                left.remove(proposal)
                runner.progress.pruned(entry.trials)
    whole = runner.run(_Round(place, left, store, meet=meet))
    entries |= whole
    return [entries[each.number] for each in proposed]


def _say_point(point: Point) -> str:
    """A point in one line, each key by its last word."""
    said = {key: f"{value:.4g}" if isinstance(value, float) else str(value) for key, value in point.items()}
    return ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in said.items())


@dataclass(frozen=True)
class StageResult:
    """What a stage found: its record, and the config that the next starts from."""

    record: StageRecord
    winner: ExperimentConfig


def run_stage(place: PlannedStage, store: TrialStore, runner: Runner) -> StageResult:
    """Try the stage's points and choose the best, ties to the simplest.

    Raises:
        ConfigError: If no point can be trained.
        QHQError: If workers die, are not of the driver's version, or cannot write.
    """
    proposals = Proposals(place.stage, place.start.seed, _incumbent(place))
    lowest = math.inf

    def meet(entry: MeasuredPoint) -> None:
        nonlocal lowest
        if entry.value < lowest:
            lowest = entry.value
            runner.progress.best_so_far(_say_point(entry.point), entry.value)

    entries: dict[str, MeasuredPoint] = {}
    for proposed in proposals.rounds():
        found = _run_round(place, proposals, proposed, store, runner, meet)
        for proposal, entry in zip(proposed, found, strict=True):
            value = entry.value if np.isfinite(entry.value) else None
            proposals.tell(proposal, value, pruned=entry.status == PRUNED)
            first = entries.setdefault(entry.trials[0], entry)
            if first.point != entry.point:
                # Such as 1 and 1.0 of a key that is a whole number: what is trained is one thing.
                runner.progress.note(
                    f"{_say_point(entry.point)} makes the same config as {_say_point(first.point)}:"
                    " one point."
                )
    return _conclude(place, list(entries.values()))


def _incumbent(place: PlannedStage) -> Point | None:
    """The point where the stage starts; None if the space does not hold it."""
    options = place.stage.points.options
    labels = {key: _label_at_start(place, key, each) for key, each in options.items()}
    point = {key: label for key, label in labels.items() if label is not None}
    return point if len(point) == len(options) else None


def _label_at_start(place: PlannedStage, key: str, options: Listed | Range) -> str | float | None:
    """The option of a key that the stage starts with.

    A choice may say in another way what the config says (a stack whose defaults are left out, "4" for 4):
    then it is the one that changes nothing.
    """
    found = options.label_of(look_up(place.base, key))
    # A range has one way to write a number; a list may have several ways to write one config.
    if found is not None or isinstance(options, Range):
        return found
    start = place.base.model_dump_json()
    for label, value in options.choices.items():
        try:
            same = change(place.base, {key: value}, "stage").model_dump_json() == start
        except ConfigError:  # it makes a config only together with the stage's other keys
            continue
        if same:
            return label
    return None


def _conclude(place: PlannedStage, entries: list[MeasuredPoint]) -> StageResult:
    good = [entry for entry in entries if np.isfinite(entry.value)]
    noise = measure_noise(np.array([entry.values for entry in good]) if good else np.empty((0, 1)))
    chosen = best_of(entries, noise.margin)
    if chosen is None:
        raise _nothing_trained(place, entries)
    trends = measure_trends(_sizes(place.stage.points, good), np.array([entry.value for entry in good]))
    rows = table_rows(entries, chosen, noise.margin)
    kept = trial_losses({entry.trials[0]: entry.records for entry in good})
    # On the split that the points are chosen by, so it flatters them all; it says how few of them these dates
    # can tell apart.
    may_be_best = confidence_set(kept, LAST_VALUE if kept else "", horizon=place.base.data.horizon)
    for row in rows:
        row["set_p"] = may_be_best.p_values.get(row["trials"][0])
        row["in_set"] = row["trials"][0] in may_be_best.members if may_be_best.members else None
    lowest = min(good, key=lambda entry: (entry.value, entry.parameters))
    record = StageRecord(
        stage=place.stage.name,
        search=place.stage.search,
        keys=list(place.stage.space),
        points=len(entries),
        pruned=sum(entry.status == PRUNED for entry in entries),
        failed=sum(entry.status == FAILED for entry in entries),
        best=_say_point(chosen.point),
        value=chosen.value,
        lowest=_say_point(lowest.point),
        lowest_value=lowest.value,
        tied=sum(row["tied"] for row in rows),
        noise=noise.record(),
        confidence_set=SetRecord.model_validate(
            {**may_be_best.to_dict(), "sentence": say_set(may_be_best, "points", "the last value")}
        ),
        trends=[StageTrend(**asdict(trend)) for trend in trends],
        rows=[PointRow.model_validate(row) for row in rows],
    )
    winner = change(place.start, place.stage.points.changes(chosen.point), f"stage {place.stage.name}")
    return StageResult(record, winner)


def _sizes(space: Space, entries: Sequence[MeasuredPoint]) -> dict[str, list[float]]:
    """Numbers of each point: parameters, keys that are numbers, and the length of those that are lists."""
    sizes: dict[str, list[float]] = {"parameters": [float(entry.parameters) for entry in entries]}
    changes = [space.changes(entry.point) for entry in entries]
    for key in space.options:
        numbers = [number_of(entry.point[key]) for entry in entries]
        values = [each[key] for each in changes]
        if all(number is not None for number in numbers):
            sizes[key] = [number for number in numbers if number is not None]
        elif all(isinstance(value, list) for value in values):
            sizes[f"length of {key}"] = [float(len(value)) for value in values]
    return sizes


def _nothing_trained(place: PlannedStage, entries: Sequence[MeasuredPoint]) -> ConfigError:
    errors = [record.error for entry in entries for record in entry.records if record.error is not None]
    return ConfigError(
        f"Stage {place.stage.name} must have a point that can be trained to its end",
        got=f"none of {len(entries)}" + (f"; the first said: {errors[0]}" if errors else ""),
        fix="Mend the stage's space or the experiment",
    )
