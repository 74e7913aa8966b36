"""Inception U-Net, which identifies nuclei in microscopy cell images.

Punn & Agarwal 2020, https://doi.org/10.1145/3376922, figures 1 to 3; the network of the authors'
code (``iunet``).

Differs from the paper: logits, where it ends in a sigmoid of one class. In the authors' code the
1x1 convolutions of the hybrid pooling are not trained (they sit in a ``Lambda``) and its Fourier
transform runs over width and channels; both are taken for mistakes and not repeated.
"""

import math
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.errors import UserError, require
from jaxseg.layers import Activation, Conv, ConvNorm, Head, Kind, TransposedConv
from jaxseg.ops import crop, max_pool, pad_to_multiple
from jaxseg.ops.fit import Sizes
from jaxseg.types import Paper, Prediction


class InceptionUNet(nn.Module):
    """Inception blocks, hybrid pooling between them; the image is normalised by learnt shares.

    ``widths`` are the levels', finest first. The coarsest block joins the image itself too, pooled
    to its size. ``dropouts`` are those after the blocks of each level but the coarsest, both ways.
    2-D and 3-D by the rank of the image, of any size: padded with zeros at the end of each axis
    to a multiple of ``2 ** (levels - 1)``, and cropped. UserError where dropouts are not as many.
    """

    paper: ClassVar[Paper] = Paper(
        "Inception U-Net Architecture for Semantic Segmentation to Identify Nuclei in Microscopy "
        "Cell Images",
        "Punn",
        2020,
        "https://doi.org/10.1145/3376922",
    )

    num_classes: int
    widths: tuple[int, ...] = (16, 32, 64, 128, 256)
    dropouts: tuple[float, ...] = (0.1, 0.1, 0.2, 0.2)
    dtype: str = "float32"

    @property
    def stride(self) -> None:
        """None: moments and frequencies are those of the whole image."""
        return None

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        size, skips, last = image.shape[1:-1], [], len(self.widths) - 1
        if len(self.dropouts) != last:
            raise UserError(
                f"InceptionUNet: dropouts={self.dropouts} are {len(self.dropouts)}; widths="
                f"{self.widths} need {last}, one for each level but the coarsest"
            )
        fine = all(0 <= rate < 1 for rate in self.dropouts)
        require(fine, "InceptionUNet.dropouts", self.dropouts, "in [0, 1) each")
        image = SwitchNorm(name="image_norm")(jnp.asarray(image, self.dtype), train=train)
        x = image = pad_to_multiple(image, 2**last)
        for level in range(last):
            x = self._level(x, level, f"level{level}", train)
            skips.append(x)
            x = HybridPool(name=f"level{level}_pool")(x)
        shrunk = HybridPool(2**last, name="image_pool")(image)
        block = InceptionBlock(self.widths[last], name=f"level{last}_block")
        x = block(x, shrunk, train=train)
        for level in reversed(range(last)):
            x = TransposedConv(self.widths[level], name=f"level{level}_up")(x)
            x = jnp.concatenate([x, skips[level]], axis=-1)
            x = self._level(x, level, f"level{level}_up", train)
        return Prediction(crop(Head(self.num_classes, name="head")(x), size))

    def _level(self, x: Array, level: int, place: str, train: bool) -> Float[Array, "b *s k"]:
        x = InceptionBlock(self.widths[level], name=f"{place}_block")(x, train=train)
        drop = nn.Dropout(self.dropouts[level], deterministic=not train, name=f"{place}_dropout")
        return drop(x)


class SwitchNorm(nn.Module):
    """``(x - mean) / sqrt(var + 1e-3) * scale + bias``, moments mixed of three kinds.

    Those of each channel of an image, of an image, and of each channel of the batch (running ones
    in evaluation), each mixed by a softmax of three numbers of its own. Differentiable Learning-to-
    Normalize via Switchable Normalization, Luo et al. 2019, https://arxiv.org/abs/1806.10779.
    """

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], *, train: bool) -> Float[Array, "b *s c"]:
        """The normalised map."""
        wide, channels = x.astype(jnp.float32), (x.shape[-1],)
        space = tuple(range(1, x.ndim - 1))
        mean, var = wide.mean(space), wide.var(space)  # [b c]
        whole_mean = mean.mean(-1, keepdims=True)
        whole_var = (var + jnp.square(mean - whole_mean)).mean(-1, keepdims=True)
        batch_mean = mean.mean(0, keepdims=True)
        batch_var = (var + jnp.square(mean - batch_mean)).mean(0, keepdims=True)
        batch_mean = self._running("mean", batch_mean, train)
        batch_var = self._running("var", batch_var, train)
        mean = self._mixed("mean_share", (mean, whole_mean, batch_mean))
        var = self._mixed("var_share", (var, whole_var, batch_var))
        scale = self.param("scale", nn.initializers.ones, channels, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, channels, jnp.float32)
        factor = jnp.asarray(scale)[None] * jax.lax.rsqrt(var + 1e-3)
        shift = jnp.asarray(bias)[None] - mean * factor
        factor, shift = (jax.lax.expand_dims(a, space) for a in (factor, shift))
        return (wide * factor + shift).astype(x.dtype)

    def _mixed(self, name: str, moments: tuple[Array, ...]) -> Float[Array, "b c"]:
        shares = self.param(name, nn.initializers.ones, (len(moments),), jnp.float32)
        shape = moments[0].shape
        parts = jnp.stack([jnp.broadcast_to(moment, shape) for moment in moments])
        return (nn.softmax(jnp.asarray(shares))[:, None, None] * parts).sum(0)

    def _running(self, name: str, now: Array, train: bool) -> Float[Array, "1 c"]:
        start = jnp.zeros if name == "mean" else jnp.ones
        kept = self.variable("batch_stats", name, start, now.shape[1:], jnp.float32)
        if not train:
            return jnp.asarray(kept.value)[None]
        if not self.is_initializing():
            kept.value = 0.9 * kept.value + 0.1 * now[0]
        return now


