"""Each command of the README, of docs/ and of experiments/ runs as it is written, in a reader's folder."""

from __future__ import annotations

import os
import re
import shutil
import sys
import warnings
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from typer.testing import CliRunner, Result

from qhq.api.study import ablate, sweep
from qhq.api.training import train
from qhq.backends.ibm.client import IBMClient
from qhq.cli.app import app
from qhq.studies.runner.local import LocalWorkers
from tests.commands.folder import NEWEST, SWEEP, make_folder, write_files, write_london
from tests.commands.lines import distinct, words_of
from tests.conftest import ONE_PIXEL
from tests.loopback.fixtures import loopback, no_backoff
from tests.yahoo_loopback.fixtures import yahoo_loopback
from tests.yahoo_loopback.listing import make_listing

__all__ = ["loopback", "no_backoff", "yahoo_loopback"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QHQ_RUNS_DIR", str(folder / "runs"))
        patch.setattr("qhq.report.figures.draw_run_figures", lambda *_: [])
        make_folder(folder)
    return folder


@pytest.fixture(scope="module")
def scheduler():
    """The address of a Dask scheduler whose only worker is a thread of this process."""
    import distributed

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with distributed.LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            processes=False,
            protocol="tcp",
            host="127.0.0.1",
            dashboard_address=None,
        ) as cluster:
            yield cluster.scheduler_address


@pytest.fixture(scope="module")
def studies(world: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What lines call SWEEP, ABLATION and WALK, each made once: name -> its folder."""
    folder = tmp_path_factory.mktemp("studies")
    shutil.copytree(world, folder, dirs_exist_ok=True)
    (folder / "sweep.yaml").write_text(SWEEP)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("QHQ_RUNS_DIR", str(folder / "runs"))
        here_and_unpainted(patch)
        return {
            "SWEEP": sweep("sweep.yaml").folder,
            "ABLATION": ablate("experiments/quickstart", seeds=1).folder,
            "WALK": train("experiments/walk_forward").folder,
        }


def here_and_unpainted(patch: pytest.MonkeyPatch) -> None:
    """Studies work in this process, training draws no figures, and a report is not painted."""
    # Other processes would import torch and Qiskit once more, for seconds; tests of studies have them.
    patch.setattr("qhq.studies.runner.local.LocalWorkers", lambda _, note: LocalWorkers(1, note))
    # Figures have tests of their own, and take longer than the training that they show.
    patch.setattr("qhq.report.figures.draw_run_figures", lambda *_: [])
    patch.setattr("qhq.report.page._saved", lambda *_: ONE_PIXEL)


def call(*words: str) -> Result:
    return CliRunner().invoke(app, words)


class Reader:
    """Who types a line in a folder, and has what the line takes for granted."""

    def __init__(self, line: str, folder: Path, request: pytest.FixtureRequest) -> None:
        self.line, self.words, self.folder = line, words_of(line), folder
        self.give, self.patch = request.getfixturevalue, request.getfixturevalue("monkeypatch")
        self.status = {0, 1} if self.words[0] in ("doctor", "ablate") else {0}

    def prepare(self) -> None:
        """Lay out what the line takes for granted, and say its words as this reader has to."""
        write_files(self.folder, self.line)
        self.words = [self.said(at, word) for at, word in enumerate(self.words)] + FEW.get(self.words[0], [])
        if re.search("ibm_|^qhq jobs", self.line):
            self.give("loopback")
        if re.search("data (fetch|record)|yahoo", self.line):
            self.open_market()
        if "--every day" in self.line:
            self.patch.setattr("time.sleep", interrupted)
            self.status = {130}  # it never ends by itself
        if "--tensorboard" in self.words:
            module = type(sys)("torch.utils.tensorboard")
            module.SummaryWriter = MagicMock()
            self.patch.setitem(sys.modules, module.__name__, module)
        asks = self.words[0] in ("train", "eval", "predict") and "--dry-run" not in self.words
        if asks and "ibm_" in self.line:
            self.words.append("--yes")  # a person would be asked

    def said(self, at: int, word: str) -> str:
        """What stands in a word's place where it is one that a reader must replace."""
        if self.words[at - 1] == "--cluster":
            return self.give("scheduler")
        if word == "RUN":
            return self.run_in_london() if "XLON" in self.line else NEWEST
        if word in ("SWEEP", "ABLATION", "WALK"):
            return self.brought(word)
        if word == "ID":
            return self.jobs_of_a_run_that_was_cut_off()
        if word.startswith("runs/sweeps/"):
            self.brought("SWEEP")
        return {"CONFIG": "experiments/walk_forward"}.get(word, word)

    def run_in_london(self) -> str:
        path = write_london(self.folder)
        return train(None, set={"data.path": str(path), "data.symbols": None}).name

    def brought(self, kind: str) -> str:
        """Copy a study into the runs folder; its folder."""
        found = self.give("studies")[kind]
        place = self.folder / "runs" / found.relative_to(found.parents[0 if kind == "WALK" else 1])
        shutil.copytree(found, place, dirs_exist_ok=True)
        return str(place)

    def jobs_of_a_run_that_was_cut_off(self) -> str:
        self.give("loopback").service.hold()
        with self.patch.context() as patch:
            patch.setattr(IBMClient, "job_state", interrupted)
            assert call("eval", "--backend", "ibm_fez", "--samples", "4", "--yes").exit_code == 130
        if "discard" in self.words:
            assert call("jobs", "cancel", NEWEST).exit_code == 0
        return NEWEST

    def open_market(self) -> None:
        market = self.give("yahoo_loopback").market
        market.now = datetime(2025, 1, 3, 22, tzinfo=UTC)
        for seed, symbol in enumerate(("AAPL", "MSFT", "GOOGL", "AMD")):
            market.listings[symbol] = make_listing(symbol, date(2015, 1, 2), date(2025, 1, 3), seed=seed)
        self.patch.setattr("qhq.data.recorder.utc_now", lambda: market.now)


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


FEW = {
    "ablate": ["--seeds", "1"],
    "sweep": ["--set", "seeds=1"],
    "noise": ["--samples", "16", "--seeds", "2"],
}
"""What a study of many trainings or windows is told besides; the last word of an option counts."""
DEAR = ("--against fake_torino", "--control")
"""What stands in lines that take 25 and 7 s: `make commands` runs them as well, and tests of studies have
smaller ones of each kind."""
RUN = [
    line
    for line in distinct()
    if os.environ.get("QHQ_COMMANDS") == "all" or not any(each in line for each in DEAR)
]


@pytest.mark.parametrize("line", RUN, ids=lambda line: " ".join(words_of(line)))
def test_a_command_runs_as_it_is_written(line, world, tmp_path, monkeypatch, request, no_backoff):
    folder = tmp_path / "world"
    shutil.copytree(world, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("QHQ_RUNS_DIR", str(folder / "runs"))
    here_and_unpainted(monkeypatch)
    reader = Reader(line, folder, request)
    reader.prepare()
    answer = call(*reader.words)
    assert answer.exit_code in reader.status, answer.output
    assert answer.stdout.strip()
    named = [word for before, word in pairwise(reader.words) if before in ("-o", "--output", "--csv")]
    assert all((folder / name).exists() for name in named)
