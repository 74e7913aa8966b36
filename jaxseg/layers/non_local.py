"""Non-local blocks: every pixel of the output is a weighted mean over all pixels of the input.

Wang, Girshick, Gupta, He 2018, https://arxiv.org/abs/1711.07971 (NonLocal).
Wang, Zou, Shen, Ji 2020 (Non-local U-Nets), https://arxiv.org/abs/1812.04103 (GlobalAggregation).

Both compute the softmax in blocks of queries (ops.attend): memory grows with the number of
pixels, not with its square.
"""

from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.layers.attention_map import sow_received
from jaxseg.layers.conv import Conv
from jaxseg.layers.norm import Kind, Norm
from jaxseg.layers.transposed import TransposedConv
from jaxseg.ops import Weighing, along_channels, attend, max_pool, to_image, to_tokens


class NonLocal(nn.Module):
    """``x + norm(out(y))``, y the mean of ``g(x)`` weighted by pairs: equations 1 and 6.

    ``pairing`` is ``embedded_gaussian`` (equation 3: softmax of ``theta(x) phi(x)^T``) or
    ``dot_product`` (equation 4: the products divided by the number of pixels). The latter is
    computed as ``theta(x) (phi(x)^T g(x))``, at a cost linear in the number of pixels, and sows
    no attention map.
    ``scaled`` divides the products by the root of the width: the released code, not the paper.
    ``pool`` shrinks what phi and g see by a maximum, as the released code does (the paper pools
    after them). Width None is half of x's channels.

    ``scale`` and ``bias`` are those of the norm; scale is zero at first (section 4.1), so that
    training begins at the identity. With ``norm="none"`` there are neither, and it does not.
    """

    width: int | None = None
    pairing: Literal["embedded_gaussian", "dot_product"] = "embedded_gaussian"
    scaled: bool = False
    pool: int = 1
    norm: Kind = "batch"

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], *, train: bool) -> Float[Array, "b *s c"]:
        """``x`` with what it attends to; same size and channels.

        UserError where ``pool`` leaves no pixel.
        """
        self._check(x)
        c = x.shape[-1]
        width = self.width or max(1, c // 2)
        small = max_pool(x, self.pool) if self.pool > 1 else x
        theta, phi, g = (
            to_tokens(Conv(width, kernel_size=1, name=name)(source))
            for name, source in (("theta", x), ("phi", small), ("g", small))
        )
        scale = width**-0.5 if self.scaled else 1.0
        if self.pairing == "embedded_gaussian":
            sow_received(self, theta, phi, small.shape[1:-1], Weighing(scale))
            y = attend(theta, phi, g, Weighing(scale))
        else:
            y = _dot_product(theta, phi, g, scale)
        y = to_image(y, x.shape[1:-1])
        y = Conv(c, kernel_size=1, name="out")(y)
        return x + self._norm(y, train=train)

    def _norm(self, y: Array, *, train: bool) -> Float[Array, "b ..."]:
        if self.norm == "none":
            return y
        zeros = nn.initializers.zeros
        scale = self.param("scale", zeros, (y.shape[-1],), jnp.float32)
        bias = self.param("bias", zeros, (y.shape[-1],), jnp.float32)
        y = Norm(self.norm, affine=False, name="norm")(y, train=train)
        return y * along_channels(scale, y) + along_channels(bias, y)

    def _check(self, x: Array) -> None:
        size = x.shape[1:-1]
        if any(isinstance(n, int) and n < self.pool for n in size):
            raise UserError(
                f"NonLocal {self.name}: pool={self.pool} leaves nothing of size {size}; "
                f"at most {min(size)} does"
            )


def _dot_product(theta: Array, phi: Array, g: Array, scale: float) -> Float[Array, "b n 1 d"]:
    context = jnp.einsum("bmhd,bmhe->bhde", phi, g, preferred_element_type=jnp.float32)
    context = (context * (scale / phi.shape[1])).astype(theta.dtype)
    return jnp.einsum("bnhd,bhde->bnhe", theta, context)


class GlobalAggregation(nn.Module):
    """Multi-head attention whose query sets the size of the output: section 3.2, figure 2.

    ``query`` is a 1x1 convolution for ``same``, a 3x3 one of stride 2 for ``down``, a transposed
    3x3 one of stride 2 for ``up``; ``key``, ``value`` and ``out`` are 1x1, all with bias. Query,
    key and value have ``width`` channels (None: ``features``), shared by the heads; the products
    are scaled by one over the root of a head's. ``dropout`` acts on the attention weights when
    training (rng ``dropout``): 0.5 in the authors' code. The residual connection, and the norm
    and activation that come first, belong to the network.
    """

    features: int
    size: Literal["same", "down", "up"] = "same"
    heads: int = 1
    width: int | None = None
    dropout: float = 0.0

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *s c"], *, train: bool
    ) -> Float[Array, "b *t {self.features}"]:
        """The aggregated map. Raises UserError where heads do not divide the width."""
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
        rng = self.make_rng("dropout") if train and self.dropout > 0 else None
        sow_received(self, query, key, x.shape[1:-1], weighing)
        y = to_image(attend(query, key, value, weighing, rng=rng), image.shape[1:-1])
        return self._pointwise(self.features, "out")(y)

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
