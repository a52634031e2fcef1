"""The config of a run: one YAML file, each section owned by the package that uses it.

`load_config` reads one. `find_data` reads what may stand in its place where a command only wants rows: a file
or a folder of them.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, PrivateAttr, TypeAdapter, model_validator

from qhq.ansatz.spec import is_path
from qhq.data.columns import STOCK_VALUES, PanelKind, canonical_name
from qhq.data.spec import OPTION_SOURCES, DataSpec
from qhq.documents import Overrides, Spec, load_document, read_mapping
from qhq.errors import ConfigError
from qhq.files import Json, own_file
from qhq.limits import MOST_COUNT, MOST_SEED
from qhq.models.spec import MODULE_IN_MEMORY, AnyModelSpec, Carrier, ModelSpec
from qhq.paths import beside, find_study_file
from qhq.training.spec import TrainingSpec

if TYPE_CHECKING:
    from qhq.ansatz.program import Ansatz
    from qhq.data.sources.files import FileReading
    from qhq.data.spec import DataSpec

# Endings of files of prices, which no config has.
_PRICES = (".csv", ".tsv", ".txt", ".xlsx", ".xls", ".parquet", ".gz", ".zip")

_QUICKSTART = Path("experiments") / "quickstart" / "config.yaml"


IntervalKind = Literal["split", "adaptive"]
"""How prediction intervals are made: split conformal, or adaptive to drift (`qhq.evaluation.conformal`)."""


CIRCUIT_IN_MEMORY = "memory:"
"""How the name of a circuit begins that has no file: a program gave it, and runs carry it themselves."""


@dataclass(frozen=True, eq=False)
class CircuitOrigin:
    """The run whose config a quantum part was read from: its circuit is the one that lies in the folder.

    A run needs its circuit's file no longer, and must not: a run folder that somebody else made would say
    which Python file to run.

    Attributes:
        folder: The run's.
        ansatz: What its config names.
        changes: The keys of the ansatz that its config overrides; None where the command line changed them.
    """

    folder: Path
    ansatz: str
    changes: Overrides | None

    def __eq__(self, other: object) -> bool:
        """Where a config was read from is no part of what it says."""
        return other is None or isinstance(other, CircuitOrigin)

    def __hash__(self) -> int:
        """Equal for all, as they are."""
        return 0


class QuantumSpec(Spec):
    """Which ansatz stands between encoder and head.

    Attributes:
        ansatz: A name in ``circuits/``, or the path of a circuit file.
        qubits: Width of the circuit; None is the file's.
        depth: Layers of the circuit; None is the file's.
        overrides: Any other keys of the circuit file, with the values that take the place of the file's.
        entangled: ``false`` takes out every gate on several qubits, as `qhq ablate` does for one of its
            rivals.
        frozen: ``true`` leaves the circuit's weights as they were drawn, as `qhq ablate` does for another.
    """

    ansatz: str = "reference"
    qubits: int | None = Field(None, ge=1, le=MOST_COUNT)
    depth: int | None = Field(None, ge=0, le=MOST_COUNT)
    overrides: Overrides = Field(default_factory=dict)
    entangled: bool = True
    frozen: bool = False
    _origin: CircuitOrigin | None = PrivateAttr(default=None)
    _in_memory: Ansatz | None = PrivateAttr(default=None)

    @property
    def in_memory(self) -> Ansatz | None:
        """The circuit that a program gave in place of a name, where the config still names that one."""
        return self._in_memory if self.ansatz.startswith(CIRCUIT_IN_MEMORY) and not self.changes() else None

    def with_circuit(self, ansatz: Ansatz, digest: str) -> QuantumSpec:
        """The same with a circuit of the program's own; ``digest`` tells it from others.

        Raises:
            ConfigError: If the config says another size, or changes keys of a file that does not exist.
        """
        if self.changes():
            raise ConfigError(
                "A circuit in memory must stay as it was built",
                got=f"{', '.join(f'quantum.{key}' for key in self.changes())} beside it",
                fix="Leave the key out, or build the circuit so",
            )
        copy = self.model_copy(update={"ansatz": f"{CIRCUIT_IN_MEMORY}{digest[:12]}"})
        copy._in_memory, copy._origin = ansatz, None
        return copy

    def carried_as(self, other: QuantumSpec) -> QuantumSpec:
        """The same, with the circuit that another spec carries, which counts where both name the same."""
        copy = self.model_copy()
        copy._origin, copy._in_memory = other._origin, other._in_memory
        return copy

    @property
    def origin(self) -> CircuitOrigin | None:
        """The run that it was read from, if any."""
        return self._origin

    @property
    def stored(self) -> Path | None:
        """The circuit of the run that it was read from, where that is still the one it describes."""
        origin = self._origin
        same = origin is not None and (self.ansatz, self.changes()) == (origin.ansatz, origin.changes)
        return own_file(origin.folder, "circuit.qpy") if same and origin is not None else None

    def read_from(self, origin: CircuitOrigin | None) -> QuantumSpec:
        """The same, known to be read from a run."""
        copy = self.model_copy()
        copy._origin = origin
        return copy

    def changes(self) -> Overrides:
        """Keys of the ansatz file that this config overrides."""
        given = {"qubits": self.qubits, "depth": self.depth}
        return {**self.overrides, **{key: value for key, value in given.items() if value is not None}}

    def key_of(self, key: str) -> str:
        """The key of a config by which a key of the ansatz file was overridden."""
        own = (key == "qubits" and self.qubits is not None) or (key == "depth" and self.depth is not None)
        return f"quantum.{key}" if own else f"quantum.overrides.{key}"


class ExperimentConfig(Spec):
    """A whole run.

    Attributes:
        name: What the run is called: the end of its folder's name, and a word by which every command finds
            it.
        seed: Of the weights, the order of the batches, dropout and shots; the same config and seed give the
            same run.
        backend: The entry of ``backends.yaml`` that the test split is evaluated on. A training runs on an
            engine of qhq's own where the entry's gradient is ``adjoint``.
        data: Which prices, for which task, cut and scaled how.
        quantum: The quantum layer; None leaves it out, and ``model.middle`` may take its place.
        model: What stands around the circuit.
        training: How the model is trained.
        intervals: How prediction intervals are made: ``split``, one width from the validation split for good,
            or ``adaptive``, widths that follow how often the intervals before held.
    """

    name: str = Field("quickstart", pattern=r"^[A-Za-z0-9_.-]{1,60}$")
    seed: int = Field(0, ge=0, le=MOST_SEED)
    backend: str = "aer"
    data: DataSpec = DataSpec()
    quantum: QuantumSpec | None = QuantumSpec()
    model: AnyModelSpec = ModelSpec()
    training: TrainingSpec = TrainingSpec()
    intervals: IntervalKind = "split"

    def of_seed(self, seed: int) -> ExperimentConfig:
        """The same of one seed alone."""
        training = self.training.model_copy(update={"seeds": 1})
        return self.model_copy(update={"seed": seed, "training": training})

    @model_validator(mode="after")
    def _seeds_have_numbers(self) -> Self:
        last = self.seed + self.training.seeds - 1
        if last > MOST_SEED:
            raise ValueError(f"the last of training.seeds must be {MOST_SEED} at most; got {last}")
        return self

    @model_validator(mode="after")
    def _horizons_have_weights(self) -> Self:
        weights = self.training.horizon_weights
        if weights is not None and len(weights) != self.data.horizon:
            raise ValueError(
                f"training.horizon_weights must have one weight for each of data.horizon; got {len(weights)}"
                f" for {self.data.horizon}"
            )
        return self


# A key that is added to these sections goes here as well: else the default of all earlier configs would give
# their studies and checkpoints another name.
_LATER = {
    "model": (
        "kind", "file", "encoder", "pooling", "head_layers", "head_activation", "static_layers", "circuits",
    ),
    "training": (
        "optimizer", "schedule", "circuit", "horizon_weights", "quantiles", "backends", "injection",
        "seeds",
    ),
}  # fmt: skip
_LATER_OF_A_LAYER = ("bidirectional", "residual", "layer_norm")


def without_later_keys(content: Mapping[str, Any]) -> Json:
    """The content of a config without the keys that came later, where these have their default.

    What a study is named by, and what a checkpoint belongs to, was computed before they came: so a study or a
    run that an earlier version began is found again, and goes on.
    """
    # Deep, since keys of the sections inside are deleted, and the content is the caller's.
    kept = copy.deepcopy(dict(content))
    plain = ExperimentConfig().model_dump(mode="json")
    for section, keys in _LATER.items():
        for key in keys:
            if key in kept.get(section, {}) and kept[section][key] == plain[section][key]:
                del kept[section][key]
    for layer in kept.get("model", {}).get("recurrent", ()):
        for key in _LATER_OF_A_LAYER:
            if not layer.get(key):
                layer.pop(key, None)
    return kept


def naming_json(config: ExperimentConfig) -> str:
    """What a study is named by: a config without its name and seed."""
    content = without_later_keys(config.model_dump(mode="json", exclude={"name", "seed"}))
    return TypeAdapter(Json).dump_json(content).decode()


def load_config(source: str | Mapping[str, Any] | None, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Read a config; None is the quickstart, a folder stands for its ``config.yaml``.

    Args:
        source: A file or folder, or what would stand in the file; a key left out has its default.
        overrides: ``a.b=value`` texts, laid over it.

    Raises:
        ConfigError: If the file is missing, or breaks the spec.
    """
    if isinstance(source, Mapping):
        file, content = None, source
    else:
        file = _config_path(source)
        content = read_mapping(file)
    folder = None if file is None else file.parent
    implied = [*_own_size(overrides), *_own_prices(content, folder, overrides), *_own_split(content, folder)]
    implied += _own_scaling(content, overrides)
    typed = {override.partition("=")[0].strip() for override in overrides}
    # A module of one's own on the command line is the whole model: the config's is left out.
    implied += ["model={}"] if "model.file" in typed and "model" not in typed else []
    config = load_document(ExperimentConfig, content if file is None else file, [*implied, *overrides])
    return _anchored(config, file, typed)


