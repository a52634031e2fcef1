"""``qhq jobs``: what the journal knows of hardware jobs, and how they are taken up, cancelled or given up."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from qhq.backends.ibm.journal import Journal, journal_file
from qhq.backends.ibm.records import (
    CANCELLED,
    DISCARDED,
    ENDED,
    OPEN,
    PLANNED,
    SENDING,
    SENT,
    UNREADABLE,
    UNSENT,
    WITH_SERVICE,
    RequestOrigin,
    RequestPart,
)
from qhq.backends.ibm.waiting import TALK, ServiceError, as_job_error
from qhq.errors import BackendError, ConfigError, nearest

if TYPE_CHECKING:
    from qhq.backends.ibm.client import IBMClient
    from qhq.backends.ibm.job_runner import JobRunner
    from qhq.backends.ibm.records import PubRequest
    from qhq.backends.ibm.waiting import Clock


@dataclass(frozen=True)
class JobRow:
    """One job as a list shows it.

    Attributes:
        tag: What it is found by on the service.
        job_id: The service's name for it; None before it was sent.
        run: Run that it was made for; empty if none.
        backend: The device.
        state: planned, sending, sent, stored, unreadable, cancelled, failed or discarded; damaged is a row of
            the journal that cannot be read, extra a job that one submission became besides the one in use.
        samples: Rows of values.
        shots: Measurements of each value.
        created: When it was planned, ISO 8601, UTC.
        changed: When its state last changed, likewise.
        qpu_seconds: Time it took on the device; None until known.
        message: Why it ended without a result, or what is wrong with what came.
    """

    tag: str
    job_id: str | None
    run: str
    backend: str
    state: str
    samples: int
    shots: int | None
    created: str
    changed: str
    qpu_seconds: float | None
    message: str


_NEWER = "This journal was written by a newer qhq: some of what it says may not be shown"

_SENT_ELSEWHERE = "sent from the folder that this one was copied from, or by an earlier qhq"

# How long after a submission whose end nobody saw a job may still appear under its tag.
_SETTLE_SECONDS = 30.0

# Of a job whose request cannot be read.
_NOWHERE = RequestOrigin("", "", None)


def list_jobs(journal: Journal | None = None) -> list[JobRow]:
    """All jobs of the journal, oldest first, then what of it cannot be read; the service is not asked."""
    journal = journal or _existing()
    if journal is None:
        return []
    origins, parts = journal.origins(), journal.parts()
    rows = [_row(journal, part, origins.get(part.key, _NOWHERE)) for part in parts]
    by_tag = {part.tag: part for part in parts}
    for extra in journal.extras():
        part = by_tag.get(extra.tag)
        origin = origins.get(part.key, _NOWHERE) if part else _NOWHERE
        what = "cancelled" if extra.cancelled else "it ran, and nothing of it is used"
        rows.append(
            JobRow(extra.tag, extra.job_id, origin.run, origin.backend, "extra", 0, origin.shots, "", "",
                   extra.qpu_seconds, f"sent twice by a gateway: {what}")
        )  # fmt: skip
    return rows + [
        JobRow(each.tag, each.job_id, "", "", "damaged", 0, None, "", "", None,
               f"row {each.row} of the journal cannot be read: {each.reason}")
        for each in journal.damaged()
    ]  # fmt: skip


def journal_note() -> str | None:
    """What a list should say of the journal itself; None if nothing."""
    journal = _existing()
    return _NEWER if journal is not None and journal.is_newer else None


def jobs_to_send(wanted: str | None = None, journal: Journal | None = None) -> list[JobRow]:
    """Jobs that :func:`resume_jobs` of the same argument would send, or might have to send again.

    Raises:
        ConfigError: If there is no such job.
    """
    journal = journal or _existing()
    if journal is None:
        return []
    keys = _open_keys(journal) if wanted is None else _matching_keys(journal, wanted)
    states = UNSENT if wanted is None else (*UNSENT, *ENDED)
    return [row for row in _rows(journal, keys) if row.state in states]


def resume_jobs(
    wanted: str | None = None,
    *,
    send: bool = True,
    journal: Journal | None = None,
    clock: Clock | None = None,
) -> list[JobRow]:
    """Take up jobs where they were left, until their results are in the journal.

    The command that first asked for them finds the results there when it is run again. Batches and sessions
    that a process left open as it died are closed.

    Args:
        wanted: Id or tag (or its beginning) of a job, or the name of a run; those that were cancelled or
            failed are sent again. None takes up all that are open, and sends nothing again that ended.
        send: Whether what has not been sent is sent; without it only results are fetched.
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
    clock = _clock(clock)
    keys = _open_keys(journal) if wanted is None else _matching_keys(journal, wanted)
    if journal.orphaned_sessions():
        # Only now: the client takes two seconds to import.
        from qhq.backends.ibm.opening import close_orphans

        close_orphans(journal, clock)
    failures: list[BackendError] = []
    open_ones: list[tuple[JobRunner, PubRequest]] = []
    # All is sent before anything is waited for, so that the queues of several devices run side by side.
    try:
        for key in keys:
            with _collected(failures):
                if wanted is not None and send:
                    journal.renew(key, clock.now())
                if any(part.state in OPEN for part in journal.parts(key)):
                    open_ones.append(_send(journal, key, clock, send=send))
        for runner, request in open_ones:
            with _collected(failures):
                runner.resume(request, send=send)
    finally:
        for runner, _ in open_ones:
            runner.close()
    # One error can be raised: it is the first, and the others are said before it.
    for error in failures[1:]:
        TALK.get().tell(f"Error: {error}")
    if failures:
        raise failures[0]
    return _rows(journal, keys)


