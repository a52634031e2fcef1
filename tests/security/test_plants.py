"""Nothing outside a folder is read or written by way of what stands in it: a table of plants, each tried.

A folder that somebody else made (a run, a sweep, a recording, a circuit with its includes) can hold links,
paths in its files and names that lead elsewhere. After each attempt the place outside is as it was, and
nothing of its content was said or copied.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
from ruamel.yaml import YAML

from qhq.data.recording import ChainStore
from qhq.errors import QHQError
from qhq.experiment.config import load_config
from qhq.experiment.run import train_run
from qhq.report.figures import draw_run_figures
from qhq.runs.mirror_entry import Memory, Unit, recall, remember
from qhq.runs.mirror_store import MirrorStore
from qhq.runs.run_folder import RunFolder, is_run_name
from qhq.studies.runner.study import Store as CellStore
from qhq.studies.sweep.final import Finals
from qhq.studies.sweep.trials import TrialStore
from qhq.training.loop import Watcher
from tests.conftest import TINY
from tests.data.chains import make_chain

SECRET = "5ECRET"
QUICK = ["training.epochs=1", "data.start=2012-09-01", "data.symbols=[AAPL]"]


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A finished run, which the tests copy."""
    folder = tmp_path_factory.mktemp("maker")
    (folder / "tiny.yaml").write_text(TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QHQ_RUNS_DIR", str(folder / "runs"))
        return train_run(load_config(str(folder / "tiny.yaml"), QUICK), Watcher()).path


@dataclass
class Scene:
    """A run of somebody else in the user's runs folder, and a place outside with files of the user."""

    run: Path
    outside: Path
    qhq: object

    def link(self, name, target=None):
        """Put a link in the place of a file of the run; what it leads to is outside, and a copy of it."""
        path = self.run / name
        target = self.outside / (target or path.name)
        if path.is_file() and not target.exists():
            shutil.copy(path, target)
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        path.parent.mkdir(exist_ok=True)
        path.symlink_to(target)

    def say(self, key, value, name="config.yaml"):
        """Have a file of the run say something else."""
        path = self.run / name
        yaml = YAML(typ="safe", pure=True)
        content = json.loads(path.read_text()) if name.endswith(".json") else yaml.load(path.read_text())
        *above, last = key.split(".")
        place = content
        for each in above:
            place = place[each] if place.get(each) is not None else place.setdefault(each, {})
        place[last] = value
        path.write_text(json.dumps(content))

    def state(self):
        """All that lies outside: names, sizes, times and content."""
        return {
            str(path): (path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
            for path in sorted(self.outside.rglob("*"))
        }


@pytest.fixture
def scene(original, study, qhq, tmp_path_factory, monkeypatch):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.csv").write_text(f"date,symbol,{SECRET}\n2020-01-01,{SECRET},{SECRET}\n")
    (outside / "secret.txt").write_text(SECRET)
    (outside / "secret.yaml").write_text(f"qubits: 3\ndescription: {SECRET}\n")
    (outside / "folder").mkdir()
    (outside / "folder" / "kept.txt").write_text(SECRET)
    monkeypatch.setenv("HOME", str(outside))
    monkeypatch.setenv("OUTSIDE", str(outside))
    run = study / "runs" / original.name
    shutil.copytree(original, run)
    return Scene(run, outside, qhq)


def cut_off(scene):
    scene.say("status", "running", "run.json")


def on_path(path):
    """A config whose prices lie at a path; {outside} in it is the place outside."""

    def plant(scene):
        scene.say("data.source", "csv")
        scene.say("data.path", path.format(outside=scene.outside))

    return plant


def fifo(scene):
    os.mkfifo(scene.outside / "pipe")
    on_path("{outside}/pipe")(scene)


def to_cut_off(plant):
    return lambda scene: (cut_off(scene), plant(scene))


def linked(name, target=None):
    return lambda scene: scene.link(name, target)


def by_steps(scene):
    """A link to a link inside, which leads out."""
    scene.link("config.yaml")
    (scene.run / "config.yaml").rename(scene.run / "other.yaml")
    (scene.run / "config.yaml").symlink_to("other.yaml")


def upwards(scene):
    shutil.copy(scene.run / "config.yaml", scene.outside / "config.yaml")
    (scene.run / "config.yaml").unlink()
    (scene.run / "config.yaml").symlink_to(os.path.relpath(scene.outside / "config.yaml", scene.run))


def to_itself(scene):
    (scene.run / "config.yaml").unlink()
    (scene.run / "config.yaml").symlink_to("config.yaml")


def by_override(scene):
    scene.say("quantum.overrides", {"file": {"path": str(scene.outside / "x.qasm"), "inputs": "x"}})


def by_snapshot(scene):
    cut_off(scene)
    entry = {
        "name": "mine",
        "kind": "aer",
        "shots": 16,
        "noise": {"snapshot": str(scene.outside / "secret.txt")},
    }
    scene.say("backend_entry", entry, "run.json")


EVAL = ("eval", "RUN", "--backend", "statevector", "--samples", "4")
NOISE = ("noise", "RUN", "--samples", "2", "--seeds", "2", "--scale", "0", "--shots", "8")
RESUME, DOCTOR, COMPARE = ("train", "--resume", "RUN"), ("doctor", "RUN"), ("compare", "RUN")
ABLATE = ("ablate", "RUN", "--seeds", "1")
REFUSED = {
    "config.yaml is a link": (linked("config.yaml"), DOCTOR, 2),
    "config.yaml is a link upwards": (upwards, EVAL, 2),
    "config.yaml is a link to a link": (by_steps, EVAL, 2),
    "config.yaml is a link to itself": (to_itself, DOCTOR, 2),
    "config.yaml links a text": (linked("config.yaml", "secret.txt"), ABLATE, 2),
    "run.json is a link": (linked("run.json"), COMPARE, 0),
    "run.json is a link, noise": (linked("run.json"), NOISE, 2),
    "run.json links a device": (linked("run.json", "/dev/zero"), COMPARE, 0),
    "run.json links the environment": (linked("run.json", "/proc/self/environ"), DOCTOR, 2),
    "run.json links a text": (linked("run.json", "secret.txt"), COMPARE, 0),
    "weights are a link": (linked("model.safetensors"), EVAL, 2),
    "the state is a link, doctor": (linked("resume.pt"), DOCTOR, 2),
    "the circuit is a link": (linked("circuit.qpy"), EVAL, 2),
    "the circuit is a link, ablate": (linked("circuit.qpy"), ABLATE, 2),
    "the state is a link": (to_cut_off(linked("resume.pt")), RESUME, 2),
    "forecasts are a link": (linked("predictions.csv"), (*EVAL, "--since", "2013-01-02"), 2),
    "the lock is a link": (to_cut_off(linked(".lock", "secret.txt")), RESUME, 2),
    "evals is a link": (linked("evals", "folder"), EVAL, 2),
    "studies is a link": (linked("studies", "folder"), NOISE, 2),
    "prices by an absolute path": (on_path("{outside}/secret.csv"), DOCTOR, 3),
    "prices by an absolute path, eval": (on_path("{outside}/secret.csv"), EVAL, 3),
    "prices by an absolute path, noise": (on_path("{outside}/secret.csv"), NOISE, 3),
    "prices by an absolute path, ablate": (on_path("{outside}/secret.csv"), ABLATE, 3),
    "prices by an absolute path, resume": (to_cut_off(on_path("{outside}/secret.csv")), RESUME, 3),
    "prices by an absolute path, another seed": (
        on_path("{outside}/secret.csv"), (*DOCTOR, "--set", "seed=3"), 3,
    ),
    "prices by steps upwards": (on_path("../../../../../../../../../..{outside}/secret.csv"), DOCTOR, 3),
    "prices at home": (on_path("~/secret.csv"), DOCTOR, 3),
    "prices by a variable": (on_path("$OUTSIDE/secret.csv"), DOCTOR, 3),
    "prices by file://": (on_path("file://{outside}/secret.csv"), DOCTOR, 3),
    "prices by http://": (on_path("http://127.0.0.1:9/secret.csv"), DOCTOR, 3),
    "prices on a share": (on_path("//host/share/secret.csv"), DOCTOR, 3),
    "prices on a share of Windows": (on_path(r"\\\\host\\share\\secret.csv"), DOCTOR, 3),
    "prices in a device of Windows": (on_path("NUL"), DOCTOR, 3),
    "prices in a FIFO": (fifo, DOCTOR, 3),
    "prices in a device": (on_path("/dev/zero"), DOCTOR, 3),
    "prices in the environment": (on_path("/proc/self/environ"), DOCTOR, 3),
    "prices in a text": (on_path("{outside}/secret.txt"), EVAL, 3),
    "prices in a folder": (on_path("{outside}/folder"), DOCTOR, 3),
    "prices under a name of 5,000 letters": (on_path("/" + "a" * 5000), DOCTOR, None),
    "prices under a name with a NUL": (on_path("a\0b.csv"), DOCTOR, None),
    "a circuit's file by its path": (
        lambda scene: scene.say("quantum.ansatz", str(scene.outside / "secret.yaml")),
        (*DOCTOR, "--set", "quantum.qubits=3"), 2,
    ),
    "a circuit's file by an override": (by_override, (*DOCTOR, "--set", "quantum.depth=1"), 2),
    "a snapshot in the entry of a backend": (by_snapshot, RESUME, 2),
    "a name that leads out": (lambda scene: scene.say("name", "../../x"), DOCTOR, 2),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_plant_in_a_run_is_refused(scene, name):
    plant, words, status = REFUSED[name]
    plant(scene)
    before = scene.state()
    result = scene.qhq(*(str(scene.run) if word == "RUN" else word for word in words))
    assert result.exit_code in ({2, 3} if status is None else {status}), result.output
    assert SECRET not in result.output
    assert scene.state() == before
    assert not any(SECRET in path.read_text(errors="replace") for path in written(scene.run))


def written(run):
    return [path for path in run.rglob("*") if path.is_file() and not path.is_symlink()]


def every_figure(scene):
    notes = []
    try:
        draw_run_figures(RunFolder(scene.run), notes.append)
    except QHQError as error:
        notes.append(str(error))
    return notes


def figures_folder(scene):
    scene.link("figures", "folder")
    assert "leads out" in str(every_figure(scene))


def a_figure(scene):
    scene.link("figures/history.png", "secret.txt")
    assert "leads out" in str(every_figure(scene))


def a_table_behind_a_figure(scene):
    scene.link("history.csv", "secret.csv")
    assert "leads out" in str(every_figure(scene))


def results_under_two_names(scene):
    (scene.run / "studies").mkdir()
    os.link(scene.outside / "secret.txt", scene.run / "studies" / "noise-x.jsonl")
    with pytest.raises(QHQError, match="several names"):
        CellStore(RunFolder(scene.run).file("studies/noise-x.jsonl")).append("a", {"b": 1})


def a_record_under_two_names(scene):
    (scene.outside / "other.json").write_text("{}")
    (scene.run / "mlflow.json").unlink(missing_ok=True)
    os.link(scene.outside / "other.json", scene.run / "mlflow.json")
    kept = scene.outside / "other.json"
    remember(Unit(scene.run, "run.json", "train"), "store", Memory("a", "b"))
    assert kept.read_text() == "{}"


def the_mirrors_memory(scene):
    (scene.outside / "other.json").write_text('{"run.json": {"store": {"run_id": "theirs"}}}')
    scene.link("mlflow.json", "other.json")
    assert recall(Unit(scene.run, "run.json", "train"), "store") == Memory()
    with pytest.raises(QHQError, match="leads out"):
        remember(Unit(scene.run, "run.json", "train"), "store", Memory("a", "b"))


def a_run_that_the_mirror_remembers(scene):
    theirs = SimpleNamespace(
        info=SimpleNamespace(run_id="theirs", lifecycle_stage="active"),
        data=SimpleNamespace(tags={"qhq.identity": "another"}, params={"a": "b"}),
    )
    asked = []
    client = SimpleNamespace(
        get_run=lambda _: theirs, search_runs=lambda *_, **__: [], delete_run=asked.append
    )
    entry = SimpleNamespace(tags={"qhq.identity": "mine"}, params={})
    assert MirrorStore(client, "0", "key").find("theirs", entry) is None
    assert asked == []


def what_the_mirror_copies(scene):
    for name in ("evals/x.json", "figures/x.png", "config.yaml", "report.html"):
        scene.link(name, "secret.txt")
    os.link(scene.outside / "secret.txt", scene.run / "figures" / "y.png")
    names = {path.name for path in Unit(scene.run, "run.json", "train").files()}
    assert not names & {"x.json", "x.png", "y.png", "config.yaml", "report.html"}


def a_list_of_all_runs(scene):
    scene.link("run.json", "secret.txt")
    result = scene.qhq("compare")
    assert SECRET not in result.output
    assert scene.run.name not in result.stdout


def the_name_of_a_run(scene):
    scene.say("run", f"../../{SECRET}", "run.json")
    result = scene.qhq("compare", "--json")
    assert [row["run"] for row in json.loads(result.stdout)["rows"]] == [scene.run.name]


def sweep_of(scene):
    folder = scene.run.parent / "sweeps" / "s"
    folder.mkdir(parents=True)
    return folder, TrialStore(RunFolder(folder))


def trials_in_hand(scene):
    folder, store = sweep_of(scene)
    (folder / "working").symlink_to(scene.outside / "folder")
    with pytest.raises(QHQError, match="leads out"):
        store.stale()


def legs_of_a_trial(scene):
    folder, store = sweep_of(scene)
    (folder / "legs").mkdir()
    (folder / "legs" / "t-e1").symlink_to(scene.outside / "folder")
    with pytest.raises(QHQError, match="leads out"):
        store._strip("t")


def a_state_of_a_leg(scene):
    folder, store = sweep_of(scene)
    (folder / "legs" / "t-e1").mkdir(parents=True)
    (folder / "legs" / "t-e1" / "resume.pt").symlink_to(scene.outside / "secret.txt")
    with pytest.raises(QHQError, match="leads out"):
        store.hand_out(SimpleNamespace(name="t"))


def a_trial(scene):
    folder, store = sweep_of(scene)
    (folder / "trials").mkdir()
    (folder / "trials" / "t").symlink_to(scene.outside / "folder")
    with pytest.raises(QHQError, match="leads out"):
        store.find({"t": SimpleNamespace(name="t", until=None, kind="trial")})


def names_of_final_runs(scene):
    folder, store = sweep_of(scene)
    (folder / "final.json").write_text(json.dumps({"k": "../../outside/x", "l": "/tmp/x", "m": 3}))
    configs = {"winner": load_config(str(scene.run / "config.yaml"))}
    names, _ = Finals(configs, range(1), store).plan_names()
    assert all(map(is_run_name, names["winner"]))
    assert set(json.loads((folder / "final.json").read_text()).values()) == set(names["winner"])
    assert not any(map(is_run_name, ("../x", "/x", "a/b", ".x", "", None, "20260101-000000-a/../b", "x\0")))
    assert is_run_name(scene.run.name)


def a_recorded_session(scene):
    store = ChainStore(scene.run.parent / "chains")
    path = store.append([make_chain()])[0].path
    shutil.move(path, scene.outside / "theirs.parquet")
    path.symlink_to(scene.outside / "theirs.parquet")
    with pytest.raises(QHQError, match="leads out"):
        store.read(["AAPL"])


def a_folder_of_sessions(scene):
    store = ChainStore(scene.run.parent / "chains")
    store.append([make_chain()])
    shutil.move(store.root / "AAPL", scene.outside / "AAPL")
    (store.root / "AAPL").symlink_to(scene.outside / "AAPL")
    before = scene.state()
    with pytest.raises(QHQError, match="leads out"):
        store.read(["AAPL"])
    with pytest.raises(QHQError, match="leads out"):
        store.append([make_chain(bid=9.0)])
    assert scene.state() == before


def includes(version, form):
    def plant(scene):
        (scene.outside / "x.inc").write_text(SECRET)
        folder = scene.run.parent / "given"
        folder.mkdir()
        (folder / "linked.inc").symlink_to(scene.outside / "x.inc")
        name = form.format(outside=scene.outside, up=os.path.relpath(scene.outside, folder))
        (folder / "c.qasm").write_text(f'OPENQASM {version};\ninclude "{name}";\nqubit[1] q;\n')
        (folder / "own.yaml").write_text("qubits: 1\nfile: {path: c.qasm, weights: angles}\n")
        for words in (("info",), ("draw",), ("export", "--format", "qasm3")):
            result = scene.qhq("circuit", words[0], str(folder / "own.yaml"), *words[1:])
            assert result.exit_code == 2
            assert "leads out" in " ".join(result.stderr.split())
            assert SECRET not in result.output

    return plant


HELD = {
    "figures is a link": figures_folder,
    "a figure is a link": a_figure,
    "a table behind a figure is a link": a_table_behind_a_figure,
    "results under two names": results_under_two_names,
    "a record under two names": a_record_under_two_names,
    "the mirror's memory is a link": the_mirrors_memory,
    "the mirror remembers another's run": a_run_that_the_mirror_remembers,
    "the mirror meets links of four kinds": what_the_mirror_copies,
    "a record is a link, among all runs": a_list_of_all_runs,
    "a run calls itself elsewhere": the_name_of_a_run,
    "trials in hand lie elsewhere": trials_in_hand,
    "a leg lies elsewhere": legs_of_a_trial,
    "the state of a leg lies elsewhere": a_state_of_a_leg,
    "a trial lies elsewhere": a_trial,
    "final runs are named elsewhere": names_of_final_runs,
    "a recorded session is a link": a_recorded_session,
    "a folder of sessions is a link": a_folder_of_sessions,
    "OpenQASM 3 includes an absolute path": includes("3.0", "{outside}/x.inc"),
    "OpenQASM 3 includes steps upwards": includes("3.0", "{up}/x.inc"),
    "OpenQASM 3 includes a link": includes("3.0", "linked.inc"),
    "OpenQASM 2 includes an absolute path": includes("2.0", "{outside}/x.inc"),
    "OpenQASM 2 includes steps upwards": includes("2.0", "{up}/x.inc"),
    "OpenQASM 2 includes a link": includes("2.0", "linked.inc"),
}


@pytest.mark.parametrize("name", HELD)
def test_a_plant_elsewhere_is_refused_or_has_no_effect(scene, name):
    before = scene.state()
    HELD[name](scene)
    after = scene.state()
    assert {path: after.get(path) for path in before} == before


def test_there_are_at_least_forty_plants():
    assert len(REFUSED) + len(HELD) >= 40


def test_a_link_inside_a_folder_is_followed(scene):
    (scene.run / "config.yaml").rename(scene.run / "mine.yaml")
    (scene.run / "config.yaml").symlink_to("mine.yaml")
    assert scene.qhq("doctor", str(scene.run)).exit_code in (0, 1)


def test_a_runs_folder_may_be_a_link_itself(scene, study):
    shutil.move(scene.run, scene.outside / "run")
    scene.run.symlink_to(scene.outside / "run")
    assert scene.qhq("compare", scene.run.name).exit_code == 0
