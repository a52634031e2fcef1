"""The run folder: plain files, each written whole or not at all.

::

    config.yaml         the resolved config
    run.json            status, design, results, versions, git commit, seeds
    model.safetensors   weights of the best validation epoch
    resume.pt           what a run cut off continues from
    history.csv         losses, gradient norms and learning rate of each epoch
    predictions.csv     symbol, date, horizon, actual, forecast, naive
    circuit.qpy/.qasm   the circuit as it ran
    model.py            the program that builds a module of one's own
    evals/              one JSON a `qhq eval`
    predictions/        one JSON a `qhq predict`
    figures/            pictures
"""

from __future__ import annotations

import datetime
import json
import platform
import re
import subprocess
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypedDict

from qhq import __version__
from qhq.errors import ConfigError, Interrupted, nearest
from qhq.files import held_alone, holder_is_gone, make_folder, own_file, write_atomically
from qhq.paths import as_argument, find_study_file, runs_dir
from qhq.runs.record import RunRecord, WalkRecord
from qhq.runs.schema import Record, read_record

RUNNING, FINISHED, FAILED = "running", "finished", "failed"
"""Status of a run: a failed one says why under ``error``; ``--resume`` tries it again."""

INTERRUPTED = "interrupted"
"""What is shown of a run whose record says running and whose process is gone; no record has it."""

WALK = "walk.json"
"""Record of a walk-forward, whose folder holds a run a fold."""

# Files that no folder but a run's has.
_MARKS = ("run.json", "model.safetensors", "resume.pt")


