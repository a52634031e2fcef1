"""Examples in docstrings run in a folder of their own, in which the latest run is a small finished one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

SMALL = {
    "name": "small",
    "data": {"symbols": ["AAPL", "MSFT"], "start": "2012-01-01", "window": 5},
    "quantum": {"ansatz": "reference", "qubits": 2, "depth": 1},
    "model": {"recurrent": [{"unit": "gru", "hidden": 4}]},
    "training": {"epochs": 1},
}


@pytest.fixture(scope="session")
def a_runs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs folder with one run."""
    import qhq

    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QHQ_RUNS_DIR", str(folder))
        patch.setenv("QHQ_MLFLOW", "off")
        qhq.train(SMALL)
    return folder


@pytest.fixture(autouse=True)
def examples_at_home(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Give the examples of the public face a current folder and a runs folder; all else is left alone."""
    if not (isinstance(request.node, pytest.DoctestItem) and request.node.name.startswith("qhq.api.")):
        yield
        return
    runs = request.getfixturevalue("a_runs_folder")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("example"))
        patch.setenv("QHQ_RUNS_DIR", str(runs))
        patch.setenv("QHQ_MLFLOW", "off")
        yield
