"""IBM's service behind a few plain verbs: the only file that imports the client of IBM Quantum."""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any, TypeVar

from qiskit.exceptions import QiskitError
from qiskit.primitives.containers import BindingsArray
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.providers.exceptions import QiskitBackendNotFoundError
from qiskit_ibm_runtime import Batch, QiskitRuntimeService, Session
from qiskit_ibm_runtime.api.auth import CloudAuth
from qiskit_ibm_runtime.api.exceptions import RequestsApiError
from qiskit_ibm_runtime.decoders.result_decoder import ResultDecoder
from qiskit_ibm_runtime.exceptions import (
    IBMInputValueError,
    IBMNotAuthorizedError,
    RuntimeInvalidStateError,
)
from qiskit_ibm_runtime.executor_estimator import Estimator
from requests.exceptions import TooManyRedirects

from qhq.backends.backend import DeviceState, ListedDevice
from qhq.backends.devices.calibration import Calibration, make_calibration
from qhq.backends.devices.isa import within_range
from qhq.backends.executor import FloatArray
from qhq.backends.ibm import IBMSpec, estimator_options
from qhq.backends.ibm.account import Account
from qhq.backends.ibm.records import LaidOut
from qhq.backends.ibm.waiting import FailureKind, ServiceError, heartbeat, redact
from qhq.backends.ibm.wire import (
    SURROUNDINGS,
    NoInstanceError,
    RefusedHereError,
    WireSession,
    failure_of,
    keep_key_here,
    message_of,
    own_wire,
    retry_after,
)
from qhq.errors import BackendError

_T = TypeVar("_T")

_CHANNEL, _API = "ibm_quantum_platform", "/api/v1"

_NOT_FOUND = 404

_FINAL = frozenset({"DONE", "ERROR", "CANCELLED"})

# What a device says of itself that runs jobs; in any other status (internal, dedicated, maintenance) it
# takes them and lets them wait.
_TAKES_JOBS = frozenset({"active", "online", "available", ""})

# What jobs bear that cost nothing; the journal does not know them.
_DRY_RUN_TAG = "qhq-dry-run"

# Jobs that are asked for at a time.
_PAGE = 20


@dataclass(frozen=True)
class JobState:
    """What a job is doing, in the client's words, and its place in the queue where the service says so."""

    status: str
    place: int | None = None

    @property
    def is_final(self) -> bool:
        """Whether it has come to an end."""
        return self.status in _FINAL


