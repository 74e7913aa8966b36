"""Peers' networks, rebuilt from records of them.

A record holds no weights: those of a key of the peer's ``state_dict`` are drawn from a generator
whose seed is the key. The table of names that leads from the peer's keys to our parameters is
``names`` of the network, and that of its encoder is the encoder's. All else is here.
"""

import json
import math
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg import cost
from jaxseg.convert import laid_out, names_of, place
from jaxseg.ops import resize
from tests.golden.weights import weight

RECORDS = zipfile.Path(Path(__file__).parents[1] / "golden" / "records.zip")
"""The records of the founders, and of make_smp.py beside them: a folder of JSON files."""


def check(
    golden: Path | zipfile.Path,
    record: str,
    model: Any,
    names: Sequence[tuple[str, str]] | None = None,
    *,
    tolerance: float = 1e-3,
) -> None:
    """Hold a network to a peer's record: parameters, every weight used, outputs to 1e-3 std.

    ``names`` None are those of the network. A peer's auxiliary logits (``aux``) are of the image's
    size; ours are resized to it as the peer resizes its own. ``tolerance`` is 1e-3 unless the
    record itself is farther than that from what the peer gives in float64.
    """
    check_known(json.loads((golden / f"{record}.json").read_text()), model, names, tolerance)


def check_known(
    known: Mapping[str, Any],
    model: Any,
    names: Sequence[tuple[str, str]] | None = None,
    tolerance: float = 1e-3,
) -> None:
    """Hold a network to a record that is read already: see `check`."""
    b, c, *spatial = known["input"]["shape"]
    image = jax.ShapeDtypeStruct((b, *spatial, c), jnp.float32)
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image)
    keys = [(k, s) for k, s in known["state_dict"] if not k.endswith("num_batches_tracked")]
    assert cost.parameters(variables) == known["parameters"]
    names = names_of(model, known["library"]) if names is None else names
    theirs = {place(k, s, names): (k, s) for k, s in keys}
    assert len(theirs) == len(keys), "two of the peer's keys have one place here"

    def fill(entries: Any, leaf: Any) -> jax.Array:
        key, shape = theirs.pop(tuple(entry.key for entry in entries))
        value = laid_out(weight(key, shape), key, names)
        if value.ndim == 2:  # a linear layer, which is a 1x1 convolution here
            value = value.reshape(*(1,) * (leaf.ndim - 2), *value.shape)
        assert value.shape == leaf.shape, entries
        return jnp.asarray(value)

    filled = jax.tree_util.tree_map_with_path(fill, variables)
    assert not theirs, f"weights of the peer without a place here: {sorted(theirs)[:3]}"

    check_outputs(known, model, filled, tolerance)


def check_outputs(
    known: Mapping[str, Any], model: Any, variables: Any, tolerance: float = 1e-3
) -> None:
    """Hold what a network computes of a record's image to the record's outputs."""
    shape, seed = known["input"]["shape"], known["input"]["seed"]
    image = np.random.RandomState(seed).standard_normal(shape).astype("f4")
    image = jnp.asarray(np.moveaxis(image, 1, -1))

    @jax.jit
    def run(variables: Any, image: jax.Array) -> dict[str, jax.Array]:
        prediction = model.apply(variables, image, train=False)
        if isinstance(prediction, jax.Array):  # scores of the image as a whole
            return {"out": prediction}
        auxiliary = [resize(a, image.shape[1:-1], "linear") for a in prediction.auxiliary]
        return {"out": prediction.logits} | dict(zip(["aux"], auxiliary, strict=False))

    outputs = run(variables, image)
    for name, out in known["outputs"].items():
        alone = len(known["outputs"]) == 1  # whatever the record calls it
        ours = np.moveaxis(np.asarray(outputs["out" if alone else name]), -1, 1)
        assert list(ours.shape) == out["shape"], name
        ours = ours.reshape(-1)[out["indices"]]
        assert abs(ours - np.array(out["values"])).max() <= tolerance * out["std"], name


# --- fingerprints ---------------------------------------------------------------------------------


def by_formula(key: str, shape: Sequence[int], number: int) -> np.ndarray:
    """The weights of the ``number``-th key of a network that a fingerprint speaks of."""
    angle = 0.37 * np.arange(math.prod(shape)) + number
    if key.endswith("running_var"):
        r = 1 + 0.2 * np.cos(angle) ** 2
    elif key.endswith("running_mean"):
        r = 0.1 * np.sin(angle)
    elif len(shape) > 1:
        r = math.sqrt(3 * shape[0] / math.prod(shape)) * np.cos(angle)
    else:
        r = 0.1 * np.cos(angle) + 0.5 * key.endswith("weight")
    return r.reshape(shape).astype("f4")


def check_fingerprint(
    facts: Path,
    name: str,
    model: Any,
    names: Sequence[tuple[str, str]],
    *,
    tolerance: float = 1e-3,
    never_run: str = "",
    finest_first: bool = False,
) -> None:
    """Hold a network's outputs, the finest last or first, to ``outputs-medical.json``.

    The error is at most ``tolerance`` times the deviation of the peer's output. ``never_run`` is a
    pattern of keys that the peer has and never uses: they have no place here.
    """
    known = json.loads((facts / "outputs-medical.json").read_text())[name]
    keys = json.loads((facts / "keys" / f"{name.replace('/', '__')}.json").read_text())
    shape = known["inputs"][0]
    at = np.arange(math.prod(shape))
    image = (np.sin(0.01 * at) + 0.5 * np.cos(0.37 * at)).reshape(shape).astype("f4")
    image = jnp.asarray(np.moveaxis(image, 1, -1))
    filled: dict[str, Any] = {}
    unused = 0
    for number, (key, shape) in enumerate(keys):
        if re.fullmatch(never_run, key):
            unused += 0 if "running" in key else math.prod(shape)
            continue
        *folders, leaf = place(key, shape, names)
        node = filled
        for folder in folders:
            node = node.setdefault(folder, {})
        node[leaf] = laid_out(by_formula(key, shape, number), key, names)
    wanted = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image)
    filled = jax.tree.map(_as_convolution, filled, wanted)
    assert jax.tree.map(jnp.shape, filled) == jax.tree.map(jnp.shape, wanted)
    assert cost.parameters(wanted) == known["params"] - unused
    prediction = jax.jit(lambda v, x: model.apply(v, x, train=False))(filled, image)
    outputs = (prediction.logits, *prediction.auxiliary)
    outputs = outputs if finest_first else outputs[::-1]
    for ours, theirs in zip(outputs, known["outputs"], strict=True):
        flat = np.moveaxis(np.asarray(ours, "f8"), -1, 1).reshape(-1)
        check_output(flat, theirs, tolerance)


def _as_convolution(value: np.ndarray, wanted: Any) -> np.ndarray:
    """A linear layer of theirs as the 1x1 convolution that it is here."""
    linear = value.ndim == 2 < wanted.ndim
    return value.reshape(*(1,) * (wanted.ndim - 2), *value.shape) if linear else value


def check_output(flat: np.ndarray, known: dict[str, Any], tolerance: float) -> None:
    """Hold an output, flattened in the peer's order, to its fingerprint."""
    middle = len(flat) // 2
    parts = {"first8": flat[:8], "mid4": flat[middle : middle + 4], "last4": flat[-4:]}
    for part, numbers in parts.items():
        off = abs(numbers - np.array(known[part])).max()
        assert off <= tolerance * known["std"], (part, off, known["std"])
    assert abs(flat.mean() - known["mean"]) <= tolerance * known["std"]
    assert abs(flat.std() - known["std"]) <= tolerance * known["std"]
