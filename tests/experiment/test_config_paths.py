"""Paths in a config: beside its file, whatever the current folder; typed ones in the current folder."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from qhq.ansatz.assemble import build_ansatz
from qhq.ansatz.spec import load_ansatz
from qhq.ansatz.stored import ansatz_fingerprint
from qhq.backends.registry import load_backends
from qhq.errors import ConfigError
from qhq.experiment.config import load_config
from qhq.experiment.opening import build_circuit

CONFIG = "data: {source: csv, path: prices.csv, symbols: [A]}\nquantum: {ansatz: mine.yaml}\n"


@pytest.fixture
def places(tmp_path, monkeypatch) -> tuple[Path, Path]:
    """A study with its files, and another folder, which is the current one."""
    study, elsewhere = tmp_path / "study", tmp_path / "elsewhere"
    for folder in (study, elsewhere):
        folder.mkdir()
    (study / "config.yaml").write_text(CONFIG)
    (study / "prices.csv").write_text("")
    (study / "mine.yaml").write_text("qubits: 2\nfile: {path: mine.py}\n")
    monkeypatch.chdir(elsewhere)
    return study, elsewhere


@pytest.mark.parametrize("name", ["../study/config.yaml", "../study"])
def test_what_a_file_names_lies_beside_it(places, name):
    study, elsewhere = places
    (elsewhere / "prices.csv").write_text("another file of that name")
    config = load_config(name)
    assert ".." not in config.data.path
    assert Path(config.data.path).resolve() == study / "prices.csv"
    assert Path(config.quantum.ansatz).resolve() == study / "mine.yaml"
    assert Path(load_ansatz(config.quantum.ansatz).file.path).resolve() == study / "mine.py"


def test_it_is_said_of_a_missing_file_too(places):
    study, _ = places
    (study / "prices.csv").unlink()
    assert Path(load_config("../study").data.path).resolve() == study / "prices.csv"


@pytest.mark.parametrize(
    "override", ["data.path=own.csv", "data={source: csv, path: own.csv, symbols: [A]}", " data.path=own.csv"]
)
def test_what_is_typed_lies_in_the_current_folder(places, override):
    study, elsewhere = places
    (study / "own.csv").write_text("")
    assert load_config("../study", [override]).data.path == str(elsewhere / "own.csv")


def test_an_ansatz_that_is_typed_lies_in_the_current_folder(places):
    _, elsewhere = places
    config = load_config("../study", ["quantum.ansatz=./mine.yaml"])
    assert config.quantum.ansatz == str(elsewhere / "mine.yaml")
    assert load_config("../study", ["quantum.ansatz=reference"]).quantum.ansatz == "reference"


def test_a_home_folder_and_an_absolute_path_stay(places, monkeypatch):
    study, elsewhere = places
    monkeypatch.setenv("HOME", str(elsewhere))
    assert load_config("../study", ["data.path=~/a.csv"]).data.path == str(elsewhere / "a.csv")
    assert load_config("../study", [f"data.path={study}/a.csv"]).data.path == f"{study}/a.csv"


def test_an_older_config_that_meant_the_current_folder_still_works(places):
    study, elsewhere = places
    (study / "prices.csv").unlink()
    (elsewhere / "prices.csv").write_text("")
    assert load_config("../study").data.path == str(elsewhere / "prices.csv")


def test_the_config_of_a_run_says_what_it_said(places):
    study, _ = places
    (study / "run.json").write_text("{}")
    assert load_config("../study").quantum.ansatz == "mine.yaml"


def test_a_snapshot_lies_beside_the_registry(places):
    study, _ = places
    (study / "backends.yaml").write_text("noisy: {kind: aer, shots: 9, noise: {snapshot: fez.json.gz}}\n")
    (entry,) = load_backends(Path("../study/backends.yaml")).values()
    assert Path(entry.noise.snapshot).resolve() == study / "fez.json.gz"


def test_a_typed_file_of_prices_takes_the_place_of_the_configs_own(places):
    data = load_config(None, ["data.path=prices.csv"]).data
    assert (data.source, data.symbols, data.start) == ("csv", None, None)
    assert load_config(None, ["data.path=prices.csv", "data.symbols=[A]"]).data.symbols == ("A",)
    assert load_config(None, ["data.path=prices.pq", "data.source=parquet"]).data.source == "parquet"


def test_a_typed_file_of_options_takes_the_place_of_the_configs_own(places):
    for name in ("experiments/options", "experiments/options/synthetic.yaml"):
        data = load_config(name, ["data.path=options.csv"]).data
        assert (data.source, data.kind, data.symbols, data.split.held_out) == ("csv", "options", None, ())


def test_a_file_of_spots_lies_beside_the_config_that_names_it(places):
    study, elsewhere = places
    (study / "config.yaml").write_text(CONFIG.replace("symbols", "format: {spot: spots.csv}, symbols"))
    assert Path(load_config("../study").data.format.spot).resolve() == study / "spots.csv"
    typed = load_config("../study", ["data.format.spot=spots.csv"])
    assert Path(typed.data.format.spot).resolve() == elsewhere / "spots.csv"


@pytest.mark.parametrize("name", ["prices.csv", "prices.xlsx", "aapl.us.txt", "prices.parquet"])
def test_a_file_of_prices_is_no_config(places, name):
    Path(name).write_text("Price,Close,Close\nTicker,AAPL,MSFT\nDate,,\n")
    with pytest.raises(ConfigError, match=rf"file of prices. Train on it with --set 'data.path={name}'"):
        load_config(name)


def test_folds_of_a_run_from_before_windows_looked_back_are_cut_as_they_were(tmp_path):
    """Its metrics are those of the windows that it had; another walk-forward looks back."""
    (tmp_path / "config.yaml").write_text("data: {split: {scheme: expanding, folds: 4, fold: 1}}\n")
    assert load_config(str(tmp_path)).data.split.lookback is True
    (tmp_path / "run.json").write_text("{}")
    assert load_config(str(tmp_path)).data.split.lookback is False
    assert load_config(str(tmp_path), ["data.split.lookback=true"]).data.split.lookback is True
    (tmp_path / "config.yaml").write_text("data: {split: {fold: 0}}\n")
    assert load_config(str(tmp_path), ["data.split.scheme=rolling"]).data.split.lookback is True


def test_a_scaling_for_one_column_leaves_the_others_theirs(tmp_path):
    (tmp_path / "config.yaml").write_text("data: {features: [adj_close, volume], scaling: minmax}\n")
    own = load_config(str(tmp_path), ["data.scaling.volume=log_standard"]).data
    assert own.scalings == {"adj_close": "minmax", "volume": "log_standard"}
    again = load_config(str(tmp_path), ["data.scaling={volume: raw}", "data.scaling.default=standard"]).data
    assert again.scalings == {"adj_close": "standard", "volume": "raw"}
    with pytest.raises(ConfigError, match=r"scaling of 'volum' must be of one of the features.*'volume'"):
        load_config(str(tmp_path), ["data.scaling.volum=raw"])
    with pytest.raises(ConfigError, match=r"'data.scaling' is not valid: must be a scaling.*'minmax'"):
        load_config(str(tmp_path), ["data.scaling=minmx"])


# A config that a program hands over.


def test_a_mapping_says_what_a_file_would_and_its_paths_lie_in_the_current_folder(places):
    _, elsewhere = places
    content = {
        "data": {"source": "csv", "path": "prices.csv", "symbols": ["A"]},
        "quantum": {"ansatz": "./mine.yaml"},
    }
    config = load_config(content, ["training.epochs=3"])
    assert config.data.path == str(elsewhere / "prices.csv")
    assert config.quantum.ansatz == str(elsewhere / "mine.yaml")
    assert config.training.epochs == 3
    assert content["data"]["path"] == "prices.csv"
    assert load_config({}) == load_config(str(_written(elsewhere, "{}")))


def _written(folder: Path, text: str) -> Path:
    path = folder / "written.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"trainin": {}}, ["'trainin' at the mapping given", "Did you mean 'training'"]),
        ({"training": {"epochs": 0}}, ["training.epochs", "Got 0"]),
        ({"data": 5}, ["'data' is not valid", "Got 5"]),
    ],
)
def test_an_error_in_a_mapping_names_its_key(content, words):
    with pytest.raises(ConfigError) as error:
        load_config(content, ["seed=1"])
    assert all(word in str(error.value) for word in words), error.value


def test_a_circuit_in_memory_is_built_and_is_no_other_one():
    held = build_ansatz("reference", qubits=3, depth=2)
    config = load_config({})
    config = config.model_copy(
        update={"quantum": config.quantum.with_circuit(held, ansatz_fingerprint(held))}
    )
    assert build_circuit(config.quantum) is held
    worker = pickle.loads(pickle.dumps(config))
    assert ansatz_fingerprint(build_circuit(worker.quantum)) == ansatz_fingerprint(held)
    assert build_circuit(config.quantum.model_copy(update={"entangled": False})).num_weights == 6
    for other in (
        config.quantum.model_copy(update={"qubits": 5}),
        load_config(config.model_dump(mode="json")).quantum,
    ):
        with pytest.raises(ConfigError, match="used as it is"):
            build_circuit(other)
    with pytest.raises(ConfigError, match=r"quantum\.depth"):
        load_config({"quantum": {"depth": 2}}).quantum.with_circuit(held, ansatz_fingerprint(held))
