"""What a model is made of, step by step, from its config and the names of its tensors: nothing is run.

::

    config, sizes of the data, names and sizes of the tensors, the circuit --lay_out_model--> ModelDiagram

A diagram is data: `qhq.report.model_diagram` draws it, and `qhq model` and the report have it as a table.
The facts come from a run's folder or from a model that is open; of either, names and shapes are read and
nothing else, so that no model is called, copied or changed, and no random generator moves.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from qiskit.quantum_info import SparsePauliOp

from qhq.ansatz.program import Ansatz, PartSizes, count_facts
from qhq.ansatz.roles import role_of
from qhq.experiment.config import ExperimentConfig
from qhq.files import Json
from qhq.models.spec import FeaturesSpec, MiddleSpec, ModelSpec, RecurrentLayerSpec, is_gated
from qhq.runs.record import Quantum, SeenModule
from qhq.training.spec import DISTRIBUTIONS

StepKind = str
"""``data``, ``classical``, ``quantum`` or ``fixed`` (nothing in it is trained)."""

MOST_STAGES = 24
"""Modules of a model of one's own that are shown; of more the first and the last."""

# Circuits one after the other that are shown one by one.
_MOST_IN_SEQUENCE = 3

_CIRCUITS = ("QuantumLayer", "GateCircuits")

# What the circuits of a unit's gates are for, in their order.
_GATES = {
    "qlstm": ("input", "forget", "output", "candidate"),
    "qlstm_six": ("input", "forget", "output", "candidate", "state", "output of the unit"),
    "qgru": ("reset", "update", "candidate of the step", "candidate of the state"),
}

_MAPS = {
    "qlstm": "one map for all gates",
    "qlstm_six": "one map for the gates, one for state and output",
    "qgru": "maps of both, of the step and of the state",
}

# Angle scalings as they are written down.
_ANGLES = {
    "pi_tanh": "π tanh(x)",
    "half_pi_tanh": "π/2 tanh(x)",
    "unit_tanh": "0.99 tanh(x)",
    "pi_clip": "π x, clipped to [-π, π]",
    "pi_sin": "π sin(x)",
    "arctan": "arctan(x)",
    "two_arctan": "2 arctan(x)",
}


@dataclass(frozen=True)
class CircuitPart:
    """One of the parts that a circuit is opened up into: its title, and lines on what it is made of."""

    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class ModelStep:
    """One step of the data on their way through the model.

    Attributes:
        title: What it is.
        shape: Of what leaves it, without B, the windows at a time.
        lines: What it is made of.
        weights: Parameters in it; None where they are not known, or where it could have none.
        kind: By what it is coloured.
        parts: A circuit opened up: encoding, circuit, observables.
        group: A frame around it and its neighbours of the same group, with this title.
        trained: Whether its parameters are trained.
    """

    title: str
    shape: tuple[int, ...]
    lines: tuple[str, ...] = ()
    weights: int | None = None
    kind: StepKind = "classical"
    parts: tuple[CircuitPart, ...] = ()
    group: str = ""
    trained: bool = True

    @property
    def shape_text(self) -> str:
        """The shape with B before it, such as ``B × 20 × 16``."""
        return " × ".join(["B", *map(str, self.shape)])

    @property
    def weights_text(self) -> str:
        """How many parameters it has, such as ``912 weights``; empty where it has none."""
        if not self.weights:
            return ""
        noun = "weight" if self.weights == 1 else "weights"
        return f"{self.weights:,} {noun}{'' if self.trained else ', frozen'}"


@dataclass(frozen=True)
class Link:
    """A way around the steps between two: from the output of one into the input of another."""

    start: int
    end: int
    title: str


