"""The store behind the mirror: the only file that imports MLflow, and only once something is mirrored."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import filelock

from qhq.runs.mirror_entry import MirrorEntry

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

DATABASE, ARTIFACTS = "mlflow.db", "mlflow-artifacts"
_LOCK_SECONDS = 60.0
# MLflow's page then opens on the runs, not on its pages for language models.
_KIND = {"mlflow.experimentKind": "custom_model_development"}

_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "WARNING"}
# How long a store is waited for at first, in seconds; what the user has set wins, here and below.
_KNOCK = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "3",
    "PGCONNECT_TIMEOUT": "3",
}

# How long once it has answered.
_WORK = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}

_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")


@dataclass(frozen=True)
class MirrorTarget:
    """Which store and experiment: from MLflow's own variables, else a database in the runs folder."""

    root: Path
    uri: str
    experiment: str

    @property
    def is_default(self) -> bool:
        """Whether it is the database of the runs folder."""
        return self.uri == _database(self.root)

    @property
    def key(self) -> str:
        """Its name: no password, and no path for the one that moves with the runs."""
        uri = DATABASE if self.is_default else without_password(self.uri.partition("?")[0])
        return f"{uri}#{self.experiment}"

    @property
    def shown(self) -> str:
        """For a note."""
        return self.key.rpartition("#")[0]

    @property
    def lock(self) -> Path:
        """The file that one process at a time holds: beside a local database, else in the runs folder."""
        local = self.uri.removeprefix("sqlite:///")
        return Path(f"{local}.lock") if local != self.uri else self.root / ".mlflow.lock"


def without_password(text: str) -> str:
    """Take users and passwords out of every address.

    >>> without_password("no answer from https://me:secret@tracking.example/api")
    'no answer from https://tracking.example/api'
    """
    return re.sub(r"//[^/@\s]*@", "//", text)


def find_target(root: Path) -> MirrorTarget:
    """Where the runs below ``root`` are mirrored to."""
    # As MLflow has it: what a user has set for other tools holds here as well.
    uri = os.environ.get("MLFLOW_TRACKING_URI") or _database(root)
    path = uri.removeprefix("sqlite:///")
    if path != uri:
        uri = f"sqlite:///{Path(path).absolute()}"
    return MirrorTarget(root, uri, os.environ.get("MLFLOW_EXPERIMENT_NAME") or "qhq")


def _database(root: Path) -> str:
    return f"sqlite:///{root / DATABASE}"


@contextmanager
def open_store(target: MirrorTarget) -> Iterator[MirrorStore]:
    """Open the store alone, its tables and experiment made if need be.

    Raises:
        Exception: Whatever MLflow raises, or filelock.Timeout where another process holds it for long.
    """
    target.lock.parent.mkdir(parents=True, exist_ok=True)
    # Two processes that open a new SQLite store at once would both create its tables, and one of them fail.
    lock = filelock.FileLock(target.lock, timeout=_LOCK_SECONDS)
    with lock, warnings.catch_warnings(), _environment(_QUIET):
        warnings.simplefilter("ignore")
        with _environment(_KNOCK):
            _knock(target.uri)
            from mlflow import MlflowClient

            client = MlflowClient(target.uri)
            store = _open(client, target)
        try:
            with _environment(_WORK):
                yield store
        finally:
            # A pool that the garbage collector closes complains of it.
            engine = getattr(client._tracking_client.store, "engine", None)
            if engine is not None:
                engine.dispose()


@contextmanager
def _environment(wanted: dict[str, str]) -> Iterator[None]:
    """Set variables of the process for a while; one that the user has set stays."""
    added = {key: value for key, value in wanted.items() if key not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for key in added:
            os.environ.pop(key, None)


def _knock(uri: str) -> None:
    """Try a database once: MLflow itself would try a broken one for more than a minute."""
    if not uri.startswith(_DATABASES):
        return
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri)
    try:
        sqlalchemy.inspect(engine)
    finally:
        engine.dispose()


def _open(client: MlflowClient, target: MirrorTarget) -> MirrorStore:
    """Find the experiment, or make it."""
    known = client.get_experiment_by_name(target.experiment)
    if known is None:
        place = (target.root / ARTIFACTS).as_uri() if target.is_default else None
        made = client.create_experiment(target.experiment, artifact_location=place, tags=_KIND)
        known = client.get_experiment(made)
    # A store that was thrown away and made anew has none of what the folders remember of the old one.
    return MirrorStore(client, str(known.experiment_id), f"{target.key}@{known.creation_time}")


@dataclass(frozen=True)
class MirrorStore:
    """An open store."""

    client: MlflowClient
    experiment_id: str
    key: str
    """Its name in ``mlflow.json``."""

    def find(self, run_id: str | None, entry: MirrorEntry) -> str | None:
        """The id of the run that mirrors a unit, if there is one: the id that is remembered, else by its tag.

        MLflow never changes a parameter. A study that was asked again for other seeds gets a new run, and
        its old one goes to MLflow's trash.
        """
        known = self._get(run_id) if run_id is not None else None
        if known is not None and known.data.tags.get("qhq.identity") != entry.tags["qhq.identity"]:
            known = None  # a folder that somebody else made may remember the run of another
        if known is None:
            query = f"tags.`qhq.identity` = '{entry.tags['qhq.identity']}'"
            known = next(iter(self.client.search_runs([self.experiment_id], query, max_results=1)), None)
        if known is None:
            return None
        if any(entry.params.get(key) != value for key, value in known.data.params.items()):
            self.client.delete_run(known.info.run_id)
            return None
        return str(known.info.run_id)

    def _get(self, run_id: str) -> Run | None:
        from mlflow.exceptions import MlflowException

        try:
            run = self.client.get_run(run_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        # MLflow goes on to give a run that was deleted, until its garbage is collected.
        return run if run.info.lifecycle_stage == "active" else None

    def create(self, entry: MirrorEntry, parent: str | None = None) -> str:
        """Begin a run with its tags, below its parent if it has one; its id."""
        tags = {**entry.tags, **({"mlflow.parentRunId": parent} if parent else {})}
        run = self.client.create_run(self.experiment_id, entry.started, tags, entry.name)
        return str(run.info.run_id)

    def write(self, run_id: str, entry: MirrorEntry) -> None:
        """Log all of an entry; what the run has already is not doubled."""
        from mlflow.entities import Metric, Param, RunTag

        known = self.client.get_run(run_id).data
        params = [Param(key, text) for key, text in entry.params.items() if key not in known.params]
        tags = [RunTag(key, text) for key, text in entry.tags.items() if known.tags.get(key) != text]
        metrics = [Metric(each.key, each.value, each.time, each.step) for each in entry.points]
        # As many as a tracking server takes at once.
        for start in range(0, len(params), 100):
            self.client.log_batch(run_id, params=params[start : start + 100])
        for start in range(0, len(tags), 100):
            self.client.log_batch(run_id, tags=tags[start : start + 100])
        for start in range(0, len(metrics), 1000):
            self.client.log_batch(run_id, metrics=metrics[start : start + 1000])
        for path, folder in entry.files:
            self.client.log_artifact(run_id, str(path), folder)
        if entry.status == "RUNNING":
            self.client.update_run(run_id, status=entry.status)
        else:
            self.client.set_terminated(run_id, entry.status, entry.ended)
