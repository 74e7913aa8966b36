import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.convert import counterpart, from_torch, to_torch
from jaxseg.encoders import VGG, EfficientNetLite, Standardize, classifier
from jaxseg.encoders.efficientnet_lite import scaled
from jaxseg.errors import UserError
from tests.convert import recorded
from tests.encoders.test_efficientnet_lite import read

RECORDS = json.loads((Path(__file__).parent.parent / "golden" / "converted.json").read_text())
TIMM = [one for one in RECORDS if one["library"] == "timm"]


@pytest.mark.parametrize("known", TIMM, ids=lambda known: known["arch"])
def test_its_models_compute_the_same(known):
    recorded.check(known, "timm")


@pytest.mark.parametrize("name", ["legacy_xception", "xception65"])
def test_the_founders_records_hold(shared, name):
    recorded.check(json.loads((shared / "golden" / f"timm_{name}.json").read_text()))


def test_imagenet_weights_name_the_images_and_give_their_features(shared):
    folder = shared / "data" / "weights" / "efficientnet_lite0_imagenet"
    # numbers lie as TensorFlow has them under PyTorch's shapes, which no shape shows: see `read`
    weights = read(folder / "tf_efficientnet_lite0.safetensors")
    known = np.load(folder / "reference.npz")
    model, variables = from_torch("timm", "tf_efficientnet_lite0", {}, weights)
    half = Standardize(mean=(0.5,) * 3, std=(0.5,) * 3)
    model = model.clone(encoder=model.encoder.clone(standardize=half))
    images = jnp.asarray(known["images_uint8"] / np.float32(255))
    run = jax.jit(lambda v, x: model.apply(v, x, train=False))
    logits = np.asarray(run(variables, images))
    assert abs(logits - known["logits"]).max() <= 1e-4 * known["logits"].std()
    np.testing.assert_array_equal(logits.argmax(1), known["logits"].argmax(1))
    alone, of_encoder = from_torch(
        "timm",
        "tf_efficientnet_lite0",
        {"num_classes": 0},
        {k: w for k, w in weights.items() if k.startswith(("conv_stem", "bn1", "blocks"))},
    )
    alone = alone.clone(standardize=half)
    features = jax.jit(lambda v, x: alone.apply(v, x, train=False))(of_encoder, images[:2])
    for i in range(1, 5):  # timm's feature 0 is the first block, ours the stem before it
        ours = np.moveaxis(np.asarray(features[i]), -1, 1)
        mean, std = known[f"feature_{i}_mean_std"]
        assert abs(ours[:, :8, :4, :4] - known[f"feature_{i}_corner"]).max() <= 1e-4 * std
        assert abs(ours.mean() - mean) <= 1e-4 * std and abs(ours.std() / std - 1) <= 1e-4
    back = to_torch(model, variables, "timm")
    assert all(np.array_equal(back[key], value) for key, value in weights.items())


def test_a_name_of_weights_is_no_part_of_an_architectures():
    plain, tagged = (counterpart("timm", f"resnet18{tag}", {}) for tag in ("", ".a1_in1k"))
    assert plain == tagged


def test_larger_lite_networks_are_scaled_as_released():
    widths = [row[2] for row in scaled(1.4, 1.8)]
    blocks = [row[3] for row in scaled(1.4, 1.8)]
    assert widths == [24, 32, 56, 112, 160, 272, 448] and blocks == [1, 4, 4, 6, 6, 8, 1]
    assert scaled(1.0, 1.0) == EfficientNetLite().rows


def test_a_classifier_of_convolutions_takes_any_size_and_has_keys_of_timm_alone():
    model = classifier(VGG(11), 2, "timm").clone(hidden=(4, 4))
    run = lambda n: jax.eval_shape(  # noqa: E731
        lambda: model.init_with_output(jax.random.key(0), jnp.zeros((1, n, n, 3)), train=False)
    )
    (small, variables), (large, same) = run(64), run(256)
    assert small.shape == large.shape == (1, 2) and variables == same
    assert set(model.names) == {"timm"} and set(classifier(VGG(11)).names) == {"torchvision"}


@pytest.mark.parametrize(
    ("arch", "kwargs", "message"),
    [
        ("resnet18", {"output_stride": 8}, "output_stride=8: must be 32"),
        ("resnet50", {"output_stride": 4}, "must be 8 or 16 or 32"),
        ("densenet121", {"features_only": True}, "features_only=True: must be False"),
        ("resnet50", {"in_chans": 0}, "in_channels=0: must be at least 1"),
        ("resnet50", {"global_pool": "max"}, "takes no argument 'global_pool'"),
        ("resnet50d", {}, "the nearest is 'resnet50'"),
    ],
)
def test_what_no_encoder_of_ours_computes_is_refused(arch, kwargs, message):
    with pytest.raises(UserError, match=message):
        from_torch("timm", arch, kwargs, {})
