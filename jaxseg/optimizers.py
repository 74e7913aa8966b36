"""Optimizers and learning-rate schedules, as frozen dataclasses around optax.

An optimizer has ``build(steps) -> optax.GradientTransformation`` and ``rate(steps)``, the schedule
for the reports; ``steps`` is the length of the run. Weight decay spares every parameter of one
axis or none: biases, and scales of norms. ``clip`` bounds the global norm of the gradient before
anything else. The rate is always a schedule, so that the state has one structure: plain arrays,
with a count of steps, which a restart restores and goes on from.
"""

from dataclasses import dataclass
from typing import Any

import jax
import optax

from jaxseg.errors import require

HERE = "recipe.optimizer"
RATE = f"{HERE}.learning_rate"
"""Where an experiment has the optimizer and its rate: messages name the option as it is set."""


@dataclass(frozen=True)
class Constant:
    """``value`` at every step, after a linear ``warmup`` from 0 over that many steps."""

    value: float
    warmup: int = 0

    def build(self, steps: int) -> optax.Schedule:
        """The rate by step."""
        require(self.value >= 0, f"{RATE}.value", self.value, "at least 0")
        return _warmed(self.warmup, self.value, steps, optax.constant_schedule(self.value))


@dataclass(frozen=True)
class Poly:
    """``peak (1 - t / T)^power`` down to 0 (DeepLab, nnU-Net), after a linear ``warmup``.

    ``t`` and ``T`` count from the end of the ``warmup`` steps, which start at a rate of 0.
    """

    peak: float
    power: float = 0.9
    warmup: int = 0

    def build(self, steps: int) -> optax.Schedule:
        """The rate by step; 0 at ``steps`` and after."""
        require(self.peak >= 0, f"{RATE}.peak", self.peak, "at least 0")
        left = steps - _fitting(self.warmup, steps)
        decay = optax.polynomial_schedule(self.peak, 0.0, self.power, left)
        return _warmed(self.warmup, self.peak, steps, decay)


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from ``peak`` to ``end`` (a rate), after a linear ``warmup`` from 0."""

    peak: float
    warmup: int = 0
    end: float = 0.0

    def build(self, steps: int) -> optax.Schedule:
        """The rate by step; ``end`` at ``steps`` and after."""
        require(self.peak > 0, f"{RATE}.peak", self.peak, "above 0")
        left = steps - _fitting(self.warmup, steps)
        decay = optax.cosine_decay_schedule(self.peak, left, alpha=self.end / self.peak)
        return _warmed(self.warmup, self.peak, steps, decay)


@dataclass(frozen=True)
class Exponential:
    """``peak decay^floor(t / every)``, after a linear ``warmup`` from 0 over that many steps.

    A tenth every 2,000 steps (DeepLab v1) or 0.995 an epoch (FC-DenseNet). ``t`` counts from the
    end of the ``warmup``.
    """

    peak: float
    decay: float
    every: int
    warmup: int = 0

    def build(self, steps: int) -> optax.Schedule:
        """The rate by step."""
        require(self.peak >= 0, f"{RATE}.peak", self.peak, "at least 0")
        require(0 < self.decay <= 1, f"{RATE}.decay", self.decay, "in (0, 1]")
        require(self.every >= 1, f"{RATE}.every", self.every, "at least 1")
        decayed = optax.exponential_decay(self.peak, self.every, self.decay, staircase=True)
        return _warmed(self.warmup, self.peak, steps, decayed)


Schedule = Constant | Poly | Cosine | Exponential


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with momentum, ``v <- m v + g; p <- p - rate v`` as in torch.

    ``weight_decay`` adds ``weight_decay p`` to the gradient (L2).
    """

    learning_rate: float | Schedule = 1e-2
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    clip: float | None = None

    def build(self, steps: int) -> optax.GradientTransformation:
        """The transformation for a run of ``steps``."""
        require(0 <= self.momentum < 1, f"{HERE}.momentum", self.momentum, "in [0, 1)")
        momentum = optax.trace(self.momentum, self.nesterov) if self.momentum else optax.identity()
        return _chain(self.clip, _decay(self.weight_decay), momentum, rate=self.rate(steps))

    def rate(self, steps: int) -> optax.Schedule:
        """Learning rate by step."""
        return _schedule(self.learning_rate, steps)


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba 2015), without weight decay."""

    learning_rate: float | Schedule = 1e-3
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    clip: float | None = None

    def build(self, steps: int) -> optax.GradientTransformation:
        """The transformation for a run of ``steps``."""
        adam = _adam(self.b1, self.b2, self.eps)
        return _chain(self.clip, adam, rate=self.rate(steps))

    def rate(self, steps: int) -> optax.Schedule:
        """Learning rate by step."""
        return _schedule(self.learning_rate, steps)


@dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019), as in torch.

    ``p <- p - rate (adam + weight_decay p)``.
    """

    learning_rate: float | Schedule = 1e-3
    weight_decay: float = 1e-2
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    clip: float | None = None

    def build(self, steps: int) -> optax.GradientTransformation:
        """The transformation for a run of ``steps``."""
        adam = _adam(self.b1, self.b2, self.eps)
        return _chain(self.clip, adam, _decay(self.weight_decay), rate=self.rate(steps))

    def rate(self, steps: int) -> optax.Schedule:
        """Learning rate by step."""
        return _schedule(self.learning_rate, steps)