@dataclass(frozen=True)
class ModelDiagram:
    """A model as steps, oldest first, the ways around some, and what enters beside the first.

    Attributes:
        title: What the model is.
        steps: In the order of the data.
        links: Skip connections.
        beside: Static features: the step that they enter at, and what they are; None without any.
        weights: Trained parameters in all; None where they are not known.
    """

    title: str
    steps: tuple[ModelStep, ...]
    links: tuple[Link, ...] = ()
    beside: tuple[int, str, str] | None = None
    weights: int | None = None

    @property
    def says(self) -> str:
        """The diagram in a sentence."""
        names = ", ".join(step.title for step in self.steps)
        total = "" if self.weights is None else f" {self.weights:,} trained weights in all."
        around = "".join(f" {link.title} from {self.steps[link.start].title} to"
                         f" {self.steps[link.end].title}." for link in self.links)  # fmt: skip
        return f"{self.title}. From the window on: {names}.{around}{total}"

    def to_dict(self) -> Json:
        """As ``qhq model --json`` prints it."""
        return {
            "title": self.title,
            "weights": self.weights,
            "steps": [{**asdict(step), "shape": list(step.shape)} for step in self.steps],
            "links": [asdict(link) for link in self.links],
            "static": None
            if self.beside is None
            else {"step": self.beside[0], "lines": self.beside[2].split("\n")},
        }


@dataclass(frozen=True)
class ModelFacts:
    """What is known of a model without running it.

    Attributes:
        config: Of its run.
        features: F of a window as the model sees it, and ``steps`` T.
        static: S, static features.
        tensors: Names of its parameters, and how many numbers each holds; empty where they are not known.
        circuit: Of its quantum layers; None without one, or where it cannot be read.
        stages: Of a model that is a module of its own; None of the reference model.
        called: What a column is to be called, where another of the file stands for it.
        parameters: Parameters by part of the model, as a run's record has them.
        quantum: Sizes of the circuit, likewise.
    """

    config: ExperimentConfig
    features: int
    steps: int
    static: int = 0
    tensors: Mapping[str, int] = field(default_factory=dict)
    circuit: Ansatz | None = None
    stages: Sequence[SeenModule] | None = None
    called: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, int] = field(default_factory=dict)
    quantum: Quantum | None = None

    def inputs(self, otherwise: int) -> int:
        """I of the circuit, by the record where the circuit itself cannot be read."""
        if self.circuit is not None:
            return self.circuit.num_inputs
        return otherwise if self.quantum is None or self.quantum.inputs is None else self.quantum.inputs

    def outputs(self, otherwise: int) -> int:
        """O of the circuit, likewise."""
        if self.circuit is not None:
            return self.circuit.num_outputs
        return otherwise if self.quantum is None or self.quantum.outputs is None else self.quantum.outputs

    def count(self, *prefixes: str) -> int | None:
        """Parameters whose names begin with one of some prefixes; None where the tensors are not known."""
        if not self.tensors:
            return None
        return sum(size for name, size in self.tensors.items() if name.startswith(prefixes))

    def names(self, columns: Iterable[str]) -> str:
        """Columns as the file calls them, some of them where there are many."""
        names = [self.called.get(each, each) for each in columns]
        return ", ".join(names if len(names) <= 6 else [*names[:5], f"{len(names) - 5} more"])


def lay_out_model(facts: ModelFacts) -> ModelDiagram:
    """The steps of a model, whatever its architecture is.

    Args:
        facts: What is known of it.
    """
    spec = facts.config.model
    if isinstance(spec, FeaturesSpec):
        return _features(facts, spec)
    if spec.file is not None:
        return _own(facts)
    if is_gated(spec):
        return _gated(facts, spec)
    if spec.circuits is not None:
        return _several(facts, spec)
    return _reference(facts, spec)


# ------------------------------------------------------------------------------------------- the two ends


def _window(facts: ModelFacts) -> ModelStep:
    data = facts.config.data
    kinds = dict.fromkeys(data.scalings.values())
    lines = [facts.names(data.features), f"scaled: {', '.join(kinds)}"]
    if data.gaps == "mask":
        lines.append("with a mask of the gaps")
    return ModelStep("window", (facts.steps, facts.features), tuple(lines), kind="data")


def _forecast(facts: ModelFacts) -> ModelStep:
    data = facts.config.data
    ahead = "1 step ahead" if data.horizon == 1 else f"{data.horizon} steps ahead"
    shape = (data.horizon, len(data.targets))
    return ModelStep("forecast", shape, (f"{facts.names(data.targets)}, {ahead}",), kind="data")


