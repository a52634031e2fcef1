"""Figures: drawn from the folder alone; no model runs and no random generator moves."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

from qhq.documents import validate
from qhq.experiment.config import ExperimentConfig, load_config
from qhq.experiment.run import train_run
from qhq.report.figures import draw_run_figures
from qhq.report.model_diagram import draw_model, model_boxes
from qhq.training.loop import Watcher

QUANTUM = {"inputs": 4, "qubits": 4, "weights": 8, "angle_scaling": "pi_tanh"}


def test_figures_run_no_model_and_move_no_generator(study, monkeypatch):
    folder = train_run(load_config("tiny.yaml", ["training.epochs=1"]), Watcher())

    def refuse(*arguments, **options):
        raise AssertionError("a drawing ran a model")

    monkeypatch.setattr(nn.Module, "__call__", refuse)
    before = (torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate())  # noqa: NPY002
    paths = draw_run_figures(folder)
    after = (torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate())  # noqa: NPY002
    assert before == after
    assert {path.name for path in paths} == {"history.png", "forecast.png", "model.png", "circuit.png"}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


@pytest.mark.parametrize(
    ("model", "quantum", "titles"),
    [
        ({}, QUANTUM, ["window", "GRU", "linear", "angles", "quantum layer", "head", "forecast"]),
        ({"skip": "none"}, None, ["window", "GRU", "linear", "head", "forecast"]),
        (
            {
                "recurrent": [{"unit": "lstm"}, {"unit": "rnn"}],
                "layer_norm": True,
                "activation_after": "tanh",
            },
            QUANTUM,
            ["window", "LSTM", "RNN", "linear", "angles", "quantum layer", "after", "head", "forecast"],
        ),
    ],
)
def test_boxes_are_the_stages_of_the_config(model, quantum, titles):
    config = validate(ExperimentConfig, {"model": model, **({} if quantum else {"quantum": None})}, "test")
    assert [box.title for box in model_boxes(config, quantum)] == titles
    draw_model(config, {"quantum": quantum}).canvas.draw()
