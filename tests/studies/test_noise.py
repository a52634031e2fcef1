"""The noise study: scale 0 is exact, scale 1 the device, shots converge, and a cut-off study goes on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import distributed
import numpy as np
import pytest

from qhq.backends import open_backend
from qhq.backends.noisy import AerBackend
from qhq.backends.registry import find_backend
from qhq.errors import ConfigError
from qhq.experiment.config import load_config
from qhq.experiment.evaluate import EXACT, choose_windows, forecast_windows
from qhq.experiment.reopening import open_trained
from qhq.experiment.run import train_run
from qhq.studies.noise import NoiseStudy, _verdict, run_noise_study, seed_interval
from qhq.studies.noise_cells import NoiseRequest
from qhq.studies.runner import Runner, open_workers
from qhq.training.loop import Watcher
from tests.studies.test_ablation import Interrupted, Log

REQUEST = NoiseRequest("aer_noisy", (0.0, 1.0, 4.0), (None, 100, 10_000), seeds=2, samples=24)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One trained run for all tests of this module."""
    with pytest.MonkeyPatch.context() as patch:
        from tests.conftest import TINY

        folder = tmp_path_factory.mktemp("noise")
        patch.setenv("QHQ_RUNS_DIR", str(folder / "runs"))
        (folder / "tiny.yaml").write_text(TINY)
        yield train_run(load_config(str(folder / "tiny.yaml"), ["training.epochs=1"]), Watcher())


def test_rows_follow_scale_and_shots(run):
    record = run_noise_study(run, REQUEST).to_dict()
    rows = {(row["scale"], row["shots"]): row for row in record["rows"]}
    assert len(rows) == 9
    errors = {key: row["expectation_error"] for key, row in rows.items()}
    assert errors[0.0, None] < 1e-10
    assert errors[0.0, None] < errors[1.0, None] < errors[4.0, None]
    np.testing.assert_allclose(errors[0.0, 100] / errors[0.0, 10_000], 10, rtol=0.4)
    assert rows[1.0, None]["mae_low"] == rows[1.0, None]["mae"] == rows[1.0, None]["mae_high"]
    assert rows[1.0, 100]["mae_low"] < rows[1.0, 100]["mae"] < rows[1.0, 100]["mae_high"]
    json.dumps(record, allow_nan=False)


def test_scale_1_is_the_device_itself(run):
    record = run_noise_study(run, REQUEST).to_dict()
    experiment = open_trained(run)
    windows = choose_windows(experiment.data.test, REQUEST.samples, REQUEST.seed)
    device, exact = (
        forecast_windows(experiment, open_backend(entry, experiment.ansatz, seed=0), windows)
        for entry in (find_backend("aer_noisy"), EXACT)
    )
    row = next(row for row in record["rows"] if (row["scale"], row["shots"]) == (1.0, None))
    np.testing.assert_allclose(row["mae"], device.metrics().mae, rtol=1e-9)
    error = np.abs(device.expectations - exact.expectations).mean()
    np.testing.assert_allclose(row["expectation_error"], error, rtol=1e-9)


def test_cut_off_study_goes_on_where_it_stopped(run):
    request = NoiseRequest("aer_noisy", (0.0, 1.0), (None, 50), seeds=2, samples=10)
    with pytest.raises(Interrupted):
        run_noise_study(run, request, Runner(progress=Log(stop_after=3)))
    store = NoiseStudy(run, request).store.path
    with store.open("a") as file:
        file.write('{"cell": "1/50/0", "val')
    log = Log()
    record = run_noise_study(run, request, Runner(progress=log)).to_dict()
    assert log.found == ["noise x 0, exact", "noise x 0, 50 shots, stream 1", "noise x 0, 50 shots, stream 2"]
    # The last one is of the error budget.
    assert log.fresh == [
        "noise x 1, exact", "noise x 1, 50 shots, stream 1", "noise x 1, 50 shots, stream 2",
        "noise x 1, exact, trex",
    ]  # fmt: skip
    assert len(record["rows"]) == 4
    log = Log()
    assert run_noise_study(run, request, Runner(progress=log)).to_dict()["rows"] == record["rows"]
    assert log.fresh == []


@pytest.mark.filterwarnings("ignore")
def test_a_cluster_gives_what_this_process_gives(run):
    """The worker has no folder of the run: it is sent along."""
    request = NoiseRequest("aer_noisy", (1.0,), (None, 50), seeds=2, samples=10, seed=4)
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
        ) as cluster,
        open_workers(None, cluster.scheduler_address, print) as workers,
    ):
        there = run_noise_study(run, request, Runner(workers)).to_dict()
    Path(there["file"]).with_suffix(".jsonl").unlink()
    assert run_noise_study(run, request).to_dict()["rows"] == there["rows"]


def test_a_worker_with_another_version_is_refused(run, monkeypatch):
    (cell, *_) = NoiseStudy(run, NoiseRequest("aer_noisy", (0.0,), (None,), samples=5)).plan()
    monkeypatch.setattr("qhq.studies.noise_cells._OPENED", [])
    elsewhere = replace(cell, checkpoint=replace(cell.checkpoint, seen=("", "0.0.1")))
    with pytest.raises(ConfigError, match="must have the driver's qhq"):
        NoiseStudy.measure(elsewhere)


