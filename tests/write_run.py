"""Write a small run that every later version must read: ``python -m tests.write_run NAME``.

A run is written once for each format, into ``tests/runs/NAME``, and never again: it is to show that
what an older version left is loaded, scored and resumed by a newer one.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import jax

RUNS = Path(__file__).parent / "runs"
KEPT = ("experiment.json", "checkpoints")


def main(name: str) -> None:
    """Two steps of a tiny U-Net with averaged parameters, a stream, and an encoder's standards."""
    jax.config.update("jax_platforms", "cpu")
    from jaxseg.data import Data, Stream, Synthetic
    from jaxseg.encoders import Plain, Standardize
    from jaxseg.evaluate import evaluate
    from jaxseg.experiment import Checkpoints, Evaluation, Experiment
    from jaxseg.losses import CrossEntropy, Dice
    from jaxseg.models import UNet
    from jaxseg.recipes import Supervised
    from jaxseg.sharding import MeshShape
    from jaxseg.train import train

    if (RUNS / name).exists():
        raise SystemExit(f"{RUNS / name} is written once; name another")
    standards = Standardize(mean=(0.3,), std=(0.2,))
    data = Data(
        dataset=Synthetic(size=(24, 24), count=(6, 3, 1), radius=(2.0, 4.0)), patch=(16, 16)
    )
    experiment = Experiment(
        recipe=Supervised(
            UNet(num_classes=2, encoder=Plain(widths=(4, 6), standardize=standards)),
            losses={"dice": Dice(), "cross_entropy": CrossEntropy(weight=0.5)},
            ema=0.9,
            rates=(("encoder", 0.5),),
        ),
        data=data,
        steps=4,
        batch_size=2,
        evaluation=Evaluation(every=2, window=(16, 16), metrics=("dice", "hd95", "ece")),
        checkpoint=Checkpoints(every=2, best=None),
        mesh=MeshShape(data=1),
        streams={"more": Stream(data=data, batch_size=1)},
    )
    with tempfile.TemporaryDirectory() as folder:
        train(experiment, folder, until=2)
        scores = evaluate(folder)
        for part in KEPT:
            source = Path(folder) / part
            copy = shutil.copytree if source.is_dir() else shutil.copy
            (RUNS / name).mkdir(parents=True, exist_ok=True)
            copy(source, RUNS / name / part)
    chosen = {key: scores[key] for key in ("step", "dice", "iou", "accuracy", "hd95", "ece")}
    (RUNS / name / "scores.json").write_text(json.dumps(chosen, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
