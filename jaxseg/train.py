"""Train an experiment: ``python -m jaxseg.train --config configs/quickstart.py --workdir W``."""

import argparse
import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import jax

from jaxseg import command, config, process, record, report, session
from jaxseg import workdir as folder
from jaxseg.checkpoint import Saver
from jaxseg.compiled import Compiled
from jaxseg.errors import UserError
from jaxseg.evaluator import Evaluate
from jaxseg.experiment import Experiment, check
from jaxseg.loop import Loop, Saves, Writer, check_writer
from jaxseg.profiler import Profiler, steps_of
from jaxseg.report import Report
from jaxseg.step import TrainState


def train(
    experiment: Experiment,
    workdir: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    until: int | None = None,
    profile: tuple[int, int] | None = None,
    log: Sequence[str] = (),
    evaluator: Evaluate | None = None,
    writer: Writer | None = None,
    saver: Saves | None = None,
    classes: Iterable[type] = (),
    verify: bool = True,
) -> dict[str, Any]:
    """Train, evaluate and keep checkpoints; returns what ``summary.json`` holds.

    The order: check, open data, build or restore the state, say what is known, compile, then for
    each step: next batch, step, log the step before, evaluate, save. ``dry_run`` ends before the
    first step, and writes nothing. ``until`` stops after that step as SIGTERM would, with a
    checkpoint. ``profile`` traces those steps, both included, into ``workdir/profile``. ``log``
    names trackers ("wandb", "mlflow"). ``evaluator``, ``writer`` and ``saver`` take the place of
    those of the run. ``classes`` are own classes of the runs that ``init_from`` names, beside the
    experiment's. ``verify=False`` resumes from a checkpoint without holding it against its digests.
    Raises UserError for an experiment or a workdir that cannot be used; nothing is
    written before all of it was checked.
    """
    workdir, experiment = Path(workdir), record.canonical(experiment)
    check(experiment)
    check_writer(writer, log)
    before = session.begun(experiment, workdir) if resume else None
    experiment = session.fitted(experiment, before)
    with contextlib.ExitStack() as stack:
        enter, primary = stack.enter_context, jax.process_index() == 0
        if primary and not dry_run:
            enter(folder.locked(workdir))
        folder.admit(experiment, workdir, resume=resume, overwrite=overwrite)
        compilations = enter(process.count_compilations())
        run = enter(
            session.opened(
                experiment,
                workdir,
                resume=resume,
                evaluator=evaluator,
                classes=classes,
                verify=verify,
            )
        )
        first = run.progress.step + 1
        profiler = Profiler(profile, workdir / folder.PROFILE)
        profiler.check(run.progress.step, experiment.steps)
        stack.callback(profiler.close)
        say, began = writer.message if writer else report.say, time.perf_counter()
        compiled = run.announced(say)
        if dry_run:
            return {"step": run.progress.step}

        trackers = report.open_trackers(
            log if primary else (), workdir, record.to_json(experiment), resume=resume
        )
        folder.clear(workdir, overwrite=overwrite)
        saver = saver or enter(Saver(workdir, experiment.checkpoint))
        if primary:
            record.write_json(experiment, workdir / folder.EXPERIMENT)
        writer = writer or enter(
            Report(
                workdir,
                total_steps=experiment.steps,
                resume_step=run.progress.step,
                enabled=primary,
                best=experiment.checkpoint.best,
                trackers=trackers,
            )
        )
        state = run.first_state()
        if primary and first == 1:
            run.batches.intensities().write(workdir / folder.INTENSITIES)
        loop = Loop(experiment, workdir, run.progress, run.evaluator, writer, saver, began=began)
        stopping = enter(process.stop_requests())
        enter(jax.transfer_guard("disallow"))  # an array moved by mistake ends here

        def ends(number: int) -> str | None:
            return stopping(number) or ("until" if number == until else None)

        stopped = _steps(first, experiment, compiled, state, run.batches, loop, profiler, ends)
        return loop.summary(compilations, stopped)