def _head(facts: ModelFacts, spec: ModelSpec, before: int, at: str, hidden: str) -> list[ModelStep]:
    """Hidden layers of the head, and its last linear map; ``at`` and ``hidden`` are their names."""
    data, loss = facts.config.data, facts.config.training.loss
    found = []
    if spec.head_layers:
        sizes = " → ".join(map(str, [before, *spec.head_layers]))
        found.append(
            ModelStep(
                "layers of the head",
                (spec.head_layers[-1],),
                (f"{sizes}, {spec.head_activation}",),
                facts.count(f"{hidden}."),
            )
        )
    lines = [] if spec.output_activation == "none" else [spec.output_activation]
    values = _values(facts)
    if values:
        lines.append(f"{values[0]} values of a distribution a target ({loss})")
    shape = (data.horizon, len(data.targets), *values)
    found.append(ModelStep("linear head", shape, tuple(lines), facts.count(f"{at}.")))
    return found


_PARAMETERS = {"gaussian": 2, "student_t": 3}


def _values(facts: ModelFacts) -> tuple[int, ...]:
    """Values of a target that the loss is computed of; nothing where it is one."""
    training = facts.config.training
    if training.loss not in DISTRIBUTIONS:
        return ()
    return (_PARAMETERS.get(training.loss, len(training.quantiles)),)


def _pruned(found: Iterable[ModelStep | None]) -> list[ModelStep]:
    return [each for each in found if each is not None]


# ------------------------------------------------------------------------------------------- the encoder


def _encoder(facts: ModelFacts, spec: ModelSpec, at: str) -> list[ModelStep]:
    """A step a layer, then the pooling; ``at`` is the name of the encoder."""
    if spec.encoder == "none":
        size = facts.steps * facts.features
        return [ModelStep("flatten", (size,), ("all values of the window in a row",), kind="fixed")]
    found = []
    for number, layer in enumerate(spec.recurrent):
        found.append(_layer(facts, layer, number, at))
    width = spec.recurrent[-1].width
    words = {
        "last": "state after the last step",
        "attention": "mean over the steps by learned weights: softmax(v tanh(K h))",
    }
    pooled = facts.count(f"{at}.pooling.") if spec.pooling == "attention" else None
    kind = "classical" if spec.pooling == "attention" else "fixed"
    title = "attention over steps" if spec.pooling == "attention" else f"{spec.pooling} of the steps"
    title = "last step" if spec.pooling == "last" else title
    lines = (words[spec.pooling],) if spec.pooling in words else ()
    found.append(ModelStep(title, (width,), lines, pooled, kind))
    return found


_UNIT_WORDS = {
    "tcn": "causal convolutions over 3 steps, 1, 2, 4 and 8 steps apart, each with a residual",
}


def _layer(facts: ModelFacts, layer: RecurrentLayerSpec, number: int, at: str) -> ModelStep:
    words = [
        word
        for word, has in (
            ("both directions", layer.bidirectional),
            ("residual", layer.residual),
            ("layer norm", layer.layer_norm),
        )
        if has
    ]
    lines = [f"hidden {layer.hidden}" + "".join(f", {word}" for word in words)]
    lines += [_UNIT_WORDS[layer.unit]] if layer.unit in _UNIT_WORDS else []
    weights = facts.count(f"{at}.layers.{number}.", f"{at}.norms.{number}.", f"{at}.residuals.{number}.")
    return ModelStep(layer.unit.upper(), (facts.steps, layer.width), tuple(lines), weights)


def _beside(facts: ModelFacts, spec: ModelSpec, at: int, name: str) -> tuple[int, str, str] | None:
    """Static features, and the layers that they go through before step ``at``."""
    if not facts.static:
        return None
    text = f"{facts.names(facts.config.data.static)}\nB × {facts.static}"
    if spec.static_layers:
        weights = facts.count(f"{name}.")
        sizes = " → ".join(map(str, [facts.static, *spec.static_layers]))
        text += f"\nlayers {sizes}, {spec.head_activation}"
        text += "" if weights is None else f"\n{weights:,} weights"
    return at, "static features", text


# ------------------------------------------------------------------------------------ the quantum layer


