"""Which network buys what: many variants trained alike on real images.

    python -m benchmarks.variants --isbi2012 PATH --dsb2018 PATH --output variants.jsonl
        [--preset cpu|gpu|smoke] [--only unet segnet ...] [--seeds 0 1 2] [--plot variants.png]

Every network gets the same patches, steps, optimizer and augmentation, those of
``configs/unet_isbi2012.py`` and ``configs/unet_dsb2018.py``. ``cpu`` takes each at a width at which
an image of 128 x 128 costs about 0.75 GMACs, and makes 200 steps; ``gpu`` takes the papers' sizes
and makes 5,000; ``smoke`` makes two on generated images. A data set without a path is left out.

A row is one training in a process of its own: mean Dice of the classes on the validation split,
parameters, GMACs of one patch, images a second of the training loop, memory of its step. Rows go to
``--output`` as they come, and those that stand there already are not made again, so a run that was
cut off goes on. At the end a table, Dice as the mean over seeds and its spread, and a plot of it.
"""

import argparse
import contextlib
import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import timing
from jaxseg import config, cost, process, session
from jaxseg.data import Data, Synthetic
from jaxseg.encoders import Plain, ResNet
from jaxseg.errors import first_line
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.models import create
from jaxseg.recipes import Supervised
from jaxseg.train import train

QUESTION = "variants trained alike"

CONFIGS = {"isbi2012": "configs/unet_isbi2012.py", "dsb2018": "configs/unet_dsb2018.py"}

SMALL: dict[str, dict[str, Any]] = {
    "unet": {"encoder": Plain((16, 32, 64, 128, 256))},
    "unet_plus_plus": {"encoder": Plain((10, 20, 40, 80, 160)), "width": 10},
    "attention_unet": {"widths": (14, 28, 56, 112, 224)},
    "scse_unet": {"widths": (16, 32, 64, 128, 256)},
    "cbam_unet": {"widths": (16, 32, 64, 128, 256)},
    "ce_net": {"encoder": ResNet(34, width=28), "width": 16},
    "msga": {"encoder": ResNet(18, width=24), "width": 12},
    "nonlocal_unet": {"widths": (16, 32, 64)},
    "segnet": {"width": 18},
    "fcn8s": {"width": 10, "hidden": 100},
    "fc_resnet": {"width": 12},
    "fc_densenet56": {"first": 24, "growth": 6},
    "deeplab_v3_plus": {
        "encoder": ResNet(18, width=48, output_stride=16),
        "width": 128,
        "low_level_width": 24,
    },
    "pspnet": {"encoder": ResNet(18, width=22, output_stride=8)},
    "kinet": {"widths": (12, 20)},
    "kiunet": {"widths": (8, 12)},
    "linknet": {"encoder": ResNet(18, width=64)},
    "nas_unet": {},
    "refinenet": {"encoder": ResNet(18, width=40), "widths": (96, 48, 48, 48)},
    "r2unet": {"widths": (9, 18, 36, 72, 144)},
    "r2_attention_unet": {"widths": (9, 18, 36, 72, 144)},
    "multiresunet": {"widths": (14, 28, 56, 112, 224)},
    "inception_unet": {"widths": (10, 20, 40, 80, 160)},
    "unet_3plus": {"widths": (10, 20, 40, 80, 160), "branch_width": 7},
}
"""Fields at which an image of 128 x 128 and one channel costs 0.6 to 0.9 GMACs."""


@dataclasses.dataclass(frozen=True)
class Size:
    """A preset: edge of the patches, steps, rows a step."""

    edge: int
    steps: int
    batch: int


SIZES = {
    "smoke": Size(edge=32, steps=2, batch=2),
    "cpu": Size(edge=128, steps=200, batch=4),
    "gpu": Size(edge=256, steps=5_000, batch=16),
}

COLUMNS = {
    "network": "network",
    "parameters_m": "parameters (M)",
    "gmacs": "GMACs a patch",
    "images_per_second": "training (images/s)",
    "step_gib": "step (GiB)",
    "isbi2012_dice": "Dice ISBI 2012",
    "isbi2012_spread": "over seeds",
    "dsb2018_dice": "Dice DSB2018",
    "dsb2018_spread": "over seeds ",
}


# --- in the process of one training ---------------------------------------------------------------


def experiment(network: str, dataset: str, root: str, preset: str, seed: int) -> Experiment:
    """What is trained for one row."""
    base, size = config.read(Path(CONFIGS[dataset]), [f"data.root={root}"]), SIZES[preset]
    assert isinstance(base.recipe, Supervised)
    fields = {} if preset == "gpu" else SMALL[network]
    model = create(network, num_classes=base.data.dataset.num_classes, **fields)
    data = dataclasses.replace(base.data, patch=(size.edge, size.edge))
    if preset == "smoke":
        data = Data(Synthetic(size=(32, 32), count=(2, 2, 2)), patch=(32, 32))
    return dataclasses.replace(
        base,
        recipe=dataclasses.replace(base.recipe, model=model),
        data=data,
        steps=size.steps,
        batch_size=size.batch,
        seed=seed,
        evaluation=Evaluation(every=size.steps, window=(2 * size.edge,) * 2, metrics=("dice",)),
        checkpoint=Checkpoints(every=size.steps),
    )


