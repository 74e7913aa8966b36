"""Confidence intervals over cases: the percentile bootstrap (Efron 1979)."""

import numpy as np
from jaxtyping import Float


def bootstrap_interval(
    scores: Float[np.ndarray, " n"],
    *,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Interval of the mean of `scores`, of which each is one case's.

    Cases are drawn again with replacement, `draws` times; the interval holds the middle `level` of
    the means. Cases that are NaN are left out; of none the interval is NaN, of one it is a point.
    """
    if not 0 < level < 1:
        raise ValueError(f"level={level}: must be in (0, 1)")
    scores = scores[~np.isnan(scores)]
    if not scores.size:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    means = np.empty(draws)
    for draw in range(draws):  # one at a time: all at once is draws x n numbers
        means[draw] = scores[rng.integers(0, scores.size, scores.size)].mean()
    tail = 50 * (1 - level)
    low, high = np.percentile(means, [tail, 100 - tail])
    return float(low), float(high)
