"""Deep supervision: one loss at several resolutions (nnU-Net, Isensee et al. 2021)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Array

from jaxseg.losses.loss import Label, Loss, PerExample, Valid, Weights
from jaxseg.types import Prediction


@dataclass(frozen=True, kw_only=True)
class DeepSupervision:
    """A loss on ``logits`` and every ``auxiliary``, with weights 1, ``decay``, ``decay^2``, ...

    The weights are divided by their sum, as in nnU-Net (MONAI does not). ``coarsest=False`` gives
    the last head none, as nnU-Net does; ``decay=1.0`` is the plain mean of UNet++. The label of a
    coarser head is down-sampled by nearest neighbour (`nearest`).
    """

    decay: float = 0.5
    coarsest: bool = True

    def __call__(
        self,
        loss: Loss,
        prediction: Prediction,
        label: Label,
        *,
        valid: Valid = None,
        weights: Weights = None,
    ) -> PerExample:
        """The weighted mean; ``loss(prediction.logits, ...)`` itself where nothing is auxiliary."""
        heads = (prediction.logits, *prediction.auxiliary)
        if not self.coarsest and len(heads) > 1:
            heads = heads[:-1]
        factors = [self.decay**level for level in range(len(heads))]
        total = None
        for factor, logits in zip(factors, heads, strict=True):
            size = logits.shape[1:-1]
            term = loss(
                logits,
                nearest(label, size),
                valid=valid,
                weights=None if weights is None else nearest(weights, size),
            )
            term = term if len(heads) == 1 else factor / sum(factors) * term
            total = term if total is None else total + term
        assert total is not None
        return total


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
