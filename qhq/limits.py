"""What is too much: the largest numbers that a document or a command may say, and the memory there is.

The largest numbers lie far above whatever makes sense and far below what a machine cannot count, allocate or
fork: a slip of the keyboard (``batch_size: 1e20``) is refused with the key's name, not met as an overflow
deep in a library. Work that would not fit into memory is refused before it is begun.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path

from qhq.errors import BackendError

# What NumPy, torch, Qiskit and a column of a database take alike.
MOST_SEED = 2**63 - 1
"""Of every seed."""

MOST_COUNT = 1_000_000
"""Of epochs, trials, windows, samples: whatever is counted one by one."""

# Daily prices of a century are 26,000.
MOST_STEPS = 100_000
"""Of sessions in a window, a horizon or an embargo."""

# IBM's devices take 10 million at most.
MOST_SHOTS = 1_000_000_000
"""Of measurements in one estimate."""

MOST_TRAJECTORIES = 1_000_000
"""Of a sample; the memory that they need is asked for when it is known."""
MOST_THREADS = 1024
"""Of threads and of worker processes."""

# Single precision still holds it.
MOST_FACTOR = 1e30
"""Of a real number that scales something."""


_GIB = 1 << 30

# Left to the rest of the process: what is asked for beside the large arrays.
_SPARE = 1 << 27


def available_bytes() -> int:
    """Bytes that this process can still take: the machine's, its container's and its own limit, the least.

    A limit that the system does not tell counts as none.
    """
    return max(0, min(_of_machine(), _of_container(), _of_process()))


def require_memory(needed: int, what: str, *, fix: str) -> None:
    """Refuse work that would not fit.

    Args:
        needed: Bytes that it takes at its peak, beyond what the process holds now.
        what: What takes them, as the subject of the error.
        fix: What to do about it.

    Raises:
        BackendError: If there is less, with both figures.
    """
    if needed <= _SPARE:
        return
    available = available_bytes()
    if needed + _SPARE > available:
        raise BackendError(
            f"{what} must fit into memory",
            got=f"{size_text(needed)} needed, {size_text(available)} available",
            fix=fix,
        )


def size_text(size: int) -> str:
    """A size for people: ``3.2 GiB``."""
    if size >= 1 << 40:
        return f"{size / (1 << 40):.1f} TiB"
    return f"{size / _GIB:.1f} GiB" if size >= _GIB else f"{size / (1 << 20):.0f} MiB"


def _of_machine() -> int:
    for line in filter(str.strip, _read(Path("/proc/meminfo")).splitlines()):
        name, *words = line.split()
        if name == "MemAvailable:" and words and words[0].isdigit():
            # The kernel writes kB and means KiB.
            return int(words[0]) << 10
    try:  # macOS: all there is, in use or not
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        # Nobody says: then there is no limit, rather than nothing left.
        return 1 << 62


def _of_container() -> int:
    """What the memory limits of the control groups leave; files that the kernel can drop do not count."""
    left = 1 << 62
    for line in _read(Path("/proc/self/cgroup")).splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0":
            root, limit, used, idle = Path("/sys/fs/cgroup"), "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            root, idle = Path("/sys/fs/cgroup/memory"), "total_inactive_file"
            limit, used = "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        group = root / path.lstrip("/")
        # A group is bound by the limits of all groups around it.
        for folder in (group, *group.parents):
            if not folder.is_relative_to(root):
                break
            most, taken = _read(folder / limit).strip(), _read(folder / used).strip()
            if most.isdigit() and taken.isdigit():
                left = min(left, int(most) - int(taken) + _statistic(folder / "memory.stat", idle))
    return left


def _of_process() -> int:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    pages = _read(Path("/proc/self/statm")).split()
    if limit == resource.RLIM_INFINITY or not pages or not pages[0].isdigit():
        return 1 << 62
    return limit - int(pages[0]) * resource.getpagesize()


def _statistic(path: Path, name: str) -> int:
    for line in _read(path).splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.strip().isdigit():
            return int(value)
    return 0


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
