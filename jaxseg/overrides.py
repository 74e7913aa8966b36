"""What is typed after a command: ``a.b.c=value``, in a graph of dataclasses, modules and dicts."""

import ast
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn

from jaxseg import encoders, fields, models
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
    return _replaced(experiment, dotted.split("."), value, dotted)


def _replaced(node: Any, path: list[str], value: Any, dotted: str) -> Any:
    name, rest = path[0], path[1:]
    if isinstance(node, Mapping):
        known = list(node)
    elif dataclasses.is_dataclass(node):
        known = fields.configurable(type(node))
    else:
        what = "None" if node is None else f"a {type(node).__name__}"
        raise UserError(
            f"{dotted}: what stands before {name!r} is {what} and has no field {name!r}"
        )
    if name not in known:
        raise unknown(f"{dotted}: unknown name", name, known)
    old = node[name] if isinstance(node, Mapping) else getattr(node, name)
    if rest:
        new = _replaced(old, rest, value, dotted)
    elif isinstance(node, Mapping):
        new = _converted(value, type(old), dotted)
    else:
        new = _converted(_named(old, value), fields.hints(type(node))[name], dotted)
    if isinstance(node, Mapping):
        return {**node, name: new}
    try:
        return dataclasses.replace(node, **{name: new})  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError) as error:
        raise UserError(f"{dotted}={value!r}: {first_line(error)}") from error


def _named(old: Any, value: Any) -> Any:
    """A model or an encoder asked for by its name."""
    if isinstance(old, nn.Module) and isinstance(value, str):
        if hasattr(old, "num_classes"):
            return models.create(value, num_classes=old.num_classes)
        return encoders.create(value)
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
