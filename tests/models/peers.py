"""Peers' networks, rebuilt from the records that the founders' shared folder holds of them.

A record holds no weights: those of a key of the peer's ``state_dict`` are drawn from a generator
whose seed is the key. The table of names that leads from the peer's keys to our parameters is
``names`` of the network, and that of its encoder is the encoder's. All else is here.
"""

import json
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxseg import cost

PREFIX = {"segmentation_models_pytorch": "encoder", "torchvision": "backbone"}
"""What a library calls the encoder of a network."""

LEAVES = {"running_mean": "mean", "running_var": "var", "bias": "bias"}


def weight(key: str, shape: Sequence[int]) -> np.ndarray:
    """The numbers of one key."""
    r = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape)
    if key.endswith("running_mean") or (len(shape) == 1 and key.endswith("bias")):
        r = 0.1 * r
    elif key.endswith("running_var"):
        r = 1 + 0.1 * abs(r)
    else:
        r = r * np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 1 + 0.1 * r
    return r.astype("f4")


def names_of(model: nn.Module, library: str) -> list[tuple[str, str]]:
    """The network's table, and behind it its encoder's at the peer's place of an encoder."""
    library = library.split(".")[0]
    names = list(getattr(model, "names", {}).get(library, ()))
    of_encoder = getattr(getattr(model, "encoder", None), "names", {})
    prefix = PREFIX.get(library, "encoder")
    for pattern, name in of_encoder.get(library) or of_encoder.get("torchvision", ()):
        names.append((rf"{prefix}\.(?:{pattern})", f"encoder.{name}"))
    return names


def place(key: str, shape: Sequence[int], names: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Where a key of the state_dict stands in our variables.

    The first pattern that fits the whole place says where its module is; a module of a convolution
    or a norm gets ``conv`` or ``norm`` below it, unless the name ends in ``!``.
    """
    where, leaf = key.rsplit(".", 1)
    ours = next((re.sub(f"^{p}$", n, where) for p, n in names if re.fullmatch(p, where)), where)
    kind = "batch_stats" if leaf.startswith("running") else "params"
    leaf = LEAVES.get(leaf) or ("kernel" if len(shape) > 1 else "scale")
    part = [] if ours.endswith("!") else ["conv" if leaf == "kernel" else "norm"]
    return (kind, *ours.rstrip("!").split("."), *part, leaf)


def check(golden: Path, record: str, model: Any) -> None:
    """Hold a network to a peer's record: parameters, every weight used, outputs to 1e-3 std."""
    known = json.loads((golden / f"{record}.json").read_text())
    shape, seed = known["input"]["shape"], known["input"]["seed"]
    image = np.random.RandomState(seed).standard_normal(shape).astype("f4")
    image = jnp.asarray(np.moveaxis(image, 1, -1))
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image)
    assert cost.parameters(variables) == known["parameters"]
    keys = [(k, s) for k, s in known["state_dict"] if not k.endswith("num_batches_tracked")]
    names = names_of(model, known["library"])
    theirs = {place(k, s, names): (k, s) for k, s in keys}
    assert len(theirs) == len(keys), "two of the peer's keys have one place here"

    def fill(entries: Any, leaf: Any) -> jax.Array:
        value = weight(*theirs.pop(tuple(entry.key for entry in entries)))
        value = value.transpose(*range(2, value.ndim), 1, 0) if value.ndim > 1 else value
        assert value.shape == leaf.shape, entries
        return jnp.asarray(value)

    filled = jax.tree_util.tree_map_with_path(fill, variables)
    assert not theirs, f"weights of the peer without a place here: {sorted(theirs)[:3]}"
    logits = jax.jit(lambda v, x: model.apply(v, x, train=False).logits)(filled, image)
    out = known["outputs"]["out"]
    ours = np.moveaxis(np.asarray(logits), -1, 1).reshape(-1)[out["indices"]]
    assert abs(ours - np.array(out["values"])).max() <= 1e-3 * out["std"]
