"""The torch engine: the same program over plain torch operations, for CUDA tensors and higher derivatives.

The state is a complex tensor (N, B), N = 2^n, stored amplitude ``z`` in row ``z``. Autograd keeps the states
between operations, so memory grows with depth; on the CPU the compiled engine is the faster one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack

from qhq.engine.compile.tape import Tape
from qhq.engine.program import NEXT, Kind, Op, Term

# What an expression is made of, by NumPy's names.
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sin": torch.sin,
    "cos": torch.cos,
    "tan": torch.tan,
    "arcsin": torch.arcsin,
    "arccos": torch.arccos,
    "arctan": torch.arctan,
    "exp": torch.exp,
    "log": torch.log,
    "abs": torch.abs,
    # Not torch.sign, which refuses complex numbers, in which some angles are computed on the way.
    "sign": torch.sgn,
    "conj": torch.conj,
}


class TorchEngine:
    """``expectations`` of a tape on the device of its inputs.

    Args:
        tape: What ``build_tape`` made, for instance ``StatevectorEngine.tape``.
    """

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self._curves = [(curve.rows, curve.value_over(_FUNCTIONS)) for curve in tape.angle_map.curves]
        self._constants: dict[tuple[torch.device, torch.dtype], _Constants] = {}

    def expectations(self, inputs: Tensor, weights: Tensor) -> Tensor:
        """Expectations (B, O) of ``inputs`` (B, I) and ``weights`` (W,), on their device, with autograd."""
        constants = self._on(inputs.device, inputs.dtype)
        angles = self._angles(inputs, weights, constants)
        psi = constants.zero_state(len(inputs))
        for op in self._tape.program.layout.ops.tolist():
            psi = constants.apply(op, psi, angles)
        return constants.read(psi)

    def _on(self, device: torch.device, dtype: torch.dtype) -> _Constants:
        key = (device, dtype)
        if key not in self._constants:
            # A tensor that is made inside a transform of torch.func belongs to it, and must not outlive it.
            with temporarily_clear_interpreter_stack():
                self._constants[key] = _Constants(self._tape, device, dtype)
        return self._constants[key]

    def _angles(self, inputs: Tensor, weights: Tensor, constants: _Constants) -> Tensor:
        """All angles, shape (K, B)."""
        columns = [*inputs.T, *weights.to(inputs.dtype).expand(len(inputs), -1).T]
        curved = [value(*(columns[row] for row in rows)) for rows, value in self._curves]
        variables = torch.stack([*columns, *curved]) if columns else inputs.new_zeros((0, len(inputs)))
        return constants.slopes @ variables + constants.offsets[:, None]


class _Constants:
    """The program's numbers as tensors of one device and precision."""

    def __init__(self, tape: Tape, device: torch.device, dtype: torch.dtype) -> None:
        self._layout, self._device, self._dtype = tape.program.layout, device, dtype
        self._reads = tape.program.readout.reads.tolist()
        self._z = torch.arange(1 << self._layout.bits, device=device)
        self._made: dict[tuple[str, int], Tensor] = {}
        self.slopes, self.offsets = self._affine(tape)
        self._outputs = self._output_matrix(tape)

    def zero_state(self, batch: int) -> Tensor:
        """|0...0> for each sample."""
        complex_type = torch.complex64 if self._dtype == torch.float32 else torch.complex128
        psi = torch.zeros((1 << self._layout.bits, batch), dtype=complex_type, device=self._device)
        psi[0] = 1
        return psi

    def apply(self, op: list[int], psi: Tensor, angles: Tensor) -> Tensor:
        """One operation of the program."""
        kind = op[Op.KIND]
        if kind == Kind.PRODUCT:
            return self._product(op, psi, angles)
        if kind == Kind.ROTATIONS:
            return self._rotations(op, psi, angles)
        if kind in {Kind.PHASE_SHARED, Kind.PHASE_SAMPLE}:
            return self._phases(op, psi, angles)
        assert kind == Kind.DENSE
        return self._matrix(op, psi)

    def read(self, psi: Tensor) -> Tensor:
        """All observables, (B, O)."""
        parts = []
        for flip, odd, number, begin, end in self._reads:
            overlap = psi[self._z ^ flip].conj() * psi
            part = -overlap.imag if odd else overlap.real
            parts.append(self._sign_matrix(number, begin, end) @ part)
        slots = torch.cat(parts) if parts else psi.real[:0]
        return (self._outputs @ slots).T

    def _product(self, op: list[int], psi: Tensor, angles: Tensor) -> Tensor:
        angle_of = dict(self._layout.pairs[op[Op.PAIRS_BEGIN] : op[Op.PAIRS_END]].tolist())
        state = torch.ones_like(psi[:1].real)
        for bit in range(self._layout.bits):
            if bit in angle_of:
                half = angles[angle_of[bit]] / 2
                state = torch.cat([half.cos() * state, half.sin() * state])
            else:
                state = torch.cat([state, torch.zeros_like(state)])
        return state.to(psi.dtype)

    def _rotations(self, op: list[int], psi: Tensor, angles: Tensor) -> Tensor:
        for j in range(op[Op.COUNT]):  # one after the other: the order does not matter, they commute
            flip, mask, angle = (op[column + NEXT * j] for column in (Op.FLIP, Op.MASK, Op.ANGLE))
            half = angles[angle] / 2
            psi = half.cos() * psi - self._sign(mask)[:, None] * half.sin() * psi[self._z ^ flip]
        return psi

    def _phases(self, op: list[int], psi: Tensor, angles: Tensor) -> Tensor:
        number, begin, end = op[Op.MAP], op[Op.TERMS_BEGIN], op[Op.TERMS_END]
        slots = self._once(
            ("slots", begin), lambda: torch.from_numpy(self._layout.terms[begin:end, Term.SLOT])
        )
        half = self._sign_matrix(number, begin, end).T @ (angles[slots] / 2)
        return torch.polar(torch.ones_like(half), -half) * psi

    def _matrix(self, op: list[int], psi: Tensor) -> Tensor:
        k, start, offset = op[Op.QUBITS], op[Op.FLIPS], op[Op.MATRIX]
        size = 1 << k
        numbers = self._layout.dense[offset : offset + 2 * size * size].view(np.complex128)
        matrix = self._once(("matrix", offset), lambda: torch.from_numpy(numbers).to(psi.dtype))
        flips, masks = self._layout.flips[start : start + 2 * k].reshape(2, k).tolist()
        row = torch.zeros_like(self._z)
        for j, mask in enumerate(masks):
            row = row | self._parity(self._z & mask) << j
        result = torch.zeros_like(psi)
        # Out of place, as everywhere here: autograd still needs what a step was given.
        for column in range(size):
            partner = self._z ^ self._span(row ^ column, flips)
            result = result + matrix[row * size + column][:, None] * psi[partner]
        return result

    def _span(self, bits: Tensor, flips: list[int]) -> Tensor:
        """The sum over GF(2) of the flips that ``bits`` choose."""
        chosen = torch.zeros_like(bits)
        for j, flip in enumerate(flips):
            chosen = chosen ^ ((bits >> j & 1) * flip)
        return chosen

    def _sign_matrix(self, number: int, begin: int, end: int) -> Tensor:
        """``(-1)^parity(mask_j & y(z))``, shape (terms, N)."""

        def signs() -> Tensor:
            y = torch.from_numpy(self._layout.maps[number]).to(self._device, torch.int64)
            terms = self._layout.terms[begin:end, : Term.SLOT].tolist()
            masks = [rest | (1 << level if level >= 0 else 0) for level, rest in terms]
            return torch.stack([1 - 2 * self._parity(y & mask) for mask in masks]).to(self._dtype)

        return self._once(("signs", begin), signs)

    def _sign(self, mask: int) -> Tensor:
        """``(-1)^parity(mask & z)``, shape (N,)."""
        return (1 - 2 * self._parity(self._z & mask)).to(self._dtype)

    def _once(self, key: tuple[str, int], make: Callable[[], Tensor]) -> Tensor:
        """A constant that goes to the device on the first call only."""
        if key not in self._made:
            with temporarily_clear_interpreter_stack():
                self._made[key] = make().to(self._device)
        return self._made[key]

    @staticmethod
    def _parity(bits: Tensor) -> Tensor:
        # Torch has no population count; the shifts fold the 32 bits that an index may have.
        for shift in (16, 8, 4, 2, 1):
            bits = bits ^ (bits >> shift)
        return bits & 1

    def _affine(self, tape: Tape) -> tuple[Tensor, Tensor]:
        """Slopes (K, I + W + curved) and offsets (K,) of the angles over ``[inputs, weights, curved]``."""
        angles, angle_map = tape.program.angles, tape.angle_map
        num_inputs, num_weights = len(angle_map.input_slopes), len(angle_map.weight_slopes)
        first_curved = num_inputs + num_weights
        by_input = [*range(num_inputs), *(first_curved + p for p in tape.curved_sampled)]
        by_weight = [*range(num_inputs, first_curved), *(first_curved + p for p in tape.curved_shared)]
        slopes = np.zeros((len(angles.constant), first_curved + len(angle_map.curved)))
        for k in range(len(angles.constant)):
            for j in range(angles.x_start[k], angles.x_start[k + 1]):
                slopes[k, by_input[angles.x_index[j]]] += angles.x_slope[j]
            for j in range(angles.w_start[k], angles.w_start[k + 1]):
                slopes[k, by_weight[angles.w_index[j]]] += angles.w_slope[j]
        return self._tensor(slopes), self._tensor(angles.constant)

    def _output_matrix(self, tape: Tape) -> Tensor:
        """Coefficient of each Walsh slot in each observable, (O, slots)."""
        _, _, _, _, start, index, value = tape.program.readout
        matrix = np.zeros((tape.num_observables, len(start) - 1))
        slots = np.repeat(np.arange(matrix.shape[1]), np.diff(start))
        np.add.at(matrix, (index, slots), value)
        return self._tensor(matrix)

    def _tensor(self, array: Any) -> Tensor:
        return torch.from_numpy(array).to(self._device, self._dtype)