def measured(network: str, dataset: str, root: str, preset: str, seed: int) -> dict[str, Any]:
    """One row, as far as it goes; what stopped it is its ``error``."""
    row: dict[str, Any] = {"network": network, "dataset": dataset, "preset": preset, "seed": seed}
    try:
        chosen = experiment(network, dataset, root, preset, seed)
        edge, channels = SIZES[preset].edge, chosen.data.dataset.channels
        image = jax.ShapeDtypeStruct((1, edge, edge, channels), jnp.float32)
        counts = cost.counted(chosen.recipe.served, image)
        row |= {"steps": chosen.steps, **counts, "step_gib": step_gib(chosen)}
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
            summary = train(chosen, Path(folder, "run"))
        row["dice"] = timing.rounded(summary["validation"]["dice"])
        row["images_per_second"] = timing.rounded(summary["images_per_second"])
    except Exception as error:  # out of memory, a size that does not fit, ...
        row["error"] = f"{type(error).__name__}: {first_line(error)}"
    return row


def step_gib(chosen: Experiment) -> float | None:
    """Memory of the compiled training step."""
    with tempfile.TemporaryDirectory() as folder, session.opened(chosen, Path(folder)) as run:
        memory = run.compiled.ahead(run.example).step.memory_analysis()  # pyright: ignore
    return None if memory is None else timing.rounded(timing.peak(memory) / 2**30)


# --- in the process that starts the others --------------------------------------------------------


def spawned(arguments: Sequence[str]) -> dict[str, Any]:
    """What a process of its own finds."""
    command = [sys.executable, "-m", "benchmarks.variants", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    lines = [text for text in done.stdout.splitlines() if text.startswith("{")]
    if lines:
        return json.loads(lines[-1])
    how = "killed: out of memory?" if done.returncode == -9 else f"code {done.returncode}"
    said = (done.stderr.strip().splitlines() or ["nothing on stderr"])[-1][:200]
    return {"error": f"{how}: {said}"}


def collect(
    options: argparse.Namespace, run: Callable[[Sequence[str]], dict[str, Any]]
) -> list[dict[str, Any]]:
    """Rows of the output file and those that it lacks, each written as it comes."""
    output: Path = options.output
    kept = (
        [json.loads(line) for line in output.read_text().splitlines()] if output.is_file() else []
    )
    made = {key(row): row for row in kept if "error" not in row}
    roots = {name: getattr(options, name) for name in CONFIGS if getattr(options, name)}
    found = []
    for seed in options.seeds:
        for dataset, root in roots.items():
            for network in options.only:
                row = {"network": network, "dataset": dataset, "seed": seed}
                row |= {"preset": options.preset, "steps": SIZES[options.preset].steps}
                if key(row) not in made:
                    one = ["--preset", options.preset, f"--{dataset}", str(root)]
                    one += ["--one", network, dataset, str(seed)]
                    row = timing.line(QUESTION, row | run(one))
                    with output.open("a") as lines:
                        lines.write(json.dumps(row) + "\n")
                found.append(made.get(key(row), row))
    return found


def key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What makes two rows the same training."""
    return tuple(row.get(name) for name in ("network", "dataset", "seed", "preset", "steps"))


def gathered(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row a network: mean Dice a data set and its deviation over seeds, costs of the first."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        one = found.setdefault(row["network"], {"network": row["network"]})
        if "error" in row:
            one["error"] = f"{row['dataset']}: {row['error']}"
            continue
        costs = {"parameters_m": row["parameters"] / 1e6, "gmacs": row["macs"] / 1e9}
        for name, value in costs.items():
            one.setdefault(name, value)
        for name in ("images_per_second", "step_gib"):
            one.setdefault(name, row[name])
        one.setdefault(row["dataset"], []).append(row["dice"])
    for one in found.values():
        for dataset in CONFIGS:
            if scores := one.pop(dataset, None):
                one[f"{dataset}_dice"] = statistics.mean(scores)
                if len(scores) > 1:
                    one[f"{dataset}_spread"] = statistics.stdev(scores)
    return list(found.values())


def plot(table: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Images a second of training against Dice, a panel a data set, as a PNG.

    At matched size GMACs say little: what differs is how fast they are done.
    """
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=(11, 5), layout="constrained")
    panels = figure.subplots(1, len(CONFIGS), squeeze=False)[0]
    for axes, dataset in zip(panels, CONFIGS, strict=True):
        done = [row for row in table if f"{dataset}_dice" in row]
        for row in done:
            at = row["images_per_second"], row[f"{dataset}_dice"]
            axes.errorbar(*at, yerr=row.get(f"{dataset}_spread"), fmt="o", color="C0")
            axes.annotate(row["network"], at, fontsize=7, xytext=(4, 3), textcoords="offset points")
        axes.set(title=dataset, xlabel="training (images/s)", ylabel="mean Dice, validation")
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def main(
    arguments: list[str] | None = None, run: Callable[..., dict[str, Any]] = spawned
) -> list[dict[str, Any]]:
    parser = timing.parser("variants", __doc__)
    parser.add_argument("--preset", choices=tuple(SIZES), default="cpu")
    parser.add_argument("--only", nargs="*", choices=tuple(SMALL), default=tuple(SMALL))
    parser.add_argument("--seeds", nargs="*", type=int, default=(0,))
    for dataset in CONFIGS:
        parser.add_argument(f"--{dataset}", type=Path, help="its folder")
    parser.add_argument("--output", type=Path, help="JSON lines, read and gone on with")
    parser.add_argument("--plot", type=Path, help="PNG to write")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        process.cache_compilations()
        network, dataset, seed = options.one
        root = str(getattr(options, dataset))
        return [timing.line(QUESTION, measured(network, dataset, root, options.preset, int(seed)))]
    if options.output is None or not any(getattr(options, name) for name in CONFIGS):
        parser.error("--output, and --isbi2012 or --dsb2018, are missing")
    table = gathered(collect(options, run))
    print("\n" + timing.table(table, COLUMNS))
    if options.plot:
        plot(table, options.plot)
    return table


if __name__ == "__main__":
    main()
