"""What every figure gets before it is written: the mark of leaks, and text that stays text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import Formatter, FuncFormatter, LogFormatter, ScalarFormatter

from qhq.data.leak_spec import leak_mark


def finish_figure(figure: Figure, leaks: Sequence[str]) -> None:
    """Say above a figure which leaks were on, if any, and let no name in it be read as mathematics."""
    if leaks:
        title = figure.get_suptitle()
        mark = leak_mark(leaks)
        figure.suptitle(f"{mark}\n{title}" if title else mark, color="tab:red", fontsize=10)
    _take_text_literally(figure)


def _take_text_literally(figure: Figure) -> None:
    """Let no text be parsed as mathematics: a symbol such as ``A$B$`` is a name, not a formula.

    Tick labels of numbers stay as they are, since matplotlib itself writes powers of ten as mathematics.
    """
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            formatter = axis.get_major_formatter()
            if not isinstance(formatter, ScalarFormatter | LogFormatter):
                # Ticks are made while they are drawn, so their labels are escaped on the way there.
                axis.set_major_formatter(FuncFormatter(_escaping(formatter)))
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                tick.label1.set_parse_math(True)
                tick.label2.set_parse_math(True)


def _escaping(formatter: Formatter) -> Callable[[float, int | None], str]:
    return lambda value, position: str(formatter(value, position)).replace("$", r"\$")
