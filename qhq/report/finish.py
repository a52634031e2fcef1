"""What every figure gets before it is written: the caveat of its data, and text that stays text."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import Formatter, FuncFormatter, LogFormatter, ScalarFormatter

from qhq.data.caveat import Caveat


def finish_figure(figure: Figure, caveat: Caveat) -> None:
    """Write the caveat above a figure, if there is one, and let no name in it be read as mathematics."""
    if caveat:
        title = figure.get_suptitle()
        figure.suptitle(f"{caveat.mark}\n{title}" if title else caveat.mark, color="tab:red", fontsize=10)
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
