"""Make crf.npz: mean field on the permutohedral lattice, in numpy, point by point.

    python tests/golden/make_crf.py

Written from the algorithm (Adams, Baek, Davis 2010): a dictionary of lattice points and loops over
pixels, where ours sorts and searches. The same algorithm was held against pydensecrf to 3e-6. The
kernel of places is exact here, as it is in ours. ``<case>/q`` is Q after five iterations.
"""

import itertools
from pathlib import Path

import numpy as np

RANDOM = np.random.RandomState(0)


def lattice(features):
    """The filter of those features, as a function of ``[n k]``."""
    n, d = features.shape
    points, corners, weights = {}, np.zeros((n, d + 1), int), np.zeros((n, d + 1))
    for pixel, f in enumerate(features):
        scaled = [f[i] * np.sqrt(2 / 3) * (d + 1) / np.sqrt((i + 1) * (i + 2)) for i in range(d)]
        e, total = np.zeros(d + 1), 0.0
        for j in range(d, 0, -1):
            e[j] = total - j * scaled[j - 1]
            total += scaled[j - 1]
        e[0] = total
        up, down = np.ceil(e / (d + 1)) * (d + 1), np.floor(e / (d + 1)) * (d + 1)
        base = np.where(up - e < e - down, up, down).astype(int)
        excess, rank = base.sum() // (d + 1), np.zeros(d + 1, int)
        for i, j in itertools.combinations(range(d + 1), 2):
            rank[i if e[i] - base[i] < e[j] - base[j] else j] += 1
        rank += excess
        for i in range(d + 1):
            if rank[i] < 0:
                rank[i], base[i] = rank[i] + d + 1, base[i] + d + 1
            elif rank[i] > d:
                rank[i], base[i] = rank[i] - d - 1, base[i] - d - 1
        b = np.zeros(d + 2)
        for i in range(d + 1):
            share = (e[i] - base[i]) / (d + 1)
            b[d - rank[i]] += share
            b[d - rank[i] + 1] -= share
        b[0] += 1 + b[d + 1]
        for r in range(d + 1):
            canonical = [r] * (d + 1 - r) + [r - (d + 1)] * r
            key = tuple(base[i] + canonical[rank[i]] for i in range(d))
            corners[pixel, r] = points.setdefault(key, len(points))
            weights[pixel, r] = b[r]

    def run(q):
        values = np.zeros((len(points) + 1, q.shape[1]))
        for r in range(d + 1):
            np.add.at(values, corners[:, r], weights[:, r, None] * q)
        for axis in range(d + 1):
            new = values.copy()
            for key, at in points.items():
                for side in (1, -1):
                    near = tuple(k - side + side * (d + 1) * (i == axis) for i, k in enumerate(key))
                    new[at] += 0.5 * values[points.get(near, len(points))]
            values = new
        return sum(weights[:, r, None] * values[corners[:, r]] for r in range(d + 1)) / (
            1 + 2.0**-d
        )

    return run


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def mean_field(logits, image, normalise):
    h, w, k = logits.shape
    y, x = np.mgrid[:h, :w]
    places = np.stack([x, y], -1).reshape(-1, 2)
    apart = ((places[:, None] - places[None]) ** 2).sum(-1)
    near = np.exp(-0.5 * apart / 2.0**2)
    by_colour = lattice(np.concatenate([places / 10.0, image.reshape(-1, 3) / 20.0], -1))
    unary = logits.reshape(-1, k).astype(float)
    q = softmax(unary)
    for _ in range(5):
        total = unary
        for weight, run in ((3.0, lambda q: near @ q), (4.0, by_colour)):
            norm = run(np.ones((h * w, 1))) + 1e-20
            if normalise == "after":
                total = total + weight * run(q) / norm
            else:
                total = total + weight * run(q / np.sqrt(norm)) / np.sqrt(norm)
        q = softmax(total)
    return q.reshape(h, w, k)


def main():
    h, w = 20, 26
    step = 150 * (np.arange(w) > 11)[None, :, None] * np.ones((h, 1, 3))
    image = np.round(step + 60 * RANDOM.uniform(size=(h, w, 3))).astype("f4")
    logits = RANDOM.standard_normal((h, w, 4)).astype("f4")
    store = {"image": image, "logits": logits}
    for normalise in ("symmetric", "after"):
        store[f"{normalise}/q"] = mean_field(logits, image, normalise).astype("f4")
    np.savez_compressed(Path(__file__).parent / "crf.npz", **store)


if __name__ == "__main__":
    main()
