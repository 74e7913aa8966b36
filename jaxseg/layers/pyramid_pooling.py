"""Pyramid pooling module (PPM) of PSPNet.

Zhao et al. 2017, "Pyramid Scene Parsing Network", https://arxiv.org/abs/1612.01105, section 3.2
and figure 3 (c).
"""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.layers.conv_norm import ConvNorm
from jaxseg.layers.norm import Kind
from jaxseg.ops import adaptive_average_pool, resize, spread


class PyramidPooling(nn.Module):
    """A map beside itself pooled to each number of ``bins`` an axis, reduced, and enlarged again.

    A branch is adaptive pooling, a 1x1 ``ConvNorm`` to ``features`` (None: the channels of x
    split across the bins), linear upsampling. Fusing the result is the model's.

    The paper's networks are the defaults. Others differ: ``order`` ``input_last``, and no norm in
    the branch of a single bin (``norm_of_one="none"``: PyTorch cannot train one on a batch of
    one) in the PSPNet of segmentation_models_pytorch; ``align_corners=False`` in UPerNet's, whose
    released code also enlarges before the 1x1 (``reduced="enlarged"``): many times the MACs.
    Any spatial rank. Of equal maxima in a bin (``pool="max"``) each gets its share of the gradient;
    PyTorch gives all of it to the first.
    """

    features: int | None = None
    bins: tuple[int, ...] = (1, 2, 3, 6)
    pool: Literal["mean", "max"] = "mean"
    align_corners: bool = True
    order: Literal["input_first", "input_last"] = "input_first"
    reduced: Literal["pooled", "enlarged"] = "pooled"
    norm: Kind = "batch"
    norm_of_one: Kind | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], *, train: bool) -> Float[Array, "b *s k"]:
        """The size stays; the channels are those of x and of the branches."""
        branches = [self._branch(x, bins, train) for bins in self.bins]
        maps = [x, *branches] if self.order == "input_first" else [*branches, x]
        return jnp.concatenate(maps, axis=-1)

    def _branch(self, x: Array, bins: int, train: bool) -> Float[Array, "b ..."]:
        rank = x.ndim - 2
        # In float32: the few pixels cost nothing, a norm of them asks for digits that bfloat16
        # has not, and the gradient of each is a sum over many.
        wide = jnp.promote_types(x.dtype, jnp.float32)
        if self.pool == "mean":
            pooled = adaptive_average_pool(x.astype(wide), (bins,) * rank)
        else:
            pooled = _adaptive_max_pool(x, (bins,) * rank).astype(wide)
        conv = ConvNorm(
            self._features(x.shape[-1]),
            kernel_size=1,
            norm=self.norm_of_one or self.norm if bins == 1 else self.norm,
            name=f"bins{bins}",
        )
        if self.reduced == "enlarged":
            return conv(self._enlarged(pooled, x), train=train)
        return self._enlarged(conv(pooled, train=train), x)

    def _enlarged(self, y: Array, x: Array) -> Float[Array, "b ..."]:
        """The bins ``y`` at the size and in the dtype of x."""
        size = x.shape[1:-1]
        if y.shape[1:-1] == (1,) * len(size):
            return spread(y, (*x.shape[:-1], y.shape[-1]), x.dtype)
        return resize(y, size, "linear", align_corners=self.align_corners).astype(x.dtype)

    def _features(self, channels: int) -> int:
        features = channels // len(self.bins) if self.features is None else self.features
        if features < 1:
            raise UserError(
                f"PyramidPooling {self.name}: {channels} channels are too few to be split "
                f"across bins={self.bins}; set features"
            )
        return features


def _adaptive_max_pool(x: Array, size: tuple[int, ...]) -> Float[Array, "b ..."]:
    """The largest of each bin; the bins are those of `adaptive_average_pool`."""
    for axis, (n, bins) in enumerate(zip(x.shape[1:-1], size, strict=True), start=1):
        edges = [(i * n // bins, ((i + 1) * n + bins - 1) // bins) for i in range(bins)]
        pixels = [jax.lax.slice_in_dim(x, *edge, axis=axis) for edge in edges]
        x = jnp.concatenate([p.max(axis, keepdims=True) for p in pixels], axis)
    return x
