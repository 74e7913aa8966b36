"""MONAI's basic UNet++: UNet++: A Nested U-Net Architecture for Medical Image Segmentation.

Zhou, Siddiquee, Tajbakhsh, Liang 2018, https://arxiv.org/abs/1807.10165;
``monai.networks.nets.BasicUNetPlusPlus``.

Differs from the paper (and from ours of it, `UNetPlusPlus`) as MONAI does: the blocks of
`BasicUNet`, its treatment of odd sizes, half of the channels where a map is enlarged but to level
0, [earlier nodes, upsampled] as the order of channels, and a width of its own for the last node.
"""

from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.layers import Head
from jaxseg.models.basic_unet import LEAKY, Enlarged, Joined, TwoConvs, check_widths
from jaxseg.ops import crop, max_pool, pad_to_least
from jaxseg.types import Names, Paper, Prediction


class BasicUNetPlusPlus(nn.Module):
    """Nodes ``X^{i,j}``: pairs of convolutions of the node below, enlarged, and of earlier nodes.

    ``widths`` are the levels', finest first, and ``last_width`` that of the last node. There is a
    head at each node of level 0; those but the last are in ``auxiliary``, deepest first, with
    ``deep_supervision``. Without it they have parameters all the same, as in MONAI, and nothing is
    computed or learnt with them. 1-D to 3-D by the rank of the image, of any size; one below
    ``stride`` is padded with zeros at the end of the axis up to it, and cropped.
    """

    paper: ClassVar[Paper] = Paper(
        "UNet++: A Nested U-Net Architecture for Medical Image Segmentation",
        "Zhou",
        2018,
        "https://arxiv.org/abs/1807.10165",
    )

    names: ClassVar[Names] = {
        "monai": (
            (r"conv_0_0\.conv_(\d)\.conv", r"node0_0.conv\1.conv!"),
            (r"conv_0_0\.conv_(\d)\.adn\.N", r"node0_0.conv\1.adn.norm!"),
            (r"conv_0_0\.conv_(\d)\.adn\.A", r"node0_0.conv\1.adn@slope"),
            (r"conv_(\d+)_0\.convs\.conv_(\d)\.conv", r"node\1_0.conv\2.conv!"),
            (r"conv_(\d+)_0\.convs\.conv_(\d)\.adn\.N", r"node\1_0.conv\2.adn.norm!"),
            (r"conv_(\d+)_0\.convs\.conv_(\d)\.adn\.A", r"node\1_0.conv\2.adn@slope"),
            (r"upcat_(\d+_\d+)\.upsample\.deconv", r"node\1.enlarge~"),
            (r"upcat_(\d+_\d+)\.upsample\.preconv", r"node\1.project!"),
            (r"upcat_(\d+_\d+)\.upsample\.pixelshuffle\.conv_block", r"node\1.spread!"),
            (r"upcat_(\d+_\d+)\.convs\.conv_(\d)\.conv", r"node\1.merge.conv\2.conv!"),
            (r"upcat_(\d+_\d+)\.convs\.conv_(\d)\.adn\.N", r"node\1.merge.conv\2.adn.norm!"),
            (r"upcat_(\d+_\d+)\.convs\.conv_(\d)\.adn\.A", r"node\1.merge.conv\2.adn@slope"),
            (r"final_conv_0_(\d+)", r"node0_\1_head!"),
        )
    }

    num_classes: int
    widths: tuple[int, ...] = (32, 32, 64, 128, 256)
    last_width: int = 32
    deep_supervision: bool = False
    upsample: Enlarged = "transpose"
    after: nn.Module = LEAKY
    use_bias: bool = True
    dtype: str = "float32"

    @property
    def stride(self) -> int:
        """Sizes that are multiples of this keep every pixel."""
        return 2 ** (len(self.widths) - 1)

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size."""
        check_widths("BasicUNetPlusPlus", self.widths)
        size, deepest = image.shape[1:-1], len(self.widths) - 1
        x, nodes = pad_to_least(jnp.asarray(image, self.dtype), self.stride), {}
        for i, width in enumerate(self.widths):
            x = max_pool(x) if i else x
            convs = TwoConvs(width, self.use_bias, self.after, name=f"node{i}_0")
            x = nodes[i, 0] = convs(x, train=train)
        for j in range(1, deepest + 1):
            for i in range(deepest - j + 1):
                earlier = tuple(nodes[i, column] for column in range(j))
                below, node = nodes[i + 1, j - 1], self._node(i, j)
                nodes[i, j] = node(below, earlier, train=train)
        logits = []
        for j in reversed(range(1, deepest + 1)):
            head = Head(self.num_classes, name=f"node0_{j}_head")
            logits.append(crop(head(nodes[0, j]), size))
        return Prediction(logits[0], tuple(logits[1:]) if self.deep_supervision else ())

    def _node(self, i: int, j: int) -> Joined:
        last = (i, j) == (0, len(self.widths) - 1)
        return Joined(
            self.last_width if last else self.widths[i],
            halved=i > 0,
            upsample=self.upsample,
            use_bias=self.use_bias,
            after=self.after,
            name=f"node{i}_{j}",
        )
