"""The first rotations act on |0...0>: their state is written, their slopes are read, in one doubling pass.

``psi(z) = prod_q c_q or s_q`` is real. Its slopes come from contracting ``Re(lam)`` with the factors from
the top bit down, while the prefix product of the bits below is won back by ``P(z) = c P(z) + s P(z + half)``.
"""

from __future__ import annotations

from typing import Any

from qhq.engine.kernels.jit import inner
from qhq.engine.kernels.lanes import fill, load, store
from qhq.engine.kernels.rotation import coefficients
from qhq.engine.program import Integers, Numbers


@inner
def write_bit(psi: Numbers, half: int, c: Any, s: Any) -> None:
    """Append a bit in the state ``(c, s)`` to a real product of lower bits."""
    for z in range(half):
        a = load(psi, 2 * z)
        store(psi, 2 * (z + half), s * a)
        store(psi, 2 * z, c * a)


@inner
def write_product(psi: Numbers, bits: int, pairs: Integers, trig: Numbers) -> None:
    """The product state of ``pairs`` (bit, angle), bits ascending; all other bits are 0."""
    zero = fill(psi, 0.0)
    store(psi, 0, fill(psi, 1.0))
    j = 0
    for bit in range(bits):
        half = 1 << bit
        if j < len(pairs) and pairs[j, 0] == bit:
            c, s = coefficients(trig, pairs[j, 1])
            write_bit(psi, half, c, s)
            j += 1
        else:
            for z in range(half, 2 * half):
                store(psi, 2 * z, zero)
    for z in range(1 << bits):
        store(psi, 2 * z + 1, zero)


@inner
def contract_bit(psi: Numbers, lam: Numbers, half: int, c: Any, s: Any) -> Any:
    """Take the top bit off product and co-state; returns dE/dangle of its factor."""
    acc = fill(psi, 0.0)
    for z in range(half):
        r, u = 2 * z, 2 * (z + half)
        p = c * load(psi, r) + s * load(psi, u)
        low, high = load(lam, r), load(lam, u)
        acc += p * (c * high - s * low)
        store(psi, r, p)
        store(lam, r, c * low + s * high)
    return acc


@inner
def contract_product(psi: Numbers, lam: Numbers, pairs: Integers, trig: Numbers, fresh: Numbers) -> None:
    """Slopes of the product's angles; state and co-state are used up."""
    for j in range(len(pairs) - 1, -1, -1):
        angle = pairs[j, 1]
        c, s = coefficients(trig, angle)
        store(fresh, angle, contract_bit(psi, lam, 1 << pairs[j, 0], c, s))