def open_circuit(ansatz: Ansatz) -> tuple[CircuitPart, ...]:
    """A circuit opened up: how inputs enter, what is between, and what is read."""
    inputs, weights = frozenset(ansatz.inputs), frozenset(ansatz.weights)
    gates: dict[str, Counter[str]] = {}
    for step in ansatz.circuit.data:
        if step.operation.name != "barrier":
            name = str(step.operation.name)
            role = "reset" if name == "reset" else role_of(step, inputs, weights)
            gates.setdefault(role, Counter())[name.upper() if len(name) < 5 else name] += 1

    def said(role: str) -> str:
        return ", ".join(f"{count} {name}" for name, count in gates[role].most_common(3))

    facts = count_facts(ansatz)
    entering = [f"{ansatz.num_inputs} angles on {ansatz.num_qubits} qubits"]
    entering += [said("data")] if "data" in gates else []
    times = sum(gates.get("data", Counter()).values()) / max(1, ansatz.num_inputs)
    entering += [f"each angle enters {times:.3g} times"] if times > 1.01 else []
    within = [f"{ansatz.num_weights} weights" + (f": {said('weight')}" if "weight" in gates else "")]
    within += [f"of both: {said('data and weight')}"] if "data and weight" in gates else []
    within += [f"entanglers: {said('entangler')}"] if "entangler" in gates else ["no entanglers"]
    within += [f"fixed: {said('fixed')}"] if "fixed" in gates else []
    within += [f"{ansatz.num_resets} resets"] if "reset" in gates else []
    two = facts.two_qubit_gates
    within += [f"depth {facts.depth}, {two} two-qubit gate{'s' * (two != 1)}"]
    return (
        CircuitPart("encoding", tuple(entering)),
        CircuitPart("circuit", tuple(within)),
        CircuitPart("observables", tuple(_read_out(ansatz.observables))),
    )


_MOST_OBSERVABLES = 6


def _read_out(observables: Sequence[SparsePauliOp]) -> list[str]:
    names = [name_observable(each) for each in observables]
    if len(names) <= _MOST_OBSERVABLES:
        return [f"{len(names)} expectation value" + "s" * (len(names) != 1), ", ".join(names)]
    sizes = Counter(len(name.split()) for name in names)
    kinds = [f"{count} on {'one qubit' if size == 1 else f'{size} qubits'}" for size, count in
             sorted(sizes.items())]  # fmt: skip
    return [f"{len(names)} expectation values", f"{names[0]}, {names[1]}, … {names[-1]}", ", ".join(kinds)]


def name_observable(observable: SparsePauliOp) -> str:
    """A Pauli operator by the qubits that it acts on, ``Z0 X1``; of a sum the first, and how many more."""
    letters = observable.paulis[0].to_label()[::-1].lstrip("-i")
    name = " ".join(f"{letter}{qubit}" for qubit, letter in enumerate(letters) if letter != "I") or "I"
    more = len(observable.paulis) - 1
    return name if not more else f"{name} + {more} more"


def _circuit_step(facts: ModelFacts, count: int, at: Sequence[str], lines: Sequence[str] = ()) -> ModelStep:
    """The quantum layer, or ``count`` of them; ``at`` are the beginnings of the names of its weights."""
    config = facts.config
    assert config.quantum is not None
    ansatz, name = facts.circuit, _circuit_name(config.quantum.ansatz)
    parts: tuple[CircuitPart, ...] = ()
    outputs = facts.outputs(0)
    if ansatz is not None:
        parts = open_circuit(ansatz)
        name += f", {ansatz.num_qubits} qubits"
    elif facts.quantum is not None:
        name += f", {facts.quantum.qubits} qubits; the circuit itself cannot be read"
    frozen = config.quantum.frozen or isinstance(config.model, FeaturesSpec)
    title = "quantum layer" if count == 1 else f"{count} quantum layers side by side"
    shape = (outputs,) if count == 1 else (count, outputs)
    weights = facts.count(*at)
    if weights is None:
        known = ansatz.num_weights if ansatz is not None else facts.quantum.weights if facts.quantum else None
        weights = None if known is None else count * known
    return ModelStep(title, shape, (name, *lines), weights, "quantum", parts, trained=not frozen)


