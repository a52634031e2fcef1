"""What a forecasting model is made of, as the ``model`` section of a config, and the units it may name.

A unit is a module class that is called as PyTorch's own are: ``Unit(features, hidden, batch_first=True)``
maps a sequence (B, T, features) to a pair, the outputs (B, T, hidden) and whatever else. To add one, write
the class and register it: one line in :data:`UNITS`, or in another package an entry point of the group
``qhq.models``. No PyTorch here: reading a config is fast.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, Field, PrivateAttr, model_validator

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


MEMORY = "memory:"
"""How ``file`` begins where it stands for a module in memory (`qhq.wrap`)."""

COPY = "model.py"
"""Name of the copy of ``file`` that a run carries."""

_BESIDE_FILE = ("file", "latent", "middle")
"""Keys that a module of one's own leaves a meaning: the last two say what stands in its circuit's place."""


@dataclass(frozen=True, eq=False)
class Carrier:
    """The run that a config was read from: its copy of ``file`` is meant, not what lies at that path now."""

    folder: Path

    def __eq__(self, other: object) -> bool:
        """Where a config was read from is no part of what it says."""
        return other is None or isinstance(other, Carrier)

    def __hash__(self) -> int:
        """Equal for all, as they are."""
        return 0


class ModelSpec(Spec):
    """Recurrent encoder, latent features, optional quantum layer, head; or a module of one's own.

    ``latent`` is the number of latent features when there is no quantum layer; with one it is the
    number of the circuit's inputs. ``middle`` is what stands in the place of a quantum layer, for the
    classical baseline model. ``dropout`` acts between recurrent layers and after the middle. ``file`` is a
    Python file whose ``build(shape, circuit)`` returns the whole model (`qhq.models.own`).
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
    file: str | None = Field(None, min_length=1, max_length=4096)
    _carrier: Carrier | None = PrivateAttr(default=None)

    @property
    def carrier(self) -> Carrier | None:
        """The run that it was read from, if any."""
        return self._carrier

    def carried_by(self, carrier: Carrier | None) -> ModelSpec:
        """The same, known to be read from a run; None where a user's own config or command names the file."""
        copy = self.model_copy()
        copy._carrier = carrier
        return copy

    @model_validator(mode="after")
    def _stands_alone(self) -> Self:
        if self.file is None:
            return self
        # By value, not by what was given: the config of a run spells every key out.
        others = [
            name
            for name, field in type(self).model_fields.items()
            if name not in _BESIDE_FILE
            and getattr(self, name) != field.get_default(call_default_factory=True)
        ]
        if others:
            raise ValueError(
                f"file is the whole model, so that {', '.join(others)} would be ignored: leave"
                f" {'it' if len(others) == 1 else 'them'} out"
            )
        return self
