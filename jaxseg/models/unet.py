"""U-Net: Convolutional Networks for Biomedical Image Segmentation, on any encoder.

Ronneberger, Fischer, Brox 2015, https://arxiv.org/abs/1505.04597;
in 3-D: Cicek et al. 2016, https://arxiv.org/abs/1606.06650

Differs from the paper (``unet_2015`` is the paper's): padded convolutions, so that logits have the
size of the image; batch norm after each convolution, which then has no bias; [upsampled, skip] is
the order of channels.

``UNet(k)`` is the network of 31 M parameters that most people call U-Net;
``UNet(k, encoder=ResNet(34))`` is that of segmentation_models_pytorch, to the weight.
"""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.encoders import Plain
from jaxseg.layers import ConvNorm, ExpandingPath, Head, Kind, Upsample
from jaxseg.layers.expanding_path import Recalibrated, level_strides
from jaxseg.ops import crop, pad_to_multiple
from jaxseg.types import Names, Paper, Prediction

SCSE = (
    (r"cSE\.1", "channel.reduce!"),
    (r"cSE\.3", "channel.expand!"),
    (r"sSE\.0", "spatial.squeeze!"),
)


def _of_smp(levels: int) -> tuple[tuple[str, str], ...]:
    """They number the levels of the decoder from the coarsest on."""
    rows = []
    for i, level in enumerate(reversed(range(levels))):
        block, place = rf"decoder\.blocks\.{i}", f"decoder.level{level}"
        rows.append((rf"{block}\.conv(\d)\.(?:0|1)", rf"{place}_conv\1"))
        for theirs, ours in SCSE:
            attention = rf"{block}\.attention"
            for number, name in ((1, f"{place}_joined"), (2, place)):
                where = rf"{attention}{number}\.attention\.{theirs}"
                rows.append((where, f"{name}_recalibration.{ours}"))
    return tuple(rows)


class UNet(nn.Module):
    """Encoder, expanding path with a skip connection at each level, a convolution as head.

    2-D and 3-D by the rank of the image, of any size: padded with zeros at the end of each axis
    to a multiple of ``stride``, and cropped. With ``padded=False`` the maps of such an image get
    the sizes that the encoder gives them, and each level that of its skip, as in
    segmentation_models_pytorch.

    ``centre`` are the widths of convolutions between encoder and expanding path; after VGG,
    segmentation_models_pytorch has two of 512.

    ``widths`` are the expanding path's, coarsest first. These, ``upsample`` and ``head_kernel``
    left None are what people know by that encoder: see ``ExpandingPath``; the head is 1x1 after
    ``plain``, 3x3 after a classification backbone. ``norm`` None is the
    encoder's. ``dropout`` acts on the coarsest feature and needs the rng ``dropout``. With
    ``deep_supervision``, ``auxiliary`` holds the logits of each level but the finest, at its own
    resolution. ``remat`` keeps only the outputs of convolutions for the backward pass and
    recomputes what lies between.

    ``recalibration`` is a block that weighs what each level of the expanding path puts out, such as
    ``ConcurrentExcitation()``; that of an encoder is the encoder's (``Plain(recalibration=...)``).
    ``recalibrated`` is as of ``ExpandingPath``; ``UNet(k, encoder=ResNet(34),
    recalibration=ConcurrentExcitation("add", 16), recalibrated="joined")`` is
    segmentation_models_pytorch's ``scse``.
    """

    paper: ClassVar[Paper] = Paper(
        "U-Net: Convolutional Networks for Biomedical Image Segmentation",
        "Ronneberger",
        2015,
        "https://arxiv.org/abs/1505.04597",
    )

    num_classes: int
    encoder: nn.Module = Plain()
    widths: tuple[int, ...] | None = None
    upsample: Upsample | None = None
    norm: Kind | None = None
    head_kernel: int | None = None
    deep_supervision: bool = False
    dropout: float = 0.0
    recalibration: nn.Module | None = None
    recalibrated: Recalibrated = "level"
    centre: tuple[int, ...] = ()
    padded: bool = True
    remat: bool = False
    dtype: str = "float32"

    @property
    def names(self) -> Names:
        """Places of segmentation_models_pytorch."""
        rows = (
            *_of_smp(len(level_strides(self.encoder.strides))),
            (r"decoder\.center\.0\.(?:0|1)", "centre_conv1"),
            (r"decoder\.center\.1\.(?:0|1)", "centre_conv2"),
            (r"segmentation_head\.0", "head!"),
        )
        return {"segmentation_models_pytorch": rows}

    @property
    def stride(self) -> int:
        """Sizes that are multiples of this need no padding."""
        return self.encoder.strides[-1]

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        size = image.shape[1:-1]
        x = jnp.asarray(image, self.dtype)
        if self.padded:
            x = pad_to_multiple(x, self.stride)
        keep = jax.checkpoint_policies.save_only_these_names("conv")
        maps_of = nn.remat(UNet._maps, policy=keep, static_argnums=2) if self.remat else UNet._maps
        maps = maps_of(self, x, train)
        strides = level_strides(self.encoder.strides)
        kernel_size = self.head_kernel or (1 if self.encoder.strides[0] == 1 else 3)
        logits = crop(self._head(maps[0], "head", kernel_size), size)
        if not self.deep_supervision:
            return Prediction(logits)
        auxiliary = []
        for level, (x, stride) in enumerate(zip(maps[1:], strides[1:], strict=True), start=1):
            # ceil: a coarse pixel counts as soon as one of the image's lies in it
            coarse = tuple((n + stride - 1) // stride for n in size)
            auxiliary.append(crop(self._head(x, f"level{level}_head"), coarse))
        return Prediction(logits, tuple(auxiliary))

    def _maps(self, x: Array, train: bool) -> tuple[Float[Array, "b ..."], ...]:
        size = x.shape[1:-1]
        even = all(n % self.stride == 0 for n in size)
        *skips, x = self.encoder(x, train=train)
        x = nn.Dropout(self.dropout, deterministic=not train, name="dropout")(x)
        norm = self.norm or self.encoder.norm
        for i, width in enumerate(self.centre, start=1):
            x = ConvNorm(width, norm=norm, name=f"centre_conv{i}")(x, train=train)
        return ExpandingPath(
            self.encoder.strides,
            widths=self.widths,
            upsample=self.upsample,
            norm=norm,
            recalibration=self.recalibration,
            recalibrated=self.recalibrated,
            size=None if even else size,
            name="decoder",
        )((*skips, x), train=train)

    def _head(self, x: Array, name: str, kernel_size: int = 1) -> Float[Array, "b *s k"]:
        head = Head(self.num_classes, kernel_size=kernel_size, name=name)
        return head(x)
