"""Error mitigation of a simulated device: twirled readout (TREX), and zero-noise extrapolation (ZNE).

TREX (van den Berg, Minev and Temme, Phys. Rev. A 105, 032620, 2022) flips each qubit at random before its
readout and the bit back after it. On average a readout that says 1 for a 0 with probability u, and 0 for a 1
with d, then errs alike on both: with (u + d) / 2. So a measured string Z...Z is the true one times a factor,
and the same circuit without gates, whose true values are all 1, tells the factor.

ZNE runs the circuit with every two-qubit gate G written as G, as G G^-1 G and as twice that, so that its
noise acts one, three and five times, and takes the straight line through the values back to no noise at all.
Noise of one-qubit gates and of the readout is not amplified, and stays.

PEC (probabilistic error cancellation: Temme, Bravyi and Gambetta, 2017; van den Berg et al., 2023) twirls the
noise of every gate into a Pauli channel, which multiplies each Pauli string Q by a number f(Q), and undoes it
on average. The inverse is no channel, but a sum over Paulis P with shares that may be negative,

    c(P) = 4^-n sum_Q (-1)^<P, Q> / f(Q)

(<P, Q> is 1 where they anticommute). Each shot draws a P behind every gate with probability |c(P)| / g, where
g = sum |c(P)|, and counts with the product of their signs times G, the product of all g. So a value is right
on average, but for the readout, and its variance is (G^2 - v^2) / shots instead of (1 - v^2) / shots.

Shots are drawn without simulating each: the outcomes x of all shots have the probabilities a(x) of a circuit
with genuine channels, noise and then |c(P)| / g, and their signs a mean such that the signed ones add up to
e(x) / G, e being those of the circuit without gate noise. So outcome x comes with sign s = +-1 as often as

    (a(x) + s e(x) / G) / 2

The sign is a bit like any other: as one more measured qubit it goes through `SampledProgram`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce

import numpy as np
from qiskit.circuit import QuantumCircuit
from qiskit.quantum_info import PTM, SuperOp, pauli_basis
from qiskit_aer.noise import QuantumError, pauli_error

from qhq.backends.executor import FloatArray
from qhq.backends.gradients import OpenedCircuit
from qhq.backends.local.shots import Draws, MeasuredGroup, Probabilities, SampledProgram
from qhq.backends.noisy.noise import GatePlace
from qhq.backends.noisy.programs import DensityProgram, NoisyProgram
from qhq.errors import BackendError, apart

# Those that IBM's estimator takes too.
NOISE_FACTORS = (1, 3, 5)
"""How often the noise of a two-qubit gate acts."""

# A string whose readout tells less than this of it would have its shot noise made a hundred times larger.
_LEAST_FACTOR = 0.01

# Largest G of PEC: the shot noise of a value is then a thousand times as large.
_MOST_COST = 1000.0

# Gates whose noise can be twirled: a Pauli before one of them is a Pauli behind it.
_CLIFFORD = frozenset({"cx", "cy", "cz", "ecr", "h", "id", "s", "sdg", "swap", "sx", "sxdg", "x", "y", "z"})


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
            got=f"{apart(float(np.abs(factors).min()), _LEAST_FACTOR, digits=2)[0]} of one",
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

    def __init__(
        self, program: NoisyProgram, open_program: Callable[[NoisyProgram, int], OpenedCircuit]
    ) -> None:
        folded = _fold_program(program)
        self._programs = [open_program(each, place) for place, each in enumerate(folded)]
        self._shares = line_shares(NOISE_FACTORS)

    def __call__(self, values: FloatArray) -> FloatArray:
        """Expectation values (N, O) at rows (N, P)."""
        found = np.stack([program(values) for program in self._programs])
        extrapolated: FloatArray = np.tensordot(self._shares, found, axes=1)
        return extrapolated


def _fold_program(program: NoisyProgram) -> list[NoisyProgram]:
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


class CancelledProgram:
    """Values of a program whose gate noise is cancelled on average; what each gate does is known exactly.

    Args:
        program: The program with its noise.
        threads: Threads that Aer may use; 0 means all cores.
        shots: Shots a value, each with Paulis of its own; None gives the mean over all that could be drawn.
        readout: ``sampled`` draws what is read, ``exact`` averages readout errors.
        generator: Where the shots come from.

    Raises:
        BackendError: If the noise of a gate cannot be twirled, or would take too many shots to cancel.
    """

    def __init__(
        self,
        program: NoisyProgram,
        threads: int,
        *,
        shots: int | None,
        readout: str,
        generator: np.random.Generator,
    ) -> None:
        absolute, costs = _cancel_noise(program)
        silent = replace(program, noise=replace(program.noise, channels={}))
        noisy, ideal = (DensityProgram(each, threads).sources() for each in (absolute, silent))
        sources = [_signed(*each) for each in zip(noisy, ideal, costs, strict=True)]
        groups = [_with_sign(group, cost) for group, cost in zip(program.groups, costs, strict=True)]
        # No readout error flips a sign: it is known, not read.
        flips = np.concatenate([program.noise.flips, np.zeros((1, 2))])
        self._is_exact = shots is None
        self._drawn = SampledProgram(
            sources, groups, Draws(shots or 1, flips, readout=readout, generator=generator)
        )

    def __call__(self, values: FloatArray) -> FloatArray:
        """Expectation values (N, O) at rows (N, P)."""
        return self._drawn.exact(values) if self._is_exact else self._drawn(values)


def _cancel_noise(program: NoisyProgram) -> tuple[NoisyProgram, tuple[float, ...]]:
    """The program with genuine channels that PEC's shots meet, signs aside, and G of each of its circuits.

    Raises:
        BackendError: If the noise of a gate cannot be twirled, or would take too many shots to cancel.
    """
    # By identity: uniform noise is one channel at all places, and to invert it takes longer than to look it
    # up.
    inverses = {id(error): _cancelled(place, error) for place, error in program.noise.channels.items()}
    found = {place: inverses[id(error)] for place, error in program.noise.channels.items()}
    costs = []
    for circuit in program.circuits:
        places = (
            (step.name, tuple(circuit.find_bit(bit).index for bit in step.qubits)) for step in circuit.data
        )
        costs.append(float(np.prod([found[place][1] for place in places if place in found])))
    if max(costs) > _MOST_COST:
        raise BackendError(
            f"PEC needs gates whose noise costs a factor of {_MOST_COST:g} of each shot at most",
            got=f"a factor of {max(costs):.3g} for all gates of the circuit",
            fix="Use a smaller depth, a quieter device or a smaller noise_scale, or another method",
        )
    channels = {place: error for place, (error, _) in found.items()}
    return replace(program, noise=replace(program.noise, channels=channels)), tuple(costs)


def _cancelled(place: GatePlace, error: QuantumError) -> tuple[QuantumError, float]:
    """Twirled noise of a gate and then |c(P)| / g, as one Pauli channel, and g."""
    name, qubits = place
    kept = np.diag(PTM(SuperOp(error)).data.real)
    # An rz is no Clifford gate and may stand there: it is virtual, its channel the identity but for rounding.
    if np.abs(kept - 1).max() > 1e-14 and name not in _CLIFFORD:
        raise BackendError(
            "PEC needs noise on Clifford gates alone, which turn Paulis into Paulis",
            got=f"noise on {name}",
            fix="Choose a device of CX, CZ or ECR, SX and RZ gates, or another method",
        )
    if kept.min() < _LEAST_FACTOR:
        raise BackendError(
            f"PEC needs gates that keep at least {_LEAST_FACTOR:g} of each Pauli string",
            got=f"{apart(float(kept.min()), _LEAST_FACTOR, digits=2)[0]} of one behind {name}"
            f" on qubits {list(qubits)}",
            fix="Use other qubits (transpile.layout), a smaller noise_scale, or another method",
        )
    signs = reduce(np.kron, [_SIGNS] * len(qubits))
    shares = signs @ (1 / kept) / len(kept)
    cost = float(np.abs(shares).sum())
    # Of Paulis behind Paulis the numbers f are multiplied; and from numbers to probabilities it is the same
    # sum, as the signs are their own inverse.
    chances = signs @ (kept * (signs @ np.abs(shares) / cost)) / len(kept)
    chances = chances.clip(min=0)
    labels = pauli_basis(len(qubits)).to_labels()
    return pauli_error(list(zip(labels, chances / chances.sum(), strict=True))), cost


# (-1)^<P, Q> of one qubit, in the order I, X, Y, Z.
_SIGNS = np.array([[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]])


def _signed(noisy: Probabilities, ideal: Probabilities, cost: float) -> Probabilities:
    """Probabilities (N, 2^(n + 1)) of outcomes with their signs; + comes first, as 0 of the highest bit."""

    def probabilities(values: FloatArray) -> FloatArray:
        all_shots, signed = noisy(values), ideal(values) / cost
        return np.concatenate([all_shots + signed, all_shots - signed], axis=1) / 2

    return probabilities


def _with_sign(group: MeasuredGroup, cost: float) -> MeasuredGroup:
    """A group whose strings count with the sign of a shot, as one more qubit, and G; a constant stays."""
    acts = group.masks.any(axis=1, keepdims=True)
    return MeasuredGroup(
        letters=f"{group.letters}Z",
        masks=np.concatenate([group.masks, acts], axis=1),
        coefficients=group.coefficients * np.where(acts, cost, 1.0),
    )