def _anchored(config: ExperimentConfig, file: Path | None, typed: set[str]) -> ExperimentConfig:
    """Make every path absolute, so that a run finds its files again from any folder.

    What a file says is taken beside that file; what was typed on the command line, or stands in a mapping, in
    the current folder.
    """
    here = Path.cwd() / "typed"  # stands for a file in the current folder
    is_run = file is not None and _is_run_folder(file.parent)
    file = here if file is None else file
    changes: dict[str, Any] = {}
    if config.data.path is not None:
        near = here if typed & {"data", "data.path"} else file
        changes["data"] = config.data.model_copy(update={"path": beside(config.data.path, near)})
    spots = config.data.format.spot
    if spots is not None:
        near = here if typed & {"data", "data.format", "data.format.spot"} else file
        data = changes.get("data", config.data)
        given = data.format.model_copy(update={"spot": beside(spots, near)})
        changes["data"] = data.model_copy(update={"format": given})
    changes["model"] = _anchored_model(config.model, file, is_run=is_run, typed=typed)
    quantum = config.quantum
    named = bool(typed & {"quantum", "quantum.ansatz"})
    # A run keeps its circuit itself, and its weights know the config by the very text of it.
    if quantum is not None and is_path(quantum.ansatz) and (named or not is_run):
        near = here if named else file
        changes["quantum"] = quantum.model_copy(update={"ansatz": beside(quantum.ansatz, near)})
    if quantum is not None and is_run and not named:
        own = not any(key.startswith("quantum.") and key != "quantum.frozen" for key in typed)
        origin = CircuitOrigin(file.parent.absolute(), quantum.ansatz, quantum.changes() if own else None)
        changes["quantum"] = quantum.read_from(origin)
    return config.model_copy(update=changes)


