"""How a model is trained, as the ``training`` section of a config. No PyTorch here: reading one is fast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import cos, pi
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from qhq.documents import Spec
from qhq.limits import MOST_COUNT, MOST_FACTOR, MOST_THREADS

_Share = Annotated[float, Field(ge=0.0, lt=1.0)]
_MOST_EPOCHS = 100_000
# Runs of one training.
# Each has its own place in memory.
_MOST_SEEDS = 100


class OptimizerSpec(Spec):
    """How gradients become steps; settings left out are those of PyTorch's class of that name."""

    kind: str

    @property
    def line_search(self) -> bool:
        """Whether it tries several steps on a batch: then one step length is found for all parameters."""
        return False

    @property
    def natural(self) -> bool:
        """Whether circuits are trained along their natural gradient, which needs their states."""
        return False

    def settings(self) -> dict[str, object]:
        """Keywords of PyTorch's class, but for the learning rate and the weight decay."""
        return self.model_dump(exclude={"kind"})


class AdamSpec(OptimizerSpec):
    """Adam (Kingma and Ba, ICLR 2015); ``weight_decay`` is added to the gradient.

    Attributes:
        betas: Decay rates of the running means of the gradient and of its square.
        eps: Added to the root of the mean square, against a division by zero.
    """

    kind: Literal["adam"] = "adam"
    betas: tuple[_Share, _Share] = (0.9, 0.999)
    eps: float = Field(1e-8, gt=0.0, le=1.0)


class AdamWSpec(AdamSpec):
    """Adam whose ``weight_decay`` shrinks the weights itself (Loshchilov and Hutter, ICLR 2019)."""

    kind: Literal["adamw"] = "adamw"  # type: ignore[assignment]


class SGDSpec(OptimizerSpec):
    """Gradient descent, with momentum if there is any.

    Attributes:
        momentum: Share of the last step that the next one keeps.
        nesterov: Whether the gradient is that of where the momentum leads (Nesterov); needs a momentum.
    """

    kind: Literal["sgd"] = "sgd"
    momentum: _Share = 0.0
    nesterov: bool = False

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> Self:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
        return self


class RMSpropSpec(OptimizerSpec):
    """Steps over a running root mean square of the gradient (Tieleman and Hinton, 2012).

    Attributes:
        alpha: Decay rate of the running mean of the gradient's square.
        eps: Added to the root of the mean square, against a division by zero.
        momentum: Share of the last step that the next one keeps.
    """

    kind: Literal["rmsprop"] = "rmsprop"
    alpha: _Share = 0.99
    eps: float = Field(1e-8, gt=0.0, le=1.0)
    momentum: _Share = 0.0


class LBFGSSpec(OptimizerSpec):
    """Limited-memory BFGS with a strong Wolfe line search; ``steps`` of it on every batch.

    It compares losses of one batch at several weights, so the batch should be large, best the whole
    training split, and expectation values exact.

    Attributes:
        steps: Iterations on each batch.
        history: Steps from which the curvature is estimated.
    """

    kind: Literal["lbfgs"] = "lbfgs"
    steps: int = Field(5, ge=1, le=1000)
    history: int = Field(10, ge=1, le=1000)

    @property
    def line_search(self) -> bool:
        """It does: PyTorch's has neither rates of groups nor weight decay."""
        return True

    def settings(self) -> dict[str, object]:
        """Keywords of PyTorch's class."""
        return {"max_iter": self.steps, "history_size": self.history, "line_search_fn": "strong_wolfe"}


class QNGSpec(AdamSpec):
    """Quantum natural gradient for the weights of circuits, Adam for all others (`qhq.training.natural`).

    Attributes:
        regularisation: Added to the diagonal of the metric.
        metric: ``full``; its ``blocks``, of rotations that stand beside each other; or its ``diagonal``.
        samples: Rows of a batch that the metric is averaged over, evenly spread.
    """

    kind: Literal["qng"] = "qng"  # type: ignore[assignment]
    regularisation: float = Field(0.01, gt=0.0, le=MOST_FACTOR)
    metric: Literal["full", "blocks", "diagonal"] = "full"
    samples: int = Field(16, ge=1, le=MOST_COUNT)

    @property
    def natural(self) -> bool:
        """It does."""
        return True


