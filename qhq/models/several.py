"""Several circuits in the middle: side by side, in sequence, one a horizon or target, or over the window.

::

    parallel      encoder -> G linear maps -> G circuits -> all outputs -> head
    sequence      encoder -> linear map -> circuit -> linear map -> circuit ... -> head
                  of an ansatz of parts (`qhq.ansatz.spec`): its parts, one after the other
    per_horizon   encoder -> H linear maps -> H circuits -> H linear maps, one forecast each
    per_target    the same with K circuits, one for each target
    window        steps (B, T, F) -> one linear map for all -> one circuit of T * I/T inputs -> head

All circuits are the config's ansatz, each with weights of its own, so one executor answers for all of them;
side by side they are one call of it (`qhq.models.gates.GateCircuits`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional

from qhq.ansatz.program import PartSizes
from qhq.errors import ConfigError
from qhq.models.gates import (
    Circuits,
    GateCircuits,
    GateMaps,
    MakeCircuits,
    changed_keys,
    circuits_in,
    maker_of,
)
from qhq.models.hybrid import Shape, check_static, dense, open_activation, open_encoder, seeded_torch
from qhq.models.own import as_forecaster
from qhq.models.own_forecaster import OwnForecaster
from qhq.models.source import ModuleSource
from qhq.models.spec import CircuitsSpec, ModelSpec

# Circuits side by side or in sequence where a config does not say how many.
_FEW = 2


class SideBySide(nn.Module):
    """Circuits that each take a linear map of the same vector (B, C); outputs (B, G, O)."""

    def __init__(self, width: int, count: int, make: MakeCircuits, activation: str) -> None:
        super().__init__()
        self.circuits = make(0, count)
        # One matrix for all of them: a map a circuit would be a call each, of a few rows.
        self.enter = nn.Linear(width, count * self.circuits.num_inputs)
        self.activation = open_activation(activation)

    def forward(self, vector: Tensor) -> Tensor:
        """Outputs of all circuits."""
        values = self.activation(self.enter(vector))
        found: Tensor = self.circuits(
            values.reshape(len(vector), -1, self.circuits.num_inputs), self.circuits.weights()
        )
        return found


class InSequence(nn.Module):
    """Circuits of which each takes a linear map of the outputs before, the first of a vector (B, C)."""

    def __init__(self, width: int, count: int, make: MakeCircuits, activation: str) -> None:
        super().__init__()
        self.circuits = nn.ModuleList(make(number, 1) for number in range(count))
        first = self.circuits[0]
        assert isinstance(first, GateCircuits)
        widths = [width, *[first.num_outputs] * (count - 1)]
        self.maps = nn.ModuleList(nn.Linear(each, first.num_inputs) for each in widths)
        self.activation = open_activation(activation)

    def forward(self, vector: Tensor) -> Tensor:
        """Outputs (B, 1, O) of the last circuit."""
        for linear, circuit in zip(self.maps, self.circuits, strict=True):
            found: Tensor = circuit(self.activation(linear(vector)).unsqueeze(1), circuit.weights())  # type: ignore[operator]
            vector = found.squeeze(1)
        return found


class PartsInSequence(nn.Module):
    """The parts of one circuit in sequence, the first of a vector (B, C), each of the outputs before.

    The circuit is one register, asked once for each part, whose own inputs alone are not 0: so one backend
    and one program answer for all parts, as for every other model.
    """

    def __init__(self, width: int, parts: Sequence[PartSizes], make: MakeCircuits, activation: str) -> None:
        super().__init__()
        self.circuits, self.parts = make(0, 1), tuple(parts)
        # One more than the parts: nothing maps what the last one gives.
        widths = [width, *(each.outputs for each in parts)]
        self.maps = nn.ModuleList(
            nn.Linear(before, part.inputs) for before, part in zip(widths, parts, strict=False)
        )
        self.activation = open_activation(activation)

    def forward(self, vector: Tensor) -> Tensor:
        """Outputs (B, 1, O) of the last part."""
        weights = self.circuits.weights()
        first_input = first_output = 0
        for linear, part in zip(self.maps, self.parts, strict=True):
            behind = self.circuits.num_inputs - first_input - part.inputs
            values = functional.pad(self.activation(linear(vector)), (first_input, behind))
            found: Tensor = self.circuits(values.unsqueeze(1), weights)
            vector = found[:, 0, first_output : first_output + part.outputs]
            first_input, first_output = first_input + part.inputs, first_output + part.outputs
        return vector.unsqueeze(1)


class OverWindow(nn.Module):
    """One circuit whose inputs are the steps of a window in turn, oldest first, by one linear map for all.

    Raises:
        ConfigError: If the circuit has not as many inputs for each step as for every other.
    """

    def __init__(self, shape: Shape, make: MakeCircuits, activation: str) -> None:
        super().__init__()
        self.circuits = make(0, 1)
        each, left = divmod(self.circuits.num_inputs, shape.window)
        if left or not each:
            raise ConfigError(
                "A circuit over the window must have as many inputs for each step as for every other",
                got=f"{self.circuits.num_inputs} inputs for {shape.window} steps",
                fix=f"Give it a layer a step: --set quantum.depth={shape.window} --set"
                " 'quantum.overrides={encoding: {repeat: true, fresh: true}}'",
            )
        self.enter = nn.Linear(shape.features, each)
        self.activation = open_activation(activation)

    def forward(self, windows: Tensor) -> Tensor:
        """Outputs (B, 1, O) of windows (B, T, F)."""
        values = self.activation(self.enter(windows)).flatten(1)
        found: Tensor = self.circuits(values.unsqueeze(1), self.circuits.weights())
        return found


class SeveralNet(nn.Module):
    """A forecaster with several circuits between encoder and head, or one in place of the encoder.

    Args:
        spec: The ``model`` section of a config, with its ``circuits``.
        shape: Sizes of the data.
        make: Makes circuits.
        parts: Of the ansatz, where it has any.
    """

    def __init__(
        self, spec: ModelSpec, shape: Shape, make: MakeCircuits, parts: Sequence[PartSizes] = ()
    ) -> None:
        super().__init__()
        assert spec.circuits is not None
        self.shape, self.arrange = shape, spec.circuits.arrange
        beside = [shape.static, *spec.static_layers]
        self.static_layers = dense(beside, spec.head_activation) if spec.static_layers else nn.Identity()
        before, static = spec.activation_before, beside[-1]
        self.middle: nn.Module
        if self.arrange == "window":
            self.encoder: nn.Module = nn.Identity()
            # Every input of this circuit belongs to a step, so static features join behind it.
            self.middle, behind = OverWindow(shape, make, before), static
        else:
            encoder = open_encoder(spec, shape)
            self.encoder, behind = encoder, 0
            count = _count_of(spec.circuits, shape)
            kind: Callable[..., nn.Module] = InSequence if self.arrange == "sequence" else SideBySide
            if parts and self.arrange == "sequence":
                self.middle = PartsInSequence(encoder.hidden + static, parts, make, before)
            else:
                self.middle = kind(encoder.hidden + static, count, make, before)
        outputs = self._outputs()
        self.activation_after = open_activation(spec.activation_after)
        self.dropout = nn.Dropout(spec.dropout)
        self.heads, self.head = None, None
        if self.arrange in ("per_horizon", "per_target"):
            by_horizon = self.arrange == "per_horizon"
            groups = shape.horizon if by_horizon else shape.targets
            self.heads = GateMaps(groups, outputs, prod(shape.outputs) // groups)
            return
        sides = _count_of(spec.circuits, shape) if self.arrange == "parallel" else 1
        self.layer_norm = nn.LayerNorm(sides * outputs) if spec.layer_norm else nn.Identity()
        sizes = [sides * outputs + behind, *spec.head_layers]
        # No stage of a drawing where there is none.
        self.head_layers = dense(sizes, spec.head_activation) if spec.head_layers else nn.Identity()
        self.head = nn.Linear(sizes[-1], prod(shape.outputs))

    def _outputs(self) -> int:
        if isinstance(self.middle, PartsInSequence):
            return self.middle.parts[-1].outputs
        first = next(each for each in self.modules() if isinstance(each, GateCircuits))
        return first.num_outputs

    def forward(self, windows: Tensor, static: Tensor | None = None) -> Tensor:
        """Outputs (B, H, K), or (B, H, K, V), of scaled windows (B, T, F) and static features (B, S)."""
        vector = self.encoder(windows)
        beside = None if static is None else self.static_layers(static)
        if beside is not None and self.arrange != "window":
            vector = torch.cat([vector, beside], dim=-1)
        answers = self.activation_after(self.middle(vector))
        if self.heads is not None:
            outputs: Tensor = self.heads(self.dropout(answers))
            if self.arrange == "per_horizon":
                return outputs.reshape(-1, *self.shape.outputs)
            # The heads are by target, a forecast is by horizon first.
            horizon, targets, *more = self.shape.outputs
            return outputs.reshape(-1, targets, horizon, *more).transpose(1, 2)
        assert self.head is not None
        values = self.dropout(self.layer_norm(answers.flatten(1)))
        if beside is not None and self.arrange == "window":
            values = torch.cat([values, beside], dim=-1)
        flat: Tensor = self.head(self.head_layers(values))
        return flat.reshape(-1, *self.shape.outputs)


def _count_of(spec: CircuitsSpec, shape: Shape) -> int:
    known = {"per_horizon": shape.horizon, "per_target": shape.targets, "window": 1}
    return known.get(spec.arrange, spec.count or _FEW)


_ENCODER = ("pooling", "static_layers")
_HEAD = ("layer_norm", "head_layers", "head_activation")
_ALL = (
    "circuits", "encoder", "recurrent", "latent", "middle", "dropout", "activation_before",
    "activation_after", "skip",
)  # fmt: skip


def build_several(
    spec: ModelSpec,
    shape: Shape,
    circuits: Circuits,
    *,
    seed: int,
    dtype: torch.dtype = torch.float32,
    at_zero: bool = False,
) -> OwnForecaster:
    """Build a model with several circuits; arguments as of `qhq.models.gates.build_gated`.

    Raises:
        ConfigError: If there is no circuit and nothing in its place, a key has no meaning for the
            arrangement, or the circuit does not fit it.
    """
    _check_keys(spec, shape)
    parts = () if circuits.ansatz is None else circuits.ansatz.parts
    _check_count(spec.circuits, parts)
    with seeded_torch(seed):
        net = SeveralNet(spec, shape, maker_of(spec, circuits, seed), parts).to(dtype)
        if spec.activation_before == "relu":
            # On the open side of the ReLU, as in the reference model.
            for each in _entries(net):
                nn.init.constant_(each.bias, 0.5)
    # No file to carry into the run: its config says it all.
    source = ModuleSource("model.circuits", "")
    return as_forecaster(source, net, shape, circuits_in(net), seed=seed, dtype=dtype, at_zero=at_zero)


def _entries(net: SeveralNet) -> list[nn.Linear]:
    """The linear maps whose outputs the circuits take."""
    middle = net.middle
    in_sequence = isinstance(middle, InSequence | PartsInSequence)
    found = middle.get_submodule("maps").children() if in_sequence else [middle.get_submodule("enter")]
    return [each for each in found if isinstance(each, nn.Linear)]


def _check_count(circuits: CircuitsSpec | None, parts: Sequence[PartSizes]) -> None:
    """Refuse a count beside parts, of which each stands once in the sequence.

    Raises:
        ConfigError: If there is one.
    """
    if circuits is not None and circuits.arrange == "sequence" and parts and circuits.count is not None:
        raise ConfigError(
            "model.circuits.count must be left out where an ansatz has parts, which stand once each in the"
            " sequence",
            got=f"count {circuits.count} for {len(parts)} parts",
            fix="Leave it out, or list as many parts in the ansatz",
        )


def _check_keys(spec: ModelSpec, shape: Shape) -> None:
    """Refuse keys that would be ignored.

    Raises:
        ConfigError: With their names.
    """
    # As beside ``encoder: none``, ``recurrent`` means nothing to a circuit over the window, and may be there.
    assert spec.circuits is not None
    arrange = spec.circuits.arrange
    known = (
        _ALL
        + (("static_layers",) if arrange == "window" else _ENCODER)
        + (() if arrange.startswith("per_") else _HEAD)
    )
    others = changed_keys(spec, known) + ([] if spec.skip in ("add", "none") else ["skip"])
    if others:
        raise ConfigError(
            f"Keys of model must have a meaning beside circuits arranged as {arrange}",
            got=", ".join(f"model.{name}" for name in others),
            fix="Leave these keys out, or write the model as a module of your own (docs/models.md)",
        )
    check_static(spec, shape)
