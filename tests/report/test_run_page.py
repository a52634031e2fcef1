"""The pages of a run, of several, and of studies: what they say, and that nothing in a folder can act."""

from __future__ import annotations

import json
import random
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from qhq.api.report import write_report
from qhq.api.run import open_run
from qhq.api.training import train
from qhq.backends.local.statevector import StatevectorExecutor
from qhq.errors import ConfigError
from qhq.experiment.evaluate import circuit_arguments, encode
from qhq.report.model_diagram import diagram_of, diagram_of_run
from qhq.report.page import Paragraph, cell
from qhq.report.run_page import _DAMAGED, SECTIONS, Material, _circuits, _design_rows, pooled_notes
from qhq.runs.measures import Errors
from qhq.runs.record import Data, WalkRecord
from qhq.runs.run_folder import RunFolder
from tests.report.pages import read_page

SHORT = {"training.epochs": 2, "data.start": "2012-06-01"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a run that was evaluated and looked at under noise."""
    from tests.conftest import TINY

    home = tmp_path_factory.mktemp("made")
    (home / "tiny.yaml").write_text(TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QHQ_RUNS_DIR", str(home / "runs"))
        patch.chdir(home)
        run = train("tiny.yaml", set=SHORT)
        run.evaluate("aer", "aer_shots", samples=4)
        run.noise(scale=[0, 1], shots=["exact", 64], seeds=2, samples=4)
    return run.folder


@pytest.fixture
def run(made, study):
    """The same in a runs folder of the test's own."""
    folder = study / "runs" / made.name
    shutil.copytree(made, folder)
    return open_run(str(folder))


def headings(page) -> list[str]:
    return [text for level, text in page.headings if level == 2]


def test_a_run_is_told_whole_the_verdict_first(run):
    path = run.report()
    assert path == run.folder / "report.html"
    text = path.read_text()
    page = read_page(text)
    assert headings(page) == [name for name in SECTIONS if name != "Folds"]
    assert "could not be drawn" not in text
    assert _DAMAGED not in text
    first = page.texts["main"][0].strip()
    assert first.startswith("Verdict.")
    assert run.verdict in first
    assert len(page.of("img")) == 11
    assert any(table.caption.startswith("Error budget: ") for table in page.tables)
    assert sum("Error budget on" in (picture["alt"] or "") for picture in page.of("img")) == 1
    metrics = page.tables[0]
    assert [row[0] for row in metrics.rows[:2]] == ["model", "last-value forecast (strongest baseline)"]


def test_a_folder_and_the_model_that_it_holds_have_one_diagram(run):
    assert diagram_of_run(RunFolder(run.folder), run.read()) == diagram_of(run._experiment)


def test_a_run_counts_the_angles_of_its_circuit_on_the_validation_split(run):
    angles = run.read().angles
    counts = np.array(angles.counts)
    assert counts.sum(axis=1).tolist() == [angles.windows] * run.ansatz.num_inputs
    experiment = run._experiment
    seen = circuit_arguments(experiment, encode(experiment, experiment.data.validation))[0]
    edges = np.linspace(-np.pi, np.pi, counts.shape[1] + 1)
    for column, row in zip(seen.T, counts, strict=True):
        assert not row[np.histogram(column, edges)[0] == 0].any()


def test_a_landscape_moves_nothing_and_stands_in_the_report(run, qhq):
    def state():
        numbers = np.random.get_state()[1].tolist()  # noqa: NPY002
        generators = (random.getstate(), numbers, torch.random.get_rng_state().tolist())
        weights = [each.numpy().tobytes() for each in run.model.state_dict().values()]
        return weights, generators, (run.folder / "model.safetensors").read_bytes(), run.model.training

    before, steps = state(), []
    other = run.landscape(points=3, samples=8, seed=1, part="circuit")
    found = run.landscape(points=3, samples=8, progress=lambda *step: steps.append(step))
    assert state() == before
    assert steps
    # What the loss is at the weights does not depend on the directions, and all else does.
    assert found.losses[1][1] == pytest.approx(found.loss)
    assert found.loss == other.loss
    assert found.losses[0] != other.losses[0]
    assert other.parameters == run.ansatz.num_weights < found.parameters
    text = run.report().read_text()
    assert found.says in read_page(text).texts["main"][0]
    assert "could not be drawn" not in text
    with pytest.raises(ConfigError, match="points must be odd"):
        run.landscape(points=4)
    assert "measured for one run" in qhq("report", "a", "b", "--landscape").stderr


def test_writing_a_page_changes_nothing_else_and_runs_no_model(run, monkeypatch):
    """Law: no forward pass, no random number, and no other file of the folder."""

    def state():
        files = (path for path in run.folder.rglob("*") if path.is_file() and path.name != "report.html")
        numbers = np.random.get_state()[1].tolist()  # noqa: NPY002
        generators = (random.getstate(), numbers, torch.random.get_rng_state().tolist())
        return generators, {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}

    def refuse(*_, **__):
        raise AssertionError("a page ran a model")

    monkeypatch.setattr(torch.nn.Module, "__call__", refuse)
    for method in ("expectations", "vjp"):
        monkeypatch.setattr(StatevectorExecutor, method, refuse)
    before = state()
    first = run.report().read_bytes()
    assert b"could not be drawn" not in first
    assert state() == before
    assert run.report().read_bytes() == first


def test_a_symbol_or_a_run_that_is_called_script_stays_text(run, study):
    evil = "<script>alert('x')</script>"
    folder = study / "runs" / "a&b<i>"
    run.folder.rename(folder)
    record = json.loads((folder / "run.json").read_text())
    symbols = record["metrics"]["symbols"]
    symbols[evil] = symbols.pop("AAPL")
    record["design"]["name"] = evil
    record["doctor"] = {"epoch": 2, "healthy": False, "findings": [{"code": evil, "message": evil}]}
    (folder / "run.json").write_text(json.dumps(record))
    table = (folder / "predictions.csv").read_text().replace("AAPL,", f"{evil},")
    (folder / "predictions.csv").write_text(table)
    page = read_page(write_report(folder).read_text())
    assert page.texts["h1"] == ["a&b<i>"]
    assert any(row[0] == evil for table in page.tables for row in table.rows)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "predictions.csv").write_text("symbol,horizon\nA,1\n"),
        lambda folder: (folder / "history.csv").write_text("epoch\n1\n"),
        lambda folder: (folder / "circuit.qpy").write_bytes(b"no circuit"),
        lambda folder: next((folder / "studies").glob("*.json")).write_text('{"rows": 3}'),
        lambda folder: next((folder / "evals").glob("*.json")).write_text("{"),
        lambda folder: (folder / "config.yaml").write_text("a: [b"),
    ],
    ids=["predictions", "history", "circuit", "noise", "evaluation", "config"],
)
def test_a_damaged_file_costs_its_own_part_alone(run, spoil):
    spoil(run.folder)
    page = read_page(run.report().read_text())
    assert {"Metrics", "Doctor", "Provenance"} <= set(headings(page))


