"""Does the host keep up with the device?

    python -m benchmarks.data [--only pipeline augmentation loop] [--smoke]

*Pipeline*: patches a second of ``Data`` on PNG files, decoded each time, memory-mapped
(``cache="disk"``) and kept in memory, with 0, 1 and 2 worker processes; the first epoch, which
fills the caches, is left out. *Augmentation*: a batch through ``Augment`` on the device, against
the same transformations by numpy and scipy on one core of the host. *Loop*: steps a second of the
whole ``train`` over those of the bare step (``benchmarks.loop``). The files are made for it.
"""

import dataclasses
import os
import tempfile
import time
import unittest.mock
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
from scipy import ndimage

from benchmarks import loop, timing
from jaxseg import config, process
from jaxseg.augment import Augment
from jaxseg.data import Data, Folder, Synthetic
from jaxseg.types import IGNORE, Batch

PARTS = ("pipeline", "augmentation", "loop")
CACHES = {"png": "none", "memory map": "disk", "memory": "memory"}
AUGMENT = Augment(
    flip=0.5,
    rotate=15.0,
    scale=(0.8, 1.25),
    elastic=10.0,
    contrast=(0.75, 1.25),
    brightness=0.1,
    gamma=(0.8, 1.25),
    blur=1.0,
    noise=0.05,
)


@dataclasses.dataclass(frozen=True)
class Scale:
    """How large the questions are."""

    files: int = 32
    size: int = 512
    patch: int = 256
    batch_size: int = 8
    workers: tuple[int, ...] = (0, 1, 2)
    seconds: float = 1.5
    rounds: int = 5


SMOKE = Scale(files=2, size=48, patch=16, batch_size=2, workers=(0,), seconds=0.02, rounds=2)


def write_files(folder: Path, scale: Scale) -> None:
    """Generated nuclei and their masks as PNG."""
    cases = Synthetic(size=(scale.size,) * 2, count=(scale.files, 1, 1)).open("", "train")
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for number in range(len(cases)):
        case = cases[number]
        Image.fromarray(case["image"][..., 0]).save(folder / "images" / f"{number:03}.png")
        label = np.asarray(case["label"], np.uint8)
        Image.fromarray(label).save(folder / "masks" / f"{number:03}.png")


