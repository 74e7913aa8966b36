"""UNet++ and its relatives: counts and outputs of the peers, heads, and pruning."""

import functools
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import cost
from jaxseg.encoders import Plain, ResNet, Standardize
from jaxseg.errors import UserError
from jaxseg.models import UNet, create
from jaxseg.models.unet_plus_plus import UNetPlusPlus, prune
from tests.encoders import cases as encoder_cases
from tests.models import peers
from tests.models.counts import NESTED as SMP

KEYS = (
    (r"n\.(\d)_0\.0", r"encoder.level\1_conv1.conv!"),
    (r"n\.(\d)_0\.2", r"encoder.level\1_conv2.conv!"),
    (r"n\.(\d)_(\d)\.0", r"node\1_\2_conv1.conv!"),
    (r"n\.(\d)_(\d)\.2", r"node\1_\2_conv2.conv!"),
    (r"u\.(\d_\d)", r"node\1_up~"),
    (r"h\.(\d)", r"node0_\1_head!"),
)
"""Names in the fingerprints of the family."""

COUNTS = {
    "U-Net": ("unet_ensemble", {"mode": "single"}),
    "U-Net^e": ("unet_ensemble", {}),
    "UNet+": ("unet_plus", {"mode": "supervised"}),
    "UNet+_1head": ("unet_plus", {}),
    "UNet++_1head": ("unet_plus_plus", {}),
    "UNet++_ds4heads": ("unet_plus_plus", {"mode": "supervised"}),
    "UNet++_rgb_1head": ("unet_plus_plus", {}),
    "wideU-Net_35": ("wide_unet", {}),
    **{f"UNet++_L{n}": ("unet_plus_plus", {"level": n}) for n in (1, 2, 3)},
    **{f"U-Net_L{n}": ("unet_ensemble", {"level": n, "mode": "single"}) for n in (1, 2, 3)},
}

TINY = UNetPlusPlus(3, encoder=Plain((4, 6, 8)), width=4, mode="supervised")
X = np.random.RandomState(0).standard_normal((2, 13, 22, 2)).astype("f4")  # no multiples of 4


@functools.cache
def of_tiny():
    """Those of ``TINY``; not made at import, which every worker of a run does."""
    return jax.jit(lambda: TINY.init(jax.random.key(0), X, train=False))()


@functools.cache
def trained_and_served(model):
    """Its predictions of X, of one program."""

    def run(v):
        rngs = {"dropout": jax.random.key(1)}
        train, _ = model.apply(v, X, train=True, mutable=["batch_stats"], rngs=rngs)
        return train, model.apply(v, X, train=False)

    return jax.jit(run)(of_tiny())


@pytest.mark.parametrize("name", COUNTS)
def test_the_papers_networks_cost_what_theirs_do(shared, name):
    known = json.loads((shared / "facts" / "counts-medical.json").read_text())
    known = known[f"unetpp_family/{name}"]
    key, fields = COUNTS[name]
    model, (batch, channels, *size) = create(key, num_classes=1, **fields), known["input"]
    x = jax.ShapeDtypeStruct((batch, *size, channels), jnp.float32)
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), x)
    macs = cost.macs(lambda v, x: model.apply(v, x, train=False), variables, x)
    assert (cost.parameters(variables), macs) == (known["params"], known["macs"])


@pytest.mark.parametrize(
    ("name", "skips"), [("pp", "dense"), ("plus", "short"), ("ens", "encoder")]
)
def test_the_family_gives_the_numbers_of_the_peers(shared, name, skips):
    model = UNetPlusPlus(1, skips=skips, mode="supervised")
    peers.check_fingerprint(shared / "facts", f"unetpp_family/{name}", model, KEYS)


def test_logits_of_the_ensemble_are_the_mean_of_the_heads_but_for_training():
    train, served = trained_and_served(TINY)
    train_of_all, mean = trained_and_served(TINY.clone(mode="ensemble"))
    assert len(served.auxiliary) == len(train_of_all.auxiliary) == 1
    both = [jax.nn.softmax(x) for x in (served.logits, *served.auxiliary)]
    np.testing.assert_allclose(jax.nn.softmax(mean.logits), sum(both) / 2, atol=1e-6)
    np.testing.assert_allclose(train_of_all.logits, train.logits, atol=1e-5)


def test_nodes_drop_out_in_training_only():
    train, served = trained_and_served(TINY)
    dropped, same = trained_and_served(TINY.clone(dropout=0.5))
    assert abs(train.logits - dropped.logits).max() > 1e-3
    np.testing.assert_allclose(served.logits, same.logits, atol=1e-5)


