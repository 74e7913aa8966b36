"""Layers over devices: rows of an image (halos) and images of a batch, as on one device.

The attention layers' own tests hold theirs. A single layer was right at every size tried; what XLA
gets wrong in silence are chains of them with few rows a device, which ``sharding.check_rows``
refuses (tests/test_sharding.py).
"""

import inspect

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxseg.layers import (
    ASPP,
    Conv,
    ConvNorm,
    Head,
    Norm,
    PyramidPooling,
    ResidualBlock,
    SeparableConv,
    TransposedConv,
)
from jaxseg.models.hdc_duc import DenseUpsampling, HybridDilation
from jaxseg.models.inception_unet import InceptionBlock
from jaxseg.ops import (
    adaptive_average_pool,
    average_pool,
    enlarge,
    max_pool,
    max_pool_with_indices,
    max_unpool,
    pixel_shuffle,
    pixel_unshuffle,
    resize,
)
from jaxseg.sharding import MeshShape

MODULES = {
    "conv": Conv(4),
    "conv_stride": Conv(4, stride=2),
    "conv_stem": Conv(4, kernel_size=7, stride=2),
    "conv_halo_beyond_a_device": Conv(4, dilation=12),
    "depthwise": Conv(4, groups=4),
    "depthwise_stride": Conv(8, groups=4, stride=2),
    "grouped": Conv(4, groups=2),
    "head": Head(4),
    "pointwise_stride": Conv(4, kernel_size=1, stride=2),
    "transposed": TransposedConv(4),
    "transposed_overlap": TransposedConv(4, kernel_size=4, padding=1),
    "norm_batch": Norm("batch", activation="relu"),
    "norm_group": Norm("group", groups=2),
    "norm_instance": Norm("instance"),
    "conv_norm": ConvNorm(4),
    "separable": SeparableConv(4),
    "residual": ResidualBlock(8, stride=2),
    "inception": InceptionBlock(4),
    "aspp": ASPP(4, rates=(2, 6), dropout=0.0),
    "pyramid_pooling": PyramidPooling(4, bins=(1, 2)),
    "hybrid_dilation": HybridDilation(4),
    "dense_upsampling": DenseUpsampling(2, factor=2),
}
FUNCTIONS = {
    "max_pool": lambda x: max_pool(x),
    "max_pool_stem": lambda x: max_pool(x, 3, stride=2, padding=1),
    "average_pool": lambda x: average_pool(x),
    "adaptive": lambda x: adaptive_average_pool(x, (4, 4)),
    "unpool": lambda x: max_unpool(*max_pool_with_indices(x), x.shape[1:-1]),
    "linear": lambda x: enlarge(x, 2, "linear"),
    "nearest": lambda x: enlarge(x, 2, "nearest"),
    "resize": lambda x: resize(x, (16, 6), "linear"),
    "resize_corners": lambda x: resize(x, (64, 15), "linear", align_corners=True),
    "shuffle": lambda x: pixel_shuffle(x, 2),
    "unshuffle": lambda x: pixel_unshuffle(x, 2),
}
VOLUMES = {
    "planes_side_by_side": Conv(4),  # the images have over eight channels, this has few features
    "planes": Conv(32),
    "planes_stride": Conv(32, stride=2),
    "transposed": TransposedConv(4),
}


def agree(apply, variables, x, data: int, spatial: int) -> None:
    """Value and gradients on a mesh are those of one device."""
    mesh = MeshShape(data=data, spatial=spatial).build()
    size = jax.eval_shape(apply, variables, x).shape
    above = np.random.RandomState(1).standard_normal(size).astype("f4")

    def both(variables, x, above):
        y, back = jax.vjp(apply, variables, x)
        return y, *back(above)

    whole = NamedSharding(mesh, PartitionSpec())
    rows = NamedSharding(mesh, PartitionSpec(("data", "fsdp"), "spatial"))
    of_y = rows if size[1] % spatial == 0 else NamedSharding(mesh, PartitionSpec(("data", "fsdp")))
    one = jax.jit(both)(variables, x, above)
    many = jax.jit(both, in_shardings=(whole, rows, of_y))(variables, x, above)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(many), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-5 * float(abs(a).max() + 1))


def image(*shape: int) -> jax.Array:
    return jax.random.normal(jax.random.key(2), shape)


def module(layer, x):
    """Its variables, and a function of them and an image, training."""
    trains = "train" in inspect.signature(layer.__call__).parameters
    fields = {"train": True} if trains else {}
    variables = layer.init(jax.random.key(0), x, **fields)

    def apply(variables, x):
        return layer.apply(variables, x, mutable=["batch_stats"], **fields)[0]

    return apply, variables


@pytest.mark.parametrize("name", MODULES)
def test_a_module_over_rows_and_batch_is_that_of_one_device(name: str):
    x = image(2, 32, 8, 4)
    agree(*module(MODULES[name], x), x, 2, 4)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_over_rows_and_batch_is_that_of_one_device(name: str):
    agree(lambda _, x: FUNCTIONS[name](x), {}, image(2, 32, 8, 4), 2, 4)


@pytest.mark.parametrize("platform", ["cuda"], indirect=True)
@pytest.mark.parametrize(
    "name",
    [
        "conv_halo_beyond_a_device",
        "hybrid_dilation",
        "aspp",
        "transposed",
        "transposed_overlap",
        "norm_batch",
        "norm_group",
    ],
)
def test_the_forms_of_gpus_over_rows_and_batch_are_those_of_one_device(name: str, platform):
    x = image(2, 32, 8, 4)
    agree(*module(MODULES[name], x), x, 2, 4)


@pytest.mark.parametrize("name", VOLUMES)
def test_volumes_are_shared_over_devices_by_their_first_axis(name: str):
    x = image(2, 16, 6, 4, 12)
    agree(*module(VOLUMES[name], x), x, 2, 4)
