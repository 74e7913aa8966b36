import numpy as np
import pytest

from jaxseg.metrics import Matches
from jaxseg.watershed import components, part_by_boundary, part_by_distance, thinned


def touching(rank: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Two balls that touch, and one apart: the mask and the balls."""
    shape = (40, 60) if rank == 2 else (30, 30, 50)
    grid = np.indices(shape)
    middle = shape[0] // 2
    objects = np.zeros(shape, np.int32)
    for number, (x, radius) in enumerate([(10, 8), (25, 8), (42, 5)], start=1):
        centre = np.array([*[middle] * (rank - 1), x]).reshape(-1, *[1] * rank)
        objects[((grid - centre) ** 2).sum(0) <= radius**2] = number
    return objects > 0, objects


@pytest.mark.parametrize("rank", [2, 3])
def test_balls_that_touch_are_one_component_and_are_parted_by_distance(rank):
    mask, objects = touching(rank)
    assert components(mask).max() == 2
    found = part_by_distance(mask)
    assert found.max() == 3 and found.dtype == np.int32
    np.testing.assert_array_equal(found > 0, mask)
    assert Matches.of(found, objects).precisions()[6] == 1  # IoU 0.8


def test_balls_that_touch_are_parted_by_their_boundary():
    mask, objects = touching()
    boundary = np.where(np.abs(np.arange(60) - 17.5) < 2, 0.9, 0.1) * np.ones((40, 1))
    found = part_by_boundary(boundary, mask)
    assert found.max() == 3
    np.testing.assert_array_equal(found > 0, mask)
    assert Matches.of(found, objects).precisions()[6] == 1


def test_every_component_holds_an_object_however_flat():
    mask = np.zeros((20, 20), bool)
    mask[2, 2] = mask[8:10, 8:10] = mask[15, 3:18] = True
    found = part_by_distance(mask, smooth=0.0)
    for part in range(1, components(mask).max() + 1):
        assert (found[components(mask) == part] > 0).all()
    assert part_by_distance(np.ones((9, 9), bool)).max() == 1
    assert part_by_distance(np.zeros((9, 9), bool)).max() == 0


def test_corners_join_where_the_connectivity_says_so():
    mask = np.eye(4, dtype=bool)
    assert components(mask).max() == 4
    assert components(mask, connectivity=2).max() == 1


def test_small_parts_are_background_and_numbers_stay_without_gaps():
    mask = np.array([[1, 0, 1, 1, 1, 0, 1, 1]], bool)
    assert components(mask, smallest=2).tolist() == [[0, 0, 1, 1, 1, 0, 2, 2]]


def test_thinned_borders_are_one_pixel_wide():
    segments = np.zeros((9, 21), np.int32)
    segments[:, :7], segments[:, 14:] = 1, 2
    found = thinned(segments)
    assert ((found == 0).sum(1) == 1).all()
    np.testing.assert_array_equal(found[segments > 0], segments[segments > 0])
    assert (thinned(np.zeros((5, 5), np.int32)) == 0).all()
