"""Where a run's variables come from, if not drawn at random; and runs that no training made.

Everything that starts a run is a workdir: `Experiment.init_from` reads one, and importing,
pruning or factorising a network *write* one with `write_run`.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxseg import checkpoint, fields, record, workdir
from jaxseg.convert import encoder_weights
from jaxseg.convert.read import HUB, read_part
from jaxseg.errors import Problem, UserError, refused, require
from jaxseg.experiment import Experiment, InitFrom
from jaxseg.progress import Progress
from jaxseg.recipes import Recipe, Variables
from jaxseg.step import TrainState, path_of

SHOWN = 5
"""Fresh paths that the log spells out; it counts the others."""


@dataclass(frozen=True)
class Taken:
    """What a network takes from another run: arrays by path, and the paths it does not take."""

    arrays: Mapping[str, Any]
    adapted: tuple[str, ...]
    """Paths of kernels whose input channels were adapted."""
    fresh: tuple[str, ...]
    over: tuple[str, ...] = ()
    """Keys of a weights file that are no part of the encoder."""
    remark: str = ""
    """What else the log says of a weights file."""

    def __str__(self) -> str:
        """One line for the log."""
        said = f"{len(self.arrays)} arrays taken"
        if self.adapted:
            said += f", of which adapted: {', '.join(self.adapted)}"
        said += f"; fresh: {', '.join(_shortest(self.fresh))}" if self.fresh else ""
        said += f"; not taken: {', '.join(_shortest(self.over))}" if self.over else ""
        return said + (f"; {self.remark}" if self.remark else "")


def taken(
    experiment: Experiment, state: TrainState, classes: Iterable[type] = ()
) -> dict[str, Taken]:
    """What each network takes, held against the shapes of ``state``, which may be abstract.

    ``classes`` are own classes of the other runs, beside those of the experiment.
    """
    found, misfits = {}, []
    classes = fields.classes_in(experiment) | set(classes)
    for of, source in experiment.init_from.items():
        source = InitFrom(run=source) if isinstance(source, str) else source
        have = experiment.scheduled.variables(state, of)
        given, over, remark = _given(experiment, of, source, classes)
        if _is_file(source.run):  # of which the part was taken already
            source = dataclasses.replace(source, take="")
        found[of], bad = _matched(_flat(have), _flat(given), source)
        found[of] = dataclasses.replace(found[of], over=over, remark=remark)
        misfits += [f"{of}: {line}" for line in bad]
    if misfits:
        end = "; name in fresh=(...) what is to stay as drawn"
        problems = [Problem("that do not fit", line) for line in misfits]
        raise refused("init_from does not fit: ", problems, end)
    return found


def _given(
    experiment: Experiment, of: str, source: InitFrom, classes: Iterable[type]
) -> tuple[Any, tuple[str, ...], str]:
    """The variables of another run, or of a file of an encoder's weights; keys left over; a remark.

    A file does not say what its weights expect of an image, so the remark says what they get.
    """
    require(bool(source.run), f"init_from.{of}.run", source.run, "a run or a file of weights")
    if not (_is_file(source.run) or Path(source.run).exists()):
        raise UserError(f"init_from.{of}: {source.run}: no such run or file of weights")
    if not _is_file(source.run):
        return checkpoint.load(source.run, source.step, classes=classes)[1], (), ""
    part: Any = getattr(experiment.recipe, of, None)
    for name in filter(None, source.into.split("/")):
        part = getattr(part, name, None)
    if not hasattr(part, "names") or not hasattr(part, "strides"):
        raise UserError(
            f"init_from.{of}: {source.run} is a file of weights, which an encoder takes "
            f'(into="encoder"); into={source.into!r} names none. Of a whole network of PyTorch, '
            "`python -m jaxseg.import_torch` makes a run"
        )
    if source.step is not None:
        raise UserError(f"init_from.{of}: {source.run} is a file: step is of runs")
    take = source.take.replace("/", ".").strip(".")
    try:
        arrays = read_part(source.run, take)
    except UserError as error:  # which names the file
        raise UserError(f"init_from.{of}: {error}") from error
    try:
        given, over = encoder_weights(part, arrays, experiment.data.dataset.rank)
    except UserError as error:
        said = str(error).replace('say take="', f'say take="{take}.') if take else str(error)
        raise UserError(f"init_from.{of}: {source.run}: {said}") from error
    remark = ""
    if getattr(part, "standardize", None) is None:
        remark = f"{source.into}.standardize=None, so images go to these weights as they come"
    return given, over, remark


def _is_file(run: str) -> bool:
    return run.startswith(HUB) or Path(run).is_file()


def put(experiment: Experiment, state: TrainState, found: Mapping[str, Taken]) -> TrainState:
    """``state`` with the arrays of ``found``, placed as those in whose stead they stand."""
    recipe = experiment.scheduled
    for of, taken in found.items():
        variables = recipe.variables(state, of)

        def replaced(entries: Any, leaf: Any, taken: Taken = taken) -> Any:
            array = taken.arrays.get(path_of(entries))
            if array is None:
                return leaf
            # A copy: a step donates its state, and two leaves must not share a buffer.
            return jax.device_put(np.array(array, leaf.dtype), leaf.sharding)

        new = jax.tree_util.tree_map_with_path(replaced, variables)
        state = recipe.with_variables(state, new, of)
    return state


def write_run(folder: str | Path, experiment: Experiment, variables: Variables) -> None:
    """A complete run of no steps, whose model has ``variables``.

    evaluate, predict, export, ``init_from`` and ``--resume`` take it as any other. Raises
    UserError where the folder holds a run or where the variables are not those of the model.
    """
    folder, experiment = Path(folder), record.canonical(experiment)
    recipe: Recipe = experiment.scheduled
    batch = checkpoint.abstract_batch(experiment)
    checkpoint.refuse_not_finite(f"{folder}: variables", variables)
    with workdir.locked(folder):
        workdir.admit(experiment, folder, resume=False, overwrite=False)
        state = jax.jit(lambda: recipe.init(jax.random.key(experiment.seed), batch))()
        have, given = _flat(recipe.variables(state)), _flat(variables)
        every, misfits = _matched(have, given, InitFrom(run="variables"))
        misfits += [f"{path} is not of the model" for path in given if path not in have]
        if misfits:
            raise UserError(f"{folder}: the variables do not fit: {'; '.join(misfits)}")
        state = put(experiment, state, {"model": every})
        with checkpoint.Saver(folder, experiment.checkpoint) as saver:
            record.write_json(experiment, folder / workdir.EXPERIMENT)
            saver.save(0, state, Progress(), {})


def _matched(
    have: Mapping[str, Any], given: Mapping[str, Any], source: InitFrom
) -> tuple[Taken, list[str]]:
    """The arrays of ``given`` for the paths of ``have``, and a line for each that does not fit."""
    arrays, adapted, fresh, misfits = {}, [], [], []
    for path, leaf in sorted(have.items(), key=lambda item: not item[0].startswith("params/")):
        kind, _, name = path.partition("/")
        inside = _below(name, source.into)
        if inside is None or any(_below(name, one) is not None for one in source.fresh):
            fresh.append(path)
            continue
        array = given.get("/".join(filter(None, (kind, source.take, inside))))
        if array is not None and array.shape != leaf.shape and source.channels != "same":
            array = _with_channels(np.asarray(array), leaf.shape, source.channels)
            adapted.append(path)
        if array is None or array.shape != leaf.shape:
            there = "absent" if array is None else f"{array.shape}"
            line = f"{path} is {there} in {source.run} and {tuple(leaf.shape)} here"
            same = array is not None and _with_channels(np.asarray(array), leaf.shape, "mean").shape
            adapts = same == leaf.shape and path.endswith("kernel")
            misfits.append(line + ' (channels="mean" adapts it)' * adapts)
        else:
            arrays[path] = array
    for prefix in (source.into, *source.fresh):
        if all(_below(path.partition("/")[2], prefix) is None for path in have):
            misfits.append(f"no parameter lies at {prefix!r} here")
    return Taken(arrays, tuple(adapted), tuple(fresh)), misfits


def _with_channels(kernel: np.ndarray, shape: tuple[int, ...], how: str) -> np.ndarray:
    """A kernel ``[*k i o]`` for another number of input channels; itself where more differs."""
    fits = kernel.ndim == len(shape) > 1 and kernel.shape[:-2] == shape[:-2]
    if not fits or kernel.shape[-1] != shape[-1]:
        return kernel
    before, after = kernel.shape[-2], shape[-2]
    if how == "mean":
        kernel = kernel.mean(-2, keepdims=True)
    return np.take(kernel, np.arange(after) % kernel.shape[-2], axis=-2) * (before / after)


def _below(path: str, prefix: str) -> str | None:
    """What follows a prefix of whole names: "" for the path itself, None for another path."""
    if not prefix or path == prefix:
        return "" if prefix else path
    return path[len(prefix) + 1 :] if path.startswith(f"{prefix}/") else None


def _shortest(paths: tuple[str, ...]) -> Iterator[str]:
    """The first few paths, and how many more."""
    yield from paths[:SHOWN]
    if len(paths) > SHOWN:
        yield f"{len(paths) - SHOWN} more"


def _flat(tree: Any) -> dict[str, Any]:
    return {path_of(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
