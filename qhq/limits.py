"""The largest numbers that a config, a registry or a command line may say.

They lie far above whatever makes sense and far below what a machine cannot count, allocate or fork: a slip of
the keyboard (``batch_size: 1e20``) is refused with the key's name, not met as an overflow deep in a library.
"""

from __future__ import annotations

MOST_SEED = 2**63 - 1
"""Of every seed: what NumPy, torch, Qiskit and a column of a database take alike."""

MOST_COUNT = 1_000_000
"""Of epochs, trials, windows, samples: whatever is counted one by one."""

MOST_STEPS = 100_000
"""Of sessions in a window, a horizon or an embargo; daily prices of a century are 26,000."""

MOST_SHOTS = 1_000_000_000
"""Of measurements in one estimate; IBM's devices take 10 million at most."""

MOST_THREADS = 1024
"""Of threads and of worker processes."""

MOST_FACTOR = 1e30
"""Of a real number that scales something: single precision still holds it."""
