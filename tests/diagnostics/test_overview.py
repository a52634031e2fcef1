import json
from dataclasses import asdict, fields

import pytest
from qiskit.circuit import ParameterVector, QuantumCircuit

from qhq.diagnostics.overview import Overview, look_deep
from qhq.errors import ConfigError

from .circuits import ansatz_of, shipped


def test_everything_is_measured_and_reported_in_order():
    told = []
    found = look_deep(
        shipped("reference"),
        lambda qubits: shipped("reference", qubits=qubits),
        progress=lambda *step: told.append(step),
    )
    assert None not in asdict(found).values()
    names = [field.name.replace("_", " ") for field in fields(Overview)]
    assert told == [(done, len(names), name) for done, name in enumerate(names)]
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
