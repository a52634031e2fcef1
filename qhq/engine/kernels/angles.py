"""Angles from inputs and weights, and gradients of angles back to them, tile by tile."""

from __future__ import annotations

import math
from typing import Any

from qhq.engine.kernels.jit import inner
from qhq.engine.kernels.lanes import fill, lanes, load, store, total
from qhq.engine.program import Angles, Numbers


@inner
def _shared_part(angles: Angles, weights: Numbers, k: int) -> Any:
    """What angle ``k`` is without inputs."""
    angle = angles.constant[k]
    for j in range(angles.w_start[k], angles.w_start[k + 1]):
        angle += angles.w_slope[j] * weights[angles.w_index[j]]
    return angle


@inner
def write_shared(angles: Angles, weights: Numbers, trig: Numbers) -> None:
    """Rows ``2 k, 2 k + 1`` become cosine and sine of half of each angle that the batch shares."""
    for k in range(angles.sampled, len(angles.constant)):
        half = _shared_part(angles, weights, k) / 2
        store(trig, 2 * k, fill(trig, math.cos(half)))
        store(trig, 2 * k + 1, fill(trig, math.sin(half)))


@inner
def write_sampled(angles: Angles, inputs: Any, weights: Numbers, first: int, trig: Numbers) -> None:
    """The same for the angles that differ by sample, for the samples from ``first`` on."""
    width = lanes(trig)
    # Number by number: ``inputs`` are laid out by sample, and no loop over amplitudes waits for this one.
    for k in range(angles.sampled):
        base = _shared_part(angles, weights, k)
        for b in range(width):
            angle = base  # and stays so in a lane beyond the batch: any finite number, its cotangent is zero
            if first + b < len(inputs):
                for j in range(angles.x_start[k], angles.x_start[k + 1]):
                    angle += angles.x_slope[j] * inputs[first + b, angles.x_index[j]]
            trig[2 * k * width + b] = math.cos(angle / 2)
            trig[(2 * k + 1) * width + b] = math.sin(angle / 2)


@inner
def copy_rows(source: Numbers, target: Numbers, begin: int, end: int) -> None:
    """Copy rows ``begin`` to ``end``."""
    for r in range(begin, end):
        store(target, r, load(source, r))


@inner
def spread_sampled(angles: Angles, fresh: Numbers, dinputs: Any, first: int) -> None:
    """``dinputs[b, i] = sum_k x_slope[k, i] dE/dangle[b, k]`` for the samples from ``first`` on."""
    width = lanes(fresh)
    for b in range(min(width, len(dinputs) - first)):
        for i in range(dinputs.shape[1]):
            dinputs[first + b, i] = 0
        for k in range(angles.sampled):
            for j in range(angles.x_start[k], angles.x_start[k + 1]):
                dinputs[first + b, angles.x_index[j]] += angles.x_slope[j] * fresh[k * width + b]


@inner
def add_rows(fresh: Numbers, totals: Numbers, count: int) -> None:
    """``totals += fresh`` for the first ``count`` rows."""
    for k in range(count):
        store(totals, k, load(totals, k) + load(fresh, k))


@inner
def spread_shared(angles: Angles, totals: Numbers, dweights: Numbers) -> None:
    """``dweights[w] = sum_k w_slope[k, w] sum_b dE/dangle[b, k]``."""
    for w in range(len(dweights)):
        dweights[w] = 0
    for k in range(len(angles.constant)):  # of all angles: one that has inputs may have weights as well
        slope = total(load(totals, k))
        for j in range(angles.w_start[k], angles.w_start[k + 1]):
            dweights[angles.w_index[j]] += angles.w_slope[j] * slope
