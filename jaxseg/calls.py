"""Objects as they are typed: ``SGD(learning_rate=Poly(peak=0.1))``, read and written.

What is read is a tree of calls of known classes with literals, and is never evaluated.
"""

import ast
import dataclasses
import inspect
import json
import typing
from collections.abc import Iterator, Mapping, Sequence
from types import UnionType
from typing import Any

import flax.linen as nn

from jaxseg import classes, fields, models
from jaxseg.errors import UserError, first_line, unknown

Known = Mapping[str, type]


def read(text: str, hint: Any, dotted: str, known: Known, old: Any = None) -> Any:
    """What a text means in a field of the type ``hint`` that holds ``old``.

    A Python literal; a class of ``known`` that may stand there, called or by its name alone; the
    name of a network or an encoder where there is one; or else the text itself. Raises UserError
    that begins with ``dotted`` for what is none of these and for a value of another type.
    """
    try:
        literal = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        node = _expression(text)
    else:
        if not isinstance(literal, str) or fields.fits(literal, hint) or not is_tree(literal):
            return converted(_named(old, literal), hint, dotted)
        text, node = literal, _expression(literal)  # quoted twice
    if node is None or (not _name(node) and _is_text(text, hint)):
        return converted(_named(old, text), hint, dotted)
    return _value(node, text, hint, dotted, known, old)


def is_tree(text: str) -> bool:
    """Whether a text reads as a class, called or not, or as what holds calls."""
    return _expression(text) is not None


def _expression(text: str) -> ast.expr | None:
    """The text's syntax where it can be a tree of calls: a name, a call, or what holds calls."""
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    holds = isinstance(node, ast.Tuple | ast.List | ast.Dict)
    if _name(node) or (holds and any(isinstance(part, ast.Call) for part in ast.walk(node))):
        return node
    return None


def _name(node: ast.expr) -> str:
    """The name in a name or in its call, as ``losses.Focal``; "" of anything else."""
    if isinstance(node, ast.Call):
        return "" if isinstance(node.func, ast.Call) else _name(node.func)
    if isinstance(node, ast.Attribute):
        before = "" if isinstance(node.value, ast.Call) else _name(node.value)
        return f"{before}.{node.attr}" if before else ""
    return node.id if isinstance(node, ast.Name) else ""


def _is_text(text: str, hint: Any) -> bool:
    """Whether the text itself fits a field, of which more is known than that it holds something."""
    return hint is not Any and fields.fits(text, hint)


def _value(node: ast.expr, text: str, hint: Any, dotted: str, known: Known, old: Any) -> Any:
    """The value of a node of the tree, as the type of its field."""
    name = _name(node)
    if name:
        value = _of_name(node, name, text, hint, dotted, known, old)
    elif isinstance(node, ast.Tuple | ast.List):
        value = tuple(
            _value(one, ast.unparse(one), _item(hint, number), dotted, known, None)
            for number, one in enumerate(node.elts)
        )
    elif isinstance(node, ast.Dict):
        keys = [_literal(key, dotted) for key in node.keys]
        inner = _item(hint, 1)
        value = {
            key: _value(one, ast.unparse(one), inner, f"{dotted}.{key}", known, None)
            for key, one in zip(keys, node.values, strict=True)
        }
    else:
        value = _named(old, _literal(node, dotted))
    return converted(value, hint, dotted)


def _literal(node: ast.expr | None, dotted: str) -> Any:
    try:
        if node is not None:
            return ast.literal_eval(node)
    except (ValueError, TypeError, MemoryError, RecursionError):
        pass
    shown = "**" if node is None else ast.unparse(node)
    raise UserError(f"{dotted}: {shown[:60]} is neither a literal nor a class with its fields")


def _of_name(
    node: ast.expr, name: str, text: str, hint: Any, dotted: str, known: Known, old: Any
) -> Any:
    """The object of a class by name, the network or encoder of that name, or the text."""
    found = classes.called(name, known)
    fitting = {long: cls for long, cls in found.items() if _may_stand(cls, hint)}
    call = isinstance(node, ast.Call)
    if not fitting and (not call or _is_text(text, hint)):
        value = _named(old, text)
        replaces = hint is Any and fields.is_object(old)  # no word can stand for an object
        if value is not text or (fields.fits(text, hint) and not replaces):
            return value
        others = _candidates(hint, old, known)
        if others:
            raise unknown(f"{dotted}: no class is called", name, others)
        return value
    found = fitting or found
    if not found:
        raise unknown(f"{dotted}: no class is called", name, _candidates(hint, old, known))
    if len(found) > 1:
        these = " and ".join(long.replace(":", ".") for long in found)
        raise UserError(f"{dotted}: {name} is the name of {these}; write the one that is meant")
    (cls,) = found.values()
    return _object(cls, node if isinstance(node, ast.Call) else None, dotted, known)


def _arguments(cls: type, call: ast.Call, dotted: str) -> Iterator[tuple[str, ast.expr]]:
    """The names and values of a call; those without a name are the first fields in their order."""
    keyed = {f.name for f in dataclasses.fields(cls) if f.kw_only}  # pyright: ignore
    names = [name for name in fields.configurable(cls) if name not in keyed]
    if len(call.args) > len(names):
        shown = ", ".join(f"{name}=..." for name in fields.configurable(cls))
        raise UserError(
            f"{dotted}: {cls.__name__} takes {len(names)} fields without a name; write "
            f"{cls.__name__}({shown})"
        )
    yield from zip(names, call.args, strict=False)
    for keyword in call.keywords:
        yield keyword.arg or "**", keyword.value


