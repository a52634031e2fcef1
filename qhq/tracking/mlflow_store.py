"""An MLflow tracking store, local or a server's: the only file that imports mlflow."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

import filelock

from qhq.paths import runs_dir
from qhq.tracking.entry import Entry

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
}
"""Unless the user has set them: nobody is told of anything, and who does not answer is given up soon."""

STATUS = {"finished": "FINISHED", "running": "RUNNING", "failed": "FAILED"}
LOCK_SECONDS = 120
METRICS_AT_ONCE, PARAMS_AT_ONCE, TAGS_AT_ONCE, LONGEST_PARAM, LONGEST_TAG = 1000, 100, 100, 500, 5000

T = TypeVar("T")


def store_uri() -> str:
    """Where runs are mirrored: ``MLFLOW_TRACKING_URI``, else a SQLite file in the runs folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{runs_dir() / 'mlflow.db'}"


def shown_uri(uri: str) -> str:
    """The same without a password."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


class Store:
    """An open store. Use `open_store`."""

    def __init__(self, uri: str) -> None:
        from mlflow import MlflowClient

        logging.getLogger("alembic").setLevel(logging.ERROR)
        self.client = MlflowClient(uri)
        self.experiment = self._experiment(uri, os.environ.get("MLFLOW_EXPERIMENT_NAME") or "qhq")

    def put(self, entry: Entry, *, known: str | None = None, parent: str | None = None) -> str:
        """Write an entry, over that of before if there is one.

        Args:
            entry: What to write.
            known: The store's own name of it, if it was written before.
            parent: The store's own name of what it belongs to.

        Returns:
            The store's own name of it.
        """
        number = self._find(entry, known) or self._create(entry, parent)
        self._log(number, entry)
        for path, folder in entry.files:
            self.client.log_artifact(number, str(path), folder or None)
        if entry.status != "running":
            self.client.set_terminated(number, STATUS[entry.status], entry.ended)
        return number

    def _experiment(self, uri: str, name: str) -> str:
        found = self.client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        beside = (runs_dir() / "mlartifacts").as_uri() if uri.startswith("sqlite") else None
        return str(self.client.create_experiment(name, artifact_location=beside))

    def _find(self, entry: Entry, known: str | None) -> str | None:
        """The run that an entry had before, by its name in the store or by its tag."""
        name = entry.name.replace("'", "")
        wanted = f"tags.`qhq.run` = '{name}' and tags.`qhq.kind` = '{entry.kind}'"
        found = self.client.search_runs([self.experiment], wanted, max_results=10)
        numbers = [str(run.info.run_id) for run in found]
        return known if known in numbers else next(iter(numbers), None)

    def _create(self, entry: Entry, parent: str | None) -> str:
        tags = {**entry.tags, **({"mlflow.parentRunId": parent} if parent else {})}
        run = self.client.create_run(self.experiment, entry.started or None, tags, entry.name)
        return str(run.info.run_id)

    def _log(self, number: str, entry: Entry) -> None:
        from mlflow.entities import Metric, Param, RunTag

        moment = entry.ended or entry.started
        metrics = [Metric(key, value, moment, 0) for key, value in entry.metrics.items()]
        metrics += [Metric(key, value, moment, step) for key, step, value in entry.steps]
        params = [Param(key, value[:LONGEST_PARAM]) for key, value in entry.params.items()]
        tags = [RunTag(key, value[:LONGEST_TAG]) for key, value in entry.tags.items()]
        for lot in _lots(metrics, METRICS_AT_ONCE):
            self.client.log_batch(number, metrics=lot)
        for some in _lots(params, PARAMS_AT_ONCE):
            self.client.log_batch(number, params=some)
        for few in _lots(tags, TAGS_AT_ONCE):
            self.client.log_batch(number, tags=few)


@contextmanager
def open_store() -> Iterator[Store]:
    """Open the store, alone if it is a file: two processes would else make its tables both.

    Raises:
        Exception: Whatever MLflow raises where the store cannot be had.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    uri = store_uri()
    if not uri.startswith("sqlite:///"):
        yield Store(uri)
        return
    path = Path(uri.removeprefix("sqlite:///").partition("?")[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(f"{path}.lock", timeout=LOCK_SECONDS):
        yield Store(uri)


def _lots(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[at : at + size] for at in range(0, len(items), size))
