"""Fully Convolutional Networks for Semantic Segmentation, as released: 32s, 16s, 8s, AlexNet.

Long, Shelhamer, Darrell 2015, https://arxiv.org/abs/1411.4038;
Shelhamer, Long, Darrell 2017, https://arxiv.org/abs/1605.06211

The geometry is that of the released Caffe networks: the image is padded by 100 pixels, poolings
round up, and maps are cropped by fixed offsets. Layers have the names they have there.

Differs from the released networks: their transposed convolutions, which are bilinear and frozen,
are no parameters here but interpolations; ``upsample="learnt"`` has them as full kernels, bilinear
at first, as in pytorch-fcn, which counts them.
"""

from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.encoders import Standardize
from jaxseg.encoders.standardize import standardized
from jaxseg.errors import require
from jaxseg.layers import Conv, Head, TransposedConv
from jaxseg.ops import local_response, max_pool, resample
from jaxseg.types import Names, Paper, Prediction

VGG16 = (("conv1_1", "conv1_2"), ("conv2_1", "conv2_2")) + tuple(
    tuple(f"conv{level}_{i}" for i in (1, 2, 3)) for level in (3, 4, 5)
)
"""The convolutions of each level."""

FEATURES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
"""The numbers that torchvision gives them."""

PAD = 100

Form = Literal["32s", "16s", "8s", "8s_at_once"]


