"""The service without its wire: jobs, sessions and the verbs by which a test steers them."""

from __future__ import annotations

import json
import math
import threading
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from .devices import DEVICES, Device, changed_device, load_device
from .faults import FaultBook
from .identity import Identity
from .ledger import FINAL, Ledger
from .reading import read_request

INSTANCE = "crn:v1:bluemix:public:quantum-computing:us-east:a/0123456789abcdef:loopback-instance::"
KEY = "loopback-api-key"

MOCK = "mock_"
"""What the name of a device begins with that imitates another for dry runs."""

DOOMS: dict[str, dict[str, Any]] = {
    "timeout": {"status": "Cancelled", "reason": "Ran too long.", "reason_code": 1305},
    "failed": {"status": "Failed", "reason": "Error in the control system.", "reason_code": 9701},
    "cancelled": {"status": "Cancelled", "reason": "Cancelled by the operator."},
}
"""What may become of a job instead of a result."""


class Service:
    """State of the service. Every verb in `VERBS` can be called here or from another process.

    A worker thread runs jobs one at a time, oldest first, unless they are held, their device is offline or
    the budget is spent: then they stay queued, as in the cloud.

    Args:
        state: SQLite file of the jobs; in memory if none.
        noise: "device" (the calibration of the device served) or "none".
        seed: Seed of job number 1; job n adds n.
        plan: "open" refuses dedicated sessions; any other name allows them.
    """

    VERBS = (
        "fault", "clear", "hold", "release", "cancel", "doom", "revoke", "expire", "spend", "limit",
        "set_status", "recalibrate", "delay", "retire", "record", "submissions", "requests", "jobs",
    )  # fmt: skip

    def __init__(
        self, state: str = ":memory:", *, noise: str = "device", seed: int = 0, plan: str = "open"
    ) -> None:
        self.noise, self.seed, self.plan = noise, seed, plan
        self.ledger, self.faults, self.identity = Ledger(state), FaultBook(), Identity(KEY, INSTANCE)
        self.devices = list(DEVICES)
        self.mocks = False
        self.offline: set[str] = set()
        self.words: dict[str, str] = {}
        self.calibrations: dict[str, list[tuple[str, Device]]] = {}
        self.delays: dict[str, float] = {}
        self.sessions: dict[str, dict[str, Any]] = {}
        self.limit_seconds, self.extra_seconds = 600.0, 0.0
        self.job_bytes, self.job_seconds = math.inf, math.inf
        self.changed = threading.Condition()
        self._received: Counter[str] = Counter()
        self._dooms: list[str] = []
        self._allowed: int | None = None
        self._open = True
        self._worker = threading.Thread(target=self._work, name="loopback-worker", daemon=True)
        self._worker.start()

    def close(self) -> None:
        """Stop the worker after the job it runs, and close the ledger."""
        with self.changed:
            self._open = False
            self.changed.notify_all()
        self._worker.join()
        self.ledger.close()

    # The verbs of a test.

    def fault(self, name: str = "custom", **changes: Any) -> None:
        """Add a fault of the wire: a name of `faults.NAMED` and changes to it, or a fault of one's own."""
        self.faults.add(name, **changes)

    def clear(self) -> None:
        """Forget all faults of the wire, and dooms."""
        self.faults.clear()
        self._dooms.clear()

    def hold(self) -> None:
        """Keep jobs queued until they are released."""
        self._set(_allowed=0)

    def release(self, count: int | None = None) -> None:
        """Let ``count`` held jobs run, or all jobs from now on."""
        self._set(_allowed=count)

    def cancel(self, job_id: str) -> bool:
        """Cancel a job that is not final; whether it was."""
        with self.changed:
            job = self.ledger.find(job_id)
            if job is None or job["status"] in FINAL:
                return False
            self.ledger.change(job_id, **DOOMS["cancelled"], finished=_now())
            self.changed.notify_all()
            return True

    def doom(self, *names: str) -> None:
        """What the next jobs to run come to, one name of `DOOMS` a job."""
        self._dooms.extend(names)

    def revoke(self, key: bool = False) -> None:
        """Refuse the tokens issued so far and, if asked, the key."""
        self.identity.revoke(key=key)

    def expire(self, lifetime: float = 10.0) -> None:
        """Give tokens issued from now on this lifetime in seconds; 10 and less make every call renew."""
        self.identity.lifetime = lifetime

    def spend(self, seconds: float, limit: float = 600.0) -> None:
        """Add QPU seconds spent elsewhere, and set the limit of the plan."""
        self._set(extra_seconds=seconds, limit_seconds=limit)

    def limit(self, job_bytes: float = math.inf, job_seconds: float = math.inf) -> None:
        """Refuse larger jobs with 413, and end longer ones with code 1305; smaller ones pass."""
        self._set(job_bytes=job_bytes, job_seconds=job_seconds)

    def set_status(self, device: str, online: bool, word: str = "active") -> None:
        """Take a device offline (jobs are taken and stay queued) or back, with a word of its own."""
        with self.changed:
            self.words[device] = word
            (self.offline.discard if online else self.offline.add)(device)
            self.changed.notify_all()

    def recalibrate(
        self, device: str, updated: str = "", without: Sequence[int] = (), times: float = 1.0
    ) -> None:
        """Calibrate a device anew, from now on; see `devices.changed_device`."""
        changed = changed_device(
            self.device(device), updated=updated or _now(), without=tuple(without), times=times
        )
        self.calibrations.setdefault(device, []).append((_now(), changed))

    def delay(self, device: str, seconds: float) -> None:
        """Let each job of a device wait so long in its queue."""
        # Whoever measures queues measures no import of ours: see `_outcome`.
        from . import execute  # noqa: F401

        self._set(delays={**self.delays, device: seconds})

    def offers(self, name: str) -> bool:
        """Whether there is such a device now, or one that imitates it for dry runs (`mocks`)."""
        return name in self.devices or (self.mocks and _imitated(name) in self.devices)

    def device(self, name: str, before: str = "") -> Device:
        """A device as its latest calibration describes it, or the latest at a time (ISO 8601)."""
        if name.startswith(MOCK):
            found = self.device(_imitated(name), before)
            renamed = {"backend_name": name}
            return Device(name, found.configuration | renamed, found.properties | renamed)
        known = [
            device
            for since, device in self.calibrations.get(name, [])
            if not before or _utc(since) <= _utc(before)
        ]
        return known[-1] if known else load_device(name)

    def retire(self, device: str) -> None:
        """Remove a device for good; its old jobs can still be read."""
        self.devices.remove(device)

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs ever submitted, oldest first: id, backend, tags, status, pubs, items, shots and more."""
        return self.ledger.jobs(deleted=True)

    def submissions(self) -> dict[str, int]:
        """How many submissions became jobs, by tag."""
        return self.ledger.submissions()

    def requests(self) -> dict[str, int]:
        """How many requests arrived, by "METHOD /path" with ``{id}`` for ids."""
        return dict(self._received)

    def record(self) -> dict[str, Any]:
        """Everything received: jobs, submissions by tag, requests."""
        return {"jobs": self.jobs(), "submissions": self.submissions(), "requests": self.requests()}

    # What the routes need.

    def count(self, request: str) -> None:
        """Count one request."""
        self._received[request] += 1

    def submit(self, body: dict[str, Any]) -> dict[str, Any]:
        """Take a job; it runs as soon as the worker may."""
        job_id = f"d{uuid.uuid4().hex[:19]}"
        with self.changed:
            self.ledger.add(
                id=job_id,
                backend=body["backend"],
                program_id=body["program_id"],
                params=json.dumps(body["params"]),
                tags=body.get("tags", []),
                session_id=body.get("session_id"),
                private=bool(body.get("private")),
                limit_seconds=body.get("cost"),
                created=_now(),
                **read_request(body["params"]),
            )
            self.changed.notify_all()
        return {"id": job_id, "backend": body["backend"]}

    def await_final(self, job_id: str, seconds: float) -> dict[str, Any] | None:
        """A job, once it is final or cannot run now or the seconds are over: a client need not poll."""
        with self.changed:
            self.changed.wait_for(lambda: not self._moves(self.ledger.find(job_id)), timeout=seconds)
            return self.ledger.find(job_id)

    def usage(self) -> dict[str, Any]:
        """Budget of the instance in seconds."""
        spent = self.extra_seconds + self.ledger.spent()
        return {
            "instance_id": INSTANCE,
            "plan_id": self.plan,
            "usage_consumed_seconds": spent,
            "usage_limit_seconds": self.limit_seconds,
            "usage_limit_reached": spent >= self.limit_seconds,
            "usage_remaining_seconds": max(self.limit_seconds - spent, 0.0),
        }

    # The worker.

    def _set(self, **changes: Any) -> None:
        with self.changed:
            vars(self).update(changes)
            self.changed.notify_all()

    def _moves(self, job: dict[str, Any] | None) -> bool:
        """Whether a job is about to change by itself."""
        return job is not None and (job["status"] == "Running" or self._can_run(job))

    def _can_run(self, job: dict[str, Any]) -> bool:
        free = (
            job["status"] == "Queued" and self.offers(job["backend"]) and job["backend"] not in self.offline
        )
        waited = time.time() - _utc(job["created"]).timestamp()
        free = free and waited >= self.delays.get(job["backend"], 0.0)
        return free and self._allowed != 0 and not self.usage()["usage_limit_reached"]

    def _state(self, job_id: str) -> str | None:
        job = self.ledger.find(job_id)
        return job and job["status"]

    def _next(self) -> dict[str, Any] | None:
        return next((job for job in self.ledger.jobs() if self._can_run(job)), None)

    def _work(self) -> None:
        while True:
            with self.changed:
                while self._open and not self._next():
                    # A job that waits for its time wakes nobody.
                    self.changed.wait(timeout=0.1 if self.delays else None)
                if not self._open:
                    return
                job = self.ledger.find(self._next()["id"])
                self._allowed = None if self._allowed is None else self._allowed - 1
                self.ledger.change(job["id"], status="Running", running=_now())
            outcome = self._outcome(job)
            with self.changed:
                if self._state(job["id"]) == "Running":
                    self.ledger.change(job["id"], **outcome, finished=_now())
                self.changed.notify_all()

    def _outcome(self, job: dict[str, Any]) -> dict[str, Any]:
        if self._dooms:
            return DOOMS[self._dooms.pop(0)]
        if job["seconds"] > min(self.job_seconds, job["limit_seconds"] or math.inf):
            return DOOMS["timeout"]
        if job["backend"].startswith(MOCK):
            # Noise in the shape of a result, in the cloud: whoever reads it is at fault.
            return {"status": "Completed", "result": "random"}
        # Imported here: it takes seconds to load, and a service that only answers need not wait for it.
        from .execute import run_job

        try:
            seed = self.seed + job["number"]
            result = run_job(
                json.loads(job["params"]), job["backend"], noisy=self.noise == "device", seed=seed
            )
        except Exception as error:
            return {"status": "Failed", "reason": f"{type(error).__name__}: {error}", "reason_code": 1517}
        return {"status": "Completed", "result": result}


def _imitated(name: str) -> str:
    return name.replace(MOCK, "ibm_", 1)


def _utc(moment: str) -> datetime:
    return datetime.fromisoformat(moment).astimezone(UTC)


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
