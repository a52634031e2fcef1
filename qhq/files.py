"""The one border between qhq and the file system: whole writes, bounded reads of regular files.

A run folder is written by several processes at once, on disks that fill up, and read from folders that
other people made. So every file that qhq writes appears whole under its name or not at all, whoever else
writes it meanwhile; and every file that it reads is a regular one, of a size that was looked at before its
content was taken into memory.
"""

from __future__ import annotations

import datetime
import errno
import itertools
import json
import os
import platform
import re
import shutil
import stat
import sys
import tempfile
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import filelock

from qhq.errors import ConfigError

MEBIBYTE = 1 << 20


class HeldError(ConfigError):
    """Another process holds what one process at a time may work on."""


MOST_TABLE_BYTES = 1024 * MEBIBYTE
"""Of a table, a checkpoint or a store of cells that qhq wrote."""

MOST_DOCUMENT_BYTES = 16 * MEBIBYTE
"""Of a text that people write by hand or qhq writes for them: YAML, JSON, a circuit."""


def _place() -> str:
    """Digest of what numbers this process: machines and containers that share a folder count apart."""
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = ""
    return f"{zlib.crc32((platform.node() + namespace).encode()):08x}"


# Begins the name of a file that is being written; the number of the process that writes it follows.
_MARK = f".qhq-{_place()}-"

# Why a folder cannot be moved to a name that another one has.
_TAKEN = frozenset({errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR})

# The longest name of a file that Linux and macOS keep.
_NAME_BYTES = 255


@contextmanager
def replacing(path: Path, *, mode: int | None = None, ending: str | None = None) -> Iterator[Path]:
    """Give a path beside ``path`` to write to, and move what was written there into place.

    The name beside it is unique to this call, so that two processes that write one file each replace it with
    a whole content; the last one wins. What was there stays where the block fails.

    Args:
        path: The file to write or replace, in a folder that exists. The temporary file has its ending, for
            writers that go by it.
        mode: Permissions of the file; by default those of any new file of the user.
        ending: Ending of the temporary file where that of ``path`` would mislead its writer.

    Raises:
        OSError: If the disk is full, the folder cannot be written, or the name is too long.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        with _written_through(path, path.suffix if ending is None else ending) as temporary:
            yield temporary
        return
    if len(os.fsencode(path.name)) > _NAME_BYTES:
        # Said before the content is written, which would happen under the short temporary name.
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), str(path))
    _remove_leftovers(path.parent)
    temporary = _beside(path, (path.suffix if ending is None else ending)[:16])
    try:
        if mode is not None:
            # Made with its mode, not given it afterwards: nobody may read the content in between.
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
        yield temporary
        _sync(temporary)
        temporary.replace(path)
    # Of an interrupt as well, or each one would leave half a file behind.
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def make_folder(path: Path, fill: Callable[[Path], object], *, numbered: bool = False) -> Path:
    """Make a folder that appears when it is whole: it is filled under a hidden name beside its own.

    Args:
        path: The folder. One that is there, and is not empty, is never replaced or mixed with.
        fill: Writes the files into the folder that it is given.
        numbered: Take ``path-2``, ``path-3`` and so on where something is there; by default that is an error.

    Returns:
        Where the folder is.

    Raises:
        OSError: If it cannot be made; what was filled is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path.parent)
    temporary = _beside(path)
    try:
        temporary.mkdir()
        fill(temporary)
        for number in itertools.count(2):
            try:
                # Looked at by the move itself: another process may take the name at any moment before.
                return temporary.rename(path)
            except OSError as error:
                if not numbered or error.errno not in _TAKEN:
                    raise
            path = path.with_name(f"{path.name.removesuffix(f'-{number - 1}')}-{number}")
        raise AssertionError  # the numbers never end
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


@contextmanager
def held_alone(path: Path, *, must: str, fix: str, seconds: float = 0.0) -> Iterator[None]:
    """Hold a lock file alone, across processes; the system frees it when its holder dies, by whatever death.

    Args:
        path: The lock file, in a folder that exists. It stays, and says who held it last.
        must: Of the error: the rule that one process at a time must keep to.
        fix: Of the error: what to do meanwhile.
        seconds: How long to wait for another process that holds it.

    Raises:
        HeldError: If another process still holds it then; says which.
        OSError: If the file cannot be made.
    """
    # Of the operating system: it falls with its process, however that ends, and leaves nothing to clean up.
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=seconds)
    except filelock.Timeout as error:
        raise HeldError(must, got=f"{path.parent.name}, held by {_holder(path)}", fix=fix) from error
    try:
        with suppress(OSError):  # the lock holds without it, on a full disk too
            _sign(path)
        yield
    finally:
        lock.release()


