"""A run and its verbs: its config, tables, model and circuit, and what can be asked of a trained model."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from qhq.api.evaluation import Evaluation, backend_names, forecast_costs, measure_portability, metrics_frame
from qhq.api.given import Changes, check_count, read_changes, read_day
from qhq.api.study import StudyResult, study_noise
from qhq.data.caveat import Caveat
from qhq.errors import ConfigError
from qhq.limits import MOST_COUNT, MOST_SEED, MOST_SHOTS
from qhq.progress import Progress, noting, open_steps
from qhq.runs.run_folder import FINISHED, LATEST, WALK, RunFolder, find_run, find_walk, is_run, read_walk

if TYPE_CHECKING:
    from datetime import date

    import pandas as pd

    from qhq.ansatz.program import Ansatz
    from qhq.experiment.config import ExperimentConfig
    from qhq.experiment.opening import Experiment
    from qhq.files import Json
    from qhq.models.features import Forecaster
    from qhq.runs.answers import Landscape, LandscapePart
    from qhq.runs.record import RunRecord, WalkRecord
    from qhq.runs.studies import NoiseRecord


class Run:
    """A training with its folder; nothing is read before it is asked for.

    Args:
        folder: The run's, or that of a walk-forward, which holds a run a fold.

    Attributes:
        folder: Its path.

    >>> import qhq
    >>> run = qhq.open_run("latest")
    >>> run.status, len(run.history)
    ('finished', 1)
    """

    def __init__(self, folder: RunFolder | os.PathLike[str] | str) -> None:
        self.folder = folder.path if isinstance(folder, RunFolder) else Path(folder).absolute()

    @property
    def name(self) -> str:
        """Name of the folder, by which every command finds it."""
        return self.folder.name

    @property
    def is_walk(self) -> bool:
        """Whether it is a walk-forward: a model a fold, and one verdict over all of them."""
        return (self.folder / WALK).is_file()

    @property
    def record(self) -> Json:
        """What ``qhq train --json`` prints, read anew each time.

        Raises:
            ConfigError: If it is missing or damaged.
        """
        # The path is not stored: a folder may be moved or copied, and says where it is now.
        return {**self.read().to_dict(), "path": str(self.folder)}

    def read(self) -> RunRecord | WalkRecord:
        """The record as a typed one, read anew each time.

        Raises:
            ConfigError: If it is missing or damaged.
        """
        if self.is_walk:
            return read_walk(RunFolder(self.folder))
        return RunFolder(self.folder).read_record()

    @property
    def status(self) -> str:
        """``running``, ``finished`` or ``failed``."""
        return self.read().status

    @property
    def config(self) -> ExperimentConfig:
        """Its config, every key spelled out."""
        from qhq.experiment.config import load_config

        return load_config(str(RunFolder(self.folder).config))

    @property
    def metrics(self) -> pd.DataFrame:
        """Errors on the test split, a row a forecast: ``model``, ``last_value`` and the other baselines."""
        forecasts = self._results().tested().forecasts
        return metrics_frame({name: each.row() for name, each in forecasts.items()})

    @property
    def forecasts(self) -> pd.DataFrame:
        """Forecasts of the test split beside what came, in the unit of the data; a row a symbol and date."""
        return _read_table(RunFolder(self.folder).file("predictions.csv"))

    @property
    def history(self) -> pd.DataFrame:
        """Losses and gradient norms, a row an epoch."""
        return _read_table(RunFolder(self.folder).file("history.csv"))

    @property
    def folds(self) -> list[Run]:
        """The runs of a walk-forward, the oldest fold first; none of an ordinary run."""
        return [Run(path.parent) for path in sorted(self.folder.glob("fold-*/run.json"))]

    @property
    def seeds(self) -> list[Run]:
        """The runs that were trained at once with it (``training.seeds``), by seed, itself among them."""
        from qhq.runs.run_folder import WALK
        from qhq.runs.seeds import trained_together

        every = trained_together(RunFolder(self.folder))
        return [Run(each) for each in every if is_run(str(each.path)) or each.file(WALK).is_file()]

    @property
    def caveat(self) -> Caveat:
        """What must be said first of a run whose data were split or scaled as a published study did."""
        return Caveat(tuple(self.read().leaks))

    @property
    def doubts(self) -> list[str]:
        """Sentences on what looks like a leak in its data, those that somebody accepted among them."""
        from qhq.experiment.plausibility import read_doubts

        return [doubt.sentence() for doubt in read_doubts(self.read().plausibility)]

    @property
    def verdict(self) -> str:
        """One sentence: the model's error beside that of its task's baseline; after the caveat, if any."""
        record = self._results()
        if self.is_walk:
            said = str(record.verdict)
        else:
            from qhq.experiment.words import say_test

            said = say_test(record.tested())
        return f"{self.caveat.sentence} {said}" if self.caveat else said

    @property
    def model(self) -> Forecaster:
        """The trained model, a torch module on the exact engine; ``model.quantum`` is its quantum layer."""
        return self._experiment.model

    @property
    def ansatz(self) -> Ansatz | None:
        """The circuit as it ran; None without one."""
        from qhq.ansatz.stored import load_built

        # From the folder, not from the config: the file in circuits/ may have been edited since.
        path = RunFolder(self.folder).circuit
        return load_built(path) if path.is_file() else None

    @cached_property
    def _experiment(self) -> Experiment:
        from qhq.experiment.reopening import open_trained as open_experiment

        return open_experiment(self._single("opened"))

    def _single(self, what: str) -> RunFolder:
        """The folder of one model; a walk-forward has many."""
        if not self.is_walk:
            return RunFolder(self.folder)
        raise ConfigError(
            f"A walk-forward has a model a fold, and only one model can be {what}",
            got=self.name,
            fix="Take a fold: open_run(...).folds[-1]",
        )

    def _results(self) -> RunRecord | WalkRecord:
        """The record of a finished run."""
        if not self.is_walk:
            from qhq.experiment.reopening import read_finished

            return read_finished(RunFolder(self.folder))
        record = self.read()
        if record.status != FINISHED:
            raise ConfigError(
                "Only a finished walk-forward has results",
                got=f"{self.name}, which was cut off or is still training",
                fix=f"Continue it with train(resume='{self.name}')",
            )
        return record

    def evaluate(
        self,
        *backends: str,
        samples: int | None = None,
        shots: int | None = None,
        seed: int = 0,
        data: str | os.PathLike[str] | None = None,
        set: Changes | None = None,
        since: date | str | None = None,
        mitigation: Sequence[str] | str = (),
        dry_run: bool = False,
        service: bool = False,
        yes: bool | Callable[[Evaluation], bool] = False,
        progress: Progress = None,
        on_result: Callable[[Evaluation], object] | None = None,
    ) -> Evaluation:
        """Forecast with the same weights on one or more backends, beside the exact simulator.

        Args:
            *backends: Entries of ``backends.yaml``, devices, or globs such as ``ibm_*``; ``aer`` if left out.
            samples: A seeded subset of so many test windows; all if left out.
            shots: Shots instead of the entry's, on backends that sample.
            seed: Of the shots and of the subset.
            data: Other data than the run's, such as newer rows: a file, or a folder of recorded chains.
            set: Keys of ``data`` that change where the rows come from.
            since: First target to evaluate, with other data.
            mitigation: Methods against noise, each with a row of its own: ``none``, ``trex``, ``zne``,
                ``pec``, ``affine``, ``head``, or ``all`` that a backend can carry out; see docs/noise.md.
                Left out, each entry runs as it stands.
            dry_run: Forecast what hardware would cost, and send nothing: only ``costs`` is filled then.
            service: With ``dry_run``, also ask the service for its own forecast.
            yes: Agreement to what hardware costs: True, or what is shown a dry run and answers.
            progress: Where progress goes, see `train`.
            on_result: Called with the result before it is mirrored into MLflow.

        Raises:
            QHQError: If the run is not finished, a backend is unknown or fails, would ignore a method, or
                hardware is not agreed to.

        >>> import qhq
        >>> qhq.open_run("latest").evaluate("aer", "aer_shots", samples=8).metrics.index.to_list()
        ['aer', 'aer_shots']
        """
        if service and not dry_run:
            raise ConfigError(
                "--service needs --dry-run: it asks what jobs would cost",
                got="--service alone",
                fix="Add --dry-run, or leave --service out",
            )
        folder = self._single("evaluated")
        wanted = backend_names(backends)
        # Before torch and the run are loaded: a mistyped number is refused at once, as on the command line.
        check_count("samples", samples, 1, MOST_COUNT)
        check_count("shots", shots, 1, MOST_SHOTS)
        check_count("seed", seed, 0, MOST_SEED)
        overrides, _ = read_changes(set, circuits=False)
        methods = (mitigation,) if isinstance(mitigation, str) else tuple(mitigation)
        from qhq.studies.selection import reach_backends

        # The devices are asked while PyTorch, the run and its prices are read.
        connections = reach_backends(wanted, shots)
        from qhq.experiment.other_data import OtherDataRequest
        from qhq.studies.mitigation import read_methods
        from qhq.studies.portability_plan import EvalRequest, plan_evaluation

        other = OtherDataRequest(None if data is None else os.fspath(data), tuple(overrides), read_day(since))
        request = EvalRequest(wanted, samples, shots, seed, other, read_methods(methods))
        plan = plan_evaluation(folder, request, connections, ask_service=service)
        # Forecast even without a dry run: what is agreed to below is this very plan.
        forecast = forecast_costs(plan)
        if dry_run:
            if on_result is not None:
                on_result(forecast)
            return forecast
        if any(cost.jobs for cost in plan.costs) and not (yes(forecast) if callable(yes) else yes):
            raise ConfigError(
                "A run on hardware must be confirmed",
                got=f"no --yes for {', '.join(cost.backend for cost in plan.costs)}",
                fix="Look with --dry-run what it costs, then add --yes",
            )
        note = noting(progress)
        with open_steps(progress) as steps:
            evaluation = measure_portability(plan, steps, note)
        if on_result is not None:
            on_result(evaluation)
        from qhq.runs.mirror import mirror_run

        mirror_run(folder, note)
        return evaluation

    def predict(
        self,
        backend: str = "aer",
        *,
        level: float | Sequence[float] = 0.9,
        data: str | os.PathLike[str] | None = None,
        set: Changes | None = None,
        since: date | str | None = None,
        until: date | str | None = None,
        offline: bool = False,
        shots: int | None = None,
        seed: int = 0,
        yes: bool = False,
        progress: Progress = None,
    ) -> pd.DataFrame:
        """Forecast the sessions after the last row, of every symbol or contract, with intervals.

        Of a walk-forward the newest fold forecasts. Nothing is fitted.

        Args:
            backend: Entry of ``backends.yaml``, or a device.
            level: Probability that an interval holds what comes, or several.
            data: Rows to forecast from, a file or a folder of recorded chains; the run's own source, read
                anew, if left out.
            set: Keys of ``data`` that change where the rows come from.
            since: First session to forecast as it would have been; what has come is in the column ``actual``.
            until: Last session; the run's horizon if left out.
            offline: Take Yahoo's prices from the cache alone.
            shots: Shots instead of the entry's, on backends that sample.
            seed: Of the shots.
            yes: Agreement to what hardware costs; ``qhq predict --dry-run`` says how much.
            progress: Where progress goes, see `train`.

        Returns:
            A row a series, session, target and level: ``symbol``, ``made_after``, ``date``, ``horizon``,
            ``target``, ``forecast``, ``low``, ``high``, ``level``, ``last_value``, in the unit of the data.
            ``attrs`` have what else ``qhq predict --json`` prints, such as ``skill`` and ``last_row``.

        Raises:
            QHQError: If the run is not finished, the data do not fit it, no series has what a forecast takes,
                or hardware is not agreed to.

        >>> import qhq
        >>> qhq.open_run("latest").predict(level=[0.5, 0.9])["level"].unique().tolist()
        [0.5, 0.9]
        """
        from qhq.api.prediction import predict_run

        made = predict_run(
            RunFolder(self.folder), backend, level=level, data=data, set=set, since=since, until=until,
            offline=offline, shots=shots, seed=seed, yes=yes, progress=progress,
        )  # fmt: skip
        return made.to_frame()

    def finetune(
        self,
        backend: str,
        *,
        freeze: str = "circuit",
        samples: int | None = None,
        yes: bool | Callable[[Evaluation], bool] = False,
        progress: Progress = None,
    ) -> Run:
        """Fit the head anew to what a backend gives, and save the model as a new run.

        The head is fitted to give, of the backend's values for some training windows, what the exact model
        gives, as ``mitigation="head"`` of `evaluate` does. Everything before it keeps its weights.

        Args:
            backend: Entry of ``backends.yaml``, or a device.
            freeze: What keeps its weights: ``"circuit"``, and all that stands before it.
            samples: Windows of each split at most, a seeded subset: training ones to fit the head on,
                validation ones for the intervals, test ones for the errors; 128 if left out.
            yes: Agreement to what a device costs, see `train`.
            progress: Where progress goes, see `train`.

        Raises:
            QHQError: If the run is not finished, has no circuit or no linear head, or a device is not agreed
                to.
        """
        from qhq.api.training import train

        return train(
            from_run=self._single("fine-tuned").path,
            backend=backend,
            freeze=freeze,
            samples=samples,
            yes=yes,
            progress=progress,
        )

    def report(self, output: str | os.PathLike[str] | None = None) -> Path:
        """Write everything that the run's folder knows into one HTML file that needs nothing else.

        Args:
            output: The file; ``report.html`` in the folder if left out.

        Returns:
            Its path.

        Raises:
            ConfigError: If the record is missing or damaged, or the file cannot be written.

        >>> import qhq
        >>> qhq.open_run("latest").report().name
        'report.html'
        """
        from qhq.api.report import write_report

        return write_report(self, output=output)

    def landscape(
        self,
        *,
        points: int = 21,
        span: float = 1.0,
        samples: int = 256,
        seed: int = 0,
        part: LandscapePart = "all",
        progress: Progress = None,
    ) -> Landscape:
        """Measure the training loss around the weights in two random directions, for the report and a figure.

        Directions are filter-normalised (Li et al., 2018): a step of 1 is as long as the weights. The model
        is never changed. It takes ``points`` squared forward passes on the exact engine, which it says first.

        Args:
            points: Of each direction, an odd number.
            span: How far it goes to both sides.
            samples: Training windows that the loss is computed of.
            seed: Of the directions.
            part: ``all`` weights, or those of the ``circuit`` alone.
            progress: Where the progress goes, see `train`.

        Returns:
            The losses; ``studies/landscape.json`` and ``figures/landscape.png`` of the folder have them, too.

        Raises:
            QHQError: If the run is not finished, was not trained by gradients, or has no such weights.
        """
        from qhq.api.landscape import study_landscape

        return study_landscape(
            self._single("looked at from above"), points=points, span=span, samples=samples, seed=seed,
            part=part, progress=progress,
        )  # fmt: skip

    def noise(
        self,
        backend: str = "aer_noisy",
        *,
        scale: Sequence[float] | str = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0),
        shots: Sequence[int | str | None] | str = ("exact", 256, 1024, 4096),
        seeds: int = 3,
        samples: int | None = 128,
        seed: int = 0,
        mitigation: Sequence[str] | str = (),
        against: Sequence[str] | str = (),
        qubits: Sequence[int] | str = (),
        depth: Sequence[int] | str = (),
        workers: int | None = None,
        cluster: str | None = None,
        progress: Progress = None,
        on_result: Callable[[StudyResult[NoiseRecord]], object] | None = None,
    ) -> StudyResult[NoiseRecord]:
        """Measure forecast and expectation error against noise strength and shots; resumable.

        Args:
            backend: A simulated backend with noise.
            scale: Noise strengths: 0 is none, 1 the device itself.
            shots: Numbers of shots; ``"exact"`` (or None) draws none.
            seeds: Streams of shots that a cell is repeated for.
            samples: A seeded subset of so many test windows.
            seed: Of the shots and of the subset.
            mitigation: Methods against noise to rank, as for `evaluate`, or ``all``.
            against: Other simulated entries with noise: other devices, or the device on another day.
            qubits: Other widths of the circuit, measured by itself at random angles: ``record["sizes"]``.
            depth: Other numbers of its layers, likewise; each depth at each width.
            workers: Processes; this one alone if left out.
            cluster: Address of a Dask scheduler, instead.
            progress: Where the progress of the cells goes, see `train`.
            on_result: Called with the result before it is mirrored into MLflow.

        Raises:
            QHQError: If the backend has no noise, the run has no circuit, or a cell cannot be measured.
        """
        return study_noise(
            self._single("looked at under noise"), backend, scale=scale, shots=shots, seeds=seeds,
            samples=samples, seed=seed, mitigation=mitigation, against=against, qubits=qubits,
            depth=depth, workers=workers, cluster=cluster, progress=progress, on_result=on_result,
        )  # fmt: skip

    def __fspath__(self) -> str:
        """Its folder: a run can stand wherever the path of one can."""
        return str(self.folder)

    def __eq__(self, other: object) -> bool:
        """Whether it is the same folder."""
        return isinstance(other, Run) and other.folder == self.folder

    # A class that defines __eq__ has no hash of its own any more, and a run could be no key of a mapping.
    def __hash__(self) -> int:
        return hash(self.folder)

    def __repr__(self) -> str:
        """Name, status, backend and skill; the caveat too, if there is one."""
        record = self.read()
        own = None if record.metrics is None else record.metrics.test
        skill = None if own is None else own.skill
        said = [record.status, f"backend {record.backend}"]
        said += [] if skill is None else [f"skill {skill:+.4f} over the last value"]
        said += [self.caveat.mark] if self.caveat else []
        return f"<Run {self.name}: {', '.join(said)}>"


def open_run(run: str | os.PathLike[str] | None = LATEST) -> Run:
    """Open a run: its config, metrics, forecasts, model and circuit are there when they are asked for.

    Args:
        run: Its folder or name, or that of a walk-forward; by default the latest finished one.

    Raises:
        ConfigError: If there is none; it names the nearest.

    >>> import qhq
    >>> qhq.open_run("latest").metrics.index[:2].to_list()
    ['model', 'last_value']
    """
    if isinstance(run, Run):
        return run
    if run is None:
        return Run(find_run(None))
    if not isinstance(run, str | os.PathLike):
        raise ConfigError(
            "RUN must be a run folder or the name of one",
            got=f"a {type(run).__name__}",
            fix="Give its path or its name, or 'latest'; compare() lists them",
        )
    walk = None if is_run(os.fspath(run)) else find_walk(os.fspath(run))
    return Run(walk or find_run(os.fspath(run)))


def _read_table(path: Path) -> pd.DataFrame:
    from qhq.report.figures import read_run_table

    try:
        return read_run_table(path)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            "A finished run must hold its tables",
            got=f"{path}: {type(error).__name__}: {error}",
            fix="Continue it with train(resume=...), or take another run",
        ) from error
