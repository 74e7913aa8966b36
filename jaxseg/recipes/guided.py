"""Supervised training beside terms that the network computes itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax

from jaxseg.errors import UserError, unknown
from jaxseg.losses import Ramp
from jaxseg.recipes.supervised import TAKEN, Supervised
from jaxseg.step import TrainState
from jaxseg.types import Batch


@dataclass(frozen=True, kw_only=True)
class Guided(Supervised):
    """`Supervised`, and the sum of what the network says of itself, each times its weight.

    ``guides`` are weights by name: ``{"semantic": 0.25}`` adds a quarter of the number that
    ``Prediction.extra["semantic"]``, ``[b]``, has for each image. Such are the distances that MSGA
    computes between its codes, and between what it sees and reconstructs.
    """

    guides: Mapping[str, float | Ramp] = field(default_factory=dict)

    def check(self, experiment: Any) -> None:
        """Refuse what cannot be trained; a guide with the name of another scalar, too."""
        super().check(experiment)
        for name in self.guides:
            if name in (*TAKEN, *self.losses):
                raise UserError(
                    f"recipe.guides: {name!r} is the name of another term; rename it there"
                )

    def terms(
        self, state: TrainState, params: Any, prediction: Any, batch: Batch, rng: jax.Array
    ) -> dict[str, jax.Array]:
        """The losses and the guides. Raises UserError for a guide that the network has not."""
        terms = super().terms(state, params, prediction, batch, rng)
        extra = prediction.extra or {}
        for name in self.guides:
            if name not in extra:
                what = (
                    f"recipe.guides: {type(self.model).__name__} has nothing extra that is called"
                )
                raise unknown(what, name, extra)
            if extra[name].shape != batch.valid.shape:
                raise UserError(
                    f"recipe.guides.{name}: the network gives shape {extra[name].shape} for "
                    f"{len(batch.valid)} images; a guide is one number for each"
                )
            terms[name] = extra[name]
        return terms

    def weight(self, name: str, at: jax.Array) -> float | jax.Array:
        """The weight of a term at step ``at``."""
        if name not in self.guides:
            return super().weight(name, at)
        weight = self.guides[name]
        return weight.at(at) if isinstance(weight, Ramp) else weight
