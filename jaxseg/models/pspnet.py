"""Pyramid Scene Parsing Network.

Zhao, Shi, Qi, Wang, Jia 2017, https://arxiv.org/abs/1612.01105, figure 3 and section 3.3

Differs from the paper: nothing known; as in the authors' PyTorch code (semseg), 3x3 convolutions
stride, and an image of any size is taken (theirs: one more than a multiple of 8).

CSAIL's ``resnet50dilated+ppm_deepsup`` is ``PSPNet(k, encoder=ResNet(50, stem="deep",
output_stride=8, dilated="after_first"), auxiliary_width=512, align_corners=False)``.
segmentation_models_pytorch's is ``PSPNet(k, encoder=ResNet(50), feature=-3, auxiliary="none",
order="input_last", norm_of_one="none", fusion_kernel=1, head_kernel=3, dropout=0.2)``: it ends at
an eighth of the size. The encoder's parameters behind that are kept, here as there, and unused.
"""

from typing import ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.encoders import ResNet, finest
from jaxseg.errors import require
from jaxseg.layers import ChannelDropout, ConvNorm, Head, Kind, PyramidPooling
from jaxseg.ops import crop, pad_to_least, resize
from jaxseg.types import Names, Paper, Prediction


class PSPNet(nn.Module):
    """Dilated encoder, pyramid pooling of its last feature, a fusing convolution, a head.

    ``feature`` is the one that is pooled, by its place in what the encoder gives (-3: layer2 of a
    ResNet). Its ``bins`` are ``branch_width`` wide; None is the paper's rule, the feature's
    channels divided by the number of bins. ``auxiliary`` are the logits of the feature before it,
    of ``auxiliary_width`` channels; the paper weighs their loss by 0.4. Whole channels of what
    either head reads are dropped at ``dropout`` and 0.1 (rng ``dropout``). Logits are enlarged to
    the image's size, auxiliary ones as well; nothing is padded but images smaller than the
    encoder's stride. Volumes as well.
    """

    paper: ClassVar[Paper] = Paper(
        "Pyramid Scene Parsing Network", "Zhao", 2017, "https://arxiv.org/abs/1612.01105"
    )

    names: ClassVar[Names] = {
        "segmentation_models_pytorch": (
            (r"decoder\.psp\.blocks\.0\.pool\.1\.0", "ppm.bins1.conv!"),
            (r"decoder\.psp\.blocks\.1\.pool\.1\.(?:0|1)", "ppm.bins2"),
            (r"decoder\.psp\.blocks\.2\.pool\.1\.(?:0|1)", "ppm.bins3"),
            (r"decoder\.psp\.blocks\.3\.pool\.1\.(?:0|1)", "ppm.bins6"),
            (r"decoder\.conv\.(?:0|1)", "fusion"),
            (r"segmentation_head\.0", "head!"),
        )
    }

    num_classes: int
    encoder: nn.Module = ResNet(50, stem="deep", output_stride=8)
    feature: int = -1
    bins: tuple[int, ...] = (1, 2, 3, 6)
    branch_width: int | None = None
    order: Literal["input_first", "input_last"] = "input_first"
    norm_of_one: Kind = "batch"
    width: int = 512
    fusion_kernel: int = 3
    head_kernel: int = 1
    auxiliary: Literal["head", "none"] = "head"
    auxiliary_width: int = 256
    align_corners: bool = True
    dropout: float = 0.1
    norm: Kind = "batch"
    dtype: str = "float32"

    @property
    def stride(self) -> None:
        """None: the pyramid's bins are of the whole image."""
        return None

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size. Raises UserError for a ``feature`` that is not there."""
        self._check()
        x = pad_to_least(jnp.asarray(image, self.dtype), self.encoder.strides[-1])
        size, padded = image.shape[1:-1], x.shape[1:-1]
        features = self._features(x, train)
        x = PyramidPooling(
            self.branch_width,
            bins=self.bins,
            align_corners=self.align_corners,
            order=self.order,
            norm=self.norm,
            norm_of_one=self.norm_of_one,
            name="ppm",
        )(features[-1], train=train)
        x = self._conv(self.width, self.fusion_kernel, "fusion")(x, train=train)
        x = ChannelDropout(self.dropout, name="dropout")(x, train=train)
        x = Head(self.num_classes, kernel_size=self.head_kernel, name="head")(x)
        logits = self._logits(x, padded, size)
        if self.auxiliary == "none":
            return Prediction(logits)
        y = self._conv(self.auxiliary_width, 3, "auxiliary_conv")(features[-2], train=train)
        y = ChannelDropout(0.1, name="auxiliary_dropout")(y, train=train)
        y = Head(self.num_classes, name="auxiliary_head")(y)
        return Prediction(logits, (self._logits(y, padded, size),))

    def _features(self, x: Array, train: bool) -> tuple[Array, ...]:
        """Those up to ``feature``; deeper ones get their parameters and are not computed."""
        count = len(self.encoder.strides) + 1 + self.feature
        if self.is_initializing():
            return self.encoder(x, train=train)[:count]
        return finest(self.encoder, x, count, train=train)

    def _conv(self, width: int, kernel_size: int, name: str) -> ConvNorm:
        return ConvNorm(width, kernel_size=kernel_size, norm=self.norm, name=name)

    def _logits(self, x: Array, padded: tuple, size: tuple) -> Float[Array, "b *s k"]:
        return crop(resize(x, padded, "linear", align_corners=self.align_corners), size)

    def _check(self) -> None:
        count, first = len(self.encoder.strides), int(self.auxiliary == "head")
        require(
            -count + first <= self.feature <= -1,
            "PSPNet.feature",
            self.feature,
            f"from {-count + first} to -1 with this encoder",
        )
