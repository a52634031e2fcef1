"""Affine and head undo what is planted, moments are those of theory, and every row says what it cost."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from qhq.backends import open_backend
from qhq.errors import ConfigError
from qhq.experiment.config import load_config
from qhq.experiment.evaluate import EXACT, circuit_arguments, encode
from qhq.experiment.refit import _ridge
from qhq.experiment.reopening import open_trained
from qhq.experiment.run import train_run
from qhq.studies.mitigation import (
    correct,
    fit_affine,
    gain_of,
    moments_of_draws,
    moments_of_stds,
    plan_asks,
    prepare_lesson,
    read_methods,
    refit_head,
)
from qhq.training.loop import Watcher
from tests.backends.test_mitigation import ENTRIES, noisy


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One trained run for all tests of this module."""
    with pytest.MonkeyPatch.context() as patch:
        from tests.conftest import TINY

        folder = tmp_path_factory.mktemp("mitigation")
        patch.setenv("QHQ_RUNS_DIR", str(folder / "runs"))
        (folder / "tiny.yaml").write_text(TINY)
        yield train_run(load_config(str(folder / "tiny.yaml"), ["training.epochs=1"]), Watcher())


SLOPE, OFFSET = np.array([0.7, 0.9]), np.array([0.05, -0.1])


def values(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (rows, 2))


def test_affine_undoes_a_planted_map():
    exact = values(32)
    fitted = fit_affine(SLOPE * exact + OFFSET, exact)
    np.testing.assert_allclose((fitted.slope, fitted.offset), (SLOPE, OFFSET), atol=1e-12)
    other = values(10, seed=1)
    np.testing.assert_allclose(fitted.undo(SLOPE * other + OFFSET), other, atol=1e-12)


def test_affine_moves_what_does_not_move_and_scales_it_by_nothing():
    """Of an observable that is the same on all windows only the offset can be told; so of mere noise."""
    exact = values(32)
    exact[:, 0] = 0.3
    found = exact + OFFSET
    found[:, 1] = np.random.default_rng(2).normal(0, 0.1, 32)
    fitted = fit_affine(found, exact)
    np.testing.assert_allclose(fitted.slope, 1)
    np.testing.assert_allclose(fitted.undo(found).mean(axis=0), exact.mean(axis=0), atol=1e-12)


def test_variances_of_affine_are_those_of_many_fits():
    exact, test, noise = values(32), values(5, seed=1), 0.05
    generator = np.random.default_rng(3)
    undone, reported = [], []
    for _ in range(4000):
        fitted = fit_affine(SLOPE * exact + OFFSET + generator.normal(0, noise, exact.shape), exact)
        answers = SLOPE * test + OFFSET + generator.normal(0, noise, test.shape)
        undone.append(fitted.undo(answers))
        reported.append(fitted.variances(answers, np.full(test.shape, noise**2)))
    np.testing.assert_allclose(np.mean(reported, axis=0), np.var(undone, axis=0), rtol=0.1)


def test_head_gives_the_exact_forecast_of_planted_answers(run):
    """An affine map of expectation values is undone by a linear head."""
    experiment = open_trained(run)
    lesson = prepare_lesson(experiment, seed=0)
    latent = encode(experiment, experiment.data.test.select(slice(40)))
    exact = open_backend(EXACT, experiment.ansatz).expectations(*circuit_arguments(experiment, latent))
    wanted = correct(experiment, "none", latent, exact, None).scaled
    answers = np.concatenate([SLOPE * exact + OFFSET, SLOPE * lesson.exact + OFFSET])
    raw = correct(experiment, "none", latent, answers, lesson).scaled
    for method in ("affine", "head"):
        found = correct(experiment, method, latent, answers, lesson).scaled
        np.testing.assert_allclose(found, wanted, atol=1e-2 * np.abs(raw - wanted).max())


def test_a_refitted_head_has_the_variance_of_least_squares():
    """Noise of variance s^2 on M windows moves a forecast at x by s^2 (1 / M + x (F^T F)^-1 x)."""
    generator, noise = np.random.default_rng(8), 0.05
    features, here = values(32), np.array([0.8, -0.5])
    wanted = features @ np.array([[3.0], [-2.0]])
    forecasts = []
    for _ in range(800):
        change, shift = _ridge(features, wanted + generator.normal(0, noise, wanted.shape))
        forecasts.append(here @ change + shift)
    centred = features - features.mean(axis=0)
    apart = here - features.mean(axis=0)
    leverage = 1 / 32 + apart @ np.linalg.inv(centred.T @ centred) @ apart
    np.testing.assert_allclose(np.var(forecasts), noise**2 * leverage, rtol=0.2)
    np.testing.assert_allclose(np.mean(forecasts), here @ [3.0, -2.0], atol=5 * noise / np.sqrt(800))


