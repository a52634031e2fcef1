"""What a circuit can do, measured on the exact engine at random inputs and weights.

Read in this order: ``sampling`` (what is drawn), ``estimate`` (a figure with its confidence interval),
``probe`` (an ansatz whose weights differ by sample), then one file a question: ``gradients``,
``expressibility``, ``entanglement``, ``spectrum``, ``capacity``, ``sensitivity``; last ``overview`` (all of
them) and ``readings`` (what each figure says).
"""

from typing import TYPE_CHECKING

from qhq.plugins import lazy_names

if TYPE_CHECKING:
    from qhq.diagnostics.capacity import effective_dimension as effective_dimension
    from qhq.diagnostics.entanglement import measure_entanglement as measure_entanglement
    from qhq.diagnostics.estimate import Estimate as Estimate
    from qhq.diagnostics.expressibility import measure_expressibility as measure_expressibility
    from qhq.diagnostics.gradients import gradient_trend as gradient_trend
    from qhq.diagnostics.gradients import gradient_variance as gradient_variance
    from qhq.diagnostics.overview import look_deep as look_deep
    from qhq.diagnostics.sampling import Sampling as Sampling
    from qhq.diagnostics.sensitivity import input_sensitivity as input_sensitivity
    from qhq.diagnostics.spectrum import spectra as spectra

__getattr__ = lazy_names(
    __name__,
    {
        "Estimate": "estimate",
        "Sampling": "sampling",
        "effective_dimension": "capacity",
        "gradient_trend": "gradients",
        "gradient_variance": "gradients",
        "input_sensitivity": "sensitivity",
        "look_deep": "overview",
        "measure_entanglement": "entanglement",
        "measure_expressibility": "expressibility",
        "spectra": "spectrum",
    },
)
