"""A module of one's own with the verbs that a run needs, and what is found of it when its layer is opened.

What stands before and behind the circuit is not asked for, it is found: the layer is opened on an executor
that writes down what it is asked (`Recorder`), and later on one that answers with values that a backend gave
(`_Replay`). So the module is evaluated by the same verbs as `qhq.models.hybrid.HybridForecaster`. Its "latent
features" are the windows themselves, since only the module knows more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qhq.backends.executor import Executor, FloatArray, Report
from qhq.errors import ConfigError
from qhq.models.hybrid import Shape, TanhMLP
from qhq.models.source import ModuleSource, at_work
from qhq.quantum.layer import AngleScaling, QuantumLayer


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
        module: Called with windows (B, T, F), and static features (B, S) if any; gives (B, H, K), or
            (B, H, K, V) where the objective has several values a target.
        shape: Sizes of the data.
        layers: Names of the quantum layers inside the module, or of what stands in their place: one of a
            user's module, of one ansatz in any case.
        found: What was found of it.
        source: Of a module that is a user's code, whose errors and prints are reported as such.
    """

    has_known_head = False
    """Whether it has a head that can be refitted: here nobody else could know it."""

    gain: Tensor
    start: Tensor | None

    def __init__(
        self,
        module: nn.Module,
        shape: Shape,
        *,
        layers: Sequence[str],
        found: Found,
        source: ModuleSource | None = None,
    ) -> None:
        super().__init__()
        # Its name alone: what a copy of the model holds is no second module.
        self._source = None if source is None else ModuleSource(source.name, source.digest)
        self.module, self.shape, self.found = module, shape, found
        self.objective = shape.objective
        # Kept with the weights, as in the reference model; a point forecast has none, and no tensor.
        self.register_buffer("start", shape.objective.fitted)
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

    def heard_circuits(self) -> list[nn.Module]:
        """The modules whose outputs a training keeps a band of: circuits, those asked at once as one."""
        if not self._quantum():
            return []
        # A hook on a layer within would have all gates asked one by one.
        whole = {name: each for name, each in self.module.named_modules() if hasattr(each, "is_one_stage")}
        alone = [
            self.module.get_submodule(name)
            for name in self._names
            if not any(name.startswith(f"{other}.") for other in whole)
        ]
        return [*whole.values(), *alone]

    @property
    def hears_slowly(self) -> bool:
        """Whether a sequence would lose its shortest way if somebody listened to its circuits."""
        return any(getattr(each, "is_one_pass", False) for each in self.module.modules())

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
        return self.objective.point(self.outputs(windows, static), self.start)

    def outputs(self, windows: Tensor, static: Tensor | None = None) -> Tensor:
        """What the loss is computed of: forecasts (B, H, K), or all V values of each target (B, H, K, V)."""
        given = (windows,) if static is None else (windows, static)
        outputs: Tensor = self._run(given)
        # What a loss would broadcast to the targets, and be wrong by, where nobody sees it.
        if outputs.shape != (len(windows), *self.shape.outputs):
            sizes = ", ".join(map(str, self.shape.outputs))
            raise ConfigError(
                "A module must give its forecasts (B, H, K) of any number of windows, in training too",
                got=f"shape {tuple(outputs.shape)} for {len(windows)} windows",
                fix=f"End forward with .reshape(-1, {sizes}), and no squeeze",
            )
        return torch.zeros_like(outputs) if self.closed else outputs * self.gain

    def _run(self, given: tuple[Tensor, ...]) -> Any:
        if self._source is None:
            return self.module(*given)
        return at_work(lambda: self.module(*given), self._source)

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
            with opened_on(layers, listener), suppress(_HeardEnough):
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
        return self.objective.point(self._replayed(latent, middle), self.start)

    def quantiles(self, latent: Tensor, middle: Tensor) -> Tensor | None:
        """Scaled quantiles (B, H, K, L) at the objective's levels; None of a model of point forecasts."""
        return self.objective.quantiles(self._replayed(latent, middle), self.start)

    def _replayed(self, latent: Tensor, middle: Tensor) -> Tensor:
        """Outputs of the module where the circuit's answers are those of ``middle``."""
        layer = self.quantum
        if layer is None:
            return self.outputs(*self._unpacked(latent))
        width, values = layer.num_outputs, middle.detach().numpy()
        cuts = np.cumsum([rows * width for rows in self.found.rows])[:-1]
        parts = [each.reshape(-1, width) for each in np.split(values, cuts, axis=1)]
        with opened_on(self._quantum(), _Replay(parts)):
            return self.outputs(*self._unpacked(latent))

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
        # By identity: `in` would compare tensors element by element.
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
    def _recorded(self, latent: Tensor, executor: Executor) -> Recorder:
        recorder = Recorder(executor)
        with opened_on(self._quantum(), recorder):
            self(*self._unpacked(latent))
        return recorder


def _open(model: nn.Module, _: object) -> None:
    """Weights were loaded: from now on the model forecasts what they say."""
    assert isinstance(model, OwnForecaster)
    model.closed = False


def _by_window(rows: FloatArray, windows: int) -> Tensor:
    """Rows (B * R, C) of a call as (B, R, C)."""
    return torch.from_numpy(np.asarray(rows)).reshape(windows, -1, rows.shape[-1])


class Recorder:
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
        # In the order of the calls, which is that in which they were recorded.
        return np.ascontiguousarray(self._left.pop(0), dtype=inputs.dtype)

    def vjp(self, inputs: Any, weights: Any, cotangent: Any) -> tuple[FloatArray, FloatArray]:
        """Never asked: what is replayed is not trained."""
        raise NotImplementedError

    def report(self) -> Report:
        """Never asked."""
        raise NotImplementedError


@contextmanager
def opened_on(layers: Sequence[QuantumLayer], executor: Executor) -> Iterator[None]:
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
