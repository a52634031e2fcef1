"""The ablation: variants differ in the middle alone, the verdict says what the losses do, a study goes on."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest

from qhq.ansatz.assemble import build
from qhq.ansatz.spec import AnsatzSpec
from qhq.api.given import read_subject
from qhq.data.prepare import prepare
from qhq.data.split_spec import SplitSpec
from qhq.errors import ConfigError, DataError
from qhq.experiment.config import ExperimentConfig, load_config
from qhq.experiment.fit import fit, open_trainer
from qhq.experiment.opening import open_experiment
from qhq.experiment.reopening import open_trained
from qhq.experiment.run import train_run
from qhq.runs.run_folder import read_walk
from qhq.runs.studies import AblationRow
from qhq.studies.ablation.cells import (
    WIDTHS,
    build_variants,
    circuit_weights,
    measure_ablation_cell,
    measure_activity,
    mlp_spec,
    plan_cells,
)
from qhq.studies.ablation.study import (
    AblationRequest,
    control_config,
    judge_control,
    run_ablation,
    run_controls,
)
from qhq.studies.ablation.verdict import (
    always_compared,
    choose_rivals,
    choose_width,
    compare_by_other_losses,
    compare_variants,
    judge_place,
    mostly_alive,
    say_ablation_verdict,
    table_rows,
)
from qhq.studies.runner import LocalWorkers, Runner, StudyEvents
from qhq.studies.walk_forward.study import train_walk
from qhq.training.loop import Watcher
from tests.conftest import TINY

ALL = ["hybrid", "mlp", "mlp_x2", "mlp_x4", "frozen", "unentangled", "no_middle"]
ANSATZ = build(AnsatzSpec(qubits=2, depth=1))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> ExperimentConfig:
    """A config that trains in a second, and a runs folder for all tests of this module."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("ablation")
        patch.setenv("QHQ_RUNS_DIR", str(folder / "runs"))
        (folder / "tiny.yaml").write_text(TINY)
        yield load_config(str(folder / "tiny.yaml"), ["training.epochs=1", "backend=statevector"])


@pytest.fixture(scope="module")
def record(tiny):
    """One study with two seeds."""
    return run_ablation(tiny, AblationRequest(seeds=2)).to_dict()


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


def test_variants_of_a_config_with_the_longest_name_are_valid_configs(tiny):
    longest = tiny.model_copy(update={"name": "n" * 60})
    for config in build_variants(longest, ANSATZ).configs.values():
        assert ExperimentConfig.model_validate(config.model_dump()) == config


@pytest.mark.parametrize("variant", ALL)
def test_every_variant_is_a_config_that_trains_and_opens_again(tiny, variant):
    config = build_variants(tiny, ANSATZ).configs[variant]
    folder = train_run(config, Watcher())
    trained = open_trained(folder)
    with_circuit = variant in ("hybrid", "frozen", "unentangled")
    assert (trained.model.quantum is not None) == with_circuit == folder.circuit.exists()
    assert (trained.model.mlp is not None) == (variant in WIDTHS)
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
    orders = [next(open_trainer(each).batches(3)) for each in opened.values()]
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
    assert list(variants.configs) == ["hybrid", *WIDTHS, "no_middle"]
    assert variants.left_out == {
        "frozen": "the hybrid's circuit is frozen already",
        "unentangled": "no gate of the circuit couples qubits",
    }


def test_a_config_without_a_circuit_is_refused(tiny):
    with pytest.raises(ConfigError, match="needs a config with a quantum layer"):
        run_ablation(tiny.model_copy(update={"quantum": None}), AblationRequest())


# Activity


def test_a_trained_circuit_is_alive_and_one_that_nothing_listens_to_is_not(tiny):
    experiment = open_experiment(tiny)
    first = circuit_weights(experiment)
    state = fit(experiment, Watcher())
    test = experiment.data.test
    assert measure_activity(experiment, test, first, state.history).alive
    assert not measure_activity(experiment, test, circuit_weights(experiment), state.history).alive
    head = experiment.model.head.weight
    head.data.zero_()
    dead = measure_activity(experiment, test, first, state.history)
    assert (dead.share, dead.alive) == (0.0, False)


