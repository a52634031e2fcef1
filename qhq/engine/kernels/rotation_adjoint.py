"""The way back of ``kernels_turn``: take the rotations off state and co-state, and gather their slopes."""

from __future__ import annotations

from typing import Any

from qhq.engine.kernels.jit import inner
from qhq.engine.kernels.lanes import fill, load, parity, store
from qhq.engine.kernels.rotation import (
    across_slope,
    coefficients,
    coset,
    first_slope,
    load_four,
    second_slope,
    shape,
    slope,
    store_four,
    turned,
    turned_across,
    turned_four,
)
from qhq.engine.program import Integers, Numbers


@inner
def backwards(trig: Numbers, angle: int) -> Any:
    """Cosine, and sine with its sign turned."""
    c, s = coefficients(trig, angle)
    return c, fill(trig, 0.0) - s


@inner
def unturn_one(psi: Numbers, lam: Numbers, rows: int, op: Integers, desk: Any) -> None:
    """Take one rotation off."""
    trig, fresh = desk
    c, s = backwards(trig, op[4])
    f, m = shape(op, 0)
    first = fill(psi, 0.0)
    for k in range(rows >> 1):
        r = coset(k, op, 1)
        r ^= -parity(r & m) & f
        pa, pb, la, lb = load(psi, r), load(psi, r ^ f), load(lam, r), load(lam, r ^ f)
        first += slope(pa, pb, la, lb)
        pa, pb = turned(c, s, pa, pb)
        la, lb = turned(c, s, la, lb)
        store(psi, r, pa)
        store(psi, r ^ f, pb)
        store(lam, r, la)
        store(lam, r ^ f, lb)
    store(fresh, op[4], first)


@inner
def unturn_two(psi: Numbers, lam: Numbers, rows: int, op: Integers, desk: Any) -> None:
    """Take two rotations off."""
    trig, fresh = desk
    t = backwards(trig, op[4]) + backwards(trig, op[7])
    (f, m), (g, n) = shape(op, 0), shape(op, 1)
    first, second = fill(psi, 0.0), fill(psi, 0.0)
    for k in range(rows >> 2):
        r = coset(k, op, 2)
        r ^= (-parity(r & m) & f) ^ (-parity(r & n) & g)
        a, b = load_four(psi, r, f, g), load_four(lam, r, f, g)
        first += first_slope(a, b)
        second += second_slope(a, b)
        store_four(psi, (r, f, g), turned_four(t, a))
        store_four(lam, (r, f, g), turned_four(t, b))
    store(fresh, op[4], first)
    store(fresh, op[7], second)


@inner
def unturn_three(psi: Numbers, lam: Numbers, rows: int, op: Integers, desk: Any) -> None:
    """Take three rotations off."""
    trig, fresh = desk
    t = backwards(trig, op[4]) + backwards(trig, op[7])
    c, s = backwards(trig, op[10])
    (f, m), (g, n), (h, o) = shape(op, 0), shape(op, 1), shape(op, 2)
    first, second, third = fill(psi, 0.0), fill(psi, 0.0), fill(psi, 0.0)
    for k in range(rows >> 3):
        r = coset(k, op, 3)
        r ^= (-parity(r & m) & f) ^ (-parity(r & n) & g) ^ (-parity(r & o) & h)
        a, b = load_four(psi, r, f, g), load_four(lam, r, f, g)
        x, y = load_four(psi, r ^ h, f, g), load_four(lam, r ^ h, f, g)
        first += first_slope(a, b) + first_slope(x, y)
        second += second_slope(a, b) + second_slope(x, y)
        third += across_slope(a, x, b, y)
        a, x = turned_across(c, s, turned_four(t, a), turned_four(t, x))
        store_four(psi, (r, f, g), a)
        store_four(psi, (r ^ h, f, g), x)
        b, y = turned_across(c, s, turned_four(t, b), turned_four(t, y))
        store_four(lam, (r, f, g), b)
        store_four(lam, (r ^ h, f, g), y)
    store(fresh, op[4], first)
    store(fresh, op[7], second)
    store(fresh, op[10], third)


@inner
def unturn(psi: Numbers, lam: Numbers, rows: int, op: Integers, desk: Any) -> None:
    """Undo TURNS on state and co-state; row ``k`` of ``fresh`` becomes dE/dangle ``k`` of each lane."""
    if op[1] == 1:
        unturn_one(psi, lam, rows, op, desk)
    elif op[1] == 2:
        unturn_two(psi, lam, rows, op, desk)
    else:
        unturn_three(psi, lam, rows, op, desk)
