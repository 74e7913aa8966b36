"""SegResNet: 3D MRI brain tumor segmentation using autoencoder regularization.

Myronenko 2018, https://arxiv.org/abs/1810.11654, figure 1 and table 1; as MONAI has it,
``monai.networks.nets.SegResNet`` and ``SegResNetVAE``.

Differs from the paper, as MONAI does: dropout (none by default, the paper's is 0.2) drops whole
channels; the divergence of the codes is a mean over the codes, where the paper divides its sum by
the number of voxels, and that of the reconstruction a mean over voxels. An image may have any size.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.errors import require
from jaxseg.layers import ADN, ChannelDropout, Conv, Head, Size, TransposedConv
from jaxseg.models.basic_unet import shuffled
from jaxseg.ops import (
    adaptive_average_pool,
    crop,
    enlarge,
    pad_to_multiple,
    per_axis,
    prelu,
    resize,
)
from jaxseg.types import Names, Paper, Prediction

BEFORE = ADN("group", "relu", groups=8, affine=True)
"""Group norm of eight groups and ReLU."""

Upsample = Literal["linear", "transpose", "shuffle"]
"""``transpose`` learns 2 pixels an axis; ``shuffle`` is a pixel shuffle, averaged over as many."""

CODED = 16
"""Features of the map that the codes are made of."""


@dataclass(frozen=True, kw_only=True)
class Variational:
    """The branch that learns to reconstruct the image from ``codes`` numbers, in training alone.

    The codes are made of means over a ``grid`` of the coarsest map, halved once more: with a
    ``grid`` of a training patch over twice the network's stride (128 / 16) of all of it. They are
    drawn about their means with a deviation that is learnt, or with the one given. The decoder
    without its skip connections, its ``own`` (the paper's) or the one that is ``shared`` with the
    segmentation (MONAI's), makes an image of them.
    """

    codes: int = 128
    grid: Size = 8
    deviation: float | None = None
    decoder: Literal["own", "shared"] = "own"

    def __post_init__(self) -> None:
        """Refuse what codes nothing."""
        require(self.codes >= 1, "Variational.codes", self.codes, "at least 1")
        sizes = self.grid if isinstance(self.grid, tuple) else (self.grid,)
        require(min(sizes, default=0) >= 1, "Variational.grid", self.grid, "at least 1 an axis")
        fits = self.deviation is None or 0 <= self.deviation < math.inf
        require(fits, "Variational.deviation", self.deviation, "0 or more, or None: it is learnt")


class SegResNet(nn.Module):
    """Residual levels, halved by strided convolutions, doubled by 1x1 ones and ``upsample``.

    Level i has 2^i ``width`` features, ``depths[i]`` blocks on the way down, and on the way up
    ``decoder_depths[i]`` after its map is added to what comes from below; the last level has no way
    up. ``before`` is copied in front of each convolution of a block, and of the logits. ``dropout``
    follows the first convolution.

    In training a ``branch`` gives ``extra`` two numbers an image for `recipes.Guided`:
    ``reconstruction``, the mean square of the image's difference from what is made of its codes,
    and ``divergence``, that of the codes from normal ones, a mean over them (of a given deviation
    the mean square of their means); the paper's weights are 0.1 each. It draws from the rng
    ``dropout``. In evaluation nothing of it is computed.

    2-D and 3-D (and 1-D) by the rank of the image, of any size: padded with zeros at the end of
    each axis to a multiple of ``stride``, and cropped.
    """

    paper: ClassVar[Paper] = Paper(
        "3D MRI brain tumor segmentation using autoencoder regularization",
        "Myronenko",
        2018,
        "https://arxiv.org/abs/1810.11654",
    )

    num_classes: int
    width: int = 32
    depths: tuple[int, ...] = (1, 2, 2, 4)
    decoder_depths: tuple[int, ...] = (1, 1, 1)
    upsample: Upsample = "linear"
    before: ADN = BEFORE
    dropout: float = 0.0
    branch: Variational | None = None
    dtype: str = "float32"

    @property
    def stride(self) -> int | None:
        """Sizes that are multiples of it need no padding; None: codes see all of the image."""
        return None if self.branch else self._multiple

    @property
    def _multiple(self) -> int:
        return 2 ** (len(self.depths) - 1)

    @property
    def names(self) -> Names:
        """MONAI's places; it has no decoder of the branch's own."""
        if self.branch and self.branch.decoder == "own":
            return {}
        rows = [(r"convInit\.conv", "stem!"), (r"down_layers\.(\d+)\.0\.conv", r"level\1_down!")]
        rows += block_rows(r"down_layers\.(\d+)\.(\d+)", r"level\1_block\2", r"\.conv")
        for level, theirs in enumerate(reversed(range(len(self.decoder_depths)))):
            ours = f"decoder.level{level}"
            rows.append((rf"up_samples\.{theirs}\.0\.conv", f"{ours}_project!"))
            rows += enlarge_rows(rf"up_samples\.{theirs}\.1", f"{ours}_")
            rows += block_rows(rf"up_layers\.{theirs}\.(\d+)", rf"{ours}_block\1", r"\.conv")
        rows += [(r"conv_final\.0", "head_adn.norm!"), (r"conv_final\.2\.conv", "head!")]
        rows += [(r"act_mod", "=head_adn@slope"), (r"conv_final\.1", "head_adn@slope")]
        if self.branch:
            rows += _branch_rows()
        return {"monai": tuple(rows)}

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        self._check()
        x = pad_to_multiple(jnp.asarray(image, self.dtype), self._multiple)
        x = Conv(self.width, use_bias=False, name="stem")(x)
        x = ChannelDropout(self.dropout, name="dropout")(x, train=train)
        skips = []
        for level, depth in enumerate(self.depths):
            if level:
                width, name = self.width * 2**level, f"level{level}_down"
                x = Conv(width, stride=2, use_bias=False, name=name)(x)
            for i in range(1, depth + 1):
                block = PreactivatedPair(before=self.before, name=f"level{level}_block{i}")
                x = block(x, train=train)
            skips.append(x)
        *skips, x = skips
        decode = self._decoder("decoder")
        y = self.before.copy(name="head_adn")(decode(x, tuple(skips), train=train), train=train)
        logits = crop(Head(self.num_classes, name="head")(jnp.asarray(y)), image.shape[1:-1])
        if self.branch is None or not (train or self.is_initializing()):
            return Prediction(logits)
        return Prediction(logits, extra=self._reconstructed(self.branch, x, image, decode, train))

    def _reconstructed(
        self, branch: Variational, x: Array, image: Any, decode: "Decoder", train: bool
    ) -> dict[str, Float[Array, " b"]]:
        """How far an image made of codes is from the image, and the codes from normal ones."""
        codes = Codes(branch, self.upsample, self.before, name="branch_codes")
        x, divergence = codes(x, train=train)
        if branch.decoder == "own":
            decode = self._decoder("branch_decoder")
        y = self.before.copy(name="branch_adn")(decode(x, (), train=train), train=train)
        y = Head(image.shape[-1], name="branch_head")(jnp.asarray(y))
        wanted = jnp.asarray(image, jnp.float32)
        square = jnp.square(crop(y, wanted.shape[1:-1]) - wanted)
        return {"reconstruction": square.mean(range(1, y.ndim)), "divergence": divergence}

    def _decoder(self, name: str) -> "Decoder":
        return Decoder(self.decoder_depths, self.upsample, self.before, name=name)

    def _check(self) -> None:
        levels, given = len(self.depths), self.decoder_depths
        require(levels > 1, "SegResNet.depths", self.depths, "of two levels or more")
        what = f"{levels - 1} entries, for depths={self.depths} but the last"
        require(len(given) == levels - 1, "SegResNet.decoder_depths", given, what)
        for field in ("depths", "decoder_depths"):
            value = getattr(self, field)
            require(min(value) >= 0, f"SegResNet.{field}", value, "at least 0 each")
        of_prelu = self.before.activation.startswith("prelu")
        what = "no prelu with a branch: MONAI has one slope for all of the branch"
        require(not (self.branch and of_prelu), "SegResNet.before.activation", "prelu", what)


class Decoder(nn.Module):
    """The way up: levels of a 1x1 convolution, ``upsample``, the sum with a skip, and blocks."""

    depths: tuple[int, ...]
    upsample: Upsample = "linear"
    before: ADN = BEFORE

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *s c"], skips: tuple[Float[Array, "b ..."], ...], *, train: bool
    ) -> Float[Array, "b *t k"]:
        """The finest map; ``skips`` are finest first, or there are none."""
        for level in reversed(range(len(self.depths))):
            x = Conv(x.shape[-1] // 2, 1, use_bias=False, name=f"level{level}_project")(x)
            x = enlarged(x, self.upsample, f"level{level}_")
            x = x + skips[level] if skips else x
            for i in range(self.depths[level]):
                block = PreactivatedPair(before=self.before, name=f"level{level}_block{i}")
                x = block(x, train=train)
        return x


class PreactivatedPair(nn.Module):
    """``x + convs(x)``: two convolutions, each behind ``before``; a trained slope is shared."""

    kernel_size: Size = 3
    before: ADN = BEFORE

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], *, train: bool) -> Float[Array, "b *s c"]:
        """A map of the same shape."""
        y, kind = x, self.before.activation
        trained = kind == "prelu" or kind == "prelu_shared"
        before = self.before.clone(activation="none") if trained else self.before
        if trained:
            shape = (x.shape[-1] if kind == "prelu" else 1,)
            slope = self.param("slope", nn.initializers.constant(0.25), shape, jnp.float32)
        for i in (1, 2):
            y = jnp.asarray(before.copy(name=f"adn{i}")(y, train=train))
            y = prelu(y, jnp.asarray(slope)) if trained else y
            y = Conv(x.shape[-1], self.kernel_size, use_bias=False, name=f"conv{i}")(y)
        return x + y


class Codes(nn.Module):
    """x through codes that are drawn in training: a map of its shape, and their divergence.

    The means of the codes, and their deviations, are linear in a map of 16 features that is halved
    once more.
    """

    branch: Variational
    upsample: Upsample = "linear"
    before: ADN = BEFORE

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *s c"], *, train: bool
    ) -> tuple[Float[Array, "b *s c"], Float[Array, " b"]]:
        """Map and divergence, a number for each image."""
        (b, *size, channels), codes = x.shape, self.branch.codes
        grid = per_axis(self.branch.grid, len(size), "Variational.grid")
        y = jnp.asarray(self.before.copy(name="adn")(x, train=train))
        y = Conv(CODED, stride=2, name="reduce")(y)
        y = jnp.asarray(self.before.copy(name="reduce_adn")(y, train=train))
        y = y if y.shape[1:-1] == grid else adaptive_average_pool(y, grid)
        flat = jnp.moveaxis(y, -1, 1).reshape(b, -1)  # in PyTorch's order, whose weights fit then
        mean = nn.Dense(codes, dtype=x.dtype, name="mean")(flat).astype(jnp.float32)
        if self.branch.deviation is None or self.is_initializing():  # MONAI has it, used or not
            wide = nn.Dense(codes, dtype=x.dtype, name="deviation")(flat).astype(jnp.float32)
        if self.branch.deviation is None:
            deviation = nn.softplus(wide)
            surprise = jnp.square(mean) + jnp.square(deviation) - 1
            divergence = (surprise - jnp.log(1e-8 + jnp.square(deviation))) / 2
        else:
            deviation, divergence = self.branch.deviation, jnp.square(mean)
        drawn = mean
        if train:
            noise = jax.random.normal(self.make_rng("dropout"), mean.shape, jnp.float32)
            drawn = mean + deviation * noise
        y = nn.Dense(flat.shape[-1], dtype=x.dtype, name="expand")(drawn.astype(x.dtype))
        y = self.before.copy(norm="none", name="expand_adn")(y[:, None], train=train)
        y = jnp.moveaxis(jnp.asarray(y).reshape(b, CODED, *grid), 1, -1)
        y = enlarged(Conv(channels, 1, use_bias=False, name="project")(y), self.upsample, "")
        y = jnp.asarray(self.before.copy(name="enlarge_adn")(y, train=train))
        y = y if y.shape == x.shape else resize(y, tuple(size), "linear")
        return y, divergence.mean(-1)


def enlarged(x: Float[Array, "b *s c"], upsample: Upsample, place: str) -> Float[Array, "b *t c"]:
    """The map twice as large; ``place`` begins the name of the caller's module that learns it."""
    if upsample == "linear":
        return enlarge(x, 2, "linear")
    if upsample == "transpose":
        return TransposedConv(x.shape[-1], name=f"{place}enlarge")(x)
    return shuffled(Conv(x.shape[-1] * 2 ** (x.ndim - 2), name=f"{place}spread")(x))


Rows = list[tuple[str, str]]


def block_rows(theirs: str, ours: str, conv: str) -> Rows:
    """Where a `PreactivatedPair` stands; ``conv`` follows a convolution's name there."""
    groups = theirs.count("(")
    return [
        (rf"{theirs}\.conv(\d){conv}", rf"{ours}.conv\{groups + 1}!"),
        (rf"{theirs}\.norm(\d)", rf"{ours}.adn\{groups + 1}.norm!"),
        (rf"{theirs}\.act", f"{ours}@slope"),
    ]


def enlarge_rows(theirs: str, ours: str) -> Rows:
    """Where what `enlarged` learns stands."""
    return [
        (rf"{theirs}\.deconv", f"{ours}enlarge~"),
        (rf"{theirs}\.pixelshuffle\.conv_block", f"{ours}spread!"),
    ]


def _branch_rows() -> Rows:
    places = {"0": "adn.norm", r"2\.conv": "reduce", "3": "reduce_adn.norm"}
    rows = [(rf"vae_down\.{theirs}", f"branch_codes.{ours}!") for theirs, ours in places.items()]
    for i, ours in enumerate(("mean", "deviation", "expand"), start=1):
        rows.append((rf"vae_fc{i}", f"branch_codes.{ours}!"))
    rows.append((r"vae_fc_up_sample\.0\.conv", "branch_codes.project!"))
    rows += enlarge_rows(r"vae_fc_up_sample\.1", "branch_codes.")
    rows.append((r"vae_fc_up_sample\.2", "branch_codes.enlarge_adn.norm!"))
    rows.append((r"vae_conv_final\.0", "branch_adn.norm!"))
    return [*rows, (r"vae_conv_final\.2\.conv", "branch_head!")]
