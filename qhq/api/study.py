"""Many measurements for one question: a noise study, an ablation, a sweep."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from qhq.api.given import Changes, Config, check_count, read_changes, read_subject, reference_of
from qhq.data.caveat import Caveat
from qhq.errors import ConfigError
from qhq.limits import MOST_COUNT, MOST_FACTOR, MOST_SEED, MOST_SHOTS, MOST_THREADS
from qhq.progress import Progress, noting, open_stages, open_steps
from qhq.runs.run_folder import RunFolder, find_run, find_walk

if TYPE_CHECKING:
    import pandas as pd

    from qhq.files import Json
    from qhq.runs.studies import (
        AblationRecord,
        ControlsRecord,
        NoiseRecord,
        StageRecord,
        StudyRecord,
        SweepRecord,
    )
    from qhq.studies.runner import Runner

_STAGED = "experiments/staged"
CONTROLS = {"random_walk": "Control: random walk", "planted": "Control: planted signal"}
"""Titles of an ablation's controls."""


_FoundT_co = TypeVar("_FoundT_co", bound="StudyRecord", covariant=True)


class StudyResult(Generic[_FoundT_co]):
    """What came of a study.

    Args:
        found: Its record.
        folder: Where it is kept.

    Attributes:
        found: The same, typed: `qhq.runs.studies` has the keys.
        record: The same as plain JSON: what the command prints with ``--json``.
        folder: The same.
    """

    def __init__(self, found: _FoundT_co, folder: Path) -> None:
        self.found, self.folder = found, folder
        self.record: Json = found.to_dict()

    @property
    def rows(self) -> pd.DataFrame:
        """Its table; of the controls of an ablation one below the other, named in the column ``control``."""
        import pandas as pd

        if "controls" not in self.record:
            return pd.DataFrame(self.record["rows"])
        return pd.concat(
            [
                pd.DataFrame(each["rows"]).assign(control=name)
                for name, each in self.record["controls"].items()
            ],
            ignore_index=True,
        )

    @property
    def verdict(self) -> str:
        """What it says, after the caveat of its data, if any."""
        caveat = Caveat(tuple(self.found.leaks))
        return f"{caveat.sentence} {self.found.verdict}" if caveat else self.found.verdict

    def __repr__(self) -> str:
        """Folder and verdict."""
        return f"<StudyResult {self.folder.name}: {self.verdict}>"


def study_noise(
    folder: RunFolder,
    backend: str,
    *,
    scale: Sequence[float] | str,
    shots: Sequence[int | str | None] | str,
    seeds: int,
    samples: int | None,
    seed: int,
    mitigation: Sequence[str] | str,
    against: Sequence[str] | str,
    qubits: Sequence[int] | str,
    depth: Sequence[int] | str,
    workers: int | None,
    cluster: str | None,
    progress: Progress,
    on_result: Callable[[StudyResult[NoiseRecord]], object] | None,
) -> StudyResult[NoiseRecord]:
    """Do what `qhq.api.run.Run.noise` says."""
    from qhq.report.figures import save_figure, try_figure
    from qhq.report.study_figures import draw_budget, draw_noise
    from qhq.studies.mitigation import read_methods
    from qhq.studies.noise import run_noise_study
    from qhq.studies.noise_cells import NoiseRequest
    from qhq.studies.runner import check_workers

    # Of a single seed or window there is no spread, and so no interval.
    for name, value in (("seeds", seeds), ("samples", samples)):
        check_count(name, value, 2, MOST_COUNT)
    check_count("seed", seed, 0, MOST_SEED)
    check_count("workers", workers, 1, MOST_THREADS)
    methods = read_methods((mitigation,) if isinstance(mitigation, str) else mitigation)
    # Each entry once: one that is named twice would be measured twice and look like two devices.
    others = tuple(dict.fromkeys((against,) if isinstance(against, str) else against))
    request = NoiseRequest(
        backend, _scales(scale), _shot_counts(shots), seeds, samples, seed, methods, others,
        _sizes("qubits", qubits, 1), _sizes("depth", depth, 0),
    )  # fmt: skip
    check_workers(workers, cluster)
    if cluster is None:
        workers = workers or 1  # one more takes seconds to start, which is most of such a study
    note = noting(progress)
    with _runner(progress, workers, cluster) as runner:
        record = run_noise_study(folder, request, runner)
    caveat = Caveat(tuple(record.leaks))
    path = try_figure(
        lambda path: save_figure(draw_noise(record), path, caveat),
        folder.file(f"figures/noise-{record.backend}.png"),
        note,
    )
    drawn = None
    if record.budget is not None:
        drawn = try_figure(
            lambda path: save_figure(draw_budget(record), path, caveat),
            folder.file(f"figures/budget-{record.backend}.png"),
            note,
        )
    record = record.updated(figure=path and str(path), budget_figure=drawn and str(drawn))
    study = StudyResult(record, folder.path)
    if on_result is not None:
        on_result(study)
    from qhq.runs.mirror import mirror_study

    mirror_study(folder, "noise", study.record, note, runs=[folder])
    return study


