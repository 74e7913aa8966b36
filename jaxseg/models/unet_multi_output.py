"""U-Net with a prediction at each up step, fused, and an image-level classification head.

Kayalibay, Jensen, van der Smagt 2017, "CNN-based Segmentation of Medical Imaging Data",
https://arxiv.org/abs/1701.03056: segmentation maps of several up steps, upsampled and summed.

Differs from the paper: every up step predicts (the paper: the last three) and each map is
upsampled to full resolution before the sum (the paper sums step by step; both are linear);
encoder, norm and skips are those of ``unet``; the image-level head is ours: global average of
the coarsest feature and a dense layer, for classification beside segmentation.
"""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.encoders import Plain
from jaxseg.layers import (
    ExpandingPath,
    Head,
    Kind,
    Upsample,
    crop,
    enlarge,
    pad_to_multiple,
)
from jaxseg.types import Prediction


class UNetMultiOutput(nn.Module):
    """``logits`` is the sum of ``auxiliary``: the logits of each up step, all of image size.

    ``image_logits`` are from the bottleneck: ``image_classes`` of them, None for ``num_classes``.
    The other fields, and how sizes fit, are as in ``UNet``.
    """

    num_classes: int
    encoder: nn.Module = Plain()
    widths: tuple[int, ...] | None = None
    upsample: Upsample | None = None
    norm: Kind | None = None
    image_classes: int | None = None
    dtype: str = "float32"
    param_dtype: str | None = None

    @property
    def stride(self) -> int:
        """Sizes that are multiples of this need no padding."""
        return self.encoder.strides[-1]

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Fused and single logits of the image's size, and those of the image as a whole."""
        size = image.shape[1:-1]
        param_dtype = self.param_dtype or self.encoder.param_dtype
        x = pad_to_multiple(jnp.asarray(image, self.dtype), self.stride)
        features = self.encoder(x, train=train)
        maps = ExpandingPath(
            self.encoder.strides,
            widths=self.widths,
            upsample=self.upsample,
            norm=self.norm or self.encoder.norm,
            param_dtype=param_dtype,
            name="decoder",
        )(features, train=train)
        single = []
        strides = self.encoder.strides
        for level, x in enumerate(maps):
            stride = strides[level - (strides[0] > 1)] if level else 1
            head = Head(self.num_classes, param_dtype=param_dtype, name=f"level{level}_head")
            single.append(crop(enlarge(head(x), stride, "linear"), size))
        # The padding, if any, takes part in the average.
        whole = features[-1].astype(jnp.float32).mean(range(1, image.ndim - 1))
        classes = self.num_classes if self.image_classes is None else self.image_classes
        image_head = nn.Dense(classes, param_dtype=param_dtype, name="image_head")
        logits: Float[Array, "b *s k"] = sum(single[1:], start=single[0])
        return Prediction(logits, tuple(single), image_head(whole))
