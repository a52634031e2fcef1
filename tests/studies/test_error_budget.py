"""The parts of an error add up, and each planted cause is found where it was planted, and nowhere else."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from qhq.backends.devices.calibration import load_fake, save_snapshot
from qhq.backends.noisy import AerSpec, FakeSpec
from qhq.errors import ConfigError
from qhq.experiment.config import load_config
from qhq.experiment.run import train_run
from qhq.studies.error_budget import draw_layouts, plan_nested, split_error
from qhq.studies.noise import run_noise_study
from qhq.studies.noise_cells import NoiseRequest
from qhq.training.loop import Watcher

CAUSES = ("gate_noise", "readout", "layout", "calibration_day", "shots")


def losses(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(1, 3, 150)


def budget_of(*added: np.ndarray) -> dict:
    names = ("model", *CAUSES)
    steps = list(zip(names, np.cumsum([losses(), *added], axis=0), strict=False))
    return split_error(steps, losses(1), loss="absolute", horizon=1, left_out={}).to_dict()


@pytest.mark.parametrize("cause", CAUSES)
def test_a_planted_cause_is_found_and_no_other(cause):
    """Each cause moves every date a little to and fro; the planted one also leans to one side."""
    generator = np.random.default_rng(7)
    added = {name: generator.normal(0, 0.05, 150) for name in CAUSES}
    added = {name: each - each.mean() for name, each in added.items()}
    added[cause] += 0.1
    budget = budget_of(*added.values())
    parts = {each["component"]: each for each in budget["components"]}
    for name in CAUSES:
        part = parts[name]
        assert (part["low"] > 0 or part["high"] < 0) is (name == cause)
        assert part["low"] <= part["value"] <= part["high"]
    np.testing.assert_allclose(parts[cause]["value"], 0.1, atol=1e-12)
    np.testing.assert_allclose(sum(each["value"] for each in parts.values()), budget["total"]["value"])
    np.testing.assert_allclose(sum(each["share"] for each in parts.values()), 1)


def test_a_sentence_names_what_is_shown_and_nothing_else():
    nothing = np.zeros(150)
    quiet = budget_of(nothing, nothing)["verdict"]
    assert "100.0 % of the error is the model's own; no other part" in quiet
    loud = budget_of(nothing, nothing + 0.5)["verdict"]
    assert "readout errors" in loud
    assert "gate noise" not in loud


REGISTRY = """\
gates:
  {kind: aer, method: density_matrix, noise: {parameters: {depolarizing_2q: 0.2}}}
readout:
  {kind: aer, method: density_matrix, noise: {parameters: {readout_1_given_0: 0.2, readout_0_given_1: 0.1}}}
shots:
  {kind: aer, method: density_matrix, noise: {parameters: {readout_1_given_0: 1.0e-12}}}
placed:
  {kind: fake, device: fake_nairobi}
today:
  {kind: aer, method: density_matrix, noise: {snapshot: today.json.gz}}
yesterday:
  {kind: aer, method: density_matrix, noise: {snapshot: yesterday.json.gz}}
calm:
  {kind: aer, method: density_matrix, noise: {snapshot: calm.json.gz}}
loud:
  {kind: aer, method: density_matrix, noise: {snapshot: loud.json.gz}}
two_good_qubits:
  {kind: aer, method: density_matrix, noise: {snapshot: two_good_qubits.json.gz}}
"""
READOUTS = ("readout_error", "prob_meas1_prep0", "prob_meas0_prep1")
SPENT: dict[str, str] = {"gates": "gate_noise", "readout": "readout", "shots": "shots"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One trained run beside a registry with planted entries, and two days of a device."""
    with pytest.MonkeyPatch.context() as patch:
        from tests.conftest import TINY

        folder = tmp_path_factory.mktemp("budget")
        patch.chdir(folder)
        patch.setenv("QHQ_RUNS_DIR", str(folder / "runs"))
        (folder / "backends.yaml").write_text(REGISTRY + "aer: {kind: aer, gradient: adjoint}\n")
        (folder / "tiny.yaml").write_text(TINY)
        nairobi = load_fake("fake_nairobi")
        calm = {"T1": 1e3, "T2": 1e3, "gate_error": 0.0, "readout": [0.0] * 7}
        for name, planted in {
            "today": {},
            "yesterday": {"readout": [0.19] * 7},
            "calm": calm,
            "loud": {**calm, "readout": [0.19] * 7},
            "two_good_qubits": {**calm, "readout": [0.19] * 5 + [0.0] * 2},
        }.items():
            save_snapshot(with_numbers(nairobi, planted), folder / f"{name}.json.gz")
        yield train_run(load_config(str(folder / "tiny.yaml"), ["training.epochs=1"]), Watcher())


