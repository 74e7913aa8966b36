"""Xception and its aligned form: features, padding, dilation; numbers stand in test_classifier."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.encoders import ENCODERS, AlignedXception, Xception

ALIGNED = AlignedXception((2, 4), entry=((4, 2),), middle=0, exit=(4, 6, 6, 6, 6, 8))


def traced(encoder, size):
    x = jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)
    return jax.eval_shape(lambda x: encoder.init_with_output(jax.random.key(0), x, train=False), x)


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("xception", [64, 128, 256, 728, 2048]),
        ("xception65", [128, 256, 728, 1024, 2048]),
        ("xception71", [128, 256, 728, 1024, 2048]),
    ],
)
def test_features_have_the_channels_of_segmentation_models_pytorchs(name, channels):
    features, _ = traced(ENCODERS[name](), (64, 96))
    # the aligned form takes what a block's last convolution strides over
    sizes = [(32 // 2**i, 48 // 2**i) for i in range(5)]
    assert [f.shape[1:] for f in features] == [
        (*s, c) for s, c in zip(sizes, channels, strict=True)
    ]


def test_the_papers_stem_loses_its_border_and_has_the_same_weights():
    padded, paper = Xception(middle=1), Xception(middle=1, stem="valid")
    features, known = traced(paper, (299, 299))
    assert [f.shape[1] for f in features] == [147, 74, 37, 19, 10]  # figure 5: 19 in the middle
    assert [f.shape[1] for f in traced(padded, (299, 299))[0]] == [150, 75, 38, 19, 10]
    assert traced(padded, (299, 299))[1] == known


def test_features_of_the_aligned_form_are_taken_before_or_after_their_relu():
    x = jax.random.normal(jax.random.key(0), (1, 32, 32, 3))
    activated = ALIGNED.clone(tap="activated")

    @jax.jit
    def run():
        linear, variables = ALIGNED.init_with_output(jax.random.key(1), x, train=False)
        return linear, activated.apply(variables, x, train=False)

    linear, after = run()
    for before, now in zip(linear[:-1], after[:-1], strict=True):
        assert before.min() < 0
        np.testing.assert_array_equal(jnp.maximum(before, 0), now)
    np.testing.assert_array_equal(linear[-1], after[-1])


def test_a_dilated_aligned_form_gives_the_strided_ones_numbers_at_every_second_pixel():
    strided = AlignedXception((2, 4), entry=((4, 2), (4, 2)), middle=0, exit=(4, 6, 6, 6, 6, 8))
    dilated, x = (
        strided.clone(output_stride=8),
        jax.random.normal(jax.random.key(0), (1, 64, 64, 3)),
    )
    assert strided.strides == (2, 4, 8, 16) and dilated.strides == (2, 4, 8, 8)

    @jax.jit
    def run():
        features, variables = strided.init_with_output(jax.random.key(1), x, train=False)
        return features[-1], dilated.apply(variables, x, train=False)[-1]

    known, ours = run()
    np.testing.assert_allclose(ours[:, ::2, ::2], known, atol=1e-5)
