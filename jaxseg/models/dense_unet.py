"""The 2-D network of H-DenseUNet: a DenseNet-161 with a decoder of added skips.

Li, Chen, Qi, Dou, Fu, Heng 2018, https://arxiv.org/abs/1709.07330

Differs from the released code where ``norms="plain"``: that has a second scale and shift behind
each norm of the trunk, which add nothing to the first, and epsilon is 1.1e-5 there, 1e-3 in the
decoder (1e-5); ``norms="released"`` has them too. ``skips="none"`` is the trunk of the released
hybrid network, which has none, against the paper's figure.
"""

from typing import ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.errors import require
from jaxseg.layers import Conv, DenseBlock, Head, Norm, Size
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
    ``widths`` those of the two finest, which have none, or of all five, coarsest first.
    ``dropout`` acts before the last norm, and needs the rng of that name. The released network
    sees three adjacent slices as channels.

    In a volume, the last of its axes is not halved before the ``flat`` coarsest levels: in the 3-D
    part of H-DenseUNet, which has ``flat=3``, that of the slices.
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
    widths: tuple[int, ...] = (96, 64)
    skips: Literal["added", "none"] = "added"
    norms: Literal["plain", "released"] = "plain"
    flat: int = 0
    dropout: float = 0.3
    dtype: str = "float32"

    @property
    def stride(self) -> Size:
        """Sizes that are multiples of this need no padding."""
        return (32, 32, 32 >> self.flat) if self.flat else 32

    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        logits = self.mapped(image, train=train)[1]
        assert logits is not None
        return Prediction(logits)

    @nn.compact
    def mapped(
        self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool, head: bool = True
    ) -> tuple[Float[Array, "b *s d"], Float[Array, "b *s k"] | None]:
        """The last features, and the logits that ``head`` makes of them; of the image's size."""
        self._check()
        size = image.shape[1:-1]
        x = pad_to_multiple(jnp.asarray(image, self.dtype), self.stride)
        *skips, x = self._trunk(x, train)
        widths = (*(skip.shape[-1] for skip in skips[-2::-1]), *self.widths)[-5:]
        for level, width in zip((4, 3, 2, 1, 0), widths, strict=True):
            x = enlarge(x, self._step(level), "nearest")
            if self.skips == "added" and level > 0:
                skip = skips[level - 1]
                if level == 4:
                    skip = Conv(x.shape[-1], 1, name="level4_skip")(skip)
                x = x + skip
            x = Conv(width, name=f"level{level}_conv")(x)
            if level == 0:
                drop = nn.Dropout(self.dropout, deterministic=not train, name="dropout")
                x = drop(x)
            epsilon = 1e-5 if self.norms == "plain" else 1e-3
            norm = Norm(activation="relu", epsilon=epsilon, name=f"level{level}_norm")
            x = norm(x, train=train)
        x = crop(x, size)
        return x, Head(self.num_classes, name="head")(x) if head else None

    def _step(self, level: int) -> Size:
        """How much shorter the axes are below the level."""
        return (2, 2, 1) if level > 4 - self.flat else 2

    def _check(self) -> None:
        what = "widths of the two finest maps going up, or of all five"
        require(len(self.widths) in (2, 5), "DenseUNet.widths", self.widths, what)
        require(0 <= self.flat <= 3, "DenseUNet.flat", self.flat, "in [0, 3]")
        require(0 <= self.dropout <= 1, "DenseUNet.dropout", self.dropout, "in [0, 1]")

    def _trunk(self, x: Array, train: bool) -> list[Float[Array, "b ..."]]:
        """The stem, each dense block before its transition, and the last, normalised."""

        plain = self.norms == "plain"
        how = {"affine": True if plain else "twice", "epsilon": 1e-5 if plain else 1.1e-5}

        def normed(x: Array, name: str) -> Array:
            return Norm(activation="relu", name=name, **how)(x, train=train)

        x = Conv(self.first, 7, stride=2, use_bias=False, name="stem_conv")(x)
        maps = [normed(x, "stem_norm")]
        x = max_pool(maps[0], 3, stride=2, padding=1)
        for level, layers in enumerate(self.layers, start=2):
            name = f"level{level}_block"
            block = DenseBlock(layers, self.growth, bottleneck=4, name=name, **how)
            x = block(x, train=train)
            maps.append(x)
            if level < 5:
                x = normed(x, f"level{level}_transition_norm")
                name = f"level{level}_transition_conv"
                x = Conv(x.shape[-1] // 2, 1, use_bias=False, name=name)(x)
                x = average_pool(x, self._step(level))
        return [*maps[:-1], normed(x, "last_norm")]
