"""MONAI's V-Net: Fully Convolutional Neural Networks for Volumetric Medical Image Segmentation.

Milletari, Navab, Ahmadi 2016, https://arxiv.org/abs/1606.04797; ``monai.networks.nets.VNet``.

Differs from the paper's (`VNet`) as MONAI does: a norm behind each convolution, which then has no
bias; ELU; the activation of a stack's last convolution before the sum too; fewer convolutions at
the coarse levels; dropout of channels; a head of two convolutions, the first with a norm. MONAI's
dropout of three axes drops whole images of a 2-D batch; here it drops channels at any rank. An
image may have any size.
"""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.errors import require
from jaxseg.layers import ADN, ConvADN, Head
from jaxseg.models.vnet import Enlarge, Shrink, Stack, check_depths, dropped
from jaxseg.ops import crop, pad_to_multiple
from jaxseg.types import Names, Paper, Prediction

AFTER = ADN("batch", "elu", affine=True, dropped="channels")
"""MONAI's norm and activation, and what its dropout leaves out."""


class MonaiVNet(nn.Module):
    """Residual stacks of 5x5x5 convolutions, strided ones down and transposed ones up between.

    A tuple has an entry a level, finest first; those of the way up have none for the coarsest.
    Level l has ``width * 2**l`` features on the way down, and on the way up twice as many, [up,
    skip]. The first stack adds the image, its channels in turn until there are ``width`` (MONAI
    takes divisors of 16 alone). ``after`` is copied behind each convolution but the logits'.
    ``use_bias`` is of the convolutions on the way down and of the head's first; on the way up
    transposed ones have a bias and others none.

    ``down_dropouts`` are of what a level's stack convolves, ``up_dropouts`` of the map that is
    enlarged to a level and ``skip_dropouts`` of that which it is joined with; ``after.dropped``
    says of what. Training needs the rng ``dropout``. 2-D by the rank of the image, of any size:
    padded with zeros at the end of each axis to a multiple of ``stride``, and cropped.
    """

    paper: ClassVar[Paper] = Paper(
        "V-Net: Fully Convolutional Neural Networks for Volumetric Medical Image Segmentation",
        "Milletari",
        2016,
        "https://arxiv.org/abs/1606.04797",
    )

    num_classes: int
    width: int = 16
    depths: tuple[int, ...] = (1, 1, 2, 3, 2)
    decoder_depths: tuple[int, ...] = (1, 1, 2, 2)
    down_dropouts: tuple[float, ...] = (0.0, 0.0, 0.0, 0.5, 0.5)
    up_dropouts: tuple[float, ...] = (0.0, 0.0, 0.5, 0.5)
    skip_dropouts: tuple[float, ...] = (0.5, 0.5, 0.5, 0.5)
    after: ADN = AFTER
    use_bias: bool = False
    dtype: str = "float32"

    @property
    def stride(self) -> int:
        """Sizes that are multiples of this need no padding."""
        return 2 ** (len(self.depths) - 1)

    @property
    def names(self) -> Names:
        """MONAI's places; it calls a level by its width on the way down, and up by twice that."""
        rows = [
            (r"in_tr\.conv_block\.conv", "level0_down.conv0.conv!"),
            (r"in_tr\.conv_block\.adn\.N", "level0_down.conv0.adn.norm!"),
            (r"in_tr\.act_function", "level0_down@slope"),
            (r"out_tr\.conv_block\.conv", "head_conv.conv!"),
            (r"out_tr\.conv_block\.adn\.N", "head_conv.adn.norm!"),
            (r"out_tr\.act_function1", "head_conv.adn@slope"),
            (r"out_tr\.conv2", "head!"),
        ]
        for level in range(len(self.depths)):
            width = self.width * 2**level
            if level:
                rows += _level(f"down_tr{width}", "down_conv", f"level{level}_shrink", "!")
                rows += _stack(f"down_tr{width}", f"level{level}_down")
            if level < len(self.depths) - 1:
                rows += _level(f"up_tr{2 * width}", "up_conv", f"level{level}_enlarge", "~")
                rows += _stack(f"up_tr{2 * width}", f"level{level}_up")
        return {"monai": tuple(rows)}

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        self._check()
        after = self.after.clone(parent=None, name=None)
        x, skips = pad_to_multiple(jnp.asarray(image, self.dtype), self.stride), []
        for level, depth in enumerate(self.depths):
            width, fields = self.width * 2**level, {"use_bias": self.use_bias, "after": after}
            if level:
                x = Shrink(width, **fields, name=f"level{level}_shrink")(x, train=train)
            fields |= {"activated": level > 0, "dropout": self.down_dropouts[level]}
            x = Stack(width, depth, **fields, name=f"level{level}_down")(x, train=train)
            skips.append(x)
        x = skips.pop()
        for level in reversed(range(len(skips))):
            x = self._up(x, skips[level], level, train)
        fields = {"use_bias": self.use_bias, "after": after, "name": "head_conv"}
        x = ConvADN(self.num_classes, 5, **fields)(x, train=train)
        logits = Head(self.num_classes, name="head")(x)
        return Prediction(crop(logits, image.shape[1:-1]))

    def _up(self, x: Array, skip: Array, level: int, train: bool) -> Float[Array, "b *s c"]:
        after, width = self.after.clone(parent=None, name=None), self.width * 2**level
        name = f"level{level}_enlarge"
        x = dropped(x, self.up_dropouts[level], after, f"{name}_dropout", train=train)
        x = Enlarge(width, after=after, name=name)(x, train=train)
        rate, name = self.skip_dropouts[level], f"level{level}_skip_dropout"
        x = jnp.concatenate([x, dropped(skip, rate, after, name, train=train)], axis=-1)
        fields = {"activated": True, "use_bias": False, "after": after}
        stack = Stack(2 * width, self.decoder_depths[level], **fields, name=f"level{level}_up")
        return stack(x, train=train)

    def _check(self) -> None:
        check_depths("MonaiVNet.depths", self.depths)
        levels = len(self.depths)
        for field, wanted in (
            ("decoder_depths", levels - 1),
            ("down_dropouts", levels),
            ("up_dropouts", levels - 1),
            ("skip_dropouts", levels - 1),
        ):
            value = getattr(self, field)
            what = f"{wanted} entries, for depths={self.depths}"
            require(len(value) == wanted, f"MonaiVNet.{field}", value, what)
            if field != "decoder_depths":
                fits = all(0 <= rate <= 1 for rate in value)
                require(fits, f"MonaiVNet.{field}", value, "in [0, 1] each")
        shallow = min(self.decoder_depths) < 1
        require(not shallow, "MonaiVNet.decoder_depths", self.decoder_depths, "at least 1 each")


Rows = list[tuple[str, str]]


def _level(theirs: str, conv: str, ours: str, mark: str) -> Rows:
    """The convolution between two levels."""
    return [
        (rf"{theirs}\.{conv}", f"{ours}.conv{mark}"),
        (rf"{theirs}\.bn1", f"{ours}.adn.norm!"),
        (rf"{theirs}\.act_function1", f"{ours}.adn@slope"),
    ]


def _stack(theirs: str, ours: str) -> Rows:
    return [
        (rf"{theirs}\.ops\.(\d+)\.conv_block\.conv", rf"{ours}.conv\1.conv!"),
        (rf"{theirs}\.ops\.(\d+)\.conv_block\.adn\.N", rf"{ours}.conv\1.adn.norm!"),
        (rf"{theirs}\.ops\.(\d+)\.act_function", rf"{ours}.conv\1.adn@slope"),
        (rf"{theirs}\.act_function2", f"{ours}@slope"),
    ]
