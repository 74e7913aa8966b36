"""Conditional Random Fields as Recurrent Neural Networks.

Zheng et al. 2015, https://arxiv.org/abs/1502.03240
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.crf import DenseCRF, Filter, check_rank, with_messages


class CRFRNN(nn.Module):
    """The mean field of `DenseCRF`, whose weights and compatibility of classes are learnt.

    ``Q <- softmax(logits - C (A N_1[K_1 Q] + B N_2[K_2 Q]))`` with ``A``, ``B`` and ``C``
    ``[k k]``, which start as the identity times ``crf.weight_place``, ``crf.weight`` and -1: at
    first the layer is the dense CRF. ``iterations`` are run in training, ``crf.iterations`` else.
    Places and colours are not learnt. 2-D.
    """

    crf: DenseCRF = DenseCRF(place=3.0, far=160.0, colour=3.0, weight=5.0, normalise="after")
    iterations: int = 5

    @nn.compact
    def __call__(
        self, logits: Float[Array, "b *s k"], image: Float[Array, "b *s c"], *, train: bool
    ) -> Float[Array, "b *s k"]:
        """Logits of the last Q, float32; ``image`` is in 0 to 255. UserError for volumes."""
        check_rank(logits.ndim - 2)
        k, crf = logits.shape[-1], self.crf

        def square(name: str, factor: float) -> Array:
            return self.param(name, lambda _: factor * jnp.eye(k, dtype=jnp.float32))

        places, colours = square("place", crf.weight_place), square("colour", crf.weight)
        compatibility = square("compatibility", -1.0)
        turns, inside = self.iterations if train else crf.iterations, jnp.ones(logits.shape[1:3])

        def one(given: tuple[Array, Array]) -> Array:
            unary = given[0].reshape(-1, k)

            def inferred(near: Filter, far: Filter) -> Array:
                def turn(now: Array, _: None) -> tuple[Array, None]:
                    q = jax.nn.softmax(now)
                    message = near(q) @ places.T + far(q) @ colours.T
                    return unary - message @ compatibility.T, None

                return jax.lax.scan(turn, unary, length=turns)[0]

            return with_messages(crf, given[1], inside > 0, inferred).reshape(given[0].shape)

        return jax.lax.map(one, (logits.astype(jnp.float32), image))
