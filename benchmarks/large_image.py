"""How much memory does a large image need to be predicted?

    python -m benchmarks.large_image --workdir runs/quickstart [--size 4096]

``python -m jaxseg.predict`` on a generated image of ``size`` x ``size``, in a process of its own;
its peak resident memory, loading and compiling included, is what counts.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from jaxseg import record
from jaxseg.data import Synthetic
from jaxseg.report import environment
from jaxseg.workdir import EXPERIMENT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.large_image")
    parser.add_argument("--workdir", type=Path, required=True, help="a run on grey images")
    parser.add_argument("--size", type=int, default=4096)
    options = parser.parse_args()
    field = Synthetic(size=(512, 512)).open("", "test")[0]["image"][..., 0]
    tiles = -(-options.size // 512)
    image = np.tile(field, (tiles, tiles))[: options.size, : options.size]
    with tempfile.TemporaryDirectory() as folder:
        Image.fromarray(image).save(Path(folder) / "large.png")
        command = [sys.executable, "-m", "jaxseg.predict", "--workdir", str(options.workdir)]
        begun = time.perf_counter()
        subprocess.run(
            [*command, "--input", f"{folder}/large.png", "--output", f"{folder}/out"], check=True
        )
        seconds = time.perf_counter() - begun
        predicted = np.asarray(Image.open(Path(folder) / "out" / "large.png"))
    assert predicted.shape == image.shape
    window = record.read_json(options.workdir / EXPERIMENT).evaluation.window
    print(
        json.dumps(
            {
                "question": "peak memory of predicting a large image",
                "size": [options.size] * 2,
                "window": window,
                "peak_gib": round(
                    resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20, 2
                ),
                "seconds": round(seconds, 1),
                **environment(),
            }
        )
    )


if __name__ == "__main__":
    main()
