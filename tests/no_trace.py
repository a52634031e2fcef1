"""All that a drawing could leave behind: the law is that it leaves nothing."""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib import pyplot as plt
from torch import nn

_HOOKS = (
    "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks",
    "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks",
)  # fmt: skip


def _bytes(tensor: torch.Tensor | None) -> Any:
    if tensor is None or isinstance(tensor, nn.parameter.UninitializedTensorMixin):
        return repr(type(tensor))
    return tensor.detach().numpy().tobytes()


def _generator(value: Any) -> Any:
    """State of a random generator; None of anything else."""
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state)
    if isinstance(value, torch.Generator):
        return value.get_state().tolist()
    return value.getstate() if isinstance(value, random.Random) else None


def of_process() -> dict[str, Any]:
    """State of the process that a drawing shares with everything else."""
    return {
        "random": random.getstate(),
        "numpy": np.random.get_state(legacy=False),  # noqa: NPY002
        "torch": torch.random.get_rng_state().tolist(),
        "threads": torch.get_num_threads(),
        "gradients": torch.is_grad_enabled(),
        "dtype": torch.get_default_dtype(),
        "errors": np.geterr(),
        # Read without asking for a backend, which would choose one.
        "style": {key: dict.__getitem__(mpl.rcParams, key) for key in mpl.rcParams if key != "backend"},
        "backend": mpl.get_backend(),
        "figures": [(number, len(plt.figure(number).axes)) for number in plt.get_fignums()],
        "warnings": [*warnings.filters],
        "shown": warnings.showwarning,
        "environment": dict(os.environ),
        "folder": Path.cwd(),
    }


def of_model(model: nn.Module) -> dict[str, Any]:
    """State of a module: tensors, gradients, hooks, modes, generators, and which modules it is made of."""
    named = list(model.named_modules(remove_duplicate=False))
    return {
        "modules": [(name, id(module), module.training) for name, module in named],
        "hooks": [[list(getattr(module, kind).items()) for kind in _HOOKS] for _, module in named],
        "tensors": {
            name: (id(tensor), _bytes(tensor), tensor.requires_grad, _bytes(tensor.grad))
            for name, tensor in [*model.named_parameters(), *model.named_buffers()]
        },
        "generators": [
            _generator(value) for _, module in named for value in vars(module).values() if _generator(value)
        ],
        "attributes": [sorted(vars(module)) for _, module in named],
    }


def of_folder(folder: Path) -> dict[Path, Any]:
    """Every file of a folder, with its content and the time it was last written."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@contextmanager
def no_trace(*models: nn.Module, folder: Path | None = None) -> Iterator[None]:
    """Hold the block to the law of drawings: nothing runs, and all is as it was before.

    Args:
        models: What is drawn, or stands beside it.
        folder: Whose files must stay; None looks at none.
    """
    with warnings.catch_warnings():
        plt.close("all")
        own = plt.figure()
        own.add_subplot()

        def state() -> dict[str, Any]:
            files = {} if folder is None else of_folder(folder)
            return {**of_process(), "models": [of_model(each) for each in models], "files": files}

        def refuse(*_: Any, **__: Any) -> None:
            raise AssertionError("a drawing ran, copied or pickled a model")

        before = state()
        patched = {
            name: nn.Module.__dict__.get(name) for name in ("__call__", "__deepcopy__", "__reduce_ex__")
        }
        for name in patched:
            setattr(nn.Module, name, refuse)
        try:
            yield
        finally:
            for name, method in patched.items():
                if method is None:
                    delattr(nn.Module, name)
                else:
                    setattr(nn.Module, name, method)
        after = state()
        assert plt.get_fignums() == [own.number]
        assert plt.gcf() is own
        plt.close(own)
        for name, value in before.items():
            np.testing.assert_equal(after[name], value, err_msg=f"a drawing changed {name}")
