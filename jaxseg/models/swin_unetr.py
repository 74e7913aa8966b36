"""Swin UNETR: Swin Transformers for Semantic Segmentation of Brain Tumors in MRI Images.

Hatamizadeh, Nath, Tang, Yang, Roth, Xu 2022, https://arxiv.org/abs/2201.01266

As ``monai.networks.nets.SwinUNETR``, the authors' code, to the weight; ``form="v2"`` is that of
SwinUNETR-V2 (He et al. 2023, https://doi.org/10.1007/978-3-031-43901-8_40).

Differs from it: an image may have any size.
"""

import itertools
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.errors import require
from jaxseg.layers import ADN, Conv, Head, Size, StochasticDepth
from jaxseg.layers.window_attention import WindowAttention, relative_index
from jaxseg.models.monai_dynunet import Pair, Rows, pair_names
from jaxseg.models.unetr import AFTER, UpBlock, layer_norm, up_names
from jaxseg.ops import crop, pad_to_multiple, per_axis
from jaxseg.ops.windows import taps
from jaxseg.types import Names, Paper, Prediction

Merging = Literal["merging", "mergingv2", "merging_v0.9"]
"""MONAI's names of the order of pixels; of its "merging" from the release before 1.5 the last."""


class SwinUNETR(nn.Module):
    """A Swin transformer whose maps, before and behind each stage, are the levels of a U-Net.

    The defaults are the paper's network. ``width`` are features at full and at half resolution;
    each stage doubles them as it halves the map. Stage i has ``depths[i]`` blocks of ``heads[i]``
    heads, which attend within windows of ``window`` pixels; ``expansion`` is that of their linear
    layers. ``form="v2"`` has a residual pair of convolutions before each stage. ``merging`` is the
    order in which the pixels of a block of 2 an axis are joined; weights of a volume trained with
    MONAI before 1.5 are of "merging_v0.9", which takes two of the eight twice and leaves two out.
    In 2-D all orders are one.

    ``normalize``: maps that leave the transformer have a layer norm without weights.
    ``embed_norm``: the embedding of patches has one with weights. ``after`` is copied behind each
    convolution of the U-Net. ``drop_path`` is the rate of stochastic depth of the last block, from
    0 at the first on; it, ``dropout`` and ``attention_dropout`` need the rng ``dropout``. ``remat``
    computes each block again in the backward pass.

    2-D and 3-D by the rank of the image, of any size: padded with zeros at the end of each axis to
    a multiple of 32 (2 to the number of stages plus one), and cropped. What each pixel gets of the
    attention in its window can be read out.
    """

    paper: ClassVar[Paper] = Paper(
        "Swin UNETR: Swin Transformers for Semantic Segmentation of Brain Tumors in MRI Images",
        "Hatamizadeh",
        2022,
        "https://arxiv.org/abs/2201.01266",
    )

    num_classes: int
    width: int = 48
    depths: tuple[int, ...] = (2, 2, 2, 2)
    heads: tuple[int, ...] = (3, 6, 12, 24)
    window: Size = 7
    expansion: float = 4.0
    form: Literal["v1", "v2"] = "v1"
    merging: Merging = "merging"
    normalize: bool = True
    embed_norm: bool = False
    qkv_bias: bool = True
    after: ADN = AFTER
    dropout: float = 0.0
    attention_dropout: float = 0.0
    drop_path: float = 0.0
    remat: bool = False
    dtype: str = "float32"

    @property
    def stride(self) -> None:
        """None: windows lie across rows at which maps would be split."""
        return None

    @property
    def names(self) -> Names:
        """MONAI's places, which count stages, encoders and decoders from 1."""
        stage, last = r"swinViT\.layers(\d)\.0", len(self.depths)
        block, ours = rf"{stage}\.blocks\.(\d+)", r"stage\1_block\2"
        rows: Rows = [
            (rf"{block}\.attn\.relative_position_index", ""),
            (r"swinViT\.patch_embed\.proj", "embed!"),
            (r"swinViT\.patch_embed\.norm", "embed_norm!"),
            (rf"{block}\.norm(\d)", rf"{ours}.norm\3!"),
            (rf"{block}\.attn", f"{ours}.attention@relative_position_bias_table"),
            (rf"{block}\.attn\.qkv", f"{ours}.attention.qkv-"),
            (rf"{block}\.attn\.proj", f"{ours}.attention.out-"),
            (rf"{block}\.mlp\.linear1", f"{ours}.expand-"),
            (rf"{block}\.mlp\.linear2", f"{ours}.project-"),
            (rf"{stage}\.downsample\.norm", r"stage\1_merge.norm!"),
            (rf"{stage}\.downsample\.reduction", r"stage\1_merge.reduce-"),
            *pair_names(r"encoder10\.layer", "bottom"),
        ]
        for number in range(1, last + 1):
            rows += pair_names(rf"swinViT\.layers{number}c\.0\.layer", f"stage{number}_conv")
        for level in range(last + 1):
            rows += pair_names(rf"encoder{level + 1}\.layer", f"level{level}_skip")
            rows += up_names(rf"decoder{level + 1}", f"level{level}_up")
        return {"monai": (*rows, (r"out\.conv\.conv", "head!"))}

    def constants(self, library: str, variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """The indices by which MONAI reads the tables of biases."""
        del library
        rank = variables["params"]["head"]["kernel"].ndim - 2
        index = relative_index(per_axis(self.window, rank, "SwinUNETR.window"))
        return {
            f"swinViT.layers{stage}.0.blocks.{i}.attn.relative_position_index": index
            for stage, depth in enumerate(self.depths, start=1)
            for i in range(depth)
        }

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        self._check()
        last = len(self.depths)
        x = pad_to_multiple(jnp.asarray(image, self.dtype), 2 ** (last + 1))
        maps = self._maps(x, train)
        fields = {"residual": True, "after": self.after}
        skips = [Pair(self.width, **fields, name="level0_skip")(x, train=train)]
        for level, y in enumerate(maps[:-2], start=1):
            pair = Pair(y.shape[-1], **fields, name=f"level{level}_skip")
            skips.append(jnp.asarray(pair(y, train=train)))
        skips.append(maps[-2])
        x = Pair(maps[-1].shape[-1], **fields, name="bottom")(maps[-1], train=train)
        for level in reversed(range(last + 1)):
            width = self.width * 2 ** max(level - 1, 0)
            up = UpBlock(width, after=self.after, name=f"level{level}_up")
            x = up(x, skips[level], train=train)
        logits = Head(self.num_classes, name="head")(x)
        return Prediction(crop(logits, image.shape[1:-1]))

    def _maps(self, x: Array, train: bool) -> list[Float[Array, "b *t c"]]:
        """The embedded patches, and what each stage puts out, of half the size."""
        x = Conv(self.width, kernel_size=2, stride=2, padding=0, name="embed")(x)
        if self.embed_norm:
            x = layer_norm(x, "embed_norm")
        x = nn.Dropout(self.dropout, deterministic=not train, name="embed_dropout")(x)
        kind = nn.remat(SwinBlock, static_argnums=2) if self.remat else SwinBlock
        maps, number, last = [self._normed(x, 0)], 0, max(sum(self.depths) - 1, 1)
        for stage, depth in enumerate(self.depths, start=1):
            if self.form == "v2":
                pair = Pair(x.shape[-1], residual=True, name=f"stage{stage}_conv", after=AFTER)
                x = pair(x, train=train)
            for i in range(depth):
                block = kind(
                    self.heads[stage - 1],
                    self.window,
                    i % 2 == 1,
                    self.expansion,
                    self.qkv_bias,
                    self.dropout,
                    self.attention_dropout,
                    self.drop_path * number / last,
                    name=f"stage{stage}_block{i}",
                )
                x, number = block(x, train), number + 1
            x = PatchMerging(self.merging, name=f"stage{stage}_merge")(x)
            maps.append(self._normed(x, stage))
        return maps

    def _normed(self, x: Array, number: int) -> Float[Array, "b *s c"]:
        if not self.normalize:
            return x
        norm = nn.LayerNorm(
            epsilon=1e-5,
            dtype=x.dtype,
            use_scale=False,
            use_bias=False,
            use_fast_variance=False,
            name=f"map{number}_norm",
        )
        return norm(x)

    def _check(self) -> None:
        stages = len(self.depths)
        require(stages > 0, "SwinUNETR.depths", self.depths, "one number or more")
        what = f"{stages} numbers, one for each of depths={self.depths}"
        require(len(self.heads) == stages, "SwinUNETR.heads", self.heads, what)
        for stage, heads in enumerate(self.heads):
            width = self.width * 2**stage
            what = f"divisors of the stages' widths; stage {stage + 1} has {width}"
            require(width % heads == 0, "SwinUNETR.heads", self.heads, what)
        for field in ("dropout", "attention_dropout", "drop_path"):
            value = getattr(self, field)
            require(0 <= value <= 1, f"SwinUNETR.{field}", value, "in [0, 1]")
        hidden = int(self.width * self.expansion)
        require(hidden >= 1, "SwinUNETR.expansion", self.expansion, "large enough for one feature")


class SwinBlock(nn.Module):
    """``y = x + attention(norm1(x))``, then ``y + project(gelu(expand(norm2(y))))``.

    Attention is within windows, which ``shifted`` moves by half. ``dropout`` acts behind each
    linear layer but the first, ``drop_path`` on either branch as a whole.
    """

    heads: int
    window: Size = 7
    shifted: bool = False
    expansion: float = 4.0
    qkv_bias: bool = True
    dropout: float = 0.0
    attention_dropout: float = 0.0
    drop_path: float = 0.0

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], train: bool) -> Float[Array, "b *s c"]:
        """A map of the same shape."""
        c, attended = x.shape[-1], (self.qkv_bias, self.attention_dropout)
        attention = WindowAttention(
            self.heads, self.window, self.shifted, *attended, name="attention"
        )
        y = attention(layer_norm(x, "norm1"), train=train)
        y = self._dropped(jnp.asarray(y), "attention", train)
        x = x + StochasticDepth(self.drop_path, name="drop1")(y, train=train)
        y = Conv(int(c * self.expansion), kernel_size=1, name="expand")(layer_norm(x, "norm2"))
        y = self._dropped(nn.gelu(y, approximate=False), "expand", train)
        y = Conv(c, kernel_size=1, name="project")(y)
        y = self._dropped(y, "project", train)
        return x + StochasticDepth(self.drop_path, name="drop2")(y, train=train)

    def _dropped(self, x: Array, name: str, train: bool) -> Array:
        return nn.Dropout(self.dropout, deterministic=not train, name=f"{name}_dropout")(x)


