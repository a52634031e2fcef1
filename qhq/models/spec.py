"""What a forecasting model is made of, as the ``model`` section of a config, and the units it may name.

A unit is a module class that is called as PyTorch's own are: ``Unit(features, hidden, batch_first=True)``
maps a sequence (B, T, features) to a pair, the outputs (B, T, hidden) and whatever else. To add one, write
the class and register it: one line in :data:`UNITS`, or in another package an entry point of the group
``qhq.models``. No PyTorch here: reading a config is fast.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self, TypeGuard

from pydantic import AfterValidator, Field, PrivateAttr, Tag, model_validator

from qhq.ansatz.encodings import kind_or
from qhq.ansatz.spec import AngleScalingKind
from qhq.documents import Spec
from qhq.errors import ConfigError, nearest
from qhq.limits import MOST_COUNT, MOST_FACTOR
from qhq.plugins import all_names, find_point, load_point

if TYPE_CHECKING:
    from torch import nn

# Entry points by which another package adds recurrent units: the name of the unit, and its class.
_GROUP = "qhq.models"

UNITS: dict[str, str] = {
    "lstm": "torch.nn:LSTM",
    "gru": "torch.nn:GRU",
    "tcn": "qhq.models.encoder:TemporalConvolution",
    "rnn": "torch.nn:RNN",
    "qlstm": "qhq.models.gates:QLSTM",
    "qgru": "qhq.models.gates:QGRU",
    "qlstm_bare": "qhq.models.gates:BareQLSTM",
    "qlstm_six": "qhq.models.gates:SixCircuitQLSTM",
    "qlstm_six_bare": "qhq.models.gates:BareSixCircuitQLSTM",
    "qgru_bare": "qhq.models.gates:BareQGRU",
}
"""Name of a unit in a config -> where its class is, written as an entry point is."""


GATED = frozenset({"qlstm", "qgru", "qlstm_bare", "qgru_bare", "qlstm_six", "qlstm_six_bare"})
"""Units with circuits in their gates, where the circuit of the config then is, in place of the middle."""


def unit_names() -> list[str]:
    """Names of all units, those of other packages after qhq's own."""
    return all_names(_GROUP, UNITS)


def _check_unit(name: str) -> str:
    """Check that there is a unit of a name; nothing of it is imported.

    Raises:
        ValueError: If there is none, with the nearest name.
    """
    if _find(name) is None:
        raise ValueError(f"'{name}' is no recurrent unit. {nearest(name, unit_names())}")
    return name


def load_unit(name: str) -> type[nn.Module]:
    """Import the class of a unit.

    Raises:
        ConfigError: If there is no such unit, or another package has one that cannot be used.
    """
    from torch import nn

    point = _find(name)  # again: a unit that was there when the config was read may have been uninstalled
    if point is None:
        raise ConfigError("A recurrent unit must be known", got=f"'{name}'", fix=nearest(name, unit_names()))
    unit: type[nn.Module] = load_point(
        point,
        lambda found: isinstance(found, type) and issubclass(found, nn.Module),
        must="A recurrent unit must be a subclass of torch.nn.Module",
        otherwise="choose another model.recurrent unit",
    )
    return unit


def _find(name: str) -> EntryPoint | None:
    """Qhq's own unit first: no other package can replace one, and none is searched for one."""
    # As an entry point, too, so that one line loads both kinds.
    if name in UNITS:
        return EntryPoint(name, UNITS[name], _GROUP)
    return find_point(_GROUP, name)


