"""From a config, or a run to go on with or to fine-tune, to a trained run: drawn, mirrored, handed back.

A config trains one model, several that differ in the seed, or the folds of a walk-forward.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qhq.api.evaluation import Evaluation, backend_names, training_costs
from qhq.api.given import Changes, Config, check_count, read_config, reference_of
from qhq.api.run import Run
from qhq.errors import ConfigError
from qhq.limits import MOST_COUNT, MOST_THREADS
from qhq.progress import Progress, Views, noting, open_steps, open_training
from qhq.runs.run_folder import RunFolder, find_run, find_unfinished, find_walk, is_run

if TYPE_CHECKING:
    from qhq.backends.executor import CostForecast
    from qhq.experiment.config import ExperimentConfig
    from qhq.experiment.run import Training
    from qhq.studies.runner import Runner
    from qhq.training.loop import Watcher


def train(
    config: Config = None,
    *,
    backend: str | None = None,
    set: Changes | None = None,
    resume: str | os.PathLike[str] | None = None,
    offline: bool = False,
    accept: Sequence[str] = (),
    workers: int | None = None,
    cluster: str | None = None,
    from_run: str | os.PathLike[str] | None = None,
    freeze: str | None = None,
    samples: int | None = None,
    yes: bool | Callable[[Evaluation], bool] = False,
    progress: Progress = None,
    watch: bool = False,
    tensorboard: bool = False,
    on_result: Callable[[Run], object] | None = None,
) -> Run:
    """Train a model, evaluate it beside the last-value forecast, and save it as a run.

    A config that walks forward (``data.split.scheme`` walk_forward, expanding or rolling, no fold named)
    trains a run for each fold, and tests the forecasts of all folds together. One with ``training.seeds`` of
    N trains N runs at once, with seeds from its own on, and gives the first: ``seeds`` of it has all. With
    both, a walk-forward for each seed is trained, fold by fold, and the dates are tested over all seeds.

    Args:
        config: What to train; the quickstart if left out.
        backend: Entry of ``backends.yaml``; the config's if left out. On a device of an account a model of
            frozen features (``model.kind`` features) is trained once its cost is agreed to, and a model that
            needs gradients only where the entry says ``training: true``, which is the consent.
        set: Config keys laid over it, such as ``{"training.epochs": 5}``. ``quantum.ansatz`` also takes a
            ``QuantumCircuit``, which the run then carries, as every run carries its circuit.
        resume: A run that was cut off, to be continued as it was configured, and all that were trained at
            once with it.
        offline: Take Yahoo's prices from the cache alone.
        accept: Names of doubts that you looked at, such as ``future_column:ret``; recorded with your name.
        workers: Processes that train the folds of a walk-forward; the cores if left out, 8 at most.
        cluster: Address of a Dask scheduler that trains them, instead.
        from_run: A finished run to fine-tune on ``backend`` in place of a config, see `Run.finetune`.
        freeze: With ``from_run``, what keeps its weights: ``"circuit"``, and all that stands before it.
        samples: With ``from_run``, windows of each split at most that the backend is asked about.
        yes: Agreement to what a device costs: True, or what is shown the costs and answers; an answer of
            False ends it before anything is sent.
        progress: True for bars on the terminal, or a callable that gets ``(done, total, what)``.
        watch: Draw the losses as curves on the terminal while it trains, where ``progress`` is True. The
            folds of a walk-forward are then trained one after another in this process.
        tensorboard: Write losses and gradient norms for TensorBoard into ``tensorboard/`` of the run's folder
            while it trains; of a walk-forward as with ``watch``.
        on_result: Called with the run before its figures are drawn and it is mirrored into MLflow.

    Raises:
        QHQError: If the config, the data or the backend is not good, or a device is not agreed to; no folder
            is made then.

    >>> import qhq
    >>> run = qhq.train(set={"training.epochs": 1, "data.symbols": ["AAPL"], "data.start": "2012-01-01"})
    >>> run.forecasts.columns[:5].to_list()
    ['symbol', 'date', 'horizon', 'actual', 'forecast']
    """
    from qhq.data.plausibility.doubt import check_accepted

    asked = _read_asked(
        config, backend, set, resume, offline=offline, from_run=from_run, freeze=freeze, samples=samples
    )
    accepted = check_accepted([accept] if isinstance(accept, str) else accept)
    views = Views(curves=watch, tensorboard=tensorboard, mirror=True)
    if isinstance(asked, _Walk):
        folders = [_train_walk(asked, accepted, workers, cluster, progress=progress, views=views)]
    elif workers is not None or cluster is not None:
        raise ConfigError(
            "--workers and --cluster train the folds of a walk-forward side by side",
            got="one of them for a single model",
            fix="Leave it out, or take data.split.scheme walk_forward",
        )
    elif isinstance(asked, _Refit):
        folders = [_refit(asked, yes, progress)]
    else:
        folders = _train_models(asked, accepted, yes, progress, views)
    run = Run(folders[0])
    if on_result is not None:
        on_result(run)
    for folder in folders:
        _show(Run(folder), noting(progress))
    return run


def forecast_training(
    config: Config = None,
    *,
    backend: str | None = None,
    set: Changes | None = None,
    resume: str | os.PathLike[str] | None = None,
    offline: bool = False,
    from_run: str | os.PathLike[str] | None = None,
    freeze: str | None = None,
    samples: int | None = None,
) -> Evaluation:
    """What a device would cost if a head were fitted or refitted on it; nothing is sent or written.

    Arguments are those of `train`.

    Returns:
        Only ``costs`` is filled; without a row where there is no device.

    Raises:
        QHQError: As `train`.

    >>> import qhq
    >>> short = {"model": {"kind": "features"}, "data.symbols": ["AAPL"], "data.start": "2012-01-01"}
    >>> len(qhq.forecast_training(set=short).costs)
    0
    """
    from qhq.experiment.run import plan_refit, plan_resume, plan_training
    from qhq.training.loop import Watcher

    asked = _read_asked(
        config, backend, set, resume, offline=offline, from_run=from_run, freeze=freeze, samples=samples
    )
    training: Training | None
    if isinstance(asked, _Walk):
        raise ConfigError(
            "--dry-run says what one model costs on a device",
            got="a walk-forward, which has a model a fold",
            fix="Take one fold with data.split.fold, or leave --dry-run out",
        )
    if isinstance(asked, _Refit):
        training, name = plan_refit(asked.origin, asked.backend, asked.samples, Watcher()), asked.origin.name
    elif isinstance(asked.what, RunFolder):
        training, name = plan_resume(asked.what, Watcher()), asked.what.name
        if training is None:  # finished
            return training_costs(asked.what.read_record().backend, [], name)
    else:
        training, name = plan_training(asked.what, Watcher()), ""
    try:
        return training_costs(training.experiment.backend.name, training.costs, name)
    finally:
        training.close()


@dataclass(frozen=True)
class _Models:
    """One model, or several that differ in the seed: from a config, or a run to go on with."""

    what: ExperimentConfig | RunFolder


@dataclass(frozen=True)
class _Walk:
    """A model a fold of a walk-forward: from a config, or a walk-forward to go on with."""

    what: ExperimentConfig | RunFolder


@dataclass(frozen=True)
class _Refit:
    """The head of a finished run, to be fitted anew to what a backend gives for some windows."""

    origin: RunFolder
    backend: str
    samples: int


def _read_asked(
    config: Config,
    backend: str | None,
    changes: Changes | None,
    resume: Any,
    *,
    offline: bool,
    from_run: Any,
    freeze: str | None,
    samples: int | None,
) -> _Models | _Walk | _Refit:
    """What is to be trained; arguments as of `train`."""
    if from_run is not None:
        if config is not None or changes or resume is not None:
            raise ConfigError(
                "--from fine-tunes a run as it was configured",
                got="--from together with CONFIG, --set or --resume",
                fix="Give --from RUN with --backend, --freeze circuit and --samples alone",
            )
        return _read_refit(from_run, freeze, samples, backend)
    if freeze is not None or samples is not None:
        raise ConfigError(
            "--freeze and --samples say how a run is fine-tuned",
            got="one of them without --from",
            fix="Add --from RUN; a model of frozen features takes --set model.samples=N",
        )
    if resume is not None:
        if config is not None or backend or changes:
            raise ConfigError(
                "--resume continues a run as it was configured",
                got="--resume together with CONFIG, --backend or --set",
                fix="Give --resume RUN alone, or with --accept",
            )
        reference = str(reference_of(resume))
        # A name that stands for the latest finished run elsewhere means the one here that can go on.
        cut = None if is_run(reference) or find_walk(reference) else find_unfinished(reference)
        reference = reference if cut is None else str(cut.path)
        walk = find_walk(reference)
        return _Models(find_run(reference)) if walk is None else _Walk(walk)
    study = read_config(config, changes, ["data.offline=true"] if offline else None)
    if backend is not None:
        study = study.model_copy(update={"backend": backend_names([backend])[0]})
    return _Walk(study) if study.data.split.walks else _Models(study)


# Windows of each split that a backend is asked about as a head is refitted, where no other number is given.
#
# A head of a few weights needs few: error mitigation takes 32 training windows. The validation windows
# measure intervals, the test windows the run's errors.
_FINETUNE_SAMPLES = 128


def _read_refit(from_run: Any, freeze: str | None, samples: int | None, backend: str | None) -> _Refit:
    if freeze != "circuit":
        raise ConfigError(
            "Fine-tuning keeps the circuit and all that stands before it: --freeze takes 'circuit' alone",
            got="no --freeze" if freeze is None else f"'{freeze}'",
            fix="Write --freeze circuit",
        )
    if backend is None:
        raise ConfigError(
            "Fine-tuning needs the backend that the head is fitted to",
            got="no --backend",
            fix="Name an entry with noise or a device, such as --backend fake_fez",
        )
    check_count("samples", samples, 8, MOST_COUNT)
    reference = str(reference_of(from_run))
    if not is_run(reference) and (walk := find_walk(reference)) is not None:
        raise ConfigError(
            "A walk-forward has a model a fold, and only one model can be fine-tuned",
            got=walk.name,
            fix="Name the run of one fold",
        )
    return _Refit(find_run(reference), backend_names([backend])[0], samples or _FINETUNE_SAMPLES)


def _refit(asked: _Refit, yes: bool | Callable[[Evaluation], bool], progress: Progress) -> RunFolder:
    from qhq.experiment.run import plan_refit, run_training

    with open_training(progress, 1) as watcher:
        training = plan_refit(asked.origin, asked.backend, asked.samples, watcher)
        return run_training(training, watcher, _agreement(yes, asked.origin.name))


def _show(run: Run, note: Callable[[str], None]) -> None:
    """Draw a run's figures, and mirror it; of a walk-forward the figure of each seed, and no mirror."""
    from qhq.report.figures import draw_run_figures
    from qhq.report.study_figures import draw_walk_figure
    from qhq.runs.mirror import mirror_run

    if run.is_walk:
        for each in run.seeds:
            draw_walk_figure(RunFolder(each.folder), note)
        return
    folder = RunFolder(run.folder)
    draw_run_figures(folder, note)
    if collapse := run.read().collapse:
        note(f"Warning: {collapse.message}")
    mirror_run(folder, note)


