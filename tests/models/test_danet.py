"""DANet: numbers of an independent form, the released dilations, heads of both branches."""

from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.convert import names_of
from jaxseg.encoders import ResNet
from jaxseg.models.danet import DANet
from jaxseg.types import Prediction
from tests.models import peers

GOLDEN = Path(__file__).parent.parent / "golden"
TINY = ResNet(14, width=4, output_stride=8, strided="1x1", dilations=((1,), (4,)))


class Joined(nn.Module):
    """The logits of the sum and of both branches, beside each other."""

    part: nn.Module

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> Prediction:
        out = self.part(image, train=train)  # pyright: ignore[reportCallIssue]
        return Prediction(jnp.concatenate([out.logits, *out.auxiliary], axis=-1))


def test_its_numbers_are_those_of_a_form_from_the_paper():
    # made by golden/make_danet.py; the keys are those of the authors' code
    model = DANet(3, encoder=TINY, width=16)
    names = [(key, f"part.{name}") for key, name in names_of(model, "junfu1115/DANet")]
    peers.check(GOLDEN, "danet", Joined(model), names)


def test_heads_of_the_branches_can_be_left_out():
    x, encoder = jnp.zeros((1, 16, 16, 1)), ResNet(10, width=4)

    def made(auxiliary):
        model = DANet(2, encoder=encoder, width=8, auxiliary=auxiliary)
        run = lambda: model.init_with_output(jax.random.key(0), x, train=False)  # noqa: E731
        out, variables = jax.eval_shape(run)
        return [a.shape for a in out.auxiliary], set(variables["params"])

    (shapes, heads), (none, bare) = made("heads"), made("none")
    assert shapes == [(1, 16, 16, 2)] * 2 and none == []
    assert heads - bare == {"position_head", "channel_head"}
