import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from jaxseg import sharding
from jaxseg.encoders import Plain, ResNet
from jaxseg.errors import UserError
from jaxseg.layers import Conv
from jaxseg.models import UNet, UNet2015
from jaxseg.ops import max_pool_with_indices, max_unpool
from jaxseg.sharding import MeshShape
from jaxseg.types import Batch, Prediction
from tests.placing import by_rows


def test_minus_one_takes_all_devices_that_are_left():
    assert MeshShape(data=-1, fsdp=2, spatial=2).build().shape == {
        "data": 2,
        "fsdp": 2,
        "spatial": 2,
    }


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (MeshShape(data=16), "needs 16 devices"),
        (MeshShape(data=-1, fsdp=-1), "one at most is -1"),
        (MeshShape(data=0), "at least 1"),
        (MeshShape(data=-1, fsdp=3), "do not divide by 3"),
    ],
)
def test_a_mesh_that_the_devices_cannot_make_is_refused(shape, message):
    with pytest.raises(UserError, match=message):
        shape.build()


def test_a_batch_that_does_not_divide_over_the_devices_is_refused_with_sizes_that_do():
    mesh = MeshShape(data=2, fsdp=2, spatial=2).build()
    with pytest.raises(UserError, match=r"batch_size=6 .* use 4 or 8"):
        sharding.check_batch(mesh, 6)
    with pytest.raises(UserError, match=r"2 parts over mesh .* = 4 devices; use a multiple of 8"):
        with jax.set_mesh(mesh):
            jax.eval_shape(lambda x: sharding.microbatches(x, 2), jnp.zeros((12, 1)))


@pytest.mark.parametrize("rows", [8, 16, 24, 32, 40, 48, 72])
def test_rows_that_would_stop_dividing_inside_the_network_are_refused(rows):
    """The sizes for which XLA was seen to return wrong gradients in silence among them."""
    mesh = MeshShape(data=1, spatial=8).build()
    model = UNet(2, encoder=Plain(widths=(4, 8, 8)))  # stride 4
    with pytest.raises(UserError, match="multiple of 64"):
        sharding.check_rows(mesh, model, (rows, 32))
    sharding.check_rows(mesh, model, (64, 33))


def test_valid_convolutions_are_not_shared_over_rows():
    with pytest.raises(UserError, match="valid convolutions"):
        sharding.check_rows(MeshShape(data=1, spatial=2).build(), UNet2015(2), (188, 188))


def test_large_arrays_are_sliced_over_fsdp_and_small_ones_are_not():
    mesh = MeshShape(data=2, fsdp=4).build()
    placed = sharding.of_state(
        mesh,
        {"kernel": jnp.zeros((3, 3, 64, 32)), "odd": jnp.zeros((4099,)), "bias": jnp.zeros(64)},
    )
    assert placed["kernel"].spec == PartitionSpec(None, None, "fsdp")
    assert placed["odd"].spec == PartitionSpec()
    assert placed["bias"].spec == PartitionSpec()


def test_one_process_owns_all_rows_and_put_keeps_them_in_order():
    mesh = MeshShape(data=4, fsdp=2).build()
    assert sharding.local_rows(mesh, 16) == slice(0, 16)
    image = np.arange(16 * 4 * 4, dtype=np.float32).reshape(16, 4, 4, 1)
    batch = Batch(image, image[..., 0].astype(np.int32), np.ones(16, bool))
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), batch)
    placed = sharding.put(mesh, batch, shapes)
    np.testing.assert_array_equal(placed.image, image)
    assert placed.image.sharding.spec == PartitionSpec(("data", "fsdp"), "spatial")


def test_microbatches_hold_every_row_once():
    rows = jnp.arange(12).reshape(12, 1)
    parts = sharding.microbatches({"x": rows}, 3)["x"]
    assert parts.shape == (3, 4, 1)
    assert sorted(parts.ravel().tolist()) == list(range(12))


def agree_or_refuse(model, rows: int, data: int, spatial: int) -> bool:
    """Whether ``check_rows`` lets the rows through; gradients are then those of one device."""
    mesh = MeshShape(data=data, spatial=spatial).build()
    try:
        sharding.check_rows(mesh, model, (rows, 32))
    except UserError:
        return False
    rng = np.random.default_rng(rows)
    image = jnp.asarray(rng.standard_normal((2, rows, 32, 1)), jnp.float32)
    target = jnp.asarray(rng.standard_normal((2, rows, 32, 2)), jnp.float32)
    variables = jax.jit(lambda x: model.init(jax.random.key(0), x, train=False))(image)

    def loss(variables, image, target):
        prediction, _ = model.apply(variables, image, train=True, mutable=["batch_stats"])
        return (prediction.logits * target).mean()

    one = jax.jit(jax.grad(loss, (0, 1)))(variables, image, target)
    place = by_rows(mesh, (image, target))
    many = jax.jit(jax.grad(loss, (0, 1)), in_shardings=(sharding.replicated(mesh), *place))(
        variables, *jax.device_put((image, target), place)
    )
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(many), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3 * float(np.abs(a).max() + 1e-6))
    return True


@pytest.mark.slow
@pytest.mark.parametrize("spatial", [2, 4, 8])
@pytest.mark.parametrize("rows", [8, 16, 24, 32, 40, 64])
def test_no_rows_over_any_devices_reach_a_wrong_gradient(rows: int, spatial: int):
    model = UNet(2, encoder=Plain(widths=(4, 4, 4)))
    assert agree_or_refuse(model, rows, 1, spatial) == (rows % (2 * 4 * spatial) == 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoder", "rows", "data", "spatial"),
    [
        (Plain(widths=(4, 4, 4)), 16, 2, 2),
        (Plain(widths=(4, 4, 4)), 32, 2, 4),
        (ResNet(depth=10, width=4), 128, 2, 2),
        (ResNet(depth=10, width=4), 256, 2, 4),
        (ResNet(depth=10, width=4), 512, 1, 8),
        (ResNet(depth=10, width=4, output_stride=8), 64, 2, 4),  # halos of 4 rows, 2 a device
    ],
)
def test_gradients_are_right_at_the_fewest_rows_that_check_rows_lets_through(
    encoder, rows, data, spatial
):
    widths = (4,) * len(encoder.strides) if isinstance(encoder, ResNet) else None
    model = UNet(2, encoder=encoder, widths=widths)
    assert agree_or_refuse(model, rows, data, spatial)
    assert not agree_or_refuse(model, rows // 2, data, spatial)


class PoolUnpool(nn.Module):
    """SegNet's pair between convolutions: XLA's gradient is wrong for an odd count a device."""

    stride: int = 2

    @nn.compact
    def __call__(self, image, *, train: bool) -> Prediction:
        x = nn.relu(Conv(4, name="first")(image))
        y, place = max_pool_with_indices(x)
        y = nn.relu(Conv(4, name="coarse")(y))
        return Prediction(logits=Conv(2, name="head")(max_unpool(y, place, x.shape[1:-1])))


@pytest.mark.slow
@pytest.mark.parametrize("rows", [8, 16, 24, 32, 40, 64])
def test_no_rows_of_a_network_that_unpools_reach_a_wrong_gradient(rows: int):
    assert agree_or_refuse(PoolUnpool(), rows, 1, 8) == (rows % 32 == 0)