def test_several_runs_stand_side_by_side(run, study):
    other = study / "runs" / "other"
    shutil.copytree(run.folder, other)
    path = write_report(run, other)
    assert path == study / "runs" / "report.html"
    page = read_page(path.read_text())
    assert [row[0] for row in page.tables[0].rows] == [run.name, "other"]
    assert "2 runs" in page.texts["main"][0]


def a_copy(run, study, name, skill, **design):
    """A run as another seed or another config would have left it, with a skill of its own."""
    other = study / "runs" / name
    shutil.copytree(run.folder, other)
    record = json.loads((other / "run.json").read_text())
    record["metrics"]["test"]["skill"] = skill
    record["design"] |= design
    record["seed"] = design.get("seed", record["seed"])
    (other / "run.json").write_text(json.dumps(record))
    return other


def verdict_of(*runs) -> str:
    return read_page(write_report(*runs).read_text()).texts["main"][0].split("Nothing here")[0]


def test_the_best_of_several_seeds_is_not_crowned(run, study):
    seeds = [a_copy(run, study, f"own{seed}", skill, seed=seed) for seed, skill in enumerate((-0.1, 0.05, 0))]
    said = verdict_of(*seeds)
    assert "3 runs that differ in the seed alone (own0, own1, own2)" in said
    assert "-1.67 ± 7.64 %" in said
    assert "mean ± standard deviation; -10.00 % to +5.00 %" in said
    assert "chance and no result" in said
    assert "the highest of" not in said


