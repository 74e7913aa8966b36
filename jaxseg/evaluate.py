"""Score a run on a split: ``python -m jaxseg.evaluate --workdir runs/quickstart``."""

import dataclasses
import functools
import json
import operator
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxseg import checkpoint, command, config, inference, process, report, sharding
from jaxseg.config import Experiment
from jaxseg.errors import UserError, first_line
from jaxseg.inference import Tiles
from jaxseg.metrics import (
    CASE_SCORES,
    Calibration,
    Case,
    Confusion,
    Evaluated,
    ObjectMaps,
    needs_of,
    require_pycocotools,
)
from jaxseg.objects import background_classes
from jaxseg.overrides import overridden


class Sample(NamedTuple):
    """One case for the eye: ``image [*spatial c]``, ``label`` and ``prediction [*spatial]``."""

    image: np.ndarray
    label: np.ndarray
    prediction: np.ndarray


class Evaluator:
    """Scores variables on one split, by sliding window, exact over ragged last batches.

    Cases of one bucket (see ``inference.bucket``) share a compilation, and each process reads only
    the rows of a batch that it owns. The confusion matrix is counted on the device; scores of cases
    that the experiment names (`CASE_SCORES`) on the host, without the `background_classes`.
    Probabilities leave the device only where a score, or the parting of objects, needs them.
    ``intervals`` keeps what `Evaluated.intervals` is made of.
    """

    def __init__(
        self, experiment: Experiment, mesh: Mesh, split: str = "validation", intervals: bool = False
    ) -> None:
        """Opens the split and reads it once, for the sizes of its cases.

        Raises UserError where it is empty, has no labels, or holds a case that cannot be read, and
        where a score that is named cannot be computed here.
        """
        evaluation = experiment.evaluation
        self._mesh = mesh
        self._model = experiment.recipe.module
        self._dataset = experiment.data.dataset
        self._named, self._instances = evaluation.metrics, evaluation.instances
        self._things, self._gives = self._needed(intervals)
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
        classes = self._dataset.num_classes, self._dataset.class_names
        self._background = background_classes(*classes)

    def _needed(self, intervals: bool) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """The classes with objects, and what `_score` is to give beside label maps."""
        names = [name for name in self._named if name in CASE_SCORES]
        needs = needs_of(names)
        dataset, parts = self._dataset, self._instances
        things = parts.classes(dataset.num_classes, dataset.class_names)
        if "objects" in needs and not things:
            raise UserError(f"evaluation.metrics={self._named}: no class has objects; name things")
        if "probabilities" in needs:  # COCO's scores
            require_pycocotools()
            if dataset.rank != 2:
                raise UserError(f"evaluation.metrics={self._named}: COCO's are of images alone")
        gives: list[str] = ["matrices"] if intervals else []
        if "calibration" in needs:
            gives.append("calibration")
        if "probabilities" in needs or ("objects" in needs and parts.boundary is not None):
            gives.append("probabilities")
        return things if "objects" in needs else (), tuple(gives)

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
        """The counts (int64, on the host) and records of cases, and the first few predictions.

        ``variables`` lie on the evaluator's mesh, or on one device.
        """
        if not all(isinstance(x.sharding, NamedSharding) for x in jax.tree.leaves(variables)):
            variables = jax.device_put(variables, sharding.replicated(self._mesh))
        shown: list[Sample] = []
        counted: list[Confusion] = []
        records: dict[int, dict[str, Any]] = {}
        names = [name for name in self._named if name in CASE_SCORES]
        for numbers, cases, arrays in self._batches():
            with jax.set_mesh(self._mesh):
                counts, given = _score(
                    self._model, variables, *arrays, tiles=self._tiles, gives=self._gives
                )
            counted.append(counts)  # fetched at the end: nothing here waits for the device
            if names or self._gives:
                local = {name: jax.tree.map(_local, x) for name, x in given.items()}
                for row, (number, case) in enumerate(zip(numbers, cases, strict=True)):
                    of_case = {name: _row(x, row) for name, x in local.items()}
                    records[number] = self._record(names, case, of_case)
            if len(shown) < samples and cases:
                first = np.asarray(given["labels"].addressable_data(0))
                for case, labels in zip(cases[: samples - len(shown)], first, strict=False):
                    shown.append(Sample(case["image"], case["label"], labels[_inside(case)]))
        confusion = functools.reduce(operator.add, [c.on_host() for c in counted])
        return self._evaluated(confusion, names, _gathered(records)), shown

    def _record(self, names: Sequence[str], case: dict[str, Any], given: dict[str, Any]) -> dict:
        """Of one case, all that its scores are made of."""
        prediction, probabilities = given["labels"][_inside(case)], given.get("probabilities")
        fields: dict[str, Any] = {"things": self._things, "leave_out": self._background}
        if probabilities is not None:
            fields["probabilities"] = probabilities = probabilities[_inside(case)]
        if self._things:
            rim = self._instances.boundary
            height = None if rim is None or probabilities is None else probabilities[..., rim]
            found = self._instances.found(prediction, self._things, height)
            true = self._instances.true(case["label"], self._things, case.get("instance"))
            fields |= {"found": ObjectMaps(*found), "true": ObjectMaps(*true)}
        if "calibration" in given:
            c = given["calibration"]
            fields["calibration"] = np.stack([c.pixels, c.right, c.confidence]).astype(float)
        known = Case(
            prediction,
            case["label"],
            self._dataset.num_classes,
            spacing=case.get("spacing"),
            **fields,
        )
        record = {name: CASE_SCORES[name].of(known) for name in names}
        record["spaced"] = known.spacing is not None
        return record | ({"matrix": given["matrices"]} if "matrices" in given else {})

    def _evaluated(
        self, confusion: Confusion, names: Sequence[str], records: dict[int, dict[str, Any]]
    ) -> Evaluated:
        cases = [records[number] for number in sorted(records)]
        matrices = [case["matrix"] for case in cases if "matrix" in case]
        return Evaluated(
            confusion,
            self._named,
            {name: [case[name] for case in cases] for name in names},
            np.stack(matrices).astype(np.int64) if matrices else None,
            "mm" if cases and all(case["spaced"] for case in cases) else "pixels",
        )

    def _batches(
        self,
    ) -> Iterator[tuple[list[int], list[dict[str, Any]], tuple[jax.Array, ...]]]:
        """Of the rows that are this process's: numbers and cases; and the arrays of all rows."""
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
                mine[: int(valid.sum())],
                cases[: int(valid.sum())],
                tuple(
                    jax.make_array_from_process_local_data(spec, x, (n, *x.shape[1:]))
                    for x in (*columns, valid)
                ),
            )


