"""Pages: one HTML file about a run, several runs, a sweep or an ablation."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qhq.api.given import reference_of
from qhq.api.run import Run, open_run
from qhq.errors import ConfigError
from qhq.files import write_atomically
from qhq.paths import runs_dir
from qhq.progress import Progress, noting
from qhq.runs.run_folder import WALK, RunFolder, gather_runs

if TYPE_CHECKING:
    from qhq.report.page import Page

_PAGE = "report.html"
# Records of studies that have a page of their own, and the folder of the runs folder that holds them.
_STUDIES = {"sweep.json": "sweeps", "study.json": "studies"}


def write_report(
    *runs: str | os.PathLike[str], output: str | os.PathLike[str] | None = None, progress: Progress = None
) -> Path:
    """Write one HTML file that needs nothing else: of a run, several runs, a sweep or an ablation.

    Args:
        *runs: Runs, folders of runs, or globs; or the one folder of a sweep or an ablation. The latest
            finished run if left out.
        output: The file. If left out, ``report.html`` in the folder of the run or the study; of several runs,
            in the runs folder.
        progress: Where it is said which run is left out, and why.

    Returns:
        Its path.

    Raises:
        ConfigError: If a reference means no run or study, a record is damaged, or the file cannot be written.

    >>> import qhq
    >>> qhq.write_report("latest").name
    'report.html'
    """
    from qhq.report.page import render_page

    page, home = _made([str(reference_of(each)) for each in runs], noting(progress))
    path = home / _PAGE if output is None else Path(output)
    try:
        write_atomically(path, render_page(page))
    except OSError as error:
        raise ConfigError(
            "The page must be writable",
            got=f"{path}: {error.strerror or error}",
            fix="Name a file in a folder that exists with --output",
        ) from error
    return path.absolute()


def _made(references: Sequence[str], note: Callable[[str], None]) -> tuple[Page, Path]:
    """The page, and the folder that it belongs into."""
    studies = {reference: place for reference in references if (place := _find_study(reference))}
    if studies and len(references) > 1:
        raise ConfigError(
            "A sweep or an ablation has a page of its own",
            got=f"{next(iter(studies))} together with other folders",
            fix="Name it alone",
        )
    if studies:
        return _study_page(*studies.values())
    runs = _find_runs(references)
    if len(runs) == 1:
        from qhq.report.run_page import run_page

        folder = RunFolder(runs[0].folder)
        return run_page(folder, runs[0].read()), folder.path
    from qhq.report.comparison_page import comparison_page
    from qhq.report.run_page import Material
    from qhq.runs.comparison import tabulate

    folders = [RunFolder(run.folder) for run in runs]
    table = tabulate(folders, note)
    known = {row["run"] for row in table.summaries}
    materials = [Material(each, each.read_record()) for each in folders if each.name in known]
    if not materials:
        raise ConfigError(
            "There must be runs to compare",
            got="none that can be read",
            fix="Name runs; 'qhq compare' lists them",
        )
    return comparison_page(materials, table), runs_dir()


def _find_runs(references: Sequence[str]) -> list[Run]:
    if len(references) <= 1:
        reference = references[0] if references else None
        # A folder that holds runs, or a glob, may mean several; the folder of a walk-forward is one.
        place = None if reference is None else _folder(reference, WALK)
        if reference is None or reference == "latest" or place is not None:
            return [open_run(place or reference)]
    return [Run(folder) for folder in gather_runs(references)]


def _folder(reference: str, *marks: str) -> Path | None:
    """Where a folder with one of some files is, by its path or its name below the runs folder."""
    homes = (Path(), runs_dir(), *(runs_dir() / name for name in _STUDIES.values()))
    places = (home / reference for home in homes)
    return next((place for place in places if any((place / mark).is_file() for mark in marks)), None)


def _find_study(reference: str) -> Path | None:
    return None if any(letter in reference for letter in "*?[") else _folder(reference, *_STUDIES)


def _study_page(place: Path) -> tuple[Page, Path]:
    from qhq.report.study_page import ablation_page, read_ablation, read_sweep, sweep_page

    if (place / "sweep.json").is_file():
        return sweep_page(read_sweep(RunFolder(place))), place
    record = read_ablation(RunFolder(place))
    title = f"Ablation of {record.config}"
    return ablation_page(title, record.verdict, {"Variants and baselines": record}), place
