"""Run folders: whole or not there, found by name, path or as the latest."""

from __future__ import annotations

import json

import pytest

from qhq.errors import ConfigError
from qhq.runs.comparison import run_summary
from qhq.runs.record import RunRecord
from qhq.runs.run_folder import (
    FINISHED,
    RUNNING,
    RunFolder,
    create_run,
    find_run,
    find_unfinished,
    list_runs,
    refers_to_run,
)
from tests.runs.records import MINIMAL


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("QHQ_RUNS_DIR", str(tmp_path / "runs"))
    return tmp_path / "runs"


def make(status=FINISHED, name="study", seed=0) -> RunFolder:
    record = MINIMAL | {"status": status, "seed": seed}
    return create_run(name, seed, lambda folder: folder.write_json("run.json", record))


def test_run_is_found_by_name_path_and_as_the_latest():
    first, second = make(), make(seed=1)
    make(RUNNING)
    assert find_run(first.name).path == first.path
    assert find_run(str(first.path)).path == first.path
    assert find_run(None).path == second.path


def test_run_is_found_by_the_name_of_its_config_and_by_latest():
    first, other = make(), make(name="other-s1")
    last = make(seed=1)
    make(RUNNING)
    assert find_run("study").path == find_run("latest").path == last.path
    assert find_run("other-s1").path == other.path
    assert refers_to_run("study")
    assert refers_to_run("latest")
    assert not refers_to_run("quickstart")
    first.path.rename(first.path.parent / "latest")
    assert find_run("latest").name == "latest"  # a folder that is called so wins


def test_a_configs_name_finds_what_can_go_on_and_says_what_is_not_finished():
    make()
    cut, later = make(RUNNING, name="long"), make(RUNNING, name="other")
    assert find_unfinished("long").path == cut.path
    assert find_unfinished("latest").path == later.path
    assert find_unfinished("study") is find_unfinished("none") is None
    assert refers_to_run("long")
    with pytest.raises(ConfigError, match=f"{cut.name} is not finished.*qhq train --resume .*{cut.name}"):
        find_run("long")
    done = make(name="long")
    assert find_run("long").path == done.path
    assert find_unfinished("long").path == cut.path


def test_names_are_unique_within_one_moment():
    assert len({make().name for _ in range(20)}) == 20


def test_failing_fill_leaves_nothing(runs):
    def fail(folder):
        folder.write_text("config.yaml", "half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        create_run("study", 0, fail)
    assert list(runs.iterdir()) == []


def test_killed_fill_is_no_run(runs):
    (runs / ".new-abc").mkdir(parents=True)
    (runs / ".new-abc" / "run.json").write_text('{"status": "running"}')
    (runs / "rubbish").mkdir()
    (runs / "file").write_text("no run")
    assert list_runs() == []


def test_unknown_run_names_the_nearest():
    run = make()
    with pytest.raises(ConfigError, match=f"run folder.*Did you mean '{run.name}'"):
        find_run(run.name[:-1])


def test_no_run_at_all_says_what_to_do():
    with pytest.raises(ConfigError, match="finished run.*qhq train"):
        find_run(None)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"status": "finished"}'])
def test_damaged_record_is_refused_and_passed_over(content):
    good, bad = make(), make()
    (bad.path / "run.json").write_text(content)
    with pytest.raises(ConfigError, match=r"run\.json"):
        bad.read_record()
    assert find_run(None).path == good.path


def test_unwritable_runs_folder_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("QHQ_RUNS_DIR", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match="runs folder must be writable.*QHQ_RUNS_DIR"):
        make()


def test_run_is_held_by_one_process_at_a_time():
    run = make()
    with run.locked(), pytest.raises(ConfigError, match="one process at a time"), run.locked():
        pass
    with run.locked():
        pass


def test_json_is_written_whole_and_refuses_nan():
    run = make()
    with pytest.raises(ValueError, match="not JSON compliant"):
        run.write_json("run.json", {"status": float("nan")})
    assert json.loads((run.path / "run.json").read_text())["status"] == FINISHED


def test_summary_of_an_unfinished_run_has_no_metrics():
    row = run_summary(RunRecord.model_validate(MINIMAL | {"run": "a", "status": RUNNING}))
    assert (row["run"], row["mae"], row["qubits"]) == ("a", None, None)


WRONG = ("x", 3, [], None, [1, "a"], {})


@pytest.mark.parametrize("key", MINIMAL)
@pytest.mark.parametrize("value", WRONG)
def test_a_key_of_another_type_is_refused_where_it_is_read(key, value):
    good = {"status": ["x"], "backend": ["x"], "seed": [3], "quantum": [None]}.get(key, [{}])
    folder = make()
    folder.write_json("run.json", MINIMAL | {key: value})
    if value in good:
        assert folder.read_record().to_dict()[key] == value
        return
    with pytest.raises(ConfigError, match=rf"'{key}.*run\.json.*compare"):
        folder.read_record()


@pytest.mark.parametrize("key", MINIMAL)
def test_a_key_that_is_missing_is_named(key):
    folder = make()
    folder.write_json("run.json", {name: value for name, value in MINIMAL.items() if name != key})
    with pytest.raises(ConfigError, match=rf"'{key}' must be given.*run\.json"):
        folder.read_record()


def test_keys_of_another_version_are_kept_at_any_depth():
    folder = make()
    later = MINIMAL | {"later": {"a": [1]}, "schema_version": 99, "data": {"fingerprint": "f", "new": 1}}
    folder.write_json("run.json", later)
    folder.write_record(folder.read_record().updated(status=RUNNING))
    assert folder.read_record().to_dict() == later | {"status": RUNNING, "run": folder.name}
