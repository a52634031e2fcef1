"""What a file of ``circuits/`` may say, finding one by name or path, and laying overrides over it.

No Qiskit here: reading a spec costs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator
from ruamel.yaml.comments import CommentedMap

from qhq.ansatz.blocks import Block, Entangler, RotationBlock
from qhq.ansatz.encodings import AngleEncoding, Encoding
from qhq.documents import Spec, override_key, read_mapping, validate
from qhq.errors import ConfigError, nearest
from qhq.paths import report_hidden, study_roots

AngleScalingKind = Literal[
    "pi_tanh", "half_pi_tanh", "pi_sin", "arctan", "two_arctan", "unit_tanh", "pi_clip"
]
"""Bounded maps of any real number to an angle in radians, see :mod:`qhq.quantum.layer`."""

PAULI = r"[IXYZ]+|[XYZ]\d+( [XYZ]\d+)*"
"""A Pauli operator as a text, by all qubits or by those that it acts on."""

# Of a circuit, counted generously; more would take minutes to build and gigabytes to hold.
_MOST_GATES = 2_000_000

# Of OpenQASM files; which version one is, its first line says.
_QASM_ENDINGS = (".qasm", ".qasm2", ".qasm3", ".inc")


class CircuitFile(Spec):
    """A user's own circuit instead of layers.

    Attributes:
        path: QPY (``.qpy``), OpenQASM 2 or 3 (``.qasm``), either packed by gzip or not, or ``.py`` (with
            ``build(qubits, depth)``), relative to the YAML file.
        inputs: Parameters that take the inputs, by name, or one prefix of their names; the rest are
            weights. Not for ``.py``, whose ``build`` says so itself.
        weights: For a circuit without free parameters, such as OpenQASM 2, in place of ``inputs``. The
            circuit is then the block of each layer behind the ansatz's ``encoding``. With ``angles`` each
            rotation angle in it becomes a weight; with ``none`` it stays as it is.
    """

    path: str
    inputs: str | tuple[str, ...] | None = None
    weights: Literal["angles", "none"] | None = None

    @model_validator(mode="after")
    def _check_roles(self) -> CircuitFile:
        suffix = self.suffix
        if suffix not in (*_QASM_ENDINGS, ".qpy", ".py"):
            raise ValueError("path must end in .qpy, .qasm or .py")
        given = bool(self.inputs) + (self.weights is not None)
        if suffix == ".py" and given:
            raise ValueError(
                "inputs must be left out, and weights too, since build() of a Python file returns both"
            )
        if suffix != ".py" and given != 1:
            raise ValueError(
                "inputs must name the input parameters of the circuit, or their prefix; a circuit without"
                " free parameters has weights: angles, or weights: none, in place of inputs"
            )
        return self

    @property
    def suffix(self) -> str:
        """Ending of the file's name without ``.gz``, in lower case with its dot; '' if it has none."""
        _, dot, ending = self.path.lower().removesuffix(".gz").rpartition(".")
        return dot + ending


