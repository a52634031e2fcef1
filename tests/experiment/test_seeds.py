"""Runs of several seeds at once: each is the run that its seed alone gives, also after a kill."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from qhq.errors import ConfigError
from qhq.experiment.config import load_config
from qhq.experiment.fit import why_alone
from qhq.experiment.run import train_run
from qhq.experiment.seeds import resume_seeds, train_seeds
from qhq.runs.run_folder import FINISHED, RunFolder
from qhq.runs.seeds import tabulate_seeds, trained_together
from qhq.training.loop import Watcher


class Stop(Exception):
    pass


class Log(Watcher):
    """Remembers what was said, and may stop while an epoch of a seed is kept."""

    def __init__(self, after: int | None = None) -> None:
        self.notes: list[str] = []
        self.epochs: list[tuple[int, int]] = []
        self.seed, self.after = -1, after

    def note(self, text: str) -> None:
        self.notes.append(text)

    def seed_begins(self, seed: int) -> None:
        self.seed = seed

    def epoch_done(self, state) -> None:
        self.epochs.append((self.seed, state.epoch))
        if len(self.epochs) == self.after:
            raise Stop


def config_of(study, *changes):
    return load_config(str(study / "tiny.yaml"), ["training.seeds=3", *changes])


def results(folder: RunFolder):
    record = folder.read_record()
    return record.metrics.test.row(), record.best_epoch, folder.file("predictions.csv").read_text()


def weights(folder: RunFolder) -> bytes:
    return folder.weights.read_bytes()


def test_each_seed_has_the_run_that_it_has_alone(study):
    config, log = config_of(study, "training.seeds=2"), Log()
    folders = train_seeds(config, log)
    assert [each.read_record().seed for each in folders] == [1, 2]
    assert log.epochs == [(seed, epoch) for epoch in (1, 2) for seed in (1, 2)]
    folder = folders[1]
    record, own = folder.read_record(), load_config(str(folder.config))
    assert own == config.of_seed(2), "its config is that of one run"
    alone = train_run(own, Watcher()).read_record()
    assert (record.status, record.best_epoch, record.epochs) == (FINISHED, alone.best_epoch, alone.epochs)
    np.testing.assert_allclose(record.validation_loss, alone.validation_loss, rtol=1e-5)
    for key, value in alone.metrics.test.row().items():
        np.testing.assert_allclose(getattr(record.metrics.test, key), value, rtol=1e-5, err_msg=key)
    assert trained_together(folder) == folders
    table = tabulate_seeds(folders)
    maes = [each.read_record().metrics.test.mae for each in folders]
    np.testing.assert_allclose([table.mean["mae"], table.sd["mae"]], [np.mean(maes), np.std(maes, ddof=1)])
    assert table.last_value["mae"] == folders[0].read_record().metrics.naive.mae
    assert tabulate_seeds(folders[:1]) is None


def test_after_a_kill_all_go_on_bit_for_bit(study):
    config = config_of(study)
    whole = train_seeds(config, Watcher())
    with pytest.raises(Stop):
        # Of two seeds the second epoch is on disk, of the third it is not.
        train_seeds(config, Log(after=5))
    cut = [RunFolder(path.parent) for path in sorted((study / "runs").glob("*/run.json"))]
    cut = [each for each in cut if each not in whole]
    # The first of them may be gone, too: it keeps its place.
    elsewhere = [RunFolder(shutil.copytree(each.path, study / "others" / each.name)) for each in cut[1:]]
    for some, before in ((cut, whole), (elsewhere, whole[1:])):
        log = Log()
        again = resume_seeds(trained_together(some[-1]), log)
        assert again == some
        assert log.epochs == [(3, 2)]
        for one, other in zip(before, again, strict=True):
            assert weights(one) == weights(other)
            assert results(one) == results(other)
    resume_seeds(cut, log)
    assert "nothing is left to train" in log.notes[-1]


def test_what_cannot_be_stacked_is_trained_one_after_another(study):
    log = Log()
    folders = train_seeds(config_of(study, "model.dropout=0.1", "training.epochs=1", "training.seeds=2"), log)
    assert "one after another: model.dropout" in " ".join(log.notes)
    assert log.epochs == [(1, 1), (2, 1)]
    assert all(each.read_record().status == FINISHED for each in folders)


def test_a_seed_that_fails_takes_no_other_with_it(study, monkeypatch):
    def fail(*_, **__):
        raise ConfigError("The loss must stay a finite number", got="nan", fix="Lower the rate")

    monkeypatch.setattr("qhq.training.stack.finite", fail)
    log = Log()
    folders = train_seeds(config_of(study, "training.epochs=1", "training.seeds=2"), log)
    assert "one after another" in " ".join(log.notes)
    assert all(each.read_record().status == FINISHED for each in folders)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("model.recurrent=[{unit: tcn, hidden: 4}]", "tcn"),
        ("model.recurrent=[{unit: qlstm, hidden: 2}]", "one circuit or none"),
        ("model.dropout=0.2", "dropout"),
        ("training.dtype=float64", "float32"),
        ("training.optimizer=lbfgs", "lbfgs"),
        ("training.schedule=plateau", "plateau"),
        ("backend=aer_shots", "drawn"),
        ("model={kind: features}", "reference model"),
        ("model.circuits={arrange: parallel}", "one circuit or none"),
        ("model.encoder=none", ""),
        ("quantum=null", ""),
    ],
)
def test_why_seeds_are_trained_alone_is_known_before_anything_is_opened(study, change, says):
    found = why_alone(config_of(study, change, "training.seeds=1"))
    assert says in found
    assert bool(says) == bool(found)


def test_a_config_names_no_seed_beyond_the_last(study):
    with pytest.raises(ConfigError, match="training.seeds"):
        config_of(study, f"seed={2**63 - 2}")


def test_the_command_gives_one_table_of_all_seeds(qhq, study):
    found = qhq("train", "tiny.yaml", "--set", "training.seeds=2", "--set", "training.epochs=1", "--json")
    content = json.loads(found.stdout)
    assert (content["seed"], [row["seed"] for row in content["seeds"]["rows"]]) == (1, [1, 2])
    assert content["seeds"]["rows"][0]["run"] == content["run"]
    assert content["seeds"]["strongest"]["mae"] <= content["seeds"]["last_value"]["mae"]
    assert "2 seeds" in content["seeds"]["verdict"]
