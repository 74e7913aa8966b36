"""Densely Connected Convolutional Networks: DenseNet-BC.

Huang, Liu, van der Maaten, Weinberger 2017, https://arxiv.org/abs/1608.06993

Without the classifier and the ReLU before its mean.
"""

import flax.linen as nn
from jaxtyping import Array, Float

from jaxseg.encoders.standardize import Standardize, standardized
from jaxseg.layers import Conv, ConvNorm, DenseBlock, Kind, Norm
from jaxseg.ops import average_pool, max_pool
from jaxseg.types import Names


class DenseNet(nn.Module):
    """Stem (7x7, stride 2), max pooling, dense blocks of ``layers`` with transitions between.

    A transition is norm, ReLU, 1x1 convolution to half of the channels, average pooling by 2.
    Features, as in segmentation_models_pytorch: the stem, each transition's norm and ReLU, and the
    last norm. The defaults are DenseNet-121 (table 1). ``width`` is the stem's.
    """

    layers: tuple[int, ...] = (6, 12, 24, 16)
    growth: int = 32
    width: int = 64
    bottleneck: int = 4
    norm: Kind = "batch"
    standardize: Standardize | None = None

    @property
    def strides(self) -> tuple[int, ...]:
        """Down-sampling of each feature, finest first."""
        return tuple(2 ** (i + 1) for i in range(len(self.layers) + 1))

    @property
    def names(self) -> Names:
        """Torchvision's places, which are timm's; its layers are numbered from 1."""
        pairs = [(r"features\.(?:conv|norm)0", "stem_conv")]
        for block, layers in enumerate(self.layers, start=1):
            for i in range(layers):
                place, ours = rf"features\.denseblock{block}\.denselayer{i + 1}", f"layer{i}"
                # its modules say norm1, files of its weights norm.1
                for dot in ("", r"\."):
                    theirs = rf"{place}\.(norm|conv){dot}(\d)"
                    pairs.append((theirs, rf"block{block}.{ours}_\1\2!"))
        last = len(self.layers) + 1
        pairs.append((r"features\.transition(\d)\.(norm|conv)", r"transition\1_\2!"))
        pairs.append((rf"features\.norm{last}", "last_norm!"))
        return dict.fromkeys(("torchvision", "timm"), tuple(pairs))

    @nn.compact
    def __call__(
        self, image: Float[Array, "b *s c"], *, train: bool, count: int | None = None
    ) -> tuple[Float[Array, "b ..."], ...]:
        """A map a stride, finest first, or the first ``count`` of them."""
        stem = ConvNorm(self.width, kernel_size=7, stride=2, norm=self.norm, name="stem_conv")
        x = stem(standardized(image, self.standardize), train=train)
        features, last = [x], len(self.layers)
        count = last + 1 if count is None else count
        for number, layers in enumerate(self.layers[: count - 1], start=1):
            if number == 1:
                x = max_pool(x, 3, stride=2, padding=1)
            else:
                x = average_pool(self._halved(x, f"transition{number - 1}_conv"), 2)
            block = DenseBlock(
                layers,
                growth=self.growth,
                bottleneck=self.bottleneck,
                norm=self.norm,
                name=f"block{number}",
            )
            x = block(x, train=train)
            name = "last_norm" if number == last else f"transition{number}_norm"
            activation = "none" if number == last else "relu"
            x = Norm(self.norm, activation=activation, name=name)(x, train=train)
            features.append(x)
        return tuple(features)

    def _halved(self, x: Array, name: str) -> Float[Array, "b ..."]:
        use_bias = self.norm == "none"
        return Conv(x.shape[-1] // 2, kernel_size=1, use_bias=use_bias, name=name)(x)