ACTIVATIONS: dict[str, str] = {
    "none": "torch.nn:Identity",
    "relu": "torch.nn:ReLU",
    "tanh": "torch.nn:Tanh",
    "sigmoid": "torch.nn:Sigmoid",
    "celu": "torch.nn:CELU",
    "elu": "torch.nn:ELU",
    "gelu": "torch.nn:GELU",
    "hardshrink": "torch.nn:Hardshrink",
    "hardsigmoid": "torch.nn:Hardsigmoid",
    "hardswish": "torch.nn:Hardswish",
    "hardtanh": "torch.nn:Hardtanh",
    "leaky_relu": "torch.nn:LeakyReLU",
    "log_sigmoid": "torch.nn:LogSigmoid",
    "mish": "torch.nn:Mish",
    "relu6": "torch.nn:ReLU6",
    "selu": "torch.nn:SELU",
    "silu": "torch.nn:SiLU",
    "softplus": "torch.nn:Softplus",
    "softshrink": "torch.nn:Softshrink",
    "softsign": "torch.nn:Softsign",
    "tanhshrink": "torch.nn:Tanhshrink",
}
"""Name of an activation in a config -> its class, written as an entry point is.

All of PyTorch's that take each value on its own, do the same in training and evaluation, have no weights, and
no setting without a default.
"""


def _check_activation(name: str) -> str:
    if name not in ACTIVATIONS:
        raise ValueError(f"'{name}' is no activation. {nearest(name, list(ACTIVATIONS))}")
    return name


_Activation = Annotated[str, AfterValidator(_check_activation)]
Pooling = Literal["last", "mean", "max", "attention"]
_Skip = Literal["none", "add", "concat"]


# A slip of the keyboard in a sweep is refused here, not by the memory of the machine.
MOST_HIDDEN = 4096
"""Units of a layer."""


class RecurrentLayerSpec(Spec):
    """One layer of the encoder.

    Attributes:
        unit: One of `UNITS`, or another package's.
        hidden: Channels of its outputs, in each direction.
        bidirectional: Whether it is two layers, over the steps onward and backward, and twice as wide.
        residual: Whether its input is added to its outputs, through a linear map where the widths differ.
        layer_norm: Whether the outputs of each step are normalised.
    """

    unit: Annotated[str, AfterValidator(_check_unit)] = "gru"
    hidden: int = Field(16, ge=1, le=MOST_HIDDEN)
    bidirectional: bool = False
    residual: bool = False
    layer_norm: bool = False

    @property
    def width(self) -> int:
        """Channels of its outputs."""
        return 2 * self.hidden if self.bidirectional else self.hidden


class CircuitsSpec(Spec):
    """Several circuits of the config's ansatz, each with weights of its own, or one over the whole window.

    Attributes:
        arrange: ``parallel``: side by side behind the encoder, their outputs together go into the head.
            ``sequence``: each takes what a linear map makes of the outputs of the one before.
            ``per_horizon``, ``per_target``: side by side, and each forecasts its horizon or target alone.
            ``window``: one circuit in place of the encoder; its inputs are the steps of the window in turn.
        count: How many, where the data do not say it.
    """

    arrange: Literal["parallel", "sequence", "per_horizon", "per_target", "window"] = "parallel"
    count: int | None = Field(None, ge=1, le=64)

    @model_validator(mode="after")
    def _count_where_it_counts(self) -> Self:
        if self.count is not None and self.arrange not in ("parallel", "sequence"):
            raise ValueError(f"count must be left out: '{self.arrange}' has as many circuits as it needs")
        return self


def stands_apart(spec: Spec) -> TypeGuard[ModelSpec]:
    """Whether a config's circuit stands in other places than one between encoder and head."""
    return isinstance(spec, ModelSpec) and (is_gated(spec) or spec.circuits is not None)


def is_gated(spec: Spec) -> TypeGuard[ModelSpec]:
    """Whether the circuit of a config stands in the gates of a recurrent unit."""
    return isinstance(spec, ModelSpec) and any(layer.unit in GATED for layer in spec.recurrent)


class MiddleSpec(Spec):
    """A tanh MLP in the place of a quantum layer: the same angles in, ``outputs`` values out.

    Attributes:
        hidden: Hidden units.
        outputs: Values that it gives, O; a circuit's observables.
        angle_scaling: How inputs of any size become angles first, as before a circuit.
    """

    hidden: int = Field(4, ge=1, le=MOST_HIDDEN)
    outputs: int = Field(4, ge=1, le=MOST_HIDDEN)
    angle_scaling: AngleScalingKind = "pi_tanh"


