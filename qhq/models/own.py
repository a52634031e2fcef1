"""A module of one's own as a forecaster: built from a file or wrapped, checked, and run on any backend.

::

    windows (B, T, F), static (B, S) --module, with the quantum layer anywhere in it--> forecast (B, H, K)

What stands before and behind the circuit is not asked for, it is found: the layer is opened on an executor
that writes down what it is asked (`_Recorder`), and later on one that answers with values that a backend gave
(`_Replay`). So the module is evaluated by the same verbs as `qhq.models.hybrid.HybridForecaster`. Its "latent
features" are the windows themselves, since only the module knows more.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from qiskit_machine_learning.connectors import TorchConnector
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from qhq.ansatz.stored import fingerprint
from qhq.backends.executor import Executor, FloatArray, Report
from qhq.errors import BackendError, ConfigError
from qhq.limits import require_memory
from qhq.models.hybrid import Shape, TanhMLP, seeded_torch
from qhq.models.program import HELD, Program, guarded, load_build, wrong
from qhq.models.spec import MEMORY, ModelSpec
from qhq.quantum.layer import AngleScaling, QuantumLayer
from qhq.seeding import child_generator, child_seed

_PROBED = 4
"""Windows that a module is tried on before it is trained."""


class CircuitStandIn(nn.Module):
    """The classical baseline of a circuit, in its place: the same scaling of any numbers, then a tanh MLP.

    Attributes:
        num_inputs: I, the circuit's.
        num_outputs: O, the circuit's.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int, angle_scaling: str) -> None:
        super().__init__()
        self.num_inputs, self.num_outputs = inputs, outputs
        self.angle_scaling = AngleScaling(angle_scaling)
        self.mlp = TanhMLP(inputs, hidden, outputs)

    def forward(self, values: Tensor) -> Tensor:
        """Values (..., O) of numbers (..., I)."""
        found: Tensor = self.mlp(self.angle_scaling(values))
        return found


@dataclass(frozen=True)
class Stage:
    """One module of the model as it was seen at work: its name, its class, and its output's shape after B."""

    name: str
    kind: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Found:
    """What was found of a module by running it once.

    Attributes:
        rows: Rows that the circuit is asked for, of each window, at each call of its layer in one forecast.
        before: Names of the parameters that the angles depend on.
        stages: Modules in the order in which they answered.
    """

    rows: tuple[int, ...]
    before: frozenset[str]
    stages: tuple[Stage, ...]