@dataclass(frozen=True)
class RunFolder:
    """One run on disk."""

    path: Path

    @property
    def name(self) -> str:
        """The folder's name, unique below the runs folder."""
        return self.path.name

    def file(self, name: str) -> Path:
        """A file or folder inside, by its path below the folder; it need not be there.

        Raises:
            ConfigError: If a link leads out of the folder: somebody else may have made it.
        """
        return own_file(self.path, name)

    @property
    def config(self) -> Path:
        """``config.yaml``."""
        return self.file("config.yaml")

    @property
    def weights(self) -> Path:
        """``model.safetensors``."""
        return self.file("model.safetensors")

    @property
    def resume(self) -> Path:
        """``resume.pt``."""
        return self.file("resume.pt")

    @property
    def circuit(self) -> Path:
        """``circuit.qpy``; missing where the run has no quantum layer."""
        return self.file("circuit.qpy")

    @property
    def module(self) -> Path:
        """``model.py``, the program that builds a module of one's own; missing where the run has none."""
        return self.file("model.py")

    @property
    def figures(self) -> Path:
        """``figures/``."""
        return self.file("figures")

    @contextmanager
    def resumable(self) -> Iterator[None]:
        """Let an interrupt while the block runs name the command that goes on with this run.

        Raises:
            Interrupted: Instead of a plain KeyboardInterrupt.
        """
        try:
            yield
        except Interrupted:
            raise
        except KeyboardInterrupt:
            raise Interrupted(f"qhq train --resume {as_argument(self.path)}") from None

    def write_text(self, name: str, text: str) -> Path:
        """Write one text file whole: a reader never sees half of it.

        Raises:
            ConfigError: If the folder cannot be written.
        """
        target = self.file(name)
        with writable(target):
            write_atomically(target, text)
        return target

    def write_json(self, name: str, content: Record | Mapping[str, object]) -> Path:
        """Write one JSON file whole, keys in the order given."""
        return self.write_text(name, _as_json(content))

    def write_record(self, record: RunRecord) -> Path:
        """Write ``run.json``."""
        return self.write_json("run.json", record)

    def add_evaluation(self, content: Record | Mapping[str, object]) -> Path:
        """Write one evaluation under ``evals/``, never over another."""
        return self._add("evals", content)

    def add_prediction(self, content: Record | Mapping[str, object]) -> Path:
        """Write one prediction under ``predictions/``, never over another."""
        return self._add("predictions", content)

    def _add(self, below: str, content: Record | Mapping[str, object]) -> Path:
        # Time first, so that a listing sorts by it; the rest keeps two records of one millisecond apart.
        path = self.file(below) / f"{_stamp()}-{uuid.uuid4().hex[:6]}.json"
        with writable(path):
            # Of hardware it names jobs and instances, as the journal does: for its owner alone.
            write_atomically(path, _as_json(content), mode=0o600)
        return path

    def read_record(self) -> RunRecord:
        """Read ``run.json``; ``run`` is what the folder is called now: it may have been renamed or copied.

        Raises:
            ConfigError: If it is missing or damaged.
        """
        return read_record(RunRecord, self.file("run.json"), run=self.name)

    def is_abandoned(self) -> bool:
        """Whether the process that worked on it last is gone; not seen of one on another machine.

        Raises:
            ConfigError: If a link leads out of the folder.
        """
        return holder_is_gone(self.file(".lock"))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run or study alone: two processes never train into one folder.

        Raises:
            ConfigError: If another process holds it; says which.
        """
        held = held_alone(
            self.file(".lock"),
            must="A run or study must be worked on by one process at a time",
            fix="Wait for it to end, and call this again: what is done by then is not done again",
        )
        with ExitStack() as stack:
            # Only taking the lock may fail as a write; what happens while it is held has errors of its own.
            with writable(self.path):
                stack.enter_context(held)
            yield


def _as_json(content: Record | Mapping[str, object]) -> str:
    plain = content.to_dict() if isinstance(content, Record) else content
    # NaN is no JSON: other readers refuse the whole file over it, so it fails here, where it comes from.
    return json.dumps(plain, indent=2, allow_nan=False) + "\n"


def create_run(name: str, seed: int, fill: Callable[[RunFolder], None]) -> RunFolder:
    """Make a new run folder, named after time, config and seed.

    It is filled under a hidden name and appears under its own only when ``fill`` is through, so that
    a kill never leaves half a run.

    Raises:
        ConfigError: If the runs folder cannot be written.
    """
    with writable(runs_dir()):
        path = runs_dir() / new_name(name, seed)
        # Numbered: two trainings of one config may begin in the same millisecond.
        return RunFolder(make_folder(path, lambda new: fill(RunFolder(new)), numbered=True))


def new_name(name: str, seed: int) -> str:
    """Name a run folder after now, its config and its seed."""
    return f"{_stamp()}-{name}-s{seed}"


def is_run_name(name: object) -> bool:
    """Whether something is a name that `new_name` could have given: of one folder, below the runs folder."""
    return isinstance(name, str) and re.fullmatch(r"\d{8}-\d{6}-[A-Za-z0-9_.-]{1,200}", name) is not None


def is_run(reference: str) -> bool:
    """Whether a text is the folder or the name of a run."""
    return _run_at(reference) is not None


def _run_at(reference: str) -> Path | None:
    """Where a run's folder is, by its path or by its name below the runs folder; its record may be lost."""
    places = (Path(reference), runs_dir() / reference)
    return next((path for path in places if any((path / name).is_file() for name in _MARKS)), None)


LATEST = "latest"
"""What stands for the latest finished run where a name is asked for."""


def find_run(reference: str | None) -> RunFolder:
    """Find a run by its path or its name below the runs folder, by its config's name, or the latest finished.

    Args:
        reference: A folder, a name, ``latest`` or None for the latest finished run, or the ``name`` of a
            config for the latest finished run of that name.

    Raises:
        ConfigError: If there is none.
    """
    if reference is None:
        return _latest_run()
    path = _run_at(reference)
    if path is not None:
        return RunFolder(path.absolute())
    # A folder that somebody called so is that one, which is why these come last.
    if reference == LATEST:
        return _latest_run()
    named = _latest_named(reference)
    if named is not None:
        return named
    cut = find_unfinished(reference)
    if cut is not None:
        raise ConfigError(
            "A config's name stands for its latest finished run",
            got=f"'{reference}', whose latest run {cut.name} is not finished, and none before it",
            fix=f"Go on with it: 'qhq train --resume {as_argument(cut.path)}'; or give its own name to"
            " look at it as it is",
        )
    raise ConfigError(
        "RUN must be a run folder or the name of one",
        got=f"'{reference}', not found in {runs_dir()}",
        fix=nearest(reference, [run.name for run in list_runs()]),
    )


