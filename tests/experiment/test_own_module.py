"""A module of one's own goes all the way, from a file and from memory, and no stranger's program runs."""

from __future__ import annotations

import hashlib
import shutil

import numpy as np
import pytest
import torch
from torch import nn

import qhq
from qhq.errors import ConfigError
from qhq.models import source
from qhq.paths import cache_dir
from qhq.runs.run_folder import RunFolder
from tests.models.test_own import GOOD, STEPWISE

FILE = {"model.file": "mine.py", "training.epochs": 2}
WINDOW = 5


def another_user(cache, monkeypatch):
    """Go on as a user who has named no module yet; the compiled kernels stay, half a minute's work."""
    (cache / "kernels").symlink_to(cache_dir() / "kernels")
    monkeypatch.setenv("QHQ_CACHE_DIR", str(cache))
    monkeypatch.setattr(source, "_NAMED", set())


@pytest.fixture
def mine(study, tmp_path_factory, monkeypatch):
    """A study with a module's file, and a user who has named none yet."""
    another_user(tmp_path_factory.mktemp("cache"), monkeypatch)
    (study / "mine.py").write_text(GOOD)
    return study


def wrapped_module() -> nn.Module:
    torch.manual_seed(0)
    circuit = qhq.QuantumLayer("reference", qubits=2)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(WINDOW, 2), circuit, nn.Linear(2, 1), nn.Unflatten(1, (1, 1))
    )


def go_all_the_way(run: qhq.Run) -> None:
    """Train, evaluate, look, measure noise and forecast: what every run can do."""
    assert run.status == "finished"
    forecasts = run.forecasts["forecast"].to_numpy()
    evaluation = run.evaluate("aer", "aer_noisy", "fake_fez", samples=8)
    assert list(evaluation.metrics.index) == ["aer", "aer_noisy", "fake_fez"]
    errors = [each["expectation_error"] for each in evaluation.results]
    assert errors[0] == pytest.approx(0, abs=1e-6)
    assert errors[1] > 1e-5
    assert qhq.diagnose(run).healthy
    noise = run.noise(scale=[0, 1], shots=["exact"], samples=8)
    assert noise.rows["expectation_error"].to_list()[1] > 1e-5
    assert len(run.predict()) == 2
    assert run.model.quantum.weight.shape == (2,)
    assert run.forecasts["forecast"].to_numpy() == pytest.approx(forecasts)
    assert (run.folder / "figures" / "model.png").is_file()


def test_a_file_goes_all_the_way(mine):
    run = qhq.train("tiny.yaml", set=FILE)
    go_all_the_way(run)
    assert (run.folder / "model.py").read_text() == GOOD
    kinds = [stage["kind"] for stage in run.record["stages"]]
    assert kinds == ["Linear", "QuantumLayer", "Linear"]
    assert run.record["parameters"] == {"encoder": 12, "circuit": 2, "head": 3}


def test_a_circuit_called_at_each_step_goes_all_the_way(mine):
    text = STEPWISE.replace("torch.zeros(len(windows), 2)", "windows.new_zeros(len(windows), 2)")
    (mine / "mine.py").write_text(
        GOOD.replace("        values = self.quantum(self.before(windows.flatten(1)))\n", text)
    )
    go_all_the_way(qhq.train("tiny.yaml", set=FILE))


def test_a_wrapped_module_goes_all_the_way(mine):
    module = wrapped_module()
    before = {name: each.clone() for name, each in module.state_dict().items()}
    run = qhq.train("tiny.yaml", set={"model": qhq.wrap(module), "training.epochs": 2})
    go_all_the_way(run)
    assert all(torch.equal(each, before[name]) for name, each in module.state_dict().items())
    assert not (run.folder / "model.py").exists()


def test_a_wrapped_module_opens_where_it_is_wrapped_again(mine, monkeypatch):
    run = qhq.train("tiny.yaml", set={"model": wrapped_module(), "training.epochs": 1})
    monkeypatch.setattr(source, "WRAPPED", {})
    with pytest.raises(ConfigError, match="opened where the module is"):
        _ = qhq.open_run(run).model
    monkeypatch.setattr("qhq.models.own.WRAPPED", source.WRAPPED)
    qhq.wrap(wrapped_module())
    assert qhq.open_run(run.folder).model.quantum is not None


def test_a_run_that_was_cut_off_ends_as_if_it_was_not(mine, monkeypatch):
    whole = qhq.train("tiny.yaml", set=FILE)

    def cut_off(watcher, epoch, batches):
        if epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("qhq.experiment.fit.FreshShots.epoch_started", cut_off)
        with pytest.raises(KeyboardInterrupt):
            qhq.train("tiny.yaml", set=FILE)
    (half,) = [each for each in (mine / "runs").glob("*-tiny-*") if each != whole.folder]
    (mine / "mine.py").unlink()  # the run carries its own
    resumed = qhq.train(resume=half)
    np.testing.assert_array_equal(resumed.forecasts["forecast"], whole.forecasts["forecast"])