class OwnForecaster(nn.Module):
    """A user's module with the verbs that a run needs. Build it with `build_own`.

    Args:
        module: Called with windows (B, T, F), and static features (B, S) if any; gives (B, H, K).
        shape: Sizes of the data.
        layers: Names of the quantum layers inside the module, or of what stands in their place: one of a
            user's module, of one ansatz in any case.
        found: What was found of it.
    """

    gain: Tensor

    def __init__(self, module: nn.Module, shape: Shape, *, layers: Sequence[str], found: Found) -> None:
        super().__init__()
        self.module, self.shape, self.found = module, shape, found
        self._names = tuple(layers)
        # Multiplies the forecast: a module of one's own has no head that could be set to 0, so the weights of
        # an untrained one that starts at its baseline are told from the others by a gain of 0.
        self.register_buffer("gain", torch.ones(()))
        self.closed = False
        self.register_load_state_dict_post_hook(_open)  # type: ignore[no-untyped-call]

    @property
    def quantum(self) -> QuantumLayer | None:
        """The quantum layer inside, of several the first; None where something classical stands there."""
        layers = self._quantum()
        return layers[0] if layers else None

    def circuit_places(self) -> dict[str, nn.Module]:
        """What stands in the places of its circuits now, by name."""
        return {
            f"module.{name}" if name else "module": self.module.get_submodule(name) for name in self._names
        }

    def reopen(self, executor: Executor) -> None:
        """Go on with another executor of the same ansatz; the weights stay."""
        for layer in self._quantum():
            layer.reopen(executor)

    @property
    def stepwise(self) -> bool:
        """Whether the circuit is called several times for a forecast, a call waiting for the one before."""
        return len(self.found.rows) > 1

    def forward(self, windows: Tensor, static: Tensor | None = None) -> Tensor:
        """Forecast scaled targets (B, H, K) from scaled windows (B, T, F) and static features (B, S)."""
        forecast: Tensor = self.module(windows) if static is None else self.module(windows, static)
        return torch.zeros_like(forecast) if self.closed else forecast * self.gain

    def encode(self, windows: Tensor, static: Tensor | None = None) -> Tensor:
        """What the module is given, flat: (B, T * F + S)."""
        flat = windows.flatten(1)
        return flat if static is None else torch.cat([flat, static], dim=-1)

    def angles(self, latent: Tensor) -> Tensor:
        """Angles that the circuit is run at, in radians: (B, I), or (B, R, I) of R rows a window.

        Of a module that calls its circuit several times they are those of the layer's own executor.
        """
        layers = self._quantum()
        if self.stepwise:
            heard = self._recorded(latent, layers[0].neural_network.executor).inputs
        else:
            # The circuit need not run to know what it is asked, nor what stands behind it.
            listener = _Listener()
            with _opened(layers, listener), suppress(_HeardEnough):
                self(*self._unpacked(latent))
            heard = listener.inputs
        rows = torch.cat([_by_window(each, len(latent)) for each in heard], dim=1).to(latent.dtype)
        return rows[:, 0] if rows.shape[1] == 1 else rows

    def middle(self, latent: Tensor) -> Tensor:
        """All that the circuit answers for each window, (B, R * O); the windows themselves without one."""
        layer = self.quantum
        return latent if layer is None else self.run_on(layer.neural_network.executor, latent)

    def run_on(self, executor: Executor, latent: Tensor) -> Tensor:
        """The same with the circuit run by ``executor``, call by call."""
        heard = self._recorded(latent, executor).outputs
        answers = [_by_window(each, len(latent)).flatten(1) for each in heard]
        return torch.cat(answers, dim=1).to(latent.dtype)

    def decode(self, latent: Tensor, middle: Tensor) -> Tensor:
        """Scaled forecast (B, H, K) with the circuit's answers (B, R * O), whoever gave them."""
        layer = self.quantum
        if layer is not None:
            outputs, values = layer.num_outputs, middle.detach().numpy()
            cuts = np.cumsum([rows * outputs for rows in self.found.rows])[:-1]
            parts = [each.reshape(-1, outputs) for each in np.split(values, cuts, axis=1)]
            with _opened(self._quantum(), _Replay(parts)):
                return self.forward(*self._unpacked(latent))
        return self.forward(*self._unpacked(latent))

    def start_at_zero(self) -> None:
        """Forecast 0, scaled, until weights are loaded; see `HybridForecaster.start_at_zero`."""
        self.closed = True

    def untrained_state(self) -> dict[str, Tensor]:
        """Weights that forecast what the model does before training."""
        state: dict[str, Tensor] = self.state_dict()
        return {**state, "gain": torch.zeros_like(self.gain)} if self.closed else state

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """Parameters by where they stand: before the circuit (``encoder``), in it, or behind (``head``)."""
        inside = [each for layer in self._inside() for each in layer.parameters()]
        known = {id(each) for each in inside}
        others = [(name, each) for name, each in self.module.named_parameters() if id(each) not in known]
        return {
            "encoder": [each for name, each in others if name in self.found.before],
            "circuit": inside,
            "head": [each for name, each in others if name not in self.found.before],
        }

    def _inside(self) -> list[nn.Module]:
        return [self.module.get_submodule(name) for name in self._names]

    def _quantum(self) -> list[QuantumLayer]:
        return [layer for layer in self._inside() if isinstance(layer, QuantumLayer)]

    def _unpacked(self, latent: Tensor) -> tuple[Tensor, ...]:
        cells = self.shape.window * self.shape.features
        windows = latent[:, :cells].reshape(-1, self.shape.window, self.shape.features)
        return (windows, latent[:, cells:]) if self.shape.static else (windows,)

    @torch.no_grad()
    def _recorded(self, latent: Tensor, executor: Executor) -> _Recorder:
        recorder = _Recorder(executor)
        with _opened(self._quantum(), recorder):
            self(*self._unpacked(latent))
        return recorder


def _open(model: nn.Module, _: object) -> None:
    """Weights were loaded: from now on the model forecasts what they say."""
    assert isinstance(model, OwnForecaster)
    model.closed = False


