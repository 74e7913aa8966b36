"""Label maps in the numbers that somebody's own masks have."""

import numpy as np
import pytest

from jaxseg.data.images import read_mask
from jaxseg.data.masks import parse_values, valued, write_mask
from jaxseg.data.source import Masks
from jaxseg.errors import UserError


@pytest.mark.parametrize("values", [(0, 255), (7, 3), (0, 40000)])
@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_values_that_are_written_are_read_as_the_classes_they_stand_for(tmp_path, values, name):
    label = np.array([[0, 1, 1], [1, 0, 0]], np.int32)
    written = valued(label, values)
    np.testing.assert_array_equal(written, np.array(values)[label])
    assert written.dtype == (np.uint8 if max(values) < 256 else np.uint16)
    write_mask(tmp_path / name, written, like=tmp_path / "unused.png")
    np.testing.assert_array_equal(read_mask(tmp_path / name), written)
    read = Masks(2, values=values).read(str(tmp_path / name), rank=2, page=None)
    np.testing.assert_array_equal(read["label"], label)


def test_a_list_of_values_is_numbers_of_16_bits_each_once():
    assert parse_values("0,255") == (0, 255) and parse_values("3") == (3,)
    for text in ("", "0;255", "0,a", "0,,1", "0,0", "-1,0", "0,65536"):
        with pytest.raises(UserError, match="--values"):
            parse_values(text)
