import numpy as np
import pytest

from jaxseg.convert import laid_back, laid_out, names_of, place
from jaxseg.encoders import ResNet
from jaxseg.models import UNet

NAMES = [(r"up\.(\d)", r"level\1_up~"), (r"fc", "hidden!"), (r"conv(\d)", r"block\1")]
NAMES += [(r"act\.A", "block1_norm@slope")]


@pytest.mark.parametrize(
    ("key", "theirs", "place_of", "ours"),
    [
        ("conv2.weight", (5, 3, 2, 4), ("params", "block2", "conv", "kernel"), (2, 4, 3, 5)),
        ("conv2.running_var", (5,), ("batch_stats", "block2", "norm", "var"), (5,)),
        ("up.1.weight", (5, 3, 2, 2), ("params", "level1_up", "kernel"), (2, 2, 5, 3)),
        ("fc.weight", (7, 6), ("params", "hidden", "kernel"), (6, 7)),
        ("fc.bias", (7,), ("params", "hidden", "bias"), (7,)),
        ("act.A.weight", (1,), ("params", "block1_norm", "slope"), (1,)),
    ],
)
def test_a_key_has_its_place_and_layout_and_goes_back(key, theirs, place_of, ours):
    assert place(key, theirs, NAMES) == place_of
    value = np.random.default_rng(0).random(theirs)
    here = laid_out(value, key, NAMES)
    assert here.shape == ours
    np.testing.assert_array_equal(laid_back(here, key, theirs, NAMES), value)


def test_a_linear_layer_may_be_a_convolution_here():
    value = np.random.default_rng(0).random((1, 1, 6, 7))
    assert (laid_back(value, "fc.weight", (7, 6), NAMES) == value[0, 0].T).all()
    with pytest.raises(ValueError, match="fc.weight"):
        laid_back(value, "fc.weight", (6, 7), NAMES)


def test_an_encoder_brings_its_own_names():
    names = names_of(UNet(2, encoder=ResNet(18)), "segmentation_models_pytorch")
    key = "encoder.layer2.1.bn2.weight"
    wanted = ("params", "encoder", "layer2_block1", "conv2", "norm", "scale")
    assert place(key, (4,), names) == wanted
    assert names_of(UNet(2), "monai") == []
