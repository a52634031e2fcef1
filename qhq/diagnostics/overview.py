"""All diagnostics of one circuit in the order in which they are read, and what each figure says."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from qhq.ansatz.program import Ansatz
from qhq.diagnostics.inputs import InputSensitivity, InputSpectrum, input_sensitivity, spectra
from qhq.diagnostics.sampling import Estimate, Sampling
from qhq.diagnostics.states import Entanglement, Expressibility, measure_entanglement, measure_expressibility
from qhq.diagnostics.weights import (
    EffectiveDimension,
    GradientTrend,
    GradientVariance,
    effective_dimension,
    gradient_trend,
    gradient_variance,
)
from qhq.errors import ConfigError

# Qubits -> the same circuit at that width.
_Family = Callable[[int], Ansatz]

_MOST_QUBITS = 12
_TREND_QUBITS = range(2, 9)
# Amplitudes times gates that one diagnostic may cost: about a second.
_WORK = 1 << 30
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


# Field of the overview, what measures it, and whether it needs weights.
_Step = tuple[str, Callable[[], Any], bool]


def look_deep(
    ansatz: Ansatz,
    family: _Family | None = None,
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
    if ansatz.num_qubits > _MOST_QUBITS:
        raise ConfigError(
            f"A deep look simulates thousands of states, of at most {_MOST_QUBITS} qubits",
            got=f"{ansatz.num_qubits} qubits",
            fix="Look at the same circuit with fewer, for example --qubits 8",
        )
    if ansatz.num_resets:
        raise ConfigError(
            "A deep look measures pure states, and a circuit that resets ends in a mixture",
            got=f"{ansatz.num_resets} resets",
            fix="Look at the circuit without its resets; 'qhq doctor' takes any",
        )
    # Steps are functions still to be called, so that progress can name one before its seconds pass.
    steps, found = list(_steps(ansatz, family, seed)), dict[str, Any]()
    for done, (name, measure, needs_weights) in enumerate(steps):
        if progress is not None:
            progress(done, len(steps), name.replace("_", " "))
        found[name] = measure() if ansatz.num_weights or not needs_weights else None
    return Overview(**found)


def _steps(ansatz: Ansatz, family: _Family | None, seed: int) -> Iterator[_Step]:
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
    # The dimension takes slopes at every pair of weights and row, so that both counts multiply.
    weights = drawn(100, rows * outputs)
    yield "dimension", lambda: effective_dimension(ansatz, weights, num_inputs=rows), True
    yield "sensitivity", lambda: input_sensitivity(ansatz, drawn(2000, outputs)), False


def _affordable(ansatz: Ansatz, samples: int, passes: int) -> int:
    # A gate touches all 2^Q amplitudes, in each pass.
    cost = len(ansatz.circuit.data) * passes << ansatz.num_qubits
    return max(_FEWEST, min(samples, _WORK // cost))


def _trend(family: _Family | None, seed: int) -> GradientTrend | None:
    if family is None:
        return None
    members: dict[int, Ansatz] = {}
    for width in _TREND_QUBITS:
        try:
            members[width] = family(width)
        except ConfigError:  # a circuit from a file, or observables, of one width
            continue
    # A line through two points fits them always, and has no interval.
    if len(members) < 3:
        return None
    # As many samples at every width as the widest affords: points of one line should be known equally well.
    widest = members[max(members)]
    sampling = Sampling(_affordable(widest, 500, 3 * widest.num_outputs), seed=seed)
    return gradient_trend(members.__getitem__, list(members), sampling.for_inputs_of(widest))


_Verdict = Literal["good", "fair", "poor"]
# At 8 qubits 97 % of Haar's fidelities fall into the first of 75 bins, and at 7 82 %.
_COARSE = 0.9
# Gradient variance of which a typical slope drowns in the noise of a thousand shots.
_FLAT = 1e-3


@dataclass(frozen=True)
class FigureReading:
    """One line for a person.

    Attributes:
        name: What was measured.
        figure: The figure, with its interval where it was sampled.
        beside: What to compare it with.
        verdict: Whether it is good.
        says: What it means for this circuit, and what could be done.
    """

    name: str
    figure: str
    beside: str
    verdict: _Verdict
    says: str


def read_overview(overview: Overview) -> list[FigureReading]:
    """Read an overview, figure by figure."""
    return list(_readings(overview))


def _readings(overview: Overview) -> Iterator[FigureReading]:
    if overview.gradients is not None:
        yield _read_gradients(overview.gradients)
    if overview.trend is not None:
        yield _read_trend(overview.trend)
    for found, over in (
        (overview.expressibility, "of weights"),
        (overview.expressibility_with_inputs, "of both"),
    ):
        if found is not None:
            yield _read_expressibility(found, over)
    for measured, over in (
        (overview.entanglement, "of weights"),
        (overview.entanglement_with_inputs, "of both"),
    ):
        if measured is not None and measured.haar > 0:  # one qubit has nothing to be entangled with
            yield _read_entanglement(measured, over)
    yield _read_spectrum(overview.spectrum)
    if overview.dimension is not None:
        yield _read_dimension(overview.dimension)
    yield _read_sensitivity(overview.sensitivity)
    yield _read_reach(overview.sensitivity)


def _read_gradients(found: GradientVariance) -> FigureReading:
    """Idle weights first; then the slopes beside those of a random circuit."""
    ratio, typical = found.mean.value / found.two_design, math.sqrt(found.mean.value)
    # Two ways to be flat: no better than random at this width, or too small to be seen with shots at any.
    flat = ratio < 1.5 or found.mean.value < _FLAT
    if len(found.idle_weights) == len(found.per_weight):
        says = "no weight moves any output: there is nothing to train"
    elif found.idle_weights:
        says = f"weights {_listed(found.idle_weights)} move no output: measure X or Y too, or take them out"
    elif flat:
        says = (
            f"a typical slope is {typical:.2g}, {math.sqrt(ratio):.1f} times that of a random circuit: flat"
        )
    else:
        says = f"a typical slope is {typical:.2g}, {math.sqrt(ratio):.1f} times that of a random circuit"
    verdict: _Verdict = "poor" if found.idle_weights else "fair" if flat else "good"
    beside = f"{found.two_design:.3g} at random (2-design)"
    return FigureReading("gradient variance", _shown(found.mean), beside, verdict, says)


def _read_trend(found: GradientTrend) -> FigureReading:
    """-1 is a plateau, 0 is none."""
    slope = found.slope.value
    widths = f"{found.qubits[0]} to {found.qubits[-1]} qubits"
    verdict, says = _rank(
        -slope,
        (0.35, "good", "falls slowly with the width: no plateau in sight"),
        (0.75, "fair", "falls with the width: watch it beyond ten qubits"),
        (float("inf"), "poor", "halves with about each qubit: a barren plateau; keep it narrow or shallow"),
    )
    return FigureReading(
        "its trend", f"{_shown(found.slope)} log2 a qubit", f"-1 at random, {widths}", verdict, says
    )


def _read_expressibility(found: Expressibility, over: str) -> FigureReading:
    """Neither little nor all is free: what fills the space has flat gradients (arXiv:2101.02138)."""
    if found.haar[0] > _COARSE:
        says = f"says nothing at this width: {found.haar[0]:.0%} of Haar pairs fall in the first bin"
        return FigureReading(f"expressibility (KL) {over}", _shown(found.divergence), "-", "fair", says)
    # Beyond what as many Haar pairs show by chance: the estimate of a divergence is never 0, however good
    # the circuit.
    excess = found.divergence.value - found.floor.high
    verdict, says = _rank(
        excess,
        (0.0, "good", "indistinguishable from Haar-random states"),
        (0.1, "good", "fills nearly all of the state space"),
        (0.5, "fair", "fills a part of the state space"),
        (5.0, "fair", "fills little of the state space: rotations about another axis or depth fill more"),
        (float("inf"), "poor", "hardly more than one state: the drawn angles have next to no effect"),
    )
    beside = f"{found.floor.value:.2g} Haar, as many pairs"
    return FigureReading(f"expressibility (KL) {over}", _shown(found.divergence), beside, verdict, says)


def _read_entanglement(found: Entanglement, over: str) -> FigureReading:
    """0 is a product of single qubits."""
    # Over random states of as many qubits, since even these are more entangled the wider they are.
    share = found.mean.value / found.haar
    verdict, says = _rank(
        -share,
        # GHZ states have Q = 1, which is 1.2 times the mean of random states of four qubits.
        (-1.2, "fair", "more than random states: close to one family of states"),
        (-0.5, "good", "entangles well"),
        (-1e-6, "fair", "entangles weakly"),
        (float("inf"), "poor", "entangles nothing: each qubit works alone, as a classical sine would"),
    )
    name = f"entanglement (Q) {over}"
    return FigureReading(name, _shown(found.mean), f"{found.haar:.3g} Haar", verdict, says)


def _read_spectrum(found: Sequence[InputSpectrum | None]) -> FigureReading:
    """The poorest input decides."""
    known = [each for each in found if each is not None]
    name = "frequencies in an input"
    if not known:
        says = "inputs enter as products: no period, the frequencies depend on the other inputs"
        return FigureReading(name, "-", "-", "fair", says)
    # The poorest: a model is blind in the one input that carries no frequency, whatever the others do.
    reach, used = min(each.highest for each in known), min(each.highest_used for each in known)
    verdict: _Verdict = "poor" if used == 0 else "good" if used == reach > 1 else "fair"
    if used == 0:
        says = "some input changes no output at all"
    elif used < reach:
        says = "the encoding offers more than the circuit uses: add depth after it"
    elif reach <= 1:
        says = "one sine wave in each input; encoding.repeat: true gives one more a layer"
    else:
        says = f"a Fourier series up to frequency {reach:g} in each input, all of it used"
    return FigureReading(name, f"used up to {used:g}", f"{reach:g} reachable", verdict, says)


def _read_dimension(found: EffectiveDimension) -> FigureReading:
    """Weights that the data could tell apart."""
    idle = found.weights - found.rank
    spare = f"; {idle} directions change no output" if idle else ""
    verdict, says = _rank(
        -found.share.value,
        (-0.8, "good", "nearly each weight counts"),
        (-0.5, "fair", "part of the weights do the same"),
        (float("inf"), "poor", "most weights do the same: fewer would do"),
    )
    beside = f"{found.weights} weights, {found.data:,} rows"
    return FigureReading("effective dimension", _shown(found.dimension), beside, verdict, says + spare)


def _read_sensitivity(found: InputSensitivity) -> FigureReading:
    """Slopes of the outputs by the inputs."""
    low, _, high = found.quantiles
    verdict, says = _rank(
        -found.norm.value,
        (-0.1, "good", "the outputs move with the inputs"),
        (-0.01, "fair", "the outputs move little: the encoder gets a weak gradient"),
        (float("inf"), "poor", "the outputs hardly move with the inputs: the encoder gets no gradient"),
    )
    beside = f"{low:.2g} to {high:.2g} in 90 % of samples"
    return FigureReading("input sensitivity |dE/dx|", _shown(found.norm), beside, verdict, says)


def _read_reach(found: InputSensitivity) -> FigureReading:
    """Which output sees which input."""
    pairs, blind, outside = found.pairs, len(found.unseen), len(found.outside_cone)
    verdict: _Verdict = "good" if not blind else "fair"
    if found.ignored_inputs or found.constant_outputs:
        verdict = "poor"
    if found.ignored_inputs:
        says = f"inputs {_listed(found.ignored_inputs)} reach no output"
    elif found.constant_outputs:
        says = f"outputs {_listed(found.constant_outputs)} see no input: they are constants"
    elif blind:
        says = f"{outside} outside the light cone, {blind - outside} cancelled; depth mixes more"
    else:
        says = "each output sees each input"
    return FigureReading(
        "pairs of output and input", f"{pairs - blind} seen", f"{pairs} in all", verdict, says
    )


def _rank(value: float, *steps: tuple[float, _Verdict, str]) -> tuple[_Verdict, str]:
    """Verdict and words of the first step that ``value`` does not exceed."""
    return next((verdict, says) for most, verdict, says in steps if value <= most)


def _shown(estimate: Estimate) -> str:
    if max(abs(estimate.low), abs(estimate.high)) < 1e-12:  # rounding
        return "0"
    return f"{estimate.value:.3g} [{estimate.low:.3g}, {estimate.high:.3g}]"


def _listed(places: Sequence[int]) -> str:
    """Ascending places, runs of three and more as their ends.

    >>> _listed((1, 4, 5, 6, 8, 9))
    '1, 4-6, 8, 9'
    """
    parts: list[str] = []
    for _, run in itertools.groupby(enumerate(places), key=lambda pair: pair[1] - pair[0]):
        members = [str(place) for _, place in run]
        parts += [f"{members[0]}-{members[-1]}"] if len(members) > 2 else members
    return ", ".join(parts)
