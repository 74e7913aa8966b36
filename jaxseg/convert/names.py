"""From a key of a ``state_dict`` to the place and the layout of a parameter of ours, and back."""

import re
from collections.abc import Sequence

import flax.linen as nn
import numpy as np

PREFIX = {
    "junfu1115/DANet": "pretrained",
    "segmentation_models_pytorch": "encoder",
    "torchvision": "backbone",
}
"""What a library calls the encoder of a network."""

LEAVES = {"running_mean": "mean", "running_var": "var", "bias": "bias"}

Table = Sequence[tuple[str, str]]
"""The pairs of one library in a ``names`` of `jaxseg.types.Names`."""


def names_of(model: nn.Module, library: str) -> list[tuple[str, str]]:
    """The network's table, and behind it its encoder's at the peer's place of an encoder.

    ``library`` may be a module of it, such as "torchvision.models.segmentation". An encoder that
    has no table of the library's own is called as torchvision calls it.
    """
    library = library.split(".")[0]
    names = list(getattr(model, "names", {}).get(library, ()))
    of_encoder = getattr(getattr(model, "encoder", None), "names", {})
    prefix = PREFIX.get(library, "encoder")
    for pattern, name in of_encoder.get(library) or of_encoder.get("torchvision", ()):
        names.append((rf"{prefix}\.(?:{pattern})", f"encoder.{name}"))
    return names


def place(key: str, shape: Sequence[int], names: Table) -> tuple[str, ...]:
    """Where a key of the ``state_dict`` stands in our variables, the collection first.

    The first pattern that fits the whole place says where its module is; a module of a convolution
    or a norm gets ``conv`` or ``norm`` below it, unless the name ends in ``!`` or ``~``, or in the
    leaf itself after an ``@``.
    """
    leaf, ours = key.rsplit(".", 1)[1], _named(key, names)
    if "@" in ours:
        ours, leaf = ours.split("@")
        return ("params", *ours.split("."), leaf)
    kind = "batch_stats" if leaf.startswith("running") else "params"
    leaf = LEAVES.get(leaf) or ("kernel" if len(shape) > 1 else "scale")
    part = [] if ours.endswith(("!", "~")) else ["conv" if leaf == "kernel" else "norm"]
    return (kind, *ours.rstrip("!~").split("."), *part, leaf)


def laid_out(value: np.ndarray, key: str, names: Table) -> np.ndarray:
    """A peer's ``[out in *kernel]`` as our ``[*kernel in out]``; ``~`` has [in out] there."""
    if value.ndim < 2:
        return value
    channels = (0, 1) if _named(key, names).endswith("~") else (1, 0)
    return value.transpose(*range(2, value.ndim), *channels)


def laid_back(value: np.ndarray, key: str, shape: Sequence[int], names: Table) -> np.ndarray:
    """Ours in the layout of the peer's ``shape``: `laid_out` the other way.

    A linear layer there may be a convolution of one tap here.
    """
    if len(shape) < 2:
        return value.reshape(shape)
    rank = len(shape) - 2
    value = value.reshape(value.shape[value.ndim - len(shape) :])
    turned = _named(key, names).endswith("~")
    channels = (rank, rank + 1) if turned else (rank + 1, rank)
    value = value.transpose(*channels, *range(rank))
    if value.shape != tuple(shape):
        raise ValueError(f"{key}: {value.shape} here, {tuple(shape)} there")
    return value


def _named(key: str, names: Table) -> str:
    where = key.rsplit(".", 1)[0]
    return next((re.sub(f"^{p}$", n, where) for p, n in names if re.fullmatch(p, where)), where)
