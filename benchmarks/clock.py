"""Timing on a machine that drifts: contenders take turns, and what counts is the median of single calls."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

SLICE_SECONDS = 0.01
"""A turn lasts at least one call and about this long, so that short calls run in their own warm cache."""


def race(steps: Mapping[Any, Callable[[], Any]], *, seconds: float, least: int = 5) -> dict[Any, list[float]]:
    """Let all steps take turns, A B C A B C, until each has run long and often enough.

    Args:
        steps: Name -> what to call, warmed up.
        seconds: Time that each may use in all, once it has ``least`` calls.
        least: Calls of each, at the least.

    Returns:
        Seconds of each call, by name.
    """
    times: dict[Any, list[float]] = {name: [] for name in steps}
    running = set(steps)
    while running:
        for name in [each for each in steps if each in running]:
            take_turn(steps[name], times[name])
            if sum(times[name]) >= seconds and len(times[name]) >= least:
                running.discard(name)
    return times


def take_turn(step: Callable[[], Any], times: list[float]) -> None:
    """Call a step for one slice."""
    end = perf_counter() + SLICE_SECONDS
    while True:
        begin = perf_counter()
        step()
        now = perf_counter()
        times.append(now - begin)
        if now >= end:
            return


def medians(times: Mapping[Any, list[float]]) -> dict[Any, float]:
    """Median of each, in seconds."""
    return {name: statistics.median(each) for name, each in times.items()}
