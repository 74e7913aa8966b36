"""Score a run on a split: ``python -m jaxseg.evaluate --workdir runs/quickstart``."""

import dataclasses
import functools
import json
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxseg import checkpoint, config, errors, inference, process, report, sharding
from jaxseg.config import Experiment
from jaxseg.errors import UserError
from jaxseg.inference import Tiles
from jaxseg.metrics import CASE_SCORES, Confusion, bootstrap_interval, case_scores, mean
from jaxseg.overrides import overridden


class Sample(NamedTuple):
    """One case for the eye: ``image [*spatial c]``, ``label`` and ``prediction [*spatial]``."""

    image: np.ndarray
    label: np.ndarray
    prediction: np.ndarray


@dataclass(frozen=True)
class Evaluated:
    """What a split was found to be: pixels counted together, and scores `[n k]` case by case."""

    confusion: Confusion
    cases: Mapping[str, np.ndarray] = field(default_factory=dict)

    def scores(
        self, class_names: Sequence[str] | None = None, *, intervals: bool = False
    ) -> dict[str, Any]:
        """Plain numbers for reports: `Confusion.scores`, and after them those of `cases`.

        Of a score of cases, the mean over a case's classes, then over cases; beside it, class by
        class, the mean over cases, and with `intervals` the ends of its 95 % bootstrap interval
        over cases, `<score>_interval`. What is NaN is left out of every mean.
        """
        report = self.confusion.scores(class_names)
        for name, table in self.cases.items():
            of_case = np.array([mean(row) for row in table])
            values = [float(mean(column)) for column in table.T]
            report[name] = float(mean(of_case))
            report[f"{name}_per_class"] = (
                dict(zip(class_names, values, strict=True)) if class_names else values
            )
            if intervals:
                report[f"{name}_interval"] = list(bootstrap_interval(of_case))
        return report


