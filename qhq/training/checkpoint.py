"""Weights on disk: safetensors for a finished model, a state that training resumes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from qhq.errors import ConfigError
from qhq.training.loop import TrainingState


def save_weights(model: nn.Module, path: Path, metadata: Mapping[str, str]) -> None:
    """Write every tensor of the model once, with ``metadata`` that `load_weights` checks."""
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    _replace(path, lambda temporary: save_file(tensors, temporary, dict(metadata)))


def load_weights(model: nn.Module, path: Path, metadata: Mapping[str, str]) -> None:
    """Read weights into a model of the same design.

    Raises:
        ConfigError: If the file is missing or damaged, was saved with other ``metadata`` (another
            circuit, say), or holds other tensors than the model.
    """
    try:
        with safe_open(path, framework="pt") as file:
            saved = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise _damaged(path, error) from error
    for key, wanted in metadata.items():
        if saved.get(key) != wanted:
            raise ConfigError(
                f"The checkpoint must belong to the run's {key}",
                got=f"{path.name} of {key} {saved.get(key)}, wanted {wanted}",
                fix="Use the model.safetensors that this run wrote, or train again",
            )
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise ConfigError(
            "The checkpoint must hold exactly the tensors of the run's model",
            got=f"{path.name}: {str(error).splitlines()[-1].strip()}",
            fix="Use the model.safetensors and config.yaml that one run wrote",
        ) from error


def save_state(state: TrainingState, path: Path) -> None:
    """Write what `load_state` resumes from; a kill at any moment leaves the old file or the new one."""
    _replace(path, lambda temporary: torch.save(state.to_dict(), temporary))


def load_state(path: Path) -> TrainingState:
    """Read a training state; only tensors and plain values are unpickled.

    Raises:
        ConfigError: If the file is missing or damaged.
    """
    try:
        return TrainingState.from_dict(torch.load(path, weights_only=True))
    except Exception as error:  # on rubbish, torch raises whatever its unpickler stumbles over
        raise _damaged(path, error) from error


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    write(temporary)
    temporary.replace(path)


def _damaged(path: Path, error: Exception) -> ConfigError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return ConfigError(
        "The checkpoint must be a readable file that qhq wrote",
        got=f"{path}: {reason[:120]}",
        fix="Restore the file, or train again",
    )
