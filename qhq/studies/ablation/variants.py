"""What stands beside the hybrid: the same recipe with another middle, each an ordinary config."""

from __future__ import annotations

from dataclasses import dataclass

from qhq.ansatz.product import without_entanglers
from qhq.ansatz.program import Ansatz
from qhq.errors import ConfigError
from qhq.experiment.config import ExperimentConfig, QuantumSpec
from qhq.models.mlp import matched_width
from qhq.models.spec import MiddleSpec

HYBRID, TWIN, FROZEN = "hybrid", "twin", "frozen"
UNENTANGLED, NO_MIDDLE = "unentangled", "no_middle"

MEANINGS = {
    HYBRID: "hybrid, as configured",
    TWIN: "classical twin: a tanh MLP in the circuit's place",
    FROZEN: "circuit frozen at random weights",
    UNENTANGLED: "circuit without entanglers",
    NO_MIDDLE: "no middle at all",
}
"""Variants in the order of the table."""


@dataclass(frozen=True)
class Variants:
    """Configs by the name of their variant, and why others are left out."""

    configs: dict[str, ExperimentConfig]
    left_out: dict[str, str]


def build_variants(config: ExperimentConfig, ansatz: Ansatz) -> Variants:
    """Write the config of each variant; all else than the middle stays as it is, seed, data and training too.

    Args:
        config: The hybrid's.
        ansatz: Its circuit, for the sizes.
    """
    quantum = quantum_of(config)
    left_out = {FROZEN: _frozen_already(quantum, ansatz), UNENTANGLED: _uncoupled_already(ansatz)}
    configs = {
        HYBRID: config,
        TWIN: _classical(config, ansatz, twin_spec(ansatz)),
        FROZEN: _with_quantum(config, quantum.model_copy(update={"frozen": True})),
        UNENTANGLED: _with_quantum(config, quantum.model_copy(update={"entangled": False})),
        NO_MIDDLE: _classical(config, ansatz, None),
    }
    return Variants(
        {name: _renamed(each, name) for name, each in configs.items() if not left_out.get(name)},
        {name: reason for name, reason in left_out.items() if reason},
    )


def twin_spec(ansatz: Ansatz) -> MiddleSpec:
    """The MLP with a circuit's inputs, outputs and angles, and about as many parameters as it has weights."""
    hidden = matched_width(ansatz.num_inputs, ansatz.num_outputs, ansatz.num_weights)
    return MiddleSpec(hidden=hidden, outputs=ansatz.num_outputs, angle_scaling=ansatz.angle_scaling)


def quantum_of(config: ExperimentConfig) -> QuantumSpec:
    """The quantum part of a config that must have one.

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