class Evaluator:
    """Scores variables on one split, by sliding window, exact over ragged last batches.

    Cases of one bucket (see ``inference.bucket``) share a compilation, and each process reads only
    the rows of a batch that it owns. The confusion matrix is counted on the device; scores of cases
    that the experiment names (`CASE_SCORES`) on the host, without the class called "background".
    """

    def __init__(self, experiment: Experiment, mesh: Mesh, split: str = "validation") -> None:
        """Opens the split and reads it once, for the sizes of its cases.

        Raises UserError where it is empty, has no labels, or holds a case that cannot be read.
        """
        evaluation = experiment.evaluation
        self._mesh = mesh
        self._model = experiment.recipe.module
        self._dataset = experiment.data.dataset
        self._cases = experiment.data.cases(split)
        self._tiles = Tiles(
            window=evaluation.window,
            overlap=evaluation.overlap,
            window_batch=evaluation.window_batch,
            tta=evaluation.tta,
        )
        rows = mesh.shape["data"] * mesh.shape["fsdp"]
        # Whole images are batched here; windows are batched inside the loop on the device.
        self._batch_size = rows * (evaluation.window_batch if evaluation.window is None else 1)
        self._rows = sharding.local_rows(mesh, self._batch_size)
        if not len(self._cases):
            raise UserError(f"data.root={experiment.data.root!r}: the {split} split is empty")
        self._plan = self._planned()
        self._names = [name for name in evaluation.metrics if name in CASE_SCORES]
        classes = enumerate(self._dataset.class_names or ())
        self._background = tuple(i for i, name in classes if name == "background")

    def _planned(self) -> list[tuple[tuple[int, ...], list[int]]]:
        """Batches of case numbers by bucket, the same on every process."""
        groups: dict[tuple[int, ...], list[int]] = {}
        for number in range(len(self._cases)):
            case = self._cases[number]
            if case.get("label") is None:
                raise UserError(f"{case['name']}: has no label, so it cannot be scored")
            size = inference.bucket(self._model, case["image"].shape[:-1], self._tiles)
            groups.setdefault(size, []).append(number)
        n = self._batch_size
        return [
            (size, numbers[at : at + n])
            for size, numbers in sorted(groups.items())
            for at in range(0, len(numbers), n)
        ]

    def __call__(self, variables: Any, samples: int = 0) -> tuple[Evaluated, list[Sample]]:
        """The counts (int64, on the host) and scores of cases, and the first few predictions.

        ``variables`` lie on the evaluator's mesh, or on one device.
        """
        if not all(isinstance(x.sharding, NamedSharding) for x in jax.tree.leaves(variables)):
            variables = jax.device_put(variables, sharding.replicated(self._mesh))
        shown: list[Sample] = []
        counted: list[Confusion] = []
        tables: list[np.ndarray] = []
        for cases, arrays in self._batches():
            with jax.set_mesh(self._mesh):
                counts, prediction = _score(
                    self._model, variables, *arrays, tiles=self._tiles, k=self._dataset.num_classes
                )
            counted.append(counts)  # fetched at the end: nothing here waits for the device
            if self._names:
                tables.append(self._case_table(cases, prediction))
            if len(shown) < samples and cases:
                local = np.asarray(prediction.addressable_data(0))
                for case, labels in zip(cases[: samples - len(shown)], local, strict=False):
                    inside = tuple(slice(n) for n in case["label"].shape)
                    shown.append(Sample(case["image"], case["label"], labels[inside]))
        confusion = functools.reduce(operator.add, [c.on_host() for c in counted])
        return Evaluated(confusion, self._gathered(tables)), shown

    def _case_table(self, cases: list[dict[str, Any]], prediction: jax.Array) -> np.ndarray:
        """Scores `[rows n k]` of a batch's cases; NaN in the rows that are not this process's."""
        k = self._dataset.num_classes
        table = np.full((self._batch_size, len(self._names), k), np.nan)
        mine = range(*self._rows.indices(self._batch_size))
        for row, case, labels in zip(mine, cases, _local(prediction), strict=False):
            inside = tuple(slice(n) for n in case["label"].shape)
            table[row] = case_scores(
                self._names,
                labels[inside],
                case["label"],
                k,
                spacing=case.get("spacing"),
                leave_out=self._background,
            )
        return table

    def _gathered(self, tables: list[np.ndarray]) -> dict[str, np.ndarray]:
        """Scores `[n k]` by name, of all processes; rows that are all NaN may be among them."""
        if not tables:
            return {}
        rows = np.concatenate(tables)
        if jax.process_count() > 1:
            # Processes along the spatial axis have the same rows: fmax takes what is no NaN.
            rows = np.fmax.reduce(np.asarray(multihost_utils.process_allgather(rows)))
        return {name: rows[:, i] for i, name in enumerate(self._names)}

    def _batches(self) -> Iterator[tuple[list[dict[str, Any]], tuple[jax.Array, ...]]]:
        n = self._batch_size
        spec = NamedSharding(self._mesh, PartitionSpec(sharding.ROWS))
        for _, numbers in self._plan:
            filled = numbers + numbers[:1] * (n - len(numbers))  # repeats are marked invalid
            mine = filled[self._rows]
            cases = [self._cases[number] for number in mine]
            padded = [
                inference.pad_case(self._model, c["image"], c["label"], tiles=self._tiles)
                for c in cases
            ]
            valid = (np.arange(n) < len(numbers))[self._rows]
            columns = [np.stack(column) for column in zip(*padded, strict=True)]  # pyright: ignore
            yield (
                cases[: int(valid.sum())],
                tuple(
                    jax.make_array_from_process_local_data(spec, x, (n, *x.shape[1:]))
                    for x in (*columns, valid)
                ),
            )


