import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.metrics import MORE, Confusion, mean
from jaxseg.sharding import MeshShape, replicated
from jaxseg.types import IGNORE
from tests.placing import by_rows

SCORES = ("iou", "dice", "precision", "recall")


def some(b: int = 4, size: tuple[int, ...] = (8, 6), k: int = 3, seed: int = 0):
    rng = np.random.default_rng(seed)
    shape = (b, *size)
    prediction, label = rng.integers(0, k, shape), rng.integers(IGNORE, k, shape)
    return prediction.astype(np.int32), label.astype(np.int32)


def counted(prediction, label, k: int = 3) -> np.ndarray:
    """The matrix, pixel by pixel."""
    matrix = np.zeros((k, k), int)
    for p, t in zip(prediction.ravel(), label.ravel(), strict=True):
        if t != IGNORE:
            matrix[t, p] += 1
    return matrix


def golden_pair() -> tuple[np.ndarray, np.ndarray]:
    """A disc against an ellipse with a false blob of four pixels."""
    y, x = np.mgrid[:32, :32]
    label = (y - 15) ** 2 + (x - 14) ** 2 <= 64
    prediction = (y - 16) ** 2 / 81 + (x - 16) ** 2 / 49 <= 1
    prediction[2:4, 27:29] = True
    return prediction[None].astype(np.int32), label[None].astype(np.int32)


@pytest.mark.parametrize("size", [(40,), (8, 6), (4, 5, 3)])
def test_it_counts_every_pixel(size):
    prediction, label = some(size=size)
    matrix = Confusion.of(prediction, label, 3).matrix
    assert matrix.dtype == jnp.int32
    np.testing.assert_array_equal(matrix, counted(prediction, label))


def test_scores_are_the_fractions_written_here():
    # label rows, prediction columns
    c = Confusion(matrix=jnp.asarray([[5, 1, 0], [2, 3, 0], [0, 4, 0]]))
    np.testing.assert_allclose(c.iou(), [5 / 8, 3 / 10, 0], rtol=1e-6)
    np.testing.assert_allclose(c.dice(), [10 / 13, 6 / 13, 0], rtol=1e-6)
    np.testing.assert_allclose(c.precision(), [5 / 7, 3 / 8, 0], rtol=1e-6)
    np.testing.assert_allclose(c.recall(), [5 / 6, 3 / 5, 0], rtol=1e-6)
    np.testing.assert_allclose(c.accuracy(), 8 / 15, rtol=1e-6)


def test_scores_of_a_disc_against_an_ellipse():
    # metrics.json 2d.*: tp 158, fp 43, fn 39, tn 784
    c = Confusion.of(*golden_pair(), 2)
    assert c.matrix.tolist() == [[784, 43], [39, 158]]
    np.testing.assert_allclose(c.iou(), [0.9053117782909931, 0.6583333333333333], rtol=1e-6)
    np.testing.assert_allclose(c.dice()[1], 0.7939698492462312, rtol=1e-6)
    np.testing.assert_allclose(c.precision()[1], 0.7860696517412935, rtol=1e-6)
    np.testing.assert_allclose(c.recall(), [0.9480048367593712, 0.8020304568527918], rtol=1e-6)
    np.testing.assert_allclose(c.accuracy(), 0.919921875, rtol=1e-6)
    np.testing.assert_allclose(mean(c.iou()), 0.7818225558121632, rtol=1e-6)
    np.testing.assert_allclose(c.specificity()[1], 0.9480048367593712, rtol=1e-6)
    np.testing.assert_allclose(c.on_host().kappa(), 0.7442791099957973, rtol=1e-6)  # 2d.kappa
    np.testing.assert_allclose(c.on_host().matthews(), 0.7443370236827083, rtol=1e-6)  # 2d.mcc


@pytest.mark.parametrize("k", [2, 5])
def test_scores_are_those_of_scikit_learn(k):
    metrics = pytest.importorskip("sklearn.metrics")
    prediction, label = some(k=k, seed=3)
    seen = label != IGNORE
    given = label[seen], prediction[seen]
    c = Confusion.of(prediction, label, k).on_host()
    np.testing.assert_array_equal(c.matrix, metrics.confusion_matrix(*given))
    close = np.testing.assert_allclose
    theirs = {
        "dice": metrics.f1_score,
        "iou": metrics.jaccard_score,
        "precision": metrics.precision_score,
        "recall": metrics.recall_score,
    }
    for name, score in theirs.items():
        close(getattr(c, name)(), score(*given, average=None))
        for how in ("macro", "micro", "weighted"):
            close(c.average(name, how), score(*given, average=how))
    close(c.accuracy(), metrics.accuracy_score(*given))
    close(c.kappa(), metrics.cohen_kappa_score(*given))
    close(c.matthews(), metrics.matthews_corrcoef(*given))
    rest = [metrics.recall_score(given[0] != i, given[1] != i) for i in range(k)]
    close(c.specificity(), rest)


