"""What a sweep's YAML may say, and what becomes of it."""

from __future__ import annotations

import pytest

from qhq.documents import validate
from qhq.errors import ConfigError
from qhq.experiment.config import ExperimentConfig
from qhq.studies.sweep.design import change, look_up
from qhq.studies.sweep.proposals import Proposals
from qhq.studies.sweep.spec import StageSpec, SweepSpec, load_sweep
from qhq.studies.sweep.work import digest


def stage(**keys) -> StageSpec:
    return validate(StageSpec, {"name": "one", **keys}, "test")


def test_a_grid_has_every_point_once():
    grid = list(
        stage(space={"quantum.qubits": [2, 3], "model.skip": ["none", "add", "concat"]}).points.grid()
    )
    assert len(grid) == 6 == len({tuple(point.items()) for point in grid})


def test_a_label_stands_for_its_value():
    options = {
        "choices": {"1": [{"kind": "rotations", "gates": "RY"}], "3": [{"kind": "rotations", "gates": "Rot"}]}
    }
    space = stage(space={"quantum.overrides.blocks": options}).points
    changed = [change(ExperimentConfig(), space.changes(point), "test") for point in space.grid()]
    assert [each.quantum.overrides["blocks"][0]["gates"] for each in changed] == ["RY", "Rot"]


def test_stacks_are_every_mixture_once():
    stacks = {"layers": [1, 3], "units": ["lstm", "lstm gru"], "hidden": [8]}
    labels = stage(space={"model.recurrent": {"stacks": stacks}}).space["model.recurrent"].values
    assert labels == ("lstm x1 8", "lstm x3 8", "lstm-gru-lstm 8")


def test_whole_ranges_with_steps_and_ranges_on_a_logarithm():
    space = stage(
        space={"a": {"low": 1, "high": 7, "step": 3}, "b": {"low": 1e-4, "high": 1e-1, "log": True}},
        search="random",
        trials=5,
    ).space
    assert space["a"].values == (1, 4, 7)
    assert space["b"].values is None


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        ({"space": {}}, "space"),
        ({"space": {"a": []}}, "at least 1 item"),
        ({"space": {"a": {"low": 2, "high": 1}}}, "low must be below high"),
        ({"space": {"a": {"low": 0, "high": 1, "log": True}}}, "log needs low above 0"),
        ({"space": {"a": {"low": 0.0, "high": 1.0}}}, "a grid needs a list"),
        ({"space": {"a": [1]}, "trials": 3}, "trials must be given for"),
        ({"space": {"a": [1]}, "search": "tpe"}, "trials must be given for"),
        ({"space": {"a": [1]}, "prune": {"at": [2, 1]}}, "epochs must rise"),
        ({"space": {"a": {"stacks": {"layers": [1], "units": ["lstn"]}}}}, "lstn"),
    ],
)
def test_what_makes_no_stage_is_refused(keys, word):
    with pytest.raises(ConfigError, match=word):
        stage(**keys)


def test_stages_need_different_names():
    one = {"name": "one", "space": {"seed": [1]}}
    with pytest.raises(ConfigError, match="different names"):
        validate(SweepSpec, {"stages": [one, one]}, "test")


def test_an_unknown_key_names_the_nearest():
    with pytest.raises(ConfigError, match="learning_rate"):
        change(ExperimentConfig(), {"training.lerning_rate": 0.1}, "stage one")


def test_a_digest_leaves_out_seed_and_name_alone():
    config = ExperimentConfig()
    same = config.model_copy(update={"seed": 7, "name": "other"})
    assert digest(config) == digest(same) != digest(change(config, {"training.epochs": 3}, "test"))


def test_a_key_that_is_not_there_has_no_value():
    assert look_up(ExperimentConfig(), "quantum.overrides.blocks") is None
    assert look_up(ExperimentConfig(), "training.epochs") == ExperimentConfig().training.epochs


@pytest.mark.parametrize("search", ["tpe", "random"])
def test_proposals_begin_with_where_the_stage_starts_and_repeat(search):
    keys = {
        "space": {"a": {"low": 0.0, "high": 1.0}, "b": ["x", "y"]},
        "search": search,
        "trials": 7,
        "round": 3,
    }

    def propose() -> list[dict]:
        proposals, points = Proposals(stage(**keys), 5, {"a": 0.5, "b": "y"}), []
        for proposed in proposals.rounds():
            points += [each.point for each in proposed]
            for each in proposed:
                proposals.tell(each, each.point["a"])
        return points

    points = propose()
    assert len(points) == 7
    assert points[0] == {"a": 0.5, "b": "y"}
    assert points == propose()


def test_halving_keeps_the_better_half_and_median_gives_up_the_worse():
    keys = {"space": {"a": {"low": 0, "high": 7}}, "prune": {"kind": "halving", "at": [1, 2]}}
    proposals = Proposals(stage(**keys), 0, None)
    (proposed,) = proposals.rounds()
    given_up = [proposals.give_up(each, float(each.point["a"]), 1) for each in proposed]
    assert not given_up[0]
    assert sum(given_up) >= len(proposed) // 2


def test_the_shipped_sweep_is_read_with_its_experiment(study):
    spec, config = load_sweep("experiments/staged", ["seeds=2"])
    assert [stage.name for stage in spec.stages] == ["circuit", "architecture", "activations", "training"]
    assert sum(1 for _ in spec.stages[0].points.grid()) == 105
    assert spec.seeds == 2
    assert config.name == "quickstart"


def test_an_experiment_may_lie_beside_the_sweep(study):
    (study / "part").mkdir()
    (study / "part" / "mine.yaml").write_text("name: mine\n")
    (study / "part" / "config.yaml").write_text(
        "experiment: mine.yaml\nstages: [{name: a, space: {seed: [1]}}]\n"
    )
    assert load_sweep("part")[1].name == "mine"


def test_a_missing_sweep_says_what_to_do(study):
    with pytest.raises(ConfigError, match="experiments/staged"):
        load_sweep("nowhere.yaml")
