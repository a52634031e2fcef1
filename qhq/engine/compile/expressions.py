"""A Qiskit ``ParameterExpression`` -> NumPy, with its derivatives.

Qiskit 2.6 binds and differentiates some expressions wrongly, and its ``sympify()`` gives back another one for
others; none of the three is used here. What it records to write QPY files, the operations in the order in
which they were made, is right, and becomes straight-line code.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from qiskit.circuit import Parameter, ParameterExpression

from qhq.errors import ConfigError

_Number = float | complex

_SWAPPED = {"RSUB": "SUB", "RDIV": "DIV", "RPOW": "POW"}
_INFIX = {"ADD": "+", "SUB": "-", "MUL": "*", "DIV": "/", "POW": "**"}
# Operation -> name of its function in the generated code.
_FUNCTIONS = {
    "SIN": "sin",
    "COS": "cos",
    "TAN": "tan",
    "ASIN": "arcsin",
    "ACOS": "arccos",
    "ATAN": "arctan",
    "EXP": "exp",
    "LOG": "log",
    "ABS": "abs",
    "SIGN": "sign",
    "CONJ": "conj",
}

_ARITHMETIC: dict[str, Callable[..., Any]] = {
    "ADD": np.add,
    "SUB": np.subtract,
    "MUL": np.multiply,
    "DIV": np.true_divide,
    "POW": np.power,
}

_NUMPY: dict[str, Callable[..., Any]] = {name: getattr(np, name) for name in _FUNCTIONS.values()}

# Operations whose result may be complex for real arguments.
_LEAVES_REALS = {"POW", "LOG", "ASIN", "ACOS"}

# Imaginary part that a real value may have from rounding, of its size.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Slot:
    """The place of a variable, or of the result of a step, in straight-line code."""

    index: int


Operand = Slot | _Number


@dataclass(frozen=True)
class _Step:
    """One operation; ``right`` is None where it takes one operand."""

    op: str
    left: Operand
    right: Operand | None = None


class Code:
    """Straight-line code of one expression.

    Attributes:
        parameters: Its variables: slots ``0 .. len(parameters) - 1``.
        steps: Its operations; step ``k`` fills slot ``len(parameters) + k``.
        result: Where its value is, or the value itself.
        partial: Whether a value may leave the reals and come back, as that of ``(x**0.5)**2`` below zero.

    Args:
        expression: What to compute.
        parameters: Its parameters, in the order of the variables.
        real: Whether the variables are real; the code of complex ones does not cut ``conj`` short.
    """

    def __init__(
        self, expression: ParameterExpression, parameters: Sequence[Parameter], *, real: bool = True
    ) -> None:
        self.parameters, self._real = tuple(parameters), real
        self.steps: list[_Step] = []
        self._slots: dict[Any, Operand] = {each: Slot(k) for k, each in enumerate(self.parameters)}
        self._complex: set[int] = set()
        self.partial = False
        found = _replayed(expression, self)
        self.result = _parsed(expression, self) if found is None else found

    @property
    def is_complex(self) -> bool:
        """Whether the value is computed with complex numbers, to become real at the end."""
        return self._may_be_complex(self.result)

    def operand(self, value: Any) -> Operand:
        """A parameter or a number as an operand."""
        if isinstance(value, ParameterExpression):
            if value in self._slots:
                return self._slots[value]
            return _number(value.numeric())
        return _number(value)

    def add(self, op: str, left: Operand, right: Operand | None = None) -> Operand:
        """Append an operation, worked out at once where it is of numbers alone or changes nothing."""
        # Qiskit records ``2 - x`` as RSUB of x: the same operation with its sides exchanged.
        if op in _SWAPPED:
            assert right is not None
            op, left, right = _SWAPPED[op], right, left
        if not isinstance(left, Slot) and not isinstance(right, Slot):  # two numbers, or one and nothing
            return _number(_constant(op, left, right))
        if op == "CONJ" and not self._may_be_complex(left):
            return left
        step = _Step(op, left, right)
        if step in self._slots:  # worked out before: an expression may use one part many times
            return self._slots[step]
        slot = Slot(len(self.parameters) + len(self.steps))
        self.steps.append(step)
        self._slots[step] = slot
        # The absolute value alone takes a complex number back to the reals for certain.
        if op != "ABS" and (self._may_be_complex(left) or self._may_be_complex(right)):
            self._complex.add(slot.index)
        # A whole power stays real below zero; any other exponent, a variable too, may not.
        self.partial |= op in _LEAVES_REALS and not (isinstance(right, float) and right.is_integer())
        return slot

    def affine(self) -> tuple[float, dict[Parameter, float]] | None:
        """Constant and slopes, or None where the expression is not affine.

        Raises:
            ConfigError: If it is affine with complex coefficients.
        """
        forms: list[tuple[complex, dict[int, complex]] | None] = [
            (0.0, {k: 1.0}) for k in range(len(self.parameters))
        ]

        def form(operand: Operand | None) -> tuple[complex, dict[int, complex]] | None:
            if isinstance(operand, Slot):
                return forms[operand.index]
            return (operand or 0.0, {})

        for step in self.steps:
            left, right = form(step.left), form(step.right)
            forms.append(None if left is None or right is None else _affine_step(step.op, left, right))
        found = form(self.result)
        if found is None:
            return None
        constant, slopes = found
        if any(abs(complex(each).imag) > _ROUNDING for each in (constant, *slopes.values())):
            raise ConfigError(
                "Every angle must be a real expression",
                got=f"the constant {constant:g} and the slopes {[f'{each:g}' for each in slopes.values()]}",
                fix="Take the imaginary unit out of the angle",
            )
        real = {self.parameters[k]: complex(each).real for k, each in slopes.items()}
        return complex(constant).real, real

    def value(self, functions: dict[str, Callable[..., Any]] | None = None) -> Callable[..., Any]:
        """A function of the variables that gives the value; its elementary functions are NumPy's or given."""
        lines = [*self._lines(), f"return {self._name(self.result)}"]
        return self._compiled("value", lines, functions or _NUMPY)

    def slopes(self) -> Callable[..., tuple[Any, ...]]:
        """A function of the variables that gives all derivatives, by forward accumulation."""
        # Forward, not backward: an angle has a few parameters, and zero slopes are never written out.
        lines, slopes = self._lines(), [{k: "1.0"} for k in range(len(self.parameters))]
        for k, step in enumerate(self.steps, start=len(self.parameters)):
            slopes.append({})
            for variable in range(len(self.parameters)):
                slope = self._slope(step, f"t{k}", variable, slopes)
                if slope is not None:
                    slopes[k][variable] = f"d{k}_{variable}"
                    lines.append(f"d{k}_{variable} = {slope}")
        last = slopes[self.result.index] if isinstance(self.result, Slot) else {}
        values = "".join(f"{last.get(k, '0.0')}, " for k in range(len(self.parameters)))
        return self._compiled("slopes", [*lines, f"return ({values})"], _NUMPY)

    def _may_be_complex(self, operand: Operand | None) -> bool:
        if isinstance(operand, Slot):
            return not self._real or operand.index in self._complex
        return isinstance(operand, complex)

    def _compiled(
        self, name: str, lines: list[str], functions: dict[str, Callable[..., Any]]
    ) -> Callable[..., Any]:
        variables = ", ".join(f"v{k}" for k in range(len(self.parameters)))
        source = "\n    ".join([f"def {name}({variables}):", *lines])
        names: dict[str, Any] = {**functions, "real": np.real, "sqrt": np.sqrt, "scaled_log": _scaled_log}
        names |= {"inf": np.inf, "nan": np.nan}  # as Python spells such a constant in the source
        # Generated from operations and numbers alone: no name of a user's parameter is in the source.
        exec(compile(source, f"<{name} of an angle>", "exec"), names)
        made: Callable[..., Any] = names[name]
        return made

    def _name(self, operand: Operand) -> str:
        if not isinstance(operand, Slot):
            return f"({operand!r})"
        first = len(self.parameters)
        return f"v{operand.index}" if operand.index < first else f"t{operand.index}"

    def _lines(self) -> list[str]:
        lines = []
        for k, step in enumerate(self.steps, start=len(self.parameters)):
            left = self._name(step.left)
            if step.op in _INFIX:
                assert step.right is not None
                body = f"{left} {_INFIX[step.op]} {self._name(step.right)}"
            else:
                body = f"{_FUNCTIONS[step.op]}({left})"
            lines.append(f"t{k} = {body}")
        return lines

    def _slope(self, step: _Step, result: str, variable: int, slopes: list[dict[int, str]]) -> str | None:
        """Derivative of a step by a variable, or None where it does not depend on it."""

        def slope(operand: Operand | None) -> str | None:
            return slopes[operand.index].get(variable) if isinstance(operand, Slot) else None

        da, db = slope(step.left), slope(step.right)
        if (da is None and db is None) or (step.op == "POW" and step.left == 1.0):
            return None
        if step.op == "SIGN" and not self._may_be_complex(step.left):
            return None  # a step between two flat lines; not 0 times what may be infinite
        by_left, by_right = _SLOPES[step.op]
        if self._may_be_complex(step.left):
            by_left = _COMPLEX_SLOPES.get(step.op, by_left)
        if step.op == "POW" and step.right in (0.0, 1.0):
            by_left = "{b} * {da}"  # no division of zero by zero
        names = {"f": result, "a": self._name(step.left), "da": da, "db": db}
        names["b"] = "" if step.right is None else self._name(step.right)
        parts = [part.format(**names) for part, slope in ((by_left, da), (by_right, db)) if slope]
        return " + ".join(parts)


