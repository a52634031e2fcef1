"""Hardware jobs that survive crashes: sent once, waited for with patience, taken up where they were left.

A part goes through the states of the journal in this order, each written before the next thing is done:
planned, sending (then it is sent), sent (the service named the job), stored (its result was read, found good
and is here). A part found in the state sending belongs to a process that died or lost the reply: the service
is asked for its tag, and only if no job bears it, some seconds after the attempt, is it sent again. So is a
planned part that this process did not make: it may have been sent before the journal was copied, or put back
from a backup. What comes back is checked before it is stored; a job whose result cannot be used is never
taken for one that failed, for it was paid.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from qhq.backends.ibm import IBMSpec
from qhq.backends.ibm.budget import estimate_seconds, rows_per_job
from qhq.backends.ibm.client import IBMClient
from qhq.backends.ibm.journal import Journal
from qhq.backends.ibm.opening import Approval, open_client
from qhq.backends.ibm.records import (
    CANCELLED,
    FAILED,
    PAID,
    PLANNED,
    SENDING,
    SENT,
    STORED,
    UNREADABLE,
    UNSENT,
    WITH_SERVICE,
    LaidOut,
    PubRequest,
    RequestPart,
)
from qhq.backends.ibm.results import Estimates, check_estimates, measured_qubits
from qhq.backends.ibm.waiting import (
    ENDS_A_JOB,
    LONGEST_PAUSE_SECONDS,
    NOT_TAKEN,
    PASSING,
    TALK,
    TOO_MUCH,
    Clock,
    Patience,
    ServiceError,
    StoppableClock,
    as_job_error,
    growing_pauses,
    let_pass,
    persist,
    polling_pauses,
)
from qhq.backends.ibm.wire import decode
from qhq.errors import JobError

_T = TypeVar("_T")

# How often a result that cannot be used is asked for before that is left to a later resume.
_MOST_READINGS = 5

logger = logging.getLogger(__name__)


class JobRunner:
    """Brings the parts of a request from planned to stored.

    Args:
        client: The service.
        journal: What is known of the jobs.
        clock: The time.
        gatekeeper: Asked before anything is sent.
        decode: Reads a result; raises :class:`ServiceError` where it cannot.
    """

    def __init__(
        self,
        client: IBMClient,
        journal: Journal,
        clock: Clock,
        gatekeeper: Approval,
        decode: Callable[[str], Estimates],
    ) -> None:
        self._client, self._journal, self._clock = client, journal, StoppableClock(clock)
        self._gatekeeper, self._decode = gatekeeper, decode
        self._sessions: list[str] = []
        self._programs: dict[str, LaidOut] = {}
        client.on_mode = self._note_session

    def submit(self, request: PubRequest) -> None:
        """Send every part of a request that has not been sent; their results are waited for by another call.

        Raises:
            JobError: If a part cannot be sent.
            BackendError: If sending is refused.
        """
        self.send(self._plan(request))

    def send(self, request: PubRequest) -> PubRequest:
        """Send what has not been sent of a request that stands in the journal; the request as it was sent.

        Raises:
            JobError: If a part cannot be sent.
            BackendError: If sending is refused.
        """
        return self._send_all(request)

    def put_back(self, request: PubRequest, part: RequestPart) -> bool:
        """Let a result be asked for again that an earlier qhq stored unseen; False if it is good."""
        unchecked = part.state == STORED and part.instance is None and part.job_id is not None
        if not unchecked or self._is_readable(request, part):
            return False
        TALK.get().tell(f"job {part.job_id}: what was stored of it cannot be used, and is asked for again")
        self._journal.put_back(part.tag, self._clock.now())
        return True

    def submit_or_resume(self, request: PubRequest) -> list[RequestPart]:
        """See to it that every part of a request has its result in the journal.

        It may be called again after any interruption, and by several processes at once: no part is sent
        twice, no result that is here is asked for again.

        Returns:
            The parts, all stored, by row.

        Raises:
            JobError: If a part came to an end without a result; what came back of the others is kept.
            BackendError: If sending is refused.
        """
        parts = self.resume(self._plan(request))
        for part in parts:
            if part.state != STORED:
                raise JobError(
                    "A job must have come to its end with a result",
                    got=f"{request.spec.name}, {part.job_id or part.tag}: {part.state} {part.message}",
                    fix="Another process has changed it meanwhile: look with 'qhq jobs', then run this again",
                )
        return parts

    def resume(self, request: PubRequest, *, send: bool = True) -> list[RequestPart]:
        """Take up a request that stands in the journal; parts that ended without a result stay as they are.

        Args:
            request: The request.
            send: Whether what has not been sent is sent; if not it stays as it is.

        Raises:
            JobError: If a part comes to an end without a result.
            BackendError: If sending is refused.
        """
        try:
            failure = self._work_through(request, send=send)
        finally:
            self.close()
        for part in self._journal.parts(request.key):
            self._note_after(request, part)
        if failure is not None:
            raise failure
        return self._journal.parts(request.key)

    def stop(self) -> None:
        """Let no thread send anything more, nor wait for long; what was sent is not touched."""
        self._clock.stopped = True

    def close(self) -> None:
        """Close the batches and sessions that were opened, several if the service was reached afresh."""
        self._client.leave_mode()
        # Forgotten first: closing may be interrupted, and resume closes what the journal holds open.
        sessions, self._sessions = self._sessions, []
        for session in sessions:
            try:
                self._client.close_session(session)
            except ServiceError as trouble:
                TALK.get().tell(
                    f"Batch or session {session} could not be closed ({trouble.message}): "
                    "'qhq jobs resume' tries again"
                )
            else:
                self._journal.closed_session(session, self._clock.now())

    def _plan(self, request: PubRequest) -> PubRequest:
        """The request as the journal has it; what has not been sent of it follows the device of today."""
        now = self._clock.now()
        self._journal.plan(request, rows_per_job(request.spec, request.program), now)
        self._journal.renew(request.key, now, discarded=True)
        known = self._journal.request(request.key)
        unsent = any(part.state in UNSENT for part in self._journal.parts(request.key))
        if unsent and known.program.fingerprint != request.program.fingerprint:
            self._replan(known, request.program)
            known = replace(known, program=request.program)
        return replace(known, spec=request.spec)

    def _work_through(self, request: PubRequest, *, send: bool) -> JobError | None:
        """Send all that is open, then wait for it; again as long as parts were split."""
        # Each job is waited for once a call: one whose result stays unreadable would be asked for without
        # end.
        failure, tried = None, set[str]()
        while True:
            request = self._send_all(request) if send else self._adopt_all(request)
            waiting = [
                part
                for part in self._journal.parts(request.key)
                if part.state in WITH_SERVICE and part.tag not in tried
            ]
            if not waiting:
                return failure
            for part in waiting:
                tried.add(part.tag)
                failure = self._fetch(request, part) or failure

    def _send_all(self, request: PubRequest) -> PubRequest:
        """Send what has not been sent, after asking; the request as it is sent."""
        # Again until none is left: one that is too large was split, and its halves are new.
        while unsent := [part for part in self._journal.parts(request.key) if part.state in UNSENT]:
            if any(part.state == PLANNED for part in unsent):
                self._ask_approval(request, unsent)
            for part in unsent:
                request = self._send(request, part)
        return request

    def _adopt_all(self, request: PubRequest) -> PubRequest:
        """Find what was sent without being noted; nothing is sent."""
        for part in self._journal.parts(request.key):
            if part.state == SENDING:
                try:
                    self._persist(request, lambda tag=part.tag: self._adopt(request, self._journal.part(tag)))  # type: ignore[misc]
                except ServiceError as trouble:
                    raise as_job_error(trouble, f"{request.spec.name}, tag {part.tag}") from None
        return request

    def _ask_approval(self, request: PubRequest, opened: Sequence[RequestPart]) -> None:
        spent = self.spent(request)
        try:
            self._persist(request, lambda: self._gatekeeper.check(request, opened, spent))
        except ServiceError as trouble:
            raise as_job_error(trouble, request.spec.name) from None

    def _send(self, request: PubRequest, part: RequestPart) -> PubRequest:
        """Send one part, laid out for the device as it is at this moment."""
        try:
            request = self._persist(request, lambda: self._send_once(request, part.tag))
            self._persist_a_little(lambda: self._look_for_extras(request, part.tag))
        except ServiceError as trouble:
            # A single row cannot be halved.
            if trouble.kind not in TOO_MUCH or part.rows < 2:
                raise as_job_error(trouble, f"{request.spec.name}, tag {part.tag}") from None
            self._split(part, trouble)
        return request

    def _send_once(self, request: PubRequest, tag: str) -> PubRequest:
        # An attempt before this one may have followed the device already.
        request = replace(request, program=self._programs.get(request.key, request.program))
        with self._journal.sending(request.spec.name):
            # Read inside the lock: another process may have sent it while this one waited.
            part = self._journal.part(tag)
            if part.state in UNSENT and not self._journal.is_unused(tag):
                self._adopt(request, part)
                part = self._journal.part(tag)
            if part.state == PLANNED:
                request = self._follow_device(request, part)
                self._clock.check()
                self._submit(request, part)
        return request

    def _follow_device(self, request: PubRequest, part: RequestPart) -> PubRequest:
        """The request for the device of this moment: it may have changed since it was laid out."""
        program = self._gatekeeper.fit(request, self._clock.now())
        if program is None:
            return request
        self._replan(request, program)
        request = replace(request, program=program)
        self._gatekeeper.check(request, [part], self.spent(request))
        return request

    def spent(self, request: PubRequest) -> float:
        """Seconds that the jobs of a request took, or may still take.

        A job that is with the service may take all that it is allowed to; one that is done, and of which the
        service does not say what it took, counts by our estimate.
        """
        total, rows = self._journal.spent(request.key), {}
        for part in self._journal.parts(request.key):
            rows[part.tag] = part.rows
            if part.state in PAID and part.qpu_seconds is None:
                if request.spec.max_qpu_seconds is not None and part.state != SENT:
                    seconds = self._note_usage(part)
                    if seconds is not None:
                        total += seconds
                        continue
                estimate = estimate_seconds(request.spec, request.program, [part.rows])
                # What runs may use all it is allowed: the cap must hold if it does.
                total += max(estimate, part.limit_seconds or 0.0) if part.state == SENT else estimate
        unsaid = [extra for extra in self._journal.extras(request.key) if extra.qpu_seconds is None]
        ran = [rows[extra.tag] for extra in unsaid if not extra.cancelled and extra.tag in rows]
        return total + estimate_seconds(request.spec, request.program, ran)

    def _replan(self, request: PubRequest, program: LaidOut) -> None:
        before, name = request.program, request.spec.name
        if before.layout != program.layout:
            self._ask_about_layout(request, before, program, name)
        self._journal.replan(request.key, program)
        self._programs[request.key] = program

    def _ask_about_layout(self, request: PubRequest, before: LaidOut, program: LaidOut, name: str) -> None:
        done = [part for part in self._journal.parts(request.key) if part.state not in UNSENT]
        text = (
            f"{name} changed since its jobs were planned: layout {list(before.layout)} of "
            f"{before.calibration} -> {list(program.layout)} of {program.calibration}"
            + (f"; {len(done)} of its jobs had been sent before" if done else "")
        )
        if not TALK.get().agree(f"{text}. Send the rest in the new layout"):
            raise JobError(
                "Jobs must be sent in a layout that was agreed to",
                got=text,
                fix="Nothing more was sent: 'qhq jobs resume --yes' sends the rest, 'qhq jobs discard' not",
            )

    def _submit(self, request: PubRequest, part: RequestPart) -> None:
        qubits, instance = measured_qubits(request.program.observables), self._client.instance()
        unsent = [each for each in self._journal.parts(request.key) if each.state in UNSENT]
        # The rest of the request has a share in what the cap leaves, so all that is unsent goes into the
        # limit.
        rows = [part.rows, *(each.rows for each in unsent if each.tag != part.tag)]
        limit = self._gatekeeper.limit(request, rows, self.spent(request))
        now, values = self._clock.now(), request.values[part.start : part.stop]
        # Claimed before it is sent: a crash between the two leaves a part that is looked up by its tag.
        if not self._journal.claim(part.tag, now, instance=instance, qubits=qubits, limit_seconds=limit):
            return
        try:
            job_id = self._client.submit(request.spec, request.program, values, part.tag, limit)
        except ServiceError as trouble:
            # Of any other kind nobody knows whether it became a job: it stays claimed until its tag says so.
            if trouble.kind in NOT_TAKEN:
                self._journal.unclaim(part.tag, self._clock.now())
            raise
        self._journal.sent(part.tag, job_id, self._clock.now())
        TALK.get().wait(f"{request.spec.name}: job {job_id} sent, {part.rows} samples")

    def _estimates(self, request: PubRequest, part: RequestPart, job_id: str) -> str:
        """What a job is expected to take, by us and by the service."""
        ours = estimate_seconds(request.spec, request.program, [part.rows])
        try:
            theirs = self._client.estimated_seconds(job_id)
        except ServiceError:
            theirs = None
        beside = "" if theirs is None else f", {theirs:.1f} s by the service's own"
        return f"about {ours:.1f} s on the device by our estimate{beside}"

    def _adopt(self, request: PubRequest, part: RequestPart) -> None:
        """Find out what became of a part that may have been sent; planned again if it never arrived."""
        if part.instance and part.instance not in self._client.instances():
            raise ServiceError("lost", f"it was being sent through {part.instance}, which is not at hand")
        found = self._client.find(part.tag)
        now = self._clock.now()
        if found:
            self._journal.adopt(part, found[0], now)
            TALK.get().wait(f"{request.spec.name}: job {found[0]} found by its tag")
        elif (
            part.state == SENDING
            and self._journal.waited(self._journal.part(part.tag), now) < request.spec.settle_seconds
        ):
            raise ServiceError("unsettled", "no job bears the tag yet")
        elif not self._journal.owns(part):
            # The folder that this one was copied from may still send it: under this tag it would be its.
            self._journal.take_over(part, now)
        else:
            self._journal.unclaim(part.tag, now)

    def _look_for_extras(self, request: PubRequest, tag: str) -> None:
        """Cancel what a submission became besides the job that is used, and say so."""
        part = self._journal.part(tag)
        if part.job_id is None or not self._journal.owns(part):
            return
        known = {extra.job_id for extra in self._journal.extras(part.key)}
        for job_id in self._client.find(tag):
            if job_id == part.job_id or job_id in known:
                continue
            cancelled = self._client.cancel(job_id)
            self._journal.add_extra(part, job_id, cancelled=cancelled, now=self._clock.now())
            what = "it was cancelled" if cancelled else "it had run already, and counts as spent"
            TALK.get().tell(
                f"{request.spec.name}: one submission became two jobs; {part.job_id} is used, "
                f"of {job_id} nothing is: {what}"
            )

    def _fetch(self, request: PubRequest, part: RequestPart) -> JobError | None:
        """Wait for a job and keep its result; the error, if there is none."""
        try:
            self._wait(request, part)
            self._read(request, part)
        except ServiceError as trouble:
            return self._ended(request, part, trouble)
        # A gateway may deliver late what it was given twice.
        self._persist_a_little(lambda: self._look_for_extras(request, part.tag))
        return None

    def _wait(self, request: PubRequest, part: RequestPart) -> None:
        job_id, name, announced = str(part.job_id), request.spec.name, False
        for pause in polling_pauses(request.spec.poll_seconds):
            state = self._persist(request, lambda: self._client.job_state(job_id), f"{name}, job {job_id}")
            if state.is_final:
                return
            if not announced:
                TALK.get().wait(f"{name}, job {job_id}: {self._estimates(request, part, job_id)}")
                announced = True
            place = "" if state.place is None else f", place {state.place} in the queue"
            let_pass(self._clock, pause, f"{name}, job {job_id}: {state.status.lower()}{place}")

    def _read(self, request: PubRequest, part: RequestPart) -> None:
        """Ask for a result until it can be used, some times; then keep what came, and leave the job open."""
        job_id, where = str(part.job_id), f"{request.spec.name}, job {part.job_id}"
        if part.state == UNREADABLE and self._is_readable(request, part):
            # What could not be read was kept: the qhq or the client of today may be able to.
            self._keep(part, self._journal.raw(part.tag))
            return
        for number, pause in enumerate(growing_pauses(LONGEST_PAUSE_SECONDS), start=1):
            raw = self._persist(request, lambda: self._client.raw_result(job_id), where)
            try:
                self._check(request, part, raw)
            except ServiceError as trouble:
                if number == _MOST_READINGS:
                    self._journal.hold(part.tag, raw, trouble.message, self._clock.now())
                    raise
                TALK.get().tell(
                    f"{where}: {trouble.message}; asking again, reply {number} of {_MOST_READINGS}"
                )
            else:
                self._keep(part, raw)
                return
            let_pass(self._clock, pause, where)

    def _is_readable(self, request: PubRequest, part: RequestPart) -> bool:
        try:
            self._check(request, part, self._journal.raw(part.tag))
        except ServiceError:
            return False
        return True

    def _check(self, request: PubRequest, part: RequestPart, raw: str) -> None:
        found = self._decode(raw)
        check_estimates(found, request.spec, request.program, part.rows, part.tag, part.measured)

    def _keep(self, part: RequestPart, raw: str) -> None:
        self._journal.store(part.tag, raw, self._clock.now())
        TALK.get().wait(f"job {part.job_id}: result stored")

    def _ended(self, request: PubRequest, part: RequestPart, trouble: ServiceError) -> JobError | None:
        if trouble.kind in (*TOO_MUCH, *ENDS_A_JOB):
            # What stands in for it later must fit beside it under the cap.
            self._note_usage(part)
        if trouble.kind in TOO_MUCH and part.rows > 1:
            self._split(part, trouble)
            return None
        error = as_job_error(trouble, f"{request.spec.name}, job {part.job_id}, tag {part.tag}")
        if trouble.kind in ENDS_A_JOB:
            state = CANCELLED if trouble.kind == "cancelled" else FAILED
            self._journal.end(part, state, trouble.message, self._clock.now())
        elif trouble.kind in (*PASSING, "unauthorized", "moved") and trouble.kind != "garbled":
            # No other job of the service would fare better.
            raise error
        return error

    def _split(self, part: RequestPart, trouble: ServiceError) -> None:
        TALK.get().wait(f"{part.rows} samples split in two: {trouble.message}")
        self._journal.split(self._journal.part(part.tag), self._clock.now())

    def _note_after(self, request: PubRequest, part: RequestPart) -> None:
        """Write what a job took and ran under, if the service can say: no result hangs on it."""
        self._note_usage(part)
        if part.state == STORED and part.job_id is not None and part.calibration is None:
            try:
                calibration = self._client.job_calibration(part.job_id)
            except ServiceError as trouble:
                logger.info("calibration of job %s: %s", part.job_id, trouble.message)
            else:
                if calibration is not None:
                    self._journal.add_calibration(part.tag, calibration)
        for extra in self._journal.extras(request.key):
            if extra.tag == part.tag and extra.qpu_seconds is None:
                seconds = self._usage(extra.job_id)
                if seconds is not None:
                    self._journal.add_extra_usage(extra.job_id, seconds)

    def _note_usage(self, part: RequestPart) -> float | None:
        """Write what a job took, if that is not known and the service can say; what was written."""
        if part.job_id is None or part.qpu_seconds is not None:
            return None
        seconds = self._usage(part.job_id)
        if seconds is not None:
            self._journal.add_usage(part.tag, seconds)
        return seconds

    def _usage(self, job_id: str) -> float | None:
        try:
            return self._client.qpu_seconds(job_id)
        except ServiceError:
            return None

    def _note_session(self, session_id: str) -> None:
        self._sessions.append(session_id)
        self._journal.opened_session(session_id, self._client.device, self._clock.now())

    def _persist_a_little(self, act: Callable[[], None]) -> None:
        """Do something that is made good later if the service does not answer."""
        try:
            act()
        except ServiceError as trouble:
            logger.info("left for later: %s", trouble)

    def _persist(self, request: PubRequest, act: Callable[[], _T], where: str = "") -> _T:
        """Do something, and again after each failure that waiting or a fresh token may cure."""
        # A job whose reply was lost must have time to appear under its tag, however little patience is asked
        # for.
        patience = max(request.spec.patience_seconds, request.spec.settle_seconds)
        return persist(
            act, self._client, self._clock, Patience(patience, patience), where or request.spec.name
        )


def open_runner(spec: IBMSpec, journal: Journal, clock: Clock) -> JobRunner:
    """What brings the jobs of an entry to their end, without a program of its own.

    Raises:
        BackendError: If there is no account.
    """
    client = open_client(spec)
    return JobRunner(client, journal, clock, Approval(client), decode)
