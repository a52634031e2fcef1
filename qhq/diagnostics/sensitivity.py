"""Input sensitivity: how far each output moves with each input, and what it does not see at all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from qiskit import QuantumCircuit

from qhq.ansatz.program import Ansatz
from qhq.diagnostics.estimate import Array, Estimate, positive_mean_of
from qhq.diagnostics.probe import SILENT, Probe
from qhq.diagnostics.sampling import Sampling


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
    return sensitivity_of(jacobian, light_cone(ansatz), confidence=sampling.confidence)


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
    return sensitivity_of(Probe(ansatz).input_gradients(values), light_cone(ansatz), confidence=confidence)


def sensitivity_of(
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
    for instruction in reversed(circuit.data):
        qubits = {circuit.find_bit(bit).index for bit in instruction.qubits}
        if instruction.operation.name != "barrier" and qubits & cone:
            cone |= qubits
            met |= {
                each for angle in instruction.operation.params for each in getattr(angle, "parameters", ())
            }
    return met
