"""The training step compiled for the batches of one shape, and the state that it begins at."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from jaxseg import process, sharding
from jaxseg.errors import UserError, first_line
from jaxseg.experiment import Experiment
from jaxseg.step import TrainState
from jaxseg.types import Batch


class Compiled(NamedTuple):
    """A training step for the batches of one shape."""

    step: Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]
    """Jitted; it donates the state."""
    place: Callable[[Batch], Batch]
    """Puts this process's rows on the mesh."""
    abstract: TrainState
    """Shapes, dtypes and shardings of the state."""

    def ahead(self, example: Batch) -> "Compiled":
        """The step compiled now, not at its first call; ``step.memory_analysis()`` then tells."""
        traced: Any = self.step
        return self._replace(step=traced.lower(self.abstract, self.place(example)).compile())


def compile_step(experiment: Experiment, mesh: Mesh, example: Batch) -> Compiled:
    """The step for batches like ``example``, traced, so that the first call finds the trace.

    Raises UserError for rows that the mesh would split with wrong gradients, and for a network or a
    loss that cannot take the images. To be called under ``jax.set_mesh(mesh)``.
    """
    for batch in (example, *(example.streams or {}).values()):
        sharding.check_rows(mesh, experiment.recipe.model, batch.image.shape[1:-1])
    recipe, shapes = experiment.scheduled, _global(example, experiment)
    with _traceable():
        abstract = jax.eval_shape(lambda: recipe.init(jax.random.key(experiment.seed), shapes))
    placed = sharding.of_state(mesh, abstract), sharding.of_batch(mesh, shapes)
    step = jax.jit(
        lambda state, batch: recipe.step(state, batch),
        in_shardings=placed,
        out_shardings=(placed[0], sharding.replicated(mesh)),
        donate_argnums=0,
        compiler_options=process.compiler_options(),
    )
    abstract, batch = jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), (abstract, shapes), placed
    )
    with _traceable():
        step.trace(abstract, batch)
    return Compiled(step, lambda batch: sharding.put(mesh, batch, shapes), abstract)


def init(experiment: Experiment, mesh: Mesh, example: Batch) -> TrainState:
    """The state of step 0, on the mesh; random bits do not depend on the mesh."""
    recipe, shapes = experiment.scheduled, _global(example, experiment)

    def create() -> TrainState:
        return recipe.init(jax.random.key(experiment.seed), shapes)

    placed = sharding.of_state(mesh, jax.eval_shape(create))
    return jax.jit(create, out_shardings=placed)()


def _global(example: Batch, experiment: Experiment) -> Batch:
    """Shapes and dtypes of the batch of all processes."""

    def whole(batch: Batch, rows: int) -> Batch:
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct((rows, *x.shape[1:]), x.dtype), batch)

    streams = example.streams or {}
    of_streams = {name: whole(batch, experiment.rows_of(name)) for name, batch in streams.items()}
    main = whole(example._replace(streams=None), experiment.batch_size)
    return main._replace(streams=of_streams or None)


@contextlib.contextmanager
def _traceable() -> Iterator[None]:
    """What a network or a loss says of fields and sizes that it cannot take, as one line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # layers raise what they like
        raise UserError(
            f"recipe: the network or a loss cannot be built for these images and options: "
            f"{type(error).__name__}: {first_line(error)} (--debug shows where)"
        ) from error
