"""The fields of frozen objects: which of them configure, what fits them, how a message says it.

A class's type hints are the one description of what its fields hold; everything that reads a value
from outside (a config, an override, JSON) is held to them here.
"""

import dataclasses
import functools
import math
import re
import types
import typing
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
from beartype.door import is_bearable

from jaxseg.errors import UserError, require


@functools.cache
def hints(cls: type) -> dict[str, Any]:
    """The types of a class's fields, by name."""
    return typing.get_type_hints(cls)


def configurable(cls: type) -> list[str]:
    """The names of the fields that configure; those of Linen's own machinery are left out."""
    linen = ("parent", "name") if issubclass(cls, nn.Module) else ()
    return [f.name for f in dataclasses.fields(cls) if f.init and f.name not in linen]


def is_class(cls: Any) -> bool:
    """Whether a value is a class of objects with fields: a dataclass or a module."""
    return isinstance(cls, type) and dataclasses.is_dataclass(cls)


def is_object(node: Any) -> bool:
    """Whether a value is an object of fields, and no class itself."""
    return dataclasses.is_dataclass(node) and not isinstance(node, type)


def children(node: Any) -> dict[str, Any]:
    """The values below a node of an object graph, by name: fields, or the items of what holds."""
    if isinstance(node, Mapping):
        return dict(node)
    if isinstance(node, tuple):
        return {str(number): item for number, item in enumerate(node)}
    if is_object(node):
        return {name: getattr(node, name) for name in configurable(type(node))}
    return {}


def classes_in(node: Any) -> set[type]:
    """The classes of all objects of a graph."""
    own = {type(node)} if is_object(node) else set()
    return own.union(*(classes_in(child) for child in children(node).values()))


def check(node: Any, dotted: str = "") -> None:
    """Refuse an object graph with a value that is not of its field's type, to the last leaf."""
    if is_object(node):
        check_own(node, dotted)
    for name, value in children(node).items():
        check(value, f"{dotted}{name}.")


def check_own(node: Any, dotted: str = "") -> None:
    """Refuse one object with a value that is not of its field's type."""
    wanted = hints(type(node))
    for name, value in children(node).items():
        if not fits(value, wanted[name]):
            raise misfit(f"{dotted}{name}", value, wanted[name])
    if isinstance(node, nn.Module):
        _check_sizes(node, dotted)


SIZES = ("width", "widths", "reduction", "heads", "scales", "bins", "rates")
"""How the fields of networks end that hold sizes, each at least 1, or some of them."""


def _check_sizes(module: nn.Module, dotted: str) -> None:
    """Refuse sizes below 1, and counts below 0; what a class has by default is always right."""
    for name, value in children(module).items():
        default = getattr(type(module), name, None)
        if value == default:
            continue
        size = name.rpartition("_")[2] in SIZES
        numbers = value if isinstance(value, tuple) else (value,)
        if not all(isinstance(n, int) for n in numbers):
            continue
        if size:
            held = bool(numbers) and min(numbers) >= 1
            require(held, f"{dotted}{name}", value, "at least 1" if numbers != () else _SOME)
        elif not (isinstance(default, int) and default < 0):  # a place, counted from the end
            require(min(numbers, default=0) >= 0, f"{dotted}{name}", value, "at least 0")


_SOME = "one number or more, each at least 1"


def fits(value: Any, hint: Any) -> bool:
    """Whether a value has the type, to its last element; an int does for a float, a bool not."""
    origin, given = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, one) for one in given)
    if origin is tuple and isinstance(value, tuple):
        wanted = given[:1] * len(value) if given[-1] is Ellipsis else given
        return len(value) == len(wanted) and all(map(fits, value, wanted))
    if origin is Mapping and isinstance(value, Mapping):
        return all(fits(k, given[0]) and fits(v, given[1]) for k, v in value.items())
    if hint in (int, float) and isinstance(value, bool):
        return False
    if hint is float and isinstance(value, int | float):
        return math.isfinite(value)
    # A class has the attributes of its objects: `Dice` where `Dice()` is meant.
    return hint is Any or (not isinstance(value, type) and is_bearable(value, hint))


def misfit(name: str, value: Any, hint: Any) -> UserError:
    """The error for a value that does not fit; of a mapping, for its first item that does not."""
    if typing.get_origin(hint) is Mapping and isinstance(value, Mapping):
        inner = typing.get_args(hint)[1]
        for key, item in value.items():
            if isinstance(key, str) and not fits(item, inner):
                return misfit(f"{name}.{key}", item, inner)
    shown = " ".join(repr(value).split())
    expected = spelt(hint)
    if isinstance(value, type) and is_class(value):
        expected = f"an object, {value.__name__}(...)"
    elif isinstance(value, float) and not math.isfinite(value):
        expected = "a finite number"
    shown = shown if len(shown) < 60 else f"{shown[:60]}..."
    return UserError(f"{name}={shown}: expected {expected}")


def spelt(hint: Any) -> str:
    """A type as messages say it, without the names of modules."""
    if isinstance(hint, type) and not typing.get_args(hint):
        return hint.__name__
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", str(hint)).replace("NoneType", "None")
