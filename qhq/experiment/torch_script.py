"""A trained model as a script of plain PyTorch: encoder, circuit, head, scaler, and all weights inside it.

The circuit is a statevector in torch, gate by gate in RX, RY, RZ and CX, which any circuit can be opened
into; of one that resets qubits it is a density matrix where that is smaller. It is differentiable, so the
script can be trained on. What a script cannot hold is refused here: units and modules of the user's own,
whose code is not qhq's. A scaling that needs more than a window's values and symbol (those of options) leaves
the script with forecasts of scaled windows alone.

The script is run and compared with the run's own model before it is given out, as every export is: a stage
that it left out would forecast, and nobody would see it.
"""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from qiskit.circuit import Parameter, Reset
from qiskit.circuit.library import (
    CXGate,
    HGate,
    PhaseGate,
    RXGate,
    RYGate,
    RZGate,
    SdgGate,
    SGate,
    SXGate,
    TdgGate,
    TGate,
    UGate,
    XGate,
    YGate,
    ZGate,
)
from torch import Tensor

from qhq import __version__
from qhq.ansatz.export import in_gates
from qhq.ansatz.program import Ansatz, unitary
from qhq.ansatz.script import angle_source, parameter_sources
from qhq.ansatz.stored import load_built, plain_program
from qhq.data.columns import is_count
from qhq.errors import ConfigError, visible
from qhq.experiment.config import ExperimentConfig, load_config
from qhq.experiment.opening import build_forecaster, engine_for
from qhq.experiment.reopening import read_finished
from qhq.files import MOST_DOCUMENT_BYTES, read_regular
from qhq.models.hybrid import Shape
from qhq.models.spec import ACTIVATIONS, UNITS, BoostingSpec, FeaturesSpec, is_gated
from qhq.paths import PACKAGE
from qhq.runs.record import RunRecord
from qhq.runs.run_folder import RunFolder
from qhq.training.checkpoint import read_weights
from qhq.training.losses import open_objective

# Fixed gates as rotations, the first applied first; up to a global phase, which no expectation sees.
_FIXED: dict[type, tuple[tuple[str, float], ...]] = {
    XGate: (("rx", math.pi),),
    YGate: (("ry", math.pi),),
    ZGate: (("rz", math.pi),),
    HGate: (("rz", math.pi), ("ry", math.pi / 2)),
    SGate: (("rz", math.pi / 2),),
    SdgGate: (("rz", -math.pi / 2),),
    TGate: (("rz", math.pi / 4),),
    TdgGate: (("rz", -math.pi / 4),),
    SXGate: (("rx", math.pi / 2),),
}

_ANGLES = {RXGate: "rx", RYGate: "ry", RZGate: "rz", PhaseGate: "rz"}
_GATES = frozenset({*_FIXED, *_ANGLES, UGate, CXGate})

# Those that a window's values and its symbol are enough for.
_SCALINGS = (
    "window", "window_mean", "raw", "panel_minmax", "minmax", "standard", "log_standard", "log_return",
)  # fmt: skip


_MOST_AMPLITUDES = 2**22
"""Of the states that a script holds at a time."""

_CHECKED_AMPLITUDES = 2**16
"""Of one state: a wider circuit takes minutes in a script, and is not run before it is given out."""


def torch_script(folder: RunFolder) -> str:
    """The whole model of a finished run, as a script that needs PyTorch and NumPy alone.

    Raises:
        ConfigError: If the run is not finished, its folder is damaged, or its model has parts whose code is
            not qhq's.
    """
    record, config = read_finished(folder), load_config(str(folder.config))
    _check_scriptable(config)
    tensors = read_weights(folder.weights)
    ansatz = load_built(folder.circuit) if config.quantum else None
    written = None if ansatz is None else _without_many_resets(ansatz)
    facts = _constants(config, record, written)
    parts = {
        "TITLE": visible(f"Run {folder.name}", cell=True),
        "VERSION": __version__,
        "CONSTANTS": "\n".join(f"{name} = {value}" for name, value in facts.items()),
        "CIRCUIT": _template("circuit") if written else "",
        "PARTS": "".join(_template(name) for name in _stages(config)),
        "GATES": "\n".join(_circuit(written)) if written else "",
        "WEIGHTS": _packed(_named_as_in_script(tensors)),
    }
    text = _template("script")
    # Templates first, then what they are filled with, in one pass: a name of the user's that reads like a
    # place to fill is not filled.
    for name in ("CIRCUIT", "PARTS"):
        text = text.replace(f"<<{name}>>\n", parts[name])
    text = re.sub(r"<<([A-Z]+)>>", lambda match: parts[match[1]], text)
    if written is None or 2 ** _wires(written) <= _CHECKED_AMPLITUDES:
        _check(text, config, ansatz, tensors)
    return text


