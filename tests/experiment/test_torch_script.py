"""A script of plain PyTorch: it gives the same forecasts in a process that has no qhq."""

from __future__ import annotations

import subprocess
import sys
from importlib.resources import files
from typing import get_args

import numpy as np
import pytest
from qiskit.circuit.library import RYGate

from qhq.ansatz.spec import AngleScalingKind
from qhq.api.training import train
from qhq.errors import ConfigError
from qhq.experiment.torch_script import torch_script
from qhq.runs.run_folder import RunFolder

ALONE = """
import sys
sys.modules["qhq"] = None  # importing it fails
import numpy as np
for name in sys.argv[1:]:
    scope = {"__name__": "script"}
    exec(open(f"{name}.py").read(), scope)
    given = np.load(f"{name}.npz")
    values = [given["windows"], given["symbols"].tolist(), given["static"]]
    found = {"forecast": scope["forecast"](*values)}
    if scope["VALUES"] > 1:
        found["quantiles"] = scope["quantiles"](*values)
    np.savez(f"{name}.found.npz", **found)
assert not any(name.startswith(("qiskit", "pandas")) for name in sys.modules)
"""

STATIC = {"data.features": ["adj_close", "volume"], "data.static": ["volume"],
          "data.scaling": {"default": "log_return", "volume": "log_standard"}}  # fmt: skip
DESIGNS = {
    "window": {"data.scaling": "window", "model.activation_after": "tanh", "model.layer_norm": True},
    "standard": {
        "model.recurrent": [{"unit": "lstm", "hidden": 3}, {"unit": "rnn", "hidden": 3}],
        "quantum.ansatz": "qlstm",
    },
    "log_return": {"data.scaling": "log_return", "model.skip": "concat", "data.horizon": 2},
    "mlp": {"quantum": None, "model.middle": {"hidden": 2, "outputs": 4}, "data.scaling": "log_standard"},
    "mixed": {
        "model.recurrent": [
            {"unit": "gru", "hidden": 2, "bidirectional": True, "layer_norm": True},
            {"unit": "tcn", "hidden": 3, "residual": True},
        ],
        "model.pooling": "attention", "model.head_layers": [3], "model.head_activation": "gelu",
        "model.static_layers": [2], "training.loss": "student_t", **STATIC,
    },
    "no encoder": {"model.encoder": "none", "data.gaps": "mask", "data.scaling": "window_mean",
                   "data.features": ["close"], "data.targets": ["close"],
                   "model.output_activation": "tanhshrink", "training.dtype": "float64"},
    "gates": {"model.recurrent": [{"unit": "qgru", "hidden": 2}, {"unit": "qlstm_six", "hidden": 1}]},
    "stand-ins": {"model.recurrent": [{"unit": "qlstm", "hidden": 2}], "quantum": None,
                  "model.middle": {"hidden": 2, "outputs": 2}, "training.loss": "quantile"},
    "parts": {
        "model.circuits": {"arrange": "sequence"}, "quantum.ansatz": "side_by_side",
        "quantum.overrides": {
            "parts": [{"ansatz": "reference", "qubits": 2}, {"ansatz": "real_amplitudes", "qubits": 1}]
        },
    },
    "targets": {"model.circuits": {"arrange": "per_target"}, "data.targets": ["volume", "close"],
                "data.features": ["close", "volume"], "training.loss": "gaussian"},
    "boosting": {"model": {"kind": "features", "head": {"kind": "boosting", "trees": 5}}},
    "reservoir": {"model": {"kind": "features", "include_inputs": True}, "quantum": {"ansatz": "reservoir"}},
}  # fmt: skip
"""Each stage of each architecture at least once."""


@pytest.mark.filterwarnings("ignore:.*samples.*:UserWarning")
def test_a_process_without_qhq_has_the_same_forecasts(study):
    """Law: forecasts to 1e-5, and quantiles."""
    wanted = {}
    for design, changes in DESIGNS.items():
        run = train("tiny.yaml", set={"training.epochs": 1, "data.start": "2012-09-01", **changes})
        windows = run._experiment.data.test
        given = windows.inputs
        if windows.cut.masked:
            given = np.concatenate([given, windows.mask[..., None]], axis=2)
        np.savez(
            study / f"{design}.npz",
            windows=given,
            symbols=windows.symbol.astype(str),
            static=windows.static,
        )
        (study / f"{design}.py").write_text(torch_script(RunFolder(run.folder)), encoding="utf-8")
        wanted[design] = run.forecasts
    done = subprocess.run(
        [sys.executable, "-c", ALONE, *DESIGNS], cwd=study, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for design, forecasts in wanted.items():
        found = np.load(study / f"{design}.found.npz")
        # Rows of a run are by window, then by horizon, then by target.
        np.testing.assert_allclose(
            found["forecast"].ravel(), forecasts["forecast"], rtol=1e-5, err_msg=design
        )
        levels = [name for name in forecasts if name.startswith("q_")]
        assert ("quantiles" in found) == bool(levels)
        if levels:
            shape = (-1, len(levels))
            np.testing.assert_allclose(
                found["quantiles"].reshape(shape), forecasts[levels], rtol=1e-5, err_msg=design
            )


def test_a_script_that_forecasts_otherwise_is_not_given_out(study, monkeypatch):
    run = train("tiny.yaml", set={"training.epochs": 1, "data.start": "2012-09-01"})
    monkeypatch.setattr("qhq.experiment.torch_script._ANGLES", {RYGate: "rz"})
    with pytest.raises(ConfigError, match="must forecast what the run's own model forecasts"):
        torch_script(RunFolder(run.folder))


def test_a_script_knows_every_angle_scaling():
    text = (files("qhq.experiment") / "templates" / "model_script.txt").read_text(encoding="utf-8")
    assert all(f'"{kind}": ' in text for kind in get_args(AngleScalingKind))


def test_a_unit_of_another_package_is_refused(study, monkeypatch):
    run = train("tiny.yaml", set={"training.epochs": 1, "data.start": "2012-06-01"})
    monkeypatch.setattr("qhq.experiment.torch_script.UNITS", {})
    with pytest.raises(ConfigError, match="parts that are qhq's own"):
        torch_script(RunFolder(run.folder))
