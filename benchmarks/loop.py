"""What does the training loop cost, beside the bare compiled step?

    python -m benchmarks.loop [--config configs/quickstart.py] [--steps 20] [--rounds 5] [a.b=value]

Steps a second of the whole ``train`` (data, transfer, logs; evaluation and compilation left out, as
``images_per_second`` in summary.json does) over those of the compiled step on one batch that lies
on the device. Both alternate in one process; the median ratio counts.
"""

import argparse
import contextlib
import dataclasses
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import jax

from benchmarks import timing
from jaxseg import config, process
from jaxseg.compiled import compile_step, init
from jaxseg.experiment import Checkpoints, Experiment
from jaxseg.train import train


def bare(experiment: Experiment, steps: int) -> float:
    """Steps a second of the compiled step on a resident batch."""
    mesh = experiment.mesh.build()
    batches = experiment.data.train(batch_size=experiment.batch_size, seed=experiment.seed)
    example = next(batches)
    batches.close()
    with jax.set_mesh(mesh):
        step, place, _ = compile_step(experiment, mesh, example)
        state, batch = init(experiment, mesh, example), place(example)
        for _ in range(3):
            state, _ = step(state, batch)
        jax.block_until_ready(state)
        begun = time.perf_counter()
        for _ in range(steps):
            state, _ = step(state, batch)
        jax.block_until_ready(state)
    return steps / (time.perf_counter() - begun)


def loop(experiment: Experiment, steps: int) -> float:
    """Steps a second of ``train``, after its first lap."""
    every = dataclasses.replace(experiment.evaluation, every=10 * steps)
    experiment = dataclasses.replace(
        experiment,
        steps=steps + 10,
        evaluation=every,
        checkpoint=Checkpoints(every=10 * steps),
    )
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(None):
        summary = train(experiment, folder)
    return summary["images_per_second"] / experiment.batch_size


def efficiency(experiment: Experiment, *, steps: int, rounds: int) -> dict[str, Any]:
    """The ratio of both, and steps a second, of alternating rounds."""
    found = [(bare(experiment, steps), loop(experiment, steps)) for _ in range(rounds)]
    ratios = [whole / alone for alone, whole in found]
    return {
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "bare_steps_per_second": [round(alone, 2) for alone, _ in found],
        "loop_steps_per_second": [round(whole, 2) for _, whole in found],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.loop")
    parser.add_argument("--config", type=Path, default=Path("configs/quickstart.py"))
    parser.add_argument("--steps", type=int, default=20, help="steps a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("overrides", nargs="*", metavar="a.b=value")
    options = parser.parse_args()
    process.cache_compilations()
    experiment = config.read(options.config, options.overrides)
    found = efficiency(experiment, steps=options.steps, rounds=options.rounds)
    timing.line("loop over bare step", {"config": str(options.config), **found})


if __name__ == "__main__":
    main()
