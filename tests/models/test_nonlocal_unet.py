"""Non-local U-Net: numbers and counts of a form made from the authors' code; its aggregation.

The numbers of the aggregation stand in tests/layers/test_attention.py and _released.py.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import cost
from jaxseg.attention import attention_maps
from jaxseg.errors import UserError
from jaxseg.models.nonlocal_unet import GlobalAggregation, NonLocalUNet
from tests.models import peers
from tests.models.medical_counts import check_cost, counts

KEY = jax.random.key(0)
X = jax.random.normal(KEY, (2, 6, 4, 8))

PARTS = {"q": "query", "k": "key", "v": "value", "o": "out"}
NAMES = [
    ("i", "stem!"),
    (r"e\.(\d)\.b(\d)\.0", r"level\1_norm\2!"),
    (r"e\.(\d)\.c(\d)", r"level\1_conv\2!"),
    (r"e\.(\d)\.p", r"level\1_shortcut!"),
    (r"bb\.0", "bottom_norm!"),
    *((rf"mid\.{theirs}", f"bottom_aggregation.{ours}!") for theirs, ours in PARTS.items()),
    (r"up\.0\.b\.0", "level1_up_norm!"),
    (r"up\.0\.p", "level1_up_shortcut~"),
    (r"up\.0\.g\.q", "level1_up_aggregation.query~"),
    *((rf"up\.0\.g\.{theirs}", f"level1_up_aggregation.{ours}!") for theirs, ours in PARTS.items()),
    (r"up\.1", "level0_up~"),
    *((rf"d\.{i}\.b(\d)\.0", rf"level{1 - i}_up_norm\1!") for i in (0, 1)),
    *((rf"d\.{i}\.c(\d)", rf"level{1 - i}_up_conv\1!") for i in (0, 1)),
    (r"ob\.0", "head_norm!"),
    (r"o\.1", "head!"),
]
"""Places in the form of the authors' network that was run for the numbers."""


def test_it_gives_the_numbers_of_the_authors_network(shared):
    model = NonLocalUNet(4)
    peers.check_fingerprint(shared / "facts", "nonlocal_unet/NLUNet", model, NAMES, tolerance=1e-4)


def test_it_costs_what_the_authors_network_does(shared):
    check_cost(shared / "facts", "nonlocal_unet/NLUNet_32_d3_iseg", NonLocalUNet(4))


def test_without_attention_it_costs_what_the_baseline_does(shared):
    known = counts(shared / "facts")["nonlocal_unet/baseline_noatt"]
    x, model = (
        jax.ShapeDtypeStruct((1, 32, 32, 32, 2), jnp.float32),
        NonLocalUNet(4, aggregations=()),
    )
    found = cost.counted(model, x)
    unused = 2 * 128  # that form keeps the norm before the attention
    assert (found["parameters"] + unused, found["macs"]) == (known["params"], known["macs"])


def test_down_stands_in_the_place_of_the_last_residual_block():
    x = jnp.zeros((1, 8, 12, 1))

    def of(*aggregations) -> tuple[set[str], tuple[int, ...]]:
        model = NonLocalUNet(2, widths=(4, 6), aggregations=aggregations)
        out, made = jax.eval_shape(lambda: model.init_with_output(KEY, x, train=False))
        return set(made["params"]), out.logits.shape

    down, plain = of("down"), of()
    assert down[1] == plain[1] == (1, 8, 12, 2)
    assert {name for name in plain[0] - down[0]} == {
        *(f"level1_{part}" for part in ("norm1", "norm2", "conv1", "conv2", "shortcut"))
    }
    assert {name for name in down[0] - plain[0]} == {
        *(f"level1_down_{part}" for part in ("norm", "aggregation", "shortcut"))
    }
    with pytest.raises(
        UserError, match=r"'down' and 'up' lead to another level, and widths=\(4,\)"
    ):
        NonLocalUNet(2, widths=(4,)).init(KEY, x, train=False)


@pytest.mark.parametrize(
    ("size", "expected"), [("same", (5, 4)), ("down", (3, 2)), ("up", (10, 8))]
)
@pytest.mark.parametrize("rank", [2, 3])
def test_the_query_sets_the_size(size, expected, rank):
    x = jnp.zeros((1, *(5, 4, 4)[:rank], 8))
    layer = GlobalAggregation(6, size, heads=2, width=4)
    y, variables = jax.eval_shape(lambda: layer.init_with_output(KEY, x, train=False))
    assert y.shape == (1, *(*expected, expected[-1])[:rank], 6)
    assert variables["params"]["out"]["kernel"].shape[-2:] == (4, 6)


def test_dropout_acts_in_training_only_and_follows_its_rng():
    layer = GlobalAggregation(8, dropout=0.5)
    variables = layer.init(KEY, X, train=False)
    apply = jax.jit(
        lambda seed: layer.apply(variables, X, train=True, rngs={"dropout": jax.random.key(seed)})
    )
    still = layer.apply(variables, X, train=False)
    np.testing.assert_array_equal(apply(1), apply(1))
    assert float(abs(apply(1) - apply(2)).max()) > 1e-3
    assert float(abs(apply(1) - still).max()) > 1e-3


def test_what_each_pixel_receives_of_each_head_can_be_read_out():
    x, model = jnp.zeros((1, 7, 9, 1)), NonLocalUNet(2, widths=(4, 6))
    made = jax.eval_shape(lambda x: model.init(KEY, x, train=False), x)
    maps = jax.eval_shape(lambda v, x: attention_maps(model, v, x), made, x)
    shapes = {name: shares.shape for name, shares in maps.items()}
    assert shapes == {
        "bottom_aggregation": (1, 4, 5, 2),
        "level0_up_aggregation": (1, 4, 5, 1),
    }


@pytest.mark.parametrize(("size", "fits"), [("same", 24), ("up", 16)])
def test_a_map_that_is_too_large_as_a_whole_is_refused_with_one_that_fits(size, fits):
    def run(n: int, layer: GlobalAggregation):
        x = jax.ShapeDtypeStruct((1, n, n, n, 4), jnp.float32)
        jax.eval_shape(lambda x: layer.init(KEY, x, train=False), x)

    whole, chunked = (GlobalAggregation(4, size, attention=form) for form in ("whole", "chunked"))
    said = rf"\(64, 64, 64\); \({fits}, {fits}, {fits}\) fits .*, or attention='chunked'"
    with pytest.raises(UserError, match=said):
        run(64, whole)
    run(64, chunked), run(fits, whole)


def test_chunks_and_the_whole_give_the_same(monkeypatch):
    layer = GlobalAggregation(8, heads=2)
    variables, whole = layer.init(KEY, X, train=False), layer.clone(attention="whole")
    monkeypatch.setattr(
        sys.modules["jaxseg.ops.attend"], "AT_ONCE", 5 * 2 * 2 * 24
    )  # of 24 queries

    def run(layer):
        def apply(x):
            return layer.apply(variables, x, train=False)

        return "scan" in str(jax.make_jaxpr(apply)(X)), jax.jit(apply)(X)

    (in_chunks, ours), (in_one, theirs) = run(layer), run(whole)
    assert in_chunks and not in_one
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(UserError, match="heads=3 does not divide the width 8; 2 does"):
        GlobalAggregation(8, heads=3).init(KEY, X, train=False)
