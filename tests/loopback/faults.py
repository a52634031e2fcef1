"""Faults of the wire, programmable and counted: which requests they meet, and what becomes of them."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from typing import Any

POLL = r"GET /jobs/{id}"

NAMED: dict[str, dict[str, Any]] = {
    "submit_500": {"on": "POST /jobs", "status": 500, "times": 2},
    "submit_dropped": {"on": "POST /jobs", "do": "drop"},
    "reply_lost": {"on": "POST /jobs", "do": "lose"},
    "poll_dropped": {"on": POLL, "do": "drop", "times": 2},
    "poll_502": {"on": POLL, "status": 502, "times": 3},
    "results_dropped": {"on": "GET /jobs/{id}/results", "do": "drop"},
    "unauthorized": {"on": "* /jobs*", "status": 401, "code": 1201, "message": "Unauthorized."},
    "gateway_504": {"on": "POST /jobs", "do": "act", "status": 504},
    "gateway_502": {"on": "POST /jobs", "do": "act", "status": 502},
    "retry_after": {"on": POLL, "status": 429, "headers": {"Retry-After": "300"}},
    "redirect": {"on": POLL, "status": 302, "headers": {"Location": "http://elsewhere.invalid/api/v1/jobs"}},
    "spoiled_result": {"on": "GET /jobs/{id}/results", "do": "spoil", "spoil": "truncated"},
    "too_large": {"on": "POST /jobs", "status": 413, "code": 1207, "message": "Job payload is too large."},
    "too_many": {"on": "POST /jobs", "status": 429, "code": 1429, "message": "Too many requests."},
}
"""Ready-made faults. ``{id}`` is one path segment, ``*`` anything; paths lack their ``/api/v1``."""


@dataclass
class Fault:
    """The next ``times`` requests (``None``: for ever) that match ``on``, after ``skip`` spared ones.

    ``do`` is "answer" (with ``status``, untouched by the service), "drop" (the connection closes before the
    service acts), "lose" (the service acts, then the connection closes without a reply), "act" (the service
    acts, then a gateway answers with ``status``), "spoil" (the service acts, and `spoil.SPOILED[spoil]` is
    made of its reply) or "hang" (nothing is answered for ``seconds``, then the connection closes).
    """

    on: str
    do: str = "answer"
    status: int = 500
    code: int = 1000
    message: str = "Injected fault."
    headers: dict[str, str] = field(default_factory=dict)
    spoil: str = ""
    seconds: float = 0.0
    times: int | None = 1
    skip: int = 0
    hits: int = 0

    def meets(self, request: str) -> bool:
        """Whether the fault strikes this "METHOD /path"; counts the hit."""
        if not re.fullmatch(_pattern(self.on), request) or self.times == self.hits:
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.hits += 1
        return True


class FaultBook:
    """The faults of one service, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, name: str, **changes: Any) -> Fault:
        """Add a named fault (see `NAMED`) or, for any other name, one that ``changes`` describes."""
        fault = Fault(**{**NAMED.get(name, {}), **changes})
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Forget all faults."""
        with self._lock:
            self._faults.clear()

    def strike(self, request: str) -> Fault | None:
        """The first fault that meets a request, if any."""
        with self._lock:
            return next((fault for fault in self._faults if fault.meets(request)), None)


def _pattern(on: str) -> str:
    return re.escape(on).replace(r"\{id\}", "[^/]+").replace(r"\*", ".*")
