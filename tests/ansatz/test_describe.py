from qhq.ansatz.assemble import build
from qhq.ansatz.describe import describe
from qhq.ansatz.spec import AnsatzSpec


def test_the_facts_of_the_reference_ansatz():
    facts = describe(build(AnsatzSpec(qubits=4, depth=2)))
    assert (facts.qubits, facts.inputs, facts.weights, facts.observables) == (4, 4, 8, 4)
    assert (facts.two_qubit_gates, facts.gates) == (8, {"ry": 12, "cx": 8})
    # A ring of CX is a staircase: as deep as it has gates.
    assert (facts.depth, facts.depth_2q) == (11, 8)
