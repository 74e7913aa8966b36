"""Networks held to the counts of peers' networks for medical images; nothing is compiled."""

import functools
import json
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg import cost


@functools.cache
def counts(facts: Path) -> dict[str, Any]:
    """What was counted, by the peer's name."""
    return json.loads((facts / "counts-medical.json").read_text())


def check_cost(facts: Path, key: str, model: nn.Module) -> None:
    """Hold a network's parameters, and its MACs where they were counted, to those of ``key``.

    Keras counts running moments as parameters; there, those that are trained are compared.
    """
    known = counts(facts)[key]
    keras = "Keras" in known["source"] or "trainable" in known
    batch, *shape = known["input"]
    *space, channels = shape if keras else (*shape[1:], shape[0])
    x = jax.ShapeDtypeStruct((batch, *space, channels), jnp.float32)
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), x)
    assert cost.parameters(variables) == known.get("trainable", known["params"])
    if known["macs"]:
        macs = cost.macs(lambda v, x: model.apply(v, x, train=False), variables, x)
        assert macs == known["macs"]
