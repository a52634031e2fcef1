"""The reference model: recurrent encoder -> latent features -> quantum layer -> head.

::

    windows (B, T, F), static (B, S) --encode--> latent (B, I) --angles--> (B, I) --quantum--> <O> (B, O)
    latent and <O> --decode--> forecast (B, H, K)

`encode`, `angles` and `decode` are separate verbs because the same checkpoint is evaluated on many
backends: only what stands between `angles` and `decode` belongs to a backend.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from qhq.backends.executor import Executor
from qhq.errors import BackendError, ConfigError
from qhq.limits import require_memory
from qhq.models.encoder import FlatWindow, RecurrentStack
from qhq.models.spec import ACTIVATIONS, ModelSpec
from qhq.quantum.layer import AngleScaling, QuantumLayer
from qhq.seeding import child_seed
from qhq.training.losses import Objective, open_objective
from qhq.training.spec import TrainingSpec

# The objective of a model of point forecasts.
_POINT = open_objective(TrainingSpec())


class TanhMLP(nn.Module):
    """Angles (B, I) in, values (B, O) out, by one hidden layer of tanh: ``V tanh(U x + b)``.

    What stands after it adds a bias of its own, so ``V`` has none. Unlike expectation values its outputs are
    not bounded. They lie in a space of as many dimensions as there are hidden units: one unit makes all
    outputs multiples of each other, however many there are.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.enter = nn.Linear(inputs, hidden)
        self.leave = nn.Linear(hidden, outputs, bias=False)

    def forward(self, angles: Tensor) -> Tensor:
        """Values (B, O) of angles (B, I)."""
        values: Tensor = self.leave(self.enter(angles).tanh())
        return values


