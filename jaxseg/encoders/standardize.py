"""What an encoder's weights expect of an image, applied inside the encoder."""

from dataclasses import dataclass
from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.errors import UserError, require


@dataclass(frozen=True, kw_only=True)
class Standardize:
    """``(scale * image - mean) / std`` a channel, the channels in ``order`` first.

    Weights are trained on images that somebody has scaled; with this the images stay in [0, 1]
    everywhere else. torchvision's: ``mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)``;
    Caffe's, of blue, green, red to 255: ``mean=(104.0, 117.0, 123.0), std=(1.0, 1.0, 1.0),
    scale=255.0, order="bgr"``.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float = 1.0
    order: Literal["rgb", "bgr"] = "rgb"

    def __post_init__(self) -> None:
        """Refuse lengths that differ, and deviations of 0."""
        fine = len(self.std) == len(self.mean) and min(self.std, default=0) > 0
        require(fine, "standardize.std", self.std, f"above 0, one for each of mean={self.mean}")

    def __call__(self, image: Float[Array, "b *s c"]) -> Float[Array, "b *s c"]:
        """The image as the weights expect it; the moments are float32 in any dtype."""
        if image.shape[-1] != len(self.mean):
            raise UserError(
                f"standardize.mean={self.mean}: must have {image.shape[-1]} numbers, one a channel"
            )
        wide = image.astype(jnp.float32)
        wide = wide[..., ::-1] if self.order == "bgr" else wide
        shape = (1,) * (image.ndim - 1) + (-1,)
        mean, std = (jnp.asarray(x, jnp.float32).reshape(shape) for x in (self.mean, self.std))
        return ((self.scale * wide - mean) / std).astype(image.dtype)


def standardized(
    image: Float[Array, "b *s c"], standardize: Standardize | None
) -> Float[Array, "b *s c"]:
    """The image as it is where nothing is expected."""
    return image if standardize is None else standardize(image)
