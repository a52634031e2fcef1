"""Which qubits a layer of two-qubit gates couples: (control, target), in order of time."""

from __future__ import annotations

import itertools
from collections.abc import Callable

Pairs = list[tuple[int, int]]


def _linear(qubits: int) -> Pairs:
    return [(qubit, qubit + 1) for qubit in range(qubits - 1)]


def _ring(qubits: int) -> Pairs:
    return [*_linear(qubits), (qubits - 1, 0)] if qubits > 2 else _linear(qubits)


def _falling(qubits: int) -> Pairs:
    return [(qubit, qubit - 1) for qubit in range(qubits - 1, 0, -1)]


def _rising_ring(qubits: int) -> Pairs:
    return [(qubit, (qubit + 1) % qubits) for qubit in range(qubits - 1, -1, -1)][: _ring_size(qubits)]


def _falling_ring(qubits: int) -> Pairs:
    controls = [qubits - 1, *range(qubits - 1)]
    return [(qubit, (qubit - 1) % qubits) for qubit in controls][: _ring_size(qubits)]


def _ring_size(qubits: int) -> int:
    """The ring of two qubits is one gate: its way there and its way back would partly undo each other."""
    return qubits if qubits > 2 else qubits - 1


def _full(qubits: int) -> Pairs:
    return list(itertools.combinations(range(qubits), 2))


def _all_to_all(qubits: int) -> Pairs:
    return list(itertools.permutations(range(qubits - 1, -1, -1), 2))


def _even(qubits: int) -> Pairs:
    return [(qubit + 1, qubit) for qubit in range(0, qubits - 1, 2)]


def _odd(qubits: int) -> Pairs:
    return [(qubit + 1, qubit) for qubit in range(1, qubits - 1, 2)]


PATTERNS: dict[str, Callable[[int], Pairs]] = {
    "none": lambda _: [],
    "linear": _linear,
    "falling": _falling,
    "ring": _ring,
    "rising_ring": _rising_ring,
    "falling_ring": _falling_ring,
    "full": _full,
    "all_to_all": _all_to_all,
    "even": _even,
    "odd": _odd,
}
"""Name -> pairs on so many qubits; one qubit has none. On four, for instance:

- ``linear`` 01 12 23, ``falling`` 32 21 10: neighbours.
- ``ring`` 01 12 23 30, ``rising_ring`` 30 23 12 01, ``falling_ring`` 32 03 10 21: neighbours all around.
- ``full`` 01 02 03 12 13 23: each pair once. ``all_to_all`` 32 31 30 23 21 20 13 12 10 03 02 01: both ways.
- ``even`` 10 32, ``odd`` 21: the two halves of a brick wall.
"""
