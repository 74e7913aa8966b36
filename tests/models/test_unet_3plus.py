"""UNet 3+: numbers of an independent form, what each level sees, the classification's guidance."""

from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.models.unet_3plus import UNet3Plus
from jaxseg.types import Prediction
from tests.models import peers

GOLDEN = Path(__file__).parent.parent / "golden"


class Joined(nn.Module):
    """All side outputs beside each other."""

    part: nn.Module

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> Prediction:
        out = self.part(image, train=train)  # pyright: ignore[reportCallIssue]
        return Prediction(jnp.concatenate([out.logits, *out.auxiliary], axis=-1))


def test_its_numbers_are_those_of_a_form_from_the_paper():
    # made by golden/make_unet_3plus.py; the keys are those of the authors' code
    model = UNet3Plus(3, widths=(4, 5, 6, 7, 8), branch_width=3)
    names = [(pattern, f"part.{name}") for pattern, name in model.names["ZJUGiveLab/UNet-Version"]]
    peers.check(GOLDEN, "unet_3plus", Joined(model), names)


def test_every_level_of_the_decoder_has_a_branch_of_every_level():
    model, x = UNet3Plus(2), jnp.zeros((1, 32, 32, 1))
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))["params"]
    for level in range(4):
        for source in range(5):
            width = 320 if level < source < 4 else 64 * 2**source
            kernel = params[f"level{level}_from{source}"]["conv"]["kernel"]
            assert kernel.shape == (3, 3, width, 64)
        assert params[f"level{level}_merge"]["conv"]["kernel"].shape == (3, 3, 320, 320)


def test_a_class_that_the_image_has_not_is_nowhere_and_background_stays():
    model = UNet3Plus(3, widths=(4, 6), branch_width=3, classification="guided")
    x = jax.random.normal(jax.random.key(0), (2, 8, 9, 2))
    variables = model.init(jax.random.key(1), x, train=False)
    head = variables["params"]["classification"]
    head["kernel"], head["bias"] = 0 * head["kernel"], jnp.array([-1.0, -1.0, 1.0])
    run = jax.jit(lambda v, x: model.apply(v, x, train=False))
    guided = run(variables, x)
    np.testing.assert_array_equal(guided.image_logits, [[-1, -1, 1]] * 2)
    for logits in (guided.logits, *guided.auxiliary):
        chance = np.asarray(nn.softmax(logits))
        assert chance[..., 1].max() == 0 and (chance[..., (0, 2)] > 0).all()
    head["bias"] = jnp.ones(3)
    plain = UNet3Plus(3, widths=(4, 6), branch_width=3)
    rest = {k: v for k, v in variables["params"].items() if k != "classification"}
    unguided = plain.apply(variables | {"params": rest}, x, train=False)
    np.testing.assert_allclose(run(variables, x).logits, unguided.logits, rtol=1e-4, atol=1e-5)


def test_classes_are_taken_away_in_evaluation_alone_and_the_image_classified_in_both():
    model = UNet3Plus(2, widths=(4, 4), branch_width=2, classification="guided", dropout=0.0)
    x = jax.random.normal(jax.random.key(0), (2, 8, 8, 2))
    variables = model.init(jax.random.key(1), x, train=False)
    variables["params"]["classification"]["bias"] -= 100
    out, _ = jax.jit(lambda v: model.apply(v, x, train=True, mutable=["batch_stats"]))(variables)
    assert out.image_logits.max() < 0
    assert out.logits.min() > -1e3 > model.apply(variables, x, train=False).logits.min()
