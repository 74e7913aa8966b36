"""The protocol of losses."""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxseg.losses.ramp import Ramp


@runtime_checkable
class Loss(Protocol):
    """What every loss is: one number an example.

    ``valid`` is False on padding rows, which give 0; ``weights`` is a factor a pixel. ``weight`` is
    the term's factor in a recipe's sum, which the loss itself does not apply.
    """

    @property
    def weight(self) -> float | Ramp:
        """Factor of the term in a recipe's sum, of all steps or by the step."""
        ...

    def __call__(
        self,
        logits: Float[Array | np.ndarray, "b *spatial k"],
        label: Int[Array | np.ndarray, " b *spatial"],
        *,
        valid: Bool[Array | np.ndarray, " b"] | None = None,
        weights: Float[Array | np.ndarray, " b *spatial"] | None = None,
    ) -> Float[Array, " b"]:
        """The loss of each example."""
        ...