OPTIMIZERS: dict[str, str] = {
    "adam": "torch.optim:Adam",
    "adamw": "torch.optim:AdamW",
    "sgd": "torch.optim:SGD",
    "rmsprop": "torch.optim:RMSprop",
    "lbfgs": "torch.optim:LBFGS",
    "qng": "qhq.training.natural:NaturalGradient",
}
"""Name of an optimiser in a config -> where its class is, written as an entry point is. To add one, write its
spec, a line here, and one in `_AnyOptimizer`."""


class ScheduleSpec(Spec):
    """A learning rate that changes: its factor is a function of the epochs done, and of their losses.

    A function, not an object with a state of its own: what it is computed from lies in ``resume.pt`` already,
    so a resumed training has the rates of an uninterrupted one.

    Attributes:
        warm_up: Epochs over which the rate first rises in a straight line, batch by batch; the schedule's own
            epochs begin after them.
    """

    kind: str
    warm_up: int = Field(0, ge=0, le=_MOST_EPOCHS)

    def factor(self, at: float, epochs: int, losses: Sequence[float]) -> float:
        """What the learning rate is multiplied with.

        Args:
            at: Progress at the middle of the batch, in epochs, so that neither the first step of a warm-up
                nor the last of a cosine has a rate of 0.
            epochs: Of the whole training.
            losses: On the validation split, of each epoch done.
        """
        if at < self.warm_up:
            return at / self.warm_up
        return self.after(at - self.warm_up, max(epochs - self.warm_up, 1), losses[self.warm_up :])

    def after(self, at: float, epochs: int, losses: Sequence[float]) -> float:  # noqa: ARG002
        """The factor after the warm-up; arguments as in ``factor``, counted from its end."""
        return 1.0


class ConstantSpec(ScheduleSpec):
    """The same rate throughout, after the warm-up."""

    kind: Literal["constant"] = "constant"


class CosineSpec(ScheduleSpec):
    """Half a cosine from 1 to ``floor`` at the last epoch (Loshchilov and Hutter, ICLR 2017).

    Attributes:
        floor: Share of the learning rate that is left at the last epoch.
    """

    kind: Literal["cosine"] = "cosine"
    floor: float = Field(0.0, ge=0.0, le=1.0)

    def after(self, at: float, epochs: int, losses: Sequence[float]) -> float:  # noqa: ARG002
        """Follow the cosine batch by batch."""
        return self.floor + (1 - self.floor) * (1 + cos(pi * min(at / epochs, 1.0))) / 2