def test_a_baseline_that_is_better_is_named_in_the_verdict(run, study):
    """Skill is over the last value alone: the best of the runs may still lose to another baseline."""
    runs = []
    for place, skill in enumerate((0.05, 0.02)):
        other = a_copy(run, study, f"own{place}", skill, backend=f"b{place}")
        record = json.loads((other / "run.json").read_text())
        record["backend"] = f"b{place}"
        record["metrics"]["baselines"] = {"drift": record["metrics"]["naive"] | {"skill": 0.08}}
        (other / "run.json").write_text(json.dumps(record))
        runs.append(other)
    said = verdict_of(*runs)
    assert "own0 has a skill of +5.00 % over the last value, the highest of 2 runs; the strongest" in said
    assert "is better than all of them, with +8.00 %" in said


def test_errors_that_pool_steps_and_targets_say_so_and_stand_apart_too(run):
    """One MAE of five steps and three targets says of none of them what it is worth."""
    path = run.folder / "predictions.csv"
    table = pd.read_csv(path)
    parts = [("close", 1, 1.0), ("close", 2, 2.0), ("high", 1, 1.0), ("high", 2, 2.0)]
    table = pd.concat([
        table.assign(target=target, horizon=step, forecast=table["actual"] + worse, naive=table["actual"] + 1)
        for target, step, worse in parts
    ])  # fmt: skip
    table.to_csv(path, index=False)
    page = read_page(run.report().read_text())
    (apart,) = (each for each in page.tables if each.caption.endswith("by step and target"))
    assert [row[:2] for row in apart.rows] == [[target, str(step)] for target, step, _ in parts]
    assert [row[-1] for row in apart.rows] == ["+0.00 %", "-100.00 %"] * 2
    assert "pool steps 1 to 2 and the targets close, high" in page.texts["main"][0]
    for caption in ("Skill over time", "Errors", "Changes from the last value", "The newest rows of the"):
        (shown,) = (each for each in page.texts["figcaption"] if each.strip().startswith(caption))
        assert "close one step ahead" in shown


def test_rows_whose_mae_and_skill_disagree_have_a_note_each_beside_its_own_last_value():
    """Rows of other windows have another last value: the first one's is not that of all."""
    rows = [
        ("a", Errors(mae=1.289, skill=0.0212), Errors(mae=1.273)),
        ("b", Errors(mae=1.289, skill=0.0212), Errors(mae=1.4)),
        ("c", Errors(mae=1.2, skill=-0.1), Errors(mae=1.273)),
    ]
    (note,) = pooled_notes(rows)
    assert note.text.startswith("MAE and skill disagree on a, c: MAE is pooled")
    assert [*pooled_notes(rows[1:2])] == []
    (many,) = pooled_notes(rows * 4)
    assert many.text.startswith("MAE and skill disagree on 8 of the 12 rows above: ")
    (method,) = pooled_notes([("aer, none", *rows[0][1:]), rows[0]])
    assert method.text.startswith("MAE and skill disagree on aer, none; a: ")


def test_a_walk_forward_spells_its_config_out_by_dotted_keys():
    record = WalkRecord.model_construct(
        run="w", design={"name": "w", "data": {"split": {"folds": 4}, "targets": ["close"]}}, metrics=None,
        data=Data(fingerprint="0"),
    )  # fmt: skip
    rows = [[key, cell(value).text] for key, value in _design_rows(record)]
    assert rows == [["name", "w"], ["data.split.folds", "4"], ["data.targets", "close"]]


