"""Ridge regression and gradient boosting on the windows that a model sees, scaled by the same scaler."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import cast

import numpy as np

from qhq.data.panel import FloatArray
from qhq.data.prepare import PreparedData
from qhq.data.scaling.affine import Scaler
from qhq.data.scaling.fit import StaticScaler
from qhq.data.windows import Windows
from qhq.seeding import child_seed

# Ridge penalties that are tried, of inputs with standard deviation 1.
_PENALTIES = tuple(10.0**power for power in range(-2, 6))

# Windows that gradient boosting is fitted on; of more, as many evenly spread ones.
_BOOSTED_WINDOWS = 20_000

# Settings of ``HistGradientBoostingRegressor``: a small one, returns being nearly all noise.
_BOOSTING = {
    "max_iter": 100,
    "learning_rate": 0.05,
    "max_leaf_nodes": 15,
    "min_samples_leaf": 40,
    "max_bins": 63,  # half the time of 255, where a window has hundreds of values
    "early_stopping": False,  # its validation split is drawn at random: windows that overlap the others
}


@dataclass(frozen=True, eq=False)
class Setting:
    """All that a baseline may be fitted with.

    Attributes:
        train: Training windows.
        scaler: Fitted on the training split.
        static: Scaler of the static features; None without any.
        seed: Of what is drawn at random.
    """

    train: Windows
    scaler: Scaler
    static: StaticScaler | None = None
    seed: int = 0

    @classmethod
    def of(cls, data: PreparedData, seed: int = 0) -> Setting:
        """Take what prepared data has for fitting: nothing of validation and test."""
        return cls(data.train, data.scaler, data.static, seed)

    def regressors(self, windows: Windows) -> FloatArray:
        """What a model sees, in one row: scaled inputs, the mask of gaps, static features, shape (N, D)."""
        inputs = self.scaler.inputs(windows)
        columns = [inputs.reshape(len(windows), -1)]
        if windows.cut.masked:
            # A scaling to returns gives one row fewer than the window has.
            columns.append(windows.mask[:, -inputs.shape[1] :])
        if self.static is not None:
            columns.append(self.static.scale(windows))
        return np.concatenate(columns, axis=1)

    def samples(self) -> tuple[FloatArray, FloatArray]:
        """Regressors (N, D) and scaled targets (N, H K) of training; without those that have no target."""
        targets = self.scaler.targets(self.train).reshape(len(self.train), -1)
        good = np.flatnonzero(np.isfinite(targets).all(axis=1))
        return self.regressors(self.train.select(good)), targets[good]


@dataclass(frozen=True, eq=False)
class Regression:
    """A fitted regression.

    Attributes:
        setting: That it was fitted with.
        predict: Regressors (N, D) to scaled targets (N, H K).
    """

    setting: Setting
    predict: Callable[[FloatArray], FloatArray]

    def __call__(self, windows: Windows) -> FloatArray:
        """Forecast, shape (N, H, K), in the unit of the targets."""
        outputs = self.predict(self.setting.regressors(windows))
        shape = (len(windows), windows.cut.horizon, len(windows.cut.targets))
        return self.setting.scaler.to_raw_units(outputs.reshape(shape), windows)


def fit_ridge(setting: Setting) -> Regression:
    """Fit one linear map for all series; the penalty is chosen by leave-one-out in training."""
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # A penalty is the same for all inputs only if they have the same size, which not every scaling gives.
    model = make_pipeline(StandardScaler(), RidgeCV(_PENALTIES))
    model.fit(*setting.samples())
    return Regression(setting, model.predict)


def fit_gradient_boosting(setting: Setting) -> Regression:
    """Fit boosted trees of histograms for all series, one set for each horizon and target."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    def predict(values: FloatArray) -> FloatArray:
        with _one_thread():
            return np.column_stack([each.predict(values) for each in models])

    inputs, targets = setting.samples()
    # Evenly spread, not drawn: windows overlap, and the neighbours of one hold nearly the same.
    rows = np.unique(np.linspace(0, len(inputs) - 1, min(len(inputs), _BOOSTED_WINDOWS)).astype(int))
    # scikit-learn takes seeds of 32 bits.
    seed = child_seed(setting.seed, "gradient_boosting") % 2**32
    with _one_thread():
        models = [
            HistGradientBoostingRegressor(random_state=seed, **_BOOSTING).fit(inputs[rows], column)
            for column in targets[rows].T
        ]
    return Regression(setting, predict)


def _one_thread() -> AbstractContextManager[object]:
    """Keep OpenMP to one thread.

    Trees of some thousand windows gain nothing by a second one, and where other processes want the cores too,
    the threads wait for each other hundreds of times as long as they work.
    """
    from threadpoolctl import threadpool_limits

    return cast(AbstractContextManager[object], threadpool_limits(1, user_api="openmp"))
