"""A device as data: its configuration and the properties of one calibration, IBM's JSON.

It comes from a service, from one of the fake devices that qiskit-ibm-runtime carries, or from a snapshot, one
small file that ``aer`` entries replay offline. `build_target` says what the transpiler sees of it: its gates,
and where they may act.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from importlib.util import find_spec
from json import JSONDecodeError
from pathlib import Path
from typing import Any, NoReturn, Protocol

from qiskit.circuit import Measure, Reset
from qiskit.circuit.library import get_standard_gate_name_mapping
from qiskit.transpiler import InstructionProperties, QubitProperties, Target

from qhq.errors import BackendError, ConfigError, nearest
from qhq.files import MEBIBYTE, Json, expand_gzip, read_regular, write_atomically

_GATES = get_standard_gate_name_mapping()

# What is kept of a configuration; pulse channels, Hamiltonians and the like make up most of it.
_CONFIGURATION_KEYS = (
    "backend_name",
    "backend_version",
    "basis_gates",
    "clops_h",
    "coupling_map",
    "default_rep_delay",
    "dt",
    "max_experiments",
    "max_shots",
    "n_qubits",
    "processor_type",
    "rep_delay_range",
)

# What is kept of the properties.
_PROPERTIES_KEYS = ("backend_name", "backend_version", "gates", "last_update_date", "qubits")

# What a device may be called: its name stands in tables, in messages and in names of files.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")

# Far above any device: more is a fault of the file, and lists of that length would be made for it.
_MOST_QUBITS = 10_000

# Numbers between 0 and 1.
_SHARES = frozenset({"gate_error", "readout_error", "prob_meas0_prep1", "prob_meas1_prep0", "operational"})

# Times, and the longest that each can be, seconds; a coherence time is more than 0.
_TIMES = {"T1": 1e3, "T2": 1e3, "gate_length": 1.0, "readout_length": 1.0}

# Pause between two shots, microseconds.
_LONGEST_REP_DELAY = 1e6

# Unicode has two micro signs, and either may be written; `us` is what most devices write.
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}

_FAKE_PREFIX = "fake_"

_SNAPSHOT_FORMAT = 1

# Of a snapshot, expanded: that of the largest devices has one or two.
_MOST_SNAPSHOT_BYTES = 16 * MEBIBYTE


@dataclass(frozen=True)
class Calibration:
    """Configuration and properties of a device at one time.

    Attributes:
        configuration: IBM's backend configuration, the keys what ``_CONFIGURATION_KEYS`` names.
        properties: IBM's backend properties, of these.
    """

    configuration: Json
    properties: Json

    @property
    def name(self) -> str:
        """Name of the device, as it calls itself."""
        return str(self.configuration["backend_name"])

    @property
    def num_qubits(self) -> int:
        """Physical qubits."""
        return int(self.configuration["n_qubits"])

    @property
    def date(self) -> str:
        """When the calibration was last updated: ISO 8601, UTC."""
        # Each device writes the time zone of whoever measured it.
        return datetime.fromisoformat(self.properties["last_update_date"]).astimezone(UTC).isoformat()

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the device and its numbers; when each was measured does not matter."""
        # A device measured anew with the same numbers keeps its circuits: they need not be transpiled again.
        content = [
            self.name,
            self.num_qubits,
            sorted(self.configuration["basis_gates"]),
            [_numbers(each) for each in self.properties["qubits"]],
            [
                (each["gate"], each["qubits"], _numbers(each["parameters"]))
                for each in self.properties["gates"]
            ],
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def qubit(self, qubit: int, item: str) -> float | None:
        """One number of a physical qubit, times in seconds; None where it was not measured."""
        return _find(self.properties["qubits"][qubit], item)

    def cut(self, qubits: Sequence[int]) -> Calibration:
        """The same numbers for some physical qubits alone; the k-th of them becomes qubit k."""
        place = {qubit: index for index, qubit in enumerate(qubits)}
        gates = [
            {**each, "qubits": [place[qubit] for qubit in each["qubits"]]}
            for each in self.properties["gates"]
            if place.keys() >= set(each["qubits"])
        ]
        pairs = [
            [place[qubit] for qubit in pair]
            for pair in self.configuration.get("coupling_map") or []
            if place.keys() >= set(pair)
        ]
        rows = [self.properties["qubits"][qubit] for qubit in qubits]
        return Calibration(
            {**self.configuration, "n_qubits": len(place), "coupling_map": pairs},
            {**self.properties, "qubits": rows, "gates": gates},
        )


def make_calibration(configuration: Mapping[str, Any], properties: Mapping[str, Any]) -> Calibration:
    """Keep what the simulation of a device needs.

    Args:
        configuration: IBM's backend configuration: its JSON, or what ``to_dict()`` gives.
        properties: IBM's backend properties, likewise.

    Raises:
        BackendError: If they do not describe a calibrated device.
    """
    kept = (_keep(configuration, _CONFIGURATION_KEYS), _keep(properties, _PROPERTIES_KEYS))
    try:
        # Through JSON, so that what a service gave equals what a snapshot of it gives back.
        calibration = Calibration(*json.loads(json.dumps(kept, default=_plain)))
        _check(calibration)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        # A ValueError is ours and says it all; the message of a KeyError is the key alone.
        reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise BackendError(
            "A device must come with its configuration and calibrated properties",
            got=f"{str(configuration.get('backend_name', 'no name'))[:100]!r}: {reason}",
            fix="Take another device, or make the snapshot again",
        ) from error
    return calibration


def _keep(content: Mapping[str, Any], keys: Sequence[str]) -> Json:
    return {key: content[key] for key in keys if key in content}


def _find(entries: Sequence[Mapping[str, Any]], item: str) -> float | None:
    """One number of a qubit or a gate, times in seconds; None where it was not measured."""
    for entry in entries:
        if entry["name"] == item and entry["value"] is not None:
            return float(entry["value"]) * _SECONDS.get(entry.get("unit", ""), 1.0)
    return None


def _numbers(entries: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, float]]:
    return sorted((each["name"], each.get("unit", ""), each["value"]) for each in entries)


