"""Recurrent units with circuits in their gates: QLSTM and QGRU (after Chen, Yoo and Fang, arXiv:2009.01783).

A gate of the classical unit is a linear map and a nonlinearity; here a circuit stands in the place of the
map, each gate's with weights of its own. With linear layers around it (``qlstm``, ``qgru``) a linear map
makes the circuit's inputs of the step and the state, and another one the gate of its outputs, so that any
ansatz fits any width. Without them (``qlstm_bare``, ``qgru_bare``) the circuit takes the step and the state
themselves, I = F + hidden, and its outputs are the gate, O = hidden.

::

    v_t = [x_t, h_(t-1)]           one batched call a step: rows (B * G, I + W) of all G gates
    f, i, o = sigma(q_f(v)), sigma(q_i(v)), sigma(q_o(v));  g = tanh(q_g(v))
    c_t = f * c_(t-1) + i * g;  h_t = o * tanh(c_t)

The paper has two circuits more (``qlstm_six``): the state and the output of the unit are those of a fifth and
a sixth circuit, which take ``o * tanh(c_t)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from qhq.ansatz.program import Ansatz
from qhq.backends.executor import Executor
from qhq.documents import Spec
from qhq.errors import ConfigError
from qhq.models.gated_pass import GRUSteps, LSTMSteps, Way, states_of
from qhq.models.hybrid import Shape, seeded_torch
from qhq.models.own import as_forecaster
from qhq.models.own_forecaster import CircuitStandIn, OwnForecaster
from qhq.models.source import ModuleSource
from qhq.models.spec import ModelSpec, RecurrentLayerSpec, is_gated, load_unit
from qhq.quantum.differentiation import differentiable_values, inside_transform, is_recorded
from qhq.quantum.layer import QuantumLayer
from qhq.quantum.network import ExecutorNetwork
from qhq.seeding import child_seed

MakeCircuits = Callable[[int, int], "GateCircuits"]
"""(index of the layer, count of its gates) -> the circuits of the gates."""


def by_rows(ansatz: Ansatz) -> Ansatz:
    """The same program with its weights as inputs behind the others, so that every row may have its own.

    The gates of a unit then are rows of one batch. The other way to ask all of them at once, one circuit on
    the product of their qubits, takes 2^(G * Q) amplitudes for G * 2^Q.
    """
    inputs = ansatz.inputs + ansatz.weights
    return Ansatz(ansatz.circuit, inputs, (), ansatz.observables, ansatz.angle_scaling)


class _Together:
    """The executor of `by_rows`, and the one that its gates stand on as long as it may answer for them."""

    def __init__(self, network: ExecutorNetwork, alone: Executor) -> None:
        self.network, self.alone = network, alone

    def __deepcopy__(self, memo: dict[int, Any]) -> _Together:
        """Shared by copies, as executors are."""
        return self

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        """A pickle leaves executors behind: the gates are asked one by one where they are opened again."""
        return type(None), ()


class GateCircuits(nn.Module):
    """The circuits of a unit's gates, one layer a gate; asked all at once where their backend can.

    Args:
        layers: A quantum layer a gate, of the same ansatz, or what stands in its place.
        together: An executor of `by_rows` on the backend that the layers stand on; None asks one by one.
    """

    is_one_stage = True
    """In a drawing of the model."""

    def __init__(self, layers: Sequence[nn.Module], together: Executor | None = None) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        first: Any = layers[0]
        self.num_inputs: int = first.num_inputs
        self.num_outputs: int = first.num_outputs
        self._together: _Together | None = None
        if together is not None and isinstance(first, QuantumLayer):
            alone = first.neural_network.executor
            self._together = _Together(ExecutorNetwork(by_rows(first.ansatz), together), alone)

    def weights(self) -> Tensor | None:
        """Weights (G, W) where all gates can be asked at once, for the steps of a sequence; else None."""
        if not self._can_ask_together():
            return None
        return torch.stack([layer.weight for layer in self.layers])  # type: ignore[misc]

    def forward(self, values: Tensor, weights: Tensor | None = None, *, first: int = 0) -> Tensor:
        """Outputs (B, G, O) of what each gate's circuit takes, (B, G, I), numbers of any size.

        Args:
            values: Of each gate, or of some that follow each other.
            weights: What `weights` gives, so that it is put together once a sequence; None asks one by one.
            first: Of the gates that are asked.
        """
        asked = range(first, first + values.shape[1])
        if weights is None:
            answers = [self.layers[gate](values[:, place]) for place, gate in enumerate(asked)]
            return torch.stack(answers, dim=1)
        batch, gates = values.shape[:2]
        angles = values if self.scaling is None else self.scaling(values)
        if self.is_heard:
            # Asked at once, no layer runs that would tell its listener by itself.
            for place, gate in enumerate(asked):
                layer = self.layers[gate]
                assert isinstance(layer, QuantumLayer)
                layer.neural_network.hear(angles[:, place])
        own = weights[first : first + gates].to(angles.dtype)
        rows = torch.cat([angles, own.expand(batch, -1, -1)], dim=-1)
        found = differentiable_values(self.network, rows.view(batch * gates, -1), rows.new_empty(0))
        return found.view(batch, gates, -1)

    @property
    def network(self) -> ExecutorNetwork:
        """What asks the circuits of all gates at once, a row a gate; only where `weights` are not None."""
        assert self._together is not None
        return self._together.network

    @property
    def scaling(self) -> nn.Module | None:
        """The map of numbers to angles, of all circuits the same."""
        first = self.layers[0]
        assert isinstance(first, QuantumLayer)
        return first.angle_scaling

    @property
    def is_heard(self) -> bool:
        """Whether somebody listens to the angles."""
        first = self.layers[0]
        return isinstance(first, QuantumLayer) and first.neural_network.heard is not None

    def _can_ask_together(self) -> bool:
        """Not where a layer was opened on another backend since, nor where somebody listens to the layers."""
        if self._together is None:
            return False
        # Hooks are private attributes, since torch has no public way to ask for them.
        return all(
            isinstance(layer, QuantumLayer)
            and layer.neural_network.is_open_on(self._together.alone)
            and not layer._forward_hooks
            and not layer._forward_pre_hooks
            and not (layer.angle_scaling is not None and layer.angle_scaling._forward_hooks)
            for layer in self.layers
        )


class GateMaps(nn.Module):
    """A linear layer for each gate, applied at once: outputs (B, G, O) -> gates (B, G, hidden).

    Drawn as ``torch.nn.Linear`` is.
    """

    def __init__(self, gates: int, outputs: int, hidden: int) -> None:
        super().__init__()
        bound = outputs**-0.5
        self.weight = nn.Parameter(torch.empty(gates, outputs, hidden).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(gates, 1, hidden).uniform_(-bound, bound))

    def forward(self, answers: Tensor, *, first: int = 0) -> Tensor:
        """Gates before their nonlinearity, of all from the ``first`` or of some that follow it."""
        own = slice(first, first + answers.shape[1])
        return torch.baddbmm(self.bias[own], answers.transpose(0, 1), self.weight[own]).transpose(0, 1)


class _GatedUnit(nn.Module):
    """What both units share: the maps around the circuits, and the loop over the steps.

    Args:
        features: F, of a step.
        hidden: Width of the state.
        circuits: Of the gates.
    """

    reads: ClassVar[tuple[str, ...]]
    """What the circuit of each gate takes: the ``step``, the ``state``, or ``both``."""
    steps: ClassVar[type[LSTMSteps | GRUSteps]]
    """What the gates do."""
    around: ClassVar[bool] = True
    """Whether linear layers stand around the circuits."""

    is_one_pass = True
    """Whether a hook inside takes the shortest way from it."""

    def __init__(self, features: int, hidden: int, circuits: GateCircuits) -> None:
        super().__init__()
        self.features, self.hidden_size, self.circuits = features, hidden, circuits
        inputs, outputs = circuits.num_inputs, circuits.num_outputs
        self._maps = tuple(dict.fromkeys(self.reads))
        self._places = tuple(self._maps.index(each) for each in self.reads)
        if self.around:
            widths = {"both": features + hidden, "step": features, "state": hidden}
            self.enter = nn.ModuleDict({each: nn.Linear(widths[each], inputs) for each in self._maps})
            self.leave = GateMaps(len(self.reads), outputs, hidden)
        elif (inputs, outputs) != (features + hidden, hidden):
            raise ConfigError(
                "A unit without linear layers needs a circuit with an input for each feature and unit, and an"
                " output for each unit",
                got=f"{features} + {hidden} and {hidden}, where the circuit has {inputs} inputs and"
                f" {outputs} outputs",
                fix=f"Take an ansatz with {features + hidden} inputs and {hidden} observables, or the unit"
                " with linear layers, without _bare",
            )

    def forward(self, sequence: Tensor) -> tuple[Tensor, Tensor]:
        """States (B, T, hidden) of a sequence (B, T, F), and the last one (B, hidden)."""
        weights = self.circuits.weights()
        if weights is not None and self._can_pass(sequence):
            states = self._pass(sequence, weights).transpose(0, 1)
            return states, states[:, -1]
        state = cell = sequence.new_zeros(len(sequence), self.hidden_size)
        each = []
        for step in sequence.unbind(dim=1):
            values = self.gate_values(step, state, weights, range(len(self.reads)))
            state, cell = self.steps.plain(values, state, cell)
            each.append(state)
        return torch.stack(each, dim=1), state

    def gate_values(self, step: Tensor, state: Tensor, weights: Tensor | None, gates: range) -> Tensor:
        """What some gates are before their nonlinearity, (G, B, hidden), of a step (B, F) and a state."""
        answers: Tensor = self.circuits(self.circuit_inputs(step, state, gates), weights, first=gates.start)
        found: Tensor = self.leave(answers, first=gates.start) if self.around else answers
        return found.transpose(0, 1)

    def circuit_inputs(self, step: Tensor, state: Tensor, gates: range) -> Tensor:
        """What the circuits of some gates take, (B, G, I), of a step (B, F) and a state (B, hidden)."""
        read = [self.reads[gate] for gate in gates]
        parts = {"both": torch.cat([step, state], dim=-1)}
        if self.around:
            parts |= {"step": step, "state": state}
            values = {each: self.enter[each](parts[each]) for each in dict.fromkeys(read)}
        else:
            parts["step"] = torch.cat([step, torch.zeros_like(state)], dim=-1)
            parts["state"] = torch.cat([torch.zeros_like(step), state], dim=-1)
            values = parts
        return torch.stack([values[each] for each in read], dim=1)

    def _can_pass(self, sequence: Tensor) -> bool:
        """Whether a sequence can go through as one node: on an engine, with nobody listening on the way."""
        return (
            # A node of one's own calls NumPy: what compiles, maps or casts could not follow it, and a hook on
            # a module that is passed by would never be called.
            hasattr(self.circuits.network.executor, "forward")
            and sequence.device.type == "cpu"
            and sequence.dtype in (torch.float32, torch.float64)
            and not is_recorded()
            and not inside_transform()
            and not torch.is_autocast_enabled("cpu")
            and not self.circuits.is_heard
            and not any(each._forward_hooks or each._forward_pre_hooks for each in self.modules())
        )

    def _pass(self, sequence: Tensor, weights: Tensor) -> Tensor:
        """States (T, B, hidden) of a sequence (B, T, F)."""
        pads = {"both": (0, 0), "step": (0, self.hidden_size), "state": (self.features, 0)}
        columns: dict[str, Tensor]
        bias: Tensor | None = None
        if self.around:
            linears = {each: cast(nn.Linear, self.enter[each]) for each in self._maps}
            columns = {each: linear.weight for each, linear in linears.items()}
            bias = torch.cat([linear.bias for linear in linears.values()])
        else:
            own = torch.eye(self.features + self.hidden_size, dtype=sequence.dtype)
            columns = {"both": own, "step": own[:, : self.features], "state": own[:, self.features :]}
        # Zeros where a map does not read: one product then serves all of them.
        whole = torch.cat([functional.pad(columns[each], pads[each]) for each in self._maps])
        by_step, by_state = whole[:, : self.features], whole[:, self.features :]
        # All steps in one product: only what depends on the state is left for the loop over time.
        entered = functional.linear(sequence.transpose(0, 1), by_step, bias)
        leave = [self.leave.weight, self.leave.bias] if self.around else []
        way = Way(self.circuits.network, self.circuits.scaling, self._places, self.steps)
        return states_of(way, entered, [by_state, weights.to(entered.dtype), *leave])


class QLSTM(_GatedUnit):
    """An LSTM with a circuit in each of its four gates, in the order i, f, o, g."""

    reads: ClassVar[tuple[str, ...]] = ("both",) * 4
    steps = LSTMSteps
    FORGET: ClassVar[int] = 1

    def __init__(self, features: int, hidden: int, circuits: GateCircuits) -> None:
        super().__init__(features, hidden, circuits)
        if self.around:
            # As of every LSTM of qhq: the forget gate starts open (Jozefowicz et al., ICML 2015).
            with torch.no_grad():
                self.leave.bias[self.FORGET] = 1.0


class SixCircuitQLSTM(QLSTM):
    """The QLSTM of Chen, Yoo and Fang: circuits make the state and the output, too.

    ``h_t = q_5(o * tanh(c_t))``, ``y_t = q_6(o * tanh(c_t))``: two calls a step, of four circuits and of two.
    Without linear layers both take ``o * tanh(c_t)`` in the place of the state, and 0 in that of the step.
    """

    reads = (*("both",) * 4, "state", "state")

    def forward(self, sequence: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs y (B, T, hidden) of a sequence (B, T, F), and the last state h (B, hidden)."""
        weights = self.circuits.weights()
        state = cell = sequence.new_zeros(len(sequence), self.hidden_size)
        outputs = []
        for step in sequence.unbind(dim=1):
            values = self.gate_values(step, state, weights, range(4))
            bent, cell = self.steps.plain(values, state, cell)
            state, output = self.gate_values(step, bent, weights, range(4, 6)).unbind()
            outputs.append(output)
        return torch.stack(outputs, dim=1), state