def with_numbers(calibration, planted):
    """The same device with other numbers: of all qubits and gates, and a readout error of each qubit."""
    properties = json.loads(json.dumps(calibration.properties, default=str))
    for number, qubit in enumerate(properties["qubits"]):
        for item in qubit:
            if "readout" in planted and item["name"] in READOUTS:
                item["value"] = planted["readout"][number]
            if item["name"] in planted:
                item |= {"value": planted[item["name"]], "unit": "s"}
    for gate in properties["gates"]:
        for item in gate["parameters"]:
            item["value"] = planted.get(item["name"], item["value"])
    return replace(calibration, properties=properties)


def budget(run, backend: str, *, shots=None, against=()):
    request = NoiseRequest(backend, (1.0,), (None, *([shots] if shots else [])), 2, 60, against=against)
    found = run_noise_study(run, request).to_dict()["budget"]
    return found, {each["component"]: each["value"] for each in found["components"]}


@pytest.mark.parametrize("entry", list(SPENT))
def test_a_cause_planted_in_the_noise_is_where_the_error_comes_from(run, entry):
    """Of 16 shots, or of noise of one kind alone, the other parts are nothing at all."""
    found, parts = budget(run, entry, shots=16 if entry == "shots" else 10**9)
    others = [abs(value) for name, value in parts.items() if name not in ("model", SPENT[entry])]
    assert abs(parts[SPENT[entry]]) > 20 * max(others)
    np.testing.assert_allclose(sum(parts.values()), found["total"]["value"])
    assert {"seed", "layout", "calibration_day"} <= found["left_out"].keys()


def test_layout_and_day_are_told_of_a_device(run):
    found, parts = budget(run, "today", against=("yesterday",))
    assert list(parts) == ["model", "gate_noise", "readout", "layout", "calibration_day"]
    np.testing.assert_allclose(sum(parts.values()), found["total"]["value"])
    # Yesterday a fifth of all readouts erred, today hardly one: today is not the mean of both days.
    assert abs(parts["calibration_day"]) > abs(parts["layout"])
    assert found["left_out"].keys() == {"seed", "shots"}


def test_a_layout_that_is_better_than_others_takes_back_what_they_add(run):
    """Five of seven qubits are read wrong in 19 of 100 cases; the transpiler takes the two others."""
    found, parts = budget(run, "two_good_qubits")
    assert abs(parts["readout"]) > 1e-4
    np.testing.assert_allclose(parts["layout"], -parts["readout"], rtol=1e-4)
    np.testing.assert_allclose(parts["gate_noise"], 0, atol=1e-4 * abs(parts["readout"]))
    np.testing.assert_allclose(found["total"]["value"], parts["model"], rtol=1e-6)


@pytest.mark.parametrize(("day", "other", "sign"), [("calm", "loud", -1), ("loud", "calm", 1)])
def test_a_day_adds_what_its_readout_errs_more_than_on_both_days(run, day, other, sign):
    """On one day no readout errs, on the other every one: half of that is in both, and half is the day."""
    found, parts = budget(run, day, against=(other,))
    readout = abs(parts["readout"])
    assert readout > 1e-4
    np.testing.assert_allclose(parts["calibration_day"], sign * parts["readout"], rtol=1e-4)
    np.testing.assert_allclose([parts["gate_noise"], parts["layout"]], 0, atol=1e-4 * readout)
    np.testing.assert_allclose(sum(parts.values()), found["total"]["value"])


def test_a_device_that_is_too_small_for_another_layout_is_no_error():
    entry = FakeSpec(kind="fake", name="small", device="fake_nairobi")
    nested = plan_nested(entry, (), 9, 0)
    assert nested.days == (("",),)
    assert "none on fake_nairobi" in nested.left_out["layout"]


def test_a_day_of_another_device_is_none(run):
    found, _ = budget(run, "today", against=("gates",))
    assert "calibration_day" in found["left_out"]


def test_layouts_are_neighbours_that_work_and_another_each_time():
    calibration = load_fake("fake_fez")
    found = draw_layouts(calibration, 4, seed=1)
    assert found == draw_layouts(calibration, 4, seed=1)
    assert len({frozenset(each) for each in found}) == len(found) == 3
    for layout in found:
        assert len(set(layout)) == 4
        assert all((calibration.qubit(each, "readout_error") or 0) < 0.2 for each in layout)
    with pytest.raises(ConfigError, match="neighbouring qubits"):
        draw_layouts(load_fake("fake_nairobi"), 9, seed=1)


def test_what_has_only_shots_has_no_budget():
    entry = FakeSpec(kind="fake", name="few", device="fake_nairobi", method="statevector", shots=10)
    assert plan_nested(entry, (), 2, 0) is None
    named = FakeSpec.model_validate(
        {"kind": "fake", "name": "named", "device": "fake_nairobi", "transpile": {"layout": [0, 1]}}
    )
    assert "names its layout" in plan_nested(named, (), 2, 0).left_out["layout"]
    assert plan_nested(AerSpec(kind="aer", name="aer"), (), 2, 0) is None
