"""Processes that run one qhq command and may be killed at a moment that is drawn.

A command line needs seconds for its imports alone. So most commands are forked off a process that has
everything imported and has trained once, on one thread; the others are real command lines.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

POLL_SECONDS = 0.006
LIBRARIES = {"compare": ("pandas/_libs",), "jobs": ("qiskit/_accelerate",)}
HEAVY = ("libtorch_python", "qiskit/_accelerate")
"""Once a command line has mapped these, or what its command needs, it works and no longer only starts."""


def import_everything() -> None:
    """Import what any command needs, so that a fork begins to work at once."""


def warm_up(words: Sequence[str]) -> None:
    """Run a command in this process, so that its forks find kernels and fonts loaded; it must go well."""
    from qhq.cli.app import app

    before, sys.argv = sys.argv, ["qhq", *words]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            app()
    except SystemExit as end:
        if end.code:
            raise RuntimeError(f"{words}: exit status {end.code}") from end
    finally:
        sys.argv = before


@dataclass
class Command:
    """A command that was started, the first of its process group."""

    pid: int
    out: Path
    forked: bool
    name: str

    def cpu(self) -> float:
        """Seconds that its first process has computed, which are the same on a busy machine."""
        try:
            words = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def ended(self) -> int | None:
        """Its exit status, -9 where it was killed; None while it runs."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None

    def works(self) -> bool:
        """Whether it is past its imports."""
        try:
            maps = Path(f"/proc/{self.pid}/maps").read_text()
        except OSError:
            return False
        return self.forked or all(name in maps for name in LIBRARIES.get(self.name, HEAVY))

    def kill(self) -> int:
        """Kill it with all that it started; its exit status."""
        os.killpg(self.pid, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def wait(self) -> int:
        """Its exit status, at its end."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def said(self) -> tuple[str, str]:
        """What it wrote to standard output and standard error."""
        return self.out.read_text(), self.out.with_suffix(".err").read_text()


def start(words: Sequence[str], out: Path, *, fork: bool) -> Command:
    """Start ``qhq WORDS`` in a process group of its own; its output goes to ``out`` and beside it."""
    if not fork:
        with out.open("w") as stdout, out.with_suffix(".err").open("w") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "qhq", *words], stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
                start_new_session=True,
            )  # fmt: skip
        process.returncode = 0  # it is waited for here, not by Popen
        return Command(process.pid, out, forked=False, name=words[0])
    pid = os.fork()
    if pid:
        return Command(pid, out, forked=True, name=words[0])
    status = 1
    try:
        os.setsid()
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        for number, handle in enumerate(
            (os.open(os.devnull, os.O_RDONLY), os.open(out, flags), os.open(out.with_suffix(".err"), flags))
        ):
            os.dup2(handle, number)
        sys.argv = ["qhq", *words]
        from qhq.cli.app import main

        main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        os._exit(status)


@dataclass(frozen=True)
class Course:
    """How a command goes undisturbed: seconds that it computes, and how often its files change."""

    seconds: float
    changes: int


def follow(command: Command, root: Path) -> tuple[int, Course]:
    """Watch a command to its end: its exit status and its course."""
    watch, begun, cpu = _Watch(root), None, 0.0
    while (status := command.ended()) is None:
        cpu = max(cpu, command.cpu())
        if begun is None and command.works():
            begun = cpu
        watch.look()
        time.sleep(POLL_SECONDS)
    return status, Course(cpu - (begun or 0.0), watch.look())


def kill_at_random(command: Command, root: Path, course: Course, chance: random.Random) -> int | None:
    """Kill a command at a moment of its work; None if it had ended before.

    Half of the moments are drawn from the seconds that it computes, half from the changes of its files: those
    who write are there for a few milliseconds of many seconds.
    """
    by_change = course.changes > 1 and chance.random() < 0.5
    moment = chance.uniform(0.0, 0.95) * course.seconds
    change = chance.randint(1, max(course.changes - 1, 1))
    watch, begun = _Watch(root), None
    while command.ended() is None:
        if begun is None and command.works():
            begun = command.cpu()
        changes = watch.look()
        if begun is not None and (changes >= change if by_change else command.cpu() - begun >= moment):
            time.sleep(chance.uniform(0.0, 0.01) if by_change else 0.0)
            return None if command.ended() is not None else command.kill()
        time.sleep(POLL_SECONDS)
    return None


class _Watch:
    """Counts changes below a folder."""

    def __init__(self, root: Path) -> None:
        self.root, self.count = root, 0
        self.seen = self._state()

    def look(self) -> int:
        """How many changes were seen so far."""
        state = self._state()
        if state != self.seen:
            self.seen, self.count = state, self.count + 1
        return self.count

    def _state(self) -> list[tuple[str, int, int]]:
        found, folders = [], [str(self.root)]
        while folders:
            try:
                with os.scandir(folders.pop()) as entries:
                    for entry in entries:
                        stat = entry.stat(follow_symlinks=False)
                        found.append((entry.path, stat.st_mtime_ns, stat.st_size))
                        if entry.is_dir(follow_symlinks=False):
                            folders.append(entry.path)
            except OSError:  # gone meanwhile
                continue
        return found
