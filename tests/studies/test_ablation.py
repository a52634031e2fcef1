"""The ablation: variants differ in the middle alone, the verdict says what the losses do, a study goes on."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from qhq.ansatz.assemble import build
from qhq.ansatz.spec import AnsatzSpec
from qhq.errors import ConfigError, DataError
from qhq.experiment.config import ExperimentConfig, load_config
from qhq.experiment.fit import fit, open_trainer
from qhq.experiment.opening import open_experiment, open_run
from qhq.experiment.run import train_run
from qhq.studies.ablation.controls import control_config, judge, run_controls
from qhq.studies.ablation.life import circuit_weights, measure_life
from qhq.studies.ablation.study import AblationRequest, run_ablation
from qhq.studies.ablation.subject import load_subject
from qhq.studies.ablation.table import rivals, table_rows
from qhq.studies.ablation.variants import build_variants, twin_spec
from qhq.studies.ablation.verdict import say_verdict
from qhq.studies.comparisons import compare_all
from qhq.training.loop import Watcher
from tests.conftest import TINY

ALL = ["hybrid", "twin", "frozen", "unentangled", "no_middle"]
ANSATZ = build(AnsatzSpec(qubits=2, depth=1))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> ExperimentConfig:
    """A config that trains in a second, and a runs folder for all tests of this module."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("ablation")
        patch.setenv("QHQ_RUNS_DIR", str(folder / "runs"))
        (folder / "tiny.yaml").write_text(TINY)
        yield load_config(str(folder / "tiny.yaml"), ["training.epochs=1", "backend=statevector"])


def silent(done: int, total: int, what: str) -> None:
    pass


@pytest.fixture(scope="module")
def record(tiny):
    """One study with two seeds."""
    return run_ablation(tiny, AblationRequest(seeds=2), silent)


# Variants


def test_variants_differ_in_the_middle_alone(tiny):
    configs = build_variants(tiny, ANSATZ).configs
    assert list(configs) == ALL
    for config in configs.values():
        assert config.model_dump(include={"data", "training", "seed", "backend"}) == tiny.model_dump(
            include={"data", "training", "seed", "backend"}
        )
        assert config.model.recurrent == tiny.model.recurrent
        assert ExperimentConfig.model_validate(config.model_dump()) == config


@pytest.mark.parametrize("variant", ALL)
def test_every_variant_is_a_config_that_trains_and_opens_again(tiny, variant):
    config = build_variants(tiny, ANSATZ).configs[variant]
    folder = train_run(config, Watcher())
    trained = open_run(folder)
    with_circuit = variant in ("hybrid", "frozen", "unentangled")
    assert (trained.model.quantum is not None) == with_circuit == folder.circuit.exists()
    assert (trained.model.mlp is not None) == (variant == "twin")
    if variant == "unentangled":
        assert trained.ansatz.circuit.num_nonlocal_gates() == 0


def test_shared_weights_and_the_order_of_the_batches_are_the_same(tiny):
    opened = {name: open_experiment(each) for name, each in build_variants(tiny, ANSATZ).configs.items()}
    first = opened["hybrid"].model
    for experiment in opened.values():
        for name in ("to_latent.weight", "head.weight", "encoder.layers.0.weight_ih_l0"):
            np.testing.assert_array_equal(
                experiment.model.get_parameter(name).detach(), first.get_parameter(name).detach()
            )
    orders = [next(open_trainer(each)._batches(3)) for each in opened.values()]
    for order in orders[1:]:
        np.testing.assert_array_equal(order, orders[0])


def test_frozen_weights_do_not_move_and_all_others_do(tiny):
    experiment = open_experiment(build_variants(tiny, ANSATZ).configs["frozen"])
    before = {name: each.detach().clone() for name, each in experiment.model.named_parameters()}
    fit(experiment, Watcher())
    moved = {name for name, each in experiment.model.named_parameters()
             if not np.array_equal(each.detach(), before[name])}  # fmt: skip
    assert moved == before.keys() - {"quantum.weight"}


