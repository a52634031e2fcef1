"""Ansatz: which circuit, which of its parameters are inputs and which are weights, and what is measured.

Read in this order: ``spec`` (what ``circuits/*.yaml`` may say), ``catalogue`` (finding those files),
``layers`` (encodings and trainable blocks), ``files`` (a user's own QPY, OpenQASM 3 or Python), ``assemble``
(spec -> circuit), ``stored`` (the QPY of a run), then ``draw``, ``export`` and ``describe``.
Only ``spec`` and ``catalogue`` can be imported without Qiskit.
"""

from typing import TYPE_CHECKING

from qhq.public import lazy_names

if TYPE_CHECKING:
    from qhq.ansatz.assemble import build as build
    from qhq.ansatz.assemble import build_ansatz as build_ansatz
    from qhq.ansatz.catalogue import load_ansatz as load_ansatz
    from qhq.ansatz.program import Ansatz as Ansatz
    from qhq.ansatz.spec import AnsatzSpec as AnsatzSpec

__getattr__ = lazy_names(
    __name__,
    {
        "Ansatz": "program",
        "AnsatzSpec": "spec",
        "build": "assemble",
        "build_ansatz": "assemble",
        "load_ansatz": "catalogue",
    },
)