class QGRU(_GatedUnit):
    """A GRU with circuits in its gates, in the order r, z, n_x, n_h.

    The candidate is made of the step and the state apart, ``tanh(q_x(x) + r * q_h(h))``, as in torch's own
    GRU: so no circuit waits for the reset gate, and all four are asked at once.
    """

    reads = ("both", "both", "step", "state")
    steps = GRUSteps


class BareQLSTM(QLSTM):
    """A `QLSTM` without linear layers: its circuits take the step and the state, and give the gates."""

    around = False


class BareSixCircuitQLSTM(SixCircuitQLSTM):
    """A `SixCircuitQLSTM` without linear layers, as in the paper."""

    around = False


class BareQGRU(QGRU):
    """A `QGRU` without linear layers."""

    around = False


class GatedNet(nn.Module):
    """Recurrent layers, some of which have circuits in their gates, and a linear head.

    Args:
        spec: The ``model`` section of a config.
        shape: Sizes of the data.
        make: Makes the circuits of a layer's gates.
    """

    def __init__(self, spec: ModelSpec, shape: Shape, make: MakeCircuits) -> None:
        super().__init__()
        self.shape = shape
        sizes = [shape.features, *(layer.hidden for layer in spec.recurrent)]
        self.layers = nn.ModuleList(
            _build_unit(number, layer, size, make)
            # The last size is what the head takes.
            for number, (layer, size) in enumerate(zip(spec.recurrent, sizes, strict=False))
        )
        self.layer_norm = nn.LayerNorm(sizes[-1]) if spec.layer_norm else nn.Identity()
        self.dropout = nn.Dropout(spec.dropout)
        self.head = nn.Linear(sizes[-1] + shape.static, prod(shape.outputs))

    def forward(self, windows: Tensor, static: Tensor | None = None) -> Tensor:
        """Outputs (B, H, K), or (B, H, K, V), of scaled windows (B, T, F) and static features (B, S)."""
        first, *others = self.layers
        sequence, _ = first(windows)
        for layer in others:
            sequence, _ = layer(self.dropout(sequence))
        last = self.dropout(self.layer_norm(sequence[:, -1]))
        if static is not None:
            last = torch.cat([last, static], dim=-1)
        outputs: Tensor = self.head(last)
        return outputs.reshape(-1, *self.shape.outputs)


