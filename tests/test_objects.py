import numpy as np
import pytest

from jaxseg.data.source import rim
from jaxseg.errors import UserError
from jaxseg.metrics import Matches
from jaxseg.objects import (
    Instances,
    background_classes,
    components,
    part_by_boundary,
    part_by_distance,
)
from jaxseg.types import IGNORE


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


def test_objects_are_components_of_each_class_by_default():
    label = np.int32([[0, 1, 1, 2, 2], [0, 0, 0, 0, 2], [1, 0, 2, 0, 0]])
    classes, numbers = Instances().found(label, (1, 2))
    np.testing.assert_array_equal(classes, label)
    assert numbers.tolist() == [[0, 1, 1, 3, 3], [0, 0, 0, 0, 3], [2, 0, 4, 0, 0]]
    _, numbers = Instances(connectivity=2, smallest=2).found(label, (2,))
    assert numbers.tolist() == [[0, 0, 0, 1, 1], [0, 0, 0, 0, 1], [0] * 5]


def test_class_0_is_background_unless_the_names_say_otherwise():
    assert background_classes(3, None) == background_classes(3, ()) == (0,)
    assert background_classes(3, ("Background", "nucleus", "rim")) == (0,)
    assert background_classes(2, ("vessel", "background")) == (1,)
    assert background_classes(2, ("bg", "cell")) == background_classes(2, ("_void_", "x")) == (0,)
    assert background_classes(2, ("membrane", "cell")) == ()
    assert background_classes(3, ("background", "car", "other")) == (0,), "other is a class here"
    assert background_classes(1, None) == ()


def test_things_are_all_classes_but_the_background_and_the_boundary():
    names = ("background", "nucleus", "rim")
    assert Instances().classes(3, names) == (1, 2)
    assert Instances().classes(3, None) == (1, 2)
    assert Instances().classes(2, ("membrane", "cell")) == (0, 1)
    assert Instances(things=(0, 1)).classes(3, None) == (0, 1)
    assert Instances(part_by="boundary", boundary=2).classes(3, names) == (1,)
    assert Instances(things=(2, 1)).classes(3, names) == (1, 2)
    with pytest.raises(UserError, match="names class 3; there are 0 to 2"):
        Instances(things=(1, 3)).classes(3, names)


def test_touching_balls_are_two_objects_where_a_distance_parts_them():
    mask, objects = touching()
    label = mask.astype(np.int32)
    _, numbers = Instances(part_by="distance").found(label, (1,))
    assert numbers.max() == 3
    # The label's own objects are not parted: what touches there is one.
    _, true = Instances(part_by="distance").true(label, (1,))
    assert true.max() == 2
    _, true = Instances(part_by="distance").true(label, (1,), objects)
    np.testing.assert_array_equal(true, objects)


def rimmed() -> tuple[np.ndarray, np.ndarray]:
    """Two balls that touch, and one apart, as nucleus and rim; and their numbers."""
    _, objects = touching()
    label = (objects > 0).astype(np.int32)
    label[rim(objects)] = 2
    return label, objects


def test_the_pixels_of_a_boundary_go_to_the_objects_around():
    label, objects = rimmed()
    parts = Instances(part_by="boundary", boundary=2)
    for height in (None, np.where(label == 2, 0.9, 0.1)):
        classes, numbers = parts.found(label, (1,), height)
        np.testing.assert_array_equal(classes > 0, objects > 0)
        assert set(np.unique(classes)) == {0, 1} and numbers.max() == 3
        assert Matches.of(numbers, objects).precisions()[8] == 1  # IoU 0.9
    classes, numbers = parts.true(label, (1,), objects)
    np.testing.assert_array_equal(numbers, objects)
    np.testing.assert_array_equal(classes, objects > 0)
    _, numbers = parts.true(label, (1,))  # without numbers, from the label itself
    assert numbers.max() == 3


def test_a_rim_of_nothing_is_of_no_class():
    label = np.int32([[2, 2, 0, 0, 2, 1, 2]])
    parts = Instances(part_by="boundary", boundary=2)
    for classes, numbers in (
        parts.found(label, (1,)),
        parts.true(label, (1,), np.int32([[0, 0, 0, 0, 4, 4, 4]])),
    ):
        assert classes.tolist() == [[IGNORE, IGNORE, 0, 0, 1, 1, 1]]
        assert (numbers > 0).tolist() == [[False] * 4 + [True] * 3]


def test_an_object_that_is_all_rim_and_one_of_another_class_keep_their_numbers():
    label = np.int32([[2, 2, 0, 1, 2, 0, 3, 3, 2]])
    instance = np.int32([[7, 7, 0, 5, 5, 0, 4, 4, 4]])
    parts = Instances(part_by="boundary", boundary=2)
    classes, numbers = parts.true(label, (1, 3), instance)
    np.testing.assert_array_equal(numbers, instance)
    assert classes.tolist() == [[1, 1, 0, 1, 1, 0, 3, 3, 3]]


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"part_by": "boundary"}, "part_by='boundary' with boundary=None"),
        ({"boundary": 2}, "part_by='nothing' with boundary=2"),
        ({"smallest": 0}, "instances.smallest=0: must be at least 1"),
    ],
)
def test_a_watershed_that_has_nothing_to_flood_is_refused(fields, message):
    with pytest.raises(UserError, match=message):
        Instances(**fields)
