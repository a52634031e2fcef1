"""Studies that an earlier version began and that were cut off: opened, resumed and compared by this one.

``stored/studies-0.1.0.tar.gz`` holds what version 0.1.0 left of a noise study, an ablation and a sweep when
they were cut off: two stores that end in the middle of a line, and a sweep that has a finished point, another
one half way up its rung, and a trial that was handed out. ``records/`` in it is what that version gave for
the same three commands undisturbed.

A cell is named by all that its numbers depend on. So a key that is added to the config, or other bundled
prices, make other cells on purpose: then the archive is made anew with the version before.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from qhq.cli.app import app

ARCHIVE = Path(__file__).parent / "stored" / "studies-0.1.0.tar.gz"
CHANGING = {"folder", "file", "figure", "figures", "page", "seconds", "runs", "looks", "noise"}
"""Keys of a record that say when and where, not what; and a stage's noise, whose p-value version 0.1.0 drew
where few permutations are counted out now.
"""

LATER = {
    "budget",
    "budget_figure",
    "budget_reason",
    "mitigation",
    "mitigation_verdict",
    "refused",
    "against",
    "sizes",
    "widths",
    "depths",
}
"""Keys of a noise study that came later. Its cells keep losses by date now, so one that version 0.1.0 began
is measured anew, to the same numbers, and its store stays as it is.
"""

NOISE = ["--scale", "0,1", "--shots", "exact,64", "--seeds", "2", "--samples", "8"]


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """The folder in which the studies were begun."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QHQ_RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


def call(*words: str) -> Any:
    """The record of a command."""
    result = CliRunner().invoke(app, [*words, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def what(record: Any) -> Any:
    """A record without times and places; numbers to five digits.

    Version 0.1.0 trained each seed by itself. Stacked seeds equal those to the rounding of single precision.
    """
    if isinstance(record, dict):
        return {key: what(value) for key, value in record.items() if key not in CHANGING | LATER}
    # Whole numbers too: how many dates a gain would need is in the hundred thousands, by the same losses.
    if isinstance(record, (int, float)) and not isinstance(record, bool):
        return pytest.approx(record, rel=2e-5, abs=1e-6)
    return [what(each) for each in record] if isinstance(record, list) else record


def stored(place: Path, name: str) -> Any:
    """The record of the version that began the study."""
    return what(json.loads((place / "records" / f"{name}.json").read_text()))


def whole_lines(store: Path) -> list[str]:
    return [line for line in store.read_text().splitlines() if line.endswith("}")]


@pytest.mark.parametrize(
    ("name", "pattern", "words"),
    [
        ("noise", "runs/*/studies/*.jsonl", ["noise", *NOISE]),
        ("ablate", "runs/studies/*/cells.jsonl", ["ablate", "tiny.yaml", "--seeds", "2", "--workers", "1"]),
    ],
)
def test_a_store_that_was_cut_off_is_completed(place, name, pattern, words):
    (store,) = place.glob(pattern)
    kept = whole_lines(store)
    record = call(*words)
    assert what(record) == stored(place, name)
    lines = whole_lines(store)
    assert lines[: len(kept)] == kept
    keys = [json.loads(line)["cell"] for line in lines]
    assert len(keys) == len(set(keys)), "no cell is measured twice"
    assert call(*words)["rows"] == record["rows"]
    assert whole_lines(store) == lines


def test_a_sweep_that_was_cut_off_is_completed(place):
    (sweep,) = place.glob("runs/sweeps/*")
    kept = {path: path.read_bytes() for path in sweep.glob("trials/*/*")}
    legs = {path: path.read_bytes() for path in sweep.glob("legs/*/run.json")}
    record = call("sweep", "sweep.yaml", "--resume", "--workers", "1")
    assert what(record) == stored(place, "sweep")
    assert kept
    assert {path: path.read_bytes() for path in kept} == kept
    assert legs
    assert {path: path.read_bytes() for path in legs} == legs
    assert not list(sweep.glob("working/*"))
    rows = call("compare", str(sweep))["rows"]
    assert {row["run"] for row in rows} >= {path.parent.name for path in kept}
