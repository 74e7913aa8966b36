"""UNETR: Transformers for 3D Medical Image Segmentation.

Hatamizadeh, Tang, Nath, Yang, Myronenko, Landman, Roth, Xu 2022, https://arxiv.org/abs/2103.10504

As ``monai.networks.nets.UNETR``, the authors' code, to the weight; it reads the skip connections
behind blocks 4, 7 and 10, where the paper writes 3, 6 and 9.

Differs from it: an image may have any size. At another size than that of its training the position
embedding is resampled linearly, as vision transformers do.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.errors import require
from jaxseg.layers import ADN, Conv, Head, Size, TransposedConv
from jaxseg.layers.attention_map import sow_received
from jaxseg.layers.conv import add_bias
from jaxseg.models.monai_dynunet import Pair, Rows, pair_names
from jaxseg.ops import (
    Weighing,
    attend,
    crop,
    pad_to_multiple,
    per_axis,
    resize,
    spread,
    to_image,
    to_tokens,
)
from jaxseg.types import Names, Paper, Prediction

PATCH, LEVELS = 16, 4
"""Pixels of a patch along an axis, and how often it is halved."""

AFTER = ADN("instance", "leaky_relu", order="DNA")
"""What follows the convolutions: instance norm without scale and bias, LeakyReLU of 0.01."""


class UNETR(nn.Module):
    """A vision transformer whose tokens, read behind four of its blocks, are enlarged to a U-Net.

    The defaults are the paper's network, of ViT-B/16. ``size`` is that of the images it is trained
    on, a multiple of 16: as many patches have a position embedding. Others are taken as well, with
    the embedding resampled linearly; a sliding window of ``size`` predicts as in training.

    ``depth`` are the transformer's blocks, ``taps`` how many of them lie before each of the three
    skip connections, finest first. ``width`` are features at full resolution. ``block`` is that of
    the convolutions; with ``enlarge="plain"`` skip connections have none on their way up.
    ``after`` is copied behind each convolution. ``dropout`` acts within the transformer and needs
    the rng of this name. ``embedding`` says how MONAI stores the weights of the patches
    (``proj_type``); the numbers are the same. ``remat`` computes each block of the transformer
    again in the backward pass.

    2-D and 3-D by the rank of the image, of any size: padded with zeros at the end of each axis to
    a multiple of 16, and cropped. What each token gets of the others' attention can be read out.
    """

    paper: ClassVar[Paper] = Paper(
        "UNETR: Transformers for 3D Medical Image Segmentation",
        "Hatamizadeh",
        2022,
        "https://arxiv.org/abs/2103.10504",
    )

    num_classes: int
    size: Size = 96
    width: int = 16
    hidden_width: int = 768
    mlp_width: int = 3072
    heads: int = 12
    depth: int = 12
    taps: tuple[int, int, int] = (4, 7, 10)
    block: Literal["residual", "plain"] = "residual"
    enlarge: Literal["convolved", "plain"] = "convolved"
    after: ADN = AFTER
    qkv_bias: bool = False
    dropout: float = 0.0
    embedding: Literal["conv", "perceptron"] = "conv"
    remat: bool = False
    dtype: str = "float32"

    @property
    def stride(self) -> None:
        """None: each token attends to all of the image."""
        return None

    @property
    def names(self) -> Names:
        """MONAI's places. It has a norm in each block that it never runs, and had an attention."""
        patches, block = r"vit\.patch_embedding", r"vit\.blocks\.(\d+)"
        linear = self.embedding == "perceptron"
        unused = r"vit\.blocks\.(\d+)\.(norm_cross_attn|cross_attn(\.\w+)+)\.(weight|bias)"
        rows: Rows = [
            (unused, ""),
            (patches, "embed@position_embeddings+"),
            (patches + r"\.patch_embeddings" + r"\.1" * linear, "embed-" if linear else "embed!"),
            (rf"{block}\.norm(\d)", r"block\1.norm\2!"),
            (rf"{block}\.attn\.qkv", r"block\1.qkv-"),
            (rf"{block}\.attn\.out_proj", r"block\1.out-"),
            (rf"{block}\.mlp\.linear1", r"block\1.expand-"),
            (rf"{block}\.mlp\.linear2", r"block\1.project-"),
            (r"vit\.norm", "norm!"),
            *pair_names(r"encoder1\.layer", "level0_skip"),
        ]
        for level in range(1, LEVELS):
            theirs, ours = rf"encoder{level + 1}", f"level{level}_skip"
            rows.append((rf"{theirs}\.transp_conv_init\.conv", f"{ours}_enlarge0~"))
            for i in range(1, LEVELS - level):
                inner, convolved = rf"{theirs}\.blocks\.{i - 1}", self.enlarge == "convolved"
                rows.append((inner + r"\.0" * convolved + r"\.conv", f"{ours}_enlarge{i}~"))
                rows += pair_names(rf"{inner}\.1", f"{ours}_conv{i}") if convolved else []
        for level in range(LEVELS):
            rows += up_names(rf"decoder{level + 2}", f"level{level}_up")
        return {"monai": (*rows, (r"out\.conv\.conv", "head!"))}

    def constants(self, library: str, variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """The norms that MONAI never runs, and so never trains."""
        del library, variables
        ends = {"weight": np.ones, "bias": np.zeros}
        return {
            f"vit.blocks.{i}.norm_cross_attn.{leaf}": fill(self.hidden_width, np.float32)
            for i in range(self.depth)
            for leaf, fill in ends.items()
        }

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        self._check(image.ndim - 2)
        x = pad_to_multiple(jnp.asarray(image, self.dtype), PATCH)
        tokens = self._tokens(x, train)
        fields = {"residual": self.block == "residual", "after": self.after}
        skips = [Pair(self.width, **fields, name="level0_skip")(x, train=train)]
        for level in range(1, LEVELS):
            skips.append(self._enlarged(tokens[level - 1], level, train))
        x = tokens[-1]
        for level in reversed(range(LEVELS)):
            up = UpBlock(self._width(level), **fields, name=f"level{level}_up")
            x = up(x, skips[level], train=train)
        logits = Head(self.num_classes, name="head")(x)
        return Prediction(crop(logits, image.shape[1:-1]))

    def _width(self, level: int) -> int:
        return self.width * 2**level

    def _tokens(self, x: Array, train: bool) -> list[Float[Array, "b *t d"]]:
        """Maps of tokens behind each of ``taps``, and of all blocks, the last normed."""
        grid = tuple(n // PATCH for n in per_axis(self.size, x.ndim - 2, "UNETR.size"))
        x = PatchEmbedding(self.hidden_width, grid, name="embed")(x)
        x = nn.Dropout(self.dropout, deterministic=not train, name="embed_dropout")(x)
        kind = nn.remat(TransformerBlock, static_argnums=2) if self.remat else TransformerBlock
        found = []
        for i in range(self.depth):
            fields = {"qkv_bias": self.qkv_bias, "dropout": self.dropout, "name": f"block{i}"}
            x = kind(self.heads, self.mlp_width, **fields)(x, train)
            found.append(x)
        return [*(found[tap - 1] for tap in self.taps), layer_norm(x, "norm")]

    def _enlarged(self, x: Array, level: int, train: bool) -> Float[Array, "b *t c"]:
        """Tokens at the size of a level, doubled step by step."""
        width, name = self._width(level), f"level{level}_skip"
        for i in range(LEVELS - level):
            x = TransposedConv(width, use_bias=False, name=f"{name}_enlarge{i}")(x)
            if i and self.enlarge == "convolved":
                fields = {"residual": self.block == "residual", "after": self.after}
                x = Pair(width, **fields, name=f"{name}_conv{i}")(x, train=train)
        return x

    def _check(self, rank: int) -> None:
        sizes = per_axis(self.size, rank, "UNETR.size")
        fits = min(sizes) >= PATCH and not any(n % PATCH for n in sizes)
        require(fits, "UNETR.size", self.size, f"multiples of the patches' {PATCH} pixels")
        what = f"a divisor of hidden_width={self.hidden_width}"
        require(self.hidden_width % self.heads == 0, "UNETR.heads", self.heads, what)
        grows = list(self.taps) == sorted(self.taps)
        fits = grows and 1 <= self.taps[0] and self.taps[-1] <= self.depth
        require(fits, "UNETR.taps", self.taps, f"three numbers that grow, from 1 to {self.depth}")
        require(0 <= self.dropout <= 1, "UNETR.dropout", self.dropout, "in [0, 1]")


class PatchEmbedding(nn.Module):
    """A token for each patch of 16 pixels an axis: linear in these, plus an embedding of its place.

    The place's is a parameter ``position_embeddings [n d]`` for a ``grid`` of n patches, row by
    row. On another grid it is resampled linearly between the centres of patches.
    """

    features: int
    grid: tuple[int, ...]

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"]) -> Float[Array, "b *t {self.features}"]:
        """The map of tokens of an image whose sizes are multiples of 16."""
        rank, c = x.ndim - 2, x.shape[-1]
        shape = (*(PATCH,) * rank, c, self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape, jnp.float32)
        grid = tuple(n // PATCH for n in x.shape[1:-1])
        # A kernel as large as its stride: one matmul, where a convolution of 16^3 taps is slow.
        pairs = [n for count in grid for n in (count, PATCH)]
        x = x.reshape(x.shape[0], *pairs, c)
        order = (0, *range(1, 2 * rank, 2), *range(2, 2 * rank + 1, 2), 2 * rank + 1)
        x = x.transpose(order).reshape(x.shape[0], *grid, PATCH**rank * c)
        kernel = jnp.asarray(kernel, x.dtype).reshape(-1, self.features)
        x = add_bias(self, x @ kernel)
        init, shape = nn.initializers.truncated_normal(0.02), (math.prod(self.grid), self.features)
        places = jnp.asarray(self.param("position_embeddings", init, shape, jnp.float32))
        places = places.reshape(1, *self.grid, self.features)
        if grid != self.grid:
            places = resize(places, grid, "linear")
        return x + spread(places, x.shape, x.dtype)


class TransformerBlock(nn.Module):
    """``y = x + attention(norm1(x))``, then ``y + project(gelu(expand(norm2(y))))``.

    Each token attends to all of its image, in float32. ``dropout`` acts on the attention's weights
    and behind each linear layer but the first.
    """

    heads: int
    mlp_width: int
    qkv_bias: bool = False
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], train: bool) -> Float[Array, "b *s c"]:
        """A map of the same shape."""
        c = x.shape[-1]
        x = x + self._dropped(self._attended(layer_norm(x, "norm1"), train), "out", train)
        y = Conv(self.mlp_width, kernel_size=1, name="expand")(layer_norm(x, "norm2"))
        y = self._dropped(nn.gelu(y, approximate=False), "expand", train)
        y = Conv(c, kernel_size=1, name="project")(y)
        return x + self._dropped(y, "project", train)

    def _attended(self, x: Array, train: bool) -> Float[Array, "b *s c"]:
        c, size = x.shape[-1], x.shape[1:-1]
        qkv = Conv(3 * c, kernel_size=1, use_bias=self.qkv_bias, name="qkv")(x)
        tokens = to_tokens(qkv, 3 * self.heads)
        query, key, value = (tokens[:, :, i * self.heads : (i + 1) * self.heads] for i in range(3))
        weighing = Weighing(scale=(c // self.heads) ** -0.5, dropout=self.dropout)
        rng = self.make_rng("dropout") if train and self.dropout > 0 else None
        sow_received(self, query, key, size, weighing)
        y = to_image(attend(query, key, value, weighing, rng=rng), size)
        return Conv(c, kernel_size=1, name="out")(y)

    def _dropped(self, x: Array, name: str, train: bool) -> Array:
        return nn.Dropout(self.dropout, deterministic=not train, name=f"{name}_dropout")(x)


class UpBlock(nn.Module):
    """A `Pair` of convolutions of [x enlarged twice, skip]."""

    features: int
    residual: bool = True
    after: ADN = AFTER

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *s c"], skip: Float[Array, "b *t k"], *, train: bool
    ) -> Float[Array, "b *t {self.features}"]:
        """A map of the size of the skip connection."""
        x = TransposedConv(self.features, use_bias=False, name="enlarge")(x)
        pair = Pair(self.features, residual=self.residual, after=self.after, name="conv")
        return pair(jnp.concatenate([x, skip], axis=-1), train=train)


def up_names(theirs: str, ours: str) -> Rows:
    """Where MONAI has the parts of an `UpBlock`."""
    enlarge = (rf"{theirs}\.transp_conv\.conv", f"{ours}.enlarge~")
    return [enlarge, *pair_names(rf"{theirs}\.conv_block", f"{ours}.conv")]


def layer_norm(x: Array, name: str) -> Float[Array, "b ..."]:
    """PyTorch's layer norm over channels, moments in float32."""
    return nn.LayerNorm(epsilon=1e-5, dtype=x.dtype, use_fast_variance=False, name=name)(x)