def matched_width(inputs: int, outputs: int, weights: int) -> int:
    """Hidden width whose parameter count is nearest to a circuit's ``weights``, and ``outputs`` at least.

    Below ``outputs`` hidden units the MLP's outputs would depend on each other linearly, and those of a
    circuit do not: it would be a weaker rival by its rank, not by its parameters. So the MLP of a circuit
    with few weights has more parameters than that. Of two widths as near, the wider.

    >>> matched_width(4, 4, 8), matched_width(4, 4, 48)
    (4, 5)
    """
    step = mlp_parameters(inputs, 1, outputs)  # the parameters of one hidden unit; no bias stands alone
    return max(outputs, (2 * weights + step) // (2 * step))


def mlp_parameters(inputs: int, hidden: int, outputs: int) -> int:
    """Parameters of a `TanhMLP`."""
    return hidden * (inputs + 1 + outputs)


def open_activation(name: str) -> nn.Module:
    """An activation of PyTorch's by its name in a config."""
    module: nn.Module = EntryPoint(name, ACTIVATIONS[name], "").load()()
    return module


def dense(sizes: Sequence[int], activation: str) -> nn.Sequential:
    """Linear maps from each size to the next, the activation after each; nothing of one size."""
    return nn.Sequential(
        *(
            each
            for before, after in pairwise(sizes)
            for each in (nn.Linear(before, after), open_activation(activation))
        )
    )


def open_encoder(spec: ModelSpec, shape: Shape) -> RecurrentStack | FlatWindow:
    """What makes one vector of a window."""
    if spec.encoder == "none":
        return FlatWindow(shape.window, shape.features)
    return RecurrentStack(spec.recurrent, features=shape.features, dropout=spec.dropout, pooling=spec.pooling)


@dataclass(frozen=True)
class Shape:
    """Sizes that the data dictates: F input features, H horizon steps, K targets, S static features, T steps.

    ``window`` is T, the steps of a window as the model sees it; 0 where nobody asks for it.
    """

    features: int
    horizon: int
    targets: int
    static: int = 0
    window: int = 0
    objective: Objective = _POINT

    @property
    def values(self) -> int:
        """Outputs for each target, V: 1 of a point forecast."""
        return self.objective.values

    @property
    def outputs(self) -> tuple[int, ...]:
        """Shape of a model's outputs for one window: (H, K), with several values a target (H, K, V)."""
        # No third axis for a point forecast: its losses and scalers know two.
        values = (self.values,) if self.values > 1 else ()
        return (self.horizon, self.targets, *values)


class HybridForecaster(nn.Module):
    """A recurrent forecaster with a quantum layer between encoder and head, an MLP in its place, or neither.

    Build it with `build_model`. Inputs and forecasts are scaled values; the scaler that made them
    takes forecasts back to prices.
    """

    start: Tensor | None

    stepwise = False
    """Whether the circuit is called several times for a forecast, a call waiting for the one before."""

    has_known_head = True
    """Whether it has a head that can be refitted."""

    def __init__(
        self,
        spec: ModelSpec,
        shape: Shape,
        *,
        quantum: QuantumLayer | None,
        mlp: TanhMLP | None = None,
        angle_scaling: str,
    ) -> None:
        super().__init__()
        latent, outputs = _middle_sizes(spec, quantum)
        self.spec, self.shape = spec, shape
        self.encoder = open_encoder(spec, shape)
        beside = [shape.static, *spec.static_layers]
        self.static_layers = dense(beside, spec.head_activation)
        self.to_latent = nn.Linear(self.encoder.hidden + beside[-1], latent)
        self.activation_before = open_activation(spec.activation_before)
        self.angle_scaling = AngleScaling(angle_scaling)
        self.quantum, self.mlp = quantum, mlp
        # Stages that a config leaves out are identities: a model has the same attributes whatever it is made
        # of.
        self.activation_after = open_activation(spec.activation_after)
        self.layer_norm = nn.LayerNorm(outputs) if spec.layer_norm else nn.Identity()
        self.dropout = nn.Dropout(spec.dropout)
        merged = outputs + latent if spec.skip == "concat" else outputs
        self.objective = shape.objective
        sizes = [merged, *spec.head_layers]
        self.head_layers = dense(sizes, spec.head_activation)
        self.head = nn.Linear(sizes[-1], prod(shape.outputs))
        self.output_activation = open_activation(spec.output_activation)
        # Kept with the weights, which mean nothing without it; a point forecast has none, and no tensor.
        self.register_buffer("start", shape.objective.fitted)
        self.closed = False
        self.register_load_state_dict_post_hook(_open_head)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_read_earlier_names)  # type: ignore[no-untyped-call]

    def forward(self, windows: Tensor, static: Tensor | None = None) -> Tensor:
        """Forecast scaled targets (B, H, K) from scaled windows (B, T, F) and static features (B, S)."""
        latent = self.encode(windows, static)
        return self.decode(latent, self.middle(latent))

    def outputs(self, windows: Tensor, static: Tensor | None = None) -> Tensor:
        """What the loss is computed of: forecasts (B, H, K), or all V values of each target (B, H, K, V)."""
        latent = self.encode(windows, static)
        return self.head_outputs(latent, self.middle(latent))

    def middle(self, latent: Tensor) -> Tensor:
        """What the middle makes of latent features (B, I): values (B, O); themselves where there is none."""
        layer = self._layer()
        values: Tensor = latent if layer is None else layer(self.angles(latent))
        return values

    # Two attributes and not one: the names of the tensors in a checkpoint say which of the two it holds.
    def _layer(self) -> nn.Module | None:
        return self.mlp if self.quantum is None else self.quantum

    def reopen(self, executor: Executor) -> None:
        """Go on with another executor of the same ansatz; the weights stay."""
        if self.quantum is not None:
            self.quantum.reopen(executor)

    def encode(self, windows: Tensor, static: Tensor | None = None) -> Tensor:
        """Latent features (B, I) of windows (B, T, F) and static features (B, S)."""
        hidden = self.encoder(windows)
        # Behind the encoder: what does not change within a window need not go through each of its steps.
        if static is not None:
            hidden = torch.cat([hidden, self.static_layers(static)], dim=-1)
        latent: Tensor = self.activation_before(self.to_latent(hidden))
        return latent

    def angles(self, latent: Tensor) -> Tensor:
        """Encoding angles (B, I), in radians, within the bounds of the ansatz's angle scaling."""
        angles: Tensor = self.angle_scaling(latent)
        return angles

    def head_inputs(self, latent: Tensor, middle: Tensor) -> Tensor:
        """What the linear head reads, (B, D), of latent features (B, I) and the middle's outputs (B, O)."""
        # The skip comes last, past norm and dropout: whatever the circuit does, the head sees the encoder.
        middle = self.dropout(self.layer_norm(self.activation_after(middle)))
        if self.spec.skip == "add":
            middle = middle + latent
        elif self.spec.skip == "concat":
            middle = torch.cat([middle, latent], dim=-1)
        deep: Tensor = self.head_layers(middle)
        return deep

    def decode(self, latent: Tensor, middle: Tensor, head: nn.Linear | None = None) -> Tensor:
        """Scaled forecast (B, H, K) from latent features (B, I) and the middle's outputs (B, O).

        Args:
            latent: Of the encoder.
            middle: Of the circuit, or of what stands in its place.
            head: Another head than the model's own, such as one refitted for a backend.
        """
        return self.objective.point(self.head_outputs(latent, middle, head), self.start)

    def quantiles(self, latent: Tensor, middle: Tensor) -> Tensor | None:
        """Scaled quantiles (B, H, K, L) at the objective's levels; None of a model of point forecasts."""
        return self.objective.quantiles(self.head_outputs(latent, middle), self.start)

    def head_outputs(self, latent: Tensor, middle: Tensor, head: nn.Linear | None = None) -> Tensor:
        """What the head gives, (B, H, K), or with several values a target (B, H, K, V); as in `decode`."""
        flat: Tensor = self.output_activation((head or self.head)(self.head_inputs(latent, middle)))
        if self.closed:  # forecasts alone: in a training the weights are loaded, and the head is open
            flat = torch.zeros_like(flat)
        return flat.reshape(-1, *self.shape.outputs)

    def linear_head(self) -> nn.Linear:
        """The head."""
        return self.head

    def keep_head(self, head: nn.Linear) -> None:
        """Take the weights of another head, such as one refitted for a backend."""
        self.head.load_state_dict(head.state_dict())

    def start_at_zero(self) -> None:
        """Forecast 0, scaled, for every window until weights are loaded, as at the start of a training.

        Where targets are scaled as changes from a baseline, that is the baseline's own forecast. The weights
        stay as drawn: a head that *was* 0 would pass no gradient at the first step, and has to grow again.
        """
        self.closed = True

    def untrained_state(self) -> dict[str, Tensor]:
        """Weights that forecast what the model does before training: with a head of 0 where it starts so."""
        state: dict[str, Tensor] = self.state_dict()
        head = ("head.weight", "head.bias") if self.closed else ()
        # In the copy alone: the head that trains keeps its drawn weights.
        return {name: torch.zeros_like(each) if name in head else each for name, each in state.items()}

    def heard_circuits(self) -> list[nn.Module]:
        """The modules whose outputs a training keeps a band of: the quantum layer, if there is one."""
        return [] if self.quantum is None else [self.quantum]

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """Parameters by module, for gradient norms: encoder, circuit (or the MLP in its place), head."""
        layer = self._layer()
        return {
            "encoder": [
                *self.encoder.parameters(),
                *self.static_layers.parameters(),
                *self.to_latent.parameters(),
            ],
            # One key whatever stands there: the column grad_circuit of histories is compared across models.
            "circuit": [] if layer is None else list(layer.parameters()),
            "head": [*self.layer_norm.parameters(), *self.head_layers.parameters(), *self.head.parameters()],
        }


