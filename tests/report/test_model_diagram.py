"""The diagram of a model: every architecture, all of its weights, and nothing is run or changed."""

from __future__ import annotations

import itertools
import json
from functools import cache

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

import qhq as public
from qhq.ansatz.stored import ansatz_fingerprint
from qhq.backends.local.statevector import StatevectorExecutor
from qhq.data.prepare import prepare
from qhq.experiment import opening
from qhq.experiment.config import load_config
from qhq.experiment.opening import open_design
from qhq.models.features import FeatureForecaster
from qhq.report.model_diagram import diagram_of, draw_diagram
from qhq.report.model_steps import ModelFacts, lay_out_model
from qhq.runs.record import Quantum
from tests.no_trace import no_trace

MIXED = [
    "model.recurrent=[{unit: lstm, hidden: 5, bidirectional: true, layer_norm: true},"
    " {unit: gru, hidden: 3, residual: true}]",
    "model.pooling=mean", "data.features=[adj_close, volume]", "data.static=[volume]",
    "model.static_layers=[4]", "model.skip=concat", "model.head_layers=[8, 6]", "model.layer_norm=true",
    "model.dropout=0.1", "model.activation_after=tanh", "data.horizon=3", "training.loss=gaussian",
    "data.scaling={volume: log_standard}",
]  # fmt: skip
ARCHITECTURES = {
    "recurrent": [],
    "mixed": MIXED,
    "attention over a convolution": ["model.recurrent=[{unit: tcn, hidden: 4}]", "model.pooling=attention"],
    "no encoder": ["model.encoder=none", "model.skip=none"],
    "an MLP in the circuit's place": ["quantum=null", "model.middle={hidden: 3, outputs: 4}"],
    "circuits in LSTM gates": ["model.recurrent=[{unit: qlstm, hidden: 2}]"],
    "circuits in GRU gates, then a GRU": [
        "model.recurrent=[{unit: qgru, hidden: 2}, {unit: gru, hidden: 3}]"
    ],
    "circuits side by side": ["model.circuits={arrange: parallel, count: 3}", "model.layer_norm=true"],
    "circuits in sequence": ["model.circuits={arrange: sequence, count: 5}"],
    "parts of a circuit in sequence": [
        "model.circuits={arrange: sequence}", "quantum.ansatz=side_by_side", "quantum.qubits=null",
        "quantum.depth=null",
    ],
    "six circuits in LSTM gates": ["model.recurrent=[{unit: qlstm_six, hidden: 2}]"],
    "a circuit a horizon": ["model.circuits={arrange: per_horizon}", "data.horizon=3"],
    "a circuit over the window": [
        "model.circuits={arrange: window}", "quantum.depth=5",
        "quantum.overrides={encoding: {repeat: true, fresh: true}}",
    ],
    "features": ["model={kind: features, include_inputs: true}"],
    "a reservoir with ridge": [
        "model={kind: features, observables: projected}", "quantum={ansatz: reservoir}",
    ],
    "twelve qubits of six layers": ["quantum.qubits=12", "quantum.depth=6"],
    "a module of one's own": ["model={file: own.py}"],
}  # fmt: skip

OWN = """
from torch import nn

class Mine(nn.Module):
    def __init__(self, shape, circuit):
        super().__init__()
        self.lift = nn.Linear(shape.features, 4)
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True) for _ in range(6))
        self.norm = nn.BatchNorm1d(4)
        self.narrow = nn.Linear(4, circuit.num_inputs)
        self.quantum = circuit
        self.head = nn.Linear(circuit.num_outputs, shape.horizon * shape.targets)
        self.shape = shape

    def forward(self, windows):
        found = self.lift(windows)
        for layer in self.layers:
            found = layer(found)
        values = self.quantum(self.narrow(self.norm(found[:, -1])))
        return self.head(values).reshape(-1, self.shape.horizon, self.shape.targets)

def build(shape, circuit):
    return Mine(shape, circuit)
"""


@pytest.fixture(scope="module")
def prepared():
    """Data by config: most architectures see the same."""
    known = cache(lambda text: prepare(type(specs[text]).model_validate(specs[text].model_dump())))
    specs = {}

    def look(spec, panel=None):
        assert panel is None
        specs[repr(spec)] = spec
        return known(repr(spec))

    return look