def _scales(scale: Sequence[float] | str) -> tuple[float, ...]:
    text = _listed(scale)
    try:
        scales = tuple(float(word) for word in text.split(","))
    except ValueError:
        scales = ()
    # Written the other way round, NaN would pass: it is neither above nor below any bound.
    if not scales or min(scales) < 0 or not max(scales) <= MOST_FACTOR:
        raise ConfigError(
            "--scale must be numbers from 0 up, separated by commas", got=f"'{text}'", fix="Write 0,0.5,1"
        )
    # In the order given, each once: a scale that is measured twice would weigh double in the line through
    # them.
    return tuple(dict.fromkeys(scales))


def _shot_counts(shots: Sequence[int | str | None] | str) -> tuple[int | None, ...]:
    text = _listed(shots)
    words = text.split(",")
    if not all(
        # Twenty digits are above every limit; of some thousands int() itself would raise.
        word == "exact" or (word.isdecimal() and len(word) < 20 and 0 < int(word) <= MOST_SHOTS)
        for word in words
    ):
        raise ConfigError(
            f"--shots must be whole numbers from 1 to {MOST_SHOTS:,} or the word exact, separated by commas",
            got=f"'{text}'",
            fix="Write exact,256,1024",
        )
    return tuple(dict.fromkeys(None if word == "exact" else int(word) for word in words))


def _sizes(name: str, values: Sequence[int] | str, least: int) -> tuple[int, ...]:
    text = _listed(values)
    words = text.split(",") if text else []
    # Nine digits are above the limit; of some thousands int() itself would raise.
    if not all(word.isdecimal() and len(word) < 9 and least <= int(word) <= MOST_COUNT for word in words):
        raise ConfigError(
            f"--{name} must be whole numbers from {least} to {MOST_COUNT:,}, separated by commas",
            got=f"'{text}'",
            fix="Write 2,4,6",
        )
    return tuple(dict.fromkeys(map(int, words)))


def _listed(values: Any) -> str:
    """Values as a shell has them: one text, separated by commas; None is ``exact``."""
    if isinstance(values, str):
        return values
    several = values if isinstance(values, Iterable) else [values]
    return ",".join("exact" if each is None else str(each) for each in several)


def ablate(
    subject: Config = None,
    *,
    seeds: int = 5,
    control: bool = False,
    workers: int | None = None,
    cluster: str | None = None,
    set: Changes | None = None,
    progress: Progress = None,
    on_result: Callable[[StudyResult[AblationRecord | ControlsRecord]], object] | None = None,
) -> StudyResult[AblationRecord | ControlsRecord]:
    """Ask whether the quantum layer earns its place: beside MLPs, a frozen circuit, none, and baselines.

    The same recipe, budget and seeds for all; resumable.

    Args:
        subject: A run or a config; the quickstart if left out.
        seeds: How many, from the config's own on.
        control: On a random walk and on a planted signal, instead of the data; ``record["passed"]`` says
            whether both gave what they must.
        workers: Processes; the cores if left out, 8 at most.
        cluster: Address of a Dask scheduler, instead.
        set: Config keys laid over it; ``quantum.ansatz`` also takes a circuit in memory.
        progress: Where the progress of the cells goes, see `qhq.train`.
        on_result: Called with the result before it is mirrored into MLflow.

    Raises:
        QHQError: If the config has no quantum layer, anything cannot be opened, or a cell fails.

    >>> import qhq
    >>> study = qhq.ablate("latest", seeds=1, workers=1)
    >>> study.rows["variant"][:3].to_list()
    ['hybrid', 'mlp', 'frozen']
    """
    # Before what takes seconds to import: a name that is none is told at once.
    config = read_subject(subject, set)
    from qhq.runs.mirror import mirror_study
    from qhq.runs.studies import AblationRecord
    from qhq.studies.ablation.study import AblationRequest, run_ablation, run_controls
    from qhq.studies.runner import check_workers, cores

    check_count("seeds", seeds, 1, MOST_COUNT)
    check_count("workers", workers, 1, MOST_THREADS)
    check_workers(workers, cluster)
    request = AblationRequest(seeds)
    if cluster is None:
        workers = workers or min(cores(), 8)
    note = noting(progress)
    with _runner(progress, workers, cluster) as runner:
        found = run_controls(config, request, runner) if control else run_ablation(config, request, runner)
    record = _illustrated(found, config.name, note)
    each_record = [record] if isinstance(record, AblationRecord) else [*record.controls.values()]
    study = StudyResult(record, Path(each_record[-1].folder))
    if on_result is not None:
        on_result(study)
    for each in each_record:
        mirror_study(RunFolder(Path(each.folder)), "ablation", each.to_dict(), note)
    return study