def _by_window(rows: FloatArray, windows: int) -> Tensor:
    """Rows (B * R, C) of a call as (B, R, C)."""
    return torch.from_numpy(np.asarray(rows)).reshape(windows, -1, rows.shape[-1])


class _Recorder:
    """An executor that asks another one, and keeps what was asked and answered."""

    def __init__(self, behind: Executor) -> None:
        self._behind = behind
        self.inputs: list[FloatArray] = []
        self.outputs: list[FloatArray] = []

    def expectations(self, inputs: Any, weights: Any) -> FloatArray:
        """See `Executor`."""
        values = self._behind.expectations(inputs, weights)
        # Copies: the arrays may share the memory of tensors that the module goes on to change.
        self.inputs.append(np.array(inputs))
        self.outputs.append(np.array(values))
        return values

    def vjp(self, inputs: Any, weights: Any, cotangent: Any) -> tuple[FloatArray, FloatArray]:
        """See `Executor`."""
        return self._behind.vjp(inputs, weights, cotangent)

    def report(self) -> Report:
        """See `Executor`."""
        return self._behind.report()


class _HeardEnough(BaseException):
    """Leaves a forward pass; no Exception, which a module might catch."""


class _Listener:
    """An executor that keeps what it is asked first, and answers nothing."""

    def __init__(self) -> None:
        self.inputs: list[FloatArray] = []

    def expectations(self, inputs: Any, weights: Any) -> FloatArray:  # noqa: ARG002
        """Keep the inputs and leave the forward pass."""
        self.inputs.append(np.array(inputs))
        raise _HeardEnough

    def vjp(self, inputs: Any, weights: Any, cotangent: Any) -> tuple[FloatArray, FloatArray]:
        """Never asked: `expectations` does not come back."""
        raise NotImplementedError

    def report(self) -> Report:
        """Never asked."""
        raise NotImplementedError


class _Replay:
    """An executor that answers with values known before, call after call."""

    def __init__(self, values: Sequence[FloatArray]) -> None:
        self._left = list(values)

    def expectations(self, inputs: Any, weights: Any) -> FloatArray:  # noqa: ARG002
        """The next values, in the precision that is asked for."""
        return np.ascontiguousarray(self._left.pop(0), dtype=inputs.dtype)

    def vjp(self, inputs: Any, weights: Any, cotangent: Any) -> tuple[FloatArray, FloatArray]:
        """Never asked: what is replayed is not trained."""
        raise NotImplementedError

    def report(self) -> Report:
        """Never asked."""
        raise NotImplementedError


@contextmanager
def _opened(layers: Sequence[QuantumLayer], executor: Executor) -> Iterator[None]:
    """Open layers on an executor for a while, with no graph: what is written down has no gradient."""
    before = [layer.neural_network.executor for layer in layers]
    for layer in layers:
        layer.reopen(executor)
    try:
        with torch.no_grad():
            yield
    finally:
        for layer, own in zip(layers, before, strict=True):
            layer.reopen(own)


# Wrapped modules.


@dataclass(frozen=True, eq=False)
class Wrapped:
    """A torch module that can stand where a config has its ``model``.

    Attributes:
        module: The module; a run trains a copy of it, from the weights that it has.
        layer: Its quantum layer, whose circuit is that of the run.
        file: What a config names it by.
    """

    module: nn.Module
    layer: QuantumLayer
    file: str


def wrap(module: nn.Module) -> Wrapped:
    """Let a torch module be trained, evaluated, diagnosed and used for forecasts as every model of qhq.

    Somewhere in it is one `qhq.QuantumLayer`. It is called with scaled windows (B, T, F), and static features
    (B, S) where the data have any, and gives scaled forecasts (B, H, K). A run of it trains a copy, from the
    weights that it has; it can be opened where the module is wrapped again.

    Args:
        module: The module.

    Returns:
        What `qhq.train` takes for a model: ``qhq.train(config, set={"model": qhq.wrap(module)})``.

    Raises:
        ConfigError: If it is no module, or has no quantum layer or several.

    >>> import qhq, torch
    >>> layer = qhq.QuantumLayer("reference", qubits=2)
    >>> head = torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.Unflatten(1, (1, 1)))
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(2), layer, head)
    >>> _ = model(torch.ones(8, 5, 1))
    >>> qhq.wrap(model).layer is layer
    True
    """
    if not isinstance(module, nn.Module):
        raise ConfigError(
            "qhq.wrap takes a torch module",
            got=f"a {type(module).__name__}",
            fix="Give the module itself, such as torch.nn.Sequential(...)",
        )
    name = _only_layer(Program("qhq.wrap", ""), module)
    layer = module.get_submodule(name) if name else module
    assert isinstance(layer, QuantumLayer)
    file = f"{MEMORY}{_design_digest(module, layer)}"
    HELD[file] = module
    return Wrapped(module, layer, file)


