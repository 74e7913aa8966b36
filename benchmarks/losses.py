"""What does each loss reach on a small U-Net, and what does it cost?

    python -m benchmarks.losses data.root=PATH/isbi2012 [--steps 200] [--only dice focal ...]

The same small U-Net, seed and batches of ISBI 2012 for each loss; validation Dice and HD95 (mean of
the classes, in pixels, whole slices) after ``steps``, and the time of a step relative to that of
cross entropy, both measured in alternation, median of rounds. Losses that their papers use beside a
regional one stand beside it here (``RECIPES``). Prints a JSON line a loss and a table at the end.
"""

import argparse
import contextlib
import dataclasses
import tempfile
import time
from pathlib import Path

import jax

from benchmarks import timing
from jaxseg import config, process
from jaxseg.compiled import compile_step, init
from jaxseg.encoders import Plain
from jaxseg.experiment import Checkpoints, Evaluation, Experiment
from jaxseg.losses import (
    LOSSES,
    Boundary,
    ClDice,
    CrossEntropy,
    Dice,
    GeneralizedDice,
    Hausdorff,
    Loss,
    Ramp,
)
from jaxseg.recipes import Supervised
from jaxseg.train import train

CONFIG = Path("configs/unet_isbi2012.py")
COLUMNS = {
    "loss": "loss",
    "dice": "Dice",
    "hd95": "HD95 (pixels)",
    "step_over_cross_entropy": "step / cross entropy",
}


def recipes(steps: int) -> dict[str, dict[str, Loss]]:
    """Terms by row of the table."""
    terms: dict[str, dict[str, Loss]] = {name: {name: cls()} for name, cls in LOSSES.items()}
    terms["cross_entropy + dice"] = {"cross_entropy": CrossEntropy(), "dice": Dice()}
    beside = {"generalized_dice": GeneralizedDice(weight=Ramp(0.99, 0.1, steps))}
    terms["boundary"] = {**beside, "boundary": Boundary(weight=Ramp(0.01, 0.9, steps))}
    terms["hausdorff"] = {"dice": Dice(), "hausdorff": Hausdorff(weight=0.01)}
    membrane = ClDice(weight=0.5, classes=(0,))  # of the two, the one that is made of lines
    terms["cl_dice"] = {"dice": Dice(weight=0.5), "cl_dice": membrane}
    return terms


def experiment(losses: dict[str, Loss], steps: int, overrides: list[str]) -> Experiment:
    """The experiment of one row."""
    base = config.read(CONFIG, overrides)
    model = base.recipe.model.clone(encoder=Plain(widths=(8, 16, 32, 64)))
    assert isinstance(base.recipe, Supervised)
    recipe = dataclasses.replace(base.recipe, model=model, losses=losses)
    return dataclasses.replace(
        base,
        recipe=recipe,
        data=dataclasses.replace(base.data, patch=(128, 128)),
        steps=steps,
        evaluation=Evaluation(every=steps, window=(256, 256), metrics=("dice", "hd95")),
        checkpoint=Checkpoints(every=steps),
    )


class Step:
    """The compiled step of an experiment on a resident batch."""

    def __init__(self, chosen: Experiment) -> None:
        self._mesh = chosen.mesh.build()
        batches = chosen.data.train(batch_size=chosen.batch_size, seed=0)
        example = next(batches)
        batches.close()
        with jax.set_mesh(self._mesh):
            self._step, place, _ = compile_step(chosen, self._mesh, example)
            self._state, self._batch = init(chosen, self._mesh, example), place(example)

    def seconds(self, steps: int) -> float:
        """Seconds a step."""
        with jax.set_mesh(self._mesh):
            begun = time.perf_counter()
            for _ in range(steps):
                self._state, _ = self._step(self._state, self._batch)
            jax.block_until_ready(self._state)
        return (time.perf_counter() - begun) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.losses")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", help="rows of the table (default: all)")
    parser.add_argument("overrides", nargs="*", metavar="a.b=value")
    options = parser.parse_intermixed_args()
    process.cache_compilations()
    rows = recipes(options.steps)
    reference = Step(experiment(rows["cross_entropy"], options.steps, options.overrides))
    found = []
    for name in options.only or rows:
        chosen = experiment(rows[name], options.steps, options.overrides)
        step = Step(chosen)
        turns = {"ours": step.seconds, "cross_entropy": reference.seconds}
        times = timing.alternate(turns, rounds=options.rounds, calls=5)
        ratio = timing.ratios(times["ours"], times["cross_entropy"])
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(None):
            scores = train(chosen, folder)["validation"]
        row = {
            "loss": name,
            "dice": round(scores["dice"], 3),
            "hd95": round(scores["hd95"], 2),
            "step_over_cross_entropy": ratio["ratio"],
            "ratio_quartiles": ratio["ratio_quartiles"],
        }
        found.append(row)
        timing.line("loss: scores and cost", {**row, "steps": options.steps})
    print("\n" + timing.table(found, COLUMNS))


if __name__ == "__main__":
    main()
