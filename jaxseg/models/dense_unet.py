"""The 2-D network of H-DenseUNet: a DenseNet-161 with a decoder of added skips.

Li, Chen, Qi, Dou, Fu, Heng 2018, https://arxiv.org/abs/1709.07330

Differs from the released code: it has a scale and a shift of their own after each norm of the
trunk, which add nothing to those of the norm; epsilon is 1e-5 (1.1e-5). ``skips="none"`` is the
trunk of the released hybrid network, which has none, against the paper's figure.
"""

from typing import ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.layers import Conv, DenseBlock, Head, Norm
from jaxseg.ops import average_pool, crop, enlarge, max_pool, pad_to_multiple
from jaxseg.types import Names, Paper, Prediction

LAYERS = (6, 12, 36, 24)
"""Those of DenseNet-161."""


def _of_torchvision() -> tuple[tuple[str, str], ...]:
    """Its places count from 1."""
    pairs = [(r"features\.conv0", "stem_conv!"), (r"features\.norm0", "stem_norm!")]
    for block, layers in enumerate(LAYERS):
        for layer in range(layers):
            there = rf"features\.denseblock{block + 1}\.denselayer{layer + 1}\."
            pairs.append(
                (rf"{there}(conv|norm)(\d)", rf"level{block + 2}_block.layer{layer}_\1\2!")
            )
        there = rf"features\.transition{block + 1}\.(conv|norm)"
        pairs.append((there, rf"level{block + 2}_transition_\1!"))
    return (*pairs, (r"features\.norm5", "last_norm!"))


class DenseUNet(nn.Module):
    """DenseNet at strides 2 to 32; up by nearest neighbour, the sum with a skip, 3x3 convolution.

    ``first`` and ``growth`` are the trunk's; a map going up gets the width of the next skip,
    ``widths`` those of the two finest, which have none. ``dropout`` acts before the last norm, and
    needs the rng of that name. The released network sees three adjacent slices as channels.
    """

    paper: ClassVar[Paper] = Paper(
        "H-DenseUNet: Hybrid Densely Connected UNet for Liver and Tumor Segmentation",
        "Li",
        2018,
        "https://arxiv.org/abs/1709.07330",
    )

    names: ClassVar[Names] = {"torchvision": _of_torchvision()}

    num_classes: int
    layers: tuple[int, int, int, int] = LAYERS
    growth: int = 48
    first: int = 96
    widths: tuple[int, int] = (96, 64)
    skips: Literal["added", "none"] = "added"
    dropout: float = 0.3
    dtype: str = "float32"

    @property
    def stride(self) -> int:
        """Sizes that are multiples of this need no padding."""
        return 32

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        x = pad_to_multiple(jnp.asarray(image, self.dtype), self.stride)
        *skips, x = self._trunk(x, train)
        widths = (*(skip.shape[-1] for skip in skips[-2::-1]), *self.widths)
        for level, width in zip((4, 3, 2, 1, 0), widths, strict=True):
            x = enlarge(x, 2, "nearest")
            if self.skips == "added" and level > 0:
                skip = skips[level - 1]
                if level == 4:
                    skip = Conv(x.shape[-1], 1, name="level4_skip")(skip)
                x = x + skip
            x = Conv(width, name=f"level{level}_conv")(x)
            if level == 0:
                drop = nn.Dropout(self.dropout, deterministic=not train, name="dropout")
                x = drop(x)
            x = Norm(activation="relu", name=f"level{level}_norm")(x, train=train)
        return Prediction(crop(Head(self.num_classes, name="head")(x), image.shape[1:-1]))

    def _trunk(self, x: Array, train: bool) -> list[Float[Array, "b ..."]]:
        """The stem, each dense block before its transition, and the last, normalised."""

        def normed(x: Array, name: str) -> Array:
            return Norm(activation="relu", name=name)(x, train=train)

        x = Conv(self.first, 7, stride=2, use_bias=False, name="stem_conv")(x)
        maps = [normed(x, "stem_norm")]
        x = max_pool(maps[0], 3, stride=2, padding=1)
        for level, layers in enumerate(self.layers, start=2):
            block = DenseBlock(layers, self.growth, bottleneck=4, name=f"level{level}_block")
            x = block(x, train=train)
            maps.append(x)
            if level < 5:
                x = normed(x, f"level{level}_transition_norm")
                name = f"level{level}_transition_conv"
                x = average_pool(Conv(x.shape[-1] // 2, 1, use_bias=False, name=name)(x))
        return [*maps[:-1], normed(x, "last_norm")]
