"""The compiled sweep: linear maps on Pauli vectors, forwards, and back with gradients.

A density matrix of n qubits is the real vector ``r[P] = Tr(P rho)`` over the Pauli strings ``P = sum_q p_q
4^q`` (digits I, X, Y, Z). A gate and its channel are one real matrix on the digits of its qubits, 4 x 4 or
16 x 16 (its Pauli transfer matrix). A sweep applies blocks, each on two qubits a and b:

    s' = C (M_a x M_b) s

``M_a`` and ``M_b`` are runs, matrices that depend on angles; ``C`` is fixed and sparse, as a CZ with its
channel is. Vectors are rows of lanes (see `qhq.engine.kernels.lanes`): a lane is a sample where states go
forwards, an observable where observables are pulled back, which is a sweep of transposed maps. The arrays of
rows of one sweep all have one dimension, or all two where half a row holds the observables.

Backwards, the co-vector ``g`` of a scalar ``f`` goes through the transposes. A channel cannot be undone
stably, so the vectors of the way forwards are kept: ``df/dM_a[i, k] = sum (C^T g)[i, .] (M_b s)[k, .]``.

A run is ``F_m R(t_m) ... F_1 R(t_1) F_0`` with fixed 4 x 4 matrices ``F`` and turns ``R`` about Z. Rows X and
Y of what is right of and with a turn, ``Q``, give its slope: ``sum_c H[Y, c] Q[X, c] - H[X, c] Q[Y, c]``,
where ``H`` is the gradient pulled through what is left of it.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

from qhq.engine.kernels.jit import entry, inner
from qhq.engine.kernels.lanes import fill, load, spread, store
from qhq.engine.program import Integers, Numbers

_PULLED, _KEPT, _TURNED, SCRATCH_ROWS = 16, 32, 48, 64
"""Rows that a block works in, 16 members of a coset each: what came, what is pulled back through the block,
what was kept of the way forwards, and that through one of the two runs."""


class BlockColumn(IntEnum):
    """Columns of ``Sweep.blocks``."""

    QUBIT_A = 0
    QUBIT_B = 1
    RUN_A = 2  # -1: identity
    RUN_B = 3
    MATRIX = 4


BLOCK_COLUMNS = len(BlockColumn)
ROW_STARTS = 17
"""Numbers of ``Sweep.starts`` that a sparse matrix of 16 rows takes."""


class MapSweep(NamedTuple):
    """Linear maps in order, on vectors of 4^n rows.

    Attributes:
        qubits: n >= 2.
        product: Shape (n,), the run that makes a qubit's start from |0>, -1 for |0> itself; empty if the
            sweep starts from a vector that is given.
        blocks: Shape (K, BLOCK_COLUMNS).
        starts: Shape (matrices * 2 * 17,), where the rows of a sparse matrix, then of its transpose, start.
        columns: Column of each entry.
        values: Each entry.
        runs: Shape (R + 1,), where the factors of a run start; the first factor of each has no turn.
        turns: Shape (F,), the turn of each factor, which precedes its fixed matrix; -1 for none.
        fixed: Shape (F * 16,), the fixed matrix of each factor, row after row.
    """

    qubits: int
    product: Integers
    blocks: Integers
    starts: Integers
    columns: Integers
    values: Numbers
    runs: Integers
    turns: Integers
    fixed: Numbers


class Work(NamedTuple):
    """Memory of one tile, in rows.

    Attributes:
        trig: Cosine and sine of each turn.
        matrices: 16 for each run.
        rights: 16 for each factor: what is right of and with its turn.
        gradients: 16 for each run.
        slopes: One for each turn, written backwards.
        scratch: SCRATCH_ROWS.
    """

    trig: Numbers
    matrices: Numbers
    rights: Numbers
    gradients: Numbers
    slopes: Numbers
    scratch: Numbers


@inner
def _multiply(matrix: Numbers, m: int, x: Numbers, x_at: Any, y: Numbers, y_at: Any) -> None:
    """``y[i] = sum_k matrix[i, k] x[k]`` over four rows of x and of y, each by its start and step."""
    (start, step), (to, by) = x_at, y_at
    # All four are read before the first is written: ``y`` may be ``x``.
    a, b, c, d = load(x, start), load(x, start + step), load(x, start + 2 * step), load(x, start + 3 * step)
    for i in range(4):
        k = m + 4 * i
        total = load(matrix, k) * a + load(matrix, k + 1) * b
        store(y, to + i * by, total + load(matrix, k + 2) * c + load(matrix, k + 3) * d)


@inner
def _multiply_back(matrix: Numbers, m: int, x: Numbers, start: int, step: int) -> None:
    """``x[k] = sum_i matrix[i, k] x[i]`` in place."""
    a, b, c, d = load(x, start), load(x, start + step), load(x, start + 2 * step), load(x, start + 3 * step)
    for k in range(4):
        total = load(matrix, m + k) * a + load(matrix, m + 4 + k) * b
        store(x, start + k * step, total + load(matrix, m + 8 + k) * c + load(matrix, m + 12 + k) * d)


@inner
def _add_products(total: Numbers, m: int, x: Numbers, starts: Any, strides: Any) -> None:
    """``total[i, k] += sum_j x[xs + step i + along j] x[ys + step k + along j]`` for i, k, j < 4."""
    (xs, ys), (step, along) = starts, strides
    # Sixteen sums in registers: through memory they would cost twice their products.
    a0, a1, a2, a3 = load(total, m), load(total, m + 1), load(total, m + 2), load(total, m + 3)
    b0, b1, b2, b3 = load(total, m + 4), load(total, m + 5), load(total, m + 6), load(total, m + 7)
    c0, c1, c2, c3 = load(total, m + 8), load(total, m + 9), load(total, m + 10), load(total, m + 11)
    d0, d1, d2, d3 = load(total, m + 12), load(total, m + 13), load(total, m + 14), load(total, m + 15)
    for j in range(4):
        p, q = xs + along * j, ys + along * j
        y0, y1, y2, y3 = load(x, q), load(x, q + step), load(x, q + 2 * step), load(x, q + 3 * step)
        x0 = load(x, p)
        a0, a1, a2, a3 = a0 + x0 * y0, a1 + x0 * y1, a2 + x0 * y2, a3 + x0 * y3
        x1 = load(x, p + step)
        b0, b1, b2, b3 = b0 + x1 * y0, b1 + x1 * y1, b2 + x1 * y2, b3 + x1 * y3
        x2 = load(x, p + 2 * step)
        c0, c1, c2, c3 = c0 + x2 * y0, c1 + x2 * y1, c2 + x2 * y2, c3 + x2 * y3
        x3 = load(x, p + 3 * step)
        d0, d1, d2, d3 = d0 + x3 * y0, d1 + x3 * y1, d2 + x3 * y2, d3 + x3 * y3
    store(total, m, a0)
    store(total, m + 1, a1)
    store(total, m + 2, a2)
    store(total, m + 3, a3)
    store(total, m + 4, b0)
    store(total, m + 5, b1)
    store(total, m + 6, b2)
    store(total, m + 7, b3)
    store(total, m + 8, c0)
    store(total, m + 9, c1)
    store(total, m + 10, c2)
    store(total, m + 11, c3)
    store(total, m + 12, d0)
    store(total, m + 13, d1)
    store(total, m + 14, d2)
    store(total, m + 15, d3)


@inner
def _insert_digit(index: int, qubit: int) -> int:
    """Insert the digit I at a qubit; the digits from there on move up."""
    shift = 2 * qubit
    return ((index >> shift) << (shift + 2)) | (index & ((1 << shift) - 1))


@inner
def _corner(k: int, block: Integers) -> int:
    """The k-th index whose digits at the block's qubits are I."""
    a, b = block[BlockColumn.QUBIT_A], block[BlockColumn.QUBIT_B]
    # The lower qubit first: the place of the higher one counts the digit that is there by then.
    return _insert_digit(_insert_digit(k, min(a, b)), max(a, b))


