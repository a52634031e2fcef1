"""Models: windows in, scaled forecasts out. Read `spec`, then `hybrid`."""

from typing import TYPE_CHECKING

from qhq.plugins import lazy_names

if TYPE_CHECKING:
    from qhq.models.hybrid import build_model as build_model
    from qhq.models.spec import ModelSpec as ModelSpec

__getattr__ = lazy_names(__name__, {"ModelSpec": "spec", "build_model": "hybrid"})