def test_a_circuit_that_couples_nothing_has_no_variant_without_entanglers(tiny):
    quantum = tiny.quantum.model_copy(update={"entangled": False, "frozen": True})
    config = tiny.model_copy(update={"quantum": quantum})
    product = build(AnsatzSpec.model_validate({"qubits": 2, "entangler": {"pattern": "none"}}))
    variants = build_variants(config, product)
    assert list(variants.configs) == ["hybrid", "twin", "no_middle"]
    assert variants.left_out == {
        "frozen": "the hybrid's circuit is frozen already",
        "unentangled": "no gate of the circuit couples qubits",
    }


def test_a_config_without_a_circuit_is_refused(tiny):
    with pytest.raises(ConfigError, match="needs a config with a quantum layer"):
        run_ablation(tiny.model_copy(update={"quantum": None}), AblationRequest(), silent)


# Life


def test_a_trained_circuit_is_alive_and_one_that_nothing_listens_to_is_not(tiny):
    experiment = open_experiment(tiny)
    first = circuit_weights(experiment)
    state = fit(experiment, Watcher())
    test = experiment.data.test
    assert measure_life(experiment, test, first, state.history).alive
    assert not measure_life(experiment, test, circuit_weights(experiment), state.history).alive
    head = experiment.model.head.weight
    head.data.zero_()
    dead = measure_life(experiment, test, first, state.history)
    assert (dead.share, dead.alive) == (0.0, False)


def test_share_without_a_skip_is_all(tiny):
    config = tiny.model_copy(update={"model": tiny.model.model_copy(update={"skip": "none"})})
    experiment = open_experiment(config)
    state = fit(experiment, Watcher())
    life = measure_life(experiment, experiment.data.test, np.zeros(2), state.history)
    np.testing.assert_allclose(life.share, 1.0, atol=0.15)


# Verdict


def measured(twin: float, naive: float, *, alive: tuple[float, ...] = (1.0, 1.0, 1.0)) -> dict:
    """Cells whose hybrid errs by 1 on average, the twin and the last value by so much more."""
    rng = np.random.default_rng(0)
    common = np.abs(rng.normal(size=400))

    def cell(more: float, **values) -> dict:
        losses = common + more + 0.2 * rng.normal(size=400)
        mae = 1 + more + 0.001 * rng.normal()
        return {
            "losses": losses.tolist(),
            "mae": mae,
            "skill": 1 - mae / (1 + naive),
            "seconds": 1.0,
            **values,
        }

    sizes = {"parameters_middle": 8, "parameters_trained": 20, "parameters_total": 20}
    return {
        "hybrid": [cell(0.0, alive=each, **sizes) for each in alive],
        "twin": [cell(twin, **sizes) for _ in alive],
        "no_middle": [cell(0.0, **sizes) for _ in alive],
        "last_value": [cell(naive)],
    }


WORDS = [
    (0.2, 0.2, "better than its classical twin; the model is better than the last value ("),
    (0.0, 0.2, "not shown to be better or worse than its classical twin; the model is better than the last"),
    (-0.2, 0.0, "worse than its classical twin; the model is not shown to differ from the last value ("),
    (
        0.0,
        -0.2,
        "not shown to be better or worse than its classical twin; the model is worse than the last value (",
    ),
]


@pytest.mark.parametrize(("twin", "naive", "words"), WORDS)
def test_the_verdict_says_what_the_losses_do(twin, naive, words):
    rows, pairs = rows_of(measured(twin, naive))
    verdict = say_verdict(rows, pairs)
    assert verdict.startswith(f"The quantum layer is alive and {words}")
    assert verdict.endswith("(Diebold-Mariano, Holm over 2 pairs, 5 %).")