def _illustrated(
    record: AblationRecord | ControlsRecord, name: str, note: Callable[[str], None]
) -> AblationRecord | ControlsRecord:
    """Draw each study into its folder, write the page into the last one's, and say where they are."""
    from qhq.report.figures import try_figure
    from qhq.report.page import render_page
    from qhq.report.study_page import ablation_page
    from qhq.runs.studies import AblationRecord

    if isinstance(record, AblationRecord):
        record = _with_figure(record, note)
        title, studies = f"Ablation of {record.config}", {"Variants and baselines": record}
    else:
        record = record.updated(
            controls={key: _with_figure(each, note) for key, each in record.controls.items()}
        )
        title = f"Controls of {name}"
        studies = {CONTROLS[key]: each for key, each in record.controls.items()}
    page = ablation_page(title, record.verdict, studies)
    path = try_figure(
        lambda path: RunFolder(path.parent).write_text(path.name, render_page(page)),
        Path([*studies.values()][-1].folder) / "report.html",
        note,
    )
    return record.updated(page=path and str(path))


def _with_figure(record: AblationRecord, note: Callable[[str], None]) -> AblationRecord:
    from qhq.report.figures import save_figure, try_figure
    from qhq.report.study_figures import draw_ablation

    figure = try_figure(
        lambda path: save_figure(draw_ablation(record), path, Caveat(tuple(record.leaks))),
        Path(record.folder) / "ablation.png",
        note,
    )
    return record.updated(figure=figure and str(figure))


def sweep(
    config: str | os.PathLike[str] | Mapping[str, Any] = _STAGED,
    *,
    workers: int | None = None,
    cluster: str | None = None,
    resume: bool = False,
    set: Changes | None = None,
    progress: Progress = None,
    on_result: Callable[[StudyResult[SweepRecord]], object] | None = None,
) -> StudyResult[SweepRecord]:
    """Search stage by stage by the validation split, then test the winner with fresh seeds.

    The same call goes on where one was cut off.

    Args:
        config: A sweep's YAML or folder, or what would stand in it; the shipped one if left out.
        workers: Processes; the cores if left out.
        cluster: Address of a Dask scheduler, instead.
        resume: Refuse to begin anew.
        set: Keys of the sweep laid over it.
        progress: Where the progress of the trials goes, see `qhq.train`.
        on_result: Called with the result before it is mirrored into MLflow.

    Raises:
        QHQError: If a point makes no valid config, the prices cannot be had, or nothing can be trained.

    >>> import qhq
    >>> small = {"training.epochs": 1, "data.symbols": ["AAPL"], "data.start": "2012-01-01"}
    >>> depths = {"name": "circuit", "space": {"quantum.depth": [1, 2]}}
    >>> search = {"name": "depths", "set": small, "seeds": 1, "stages": [depths], "final": None}
    >>> qhq.sweep(search, workers=1).rows["status"].to_list()
    ['finished', 'finished']
    """
    from qhq.report.figures import draw_run_figures, save_figure, try_figure
    from qhq.report.study_figures import draw_stage, draw_walk_figure
    from qhq.runs.mirror import mirror_study
    from qhq.studies.runner import Runner, check_workers, open_workers
    from qhq.studies.sweep.spec import load_sweep
    from qhq.studies.sweep.study import open_sweep, run_sweep

    check_count("workers", workers, 1, MOST_THREADS)
    check_workers(workers, cluster)
    source = config if isinstance(config, Mapping) else reference_of(config) or _STAGED
    opened = open_sweep(*load_sweep(source, read_changes(set, circuits=False)[0]))
    if resume and not opened.has_begun:
        known = sorted(path.parent.name for path in opened.folder.path.parent.glob("*/sweep.yaml"))
        raise ConfigError(
            "--resume needs a sweep that was begun with the same config, prices and version",
            got=f"no {opened.folder.path.name}; known: {', '.join(known) or 'none'}",
            fix="Leave --resume out to begin it",
        )
    figures, metric, note = opened.folder.figures, opened.spec.metric, noting(progress)

    def draw(stage: StageRecord) -> None:
        try_figure(
            lambda path: save_figure(draw_stage(stage, metric), path, opened.start.data.caveat),
            figures / f"{stage.stage}.png",
            note,
        )

    with open_stages(progress, metric, draw) as shown:
        shown.note(f"Sweep {opened.folder.path}")
        with open_workers(workers, cluster, shown.note) as who:
            record = run_sweep(opened, Runner(who, shown))
    finals = [
        find_walk(name) or find_run(name)
        for row in (record.final.rows if record.final else [])
        for name in row.runs
    ]
    runs = [run for run in finals if find_walk(str(run.path)) is None]
    for run in runs:
        draw_run_figures(run, note)
    for run in finals:
        if run not in runs:
            draw_walk_figure(run, note)
    # A hidden file is one that another process is still writing.
    drawn = sorted(str(path) for path in figures.glob("[!.]*.png"))
    study = StudyResult(record.updated(figures=drawn), opened.folder.path)
    if on_result is not None:
        on_result(study)
    mirror_study(opened.folder, "sweep", study.record, note, runs=runs)
    return study


@contextmanager
def _runner(progress: Progress, workers: int | None, cluster: str | None) -> Iterator[Runner]:
    """Who measures the cells, and where their progress goes."""
    from qhq.studies.runner import Runner, open_workers

    with open_steps(progress) as shown, open_workers(workers, cluster, shown.note) as who:
        yield Runner(who, shown)
