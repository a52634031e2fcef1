import pytest

from qhq.diagnostics.overview import look_deep
from qhq.diagnostics.readings import read

from .circuits import shipped


def readings(name, family=False, **overrides):
    make = (lambda qubits: shipped(name, **{**overrides, "qubits": qubits})) if family else None
    return {each.name: each for each in read(look_deep(shipped(name, **overrides), make))}


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
