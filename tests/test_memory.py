"""How much memory is left, by what the system says; each limit alone, and the least of them."""

import resource
from pathlib import Path

import pytest

from qhq import memory
from qhq.errors import BackendError
from qhq.memory import GIB, available_bytes, require_memory, size_text

NONE = 1 << 62
MEMINFO = "MemTotal:       16777216 kB\nMemFree:  100 kB\nMemAvailable:    8388608 kB\nSwapTotal: 0 kB\n"
V2, V1 = "/sys/fs/cgroup", "/sys/fs/cgroup/memory"


@pytest.fixture
def system(monkeypatch):
    """Files of the system by path, for a test to fill; a file that is not there cannot be read."""
    files = {}
    monkeypatch.setattr(memory, "_read", lambda path: files.get(str(path), ""))
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    monkeypatch.setattr(memory.os, "sysconf", lambda name: NONE)
    return files


def group_2(files, folder, *, limit, used, idle=0):
    files[f"{folder}/memory.max"] = f"{limit}\n"
    files[f"{folder}/memory.current"] = f"{used}\n"
    files[f"{folder}/memory.stat"] = f"anon 5\ninactive_file {idle}\nactive_file 7\n"


def group_1(files, folder, *, limit, used, idle=0):
    files[f"{folder}/memory.limit_in_bytes"] = f"{limit}\n"
    files[f"{folder}/memory.usage_in_bytes"] = f"{used}\n"
    files[f"{folder}/memory.stat"] = f"inactive_file 3\ntotal_inactive_file {idle}\n"


def test_a_machine_without_limits_has_what_it_calls_available(system):
    system["/proc/meminfo"] = MEMINFO
    assert available_bytes() == 8 * GIB


def test_without_proc_it_is_all_the_memory_there_is(system, monkeypatch):
    sizes = {"SC_PAGE_SIZE": 16384, "SC_PHYS_PAGES": 1 << 20}
    monkeypatch.setattr(memory.os, "sysconf", sizes.__getitem__)
    assert available_bytes() == 16 * GIB


@pytest.mark.parametrize("error", [ValueError, OSError])
def test_a_system_that_tells_nothing_has_no_limit(system, monkeypatch, error):
    def sysconf(name):
        raise error(name)

    monkeypatch.setattr(memory.os, "sysconf", sysconf)
    assert available_bytes() == NONE
    require_memory(1 << 50, "A state", fix="none")


@pytest.mark.parametrize("path", ["/", "/docker/abc", "/a.slice/b.scope"])
def test_a_container_of_either_version_leaves_its_limit_less_its_use(system, path):
    system["/proc/meminfo"] = MEMINFO
    system["/proc/self/cgroup"] = f"0::{path}\n"
    group_2(system, f"{V2}{path}".rstrip("/"), limit=2 * GIB, used=GIB, idle=GIB // 2)
    assert available_bytes() == 3 * GIB // 2
    system.clear()
    system["/proc/meminfo"] = MEMINFO
    system["/proc/self/cgroup"] = f"12:cpu,cpuacct:/x\n9:memory:{path}\n1:name=systemd:/y\n"
    group_1(system, f"{V1}{path}".rstrip("/"), limit=2 * GIB, used=GIB, idle=GIB // 4)
    assert available_bytes() == 5 * GIB // 4


def test_the_tightest_of_nested_groups_counts(system):
    system["/proc/self/cgroup"] = "0::/outer/middle/inner\n"
    group_2(system, f"{V2}/outer/middle/inner", limit="max", used=1)
    group_2(system, f"{V2}/outer/middle", limit=6 * GIB, used=GIB)
    group_2(system, f"{V2}/outer", limit=4 * GIB, used=3 * GIB)
    assert available_bytes() == GIB


def test_the_folder_that_the_container_sees_counts_though_its_path_is_the_hosts(system):
    system["/proc/self/cgroup"] = "9:memory:/docker/0123\n0::/system.slice/docker-0123.scope\n"
    group_1(system, V1, limit=GIB, used=GIB // 4)
    assert available_bytes() == 3 * GIB // 4


@pytest.mark.parametrize("limit", ["max", "", "a word", "9223372036854771712"])
def test_no_limit_of_a_container_is_none(system, limit):
    system["/proc/meminfo"] = MEMINFO
    system["/proc/self/cgroup"] = "0::/\n9:memory:/\n"
    group_2(system, V2, limit=limit, used=GIB)
    group_1(system, V1, limit=limit, used=GIB)
    assert available_bytes() == 8 * GIB


@pytest.mark.parametrize("text", ["", "junk\n", "0:\n0::/../../etc\n", "\n\n", "0::/a:b\n"])
def test_odd_lines_are_passed_over(system, text):
    system["/proc/meminfo"] = "MemAvailable:\n" + MEMINFO
    system["/proc/self/cgroup"] = text
    assert available_bytes() == 8 * GIB


def test_a_limit_of_the_process_leaves_what_it_has_not_mapped(system, monkeypatch):
    system["/proc/meminfo"] = MEMINFO
    system["/proc/self/statm"] = f"{GIB // resource.getpagesize()} 1 1 1 0 1 0\n"
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (3 * GIB, resource.RLIM_INFINITY))
    assert available_bytes() == 2 * GIB


def test_more_used_than_allowed_leaves_nothing_not_less(system):
    system["/proc/self/cgroup"] = "0::/\n"
    group_2(system, V2, limit=GIB, used=2 * GIB)
    assert available_bytes() == 0
    with pytest.raises(BackendError, match="0 MiB available"):
        require_memory(GIB, "A state", fix="Use fewer")


def test_a_refusal_names_both_figures_and_what_fits_passes(system):
    system["/proc/meminfo"] = MEMINFO
    require_memory(7 * GIB, "A state", fix="Use fewer qubits")
    with pytest.raises(BackendError) as caught:
        require_memory(8 * GIB, "A state of 29 qubits", fix="Use fewer qubits")
    assert "A state of 29 qubits must fit into memory" in str(caught.value)
    assert "8.0 GiB needed, 8.0 GiB available" in str(caught.value)


def test_little_is_never_asked_for(system):
    system["/proc/meminfo"] = "MemAvailable: 0 kB\n"
    require_memory(1 << 20, "A small state", fix="none")


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 MiB"), (3 << 20, "3 MiB"), (5 * GIB // 2, "2.5 GiB"), (3 << 40, "3.0 TiB")]
)
def test_sizes_are_written_for_people(size, text):
    assert size_text(size) == text


def test_this_process_has_some_memory_and_files_that_are_not_there_are_empty():
    assert available_bytes() > 0
    assert memory._read(Path("/no/such/file")) == ""
