import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxseg import step
from jaxseg.errors import UserError
from jaxseg.optimizers import SGD
from jaxseg.types import Batch


def make(value=2.0, *, ema=False):
    variables = {"params": {"w": jnp.asarray([value, -value])}}
    return step.create(jax.random.key(3), variables, optax.sgd(0.5), ema=ema)


def test_an_update_is_the_optimizers_and_counts():
    state = step.update(make(), {"w": jnp.ones(2)}, {}, optax.sgd(0.5), ema=None)
    np.testing.assert_allclose(state.params["w"], [1.5, -2.5])
    assert int(state.step) == 1 and state.ema == {}


def test_the_average_moves_by_its_decay():
    state = step.update(make(ema=True), {"w": jnp.ones(2)}, {}, optax.sgd(0.5), ema=0.9)
    np.testing.assert_allclose(state.ema["w"], [0.9 * 2 + 0.1 * 1.5, 0.9 * -2 + 0.1 * -2.5])


def test_each_step_draws_otherwise_and_the_same_again():
    first = make()
    second = first._replace(step=first.step + 1)
    draws = [jax.random.uniform(step.key(s)) for s in (first, first, second)]
    assert draws[0] == draws[1] != draws[2]


def test_the_average_does_not_share_buffers_with_the_parameters():
    state = make(ema=True)
    pointers = [x.unsafe_buffer_pointer() for x in (state.params["w"], state.ema["w"])]
    assert pointers[0] != pointers[1]


def test_parts_are_weighted_by_their_valid_rows():
    """Three valid rows in one part and one in the other: a mean of means would be off."""
    x = jnp.asarray([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
    valid = jnp.asarray([True, True, True, False, True, False, False, False])
    batch = Batch(x.reshape(8, 1, 1), jnp.zeros((8, 1), jnp.int32), valid)

    def loss(params, stats, rows, _rng):
        weight = rows.valid.astype(jnp.float32)
        mean = (weight * rows.image[:, 0, 0]).sum() / weight.sum()
        return params["w"][0] * mean, (stats, {"loss": mean})

    grads, _, scalars = step.gradients(loss, make(), batch, jax.random.key(0), accumulate=2)
    expected = (1 + 2 + 3 + 5) / 4
    np.testing.assert_allclose(grads["w"], [expected, 0.0], rtol=1e-6)
    np.testing.assert_allclose(scalars["loss"], expected, rtol=1e-6)


RATES = {"encoder": {"stem": {"kernel": jnp.ones((2, 2))}, "top": {"kernel": jnp.ones((2, 2))}},
         "head": {"kernel": jnp.ones((2, 2))}}  # fmt: skip


def moved(rates, optimizer, grads=None):
    """Parameters and statistics after one step with gradients of one."""
    stats = {"encoder": {"stem": {"mean": jnp.zeros(2)}}, "head": {"mean": jnp.zeros(2)}}
    state = step.create(
        jax.random.key(0), {"params": RATES, "batch_stats": stats}, optimizer, ema=False
    )
    grads = jax.tree.map(jnp.ones_like, RATES) if grads is None else grads
    new = jax.tree.map(lambda s: s + 1, stats)
    return step.update(state, grads, new, optimizer, ema=None, rates=rates)


def test_rates_are_factors_of_the_update_by_path():
    rates = (("encoder", 0.5), ("encoder/stem", 0.0))
    state = moved(rates, SGD(learning_rate=0.1, momentum=0.0, weight_decay=0.5).build(2))
    change = jax.tree.map(lambda a, b: float((a - b).max()), state.params, RATES)
    np.testing.assert_allclose(change["head"]["kernel"], -0.15, rtol=1e-5)
    np.testing.assert_allclose(change["encoder"]["top"]["kernel"], -0.075, rtol=1e-5)
    assert change["encoder"]["stem"]["kernel"] == 0  # weight decay does not move it either
    assert float(state.batch_stats["head"]["mean"][0]) == 1
    assert float(state.batch_stats["encoder"]["stem"]["mean"][0]) == 0


def test_the_rate_of_a_role_multiplies_that_of_its_place():
    rates = (("encoder", 0.5), ("head", 10.0), ("*/kernel", 2.0))
    state = moved(rates, SGD(learning_rate=0.1, momentum=0.0).build(2))
    change = jax.tree.map(lambda a, b: float((a - b).max()), state.params, RATES)
    np.testing.assert_allclose(change["encoder"]["top"]["kernel"], -0.1, rtol=1e-5)
    np.testing.assert_allclose(change["head"]["kernel"], -2.0, rtol=1e-5)
    np.testing.assert_array_equal(state.batch_stats["head"]["mean"], 1)
    step.check_rates(rates, RATES)
    with pytest.raises(UserError, match=r"no parameter lies at '\*/kernels'.*'\*/kernel'"):
        step.check_rates((("*/kernels", 2.0),), RATES)


def test_what_is_frozen_counts_in_no_norm():
    grads = jax.tree.map(jnp.ones_like, RATES)
    assert float(step.gradient_norm(grads)) == pytest.approx(12**0.5)
    assert float(step.gradient_norm(grads, (("encoder", 0.0),))) == pytest.approx(2)
    clipped = SGD(learning_rate=1.0, momentum=0.0, clip=1.0).build(2)
    state = moved((("encoder", 0.0),), clipped)
    np.testing.assert_allclose(RATES["head"]["kernel"] - state.params["head"]["kernel"], 0.5)


def test_a_rate_of_no_parameter_is_refused():
    for path, said in (
        ("enc", "'encoder'"),
        ("encoder/ste", "encoder/stem"),
        ("kernel", r"\*/kernel"),
    ):
        with pytest.raises(UserError, match=f"no parameter lies at {path!r}.*{said}"):
            step.check_rates(((path, 0.1),), RATES)
    with pytest.raises(UserError, match="must be at least 0"):
        step.check_rates((("head", -1.0),), RATES)