class PatchMerging(nn.Module):
    """Half the size, twice the features: ``reduce(norm(pixels))`` of each block of 2 an axis.

    ``order`` is that of the pixels; see `SwinUNETR`.
    """

    order: Merging = "merging"

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"]) -> Float[Array, "b *t d"]:
        """Of a map whose sizes are even."""
        rank, c = x.ndim - 2, x.shape[-1]
        pixels = taps(x, (2,) * rank, (2,) * rank)
        x = jnp.concatenate([pixels[i] for i in _pixels(self.order, rank)], axis=-1)
        return Conv(2 * c, kernel_size=1, use_bias=False, name="reduce")(layer_norm(x, "norm"))


_VOLUME = {
    "merging": "000 100 010 001 110 101 011 111",
    "mergingv2": "000 001 010 011 100 101 110 111",
    "merging_v0.9": "000 100 010 001 101 010 001 111",
}
"""Where the pixels of a block of 2 x 2 x 2 lie along its axes."""


def _pixels(order: Merging, rank: int) -> list[int]:
    """Their numbers, the last axis fastest. In other ranks than three the first one is."""
    if rank == 3:
        return [int(place, 2) for place in _VOLUME[order].split()]
    places = ("".join(bits[::-1]) for bits in itertools.product("01", repeat=rank))
    return [int(place, 2) for place in places]
