"""nnU-Net's network: nnU-Net: a self-configuring method for biomedical image segmentation.

Isensee, Jaeger, Kohl, Petersen, Maier-Hein 2021, https://doi.org/10.1038/s41592-020-01008-z; the
residual encoders: nnU-Net Revisited, Isensee et al. 2024, https://arxiv.org/abs/2404.09556. As
released: ``PlainConvUNet``, ``ResidualEncoderUNet`` and ``ResidualUNet`` of
dynamic_network_architectures 0.4.

Differs from the release: an image may have any size. Presets M, L and XL of the second paper are
one network; they differ in the memory for which nnU-Net chooses patch and batch.
"""

from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.errors import require
from jaxseg.layers import ADN, ConvADN, Head, Size, TransposedConv
from jaxseg.layers.adn import activated_as
from jaxseg.ops import average_pool, crop, pad_to_multiple, per_axis, product, resize
from jaxseg.types import Names, Paper, Prediction

AFTER = ADN("instance", "leaky_relu", order="DNA", affine=True)
"""nnU-Net's norm and activation: instance norm with scale and bias, LeakyReLU of 0.01."""


class DynUNet(nn.Module):
    """Strided stages down; transposed convolutions and a stage each up, joined [upsampled, skip].

    A tuple has an entry a level, finest first. Level i is reached by a stride of ``strides[i]`` in
    the first of its ``depths[i]`` blocks, and its kernels are ``kernels[i]``, of one number or one
    for each axis. ``decoder_depths`` are the blocks on the way up, at all levels but the last. A
    ``plain`` block is a convolution; a ``residual`` one two of them beside a shortcut, and a
    ``bottleneck`` one three, of ``bottleneck_widths[i]`` features; before these is a stem of
    ``stem_width`` features (None: those of level 0). ``after`` is copied behind each convolution.

    Each level of the decoder has a head. With ``deep_supervision`` those of the coarser ones are in
    ``auxiliary``, finest first, each of its level's size (that of the image, where the image is
    padded). Without it they have parameters all the same, as in the release, and nothing is
    computed or learnt with them. 1-D to 3-D by the rank of the image, of any size: padded with
    zeros at the end of each axis to a multiple of ``stride``, and cropped.

    ``axes`` are the network's among those of the image: (2, 1, 0) turns the x y z of a NIfTI to the
    z y x of nnU-Net, and the logits back.
    """

    paper: ClassVar[Paper] = Paper(
        "nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation",
        "Isensee",
        2021,
        "https://doi.org/10.1038/s41592-020-01008-z",
    )

    num_classes: int
    widths: tuple[int, ...] = (32, 64, 128, 256, 320, 320)
    strides: tuple[Size, ...] = (1, 2, 2, 2, 2, 2)
    kernels: tuple[Size, ...] = (3, 3, 3, 3, 3, 3)
    depths: tuple[int, ...] = (2, 2, 2, 2, 2, 2)
    decoder_depths: tuple[int, ...] = (2, 2, 2, 2, 2)
    block: Literal["plain", "residual", "bottleneck"] = "plain"
    decoder_block: Literal["plain", "residual"] = "plain"
    bottleneck_widths: tuple[int, ...] = ()
    stem_width: int | None = None
    deep_supervision: bool = False
    after: ADN = AFTER
    use_bias: bool = True
    axes: tuple[int, ...] = ()
    dtype: str = "float32"

    @property
    def stride(self) -> Size:
        """Sizes that are multiples of this need no padding."""
        stride = product(self.strides)
        if isinstance(stride, int) or not self.axes:
            return stride
        return tuple(stride[self.axes.index(axis)] for axis in range(len(stride)))

    @property
    def names(self) -> Names:
        """The release's places; it lists every tensor up to four times: see `_again`."""
        rows = _again(_encoder_rows(self))
        for level, theirs in enumerate(reversed(range(len(self.widths) - 1))):
            rows.append((rf"decoder\.transpconvs\.{theirs}", f"level{level}_enlarge~"))
            rows.append((rf"decoder\.seg_layers\.{theirs}", f"level{level}_head!"))
            stage, ours = rf"decoder\.stages\.{theirs}", f"level{level}_up"
            if self.decoder_block == "plain":
                rows += _conv_rows(rf"{stage}\.convs\.(\d+)", rf"{ours}\1", self.after)
            else:
                first, blocks = rf"{stage}\.blocks\.(\d+)", _blocks(self, "residual")
                rows += _block_rows(first, rf"{ours}\1", blocks)
                rows += _shortcut_rows(first, rf"{ours}\1", blocks, strided=False)
        return {"dynamic_network_architectures": tuple(rows), "nnunetv2": tuple(rows)}

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        self._check(image.ndim - 2)
        x = _turned(jnp.asarray(image, self.dtype), self.axes)
        size = x.shape[1:-1]
        x = pad_to_multiple(x, product(self.strides))
        padded, skips = x.shape[1:-1], []
        if self.block != "plain":
            stem = self._conv(self.stem_width or self.widths[0], 0, 1, "stem")
            x = jnp.asarray(stem(x, train=train))
        for level, depth in enumerate(self.depths):
            for i in range(depth):
                stride, name = 1 if i else self.strides[level], f"level{level}_down{i}"
                x = self._step(self.block, level, stride, name)(x, train=train)
            skips.append(x)
        x, logits = skips.pop(), []
        for level in reversed(range(len(skips))):
            x = self._up(x, skips[level], level, train)
            scores = Head(self.num_classes, name=f"level{level}_head")(x)
            if size != padded:  # each head covers the padding too, which is cropped to the pixel
                scores = crop(resize(scores, padded, "nearest") if level else scores, size)
            logits.append(_turned(scores, tuple(map(self.axes.index, sorted(self.axes)))))
        *coarser, finest = logits
        return Prediction(finest, tuple(reversed(coarser)) if self.deep_supervision else ())

    def _up(self, x: Array, skip: Array, level: int, train: bool) -> Float[Array, "b *s c"]:
        width, stride = self.widths[level], self.strides[level + 1]
        name = f"level{level}_enlarge"
        enlarge = TransposedConv(width, stride, use_bias=self.use_bias, name=name)
        x = jnp.concatenate([enlarge(x), skip], axis=-1)
        for i in range(self.decoder_depths[level]):
            step = self._step(self.decoder_block, level, 1, f"level{level}_up{i}")
            x = jnp.asarray(step(x, train=train))
        return x

    def _step(self, block: str, level: int, stride: Size, name: str) -> nn.Module:
        if block == "plain":
            return self._conv(self.widths[level], level, stride, name)
        middle = self.bottleneck_widths[level] if block == "bottleneck" else None
        fields = {"use_bias": self.use_bias, "after": self.after, "name": name}
        return ResidualD(self.widths[level], middle, self.kernels[level], stride, **fields)

    def _conv(self, width: int, level: int, stride: Size, name: str) -> ConvADN:
        fields = {"use_bias": self.use_bias, "after": self.after, "name": name}
        return ConvADN(width, self.kernels[level], stride, **fields)

    def _check(self, rank: int) -> None:
        what = f"() or an order of {tuple(range(rank))}"
        fits = not self.axes or sorted(self.axes) == list(range(rank))
        require(fits, "DynUNet.axes", self.axes, what)
        check_levels(self, ("strides", "kernels", "depths"))
        below = len(self.widths) - 1
        what = f"{below} entries, for widths={self.widths} but the last"
        given = self.decoder_depths
        require(len(given) == below, "DynUNet.decoder_depths", given, what)
        for field in ("depths", "decoder_depths"):
            value = getattr(self, field)
            require(min(value) >= 1, f"DynUNet.{field}", value, "at least 1 each")
        wanted = len(self.widths) if self.block == "bottleneck" else 0
        what = f"{wanted} entries where block={self.block!r}"
        narrow = self.bottleneck_widths
        require(len(narrow) == wanted, "DynUNet.bottleneck_widths", narrow, what)
        fits = self.block != "plain" or self.stem_width is None
        what = "None where block='plain', which has no stem"
        require(fits, "DynUNet.stem_width", self.stem_width, what)


