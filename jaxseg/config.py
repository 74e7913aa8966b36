"""The experiment: what stands in ``configs/*.py``, in ``experiment.json``, and what is typed.

A config file is Python with ``def experiment() -> Experiment`` that calls plain constructors: what
it reads like is what exists. ``experiment.json`` holds the same object graph and is only ever
decoded into classes of jaxseg (or classes handed over by the caller): reading it runs no code.
"""

import ast
import dataclasses
import difflib
import functools
import importlib.util
import json
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import flax.linen as nn
from beartype.door import is_bearable

from jaxseg import augment, data, disk, encoders, losses, models, optimizers, recipes, sharding
from jaxseg.data import Data
from jaxseg.errors import UserError
from jaxseg.recipes import Supervised
from jaxseg.sharding import MeshShape


@dataclass(frozen=True)
class Evaluation:
    """When and how the validation split is scored.

    ``every`` steps; by sliding ``window`` (None: whole images), ``window_batch`` windows at a time.
    ``metrics`` are the scores that are shown, of those that ``Confusion`` has.
    ``patience`` stops the run after that many evaluations without a better ``checkpoint.best``.
    """

    every: int = 500
    window: tuple[int, ...] | None = None
    overlap: float = 0.5
    window_batch: int = 4
    metrics: tuple[str, ...] = ("dice", "iou")
    tta: bool = False
    patience: int | None = None


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


# --- config files and overrides -----------------------------------------------------------------


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
    try:
        spec.loader.exec_module(module)
    except (SyntaxError, ImportError, NameError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: {type(error).__name__}: {error}") from error
    if not callable(getattr(module, "experiment", None)):
        raise UserError(f"{path}: define `def experiment() -> Experiment` in it")
    try:
        experiment = module.experiment()
    except (TypeError, NameError, AttributeError) as error:
        raise UserError(f"{path}: experiment(): {error}") from error
    for override in overrides:
        experiment = override_one(experiment, override)
    check(experiment)
    return experiment


def _siblings(path: Path) -> list[str]:
    return [p.name for p in path.parent.glob("*.py")] if path.parent.is_dir() else []


def override_one(experiment: Experiment, override: str) -> Experiment:
    """``a.b.c=value`` applied: ``value`` is a Python literal, or else a plain string.

    ``recipe.model=NAME`` and ``recipe.model.encoder=NAME`` take names of MODELS and ENCODERS.
    """
    dotted, equals, text = override.partition("=")
    if not equals or not dotted:
        raise UserError(f"{override!r}: an override reads name.of.field=value")
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    return _replaced(experiment, dotted.split("."), value, dotted)


def _replaced(node: Any, path: list[str], value: Any, dotted: str) -> Any:
    name, rest = path[0], path[1:]
    if isinstance(node, Mapping):
        known = list(node)
    elif dataclasses.is_dataclass(node):
        known = [f.name for f in fields_of(node)]
    else:
        raise UserError(f"{dotted}: {type(node).__name__} has no field {name!r}")
    if name not in known:
        near = difflib.get_close_matches(name, known, 1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"
        raise UserError(f"{dotted}: unknown name {name!r}; {hint}")
    old = node[name] if isinstance(node, Mapping) else getattr(node, name)
    if rest:
        new = _replaced(old, rest, value, dotted)
    elif isinstance(node, Mapping):
        new = _converted(value, type(old), dotted)
    else:
        new = _converted(_named(old, value), _hints(type(node))[name], dotted)
    if isinstance(node, Mapping):
        return {**node, name: new}
    return dataclasses.replace(node, **{name: new})  # pyright: ignore[reportArgumentType]


def _named(old: Any, value: Any) -> Any:
    """A model or an encoder asked for by its name."""
    if isinstance(old, nn.Module) and isinstance(value, str):
        if hasattr(old, "num_classes"):
            return models.create(value, num_classes=old.num_classes)
        return encoders.create(value)
    return value


def _converted(value: Any, hint: Any, dotted: str) -> Any:
    """``value`` as the type of its field; ints become floats where a float is wanted."""
    candidates = [value]
    if isinstance(value, list):
        candidates.append(tuple(value))
    if isinstance(value, int) and not isinstance(value, bool):
        candidates.append(float(value))
    if isinstance(value, tuple | list):
        candidates.append(tuple(float(v) if isinstance(v, int) else v for v in value))
    for candidate in candidates:
        if is_bearable(candidate, hint):
            return candidate
    raise UserError(f"{dotted}={value!r}: expected {_spelt(hint)}")


def _spelt(hint: Any) -> str:
    if isinstance(hint, type) and not typing.get_args(hint):
        return hint.__name__
    return str(hint).replace("typing.", "").replace("NoneType", "None")


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def fields_of(node: Any) -> list[dataclasses.Field]:
    """The fields that configure: those of Linen's own machinery are left out."""
    linen = ("parent", "name") if isinstance(node, nn.Module) else ()
    return [f for f in dataclasses.fields(node) if f.init and f.name not in linen]


def check(experiment: Experiment) -> None:
    """Refuse an experiment that cannot be trained, with a line that names the option."""
    _check_types(experiment, "")
    recipe, source, evaluation = experiment.recipe, experiment.data, experiment.evaluation
    for name, value in (
        ("steps", experiment.steps),
        ("batch_size", experiment.batch_size),
        ("recipe.accumulate", recipe.accumulate),
        ("evaluation.every", evaluation.every),
        ("evaluation.window_batch", evaluation.window_batch),
        ("checkpoint.every", experiment.checkpoint.every),
        ("checkpoint.keep", experiment.checkpoint.keep),
    ):
        if value < 1:
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
    best = experiment.checkpoint.best
    if best is not None and best not in evaluation.metrics:
        raise UserError(
            f"checkpoint.best={best!r} is not among evaluation.metrics={evaluation.metrics}"
        )


def _check_types(node: Any, dotted: str) -> None:
    if isinstance(node, Mapping):
        children = list(node.items())
    elif dataclasses.is_dataclass(node) and not isinstance(node, type):
        hints = _hints(type(node))
        children = [(f.name, getattr(node, f.name)) for f in fields_of(node)]
        for name, value in children:
            if not is_bearable(value, hints[name]) and not _is_int_as_float(value, hints[name]):
                raise UserError(f"{dotted}{name}={value!r}: expected {_spelt(hints[name])}")
    else:
        return
    for name, value in children:
        _check_types(value, f"{dotted}{name}.")


def _is_int_as_float(value: Any, hint: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and is_bearable(1.0, hint)


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
        children = {f.name: to_json(getattr(node, f.name)) for f in fields_of(node)}
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
    if name not in known:
        raise UserError(f"unknown class {name!r}: hand your own to load(..., classes=[{name}])")
    names = {f.name for f in dataclasses.fields(known[name])}
    unknown = [key for key in children if key not in names]
    if unknown:
        raise UserError(f"{name} has no field {unknown[0]!r}: written by another version of jaxseg")
    try:
        return known[name](**children)
    except TypeError as error:
        raise UserError(f"{name}: {error}") from error


@functools.cache
def _known_classes() -> dict[str, type]:
    """Every configurable class of jaxseg by its name: those its packages export."""
    here: list[type] = [Experiment, Evaluation, Checkpoints]
    packages: list[ModuleType] = [
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
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: not a jaxseg experiment ({error})") from error
    try:
        experiment = from_json(tree, classes=classes)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    if not isinstance(experiment, Experiment):
        raise UserError(f"{path}: not a jaxseg experiment (its class is not Experiment)")
    return experiment