def pipeline(scale: Scale) -> list[dict[str, Any]]:
    """One row for each cache and number of workers."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder, scale)
        with unittest.mock.patch.dict(os.environ, XDG_CACHE_HOME=f"{name}/cache"):
            for kept, cache in CACHES.items():
                for workers in scale.workers:
                    row = {"part": "pipeline", "source": kept, "workers": workers}
                    rows.append(row | patches_per_second(folder, cache, workers, scale))
    return rows


def patches_per_second(folder: Path, cache: Any, workers: int, scale: Scale) -> dict[str, Any]:
    """Patches a second of an iterator over batches that has seen every file."""
    data = Data(
        dataset=Folder(num_classes=2, channels=1, validation=0.0),
        root=str(folder),
        patch=(scale.patch,) * 2,
        cache=cache,
        workers=workers,
    )
    batches = data.train(batch_size=scale.batch_size, seed=0)
    epoch = -(-scale.files // scale.batch_size)
    try:
        # each worker has a cache of its own, and batches that were made before the clock started
        for _ in range((2 * epoch + 8) * max(workers, 1)):
            next(batches)
        rates = [rate(batches, scale) for _ in range(scale.rounds)]
    finally:
        batches.close()
    return {
        "patch": [scale.patch] * 2,
        "batch_size": scale.batch_size,
        "patches_per_second": timing.rounded(float(np.median(rates))),
        "patches_per_second_quartiles": timing.quartiles(rates),
    }


def rate(batches: Any, scale: Scale) -> float:
    """Patches a second over one round."""
    begun, patches = time.perf_counter(), 0
    while time.perf_counter() - begun < scale.seconds:
        patches += len(next(batches).image)
    return patches / (time.perf_counter() - begun)


# --- augmentation ---------------------------------------------------------------------------------


def on_host(rng: np.random.Generator, image: np.ndarray, label: np.ndarray, how: Augment):
    """One 2-D example by numpy and scipy: what ``Augment`` does, drawn by another generator."""
    size = label.shape
    angle = np.radians(rng.uniform(-1, 1) * np.max(how.rotate))
    zoom = np.exp(rng.uniform(*np.log(how.scale)))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / zoom
    turn = turn * np.where(rng.random(2) < np.max(how.flip), -1, 1)
    middle = (np.array(size) - 1) / 2
    grid = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij")) - middle[:, None, None]
    where = np.einsum("ij,jhw->ihw", turn, grid) + middle[:, None, None]
    points = rng.normal(0, how.elastic, (2, how.grid, how.grid))
    factors = (1, *(n / how.grid for n in size))
    where = (where + ndimage.zoom(points, factors, order=3, mode="nearest")).astype(np.float32)
    planes = [
        ndimage.map_coordinates(plane, where, order=1, mode="mirror")
        for plane in np.moveaxis(image, -1, 0)
    ]
    image = np.stack(planes, axis=-1)
    label = ndimage.map_coordinates(label, where, order=0, mode="constant", cval=IGNORE)
    mean = image.mean((0, 1))
    image = mean + (image - mean) * rng.uniform(*how.contrast)
    image = image + how.brightness * rng.uniform(-1, 1)
    low = image.min((0, 1))
    spread = np.maximum(image.max((0, 1)) - low, 1e-7)
    image = low + spread * ((image - low) / spread) ** np.exp(rng.uniform(*np.log(how.gamma)))
    image = ndimage.gaussian_filter(image, how.blur * rng.random(), axes=(0, 1), truncate=3.0)
    noise = how.noise * rng.random() * rng.standard_normal(image.shape, dtype=np.float32)
    return (image + noise).astype(np.float32), label


def augmentation(scale: Scale) -> list[dict[str, Any]]:
    """One row: a batch on the device and on the host."""
    rng = np.random.default_rng(0)
    size = (scale.batch_size, scale.patch, scale.patch)
    image = rng.random((*size, 1), dtype=np.float32)
    label = rng.integers(0, 2, size, dtype=np.int32)
    batch = jax.tree.map(jnp.asarray, Batch(image, label, np.ones(scale.batch_size, bool)))
    augmented = jax.jit(AUGMENT)
    keys = iter(range(10**9))

    def host(calls: int) -> float:
        begun = time.perf_counter()
        for _ in range(calls):
            pairs = [on_host(rng, i, m, AUGMENT) for i, m in zip(image, label, strict=True)]
            tuple(map(np.stack, zip(*pairs, strict=True)))
        return (time.perf_counter() - begun) / calls

    device = timing.turn(lambda: augmented(jax.random.key(next(keys)), batch))
    turns = {"device": device, "host": host}
    times = timing.alternate(turns, rounds=scale.rounds, seconds=scale.seconds / 4)
    row = {"part": "augmentation", "patch": [scale.patch] * 2, "batch_size": scale.batch_size}
    row |= {"augment": dataclasses.asdict(AUGMENT)}
    row |= timing.seconds(times["device"], "device_") | timing.seconds(times["host"], "host_")
    return [row | timing.ratios(times["device"], times["host"])]


def of_loop(scale: Scale, smoke: bool) -> list[dict[str, Any]]:
    """One row: the quickstart's loop over its bare step."""
    changes = []
    if smoke:
        changes = ["recipe.model.encoder.widths=(4, 8)", "data.patch=(16, 16)", "batch_size=2"]
    experiment = config.read(Path("configs/quickstart.py"), changes)
    found = loop.efficiency(experiment, steps=2 if smoke else 20, rounds=scale.rounds)
    return [{"part": "loop", "config": "configs/quickstart.py", **found}]


def tables(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown tables, one a part."""
    columns = {
        "pipeline": {"source": "source", "workers": "workers", "patches_per_second": "patches/s"},
        "augmentation": {
            "batch_size": "batch",
            "device_seconds": "device (s)",
            "host_seconds": "host (s)",
            "ratio": "device / host",
        },
        "loop": {"config": "loop", "ratio": "steps/s over the bare step's"},
    }
    parts = {part: [row for row in rows if row["part"] == part] for part in PARTS}
    return "\n\n".join(timing.table(found, columns[p]) for p, found in parts.items() if found)


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    parser = timing.parser("data", __doc__)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--smoke", action="store_true", help="tiny: does it run?")
    options = parser.parse_args(arguments)
    process.cache_compilations()
    scale, rows = SMOKE if options.smoke else Scale(), []
    questions = {
        "pipeline": lambda: pipeline(scale),
        "augmentation": lambda: augmentation(scale),
        "loop": lambda: of_loop(scale, options.smoke),
    }
    for part in options.only:
        rows += [timing.line("does the host keep up", row) for row in questions[part]()]
    print("\n" + tables(rows))
    return rows


if __name__ == "__main__":
    main()
