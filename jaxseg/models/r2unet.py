"""R2U-Net: Recurrent Residual Convolutional Neural Network based on U-Net.

Alom, Hasan, Yakopcic, Taha, Asari 2018, https://arxiv.org/abs/1802.06955

Differs from the paper: padded convolutions, and a 1x1 convolution in each unit before the
recurrent ones, as in community code, so that the residual has their channels.
``R2UNet(k, kernels="shared")`` is Lee's ``R2U_Net`` (LeeJunHyun/Image_Segmentation) to the weight,
with ``gates="attention"`` Lee's ``R2AttU_Net``.
"""

from typing import ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.layers import Activation, AttentionGate, Conv, ConvNorm, Head, Kind, Norm, Size
from jaxseg.ops import crop, enlarge, max_pool, pad_to_multiple
from jaxseg.types import Names, Paper, Prediction

Kernels = Literal["shared", "separate"]


def _of_lee() -> tuple[tuple[str, str], ...]:
    """Lee counts levels from 1; ``Up5`` makes of level 5's map one of level 4's size."""
    rows = [("Conv_1x1", "head!")]
    for level in range(5):
        for block, ours in (
            (f"RRCNN{level + 1}", f"level{level}"),
            (f"Up_RRCNN{level + 2}", f"level{level}_up"),
        ):
            rows.append((rf"{block}\.Conv_1x1", f"{ours}_project!"))
            for i in (0, 1):
                rows.append((rf"{block}\.RCNN\.{i}\.conv\.0", f"{ours}_recurrent{i + 1}.conv!"))
                rows.append((rf"{block}\.RCNN\.{i}\.conv\.1", f"{ours}_recurrent{i + 1}.norm!"))
        rows.append((rf"Up{level + 2}\.up\.1", f"level{level}_up.conv!"))
        rows.append((rf"Up{level + 2}\.up\.2", f"level{level}_up.norm!"))
        for theirs, ours in (("W_x", "theta"), ("W_g", "phi"), ("psi", "psi")):
            rows.append((rf"Att{level + 2}\.{theirs}\.0", f"level{level}_gate.{ours}!"))
            rows.append((rf"Att{level + 2}\.{theirs}\.1", f"level{level}_gate.{ours}_norm!"))
    return tuple(rows)


class R2UNet(nn.Module):
    """U-Net of recurrent residual units: ``x + recurrent2(recurrent1(x))`` of x projected by 1x1.

    ``widths`` are the levels', finest first; ``steps`` and ``kernels`` are those of
    `RecurrentConv`. The finer map comes first in a concatenation; ``gates="attention"`` weighs it
    by what the coarser one knows (the community's gate). 2-D and 3-D by the rank of the image, of
    any size: padded with zeros at the end of each axis to a multiple of ``stride``, and cropped.
    """

    paper: ClassVar[Paper] = Paper(
        "Recurrent Residual Convolutional Neural Network based on U-Net (R2U-Net) for Medical "
        "Image Segmentation",
        "Alom",
        2018,
        "https://arxiv.org/abs/1802.06955",
    )

    names: ClassVar[Names] = {"LeeJunHyun/Image_Segmentation": _of_lee()}

    num_classes: int
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)
    steps: int = 2
    kernels: Kernels = "separate"
    gates: Literal["none", "attention"] = "none"
    dtype: str = "float32"

    @property
    def stride(self) -> int:
        """Sizes that are multiples of this need no padding."""
        return 2 ** (len(self.widths) - 1)

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        size, skips = image.shape[1:-1], []
        x = pad_to_multiple(jnp.asarray(image, self.dtype), self.stride)
        for level, width in enumerate(self.widths):
            x = max_pool(x) if level else x
            x = self._unit(x, width, f"level{level}", train)
            skips.append(x)
        for level in reversed(range(len(self.widths) - 1)):
            width, skip = self.widths[level], skips[level]
            up = ConvNorm(width, use_bias=True, name=f"level{level}_up")
            x = up(enlarge(x, 2, "nearest"), train=train)
            if self.gates == "attention":
                gate = AttentionGate(form="community", name=f"level{level}_gate")
                skip = gate(skip, x, train=train)
            x = self._unit(jnp.concatenate([skip, x], axis=-1), width, f"level{level}_up", train)
        return Prediction(crop(Head(self.num_classes, name="head")(x), size))

    def _unit(self, x: Array, width: int, place: str, train: bool) -> Float[Array, "b *s k"]:
        x = y = Conv(width, 1, name=f"{place}_project")(x)
        for i in (1, 2):
            recurrent = RecurrentConv(
                width, self.steps, self.kernels, use_bias=True, name=f"{place}_recurrent{i}"
            )
            y = recurrent(y, train=train)
        return x + y


class RecurrentConv(nn.Module):
    """``steps`` recurrences of one convolution over its own output, unrolled, weights shared.

    ``shared`` is the community's form, one kernel for both inputs: ``y = f(w * x)``, then
    ``y = f(w * (x + y))``; x must have ``features`` channels. ``separate`` is the paper's:
    ``y = f(v * x)``, then ``y = f(v * x + w * y)``. f is norm, then activation; the norm too is
    shared by all steps, so its running moments move ``steps + 1`` times. ``use_bias`` gives w (or
    v) a bias before a norm too, which takes its effect away in training: community code has it.
    Equations 1 and 2 of the paper, after Liang & Hu 2015.
    """

    features: int
    steps: int = 2
    kernels: Kernels = "shared"
    kernel_size: Size = 3
    norm: Kind = "batch"
    activation: Activation = "relu"
    use_bias: bool = False

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *s c"], *, train: bool
    ) -> Float[Array, "b *s {self.features}"]:
        """The size stays. Raises UserError where shared kernels cannot take x."""
        norm = Norm(self.norm, activation=self.activation, name="norm")
        bias = self.use_bias or self.norm == "none"
        if self.kernels == "separate":
            drive = self._conv("input", use_bias=bias)(x)
            recurrent = self._conv("recurrent", use_bias=False)
            y = norm(drive, train=train)
            for _ in range(self.steps):
                y = norm(drive + recurrent(y), train=train)
            return y
        if x.shape[-1] != self.features:
            raise UserError(
                f"RecurrentConv {self.name}: shared kernels need {self.features} channels, got "
                f"{x.shape[-1]}; put a 1x1 convolution before it or use kernels='separate'"
            )
        conv = self._conv("conv", use_bias=bias)
        y = norm(conv(x), train=train)
        for _ in range(self.steps):
            y = norm(conv(x + y), train=train)
        return y

    def _conv(self, name: str, *, use_bias: bool) -> Conv:
        return Conv(self.features, self.kernel_size, use_bias=use_bias, name=name)
