"""UNet 3+: A Full-Scale Connected UNet for Medical Image Segmentation.

Huang, Lin, Tong, Hu, Zhang, Iwamoto, Han, Chen, Wu 2020, https://arxiv.org/abs/2004.08790

Differs from the paper: logits, where it ends in a sigmoid of one class. Its classification says
whether the image has the organ at all, and multiplies all side outputs by that; here it says so
of every class (``image_logits``), and takes from the logits, in evaluation alone, the classes
that the image has not: of a softmax, zero is no absence, and a class that is taken away while
training could not be learnt. Class 0 stays always.
"""

from typing import ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.layers import ConvNorm, Head
from jaxseg.ops import crop, enlarge, max_pool, pad_to_multiple
from jaxseg.ops.fit import Sizes
from jaxseg.types import Names, Paper, Prediction

ABSENT = -1e4
"""Added to the logits of a class that the image has not: its probability is zero."""


def _of_authors(levels: int = 5) -> tuple[tuple[str, str], ...]:
    """They count levels from 1, and name a branch by where it comes from and how."""
    rows = [(r"cls\.1", "classification!")]
    for level in range(levels):
        here = level + 1
        rows.append((rf"outconv{here}", f"level{level}_head!"))
        for i, part in enumerate(("conv", "norm")):
            rows.append((rf"conv{here}\.conv(\d)\.{i}", rf"level{level}_conv\1.{part}!"))
        pairs = [("{}" + f"{here}d_1", f"level{level}_merge")]
        for source in range(levels):
            decoded = "" if source <= level else "d"
            how = "PT" if source < level else "UT"
            theirs = f"h{decoded}{source + 1}_{how}_hd{here}"
            theirs = f"h{here}_Cat_hd{here}" if source == level else theirs
            pairs.append((theirs + "_{}", f"level{level}_from{source}"))
        for theirs, ours in pairs:
            rows.append((theirs.format("conv"), f"{ours}.conv!"))
            rows.append((theirs.format("bn"), f"{ours}.norm!"))
    return tuple(rows)


class UNet3Plus(nn.Module):
    """Each level of the decoder sees the encoder's finer and equal maps and all coarser ones.

    ``widths`` are the encoder's, finest first. A decoder's level brings each of its sources to its
    own size (max pooling, or linear upsampling), convolves it to ``branch_width``, and merges them
    all, so it is ``branch_width * len(widths)`` wide. Every level has a 3x3 head, that of the
    coarsest on the encoder's last map; all but the finest are in ``auxiliary``, resized to the
    image. ``classification="guided"`` adds the image's: dropout, 1x1, maximum over the image.
    2-D and 3-D by the rank of the image, of any size: padded with zeros at the end of each axis
    to a multiple of ``stride``, and cropped.
    """

    paper: ClassVar[Paper] = Paper(
        "UNet 3+: A Full-Scale Connected UNet for Medical Image Segmentation",
        "Huang",
        2020,
        "https://arxiv.org/abs/2004.08790",
    )

    names: ClassVar[Names] = {"ZJUGiveLab/UNet-Version": _of_authors()}

    num_classes: int
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)
    branch_width: int = 64
    classification: Literal["none", "guided"] = "none"
    dropout: float = 0.5
    dtype: str = "float32"

    @property
    def stride(self) -> int | None:
        """Sizes that are multiples of this need no padding; None where the image is classified."""
        return self._step if self.classification == "none" else None

    @property
    def needs_image_loss(self) -> bool:
        """Whether evaluation takes classes away by scores that a loss of the image must teach."""
        return self.classification == "guided"

    @property
    def _step(self) -> int:
        return 2 ** (len(self.widths) - 1)

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        x, maps = pad_to_multiple(jnp.asarray(image, self.dtype), self._step), []
        for level, width in enumerate(self.widths):
            x = max_pool(x) if level else x
            for i in (1, 2):
                x = self._conv(width, f"level{level}_conv{i}")(x, train=train)
            maps.append(x)
        scores = self._scores(maps[-1], train) if self.classification == "guided" else None
        for level in reversed(range(len(maps) - 1)):
            # finer than here: still the encoder's; coarser: already the decoder's
            maps[level] = self._merged(maps, level, train)
        heads = [self._logits(x, level, image.shape[1:-1]) for level, x in enumerate(maps)]
        if scores is not None and not train:
            absent = _absent(scores, image.ndim)
            heads = [logits + jnp.broadcast_to(absent, logits.shape) for logits in heads]
        return Prediction(heads[0], tuple(heads[1:]), image_logits=scores)

    def _merged(self, maps: list[Array], level: int, train: bool) -> Float[Array, "b *s k"]:
        branches = []
        for source, x in enumerate(maps):
            if source < level:
                x = max_pool(x, 2 ** (level - source))
            elif source > level:
                x = enlarge(x, 2 ** (source - level), "linear")
            branch = self._conv(self.branch_width, f"level{level}_from{source}")
            branches.append(branch(x, train=train))
        merge = self._conv(self.branch_width * len(maps), f"level{level}_merge")
        return merge(jnp.concatenate(branches, axis=-1), train=train)

    def _conv(self, features: int, name: str) -> ConvNorm:
        return ConvNorm(features, use_bias=True, name=name)

    def _logits(self, x: Array, level: int, size: Sizes) -> Float[Array, "b *s k"]:
        x = Head(self.num_classes, kernel_size=3, name=f"level{level}_head")(x)
        return crop(enlarge(x, 2**level, "linear") if level else x, size)

    def _scores(self, x: Array, train: bool) -> Float[Array, "b k"]:
        x = nn.Dropout(self.dropout, deterministic=not train, name="classification_dropout")(x)
        x = Head(self.num_classes, name="classification")(x)
        return x.max(tuple(range(1, x.ndim - 1)))


def _absent(scores: Float[Array, "b k"], rank: int) -> Float[Array, "b ... k"]:
    """What is added to logits: `ABSENT` where an image's score of a class is not above zero."""
    absent = (scores <= 0) & (jnp.arange(scores.shape[-1])[None] > 0)
    return jax.lax.expand_dims(jnp.where(absent, ABSENT, 0.0), range(1, rank - 1))
