"""Every number that a document or a command line may say has bounds, so that none overflows further in."""

from __future__ import annotations

import importlib
import pkgutil
import resource
import typing
from pathlib import Path

import annotated_types
import pytest
import typer
from pydantic import BaseModel

import qhq
from qhq import limits
from qhq.cli.app import app
from qhq.documents import Spec
from qhq.errors import BackendError
from qhq.limits import _GIB, MOST_SEED, available_bytes, require_memory, size_text


def specs():
    for module in pkgutil.walk_packages(qhq.__path__, "qhq."):
        if module.name.rpartition(".")[2] in (
            "spec",
            "config",
            "split_spec",
            "space",
            "entry",
            "option_units",
        ):
            importlib.import_module(module.name)
    found, left = [], [Spec]
    while left:
        left += (kinds := left.pop().__subclasses__())
        found += kinds
    return sorted(
        {each for each in found if each.__module__.startswith("qhq.")}, key=lambda each: each.__name__
    )


def bounded(annotation, metadata=()):
    """Whether every int in an annotation has both bounds; a Literal has its own."""
    if annotation is int:
        kinds = [type(each) for each in metadata]
        return (
            any(k in kinds for k in (annotated_types.Ge, annotated_types.Gt)) and annotated_types.Le in kinds
        )
    if typing.get_origin(annotation) is typing.Annotated:
        inner, *more = typing.get_args(annotation)
        return bounded(inner, [part for each in more for part in getattr(each, "metadata", [each])])
    if typing.get_origin(annotation) is typing.Literal:
        return True
    unions = typing.get_args(annotation)
    return all(bounded(each, metadata) for each in unions if each is not Ellipsis)


ALLOWED = {
    ("TranspileSpec", "layout"): "checked against the device's qubits",
    ("IbmSpec", "layout"): "checked against the device's qubits",
}


@pytest.mark.parametrize("spec", specs(), ids=lambda each: each.__name__)
def test_every_whole_number_of_a_document_has_bounds(spec):
    assert issubclass(spec, BaseModel)
    free = [
        name
        for name, field in spec.model_fields.items()
        if not bounded(field.annotation, field.metadata) and (spec.__name__, name) not in ALLOWED
    ]
    assert free == []


def test_every_whole_number_of_the_command_line_has_bounds():
    free, left = [], [typer.main.get_command(app)]
    while left:
        command = left.pop()
        left += getattr(command, "commands", {}).values()
        free += [
            (command.name, each.name)
            for each in command.params
            if each.type_descriptor.annotation is int
            and None in (each.type_descriptor.parameter_info.min, each.type_descriptor.parameter_info.max)
        ]
    assert free == []