def test_share_without_a_skip_is_all(tiny):
    config = tiny.model_copy(update={"model": tiny.model.model_copy(update={"skip": "none"})})
    experiment = open_experiment(config)
    state = fit(experiment, Watcher())
    life = measure_activity(experiment, experiment.data.test, np.zeros(2), state.history)
    np.testing.assert_allclose(life.share, 1.0, atol=0.15)


# Rivals and verdict

DATES = 400


def measured(*, alive: tuple[float, ...] = (1.0, 1.0, 1.0), **more: float) -> dict:
    """Cells whose hybrid errs by 1 on average, and every other name by so much more."""
    rng = np.random.default_rng(0)
    common = np.abs(rng.normal(size=DATES))

    def cell(name: str, extra: float, **values) -> dict:
        losses = common + extra + 0.2 * rng.normal(size=DATES)
        return {
            "losses": losses.tolist(),
            "other_losses": {"squared_log": (2 * losses).tolist()},
            "validation_loss": 1 + extra,
            "bounded": 0,
            "mae": 1 + extra,
            "skill": -extra,
            "seconds": 1.0,
            **values,
        }

    sizes = {"parameters_middle": 8, "parameters_trained": 20, "parameters_total": 20}
    cells = {"hybrid": [cell("hybrid", 0.0, alive=each, **sizes) for each in alive]}
    for name, extra in more.items():
        trained = name in ("mlp", "mlp_tuned", "frozen", "unentangled", "no_middle")
        count = len(alive) if trained else 1
        cells[name] = [cell(name, extra, **(sizes if trained else {})) for _ in range(count)]
    return cells


def judged(cells: dict, task_baseline: str = "last_value") -> tuple[list, str]:
    """Rows and verdict."""
    rivals, always = choose_rivals(cells), always_compared(task_baseline)
    comparisons = compare_variants(cells, 1, rivals, always)
    rows = table_rows(cells, comparisons, always, rivals.roles, compare_by_other_losses(cells, 1))
    place = judge_place(cells, comparisons, rivals, alive=mostly_alive(rows[0]))
    verdict = say_ablation_verdict(rows, place, rivals, "qlike")
    assert place.earned == ("and earns its place" in verdict)
    return rows, verdict


RIVALS = {"mlp": 0.2, "mlp_tuned": 0.15, "frozen": 0.2, "no_middle": 0.2, "last_value": 0.3, "har": 0.2,
          "log_har": 0.2, "ridge": 0.2, "gradient_boosting": 0.2}  # fmt: skip


def test_a_layer_that_beats_every_rival_earns_its_place():
    _, verdict = judged(measured(**RIVALS))
    assert verdict.startswith(
        "The quantum layer is alive and earns its place: the hybrid is better than each of its 9 rivals"
    )


@pytest.mark.parametrize("name", RIVALS)
@pytest.mark.parametrize("extra", [0.0, -0.2])
def test_one_rival_that_is_not_beaten_is_named(name, extra):
    _, verdict = judged(measured(**{**RIVALS, name: extra}))
    title = {"mlp": "the MLP", "mlp_tuned": "the MLP of the best width", "frozen": "the frozen circuit",
             "no_middle": "no middle", "last_value": "the last value", "har": "HAR", "log_har": "log-HAR",
             "ridge": "ridge regression", "gradient_boosting": "boosted trees"}[name]  # fmt: skip
    assert f"does not earn its place: the hybrid is not shown to be better than {title} (1 of 9" in verdict


def test_a_circuit_without_entanglers_is_no_rival():
    """It is a quantum layer itself."""
    _, verdict = judged(measured(**RIVALS, unentangled=-0.5))
    assert "earns its place" in verdict


def test_an_idle_layer_earns_nothing():
    _, verdict = judged(measured(alive=(0.0, 0.0, 1.0), **RIVALS))
    assert verdict.startswith(
        "The quantum layer is idle in 2 of 3 seeds and does not earn its place, although"
    )


