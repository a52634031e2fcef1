"""The circuit of an ansatz with the roles of its gates: data, trained weights, entanglers.

Roles differ in colour and in shape, so that a black-and-white print shows them, and colour-blind readers see
them: gates of inputs have round ends, gates of weights square corners and a thick edge, entanglers are lines
with dots, and fixed gates are plain. The drawing needs the circuit alone: no model, no engine and no random
number.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse, FancyBboxPatch, Patch
from matplotlib.text import Text
from numpy.typing import ArrayLike
from qiskit.circuit import (
    AnnotatedOperation,
    CircuitInstruction,
    ControlledGate,
    ControlModifier,
    Parameter,
    ParameterExpression,
    PowerModifier,
)

from qhq.ansatz.program import Ansatz
from qhq.ansatz.script import checked_weights
from qhq.engine.compile import AngleMap
from qhq.errors import ConfigError, visible
from qhq.files import replacing

_Role = Literal["data", "weight", "data and weight", "entangler", "fixed"]

# Face and edge of each role; black text on each face has a contrast of 15 to 1 and more.
_COLOURS: dict[_Role, tuple[str, str]] = {
    "data": ("#d6e8fa", "#1f5f99"),
    "weight": ("#fde3c8", "#a34a00"),
    "data and weight": ("#e6dcf5", "#5b3a96"),
    "entangler": ("#ffffff", "#222222"),
    "fixed": ("#f2f2f2", "#666666"),
}

PICTURE_FORMS = ("png", "svg", "pdf")
_FOLD, _MOST_COLUMNS = 16, 600
"""Columns of a picture before it goes on below, and the most there may be."""

# Round on paper: a column is half as wide again as a wire is high.
_DOT, _TARGET = (0.105, 0.16), (0.26, 0.4)

# Characters of an angle that fit beside its neighbours.
_LONGEST = 16


def role_of(step: CircuitInstruction, inputs: frozenset[Parameter], weights: frozenset[Parameter]) -> _Role:
    """What a gate is there for."""
    held: set[Parameter] = set()
    for value in getattr(_opened(step.operation)[0], "params", ()):
        if isinstance(value, ParameterExpression):
            held |= set(value.parameters)
    if held & inputs:
        return "data and weight" if held & weights else "data"
    if held:
        return "weight"
    return "entangler" if len(step.qubits) > 1 else "fixed"


def draw_roles(
    ansatz: Ansatz, weights: ArrayLike | None = None, errors: Sequence[float | None] = ()
) -> Figure:
    """The circuit as it was written, its gates by their roles.

    Args:
        ansatz: What to draw.
        weights: Trained weights, shape (W,), whose values then stand in the place of their names.
        errors: Of each gate of the circuit, which then stand below them in percent; None and 0 are left out.

    Raises:
        ConfigError: If there is not one value for each weight, or the circuit is too long for a picture.
    """
    values = None if weights is None else checked_weights(ansatz, weights)
    named = {} if values is None else dict(zip(ansatz.weights, values.tolist(), strict=True))
    # One list of steps, known by identity: Qiskit makes new ones each time that it is asked.
    steps = [*ansatz.circuit.data]
    known = {id(step): error for step, error in zip(steps, errors, strict=False) if error}
    columns = _columns(ansatz, steps)
    if len(columns) > _MOST_COLUMNS:
        raise ConfigError(
            f"A picture must have at most {_MOST_COLUMNS} columns of gates",
            got=f"{len(columns)}",
            fix="Draw it as text, or with fewer layers (--depth)",
        )
    lines = [columns[at : at + _FOLD] for at in range(0, len(columns), _FOLD)] or [[]]
    qubits, wide = ansatz.num_qubits, max(len(line) for line in lines)
    tall = len(lines) * (qubits + 0.7)
    figure = Figure(figsize=(1.4 + 0.95 * max(wide, 4), 0.9 + 0.62 * tall), layout="constrained")
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set(xlim=(-1.1, max(wide, 4) - 0.3), ylim=(tall - 0.95, -0.6))
    roles: dict[_Role, None] = {}
    inputs, trained = frozenset(ansatz.inputs), frozenset(ansatz.weights)
    for number, line in enumerate(lines):
        top = number * (qubits + 0.7)
        for qubit in range(qubits):
            axes.plot([-0.45, len(line) - 0.5], [top + qubit] * 2, color="#888888", linewidth=0.9, zorder=0)
            axes.text(-0.55, top + qubit, _wire(ansatz, qubit), ha="right", va="center", fontsize=8)
        for place, steps in enumerate(line):
            for step in steps:
                role = role_of(step, inputs, trained)
                roles[role] = None
                _draw_step(axes, ansatz, step, role, (place, top), named)
                if id(step) in known:
                    rows = [top + qubit for qubit in _places(ansatz, step)]
                    said = f"{100 * known[id(step)]:.2g} %"
                    axes.text(
                        place, max(rows) + 0.4, said, ha="center", va="center", fontsize=6, color="#8a1c1c"
                    )
    figure.legend(
        handles=[_handle(role) for role in _COLOURS if role in roles], loc="outside lower center",
        ncols=5 if wide > 8 else 2, fontsize=8, frameon=False,
    )  # fmt: skip
    # Names are anybody's text: what stands between two dollars is no mathematics here.
    for text in figure.findobj(Text):
        if isinstance(text, Text):
            text.set_parse_math(False)
    return figure


def draw_roles_to(
    ansatz: Ansatz, path: Path, weights: ArrayLike | None = None, errors: Sequence[float | None] = ()
) -> None:
    """Draw to a PNG, SVG or PDF by the ending; the same circuit gives the same bytes.

    Raises:
        ConfigError: As `draw_roles`, or if the file cannot be written.
    """
    form = path.suffix.removeprefix(".").lower()
    try:
        with (
            mpl.rc_context({"svg.hashsalt": "qhq"}),
            warnings.catch_warnings(),
            replacing(path) as temporary,
        ):
            # A character that the font does not have is drawn as a box.
            warnings.filterwarnings("ignore", "Glyph .* missing from")
            metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(form)
            draw_roles(ansatz, weights, errors).savefig(temporary, dpi=150, format=form, metadata=metadata)
    except OSError as error:
        raise ConfigError(
            "The drawing must be writable", got=f"{path}: {error.strerror}", fix="Choose another path"
        ) from error


def _columns(ansatz: Ansatz, steps: Sequence[CircuitInstruction]) -> list[list[CircuitInstruction]]:
    """Gates by column, each as far to the left as the wires between its qubits are free."""
    free, columns = [0] * ansatz.num_qubits, list[list[CircuitInstruction]]()
    for step in steps:
        own = _places(ansatz, step)
        span = range(min(own), max(own) + 1) if own else range(0)
        place = max((free[qubit] for qubit in span), default=0)
        for qubit in span:
            free[qubit] = place + 1
        # It has held the columns before and behind it apart, and is not drawn itself.
        if step.operation.name == "barrier" or not own:
            continue
        while len(columns) <= place:
            columns.append([])
        columns[place].append(step)
    return [column for column in columns if column]


def _places(ansatz: Ansatz, step: CircuitInstruction) -> list[int]:
    return [ansatz.circuit.find_bit(bit).index for bit in step.qubits]


def _wire(ansatz: Ansatz, qubit: int) -> str:
    """Name of a wire: of a device it is that of the register, which `IsaProgram.as_ansatz` makes."""
    registers = ansatz.circuit.find_bit(ansatz.circuit.qubits[qubit]).registers
    own = registers and registers[0][0].size == 1 and ansatz.num_qubits > 1
    return visible(registers[0][0].name, cell=True) if own else f"q{qubit}"


def _draw_step(
    axes: Axes,
    ansatz: Ansatz,
    step: CircuitInstruction,
    role: _Role,
    corner: tuple[float, float],
    named: dict[Parameter, float],
) -> None:
    (column, top) = corner
    base, controls, closed, words = _opened(step.operation)
    rows = [top + qubit for qubit in _places(ansatz, step)]
    edge = _COLOURS[role][1]
    if len(rows) > 1:
        axes.plot([column] * 2, [min(rows), max(rows)], color=edge, linewidth=1.6, zorder=1)
    for place, row in enumerate(rows[:controls]):
        # The lowest bit is that of the first control; a 0 is one that must be |0>, drawn open.
        face = edge if closed >> place & 1 else "#ffffff"
        axes.add_patch(Ellipse((column, row), *_DOT, facecolor=face, edgecolor=edge, zorder=3))
    targets = rows[controls:]
    if base.name == "z" and controls and not words:
        axes.add_patch(Ellipse((column, targets[0]), *_DOT, facecolor=edge, edgecolor=edge, zorder=3))
    elif base.name == "x" and controls and not words:
        axes.add_patch(Ellipse((column, targets[0]), *_TARGET, facecolor="#ffffff", edgecolor=edge, zorder=2))
        axes.plot(
            [column - _TARGET[0] / 2, column + _TARGET[0] / 2],
            [targets[0]] * 2,
            color=edge,
            linewidth=1.3,
            zorder=3,
        )
        axes.plot([column] * 2, [targets[0] - 0.2, targets[0] + 0.2], color=edge, linewidth=1.3, zorder=3)
    elif base.name == "swap" and not words:
        axes.plot([column] * 2, targets, "x", color=edge, markersize=8, markeredgewidth=1.6, zorder=3)
    else:
        # What is no gate of Qiskit's (a Clifford, an annotated operation) has a name alone.
        label = getattr(base, "label", None)
        name = visible(str(label or base.name), cell=True)
        name = name.upper() if label is None else name
        angles = ", ".join(
            _angle(value, named)
            for value in getattr(base, "params", ())
            if isinstance(value, ParameterExpression | int | float)
        )
        name = _shortened(name, 9 - len(words)) + words
        _draw_box(axes, role, column, targets, (name, _shortened(angles, _LONGEST)))


def _opened(gate: Any) -> tuple[Any, int, int, str]:
    """The gate that is controlled, by how many qubits and at which state, and what else is done to it."""
    if isinstance(gate, ControlledGate):
        return gate.base_gate, gate.num_ctrl_qubits, gate.ctrl_state, ""
    if not isinstance(gate, AnnotatedOperation):
        return gate, 0, 0, ""
    base, controls, state, words = _opened(gate.base_op)
    for modifier in gate.modifiers:
        if isinstance(modifier, ControlModifier):
            # The last modifier acts last: its qubits come before the others.
            state = state << modifier.num_ctrl_qubits | modifier.ctrl_state
            controls += modifier.num_ctrl_qubits
        elif isinstance(modifier, PowerModifier):
            words += f"^{modifier.power:.3g}"
        else:
            words += "†"
    return base, controls, state, words


def _draw_box(axes: Axes, role: _Role, column: float, rows: Sequence[float], words: tuple[str, str]) -> None:
    face, edge = _COLOURS[role]
    low, high = min(rows), max(rows)
    style = "round,pad=0,rounding_size=0.22" if role.startswith("data") else "square,pad=0"
    axes.add_patch(
        FancyBboxPatch(
            (column - 0.42, low - 0.3),
            0.84,
            high - low + 0.6,
            boxstyle=style,
            facecolor=face,
            edgecolor=edge,
            linewidth=2.0 if "weight" in role else 1.0,
            zorder=2,
        )
    )
    middle = (low + high) / 2
    name, angles = words
    # Which qubit is which, where the order does not say it: of a gate that is not symmetric it matters.
    if [*rows] != [low + place for place in range(len(rows))]:
        for place, row in enumerate(rows):
            axes.text(column - 0.38, row, str(place), ha="left", va="center", fontsize=5, zorder=4)
    axes.text(column, middle - (0.1 if angles else 0), name, ha="center", va="center", fontsize=9, zorder=4)
    if angles:
        size = 7 if len(angles) <= 9 else 5
        axes.text(column, middle + 0.16, angles, ha="center", va="center", fontsize=size, zorder=4)


def _angle(value: ParameterExpression | float, named: dict[Parameter, float]) -> str:
    if not isinstance(value, ParameterExpression):
        return f"{value:.3g}"
    known = [each for each in value.parameters if each in named]
    if known and len(known) == len(value.parameters):
        row = np.array([[named[each] for each in known]])
        return f"{AngleMap([value], known, ()).angles(row, np.empty(0))[0, 0]:.3g}"
    text = visible(str(value), cell=True)
    words = {visible(each.name, cell=True): each for each in value.parameters}
    if known:
        # In one pass, whole names and the longest first: "w" stands in "w10", and "x" in "exp(x)".
        names = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
        text = re.sub(rf"(?<!\w)(?:{names})(?!\w)", lambda found: _known(words[found[0]], named), text)
    # As a device has them, angles begin with pi in sixteen digits, and the name would be cut off.
    return re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.3g}", text)


def _known(parameter: Parameter, named: dict[Parameter, float]) -> str:
    if parameter not in named:
        return visible(parameter.name, cell=True)
    number = f"{named[parameter]:.3g}"
    return f"({number})" if number.startswith("-") else number


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _handle(role: _Role) -> Patch | Line2D:
    face, edge = _COLOURS[role]
    words = {
        "data": "data (round)",
        "weight": "trained weights (square, thick edge)",
        "data and weight": "both",
        "entangler": "entanglers (lines)",
        "fixed": "fixed gates",
    }
    if role == "entangler":
        return Line2D([], [], color=edge, marker="o", label=words[role])
    width = 2.0 if "weight" in role else 1.0
    return Patch(facecolor=face, edgecolor=edge, linewidth=width, label=words[role])