def _circuit_name(text: str) -> str:
    """A name of circuits/ as it is; of a file the last part of its path."""
    return text.rpartition("/")[2].rpartition("\\")[2]


def _angles_step(facts: ModelFacts) -> ModelStep | None:
    scaling = facts.circuit.angle_scaling if facts.circuit is not None else None
    if facts.circuit is None or scaling is None:
        return None
    return ModelStep("angles", (facts.circuit.num_inputs,), (_ANGLES.get(scaling, scaling),), kind="fixed")


def _inputs_of(facts: ModelFacts, spec: ModelSpec) -> int:
    return facts.inputs(spec.latent)


def _stand_in(spec: MiddleSpec, weights: int | None, count: int = 1) -> ModelStep:
    title = "tanh MLP in the circuit's place" if count == 1 else f"{count} tanh MLPs in the circuits' places"
    shape = (spec.outputs,) if count == 1 else (count, spec.outputs)
    lines = (f"hidden {spec.hidden}, angles {_ANGLES.get(spec.angle_scaling, spec.angle_scaling)}",)
    return ModelStep(title, shape, lines, weights)


# ---------------------------------------------------------------------------------------- architectures


def _reference(facts: ModelFacts, spec: ModelSpec) -> ModelDiagram:
    """Recurrent encoder, latent features, the middle, the head; a skip connection goes around the middle."""
    latent = _inputs_of(facts, spec)
    before = [_window(facts), *_encoder(facts, spec, "encoder")]
    words = () if spec.activation_before == "none" else (spec.activation_before,)
    linear = ModelStep("linear", (latent,), words, facts.count("to_latent."))
    middle, outputs = [], latent
    if facts.config.quantum is not None:
        quantum = _circuit_step(facts, 1, ("quantum.",))
        middle, outputs = _pruned([_angles_step(facts), quantum]), quantum.shape[-1]
    elif spec.middle is not None:
        middle, outputs = [_stand_in(spec.middle, facts.count("mlp."))], spec.middle.outputs
    after = [word for word in (spec.activation_after,) if word != "none"]
    after += ["layer norm"] if spec.layer_norm else []
    after += [f"dropout {spec.dropout:g}"] if spec.dropout else []
    if after:
        norm = facts.count("layer_norm.") if spec.layer_norm else None
        middle.append(ModelStep("after the middle", (outputs,), (", ".join(after),), norm))
    start = len(before)
    links: tuple[Link, ...] = ()
    merged = outputs
    if spec.skip != "none" and middle:
        merged = outputs + latent if spec.skip == "concat" else outputs
        word = "added" if spec.skip == "add" else "appended"
        middle.append(ModelStep(f"latent features {word}", (merged,), kind="fixed"))
        links = (Link(start, start + len(middle), "skip connection"),)
    steps = [*before, linear, *middle, *_head(facts, spec, merged, "head", "head_layers"), _forecast(facts)]
    beside = _beside(facts, spec, start, "static_layers")
    return _whole(
        "Recurrent encoder, latent features, " + _middle_words(facts, spec), steps, facts, links, beside
    )


def _middle_words(facts: ModelFacts, spec: ModelSpec) -> str:
    if facts.config.quantum is not None:
        return "a quantum layer and a head"
    return "an MLP in the circuit's place and a head" if spec.middle is not None else "and a head"


def _whole(
    title: str,
    steps: Sequence[ModelStep],
    facts: ModelFacts,
    links: tuple[Link, ...] = (),
    beside: tuple[int, str, str] | None = None,
) -> ModelDiagram:
    total = sum(facts.tensors.values()) if facts.tensors else sum(facts.parameters.values()) or None
    frozen = sum(each.weights or 0 for each in steps if not each.trained)
    return ModelDiagram(title, tuple(steps), links, beside, None if total is None else total - frozen)


