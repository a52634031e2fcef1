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


_NUMBERS = re.compile(r"^(name|seed|training\.epochs)=")
"""Keys of a config whose value is another number or name alone."""


def effect(line: str) -> str:
    """What a line does: the same for lines that differ in what they say of it, in a name or in how many."""
    name, given = parse(words_of(line))
    for option in ("json", "samples", "seed", "seeds", "level"):  # tests of each command have them
        given.pop(option, None)
    given["overrides"] = [each for each in given.get("overrides") or () if not _NUMBERS.match(each)]
    if name == "train" and not given["resume"] and not given["from_run"]:
        given |= {"config": given["config"] or "experiments/quickstart", "backend": given["backend"] or "aer"}
    given["shots"] = bool(given.get("shots"))
    for option in ("output", "out", "csv"):
        if isinstance(given.get(option), Path):
            given[option] = given[option].suffix
    for runs, latest in (("run", (None, "latest")), ("runs", (None, [], ["latest"]))):
        if given.get(runs) in latest:
            given[runs] = "RUN" if runs == "run" else ["RUN"]  # the latest finished one
    return f"{name} {sorted((key, str(value)) for key, value in given.items())}"


ALL = [(page.relative_to(ROOT).as_posix(), line) for page in PAGES for line in commands(page)]
"""Each page with each of its lines."""


def distinct() -> list[str]:
    """One line of each effect."""
    found: dict[str, str] = {}
    for _, line in ALL:
        found.setdefault(effect(line), line)
    return list(found.values())
