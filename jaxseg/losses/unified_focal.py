"""Unified Focal loss, the asymmetric form (Yeung et al. 2022)."""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp

from jaxseg.errors import require
from jaxseg.losses.loss import Label, Logits, PerExample, Valid, Weights
from jaxseg.losses.overlap import overlap
from jaxseg.losses.ramp import Ramp
from jaxseg.losses.targets import of_counted, per_example, power, ratio, targets
from jaxseg.losses.tversky import complement


@dataclass(frozen=True, kw_only=True)
class UnifiedFocal:
    """``share F + (1 - share) T``: cross entropy and Tversky, rare classes first.

    ``F`` is the mean over pixels of ``delta (-ln p)`` where a foreground class is true, and of
    ``(1 - delta) (1 - p)^gamma (-ln p)`` on background: only that is focused on its mistakes.
    ``T`` is the mean over classes of ``1 - TI`` of background and ``(1 - TI)^(1 - gamma)`` of the
    others, ``TI`` with ``delta`` for what is missed and ``1 - delta`` for the excess.

    Defaults are the authors' (``delta`` 0.6; MONAI: 0.7). ``average="classes"`` divides ``F`` by
    the number of classes, as MONAI does.
    """

    weight: float | Ramp = 1.0
    share: float = 0.5
    delta: float = 0.6
    gamma: float = 0.5
    smooth: float = 1e-5
    average: Literal["pixels", "classes"] = "pixels"
    batch: bool = False

    def __post_init__(self) -> None:
        """Refuse what is no mixture, and a power that grows at 0."""
        for name in ("share", "delta"):
            require(
                0 <= getattr(self, name) <= 1,
                f"UnifiedFocal.{name}",
                getattr(self, name),
                "in [0, 1]",
            )
        require(0 <= self.gamma < 1, "UnifiedFocal.gamma", self.gamma, "in [0, 1)")
        require(self.smooth >= 0, "UnifiedFocal.smooth", self.smooth, "at least 0")

    def __call__(
        self, logits: Logits, label: Label, *, valid: Valid = None, weights: Weights = None
    ) -> PerExample:
        """The loss of each example, at least 0; 0 where every pixel is ignored."""
        t = targets(logits, label, valid=valid, weights=weights)
        surprise = -jax.nn.log_softmax(t.logits)
        focus = power(-jnp.expm1(-surprise[..., :1]), self.gamma) if self.gamma else 1.0
        background = (1 - self.delta) * focus * surprise[..., :1]
        term = jnp.concatenate([background, self.delta * surprise[..., 1:]], -1) * t.one_hot
        total = term.mean(-1) if self.average == "classes" else term.sum(-1)
        focal = ratio(per_example(t.pixels * total), per_example(t.pixels), empty=0.0)
        counts = overlap(t, batch=self.batch)
        wrong = complement(counts, alpha=1 - self.delta, beta=self.delta, smooth=self.smooth)
        parts = [wrong[..., :1], power(wrong[..., 1:], 1 - self.gamma)]
        tversky = jnp.concatenate(parts, -1).mean(-1)
        return of_counted(self.share * focal + (1 - self.share) * tversky, t.pixels)
