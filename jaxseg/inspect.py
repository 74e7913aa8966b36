"""Look at the data of a config: ``python -m jaxseg.inspect --config C --output FOLDER``.

Prints what the cases of each split are like, and writes ``batch.png``: the batch of the first step
as the network sees it, after augmentation, with its labels.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxseg import command, config, disk, process, report, session
from jaxseg.data import train_batches
from jaxseg.data.checks import few, size
from jaxseg.data.survey import Survey, survey
from jaxseg.errors import UserError
from jaxseg.experiment import Experiment, check
from jaxseg.types import Batch
from jaxseg.workdir import BATCH

SPLITS = ("train", "validation", "test")

PERCENTILES = (0.5, 50.0, 99.5)


def inspect(experiment: Experiment, output: str | Path) -> dict[str, Survey]:
    """The surveys of the splits that there are, by name; ``output/batch.png`` is drawn.

    Raises UserError where there is nothing to train on, or no batch can be made of it.
    """
    experiment = session.fitted(experiment)
    found = surveyed(experiment)
    draw(experiment, Path(output))
    return found


def surveyed(experiment: Experiment) -> dict[str, Survey]:
    """The surveys of the splits that there are; a data set may lack any but ``train``."""
    check(experiment)
    data, found = dataclasses.replace(experiment.data, grid=None), {}  # as they are
    for split in SPLITS:
        try:
            cases = data.cases(split, data.labels if split == "train" else "optional")
        except UserError:
            if split == "train":
                raise
            continue
        if len(cases):
            found[split] = survey(cases)
    return found


def draw(experiment: Experiment, folder: Path) -> Path:
    """Draw the first batch into the folder, which is made where absent; the picture's path."""
    batch = first_batch(experiment)
    disk.folder(folder)
    report.write_batch(folder / BATCH, batch, experiment.data.dataset.class_names)
    return folder / BATCH


def _batches(experiment: Experiment) -> Any:
    return train_batches(
        experiment.data,
        experiment.streams,
        batch_size=experiment.batch_size,
        seed=experiment.seed,
        rows_of=lambda size: slice(0, size),
    )


def first_batch(experiment: Experiment) -> Batch:
    """The first examples of the batch of step 1, as `jaxseg.train` would show them."""
    batches = _batches(experiment)
    try:
        batch = next(batches)
    finally:
        batches.close()
    recipe = experiment.scheduled

    def look(batch: Batch) -> Batch:
        # The network is not made: XLA drops what the picture does not need.
        return report.seen(recipe, recipe.init(jax.random.key(experiment.seed), batch), batch)

    return jax.device_get(jax.jit(look)(batch))


def remarks(experiment: Experiment) -> list[str]:
    """What `jaxseg.train` would say of the intensities before its first step."""
    batches = _batches(experiment)
    try:
        return batches.scale_lines()
    finally:
        batches.close()


def page(found: dict[str, Survey], class_names: Sequence[str]) -> Iterator[str]:
    """The lines of the page: a block a split."""
    for split, of in found.items():
        yield report.aligned(split, f"{len(of.looks) + len(of.refused)} cases")
        if of.looks:
            yield from (report.aligned(name, text) for name, text in _facts(of, class_names))
        for what, names in of.odd():
            if names:
                yield report.aligned("odd", f"{len(names)} with {what}: {few(names)}")
        for line in of.refused:
            yield report.aligned("refused", line)
        yield ""


def _facts(of: Survey, class_names: Sequence[str]) -> Iterator[tuple[str, str]]:
    sizes = np.array([look.size for look in of.looks])
    yield "sizes", _spread(sizes, lambda row: size(np.rint(row).astype(int).tolist()))
    spaced = [look.spacing for look in of.looks if look.spacing is not None]
    if spaced:
        unspaced = len(of.looks) - len(spaced)
        without = f"; {unspaced} cases without" if unspaced else ""
        yield "spacings", _spread(np.array(spaced), _millimetres) + without
    else:
        yield "spacings", "none are known, so distances are in pixels"
    dtypes = ", ".join(sorted({look.dtype for look in of.looks}))
    low, high = min(look.low for look in of.looks), max(look.high for look in of.looks)
    parts = zip(PERCENTILES, of.percentiles(PERCENTILES), strict=True)
    middle = ", ".join(f"{at:g} %: {value:.4g}" for at, value in parts)
    yield "raw", f"{dtypes}, {low:.4g} to {high:.4g}; percentiles {middle}"
    for channel, (mean, deviation) in enumerate(of.moments().T.tolist()):
        yield "fed", f"channel {channel}: mean {mean:.4g}, deviation {deviation:.4g}"
    shares = of.shares()
    yield "pixels", "labels are hidden" if shares is None else shares.line(class_names)


def _spread(rows: np.ndarray, shown: Any) -> str:
    """Least, median and most along each axis; one size where all are equal."""
    low, middle, high = rows.min(0), np.median(rows, axis=0), rows.max(0)
    if (low == high).all():
        return shown(low)
    return f"{shown(low)} to {shown(high)}, median {shown(middle)}"


def _millimetres(row: np.ndarray) -> str:
    return " x ".join(f"{n:.3g}" for n in row.tolist()) + " mm"


def main(arguments: Sequence[str]) -> None:
    """The command."""
    parser = command.parser(
        prog="python -m jaxseg.inspect",
        description="Look at the data of a config: facts of every split, and a picture of a batch "
        "as the network sees it.",
        epilog="example: python -m jaxseg.inspect --config configs/quickstart.py --output look",
    )
    add = parser.add_argument
    add("--config", type=Path, required=True, help="Python file with experiment()")
    add("--output", type=Path, required=True, help=f"folder for {BATCH}")
    command.add_debug(parser)
    add("overrides", nargs="*", metavar="a.b=value", help="such as data.root=...")
    options = parser.parse_intermixed_args(arguments)
    process.cache_compilations()
    experiment = session.fitted(config.read(options.config, options.overrides))
    found = surveyed(experiment)
    for line in remarks(experiment):
        report.say(line)
    for line in page(found, experiment.data.dataset.class_names):
        report.say(line)
    report.say(f"{draw(experiment, options.output)}: the batch of step 1, after augmentation")
    if any(of.refused for of in found.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    command.run(main)
