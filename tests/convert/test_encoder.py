"""Files of a backbone's weights start an encoder; those of another network do not."""

import re

import flax.linen as nn
import flax.traverse_util
import numpy as np
import pytest

from jaxseg.convert import encoder_weights, names_of, place, to_torch
from jaxseg.convert.weights import shapes_of
from jaxseg.encoders import Cut, ResNet, classifier
from jaxseg.errors import UserError
from tests.encoders.cases import TINY

CASES = [
    *[(family, "torchvision") for family in ("resnet", "vgg", "mobilenet_v3", "densenet")],
    *[(family, "timm") for family in ("vgg", "mobilenet_v2", "efficientnet_lite", "xception")],
    ("xception_aligned", "timm"),
]


def zeros(model: nn.Module, library: str) -> dict[str, np.ndarray]:
    """A file of the network's weights by the library's keys."""
    flat = {at: np.zeros(shape, "f4") for at, shape in shapes_of(model, 3, 2).items()}
    return to_torch(model, flax.traverse_util.unflatten_dict(flat), library)


@pytest.mark.parametrize(("family", "library"), CASES)
def test_an_encoder_takes_the_file_of_its_classifier(family, library):
    encoder = TINY[family]
    whole = classifier(encoder, 3, "timm" if library == "timm" else None)
    whole = whole.clone(hidden=(5,) * len(whole.hidden))
    state_dict, names = zeros(whole, library), names_of(whole, library)
    keys = [key for key in state_dict if not key.endswith("num_batches_tracked")]
    places = {key: place(key, state_dict[key].shape, names) for key in keys}
    _, over = encoder_weights(encoder, state_dict)
    assert set(over) == {key for key, at in places.items() if at[1] != "encoder"} != set()


def test_a_transformers_classifier_is_left_too():
    """None of our classifiers is its; SegFormer's files have this one."""
    head = {"head.weight": np.zeros((3, 6), "f4"), "head.bias": np.zeros(3, "f4")}
    state_dict = zeros(TINY["mit"], "segmentation_models_pytorch") | head
    assert encoder_weights(TINY["mit"], state_dict)[1] == ("head.weight", "head.bias")


def test_weights_of_a_deeper_network_are_refused():
    deeper = zeros(ResNet(18, width=4), "torchvision")
    said = "40 more weights of layer1, layer2, layer3, layer4 than ResNet takes (layer1.1.bn1.run"
    with pytest.raises(UserError, match=re.escape(said)):
        encoder_weights(ResNet(10, width=4), deeper)
    with pytest.raises(UserError, match=r"layer1.0.se.fc.weight\): another network's"):
        se = {"layer1.0.se.fc.weight": np.zeros((4, 4), "f4")}
        encoder_weights(ResNet(10, width=4), {**zeros(ResNet(10, width=4), "timm"), **se})


def test_stages_that_an_encoder_leaves_out_may_be_in_the_file():
    whole = TINY["densenet"]
    part = Cut(whole, 2, deeper="none")
    _, over = encoder_weights(part, zeros(whole, "torchvision"))
    assert "features.norm3.weight" in over
    with pytest.raises(UserError, match="1 more weights of features"):
        more = {"features.denseblock9.denselayer1.conv1.weight": np.zeros((4, 4, 1, 1), "f4")}
        encoder_weights(part, {**zeros(whole, "torchvision"), **more})


@pytest.mark.parametrize("dtype", ["c8", "i1", "?", "i8", "float8_e5m2"])
def test_numbers_that_are_no_floats_are_no_weights(dtype):
    encoder = ResNet(10, width=4)
    state_dict = zeros(encoder, "torchvision")
    state_dict["conv1.weight"] = state_dict["conv1.weight"].astype(dtype)
    said = f"conv1.weight holds {np.dtype(dtype).name}, where weights are floats"
    with pytest.raises(UserError, match=said):
        encoder_weights(encoder, state_dict)
