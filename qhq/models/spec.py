"""What a forecasting model is made of, as the ``model`` section of a config."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from qhq.ansatz.spec import AngleScalingKind
from qhq.documents import Spec
from qhq.models.units import check_unit

Activation = Literal["none", "relu", "tanh", "sigmoid"]
Skip = Literal["none", "add", "concat"]


MOST_HIDDEN = 4096
"""Units of a layer."""


class RecurrentLayerSpec(Spec):
    """One layer of the recurrent encoder; the units are those of :mod:`qhq.models.units`."""

    unit: Annotated[str, AfterValidator(check_unit)] = "gru"
    hidden: int = Field(16, ge=1, le=MOST_HIDDEN)


class MiddleSpec(Spec):
    """A tanh MLP in the place of a quantum layer: the same angles in, ``outputs`` values out."""

    hidden: int = Field(4, ge=1, le=MOST_HIDDEN)
    outputs: int = Field(4, ge=1, le=MOST_HIDDEN)
    angle_scaling: AngleScalingKind = "pi_tanh"


class ModelSpec(Spec):
    """Recurrent encoder, latent features, optional quantum layer, head.

    ``latent`` is the number of latent features when there is no quantum layer; with one it is the
    number of the circuit's inputs. ``middle`` is what stands in the place of a quantum layer, for the
    classical baseline model. ``dropout`` acts between recurrent layers and after the middle.
    """

    recurrent: tuple[RecurrentLayerSpec, ...] = Field((RecurrentLayerSpec(),), min_length=1, max_length=64)
    latent: int = Field(4, ge=1, le=MOST_HIDDEN)
    middle: MiddleSpec | None = None
    activation_before: Activation = "none"
    activation_after: Activation = "none"
    layer_norm: bool = False
    dropout: float = Field(0.0, ge=0.0, lt=1.0)
    skip: Skip = "add"
    output_activation: Activation = "none"
