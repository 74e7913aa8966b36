"""ResNet: sizes of its features and torchvision's numbers of parameters."""

import collections
import re

import jax
import jax.numpy as jnp
import pytest

from jaxseg import cost
from jaxseg.encoders import ENCODERS, ResNet
from jaxseg.errors import UserError

# torchvision's networks less their classifiers, counted by torch's FlopCounterMode, halved
PARAMETERS = {18: 11176512, 34: 21284672, 50: 23508032, 101: 42500160, 152: 58143808}
MACS_AT_512 = {18: 9474932736, 34: 19138609152, 50: 21353201664, 152: 60142125056}


def shapes(encoder, size=(1, 512, 512, 3)):
    x = jax.ShapeDtypeStruct(size, jnp.float32)
    features, variables = jax.eval_shape(
        lambda x: encoder.init_with_output(jax.random.key(0), x, train=False), x
    )
    return features, variables, x


@pytest.mark.parametrize("depth", PARAMETERS)
def test_parameters_are_torchvisions(depth: int):
    assert cost.parameters(shapes(ENCODERS[f"resnet{depth}"]())[1]) == PARAMETERS[depth]


@pytest.mark.parametrize("depth", MACS_AT_512)
def test_macs_are_torchvisions(depth: int):
    encoder = ResNet(depth)
    _, variables, x = shapes(encoder)
    macs = cost.macs(lambda v, x: encoder.apply(v, x, train=False), variables, x)
    assert macs == MACS_AT_512[depth]


@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize("size", [(1, 64, 96, 3), (1, 32, 64, 32, 3)])
def test_strides_are_those_of_the_features(output_stride: int, size: tuple[int, ...]):
    encoder = ResNet(18, width=4, output_stride=output_stride)
    features, _, _ = shapes(encoder, size)
    assert encoder.strides[-1] == output_stride
    for feature, stride in zip(features, encoder.strides, strict=True):
        assert feature.shape[1:-1] == tuple(n // stride for n in size[1:-1])


def test_dilation_changes_no_parameter():
    trees = [shapes(ResNet(50, output_stride=s))[1]["params"] for s in (8, 32)]
    assert trees[0] == trees[1]


def dilations(encoder: ResNet) -> list[int]:
    """Those of all 3x3 kernels, in the order in which they are called."""
    _, variables, x = shapes(encoder, (1, 64, 64, 3))
    program = jax.jit(lambda v, x: encoder.apply(v, x, train=False)).lower(variables, x).as_text()
    return [int(d) for d in re.findall(r"rhs_dilate = \[(\d+), \d+\].*tensor<3x3x", program)]


@pytest.mark.parametrize(
    ("output_stride", "counts"),
    [(32, {1: 16}), (16, {1: 12, 2: 4}), (8, {1: 8, 2: 4, 4: 4})],
)
def test_all_blocks_of_a_stage_are_dilated_instead_of_strided(output_stride: int, counts):
    found = dilations(ResNet(18, width=4, output_stride=output_stride))
    assert collections.Counter(found) == counts


def test_torchvisions_first_block_of_a_stage_keeps_the_old_dilation():
    found = dilations(ResNet(50, width=4, output_stride=8, dilated="after_first"))
    assert found == [1] * 7 + [1, 2, 2, 2, 2, 2] + [2, 4, 4]


def test_multi_grid_multiplies_the_dilations_of_the_last_stage():
    grid = ResNet(50, width=4, output_stride=16, multi_grid=(1, 2, 4))
    assert dilations(grid) == [1] * 13 + [2, 4, 8]
    with pytest.raises(UserError, match=r"multi_grid=\(1, 2\): must have a factor for each.* 3"):
        shapes(ResNet(50, multi_grid=(1, 2)))


def test_the_deep_stem_has_three_convolutions_of_3():
    features, variables, _ = shapes(ResNet(50, stem="deep"))
    kernels = [variables["params"][f"stem_conv{i}"]["conv"]["kernel"].shape for i in (1, 2, 3)]
    assert kernels == [(3, 3, 3, 64), (3, 3, 64, 64), (3, 3, 64, 128)]
    assert features[0].shape == (1, 256, 256, 128) and features[1].shape == (1, 128, 128, 256)


def test_the_first_papers_bottleneck_strides_in_its_first_1x1():
    def macs(strided):
        encoder = ResNet(50, strided=strided)
        _, variables, x = shapes(encoder)
        return cost.macs(lambda v, x: encoder.apply(v, x, train=False), variables, x)

    # of each strided block only the first 1x1 is cheaper: a quarter of its pixels
    of_stages = ((128, 256, 128), (64, 512, 256), (32, 1024, 512))  # size before, channels, width
    saved = sum(n * n * c * w * 3 // 4 for n, c, w in of_stages)
    assert macs("3x3") - macs("1x1") == saved


def test_max_pooling_in_ceil_mode_has_a_pixel_more_of_an_even_map():
    sizes = [
        shapes(ResNet(18, width=4, pool=pool), (1, 64, 65, 3))[0] for pool in ("floor", "ceil")
    ]
    assert [f[1].shape[1:3] for f in sizes] == [(16, 17), (17, 17)]


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (ResNet(18, groups=2), "depth=18: groups, base_width and strided are of bottlenecks"),
        (ResNet(50, width=4, base_width=4), "base_width=4: leaves no channel at width=4.* 16 does"),
    ],
)
def test_fields_that_do_not_fit_are_refused(encoder: ResNet, message: str):
    with pytest.raises(UserError, match=message):
        shapes(encoder, (1, 32, 32, 3))
