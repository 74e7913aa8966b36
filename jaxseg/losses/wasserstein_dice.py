"""Generalised Wasserstein Dice: mistakes between classes cost differently (Fidon et al. 2017)."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.errors import UserError, require
from jaxseg.losses.loss import Label, Logits, PerExample, Valid, Weights
from jaxseg.losses.ramp import Ramp
from jaxseg.losses.targets import of_counted, ratio, targets


@dataclass(frozen=True, kw_only=True)
class WassersteinDice:
    """``1 - 2 T / (2 T + sum_i W_i)``, ``W_i = sum_c costs[y_i][c] p_{i,c}``, equation 9.

    ``T`` is the sum of ``1 - W_i`` over the pixels of the foreground. ``costs`` are those of taking
    a class (row: the label) for another, divided by the largest; None: 1 for every mistake. MONAI's
    default mode (its "GDL" mode weighs classes by their size). ``smooth`` is MONAI's, and ``batch``
    counts over the batch before the ratio. An image of background alone costs nearly 1 however
    little is predicted: the paper's own.
    """

    weight: float | Ramp = 1.0
    costs: tuple[tuple[float, ...], ...] | None = None
    smooth: float = 1e-5
    batch: bool = False

    def __post_init__(self) -> None:
        """Refuse what is no table of costs."""
        require(self.smooth >= 0, "WassersteinDice.smooth", self.smooth, "at least 0")
        rows = self.costs or ((0.0, 1.0), (1.0, 0.0))
        square = all(len(row) == len(rows) for row in rows)
        right = square and all(rows[i][i] == 0 for i in range(len(rows)))
        right = right and min(map(min, rows)) >= 0 and max(map(max, rows)) > 0
        require(
            right,
            "WassersteinDice.costs",
            self.costs,
            "square and at least 0, with a diagonal of 0",
        )

    def __call__(
        self, logits: Logits, label: Label, *, valid: Valid = None, weights: Weights = None
    ) -> PerExample:
        """The loss of each example, in [0, 1]; 0 where every pixel is ignored."""
        t = targets(logits, label, valid=valid, weights=weights)
        k = t.logits.shape[-1]
        if self.costs is not None and len(self.costs) != k:
            raise UserError(
                f"WassersteinDice.costs has {len(self.costs)} rows, but the model {k} classes"
            )
        p, g = jax.nn.softmax(t.logits), t.one_hot
        if self.costs is None:
            cost = (g.sum(-1, keepdims=True) * (1.0 - g) * p).sum(-1)
        else:
            table = np.asarray(self.costs, np.float32) / np.max(self.costs)
            cost = (g * jnp.matmul(p, table.T, precision="highest")).sum(-1)
        axes = tuple(range(0 if self.batch else 1, t.pixels.ndim))
        right = (t.pixels * (g[..., 1:].sum(-1) - cost * (g[..., 0] == 0))).sum(axes)
        wrong = (t.pixels * cost).sum(axes)
        loss = ratio(wrong, 2.0 * right + wrong + self.smooth, empty=0.0)
        return of_counted(jnp.atleast_1d(loss), t.pixels)
