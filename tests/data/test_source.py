import numpy as np
import pytest
from PIL import Image

from jaxseg.data.source import Masks, rim, semantic
from jaxseg.errors import UserError
from jaxseg.types import IGNORE


def saved(path, array):
    Image.fromarray(np.asarray(array, np.uint8)).save(path)
    return str(path)


def label(path, masks):
    return masks.read(path, rank=2, page=None)["label"]


def test_values_map_file_values_to_classes_and_surplus_ones_to_ignore(tmp_path):
    path = saved(tmp_path / "m.png", [[0, 255], [128, 255]])
    got = label(path, Masks(2, values=(0, 255, 128)))
    np.testing.assert_array_equal(got, [[0, 1], [IGNORE, 1]])
    assert got.dtype == np.int32


def test_a_value_that_is_not_listed_is_refused_with_file_and_value(tmp_path):
    path = saved(tmp_path / "m.png", [[0, 255], [7, 9]])
    with pytest.raises(UserError, match=r"m\.png: values 7, 9 are not in `values`"):
        label(path, Masks(2, values=(0, 255)))


def test_ignored_file_values_become_ignore(tmp_path):
    path = saved(tmp_path / "m.png", [[0, 255], [1, 2]])
    np.testing.assert_array_equal(label(path, Masks(3, ignore=(255,))), [[0, IGNORE], [1, 2]])


def test_labels_beyond_the_classes_are_refused_with_file_and_values(tmp_path):
    path = saved(tmp_path / "m.png", [[0, 5], [1, 4]])
    with pytest.raises(UserError, match=r"m\.png: label values 4, 5 with num_classes=3"):
        label(path, Masks(3, ignore=(255,)))


def test_colours_need_a_table_and_follow_it(tmp_path):
    red, blue, void = (255, 0, 0), (0, 0, 255), (9, 9, 9)
    path = saved(tmp_path / "m.png", [[red, blue], [void, blue]])
    with pytest.raises(UserError, match=r"m\.png: a mask of colours"):
        label(path, Masks(2))
    got = label(path, Masks(2, colors=(red, blue, void)))
    np.testing.assert_array_equal(got, [[0, 1], [IGNORE, 1]])
    with pytest.raises(UserError, match=r"m\.png: colours \(9, 9, 9\) are not in `colors`"):
        label(path, Masks(2, colors=(red, blue)))


def test_a_grey_mask_stored_as_rgb_is_read_as_indices(tmp_path):
    path = saved(tmp_path / "m.png", np.repeat([[[0], [1]], [[2], [1]]], 3, -1))
    np.testing.assert_array_equal(label(path, Masks(3)), [[0, 1], [2, 1]])


def test_whole_numbers_stored_as_float_are_labels_and_fractions_are_not(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[0.0, 2.0]]))
    np.testing.assert_array_equal(label(str(tmp_path / "a.npy"), Masks(3)), [[0, 2]])
    np.save(tmp_path / "b.npy", np.array([[0.0, 0.5]]))
    with pytest.raises(UserError, match=r"b\.npy: the mask holds fractions"):
        label(str(tmp_path / "b.npy"), Masks(3))


def test_a_huge_unsigned_value_is_not_taken_for_ignore(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[0, 2**32 - 1]], np.uint32))
    with pytest.raises(UserError, match="4294967295"):
        label(str(tmp_path / "a.npy"), Masks(3))


def test_instances_are_class_1_and_their_rim_class_2():
    instance = np.zeros((5, 8), np.int32)
    instance[1:4, 1:4], instance[1:4, 4:7] = 1, 2
    edge = rim(instance)
    inner = np.zeros_like(edge)
    inner[2, 2] = inner[2, 5] = True
    np.testing.assert_array_equal(edge, (instance > 0) & ~inner)
    np.testing.assert_array_equal(semantic(instance), instance > 0)
    assert set(np.unique(semantic(instance, boundary=True))) == {0, 1, 2}
