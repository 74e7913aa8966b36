"""The U-Net of the paper: sizes as in its figure 1."""

import jax
import jax.numpy as jnp
import pytest

from jaxseg import cost
from jaxseg.errors import UserError
from jaxseg.models.unet_2015 import UNet2015
from jaxseg.types import ValidConvolutions, output_size


def test_572_gives_388_with_the_papers_parameters_and_macs():
    model = UNet2015(2)
    x = jax.ShapeDtypeStruct((1, 572, 572, 1), jnp.float32)
    prediction, variables = jax.eval_shape(
        lambda x: model.init_with_output(jax.random.key(0), x, train=False), x
    )
    assert prediction.logits.shape == (1, 388, 388, 2)
    assert cost.parameters(variables) == 31_030_658
    macs = cost.macs(lambda v, x: model.apply(v, x, train=False), variables, x)
    assert macs == 150_428_424_448  # by torch's FlopCounterMode, halved


def test_it_says_its_output_size():
    model = UNet2015(2)
    assert isinstance(model, ValidConvolutions)
    assert output_size(model, (572, 588)) == (388, 404)


def test_the_sizes_that_fit_are_12_past_a_multiple_of_16_from_188_on():
    model = UNet2015(2)

    def fits(n: int) -> bool:
        try:
            return model.output_size((n,)) == (n - 184,)
        except UserError:
            return False

    assert [n for n in range(1, 700) if fits(n)] == [n for n in range(188, 700) if n % 16 == 12]


@pytest.mark.parametrize(
    ("size", "named"), [((512, 512), "508, 524"), ((20, 572), "188"), ((572, 600), "588, 604")]
)
def test_a_size_that_does_not_fit_is_refused_with_the_nearest(size, named: str):
    model = UNet2015(2, widths=(4, 4, 4, 4, 4))
    with pytest.raises(UserError, match=f"{size[0]} x {size[1]} does not fit.* do: {named} "):
        model.init(jax.random.key(0), jnp.zeros((1, *size, 1)), train=False)


def test_dropout_acts_in_training_only():
    model = UNet2015(2, widths=(4, 6, 8))
    x = jax.random.normal(jax.random.key(0), (1, 44, 44, 1))
    variables = model.init(jax.random.key(0), x, train=False)
    logits = [
        model.apply(variables, x, train=True, rngs={"dropout": jax.random.key(k)}).logits
        for k in (1, 1, 2)
    ]
    assert (logits[0] == logits[1]).all() and (logits[0] != logits[2]).any()


def test_a_logit_sees_the_pixels_around_its_place():
    model = UNet2015(1, widths=(4, 6), dropout=0.0)
    x = jax.random.normal(jax.random.key(0), (1, 40, 40, 1))
    variables = model.init(jax.random.key(0), x, train=False)
    reach = jax.grad(lambda x: model.apply(variables, x, train=False).logits[0, 0, 0, 0])(x)
    seen = jnp.flatnonzero(abs(reach[0, :, :, 0]).max(1))
    # two levels have a margin of 16, so the first logit lies at pixel 8
    assert seen.min() >= 0 and seen.max() <= 2 * 8 + 2
