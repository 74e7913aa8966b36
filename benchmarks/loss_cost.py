"""What does each loss cost, as a share of the training step that it stands in?

    python -m benchmarks.loss_cost [--only dice focal ...] [--classes 2 21] [--rounds 5]

Value and gradient with respect to the logits of each loss of ``LOSSES``, compiled alone, over the
training step (AdamW, cross entropy) of ``UNet(k)`` of 31 M parameters, 64 to 1024 channels, in
alternation on the same device: 256 x 256, batch 2. Two cases: 2 classes, and 21 (Pascal VOC's), of
the same step, whose cost hardly depends on the classes but whose logits do. Labels are discs of all
classes on background; the prediction is unsure of their edges. Alone, a loss is charged a softmax
that it would share with no other part of the step, so the share is an upper bound.

Expected: each under 10 %, the boundary and the Hausdorff loss excepted, which need Euclidean
distance maps of every class. Prints a JSON line a loss and case, and a table.
"""

import argparse
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import alternate, line, ratios, seconds, table, turn
from jaxseg import cost, process
from jaxseg.losses import LOSSES, Loss
from jaxseg.models import UNet
from jaxseg.optimizers import AdamW
from jaxseg.recipes import Supervised
from jaxseg.types import Batch

SHAPE = (2, 256, 256)


def scene(classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits ``[b h w k]`` and labels ``[b h w]`` of about five discs a class."""
    rng = np.random.default_rng(0)
    b, h, w = SHAPE
    y, x = np.mgrid[:h, :w]
    label = np.zeros(SHAPE, np.int32)
    for row in range(b):
        for number in rng.permutation(5 * (classes - 1)):
            (cy, cx), radius = rng.integers(0, (h, w)), rng.integers(8, 32)
            disc = (y - cy) ** 2 + (x - cx) ** 2 <= radius**2
            label[row][disc] = 1 + number % (classes - 1)
    certain = 3 * np.eye(classes, dtype=np.float32)[label]
    return certain + rng.normal(0, 1.5, certain.shape).astype(np.float32), label


def of_loss(loss: Loss, logits: jax.Array, label: jax.Array) -> Callable[[], Any]:
    """Runs its value and gradient."""
    run = jax.jit(jax.value_and_grad(lambda z, y: loss(z, y).mean()))
    return lambda: run(logits, label)


def of_step(classes: int, label: jax.Array) -> tuple[Callable[[], Any], int]:
    """Runs a training step that updates its state, and the number of parameters."""
    recipe = Supervised(UNet(classes), optimizer=AdamW(), schedule_steps=1000)
    image = jnp.asarray(np.random.default_rng(1).random((*SHAPE, 3), np.float32))
    batch = Batch(image, label, jnp.ones(SHAPE[0], bool))
    state = recipe.init(jax.random.key(0), batch)
    parameters = cost.parameters({"params": state.params})
    step = jax.jit(recipe.step, donate_argnums=0, compiler_options=process.compiler_options())

    def run() -> Any:
        nonlocal state
        state, scalars = step(state, batch)
        return scalars

    return run, parameters


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.loss_cost")
    parser.add_argument("--only", nargs="*", choices=LOSSES, help="losses (default: all)")
    parser.add_argument("--classes", nargs="*", type=int, default=[2, 21])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    process.cache_compilations()
    rows = []
    for classes in options.classes:
        logits, label = map(jnp.asarray, scene(classes))
        step, parameters = of_step(classes, label)
        turns = {"step": turn(step)}
        chosen = options.only or list(LOSSES)
        turns |= {name: turn(of_loss(LOSSES[name](), logits, label)) for name in chosen}
        found = alternate(turns, rounds=options.rounds, seconds=0.2)
        for name in chosen:
            shares = ratios(found[name], found["step"])
            row = {
                "loss": name,
                "classes": classes,
                **seconds(found[name]),
                **seconds(found["step"], prefix="step_"),
                "percent": 100 * shares["ratio"],
                "share_quartiles": shares["ratio_quartiles"],
                "size": SHAPE,
                "parameters": parameters,
            }
            rows.append(row)
            line("cost of a loss", row)
    columns = {"loss": "loss", "classes": "classes", "seconds": "s", "percent": "% of the step"}
    print("\n" + table(rows, columns))


if __name__ == "__main__":
    main()
