"""MONAI's DynUNet: Optimized U-Net for Brain Tumor Segmentation.

Futrega, Milesi, Marcinkiewicz, Ribalta 2021, https://arxiv.org/abs/2110.03352;
``monai.networks.nets.DynUNet``.

Differs from nnU-Net's (`DynUNet`) as MONAI does: no biases but the heads', pairs of convolutions at
every level, one activation for both, on the way up the kernels of the level below, and strided
projections as shortcuts. Coarser heads keep the size of their level, where MONAI enlarges them in
training; an image may have any size.
"""

import functools
import math
from collections.abc import Callable
from typing import ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.errors import require
from jaxseg.layers import ADN, Conv, Head, Size, TransposedConv
from jaxseg.layers.adn import activated_as, odd
from jaxseg.models.dynunet import AFTER, check_levels
from jaxseg.ops import crop, pad_to_multiple, per_axis, prelu, product, resize
from jaxseg.types import Names, Paper, Prediction


class MonaiDynUNet(nn.Module):
    """Strided pairs of convolutions down, transposed ones and a pair up, joined [upsampled, skip].

    A tuple has an entry a level, finest first. Level i is reached by a stride of ``strides[i]``
    and has kernels of ``kernels[i]``, of one number or one for each axis; on the way up it has
    ``kernels[i + 1]``. ``block`` is that of the way down. The next ``auxiliary`` levels below the
    finest have a head too, whose logits have the size of the level (that of the image, where the
    image is padded). ``after`` is copied behind each convolution; a trained slope is shared by the
    two of a pair. 1-D to 3-D by the rank of the image, of any size: padded with zeros at the end of
    each axis to a multiple of ``stride``, and cropped.
    """

    paper: ClassVar[Paper] = Paper(
        "Optimized U-Net for Brain Tumor Segmentation",
        "Futrega",
        2021,
        "https://arxiv.org/abs/2110.03352",
    )

    num_classes: int
    widths: tuple[int, ...] = (32, 64, 128, 256, 320, 320)
    strides: tuple[Size, ...] = (1, 2, 2, 2, 2, 2)
    kernels: tuple[Size, ...] = (3, 3, 3, 3, 3, 3)
    block: Literal["plain", "residual"] = "plain"
    auxiliary: int = 0
    after: ADN = AFTER
    up_bias: bool = False
    dtype: str = "float32"

    @property
    def stride(self) -> Size:
        """Sizes that are multiples of this need no padding."""
        return product(self.strides)

    @property
    def names(self) -> Names:
        """MONAI's places; all but the heads are there twice, level in level in ``skip_layers``."""
        last, rows = len(self.widths) - 1, [(r"output_block\.conv\.conv", "level0_head!")]
        for level in range(last + 1):
            nest = "skip_layers" + r"\.next_layer" * level
            down = rf"downsamples\.{level - 1}" if level else "input_block"
            down = "bottleneck" if level == last else down
            ours = f"level{level}_down"
            rows += pair_names(down, ours)
            rows += _again(pair_names(nest if level == last else rf"{nest}\.downsample", ours))
            if level == last:
                continue
            for theirs, again in (
                (rf"upsamples\.{last - 1 - level}", False),
                (rf"{nest}\.upsample", True),
            ):
                up = [(rf"{theirs}\.transp_conv\.conv", f"level{level}_enlarge~")]
                up += pair_names(rf"{theirs}\.conv_block", f"level{level}_up")
                rows += _again(up) if again else up
            if 0 < level <= self.auxiliary:
                ours = f"level{level}_head!"
                rows.append((rf"deep_supervision_heads\.{level - 1}\.conv\.conv", ours))
                rows += _again([(rf"{nest}\.super_head\.conv\.conv", ours)])
        return {"monai": tuple(rows)}

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        self._check()
        x = pad_to_multiple(jnp.asarray(image, self.dtype), self.stride)
        size, padded, skips = image.shape[1:-1], x.shape[1:-1], []
        for level, width in enumerate(self.widths):
            fields = {"residual": self.block == "residual", "after": self.after}
            stages = self.kernels[level], self.strides[level]
            x = Pair(width, *stages, **fields, name=f"level{level}_down")(x, train=train)
            skips.append(x)
        x, logits = skips.pop(), []
        for level in reversed(range(len(skips))):
            x = self._up(x, skips[level], level, train)
            if level > self.auxiliary:
                continue
            scores = Head(self.num_classes, name=f"level{level}_head")(x)
            scores = self._dropped(scores, f"level{level}_head_dropout", train)
            if size != padded:  # each head covers the padding too, which is cropped to the pixel
                scores = crop(resize(scores, padded, "nearest") if level else scores, size)
            logits.append(scores)
        *coarser, finest = logits
        return Prediction(finest, tuple(reversed(coarser)))

    def _up(self, x: Array, skip: Array, level: int, train: bool) -> Float[Array, "b *s c"]:
        width, stride, name = self.widths[level], self.strides[level + 1], f"level{level}_enlarge"
        x = TransposedConv(width, stride, use_bias=self.up_bias, name=name)(x)
        x = self._dropped(x, f"{name}_dropout", train)
        x = jnp.concatenate([x, skip], axis=-1)
        pair = Pair(width, self.kernels[level + 1], after=self.after, name=f"level{level}_up")
        return pair(x, train=train)

    def _dropped(self, x: Array, name: str, train: bool) -> Array:
        """Behind every convolution of MONAI's, that of a head too, there is its dropout."""
        dropout = self.after.copy(norm="none", activation="none", name=name)
        return jnp.asarray(dropout(x, train=train))

    def _check(self) -> None:
        check_levels(self, ("strides", "kernels"))
        levels = len(self.widths)
        fits = 0 <= self.auxiliary < max(levels - 1, 1)
        what = f"below {levels - 1}, the number of levels that are enlarged to"
        require(fits, "MonaiDynUNet.auxiliary", self.auxiliary, what)