def test_configs_of_many_runs_fit_a_page(run, study):
    """A column a run would be wider than paper: then a row has a value of a key, and who has it."""
    for place in range(5):
        other = study / "runs" / f"other{place}"
        shutil.copytree(run.folder, other)
        record = json.loads((other / "run.json").read_text())
        record["design"]["training"]["epochs"] = 3 + place // 4
        (other / "run.json").write_text(json.dumps(record))
    page = read_page(write_report(str(study / "runs")).read_text())
    (table,) = (each for each in page.tables if each.caption.startswith("Config keys"))
    assert table.columns == ["key", "value", "runs", "which"]
    assert table.rows == [
        ["training.epochs", "2", "1", run.name],
        ["training.epochs", "3", "4", "all others"],
        ["training.epochs", "4", "1", "other4"],
    ]


def test_the_command_says_where_the_page_is(run, qhq, study):
    result = qhq("report", run.name, "--output", "here.html", "--json")
    assert result.exit_code == 0, result.stderr
    record = json.loads(result.stdout)
    assert record["path"] == str(study / "here.html")
    assert record["bytes"] == (study / "here.html").stat().st_size


def test_an_unfinished_run_says_so(run):
    record = json.loads((run.folder / "run.json").read_text())
    record = {key: value for key, value in record.items() if key != "metrics"} | {"status": "running"}
    (run.folder / "run.json").write_text(json.dumps(record))
    assert "not finished" in read_page(run.report().read_text()).texts["main"][0]


def test_a_run_that_kept_its_untrained_model_says_of_what_its_angles_are(run):
    path = run.folder / "run.json"
    content = json.loads(path.read_text())
    reason = "No MAPE: close is a logarithm, whose zero means nothing"
    content["metrics"] |= {"mape_reason": reason}
    content["validation"] |= {"epoch": 0}
    content["begun"] = [value for each in _circuits(_material(run)).values() for value in each]
    path.write_text(json.dumps(content))
    circles, angles = _captioned("ngles", SECTIONS["Training"](_material(run)))
    assert angles.caption == "Angles of the kept, untrained model"
    assert "hollow" not in circles.caption
    assert "trained gates" not in circles.caption
    assert "No gate is anywhere else" in circles.caption
    said = [part.text for part in SECTIONS["Metrics"](_material(run)) if isinstance(part, Paragraph)]
    assert f"{reason}." in said
    (errors,) = _captioned("rrors beside", SECTIONS["Forecasts"](_material(run)))
    assert "percentage errors" not in errors.alt
    assert errors.caption.endswith(f"left out: {reason.removeprefix('No MAPE: ')}.")


def test_several_circuits_are_counted_and_each_angle_names_its_own(run, monkeypatch):
    ((_, weights),) = _circuits(_material(run)).items()
    monkeypatch.setattr("qhq.report.run_page._circuits", lambda material: {"a": weights, "b": weights})
    said, counted, *_ = SECTIONS["Circuit"](_material(run))
    assert "2 circuits of one form" in said.text
    assert {name: cell.text for name, cell in counted.rows}["weights of all of them"] == f"{2 * len(weights)}"
    circles, angles = _captioned("ngles", SECTIONS["Training"](_material(run)))
    assert "of all 2 circuits" in circles.caption
    assert [row[0] for row in angles.rows] == ["a"] * len(weights) + ["b"] * len(weights)


def _captioned(words, parts):
    return [part for part in parts if words in getattr(part, "caption", "")]


def _material(run) -> Material:
    folder = RunFolder(run.folder)
    return Material(folder, folder.read_record())


def test_a_file_that_cannot_be_written_is_an_error(run, study):
    (study / "file").write_text("")
    with pytest.raises(ConfigError, match="The page must be writable"):
        run.report(study / "file" / "page.html")


def test_a_study_has_a_page_alone(run, study):
    place = study / "runs" / "sweeps" / "one"
    place.mkdir(parents=True)
    (place / "sweep.json").write_text("{}")
    with pytest.raises(ConfigError, match="a page of its own"):
        write_report(run, "one")
    with pytest.raises(ConfigError, match="must be given.*sweep.json"):
        write_report("one")