def test_agreement_by_chance_is_no_agreement():
    c = Confusion(matrix=np.int64([[8, 4], [4, 2]]))  # rows and columns are independent
    np.testing.assert_allclose([c.kappa(), c.matthews()], 0, atol=1e-12)
    right = Confusion(matrix=np.int64([[3, 0], [0, 5]]))
    assert right.kappa() == right.matthews() == 1
    assert np.isnan([f() for f in (Confusion(matrix=np.int64([[3, 0], [0, 0]])).matthews,)]).all()


def test_further_scores_are_given_where_they_are_asked_for():
    c = Confusion.of(*some(), 3)
    more = c.scores(more=MORE)
    assert {*MORE} <= {*more} and not {*MORE} & {*c.scores()}
    assert len(more["specificity_per_class"]) == 3
    for name in (*MORE, *SCORES):
        assert math.isclose(more[name], c.on_host().score(name)), name
    assert math.isclose(more["iou_micro"], c.on_host().average("iou", "micro"))


def test_the_matrices_of_examples_add_up_to_that_of_the_batch():
    prediction, label = some()
    valid = np.array([True, True, False, True])
    each = Confusion.each(prediction, label, 3, valid=valid)
    assert each.shape == (4, 3, 3) and not each[2].any()
    np.testing.assert_array_equal(each[1], counted(prediction[1], label[1]))
    whole = Confusion.of(prediction, label, 3, valid=valid)
    np.testing.assert_array_equal(each.sum(0), whole.matrix)


def test_merged_parts_are_the_whole():
    prediction, label = some()
    whole = Confusion.of(prediction, label, 3)
    merged = Confusion.zero(3)
    for i in range(4):
        merged = merged + Confusion.of(prediction[i : i + 1], label[i : i + 1], 3)
    np.testing.assert_array_equal(merged.matrix, whole.matrix)


def test_the_order_of_pixels_does_not_matter():
    prediction, label = some()
    order = np.random.default_rng(1).permutation(label.size)
    shuffled = [x.ravel()[order].reshape(x.shape) for x in (prediction, label)]
    np.testing.assert_array_equal(
        Confusion.of(*shuffled, 3).matrix, Confusion.of(prediction, label, 3).matrix
    )


def test_ragged_last_batches_are_exact():
    prediction, label = some(b=10)
    total = Confusion.zero(3).on_host()
    of = jax.jit(lambda p, t, v: Confusion.of(p, t, 3, valid=v))
    for start in range(0, 10, 4):
        rows = np.arange(start, start + 4)
        valid = rows < 10
        rows = np.minimum(rows, 9)  # padding repeats a row, which must not count
        total = total + of(prediction[rows], label[rows], valid)
    np.testing.assert_array_equal(total.matrix, counted(prediction, label))


def test_ignored_pixels_do_not_count_whatever_is_predicted():
    prediction, label = some()
    label[:, :4] = IGNORE
    part = Confusion.of(prediction[:, 4:], label[:, 4:], 3)
    prediction[:, :4] = 99
    np.testing.assert_array_equal(Confusion.of(prediction, label, 3).matrix, part.matrix)


def test_a_value_that_is_no_class_does_not_count():
    prediction, label = np.int32([[0, 5, -1, 1]]), np.int32([[0, 0, 0, 7]])
    assert Confusion.of(prediction, label, 2).matrix.tolist() == [[1, 0], [0, 0]]


@pytest.mark.parametrize("value", [-2, -3, -100, 3, 100])
def test_a_label_that_is_no_class_counts_in_no_cell(value):
    prediction, label = some()
    other = np.where(label == IGNORE, value, label)
    found = Confusion.of(prediction, other, 3)
    np.testing.assert_array_equal(found.matrix, counted(prediction, label))
    found = Confusion.of(other, np.where(other == value, 0, other), 3)  # nor in a prediction
    assert found.matrix.sum() == (label != IGNORE).sum()


@pytest.mark.parametrize("n", [0, 1, 7, 49, 1000, 12_345_677])
@pytest.mark.parametrize("where", ["host", "device"])
def test_one_class_alone_has_neither_kappa_nor_correlation(n, where):
    matrix = np.diag([0, n, 0])
    both = Confusion(matrix=matrix if where == "host" else jnp.asarray(matrix))
    assert np.isnan(both.kappa()) and np.isnan(both.matthews())
    matrix = np.array([[0, 0, 0], [3 * n, n, 7 * n], [0, 0, 0]])  # the label is constant
    label = Confusion(matrix=matrix if where == "host" else jnp.asarray(matrix))
    assert np.isnan(label.matthews()) and (not n or abs(label.kappa()) < 1e-6)