def _template(name: str) -> str:
    path = PACKAGE / "experiment" / "templates" / f"model_{name}.txt"
    return read_regular(path, most=MOST_DOCUMENT_BYTES).decode()


def _stages(config: ExperimentConfig) -> tuple[str, ...]:
    """Templates of the network."""
    model = config.model
    if isinstance(model, FeaturesSpec):
        return ("features",)
    if is_gated(model):
        return ("encoder", "circuits", "gated")
    several = ("circuits", "several") if model.circuits is not None else ("hybrid",)
    return ("encoder", "stack", *several)


def _check_scriptable(config: ExperimentConfig) -> None:
    """Refuse a model of which not all is qhq's own.

    Raises:
        ConfigError: With the part.
    """
    model = config.model
    if isinstance(model, FeaturesSpec):
        return
    own = [layer.unit for layer in model.recurrent if layer.unit not in UNITS]
    if model.file is not None:
        own = [str(model.file)]
    if own:
        raise ConfigError(
            "A script can hold the parts that are qhq's own",
            got=f"'{own[0]}', whose code is another's",
            fix="Export the circuit alone with --to python",
        )


def _without_many_resets(ansatz: Ansatz) -> Ansatz:
    """The circuit as a script holds it: with a qubit more for each reset where that makes a smaller state."""
    if ansatz.num_resets > ansatz.num_qubits:
        return ansatz
    return unitary(ansatz) if ansatz.num_resets else ansatz


def _wires(ansatz: Ansatz) -> int:
    """Qubits of a state, two for each of a density matrix."""
    return ansatz.num_qubits * (2 if ansatz.num_resets else 1)