def test_the_family_is_chosen_on_the_validation_split_and_named():
    cells = measured(**RIVALS)
    for name, loss in (("frozen", 0.1), ("log_har", 0.2), ("ridge", 0.3)):
        for cell in cells[name]:
            cell["validation_loss"] = loss
    rows, verdict = judged(cells)
    assert {row["variant"] for row in rows if row["role"]} == {"last_value", "frozen", "log_har", "ridge"}
    assert "Holm over 4, 5 %): better than the last value (loss" in verdict
    assert "better than log-HAR, the strongest baseline of the task (loss" in verdict
    # Whatever comes out on the test split, the same are chosen.
    rng = np.random.default_rng(1)
    for each in cells.values():
        for cell in each:
            cell["losses"] = rng.exponential(size=DATES).tolist()
    assert {row["variant"] for row in judged(cells)[0] if row["role"]} == {
        "last_value", "frozen", "log_har", "ridge",
    }  # fmt: skip


def test_only_pairs_named_in_advance_have_a_verdict():
    rows, _ = judged(measured(**RIVALS))
    for row in rows[1:]:
        assert row["hybrid_vs"] == ("better" if row["role"] else "not shown")
        assert row["hybrid_vs_exploratory"] is (row["role"] is None)
        assert row["hybrid_vs_suggests"] == (None if row["role"] else "better")
        assert row["hybrid_vs_squared_log_suggests"] == "better"
    assert rows[0]["hybrid_vs"] is None


def test_what_is_not_shown_says_what_could_have_been():
    _, verdict = judged(measured(**{**RIVALS, "har": 0.0, "log_har": 0.1}))
    assert "not shown against HAR, the strongest baseline of the task (loss " in verdict
    assert "detectable" in verdict.split("not shown against HAR")[1]


def test_the_earlier_name_of_the_mlp_serves_on():
    rows, _ = judged(measured(**RIVALS))
    for row in rows:
        assert row["vs_twin"] == row["vs_mlp"]
        assert row["vs_twin_p"] == row["vs_mlp_p"]


def test_the_width_is_that_of_the_least_validation_loss():
    cells = {name: [{"validation_loss": loss}] for name, loss in zip(WIDTHS, (2.0, 1.0, 1.0), strict=True)}
    assert choose_width(cells) == "mlp_x2"  # of two alike the narrower


@pytest.mark.parametrize(
    ("alive", "words"),
    [((1.0, 1.0, 1.0), "alive and"), ((1.0, 0.0, 1.0), "alive in 2 of 3 seeds and"),
     ((0.0, 0.0, 1.0), "idle in 2 of 3 seeds and"), ((0.0, 0.0, 0.0), "idle and")],
)  # fmt: skip
def test_the_verdict_counts_the_living(alive, words):
    assert judged(measured(alive=alive, **RIVALS))[1].startswith(f"The quantum layer is {words}")


def test_pricing_is_judged_against_black_scholes_too():
    rows, verdict = judged(measured(mlp=0.1, last_value=0.2, black_scholes=-0.3), "black_scholes")
    assert "worse than Black-Scholes with the volatility of the day before, the strongest baseline" in verdict
    assert "not shown to be better than Black-Scholes" in verdict
    assert all("vs_black_scholes" in row for row in rows)


@pytest.mark.parametrize(("shifts", "found"), [((0.0, 0.0, 0.0), "better"), ((0.0, 0.0, -0.9), "not shown")])
def test_a_lead_that_is_one_seeds_luck_is_none(shifts, found):
    """The dates alone would call it better both times."""
    cells = measured(mlp=0.3, last_value=0.3)
    for cell, shift in zip(cells["mlp"], shifts, strict=True):
        cell["losses"] = [loss + shift / 2 for loss in cell["losses"]]
    rows, verdict = judged(cells)
    assert rows[1]["hybrid_vs_p_holm"] < 0.01
    assert rows[1]["hybrid_vs"] == found
    assert ("earns its place" in verdict) is ("does not" not in verdict) is (found == "better")


def test_a_model_of_one_seed_is_not_tested():
    rows, verdict = judged(measured(alive=(1.0,), mlp=0.3, last_value=0.3))
    assert (rows[1]["hybrid_vs"], rows[2]["hybrid_vs"]) == ("not tested", "not tested")
    assert rows[1]["hybrid_vs_reason"] == "one seed"
    assert verdict == "The quantum layer is alive and not shown to earn its place: one seed, not tested."


def test_losses_are_averaged_over_seeds():
    cells = measured(mlp=0.1, last_value=0.1)
    rows, _ = judged(cells)
    losses = np.mean([cell["losses"] for cell in cells["hybrid"]], axis=0)
    gain = 1 - losses.mean() / np.mean(cells["last_value"][0]["losses"])
    np.testing.assert_allclose(rows[2]["hybrid_vs_gain"], gain)
    np.testing.assert_allclose(rows[0]["loss"], losses.mean())


