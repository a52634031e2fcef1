"""Doctor: names why a model with a quantum layer is dead or idle, with figures and the fix.

Read in this order: ``finding`` (what the doctor says), ``background`` (what else it knows), ``signs`` (what
it measures on some samples, by ``listening`` to the layer and searching the ``graph`` before it for
``activations``), then one file a family of checks (``gradients``, ``angles``, ``outputs``, ``structure``,
``kinds``, ``plateau``, ``movement``), ``checks`` (code -> check) and ``visit`` (all of it).
"""

from typing import TYPE_CHECKING

from qhq.plugins import lazy_names

if TYPE_CHECKING:
    from qhq.diagnostics.doctor.background import Background as Background
    from qhq.diagnostics.doctor.finding import Diagnosis as Diagnosis
    from qhq.diagnostics.doctor.finding import Finding as Finding
    from qhq.diagnostics.doctor.visit import examine as examine

__getattr__ = lazy_names(
    __name__,
    {"Background": "background", "Diagnosis": "finding", "Finding": "finding", "examine": "visit"},
)
