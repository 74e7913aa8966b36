"""What a run needs before its first step: mesh, batches, the compiled step, the state to begin at.

All of it is made, and refused, before anything is written.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from jaxseg import checkpoint, config, cost, fields, process, record, report, sharding
from jaxseg.data import Auto, Data, train_batches
from jaxseg.errors import UserError, first_line
from jaxseg.evaluator import Evaluator
from jaxseg.experiment import Experiment
from jaxseg.overrides import overridden
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

    def ahead(self, example: Batch) -> "Compiled":
        """The step compiled now, not at its first call; ``step.memory_analysis()`` then tells."""
        traced: Any = self.step
        return self._replace(step=traced.lower(self.abstract, self.place(example)).compile())


def experiment_of(
    path: Path | None, overrides: Sequence[str], classes: Iterable[type], resumed: Path | None
) -> Experiment:
    """The config's experiment; that of the run in ``resumed`` where no config is named."""
    if path is not None:
        return config.read(path, overrides, classes)
    if resumed is None:
        raise UserError("--config is missing; with --resume it may be left out")
    return overridden(record.read_json(resumed / EXPERIMENT, classes=classes), overrides, classes)


def fitted(experiment: Experiment, begun: Experiment | None = None) -> Experiment:
    """The experiment with each `Auto` as the training split gives it, or as ``begun`` has it.

    A run that goes on keeps what it began with, though the split may have grown.
    """

    def one(data: Data, before: Data | None) -> Data:
        if before is not None and data.normalize == Auto() and isinstance(before.normalize, Auto):
            return dataclasses.replace(data, normalize=before.normalize)
        return data.fitted()

    kept = {} if begun is None else {name: of.data for name, of in begun.streams.items()}
    streams = {
        name: dataclasses.replace(stream, data=one(stream.data, kept.get(name)))
        for name, stream in experiment.streams.items()
    }
    data = one(experiment.data, None if begun is None else begun.data)
    return dataclasses.replace(experiment, data=data, streams=streams)


def begun(experiment: Experiment, workdir: Path) -> Experiment | None:
    """The experiment of the run in the workdir, where there is one, of the same own classes."""
    path = workdir / EXPERIMENT
    if not path.is_file():
        return None
    return record.read_json(path, classes=fields.classes_in(experiment))


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


def validates(experiment: Experiment) -> bool:
    """Whether cases are held back to be scored; a data set says ``validation=0.0`` to have none."""
    if getattr(experiment.data.dataset, "validation", None) != 0.0:
        return True
    if len(experiment.data.cases("validation")):
        return True
    if experiment.evaluation.patience is not None:
        raise UserError(
            "evaluation.patience waits for a better score, and data.dataset.validation=0.0 leaves "
            "nothing to score; leave out one of the two"
        )
    return False


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


def opening(
    experiment: Experiment,
    mesh: Mesh,
    batches: Any,
    evaluator: Any,
    state: TrainState,
    progress: Progress,
) -> list[str]:
    """What is known of a run before its step is compiled, in lines for the log.

    Labels are counted on the first process alone, before the first step alone.
    """
    cases = {"train": batches.cases}
    if isinstance(evaluator, Evaluator):
        cases["validation"] = len(evaluator)
    new = progress.step == 0 and jax.process_index() == 0
    lines = report.opening_lines(
        mesh,
        cases,
        batches.shares() if new else None,
        experiment.data.dataset.class_names,
        cost.parameters(experiment.recipe.variables(state)),
    )
    lines += batches.scale_lines() if new else []
    if evaluator is None:
        lines.append(
            "no validation, by data.dataset.validation=0.0: nothing is scored, and the latest "
            "checkpoint is the one to load"
        )
    return lines


def announced(
    compiled: Compiled, example: Batch, lines: Sequence[str], say: Callable[[str], None]
) -> Compiled:
    """The step compiled ahead; ``lines`` are said before, and after it what the compiler asks for.

    Only the first process says anything.
    """
    primary = jax.process_index() == 0
    for line in lines if primary else ():
        say(line)
    with report.clock("compiling", shown=primary) as clock:
        compiled = compiled.ahead(example)
    for line in report.compiled_lines(compiled.step, clock.seconds) if primary else ():
        say(line)
    return compiled


def init(experiment: Experiment, mesh: Mesh, example: Batch) -> TrainState:
    """The state of step 0, on the mesh; random bits do not depend on the mesh."""
    recipe, shapes = experiment.scheduled, _global(example, experiment)

    def create() -> TrainState:
        return recipe.init(jax.random.key(experiment.seed), shapes)

    placed = sharding.of_state(mesh, jax.eval_shape(create))
    return jax.jit(create, out_shardings=placed)()


def restored(
    workdir: Path, abstract: TrainState, batches: Any, last: int, *, verify: bool = True
) -> tuple[TrainState, Progress]:
    """The newest checkpoint's state and progress, the data iterator set to its batch.

    Raises UserError where it lies beyond ``last``, the step at which the run is to end.
    Where there is none, ``abstract`` itself and no progress. ``verify`` holds it against its
    digests.
    """
    found = checkpoint.steps(workdir)
    if not found:
        return abstract, Progress()
    if found[-1] > last:
        raise UserError(f"steps={last}: lies behind step {found[-1]}, which {workdir} has reached")
    state, progress = checkpoint.restore(workdir, found[-1], abstract, verify=verify)
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
