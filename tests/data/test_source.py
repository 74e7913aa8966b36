import numpy as np
import pytest
from PIL import Image

from jaxseg.data import Folder
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


@pytest.mark.parametrize(
    "fields, held, expected",
    [
        ({"values": (0, 255)}, [0, 255], [0, 1]),
        ({"values": (0, 1)}, [1, 255], [1, IGNORE]),  # not listed: ignored as before
        ({"values": (0, 1), "ignore": (7,)}, [1, 7], [1, IGNORE]),
        ({"values": (0, 1, 255)}, [1, 255], [1, IGNORE]),  # listed beyond the classes
        ({}, [1, 255], [1, IGNORE]),
        ({"ignore": (255,)}, [0, 255], [0, IGNORE]),  # said, so not asked about
    ],
)
def test_255_is_ignored_only_where_it_is_no_class(tmp_path, fields, held, expected):
    path = saved(tmp_path / "m.png", [held])
    np.testing.assert_array_equal(label(path, Masks(2, **fields)), [expected])


def test_255_is_a_class_among_256(tmp_path):
    path = saved(tmp_path / "m.png", [[0, 255]])
    np.testing.assert_array_equal(label(path, Masks(256)), [[0, 255]])


@pytest.mark.parametrize("held", [[0, 255], [255, 255]])
def test_a_mask_of_0_and_255_without_values_is_refused_with_the_line_to_write(tmp_path, held):
    path = saved(tmp_path / "m.png", [held])
    with pytest.raises(UserError, match=r"m\.png: .* write values=\(0, 255\) .* ignore=\(255,\)"):
        label(path, Masks(2))
    with pytest.raises(UserError, match=r"num_classes=2, values=\(0, 255\)"):
        label(path, Masks(4))
    np.testing.assert_array_equal(label(path, Masks(21)) == IGNORE, [np.equal(held, 255)])


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"values": (0, 255), "ignore": (255,)}, r"ignore=\(255,\): 255 is class 1 in values"),
        ({"values": (0,)}, r"values=\(0,\): must be one for each of num_classes=2"),
        ({"values": (0, 0)}, "none twice"),
        ({"colors": ((0, 0, 0), (0, 0, 255)), "ignore": (255,)}, "numbers, where .* colours"),
        ({"values": (0, 1), "colors": ((0, 0, 0), (0, 0, 255))}, "not both"),
        ({"values": (0, 1), "instances": True}, "means nothing with instances"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(fields, message):
    for made in (Masks, Folder):
        with pytest.raises(UserError, match=message):
            made(2, **fields)


def test_no_colour_is_ignored_by_its_code(tmp_path):
    red, blue, green = (255, 0, 0), (0, 0, 255), (0, 0, 11)
    path = saved(tmp_path / "m.png", [[red, blue], [green, blue]])
    np.testing.assert_array_equal(
        label(path, Masks(3, colors=(red, blue, green))), [[0, 1], [2, 1]]
    )


def test_an_explicit_ignore_holds_for_an_array_on_disk_too(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[0, 2]], np.int16))
    got = label(str(tmp_path / "a.npy"), Masks(3, ignore=(2,)))
    np.testing.assert_array_equal(got, [[0, IGNORE]])


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
