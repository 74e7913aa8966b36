"""A record of a peer's network against what `from_torch` makes of its weights, and back."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxseg import cost
from jaxseg.convert import from_torch, names_of, place, to_torch
from tests.models.peers import weight


def check(known: Mapping[str, Any], library: str | None = None) -> None:
    """Parameters and outputs are the peer's, and the weights go back bit for bit.

    The first output of a record that has several is the shallowest head's; of ours those that
    the record does not have are not looked at. ``library`` None is what `to_torch` chooses.
    """
    drawn = {key: drawn_weight(key, shape) for key, shape in known["state_dict"]}
    model, variables = from_torch(known["library"], known["arch"], known["kwargs"], drawn)
    assert cost.parameters(variables) == known["parameters"]
    image = np.random.RandomState(known["input"]["seed"]).standard_normal(known["input"]["shape"])
    image = np.moveaxis(image.astype("f4"), 1, -1)
    outputs = jax.jit(lambda v, x: maps_of(model.apply(v, x, train=False)))(variables, image)
    wanted = known["outputs"].values() if isinstance(known["outputs"], dict) else known["outputs"]
    for ours, out in zip(outputs[-len(wanted) :], wanted, strict=True):
        flat = np.moveaxis(np.asarray(ours), -1, 1).reshape(-1)[out["indices"]]
        assert abs(flat - np.array(out["values"])).max() <= 1e-3 * out["std"]
    check_back(to_torch(model, variables, library), drawn, names_of(model, known["library"]))


def check_back(back: Mapping[str, Any], drawn: Mapping[str, Any], names: Any) -> None:
    """The weights that came back are those that PyTorch has after loading what was drawn.

    Of a tensor that it lists under several keys those are the last one's.
    """
    weights = [key for key in drawn if "." in key and not key.endswith("num_batches_tracked")]
    places = {key: place(key, drawn[key].shape, names) for key in weights}
    last = {places.get(key, key): value for key, value in drawn.items()}
    assert set(back) == set(drawn)
    for key, value in back.items():
        np.testing.assert_array_equal(value, last[places.get(key, key)], key)


def drawn_weight(key: str, shape: list[int]) -> np.ndarray:
    """The record's numbers of a key; norms count no batch."""
    counts = key.endswith("num_batches_tracked")
    return np.zeros((), np.int64) if counts else weight(key, shape)


def maps_of(prediction: Any) -> list[jax.Array]:
    """What a network gives, deepest head last."""
    if isinstance(prediction, jax.Array):
        return [prediction]
    if hasattr(prediction, "logits"):
        return [*reversed(prediction.auxiliary), prediction.logits]
    return list(prediction)
