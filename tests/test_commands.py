"""Each command of the README and of docs/ is one that qhq has; those of docs/asked.md run, on a small model.

`make commands` runs the others as well, but for those that need a network, a cluster, a reader's own file, or
hours.
"""

from __future__ import annotations

import gzip
import os
import re
import shlex
import shutil
from functools import cache
from itertools import islice
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from qhq.api.training import train
from qhq.cli.app import app
from qhq.experiment.config import load_config
from tests.conftest import TINY
from tests.loopback.fixtures import loopback, no_backoff
from tests.test_readme import ROOT

__all__ = ["loopback", "no_backoff"]

PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "experiments").glob("**/README.md")),
]
OURS = ROOT / "docs" / "asked.md"


def commands(page: Path) -> list[str]:
    """The lines of a page's console blocks that call qhq, as a shell would join them."""
    blocks = re.findall(r"^```console\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip().startswith("qhq ")]


def mentions(page: Path) -> list[str]:
    """What a page's prose says of commands, each between its two backticks."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    spans = (" ".join(span.split()) for span in re.findall(r"`(qhq [^`]+)`", prose))
    return list(dict.fromkeys(spans))


def words_of(line: str) -> list[str]:
    return shlex.split(line, comments=True)[1:]


ALL = [(page.relative_to(ROOT).as_posix(), line) for page in PAGES for line in commands(page)]


@cache
def commands_of_qhq() -> typer.core.TyperGroup:
    """The tree of all commands, which takes longer to make than a line takes to be read."""
    return typer.main.get_command(app)


def parse(words: list[str]) -> tuple[str, dict]:
    """The command that a line calls, and what its function would be given."""
    command, path, rest = commands_of_qhq(), [], list(words)
    while rest and rest[0] in getattr(command, "commands", {}):
        path.append(rest.pop(0))
        command = command.commands[path[-1]]
    if getattr(command, "commands", None):
        assert not rest, f"{' '.join(path)} has no command {rest[0]}"
        return " ".join(path), {}
    return " ".join(path), command.make_context(path[-1], rest).params


read_config = cache(load_config)

NO_COMMANDS = {"qhq engine", "qhq QuantumLayer"}
"""Rows of the benchmarks' tables."""
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
        if name == "train" and sets and not any("$" in each or "data.path=" in each for each in sets):
            read_config(str(ROOT / config) if config and (ROOT / config).exists() else None, sets)


@pytest.fixture(scope="module")
def world(a_runs_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a user has it, whose quickstart is small, with a run and a file of prices."""
    folder = tmp_path_factory.mktemp("world")
    (folder / "experiments" / "quickstart").mkdir(parents=True)
    (folder / "experiments" / "quickstart" / "config.yaml").write_text(TINY)
    with gzip.open(ROOT / "qhq" / "data" / "bundled" / "stocks_daily_2000_2013.csv.gz", "rt") as rows:
        if RUN is not EVERY:
            shutil.copytree(a_runs_folder, folder / "runs")
            (folder / "prices.csv").write_text("".join(islice(rows, 600)))
            return folder
        head, *lines = rows
        (folder / "prices.csv").write_text(head + "".join(line for line in lines if PRICES.search(line)))
    # With as many test windows as a page asks for, and a circuit that its forecasts depend on.
    config = {"data.start": "2008-01-01", "data.symbols": ["AAPL", "MSFT"]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QHQ_RUNS_DIR", str(folder / "runs"))
        for name in ("mine", "tiny"):
            train(folder / "experiments" / "quickstart", set={**config, "name": name})
    return folder


ELSEWHERE = re.compile(
    r"\$|tcp://|data (fetch|record)|ibm_\*'$|\b(ID|SWEEP|ABLATION|WALK|CONFIG)\b|--tensorboard|0700\.HK"
    r"|(options|chains|newer|my[_a-z]*)\.|experiments/(?!quickstart)|--control|--service|2026|accept|staged"
    r"|every=week|XLON"  # years of prices, and those of London
)
"""Lines that need a network, a cluster, files that only their reader has, or hours."""
DEAR = ("ablate", "sweep")
"""Commands that train many models; tests of their own run them, smaller than a page would show them."""

OF_OURS = commands(OURS)
EVERY = list(dict.fromkeys([*OF_OURS, *(line for _, line in ALL if not ELSEWHERE.search(line))]))
RUN = [line for line in OF_OURS if words_of(line)[0] not in DEAR]
if os.environ.get("QHQ_COMMANDS") == "all":
    RUN = EVERY
PRICES = re.compile(r"(AAPL|MSFT|GOOG),(2011|2012|2013)")
"""Rows of the file of prices."""


@pytest.mark.parametrize("line", RUN)
def test_a_command_runs_as_it_is_written(line, world, tmp_path, monkeypatch, loopback, no_backoff):
    folder = tmp_path / "world"
    shutil.copytree(world, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("QHQ_RUNS_DIR", str(folder / "runs"))
    # Figures have tests of their own, and take longer than the training that they show.
    monkeypatch.setattr("qhq.report.figures.draw_run_figures", lambda *_: [])
    words = ["latest" if word == "RUN" else word for word in words_of(line)]
    asks = words[0] in ("train", "eval", "predict") and "--dry-run" not in words
    if asks and any(word.startswith("ibm_") for word in words):
        words.append("--yes")  # a person would be asked
    answer = CliRunner().invoke(app, words)
    findings = (0, 1) if words[0] in ("doctor", "ablate") else (0,)
    assert answer.exit_code in findings, answer.output
    assert answer.stdout.strip()
    named = [words[at + 1] for at, word in enumerate(words) if word in ("-o", "--output", "--csv")]
    assert all((folder / name).exists() for name in named)
