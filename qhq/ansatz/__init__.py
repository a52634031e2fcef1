"""Ansatz: which circuit, which of its parameters are inputs and which are weights, and what is measured.

Read in this order: ``encodings`` and ``blocks`` (what a layered circuit is made of), ``spec`` (what
``circuits/*.yaml`` may say, and finding those files), ``files`` (a user's own QPY, OpenQASM or Python),
``assemble`` (spec -> circuit), ``program`` (the built ansatz), ``stored`` (the QPY of a run), then ``draw``
and ``export``. The first three can be imported without Qiskit.
"""

from typing import TYPE_CHECKING

from qhq.plugins import lazy_names

if TYPE_CHECKING:
    from qhq.ansatz.assemble import build as build
    from qhq.ansatz.assemble import build_ansatz as build_ansatz
    from qhq.ansatz.program import Ansatz as Ansatz
    from qhq.ansatz.spec import AnsatzSpec as AnsatzSpec
    from qhq.ansatz.spec import load_ansatz as load_ansatz

__getattr__ = lazy_names(
    __name__,
    {
        "Ansatz": "program",
        "AnsatzSpec": "spec",
        "build": "assemble",
        "build_ansatz": "assemble",
        "load_ansatz": "spec",
    },
)