def _turned(x: Array, axes: tuple[int, ...]) -> Float[Array, "b *s c"]:
    """The map with its spatial axes in another order."""
    return x.transpose(0, *(axis + 1 for axis in axes), x.ndim - 1) if axes else x


def check_levels(model: Any, fields: tuple[str, ...]) -> None:
    """UserError for less than two levels, another number of entries, or a stride before level 0."""
    kind, levels = type(model).__name__, len(model.widths)
    require(levels > 1, f"{kind}.widths", model.widths, "of two levels or more")
    for field in fields:
        value = getattr(model, field)
        what = f"{levels} entries, for widths={model.widths}"
        require(len(value) == levels, f"{kind}.{field}", value, what)
    first = model.strides[0]
    unstrided = set(first if isinstance(first, tuple) else (first,)) == {1}
    what = "1 at first, for logits have the size of the image"
    require(unstrided, f"{kind}.strides", model.strides, what)


class ResidualD(nn.Module):
    """``activation(shortcut(x) + convs(x))``, the ResNet-D block of the release.

    Two convolutions; or with ``middle`` three, of which the outer ones have one tap and the inner
    ones so many features. The shortcut is averaged over the stride, and has a convolution of one
    tap, without a bias, where the width changes.
    """

    features: int
    middle: int | None = None
    kernel_size: Size = 3
    stride: Size = 1
    use_bias: bool = True
    after: ADN = AFTER

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *s c"], *, train: bool
    ) -> Float[Array, "b *t {self.features}"]:
        """The size is divided by the stride."""
        bare = self.after.clone(activation="none", dropout=0.0, parent=None, name=None)
        last = bare.clone(scale_init="zeros")
        y = x
        for i, (width, kernel_size, stride, after) in enumerate(self._convs(last)):
            conv = ConvADN(width, kernel_size, stride, False, self.use_bias, after, name=f"conv{i}")
            y = conv(y, train=train)
        stride = per_axis(self.stride, x.ndim - 2, "stride")
        if max(stride) > 1:
            x = average_pool(x, stride)
        if x.shape[-1] != self.features:
            project = ConvADN(self.features, 1, use_bias=False, after=bare, name="shortcut")
            x = jnp.asarray(project(x, train=train))
        return activated_as(self, x + y, self.after)

    def _convs(self, last: ADN) -> list[tuple[int, Size, Size, ADN]]:
        """Features, kernel, stride of each convolution, and what follows it."""
        whole = self.after.clone(parent=None, name=None)
        if self.middle is None:
            first = (self.features, self.kernel_size, self.stride, whole)
            return [first, (self.features, self.kernel_size, 1, last)]
        dense = whole.clone(dropout=0.0)
        inner = (self.middle, self.kernel_size, self.stride, whole)
        return [(self.middle, 1, 1, dense), inner, (self.features, 1, 1, last)]


