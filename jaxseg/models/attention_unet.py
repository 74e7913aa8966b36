"""Attention U-Net: Learning Where to Look for the Pancreas.

Oktay, Schlemper, Le Folgoc, Lee, Heinrich, Misawa, Mori, McDonagh, Hammerla, Kainz, Glocker,
Rueckert 2018, https://arxiv.org/abs/1804.03999; journal https://arxiv.org/abs/1808.08114

Differs from the paper, as the authors' code does: the finest skip connection has no gate, the
coarsest gate is driven by a 1x1 convolution of the last feature, levels are enlarged linearly, and
logits come of the heads of all levels, joined. ``form`` says which network it is: ``multi`` (two
gates side by side a level) and ``single`` are the authors', ``none`` is their baseline without
gates. ``community`` is Lee's ``AttU_Net`` (LeeJunHyun/Image_Segmentation, widths 64 to 1024), which
gates every level by a map of its own size, and ``monai`` is MONAI's ``AttentionUnet``.
"""

from typing import ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.errors import UserError, require
from jaxseg.layers import AttentionGate, Conv, ConvNorm, Head, Norm, Size
from jaxseg.layers.adn import up_conv
from jaxseg.models.baseline_unet import of_lee
from jaxseg.ops import crop, enlarge, max_pool, pad_to_multiple, product
from jaxseg.types import Names, Paper, Prediction

Form = Literal["multi", "single", "none", "community", "monai"]

GATES = {"multi": 2, "single": 1, "none": 0}
"""Gates side by side in the authors' networks."""

LEE, LEVELS = "LeeJunHyun/Image_Segmentation", 5


def _of_authors() -> tuple[tuple[str, str], ...]:
    """They count levels from 1; the last one is the centre."""
    rows = [(r"gating\.conv1\.0", "gating.conv!"), (r"gating\.conv1\.1", "gating.norm!")]
    for level in range(LEVELS):
        here = "center" if level == LEVELS - 1 else f"conv{level + 1}"
        for theirs, ours in (
            (here, f"level{level}_conv"),
            (rf"up_concat{level + 1}\.conv", f"level{level}_up_conv"),
        ):
            rows.append((rf"{theirs}\.conv(\d)\.0", rf"{ours}\1.conv!"))
            rows.append((rf"{theirs}\.conv(\d)\.1", rf"{ours}\1.norm!"))
        block, gate = rf"attentionblock{level + 1}", f"level{level}_gate"
        for part in ("theta", "phi", "psi"):
            rows.append((rf"{block}\.gate_block_(\d)\.{part}", rf"{gate}\1.{part}!"))
        rows.append((rf"{block}\.gate_block_(\d)\.W\.0", rf"{gate}\1.out!"))
        rows.append((rf"{block}\.gate_block_(\d)\.W\.1", rf"{gate}\1.out_norm!"))
        rows.append((rf"{block}\.combine_gates\.0", f"{gate}s_merge.conv!"))
        rows.append((rf"{block}\.combine_gates\.1", f"{gate}s_merge.norm!"))
        for inner in ("", r"\.dsv\.0"):
            rows.append((rf"dsv{level + 1}{inner}", f"level{level}_head!"))
    return (*rows, ("final", "head!"))


def _of_lee() -> tuple[tuple[str, str], ...]:
    """Those of Lee's ``U_Net``; ``Att5`` gates what level 4 hands over."""
    rows = list(of_lee())
    for level in range(LEVELS):
        rows += _gate(rf"Att{level + 2}", "", f"level{level}_gate")
    return tuple(rows)