def _agreement(yes: bool | Callable[[Evaluation], bool], run: str = "") -> Callable[[CostForecast], bool]:
    """Ask whoever is to agree, with the cost as a dry run shows it."""

    def agree(cost: CostForecast) -> bool:
        return yes(training_costs(cost.backend, [cost], run)) if callable(yes) else yes

    return agree


def _train_models(
    asked: _Models,
    accepted: tuple[str, ...],
    yes: bool | Callable[[Evaluation], bool],
    progress: Progress,
    views: Views,
) -> list[RunFolder]:
    from qhq.experiment.run import resume_run, train_run
    from qhq.experiment.seeds import resume_seeds, train_seeds
    from qhq.runs.seeds import trained_together

    what = asked.what
    with open_training(
        progress, 0 if isinstance(what, RunFolder) else what.training.epochs, views
    ) as watcher:
        if isinstance(what, RunFolder):
            together = trained_together(what)
            if len(together) > 1:
                return resume_seeds(together, watcher, accepted)
            return [resume_run(what, watcher, accept=accepted, agree=_agreement(yes, what.name))]
        if what.training.seeds > 1:
            return train_seeds(what, watcher, accepted)
        return [train_run(what, watcher, accepted, _agreement(yes))]


def _train_walk(
    asked: _Walk,
    accepted: tuple[str, ...],
    workers: int | None,
    cluster: str | None,
    *,
    progress: Progress,
    views: Views,
) -> RunFolder:
    """Train the folds, one after another in this process or side by side."""
    from qhq.experiment.config import load_config
    from qhq.studies.runner import Runner, check_workers, cores, open_workers
    from qhq.studies.walk_forward.study import resume_walk, stays_here, train_walk

    check_count("workers", workers, 1, MOST_THREADS)
    check_workers(workers, cluster)
    followed = views.curves or views.tensorboard
    if followed and (cluster is not None or (workers or 1) > 1):
        option = "--watch" if views.curves else "--tensorboard"
        raise ConfigError(
            f"{option} follows one training at a time, in this process",
            got=f"{option} with --cluster" if cluster is not None else f"{option} with --workers {workers}",
            fix="Leave one of the two out",
        )
    what = asked.what
    config = load_config(str(what.config)) if isinstance(what, RunFolder) else what
    if cluster is None and workers is None:
        workers = 1 if followed or stays_here(config) else min(cores(), 8)

    def go(watcher: Watcher | None, runner: Runner | None) -> RunFolder:
        if isinstance(what, RunFolder):
            return resume_walk(what, watcher, accepted, runner=runner, remote=cluster is not None)
        return train_walk(config, watcher, accepted, runner=runner, remote=cluster is not None)

    if workers == 1:
        with open_training(progress, config.training.epochs, views) as watcher:
            return go(watcher, None)
    with open_steps(progress) as steps, open_workers(workers, cluster, steps.note) as who:
        return go(None, Runner(who, steps))
