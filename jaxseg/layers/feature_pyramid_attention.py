"""Feature pyramid attention (FPA), the top of PAN.

Li et al. 2018, "Pyramid Attention Network for Semantic Segmentation",
https://arxiv.org/abs/1805.10180, section 3.2 and figure 3.
"""

import functools
from typing import Literal

import flax.linen as nn
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.layers.conv import Conv
from jaxseg.layers.norm import Kind, Norm
from jaxseg.ops import average_pool, max_pool, mean_over_space, resize, spread


class FeaturePyramidAttention(nn.Module):
    """``main * attention + global``: a 1x1 branch, weighted per pixel by a U-shaped pyramid.

    The pyramid halves three times, with kernels of 7, 5 and 3 on the way down and again at each
    level before the levels are upsampled and summed, coarsest first; the global branch is the mean
    of x through a 1x1. Every convolution is followed by norm and ReLU.

    The paper leaves the pyramid's ``width`` and its halving open (its ablation tries both kinds of
    pooling). As in segmentation_models_pytorch they are one channel, which weights all features
    of a pixel alike, and ``max`` pooling before the convolution; that code also has a bias before
    each norm (``use_bias``). Any spatial rank; fewer than 8 pixels an axis, or a ``width`` that is
    neither 1 nor ``features``: UserError.
    """

    features: int
    width: int = 1
    pool: Literal["max", "average"] = "max"
    align_corners: bool = True
    norm: Kind = "batch"
    use_bias: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], *, train: bool) -> Float[Array, "b *s k"]:
        """The size stays."""
        self._check(x)
        block = functools.partial(self._block, train=train)
        mean = block(mean_over_space(x), self.features, 1, "global")
        main = block(x, self.features, 1, "main")
        pool = max_pool if self.pool == "max" else average_pool
        down1 = block(pool(x, 2), self.width, 7, "down1")
        down2 = block(pool(down1, 2), self.width, 5, "down2")
        down3 = block(pool(down2, 2), self.width, 3, "down3")
        sum3 = block(down3, self.width, 3, "level3")
        sum2 = block(down2, self.width, 5, "level2") + self._like(sum3, down2)
        sum1 = block(down1, self.width, 7, "level1") + self._like(sum2, down1)
        weight = spread(self._like(sum1, x), main.shape, main.dtype)
        return main * weight + spread(mean, main.shape, main.dtype)

    def _like(self, x: Array, y: Array) -> Float[Array, "b ..."]:
        return resize(x, y.shape[1:-1], "linear", align_corners=self.align_corners)

    def _block(
        self, x: Array, features: int, kernel_size: int, role: str, train: bool
    ) -> Float[Array, "b ..."]:
        x = Conv(
            features,
            kernel_size=kernel_size,
            use_bias=self.use_bias or self.norm == "none",
            name=f"{role}_conv",
        )(x)
        norm = Norm(self.norm, activation="relu", name=f"{role}_norm")
        return norm(x, train=train)

    def _check(self, x: Array) -> None:
        if any(isinstance(n, int) and n < 8 for n in x.shape[1:-1]):
            raise UserError(
                f"FeaturePyramidAttention {self.name}: a map of {x.shape[1:-1]} cannot be halved "
                "three times; it takes at least 8 pixels an axis (larger images, a smaller stride)"
            )
        if self.width not in (1, self.features):
            raise UserError(
                f"FeaturePyramidAttention {self.name}: width={self.width} does not fit "
                f"features={self.features}; 1 and {self.features} do"
            )
