"""Multi-scale self-guided attention for medical image segmentation.

Sinha & Dolz 2020, https://arxiv.org/abs/1906.02849, figures 1 to 3 and equations 1 to 9

Differs from the paper, as the authors' code does: the trunk is ResNeXt-101 32x8d (the paper's
ResNet-101: ``encoder=ResNet(101)``), channels attend to those least like them, and the semantic
modules' two losses are means of squares. Layers of their code that are never called are left out.
"""

from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.encoders import ResNet
from jaxseg.errors import UserError
from jaxseg.layers import (
    ChannelAttention,
    Conv,
    ConvNorm,
    Head,
    PositionAttention,
    TransposedConv,
)
from jaxseg.ops import crop, max_pool, pad_to_multiple, resize
from jaxseg.types import Paper, Prediction

Attention = Literal["position", "channel"]


class MSGA(nn.Module):
    """Features of all scales, each attended to twice, guided by what all of them say together.

    The last ``scales`` features of the encoder (all, where it has fewer) are reduced to ``width``
    and enlarged to the finest one's size; three convolutions fuse them. For each scale, position
    and channel attention of [scale, fused] are added and multiplied by what a semantic module,
    shared by the scales, decodes of the same. With two ``stacks``, the second does so again
    with the fused map weighted by the first. Logits are the mean of the last stack's;
    ``auxiliary`` holds the logits of each scale after that, then those of the reduced features,
    finest first, of the image's size.

    ``extra`` has a number an image for `recipes.Guided`: ``semantic``, the mean square of the
    difference between the two stacks' codes of a scale, summed over the scales (0 of one stack);
    ``reconstruction``, that between what a semantic module sees and decodes, summed over the stacks
    too. Sizes are padded with zeros at the end of each axis to a multiple of the encoder's
    stride, and of four pixels of the finest of its features, and cropped. Volumes as well.
    """

    paper: ClassVar[Paper] = Paper(
        "Multi-scale self-guided attention for medical image segmentation",
        "Sinha",
        2020,
        "https://arxiv.org/abs/1906.02849",
    )

    num_classes: int
    encoder: nn.Module = ResNet(101, groups=32, base_width=8)
    width: int = 64
    scales: int = 4
    stacks: Literal[1, 2] = 2
    reduction: int = 8
    dtype: str = "float32"

    @property
    def stride(self) -> None:
        """None: each position attends to all of the image."""
        return None

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        size, strides = image.shape[1:-1], self.encoder.strides[-self.scales :]
        multiple = max(strides[-1], FACTOR * strides[0])
        x = pad_to_multiple(jnp.asarray(image, self.dtype), multiple)
        padded = x.shape[1:-1]
        scales = self._reduced(self.encoder(x, train=train)[-self.scales :], train)
        fused = self._fused(scales, train)
        early = [Head(self.num_classes, name=f"level{i}_head")(y) for i, y in enumerate(scales)]
        refined, codes, distance = self._stack([fused] * len(scales), scales, "stack1", train)
        semantic = jnp.zeros_like(distance)
        if self.stacks == 2:
            guides = [attention * fused for attention in refined]
            refined, others, further = self._stack(guides, scales, "stack2", train)
            for ours, theirs in zip(codes, others, strict=True):
                semantic = semantic + _mean_square(ours, theirs)
            distance = distance + further
        heads = [Head(self.num_classes, name=f"level{i}_refined_head") for i in range(len(scales))]
        late = [head(y) for head, y in zip(heads, refined, strict=True)]

        def whole(logits: Array) -> Array:
            return crop(resize(logits, padded, "linear"), size)

        return Prediction(
            whole(jnp.stack(late).mean(0)),
            auxiliary=tuple(map(whole, (*late, *early))),
            extra={"semantic": semantic, "reconstruction": distance},
        )

    def _reduced(self, features: Any, train: bool) -> list[Array]:
        """Each feature at ``width`` and the size of the finest, finest first."""
        size = features[0].shape[1:-1]
        reduced = [
            self._conv(1, f"level{i}_reduce")(x, train=train) for i, x in enumerate(features)
        ]
        return [resize(x, size, "linear") for x in reduced]

    def _fused(self, scales: list[Array], train: bool) -> Float[Array, "b *s k"]:
        x = jnp.concatenate(scales[::-1], axis=-1)
        for i, kernel in enumerate((3, 3, 1), start=1):
            x = self._conv(kernel, f"fuse_conv{i}")(x, train=train)
        return x

    def _stack(
        self, guides: list[Array], scales: list[Array], place: str, train: bool
    ) -> tuple[list[Array], list[Array], Float[Array, " b"]]:
        """What is attended to at each scale, the codes, and the distance of the reconstruction."""
        semantic, found = SemanticModule(name=f"{place}_semantic"), []
        distance = jnp.zeros(())
        for i in reversed(range(len(scales))):  # the order in which a shared norm's moments move
            x = jnp.concatenate([scales[i], guides[i]], axis=-1)
            code, decoded = semantic(x, train=train)
            y = jnp.zeros((), x.dtype)
            for kind in KINDS:
                place_of = f"{place}_level{i}_{kind}"
                branch = AttentionBranch(self.width, kind, self.reduction, name=place_of)
                y = y + branch(x, train=train)
            y = y * Conv(self.width, name=f"{place}_level{i}_semantic_conv")(decoded)
            found.append((Conv(self.width, 1, name=f"{place}_level{i}_project")(y), code))
            distance = distance + _mean_square(x, decoded)
        return [y for y, _ in found[::-1]], [code for _, code in found[::-1]], distance

    def _conv(self, kernel_size: int, name: str) -> ConvNorm:
        return ConvNorm(
            self.width, kernel_size, activation="prelu_shared", use_bias=True, name=name
        )