@inner
def _multiply_sparse(sweep: MapSweep, first: int, x: Numbers, y: Numbers, to: Any) -> None:
    """``y[start + step i + along j] = sum_c matrix[i + 4 j, c] x[c]`` with ``start, step, along = to``."""
    start, step, along = to
    # Sparse, since a Clifford gate has one entry a row, and a Pauli channel behind it adds none.
    for row in range(16):
        total = fill(y, 0.0)
        for e in range(sweep.starts[first + row], sweep.starts[first + row + 1]):
            total = total + spread(sweep.values, e) * load(x, sweep.columns[e])
        store(y, start + step * (row & 3) + along * (row >> 2), total)


@inner
def _place(sweep: MapSweep, k: int) -> Any:
    """The two strides of a block, its runs, and where its sparse matrix starts."""
    block = sweep.blocks[k]
    step, along = 1 << (2 * block[BlockColumn.QUBIT_A]), 1 << (2 * block[BlockColumn.QUBIT_B])
    first = 2 * ROW_STARTS * block[BlockColumn.MATRIX]
    return step, along, block[BlockColumn.RUN_A], block[BlockColumn.RUN_B], first


@inner
def _advance(sweep: MapSweep, k: int, work: Work, states: Numbers, source: int, target: int) -> None:
    """One block forwards, from the rows at ``source`` to those at ``target``, which may be the same."""
    scratch, matrices = work.scratch, work.matrices
    step, along, run_a, run_b, first = _place(sweep, k)
    for group in range(1 << (2 * sweep.qubits - 4)):
        corner = _corner(group, sweep.blocks[k])
        for j in range(4):
            start = source + corner + along * j
            if run_a >= 0:
                _multiply(matrices, 16 * run_a, states, (start, step), scratch, (4 * j, 1))
            else:
                # Copied, since the sparse matrix reads all of the scratch, and ``target`` may be ``source``
                for i in range(4):
                    store(scratch, 4 * j + i, load(states, start + step * i))
        if run_b >= 0:
            for i in range(4):
                _multiply(matrices, 16 * run_b, scratch, (i, 4), scratch, (i, 4))
        _multiply_sparse(sweep, first, scratch, states, (target + corner, step, along))


