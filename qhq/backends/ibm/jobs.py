"""``qhq jobs``: what the journal knows of hardware jobs, and how the open ones are taken up again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from qhq.backends.ibm.journal import ENDED, OPEN, Journal, Origin, Part, journal_file
from qhq.errors import BackendError, ConfigError, nearest

if TYPE_CHECKING:
    from qhq.backends.ibm.waiting import Clock


@dataclass(frozen=True)
class JobRow:
    """One job as a list shows it.

    Attributes:
        tag: What it is found by on the service.
        job_id: The service's name for it; None before it was sent.
        run: Run that it was made for; empty if none.
        backend: The device.
        state: planned, sending, sent, stored, cancelled or failed.
        samples: Rows of values.
        shots: Measurements of each value.
        created: When it was planned, ISO 8601, UTC.
        changed: When its state last changed, likewise.
        qpu_seconds: Time it took on the device; None until known.
        message: Why it ended without a result.
    """

    tag: str
    job_id: str | None
    run: str
    backend: str
    state: str
    samples: int
    shots: int
    created: str
    changed: str
    qpu_seconds: float | None
    message: str


def list_jobs(journal: Journal | None = None) -> list[JobRow]:
    """All jobs of the journal, oldest first; the service is not asked."""
    journal = journal or _existing()
    if journal is None:
        return []
    origins = journal.origins()
    return [_row(part, origins[part.key]) for part in journal.parts()]


def resume_jobs(
    wanted: str | None = None, *, journal: Journal | None = None, clock: Clock | None = None
) -> list[JobRow]:
    """Take up jobs where they were left, until their results are in the journal.

    The command that first asked for them finds the results there when it is run again.

    Args:
        wanted: Id or tag (or its beginning) of a job, or the name of a run; those that were cancelled or
            failed are sent again. None takes up all that are open, and sends nothing again that ended.
        journal: Where jobs are written down; that of the folder of the runs if none is given.
        clock: The time.

    Returns:
        The jobs that were taken up, as they are now.

    Raises:
        ConfigError: If there is no such job.
        BackendError: If the service does not answer, or a job ended without a result; the others have been
            taken up all the same.
    """
    journal = journal or _existing()
    if journal is None and wanted is None:
        return []
    journal = journal or Journal()
    keys = _open_keys(journal) if wanted is None else _matching_keys(journal, wanted)
    failures = []
    for key in keys:
        try:
            _resume(journal, key, clock, again=wanted is not None)
        except BackendError as error:
            failures.append(error)
    if failures:
        raise failures[0]
    origins = journal.origins()
    return [_row(part, origins[key]) for key in keys for part in journal.parts(key)]


def _existing() -> Journal | None:
    """The journal of the folder of the runs, which looking for it must not make."""
    return Journal() if journal_file().is_file() else None


def _resume(journal: Journal, key: str, clock: Clock | None, *, again: bool) -> None:
    # The client takes two seconds to import, and a list of jobs does not need it.
    from qhq.backends.ibm.opening import open_runner
    from qhq.backends.ibm.waiting import WallClock

    clock = clock or WallClock()
    if again:
        journal.renew(key, clock.now())
    if not any(part.state in OPEN for part in journal.parts(key)):
        return
    request = journal.request(key)
    open_runner(request.spec, journal, clock).resume(request)


def _open_keys(journal: Journal) -> list[str]:
    return _keys([part for part in journal.parts() if part.state in OPEN])


def _matching_keys(journal: Journal, wanted: str) -> list[str]:
    parts, origins = journal.parts(), journal.origins()
    matches = [
        part
        for part in parts
        if part.tag.startswith(wanted) or wanted in (part.job_id, origins[part.key].run)
    ]
    if not matches:
        ids = [part.job_id or part.tag for part in parts if part.state in (*OPEN, *ENDED)]
        raise ConfigError(
            "A job to resume must stand in the journal", got=f"'{wanted}'", fix=nearest(wanted, ids)
        )
    return _keys(matches)


def _keys(parts: Sequence[Part]) -> list[str]:
    return list(dict.fromkeys(part.key for part in parts))


def _row(part: Part, origin: Origin) -> JobRow:
    return JobRow(
        tag=part.tag,
        job_id=part.job_id,
        run=origin.run,
        backend=origin.backend,
        state=part.state,
        samples=part.rows,
        shots=origin.shots,
        created=_date(part.created),
        changed=_date(part.changed),
        qpu_seconds=part.qpu_seconds,
        message=part.message,
    )


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
