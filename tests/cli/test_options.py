"""Options from the command line: the surface panel, a user's own file, what a collapse looks like."""

import json

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from qhq.data.columns import OPTIONS
from tests.data.panels import option_frame

TINY = ("quantum.qubits=2", "quantum.depth=1", "training.epochs=1", "data.window=4")
OWN = ("data.source=csv", "data.panel=options", "data.path=options.csv", "data.split.held_out=[BBB]")
SQUASHED = ("data.scaling=raw", "model.output_activation=sigmoid", "training.learning_rate=0.05")
"""Prices of dollars out of a unit that ends at 1: a user's mistake that leaves one value."""
NEEDED = [name for name, column in OPTIONS.items() if column.needed]


def settings(*pairs):
    return [part for pair in (*TINY, *pairs) for part in ("--set", pair)]


def train(qhq, *pairs, status=0):
    result = qhq("train", "experiments/options", "--json", *settings(*pairs))
    assert result.exit_code == status, result.output
    return json.loads(result.stdout), result


def test_the_surface_panel_is_priced_beside_black_scholes(qhq):
    record, _ = train(qhq)
    assert record["task"] == "price"
    metrics = record["metrics"]
    assert metrics["baseline"] == "black_scholes"
    assert metrics["baselines"]["black_scholes"]["mae"] < metrics["naive"]["mae"]
    assert set(metrics["held_out"]) == {"test", "naive", "black_scholes"}
    assert metrics["held_out"]["test"]["mase"] is None
    assert set(metrics["options"]["symbols"]) == {"12490", "14541", "14593", "18542", "93436"}
    predictions = pd.read_csv(f"{record['path']}/predictions.csv")
    assert {"black_scholes", "underlying", "naive", "forecast"} <= set(predictions)
    assert record["static_scaler"]["columns"] == ["moneyness", "years", "right", "delta", "spot_return"]


def test_a_run_on_options_is_evaluated_again_to_the_same_figures(qhq):
    record, _ = train(qhq)
    result = qhq("eval", "--backend", "statevector", "--json")
    assert result.exit_code == 0, result.output
    (again,) = json.loads(result.stdout)["results"]
    np.testing.assert_allclose(again["metrics"]["mae"], record["metrics"]["test"]["mae"], rtol=1e-5)


@pytest.mark.parametrize(
    "scaling", ["residual", "over_strike", "over_spot", "implied_volatility", "window_mean"]
)
def test_a_users_file_with_only_the_documented_columns(qhq, study, scaling):
    frame = option_frame(sessions=120)[[*NEEDED, "bid", "ask"]]
    frame.to_csv(study / "options.csv", index=False)
    pairs = ("data.features=[bid, ask, spot]", "data.targets=[bid, ask]", f"data.scaling={scaling}")
    record, _ = train(qhq, *OWN, *pairs)
    assert record["design"]["data"]["targets"] == ["bid", "ask"]
    assert record["metrics"]["options"]["symbols"]["BBB"]["test"]["mae_over_strike"] > 0
    predictions = pd.read_csv(f"{record['path']}/predictions.csv")
    assert set(predictions["target"]) == {"bid", "ask"}


def test_wrong_columns_are_named_with_the_nearest_present(qhq, study):
    frame = option_frame().rename(columns={"strike": "strik", "underlying": "undrlying"})
    frame.to_csv(study / "options.csv", index=False)
    record, result = train(qhq, *OWN, status=3)
    for word in ("strike", "strik", "underlying", "undrlying"):
        assert f"'{word}'" in record["error"]["message"], result.output


def test_a_collapse_is_named(qhq, study):
    option_frame(sessions=120).to_csv(study / "options.csv", index=False)
    record, result = train(qhq, *OWN, *SQUASHED)
    assert record["collapse"]["ratio"] < 0.05
    assert "Warning: Constant forecast of mid" in result.stderr


def test_a_leak_cannot_be_configured(qhq):
    record, _ = train(qhq, "data.static=[iv]", status=2)
    assert "which task price must not see" in record["error"]["message"]


def test_the_test_part_moves_no_weight_of_an_option_model(qhq, study):
    frame, weights = option_frame(sessions=120), []
    days = np.unique(frame["date"])
    late = frame["date"] >= days[int(0.9 * len(days))]
    for factor in (1.0, 1.01):
        changed = frame.copy()
        for name in ("bid", "ask", "mid", "last", "spot"):
            changed.loc[late, name] = frame.loc[late, name] * factor
        changed.to_csv(study / "options.csv", index=False)
        record, _ = train(qhq, *OWN)
        weights.append(load_file(f"{record['path']}/model.safetensors"))
    for name, tensor in weights[0].items():
        np.testing.assert_array_equal(tensor, weights[1][name])
