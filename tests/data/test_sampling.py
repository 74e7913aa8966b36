import tracemalloc

import numpy as np
import pytest

from jaxseg.data.sampling import (
    centred_corner,
    crop,
    crop_case,
    foreground,
    foreground_corner,
    grid,
    random_corner,
    takes_foreground,
)
from jaxseg.types import IGNORE


@pytest.mark.parametrize(
    "spatial, patch",
    [((10, 17), (4, 5)), ((8, 8), (8, 8)), ((3, 9), (5, 4)), ((5, 6, 7), (2, 3, 7))],
)
def test_the_grid_covers_every_pixel_with_patches_that_lie_inside(spatial, patch):
    corners = grid(spatial, patch)
    seen = np.zeros(spatial, int)
    for corner in corners:
        seen[tuple(slice(c, c + p) for c, p in zip(corner, patch, strict=True))] += 1
    assert seen.min() >= 1
    assert (corners >= 0).all()
    assert (corners <= np.maximum(np.subtract(spatial, patch), 0)).all()
    assert len(corners) == np.prod([-(-n // p) for n, p in zip(spatial, patch, strict=True)])


def test_random_corners_reach_every_place_and_stay_inside():
    rng = np.random.default_rng(0)
    corners = {random_corner(rng, (6, 4), (4, 9)) for _ in range(200)}
    assert corners == {(0, 0), (1, 0), (2, 0)}


def test_a_patch_is_centred_on_its_point_unless_that_would_leave_the_image():
    assert centred_corner((10, 10), (20, 20), (4, 6)) == (8, 7)
    assert centred_corner((0, 19), (20, 20), (4, 6)) == (0, 14)
    assert centred_corner((2, 2), (3, 20), (5, 4)) == (0, 0)


def test_what_an_image_lacks_is_reflected_and_ignored():
    image = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)
    case = {"image": image, "label": np.ones((2, 3), np.int8), "instance": np.full((2, 3), 7)}
    piece = crop_case(case, (0, 0), (3, 5))
    np.testing.assert_array_equal(
        piece["image"][..., 0], [[0, 1, 2, 1, 0], [3, 4, 5, 4, 3], [0, 1, 2, 1, 0]]
    )
    inside = np.zeros((3, 5), bool)
    inside[:2, :3] = True
    np.testing.assert_array_equal(piece["label"], np.where(inside, 1, IGNORE))
    np.testing.assert_array_equal(piece["instance"], np.where(inside, 7, IGNORE))


def test_a_crop_is_a_copy():
    array = np.zeros((4, 4))
    crop(array, (0, 0), (2, 2))[:] = 1
    assert not array.any()


@pytest.mark.parametrize("share", [0.0, 0.25, 1 / 3, 0.5, 1.0])
def test_of_the_first_n_patches_the_stated_share_is_foreground(share):
    taken = [takes_foreground(i, share) for i in range(1000)]
    for n in (10, 100, 999, 1000):
        assert abs(sum(taken[:n]) - n * share) < 1


def test_classes_are_drawn_alike_however_rare_and_background_never():
    label = np.zeros((40, 50), np.int8)
    label[:, :20], label[3, 30], label[5:7, 40] = 1, 2, 4
    label[20:, 45:] = IGNORE
    points = foreground(label, limit=64)
    assert points.shape == (3, 64)
    assert [set(label.reshape(-1)[row]) for row in points] == [{1}, {2}, {4}]
    assert len(set(points[0].tolist())) == 64  # without replacement where there are enough
    rng = np.random.default_rng(0)
    centres = [label[foreground_corner(rng, points, label.shape, (1, 1))] for _ in range(900)]
    for k in (1, 2, 4):
        assert 240 < centres.count(k) < 360


def test_points_of_a_label_in_slabs_are_a_uniform_draw_from_the_whole(monkeypatch):
    monkeypatch.setattr("jaxseg.data.sampling.SLAB", 1000)
    points = foreground(np.ones((100, 100), np.int8), limit=1000)[0]
    assert len(set(points.tolist())) == 1000
    counts, _ = np.histogram(points, bins=4, range=(0, 10000))
    assert counts.min() > 180  # 250 expected, standard deviation 13


def test_without_foreground_the_patch_is_anywhere():
    rng = np.random.default_rng(0)
    points = foreground(np.zeros((9, 9), np.int8))
    assert len({foreground_corner(rng, points, (9, 9), (3, 3)) for _ in range(300)}) == 49


def test_a_patch_of_a_16k_image_on_disk_costs_a_patch(tmp_path):
    path = tmp_path / "big.npy"
    np.lib.format.open_memmap(path, "w+", np.uint8, (16384, 16384, 1)).flush()  # sparse
    image = np.load(path, mmap_mode="r")
    tracemalloc.start()
    piece = crop(image, (9000, 4321), (256, 256))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert piece.shape == (256, 256, 1) and peak < 2**20
