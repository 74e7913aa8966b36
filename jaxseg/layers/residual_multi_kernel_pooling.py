"""Residual multi-kernel pooling (RMP), the second half of CE-Net's context extractor.

Gu et al. 2019, "CE-Net: Context Encoder Network for 2D Medical Image Segmentation",
https://arxiv.org/abs/1903.02740, section II-C and figure 4.
"""

from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.layers.conv import Conv
from jaxseg.ops import max_pool, resize


class ResidualMultiKernelPooling(nn.Module):
    """``[pooled_1, ..., pooled_n, x]``: x seen through four windows, each reduced to one channel.

    Max pooling of window = stride, 1x1 convolution with bias, linear upsampling
    (``align_corners=False``) to the size of x. The authors' code has one 1x1 convolution for all
    windows (``weights="shared"``, 513 parameters for 512 channels); figure 4 draws one each
    (``separate``). Any spatial rank. A map smaller than the largest window: UserError.

    Rows sharded over devices: right where the device has 4 (16 over 4, 32 over 8, also 24 over 4);
    of 8 rows over 4, XLA's partitioner made an invalid program and said so.
    """

    windows: tuple[int, ...] = (2, 3, 5, 6)
    weights: Literal["shared", "separate"] = "shared"

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"]) -> Float[Array, "b *s d"]:
        """The size stays; the channels grow by one a window."""
        size = x.shape[1:-1]
        if any(isinstance(n, int) and n < max(self.windows) for n in size):
            raise UserError(
                f"ResidualMultiKernelPooling {self.name}: windows={self.windows} on a map of "
                f"{size}; it takes at least {max(self.windows)} pixels an axis, or smaller windows"
            )
        if self.weights == "shared":
            conv = Conv(1, kernel_size=1, name="conv")
            convs = [conv] * len(self.windows)
        else:
            convs = [Conv(1, kernel_size=1, name=f"conv{window}") for window in self.windows]
        pooled = [
            resize(conv(max_pool(x, window)), size, "linear")
            for conv, window in zip(convs, self.windows, strict=True)
        ]
        return jnp.concatenate([*pooled, x], axis=-1)