@inner
def _pull_back(work: Work, run_a: int, run_b: int) -> None:
    """Pull the scratch rows _PULLED through two runs, and add to the gradients of these.

    What the runs acted on stands in the rows _KEPT.
    """
    scratch, matrices = work.scratch, work.matrices
    if run_a >= 0:
        # The two runs act on different digits, so they commute; only the rows they are multiplied with
        # differ.
        right = _KEPT
        if run_b >= 0:
            right = _TURNED
            for i in range(4):
                _multiply(matrices, 16 * run_b, scratch, (_KEPT + i, 4), scratch, (_TURNED + i, 4))
        _add_products(work.gradients, 16 * run_a, scratch, (_PULLED, right), (1, 4))
        for j in range(4):
            _multiply_back(matrices, 16 * run_a, scratch, _PULLED + 4 * j, 1)
    if run_b >= 0:
        _add_products(work.gradients, 16 * run_b, scratch, (_PULLED, _KEPT), (4, 1))
        for i in range(4):
            _multiply_back(matrices, 16 * run_b, scratch, _PULLED + i, 4)


@inner
def _retreat(sweep: MapSweep, k: int, work: Work, states: Numbers, source: int, g: Numbers) -> None:
    """One block backwards: ``g`` is pulled back, the gradients of the block's runs are added to."""
    scratch = work.scratch
    step, along, run_a, run_b, first = _place(sweep, k)
    for group in range(1 << (2 * sweep.qubits - 4)):
        corner = _corner(group, sweep.blocks[k])
        for j in range(4):
            for i in range(4):
                place = corner + step * i + along * j
                store(scratch, 4 * j + i, load(g, place))
                store(scratch, _KEPT + 4 * j + i, load(states, source + place))
        _multiply_sparse(sweep, first + ROW_STARTS, scratch, scratch, (_PULLED, 1, 4))
        _pull_back(work, run_a, run_b)
        for j in range(4):
            for i in range(4):
                store(g, corner + step * i + along * j, load(scratch, _PULLED + 4 * j + i))


@inner
def _fix(fixed: Numbers, factor: int, x: Numbers, y: Numbers, starts: Any, strides: Any) -> None:
    """Multiply 16 rows by a factor's fixed matrix; strides ``(4, 1)``, or ``(1, 4)`` for its transpose."""
    (xs, ys), (row, column) = starts, strides
    for c in range(4):
        p, q, r, s = load(x, xs + c), load(x, xs + 4 + c), load(x, xs + 8 + c), load(x, xs + 12 + c)
        for i in range(4):
            k = 16 * factor + row * i
            total = spread(fixed, k) * p + spread(fixed, k + column) * q
            total = total + spread(fixed, k + 2 * column) * r + spread(fixed, k + 3 * column) * s
            store(y, ys + 4 * i + c, total)


@inner
def _build_runs(sweep: MapSweep, work: Work) -> None:
    """Write the matrices of all runs, and what is right of and with each turn."""
    rights, trig = work.rights, work.trig
    for run in range(len(sweep.runs) - 1):
        m = 16 * run
        for factor in range(sweep.runs[run], sweep.runs[run + 1]):
            turn = sweep.turns[factor]
            if turn < 0:  # the first factor, from which the matrix of the run starts
                for k in range(16):
                    store(work.matrices, m + k, spread(sweep.fixed, 16 * factor + k))
                continue
            c, s = load(trig, 2 * turn), load(trig, 2 * turn + 1)
            for k in range(4):
                x, y = load(work.matrices, m + 4 + k), load(work.matrices, m + 8 + k)
                store(rights, 16 * factor + k, load(work.matrices, m + k))
                store(rights, 16 * factor + 4 + k, c * x - s * y)
                store(rights, 16 * factor + 8 + k, s * x + c * y)
                store(rights, 16 * factor + 12 + k, load(work.matrices, m + 12 + k))
            _fix(sweep.fixed, factor, rights, work.matrices, (16 * factor, m), (4, 1))