def _anchored_model(model: AnyModelSpec, file: Path, *, is_run: bool, typed: set[str]) -> AnyModelSpec:
    """The model with the path of its file absolute; of a run, with the copy that the run carries."""
    if model.file is None or model.file.startswith(MODULE_IN_MEMORY):
        return model
    named = bool(typed & {"model", "model.file"})
    if is_run and not named:
        return model.carried_by(Carrier(file.parent.absolute()))
    near = Path.cwd() / "typed" if named else file
    return model.model_copy(update={"file": beside(model.file, near)})


def _is_run_folder(folder: Path) -> bool:
    """Whether a folder is a run's, or a walk-forward's: it holds what no other has."""
    return any(
        (folder / name).exists() for name in ("run.json", "model.safetensors", "resume.pt", "walk.json")
    )


def _own_size(overrides: Sequence[str]) -> list[str]:
    """Another ansatz on the command line comes in the size of its own file, not in that of the config's."""
    keys = {override.partition("=")[0].strip() for override in overrides}
    if "quantum.ansatz" not in keys:
        return []
    return [f"{key}=null" for key in ("quantum.qubits", "quantum.depth") if key not in keys]


def _own_prices(content: Mapping[str, Any], folder: Path | None, overrides: Sequence[str]) -> list[str]:
    """A file of prices on the command line stands in for the config's own: all its symbols and sessions."""
    typed = dict(override.partition("=")[::2] for override in overrides)
    keys = {key.strip() for key in typed}
    content = content.get("data") or {}
    is_run = folder is not None and (folder / "run.json").exists()  # which keeps its own symbols
    if "data.path" not in keys or "data" in keys or content.get("path") is not None or is_run:
        return []
    is_options = content.get("source") in OPTION_SOURCES or content.get("panel") == "options"
    own = {
        "data.source": "recorded" if Path(typed["data.path"]).is_dir() else "csv",
        "data.panel": "options" if is_options else "null",
        **{f"data.{key}": "null" for key in ("symbols", "start", "end")},
    }
    if "held_out" in (content.get("split") or {}):
        own["data.split.held_out"] = "[]"
    return [f"{key}={value}" for key, value in own.items() if key not in keys]


