"""H-DenseUNet: Hybrid Densely Connected UNet for Liver and Tumor Segmentation From CT Volumes.

Li, Chen, Qi, Dou, Fu, Heng 2018, https://arxiv.org/abs/1709.07330

As in the released code, where it contradicts the paper's figure: neither part has long skips
(``skips="added"`` gives them to the 2-D part). Differs from it: norms take the batch's moments in
training, where its hybrid keeps those of the 2-D part, the dense layers and the transitions as they
were (``recipe.rates=(("plane", 0.0),)`` freezes the 2-D part's weights and running moments; in
training it takes the batch's all the same); no head of the 3-D part, which no output sees there;
``dropout`` 0.3 in each stage, 0.1 there in the second.
"""

from typing import ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.errors import UserError, require
from jaxseg.layers import Conv, Head, Norm
from jaxseg.models.dense_unet import LAYERS, DenseUNet
from jaxseg.types import Paper, Prediction


class HDenseUNet(nn.Module):
    """A 2-D network on each slice with its neighbours; a 3-D one on the volume and its scores.

    A volume is ``[b x y z c]`` as a NIfTI file has it: **the last axis is that of the slices**. An
    image ``[b x y c]`` is a volume of one slice. ``plane``, a `DenseUNet`, sees each slice and its
    neighbours, ``slices`` in all, as channels; beyond the ends the first and the last slice stand
    again. All slices are one batch to it. ``volume``, one that halves slices twice and the other
    axes five times, sees the image and ``gain`` times the scores of ``plane``. The sum of their
    features goes through a convolution to the logits (hybrid feature fusion). Fields of the volume
    are called ``volume_...``, the others are of ``plane``.

    ``gain`` 250 is for images in Hounsfield units, less 48 there: of an image in [0, 1] or z-scored
    the 3-D part would see next to nothing, and about 1 fits. Stages of training are runs: a
    `DenseUNet` of ``slices`` channels, ``skips`` and ``norms`` as here and no dropout; this network
    from it (``init_from``, ``into="plane"``) with ``rates=(("plane", 0.0),)``; this from that.
    """

    paper: ClassVar[Paper] = Paper(
        "H-DenseUNet: Hybrid Densely Connected UNet for Liver and Tumor Segmentation",
        "Li",
        2018,
        "https://arxiv.org/abs/1709.07330",
    )

    num_classes: int
    layers: tuple[int, int, int, int] = LAYERS
    growth: int = 48
    first: int = 96
    widths: tuple[int, ...] = (96, 64)
    skips: Literal["added", "none"] = "none"
    volume_layers: tuple[int, int, int, int] = (3, 4, 12, 8)
    volume_growth: int = 32
    volume_first: int = 96
    volume_widths: tuple[int, ...] = (504, 224, 192, 96, 64)
    norms: Literal["plain", "released"] = "released"
    slices: int = 3
    gain: float = 250.0
    dropout: float = 0.3
    dtype: str = "float32"

    @property
    def stride(self) -> int:
        """Sizes that are multiples of this need no padding; of slices, multiples of 4."""
        return 32

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size. Raises UserError for impossible fields."""
        self._check(image.ndim - 2)
        x = jnp.asarray(image, self.dtype)
        x = x[..., None, :] if image.ndim == 4 else x  # [b x y z c]
        b, *_, z, _ = x.shape
        planes, scores = self._plane(with_neighbours(x, self.slices), train)
        planes, scores = (_in_volumes(maps, b, z) for maps in (planes, scores))
        seen = jnp.concatenate([x, (self.gain * scores).astype(x.dtype)], axis=-1)
        x = planes + self._volume(seen, train)
        x = Conv(x.shape[-1], name="fusion_conv")(x)
        x = nn.Dropout(self.dropout, deterministic=not train, name="dropout")(x)
        epsilon = 1e-5 if self.norms == "plain" else 1e-3
        x = Norm(activation="relu", epsilon=epsilon, name="fusion_norm")(x, train=train)
        x = Head(self.num_classes, name="head")(x)
        return Prediction(x[..., 0, :] if image.ndim == 4 else x)

    def _plane(self, x: Array, train: bool) -> tuple[Array, Array]:
        plane = DenseUNet(
            self.num_classes,
            layers=self.layers,
            growth=self.growth,
            first=self.first,
            widths=self.widths,
            skips=self.skips,
            norms=self.norms,
            dropout=0.0,
            dtype=self.dtype,
            name="plane",
        )
        features, scores = plane.mapped(x, train=train)
        assert scores is not None
        return features, scores

    def _volume(self, x: Array, train: bool) -> Float[Array, "b x y z d"]:
        volume = DenseUNet(
            self.num_classes,
            layers=self.volume_layers,
            growth=self.volume_growth,
            first=self.volume_first,
            widths=self.volume_widths,
            skips="none",
            norms=self.norms,
            flat=3,
            dropout=0.0,
            dtype=self.dtype,
            name="volume",
        )
        return volume.mapped(x, train=train, head=False)[0]

    def _check(self, rank: int) -> None:
        if rank not in (2, 3):
            raise UserError(f"HDenseUNet: the image has {rank} axes; 2 and 3 fit")
        odd = self.slices >= 1 and self.slices % 2 == 1
        require(odd, "HDenseUNet.slices", self.slices, "odd, a slice and as many on either side")
        for field, value in (("widths", self.widths), ("volume_widths", self.volume_widths)):
            what = "those of the two finest maps going up, or of all five"
            require(len(value) in (2, 5), f"HDenseUNet.{field}", value, what)
        ends = (self.widths[-1], self.volume_widths[-1])
        what = f"{ends[0]} at last, as widths={self.widths}: the features are summed"
        require(ends[0] == ends[1], "HDenseUNet.volume_widths", self.volume_widths, what)
        require(0 <= self.dropout <= 1, "HDenseUNet.dropout", self.dropout, "in [0, 1]")


def with_neighbours(x: Float[Array, "b x y z c"], slices: int) -> Float[Array, "n x y d"]:
    """Each slice and its neighbours as channels, in their order; the rows of the batch are b x z.

    Beyond the ends the first and the last slice stand again.
    """
    b, *size, z, _ = x.shape
    half = slices // 2
    first, last = x[..., :1, :], x[..., -1:, :]
    longer = jnp.concatenate([*(first,) * half, x, *(last,) * half], axis=-2)
    parts = [longer[..., i : i + z, :] for i in range(slices)]
    planes = jnp.moveaxis(jnp.concatenate(parts, axis=-1), -2, 1)
    return planes.reshape(b * z, *size, planes.shape[-1])


def _in_volumes(planes: Array, b: int, z: int) -> Float[Array, "b x y z c"]:
    return jnp.moveaxis(planes.reshape(b, z, *planes.shape[1:]), 1, -2)
