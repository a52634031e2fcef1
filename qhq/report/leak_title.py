"""The mark on every figure of a model with leaks switched on."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from qhq.data.leak_spec import leak_mark


def mark_leaks(figure: Figure, leaks: Sequence[str]) -> None:
    """Say above a figure which leaks were on; without any it stays as it is."""
    if not leaks:
        return
    title = figure.get_suptitle()
    figure.suptitle(
        f"{leak_mark(leaks)}\n{title}" if title else leak_mark(leaks), color="tab:red", fontsize=10
    )
