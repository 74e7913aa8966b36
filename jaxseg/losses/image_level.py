"""Classification of the image as a whole: which classes appear in it."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from jaxseg.losses.loss import Label, PerExample, Valid, Weights
from jaxseg.losses.ramp import Ramp
from jaxseg.losses.targets import counted, over_pixels


@dataclass(frozen=True, kw_only=True)
class ImageLevel:
    """Sigmoid cross entropy of ``image_logits`` against the presence of each class in the label.

    ``-mean_c [t_c log s(z_c) + (1 - t_c) log(1 - s(z_c))]``, ``t_c`` = 1 where a counted pixel has
    class ``c``. An image whose every pixel is ignored says nothing and costs 0.
    """

    weight: float | Ramp = 1.0

    def __call__(
        self,
        logits: Float[Array | np.ndarray, "b k"],
        label: Label,
        *,
        valid: Valid = None,
        weights: Weights = None,
    ) -> PerExample:
        """The loss of each example, at least 0.

        A pixel whose weight is 0 does not make its class present.
        """
        logits, label = jnp.asarray(logits, jnp.float32), jnp.asarray(label)
        mask = counted(label, None if valid is None else jnp.asarray(valid))
        if weights is not None:
            mask = mask & (jnp.asarray(weights) > 0)
        pixels = tuple(range(1, label.ndim))
        some = mask.any(axis=pixels)
        classes = jnp.arange(logits.shape[-1]).reshape(*(1,) * label.ndim, -1)
        present = ((label[..., None] == classes) & mask[..., None]).any(axis=pixels)
        logits = jnp.where(over_pixels(some, 2), logits, 0.0)
        entropy = optax.sigmoid_binary_cross_entropy(logits, present.astype(jnp.float32))
        return jnp.where(some, entropy.mean(-1), 0.0)
