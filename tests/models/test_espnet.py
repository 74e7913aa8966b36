"""ESPNet: its released weights give the reference logits; its pyramid."""

import json
import struct

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from jaxseg.convert import laid_out, names_of, place
from jaxseg.encoders.espnet import ESP, ESPNetC
from jaxseg.encoders.standardize import Standardize
from jaxseg.models import create
from jaxseg.models.espnet import ESPNet

MEAN, STD = (110.33139, 108.40919, 105.03353), (72.125206, 72.68849, 69.902596)
"""Of the authors' CamVid images, as blue, green and red to 255."""


def tensors(path) -> dict[str, np.ndarray]:
    """What a file of safetensors holds, all of it float32."""
    with path.open("rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    header.pop("__metadata__", None)
    return {
        key: np.frombuffer(data[slice(*at["data_offsets"])], "<f4").reshape(at["shape"])
        for key, at in header.items()
    }


def test_the_released_weights_give_the_reference_logits(shared):
    folder = shared / "data" / "weights" / "espnet_camvid"
    standardize = Standardize(  # then / 255, as they do
        mean=tuple(m / 255 for m in MEAN), std=STD, scale=1.0, order="bgr"
    )
    model = ESPNet(12, encoder=ESPNetC(standardize=standardize))
    names, filled = names_of(model, "sacmehta/ESPNet"), {}
    for key, value in tensors(folder / "espnet_p2_q8_camvid.safetensors").items():
        *folders, leaf = place(key, value.shape, names)
        node = filled
        for name in folders:
            node = node.setdefault(name, {})
        assert leaf not in node, f"two weights for {key}"
        node[leaf] = jnp.asarray(laid_out(value, key, names))
    image = np.asarray(Image.open(folder / "test0_0001TP_008550.png").convert("RGB"))
    x = jnp.asarray(image[None], jnp.float32) / 255
    wanted = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), x)
    assert jax.tree.map(jnp.shape, filled) == jax.tree.map(jnp.shape, wanted)
    logits = jax.jit(lambda v, x: model.apply(v, x, train=False).logits)(filled, x)[0]
    known = np.load(folder / "camvid_logits_test0_stride2.npz")
    theirs = known["logits_stride2"]
    ours = np.moveaxis(np.asarray(logits), -1, 0)
    assert abs(ours[:, ::2, ::2] - theirs).max() <= 1e-3 * theirs.std()
    assert (ours.argmax(0) == known["argmax"]).mean() > 0.9999


def test_a_pyramid_has_the_widths_of_the_paper():
    # 128 features are 4 branches of 25 and one of 28
    x, layer = jnp.zeros((1, 8, 8, 128)), ESP(128)
    params = jax.eval_shape(lambda: layer.init(jax.random.key(0), x, train=False))["params"]
    widths = {k: v["kernel"].shape[2:] for k, v in params.items() if "kernel" in v}
    assert widths == {"reduce": (128, 25), "dilated1": (25, 28)} | {
        f"dilated{rate}": (25, 25) for rate in (2, 4, 8, 16)
    }


def test_a_pyramid_adds_each_dilated_map_but_the_first_to_the_next():
    x, layer = jnp.ones((1, 3, 3, 5)), ESP(5, shortcut="none")
    shapes = jax.eval_shape(lambda: layer.init(jax.random.key(0), x, train=False))
    variables = jax.tree.map(lambda leaf: np.ones(leaf.shape, "f4"), shapes)
    variables["batch_stats"]["norm"]["mean"][:] = 0
    variables["params"]["norm"]["bias"][:] = 0
    for name, one in variables["params"].items():
        if name != "norm":  # the middle tap alone, so that every branch gives the same
            kernel, middle = np.zeros_like(one["kernel"]), one["kernel"].shape[0] // 2
            kernel[middle, middle] = 0.2
            one["kernel"] = kernel
    y = jax.jit(lambda v: layer.apply(v, x, train=False))(variables)
    np.testing.assert_allclose(y[0, 1, 1], 0.2 * np.array([1, 1, 2, 3, 4]), rtol=1e-3)


def test_fewer_features_than_dilations_have_one_each():
    x, layer = jnp.zeros((1, 4, 4, 3)), ESP(3)
    params = jax.eval_shape(lambda: layer.init(jax.random.key(0), x, train=False))["params"]
    assert set(params) == {"reduce", "dilated1", "dilated2", "dilated4", "norm"}


def test_the_whole_network_has_the_parameters_of_espnet_c_by_the_same_names():
    x = jnp.zeros((1, 16, 16, 3))

    def shapes(name):
        model = create(name, num_classes=20)
        return jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False))["params"]

    whole, alone = shapes("espnet"), shapes("espnet_c")
    assert set(alone) == {"encoder", "coarse_head"}
    assert {name: whole[name] for name in alone} == alone
