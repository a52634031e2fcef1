"""Any Qiskit circuit -> a flat program.

Read in this order: ``lowering`` (any circuit -> two-term rotations and fixed gates; ``equivalence`` checks
it against Qiskit; ``deferred`` makes gates of what measures, branches and resets),
``expressions`` and ``angles`` (the angles as functions of inputs and weights), ``fusion``
(rotations and phases in a linear frame, merged into few passes), ``tape`` (the flat arrays of
``qhq.engine.program``).

The rest of qhq uses what is named here: the closed set of gates that every backend runs, and their angles.
"""

from typing import TYPE_CHECKING

from qhq.plugins import lazy_names

if TYPE_CHECKING:
    from qhq.engine.compile.angles import AngleMap as AngleMap
    from qhq.engine.compile.angles import map_angles as map_angles
    from qhq.engine.compile.angles import separate_angles as separate_angles
    from qhq.engine.compile.deferred import count_resets as count_resets
    from qhq.engine.compile.deferred import defer_resets as defer_resets
    from qhq.engine.compile.deferred import without_resets as without_resets
    from qhq.engine.compile.definitions import class_of as class_of
    from qhq.engine.compile.definitions import is_parametric as is_parametric
    from qhq.engine.compile.equivalence import lower_checked as lower_checked
    from qhq.engine.compile.expressions import Code as Code
    from qhq.engine.compile.expressions import Operand as Operand
    from qhq.engine.compile.expressions import Slot as Slot
    from qhq.engine.compile.lowering import STANDARD as STANDARD
    from qhq.engine.compile.lowering import lower as lower
    from qhq.engine.compile.lowering import widened as widened
    from qhq.engine.compile.lowering import without_final_measurements as without_final_measurements

__getattr__ = lazy_names(
    __name__,
    {
        **dict.fromkeys(("AngleMap", "map_angles", "separate_angles"), "angles"),
        **dict.fromkeys(("Code", "Operand", "Slot"), "expressions"),
        **dict.fromkeys(("class_of", "is_parametric"), "definitions"),
        **dict.fromkeys(("STANDARD", "lower", "widened", "without_final_measurements"), "lowering"),
        **dict.fromkeys(("count_resets", "defer_resets", "without_resets"), "deferred"),
        "lower_checked": "equivalence",
    },
)
