"""The endpoints of the Runtime API, version 2026-04-15, as the client asks for them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .ledger import FINAL
from .service import MOCK, Service

PATIENCE_SECONDS = 5.0
"""How long a question for a running job may wait for its end, so that tests need not poll."""


class Refused(Exception):
    """A request is answered with an error."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"errors": [{"code": code, "message": message, "solution": "", "more_info": ""}]}


@dataclass(frozen=True)
class Request:
    """One request: the ids in its path, its query and its JSON body."""

    ids: tuple[str, ...] = ()
    query: dict[str, list[str]] = field(default_factory=dict)
    body: Any = None

    def one(self, key: str, default: Any = None) -> Any:
        """First value of a query parameter."""
        return self.query.get(key, [default])[0]


Answer = tuple[int, Any]


def list_backends(service: Service, request: Request) -> Answer:
    """All devices of the instance."""
    waiting = [job["backend"] for job in service.ledger.jobs() if job["status"] == "Queued"]
    devices = [
        {
            "name": name,
            "qubits": service.device(name).qubits,
            "status": {"name": "offline" if name in service.offline else "online", "reason": ""},
            "queue_length": waiting.count(name),
        }
        for name in service.devices
    ]
    if service.mocks:
        mocks = [each["name"].replace("ibm_", MOCK, 1) for each in devices]
        devices += [
            {**each, "name": mock, "class": "mock"} for each, mock in zip(devices, mocks, strict=True)
        ]
    return 200, {"devices": devices}


def configuration(service: Service, request: Request) -> Answer:
    """Configuration of a device."""
    return 200, service.device(_device(service, request)).configuration


def properties(service: Service, request: Request) -> Answer:
    """Calibration of a device, the latest or the latest before a time."""
    return 200, service.device(_device(service, request), request.one("updated_before", "")).properties


def status(service: Service, request: Request) -> Answer:
    """State of a device."""
    name = _device(service, request)
    online = name not in service.offline
    version = service.device(name).configuration["backend_version"]
    queued = sum(job["backend"] == name and job["status"] == "Queued" for job in service.ledger.jobs())
    word = service.words.get(name, "active") if online else "offline"
    return 200, {"state": online, "status": word, "length_queue": queued, "backend_version": version}


def usage(service: Service, request: Request) -> Answer:
    """Budget of the instance."""
    return 200, service.usage()


def submit(service: Service, request: Request) -> Answer:
    """Take a job."""
    body = request.body
    if body.get("program_id") != "executor":
        raise Refused(404, 1207, f"Program {body.get('program_id')} not found.")
    if not service.offers(body.get("backend") or ""):
        raise Refused(404, 1216, f"Backend {body.get('backend')} not found.")
    if len(json.dumps(body["params"])) > service.job_bytes:
        raise Refused(413, 1207, "Job payload is too large.")
    session = body.get("session_id")
    if session and not service.sessions.get(session, {}).get("accepting_jobs"):
        raise Refused(400, 1211, f"Session {session} is closed or does not exist.")
    return 200, service.submit(body)


def list_jobs(service: Service, request: Request) -> Answer:
    """Jobs that bear all tags asked for, newest first, one page."""
    jobs = [job for job in service.ledger.jobs() if _is_wanted(job, request)]
    if request.one("sort") != "ASC":
        jobs.reverse()
    offset, limit = int(request.one("offset", 0)), int(request.one("limit", 200))
    page = [_describe(job) for job in jobs[offset : offset + limit]]
    return 200, {"jobs": page, "count": len(jobs), "limit": limit, "offset": offset}


def show_job(service: Service, request: Request) -> Answer:
    """One job; waits a little if it is about to end."""
    _job(service, request)
    job = service.await_final(request.ids[0], PATIENCE_SECONDS)
    described = _describe(job)
    if request.one("exclude_params") != "true" and job["params"]:
        described["params"] = json.loads(job["params"])
    return 200, described


def results(service: Service, request: Request) -> Answer:
    """Result of a job as text; that of a private job once."""
    job = _job(service, request)
    if job["status"] != "Completed":
        return (200, job["reason"] or "") if job["status"] in FINAL else (204, None)
    if job["result"] is None:
        raise Refused(404, 1291, "The results of a private job can be read once.")
    if job["private"]:
        service.ledger.change(job["id"], result=None, params=None)
    return 200, job["result"]


def metrics(service: Service, request: Request) -> Answer:
    """Times and usage of a job."""
    job = _job(service, request)
    done = job["status"] in FINAL
    paid = job["status"] == "Completed" and not job["backend"].startswith(MOCK)
    charged = job["seconds"] if paid else 0.0
    return 200, {
        "timestamps": {key: job[key] for key in ("created", "running", "finished")},
        "usage": {
            "status": "final" if done else "pending",
            "qpu_charge_time_seconds": charged,
            "seconds": charged,
        },
        "position_in_queue": None if done else 1,
    }