def test_head_of_answers_that_are_noise_keeps_its_weights(run):
    """What cannot be learned is left: leave-one-out chooses no change of the weights worth the name."""
    experiment = open_trained(run)
    lesson = prepare_lesson(experiment, seed=0)
    found = lesson.exact + np.random.default_rng(4).normal(0, 1e-9, lesson.exact.shape)
    refitted = refit_head(experiment, lesson, found)
    torch.testing.assert_close(refitted.weight, experiment.model.head.weight, atol=1e-4, rtol=1e-4)


def test_moments_are_those_that_were_planted():
    exact = values(3000)
    generator = np.random.default_rng(5)
    draws = [exact + 0.02 + generator.normal(0, 0.05, exact.shape) for _ in range(2)]
    several = moments_of_draws(draws, exact)
    single = moments_of_stds(draws[0], exact, np.full(exact.shape, 0.05**2))
    for each in (several, single):
        np.testing.assert_allclose((each.bias, each.variance), (0.02, 0.05**2), rtol=0.1)
    assert moments_of_draws([exact + 0.02], exact).variance == 0
    assert moments_of_stds(exact, exact, np.full(exact.shape, np.inf)).bias is None


def test_a_gain_is_that_of_paired_dates():
    """Both losses go up and down together by far more than they differ: pairs see the difference."""
    reference = np.random.default_rng(6).uniform(1, 10, 200)
    found = gain_of(0.9 * reference, reference, "absolute", 1)
    np.testing.assert_allclose((found.gain, found.gain_low, found.gain_high), 0.1, atol=1e-12)
    assert gain_of(reference, reference, "absolute", 1).gain == 0
    assert gain_of(reference[:3], 2 * reference[:3], "absolute", 1).gain_low is None


def test_methods_are_asked_with_as_few_questions_as_there_are_answers():
    asks, refused = plan_asks(noisy(), read_methods(["head", "affine", "trex"]))
    assert [(each.method, each.mitigations) for each in asks] == [
        ("none", ("none", "affine", "head")), ("trex", ("trex",)),
    ]  # fmt: skip
    assert not refused
    # On a device it costs, so only what was named is asked.
    (ask,), _ = plan_asks(ENTRIES["ibm"], read_methods(["trex"]))
    assert ask.mitigations == ("trex",)


def test_all_is_what_a_backend_can_do_and_says_what_it_leaves_out():
    asks, refused = plan_asks(ENTRIES["aer"], read_methods(["all"]))
    assert [each for ask in asks for each in ask.mitigations] == ["none", "affine", "head"]
    assert {each.mitigation for each in refused} == {"trex", "zne", "pec"}
    assert all(each.reason for each in refused)


def test_unknown_methods_are_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="affine"):
        read_methods(["afine"])


def test_command_puts_each_method_beside_none(run):
    from typer.testing import CliRunner

    from qhq.cli.app import app

    arguments = ["eval", str(run.path), "--backend", "aer_noisy", "--shots", "256", "--samples", "40"]
    result = CliRunner().invoke(app, [*arguments, "--mitigation", "all", "--json"])
    assert result.exit_code == 0, result.stderr
    record = json.loads(result.stdout)
    rows = {row["mitigation"]: row for row in record["results"]}
    assert list(rows) == ["none", "affine", "head", "trex", "zne", "pec"]
    assert rows["none"]["executions"] == 40 * 256
    assert rows["affine"]["executions"] == rows["head"]["executions"] == (40 + 32) * 256
    assert rows["zne"]["executions"] == 3 * 40 * 256
    assert rows["trex"]["executions"] == 41 * 256
    for name, row in rows.items():
        assert row["device_seconds"] > 0
        assert row["expectation_variance"] > 0
        assert ("gain" in row) is (name != "none")
    assert rows["affine"]["gain_low"] < rows["affine"]["gain"] < rows["affine"]["gain_high"]
    assert rows["pec"]["executions"] == 40 * 256
    assert record["refused"] == []
    shown = CliRunner().invoke(app, [*arguments, "--mitigation", "affine"])
    assert "error saved" in shown.stdout


@pytest.mark.parametrize("method", ["trex", "zne", "pec"])
def test_command_refuses_what_a_backend_would_ignore(run, method):
    from typer.testing import CliRunner

    from qhq.cli.app import app

    result = CliRunner().invoke(app, ["eval", str(run.path), "--backend", "aer", "--mitigation", method])
    assert result.exit_code == 2
    assert "must carry out" in result.stderr
