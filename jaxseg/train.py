"""Train an experiment: ``python -m jaxseg.train --config configs/quickstart.py --workdir W``."""

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jax

from jaxseg import command, config, init_from, process, record, session
from jaxseg import workdir as folder
from jaxseg.checkpoint import Saver
from jaxseg.errors import UserError
from jaxseg.evaluator import Evaluator
from jaxseg.experiment import Experiment, check
from jaxseg.loop import Evaluate, Loop, Saves, Writer
from jaxseg.overrides import overridden
from jaxseg.progress import Progress
from jaxseg.report import Report
from jaxseg.step import TrainState


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
    classes: Iterable[type] = (),
) -> dict[str, Any]:
    """Train, evaluate and keep checkpoints; returns what ``summary.json`` holds.

    The order: check, open data, build or restore the state, then for each step: next batch, step,
    log the step before, evaluate, save. ``until`` stops after that step as SIGTERM would, with a
    checkpoint. ``evaluator``, ``writer`` and ``saver`` take the place of those of the run.
    ``classes`` are own classes of the runs that ``init_from`` names, beside the experiment's.
    Raises UserError for an experiment or a workdir that cannot be used; nothing is written before
    all of it was checked.
    """
    workdir, experiment = Path(workdir), record.canonical(experiment)
    check(experiment)
    experiment = session.fitted(experiment, workdir, resume=resume)
    mesh = experiment.mesh.build()
    with contextlib.ExitStack() as stack:
        primary = jax.process_index() == 0
        if primary:
            stack.enter_context(folder.locked(workdir))
        folder.admit(experiment, workdir, resume=resume, overwrite=overwrite)
        batches = session.open_batches(experiment, mesh)
        stack.callback(batches.close)
        evaluator = evaluator or Evaluator(experiment, mesh)
        example = session.first_of(batches)
        stack.enter_context(jax.set_mesh(mesh))
        compilations = stack.enter_context(process.count_compilations())
        compiled = session.compile_step(experiment, mesh, example)
        state = compiled.abstract
        if isinstance(evaluator, Evaluator):
            evaluator.check(experiment.recipe.variables(state))
        progress, taken = Progress(), {}
        if resume:
            state, progress = session.restored(workdir, state, batches)
        if progress.step == 0:
            taken = init_from.taken(experiment, state, classes)

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
            state = session.init(experiment, mesh, example)
            state = init_from.put(experiment, state, taken)
            if primary:
                batches.intensities().write(workdir / folder.INTENSITIES)
                for line in batches.remarks():
                    writer.message(line)
        for name, of in taken.items():
            writer.message(f"init_from.{name}: {of}")
        loop = Loop(experiment, progress, evaluator, writer, saver)
        stopping = stack.enter_context(process.stop_requests())
        stack.enter_context(jax.transfer_guard("disallow"))  # an array moved by mistake ends here
        for number in range(progress.step + 1, experiment.steps + 1):
            state = _step(number, compiled, state, batches, loop)
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


def _step(
    number: int, compiled: session.Compiled, state: TrainState, batches: Any, loop: Loop
) -> TrainState:
    """The state after one more batch, which may still be on its way; logs the step before."""
    try:
        batch = next(batches)
    except UserError:
        loop.rescue(number - 1, state, batches.get_state())
        raise
    with jax.profiler.StepTraceAnnotation("train", step_num=number):
        state, scalars = compiled.step(state, compiled.place(batch))
    loop.log(number, scalars)
    return state


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
    classes = config.classes(options.classes)
    train(
        _experiment(options, classes),
        options.workdir,
        resume=options.resume,
        overwrite=options.overwrite,
        classes=classes,
    )


def _experiment(options: Any, classes: Iterable[type]) -> Experiment:
    """The config's experiment; a run that goes on may leave the config out."""
    if options.config is not None:
        return config.read(options.config, options.overrides)
    if not options.resume:
        raise UserError("--config is missing; with --resume it may be left out")
    stored = record.read_json(options.workdir / folder.EXPERIMENT, classes=classes)
    return overridden(stored, options.overrides)


if __name__ == "__main__":
    command.run(main)