def _gated(facts: ModelFacts, spec: ModelSpec) -> ModelDiagram:
    """Recurrent layers with circuits in their gates, opened up for one step of the window, and a head."""
    steps, width = [_window(facts)], facts.features
    for number, layer in enumerate(spec.recurrent):
        steps += _gated_layer(facts, spec, layer, number, width)
        width = layer.hidden
    steps.append(ModelStep("last step", (width,), ("state after the last step",), kind="fixed"))
    if spec.layer_norm:
        steps.append(ModelStep("layer norm", (width,), (), facts.count("module.layer_norm.")))
    beside = _beside(facts, spec, len(steps), "module.static_layers")
    steps += [*_head(facts, spec, width, "module.head", "module.head_layers"), _forecast(facts)]
    return _whole("Circuits in the gates of a recurrent unit, and a linear head", steps, facts, (), beside)


def _gated_layer(
    facts: ModelFacts, spec: ModelSpec, layer: RecurrentLayerSpec, number: int, width: int
) -> Iterator[ModelStep]:
    at = f"module.layers.{number}"
    kind = layer.unit.removesuffix("_bare")
    if kind not in _GATES:
        yield ModelStep(
            layer.unit.upper(),
            (facts.steps, layer.hidden),
            (f"hidden {layer.hidden}",),
            facts.count(f"{at}."),
        )
        return
    gates, both = _GATES[kind], width + layer.hidden
    group = f"{layer.unit.upper()}, hidden {layer.hidden}: once for each of {facts.steps} steps"
    steps: list[ModelStep] = [
        ModelStep("step and state", (both,), (f"x(t) of {width}, h(t-1) of {layer.hidden}",), kind="fixed")
    ]
    bare = layer.unit.endswith("_bare")
    inputs = _inputs_of(facts, spec)
    if not bare:
        words = _MAPS[kind]
        steps.append(ModelStep("linear", (len(gates), inputs), (words,), facts.count(f"{at}.enter.")))
    if facts.config.quantum is not None:
        lines = (", ".join(gates), *_scaled_lines(facts))
        steps.append(_circuit_step(facts, len(gates), (f"{at}.circuits.",), lines))
    elif spec.middle is not None:
        steps.append(_stand_in(spec.middle, facts.count(f"{at}.circuits."), len(gates)))
    if not bare:
        shape = (len(gates), layer.hidden)
        steps.append(ModelStep("linear of each circuit", shape, (), facts.count(f"{at}.leave.")))
    said = f"σ of {'two' if kind == 'qgru' else 'three'} gates, tanh of the candidate"
    made = "the new state h(t)"
    if kind == "qlstm_six":
        made = "the last two circuits take o tanh(c), and give state and output"
    steps.append(ModelStep("gates", (facts.steps, layer.hidden), (said, made), kind="fixed"))
    yield from (replace(each, group=group) for each in steps)


