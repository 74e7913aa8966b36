"""DeepLab v2: numbers of an independent form, the scales of the image and their logits."""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from jaxseg.encoders import VGG, ResNet
from jaxseg.errors import UserError
from jaxseg.models.deeplab_v2 import DeepLabV2
from tests.models import peers

GOLDEN = Path(__file__).parent.parent / "golden"
RESNET = ResNet(14, width=4, strided="1x1", output_stride=8, pool="ceil")


def test_on_vgg16_its_numbers_are_those_of_a_form_from_the_paper():
    # made by golden/make_deeplab.py
    encoder = VGG(16, width=4, output_stride=8, pool="ceil", pool_size=3)
    model = DeepLabV2(4, encoder=encoder, rates=(2, 4, 8, 12), hidden=5, scales=(1.0,))
    peers.check(GOLDEN, "deeplab_v2_vgg", model)


def test_on_a_resnet_and_three_scales_its_numbers_are_those_of_a_form_from_the_paper():
    # made by golden/make_deeplab.py; its names are torchvision's up to the classifier
    encoder = [(pattern, f"encoder.{name}") for pattern, name in ResNet.names["torchvision"]]
    names = [*encoder, *DeepLabV2.names["caffe"]]
    peers.check(GOLDEN, "deeplab_v2_resnet", DeepLabV2(4, encoder=RESNET), names)


@pytest.mark.parametrize(
    ("scales", "sizes"),
    [((1.0, 0.75, 0.5), [(41, 21), (31, 16), (21, 11)]), ((1.0,), [])],
)
def test_each_scale_has_logits_of_its_own(scales, sizes):
    model, x = DeepLabV2(3, encoder=RESNET, scales=scales), jnp.zeros((1, 321, 161, 3))
    out = jax.eval_shape(lambda x: model.init_with_output(jax.random.key(0), x, train=False), x)[0]
    assert [a.shape[1:-1] for a in out.auxiliary] == sizes
    assert out.logits.shape == (1, 321, 161, 3)


@pytest.mark.parametrize("scales", [(), (0.5, 1.0), (1.0, 1.5), (1.0, 0.0)])
def test_scales_that_do_not_begin_with_the_image_or_enlarge_it_are_refused(scales):
    model = DeepLabV2(3, encoder=RESNET, scales=scales)
    with pytest.raises(UserError, match=r"DeepLabV2.scales.*1\.0, then others"):
        jax.eval_shape(
            lambda x: model.init(jax.random.key(0), x, train=False), jnp.zeros((1, 9, 9, 3))
        )
