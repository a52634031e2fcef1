"""A ledger of looks: how often each test split was looked at, in one file of the runs folder.

A test split says something of a model that was chosen without it. After fifty looks the best of fifty models
is the luckiest one too, and no test on that model alone can tell. So whatever measures errors on a test split
adds a line to the ledger first, and every verdict says how many there are.

A split is known by what it asks for, not by how it was asked: by its targets, symbol by symbol and date by
date. Other features, another window, model or backend make no new test split of it. Two splits that share
half of all their targets count as one, since a longer window or another border loses only a few dates.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import filelock
import numpy as np
import numpy.typing as npt

from qhq.data.panel import FloatArray
from qhq.data.windows import Windows
from qhq.documents import validate
from qhq.errors import ConfigError
from qhq.files import MEBIBYTE, append_line, read_tail
from qhq.paths import runs_dir
from qhq.runs.record import Looks
from qhq.runs.run_folder import now
from qhq.runs.schema import OTHER_RUN

_LEDGER = "looks.jsonl"
# Read of the ledger: its newest 30,000 lines or so.
_MOST_BYTES = 16 * MEBIBYTE

# Targets of a split that the ledger names: those of the smallest hashes, so that all name the same ones.
_SAMPLE = 32

# Two test splits count as one if their targets overlap by at least this (Jaccard similarity).
_SHARED = 0.5

# For another process that is writing a line; then it is written all the same, in one piece.
_PATIENCE_SECONDS = 10.0


class _Line(NamedTuple):
    """A line of the ledger: how many models of a run or study were measured, and targets of the split.

    ``begin`` and ``end`` are the first and last date of a target, as ISO 8601 has them.
    """

    times: int
    run: str
    command: str
    begin: str
    end: str
    sample: list[str]


def say_looks(looks: Looks | Mapping[str, object] | None, what: str = "This test split has") -> list[str]:
    """One short line; none where a record is from before there was a ledger.

    Args:
        looks: How often.
        what: What was looked at where that is not a part of a run's test split, with its verb.

    Raises:
        ConfigError: If what a study has of it is damaged.
    """
    if looks is None:
        return []
    known = validate(Looks, looks, "looks", fix=OTHER_RUN) if isinstance(looks, Mapping) else looks
    least = "at least " if known.at_least else ""
    fault = f"; this look could not be written down: {known.fault}" if known.fault else ""
    if known.part:
        what = "Some or all of these sessions are of the run's test split, which has"
    if known.times == 1:
        return [f"{what} been looked at for the first time{fault}."]
    word = "run or study" if known.runs == 1 else "runs and studies"
    return [f"{what} been looked at {least}{known.times} times ({known.runs} {word}){fault}."]


def add_look(
    windows: Windows, *, run: str, command: str, times: int = 1, part_of: str | None = None
) -> Looks:
    """Write down that models are measured on a test split, and count.

    A runs folder that cannot be written to, or a damaged ledger, ends nothing: the count says so.

    Args:
        windows: Of the whole test split, also where only some of them are evaluated.
        run: Name of the run or the study.
        command: What measures: ``train``, ``eval``, ...
        times: How many models; 0 counts and writes nothing.
        part_of: Run whose own series these windows are of, at whatever dates. Where they reach into the test
            split that it was trained for, it is that split which was looked at, were it a single session: by
            their targets, a few sessions and the whole split have too little in common to be one.
    """
    # Beside the runs and not in them: who deletes the runs that disappointed has still looked.
    path, sample = runs_dir() / _LEDGER, sample_of(windows)
    whole = None if part_of is None else _trained_for(part_of, path, windows)
    sample = sample if whole is None else whole.sample
    line = {
        "time": now(),
        "command": command,
        "run": run,
        "times": times,
        "test": hashlib.sha256("".join(sample).encode()).hexdigest()[:16],
        "targets": list(windows.cut.targets),
        "from": str(windows.dates.min()),
        "to": str(windows.dates.max()),
        "sample": sample,
    }
    # Written before anything is counted or reported: a process that is killed afterwards has looked all the
    # same.
    fault = _append(path, json.dumps(line)) if times else ""
    seen, at_least, unread = _read(path)
    same = [(each.times, each.run) for each in seen if _is_same(each.sample, sample)]
    if fault:
        # This look happened, whether it could be written down or not.
        same.append((times, run))
    total = sum(count for count, _ in same)
    found = Looks(times=total, runs=len({name for _, name in same}), at_least=at_least)
    found = found.updated(fault=fault or unread) if fault or unread else found
    return found if whole is None else found.updated(part=True)


def _trained_for(run: str, path: Path, windows: Windows) -> _Line | None:
    """The first line of a run's training, if windows reach into its test split and are no such split."""
    first = next((each for each in _read(path)[0] if (each.run, each.command) == (run, "train")), None)
    if first is None or _is_same(first.sample, sample_of(windows)):
        return None
    # As text, which the dates of ISO 8601 can be compared by: a damaged line must end nothing.
    days = np.unique(windows.dates.astype("datetime64[D]")).astype(str)
    return first if any(first.begin[:10] <= day <= first.end[:10] for day in days.tolist()) else None


