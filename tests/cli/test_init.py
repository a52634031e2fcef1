"""`qhq init`, and the wheel in an environment that has never seen the repository."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from qhq.cli import init as command
from qhq.paths import shipped_root


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_study_has_every_shipped_file_and_trains(qhq, study, monkeypatch):
    assert qhq("init", "mine").exit_code == 0
    made = files_of(study / "mine")
    for name in ("backends.yaml", "circuits/reference.yaml", "experiments/quickstart/config.yaml"):
        assert made[name] == (shipped_root() / name).read_bytes()
    assert "__pycache__" not in " ".join(made)
    monkeypatch.chdir(study / "mine")
    listed = qhq("circuit", "list", "--json")
    assert "reference" in listed.stdout
    # An equal copy hides nothing, so nothing is said of it.
    assert "stands in" not in listed.stderr


@pytest.mark.parametrize("name", command._CARRIED)
def test_nothing_is_replaced(qhq, study, name):
    folder = study / "mine"
    folder.mkdir()
    (folder / name).write_text("my own")
    result = qhq("init", "mine", "--json")
    assert result.exit_code == 2
    assert name in json.loads(result.stdout)["error"]["message"]
    assert files_of(folder) == {name: b"my own"}


def test_an_existing_folder_keeps_its_own_readme(qhq, study):
    (study / "README.md").write_text("my own")
    assert qhq("init", ".").exit_code == 0
    assert (study / "README.md").read_text() == "my own"
    assert (study / "backends.yaml").is_file()
    assert not list(study.glob(".qhq*"))


@pytest.mark.parametrize("name", ["plain", "two words", "it's", "-dash", "日本", "$HOME", "a;b"])
def test_the_line_to_go_on_with_can_be_pasted(qhq, study, name):
    result = qhq("init", "--", name)
    assert result.exit_code == 0, result.output
    words = shlex.split(result.stdout.rpartition("quickstart: ")[2], comments=True)
    assert words[2:] == ["&&", "qhq", "train", "--backend", "aer"]
    assert (study / words[1]).samefile(study / name)
    assert not words[1].startswith("-")


def test_a_file_is_no_folder(qhq, study):
    (study / "file").write_text("")
    result = qhq("init", "file")
    assert result.exit_code == 2
    assert "is no folder" in result.stderr


def test_a_full_disk_leaves_nothing(study, monkeypatch):
    def fails(source: Path, target: Path) -> Path:
        if target.name == "experiments":
            raise OSError(28, "No space left on device", str(target))
        return renamed(source, target)

    folder = study / "mine"
    folder.mkdir()
    renamed = Path.rename
    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(OSError, match="No space"):
        command.write_study(folder)
    assert list(folder.iterdir()) == []


def test_the_wheel_lays_out_a_study_and_trains_it(tmp_path):
    """Built, installed in an empty environment outside the repository, and used from an empty folder."""
    root = Path(command.__file__).parents[2]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "QHQ_RUNS"))}

    def run(*words: str | Path, folder: Path = tmp_path) -> str:
        done = subprocess.run(
            words, cwd=folder, env=clean, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    wheels = tmp_path / "wheels"
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", wheels, folder=root)
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    (wheel,) = wheels.iterdir()
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel)
    purelib = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    # The libraries are those of this environment, by a line of its own; what is installed here in editable
    # form, qhq above all, is not found through it.
    (purelib / "libraries.pth").write_text(sysconfig.get_path("purelib"))

    qhq = python.with_name("qhq")
    where = run(python, "-c", "import qhq; print(qhq.__file__)").strip()
    assert where.startswith(str(tmp_path))
    run(qhq, "init", "study")
    trained = json.loads(
        run(
            qhq, "train", "--backend", "aer", "--json", "--set", "training.epochs=1",
            folder=tmp_path / "study",
        )
    )  # fmt: skip
    assert trained["metrics"]["test"]["mae"] > 0
    assert (tmp_path / "study" / "runs" / trained["run"] / "config.yaml").is_file()