def logs(service: Service, request: Request) -> Answer:
    """Logs of a job as text."""
    return 200, f"job {_job(service, request)['id']}\n"


def cancel(service: Service, request: Request) -> Answer:
    """Cancel a job."""
    if not service.cancel(_job(service, request)["id"]):
        raise Refused(409, 1210, "The job is in a final state.")
    return 204, None


def tag(service: Service, request: Request) -> Answer:
    """Replace the tags of a job."""
    service.ledger.change(_job(service, request)["id"], tags=request.body["tags"])
    return 204, None


def delete(service: Service, request: Request) -> Answer:
    """Delete a job."""
    service.ledger.change(_job(service, request)["id"], deleted=1)
    return 204, None


def open_session(service: Service, request: Request) -> Answer:
    """Open a batch or, if the plan has them, a session."""
    mode = request.body.get("mode", "dedicated")
    if mode == "dedicated" and service.plan == "open":
        raise Refused(400, 1352, "You are not authorized to run a session when using the open plan.")
    session = {"id": uuid.uuid4().hex, "mode": mode, "backend_name": request.body.get("backend")}
    session |= {
        "state": "open",
        "accepting_jobs": True,
        "max_ttl": request.body.get("max_ttl"),
        "elapsed_time": 0,
    }
    service.sessions[session["id"]] = session
    return 200, session


def show_session(service: Service, request: Request) -> Answer:
    """Details of a session."""
    return 200, _session(service, request)


def patch_session(service: Service, request: Request) -> Answer:
    """Stop taking jobs."""
    _session(service, request)["accepting_jobs"] = request.body["accepting_jobs"]
    return 204, None


def close_session(service: Service, request: Request) -> Answer:
    """Close a session and cancel its waiting jobs."""
    session = _session(service, request)
    session.update(state="closed", accepting_jobs=False)
    for job in service.ledger.jobs():
        if job["session_id"] == session["id"]:
            service.cancel(job["id"])
    return 204, None


ROUTES: dict[str, Callable[[Service, Request], Answer]] = {
    "GET /backends": list_backends,
    "GET /backends/{id}/configuration": configuration,
    "GET /backends/{id}/properties": properties,
    "GET /backends/{id}/status": status,
    "GET /instances/usage": usage,
    "POST /jobs": submit,
    "GET /jobs": list_jobs,
    "GET /jobs/{id}": show_job,
    "DELETE /jobs/{id}": delete,
    "GET /jobs/{id}/results": results,
    "GET /jobs/{id}/metrics": metrics,
    "GET /jobs/{id}/logs": logs,
    "POST /jobs/{id}/cancel": cancel,
    "PUT /jobs/{id}/tags": tag,
    "POST /sessions": open_session,
    "GET /sessions/{id}": show_session,
    "PATCH /sessions/{id}": patch_session,
    "DELETE /sessions/{id}/close": close_session,
}
"""Request -> answer."""


def _device(service: Service, request: Request) -> str:
    if not service.offers(request.ids[0]):
        raise Refused(404, 1216, f"Backend {request.ids[0]} not found.")
    return request.ids[0]


def _job(service: Service, request: Request) -> dict[str, Any]:
    job = service.ledger.find(request.ids[0])
    if job is None:
        raise Refused(404, 1291, f"Job {request.ids[0]} not found.")
    return job


def _session(service: Service, request: Request) -> dict[str, Any]:
    if request.ids[0] not in service.sessions:
        raise Refused(404, 1211, f"Session {request.ids[0]} not found.")
    return service.sessions[request.ids[0]]


def _is_wanted(job: dict[str, Any], request: Request) -> bool:
    pending = request.one("pending")
    same = {"backend": job["backend"], "program": job["program_id"], "session_id": job["session_id"]}
    return (
        set(request.query.get("tags", [])) <= set(job["tags"])
        and all(request.one(key, value) == value for key, value in same.items())
        and pending in (None, "false" if job["status"] in FINAL else "true")
        and request.one("created_after", "") <= job["created"]
        and request.one("created_before", "9") >= job["created"]
    )


def _describe(job: dict[str, Any]) -> dict[str, Any]:
    state = {"status": job["status"], "reason": job["reason"], "reason_code": job["reason_code"]}
    return {
        **{key: job[key] for key in ("id", "backend", "created", "tags", "session_id")},
        "state": state,
        "status": job["status"],
        "program": {"id": job["program_id"]},
        "private": bool(job["private"]),
        "estimated_running_time_seconds": job["seconds"],
    }