# Cases with a known answer


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """Ablate a tiny recipe on a table of columns; two seeds."""
    monkeypatch.setenv("QHQ_RUNS_DIR", str(tmp_path / "runs"))

    def ablate(columns: dict[str, np.ndarray], data: str, model: str, qubits: int) -> dict:
        sessions = len(next(iter(columns.values())))
        days = np.datetime64("2010-01-04") + np.arange(2 * sessions)
        days = days[np.is_busday(days)][:sessions]
        names = ",".join(["date", *columns])
        rows = [",".join([str(day), *(repr(float(each[row])) for each in columns.values())])
                for row, day in enumerate(days)]  # fmt: skip
        (tmp_path / "planted.csv").write_text("\n".join([names, *rows]) + "\n")
        (tmp_path / "planted.yaml").write_text(
            f"name: planted\nbackend: statevector\n"
            f"data: {{path: planted.csv, {data}}}\n"
            f"quantum: {{ansatz: reference, qubits: {qubits}, depth: 2}}\n"
            f"model: {{recurrent: [{{unit: gru, hidden: 8}}], {model}}}\n"
            "training: {epochs: 2, batch_size: 64, learning_rate: 0.02}\n"
        )
        return run_ablation(load_config(str(tmp_path / "planted.yaml")), AblationRequest(seeds=2)).to_dict()

    return ablate


def test_with_four_targets_a_linear_truth_is_not_won_by_a_circuit(planted):
    """Case 1: the matched MLP had one hidden unit for four targets, and losing to the circuit was no feat."""
    rng = np.random.default_rng(0)
    matrix = 0.9 * np.linalg.qr(rng.normal(size=(4, 4)))[0]
    state = [np.zeros(4)]
    for _ in range(700):
        state.append(matrix @ state[-1] + rng.normal(size=4))
    columns = {f"x{place}": series for place, series in enumerate(np.array(state[1:]).T)}
    names = "[x0, x1, x2, x3]"
    record = planted(
        columns | {"close": 50 + np.cumsum(rng.normal(0, 0.1, 700)) % 7},
        f"features: {names}, targets: {names}, window: 3, scaling: standard", "skip: none", 4,
    )  # fmt: skip
    assert [each["hidden"] for each in record["mlp_widths"]] == [4, 8, 16]
    assert record["circuit_weights"] < record["mlp_widths"][0]["parameters"]
    assert record["loss"] == "absolute"
    assert record["earns_place"] is False
    # Ridge regression is the truth here, and what the middle lets through can only be less.
    assert {"ridge", "no_middle"} <= set(record["not_beaten"])
    assert record["best"] == "ridge"
    assert (
        "does not earn its place: the hybrid is not shown to be better than ridge regression"
        in record["verdict"]
    )


def test_volatility_that_is_har_is_judged_against_har_by_qlike(planted):
    """Case 2: better than the last value is no feat where four coefficients do it."""
    rng = np.random.default_rng(0)
    logs = list(rng.normal(-4, 0.3, 22))
    for _ in range(700):
        means = [logs[-1], np.mean(logs[-5:]), np.mean(logs[-22:])]
        logs.append(-0.4 + float(np.dot([0.3, 0.4, 0.2], means)) + 0.3 * rng.normal())
    volatility = np.exp(np.array(logs))
    close = 100 * np.exp(np.cumsum(volatility * rng.normal(size=len(volatility))))
    # A session that ends where it began has the range alone in its Garman-Klass volatility.
    half = volatility / np.sqrt(2)
    columns = {"open": close, "high": close * np.exp(half), "low": close * np.exp(-half), "close": close}
    name = "[log_garman_klass]"
    record = planted(
        columns, f"features: {name}, targets: {name}, window: 22, scaling: window_mean", "skip: add", 2
    )
    rows = {row["variant"]: row for row in record["rows"]}
    assert (record["loss"], record["other_losses"]) == ("qlike", ["squared_log"])
    assert record["earns_place"] is False
    assert {"har", "log_har"} <= set(record["not_beaten"])
    assert rows["har"]["loss"] < rows["last_value"]["loss"]
    assert "HAR, the strongest baseline of the task" in record["verdict"]
    (named,) = {each["rival"] for each in record["family"]} & {"har", "log_har"}
    assert rows[named]["hybrid_vs"] != "better"
    assert record["data"] == "the user's file, planted.csv"