class InceptionBlock(nn.Module):
    """Convolutions of several sizes and a hybrid pooling beside each other, joined by a 1x1.

    Each branch but the pooling has ``features`` channels. ``residual`` adds a 1x1 convolution of x
    (and norm) to the result, as the authors' second network does; nothing is activated after that.
    """

    features: int
    kernel_sizes: tuple[int, ...] = (1, 3, 5)
    residual: bool = False
    norm: Kind = "none"

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b *s c"],
        beside: Float[Array, "b *s d"] | None = None,
        *,
        train: bool,
    ) -> Float[Array, "b *s k"]:
        """The size stays; ``beside`` is joined as another branch."""
        branches = [
            self._conv(size, f"branch_{size}x{size}")(x, train=train) for size in self.kernel_sizes
        ]
        pool = HybridPool(stride=1, name="branch_pool")
        others = [] if beside is None else [beside]
        y = jnp.concatenate([*branches, pool(x), *others], axis=-1)
        y = self._conv(1, "join")(y, train=train)
        if not self.residual:
            return y
        return y + self._conv(1, "shortcut", "none")(x, train=train)

    def _conv(self, kernel_size: int, name: str, activation: Activation = "relu") -> ConvNorm:
        return ConvNorm(
            self.features, kernel_size, norm=self.norm, activation=activation, name=name
        )


class HybridPool(nn.Module):
    """``conv1x1([max_pool(x), relu(spectral_pool(x))])`` to the channels of x (figure 3).

    At stride 1 the maximum is that of 2 pixels an axis (of one at the end), and the spectral
    pooling is the identity.
    """

    stride: int = 2

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"]) -> Float[Array, "b *t c"]:
        """Each axis is a ``stride``-th as long; UserError where one is not a multiple of it."""
        step = self.stride
        if any(isinstance(n, int) and n % step for n in x.shape[1:-1]):
            fitting = tuple(step * math.ceil(n / step) for n in x.shape[1:-1])
            raise UserError(
                f"HybridPool {self.name}: {x.shape[1:-1]} is no multiple of the stride {step}; "
                f"pad to {fitting}"
            )
        if step == 1:
            edges = [(0, 0, 0), *[(0, 1, 0)] * (x.ndim - 2), (0, 0, 0)]
            largest = max_pool(jax.lax.pad(x, jnp.array(-jnp.inf, x.dtype), edges), 2, stride=1)
        else:
            largest = _largest(x, step)
        smooth = nn.relu(spectral_pool(x, tuple(n // step for n in x.shape[1:-1])))
        y = jnp.concatenate([largest, smooth], axis=-1)
        return Conv(x.shape[-1], 1, name="conv")(y)


def _largest(x: Array, step: int) -> Array:
    """The maximum of each block, in turns: a window of 16 is costly (16 ** rank slices on CPUs)."""
    while step > 1:
        factor = next(n for n in range(2, step + 1) if step % n == 0)
        x, step = max_pool(x, factor), step // factor
    return x


def spectral_pool(x: Float[Array, "b *s c"], size: Sizes) -> Float[Array, "b *t c"]:
    """The ``size`` lowest frequencies of each axis, transformed back: keeps the mean.

    Spectral Representations for Convolutional Neural Networks, Rippel et al. 2015,
    https://arxiv.org/abs/1506.03767, algorithm 1 (unitary transforms there, so a constant grows by
    the root of the shrinking; here it stays). Cutting a spectrum and going back is one real matrix
    for each axis: a matmul, in the dtype of x.
    """
    for axis, (n, m) in enumerate(zip(x.shape[1:-1], size, strict=True), start=1):
        if n == m:
            continue
        if isinstance(n, int) and m > n:
            raise UserError(f"spectral_pool: size {m} is larger than the axis of {n} it pools")
        weights = _low_pass(n, m).astype(x.dtype)
        y = jax.lax.dot_general(x, weights, (((axis,), (0,)), ((), ())), precision="highest")
        x = jnp.moveaxis(y, -1, axis)
    return x


def _low_pass(n: Any, m: Any) -> Float[Array, "n m"]:
    """Cosines up to frequency m / 2, at the distances of the m new pixels from the n old ones."""
    # Distances in parts of a turn, a turn being m n parts: integers, so that multiples of them
    # lose no digits. The sum of the cosines is Dirichlet's kernel.
    old, new, turn = jnp.arange(n)[:, None], jnp.arange(m)[None], m * n
    parts = new * n - old * m
    parts = parts - jnp.where(parts > turn // 2, turn, 0) + jnp.where(parts < -turn // 2, turn, 0)
    count = 2 * ((m - 1) // 2) + 1
    # Of count = m or m - 1 times the parts, m times are taken less whole turns: the product itself
    # would overflow beyond 2048 pixels.
    rest = (parts + n) % (2 * n) - n
    above = jnp.sin(jnp.pi * (rest / n - (m - count) * (parts / turn)))
    below = jnp.sin(jnp.pi * jnp.where(parts == 0, 1, parts) / turn)
    weights = jnp.where(parts == 0, count * 1.0, above / below)
    # The frequency m / 2 is its own mirror image: half of each of the two old ones.
    last = jnp.cos(jnp.pi * (new % 2)) * jnp.cos(jnp.pi * (m * old % (2 * n)) / n)
    return (weights + (m - count) * last) / n
