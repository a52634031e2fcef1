"""Drawing the circuit of an ansatz: never a model, never a random number, never a change of the circuit.

Names and labels are anybody's text, and matplotlib takes what stands between two dollars for mathematics.
What it cannot read so is drawn as it is spelled, and angles longer than a box are cut short.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.cbook import is_math_text
from matplotlib.figure import Figure
from matplotlib.mathtext import MathTextParser
from matplotlib.text import Text
from pylatexenc.latexencode import UnicodeToLatexEncoder
from qiskit.circuit import (
    AnnotatedOperation,
    ClassicalRegister,
    ControlFlowOp,
    ControlledGate,
    Instruction,
    Parameter,
    ParameterExpression,
    QuantumCircuit,
    QuantumRegister,
)

from qhq.ansatz.program import Ansatz
from qhq.ansatz.stored import plain_program
from qhq.errors import ConfigError, nearest
from qhq.files import replacing, write_atomically

# Endings of files that can be drawn.
_DRAWING_FORMS = ("txt", "png", "svg", "pdf", "tex")

# Columns of a picture before it goes on below.
_FOLD = 24

_LONGEST_IN_FIGURE, _LONGEST_IN_TEXT = 60, 300
"""Characters of an angle or a name that are drawn."""

# Resolution of a picture, and the longest side that matplotlib's renderer takes.
_DPI, _MOST_PIXELS = 150, 60_000


def draw_text(ansatz: Ansatz, *, columns: int | None = None) -> str:
    """The circuit in box-drawing characters.

    Args:
        ansatz: What to draw.
        columns: Characters after which it goes on below; None does not fold it.
    """
    for circuit in _ways(ansatz):
        try:
            letters = _Letters(_LONGEST_IN_TEXT, math=False)
            drawing = _drawable(circuit, letters).draw("text", fold=columns or -1)
            # Else it would take that of the terminal, in a file as well, and warn of it.
            drawing.encoding = "utf-8"
            # Names may hold half a surrogate pair, as read from a file name: no terminal could print it.
            return str(drawing).encode("utf-8", "replace").decode()
        except Exception:  # Qiskit's drawer stumbles over a gate: what the gate is made of can still be drawn
            continue
    raise _undrawable(ansatz)


def draw_figure(ansatz: Ansatz) -> Figure:
    """The circuit as a matplotlib figure."""
    for circuit in _ways(ansatz):
        try:
            with warnings.catch_warnings():
                # Of fonts and layouts: the reader of a picture can do nothing about them.
                warnings.simplefilter("ignore")
                figure: Figure = _drawable(circuit, _Letters(_LONGEST_IN_FIGURE, math=True)).draw(
                    "mpl", fold=_FOLD, style="iqp"
                )
        except Exception:  # as above
            continue
        # Qiskit draws through pyplot, which would keep the figure for ever.
        plt.close(figure)
        for text in figure.findobj(Text):
            if isinstance(text, Text) and not _is_readable(text.get_text()):
                text.set_parse_math(False)
        return figure
    raise _undrawable(ansatz)


def draw_circuit(ansatz: Ansatz, path: Path) -> None:
    """Draw to a file, as text, PNG, SVG, PDF or LaTeX by its ending; the same circuit gives the same bytes.

    Raises:
        ConfigError: If the ending is another, or the file cannot be written.
    """
    form = path.suffix.removeprefix(".").lower()
    if form not in _DRAWING_FORMS:
        raise ConfigError(
            "A drawing must end in .txt, .png, .svg, .pdf or .tex",
            got=f"'{path}'",
            fix=nearest(form, _DRAWING_FORMS),
        )
    try:
        with replacing(path) as temporary:
            _write(ansatz, temporary, form)
    except OSError as error:
        raise ConfigError(
            "The drawing must be writable", got=f"{path}: {error.strerror}", fix="Choose another path"
        ) from error


def latex_of(ansatz: Ansatz) -> str:
    """The circuit as LaTeX source, a whole document in the package qcircuit; no LaTeX is needed for it."""
    for circuit in _ways(ansatz):
        names = _StandIns(_LONGEST_IN_FIGURE)
        try:
            source = _drawable(_with_safe_registers(circuit, names), names).draw("latex_source", fold=_FOLD)
        except Exception:  # as above
            continue
        return names.put_into(str(source).encode("utf-8", "replace").decode()).rstrip() + "\n"
    raise _undrawable(ansatz)


# What LaTeX may take for one circuit.
_SECONDS = 120


def draw_latex(ansatz: Ansatz, path: Path) -> None:
    """Draw by LaTeX: to its source (.tex), or to the PDF that an installed pdflatex makes of it.

    Raises:
        ConfigError: If the ending is another, there is no pdflatex, or it fails.
    """
    form = path.suffix.removeprefix(".").lower()
    if form == "tex":
        draw_circuit(ansatz, path)
        return
    if form != "pdf":
        raise ConfigError(
            "A drawing by LaTeX must end in .tex or .pdf", got=f"'{path}'", fix=nearest(form, ("tex", "pdf"))
        )
    program = shutil.which("pdflatex")
    if program is None:
        raise ConfigError(
            "A PDF by LaTeX needs pdflatex, with the package qcircuit",
            got="none on the PATH",
            fix=f"Install TeX Live, write {path.with_suffix('.tex')} instead, or leave --style latex out",
        )
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "circuit.tex").write_text(latex_of(ansatz), encoding="utf-8")
        # Names in a circuit are anybody's text: LaTeX may run no program and read no file above its folder.
        options = ["-no-shell-escape", "-interaction=batchmode", "-halt-on-error", "circuit.tex"]
        rules = {"openin_any": "p", "openout_any": "p"}
        try:
            done = subprocess.run(
                [program, *options], cwd=place, env={**os.environ, **rules}, timeout=_SECONDS, check=False,
                stdin=subprocess.DEVNULL, capture_output=True,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            done = None
        made = Path(place) / "circuit.pdf"
        if done is None or done.returncode or not made.is_file():
            raise ConfigError(
                "pdflatex must make a PDF of the circuit",
                got="a time-out" if done is None else f"its status {done.returncode}",
                fix=f"Write {path.with_suffix('.tex')} and run pdflatex on it to see why",
            )
        try:
            write_atomically(path, made.read_bytes())
        except OSError as error:
            raise ConfigError(
                "The drawing must be writable", got=f"{path}: {error.strerror}", fix="Choose another path"
            ) from error


def _write(ansatz: Ansatz, path: Path, form: str) -> None:
    if form == "txt":
        path.write_text(draw_text(ansatz) + "\n", encoding="utf-8")
        return
    if form == "tex":
        path.write_text(latex_of(ansatz), encoding="utf-8")
        return
    # Without a salt SVG ids are random; without metadata SVG and PDF carry the date.
    with mpl.rc_context({"svg.hashsalt": "qhq"}), warnings.catch_warnings():
        # A character that the font does not have is drawn as a box.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        figure = draw_figure(ansatz)
        metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(form)
        dpi = min(_DPI, _MOST_PIXELS / max(figure.get_size_inches()))
        figure.savefig(path, dpi=dpi, bbox_inches="tight", metadata=metadata)


def _ways(ansatz: Ansatz) -> Iterator[QuantumCircuit]:
    """The circuit as it was written; then, for whoever could not draw that, in gates that Qiskit can draw."""
    yield ansatz.circuit
    # Not before it is asked for: what cannot be lowered can be drawn nevertheless.
    yield plain_program(ansatz)


class _Spelling(Protocol):
    """How texts of a circuit are given to a drawer of Qiskit's."""

    def name(self, text: str) -> str:
        """Of a gate's name or label."""

    def angle(self, text: str) -> str:
        """Of an expression of parameters."""


