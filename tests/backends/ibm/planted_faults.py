"""``python -m tests.backends.ibm.planted_faults [queues]``: the fault table of the hardware path, counted.

Each run opens a device of the loopback service with the real client, plants one fault in one phase,
evaluates, clears the fault, resumes and evaluates again, on a clock that nobody waits for. Counted are paid
results lost, jobs doubled without a word, wrong values taken, seconds without a word, and errors that are not
the three-part ones of a backend. With ``queues``, three devices whose queues take 20 s are evaluated in one
command instead, on the wall clock.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from qhq.backends.ibm.jobs import list_jobs, resume_jobs
from qhq.backends.ibm.waiting import talking
from qhq.errors import BackendError
from tests.loopback.remote import Remote
from tests.loopback.server import Loopback
from tests.loopback.service import Service
from tests.loopback.spoil import SPOILED

from .cases import FIVE_SIGMA, Heard, Listening, exact, opened, points

LONGEST_SILENCE_SECONDS = 30.0

TIMES = (1, 3, None)
"""A fault strikes once, three times, or until it is cleared."""

STATUSES = (400, 401, 409, 413, 429, 500, 502, 504)

GETS = (
    "GET /instances/usage", "GET /backends/{id}/properties", "GET /backends/{id}/status", "GET /jobs",
    "GET /jobs/{id}", "GET /jobs/{id}/results", "GET /jobs/{id}/metrics",
)  # fmt: skip


def fault_table() -> list[dict[str, Any]]:
    """Every fault: where it strikes, what it does, and how often."""
    rows: list[dict[str, Any]] = []
    for times in TIMES:
        rows += [{"on": "POST /jobs", "do": "act", "status": status} for status in (502, 504, 503)]
        rows += [
            {"on": "POST /jobs", "status": status} for status in (400, 401, 409, 413, 429, 500, 502, 504)
        ]
        rows += [{"on": "POST /jobs", "do": do} for do in ("drop", "lose")]
        rows += [{"on": "POST /jobs", "do": "spoil", "spoil": name} for name in ("object", "html", "empty")]
        for on in GETS:
            rows += [{"on": on, "status": status} for status in (404, 502)]
            rows += [{"on": on, "do": "drop"}, {"on": on, "do": "spoil", "spoil": "object"}]
        for row in rows:
            row.setdefault("times", times)
    after, there = {"Retry-After": "300"}, {"Location": "http://elsewhere.invalid/"}
    for on in ("POST /jobs", "GET /jobs/{id}", "GET /jobs/{id}/results"):
        rows += [{"on": on, "status": status, "headers": after, "times": 1} for status in (429, 503)]
        rows += [{"on": on, "status": status, "headers": there, "times": 1} for status in (302, 307)]
        rows += [{"on": on, "do": "hang", "seconds": 0.2, "times": 1}]
    results = "GET /jobs/{id}/results"
    for name in SPOILED:
        rows += [{"on": results, "do": "spoil", "spoil": name, "times": times} for times in TIMES]
    return rows


@dataclass
class Count:
    """What went wrong, by kind, with the faults it happened under."""

    runs: int = 0
    wrong: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, fault: object) -> None:
        """Count one."""
        self.wrong.setdefault(kind, []).append(str(fault))


def run_fault(fault: dict[str, Any], count: Count) -> None:
    """One run of the table."""
    folder = tempfile.mkdtemp()
    os.environ |= {"QHQ_RUNS_DIR": folder, "QHQ_CACHE_DIR": str(Path(tempfile.gettempdir()) / "qhq-faults")}
    # The readout is calibrated where faults of its calibration are planted.
    level = 1 if "readout" in fault.get("spoil", "") or fault.get("spoil") == "lost_flips" else 0
    loopback, heard = Loopback(Service(noise="none")).start(), Heard()
    os.environ |= loopback.environment()
    clock = Listening(heard)
    service = loopback.service
    found = []
    count.runs += 1
    with talking(heard):
        try:
            executor = opened(clock, resilience_level=level, patience_seconds=120)
            service.fault(**fault)
            _step(found, lambda: executor.expectations(*points()), fault, count)
            service.clear()
            _step([], lambda: resume_jobs(clock=clock), fault, count)
            again = opened(clock, resilience_level=level, patience_seconds=120)
            _step(found, lambda: again.expectations(*points()), fault, count)
            _check(service, again, found, heard, fault, count)
        finally:
            loopback.close()
    if clock.longest > LONGEST_SILENCE_SECONDS:
        count.add("silent", (fault, clock.longest))


def _step(found: list[Any], act: Any, fault: dict[str, Any], count: Count) -> None:
    try:
        found.append(act())
    except BackendError:
        pass
    except Exception as error:
        count.add("traceback", (fault, repr(error)))


def _check(
    service: Service, executor: Any, found: list[Any], heard: Heard, fault: dict[str, Any], count: Count
) -> None:
    if not found:
        count.add("no result after the fault was cleared", fault)
    for values in found:
        if not np.abs(values - exact()).max() < FIVE_SIGMA:
            count.add("wrong value", fault)
    used = set(executor.report().job_ids)
    known = {row.job_id for row in list_jobs()}
    for job in service.jobs():
        if job["status"] == "Completed" and job["id"] not in used | known:
            count.add("paid and lost", fault)
    reported = sum("one submission became two" in line for line in heard.notes)
    if len(service.jobs()) - len(used) > reported:
        count.add("doubled without a word", fault)


def run_queues() -> str:
    """What ``qhq eval`` takes on three devices, each with a queue of 20 s, and what of it where."""
    folder = Path(tempfile.mkdtemp())
    names = ("ibm_manila", "ibm_nairobi", "ibm_fez")
    (folder / "backends.yaml").write_text("ibm_*: {kind: ibm, resilience_level: 0}\naer: {kind: aer}\n")
    (folder / "tiny.yaml").write_text(
        "seed: 1\ndata: {symbols: [AAPL, MSFT], start: 2012-01-01, window: 5}\n"
        "quantum: {ansatz: reference, qubits: 2, depth: 1}\nmodel: {recurrent: [{unit: gru, hidden: 4}]}\n"
        "training: {epochs: 1, batch_size: 64}\n"
    )
    with Remote(noise="none") as service:
        env = {
            **os.environ,
            **service.environment(),
            "QHQ_RUNS_DIR": str(folder / "runs"),
            "QHQ_MLFLOW": "off",
        }
        command = [sys.executable, "-m", "qhq"]
        subprocess.run([*command, "train", "tiny.yaml", "--json"], cwd=folder, env=env, check=True,
                       capture_output=True)  # fmt: skip
        for name in names:
            service.delay(name, 20.0)
        asked = [part for name in names for part in ("--backend", name)]
        started = time.time()
        answer = subprocess.run([*command, "eval", *asked, "--samples", "8", "--yes", "--json"], cwd=folder,
                                env=env, check=True, capture_output=True, text=True)  # fmt: skip
        ended, jobs = time.time(), service.jobs()
        assert len(json.loads(answer.stdout)["results"]) == len(jobs) == len(names)
    sent, done = (sorted(map(_seconds, [job[key] for job in jobs])) for key in ("created", "finished"))
    return (
        f"three devices with queues of 20 s: {ended - started:.1f} s; jobs sent after "
        f"{', '.join(f'{each - started:.1f}' for each in sent)} s, done after "
        f"{', '.join(f'{each - started:.1f}' for each in done)} s, the rest {ended - done[-1]:.1f} s"
    )


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def main() -> None:
    """Run the table, print what went wrong, and end with status 1 if anything did; or measure the queues."""
    if "queues" in sys.argv[1:]:
        _print(run_queues())
        return
    import urllib3.util.retry

    # The client tries again as often as ever, but at once.
    urllib3.util.retry.Retry.get_backoff_time = lambda retry: 0.0
    count, started, table = Count(), time.monotonic(), fault_table()
    for number, fault in enumerate(table, start=1):
        before = {kind: len(faults) for kind, faults in count.wrong.items()}
        run_fault(fault, count)
        found = [kind for kind, faults in count.wrong.items() if len(faults) > before.get(kind, 0)]
        _print(f"{number} of {len(table)}, {time.monotonic() - started:.0f} s: {fault}: "
               f"{', '.join(found) or 'good'}")  # fmt: skip
    for kind, faults in count.wrong.items():
        _print(f"{kind}: {len(faults)}\n  " + "\n  ".join(faults))
    wrong = sum(map(len, count.wrong.values()))
    _print(f"{count.runs} runs in {time.monotonic() - started:.0f} s: {wrong} wrong")
    sys.exit(1 if count.wrong else 0)


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
