import jax
import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from jaxseg.losses import Boundary
from jaxseg.losses.boundary import signed_distance


@pytest.mark.parametrize(
    "golden, loss",
    [
        (0.6474438024925451, Boundary()),  # boundary.kervadec mean(p*dist) idc=[1,2]
        (0.2956918619298587, Boundary(classes=(1,))),  # boundary.kervadec idc=[1]
        (0.47973748801727484, Boundary(classes="all")),  # boundary.kervadec idc=[0,1,2]
    ],
)
def test_it_equals_kervadecs_code(tensor, golden: float, loss: Boundary):
    assert float(jax.jit(loss)(*tensor).mean()) == pytest.approx(golden, rel=1e-6)


def test_the_map_is_kervadecs(tensor):
    inside = tensor[1][..., None] == np.arange(3)
    phi = np.asarray(jax.jit(signed_distance)(inside, np.ones((*inside.shape[:-1], 1), bool)))
    golden = 494.6270534291674  # boundary.dist map sum fg
    assert phi[..., 1:].sum() == pytest.approx(golden, rel=1e-6)
    row = [-1, -1.2361, -1.8284, -1, 0, 1, 2, 3]  # of image 0, class 1, row 3
    np.testing.assert_allclose(phi[0, 3, :, 1], row, atol=1e-4)


def test_a_volume_of_flat_voxels_is_scipys():
    spacing = (3.0, 0.5, 1.0)
    label = (np.random.default_rng(0).random((1, 4, 6, 5)) < 0.4).astype(np.int32)
    counts = np.ones((*label.shape, 1), bool)
    inside = distance_transform_edt(label[0], sampling=spacing)
    outside = distance_transform_edt(1 - label[0], sampling=spacing)
    expected = np.where(label[0] > 0, 0.5 - inside, outside)
    phi = jax.jit(signed_distance, static_argnums=2)(label[..., None] > 0, counts, spacing)
    np.testing.assert_allclose(phi[0, ..., 0], expected, rtol=1e-5)


def test_a_class_that_is_absent_or_everywhere_has_no_edge():
    logits = np.random.default_rng(0).normal(size=(2, 4, 4, 2)).astype(np.float32)
    label = np.stack([np.zeros((4, 4)), np.ones((4, 4))]).astype(np.int32)
    assert np.all(jax.jit(Boundary(classes="all"))(logits, label) == 0)


def test_the_label_itself_costs_least(tensor):
    logits, label = tensor
    best = jax.jit(Boundary())(50 * (2 * np.eye(3, dtype=np.float32)[label] - 1), label)
    assert np.all(best < 0) and np.all(best < jax.jit(Boundary())(logits, label))
