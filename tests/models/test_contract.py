"""What holds for every network on every kind of encoder: the contract of DESIGN section 3."""

import dataclasses
import functools
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from jaxseg.encoders import Plain, ResNet
from jaxseg.models import MODELS, create
from jaxseg.types import output_size

TINY = {
    "plain": (Plain((4, 6, 8)), {}),
    "resnet18": (ResNet(18, width=4), {"widths": (12, 8, 8, 6, 4)}),
}
CASES = [(name, e) for name in ("unet", "unet_multi_output") for e in TINY]
CASES.append(("unet_2015", ""))
SIZES = {"unet_2015": (44, 52)}


def network(name: str, encoder: str, **fields) -> nn.Module:
    if name == "unet_2015":
        return create(name, num_classes=3, widths=(4, 6, 8), **fields)
    tiny, widths = TINY[encoder]
    return create(name, num_classes=3, encoder=tiny, **widths, **fields)


def image(name: str, size: tuple[int, ...] | None = None, batch: int = 2) -> jax.Array:
    size = size or SIZES.get(name, (33, 46))
    return jax.random.uniform(jax.random.key(1), (batch, *size, 2))


@functools.cache
def variables(model: nn.Module):
    """Random, off the special values (scale 1, bias 0, mean 0) of an untrained network."""
    x, random = jnp.zeros((1, 44, 44, 2)), np.random.RandomState(0)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))

    def draw(leaf):
        a = random.standard_normal(leaf.shape).astype("f4")
        return jnp.asarray(a / np.sqrt(a.size / a.shape[-1]) if a.ndim > 1 else 1 + 0.1 * a)

    return jax.tree.map(draw, shapes)


@functools.cache
def predict(model: nn.Module):
    return jax.jit(lambda v, x: model.apply(v, x, train=False))


def close(a, b, tolerance: float = 1e-5) -> None:
    assert abs(a - b).max() <= tolerance * abs(a).max()


def test_every_network_stands_in_these_tests():
    assert {name for name, _ in CASES} == set(MODELS)


@pytest.mark.parametrize(("name", "encoder"), CASES)
def test_logits_have_the_size_of_the_image(name: str, encoder: str):
    model = network(name, encoder)
    v = variables(model)
    sizes = [(44, 60)] if name == "unet_2015" else [(1, 1), (33, 46), (64, 32), (7, 90)]
    for size in sizes:
        x = image(name, size)
        prediction = jax.eval_shape(lambda v, x: model.apply(v, x, train=False), v, x)
        assert prediction.logits.shape == (2, *output_size(model, size), 3)
        assert prediction.logits.dtype == jnp.float32


@pytest.mark.parametrize(("name", "encoder"), CASES)
def test_a_volume_is_taken_as_an_image_is(name: str, encoder: str):
    model = network(name, encoder)
    size = (44, 44, 48) if name == "unet_2015" else (5, 18, 33)
    x = jax.ShapeDtypeStruct((1, *size, 2), jnp.float32)
    prediction, v = jax.eval_shape(
        lambda x: model.init_with_output(jax.random.key(0), x, train=False), x
    )
    assert prediction.logits.shape == (1, *output_size(model, size), 3)
    assert {
        a.ndim for a in jax.tree.leaves(v["params"]["head" if "head" in v["params"] else "decoder"])
    } <= {1, 5}


@pytest.mark.parametrize(("name", "encoder"), CASES)
def test_half_precision_is_close_and_gives_float32(name: str, encoder: str):
    model = network(name, encoder)
    v, x = variables(model), image(name)
    exact = predict(model)(v, x)
    half = predict(model.clone(dtype="bfloat16"))(v, x)
    for a, b in zip(jax.tree.leaves(exact), jax.tree.leaves(half), strict=True):
        assert b.dtype == jnp.float32
        close(a, b, 0.05)


@pytest.mark.parametrize(("name", "encoder"), CASES)
@pytest.mark.parametrize("train", [True, False])
def test_the_gradient_reaches_every_parameter(name: str, encoder: str, train: bool):
    model = network(name, encoder)
    v, x = variables(model), image(name, SIZES.get(name, (32, 64)))

    @jax.jit
    def gradient(params, x):
        def loss(params):
            prediction, _ = model.apply(
                v | {"params": params},
                x,
                train=train,
                mutable=["batch_stats"],
                rngs={"dropout": jax.random.key(3)},
            )
            leaves = jax.tree.leaves(prediction)
            return sum(
                jnp.square(a - jnp.arange(a.size).reshape(a.shape) % 3).sum() for a in leaves
            )

        return jax.grad(loss)(params)

    for path, g in jax.tree_util.tree_leaves_with_path(gradient(v["params"], x)):
        assert jnp.isfinite(g).all(), path
        assert abs(g).max() > 0, path


@pytest.mark.parametrize(("name", "encoder"), CASES)
def test_prediction_does_not_depend_on_jit_batch_or_the_time_of_day(name: str, encoder: str):
    model = network(name, encoder)
    v, x = variables(model), image(name)
    two = predict(model)(v, x)
    jax.tree.map(np.testing.assert_array_equal, two, predict(model)(v, x))
    jax.tree.map(close, two, model.apply(v, x, train=False))
    ones = [predict(model)(v, x[i : i + 1]) for i in (0, 1)]
    jax.tree.map(close, two, jax.tree.map(lambda a, b: jnp.concatenate([a, b]), *ones))
    jax.tree.map(close, two, model.apply(jax.tree.map(np.asarray, v), np.asarray(x), train=False))


@pytest.mark.parametrize(("name", "encoder"), CASES)
def test_fields_are_plain_values(name: str, encoder: str):
    def plain(value):
        if isinstance(value, nn.Module):
            fields = [f.name for f in dataclasses.fields(value) if f.name not in ("parent", "name")]
            return {f: plain(getattr(value, f)) for f in fields}
        return value

    model = network(name, encoder)
    json.dumps(plain(model))
    assert hash(model) == hash(network(name, encoder)) and model == network(name, encoder)


@pytest.mark.parametrize(("name", "encoder"), CASES)
def test_one_export_serves_every_size(name: str, encoder: str):
    model = network(name, encoder)
    v = variables(model)
    sizes = "b, 4*h + 40, 4*w + 40, 2" if name == "unet_2015" else "b, h, w, 2"
    x = jax.ShapeDtypeStruct(export.symbolic_shape(sizes), jnp.float32)
    exported = export.export(jax.jit(lambda x: model.apply(v, x, train=False).logits))(x)
    for size in [(44, 48), (52, 44)] if name == "unet_2015" else [(33, 46), (64, 32)]:
        x = image(name, size, batch=1)
        close(exported.call(x), predict(model)(v, x).logits)
