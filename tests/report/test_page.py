"""What a page is made of: texts stay texts, numbers sort as numbers, colours can be read."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest
from matplotlib.figure import Figure

from qhq.data.caveat import Caveat
from qhq.report.page import (
    _MOST_ROWS,
    _MOST_SVG_BYTES,
    Page,
    Paragraph,
    Picture,
    Preformatted,
    Section,
    Table,
    TableCell,
    cell,
    facts,
    picture,
    plain,
    render_page,
)
from tests.report.pages import read_page

EVIL = """<script>alert(1)</script>"'&<img src=x onerror=alert(2)> \x1b]0;t\x07 {{ 7 * 7 }} </style> \u202e"""


def page_with(*parts) -> Page:
    return Page("one", "Run", "Nothing.", [Section("Part", list(parts))])


def figure_of(name: str, points: int = 3) -> Figure:
    figure = Figure()
    axes = figure.subplots()
    axes.plot([((each * 7919) % 1009) for each in range(points)], "o", label=name)
    axes.legend()
    return figure


def test_a_name_is_text_wherever_it_stands():
    parts = [
        Paragraph(EVIL),
        facts({"name": EVIL}),
        Preformatted(EVIL, EVIL),
        Table(EVIL, (EVIL, "value"), [[EVIL, 1.0]]),
        picture(lambda: figure_of(EVIL), alt=EVIL, caption=EVIL),
    ]
    page = render_page(Page(EVIL, "Run", EVIL, [Section("Part", parts)], Caveat((EVIL,)), [EVIL]))
    read = read_page(page)  # fails on an element, a policy or an attribute that the template does not have
    assert read.tables[0].rows[0][0].startswith("<script>alert(1)</script>")
    assert "{{ 7 * 7 }}" in read.texts["h1"][0]
    assert "\x1b" not in page
    assert "\u202e" not in page


def test_a_picture_is_one_of_the_page_and_the_same_each_time():
    one, two = (picture(lambda: figure_of("x"), alt="A line.", caption="") for _ in range(2))
    assert isinstance(one, Picture)
    assert one == two


def test_a_large_drawing_is_kept_as_pixels():
    made = picture(lambda: figure_of("x", 20_000), alt="A band.", caption="")
    assert isinstance(made, Picture)
    assert made.source.startswith("data:image/png")
    assert len(made.source) < 2 * _MOST_SVG_BYTES


def test_a_figure_that_fails_leaves_a_sentence():
    def fail() -> Figure:
        raise ValueError("no such glyph")

    made = picture(fail, alt="", caption="")
    assert isinstance(made, Paragraph)
    assert "no such glyph" in made.text


def test_numbers_sort_as_numbers_and_names_as_names():
    table = Table("t", ("name", "value", "seed"), [["a", 1000.5, plain(2024)], ["b", None, plain(7)]])
    assert table.numeric == [False, True, True]
    assert [each.sort for each in table.cells[0]] == [None, 1000.5, 2024.0]
    assert [each.text for each in table.cells[0]] == ["a", "1,000", "2024"]
    assert cell(None) == TableCell("–")


def test_what_is_no_number_is_none_to_sort_by():
    table = Table("t", ("value",), [[1.0], [float("nan")], [None]])
    assert [(each.text, each.sort) for (each,) in table.cells] == [("1", 1.0), ("–", None), ("–", None)]


def test_a_figure_shrinks_no_further_than_its_text_can_be_read():
    """Text of ten points is 8.5 pixels high at least, however narrow the screen."""
    made = picture(lambda: figure_of("x"), alt="Some points, one above the other.", caption="")
    assert isinstance(made, Picture)
    assert 10 * 96 / 72 * 16 * made.least_rem / made.width > 8.3
    page = render_page(page_with(made, made))
    assert page.count(f".least-{made.least_rem} img {{ min-width: {made.least_rem}rem; }}") == 1
    read_page(page)


def test_a_table_says_how_many_rows_it_leaves_out():
    table = Table("t", ("number",), [[each] for each in range(_MOST_ROWS + 3)])
    page = render_page(page_with(table))
    assert len(read_page(page).tables[0].rows) == _MOST_ROWS
    assert "3 more rows are not shown." in page


def test_sections_without_parts_are_left_out():
    page = Page("one", "Run", "Nothing.", [Section("Empty", []), Section("Full", [Paragraph("x")])])
    assert [text for _, text in read_page(render_page(page)).headings] == ["one", "Full"]


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.2."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


STYLE = (files("qhq.report") / "templates" / "page.css").read_text(encoding="utf-8")
BLOCKS = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
PALETTES = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in BLOCKS]


@pytest.mark.parametrize("palette", PALETTES, ids=["light", "dark", "print"])
def test_every_text_can_be_read_on_every_ground(palette):
    """WCAG AA: 4.5 to 1."""
    for text in ("ink", "soft", "link", "accent", "good", "bad"):
        for ground in ("paper", "panel", "accent-panel"):
            assert contrast(palette[text], palette[ground]) >= 4.5, (text, ground)
