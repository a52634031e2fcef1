"""Heads that scikit-learn fits on features, kept as tensors: a checkpoint holds numbers, and no pickle.

A head is fitted once for each strength in its grid, and the strength is chosen by the validation split. D
features, P outputs (the horizon times the targets), both scaled.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qhq.models.spec import BoostingSpec, HeadSpec, LassoSpec, RidgeSpec
from qhq.seeding import child_seed

Array = NDArray[np.float64]

Loss = Callable[[Array, Array], float]
"""Forecasts and targets (N, P), both scaled -> what the validation split is judged by."""


@dataclass(frozen=True)
class Candidate:
    """A head of one strength, or of one number of trees, and its losses; scaled."""

    strength: float
    train_loss: float
    validation_loss: float


class _DoubleModule(nn.Module):
    """A module whose numbers stay in double precision, whatever the model around it is cast to."""

    # Weights of a fit may be large and cancel, which single precision would not let them.

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:  # noqa: ARG002
        return self


class LinearHead(_DoubleModule):
    """Features (B, D) in, outputs (B, P) out: ``f w + b``; all 0 until it is fitted.

    The weights are buffers and no parameters: no gradient ever reaches them.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        # Buffers: they are fitted, and no optimiser may move them.
        self.register_buffer("weight", torch.zeros(features, outputs, dtype=torch.float64))
        self.register_buffer("bias", torch.zeros(outputs, dtype=torch.float64))

    def forward(self, features: Tensor) -> Tensor:
        """Outputs (B, P), in the dtype of the features."""
        # As the fit did: its weights may be large and cancel.
        values: Tensor = features.double() @ self.weight + self.bias
        return values.to(features.dtype)

    def keep(self, weight: Array, bias: Array) -> None:
        """Take the weights (D, P) and biases (P,) of a fit."""
        self.weight.copy_(torch.as_tensor(weight))
        self.bias.copy_(torch.as_tensor(bias))


class TreeHead(_DoubleModule):
    """Boosted regression trees: outputs (B, P) are ``start + rate * sum over trees of a leaf's value``.

    Trees are arrays over nodes, padded to the longest: of tree t and node n, ``feature`` and ``threshold``
    of the split, ``below`` and ``above`` the nodes it leads to (a leaf leads to itself), and ``value``.
    ``output`` says which output a tree belongs to. There are no trees until it is fitted.
    """

    start: Tensor

    _SHAPED = ("feature", "threshold", "below", "above", "value", "output")

    def __init__(self, features: int, outputs: int, depth: int) -> None:
        super().__init__()
        self.features, self.outputs, self.depth = features, outputs, depth
        whole, real = torch.zeros((0, 1), dtype=torch.int64), torch.zeros((0, 1), dtype=torch.float64)
        for name in ("feature", "below", "above"):
            self.register_buffer(name, whole.clone())
        for name in ("threshold", "value"):
            self.register_buffer(name, real.clone())
        self.register_buffer("output", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("start", torch.zeros(outputs, dtype=torch.float64))

    def forward(self, features: Tensor) -> Tensor:
        """Outputs (B, P), in the dtype of the features."""
        # scikit-learn compares in single precision, in which its thresholds are midpoints.
        rows = features.to(torch.float32).to(torch.float64)
        found = self.start.expand(len(rows), -1).clone()
        trees = zip(*(getattr(self, name) for name in self._SHAPED), strict=True)
        for feature, threshold, below, above, value, output in trees:
            node = torch.zeros(len(rows), dtype=torch.int64)
            for _ in range(self.depth):
                left = rows.gather(1, feature[node][:, None])[:, 0] <= threshold[node]
                node = torch.where(left, below[node], above[node])
            found[:, output] += value[node]
        return found.to(features.dtype)

    def keep(self, trees: list[tuple[Any, float, int]], start: Array) -> None:
        """Take the trees of a fit: each scikit-learn's ``tree_``, the rate it is added by, and its output."""
        # Padded to one length: tensors of a checkpoint have one shape each, and no tree needs a pickle.
        most = max((tree.node_count for tree, _, _ in trees), default=1)

        def padded(name: str, fill: float) -> Array:
            rows = np.full((len(trees), most), fill)
            for row, (tree, _, _) in zip(rows, trees, strict=True):
                row[: tree.node_count] = getattr(tree, name).reshape(-1)
            return rows

        # A leaf leads to itself, so that every row takes the same number of steps and no mask is needed.
        own = np.tile(np.arange(most), (len(trees), 1))
        below, above = padded("children_left", -1), padded("children_right", -1)
        # scikit-learn marks a leaf by children of -1.
        leaf = below < 0
        rates = np.array([rate for _, rate, _ in trees]).reshape(-1, 1)
        whole = {
            "feature": np.where(leaf, 0, padded("feature", 0)),
            # A leaf leads to itself, so that walks of the length of the deepest tree end in it.
            "below": np.where(leaf, own, below),
            "above": np.where(leaf, own, above),
            "output": np.array([output for _, _, output in trees]),
        }
        for name, values in whole.items():
            setattr(self, name, torch.as_tensor(values.astype(np.int64)))
        self.threshold = torch.as_tensor(padded("threshold", 0.0))
        self.value = torch.as_tensor(rates * padded("value", 0.0))
        self.start = torch.as_tensor(start)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, metadata: Any, strict: bool, *lists: list[str]
    ) -> None:
        """Take trees of any number and size, which only a fit knows; refuse those that lead nowhere."""
        given = {name: state_dict.get(f"{prefix}{name}") for name in self._SHAPED}
        if all(isinstance(each, Tensor) for each in given.values()):
            # Before anything is set: an index out of bounds would be met only in a forecast, as a crash of
            # torch.
            fault = self._fault(given)  # type: ignore[arg-type]
            if fault:
                lists[2].append(f"the trees of the head {fault}")
                return
            for name, tensor in given.items():
                setattr(self, name, torch.empty_like(tensor))  # type: ignore[arg-type]
        super()._load_from_state_dict(state_dict, prefix, metadata, strict, *lists)

    def _fault(self, given: dict[str, Tensor]) -> str:
        """What is wrong with trees from a file, which somebody else may have made; empty if nothing is."""
        shape = given["feature"].shape
        whole = all(given[name].dtype == torch.int64 for name in ("feature", "below", "above", "output"))
        same = all(given[name].shape == shape for name in self._SHAPED[:-1])
        if not whole or not same or len(shape) != 2 or given["output"].shape != shape[:1]:
            return "are not alike in shape"
        bounds = {"feature": self.features, "below": shape[1], "above": shape[1], "output": self.outputs}
        outside = any(bool(((given[name] < 0) | (given[name] >= top)).any()) for name, top in bounds.items())
        return "name a node, feature or output that is not there" if outside else ""