@pytest.mark.parametrize(
    ("alive", "words"),
    [((1.0, 1.0, 1.0), "alive and"), ((1.0, 0.0, 1.0), "alive in 2 of 3 seeds and"),
     ((0.0, 0.0, 1.0), "idle in 2 of 3 seeds and"), ((0.0, 0.0, 0.0), "idle and")],
)  # fmt: skip
def test_the_verdict_counts_the_living(alive, words):
    rows, pairs = rows_of(measured(0.0, 0.0, alive=alive))
    assert say_verdict(rows, pairs).startswith(f"The quantum layer is {words}")


def test_pricing_is_judged_against_black_scholes_too():
    cells = measured(0.0, 0.2) | {"black_scholes": measured(0.0, -0.3)["last_value"]}
    rows, pairs = rows_of(cells, "black_scholes")
    assert pairs == 3
    assert "better than the last value and worse than Black-Scholes" in say_verdict(rows, pairs)


@pytest.mark.parametrize(("shifts", "found"), [((0.0, 0.0, 0.0), "better"), ((0.0, 0.0, -0.9), "not shown")])
def test_a_lead_that_is_one_seeds_luck_is_none(shifts, found):
    """The dates alone would call it better both times."""
    cells = measured(0.3, 0.3)
    for cell, shift in zip(cells["twin"], shifts, strict=True):
        cell["losses"] = [loss + shift / 2 for loss in cell["losses"]]
    rows, _ = rows_of(cells)
    assert rows[0]["vs_twin_p_holm"] < 0.01
    assert rows[0]["vs_twin"] == found


def test_a_model_of_one_seed_is_not_tested():
    cells = {name: each[:1] for name, each in measured(0.3, 0.3).items()}
    rows, pairs = rows_of(cells)
    assert (rows[0]["vs_naive"], rows[0]["vs_twin"]) == ("not tested", "not tested")
    assert rows[0]["vs_naive_reason"] == "one seed"
    assert "could not be tested against its classical twin" in say_verdict(rows, pairs)


def test_losses_are_averaged_over_seeds():
    cells = measured(0.1, 0.1)
    comparison = compare_all(cells, 1, rivals("last_value"))[0]
    losses = np.mean([cell["losses"] for cell in cells["hybrid"]], axis=0)
    gain = 1 - losses.mean() / np.mean(cells["last_value"][0]["losses"])
    np.testing.assert_allclose(comparison.gain, gain)


def rows_of(cells: dict, baseline: str = "last_value") -> tuple[list, int]:
    against = rivals(baseline)
    comparisons = compare_all(cells, 1, against, [("hybrid", each) for each in against])
    return table_rows(cells, comparisons), sum(each.adjusted is not None for each in comparisons)


# The study


def test_rows_are_flat_and_hold_every_variant_and_baseline(record, tiny):
    names = [row["variant"] for row in record["rows"]]
    assert names[:5] == ALL
    assert {"last_value", "drift", "moving_average", "ar", "ridge", "gradient_boosting"} <= set(names)
    for row in record["rows"]:
        assert not any(isinstance(value, (list, dict)) for value in row.values())
    hybrid, twin, frozen = record["rows"][:3]
    assert (hybrid["parameters_middle"], record["circuit_weights"]) == (2, 2)
    assert twin["parameters_middle"] == record["twin_parameters"]
    assert frozen["parameters_total"] - frozen["parameters_trained"] == 2
    assert twin_spec(ANSATZ).hidden == record["twin_hidden"]
    json.dumps(record, allow_nan=False)


def test_a_row_is_that_of_a_run(record, tiny):
    runs = [train_run(tiny.model_copy(update={"seed": seed}), Watcher()) for seed in (1, 2)]
    maes = [run.read_record()["metrics"]["test"]["mae"] for run in runs]
    np.testing.assert_allclose(record["seed_mae"]["hybrid"], maes, rtol=1e-12)
    np.testing.assert_allclose(record["rows"][0]["mae"], np.median(maes), rtol=1e-12)


class Interrupted(Exception):
    pass


