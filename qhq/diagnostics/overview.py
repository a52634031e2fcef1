"""All diagnostics of one circuit, in the order in which they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from qhq.ansatz.program import Ansatz
from qhq.diagnostics.capacity import EffectiveDimension, effective_dimension
from qhq.diagnostics.entanglement import Entanglement, measure_entanglement
from qhq.diagnostics.expressibility import Expressibility, measure_expressibility
from qhq.diagnostics.gradients import (
    GradientTrend,
    GradientVariance,
    gradient_trend,
    gradient_variance,
)
from qhq.diagnostics.sampling import Sampling
from qhq.diagnostics.sensitivity import InputSensitivity, input_sensitivity
from qhq.diagnostics.spectrum import InputSpectrum, spectra
from qhq.errors import ConfigError

Family = Callable[[int], Ansatz]
"""Qubits -> the same circuit at that width."""

MOST_QUBITS = 12
TREND_QUBITS = range(2, 9)
_WORK = 1 << 30
"""Amplitudes times gates that one diagnostic may cost: about a second."""
_FEWEST = 20


@dataclass(frozen=True)
class Overview:
    """What ``look_deep`` found; a circuit without weights has no figures of weights.

    Attributes:
        gradients: Gradient variance over random inputs and weights.
        trend: The same at other widths; None where the circuit has only one.
        expressibility: Of random weights, the inputs held at 0, as Sim et al. do.
        expressibility_with_inputs: Of random inputs and weights.
        entanglement: Of random weights, the inputs held at 0.
        entanglement_with_inputs: Of random inputs and weights.
        spectrum: Of each input; None for one over which the outputs have no period.
        dimension: Effective dimension.
        sensitivity: To the inputs.
    """

    gradients: GradientVariance | None
    trend: GradientTrend | None
    expressibility: Expressibility | None
    expressibility_with_inputs: Expressibility
    entanglement: Entanglement | None
    entanglement_with_inputs: Entanglement
    spectrum: tuple[InputSpectrum | None, ...]
    dimension: EffectiveDimension | None
    sensitivity: InputSensitivity


Step = tuple[str, Callable[[], Any], bool]
"""Field of the overview, what measures it, and whether it needs weights."""


def look_deep(
    ansatz: Ansatz,
    family: Family | None = None,
    *,
    seed: int = 0,
    progress: Callable[[int, int, str], None] | None = None,
) -> Overview:
    """Measure everything, with fewer samples the larger the circuit is.

    Args:
        ansatz: The circuit, at most 12 qubits.
        family: The same circuit at other widths, for the trend; it may refuse a width by ConfigError.
        seed: Where all that is drawn comes from.
        progress: Called with (done, total, what comes next) before each step.

    Raises:
        ConfigError: If the circuit is too wide.
    """
    if ansatz.num_qubits > MOST_QUBITS:
        raise ConfigError(
            f"A deep look simulates thousands of states, of at most {MOST_QUBITS} qubits",
            got=f"{ansatz.num_qubits} qubits",
            fix="Look at the same circuit with fewer, for example --qubits 8",
        )
    steps, found = list(_steps(ansatz, family, seed)), dict[str, Any]()
    for done, (name, measure, needs_weights) in enumerate(steps):
        if progress is not None:
            progress(done, len(steps), name.replace("_", " "))
        found[name] = measure() if ansatz.num_weights or not needs_weights else None
    return Overview(**found)


def _steps(ansatz: Ansatz, family: Family | None, seed: int) -> Iterator[Step]:
    def drawn(samples: int, passes: int = 1) -> Sampling:
        affordable = _affordable(ansatz, samples, passes)
        return Sampling(affordable, seed=seed).for_inputs_of(ansatz)

    outputs, pairs = 3 * ansatz.num_outputs, drawn(5000, passes=2)
    rows = drawn(100, _FEWEST * outputs).samples
    yield "gradients", lambda: gradient_variance(ansatz, drawn(2000, outputs)), True
    yield "trend", lambda: _trend(family, seed), True
    yield "expressibility", lambda: measure_expressibility(ansatz, pairs.with_inputs_at_zero()), True
    yield "expressibility_with_inputs", lambda: measure_expressibility(ansatz, pairs), False
    yield "entanglement", lambda: measure_entanglement(ansatz, pairs.with_inputs_at_zero()), True
    yield "entanglement_with_inputs", lambda: measure_entanglement(ansatz, pairs), False
    yield "spectrum", lambda: spectra(ansatz, drawn(200, 8 * ansatz.num_inputs)), False
    weights = drawn(100, rows * outputs)
    yield "dimension", lambda: effective_dimension(ansatz, weights, num_inputs=rows), True
    yield "sensitivity", lambda: input_sensitivity(ansatz, drawn(2000, outputs)), False


def _affordable(ansatz: Ansatz, samples: int, passes: int) -> int:
    cost = len(ansatz.circuit.data) * passes << ansatz.num_qubits
    return max(_FEWEST, min(samples, _WORK // cost))


def _trend(family: Family | None, seed: int) -> GradientTrend | None:
    if family is None:
        return None
    members: dict[int, Ansatz] = {}
    for width in TREND_QUBITS:
        try:
            members[width] = family(width)
        except ConfigError:  # a circuit from a file, or observables, of one width
            continue
    if len(members) < 3:
        return None
    widest = members[max(members)]
    sampling = Sampling(_affordable(widest, 500, 3 * widest.num_outputs), seed=seed)
    return gradient_trend(members.__getitem__, list(members), sampling.for_inputs_of(widest))
