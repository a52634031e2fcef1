"""Weights on disk: safetensors for a finished model, a state that training resumes from."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from qhq.errors import ConfigError
from qhq.files import MOST_TABLE_BYTES, check_regular, replacing
from qhq.training.loop import TrainingState

# The one key of a weights file's metadata: several would be written in any order, and the bytes differ.
_IDENTITY = "identity"


def save_weights(model: nn.Module, path: Path, identity: Mapping[str, str]) -> None:
    """Write every tensor of the model once, with the ``identity`` that `load_weights` checks."""
    # safetensors refuses a view with strides, such as a transposed weight.
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    _replace(
        path,
        lambda temporary: save_file(
            # Of safetensors' header every value is a text.
            tensors,
            temporary,
            {_IDENTITY: json.dumps(dict(identity), sort_keys=True)},
        ),
    )


def load_weights(model: nn.Module, path: Path, identity: Mapping[str, str]) -> None:
    """Read weights into a model of the same design.

    Raises:
        ConfigError: If the file is missing or damaged, is that of another design (another circuit,
            say), or holds other tensors than the model.
    """
    saved, tensors = _read(path)
    # Before the tensors: weights of another circuit may well fit in shape, and would train on without a word.
    _check_identity(saved, identity, path)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise ConfigError(
            "The checkpoint must hold exactly the tensors of the run's model",
            got=f"{path.name}: {str(error).splitlines()[-1].strip()}",
            fix="Use the model.safetensors and config.yaml that one run wrote",
        ) from error


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a checkpoint by its name, without a model to hold it.

    Raises:
        ConfigError: If the file is missing or damaged.
    """
    return _read(path)[1]


def read_shapes(path: Path) -> dict[str, int]:
    """How many numbers each tensor of a checkpoint holds, by its name; the numbers are not read.

    Raises:
        ConfigError: If the file is missing or damaged.
    """
    try:
        check_regular(path, most=MOST_TABLE_BYTES, what="checkpoint")
        with safe_open(path, framework="pt") as file:
            return {name: math.prod(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        raise _damaged(path, error) from error


def _read(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """Identity and tensors."""
    try:
        check_regular(path, most=MOST_TABLE_BYTES, what="checkpoint")
        with safe_open(path, framework="pt") as file:
            saved = json.loads((file.metadata() or {}).get(_IDENTITY, "{}"))
            if not isinstance(saved, dict):
                raise ValueError(f"{_IDENTITY} must be an object")
            # safe_open gives no mapping: it has keys(), and cannot be iterated.
            return saved, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        raise _damaged(path, error) from error


def save_state(state: TrainingState, path: Path, identity: Mapping[str, str]) -> None:
    """Write what `load_state` resumes from; a kill at any moment leaves the old file or the new one."""
    content = {"identity": dict(identity), "state": state.to_dict()}
    _replace(path, lambda temporary: torch.save(content, temporary))


def load_state(path: Path, identity: Mapping[str, str]) -> TrainingState:
    """Read a training state; only tensors and plain values are unpickled.

    Raises:
        ConfigError: If the file is missing or damaged, or is that of another design.
    """
    try:
        check_regular(path, most=MOST_TABLE_BYTES, what="checkpoint")
        content = torch.load(path, weights_only=True)  # else a pickle, which runs whatever it says
        saved, state = dict(content["identity"]), TrainingState.from_dict(content["state"])
    except Exception as error:  # on rubbish, torch raises whatever its unpickler stumbles over
        raise _damaged(path, error) from error
    _check_identity(saved, identity, path)
    return state


def _check_identity(saved: Mapping[str, str], wanted: Mapping[str, str], path: Path) -> None:
    for key, value in wanted.items():
        if saved.get(key) != value:
            raise ConfigError(
                f"The checkpoint must belong to the run's {key}",
                got=f"{path.name} of {key} {saved.get(key)}, wanted {value}",
                fix=f"Use the {path.name} that this run wrote, or train again",
            )


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    try:
        with replacing(path) as temporary:
            write(temporary)
    except (OSError, RuntimeError, SafetensorError) as error:  # torch's own writer raises RuntimeError
        raise ConfigError(
            "The checkpoint must be writable",
            got=f"{path}: {str(error).splitlines()[0]}",
            fix="Free some space, or make the run's folder writable; then go on with --resume",
        ) from error


def _damaged(path: Path, error: Exception) -> ConfigError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return ConfigError(
        "The checkpoint must be a readable file that qhq wrote",
        got=f"{path}: {reason[:120]}",
        fix="Restore the file, or train again",
    )
