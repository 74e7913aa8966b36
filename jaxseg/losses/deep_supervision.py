"""Deep supervision: one loss at several resolutions (nnU-Net, Isensee et al. 2021)."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Array

from jaxseg.errors import UserError, require
from jaxseg.losses.loss import Label, Loss, PerExample, Valid, Weights
from jaxseg.types import Prediction


@dataclass(frozen=True, kw_only=True)
class DeepSupervision:
    """The sum of a loss over ``logits`` and every ``auxiliary``, each times its weight.

    ``weights`` has one number a head, finest first; None: 1, 1/2, 1/4, ... A head whose weight is 0
    is not computed: nnU-Net gives none to the coarsest, so with four heads ``(1, 1/2, 1/4, 0)``.
    UNet++ takes the plain mean, ``(1, 1, 1, 1)``. ``normalise`` divides the weights by their sum
    (nnU-Net); MONAI does not. The label of a coarser head is down-sampled by nearest neighbour
    (`nearest`).
    """

    weights: tuple[float, ...] | None = None
    normalise: bool = True

    def __post_init__(self) -> None:
        """Refuse weights that leave nothing to train on, or train against the loss."""
        given = (1.0,) if self.weights is None else self.weights
        right = all(w >= 0 for w in given) and 0 < sum(given) < math.inf
        what = "numbers of at least 0, one of them above 0"
        require(right, "DeepSupervision.weights", self.weights, what)

    def __call__(
        self,
        loss: Loss,
        prediction: Prediction,
        label: Label,
        *,
        valid: Valid = None,
        weights: Weights = None,
    ) -> PerExample:
        """The weighted sum; where nothing is auxiliary, the loss of the logits times its weight.

        Raises UserError where the network has another number of heads than there are weights.
        """
        heads = (prediction.logits, *prediction.auxiliary)
        total = None
        for factor, logits in zip(self._factors(len(heads)), heads, strict=True):
            if factor == 0:
                continue
            size = logits.shape[1:-1]
            term = loss(
                logits,
                nearest(label, size),
                valid=valid,
                weights=None if weights is None else nearest(weights, size),
            )
            term = term if factor == 1 else factor * term
            total = term if total is None else total + term
        assert total is not None
        return total

    def _factors(self, heads: int) -> list[float]:
        weights = self.weights
        if weights is None:
            weights = tuple(0.5**level for level in range(heads))
        if len(weights) != heads:
            raise UserError(
                f"DeepSupervision.weights has {len(weights)} numbers, but the network {heads} "
                f"heads, the logits and {heads - 1} auxiliary; give one number a head, finest first"
            )
        return [weight / sum(weights) if self.normalise else weight for weight in weights]


def nearest(x: Array | np.ndarray, size: tuple[int, ...]) -> Array | np.ndarray:
    """``[b *spatial] -> [b *size]``: out pixel ``i`` takes ``floor((i + 1/2) in / out)``.

    The pixel under the out pixel's centre: PyTorch's ``nearest-exact``, as nnU-Net and MONAI use.
    Of a pair, the second.
    """
    if len(size) != x.ndim - 1:
        raise ValueError(f"a label of shape {x.shape} has no pixels for logits of size {size}")
    for axis, (have, want) in enumerate(zip(x.shape[1:], size, strict=True), start=1):
        if have == want:
            continue
        before = (slice(None),) * axis
        if have % want == 0:  # a strided slice stays on its device, where a gather may not
            stride = have // want
            x = x[(*before, slice(stride // 2, None, stride))]
        else:
            x = x[(*before, (2 * np.arange(want) + 1) * have // (2 * want))]
    return x