def test_an_absent_class_is_nan_and_left_out_of_means():
    c = Confusion.of(np.int32([[0, 0, 2]]), np.int32([[0, 0, 0]]), 4)
    for name in SCORES:
        values = np.asarray(getattr(c, name)())
        assert np.isnan(values).tolist() == [False, True, False, True]
        assert np.allclose(mean(values), np.nanmean(values))
    assert np.allclose(mean(c.iou()), (2 / 3 + 0) / 2)


def test_of_no_pixels_every_score_is_nan():
    scores = Confusion.zero(2).scores()
    for name in (*SCORES, "accuracy"):
        assert math.isnan(scores[name])
    assert all(math.isnan(v) for v in scores["dice_per_class"])


def test_a_perfect_prediction_scores_one():
    _, label = some()
    label = np.abs(label)
    scores = Confusion.of(label, label, 3).scores()
    assert all(scores[name] == 1 for name in (*SCORES, "accuracy"))


def test_scores_are_plain_numbers_for_json():
    scores = Confusion.of(*some(), 3).scores()
    assert json.loads(json.dumps(scores)) == scores
    assert set(scores) == {*SCORES, "accuracy", *(f"{name}_per_class" for name in SCORES)}
    assert len(scores["iou_per_class"]) == 3
    assert math.isclose(scores["iou"], sum(scores["iou_per_class"]) / 3)


def test_scores_by_name_are_those_by_number():
    c = Confusion.of(*some(), 3)
    names = ("sky", "road", "tree")
    by_name = c.scores(names)["recall_per_class"]
    assert by_name == dict(zip(names, c.scores()["recall_per_class"], strict=True))


def test_the_host_counts_beyond_int32():
    near = Confusion(matrix=jnp.full((2, 2), 2**31 - 1, jnp.int32))
    total = near.on_host() + near + near
    assert total.matrix.dtype == np.int64
    assert total.matrix.tolist() == [[3 * (2**31 - 1)] * 2] * 2
    assert (near + total).matrix.tolist() == [[4 * (2**31 - 1)] * 2] * 2
    assert math.isclose(total.scores()["accuracy"], 0.5)


def test_scores_do_not_overflow_where_counts_do_not():
    # tp + fp + fn is beyond int32, each count is not.
    c = Confusion(matrix=jnp.asarray([[2**30, 2**30], [2**30, 0]], jnp.int32))
    np.testing.assert_allclose(c.iou(), [1 / 3, 0], rtol=1e-6)


def test_counts_are_exact_beyond_the_integers_of_float32():
    pixels = 2**24 + 3
    ones = jnp.ones((1, pixels), jnp.int32)
    assert Confusion.of(ones, ones, 2).matrix[1, 1] == pixels


def test_it_is_a_pytree_that_jits_and_scans():
    prediction, label = some()

    def add(total: Confusion, pair):
        return total + Confusion.of(pair[0][None], pair[1][None], 3), None

    total, _ = jax.jit(lambda p, t: jax.lax.scan(add, Confusion.zero(3), (p, t)))(prediction, label)
    np.testing.assert_array_equal(total.matrix, counted(prediction, label))
    np.testing.assert_allclose(jax.jit(Confusion.iou)(total), total.iou(), rtol=1e-6)
    assert jax.tree.map(lambda _: None, total).matrix is None


@pytest.mark.parametrize("shape", [(8, 1, 1), (2, 2, 2)])
def test_sharded_over_eight_devices_equals_unsharded(shape):
    prediction, label = some(b=8)
    valid = np.arange(8) < 7
    mesh = MeshShape(*shape).build()
    of = jax.jit(
        lambda p, t, v: Confusion.of(p, t, 3, valid=v),
        in_shardings=by_rows(mesh, (prediction, label, valid)),
        out_shardings=replicated(mesh),
    )
    expected = counted(prediction[:7], label[:7])
    np.testing.assert_array_equal(of(prediction, label, valid).matrix, expected)
    # Only matrices travel between devices, never pixels.
    assert "all-gather" not in of.lower(prediction, label, valid).compile().as_text()


def test_averages_are_the_fractions_written_here():
    # label rows, prediction columns; the last class occurs in neither
    c = Confusion(matrix=np.int64([[5, 1, 0], [2, 4, 0], [0, 0, 0]]))
    np.testing.assert_allclose(c.average("iou"), (5 / 8 + 4 / 7) / 2)
    np.testing.assert_allclose(c.average("iou", "weighted"), (6 * 5 / 8 + 6 * 4 / 7) / 12)
    np.testing.assert_allclose(c.average("iou", "micro"), 9 / (8 + 7))
    for score in ("dice", "precision", "recall"):
        np.testing.assert_allclose(c.average(score, "micro"), c.accuracy())
    np.testing.assert_allclose(c.average("recall", "weighted"), c.accuracy())
    for how in ("macro", "micro", "weighted"):
        assert np.isnan(Confusion.zero(3).average("dice", how))
        device = Confusion(matrix=jnp.asarray(c.matrix, jnp.int32)).average("dice", how)
        np.testing.assert_allclose(device, c.average("dice", how), rtol=1e-6)
