"""Weights of a backbone alone, as the field's ImageNet files are, for an encoder of ours."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import flax.traverse_util
import numpy as np

from jaxseg.convert.names import Table, laid_out, place
from jaxseg.convert.weights import COUNTER, Place, fitted, missing, prefix_of, shapes_of
from jaxseg.encoders import Cut
from jaxseg.errors import FEW, Problem, UserError, refused


def encoder_weights(
    encoder: nn.Module, state_dict: Mapping[str, Any], rank: int = 2
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The encoder's variables, and the keys that are none of its own, such as a classifier's.

    The library is the one of the encoder's ``names`` that the keys fit. The first kernel keeps the
    number of channels that it has in the file; every other array has the encoder's shape.
    UserError, all in one line, for what is missing, of another shape, no floats or not finite; and
    for weights of a deeper or another network, of which the encoder's are a part.
    """
    tables: Mapping[str, Table] = getattr(encoder, "names", {})
    if not tables:
        raise UserError(f"no PyTorch weights of {type(encoder).__name__} are known")
    tried = {name: _tried(encoder, state_dict, table, rank) for name, table in tables.items()}
    name = min(tried, key=lambda name: len(tried[name][2]))
    found, over, wrong = tried[name]
    if wrong and (before := prefix_of(state_dict, shapes_of(encoder, 3, rank), tables[name])):
        take = before.removesuffix(".")
        raise UserError(
            f'the keys begin with {before!r}: say take="{take}" (prefix={before!r} of '
            "jaxseg.convert.read)"
        )
    if wrong:
        raise refused(f"the weights do not fit {type(encoder).__name__} by {name}'s names: ", wrong)
    _refuse_deeper(encoder, state_dict, over, tables[name], rank)
    return flax.traverse_util.unflatten_dict(found), tuple(over)


def _tried(
    encoder: nn.Module, state_dict: Mapping[str, Any], names: Table, rank: int
) -> tuple[dict[Place, np.ndarray], list[str], list[Problem]]:
    """What has a place by these names, what has none, and what is wrong."""
    arrays = {key: np.asarray(value) for key, value in state_dict.items()}
    keys = [key for key in arrays if "." in key and key.rpartition(".")[2] != COUNTER]
    places = {key: place(key, arrays[key].shape, names) for key in keys}
    shapes = shapes_of(encoder, _channels(encoder, arrays, places, names, rank), rank)
    found: dict[Place, np.ndarray] = {}
    over: list[str] = []
    wrong: list[Problem] = []
    for key, value in arrays.items():
        at = places.get(key)
        if at in shapes:
            found[at], misfit = fitted(key, value, shapes[at], names)
            wrong += misfit
        elif key.rpartition(".")[2] != COUNTER:
            over.append(key)
    wrong += [missing(at, shape, names) for at, shape in shapes.items() if at not in found]
    return found, over, wrong


def _refuse_deeper(
    encoder: nn.Module, state_dict: Mapping[str, Any], over: list[str], names: Table, rank: int
) -> None:
    """Refuse weights that are left over in modules of which the encoder took some.

    Of ResNet-34's, ResNet-18 would take half the blocks, which compute nothing without the others.
    A classifier, a decoder and a head are modules of their own, in every library.
    """
    used = [key for key in state_dict if key not in over and key.rpartition(".")[2] != COUNTER]
    modules = {key.partition(".")[0] for key in used}
    inside = [key for key in over if key.partition(".")[0] in modules]
    if inside and isinstance(encoder, Cut):  # the stages that were cut off are in the whole's file
        shapes = shapes_of(encoder.clone(deeper="kept"), 3, rank)
        places = {key: place(key, np.shape(state_dict[key]), names) for key in inside}
        inside = [key for key in inside if places[key] not in shapes]
    if inside:
        of = sorted({key.partition(".")[0] for key in inside})
        more = ", ..." if len(inside) > FEW else ""
        raise UserError(
            f"holds {len(inside)} more weights of {', '.join(of)} than {type(encoder).__name__} "
            f"takes ({', '.join(inside[:FEW])}{more}): another network's"
        )


def _channels(
    encoder: nn.Module,
    arrays: Mapping[str, np.ndarray],
    places: Mapping[str, Place],
    names: Table,
    rank: int,
) -> int:
    """Channels of the image that the file's first kernel is for; 3 where nothing says another."""
    shapes = shapes_of(encoder, 3, rank)
    for key, at in places.items():
        here, there = shapes.get(at), laid_out(arrays[key], key, names).shape
        if here and len(here) > 2 and here != there and here[-2] == 3:
            if (*here[:-2], here[-1]) == (*there[:-2], there[-1]):
                return there[-2]
    return 3
