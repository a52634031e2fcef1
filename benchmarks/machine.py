"""Which machine, which versions, and what else it was doing."""

from __future__ import annotations

import os
import platform
import resource
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from time import perf_counter

DISTRIBUTIONS = (
    "numpy",
    "numba",
    "scipy",
    "quantlib",
    "torch",
    "qiskit",
    "qiskit-aer",
    "qiskit-machine-learning",
    "pennylane",
    "pennylane-lightning",
    "tensorcircuit-ng",
    "jax",
)


def describe_machine() -> dict[str, object]:
    """CPU, cores, versions and date."""
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version for name in DISTRIBUTIONS if (version := installed(name))},
        "date": datetime.now(UTC).date().isoformat(),
        "load_average": os.getloadavg()[0],
    }


def cpu_model() -> str:
    """Name of the processor, as far as the system tells."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or "unknown"


def installed(name: str) -> str | None:
    """Version of a distribution, None where it is missing."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


class Watch:
    """How many cores others kept busy while we measured (Linux; 0 elsewhere)."""

    def __init__(self) -> None:
        self._begin = (perf_counter(), machine_seconds(), own_seconds())

    def others(self) -> float:
        """Cores in use by other processes, on average since the start."""
        wall, machine, own = self._begin
        busy = machine_seconds() - machine - (own_seconds() - own)
        return max(0.0, busy / (perf_counter() - wall))


def machine_seconds() -> float:
    """CPU seconds that the machine has spent, idle and waiting left out."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0
    fields = [int(each) for each in stat.read_text().splitlines()[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def own_seconds() -> float:
    """CPU seconds of this process and the children it has waited for."""
    parts = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in parts)
