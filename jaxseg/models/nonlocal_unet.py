"""Non-local U-Nets for Biomedical Image Segmentation: every pixel looks at all others.

Wang, Zou, Shen, Ji 2020, https://arxiv.org/abs/1812.04103, figures 1 to 3

Differs from the paper: weights are drawn as He et al. propose; the authors' code leaves the
deviation at 1. From their code: ReLU6, moments that keep 0.997, dropout of one half on the
attention weights and before the logits, two heads at the bottom and one above it.
``aggregations=()`` is the paper's baseline, the same network without attention.
"""

import math
from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.layers import Conv, Head, Norm, TransposedConv
from jaxseg.layers.attention_map import sow_received
from jaxseg.ops import Weighing, attend, crop, pad_to_multiple, to_image, to_tokens
from jaxseg.types import Paper, Prediction

Size = Literal["same", "down", "up"]

MOST = 2**28
"""Numbers of an attention map that is whole in memory: 1 GiB in float32."""


class NonLocalUNet(nn.Module):
    """Residual blocks a level, activated before each convolution; skip connections are added.

    ``aggregations`` says where global aggregation blocks stand: ``down`` in the place of the
    residual block that leads to the coarsest level, ``same`` on that level (with ``heads`` heads),
    ``up`` in the place of the first transposed convolution. ``attention`` and ``dropout`` are as of
    `GlobalAggregation`; ``dropout`` also acts before the logits. 2-D and 3-D by the rank of the
    image, of any size: padded with zeros at the end of each axis to a multiple of
    ``2 ** (levels - 1)``, and cropped.
    """

    paper: ClassVar[Paper] = Paper(
        "Non-local U-Nets for Biomedical Image Segmentation",
        "Wang",
        2020,
        "https://arxiv.org/abs/1812.04103",
    )

    num_classes: int
    widths: tuple[int, ...] = (32, 64, 128)
    aggregations: tuple[Size, ...] = ("same", "up")
    heads: int = 2
    attention: Literal["chunked", "whole"] = "chunked"
    dropout: float = 0.5
    dtype: str = "float32"

    @property
    def stride(self) -> int | None:
        """None where pixels attend to all of the image."""
        return None if self.aggregations else 2 ** (len(self.widths) - 1)

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Prediction:
        """Logits of the image's size. Raises UserError where there is no coarser level."""
        size, skips, last = image.shape[1:-1], [], len(self.widths) - 1
        if not last and {"down", "up"} & set(self.aggregations):
            raise UserError(
                f"NonLocalUNet.aggregations={self.aggregations}: 'down' and 'up' lead to another "
                f"level, and widths={self.widths} are one; give two widths or more"
            )
        x = pad_to_multiple(jnp.asarray(image, self.dtype), 2**last)
        x = Conv(self.widths[0], use_bias=False, name="stem")(x)
        for level, width in enumerate(self.widths):
            stride = 2 if level else 1
            if level == last and "down" in self.aggregations:
                x = self._aggregated(x, width, "down", f"level{level}_down", train)
            else:
                x = self._residual(x, width, stride, f"level{level}", train)
            skips.append(x)
        if "same" in self.aggregations:
            x = self._aggregated(x, self.widths[-1], "same", "bottom", train)
        for level in reversed(range(last)):
            width, place = self.widths[level], f"level{level}_up"
            if level == last - 1 and "up" in self.aggregations:
                x = self._aggregated(x, width, "up", place, train)
            else:
                x = self._doubled(width, place)(x)
            x = self._residual(x + skips[level], width, 0, place, train)
        x = self._norm("head_norm")(x, train=train)
        x = nn.Dropout(self.dropout, name="head_dropout")(x, deterministic=not train)
        return Prediction(crop(Head(self.num_classes, name="head")(x), size))

    def _residual(
        self, x: Array, width: int, stride: int, place: str, train: bool
    ) -> Float[Array, "b *t k"]:
        """Two 3x3 convolutions; 1x1 beside them on the way down, x itself at stride 0."""
        y = self._norm(f"{place}_norm1")(x, train=train)
        if stride:
            x = Conv(width, 1, stride=stride, use_bias=False, name=f"{place}_shortcut")(y)
        y = Conv(width, stride=max(stride, 1), use_bias=False, name=f"{place}_conv1")(y)
        y = self._norm(f"{place}_norm2")(y, train=train)
        return x + Conv(width, use_bias=False, name=f"{place}_conv2")(y)

    def _aggregated(
        self, x: Array, width: int, size: Size, place: str, train: bool
    ) -> Float[Array, "b *t k"]:
        """Figure 2: global aggregation, and beside it x or x resized by a 3x3 convolution."""
        y = self._norm(f"{place}_norm")(x, train=train)
        if size == "down":
            x = Conv(width, stride=2, use_bias=False, name=f"{place}_shortcut")(y)
        elif size == "up":
            x = self._doubled(width, f"{place}_shortcut")(y)
        aggregate = GlobalAggregation(
            width,
            size,
            heads=self.heads if size == "same" else 1,
            dropout=self.dropout,
            attention=self.attention,
            name=f"{place}_aggregation",
        )
        return x + aggregate(y, train=train)

    def _norm(self, name: str) -> Norm:
        return Norm(activation="relu6", momentum=0.997, name=name)

    def _doubled(self, width: int, name: str) -> TransposedConv:
        return TransposedConv(
            width, kernel_size=3, padding=1, output_padding=1, use_bias=False, name=name
        )


