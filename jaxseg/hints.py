"""Fields that configure, and their type hints: what fits them, and how a message spells them."""

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

from jaxseg.errors import UserError


@functools.cache
def of(cls: type) -> dict[str, Any]:
    """The hints of a class's fields."""
    return typing.get_type_hints(cls)


def fields_of(node: Any) -> list[dataclasses.Field]:
    """The fields that configure: those of Linen's own machinery are left out."""
    return configurable(type(node))


def configurable(cls: type) -> list[dataclasses.Field]:
    """``fields_of`` its objects."""
    linen = ("parent", "name") if issubclass(cls, nn.Module) else ()
    return [f for f in dataclasses.fields(cls) if f.init and f.name not in linen]


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
    """What to say of a value that does not fit; of a dict's, its first item that does not."""
    if typing.get_origin(hint) is Mapping and isinstance(value, Mapping):
        inner = typing.get_args(hint)[1]
        for key, item in value.items():
            if isinstance(key, str) and not fits(item, inner):
                return misfit(f"{name}.{key}", item, inner)
    shown = " ".join(repr(value).split())
    expected = _spelt(hint)
    if isinstance(value, type):
        expected = f"an object, {value.__name__}(...)"
    elif isinstance(value, float) and not math.isfinite(value):
        expected = "a finite number"
    shown = shown if len(shown) < 60 else f"{shown[:60]}..."
    return UserError(f"{name}={shown}: expected {expected}")


def _spelt(hint: Any) -> str:
    if isinstance(hint, type) and not typing.get_args(hint):
        return hint.__name__
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", str(hint)).replace("NoneType", "None")
