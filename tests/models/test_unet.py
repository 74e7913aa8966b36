"""U-Net: numbers of parameters and MACs, and what its fields do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import cost
from jaxseg.encoders import Plain, ResNet
from jaxseg.errors import UserError
from jaxseg.models import create
from jaxseg.models.unet import UNet

TINY = UNet(2, encoder=Plain((4, 6, 8)))
X = jnp.asarray(np.random.RandomState(0).standard_normal((2, 16, 24, 1)).astype("f4"))


def count(model, channels: int, size: int = 512) -> tuple[int, int]:
    x = jax.ShapeDtypeStruct((1, size, size, channels), jnp.float32)
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), x)
    macs = cost.macs(lambda v, x: model.apply(v, x, train=False), variables, x)
    return cost.parameters(variables), macs


@pytest.mark.parametrize(
    ("model", "channels", "parameters", "macs"),
    [  # counted by torch 2.13's FlopCounterMode, halved, on the peers' networks
        (create("unet", num_classes=21), 3, 31038933, 193005092864),
        (create("unet", num_classes=2), 3, 31037698, 192686325760),
        (create("unet", num_classes=2), 1, 31036546, 192384335872),
        (create("unet", num_classes=21, encoder=Plain(norm="none")), 3, 31033045, 193005092864),
        (create("unet", num_classes=21, encoder="resnet18"), 3, 14331109, 22347251712),
        (create("unet", num_classes=21, encoder="resnet34"), 3, 24439269, 32010928128),
        (create("unet", num_classes=21, encoder="resnet50"), 3, 32524005, 43285217280),
        (create("unet", num_classes=21, encoder="resnet101"), 3, 51516133, 62679678976),
        (create("unet", num_classes=21, encoder="resnet152"), 3, 67159781, 82074140672),
    ],
)
def test_counts_are_those_of_the_peers(model, channels: int, parameters: int, macs: int):
    assert count(model, channels) == (parameters, macs)


def test_parameters_with_encoders_of_two_families():
    assert count(create("unet", num_classes=5, encoder="resnet34"), 3)[0] == 24_436_949
    assert count(create("unet", num_classes=2, encoder="resnet50"), 1)[0] == 32_514_978


def test_auxiliary_logits_are_finest_first_at_the_resolution_of_their_level():
    for encoder, sizes in (
        (Plain((4, 6, 8, 8)), [(17, 12), (9, 6)]),
        (ResNet(18, width=4), [(17, 12), (9, 6), (5, 3), (3, 2)]),
    ):
        model = UNet(3, encoder=encoder, deep_supervision=True)
        x = jnp.zeros((1, 33, 24, 1))
        prediction = jax.eval_shape(
            lambda x, m=model: m.init_with_output(jax.random.key(0), x, train=False)[0], x
        )
        assert [a.shape for a in prediction.auxiliary] == [(1, *size, 3) for size in sizes]


def test_norm_is_the_encoders_unless_said_otherwise():
    for model, stats in (
        (TINY, {"encoder", "decoder"}),
        (TINY.clone(norm="group"), {"encoder"}),
        (TINY.clone(encoder=Plain((4, 6, 8), norm="instance")), set()),
    ):
        variables = model.init(jax.random.key(0), X, train=False)
        assert set(variables.get("batch_stats", {})) == stats


@pytest.mark.parametrize("upsample", ["transpose", "nearest", "bilinear"])
def test_only_the_transposed_convolution_learns_to_upsample(upsample: str):
    model = TINY.clone(upsample=upsample)
    params = model.init(jax.random.key(0), X, train=False)["params"]
    assert ("level0_up" in params["decoder"]) == (upsample == "transpose")


def test_dropout_acts_in_training_only():
    model = TINY.clone(dropout=0.5)
    variables = model.init(jax.random.key(0), X, train=False)
    key = {"dropout": jax.random.key(1)}
    train = model.apply(variables, X, train=True, mutable=["batch_stats"], rngs=key)[0].logits
    other = TINY.apply(variables, X, train=True, mutable=["batch_stats"])[0].logits
    assert abs(train - other).max() > 1e-3
    same = (
        model.apply(variables, X, train=False).logits
        == TINY.apply(variables, X, train=False).logits
    )
    assert same.all()


def test_remat_changes_nothing_but_memory():
    variables = TINY.init(jax.random.key(0), X, train=False)

    def step(model):
        def loss(params):
            v = variables | {"params": params}
            prediction, new = model.apply(v, X, train=True, mutable=["batch_stats"])
            return jnp.square(prediction.logits).sum(), new

        return jax.jit(jax.grad(loss, has_aux=True))(variables["params"])

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4 * max(1, float(abs(b).max()))),
        step(TINY.clone(remat=True)),
        step(TINY),
    )


def test_widths_for_another_number_of_levels_are_refused():
    with pytest.raises(UserError, match="names 1 levels .* make 2"):
        TINY.clone(widths=(8,)).init(jax.random.key(0), X, train=False)


@pytest.mark.parametrize(
    ("call", "nearest"),
    [
        ({"name": "u_net"}, "'unet'"),
        ({"name": "unet", "encoder": "resnet51"}, "'resnet5?0|18'"),
        ({"name": "unet", "upsamle": "nearest"}, "'upsample'"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(call: dict, nearest: str):
    with pytest.raises(UserError, match=nearest):
        create(num_classes=2, **call)


def test_unpadded_maps_follow_their_skips_and_transposed_convolutions_cannot():
    def shape(encoder, size, **fields):
        model = UNet(2, encoder=encoder, padded=False, **fields)
        image = jax.ShapeDtypeStruct((1, *size, 1), jnp.float32)
        run = lambda x: model.init_with_output(jax.random.key(0), x, train=False)[0].logits  # noqa: E731
        return jax.eval_shape(run, image).shape

    assert shape(Plain((2, 4, 6)), (13, 22), upsample="bilinear") == (1, 13, 22, 2)
    assert shape(Plain((2, 4)), (12, 8)) == (1, 12, 8, 2)
    with pytest.raises(UserError, match="upsample='transpose'.*'nearest' and 'bilinear'"):
        shape(Plain((2, 4)), (13, 8))
