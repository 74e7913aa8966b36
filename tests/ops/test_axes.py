import pytest

from jaxseg.errors import UserError
from jaxseg.ops import per_axis, product


def test_strides_are_multiplied_along_each_axis():
    assert product((2, 3)) == 6 and product(()) == 1
    assert product(((2, 2, 1), 2, (1, 2, 3))) == (4, 8, 6)


@pytest.mark.parametrize("sizes", [((2, 2), (2, 2, 2)), (2, 0), ((2, 0),)])
def test_strides_of_other_ranks_and_of_no_pixel_are_refused(sizes):
    with pytest.raises(UserError, match="strides"):
        product(sizes)


def test_one_number_is_of_all_axes():
    assert per_axis(3, 2, "size") == (3, 3) and per_axis((3, 1), 2, "size") == (3, 1)
