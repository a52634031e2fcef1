"""One seed in, named and independent child generators out; nothing is seeded globally."""

from __future__ import annotations

import zlib

import numpy as np


def child_seed(seed: int, name: str) -> int:
    """Derive the seed of the stream ``name`` from a run's seed: a 63-bit integer, always the same.

    >>> child_seed(0, "weights") == child_seed(0, "weights") != child_seed(0, "batches")
    True
    """
    # crc32 and not hash(), which differs from one process to the next.
    sequence = np.random.SeedSequence(seed, spawn_key=(zlib.crc32(name.encode()),))
    # One bit less: torch and a column of a database take no more than 63.
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


def child_generator(seed: int, name: str) -> np.random.Generator:
    """Open the NumPy generator of the stream ``name`` of a run's seed."""
    return np.random.default_rng(child_seed(seed, name))
