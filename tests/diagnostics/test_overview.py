import json
from dataclasses import asdict, fields

import pytest
from qiskit.circuit import ParameterVector, QuantumCircuit

from qhq.diagnostics.overview import Overview, look_deep, read_overview
from qhq.errors import ConfigError

from .circuits import ansatz_of, shipped


def test_everything_is_measured_and_reported_in_order():
    steps = []
    found = look_deep(
        shipped("reference"),
        lambda qubits: shipped("reference", qubits=qubits),
        progress=lambda *step: steps.append(step),
    )
    assert None not in asdict(found).values()
    names = [field.name.replace("_", " ") for field in fields(Overview)]
    assert steps == [(done, len(names), name) for done, name in enumerate(names)]
    json.dumps(asdict(found), allow_nan=False)


def test_a_seed_gives_the_same_figures():
    one, other = (look_deep(shipped("sim_02"), seed=4) for _ in range(2))
    assert one == other
    assert one.gradients != look_deep(shipped("sim_02"), seed=5).gradients


def test_an_encoding_alone_has_the_figures_of_its_inputs():
    found = look_deep(shipped("reference", depth=0))
    assert found.gradients is found.trend is found.expressibility is found.dimension is None
    assert found.sensitivity.ignored_inputs == ()
    assert found.expressibility_with_inputs.divergence.value > 0


def test_a_circuit_of_one_width_has_no_trend():
    def refuse(qubits):
        if qubits != 4:
            raise ConfigError("A circuit has one width", got=str(qubits), fix="Ask for 4")
        return shipped("reference")

    assert look_deep(shipped("reference"), refuse).trend is None


def test_wide_circuits_are_refused():
    x, circuit = ParameterVector("x", 1), QuantumCircuit(13)
    circuit.ry(x[0], 0)
    with pytest.raises(ConfigError, match="at most 12 qubits"):
        look_deep(ansatz_of(circuit, x, []))


def readings(name, family=False, **overrides):
    make = (lambda qubits: shipped(name, **{**overrides, "qubits": qubits})) if family else None
    return {each.name: each for each in read_overview(look_deep(shipped(name, **overrides), make))}


CASES = [
    ("reference", {}, "gradient variance", "good", "times that of a random circuit"),
    ("sim_01", {}, "gradient variance", "poor", "weights 4-7 move no output"),
    ("reuploading", {}, "gradient variance", "fair", "flat"),
    ("sim_06", {}, "expressibility (KL) of weights", "good", "indistinguishable"),
    ("sim_13", {}, "expressibility (KL) of weights", "good", "nearly all"),
    ("sim_01", {}, "expressibility (KL) of weights", "fair", "a part"),
    ("reference", {}, "expressibility (KL) of weights", "fair", "little"),
    ("reference", {"qubits": 9}, "expressibility (KL) of weights", "fair", "says nothing at this width"),
    ("sim_01", {}, "entanglement (Q) of weights", "poor", "entangles nothing"),
    ("sim_03", {}, "entanglement (Q) of weights", "fair", "weakly"),
    ("sim_02", {}, "entanglement (Q) of weights", "good", "well"),
    ("sim_09", {}, "entanglement (Q) of weights", "fair", "more than random states"),
    ("reference", {}, "frequencies in an input", "fair", "one sine wave"),
    ("reuploading", {}, "frequencies in an input", "good", "up to frequency 2"),
    ("zz_feature_map", {}, "frequencies in an input", "fair", "no period"),
    ("reference", {}, "effective dimension", "good", "nearly each"),
    ("sim_01", {}, "effective dimension", "fair", "4 directions change no output"),
    ("reference", {}, "input sensitivity |dE/dx|", "good", "move with the inputs"),
    ("sim_01", {}, "pairs of output and input", "fair", "12 outside the light cone"),
    ("reuploading", {}, "pairs of output and input", "good", "sees each input"),
    (
        "reference",
        {"observables": ["Y0"]},
        "pairs of output and input",
        "poor",
        "inputs 0-3 reach no output",
    ),
]


@pytest.mark.parametrize(("name", "overrides", "figure", "verdict", "words"), CASES)
def test_each_figure_is_read(name, overrides, figure, verdict, words):
    found = readings(name, **overrides)[figure]
    assert words in found.says
    assert found.verdict == verdict


@pytest.mark.parametrize(
    ("name", "overrides", "verdict"),
    [("brickwork", {}, "good"), ("reference", {}, "fair"), ("reference", {"depth": 6}, "poor")],
)
def test_the_trend_is_read(name, overrides, verdict):
    assert readings(name, family=True, **overrides)["its trend"].verdict == verdict


def test_a_falling_trend_is_shown_with_its_figures():
    figure = readings("reference", family=True, depth=6)["its trend"].figure
    slope, low, high = (float(each.strip("[],")) for each in figure.split()[:3])
    assert low <= slope <= high < 0


def test_one_qubit_has_no_entanglement_to_read():
    assert not any("entanglement" in name for name in readings("reference", qubits=1))
