"""DenseNet: its features and names; its numbers stand in test_classifier."""

import jax
import jax.numpy as jnp
import pytest

from jaxseg.convert import place
from jaxseg.encoders import ENCODERS, DenseNet

TINY = DenseNet((1, 2), growth=2, width=4, bottleneck=2)


def traced(encoder, size):
    x = jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)
    return jax.eval_shape(lambda x: encoder.init_with_output(jax.random.key(0), x, train=False), x)


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("densenet121", [64, 256, 512, 1024, 1024]),
        ("densenet161", [96, 384, 768, 2112, 2208]),
        ("densenet201", [64, 256, 512, 1792, 1920]),
    ],
)
def test_features_are_the_blocks_before_a_transition_halves_them(name, channels):
    features, _ = traced(ENCODERS[name](), (64, 96))
    assert [f.shape[1:] for f in features] == [
        (32 // 2**i, 48 // 2**i, c) for i, c in enumerate(channels)
    ]


def test_all_features_but_the_last_are_activated():
    x = jax.random.normal(jax.random.key(0), (1, 32, 32, 3))
    features = jax.jit(lambda: TINY.init_with_output(jax.random.key(1), x, train=False)[0])()
    assert [bool(jnp.min(f) < 0) for f in features] == [False, False, True]


def test_both_spellings_of_torchvision_have_one_place():
    names, shape = TINY.names["torchvision"], (8, 6, 1, 1)
    files = "features.denseblock2.denselayer2.conv.1.weight"  # what its weight files say
    modules = "features.denseblock2.denselayer2.conv1.weight"
    ours = ("params", "block2", "layer1_conv1", "kernel")
    assert place(files, shape, names) == place(modules, shape, names) == ours
    params = traced(TINY, (32, 32))[1]["params"]
    assert "layer1_conv1" in params["block2"]


def test_without_a_norm_convolutions_have_biases():
    params = traced(TINY.clone(norm="none"), (32, 32))[1]["params"]
    assert "bias" in params["transition1_conv"] and "last_norm" not in params
    assert "bias" not in traced(TINY, (32, 32))[1]["params"]["transition1_conv"]
