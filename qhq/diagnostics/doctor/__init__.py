"""Doctor: names why a model with a quantum layer is dead or idle, with figures and the fix.

Read in this order: ``finding`` (what the doctor says), ``signs`` (what it measures on some samples, by
``listening`` to the layer and searching torch's graph before it), then one file a family of checks
(``structure``, ``angles``, ``outputs``, ``gradients``), and ``checks`` (code -> check, and all of them).
"""

from typing import TYPE_CHECKING

from qhq.plugins import lazy_names

if TYPE_CHECKING:
    from qhq.diagnostics.doctor.checks import examine as examine
    from qhq.diagnostics.doctor.finding import Diagnosis as Diagnosis
    from qhq.diagnostics.doctor.finding import Finding as Finding
    from qhq.diagnostics.doctor.signs import Background as Background

__getattr__ = lazy_names(
    __name__,
    {"Background": "signs", "Diagnosis": "finding", "Finding": "finding", "examine": "checks"},
)
