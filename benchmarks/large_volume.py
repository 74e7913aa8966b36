"""How much memory does a large volume of many classes need to be predicted, and how fast is it?

    python -m benchmarks.large_volume [--size 512] [--classes 16] [--window 64]

``python -m jaxseg.predict`` on a generated NIfTI of ``size`` voxels a side, with a tiny network of
random weights, in a process of its own; its peak resident memory counts, loading and compiling
included. Beside it the windows a second of the whole, without loading and compiling, over those of
the network alone on as many windows as go together.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import nibabel
import numpy as np

from benchmarks import timing
from jaxseg import inference
from jaxseg.data import Data, Folder
from jaxseg.encoders import Plain
from jaxseg.experiment import Evaluation, Experiment
from jaxseg.init_from import write_run
from jaxseg.models import UNet
from jaxseg.recipes import Supervised
from jaxseg.report import environment
from jaxseg.tiles import Tiles

TOGETHER = 2
"""Windows that pass through the network at once."""


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.large_volume")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--classes", type=int, default=16)
    parser.add_argument("--window", type=int, default=64)
    options = parser.parse_args(arguments)
    size, window = (options.size,) * 3, (options.window,) * 3
    model = UNet(options.classes, encoder=Plain((4, 8), convs=1))
    x = np.zeros((TOGETHER, *window, 1), np.float32)
    variables = jax.device_get(jax.jit(lambda: model.init(jax.random.key(0), x, train=False))())
    with tempfile.TemporaryDirectory() as folder:
        made = Experiment(
            recipe=Supervised(model),
            data=Data(Folder(options.classes, channels=1, rank=3)),
            evaluation=Evaluation(window=window, window_batch=TOGETHER),
            steps=1,
            batch_size=1,
        )
        write_run(Path(folder, "run"), made, variables)
        seen = write_volume(Path(folder, "large.nii"), size)
        words = [sys.executable, "-m", "jaxseg.predict", "--workdir", f"{folder}/run"]
        words += ["--input", f"{folder}/large.nii", "--output", f"{folder}/out"]
        begun = time.perf_counter()
        subprocess.run(words, check=True, stdout=sys.stderr)
        seconds = time.perf_counter() - begun
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        found = np.asanyarray(nibabel.load(Path(folder, "out", "large.nii")).dataobj)  # type: ignore
    assert found.shape == size and found.max() < options.classes
    row = {
        "question": "peak memory of predicting a large volume",
        "size": size,
        "classes": options.classes,
        "window": window,
        "peak_gib": timing.rounded(peak / 2**20),
        "seconds": timing.rounded(seconds),
        "windows_per_second_over_bare": timing.rounded(beside_the_network(model, variables, seen)),
        **environment(),
    }
    print(json.dumps(row))
    return row


def write_volume(path: Path, size: tuple[int, int, int]) -> np.ndarray:
    """Noise of 64 voxels a side, repeated; a part of it, in [0, 1]."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 64), np.uint8)
    whole = np.tile(noise, [-(-n // 64) for n in size])[tuple(map(slice, size))]
    nibabel.save(nibabel.Nifti1Image(whole, np.eye(4)), path)  # type: ignore[attr-defined]
    return whole[:192, :192, :192, None].astype(np.float32) / 255


def beside_the_network(model: Any, variables: Any, image: np.ndarray) -> float:
    """Windows a second of the merged label map of a volume over those of the network alone.

    The map is found slab by slab, as that of a larger volume is.
    """
    window = (64,) * 3
    tiles = Tiles(window=window, window_batch=TOGETHER)
    variables = jax.device_put(variables)
    x = jax.device_put(np.stack([image[:64, :64, :64]] * TOGETHER))
    inference.SWEPT_FROM = 0
    sweep = jax.jit(lambda v, i, n: inference.label_map(model, v, i, n, tiles))
    alone = jax.jit(lambda v, x: model.apply(v, x, train=False).logits)
    size = np.asarray([image.shape[:-1]], np.int32)
    windows = float(np.prod([-(-(n - 64) // 32) + 1 for n in image.shape[:-1]]))

    def per_window(run: Any, *given: Any, count: float) -> float:
        jax.block_until_ready(run(variables, *given))
        times = []
        for _ in range(3):
            begun = time.perf_counter()
            jax.block_until_ready(run(variables, *given))
            times.append(time.perf_counter() - begun)
        return min(times) / count

    whole = per_window(sweep, image[None], size, count=windows)
    return per_window(alone, x, count=TOGETHER) / whole


if __name__ == "__main__":
    main()
