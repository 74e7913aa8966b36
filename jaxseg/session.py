"""What a run needs before its first step: mesh, batches, the compiled step, the state to begin at.

All of it is made, and refused, before anything is written.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from jaxseg import checkpoint, fields, process, record, sharding
from jaxseg.data import Auto, Data, train_batches
from jaxseg.errors import UserError, first_line
from jaxseg.experiment import Experiment
from jaxseg.progress import Progress
from jaxseg.step import TrainState
from jaxseg.types import Batch
from jaxseg.workdir import EXPERIMENT


class Compiled(NamedTuple):
    """A training step for the batches of one shape."""

    step: Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]
    """Jitted; it donates the state."""
    place: Callable[[Batch], Batch]
    """Puts this process's rows on the mesh."""
    abstract: TrainState
    """Shapes, dtypes and shardings of the state."""


def fitted(experiment: Experiment, workdir: Path, *, resume: bool) -> Experiment:
    """The experiment with each `Auto` as the training split gives it.

    A run that goes on keeps what it began with, though the split may have grown.
    """
    path = workdir / EXPERIMENT
    begun = None
    if resume and path.is_file():
        begun = record.read_json(path, classes=fields.classes_in(experiment))

    def one(data: Data, before: Data | None) -> Data:
        kept = getattr(before, "normalize", None)
        if data.normalize == Auto() and isinstance(kept, Auto):
            return dataclasses.replace(data, normalize=kept)
        return data.fitted()

    before = {} if begun is None else begun.streams
    streams = {
        name: dataclasses.replace(
            stream, data=one(stream.data, getattr(before.get(name), "data", None))
        )
        for name, stream in experiment.streams.items()
    }
    data = one(experiment.data, None if begun is None else begun.data)
    return dataclasses.replace(experiment, data=data, streams=streams)


def open_batches(experiment: Experiment, mesh: Mesh) -> Any:
    """This process's rows of the batches of the data and its streams, from the first one on."""
    sizes = {f"streams.{name}.batch_size": experiment.rows_of(name) for name in experiment.streams}
    for name, size in {"batch_size": experiment.batch_size, **sizes}.items():
        sharding.check_batch(mesh, size, name=name)
    return train_batches(
        experiment.data,
        experiment.streams,
        batch_size=experiment.batch_size,
        seed=experiment.seed,
        rows_of=lambda size: sharding.local_rows(mesh, size),
    )


def first_of(batches: Any) -> Batch:
    """The next batch, which stays the next one."""
    before = batches.get_state()
    example = next(batches)
    batches.set_state(before)
    return example


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


def restored(workdir: Path, abstract: TrainState, batches: Any) -> tuple[TrainState, Progress]:
    """The newest checkpoint's state and progress, the data iterator set to its batch.

    Where there is none, ``abstract`` itself and no progress.
    """
    found = checkpoint.steps(workdir)
    if not found:
        return abstract, Progress()
    state, progress = checkpoint.restore(workdir, found[-1], abstract)
    batches.set_state(progress.data)
    return state, progress


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