# Derivative ``df`` of each operation ``f`` of ``a`` and ``b``: the summands with ``da`` and with ``db``.
_SLOPES = {
    "ADD": ("{da}", "{db}"),
    "SUB": ("{da}", "-{db}"),
    "MUL": ("{b} * {da}", "{a} * {db}"),
    "DIV": ("{da} / {b}", "-{f} * {db} / {b}"),
    "POW": ("{b} * {a} ** ({b} - 1.0) * {da}", "scaled_log({f}, {a}) * {db}"),
    "SIN": ("cos({a}) * {da}", ""),
    "COS": ("-sin({a}) * {da}", ""),
    "TAN": ("(1.0 + {f} * {f}) * {da}", ""),
    # Two roots, whose cuts in the complex plane are those of the functions themselves.
    "ASIN": ("{da} / (sqrt(-({a} - 1.0)) * sqrt(1.0 + {a}))", ""),
    "ACOS": ("-{da} / (sqrt(-({a} - 1.0)) * sqrt(1.0 + {a}))", ""),
    "ATAN": ("{da} / (1.0 + {a} * {a})", ""),
    "EXP": ("{f} * {da}", ""),
    "LOG": ("{da} / {a}", ""),
    "ABS": ("sign({a}) * {da}", ""),  # as in torch, the kink at zero counts as flat
    "SIGN": ("", ""),
    "CONJ": ("conj({da})", ""),
}

