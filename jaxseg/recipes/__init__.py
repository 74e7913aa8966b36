"""How a model is trained: one protocol, one loop.

A recipe is a frozen dataclass with ``model``, ``init(rng, batch) -> state``,
``step(state, batch) -> (state, scalars)``, pure and jittable, and ``variables(state)``.
"""

from jaxseg.recipes.supervised import Supervised

__all__ = ["Supervised"]
