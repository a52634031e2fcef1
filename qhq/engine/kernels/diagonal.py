"""Diagonals ``exp(-i sum_j angle_j s_j(y) / 2)``: their tables, their action, their slopes.

dE/dangle_j is ``sum_z s_j(y(z)) Im(conj(lam(z)) psi(z))``, so one pass leaves ``Im(conj(lam) psi)`` for
``walsh_sums``.

A table is built level by level: once the phases of the bits below ``level`` are known, the terms whose
leading bit it is multiply them by a factor where the bit is 0 and by its conjugate where it is 1. So a phase
costs two complex products, not one for each term. Angles that the batch shares make a table of numbers, once
a batch; those that differ by sample make a table of rows, once a tile and pass.
"""

from __future__ import annotations

from typing import Any

from qhq.engine.kernels.jit import inner
from qhq.engine.kernels.lanes import fill, lanes, load, parity, spread, store
from qhq.engine.kernels.walsh import level_end
from qhq.engine.program import Integers, Numbers, Term


@inner
def times(ar: Any, ai: Any, br: Any, bi: Any) -> Any:
    """A complex product."""
    return ar * br - ai * bi, ar * bi + ai * br


@inner
def _factor_rows(terms: Integers, span: Any, y: int, trig: Numbers) -> Any:
    """``prod_j exp(-i angle_j (-1)^parity(rest_j & y) / 2)`` of one level, as rows."""
    fr, fi = fill(trig, 1.0), fill(trig, 0.0)
    for j in range(span[0], span[1]):
        angle = terms[j, Term.SLOT]
        # A row has no unary minus: the sign is a factor.
        sine = fill(trig, 2.0 * parity(terms[j, Term.REST] & y) - 1.0) * load(trig, 2 * angle + 1)
        fr, fi = times(fr, fi, load(trig, 2 * angle), sine)
    return fr, fi


@inner
def build_rows(table: Numbers, bits: int, terms: Integers, trig: Numbers) -> None:
    """A table of complex rows over ``y`` for angles that differ by sample."""
    store(table, 0, fill(table, 1.0))
    store(table, 1, fill(table, 0.0))
    begin = 0
    for level in range(bits):
        end = level_end(terms, begin, level)
        for y in range(1 << level):
            fr, fi = _factor_rows(terms, (begin, end), y, trig)
            r, u = 2 * y, 2 * (y + (1 << level))
            # The upper half is new, so that the table can grow in place.
            ar, ai = load(table, r), load(table, r + 1)
            br, bi = times(ar, ai, fr, fill(table, 0.0) - fi)
            ar, ai = times(ar, ai, fr, fi)
            store(table, r, ar)
            store(table, r + 1, ai)
            store(table, u, br)
            store(table, u + 1, bi)
        begin = end


@inner
def _factor_numbers(terms: Integers, span: Any, y: int, trig: Numbers) -> Any:
    """``_factor_rows`` of shared angles, as numbers."""
    fr, fi = trig.dtype.type(1), trig.dtype.type(0)
    width = lanes(trig)
    for j in range(span[0], span[1]):
        place = 2 * terms[j, Term.SLOT] * width
        sine = trig[place + width] if parity(terms[j, Term.REST] & y) else -trig[place + width]
        fr, fi = times(fr, fi, trig[place], sine)
    return fr, fi


@inner
def build_numbers(table: Numbers, bits: int, terms: Integers, trig: Numbers) -> None:
    """A table of complex numbers over ``y``, interleaved, for angles that the batch shares."""
    table[0], table[1] = 1, 0
    begin = 0
    for level in range(bits):
        end = level_end(terms, begin, level)
        # One term of the level's bit alone, as in a layer of RZ: its factor does not depend on ``y``.
        plain = end == begin + 1 and terms[begin, Term.REST] == 0
        fr, fi = _factor_numbers(terms, (begin, end), 0, trig)
        for y in range(1 << level):
            if not plain:
                fr, fi = _factor_numbers(terms, (begin, end), y, trig)
            r, u = 2 * y, 2 * (y + (1 << level))
            ar, ai = table[r], table[r + 1]
            table[u], table[u + 1] = times(ar, ai, fr, -fi)
            table[r], table[r + 1] = times(ar, ai, fr, fi)
        begin = end


@inner
def reorder(source: Numbers, target: Numbers, index: Any) -> None:
    """``target[z] = source[index[z]]`` for complex numbers, interleaved.

    Once a batch, so that the many passes of ``phase_shared`` read their table in order.
    """
    for z in range(len(index)):
        y = index[z]
        target[2 * z], target[2 * z + 1] = source[2 * y], source[2 * y + 1]


@inner
def phase_shared(psi: Numbers, table: Numbers) -> None:
    """Multiply each amplitude by the number of the table that belongs to it."""
    for z in range(len(table) >> 1):
        r = 2 * z
        a, b = times(load(psi, r), load(psi, r + 1), spread(table, r), spread(table, r + 1))
        store(psi, r, a)
        store(psi, r + 1, b)


@inner
def phase_sample(psi: Numbers, table: Numbers, index: Any) -> None:
    """Multiply each amplitude by the row of the table that belongs to it."""
    for z in range(len(index)):
        r, t = 2 * z, 2 * int(index[z])  # looked up, not reordered: this table serves one pass of one tile
        a, b = times(load(psi, r), load(psi, r + 1), load(table, t), load(table, t + 1))
        store(psi, r, a)
        store(psi, r + 1, b)


@inner
def _divide(psi: Numbers, r: int, dr: Any, di: Any) -> Any:
    """Take a phase off one amplitude; returns what it becomes."""
    a, b = times(load(psi, r), load(psi, r + 1), dr, fill(psi, 0.0) - di)
    store(psi, r, a)
    store(psi, r + 1, b)
    return a, b


@inner
def phase_shared_adjoint(psi: Numbers, lam: Numbers, table: Numbers, index: Any, slopes: Numbers) -> None:
    """Take the phases off state and co-state; row ``y`` of ``slopes`` becomes ``Im(conj(lam) psi)``."""
    for z in range(len(index)):
        r = 2 * z
        dr, di = spread(table, r), spread(table, r + 1)
        pr, pi = _divide(psi, r, dr, di)
        lr, li = _divide(lam, r, dr, di)
        # A diagonal commutes with its generators, so it does not matter that it is already taken off.
        store(slopes, int(index[z]), lr * pi - li * pr)


@inner
def phase_sample_adjoint(psi: Numbers, lam: Numbers, table: Numbers, index: Any) -> None:
    """``phase_shared_adjoint`` with a table of rows; the slopes are left in its place, in rows ``y``."""
    for z in range(len(index)):
        r, t = 2 * z, 2 * int(index[z])
        dr, di = load(table, t), load(table, t + 1)
        pr, pi = _divide(psi, r, dr, di)
        lr, li = _divide(lam, r, dr, di)
        store(table, t, lr * pi - li * pr)
    for y in range(len(index)):  # ascending, so that none is overwritten unread
        store(table, y, load(table, 2 * y))