class GlobalAggregation(nn.Module):
    """Multi-head attention whose query sets the size of the output: section 3.2, figure 2.

    ``query`` is a 1x1 convolution for ``same``, a 3x3 one of stride 2 for ``down``, a transposed
    3x3 one of stride 2 for ``up``; ``key``, ``value`` and ``out`` are 1x1, all with bias. Query,
    key and value have ``width`` channels (None: ``features``), shared by the heads; the products
    are scaled by one over the root of a head's. ``dropout`` acts on the attention weights when
    training (rng ``dropout``): 0.5 in the authors' code. The residual connection, and the norm
    and activation that come first, belong to the network.

    ``attention="chunked"`` computes the softmax for some queries at a time (ops.attend): memory
    grows with the number of pixels, not with its square. ``whole`` has all weights in memory at
    once, ``MOST`` numbers of them or fewer, and computes nothing twice.
    """

    features: int
    size: Size = "same"
    heads: int = 1
    width: int | None = None
    dropout: float = 0.0
    attention: Literal["chunked", "whole"] = "chunked"

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *s c"], *, train: bool
    ) -> Float[Array, "b *t {self.features}"]:
        """The aggregated map.

        Raises UserError where heads do not divide the width, or a whole map is too large.
        """
        width = self.width or self.features
        if width % self.heads:
            raise UserError(
                f"GlobalAggregation {self.name}: heads={self.heads} does not divide the width "
                f"{width}; {max(h for h in range(1, self.heads) if width % h == 0)} does"
            )
        image = self._query(width)(x)
        query = to_tokens(image, self.heads)
        key, value = (
            to_tokens(self._pointwise(width, name)(x), self.heads) for name in ("key", "value")
        )
        weighing = Weighing(scale=(width // self.heads) ** -0.5, dropout=self.dropout)
        if self.attention == "whole":
            self._check(query, key, x.shape[1:-1])
        sow_received(self, query, key, x.shape[1:-1], weighing)
        rng = self.make_rng("dropout") if train and self.dropout > 0 else None
        known = self.attention == "whole" and isinstance(query.shape[1], int)
        block = query.shape[1] if known else None
        y = attend(query, key, value, weighing, rng=rng, block=block)
        return self._pointwise(self.features, "out")(to_image(y, image.shape[1:-1]))

    def _query(self, width: int) -> nn.Module:
        if self.size == "same":
            return self._pointwise(width, "query")
        if self.size == "down":
            return Conv(width, stride=2, name="query")
        return TransposedConv(
            width, kernel_size=3, stride=2, padding=1, output_padding=1, name="query"
        )

    def _pointwise(self, features: int, name: str) -> Conv:
        return Conv(features, kernel_size=1, name=name)

    def _check(self, query: Array, key: Array, size: tuple[Any, ...]) -> None:
        sizes = (*query.shape[:3], key.shape[1])
        if not all(isinstance(n, int) for n in sizes) or math.prod(sizes) <= MOST:
            return
        fraction = (MOST / math.prod(sizes)) ** (1 / (2 * len(size)))
        fitting = tuple(max(2 * int(n * fraction / 2), 1) for n in size)
        raise UserError(
            f"GlobalAggregation {self.name}: the attention of {sizes[1]} x {sizes[3]} pixels "
            f"(batch {sizes[0]}, {sizes[2]} heads) is too large as a whole for a map of {size}; "
            f"{fitting} fits (images {fraction:.2f} times as long), or attention='chunked'"
        )
