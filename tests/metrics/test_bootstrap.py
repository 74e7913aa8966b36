import numpy as np
import pytest

from jaxseg.metrics import bootstrap, bootstrap_interval


def test_it_is_the_interval_of_theory_for_many_cases():
    scores = np.random.default_rng(1).normal(0.8, 0.1, 400)
    low, high = bootstrap_interval(scores)
    half = 1.96 * scores.std() / np.sqrt(400)
    np.testing.assert_allclose([low, high], scores.mean() + half * np.array([-1, 1]), atol=1e-3)


def test_it_holds_the_mean_in_as_many_experiments_as_it_says():
    rng = np.random.default_rng(2)
    hits = 0
    for trial in range(200):
        low, high = bootstrap_interval(rng.normal(0, 1, 50), draws=300, seed=trial)
        hits += low <= 0 <= high
    assert 178 <= hits <= 199  # 190 expected, less a little for the small sample


def test_the_seed_fixes_it():
    scores = np.arange(9.0)
    assert bootstrap_interval(scores, seed=3) == bootstrap_interval(scores, seed=3)
    assert bootstrap_interval(scores, seed=3) != bootstrap_interval(scores, seed=4)


def test_a_higher_level_is_a_wider_interval():
    scores = np.random.default_rng(0).random(30)
    narrow, wide = (bootstrap_interval(scores, level=level) for level in (0.5, 0.99))
    assert wide[0] < narrow[0] < scores.mean() < narrow[1] < wide[1]


def test_cases_without_a_score_are_left_out():
    scores = np.array([0.2, np.nan, 0.4, 0.9])
    assert bootstrap_interval(scores) == bootstrap_interval(scores[[0, 2, 3]])
    assert np.isnan(bootstrap_interval(np.array([np.nan]))).all()
    assert bootstrap_interval(np.array([0.3])) == pytest.approx((0.3, 0.3))


def test_any_score_of_the_drawn_cases_has_an_interval():
    scores = np.random.default_rng(1).random(30)
    of_mean = bootstrap(lambda drawn: scores[drawn].mean(), 30)
    assert of_mean == bootstrap_interval(scores)
    low, high = bootstrap(lambda drawn: float(np.median(scores[drawn])), 30)
    assert low < np.median(scores) < high


def test_draws_without_a_score_are_left_out():
    defined = bootstrap(lambda drawn: 1.0 if 0 in drawn else float("nan"), 3)
    assert defined == (1.0, 1.0)
    assert np.isnan(bootstrap(lambda drawn: float("nan"), 3)).all()
    assert np.isnan(bootstrap(lambda drawn: 1.0, 0)).all()
    with pytest.raises(ValueError, match="level"):
        bootstrap(lambda drawn: 1.0, 3, level=1.0)
