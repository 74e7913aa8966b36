"""KiU-Net: the authors' numbers and counts, the fusion of its branches.

``kiunet/kiunet3d`` is not compared: a stub of other widths, without norms.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.models.kiunet import CrossFusion, KiUNet
from tests.models import peers
from tests.models.medical_counts import check_cost

NEVER_RUN = r"int(er)?d3_.*"
"""Two convolutions of 64 channels and their norms, which the authors' code makes and never runs."""

THEIRS = 2 * (9 * 64 * 64 + 64 + 2 * 64)


def test_it_gives_the_authors_numbers(shared):
    model = KiUNet(2, head_activation="relu")
    names = model.names["jeya-maria-jose/KiU-Net-pytorch"]
    facts = shared / "facts"
    peers.check_fingerprint(
        facts, "kiunet/kiunet", model, names, tolerance=1e-4, never_run=NEVER_RUN
    )


@pytest.mark.parametrize(
    ("key", "block", "twice"),
    [
        ("kiunet", "plain", 0),
        # its first layer of the Ki branch runs the U branch's convolution, and drops the result
        ("reskiunet", "residual", 128 * 128 * 9 * 3 * 16),
        ("DenseKiUNet", "dense", 0),
    ],
)
def test_it_costs_what_the_authors_does_but_for_what_has_no_part(shared, key, block, twice):
    model = KiUNet(2, block=block)
    check_cost(shared / "facts", f"kiunet/{key}", model, never_run=THEIRS, twice=twice)


def test_one_branch_shrinks_and_the_other_grows():
    model, sizes = KiUNet(2, widths=(2, 3, 4)), {}
    x = jnp.zeros((1, 8, 16, 1))
    _, state = jax.eval_shape(
        lambda: model.init_with_output(
            jax.random.key(0), x, train=False, capture_intermediates=True
        )
    )
    for name, found in state["intermediates"].items():
        if name.startswith(("u_", "ki_")):
            sizes[name] = found["__call__"][0].shape[1:]
    assert [sizes[f"u_encoder{i}"] for i in range(3)] == [(4, 8, 2), (2, 4, 3), (1, 2, 4)]
    assert [sizes[f"ki_encoder{i}"] for i in range(3)] == [(16, 32, 2), (32, 64, 3), (64, 128, 4)]
    assert sizes["u_decoder0"] == sizes["ki_decoder0"] == (8, 16, 8)


def test_the_way_down_sees_the_two_middle_pixels_of_four():
    u, ki = jnp.zeros((1, 2, 3, 1)), jnp.arange(8 * 12.0).reshape(1, 8, 12, 1)
    layer = CrossFusion()
    init = jax.jit(lambda: layer.init(jax.random.key(0), u, ki, train=False))
    variables = init()
    for way in ("to_u", "to_ki"):
        conv = variables["params"][way]["conv"]
        conv["kernel"] = jnp.zeros((3, 3, 1, 1)).at[1, 1].set(1.0)
    down, _ = jax.jit(lambda v: layer.apply(v, u, ki, train=False))(variables)
    wanted = np.asarray(ki)[0, 1::4, 1::4, 0]
    wanted = wanted + 0.5 * (12 + 1)  # half a row and half a pixel on
    np.testing.assert_allclose(down[0, ..., 0], wanted, rtol=1e-4)


def test_a_dense_block_of_a_width_that_has_no_quarter_is_refused():
    model = KiUNet(2, widths=(6,), block="dense")
    with pytest.raises(UserError, match="block='dense' .* 6 is no multiple of 4"):
        x = jnp.zeros((1, 4, 4, 1))
        jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))
