"""Each command of the README, of docs/ and of experiments/ is one that qhq has, in blocks and in prose."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
import typer

from qhq.experiment.config import load_config
from tests.commands.lines import ALL, PAGES, parse, words_of
from tests.test_readme import ROOT


def mentions(page: Path) -> list[str]:
    """What a page's prose says of commands, each between its two backticks."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    spans = (" ".join(span.split()) for span in re.findall(r"`(qhq [^`]+)`", prose))
    return list(dict.fromkeys(spans))


read_config = cache(load_config)

NO_COMMANDS = {"qhq engine", "qhq QuantumLayer", "qhq --install-completion"}
"""Rows of the benchmarks' tables, and an option of no command, which has tests of its own."""
PLACEHOLDERS = {"[RUN or CONFIG]": "RUN", "--seeds N": "--seeds 5"}


def test_blocks_of_commands_are_called_console():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for kind, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            lines = [line for line in block.splitlines() if line.startswith("qhq ")]
            assert kind == "console" or not lines, f"{page.name}: {lines}"


def mistake(span: str) -> str:
    """What is wrong with a command that is spoken of; it may be named without what it takes."""
    try:
        name, _ = parse(words_of(span))
    except typer.exceptions.TyperException as error:
        named_alone = ("MissingParameter", "BadOptionUsage")
        return "" if type(error).__name__ in named_alone else f"{span}: {error}"
    return "" if name else f"qhq has no such command: {span}"


def test_each_command_that_a_page_speaks_of_is_one_that_qhq_has():
    spans = {span for page in PAGES for span in mentions(page)} - NO_COMMANDS
    for placeholder, value in PLACEHOLDERS.items():
        spans = {span.replace(placeholder, value) for span in spans}
    assert len(spans) > 50
    assert not [wrong for wrong in map(mistake, sorted(spans)) if wrong]


@pytest.mark.parametrize("page", sorted({page for page, _ in ALL}))
def test_each_command_of_a_page_is_one_that_qhq_has(page):
    for line in (line for where, line in ALL if where == page):
        name, given = parse(words_of(line))
        assert name, f"qhq has no such command: {line}"
        config, sets = given.get("config"), tuple(given.get("overrides") or ())
        if name == "train" and sets and not any("data.path=" in each for each in sets):
            read_config(str(ROOT / config) if config and (ROOT / config).exists() else None, sets)