def find_unfinished(reference: str) -> RunFolder | None:
    """Find the latest run or walk-forward, by its config's name or ``latest``, that is not finished.

    Args:
        reference: The ``name`` of a config, or ``latest`` for the latest unfinished one of any config.

    Returns:
        None where all are finished, or there is none of that name. One that failed is not finished.
    """
    root = runs_dir()
    paths = sorted(root.iterdir(), reverse=True) if root.is_dir() else []
    for folder in (RunFolder(path) for path in paths if not path.name.startswith(".")):
        if reference not in (LATEST, _config_name(folder.name)):
            continue
        try:
            if (folder.path / WALK).is_file():
                status = read_walk(folder).status
            elif (folder.path / "run.json").is_file():
                status = folder.read_record().status
            else:
                continue
        except ConfigError:
            continue  # a damaged one cannot be gone on with
        if status != FINISHED:
            return folder
    return None


def find_walk(reference: str) -> RunFolder | None:
    """Find the folder of a walk-forward by its path or its name; None if it is none's."""
    places = (Path(reference), runs_dir() / reference)
    return next((RunFolder(each.absolute()) for each in places if (each / WALK).is_file()), None)


def read_walk(folder: RunFolder) -> WalkRecord:
    """Read ``walk.json``; ``run`` is what the folder is called now.

    Raises:
        ConfigError: If it is missing or damaged.
    """
    again = "Name another, or begin it anew with 'qhq train CONFIG'"
    return read_record(WalkRecord, folder.file(WALK), again, run=folder.name)


def list_runs() -> list[RunFolder]:
    """All run folders, oldest first; folders without a run.json are left out."""
    root = runs_dir()
    if not root.is_dir():
        return []
    # A hidden folder is a run that is being laid down, or was when its process was killed.
    paths = (path for path in sorted(root.iterdir()) if not path.name.startswith("."))
    return [RunFolder(path) for path in paths if (path / "run.json").is_file()]


def _stamp() -> str:
    """Now, in UTC, to the millisecond, so that names sort by time."""
    now = datetime.datetime.now(tz=datetime.UTC)
    return f"{now:%Y%m%d-%H%M%S}-{now.microsecond // 1000:03d}"


def refers_to_run(reference: str) -> bool:
    """Whether a text that may name a run or a config names a run.

    A folder or a name of a run does; ``latest`` and a config's name do where no config file is meant.
    """
    if is_run(reference):
        return True
    if find_study_file(reference) is not None:
        return False
    # An unfinished run is meant too, if only to hear that it is not finished.
    return reference == LATEST or any(_config_name(run.name) == reference for run in list_runs())


def check_subject(reference: str) -> None:
    """Refuse a text that names neither a run nor a config, before anything else is opened.

    Raises:
        ConfigError: If it names neither.
    """
    if refers_to_run(reference) or find_study_file(reference) is not None or Path(reference).exists():
        return
    raise ConfigError(
        "RUN or CONFIG must be a run, a YAML file, or a folder with a config.yaml",
        got=f"'{reference}', which is neither",
        fix="Check the path or the name; 'qhq compare' lists the runs",
    )


def _latest_named(name: str) -> RunFolder | None:
    """The latest finished run of a config's name."""
    runs = reversed(list_runs())
    return next((run for run in runs if _config_name(run.name) == name and _is_finished(run)), None)


def _config_name(run: str) -> str | None:
    """The config's name in that of a run, as `new_name` puts it there; None in a renamed folder."""
    found = re.fullmatch(r"\d{8}-\d{6}-\d{3}-(.+)-s\d+", run)
    # Of a name with dashes in it the greedy group takes all: the seed is the last part, whatever comes
    # before.
    return found and found[1]