def test_a_study_that_was_cut_off_equals_one_that_was_not(record, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("QHQ_RUNS_DIR", str(tmp_path))

    def stop(done, total, what):
        if done == 9:
            raise Interrupted

    with pytest.raises(Interrupted):
        run_ablation(tiny, AblationRequest(seeds=2), stop)
    (store,) = tmp_path.glob("studies/*/cells.jsonl")
    whole = [line for line in store.read_bytes().splitlines() if line]
    damage = [whole[0].replace(b"0.", b"1.", 1), b'{"cell": "twin/1", "values": {}}', b'"\xff', b"[]"]
    store.write_bytes(b"\n".join([*damage, *whole[1:], b'{"cell": "twin/1", "val']))
    seen = []
    again = run_ablation(tiny, AblationRequest(seeds=2), lambda done, total, what: seen.append(done))
    assert seen[0] == 8  # one cell's values were changed by hand
    assert plain(again) == plain(record)
    assert len(list(store.parent.glob("variants/*.yaml"))) == 5


def test_several_processes_give_what_one_gives(record, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("QHQ_RUNS_DIR", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert plain(run_ablation(tiny, AblationRequest(seeds=1, workers=2), silent)["pairs"]) == plain(
        run_ablation(tiny, AblationRequest(seeds=1), silent)["pairs"]
    )
    more = run_ablation(tiny, AblationRequest(seeds=2), silent)
    assert plain(more) == plain(record)


def test_an_error_reaches_the_process_that_asked():
    error = pickle.loads(pickle.dumps(DataError("This must hold", got="that", fix="Mend it")))
    assert (type(error), error.must, error.got, error.fix) == (DataError, "This must hold", "that", "Mend it")


def plain(content):
    """A record without what no two studies share: places and seconds."""
    if isinstance(content, dict):
        return {key: plain(each) for key, each in content.items() if key not in ("folder", "seconds")}
    return [plain(each) for each in content] if isinstance(content, list) else content


def test_a_run_is_ablated_by_its_name(tiny):
    run = train_run(tiny, Watcher())
    assert load_subject(run.name) == load_subject(str(run.path)) == tiny
    assert load_subject(run.name, ["seed=9"]).seed == 9
    with pytest.raises(ConfigError, match="CONFIG must be"):
        load_subject("nowhere")


# Controls


def test_a_control_keeps_the_recipe(tiny):
    walk, planted = (control_config(tiny, control) for control in ("random_walk", "planted"))
    assert (walk.data.source, walk.data.window, planted.data.source) == ("random_walk", 5, "planted")
    assert (walk.model, walk.quantum, walk.training) == (tiny.model, tiny.quantum, tiny.training)
    assert (tiny.model.skip, planted.model.skip) == ("add", "none")
    assert planted.model.recurrent == tiny.model.recurrent


@pytest.mark.parametrize(
    ("control", "found", "passed"),
    [("random_walk", "not shown", True), ("random_walk", "better", False),
     ("random_walk", "worse", True), ("planted", "better", True), ("planted", "not shown", False)],
)  # fmt: skip
def test_a_control_passes_or_fails(control, found, passed):
    rows = [{"variant": "hybrid", "vs_naive": found, "skill": 0.12},
            {"variant": "last_value", "vs_naive": None, "skill": 0.0}]  # fmt: skip
    answer, sentence = judge(control, rows)
    assert answer == passed
    assert ("as it should be" in sentence) == passed


def test_controls_say_both(tiny):
    training = tiny.training.model_copy(update={"epochs": 3, "learning_rate": 0.02})
    config = tiny.model_copy(update={"training": training})
    seen = []

    def progress(control):
        seen.append(control)
        return silent

    record = run_controls(config, AblationRequest(seeds=1, workers=1), progress)
    assert seen == ["random_walk", "planted"]
    assert record["passed"] == all(each["passed"] for each in record["controls"].values())
    hybrid = {row["control"]: row for row in record["rows"] if row["variant"] == "hybrid"}
    assert hybrid["planted"]["vs_naive"] == "better"
    assert hybrid["random_walk"]["vs_naive"] != "better"
    assert "13.4%" in record["verdict"]
