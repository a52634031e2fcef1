"""qhq: take a hybrid quantum-classical forecasting model from the notebook to quantum hardware.

    import qhq
    run = qhq.train("experiments/quickstart", backend="aer", set={"training.epochs": 5})
    run.evaluate("fake_fez", samples=64)

Every command of the shell is one of these calls; docs/python.md shows the pairs. Importing the package loads
nothing: each name is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qhq.plugins import lazy_names

if TYPE_CHECKING:
    from qhq.api.comparison import compare as compare
    from qhq.api.evaluation import Evaluation as Evaluation
    from qhq.api.parts import diagnose as diagnose
    from qhq.api.parts import draw_model as draw_model
    from qhq.api.parts import load_ansatz as load_ansatz
    from qhq.api.parts import load_panel as load_panel
    from qhq.api.report import write_report as write_report
    from qhq.api.run import Run as Run
    from qhq.api.run import open_run as open_run
    from qhq.api.study import ablate as ablate
    from qhq.api.study import sweep as sweep
    from qhq.api.training import forecast_training as forecast_training
    from qhq.api.training import train as train
    from qhq.backends.registry import load_backends as load_backends
    from qhq.models.own import wrap as wrap
    from qhq.quantum.adjoint_network import AdjointNetwork as AdjointNetwork
    from qhq.quantum.layer import QuantumLayer as QuantumLayer

__version__ = "0.1.0"

_HOMES = {
    "AdjointNetwork": "quantum.adjoint_network",
    "Evaluation": "api.evaluation",
    "QuantumLayer": "quantum.layer",
    "Run": "api.run",
    "ablate": "api.study",
    "compare": "api.comparison",
    "diagnose": "api.parts",
    "draw_model": "api.parts",
    "forecast_training": "api.training",
    "load_ansatz": "api.parts",
    "load_backends": "backends.registry",
    "load_panel": "api.parts",
    "open_run": "api.run",
    "sweep": "api.study",
    "train": "api.training",
    "wrap": "models.own",
    "write_report": "api.report",
}

__all__ = list(_HOMES)

__getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    """The public names, for completion in a notebook."""
    return sorted({*globals(), *_HOMES})