@pytest.mark.parametrize("skips", ["dense", "encoder"])
def test_a_pruned_network_gives_what_its_head_gives_in_the_whole_one_bit_for_bit(skips):
    whole = TINY.clone(skips=skips)
    variables = whole.init(jax.random.key(1), X, train=False)
    prediction = jax.jit(lambda v: whole.apply(v, X, train=False))(variables)
    for level, logits in ((2, prediction.logits), (1, prediction.auxiliary[0])):
        small, kept = prune(whole, variables, level)
        ours = jax.jit(lambda v, small=small: small.apply(v, X, train=False))(kept)
        np.testing.assert_array_equal(ours.logits, logits)
        assert not ours.auxiliary


def test_a_pruned_network_has_the_parameters_of_its_level_alone():
    small, kept = prune(TINY, of_tiny(), 1)
    assert set(kept["params"]) == {
        "encoder", "node0_1_up", "node0_1_conv1", "node0_1_conv2", "node0_1_head"
    }  # fmt: skip
    assert set(kept["batch_stats"]["encoder"]) == {
        "level0_conv1", "level0_conv2", "level1_conv1", "level1_conv2"
    }  # fmt: skip
    known = jax.eval_shape(lambda: small.init(jax.random.key(0), X, train=False))
    assert jax.tree.map(jnp.shape, kept) == jax.tree.map(jnp.shape, known)
    assert small.stride == TINY.stride  # the same padding, so the same border


def test_a_backbone_is_pruned_too():
    encoder = ResNet(10, width=4, standardize=Standardize(mean=(0.5,) * 2, std=(0.2,) * 2))
    model = TINY.clone(encoder=encoder)
    whole = functools.partial(model.init_with_output, train=False)
    prediction, shapes = jax.eval_shape(whole, jax.random.key(0), X)
    assert len(prediction.auxiliary) == 4  # five levels: none of the features is of full resolution
    small, kept = prune(model, shapes, 2)
    assert set(kept["params"]["encoder"]) == {"stem_conv", "layer1_block0"}
    assert set(kept["params"]) == {
        "encoder", *(f"node{n}_{part}" for n in ("0_1", "1_1", "0_2")
        for part in ("up", "conv1", "conv2")), "node0_2_head",
    }  # fmt: skip
    prediction = jax.eval_shape(functools.partial(small.apply, train=False), kept, X)
    assert prediction.logits.shape == (2, 13, 22, 3)


@pytest.mark.parametrize("family", encoder_cases.TINY)
def test_any_backbone_is_pruned(family):
    model, x = TINY.clone(encoder=encoder_cases.TINY[family]), jnp.zeros((1, 64, 64, 2))
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))
    small, kept = prune(model, shapes, 1)
    prediction = jax.eval_shape(functools.partial(small.apply, train=False), kept, x)
    assert prediction.logits.shape == (1, 64, 64, 3)
    assert set(kept["params"]["encoder"]) < set(shapes["params"]["encoder"])


class Halves(nn.Module):
    """An encoder that gives all of its features or none."""

    norm: str = "batch"
    strides: tuple[int, ...] = (1, 2)

    @nn.compact
    def __call__(self, image, *, train):
        return image, image[:, ::2, ::2]


def test_an_encoder_that_gives_all_or_none_serves_but_is_not_pruned():
    model = TINY.clone(encoder=Halves())
    assert len(jax.eval_shape(lambda: model.init(jax.random.key(0), X, train=False))["params"]) == 4
    deeper = TINY.clone(encoder=Halves(strides=(1, 2, 4)), level=1, mode="single")
    with pytest.raises(UserError, match="encoder Halves gives all of its 3 features or none"):
        jax.eval_shape(lambda: deeper.init(jax.random.key(0), X, train=False))


@pytest.mark.parametrize(
    ("model", "level", "what"),
    [
        (UNet(2), 1, "UNet has no levels to prune; unet_plus_plus"),
        (TINY.clone(**SMP), 1, "UNetPlusPlus has no levels to prune"),
        (TINY, 3, "level 3: UNetPlusPlus has a head at level 1, 2"),
        (TINY.clone(mode="single"), 1, 'has a head at level 2; train it with mode="supervised"'),
        (TINY.clone(width=5), 1, "the variables are not those of the model"),
    ],
)
def test_what_cannot_be_pruned_is_refused(model, level, what):
    with pytest.raises(UserError, match=what.replace("^", r"\^")):
        prune(model, of_tiny(), level)


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"level": 3}, "recipe.model.level=3: must be 1 to 2"),
        ({"level": 0}, "recipe.model.level=0: must be 1 to 2"),
        ({"nodes": "smp"}, 'nodes="smp": has one head'),
    ],
)
def test_levels_that_are_not_there_are_refused(fields, what):
    with pytest.raises(UserError, match=what):
        jax.eval_shape(lambda: TINY.clone(**fields).init(jax.random.key(0), X, train=False))