KINDS: tuple[Attention, ...] = ("position", "channel")

FACTOR = 4
"""How much smaller the code of a semantic module is than what it sees."""


def _mean_square(a: Array, b: Array) -> Float[Array, " b"]:
    """The mean square of the difference, an image, in float32."""
    difference = a.astype(jnp.float32) - b.astype(jnp.float32)
    return jnp.square(difference).mean(range(1, a.ndim))


class AttentionBranch(nn.Module):
    """3x3 convolution, attention among all pixels or all channels, 3x3 convolution (figure 2)."""

    features: int
    kind: Attention = "position"
    reduction: int = 8

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *s c"], *, train: bool
    ) -> Float[Array, "b *s {self.features}"]:
        """The size stays."""
        x = self._conv("conv1")(x, train=train)
        if self.kind == "position":
            x = PositionAttention(self.reduction, name="attention")(x)
        else:
            x = ChannelAttention(name="attention")(x)
        return self._conv("conv2")(x, train=train)

    def _conv(self, name: str) -> ConvNorm:
        return ConvNorm(self.features, activation="prelu_shared", use_bias=True, name=name)


class SemanticModule(nn.Module):
    """An encoder of two levels and its decoder, without skip connections (figure 3).

    It gives the code, of a quarter of the size and four times the channels, and what is decoded of
    it: the size and the channels of x. UserError where a size is no multiple of four.
    """

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *s c"], *, train: bool
    ) -> tuple[Float[Array, "b *t k"], Float[Array, "b *s c"]]:
        """Code and decoded map."""
        c, size = x.shape[-1], x.shape[1:-1]
        misfits = [n for n in size if isinstance(n, int) and n % FACTOR]
        if misfits:
            raise UserError(
                f"SemanticModule {self.name}: a map of {size}; each axis must be a multiple of "
                f"{FACTOR}: pad to {tuple(-(-n // FACTOR) * FACTOR for n in size)}"
            )
        y = max_pool(self._double(x, 2 * c, "level0", train))
        code = y = max_pool(self._double(y, 4 * c, "level1", train))
        y = TransposedConv(2 * c, name="level1_up")(self._double(y, 2 * c, "level2", train))
        y = TransposedConv(c, name="level0_up")(self._double(y, c, "level1_up", train))
        return code, y

    def _double(self, x: Array, width: int, place: str, train: bool) -> Float[Array, "b *s k"]:
        for i in (1, 2):
            conv = ConvNorm(width, use_bias=True, name=f"{place}_conv{i}")
            x = conv(x, train=train)
        return x