def _is_finished(run: RunFolder) -> bool:
    try:
        return run.read_record().status == FINISHED
    except ConfigError:
        return False  # a damaged run is not a finished one


def _latest_run() -> RunFolder:
    # The name begins with the time; a record need only be read until one is finished.
    for run in reversed(list_runs()):
        if _is_finished(run):
            return run
    raise ConfigError(
        "There must be a finished run", got=f"none in {runs_dir()}", fix="Run 'qhq train --backend aer' first"
    )


@contextmanager
def writable(path: Path) -> Iterator[None]:
    """Turn a failing write below ``path`` into an error in three parts.

    Raises:
        ConfigError: If the block raises an OSError.
    """
    try:
        yield
    except OSError as error:
        raise ConfigError(
            "The runs folder must be writable",
            got=f"{path}: {error.strerror or error}",
            fix="Set QHQ_RUNS_DIR to a folder that you can write, or free some space",
        ) from error


def gather_runs(references: Sequence[str]) -> list[RunFolder]:
    """Find runs, each once, in the order asked for; all runs if nothing is asked.

    Args:
        references: Each the name of a run, its folder, a folder that holds runs (such as a sweep's), or a
            glob over names or paths of either.

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
        # A run whose folder also holds the runs of a study is still the run that was named.
        if inside and not (place / "run.json").is_file():
            return inside
    return [find_run(reference)]


def _inside(place: Path) -> list[RunFolder]:
    """Runs directly in a folder, or in the ``trials`` of a sweep's."""
    paths = sorted([*place.glob("*/run.json"), *place.glob("trials/*/run.json")])
    return [RunFolder(path.parent.absolute()) for path in paths if path.parent.name[0] != "."]


def _matching(pattern: str) -> list[RunFolder]:
    absolute = Path(pattern).is_absolute()
    roots = [Path(Path(pattern).anchor)] if absolute else [Path(), runs_dir()]
    rest = str(Path(pattern).relative_to(Path(pattern).anchor)) if absolute else pattern
    # A pattern of pathlib's matches hidden folders too: of runs that are being made.
    places = [[path for path in sorted(root.glob(rest)) if not path.name.startswith(".")] for root in roots]
    for found in places:
        if paths := [path for path in found if (path / "run.json").is_file()]:
            return [RunFolder(path.absolute()) for path in paths]
    # As a shell would have expanded it, into folders that hold runs.
    for found in places:
        if inside := [run for path in found for run in _inside(path)]:
            return inside
    raise ConfigError(
        "RUN must name a run, a folder of runs, or match some",
        got=f"'{pattern}', which matches none here or in {runs_dir()}",
        fix="Quote the pattern, and look with 'qhq compare' which runs there are",
    )


# Packages whose versions decide numbers.
_PACKAGES = ("qiskit", "qiskit-aer", "qiskit-machine-learning", "torch", "numpy", "pandas")


class Commit(TypedDict):
    """A commit of the user's repository, and whether files differ from it."""

    commit: str
    changed: bool


class Provenance(TypedDict):
    """What a record says of when, by what and from where it is."""

    created: str
    versions: dict[str, str]
    git: Commit | None


def provenance() -> Provenance:
    """``created``, ``versions`` and ``git``: what a record says of itself, be it of a run or a study.

    ``git`` has the commit of the current folder's repository and whether it has changes; None outside of one.
    The folder is the user's, whose configs and circuits it is that change; qhq has its version.
    """
    commit, status = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    return {
        "created": now(),
        "versions": {"python": platform.python_version(), "qhq": __version__}
        | {each: _version(each) for each in _PACKAGES},
        # Untracked files do not count as changes: outputs of runs would make every commit a changed one.
        "git": None if commit is None else {"commit": commit, "changed": bool(status)},
    }


def now() -> str:
    """Now, in UTC, as ISO 8601."""
    return datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _git(*arguments: str) -> str | None:
    try:
        # A repository on a disk that hangs must not hold up the end of a training.
        answer = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
