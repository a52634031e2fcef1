"""The service as a process of its own, and its verbs from here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from .server import environment
from .service import Service

ROOT = Path(__file__).parents[2]


class Remote:
    """A service in another process: every verb of `Service.VERBS`, called over HTTP.

    Example::

        with Remote(state=tmp_path / "jobs.sqlite") as service:
            service.fault("reply_lost")
            subprocess.run(command, env={**os.environ, **service.environment()})
            assert service.submissions() == {tag: 1}
    """

    def __init__(
        self, state: Path | None = None, *, port: int = 0, noise: str = "device", plan: str = "open"
    ) -> None:
        self._command = [sys.executable, "-m", "tests.loopback", "--noise", noise, "--plan", plan]
        self._command += ["--state", str(state)] if state else []
        self._process: subprocess.Popen[str] | None = None
        self._port = port
        self.url = ""

    def start(self) -> Remote:
        """Start the process, on the port of the last time if there was one, and wait for its address."""
        self._process = subprocess.Popen(
            [*self._command, "--port", str(self._port)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self.url = self._process.stdout.readline().strip()
        self._port = int(self.url.rpartition(":")[2])
        return self

    def kill(self) -> None:
        """Kill the process without warning; a state file keeps the jobs."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def environment(self) -> dict[str, str]:
        """Environment variables that point the client, and qhq, at this service."""
        return environment(self.url)

    def __enter__(self) -> Remote:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.kill()

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        if verb not in Service.VERBS:
            raise AttributeError(verb)
        return partial(self._tell, verb)

    def _tell(self, verb: str, *positional: Any, **named: Any) -> Any:
        data = json.dumps([positional, named]).encode()
        request = urllib.request.Request(f"{self.url}/loopback/{verb}", data=data, method="POST")
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
            return json.loads(answer.read() or b"null")
