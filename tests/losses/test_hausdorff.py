import math

import jax
import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from jaxseg.losses import Hausdorff


@pytest.mark.parametrize(
    "golden, loss",
    [
        # hausdorffDT.monai softmax alpha=2 include_bg
        (1.8192781949506938, Hausdorff(classes="all")),
        (2.0232194161952326, Hausdorff()),  # hausdorffDT.monai softmax alpha=2 default(no bg)
    ],
)
def test_it_equals_monai(tensor, golden: float, loss: Hausdorff):
    assert float(jax.jit(loss)(*tensor).mean()) == pytest.approx(golden, rel=1e-6)


@pytest.mark.parametrize(
    "golden, loss",
    [
        (1.5192939496784539, Hausdorff()),  # hausdorffDT.monai sigmoid binary
        (1.5192939517416728, Hausdorff()),  # hausdorffDT.formula binary
        # hausdorff.LIVIAETS variant (inside EDT only) binary
        (0.44415977756620784, Hausdorff(field="inside")),
    ],
)
def test_of_two_classes_it_is_the_one_of_a_sigmoid(binary, golden: float, loss: Hausdorff):
    assert float(jax.jit(loss)(*binary).mean()) == pytest.approx(golden, rel=1e-6)


def test_its_logarithm_is_monais_of_the_mean(binary):
    golden = 0.9239786835669211  # loghausdorffDT.monai sigmoid binary
    assert math.log1p(float(jax.jit(Hausdorff())(*binary).mean())) == pytest.approx(
        golden, rel=1e-6
    )
    np.testing.assert_allclose(
        jax.jit(Hausdorff(log=True))(*binary), np.log1p(jax.jit(Hausdorff())(*binary)), rtol=1e-6
    )


def test_a_volume_of_flat_voxels_is_scipys():
    rng, spacing = np.random.default_rng(0), (3.0, 0.5, 1.0)
    label = (rng.random((1, 4, 6, 5)) < 0.4).astype(np.int32)
    logits = rng.normal(size=(*label.shape, 2)).astype(np.float32)
    p = 1 / (1 + np.exp(logits[0, ..., 0] - logits[0, ..., 1]))

    def edge(x):
        return sum(distance_transform_edt(side, sampling=spacing) for side in (x, ~x))

    expected = (p - label[0]) ** 2 * (edge(p > 0.5) ** 1.5 + edge(label[0] > 0) ** 1.5)
    value = jax.jit(Hausdorff(alpha=1.5, spacing=spacing))(logits, label)
    np.testing.assert_allclose(value, expected.mean(), rtol=1e-5)


def test_a_mistake_costs_more_the_farther_it_is():
    label = np.zeros((2, 16, 16), np.int32)
    label[:, 2:5, 2:5] = 1
    guess = label.copy()
    guess[0, 6, 3], guess[1, 13, 13] = 1, 1
    near, far = jax.jit(Hausdorff())(50 * (2 * np.eye(2, dtype=np.float32)[guess] - 1), label)
    assert far > 10 * near > 0