class _Letters:
    """Texts as they are, as far as a drawer can take them."""

    def __init__(self, longest: int, *, math: bool) -> None:
        self._longest, self._math = longest, math

    def name(self, text: str) -> str:
        return _spelled(text, self._longest, math=self._math)

    angle = name


class _StandIns:
    """Words of letters in the place of texts, which LaTeX source takes at the end.

    Qiskit escapes nothing in an angle or a register, and little in a name: a ``%`` would comment out the rest
    of a line, and two ``_`` are no mathematics.
    """

    _TEXTS = UnicodeToLatexEncoder(
        non_ascii_only=False, unknown_char_policy="replace", unknown_char_warning=False
    )

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._words: dict[str, str] = {}

    def name(self, text: str) -> str:
        return (
            text if re.fullmatch(r"[A-Za-z0-9_-]+", text) and len(text) <= self._longest else self.word(text)
        )

    def angle(self, text: str) -> str:
        return self.word(text)

    def word(self, text: str) -> str:
        """The word for a text, as long where that can be: Qiskit makes columns as wide as their words."""
        line = _spelled(text, self._longest, math=False)
        if line not in self._words:
            number = "".join(chr(ord("a") + int(digit)) for digit in str(len(self._words)))
            # Qiskit writes some names with one capital; no letter but these two stands in a number.
            self._words[line] = f"Z{number.ljust(len(line) - 2, 'y')}z"
        return self._words[line]

    def put_into(self, source: str) -> str:
        """LaTeX source with the texts in the place of their words."""
        texts = {word: self._in_latex(line) for line, word in self._words.items()}
        return re.sub(r"Z[a-j]+y*z", lambda found: texts.get(found[0], found[0]), source)

    def _in_latex(self, line: str) -> str:
        # Within mathematics: a number behind a name is its index, and all else is text.
        pieces = re.split(r"((?<![A-Za-z0-9_])[A-Za-z]+_\d+(?![A-Za-z0-9_]))", line)
        found = []
        for place, piece in enumerate(pieces):
            if place % 2:
                letters, _, index = piece.partition("_")
                found.append(f"{letters}_{{{index}}}")
            elif piece:
                found.append(rf"\mbox{{{self._TEXTS.unicode_to_latex(piece)}}}")
        return "".join(found)


