"""Train an experiment: ``python -m jaxseg.train --config configs/quickstart.py --workdir W``."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from jaxseg import checkpoint, command, config, init_from, process, record, sharding
from jaxseg import workdir as folder
from jaxseg.checkpoint import Saver
from jaxseg.data import train_batches
from jaxseg.errors import UserError, first_line
from jaxseg.evaluator import Evaluator
from jaxseg.experiment import Experiment, check
from jaxseg.loop import Evaluate, Loop, Saves, Writer
from jaxseg.overrides import overridden
from jaxseg.progress import Progress
from jaxseg.report import Report
from jaxseg.step import TrainState
from jaxseg.types import Batch


def train(
    experiment: Experiment,
    workdir: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    until: int | None = None,
    evaluator: Evaluate | None = None,
    writer: Writer | None = None,
    saver: Saves | None = None,
) -> dict[str, Any]:
    """Train, evaluate and keep checkpoints; returns what ``summary.json`` holds.

    The order: check, open data, build or restore the state, then for each step: next batch, step,
    log the step before, evaluate, save. ``until`` stops after that step as SIGTERM would, with a
    checkpoint. ``evaluator``, ``writer`` and ``saver`` take the place of those of the run. Raises
    UserError for an experiment or a workdir that cannot be used; nothing is written before all of
    it was checked.
    """
    workdir, experiment = Path(workdir), record.canonical(experiment)
    check(experiment)
    mesh = experiment.mesh.build()
    with contextlib.ExitStack() as stack:
        primary = jax.process_index() == 0
        if primary:
            stack.enter_context(folder.locked(workdir))
        folder.admit(experiment, workdir, resume=resume, overwrite=overwrite)
        batches = open_batches(experiment, mesh)
        stack.callback(batches.close)
        evaluator = evaluator or Evaluator(experiment, mesh)
        example = _example(batches)
        _check_rows(experiment, mesh, example)
        stack.enter_context(jax.set_mesh(mesh))
        compilations = stack.enter_context(process.count_compilations())
        step, place, abstract = compile_step(experiment, mesh, example)
        if isinstance(evaluator, Evaluator):
            evaluator.check(experiment.recipe.variables(abstract))
        state, progress = _restored(workdir, abstract, batches, resume=resume)
        taken = init_from.taken(experiment, abstract) if progress.step == 0 else {}

        folder.clear(workdir, overwrite=overwrite)
        saver = saver or stack.enter_context(Saver(workdir, experiment.checkpoint))
        if primary:
            record.write_json(experiment, workdir / folder.EXPERIMENT)
        writer = writer or stack.enter_context(
            Report(
                workdir, total_steps=experiment.steps, resume_step=progress.step, enabled=primary
            )
        )
        if progress.step == 0:
            state = init_from.put(experiment, init(experiment, mesh, example), taken)
        for name, of in taken.items():
            writer.message(f"init_from.{name}: {of}")
        loop = Loop(experiment, progress, evaluator, writer, saver)
        stopping = stack.enter_context(process.stop_requests())
        stack.enter_context(jax.transfer_guard("disallow"))  # an array moved by mistake ends here
        for number in range(progress.step + 1, experiment.steps + 1):
            try:
                batch = next(batches)
            except UserError:
                loop.rescue(number - 1, state, batches.get_state())
                raise
            with jax.profiler.StepTraceAnnotation("train", step_num=number):
                state, scalars = step(state, place(batch))
            loop.log(number, scalars)  # fetches the step before: this one is on its way
            stop = stopping(number) or number == until
            last = number == experiment.steps
            if last or number % experiment.evaluation.every == 0:
                loop.evaluate(number, state)
            stop = stop or loop.out_of_patience
            if last or stop or loop.improved(number) or number % experiment.checkpoint.every == 0:
                loop.save(number, state, batches.get_state())
            if stop and not last:
                writer.message(f"stopped at step {number}; --resume goes on from there")
                break
        return loop.summary(workdir, compilations)


# --- before the loop ------------------------------------------------------------------------------


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


def _example(batches: Any) -> Batch:
    """The first batch, which stays the next one."""
    before = batches.get_state()
    example = next(batches)
    batches.set_state(before)
    return example


def _check_rows(experiment: Experiment, mesh: Mesh, example: Batch) -> None:
    for batch in (example, *(example.streams or {}).values()):
        sharding.check_rows(mesh, experiment.recipe.model, batch.image.shape[1:-1])


def _global(example: Batch, experiment: Experiment) -> Batch:
    """Shapes and dtypes of the batch of all processes."""

    def whole(batch: Batch, rows: int) -> Batch:
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct((rows, *x.shape[1:]), x.dtype), batch)

    streams = example.streams or {}
    of_streams = {name: whole(batch, experiment.rows_of(name)) for name, batch in streams.items()}
    main = whole(example._replace(streams=None), experiment.batch_size)
    return main._replace(streams=of_streams or None)


def compile_step(
    experiment: Experiment, mesh: Mesh, example: Batch
) -> tuple[Callable, Callable[[Batch], Batch], TrainState]:
    """The jitted, donated step; how a host batch is put on the mesh; the abstract state."""
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
    with _traceable():  # before anything is written; the first step finds this trace
        step.trace(abstract, batch)
    return step, lambda batch: sharding.put(mesh, batch, shapes), abstract


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


def init(experiment: Experiment, mesh: Mesh, example: Batch) -> TrainState:
    """The state of step 0, on the mesh; random bits do not depend on the mesh."""
    recipe, shapes = experiment.scheduled, _global(example, experiment)

    def create() -> TrainState:
        return recipe.init(jax.random.key(experiment.seed), shapes)

    placed = sharding.of_state(mesh, jax.eval_shape(create))
    return jax.jit(create, out_shardings=placed)()


def _restored(
    workdir: Path, abstract: TrainState, batches: Any, *, resume: bool
) -> tuple[TrainState, Progress]:
    """The newest checkpoint's state and progress, the data iterator set to its batch."""
    found = checkpoint.steps(workdir)
    if not resume or not found:
        return abstract, Progress()
    state, progress = checkpoint.restore(workdir, found[-1], abstract)
    batches.set_state(progress.data)
    return state, progress


