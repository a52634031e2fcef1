import numpy as np
import pytest
from numpy.testing import assert_allclose

from qhq.data.prepare import fingerprint, prepare
from qhq.data.spec import DataSpec
from qhq.errors import DataError

from .panels import KINDS, make_frame, make_panel, option_frame


@pytest.mark.parametrize("kind", KINDS)
def test_the_quickstart_data_is_ready_in_every_scaling(kind):
    data = prepare(DataSpec(scaling=kind))
    assert [len(data.train), len(data.validation), len(data.test)] == [5685, 921, 1902]
    steps = 19 if kind == "log_return" else 20
    for windows in (data.train, data.validation, data.test):
        inputs = data.scaler.inputs(windows)
        assert inputs.shape == (len(windows), steps, 1)
        assert inputs.dtype == np.float64
        assert np.isfinite(inputs).all()
        back = data.scaler.to_price(data.scaler.targets(windows), windows)
        assert_allclose(back, windows.targets, rtol=1e-12)


def test_the_fingerprint_is_of_the_values_used():
    panel = make_panel()
    changed = make_panel()
    changed.values[5, 0] += 1e-9
    assert fingerprint(panel) == fingerprint(make_panel()) != fingerprint(changed)
    assert fingerprint(panel) != fingerprint(make_panel(columns=("close", "adj_close")))
    assert fingerprint(panel) != fingerprint(make_panel(symbols=("AAA", "CCC")))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"close": 5.0}, "Got one value only for AAA in the train split"),
        ({"volume": 0}, "Got zero for AAA in the train split"),
    ],
)
def test_a_target_that_cannot_be_judged_is_refused(tmp_path, change, match):
    make_frame().assign(**change).to_csv(tmp_path / "prices.csv", index=False)
    target = next(iter(change))
    spec = DataSpec(
        source="csv",
        path=str(tmp_path / "prices.csv"),
        symbols=("AAA",),
        features=(target,),
        targets=(target,),
        window=5,
        scaling="minmax",
    )
    with pytest.raises(DataError, match=match):
        prepare(spec)


def test_a_symbol_without_training_rows_is_named():
    with pytest.raises(DataError, match=r"The train split must hold .* > 0 rows of FB"):
        prepare(DataSpec(symbols=("AAPL", "FB")))


def test_a_scaler_that_does_not_know_a_held_out_symbol_is_refused_before_training():
    spec = DataSpec(scaling="minmax", split={"held_out": ["GOOG"]})
    with pytest.raises(DataError, match="must have seen every symbol in training. Got 'GOOG'"):
        prepare(spec)


def test_targets_that_the_scaling_leaves_no_spread_are_refused(tmp_path):
    frame = option_frame(sessions=120).drop(columns=["bid", "ask", "mid", "last"]).assign(iv=0.3)
    frame.to_csv(tmp_path / "options.csv", index=False)
    spec = DataSpec(
        source="csv",
        panel="options",
        path=str(tmp_path / "options.csv"),
        symbols=None,
        task="price",
        features=("mid", "spot"),
        targets=("mid",),
        window=4,
        scaling="residual",
    )
    with pytest.raises(DataError, match="must vary in training .data.scaling residual"):
        prepare(spec)
