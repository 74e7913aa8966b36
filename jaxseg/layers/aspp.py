"""Atrous spatial pyramid pooling (ASPP): one map seen by convolutions of several rates.

Chen et al. 2018, DeepLab v2, https://arxiv.org/abs/1606.00915, section 3.2 (``SummedASPP``);
Chen et al. 2017, DeepLab v3, https://arxiv.org/abs/1706.05587, section 3.3, and
Chen et al. 2018, DeepLab v3+, https://arxiv.org/abs/1802.02611, section 3.1 (``ASPP``).
"""

from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.layers.conv import Conv
from jaxseg.layers.conv_norm import ConvNorm
from jaxseg.layers.norm import Kind
from jaxseg.layers.separable import SeparableConv
from jaxseg.ops import Size, mean_over_space, spread

Form = Literal["standard", "deeplab", "community"]
Order = Literal["torch", "tensorflow"]


class ASPP(nn.Module):
    """A 1x1, a dilated 3x3 for each of ``rates`` and the image's mean, concatenated and projected.

    Every branch and the projection are ``ConvNorm``, ``features`` wide. ``form`` of the 3x3:
    ``standard`` (v3); separable with norm and ReLU after both halves, ``deeplab`` (v3+); separable
    with neither in between, ``community`` (segmentation_models_pytorch). Rates of the papers are
    (6, 12, 18) at output stride 16 and twice that at 8: branches are named by their number, so that
    the same variables fit both.

    ``order`` of the concatenation is [1x1, rates..., image] (``torch``: torchvision,
    segmentation_models_pytorch) or [image, 1x1, rates...] (``tensorflow``: the authors' code).
    The projection is ``projection`` wide (None: ``features``), and dropped out at 0.1 by the
    authors' code, 0.5 by torchvision. Any spatial rank.
    """

    features: int = 256
    rates: tuple[int, ...] = (6, 12, 18)
    form: Form = "standard"
    image_pooling: bool = True
    order: Order = "torch"
    projection: int | None = None
    dropout: float = 0.1
    norm: Kind = "batch"

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], *, train: bool) -> Float[Array, "b *s k"]:
        """The size stays. Dropout draws from the generator ``dropout``."""
        _check(self.rates, f"ASPP {self.name}")
        maps = [self._pointwise(x, self.features, "pointwise", train)]
        for number, rate in enumerate(self.rates, start=1):
            maps.append(self._dilated(x, rate, f"dilated{number}", train))
        if self.image_pooling:
            mean = self._pointwise(mean_over_space(x), self.features, "image", train)
            mean = spread(mean, maps[0].shape, x.dtype)
            maps = [*maps, mean] if self.order == "torch" else [mean, *maps]
        y = jnp.concatenate(maps, axis=-1)
        y = self._pointwise(y, self.projection or self.features, "projection", train)
        return nn.Dropout(self.dropout, deterministic=not train, name="dropout")(y)

    def _pointwise(self, x: Array, features: int, name: str, train: bool) -> Float[Array, "b ..."]:
        conv = ConvNorm(features, kernel_size=1, norm=self.norm, name=name)
        return conv(x, train=train)

    def _dilated(self, x: Array, rate: int, name: str, train: bool) -> Float[Array, "b ..."]:
        conv = formed(self.form, self.features, dilation=rate, norm=self.norm, name=name)
        return conv(x, train=train)


class SummedASPP(nn.Module):
    """The sum of what dilated 3x3 convolutions of several rates predict, with bias, no norm.

    With ``hidden`` None each branch is that one convolution (DeepLab v2's ResNet). Otherwise it is
    a classifier of its own, as v2's VGG has (figure 7): 3x3, ReLU, dropout, 1x1, ReLU, dropout,
    both ``hidden`` wide, and a last 1x1. ASPP-L of the paper has rates (6, 12, 18, 24) and 1024.
    Any spatial rank.
    """

    features: int
    rates: tuple[int, ...] = (6, 12, 18, 24)
    hidden: int | None = None
    dropout: float = 0.5

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], *, train: bool) -> Float[Array, "b *s k"]:
        """The size stays. Dropout draws from the generator ``dropout``."""
        _check(self.rates, f"SummedASPP {self.name}")
        total = None
        for number, rate in enumerate(self.rates, start=1):
            y = self._branch(x, rate, f"dilated{number}", train)
            total = y if total is None else total + y
        assert total is not None
        return total

    def _branch(self, x: Array, rate: int, name: str, train: bool) -> Float[Array, "b ..."]:
        if self.hidden is None:
            return self._conv(self.features, 3, rate, name)(x)
        for layer, size, dilation in (("fc6", 3, rate), ("fc7", 1, 1)):
            x = nn.relu(self._conv(self.hidden, size, dilation, f"{name}_{layer}")(x))
            drop = nn.Dropout(self.dropout, deterministic=not train, name=f"{name}_{layer}_dropout")
            x = drop(x)
        return self._conv(self.features, 1, 1, f"{name}_fc8")(x)

    def _conv(self, features: int, kernel_size: int, rate: int, name: str) -> Conv:
        return Conv(features, kernel_size=kernel_size, dilation=rate, name=name)


def formed(
    form: Form, features: int, *, dilation: Size = 1, norm: Kind = "batch", name: str
) -> ConvNorm | SeparableConv:
    """A 3x3 convolution of one of the three forms, as a submodule called ``name``."""
    if form == "standard":
        return ConvNorm(features, dilation=dilation, norm=norm, name=name)
    deeplab = form == "deeplab"
    return SeparableConv(
        features,
        dilation=dilation,
        norm=norm,
        norm_between=deeplab,
        between="relu" if deeplab else "none",
        name=name,
    )


def rates_at(rates: tuple[int, ...], output_stride: int, given_at: int = 16) -> tuple[int, ...]:
    """The rates for a map of this stride that see as far as ``rates`` do at stride ``given_at``.

    UserError where one would not be a whole number.
    """
    if any(given_at * rate % output_stride for rate in rates):
        raise UserError(
            f"rates={rates}: are those at output stride {given_at}, and {given_at} / "
            f"{output_stride} of each must be a whole number; multiples of "
            f"{output_stride // given_at} fit"
        )
    return tuple(given_at * rate // output_stride for rate in rates)


def _check(rates: tuple[int, ...], layer: str) -> None:
    if not rates or min(rates) < 1 or len(set(rates)) != len(rates):
        raise UserError(
            f"{layer}: rates={rates}; it takes one or more, each at least 1 and none twice"
        )
