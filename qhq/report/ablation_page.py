"""The page of an ablation: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from qhq.data.caveat import Caveat
from qhq.evaluation.losses import TITLES
from qhq.evaluation.significance import LEVEL, WEIGHING
from qhq.report.ablation_figure import draw_ablation
from qhq.report.finish import finish_figure


def render_ablation(title: str, verdict: str, studies: Mapping[str, Mapping[str, Any]]) -> str:
    """Write the page: the verdict, and of each study its figure, its table and what it is made of.

    Args:
        title: Of the page.
        verdict: In a sentence or two.
        studies: Records of `run_ablation` by their headings.
    """
    environment = Environment(
        loader=PackageLoader("qhq.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"percent": _percent, "interval": _interval}
    environment.globals["losses"] = TITLES
    parts = [
        {**record, "heading": heading, "picture": _picture(draw_ablation(dict(record)), Caveat.of(record))}
        for heading, record in studies.items()
    ]
    return environment.get_template("ablation.html").render(
        title=title, verdict=verdict, studies=parts, level=f"{100 * LEVEL:g} %", weighing=WEIGHING
    )


def _picture(figure: Figure, caveat: Caveat) -> str:
    finish_figure(figure, caveat)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=130)
    return base64.b64encode(stream.getvalue()).decode()


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:+.2f} %"


def _interval(row: Mapping[str, Any], key: str) -> str:
    low, high = row[f"{key}_low"], row[f"{key}_high"]
    return "" if low is None else f"{low:.4f} to {high:.4f}"
