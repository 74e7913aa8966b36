"""Autofocus Layer for Semantic Segmentation: each pixel chooses the scale at which it is seen.

Qin, Kamnitsas, Ancha, Nanavati, Cottrell, Criminisi, Nori 2018, https://arxiv.org/abs/1805.08403

The default is AFN-6, ``adaptive=n`` AFN-n and ``adaptive=0`` the paper's basic network; with that,
``head`` gives its baselines ASPP-c and ASPP-s. As in the authors' code, attention reads features
without a gradient to them, and the shared convolution has a bias at the smallest rate alone.
"""

import functools
from typing import ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.errors import UserError, require
from jaxseg.layers import Conv, ConvNorm, Head, Norm
from jaxseg.layers.conv import add_bias
from jaxseg.ops import How, convolve, crop_centre
from jaxseg.types import Names, Paper, Prediction

RATES = (2, 6, 10, 14)


def _of_the_authors() -> tuple[tuple[str, str], ...]:
    """Their basic network counts blocks from 3, the others from 0."""
    parts, rows = (("conv", "conv"), ("bn", "norm")), [(r"fc9?", "head!"), ("bn9", "aspp_norm!")]
    for theirs, ours in parts:
        rows.append((rf"{theirs}([12])", rf"stem_conv\1.{ours}!"))
        for j, rate in enumerate(RATES):
            rows.append((rf"{theirs}_list\.{j}", f"aspp_conv{rate}.{ours}!"))
    for j, rate in enumerate(RATES):
        rows += [(rf"aspp\.{j}", f"aspp_conv{rate}!"), (rf"last_list\.{j}", f"head{rate}!")]
    for i in range(3):
        block, place = rf"layer(?:s\.{i}|{i + 3})", f"block{i + 1}"
        for j, (theirs, ours) in enumerate(parts):
            rows.append((rf"{block}\.{theirs}([12])", rf"{place}_conv\1.{ours}!"))
            rows.append((rf"{block}\.downsample\.{j}", f"{place}_shortcut.{ours}!"))
        for j, rate in enumerate(RATES):
            rows.append((rf"{block}\.bn_list(\d)\.{j}", rf"{place}_conv\1.norm{rate}!"))
        rows.append((rf"{block}\.convatt(\d)(\d)", rf"{place}_conv\1.attention\2!"))
        rows.append((rf"{block}\.convatt(\d)", rf"{place}_conv2.attention\1!"))
    return tuple(rows)