class IBMClient:
    """One device of an account, by the verbs that jobs need; each raises :class:`ServiceError` alone.

    Args:
        account: Where to ask and as whom.
        device: Name of the device; it is looked up when it is first needed.
        fractional: Whether its fractional gates are asked for.
    """

    def __init__(self, account: Account, device: str, *, fractional: bool = False) -> None:
        self.device, self.fractional = device, fractional
        self.on_mode: Callable[[str], None] = lambda _: None
        self._account = account
        # Whatever is said of an error is said without these.
        self._secrets = [account.token or "", os.environ.get("QISKIT_IBM_TOKEN", "")]
        self._service: Any = None
        self._backend: Any = None
        self._mode: Any = None
        # To look a job up is a request of its own, and a waiting program asks for it again and again.
        self._jobs: dict[str, Any] = {}

    def reconnect(self) -> None:
        """Forget tokens, sessions and what was read: the next verb starts afresh."""
        self._service = self._backend = self._mode = None
        self._jobs.clear()

    def calibration(self) -> Calibration:
        """Configuration and latest properties of the device, asked for afresh."""

        def read() -> Calibration:
            known, backend = self._backend is not None, self._device()
            if known:
                # Its qubits and gates may have changed, not its numbers alone.
                backend.refresh()
            return make_calibration(backend.configuration().to_dict(), _as_dict(backend.properties()))

        return self._call(read, "calibration")

    def state(self) -> DeviceState:
        """Whether the device runs jobs now."""
        return self._call(
            lambda: _state(self._device()._api_client.backend_status(self.device)), "status", missing="gone"
        )

    def devices(self) -> list[ListedDevice]:
        """All devices of the account, with their states; one that cannot be read is among them.

        The client's own list leaves out, without a word, devices whose configuration it cannot read.
        """

        def read() -> list[ListedDevice]:
            service, found = self._connected(), dict[str, ListedDevice]()
            # Asked first, since it raises: the client takes a list of devices that it could not read for an
            # empty one.
            service.usage()
            for api, listed in _listings(service):
                for each in listed:
                    if str(each["name"]) not in found:
                        found[str(each["name"])] = self._listed(api, each)
            if not found:
                raise ValueError("no device of the account is in the reply")
            return list(found.values())

        return sorted(self._call(read, "devices"), key=lambda each: each.name)

    def _listed(self, api: Any, listed: Mapping[str, Any]) -> ListedDevice:
        name, qubits = str(listed["name"]), listed.get("qubits")
        width = qubits if type(qubits) is int else None
        try:
            return ListedDevice(name, width, _state(api.backend_status(name)))
        except Exception as error:  # one of many may not answer, and the others are listed all the same
            return ListedDevice(name, width, None, redact(message_of(error), self._secrets))

    def others(self) -> list[str]:
        """Names of the other devices of the account that run jobs."""
        found = self.devices()
        return [each.name for each in found if each.name != self.device and each.state and each.state.online]

    def remaining_seconds(self) -> float | None:
        """Seconds on a QPU that the plan has left; None where it has no limit."""

        def read() -> float | None:
            content = self._connected().usage()
            if not any(key.startswith("usage_") for key in content):
                raise ValueError("the usage of the plan is not in the reply")
            remaining = content.get("usage_remaining_seconds")
            if content.get("usage_limit_reached"):
                remaining = 0.0
            return None if remaining is None else float(remaining)

        return self._call(read, "usage")

    def submit(self, spec: IBMSpec, program: LaidOut, values: FloatArray, tag: str, limit: int | None) -> str:
        """Send rows of values (N, P) as one PUB with all observables, once; the id of the job.

        The service stops it after ``limit`` seconds on the device.
        """

        def send() -> str:
            backend = self._device()
            mode = self._opened(spec, backend)
            posts = WireSession.posts
            sent, taken = posts.sent, posts.taken
            try:
                estimator = Estimator(mode=mode or backend, options=estimator_options(spec, tag, limit))
                job = estimator.run([_pub(program, values)])
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                if posts.sent == sent and not isinstance(error, OSError):
                    raise RefusedHereError(str(error)) from None
                raise
            except Exception as error:
                # The client asks more once the job is taken: what fails then says nothing of the job.
                if posts.taken > taken:
                    raise ConnectionError(f"The job was taken, and then: {message_of(error)}") from None
                raise
            self._jobs[job.job_id()] = job
            return str(job.job_id())

        return self._call(send, "submission")

    def instance(self) -> str:
        """CRN of the instance that the device is used through."""
        return self._call(lambda: str(self._device()._instance), "instance", missing="gone")

    def instances(self) -> list[str]:
        """CRNs of the instances that jobs are looked for in."""
        return self._call(lambda: list(map(str, self._connected()._get_api_clients())), "instances")

    def find(self, tag: str) -> list[str]:
        """Ids of the jobs that bear a tag, the oldest first, in all instances that the key reaches."""

        def read() -> list[str]:
            # Without an instance of the user's choice, the client would ask any one of them.
            services = self._connected()._get_api_clients().values()
            jobs = [job for service in services for job in _bearing(service, tag)]
            return [str(job["id"]) for job in sorted(jobs, key=lambda job: str(job.get("created", "")))]

        return self._call(read, "jobs")

    def job_state(self, job_id: str) -> JobState:
        """What a job is doing."""

        def read() -> JobState:
            job = self._job(job_id)
            status = str(job.status())
            return JobState(status, _place(job) if status == "QUEUED" else None)

        return self._call(read, f"job {job_id}", missing="lost")

    def raw_result(self, job_id: str) -> str:
        """Result of a job that came to an end, as the service gives it; it may be anything."""
        # As text: what is kept must outlive the classes of the client of today.
        raw = self._call(
            lambda: self._job(job_id).result(decoder=_AsReceived), f"result of {job_id}", missing="lost"
        )
        return str(raw or "")

    def job_calibration(self, job_id: str) -> Calibration | None:
        """What the device was calibrated to as a job ran; None where the service does not say."""

        def read() -> Calibration | None:
            job = self._job(job_id)
            properties = job.properties()
            return properties and make_calibration(
                job.backend().configuration().to_dict(), _as_dict(properties)
            )

        return self._call(read, f"calibration of {job_id}", missing="lost")

    def qpu_seconds(self, job_id: str) -> float | None:
        """What a job took on the device; None until the service has worked it out."""

        def read() -> float | None:
            usage = self._job(job_id).metrics().get("usage") or {}
            seconds = usage.get("qpu_charge_time_seconds", usage.get("quantum_seconds"))
            # Pending: until then the seconds may stand at zero.
            if usage.get("status") == "pending" or seconds is None or not 0 <= float(seconds) < float("inf"):
                return None
            return float(seconds)

        return self._call(read, f"usage of {job_id}", missing="lost")

    def estimated_seconds(self, job_id: str) -> float | None:
        """What the service expects a job to take on the device; None where it does not say."""

        def read() -> float | None:
            seconds = self._job(job_id).usage_estimation.get("quantum_seconds")
            return None if seconds is None else float(seconds)

        return self._call(read, f"estimate of {job_id}", missing="lost")

    def imitation(self) -> str | None:
        """Name of the device that imitates this one for the service's own dry runs; None if there is none."""

        def read() -> str | None:
            # The client's own rule; it would look the name up too, after it prepared the job.
            name, service = re.sub(r"^[^_]+", "mock", self.device), self._connected()
            service.usage()
            mocks = [each for _, listed in _listings(service, mocks=True) for each in listed]
            return next((name for each in mocks if each["name"] == name), None)

        return self._call(read, "devices") if "dry_run" in signature(Estimator.run).parameters else None

    def rehearse(self, imitation: str, spec: IBMSpec, program: LaidOut, values: FloatArray) -> str:
        """Send rows of values (N, P) to the device that imitates this one, at no cost; the id of the job."""

        def send() -> str:
            mock = self._connected().backend(imitation, use_fractional_gates=self.fractional)
            estimator = Estimator(mode=mock, options=estimator_options(spec, _DRY_RUN_TAG, None))
            job = estimator.run([_pub(program, values)], dry_run=True)
            self._jobs[job.job_id()] = job
            return str(job.job_id())

        return self._call(send, "dry run")

    def cancel(self, job_id: str) -> bool:
        """Cancel a job; False if it had come to an end."""

        def act() -> bool:
            try:
                self._job(job_id).cancel()
            # What the service says of a job that has come to an end.
            except RuntimeInvalidStateError:
                return False
            return True

        return self._call(act, f"cancelling {job_id}", missing="lost")

    def close_session(self, session_id: str) -> None:
        """Close a batch or session that another process left open; one that is gone is closed."""

        def act() -> None:
            missing = None
            for service in self._connected()._get_api_clients().values():
                try:
                    service.close_session(session_id)
                except RequestsApiError as error:
                    if error.status_code != _NOT_FOUND:
                        raise
                    missing = error
                else:
                    return
            if missing is not None:
                raise missing

        try:
            self._call(act, "session", missing="lost")
        except ServiceError as trouble:
            if trouble.kind != "lost":
                raise

    def leave_mode(self) -> None:
        """Send what follows in another batch or session than what went before."""
        self._mode = None

    def _opened(self, spec: IBMSpec, backend: Any) -> Any:
        # Opened with the first job, not before: an open session costs by the wall clock.
        if spec.mode != "job" and self._mode is None:
            self._mode = (Batch if spec.mode == "batch" else Session)(backend=backend)
            self.on_mode(str(self._mode.session_id))
        return self._mode

    def _connected(self) -> Any:
        if self._service is None:
            _check_key(self._account)
            with SURROUNDINGS.without_search(self._account):
                self._service = _open_service(self._account)
            # A token that the client found in a saved account must not stand in a message either.
            self._secrets.append(self._service.active_account().get("token", ""))
        return self._service

    def _device(self) -> Any:
        if self._backend is None:
            service = self._connected()
            # The client takes a list of devices that it could not read for an empty one: ask something first.
            service.usage()
            try:
                self._backend = service.backend(self.device, use_fractional_gates=self.fractional)
            except QiskitBackendNotFoundError:
                self._say_why_unreadable(service)
                raise
        return self._backend

    def _say_why_unreadable(self, service: Any) -> None:
        """Raise what is wrong with a device that the account has: the client says that there is none."""
        for api, listed in _listings(service):
            if any(each["name"] == self.device for each in listed):
                api.backend_configuration(self.device, refresh=True)
                raise ValueError(f"the configuration of {self.device} cannot be read")

    def _job(self, job_id: str) -> Any:
        if job_id not in self._jobs:
            self._jobs[job_id] = self._connected().job(job_id)
        return self._jobs[job_id]

    def _call(self, act: Callable[[], _T], what: str, *, missing: FailureKind = "no_instance") -> _T:
        """Do something with the client.

        Args:
            act: What to do.
            what: What is waited for, in a word.
            missing: What it means that the service does not find it.
        """
        try:
            with SURROUNDINGS.quiet(), own_wire(), heartbeat(f"{self.device}, {what}"):
                return act()
        except BackendError as error:
            # A device that cannot be understood: what the service sent is at fault.
            kind: FailureKind = "garbled"
            message, wait = redact(error.got, self._secrets), None
        except Exception as error:  # the client lets whatever its parsers stumble over through
            kind = failure_of(error, missing)
            message, wait = redact(message_of(error), self._secrets), retry_after(error, time.time())
        # Raised out here, so that no error of the client, which may quote a request, hangs on.
        raise ServiceError(kind, message, wait)


