"""Barren plateau: the gradient over random weights, against that of a circuit that scrambles everything."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from qhq.ansatz.program import Ansatz
from qhq.diagnostics.doctor.background import Family
from qhq.diagnostics.doctor.circuit import MOST_QUBITS
from qhq.diagnostics.doctor.finding import Finding
from qhq.diagnostics.doctor.signs import LayerSigns, Signs
from qhq.diagnostics.gradients import GradientVariance, gradient_trend, gradient_variance
from qhq.diagnostics.sampling import Sampling
from qhq.errors import ConfigError

FLAT = 2.5e-3
"""Variance of a slope: typical slopes are below 0.05, and fall with each qubit more."""
SCRAMBLED = 3.0
"""Times the 2-design value: below it the circuit is about as flat as a random unitary. A product of single
qubits measured by one observable of all of them has 2 (McClean et al., arXiv:1803.11173; Cerezo et al.,
arXiv:2001.00550), and falls as fast."""
FEWEST_QUBITS = 6
_WORK = 2e9
"""Amplitudes times gates that a measurement may take, about two seconds."""
_MOST_SAMPLES, _FEWEST_SAMPLES = 100, 8


def barren_plateau(signs: Signs) -> Iterator[Finding]:
    """A gradient variance no larger than a 2-design's, and small."""
    for layer in signs.layers if signs.thorough else ():
        circuit = layer.circuit
        if circuit is None or not circuit.num_weights:
            continue
        if not FEWEST_QUBITS <= circuit.num_qubits <= MOST_QUBITS:
            continue
        found = gradient_variance(circuit, _sampling(circuit, signs.background.seed))
        if found.mean.value < SCRAMBLED * found.two_design:
            yield _plateau(layer, circuit, found, _trend(signs.background.family, signs.background.seed))


def _plateau(layer: LayerSigns, circuit: Ansatz, found: GradientVariance, slope: float | None) -> Finding:
    qubits, variance = circuit.num_qubits, found.mean.value
    trend = "" if slope is None else f", and changes by a factor {2**slope:.2f} with each qubit more"
    return Finding(
        "barren_plateau",
        "error" if variance < FLAT else "warning",
        f"The gradient variance of '{layer.name}' over random weights is {variance:.1e} on {qubits} qubits,"
        f" where a circuit that scrambles everything has {found.two_design:.1e}{trend}.",
        "Fewer layers (--set quantum.depth=2), fewer qubits, local observables"
        " (--set 'quantum.overrides={observables: z_each}') or weights that start near 0"
        " (model.quantum.weight.data.mul_(0.1))",
        {
            "layer": layer.name,
            "variance": variance,
            "variance_low": found.mean.low,
            "variance_high": found.mean.high,
            "two_design": found.two_design,
            "typical_slope": float(np.sqrt(variance)),
            "qubits": qubits,
            "log2_slope_per_qubit": slope,
        },
    )


def _trend(family: Family | None, seed: int) -> float | None:
    """Slope of log2(variance) per qubit; None where the circuit has one width only."""
    if family is None:
        return None
    members: dict[int, Ansatz] = {}
    for width in (2, 4, 6):
        try:
            members[width] = family(width)
        except ConfigError:  # a circuit from a file, or observables, of one width
            return None
        if members[width].num_qubits != width:
            return None
    trend = gradient_trend(members.__getitem__, list(members), _sampling(members[6], seed))
    return None if trend is None else trend.slope.value


def _sampling(circuit: Ansatz, seed: int) -> Sampling:
    cost = len(circuit.circuit.data) * 3 * circuit.num_outputs << circuit.num_qubits
    samples = int(np.clip(_WORK / cost, _FEWEST_SAMPLES, _MOST_SAMPLES))
    return Sampling(samples, seed=seed).for_inputs_of(circuit)
