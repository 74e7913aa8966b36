"""Experiments as JSON: ``experiment.json``, its names of classes, what a resumed run may change.

A class is known by its home: ``"models.UNet"`` is ours, ``"module:Qualname"`` somebody else's. What
is read is only ever decoded into classes of jaxseg, or classes handed over by the caller: reading
runs no code that the file names.
"""

import hashlib
import inspect
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jaxseg import disk, fields
from jaxseg.classes import known, name_of
from jaxseg.data import check_data_set
from jaxseg.errors import UserError, first_line
from jaxseg.experiment import Experiment

FORMAT = 1
"""The number of the format; a later version reads all up to its own."""

CLASS = "class"
"""The key that names an object's class."""


def to_json(node: Any, dotted: str = "") -> Any:
    """An object graph as what ``json`` can write; `from_json` gives an equal one back."""
    if node is None or isinstance(node, bool | int | float | str):
        return node
    if isinstance(node, tuple):
        return [to_json(child, f"{dotted}[{n}]") for n, child in enumerate(node)]
    inside = f"{dotted}." if dotted else ""
    if isinstance(node, Mapping):
        for key in node:
            if not isinstance(key, str) or key == CLASS:
                raise UserError(f"{dotted}: {key!r} cannot be a name; use other strings")
        return {key: to_json(child, inside + key) for key, child in node.items()}
    if fields.is_object(node):
        children = {k: to_json(v, inside + k) for k, v in fields.children(node).items()}
        return {CLASS: name_of(type(node)), **children}
    raise UserError(
        f"{dotted}={node!r} cannot stand in an experiment: use numbers, strings, tuples, dicts, "
        "modules and frozen dataclasses"
    )


def from_json(tree: Any, *, classes: Iterable[type] = ()) -> Any:
    """The object graph that `to_json` wrote. ``classes`` are the caller's own, beside jaxseg's.

    Raises UserError for a class or a field that is neither: nothing outside the list is called.
    """
    return _decoded(tree, known(classes))


def canonical(experiment: Experiment) -> Experiment:
    """The experiment as its JSON says it, which is what is trained.

    Two fields that are one object become two equal ones, as they will be when the run is loaded
    (Linen shares the parameters of one object). Raises UserError for what JSON cannot hold.
    """
    read: Experiment = from_json(to_json(experiment), classes=fields.classes_in(experiment))
    if read != experiment:
        raise UserError(f"{_difference(experiment, read)} changes when it is written to JSON")
    return read


def _difference(given: Any, read: Any, dotted: str = "") -> str:
    """The dotted name of the first value that differs."""
    before, after = fields.children(given), fields.children(read)
    for name in before:
        if before[name] != after.get(name):
            return _difference(before[name], after.get(name), f"{dotted}.{name}".strip("."))
    return dotted or "the experiment"


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
        raise UserError(
            f"unknown class {name!r}; say --classes FILE (the config of the run will do), or in "
            "Python load(..., classes=[...])"
        )
    unknown = [key for key in children if key not in fields.configurable(known[name])]
    if unknown:
        raise UserError(f"{name} has no field {unknown[0]!r}: written by another version of jaxseg")
    try:
        return known[name](**children)
    except (TypeError, ValueError) as error:
        raise UserError(f"{name}: {first_line(error)}") from error


# --- files ----------------------------------------------------------------------------------------


def write_json(experiment: Experiment, path: Path) -> None:
    """Write ``experiment.json``, whole or not at all, with digests of the files of own classes."""
    tree = {
        "format": FORMAT,
        "sources": sources(fields.classes_in(experiment)),
        **to_json(experiment),
    }
    with disk.replacing(path) as beside:
        beside.write_text(json.dumps(tree, indent=2) + "\n")


