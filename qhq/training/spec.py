"""How a model is trained, as the ``training`` section of a config. No PyTorch here: reading one is fast."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from qhq.documents import Spec
from qhq.limits import MOST_COUNT, MOST_FACTOR, MOST_THREADS

LOSSES: dict[str, str] = {
    "mse": "torch.nn:MSELoss",
    "mae": "torch.nn:L1Loss",
    "huber": "torch.nn:HuberLoss",
}
"""Name of a loss in a config -> where its class is, written as an entry point is. To add one, write a module
that is called with forecasts and targets (B, H, K) and gives a number, and its line here."""


def _check_loss(name: Any) -> Any:
    # In the words of pydantic's Literal, which cannot be made of a table.
    if not isinstance(name, str) or name not in LOSSES:
        *others, last = map(repr, LOSSES)
        raise ValueError(f"Input should be {', '.join(others)} or {last}")
    return name


class TrainingSpec(Spec):
    """Adam with early stopping on the validation split.

    ``patience`` is the number of epochs without a better validation loss after which training stops;
    None trains all epochs. The weights of the best validation epoch are kept either way; the untrained
    model counts as epoch 0.
    """

    # Every bound is far beyond what anybody trains: a slip is refused here, not after a night.
    epochs: int = Field(12, ge=1, le=100_000)
    batch_size: int = Field(64, ge=1, le=MOST_COUNT)
    learning_rate: float = Field(1e-3, gt=0.0, le=MOST_FACTOR)
    weight_decay: float = Field(0.0, ge=0.0, le=MOST_FACTOR)
    loss: Annotated[str, BeforeValidator(_check_loss)] = "mse"
    patience: int | None = Field(4, ge=1, le=MOST_COUNT)
    clip_norm: float | None = Field(None, gt=0.0, le=MOST_FACTOR)
    dtype: Literal["float32", "float64"] = "float32"
    threads: int = Field(1, ge=1, le=MOST_THREADS)
