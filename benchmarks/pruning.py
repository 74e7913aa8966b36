"""What does each level of UNet++ cost, and what does it reach: pruned, and trained alone?

    python -m benchmarks.pruning data.root=PATH/dsb2018 [--preset cpu|gpu|smoke]

The table of the paper on nuclei (DSB 2018): parameters, MACs, measured time an image, and IoU of L1
to L4, *embedded* (one network with deep supervision, pruned after training, as
`jaxseg.compress` does) and *isolated* (each level trained alone, by the same recipe). ``cpu`` is
a quarter of the paper's widths and 1,000 steps, five trainings, 33 minutes of CPU time on two
cores, with batch norm and Adam at 2e-3 in half a cosine, which so few steps need. ``gpu`` is the
paper's network and recipe; ``smoke`` two steps on generated nuclei. Prints a JSON line a network
and the table at the end.
"""

import contextlib
import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import timing
from jaxseg import checkpoint, config, cost, process
from jaxseg.compress import compress
from jaxseg.data import Data, Synthetic
from jaxseg.encoders import Plain
from jaxseg.evaluate import evaluate
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.layers import Kind
from jaxseg.losses import DeepSupervision
from jaxseg.models import UNetPlusPlus
from jaxseg.optimizers import Adam, Cosine, Optimizer
from jaxseg.recipes import Supervised
from jaxseg.train import train

CONFIG = Path("configs/unet_plus_plus_dsb2018_embedded.py")
COLUMNS = {
    "network": "network",
    "parameters": "parameters",
    "gmacs": "GMACs",
    "seconds": "s / image",
    "embedded_iou": "IoU embedded",
    "isolated_iou": "IoU isolated",
}


@dataclasses.dataclass(frozen=True)
class Size:
    """A preset: levels and width of level 0, steps of each training, edge of the image timed.

    ``norm`` and ``optimizer`` are the paper's where not said.
    """

    levels: int
    width: int
    steps: int
    batch: int
    edge: int
    norm: Kind = "none"
    optimizer: Optimizer = Adam(learning_rate=3e-4)


SIZES = {
    "smoke": Size(levels=2, width=2, steps=2, batch=2, edge=32),
    "cpu": Size(
        levels=4,
        width=8,
        steps=1_000,
        batch=8,
        edge=96,
        norm="batch",
        optimizer=Adam(learning_rate=Cosine(peak=2e-3, warmup=20)),
    ),
    "gpu": Size(levels=4, width=32, steps=20_000, batch=32, edge=96),
}


def experiment(preset: str, level: int | None, overrides: list[str]) -> Experiment:
    """The isolated training of a level; None: the embedded one of all."""
    base, size = config.read(CONFIG, overrides), SIZES[preset]
    assert isinstance(base.recipe, Supervised)
    encoder = Plain(tuple(size.width * 2**i for i in range(size.levels + 1)), norm=size.norm)
    model = UNetPlusPlus(2, encoder=encoder, width=size.width, mode="supervised")
    weights = DeepSupervision(weights=(1.0,) * size.levels, normalise=False)
    recipe = dataclasses.replace(
        base.recipe, model=model, supervision=weights, optimizer=size.optimizer
    )
    if level is not None:
        alone = model.clone(mode="single", level=level)
        recipe = dataclasses.replace(recipe, model=alone, supervision=DeepSupervision())
    data, window = base.data, (256, 256)
    if preset == "smoke":
        data = Data(Synthetic(size=(32, 32), count=(2, 2, 2)), patch=(32, 32))
        window = (32, 32)
    every = min(base.evaluation.every, size.steps) if preset == "gpu" else size.steps
    return dataclasses.replace(
        base,
        recipe=recipe,
        data=data,
        steps=size.steps,
        batch_size=size.batch,
        evaluation=Evaluation(every=every, window=window, metrics=("iou",), loss=False),
        checkpoint=Checkpoints(every=every, best="iou"),
    )


def nucleus(run: Path) -> float:
    """The IoU of the nuclei, on the validation split."""
    return evaluate(run, "validation")["iou_per_class"]["nucleus"]


def measured(run: Path, edge: int, rounds: int) -> dict[str, Any]:
    """Parameters, MACs and seconds of one image of a run's network."""
    opened = checkpoint.opened(run)
    variables = opened.variables
    image = jnp.zeros((1, edge, edge, opened.experiment.data.dataset.channels))

    def predicted(variables: Any, image: jax.Array) -> Any:
        return opened.model.apply(variables, image, train=False)

    forward = jax.jit(predicted)
    turn = timing.turn(lambda: forward(variables, image))
    times = timing.alternate({"ours": turn}, rounds=rounds, seconds=0.2)["ours"]
    macs = cost.macs(predicted, variables, image)
    counts = {"parameters": cost.parameters(variables), "gmacs": timing.rounded(macs / 1e9)}
    return counts | timing.seconds(times)


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    parser = timing.parser("pruning", __doc__)
    parser.add_argument("--preset", choices=tuple(SIZES), default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("overrides", nargs="*", metavar="a.b=value")
    options = parser.parse_intermixed_args(arguments)
    process.cache_compilations()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder, "embedded")
        with contextlib.redirect_stdout(None):
            train(experiment(options.preset, None, options.overrides), whole)
        for level in range(SIZES[options.preset].levels, 0, -1):
            pruned, alone = Path(folder, f"pruned{level}"), Path(folder, f"isolated{level}")
            with contextlib.redirect_stdout(None):
                compress(whole, pruned, method="level", level=level)
                train(experiment(options.preset, level, options.overrides), alone)
                row = {"network": f"L{level}", "steps": SIZES[options.preset].steps}
                row |= measured(pruned, SIZES[options.preset].edge, options.rounds)
                row |= {"embedded_iou": timing.rounded(nucleus(pruned))}
                row |= {"isolated_iou": timing.rounded(nucleus(alone))}
            found.append(timing.line("UNet++: embedded and isolated levels", row))
    print("\n" + timing.table(found, COLUMNS))
    return found


if __name__ == "__main__":
    main()