def _steps(
    first: int,
    experiment: Experiment,
    compiled: Compiled,
    state: TrainState,
    batches: Any,
    loop: Loop,
    profiler: Profiler,
    ends: Callable[[int], str | None],
) -> str | None:
    """Make the steps from ``first`` on; what ended them before the last one, if anything did."""
    stopped = "patience" if loop.out_of_patience and first <= experiment.steps else None
    for number in () if stopped else range(first, experiment.steps + 1):
        state = _step(number, compiled, state, batches, loop, profiler)
        last = number == experiment.steps
        stopped = ends(number)
        if last or number % experiment.evaluation.every == 0:
            loop.evaluate(number, state)
        stopped = stopped or ("patience" if loop.out_of_patience else None)
        due = last or stopped or number % experiment.checkpoint.every == 0
        if due or loop.improved(number):
            loop.save(number, state, batches.get_state())
        if last:
            return None
        if stopped:
            break
    return stopped


def _step(
    number: int,
    compiled: Compiled,
    state: TrainState,
    batches: Any,
    loop: Loop,
    profiler: Profiler,
) -> TrainState:
    """The state after one more batch, which may still be on its way; logs the step before."""
    try:
        batch = next(batches)
    except UserError:
        loop.rescue(number - 1, state, batches.get_state())
        raise
    batch = compiled.place(batch)
    if number == 1:
        loop.show(number, state, batch)  # before the step, which donates the state
    profiler.start(number)
    with jax.profiler.StepTraceAnnotation("train", step_num=number):
        state, scalars = compiled.step(state, batch)
    profiler.stop(number, scalars)
    loop.log(number, scalars)
    return state


# --- the command ----------------------------------------------------------------------------------


def main(arguments: Sequence[str]) -> None:
    """The command."""
    options = _parser().parse_intermixed_args(arguments)
    named = (options.coordinator, options.processes, options.process)
    process.join(*named, distributed=options.distributed)
    process.cache_compilations()
    classes = config.classes(options.classes)
    given = options.config, options.overrides, classes
    experiment = session.experiment_of(*given, options.workdir if options.resume else None)
    if options.show:
        return config.show(experiment)
    summary = train(
        experiment,
        options.workdir,
        resume=options.resume,
        overwrite=options.overwrite,
        dry_run=options.dry_run,
        profile=steps_of(options.profile),
        log=options.log,
        classes=classes,
        verify=not options.unverified,
    )
    if code := process.exit_code(summary.get("stopped")):
        raise SystemExit(code)


def _parser() -> argparse.ArgumentParser:
    parser = command.parser(
        prog="python -m jaxseg.train",
        description="Train an experiment.",
        epilog="example: python -m jaxseg.train --config configs/quickstart.py "
        "--workdir runs/quickstart steps=200 recipe.optimizer.learning_rate.peak=1e-3",
    )
    add = parser.add_argument
    add("--config", type=Path, help="Python file with experiment()")
    add("--workdir", type=Path, required=True, help="folder for all that is written")
    add("--resume", action="store_true", help="go on with the run in the workdir")
    add("--overwrite", action="store_true", help="start again in the workdir")
    add("--show", action="store_true", help="print every name, value and type, and end")
    add("--dry-run", action="store_true", help="end before the first step, writing nothing")
    add(
        "--log",
        action="append",
        default=[],
        metavar="NAME",
        help=f"follow the run with {' or '.join(report.TRACKERS)} too; may be given again",
    )
    add(
        "--profile",
        metavar="START:STOP",
        help="trace these steps, both included, for xprof, into the workdir's profile/",
    )
    command.add_classes(parser)
    command.add_unverified(parser)
    command.add_debug(parser)
    command.add_processes(parser)
    add("overrides", nargs="*", metavar="a.b=value", help="such as batch_size=8")
    return parser


if __name__ == "__main__":
    command.run(main)
