"""Who runs: name -> module. Each has ``open_step(problem)`` and says whether its tape keeps every state.

A step is a call without arguments that does forward and backward and returns values (B, Q), gradients of
the inputs (B, Q) and gradients of the weights (W,), as arrays of whatever library it is.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

Step = Callable[[], tuple[Any, Any, Any]]

CONTENDERS: dict[str, str] = {
    "qhq engine": "engine",
    "qhq QuantumLayer": "layer",
    "TensorCircuit-NG": "tensorcircuit",
    "plain torch": "plain_torch",
    "PennyLane default.qubit": "default_qubit",
    "PennyLane lightning.qubit": "lightning",
    "qiskit-machine-learning": "stock_qiskit",
}


def load_contender(name: str) -> ModuleType:
    """The module of a contender.

    Raises:
        ImportError: If its library is not installed.
    """
    return import_module(f"{__name__}.{CONTENDERS[name]}")
