"""How long do the surface scores of a pair of 256^3 volumes take?

    python -m benchmarks.surface_metrics [--size 256] [--rounds 3] [--only blob noise ...]

HD95, ASSD and NSD of one pair together, on the host, as `evaluate` computes them. ``blob``: a ball
with bumps of 5 voxels against itself moved by 3, 1 and 2; ``organs``: forty balls of 8 to 28 voxels
of which a tenth is missed and a tenth invented; ``shell``: a box inside a box, far apart; and
``noise``: two masks of which every voxel is a coin toss. Prints a JSON line a pair, and a table.
"""

import argparse
import time

import numpy as np

from benchmarks.timing import line, seconds, table
from jaxseg.metrics.surface import surfaces


def ball(shape: tuple[int, ...], centre: np.ndarray, radius: float) -> np.ndarray:
    """A boolean volume."""
    z, y, x = np.ogrid[tuple(slice(n) for n in shape)]
    return (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 <= radius**2


def blob(n: int) -> tuple[np.ndarray, np.ndarray]:
    z, y, x = np.ogrid[:n, :n, :n]
    bumps = np.sin(z / 5) + np.sin(y / 7) + np.sin(x / 6)
    mask = (z - n / 2) ** 2 + (y - n / 2) ** 2 + (x - n / 2) ** 2 <= (0.35 * n + 5 * bumps) ** 2
    return np.roll(mask, (3, 1, 2), (0, 1, 2)), mask


def organs(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    prediction, label = np.zeros((2, n, n, n), bool)
    for number in range(40):
        centre, radius = rng.uniform(0, n, 3), rng.uniform(8, 28)
        if number % 10:
            label |= ball(label.shape, centre, radius)
        if number % 10 != 1:
            prediction |= ball(label.shape, centre + rng.normal(0, 1, 3), radius + rng.normal())
    return prediction, label


def shell(n: int) -> tuple[np.ndarray, np.ndarray]:
    prediction, label = np.zeros((2, n, n, n), bool)
    prediction[2 : n - 2, 2 : n - 2, 2 : n - 2] = True
    label[n // 3 : n // 2, n // 3 : n // 2, n // 3 : n // 2] = True
    return prediction, label


def noise(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.random((n, n, n)) < 0.5, rng.random((n, n, n)) < 0.5


PAIRS = {"blob": blob, "organs": organs, "shell": shell, "noise": noise}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, prog="python -m benchmarks.surface_metrics"
    )
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=PAIRS)
    options = parser.parse_args()
    rows = []
    for name in options.only or PAIRS:
        pair, taken = PAIRS[name](options.size), []
        for _ in range(options.rounds):
            begun = time.perf_counter()
            found = surfaces(*pair, spacing=(1.0, 1.0, 1.0))
            scores = {"hd95": found.hausdorff(95.0), "assd": found.average(), "nsd": found.dice()}
            taken.append(time.perf_counter() - begun)
        size = [options.size] * 3
        rows.append({"pair": name, "size": size, **seconds(taken), **scores})
        line("time of surface metrics", rows[-1])
    columns = {"pair": "pair", "seconds": "s", "hd95": "HD95", "assd": "ASSD", "nsd": "NSD"}
    print("\n" + table(rows, columns))


if __name__ == "__main__":
    main()
