"""What a sweep's YAML may say, and what becomes of it."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qhq.documents import validate
from qhq.errors import ConfigError
from qhq.experiment.config import ExperimentConfig
from qhq.studies.runner.reproducible import digest
from qhq.studies.sweep.spec import Range, StageSpec, SweepSpec, change, load_sweep, look_up
from qhq.studies.sweep.stage import PlannedStage, Proposals, _incumbent


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


# Ranges: the numbers that a person has written


@pytest.mark.parametrize(
    ("low", "high", "step", "numbers"),
    [
        (0.0, 0.3, 0.1, (0.0, 0.1, 0.2, 0.3)),
        (0, 0.3, 0.1, (0.0, 0.1, 0.2, 0.3)),
        (0.1, 0.7, 0.2, (0.1, 0.3, 0.5, 0.7)),
        (0.8, 1.0, 0.1, (0.8, 0.9, 1.0)),
        (1e-5, 5e-5, 1e-5, (1e-5, 2e-5, 3e-5, 4e-5, 5e-5)),
        (-0.3, 0.3, 0.1, (-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3)),
        (0.0, 1.0, 0.3, (0.0, 0.3, 0.6, 0.9)),
        (1.0, 2.0, 5.0, (1.0,)),
        (1, 2, 0.5, (1.0, 1.5, 2.0)),
        (10, 40, 10, (10, 20, 30, 40)),
        (10, 45, 10, (10, 20, 30, 40)),
        (-3, 3, None, (-3, -2, -1, 0, 1, 2, 3)),
    ],
)
@pytest.mark.parametrize("search", ["grid", "tpe", "random"])
def test_a_range_tries_the_numbers_that_were_written_and_no_others(low, high, step, numbers, search):
    options = {"low": low, "high": high} | ({} if step is None else {"step": step})
    more = {} if search == "grid" else {"search": search, "trials": 30}
    one = stage(space={"a": options}, **more)
    assert one.space["a"].values == numbers
    assert [type(each) for each in one.space["a"].values] == [type(each) for each in numbers]
    proposals = Proposals(one, 0, {"a": numbers[-1]} if more else None)
    found = []
    for proposed in proposals.rounds():
        found += [each.point["a"] for each in proposed]
        for each in proposed:
            proposals.tell(each, float(each.point["a"]))
    assert set(found) <= set(numbers)
    assert found == list(numbers) if search == "grid" else found[0] == numbers[-1]
    for number in numbers:
        assert one.space["a"].label_of(number) == number
    assert one.space["a"].label_of(high + 1) is None


@given(
    st.decimals(-100, 100, places=3),
    st.decimals("0.001", 10, places=3),
    st.integers(1, 60),
    st.integers(-6, 6),
)
def test_a_range_ends_at_its_high_and_holds_every_written_number(low, step, count, power):
    unit = Decimal(10) ** power
    written = [float((low + index * step) * unit) for index in range(count + 1)]
    options = Range(low=written[0], high=written[-1], step=float(step * unit))
    assert options.values == tuple(written)
    assert options.last == written[-1]
    # What floating point adds up to is the same number, written worse.
    for index, number in enumerate(written):
        assert options.label_of(written[0] + index * float(step * unit)) in (number, None)
        assert options.label_of(number) == number


def test_a_range_of_very_many_numbers_is_not_listed():
    whole, fine = Range(low=1, high=10**12), Range(low=0.0, high=1.0, step=1e-9)
    assert (whole.values, fine.values) == (None, None)
    assert (whole.label_of(10**9), fine.label_of(0.123456789)) == (10**9, 0.123456789)
    assert whole.label_of(1.5) is None
    with pytest.raises(ConfigError, match="larger"):
        stage(space={"a": {"low": 1, "high": 10**12}})


def test_a_step_down_is_refused_with_how_to_be_written():
    with pytest.raises(ConfigError, match="step must be above 0, not -0.1: it goes from low up to high"):
        stage(space={"a": {"low": 0.0, "high": 0.3, "step": -0.1}})


# Choices: what is written differently is not the same


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        (["1", 1], ['"1"', "1"]),
        ([True, 1], ["true", "1"]),
        ([1, 1.0], ["1", "1.0"]),
        ([None, "null"], ["null", '"null"']),
        (["true", True, "false"], ['"true"', "true", "false"]),
        ([[1, 2], [1.0, 2], "[1, 2]"], ["[1, 2]", "[1.0, 2]", '"[1, 2]"']),
        ([{"a": 1}, {"a": True}, {"a": "1"}], ['{"a": 1}', '{"a": true}', '{"a": "1"}']),
        (["gru", "lstm"], ["gru", "lstm"]),
    ],
)
def test_choices_do_not_collapse(values, labels):
    listed = stage(space={"a": values}).space["a"]
    assert list(listed.values) == labels
    for label, value in zip(labels, values, strict=True):
        assert listed.label_of(value) == label
        assert (listed.value(label), type(listed.value(label))) == (value, type(value))


@pytest.mark.parametrize(
    ("values", "word"), [([1, 2, 1], "1"), (["a", "a"], '"a"'), ([{"a": 1, "b": 2}, {"b": 2, "a": 1}], "a")]
)
def test_a_choice_that_stands_there_twice_is_reported(values, word):
    with pytest.raises(ConfigError, match=f"listed once, and .*{word}.* stands there twice"):
        stage(space={"a": values})


def test_a_start_is_found_however_its_number_is_written():
    listed = stage(space={"a": [1, 2.5, True]}).space["a"]
    assert [listed.label_of(value) for value in (1.0, 2.5, True, 3, "1")] == ["1", "2.5", "true", None, None]


def test_a_start_is_found_where_a_choice_leaves_out_defaults():
    config = ExperimentConfig()
    space = {
        "model.recurrent": [[{"unit": "rnn"}], [{"unit": "gru"}]],
        "training.epochs": [config.training.epochs],
    }
    sweep = validate(SweepSpec, {"stages": [{"name": "one", "space": space}]}, "test")
    start = change(config, {"model.recurrent": [{"unit": "gru"}]}, "test")
    found = _incumbent(PlannedStage(sweep, sweep.stages[0], start))
    assert found == {"model.recurrent": '[{"unit": "gru"}]', "training.epochs": str(config.training.epochs)}


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
