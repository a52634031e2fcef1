"""What a circuit does with its inputs: which frequencies, how steeply, and what it does not see at all.

An expectation value is a Fourier series in each input, its frequencies fixed by the encoding gates alone
(Schuld, Sweke and Meyer, arXiv:2008.08605): n parallel Pauli rotations by the same input, L times over, reach
all integers up to n L and nothing above.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from qiskit import QuantumCircuit

from qhq.ansatz.program import Ansatz
from qhq.diagnostics.sampling import SILENT, Array, Estimate, Probe, Sampling, positive_mean_of
from qhq.engine.compile import AngleMap, map_angles

# Scales of people: thirds, sevenths, powers of two. The grid of frequencies grows with it.
_LARGEST_DENOMINATOR = 64
# Points of the grid beyond those that the reachable frequencies need, to see that nothing lies above.
_SPARE_POINTS = 4
# Samples that are computed at once.
_ROWS = 1 << 14


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
    # A float is a fraction over a power of two; 1/3 in a file must be a third again, to have a common
    # measure.
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
    # More than twice the highest frequency, or it would fold into a lower one.
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


@dataclass(frozen=True)
class InputSensitivity:
    """Statistics of the Jacobian ``[b, o, i] = d E[b, o] / d inputs[b, i]``, inputs in radians.

    Attributes:
        norm: Mean Frobenius norm of a sample's Jacobian.
        quantiles: 5, 50 and 95 % quantiles of that norm.
        slopes: Root mean square slope of each output (rows) by each input (columns), (O, I).
        ignored_inputs: Inputs that no output depends on.
        constant_outputs: Outputs that depend on no input.
        unseen: Pairs (output, input) without dependence.
        outside_cone: Those of them that no wire connects: outside the light cone of the output. The others
            are connected, but their gates commute with what is measured.
    """

    norm: Estimate
    quantiles: tuple[float, float, float]
    slopes: tuple[tuple[float, ...], ...]
    ignored_inputs: tuple[int, ...]
    constant_outputs: tuple[int, ...]
    unseen: tuple[tuple[int, int], ...]
    outside_cone: tuple[tuple[int, int], ...]

    @property
    def pairs(self) -> int:
        """Pairs of output and input, O I."""
        return len(self.slopes) * len(self.slopes[0])


def input_sensitivity(ansatz: Ansatz, sampling: Sampling) -> InputSensitivity:
    """Measure the sensitivity at random inputs and weights."""
    values = sampling.draw(ansatz, "sensitivity")
    jacobian = Probe(ansatz).input_gradients(values)
    return _sensitivity_of(jacobian, light_cone(ansatz), confidence=sampling.confidence)


def input_sensitivity_at(
    ansatz: Ansatz, inputs: npt.ArrayLike, weights: npt.ArrayLike, *, confidence: float = 0.95
) -> InputSensitivity:
    """Measure the sensitivity of a trained circuit where it works.

    Args:
        ansatz: The circuit.
        inputs: Angles (B, I) in radians that the model really gives it.
        weights: Its weights (W,).
        confidence: Of the interval.
    """
    inputs = np.asarray(inputs, np.float64)
    values = np.hstack([inputs, np.tile(np.asarray(weights, np.float64), (len(inputs), 1))])
    return _sensitivity_of(Probe(ansatz).input_gradients(values), light_cone(ansatz), confidence=confidence)


def _sensitivity_of(
    jacobian: Array, cone: npt.NDArray[np.bool_], *, confidence: float = 0.95
) -> InputSensitivity:
    """Statistics of measured Jacobians (B, O, I) beside the light cone (O, I)."""
    norms = np.linalg.norm(jacobian, axis=(1, 2))
    low, middle, high = np.quantile(norms, [0.05, 0.5, 0.95]).tolist()
    seen = np.abs(jacobian).max(axis=0) > SILENT
    slopes = np.sqrt((jacobian**2).mean(axis=0))
    return InputSensitivity(
        norm=positive_mean_of(norms, confidence),
        quantiles=(low, middle, high),
        slopes=tuple(map(tuple, slopes.tolist())),
        ignored_inputs=tuple(np.flatnonzero(~seen.any(axis=0)).tolist()),
        constant_outputs=tuple(np.flatnonzero(~seen.any(axis=1)).tolist()),
        unseen=_pairs(~seen),
        outside_cone=_pairs(~cone),
    )


def _pairs(chosen: npt.NDArray[np.bool_]) -> tuple[tuple[int, int], ...]:
    return tuple((int(output), int(index)) for output, index in np.argwhere(chosen))


def light_cone(ansatz: Ansatz) -> npt.NDArray[np.bool_]:
    """Whether any wire leads from a gate of an input to an output, (O, I).

    >>> from qhq.ansatz import AnsatzSpec, build
    >>> light_cone(build(AnsatzSpec.model_validate({"qubits": 2, "entangler": {"pattern": "none"}}))).tolist()
    [[True, False], [False, True]]
    """
    cones = []
    for observable in ansatz.observables:
        support = np.flatnonzero((observable.paulis.x | observable.paulis.z).any(axis=0)).tolist()
        met = _parameters_met(ansatz.circuit, support)
        cones.append([parameter in met for parameter in ansatz.inputs])
    return np.array(cones, dtype=bool)


def _parameters_met(circuit: QuantumCircuit, support: Iterable[int]) -> set[object]:
    """Parameters of the gates that touch the cone, which grows from ``support`` back through the circuit."""
    cone, met = set(support), set[object]()
    # Back from what is measured, as in the Heisenberg picture: a gate off the cone cancels with its inverse.
    for instruction in reversed(circuit.data):
        qubits = {circuit.find_bit(bit).index for bit in instruction.qubits}
        if instruction.operation.name != "barrier" and qubits & cone:
            cone |= qubits
            met |= {
                each for angle in instruction.operation.params for each in getattr(angle, "parameters", ())
            }
    return met
