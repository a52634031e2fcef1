"""A sequence through a unit with circuits in its gates, forth and back, as one node of torch's graph.

At the size of these units a step of some twenty operations costs their calls and nodes, not what they
compute. Here the inputs of all steps are multiplied at once, the operations of a step write into memory that
is there, and the way back is written out: what does not depend on the gradient is worked out for all steps.

Arrays: T steps, B samples, P maps into circuits, G gates, I inputs, W weights and O outputs of a circuit,
H states.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from qhq.quantum.differentiation import array_of, differentiable_values
from qhq.quantum.network import ExecutorNetwork


class LSTMSteps:
    """The arithmetic of an LSTM, gates in the order i, f, o, g.

    Args:
        gates: What the circuits give, (T, G, B, H), of which `step` makes the gates.
        states: (T + 1, B, H), of which `step` fills one after the other; the first is 0.
    """

    def __init__(self, gates: Tensor, states: Tensor) -> None:
        self.gates, self.states = gates, states
        self.cells, self.bent = torch.zeros_like(states), torch.empty_like(states[1:])
        self._bounded, self._candidates = gates[:, :3].unbind(), gates[:, 3].unbind()
        self._enter, self._forget, self._leave = (gates[:, gate].unbind() for gate in range(3))

    @staticmethod
    def plain(values: Tensor, state: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG004
        """State and cell (B, H) after a step, of what the circuits gave (G, B, H), as torch has it."""
        # Split, not indexed: the gradient of an index is a sum over arrays that are mostly 0.
        bounded, candidate = torch.split(values, [3, 1])
        enter, forget, leave = bounded.sigmoid().unbind()
        cell = forget * cell + enter * candidate.squeeze(0).tanh()
        return leave * cell.tanh(), cell

    def step(self, t: int) -> None:
        """Go on by step ``t``."""
        candidate, cell, bent = self._candidates[t], self.cells[t + 1], self.bent[t]
        self._bounded[t].sigmoid_()
        candidate.tanh_()
        torch.mul(self._forget[t], self.cells[t], out=cell).addcmul_(self._enter[t], candidate)
        torch.tanh(cell, out=bent)
        torch.mul(self._leave[t], bent, out=self.states[t + 1])

    def turn(self) -> None:
        """Work out what the way back needs of all steps."""
        # Slopes by what came out: s (1 - s) of a sigmoid s, 1 - t^2 of a tanh t. What went in was
        # overwritten.
        enter, forget, leave, candidate = self.gates.unbind(1)
        slopes = torch.empty_like(self.gates)
        torch.mul(candidate * enter, 1 - enter, out=slopes[:, 0])
        torch.mul(self.cells[:-1] * forget, 1 - forget, out=slopes[:, 1])
        torch.mul(self.bent * leave, 1 - leave, out=slopes[:, 2])
        torch.mul(enter, 1 - candidate.square(), out=slopes[:, 3])
        self._slopes, self._by_cell = slopes.unbind(), (leave * (1 - self.bent.square())).unbind()
        self._by_leave = slopes[:, 2].unbind()
        self._carried = torch.zeros_like(self.states[0])

    def back(self, t: int, slope: Tensor, pulled: Tensor) -> None:
        """Go back by step ``t``.

        Args:
            t: The step.
            slope: Gradient (B, H) of the state after it; becomes that of the state before, other than
                through the circuits.
            pulled: Becomes the gradient (G, B, H) of what the circuits gave.
        """
        self._carried.addcmul_(slope, self._by_cell[t])
        torch.mul(self._slopes[t], self._carried, out=pulled)
        # Over what the line before wrote there: the output gate acts on the state, not on the cell.
        torch.mul(self._by_leave[t], slope, out=pulled[2])
        self._carried.mul_(self._forget[t])
        # An LSTM's state goes on by the circuits alone, a GRU's past them too.
        slope.zero_()


class GRUSteps:
    """The same of a GRU, gates in the order r, z, n_x, n_h; ``n = tanh(n_x + r n_h)``."""

    def __init__(self, gates: Tensor, states: Tensor) -> None:
        self.gates, self.states = gates, states
        self.candidates = torch.empty_like(states[1:])
        self._bounded = gates[:, :2].unbind()
        self._reset, self._update, self._by_step, self._by_state = (
            gates[:, gate].unbind() for gate in range(4)
        )

    @staticmethod
    def plain(values: Tensor, state: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """See `LSTMSteps.plain`; a GRU has no cell."""
        bounded, parts = torch.split(values, [2, 2])
        (reset, update), (by_step, by_state) = bounded.sigmoid().unbind(), parts.unbind()
        candidate = (by_step + reset * by_state).tanh()
        return candidate + update * (state - candidate), cell

    def step(self, t: int) -> None:
        """See `LSTMSteps.step`."""
        candidate = self.candidates[t]
        self._bounded[t].sigmoid_()
        torch.addcmul(self._by_step[t], self._reset[t], self._by_state[t], out=candidate).tanh_()
        torch.lerp(candidate, self.states[t], self._update[t], out=self.states[t + 1])

    def turn(self) -> None:
        """See `LSTMSteps.turn`."""
        reset, update, _, by_state = self.gates.unbind(1)
        by_candidate = (1 - update) * (1 - self.candidates.square())
        by_reset = by_candidate * by_state * reset * (1 - reset)
        by_update = (self.states[:-1] - self.candidates) * update * (1 - update)
        self._slopes = torch.stack([by_reset, by_update, by_candidate, by_candidate * reset], dim=1).unbind()

    def back(self, t: int, slope: Tensor, pulled: Tensor) -> None:
        """See `LSTMSteps.back`."""
        torch.mul(self._slopes[t], slope, out=pulled)
        slope.mul_(self._update[t])


@dataclass(frozen=True)
class Way:
    """How a sequence goes through a unit.

    Attributes:
        network: Asks the circuits of all gates, a row each with its weights (`qhq.models.gates.by_rows`).
        scaling: Elementwise map of the circuits' inputs to angles; None where they are angles.
        places: For each gate, which of the P maps makes its inputs.
        steps: The arithmetic between the circuits.
    """

    network: ExecutorNetwork
    scaling: Callable[[Tensor], Tensor] | None
    places: tuple[int, ...]
    steps: type[LSTMSteps | GRUSteps]


def states_of(way: Way, entered: Tensor, tensors: Sequence[Tensor]) -> Tensor:
    """States (T, B, H) of a unit.

    Args:
        way: How it is done.
        entered: What the steps give to the circuits' inputs, (T, B, P * I), biases included.
        tensors: The map (P * I, H) of the state to the circuits' inputs; weights (G, W) of the circuits; and
            where linear layers stand behind them, these layers' weights (G, O, H) and biases (G, 1, H).
    """
    if torch.is_grad_enabled():
        return _Sequence.apply(way, entered, *tensors)  # type: ignore[no-any-return, no-untyped-call]
    return _Forth(way, entered, tensors, keep=False).states[1:]


def _plainly(way: Way, entered: Tensor, tensors: Sequence[Tensor]) -> Tensor:
    """The same, step by step as torch differentiates it, any number of times."""
    by_state, weights, *leave = tensors
    samples, inputs = entered.shape[1], by_state.shape[0] // (max(way.places) + 1)
    own = weights.expand(samples, -1, -1)
    state = cell = entered.new_zeros(samples, by_state.shape[1])
    states = []
    for given in entered:
        before = given + state @ by_state.t()
        angles = before if way.scaling is None else way.scaling(before)
        picked = angles.view(samples, -1, inputs)[:, list(way.places)]
        rows = torch.cat([picked, own], dim=-1).flatten(0, 1)
        answers = (
            differentiable_values(way.network, rows, rows.new_empty(0))
            .view(*own.shape[:2], -1)
            .transpose(0, 1)
        )
        state, cell = way.steps.plain(
            torch.baddbmm(leave[1], answers, leave[0]) if leave else answers, state, cell
        )
        states.append(state)
    return torch.stack(states)


class _Forth:
    """The way forwards, and what is left of it for the way back."""

    def __init__(self, way: Way, entered: Tensor, tensors: Sequence[Tensor], *, keep: bool) -> None:
        by_state, weights, *leave = tensors
        steps, samples, width = entered.shape
        gates, maps = len(way.places), max(way.places) + 1
        inputs = self.inputs = width // maps
        self.before = entered.new_empty(steps, samples, width)
        self.states = entered.new_zeros(steps + 1, samples, by_state.shape[1])
        self.values = entered.new_empty(steps, gates, samples, by_state.shape[1])
        self.arithmetic = way.steps(self.values, self.states)
        # The weights stand in each row of each step; what a step changes are the angles before them.
        rows = entered.new_empty(steps, samples, gates, inputs + weights.shape[1])
        rows[..., inputs:] = weights
        # Arrays that share the tensor's memory: what a step copies into it is what the executor reads.
        asked, nothing = rows.view(steps, samples * gates, -1).numpy(), rows.new_empty(0).numpy()
        # Kept, since the way back must ask the executor whose residuals it has, whatever was opened since.
        executor: Any = way.network.executor
        self.executor = executor
        ask = executor.forward if keep else lambda *each: (executor.expectations(*each), None)
        self.residuals: list[Any] = []
        self.answers: list[Tensor] = []
        matrix, places = by_state.t(), list(way.places)
        angles_of = rows[..., :inputs].unbind()
        for t, (given, before, values) in enumerate(zip(entered, self.before, self.values, strict=True)):
            torch.addmm(given, self.states[t], matrix, out=before)
            angles = (before if way.scaling is None else way.scaling(before)).view(samples, maps, inputs)
            angles_of[t].copy_(angles if maps == 1 else angles[:, places])
            found, residual = ask(asked[t], nothing)
            answers = torch.from_numpy(found).view(samples, gates, -1).transpose(0, 1)
            self.residuals.append(residual)
            self.answers.append(answers)
            if leave:
                torch.baddbmm(leave[1], answers, leave[0], out=values)
            else:
                values.copy_(answers)
            self.arithmetic.step(t)
        # Here and not on the way back, where torch would enter its own backward pass a second time.
        self.bends = _bends(way.scaling, self.before) if keep else None


class _Sequence(torch.autograd.Function):
    """`states_of`, with its gradient."""

    @staticmethod
    def forward(ctx: Any, way: Way, entered: Tensor, *tensors: Tensor) -> Tensor:
        ctx.way, ctx.forth = way, _Forth(way, entered, tensors, keep=True)
        ctx.save_for_backward(entered, *tensors)
        states: Tensor = ctx.forth.states[1:]
        return states

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # a graph of the gradients is asked for
            return _differentiable(ctx, cotangents[0])
        outers = torch.from_numpy(array_of(cotangents[0]))  # refuses what holds no data, as many at once do
        way, forth = ctx.way, ctx.forth
        _, by_state, _, *leave = ctx.saved_tensors
        steps, gates, samples, hidden = forth.values.shape
        inputs, executor, bends = forth.inputs, forth.executor, forth.bends
        forth.arithmetic.turn()
        onto = leave[0].transpose(1, 2) if leave else None
        pulled, of_maps = torch.empty_like(forth.values), torch.empty_like(forth.before)
        slope, rows = pulled.new_zeros(samples, hidden), []
        cotangent = pulled.new_empty(samples, gates, forth.answers[0].shape[-1])
        flat, by_gate = cotangent.view(samples * gates, -1).numpy(), cotangent.transpose(0, 1)
        by_step = zip(pulled, of_maps, outers, strict=True)
        for t, (of_gates, of_map, outer) in reversed(list(enumerate(by_step))):
            slope += outer
            forth.arithmetic.back(t, slope, of_gates)
            by_gate.copy_(of_gates if onto is None else torch.bmm(of_gates, onto))
            back = torch.from_numpy(executor.backward(forth.residuals[t], flat)[0]).view(samples, gates, -1)
            rows.append(back)
            of_angles = _gathered(back[..., :inputs], way.places)
            torch.mul(of_angles, bends[t], out=of_map)
            slope.addmm_(of_map, by_state)
        before = forth.states[:-1].reshape(steps * samples, hidden)
        found = [of_maps, of_maps.view(steps * samples, -1).t() @ before,
                 torch.stack(rows)[..., inputs:].sum((0, 1))]  # fmt: skip
        if leave:
            answers = torch.stack(forth.answers, dim=1).flatten(1, 2)
            of_leave = pulled.transpose(0, 1).reshape(gates, steps * samples, hidden)
            found += [torch.bmm(answers.transpose(1, 2), of_leave), of_leave.sum(1, keepdim=True)]
        return None, *found


def _gathered(of_angles: Tensor, places: Sequence[int]) -> Tensor:
    """Gradients (B, G, I) of the gates' angles as those of the maps that make them, (B, P * I)."""
    if not max(places):
        return of_angles.sum(1)
    found = of_angles.new_zeros(len(of_angles), max(places) + 1, of_angles.shape[2])
    return found.index_add_(1, torch.tensor(places), of_angles).flatten(1)


def _bends(scaling: Callable[[Tensor], Tensor] | None, before: Tensor) -> Tensor:
    """Slopes of the angles by what they are made of."""
    if scaling is None:
        return torch.ones_like(before)
    with torch.enable_grad():
        given = before.detach().requires_grad_()
        # The map is elementwise, so that the gradient of the sum has every slope of its own.
        (slopes,) = torch.autograd.grad(scaling(given).sum(), given)
    return slopes


def _differentiable(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
    """Gradients as torch differentiates them once more."""
    given, wanted = ctx.saved_tensors, ctx.needs_input_grad[1:]
    with torch.enable_grad():
        states = _plainly(ctx.way, given[0], given[1:])
        # torch refuses to differentiate by what needs no gradient, such as frozen weights.
        asked = [each for each, is_wanted in zip(given, wanted, strict=True) if is_wanted]
        found = iter(torch.autograd.grad(states, asked, cotangent, create_graph=True))
    return None, *(next(found) if is_wanted else None for is_wanted in wanted)
