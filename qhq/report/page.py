"""What a page is made of, and how it becomes one HTML file that needs nothing else.

A page is sections; a section is paragraphs, facts, tables and pictures, as data. How they look, sort,
filter and print is the template's alone (``templates/``), so all kinds of pages look alike.

Names in a page come from users' files. All text is escaped by the template, control characters are shown as
escapes, pictures stand in ``<img>`` where nothing in them can run, and the page's own policy allows no style
and no script but the two that it was written with: their digests are in it.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from itertools import count
from typing import ClassVar

import matplotlib as mpl
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from qhq.data.caveat import NO_CAVEAT, Caveat
from qhq.errors import QHQError, visible
from qhq.report.figures import finish_figure

# A larger drawing is kept as pixels.
# Ten of them must leave the page below 5 MB.
_MOST_SVG_BYTES = 400_000

# The scale below which a figure is not drawn on a narrow screen: text of 10 points is 8.5 pixels high then.
_LEAST_SCALE = 0.64
_PIXELS_PER_REM = 16

# Rows of a table; the rest is counted below it.
_MOST_ROWS = 2000

Value = str | float | int | bool | None


@dataclass(frozen=True)
class TableCell:
    """One cell: what is read, and what it is sorted by; ``sort`` None sorts by the text."""

    text: str
    sort: float | None = None

    @property
    def is_number(self) -> bool:
        """Whether it stands on the right."""
        return self.sort is not None


def cell(value: Value | TableCell) -> TableCell:
    """A value as it is read: numbers with four digits, None as a dash.

    >>> cell(1234.5678).text, cell(0.00012348).text, cell(12345).text, cell(None).text, cell(True).text
    ('1,235', '0.0001235', '12,345', '–', 'yes')
    """
    if isinstance(value, TableCell):
        return TableCell(visible(value.text, cell=True), value.sort)
    if value is None or value != value:  # noqa: PLR0124 (NaN is a number to no script, which sorts by it)
        return TableCell("–")
    if isinstance(value, bool):
        return TableCell("yes" if value else "no")
    if isinstance(value, int):
        return TableCell(f"{value:,}", float(value))
    if isinstance(value, float):
        return TableCell(f"{value:,.0f}" if 1000 <= abs(value) < 1e15 else f"{value:.4g}", value)
    # Records of other versions may hold anything: whatever it is, it is shown and not run.
    return TableCell(visible(str(value), cell=True))


def percent(value: float | None) -> TableCell:
    """A share with its sign, in percent.

    >>> percent(0.0123).text, percent(None).text
    ('+1.23 %', '–')
    """
    return TableCell("–") if value is None else TableCell(f"{100 * value:+.2f} %", value)


def interval_text(low: float | None, high: float | None) -> str | None:
    """The interval of a figure; None where it has none, as of exact values or of few seeds."""
    return None if low is None or high is None or low == high else f"{low:.4g} to {high:.4g}"


def plain(value: Value | TableCell) -> TableCell:
    """A whole number that is a name, such as a seed: without commas."""
    return TableCell(str(value), float(value)) if isinstance(value, int) else cell(value)


@dataclass(frozen=True)
class Paragraph:
    """Some sentences; ``tone`` is empty, or ``good``, ``bad`` or ``note`` for a margin of its colour."""

    kind: ClassVar[str] = "paragraph"
    text: str
    tone: str = ""


@dataclass(frozen=True)
class Facts:
    """Names and values, one below the other."""

    kind: ClassVar[str] = "facts"
    rows: Sequence[tuple[str, TableCell]]


@dataclass(frozen=True)
class Preformatted:
    """Text as it is laid out, such as a circuit in characters, folded away under its title."""

    kind: ClassVar[str] = "text"
    title: str
    text: str


@dataclass(frozen=True)
class Table:
    """A table that sorts by any column, and filters if it is long.

    Attributes:
        caption: What it holds.
        columns: Their titles.
        rows: Cells, as many as columns.
        strong: Numbers of the rows that stand out.
        folded: Whether it is folded away under its caption.
    """

    kind: ClassVar[str] = "table"
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Value | TableCell]]
    strong: frozenset[int] = frozenset()
    folded: bool = False

    @property
    def cells(self) -> list[list[TableCell]]:
        """All cells that are shown."""
        return [[cell(value) for value in row] for row in self.rows[:_MOST_ROWS]]

    @property
    def numeric(self) -> list[bool]:
        """Which columns hold numbers alone."""
        columns = list(zip(*self.cells, strict=True)) if self.rows else [()] * len(self.columns)
        known = [[each for each in column if each.text != "–"] for column in columns]
        return [bool(column) and all(each.is_number for each in column) for column in known]

    @property
    def left_out(self) -> int:
        """Rows that are not shown."""
        return max(0, len(self.rows) - _MOST_ROWS)


@dataclass(frozen=True)
class Picture:
    """A figure in the page itself, with the text that stands for it where it cannot be seen.

    Attributes:
        alt: What it shows, in a sentence with its figures.
        caption: What to look for.
        source: A ``data:`` address.
        width: Its own, in CSS pixels; so is ``height``.
    """

    kind: ClassVar[str] = "picture"
    alt: str
    caption: str
    source: str
    width: int
    height: int

    @property
    def least_rem(self) -> int:
        """The width that it is not made smaller than, since its text could not be read; then it scrolls."""
        return int(self.width * _LEAST_SCALE / _PIXELS_PER_REM)


Part = Paragraph | Facts | Preformatted | Table | Picture


@dataclass(frozen=True)
class Section:
    """A heading, and what stands below it."""

    title: str
    parts: Sequence[Part]


@dataclass(frozen=True)
class Page:
    """One page.

    Attributes:
        title: Of the page: the name of what it is about.
        kind: What it is about, such as ``Run``.
        verdict: The first thing to be read.
        sections: In the order of reading; those without parts are left out.
        caveat: Of the data.
        marks: Short facts beside the title.
    """

    title: str
    kind: str
    verdict: str
    sections: Sequence[Section]
    caveat: Caveat = NO_CAVEAT
    marks: Sequence[str] = field(default=())


def render_page(page: Page) -> str:
    """The page as HTML."""
    numbers = count(1)
    sections = [
        {"title": section.title, "id": f"section-{next(numbers)}", "parts": list(section.parts)}
        for section in page.sections
        if section.parts
    ]
    pictures = (part for section in page.sections for part in section.parts if isinstance(part, Picture))
    widths = {part.least_rem for part in pictures}
    # Rules and not attributes: the policy of the page allows no style in an element.
    style = _asset("page.css") + "".join(
        f".least-{each} img {{ min-width: {each}rem; }}\n" for each in sorted(widths)
    )
    script = _asset("page.js")
    return _environment().get_template("page.html").render(
        page=page,
        sections=sections,
        style=style,
        script=script,
        style_digest=_digest(style),
        script_digest=_digest(script),
    )  # fmt: skip


@cache
def _environment() -> Environment:
    # Escaped, as symbols and names come from users' files; strict, as a key that is missing must fail, not
    # leave a hole in the page.
    environment = Environment(
        loader=PackageLoader("qhq.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["visible"] = visible
    environment.filters["pieces"] = _pieces
    return environment


# A key of a config, such as model.output_activation.
_KEY = re.compile(r"[a-z]\w*(?:\.[a-z]\w*)+", re.ASCII)
_JOINT = re.compile(r"(?<=[._])(?=[a-z])")


def _pieces(text: str) -> list[str]:
    """A text, cut where a key of a config may go on in a new line: after a dot or an underscore.

    >>> _pieces("data.symbols, skip"), _pieces("0.25"), _pieces("")
    (['data.', 'symbols, skip'], ['0.25'], [''])
    """
    return _KEY.sub(lambda key: _JOINT.sub("\0", key[0]), text).split("\0")


@cache
def _asset(name: str) -> str:
    return (files("qhq.report") / "templates" / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """As a policy names an inline element: of exactly the characters between its tags."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def picture(
    draw: Callable[[], Figure],
    *,
    alt: str,
    caption: str,
    caveat: Caveat = NO_CAVEAT,
) -> Picture | Paragraph:
    """Draw a figure into the page, as SVG, or as PNG where that would be too large.

    A figure only illustrates a result: where it fails, a sentence stands in its place.

    Args:
        draw: Makes the figure.
        alt: What stands for it.
        caption: What stands below it.
        caveat: Of its data, written above it.
    """
    try:
        figure = draw()
        finish_figure(figure, caveat)
        source, width, height = _source(figure)
    except QHQError as error:
        return Paragraph(f"This figure could not be drawn: {error}", tone="note")
    except Exception as error:  # matplotlib raises whatever a font, a glyph or a number makes it raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        return Paragraph(f"This figure could not be drawn: {reason}", tone="note")
    return Picture(visible(alt, cell=True), visible(caption, cell=True), source, width, height)


