"""Several models of one design as one: each tensor a stack of theirs, each operation one call for all.

At the size of these models a time step of a recurrent layer costs the calls of a dozen operations, not what
they compute. A stack of S models shares the calls, and what is left of a step is a product of matrices and
one pass over the gates, forth and back (`qhq.engine.runtime.recurrent`).

The stacked model is the model itself with other leaves. Within it the members stand before the features:
windows are (B, T, S, F), hidden vectors (B, S, C). So what a model does between its leaves, along the steps
or the features, is the same code for one and for many.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from qhq.engine import GRUPass, LSTMPass, RNNPass
from qhq.models.encoder import Bidirectional, FlatWindow, LastStep, RecurrentStack
from qhq.models.hybrid import HybridForecaster, TanhMLP
from qhq.models.spec import ACTIVATIONS
from qhq.quantum.differentiation import differentiable_values
from qhq.quantum.layer import AngleScaling, QuantumLayer

_PASSES: dict[type[nn.Module], type[RNNPass]] = {nn.RNN: RNNPass, nn.GRU: GRUPass, nn.LSTM: LSTMPass}

# Modules without tensors of their own, whose code is that of a stack, too.
_HOLDERS = (HybridForecaster, RecurrentStack, Bidirectional, TanhMLP, nn.Sequential, nn.ModuleList)

_ACTIVATIONS = frozenset(path.rpartition(":")[2] for path in ACTIVATIONS.values())


def model_cannot_stack(model: nn.Module) -> str:
    """Why a model cannot be a member of a stack; empty if it can.

    Members are reference models of PyTorch's recurrent units in single precision, with or without a circuit
    between encoder and head, and with nothing that is drawn while they train.
    """
    if type(model) is not HybridForecaster:
        return "only the reference model with one circuit or none can be stacked"
    if any(each.dtype != torch.float32 for each in model.parameters()):
        return "training.dtype is not float32"
    for module in model.modules():
        # The class itself: what a subclass of one's own does in its forward, a stack cannot know.
        kind = type(module)
        if kind is nn.Dropout and cast(nn.Dropout, module).p > 0:
            return "model.dropout draws from a stream of its own"
        plain = kind.__module__.startswith("torch.nn.") and kind.__name__ in (*_ACTIVATIONS, "Dropout")
        if not (kind in _HOLDERS or kind in _LEAVES or plain or issubclass(kind, (LastStep, AngleScaling))):
            return f"{kind.__name__} is not known to a stack"
    return ""


class Stack(nn.Module):
    """Models of one design, of which `model_cannot_stack` says nothing, as one.

    Its parameters have the names that they have in each of the models, and one dimension more, the first, of
    the members.

    Args:
        models: The members; they stay as they are.
    """

    def __init__(self, models: Sequence[HybridForecaster]) -> None:
        super().__init__()
        self.members = len(models)
        # Of a copy the leaves are exchanged: the members must stay models of their own.
        self.model = copy.deepcopy(models[0]).train()
        self.model.closed = False  # a training loads weights, which opens the head
        for path, module in list(self.model.named_modules()):
            if type(module) in _LEAVES:
                parent, _, name = path.rpartition(".")
                leaf = _LEAVES[type(module)](module)
                setattr(self.model.get_submodule(parent), name, leaf)
        for path, _ in list(self.model.named_parameters()):
            owner, _, name = path.rpartition(".")
            tensors = [each.get_parameter(path) for each in models]
            stacked = nn.Parameter(
                torch.stack([each.detach() for each in tensors]), requires_grad=tensors[0].requires_grad
            )
            self.model.get_submodule(owner).register_parameter(name, stacked)

    def outputs(self, windows: Tensor, static: Tensor | None = None) -> Tensor:
        """What losses are computed of, (S, B, H, K) or (S, B, H, K, V).

        Args:
            windows: Of each member, (S, B, T, F).
            static: Static features, (S, B, N), where there are any.
        """
        inner = None if static is None else static.transpose(0, 1)
        found = self.model.outputs(windows.permute(1, 2, 0, 3), inner)
        return found.reshape(-1, self.members, *found.shape[1:]).transpose(0, 1)

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """Parameters by module, as of each of the models."""
        return self.model.parts()


class _Leaf(nn.Module):
    """A module with the same tensors under the same names, for a stack of them."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        for name, tensor in module.named_parameters():
            self.register_parameter(name, tensor)


class _Linear(_Leaf):
    """`nn.Linear` of (..., S, F)."""

    bias: Tensor | None

    def __init__(self, module: nn.Linear) -> None:
        super().__init__(module)
        if module.bias is None:
            self.register_parameter("bias", None)

    def forward(self, values: Tensor) -> Tensor:
        weight = self.get_parameter("weight").transpose(1, 2)
        rows = values.reshape(-1, *values.shape[-2:]).transpose(0, 1)
        bias = self.bias
        found = torch.bmm(rows, weight) if bias is None else torch.baddbmm(bias[:, None], rows, weight)
        return found.transpose(0, 1).reshape(*values.shape[:-1], -1)


