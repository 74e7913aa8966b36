"""The protocol of recipes: all that the loop, checkpoints and commands know of a training."""

from typing import Any, Protocol, runtime_checkable

import flax.linen as nn
import jax

from jaxseg.predictor import Predictor
from jaxseg.step import TrainState
from jaxseg.types import Batch

Variables = dict[str, Any]
"""``{"params": ..., "batch_stats": ...}`` of one network: plain nested dicts of arrays."""


@runtime_checkable
class Recipe(Protocol):
    """How a network is trained: a frozen dataclass, most often built on `Supervised`.

    A recipe may train several networks; ``model`` is the one that the run is about. ``of`` names
    one of them: "model", or a key of ``TrainState.extra``.
    """

    @property
    def model(self) -> nn.Module:
        """The network as the experiment writes it."""
        ...

    @property
    def served(self) -> nn.Module:
        """What `jaxseg.load` returns: ``model`` at its dtype, quantised, stacked, ..."""
        ...

    def scheduled(self, steps: int) -> "Recipe":
        """The recipe with the length of its schedule filled in, where it has none."""
        ...

    def check(self, experiment: Any) -> None:
        """Refuse what cannot be trained, with a UserError that names the option."""
        ...

    def init(self, rng: jax.Array, batch: Batch) -> TrainState:
        """The state of step 0; of ``batch`` only shapes and dtypes are used."""
        ...

    def step(self, state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, jax.Array]]:
        """The next state and scalars: pure and jittable.

        The names of the scalars are the same at every step. ``loss`` is among them and finite, as
        is ``gradient_norm`` where there is one, or the run ends. Another scalar is NaN at steps
        that did not measure it; the log leaves these out of means.
        """
        ...

    def variables(self, state: TrainState, of: str = "model") -> Variables:
        """The variables of a network; of "model" those that ``served`` takes."""
        ...

    def with_variables(
        self, state: TrainState, variables: Variables, of: str = "model"
    ) -> TrainState:
        """The state with other variables: ``variables(with_variables(s, v, n), n) == v``."""
        ...

    def predictor(self, evaluation: Any) -> Predictor:
        """How cases are predicted by what is served, for evaluate, predict and export."""
        ...
