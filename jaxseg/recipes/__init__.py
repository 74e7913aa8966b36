"""How a model is trained: one protocol (`Recipe`), one loop."""

from jaxseg.recipes.guided import Guided
from jaxseg.recipes.recipe import Recipe, Variables
from jaxseg.recipes.supervised import Supervised

__all__ = ["Guided", "Recipe", "Supervised", "Variables"]