def _of_monai(levels: int) -> tuple[tuple[str, str], ...]:
    """Theirs is nested: a level lies in the ``submodule`` of the finer one."""
    rows = [(r"model\.2\.conv", "head!")]
    for level in range(levels):
        outer, here = r"model\.1" + r"\.submodule\.1" * (level - 1), r"model\.1"
        here += r"\.submodule\.1" * level
        block = rf"{outer}\.submodule\.0" if level else r"model\.0"
        block = block.removesuffix(r"\.0") if level == levels - 1 else block
        rows.append((rf"{block}\.conv\.0\.conv", f"level{level}_conv1.conv!"))
        rows.append((rf"{block}\.conv\.0\.adn\.N", f"level{level}_conv1.norm!"))
        rows.append((rf"{block}\.conv\.1\.conv", f"level{level}_conv2.conv!"))
        rows.append((rf"{block}\.conv\.1\.adn\.N", f"level{level}_conv2.norm!"))
        rows.append((rf"{here}\.upconv\.up\.conv", f"level{level}_up~"))
        rows.append((rf"{here}\.upconv\.up\.adn\.N", f"level{level}_up_norm!"))
        rows.append((rf"{here}\.merge\.conv", f"level{level}_merge!"))
        rows.append((rf"{here}\.merge\.adn\.A", f"level{level}_merge_norm@slope"))
        rows += _gate(rf"{here}\.attention", r"\.conv", f"level{level}_gate")
    return tuple(rows)


def _gate(block: str, conv: str, ours: str) -> list[tuple[str, str]]:
    """Where the community's gate stands; its convolutions' places end in ``conv``."""
    rows = []
    for theirs, part in (("W_x", "theta"), ("W_g", "phi"), ("psi", "psi")):
        rows.append((rf"{block}\.{theirs}\.0{conv}", f"{ours}.{part}!"))
        rows.append((rf"{block}\.{theirs}\.1", f"{ours}.{part}_norm!"))
    return rows