@dataclass(frozen=True)
class RMSprop:
    """The gradient over the root of its mean square (Hinton's lecture 6e), as in torch.

    ``v <- decay v + (1 - decay) g^2; p <- p - rate g / (sqrt(v) + eps)``, ``v`` 0 at first.
    ``weight_decay`` adds ``weight_decay p`` to the gradient (L2).
    """

    learning_rate: float | Schedule = 1e-2
    decay: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.0
    clip: float | None = None

    def build(self, steps: int) -> optax.GradientTransformation:
        """The transformation for a run of ``steps``."""
        require(0 <= self.decay < 1, f"{HERE}.decay", self.decay, "in [0, 1)")
        require(self.eps > 0, f"{HERE}.eps", self.eps, "above 0")
        scaled = optax.scale_by_rms(self.decay, self.eps, eps_in_sqrt=False)
        return _chain(self.clip, _decay(self.weight_decay), scaled, rate=self.rate(steps))

    def rate(self, steps: int) -> optax.Schedule:
        """Learning rate by step."""
        return _schedule(self.learning_rate, steps)


Optimizer = SGD | Adam | AdamW | RMSprop

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "adam": Adam,
    "adamw": AdamW,
    "rmsprop": RMSprop,
}
"""Every optimizer by name."""


def decays(params: Any) -> Any:
    """A mask of the parameters that weight decay shrinks: those of two axes or more."""
    return jax.tree.map(lambda p: p.ndim > 1, params)


def _chain(
    clip: float | None, *parts: optax.GradientTransformation, rate: optax.Schedule
) -> optax.GradientTransformation:
    what = "above 0, or None for no clipping"
    require(clip is None or clip > 0, f"{HERE}.clip", clip, what)
    clipped = optax.identity() if clip is None else optax.clip_by_global_norm(clip)
    return optax.chain(clipped, *parts, optax.scale_by_learning_rate(rate))


def _adam(b1: float, b2: float, eps: float) -> optax.GradientTransformation:
    require(0 <= b1 < 1, f"{HERE}.b1", b1, "in [0, 1)")
    require(0 <= b2 < 1, f"{HERE}.b2", b2, "in [0, 1)")
    require(eps > 0, f"{HERE}.eps", eps, "above 0")
    return optax.scale_by_adam(b1, b2, eps)


def _decay(weight_decay: float) -> optax.GradientTransformation:
    require(weight_decay >= 0, f"{HERE}.weight_decay", weight_decay, "at least 0")
    if not weight_decay:
        return optax.identity()
    return optax.add_decayed_weights(weight_decay, mask=decays)


def _schedule(rate: float | Schedule, steps: int) -> optax.Schedule:
    if not isinstance(rate, int | float):
        return rate.build(steps)
    require(rate >= 0, RATE, rate, "at least 0")
    return optax.constant_schedule(rate)


def _warmed(warmup: int, peak: float, steps: int, after: optax.Schedule) -> optax.Schedule:
    """A line from 0 at step 0 to ``peak`` at step ``warmup``; then ``after``, from its step 0."""
    warmup = _fitting(warmup, steps)
    if warmup == 0:
        return after
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), after], [warmup])


def _fitting(warmup: int, steps: int) -> int:
    """``warmup``, or all but the last step of a shorter run: ``steps=5`` tries a config."""
    require(warmup >= 0, f"{RATE}.warmup", warmup, "at least 0")
    return min(warmup, steps - 1)