def _build_unit(number: int, layer: RecurrentLayerSpec, features: int, make: MakeCircuits) -> nn.Module:
    unit: Any = load_unit(layer.unit)
    if issubclass(unit, _GatedUnit):
        gated: _GatedUnit = unit(features, layer.hidden, make(number, len(unit.reads)))
        return gated
    built: nn.Module = unit(features, layer.hidden, batch_first=True)
    return built


@dataclass(frozen=True)
class Circuits:
    """What the gates' circuits are made of.

    Attributes:
        ansatz: Of every gate; None where something else stands in the circuits' place.
        executor: The ansatz on a backend.
        together: The same of `by_rows`, None to ask gate by gate.
        seed: Of the circuits' weights.
        frozen: Whether they stay as they are drawn.
    """

    ansatz: Ansatz | None
    executor: Executor | None
    together: Executor | None
    seed: int
    frozen: bool = False

    def layers(self, number: int, gates: int) -> list[nn.Module]:
        """Quantum layers for the gates of a recurrent layer, each with weights of its own."""
        assert self.ansatz is not None
        made: list[nn.Module] = []
        for gate in range(gates):
            seed = child_seed(self.seed, f"gate/{number}/{gate}")
            layer = QuantumLayer(self.ansatz, self.executor, seed=seed, scale_inputs=True)
            made.append(layer.requires_grad_(not self.frozen))
        return made


