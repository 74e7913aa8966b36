"""Save, restore, load: ``workdir/experiment.json`` and ``workdir/checkpoints/<step>/`` (orbax).

A step's folder holds ``state`` (the TrainState as a plain tree of arrays, readable with orbax
alone on any number of devices), ``digests.json`` (`jaxseg.digests`) and, in its metadata as JSON,
``progress`` (`jaxseg.progress`) and the ``scores`` of that step. Saves are asynchronous and appear
by one rename: a killed process leaves whole ones only. What is empty is not saved, and what is
absent is empty: a later version's state may have more parts.
"""

import contextlib
import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from jaxseg import digests, disk, record
from jaxseg.data import Data
from jaxseg.errors import UserError, first_line
from jaxseg.experiment import Checkpoints, Experiment
from jaxseg.progress import Progress
from jaxseg.step import TrainState
from jaxseg.step_folder import (
    check_digests,
    compare,
    leaves_of,
    metadata_of,
    open_anywhere,
    readable,
    steps,
    tree_of,
    way_out,
)
from jaxseg.types import Batch, covering_size, strides_of
from jaxseg.workdir import CHECKPOINTS, EXPERIMENT

# Orbax logs what it then raises, traceback and all, through absl's logger. One line is enough.
logging.getLogger("absl").addFilter(lambda record: "orbax" not in record.pathname)


class Saver:
    """Writes the checkpoints of one run and keeps those that the policy names."""

    def __init__(self, workdir: Path, policy: Checkpoints) -> None:
        """``workdir`` may hold earlier checkpoints; half-written ones are swept away."""
        keep: list[Any] = [ocp.training.preservation_policies.LatestN(policy.keep)]
        best = policy.best
        if best is not None:

            def ranked(metrics: Any) -> Any:
                # of equal scores the first, as `Progress` has it and `best_step` finds it
                return metrics[best], -metrics.get("step", 0)

            keep.append(
                ocp.training.preservation_policies.BestN(
                    get_metric_fn=ranked,
                    n=1,
                    keep_checkpoints_without_metrics=False,
                )
            )
        self._folder = workdir / CHECKPOINTS
        self._last_good: int | None = None
        self._pending: int | None = None
        # Any: orbax's own policies miss the protocol that its signature names.
        kept: Any = ocp.training.preservation_policies.AnyPreservationPolicy(keep)
        every_time: Any = ocp.training.save_decision_policies.FixedIntervalPolicy(1)
        try:
            self._checkpointer = ocp.training.Checkpointer(
                str(self._folder.absolute()),
                preservation_policy=kept,
                save_decision_policy=every_time,
                cleanup_tmp_directories=True,
            )
        except Exception as error:  # orbax reads what every step's folder says of its scores
            raise UserError(
                f"{self._folder}: a checkpoint in it is truncated or foreign "
                f"({type(error).__name__}: {first_line(error)})"
            ) from error
        latest = self._checkpointer.latest
        self._last_good = None if latest is None else latest.step

    @property
    def last_good(self) -> str:
        """The newest whole checkpoint, for messages."""
        return (
            "there is none yet"
            if self._last_good is None
            else f"{self._folder / str(self._last_good)}"
        )

    def save(
        self, step: int, state: TrainState, progress: Progress, scores: Mapping[str, float]
    ) -> None:
        """Start to save; waits only for the save before. A step that is there already is kept.

        Raises UserError, naming the last good checkpoint, if this or the save before failed.
        """
        self.wait()
        if self._last_good == step:
            return
        numbers: Any = {name: float(v) for name, v in scores.items() if math.isfinite(v)}
        with self._explained(step):
            self._pending = step
            self._checkpointer.save_checkpointables_async(
                step,
                {"state": _not_empty(state._asdict())},
                metrics={**numbers, "step": step} if numbers else None,
                custom_metadata={"progress": disk.plain(progress.to_json()), "scores": numbers},
            )

    def wait(self) -> None:
        """Return when the last save is on the disk."""
        if self._pending is None:
            return
        step, self._pending = self._pending, None
        with self._explained(step):
            self._checkpointer.wait()
            if jax.process_index() == 0:
                open_anywhere(self._folder / str(step))
                digests.write(self._folder / str(step))
        self._last_good = step

    @contextlib.contextmanager
    def _explained(self, step: int) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(
                f"{self._folder / str(step)}: could not be saved ({first_line(error)}); "
                f"last good checkpoint: {self.last_good}"
            ) from error

    def __enter__(self) -> "Saver":
        """The saver itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait for the last save and let go of the folder."""
        try:
            self.wait()
        finally:
            with contextlib.suppress(Exception):
                self._checkpointer.close()


def best_step(workdir: str | Path, metric: str | None) -> int:
    """The first step with the highest ``metric``, else the newest; UserError where none is."""
    found = steps(workdir)
    if not found:
        raise UserError(f"{Path(workdir) / CHECKPOINTS}: no checkpoint in it")
    if metric is None:
        return found[-1]
    scores = {
        step: metadata_of(Path(workdir) / CHECKPOINTS / str(step))["scores"].get(metric)
        for step in found
    }
    scored = {step: score for step, score in scores.items() if score is not None}
    return max(scored, key=lambda step: (scored[step], -step)) if scored else found[-1]


