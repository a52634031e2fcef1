"""The commands that README, docs/ and experiments/ show, and which of them come to the same."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import typer

from qhq.cli.app import app
from tests.test_readme import ROOT

PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "experiments").glob("**/README.md")),
]
_FOR = re.compile(r"^\s*for (\w+) in (\S+).*; do$", re.MULTILINE)


def commands(page: Path) -> list[str]:
    """The lines of a page's console blocks that call qhq, as a shell would join them.

    Of a loop, what it does first.
    """
    blocks = re.findall(r"^```console\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    found = []
    for block in blocks:
        joined = block.replace("\\\n", " ")
        for name, value in _FOR.findall(joined):
            joined = joined.replace(f"${name}", value)
        found += [line.strip() for line in joined.splitlines() if line.strip().startswith("qhq ")]
    return found


def words_of(line: str) -> list[str]:
    return shlex.split(line, comments=True)[1:]


@cache
def commands_of_qhq() -> typer.core.TyperGroup:
    """The tree of all commands, which takes longer to make than a line takes to be read."""
    return typer.main.get_command(app)


def parse(words: list[str]) -> tuple[str, dict[str, Any]]:
    """The command that a line calls, and what its function would be given."""
    command, path, rest = commands_of_qhq(), [], list(words)
    while rest and rest[0] in getattr(command, "commands", {}):
        path.append(rest.pop(0))
        command = command.commands[path[-1]]
    if getattr(command, "commands", None):
        assert not rest, f"{' '.join(path)} has no command {rest[0]}"
        return " ".join(path), {}
    return " ".join(path), command.make_context(path[-1], rest).params


def effect(line: str) -> str:
    """What a line does: the same for lines that differ in what they say of it, or in the names of files."""
    name, given = parse(words_of(line))
    given.pop("json", None)  # tests of each command have it
    for option in ("output", "out", "csv"):
        if isinstance(given.get(option), Path):
            given[option] = given[option].suffix
    if given.get("run") in (None, "latest"):
        given["run"] = "RUN"  # the latest, which is the only one there
    return f"{name} {sorted((key, str(value)) for key, value in given.items())}"


ALL = [(page.relative_to(ROOT).as_posix(), line) for page in PAGES for line in commands(page)]
"""Each page with each of its lines."""


def distinct() -> list[str]:
    """One line of each effect."""
    found: dict[str, str] = {}
    for _, line in ALL:
        found.setdefault(effect(line), line)
    return list(found.values())