def _bearing(service: Any, tag: str) -> Iterator[Mapping[str, Any]]:
    """Jobs of an instance that bear a tag.

    Raises:
        ValueError: If others come too: what is found is used, and cancelled, as ours.
    """
    for page in itertools.count():
        jobs = service.jobs_get(limit=_PAGE, skip=page * _PAGE, job_tags=[tag], descending=False)["jobs"]
        if any(tag not in (job.get("tags") or ()) for job in jobs):
            raise ValueError(f"jobs without the tag {tag} were given for it")
        yield from jobs
        if len(jobs) < _PAGE:
            return


class _AsReceived(ResultDecoder):  # type: ignore[misc]
    """Hands on the text of a result."""

    @classmethod
    def decode(cls, data: Any) -> Any:
        """The text itself."""
        return data


def _check_key(account: Account) -> None:
    """Buy a token before the client does: refused a first time, it would wait a minute to ask again.

    Raises:
        IBMNotAuthorizedError: If the key is not accepted.
        OSError: If the identity service cannot be reached.
    """
    if account.token is None:
        return
    auth = CloudAuth(account.token, account.instance or "")
    keep_key_here(auth)
    try:
        auth.tm.get_token()
    except OSError:
        raise
    except Exception as error:  # whatever the layers below make of a refusal, or of a reply that is no token
        status = getattr(error, "status_code", None)
        if status is None or status >= 500 or status == 429:
            raise ConnectionError(f"The identity service gave no token: {message_of(error)}") from None
        if status < 400:
            raise TooManyRedirects("The identity service redirects elsewhere") from None
        raise IBMNotAuthorizedError(f"The identity service refused the key: {error}") from None