def restore(
    workdir: Path, step: int, abstract: TrainState, *, verify: bool = True
) -> tuple[TrainState, Progress]:
    """State and progress of a step, placed as ``abstract`` says (default: the first device).

    ``verify`` holds what is read against the digests that were saved with it.
    """
    folder = workdir / CHECKPOINTS / str(step)
    wanted = _not_empty(_placed(abstract._asdict()))
    compare(folder, tree_of(folder), wanted)
    if verify:
        check_digests(folder, wanted)
    with readable(folder):
        loaded = ocp.load(str(folder.absolute()), wanted, checkpointable_name="state")
    try:
        progress = Progress.from_json(metadata_of(folder)["progress"])
    except (ValueError, TypeError) as error:
        raise UserError(f"{folder}: foreign checkpoint ({error}); {way_out(folder)}") from error
    return abstract._replace(**loaded), progress


class Opened(NamedTuple):
    """A run that is read: its experiment, the step, its network and that one's variables."""

    experiment: Experiment
    step: int
    model: nn.Module
    variables: dict[str, Any]


def load(
    workdir: str | Path,
    step: int | None = None,
    *,
    classes: Iterable[type] = (),
    of: str = "model",
    verify: bool = True,
) -> tuple[nn.Module, dict[str, Any]]:
    """The trained model of a run and its variables, on the default device.

    ``step=None`` is the best step where one was kept, else the newest. Needs neither the data nor
    the optimizer nor the devices of the run. ``classes`` are the run's own classes, if it had any
    beside jaxseg's. ``of`` is another network of the recipe, such as "critic". ``verify=False``
    does not hold the arrays against the digests that were saved with them. Raises UserError,
    naming the file, for a folder that is no run, a damaged checkpoint, or one of another
    architecture. Runs no code from the folder.
    """
    found = opened(workdir, step, classes=classes, of=of, verify=verify)
    return found.model, found.variables


def opened(
    workdir: str | Path,
    step: int | None = None,
    *,
    classes: Iterable[type] = (),
    of: str = "model",
    verify: bool = True,
) -> Opened:
    """`load`, with the experiment that the run was and the step that was chosen."""
    workdir = Path(workdir)
    experiment = record.read_json(workdir / EXPERIMENT, classes=classes, training=False)
    if step is None:
        step = best_step(workdir, experiment.checkpoint.best)
    elif step not in steps(workdir):
        raise UserError(f"{workdir / CHECKPOINTS}: no step {step}; it has {steps(workdir)}")
    folder, recipe = workdir / CHECKPOINTS / str(step), experiment.recipe
    module = recipe.served if of == "model" else getattr(recipe, of, None)
    if not isinstance(module, nn.Module):
        raise UserError(f"{workdir}: its recipe has no network {of!r}")
    wanted = abstract_state(experiment)
    parts = ("params", "batch_stats", "ema") if of == "model" else ("extra",)
    known = _not_empty({part: getattr(wanted, part) for part in parts})
    found = tree_of(folder)
    compare(folder, {part: found.get(part) for part in parts}, known)
    if verify:
        check_digests(folder, known)
    only_these = ocp.Context()
    only_these.pytree.loading.partial_load = True  # not the optimizer's
    with readable(folder), only_these:
        loaded = ocp.load(str(folder.absolute()), _placed(known), checkpointable_name="state")
    variables = recipe.variables(wanted._replace(**loaded), of)
    refuse_not_finite(str(folder), variables)
    return Opened(experiment, step, module, variables)


def refuse_not_finite(name: str, variables: Any) -> None:
    """Refuse variables with NaN or infinity, whose argmax would be class 0 without a word."""
    for path, leaf in leaves_of(variables):
        if not np.isfinite(leaf).all():
            raise UserError(f"{name}: {path} holds NaN or infinity; use other variables or --step")


def abstract_state(experiment: Experiment) -> TrainState:
    """Shapes and dtypes of the run's state, without data or devices."""
    recipe, batch = experiment.scheduled, abstract_batch(experiment)
    return jax.eval_shape(lambda: recipe.init(jax.random.key(0), batch))


def abstract_batch(experiment: Experiment) -> Batch:
    """A batch of one row: of ``data.patch``, else of the smallest size that fits the network."""
    model = experiment.recipe.model
    return _abstract(experiment.data, model)._replace(
        streams={name: _abstract(stream.data, model) for name, stream in experiment.streams.items()}
        or None
    )


def _abstract(data: Data, model: nn.Module) -> Batch:
    rank, dataset = data.dataset.rank, data.dataset
    strides = strides_of(model, rank) or (1,) * rank
    spatial = data.patch or covering_size(model, tuple(max(64, 2 * s) for s in strides))
    struct: Any = jax.ShapeDtypeStruct
    return Batch(
        image=struct((1, *spatial, dataset.channels), np.float32),
        label=struct((1, *spatial), np.int32),
        valid=struct((1,), np.bool_),
        domain=struct((1,), np.int32),
        present=struct((1, dataset.num_classes), np.bool_),
    )


def _not_empty(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a state that hold arrays."""
    return {name: part for name, part in tree.items() if jax.tree.leaves(part)}


def _placed(tree: Any) -> Any:
    """Shapes with a sharding each; those that have none go to the first device."""
    first = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding or first), tree
    )
