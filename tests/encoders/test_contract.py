"""What holds of every family of encoders; one compiled program each."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from jax import export
from jax.interpreters import partial_eval

from jaxseg import record
from jaxseg.encoders import ENCODERS
from tests.encoders.cases import TINY

every = pytest.mark.parametrize("encoder", TINY.values(), ids=TINY)
CHANNELS = 2


def image(*size, channels=CHANNELS):
    return jax.ShapeDtypeStruct((2, *size, channels), jnp.float32)


def traced(encoder, x, *, train=False):
    """The features and the variables, as shapes."""

    def run(x):
        rngs = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
        return encoder.init_with_output(rngs, x, train=train)

    return jax.eval_shape(run, x)


def test_every_class_of_encoders_has_a_row():
    classes = {type(make()) for make in ENCODERS.values()}
    assert classes <= {type(encoder) for encoder in TINY.values()}, "add it to cases.py"


@every
def test_strides_are_those_of_the_features(encoder):
    for size in ((64, 128), (65, 70), (33, 95)):
        features, _ = traced(encoder, image(*size))
        for feature, stride in zip(features, encoder.strides, strict=True):
            for n, m in zip(size, feature.shape[1:-1], strict=True):
                assert n // stride <= m <= -(-n // stride)  # exact where the stride divides


@every
def test_one_export_serves_every_size_that_strides_divide(encoder):
    _, variables = traced(encoder, image(64, 64))
    sizes = export.symbolic_shape(f"b, 32*h, 32*w, {CHANNELS}")
    x = jax.ShapeDtypeStruct(sizes, jnp.float32)
    features = jax.eval_shape(lambda v, x: encoder.apply(v, x, train=False), variables, x)
    for feature, stride in zip(features, encoder.strides, strict=True):
        assert feature.shape[1:-1] == tuple(n // stride for n in sizes[1:-1])


@every
def test_channels_are_free_and_volumes_are_taken(encoder):
    for channels in (1, 4):
        traced(encoder, image(64, 64, channels=channels))
    features, variables = traced(encoder, image(32, 64, 32))
    assert [f.shape[1] for f in features] == [32 // stride for stride in encoder.strides]
    kernels = [leaf for leaf in jax.tree.leaves(variables["params"]) if leaf.ndim > 2]
    assert kernels and {kernel.ndim for kernel in kernels} == {5}


@every
def test_parameters_are_float32_and_depend_neither_on_size_nor_training(encoder):
    _, known = traced(encoder, image(64, 64))
    assert {leaf.dtype for leaf in jax.tree.leaves(known)} == {jnp.dtype("float32")}
    assert traced(encoder, image(65, 96))[1] == known
    assert traced(encoder, image(64, 64), train=True)[1] == known


@every
def test_the_finest_features_have_no_parameters_of_the_others(encoder):
    features, known = traced(encoder, image(64, 64))
    known = traverse_util.flatten_dict(known)
    for count in range(1, len(features) + 1):

        def run(x, count=count):
            return encoder.init_with_output(jax.random.key(0), x, train=False, count=count)

        few, kept = jax.eval_shape(run, image(64, 64))
        assert few == features[:count]
        assert traverse_util.flatten_dict(kept).items() <= known.items()

        def apply(v, x, count=count):
            return encoder.apply(v, x, train=False, count=count)

        jaxpr = jax.make_jaxpr(apply)(kept, image(64, 64)).jaxpr
        _, used = partial_eval.dce_jaxpr(jaxpr, [True] * count)
        unused = [
            path for path, on in zip(jax.tree.leaves_with_path(kept), used, strict=False) if not on
        ]
        assert not unused, f"{count} features are made without {unused[0][0]}"


@every
def test_its_fields_are_plain_values(encoder):
    read = record.from_json(json.loads(json.dumps(record.to_json(encoder))))
    assert read == encoder and hash(read) == hash(encoder)


def drawn(shapes):
    """Random variables, off the special values (scale 1, bias 0, mean 0) of untrained ones."""
    random = np.random.RandomState(0)

    def draw(leaf):
        a = random.standard_normal(leaf.shape).astype("f4")
        return jnp.asarray(a / np.sqrt(a.size / a.shape[-1]) if a.ndim > 1 else 1 + 0.1 * abs(a))

    return jax.tree.map(draw, shapes)


@every
def test_half_precision_is_close_and_the_gradient_reaches_every_parameter(encoder):
    x = np.random.RandomState(1).uniform(size=(2, 70, 95, CHANNELS)).astype("f4")
    variables = drawn(traced(encoder, x)[1])

    @jax.jit
    def run(v, x):
        def loss(params):
            rngs = {"dropout": jax.random.key(3)}
            features, _ = encoder.apply(
                v | {"params": params}, x, train=True, mutable=["batch_stats"], rngs=rngs
            )
            targets = [jnp.arange(f.size).reshape(f.shape) % 3 for f in features]
            return sum(jnp.square(f - t).sum() for f, t in zip(features, targets, strict=True))

        exact = encoder.apply(v, x, train=False)
        half = encoder.apply(v, x.astype(jnp.bfloat16), train=False)
        return exact, half, jax.grad(loss)(v["params"])

    exact, half, gradient = run(variables, x)
    for a, b in zip(exact, half, strict=True):
        assert b.dtype == jnp.bfloat16
        assert abs(a - b.astype("f4")).max() <= 0.05 * abs(a).max(), "bfloat16 is far from float32"
    for path, g in jax.tree_util.tree_leaves_with_path(gradient):
        assert jnp.isfinite(g).all(), path
        assert abs(g).max() > 0, f"the gradient does not reach {path}"
