"""Ki-Net, the overcomplete network of the KiU-Net paper by itself.

Valanarasu, Sindagi, Hacihaliloglu, Patel 2020, https://arxiv.org/abs/2006.04878, figure 1b

As in the authors' code: no norm, and what ends it is a 3x3 convolution at twice the image's size,
whose maxima are the logits. Their ``kitenet`` also has a ReLU of these, ``head_activation="relu"``;
``skips="add"`` is their ``kinetwithsk``.
"""

from typing import ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.layers import Conv, Head
from jaxseg.layers.activation import activated
from jaxseg.ops import enlarge, max_pool
from jaxseg.types import Names, Paper, Prediction


class KiNet(nn.Module):
    """Convolutions that double the size, then as many that halve it: it never sees less.

    ``widths`` are those of the growing layers, finest last; each is convolution, linear upsampling
    and ReLU, on the way back convolution, max pooling and ReLU. The largest map has
    ``2 ** len(widths)`` times the image's edge. 2-D and 3-D by the rank of the image, of any size.
    """

    paper: ClassVar[Paper] = Paper(
        "KiU-Net: Towards Accurate Segmentation of Biomedical Images using Over-complete "
        "Representations",
        "Valanarasu",
        2020,
        "https://arxiv.org/abs/2006.04878",
    )

    names: ClassVar[Names] = {
        "jeya-maria-jose/KiU-Net-pytorch": (
            ("encoder1", "encoder0!"),
            ("encoder2", "encoder1!"),
            ("encoder3", "encoder2!"),
            ("decoder3", "decoder2!"),
            ("decoder4", "decoder1!"),
            ("decoder5", "head!"),
        )
    }

    num_classes: int
    widths: tuple[int, ...] = (32, 64, 128)
    skips: Literal["none", "add"] = "none"
    head_activation: Literal["none", "relu"] = "none"
    dtype: str = "float32"

    @property
    def stride(self) -> int:
        """1: no map is smaller than the image."""
        return 1

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        x, maps = jnp.asarray(image, self.dtype), []
        for level, width in enumerate(self.widths):
            x = nn.relu(enlarge(Conv(width, name=f"encoder{level}")(x), 2, "linear"))
            maps.append(x)
        for level in reversed(range(1, len(self.widths))):
            x = nn.relu(max_pool(Conv(self.widths[level - 1], name=f"decoder{level}")(x)))
            x = x + maps[level - 1] if self.skips == "add" else x
        logits = max_pool(Head(self.num_classes, kernel_size=3, name="head")(x))
        return Prediction(activated(self, logits, self.head_activation))
