"""A whole sweep: stages in order, the best of each carried on, then the winner with fresh seeds.

The sweep has a folder of its own below ``sweeps/`` of the runs folder, named after the config that it starts
from, and each trial in it after all that its numbers depend on. What is done lies there, so a sweep that was
cut off is called again and goes on: it asks its sampler the same, gets the same, and trains only what is
missing. Its verdict says which rankings are more than luck, and what the winner is worth on the test split.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from qhq.backends.registry import find_backend, kind_of
from qhq.data.prepare import check_one_scale
from qhq.data.quarantine import tell_rows
from qhq.documents import dump_document
from qhq.errors import ConfigError
from qhq.evaluation.baselines.catalogue import title_of
from qhq.evaluation.bootstrap import count_seeds
from qhq.evaluation.losses import TITLES
from qhq.evaluation.significance import SIGNIFICANCE
from qhq.experiment.config import ExperimentConfig
from qhq.files import Json
from qhq.paths import runs_dir
from qhq.runs.run_folder import RunFolder, writable
from qhq.runs.studies import FinalRecord, StageRecord, SweepRecord
from qhq.studies.comparisons import say_against
from qhq.studies.runner import Runner
from qhq.studies.runner.reproducible import Fingerprints, digest, prepared
from qhq.studies.sweep.final import START, WINNER, plan_finals
from qhq.studies.sweep.spec import SweepSpec, change
from qhq.studies.sweep.stage import PlannedStage, run_stage
from qhq.studies.sweep.trials import TrialStore


@dataclass(frozen=True)
class Sweep:
    """A sweep that has been checked and has its folder.

    Attributes:
        spec: What was asked for.
        start: The config that the first stage starts from.
        folder: Where it is kept.
    """

    spec: SweepSpec
    start: ExperimentConfig
    folder: RunFolder

    @property
    def has_begun(self) -> bool:
        """Whether a part of it is done already."""
        return (self.folder.path / "sweep.yaml").is_file()


def open_sweep(spec: SweepSpec, config: ExperimentConfig) -> Sweep:
    """Check every config that the sweep may come to, and name its folder; nothing is written.

    The folder is that of the config the sweep starts from: with other stages, or more final seeds, it is the
    same, and what was trained before is not trained again.

    Raises:
        QHQError: If a point makes no valid config, or the prices cannot be had.
    """
    # Its seeds are the sweep's own; how many a training of its own would have says nothing here.
    start = change(config, spec.set, "set")
    start = start.of_seed(start.seed)
    # All of them before the first is trained: a typing error in the last stage must not show after a night.
    for each in _configs(spec, start):
        if kind_of(find_backend(each.backend)).is_hardware:
            raise ConfigError(
                "A sweep must train on a simulator: its trials run side by side and are thrown away",
                got=f"backend {each.backend}, a device",
                fix="Sweep on 'aer', and evaluate the winner with 'qhq eval --backend'",
            )
        if each.data.split.walks:
            check_one_scale(each.data)
    # For its errors alone: prices that cannot be had must not show after a night either.
    Fingerprints.of(start)
    name = f"{spec.name}-{digest(start)}-s{start.seed}"
    return Sweep(spec, start, RunFolder(runs_dir() / "sweeps" / name))


def _configs(spec: SweepSpec, start: ExperimentConfig) -> Iterator[ExperimentConfig]:
    """Configs of every stage as if it were the first: each choice, and both ends of each range."""
    yield start
    for stage in spec.stages:
        place = PlannedStage(spec, stage, start)
        for point in stage.points.grid() if stage.search == "grid" else stage.points.corners():
            yield place.config(point)
    if spec.final is not None:
        yield change(start, spec.final.set, "final, set")


def run_sweep(sweep: Sweep, runner: Runner | None = None) -> SweepRecord:
    """Do what is not done, stage by stage.

    Args:
        sweep: From `open_sweep`.
        runner: Who trains, and where progress goes; by default this process, and nowhere.

    Returns:
        ``stages``, a record each; ``final``, the record of the last; ``rows``, those of the final table, or
        of the last stage if the test split was left alone; ``verdict``; ``folder``.

    Raises:
        ConfigError: If a stage has no point that can be trained.
        QHQError: If workers die, are not of the driver's version, or cannot write.
    """
    runner = runner or Runner()
    with writable(sweep.folder.path):
        sweep.folder.path.mkdir(parents=True, exist_ok=True)
    with sweep.folder.locked():
        # First, as by these a sweep that was cut off is known to have begun.
        sweep.folder.write_text("sweep.yaml", dump_document(sweep.spec))
        sweep.folder.write_text("start.yaml", dump_document(sweep.start))
        # Opened under the lock: it counts on being the only one that writes there.
        store = TrialStore(sweep.folder)
        data = prepared(sweep.start.data)
        for sentence in tell_rows(data.quarantine, data.doubts, data.notes):
            runner.progress.note(sentence)
        stale = store.stale()
        if stale:
            runner.progress.note(
                f"Cut off before: {len(stale)} trials that had been handed out are queued again."
            )
        return _run(sweep, store, runner)


def _run(sweep: Sweep, store: TrialStore, runner: Runner) -> SweepRecord:
    config, stages = sweep.start, list[StageRecord]()
    for index, stage in enumerate(sweep.spec.stages):
        points = sum(1 for _ in stage.points.grid()) if stage.search == "grid" else stage.trials or 0
        trials = points * sweep.spec.seeds_of(stage)
        runner.progress.started(f"{_place(sweep, index)} {stage.name}", trials)
        result = run_stage(PlannedStage(sweep.spec, stage, config), store, runner)
        config = result.winner
        stages.append(result.record)
        # After every stage, not at the end: what is known can be looked at, and a kill leaves it.
        record = _keep(sweep, stages, config, None)
        runner.progress.ended(result.record)
    final = sweep.spec.final
    if final is None:
        return record
    finals = plan_finals(sweep.spec, final, sweep.start, config, store)
    finals.title = f"{_place(sweep, len(stages))} final"
    return _keep(sweep, stages, config, runner.run(finals))


def _place(sweep: Sweep, index: int) -> str:
    return f"{index + 1} of {len(sweep.spec.stages) + (sweep.spec.final is not None)}"


def _keep(
    sweep: Sweep, stages: list[StageRecord], winner: ExperimentConfig, final: FinalRecord | None
) -> SweepRecord:
    """Write what is known so far, and give it."""
    done = len(stages) == len(sweep.spec.stages) and (final is not None or sweep.spec.final is None)
    record = SweepRecord(
        sweep=sweep.folder.name,
        folder=str(sweep.folder.path),
        status="finished" if done else "running",
        metric=sweep.spec.metric,
        leaks=list(sweep.start.data.caveat.leaks),
        stages=stages,
        final=final,
        rows=[row.to_dict() for row in (stages[-1] if final is None else final).rows],
        verdict=say_sweep_verdict(stages, final),
    )
    sweep.folder.write_text("winner.yaml", dump_document(winner))
    sweep.folder.write_json("sweep.json", record.kept())
    return record


def say_sweep_verdict(stages: Sequence[StageRecord], final: FinalRecord | None) -> str:
    """Say which rankings are more than luck, and what the winner is worth on the test split.

    Args:
        stages: Records of the stages done.
        final: Record of the last stage; None if the test split was left alone.
    """
    return " ".join([_say_rankings(stages), _say_final(final)])


def say_choice(stage: StageRecord) -> str:
    """Say which point a stage goes on with, and why where another has the lowest error."""
    tied, margin = stage.tied, stage.noise.margin
    chosen = f"Chosen: {stage.best} ({stage.value:.4f})"
    if tied < 2:
        return f"{chosen}, the lowest error."
    if stage.value == stage.lowest_value:
        return f"{chosen}, the lowest error and the fewest parameters of the {tied} points that tie with it."
    return (
        f"Lowest error: {stage.lowest} ({stage.lowest_value:.4f}). {chosen}, by the tie rule:"
        f" {tied} points lie within {margin:.4f} of the lowest, the standard error of the difference of two"
        " points, and of these it has the fewest parameters."
    )


def _say_rankings(stages: Sequence[StageRecord]) -> str:
    groups = {
        "More than seed noise": [each.stage for each in stages if each.noise.is_ranking is True],
        "no more than seed noise": [each.stage for each in stages if each.noise.is_ranking is False],
        "indistinguishable from seed noise": [each.stage for each in stages if each.noise.is_ranking is None],
    }
    said = [f"{words}: {', '.join(names)}" for words, names in groups.items() if names]
    text = "; ".join(said)
    sets = [
        f"{each.stage}: {each.confidence_set.sentence}."
        for each in stages
        if each.confidence_set is not None and not each.confidence_set.reason
    ]
    heading = ["Validation split.", *sets] if sets else []
    return " ".join([f"Rankings. {text[0].upper()}{text[1:]}.", *heading])


def _say_final(final: FinalRecord | None) -> str:
    if final is None:
        return "The test split was not looked at."
    first = next(row for row in final.rows if row.variant == WINNER)
    winner = first.to_dict()
    start = any(row.variant == START for row in final.rows)
    beside = (
        say_against(winner, "vs_start", "what the sweep started from")
        if start
        else "what the sweep started from itself"
    )
    said = [say_against(winner, "vs_naive", "the last value")]
    if "vs_baseline" in winner:
        said.append(say_against(winner, "vs_baseline", title_of(final.baseline)))
    count = len(said) + start
    loss = f"{TITLES[final.loss]}, " if final.loss is not None else ""
    return (
        f"On the test split the winner is {', '.join(said)} and {beside} ({loss}Diebold-Mariano,"
        f" Holm over {('one pair', 'two pairs', 'three pairs')[count - 1]}, {100 * SIGNIFICANCE:g} %,"
        f" {count_seeds(first.seeds or 0, 'fresh')}).{_say_groups(winner)}"
    )


def _say_groups(winner: Json) -> str:
    """What single symbols show beside the last value; nothing if they show nothing."""
    found = [
        f"{word} for {winner[f'vs_naive_symbols_{word}']}"
        for word in ("better", "worse")
        if winner.get(f"vs_naive_symbols_{word}")
    ]
    return f" Exploratory, symbol by symbol under Holm, it is {' and '.join(found)}." if found else ""
