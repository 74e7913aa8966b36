"""The experiment: what stands in ``configs/*.py``, in ``experiment.json``, and what is typed.

A config file is Python with ``def experiment() -> Experiment`` that calls plain constructors: what
it reads like is what exists. ``experiment.json`` holds the same object graph and is only ever
decoded into classes of jaxseg (or classes handed over by the caller): reading it runs no code.
"""

import contextlib
import dataclasses
import difflib
import functools
import importlib.util
import json
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxseg import (
    augment,
    data,
    disk,
    encoders,
    fields,
    losses,
    models,
    optimizers,
    recipes,
    sharding,
)
from jaxseg.data import Data
from jaxseg.errors import UserError, first_line, unknown
from jaxseg.metrics import CASE_SCORES, MORE, SCORES
from jaxseg.objects import Instances
from jaxseg.overrides import overridden
from jaxseg.recipes import Supervised
from jaxseg.sharding import MeshShape


@dataclass(frozen=True)
class Evaluation:
    """When and how the validation split is scored.

    ``every`` steps; by sliding ``window`` (None: whole images), ``window_batch`` windows at a time.
    ``metrics`` are the scores that are shown: those of ``Confusion``, which count all pixels
    together, cost nothing (``metrics.SCORES``, and ``metrics.MORE`` such as ``iou_micro``); those
    of ``metrics.CASE_SCORES``, such as ``hd95``, ``pq`` and ``ece``, are computed case by case, and
    only where they are named. ``instances`` says what an object is, for those that count them.
    ``evaluate`` gives an interval over cases with each.
    ``patience`` stops the run after that many evaluations without a better ``checkpoint.best``.
    """

    every: int = 500
    window: tuple[int, ...] | None = None
    overlap: float = 0.5
    window_batch: int = 4
    metrics: tuple[str, ...] = ("dice", "iou")
    tta: bool = False
    patience: int | None = None
    instances: Instances = Instances()


@dataclass(frozen=True)
class Checkpoints:
    """Which checkpoints are written and kept.

    One every ``every`` steps, of which the last ``keep`` stay, and the one with the highest
    ``best`` on the validation split (None: no best).
    """

    every: int = 500
    keep: int = 1
    best: str | None = "dice"


@dataclass(frozen=True)
class Experiment:
    """One run: what is trained, on what, how it is scored and kept."""

    recipe: Supervised
    data: Data
    steps: int
    batch_size: int
    evaluation: Evaluation = Evaluation()
    checkpoint: Checkpoints = Checkpoints()
    seed: int = 0
    mesh: MeshShape = MeshShape()

    @property
    def scheduled(self) -> Supervised:
        """The recipe with the length of its schedule filled in."""
        if self.recipe.schedule_steps is not None:
            return self.recipe
        return dataclasses.replace(self.recipe, schedule_steps=self.steps)


# --- config files -------------------------------------------------------------------------------