class StepSpec(ScheduleSpec):
    """Times ``gamma`` after every so many epochs.

    Attributes:
        every: Epochs between two steps.
        gamma: What each step multiplies the learning rate by.
    """

    kind: Literal["step"] = "step"
    every: int = Field(5, ge=1, le=_MOST_EPOCHS)
    gamma: float = Field(0.5, gt=0.0, le=1.0)

    def after(self, at: float, epochs: int, losses: Sequence[float]) -> float:  # noqa: ARG002
        """Stay on one level until the next."""
        return float(self.gamma ** (int(at) // self.every))


class PlateauSpec(ScheduleSpec):
    """Times ``gamma`` whenever the validation loss has not improved for ``patience`` epochs.

    ``training.patience`` must be longer, or the training ends before it.

    Attributes:
        patience: Epochs without a better validation loss before a step.
        gamma: What each step multiplies the learning rate by.
    """

    kind: Literal["plateau"] = "plateau"
    patience: int = Field(2, ge=1, le=_MOST_EPOCHS)
    gamma: float = Field(0.5, gt=0.0, le=1.0)

    def after(self, at: float, epochs: int, losses: Sequence[float]) -> float:  # noqa: ARG002
        """Go through the losses anew: there are few, and no counter has to be kept."""
        best, waited, factor = float("inf"), 0, 1.0
        for loss in losses:
            waited = 0 if loss < best else waited + 1
            best = min(best, loss)
            if waited == self.patience:
                factor, waited = factor * self.gamma, 0
        return factor


def _kind_of(default: str) -> Discriminator:
    def kind(value: Any) -> Any:
        return value.get("kind", default) if isinstance(value, Mapping) else getattr(value, "kind", default)

    return Discriminator(kind)


def _named(value: Any) -> Any:
    """A name alone stands for a kind with all its defaults."""
    return {"kind": value} if isinstance(value, str) else value


_AnyOptimizer = Annotated[
    Annotated[AdamSpec, Tag("adam")]
    | Annotated[AdamWSpec, Tag("adamw")]
    | Annotated[SGDSpec, Tag("sgd")]
    | Annotated[RMSpropSpec, Tag("rmsprop")]
    | Annotated[LBFGSSpec, Tag("lbfgs")]
    | Annotated[QNGSpec, Tag("qng")],
    _kind_of("adam"),
    BeforeValidator(_named),
]

# Every schedule of the learning rate; to add one, write its class and a line here.
_AnySchedule = Annotated[
    Annotated[ConstantSpec, Tag("constant")]
    | Annotated[CosineSpec, Tag("cosine")]
    | Annotated[StepSpec, Tag("step")]
    | Annotated[PlateauSpec, Tag("plateau")],
    _kind_of("constant"),
    BeforeValidator(_named),
]


class CircuitRatesSpec(Spec):
    """Learning rate and weight decay of the circuit's weights, or of the MLP in its place.

    A rate left out is that of all other parameters. Weights of a circuit are angles: they have a natural
    size, and a decay towards 0 has no meaning for most of them.

    Attributes:
        learning_rate: Step size for the circuit's weights.
        weight_decay: Their decay towards 0.
    """

    learning_rate: float | None = Field(None, gt=0.0, le=MOST_FACTOR)
    weight_decay: float | None = Field(None, ge=0.0, le=MOST_FACTOR)


LOSSES: dict[str, str] = {
    "mse": "torch.nn:MSELoss",
    "mae": "torch.nn:L1Loss",
    "huber": "torch.nn:HuberLoss",
    "quantile": "qhq.training.losses:Quantiles",
    "gaussian": "qhq.training.losses:Gaussian",
    "student_t": "qhq.training.losses:StudentT",
}
"""Name of a loss in a config -> where its class is, written as an entry point is. To add one, write an
`Objective`, or a module that is called with forecasts and targets (B, H, K) and takes ``reduction``, and its
line here."""


DISTRIBUTIONS = ("quantile", "gaussian", "student_t")
"""Losses of several values a target."""


def _check_loss(name: Any) -> Any:
    # In the words of pydantic's Literal, which cannot be made of a table.
    if not isinstance(name, str) or name not in LOSSES:
        *others, last = map(repr, LOSSES)
        raise ValueError(f"Input should be {', '.join(others)} or {last}")
    return name


def _check_levels(levels: tuple[float, ...]) -> tuple[float, ...]:
    if list(levels) != sorted(set(levels)) or 0.5 not in levels:
        raise ValueError("must ascend, and 0.5 must be among them, which is the point forecast")
    return levels


class InjectionSpec(Spec):
    """A device's mean errors and shot noise, added to exact values in training.

    Attributes:
        backend: An entry whose noise is known: a fake device, a snapshot, or noise parameters.
        shots: Shots a value; None adds no shot noise.
    """

    backend: str = Field(min_length=1)
    shots: int | None = Field(1024, ge=1, le=MOST_COUNT)


class TrainingSpec(Spec):
    """An optimiser with early stopping on the validation split.

    The weights of the best validation epoch are kept; the untrained model counts as epoch 0.

    Attributes:
        epochs: Passes over the training split.
        batch_size: Windows of a batch.
        learning_rate: Step size of the optimiser, for all parameters without a rate of their own.
        weight_decay: Decay of the weights towards 0, as the optimiser has it.
        optimizer: How gradients become steps: a name, or a ``kind`` with its settings.
        schedule: How the learning rate changes over the epochs: a name, or a ``kind`` with its settings.
        circuit: Rates of the circuit's weights.
        loss: What is minimised, over scaled targets.
        horizon_weights: What the loss of each horizon counts, one number for each of ``data.horizon``; None
            weighs all alike.
        quantiles: Levels that a loss of a distribution learns or reports, ascending, 0.5 among them.
        patience: Epochs without a better validation loss after which training stops; None trains all epochs.
        clip_norm: Largest L2 norm of the gradient of all parameters together; None is no limit.
        dtype: Precision of the model, its data and the exact engine.
        threads: CPU threads of PyTorch.
        seeds: Runs that are trained at once, with seeds from the config's own on.
        backends: Entries to train on in turn, instead of on the run's backend, which still evaluates the test
            split.
        injection: An entry whose mean errors are added to exact values in training, in place of noise that is
            simulated.
    """

    # Every bound is far beyond what anybody trains: a slip is refused here, not after a night.
    epochs: int = Field(12, ge=1, le=_MOST_EPOCHS)
    batch_size: int = Field(64, ge=1, le=MOST_COUNT)
    learning_rate: float = Field(1e-3, gt=0.0, le=MOST_FACTOR)
    weight_decay: float = Field(0.0, ge=0.0, le=MOST_FACTOR)
    optimizer: _AnyOptimizer = AdamSpec()
    schedule: _AnySchedule = ConstantSpec()
    circuit: CircuitRatesSpec = CircuitRatesSpec()
    loss: Annotated[str, BeforeValidator(_check_loss)] = "mse"
    horizon_weights: tuple[Annotated[float, Field(ge=0.0, le=MOST_FACTOR)], ...] | None = None
    quantiles: Annotated[
        tuple[Annotated[float, Field(gt=0.0, lt=1.0)], ...],
        Field(max_length=99),
        AfterValidator(_check_levels),
    ] = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
    patience: int | None = Field(4, ge=1, le=MOST_COUNT)
    clip_norm: float | None = Field(None, gt=0.0, le=MOST_FACTOR)
    dtype: Literal["float32", "float64"] = "float32"
    threads: int = Field(1, ge=1, le=MOST_THREADS)
    seeds: int = Field(1, ge=1, le=_MOST_SEEDS)
    backends: tuple[str, ...] = ()
    injection: InjectionSpec | None = None

    @model_validator(mode="after")
    def _one_kind_of_noise(self) -> Self:
        if self.backends and self.injection:
            raise ValueError("give backends or injection, not both")
        if len(set(self.backends)) < len(self.backends):
            raise ValueError(f"backends must name each entry once; got {', '.join(self.backends)}")
        return self

    @model_validator(mode="after")
    def _optimizer_can(self) -> Self:
        asked = {
            "weight_decay": self.weight_decay > 0,
            "circuit.learning_rate": self.circuit.learning_rate is not None,
            "circuit.weight_decay": self.circuit.weight_decay is not None,
            # Its line search compares losses along the gradient, which a clipped one no longer belongs to.
            "clip_norm": self.clip_norm is not None,
            "backends": bool(self.backends),
            "injection": self.injection is not None,
        }
        refused = [key for key, is_asked in asked.items() if is_asked and self.optimizer.line_search]
        if refused:
            raise ValueError(f"{self.optimizer.kind} has one step length for all, and takes no {refused[0]}")
        if isinstance(self.schedule, PlateauSpec) and (self.patience or MOST_COUNT) <= self.schedule.patience:
            raise ValueError(
                f"schedule.patience must be below patience, or training ends first; got"
                f" {self.schedule.patience} and {self.patience}"
            )
        if self.horizon_weights is not None and not any(self.horizon_weights):
            raise ValueError("horizon_weights must have one above 0")
        return self
