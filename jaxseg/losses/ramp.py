"""A weight that changes while a model trains."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxseg.errors import require


@dataclass(frozen=True)
class Ramp:
    """A straight line from ``start`` to ``end`` at ``steps``, and ``end`` from there on.

    The boundary loss (Kervadec et al. 2019) starts at 0.01 and gains 0.01 an epoch, while the
    regional loss falls: ``Boundary(weight=Ramp(0.01, 1.0, steps))`` with
    ``GeneralizedDice(weight=Ramp(0.99, 0.1, steps))``. Its steps are those of a straight line here,
    not of epochs.
    """

    start: float
    end: float
    steps: int

    def __post_init__(self) -> None:
        """Refuse a ramp without a length."""
        require(self.steps >= 1, "Ramp.steps", self.steps, "at least 1")

    def at(self, step: Int[Array, ""] | int) -> Float[Array, ""]:
        """The weight of a step, also of a traced one."""
        done = jnp.clip(jnp.asarray(step, jnp.float32) / self.steps, 0.0, 1.0)
        return self.start + (self.end - self.start) * done
