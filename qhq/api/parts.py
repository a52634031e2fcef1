"""What a run is made of: its circuit, its prices, and its model under the doctor's eyes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qhq.api.given import (
    Changes,
    Config,
    called,
    is_config,
    read_changes,
    read_config,
    read_subject,
    reference_of,
)
from qhq.data.caveat import NO_CAVEAT
from qhq.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd
    from qiskit.circuit import QuantumCircuit
    from torch import Tensor, nn

    from qhq.ansatz.assemble import Circuit
    from qhq.ansatz.program import Ansatz
    from qhq.experiment.checkup import Examination
    from qhq.report.model_steps import ModelDiagram


def diagnose(
    subject: Config | QuantumCircuit | Ansatz | nn.Module = None,
    *,
    set: Changes | None = None,
    inputs: Tensor | tuple[Tensor, ...] | None = None,
    targets: Tensor | None = None,
) -> Examination:
    """Look at a model before or after training: name each fault, its figures and its fix.

    Args:
        subject: A run or a config; the latest run if left out. A run with ``set`` is looked at as it would
            begin with those keys. A circuit in memory is looked at in the model of the quickstart. Any torch
            module is looked at on ``inputs``.
        set: Config keys laid over it.
        inputs: What a torch module is called with, samples first; several in a tuple.
        targets: Scaled targets for a torch module, in the shape of its forecasts.

    Returns:
        What was found: ``healthy``, ``findings``, and doubts of the data.

    Raises:
        QHQError: If there is no such run or config, or it cannot be opened.

    >>> import qhq
    >>> qhq.diagnose("experiments/quickstart", set={"quantum.depth": 1}).healthy
    True
    """
    from torch import nn

    if isinstance(subject, nn.Module):
        return _examined(subject, inputs, targets, set)
    if inputs is not None or targets is not None:
        raise ConfigError(
            "inputs and targets belong to a torch module, since a run has its own data",
            got=f"them together with {called(subject)}",
            fix="Leave them out, or give diagnose(run.model, inputs=...)",
        )
    from qhq.experiment.checkup import examine_design, examine_subject

    if not (isinstance(subject, str | os.PathLike | Mapping | None) or is_config(subject)):
        return examine_design(read_config(None, set, {"quantum.ansatz": subject}))  # it says what is none
    overrides, held = read_changes(set)
    if held is not None or isinstance(subject, Mapping) or is_config(subject):
        return examine_design(read_subject(subject, set))
    reference = reference_of(subject)
    return examine_subject(reference, overrides)


def _examined(
    model: nn.Module, inputs: Tensor | tuple[Tensor, ...] | None, targets: Tensor | None, set: Any
) -> Examination:
    from qhq.diagnostics.doctor import examine
    from qhq.experiment.checkup import Examination

    if inputs is None or set:
        raise ConfigError(
            "A torch module is looked at on inputs of its own, and has no config",
            got="set" if set else "no inputs",
            fix="Write diagnose(model, inputs=...), and targets=... if there are any",
        )
    return Examination(f"a {type(model).__name__}", NO_CAVEAT, examine(model, inputs, targets))


def draw_model(
    subject: Config = None,
    *,
    set: Changes | None = None,
    output: str | os.PathLike[str] | None = None,
) -> ModelDiagram:
    """Lay out a model step by step, with shapes and weights, its circuit opened up; with ``output`` draw it.

    Of a run its folder says it all, and nothing is opened. Of a config, or a run with ``set``, the model is
    built and not run.

    Args:
        subject: A run or a config; the latest run if left out.
        set: Config keys laid over it.
        output: A .png, .svg or .pdf to draw into.

    Returns:
        Its ``steps``, each with a ``title``, ``lines``, ``shape`` and ``weights``.

    Raises:
        QHQError: If there is no such run or config, it cannot be opened, or the picture cannot be written.

    >>> import qhq
    >>> [step.title for step in qhq.draw_model("experiments/quickstart").steps[:3]]
    ['window', 'GRU', 'last step']
    """
    from pathlib import Path

    from qhq.report.figures import save_figure
    from qhq.report.model_diagram import diagram_of, diagram_of_run, draw_diagram
    from qhq.runs.run_folder import find_run, refers_to_run

    named = None if isinstance(subject, Mapping) or is_config(subject) else reference_of(subject)
    is_run = not (isinstance(subject, Mapping) or is_config(subject)) and (
        named is None or refers_to_run(named)
    )
    if is_run and not set:
        folder = find_run(named)
        diagram = diagram_of_run(folder, folder.read_record())
    else:
        from qhq.experiment.opening import open_design

        diagram = diagram_of(
            open_design(read_subject(find_run(None).path if is_run and named is None else subject, set))
        )
    if output is not None:
        save_figure(draw_diagram(diagram), Path(output))
    return diagram


def load_ansatz(circuit: Circuit, **keys: Any) -> Ansatz:
    """Load a circuit with its inputs, weights and observables: what a quantum layer runs and backends open.

    Args:
        circuit: The name of a file in ``circuits/``, the path of one, or a ``QuantumCircuit`` of Qiskit's.
        **keys: Of a file: keys laid over its own, such as ``qubits=4, depth=2``. Of a ``QuantumCircuit``:
            ``inputs``, the parameters that take the inputs, as objects, names or one prefix of their names
            (``x`` by default), the rest being weights; ``observables``; ``angle_scaling``.

    Raises:
        ConfigError: If there is no such circuit, a key does not exist, or a parameter has no role.

    >>> import qhq
    >>> qhq.load_ansatz("reference", qubits=4, depth=2).num_weights
    8
    >>> from qiskit.circuit.library import real_amplitudes, zz_feature_map
    >>> circuit = zz_feature_map(4).compose(real_amplitudes(4, reps=2))
    >>> qhq.load_ansatz(circuit, observables=["Z0", "Z0 Z1"]).num_outputs
    2
    """
    from qhq.ansatz.assemble import build_ansatz

    return build_ansatz(circuit, **keys)


def load_panel(data: Config = None, *, set: Changes | None = None, panel: str | None = None) -> pd.DataFrame:
    """Read prices as a training would: checked, cut to the span that is asked for, other columns computed.

    Args:
        data: A file of prices, a folder of recorded chains, or a config; the quickstart's if left out.
        set: Config keys laid over it, such as ``{"data.symbols": ["AAPL"]}``.
        panel: ``stocks`` or ``options``, where a file could be either.

    Returns:
        One row a series and session: ``symbol``, ``date``, of options ``underlying``, and the columns in the
        unit of the file. ``attrs`` hold ``kind`` (traded, surface, model, ...), ``notes`` and ``set_aside``.

    Raises:
        QHQError: If it cannot be read, or breaks a rule of a panel.

    >>> import qhq
    >>> qhq.load_panel(set={"data.symbols": ["AAPL"]}).columns[:2].to_list()
    ['symbol', 'date']
    """
    import numpy as np
    import pandas as pd

    from qhq.data.load import load_panel as load
    from qhq.experiment.config import find_data

    if isinstance(data, Mapping) or is_config(data):
        spec = read_config(data, set).data
    else:
        spec = find_data(reference_of(data), read_changes(set, circuits=False)[0], panel).spec
    rows = load(spec)
    frame = pd.DataFrame(
        {
            "symbol": np.asarray(rows.symbols, dtype=object)[rows.code],
            "date": pd.to_datetime(rows.dates),
            **({"underlying": np.asarray(rows.groups, dtype=object)[rows.code]} if rows.groups else {}),
            **{name: rows.column(name) for name in rows.columns},
        }
    )
    frame.attrs = {"kind": rows.label, "notes": list(rows.notes), "set_aside": rows.quarantine.to_dict()}
    return frame
