"""The protocol of losses, and the types of what they take and give."""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxseg.losses.ramp import Ramp

Logits = Float[Array | np.ndarray, "b *spatial k"]

Label = Int[Array | np.ndarray, " b *spatial"]
"""Classes from 0, and IGNORE."""

Valid = Bool[Array | np.ndarray, " b"] | None
"""False on padding rows, whose loss is 0; None: every row counts."""

Weights = Float[Array | np.ndarray, " b *spatial"] | None
"""A factor for each pixel; None: all are 1."""

PerExample = Float[Array, " b"]


@runtime_checkable
class Loss(Protocol):
    """What every loss is: one number an example.

    ``weight`` is the term's factor in a recipe's sum, which the loss itself does not apply.
    """

    @property
    def weight(self) -> float | Ramp:
        """Factor of the term in a recipe's sum, of all steps or by the step."""
        ...

    def __call__(
        self, logits: Logits, label: Label, *, valid: Valid = None, weights: Weights = None
    ) -> PerExample:
        """The loss of each example."""
        ...
