import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from jaxseg.metrics import boundary_iou


def pair() -> tuple[np.ndarray, np.ndarray]:
    """systems.md, appendix 3: an ellipse with a false blob of four pixels, and a disc."""
    y, x = np.mgrid[:32, :32]
    prediction = (y - 16) ** 2 / 81 + (x - 16) ** 2 / 49 <= 1
    prediction[2:4, 27:29] = True
    return prediction, (y - 15) ** 2 + (x - 14) ** 2 <= 64


@pytest.mark.parametrize("ratio, golden", [(0.02, 0.10714285714285714), (0.1, 0.625)])
def test_it_is_the_papers(ratio, golden):
    # metrics.json boundaryIoU ratio=0.02 d=1, ratio=0.1 d=5
    np.testing.assert_allclose(boundary_iou(*pair(), ratio=ratio), golden, rtol=1e-6)


@pytest.mark.parametrize("shape", [(20, 15), (9, 8, 10)])
@pytest.mark.parametrize("width", [1, 3])
def test_a_wide_boundary_is_what_repeated_erosion_takes(shape, width):
    rng = np.random.default_rng(0)
    masks = [rng.random(shape) < 0.97 for _ in range(2)]
    square = np.ones((3,) * len(shape), bool)
    a, b = (mask & ~binary_erosion(mask, square, width) for mask in masks)
    assert boundary_iou(*masks, width=width) == (a & b).sum() / (a | b).sum()


def test_its_bounds():
    prediction, label = pair()
    empty = np.zeros_like(label)
    assert boundary_iou(label, label) == 1
    assert boundary_iou(empty, label) == boundary_iou(prediction, empty) == 0
    assert np.isnan(boundary_iou(empty, empty))


def test_a_boundary_as_wide_as_the_objects_gives_the_iou():
    prediction, label = pair()
    iou = (prediction & label).sum() / (prediction | label).sum()
    assert boundary_iou(prediction, label, width=16) == iou
