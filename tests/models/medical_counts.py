"""Networks held to the counts of peers' networks for medical images; nothing is compiled."""

import functools
import json
from pathlib import Path
from typing import Any
from unittest import mock

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg import cost


@functools.cache
def counts(facts: Path) -> dict[str, Any]:
    """What was counted, by the peer's name."""
    return json.loads((facts / "counts-medical.json").read_text())


def check_cost(
    facts: Path, key: str, model: nn.Module, *, never_run: int = 0, twice: int = 0
) -> None:
    """Hold a network's parameters, and its MACs where they were counted, to those of ``key``.

    Keras counts running moments as parameters; there, those that are trained are compared. The
    peer has ``never_run`` parameters without a part in its output, and ``twice`` MACs that repeat
    what it has computed already.
    """
    known = counts(facts)[key]
    keras = "Keras" in known["source"] or "trainable" in known
    batch, *shape = known["input"]
    *space, channels = shape if keras else (*shape[1:], shape[0])
    x = jax.ShapeDtypeStruct((batch, *space, channels), jnp.float32)
    # of a choice by platform `cost` counts the plain form: the others need not be traced
    with mock.patch("jax.lax.platform_dependent", _plain):
        found = cost.counted(model, x)
    assert found["parameters"] == known.get("trainable", known["params"]) - never_run
    if known["macs"]:
        assert found["macs"] == known["macs"] - twice


def _plain(*args: Any, default: Any, **others: Any) -> Any:
    del others
    return default(*args)
