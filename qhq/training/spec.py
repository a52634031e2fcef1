"""How a model is trained, as the ``training`` section of a config."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from qhq.documents import Spec
from qhq.limits import MOST_COUNT, MOST_FACTOR, MOST_THREADS


class TrainingSpec(Spec):
    """Adam with early stopping on the validation split.

    ``patience`` is the number of epochs without a better validation loss after which training stops;
    None trains all epochs. The weights of the best validation epoch are kept either way; the untrained
    model counts as epoch 0.
    """

    epochs: int = Field(12, ge=1, le=100_000)
    batch_size: int = Field(64, ge=1, le=MOST_COUNT)
    learning_rate: float = Field(1e-3, gt=0.0, le=MOST_FACTOR)
    weight_decay: float = Field(0.0, ge=0.0, le=MOST_FACTOR)
    loss: Literal["mse", "mae", "huber"] = "mse"
    patience: int | None = Field(4, ge=1, le=MOST_COUNT)
    clip_norm: float | None = Field(None, gt=0.0, le=MOST_FACTOR)
    dtype: Literal["float32", "float64"] = "float32"
    threads: int = Field(1, ge=1, le=MOST_THREADS)