class Autofocus(nn.Module):
    """Two valid 3x3 convolutions, residual blocks of two valid dilated ones each, logits.

    ``widths`` are those of the two convolutions, then of each block. The convolutions of the blocks
    are dilated by the first of ``rates``; the last ``adaptive`` of them are `AutofocusConv`, which
    see all ``rates``. ``head="aspp_c"`` concatenates dilated convolutions of ``aspp_width``
    features in all before the logits, ``aspp_s`` sums the logits of as many features at each rate.

    Logits cover the image but for ``4 + 4 rates[0]`` a block pixels an axis, 28 in all, half on
    each side; ``padding="zeros"`` surrounds the image by that many zeros, and logits have its size.
    The attention of each layer can be read out. 2-D and 3-D by the rank of the image.
    """

    paper: ClassVar[Paper] = Paper(
        "Autofocus Layer for Semantic Segmentation",
        "Qin",
        2018,
        "https://arxiv.org/abs/1805.08403",
    )

    names: ClassVar[Names] = {"yaq007/Autofocus-Layer": _of_the_authors()}

    num_classes: int
    adaptive: int = 6
    head: Literal["plain", "aspp_c", "aspp_s"] = "plain"
    widths: tuple[int, ...] = (30, 40, 40, 50)
    rates: tuple[int, ...] = RATES
    aspp_width: int = 120
    padding: Literal["none", "zeros"] = "none"
    dtype: str = "float32"

    @property
    def stride(self) -> int:
        """1: no map is smaller than by its convolutions."""
        return 1

    def output_size(self, spatial: tuple[int, ...]) -> tuple[int, ...]:
        """Size of the logits, centred in the image; UserError where nothing would be left."""
        if self.padding == "zeros":
            return tuple(spatial)
        if min(spatial) <= self._margin:
            raise UserError(
                f"autofocus: an image of {' x '.join(map(str, spatial))} is too small for its "
                f"valid convolutions; {self._margin + 1} pixels an axis or more fit, or any number "
                "with padding='zeros'"
            )
        return tuple(n - self._margin for n in spatial)

    @property
    def _margin(self) -> int:
        return 4 + 4 * self.rates[0] * (len(self.widths) - 1)

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the size ``output_size``. Raises UserError for impossible fields."""
        self._check()
        x = jnp.asarray(image, self.dtype)
        if self.padding == "zeros":
            edge = self._margin // 2
            edges = [(0, 0, 0), *[(edge, edge, 0)] * (x.ndim - 2), (0, 0, 0)]
            x = jax.lax.pad(x, jnp.zeros((), x.dtype), edges)
        elif all(isinstance(n, int) for n in image.shape[1:-1]):
            self.output_size(image.shape[1:-1])
        for i in (1, 2):
            conv = ConvNorm(self.widths[0], padding=0, use_bias=True, name=f"stem_conv{i}")
            x = conv(x, train=train)
        for i, width in enumerate(self.widths[1:]):
            x = self._block(x, width, i, train)
        return Prediction(self._logits(x, train))

    def _block(self, x: Array, width: int, number: int, train: bool) -> Float[Array, "b *t k"]:
        y, place = x, f"block{number + 1}"
        left = 2 * (len(self.widths) - 1 - number)  # convolutions from this block on
        for i in (1, 2):
            activation = "relu" if i == 1 else "none"
            if left - i < self.adaptive:
                conv = AutofocusConv(width, self.rates, name=f"{place}_conv{i}")
                y = conv(y, train=train)
                y = nn.relu(y) if i == 1 else y
            else:
                conv = ConvNorm(
                    width,
                    dilation=self.rates[0],
                    padding=0,
                    activation=activation,
                    use_bias=True,
                    name=f"{place}_conv{i}",
                )
                y = conv(y, train=train)
        x = jnp.asarray(crop_centre(x, y.shape[1:-1]))
        if x.shape[-1] != width:
            shortcut = ConvNorm(
                width, 1, activation="none", use_bias=True, name=f"{place}_shortcut"
            )
            x = shortcut(x, train=train)
        return nn.relu(x + y)

    def _logits(self, x: Array, train: bool) -> Float[Array, "b *s k"]:
        if self.head == "aspp_s":
            total = jnp.zeros((), jnp.float32)
            for rate in self.rates:
                conv = ConvNorm(
                    self.aspp_width, dilation=rate, use_bias=True, name=f"aspp_conv{rate}"
                )
                head = Head(self.num_classes, name=f"head{rate}")
                total = total + head(conv(x, train=train))
            return total
        if self.head == "aspp_c":
            width = self.aspp_width // len(self.rates)
            maps = [Conv(width, dilation=r, name=f"aspp_conv{r}")(x) for r in self.rates]
            norm = Norm(activation="relu", name="aspp_norm")
            x = norm(jnp.concatenate(maps, axis=-1), train=train)
        return Head(self.num_classes, name="head")(x)

    def _check(self) -> None:
        require(len(self.widths) > 0, "Autofocus.widths", self.widths, "one number or more")
        most = 2 * (len(self.widths) - 1)
        if not 0 <= self.adaptive <= most:
            raise UserError(
                f"Autofocus.adaptive={self.adaptive}: the {len(self.widths) - 1} blocks of "
                f"widths={self.widths} have {most} convolutions; must be in [0, {most}]"
            )
        if not self.rates or self.rates[0] < 1 or list(self.rates) != sorted({*self.rates}):
            raise UserError(f"Autofocus.rates={self.rates}: must grow, from 1 or more")
        if self.adaptive:
            what = "at least 2 each: attention is made of half of them"
            require(min(self.widths) >= 2, "Autofocus.widths", self.widths, what)
        if self.head == "aspp_c":
            fits = self.aspp_width >= 1 and self.aspp_width % len(self.rates) == 0
            what = f"a multiple of the number of rates={self.rates}"
            require(fits, "Autofocus.aspp_width", self.aspp_width, what)


class AutofocusConv(nn.Module):
    """``sum_k attention_k norm_k(conv_k(x))``, conv_k one 3x3 kernel dilated by the k-th rate.

    Equations 2 and 3. The attention is a softmax over the rates at each pixel, of a 3x3 and a 1x1
    convolution of x; it may be captured as ``attention``, ``[b *t rates]``. The convolution is
    valid at the first rate; the others see zeros around x, so that their maps have its size.
    """

    features: int
    rates: tuple[int, ...] = RATES

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *s c"], *, train: bool
    ) -> Float[Array, "b *t {self.features}"]:
        """A map that is smaller by the first rate on each side."""
        conv, first, parts = _SharedConv(self.features, name="conv"), self.rates[0], []
        seen = jax.lax.stop_gradient(x)
        seen = nn.relu(Conv(x.shape[-1] // 2, padding=0, name="attention1")(seen))
        chosen = Conv(len(self.rates), kernel_size=1, name="attention2")(seen)
        weights = nn.softmax(chosen.astype(jnp.float32))
        weights = crop_centre(weights, tuple(n - 2 * first for n in x.shape[1:-1]))
        self.sow("intermediates", "attention", weights)
        for i, rate in enumerate(self.rates):
            norm = Norm(name=f"norm{rate}")
            part = norm(conv(x, rate, rate - first), train=train)
            parts.append(part * weights[..., i : i + 1].astype(x.dtype))
        return functools.reduce(jnp.add, parts)


class _SharedConv(nn.Module):
    """One kernel at any rate; a bias only where nothing is padded."""

    features: int

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], rate: int, padding: int) -> Float[Array, "b ..."]:
        rank = x.ndim - 2
        shape = (*(3,) * rank, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.he_normal(), shape, jnp.float32)
        how = How((1,) * rank, (padding,) * rank, (rate,) * rank)
        y = convolve(x, jnp.asarray(kernel, x.dtype), how)
        return y if padding else add_bias(self, y)
