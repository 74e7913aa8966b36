"""What does each loss cost, as a share of the training step that it stands in?

    python -m benchmarks.loss_cost [--preset cpu|gpu|smoke] [--only dice focal ...]
        [--classes 2 21] [--rounds 5] [--budget SECONDS]

Value and gradient with respect to the logits of each loss of ``LOSSES``, compiled alone, over the
training step (AdamW, cross entropy) of ``UNet(k)`` of 31 M parameters, 64 to 1024 channels, in
alternation on the same device: float32, 2 x 256 x 256 (``cpu``), or bfloat16, 8 x 512 x 512
(``gpu``). Two cases: 2 classes, and 21 (Pascal VOC's), of the same step, whose cost hardly depends
on the classes but whose logits do. Labels are discs of all classes on background; the prediction is
unsure of their edges. Alone, a loss is charged a softmax that it would share with no other part of
the step, so the share is an upper bound.

Expected: each under 10 %, the boundary and the Hausdorff loss excepted, which need Euclidean
distance maps of every class. Prints a JSON line a loss and case, and a table.
"""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import timing
from benchmarks.timing import alternate, line, ratios, seconds, table, turn
from jaxseg import cost, process
from jaxseg.encoders import Plain
from jaxseg.errors import first_line
from jaxseg.losses import LOSSES, Loss
from jaxseg.models import UNet
from jaxseg.optimizers import AdamW
from jaxseg.recipes import Supervised
from jaxseg.types import Batch


@dataclass(frozen=True)
class Preset:
    """The images and the step."""

    shape: tuple[int, int, int] = (2, 256, 256)
    dtype: Literal["float32", "bfloat16"] = "float32"
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)


TOGETHER = 7
"""Losses that are timed beside one step."""

PRESETS = {
    "cpu": Preset(),
    "gpu": Preset((8, 512, 512), "bfloat16"),
    "smoke": Preset((1, 16, 16), widths=(4, 8)),
}


def scene(shape: tuple[int, int, int], classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits ``[b h w k]`` and labels ``[b h w]`` of about five discs a class."""
    rng = np.random.default_rng(0)
    b, h, w = shape
    y, x = np.mgrid[:h, :w]
    label = np.zeros(shape, np.int32)
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


def of_step(preset: Preset, classes: int, label: jax.Array) -> tuple[Callable[[], Any], int]:
    """Runs a training step that updates its state, and the number of parameters."""
    model = UNet(classes, encoder=Plain(widths=preset.widths))
    recipe = Supervised(model, optimizer=AdamW(), dtype=preset.dtype, schedule_steps=1000)
    image = jnp.asarray(np.random.default_rng(1).random((*preset.shape, 3), np.float32))
    batch = Batch(image, label, jnp.ones(preset.shape[0], bool))
    state = jax.jit(recipe.init)(jax.random.key(0), batch)
    parameters = cost.parameters({"params": state.params})
    step = jax.jit(recipe.step, donate_argnums=0, compiler_options=process.compiler_options())

    def run() -> Any:
        nonlocal state
        state, scalars = step(state, batch)
        return scalars

    return run, parameters


def rows_of(preset: Preset, classes: int, options: Any, end: float) -> list[dict[str, Any]]:
    """The rows of one number of classes, printed."""
    logits, label = map(jnp.asarray, scene(preset.shape, classes))
    step, parameters = of_step(preset, classes, label)
    of_all, rows = turn(step), []
    common = {"classes": classes, "size": preset.shape, "dtype": preset.dtype}
    names = options.only or list(LOSSES)
    for group in (names[at : at + TOGETHER] for at in range(0, len(names), TOGETHER)):
        turns, found = {"step": of_all}, {}
        for name in group:
            try:
                if time.monotonic() > end:
                    raise TimeoutError(f"not run: {options.budget:.0f} s are up")
                turns[name] = turn(of_loss(LOSSES[name](), logits, label))
                turns[name](1)
            except Exception as error:  # out of memory, ...
                turns.pop(name, None)
                found[name] = {"error": first_line(error)}
        times = alternate(turns, rounds=options.rounds, seconds=options.seconds)
        for name in group:
            row = {"loss": name, **common, **found.get(name, {})}
            if name in times:
                shares = ratios(times[name], times["step"])
                row |= seconds(times[name]) | seconds(times["step"], prefix="step_")
                row |= {"percent": 100 * shares["ratio"]}
                row |= {"share_quartiles": shares["ratio_quartiles"], "parameters": parameters}
            rows.append(row)
            line("cost of a loss", row)
    return rows


COLUMNS = {
    "loss": "loss",
    "classes": "classes",
    "seconds": "s",
    "step_seconds": "step (s)",
    "percent": "% of the step",
}


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    parser = timing.parser("loss_cost", __doc__)
    parser.add_argument("--preset", choices=list(PRESETS), default="cpu")
    parser.add_argument("--only", nargs="*", choices=list(LOSSES), help="losses (default: all)")
    parser.add_argument("--classes", nargs="*", type=int, default=[2, 21])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.2, help="least length of a turn")
    parser.add_argument("--budget", type=float, default=3600.0, help="no loss starts after it")
    options = parser.parse_args(arguments)
    process.cache_compilations()
    end = time.monotonic() + options.budget
    of = functools.partial(rows_of, PRESETS[options.preset], options=options, end=end)
    rows = [row for classes in options.classes for row in of(classes)]
    print("\n" + table(rows, COLUMNS))
    return rows


if __name__ == "__main__":
    main()
