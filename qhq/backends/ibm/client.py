"""IBM's service behind a few plain verbs: the only file that imports the client of IBM Quantum."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from qiskit.exceptions import QiskitError
from qiskit.primitives.containers import BindingsArray
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit_ibm_runtime import Batch, QiskitRuntimeService, Session
from qiskit_ibm_runtime.api.auth import CloudAuth
from qiskit_ibm_runtime.decoders.defaults import DEFAULT_DECODERS
from qiskit_ibm_runtime.decoders.result_decoder import ResultDecoder
from qiskit_ibm_runtime.exceptions import IBMInputValueError, IBMNotAuthorizedError
from qiskit_ibm_runtime.executor_estimator import Estimator

from qhq.backends.devices.calibration import Calibration, make_calibration
from qhq.backends.executor import FloatArray
from qhq.backends.ibm.account import Account
from qhq.backends.ibm.errors import NoInstanceError, kind_of
from qhq.backends.ibm.options import estimator_options
from qhq.backends.ibm.pub_request import LaidOut
from qhq.backends.ibm.spec import IBMSpec
from qhq.backends.ibm.trouble import Kind, ServiceError, redact

T = TypeVar("T")

CHANNEL, API = "ibm_quantum_platform", "/api/v1"


FINAL = frozenset({"DONE", "ERROR", "CANCELLED"})


@dataclass(frozen=True)
class DeviceState:
    """Whether a device takes jobs, and how many wait before it."""

    online: bool
    queue: int
    message: str


@dataclass(frozen=True)
class Usage:
    """Seconds on a QPU that the plan has left; None where it has no limit."""

    remaining_seconds: float | None


class IBMClient:
    """One device of an account, by the verbs that jobs need; each raises :class:`ServiceError` alone.

    Args:
        account: Where to ask and as whom.
        device: Name of the device; it is looked up when it is first needed.
    """

    def __init__(self, account: Account, device: str) -> None:
        self.device = device
        self._account = account
        self._secrets = [account.token or "", os.environ.get("QISKIT_IBM_TOKEN", "")]
        self._service: Any = None
        self._backend: Any = None
        self._mode: Any = None
        self._jobs: dict[str, Any] = {}

    def reconnect(self) -> None:
        """Forget tokens, sessions and what was read: the next verb starts afresh."""
        self._service = self._backend = self._mode = None
        self._jobs.clear()

    def calibration(self) -> Calibration:
        """Configuration and latest properties of the device."""

        def read() -> Calibration:
            backend = self._device()
            return make_calibration(backend.configuration().to_dict(), backend.properties().to_dict())

        return self._call(read)

    def state(self) -> DeviceState:
        """Whether the device takes jobs now."""
        status = self._call(lambda: self._device().status(), missing="gone")
        return DeviceState(bool(status.operational), int(status.pending_jobs), str(status.status_msg))

    def others(self) -> list[str]:
        """Names of the other devices of the account that take jobs."""
        backends = self._call(lambda: self._connected().backends(operational=True))
        return sorted(each.name for each in backends if each.name != self.device)

    def usage(self) -> Usage:
        """What the plan has left."""
        content = self._call(lambda: self._connected().usage())
        remaining = content.get("usage_remaining_seconds")
        if content.get("usage_limit_reached"):
            remaining = 0.0
        return Usage(None if remaining is None else float(remaining))

    def submit(self, spec: IBMSpec, program: LaidOut, values: FloatArray, tag: str) -> str:
        """Send rows of values (N, P) as one PUB with all observables; the id of the job."""

        def send() -> str:
            backend = self._device()
            mode = self._opened(spec, backend)
            estimator = Estimator(mode=mode or backend, options=estimator_options(spec, tag))
            job = estimator.run([_pub(program, values)])
            self._jobs[job.job_id()] = job
            return str(job.job_id())

        return self._call(send)

    def find(self, tag: str) -> str | None:
        """Id of the job that bears a tag, if the service knows one."""
        jobs = self._call(lambda: self._connected().jobs(limit=2, job_tags=[tag]))
        return str(jobs[-1].job_id()) if jobs else None

    def is_final(self, job_id: str) -> bool:
        """Whether a job has come to an end."""
        return self._call(lambda: self._job(job_id).status() in FINAL, missing="lost")

    def raw_result(self, job_id: str) -> str:
        """Result of a job that came to an end, as the service gives it."""
        raw = self._call(lambda: self._job(job_id).result(decoder=_AsReceived), missing="lost")
        if not raw:
            raise ServiceError("failed", f"job {job_id} came back without a result")
        return str(raw)

    def qpu_seconds(self, job_id: str) -> float | None:
        """What a job took on the device; None until the service has worked it out."""
        metrics = self._call(lambda: self._job(job_id).metrics(), missing="lost")
        usage = metrics.get("usage") or {}
        seconds = usage.get("qpu_charge_time_seconds", usage.get("quantum_seconds"))
        return None if usage.get("status") == "pending" or seconds is None else float(seconds)

    def close_mode(self) -> None:
        """Close the batch or session that was opened, if any: an open session costs by the wall clock."""
        mode, self._mode = self._mode, None
        if mode is not None:
            self._call(mode.close)

    def _opened(self, spec: IBMSpec, backend: Any) -> Any:
        if spec.mode != "job" and self._mode is None:
            self._mode = (Batch if spec.mode == "batch" else Session)(backend=backend)
        return self._mode

    def _connected(self) -> Any:
        if self._service is None:
            _check_key(self._account)
            with _without_search(self._account):
                self._service = _open_service(self._account)
            self._secrets.append(self._service.active_account().get("token", ""))
        return self._service

    def _device(self) -> Any:
        if self._backend is None:
            service = self._connected()
            # The client takes a list of devices that it could not read for an empty one: ask something first.
            service.usage()
            self._backend = service.backend(self.device)
        return self._backend

    def _job(self, job_id: str) -> Any:
        if job_id not in self._jobs:
            self._jobs[job_id] = self._connected().job(job_id)
        return self._jobs[job_id]

    def _call(self, act: Callable[[], T], *, missing: Kind = "no_instance") -> T:
        """Do something with the client; ``missing`` is what it means that the service does not find it."""
        try:
            with _quiet():
                return act()
        except (QiskitError, OSError) as error:
            kind, message = kind_of(error, missing), redact(error, self._secrets)
        # Raised out here, so that no error of the client, which may quote a request, hangs on.
        raise ServiceError(kind, message)


def decode(raw: str) -> FloatArray:
    """Expectation values (N, O) of a result that was stored as received."""
    result: Any = raw
    with _quiet():
        for decoder in DEFAULT_DECODERS["executor"]:
            if decoder.is_applicable(result):
                result = decoder.decode(result)
    values: FloatArray = np.asarray(result[0].data.evs, dtype=np.float64).T
    return values


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
    try:
        CloudAuth(account.token, account.instance or "").tm.get_token()
    except OSError:
        raise
    except Exception as error:  # whatever the layers below make of a refusal
        if getattr(error, "status_code", 400) >= 500:
            raise ConnectionError(str(error)) from None
        raise IBMNotAuthorizedError(f"The identity service refused the key: {error}") from None


def _open_service(account: Account) -> Any:
    where: dict[str, Any] = {}
    if account.url is not None:
        where = {
            "url": account.url.rstrip("/").removesuffix(API),
            "url_resolver": lambda url, *_: f"{url}{API}",
        }
    if account.token is not None:
        where["token"] = account.token
    try:
        return QiskitRuntimeService(channel=CHANNEL, instance=account.instance, **where)
    except IBMInputValueError as error:
        raise NoInstanceError(str(error)) from None


def _pub(program: LaidOut, values: FloatArray) -> EstimatorPub:
    rows = BindingsArray({program.parameters: values})
    columns = [[observable] for observable in program.observables]
    return EstimatorPub.coerce((program.circuit, columns, rows))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What the client warns of is checked here before; its warnings would only repeat it."""
    logger = logging.getLogger("qiskit_ibm_runtime")
    level = logger.level
    logger.setLevel(max(level, logging.ERROR))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def _without_search(account: Account) -> Iterator[None]:
    """A service of one's own has no global catalogue, and a named instance needs no search."""
    switch = "QISKIT_FUNCTIONS_EXPERIMENTAL"
    if account.url is None or account.instance is None or switch in os.environ:
        yield
        return
    os.environ[switch] = "1"
    try:
        yield
    finally:
        del os.environ[switch]
