"""The angles of a lowered circuit as functions of inputs and weights, batched, with their chain rule.

Angle ``k`` of sample ``b`` is ``angles[b, k] = f_k(inputs[b, :], weights)``, where ``f_k`` is the expression
of the k-th parametric gate. Affine expressions are two matrix products; all others are compiled once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterExpression

from qhq.engine.compile.definitions import is_parametric
from qhq.engine.compile.expressions import Curve, code_of
from qhq.engine.compile.lowering import lower
from qhq.errors import ConfigError

_Array = npt.NDArray[np.float64]


def separate_angles(lowered: QuantumCircuit) -> tuple[QuantumCircuit, tuple[ParameterExpression, ...]]:
    """Give each parametric gate an angle of its own.

    Args:
        lowered: What ``lower`` returns.

    Returns:
        The same circuit with the fresh parameter ``theta_k`` in its k-th parametric gate, in circuit order,
        and the K expressions that stood there.
    """
    # So that Qiskit never binds an expression, which it gets wrong for some (see ``expressions``).
    separated, expressions = QuantumCircuit(lowered.num_qubits), []
    for instruction in lowered.data:
        gate = instruction.operation
        if is_parametric(gate):
            expressions.append(gate.params[0])
            gate = type(gate)(Parameter(f"theta_{len(expressions) - 1}"))
        separated.append(gate, [lowered.find_bit(bit).index for bit in instruction.qubits])
    return separated, tuple(expressions)


def map_angles(
    circuit: QuantumCircuit, inputs: Sequence[Parameter], weights: Sequence[Parameter]
) -> tuple[QuantumCircuit, AngleMap]:
    """Lower a circuit, give each parametric gate an angle of its own, and map inputs and weights to them.

    Raises:
        ConfigError: If a gate cannot be lowered, a parameter has no place, or an angle is not real.
    """
    separated, expressions = separate_angles(lower(circuit))
    return separated, AngleMap(expressions, inputs, weights)


class AngleMap:
    """``angles = constant + inputs @ input_slopes + weights @ weight_slopes``, plus what is not affine.

    Args:
        expressions: One expression an angle, K in all.
        inputs: Parameters that differ by sample, in the order of the columns of ``inputs`` (B, I).
        weights: Parameters shared by the batch, in the order of ``weights`` (W,).

    Attributes:
        constant: Shape (K,).
        input_slopes: Shape (I, K).
        weight_slopes: Shape (W, K).
        curved: The places of the angles that are not affine, ascending.
        curves: Their expressions, in the same order.

    Raises:
        ConfigError: If a parameter is in neither list or in both, or an angle is not real.
    """

    def __init__(
        self,
        expressions: Sequence[ParameterExpression],
        inputs: Sequence[Parameter],
        weights: Sequence[Parameter],
    ) -> None:
        self._split = len(inputs)
        parameters = [*inputs, *weights]
        _check_parameters(expressions, parameters)
        slopes = np.zeros((len(parameters), len(expressions)))
        self.constant = np.zeros(len(expressions))
        self.curved: tuple[int, ...] = ()
        row = {parameter: index for index, parameter in enumerate(parameters)}
        self.curves: list[Curve] = []
        for k, expression in enumerate(expressions):
            code = code_of(expression, row)
            # Affine angles cost two matrix products for all of them, a curved one Python code of its own.
            affine = code.affine()
            if affine is None:
                self.curved += (k,)
                self.curves.append(Curve(expression, code, row))
                continue
            self.constant[k] = affine[0]
            if not np.isfinite([affine[0], *affine[1].values()]).all():
                raise ConfigError(
                    "Every angle must be a finite number",
                    got=f"the angle {_shown(expression)}, which is infinite whatever its parameters are",
                    fix="Mend that gate's angle in the circuit",
                )
            for parameter, slope in affine[1].items():
                slopes[row[parameter], k] = slope
        self.input_slopes, self.weight_slopes = slopes[: self._split], slopes[self._split :]

    @property
    def num_inputs(self) -> int:
        """I."""
        return self._split

    @property
    def num_angles(self) -> int:
        """K."""
        return len(self.constant)

    def needs_inputs(self, place: int) -> bool:
        """Whether the curved angle ``self.curved[place]`` differs by sample."""
        return any(index < self._split for index in self.curves[place].rows)

    def angles(self, inputs: npt.NDArray[Any], weights: npt.NDArray[Any]) -> _Array:
        """All angles (B, K) of ``inputs`` (B, I) and ``weights`` (W,), float64."""
        inputs, weights = np.asarray(inputs, np.float64), np.asarray(weights, np.float64)
        # The shared summands first: one row of them is added to B rows, not B rows to B rows.
        angles: _Array = inputs @ self.input_slopes + (weights @ self.weight_slopes + self.constant)
        if self.curved:
            angles[:, list(self.curved)] = self.curved_angles(inputs, weights)
        return angles

    def pullback(
        self, inputs: npt.NDArray[Any], weights: npt.NDArray[Any], dangles: npt.NDArray[Any]
    ) -> tuple[_Array, _Array]:
        """Carry gradients of the angles back: ``dinputs[b, i] = sum_k dangles[b, k] df_k / dinputs[b, i]``.

        Args:
            inputs: Shape (B, I).
            weights: Shape (W,).
            dangles: Gradient of a scalar with respect to the angles, shape (B, K).

        Returns:
            ``dinputs`` (B, I) and ``dweights`` (W,), the latter summed over the batch; float64.
        """
        dangles = np.asarray(dangles, np.float64)
        dinputs: _Array = dangles @ self.input_slopes.T
        dweights: _Array = self.weight_slopes @ dangles.sum(axis=0)
        if self.curved:
            more = self.curved_pullback(inputs, weights, dangles[:, list(self.curved)])
            dinputs, dweights = dinputs + more[0], dweights + more[1]
        return dinputs, dweights

    def slopes_by_weight(self, inputs: npt.NDArray[Any], weights: npt.NDArray[Any]) -> _Array:
        """Slopes ``df_k / dweights[w]`` of each sample, (B, K, W), float64."""
        slopes = np.repeat(self.weight_slopes.T[None], len(inputs), axis=0)
        values = self._values(inputs, weights)
        for k, curve in zip(self.curved, self.curves, strict=True):
            arguments = [values[row] for row in curve.rows]
            for row, slope in zip(curve.rows, curve.slopes(*arguments), strict=True):
                if row >= self._split:
                    slopes[:, k, row - self._split] = slope
        return slopes

    def curved_angles(self, inputs: npt.NDArray[Any], weights: npt.NDArray[Any]) -> _Array:
        """The angles that are not affine alone, in the order of ``curved``, shape (B, len(curved)).

        Raises:
            ConfigError: If finite inputs and weights have no finite angle, as 2 has no arcsine.
        """
        values = self._values(inputs, weights)
        out = np.empty((len(inputs), len(self.curves)))
        for place, curve in enumerate(self.curves):
            arguments = [values[row] for row in curve.rows]
            out[:, place] = curve.value(*arguments)  # also a single number, where no input is in it
            if not np.isfinite(out[:, place]).all():
                self._check_domain(curve, arguments, out[:, place], "The angle")
        return out

    def curved_pullback(
        self, inputs: npt.NDArray[Any], weights: npt.NDArray[Any], dcurved: npt.NDArray[Any]
    ) -> tuple[_Array, _Array]:
        """``pullback`` of the angles that are not affine alone; ``dcurved`` is (B, len(curved))."""
        values = self._values(inputs, weights)
        dinputs, dweights = np.zeros(np.shape(inputs)), np.zeros(len(weights))
        for place, curve in enumerate(self.curves):
            arguments = [values[row] for row in curve.rows]
            for row, slope in zip(curve.rows, curve.slopes(*arguments), strict=True):
                if not np.isfinite(slope).all():
                    self._check_domain(curve, arguments, slope, "The slope of the angle")
                pulled = dcurved[:, place] * slope  # (B,), also where the slope is one number for all
                if row < self._split:
                    dinputs[:, row] += pulled
                else:
                    dweights[row - self._split] += pulled.sum()
        return dinputs, dweights

    def _check_domain(self, curve: Curve, arguments: Sequence[Any], found: Any, what: str) -> None:
        """Refuse arguments that are finite and outside the domain of an angle; NaN may pass through it.

        Raises:
            ConfigError: With the angle, its parameters and their values in the first such sample.
        """
        columns = np.broadcast_arrays(found, *arguments)  # weights are numbers, inputs are columns
        outside = ~np.isfinite(columns[0]) & np.isfinite(columns[1:]).all(axis=0)
        if not outside.any():
            return
        at = int(np.argmax(outside))
        names, values = [], []
        for row, parameter, column in zip(curve.rows, curve.parameters, columns[1:], strict=True):
            is_input = row < self._split
            place = row if is_input else row - self._split
            names.append(f"{parameter.name} ({'input' if is_input else 'weight'} {place})")
            values.append(f"{parameter.name} = {float(column.flat[at]):g}")
        raise ConfigError(
            f"{what} {_shown(curve.expression)} must be finite for the values of {', '.join(names)}",
            got=f"{float(np.asarray(columns[0]).flat[at]):g} at {', '.join(values)}"
            f" ({int(outside.sum())} of {outside.size} samples)",
            fix="Scale what the function takes into its domain, inside it if the slope is infinite at its"
            " end: an ansatz with angle_scaling unit_tanh does (between -1 and 1), or 0.99*x in the circuit",
        )

    def _values(self, inputs: npt.NDArray[Any], weights: npt.NDArray[Any]) -> list[Any]:
        """A column (B,) for each input, then a scalar for each weight."""
        columns = list(np.asarray(inputs, np.float64).T)
        return [*columns, *np.asarray(weights, np.float64)]


def _shown(expression: ParameterExpression) -> str:
    text = str(expression)
    return f"'{text if len(text) <= 60 else text[:57] + '...'}'"


def _check_parameters(expressions: Sequence[ParameterExpression], parameters: Sequence[Parameter]) -> None:
    if len(set(parameters)) != len(parameters):
        raise ConfigError(
            "A parameter must be an input or a weight, once",
            got=f"a repetition among {', '.join(p.name for p in parameters)}",
            fix="Name each parameter in one of the two lists",
        )
    known = set(parameters)
    strangers = sorted({p.name for e in expressions for p in e.parameters if p not in known})
    if strangers:
        raise ConfigError(
            "Every parameter of the circuit must be an input or a weight",
            got=f"{', '.join(strangers)} in neither",
            fix="Add them to the input parameters or the weight parameters, or bind them",
        )


class ChainedAngles:
    """The angles of a circuit on a device, functions of those of the ansatz, which are of inputs and weights.

    Qiskit never binds one into the other, which it gets wrong for some expressions.

    Attributes:
        sampled: Whether each angle differs by sample, shape (A,).
    """

    def __init__(self, outer: AngleMap, inner: AngleMap) -> None:
        self._outer, self._inner = outer, inner
        # Two steps of dependence: inputs to angles of the ansatz, and those to angles of the device's
        # circuit.
        by_sample: npt.NDArray[np.bool_] = np.any(outer.input_slopes != 0, axis=0)
        for place, k in enumerate(outer.curved):
            by_sample[k] = outer.needs_inputs(place)
        self.sampled: npt.NDArray[np.bool_] = np.any(inner.input_slopes[by_sample] != 0, axis=0)
        for curve, k in zip(inner.curves, inner.curved, strict=True):
            self.sampled[k] = by_sample[list(curve.rows)].any()
        # The common case, and two matrix products less a step: both maps in one.
        self._is_affine = not outer.curved and not inner.curved
        if self._is_affine:
            self._by_input = outer.input_slopes @ inner.input_slopes
            self._by_weight = outer.weight_slopes @ inner.input_slopes
            self._constant = outer.constant @ inner.input_slopes + inner.constant

    @property
    def count(self) -> int:
        """A."""
        return self._inner.num_angles

    def __call__(self, inputs: npt.NDArray[Any], weights: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """All angles (B, A), float64."""
        if not self._is_affine:
            # To the device's circuit the angles of the ansatz are its inputs, and it has no weights.
            return self._inner.angles(self._outer.angles(inputs, weights), np.zeros(0))
        angles: npt.NDArray[np.float64] = inputs @ self._by_input
        angles += weights @ self._by_weight + self._constant
        return angles

    def pullback(
        self, inputs: npt.NDArray[Any], weights: npt.NDArray[Any], slopes: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Gradients of the angles (B, A) -> of inputs (B, I) and weights (W,)."""
        if not self._is_affine:
            angles = self._outer.angles(inputs, weights)
            between, _ = self._inner.pullback(angles, np.zeros(0), slopes)
            return self._outer.pullback(inputs, weights, between)
        return slopes @ self._by_input.T, self._by_weight @ slopes.sum(axis=0)
