"""Ki-Net: the authors' numbers and counts, and that it sees little of the image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.models.kinet import KiNet
from tests.models import peers
from tests.models.medical_counts import check_cost


def test_it_gives_the_authors_numbers(shared):
    model = KiNet(2, head_activation="relu")
    names = model.names["jeya-maria-jose/KiU-Net-pytorch"]
    peers.check_fingerprint(shared / "facts", "kiunet/kinet", model, names, tolerance=1e-4)


@pytest.mark.parametrize(("key", "skips"), [("kinet(kitenet)", "none"), ("kinetwithsk", "add")])
def test_it_costs_what_the_authors_does(shared, key, skips):
    check_cost(shared / "facts", f"kiunet/{key}", KiNet(2, skips=skips))


def test_a_pixel_sees_few_around_it():
    model, x = KiNet(1, widths=(2, 3)), jnp.ones((1, 21, 21, 1))
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))
    variables = jax.tree.map(lambda leaf: jnp.ones(leaf.shape), shapes)
    seen = jax.jit(jax.grad(lambda x: model.apply(variables, x, train=False).logits[0, 10, 10, 0]))(
        x
    )
    rows = np.flatnonzero(np.asarray(seen)[0, ..., 0].any(1))
    # 1 for the first convolution, and halves and quarters of a pixel of those that follow
    assert 2 <= 10 - rows.min() <= 4 and 2 <= rows.max() - 10 <= 4
