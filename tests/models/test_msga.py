"""MSGA: the authors' blocks and counts, numbers of an independent form, what its losses see."""

from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from jaxseg import cost
from jaxseg.encoders import Plain
from jaxseg.errors import UserError
from jaxseg.models.msga import MSGA, AttentionBranch, SemanticModule
from jaxseg.ops import max_pool
from jaxseg.types import Prediction
from tests.models import peers
from tests.models.medical_counts import counts

GOLDEN = Path(__file__).parent.parent / "golden"


class Coarse(nn.Module):
    """The features of another encoder, of an image of half the size."""

    inner: nn.Module

    @property
    def strides(self) -> tuple[int, ...]:
        return tuple(2 * stride for stride in self.inner.strides)

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> Any:
        return self.inner(max_pool(image), train=train)  # pyright: ignore[reportCallIssue]


class Beside(nn.Module):
    """All logits beside each other, and the distances spread over the image."""

    part: nn.Module

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> Prediction:
        out = self.part(image, train=train)  # pyright: ignore[reportCallIssue]
        ones = jnp.ones((*image.shape[:-1], 1))
        maps = [out.extra[name][:, None, None, None] * ones for name in DISTANCES]
        return Prediction(jnp.concatenate([out.logits, *out.auxiliary, *maps], axis=-1))


DISTANCES = ("semantic", "reconstruction")

NAMES = [
    (r"encoder\.(.*)\.(conv|norm)", r"part.encoder.inner.\1.\2!"),
    (r"(.*)\.slope", r"part.\1.norm@slope"),
    (r"(.*(?:position|channel)\.attention)", r"part.\1@gamma"),
    (r"(.*)_transposed", r"part.\1_up~"),
    (r"(.*)", r"part.\1!"),
]
"""Places in the independent form, which has ours."""


def test_its_numbers_are_those_of_a_form_from_the_paper():
    # made by golden/make_msga.py
    model = MSGA(2, encoder=Coarse(Plain((3, 5), convs=1)), width=4, reduction=2)
    peers.check(GOLDEN, "msga", Beside(model), NAMES)


class Given(nn.Module):
    """A block as a network: its last output is the logits."""

    part: nn.Module

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> Prediction:
        out = self.part(image, train=train)  # pyright: ignore[reportCallIssue]
        *others, last = out if isinstance(out, tuple) else (out,)
        return Prediction(last, tuple(others))


LEVELS = {"enc1": "level0", "enc2": "level1", "dec2": "level2", "dec1": "level1_up"}
SEMANTIC = [(rf"dec{n}\.decode\.6", f"part.level{n - 1}_up~") for n in (1, 2)]
for theirs, ours in LEVELS.items():
    for at, leaf in enumerate(("conv1.conv", "conv1.norm", "", "conv2.conv", "conv2.norm")):
        SEMANTIC.append((rf"{theirs}\.\w+\.{at}", f"part.{ours}_{leaf}!"))
BRANCH = [
    *((rf"attn\.{4 * (i - 1)}", f"part.conv{i}.conv!") for i in (1, 2)),
    *((rf"attn\.{4 * (i - 1) + 1}", f"part.conv{i}.norm!") for i in (1, 2)),
    *((rf"attn\.{4 * (i - 1) + 2}", f"part.conv{i}.norm@slope") for i in (1, 2)),
    (r"attn\.3", "part.attention@gamma"),
    (r"attn\.3\.(query|key|value)_conv", r"part.attention.\1!"),
]


@pytest.mark.parametrize(
    ("name", "block", "names"),
    [
        ("semanticModule_32", SemanticModule(), SEMANTIC),
        ("PAM_CAM_Layer_pam", AttentionBranch(16), BRANCH),
    ],
)
def test_its_blocks_give_the_numbers_of_the_authors(shared, name, block, names):
    peers.check_fingerprint(shared / "facts", f"msga/{name}", Given(block), names, tolerance=1e-4)


def test_it_costs_what_the_authors_does_but_for_what_that_never_runs(shared):
    known = counts(shared / "facts")
    x = jax.ShapeDtypeStruct((1, 256, 256, 1), jnp.float32)
    found = cost.counted(MSGA(5), x)
    assert found["parameters"] == known["msga/DAF_stack_breakdown"]["functional"]
    assert found["macs"] == known["msga/DAF_stack"]["macs"]


def test_a_map_that_cannot_be_halved_twice_is_refused_with_one_that_can():
    with pytest.raises(UserError, match=r"\(6, 8\); each axis .* of 4: pad to \(8, 8\)"):
        SemanticModule().init(jax.random.key(0), jnp.zeros((1, 6, 8, 2)), train=False)
