"""The recurrent units, qhq's own and those of other packages. No PyTorch here: reading a config is fast.

A unit is a module class that is called as PyTorch's own are: ``Unit(features, hidden, batch_first=True)``
maps a sequence (B, T, features) to a pair, the outputs (B, T, hidden) and whatever else. To add one, write
the class and register it: one line in :data:`UNITS`, or in another package an entry point of the group
``qhq.models``.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING

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


def check_unit(name: str) -> str:
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

    point = _find(name)
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
    if name in UNITS:
        return EntryPoint(name, UNITS[name], GROUP)
    return find_point(GROUP, name)
