"""Drawing the circuit of an ansatz: never a model, never a random number."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from qhq.ansatz.program import Ansatz
from qhq.errors import ConfigError, nearest

FORMS = ("txt", "png", "svg", "pdf")
"""Endings of files that can be drawn."""

FOLD = 24
"""Columns of a picture before it goes on below."""


def draw_text(ansatz: Ansatz) -> str:
    """The circuit in box-drawing characters, unfolded."""
    return str(ansatz.circuit.draw("text", fold=-1))


def draw_figure(ansatz: Ansatz) -> Figure:
    """The circuit as a matplotlib figure."""
    figure: Figure = ansatz.circuit.draw("mpl", fold=FOLD, style="iqp")
    # Qiskit draws through pyplot, which would keep the figure for ever.
    plt.close(figure)
    return figure


def draw_circuit(ansatz: Ansatz, path: Path) -> None:
    """Draw to a file, as text, PNG, SVG or PDF by its ending; the same circuit gives the same bytes.

    Raises:
        ConfigError: If the ending is another, or the file cannot be written.
    """
    form = path.suffix.removeprefix(".").lower()
    if form not in FORMS:
        raise ConfigError(
            "A drawing must end in .txt, .png, .svg or .pdf", got=f"'{path}'", fix=nearest(form, FORMS)
        )
    try:
        _write(ansatz, path, form)
    except OSError as error:
        raise ConfigError(
            "The drawing must be writable", got=f"{path}: {error.strerror}", fix="Choose another path"
        ) from error


def _write(ansatz: Ansatz, path: Path, form: str) -> None:
    if form == "txt":
        path.write_text(draw_text(ansatz) + "\n", encoding="utf-8")
        return
    # Without a salt SVG ids are random; without metadata SVG and PDF carry the date.
    with mpl.rc_context({"svg.hashsalt": "qhq"}):
        figure = draw_figure(ansatz)
        metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(form)
        figure.savefig(path, dpi=150, bbox_inches="tight", metadata=metadata)
