"""A recipe of the lab."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jaxseg.recipes import Supervised


@dataclass(frozen=True, kw_only=True)
class Sparing(Supervised):
    """`Supervised`, with the mean square of the logits as a further term ``size``."""

    size: float = 1e-3

    def terms(self, state, params, prediction, batch, rng):
        logits = prediction.logits
        rows = jnp.square(logits).mean(tuple(range(1, logits.ndim)))
        return super().terms(state, params, prediction, batch, rng) | {"size": rows}

    def weight(self, name, at):
        return self.size if name == "size" else super().weight(name, at)

    def augmented(self, rng, batch):
        dimmer = jax.random.uniform(rng, (len(batch.image),), minval=0.8)
        image = batch.image * dimmer.reshape(-1, *(1,) * (batch.image.ndim - 1))
        return batch._replace(image=image)