def _design_digest(module: nn.Module, layer: QuantumLayer) -> str:
    """Digest of what a module is made of, the same in each process; its weights are no part of it."""
    import hashlib

    tensors = [f"{name} {tuple(each.shape)}" for name, each in module.state_dict().items()]
    kinds = [f"{name} {type(each).__qualname__} {each.extra_repr()}" for name, each in module.named_modules()
             if each is not layer]  # fmt: skip
    content = "\n".join([*kinds, *tensors, fingerprint(layer.ansatz)])
    return hashlib.sha256(content.encode()).hexdigest()[:12]


# Building and checking.


def build_own(  # noqa: PLR0913
    spec: ModelSpec,
    program: Program,
    shape: Shape,
    *,
    quantum: QuantumLayer | None,
    seed: int,
    dtype: torch.dtype = torch.float32,
    at_zero: bool = False,
) -> OwnForecaster:
    """Build the module of a config, try it on some windows, and refuse what could not be trained.

    Args:
        spec: The ``model`` section of a config, which names it.
        program: What builds it (`qhq.models.program.read_program`).
        shape: Sizes of the data, ``window`` among them; what ``build`` is called with.
        quantum: The circuit that is to stand in it, which takes any numbers; None for ``spec.middle`` in its
            place, and where that is None too, for nothing.
        seed: Seed of the weights; a module in memory keeps its own.
        dtype: What it is trained in.
        at_zero: Whether a module from a file starts at a forecast of 0 (see `OwnForecaster.start_at_zero`).

    Raises:
        ConfigError: If the file's code fails, or the module is not what it must be, with what to do.
    """
    circuit: nn.Module | None = quantum
    if quantum is None and spec.middle is not None:
        middle = spec.middle
        # A stream of its own: all other weights are those of the hybrid.
        with seeded_torch(child_seed(seed, "twin")):
            circuit = CircuitStandIn(spec.latent, middle.hidden, middle.outputs, middle.angle_scaling)
    if program.held is not None:
        module = _with_circuit(program, circuit)
    else:
        build, default = load_build(program), torch.get_default_dtype()
        try:
            with seeded_torch(seed):
                module = guarded(lambda: build(shape, circuit), program, "be built by build(shape, circuit)")
        finally:
            torch.set_default_dtype(default)
    if not isinstance(module, nn.Module):
        fix = "End build with 'return model'" if module is None else "Return an instance of torch.nn.Module"
        raise wrong(program, "be a torch module", f"{type(module).__name__} from build", fix)
    name = _find_circuit(program, module, circuit)
    _check_tensors(program, module)
    module = module.to(dtype)
    names = [] if name is None else [name]
    return as_forecaster(
        program, module, shape, names, seed=seed, dtype=dtype, at_zero=at_zero and program.held is None
    )


def as_forecaster(  # noqa: PLR0913
    program: Program,
    module: nn.Module,
    shape: Shape,
    layers: Sequence[str],
    *,
    seed: int,
    dtype: torch.dtype,
    at_zero: bool,
) -> OwnForecaster:
    """Try a module out and give it the verbs of a run; ``layers`` are the circuits inside it.

    Raises:
        ConfigError: If it cannot be trained.
    """
    with seeded_torch(seed):
        found = _try_out(program, module, shape, layers, dtype)
    model = OwnForecaster(module, shape, layers=layers, found=found)
    if at_zero:
        model.start_at_zero()
    return model


