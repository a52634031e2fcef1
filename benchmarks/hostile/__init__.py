"""Files that were damaged or made to do harm, fed to qhq: ``python -m benchmarks.hostile [--scale 1]``.

Seeded. At scale 1: 1,000 documents, 300 data files, 300 circuits, 300 run folders and journals. Each must
be used or refused, as `benchmarks.hostile.judge` says. The suite runs a small part of it
(``tests/test_hostile.py``).
"""

from benchmarks.hostile.cases import KINDS
from benchmarks.hostile.judge import attack

__all__ = ["KINDS", "attack"]
