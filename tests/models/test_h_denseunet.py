"""H-DenseUNet: the released counts; what its parts see; stages of training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import cost
from jaxseg.errors import UserError
from jaxseg.models.dense_unet import DenseUNet
from jaxseg.models.h_denseunet import HDenseUNet, with_neighbours
from tests.models.cases import CASES

pytestmark = pytest.mark.usefixtures("unchecked")

KEY = jax.random.key(0)
TINY = HDenseUNet(3, **CASES["h_denseunet"].fields)


def made(model, shape):
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    return jax.eval_shape(lambda x: model.init(KEY, x, train=False), x)


def test_its_parameters_are_those_of_the_released_network():
    found = made(HDenseUNet(3), (1, 32, 32, 8, 1))  # counts-medical.json, hdense/...
    classifier = 64 * 3 + 3  # of the 3-D part, which no output of the released network sees
    sizes = {
        name: sum(leaf.size for kind in found.values() for leaf in jax.tree.leaves(kind[name]))
        for name in ("plane", "volume")
    }
    assert sizes == {"plane": 45_305_027, "volume": 16_028_683 - classifier}
    assert cost.parameters(found) == 61_195_249 - classifier
    assert sum(leaf.size for leaf in jax.tree.leaves(found)) == 61_444_817 - classifier


def test_a_slice_stands_between_its_neighbours_and_at_the_ends_again():
    x = np.arange(2 * 2 * 1 * 4, dtype="f4").reshape(2, 2, 1, 4, 1)
    planes = np.asarray(with_neighbours(jnp.asarray(x), 3))
    assert planes.shape == (8, 2, 1, 3)
    for row in range(2):
        for z in range(4):
            for channel, seen in enumerate((max(z - 1, 0), z, min(z + 1, 3))):
                np.testing.assert_array_equal(
                    planes[4 * row + z, ..., channel], x[row, :, :, seen, 0]
                )


def test_the_plane_is_a_dense_unet_of_as_many_channels_as_slices():
    """So that the first stage of training is a run of that network."""
    fields = {name: getattr(TINY, name) for name in ("layers", "growth", "first", "widths")}
    alone = made(DenseUNet(3, **fields, skips="none", norms="released"), (1, 32, 32, 3))
    both = made(TINY, (1, 32, 32, 8, 1))
    assert {kind: tree["plane"] for kind, tree in both.items()} == alone


def test_an_image_is_a_volume_of_one_slice():
    random = np.random.RandomState(0)
    x = random.standard_normal((1, 8, 8, 1)).astype("f4")
    variables = jax.tree.map(
        lambda a: abs(random.standard_normal(a.shape)).astype("f4"), made(TINY, x.shape)
    )

    @jax.jit
    def run(v, x):
        volume = TINY.apply(v, x[..., None, :], train=False).logits
        return TINY.apply(v, x, train=False).logits, volume[..., 0, :]

    image, volume = jax.device_get(run(variables, x))
    np.testing.assert_array_equal(image, volume)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"slices": 2}, "slices=2: must be odd"),
        ({"volume_widths": (5, 4)}, "must be 5 at last, as widths="),
        ({"widths": (5,)}, "HDenseUNet.widths=.*must be those of the two finest"),
        ({"dropout": 1.5}, r"dropout=1.5: must be in \[0, 1\]"),
    ],
)
def test_what_it_cannot_be_is_refused(fields, message):
    with pytest.raises(UserError, match=message):
        made(TINY.clone(**fields), (1, 8, 8, 4, 1))
