"""Complex matrices of a lane's own on pairs of qubits: forwards, and back with the gradient of each matrix.

What a trajectory of a noisy circuit needs: after each gate one Kraus operator of its channel is taken,
another one in each lane, so that a block is another matrix in each lane and none is unitary. A matrix need
not be undone on the way back, whose states are kept.

Amplitude x of a state is rows 2 x (real) and 2 x + 1 (imaginary); entry (r, c) of matrix k is the rows
``32 k + 8 r + 2 c`` and the one after. Matrix index ``i = bit(a) + 2 bit(b)`` for a block on qubits (a, b).
"""

from __future__ import annotations

from typing import Any

from qhq.engine.kernels.jit import entry, inner
from qhq.engine.kernels.lanes import fill, load, store
from qhq.engine.program import Integers, Numbers

MATRIX_ROWS = 32
"""Rows of a block's matrix: sixteen complex numbers."""


@inner
def _rows_of(group: int, a: int, b: int) -> Any:
    """Real rows of the four amplitudes of a group, in the order of the matrix."""
    low, high = min(a, b), max(a, b)
    # The lower qubit first: the place of the higher one counts the bit that is there by then.
    index = ((group >> low) << (low + 1)) | (group & ((1 << low) - 1))
    index = ((index >> high) << (high + 1)) | (index & ((1 << high) - 1))
    return 2 * index, 2 * (index | 1 << a), 2 * (index | 1 << b), 2 * (index | 1 << a | 1 << b)


@entry
def blocks_forward(places: Integers, matrices: Numbers, states: Numbers, qubits: int, keep: int) -> None:
    """Apply all blocks to one tile, whose first state is in slot 0.

    Args:
        places: Qubits (K, 2) of each block.
        matrices: K * 32 rows.
        states: Slots of 2^(n+1) rows each: K + 1 of them if ``keep`` is 1, one if it is 0.
        qubits: n >= 2.
        keep: Whether block k writes to slot k + 1, or over what it read.
    """
    size = keep << (qubits + 1)
    for k in range(len(places)):
        source, target, first = k * size, (k + 1) * size, MATRIX_ROWS * k
        for group in range(1 << (qubits - 2)):
            i0, i1, i2, i3 = _rows_of(group, places[k, 0], places[k, 1])
            # All are read before the first is written: the target may be the source.
            re0, im0 = load(states, source + i0), load(states, source + i0 + 1)
            re1, im1 = load(states, source + i1), load(states, source + i1 + 1)
            re2, im2 = load(states, source + i2), load(states, source + i2 + 1)
            re3, im3 = load(states, source + i3), load(states, source + i3 + 1)
            for r in range(4):
                m = first + 8 * r
                real = load(matrices, m) * re0 - load(matrices, m + 1) * im0
                imaginary = load(matrices, m) * im0 + load(matrices, m + 1) * re0
                real = real + load(matrices, m + 2) * re1 - load(matrices, m + 3) * im1
                imaginary = imaginary + load(matrices, m + 2) * im1 + load(matrices, m + 3) * re1
                real = real + load(matrices, m + 4) * re2 - load(matrices, m + 5) * im2
                imaginary = imaginary + load(matrices, m + 4) * im2 + load(matrices, m + 5) * re2
                real = real + load(matrices, m + 6) * re3 - load(matrices, m + 7) * im3
                imaginary = imaginary + load(matrices, m + 6) * im3 + load(matrices, m + 7) * re3
                to = target + (i0 if r == 0 else i1 if r == 1 else i2 if r == 2 else i3)
                store(states, to, real)
                store(states, to + 1, imaginary)


@entry
def blocks_back(
    places: Integers, matrices: Numbers, states: Numbers, costate: Numbers, gradients: Numbers, qubits: int
) -> None:
    """Pull a costate back through all blocks, with all states kept.

    Args:
        places: As forwards.
        matrices: As forwards.
        states: K + 1 slots.
        costate: ``l``, 2^(n+1) rows, such that a change ``ds`` of the last state changes the value by
            ``2 Re <l, ds>``; used up.
        gradients: K * 32 rows to be written, ``G = l s^dagger`` of each block, so that a change ``dM`` of its
            matrix changes the value by ``2 Re sum conj(G) dM``.
        qubits: n >= 2.
    """
    size = 1 << (qubits + 1)
    for k in range(len(places) - 1, -1, -1):
        source, first = k * size, MATRIX_ROWS * k
        for row in range(MATRIX_ROWS):
            store(gradients, first + row, fill(gradients, 0.0))
        for group in range(1 << (qubits - 2)):
            i0, i1, i2, i3 = _rows_of(group, places[k, 0], places[k, 1])
            re0, im0 = load(costate, i0), load(costate, i0 + 1)
            re1, im1 = load(costate, i1), load(costate, i1 + 1)
            re2, im2 = load(costate, i2), load(costate, i2 + 1)
            re3, im3 = load(costate, i3), load(costate, i3 + 1)
            for c in range(4):
                at = i0 if c == 0 else i1 if c == 1 else i2 if c == 2 else i3
                m = first + 2 * c
                x, y = load(states, source + at), load(states, source + at + 1)
                store(gradients, m, load(gradients, m) + re0 * x + im0 * y)
                store(gradients, m + 1, load(gradients, m + 1) + im0 * x - re0 * y)
                store(gradients, m + 8, load(gradients, m + 8) + re1 * x + im1 * y)
                store(gradients, m + 9, load(gradients, m + 9) + im1 * x - re1 * y)
                store(gradients, m + 16, load(gradients, m + 16) + re2 * x + im2 * y)
                store(gradients, m + 17, load(gradients, m + 17) + im2 * x - re2 * y)
                store(gradients, m + 24, load(gradients, m + 24) + re3 * x + im3 * y)
                store(gradients, m + 25, load(gradients, m + 25) + im3 * x - re3 * y)
                real = load(matrices, m) * re0 + load(matrices, m + 1) * im0
                imaginary = load(matrices, m) * im0 - load(matrices, m + 1) * re0
                real = real + load(matrices, m + 8) * re1 + load(matrices, m + 9) * im1
                imaginary = imaginary + load(matrices, m + 8) * im1 - load(matrices, m + 9) * re1
                real = real + load(matrices, m + 16) * re2 + load(matrices, m + 17) * im2
                imaginary = imaginary + load(matrices, m + 16) * im2 - load(matrices, m + 17) * re2
                real = real + load(matrices, m + 24) * re3 + load(matrices, m + 25) * im3
                imaginary = imaginary + load(matrices, m + 24) * im3 - load(matrices, m + 25) * re3
                store(costate, at, real)
                store(costate, at + 1, imaginary)
