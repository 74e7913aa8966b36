"""DeepLab v1: numbers of an independent form, and the pixels between which it interpolates."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from jaxseg.encoders import VGG
from jaxseg.models.deeplab_v1 import DeepLabV1, padded
from tests.models import peers

GOLDEN = Path(__file__).parent.parent / "golden"
TRUNK = VGG(16, width=4, output_stride=8, pool="ceil", pool_size=3)


@pytest.mark.parametrize(
    ("record", "fields"),
    [("deeplab_v1", {}), ("deeplab_v1_4x4", {"kernel_size": 4, "dilation": 4})],
)
def test_its_numbers_are_those_of_a_form_from_the_paper(record, fields):
    # made by golden/make_deeplab.py
    peers.check(GOLDEN, record, DeepLabV1(4, encoder=TRUNK, hidden=6, **fields))


def test_an_image_is_padded_so_that_its_last_pixels_have_scores():
    sizes = {(n, jax.eval_shape(lambda x: padded(x, 8), image(n)).shape[1]) for n in (1, 9, 10, 17)}
    assert sizes == {(1, 9), (9, 9), (10, 17), (17, 17)}


def image(side):
    return jnp.zeros((1, side, side, 3))


def test_without_smoothing_the_numbers_are_others():
    model: Any = DeepLabV1(2, encoder=TRUNK.clone(depth=11), hidden=4)
    x = jax.random.normal(jax.random.key(1), (1, 9, 9, 3))

    @jax.jit
    def run(image):
        variables = model.init(jax.random.key(0), image, train=False)
        plain = model.clone(smoothing="none").apply(variables, image, train=False)
        return model.apply(variables, image, train=False).logits - plain.logits

    assert float(jnp.abs(run(x)).max()) > 1e-3