class AnsatzSpec(Spec):
    """A circuit as its YAML file describes it.

    Attributes:
        description: One line for lists.
        qubits: Width of the circuit.
        depth: Layers; a layer is the blocks in order, then the entangler. 0 leaves the encoding alone. A
            Python file takes it as it likes; QPY and OpenQASM 3 have none.
        angle_scaling: How inputs of any size become angles (the model applies it before the circuit).
        encoding: How inputs enter; ``repeat`` enters them again before each layer (re-uploading).
        blocks: Trainable blocks of a layer.
        entangler: What couples the qubits at the end of a layer.
        observables: ``z_each`` (Z on every qubit), or Pauli operators, each written either as Qiskit
            does (``IIXZ``, qubit 0 rightmost) or by qubit (``Z0 X1``).
        file: A circuit of the user's own; blocks and entangler then stay unset, and so does encoding unless
            the file is a block (``file.weights``).
        parts: Other ansaetze, each on qubits of its own, in place of all other keys but the description. In a
            file each is a mapping with an ``ansatz``, the name or path of its file, and keys laid over that.
    """

    description: str = ""
    qubits: int = Field(default=4, ge=1, le=30)
    depth: int = Field(default=1, ge=0, le=1000)
    angle_scaling: AngleScalingKind = "pi_tanh"
    encoding: Encoding = AngleEncoding()
    blocks: tuple[Block, ...] = Field(default=(RotationBlock(),), min_length=1, max_length=100)
    entangler: Entangler = Entangler()
    observables: Literal["z_each"] | tuple[str, ...] = "z_each"
    file: CircuitFile | None = None
    parts: tuple[AnsatzSpec, ...] = Field(default=(), max_length=8)

    @model_validator(mode="before")
    @classmethod
    def _sized_by_parts(cls, given: Any) -> Any:
        """A circuit of parts is as wide as all of them, and as deep as the deepest."""
        named = given.get("parts") if isinstance(given, Mapping) else None
        fits = isinstance(named, list | tuple) and all(isinstance(each, Mapping | Spec) for each in named)
        if not named or not fits:
            return given  # nothing, or what the field itself refuses
        own = [key for key in given if key not in ("parts", "description")]
        if own:
            raise ValueError(f"parts have keys of their own: set {', '.join(own)} in them")
        parts = tuple(
            each if isinstance(each, AnsatzSpec) else AnsatzSpec.model_validate(each) for each in named
        )
        if any(each.parts for each in parts):
            raise ValueError("parts have no parts of their own: list all of them in one file")
        scalings = list(dict.fromkeys(each.angle_scaling for each in parts))
        if len(scalings) > 1:
            raise ValueError(
                f"parts must have one angle_scaling, not {' and '.join(scalings)}: set it in the others"
            )
        sizes = {"qubits": sum(each.qubits for each in parts), "depth": max(each.depth for each in parts)}
        return {**given, "parts": parts, "angle_scaling": scalings[0], **sizes}

    def drawn_from(self, seed: int) -> AnsatzSpec:
        """The same with whatever is drawn of it drawn from a run's seed, where the file names none."""
        parts = tuple(each.drawn_from(seed) for each in self.parts)
        return self.model_copy(update={"encoding": self.encoding.drawn_from(seed), "parts": parts})

    @field_validator("observables")
    @classmethod
    def _check_observables(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if isinstance(value, str):
            return value
        if not value:
            raise ValueError("observables must hold at least one Pauli operator")
        for text in value:
            if not re.fullmatch(PAULI, text):
                raise ValueError(f"'{text}' is no Pauli operator; write 'IIXZ' or 'Z0 X1'")
        return value

    @model_validator(mode="after")
    def _check_width(self) -> AnsatzSpec:
        self.encoding.check_width(self.qubits)
        return self

    @model_validator(mode="after")
    def _check_scaling(self) -> AnsatzSpec:
        wanted = self.encoding.scaling
        if wanted is not None and self.angle_scaling != wanted:
            raise ValueError(
                f"encoding {self.encoding.kind} takes angles by angle_scaling: {wanted}, not by"
                f" {self.angle_scaling}"
            )
        return self

    @model_validator(mode="after")
    def _check_size(self) -> AnsatzSpec:
        """Depth, reps and pairs of qubits multiply: refused before Qiskit is asked to build it."""
        pairs = self.qubits**2
        encodings = 1 + self.depth * self.encoding.repeat
        gates = encodings * self.encoding.most_gates(self.qubits) + self.depth * len(self.blocks) * pairs
        if gates > _MOST_GATES:
            raise ValueError(
                f"qubits, depth and reps must make at most {_MOST_GATES:,} gates, not some {gates:,}"
            )
        return self

    @model_validator(mode="after")
    def _check_file_stands_alone(self) -> AnsatzSpec:
        if self.file is None:
            return self
        unset = AnsatzSpec.model_fields
        for name in ("encoding", "blocks", "entangler"):
            if name == "encoding" and self.file.weights is not None:
                continue
            if getattr(self, name) != unset[name].default:
                raise ValueError(f"file and {name} exclude each other; a circuit from a file is complete")
        return self


def list_ansaetze() -> dict[str, Path]:
    """Known ansaetze by name, sorted; a file in the current folder's ``circuits/`` hides a shipped one."""
    found: dict[str, Path] = {}
    for root in study_roots():
        for path in sorted((root / "circuits").glob("*.yaml")):
            # The first root wins: the current folder's, then the shipped ones
            found.setdefault(path.stem, path)
    return dict(sorted(found.items()))


def load_ansatz(
    name_or_path: str,
    overrides: Mapping[str, Any] | None = None,
    *,
    named: Callable[[str], str] | None = None,
) -> AnsatzSpec:
    """Read an ansatz.

    Args:
        name_or_path: A name (``reference`` is ``circuits/reference.yaml``), or the path of a YAML file.
        overrides: Keys laid over the file's, nested ones key by key.
        named: From a key of the ansatz to the key of a config by which it was overridden, for errors. None
            where overrides come from the command line.

    Returns:
        The spec; the path of a circuit file in it is absolute.

    Raises:
        ConfigError: If there is no such ansatz, or it breaks a rule.
    """
    path = _find(name_or_path)
    by_name = not (is_path(name_or_path) or path == Path(name_or_path))
    hides = by_name and report_hidden(path, Path("circuits") / path.name)
    content = read_mapping(path)
    _lay_over(content, overrides or {})
    if isinstance(content.get("parts"), list):
        own = {key: value for key, value in content.items() if key not in ("parts", "description")}
        if own:
            raise ConfigError(
                "A circuit of parts must have every key but its description in the parts",
                got=", ".join(f"{named(key) if named else key}: {value}" for key, value in own.items()),
                fix="Set it there, as in parts: [{ansatz: reference, qubits: 3}, {ansatz: sim_05}]",
            )
        content["parts"] = [_load_part(each, path) for each in content["parts"]]
    spec = validate(AnsatzSpec, content, str(path), named)
    if by_name and hides and any(each.file is not None and each.file.suffix == ".py" for each in spec.parts):
        raise _hidden_program(name_or_path, path)
    if spec.file is None:
        return spec
    # Beside its YAML, wherever the command runs; absolute, since a run may be opened from another folder.
    code = (path.parent / spec.file.path).absolute()
    if by_name and spec.file.suffix == ".py" and (hides or report_hidden(code, Path("circuits") / code.name)):
        raise _hidden_program(name_or_path, path)
    anchored = spec.file.model_copy(update={"path": str(code)})
    return spec.model_copy(update={"file": anchored})


def _hidden_program(name: str, path: Path) -> ConfigError:
    return ConfigError(
        "A Python circuit of the current folder must not take the name of a shipped one: it would run as"
        " a program that nobody named",
        got=f"'{name}', which is {path} here",
        fix=f"Name its file, circuits/{path.name}, if you trust it, or give it another name",
    )


def _load_part(given: Any, path: Path) -> Any:
    """A part of an ansatz as a spec; what is no mapping with a name is left to the checks.

    Raises:
        ConfigError: As `load_ansatz`; if the part names a circuit file itself, whose place nobody knows.
    """
    if not isinstance(given, Mapping):
        return given
    keys = {key: value for key, value in given.items() if key != "ansatz"}
    name = given.get("ansatz")
    if isinstance(name, str):
        return load_ansatz(str(path.parent / name) if is_path(name) else name, keys)
    if "file" in keys:
        raise ConfigError(
            "A part with a circuit file must be an ansatz of its own",
            got=f"file among the keys of a part in {path}",
            fix="Write the part to a YAML file of its own, and name that: {ansatz: PATH}",
        )
    return validate(AnsatzSpec, keys, f"a part in {path}")


def is_path(name_or_path: str) -> bool:
    """Whether an ansatz is named by the path of its file, not by its name in ``circuits/``."""
    return Path(name_or_path).suffix in (".yaml", ".yml") or len(Path(name_or_path).parts) > 1


def _find(name_or_path: str) -> Path:
    path = Path(name_or_path)
    # A circuit file in place of its YAML, such as circuit.qasm, is let through: the reader says where it
    # goes.
    if is_path(name_or_path) or (path.suffix and path.is_file()):
        return path
    known = list_ansaetze()
    if name_or_path not in known:
        raise ConfigError(
            "An ansatz must be a file in circuits/, or the path of a YAML file",
            got=f"'{name_or_path}'",
            fix=nearest(name_or_path, known),
        )
    return known[name_or_path]


def _lay_over(content: CommentedMap, overrides: Mapping[str, Any]) -> None:
    for key, value in overrides.items():
        node = content.get(key)
        both = isinstance(value, Mapping) and isinstance(node, CommentedMap)
        # Another kind has other keys: it replaces the node instead of amending it.
        if both and value.get("kind", node.get("kind")) == node.get("kind"):
            _lay_over(node, value)
        else:
            override_key(content, key, value)
