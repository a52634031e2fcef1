"""The Fourier spectrum of a circuit in each of its inputs: what the encoding allows, and what is used.

An expectation value is a Fourier series in each input, its frequencies fixed by the encoding gates alone
(Schuld, Sweke and Meyer, arXiv:2008.08605): n parallel Pauli rotations by the same input, L times over, reach
all integers up to n L and nothing above.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from qhq.ansatz.program import Ansatz
from qhq.diagnostics.estimate import Array, Estimate, positive_mean_of
from qhq.diagnostics.probe import SILENT, Probe
from qhq.diagnostics.sampling import Sampling
from qhq.engine.compile import AngleMap, map_angles

_LARGEST_DENOMINATOR = 64
_SPARE_POINTS = 4
"""Points of the grid beyond those that the reachable frequencies need, to see that nothing lies above."""
_ROWS = 1 << 14
"""Samples that are computed at once."""


@dataclass(frozen=True)
class Reach:
    """Frequencies that an encoding allows: ``unit`` times each of ``steps``, which ascend from 0."""

    unit: Fraction
    steps: tuple[int, ...]

    @property
    def frequencies(self) -> tuple[float, ...]:
        """The frequencies in radians per radian."""
        return tuple(float(step * self.unit) for step in self.steps)


@dataclass(frozen=True)
class InputSpectrum:
    """The outputs as a Fourier series in one input, the other inputs and the weights at random.

    Attributes:
        frequencies: What the encoding can reach, ascending from 0, in radians per radian.
        power: Variance over this input that each frequency gives an output, on average over the outputs;
            for frequency 0 the mean square.
        highest_used: The highest reachable frequency with any amplitude.
        beyond: Largest amplitude found at frequencies that cannot be reached: rounding.
    """

    frequencies: tuple[float, ...]
    power: tuple[Estimate, ...]
    highest_used: float
    beyond: float

    @property
    def highest(self) -> float:
        """The highest reachable frequency."""
        return self.frequencies[-1]


def reach_of(ansatz: Ansatz) -> tuple[Reach | None, ...]:
    """Frequencies that the encoding of each input allows.

    None stands for an input that enters an angle other than linearly, as products of inputs do, or at scales
    without a common measure: over it the outputs have no period.
    """
    _, angles = map_angles(ansatz.circuit, ansatz.inputs, ansatz.weights)
    return tuple(_reach(angles, index) for index in range(ansatz.num_inputs))


def _reach(angles: AngleMap, index: int) -> Reach | None:
    slopes = [float(slope) for slope in np.abs(angles.input_slopes[index]) if slope]
    scales = [Fraction(slope).limit_denominator(_LARGEST_DENOMINATOR) for slope in slopes]
    curved = any(index in curve.rows for curve in angles.curves)
    if curved or any(abs(scale - slope) > 1e-9 for scale, slope in zip(scales, slopes, strict=True)):
        return None
    below = math.lcm(*(scale.denominator for scale in scales))
    whole = [int(scale * below) for scale in scales]
    measure = math.gcd(*whole) or 1
    return Reach(Fraction(measure, below), _sums([each // measure for each in whole]))


def _sums(scales: Sequence[int]) -> tuple[int, ...]:
    """A rotation by ``s x`` shifts every frequency by -s, 0 or s; signs do not matter."""
    steps = {0}
    for scale in scales:
        steps |= {abs(step + shift) for step in steps for shift in (-scale, scale)}
    return tuple(sorted(steps))


def spectra(ansatz: Ansatz, sampling: Sampling) -> tuple[InputSpectrum | None, ...]:
    """Measure the spectrum in each input by Fourier transform; None where ``reach_of`` has none.

    Args:
        ansatz: The circuit.
        sampling: Of the weights and of the other inputs.
    """
    probe, values = Probe(ansatz), sampling.draw(ansatz, "spectrum")
    found: list[InputSpectrum | None] = []
    for index, reach in enumerate(reach_of(ansatz)):
        if reach is None:
            found.append(None)
        else:
            amplitudes = _amplitudes(probe, values, index, reach)
            found.append(_spectrum(amplitudes, reach, sampling.confidence))
    return tuple(found)


def _amplitudes(probe: Probe, values: Array, index: int, reach: Reach) -> Array:
    """``|c_k|`` of the outputs over one input at the frequencies k ``unit``, shape (S, K, O)."""
    points = 2 * reach.steps[-1] + _SPARE_POINTS
    grid = 2 * np.pi / float(reach.unit) * np.arange(points) / points
    block = max(1, _ROWS // points)
    parts = []
    for first in range(0, len(values), block):
        rows = np.repeat(values[first : first + block], points, axis=0)
        rows[:, index] = np.tile(grid, len(rows) // points)
        outputs = probe.expectations(rows).reshape(-1, points, probe.ansatz.num_outputs)
        parts.append(np.abs(np.fft.rfft(outputs, axis=1)) / points)
    return np.concatenate(parts)


def _spectrum(amplitudes: Array, reach: Reach, confidence: float) -> InputSpectrum:
    # A frequency and its negative carry the same, so each but 0 counts twice.
    power = [(2 if step else 1) * (amplitudes[:, step] ** 2).mean(axis=1) for step in reach.steps]
    used = [step for step in reach.steps if amplitudes[:, step].max() > SILENT]
    return InputSpectrum(
        frequencies=reach.frequencies,
        power=tuple(positive_mean_of(each, confidence) for each in power),
        highest_used=float(max(used, default=0) * reach.unit),
        beyond=float(np.delete(amplitudes, reach.steps, axis=1).max()),
    )
