"""CE-Net: Context Encoder Network for 2D Medical Image Segmentation.

Gu, Cheng, Fu, Zhou, Hao, Zhao, Zhang, Gao, Liu 2019, https://arxiv.org/abs/1903.02740, figure 2

Differs from the paper, as the authors' code does: the branches of both context blocks share their
convolutions (figures 3 and 4 draw each its own: ``weights="separate"``). Theirs ends in a sigmoid
of one class; here are logits.
"""

from typing import ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.encoders import ResNet
from jaxseg.errors import UserError
from jaxseg.layers import Conv, ConvNorm, Head, Kind, Norm, TransposedConv
from jaxseg.ops import crop, max_pool, pad_to_least, pad_to_multiple, resize
from jaxseg.types import Names, Paper, Prediction

Weights = Literal["shared", "separate"]


class CENet(nn.Module):
    """Encoder, dense atrous convolution, residual multi-kernel pooling, decoder blocks, logits.

    A decoder block reduces to a quarter (1x1), doubles (transposed convolution) and projects (1x1)
    to the width of the encoder's finer feature, which is added; the last one adds nothing.
    ``width`` is that of the two convolutions before the logits. Sizes are padded with zeros at the
    end of each axis to a multiple of the encoder's stride, of at least 6 pixels in its last
    feature, and cropped. Volumes as well.
    """

    paper: ClassVar[Paper] = Paper(
        "CE-Net: Context Encoder Network for 2D Medical Image Segmentation",
        "Gu",
        2019,
        "https://arxiv.org/abs/1903.02740",
    )

    names: ClassVar[Names] = {
        "Guzaiwang/CE-Net": (
            (r"first(conv|bn)", "encoder.stem_conv"),
            (r"encoder(\d)\.(\d+)\.(?:conv|bn)(\d)", r"encoder.layer\1_block\2.conv\3"),
            (r"encoder(\d)\.(\d+)\.downsample\.(?:0|1)", r"encoder.layer\1_block\2.shortcut"),
            (r"dblock\.dilate1", "dac.dilated1!"),
            (r"dblock\.dilate2", "dac.dilated3!"),
            (r"dblock\.dilate3", "dac.dilated5!"),
            (r"dblock\.conv1x1", "dac.pointwise!"),
            (r"spp\.conv", "rmp.conv!"),
            (r"decoder(\d)\.conv1", r"decoder\1_reduce.conv!"),
            (r"decoder(\d)\.norm1", r"decoder\1_reduce.norm!"),
            (r"decoder(\d)\.deconv2", r"decoder\1_up~"),
            (r"decoder(\d)\.norm2", r"decoder\1_norm!"),
            (r"decoder(\d)\.conv3", r"decoder\1_expand.conv!"),
            (r"decoder(\d)\.norm3", r"decoder\1_expand.norm!"),
            (r"finaldeconv1", "final_up~"),
            (r"finalconv2", "final_conv!"),
            (r"finalconv3", "head!"),
        )
    }

    num_classes: int
    encoder: nn.Module = ResNet(34)
    width: int = 32
    weights: Weights = "shared"
    windows: tuple[int, ...] = (2, 3, 5, 6)
    norm: Kind = "batch"
    dtype: str = "float32"

    @property
    def stride(self) -> None:
        """None: the windows of the pooling do not divide evenly over devices."""
        return None

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        size, strides = image.shape[1:-1], self.encoder.strides[-4:]
        x = pad_to_least(jnp.asarray(image, self.dtype), max(self.windows) * strides[-1])
        *finer, x = self.encoder(pad_to_multiple(x, strides[-1]), train=train)[-4:]
        x = DenseAtrous(self.weights, name="dac")(x)
        x = ResidualMultiKernelPooling(self.windows, weights=self.weights, name="rmp")(x)
        for i in reversed(range(len(finer))):
            place = f"decoder{4 - (len(finer) - 1 - i)}"
            factor, skip = strides[i + 1] // strides[i], finer[i]
            x = skip + self._block(x, skip.shape[-1], factor, place, train)
        factor = max(strides[0] // 2, 1)
        x = self._block(x, x.shape[-1], factor, f"decoder{4 - len(finer)}", train)
        last = strides[0] // factor
        up = TransposedConv(
            self.width, stride=last, kernel_size=last + 2, padding=1, name="final_up"
        )
        x = nn.relu(up(x))
        x = nn.relu(Conv(self.width, name="final_conv")(x))
        return Prediction(crop(Head(self.num_classes, kernel_size=3, name="head")(x), size))

    def _block(
        self, x: Array, features: int, factor: int, place: str, train: bool
    ) -> Float[Array, "b *t k"]:
        narrow = max(x.shape[-1] // 4, 1)
        x = self._pointwise(narrow, f"{place}_reduce")(x, train=train)
        x = TransposedConv(
            narrow,
            stride=factor,
            kernel_size=3,
            padding=1,
            output_padding=factor - 1,
            name=f"{place}_up",
        )(x)
        x = Norm(self.norm, activation="relu", name=f"{place}_norm")(x, train=train)
        return self._pointwise(features, f"{place}_expand")(x, train=train)

    def _pointwise(self, features: int, name: str) -> ConvNorm:
        return ConvNorm(features, kernel_size=1, norm=self.norm, use_bias=True, name=name)


BRANCHES = ((1,), (3,), (1, 3), (1, 3, 5))
"""The rates of each branch's chain of 3x3 convolutions; the figure's fields of 3, 7, 9, 19."""


class DenseAtrous(nn.Module):
    """``x + sum of relu(branch(x))``; 3x3 chains of ``BRANCHES``, all but the first closed by 1x1.

    No norm, and no activation inside a branch. ``weights``: the figure draws each convolution as
    its own (``separate``); the authors' code has one convolution per rate and one 1x1, which all
    branches share (``shared``), and 29,003,093 parameters in all of CE-Net count on that.
    """

    weights: Weights = "shared"

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"]) -> Float[Array, "b *s c"]:
        """Size and channels stay."""
        total, convs, maps = x, {}, {}
        for number, rates in enumerate(BRANCHES, start=1):
            prefix = "" if self.weights == "shared" else f"branch{number}_"
            y, path = x, prefix
            for rate in rates:
                path += f"dilated{rate} "
                if path not in maps:  # shared chains begin alike: each convolution runs once
                    conv = self._conv(convs, f"{prefix}dilated{rate}", x.shape[-1], rate)
                    maps[path] = conv(y)
                y = maps[path]
            if rates != BRANCHES[0]:
                y = self._conv(convs, f"{prefix}pointwise", x.shape[-1], 0)(y)
            total = total + nn.relu(y)
        return total

    def _conv(self, convs: dict[str, Conv], name: str, channels: int, rate: int) -> Conv:
        """The convolution of that name, made where it is first asked for; rate 0 is the 1x1."""
        if name not in convs:
            convs[name] = Conv(
                channels, kernel_size=3 if rate else 1, dilation=rate or 1, name=name
            )
        return convs[name]


class ResidualMultiKernelPooling(nn.Module):
    """``[pooled_1, ..., pooled_n, x]``: x seen through four windows, each reduced to one channel.

    Max pooling of window = stride, 1x1 convolution with bias, linear upsampling
    (``align_corners=False``) to the size of x. The authors' code has one 1x1 convolution for all
    windows (``weights="shared"``, 513 parameters for 512 channels); figure 4 draws one each
    (``separate``). Any spatial rank. A map smaller than the largest window: UserError.

    Rows sharded over devices: right where the device has 4 (16 over 4, 32 over 8, also 24 over 4);
    of 8 rows over 4, XLA's partitioner made an invalid program and said so.
    """

    windows: tuple[int, ...] = (2, 3, 5, 6)
    weights: Weights = "shared"

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"]) -> Float[Array, "b *s d"]:
        """The size stays; the channels grow by one a window."""
        size = x.shape[1:-1]
        if any(isinstance(n, int) and n < max(self.windows) for n in size):
            raise UserError(
                f"ResidualMultiKernelPooling {self.name}: windows={self.windows} on a map of "
                f"{size}; it takes at least {max(self.windows)} pixels an axis, or smaller windows"
            )
        if self.weights == "shared":
            conv = Conv(1, kernel_size=1, name="conv")
            convs = [conv] * len(self.windows)
        else:
            convs = [Conv(1, kernel_size=1, name=f"conv{window}") for window in self.windows]
        pooled = [
            resize(conv(max_pool(x, window)), size, "linear")
            for conv, window in zip(convs, self.windows, strict=True)
        ]
        return jnp.concatenate([*pooled, x], axis=-1)
