"""Workers: Python threads that sit in compiled code while there is work, and else sleep on a queue."""

from __future__ import annotations

import time
from collections.abc import Callable
from queue import SimpleQueue
from threading import Lock, Thread

import numpy as np
import numpy.typing as npt

from qhq.engine.kernels.handoff import (
    CLAIMED,
    CLOCK,
    FINISHED,
    LEAVE,
    ORDERED,
    PATIENCE,
    READY,
    STATE,
    WORDS,
)

PATIENCE_NS = 500_000
"""How long a worker looks for the next order: a step of training comes back sooner, and it costs little."""
_LINE_WORDS = 16
"""Two cache lines, which processors fetch in pairs: no two boards share them."""

Serve = Callable[[npt.NDArray[np.int64]], None]
"""Does what is ordered on the board at this address until nothing has been for a while."""


class Worker:
    """A thread that belongs to one caller at a time, from ``Crew.claim`` to ``release``."""

    def __init__(self, serve: Serve, idle: list[Worker]) -> None:
        self._serve, self._idle = serve, idle
        self._memory = np.zeros(WORDS + 2 * _LINE_WORDS, np.int64)
        skip = -(self._memory.ctypes.data // 8) % _LINE_WORDS
        self._board = self._memory[skip : skip + WORDS]
        self._board[CLOCK], self._board[PATIENCE] = time.CLOCK_MONOTONIC, PATIENCE_NS
        self.address = self._board.ctypes.data
        self._lock = Lock()
        self._claimed, self._asleep, self._leaving = False, False, False
        self._calls: SimpleQueue[None] = SimpleQueue()
        self._error: Exception | None = None
        self._thread = Thread(target=self._live, name="qhq-engine", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def asleep(self) -> bool:
        """Whether the thread sleeps, or is about to."""
        return self._asleep

    def claim(self) -> None:
        """Wake the thread, if need be; it looks at its board until ``release``."""
        with self._lock:
            self._claimed = True
            self._board[STATE] = CLAIMED
            called, self._asleep = self._asleep, False
        if called:
            self._calls.put(None)

    def release(self) -> Exception | None:
        """Leave the thread to the next caller. Returns what went wrong in its part."""
        while self._board[STATE] == ORDERED:  # only where the caller's own part has failed
            time.sleep(0)
        error, self._error = self._error, None
        with self._lock:
            self._claimed = False
            self._board[STATE] = READY
        self._idle.append(self)
        return error

    def leave(self) -> None:
        """End the thread."""
        self._leaving = True
        self.claim()
        self._board[STATE] = LEAVE
        self._thread.join(1)

    def _live(self) -> None:
        address = np.array([self.address])
        while not self._leaving:
            try:
                self._serve(address)
            except Exception as error:  # handed to the caller's thread
                self._error = error
                self._board[STATE] = FINISHED
            with self._lock:
                self._asleep = sleep = not self._claimed
            if sleep:
                self._calls.get()


class Crew:
    """Workers of one precision."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._idle: list[Worker] = []
        self._all: list[Worker] = []

    def claim(self, count: int, most: int) -> list[Worker]:
        """Up to ``count`` workers, hired while there are fewer than ``most``."""
        workers: list[Worker] = []
        while len(workers) < count:
            try:
                worker = self._idle.pop()
            except IndexError:
                hired = self._hire() if len(self._all) < most else None
                if hired is None:
                    break
                worker = hired
            worker.claim()
            workers.append(worker)
        return workers

    def dismiss(self) -> None:
        """End all threads."""
        self._idle.clear()
        for worker in self._all:
            worker.leave()

    def _hire(self) -> Worker | None:
        worker = Worker(self._serve, self._idle)
        self._all.append(worker)
        try:
            worker.start()
        except RuntimeError:  # the interpreter ends, or the system has no more threads
            self._all.remove(worker)
            return None
        return worker