class Pair(nn.Module):
    """Two convolutions without biases, the first strided; ``residual`` adds x to them.

    x is projected by a strided convolution of one tap and a norm where its size or width changes.
    """

    features: int
    kernel_size: Size = 3
    stride: Size = 1
    residual: bool = False
    after: ADN = AFTER

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *s c"], *, train: bool
    ) -> Float[Array, "b *t {self.features}"]:
        """The size is divided by the stride."""
        activated = self._activation()
        y = activated(self._normed(x, self.kernel_size, self.stride, 1, train))
        y = self._normed(y, self.kernel_size, 1, 2, train)
        if self.residual:
            strided = math.prod(per_axis(self.stride, x.ndim - 2, "stride")) > 1
            if strided or x.shape[-1] != self.features:
                x = self._normed(x, 1, self.stride, 3, train)
            y = y + x
        return activated(y)

    def _activation(self) -> Callable[[Array], Array]:
        """One for both, with one slope."""
        kind = self.after.activation
        if kind != "prelu" and kind != "prelu_shared":
            return functools.partial(activated_as, self, after=self.after)
        shape = (self.features if kind == "prelu" else 1,)
        slope = self.param("slope", nn.initializers.constant(0.25), shape, jnp.float32)
        return lambda x: prelu(x, jnp.asarray(slope))

    def _normed(self, x: Array, kernel_size: Size, stride: Size, i: int, train: bool) -> Array:
        """Convolved, with less padding where the stride is larger: MONAI's ``get_padding``."""
        rank = x.ndim - 2
        kernel, strides = odd(kernel_size, rank), per_axis(stride, rank, "stride")
        room = [k - s + 1 for k, s in zip(kernel, strides, strict=True)]
        what = f"at most {tuple(k + 1 for k in kernel)} where kernels are {kernel}"
        require(min(room) >= 0, "MonaiDynUNet.strides", strides, what)
        fields = {"padding": tuple(n // 2 for n in room), "use_bias": False, "name": f"conv{i}"}
        x = Conv(self.features, kernel, strides, **fields)(x)
        norm = self.after.copy(activation="none", name=f"adn{i}")
        return jnp.asarray(norm(x, train=train))


Rows = list[tuple[str, str]]


def pair_names(theirs: str, ours: str) -> Rows:
    """Where MONAI has the parts of a `Pair`."""
    return [
        (rf"{theirs}\.conv(\d)\.conv", rf"{ours}.conv\1!"),
        (rf"{theirs}\.norm(\d)", rf"{ours}.adn\1.norm!"),
        (rf"{theirs}\.lrelu", f"{ours}@slope"),
    ]


def _again(rows: Rows) -> Rows:
    return [(theirs, f"={ours}") for theirs, ours in rows]