def _with_circuit(program: Program, circuit: nn.Module | None) -> nn.Module:
    """A copy of a module in memory with the circuit of a config in the place of its own."""
    assert program.held is not None
    module: nn.Module = copy.deepcopy(program.held)
    name = _only_layer(program, module)
    own = module.get_submodule(name)
    assert isinstance(own, QuantumLayer)
    if circuit is None:
        raise wrong(
            program,
            "have something in the place of its circuit",
            "quantum: null",
            "Name an ansatz in quantum.ansatz, or what stands in its place in model.middle",
        )
    if isinstance(circuit, QuantumLayer):
        if fingerprint(circuit.ansatz) == fingerprint(own.ansatz):
            own.reopen(circuit.neural_network.executor)
            own.requires_grad_(circuit.weight.requires_grad)
            return module
        circuit.angle_scaling = own.angle_scaling
    if not name:
        return circuit
    module.set_submodule(name, circuit)
    return module


def _layers(module: nn.Module) -> dict[str, nn.Module]:
    """Every quantum layer by name, foreign ones among them."""
    return {name: each for name, each in module.named_modules() if isinstance(each, TorchConnector)}


def _only_layer(program: Program, module: nn.Module) -> str:
    """Name of the one quantum layer of a module.

    Raises:
        ConfigError: If there is none, another's, or several.
    """
    layers = _layers(module)
    if not layers:
        raise wrong(
            program,
            "have a quantum layer in it",
            f"a {type(module).__name__} of {len(list(module.modules()))} modules, none of which is one",
            "Assign the circuit to an attribute, as in self.quantum = circuit, and call it in forward()",
        )
    if len(layers) > 1:
        raise wrong(
            program,
            "have one quantum layer, since a run has one circuit",
            f"{len(layers)}: {', '.join(layers)}",
            "Call one layer several times, or put the circuits into one ansatz",
        )
    ((name, layer),) = layers.items()
    if not isinstance(layer, QuantumLayer):
        raise wrong(
            program,
            "have a quantum layer that can be opened on any backend",
            f"a {type(layer).__name__} as '{name}'",
            "Use qhq.QuantumLayer in its place; it takes the same circuit",
        )
    return name


def _find_circuit(program: Program, module: nn.Module, circuit: nn.Module | None) -> str | None:
    """Name of the circuit inside the module, or of what stands in its place.

    Raises:
        ConfigError: If it is not there, or another quantum layer is.
    """
    if circuit is None:
        layers = _layers(module)
        if layers:
            raise wrong(
                program,
                "be classical where the config has quantum: null",
                f"a quantum layer, '{next(iter(layers))}'",
                "Name its circuit in quantum.ansatz",
            )
        return None
    if program.held is not None and isinstance(circuit, QuantumLayer):
        return _only_layer(program, module)
    named = [name for name, each in module.named_modules() if each is circuit]
    if isinstance(circuit, QuantumLayer):
        name = _only_layer(program, module)
        if not named:
            raise wrong(
                program,
                "use the circuit that build is given, which the config names and backends open",
                f"a quantum layer of its own, '{name}'",
                "Use the argument circuit in its place, and name the ansatz in quantum.ansatz",
            )
    if not named:
        raise wrong(
            program,
            "use what stands in the circuit's place",
            "a module without it",
            "Put the argument circuit into the module as it is, without asking what it is",
        )
    first: str = named[0]
    return first


def _check_tensors(program: Program, module: nn.Module) -> None:
    """Refuse tensors that could not be trained or stored.

    Raises:
        ConfigError: If some lie on another device, share memory, are not initialised, or are too many.
    """
    named = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    lazy = [name for name, each in named.items() if is_lazy(each)]
    if lazy:
        raise wrong(
            program, "know the size of its parameters", f"'{lazy[0]}' of a lazy module",
            "Give the sizes in build: shape.features, shape.window, circuit.num_inputs, circuit.num_outputs",
        )  # fmt: skip
    elsewhere = {name: str(each.device) for name, each in named.items() if each.device.type != "cpu"}
    if elsewhere:
        name, device = next(iter(elsewhere.items()))
        raise wrong(
            program,
            "keep its parameters and buffers on the CPU, where the engines of qhq are",
            f"'{name}' on {device}",
            "Leave out .to(device) and device=",
        )
    weights = sum(each.numel() for each in module.parameters())
    try:
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
                program,
                "have each tensor once, or its checkpoint could not be read back",
                f"'{other}' and '{name}' in the same memory",
                "Register the tensor in one module, and use it from there",
            )


