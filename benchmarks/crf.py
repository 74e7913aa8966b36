"""What does the dense CRF cost, by the lattice and by all pairs of pixels, and do they agree?

    python -m benchmarks.crf [--preset cpu|gpu|smoke] [--rounds 3]

Ten iterations on smooth coloured patches with noise, beside random logits in which each pixel's
class is a little likelier than the others. ``agreement`` is the share of pixels that both kernels
label alike, where both are run; all pairs are only run where the preset's device has the time.
Prints a JSON line a case and a table.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import timing
from jaxseg.crf import DenseCRF

PRESETS = {
    "smoke": (((16, 16), 3, ("lattice", "exact")),),
    "cpu": (((64, 64), 21, ("lattice", "exact")), ((512, 512), 21, ("lattice",))),
    "gpu": (((64, 64), 21, ("lattice", "exact")), ((512, 512), 21, ("lattice", "exact"))),
}
"""Sizes, classes and kernels."""

COLUMNS = {
    "size": "size",
    "classes": "classes",
    "kernel": "kernel",
    "seconds": "s / image",
    "agreement": "agreement",
}


def example(size: tuple[int, int], classes: int) -> tuple[jax.Array, jax.Array]:
    """Logits and an image."""
    random, (h, w) = np.random.RandomState(0), size
    y, x = np.mgrid[:h, :w]
    regions = (np.sin(x / w * 9) + np.cos(y / h * 7 + x / w * 4) > 0.2).astype(int)
    regions += 2 * (np.hypot(x - w / 2, y - h / 2) < min(size) / 3)
    palette = random.uniform(0, 255, (4, 3))
    image = np.clip(palette[regions] + random.normal(0, 6, (h, w, 3)), 0, 255)
    logits = random.standard_normal((h, w, classes)) + 1.5 * np.eye(classes)[regions % classes]
    return jnp.asarray(logits[None], jnp.float32), jnp.asarray(image[None].round(), jnp.float32)


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    parser = timing.parser("crf", __doc__)
    parser.add_argument("--preset", choices=tuple(PRESETS), default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    found = []
    for size, classes, kernels in PRESETS[options.preset]:
        given, labels = example(size, classes), {}
        for kernel in kernels:
            run = jax.jit(DenseCRF(kernel=kernel))
            labels[kernel] = np.asarray(run(*given)).argmax(-1)
            turn = timing.turn(functools.partial(run, *given))
            times = timing.alternate({kernel: turn}, rounds=options.rounds, seconds=0.2)[kernel]
            row = {"size": "x".join(map(str, size)), "classes": classes, "kernel": kernel}
            row |= timing.seconds(times)
            if len(labels) == 2:
                alike = (labels["lattice"] == labels["exact"]).mean()
                row["agreement"] = timing.rounded(float(alike))
            found.append(timing.line("dense CRF: seconds an image", row))
    print("\n" + timing.table(found, COLUMNS))
    return found


if __name__ == "__main__":
    main()
