"""Dropout of more than single numbers: whole residual branches, whole channels."""

import flax.linen as nn
from jaxtyping import Array, Float

from jaxseg.errors import UserError


class StochasticDepth(nn.Module):
    """Drops a residual branch of an example as a whole: ``x + StochasticDepth(0.2)(branch)``.

    Deep Networks with Stochastic Depth, Huang et al. 2016, https://arxiv.org/abs/1603.09382,
    equation 2. What survives is divided by ``1 - rate`` while training and nothing is scaled
    afterwards, as in torchvision and timm; the paper scales by ``1 - rate`` afterwards instead
    (equation 5): the same in expectation. Draws from the generator ``dropout``.
    """

    rate: float

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], *, train: bool) -> Float[Array, "b *s c"]:
        """The identity unless training. Raises UserError where ``rate`` is no probability."""
        return _drop(self, x, tuple(range(1, x.ndim)), train=train)


class ChannelDropout(nn.Module):
    """Drops whole channels of an example (PyTorch's Dropout2d and Dropout3d).

    Efficient Object Localization Using Convolutional Networks, Tompson et al. 2015,
    https://arxiv.org/abs/1411.4280, section 3.2: neighbouring pixels say the same, so dropping
    single ones regularises little. Survivors are divided by ``1 - rate``.
    """

    rate: float

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], *, train: bool) -> Float[Array, "b *s c"]:
        """The identity unless training. Raises UserError where ``rate`` is no probability."""
        return _drop(self, x, tuple(range(1, x.ndim - 1)), train=train)


def _drop(module, x: Array, together: tuple[int, ...], *, train: bool) -> Array:
    """Dropout with one draw for all entries along the axes ``together``."""
    if not 0 <= module.rate <= 1:
        raise UserError(
            f"{type(module).__name__} {module.name}: rate={module.rate} is no probability; "
            "it must lie in [0, 1]"
        )
    drop = nn.Dropout(module.rate, broadcast_dims=together, name="dropout")
    return drop(x, deterministic=not train)
