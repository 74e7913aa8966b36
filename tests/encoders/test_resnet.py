"""ResNet: sizes of its features and torchvision's numbers of parameters."""

import collections
import re

import jax
import jax.numpy as jnp
import pytest

from jaxseg import cost
from jaxseg.encoders import ENCODERS, ResNet

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


@pytest.mark.parametrize(
    ("output_stride", "dilations"),
    [(32, {1: 16}), (16, {1: 12, 2: 4}), (8, {1: 8, 2: 4, 4: 4})],
)
def test_all_blocks_of_a_stage_are_dilated_instead_of_strided(output_stride: int, dilations):
    encoder = ResNet(18, width=4, output_stride=output_stride)
    _, variables, x = shapes(encoder, (1, 64, 64, 3))
    program = jax.jit(lambda v, x: encoder.apply(v, x, train=False)).lower(variables, x).as_text()
    kernels = re.findall(r"rhs_dilate = \[(\d+), \d+\].*tensor<3x3x", program)
    found = collections.Counter(map(int, kernels))
    assert found == dilations
