"""ESPNet: Efficient Spatial Pyramid of Dilated Convolutions for Semantic Segmentation.

Mehta, Rastegari, Caspi, Shapiro, Hajishirzi 2018, https://arxiv.org/abs/1803.06815, figure 4

Differs from the paper: nothing known. The defaults are the released network (alpha 2 and 8), whose
weights for CamVid fit by ``names``; they have a twelfth class, void, and expect images as blue,
green, red, standardised and divided by 255. ``decoder="none"`` is ESPNet-C, which is trained first
and whose parameters the whole network has by the same names. ESPNet-A and B are not here.
"""

from typing import ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.encoders.espnet import EPSILON, ESP, ESPNetC
from jaxseg.layers import Conv, ConvNorm, Head, Norm, TransposedConv
from jaxseg.ops import crop, pad_to_multiple, resize
from jaxseg.types import Names, Paper, Prediction

AUTHORS = "sacmehta/ESPNet"

REFINED = (
    (r"encoder\.classifier\.conv", "coarse_head!"),
    (r"br", "coarse_norm!"),
    (r"up_l3\.0", "level1_up~"),
    (r"level3_C\.conv", "level1_project!"),
    (r"combine_l2_l3\.0\.bn", "level1_norm!"),
    (r"combine_l2_l3\.0\.act", "level1_norm@slope"),
    (r"combine_l2_l3\.1\.c1\.conv", "level1_esp.reduce!"),
    (r"combine_l2_l3\.1\.d(\d+)\.conv", r"level1_esp.dilated\1!"),
    (r"combine_l2_l3\.1\.bn\.bn", "level1_esp.norm!"),
    (r"combine_l2_l3\.1\.bn\.act", "level1_esp.norm@slope"),
    (r"up_l2\.0", "level0_up~"),
    (r"up_l2\.1\.bn", "level0_up_norm!"),
    (r"up_l2\.1\.act", "level0_up_norm@slope"),
    (r"conv\.conv", "level0_conv.conv!"),
    (r"conv\.bn", "level0_conv.norm!"),
    (r"conv\.act", "level0_conv.norm@slope"),
    (r"classifier", "head~"),
)
"""Where the decoder stands in their files."""


class ESPNet(nn.Module):
    """Encoder; class scores of its last feature, refined by the finer ones at ``num_classes``.

    From one feature to the next finer one the scores are doubled by a transposed convolution. The
    middle features are reduced to scores too and join them in a pyramid (`ESP`), the finest joins
    as it is before a 3x3 convolution; a last transposed convolution gives the image's size.
    Without a decoder the coarse scores are interpolated. 2-D and 3-D by the rank of the image, of
    any size: padded with zeros at the end of each axis to a multiple of ``stride``, and cropped.
    """

    paper: ClassVar[Paper] = Paper(
        "ESPNet: Efficient Spatial Pyramid of Dilated Convolutions for Semantic Segmentation",
        "Mehta",
        2018,
        "https://arxiv.org/abs/1803.06815",
    )

    num_classes: int
    encoder: nn.Module = ESPNetC()
    decoder: Literal["refined", "none"] = "refined"
    dtype: str = "float32"

    @property
    def names(self) -> Names:
        """The encoder alone has no place of its own in the authors' files."""
        if self.decoder == "refined":
            return {AUTHORS: REFINED}
        of_encoder = getattr(self.encoder, "names", {}).get(AUTHORS, ())
        rows = tuple((pattern, f"encoder.{name}") for pattern, name in of_encoder)
        return {AUTHORS: ((r"classifier\.conv", "coarse_head!"), *rows)}

    @property
    def stride(self) -> int:
        """Sizes that are multiples of this need no padding."""
        return self.encoder.strides[-1]

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        size = image.shape[1:-1]
        x = pad_to_multiple(jnp.asarray(image, self.dtype), self.stride)
        padded = x.shape[1:-1]
        features = self.encoder(x, train=train)
        if self.decoder == "none":
            coarse = Head(self.num_classes, use_bias=False, name="coarse_head")(features[-1])
            return Prediction(crop(resize(coarse, padded, "linear"), size))
        return Prediction(crop(self._refined(features, train), size))

    def _refined(self, features: tuple[Array, ...], train: bool) -> Float[Array, "b *s k"]:
        strides, classes = self.encoder.strides, self.num_classes
        x = Conv(classes, 1, use_bias=False, name="coarse_head")(features[-1])
        x = Norm(epsilon=EPSILON, name="coarse_norm")(x, train=train)
        for level in reversed(range(len(features) - 1)):
            x = self._up(strides[level + 1] // strides[level], f"level{level}_up")(x)
            if level:
                project = Conv(classes, 1, use_bias=False, name=f"level{level}_project")
                x = jnp.concatenate([project(features[level]), x], axis=-1)
                x = self._norm(f"level{level}_norm")(x, train=train)
                x = ESP(classes, shortcut="none", name=f"level{level}_esp")(x, train=train)
            else:
                x = self._norm("level0_up_norm")(x, train=train)
                x = jnp.concatenate([x, features[0]], axis=-1)
                conv = ConvNorm(classes, activation="prelu", epsilon=EPSILON, name="level0_conv")
                x = conv(x, train=train)
        return self._up(strides[0], "head")(x.astype(jnp.float32))

    def _up(self, factor: int, name: str) -> TransposedConv:
        return TransposedConv(self.num_classes, stride=factor, use_bias=False, name=name)

    def _norm(self, name: str) -> Norm:
        return Norm(activation="prelu", epsilon=EPSILON, name=name)
