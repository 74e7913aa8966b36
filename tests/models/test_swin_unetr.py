"""Swin UNETR: MONAI's counts and numbers, orders of merging, what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.models.swin_unetr import PatchMerging, SwinUNETR
from tests.models import peers
from tests.models.medical_counts import check_cost


def projected_padding(width, size):
    """MACs of the attention's last linear layer on the pixels that windows are padded with."""
    maps = [(size // 2**stage, width * 2**i) for i, stage in enumerate((1, 2, 3, 4))]
    return sum(2 * ((-n // 7 * -7) ** 3 - n**3) * c**2 for n, c in maps if n > 7)


@pytest.mark.parametrize(
    ("name", "model", "size"),
    [
        ("48_1ch_14", SwinUNETR(14), 96),
        ("24_1ch_14", SwinUNETR(14, width=24), 96),
        ("48_4ch_3", SwinUNETR(3), 64),
        ("48_v2", SwinUNETR(14, form="v2"), 64),
    ],
)
def test_it_costs_what_monai_does(shared, name, model, size):
    more = projected_padding(model.width, size)
    check_cost(shared / "facts", f"monai/SwinUNETR_{name}", model, twice=more)


def test_its_numbers_are_those_of_monai(shared):
    """At 64^3, so that the last stage's map is smaller than a window."""
    model = SwinUNETR(3, width=12)
    names = model.names["monai"]
    peers.check_fingerprint(shared / "facts", "monai/SwinUNETR_12", model, names)


@pytest.mark.parametrize(
    ("order", "wanted"),
    [
        ("merging", "000 100 010 001 110 101 011 111"),
        ("mergingv2", "000 001 010 011 100 101 110 111"),
        ("merging_v0.9", "000 100 010 001 101 010 001 111"),
    ],
)
def test_pixels_are_merged_in_the_order_of_the_peers_release(order, wanted):
    x = jnp.arange(8.0).reshape(1, 2, 2, 2, 1)
    picked = np.array([x[0, int(a), int(b), int(c), 0] for a, b, c in wanted.split()])
    normed = (picked - picked.mean()) / picked.std()
    kernel = jnp.eye(8)[None, None, None]  # of which two columns are the two features
    norm = {"scale": jnp.ones(8), "bias": jnp.zeros(8)}
    for i in range(0, 8, 2):
        given = {"params": {"norm": norm, "reduce": {"kernel": kernel[..., i : i + 2]}}}
        y = PatchMerging(order).apply(given, x)
        np.testing.assert_allclose(y[0, 0, 0, 0], normed[i : i + 2], rtol=1e-3)


SMALL = SwinUNETR(2, width=4, depths=(2,), heads=(2,), window=4)


def traced(model, size=(16, 16)):
    x = jax.ShapeDtypeStruct((1, *size, 1), jnp.float32)
    return jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), x)


def test_blocks_are_computed_again_where_that_is_asked_for():
    again, x = SMALL.clone(remat=True, drop_path=0.1), jnp.zeros((1, 16, 16, 1))
    params = traced(SMALL)
    assert params == traced(again)

    def loss(variables):
        return again.apply(variables, x, train=True, rngs={"dropout": jax.random.key(0)})[0].sum()

    assert "remat" in str(jax.make_jaxpr(jax.grad(loss))(params))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"depths": ()}, r"depths=\(\): must be one number or more"),
        ({"heads": (2, 2)}, r"heads=\(2, 2\): must be 1 numbers, one for each of depths"),
        ({"heads": (3,)}, "heads=.*divisors of the stages' widths; stage 1 has 4"),
        ({"window": (4, 4, 4)}, "window=.* has 3 numbers; the image has 2 axes"),
        ({"window": 0}, "window=0: must be at least 1"),
        ({"expansion": 0.1}, "expansion=0.1: must be large enough for one feature"),
        ({"drop_path": -0.1}, r"drop_path=-0.1: must be in \[0, 1\]"),
    ],
)
def test_what_it_cannot_be_is_refused(fields, message):
    with pytest.raises(UserError, match=message):
        traced(SMALL.clone(**fields))