# --- the command ----------------------------------------------------------------------------------


def main(arguments: Sequence[str]) -> None:
    """The command."""
    parser = command.parser(
        prog="python -m jaxseg.train",
        description="Train an experiment.",
        epilog="example: python -m jaxseg.train --config configs/quickstart.py "
        "--workdir runs/quickstart steps=200 recipe.optimizer.learning_rate.peak=1e-3",
    )
    parser.add_argument("--config", type=Path, help="Python file with experiment()")
    parser.add_argument(
        "--workdir", type=Path, required=True, help="folder for all that is written"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in the workdir")
    parser.add_argument("--overwrite", action="store_true", help="start again in the workdir")
    command.add_classes(parser)
    command.add_debug(parser)
    parser.add_argument(
        "--distributed",
        action="store_true",
        help="join the other processes of this run (found by JAX, or as the next three say)",
    )
    parser.add_argument("--coordinator", metavar="HOST:PORT", help="address of process 0")
    parser.add_argument("--processes", type=int, help="number of processes")
    parser.add_argument("--process", type=int, help="number of this process")
    parser.add_argument("overrides", nargs="*", metavar="a.b=value", help="such as batch_size=8")
    options = parser.parse_intermixed_args(arguments)
    named = (options.coordinator, options.processes, options.process)
    process.join(*named, distributed=options.distributed)
    process.cache_compilations()
    experiment = _experiment(options)
    train(experiment, options.workdir, resume=options.resume, overwrite=options.overwrite)


def _experiment(options: Any) -> Experiment:
    """The config's experiment; a run that goes on may leave the config out."""
    if options.config is not None:
        return config.read(options.config, options.overrides)
    if not options.resume:
        raise UserError("--config is missing; with --resume it may be left out")
    classes = folder.classes_for(options.workdir, options.classes)
    stored = record.read_json(options.workdir / folder.EXPERIMENT, classes=classes)
    return overridden(stored, options.overrides)


if __name__ == "__main__":
    command.run(main)
