"""Non-local block: every pixel of the output is a weighted mean over all pixels of the input.

Wang, Girshick, Gupta, He 2018, https://arxiv.org/abs/1711.07971.

The softmax is computed in blocks of queries (ops.attend): memory grows with the number of pixels,
not with its square.
"""

from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.layers.attention_map import sow_received
from jaxseg.layers.conv import Conv
from jaxseg.layers.norm import Kind, Norm
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
