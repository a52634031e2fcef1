"""Every number that a document or a command line may say has bounds, so that none overflows further in."""

from __future__ import annotations

import importlib
import pkgutil
import typing

import annotated_types
import pytest
import typer
from pydantic import BaseModel

import qhq
from qhq.cli.app import app
from qhq.documents import Spec
from qhq.limits import MOST_SEED


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
REAL = {"training.learning_rate", "training.weight_decay", "training.clip_norm", "model.dropout", "data.rate"}
KEYS = [
    "seed", "training.batch_size", "training.epochs", "training.threads", "training.patience",
    "training.learning_rate", "training.weight_decay", "training.clip_norm", "data.window", "data.horizon",
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
    monkeypatch.setattr("qhq.memory.available_bytes", lambda: 8 << 30)
    with pytest.raises(ConfigError, match=r"weights must fit into memory. Got 12\d\.\d GiB needed, 8.0 GiB"):
        build_model(large, Shape(1, 1, 1), quantum=None, seed=0)
    monkeypatch.setattr("qhq.memory.available_bytes", lambda: 32 << 20)
    monkeypatch.setattr("qhq.memory._SPARE", 0)
    with pytest.raises(ConfigError, match=r"windows of 250 \+ 1 sessions must fit into memory"):
        open_experiment(
            load_config(None, ["data.window=250", "data.symbols=[AAPL, MSFT, GOOG]", "data.start=null"])
        )
