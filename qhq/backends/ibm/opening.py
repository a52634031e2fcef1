"""Before anything is sent to a device of IBM: reach it, fit the program, ask whether it may go, rehearse it.

The service's own dry run says what it expects jobs to take. IBM has it on the Flex, Premium and On-Prem
plans. Such a job is really sent, to a ``mock_`` device whose results are random: nothing is measured, nothing
is paid, and the results are not read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from qiskit.circuit import Parameter

from qhq.backends.backend import ListedDevice
from qhq.backends.devices.calibration import CalibratedDevice
from qhq.backends.devices.isa import IsaProgram, build_isa, check_same, circuit_seconds, shot_seconds
from qhq.backends.ibm import IBMSpec
from qhq.backends.ibm.account import fake_for, find_account
from qhq.backends.ibm.budget import check_cap, check_plan, job_limits, seconds_of_jobs
from qhq.backends.ibm.client import IBMClient
from qhq.backends.ibm.journal import Journal
from qhq.backends.ibm.records import LaidOut, PubRequest, RequestPart
from qhq.backends.ibm.waiting import (
    TALK,
    Clock,
    Patience,
    ServiceError,
    WallClock,
    as_job_error,
    let_pass,
    persist,
    polling_pauses,
)
from qhq.backends.local.shots import measured_groups
from qhq.errors import BackendError

_T = TypeVar("_T")

# How long a service may stumble while a device is opened: nothing has been sent, and nothing is lost.
_OPENING_PATIENCE_SECONDS = 15.0

# How old what is known of a device may be when a job is sent to it.
_RECHECK_SECONDS = 3.0


def open_client(spec: IBMSpec) -> IBMClient:
    """The service behind an entry.

    Raises:
        BackendError: If there is no account, or the entry names no device.
    """
    account = find_account(spec.name)
    client = IBMClient(account, spec.name, fractional=spec.fractional_gates)
    if spec.is_template:
        raise BackendError(
            "A device must be named",
            got=f"'{spec.name}', which stands for all devices of the account",
            fix=f"Name one: {_names(client)}",
        )
    return client


@dataclass(frozen=True)
class Connection:
    """A device of an entry as it was reached: the service behind it, and its latest calibration."""

    client: IBMClient
    device: CalibratedDevice


def connect(spec: IBMSpec, clock: Clock | None = None) -> Connection:
    """Reach the device of an entry; nothing is sent.

    Raises:
        BackendError: If there is no account or no such device, or it cannot be read.
    """
    client = open_client(spec)
    try:
        return Connection(
            client, CalibratedDevice(ask(client, spec, client.calibration, clock), client.fractional)
        )
    except ServiceError as trouble:
        raise _unopened(client, trouble) from None


def find_client(device: str) -> IBMClient:
    """The service behind a device that the journal names, with the entry of today.

    Raises:
        BackendError: If there is no account.
    """
    return open_client(IBMSpec(kind="ibm", name=device))


def ask(client: IBMClient, spec: IBMSpec, act: Callable[[], _T], clock: Clock | None = None) -> _T:
    """Ask a service something before anything is sent; one that stumbles, or asks to wait, is asked again.

    Raises:
        ServiceError: If it does not answer.
    """
    patience = Patience(spec.patience_seconds, _OPENING_PATIENCE_SECONDS)
    return persist(act, client, clock or WallClock(), patience, spec.name)


def list_devices(template: IBMSpec) -> list[ListedDevice]:
    """The devices of the account, those that take no jobs too, each with its state.

    Raises:
        BackendError: If there is no account, or it cannot be asked.
    """
    client = IBMClient(find_account(template.name), template.name)
    try:
        return ask(client, template, client.devices)
    except ServiceError as trouble:
        raise as_job_error(trouble, template.name) from None


def close_orphans(journal: Journal, clock: Clock) -> list[str]:
    """Close batches and sessions that processes left open as they died; the ids of those that are closed now.

    An open session costs by the wall clock.
    """
    # A process that was killed could not close them, and its jobs stand in the journal in any case.
    closed = []
    for session, device in journal.orphaned_sessions():
        try:
            find_client(device).close_session(session)
        except ServiceError as trouble:
            TALK.get().tell(f"Session {session} of {device} could not be closed: {trouble.message}")
        else:
            journal.closed_session(session, clock.now())
            TALK.get().tell(f"Closed session {session} of {device}, left open by a process that died")
            closed.append(session)
    return closed


def to_laid_out(isa: IsaProgram, device: CalibratedDevice, num_qubits: int) -> LaidOut:
    """What a report and a forecast need of a program of so many logical qubits on a device."""
    return LaidOut(
        circuit=isa.circuit,
        parameters=tuple(each.name for each in isa.parameters),
        observables=isa.observables,
        qubits=num_qubits,
        layout=isa.layout,
        calibration=device.date,
        settings=len(measured_groups(isa.observables)),
        gate_seconds=circuit_seconds(isa.circuit, device.target),
        idle_seconds=shot_seconds(device.calibration, device.target, isa.layout),
        fingerprint=device.fingerprint,
    )


def _refit(program: LaidOut, spec: IBMSpec, device: CalibratedDevice) -> LaidOut:
    """The same program for a device that has another calibration, other qubits or other gates now.

    It is made from the program alone, so that what was planned by another process, from a circuit that is
    not here, can follow too; and compared with it, as the correctness gate compares with the ansatz.

    Raises:
        BackendError: If it no longer fits, or computes something else.
    """
    named = {each.name: each for each in program.circuit.parameters}
    parameters = tuple(named.get(name, Parameter(name)) for name in program.parameters)
    old = IsaProgram(program.circuit, parameters, program.observables, program.layout)
    if spec.transpile.layout is not None:
        # A layout that the entry fixes is kept as long as each of its gates is still there.
        for step in program.circuit.data:
            qubits = tuple(program.circuit.find_bit(bit).index for bit in step.qubits)
            if not device.target.instruction_supported(step.name, qubits):
                raise BackendError(
                    "The layout of an entry must be one that the device has gates for",
                    got=f"{step.name} on qubits {list(qubits)} of {device.name}, which is no longer there",
                    fix="Choose another transpile.layout, or leave it to the transpiler; nothing was sent",
                )
        return to_laid_out(old, device, program.qubits)
    cut = old.cut()
    new = build_isa(cut.circuit, cut.parameters, cut.observables, device, spec.transpile)
    layout = tuple(new.layout[place] for place in cut.layout)
    new = IsaProgram(new.circuit, new.parameters, new.observables, layout)
    check_same(new, old, seed=spec.transpile.seed)
    return to_laid_out(new, device, program.qubits)


class Approval:
    """Whether something may be sent: within the cap, to a device that is online, with time left in the plan.

    Args:
        client: The service.
        spent: Seconds on the device that count towards the cap besides those of the request.
    """

    def __init__(self, client: IBMClient, spent: Callable[[], float] = lambda: 0.0) -> None:
        self._client, self._spent = client, spent
        self._device: CalibratedDevice | None = None
        self._read = 0.0

    def fit(self, request: PubRequest, now: float) -> LaidOut | None:
        """The program for the device as it is now, past the gate; None where that of the request is for it.

        Raises:
            BackendError: If the device is gone, or the program no longer fits it.
            ServiceError: If the service does not answer.
        """
        # A clock that was set back makes the age negative: read again then too.
        if self._device is None or not 0 <= now - self._read < _RECHECK_SECONDS:
            try:
                self._device = CalibratedDevice(self._client.calibration(), self._client.fractional)
            except ServiceError as trouble:
                if trouble.kind != "gone":
                    raise
                raise _unopened(self._client, trouble) from None
            self._read = now
        if request.program.fingerprint == self._device.fingerprint:
            return None
        return _refit(request.program, request.spec, self._device)

    def check(self, request: PubRequest, opened: Sequence[RequestPart], spent: float) -> None:
        """Refuse parts of a request that took some seconds so far.

        Raises:
            BackendError: If they may not be sent.
            ServiceError: If the service does not answer.
        """
        jobs = seconds_of_jobs(request.spec, request.program, [part.rows for part in opened])
        check_cap(request.spec, jobs, self._spent() + spent)
        self._check_online()
        check_plan(request.spec, sum(jobs), self._client.remaining_seconds())

    def _check_online(self) -> None:
        """Refuse to send to a device that takes no jobs: they would wait without a word."""
        client = self._client
        try:
            state = client.state()
        except ServiceError as trouble:
            if trouble.kind != "gone":
                raise
            raise _unopened(client, trouble) from None
        if not state.online:
            raise BackendError(
                "A device must be online",
                got=f"{client.device}: {state.message or 'offline'}, {state.queue} jobs waiting",
                fix=f"Wait, as jobs would, or take another: {_names(client)}",
            )

    def limit(self, request: PubRequest, rows: Sequence[int], spent: float) -> int | None:
        """Seconds after which the service is to stop the first of jobs with so many rows; None for no cap.

        Raises:
            BackendError: If the cap leaves too little.
        """
        jobs = seconds_of_jobs(request.spec, request.program, rows)
        limits = job_limits(request.spec, jobs, self._spent() + spent)
        # Shared out over all jobs that are still to come, so that the first leaves the others their part of
        # the cap.
        return None if limits is None else limits[0]


def _unopened(client: IBMClient, trouble: ServiceError) -> BackendError:
    if trouble.kind != "gone":
        return as_job_error(trouble, client.device)
    return BackendError(
        "A device must be one of the account's",
        got=f"{client.device}, which is not, or no longer",
        fix=f"Name another: {_names(client)}; its old jobs can still be read with 'qhq jobs resume'",
    )


def _names(client: IBMClient) -> str:
    """Other devices that take jobs; the account may not be able to say."""
    try:
        names = client.others()
    # It is a hint inside another error, which must not give way to this one.
    except ServiceError:
        names = []
    return ", ".join(names) or f"none is online; --backend {fake_for(client.device)} needs none"


def service_estimate(client: IBMClient, request: PubRequest, rows: Sequence[int], clock: Clock) -> float:
    """Seconds on the device that the service expects of jobs with so many rows; 0 for none.

    Jobs with as many rows take as long, so one of each size is sent.

    Raises:
        BackendError: If the plan or the client has no dry run, or the service refuses it or says nothing.
    """
    if not rows:
        return 0.0
    try:
        imitation = ask(client, request.spec, client.imitation, clock)
        if imitation is None:
            raise _refusal(request, "no device of the account imitates it")
        return sum(
            # Each rehearsal waits in a queue of its own, so equal jobs are asked for once and counted.
            count * _estimate(client, request, imitation, each, clock)
            for each, count in Counter(rows).items()
        )
    except ServiceError as trouble:
        raise as_job_error(trouble, f"dry run of {request.spec.name}") from None


def _estimate(client: IBMClient, request: PubRequest, imitation: str, rows: int, clock: Clock) -> float:
    spec, program, values = request.spec, request.program, request.values[:rows]
    job_id = ask(client, spec, lambda: client.rehearse(imitation, spec, program, values), clock)
    waited = 0.0
    for pause in polling_pauses(spec.poll_seconds):
        state = ask(client, spec, lambda: client.job_state(job_id), clock)
        if state.is_final:
            break
        if waited >= spec.patience_seconds:
            raise _refusal(
                request, f"job {job_id} on {imitation} is {state.status.lower()} after {waited:.0f} s"
            )
        let_pass(clock, pause, f"{imitation}, job {job_id}: {state.status.lower()}")
        waited += pause
    if state.status != "DONE":
        raise _refusal(request, f"job {job_id} on {imitation} ended as {state.status.lower()}")
    seconds = ask(client, spec, lambda: client.estimated_seconds(job_id), clock)
    if seconds is None:
        raise _refusal(request, f"no time in what the service says of job {job_id} on {imitation}")
    return seconds


def _refusal(request: PubRequest, got: str) -> BackendError:
    return BackendError(
        "The service must have a dry run of its own, and an estimate, where --service asks for it",
        got=f"{request.spec.name}: {got}",
        fix="IBM has it on the Flex, Premium and On-Prem plans; --dry-run without --service is qhq's own "
        "forecast and sends nothing",
    )