def _inside(case: dict[str, Any]) -> tuple[slice, ...]:
    """Of an array of the bucket's size, the part that is the case."""
    return tuple(slice(n) for n in case["label"].shape)


def _local(x: jax.Array) -> np.ndarray:
    """This process's rows of a batch, in order."""
    if x.is_fully_addressable:
        return np.asarray(x)
    rows = {shard.index[0].start or 0: shard.data for shard in x.addressable_shards}
    return np.concatenate([np.asarray(rows[start]) for start in sorted(rows)])


def _row(tree: Any, row: int) -> Any:
    return jax.tree.map(lambda x: x[row], tree)


def _gathered(records: dict[int, dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Those of all processes; what two of them have scored is the same."""
    if jax.process_count() == 1:
        return records
    mine = np.frombuffer(pickle.dumps(records), np.uint8)  # a process trusts its own run
    sizes = np.asarray(multihost_utils.process_allgather(np.int32(mine.size)))
    padded = np.pad(mine, (0, int(sizes.max()) - mine.size))
    every = np.asarray(multihost_utils.process_allgather(padded))
    parts = [pickle.loads(x[:n].tobytes()) for x, n in zip(every, sizes, strict=True)]
    return functools.reduce(operator.or_, parts)


@functools.partial(jax.jit, static_argnames=("model", "tiles", "gives"))
def _score(
    model: nn.Module,
    variables: Any,
    image: jax.Array,
    label: jax.Array,
    size: jax.Array,
    valid: jax.Array,
    *,
    tiles: Tiles,
    gives: tuple[str, ...],
) -> tuple[Confusion, dict[str, Any]]:
    """The counts of a batch, and by rows ``labels`` and what ``gives`` names."""
    logits = inference.windowed(model, sharding.gathered(variables), image, size, tiles)
    prediction = jnp.argmax(logits, axis=-1).astype(jnp.int32)
    k = logits.shape[-1]
    given: dict[str, Any] = {"labels": prediction}
    if "matrices" in gives:
        given["matrices"] = Confusion.each(prediction, label, k, valid=valid)
    if "probabilities" in gives:
        given["probabilities"] = jax.nn.softmax(logits)
    if "calibration" in gives:
        of_row = lambda p, t, v: Calibration.of(p[None], t[None], valid=v[None])  # noqa: E731
        given["calibration"] = jax.vmap(of_row)(jax.nn.softmax(logits), label, valid)
    # Each process scores the cases it has read: their rows stay with it.
    given = jax.lax.with_sharding_constraint(given, PartitionSpec(sharding.ROWS))
    return Confusion.of(given["labels"], label, k, valid=valid), given


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
    evaluated, _ = Evaluator(experiment, mesh, split, intervals=True)(variables)
    scores = {"step": step, **evaluated.scores(experiment.data.dataset.class_names)}
    scores |= evaluated.intervals() | evaluated.distances_in
    report.write_json(path, {**before, split: scores})
    return scores


def _read_scores(path: Path) -> dict[str, Any]:
    """What earlier evaluations wrote, of other splits."""
    try:
        found = json.loads(path.read_text()) if path.exists() else {}
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({first_line(error)}); remove it") from error
    if not isinstance(found, dict):
        raise UserError(f"{path}: not what jaxseg.evaluate writes; remove it")
    return found


def main(arguments: Sequence[str]) -> None:
    """The command."""
    parser = command.parser(
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
    command.run(main)
