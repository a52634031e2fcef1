"""What an ablation is of: a config, or that of a run."""

from __future__ import annotations

from collections.abc import Sequence

from qhq.ansatz.stored import load_built, program_digest
from qhq.errors import ConfigError
from qhq.experiment.config import ExperimentConfig, load_config
from qhq.experiment.opening import build_circuit
from qhq.tracking.run_folder import RunFolder, find_run, is_run


def load_subject(reference: str | None, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Read a config by its path, or that of a run by its folder or name; None is the quickstart.

    Raises:
        ConfigError: If there is none, or ``circuits/`` has another circuit now than the run was made with.
    """
    if reference is None or not is_run(reference):
        return load_config(reference, overrides)
    folder = find_run(reference)
    if not overrides:
        _check_circuit(folder)
    return load_config(str(folder.config), overrides)


def _check_circuit(folder: RunFolder) -> None:
    quantum = load_config(str(folder.config)).quantum
    if quantum is None:
        return
    if program_digest(build_circuit(quantum)) != program_digest(load_built(folder.circuit)):
        raise ConfigError(
            "A run must be ablated with the circuit it was made with",
            got=f"another one in circuits/ now than in {folder.name}",
            fix="Restore the file of the ansatz, or train again and name the new run",
        )
