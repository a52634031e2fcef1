import gzip
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from qhq.errors import ConfigError
from qhq.files import (
    HeldError,
    append_line,
    expand_gzip,
    held_alone,
    holder_is_gone,
    is_running,
    make_folder,
    read_regular,
    replacing,
    reserving,
    write_atomically,
)


def test_a_file_is_written_with_its_folder_and_replaced(tmp_path):
    path = tmp_path / "a" / "b" / "file"
    write_atomically(path, b"one")
    write_atomically(path, "zwei")
    assert path.read_text() == "zwei"
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_nothing_behind(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        write_atomically(tmp_path / "taken", b"content")
    assert [each.name for each in tmp_path.iterdir()] == ["taken"]


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), KeyboardInterrupt(), ValueError("no")]
)
def test_a_writer_that_fails_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "file.txt"
    path.write_text("before")

    def fail():
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_the_temporary_file_keeps_the_ending(tmp_path):
    with replacing(tmp_path / "figure.png") as temporary:
        assert temporary.suffix == ".png"
        temporary.write_bytes(b"")
    with replacing(tmp_path / "table", ending=".xlsx") as temporary:
        assert temporary.suffix == ".xlsx"
        temporary.write_bytes(b"")


def test_a_secret_is_never_readable_by_others(tmp_path):
    path = tmp_path / "key"
    with replacing(path, mode=0o600) as temporary:
        assert temporary.stat().st_mode & 0o777 == 0o600
        temporary.write_text("secret")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_name_may_take_all_255_bytes_and_no_more(tmp_path):
    write_atomically(tmp_path / ("a" * 255), b"content")
    with pytest.raises(OSError, match="File name too long"):
        write_atomically(tmp_path / ("é" * 128), b"content")


def test_many_writers_of_one_file_never_show_half_a_content(tmp_path):
    path = tmp_path / "shared"
    contents = [bytes([65 + writer]) * 200_000 for writer in range(6)]
    write_atomically(path, contents[0])
    torn, failed, done = [], [], threading.Event()

    def write(content):
        try:
            for _ in range(20):
                write_atomically(path, content)
        except OSError as error:
            failed.append(error)

    def read():
        while not done.is_set():
            if (seen := path.read_bytes()) not in contents:
                torn.append(seen[:10])

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=write, args=(content,)) for content in contents]
    reader.start()
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    done.set()
    reader.join()
    assert not torn
    assert not failed
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path):
    died = subprocess.Popen([sys.executable, "-c", "pass"])
    died.wait()
    with replacing(tmp_path / "file") as temporary:
        left = temporary.with_name(temporary.name.replace(str(os.getpid()), str(died.pid), 1))
        left.write_bytes(b"half")
        temporary.write_bytes(b"")
        write_atomically(tmp_path / "other", b"")
        assert temporary.exists(), "of a writer that is alive"
        assert not left.exists()


def test_a_regular_file_is_read_through_a_link(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "link") == b"content"


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (Path.mkdir, "a folder"),
        (os.mkfifo, "a FIFO"),
        (lambda path: path.symlink_to("/dev/zero"), "a device"),
    ],
)
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, make, kind):
    path = tmp_path / "thing"
    make(path)
    with pytest.raises(ConfigError, match=f"must be a regular file.*{kind}"):
        read_regular(path)


def test_a_file_that_is_too_large_is_refused_unread(tmp_path):
    path = tmp_path / "large"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)  # sparse: a terabyte that takes no space
    with pytest.raises(ConfigError, match=r"at most 16 MiB.*1,048,576\.0 MiB"):
        read_regular(path)


def test_gzip_expands_up_to_its_bound(tmp_path):
    assert expand_gzip(gzip.compress(b"abc") + gzip.compress(b"def"), most=6, source=tmp_path) == b"abcdef"
    bomb = gzip.compress(bytes(50 << 20))
    with pytest.raises(ConfigError, match=r"expanded file must have at most 1 MiB"):
        expand_gzip(bomb, most=1 << 20, source=tmp_path)
    with pytest.raises(ConfigError, match="ends before its content"):
        expand_gzip(bomb[:-20], most=100 << 20, source=tmp_path)
    with pytest.raises(ConfigError, match="gzip content"):
        expand_gzip(b"no gzip", most=100, source=tmp_path)


