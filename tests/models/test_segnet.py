"""SegNet: numbers of an independent form, unpooling, Bayesian dropout."""

from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from jaxseg.models import create
from jaxseg.models.segnet import SegNet
from tests.models import peers

GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.mark.parametrize(
    ("name", "fields"), [("segnet", {"width": 4}), ("segnet_basic", {"widths": (6, 6, 6, 6)})]
)
def test_its_numbers_are_those_of_a_form_from_the_paper(name, fields):
    # made by golden/make_fully_convolutional.py; the sizes are odd
    peers.check(GOLDEN, name, create(name, num_classes=4, **fields))


def test_it_takes_the_weights_of_a_vgg_with_norms_by_their_names():
    names = SegNet.names["torchvision"]
    assert names[:2] == (("features\\.0", "conv1_1.conv!"), ("features\\.1", "conv1_1.norm!"))
    assert names[-1] == ("features\\.41", "conv5_3.norm!")


def test_dropout_of_bayesian_segnet_acts_in_training_after_the_three_coarsest_levels():
    model = SegNet(3, width=4, dropout=0.5)
    dropped = []

    def note(call, args, kwargs, context):
        if context.method_name == "__call__" and hasattr(context.module, "broadcast_dims"):
            dropped.append((context.module.name, context.module.rate))
        return call(*args, **kwargs)

    with nn.intercept_methods(note):
        jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False),
                       jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32))  # fmt: skip
    acting = [name for name, rate in dropped if rate]
    assert acting == [f"{place}_dropout" for place in (
        "pool3", "pool4", "pool5", "conv5_1_D", "conv4_1_D", "conv3_1_D"
    )]  # fmt: skip
