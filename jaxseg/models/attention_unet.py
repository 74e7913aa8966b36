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

from jaxseg.layers import AttentionGate, Conv, ConvNorm, Head, Norm, TransposedConv
from jaxseg.models.baseline_unet import BaselineUNet
from jaxseg.ops import crop, enlarge, max_pool, pad_to_multiple
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
        rows.append((rf"dsv{level + 1}(\.dsv\.0)?", f"level{level}_head!"))
    return (*rows, ("final", "head!"))


def _of_lee() -> tuple[tuple[str, str], ...]:
    """Those of Lee's ``U_Net``; ``Att5`` gates what level 4 hands over."""
    rows = list(BaselineUNet.names[LEE])
    for level in range(LEVELS):
        rows += _gate(rf"Att{level + 2}", "", f"level{level}_gate")
    return tuple(rows)


def _of_monai() -> tuple[tuple[str, str], ...]:
    """Theirs is nested: a level lies in the ``submodule`` of the finer one."""
    rows = [(r"model\.2\.conv", "head!")]
    for level in range(LEVELS):
        outer, here = r"model\.1" + r"\.submodule\.1" * (level - 1), r"model\.1"
        here += r"\.submodule\.1" * level
        block = rf"{outer}\.submodule(?:\.0)?" if level else r"model\.0"
        for i in (0, 1):
            rows.append((rf"{block}\.conv\.{i}\.conv", f"level{level}_conv{i + 1}.conv!"))
            rows.append((rf"{block}\.conv\.{i}\.adn\.N", f"level{level}_conv{i + 1}.norm!"))
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
    maps are read out by `jaxseg.attention`.
    """

    paper: ClassVar[Paper] = Paper(
        "Attention U-Net: Learning Where to Look for the Pancreas",
        "Oktay",
        2018,
        "https://arxiv.org/abs/1804.03999",
    )

    names: ClassVar[Names] = {
        "ozan-oktay/Attention-Gated-Networks": _of_authors(),
        LEE: _of_lee(),
        "monai": _of_monai(),
    }

    num_classes: int
    widths: tuple[int, ...] = (16, 32, 64, 128, 256)
    form: Form = "multi"
    dtype: str = "float32"

    @property
    def stride(self) -> int:
        """Sizes that are multiples of this need no padding."""
        return 2 ** (len(self.widths) - 1)

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        x, skips = pad_to_multiple(jnp.asarray(image, self.dtype), self.stride), []
        strided = self.form == "monai"
        for level, width in enumerate(self.widths):
            x = max_pool(x) if level and not strided else x
            step = 2 if level and strided else 1
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
            up = TransposedConv(
                width, kernel_size=3, stride=2, padding=1, output_padding=1, name=f"{place}_up"
            )
            x = Norm(activation="relu", name=f"{place}_up_norm")(up(x), train=train)
        else:
            x = self._conv(width, f"{place}_up")(enlarge(x, 2, "nearest"), train=train)
        gate = AttentionGate(form="community", name=f"{place}_gate")
        x = jnp.concatenate([gate(skip, x, train=train), x], axis=-1)
        if self.form == "community":
            return self._double(x, width, f"{place}_up", train)
        x = Conv(width, name=f"{place}_merge")(x)
        norm = Norm("instance", affine=False, activation="prelu_shared", name=f"{place}_merge_norm")
        return norm(x, train=train)

    def _double(
        self, x: Array, width: int, place: str, train: bool, stride: int = 1
    ) -> Float[Array, "b *t k"]:
        x = self._conv(width, f"{place}_conv1", stride=stride)(x, train=train)
        return self._conv(width, f"{place}_conv2")(x, train=train)

    def _conv(self, features: int, name: str, kernel_size: int = 3, stride: int = 1) -> ConvNorm:
        return ConvNorm(features, kernel_size, stride, use_bias=True, name=name)