def _check(calibration: Calibration) -> None:
    """Refuse what no device is: a simulation would take any number, and give any result for it."""
    configuration, properties = calibration.configuration, calibration.properties
    if not (isinstance(configuration["backend_name"], str) and _NAME.fullmatch(calibration.name)):
        raise ValueError("a backend_name must be letters, digits, '_', '-' and '.', 100 at most")
    if type(configuration["n_qubits"]) is not int or not 1 <= calibration.num_qubits <= _MOST_QUBITS:
        raise ValueError(f"n_qubits {configuration['n_qubits']!r}, of 1 to {_MOST_QUBITS}")
    if calibration.num_qubits != len(properties["qubits"]):
        raise ValueError(f"{calibration.num_qubits} qubits, {len(properties['qubits'])} calibrated")
    if not all(isinstance(gate, str) for gate in configuration["basis_gates"]):
        raise ValueError("basis_gates must be names")
    _check_pause(configuration.get("default_rep_delay"))
    for number, row in enumerate(properties["qubits"]):
        for entry in row:
            _check_number(entry, f"qubit {number}")
    for gate in properties["gates"]:
        place = f"{gate['gate']} on {gate['qubits']}"
        _check_places(gate["qubits"], calibration.num_qubits, place, _width(gate["gate"]))
        for entry in gate["parameters"]:
            _check_number(entry, place)
    for pair in configuration.get("coupling_map") or []:
        _check_places(pair, calibration.num_qubits, f"coupling_map {pair}", 2)
    # Both are worked out when they are asked for, which must not be the first time that they fail.
    _ = calibration.date, calibration.fingerprint


def _check_pause(microseconds: object) -> None:
    """An estimate of the time on the device is made with it, and the cap is held against that."""
    # A truth value is an int in Python, and would be a microsecond.
    number = isinstance(microseconds, int | float) and not isinstance(microseconds, bool)
    if microseconds is not None and not (number and 0 <= float(str(microseconds)) <= _LONGEST_REP_DELAY):
        raise ValueError(f"default_rep_delay {str(microseconds)[:100]!r} is no number of microseconds")


def _width(gate: object) -> int | None:
    """Qubits that a gate acts on; None for one that is unknown, and not used."""
    if not isinstance(gate, str):
        raise ValueError(f"a gate called {str(gate)[:100]!r}, which is no name")
    known = _GATES.get(gate)
    return None if known is None else int(known.num_qubits)


def _check_places(qubits: Sequence[Any], count: int, where: str, width: int | None) -> None:
    if width is not None and len(qubits) != width:
        raise ValueError(f"{where[:200]}: {len(qubits)} qubits, where there must be {width}")
    if not all(type(each) is int and 0 <= each < count for each in qubits) or len(set(qubits)) != len(qubits):
        raise ValueError(f"{where[:200]}: qubits must be different ones of 0 to {count - 1}")


