import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxseg.errors import UserError
from jaxseg.optimizers import (
    OPTIMIZERS,
    SGD,
    Adam,
    AdamW,
    Constant,
    Cosine,
    Exponential,
    Poly,
    RMSprop,
    decays,
)

STEPS = 10
PARAMS = {
    "conv": {"kernel": jnp.asarray([[1.0, -2.0], [3.0, 0.5]]), "bias": jnp.asarray([1.0, 2.0])},
    "norm": {"scale": jnp.asarray([2.0, 2.0])},
}
GRADS = jax.tree.map(lambda p: 0.1 * p + 0.3, PARAMS)

every = pytest.mark.parametrize("optimizer", [cls() for cls in OPTIMIZERS.values()], ids=OPTIMIZERS)


def run(optimizer, steps: int, params=PARAMS, grads=GRADS, state=None):
    transform = optimizer.build(STEPS)
    state = transform.init(params) if state is None else state

    @jax.jit
    def step(params, state):
        updates, state = transform.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    for _ in range(steps):
        params, state = step(params, state)
    return params, state


def test_a_constant_stays():
    rate = Constant(0.3).build(STEPS)
    assert all(math.isclose(rate(t), 0.3) for t in (0, 5, 10, 99))


def test_poly_falls_by_its_power_to_zero():
    rate = Poly(2.0, power=0.9).build(STEPS)
    for t in range(STEPS + 1):
        assert math.isclose(rate(t), 2.0 * (1 - t / STEPS) ** 0.9, rel_tol=1e-5, abs_tol=1e-6)
    assert rate(STEPS + 5) == 0


def test_cosine_falls_by_half_a_wave_to_its_end():
    rate = Cosine(2.0, end=0.5).build(STEPS)
    for t in range(STEPS + 1):
        expected = 0.5 + 1.5 * (1 + math.cos(math.pi * t / STEPS)) / 2
        assert math.isclose(rate(t), expected, rel_tol=1e-5)
    assert math.isclose(rate(STEPS + 5), 0.5, rel_tol=1e-6)


def test_an_exponential_falls_in_steps():
    rate = Exponential(2.0, decay=0.1, every=3, warmup=4).build(STEPS)
    found = [float(rate(t)) for t in (4, 6, 7, 9, 10)]
    np.testing.assert_allclose(found, [2.0, 2.0, 0.2, 0.2, 0.02], rtol=1e-5)
    with pytest.raises(UserError, match=r"learning_rate.every=0: must be at least 1"):
        Exponential(2.0, decay=0.1, every=0).build(STEPS)


@pytest.mark.parametrize(
    "schedule, end", [(Constant(2.0, warmup=4), 2), (Poly(2.0, warmup=4), 0), (Cosine(2.0, 4), 0)]
)
def test_warmup_is_linear_from_zero_to_the_peak(schedule, end):
    rate = schedule.build(STEPS)
    assert [float(rate(t)) for t in range(5)] == [0, 0.5, 1, 1.5, 2]
    assert math.isclose(rate(STEPS), end, abs_tol=1e-6)


def test_poly_after_warmup_counts_from_its_end():
    rate = Poly(1.0, power=2.0, warmup=4).build(STEPS)
    assert math.isclose(rate(7), (1 - 3 / 6) ** 2, rel_tol=1e-5)


def test_a_warmup_longer_than_the_run_ends_before_its_last_step():
    for schedule in (Poly(1.0, warmup=50), Cosine(1.0, warmup=50), Constant(1.0, warmup=50)):
        assert float(schedule.build(STEPS)(STEPS - 1)) == 1.0
        assert float(schedule.build(1)(0)) == 1.0


def test_a_negative_warmup_is_refused():
    with pytest.raises(UserError, match="warmup=-1"):
        Poly(1.0, warmup=-1).build(STEPS)


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_with_poly_is_the_update_written_here(nesterov):
    optimizer = SGD(Poly(0.1), momentum=0.9, nesterov=nesterov, weight_decay=0.01)
    got, _ = run(optimizer, 3)
    for path, decay in ((("conv", "kernel"), 0.01), (("conv", "bias"), 0.0)):
        p = np.asarray(PARAMS[path[0]][path[1]], np.float64)
        gradient, velocity = 0.1 * p + 0.3, np.zeros_like(p)
        for t in range(3):
            g = gradient + decay * p
            velocity = 0.9 * velocity + g
            direction = g + 0.9 * velocity if nesterov else velocity
            p = p - 0.1 * (1 - t / STEPS) ** 0.9 * direction
        np.testing.assert_allclose(got[path[0]][path[1]], p, rtol=1e-5)


def test_sgd_without_momentum_follows_the_gradient():
    got, _ = run(SGD(0.5, momentum=0.0), 1)
    expected = PARAMS["conv"]["kernel"] - 0.5 * GRADS["conv"]["kernel"]
    np.testing.assert_allclose(got["conv"]["kernel"], expected, rtol=1e-6)


