"""Checkpoints: what was saved comes back, anything else is refused in three parts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from qhq.errors import ConfigError
from qhq.training.checkpoint import load_state, load_weights, save_state, save_weights
from qhq.training.loop import TrainingState


def test_weights_round_trip(tmp_path):
    saved, loaded = nn.Linear(3, 2), nn.Linear(3, 2)
    save_weights(saved, tmp_path / "model.safetensors", {"circuit": "abc"})
    load_weights(loaded, tmp_path / "model.safetensors", {"circuit": "abc"})
    np.testing.assert_array_equal(saved.weight.detach(), loaded.weight.detach())
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_weights_of_another_circuit_are_refused(tmp_path):
    save_weights(nn.Linear(3, 2), tmp_path / "model.safetensors", {"circuit": "abc"})
    with pytest.raises(ConfigError, match="belong to the run's circuit. Got .*abc, wanted xyz"):
        load_weights(nn.Linear(3, 2), tmp_path / "model.safetensors", {"circuit": "xyz"})


@pytest.mark.parametrize("other", [nn.Linear(3, 3), nn.Sequential(nn.Linear(3, 2))])
def test_weights_of_another_model_are_refused(tmp_path, other):
    save_weights(nn.Linear(3, 2), tmp_path / "model.safetensors", {})
    with pytest.raises(ConfigError, match="exactly the tensors"):
        load_weights(other, tmp_path / "model.safetensors", {})


@pytest.mark.parametrize("content", [b"", b"rubbish", b"\x08\0\0\0\0\0\0\0{}      "])
def test_damaged_files_are_refused(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="readable file that qhq wrote|exactly the tensors"):
        load_weights(nn.Linear(3, 2), path, {})
    with pytest.raises(ConfigError, match="readable file that qhq wrote"):
        load_state(path, {})


def test_truncated_weights_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    save_weights(nn.Linear(30, 20), path, {})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ConfigError, match="readable file that qhq wrote"):
        load_weights(nn.Linear(30, 20), path, {})


def test_missing_files_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="readable file that qhq wrote"):
        load_weights(nn.Linear(3, 2), tmp_path / "none", {})
    with pytest.raises(ConfigError, match="readable file that qhq wrote"):
        load_state(tmp_path / "none", {})


def test_state_with_code_in_it_is_refused(tmp_path):
    path = tmp_path / "resume.pt"
    torch.save({"model": print}, path)
    with pytest.raises(ConfigError, match="readable file that qhq wrote"):
        load_state(path, {})


def test_state_of_another_design_is_refused(tmp_path):
    state = TrainingState(model={}, optimizer={}, best_model={})
    save_state(state, tmp_path / "resume.pt", {"circuit": "abc", "config": "1"})
    assert load_state(tmp_path / "resume.pt", {"circuit": "abc", "config": "1"}) == state
    with pytest.raises(
        ConfigError, match=r"belong to the run's config\. Got resume.pt of config 1, wanted 2"
    ):
        load_state(tmp_path / "resume.pt", {"circuit": "abc", "config": "2"})


def test_checkpoint_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "model.safetensors").mkdir()
    with pytest.raises(ConfigError, match="checkpoint must be writable"):
        save_weights(nn.Linear(3, 2), tmp_path / "model.safetensors", {})
    with pytest.raises(ConfigError, match="checkpoint must be writable"):
        save_state(TrainingState({}, {}, {}), tmp_path / "none" / "resume.pt", {})
