"""CBAM: Convolutional Block Attention Module.

Woo, Park, Lee, Kweon 2018, https://arxiv.org/abs/1807.06521
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.errors import require
from jaxseg.layers.conv import Conv
from jaxseg.layers.norm import Kind, Norm
from jaxseg.layers.squeeze_excitation import reduced
from jaxseg.ops import greatest, mean_over_space, spread


class CBAM(nn.Module):
    """Channels weighted first (equation 2, figure 2), then pixels (equation 3).

    ``channel_reduce`` and ``channel_expand`` are the MLP that mean and maximum over space share;
    ``spatial_conv`` sees the maximum and the mean over channels, in this order, which is that of
    the authors' code (the paper's equation has the mean first). As in that code, a batch norm
    that remembers long (PyTorch's momentum 0.01) follows it, of which the paper does not speak:
    ``norm="none"`` is the paper. Neither has a bias there.
    """

    reduction: int = 16
    kernel_size: int = 7
    norm: Kind = "batch"

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], *, train: bool) -> Float[Array, "b *s c"]:
        """``x`` weighted; same size and channels.

        Raises UserError where the reduction leaves no channel.
        """
        x = x * spread(self._of_channels(x), x.shape, x.dtype)
        return x * spread(self._of_pixels(x, train=train), x.shape, x.dtype)

    def _of_channels(self, x: Array) -> Float[Array, "b ..."]:
        c, space = x.shape[-1], tuple(range(1, x.ndim - 1))
        width = reduced(self, c, self.reduction)
        reduce = Conv(width, kernel_size=1, name="channel_reduce")
        expand = Conv(c, kernel_size=1, name="channel_expand")
        mean = mean_over_space(x)
        most = greatest(x, space).astype(mean.dtype)
        weight = nn.sigmoid(expand(nn.relu(reduce(mean))) + expand(nn.relu(reduce(most))))
        self.sow("intermediates", "channel_attention", weight)
        return weight

    def _of_pixels(self, x: Array, *, train: bool) -> Float[Array, "b ..."]:
        mean = x.mean(-1, keepdims=True, dtype=jnp.float32).astype(x.dtype)
        y = jnp.concatenate([greatest(x, (-1,)), mean], axis=-1)
        fits = self.kernel_size >= 1 and self.kernel_size % 2 == 1
        require(fits, "CBAM.kernel_size", self.kernel_size, "odd")
        y = Conv(1, kernel_size=self.kernel_size, use_bias=False, name="spatial_conv")(y)
        norm = Norm(self.norm, activation="sigmoid", momentum=0.99, name="spatial_norm")
        weight = norm(y, train=train)
        self.sow("intermediates", "pixel_attention", weight)
        return weight