@pytest.mark.parametrize("backend", ["aer", "aer_shots", "statevector"])
def test_backend_without_noise_is_refused(run, backend):
    with pytest.raises(ConfigError, match="needs a simulated backend with noise"):
        run_noise_study(run, NoiseRequest(backend))


def test_interval_of_one_value_is_itself():
    assert seed_interval([3.0]) == (3.0, 3.0, 3.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("--scale", "0,-1"), "--scale must be"), (("--scale", "x"), "--scale must be"),
     (("--shots", "0"), "--shots must be"), (("--shots", "some"), "--shots must be"),
     (("--depth", "1,x"), "--depth must be"), (("--qubits", "0"), "--qubits must be"),
     (("--samples", "99999"), "--samples must not"), (("--backend", "aer"), "needs a simulated backend"),
     (("--workers", "2", "--cluster", "tcp://127.0.0.1:1"), "processes here or on a cluster")],
)  # fmt: skip
def test_bad_requests_are_refused(run, arguments, message, monkeypatch):
    from typer.testing import CliRunner

    from qhq.cli.app import app

    result = CliRunner().invoke(app, ["noise", str(run.path), *arguments])
    assert result.exit_code == 2
    assert message in result.stderr


def test_what_is_measured_once_falls_behind_by_its_mean_alone():
    exact = SimpleNamespace(metrics=lambda: SimpleNamespace(skill=0.1))
    request = SimpleNamespace(shots=(None, 64), seeds=3)
    said = _verdict(exact, {"exact": 0.044, "64 shots": None}, request)
    assert "exact (by the mean, without a test): from noise scale 0.044;" in said
    assert "64 shots (with the whole interval): never in this range." in said
    assert "clearly" not in said


def test_command_writes_table_figure_and_verdict(run):
    from typer.testing import CliRunner

    from qhq.cli.app import app

    arguments = [
        "noise",
        str(run.path),
        "--scale",
        "0,1",
        "--shots",
        "exact,64",
        "--seeds",
        "2",
        "--samples",
        "8",
    ]
    record = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert len(record["rows"]) == 4
    assert record["verdict"].startswith("The model is behind") or "falls behind" in record["verdict"]
    assert (run.figures / "noise-aer_noisy.png").read_bytes().startswith(b"\x89PNG")
    parts = record["budget"]["components"]
    np.testing.assert_allclose(sum(part["value"] for part in parts), record["budget"]["total"]["value"])
    assert (run.figures / "budget-aer_noisy.png").read_bytes().startswith(b"\x89PNG")
    shown = CliRunner().invoke(app, arguments).stdout
    assert "against last value" in shown
    assert "Error budget" in shown


def test_methods_are_ranked_and_other_devices_stand_below(run):
    from typer.testing import CliRunner

    from qhq.cli.app import app

    arguments = [
        "noise", str(run.path), "--scale", "1", "--shots", "exact,64", "--seeds", "2", "--samples", "40",
        "--mitigation", "all", "--against", "fake_nairobi",
    ]  # fmt: skip
    record = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert [(row["backend"], row["shots"]) for row in record["rows"]] == [
        ("aer_noisy", None), ("aer_noisy", 64), ("fake_nairobi", None), ("fake_nairobi", 64),
    ]  # fmt: skip
    for shots in (None, 64):
        rows = [row for row in record["mitigation"] if row["shots"] == shots]
        assert {row["mitigation"] for row in rows} == {"none", "trex", "zne", "pec", "affine", "head"}
        gains = [row["gain"] for row in rows]
        assert gains == sorted(gains, reverse=True)
        own = {row["mitigation"]: row for row in rows}
        assert own["none"]["gain"] == 0
        assert own["trex"]["expectation_bias"] < own["none"]["expectation_bias"]
        assert all((row["expectation_variance"] > 0) is (shots is not None) for row in rows)
        assert all(row["device_seconds"] > 0 for row in rows)
    assert record["mitigation_verdict"].startswith("Error mitigation, 64 shots:")
    assert record["refused"] == []
    shown = CliRunner().invoke(app, arguments).stdout
    assert "Error mitigation on aer_noisy" in shown
    assert "fake_nairobi" in shown


def test_the_circuit_alone_is_measured_at_other_sizes(run):
    """Twice the layers keep about the square of what one keeps; what a density matrix cannot hold is said."""
    request = NoiseRequest("aer_noisy", (1.0,), (None,), samples=8, widths=(2, 13), depths=(1, 2))
    rows = {(row.qubits, row.depth): row for row in run_noise_study(run, request).sizes}
    assert list(rows) == [(2, 1), (2, 2), (13, 1), (13, 2)]
    single, double = rows[2, 1], rows[2, 2]
    assert double.two_qubit_gates == 2 * single.two_qubit_gates
    assert double.kept < single.kept < 1
    np.testing.assert_allclose(single.kept**2, double.kept, atol=0.03)
    assert "13" in rows[13, 1].left_out
    assert rows[13, 1].kept is None


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (NoiseRequest(samples=20, mitigation=("zne",)), "must carry out"),
        (NoiseRequest(samples=20, against=("aer",)), "with noise"),
    ],
)
def test_what_would_be_ignored_is_refused_before_anything_is_measured(run, request_, message, monkeypatch):
    monkeypatch.setattr(AerBackend, "why_not", lambda *_: "it has no gate to fold")
    with pytest.raises(ConfigError, match=message):
        NoiseStudy(run, request_)
