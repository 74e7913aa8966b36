"""Activation, dropout and norm as MONAI and PyTorch name them, as an `ADN` of ours.

Each is a name, or a pair of a name and its arguments, as in MONAI.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from jaxseg.convert.built import same
from jaxseg.errors import UserError, require, unknown
from jaxseg.layers import ADN, Activation
from jaxseg.layers.adn import Order

Layer = str | Sequence[Any] | None
"""A name, or a name and its arguments."""


class _Known(NamedTuple):
    """The fields of an `ADN` by a peer's name, and the peer's arguments that change them.

    Arguments without a field must have the value that stands in ``fixed``.
    """

    fields: dict[str, Any]
    arguments: Mapping[str, Callable[[Any], dict[str, Any]]] = {}
    fixed: Mapping[str, tuple[Any, ...]] = {}


def _field(name: str) -> Callable[[Any], dict[str, Any]]:
    return lambda value: {name: value}


def _slopes(count: int) -> dict[str, Any]:
    return {"activation": "prelu_shared" if count == 1 else "prelu"}


def _act(name: Activation, **fixed: Any) -> _Known:
    return _Known({"activation": name}, {}, {"inplace": (True, False), **fixed})


def _ignored(value: Any) -> dict[str, Any]:
    """No field: it is a value that training begins with, and the weights hold another."""
    del value
    return {}


_ACTS: Mapping[str, _Known] = {
    "relu": _act("relu"),
    "relu6": _act("relu6"),
    "leakyrelu": _act("leaky_relu")._replace(
        arguments={"negative_slope": _field("negative_slope")}
    ),
    "prelu": _act("prelu_shared")._replace(arguments={"num_parameters": _slopes, "init": _ignored}),
    "elu": _act("elu", alpha=(1, 1.0)),
    "celu": _act("elu", alpha=(1, 1.0)),  # of alpha 1 these are the same
    "selu": _act("selu"),
    "gelu": _act("gelu", approximate=("none",)),
    "sigmoid": _act("sigmoid"),
    "tanh": _act("tanh"),
    "swish": _act("silu", alpha=(1, 1.0)),
    "memswish": _act("silu"),
    "mish": _act("mish"),
}

_AFFINE = {"eps": _field("epsilon"), "affine": _field("affine")}
_INSTANCE = _Known(
    {"norm": "instance", "affine": False},
    {**_AFFINE, "momentum": _ignored},
    {"track_running_stats": (False,)},
)
_BATCH = _Known(
    {"norm": "batch", "affine": True},
    {**_AFFINE, "momentum": lambda value: {"momentum": 1 - value}},
    {"track_running_stats": (True,)},
)

_NORMS: Mapping[str, _Known] = {
    "instance": _INSTANCE,
    "instance_nvfuser": _INSTANCE,
    "batch": _BATCH,
    "syncbatch": _BATCH,
    "group": _Known({"norm": "group", "affine": True}, {**_AFFINE, "num_groups": _field("groups")}),
}

_DROPOUTS: Mapping[str, _Known] = {
    "dropout": _Known({"dropout": 0.5}, {"p": _field("dropout")}, {"inplace": (True, False)})
}


def adn(act: Layer, norm: Layer, dropout: Any, ordering: str = "NDA") -> ADN:
    """What MONAI's ``ADN`` of these arguments computes. UserError names what ours does not."""
    order = "".join(dict.fromkeys(ordering.upper()))
    require(set(order) <= set("NDA"), "adn_ordering", ordering, "of the letters N, D and A")
    if not isinstance(dropout, str | Sequence) and dropout is not None:
        dropout = ("dropout", {"p": float(dropout)})
    fields: dict[str, Any] = {"activation": "none", "norm": "none"}
    for letter, option, given, known in (
        ("A", "act", act, _ACTS),
        ("N", "norm", norm, _NORMS),
        ("D", "dropout", dropout, _DROPOUTS),
    ):
        if letter in order and given is not None and given != "":
            fields |= _fields(option, given, known)
    whole: Order = order + "".join(sorted(set("NDA") - set(order)))  # pyright: ignore
    return ADN(order=whole, **fields)


def _fields(option: str, given: Any, known: Mapping[str, _Known]) -> dict[str, Any]:
    pair = (given, {}) if isinstance(given, str) else tuple(given)
    fits = len(pair) == 2 and isinstance(pair[0], str) and isinstance(pair[1], Mapping)
    require(fits, option, given, "a name, or a name and its arguments")
    name, arguments = pair[0].lower(), pair[1]
    if name not in known:
        raise unknown(f"{option}: nothing is here that is called", name, known)
    one = known[name]
    if name == "group" and "num_groups" not in arguments:
        raise UserError(f"{option}={name!r}: argument 'num_groups' is missing")
    fields = dict(one.fields)
    for argument, value in arguments.items():
        if argument in one.arguments:
            fields |= one.arguments[argument](value)
        elif argument in one.fixed:
            same(f"{option} {name}: {argument}", value, *one.fixed[argument])
        else:
            raise unknown(f"{option} {name} takes no argument", argument, one.arguments)
    return fields