def sample_of(windows: Windows) -> list[str]:
    """Name the targets of the smallest hashes among all of a split, ascending, at most ``_SAMPLE`` of them.

    The same targets give the same names on every machine. Values count to six digits: a file that was written
    with fewer, or read from another form, is still the same split.
    """
    # Days whatever the unit: the same date in nanoseconds would be another number, and another split.
    dates = windows.dates.astype("datetime64[D]").astype(np.int64)
    hashes = []
    for place, target in enumerate(windows.cut.targets):
        keys = np.array([_key(f"{symbol}\n{target}") for symbol in windows.panel.symbols], dtype=np.uint64)
        values = _significant(windows.targets[:, :, place])
        hashes.append(_mix(_mix(keys[windows.code][:, None] ^ dates.view(np.uint64)) ^ values).ravel())
    # A sketch of a set: the smallest hashes are a random sample of the targets, the same in every file that
    # has them.
    smallest = np.unique(np.concatenate(hashes))[:_SAMPLE]
    return [f"{each:016x}" for each in smallest.tolist()]


def _is_same(one: list[str], other: list[str]) -> bool:
    """Whether two splits share enough, by the share of common names among the smallest of both together.

    That share estimates common targets over all targets (Broder, "On the resemblance and containment of
    documents", 1997), and is exact where the samples are all there is.
    """
    both = set(one) & set(other)
    union = sorted({*one, *other})[:_SAMPLE]
    return bool(union) and sum(name in both for name in union) >= _SHARED * len(union)


def _append(path: Path, line: str) -> str:
    """Write a line; the reason if that fails, else an empty text."""
    lock = filelock.FileLock(path.with_name(f".{path.name}.lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A line is shorter than what a system appends in one piece: unlocked it may at worst stand beside
        # another, while a look that is not counted would be a lie.
        with suppress(filelock.Timeout):
            lock.acquire(timeout=_PATIENCE_SECONDS)
        try:
            append_line(path, line)
        finally:
            lock.release()
    except OSError as error:
        return f"{path}: {error.strerror or error}"
    return ""


def _read(path: Path) -> tuple[list[_Line], bool, str]:
    """Every whole line, whether older ones were left unread, and why nothing could be read."""
    try:
        data, whole = read_tail(path, most=_MOST_BYTES, what="ledger of looks")
    except FileNotFoundError:
        return [], False, ""
    except (OSError, ConfigError) as error:
        return [], False, f"{path}: {error.got if isinstance(error, ConfigError) else error.strerror}"
    return list(_lines(data)), not whole, ""


def _lines(data: bytes) -> Iterator[_Line]:
    """Lines as they were written; one that was cut off, or is of something else, is left out."""
    for text in data.split(b"\n"):
        if not text.startswith(b"{"):
            continue
        try:
            line = json.loads(text)
        # A line that was cut off by a full disk, or nested by somebody who wanted a crash.
        except (ValueError, RecursionError):
            continue
        times, sample = line.get("times"), line.get("sample")
        # Anybody may write into the folder: a count of 10**30 would make every later verdict worthless.
        good = isinstance(times, int) and 0 < times < 10**9 and isinstance(line.get("run"), str)
        if good and isinstance(sample, list) and all(isinstance(each, str) for each in sample[: _SAMPLE + 1]):
            command, begin, end = (str(line.get(name, "")) for name in ("command", "from", "to"))
            yield _Line(times, line["run"], command, begin, end, sample[:_SAMPLE])


def _key(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def _significant(values: FloatArray) -> npt.NDArray[np.uint64]:
    """Six significant digits and the exponent of each value, as one whole number."""
    size = np.abs(values)
    exponent = np.floor(np.log10(np.where(size > 0, size, 1.0)))
    digits = np.round(values / 10.0**exponent * 1e5).astype(np.int64)
    # 9.999999 is rounded up to 10.0, which is 1.0 of the next exponent.
    over = np.abs(digits) == 10**6
    digits, exponent = np.where(over, digits // 10, digits), np.where(over, exponent + 1, exponent)
    return np.asarray(digits * 1024 + exponent.astype(np.int64)).view(np.uint64)


def _mix(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Scatter 64-bit numbers (Steele, Lea and Flood, "Fast splittable pseudorandom number generators")."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
