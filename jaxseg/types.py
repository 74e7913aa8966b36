"""What passes between the parts of jaxseg, and the letters for dimensions.

``b`` batch, ``h w`` size, ``d`` depth (first spatial axis of a volume), ``c`` channels,
``k`` classes, ``n`` items, ``*spatial`` any spatial rank. Channels are last everywhere.
"""

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Bool, Float, Int

IGNORE = -1
"""Label of pixels that neither count in a score nor have a gradient."""


class Batch(NamedTuple):
    """One batch of examples, on the host (numpy) or on devices.

    ``image`` is float32, in ``[0, 1]`` or z-scored as the data says. ``valid`` is False on rows
    that only fill up a ragged batch. ``weight`` is a factor a pixel for the losses, and
    ``instance`` numbers the objects from 1 (0 is background); both may be absent.
    """

    image: Float[Array | np.ndarray, "b *spatial c"]
    label: Int[Array | np.ndarray, " b *spatial"]
    valid: Bool[Array | np.ndarray, " b"]
    weight: Float[Array | np.ndarray, " b *spatial"] | None = None
    instance: Int[Array | np.ndarray, " b *spatial"] | None = None


class Prediction(NamedTuple):
    """What every model returns.

    ``logits`` are float32 whatever the compute dtype and have the size of the image (networks of
    valid convolutions: ``output_size``). ``auxiliary`` are further logits, finest first, at any
    resolution (deep supervision). ``image_logits`` speak of the image as a whole.
    """

    logits: Float[Array, "b *spatial k"]
    auxiliary: tuple[Float[Array, "b ... k"], ...] = ()
    image_logits: Float[Array, "b k"] | None = None


@runtime_checkable
class ValidConvolutions(Protocol):
    """A network whose logits are smaller than its image."""

    def output_size(self, spatial: tuple[int, ...]) -> tuple[int, ...]:
        """Size of the logits, centred in an image of size ``spatial``."""
        ...


def output_size(model: object, spatial: tuple[int, ...]) -> tuple[int, ...]:
    """Size of ``model``'s logits for an image of size ``spatial``."""
    return model.output_size(spatial) if isinstance(model, ValidConvolutions) else tuple(spatial)
