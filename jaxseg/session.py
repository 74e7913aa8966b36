"""What a run needs before its first step: mesh, batches, the compiled step, the state to begin at.

All of it is made, and refused, before anything is written.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from jaxseg import checkpoint, config, cost, fields, init_from, record, report, sharding
from jaxseg.compiled import Compiled, compile_step, init
from jaxseg.data import Auto, Data, train_batches
from jaxseg.errors import UserError
from jaxseg.evaluator import Evaluate, Evaluator
from jaxseg.experiment import Experiment
from jaxseg.overrides import overridden
from jaxseg.progress import Progress
from jaxseg.step import TrainState
from jaxseg.types import Batch
from jaxseg.workdir import EXPERIMENT


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


def _batches(experiment: Experiment, mesh: Mesh) -> Any:
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


def _validates(experiment: Experiment) -> bool:
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


def _first_of(batches: Any) -> Batch:
    """The next batch, which stays the next one."""
    before = batches.get_state()
    example = next(batches)
    batches.set_state(before)
    return example


@dataclass(frozen=True)
class Session:
    """A run before its first step: everything here was checked, and nothing was written."""

    experiment: Experiment
    mesh: Mesh
    batches: Any
    """This process's rows, from the batch of the next step on."""
    example: Batch
    compiled: Compiled
    evaluator: Evaluate | None
    """None where nothing is scored."""
    state: TrainState
    """That of the checkpoint that the run goes on from; before step 1, shapes alone."""
    progress: Progress
    taken: Mapping[str, init_from.Taken]
    """What `init_from` gives to the state of step 0."""

    def announced(self, say: Callable[[str], None]) -> Compiled:
        """The step compiled ahead; what is known is said before, what the compiler asks for after.

        Only the first process says anything.
        """
        primary = jax.process_index() == 0
        for line in self._known() if primary else ():
            say(line)
        with report.clock("compiling", shown=primary) as clock:
            compiled = self.compiled.ahead(self.example)
        for line in report.compiled_lines(compiled.step, clock.seconds) if primary else ():
            say(line)
        return compiled

    def first_state(self) -> TrainState:
        """The state that the first step takes, on the mesh."""
        if self.progress.step > 0:
            return self.state
        state = init(self.experiment, self.mesh, self.example)
        return init_from.put(self.experiment, state, self.taken)

    def _known(self) -> list[str]:
        """What is known, in lines for the log; labels are counted before step 1 alone."""
        cases = {"train": self.batches.cases}
        if isinstance(self.evaluator, Evaluator):
            cases["validation"] = len(self.evaluator)
        new = self.progress.step == 0
        lines = report.opening_lines(
            self.mesh,
            cases,
            self.batches.shares() if new else None,
            self.experiment.data.dataset.class_names,
            cost.parameters(self.experiment.recipe.variables(self.state)),
        )
        lines += self.batches.scale_lines() if new else []
        if self.evaluator is None:
            lines.append(
                "no validation, by data.dataset.validation=0.0: nothing is scored, and the latest "
                "checkpoint is the one to load"
            )
        return [*lines, *(f"init_from.{name}: {of}" for name, of in self.taken.items())]


@contextlib.contextmanager
def opened(
    experiment: Experiment,
    workdir: Path,
    *,
    resume: bool = False,
    evaluator: Evaluate | None = None,
    classes: Iterable[type] = (),
    verify: bool = True,
) -> Iterator[Session]:
    """Data, step and state of a run, under its mesh; the batches are closed at the end.

    ``evaluator=None`` is the run's own. ``resume``, ``classes`` and ``verify`` are those of
    `jaxseg.train.train`. UserError for an experiment or a checkpoint that cannot be used.
    """
    mesh = experiment.mesh.build()
    with contextlib.closing(_batches(experiment, mesh)) as batches, jax.set_mesh(mesh):
        if evaluator is None and _validates(experiment):
            evaluator = Evaluator(experiment, mesh)
        example = _first_of(batches)
        compiled = compile_step(experiment, mesh, example)
        if isinstance(evaluator, Evaluator):
            evaluator.check(experiment.recipe.variables(compiled.abstract))
        state, progress = compiled.abstract, Progress()
        if resume:
            state, progress = _restored(workdir, state, batches, experiment.steps, verify=verify)
        taken = init_from.taken(experiment, state, classes) if progress.step == 0 else {}
        yield Session(
            experiment, mesh, batches, example, compiled, evaluator, state, progress, taken
        )


def _restored(
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