class FCN2015(nn.Module):
    """VGG16 or CaffeNet as a convolution, scores at up to three strides, their upsampled sum.

    ``form`` is the released network: ``32s`` scores the last map alone, ``16s`` adds scores of
    pool4, ``8s`` also of pool3. Each is to start from the one before (``InitFrom(fresh=...)``).
    ``8s_at_once`` starts from the ImageNet weights: it scores 0.01 pool4 and 0.0001 pool3. Scores
    are zero at first. ``trunk="caffenet"`` is FCN-AlexNet, which was released as ``32s``.

    ``width`` is that of VGG16's first level, to which all others of the trunk are in proportion;
    ``hidden`` that of fc6 and fc7. ``dropout``, after these, needs the rng ``dropout``.
    """

    paper: ClassVar[Paper] = Paper(
        "Fully Convolutional Networks for Semantic Segmentation",
        "Long",
        2015,
        "https://arxiv.org/abs/1411.4038",
    )

    names: ClassVar[Names] = {
        "caffe": ((r"(upscore\w*)", r"\1~"), (r"(conv\d(?:_\d)?|fc\d|score_\w+)", r"\1!")),
        "torchvision": tuple(
            (rf"features\.{number}", f"{name}!")
            for number, name in zip(FEATURES, sum(VGG16, start=()), strict=True)
        ),
    }

    num_classes: int
    form: Form = "8s"
    trunk: Literal["vgg16", "caffenet"] = "vgg16"
    upsample: Literal["fixed", "learnt"] = "fixed"
    width: int = 64
    hidden: int = 4096
    dropout: float = 0.5
    standardize: Standardize | None = None
    dtype: str = "float32"

    @property
    def stride(self) -> None:
        """None: the padded rows do not fall on those of the image."""

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b h w c"], *, train: bool) -> Prediction:
        """Logits of the image's size. UserError where the trunk has no such form."""
        size, caffenet = image.shape[1:-1], self.trunk == "caffenet"
        fits = not caffenet or self.form == "32s"
        require(fits, "FCN2015.form", self.form, "'32s' with trunk='caffenet'")
        x = standardized(jnp.asarray(image, self.dtype), self.standardize)
        pools = self._caffenet(x) if caffenet else self._vgg16(x)
        x = pools[-1]
        for name, kernel_size in (("fc6", 6 if caffenet else 7), ("fc7", 1)):
            x = self._conv(x, name, self.hidden, kernel_size, padding=0)
            drop = nn.Dropout(self.dropout, deterministic=not train, name=f"{name}_dropout")
            x = drop(x)
        x = self._score(x, "score_fr")
        if self.form == "32s":
            kernel_size, offset = (63, 18) if caffenet else (64, 19)
            return Prediction(self._up(x, "upscore", 32, size, offset, kernel_size))
        small, smaller = (0.01, 0.0001) if self.form == "8s_at_once" else (1.0, 1.0)
        x = self._fused(x, "upscore2", small * pools[3], "score_pool4", offset=5)
        if self.form == "16s":
            return Prediction(self._up(x, "upscore16", 16, size, offset=27))
        x = self._fused(x, "upscore_pool4", smaller * pools[2], "score_pool3", offset=9)
        return Prediction(self._up(x, "upscore8", 8, size, offset=31))

    def _vgg16(self, x: Array) -> list[Float[Array, "b ..."]]:
        """The five pooled maps."""
        pools = []
        for level, convs in enumerate(VGG16):
            for name in convs:
                padding = PAD if name == "conv1_1" else 1
                x = self._conv(x, name, self.width * min(2**level, 8), 3, padding=padding)
            x = max_pool(x, ceil_mode=True)
            pools.append(x)
        return pools

    def _caffenet(self, x: Array) -> list[Float[Array, "b ..."]]:
        """The last pooled map alone."""
        x = self._conv(x, "conv1", self.width * 3 // 2, 11, stride=4, padding=PAD)
        x = local_response(max_pool(x, 3, stride=2, ceil_mode=True))
        x = self._conv(x, "conv2", self.width * 4, 5, groups=2)
        x = local_response(max_pool(x, 3, stride=2, ceil_mode=True))
        x = self._conv(x, "conv3", self.width * 6)
        x = self._conv(x, "conv4", self.width * 6, groups=2)
        x = self._conv(x, "conv5", self.width * 4, groups=2)
        return [max_pool(x, 3, stride=2, ceil_mode=True)]

    def _conv(
        self, x: Array, name: str, width: int, kernel_size: int = 3, **how: Any
    ) -> Float[Array, "b h w c"]:
        return jax.nn.relu(Conv(width, kernel_size, name=name, **how)(x))

    def _score(self, x: Array, name: str) -> Float[Array, "b h w k"]:
        return Head(self.num_classes, kernel_init="zeros", name=name)(x)

    def _fused(
        self, x: Array, up: str, skip: Array, score: str, *, offset: int
    ) -> Float[Array, "b h w k"]:
        """Scores at twice the resolution, and those of a skip from its pixel ``offset`` on."""
        size = tuple(2 * n + 2 for n in x.shape[1:-1])
        return self._up(x, up, 2, size) + _cut(self._score(skip, score), offset, size)

    def _up(
        self,
        x: Array,
        name: str,
        factor: int,
        size: tuple,
        offset: int = 0,
        kernel_size: int | None = None,
    ) -> Float[Array, "b h w k"]:
        """Scores ``factor`` times as large: ``size`` of these pixels from number ``offset`` on."""
        kernel_size = kernel_size or 2 * factor
        if self.upsample == "fixed":
            return interpolated(x, factor, kernel_size, offset, size)
        learnt = TransposedConv(
            self.num_classes,
            stride=factor,
            kernel_size=kernel_size,
            use_bias=False,
            kernel_init="bilinear",
            name=name,
        )
        return _cut(learnt(x), offset, size)


def _cut(x: Array, offset: int, size: tuple) -> Float[Array, "b h w k"]:
    stop = (offset + n for n in size)
    return jax.lax.slice(x, (0, offset, offset, 0), (x.shape[0], *stop, x.shape[-1]))


def interpolated(
    x: Float[Array, "b h w k"], factor: int, kernel_size: int, offset: int, size: tuple
) -> Float[Array, "b t u k"]:
    """What a bilinear transposed convolution gives, cut as ``_up`` says; zeros lie around x."""
    for axis, (n, m) in enumerate(zip(x.shape[1:-1], size, strict=True), start=1):
        xp = np if isinstance(n, int) and isinstance(m, int) else jnp
        position = (xp.arange(m) + (offset - (kernel_size - 1) / 2)) / factor
        before = xp.floor(position).astype("int32")
        index = xp.stack([before, before + 1], 1)
        weight = xp.stack([before + 1 - position, position - before], 1)
        weight = xp.where((index >= 0) & (index < n), weight, 0).astype("float32")
        x = resample(x, axis, xp.clip(index, 0, n - 1), weight)
    return x
