"""Mix Transformer: SegFormer's encoder.

Xie, Wang, Yu, Anandkumar, Alvarez, Luo 2021, https://arxiv.org/abs/2105.15203

Differs from the paper, as its released code does: the layer norms of patch embeddings and of
reduced keys have an epsilon of 1e-5, the others 1e-6 (the paper is silent).
"""

from typing import ClassVar

import flax.linen as nn
from jaxtyping import Array, Float

from jaxseg.encoders.standardize import Standardize, standardized
from jaxseg.errors import UserError
from jaxseg.layers import Conv, Kind, StochasticDepth
from jaxseg.layers.spatial_reduction import SpatialReductionAttention
from jaxseg.types import Names


class MiT(nn.Module):
    """Four stages of overlapping patch embedding (7x7 by 4, then 3x3 by 2), blocks, layer norm.

    The defaults are MiT-B0 (table 6). ``reductions`` are those of keys and values along an axis.
    ``drop_path`` is the rate of stochastic depth of the last block, from 0 at the first on, and
    needs the rng ``dropout``. ``norm`` is for decoders that name none; the encoder has layer norms.
    """

    names: ClassVar[Names] = {
        "segmentation_models_pytorch": (
            (r"patch_embed(\d)\.proj", r"stage\1_embed!"),
            (r"patch_embed(\d)\.norm", r"stage\1_embed_norm!"),
            (r"block(\d)\.(\d+)\.norm([12])", r"stage\1_block\2.norm\3!"),
            (r"block(\d)\.(\d+)\.attn\.q", r"stage\1_block\2.attention.query-"),
            (r"block(\d)\.(\d+)\.attn\.kv", r"stage\1_block\2.attention.key_value-"),
            (r"block(\d)\.(\d+)\.attn\.sr", r"stage\1_block\2.attention.reduce!"),
            (r"block(\d)\.(\d+)\.attn\.norm", r"stage\1_block\2.attention.norm!"),
            (r"block(\d)\.(\d+)\.attn\.proj", r"stage\1_block\2.attention.out-"),
            (r"block(\d)\.(\d+)\.mlp\.fc1", r"stage\1_block\2.expand-"),
            (r"block(\d)\.(\d+)\.mlp\.dwconv\.dwconv", r"stage\1_block\2.depthwise!"),
            (r"block(\d)\.(\d+)\.mlp\.fc2", r"stage\1_block\2.project-"),
            (r"norm(\d)", r"stage\1_norm!"),
        )
    }

    widths: tuple[int, ...] = (32, 64, 160, 256)
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    heads: tuple[int, ...] = (1, 2, 5, 8)
    reductions: tuple[int, ...] = (8, 4, 2, 1)
    expansion: int = 4
    drop_path: float = 0.1
    norm: Kind = "batch"
    standardize: Standardize | None = None

    @property
    def strides(self) -> tuple[int, ...]:
        """Down-sampling of each feature, finest first."""
        return tuple(4 * 2**stage for stage in range(len(self.widths)))

    @nn.compact
    def __call__(
        self, image: Float[Array, "b *s c"], *, train: bool, count: int | None = None
    ) -> tuple[Float[Array, "b ..."], ...]:
        """A map a stage, finest first, or the first ``count`` of them.

        Raises UserError where fields do not fit each other, or the image is too small to reduce.
        """
        self._check()
        x, features, number = standardized(image, self.standardize), [], 0
        last = max(sum(self.blocks) - 1, 1)
        for stage, width in enumerate(self.widths[:count], start=1):
            size, stride = (7, 4) if stage == 1 else (3, 2)
            x = Conv(width, kernel_size=size, stride=stride, name=f"stage{stage}_embed")(x)
            x = _layer_norm(x, 1e-5, f"stage{stage}_embed_norm")
            for i in range(self.blocks[stage - 1]):
                block = MixBlock(
                    heads=self.heads[stage - 1],
                    reduction=self.reductions[stage - 1],
                    expansion=self.expansion,
                    drop_path=self.drop_path * number / last,
                    name=f"stage{stage}_block{i}",
                )
                x, number = block(x, train=train), number + 1
            x = _layer_norm(x, 1e-6, f"stage{stage}_norm")
            features.append(x)
        return tuple(features)

    def _check(self) -> None:
        stages = len(self.widths)
        for field in ("blocks", "heads", "reductions"):
            if len(getattr(self, field)) != stages:
                raise UserError(
                    f"{field}={getattr(self, field)}: must have {stages} numbers, one for each of "
                    f"widths={self.widths}"
                )


class MixBlock(nn.Module):
    """``y = x + attention(norm1(x))``, then ``y + project(gelu(depthwise(expand(norm2(y)))))``.

    Mix-FFN (equation 3): the 3x3 depthwise convolution tells tokens where they are.
    """

    heads: int
    reduction: int
    expansion: int = 4
    drop_path: float = 0.0

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], *, train: bool) -> Float[Array, "b *s c"]:
        """A map of the same shape."""
        c, width = x.shape[-1], self.expansion * x.shape[-1]
        drop = StochasticDepth(self.drop_path, name="drop1")
        attention = SpatialReductionAttention(self.heads, self.reduction, name="attention")
        y = attention(_layer_norm(x, 1e-6, "norm1"), train=train)
        x = x + drop(y, train=train)
        y = Conv(width, kernel_size=1, name="expand")(_layer_norm(x, 1e-6, "norm2"))
        y = Conv(width, groups=width, name="depthwise")(y)
        y = Conv(c, kernel_size=1, name="project")(nn.gelu(y, approximate=False))
        return x + StochasticDepth(self.drop_path, name="drop2")(y, train=train)


def _layer_norm(x: Array, epsilon: float, name: str) -> Float[Array, "b ..."]:
    """Norm over channels, moments in float32."""
    norm = nn.LayerNorm(epsilon=epsilon, dtype=x.dtype, use_fast_variance=False, name=name)
    return norm(x)