def test_it_is_ablated_with_its_classical_baseline_in_the_circuits_place(mine):
    study = qhq.ablate("tiny.yaml", seeds=2, workers=1, set={**FILE, "training.epochs": 1})
    variants = study.rows["variant"].to_list()
    assert {"hybrid", "mlp", "frozen", "unentangled"} <= set(variants)
    assert "no_middle" not in variants
    assert "only its author knows" in study.record["left_out"]["no_middle"]


def test_a_walk_forward_trains_it_in_each_fold(mine):
    changes = {**FILE, "training.epochs": 1, "data.split": {"scheme": "expanding", "folds": 2}}
    run = qhq.train("tiny.yaml", set=changes)
    assert [(fold.folder / "model.py").is_file() for fold in run.folds] == [True, True]


def test_another_circuit_or_file_is_another_design(mine):
    run = qhq.train("tiny.yaml", set={**FILE, "training.epochs": 1})
    other = RunFolder(run.folder).module
    other.write_text(GOOD + "\n# another\n")
    source.trust_digest(hashlib.sha256(other.read_bytes()).hexdigest())
    with pytest.raises(ConfigError, match="must belong to the run's module"):
        _ = qhq.open_run(run.folder).model


TRAP = GOOD + "\nfrom pathlib import Path\nPath('trap').write_text('ran')\n"


@pytest.fixture
def strangers(mine, monkeypatch):
    """A run that somebody else made, whose program leaves a trace when it runs."""
    (mine / "mine.py").write_text(TRAP)
    run = qhq.train("tiny.yaml", set={**FILE, "training.epochs": 1})
    (mine / "trap").unlink()
    (mine / "elsewhere").mkdir()
    another_user(mine / "elsewhere", monkeypatch)
    return run.folder


ACTS = {
    "eval": lambda run: qhq.open_run(run).evaluate("aer"),
    "predict": lambda run: qhq.open_run(run).predict(),
    "noise": lambda run: qhq.open_run(run).noise(),
    "model": lambda run: qhq.open_run(run).model,
    "doctor": qhq.diagnose,
    "doctor with keys": lambda run: qhq.diagnose(run, set={"training.epochs": 1}),
    "ablate": lambda run: qhq.ablate(run, seeds=2),
    "train its config": lambda run: qhq.train(qhq.open_run(run).config),
    "train its folder": qhq.train,
}


@pytest.mark.parametrize("act", ACTS)
def test_the_program_of_a_strangers_run_does_not_run(strangers, mine, act):
    with pytest.raises(ConfigError, match="one that you have run yourself"):
        ACTS[act](strangers)
    assert not (mine / "trap").exists()


def test_comparing_and_reading_a_strangers_run_runs_nothing(strangers, mine):
    qhq.compare(strangers)
    assert len(qhq.open_run(strangers).forecasts)
    assert not (mine / "trap").exists()


def test_naming_the_file_of_a_strangers_run_is_the_consent(strangers, mine, monkeypatch):
    path = RunFolder(strangers).module
    with pytest.raises(ConfigError) as caught:
        _ = qhq.open_run(strangers).model
    assert f"qhq doctor {strangers.name} --set model.file={path}" in caught.value.fix
    qhq.diagnose(strangers, set={"model.file": str(path)})
    monkeypatch.setattr(source, "_NAMED", set())  # another process of the same user
    assert qhq.open_run(strangers).model.quantum is not None
    path.write_text(TRAP + "\n# changed since\n")
    with pytest.raises(ConfigError, match="one that you have run yourself"):
        _ = qhq.open_run(strangers).model


def test_a_list_of_named_files_that_others_can_write_counts_for_nothing(strangers):
    path = source._ledger_path()
    source.trust_digest(hashlib.sha256(TRAP.encode()).hexdigest(), keep=True)
    source._NAMED.clear()
    path.chmod(0o666)
    with pytest.raises(ConfigError, match="one that you have run yourself"):
        _ = qhq.open_run(strangers).model


def test_a_link_out_of_a_run_is_no_module(strangers, mine, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "other.py"
    shutil.move(RunFolder(strangers).module, outside)
    (strangers / "model.py").symlink_to(outside)
    with pytest.raises(ConfigError, match="leads out"):
        _ = qhq.open_run(strangers).model


def test_circuits_in_the_gates_go_all_the_way(study):
    changes = {"model.recurrent": [{"unit": "qlstm", "hidden": 3}], "training.epochs": 1}
    run = qhq.train("tiny.yaml", set=changes)
    go_all_the_way(run)
    assert run.record["parameters"]["circuit"] == 4 * 2
    assert [stage["kind"] for stage in run.record["stages"]].count("GateCircuits") == 1
