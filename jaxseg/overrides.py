"""What is typed after a command: ``a.b.c=value``, in a graph of dataclasses, modules and dicts."""

import ast
import dataclasses
import typing
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn

from jaxseg import fields, models
from jaxseg.errors import UserError, first_line, unknown


def overridden(experiment: Any, overrides: Sequence[str]) -> Any:
    """Overrides ``a.b.c=value`` applied in order; each name once."""
    names = [override.partition("=")[0] for override in overrides]
    for name in names:
        if names.count(name) > 1:
            given = ", ".join(o for o in overrides if o.partition("=")[0] == name)
            raise UserError(f"{name} is given {names.count(name)} times ({given}); keep one")
    for override in overrides:
        experiment = override_one(experiment, override)
    return experiment


def override_one(experiment: Any, override: str) -> Any:
    """``a.b.c=value`` applied: ``value`` is a Python literal, or else a plain string.

    ``recipe.model=NAME`` and ``recipe.model.encoder=NAME`` take names of MODELS and ENCODERS.
    """
    dotted, equals, text = override.partition("=")
    if not equals or not dotted:
        raise UserError(f"{override!r}: an override reads name.of.field=value")
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        value = text
    return _replaced(experiment, dotted.split("."), value, dotted, Any)


def _replaced(node: Any, path: list[str], value: Any, dotted: str, hint: Any) -> Any:
    """``node``, of the type ``hint``, with the value at ``path`` below it."""
    name, rest = path[0], path[1:]
    if not isinstance(node, Mapping) and not fields.is_object(node):
        what = "None" if node is None else f"a {type(node).__name__}"
        raise UserError(
            f"{dotted}: what stands before {name!r} is {what} and has no field {name!r}"
        )
    known = fields.children(node)
    inner = _inner(node, name, hint)
    if name not in known and (rest or not _may_be_new(node, value, inner)):
        raise unknown(f"{dotted}: unknown name", name, known)
    if rest:
        new = _replaced(known[name], rest, value, dotted, inner)
    else:
        new = _converted(_named(known.get(name), value), inner, dotted)
    if isinstance(node, Mapping):
        return {**node, name: new}
    try:
        return dataclasses.replace(node, **{name: new})
    except (TypeError, ValueError) as error:
        raise UserError(f"{dotted}={value!r}: {first_line(error)}") from error


def _inner(node: Any, name: str, hint: Any) -> Any:
    """The type of what stands at ``name``: of a field, or of a mapping's items."""
    if not isinstance(node, Mapping):
        return fields.hints(type(node)).get(name, Any)
    return typing.get_args(hint)[1] if typing.get_origin(hint) is Mapping else Any


def _may_be_new(node: Any, value: Any, inner: Any) -> bool:
    """Whether a mapping may get an item that can be typed: ``init_from.model=runs/before``."""
    return isinstance(node, Mapping) and inner is not Any and fields.fits(value, inner)


def _named(old: Any, value: Any) -> Any:
    """A model or an encoder asked for by its name."""
    if isinstance(old, nn.Module) and isinstance(value, str):
        if hasattr(old, "num_classes"):
            return models.create(value, num_classes=old.num_classes)
        return models.encoder_like(old, value)
    return value


def _converted(value: Any, hint: Any, dotted: str) -> Any:
    """``value`` as the type of its field; ints become floats where a float is wanted."""
    candidates: list[Any] = []
    if type(value) is int and abs(value) < 2**53 and hint is not Any:
        candidates.append(float(value))
    if isinstance(value, tuple | list):
        candidates.append(tuple(float(v) if type(v) is int else v for v in value))
        candidates.append(tuple(value))
    candidates.append(value)
    for candidate in candidates:
        if fields.fits(candidate, hint):
            return candidate
    raise fields.misfit(dotted, value, hint)