# --- names of the release -------------------------------------------------------------------------

Rows = list[tuple[str, str]]


def _again(rows: Rows) -> Rows:
    """The rows of the encoder, which the release lists a second time as a part of the decoder."""
    return rows + [(rf"decoder\.{theirs}", f"={ours.removeprefix('=')}") for theirs, ours in rows]


def _encoder_rows(model: DynUNet) -> Rows:
    if model.block == "plain":
        theirs = r"encoder\.stages\.(\d+)\.0\.convs\.(\d+)"
        return _conv_rows(theirs, r"level\1_down\2", model.after)
    blocks = _blocks(model)
    rows = _conv_rows(r"encoder\.stem\.convs\.0", "stem", model.after)
    for level, stride in enumerate(model.strides):
        strided = max(stride if isinstance(stride, tuple) else (stride,)) > 1
        theirs, ours = rf"encoder\.stages\.{level}\.blocks\.0", f"level{level}_down0"
        rows += _block_rows(theirs, ours, blocks) + _shortcut_rows(theirs, ours, blocks, strided)
    theirs = r"encoder\.stages\.(\d+)\.blocks\.([1-9]\d*)"
    return rows + _block_rows(theirs, r"level\1_down\2", blocks)


def _blocks(model: DynUNet, block: str = "") -> list[ADN]:
    """What follows each convolution of a residual block; of two, or of three in a bottleneck."""
    bare = model.after.clone(activation="none", dropout=0.0)
    dense = [model.after.clone(dropout=0.0)] if (block or model.block) == "bottleneck" else []
    return [*dense, model.after, bare]


def _block_rows(theirs: str, ours: str, after: list[ADN]) -> Rows:
    rows: Rows = [(rf"{theirs}\.nonlin{len(after)}", f"{ours}@slope")]
    for i, one in enumerate(after):
        rows += _conv_rows(rf"{theirs}\.conv{i + 1}", rf"{ours}.conv{i}", one)
    return rows


def _shortcut_rows(theirs: str, ours: str, after: list[ADN], strided: bool) -> Rows:
    """The projection is the first part of a shortcut, or the second where that averages first."""
    return _conv_rows(rf"{theirs}\.skip\.{int(strided)}", f"{ours}.shortcut", after[-1])


def _conv_rows(theirs: str, ours: str, after: ADN) -> Rows:
    """Those of a `ConvADN`: by name, and again by number in ``all_modules``."""
    parts = {"conv": f"{ours}.conv!"}
    there = {"D": after.dropout > 0, "N": after.norm != "none", "A": after.activation != "none"}
    of_letter = {
        "D": ("dropout", ""),
        "N": ("norm", f"{ours}.adn.norm!"),
        "A": ("nonlin", f"{ours}.adn@slope"),
    }
    parts |= dict(of_letter[letter] for letter in after.order if there[letter])
    rows = [(rf"{theirs}\.{name}", mine) for name, mine in parts.items() if mine]
    for number, mine in enumerate(parts.values()):
        rows += [(rf"{theirs}\.all_modules\.{number}", f"={mine}")] if mine else []
    return rows