def cancel_jobs(
    wanted: str, *, others: bool = False, journal: Journal | None = None, clock: Clock | None = None
) -> list[JobRow]:
    """Cancel jobs at the service, and drop what has not been sent; what ran is left to be fetched by resume.

    Args:
        wanted: Id or tag (or its beginning) of a job, or the name of a run.
        others: Whether jobs are cancelled too that another folder may have sent, and wait for; see
            :meth:`Journal.owns`.
        journal: Where jobs are written down.
        clock: The time.

    Returns:
        The jobs, as they are now.

    Raises:
        ConfigError: If there is no such job, or another folder may wait for it.
        BackendError: If the service does not answer.
    """
    from qhq.backends.ibm.client import IBMClient
    from qhq.backends.ibm.opening import find_client

    journal, clock = journal or Journal(), _clock(clock)
    parts, keys = _matching_parts(journal, wanted), _matching_keys(journal, wanted)
    foreign = [part for part in parts if part.state in (SENDING, SENT) and not journal.owns(part)]
    if foreign and not others:
        raise ConfigError(
            "A job that another folder may wait for must not be cancelled unasked",
            got=f"{', '.join(part.job_id or part.tag for part in foreign[:4])}: {_SENT_ELSEWHERE}",
            fix=f"If no other folder needs it, 'qhq jobs cancel {wanted} --yes'; 'qhq jobs discard {wanted}' "
            "gives it up here alone",
        )
    origins, clients = journal.origins(), dict[str, IBMClient]()
    for tag, key in [(part.tag, part.key) for part in parts]:
        device = origins.get(key, _NOWHERE).backend
        # Whoever sends it at this moment is let finish: a job that nobody knows of would run, and be paid.
        with journal.sending(device):
            part = journal.part(tag)
            if part.state == PLANNED:
                journal.end(part, CANCELLED, "cancelled before it was sent", clock.now())
            if part.state not in (SENDING, SENT):
                continue
            if device not in clients:
                clients[device] = find_client(device)
            try:
                _cancel_sent(journal, part, clients[device], clock)
            except ServiceError as trouble:
                raise as_job_error(trouble, f"{device}, tag {tag}") from None
    return _rows(journal, keys)


def _cancel_sent(journal: Journal, part: RequestPart, client: IBMClient, clock: Clock) -> None:
    """Cancel a job, or all that a submission whose end nobody saw may have become.

    Raises:
        ServiceError: If it cannot be said that it will not run.
    """
    if part.state == SENDING and part.instance and part.instance not in client.instances():
        raise ServiceError("lost", f"it was being sent through {part.instance}, which is not at hand")
    ids = [part.job_id] if part.job_id else client.find(part.tag)
    if not ids and journal.waited(part, clock.now()) < _SETTLE_SECONDS:
        raise ServiceError("unsettled", "no job bears the tag yet")
    # All of them: of a submission that became two, the one left over would run and be paid.
    ran = [job_id for job_id in ids if not client.cancel(job_id)]
    if part.state == SENDING and ids:
        used = (ran or ids)[0]
        journal.sent(part.tag, used, clock.now())
        for job_id in ids:
            if job_id != used:
                journal.add_extra(part, job_id, cancelled=job_id not in ran, now=clock.now())
    if ran:
        TALK.get().tell(
            f"{client.device}: job {ran[0]} had come to an end: 'qhq jobs resume' fetches its result"
        )
    else:
        journal.end(
            replace(part, state=SENT if ids else part.state),
            CANCELLED,
            "cancelled by qhq jobs cancel",
            clock.now(),
        )


