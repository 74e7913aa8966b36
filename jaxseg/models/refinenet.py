"""RefineNet: Multi-Path Refinement Networks for High-Resolution Semantic Segmentation.

Lin, Milan, Shen, Reid 2017, https://arxiv.org/abs/1611.06612, figures 2 and 3: four blocks.

Differs from the paper, as the released networks do: four links of pooling and three residual units
at the end of each block, where figure 3 draws ``links=2`` and ``units=(2, 1)``. They also feed the
image enlarged by 1.2 and keep the encoder's statistics as they are while training; both belong to
the recipe.

The authors' later code convolves before it pools: ``order="conv_pool"``. The community's PyTorch
port (DrSleep/refinenet-pytorch) strides in 3x3 convolutions: ``encoder=ResNet(101)``.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.encoders import ResNet
from jaxseg.errors import UserError
from jaxseg.layers import Conv, Head
from jaxseg.ops import crop, max_pool, pad_to_least, resize
from jaxseg.types import Names, Paper, Prediction

Order = Literal["pool_conv", "conv_pool"]


def _of_the_port() -> tuple[tuple[str, str], ...]:
    """Its stage 1 is our block 4; what leads from one stage to the next is in our next fusion."""
    found = [(pattern, f"encoder.{name}") for pattern, name in ResNet.names["torchvision"]]
    for stage in (1, 2, 3, 4):
        ours, end = f"refine{5 - stage}", "_conv_relu_varout_dimred"
        for theirs, unit in ((f"adapt_stage{stage}", "unit"), (f"mflow_conv_g{stage}", "out")):
            found += [
                (rf"{theirs}_b\.0\.(\d)_conv", rf"{ours}_{unit}\1.conv1!"),
                (rf"{theirs}_b\.0\.(\d){end}", rf"{ours}_{unit}\1.conv2!"),
            ]
        found += [
            (rf"p_ims1d2_outl{stage}_dimred", f"{ours}_adapt!"),
            (rf"adapt_stage{stage}_b2_joint_varout_dimred", f"{ours}_fusion.conv0!"),
            (rf"mflow_conv_g{stage - 1}_b3_joint_varout_dimred", f"{ours}_fusion.conv1!"),
        ]
        for i in range(4):
            there = rf"mflow_conv_g{stage}_pool\.0\.{i + 1}_outvar_dimred"
            found.append((there, f"{ours}_pooling.conv{i}!"))
    return (*found, ("clf_conv", "head!"))


class RefineNet(nn.Module):
    """Encoder; a block a feature from the coarsest on, fused with the finer one; the logits.

    ``widths`` are the blocks', coarsest first: RefineNet-4 is that of the last feature. A block
    adapts its feature (a convolution and the first of ``units``, residual ones), fuses it with the
    coarser block's map, pools in a chain of ``links`` (``order``: see `ChainedResidualPooling`)
    and ends in the second of ``units``. An encoder of fewer features has the first blocks alone.
    ``dropout`` acts on the two coarsest features and before the head (rng ``dropout``). Logits are
    enlarged from the finest block's size, corners aligned; nothing is padded but images smaller
    than the encoder's stride. Volumes as well.
    """

    paper: ClassVar[Paper] = Paper(
        "RefineNet: Multi-Path Refinement Networks for High-Resolution Semantic Segmentation",
        "Lin",
        2017,
        "https://arxiv.org/abs/1611.06612",
    )

    names: ClassVar[Names] = {"DrSleep/refinenet-pytorch": _of_the_port()}

    num_classes: int
    encoder: nn.Module = ResNet(101, strided="1x1")
    widths: tuple[int, ...] = (512, 256, 256, 256)
    units: tuple[int, int] = (2, 3)
    links: int = 4
    order: Order = "pool_conv"
    dropout: float = 0.5
    dtype: str = "float32"

    @property
    def stride(self) -> int:
        """Sizes that are multiples of this are halved evenly."""
        return self.encoder.strides[-1]

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        x = pad_to_least(jnp.asarray(image, self.dtype), self.stride)
        size, padded = image.shape[1:-1], x.shape[1:-1]
        features = self.encoder(x, train=train)[-len(self.widths) :]
        x = None
        for i, (y, width) in enumerate(zip(reversed(features), self.widths, strict=False)):
            place = f"refine{len(self.widths) - i}"
            if i < 2:
                y = self._dropped(y, f"{place}_dropout", train)
            x = self._block(y, x, width, place)
        assert x is not None
        x = self._dropped(x, "dropout", train)
        logits = Head(self.num_classes, kernel_size=3, name="head")(x)
        return Prediction(crop(resize(logits, padded, "linear", align_corners=True), size))

    def _block(
        self, x: Array, coarser: Array | None, width: int, place: str
    ) -> Float[Array, "b ..."]:
        before, after = self.units
        x = Conv(width, use_bias=False, name=f"{place}_adapt")(x)
        for i in range(before):
            x = ResidualConvUnit(name=f"{place}_unit{i + 1}")(x)
        if coarser is not None:
            x = MultiResolutionFusion(width, name=f"{place}_fusion")((x, coarser))
        x = ChainedResidualPooling(self.links, order=self.order, name=f"{place}_pooling")(x)
        for i in range(after):
            x = ResidualConvUnit(name=f"{place}_out{i + 1}")(x)
        return x

    def _dropped(self, x: Array, name: str, train: bool) -> Float[Array, "b ..."]:
        return nn.Dropout(self.dropout, deterministic=not train, name=name)(x)


class ResidualConvUnit(nn.Module):
    """The unit RCU: ``x + conv(relu(conv(relu(x))))``, the first with a bias (figure 3b)."""

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"]) -> Float[Array, "b *s c"]:
        """Size and width stay."""
        y = Conv(x.shape[-1], name="conv1")(nn.relu(x))
        return x + Conv(x.shape[-1], use_bias=False, name="conv2")(nn.relu(y))


class MultiResolutionFusion(nn.Module):
    """The sum MRF: each map convolved by 3x3 and enlarged to the finest (figure 3c).

    Enlarged linearly with corners aligned, as in the released code.
    """

    features: int

    @nn.compact
    def __call__(self, maps: Sequence[Float[Array, "b ..."]]) -> Float[Array, "b ..."]:
        """The maps come finest first; the sum has the size of the first."""
        total, size = None, maps[0].shape[1:-1]
        for i, x in enumerate(maps):
            conv = Conv(self.features, use_bias=False, name=f"conv{i}")
            y = resize(conv(x), size, "linear", align_corners=True)
            total = y if total is None else total + y
        assert total is not None
        return total


class ChainedResidualPooling(nn.Module):
    """The chain CRP: ReLU, then pooling and convolution, each link added to the sum (figure 3d).

    ``pool_conv`` is the paper's order, of the released VOC weights; ``conv_pool`` that of the
    authors' improved code.
    """

    links: int = 4
    window: int = 5
    order: Order = "pool_conv"

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"]) -> Float[Array, "b *s c"]:
        """Size and width stay. Raises UserError where ``window`` is even."""
        if self.window % 2 == 0:
            raise UserError(
                f"ChainedResidualPooling {self.name}: window={self.window} would change the size; "
                f"use an odd one, such as {self.window + 1}"
            )
        total = link = nn.relu(x)
        for i in range(self.links):
            conv = Conv(x.shape[-1], use_bias=False, name=f"conv{i}")
            link = conv(self._pool(link)) if self.order == "pool_conv" else self._pool(conv(link))
            total = total + link
        return total

    def _pool(self, x: Array) -> Array:
        return max_pool(x, self.window, stride=1, padding=self.window // 2)
