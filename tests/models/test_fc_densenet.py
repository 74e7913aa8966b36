"""FC-DenseNet: numbers of an independent form, statistics of the batch as released."""

from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.layers import Norm
from jaxseg.models.fc_densenet import FCDenseNet
from tests.models import peers

GOLDEN = Path(__file__).parent.parent / "golden"
TINY = {"layers": (2, 3, 2), "growth": 3, "first": 5}


def test_its_numbers_are_those_of_a_form_from_the_paper():
    # made by golden/make_dense.py; a size is odd, so that what is upsampled is cropped
    names = [(r"(up\d_conv)", r"\1~"), (r"(.*)", r"\1!")]
    peers.check(GOLDEN, "fc_densenet", FCDenseNet(4, **TINY), names)


def test_statistics_of_the_batch_are_those_of_every_norm():
    model, seen = FCDenseNet(3, **TINY, statistics="batch"), set()

    def note(call, args, kwargs, context):
        if isinstance(context.module, Norm):
            seen.add(context.module.statistics)
        return call(*args, **kwargs)

    x = jax.ShapeDtypeStruct((1, 16, 16, 3), jnp.float32)
    with nn.intercept_methods(note):
        jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), x)
    assert seen == {"batch"}
