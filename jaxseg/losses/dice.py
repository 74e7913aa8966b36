"""Soft Dice, with plain denominators (Drozdzal 2016) or squared ones (V-Net, Milletari 2016)."""

from dataclasses import dataclass

import jax
from jaxtyping import Array, Float

from jaxseg.errors import require
from jaxseg.losses.loss import Label, Logits, PerExample, Valid, Weights
from jaxseg.losses.ramp import Ramp
from jaxseg.losses.targets import Classes, chosen, of_counted, ratio, targets


@dataclass(frozen=True, kw_only=True)
class Dice:
    """``1 - mean over classes of (2 I + s) / (P + G + s)``, for each example.

    With pixel weights ``u``, softmax ``p`` and one-hot label ``g``: ``I = sum u p g``,
    ``P = sum u p``, ``G = sum u g``; ``squared`` takes ``p^2`` and ``g^2`` in ``P`` and ``G``
    (V-Net). Ignored pixels are missing from all three sums. ``s`` is ``smooth``, as in MONAI and
    nnU-Net (in optax and segmentation-models-pytorch it is half as large). ``classes`` are those of
    the mean, "foreground" all but class 0, or their numbers.

    A class absent from the label costs what is predicted of it: ``1 - s / (P + s)``, which falls to
    0 as ``P`` does. With ``smooth=0`` a class with ``P + G = 0`` costs nothing.

    ``batch`` sums over the whole batch before the ratio (over all devices; under gradient
    accumulation, over each part); every counted row then has the same value.
    """

    weight: float | Ramp = 1.0
    squared: bool = False
    smooth: float = 1e-5
    classes: Classes = "all"
    batch: bool = False

    def __post_init__(self) -> None:
        """Refuse denominators that could vanish."""
        require(self.smooth >= 0, "Dice.smooth", self.smooth, "at least 0")

    def __call__(
        self, logits: Logits, label: Label, *, valid: Valid = None, weights: Weights = None
    ) -> PerExample:
        """The loss of each example, in [0, 1]; 0 where every pixel is ignored."""
        t = targets(logits, label, valid=valid, weights=weights)
        weight = t.pixels[..., None]
        p, g = jax.nn.softmax(t.logits), t.one_hot
        overlap = self._sum(weight * p * g)
        predicted = self._sum(weight * (p * p if self.squared else p))
        actual = self._sum(weight * g)  # g is 0 or 1: its own square
        dice = ratio(2.0 * overlap + self.smooth, predicted + actual + self.smooth, empty=1.0)
        loss = 1.0 - chosen(self, dice).mean(-1)
        return of_counted(loss, t.pixels)

    def _sum(self, x: Float[Array, "b *spatial k"]) -> Float[Array, "bb k"]:
        first = 0 if self.batch else 1
        total = x.sum(axis=tuple(range(first, x.ndim - 1)))
        return total[None] if self.batch else total