def _source(figure: Figure) -> tuple[str, int, int]:
    """A figure as its own address, and its width and height in CSS pixels."""
    # Without a salt SVG ids are random; without a date the same run gives the same page.
    with mpl.rc_context({"svg.hashsalt": "qhq"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        content = _saved(figure, "svg")
        wide, tall = (float(each) * 96 / 72 for each in _SVG_SIZE.findall(content[:2000])[0])
        if len(content) <= _MOST_SVG_BYTES:
            return _embed(content, "image/svg+xml"), round(wide), round(tall)
        for dpi in (110, 70):
            content = _saved(figure, "png", dpi)
            if len(content) <= _MOST_SVG_BYTES:
                break
        return _embed(content, "image/png"), round(wide), round(tall)


_SVG_SIZE = re.compile(rb'<svg [^>]*?width="([0-9.]+)pt" height="([0-9.]+)pt"')


def _saved(figure: Figure, form: str, dpi: float = 110) -> bytes:
    stream = io.BytesIO()
    metadata = {"Date": None} if form == "svg" else None
    figure.savefig(stream, format=form, dpi=dpi, metadata=metadata, bbox_inches="tight")
    return stream.getvalue()


def _embed(content: bytes, media_type: str) -> str:
    """A file as the address of itself."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def facts(rows: Mapping[str, Value | TableCell] | Iterable[tuple[str, Value | TableCell]]) -> Facts:
    """Names and values; those that are None are left out."""
    pairs = rows.items() if isinstance(rows, Mapping) else rows
    return Facts([(name, cell(value)) for name, value in pairs if value is not None])