@pytest.fixture
def opened(study, prepared, monkeypatch):
    monkeypatch.setattr(opening, "prepare", prepared)
    (study / "own.py").write_text(OWN)
    return lambda name: open_design(load_config("tiny.yaml", ARCHITECTURES[name]))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_diagram_has_all_weights_and_leaves_no_trace(name, opened, monkeypatch):
    """Law: state, generators, hooks and the number of forward passes are as they were; texts are apart."""
    experiment = opened(name)

    def refuse(*_, **__):
        raise AssertionError("a drawing ran a circuit")

    circuit = experiment.ansatz
    gates = None if circuit is None else ansatz_fingerprint(circuit)
    with monkeypatch.context() as patch:
        for method in ("expectations", "vjp"):
            patch.setattr(StatevectorExecutor, method, refuse)
        with no_trace(experiment.model):
            diagram = diagram_of(experiment)
            figure = draw_diagram(diagram)
            FigureCanvasAgg(figure).draw()
    assert gates == (None if circuit is None else ansatz_fingerprint(circuit))
    model = experiment.model
    if not isinstance(model, FeatureForecaster):
        assert diagram.weights == sum(each.numel() for each in model.parameters())
    stated = sum(step.weights or 0 for step in diagram.steps)
    beside = sum(each.numel() for name, each in model.named_parameters() if "static_layers" in name)
    expected = diagram.weights if not isinstance(model, FeatureForecaster) else diagram.weights + sum(
        each.numel() for each in model.parameters())  # fmt: skip
    assert stated + beside == expected
    last = diagram.steps[-1]
    assert last.shape == (experiment.config.data.horizon, 1)
    assert any(step.parts for step in diagram.steps) == (experiment.ansatz is not None)
    assert_apart(figure)


def assert_apart(figure) -> None:
    """No text lies on another or leaves the figure."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    (axes,) = figure.axes
    texts = [each for each in axes.texts if each.get_text().strip()]
    boxes = [(each.get_text(), each.get_window_extent(renderer)) for each in texts]
    assert len(boxes) > 5
    for text, box in boxes:
        inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
        assert inside, text
    for (one, first), (other, second) in itertools.combinations(boxes, 2):
        assert not first.padded(-1).overlaps(second.padded(-1)), (one, other)


def test_a_long_module_of_ones_own_is_cut_in_the_middle_and_counts_on(opened):
    diagram = diagram_of(opened("a module of one's own"))
    assert any(step.title == "…" and "more modules" in step.lines[0] for step in diagram.steps)
    assert len(diagram.steps) < 30


def test_the_command_prints_the_steps_and_draws_them(qhq, study):
    answer = qhq("model", "tiny.yaml", "--set", "quantum.qubits=3", "--output", "model.svg", "--json")
    facts = json.loads(answer.stdout)
    assert [step["title"] for step in facts["steps"]][:2] == ["window", "GRU"]
    assert (study / "model.svg").read_text().startswith("<?xml")
    assert "must end in .png, .svg or .pdf" in qhq("model", "tiny.yaml", "-o", "model.gif").stderr


def test_a_close_that_stands_for_an_adjusted_one_is_called_so(study):
    rows = ["date,symbol,close"] + [
        f"{day:%Y-%m-%d},A,{100 + 7 * np.sin(number / 5) + number % 3:.2f}"
        for number, day in enumerate(pd.bdate_range("2015-01-01", periods=200))
    ]
    (study / "own.csv").write_text("\n".join(rows))
    steps = public.draw_model("tiny.yaml", set=["data={path: own.csv, window: 5, scaling: standard}"]).steps
    assert steps[0].lines[0] == "close"
    assert steps[-1].lines[0] == "close, 1 step ahead"


def test_a_circuit_that_cannot_be_read_keeps_its_sizes(opened):
    experiment = opened("recurrent")
    quantum = Quantum(qubits=2, inputs=2, outputs=2, weights=2)
    facts = ModelFacts(experiment.config, features=1, steps=5, quantum=quantum)
    steps = {step.title: step for step in lay_out_model(facts).steps}
    assert steps["linear"].shape == steps["quantum layer"].shape == (2,)
    assert not steps["quantum layer"].parts
