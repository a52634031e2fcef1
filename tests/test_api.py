"""The public face: every call gives, to the bit, what the command gives, as objects and tables.

Only the names at the root are used here, as a notebook has them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from pandas.api import types
from qiskit.circuit import QuantumCircuit
from qiskit.circuit.library import real_amplitudes, zz_feature_map

import qhq as public
from qhq.ansatz.stored import ansatz_fingerprint
from qhq.errors import ConfigError, DataError, QHQError
from tests.conftest import TINY
from tests.loopback.fixtures import loopback, no_backoff

__all__ = ["loopback", "no_backoff"]

HEAVY = ("torch", "qiskit", "pandas", "numpy", "numba", "scipy", "matplotlib", "pydantic", "typer", "rich")
SHORT = {"training.epochs": 1}
OF_TIME = ("created", "finished", "seconds", "run", "path", "looks", "file")
"""What two records of the same thing do not have in common."""


def circuit() -> QuantumCircuit:
    """Two qubits, two inputs, four weights."""
    return zz_feature_map(2, reps=1).compose(real_amplitudes(2, reps=1))


def same(one: dict, other: dict, *without: str) -> bool:
    """Whether two records say the same, but for the time they took; as JSON, where no key is a number."""
    one, other = (json.loads(json.dumps(each)) for each in (one, other))
    dropped = (*OF_TIME, *without)
    return all(one[key] == other[key] for key in one.keys() | other.keys() if key not in dropped)


@pytest.fixture
def trained(study):
    """A run of ``tiny.yaml`` with one epoch."""
    return public.train("tiny.yaml", set=SHORT)


# The package costs nothing.


def loaded_by(program: str) -> list[str]:
    answer = subprocess.run(
        [sys.executable, "-c", f"import sys; {program}; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return answer.stdout.split()


def test_importing_the_package_loads_nothing():
    loaded = set(loaded_by("import qhq, qhq.errors; dir(qhq)"))
    assert not loaded & set(HEAVY)
    assert {name for name in loaded if name.split(".")[0] == "qhq"} == {"qhq", "qhq.plugins", "qhq.errors"}


def test_runs_are_compared_and_backends_listed_without_torch():
    assert not {"torch", "qiskit"} & set(
        loaded_by("import qhq; qhq.compare, qhq.load_backends(), qhq.open_run")
    )


def test_every_public_name_is_there_and_no_other():
    assert set(public.__all__) <= set(dir(public))
    assert all(getattr(public, name).__doc__ for name in public.__all__)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        public.trian  # noqa: B018


# Training.


def test_a_training_is_that_of_the_command_to_the_bit(study, qhq):
    answer = json.loads(
        qhq("train", "tiny.yaml", "--backend", "aer", "--set", "training.epochs=1", "--json").stdout
    )
    by_command = public.open_run(answer["run"])
    content = {
        "name": "tiny", "seed": 1,
        "data": {"symbols": ("AAPL", "MSFT"), "start": date(2012, 1, 1), "window": 5, "scaling": "standard"},
        "quantum": {"ansatz": "reference", "qubits": 2, "depth": 1},
        "model": {"recurrent": [{"unit": "gru", "hidden": 4}]},
        "training": {"epochs": np.int64(1), "batch_size": 64, "learning_rate": 0.01},
    }  # fmt: skip
    runs = [public.train("tiny.yaml", backend="aer", set=SHORT), public.train(content, backend="aer")]
    for run in runs:
        assert same(run.record, answer)
        assert run.record.keys() == answer.keys()
        for name in ("predictions.csv", "model.safetensors", "history.csv", "config.yaml"):
            assert (run.folder / name).read_bytes() == (by_command.folder / name).read_bytes(), name
        assert sorted(path.name for path in (run.folder / "figures").iterdir()) == [
            "circuit.png", "forecast.png", "history.png", "model.png"
        ]  # fmt: skip


def test_a_run_has_its_tables_its_model_and_its_circuit(trained):
    assert trained == public.open_run() == public.open_run("latest") == public.open_run(trained.folder)
    assert trained.status == "finished"
    assert trained.config.training.epochs == 1
    assert trained.metrics.loc["model"].to_dict() == trained.record["metrics"]["test"]
    assert trained.metrics.loc["last_value"].to_dict() == trained.record["metrics"]["naive"]
    assert all(types.is_float_dtype(each) for each in trained.metrics.dtypes)
    forecasts = trained.forecasts
    assert forecasts.columns[:6].to_list() == ["symbol", "date", "horizon", "actual", "forecast", "naive"]
    assert types.is_datetime64_dtype(forecasts["date"])
    assert types.is_integer_dtype(forecasts["horizon"])
    assert all(
        types.is_float_dtype(forecasts[name]) for name in ("actual", "forecast", "naive", "low", "high")
    )
    assert set(forecasts["symbol"]) == {"AAPL", "MSFT"}
    error = (forecasts["forecast"] - forecasts["actual"]).abs().mean()
    np.testing.assert_allclose(error, trained.metrics.loc["model", "mae"], rtol=1e-12)
    assert trained.history["epoch"].to_list() == [1]
    assert trained.verdict == trained.record["verdict"]
    assert isinstance(trained.model, torch.nn.Module)
    assert trained.model.quantum.neural_network.backend == "statevector"
    assert trained.ansatz.num_weights == trained.model.quantum.weight.numel()
    assert "finished" in repr(trained)


def test_a_run_that_was_cut_off_is_continued(study):
    def stop(done: int, total: int, what: str) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        public.train("tiny.yaml", progress=stop)
    (folder,) = (path for path in (study / "runs").iterdir() if path.is_dir())
    cut = public.open_run(folder)
    assert cut.status == "running"
    with pytest.raises(ConfigError, match="Only a finished run"):
        cut.metrics  # noqa: B018
    assert public.train(resume=cut) == cut
    whole = public.train("tiny.yaml")
    assert (cut.folder / "predictions.csv").read_bytes() == (whole.folder / "predictions.csv").read_bytes()


def test_a_walk_forward_gives_its_folds(study):
    split = {"scheme": "expanding", "folds": 2, "train": 0.5, "validation": 0.2, "test": 0.3}
    walk = public.train("tiny.yaml", set={**SHORT, "data.split": split}, workers=1)
    assert walk.is_walk
    assert [fold.name for fold in walk.folds] == ["fold-000", "fold-001"]
    assert public.open_run(walk.name).verdict == walk.record["verdict"]
    assert len(walk.forecasts) == sum(len(fold.forecasts) for fold in walk.folds)
    assert walk.metrics.loc["model"].to_dict() == walk.record["metrics"]["test"]
    assert isinstance(walk.folds[0].model, torch.nn.Module)
    with pytest.raises(ConfigError, match="a model a fold"):
        walk.evaluate("aer")
    with pytest.raises(ConfigError, match="a model a fold"):
        walk.model  # noqa: B018


def test_it_is_quiet_unless_it_is_asked(study, capfd):
    heard = []
    public.train("tiny.yaml", set=SHORT)  # the kernels are compiled, which is reported once a machine
    capfd.readouterr()
    public.train("tiny.yaml", progress=lambda done, total, what: heard.append((done, total, what[:4])))
    assert heard == [(1, 2, "loss"), (2, 2, "loss")]
    assert capfd.readouterr() == ("", "")
    public.open_run().evaluate("aer", samples=4, progress=True)
    assert capfd.readouterr().out == ""


# Evaluating.


def test_an_evaluation_is_that_of_the_command(trained, qhq):
    options = ("--backend", "aer", "--backend", "aer_shots", "--samples", "16", "--seed", "3")
    answer = json.loads(qhq("eval", *options, "--json").stdout)
    found = trained.evaluate("aer", "aer_shots", samples=16, seed=3)
    assert same(found.record, answer, "results", "figure")
    pairs = list(zip(found.results, answer["results"], strict=True))
    assert all(same(one, other, "wall_seconds") for one, other in pairs)
    assert found.metrics.index.to_list() == ["aer", "aer_shots"]
    for name, result in zip(found.metrics.index, answer["results"], strict=True):
        assert found.metrics.loc[name, "mae"] == result["metrics"]["mae"]
        assert found.metrics.loc[name, "delta_mae"] == result["delta_mae"]
        assert found.expectation_error[name] == result["expectation_error"]
    assert found.baselines.loc["last_value", "mae"] == answer["results"][0]["naive"]["mae"]
    assert set(found.baselines.index) == {"last_value", *answer["results"][0]["baselines"]}
    report = found.report
    assert report["samples"].to_list() == [16, 16]
    assert report["shots"].isna().to_list() == [True, False]
    assert types.is_integer_dtype(report["shots"])
    assert types.is_float_dtype(report["qpu_seconds"])
    frame = found.to_frame()
    assert all(
        types.is_float_dtype(frame[name]) for name in ("mae", "naive_mae", "skill", "expectation_error")
    )
    assert found.costs.empty
    assert "aer_shots" in repr(found)
    assert "aer_shots" in found._repr_html_()


def test_other_data_are_asked_for_as_on_the_command_line(trained, qhq):
    answer = json.loads(qhq("eval", "--since", "2012-11-01", "--json").stdout)
    for since in ("2012-11-01", date(2012, 11, 1)):
        assert trained.evaluate(since=since).record["other_data"] == answer["other_data"]
    answer = json.loads(qhq("eval", "--set", "data.symbols=[AAPL]", "--json").stdout)
    assert same(
        trained.evaluate(set={"data.symbols": ["AAPL"]}).results[0], answer["results"][0], "wall_seconds"
    )


def test_hardware_is_forecast_then_agreed_to(trained, study, loopback):
    (study / "backends.yaml").write_text(
        "ibm_*: {kind: ibm, resilience_level: 0, poll_seconds: 0.01, settle_seconds: 0.01}\n"
        "aer: {kind: aer, gradient: adjoint}\n"
    )
    forecast = trained.evaluate("ibm_fez", samples=8, shots=256, dry_run=True)
    assert forecast.results == []
    assert forecast.costs.loc["ibm_fez", "qpu_seconds"] > 0
    assert forecast.metrics.empty
    asked = []
    with pytest.raises(ConfigError, match="must be confirmed"):
        trained.evaluate("ibm_fez", samples=8, shots=256)
    with pytest.raises(ConfigError, match="must be confirmed"):
        trained.evaluate("ibm_fez", samples=8, shots=256, yes=asked.append)
    assert [each.costs.index.to_list() for each in asked] == [["ibm_fez"]]
    assert loopback.service.jobs() == []
    found = trained.evaluate("ibm_fez", samples=8, shots=256, yes=True)
    assert found.report.loc["ibm_fez", "job_ids"] == [loopback.service.jobs()[0]["id"]]
    assert found.costs.loc["ibm_fez", "jobs"] == 1


# A circuit in memory.


def test_a_circuit_in_memory_trains_as_the_file_of_the_same_circuit(trained):
    held = public.load_ansatz("reference", qubits=2, depth=1)
    run = public.train("tiny.yaml", set={**SHORT, "quantum.ansatz": held})
    assert (run.folder / "predictions.csv").read_bytes() == (trained.folder / "predictions.csv").read_bytes()
    assert ansatz_fingerprint(run.ansatz) == ansatz_fingerprint(trained.ansatz)


def test_a_run_carries_the_circuit_that_it_was_given(study):
    given = circuit()
    run = public.train("tiny.yaml", set={**SHORT, "quantum.ansatz": given})
    assert run.ansatz.num_weights == 4
    assert run.model.quantum.weight.numel() == 4
    assert run.config.quantum.ansatz.startswith("memory:")
    assert run.evaluate("aer", samples=4).metrics.loc["aer", "delta_mae"] == pytest.approx(0, abs=1e-9)
    again = public.train(run.config, set={"seed": 2})
    assert again.config.seed == 2
    assert again.ansatz.num_weights == 4
    inside = {**SHORT, "quantum": {"ansatz": given, "frozen": True}}
    assert public.train("tiny.yaml", set=inside).ansatz.num_weights == 4
    with pytest.raises(ConfigError, match=r"quantum\.qubits"):
        public.train({"quantum": {"ansatz": given, "qubits": 2}})
    with pytest.raises(ConfigError, match="used as it is"):
        public.train(run, set={"quantum.depth": 3})


def test_the_obvious_layer_is_exact_and_moves(study):
    layer = public.QuantumLayer("reference", qubits=3, depth=2)
    assert layer.neural_network.backend == "statevector"
    inputs = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    exact = layer(inputs)
    weights = layer.weight.detach().clone()
    layer.open("aer_shots", seed=1)
    sampled = layer(inputs)
    assert layer.neural_network.backend == "aer_shots"
    torch.testing.assert_close(layer.weight.detach(), weights)
    assert 0 < (sampled - exact).abs().max() < 5 / np.sqrt(1024)
    own = public.QuantumLayer(circuit(), observables=["Z0 Z1"])
    assert own(torch.zeros(2, 2)).shape == (2, 1)
    assert own.neural_network.backend == "statevector"


# Studies.

ABLATED = {"training.epochs": 1, "backend": "statevector"}
STAGES = {
    "name": "small",
    "experiment": "tiny.yaml",
    "set": {"backend": "statevector", "training.epochs": 1},
    "seeds": 2,
    "stages": [{"name": "circuit", "space": {"quantum.depth": [1, 2]}}],
    "final": None,
}


def test_a_study_of_noise_is_that_of_the_command(trained, qhq):
    heard = []
    options = {"scale": (0, 1), "shots": ("exact", None, 64), "seeds": 2, "samples": 8}
    found = trained.noise("aer_noisy", **options, progress=lambda *step: heard.append(step))
    answer = json.loads(
        qhq(
            "noise", "--scale", "0,1", "--shots", "exact,64", "--seeds", "2", "--samples", "8", "--json"
        ).stdout
    )
    assert same(found.record, answer)
    assert found.rows.to_dict("list")["mae"] == [row["mae"] for row in answer["rows"]]
    assert types.is_float_dtype(found.rows["expectation_error"])
    assert found.verdict == answer["verdict"]
    assert heard[-1][0] == heard[-1][1] >= 6
    with pytest.raises(ConfigError, match="--shots must be whole numbers"):
        trained.noise(shots=[0])
    with pytest.raises(ConfigError, match="--scale must be numbers"):
        trained.noise(scale=["much"])
    with pytest.raises(ConfigError, match="seeds must be a whole number from 2"):
        trained.noise(seeds=1)


def test_an_ablation_is_that_of_the_command_and_takes_a_circuit_in_memory(study, qhq):
    found = public.ablate("tiny.yaml", seeds=1, workers=1, set=ABLATED)
    changes = ("--set", "training.epochs=1", "--set", "backend=statevector")
    answer = json.loads(
        qhq("ablate", "tiny.yaml", "--seeds", "1", "--workers", "1", *changes, "--json").stdout
    )
    assert same(found.record, answer)
    assert found.rows["variant"].to_list() == [row["variant"] for row in answer["rows"]]
    assert found.verdict == answer["verdict"]
    assert (found.folder / "report.html").is_file()
    held = public.load_ansatz("reference", qubits=2, depth=1)
    own = public.ablate("tiny.yaml", seeds=1, workers=1, set={**ABLATED, "quantum.ansatz": held})
    assert own.record["seed_loss"]["hybrid"] == found.record["seed_loss"]["hybrid"]


def test_a_sweep_is_that_of_the_command(study, qhq):
    found = public.sweep(STAGES, workers=1)
    (study / "sweep.yaml").write_text(json.dumps(STAGES))
    answer = json.loads(qhq("sweep", "sweep.yaml", "--workers", "1", "--json").stdout)
    assert same(found.record, answer)
    assert found.rows["quantum.depth"].to_list() == [row["quantum.depth"] for row in answer["rows"]]
    assert [Path(each).name for each in found.record["figures"]] == ["circuit.png"]
    with pytest.raises(ConfigError, match="A circuit must be named here"):
        public.sweep(STAGES, set={"quantum.ansatz": circuit()})
    with pytest.raises(ConfigError, match="workers must be a whole number"):
        public.sweep(STAGES, workers=0)


# The doctor, tables of runs, data.


def test_a_diagnosis_is_that_of_the_command(trained, qhq):
    assert public.diagnose().to_dict() == json.loads(qhq("doctor", "--json").stdout)
    changes = {"model.activation_before": "relu"}
    answer = qhq("doctor", trained.name, "--set", "model.activation_before=relu", "--json").stdout
    assert public.diagnose(trained, set=changes).to_dict() == json.loads(answer)
    assert public.diagnose("tiny.yaml").to_dict() == json.loads(qhq("doctor", "tiny.yaml", "--json").stdout)


def test_a_circuit_or_a_module_is_diagnosed_as_it_is(study):
    dead = QuantumCircuit(2)
    features = zz_feature_map(2, reps=1)
    dead.compose(features, inplace=True)
    assert public.diagnose("tiny.yaml", set={"quantum.ansatz": dead}).findings != ()
    assert public.diagnose(circuit()).subject == public.diagnose(set={"quantum.ansatz": circuit()}).subject
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 1))
    found = public.diagnose(model, inputs=torch.randn(8, 3), targets=torch.randn(8, 1))
    assert found.healthy
    with pytest.raises(ConfigError, match="no inputs"):
        public.diagnose(model)
    with pytest.raises(ConfigError, match="torch module"):
        public.diagnose("tiny.yaml", inputs=torch.randn(8, 3))


def test_a_comparison_is_that_of_the_command(trained, qhq):
    public.train("tiny.yaml", set={**SHORT, "quantum.depth": 2})
    answer = json.loads(qhq("compare", "--sort", "-skill", "--json").stdout)
    found = public.compare(sort="-skill")
    assert found.to_dict("records") == [{**row} for row in answer["rows"]]
    assert found.attrs["differs"] == answer["differs"] == ["quantum.depth"]
    assert public.compare(trained, columns=["run", "depth"]).to_dict("list") == {
        "run": [trained.name],
        "quantum.depth": [1],
    }
    assert len(public.compare(filter="quantum.depth >= 2")) == 1
    assert public.compare(filter="quantum.depth >= 9").empty


def test_prices_come_as_they_would_be_trained_on(study):
    frame = public.load_panel("tiny.yaml", set={"data.symbols": ["AAPL"]})
    assert frame.columns.to_list() == ["symbol", "date", "adj_close"]
    assert types.is_datetime64_dtype(frame["date"])
    assert types.is_float_dtype(frame["adj_close"])
    assert set(frame["symbol"]) == {"AAPL"}
    assert frame.attrs["kind"] == "traded"
    pd.DataFrame({"date": frame["date"], "close": frame["adj_close"], "symbol": "ABC"}).to_csv("own.csv")
    own = public.load_panel("own.csv")
    np.testing.assert_allclose(own["close"], frame["adj_close"])
    assert public.load_panel({"data": {"symbols": ["MSFT"]}})["symbol"].unique().tolist() == ["MSFT"]


def test_entries_are_those_of_the_registry(study, qhq):
    answer = json.loads(qhq("backends", "list", "--json").stdout)
    assert [*public.load_backends()] == [each["name"] for each in answer["rows"]]


# What is given wrong.

WRONG = {
    "a key": (
        lambda: public.train("tiny.yaml", set={"training.epoch": 1}),
        ["Did you mean 'training.epochs'"],
    ),
    "a value": (lambda: public.train("tiny.yaml", set={"seed": object()}), ["a object", "'seed'"]),
    "changes": (lambda: public.train("tiny.yaml", set=5), ["set must be a mapping", "a int"]),
    "a config": (lambda: public.train("tyni.yaml"), ["CONFIG must be", "tyni.yaml"]),
    "no config": (lambda: public.train(3), ["file, a folder or a mapping", "a int"]),
    "a mapping": (lambda: public.train({"trainig": {}}), ["Did you mean 'training'"]),
    "a backend": (lambda: public.train("tiny.yaml", backend="aerr"), ["Did you mean 'aer'"]),
    "no backend": (lambda: public.train("tiny.yaml", backend=7), ["must be named", "a int"]),
    "resume and more": (lambda: public.train("tiny.yaml", resume="x"), ["as it was configured"]),
    "a circuit": (lambda: public.train("tiny.yaml", set={"quantum.ansatz": 3}), ["circuit must be", "a int"]),
    "roles": (lambda: public.train(set={"quantum.ansatz": QuantumCircuit(2)}), ["free parameter"]),
    "progress": (lambda: public.train("tiny.yaml", progress=3), ["progress must be", "a int"]),
    "a doubt": (lambda: public.train("tiny.yaml", accept="futre_column:x"), ["Did you mean 'future_column'"]),
    "a run": (lambda: public.open_run("20200101-nothing"), ["RUN must be", "20200101-nothing"]),
    "no run": (lambda: public.open_run(5), ["RUN must be", "a int"]),
    "no runs": (public.open_run, ["There must be a finished run"]),
    "an ansatz": (lambda: public.load_ansatz("referense"), ["Did you mean 'reference'"]),
    "a layer": (lambda: public.QuantumLayer(torch.nn.Linear(2, 2)), ["circuit must be", "a Linear"]),
    "a subject": (lambda: public.diagnose(7), ["circuit must be", "a int"]),
    "a condition": (lambda: public.compare(filter="depth"), ["KEY OP VALUE"]),
    "a limit": (lambda: public.compare(limit=0), ["limit must be a whole number"]),
    "prices": (lambda: public.load_panel("missing.csv"), ["missing.csv"]),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_in_three_parts(study, name):
    act, words = WRONG[name]
    with pytest.raises(QHQError) as error:
        act()
    assert isinstance(error.value, DataError if name == "prices" else ConfigError)
    assert error.value.must
    assert error.value.got
    assert error.value.fix
    assert all(word in str(error.value) for word in words), str(error.value)
    assert not (study / "runs").exists() or not [path for path in (study / "runs").iterdir() if path.is_dir()]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"backends": ["aerr"]}, ["Did you mean 'aer'"]),
        ({"backends": [3]}, ["must be named"]),
        ({"backends": ["aer"], "shots": 10}, ["sampling backend"]),
        ({"backends": ["aer"], "samples": 0}, ["samples must be a whole number from 1"]),
        ({"backends": ["aer"], "seed": -1}, ["seed must be a whole number from 0"]),
        ({"backends": ["aer"], "since": "yesterday"}, ["since must be a date"]),
        ({"backends": ["aer"], "service": True}, ["--service needs --dry-run"]),
        ({"backends": ["aer"], "set": {"training.epochs": 2}}, ["data.KEY=VALUE"]),
    ],
)
def test_what_an_evaluation_cannot_be_asked(trained, options, words):
    with pytest.raises(ConfigError) as error:
        trained.evaluate(*options.pop("backends"), **options)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_texts_and_values_of_changes_mean_what_yaml_reads(study):
    """A text that YAML would take for something else stays a text; all else is JSON, which is YAML."""
    (study / "tiny.yaml").write_text(TINY)
    run = public.train(
        "tiny.yaml",
        set={**SHORT, "name": "null", "training.learning_rate": 1e-5, "data.start": "2012-02-01", "seed": 7},
    )
    config = run.config
    assert (config.name, config.training.learning_rate, str(config.data.start), config.seed) == (
        "null", 1e-5, "2012-02-01", 7,
    )  # fmt: skip
    assert public.train("tiny.yaml", set=["training.epochs=1", "seed=7"]).config.seed == 7
    assert isinstance(run.folder, Path)
