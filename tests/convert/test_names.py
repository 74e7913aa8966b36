import numpy as np
import pytest

from jaxseg.convert import laid_back, laid_out, names_of, place, to_torch
from jaxseg.convert.names import is_passed_over, key_of
from jaxseg.convert.weights import filled, fitted
from jaxseg.encoders import ResNet
from jaxseg.errors import UserError
from jaxseg.models import UNet

NAMES = [(r"up\.(\d)", r"level\1_up~"), (r"fc", "hidden!"), (r"(?:conv|bn)(\d)", r"block\1")]
NAMES += [(r"places", "embed@rows+"), (r"idle\.\w+", "")]
NAMES += [(r"act\.A", "block1_norm@slope"), (r"a(\d)\.(?P<n>\d)\.c", r"unit\1.part\g<n>!")]
NAMES += [(r"19", "keras^")]


@pytest.mark.parametrize(
    ("key", "theirs", "place_of", "ours"),
    [
        ("conv2.weight", (5, 3, 2, 4), ("params", "block2", "conv", "kernel"), (2, 4, 3, 5)),
        ("conv2.bias", (5,), ("params", "block2", "conv", "bias"), (5,)),
        ("bn2.bias", (5,), ("params", "block2", "norm", "bias"), (5,)),
        ("bn2.running_var", (5,), ("batch_stats", "block2", "norm", "var"), (5,)),
        ("up.1.weight", (5, 3, 2, 2), ("params", "level1_up", "kernel"), (2, 2, 5, 3)),
        ("a2.3.c.bias", (7,), ("params", "unit2", "part3", "bias"), (7,)),
        ("fc.weight", (7, 6), ("params", "hidden", "kernel"), (6, 7)),
        ("fc.bias", (7,), ("params", "hidden", "bias"), (7,)),
        ("places.rows", (1, 5, 3), ("params", "embed", "rows"), (5, 3)),
        ("19.kernel", (3, 3, 2, 5), ("params", "keras", "kernel"), (3, 3, 2, 5)),
        ("act.A.weight", (1,), ("params", "block1_norm", "slope"), (1,)),
    ],
)
def test_a_key_has_its_place_and_layout_and_goes_back(key, theirs, place_of, ours):
    assert place(key, theirs, NAMES) == place_of
    value = np.random.default_rng(0).random(theirs)
    here = laid_out(value, key, NAMES)
    assert here.shape == ours
    np.testing.assert_array_equal(laid_back(here, key, NAMES), value)
    assert key_of(place_of, NAMES) == key


def test_a_linear_layer_may_be_a_convolution_here():
    value = np.random.default_rng(0).random((1, 1, 6, 7))
    assert (laid_back(value, "fc.weight", [("fc", "hidden-")]) == value[0, 0].T).all()
    assert laid_back(value, "fc.weight", [("fc", "hidden!")]).shape == (7, 6, 1, 1)


def test_a_linear_layer_of_a_window_is_a_convolution_of_it_here():
    value = np.random.default_rng(0).random((4, 2 * 3 * 5))
    ours, wrong = fitted("fc.weight", value, (2, 3, 5, 4), [("fc", "hidden-")])
    assert not wrong
    np.testing.assert_array_equal(ours[1, 2, 3], value[:, (1 * 3 + 2) * 5 + 3].astype("f4"))
    back = laid_back(ours, "fc.weight", [("fc", "hidden-")])
    np.testing.assert_array_equal(back, value.astype("f4"))
    assert fitted("fc.weight", value, (2, 3, 4, 5), [("fc", "hidden-")])[1]


def test_a_key_that_nothing_is_computed_with_is_passed_over():
    assert is_passed_over("idle.weight", NAMES) and not is_passed_over("fc.weight", NAMES)
    made = filled({("params", "hidden", "bias"): (2,)}, {"fc.bias": [1.0, 2.0], "idle.b": 3}, NAMES)
    np.testing.assert_array_equal(made["params"]["hidden"]["bias"], [1, 2])


def test_an_encoder_brings_its_own_names():
    names = names_of(UNet(2, encoder=ResNet(18)), "segmentation_models_pytorch")
    key = "encoder.layer2.1.bn2.weight"
    wanted = ("params", "encoder", "layer2_block1", "conv2", "norm", "scale")
    assert place(key, (4,), names) == wanted
    assert names_of(UNet(2), "monai") == []


def test_a_library_without_names_of_the_network_is_refused():
    """Names of ours would be taken for the library's."""
    with pytest.raises(UserError, match="no names are known of the library 'monai'"):
        to_torch(UNet(2), {}, "monai")


def test_a_place_that_the_peer_lacks_has_no_key():
    assert key_of(("params", "block", "conv", "kernel"), [(r"a", "b!")]) == "block.weight"
    assert key_of(("params", "b", "kernel"), [(r"a", "b!"), (r"b", "c!")]) == "a.weight"
    assert key_of(("params", "b", "kernel"), [(r"b", "c!")]) is None


@pytest.mark.parametrize("pattern", [r"a\.\d", r"a[01]", r"a(b(c))", r"ab?"])
def test_a_pattern_that_cannot_be_gone_back_is_refused(pattern):
    with pytest.raises(ValueError, match="no text of its own|a group within a group"):
        key_of(("params", "x", "kernel"), [(pattern, "x!")])
