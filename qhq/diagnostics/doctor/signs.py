"""The signs of a model on some samples: what every check reads. Nothing of the model is changed.

Gradients are those of the forecast, not of the loss: of ``sum_b r_b forecast_b / sqrt(B)`` with random signs
``r``, whose mean square is that of a sample's own slope. The loss's gradient vanishes wherever a model has
learned; the forecast's only where something is cut off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from qhq.ansatz.program import Ansatz
from qhq.backends.local.statevector import StatevectorExecutor
from qhq.diagnostics.doctor.listening import Activation, Heard, calm, listen, with_outputs
from qhq.diagnostics.sampling import Array
from qhq.errors import QHQError
from qhq.quantum.adjoint_network import AdjointNetwork, as_pauli_sum
from qhq.seeding import child_generator

Family = Callable[[int], Ansatz]
"""Qubits -> the same circuit at that width; refuses a width by ConfigError."""


@dataclass(frozen=True)
class Background:
    """What is known of a model; each part may be left out, and its checks with it.

    Attributes:
        circuit: The ansatz that the design names; None leaves it to the layer to say.
        family: The same ansatz at other widths, for the trend of a plateau.
        shots: Measurements a value is estimated from where the model is to run; None if exact.
        initial: The weights before training, by name as in ``state_dict``.
        epochs: Epochs trained so far; 0 for a model as it was built.
        relative: Whether targets are changes since the last value, of which little may be known: a forecast
            near their mean is then no fault.
        seed: Where all that is drawn comes from.
        takes: Whether the config of the model takes a key, such as ``model.skip``. A module that no config
            builds takes none.
    """

    circuit: Ansatz | None = None
    family: Family | None = None
    shots: int | None = None
    initial: Mapping[str, Tensor] | None = None
    epochs: int = 0
    relative: bool = False
    seed: int = 0
    takes: Callable[[str], bool] = frozenset[str]().__contains__

    def advise(self, *choices: tuple[str, str]) -> str:
        """What to set, where the config takes it, and else what to change in the module itself.

        Args:
            choices: A setting, ``key=value``, each with words for whoever wrote the module; without words it
                is left out there.
        """
        taken = [self.takes(setting.partition("=")[0]) for setting, _ in choices]
        commands = [f"--set {each}" for (each, _), able in zip(choices, taken, strict=True) if able]
        words = [each for (_, each), able in zip(choices, taken, strict=True) if each and not able]
        return ", ".join(each for each in (" ".join(commands), *words) if each)


MOST_QUBITS = 14
"""Wider circuits are not simulated for the checks that need many states."""


def _circuit_of(layer: nn.Module) -> Ansatz | None:
    """The ansatz of qhq's own layer, or of a network that says its circuit as ``EstimatorQNN`` does."""
    network: Any = layer.neural_network
    ansatz = getattr(network, "ansatz", None)
    # qhq's own layers keep it; of others it is put together from what EstimatorQNN says of itself.
    if isinstance(ansatz, Ansatz):
        return ansatz
    try:
        return Ansatz(
            circuit=network.circuit,
            inputs=tuple(network.input_params),
            weights=tuple(network.weight_params),
            observables=tuple(as_pauli_sum(each) for each in network.observables),
        )
    except (AttributeError, TypeError, QHQError):  # a network of another kind, as SamplerQNN
        return None


def can_simulate(circuit: Ansatz | None) -> TypeGuard[Ansatz]:
    """Whether the circuit is known and small enough to be asked often."""
    return circuit is not None and circuit.num_qubits <= MOST_QUBITS


def is_exact(layer: nn.Module) -> bool | None:
    """Whether the layer's values are exact; False where noise may shift them, None where they are drawn."""
    network: Any = layer.neural_network
    executor: Any = getattr(network, "executor", None)
    if isinstance(network, AdjointNetwork) or isinstance(executor, StatevectorExecutor):
        return True
    return False if executor is not None and shots_of(layer) is None else None


def shots_of(layer: nn.Module) -> int | None:
    """Shots of the executor that the layer stands on; None if exact or unknown.

    A network that asks an estimator for a precision p, as ``EstimatorQNN``, stands for ``1 / p^2`` shots.
    """
    network: Any = layer.neural_network
    executor: Any = getattr(network, "executor", None)
    if executor is not None:
        shots: int | None = executor.report().shots
        return shots
    precision: float | None = getattr(network, "default_precision", None)
    if isinstance(network, AdjointNetwork) or not precision:
        return None
    return round(1 / precision**2)


