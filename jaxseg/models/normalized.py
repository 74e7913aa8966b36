"""A network that normalises the image in front of one that segments it; both learn together.

Learning Normalized Inputs for Iterative Estimation in Medical Image Segmentation, Drozdzal,
Chartrand, Vorontsov, Di Jorio, Tang, Romero, Bengio, Pal, Kadoury 2018,
https://arxiv.org/abs/1702.05174: a fully convolutional network makes a new image of the image,
without an activation, and learns from the segmentation's loss alone. ``fc_resnet`` is the paper's
whole; here the normalizer stands in front of any network.
"""

import math
from typing import Any

import flax.linen as nn
import numpy as np
from jaxtyping import Array, Float

from jaxseg.encoders import Plain
from jaxseg.errors import UserError, require
from jaxseg.models.unet import UNet
from jaxseg.types import Prediction, covering_size

NORMALIZER = UNet(1, encoder=Plain((16, 32, 64, 128, 256), norm="none"))
"""A small U-Net, as in the paper, whose only map is the new image. Its width is a guess."""


class Normalized(nn.Module):
    """``model(normalizer(image))``: `normalizer` is a network whose logits are the new image.

    That has as many channels as ``normalizer.num_classes``; classes and further inputs are those of
    ``model``. 2-D and 3-D, and of any size, as both of them are.
    """

    model: nn.Module
    normalizer: nn.Module = NORMALIZER

    @property
    def num_classes(self) -> int:
        """The model's."""
        return self.model.num_classes

    @property
    def dtype(self) -> str:
        """The model's: `types.at_dtype` sets it in both networks."""
        return self.model.dtype

    @property
    def inputs(self) -> tuple[str, ...]:
        """The fields of a batch that the model takes beside the image."""
        return getattr(self.model, "inputs", ())

    @property
    def stride(self) -> Any:
        """Sizes that are multiples of it suit both; None where one of them has none."""
        return common_stride(self.model.stride, self.normalizer.stride)

    @nn.compact
    def __call__(
        self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool, **side: Any
    ) -> Prediction:
        """What the model gives. Raises UserError for networks of valid convolutions."""
        _check("model", self.model)
        return self.model(normalized(self.normalizer, image, train), train=train, **side)


def normalized(
    normalizer: nn.Module, image: Float[Array | np.ndarray, "b *s c"], train: bool
) -> Float[Array, "b *s k"]:
    """The new image. UserError where it would be smaller than the image."""
    _check("normalizer", normalizer)
    return normalizer(image, train=train).logits


def common_stride(*strides: Any) -> Any:
    """The least common multiple: one number, or one an axis; None where one of them is None."""
    if None in strides:
        return None
    if all(isinstance(stride, int) for stride in strides):
        return math.lcm(*strides)
    rank = next(len(stride) for stride in strides if not isinstance(stride, int))
    each = [(s,) * rank if isinstance(s, int) else tuple(s) for s in strides]
    return tuple(math.lcm(*axis) for axis in zip(*each, strict=True))


def _check(field: str, network: nn.Module) -> None:
    classes = getattr(network, "num_classes", None)
    fits = isinstance(classes, int) and classes >= 1
    require(fits, f"{field}.num_classes", classes, "at least 1, of a network with logits")
    alone = network.clone(parent=None)  # what is bound to variables has no hash
    if covering_size(alone, (64,)) != (64,):
        raise UserError(
            f"{field}={type(network).__name__}: its valid convolutions make the image smaller; "
            "take a network whose logits have the image's size, such as UNet"
        )
