"""What holds of every network on every encoder by shapes alone: nothing here is compiled."""

import functools
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from jax import export

from jaxseg import record
from jaxseg.models import MODELS, class_of
from jaxseg.types import (
    Paper,
    Prediction,
    ValidConvolutions,
    at_dtype,
    output_size,
    strides_of,
)
from tests.encoders import cases as encoder_cases
from tests.models.cases import CASES, CHANNELS, CLASSES, FIRST, TINY

every = pytest.mark.parametrize(("model", "case"), TINY.values(), ids=TINY)


def image(size, batch=2):
    return jax.ShapeDtypeStruct((batch, *size, CHANNELS), jnp.float32)


def traced(model, x, *, train=False):
    """What the network gives and its variables, as shapes."""

    def run(x):
        rngs = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
        return model.init_with_output(rngs, x, train=train)

    return jax.eval_shape(run, x)


def test_every_network_has_a_row():
    assert set(CASES) == set(MODELS), "add the network's row to tests/models/cases.py"


@functools.cache
def known(model, size):
    """Variables of the network as shapes, made in training; traced once for all tests."""
    return traced(model, image(size), train=True)[1]


@pytest.mark.usefixtures("unchecked")
@every
def test_logits_are_float32_of_the_images_size_and_parameters_the_same_at_any(model, case):
    """Of any size, and at half precision; parameters do not depend on training either."""
    wanted = known(model, case.size)
    assert {leaf.dtype for leaf in jax.tree.leaves(wanted)} == {jnp.dtype("float32")}
    every = [(model, size) for size in (case.size, *case.sizes)]
    for one, size in (*every, (at_dtype(model, "bfloat16"), case.size)):
        prediction, variables = traced(one, image(size))
        assert isinstance(prediction, Prediction)
        assert prediction.logits.shape == (2, *output_size(model, size), CLASSES)
        assert {leaf.dtype for leaf in jax.tree.leaves(prediction)} == {jnp.dtype("float32")}
        assert variables == wanted


@pytest.mark.usefixtures("unchecked")
@every
def test_channels_classes_and_rank_are_free(model, case):
    """A volume is taken as an image is, where the network is not of images alone."""
    other, size = model.clone(num_classes=21), case.volume or case.size
    prediction, variables = traced(other, jax.ShapeDtypeStruct((1, *size, 1), jnp.float32))
    assert prediction.logits.shape == (1, *output_size(other, size), 21)
    kernels = [leaf for leaf in jax.tree.leaves(variables["params"]) if leaf.ndim > 2]
    wanted = case.kernels if case.volume else {4}
    assert kernels and {kernel.ndim for kernel in kernels} == wanted


@every
def test_it_says_its_stride_and_its_paper(model, case):
    strides = strides_of(model, 2)
    assert strides is None or min(strides) >= 1
    paper = model.paper
    assert isinstance(paper, Paper) and paper.url.startswith("https://") and paper.year >= 2015
    assert paper.title and paper.author.isalpha()


@every
def test_its_fields_are_plain_values(model, case):
    tree = json.loads(json.dumps(record.to_json(model)))
    read = record.from_json(tree)
    assert read == model and hash(read) == hash(model)


@pytest.mark.usefixtures("unchecked")
@every
def test_one_export_serves_every_size(model, case):
    variables = known(model, case.size)
    sizes = export.symbolic_shape(f"{case.exported}, {CHANNELS}")
    x = jax.ShapeDtypeStruct(sizes, jnp.float32)
    logits = jax.eval_shape(lambda v, x: model.apply(v, x, train=False).logits, variables, x)
    assert logits.shape[0] == sizes[0] and logits.shape[-1] == CLASSES
    if not isinstance(model, ValidConvolutions):
        assert logits.shape[1:-1] == sizes[1:-1]


TAKING = [name for name, (model, _) in FIRST.items() if hasattr(model, "encoder")]


@functools.cache
def features_of(encoder, shape):
    """Shapes of the features of such an image: an encoder is traced once for all networks."""
    x = jax.ShapeDtypeStruct(shape, jnp.float32)

    def run(x):
        return encoder.init_with_output(jax.random.key(0), x, train=False)[0]

    return jax.eval_shape(run, x)


def with_features(model, x):
    """What the network gives, as shapes, where its encoder's features are zeros."""

    def given(call, args, kwargs, context):
        if (context.module.path, context.method_name) != (("encoder",), "__call__"):
            return call(*args, **kwargs)
        assert set(kwargs) == {"train"}  # all of the features
        features = features_of(model.encoder, args[0].shape)
        return tuple(jnp.zeros(feature.shape, feature.dtype) for feature in features)

    with nn.intercept_methods(given):
        return traced(model, x)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("family", encoder_cases.TINY)
@pytest.mark.parametrize("name", TAKING)
def test_any_encoder_serves_under_any_decoder(name, family):
    made, case = FIRST[name]
    wanted = getattr(made.encoder, "output_stride", None)
    encoder = encoder_cases.TINY[family]
    if wanted in (8, 16) and not hasattr(encoder, "output_stride"):
        pytest.skip("a network of dilated encoders, and this cannot be dilated")
    model = made.clone(encoder=encoder)
    if "widths" in type(made).__dataclass_fields__:  # which belong to the encoder they are made for
        model = model.clone(widths=type(made).widths)
    prediction, variables = with_features(model, image(case.size, batch=1))
    assert prediction.logits.shape == (1, *case.size, CLASSES)
    assert "encoder" not in variables["params"]  # its features were given


@pytest.mark.parametrize("name", MODELS)
def test_a_composite_at_half_precision_has_members_at_half_precision(name):
    assert at_dtype(MODELS[name](num_classes=2), "bfloat16").dtype == "bfloat16"
    assert "dtype" in class_of(name).__dataclass_fields__