# Keys of ``model`` that stay as they are beside a unit with circuits in its gates.
_MEANINGFUL = ("recurrent", "circuits", "layer_norm", "dropout", "skip", "latent", "middle")


def build_gated(
    spec: ModelSpec,
    shape: Shape,
    circuits: Circuits,
    *,
    seed: int,
    dtype: torch.dtype = torch.float32,
    at_zero: bool = False,
) -> OwnForecaster:
    """Build a model with circuits in the gates of its recurrent units.

    Args:
        spec: The ``model`` section of a config. Its ``middle`` stands in the place of each gate's circuit
            where there is no ansatz: the classical baseline.
        shape: Sizes of the data.
        circuits: Of the gates.
        seed: Seed of the classical weights.
        dtype: What it is trained in.
        at_zero: Whether it starts at a forecast of 0 (see `OwnForecaster.start_at_zero`).

    Raises:
        ConfigError: If there is no circuit and nothing in its place, a key has no meaning for such a model,
            or a unit without linear layers does not fit its circuit.
    """
    _check_keys(spec)
    with seeded_torch(seed):
        net = GatedNet(spec, shape, maker_of(spec, circuits, seed)).to(dtype)
    # No file to carry into the run: its config says it all.
    source = ModuleSource("model.recurrent", "")
    return as_forecaster(source, net, shape, circuits_in(net), seed=seed, dtype=dtype, at_zero=at_zero)


