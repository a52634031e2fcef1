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
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.cbook import is_math_text
from matplotlib.figure import Figure
from matplotlib.mathtext import MathTextParser
from matplotlib.text import Text
from qiskit.circuit import ControlFlowOp, Instruction, Parameter, ParameterExpression, QuantumCircuit

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


def draw_text(ansatz: Ansatz) -> str:
    """The circuit in box-drawing characters, unfolded."""
    for circuit in (ansatz.circuit, plain_program(ansatz)):
        try:
            drawing = _drawable(circuit, _LONGEST_IN_TEXT, math=False).draw("text", fold=-1)
            # Names may hold half a surrogate pair, as read from a file name: no terminal could print it.
            return str(drawing).encode("utf-8", "replace").decode()
        except Exception:  # Qiskit's drawer stumbles over a gate: what the gate is made of can still be drawn
            continue
    raise _undrawable(ansatz)


def draw_figure(ansatz: Ansatz) -> Figure:
    """The circuit as a matplotlib figure."""
    for circuit in (ansatz.circuit, plain_program(ansatz)):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                figure: Figure = _drawable(circuit, _LONGEST_IN_FIGURE, math=True).draw(
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
    for circuit in (ansatz.circuit, plain_program(ansatz)):
        try:
            source = _drawable(circuit, _LONGEST_IN_FIGURE, math=True).draw("latex_source", fold=_FOLD)
        except Exception:  # as above
            continue
        return str(source).encode("utf-8", "replace").decode().rstrip() + "\n"
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


def _drawable(circuit: QuantumCircuit, longest: int, *, math: bool) -> QuantumCircuit:
    """The circuit, or where a name, a label or an angle in it cannot be drawn, a copy that shows what can."""
    # One stand-in for equal texts: two parameters of one name are refused by Qiskit within a circuit.
    shown: dict[str, Parameter] = {}
    copy = circuit.copy_empty_like()
    changed = False
    for step in circuit.data:
        operation = _shown(step.operation, shown, longest, math=math)
        changed = changed or operation is not step.operation
        copy.append(operation, step.qubits, step.clbits)
    return copy if changed else circuit


def _shown(operation: Any, shown: dict[str, Parameter], longest: int, *, math: bool) -> Any:
    """The operation with each of its texts as it is drawn; itself if that is as they are."""
    if not isinstance(operation, Instruction) or isinstance(operation, ControlFlowOp):
        return operation
    texts = {name: getattr(operation, name, None) for name in ("name", "label")}
    wanted = {name: _spelled(text, longest, math=math) for name, text in texts.items() if text}
    angles = []
    for value in operation.params:
        text = str(value) if isinstance(value, ParameterExpression) else ""
        spelled = _spelled(text, longest, math=math)
        angles.append(value if spelled == text else shown.setdefault(spelled, Parameter(spelled)))
    is_new = any(angle is not value for angle, value in zip(angles, operation.params, strict=True))
    if not is_new and all(texts[name] == text for name, text in wanted.items()):
        return operation
    # Qiskit's standard gates are shared singletons: a label set on one would be set on all of its kind.
    copy = operation.to_mutable()
    if is_new:
        copy.params = angles
    for name, text in wanted.items():
        if texts[name] != text:
            setattr(copy, name, text)
    return copy


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
