"""Global attention upsample (GAU), the decoder of PAN.

Li et al. 2018, "Pyramid Attention Network for Semantic Segmentation",
https://arxiv.org/abs/1805.10180, section 3.3 and figure 4.
"""

from typing import Literal

import flax.linen as nn
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.layers.conv import Conv
from jaxseg.layers.norm import Kind, Norm
from jaxseg.ops import mean_over_space, resize, spread


class GlobalAttentionUpsample(nn.Module):
    """``upsampled(high) + relu(norm(conv3x3(low))) * gate(norm(conv1x1(mean(high))))``.

    The gate, one number a channel, is a ReLU in the paper and a sigmoid in
    segmentation_models_pytorch, whose convolutions also have a bias before the norm
    (``use_bias``: no effect but on parameter counts and weights read from there). Any spatial rank.
    """

    gate: Literal["relu", "sigmoid"] = "relu"
    align_corners: bool = True
    norm: Kind = "batch"
    use_bias: bool = False

    @nn.compact
    def __call__(
        self, low: Float[Array, "b *s c"], high: Float[Array, "b *t k"], *, train: bool
    ) -> Float[Array, "b *s k"]:
        """``low`` is the finer map; the size is its, the channels are those of ``high``."""
        if low.ndim != high.ndim:
            raise UserError(
                f"GlobalAttentionUpsample {self.name}: low {low.shape} and high {high.shape}; "
                "both need the same number of axes"
            )
        weight = self._conv_norm(mean_over_space(high), high.shape[-1], "gate", train)
        local = self._conv_norm(low, high.shape[-1], "local", train)
        high = resize(high, low.shape[1:-1], "linear", align_corners=self.align_corners)
        return high + local * spread(weight, local.shape, local.dtype)

    def _conv_norm(self, x: Array, features: int, role: str, train: bool) -> Float[Array, "b ..."]:
        x = Conv(
            features,
            kernel_size=1 if role == "gate" else 3,
            use_bias=self.use_bias or self.norm == "none",
            name=f"{role}_conv",
        )(x)
        norm = Norm(
            self.norm, activation=self.gate if role == "gate" else "relu", name=f"{role}_norm"
        )
        return norm(x, train=train)