def values_at(angles: Array, weights: Array) -> Array:
    """Rows of angles and weights (R, I + W) for a `qhq.diagnostics.sampling.Probe`."""
    return np.hstack([angles, np.tile(weights, (len(angles), 1))])


# Added to every weight to see what moves with it.
_NUDGE = 0.05


@dataclass(frozen=True)
class LayerSigns:
    """What was seen of one quantum layer.

    Attributes:
        name: Of the layer in the model.
        layer: The layer.
        circuit: Its ansatz, None if it cannot be had.
        runs: How often a circuit ran for one pass over the samples.
        angles: What went in, (R, I) in radians; R = 0 if it was not called.
        outputs: What came out, (R, O).
        activations: What stands before the encoding.
        asks_gradient: Whether something trainable stands before the angles.
        angle_gradient: By the angles, through the circuit alone, (R, I); None if torch gives none.
        output_gradient: By the outputs, (R, O); None if torch gives none.
    """

    name: str
    layer: nn.Module
    circuit: Ansatz | None
    runs: int
    angles: Array
    outputs: Array
    activations: Sequence[Activation]
    asks_gradient: bool
    angle_gradient: Array | None
    output_gradient: Array | None

    @property
    def called(self) -> bool:
        """Whether the layer took part in the forecast."""
        return len(self.outputs) > 0

    @property
    def weights(self) -> Array:
        """Its weights (W,)."""
        found = [each.detach().double().cpu().numpy().ravel() for each in self.layer.parameters()]
        return found[0] if found else np.empty(0)

    @property
    def slope(self) -> float:
        """How much of a gradient the circuit lets through: |by angles| / |by outputs|, nan if not defined."""
        if self.angle_gradient is None or self.output_gradient is None:
            return float("nan")
        passed, given = (np.linalg.norm(each) for each in (self.angle_gradient, self.output_gradient))
        return float(passed / given) if given > 0 else float("nan")


@dataclass(frozen=True)
class Signs:
    """All signs.

    Attributes:
        model: The model.
        arguments: What it was called with.
        targets: Scaled targets, of the forecast's shape; None if unknown.
        background: What is known besides.
        thorough: Whether checks may take their time.
        failure: Why the model cannot run at all.
        angle_dtypes: Of the tensors that quantum layers were given, also by a model that then failed.
        forecast: Shape (B, ...); empty if it cannot run.
        layers: Its quantum layers.
        gradients: Norm of the gradient by module that owns weights; None where torch gives none.
    """

    model: nn.Module
    arguments: tuple[Tensor, ...]
    targets: Array | None
    background: Background
    thorough: bool
    failure: Exception | None = None
    angle_dtypes: frozenset[torch.dtype] = frozenset()
    forecast: Array = field(default_factory=lambda: np.empty((0, 1)))
    layers: tuple[LayerSigns, ...] = ()
    gradients: dict[str, float | None] = field(default_factory=dict)

    @cached_property
    def spread(self) -> float:
        """Standard deviation of the forecasts over the samples, all their values pooled."""
        return pooled_spread(self.forecast)

    @cached_property
    def unheard(self) -> Array:
        """The forecast of a model whose layers nobody listens to, of the forecast's shape."""
        with torch.no_grad(), calm(self.model):
            return _array(self.model(*self.arguments))

    def change_with(self, layer: LayerSigns, change: Callable[[Tensor], Tensor]) -> float:
        """Root mean square change of the forecasts if a layer's outputs are changed, over their spread."""
        with torch.no_grad(), calm(self.model), with_outputs(layer.layer, change):
            other = _array(self.model(*self.arguments))
        return float(np.sqrt(np.mean((other - self.forecast) ** 2)) / self.spread)

    def detached(self, layer: LayerSigns) -> bool:
        """Whether the angles move with weights that are to train, and torch knows nothing of it."""
        if layer.asks_gradient or not layer.called:
            return False
        # Weights are passed in, not changed in place: the model must leave as it came, even if it raises.
        nudged = {name: each + _NUDGE for name, each in self.model.named_parameters() if each.requires_grad}
        with torch.no_grad(), calm(self.model), listen(self.model) as heard:
            functional_call(self.model, nudged, self.arguments)
        (again,) = (_stacked(each.angles) for each in heard if each.layer is layer.layer)
        return not np.array_equal(again, layer.angles)


