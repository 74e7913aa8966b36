"""The expanding path of the U-Net family (figure 1 of the U-Net, right side)."""

from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.layers.conv_norm import ConvNorm
from jaxseg.layers.norm import Kind
from jaxseg.layers.recalibration import recalibrated
from jaxseg.layers.transposed import TransposedConv
from jaxseg.ops.resize import enlarge, resize

Upsample = Literal["transpose", "nearest", "bilinear"]
Recalibrated = Literal["level", "joined"]


class ExpandingPath(nn.Module):
    """Levels of: upsample, concatenate [upsampled, skip], two convolutions.

    ``strides`` are those of the features it is given; where the finest is not at full
    resolution, a last level without a skip follows. ``widths`` are the levels', coarsest first.
    ``transpose`` learns the upsampling, to the level's width; ``bilinear`` means trilinear in 3-D.

    None is what people know by that encoder: after one that begins at full resolution, the
    U-Net's mirror of it by ``transpose``; after a classification backbone, the
    (256, 128, 64, 32, 16) by ``nearest`` of segmentation_models_pytorch.

    A copy of ``recalibration`` (`jaxseg.layers.recalibration`) ends each level; ``joined`` says
    that another one weighs the concatenation, as in segmentation_models_pytorch. There a level
    without a skip has that block's parameters too, and computes nothing with them.

    ``size`` is the image's where it is no multiple of the strides: each level is then brought to
    the size of its skip, and the last one to ``size``; ``transpose`` needs multiples.
    """

    strides: tuple[int, ...]
    widths: tuple[int, ...] | None = None
    upsample: Upsample | None = None
    norm: Kind = "batch"
    recalibration: nn.Module | None = None
    recalibrated: Recalibrated = "level"
    size: tuple[Any, ...] | None = None

    @nn.compact
    def __call__(
        self, features: tuple[Float[Array, "b ..."], ...], *, train: bool
    ) -> tuple[Float[Array, "b ..."], ...]:
        """One map a level, finest (full resolution, level 0) first."""
        if self.strides == (1,):
            raise UserError(
                "encoder: gives one map of the image's size; a U-Net needs coarser ones"
            )
        *skips, x = features
        strides = (*level_strides(self.strides), self.strides[-1])
        skips = [None] * (len(strides) - 1 - len(skips)) + skips
        widths = self._widths([None if skip is None else skip.shape[-1] for skip in skips])
        maps = []
        for level in reversed(range(len(skips))):
            factor = strides[level + 1] // strides[level]
            skip = skips[level]
            if self.size is None:
                x = self._enlarge(x, factor, widths[level], f"level{level}_up")
            else:
                x = self._resized(x, self.size if skip is None else skip.shape[1:-1])
            if skip is not None:
                x = jnp.concatenate([x, skip], axis=-1)
            if self.recalibrated == "joined":
                x = self._weighed_joined(x, skip, f"level{level}_joined_recalibration", train)
            for i in (1, 2):
                conv = ConvNorm(
                    widths[level],
                    norm=self.norm,
                    name=f"level{level}_conv{i}",
                )
                x = conv(x, train=train)
            x = self._weighed(x, f"level{level}_recalibration", train)
            maps.append(x)
        return tuple(reversed(maps))

    def _weighed_joined(
        self, x: Array, skip: Array | None, name: str, train: bool
    ) -> Float[Array, "b ..."]:
        if skip is not None:
            return self._weighed(x, name, train)
        if self.is_initializing():
            self._weighed(x, name, train)
        return x

    def _weighed(self, x: Array, name: str, train: bool) -> Float[Array, "b ..."]:
        return recalibrated(self.recalibration, x, name, train=train)

    def _widths(self, of_skips: list[int | None]) -> tuple[int, ...]:
        """The width of each level, finest first."""
        if self.widths is None and None not in of_skips:
            return tuple(width for width in of_skips if width is not None)
        widths = self.widths or tuple(max(256 >> i, 16) for i in range(len(of_skips)))
        if len(widths) != len(of_skips):
            raise UserError(
                f"widths={widths} names {len(widths)} levels where the encoder's strides "
                f"{self.strides} make {len(of_skips)}"
            )
        return widths[::-1]

    def _resized(self, x: Array, size: tuple[Any, ...]) -> Float[Array, "b ..."]:
        if self._upsample == "transpose":
            raise UserError(
                "upsample='transpose': doubles sizes, so that images must be padded; 'nearest' and "
                "'bilinear' reach any size"
            )
        return resize(x, size, "nearest" if self._upsample == "nearest" else "linear")

    def _enlarge(self, x: Array, factor: int, width: int, name: str) -> Float[Array, "b ..."]:
        if self._upsample == "transpose":
            return TransposedConv(width, stride=factor, name=name)(x)
        return enlarge(x, factor, "nearest" if self._upsample == "nearest" else "linear")

    @property
    def _upsample(self) -> Upsample:
        return self.upsample or ("transpose" if self.strides[0] == 1 else "nearest")


def level_strides(strides: tuple[int, ...]) -> tuple[int, ...]:
    """How much smaller than the image the map of each level is, finest (1) first.

    ``strides`` are those of the encoder's features.
    """
    return strides[:-1] if strides[0] == 1 else (1, *strides[:-1])
