"""Parameters and MACs are those of the peers, counted by running them; nothing is compiled."""

import functools
import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from jaxseg import cost
from jaxseg.encoders import ENCODERS
from jaxseg.models import create
from tests.conftest import SHARED
from tests.models.counts import FEATURES, LEFT_OUT, NETWORKS


@functools.cache
def counts() -> dict:
    path = Path(SHARED, "facts", "counts-2d.json")
    known = json.loads(path.read_text()) if path.is_file() else {}
    return {k: v for k, v in known.items() if k != "_meta"}


def counted(module, size):
    batch, channels, *space = size
    found = {}

    def init(x):  # traced once: its MACs are those of one call
        variables = module.init(jax.random.key(0), x, train=False)
        found["params"] = cost.parameters(variables)

    found["macs"] = cost.macs(init, jax.ShapeDtypeStruct((batch, *space, channels), jnp.float32))
    return found


def known_of(key):
    """Parameters and, where they were counted, MACs."""
    found = {name: counts()[key].get(name) for name in ("params", "macs")}
    return {name: value for name, value in found.items() if value is not None}


@pytest.mark.parametrize("key", NETWORKS)
def test_a_network_costs_what_the_peers_does(shared, key):
    name, fields = NETWORKS[key]
    model = create(name, num_classes=counts()[key]["classes"], **fields)
    assert counted(model, counts()[key]["input"]) == known_of(key)


@pytest.mark.parametrize("key", FEATURES)
def test_an_encoder_costs_what_the_peers_does(shared, key):
    name, fields = FEATURES[key]
    size, known = counts()[key].get("input") or (1, 3, 64, 64), known_of(key)
    found = counted(ENCODERS[name](**fields), size)
    assert {name: found[name] for name in known} == known


def test_every_count_is_compared_or_left_out_for_a_reason(shared):
    compared = {*NETWORKS, *FEATURES}
    for key in counts():
        left_out = any(re.fullmatch(pattern, key) for pattern, _ in LEFT_OUT)
        assert left_out or key in compared, f"{key}: neither compared nor left out for a reason"
    assert not compared - set(counts())