def discard_jobs(wanted: str, *, journal: Journal | None = None, clock: Clock | None = None) -> list[JobRow]:
    """Give jobs up: they are not resumed any more, and nothing is asked of the service.

    Args:
        wanted: Id or tag (or its beginning) of a job, or the name of a run.
        journal: Where jobs are written down.
        clock: The time.

    Returns:
        The jobs, as they are now; results that are stored stay.

    Raises:
        ConfigError: If there is no such job, or it may still run and would be paid for.
    """
    journal, clock = journal or Journal(), _clock(clock)
    parts = _matching_parts(journal, wanted)
    with_service = [part for part in parts if part.state in (SENDING, SENT)]
    # Those of another folder are that folder's to cancel, or to wait for.
    running = [part for part in with_service if journal.owns(part)]
    if running:
        raise ConfigError(
            "Jobs that are given up must not be with the service any more: they would run, and be paid for",
            got=f"{len(running)} sent: {', '.join(part.job_id or part.tag for part in running[:4])}",
            fix=f"First 'qhq jobs cancel {wanted}', or fetch their results with 'qhq jobs resume'",
        )
    for part in parts:
        if part.state in (PLANNED, UNREADABLE, *ENDED) or part in with_service:
            journal.end(part, DISCARDED, f"given up while {part.state}; {part.message}"[:300], clock.now())
    return _rows(journal, _keys(parts))


def _existing() -> Journal | None:
    """The journal of the folder of the runs, which looking for it must not make."""
    return Journal() if journal_file().is_file() else None


def _clock(clock: Clock | None) -> Clock:
    from qhq.backends.ibm.waiting import WallClock

    return clock or WallClock()


@contextlib.contextmanager
def _collected(failures: list[BackendError]) -> Iterator[None]:
    """One request that cannot be taken up holds up no other."""
    try:
        yield
    except BackendError as error:
        failures.append(error)


def _send(journal: Journal, key: str, clock: Clock, *, send: bool) -> tuple[JobRunner, PubRequest]:
    """Send what has not been sent of a request, if it is to be; what waits for the rest."""
    # The client takes two seconds to import, and a list of jobs does not need it.
    from qhq.backends.ibm.job_runner import open_runner

    try:
        request = journal.request(key)
    except BackendError:
        _rescue(journal, key, clock)
        raise
    runner = open_runner(request.spec, journal, clock)
    try:
        # Ctrl-C too must not leave a session open, which costs by the wall clock.
        return runner, runner.send(request) if send else request
    except BaseException:
        runner.close()
        raise


def _rescue(journal: Journal, key: str, clock: Clock) -> None:
    """Fetch what was paid for, though what was asked cannot be read any more: the result can be decoded."""
    from qhq.backends.ibm.opening import find_client
    from qhq.backends.ibm.wire import decode

    origin = journal.origins().get(key, _NOWHERE)
    for part in journal.parts(key):
        if part.state not in WITH_SERVICE or not origin.backend:
            continue
        client, job_id = find_client(origin.backend), str(part.job_id)
        try:
            if client.job_state(job_id).is_final:
                raw = client.raw_result(job_id)
                if part.tag in decode(raw).tags:
                    journal.store(part.tag, raw, clock.now())
                    TALK.get().tell(f"job {job_id}: result stored, though its request cannot be read")
        except ServiceError as trouble:
            TALK.get().tell(f"job {job_id}: {trouble.message}")


def _open_keys(journal: Journal) -> list[str]:
    return _keys([part for part in journal.parts() if part.state in OPEN])


def _matching_keys(journal: Journal, wanted: str) -> list[str]:
    return _keys(_matching_parts(journal, wanted))


def _matching_parts(journal: Journal, wanted: str) -> list[RequestPart]:
    parts, origins = journal.parts(), journal.origins()
    matches = [
        part
        for part in parts
        if (wanted and part.tag.startswith(wanted))
        or wanted in (part.job_id, origins.get(part.key, _NOWHERE).run or None)
    ]
    if not matches:
        ids = [part.job_id or part.tag for part in parts if part.state in (*OPEN, *ENDED)]
        raise ConfigError(
            "A job to take up must stand in the journal: its id, its tag, or its run",
            got=f"'{wanted}'",
            fix=nearest(wanted, ids),
        )
    return matches


def _keys(parts: Sequence[RequestPart]) -> list[str]:
    return list(dict.fromkeys(part.key for part in parts))


def _rows(journal: Journal, keys: Sequence[str]) -> list[JobRow]:
    origins = journal.origins()
    return [_row(journal, part, origins.get(key, _NOWHERE)) for key in keys for part in journal.parts(key)]


def _row(journal: Journal, part: RequestPart, origin: RequestOrigin) -> JobRow:
    # What is said of a job that ended is more than where it came from.
    elsewhere = _SENT_ELSEWHERE if part.state in (SENDING, SENT) and not journal.owns(part) else ""
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
        message=part.message or elsewhere,
    )


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