def _sign(lock: Path) -> None:
    """Write into a lock file who holds it: in place, since a new file would be another lock."""
    now = datetime.datetime.now(tz=datetime.UTC)
    command = " ".join(["qhq", *sys.argv[1:2]])
    words = f"process {os.getpid()} on {platform.node()} ({command}), since {now:%Y-%m-%d %H:%M:%S} UTC"
    # Through no link, which might lead to any file of the user's.
    flags = os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0) | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(lock, flags), "wb", buffering=0) as file:
        found = os.fstat(file.fileno())
        # In a folder that somebody else made, the file may be a second name of one elsewhere.
        if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
            file.truncate(0)
            file.write(words.encode())


def _holder(lock: Path) -> str:
    """Who holds a lock, as far as its file says."""
    try:
        found = read_regular(lock, most=1024, what="lock").decode("utf-8", "replace").strip()
    except (OSError, ConfigError):
        found = ""
    return found or "another process"


def holder_is_gone(lock: Path) -> bool:
    """Whether the process that held a lock file last was one of this machine, and is gone.

    It is looked for and the lock is not tried: whoever wanted it in that moment would be refused.
    """
    found = re.match(r"process (\d{1,9}) on (\S+) \(", _holder(lock))
    return found is not None and found[2] == platform.node() and not is_running(int(found[1]))


@contextmanager
def reserving(folder: Path, size: int) -> Iterator[Callable[[], None]]:
    """Keep some space on a disk while the block runs, so that a full one still takes its last word.

    Args:
        folder: Where; the file is hidden, and removed at the end.
        size: Bytes.

    Yields:
        Gives the space back, for what must be written now.
    """
    ballast = _beside(folder / "reserve")
    try:
        # Without it a full disk takes the last word as well, and nothing else.
        with suppress(OSError):
            ballast.write_bytes(os.urandom(size))  # zeros would take no space on many disks
        yield lambda: ballast.unlink(missing_ok=True)
    finally:
        with suppress(OSError):
            ballast.unlink(missing_ok=True)


def _beside(path: Path, ending: str = "") -> Path:
    """A name beside ``path`` that no other call has, and that says which process writes under it."""
    # The process, so that what a killed one has left can be told from what a living one writes.
    return path.with_name(f"{_MARK}{os.getpid()}-{uuid.uuid4().hex}{ending}")


@contextmanager
def _written_through(path: Path, ending: str) -> Iterator[Path]:
    """Write to a device or a FIFO (``/dev/stdout``, a shell's ``>(cmd)``): a file must not take its place.

    Raises:
        OSError: Also if nobody reads the FIFO, for which a plain open would wait for ever.
    """
    with tempfile.TemporaryDirectory(prefix="qhq-") as folder:
        temporary = Path(folder) / f"content{ending[:16]}"
        yield temporary
        # Not blocking: to open a FIFO for writing waits for a reader, who may never come.
        handle = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_blocking(handle, True)
        with os.fdopen(handle, "wb") as stream, temporary.open("rb") as content:
            shutil.copyfileobj(content, stream)


def append_line(path: Path, line: str) -> None:
    """Add a line to a file that several processes may add to; on disk when this returns.

    It is written in one piece, and begins on a line of its own: what was cut off before must not swallow it.

    Raises:
        OSError: If it cannot be written, or the path is no regular file or one of several names.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Opened first and looked at then: between a look and an opening the name could be given to a FIFO.
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    with os.fdopen(handle, "ab", buffering=0) as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "no regular file", str(path))
        if found.st_nlink > 1:
            # What is replaced leaves its other names alone; what is added to would change under all of them.
            raise OSError(errno.EMLINK, "a file of several names", str(path))
        data = f"\n{line}\n".encode()
        # A disk that fills up takes a part and raises nothing; the rest, written later, could be torn apart.
        if (file.write(data) or 0) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        os.fsync(handle)


def check_regular(path: Path, *, most: int, what: str = "file") -> Path:
    """Look at a file before a library opens it by its path; see `read_regular`.

    Raises:
        OSError: If it does not exist or cannot be opened.
        ConfigError: If it is a folder, a device or a FIFO, or too large.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise _irregular(path, found.st_mode, what)
    if found.st_size > most:
        raise _too_large(path, found.st_size, most, what)
    return path


def own_file(top: Path, name: str | Path) -> Path:
    """The path of a file of a folder that somebody else may have made, if it is the folder's own.

    A link inside it could stand for any file or folder of whoever opens it: what leads out is refused, to be
    read as to be written.

    Args:
        top: The folder. It may be a link itself: its user named it.
        name: Path below it.

    Raises:
        ConfigError: If the name, or a link on the way, leads out of the folder.
    """
    path, step = top / name, top
    for piece in Path(name).parts:
        step = step / piece
        if piece == ".." or Path(name).is_absolute() or "\0" in piece or _leads_out(step, top):
            raise ConfigError(
                "A folder of qhq's must hold its own files",
                got=f"{step}, which leads out of it",
                fix="Put a copy in the place of the link, if you trust where it comes from",
            )
    return path


def _leads_out(step: Path, top: Path) -> bool:
    if not step.is_symlink():
        return False
    try:
        return not step.resolve(strict=False).is_relative_to(top.resolve())
    except (OSError, RuntimeError):  # a link to itself
        return True


