"""Error mitigation of a simulated device: twirled readout (TREX), and zero-noise extrapolation (ZNE).

TREX (van den Berg, Minev and Temme, Phys. Rev. A 105, 032620, 2022) flips each qubit at random before its
readout and the bit back after it. On average a readout that says 1 for a 0 with probability u, and 0 for a 1
with d, then errs alike on both: with (u + d) / 2. So a measured string Z...Z is the true one times a factor,
and the same circuit without gates, whose true values are all 1, tells the factor.

ZNE runs the circuit with every two-qubit gate G written as G, as G G^-1 G and as twice that, so that its
noise acts one, three and five times, and takes the straight line through the values back to no noise at all.
Noise of one-qubit gates and of the readout is not amplified, and stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from qiskit.circuit import QuantumCircuit

from qhq.backends.executor import FloatArray
from qhq.backends.gradients import Program
from qhq.backends.local.shots import MeasuredGroup
from qhq.backends.noisy.programs import NoisyProgram
from qhq.errors import BackendError

NOISE_FACTORS = (1, 3, 5)
"""How often the noise of a two-qubit gate acts: those that IBM's estimator takes too."""

# A string whose readout tells less than this of it would have its shot noise made a hundred times larger.
_LEAST_FACTOR = 0.01


def twirl_readout(program: NoisyProgram, shots: int | None, generator: np.random.Generator) -> NoisyProgram:
    """Twirl the readout of a program, and divide each measured string by its factor.

    Args:
        program: The program with its noise.
        shots: Measurements that the factors are learned from, in one circuit; None learns them exactly.
        generator: Where those measurements come from.

    Raises:
        BackendError: If the readout of a string says nothing of it.
    """
    flips = np.repeat(program.noise.flips.mean(axis=1, keepdims=True), 2, axis=1)
    # Every group is read by the same qubits behind the same noise: one circuit serves them all.
    flipped = None if shots is None else generator.random((shots, len(flips))) < flips[:, 0]
    groups = tuple(_divided(group, flips[:, 0], flipped) for group in program.groups)
    return replace(program, groups=groups, noise=replace(program.noise, flips=flips))


def _divided(group: MeasuredGroup, flips: FloatArray, flipped: np.ndarray | None) -> MeasuredGroup:
    """A group whose coefficients undo what its readout makes of each of its strings."""
    if flipped is None:
        factors = np.array([(1 - 2 * flips[mask]).prod() for mask in group.masks])
    else:
        factors = np.array([(1 - 2 * (flipped[:, mask].sum(axis=1) % 2)).mean() for mask in group.masks])
    if np.abs(factors).min() < _LEAST_FACTOR:
        raise BackendError(
            f"TREX needs a readout that keeps at least {_LEAST_FACTOR:g} of each measured string",
            got=f"{np.abs(factors).min():.2g} of one",
            fix="Use other qubits (transpile.layout), more shots, or observables on fewer qubits",
        )
    return replace(group, coefficients=group.coefficients / factors[:, None])


class ExtrapolatedProgram:
    """Values of a program at several strengths of its two-qubit noise, taken back to none.

    Args:
        program: The program with its noise.
        open_program: Makes Aer ready for one program, the number of its factor given.

    Raises:
        BackendError: If it has no two-qubit gate that can be folded.
    """

    def __init__(self, program: NoisyProgram, open_program: Callable[[NoisyProgram, int], Program]) -> None:
        folded = fold_program(program)
        self._programs = [open_program(each, place) for place, each in enumerate(folded)]
        self._shares = line_shares(NOISE_FACTORS)

    def __call__(self, values: FloatArray) -> FloatArray:
        """Expectation values (N, O) at rows (N, P)."""
        found = np.stack([program(values) for program in self._programs])
        extrapolated: FloatArray = np.tensordot(self._shares, found, axes=1)
        return extrapolated


def fold_program(program: NoisyProgram) -> list[NoisyProgram]:
    """The program at each of `NOISE_FACTORS`.

    Raises:
        BackendError: If it has no two-qubit gate that can be folded.
    """
    # Its imports take a second, which whoever does not fold need not wait for.
    from qiskit.transpiler import PassManager
    from qiskit_mitigation.zne import GateFoldingPass
    from qiskit_mitigation.zne.gate_folding import SUPPORTED_FOLDED_GATES

    def is_folded(circuit: QuantumCircuit) -> bool:
        return any(isinstance(step.operation, SUPPORTED_FOLDED_GATES) for step in circuit.data)

    if not any(map(is_folded, program.circuits)):
        raise BackendError(
            "ZNE needs a two-qubit gate that can be folded (cx, cy, cz, ecr or swap)",
            got="a circuit with none of them",
            fix="Leave zne out: there is no noise that it could amplify",
        )
    managers = [PassManager([GateFoldingPass(factor)]) for factor in NOISE_FACTORS]
    return [replace(program, circuits=tuple(map(each.run, program.circuits))) for each in managers]


def line_shares(factors: Sequence[float]) -> FloatArray:
    """Share of each value in that of the least-squares line at 0.

    >>> line_shares([1, 3]).tolist()
    [1.5, -0.5]
    """
    # Exponentials fit decays better, but through values near 0, which shots scatter around, there is none.
    strengths = np.asarray(factors, dtype=np.float64)
    distance = strengths - strengths.mean()
    shares: FloatArray = 1 / len(strengths) - strengths.mean() * distance / (distance**2).sum()
    return shares
