import numpy as np
import pytest
import skimage.metrics

from jaxseg.metrics import (
    Contingency,
    adapted_rand_error,
    foreground_information,
    foreground_rand,
    pixel_error,
    thinned,
    variation_of_information,
)


def segments() -> tuple[np.ndarray, np.ndarray]:
    """systems.md, appendix 3: B, which predicts A."""
    a, b = np.zeros((32, 32), np.int32), np.zeros((32, 32), np.int32)
    a[2:12, 2:12], a[2:12, 14:30], a[15:30, 3:13], a[18:28, 16:28] = 1, 2, 3, 4
    b[2:12, 2:11], b[3:12, 14:21], b[3:12, 21:30], b[15:30, 3:13] = 1, 2, 3, 4
    b[20:28, 18:30], b[29:32, 29:32] = 5, 6
    return b, a


def some(seed: int = 0, shape=(15, 11), k: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, k, shape, np.int32), rng.integers(0, k - 1, shape, np.int32)


def close(value, golden):
    np.testing.assert_allclose(value, golden, rtol=1e-6)


def test_the_adapted_rand_error_is_scikit_images():
    # metrics.json skimage.adapted_rand_error, .are precision, .are recall
    golden = (0.206071712372087, 0.6802278727247464, 0.9532673884258899)
    close(adapted_rand_error(*segments()), golden)
    close(adapted_rand_error(*segments(), ignore=())[0], 0.17449396443161225)
    prediction, label = some()
    close(
        adapted_rand_error(prediction, label),
        skimage.metrics.adapted_rand_error(label, prediction),
    )


def test_the_variation_of_information_is_scikit_images():
    # metrics.json skimage.VOI
    close(variation_of_information(*segments()), (0.5281502615560878, 0.429274245560073))
    ignored = variation_of_information(*segments(), ignore=(0,))
    close(ignored, (0.7066171117231991, 0.16761057949677333))
    prediction, label = some()
    close(
        variation_of_information(prediction, label),
        skimage.metrics.variation_of_information(label, prediction),
    )


def test_rand_and_information_scores_are_the_fractions_written_here():
    label = np.array([[0, 0, 1, 1, 1, 1, 2, 2, 2, 2]])
    prediction = np.array([[5, 5, 1, 1, 1, 1, 1, 1, 3, 0]])
    # Of 8 pixels: pairs (1, 1): 4, (2, 1): 2, (2, 3): 1, and the 0 of the prediction alone.
    joint = 16 + 4 + 1 + 1
    split, merge = joint / (16 + 16), joint / (36 + 1 + 1)
    close(foreground_rand(prediction, label, alpha=0.0), split)
    close(foreground_rand(prediction, label, alpha=1.0), merge)
    close(foreground_rand(prediction, label), 2 / (1 / split + 1 / merge))  # their harmonic mean
    entropies = [-sum(p * np.log2(p) for p in x) for x in ((6 / 8, 1 / 8, 1 / 8), (0.5, 0.5))]
    both = -sum(p * np.log2(p) for p in (4 / 8, 2 / 8, 1 / 8, 1 / 8))
    information = sum(entropies) - both
    close(foreground_information(prediction, label), 2 * information / sum(entropies))
    close(foreground_information(prediction, label, alpha=1.0), information / entropies[0])


def test_the_border_of_the_prediction_is_one_segment_or_many():
    label = np.ones((1, 4), np.int32)
    prediction = np.array([[1, 1, 0, 0]])
    close(foreground_rand(prediction, label, alpha=0.0), (4 + 1 + 1) / 16)
    close(foreground_rand(prediction, label, alpha=0.0, border="segment"), (4 + 4) / 16)


@pytest.mark.parametrize("score", [foreground_rand, foreground_information])
def test_what_stands_where_the_label_has_its_border_does_not_count(score):
    prediction, label = some()
    other = np.where(label == 0, 77, prediction)
    assert score(prediction, label) == score(other, label)


@pytest.mark.parametrize("score", [foreground_rand, foreground_information])
def test_equal_partitions_score_one_whatever_their_numbers(score):
    label = some()[1]
    close(score(label * 7, label), 1)
    close(score(np.ones_like(label), np.ones_like(label)), 1)
    assert np.isnan(score(label, np.zeros_like(label)))


def test_errors_of_equal_partitions_are_none():
    label = some()[1]
    close(adapted_rand_error(label, label)[0], 0)
    np.testing.assert_allclose(variation_of_information(label, label), 0, atol=1e-12)
    assert np.isnan(adapted_rand_error(label, np.zeros_like(label))).all()


def test_the_pixel_error_is_the_share_that_differs():
    a, b = np.array([[True, False, True, True]]), np.array([[True, True, True, False]])
    assert pixel_error(a, b) == 0.5


@pytest.mark.parametrize("scale", [1, 100_000, -1])
def test_a_contingency_table_counts_every_pair(scale):
    # Small numbers are counted, large and negative ones sorted.
    prediction, label = some()
    table = Contingency.of(prediction * scale, label * scale)
    dense = skimage.metrics.contingency_table(label, prediction).toarray()
    assert table.counts.sum() == label.size
    for a, b, n in zip(
        table.labels // scale, table.predictions // scale, table.counts, strict=True
    ):
        assert dense[a, b] == n


@pytest.mark.parametrize("largest", [5, 10**12])
@pytest.mark.parametrize("types", [(np.uint64, np.uint64), (np.uint64, np.int64), (np.uint8, int)])
def test_a_contingency_table_takes_every_whole_type(types, largest):
    if np.uint8 in types and largest > 255:
        largest = 255
    prediction = np.array([[0, largest, largest - 1, largest]], types[0])
    label = np.array([[0, largest, largest, largest]], types[1])
    if types[1] is not np.uint64 and largest > 255:  # a float would lose the last digits
        prediction, label = prediction + types[0](2**60), label + types[1](2**60)
    table = Contingency.of(prediction, label)
    rows = set(zip(*(x.tolist() for x in (table.labels, table.predictions)), strict=True))
    pairs = list(zip(label.ravel().tolist(), prediction.ravel().tolist(), strict=True))
    assert rows == set(pairs)
    assert sorted(table.counts.tolist()) == [1, 1, 2]


def test_segments_of_one_pixel_are_no_error():
    label = np.arange(1, 17).reshape(4, 4)
    assert adapted_rand_error(label, label) == (0, 1, 1)  # scikit-image: NaN


def test_thinned_borders_are_one_pixel_wide():
    segments = np.zeros((9, 21), np.int32)
    segments[:, :7], segments[:, 14:] = 1, 2
    found = thinned(segments)
    assert ((found == 0).sum(1) == 1).all()
    np.testing.assert_array_equal(found[segments > 0], segments[segments > 0])
    assert (thinned(np.zeros((5, 5), np.int32)) == 0).all()
