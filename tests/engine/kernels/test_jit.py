"""The kernel cache: it saves time, and nothing that happens to it stops a command."""

import os
import pickle

import pytest

from qhq.engine.kernels import jit
from qhq.engine.kernels.jit import announced, entry


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A kernel cache of the test's own, whose messages are said anew."""
    folder = tmp_path / "kernels"
    monkeypatch.setattr(jit, "_CACHE", str(folder))
    monkeypatch.setattr(jit, "_said", set())
    return folder


def make_kernel():
    """The same function each time, as each process makes it."""
    return entry(lambda number: number + 1)


def compile_once(cache):
    assert make_kernel()(1) == 2
    return sorted(path for path in cache.rglob("*") if path.is_file())


def from_cache(kernel):
    return sum(kernel.stats.cache_hits.values())


def test_compiling_is_announced(capsys, cache):
    kernel = make_kernel()
    with announced():
        assert kernel(1) == 2
        assert kernel(2) == 3
    assert capsys.readouterr().err.count("compiling the exact engine") == 1


def test_the_next_process_compiles_nothing(cache):
    compile_once(cache)
    kernel = make_kernel()
    assert kernel(1) == 2
    assert from_cache(kernel) == 1


def flip(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


@pytest.mark.parametrize("ending", [".nbi", ".nbc"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: b"no pickle",
        lambda content: bytes(len(content)),
        lambda content: pickle.dumps(("a", "b")),
        lambda content: pickle.dumps(None),
        flip,
    ],
)
def test_a_damaged_cache_is_dropped_and_filled_anew(cache, capsys, ending, damage):
    for path in compile_once(cache):
        if path.suffix == ending:
            path.write_bytes(damage(path.read_bytes()))
    assert make_kernel()(1) == 2
    assert capsys.readouterr().err.count("compiling anew") <= 1
    healed = make_kernel()
    assert healed(1) == 2
    assert from_cache(healed) == 1


def test_a_lost_file_is_written_again(cache):
    for path in compile_once(cache):
        if path.suffix == ".nbc":
            path.unlink()
    assert make_kernel()(1) == 2
    healed = make_kernel()
    assert healed(1) == 2
    assert from_cache(healed) == 1


def test_a_full_disk_leaves_the_kernels_in_memory(cache, capsys, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(jit._CheckedFiles, "_save_data", full)
    kernel = make_kernel()
    assert (kernel(1), kernel(2)) == (2, 3)
    assert kernel(1.5) == 2.5
    assert capsys.readouterr().err.count("No space left on device") == 1
    assert not [path for path in cache.rglob("*.nbi")]


def test_a_folder_that_is_a_file_is_no_error(monkeypatch, capsys):
    monkeypatch.setattr(jit, "_CACHE", os.devnull)
    assert make_kernel()(1) == 2
    assert "cannot keep compiled kernels" in capsys.readouterr().err


def test_the_folder_is_the_users_alone(cache):
    compile_once(cache)
    assert cache.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o722])
def test_a_folder_that_others_may_write_to_is_not_read(cache, capsys, mode):
    compile_once(cache)
    cache.chmod(mode)
    kernel = make_kernel()
    assert kernel(1) == 2
    assert from_cache(kernel) == 0
    assert "others may write to it" in capsys.readouterr().err


def test_a_folder_of_another_user_is_not_read(cache, capsys, monkeypatch):
    compile_once(cache)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    kernel = make_kernel()
    assert kernel(1) == 2
    assert from_cache(kernel) == 0
    assert "belongs to user" in capsys.readouterr().err