# The study


def test_rows_are_flat_and_hold_every_variant_and_baseline(record, tiny):
    names = [row["variant"] for row in record["rows"]]
    shown = [name for name in names if not name.startswith("mlp_")]
    assert shown[:5] == ["hybrid", "mlp", "frozen", "unentangled", "no_middle"]
    assert ("mlp_tuned" in names) is ("mlp_tuned" not in record["left_out"])
    assert {"last_value", "drift", "moving_average", "ar", "ridge", "gradient_boosting"} <= set(names)
    for row in record["rows"]:
        assert not any(isinstance(value, (list, dict)) for value in row.values())
    hybrid, mlp, frozen = (next(row for row in record["rows"] if row["variant"] == name)
                           for name in ("hybrid", "mlp", "frozen"))  # fmt: skip
    assert (hybrid["parameters_middle"], record["circuit_weights"]) == (2, 2)
    assert mlp["parameters_middle"] == record["twin_parameters"] == record["mlp_widths"][0]["parameters"]
    assert sum(each["chosen"] for each in record["mlp_widths"]) == 1
    least = min(record["mlp_widths"], key=lambda each: each["validation_loss"])
    assert least["chosen"]
    assert frozen["parameters_total"] - frozen["parameters_trained"] == 2
    assert mlp_spec(ANSATZ).hidden == record["twin_hidden"] == record["mlp_widths"][0]["hidden"]
    json.dumps(record, allow_nan=False)


def test_a_row_is_that_of_a_run(record, tiny):
    runs = [train_run(tiny.model_copy(update={"seed": seed}), Watcher()) for seed in (1, 2)]
    maes = [run.read_record().to_dict()["metrics"]["test"]["mae"] for run in runs]
    # To rounding: the seeds of a variant are trained at once.
    np.testing.assert_allclose(record["seed_mae"]["hybrid"], maes, rtol=1e-5)
    np.testing.assert_allclose(record["rows"][0]["mae"], np.median(maes), rtol=1e-5)


def test_a_choice_sees_nothing_of_the_test_split(tiny):
    """Whatever the test split holds, the loss that rivals and widths are chosen by is the same."""
    found = []
    for change in (False, True):
        data = prepare(tiny.data)
        if change:
            values = data.splits.test.panel.values
            values[:] = values * np.random.default_rng(0).uniform(0.5, 2, values.shape)
        every = plan_cells(build_variants(tiny, ANSATZ).configs, data, range(1, 2))
        cells = [measure_ablation_cell(cell, data) for cell in every if cell.name in ("mlp_x2", "ridge")]
        found.append([(cell["validation_loss"], cell["losses"]) for cell in cells])
    for (seen, losses), (again, others) in zip(*found, strict=True):
        assert seen == again
        assert losses != others


def test_an_ablation_of_a_walk_forward_is_judged_on_every_fold(tiny):
    """Its hybrid is the walk that `qhq train` trains, and what rivals are chosen by is before every test."""
    split = tiny.data.split.model_dump(exclude_none=True) | {"scheme": "walk_forward", "folds": 2}
    del split["fold"]
    data = tiny.data.model_copy(update={"split": SplitSpec.model_validate(split)})
    config = tiny.model_copy(update={"data": data, "name": "walk"})
    record = run_ablation(config, AblationRequest(seeds=1)).to_dict()
    walk = read_walk(train_walk(config, Watcher())).to_dict()
    assert record["folds"] == 2
    assert record["windows"] == walk["data"]["test"]["windows"]
    np.testing.assert_allclose(record["seed_mae"]["hybrid"], [walk["metrics"]["test"]["mae"]], rtol=1e-5)
    naive = next(row for row in record["rows"] if row["variant"] == "last_value")
    np.testing.assert_allclose(naive["mae"], walk["metrics"]["naive"]["mae"], rtol=1e-12)
    first = prepare(config.data.with_fold(0))
    cells = {cell.name: cell for cell in plan_cells(build_variants(config, ANSATZ).configs, first, range(1))}
    alone = cells["ridge"].config.model_copy(update={"data": config.data.with_fold(0)})
    found = [measure_ablation_cell(replace(cells["ridge"], config=each), first) for each in (config, alone)]
    assert found[0]["validation_loss"] == found[1]["validation_loss"]
    assert len(found[0]["losses"]) == record["dates"] > len(found[1]["losses"])