# The same by real variables, of the two that are not analytic.
_COMPLEX_SLOPES = {
    "ABS": "real(conj({a} / {f}) * {da})",
    "SIGN": "({da} - {f} * real(conj({f}) * {da})) / abs({a})",
}


class Curve:
    """One expression that is not affine: its value and its slopes, vectorised.

    A value that is no real number, such as ``arcsin(2)``, is NaN.

    Attributes:
        expression: What it computes.
        parameters: Its parameters, in the order of the arguments.
        rows: Their places among inputs and then weights.
    """

    def __init__(self, expression: ParameterExpression, code: Code, row: dict[Parameter, int]) -> None:
        self.expression, self.parameters = expression, code.parameters
        self.rows = tuple(row[parameter] for parameter in code.parameters)
        self._code = code
        self._value, self._slopes = code.value(), code.slopes()
        self._always = code.is_complex
        # A detour through the complex plane, for the samples whose real value is NaN alone.
        if code.is_complex or code.partial:
            beyond = Code(expression, code.parameters, real=False)
            self._beyond_value, self._beyond_slopes = beyond.value(), beyond.slopes()

    def value(self, *arguments: Any) -> Any:
        """The angle, of arrays or numbers, one a parameter."""
        with np.errstate(all="ignore"):  # outside the domain the caller says which angle, and where
            found = np.nan if self._always else self._value(*arguments)
            if (self._code.partial or self._always) and np.isnan(found).any():
                found = _filled(found, self._beyond_value(*map(_as_complex, arguments)))
        return found

    def slopes(self, *arguments: Any) -> tuple[Any, ...]:
        """Derivatives of the angle by each parameter, likewise."""
        with np.errstate(all="ignore"):
            found = (np.nan,) * len(self.rows) if self._always else self._slopes(*arguments)
            if (self._code.partial or self._always) and any(np.isnan(each).any() for each in found):
                beyond = self._beyond_slopes(*map(_as_complex, arguments))
                found = tuple(map(_filled, found, beyond))
        return found

    def value_over(self, functions: dict[str, Callable[..., Any]]) -> Callable[..., Any]:
        """``value`` made of other functions than NumPy's, by the same names (``sin``, ``abs``, ...)."""
        made = self._code.value(functions)
        return (lambda *given: made(*given).real) if self._code.is_complex else made


def code_of(expression: ParameterExpression, order: dict[Parameter, int]) -> Code:
    """Read an expression, its parameters in the order of ``order``."""
    return Code(expression, sorted(expression.parameters, key=order.__getitem__))


def _replayed(expression: ParameterExpression, code: Code) -> Operand | None:
    """The operations that Qiskit would write to a QPY file; None where they do not make one value.

    An operand that is None is the last result not yet used.
    """
    if isinstance(expression, Parameter):
        return code.operand(expression)
    # A private attribute of Qiskit's; where a version has none, the expression is read from its text.
    stack: list[Operand] = []
    for step in getattr(expression, "_qpy_replay", ()):
        op = str(step.op).rpartition(".")[2]
        if op in _FUNCTIONS:
            right = None
        elif op in _INFIX or op in _SWAPPED:
            right = stack.pop() if step.rhs is None else code.operand(step.rhs)
        else:
            return None
        left = stack.pop() if step.lhs is None else code.operand(step.lhs)
        stack.append(code.add(op, left, right))
    return stack[0] if len(stack) == 1 else None


