"""The gates of recurrent units, one time step of many models at once.

What a step multiplies is left to the caller's matrix library; what it does with the products, value by value,
is one pass over memory here and some ten operations of a tensor library otherwise, each with a cost of its
own that is larger than the work. Units, and the order of their gates, are PyTorch's; the precision is single.

Arrays of a whole sequence are C-contiguous of shape (S, T, B, .): S models, T steps, B samples, H states.
Those of one step are (S, B, .). ``gates`` holds what a step's input gives, its bias included, and afterwards
the gates; ``products`` is what the state before the step gives. ``states`` has T + 1 steps, the first of 0.

Going back, ``slope`` (S, B, H) is the gradient of the state after the step, as far as later steps make it. A
kernel adds ``outer`` (S, T, B, H), that of the step's own output, and leaves in ``slope`` what reaches the
state before other than through the matrix. ``pulled`` becomes the gradient of what was multiplied.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from qhq.engine.kernels.jit import CONTRACTED, Function, entry, inner
from qhq.engine.program import Numbers


def _inner(function: Function) -> Function:
    return inner(function, **CONTRACTED)


def _entry(function: Function) -> Function:
    return entry(function, **CONTRACTED)


# A rational function of degree 13 over 6, within 4e-7 of tanh, clipped where single precision rounds it to 1;
# the coefficients are those of Eigen's MathFunctionsImpl.h. Unlike libm's it becomes vector instructions.
_LIMIT, _HALF, _ONE = np.float32(7.90531110763549805), np.float32(0.5), np.float32(1.0)
_U0, _U1, _U2, _U3, _U4, _U5, _U6 = (
    np.float32(each)
    for each in (
        -2.76076847742355e-16,
        2.00018790482477e-13,
        -8.60467152213735e-11,
        5.12229709037114e-08,
        1.48572235717979e-05,
        6.37261928875436e-04,
        4.89352455891786e-03,
    )
)
_L0, _L1, _L2, _L3 = (
    np.float32(each)
    for each in (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)
)


@_inner
def _tanh(x: Any) -> Any:
    # Compared in this order a NaN stays one: the loss must show it.
    x = _LIMIT if x > _LIMIT else x
    x = -_LIMIT if x < -_LIMIT else x
    y = x * x
    upper = ((((((_U0 * y + _U1) * y + _U2) * y + _U3) * y + _U4) * y + _U5) * y + _U6) * x
    return upper / (((_L0 * y + _L1) * y + _L2) * y + _L3)


@_inner
def _sigmoid(x: Any) -> Any:
    # By tanh, since exp of libm would be a call for each value.
    return _HALF + _HALF * _tanh(_HALF * x)


@_entry
def rnn_step(gates: Numbers, products: Numbers, states: Numbers, t: int) -> None:
    """``h' = tanh(.)``; ``gates`` (S, T, B, H) is used up."""
    models, _, samples, hidden = gates.shape
    for s in range(models):
        for b in range(samples):
            gate, product, after = gates[s, t, b], products[s, b], states[s, t + 1, b]
            for j in range(hidden):
                after[j] = _tanh(gate[j] + product[j])


@_entry
def rnn_back(states: Numbers, outer: Numbers, slope: Numbers, pulled: Numbers, t: int) -> None:
    """``pulled`` is (S, T, B, H)."""
    models, _, samples, hidden = outer.shape
    for s in range(models):
        for b in range(samples):
            after, own, later, back = states[s, t + 1, b], outer[s, t, b], slope[s, b], pulled[s, t, b]
            for j in range(hidden):
                back[j] = (later[j] + own[j]) * (_ONE - after[j] * after[j])
                later[j] = 0.0


@_entry
def gru_step(gates: Numbers, products: Numbers, states: Numbers, kept: Numbers, t: int) -> None:
    """``h' = n + z (h - n)``, ``n = tanh(. + r u)``; gates r, z, n, and ``kept`` (S, T, B, H) becomes u."""
    models, _, samples, hidden = kept.shape
    for s in range(models):
        for b in range(samples):
            gate, product, before = gates[s, t, b], products[s, b], states[s, t, b]
            after, u = states[s, t + 1, b], kept[s, t, b]
            for j in range(2 * hidden):
                gate[j] = _sigmoid(gate[j] + product[j])
            for j in range(hidden):
                u[j] = product[2 * hidden + j]
                n = _tanh(gate[2 * hidden + j] + gate[j] * u[j])
                gate[2 * hidden + j] = n
                after[j] = n + gate[hidden + j] * (before[j] - n)


