"""A model with leaks switched on says so in every output."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from qhq.data.caveat import NO_CAVEAT, Caveat
from qhq.experiment.config import load_config
from qhq.report.figures import finish_figure

LEAKS = ["scaler_sees_test", "stops_on_test"]
ON = (
    "--set",
    "data.scaling=minmax",
    "--set",
    f"data.leaks=[{', '.join(LEAKS)}]",
    "--set",
    "backend=statevector",
)
MARK = "LEAKS ON: scaler_sees_test, stops_on_test"


@pytest.fixture
def run(qhq) -> Path:
    result = qhq("train", "tiny.yaml", *ON, "--json")
    assert result.exit_code == 0, result.stderr
    return Path(json.loads(result.stdout)["path"])


def test_train_says_so_and_so_do_its_files(run, qhq):
    assert json.loads((run / "run.json").read_text())["leaks"] == LEAKS
    assert set(pd.read_csv(run / "predictions.csv")["leaks"]) == {" ".join(LEAKS)}
    assert qhq("train", "tiny.yaml", *ON).stdout.startswith(MARK)


@pytest.mark.parametrize(
    "command",
    [
        ("eval", "--backend", "statevector"),
        ("noise", "--backend", "aer_noisy", "--scale", "0,1", "--shots", "exact", "--samples", "4"),
        ("doctor",),
        ("compare",),
    ],
)
def test_every_command_that_looks_at_it_says_so(run, qhq, command):
    people = qhq(*command)
    assert people.stdout.startswith(MARK), people.stdout + people.stderr
    record = json.loads(qhq(*command, "--json").stdout)
    assert record["leaks"] == LEAKS


def test_ablate_and_data_show_say_so(qhq, study):
    ablate = ("ablate", "tiny.yaml", *ON, "--set", "training.epochs=1", "--seeds", "1", "--workers", "1")
    (study / "leaky.yaml").write_text("data: {symbols: [AAPL], scaling: minmax, leaks: [scaler_sees_test]}\n")
    for command in (ablate, ("data", "show", "leaky.yaml")):
        record = json.loads(qhq(*command, "--json").stdout)
        assert record["leaks"] == LEAKS[: len(record["leaks"])] != []
        assert "LEAKS ON: scaler_sees_test" in qhq(*command).stdout
    assert MARK in next((study / "runs" / "studies").glob("*/report.html")).read_text()


def test_a_figure_says_so_above_what_it_said(run):
    figure = Figure()
    figure.suptitle("Forecasts")
    finish_figure(figure, NO_CAVEAT)
    assert figure.get_suptitle() == "Forecasts"
    finish_figure(figure, Caveat(tuple(LEAKS)))
    assert figure.get_suptitle() == f"{MARK}\nForecasts"


def test_without_leaks_nothing_is_said(qhq):
    result = qhq("train", "tiny.yaml", "--set", "backend=statevector")
    assert "LEAKS" not in result.stdout
    assert "leaks" not in pd.read_csv(next(Path("runs").glob("*/predictions.csv")))


CONFIGS = sorted(Path(__file__).parents[2].glob("experiments/reference/*/*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_reference_configs_are_read_and_say_what_they_are(path):
    config = load_config(str(path))
    assert bool(config.data.leaks) == (path.parent.name == "published")
    assert config.name == f"{path.parent.name}-{path.stem}".replace("_", "-").replace(
        "leak-free", "leak_free"
    )
    assert (config.quantum is None) == (path.stem in ("twin", "best_classical"))
