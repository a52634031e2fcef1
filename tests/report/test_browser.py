"""A report in a real browser: it loads without a network and without a complaint, sorts, and reads as text.

Skipped where playwright, axe or a Chromium is missing; `make browser` installs the first two, and says if the
last is not there.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from qhq.api.report import write_report
from qhq.api.run import open_run

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make browser")

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
EVIL = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def report(a_runs_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run one of whose symbols is called as a script would be written."""
    (run,) = (folder for folder in a_runs_folder.iterdir() if (folder / "run.json").exists())
    folder = tmp_path_factory.mktemp("browser") / run.name
    shutil.copytree(run, folder)
    record = json.loads((folder / "run.json").read_text())
    symbols = record["metrics"]["symbols"]
    symbols[EVIL] = symbols.pop("AAPL")
    record["design"]["data"]["symbols"] = [EVIL, "L" * 300]
    (folder / "run.json").write_text(json.dumps(record))
    open_run(folder).evaluate("aer", "fake_nairobi", samples=4)  # the table with the most columns
    return write_report(folder)


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """A Chromium of this machine."""
    path = os.environ.get("QHQ_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("no Chromium on the path: install one, or name it with QHQ_CHROMIUM")
    with playwright.sync_playwright() as driver:
        # Without a sandbox, which a container has none of; the page is a file that this test wrote.
        opened = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def page(browser, report):
    """The report, opened offline; what the browser complains of, asks for or pops up is kept beside it."""
    context = browser.new_context(offline=True)
    opened = context.new_page()
    opened.said, opened.asked = [], []
    opened.on("console", lambda message: opened.said.append(message.text))
    opened.on("pageerror", lambda error: opened.said.append(str(error)))
    opened.on("dialog", lambda dialog: opened.said.append(dialog.message))
    opened.on("request", lambda request: opened.asked.append(request.url))
    opened.goto(report.as_uri())
    yield opened
    context.close()


def test_it_loads_without_a_network_and_nothing_complains(page, report):
    assert page.said == []
    assert [url for url in page.asked if not url.startswith("data:")] == [report.as_uri()]


def test_every_figure_is_shown_and_has_a_text_in_its_place(page):
    figures = page.eval_on_selector_all("img", "all => all.map(each => [each.alt, each.naturalWidth])")
    assert len(figures) >= 5
    assert all(len(text) > 20 and width > 0 for text, width in figures)


def test_a_symbol_called_script_is_text(page):
    assert page.get_by_text(EVIL, exact=True).count() >= 1
    assert page.locator("script").count() == 1


def test_a_table_sorts_by_the_column_that_is_pressed_and_back(page):
    table = page.locator("table").first
    column = table.locator("thead th").count() - 1
    cells = table.locator(f"tbody tr td:nth-child({column + 1}), tbody tr th:nth-child({column + 1})")

    def numbers() -> list[float]:
        return [float(text.replace(",", "").rstrip(" %")) for text in cells.all_inner_texts()]

    press = table.locator("thead th").nth(column).locator("button")
    press.click()
    first = numbers()
    press.click()
    assert sorted(first) == first or sorted(first, reverse=True) == first
    assert numbers() == first[::-1]


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_a_table_sorts_by_the_keyboard_and_says_which_way(page, key):
    heading = page.locator("table").first.locator("thead th").nth(1)
    heading.locator("button").focus()
    before = heading.get_attribute("aria-sort")
    page.keyboard.press(key)
    assert heading.get_attribute("aria-sort") in {"ascending", "descending"} - {before}
    assert page.locator("table").first.locator("th[aria-sort]").count() == 1


def test_a_filter_says_how_many_rows_it_leaves(page):
    unfold(page)
    table, line = page.locator("table[data-filters]").first, page.locator("p.filter").first
    rows = table.locator("tbody tr").count()
    word = table.locator("tbody th").first.inner_text()
    line.locator("input").fill(word)
    shown = table.locator("tbody tr:visible").count()
    assert 1 <= shown <= rows
    assert line.locator("output").inner_text() == f"{shown} of {rows} rows have \u201c{word}\u201d"
    line.locator("input").fill("")
    assert (table.locator("tbody tr:visible").count(), line.locator("output").inner_text()) == (rows, "")


def unfold(page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")


SIZES = [("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390), ("light", 320)]
"""Desktop and phone; the last is a desktop of 1280 at a zoom of 400 %."""


@pytest.mark.parametrize(("scheme", "width"), SIZES)
def test_a_phone_and_a_desktop_show_it_without_scrolling_sideways(page, scheme, width):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    unfold(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    cut = "all => all.filter(each => each.offsetWidth > innerWidth).map(each => each.textContent)"
    assert page.eval_on_selector_all("caption span", cut) == []


@pytest.mark.parametrize(("scheme", "width"), SIZES)
def test_axe_finds_nothing(page, scheme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="make browser installs axe")
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    unfold(page)
    found = axe.Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    assert [(each["id"], [node["html"][:100] for node in each["nodes"]]) for each in found] == []


def test_a_figure_is_not_made_smaller_than_it_can_be_read(page):
    page.set_viewport_size({"width": 390, "height": 800})
    sizes = page.eval_on_selector_all("img", "all => all.map(each => [each.width, each.naturalWidth])")
    assert all(shown > 0.6 * own for shown, own in sizes)


def test_the_tab_key_stops_at_what_scrolls_and_nowhere_else(page):
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_function(  # the event of a new size comes with the next frame
            "Array.from(document.querySelectorAll('[data-scrolls]')).every("
            "each => (each.tabIndex === 0) === (each.scrollWidth > each.clientWidth))",
            timeout=5000,
        )


def test_the_first_stop_skips_to_the_verdict(page):
    page.reload()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.getElementById('main').contains(document.activeElement)")


def test_nothing_is_cut_off_on_paper(page):
    page.emulate_media(media="print", color_scheme="dark")
    page.set_viewport_size({"width": 718, "height": 1046})  # A4 between margins of 1 cm, at 96 dots an inch
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    wide = page.eval_on_selector_all(
        "table, img, pre, p, dl",
        "all => all.filter(each => each.scrollWidth > 718).map(each => each.textContent.slice(0, 60))",
    )
    tall = page.eval_on_selector_all("figure", "all => all.map(each => each.offsetHeight)")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.emulate_media(media="screen")
    assert wide == []
    assert max(tall) < 1046
    assert ground == "rgb(255, 255, 255)"


def test_paper_breaks_no_number_and_repeats_the_text_of_a_header(page):
    """Law: of a header that it repeats Chromium paints no button, and a broken number reads as two."""
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 718, "height": 1046})
    unfold(page)
    shown = page.eval_on_selector_all("th button", "all => all.map(each => getComputedStyle(each).display)")
    broken = page.eval_on_selector_all(
        "tbody .n", "all => all.filter(each => getComputedStyle(each).whiteSpace !== 'nowrap').length"
    )
    page.emulate_media(media="screen")
    assert set(shown) == {"contents"}
    assert broken == 0