_Head = LinearHead | TreeHead


def build_head(spec: HeadSpec, features: int, outputs: int) -> _Head:
    """A head that forecasts 0, scaled, until it is fitted."""
    if isinstance(spec, BoostingSpec):
        return TreeHead(features, outputs, spec.depth)
    return LinearHead(features, outputs)


@dataclass(frozen=True)
class FittedHead:
    """Every candidate with its losses, and the best on validation, which the head now is."""

    candidates: tuple[Candidate, ...]
    best: Candidate


def fit_head(
    head: _Head,
    spec: HeadSpec,
    train: tuple[Array, Array],
    validation: tuple[Array, Array],
    *,
    loss: Loss,
    seed: int,
) -> FittedHead:
    """Fit a head for every strength, and keep the one with the lowest loss on validation.

    Args:
        head: What `build_head` made of ``spec``; it is changed in place.
        spec: What to fit, and its grid.
        train: Features (N, D) and targets (N, P).
        validation: The same of the validation split, which chooses the strength and nothing else.
        loss: Of forecasts.
        seed: Of the windows and features that trees are grown on.
    """
    found = _candidates(head, spec, train, validation, loss=loss, seed=seed)
    best, keep = min(found, key=lambda each: each[0].validation_loss)
    keep()
    if isinstance(spec, RidgeSpec) and spec.refit:
        both = (np.concatenate(each) for each in zip(train, validation, strict=True))
        chosen = spec.model_copy(update={"strengths": (best.strength,)})
        [(_, keep)] = _candidates(head, chosen, tuple(both), validation, loss=loss, seed=seed)
        keep()
    return FittedHead(tuple(candidate for candidate, _ in found), best)


