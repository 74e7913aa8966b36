import numpy as np

from jaxseg.metrics import centerline_dice


def tube(width: int = 1) -> np.ndarray:
    mask = np.zeros((21, 40), bool)
    mask[10 - width : 11 + width, 3:37] = True
    return mask


def test_the_width_of_a_tube_does_not_count():
    assert centerline_dice(tube(1), tube(3)) == 1


def test_a_gap_costs_the_skeleton_that_is_missing():
    line = np.zeros((5, 40), bool)
    line[2] = True
    gap = line.copy()
    gap[:, 10:20] = False
    # Lines of one pixel are their own skeletons: precision 1, sensitivity 30 / 40.
    np.testing.assert_allclose(centerline_dice(gap, line), 2 * 0.75 / 1.75)
    np.testing.assert_allclose(centerline_dice(line, gap), 2 * 0.75 / 1.75)


def test_volumes_have_center_lines_too():
    mask = np.zeros((9, 9, 30), bool)
    mask[3:6, 3:6, 2:28] = True
    assert centerline_dice(mask, mask) == 1
    shifted = np.roll(mask, 4, axis=0)
    assert centerline_dice(shifted, mask) == 0


def test_its_bounds():
    empty = np.zeros((21, 40), bool)
    assert centerline_dice(empty, tube()) == centerline_dice(tube(), empty) == 0
    assert np.isnan(centerline_dice(empty, empty))
