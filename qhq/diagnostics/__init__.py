"""What a circuit can do, measured on the exact engine at random inputs and weights.

Read in this order: ``sampling`` (what is drawn, an ansatz whose weights differ by sample, a figure with its
interval), then a file each of what is looked at: ``weights`` (gradients, capacity), ``states``
(expressibility, entanglement), ``inputs`` (spectrum, sensitivity); last ``overview`` (all of them, and what
each figure says).
"""

from typing import TYPE_CHECKING

from qhq.plugins import lazy_names

if TYPE_CHECKING:
    from qhq.diagnostics.inputs import input_sensitivity as input_sensitivity
    from qhq.diagnostics.inputs import spectra as spectra
    from qhq.diagnostics.overview import look_deep as look_deep
    from qhq.diagnostics.sampling import Estimate as Estimate
    from qhq.diagnostics.sampling import Sampling as Sampling
    from qhq.diagnostics.states import measure_entanglement as measure_entanglement
    from qhq.diagnostics.states import measure_expressibility as measure_expressibility
    from qhq.diagnostics.weights import effective_dimension as effective_dimension
    from qhq.diagnostics.weights import gradient_trend as gradient_trend
    from qhq.diagnostics.weights import gradient_variance as gradient_variance

__getattr__ = lazy_names(
    __name__,
    {
        "Estimate": "sampling",
        "Sampling": "sampling",
        "effective_dimension": "weights",
        "gradient_trend": "weights",
        "gradient_variance": "weights",
        "input_sensitivity": "inputs",
        "look_deep": "overview",
        "measure_entanglement": "states",
        "measure_expressibility": "states",
        "spectra": "inputs",
    },
)