def read(path: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """The experiment of a config file, with overrides ``a.b.c=value`` applied in order.

    Raises UserError for a file that cannot be run or holds no ``experiment``, an unknown name,
    a value of the wrong type, and an experiment that cannot be trained.
    """
    path = Path(path)
    if not path.is_file():
        near = difflib.get_close_matches(path.name, _siblings(path), 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"{path}: no such config file{hint}")
    spec = importlib.util.spec_from_file_location(f"jaxseg_config_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path}: a config is a Python file that ends in .py")
    module = importlib.util.module_from_spec(spec)
    with _running(path, "while it is read"):
        spec.loader.exec_module(module)
    if not callable(getattr(module, "experiment", None)):
        raise UserError(f"{path}: define `def experiment() -> Experiment` in it")
    with _running(path, "in experiment()"):
        experiment = module.experiment()
    if not isinstance(experiment, Experiment):
        given = type(experiment).__name__
        raise UserError(f"{path}: experiment() returns {given}; return an Experiment")
    experiment = overridden(experiment, overrides)
    check(experiment)
    return experiment


@contextlib.contextmanager
def _running(path: Path, when: str) -> Iterator[None]:
    """A config's own errors, whatever they are, as one line that names the file."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except (Exception, SystemExit) as error:
        raise UserError(f"{path}: {type(error).__name__} {when}: {first_line(error)}") from error


def _siblings(path: Path) -> list[str]:
    return [p.name for p in path.parent.glob("*.py")] if path.parent.is_dir() else []


def check(experiment: Experiment) -> None:
    """Refuse an experiment that cannot be trained, with a line that names the option."""
    fields.check(experiment)
    recipe, source, evaluation = experiment.recipe, experiment.data, experiment.evaluation
    _check_data_set(source.dataset)
    _check_losses(recipe.losses)
    for name, value in (
        ("steps", experiment.steps),
        ("batch_size", experiment.batch_size),
        ("recipe.accumulate", recipe.accumulate),
        ("evaluation.every", evaluation.every),
        ("evaluation.window_batch", evaluation.window_batch),
        ("checkpoint.every", experiment.checkpoint.every),
        ("checkpoint.keep", experiment.checkpoint.keep),
        ("evaluation.patience", evaluation.patience),
        ("recipe.schedule_steps", recipe.schedule_steps),
    ):
        if value is not None and value < 1:
            raise UserError(f"{name}={value}: must be at least 1")
    if not 0 <= evaluation.overlap < 1:
        raise UserError(f"evaluation.overlap={evaluation.overlap}: must be in [0, 1)")
    if not 0 <= source.foreground <= 1:
        raise UserError(f"data.foreground={source.foreground}: must be in [0, 1]")
    if recipe.ema is not None and not 0 <= recipe.ema < 1:
        raise UserError(f"recipe.ema={recipe.ema}: must be in [0, 1)")
    if experiment.batch_size % recipe.accumulate:
        raise UserError(
            f"batch_size={experiment.batch_size} does not divide by "
            f"recipe.accumulate={recipe.accumulate}"
        )
    dtype, dropout = (getattr(recipe.model, f, None) for f in ("dtype", "dropout"))
    if dtype not in (None, "float32", recipe.dtype):
        raise UserError(f"recipe.model.dtype={dtype!r}: set recipe.dtype, which comes before it")
    if dropout is not None and not 0 <= dropout < 1:
        raise UserError(f"recipe.model.dropout={dropout}: must be in [0, 1)")
    rank = source.dataset.rank
    for name, size in (("data.patch", source.patch), ("evaluation.window", evaluation.window)):
        if size is not None and (len(size) != rank or min(size) < 1):
            raise UserError(f"{name}={size}: the images have {rank} axes; give {rank} sizes")
    classes = getattr(recipe.model, "num_classes", None)
    if classes != source.dataset.num_classes:
        raise UserError(
            f"recipe.model.num_classes={classes}, but data.dataset has "
            f"{source.dataset.num_classes} classes; make them equal"
        )
    names = source.dataset.class_names
    if names and len(names) != classes:
        raise UserError(f"data.dataset.class_names={names}: {len(names)} names, {classes} classes")
    for metric in evaluation.metrics:
        known = (*SCORES, *MORE, *CASE_SCORES)
        if metric not in known:
            raise unknown("evaluation.metrics: no metric", metric, known)
    best = experiment.checkpoint.best
    if best is not None and best not in evaluation.metrics:
        raise UserError(
            f"checkpoint.best={best!r} is not among evaluation.metrics={evaluation.metrics}"
        )
    if best is not None and best in CASE_SCORES and not CASE_SCORES[best].higher_is_better:
        raise UserError(
            f"checkpoint.best={best!r}: kept is the highest, and of this score the least is best"
        )
    if best is None and evaluation.patience is not None:
        raise UserError("evaluation.patience waits for a better checkpoint.best, which is None")


def _check_data_set(dataset: Any) -> None:
    wanted = ("num_classes", "class_names", "channels", "rank", "open")
    if isinstance(dataset, type) or not all(hasattr(dataset, name) for name in wanted):
        raise UserError(
            f"data.dataset={dataset!r}: expected a data set such as Folder(num_classes=2)"
        )


def _check_losses(terms: Mapping[str, Any]) -> None:
    taken = ("loss", "gradient_norm", "learning_rate", "image_level", "images_per_second", "step")
    for name in terms:
        if name in (*taken, CLASS):
            raise UserError(f"recipe.losses: a term cannot be called {name!r}; rename it")
    if not terms:
        raise UserError('recipe.losses={}: nothing to train on; give {"dice": Dice()}')


MAY_CHANGE = (
    "steps", "evaluation", "checkpoint", "mesh", "data.root", "data.workers", "data.cache",
)  # fmt: skip
"""What a resumed run may have otherwise than it began with."""


def compatible(stored: Experiment, given: Experiment, path: Path) -> None:
    """Refuse to resume a run as another one; the message names the first option that differs."""
    old, new = _flat(to_json(stored), ""), _flat(to_json(given), "")
    for name in [*old, *new]:
        if any(name == free or name.startswith(f"{free}.") for free in MAY_CHANGE):
            continue
        if old.get(name) != new.get(name):
            raise UserError(
                f"--resume: {name} is {old.get(name)!r} in {path} and {new.get(name)!r} now; "
                "set it back, or train in another --workdir"
            )


def _flat(tree: Any, dotted: str) -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {dotted: tree}
    return {
        name: leaf
        for key, child in tree.items()
        for name, leaf in _flat(child, f"{dotted}.{key}".strip(".")).items()
    }


# --- JSON ---------------------------------------------------------------------------------------

CLASS = "class"
"""The key that names an object's class."""


def to_json(node: Any) -> Any:
    """An object graph as what ``json`` can write; ``from_json`` gives an equal one back."""
    if node is None or isinstance(node, bool | int | float | str):
        return node
    if isinstance(node, tuple | list):
        return [to_json(child) for child in node]
    if isinstance(node, Mapping):
        return {key: to_json(child) for key, child in node.items()}
    if dataclasses.is_dataclass(node) and not isinstance(node, type):
        children = {name: to_json(child) for name, child in fields.children(node).items()}
        return {CLASS: type(node).__name__, **children}
    raise UserError(
        f"{node!r} cannot stand in an experiment: use numbers, strings, tuples, dicts, modules "
        "and frozen dataclasses"
    )


def from_json(tree: Any, *, classes: Iterable[type] = ()) -> Any:
    """The object graph that ``to_json`` wrote. ``classes`` are the caller's own, beside jaxseg's.

    Raises UserError for a class or a field that is neither: nothing outside the list is called.
    """
    return _decoded(tree, {**_known_classes(), **{cls.__name__: cls for cls in classes}})


def _decoded(tree: Any, known: Mapping[str, type]) -> Any:
    if isinstance(tree, list):
        return tuple(_decoded(child, known) for child in tree)
    if not isinstance(tree, dict):
        return tree
    children = {key: _decoded(child, known) for key, child in tree.items() if key != CLASS}
    if CLASS not in tree:
        return children
    name = tree[CLASS]
    if not isinstance(name, str) or name not in known:
        raise UserError(f"unknown class {name!r}: hand your own to load(..., classes=[{name}])")
    names = set(fields.configurable(known[name]))
    unknown = [key for key in children if key not in names]
    if unknown:
        raise UserError(f"{name} has no field {unknown[0]!r}: written by another version of jaxseg")
    try:
        return known[name](**children)
    except (TypeError, ValueError) as error:
        raise UserError(f"{name}: {first_line(error)}") from error


@functools.cache
def _known_classes() -> dict[str, type]:
    """Every configurable class of jaxseg by its name: those its packages export."""
    here: list[type] = [Experiment, Evaluation, Checkpoints, Instances]
    packages: list[types.ModuleType] = [
        augment, data, encoders, losses, models, optimizers, recipes, sharding
    ]  # fmt: skip
    exported = [value for package in packages for value in vars(package).values()]
    found = [c for c in exported if isinstance(c, type) and c.__module__.startswith("jaxseg.")]
    return {cls.__name__: cls for cls in here + found if dataclasses.is_dataclass(cls)}


def write_json(experiment: Experiment, path: Path) -> None:
    """Write ``experiment.json``, whole or not at all."""
    with disk.replacing(path) as beside:
        beside.write_text(json.dumps(to_json(experiment), indent=2) + "\n")


def read_json(path: Path, *, classes: Iterable[type] = ()) -> Experiment:
    """The experiment of a run's ``experiment.json``."""
    try:
        tree = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; is {path.parent} a run of jaxseg?") from error
    except OSError as error:
        raise UserError(f"{path}: not a jaxseg experiment ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a jaxseg experiment ({first_line(error)})") from error
    try:
        experiment = from_json(tree, classes=classes)
        if not isinstance(experiment, Experiment):
            raise UserError("not a jaxseg experiment (its class is not Experiment)")
        fields.check(experiment)
        _check_data_set(experiment.data.dataset)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return experiment
