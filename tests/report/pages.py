"""A page as a browser without scripts would read it, and what must hold of every one."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "img", "br", "input", "wbr"}
TAGS = {
    "html", "head", "meta", "link", "title", "style", "script", "body", "a", "header", "p", "h1", "h2",
    "ul", "li", "nav", "main", "section", "strong", "dl", "div", "dt", "dd", "figure", "img", "figcaption",
    "table", "caption", "span", "thead", "tbody", "tr", "th", "td", "details", "summary", "pre", "footer",
    "wbr",
}  # fmt: skip
"""Elements that the template has; any other came out of a name."""


@dataclass
class TableText:
    """A table's caption, and its texts."""

    caption: str = ""
    columns: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)


class PageReader(HTMLParser):
    """Elements with their attributes, texts by element, headings and tables; nesting must close."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.page, self.open = page, list[str]()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[tuple[int, str]] = []
        self.tables: list[TableText] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(page)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        assert tag in TAGS, f"<{tag}> {attrs}"
        self.elements.append((tag, dict(attrs)))
        if tag in VOID:
            return
        self.open.append(tag)
        self.texts.setdefault(tag, []).append("")
        if tag == "table":
            self.tables.append(TableText())
        elif tag == "tr" and "tbody" in self.open:
            self.tables[-1].rows.append([])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag
        text = self.texts[tag][-1].strip()
        if tag in ("h1", "h2"):
            self.headings.append((int(tag[1]), text))
        elif tag == "caption":
            self.tables[-1].caption = text
        elif tag in ("th", "td"):
            (self.tables[-1].rows[-1] if "tbody" in self.open else self.tables[-1].columns).append(text)

    def handle_data(self, data):
        for tag in {*self.open}:
            self.texts[tag][-1] += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def read_page(page: str) -> PageReader:
    """Read a page, and check what holds of all: it needs nothing else, and everything can be told apart."""
    found = PageReader(page)
    assert len(page.encode()) < 5_000_000
    assert found.of("html") == [{"lang": "en"}]
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert [level for level, _ in found.headings].count(1) == 1
    assert found.headings[0][0] == 1
    for picture in found.of("img"):
        assert len(picture["alt"] or "") > 20
        assert (picture["src"] or "").startswith(("data:image/svg+xml;base64,", "data:image/png;base64,"))
        assert picture.keys() == {"alt", "src", "width", "height"}
    for link in found.of("a"):
        assert (link["href"] or "").removeprefix("#") in ids
    for name, attributes in found.elements:
        assert not any(key.startswith("on") or key == "style" for key in attributes), (name, attributes)
        for labels in ("aria-labelledby",):
            assert attributes.get(labels, ids[0]) in ids
    captions = [table.caption for table in found.tables]
    assert len(captions) == len(
        set(captions)
    )  # regions of a page that are called the same are one to a reader
    assert all(table.caption and len(table.columns) == len(set(table.columns)) for table in found.tables)
    assert all(len(row) == len(table.columns) for table in found.tables for row in table.rows)
    _check_policy(found)
    return found


def _check_policy(found: PageReader) -> None:
    """Only the one style and the one script that are in the page may act."""
    (policy,) = [each["content"] or "" for each in found.of("meta") if "http-equiv" in each]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    for tag in ("style", "script"):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", found.page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[f"{tag}-src"] == f"'sha256-{digest}'"
