"""What is ablated, and what stands beside it: the same recipe with another middle, each an ordinary config.

The classical baseline model is a tanh MLP in the circuit's place. One width alone would be a rival of straw:
at a circuit's number of weights it may be far too narrow, and the hybrid's own ansatz was chosen among many.
So it is trained in several widths, each with the seeds and the epochs of the hybrid, and two of them are
judged: the one with about as many parameters as the circuit, and the one that errs least on the validation
split.
"""

from __future__ import annotations

from dataclasses import dataclass

from qhq.ansatz.program import Ansatz, without_entanglers
from qhq.errors import ConfigError
from qhq.experiment.config import ExperimentConfig, QuantumSpec
from qhq.models.hybrid import matched_width
from qhq.models.spec import MOST_HIDDEN, MiddleSpec

HYBRID, MLP, TUNED_MLP, FROZEN = "hybrid", "mlp", "mlp_tuned", "frozen"
UNENTANGLED, NO_MIDDLE = "unentangled", "no_middle"

WIDTHS = {MLP: 1, "mlp_x2": 2, "mlp_x4": 4}
"""Widths that the MLP is trained in, as multiples of the one that matches the circuit."""


@dataclass(frozen=True)
class Meaning:
    """A variant for people: its name in a sentence, and what it is."""

    title: str
    text: str


MEANINGS = {
    HYBRID: Meaning("the hybrid", "hybrid, as configured"),
    MLP: Meaning("the MLP", "MLP in the circuit's place, about as many parameters"),
    TUNED_MLP: Meaning("the MLP of the best width", "MLP in the circuit's place, best width on validation"),
    FROZEN: Meaning("the frozen circuit", "circuit frozen at random weights"),
    UNENTANGLED: Meaning("the circuit without entanglers", "circuit without entanglers"),
    NO_MIDDLE: Meaning("no middle", "no middle at all"),
}
"""Variants in the order of the table."""


@dataclass(frozen=True)
class Variants:
    """What is trained beside the hybrid.

    Attributes:
        configs: By name; an MLP for each of `WIDTHS`, of which the table shows two.
        left_out: Why others are not among them.
        widths: Hidden units of each MLP.
    """

    configs: dict[str, ExperimentConfig]
    left_out: dict[str, str]
    widths: dict[str, int]


def build_variants(config: ExperimentConfig, ansatz: Ansatz) -> Variants:
    """Write the config of each variant; all else than the middle stays as it is, seed, data and training too.

    Args:
        config: The hybrid's.
        ansatz: Its circuit, for the sizes.
    """
    quantum = quantum_of(config)
    left_out = {FROZEN: _frozen_already(quantum, ansatz), UNENTANGLED: _uncoupled_already(ansatz)}
    middles = {name: mlp_spec(ansatz, factor) for name, factor in WIDTHS.items()}
    configs = {
        HYBRID: config,
        **{name: _classical(config, ansatz, middle) for name, middle in middles.items()},
        FROZEN: _with_quantum(config, quantum.model_copy(update={"frozen": True})),
        UNENTANGLED: _with_quantum(config, quantum.model_copy(update={"entangled": False})),
        NO_MIDDLE: _classical(config, ansatz, None),
    }
    return Variants(
        {name: _renamed(each, name) for name, each in configs.items() if not left_out.get(name)},
        {name: reason for name, reason in left_out.items() if reason},
        {name: middle.hidden for name, middle in middles.items()},
    )


def mlp_spec(ansatz: Ansatz, factor: int = 1) -> MiddleSpec:
    """The MLP with a circuit's inputs, outputs and angles, ``factor`` times as wide as the matched one."""
    matched = matched_width(ansatz.num_inputs, ansatz.num_outputs, ansatz.num_weights)
    hidden = min(factor * matched, MOST_HIDDEN)
    return MiddleSpec(hidden=hidden, outputs=ansatz.num_outputs, angle_scaling=ansatz.angle_scaling)


def quantum_of(config: ExperimentConfig) -> QuantumSpec:
    """The quantum section of a config that must have one.

    Raises:
        ConfigError: If it has none.
    """
    if config.quantum is None:
        raise ConfigError(
            "An ablation needs a config with a quantum layer",
            got="quantum: null",
            fix="Name an ansatz in quantum.ansatz",
        )
    return config.quantum


def _frozen_already(quantum: QuantumSpec, ansatz: Ansatz) -> str:
    if not ansatz.num_weights:
        return "the circuit has no weights"
    return "the hybrid's circuit is frozen already" if quantum.frozen else ""


def _uncoupled_already(ansatz: Ansatz) -> str:
    try:
        product = without_entanglers(ansatz)
    except ConfigError as error:
        return error.got
    same = len(product.circuit.data) == len(ansatz.circuit.data)
    return "no gate of the circuit couples qubits" if same else ""


def _classical(config: ExperimentConfig, ansatz: Ansatz, middle: MiddleSpec | None) -> ExperimentConfig:
    """Put ``middle`` in the circuit's place; without one, the latent features go on to the head."""
    model = config.model.model_copy(update={"latent": ansatz.num_inputs, "middle": middle})
    return config.model_copy(update={"quantum": None, "model": model})


def _with_quantum(config: ExperimentConfig, quantum: QuantumSpec) -> ExperimentConfig:
    return config.model_copy(update={"quantum": quantum})


def _renamed(config: ExperimentConfig, variant: str) -> ExperimentConfig:
    """Name a variant's runs after it, within the 60 letters of a name."""
    if variant == HYBRID:
        return config
    return config.model_copy(update={"name": f"{config.name[:50]}-{variant}"})
