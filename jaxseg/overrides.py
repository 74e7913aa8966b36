"""What is typed after a command: ``a.b.c=value``, in a graph of dataclasses, modules and dicts."""

import dataclasses
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jaxseg import calls, classes, fields
from jaxseg.errors import UserError, first_line, unknown


def overridden(experiment: Any, overrides: Sequence[str], own: Iterable[type] = ()) -> Any:
    """Overrides ``a.b.c=value`` applied in order; each name once.

    ``own`` are classes that values may name, beside jaxseg's and those of the experiment.
    """
    names = [override.partition("=")[0] for override in overrides]
    for name in names:
        if names.count(name) > 1:
            given = ", ".join(o for o in overrides if o.partition("=")[0] == name)
            raise UserError(f"{name} is given {names.count(name)} times ({given}); keep one")
    own = tuple(own)
    for override in overrides:
        experiment = override_one(experiment, override, own)
    return experiment


def override_one(experiment: Any, override: str, own: Iterable[type] = ()) -> Any:
    """``a.b.c=value`` applied: a Python literal, an object as ``SGD(momentum=0.8)``, or a string.

    ``recipe.model=NAME`` and ``recipe.model.encoder=NAME`` take names of MODELS and ENCODERS.
    """
    dotted, equals, text = override.partition("=")
    if not equals or not dotted:
        raise UserError(f"{override!r}: an override reads name.of.field=value")
    known = classes.known({*own, *fields.classes_in(experiment)})
    return _replaced(experiment, dotted.split("."), text, dotted, Any, known)


def _replaced(
    node: Any, path: list[str], text: str, dotted: str, hint: Any, known: calls.Known
) -> Any:
    """``node``, of the type ``hint``, with what the text means at ``path`` below it."""
    name, rest = path[0], path[1:]
    if not isinstance(node, Mapping) and not fields.is_object(node):
        what = "None" if node is None else f"a {type(node).__name__}"
        raise UserError(
            f"{dotted}: what stands before {name!r} is {what} and has no field {name!r}"
        )
    below = fields.children(node)
    inner = type_below(node, name, hint)
    if name not in below and (rest or not _may_be_new(node, text, inner, dotted, known)):
        raise unknown(f"{dotted}: unknown name", name, below)
    if rest:
        new = _replaced(below[name], rest, text, dotted, inner, known)
    else:
        new = calls.read(text, inner, dotted, known, below.get(name))
    if isinstance(node, Mapping):
        return {**node, name: new}
    try:
        return dataclasses.replace(node, **{name: new})
    except (TypeError, ValueError) as error:
        raise UserError(f"{dotted}={text}: {first_line(error)}") from error


def type_below(node: Any, name: str, hint: Any) -> Any:
    """The type of what stands at ``name``: of a field, or of a mapping's items."""
    if not isinstance(node, Mapping):
        return fields.hints(type(node)).get(name, Any)
    return typing.get_args(hint)[1] if typing.get_origin(hint) is Mapping else Any


def _may_be_new(node: Any, text: str, inner: Any, dotted: str, known: calls.Known) -> bool:
    """Whether a mapping may get an item that can be typed: ``init_from.model=runs/before``."""
    if not isinstance(node, Mapping) or inner is Any:
        return False
    if calls.is_tree(text) or "(" in text:  # an object, or what it lacks to be one is to be said
        return True
    try:
        calls.read(text, inner, dotted, known)
    except UserError:
        return False
    return True