def _several(facts: ModelFacts, spec: ModelSpec) -> ModelDiagram:  # noqa: PLR0915
    """Several circuits in the middle, or one over the whole window."""
    arranged = spec.circuits
    assert arranged is not None
    data, arrange = facts.config.data, arranged.arrange
    known = {"per_horizon": data.horizon, "per_target": len(data.targets), "window": 1}
    count, inputs = known.get(arrange, arranged.count or 2), _inputs_of(facts, spec)
    activation = () if spec.activation_before == "none" else (spec.activation_before,)
    steps = [_window(facts)]
    if arrange == "window":
        each = inputs // facts.steps
        steps.append(ModelStep("linear", (facts.steps, each), ("one map for all steps", *activation),
                          facts.count("module.middle.enter.")))  # fmt: skip
        steps.append(ModelStep("steps in turn", (inputs,), ("oldest first",), kind="fixed"))
    else:
        steps += _encoder(facts, spec, "module.encoder")
    entry, lines = len(steps), _scaled_lines(facts)
    outputs = spec.middle.outputs if spec.middle is not None else 0
    outputs = facts.outputs(outputs)
    own = facts.circuit.parts if facts.circuit is not None and arrange == "sequence" else ()
    if own:
        count, outputs = len(own), own[-1].outputs
        steps += _parts_in_sequence(facts, own, activation, lines)
    elif arrange == "sequence":
        steps += _in_sequence(facts, spec, count, inputs, activation, lines)
    else:
        if arrange != "window":
            steps.append(
                ModelStep(
                    "linear",
                    (count, inputs) if count > 1 else (inputs,),
                    activation,
                    facts.count("module.middle.enter."),
                )
            )
        steps.append(_one_or_mlp(facts, spec, count, ("module.middle.circuits.",), lines))
    sides = count if arrange == "parallel" else 1
    behind = [] if spec.activation_after == "none" else [spec.activation_after]
    behind += [f"dropout {spec.dropout:g}"] if spec.dropout else []
    behind += ["layer norm"] if spec.layer_norm else []
    if arrange.startswith("per_"):
        if behind:
            steps.append(ModelStep("after the circuits", (count, outputs), (", ".join(behind),)))
        word = "horizon" if arrange == "per_horizon" else "target"
        shape = (data.horizon, len(data.targets), *_values(facts))
        steps.append(ModelStep(f"a linear head for each {word}", shape, (), facts.count("module.heads.")))
    else:
        merged = sides * outputs
        if behind or sides > 1:
            said = ", ".join([*(["outputs in a row"] if sides > 1 else []), *behind])
            norm = facts.count("module.layer_norm.") if spec.layer_norm else None
            steps.append(
                ModelStep("after the circuits", (merged,), (said,), norm, "classical" if norm else "fixed")
            )
        entry = len(steps) if arrange == "window" else entry
        steps += _head(facts, spec, merged, "module.head", "module.head_layers")
    beside = _beside(facts, spec, entry, "module.static_layers")
    titles = {
        "parallel": f"{count} circuits side by side", "sequence": f"{count} circuits in sequence",
        "per_horizon": "a circuit for each horizon", "per_target": "a circuit for each target",
        "window": "one circuit over the whole window",
    }  # fmt: skip
    title = titles[arrange]
    return _whole(title[0].upper() + title[1:], [*steps, _forecast(facts)], facts, (), beside)


def _scaled_lines(facts: ModelFacts) -> tuple[str, ...]:
    if facts.circuit is None:
        return ()
    scaling = facts.circuit.angle_scaling
    return (f"angles {_ANGLES.get(scaling, scaling)}",)


def _one_or_mlp(
    facts: ModelFacts, spec: ModelSpec, count: int, at: Sequence[str], lines: Sequence[str]
) -> ModelStep:
    if facts.config.quantum is None and spec.middle is not None:
        return _stand_in(spec.middle, facts.count(*at), count)
    return _circuit_step(facts, count, at, lines)


def _in_sequence(
    facts: ModelFacts,
    spec: ModelSpec,
    count: int,
    inputs: int,
    activation: tuple[str, ...],
    lines: Sequence[str],
) -> Iterator[ModelStep]:
    shown = count if count <= _MOST_IN_SEQUENCE else 1
    for number in range(shown):
        yield ModelStep("linear", (inputs,), activation, facts.count(f"module.middle.maps.{number}."))
        yield _one_or_mlp(facts, spec, 1, (f"module.middle.circuits.{number}.",), lines)
    if shown < count:
        rest = range(shown, count)
        names = [f"module.middle.{kind}.{number}." for kind in ("maps", "circuits") for number in rest]
        outputs = facts.outputs(inputs)
        said = f"{count - shown} more, each a linear map and a circuit, as the first"
        yield ModelStep("…", (outputs,), (said,), facts.count(*names), "quantum")


def _parts_in_sequence(
    facts: ModelFacts, own: Sequence[PartSizes], activation: tuple[str, ...], lines: Sequence[str]
) -> Iterator[ModelStep]:
    """The parts of one circuit, one after the other."""
    for number, part in enumerate(own):
        yield ModelStep("linear", (part.inputs,), activation, facts.count(f"module.middle.maps.{number}."))
        yield replace(
            _circuit_step(facts, 1, (), lines),
            title=f"quantum layer, part {number + 1} of {len(own)}",
            shape=(part.outputs,),
            weights=part.weights,
        )


