"""The contracting path of the U-Net (figure 1, left side), padded."""

import flax.linen as nn
from jaxtyping import Array, Float

from jaxseg.encoders.standardize import Standardize, standardized
from jaxseg.layers import ConvNorm, Kind
from jaxseg.layers.recalibration import recalibrated
from jaxseg.ops import max_pool


class Plain(nn.Module):
    """``convs`` convolutions of 3 a level, max pooling by 2 between the levels.

    A copy of ``recalibration`` (`jaxseg.layers.recalibration`) ends each level.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)
    convs: int = 2
    norm: Kind = "batch"
    standardize: Standardize | None = None
    recalibration: nn.Module | None = None

    @property
    def strides(self) -> tuple[int, ...]:
        """Down-sampling of each feature, finest first."""
        return tuple(2**level for level in range(len(self.widths)))

    @nn.compact
    def __call__(
        self, image: Float[Array, "b *s c"], *, train: bool, count: int | None = None
    ) -> tuple[Float[Array, "b ..."], ...]:
        """One feature a level, finest first; the first ``count`` of them (None: all)."""
        x, features = standardized(image, self.standardize), []
        for level, width in enumerate(self.widths[:count]):
            x = max_pool(x) if level else x
            for i in range(1, self.convs + 1):
                x = ConvNorm(
                    width,
                    norm=self.norm,
                    name=f"level{level}_conv{i}",
                )(x, train=train)
            x = recalibrated(self.recalibration, x, f"level{level}_recalibration", train=train)
            features.append(x)
        return tuple(features)
