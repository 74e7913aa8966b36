import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.layers import Conv, Head

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("kernel_size", [1, 3])
@pytest.mark.parametrize("size", [(6, 5), (4, 3, 5)])
def test_in_float32_it_is_the_convolution_of_the_same_parameters(size, kernel_size, platform):
    x = jnp.asarray(RNG.normal(size=(2, *size, 4)), jnp.float32)
    conv, head = (layer(3, kernel_size=kernel_size) for layer in (Conv, Head))
    variables = conv.init(jax.random.key(0), x)
    assert jax.tree.map(jnp.shape, head.init(jax.random.key(1), x)) == jax.tree.map(
        jnp.shape, variables
    )
    y = conv.apply(variables, x)
    np.testing.assert_allclose(head.apply(variables, x), y, atol=1e-6)
    variables["params"] = {"kernel": variables["params"]["kernel"]}  # the bias is 0 at first
    np.testing.assert_allclose(head.clone(use_bias=False).apply(variables, x), y, atol=1e-6)


@pytest.mark.parametrize("kernel_size", [1, 3])
def test_logits_of_half_precision_are_not_rounded_to_it(kernel_size, platform):
    x = jnp.asarray(RNG.normal(size=(2, 6, 5, 64)), jnp.bfloat16)
    head = Head(3, kernel_size=kernel_size)
    variables = head.init(jax.random.key(0), x)
    y = head.apply(variables, x)
    assert y.dtype == jnp.float32
    np.testing.assert_allclose(y, head.apply(variables, x.astype(jnp.float32)), atol=1e-5)


@pytest.mark.parametrize("kernel_size", [1, 3])
def test_the_gradient_of_half_precision_is_of_that_and_close(kernel_size, platform):
    x = jnp.asarray(RNG.normal(size=(2, 6, 5, 8)), jnp.bfloat16)
    above = jnp.asarray(RNG.normal(size=(2, 6, 5, 3)), jnp.float32)
    head = Head(3, kernel_size=kernel_size)
    variables = head.init(jax.random.key(0), x)

    @jax.jit
    def gradients(x):
        back = jax.vjp(lambda v, x: head.apply(v, x), variables, x)[1]
        return back(above)

    (ours, to_x), (theirs, wide) = gradients(x), gradients(x.astype(jnp.float32))
    assert to_x.dtype == jnp.bfloat16
    assert all(g.dtype == jnp.float32 for g in jax.tree.leaves(ours))
    np.testing.assert_allclose(to_x.astype(jnp.float32), wide, atol=0.02 * float(abs(wide).max()))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, atol=0.01 * float(abs(b).max()))


def test_scores_may_be_zero_at_first():
    x = jax.random.normal(jax.random.key(0), (1, 4, 4, 3))
    y, _ = Head(2, kernel_init="zeros").init_with_output(jax.random.key(1), x)
    assert (y == 0).all()