def _read_earlier_names(_: nn.Module, tensors: dict[str, Tensor], *__: object) -> None:
    """Take the MLP's tensors under ``twin``, as earlier versions wrote them, for those of ``mlp``."""
    for name in [name for name in tensors if name.startswith("twin.")]:
        tensors[f"mlp.{name.removeprefix('twin.')}"] = tensors.pop(name)


def _open_head(model: nn.Module, _: object) -> None:
    """Weights were loaded: from now on the model forecasts what they say."""
    assert isinstance(model, HybridForecaster)
    model.closed = False


def build_model(
    spec: ModelSpec,
    shape: Shape,
    *,
    quantum: QuantumLayer | None,
    angle_scaling: str = "pi_tanh",
    seed: int,
    at_zero: bool = False,
) -> HybridForecaster:
    """Build the reference model; the same seed gives the same weights, whatever torch's generator holds.

    Args:
        spec: The ``model`` section of a config.
        shape: Features, horizon and targets of the data.
        quantum: The quantum layer, opened on a backend; None for a classical model.
        angle_scaling: Name of the bounded map from latent features to angles (see `AngleScaling`); that of
            ``spec.middle`` is its own.
        seed: Seed of the classical weights.
        at_zero: Whether the model starts at a forecast of 0 (see `HybridForecaster.start_at_zero`). One
            whose ``output_activation`` is not 0 at 0 starts where it was drawn.

    Raises:
        ConfigError: If ``skip: add`` meets a middle whose outputs are not as many as its inputs, there are
            two middles, the quantum layer scales its inputs too, or ``output_activation`` would bend the
            parameters of a distribution.
    """
    if shape.values > 1 and spec.output_activation != "none":
        raise ConfigError(
            "model.output_activation must be none where a loss has several values a target",
            got=f"{spec.output_activation}, with {shape.values} values",
            fix="Set model.output_activation: none, or take training.loss mse, mae or huber",
        )
    if quantum is not None and quantum.angle_scaling is not None:
        raise ConfigError(
            "The angles must be scaled once: the model does it, before its quantum layer",
            got="a quantum layer that scales its inputs too",
            fix="Build it with QuantumLayer(..., scale_inputs=False)",
        )
    check_static(spec, shape)
    _check_memory(spec, shape)
    mlp = _build_mlp(spec, quantum, seed)
    if spec.middle is not None:
        angle_scaling = spec.middle.angle_scaling
    with seeded_torch(seed):
        model = HybridForecaster(spec, shape, quantum=quantum, mlp=mlp, angle_scaling=angle_scaling)
        if isinstance(model.encoder, RecurrentStack):
            model.encoder.open_forget_gates()
        if spec.activation_before == "relu":
            # On the open side of the ReLU: behind a closed one the encoder has no gradient at all. With
            # ``pi_tanh``, 0.5 is an angle near pi/2, where the expectation values are steepest.
            nn.init.constant_(model.to_latent.bias, 0.5)
    if at_zero and not model.output_activation(torch.zeros(())):
        model.start_at_zero()
    return model