def _features(facts: ModelFacts, spec: FeaturesSpec) -> ModelDiagram:
    """A frozen circuit, and a head that is fitted on what it gives."""
    values = facts.steps * facts.features + facts.static
    rows = "all values of the window" + (" and the static features" if facts.static else "") + " in a row"
    steps = [_window(facts), ModelStep("flatten", (values,), (rows,), kind="fixed")]
    links: tuple[Link, ...] = ()
    wide, has_middle = values, facts.config.quantum is not None or spec.middle is not None
    if has_middle:
        inputs = facts.inputs(spec.latent)
        words = {
            "pca": "principal components of the training windows",
            "random": "a seeded Gaussian matrix",
            "last": f"the newest {inputs} values, each standardised",
            "none": "the values as they are",
        }
        steps.append(ModelStep("projection", (inputs,), (words[spec.projection],), kind="fixed"))
        if facts.config.quantum is not None:
            if (angles := _angles_step(facts)) is not None:
                said = angles.lines[0].replace("x", f"{spec.bandwidth:g} x", 1)
                steps.append(replace(angles, lines=(said,)))
            steps.append(_circuit_step(facts, 1, ("quantum.",)))
            steps[-1] = replace(steps[-1], title="quantum layer, frozen")
            wide = steps[-1].shape[-1]
        elif spec.middle is not None:
            mlp = _stand_in(spec.middle, facts.count("mlp."))
            steps.append(replace(mlp, title="tanh MLP in the circuit's place, frozen", trained=False))
            wide = spec.middle.outputs
        if spec.include_inputs:
            wide += values
            steps.append(ModelStep("values appended", (wide,), kind="fixed"))
            links = (Link(1, len(steps) - 1, "the window itself"),)
    data = facts.config.data
    shape = (data.horizon, len(data.targets))
    head = _fitted_head(facts, spec, wide)
    steps.append(ModelStep(f"{spec.head.kind} head", shape, (head[0],), head[1]))
    beside = (
        (1, "static features", f"{facts.names(data.static)}\nB × {facts.static}") if facts.static else None
    )
    title = "A frozen circuit, and a head that is fitted on what it gives"
    return ModelDiagram(title, (*steps, _forecast(facts)), links, beside, head[1])


def _fitted_head(facts: ModelFacts, spec: FeaturesSpec, wide: int) -> tuple[str, int | None]:
    """What a head is, and how many numbers are fitted."""
    outputs = facts.config.data.horizon * len(facts.config.data.targets)
    if spec.head.kind == "boosting":
        return f"trees on {wide} features, chosen on validation", None
    said = f"{wide} features to {outputs} value{'s' * (outputs != 1)}, strength chosen on validation"
    return said, wide * outputs + (outputs if getattr(spec.head, "intercept", True) else 0)


def _own(facts: ModelFacts) -> ModelDiagram:
    """A module of one's own: its modules in the order in which they were at work when it was tried out."""
    stages = list(facts.stages or ())
    steps = [_own_step(facts, each) for each in stages]
    if len(steps) > MOST_STAGES:
        half = MOST_STAGES // 2
        hidden = steps[half:-half]
        known = [each.weights for each in hidden if each.weights is not None]
        between = ModelStep(
            "…", hidden[-1].shape, (f"{len(hidden)} more modules",), sum(known) if known else None
        )
        steps = [*steps[:half], between, *steps[-half:]]
    total = facts.parameters or None
    return ModelDiagram(
        "A module of one's own, in the order in which its parts are at work",
        (_window(facts), *steps, _forecast(facts)),
        beside=(0, "static features", f"{facts.names(facts.config.data.static)}\nB × {facts.static}")
        if facts.static
        else None,
        weights=None if total is None else sum(total.values()),
    )


def _own_step(facts: ModelFacts, stage: SeenModule) -> ModelStep:
    shape = tuple(stage.shape)
    if stage.kind in _CIRCUITS and facts.circuit is not None and facts.config.quantum is not None:
        count = math.prod(shape[:-1]) if stage.kind == "GateCircuits" else 1
        made = _circuit_step(facts, count, (f"module.{stage.name}.",), (stage.name, *_scaled_lines(facts)))
        return replace(made, shape=shape)
    return ModelStep(stage.kind, shape, (stage.name,) if stage.name else (), stage.parameters)
