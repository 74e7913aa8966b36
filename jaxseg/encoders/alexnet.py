"""AlexNet: ImageNet Classification with Deep Convolutional Neural Networks.

Krizhevsky, Sutskever, Hinton 2012; one column of it, Krizhevsky 2014,
https://arxiv.org/abs/1404.5997, which is torchvision's ``alexnet``.

Differs from the papers in its padding, so that strides are 4, 8, 16, 32 and a decoder's maps fit;
``padding="paper"`` has the papers' maps (55, 27, 13 and 6 pixels of 224), with the same weights.
Without the classifier.
"""

from typing import ClassVar, Literal

import flax.linen as nn
from jaxtyping import Array, Float

from jaxseg.encoders.standardize import Standardize, standardized
from jaxseg.layers import ConvNorm, Kind
from jaxseg.ops import local_response, max_pool
from jaxseg.types import Names

WIDTHS = {"torchvision": (64, 192, 384, 256, 256), "caffenet": (96, 256, 384, 384, 256)}


class AlexNet(nn.Module):
    """Five convolutions of 11, 5, 3, 3 and 3, max pooling (3, stride 2) after 1, 2 and 5.

    Features: the first, second and fifth convolution, and the last pooling. ``caffenet`` is Caffe's
    AlexNet of 2012: wider, convolutions 2, 4 and 5 in two groups, local response normalisation
    after the first two poolings, no padding of the image, sizes rounded up after pooling
    (the last two in ``padding="paper"`` alone).
    ``widths`` are those of the form where empty.
    """

    names: ClassVar[Names] = {
        "torchvision": (
            (r"features\.0", "conv1.conv!"),
            (r"features\.3", "conv2.conv!"),
            (r"features\.6", "conv3.conv!"),
            (r"features\.8", "conv4.conv!"),
            (r"features\.10", "conv5.conv!"),
        )
    }

    form: Literal["torchvision", "caffenet"] = "torchvision"
    padding: Literal["same", "paper"] = "same"
    widths: tuple[int, ...] = ()
    norm: Kind = "none"
    standardize: Standardize | None = None

    @property
    def strides(self) -> tuple[int, ...]:
        """Down-sampling of each feature, finest first."""
        return (4, 8, 16, 32)

    @nn.compact
    def __call__(
        self, image: Float[Array, "b *s c"], *, train: bool, count: int | None = None
    ) -> tuple[Float[Array, "b ..."], ...]:
        """Four features, finest first, or the first ``count`` of them.

        Raises UserError where the image is too small to pool.
        """
        x, features = standardized(image, self.standardize), []
        caffe, paper = self.form == "caffenet", self.padding == "paper"
        for i, width in enumerate(self.widths or WIDTHS[self.form], start=1):
            if len(features) == count:
                return tuple(features)
            conv = ConvNorm(
                width,
                kernel_size={1: 11, 2: 5}.get(i, 3),
                stride=4 if i == 1 else 1,
                padding=(0 if caffe else 2) if paper and i == 1 else None,
                groups=2 if caffe and i in (2, 4, 5) else 1,
                norm=self.norm,
                name=f"conv{i}",
            )
            x = conv(x, train=train)
            if i in (1, 2, 5):
                features.append(x)
                x = max_pool(x, 3, stride=2, padding=0 if paper else 1, ceil_mode=paper and caffe)
                x = local_response(x) if caffe and i < 5 else x
        return (*features, x)[:count]
