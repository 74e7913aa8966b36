"""What does the dense CRF cost, by the lattice and by all pairs of pixels, and do they agree?

    python -m benchmarks.crf [--preset cpu|gpu|smoke] [--rounds 3] [--peer-python PYTHON]

Ten iterations on smooth coloured patches with noise, beside random logits in which each pixel's
class is a little likelier than the others. ``agreement`` is the share of pixels labelled as by the
first of the kernels, the lattice; all pairs are only run where the preset's device has the time.
``PYTHON`` is one that has pydensecrf, whose C++ on one core is then timed in turn with ours.
Prints a JSON line a case and a table.
"""

import contextlib
import dataclasses
import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import timing
from benchmarks.timing import Turn, Worker
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


@contextlib.contextmanager
def peer(python: str, given: tuple[jax.Array, jax.Array]) -> Iterator[tuple[Turn, np.ndarray]]:
    """pydensecrf on the same image in a process of its own: its turn, and its labels."""
    worker = Worker(python, "benchmarks.pydensecrf_worker")
    try:
        with tempfile.TemporaryDirectory() as folder:
            data, labels = Path(folder, "data.npz"), Path(folder, "labels.npy")
            np.savez(data, logits=np.asarray(given[0][0]), image=np.asarray(given[1][0]))
            how = dataclasses.asdict(DenseCRF())
            worker.ask(do="build", data=str(data), labels=str(labels), how=how)
            yield worker.turn(""), np.load(labels)
    finally:
        worker.close()


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    parser = timing.parser("crf", __doc__)
    parser.add_argument("--preset", choices=tuple(PRESETS), default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer-python", metavar="PYTHON", help="one that has pydensecrf")
    options = parser.parse_args(arguments)
    found = []
    for size, classes, kernels in PRESETS[options.preset]:
        given, labels, turns = example(size, classes), {}, {}
        for kernel in kernels:
            run = jax.jit(DenseCRF(kernel=kernel))
            labels[kernel] = np.asarray(run(*given)).argmax(-1)[0]
            turns[kernel] = timing.turn(functools.partial(run, *given))
        with contextlib.ExitStack() as stack:
            if options.peer_python:
                theirs = stack.enter_context(peer(options.peer_python, given))
                turns["pydensecrf"], labels["pydensecrf"] = theirs
            times = timing.alternate(turns, rounds=options.rounds, seconds=0.2)
        for kernel, seconds in times.items():
            row = {"size": "x".join(map(str, size)), "classes": classes, "kernel": kernel}
            row |= timing.seconds(seconds)
            alike = (labels[kernel] == labels[kernels[0]]).mean()
            row["agreement"] = timing.rounded(float(alike))
            found.append(timing.line("dense CRF: seconds an image", row))
    print("\n" + timing.table(found, COLUMNS))
    return found


if __name__ == "__main__":
    main()
