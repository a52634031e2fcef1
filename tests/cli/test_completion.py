"""Tab: what is named in a folder completes, and a broken folder is silence."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from qhq.cli.app import app

WORDS = {
    "a command": (["tr"], "train"),
    "an option": (["train", "--resu"], "--resume"),
    "a backend": (["train", "--backend", "fake_f"], "fake_fez"),
    "one of several backends": (["eval", "--backend", "aer", "--backend", "aer_n"], "aer_noisy"),
    "a device": (["circuit", "draw", "reference", "--isa", "fake_f"], "fake_fez"),
    "an entry": (["backends", "show", "aer_n"], "aer_noisy"),
    "a run": (["predict", "2026"], "20260102-030405-678-tiny-s1"),
    "a run to go on with": (["train", "--resume", "2026"], "20260102-030405-678-tiny-s1"),
    "a run of several": (["compare", "latest", "2026"], "20260102-030405-678-tiny-s1"),
    "a run or a config": (["ablate", "experiments/quick"], "experiments/quickstart"),
    "a config": (["train", "experiments/quick"], "experiments/quickstart"),
    "an ansatz": (["circuit", "draw", "refer"], "reference"),
    "a key": (["train", "--set", "training.ep"], "training.epochs="),
    "a key of one kind of model": (["train", "--set", "model.recurrent"], "model.recurrent="),
    "the value of a key": (["train", "--set", "backend=fake_f"], "backend=fake_fez"),
}


def refused(folder):
    raise PermissionError(13, "Permission denied", str(folder))


@pytest.fixture
def complete(study):
    run = study / "runs" / "20260102-030405-678-tiny-s1"
    run.mkdir(parents=True)
    (run / "run.json").write_text("{}")

    def ask(words: list[str]) -> tuple[str, str]:
        line = " ".join(["qhq", *words])
        asked = {"_QHQ_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words))}
        result = CliRunner().invoke(app, [], env=asked, prog_name="qhq")
        return result.stdout, result.stderr

    return ask


@pytest.mark.parametrize("what", WORDS)
def test_what_a_folder_names_completes(complete, what):
    words, whole = WORDS[what]
    assert complete(words) == (f"{whole}\n", "")


@pytest.mark.parametrize("name", ["backends.yaml", "runs", "circuits"])
def test_what_cannot_be_read_is_silence(complete, study, monkeypatch, name):
    if name == "runs":
        monkeypatch.setattr("pathlib.Path.iterdir", refused)
    else:
        (study / name).write_text("a: [")
    for words, _ in WORDS.values():
        out, err = complete(words)
        assert err == ""
        assert "Error" not in out
    assert complete(["train", "--set", "training.ep"]) == ("training.epochs=\n", "")