def maker_of(spec: ModelSpec, circuits: Circuits, seed: int) -> MakeCircuits:
    """What makes circuits for a model that has several, or what stands in their places.

    Args:
        spec: The ``model`` section of a config, whose ``middle`` stands there without an ansatz.
        circuits: What they are made of.
        seed: Of the model's weights.
    """
    middle = spec.middle

    def make(number: int, count: int) -> GateCircuits:
        if circuits.ansatz is not None:
            return GateCircuits(circuits.layers(number, count), circuits.together)
        if middle is None:
            gated = is_gated(spec)
            raise ConfigError(
                "A unit with circuits in its gates needs a circuit" if gated
                else "model.circuits needs a circuit to arrange",
                got=f"{spec.recurrent[number].unit if gated else 'it'} with quantum: null",
                fix=f"Name one in quantum.ansatz, or {'take lstm or gru' if gated else 'leave it out'}",
            )  # fmt: skip
        # A stream of its own, so that all other weights are those of the hybrid.
        with seeded_torch(child_seed(seed, f"twin/{number}")):
            return GateCircuits([
                CircuitStandIn(spec.latent, middle.hidden, middle.outputs, middle.angle_scaling)
                for _ in range(count)
            ])  # fmt: skip

    return make


def circuits_in(net: nn.Module) -> list[str]:
    """Names of the circuits in a network, or of what stands in their places."""
    return [name for name, each in net.named_modules() if isinstance(each, QuantumLayer | CircuitStandIn)]


def _check_keys(spec: ModelSpec) -> None:
    """Refuse keys that would be ignored: there is no middle to put an activation before.

    Raises:
        ConfigError: With their names.
    """
    others = changed_keys(spec, _MEANINGFUL)
    others += [] if spec.circuits is None else ["circuits"]
    others += [] if spec.skip in ("add", "none") else ["skip"]
    others += [
        f"recurrent.{number}.{name}"
        for number, layer in enumerate(spec.recurrent)
        for name in changed_keys(layer, ("unit", "hidden"))
    ]
    if others:
        raise ConfigError(
            "A model with circuits in its gates has no middle",
            got=f"{', '.join(f'model.{name}' for name in others)} beside {spec.recurrent[0].unit}",
            fix="Leave these keys out, or write the model as a module of your own (docs/models.md)",
        )


def changed_keys(spec: Spec, but: Sequence[str]) -> list[str]:
    """Names of the keys that are not what they are by default."""
    return [
        name
        for name, field in type(spec).model_fields.items()
        if name not in but and getattr(spec, name) != field.get_default(call_default_factory=True)
    ]
