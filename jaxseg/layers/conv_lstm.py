"""Convolutional LSTM over a sequence of images.

Convolutional LSTM Network: A Machine Learning Approach for Precipitation Nowcasting, Shi et al.
2015, https://arxiv.org/abs/1506.04214, equation 3.
"""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.layers.conv import Conv
from jaxseg.ops import Size


class ConvLSTM(nn.Module):
    """The hidden states of all times: ``c = f c + i tanh(j)``, ``h = o tanh(c)``, zero at first.

    i, f, o are sigmoids, each gate (and j) a convolution of ``[x, h]``; ``forget_bias`` is added
    to f's before its sigmoid. ``peepholes``: i and f see the old c, o the new one, through one
    weight a channel (the paper has one a channel and pixel, which would fix the size of the image).
    The channels of the kernels are i, j, f, o, as in TensorFlow's Conv2DLSTMCell.

    ``both`` runs a second layer from the last time to the first and concatenates [forward,
    backward] at each time: BDC-LSTM, Chen et al. 2016, https://arxiv.org/abs/1609.01006 (whose
    ``forget_bias`` is 0), and Bai et al. 2018, https://arxiv.org/abs/1808.00273 (1).

    The convolution of x runs over all times at once, outside the scan. c is kept in float32.
    """

    features: int
    kernel_size: Size = 3
    direction: Literal["forward", "backward", "both"] = "forward"
    peepholes: bool = False
    forget_bias: float = 1.0

    @nn.compact
    def __call__(self, x: Float[Array, "b t *s c"]) -> Float[Array, "b t *s k"]:
        """The states have ``features`` channels, twice as many for ``both``.

        UserError where a kernel is even.
        """
        sizes = (self.kernel_size,) if isinstance(self.kernel_size, int) else self.kernel_size
        if any(size % 2 == 0 for size in sizes):
            raise UserError(
                f"ConvLSTM {self.name}: kernel_size={self.kernel_size} would shrink the state at "
                "each time; use odd sizes"
            )
        directions = ("forward", "backward") if self.direction == "both" else (self.direction,)
        return jnp.concatenate([self._run(x, direction) for direction in directions], axis=-1)

    def _run(self, x: Array, direction: str) -> Array:
        enter = Conv(4 * self.features, self.kernel_size, name=f"{direction}_input")
        drive = enter(x.reshape(-1, *x.shape[2:]))
        cell = nn.scan(
            _Cell,
            variable_broadcast="params",
            split_rngs={"params": False},
            in_axes=1,
            out_axes=1,
            reverse=direction == "backward",
        )(
            self.features,
            self.kernel_size,
            self.peepholes,
            self.forget_bias,
            name=f"{direction}_cell",
        )
        shape = (x.shape[0], *x.shape[2:-1], self.features)
        start = jnp.zeros(shape, x.dtype), jnp.zeros(shape, jnp.float32)
        _, hidden = cell(start, drive.reshape(*x.shape[:-1], 4 * self.features))
        return hidden


class _Cell(nn.Module):
    features: int
    kernel_size: Size
    peepholes: bool
    forget_bias: float

    @nn.compact
    def __call__(
        self, state: tuple[Float[Array, "b *s k"], Float[Array, "b *s k"]], drive: Array
    ) -> tuple[tuple[Float[Array, "b *s k"], Float[Array, "b *s k"]], Float[Array, "b *s k"]]:
        """The new (h, c) of one time, and h."""
        hidden, memory = state
        recurrent = Conv(4 * self.features, self.kernel_size, use_bias=False, name="hidden")(hidden)
        gates = (drive + recurrent).astype(jnp.float32)
        enter, new, forget, leave = jnp.split(gates, 4, axis=-1)
        if self.peepholes:
            shape = (3, self.features)
            weights = self.param("peephole", nn.initializers.zeros, shape, jnp.float32)
            weights = jnp.asarray(weights, jnp.float32)
            of_enter, of_forget, of_leave = (
                jnp.expand_dims(w, tuple(range(memory.ndim - 1))) for w in weights
            )
            enter, forget = enter + of_enter * memory, forget + of_forget * memory
        kept = jax.nn.sigmoid(forget + self.forget_bias) * memory
        memory = kept + jax.nn.sigmoid(enter) * jnp.tanh(new)
        if self.peepholes:
            leave = leave + of_leave * memory
        hidden = (jax.nn.sigmoid(leave) * jnp.tanh(memory)).astype(hidden.dtype)
        return (hidden, memory), hidden
