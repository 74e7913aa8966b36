"""The numbers of a peer's ``state_dict`` in the variables of a network of ours, and back."""

import collections
import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import flax.traverse_util
import jax
import numpy as np

from jaxseg.convert.names import (
    Table,
    is_passed_over,
    key_of,
    keys_of,
    laid_back,
    laid_out,
    place,
    repeats,
)
from jaxseg.errors import Problem, UserError, refused
from jaxseg.types import accepted_size

COUNTER = "num_batches_tracked"
"""How often a norm's statistics were moved, which PyTorch keeps and computes nothing with."""

DEEPEST = 3
"""Names that may stand before all keys, as "module.model.encoder" does."""

SIZE = 64
"""Pixels a side of the image whose trace gives the shapes of parameters."""

FLOATS = ("float16", "bfloat16", "float32", "float64")
"""Numbers that weights are. Of others, such as quantised ones, a scale is missing, or a half."""

Place = tuple[str, ...]


def shapes_of(model: nn.Module, channels: int, rank: int) -> dict[Place, tuple[int, ...]]:
    """Shapes of the network's variables, by place, for images of so many channels."""
    size = accepted_size(model, (SIZE,) * rank)
    image = jax.ShapeDtypeStruct((1, *size, channels), "float32")
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image)
    flat: dict[Place, Any] = flax.traverse_util.flatten_dict(variables)  # pyright: ignore
    return {at: leaf.shape for at, leaf in flat.items()}


def filled(
    shapes: Mapping[Place, tuple[int, ...]], state_dict: Mapping[str, Any], names: Table
) -> dict[str, Any]:
    """Variables of these shapes with the numbers of the ``state_dict``, float32.

    Every key must have a place and every place a key; ``num_batches_tracked`` is passed over, and
    what the table says is never computed with. Of a tensor that the peer lists under several keys
    one will do (safetensors keeps one), and the last counts, as in PyTorch's ``load_state_dict``.
    UserError lists what is missing, unexpected, of another shape, no floats or not finite.
    """
    found: dict[Place, np.ndarray] = {}
    first: dict[Place, str] = {}
    wrong: list[Problem] = []
    for key, value in state_dict.items():
        if key.rpartition(".")[2] == COUNTER or is_passed_over(key, names):
            continue
        value = np.asarray(value)
        at = place(key, value.shape, names) if "." in key else (key,)
        if at not in shapes:
            wrong.append(Problem("unexpected", f"unexpected {key} {value.shape}"))
        elif not repeats(key, names) and first.setdefault(at, key) != key:
            said = f"{key} has the place of another key, {'/'.join(at)}"
            wrong.append(Problem("in one place", said))
        else:
            found[at], misfit = fitted(key, value, shapes[at], names)
            wrong += misfit
    wrong += [missing(at, shapes[at], names) for at in shapes if at not in found]
    if wrong and (before := prefix_of(state_dict, shapes, names)):
        raise UserError(
            f"the keys begin with {before!r}: say --prefix {before} (prefix={before!r} of "
            "jaxseg.convert.read)"
        )
    if wrong:
        raise refused("the weights do not fit: ", wrong)
    return flax.traverse_util.unflatten_dict({at: found[at] for at in shapes})


def prefix_of(
    state_dict: Mapping[str, Any], shapes: Mapping[Place, tuple[int, ...]], names: Table
) -> str:
    """What stands before keys that have places without it, such as "model."; "" where none does.

    It must give half of the places a key, and no key may have a place as it is.
    """
    fitting: collections.Counter[str] = collections.Counter()
    for key, value in state_dict.items():
        parts, shape = key.split("."), np.shape(value)
        for n in range(min(len(parts) - 1, DEEPEST + 1)):
            at = place(".".join(parts[n:]), shape, names)
            if at in shapes and parts[-1] != COUNTER:
                fitting["".join(f"{part}." for part in parts[:n])] += 1
    before, count = max(fitting.items(), key=lambda item: item[1], default=("", 0))
    return before if 2 * count >= len(shapes) and not fitting[""] else ""


def fitted(
    key: str, value: np.ndarray, shape: tuple[int, ...], names: Table
) -> tuple[np.ndarray, list[Problem]]:
    """A key's value in our layout, and what is wrong with it."""
    if value.dtype.name not in FLOATS:
        said = f"{key} holds {value.dtype.name}, where weights are floats"
        return value, [Problem("that are no floats", said)]
    ours = laid_out(value, key, names)
    if len(shape) > 2 and ours.shape == (math.prod(shape[:-1]), shape[-1]):
        ours = ours.reshape(shape)  # a linear layer, which is a convolution here, mostly of one tap
    if ours.shape != shape and not (ours.size == 1 and shape in ((), (1,))):
        wanted = tuple(laid_back(np.empty(shape, bool), key, names).shape)
        said = f"{key} is {value.shape}, where {wanted} belongs"
        return ours, [Problem("of another shape", said)]
    ours = np.array(ours.reshape(shape), np.float32, order="C")
    if np.isfinite(ours).all():
        return ours, []
    return ours, [Problem("not finite", f"{key} holds numbers that are not finite")]


def missing(at: Place, shape: tuple[int, ...], names: Table) -> Problem:
    """What an error says of a parameter that no key has."""
    key = key_of(at, names)
    if key is None:
        return Problem("missing", f"missing: what belongs to {'/'.join(at)} {shape}")
    theirs = tuple(laid_back(np.empty(shape, bool), key, names).shape)
    return Problem("missing", f"missing {key} {theirs}")


def emptied(
    variables: Mapping[str, Any], names: Table
) -> tuple[dict[str, np.ndarray], list[Place]]:
    """A ``state_dict`` of the variables, and the places of which the table says no key.

    A norm's ``num_batches_tracked`` is 0, int64, as of a norm that was never trained.
    """
    found: dict[str, np.ndarray] = {}
    lacking: list[Place] = []
    for at, leaf in flax.traverse_util.flatten_dict(dict(variables)).items():
        keys = keys_of(at, names)
        lacking += [] if keys else [at]
        for key in keys:
            found[key] = np.ascontiguousarray(laid_back(np.asarray(leaf), key, names))
            if key.endswith(".running_mean"):
                found[f"{key.rpartition('.')[0]}.{COUNTER}"] = np.zeros((), np.int64)
    return found, lacking
