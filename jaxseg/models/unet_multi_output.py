"""U-Net with a prediction at each up step, fused, and an image-level classification head.

Kayalibay, Jensen, van der Smagt 2017, "CNN-based Segmentation of Medical Imaging Data",
https://arxiv.org/abs/1701.03056: segmentation maps of several up steps, upsampled and summed.

Differs from the paper: every up step predicts (the paper: the last three) and each map is
upsampled to full resolution before the sum (the paper sums step by step; both are linear);
encoder, norm and skips are those of ``unet``; the image-level head is ours: global average of
the coarsest feature and a dense layer, for classification beside segmentation.
"""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.encoders import Plain
from jaxseg.layers import ExpandingPath, Head, Kind, Upsample
from jaxseg.layers.expanding_path import level_strides
from jaxseg.ops import crop, enlarge, pad_to_multiple
from jaxseg.types import Paper, Prediction


class UNetMultiOutput(nn.Module):
    """``logits`` is the sum of ``auxiliary``: the logits of each up step, all of image size.

    ``image_logits`` are from the bottleneck: ``image_classes`` of them, None for ``num_classes``.
    The other fields, and how sizes fit, are as in ``UNet``.
    """

    paper: ClassVar[Paper] = Paper(
        "CNN-based Segmentation of Medical Imaging Data",
        "Kayalibay",
        2017,
        "https://arxiv.org/abs/1701.03056",
    )

    num_classes: int
    encoder: nn.Module = Plain()
    widths: tuple[int, ...] | None = None
    upsample: Upsample | None = None
    norm: Kind | None = None
    image_classes: int | None = None
    dtype: str = "float32"

    @property
    def stride(self) -> int:
        """Sizes that are multiples of this need no padding."""
        return self.encoder.strides[-1]

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Fused and single logits of the image's size, and those of the image as a whole."""
        size = image.shape[1:-1]
        x = pad_to_multiple(jnp.asarray(image, self.dtype), self.stride)
        features = self.encoder(x, train=train)
        maps = ExpandingPath(
            self.encoder.strides,
            widths=self.widths,
            upsample=self.upsample,
            norm=self.norm or self.encoder.norm,
            name="decoder",
        )(features, train=train)
        single = []
        strides = level_strides(self.encoder.strides)
        for level, (x, stride) in enumerate(zip(maps, strides, strict=True)):
            head = Head(self.num_classes, name=f"level{level}_head")
            single.append(crop(enlarge(head(x), stride, "linear"), size))
        # The padding, if any, takes part in the average.
        whole = features[-1].astype(jnp.float32).mean(range(1, image.ndim - 1))
        classes = self.num_classes if self.image_classes is None else self.image_classes
        image_head = nn.Dense(classes, name="image_head")
        logits: Float[Array, "b *s k"] = sum(single[1:], start=single[0])
        return Prediction(logits, tuple(single), image_head(whole))
