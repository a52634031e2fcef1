"""What a forecasting model is made of, as the ``model`` section of a config, and the units it may name.

A unit is a module class that is called as PyTorch's own are: ``Unit(features, hidden, batch_first=True)``
maps a sequence (B, T, features) to a pair, the outputs (B, T, hidden) and whatever else. To add one, write
the class and register it: one line in :data:`UNITS`, or in another package an entry point of the group
``qhq.models``. No PyTorch here: reading a config is fast.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field

from qhq.ansatz.spec import AngleScalingKind
from qhq.documents import Spec
from qhq.errors import ConfigError, nearest
from qhq.plugins import all_names, find_point, load_point

if TYPE_CHECKING:
    from torch import nn

GROUP = "qhq.models"
"""Entry points by which another package adds recurrent units: the name of the unit, and its class."""

UNITS: dict[str, str] = {
    "lstm": "torch.nn:LSTM",
    "gru": "torch.nn:GRU",
    "rnn": "torch.nn:RNN",
}
"""Name of a unit in a config -> where its class is, written as an entry point is."""


def unit_names() -> list[str]:
    """Names of all units, those of other packages after qhq's own."""
    return all_names(GROUP, UNITS)


def _check_unit(name: str) -> str:
    """Check that there is a unit of a name; nothing of it is imported.

    Raises:
        ValueError: If there is none, with the nearest name.
    """
    if _find(name) is None:
        raise ValueError(f"'{name}' is no recurrent unit. {nearest(name, unit_names())}")
    return name


def load_unit(name: str) -> type[nn.Module]:
    """Import the class of a unit.

    Raises:
        ConfigError: If there is no such unit, or another package has one that cannot be used.
    """
    from torch import nn

    point = _find(name)  # again: a unit that was there when the config was read may have been uninstalled
    if point is None:
        raise ConfigError("A recurrent unit must be known", got=f"'{name}'", fix=nearest(name, unit_names()))
    unit: type[nn.Module] = load_point(
        point,
        lambda found: isinstance(found, type) and issubclass(found, nn.Module),
        must="A recurrent unit must be a subclass of torch.nn.Module",
        otherwise="choose another model.recurrent unit",
    )
    return unit


def _find(name: str) -> EntryPoint | None:
    """Qhq's own unit first: no other package can replace one, and none is searched for one."""
    # As an entry point, too, so that one line loads both kinds.
    if name in UNITS:
        return EntryPoint(name, UNITS[name], GROUP)
    return find_point(GROUP, name)


Activation = Literal["none", "relu", "tanh", "sigmoid"]
_Skip = Literal["none", "add", "concat"]


MOST_HIDDEN = 4096
"""Units of a layer: a slip of the keyboard in a sweep is refused here, not by the memory of the machine."""


class RecurrentLayerSpec(Spec):
    """One layer of the recurrent encoder; ``unit`` is one of `UNITS` or another package's."""

    unit: Annotated[str, AfterValidator(_check_unit)] = "gru"
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
    skip: _Skip = "add"
    output_activation: Activation = "none"
