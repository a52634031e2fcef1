"""Whether a backend is ready: opened for a circuit, through the gate, before anything is asked of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from qhq.ansatz.assemble import build
from qhq.ansatz.catalogue import load_ansatz
from qhq.backends.registry import open_backend
from qhq.backends.spec import IBMSpec, find_backend


def check_entry(name: str, ansatz: str) -> dict[str, Any]:
    """Open an entry for an ansatz, and run it once; on a device only forecast what that would cost.

    Returns:
        The executor's report, and for a device its cost forecast of one sample.

    Raises:
        ConfigError: If there is no such entry or ansatz.
        BackendError: If it cannot be opened, fails the correctness gate, or gives what is no value.
    """
    spec, program = find_backend(name), build(load_ansatz(ansatz))
    executor: Any = open_backend(spec, program, seed=0)
    if isinstance(spec, IBMSpec):
        return {**asdict(executor.report()), **asdict(executor.forecast(1))}
    values = executor.expectations(np.zeros((1, program.num_inputs)), np.zeros(program.num_weights))
    return {**asdict(executor.report()), "values_at_zero": values[0].tolist()}
