"""How an experiment trains a network: one set of options for local learning and for its twins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from neuro_eq.budget import NormBudget
from neuro_eq.frozen import Frozen
from neuro_eq.methods import (
    BPTT,
    JFB,
    AsymEP,
    DyadicEP,
    EqProp,
    GradientMethod,
    ImplicitDifferentiation,
    Phantom,
    VectorField,
)
from neuro_eq.optimizers import Adam
from neuro_eq.penalty import JacobianPenalty
from neuro_eq.schedules import Constant, Cosine, Schedule
from neuro_eq.solvers import Picard, Relaxation
from neuro_eq.spec import Network

Rule = Literal[
    "local", "one-sided", "asymep", "vector field", "one-sided vector field", "dyadic", "bptt", "implicit", "jfb",
    "phantom",
]  # fmt: skip
"""What a network is trained by.  ``"local"`` is centered EqProp where there is an energy and AsymEP where not."""

TWINS: tuple[Rule, ...] = ("bptt", "implicit")
"""The twins: the same network, start values, order of the samples and optimiser, another gradient."""


EXACT: tuple[Rule, ...] = ("implicit", "dyadic", "jfb", "phantom")
"""Rules of the fixed point, which they want settled whatever the others do."""


class Lessons(Frozen):
    """Everything about training but the network, the data and the seed.

    Args:
        rule: the gradient; a twin differs in nothing else.
        beta: the nudge, of rules that nudge.
        last_beta: the nudge of the last epoch, reached in a line; the same as the first when not given.
        follow: the largest nudge of one that follows the cost's slope, see
            :class:`~neuro_eq.experiments.training.nudging.Nudging`; or None.
        epochs, batch_size: passes, and samples in a step.
        lr, weight_decay: of Adam.
        schedule: of the learning rate.
        warmup: the part of all steps over which the rate rises.
        alpha, max_steps: how the phases settle; to the tolerance that follows from the nudge.
        fixed: steps of the free and of the nudged phases where their number is fixed instead.
        budget: a norm budget, or None.
        penalty: strength of a penalty on the response at the free state, which twins have as well, or None.
    """

    rule: Rule = "local"
    beta: float = 0.1
    last_beta: float | None = None
    follow: float | None = Field(default=None, gt=0.0)
    epochs: int = Field(default=10, ge=0)
    batch_size: int = Field(default=32, ge=1)
    lr: float = Field(default=1e-3, gt=0.0)
    weight_decay: float = Field(default=0.0, ge=0.0)
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: float = Field(default=0.0, ge=0.0, lt=1.0)
    alpha: float = Field(default=0.5, gt=0.0, le=1.0)
    max_steps: int = Field(default=200, ge=1)
    fixed: tuple[int, int] | None = None
    budget: float | None = Field(default=None, gt=0.0, lt=1.0)
    penalty: float | None = Field(default=None, gt=0.0)

    @model_validator(mode="after")
    def _follows_from_below(self) -> Self:
        usual = (self.beta, self.beta if self.last_beta is None else self.last_beta)
        if self.follow is not None and not (min(usual) > 0.0 and max(usual) <= self.follow):
            raise ValueError(f"follow: nudges must lie above 0 and not above {self.follow:g}, found {max(usual):g}")
        return self

    def nudge(self, epoch: int) -> float:
        """β of an epoch, counted from 1."""
        if self.last_beta is None or self.epochs < 2:
            return self.beta
        return self.beta + (self.last_beta - self.beta) * (epoch - 1) / (self.epochs - 1)

    def method(self, spec: Network, beta: float | None = None) -> GradientMethod:
        """The gradient, with this nudge or the first one."""
        beta = self.beta if beta is None else beta
        methods: dict[Rule, Callable[[], GradientMethod]] = {
            "local": lambda: EqProp(beta) if spec.has_energy else AsymEP(beta),
            "one-sided": lambda: EqProp(beta, "one-sided"),
            "asymep": lambda: AsymEP(beta),
            "vector field": lambda: VectorField(beta),
            "one-sided vector field": lambda: VectorField(beta, "one-sided"),
            "dyadic": DyadicEP,
            "bptt": lambda: BPTT(self.max_steps if self.fixed is None else self.fixed[0]),
            "implicit": ImplicitDifferentiation,
            "jfb": JFB,
            "phantom": Phantom,
        }
        return methods[self.rule]()

    @property
    def free(self) -> Relaxation:
        """How the free phase settles."""
        if self.fixed is not None and self.rule not in EXACT:
            return Relaxation(solver=Picard(self.alpha), tol=None, max_steps=self.fixed[0])
        return Relaxation(solver=Picard(self.alpha), max_steps=self.max_steps)

    @property
    def nudged(self) -> Relaxation:
        """How the nudged phases settle."""
        if self.fixed is not None and self.rule not in EXACT:
            return Relaxation(solver=Picard(self.alpha), tol=None, max_steps=self.fixed[1])
        return self.free

    @property
    def optimizer(self) -> Adam:
        """What follows the gradient."""
        return Adam(self.lr, weight_decay=self.weight_decay)

    @property
    def rate(self) -> Schedule:
        """Of the learning rate."""
        return Cosine(warmup=self.warmup) if self.schedule == "cosine" else Constant(warmup=self.warmup)

    @property
    def norms(self) -> NormBudget | None:
        """The budget that is kept after every step."""
        return None if self.budget is None else NormBudget(self.budget)

    @property
    def on_the_response(self) -> JacobianPenalty | None:
        """The penalty whose gradient is added to that of the cost."""
        return None if self.penalty is None else JacobianPenalty(self.penalty)
