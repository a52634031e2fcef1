"""A trained model as a script of plain PyTorch: encoder, circuit, head, scaler, and all weights inside it.

The circuit is a statevector in torch, gate by gate in RX, RY, RZ and CX, which any circuit can be opened
into; it is differentiable, so the script can be trained on. What a script cannot hold is refused here: units
and modules of the user's own, whose code is not qhq's. A scaling that needs more than a window's values and
symbol (those of options) leaves the script with forecasts of scaled windows alone.
"""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Iterator, Mapping

import numpy as np
from qiskit.circuit import Parameter
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
from qhq.errors import ConfigError, visible
from qhq.experiment.config import ExperimentConfig, load_config
from qhq.experiment.reopening import read_finished
from qhq.files import MOST_DOCUMENT_BYTES, read_regular
from qhq.models.spec import UNITS, FeaturesSpec, ModelSpec
from qhq.paths import PACKAGE
from qhq.runs.record import RunRecord
from qhq.runs.run_folder import RunFolder
from qhq.training.checkpoint import read_weights

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
"""Fixed gates as rotations, the first applied first; up to a global phase, which no expectation sees."""

_ANGLES = {RXGate: "rx", RYGate: "ry", RZGate: "rz", PhaseGate: "rz"}
_GATES = frozenset({*_FIXED, *_ANGLES, UGate, CXGate})

_SCALINGS = (
    "window", "window_mean", "raw", "panel_minmax", "minmax", "standard", "log_standard", "log_return",
)  # fmt: skip
"""Those that a window's values and its symbol are enough for."""


def torch_script(folder: RunFolder) -> str:
    """The whole model of a finished run, as a script that needs PyTorch and NumPy alone.

    Raises:
        ConfigError: If the run is not finished, its folder is damaged, or its model has parts whose code is
            not qhq's.
    """
    record, config = read_finished(folder), load_config(str(folder.config))
    model = _scriptable(config)
    tensors = {
        f"mlp.{name.removeprefix('twin.')}" if name.startswith("twin.") else name: tensor
        for name, tensor in read_weights(folder.weights).items()
    }
    ansatz = load_built(folder.circuit) if config.quantum else None
    if ansatz is not None and ansatz.num_resets:
        ansatz = unitary(ansatz)  # the script knows states alone
    template = read_regular(
        PACKAGE / "experiment" / "templates" / "model_script.txt", most=MOST_DOCUMENT_BYTES
    ).decode()
    parts = {
        "TITLE": visible(f"Run {folder.name}", cell=True),
        "VERSION": __version__,
        "CONSTANTS": "\n".join(_constants(config, model, record, tensors, ansatz)),
        "CIRCUIT": "\n".join(_circuit(ansatz)) if ansatz else "    raise RuntimeError('no circuit')",
        "WEIGHTS": _packed(tensors),
    }
    # In one pass: a name of the user's that reads like a place to fill is not filled.
    return re.sub(r"<<([A-Z]+)>>", lambda match: parts[match[1]], template)


def _scriptable(config: ExperimentConfig) -> ModelSpec:
    """The model's spec, if all of it is qhq's own."""
    model = config.model
    if isinstance(model, FeaturesSpec):
        raise ConfigError(
            "A script can hold a model that torch trains",
            got="model.kind: features, whose head scikit-learn fits",
            fix="Export the circuit alone with --to python",
        )
    own = [layer.unit for layer in model.recurrent if layer.unit not in UNITS]
    if model.file is not None:
        own = [str(model.file)]
    if own:
        raise ConfigError(
            "A script can hold the parts that are qhq's own",
            got=f"'{own[0]}', whose code is another's",
            fix="Export the circuit alone with --to python",
        )
    return model


def _constants(
    config: ExperimentConfig,
    model: ModelSpec,
    record: RunRecord,
    tensors: Mapping[str, Tensor],
    ansatz: Ansatz | None,
) -> Iterator[str]:
    """What tells one model from another, as assignments of plain values."""
    data, scaler = config.data, record.scaler
    middle = "quantum" if ansatz else "mlp" if model.middle else "none"
    kind = str(scaler.get("kind"))
    places = [data.features.index(name) for name in data.targets if name in data.features]
    whole = kind in _SCALINGS and len(places) == len(data.targets) and not data.static and data.gaps != "mask"
    angles = ansatz.angle_scaling if ansatz else model.middle.angle_scaling if model.middle else "none"
    yield from (
        f"{name} = {value!r}"
        for name, value in {
            "FEATURES": list(data.features),
            "TARGETS": list(data.targets),
            "TARGET_PLACES": places if whole else None,
            "WINDOW": data.window,
            "HORIZON": data.horizon,
            "RECURRENT": [(layer.unit, layer.hidden) for layer in model.recurrent],
            "ACTIVATION_BEFORE": model.activation_before,
            "ACTIVATION_AFTER": model.activation_after,
            "OUTPUT_ACTIVATION": model.output_activation,
            "LAYER_NORM": model.layer_norm,
            "SKIP": model.skip,
            "MIDDLE": middle,
            "ANGLE_SCALING": angles,
            "QUBITS": ansatz.num_qubits if ansatz else 0,
            "OBSERVABLES": _observables(ansatz) if ansatz else [],
            "SCALING": dict(scaler) if whole else {"kind": kind},
            "DTYPE": str(tensors["head.weight"].dtype).removeprefix("torch."),
        }.items()
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
    for step in circuit.data:
        kind = step.operation.base_class
        qubits = [circuit.find_bit(bit).index for bit in step.qubits]
        angles = [angle_source(value, names, _as_function) for value in step.operation.params]
        if kind is CXGate:
            yield f"    state = cx(state, {qubits[0]}, {qubits[1]})"
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
            yield f"    state = {name}(state, {qubits[0]}, {angle})"


def _as_function(name: str, text: str) -> str:
    return f"torch.{name}({text})"


def _packed(tensors: Mapping[str, Tensor]) -> str:
    """All tensors as one NumPy archive in base64, in lines of a width that editors take."""
    stream = io.BytesIO()
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    np.savez_compressed(stream, allow_pickle=False, **arrays)
    text = base64.b64encode(stream.getvalue()).decode()
    return "\n".join(text[at : at + 100] for at in range(0, len(text), 100))
