"""Confidence intervals over cases: the percentile bootstrap (Efron 1979)."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

LEVEL = 0.95
"""Share of the drawn scores that an interval holds."""


def bootstrap_interval(
    scores: Float[np.ndarray, " n"], *, level: float = LEVEL, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Interval of the mean of `scores`, one for each case.

    Cases that are NaN are left out. Without a case the interval is NaN; with one it is a point.
    """
    scores = scores[~np.isnan(scores)]
    mean = lambda drawn: float(scores[drawn].mean())  # noqa: E731
    return bootstrap(mean, scores.size, level=level, draws=draws, seed=seed)


def bootstrap(
    score: Callable[[Int[np.ndarray, " n"]], float],
    n: int,
    *,
    level: float = LEVEL,
    draws: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Interval of any `score` of `n` cases, a function of the numbers of the drawn cases.

    Cases are drawn again with replacement, `draws` times; the interval holds the middle `level` of
    the scores. Draws whose score is NaN are left out.
    """
    if not 0 < level < 1:
        raise ValueError(f"level={level}: must be in (0, 1)")
    if not n:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    drawn = np.empty(draws)
    for draw in range(draws):  # one at a time: all at once is draws x n numbers
        drawn[draw] = score(rng.integers(0, n, n))
    drawn = drawn[~np.isnan(drawn)]
    if not drawn.size:
        return float("nan"), float("nan")
    tail = 50 * (1 - level)
    low, high = np.percentile(drawn, [tail, 100 - tail])
    return float(low), float(high)
