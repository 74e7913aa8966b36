"""What do ImageNet weights buy? One network trained from them, with them frozen, and from scratch.

    python -m benchmarks.transfer --camvid PATH --weights PATH/tf_efficientnet_lite0.safetensors
        --workdirs runs/transfer --output transfer.jsonl [--preset cpu|gpu] [--plot transfer.png]

``configs/unet_efficientnet_lite0_camvid.py`` three times with the same steps, patches and learning
rate: ``fine_tuned`` is the config, ``frozen`` gives the encoder no updates, ``scratch`` draws it
anew and trains it at the full rate, with the same standardised images. Prints a JSON line a
training, with the validation scores as they went and those of the test split at the last step, and
a table at the end. Each training is a run in ``--workdirs``; one that was cut off goes on.
"""

import contextlib
import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import timing
from jaxseg import config, process
from jaxseg.evaluate import evaluate
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.train import train
from jaxseg.workdir import EXPERIMENT

QUESTION = "what an encoder's weights buy"
CONFIG = Path("configs/unet_efficientnet_lite0_camvid.py")
WAYS = {
    "fine_tuned": [],
    "frozen": ['recipe.rates=(("encoder", 0.0),)'],
    "scratch": ["recipe.rates=()", "init_from={}"],
}
"""What each changes in the config."""

COLUMNS = {
    "way": "encoder",
    "steps": "steps",
    "validation_iou": "mean IoU validation",
    "test_iou": "mean IoU test",
    "test_accuracy": "accuracy test",
    "images_per_second": "training (images/s)",
}


@dataclasses.dataclass(frozen=True)
class Size:
    """A preset: steps of each training, rows and edge of its patches, steps between scores."""

    steps: int
    batch: int
    edge: int
    every: int


SIZES = {
    "cpu": Size(steps=300, batch=6, edge=192, every=60),
    "gpu": Size(steps=10_000, batch=16, edge=320, every=500),
}


def experiment(way: str, camvid: Path, weights: Path, size: Size) -> Experiment:
    """What is trained for one row."""
    changes = [f"data.root={camvid}", f"init_from.model.run={weights}", *WAYS[way]]
    base = config.read(CONFIG, changes)
    return dataclasses.replace(
        base,
        data=dataclasses.replace(base.data, patch=(size.edge, size.edge)),
        steps=size.steps,
        batch_size=size.batch,
        evaluation=Evaluation(every=size.every, metrics=("iou", "accuracy")),
        checkpoint=Checkpoints(every=size.every, best="iou"),
    )


def measured(way: str, chosen: Experiment, workdir: Path) -> dict[str, Any]:
    """One row: the training, its curve, and the scores of its last step on the test split."""
    with contextlib.redirect_stdout(sys.stderr):
        summary = train(chosen, workdir, resume=(workdir / EXPERIMENT).is_file())
        scores = evaluate(workdir, split="test", step=chosen.steps)
    return {
        "way": way,
        "steps": chosen.steps,
        "curve": curve(workdir / "metrics.jsonl"),
        "validation_iou": timing.rounded(summary["validation"]["iou"]),
        "test_iou": timing.rounded(scores["iou"]),
        "test_accuracy": timing.rounded(scores["accuracy"]),
        "images_per_second": timing.rounded(summary["images_per_second"]),
    }


def curve(metrics: Path) -> list[tuple[int, float]]:
    """Steps and mean IoU of the validation split, as a run's file of metrics has them."""
    rows = map(json.loads, metrics.read_text().splitlines())
    found = {row["step"]: row["validation/iou"] for row in rows if "validation/iou" in row}
    return [(step, timing.rounded(found[step])) for step in sorted(found)]


def plot(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """The curves as a PNG."""
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for row in rows:
        axes.plot(*zip(*row["curve"], strict=True), "o-", label=row["way"].replace("_", " "))
    axes.set(xlabel="step", ylabel="mean IoU, validation", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    parser = timing.parser("transfer", __doc__)
    parser.add_argument("--camvid", type=Path, required=True, help="folder of the data")
    parser.add_argument("--weights", type=Path, required=True, help="file of the encoder's weights")
    parser.add_argument("--workdirs", type=Path, required=True, help="folder of the three runs")
    parser.add_argument("--preset", choices=tuple(SIZES), default="cpu")
    parser.add_argument("--only", nargs="*", choices=tuple(WAYS), default=tuple(WAYS))
    parser.add_argument("--output", type=Path, help="JSON lines, added to")
    parser.add_argument("--plot", type=Path, help="PNG to write")
    options = parser.parse_args(arguments)
    process.cache_compilations()
    rows = []
    for way in options.only:
        chosen = experiment(way, options.camvid, options.weights, SIZES[options.preset])
        row = measured(way, chosen, options.workdirs / way)
        rows.append(timing.line(QUESTION, row))
        if options.output:
            with options.output.open("a") as lines:
                lines.write(json.dumps(rows[-1]) + "\n")
    print("\n" + timing.table(rows, COLUMNS))
    if options.plot:
        plot(rows, options.plot)
    return rows


if __name__ == "__main__":
    main()
