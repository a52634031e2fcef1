"""A module of one's own as a forecaster: built from a file or wrapped, checked, and run on any backend.

::

    windows (B, T, F), static (B, S) --module, with the quantum layer anywhere in it--> forecast (B, H, K)

`own_checks` tries it out before anything is trained, and `own_forecaster` gives it the verbs that a run
needs.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from qiskit_machine_learning.connectors import TorchConnector
from torch import nn

from qhq.ansatz.stored import ansatz_fingerprint
from qhq.errors import ConfigError
from qhq.models.hybrid import Shape, seeded_torch
from qhq.models.own_checks import check_tensors, try_out
from qhq.models.own_forecaster import CircuitStandIn, OwnForecaster
from qhq.models.source import WRAPPED, ModuleSource, guarded, load_build, wrong
from qhq.models.spec import MODULE_IN_MEMORY, ModelSpec
from qhq.quantum.layer import QuantumLayer
from qhq.seeding import child_seed


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
    # Found now and not in training: whoever wraps a module is to hear at once what is wrong with it.
    name = _only_layer(ModuleSource("qhq.wrap", ""), module)
    layer = module.get_submodule(name) if name else module
    assert isinstance(layer, QuantumLayer)
    file = f"{MODULE_IN_MEMORY}{_design_digest(module, layer)}"
    WRAPPED[file] = module
    return Wrapped(module, layer, file)


def _design_digest(module: nn.Module, layer: QuantumLayer) -> str:
    """Digest of what a module is made of, the same in each process; its weights are no part of it."""
    import hashlib

    tensors = [f"{name} {tuple(each.shape)}" for name, each in module.state_dict().items()]
    # Sizes of layers stand in `extra_repr`; the layer itself is known by its circuit below.
    kinds = [f"{name} {type(each).__qualname__} {each.extra_repr()}" for name, each in module.named_modules()
             if each is not layer]  # fmt: skip
    content = "\n".join([*kinds, *tensors, ansatz_fingerprint(layer.ansatz)])
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def build_own(  # noqa: PLR0913
    spec: ModelSpec,
    source: ModuleSource,
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
        source: What builds it (`qhq.models.source.read_source`).
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
    if source.module is not None:
        module = _with_circuit(source, circuit)
    else:
        build, default = load_build(source), torch.get_default_dtype()
        try:
            with seeded_torch(seed):
                module = guarded(lambda: build(shape, circuit), source, "be built by build(shape, circuit)")
        finally:
            # A build that sets torch's default type must not set it for whatever this process does next.
            torch.set_default_dtype(default)
    if not isinstance(module, nn.Module):
        fix = "End build with 'return model'" if module is None else "Return an instance of torch.nn.Module"
        raise wrong(source, "be a torch module", f"{type(module).__name__} from build", fix)
    # By name: to import the class takes seconds of torch._dynamo.
    if type(module).__name__ == "OptimizedModule":
        raise wrong(
            source,
            "be a torch module as it was written",
            "one that torch.compile made",
            "Return it uncompiled",
        )
    name = _find_circuit(source, module, circuit)
    check_tensors(source, module)
    module = module.to(dtype)
    names = [] if name is None else [name]
    return as_forecaster(
        source, module, shape, names, seed=seed, dtype=dtype, at_zero=at_zero and source.module is None
    )


def as_forecaster(  # noqa: PLR0913
    source: ModuleSource,
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
        found = try_out(source, module, shape, layers, dtype)
    theirs = source if source.content or source.module is not None else None
    model = OwnForecaster(module, shape, layers=layers, found=found, source=theirs)
    if at_zero:
        model.start_at_zero()
    return model


def _with_circuit(source: ModuleSource, circuit: nn.Module | None) -> nn.Module:
    """A copy of a module in memory with the circuit of a config in the place of its own."""
    assert source.module is not None
    module: nn.Module = copy.deepcopy(source.module)
    name = _only_layer(source, module)
    own = module.get_submodule(name)
    assert isinstance(own, QuantumLayer)
    if circuit is None:
        raise wrong(
            source,
            "have something in the place of its circuit",
            "quantum: null",
            "Name an ansatz in quantum.ansatz, or what stands in its place in model.middle",
        )
    if isinstance(circuit, QuantumLayer):
        if ansatz_fingerprint(circuit.ansatz) == ansatz_fingerprint(own.ansatz):
            # Its own weights stay: a run begins from those that the module has.
            own.reopen(circuit.neural_network.executor)
            own.requires_grad_(circuit.weight.requires_grad)
            return module
        circuit.angle_scaling = own.angle_scaling
    # The module is the layer itself, which nothing holds that could be given another.
    if not name:
        return circuit
    module.set_submodule(name, circuit)
    return module


def _layers(module: nn.Module) -> dict[str, nn.Module]:
    """Every quantum layer by name, foreign ones among them."""
    return {name: each for name, each in module.named_modules() if isinstance(each, TorchConnector)}


def _only_layer(source: ModuleSource, module: nn.Module) -> str:
    """Name of the one quantum layer of a module.

    Raises:
        ConfigError: If there is none, another's, or several.
    """
    layers = _layers(module)
    if not layers:
        raise wrong(
            source,
            "have a quantum layer in it",
            f"a {type(module).__name__} of {len(list(module.modules()))} modules, none of which is one",
            "Assign the circuit to an attribute, as in self.quantum = circuit, and call it in forward()",
        )
    if len(layers) > 1:
        raise wrong(
            source,
            "have one quantum layer, since a run has one circuit",
            f"{len(layers)}: {', '.join(layers)}",
            "Call one layer several times, or put the circuits into one ansatz",
        )
    ((name, layer),) = layers.items()
    if not isinstance(layer, QuantumLayer):
        raise wrong(
            source,
            "have a quantum layer that can be opened on any backend",
            f"a {type(layer).__name__} as '{name}'",
            "Use qhq.QuantumLayer in its place; it takes the same circuit",
        )
    return name


def _find_circuit(source: ModuleSource, module: nn.Module, circuit: nn.Module | None) -> str | None:
    """Name of the circuit inside the module, or of what stands in its place.

    Raises:
        ConfigError: If it is not there, or another quantum layer is.
    """
    if circuit is None:
        layers = _layers(module)
        if layers:
            raise wrong(
                source,
                "be classical where the config has quantum: null",
                f"a quantum layer, '{next(iter(layers))}'",
                "Name its circuit in quantum.ansatz",
            )
        return None
    if source.module is not None and isinstance(circuit, QuantumLayer):
        return _only_layer(source, module)
    named = [name for name, each in module.named_modules() if each is circuit]
    if isinstance(circuit, QuantumLayer):
        name = _only_layer(source, module)
        if not named:
            raise wrong(
                source,
                "use the circuit that build is given, which the config names and backends open",
                f"a quantum layer of its own, '{name}'",
                "Use the argument circuit in its place, and name the ansatz in quantum.ansatz",
            )
    if not named:
        raise wrong(
            source,
            "use what stands in the circuit's place",
            "a module without it",
            "Put the argument circuit into the module as it is, without asking what it is",
        )
    first: str = named[0]
    return first
