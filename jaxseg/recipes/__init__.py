"""How a model is trained: one protocol (`Recipe`), one loop."""

from jaxseg.recipes.recipe import Recipe, Variables
from jaxseg.recipes.supervised import Supervised

__all__ = ["Recipe", "Supervised", "Variables"]
