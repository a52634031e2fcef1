"""Curves in characters: what a terminal of 80 columns can show of a training while it goes on.

Braille letters hold 2 by 4 dots each, so a plot of 50 by 10 letters has 100 by 40 dots. Each curve is named
where it ends, not in a legend of colours: it can be read without colour, and by who cannot tell two apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.text import Text

LEAST_WIDTH, LEAST_ROWS = 40, 3
"""A plot below these says nothing."""

# Losses that span more than this factor are drawn on a logarithmic axis.
# On a linear axis the last losses of a wider span would lie on its lower edge.
_LOGARITHMIC_FROM = 30.0

# Bits of a braille letter by row and column of its dots (Unicode 15.0, block 2800).
_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_MARGIN = 9


@dataclass(frozen=True)
class LossCurve:
    """One curve.

    Attributes:
        name: What it is called at its end.
        points: Its points (x, y), by x; one that is not finite is left out.
        style: Its colour, as rich has it.
    """

    name: str
    points: Sequence[tuple[float, float]]
    style: str = ""

    @property
    def finite(self) -> list[tuple[float, float]]:
        """The points that can be drawn."""
        return [each for each in self.points if math.isfinite(each[1])]


def draw_curves(curves: Iterable[LossCurve], *, width: int, rows: int, plain: bool = False) -> list[Text]:
    """Draw curves over one another, with the range on the left and their names and last values on the right.

    Args:
        curves: Those without a finite point are left out.
        width: Columns in all.
        rows: Lines of the plot itself; two more stand below it.
        plain: Letters of ASCII alone, for a terminal without braille.

    Returns:
        Lines of ``width`` cells at most; none where there is nothing to draw, or no space for it.
    """
    shown = [each for each in curves if each.finite]
    if not shown or width < LEAST_WIDTH or rows < LEAST_ROWS:
        return []
    values = [y for each in shown for _, y in each.finite]
    low, high = min(values), max(values)
    logarithmic = low > 0 and high > _LOGARITHMIC_FROM * low
    labels = {each.name: f"{each.name} {_number(each.finite[-1][1])}" for each in shown}
    # A long name must not leave the curves themselves without space.
    right = min(max(map(len, labels.values())), width // 3)
    canvas = _Canvas(width - _MARGIN - right - 2, rows, plain=plain)
    first = min(each.finite[0][0] for each in shown)
    last = max(each.finite[-1][0] for each in shown)

    def place(point: tuple[float, float]) -> tuple[float, float]:
        """Where a point lies, 0 to 1 from the left and from the top."""
        x = (point[0] - first) / (last - first) if last > first else 0.5
        y, bottom, top = map(math.log, (point[1], low, high)) if logarithmic else (point[1], low, high)
        return x, (top - y) / (top - bottom) if top > bottom else 0.5

    for curve in shown:
        canvas.add([place(point) for point in curve.finite], curve.style)
    ends = _apart({each.name: place(each.finite[-1])[1] for each in shown}, rows)
    lines = []
    for row, cells in enumerate(canvas.lines()):
        edge = {0: _number(high), rows - 1: _number(low)}.get(row, "")
        line = Text(f"{edge:>{_MARGIN - 1}} ").append_text(cells)
        for curve in shown:
            if ends.get(curve.name) == row:
                line.append(" " + labels[curve.name][:right], style=curve.style)
        lines.append(line)
    # The end of the axis must stand below the last dot, so the gap is measured and not tabbed.
    axis = f"epoch {first:g}"
    scale = "  (logarithmic)" if logarithmic else ""
    gap = max(1, canvas.width - len(axis) - len(f"{last:g}") - len(scale))
    lines.append(Text(" " * _MARGIN + axis + scale + " " * gap + f"{last:g}"))
    return lines


def _number(value: float) -> str:
    """A loss in eight letters at most."""
    text = f"{value:.4g}"
    return text if len(text) < _MARGIN else f"{value:.1e}"


def _apart(wanted: Mapping[str, float], rows: int) -> dict[str, int]:
    """A row for each name, near where its curve ends, no two in the same; some go without if rows run out."""
    taken: dict[str, int] = {}
    for name, share in sorted(wanted.items(), key=lambda item: item[1]):
        near = round(share * (rows - 1))
        # From the top down, each to the free row that is nearest: names keep the order of the ends.
        free = sorted(set(range(rows)) - set(taken.values()), key=lambda row: (abs(row - near), row))
        if free:
            taken[name] = free[0]
    return taken


class _Canvas:
    """Dots by letter, and the colour of each letter: that of the curve that was drawn last there."""

    def __init__(self, width: int, rows: int, *, plain: bool) -> None:
        self.width, self.rows, self.plain = width, rows, plain
        self.across, self.down = (1, 1) if plain else (2, 4)
        self.bits: dict[tuple[int, int], int] = {}
        self.styles: dict[tuple[int, int], str] = {}

    def add(self, points: Sequence[tuple[float, float]], style: str) -> None:
        """Join points, each from the left and from the top as shares of the whole, by lines."""
        wide, high = self.width * self.across - 1, self.rows * self.down - 1
        dots = [(round(x * wide), round(y * high)) for x, y in points]
        # A single point is a line to itself.
        for start, end in zip(dots, dots[1:] or dots, strict=False):
            for x, y in _line(start, end):
                cell = (y // self.down, x // self.across)
                self.bits[cell] = self.bits.get(cell, 0) | _BITS[y % self.down][x % self.across]
                self.styles[cell] = style

    def lines(self) -> Iterator[Text]:
        """The rows from the top."""
        for row in range(self.rows):
            line = Text("|" if self.plain else "│")
            for column in range(self.width):
                bits = self.bits.get((row, column), 0)
                letter = ("*" if bits else " ") if self.plain else chr(0x2800 + bits) if bits else " "
                line.append(letter, style=self.styles.get((row, column), ""))
            yield line


def _line(start: tuple[int, int], end: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Dots from one to another, both among them, without a gap."""
    steps = max(abs(end[0] - start[0]), abs(end[1] - start[1]))
    for step in range(steps + 1):
        share = step / steps if steps else 0.0
        yield round(start[0] + share * (end[0] - start[0])), round(start[1] + share * (end[1] - start[1]))