@_entry
def gru_back(  # noqa: PLR0913, PLR0917  # arrays in a record would have to be unpacked at each call
    gates: Numbers, kept: Numbers, states: Numbers, outer: Numbers, slope: Numbers, pulled: Numbers, t: int
) -> None:
    """``pulled`` (S, T, B, 4 H): the first three blocks are those of u, r, z, the last three of r, z, n.

    So the gradients of the products and of the inputs, which differ in one gate, are slices of one array.
    """
    models, _, samples, hidden = kept.shape
    for s in range(models):
        for b in range(samples):
            gate, u, before, own = gates[s, t, b], kept[s, t, b], states[s, t, b], outer[s, t, b]
            later, back = slope[s, b], pulled[s, t, b]
            for j in range(hidden):
                r, z, n = gate[j], gate[hidden + j], gate[2 * hidden + j]
                whole = later[j] + own[j]
                by_n = whole * (_ONE - z) * (_ONE - n * n)
                back[j] = by_n * r
                back[hidden + j] = by_n * u[j] * r * (_ONE - r)
                back[2 * hidden + j] = whole * (before[j] - n) * z * (_ONE - z)
                back[3 * hidden + j] = by_n
                later[j] = whole * z


@_entry
def lstm_step(gates: Numbers, products: Numbers, states: Numbers, cells: Numbers, t: int) -> None:
    """``c' = f c + i g``, ``h' = o tanh(c')``; gates i, f, g, o, and ``cells`` is as ``states``."""
    models, _, samples, hidden = states.shape
    for s in range(models):
        for b in range(samples):
            gate, product, before = gates[s, t, b], products[s, b], cells[s, t, b]
            after, cell = states[s, t + 1, b], cells[s, t + 1, b]
            for j in range(2 * hidden):
                gate[j] = _sigmoid(gate[j] + product[j])
            for j in range(2 * hidden, 3 * hidden):
                gate[j] = _tanh(gate[j] + product[j])
            for j in range(3 * hidden, 4 * hidden):
                gate[j] = _sigmoid(gate[j] + product[j])
            for j in range(hidden):
                cell[j] = gate[hidden + j] * before[j] + gate[j] * gate[2 * hidden + j]
            for j in range(hidden):  # on its own, since a loop over too many arrays is not vectorised
                after[j] = gate[3 * hidden + j] * _tanh(cell[j])


@_entry
def lstm_back(
    gates: Numbers, cells: Numbers, outer: Numbers, slopes: Numbers, pulled: Numbers, t: int
) -> None:
    """``slopes`` (2, S, B, H): of the state, and of the cell; ``pulled`` (S, T, B, 4 H)."""
    models, _, samples, hidden = outer.shape
    for s in range(models):
        for b in range(samples):
            gate, before, cell, own = gates[s, t, b], cells[s, t, b], cells[s, t + 1, b], outer[s, t, b]
            later, carried, back = slopes[0, s, b], slopes[1, s, b], pulled[s, t, b]
            for j in range(hidden):
                back[3 * hidden + j] = _tanh(cell[j])
            for j in range(hidden):
                i, f = gate[j], gate[hidden + j]
                g, o = gate[2 * hidden + j], gate[3 * hidden + j]
                bent = back[3 * hidden + j]
                whole = later[j] + own[j]
                by_cell = carried[j] + whole * o * (_ONE - bent * bent)
                back[j] = by_cell * g * i * (_ONE - i)
                back[hidden + j] = by_cell * before[j] * f * (_ONE - f)
                back[2 * hidden + j] = by_cell * i * (_ONE - g * g)
                back[3 * hidden + j] = whole * bent * o * (_ONE - o)
                carried[j] = by_cell * f
                later[j] = 0.0