def _try_out(
    program: Program, module: nn.Module, shape: Shape, layers: Sequence[str], dtype: torch.dtype
) -> Found:
    """Run a module on random windows, forward and back, and see what it is.

    Raises:
        ConfigError: If it cannot be trained or its forecasts not be relied on.
    """
    draw = child_generator(0, "own module")
    sizes = [(_PROBED, shape.window, shape.features)] + [(_PROBED, shape.static)] * bool(shape.static)
    given = tuple(torch.as_tensor(draw.normal(size=size), dtype=dtype) for size in sizes)
    saved = {name: each.detach().clone() for name, each in module.state_dict().items()}
    modes = {each: each.training for each in module.modules()}
    try:
        module.eval()
        with _staged(module) as stages:
            forecast = _checked_forecast(program, module, given, shape)
        _check_repeats(program, module, given, forecast)
        _check_training(program, module, given)
        module.eval()
        inside = [module.get_submodule(name) for name in layers]
        before = _names_before(program, module, inside, given) if inside else frozenset[str]()
        quantum = [each for each in inside if isinstance(each, QuantumLayer)]
        rows = _rows_of(program, module, quantum, given) if quantum else ()
        return Found(rows, before, tuple(stages))
    finally:
        # Such as the statistics of a batch norm: what was tried out has left no trace.
        module.load_state_dict(saved)
        for each, mode in modes.items():
            each.training = mode


def _checked_forecast(program: Program, module: nn.Module, given: tuple[Tensor, ...], shape: Shape) -> Tensor:
    wanted = (_PROBED, shape.horizon, shape.targets)
    what = "windows (B, T, F)" + (" and static features (B, S)" if shape.static else "")
    sizes = " and ".join(str(tuple(each.shape)) for each in given)
    kept = [each.clone() for each in given]
    forecast = guarded(lambda: module(*given), program, f"run on {what}, here {sizes}")
    if not isinstance(forecast, Tensor):
        raise wrong(
            program, "return a tensor of forecasts", f"a {type(forecast).__name__}",
            "Return the forecasts (B, H, K) alone",
        )  # fmt: skip
    if tuple(forecast.shape) != wanted or not forecast.is_floating_point():
        raise wrong(
            program,
            f"give forecasts (B, H, K), for {_PROBED} windows {wanted}",
            f"{str(forecast.dtype).removeprefix('torch.')} of shape {tuple(forecast.shape)}",
            "End forward with .reshape(-1, shape.horizon, shape.targets)",
        )
    if not torch.isfinite(forecast).all():
        raise wrong(
            program, "give finite forecasts of ordinary windows", "NaN or infinity",
            "Look for a division by 0, a logarithm or a root of what may be negative",
        )  # fmt: skip
    if any(not torch.equal(one, other) for one, other in zip(kept, given, strict=True)):
        raise wrong(
            program, "leave the windows that it is given as they are", "windows changed in place",
            "Use x = x + y for x += y, and clone() before an operation whose name ends in _",
        )  # fmt: skip
    return forecast


def _check_repeats(program: Program, module: nn.Module, given: tuple[Tensor, ...], forecast: Tensor) -> None:
    """The same windows must give the same forecasts, in whatever company."""

    def run(*arguments: Tensor) -> Tensor:
        with torch.no_grad():
            found: Tensor = guarded(lambda: module(*arguments), program, "run on any number of windows")
        return found

    forecast = forecast.detach()
    near = 1e-4 * (1.0 + float(forecast.abs().max()))
    if float((run(*given) - forecast).abs().max()) > near:
        raise wrong(
            program, "forecast the same of the same windows after model.eval()", "another forecast each time",
            "Draw random numbers in training alone (if self.training), as torch.nn.Dropout does",
        )  # fmt: skip
    alone = run(*(each[:1] for each in given))
    if tuple(alone.shape) != (1, *forecast.shape[1:]) or float((alone - forecast[:1]).abs().max()) > near:
        raise wrong(
            program, "forecast each window by itself", "another forecast of a window alone than among others",
            "Keep the first dimension for the windows: no reshape, mean or softmax across it",
        )  # fmt: skip


