"""nnU-Net's networks: numbers and counts of the release; heads; what they take."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.layers import ADN
from jaxseg.losses import CrossEntropy, DeepSupervision
from jaxseg.models import create
from jaxseg.models.dynunet import DynUNet
from tests.models import peers
from tests.models.medical_counts import check_cost

PLAIN, SUPERVISED = DynUNet(2), DynUNet(2, deep_supervision=True)
RESIDUAL = create("dynunet_residual", num_classes=2, deep_supervision=True)


def flat(levels, depths=2, decoder_depths=2, **fields):
    """The 2-D network of so many levels, up to 512 features."""
    same = {"strides": (1, *(2,) * (levels - 1)), "kernels": (3,) * levels}
    fields |= {"decoder_depths": (decoder_depths,) * (levels - 1)}
    fields |= {"depths": (2,) * levels if depths == 2 else depths[:levels]}
    widths = tuple(min(2 ** (5 + i), 512) for i in range(levels))
    return DynUNet(2, widths=widths, deep_supervision=True, **same, **fields)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("PlainConvUNet3d_6st", SUPERVISED),
        ("PlainConvUNet3d_6st_nods", PLAIN),
        ("PlainConvUNet3d_6st_brats4ch4cls", SUPERVISED.clone(num_classes=4)),
        ("ResEncUNet_M_6st", RESIDUAL),
        ("PlainConvUNet2d_8st_512", flat(8)),
        ("PlainConvUNet2d_7st_256", flat(7)),
        ("ResEncUNet2d_8st_512", flat(8, (1, 3, 4, 6, 6, 6, 6, 6), 1, block="residual")),
    ],
)
def test_it_costs_what_the_release_does(shared, name, model):
    check_cost(shared / "facts", f"nnunet/{name}", model)


FOUR = {"widths": (32, 64, 128, 256), "strides": (1, 2, 2, 2), "kernels": (3,) * 4}


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("PlainConvUNet3d_4st", {"depths": (2,) * 4, "decoder_depths": (2,) * 3}),
        (
            "ResEncUNet3d_4st",
            {"depths": (1, 3, 4, 6), "decoder_depths": (1,) * 3, "block": "residual"},
        ),
    ],
)
def test_its_numbers_are_those_of_the_release(shared, name, fields):
    model = SUPERVISED.clone(**FOUR, **fields)
    names = model.names["nnunetv2"]
    peers.check_fingerprint(shared / "facts", f"nnunet/{name}", model, names, finest_first=True)


SMALL = DynUNet(
    2, (4, 6, 8), (1, 2, 2), (3,) * 3, (1, 2, 1), (1, 1), block="residual", deep_supervision=True
)


def run(model, size, train=False):
    x = jnp.asarray(np.random.RandomState(0).standard_normal((1, *size, 1)).astype("f4"))
    variables = model.init(jax.random.key(0), x, train=False)
    return model.apply(variables, x, train=train), variables


def test_coarser_heads_fit_the_recipe_at_every_size_of_the_image():
    supervision = DeepSupervision(weights=(1.0, 0.0))
    for size, coarse in (((8, 12), (4, 6)), ((7, 12), (7, 12))):
        prediction, _ = run(SMALL, size)
        assert [a.shape[1:-1] for a in prediction.auxiliary] == [coarse]
        label = jnp.zeros((1, *size), jnp.int32)
        whole = CrossEntropy()(prediction.logits, label)
        np.testing.assert_allclose(supervision(CrossEntropy(), prediction, label), whole)


def test_a_head_of_a_padded_image_speaks_of_the_pixels_that_it_covers():
    """Not of its level's share of the padded image, which labels know nothing of."""
    small, _ = run(SMALL.clone(widths=(4, 4, 4)), (8, 9))
    coarse = small.auxiliary[0]
    np.testing.assert_array_equal(coarse[:, ::2, :-1:2], coarse[:, 1::2, 1::2])


def test_axes_of_an_image_may_stand_in_another_order():
    model = SMALL.clone(strides=(1, (2, 1), 2))
    straight, variables = run(model, (8, 6))
    turned = model.clone(axes=(1, 0))
    assert (model.stride, turned.stride) == ((4, 2), (2, 4))
    x = jnp.asarray(np.random.RandomState(0).standard_normal((1, 8, 6, 1)).astype("f4"))
    prediction = turned.apply(variables, x.swapaxes(1, 2), train=False)
    for ours, wanted in zip(jax.tree.leaves(prediction), jax.tree.leaves(straight), strict=True):
        np.testing.assert_array_equal(ours.swapaxes(1, 2), wanted)


def test_residual_branches_add_nothing_at_first():
    _, variables = run(SMALL, (8, 12))
    block = variables["params"]["level1_down0"]
    assert not block["conv1"]["adn"]["norm"]["scale"].any()
    assert block["conv0"]["adn"]["norm"]["scale"].all()
    assert block["shortcut"]["adn"]["norm"]["scale"].all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"strides": (1, 2)}, "DynUNet.strides=.*must be 3 entries, for widths="),
        ({"strides": (2, 2, 2)}, "must be 1 at first"),
        ({"strides": ((1, 2), 2, 2)}, "must be 1 at first"),
        ({"kernels": (3, 3, 2)}, "kernel_size=2: must be odd"),
        ({"kernels": (3, 3, (3, 3, 3))}, "the image has 2 axes"),
        ({"depths": (1, 0, 1)}, "depths=.*at least 1 each"),
        ({"decoder_depths": (1, 1, 1)}, "must be 2 entries"),
        ({"widths": (4,)}, "two levels or more"),
        ({"block": "bottleneck"}, "bottleneck_widths=.*must be 3 entries"),
        ({"bottleneck_widths": (2, 2, 2)}, "must be 0 entries where block='residual'"),
        ({"block": "plain", "stem_width": 4}, "stem_width=4: must be None"),
        ({"axes": (0, 2)}, r"axes=\(0, 2\): must be \(\) or an order of \(0, 1\)"),
        ({"after": ADN(dropout=1.5)}, r"dropout=1.5: must be in \[0, 1\]"),
    ],
)
def test_what_it_cannot_be_is_refused(fields, message):
    with pytest.raises(UserError, match=message):
        jax.eval_shape(lambda: run(SMALL.clone(**fields), (8, 8)))
