"""The reference pages, which are written from the code, say what each key, call and error is."""

from __future__ import annotations

import importlib
import re
from functools import cache

import pytest

import qhq
from tests.test_readme import ROOT

KEYS = ("config", "backends", "circuits", "sweeps")


@cache
def pages() -> dict[str, str]:
    # As MkDocs imports it: from its folder.
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docs" / "_site"))
        return importlib.import_module("reference").pages()


@pytest.mark.parametrize("page", KEYS)
def test_each_key_has_a_meaning_beside_its_type_and_default(page):
    rows = re.findall(r"^\| `\w+` \|.*\|$", pages()[page], re.MULTILINE)
    assert len(rows) > 15
    assert not [row for row in rows if row.endswith("|  |")]


@pytest.mark.parametrize("page", KEYS)
def test_each_section_has_an_anchor_of_its_own_to_which_its_key_leads(page):
    anchors = re.findall(r"^## .*\{: #(\S+) \}$", pages()[page], re.MULTILINE)
    assert len(set(anchors)) == len(anchors)
    assert set(re.findall(r"\]\(#(\S+)\)", pages()[page])) <= set(anchors)


def test_each_public_name_has_an_entry_and_a_docstring_with_an_example():
    for name in qhq.__all__:
        assert f"heading: qhq.{name}\n" in pages()["api"]
        text = getattr(qhq, name).__doc__
        assert ">>>" in text, name