def _check_number(entry: Mapping[str, Any], where: str) -> None:
    name, value, unit = entry["name"], entry["value"], entry.get("unit", "")
    if not isinstance(name, str) or not isinstance(unit, str):
        raise ValueError(f"{where[:200]}: a number whose name or unit is no text")
    if value is None:
        return
    # True is an int to Python.
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{where[:200]}: {name} {value!r} is no finite number")
    if name in _SHARES and not 0 <= value <= 1:
        raise ValueError(f"{where[:200]}: {name} {value:g} is not between 0 and 1")
    if name in _TIMES:
        if unit not in _SECONDS:
            raise ValueError(f"{where[:200]}: {name} in '{unit}', which is no unit of time")
        seconds, least = value * _SECONDS[unit], name in ("T1", "T2")
        # A gate may take no time, as a virtual rz does; relaxation in no time has an infinite rate.
        if not 0 <= seconds <= _TIMES[name] or (least and seconds == 0):
            raise ValueError(f"{where[:200]}: {name} of {value:g} {unit}")


def _plain(value: Any) -> Any:
    # datetime in to_dict(), complex numbers in what is not kept.
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def list_fakes() -> list[str]:
    """Names of all fake devices, such as ``fake_fez``.

    Raises:
        BackendError: If qiskit-ibm-runtime is not installed.
    """
    return sorted(
        _FAKE_PREFIX + folder.name for folder in _fakes_folder().iterdir() if _fake_file(folder).is_file()
    )


def load_fake(device: str) -> Calibration:
    """Read the calibration of a fake device.

    The files are read as they lie there: importing the package would take two seconds.

    Raises:
        ConfigError: If there is no such device, with the nearest.
        BackendError: If qiskit-ibm-runtime is not installed.
    """
    known = list_fakes()
    if device not in known:
        raise ConfigError("A fake device must be one of IBM's", got=f"'{device}'", fix=nearest(device, known))
    folder = _fakes_folder() / device.removeprefix(_FAKE_PREFIX)
    configuration = json.loads(_fake_file(folder).read_text(encoding="utf-8"))
    properties = json.loads((folder / f"props_{folder.name}.json").read_text(encoding="utf-8"))
    # Its own file calls it by the name of the real device, which a result must not be taken for.
    return make_calibration({**configuration, "backend_name": device}, properties)


def _fakes_folder() -> Path:
    # Looking for a top-level package does not import it.
    package = find_spec("qiskit_ibm_runtime")
    for location in (package and package.submodule_search_locations) or ():
        root = Path(location) / "fake_provider" / "backends"
        if root.is_dir():
            return root
    raise BackendError(
        "Fake devices must be installed",
        got="no qiskit-ibm-runtime with fake devices in this environment",
        fix="Run: pip install qiskit-ibm-runtime",
    )


def _fake_file(folder: Path) -> Path:
    return folder / f"conf_{folder.name}.json"


def save_snapshot(calibration: Calibration, path: Path) -> None:
    """Write a calibration as gzipped JSON; the same calibration gives the same bytes.

    Raises:
        BackendError: If the file cannot be written.
    """
    content = {
        "qhq_snapshot": _SNAPSHOT_FORMAT,
        "configuration": calibration.configuration,
        "properties": calibration.properties,
    }
    try:
        # No time stamp in the file: the same calibration has the same bytes.
        write_atomically(path, gzip.compress(json.dumps(content).encode(), mtime=0))
    except OSError as error:
        raise BackendError(
            "The snapshot must be writable", got=f"{path}: {error.strerror}", fix="Choose another path"
        ) from error


def load_snapshot(path: Path) -> Calibration:
    """Read a calibration that :func:`save_snapshot` wrote; the plain JSON inside is taken too.

    Raises:
        ConfigError: If the file is missing or no snapshot.
    """
    try:
        raw = read_regular(path, most=_MOST_SNAPSHOT_BYTES, what="snapshot")
        # By its first bytes: what was unpacked by hand may keep its name.
        if raw.startswith(b"\x1f\x8b"):
            raw = expand_gzip(raw, most=_MOST_SNAPSHOT_BYTES, source=path, what="snapshot")
        # Python reads NaN and Infinity as numbers, which JSON does not have and no calibration holds.
        content = json.loads(raw, parse_constant=_refuse_constant)
        if content["qhq_snapshot"] != _SNAPSHOT_FORMAT:
            raise ValueError(f"format {content['qhq_snapshot']}")
        return make_calibration(content["configuration"], content["properties"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, BackendError) as error:
        raise ConfigError(
            "A snapshot must be a file that 'qhq backends snapshot' wrote",
            got=f"{path}: {_why_unreadable(error)}",
            fix="Correct the path, or make the snapshot again",
        ) from error


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word}, which is no number")


