"""What a stage tries next, by Optuna's ask and tell: a grid, TPE or chance, and pruning.

Points are proposed in rounds, and only whole rounds are reported back: a proposal then depends on the stage,
its seed and the values reported before, never on how many workers there were or which was the first. A sweep
that was interrupted asks again from the start and gets the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import optuna

from qhq.seeding import child_seed
from qhq.studies.sweep.space import Point, Range
from qhq.studies.sweep.spec import StageSpec


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
            self.study.tell(proposal.handle, state=optuna.trial.TrialState.FAIL)
        else:
            self.study.tell(proposal.handle, value)


def _sampler(stage: StageSpec, seed: int) -> optuna.samplers.BaseSampler:
    number = child_seed(seed, f"sweep/{stage.name}") % 2**32
    if stage.search == "tpe":
        return optuna.samplers.TPESampler(seed=number)
    return optuna.samplers.RandomSampler(seed=number)


def _pruner(stage: StageSpec) -> optuna.pruners.BasePruner:
    if stage.prune is None:
        return optuna.pruners.NopPruner()
    if stage.prune.kind == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=stage.round)
    return optuna.pruners.SuccessiveHalvingPruner(min_resource=stage.prune.at[0], reduction_factor=2)