MODULE_IN_MEMORY = "memory:"
"""How ``file`` begins where it stands for a module in memory (`qhq.wrap`)."""

COPY = "model.py"
"""Name of the copy of ``file`` that a run carries."""

# Keys that a module of one's own leaves a meaning: the last two say what stands in its circuit's place.
_BESIDE_FILE = ("file", "latent", "middle")


@dataclass(frozen=True, eq=False)
class Carrier:
    """The run that a config was read from: its copy of ``file`` is meant, not what lies at that path now."""

    folder: Path

    def __eq__(self, other: object) -> bool:
        """Where a config was read from is no part of what it says."""
        return other is None or isinstance(other, Carrier)

    def __hash__(self) -> int:
        """Equal for all, as they are."""
        return 0


class ModelSpec(Spec):
    """Recurrent encoder, latent features, optional quantum layer, head; or a module of one's own.

    Attributes:
        encoder: ``recurrent``; or ``none``: all values of a window go into the latent features by one linear
            map, and ``recurrent`` means nothing.
        recurrent: Layers of the encoder, the first one first.
        pooling: What makes one vector of the states at all steps.
        latent: Number of latent features without a quantum layer; with one they are as many as the circuit's
            inputs.
        middle: What stands in the place of a quantum layer, for the classical baseline model.
        activation_before: Of the latent features, before they become angles.
        activation_after: Of the circuit's outputs.
        layer_norm: Whether the circuit's outputs are normalised, after their activation.
        dropout: Share of values that are dropped in training, between recurrent layers and after the middle.
        skip: The connection around the circuit: its inputs are added to its outputs (``add``, which needs as
            many of each), put beside them (``concat``), or left out (``none``).
        head_layers: Sizes of hidden layers before the last linear map.
        head_activation: After each of those, and after each layer of ``static_layers``.
        static_layers: Sizes of layers that static features go through before they join the encoder's vector.
        output_activation: Of the scaled forecast.
        circuits: Several circuits in the middle, or one over the whole window.
        file: A Python file whose ``build(shape, circuit)`` returns the whole model (`qhq.models.own`), in
            place of all other keys but ``latent`` and ``middle``.
    """

    kind: Literal["hybrid"] = "hybrid"
    encoder: Literal["recurrent", "none"] = "recurrent"
    recurrent: tuple[RecurrentLayerSpec, ...] = Field((RecurrentLayerSpec(),), min_length=1, max_length=64)
    pooling: Pooling = "last"
    latent: int = Field(4, ge=1, le=MOST_HIDDEN)
    middle: MiddleSpec | None = None
    activation_before: _Activation = "none"
    activation_after: _Activation = "none"
    layer_norm: bool = False
    dropout: float = Field(0.0, ge=0.0, lt=1.0)
    skip: _Skip = "add"
    head_layers: tuple[Annotated[int, Field(ge=1, le=MOST_HIDDEN)], ...] = Field((), max_length=16)
    head_activation: _Activation = "relu"
    static_layers: tuple[Annotated[int, Field(ge=1, le=MOST_HIDDEN)], ...] = Field((), max_length=16)
    output_activation: _Activation = "none"
    circuits: CircuitsSpec | None = None
    file: str | None = Field(None, min_length=1, max_length=4096)
    _carrier: Carrier | None = PrivateAttr(default=None)

    @property
    def carrier(self) -> Carrier | None:
        """The run that it was read from, if any."""
        return self._carrier

    def carried_by(self, carrier: Carrier | None) -> ModelSpec:
        """The same, known to be read from a run; None where a user's own config or command names the file."""
        copy = self.model_copy()
        copy._carrier = carrier
        return copy

    @model_validator(mode="after")
    def _stands_alone(self) -> Self:
        if self.file is None:
            return self
        # By value, not by what was given: the config of a run spells every key out.
        others = [
            name
            for name, field in type(self).model_fields.items()
            if name not in _BESIDE_FILE
            and getattr(self, name) != field.get_default(call_default_factory=True)
        ]
        if others:
            raise ValueError(
                f"file is the whole model, so that {', '.join(others)} would be ignored: leave"
                f" {'it' if len(others) == 1 else 'them'} out"
            )
        return self