def check_static(spec: ModelSpec, shape: Shape) -> None:
    """Refuse layers for static features where the data have none.

    Raises:
        ConfigError: If there are any.
    """
    if spec.static_layers and not shape.static:
        raise ConfigError(
            "model.static_layers must have static features to read",
            got=f"model.static_layers {list(spec.static_layers)}, and none in data.static",
            fix="Leave model.static_layers out, or name features in data.static",
        )


def _check_memory(spec: ModelSpec, shape: Shape) -> None:
    """Refuse a model that would not fit: weights, gradients and two moments of Adam each.

    Raises:
        ConfigError: With both figures.
    """
    # On the device "meta" tensors have a shape and no memory, so any unit can be counted before it is built.
    with torch.device("meta"):
        encoder = open_encoder(spec, shape)
    # An upper bound for the rest: it is the encoder that a config can make too large.
    weights, width = sum(each.numel() for each in encoder.parameters()), encoder.hidden
    middle = spec.latent if spec.middle is None else max(spec.latent, spec.middle.hidden, spec.middle.outputs)
    weights += middle * (width + 2 * middle + shape.static)
    deep = [2 * middle, *spec.head_layers, prod(shape.outputs)]
    beside = [shape.static, *spec.static_layers, spec.latent]
    weights += sum(before * after for sizes in (deep, beside) for before, after in pairwise(sizes))
    try:
        require_memory(16 * weights, f"A model of {weights:,} weights", fix="Make model.recurrent smaller")
    except BackendError as error:
        raise ConfigError(error.must, got=error.got, fix=error.fix) from error


def _build_mlp(spec: ModelSpec, quantum: QuantumLayer | None, seed: int) -> TanhMLP | None:
    """Draw the MLP from a stream of its own, so that all other weights are those of the hybrid."""
    if spec.middle is None:
        return None
    if quantum is not None:
        raise ConfigError(
            "Either a quantum layer or model.middle must stand between encoder and head",
            got="both",
            fix="Set quantum: null for the MLP, or model.middle: null",
        )
    # The stream's name is that of earlier versions: another would draw other weights for the same seed.
    with seeded_torch(child_seed(seed, "twin")):
        return TanhMLP(spec.latent, spec.middle.hidden, spec.middle.outputs)


@contextmanager
def seeded_torch(seed: int) -> Iterator[None]:
    """Seed torch's CPU generator inside the block and give the caller's state back after it."""
    with torch.random.fork_rng(devices=[]):  # without CUDA: a model is drawn on the CPU, then moved
        torch.manual_seed(seed)
        yield


def _middle_sizes(spec: ModelSpec, quantum: QuantumLayer | None) -> tuple[int, int]:
    inputs = outputs = spec.latent
    if quantum is not None:
        inputs, outputs = quantum.neural_network.num_inputs, quantum.neural_network.output_shape[0]
    elif spec.middle is not None:
        outputs = spec.middle.outputs
    if spec.skip == "add" and inputs != outputs:
        raise ConfigError(
            f"model.skip 'add' needs as many {'circuit' if quantum else 'middle'} outputs as inputs",
            got=f"{inputs} inputs and {outputs} outputs",
            fix="Use skip 'concat' or 'none', or another set of observables",
        )
    return inputs, outputs