def _with_safe_registers(circuit: QuantumCircuit, names: _StandIns) -> QuantumCircuit:
    """The circuit with registers whose names LaTeX can take; itself if they are so."""
    registers = [*circuit.qregs, *circuit.cregs]
    plain = all(re.fullmatch(r"[A-Za-z0-9]+", register.name) for register in registers)
    whole = sum(register.size for register in registers) == circuit.num_qubits + circuit.num_clbits
    if plain or not whole or circuit.num_vars:  # bits of several registers stay as they are
        return circuit
    copy = QuantumCircuit(
        *(QuantumRegister(each.size, names.word(each.name)) for each in circuit.qregs),
        *(ClassicalRegister(each.size, names.word(each.name)) for each in circuit.cregs),
        global_phase=circuit.global_phase,
    )
    # In the order of the registers, which need not be that of the bits.
    qubits = dict(zip((bit for each in circuit.qregs for bit in each), copy.qubits, strict=True))
    clbits = dict(zip((bit for each in circuit.cregs for bit in each), copy.clbits, strict=True))
    for step in circuit.data:
        copy.append(
            step.operation, [qubits[bit] for bit in step.qubits], [clbits[bit] for bit in step.clbits]
        )
    return copy


def _drawable(circuit: QuantumCircuit, spelling: _Spelling) -> QuantumCircuit:
    """The circuit, or where a name, a label or an angle in it cannot be drawn, a copy that shows what can."""
    # One stand-in for equal texts: two parameters of one name are refused by Qiskit within a circuit.
    shown: dict[str, Parameter] = {}
    copy = circuit.copy_empty_like()
    changed = False
    if isinstance(circuit.global_phase, ParameterExpression):
        copy.global_phase = _shown_angle(circuit.global_phase, shown, spelling)
        changed = copy.global_phase is not circuit.global_phase
    for step in circuit.data:
        operation = _shown(step.operation, shown, spelling)
        changed = changed or operation is not step.operation
        copy.append(operation, step.qubits, step.clbits)
    return copy if changed else circuit


def _shown(operation: Any, shown: dict[str, Parameter], spelling: _Spelling) -> Any:
    """The operation with each of its texts as it is drawn; itself if that is as they are."""
    if isinstance(operation, AnnotatedOperation):
        base = _shown(operation.base_op, shown, spelling)
        return operation if base is operation.base_op else AnnotatedOperation(base, operation.modifiers)
    if not isinstance(operation, Instruction) or isinstance(operation, ControlFlowOp):
        return operation
    controlled = isinstance(operation, ControlledGate)
    # Of a controlled gate the one that is controlled is drawn, which holds the angles, too.
    texts = {name: getattr(operation, name, None) for name in ("label",) if operation.label}
    if not controlled:
        texts["name"] = operation.name
    new: dict[str, Any] = {name: spelling.name(text) for name, text in texts.items() if text}
    new = {name: text for name, text in new.items() if text != texts[name]}
    if controlled:
        base = _shown(operation.base_gate, shown, spelling)
        new |= {} if base is operation.base_gate else {"base_gate": base}
    else:
        angles = [_shown_angle(value, shown, spelling) for value in operation.params]
        if any(angle is not value for angle, value in zip(angles, operation.params, strict=True)):
            new["params"] = angles
    if not new:
        return operation
    # Qiskit's standard gates are shared singletons: a label set on one would be set on all of its kind.
    copy = operation.to_mutable()
    for name, value in new.items():
        setattr(copy, name, value)
    return copy


def _shown_angle(value: Any, shown: dict[str, Parameter], spelling: _Spelling) -> Any:
    if not isinstance(value, ParameterExpression):
        return value
    text = str(value)
    spelled = spelling.angle(text)
    return value if spelled == text else shown.setdefault(spelled, Parameter(spelled))


def _spelled(text: str, longest: int, *, math: bool) -> str:
    """A text that a drawer can take: one line, not too long, its dollars balanced or no mathematics."""
    line = re.sub(r"[\s\x00-\x1f\x7f-\x9f]", " ", text)
    line = line if len(line) <= longest else line[: longest - 3] + "..."
    # Qiskit draws a minus in an angle as mathematics.
    if math and not (_is_readable(line) and _is_readable(line.replace("-", "$-$"))):
        line = line.replace("$", "\\$")
    if math and "\\" in line and not is_math_text(line):
        # Qiskit measures a text as LaTeX, which a backslash would be a command to.
        line = line.replace("\\$", "＄").replace("\\", "∖").replace("＄", "\\$")
    return line


def _is_readable(text: str) -> bool:
    if not is_math_text(text):
        return True
    try:
        MathTextParser("path").parse(text)
    except ValueError:
        return False
    return True


def _undrawable(ansatz: Ansatz) -> ConfigError:
    return ConfigError(
        "A circuit must be made of gates that Qiskit can draw",
        got=f"circuit '{ansatz.circuit.name}'",
        fix="Export it to QPY, and draw it with another version of Qiskit",
    )