class RidgeSpec(Spec):
    """Ridge regression on standardised features.

    Attributes:
        strengths: Penalties to choose from, of ``mean((y - f w)^2) + strength |w|^2``.
        intercept: Whether it adds a constant. Without, features are taken as they are, and not standardised.
        refit: Whether it is fitted once more, on the training and the validation split together, after the
            strength is chosen: the newest rows then count too.
    """

    kind: Literal["ridge"] = "ridge"
    strengths: tuple[float, ...] = Field(
        (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0), min_length=1, max_length=100
    )
    intercept: bool = Field(True, exclude_if=lambda given: given)
    refit: bool = Field(False, exclude_if=lambda given: not given)


class LassoSpec(Spec):
    """The lasso on standardised features, which leaves some out.

    Attributes:
        strengths: Penalties to choose from, as shares of the smallest that leaves every feature out.
    """

    kind: Literal["lasso"]
    strengths: tuple[float, ...] = Field((1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3), min_length=1, max_length=100)


class BoostingSpec(Spec):
    """Gradient-boosted regression trees, for each output its own; how many is chosen on validation.

    Attributes:
        trees: Most trees an output.
        depth: Of a tree, in splits.
        learning_rate: Part of a tree that is added.
        subsample: Part of the windows that a tree is grown on.
    """

    kind: Literal["boosting"]
    trees: int = Field(100, ge=1, le=10_000)
    depth: int = Field(3, ge=1, le=12)
    learning_rate: float = Field(0.05, gt=0.0, le=1.0)
    subsample: float = Field(0.5, gt=0.0, le=1.0)


HeadSpec = Annotated[
    Annotated[RidgeSpec, Tag("ridge")]  # without a kind it is this one
    | Annotated[LassoSpec, Tag("lasso")]
    | Annotated[BoostingSpec, Tag("boosting")],
    kind_or("ridge"),
]
"""What is fitted on the features of a frozen circuit."""


class FeaturesSpec(Spec):
    """A frozen circuit, and a head that scikit-learn fits on what it gives: forward passes, no gradients.

    Attributes:
        middle: See ``latent``.
        projection: How the F values of a window become the circuit's I inputs: by principal components of
            the training windows, each of unit variance (``pca``), by a seeded Gaussian matrix (``random``),
            as the newest I of them, each standardised (``last``), or as they are (``none``, where there are
            I of them).
        bandwidth: By what the inputs are multiplied before the angle scaling; small angles make features
            that are nearly linear.
        observables: Those of the ansatz, or ``projected``: all Pauli operators on one and on two qubits.
        include_inputs: Whether the head sees the window itself beside the features.
        head: What is fitted; its strength is chosen on the validation split.
        samples: Windows of each split that the circuit is run for, a seeded subset; null is all of them. What
            a device is paid for.
        latent: Number of inputs where there is no circuit, and ``middle`` is what stands in its place, frozen
            too, for the classical baseline model; without it the head sees the window alone.
    """

    file: ClassVar[None] = None
    """A module of one's own is a model of the other kind."""

    kind: Literal["features"]
    projection: Literal["pca", "random", "last", "none"] = "pca"
    bandwidth: float = Field(0.3, gt=0.0, le=MOST_FACTOR)
    observables: Literal["ansatz", "projected"] = "ansatz"
    include_inputs: bool = False
    head: HeadSpec = RidgeSpec()
    samples: int | None = Field(None, ge=8, le=MOST_COUNT)
    latent: int = Field(4, ge=1, le=MOST_HIDDEN)
    middle: MiddleSpec | None = None


AnyModelSpec = Annotated[
    Annotated[ModelSpec, Tag("hybrid")]  # without a kind it is this one
    | Annotated[FeaturesSpec, Tag("features")],
    kind_or("hybrid"),
]
"""Every model that a config may name."""
