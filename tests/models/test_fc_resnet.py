"""FC-ResNet: numbers of an independent form and the authors' counts; normalizers before others."""

import json
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import cost, record
from jaxseg.encoders import Plain
from jaxseg.errors import UserError
from jaxseg.models import Autofocus, Normalized, UNet, UNet2015
from jaxseg.models.fc_resnet import FCResNet
from jaxseg.models.normalized import NORMALIZER, common_stride
from jaxseg.types import Prediction, at_dtype
from tests.models import peers
from tests.models.medical_counts import check_cost, counts

GOLDEN = Path(__file__).parent.parent / "golden"
KEY = jax.random.key(0)

NAMES = [
    (r"first\.normalizer\.fine(\d)", r"first.normalizer.encoder.level0_conv\1.conv!"),
    (r"first\.normalizer\.coarse(\d)", r"first.normalizer.encoder.level1_conv\1.conv!"),
    (r"first\.normalizer\.up", "first.normalizer.decoder.level0_up~"),
    (r"first\.normalizer\.up(\d)", r"first.normalizer.decoder.level0_conv\1.conv!"),
    (r"(.*)", r"\1!"),
]
"""Places in the independent form, which has ours but for those of the normalizer."""


class Beside(nn.Module):
    """The logits of two networks beside each other."""

    first: nn.Module
    second: nn.Module

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> Prediction:
        outs = [part(image, train=train).logits for part in (self.first, self.second)]
        return Prediction(jnp.concatenate(outs, axis=-1))


def test_its_numbers_are_those_of_a_form_from_the_paper():
    # made by golden/make_fc_resnet.py
    tiny = FCResNet(3, normalizer=None, width=4, simple=1, depths=(2, 1))
    first = tiny.clone(normalizer=UNet(2, encoder=Plain((3, 5), norm="none")))
    second = tiny.clone(block="basic", merge="concat")
    peers.check(GOLDEN, "fc_resnet", Beside(first, second), NAMES)


@pytest.mark.parametrize(
    ("key", "fields"),
    [
        ("fcn_maker_bottleneck_3_8_10_3_sum", {}),
        ("fcn_maker_bottleneck_concat", {"merge": "concat"}),
        ("fcn_maker_basic_3_8_10_3_sum", {"block": "basic"}),
    ],
)
def test_it_has_the_parameters_of_the_authors_library(shared, key, fields):
    check_cost(shared / "facts", f"fcresnet/{key}", FCResNet(1, normalizer=None, **fields))


def test_the_normalizer_has_the_parameters_of_the_authors_library(shared):
    x = jax.ShapeDtypeStruct((1, 256, 256, 1), jnp.float32)  # the record's, channels last
    known = counts(shared / "facts")["fcresnet/fcn_maker_unet_16"]
    assert cost.counted(NORMALIZER, x)["parameters"] == known["params"]


TINY = UNet(2, encoder=Plain((3, 4)))


def test_a_normalizer_in_front_of_any_network_is_that_network_of_the_new_image():
    new = UNet(3, encoder=Plain((4, 4), norm="none"))
    both, x = Normalized(TINY, normalizer=new), jax.random.normal(KEY, (1, 5, 6, 2))
    variables = jax.jit(lambda: both.init(KEY, x, train=False))()
    parts = [
        {kind: tree[part] for kind, tree in variables.items() if part in tree}
        for part in ("normalizer", "model")
    ]

    @jax.jit
    def run(x):
        image = new.apply(parts[0], x, train=False).logits
        return both.apply(variables, x, train=False), TINY.apply(parts[1], image, train=False)

    ours, wanted = run(x)
    np.testing.assert_allclose(ours.logits, wanted.logits, rtol=1e-5, atol=1e-6)


def test_a_normalized_network_stands_in_a_config():
    both = Normalized(TINY)
    assert record.from_json(json.loads(json.dumps(record.to_json(both)))) == both


def test_a_normalized_network_says_what_the_network_says():
    both = at_dtype(Normalized(TINY), "bfloat16")
    assert both.normalizer.dtype == both.model.dtype == both.dtype == "bfloat16"  # pyright: ignore
    assert (both.num_classes, both.stride, both.inputs) == (2, 16, ())  # pyright: ignore


@pytest.mark.parametrize(
    ("strides", "common"),
    [((6, 4), 12), ((4, None), None), ((2, (1, 4)), (2, 4)), (((1, 2), (3, 4)), (3, 4))],
)
def test_the_common_stride_is_the_least_that_suits_all(strides, common):
    assert common_stride(*strides) == common


def test_networks_of_valid_convolutions_are_refused_on_either_side():
    def made(model):
        x = jnp.zeros((1, 188, 188, 1))
        jax.eval_shape(lambda: model.init(KEY, x, train=False))

    with pytest.raises(UserError, match="normalizer=UNet2015: its valid convolutions"):
        made(Normalized(TINY, normalizer=UNet2015(1)))
    with pytest.raises(UserError, match="model=UNet2015: its valid convolutions"):
        made(Normalized(UNet2015(2)))
    made(Normalized(Autofocus(2, 0, widths=(4, 4), padding="zeros")))  # of the image's size