class AttentionUNet(nn.Module):
    """A U-Net whose skip connections pass what gates let through, driven by the coarser map.

    ``widths`` are the levels', finest first. 2-D and 3-D by the rank of the image, of any size:
    padded with zeros at the end of each axis to a multiple of ``stride``, and cropped. The gates'
    maps are read out by `jaxseg.attention`. Only ``monai`` has ``strides`` other than 2 (one for
    each level but the finest, of one number or one for each axis), kernels of other sizes than 3,
    and ``dropout``, which needs the rng of this name.
    """

    paper: ClassVar[Paper] = Paper(
        "Attention U-Net: Learning Where to Look for the Pancreas",
        "Oktay",
        2018,
        "https://arxiv.org/abs/1804.03999",
    )

    num_classes: int
    widths: tuple[int, ...] = (16, 32, 64, 128, 256)
    form: Form = "multi"
    strides: tuple[Size, ...] = ()
    kernel_size: Size = 3
    up_kernel_size: Size = 3
    dropout: float = 0.0
    dtype: str = "float32"

    @property
    def stride(self) -> Size:
        """Sizes that are multiples of this need no padding."""
        return product(self._strides)

    @property
    def names(self) -> Names:
        """Those of the code that has this form."""
        if self.form == "monai":
            return {"monai": _of_monai(len(self.widths))}
        if self.form == "community":
            return {LEE: _of_lee()}
        return {"ozan-oktay/Attention-Gated-Networks": _of_authors()}

    @property
    def _strides(self) -> tuple[Size, ...]:
        """From each level to the next coarser one."""
        return self.strides or (2,) * (len(self.widths) - 1)

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        self._check()
        x, skips = pad_to_multiple(jnp.asarray(image, self.dtype), self.stride), []
        strided = self.form == "monai"
        for level, width in enumerate(self.widths):
            x = max_pool(x) if level and not strided else x
            step = self._strides[level - 1] if level and strided else 1
            x = self._double(x, width, f"level{level}", train, step)
            skips.append(x)
        maps = self._expanded(skips, train)
        if self.form in GATES:
            heads = (Head(self.num_classes, name=f"level{i}_head")(x) for i, x in enumerate(maps))
            maps = [enlarge(x, 2**level, "linear") for level, x in enumerate(heads)]
            logits = Head(self.num_classes, name="head")(jnp.concatenate(maps, axis=-1))
        else:
            logits = Head(self.num_classes, name="head")(maps[0])
        return Prediction(crop(logits, image.shape[1:-1]))

    def _expanded(self, skips: list[Array], train: bool) -> list[Array]:
        """The decoder's maps, finest first."""
        x, maps = skips[-1], []
        gating = x
        if GATES.get(self.form, 0):
            gating = self._conv(x.shape[-1], "gating", 1)(x, train=train)
        for level in reversed(range(len(skips) - 1)):
            if self.form in GATES:
                skip = self._gated(skips[level], gating, level, train) if level else skips[level]
                x = jnp.concatenate([skip, enlarge(x, 2, "linear")], axis=-1)
                x = self._double(x, self.widths[level], f"level{level}_up", train)
            else:
                x = self._gated_by_equal(skips[level], x, level, train)
            gating = x
            maps.append(x)
        return maps[::-1]

    def _gated(self, skip: Array, gating: Array, level: int, train: bool) -> Array:
        """What the authors' gates let pass of ``skip``, through a 1x1 convolution together."""
        passed = []
        for i in range(GATES[self.form]):
            gate = AttentionGate(name=f"level{level}_gate{i + 1}")
            passed.append(gate(skip, gating, train=train))
        if not passed:
            return skip
        merge = self._conv(skip.shape[-1], f"level{level}_gates_merge", 1)
        return merge(jnp.concatenate(passed, axis=-1), train=train)

    def _gated_by_equal(self, skip: Array, x: Array, level: int, train: bool) -> Array:
        """A level of Lee's or MONAI's: ``x`` is enlarged first, and then gates ``skip``."""
        width, place = self.widths[level], f"level{level}"
        if self.form == "monai":
            kernel, stride, rank = self.up_kernel_size, self._strides[level], x.ndim - 2
            up = up_conv(width, kernel, stride, True, rank, f"{place}_up")
            x = Norm(activation="relu", name=f"{place}_up_norm")(up(x), train=train)
        else:
            x = self._conv(width, f"{place}_up")(enlarge(x, 2, "nearest"), train=train)
        gate = AttentionGate(form="community", name=f"{place}_gate")
        x = jnp.concatenate([gate(skip, x, train=train), x], axis=-1)
        if self.form == "community":
            return self._double(x, width, f"{place}_up", train)
        x = Conv(width, name=f"{place}_merge")(x)
        norm = Norm("instance", affine=False, activation="prelu_shared", name=f"{place}_merge_norm")
        return self._dropped(norm(x, train=train), f"{place}_merge_dropout", train)

    def _double(
        self, x: Array, width: int, place: str, train: bool, stride: Size = 1
    ) -> Float[Array, "b *t k"]:
        for i in (1, 2):
            step = stride if i == 1 else 1
            x = self._conv(width, f"{place}_conv{i}", self.kernel_size, step)(x, train=train)
            x = self._dropped(x, f"{place}_dropout{i}", train)
        return x

    def _dropped(self, x: Array, name: str, train: bool) -> Array:
        # after the activation, with which it commutes: MONAI drops before it
        return nn.Dropout(self.dropout, deterministic=not train, name=name)(x)

    def _conv(self, features: int, name: str, kernel_size: Size = 3, stride: Size = 1) -> ConvNorm:
        return ConvNorm(features, kernel_size, stride, use_bias=True, name=name)

    def _check(self) -> None:
        fields = (self.strides, self.kernel_size, self.up_kernel_size, self.dropout)
        if self.form != "monai" and fields != ((), 3, 3, 0.0):
            raise UserError(
                f"AttentionUNet: form={self.form!r} has strides of 2, kernels of 3 and no dropout; "
                "leave strides, kernel_size, up_kernel_size and dropout out"
            )
        levels = len(self.widths)
        require(levels > 1, "AttentionUNet.widths", self.widths, "of two levels or more")
        fits = levels > 1 and len(self._strides) == levels - 1
        require(fits, "strides", self.strides, f"one for each of widths={self.widths} but the last")
        sizes = self.kernel_size if isinstance(self.kernel_size, tuple) else (self.kernel_size,)
        require(all(k % 2 for k in sizes), "kernel_size", self.kernel_size, "odd")
