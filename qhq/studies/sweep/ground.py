"""What a stage stands on: its place in the sweep, and the config that it changes."""

from __future__ import annotations

from dataclasses import dataclass

from qhq.experiment.config import ExperimentConfig
from qhq.studies.sweep.design import change
from qhq.studies.sweep.space import Point
from qhq.studies.sweep.spec import StageSpec, SweepSpec
from qhq.studies.sweep.work import digest

Trials = list[tuple[str, ExperimentConfig]]
"""Names and configs of one point's trainings, one a seed."""


@dataclass(frozen=True)
class Ground:
    """What a stage stands on.

    Attributes:
        sweep: The whole search.
        stage: This part of it.
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

    def with_seeds(self, config: ExperimentConfig) -> Trials:
        """Names and configs of a point's trials."""
        seeds = range(config.seed, config.seed + self.sweep.seeds_of(self.stage))
        name = digest(config)
        return [(f"{name}-s{seed}", config.model_copy(update={"seed": seed})) for seed in seeds]
