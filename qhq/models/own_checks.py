"""What a module of one's own must be to be trained and relied on: checked on a few random windows.

Every check is one that a training would fail by hours later, or not fail by at all: forecasts that depend on
their company, a tensor stored twice, a list of modules that torch does not know of.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from qiskit_machine_learning.connectors import TorchConnector
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from qhq.backends.executor import FloatArray
from qhq.errors import BackendError, ConfigError
from qhq.limits import require_memory
from qhq.models.hybrid import Shape
from qhq.models.own_forecaster import CircuitStandIn, Found, Recorder, Stage, opened_on
from qhq.models.source import ModuleSource, at_work, guarded, wrong
from qhq.quantum.layer import QuantumLayer
from qhq.seeding import child_generator

# Windows that a module is tried on before it is trained.
_PROBED = 4


def check_tensors(source: ModuleSource, module: nn.Module) -> None:
    """Refuse tensors that could not be trained or stored.

    Raises:
        ConfigError: If some lie on another device, share memory, are not initialised, or are too many.
    """
    named = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    lazy = [name for name, each in named.items() if is_lazy(each)]
    if lazy:
        raise wrong(
            source, "know the size of its parameters", f"'{lazy[0]}' of a lazy module",
            "Give the sizes in build: shape.features, shape.window, circuit.num_inputs, circuit.num_outputs",
        )  # fmt: skip
    elsewhere = {name: str(each.device) for name, each in named.items() if each.device.type != "cpu"}
    if elsewhere:
        name, device = next(iter(elsewhere.items()))
        raise wrong(
            source,
            "keep its parameters and buffers on the CPU, where the engines of qhq are",
            f"'{name}' on {device}",
            "Leave out .to(device) and device=",
        )
    weights = sum(each.numel() for each in module.parameters())
    try:
        # In float32 the weight, its gradient and the two moments of Adam are 16 bytes.
        require_memory(16 * weights, f"A model of {weights:,} weights", fix="Make its layers smaller")
    except BackendError as error:
        raise ConfigError(error.must, got=error.got, fix=error.fix) from error
    places: dict[int, str] = {}
    for name, each in module.state_dict(keep_vars=True).items():
        if not each.numel():
            continue
        other = places.setdefault(each.untyped_storage().data_ptr(), name)
        if other != name:
            raise wrong(
                source,
                "have each tensor once, or its checkpoint could not be read back",
                f"'{other}' and '{name}' in the same memory",
                "Register the tensor in one module, and use it from there",
            )


def try_out(
    source: ModuleSource, module: nn.Module, shape: Shape, layers: Sequence[str], dtype: torch.dtype
) -> Found:
    """Run a module on random windows, forward and back, and see what it is.

    Raises:
        ConfigError: If it cannot be trained or its forecasts not be relied on.
    """
    # The same windows each time: a module that passed once passes again.
    draw = child_generator(0, "own module")
    sizes = [(_PROBED, shape.window, shape.features)] + [(_PROBED, shape.static)] * bool(shape.static)
    given = tuple(torch.as_tensor(draw.normal(size=size), dtype=dtype) for size in sizes)
    saved = {name: each.detach().clone() for name, each in module.state_dict().items()}
    modes = {each: each.training for each in module.modules()}
    try:
        module.eval()
        with _staged(module) as stages:
            forecast = _checked_forecast(source, module, given, shape)
        _check_repeats(source, module, given, forecast)
        _check_training(source, module, given, shape)
        module.eval()
        inside = [module.get_submodule(name) for name in layers]
        before = _names_before(source, module, inside, given) if inside else frozenset[str]()
        quantum = [each for each in inside if isinstance(each, QuantumLayer)]
        rows = _rows_of(source, module, quantum, given) if quantum else ()
        return Found(rows, before, tuple(stages))
    finally:
        # Such as the statistics of a batch norm: what was tried out has left no trace.
        module.load_state_dict(saved)
        for each, mode in modes.items():
            each.training = mode


def _checked_forecast(
    source: ModuleSource, module: nn.Module, given: tuple[Tensor, ...], shape: Shape
) -> Tensor:
    what = "windows (B, T, F)" + (" and static features (B, S)" if shape.static else "")
    sizes = " and ".join(str(tuple(each.shape)) for each in given)
    kept = [each.clone() for each in given]
    forecast: Tensor = guarded(lambda: module(*given), source, f"run on {what}, here {sizes}")
    _check_outputs(source, forecast, shape)
    if any(not torch.equal(one, other) for one, other in zip(kept, given, strict=True)):
        raise wrong(
            source, "leave the windows that it is given as they are", "windows changed in place",
            "Use x = x + y for x += y, and clone() before an operation whose name ends in _",
        )  # fmt: skip
    return forecast


def _check_outputs(source: ModuleSource, forecast: object, shape: Shape, when: str = "") -> None:
    """Refuse what is no tensor of finite forecasts; ``when`` says in which mode it was given."""
    wanted = (_PROBED, *shape.outputs)
    if not isinstance(forecast, Tensor):
        raise wrong(
            source, f"{when}return a tensor of forecasts".strip(), f"a {type(forecast).__name__}",
            "Return the forecasts (B, H, K) alone",
        )  # fmt: skip
    if tuple(forecast.shape) != wanted or not forecast.is_floating_point():
        several = shape.values > 1
        axes = ["shape.horizon", "shape.targets", *["shape.values"] * several]
        fix = f"End forward with .reshape(-1, {', '.join(axes)})"
        named = (
            f"{shape.values} values a target (B, H, K, V), as the loss has them"
            if several
            else "forecasts (B, H, K)"
        )
        raise wrong(
            source,
            f"{when}give {named}, for {_PROBED} windows {wanted}",
            f"{str(forecast.dtype).removeprefix('torch.')} of shape {tuple(forecast.shape)}",
            fix + (", or take a training.loss of one value a target: mse, mae or huber" if several else ""),
        )
    if not torch.isfinite(forecast).all():
        raise wrong(
            source, f"{when}give finite forecasts of ordinary windows", "NaN or infinity",
            "Look for a division by 0, a logarithm or a root of what may be negative",
        )  # fmt: skip


def _check_repeats(
    source: ModuleSource, module: nn.Module, given: tuple[Tensor, ...], forecast: Tensor
) -> None:
    """The same windows must give the same forecasts, in whatever company."""

    def run(*arguments: Tensor) -> Tensor:
        with torch.no_grad():
            found: Tensor = guarded(lambda: module(*arguments), source, "run on any number of windows")
        return found

    forecast = forecast.detach()
    # Other sizes of a batch take other paths through the linear algebra, and round otherwise in float32.
    near = 1e-4 * (1.0 + float(forecast.abs().max()))
    if float((run(*given) - forecast).abs().max()) > near:
        raise wrong(
            source, "forecast the same of the same windows after model.eval()", "another forecast each time",
            "Draw random numbers in training alone (if self.training), as torch.nn.Dropout does",
        )  # fmt: skip
    alone = run(*(each[:1] for each in given))
    if tuple(alone.shape) != (1, *forecast.shape[1:]) or float((alone - forecast[:1]).abs().max()) > near:
        raise wrong(
            source, "forecast each window by itself", "another forecast of a window alone than among others",
            "Keep the first dimension for the windows: no reshape, mean or softmax across it",
        )  # fmt: skip
    # A window alone stands at the first place, so this finds what the check above cannot.
    turned = run(*(each.flip(0) for each in given)).flip(0)
    if float((turned - forecast).abs().max()) > near:
        raise wrong(
            source, "forecast each window by itself", "another forecast of a window at another place",
            "Leave out what depends on the place in the batch, such as random numbers of a fixed seed",
        )  # fmt: skip


def _check_training(source: ModuleSource, module: nn.Module, given: tuple[Tensor, ...], shape: Shape) -> None:
    """It must have something to train, and torch must know all of it."""
    module.train()
    known = {id(each) for each in module.parameters()}
    with torch.enable_grad():
        forecast: Tensor = guarded(lambda: module(*given), source, "run in training mode")
        _check_outputs(source, forecast, shape, "in training mode ")
        trained = [each for each in module.parameters() if each.requires_grad]
        if not trained or not forecast.requires_grad:
            raise wrong(
                source,
                "have parameters to train",
                "none" if not trained else "forecasts without a gradient by any of them",
                "Leave out detach(), torch.no_grad(), .data and NumPy on the way to the forecast",
            )
        strangers = [each for each in _leaves(forecast) if id(each) not in known]
        if strangers:
            raise wrong(
                source,
                "register what it trains",
                f"{len(strangers)} tensors that are no parameters of it, the first of shape"
                f" {tuple(strangers[0].shape)}",
                "Assign modules and torch.nn.Parameter to attributes; of several make a torch.nn.ModuleList"
                " or a torch.nn.ParameterList, not a list",
            )
        guarded(
            lambda: torch.autograd.grad(forecast.sum(), trained, allow_unused=True),
            source,
            "have gradients that torch can take",
        )


def _leaves(forecast: Tensor) -> list[Tensor]:
    """Tensors at the ends of a graph that want a gradient."""
    waiting: list[Any] = [forecast.grad_fn]
    seen, found = set[Any](), list[Tensor]()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        # Of torch's nodes AccumulateGrad alone has one: a graph ends in it at each leaf.
        if hasattr(node, "variable"):
            found.append(node.variable)
        waiting += [each for each, _ in node.next_functions]
    return found


def _names_before(
    source: ModuleSource, module: nn.Module, layers: Sequence[nn.Module], given: tuple[Tensor, ...]
) -> frozenset[str]:
    """Names of the parameters that what goes into the layers depends on, their own left out."""
    heard: list[Tensor] = []

    def listen(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        heard.extend(each for each in arguments if isinstance(each, Tensor))

    handles = [layer.register_forward_pre_hook(listen) for layer in layers]
    try:
        with torch.enable_grad():
            at_work(lambda: module(*given), source)
    finally:
        for handle in handles:
            handle.remove()
    if not heard:
        raise wrong(
            source, "call its circuit in forward()", "a forecast for which the circuit was not asked",
            "Write values = self.quantum(features) in forward, or set quantum: null",
        )  # fmt: skip
    inside = {id(each) for layer in layers for each in layer.parameters()}
    found = {id(leaf) for each in heard if each.requires_grad for leaf in _leaves(each)}
    return frozenset(
        name for name, each in module.named_parameters() if id(each) in found and id(each) not in inside
    )


def _rows_of(
    source: ModuleSource, module: nn.Module, layers: Sequence[QuantumLayer], given: tuple[Tensor, ...]
) -> tuple[int, ...]:
    """Rows a window of each call of the circuit.

    Raises:
        ConfigError: If the rows are not the windows' in their order.
    """

    def asked(arguments: tuple[Tensor, ...]) -> list[FloatArray]:
        recorder = Recorder(layers[0].neural_network.executor)
        with opened_on(layers, recorder):
            at_work(lambda: module(*arguments), source)
        return recorder.inputs

    # Asked twice, the windows turned round: the rows that a window leads to must move with it.
    calls, order = asked(given), torch.arange(_PROBED - 1, -1, -1)
    turned = asked(tuple(each[order] for each in given))
    fits = len(calls) == len(turned) and all(len(each) % _PROBED == 0 for each in calls)
    if not fits or not all(map(_turned, calls, turned)):
        raise wrong(
            source,
            "give its circuit the rows of each window together, in the order of the windows",
            f"{', '.join(str(len(each)) for each in calls[:5])} rows for {_PROBED} windows, in another order",
            "Keep the first dimension for the windows; (B, T, I) is read window by window",
        )
    return tuple(len(each) // _PROBED for each in calls)


def _turned(rows: FloatArray, turned: FloatArray) -> bool:
    """Whether rows are those of the same windows in reverse."""
    one, other = (each.reshape(_PROBED, -1) for each in (rows, turned))
    # Wide: in another order a float32 module adds up otherwise, while other rows differ at once.
    return one.shape == other.shape and bool(np.allclose(one[::-1], other, rtol=1e-3, atol=1e-4))


def _is_whole(module: nn.Module) -> bool:
    """Whether a module is one stage, whatever it is made of."""
    # PyTorch's attention reads the weights of its parts and never calls them.
    whole = (TorchConnector, CircuitStandIn, nn.MultiheadAttention)
    return isinstance(module, whole) or getattr(module, "is_one_stage", False)


@contextmanager
def _staged(module: nn.Module) -> Iterator[list[Stage]]:
    """Write down the modules at work inside the block: those without parts, and quantum layers whole."""
    stages: list[Stage] = []
    seen: set[str] = set()

    def watch(name: str, each: nn.Module) -> Any:
        def after(_: nn.Module, __: Any, answer: Any) -> None:
            first = answer[0] if isinstance(answer, tuple) and answer else answer
            if isinstance(first, Tensor) and name not in seen:
                seen.add(name)
                stages.append(Stage(name, type(each).__name__, tuple(first.shape[1:])))

        return each.register_forward_hook(after)

    whole = [name for name, each in module.named_modules() if _is_whole(each)]
    handles: list[Any] = []
    for name, each in module.named_modules():
        inside = any(name.startswith(f"{other}.") for other in whole)
        # Stages that a config leaves out are identities, and no part of a drawing.
        idle = isinstance(each, nn.Identity) or (isinstance(each, nn.Dropout) and not each.p)
        # What is compiled takes no hooks.
        idle = idle or isinstance(each, torch.jit.ScriptModule)
        # A module of parts is seen in them, unless it has parameters beside theirs.
        parts, own = any(True for _ in each.children()), any(True for _ in each.parameters(recurse=False))
        if not inside and not idle and (name in whole or own or not parts):
            handles.append(watch(name, each))
    try:
        yield stages
    finally:
        for handle in handles:
            handle.remove()
