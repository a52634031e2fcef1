"""Micro-benchmarks of the machine: fused multiply-adds, a matrix product, a triad; one thread, float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from qhq.engine.kernels.lanes import load, store

Timed = tuple[Callable[[], Any], float]
"""What to call, and the operations or bytes of one call."""

ROUNDS = 20_000
SIDE = 512


@numba.njit(error_model="numpy")
def fma_rounds(array, rounds):
    """Ten independent chains ``x = x * y + z`` on rows of 16 numbers: enough to hide the latency."""
    y, z = load(array, 10), load(array, 11)
    a, b, c, d, e = load(array, 0), load(array, 1), load(array, 2), load(array, 3), load(array, 4)
    f, g, h, i, j = load(array, 5), load(array, 6), load(array, 7), load(array, 8), load(array, 9)
    for _ in range(rounds):
        a, b, c, d, e = a * y + z, b * y + z, c * y + z, d * y + z, e * y + z
        f, g, h, i, j = f * y + z, g * y + z, h * y + z, i * y + z, j * y + z
    store(array, 0, a + b + c + d + e + f + g + h + i + j)


@numba.njit(fastmath=True, error_model="numpy")
def triad(a, b, c, rounds):
    """``a = b + s c``, again and again."""
    for k in range(rounds):
        s = np.float32(k)
        for i in range(len(a)):
            a[i] = b[i] + s * c[i]


def aligned(count: int) -> np.ndarray:
    """Float32 numbers below one that start at a multiple of 64 bytes."""
    memory = np.zeros(count + 16, np.float32)
    skip = -(memory.ctypes.data // 4) % 16
    return memory[skip : skip + count]


def open_fma() -> Timed:
    """Peak rate of fused multiply-adds."""
    array = aligned(12 * 16)
    array[:] = 0.5
    return lambda: fma_rounds(array, ROUNDS), 2.0 * 16 * 10 * ROUNDS


def open_sgemm() -> Timed:
    """Rate of NumPy's matrix product."""
    left = np.random.default_rng(0).random((SIDE, SIDE), dtype=np.float32)
    return lambda: left @ left, 2.0 * SIDE**3


def open_triad(size: int) -> Timed:
    """Bandwidth of a triad whose three arrays are ``size`` bytes in all."""
    count = size // 12
    arrays = [aligned(count) for _ in range(3)]
    rounds = max(1, (4 << 20) // size)
    return lambda: triad(*arrays, rounds), 12.0 * count * rounds
