"""Which runs are meant: by name, by folder, by a folder of runs, or by a glob."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qhq.errors import ConfigError
from qhq.paths import runs_dir
from qhq.runs.run_folder import RunFolder, find_run, list_runs


def gather_runs(references: Sequence[str]) -> list[RunFolder]:
    """Find runs, each once, in the order asked for; all runs if nothing is asked.

    Args:
        references: Each the name of a run, its folder, a folder that holds runs (such as a sweep's), or a
            glob over names or paths.

    Raises:
        ConfigError: If one of them means no run.
    """
    if not references:
        return list_runs()
    found = {run.path: run for reference in references for run in _meant(reference)}
    return list(found.values())


def _meant(reference: str) -> list[RunFolder]:
    if any(letter in reference for letter in "*?["):
        return _matching(reference)
    for place in (Path(reference), runs_dir() / reference):
        inside = _inside(place)
        if inside and not (place / "run.json").is_file():
            return inside
    return [find_run(reference)]


def _inside(place: Path) -> list[RunFolder]:
    """Runs directly in a folder, or in the ``trials`` of a sweep's."""
    paths = sorted([*place.glob("*/run.json"), *place.glob("trials/*/run.json")])
    return [RunFolder(path.parent.absolute()) for path in paths if not path.parent.name.startswith(".")]


def _matching(pattern: str) -> list[RunFolder]:
    absolute = Path(pattern).is_absolute()
    roots = [Path(Path(pattern).anchor)] if absolute else [Path(), runs_dir()]
    rest = str(Path(pattern).relative_to(Path(pattern).anchor)) if absolute else pattern
    for root in roots:
        # A pattern of pathlib's matches hidden folders too: of runs that are being made.
        found = (path for path in sorted(root.glob(rest)) if not path.name.startswith("."))
        paths = [path for path in found if (path / "run.json").is_file()]
        if paths:
            return [RunFolder(path.absolute()) for path in paths]
    raise ConfigError(
        "RUN must name a run, a folder of runs, or match some",
        got=f"'{pattern}', which matches none here or in {runs_dir()}",
        fix="Quote the pattern, and look with 'qhq compare' which runs there are",
    )
