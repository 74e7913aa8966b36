"""MeshNet: End-to-end learning of brain tissue segmentation from imperfect labeling.

Fedorov, Johnson, Damaraju, Ozerin, Calhoun, Plis 2017, https://arxiv.org/abs/1612.00940; widths,
dilations and the norm behind the activation are those of the authors' code.

Differs from the authors' code: logits; no dropout by default (theirs is 0.25, of whole channels).
``MeshNet(104, width=71, dilations=(1, 1, 1, 2, 4, 8, 1))`` is the network of their atlas
(https://arxiv.org/abs/1711.00457), and brainchop's networks have norms folded into convolutions
(``after=ADN("none", "relu")``).
"""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.errors import require
from jaxseg.layers import ADN, Conv, Head
from jaxseg.types import Names, Paper, Prediction

AFTER = ADN("batch", "relu", order="AND", affine=True, dropped="channels")
"""ReLU, batch norm and, where there is any, dropout of whole channels."""

FIRST_KEY = 19
"""The number by which brainchop calls the first convolution; the activation has the next."""


class MeshNet(nn.Module):
    """3x3 convolutions of one width at full resolution, dilated one by one, and logits.

    Convolution i has a dilation of ``dilations[i]`` and as much padding, so that a pixel sees the
    sum of them on each side. ``after`` is copied behind each. 1-D to 3-D by the rank of the image,
    of any size. A map of the image's size is kept for each convolution in training: 256^3 voxels
    are 1.4 GB in float32 at a width of 21.
    """

    paper: ClassVar[Paper] = Paper(
        "End-to-end learning of brain tissue segmentation from imperfect labeling",
        "Fedorov",
        2017,
        "https://arxiv.org/abs/1612.00940",
    )

    num_classes: int
    width: int = 21
    dilations: tuple[int, ...] = (1, 1, 2, 4, 8, 16, 1)
    after: ADN = AFTER
    dtype: str = "float32"

    @property
    def stride(self) -> int:
        """1: no map is smaller than the image."""
        return 1

    @property
    def names(self) -> Names:
        """The authors' places; without norms brainchop's, whose file is one of Keras."""
        last = len(self.dilations)
        theirs = [(rf"model\.conv_{last}", "head!"), (r"model\.conv_(\d+)", r"conv\1!")]
        theirs.append((r"model\.bn_(\d+)", r"conv\1_after.norm!"))
        names: dict[str, tuple[tuple[str, str], ...]] = {"Entodi/meshnet-pytorch": tuple(theirs)}
        if self.after.norm == "none":
            keras = [(str(FIRST_KEY + 2 * i), f"conv{i}^") for i in range(last)]
            names = {"brainchop": (("output", "head^"), *keras)} | names
        return names

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        least = min(self.dilations, default=0)
        require(least >= 1, "MeshNet.dilations", self.dilations, "one or more, at least 1 each")
        x = jnp.asarray(image, self.dtype)
        for i, dilation in enumerate(self.dilations):
            x = Conv(self.width, dilation=dilation, name=f"conv{i}")(x)
            x = jnp.asarray(self.after.copy(name=f"conv{i}_after")(x, train=train))
        return Prediction(Head(self.num_classes, name="head")(x))