def _check_training(program: Program, module: nn.Module, given: tuple[Tensor, ...]) -> None:
    """It must have something to train, and torch must know all of it."""
    module.train()
    known = {id(each) for each in module.parameters()}
    with torch.enable_grad():
        forecast: Tensor = guarded(lambda: module(*given), program, "run in training mode")
        trained = [each for each in module.parameters() if each.requires_grad]
        if not trained or not forecast.requires_grad:
            raise wrong(
                program,
                "have parameters to train",
                "none" if not trained else "forecasts without a gradient by any of them",
                "Leave out detach(), torch.no_grad(), .data and NumPy on the way to the forecast",
            )
        strangers = [each for each in _leaves(forecast) if id(each) not in known]
        if strangers:
            raise wrong(
                program,
                "register what it trains",
                f"{len(strangers)} tensors that are no parameters of it, the first of shape"
                f" {tuple(strangers[0].shape)}",
                "Assign modules and torch.nn.Parameter to attributes; of several make a torch.nn.ModuleList"
                " or a torch.nn.ParameterList, not a list",
            )
        guarded(
            lambda: torch.autograd.grad(forecast.sum(), trained, allow_unused=True),
            program,
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
        if hasattr(node, "variable"):
            found.append(node.variable)
        waiting += [each for each, _ in node.next_functions]
    return found


def _names_before(
    program: Program, module: nn.Module, layers: Sequence[nn.Module], given: tuple[Tensor, ...]
) -> frozenset[str]:
    """Names of the parameters that what goes into the layers depends on, their own left out."""
    heard: list[Tensor] = []

    def listen(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        heard.extend(each for each in arguments if isinstance(each, Tensor))

    handles = [layer.register_forward_pre_hook(listen) for layer in layers]
    try:
        with torch.enable_grad():
            module(*given)
    finally:
        for handle in handles:
            handle.remove()
    if not heard:
        raise wrong(
            program, "call its circuit in forward()", "a forecast for which the circuit was not asked",
            "Write values = self.quantum(features) in forward, or set quantum: null",
        )  # fmt: skip
    inside = {id(each) for layer in layers for each in layer.parameters()}
    found = {id(leaf) for each in heard if each.requires_grad for leaf in _leaves(each)}
    return frozenset(
        name for name, each in module.named_parameters() if id(each) in found and id(each) not in inside
    )


def _rows_of(
    program: Program, module: nn.Module, layers: Sequence[QuantumLayer], given: tuple[Tensor, ...]
) -> tuple[int, ...]:
    """Rows a window of each call of the circuit.

    Raises:
        ConfigError: If the rows are not the windows' in their order.
    """

    def asked(arguments: tuple[Tensor, ...]) -> list[FloatArray]:
        recorder = _Recorder(layers[0].neural_network.executor)
        with _opened(layers, recorder):
            module(*arguments)
        return recorder.inputs

    calls, order = asked(given), torch.arange(_PROBED - 1, -1, -1)
    turned = asked(tuple(each[order] for each in given))
    fits = len(calls) == len(turned) and all(len(each) % _PROBED == 0 for each in calls)
    if not fits or not all(map(_turned, calls, turned)):
        raise wrong(
            program,
            "give its circuit the rows of each window together, in the order of the windows",
            f"{', '.join(str(len(each)) for each in calls[:5])} rows for {_PROBED} windows, in another order",
            "Keep the first dimension for the windows; (B, T, I) is read window by window",
        )
    return tuple(len(each) // _PROBED for each in calls)


def _turned(rows: FloatArray, turned: FloatArray) -> bool:
    """Whether rows are those of the same windows in reverse."""
    one, other = (each.reshape(_PROBED, -1) for each in (rows, turned))
    return one.shape == other.shape and bool(np.allclose(one[::-1], other, rtol=1e-3, atol=1e-4))


def _is_whole(module: nn.Module) -> bool:
    """Whether a module is one stage, whatever it is made of."""
    return isinstance(module, TorchConnector | CircuitStandIn) or getattr(module, "is_one_stage", False)


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
    handles = []
    for name, each in module.named_modules():
        inside = any(name.startswith(f"{other}.") for other in whole)
        # Stages that a config leaves out are identities, and no part of a drawing.
        idle = isinstance(each, nn.Identity) or (isinstance(each, nn.Dropout) and not each.p)
        if not inside and not idle and (name in whole or not any(True for _ in each.children())):
            handles.append(watch(name, each))
    try:
        yield stages
    finally:
        for handle in handles:
            handle.remove()
