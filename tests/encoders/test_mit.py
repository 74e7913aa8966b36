"""Mix Transformer: its sizes, and what its fields have to be."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from jaxseg import cost
from jaxseg.encoders import ENCODERS, MiT
from jaxseg.errors import UserError


def traced(encoder, size=(64, 96)):
    x = jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)
    return jax.eval_shape(lambda x: encoder.init_with_output(jax.random.key(0), x, train=False), x)


# segmentation_models_pytorch's encoders, by sum(p.numel() for p in encoder.parameters())
PARAMETERS = {
    "b0": 3_319_392,
    "b1": 13_151_424,
    "b2": 24_196_288,
    "b3": 44_072_128,
    "b4": 60_842_688,
    "b5": 81_443_008,
}


@pytest.mark.parametrize(("size", "parameters"), PARAMETERS.items())
def test_a_size_has_its_parameters(size, parameters):
    features, variables = traced(ENCODERS[f"mit_{size}"]())
    assert cost.parameters(variables) == parameters
    widths = (32, 64, 160, 256) if size == "b0" else (64, 128, 320, 512)
    assert [f.shape for f in features] == [
        (1, 64 // s, 96 // s, c) for s, c in zip((4, 8, 16, 32), widths, strict=True)
    ]


def test_the_first_block_is_never_dropped_and_the_last_most():
    encoder = MiT((4, 4), blocks=(2, 1), heads=(1, 1), reductions=(2, 1), drop_path=0.4)
    rates = []

    def seen(next_fun, args, kwargs, context):
        if type(context.module).__name__ == "StochasticDepth":
            rates.append(context.module.rate)
        return next_fun(*args, **kwargs)

    with nn.intercept_methods(seen):
        traced(encoder, (32, 32))
    assert rates == pytest.approx([0, 0, 0.2, 0.2, 0.4, 0.4])


def test_fields_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match=r"heads=\(1, 2\): must have 4 numbers"):
        traced(MiT(heads=(1, 2)))
    with pytest.raises(UserError, match="reduction=8 leaves nothing of size"):
        traced(MiT(), (16, 16))