def write_atomically(path: Path, content: bytes | str, *, mode: int | None = None) -> None:
    """Write a whole file: another process sees the old content or the new, never half of one.

    Args:
        path: The file; its folder is made.
        content: Bytes, or a text that is written in UTF-8.
        mode: Permissions of the file; by default those of any new file of the user.

    Raises:
        OSError: If it cannot be written; what was there stays.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, mode=mode) as temporary:
        temporary.write_bytes(data)


def read_regular(path: Path, *, most: int = MOST_DOCUMENT_BYTES, what: str = "file") -> bytes:
    """Read a file that must be a regular one of a bounded size.

    It is opened without waiting, since a FIFO in a file's place would block for ever, and looked at through
    the open handle, so that nothing can be exchanged between the look and the read.

    Args:
        path: The file; a symbolic link is followed.
        most: Bytes it may have.
        what: What to call it in the error.

    Raises:
        OSError: If it does not exist or cannot be opened.
        ConfigError: If it is a folder, a device or a FIFO, or too large.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise _irregular(path, found.st_mode, what)
        if found.st_size > most:
            raise _too_large(path, found.st_size, most, what)
        # A file that grows while it is read is cut off one byte too late, and refused like any other.
        with os.fdopen(os.dup(handle), "rb") as stream:
            data = stream.read(most + 1)
    finally:
        os.close(handle)
    if len(data) > most:
        raise _too_large(path, len(data), most, what)
    return data


def read_tail(path: Path, *, most: int, what: str = "file") -> tuple[bytes, bool]:
    """Read the end of a regular file that is only added to, and whether that is all of it.

    Args:
        path: The file; a symbolic link is followed.
        most: Bytes to read.
        what: What to call it in the error.

    Raises:
        OSError: If it does not exist or cannot be opened.
        ConfigError: If it is a folder, a device or a FIFO.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as stream:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise _irregular(path, found.st_mode, what)
        stream.seek(max(0, found.st_size - most))
        return stream.read(most), found.st_size <= most


Json = dict[str, Any]
"""A JSON object whose keys others decide: what a file, a service or a config holds before it is checked."""


def read_json(path: Path, *, most: int = MOST_DOCUMENT_BYTES, what: str = "file") -> Any:
    """Read a JSON file; see `read_regular`.

    Raises:
        OSError: If it does not exist or cannot be opened.
        ConfigError: If it is a folder, a device or a FIFO, or too large.
        ValueError: If it holds no JSON, or lists in lists without end.
    """
    try:
        return json.loads(read_regular(path, most=most, what=what))
    except RecursionError as error:
        raise ValueError("nested without end") from error


def expand_gzip(data: bytes, *, most: int, source: Path, what: str = "file") -> bytes:
    """Expand gzip content, stopping at ``most`` bytes: two megabytes can hold two gigabytes of zeros.

    Raises:
        ConfigError: If it expands to more, is damaged or is cut off.
    """
    pieces, size, rest = [], 0, data
    while rest:
        # One member after another, as `gzip -d` reads them.
        expander = zlib.decompressobj(wbits=31)
        try:
            piece = expander.decompress(rest, most + 1 - size)
        except zlib.error as error:
            raise _damaged(source, what, str(error)) from error
        pieces.append(piece)
        size += len(piece)
        if size > most:
            raise _too_large(source, size, most, f"expanded {what}")
        if not expander.eof:
            raise _damaged(source, what, "it ends before its content does")
        rest = expander.unused_data.lstrip(b"\0")
    return b"".join(pieces)


def _too_large(path: Path, size: int, most: int, what: str) -> ConfigError:
    """Error that a file is larger than anything that belongs there."""
    return ConfigError(
        f"The {what} must have at most {most / MEBIBYTE:,.0f} MiB",
        got=f"{path} with {size / MEBIBYTE:,.1f} MiB or more",
        fix="Name the right file; what belongs there is much smaller",
    )


def _damaged(path: Path, what: str, reason: str) -> ConfigError:
    return ConfigError(
        f"The {what} must be gzip content that can be expanded",
        got=f"{path}: {reason}",
        fix="Copy the file again",
    )


def _irregular(path: Path, mode: int, what: str) -> ConfigError:
    return ConfigError(
        f"The {what} must be a regular file", got=f"{path}, which is {_kind(mode)}", fix="Name a file"
    )


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "no regular file")


def _remove_leftovers(folder: Path) -> None:
    """Remove the files and folders that writers of this machine left in a folder when they were killed."""
    for path in folder.glob(f"{_MARK}*"):
        writer = path.name.removeprefix(_MARK).partition("-")[0]
        if writer.isdigit() and not is_running(int(writer)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def is_running(process: int) -> bool:
    """Whether a process of this number runs on this machine, whoever's it is."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):  # no such process, or no number that one can have
        return False
    except PermissionError:  # another user's
        return True
    return True


def _sync(path: Path) -> None:
    """Have the content on the disk before the name points at it: else a power cut leaves an empty file."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
