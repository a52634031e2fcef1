"""Hardware jobs that survive crashes: sent once, waited for with patience, taken up where they were left.

A part goes through the states of the journal in this order, each written before the next thing is done:
planned, sending (then it is sent), sent (the service named the job), stored (its result is here). A part
found in the state sending belongs to a process that died or lost the reply: the service is asked for its
tag, and only if no job bears it, some seconds after the attempt, is it sent again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from qhq.backends.executor import FloatArray
from qhq.backends.ibm.budget import rows_per_job
from qhq.backends.ibm.journal import CANCELLED, FAILED, OPEN, PLANNED, SENDING, SENT, Journal, Part
from qhq.backends.ibm.pub_request import LaidOut, PubRequest
from qhq.backends.ibm.spec import IBMSpec
from qhq.backends.ibm.trouble import NOT_TAKEN, PASSING, TOO_MUCH, ServiceError, as_job_error
from qhq.backends.ibm.waiting import Clock, growing_pauses
from qhq.errors import JobError

T = TypeVar("T")

LONGEST_PAUSE_SECONDS = 60.0
"""Between two attempts to reach a service that does not answer."""

logger = logging.getLogger(__name__)


class Client(Protocol):
    """What jobs need of a service; every verb may raise :class:`ServiceError`."""

    def reconnect(self) -> None:
        """Start afresh."""

    def submit(self, spec: IBMSpec, program: LaidOut, values: FloatArray, tag: str) -> str:
        """Send rows of values (N, P) as one PUB; the id of the job."""

    def find(self, tag: str) -> str | None:
        """Id of the job that bears a tag."""

    def is_final(self, job_id: str) -> bool:
        """Whether a job has come to an end."""

    def raw_result(self, job_id: str) -> str:
        """Result of a job that came to an end."""

    def qpu_seconds(self, job_id: str) -> float | None:
        """What a job took on the device."""

    def close_mode(self) -> None:
        """Close the batch or session."""


class JobRunner:
    """Brings the parts of a request from planned to stored.

    Args:
        client: The service.
        journal: What is known of the jobs.
        clock: The time.
        approve: Called before anything is sent with the request, its parts without a result, and the
            seconds that it took so far; raises to refuse.
    """

    def __init__(
        self,
        client: Client,
        journal: Journal,
        clock: Clock,
        approve: Callable[[PubRequest, Sequence[Part], float], None],
    ) -> None:
        self._client, self._journal, self._clock, self._approve = client, journal, clock, approve

    def submit_or_resume(self, request: PubRequest) -> list[Part]:
        """See to it that every part of a request has its result in the journal.

        It may be called again after any interruption, and by several processes at once: no part is sent
        twice, no result that is here is asked for again.

        Returns:
            The parts, all stored, by row.

        Raises:
            JobError: If a part came to an end without a result; what came back of the others is kept.
            BackendError: If sending is refused.
        """
        now = self._clock.now()
        self._journal.plan(request, rows_per_job(request.spec, request.program), now)
        self._journal.renew(request.key, now)
        return self.resume(replace(self._journal.request(request.key), spec=request.spec))

    def resume(self, request: PubRequest) -> list[Part]:
        """Take up a request that stands in the journal; parts that ended without a result stay as they are.

        Raises:
            JobError: If a part comes to an end without a result.
            BackendError: If sending is refused.
        """
        try:
            failure = self._work_through(request)
        finally:
            self._close_mode()
        for part in self._journal.parts(request.key):
            self._note_usage(part)
        if failure is not None:
            raise failure
        return self._journal.parts(request.key)

    def _work_through(self, request: PubRequest) -> JobError | None:
        """Send all that is open, then wait for it; again as long as parts were split."""
        failure = None
        while opened := [part for part in self._journal.parts(request.key) if part.state in OPEN]:
            if any(part.state == PLANNED for part in opened):
                self._ask_approval(request, opened)
            for part in opened:
                self._send(request, part)
            for part in self._journal.parts(request.key):
                if part.state == SENT:
                    failure = self._fetch(request, part) or failure
        return failure

    def _ask_approval(self, request: PubRequest, opened: Sequence[Part]) -> None:
        spent = self._journal.spent(request.key)
        try:
            self._persist(request, lambda: self._approve(request, opened, spent))
        except ServiceError as trouble:
            raise as_job_error(trouble, request.spec.name) from None

    def _send(self, request: PubRequest, part: Part) -> None:
        try:
            self._persist(request, lambda: self._send_once(request, part.tag))
        except ServiceError as trouble:
            if trouble.kind not in TOO_MUCH or part.rows < 2:
                raise as_job_error(trouble, f"{request.spec.name}, tag {part.tag}") from None
            self._split(part, trouble)

    def _send_once(self, request: PubRequest, tag: str) -> None:
        with self._journal.sending():
            part = self._journal.part(tag)
            if part.state == SENDING:
                self._adopt(request, part)
            elif part.state == PLANNED:
                self._submit(request, part)

    def _submit(self, request: PubRequest, part: Part) -> None:
        if not self._journal.claim(part.tag, self._clock.now()):
            return
        values = request.values[part.start : part.stop]
        try:
            job_id = self._client.submit(request.spec, request.program, values, part.tag)
        except ServiceError as trouble:
            if trouble.kind in NOT_TAKEN:
                self._journal.unclaim(part.tag, self._clock.now())
            raise
        self._journal.sent(part.tag, job_id, self._clock.now())
        logger.info("job %s sent to %s: %d samples", job_id, request.spec.name, part.rows)

    def _adopt(self, request: PubRequest, part: Part) -> None:
        """Find out what became of a submission whose end nobody saw."""
        job_id = self._client.find(part.tag)
        now = self._clock.now()
        if job_id is not None:
            self._journal.sent(part.tag, job_id, now)
            logger.info("job %s found by its tag", job_id)
        elif now - part.changed < request.spec.settle_seconds:
            raise ServiceError("unsettled", "no job bears the tag yet")
        else:
            self._journal.unclaim(part.tag, now)
            self._submit(request, part)

    def _fetch(self, request: PubRequest, part: Part) -> JobError | None:
        """Wait for a job and keep its result; the error, if it ended without one."""
        job_id = str(part.job_id)
        try:
            self._wait(request, job_id)
            raw = self._persist(request, lambda: self._client.raw_result(job_id))
        except ServiceError as trouble:
            return self._ended(request, part, trouble)
        self._journal.store(part.tag, raw, self._clock.now())
        logger.info("job %s: result stored", job_id)
        return None

    def _wait(self, request: PubRequest, job_id: str) -> None:
        for pause in growing_pauses(request.spec.poll_seconds):
            if self._persist(request, lambda: self._client.is_final(job_id)):
                return
            self._clock.sleep(pause)

    def _ended(self, request: PubRequest, part: Part, trouble: ServiceError) -> JobError | None:
        if trouble.kind in TOO_MUCH and part.rows > 1:
            self._note_usage(part)
            self._split(part, trouble)
            return None
        error = as_job_error(trouble, f"{request.spec.name}, job {part.job_id}, tag {part.tag}")
        if trouble.kind in ("unreachable", "busy", "unauthorized"):
            # The job itself is well: it stays open.
            raise error
        state = CANCELLED if trouble.kind == "cancelled" else FAILED
        self._journal.end(part.tag, state, trouble.message, self._clock.now())
        return error

    def _split(self, part: Part, trouble: ServiceError) -> None:
        logger.info("%d samples split in two: %s", part.rows, trouble.message)
        self._journal.split(self._journal.part(part.tag), self._clock.now())

    def _note_usage(self, part: Part) -> None:
        """Write what a job took, if the service can say: no result hangs on it."""
        if part.job_id is None or part.qpu_seconds is not None:
            return
        try:
            seconds = self._client.qpu_seconds(part.job_id)
        except ServiceError:
            return
        if seconds is not None:
            self._journal.add_usage(part.tag, seconds)

    def _close_mode(self) -> None:
        try:
            self._client.close_mode()
        except ServiceError as trouble:
            logger.warning("The batch or session could not be closed: %s", trouble.message)

    def _persist(self, request: PubRequest, act: Callable[[], T]) -> T:
        """Do something, and again after each failure that waiting or a fresh token may cure."""
        waited, rebuilt = 0.0, False
        for pause in growing_pauses(LONGEST_PAUSE_SECONDS):
            try:
                return act()
            except ServiceError as trouble:
                if trouble.kind == "unauthorized" and not rebuilt:
                    rebuilt = True
                    self._client.reconnect()
                    continue
                patience = max(request.spec.patience_seconds, request.spec.settle_seconds)
                if trouble.kind not in PASSING or waited >= patience:
                    raise
                logger.info("%s; again in %g s", trouble, pause)
            self._clock.sleep(pause)
            waited += pause
        raise AssertionError("pauses never end")