@inner
def _write_slopes(sweep: MapSweep, work: Work) -> None:
    """Slopes of all turns from the gradients of the runs, which are used up."""
    rights, h = work.rights, work.gradients
    for run in range(len(sweep.runs) - 1):
        m = 16 * run
        # Not down to the first factor: it has no turn, and nobody asks what is left of it.
        for factor in range(sweep.runs[run + 1] - 1, sweep.runs[run], -1):
            turn, right = sweep.turns[factor], 16 * factor
            _fix(sweep.fixed, factor, h, work.scratch, (m, 0), (1, 4))
            c, s = load(work.trig, 2 * turn), load(work.trig, 2 * turn + 1)
            slope = fill(h, 0.0)
            for k in range(4):
                x, y = load(work.scratch, 4 + k), load(work.scratch, 8 + k)
                slope = slope + y * load(rights, right + 4 + k) - x * load(rights, right + 8 + k)
                store(h, m + k, load(work.scratch, k))
                store(h, m + 4 + k, c * x + s * y)
                store(h, m + 8 + k, c * y - s * x)
                store(h, m + 12 + k, load(work.scratch, 12 + k))
            store(work.slopes, turn, slope)


@inner
def _write_start(work: Work, run: int) -> None:
    """The vector of one qubit that starts as |0>, which is (1, 0, 0, 1), in the first four scratch rows."""
    for i in range(4):
        if run >= 0:
            m = 16 * run + 4 * i
            store(work.scratch, i, load(work.matrices, m) + load(work.matrices, m + 3))
        else:
            store(work.scratch, i, fill(work.scratch, 1.0 if i % 3 == 0 else 0.0))


@inner
def _write_product(sweep: MapSweep, work: Work, states: Numbers) -> None:
    """The product of all qubits' starts."""
    store(states, 0, fill(states, 1.0))
    for qubit in range(sweep.qubits):
        _write_start(work, sweep.product[qubit])
        size = 1 << (2 * qubit)
        for digit in range(3, 0, -1):  # the digit I is there: its factor is the trace, which is one
            factor = load(work.scratch, digit)
            for z in range(size):
                store(states, digit * size + z, factor * load(states, z))


@inner
def _product_back(sweep: MapSweep, work: Work, states: Numbers, g: Numbers) -> None:
    """Gradients of the runs of the start, from ``g`` of the start, which is used up."""
    for qubit in range(sweep.qubits - 1, -1, -1):
        run = sweep.product[qubit]
        _write_start(work, run)
        size = 1 << (2 * qubit)
        if run >= 0:
            for digit in range(1, 4):
                # The rows below ``size`` are the product of the lower qubits, the digits above being I.
                total = fill(g, 0.0)
                for z in range(size):
                    total = total + load(g, digit * size + z) * load(states, z)
                m = 16 * run + 4 * digit
                store(work.gradients, m, total)
                store(work.gradients, m + 3, total)
        x, y, w = load(work.scratch, 1), load(work.scratch, 2), load(work.scratch, 3)
        for z in range(size):
            rest = x * load(g, size + z) + y * load(g, 2 * size + z) + w * load(g, 3 * size + z)
            store(g, z, load(g, z) + rest)


@entry
def sweep_forward(sweep: MapSweep, work: Work, states: Numbers, keep: int) -> None:
    """Sweep one tile; vector k goes to slot k of ``states`` if ``keep`` is 1, all to slot 0 if it is 0."""
    _build_runs(sweep, work)
    if len(sweep.product):
        _write_product(sweep, work, states)
    size = keep << (2 * sweep.qubits)  # zero where nothing is kept: every block then writes in place
    for k in range(len(sweep.blocks)):
        _advance(sweep, k, work, states, k * size, (k + 1) * size)


@entry
def sweep_back(sweep: MapSweep, work: Work, states: Numbers, g: Numbers) -> None:
    """Pull ``g`` of the last vector back, with all vectors kept; slopes go to ``work.slopes``."""
    # Blocks add to the gradients of their runs, so these start at zero; slopes are written once.
    for k in range(16 * (len(sweep.runs) - 1)):
        store(work.gradients, k, fill(g, 0.0))
    size = 1 << (2 * sweep.qubits)
    for k in range(len(sweep.blocks) - 1, -1, -1):
        _retreat(sweep, k, work, states, k * size, g)
    if len(sweep.product):
        _product_back(sweep, work, states, g)
    _write_slopes(sweep, work)
