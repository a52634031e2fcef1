"""One checkpoint on one backend: forecasts in dollars, metrics beside the naive forecast."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from qhq.backends.executor import Executor, Report
from qhq.data.windows import Windows
from qhq.evaluation.baselines import in_sample_naive_mae, last_value, symbol_scale
from qhq.evaluation.metrics import Metrics, score, score_by_symbol
from qhq.experiment.opening import Experiment

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Evaluation:
    """What a checkpoint forecast on some windows.

    ``forecast`` and ``naive`` have shape (N, H, K), in the unit of the raw data; ``expectations``
    (N, O) is what the circuit gave, None without one.
    """

    windows: Windows
    forecast: Array
    naive: Array
    expectations: Array | None
    scale: Array
    report: Report | None

    def metrics(self) -> Metrics:
        """Metrics of the forecast over all windows."""
        return score(self.windows.targets, self.forecast, self.naive, self.scale)

    def naive_metrics(self) -> Metrics:
        """Metrics of the last value over the same windows."""
        return score(self.windows.targets, self.naive, self.naive, self.scale)

    def by_symbol(self) -> dict[str, dict[str, Any]]:
        """Metrics of forecast and naive, symbol by symbol."""
        test, naive = (
            score_by_symbol(self.windows.symbol, self.windows.targets, forecast, self.naive, self.scale)
            for forecast in (self.forecast, self.naive)
        )
        return {symbol: {"test": asdict(test[symbol]), "naive": asdict(naive[symbol])} for symbol in test}


@torch.no_grad()
def evaluate(experiment: Experiment, executor: Executor | None, windows: Windows) -> Evaluation:
    """Forecast ``windows`` with the experiment's model, its circuit run by ``executor``.

    The model's weights are read, nothing of it is changed; its own backend is not asked.
    """
    model = experiment.model.eval()
    latent = model.encode(experiment.inputs(windows))
    middle, expectations = latent, None
    if executor is not None and model.quantum is not None:
        angles, weights = model.angles(latent), model.quantum.weight
        expectations = executor.expectations(angles.numpy(), weights.detach().numpy())
        middle = torch.as_tensor(expectations, dtype=latent.dtype)
    scaled = model.decode(latent, middle).double().numpy()
    return Evaluation(
        windows=windows,
        forecast=experiment.data.scaler.to_price(scaled, windows),
        naive=last_value(windows),
        expectations=None if expectations is None else np.asarray(expectations, dtype=np.float64),
        scale=symbol_scale(windows, in_sample_naive_mae(experiment.data.train)),
        report=None if executor is None else executor.report(),
    )


def predictions_csv(evaluation: Evaluation) -> str:
    """Write forecasts as CSV: symbol, date, horizon, actual, forecast, naive; floats in full precision.

    With several targets each row also names its ``target``.
    """
    windows = evaluation.windows
    count, horizon = windows.dates.shape
    names = windows.cut.targets
    rows = {
        "symbol": np.repeat(windows.symbol, horizon * len(names)),
        "date": np.repeat(windows.dates.ravel(), len(names)).astype("datetime64[D]").astype(str),
        "horizon": np.tile(np.repeat(np.arange(1, horizon + 1), len(names)), count),
        "actual": windows.targets.ravel(),
        "forecast": evaluation.forecast.ravel(),
        "naive": evaluation.naive.ravel(),
    }
    if len(names) > 1:
        rows["target"] = np.tile(names, count * horizon)
    frame = pd.DataFrame(rows)
    stream = io.StringIO()
    frame.to_csv(stream, index=False, lineterminator="\n")
    return stream.getvalue()
