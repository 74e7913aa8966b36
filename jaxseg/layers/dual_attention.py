"""Dual attention: among all pixels, and among all channels.

Fu et al. 2019 (DANet), https://arxiv.org/abs/1809.02983; used by multi-scale self-guided
attention, Sinha & Dolz 2020, https://arxiv.org/abs/1906.02849.
"""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.layers.attention_map import sow_received
from jaxseg.layers.conv import Conv
from jaxseg.layers.squeeze_excitation import reduced
from jaxseg.ops import Weighing, along_channels, attend, to_image, to_tokens


class PositionAttention(nn.Module):
    """``gamma * attention(query, key, value) + x`` among all pixels: equations 1 and 2.

    Query and key have ``c // reduction`` channels, value has c; the products are not scaled.
    ``gamma``, of shape ``[1]``, is zero at first, so that training begins at the identity.
    """

    reduction: int = 8

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"]) -> Float[Array, "b *s c"]:
        """``x`` with what it attends to; same size and channels.

        Raises UserError where the reduction leaves no channel.
        """
        c = x.shape[-1]
        narrow = reduced(self, c, self.reduction)
        query, key, value = (
            to_tokens(Conv(width, kernel_size=1, name=name)(x))
            for name, width in (("query", narrow), ("key", narrow), ("value", c))
        )
        sow_received(self, query, key, x.shape[1:-1], Weighing())
        return add_scaled(self, x, to_image(attend(query, key, value), x.shape[1:-1]))


class ChannelAttention(nn.Module):
    """``gamma * softmax(energy) x + x`` among all channels, no convolution: equations 3 and 4.

    The energy of channels i and j is the product of their maps. ``paper`` takes its softmax over
    j. ``released`` is what the authors' code does, and all that descends from it: the softmax of
    ``max_j - energy``, so that a channel attends most to those **least** like it.
    """

    form: Literal["released", "paper"] = "released"

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"]) -> Float[Array, "b *s c"]:
        """``x`` with what its channels attend to; same size and channels."""
        flat = to_tokens(x)[:, :, 0]
        energy = jnp.einsum("bnc,bnd->bcd", flat, flat, preferred_element_type=jnp.float32)
        if self.form == "released":
            energy = energy.max(-1, keepdims=True) - energy
        weights = jax.nn.softmax(energy, axis=-1).astype(x.dtype)
        self.sow("intermediates", "attention", weights)
        y = jnp.einsum("bcd,bnd->bnc", weights, flat)
        return add_scaled(self, x, y.reshape(x.shape))


def add_scaled(
    module: nn.Module, x: Float[Array, "b *s c"], y: Float[Array, "b *s c"]
) -> Float[Array, "b *s c"]:
    """``x + gamma * y`` with the parameter ``gamma`` of ``module``, zero at first."""
    gamma = module.param("gamma", nn.initializers.zeros, (1,), jnp.float32)
    return x + along_channels(gamma, y) * y