NUMBERS = [str(2**103), "-1e20", str(-(2**63)), "1e300", ".inf", ".nan", "9" * 400]
WHOLE = ["1e20", str(2**63), str(2**64)]
REAL = {
    "training.circuit.learning_rate",
    "training.optimizer.eps",
    "training.learning_rate",
    "training.weight_decay",
    "training.clip_norm",
    "model.dropout",
    "data.rate",
}
KEYS = [
    "seed", "training.batch_size", "training.epochs", "training.threads", "training.patience",
    "training.learning_rate", "training.weight_decay", "training.clip_norm", "training.schedule.warm_up",
    "training.circuit.learning_rate", "training.optimizer.eps", "data.window", "data.horizon",
    "data.max_gap", "data.panel_seed", "data.split.folds", "data.split.embargo", "model.latent",
    "model.dropout", "quantum.qubits", "quantum.depth", "data.rate",
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
def test_an_extreme_number_is_refused_by_its_key(study, key):
    from qhq.errors import ConfigError
    from qhq.experiment.config import load_config

    for number in [*NUMBERS, *([] if key in REAL else WHOLE)]:
        with pytest.raises(ConfigError, match=key.rpartition(".")[2]):
            load_config("tiny.yaml", [f"{key}={number}"])


@pytest.mark.parametrize("seed", [0, 2**32, MOST_SEED])
def test_every_seed_up_to_the_largest_trains(study, seed):
    from qhq.experiment.config import load_config
    from qhq.experiment.run import train_run
    from qhq.training.loop import Watcher

    folder = train_run(load_config("tiny.yaml", [f"seed={seed}", "training.epochs=1"]), Watcher())
    assert folder.read_record().seed == seed


def test_layers_of_an_ansatz_cannot_multiply_without_end(study):
    from qhq.ansatz.spec import load_ansatz
    from qhq.errors import ConfigError

    for encoding in ({"kind": "zz_feature_map", "reps": 1e20}, {"kind": "zz_feature_map", "reps": 2**40}):
        with pytest.raises(ConfigError, match="reps"):
            load_ansatz("reference", {"encoding": encoding})
    repeated = {"kind": "zz_feature_map", "reps": 100, "repeat": True}
    with pytest.raises(ConfigError, match="gates"):
        load_ansatz("reference", {"encoding": repeated, "depth": 1000, "qubits": 20})


def test_a_model_or_windows_that_would_not_fit_are_refused(study, monkeypatch):
    from qhq.errors import ConfigError
    from qhq.experiment.config import load_config
    from qhq.experiment.opening import open_experiment
    from qhq.models.hybrid import Shape, build_model
    from qhq.models.spec import ModelSpec, RecurrentLayerSpec

    large = ModelSpec(recurrent=(RecurrentLayerSpec(hidden=4096, unit="lstm"),) * 64)
    monkeypatch.setattr("qhq.limits.available_bytes", lambda: 8 << 30)
    with pytest.raises(ConfigError, match=r"weights must fit into memory. Got 12\d\.\d GiB needed, 8.0 GiB"):
        build_model(large, Shape(1, 1, 1), quantum=None, seed=0)
    monkeypatch.setattr("qhq.limits.available_bytes", lambda: 32 << 20)
    monkeypatch.setattr("qhq.limits._SPARE", 0)
    with pytest.raises(ConfigError, match=r"windows of 250 \+ 1 sessions must fit into memory"):
        open_experiment(
            load_config(None, ["data.window=250", "data.symbols=[AAPL, MSFT, GOOG]", "data.start=null"])
        )


NONE = 1 << 62
MEMINFO = "MemTotal:       16777216 kB\nMemFree:  100 kB\nMemAvailable:    8388608 kB\nSwapTotal: 0 kB\n"
V2, V1 = "/sys/fs/cgroup", "/sys/fs/cgroup/memory"


@pytest.fixture
def system(monkeypatch):
    """Files of the system by path, for a test to fill; a file that is not there cannot be read."""
    files = {}
    monkeypatch.setattr(limits, "_read", lambda path: files.get(str(path), ""))
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    monkeypatch.setattr(limits.os, "sysconf", lambda name: NONE)
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
    assert available_bytes() == 8 * _GIB


def test_without_proc_it_is_all_the_memory_there_is(system, monkeypatch):
    sizes = {"SC_PAGE_SIZE": 16384, "SC_PHYS_PAGES": 1 << 20}
    monkeypatch.setattr(limits.os, "sysconf", sizes.__getitem__)
    assert available_bytes() == 16 * _GIB


@pytest.mark.parametrize("error", [ValueError, OSError])
def test_a_system_that_tells_nothing_has_no_limit(system, monkeypatch, error):
    def sysconf(name):
        raise error(name)

    monkeypatch.setattr(limits.os, "sysconf", sysconf)
    assert available_bytes() == NONE
    require_memory(1 << 50, "A state", fix="none")


@pytest.mark.parametrize("path", ["/", "/docker/abc", "/a.slice/b.scope"])
def test_a_container_of_either_version_leaves_its_limit_less_its_use(system, path):
    system["/proc/meminfo"] = MEMINFO
    system["/proc/self/cgroup"] = f"0::{path}\n"
    group_2(system, f"{V2}{path}".rstrip("/"), limit=2 * _GIB, used=_GIB, idle=_GIB // 2)
    assert available_bytes() == 3 * _GIB // 2
    system.clear()
    system["/proc/meminfo"] = MEMINFO
    system["/proc/self/cgroup"] = f"12:cpu,cpuacct:/x\n9:memory:{path}\n1:name=systemd:/y\n"
    group_1(system, f"{V1}{path}".rstrip("/"), limit=2 * _GIB, used=_GIB, idle=_GIB // 4)
    assert available_bytes() == 5 * _GIB // 4


def test_the_tightest_of_nested_groups_counts(system):
    system["/proc/self/cgroup"] = "0::/outer/middle/inner\n"
    group_2(system, f"{V2}/outer/middle/inner", limit="max", used=1)
    group_2(system, f"{V2}/outer/middle", limit=6 * _GIB, used=_GIB)
    group_2(system, f"{V2}/outer", limit=4 * _GIB, used=3 * _GIB)
    assert available_bytes() == _GIB


def test_the_folder_that_the_container_sees_counts_though_its_path_is_the_hosts(system):
    system["/proc/self/cgroup"] = "9:memory:/docker/0123\n0::/system.slice/docker-0123.scope\n"
    group_1(system, V1, limit=_GIB, used=_GIB // 4)
    assert available_bytes() == 3 * _GIB // 4


@pytest.mark.parametrize("limit", ["max", "", "a word", "9223372036854771712"])
def test_no_limit_of_a_container_is_none(system, limit):
    system["/proc/meminfo"] = MEMINFO
    system["/proc/self/cgroup"] = "0::/\n9:memory:/\n"
    group_2(system, V2, limit=limit, used=_GIB)
    group_1(system, V1, limit=limit, used=_GIB)
    assert available_bytes() == 8 * _GIB


@pytest.mark.parametrize("text", ["", "junk\n", "0:\n0::/../../etc\n", "\n\n", "0::/a:b\n"])
def test_odd_lines_are_passed_over(system, text):
    system["/proc/meminfo"] = "MemAvailable:\n" + MEMINFO
    system["/proc/self/cgroup"] = text
    assert available_bytes() == 8 * _GIB


def test_a_limit_of_the_process_leaves_what_it_has_not_mapped(system, monkeypatch):
    system["/proc/meminfo"] = MEMINFO
    system["/proc/self/statm"] = f"{_GIB // resource.getpagesize()} 1 1 1 0 1 0\n"
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (3 * _GIB, resource.RLIM_INFINITY))
    assert available_bytes() == 2 * _GIB


def test_more_used_than_allowed_leaves_nothing_not_less(system):
    system["/proc/self/cgroup"] = "0::/\n"
    group_2(system, V2, limit=_GIB, used=2 * _GIB)
    assert available_bytes() == 0
    with pytest.raises(BackendError, match="0 MiB available"):
        require_memory(_GIB, "A state", fix="Use fewer")


def test_a_refusal_names_both_figures_and_what_fits_passes(system):
    system["/proc/meminfo"] = MEMINFO
    require_memory(7 * _GIB, "A state", fix="Use fewer qubits")
    with pytest.raises(BackendError) as caught:
        require_memory(8 * _GIB, "A state of 29 qubits", fix="Use fewer qubits")
    assert "A state of 29 qubits must fit into memory" in str(caught.value)
    assert "8.0 GiB needed, 8.0 GiB available" in str(caught.value)


def test_little_is_never_asked_for(system):
    system["/proc/meminfo"] = "MemAvailable: 0 kB\n"
    require_memory(1 << 20, "A small state", fix="none")


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 MiB"), (3 << 20, "3 MiB"), (5 * _GIB // 2, "2.5 GiB"), (3 << 40, "3.0 TiB")]
)
def test_sizes_are_written_for_people(size, text):
    assert size_text(size) == text


def test_this_process_has_some_memory_and_files_that_are_not_there_are_empty():
    assert available_bytes() > 0
    assert limits._read(Path("/no/such/file")) == ""