def _open_service(account: Account) -> Any:
    where: dict[str, Any] = {}
    if account.url is not None:
        where = {
            "url": account.url.rstrip("/").removesuffix(_API),
            # The client's own resolver rewrites an address to that of IBM's platform.
            "url_resolver": lambda url, *_: f"{url}{_API}",
        }
    if account.token is not None:
        where["token"] = account.token
    try:
        return QiskitRuntimeService(channel=_CHANNEL, instance=account.instance, **where)
    except IBMInputValueError as error:
        raise NoInstanceError(str(error)) from None


def _pub(program: LaidOut, values: FloatArray) -> EstimatorPub:
    # Last of all: what the journal keeps is the circuit that passed the gate, for any angle.
    circuit, parameters, values = within_range(program.circuit, program.parameters, values)
    rows = BindingsArray({parameters: values})
    # Shape (O, 1) against the rows' (N,): each observable at each row. Of (O,) each would meet a row of its
    # own.
    columns = [[observable] for observable in program.observables]
    return EstimatorPub.coerce((circuit, columns, rows))


def _listings(service: Any, *, mocks: bool = False) -> Iterator[tuple[Any, list[Mapping[str, Any]]]]:
    """What each instance has to say of its devices, or of those that imitate others."""
    # The client reads the lists here, and takes one that it could not read for an empty one.
    instances = [crn for crn, _ in service._resolve_cloud_instances(None)]
    for crn in instances:
        api, known = service._get_api_clients().get(crn), service._backends_info_per_instance.get(crn)
        if api is None:
            continue
        listed = api.list_backends() if known is None and len(instances) == 1 else known or []
        yield api, [each for each in listed if (each.get("class") == "mock") == mocks]


def _state(status: Mapping[str, Any]) -> DeviceState:
    """State of a device in the words of the service."""
    message = str(status["status_msg"])
    if not message and not status["operational"]:
        raise ValueError("the status of the device is not in the reply")
    online = bool(status["operational"]) and message.lower() in _TAKES_JOBS
    return DeviceState(online, int(status["pending_jobs"]), message)


def _place(job: Any) -> int | None:
    """Place of a job in the queue: good to know, and no more."""
    try:
        place = job.metrics().get("position_in_queue")
        return None if place is None else int(place)
    except (QiskitError, OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _as_dict(properties: Any) -> Mapping[str, Any]:
    if properties is None:
        raise ValueError("the service has no properties of the device")
    content: Mapping[str, Any] = properties.to_dict()
    return content