class Interrupted(Exception):
    pass


class Log(StudyEvents):
    """Remembers what was reported."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.titles: list[str] = []
        self.found: list[str] = []
        self.fresh: list[str] = []
        self.stop_after = stop_after

    def started(self, title: str, cells: int) -> None:
        self.titles.append(f"{title} {cells}")

    def done(self, key: str, *, fresh: bool) -> None:
        (self.fresh if fresh else self.found).append(key)
        if len(self.fresh) == self.stop_after:
            raise Interrupted


def test_a_study_that_was_cut_off_equals_one_that_was_not(record, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("QHQ_RUNS_DIR", str(tmp_path))

    with pytest.raises(Interrupted):
        run_ablation(tiny, AblationRequest(seeds=2), Runner(progress=Log(stop_after=9)))
    (store,) = tmp_path.glob("studies/*/cells.jsonl")
    whole = [line for line in store.read_bytes().splitlines() if line]
    damage = [whole[0].replace(b"0.", b"1.", 1), b'{"cell": "mlp/1", "values": {}}', b'"\xff', b"[]"]
    store.write_bytes(b"\n".join([*damage, *whole[1:], b'{"cell": "mlp/1", "val']))
    log = Log()
    again = run_ablation(tiny, AblationRequest(seeds=2), Runner(progress=log)).to_dict()
    assert len(log.found) == 8  # one cell's values were changed by hand
    assert plain(again) == plain(record)
    assert len(list(store.parent.glob("variants/*.yaml"))) == 7


def test_several_processes_give_what_one_gives_and_more_seeds_go_on(record, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("QHQ_RUNS_DIR", str(tmp_path / "two"))
    with LocalWorkers(2, print) as workers:
        run_ablation(tiny, AblationRequest(seeds=1), Runner(workers))
    more = run_ablation(tiny, AblationRequest(seeds=2)).to_dict()
    assert plain(more) == plain(record)


def test_an_error_reaches_the_process_that_asked():
    error = pickle.loads(pickle.dumps(DataError("This must hold", got="that", fix="Mend it")))
    assert (type(error), error.must, error.got, error.fix) == (DataError, "This must hold", "that", "Mend it")


def plain(content):
    """A record without what no two studies share: places, seconds, and how often others looked."""
    if isinstance(content, dict):
        return {
            key: plain(each) for key, each in content.items() if key not in ("folder", "seconds", "looks")
        }
    return [plain(each) for each in content] if isinstance(content, list) else content


def test_a_run_is_ablated_by_its_name(tiny):
    run = train_run(tiny, Watcher())
    assert read_subject(run.name) == read_subject(str(run.path)) == tiny
    assert read_subject(run.name, ["seed=9"]).seed == 9
    with pytest.raises(ConfigError, match="RUN or CONFIG must be a run"):
        read_subject("nowhere")


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
    facts = {"kind": "model", "meaning": "as configured", "mae": 1.0}
    rows = [
        AblationRow(variant="hybrid", vs_naive=found, skill=0.12, **facts),
        AblationRow(variant="last_value", skill=0.0, **facts),
    ]
    answer, sentence = judge_control(control, rows)
    assert answer == passed
    assert ("as it should be" in sentence) == passed


def test_controls_say_both(tiny):
    training = tiny.training.model_copy(update={"epochs": 3, "learning_rate": 0.02})
    config = tiny.model_copy(update={"training": training})
    log = Log()
    record = run_controls(config, AblationRequest(seeds=2), Runner(progress=log)).to_dict()
    assert len(log.titles) == 2
    assert list(record["controls"]) == ["random_walk", "planted"]
    assert record["passed"] == all(each["passed"] for each in record["controls"].values())
    hybrid = {row["control"]: row for row in record["rows"] if row["variant"] == "hybrid"}
    assert hybrid["planted"]["vs_naive"] == "better"
    assert hybrid["random_walk"]["vs_naive"] != "better"
    assert "13.4%" in record["verdict"]
