"""Rotations about Y on one, two or three independent bits of the stored state.

Complex amplitudes are pairs of real rows, and RY is real, so real and imaginary parts are just one more bit
(the lowest) that no rotation looks at: row ``r = 2 z + part``. With ``a`` the row of bit 0 and ``b = a ^
flip``:

    a' = cos a - sin b,   b' = sin a + cos b,   dE/dangle = sum(lam_b psi_a - lam_a psi_b)

where ``cos`` and ``sin`` are of half the angle and ``lam = H psi`` is the co-state.
"""

from __future__ import annotations

from typing import Any

from qhq.engine.kernels.jit import inner
from qhq.engine.kernels.lanes import load, parity, store
from qhq.engine.program import Integers, Numbers


@inner
def spread_zero(index: int, bit: int) -> int:
    """Insert a zero at ``bit``."""
    low = (1 << bit) - 1
    return ((index & ~low) << 1) | (index & low)


@inner
def turned(c: Any, s: Any, a: Any, b: Any) -> Any:
    """The two rows after the rotation; with ``-s`` the two rows before it."""
    return c * a - s * b, s * a + c * b


@inner
def load_four(psi: Numbers, r: int, f: int, g: int) -> Any:
    """Rows ``r, r ^ f, r ^ g, r ^ f ^ g``."""
    return load(psi, r), load(psi, r ^ f), load(psi, r ^ g), load(psi, r ^ f ^ g)


@inner
def store_four(psi: Numbers, place: Any, a: Any) -> None:
    """The reverse of ``load_four``, ``place`` is ``(r, f, g)``."""
    r, f, g = place
    store(psi, r, a[0])
    store(psi, r ^ f, a[1])
    store(psi, r ^ g, a[2])
    store(psi, r ^ f ^ g, a[3])


@inner
def turned_four(t: Any, a: Any) -> Any:
    """Rotate four rows about both bits; ``t`` is ``(cos, sin, cos, sin)``."""
    a0, a1 = turned(t[0], t[1], a[0], a[1])
    a2, a3 = turned(t[0], t[1], a[2], a[3])
    a0, a2 = turned(t[2], t[3], a0, a2)
    a1, a3 = turned(t[2], t[3], a1, a3)
    return a0, a1, a2, a3


@inner
def turned_across(c: Any, s: Any, a: Any, b: Any) -> Any:
    """Rotate two fours into each other."""
    a0, b0 = turned(c, s, a[0], b[0])
    a1, b1 = turned(c, s, a[1], b[1])
    a2, b2 = turned(c, s, a[2], b[2])
    a3, b3 = turned(c, s, a[3], b[3])
    return (a0, a1, a2, a3), (b0, b1, b2, b3)


@inner
def slope(pa: Any, pb: Any, la: Any, lb: Any) -> Any:
    """One pair's part of dE/dangle."""
    return lb * pa - la * pb


@inner
def first_slope(p: Any, l: Any) -> Any:  # noqa: E741
    """Four rows' part of dE/dangle of the first bit."""
    return slope(p[0], p[1], l[0], l[1]) + slope(p[2], p[3], l[2], l[3])


@inner
def second_slope(p: Any, l: Any) -> Any:  # noqa: E741
    """Four rows' part of dE/dangle of the second bit."""
    return slope(p[0], p[2], l[0], l[2]) + slope(p[1], p[3], l[1], l[3])


@inner
def across_slope(p: Any, q: Any, l: Any, m: Any) -> Any:  # noqa: E741
    """Two fours' part of dE/dangle of the bit between them."""
    return (slope(p[0], q[0], l[0], m[0]) + slope(p[1], q[1], l[1], m[1])) + (
        slope(p[2], q[2], l[2], m[2]) + slope(p[3], q[3], l[3], m[3])
    )


@inner
def shape(op: Integers, j: int) -> Any:
    """Flip and mask of the j-th rotation, over rows."""
    return op[2 + 3 * j] << 1, op[3 + 3 * j] << 1


@inner
def coset(k: int, op: Integers, count: int) -> int:
    """A row of the k-th coset of the flips: ``k`` with zeros at their leading bits."""
    for j in range(count):
        k = spread_zero(k, op[11 + j] + 1)
    return k


@inner
def coefficients(trig: Numbers, angle: int) -> Any:
    """Rows of the cosine and sine of half an angle."""
    return load(trig, 2 * angle), load(trig, 2 * angle + 1)


@inner
def turn_one(psi: Numbers, rows: int, op: Integers, trig: Numbers) -> None:
    """One rotation."""
    c, s = coefficients(trig, op[4])
    f, m = shape(op, 0)
    for k in range(rows >> 1):
        r = coset(k, op, 1)
        r ^= -parity(r & m) & f
        a, b = turned(c, s, load(psi, r), load(psi, r ^ f))
        store(psi, r, a)
        store(psi, r ^ f, b)


@inner
def turn_two(psi: Numbers, rows: int, op: Integers, trig: Numbers) -> None:
    """Two rotations in one pass."""
    t = coefficients(trig, op[4]) + coefficients(trig, op[7])
    (f, m), (g, n) = shape(op, 0), shape(op, 1)
    for k in range(rows >> 2):
        r = coset(k, op, 2)
        r ^= (-parity(r & m) & f) ^ (-parity(r & n) & g)
        store_four(psi, (r, f, g), turned_four(t, load_four(psi, r, f, g)))


@inner
def turn_three(psi: Numbers, rows: int, op: Integers, trig: Numbers) -> None:
    """Three rotations in one pass."""
    t = coefficients(trig, op[4]) + coefficients(trig, op[7])
    c, s = coefficients(trig, op[10])
    (f, m), (g, n), (h, o) = shape(op, 0), shape(op, 1), shape(op, 2)
    for k in range(rows >> 3):
        r = coset(k, op, 3)
        r ^= (-parity(r & m) & f) ^ (-parity(r & n) & g) ^ (-parity(r & o) & h)
        a = turned_four(t, load_four(psi, r, f, g))
        b = turned_four(t, load_four(psi, r ^ h, f, g))
        a, b = turned_across(c, s, a, b)
        store_four(psi, (r, f, g), a)
        store_four(psi, (r ^ h, f, g), b)


@inner
def turn(psi: Numbers, rows: int, op: Integers, trig: Numbers) -> None:
    """The operation TURNS on the rows of a tile; angle ``k`` has the rows ``2 k, 2 k + 1`` of ``trig``."""
    if op[1] == 1:
        turn_one(psi, rows, op, trig)
    elif op[1] == 2:
        turn_two(psi, rows, op, trig)
    else:
        turn_three(psi, rows, op, trig)
