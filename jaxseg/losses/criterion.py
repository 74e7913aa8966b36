"""The losses of a recipe as one number, by which validation is followed."""

from dataclasses import dataclass

from jaxseg.losses.loss import Label, Logits, Loss, PerExample, Valid
from jaxseg.losses.ramp import Ramp


@dataclass(frozen=True)
class Criterion:
    """The weighted sum of the terms of a recipe, of logits that are given.

    A weight that is a `Ramp` counts with its end, so that the numbers of two steps are of one
    formula. What a recipe adds while it trains (auxiliary heads, weights of pixels) is not in it.
    """

    terms: tuple[Loss, ...]

    def __call__(self, logits: Logits, label: Label, *, valid: Valid = None) -> PerExample:
        """The sum of each example."""
        total = 0.0
        for term in self.terms:
            weight = term.weight.end if isinstance(term.weight, Ramp) else term.weight
            total = total + weight * term(logits, label, valid=valid)
        return total  # pyright: ignore[reportReturnType]  (a recipe has at least one term)