def _named_as_in_script(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of any architecture by the names of the script's: its network is ``module``."""
    found = {}
    for name, tensor in tensors.items():
        known = f"mlp.{name.removeprefix('twin.')}" if name.startswith("twin.") else name
        inside = known in ("start", "gain") or known.startswith("module.")
        found[known if inside else f"module.{known}"] = tensor
    return found


def _constants(config: ExperimentConfig, record: RunRecord, ansatz: Ansatz | None) -> dict[str, str]:
    """What tells one model from another, as sources of plain values."""
    data, model, scaler = config.data, config.model, dict(record.scaler)
    objective, middle = open_objective(config.training), model.middle
    targets_seen = set(data.targets) <= set(data.features)
    whole = set(_kinds(scaler)) <= set(_SCALINGS) and targets_seen
    angles = ansatz.angle_scaling if ansatz else middle.angle_scaling if middle else "none"
    facts: dict[str, Any] = {
        "FEATURES": list(data.features),
        "TARGETS": list(data.targets),
        "STATIC": list(data.static),
        "GAPS": data.gaps == "mask",
        "WINDOW": data.window,
        "HORIZON": data.horizon,
        "LOSS": config.training.loss if objective.values > 1 else "point",
        "VALUES": objective.values,
        "LEVELS": list(objective.levels),
        "SEEN": len(data.features) + (data.gaps == "mask"),
        "MIDDLE": "quantum" if ansatz else "mlp" if middle else "none",
        "ANGLE_SCALING": angles,
        "QUBITS": ansatz.num_qubits if ansatz else 0,
        "MIXED": bool(ansatz and ansatz.num_resets),
        "ROWS": max(1, _MOST_AMPLITUDES >> _wires(ansatz)) if ansatz else _MOST_AMPLITUDES,
        "OBSERVABLES": _observables(ansatz) if ansatz else [],
        "WHOLE": whole,
        "SCALING": scaler if whole else {"kind": str(scaler.get("kind"))},
        "STATIC_SCALING": _static_scaling(record),
        "DTYPE": config.training.dtype,
    }
    if isinstance(model, FeaturesSpec):
        facts |= {
            "BANDWIDTH": model.bandwidth,
            "INCLUDE_INPUTS": model.include_inputs,
            "DEPTH": model.head.depth if isinstance(model.head, BoostingSpec) else 0,
        }
        return {name: repr(value) for name, value in facts.items()}
    facts |= {
        "RECURRENT": [layer.model_dump() for layer in model.recurrent] if model.encoder != "none" else [],
        "POOLING": model.pooling,
        "SKIP": model.skip,
        "ARRANGE": model.circuits.arrange if model.circuits else "",
        "PARTS": [(part.inputs, part.outputs) for part in ansatz.parts] if ansatz else [],
    }
    classes = {
        name.upper(): f"nn.{ACTIVATIONS[getattr(model, name)].rpartition(':')[2]}"
        for name in ("activation_before", "activation_after", "head_activation", "output_activation")
    }
    return {name: repr(value) for name, value in facts.items()} | classes


def _kinds(scaler: Mapping[str, Any]) -> list[str]:
    """Kinds of a scaler, or of those of its columns."""
    return [str(each.get("kind")) for each in scaler.get("parts", [scaler])]


def _static_scaling(record: RunRecord) -> dict[str, Any]:
    """Offset and unit of the static features, and which of them are taken as logarithms."""
    scaler = record.static_scaler
    if scaler is None:
        return {}
    as_they_are = scaler["kind"] in ("raw", "panel_minmax")
    logs = [not as_they_are and is_count(name) for name in scaler["columns"]]
    return {"logs": logs, "offset": scaler["offset"], "unit": scaler["unit"]}


@torch.no_grad()
def _check(text: str, config: ExperimentConfig, ansatz: Ansatz | None, tensors: Mapping[str, Tensor]) -> None:
    """Run the script and compare its forecasts with those of the run's own model.

    Raises:
        ConfigError: If they are others.
    """
    # Of qhq's own words and of plain values alone: nothing of a user's file is run.
    scope: dict[str, Any] = {"__name__": "script"}
    exec(compile(text, "script", "exec"), scope)
    data = config.data
    objective = open_objective(config.training)
    objective.fitted = tensors.get("start")
    # Returns have one row fewer.
    steps = data.window - ("log_return" in data.scalings.values())
    sizes = scope["SEEN"], data.horizon, len(data.targets), len(data.static)
    shape = Shape(*sizes, window=steps, objective=objective)
    model, _ = build_forecaster(config, shape, ansatz, engine_for(config, ansatz))
    model.load_state_dict(dict(tensors))
    generator = np.random.default_rng(0)
    windows = generator.normal(size=(4, steps, scope["SEEN"]))
    static = generator.normal(size=(4, len(data.static))) if data.static else None
    dtype = next(iter(model.state_dict().values())).dtype
    given = [None if each is None else torch.as_tensor(each, dtype=dtype) for each in (windows, static)]
    wanted = model.eval()(*given).double().numpy()
    if not np.allclose(scope["forecast_scaled"](windows, static), wanted, rtol=1e-5, atol=1e-6):
        raise ConfigError(
            "A script must forecast what the run's own model forecasts",
            got="other values",
            fix="Export the circuit alone with --to python, and report this run's config.yaml",
        )


def _observables(ansatz: Ansatz) -> list[list[tuple[float, int, int]]]:
    """Terms of each observable: coefficient, mask of the bits it flips, mask of those whose sign it takes."""
    found = []
    for observable in ansatz.observables:
        terms = []
        for label, value in observable.to_list():
            # Qiskit writes qubit 0 last.
            letters = list(enumerate(reversed(label)))
            flips = sum(1 << place for place, letter in letters if letter in "XY")
            signs = sum(1 << place for place, letter in letters if letter in "YZ")
            terms.append((complex(value).real, flips, signs))
        found.append(terms)
    return found


def _circuit(ansatz: Ansatz) -> Iterator[str]:
    """Lines that apply the circuit to ``state``; x[k] are inputs (B,), w[k] weights."""
    circuit = in_gates(plain_program(ansatz), _GATES)
    names: dict[Parameter, str] = parameter_sources(ansatz, circuit)
    shifts = (0, ansatz.num_qubits) if ansatz.num_resets else (0,)
    for step in circuit.data:
        kind = step.operation.base_class
        qubits = [circuit.find_bit(bit).index for bit in step.qubits]
        angles = [angle_source(value, names, _as_function) for value in step.operation.params]
        if kind is Reset:
            yield f"    state = reset(state, {qubits[0]})"
            continue
        if kind is CXGate:
            for shift in shifts:
                yield f"    state = cx(state, {qubits[0] + shift}, {qubits[1] + shift})"
            continue
        if kind is UGate:
            # U = Rz(phi) Ry(theta) Rz(lambda) up to a phase that no expectation shows; the last factor acts
            # first.
            theta, phi, lam = angles
            rotations = [("rz", lam), ("ry", theta), ("rz", phi)]
        elif kind in _FIXED:
            rotations = [(name, repr(angle)) for name, angle in _FIXED[kind]]
        else:
            rotations = [(_ANGLES[kind], angles[0])]
        for name, angle in rotations:
            for shift in shifts:
                # Columns of a density matrix take the conjugate: RY is real, the others turn the other way.
                turn = f"-({angle})" if shift and name != "ry" else angle
                yield f"    state = {name}(state, {qubits[0] + shift}, {turn})"


def _as_function(name: str, text: str) -> str:
    return f"torch.{name}({text})"


def _packed(tensors: Mapping[str, Tensor]) -> str:
    """All tensors as one NumPy archive in base64, in lines of a width that editors take."""
    stream = io.BytesIO()
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    np.savez_compressed(stream, allow_pickle=False, **arrays)
    text = base64.b64encode(stream.getvalue()).decode()
    return "\n".join(text[at : at + 100] for at in range(0, len(text), 100))