def pooled_spread(values: Array) -> float:
    """Root of the variance over samples (B, ...), mean over all values of a sample."""
    return float(np.sqrt(values.var(axis=0).mean())) if values.size else 0.0


def _owners(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Weights by the module that owns them, those that train only."""
    found = {
        name: [each for each in module.parameters(recurse=False) if each.requires_grad]
        for name, module in model.named_modules()
    }
    return {name or "model": parameters for name, parameters in found.items() if parameters}


def read_signs(
    model: nn.Module,
    arguments: tuple[Tensor, ...],
    targets: Tensor | None,
    background: Background,
    *,
    thorough: bool,
) -> Signs:
    """Run a model forward and back once; a model that cannot run gives signs that say why."""
    known: dict[str, Any] = {
        "model": model,
        "arguments": arguments,
        "targets": None if targets is None else _array(targets),
        "background": background,
        "thorough": thorough,
    }
    with torch.enable_grad(), calm(model), listen(model) as heard:
        try:
            forecast = model(*arguments)
            seen = {"forecast": _array(forecast), **_differentiate(model, forecast, heard, background)}
        except Exception as error:  # whatever a user's module raises is a finding, not a crash of the doctor
            seen = {"failure": error}
        given = frozenset(angles.dtype for each in heard for angles in each.angles)
    return Signs(**known, angle_dtypes=given, **seen)


def _differentiate(
    model: nn.Module, forecast: Tensor, heard: Sequence[Heard], background: Background
) -> dict[str, Any]:
    modules = _owners(model)
    weights = [each for parameters in modules.values() for each in parameters]
    angles = [each for one in heard for each in one.angles if each.requires_grad]
    outputs = [each for one in heard for each in one.outputs if each.requires_grad]
    asked = [*weights, *angles, *outputs]
    got: tuple[Tensor | None, ...] = (None,) * len(asked)
    if asked and forecast.requires_grad:
        # By random signs, as the gradients of a plain sum over the samples may cancel.
        drawn = child_generator(background.seed, "doctor/signs").choice([-1.0, 1.0], tuple(forecast.shape))
        along = torch.as_tensor(drawn / np.sqrt(max(1, len(forecast)))).to(forecast)
        # What the forecast does not use has no gradient. That is for the checks to say, not for torch to
        # refuse.
        got = torch.autograd.grad(forecast, asked, along, allow_unused=True)
    by = {id(tensor): gradient for tensor, gradient in zip(asked, got, strict=True)}
    norms = {name: _norm([by[id(each)] for each in parameters]) for name, parameters in modules.items()}
    # The design names one circuit; with several layers it cannot be said whose it is.
    only = background.circuit if len(heard) == 1 else None
    return {"gradients": norms, "layers": tuple(_layer_signs(each, by, only) for each in heard)}


def _layer_signs(heard: Heard, by: dict[int, Tensor | None], circuit: Ansatz | None) -> LayerSigns:
    return LayerSigns(
        name=heard.name,
        layer=heard.layer,
        circuit=circuit or _circuit_of(heard.layer),
        runs=heard.runs,
        angles=_stacked(heard.angles),
        outputs=_stacked(heard.outputs),
        activations=heard.activations,
        asks_gradient=any(each.requires_grad for each in heard.angles),
        angle_gradient=_stacked_gradients(heard.angles, by),
        output_gradient=_stacked_gradients(heard.outputs, by),
    )


def _stacked(values: Sequence[Tensor]) -> Array:
    rows = [each.reshape(-1, each.shape[-1]) for each in values]
    return _array(torch.cat(rows)) if rows else np.empty((0, 0))


def _stacked_gradients(values: Sequence[Tensor], by: dict[int, Tensor | None]) -> Array | None:
    found = [by.get(id(each)) for each in values]
    given = [each for each in found if each is not None]
    return _stacked(given) if given else None


def _norm(gradients: Sequence[Tensor | None]) -> float | None:
    """L2 norm over the gradients there are, in double precision; None if there is none."""
    # In single precision the square of a gradient below 1e-23 is 0, and a vanishing one would be called cut
    # off.
    given = [each.detach().double() for each in gradients if each is not None]
    if not given:
        return None
    return float(torch.sqrt(torch.stack([(each**2).sum() for each in given]).sum()))


def _array(tensor: Tensor) -> Array:
    values: Array = tensor.detach().double().cpu().numpy()
    return values