class _LayerNorm(_Leaf):
    """`nn.LayerNorm` of (..., S, C)."""

    def __init__(self, module: nn.LayerNorm) -> None:
        super().__init__(module)
        self.shape, self.eps = module.normalized_shape, module.eps

    def forward(self, values: Tensor) -> Tensor:
        # Without weights, of which torch's function takes one set and not one a member.
        normal = functional.layer_norm(values, self.shape, eps=self.eps)
        return normal * self.get_parameter("weight") + self.get_parameter("bias")


class _Flat(_Leaf):
    """`FlatWindow` of (B, T, S, F)."""

    def __init__(self, module: FlatWindow) -> None:
        super().__init__(module)
        self.hidden = module.hidden

    def forward(self, windows: Tensor) -> Tensor:
        return windows.transpose(1, 2).flatten(2)


class _Circuits(_Leaf):
    """`QuantumLayer` of angles (B, S, I): a call a member, since a call has one set of weights."""

    def __init__(self, module: QuantumLayer) -> None:
        super().__init__(module)
        self.network = module.neural_network

    def forward(self, angles: Tensor) -> Tensor:
        pairs = zip(angles.unbind(1), self.get_parameter("weight").unbind(), strict=True)
        return torch.stack([differentiable_values(self.network, *pair) for pair in pairs], dim=1)


class _Unit(_Leaf):
    """A recurrent unit of sequences (B, T, S, F)."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module)
        self.kind = _PASSES[type(module)]

    def forward(self, sequence: Tensor) -> tuple[Tensor, None]:
        tensors = (
            self.get_parameter(f"{name}_l0") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        # As the kernels want it; handed on so, the next layer's copy is none.
        states: Tensor = _Sequence.apply(self.kind, sequence.permute(2, 1, 0, 3), *tensors)  # type: ignore[no-untyped-call]
        return states.permute(2, 1, 0, 3), None


# Kind of a leaf -> what stands for it in a stack.
_LEAVES: dict[type[nn.Module], Callable[[Any], nn.Module]] = {
    nn.Linear: _Linear,
    nn.LayerNorm: _LayerNorm,
    FlatWindow: _Flat,
    QuantumLayer: _Circuits,
    **dict.fromkeys(_PASSES, _Unit),
}


class _Sequence(torch.autograd.Function):
    """States (S, T, B, H) of stacked units, of sequences (S, T, B, F)."""

    @staticmethod
    def forward(ctx: Any, kind: type[RNNPass], sequence: Tensor, *tensors: Tensor) -> Tensor:
        by_input, by_state, bias, bias_of_state = tensors
        models, steps, samples, features = sequence.shape
        width, hidden = by_state.shape[1:]
        rows = sequence.reshape(models, steps * samples, features)
        gates = torch.baddbmm(bias[:, None], rows, by_input.transpose(1, 2))
        states = rows.new_zeros(models, steps + 1, samples, hidden)
        way = kind(gates.view(models, steps, samples, width).numpy(), states.numpy())
        products, matrix = rows.new_empty(models, samples, width), by_state.transpose(1, 2).contiguous()
        shown, added = products.numpy(), bias_of_state[:, None].expand_as(products)
        for t, state in enumerate(states.unbind(1)[:-1]):
            torch.baddbmm(added, state, matrix, out=products)
            way.step(shown, t)
        ctx.save_for_backward(by_input, by_state)
        # Not through autograd's own keeping: nobody else has these, and kernels wrote into their memory.
        ctx.way, ctx.rows, ctx.states = way, rows, states
        return states[:, 1:]

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        by_input, by_state = ctx.saved_tensors
        way, rows, states = ctx.way, ctx.rows, ctx.states
        outer = slopes[0].contiguous()
        models, steps, samples, hidden = outer.shape
        width = by_state.shape[1]
        pulled, slope = rows.new_empty(models, steps, samples, way.width), torch.from_numpy(way.slopes[0])
        way.slopes.fill(0.0)
        # In the order of what the kernels pull back: of a GRU u, r, z, where PyTorch's rows are r, z, n.
        matrix = by_state.roll(way.shift * hidden, 1)
        shown, seen = pulled.numpy(), outer.numpy()
        by_products = pulled[..., :width].unbind(1)
        for t in range(steps - 1, -1, -1):
            way.back(seen, shown, t)
            torch.baddbmm(slope, by_products[t], matrix, out=slope)
        flat = pulled.view(models, steps * samples, way.width)
        of_products, of_inputs = flat[..., :width], flat[..., way.width - width :]
        before = states[:, :-1].reshape(models, steps * samples, hidden)
        matrix_slope = torch.bmm(of_products.transpose(1, 2), before).roll(-way.shift * hidden, 1)
        bias_slope = of_products.sum(1).roll(-way.shift * hidden, 1)
        back = (
            torch.bmm(of_inputs, by_input).view(models, steps, samples, -1)
            if ctx.needs_input_grad[1]
            else None
        )
        inputs_slope = torch.bmm(of_inputs.transpose(1, 2), rows)
        return None, back, inputs_slope, matrix_slope, of_inputs.sum(1), bias_slope
