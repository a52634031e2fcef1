"""The recurrent units, qhq's own and those of other packages. No PyTorch here: reading a config is fast.

A unit is a module class that is called as PyTorch's own are: ``Unit(features, hidden, batch_first=True)``
maps a sequence (B, T, features) to a pair, the outputs (B, T, hidden) and whatever else. To add one, write
the class and register it: one line in :data:`UNITS`, or in another package an entry point of the group
``qhq.models``.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from qhq.errors import ConfigError, nearest

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
    return [*UNITS, *sorted({point.name for point in entry_points(group=GROUP)} - UNITS.keys())]


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
        raise ConfigError(
            "A recurrent unit must be known", got=f"'{name}'", fix=nearest(name, unit_names())
        )  # fmt: skip
    try:
        unit = point.load()
    except Exception as error:  # whatever happens in another package as it is imported
        raise _not_a_unit(point, f"{type(error).__name__}: {error}") from error
    if not (isinstance(unit, type) and issubclass(unit, nn.Module)):
        raise _not_a_unit(point, f"a {type(unit).__name__}")
    return unit


def _find(name: str) -> EntryPoint | None:
    """Qhq's own unit first: no other package can replace one, and none is searched for one."""
    if name in UNITS:
        return EntryPoint(name, UNITS[name], GROUP)
    return next(iter(entry_points(group=GROUP, name=name)), None)


def _not_a_unit(point: EntryPoint, got: str) -> ConfigError:
    package = point.dist.name if point.dist else "qhq"
    return ConfigError(
        "A recurrent unit must be a subclass of torch.nn.Module",
        got=f"{got} from {point.value} of {package}, unit '{point.name}'",
        fix=f"Update or uninstall {package}, or choose another model.recurrent unit",
    )
