"""Sizes of windows, buckets and images, and the weights of a window."""

import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.models import UNet, UNet2015
from jaxseg.tiles import Tiles, affordable, bucket, window_profile


def test_gaussian_weights_are_positive_symmetric_and_fall_to_the_edge():
    for tile in (1, 2, 7, 128):
        profile = window_profile(tile, "gaussian")
        assert profile.dtype == np.float32 and (profile > 0).all()
        np.testing.assert_array_equal(profile, profile[::-1])
        assert (np.diff(profile[: (tile + 1) // 2]) > 0).all()
    profile = window_profile(8, "gaussian")  # sigma 1, pixels at 0.5 and 1.5 from the centre
    np.testing.assert_allclose(profile[4] / profile[5], np.exp((1.5**2 - 0.5**2) / 2), rtol=1e-5)


def test_buckets_are_few_and_never_much_larger_than_the_image():
    tiles, model = Tiles(window=(16,)), UNet(2)
    sizes = range(1, 16 * 64 + 1)
    buckets = {n: bucket(model, (n,), tiles)[0] for n in sizes}
    assert len(set(buckets.values())) == 20
    for n, to in buckets.items():
        assert n <= to <= max(16, (n + 15) * 1.25)
    assert bucket(model, (4096, 4096), Tiles(window=(256, 256))) == (4096, 4096)


@pytest.mark.parametrize(
    ("spatial", "window"),
    [((1024, 1024), None), ((4096, 4096), (512, 512)), ((96, 40_000), (96, 512)),
     ((200, 200, 200), (96, 96, 96))],
)  # fmt: skip
def test_what_is_too_large_to_pass_at_once_is_cut_into_windows(spatial, window):
    assert affordable(UNet(2), spatial, Tiles()).window == window
    assert affordable(UNet(2), spatial, Tiles(window=(64,))).window == (64,)


def test_large_images_of_valid_convolutions_are_cut_into_patches():
    assert affordable(UNet2015(2), (4096, 4096), Tiles(), least=(188, 188)).window == (
        188,
        188,
    )


@pytest.mark.parametrize(
    "options, word",
    [
        ({"window": (8, 0)}, "window"),
        ({"overlap": 1.0}, "overlap"),
        ({"window_batch": 0}, "window_batch"),
    ],
)
def test_impossible_options_are_refused_by_name(options, word):
    with pytest.raises(UserError, match=word):
        Tiles(**options)