def _candidates(
    head: _Head,
    spec: HeadSpec,
    train: tuple[Array, ...],
    validation: tuple[Array, Array],
    *,
    loss: Loss,
    seed: int,
) -> list[tuple[Candidate, Callable[[], None]]]:
    """Every strength with its losses, and what makes the head that one."""
    inputs, targets = train
    scale = inputs.std(axis=0)
    # A feature that does not move carries nothing, and is not divided by rounding.
    still = scale <= 1e-12 * np.maximum(1.0, np.abs(inputs).max(axis=0, initial=0.0))
    scale[still] = np.inf
    centre = inputs.mean(axis=0)
    if isinstance(spec, RidgeSpec) and not spec.intercept:
        centre, scale = np.zeros_like(centre), np.where(still, np.inf, 1.0)
    standard = (inputs - centre) / scale, targets
    found: list[tuple[Candidate, Callable[[], None]]] = []
    if isinstance(spec, BoostingSpec):
        assert isinstance(head, TreeHead)
        steps = _boosted(head, spec, (inputs, targets), validation[0], seed)
    else:
        assert isinstance(head, LinearHead)
        steps = _linear(head, spec, standard, (centre, scale), inputs, validation[0])
    for strength, fitted, forecast, keep in steps:
        # Both losses are kept: the gap between them tells a reader how much the strength had to hold back.
        candidate = Candidate(strength, loss(fitted, targets), loss(forecast, validation[1]))
        found.append((candidate, keep))
    return found


# A strength, forecasts of the training and of the validation split, and what makes the head that one.
_Step = tuple[float, Array, Array, Callable[[], None]]


def _linear(
    head: LinearHead,
    spec: RidgeSpec | LassoSpec,
    standard: tuple[Array, Array],
    scaling: tuple[Array, Array],
    inputs: Array,
    validation: Array,
) -> Iterator[_Step]:
    centre, scale = scaling
    for strength in spec.strengths:
        weight, bias = _fit_linear(spec, strength, *standard)
        # The standardisation goes into the weights: a checkpoint needs no second set of numbers.
        weight = weight / scale[:, None]
        bias = bias - centre @ weight

        def keep(weight: Array = weight, bias: Array = bias) -> None:
            head.keep(weight, bias)

        yield strength, inputs @ weight + bias, validation @ weight + bias, keep


def _fit_linear(
    spec: RidgeSpec | LassoSpec, strength: float, inputs: Array, targets: Array
) -> tuple[Array, Array]:
    """Weights (D, P) and biases (P,) on standardised features."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import Lasso, Ridge

    if isinstance(spec, RidgeSpec):
        # scikit-learn adds errors up: over the mean, the same strength means the same for any number of rows.
        model = Ridge(alpha=strength * len(inputs), solver="svd", fit_intercept=spec.intercept)
        model.fit(inputs, targets)
        weight = model.coef_.T.reshape(inputs.shape[1], -1)
        return weight, np.broadcast_to(model.intercept_, weight.shape[1:])
    columns = []
    for target in targets.T:
        # The smallest penalty that leaves no feature: strengths are shares of it, and mean the same for
        # every target.
        largest = float(np.abs(inputs.T @ (target - target.mean())).max()) / len(inputs)
        # A target that never moves gives 0, which scikit-learn refuses.
        model = Lasso(alpha=max(strength * largest, 1e-300), max_iter=5000)
        with warnings.catch_warnings():
            # The weakest penalty of a grid may not converge; validation decides what it is worth.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(inputs, target)
        columns.append((model.coef_, model.intercept_))
    return np.stack([each for each, _ in columns], axis=1), np.array([float(each) for _, each in columns])


# Numbers of trees that validation chooses among.
_GRID = 20


def _boosted(
    head: TreeHead, spec: BoostingSpec, train: tuple[Array, Array], validation: Array, seed: int
) -> Iterator[_Step]:
    """One fit, whose first trees are a fit of their own: the candidates are numbers of trees."""
    from sklearn.ensemble import GradientBoostingRegressor

    inputs, targets = train
    models = [
        GradientBoostingRegressor(
            n_estimators=spec.trees,
            learning_rate=spec.learning_rate,
            max_depth=spec.depth,
            subsample=spec.subsample,
            # As in a random forest: features of one circuit are alike, and trees on all of them cost D times.
            max_features="sqrt",
            random_state=child_seed(seed, f"boosting/{output}") % 2**32,
        ).fit(inputs, target)
        for output, target in enumerate(targets.T)
    ]
    # As scikit-learn starts for squared errors; its trees are grown on what is left.
    start = targets.mean(axis=0)
    counts = sorted({*np.linspace(1, spec.trees, min(_GRID, spec.trees)).round().astype(int).tolist()})
    for count in counts:

        def keep(count: int = count) -> None:
            trees = [
                (each[0].tree_, spec.learning_rate, output)
                for output, model in enumerate(models)
                for each in model.estimators_[:count]
            ]
            head.keep(trees, start)

        keep()
        with torch.no_grad():
            forecasts = [head(torch.as_tensor(each)).numpy() for each in (inputs, validation)]
        yield float(count), forecasts[0], forecasts[1], keep
