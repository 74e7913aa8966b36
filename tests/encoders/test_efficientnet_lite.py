"""EfficientNet-Lite0 with its ImageNet weights gives the features and scores that are known."""

import json

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxseg.convert import laid_out, place
from jaxseg.encoders import EfficientNetLite, Standardize

IMAGES = 2
EPSILON = 1e-3


def read(path):
    """The arrays of the safetensors file, float32 under timm's keys and shapes.

    Its header has timm's shapes, ``[out in h w]``, but the numbers lie as TensorFlow has them,
    ``[h w in out]``: a transposed view was saved without its strides.
    """
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__")
    found = {}
    for key, entry in header.items():
        out, *rest = entry["shape"]
        flat = np.frombuffer(data[start:][slice(*entry["data_offsets"])], "<f4")
        array = flat.reshape(*rest[1:], *rest[:1], out)  # [h w in out], [in out] or [out]
        found[key] = np.moveaxis(array, (-1, -2), (0, 1)) if rest else array
    return found


def scores(weights, x):
    """What follows the encoder: a 1x1 convolution, its norm, ReLU6, the mean, a linear layer."""
    x = x @ weights["conv_head.weight"][..., 0, 0].T
    scale = weights["bn2.weight"] / np.sqrt(weights["bn2.running_var"] + EPSILON)
    x = (x - weights["bn2.running_mean"]) * scale + weights["bn2.bias"]
    x = np.clip(x, 0, 6).mean((1, 2))
    return x @ weights["classifier.weight"].T + weights["classifier.bias"]


def test_its_weights_give_the_stored_features_and_scores(shared):
    folder = shared / "data" / "weights" / "efficientnet_lite0_imagenet"
    weights = read(folder / "tf_efficientnet_lite0.safetensors")
    known = dict(np.load(folder / "reference.npz"))
    encoder = EfficientNetLite(standardize=Standardize(mean=(0.5,) * 3, std=(0.5,) * 3))
    names = encoder.names["timm"]
    of_encoder = {k: w for k, w in weights.items() if k.startswith(("conv_stem", "bn1", "blocks"))}
    flat = {place(k, w.shape, names): laid_out(w, k, names) for k, w in of_encoder.items()}
    x = jnp.asarray(known["images_uint8"][:IMAGES] / np.float32(255))
    wanted = jax.eval_shape(lambda: encoder.init(jax.random.key(0), x, train=False))
    assert {k: w.shape for k, w in flat.items()} == {
        k: w.shape for k, w in flatten_dict(wanted).items()
    }
    features = jax.jit(lambda v, x: encoder.apply(v, x, train=False))(unflatten_dict(flat), x)
    for i in range(1, 5):  # timm's feature 0 is the first block, ours the stem before it
        ours = np.moveaxis(np.asarray(features[i]), -1, 1)
        mean, std = known[f"feature_{i}_mean_std"]
        off = abs(ours[:, :8, :4, :4] - known[f"feature_{i}_corner"]).max()
        assert off <= 1e-3 * std, i
        assert abs(ours.mean() - mean) <= 1e-3 * std and abs(ours.std() / std - 1) <= 1e-3, i
    logits = known["logits"][:IMAGES]
    off = abs(scores(weights, np.asarray(features[-1])) - logits).max()
    assert off <= 1e-3 * logits.std()