def _why_unreadable(error: Exception) -> str:
    if isinstance(error, BackendError):
        return error.got
    if isinstance(error, JSONDecodeError | UnicodeDecodeError):
        return f"no JSON ({error})"
    if isinstance(error, RecursionError):
        return "nested without end"
    return error.strerror or str(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"


class Device(Protocol):
    """A device that a program can be written for."""

    @property
    def name(self) -> str:
        """As it calls itself."""

    @property
    def date(self) -> str | None:
        """When its calibration was last updated: ISO 8601, UTC; None without one."""

    @property
    def fingerprint(self) -> str:
        """Digest of all that a transpiled circuit depends on."""

    @property
    def target(self) -> Target:
        """Gates, where they may act, and their errors."""


@dataclass(frozen=True)
class CalibratedDevice:
    """A device known by its configuration and properties: fake, frozen in a snapshot, or real.

    ``fractional`` is whether programs for it may have fractional gates.
    """

    calibration: Calibration
    fractional: bool = False

    @property
    def name(self) -> str:
        """Name of the device, as it calls itself."""
        return self.calibration.name

    @property
    def date(self) -> str | None:
        """When its calibration was last updated: ISO 8601, UTC."""
        return self.calibration.date

    @property
    def fingerprint(self) -> str:
        """Digest of all that a transpiled circuit depends on."""
        return self.calibration.fingerprint + ("+fractional" if self.fractional else "")

    @cached_property
    def target(self) -> Target:
        """Gates, where they may act, and their errors."""
        return build_target(self.calibration, fractional=self.fractional)


# No gates of a program; measurements are made from the readout of each qubit.
_LEFT_OUT = frozenset({"delay", "id", "measure", "reset"})

# Gates with an angle of their own; a device restricts that of rzz.
_FRACTIONAL = frozenset({"rx", "rzz"})


def build_target(calibration: Calibration, *, fractional: bool = False) -> Target:
    """All working qubits and gates of a device with their errors, durations (s), T1 and T2 (s).

    Args:
        calibration: The device.
        fractional: Whether its fractional gates are among them.
    """
    indices = range(calibration.num_qubits)
    # Frequencies matter for thermal excitation alone, which IBM's noise models leave out.
    qubits = [
        QubitProperties(t1=calibration.qubit(each, "T1"), t2=calibration.qubit(each, "T2"))
        for each in indices
    ]
    target = Target(num_qubits=calibration.num_qubits, qubit_properties=qubits)
    for name, places in _gates(calibration, _LEFT_OUT if fractional else _LEFT_OUT | _FRACTIONAL).items():
        if places:
            target.add_instruction(_GATES[name], places)
    readouts = {
        (each,): InstructionProperties(
            error=calibration.qubit(each, "readout_error"),
            duration=calibration.qubit(each, "readout_length"),
        )
        for each in indices
        if calibration.qubit(each, "operational") != 0.0
    }
    target.add_instruction(Measure(), readouts)
    # Every device has it, whether its calibration says how long it takes or not.
    lasting = _gates(calibration, frozenset(), {"reset"}).get("reset", {})
    target.add_instruction(Reset(), {each: lasting.get(each) for each in readouts})
    return target


def _gates(
    calibration: Calibration, left_out: frozenset[str], named: Iterable[str] | None = None
) -> dict[str, dict[tuple[int, ...], InstructionProperties]]:
    basis = calibration.configuration["basis_gates"] if named is None else named
    names = [name for name in basis if name in _GATES.keys() - left_out]
    gates: dict[str, dict[tuple[int, ...], InstructionProperties]] = {name: {} for name in names}
    for gate in calibration.properties["gates"]:
        if gate["gate"] in gates and _works(calibration, gate):
            gates[gate["gate"]][tuple(gate["qubits"])] = InstructionProperties(
                error=_find(gate["parameters"], "gate_error"),
                duration=_find(gate["parameters"], "gate_length"),
            )
    return gates


def _works(calibration: Calibration, gate: Mapping[str, Any]) -> bool:
    switches = [calibration.qubit(qubit, "operational") for qubit in gate["qubits"]]
    if 0.0 in [*switches, _find(gate["parameters"], "operational")]:
        return False
    # An error of 1 is IBM's mark of a gate that could not be calibrated.
    return (_find(gate["parameters"], "gate_error") or 0.0) < 1.0