def _object(cls: type, call: ast.Call | None, dotted: str, known: Known) -> Any:
    """An object of a class with the fields of the call, or with none."""
    names, hints, title = fields.configurable(cls), fields.hints(cls), cls.__name__
    given: dict[str, Any] = {}
    texts: dict[str, str] = {}
    for name, value in _arguments(cls, call, dotted) if call else ():
        text = ast.unparse(value)
        if name not in names:
            raise unknown(f"{dotted}: {title} has no field", name, names)
        if name in given:
            raise UserError(f"{dotted}: {title} is given {name} twice; keep one")
        inside, old = f"{dotted}.{name}", default(cls, name)
        given[name] = _value(value, text, hints[name], inside, known, old)
        texts[name] = text
    missing = [name for name in names if name not in given and default(cls, name) is NOTHING]
    if missing:
        texts |= dict.fromkeys(missing, "...")
        shown = ", ".join(f"{name}={texts[name]}" for name in names if name in texts)
        raise UserError(f"{dotted}: {title} needs {', '.join(missing)}; write {title}({shown})")
    try:
        return cls(**given)
    except (TypeError, ValueError) as error:
        raise UserError(f"{dotted}: {title}: {first_line(error)}") from error


NOTHING = object()
"""The default of a field that has none."""


def default(cls: type, name: str) -> Any:
    """What a field holds that is not given; `NOTHING` where it must be."""
    field = next(f for f in dataclasses.fields(cls) if f.name == name)
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return NOTHING if field.default is dataclasses.MISSING else field.default


def _item(hint: Any, number: int) -> Any:
    """The type of an item of a tuple, or with number 1 of the values of a mapping."""
    if typing.get_origin(hint) in (typing.Union, UnionType):
        inner = [_item(one, number) for one in typing.get_args(hint)]
        return next((one for one in inner if one is not Any), Any)
    given = typing.get_args(hint)
    if typing.get_origin(hint) is tuple and given[-1] is Ellipsis:
        return given[0]
    kept = typing.get_origin(hint) in (tuple, Mapping) and number < len(given)
    return given[number] if kept else Any


def _candidates(hint: Any, old: Any, known: Known) -> list[str]:
    """The classes that may stand in a field; if its type is open, those of the old one's home."""
    home = ""
    if hint is Any and fields.is_object(old):
        home = classes.name_of(type(old)).rpartition(".")[0]
    fine = [
        cls
        for name, cls in known.items()
        if _may_stand(cls, hint) and (name.startswith(f"{home}.") or ":" in name or not home)
    ]
    return sorted(classes.short(cls, known) for cls in fine)


def _may_stand(cls: type, hint: Any) -> bool:
    """Whether objects of a class can be of a type; of a protocol by its members' names."""
    if typing.get_origin(hint) in (typing.Union, UnionType):
        return any(_may_stand(cls, one) for one in typing.get_args(hint))
    if hint is Any:
        return True
    if not inspect.isclass(hint):
        return False
    if not getattr(hint, "_is_protocol", False):
        return issubclass(cls, hint)
    members = [m for m in vars(hint) if m == "__call__" or not m.startswith("_")]
    there = {*fields.configurable(cls), *(m for base in cls.__mro__ for m in vars(base))}
    return there.issuperset(members)


def _named(old: Any, value: Any) -> Any:
    """A model or an encoder asked for by its name."""
    if isinstance(old, nn.Module) and isinstance(value, str):
        if hasattr(old, "num_classes"):
            return models.create(value, num_classes=old.num_classes)
        return models.encoder_like(old, value)
    return value


def converted(value: Any, hint: Any, dotted: str) -> Any:
    """``value`` as the type of its field; ints become floats where a float is wanted."""
    candidates: list[Any] = []
    if type(value) is int and abs(value) < 2**53 and hint is not Any:
        candidates.append(float(value))
    if isinstance(value, tuple | list):
        candidates.append(tuple(_with_floats(v) if isinstance(v, tuple) else v for v in value))
        candidates.append(_with_floats(value))
        candidates.append(tuple(value))
    candidates.append(value)
    for candidate in candidates:
        if fields.fits(candidate, hint):
            return candidate
    raise fields.misfit(dotted, value, hint)


# --- writing --------------------------------------------------------------------------------------


def written(value: Any, known: Known) -> str:
    """A value as Python: of objects the fields that are not as by default."""
    if isinstance(value, tuple):
        inner = ", ".join(written(one, known) for one in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, Mapping):
        items = (f"{written(key, known)}: {written(x, known)}" for key, x in value.items())
        return f"{{{', '.join(items)}}}"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)  # a shell's quotes are the other ones
    if not fields.is_object(value):
        return repr(value)
    cls = type(value)
    given = {n: v for n, v in fields.children(value).items() if default(cls, n) != v}
    inner = ", ".join(f"{name}={written(one, known)}" for name, one in given.items())
    return f"{classes.short(cls, known)}({inner})"


def _with_floats(values: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(float(value) if type(value) is int else value for value in values)