def _local(prediction: jax.Array) -> np.ndarray:
    """This process's rows of a batch of label maps, in order."""
    if prediction.is_fully_addressable:
        return np.asarray(prediction)
    rows = {shard.index[0].start or 0: shard.data for shard in prediction.addressable_shards}
    return np.concatenate([np.asarray(rows[start]) for start in sorted(rows)])


@functools.partial(jax.jit, static_argnames=("model", "tiles", "k"))
def _score(
    model: nn.Module,
    variables: Any,
    image: jax.Array,
    label: jax.Array,
    size: jax.Array,
    valid: jax.Array,
    *,
    tiles: Tiles,
    k: int,
) -> tuple[Confusion, jax.Array]:
    prediction = inference.label_map(model, sharding.gathered(variables), image, size, tiles)
    # Each process scores the cases it has read: the rows of its label maps stay with it.
    prediction = jax.lax.with_sharding_constraint(prediction, PartitionSpec(sharding.ROWS))
    return Confusion.of(prediction, label, k, valid=valid), prediction


def evaluate(
    workdir: str | Path,
    split: str = "validation",
    *,
    step: int | None = None,
    tta: bool | None = None,
    overrides: Sequence[str] = (),
) -> dict[str, Any]:
    """Scores of a run's checkpoint on a split, also written to ``workdir/evaluation.json``.

    ``tta=None`` is as the experiment says. ``overrides`` change the experiment, such as
    ``data.root`` where the data now lies elsewhere.
    """
    workdir = Path(workdir)
    stored = config.read_json(workdir / checkpoint.EXPERIMENT)
    experiment = overridden(stored, overrides)
    if experiment.recipe != stored.recipe:
        raise UserError("recipe.* is that of the checkpoint; override data.* and evaluation.* only")
    try:
        config.check(experiment)
    except UserError as error:
        raise UserError(f"{workdir / checkpoint.EXPERIMENT}: {error}") from error
    path = workdir / "evaluation.json"
    before = _read_scores(path)
    if tta is not None:
        evaluation = dataclasses.replace(experiment.evaluation, tta=tta)
        experiment = dataclasses.replace(experiment, evaluation=evaluation)
    if step is None:
        step = checkpoint.best_step(workdir, experiment.checkpoint.best)
    _, variables = checkpoint.load(workdir, step)
    mesh = sharding.MeshShape().build()
    evaluator = Evaluator(experiment, mesh, split)
    evaluated, _ = evaluator(variables)
    scores = {"step": step, **evaluated.scores(experiment.data.dataset.class_names, intervals=True)}
    report.write_json(path, {**before, split: scores})
    return scores


def _read_scores(path: Path) -> dict[str, Any]:
    """What earlier evaluations wrote, of other splits."""
    try:
        found = json.loads(path.read_text()) if path.exists() else {}
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({errors.first_line(error)}); remove it") from error
    if not isinstance(found, dict):
        raise UserError(f"{path}: not what jaxseg.evaluate writes; remove it")
    return found


def main(arguments: Sequence[str]) -> None:
    """The command."""
    parser = errors.parser(
        prog="python -m jaxseg.evaluate",
        description="Score a run on a split of its data.",
        epilog="example: python -m jaxseg.evaluate --workdir runs/quickstart --split validation",
    )
    parser.add_argument("--workdir", type=Path, required=True, help="folder of the run")
    parser.add_argument("--split", default="validation", help="train, validation or test")
    parser.add_argument("--step", type=int, help="checkpoint to score (default: the best)")
    parser.add_argument("--tta", action="store_true", default=None, help="average over flips")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    parser.add_argument("overrides", nargs="*", metavar="a.b=value", help="such as data.root=...")
    options = parser.parse_intermixed_args(arguments)
    process.cache_compilations()
    scores = evaluate(
        options.workdir,
        options.split,
        step=options.step,
        tta=options.tta,
        overrides=options.overrides,
    )
    report.print_scores(f"{options.workdir} step {scores['step']}, {options.split}", scores)


if __name__ == "__main__":
    errors.run(main)