def _own_scaling(content: Mapping[str, Any], overrides: Sequence[str]) -> list[str]:
    """A scaling for one column on the command line leaves the others the one that the config has for all."""
    data = content.get("data")
    kind = data.get("scaling") if isinstance(data, Mapping) else None
    named = any(override.strip().startswith("data.scaling.") for override in overrides)
    return [f"data.scaling.default={kind}"] if named and isinstance(kind, str) else []


def _own_split(content: Mapping[str, Any], folder: Path | None) -> list[str]:
    """Folds of a run that was made before windows looked back are cut as they were."""
    data = content.get("data") if folder is not None and _is_run_folder(folder) else None
    split = data.get("split") if isinstance(data, Mapping) else None
    if not isinstance(split, Mapping) or split.get("scheme", "single") == "single" or "lookback" in split:
        return []
    return ["data.split.lookback=false"]


def _config_path(path: str | None) -> Path:
    wanted = _QUICKSTART if path is None else Path(path)
    found = find_study_file(wanted)
    if found is not None and found.suffix.lower() in _PRICES:
        raise ConfigError(
            "CONFIG must be a YAML file, or a folder with a config.yaml",
            got=f"'{wanted}', which is named like a file of prices",
            fix=f"Train on it with --set 'data.path={wanted}'; 'qhq data check' says how it is read",
        )
    if found is not None:
        return found
    without = "holds no config.yaml" if wanted.is_dir() else "does not exist"
    raise ConfigError(
        "CONFIG must be a YAML file, or a folder with a config.yaml",
        got=f"'{wanted}', which {without}",
        fix="Check the path, or leave it out to run the quickstart",
    )


# Endings of configs, a folder's included; every other file is one of rows.
_CONFIGS = (".yaml", ".yml", "")


@dataclass(frozen=True)
class NamedData:
    """Rows that a command was pointed to.

    Attributes:
        spec: The config's data, or one made for a file, with all its symbols.
        has_split: Whether a config says how the sessions are shared out.
        reading: The file as it was understood, where a file was named and no config.
    """

    spec: DataSpec
    has_split: bool
    reading: FileReading | None = None


def find_data(target: str | None, overrides: Sequence[str], panel: str | None) -> NamedData:
    """Find a config, a file of rows or a folder of recorded chains; None is the quickstart.

    Raises:
        ConfigError: If it is none of them, or an override does not fit.
        DataError: If it is a file that cannot be read.
    """
    from qhq.experiment.config import load_config

    source = _table_source(target)
    if target is None or source is None:
        forced = [f"data.panel={panel}"] if panel else []
        return NamedData(load_config(target, [*overrides, *forced]).data, has_split=True)
    content, reading = _describe_file(target, source, panel, overrides)
    spec = load_config(None, [f"data={json.dumps(content)}", *overrides]).data
    # Named as the user did: a config's path is made absolute.
    return NamedData(spec.model_copy(update={"path": target}), has_split=False, reading=reading)


def _table_source(target: str | None) -> str | None:
    path = Path(target or "")
    if target and path.suffix.lower() not in _CONFIGS and not path.is_dir():
        return "parquet" if path.suffix == ".parquet" else "csv"
    is_recording = path.is_dir() and not (path / "config.yaml").exists() and any(path.glob("*/*.parquet"))
    return "recorded" if target and is_recording else None


def _describe_file(
    target: str, source: str, panel: str | None, overrides: Sequence[str]
) -> tuple[Json, FileReading | None]:
    """Write the ``data`` section of a config for a file; only what must be there is named as a feature."""
    from qhq.data.sources.files import Asked, understand_file
    from qhq.experiment.config import load_config

    kind, feature, reading = "options", "mid", None
    if source != "recorded":
        # What --set says of the file's form is needed to find out what it holds.
        given = load_config(None, [each for each in overrides if each.startswith("data.format")]).data.format
        wanted: PanelKind | None = None if panel is None else "options" if panel == "options" else "stocks"
        reading = understand_file(Path(target), target, asked=Asked(given, wanted))
        kind = reading.kind
        names = {canonical_name(str(name)) for name in reading.frame.columns}
        main = next((name for name in ("close", "adj_close", *STOCK_VALUES) if name in names), "close")
        feature = feature if kind == "options" else main
    chosen = {"features": [feature], "targets": [feature]}
    return {"source": source, "path": target, "panel": kind, "symbols": None, **chosen}, reading
