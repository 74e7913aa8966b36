"""Dense prediction cell (DPC): the multi-scale head that a search over architectures found.

Chen, Collins, Zhu, Papandreou, Zoph, Schroff, Adam, Shlens 2018, "Searching for Efficient
Multi-Scale Architectures for Dense Image Prediction", https://arxiv.org/abs/1809.04184, figure 5.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.layers.aspp import formed
from jaxseg.layers.conv_norm import ConvNorm
from jaxseg.layers.norm import Kind

BRANCHES = (
    ((1, 6), None),
    ((18, 15), 0),
    ((6, 3), 1),
    ((1, 1), 0),
    ((6, 21), 0),
)
"""Rates down and across, and the number of the branch that it reads (None: the cell's input).

The cell that was best on Cityscapes, as released; its ``conv_rate_multiplier`` is ``multiplier``.
"""


class DensePredictionCell(nn.Module):
    """Five separable 3x3 convolutions of ``features`` channels, concatenated and projected.

    Each has norm and ReLU after both halves. The first reads the input, the others one of those
    before them. Rates are those at output stride 16 times ``multiplier``, 2 at stride 8.
    ``dropout`` acts on the concatenation and needs the rng ``dropout``. Images only.
    """

    features: int = 256
    multiplier: int = 1
    dropout: float = 0.1
    norm: Kind = "batch"

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b h w k"]:
        """The size stays."""
        maps: list[Array] = []
        for number, ((down, across), source) in enumerate(BRANCHES, start=1):
            conv = formed(
                "deeplab",
                self.features,
                dilation=(self.multiplier * down, self.multiplier * across),
                norm=self.norm,
                name=f"branch{number}",
            )
            maps.append(conv(x if source is None else maps[source], train=train))
        y = jnp.concatenate(maps, axis=-1)
        y = nn.Dropout(self.dropout, deterministic=not train, name="dropout")(y)
        project = ConvNorm(self.features, kernel_size=1, norm=self.norm, name="projection")
        return project(y, train=train)