def fill(folder):
    (folder / "file").write_text("content")


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    def fail(folder):
        fill(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_folder(tmp_path / "one", fail)
    assert list(tmp_path.iterdir()) == []
    assert make_folder(tmp_path / "one", fill) == tmp_path / "one"
    with pytest.raises(OSError, match="one"):
        make_folder(tmp_path / "one", fill)
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_folders_of_one_name_are_numbered_whoever_was_faster(tmp_path):
    def overtaken(folder):
        fill(folder)
        for name in ("one", "one-2"):  # another process, between the look and the move
            (tmp_path / name).mkdir()
            fill(tmp_path / name)

    assert make_folder(tmp_path / "one", overtaken, numbered=True) == tmp_path / "one-3"
    (tmp_path / "file").write_text("")
    assert make_folder(tmp_path / "file", fill, numbered=True) == tmp_path / "file-2"


def test_the_folder_of_a_killed_process_is_removed_by_the_next(tmp_path):
    died = subprocess.Popen([sys.executable, "-c", "pass"])
    died.wait()

    def leave(folder):
        left = folder.with_name(folder.name.replace(str(os.getpid()), str(died.pid), 1))
        left.mkdir()
        fill(left)

    make_folder(tmp_path / "one", leave)
    make_folder(tmp_path / "two", fill)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_a_lock_says_who_holds_it(tmp_path):
    rules = {"must": "One at a time", "fix": "Wait"}
    path = tmp_path / ".lock"
    who = rf"held by process {os.getpid()} on .* \(qhq"
    with held_alone(path, **rules), pytest.raises(HeldError, match=who), held_alone(path, **rules):
        pass
    with held_alone(tmp_path / ".lock", **rules):
        assert not holder_is_gone(path)  # what it signs with is what is read
    process = str(os.getpid())
    path.write_text(path.read_text().replace(f"process {process} ", f"process {_died()} "))
    assert holder_is_gone(path)


def _died() -> int:
    died = subprocess.Popen([sys.executable, "-c", "pass"])
    died.wait()
    return died.pid


def test_a_disk_that_takes_part_of_a_line_is_full(tmp_path, monkeypatch):
    real = os.fdopen

    class Short:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, data):
            return self.file.write(data[:5])

    with monkeypatch.context() as patch:
        patch.setattr("qhq.files.os.fdopen", lambda *args, **named: Short(real(*args, **named)))
        with pytest.raises(OSError, match="No space left"):
            append_line(tmp_path / "store", "a line that is cut off")
    append_line(tmp_path / "store", "next")
    assert (tmp_path / "store").read_text().splitlines()[-1] == "next"


def test_room_is_kept_and_given_back(tmp_path):
    def taken():
        return sum(path.stat().st_size for path in tmp_path.iterdir())

    with reserving(tmp_path, 5000) as give_back:
        assert taken() == 5000
        give_back()
        assert taken() == 0
    with pytest.raises(ValueError, match="no"), reserving(tmp_path, 5000):
        raise ValueError("no")
    assert list(tmp_path.iterdir()) == []


def test_a_process_is_dead_or_lives():
    assert [is_running(each) for each in (os.getpid(), 2**22 + 1, 2**70)] == [True, False, False]


def test_an_interrupt_leaves_no_reserve(tmp_path, monkeypatch):
    def interrupted(size):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), reserving(tmp_path, 10):  # noqa: PT012
        assert len(list(tmp_path.iterdir())) == 1
        raise KeyboardInterrupt
    monkeypatch.setattr("os.urandom", interrupted)
    with pytest.raises(KeyboardInterrupt), reserving(tmp_path, 10):
        pytest.fail("the block must not begin")
    assert list(tmp_path.iterdir()) == []
