"""Every test has a runs folder and a current folder of its own."""

from __future__ import annotations

import base64
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from typer.testing import CliRunner, Result

from qhq.paths import cache_dir

settings.register_profile(
    "any machine", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")
"""A test says what is right, never how fast: on a busy machine every example takes as long as it takes.

The examples are the same each time, so that a change is judged by what it changed and not by luck.
"""

TINY = """\
name: tiny
seed: 1
data: {symbols: [AAPL, MSFT], start: 2012-01-01, window: 5, scaling: standard}
quantum: {ansatz: reference, qubits: 2, depth: 1}
model: {recurrent: [{unit: gru, hidden: 4}]}
training: {epochs: 2, batch_size: 64, learning_rate: 0.01}
"""
"""A config that trains in about a second, and whose epochs improve on the untrained model.

Scaled by the window it would start at the last value, which two epochs of prices do not beat: then the run
keeps the untrained model, and every backend gives the same forecast.
"""


def pytest_collection_finish(session: pytest.Session) -> None:
    """Take what the imports and the 9,000 tests left on the heap out of every later garbage collection.

    A full collection walks it all, half a second each time; together they were a tenth of the suite.
    """
    import qiskit
    import torch  # noqa: F401  (both are imported by nearly every test, and hold most of the objects)

    assert qiskit.__version__
    gc.collect()
    gc.freeze()


ONE_PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
"""A whole PNG file."""


@pytest.fixture(autouse=True, scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory):
    """A cache folder of the session's own; the engine's compiled kernels are those of the user."""
    kernels = cache_dir() / "kernels"
    folder = tmp_path_factory.mktemp("cache")
    kernels.mkdir(parents=True, exist_ok=True)
    (folder / "kernels").symlink_to(kernels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QHQ_CACHE_DIR", str(folder))
        patch.setenv("QHQ_MLFLOW", "off")  # the tests of the mirror switch it on
        yield folder


@pytest.fixture(autouse=True, scope="session")
def no_power_cuts():
    """No test pulls the plug, so none waits for the disk: files are written, renamed and locked as ever."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda handle: None)
        yield


@pytest.fixture(autouse=True)
def unpainted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures that only illustrate a result are not drawn, and no other PNG is painted.

    Except in tests of the report and of planted files, and under ``pytest.mark.painted``: to draw those of
    each small training took a quarter of the suite, and no other test looks at one.
    """
    if {"report", "security"} & {*request.path.parts} or request.node.get_closest_marker("painted"):
        return
    from matplotlib.figure import Figure

    from qhq.report import figures

    paint = Figure.savefig

    def save(figure: Figure, file: Any, **options: Any) -> None:
        if isinstance(file, Path) and (options.get("format") or file.suffix[1:]) == "png":
            file.write_bytes(ONE_PIXEL)
        else:
            paint(figure, file, **options)

    draw = figures.try_figure

    def leave_out(save: Callable[[Path], object], path: Path, note: Callable[[str], None]) -> Path | None:
        if path.suffix != ".png":
            return draw(save, path, note)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(ONE_PIXEL)
        return path

    monkeypatch.setattr(Figure, "savefig", save)
    monkeypatch.setattr(figures, "try_figure", leave_out)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder with a runs folder and the config ``tiny.yaml``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QHQ_RUNS_DIR", str(tmp_path / "runs"))
    (tmp_path / "tiny.yaml").write_text(TINY)
    return tmp_path


@pytest.fixture(autouse=True)
def same_output_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command prints must not depend on how long it took, nor on the terminal that pytest runs in."""
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr("qhq.progress.PATIENCE_SECONDS", float("inf"))


@pytest.fixture
def qhq(study: Path):
    """Run the command line in this process."""
    from qhq.cli.app import app

    def run(*arguments: str) -> Result:
        result = CliRunner().invoke(app, arguments)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run