def test_adamw_decays_kernels_only_and_apart_from_the_gradient():
    zero = jax.tree.map(jnp.zeros_like, GRADS)
    got, _ = run(AdamW(0.1, weight_decay=0.5), 1, grads=zero)
    np.testing.assert_allclose(got["conv"]["kernel"], 0.95 * PARAMS["conv"]["kernel"], rtol=1e-6)
    np.testing.assert_array_equal(got["conv"]["bias"], PARAMS["conv"]["bias"])
    np.testing.assert_array_equal(got["norm"]["scale"], PARAMS["norm"]["scale"])


def test_the_first_step_of_adam_is_the_rate_in_the_sign_of_the_gradient():
    for optimizer in (Adam(0.1), AdamW(0.1, weight_decay=0.0)):
        got, _ = run(optimizer, 1)
        step = got["conv"]["kernel"] - PARAMS["conv"]["kernel"]
        np.testing.assert_allclose(step, -0.1 * jnp.sign(GRADS["conv"]["kernel"]), rtol=1e-4)


def test_rmsprop_divides_by_the_root_of_the_mean_square():
    found, _ = run(RMSprop(0.1, decay=0.9, eps=1e-3, weight_decay=0.5), 3)
    p, v, g = np.asarray(PARAMS["conv"]["kernel"]), 0.0, np.asarray(GRADS["conv"]["kernel"])
    for _ in range(3):
        decayed = g + 0.5 * p
        v = 0.9 * v + 0.1 * decayed**2
        p = p - 0.1 * decayed / (np.sqrt(v) + 1e-3)
    np.testing.assert_allclose(found["conv"]["kernel"], p, rtol=1e-5)


def test_decay_spares_what_has_one_axis_or_none():
    assert decays({"a": jnp.zeros(()), "b": jnp.zeros(3), "c": jnp.zeros((3, 3, 1, 2))}) == {
        "a": False,
        "b": False,
        "c": True,
    }


def test_clipping_bounds_the_global_norm():
    got, _ = run(SGD(1.0, momentum=0.0, clip=0.1), 1)
    step = jax.tree.map(lambda a, b: a - b, got, PARAMS)
    assert math.isclose(optax.tree.norm(step), 0.1, rel_tol=1e-5)
    loose, _ = run(SGD(1.0, momentum=0.0, clip=1e3), 1)
    free, _ = run(SGD(1.0, momentum=0.0), 1)
    jax.tree.map(np.testing.assert_array_equal, loose, free)


def test_a_clip_that_would_stop_all_is_refused():
    with pytest.raises(UserError, match="recipe.optimizer.clip=0"):
        SGD(clip=0.0).build(STEPS)


@every
def test_the_state_is_arrays_whose_structure_the_rate_does_not_change(optimizer):
    cls = type(optimizer)
    states = [
        cls(rate).build(STEPS).init(PARAMS) for rate in (0.1, Constant(0.1), Poly(0.1), Cosine(0.1))
    ]
    assert len({jax.tree.structure(state) for state in states}) == 1
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(states[0]))


@every
def test_a_restart_goes_on_where_it_stopped(optimizer):
    optimizer = type(optimizer)(Poly(0.1, warmup=2))
    whole, _ = run(optimizer, 6)
    params, state = run(optimizer, 3)
    leaves, structure = jax.tree.flatten(state)
    restored = jax.tree.unflatten(structure, [jnp.asarray(np.asarray(leaf)) for leaf in leaves])
    # The same gradients as before: those of the first parameters.
    continued, _ = run(optimizer, 3, params=params, state=restored)
    jax.tree.map(np.testing.assert_array_equal, continued, whole)


@every
def test_the_reported_rate_is_the_one_applied(optimizer):
    cls = type(optimizer)
    rate = cls(Cosine(0.1, warmup=2)).rate(STEPS)
    assert float(rate(0)) == 0 and math.isclose(rate(2), 0.1, rel_tol=1e-6)
    assert math.isclose(jax.jit(rate)(jnp.int32(2)), 0.1, rel_tol=1e-6)
    still, _ = run(cls(Cosine(0.1, warmup=2)), 1)  # rate 0 at step 0
    jax.tree.map(np.testing.assert_array_equal, still, PARAMS)


@every
def test_it_finds_the_bottom_of_a_bowl(optimizer):
    transform = type(optimizer)(Cosine(0.3, warmup=5)).build(100)
    params = jnp.asarray([[3.0, -2.0]])
    state = transform.init(params)

    @jax.jit
    def step(params, state):
        updates, state = transform.update(2 * params, state, params)
        return optax.apply_updates(params, updates), state

    for _ in range(100):
        params, state = step(params, state)
    assert jnp.abs(params).max() < 0.05
