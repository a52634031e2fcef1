"""A script of plain PyTorch: it gives the same forecasts in a process that has no qhq."""

from __future__ import annotations

import subprocess
import sys
from importlib.resources import files
from typing import get_args

import numpy as np
import pytest

from qhq.ansatz.spec import AngleScalingKind
from qhq.api.training import train
from qhq.errors import ConfigError
from qhq.experiment.torch_script import torch_script
from qhq.runs.run_folder import RunFolder

ALONE = """
import sys
sys.modules["qhq"] = None  # importing it fails
import numpy as np
scope = {"__name__": "script"}
exec(open("script.py").read(), scope)
given = np.load("windows.npz")
np.save("forecasts.npy", scope["forecast"](given["windows"], given["symbols"].tolist()))
assert not any(name.startswith(("qiskit", "pandas")) for name in sys.modules)
"""

DESIGNS = {
    "window": {"data.scaling": "window", "model.activation_after": "tanh", "model.layer_norm": True},
    "standard": {
        "model.recurrent": [{"unit": "lstm", "hidden": 3}, {"unit": "rnn", "hidden": 3}],
        "quantum.ansatz": "qlstm",
    },
    "log_return": {"data.scaling": "log_return", "model.skip": "concat", "data.horizon": 2},
    "mlp": {"quantum": None, "model.middle": {"hidden": 2, "outputs": 4}, "data.scaling": "log_standard"},
}


@pytest.mark.parametrize("design", DESIGNS)
def test_a_process_without_qhq_has_the_same_forecasts(study, design):
    run = train("tiny.yaml", set={"training.epochs": 1, "data.start": "2012-06-01", **DESIGNS[design]})
    windows = run._experiment.data.test
    np.savez(study / "windows.npz", windows=windows.inputs, symbols=windows.symbol.astype(str))
    (study / "script.py").write_text(torch_script(RunFolder(run.folder)), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", ALONE], cwd=study, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = np.load(study / "forecasts.npy")
    np.testing.assert_allclose(found.ravel(), run.forecasts["forecast"], rtol=1e-5)


def test_a_script_knows_every_angle_scaling():
    text = (files("qhq.experiment") / "templates" / "model_script.txt").read_text(encoding="utf-8")
    assert all(f'"{kind}": ' in text for kind in get_args(AngleScalingKind))


def test_a_unit_of_another_package_is_refused(study, monkeypatch):
    run = train("tiny.yaml", set={"training.epochs": 1, "data.start": "2012-06-01"})
    monkeypatch.setattr("qhq.experiment.torch_script.UNITS", {})
    with pytest.raises(ConfigError, match="parts that are qhq's own"):
        torch_script(RunFolder(run.folder))
