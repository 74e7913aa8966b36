"""Parameters and MACs are those of the peers, counted by running them; nothing is compiled."""

import functools
import json
import re
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from jax.interpreters import partial_eval

from jaxseg import cost
from jaxseg.encoders import ENCODERS, classifier
from jaxseg.models import create
from tests.conftest import SHARED
from tests.models.counts import CLASSIFIERS, FEATURES, LEFT_OUT, LOGITS_ONLY, NETWORKS

pytestmark = pytest.mark.usefixtures("unchecked")


@functools.cache
def counts() -> dict:
    path = Path(SHARED, "facts", "counts-2d.json")
    known = json.loads(path.read_text()) if path.is_file() else {}
    return {k: v for k, v in known.items() if k != "_meta"}


def shape_of(size):
    batch, channels, *space = size
    return jax.ShapeDtypeStruct((batch, *space, channels), jnp.float32)


@functools.cache
def traced(encoder, size):
    """An encoder's jaxpr, its features and its parameters: one for all networks on it."""
    found = {}

    def run(x):
        out, variables = encoder.init_with_output(jax.random.key(0), x, train=False)
        found["params"] = cost.parameters(variables)
        return out

    closed, features = jax.make_jaxpr(run, return_shape=True)(shape_of(size))
    return closed, features, found["params"]


@functools.cache
def macs_of_encoder(encoder, size, used):
    """MACs of the features that are used, by their order."""
    closed, _, _ = traced(encoder, size)
    return cost.macs_of_jaxpr(closed.jaxpr, used)


def counted_encoder(encoder, size):
    _, features, params = traced(encoder, size)
    return {"params": params, "macs": macs_of_encoder(encoder, size, (True,) * len(features))}


def counted(model, size, of=lambda out: out):
    """Parameters, and the MACs of what ``of`` takes of the output.

    The encoder is traced once for all networks; here it is left out, and its features are given.
    """
    encoder, found = getattr(model, "encoder", None), {"params": 0}
    features = ()
    if encoder is not None:
        _, features, found["params"] = traced(encoder, size)

    def given(features, call, args, kwargs, context):
        asked = (context.module.path, context.method_name) == (("encoder",), "__call__")
        return features if asked else call(*args, **kwargs)

    def run(features, x):
        with nn.intercept_methods(functools.partial(given, features)):
            out, variables = model.init_with_output(jax.random.key(0), x, train=False)
        found["params"] += cost.parameters(variables)
        return of(out)

    closed = jax.make_jaxpr(run)(features, shape_of(size))
    _, used = partial_eval.dce_jaxpr(closed.jaxpr, [True] * len(closed.out_avals))
    found["macs"] = cost.macs_of_jaxpr(closed.jaxpr)
    if encoder is not None:
        found["macs"] += macs_of_encoder(encoder, size, tuple(used[: len(features)]))
    return found


def known_of(key):
    """Parameters and, where they were counted, MACs."""
    found = {name: counts()[key].get(name) for name in ("params", "macs")}
    return {name: value for name, value in found.items() if value is not None}


@pytest.mark.parametrize("key", NETWORKS)
def test_a_network_costs_what_the_peers_does(shared, key):
    name, fields = NETWORKS[key]
    model = create(name, num_classes=counts()[key]["classes"], **fields)
    of = (lambda out: out.logits) if re.fullmatch(LOGITS_ONLY, key) else (lambda out: out)
    assert counted(model, tuple(counts()[key]["input"]), of) == known_of(key)


@pytest.mark.parametrize("key", FEATURES)
def test_an_encoder_costs_what_the_peers_does(shared, key):
    name, fields = FEATURES[key]
    size, known = tuple(counts()[key].get("input") or (1, 3, 64, 64)), known_of(key)
    found = counted_encoder(ENCODERS[name](**fields), size)
    assert {name: found[name] for name in known} == known


@pytest.mark.parametrize("key", CLASSIFIERS)
def test_an_encoder_with_its_classifier_costs_what_the_peers_does(shared, key):
    name, fields = CLASSIFIERS[key]
    model = classifier(ENCODERS[name](**fields))
    assert counted(model, tuple(counts()[key]["input"])) == known_of(key)


def test_every_count_is_compared_or_left_out_for_a_reason(shared):
    compared = {*NETWORKS, *FEATURES, *CLASSIFIERS}
    for key in counts():
        left_out = any(re.fullmatch(pattern, key) for pattern, _ in LEFT_OUT)
        assert left_out or key in compared, f"{key}: neither compared nor left out for a reason"
    assert not compared - set(counts())