_CALLS = {
    "sin": "SIN",
    "cos": "COS",
    "tan": "TAN",
    "asin": "ASIN",
    "acos": "ACOS",
    "atan": "ATAN",
    "exp": "EXP",
    "log": "LOG",
    "abs": "ABS",
    "sign": "SIGN",
    "conj": "CONJ",
}
_OPERATORS: dict[type, str] = {
    ast.Add: "ADD",
    ast.Sub: "SUB",
    ast.Mult: "MUL",
    ast.Div: "DIV",
    ast.Pow: "POW",
}


def _parsed(expression: ParameterExpression, code: Code) -> Operand:
    """The expression from its text: Python but for ``1i``. Any name may be in it, so rename first."""
    plain = {each: Parameter(f"v{k}") for k, each in enumerate(code.parameters)}
    text = re.sub(r"(?<=[\d.])i\b", "j", str(expression.subs(plain)))

    def read(node: ast.expr) -> Operand:
        match node:
            case ast.Constant(value=int() | float() | complex()):
                return _number(node.value)
            case ast.Name():
                return Slot(int(node.id[1:]))
            case ast.UnaryOp(op=ast.USub()):
                return code.add("MUL", read(node.operand), -1.0)
            case ast.BinOp():
                return code.add(_OPERATORS[type(node.op)], read(node.left), read(node.right))
            case ast.Call(func=ast.Name(id=name), args=[argument]):
                return code.add(_CALLS[name], read(argument))
        raise ValueError(text)

    try:
        return read(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, KeyError) as error:
        raise ConfigError(
            "Every angle must be an expression of arithmetic and elementary functions",
            got=f"'{expression}'",
            fix="Write it with + - * / **, sin, cos, tan, arcsin, arccos, arctan, exp, log, abs, sign",
        ) from error


def _affine_step(
    op: str, left: tuple[complex, dict[int, complex]], right: tuple[complex, dict[int, complex]]
) -> tuple[complex, dict[int, complex]] | None:
    (a, da), (b, db) = left, right
    flat_left, flat_right = not any(da.values()), not any(db.values())
    match op:
        case "ADD" | "SUB":
            sign = 1.0 if op == "ADD" else -1.0
            return a + sign * b, {k: da.get(k, 0.0) + sign * db.get(k, 0.0) for k in (*da, *db)}
        case "MUL" if flat_left or flat_right:
            scale, other, slopes = (a, b, db) if flat_left else (b, a, da)
            return scale * other, {k: scale * each for k, each in slopes.items()}
        case "DIV" if flat_right and b:
            return a / b, {k: each / b for k, each in da.items()}
        case "POW" if flat_right and b == 1:
            return left
        case "CONJ":
            return complex(a).conjugate(), {k: complex(each).conjugate() for k, each in da.items()}
    # A step of constants that only became constant here, such as cos(x - x); NaN says not affine.
    value = _constant(op, a, b) if flat_left and flat_right else np.nan
    return (value, {}) if np.isfinite(value) else None


def _constant(op: str, left: _Number, right: _Number | None) -> _Number:
    """An operation on numbers, complex where the reals have no value."""
    # As NumPy's numbers: Python's raise on a division by zero, where an array would hold an infinity.
    numbers = [np.complex128(each) for each in (left, right) if each is not None]
    function = _NUMPY[_FUNCTIONS[op]] if right is None else _ARITHMETIC[op]
    with np.errstate(all="ignore"):
        value = complex(function(*(each.real if each.imag == 0 else each for each in numbers)))
        if np.isnan(value):
            value = complex(function(*numbers))
    return _number(value)


def _number(value: Any) -> _Number:
    number = complex(value)
    return number.real if number.imag == 0 else number


def _filled(found: Any, beyond: Any) -> Any:
    """What was found, NaN replaced by what was found in the complex plane if that is real."""
    real = np.abs(np.imag(beyond)) <= _ROUNDING * (1 + np.abs(beyond))
    return np.where(np.isnan(found) & real, np.real(beyond), found)


def _scaled_log(power: Any, base: Any) -> Any:
    """``power * log(base)``, zero where the power is."""
    # Both branches of ``where`` are worked out, so the logarithm must not see a zero even where it is not
    # taken.
    return np.where(power == 0, 0.0, power * np.log(np.where(power == 0, 1.0, base)))


def _as_complex(value: Any) -> Any:
    return np.asarray(value, np.complex128)