def read_json(path: Path, *, classes: Iterable[type] = (), training: bool = True) -> Experiment:
    """The experiment of a run's ``experiment.json``.

    ``training=False`` leaves out the losses and the optimizer whose classes are not known: only
    training needs them.
    """
    tree = _parsed(path)
    classes = tuple(classes)
    try:
        if not isinstance(tree, dict) or CLASS not in tree:
            raise UserError("not a jaxseg experiment")
        written, _ = tree.pop("format", 0), tree.pop("sources", {})
        if written == 0:
            raise UserError("written before formats were kept (jaxseg 0.1.0); train it again")
        if not isinstance(written, int) or written > FORMAT:
            raise UserError(f"format {written!r}, and this jaxseg reads up to {FORMAT}; update it")
        tree = tree if training else _served(tree, classes)
        experiment = from_json(tree, classes=classes)
        if not isinstance(experiment, Experiment):
            raise UserError("not a jaxseg experiment (its class is not Experiment)")
        fields.check(experiment)
        check_data_set(experiment.data.dataset)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return experiment


TRAINED_BY = ("optimizer", "image_loss", "augment")
"""Fields of a recipe, beside its losses, that only training needs."""


def _served(tree: dict[str, Any], classes: Iterable[type]) -> dict[str, Any]:
    """An experiment without what only training needs, as far as its classes are not known."""
    names = known(classes)

    def foreign(node: Any) -> bool:
        inside = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        named = node.get(CLASS) if isinstance(node, dict) else None
        return (isinstance(named, str) and named not in names) or any(map(foreign, inside))

    recipe, evaluation = tree.get("recipe"), tree.get("evaluation")
    if not isinstance(recipe, dict) or not isinstance(evaluation, dict):
        return tree
    losses = recipe.get("losses")
    losses = losses if isinstance(losses, dict) else {}
    ours = {name: term for name, term in losses.items() if not foreign(term)}
    kept = {k: v for k, v in recipe.items() if k not in TRAINED_BY or not foreign(v)}
    if len(ours) < len(losses):  # a sum of the others would be another loss
        evaluation = {**evaluation, "loss": False}
        kept["losses"] = ours
    if "losses" in kept and not kept["losses"]:
        del kept["losses"]
    return {**tree, "recipe": kept, "evaluation": evaluation}


def changed_sources(path: Path, classes: Iterable[type]) -> list[str]:
    """The modules of own classes whose files are no longer those that the run was trained with."""
    tree = _parsed(path)
    kept = tree.get("sources", {}) if isinstance(tree, dict) else {}
    now = sources(classes)
    return [name for name, digest in now.items() if name in kept and kept[name] != digest]


def sources(classes: Iterable[type]) -> dict[str, str]:
    """SHA-256 of the source file of each module of own classes, by the module's name in JSON."""
    found: dict[str, str] = {}
    for cls in classes:
        name = name_of(cls)
        if ":" not in name:
            continue
        try:
            file = inspect.getsourcefile(cls)
        except (TypeError, OSError):
            continue  # made in an interactive session
        if file is not None and Path(file).is_file():
            digest = hashlib.sha256(Path(file).read_bytes()).hexdigest()
            found[name.partition(":")[0]] = digest
    return dict(sorted(found.items()))


def _parsed(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; is {path.parent} a run of jaxseg?") from error
    except OSError as error:
        raise UserError(f"{path}: not a jaxseg experiment ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a jaxseg experiment ({first_line(error)})") from error


# --- resuming -------------------------------------------------------------------------------------

MAY_CHANGE = (
    "steps", "evaluation", "checkpoint", "mesh", "data.root", "data.workers", "data.cache",
)  # fmt: skip
"""What a resumed run may have otherwise than it began with; of streams' data, the same."""


def compatible(stored: Experiment, given: Experiment, path: Path) -> None:
    """Refuse to resume a run as another one; the message names the first option that differs."""
    old, new = _flat(to_json(stored), ""), _flat(to_json(given), "")
    for name in [*old, *new]:
        if old.get(name) != new.get(name) and not _may_change(name):
            raise UserError(
                f"--resume: {name} is {old.get(name)!r} in {path} and {new.get(name)!r} now; "
                "set it back, or train in another --workdir"
            )


def _may_change(name: str) -> bool:
    first, _, rest = name.partition(".")
    if first == "streams":
        name = rest.partition(".")[2]
    return any(name == free or name.startswith(f"{free}.") for free in MAY_CHANGE)


def _flat(tree: Any, dotted: str) -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {dotted: tree}
    return {
        name: leaf
        for key, child in tree.items()
        for name, leaf in _flat(child, f"{dotted}.{key}".strip(".")).items()
    }
