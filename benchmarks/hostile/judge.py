# ruff: noqa: C901, E501, PLR0911, PLR0912  a long table of cases is easier read than cut up
"""Feeding a case to qhq and judging what came of it.

A case is a fault of qhq's where the command ends in a traceback, in an exit status that the contract does not
have for that kind of file, in no answer within a minute, above two gigabytes, or in an answer that a program or a
person could not use. Cases of a whole round run each in a process of its own, forked from one that has
everything imported, so that a crash, a hang inside a library and the memory of one case are its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import select
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.hostile.cases import KINDS, Case

MOST_SECONDS, MOST_BYTES = 60, 2 << 30
MOST_TOLD = 20_000
"""Letters of a message; a cell of a megabyte must not be quoted whole."""

STATUS_OF = {"ConfigError": 2, "DataError": 3, "BackendError": 4, "JobError": 4}


@dataclass
class Tally:
    """What came of the cases of one kind."""

    cases: int = 0
    statuses: Counter[object] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest: float = 0.0
    peak: int = 0


@dataclass(frozen=True)
class Answer:
    """How a command ended: exit status, or why there is none; what it said; an exception that left it."""

    status: object
    stdout: str = ""
    stderr: str = ""
    error: str | None = None
    stray: str = ""
    seconds: float = 0.0
    peak: int = 0


class Hang(BaseException):
    """A case that took too long; no handler of the program catches it."""


def _alarm(*_: object) -> None:
    raise Hang


def _invoke(words: list[str]) -> dict[str, Any]:
    from typer.testing import CliRunner

    from qhq.cli.app import app

    result = CliRunner().invoke(app, words)
    raised = result.exception is not None and not isinstance(result.exception, SystemExit)
    return {
        "status": result.exit_code,
        "stdout": result.stdout,
        "stderr": result.stderr,
        "error": repr(result.exception) if raised else None,
    }


def run_here(words: list[str], seconds: int) -> Answer:
    """Run a command in this process."""
    before = signal.signal(signal.SIGALRM, _alarm)
    signal.alarm(seconds)
    started = time.monotonic()
    try:
        return Answer(**_invoke(words), seconds=time.monotonic() - started)
    except Hang:
        return Answer("hang", seconds=time.monotonic() - started)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def run_apart(words: list[str], seconds: int) -> Answer:
    """Run a command in a process of its own, and see how much memory it took.

    The seconds are those of a processor, so that a busy machine makes no hang of a slow answer; a process that
    only waits is given up after ten times as long.
    """
    started = time.monotonic()
    reading, writing = os.pipe()
    with tempfile.TemporaryFile() as stray:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.close(reading)
                resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
                os.dup2(stray.fileno(), 1)
                os.dup2(stray.fileno(), 2)
                content = json.dumps(_invoke(words)).encode()
                with os.fdopen(writing, "wb") as pipe:
                    pipe.write(content)
                status = 0
            finally:
                os._exit(status)
        os.close(writing)
        received, late = _receive(reading, started + 10 * seconds)
        if late:
            os.kill(child, signal.SIGKILL)
        _, ended, usage = os.wait4(child, 0)
        stray.seek(0)
        loud = stray.read(2000).decode("utf-8", "replace")
    peak = usage.ru_maxrss << 10
    took = usage.ru_utime + usage.ru_stime
    if late or os.waitstatus_to_exitcode(ended) == -signal.SIGXCPU:
        return Answer("hang", stray=loud, seconds=took, peak=peak)
    if not received:
        return Answer(f"died of {os.waitstatus_to_exitcode(ended)}", stray=loud, seconds=took, peak=peak)
    return Answer(**json.loads(received), stray=loud, seconds=took, peak=peak)


def _receive(handle: int, deadline: float) -> tuple[bytes, bool]:
    """What a child says until it closes the pipe, and whether time ran out before."""
    pieces = []
    with os.fdopen(handle, "rb", buffering=0) as pipe:
        while True:
            ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return b"", True
            piece = pipe.read(1 << 16)
            if not piece:
                return b"".join(pieces), False
            pieces.append(piece)


def find_fault(case: Case, answer: Answer) -> str | None:
    """Why an answer is not one that the contract has for a case; None where it is."""
    if answer.status not in case.may:
        return f"exit status {answer.status}, may be {sorted(case.may)}"
    if answer.error is not None or "Traceback" in answer.stdout + answer.stderr + answer.stray:
        return f"a traceback ({answer.error})"
    if answer.peak > MOST_BYTES:
        return f"{answer.peak / 2**30:.2f} GiB of memory"
    if max(len(answer.stderr), len(answer.stray)) > MOST_TOLD:
        return f"a message of {len(answer.stderr)} letters"
    if "\x1b" in answer.stderr or "\x07" in answer.stderr:
        return "a control character on the terminal"
    refused = isinstance(answer.status, int) and answer.status >= 2
    if refused and "Error: " not in answer.stderr:
        return "a refusal without a word"
    if "--json" not in case.words:
        return None
    try:
        content = json.loads(answer.stdout)
    except ValueError:
        return "standard output that is no JSON"
    if not isinstance(content, dict) or ("error" in content) != refused:
        return "another object than the exit status says"
    if refused:
        error = content["error"]
        if not all(error.get(key) for key in ("must", "got", "fix")):
            return "an error without its three parts"
        if STATUS_OF.get(error["kind"], 2) != answer.status:
            return f"exit status {answer.status} for {error['kind']}"
        if error["kind"] in ("MemoryError", "RecursionError"):
            return f"a {error['kind']}, where the size must be looked at before"
    return None


@contextlib.contextmanager
def a_place() -> Iterator[Path]:
    """A folder of its own as the current one, with runs and cache in it."""
    before = Path.cwd(), dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="hostile-") as name:
        place = Path(name) / "here"
        place.mkdir()
        os.environ.update(QHQ_RUNS_DIR=str(place / "runs"), QHQ_MLFLOW="off")
        os.chdir(place)
        try:
            yield place
        finally:
            os.chdir(before[0])
            os.environ.clear()
            os.environ.update(before[1])


def attack(
    kind: str, count: int, seed: int, *, apart: bool = False, seconds: int = MOST_SECONDS, first: int = 1
) -> Tally:
    """Feed some cases of a kind to qhq, in a folder of their own.

    Args:
        kind: One of `KINDS`.
        count: How many.
        seed: Of all of them; each case is drawn from seed and number alone.
        apart: Whether each has a process of its own.
        seconds: After which a case hangs.
        first: Number of the first one, to see a fault again.
    """
    tally = Tally()
    with a_place() as place:
        make = KINDS[kind][0](place)
        for number in range(first, first + count):
            case = make(random.Random(f"{kind} {seed} {number}"))
            around = sorted(place.parent.iterdir())
            answer = (run_apart if apart else run_here)(case.words, seconds)
            fault = find_fault(case, answer)
            if sorted(place.parent.iterdir()) != around:
                fault = "a file beside its folder"
            tally.cases += 1
            tally.statuses[answer.status] += 1
            tally.slowest = max(tally.slowest, answer.seconds)
            tally.peak = max(tally.peak, answer.peak)
            if fault is not None:
                said = (answer.stderr or answer.stdout or answer.stray)[-500:]
                tally.faults.append(
                    f"FAULT {kind}, seed {seed}, case {number}: {fault}\n  qhq {' '.join(case.words)}\n"
                    f"  {case.what[:300]}\n  {said!r}"
                )
                if apart:
                    print(tally.faults[-1], flush=True)
    return tally


def forget_threads() -> None:
    """Keep libraries from starting threads before a fork, which would not be there after it."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def import_all() -> None:
    """Load what commands load, once for all cases."""
    import matplotlib.figure  # noqa: F401
    import openpyxl  # noqa: F401
    import qiskit_aer  # noqa: F401
    import torch

    torch.set_num_threads(1)


def memory_now() -> int:
    """Peak of this process, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


if __name__ == "__main__":
    sys.exit("Run python -m benchmarks.hostile")
