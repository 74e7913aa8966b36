"""The engine that scores variables on a split of an experiment's data."""

import functools
import operator
import pickle
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxseg import sharding
from jaxseg.errors import UserError, first_line
from jaxseg.experiment import Experiment
from jaxseg.metrics import (
    Case,
    Confusion,
    Evaluated,
    ObjectMaps,
    needs_of,
    require_pycocotools,
)
from jaxseg.objects import background_classes
from jaxseg.predictor import CaseResult, Gives, Predictor

Rows = dict[str, Any]


class Sample(NamedTuple):
    """One case for the eye: ``image [*spatial c]``, ``label`` and ``prediction [*spatial]``.

    ``dice`` is the mean over its classes but the background; None where there are none. ``worst``
    marks those that are shown because theirs is the lowest.
    """

    image: np.ndarray
    label: np.ndarray
    prediction: np.ndarray
    name: str = ""
    dice: float | None = None
    worst: bool = False


Evaluate = Callable[..., tuple[Evaluated, list[Sample]]]
"""``(variables, samples=n)`` -> scores of the validation split; the first and the worst n cases."""


class Evaluator:
    """Scores variables on one split, exact over ragged last batches.

    The recipe's predictor says how a case is padded and predicted. Cases of one size share a
    compilation, and each process reads only the rows of a batch that it owns. Confusion matrices
    are counted on the device, one a case; the scores of cases that the experiment names on the
    host, without the background. Maps leave the device only where a score, or a picture, needs
    them.
    """

    def __init__(
        self,
        experiment: Experiment,
        mesh: Mesh,
        split: str = "validation",
        *,
        look: Callable[[dict[str, Any]], None] = lambda case: None,
    ) -> None:
        """Open the split and read it once, for the sizes of its cases; ``look`` sees each of them.

        Raises UserError where it is empty, has no labels, or holds a case that cannot be read, and
        where a score that is named cannot be computed here.
        """
        evaluation = experiment.evaluation
        self._mesh = mesh
        self._model = experiment.recipe.served
        self._predictor = experiment.recipe.predictor(evaluation)
        self._dataset = experiment.data.dataset
        self._named, self._instances = evaluation.names, evaluation.instances
        self._scores = evaluation.of_cases
        self._things, self._gives = self._needed()
        self._cases = experiment.data.cases(split)
        rows = mesh.shape["data"] * mesh.shape["fsdp"]
        # Whole images are batched here; windows are batched inside the loop on the device.
        self._batch_size = rows * (evaluation.window_batch if evaluation.window is None else 1)
        self._rows = sharding.local_rows(mesh, self._batch_size)
        if not len(self._cases):
            raise UserError(f"data.root={experiment.data.root!r}: the {split} split is empty")
        self._plan = self._planned(look)
        classes = self._dataset.num_classes, self._dataset.class_names
        self._background = background_classes(*classes)

    def __len__(self) -> int:
        """Number of cases of the split."""
        return len(self._cases)

    def check(self, variables: Any) -> None:
        """Refuse a network that the predictor cannot apply; ``variables`` may be abstract."""
        case = self._cases[self._plan[0][0]]
        rows = {name: x[None] for name, x in self._predictor.prepare(self._model, case).items()}
        try:
            jax.eval_shape(
                lambda v, r: self._predictor.apply(self._model, v, r, (*self._gives, "labels")),
                variables,
                rows,
            )
        except UserError:
            raise
        except Exception as error:  # networks raise what they like
            raise UserError(
                f"the validation split cannot be evaluated: {type(error).__name__}: "
                f"{first_line(error)} (--debug shows where)"
            ) from error

    def _needed(self) -> tuple[tuple[int, ...], Gives]:
        """The classes with objects, and what the predictor is to give."""
        needs = needs_of(self._scores, self._scores)
        dataset, parts = self._dataset, self._instances
        things = parts.classes(dataset.num_classes, dataset.class_names)
        if "objects" in needs and not things:
            raise UserError(f"evaluation.metrics={self._named}: no class has objects; name things")
        if "probabilities" in needs:  # COCO's scores
            require_pycocotools()
            if dataset.rank != 2:
                raise UserError(f"evaluation.metrics={self._named}: COCO's are of images alone")
        gives = ["confusion", *(["labels"] if self._scores else [])]
        if getattr(self._predictor, "criterion", None) is not None:
            gives.append("loss")
        if "calibration" in needs:
            gives.append("calibration")
        if "probabilities" in needs or ("objects" in needs and parts.boundary is not None):
            gives.append("probabilities")
        return things if "objects" in needs else (), tuple(gives)  # pyright: ignore

    def _planned(self, look: Callable[[dict[str, Any]], None]) -> list[list[int]]:
        """Batches of numbers of cases of one size, the same on every process."""
        groups: dict[tuple[int, ...], list[int]] = {}
        spaced: dict[bool, str] = {}
        for number in range(len(self._cases)):
            case = self._cases[number]
            look(case)
            if case.get("label") is None:
                raise UserError(f"{case['name']}: has no label, so it cannot be scored")
            spaced.setdefault(case.get("spacing") is not None, case["name"])
            groups.setdefault(self._predictor.size(self._model, case), []).append(number)
        if len(spaced) == 2 and any(score.in_mm for score in self._scores.values()):
            raise UserError(
                f"case {spaced[True]} has a spacing in mm and case {spaced[False]} has none; a "
                "mean of their distances has no unit: give both one, or leave distances out of "
                "evaluation.metrics"
            )
        n = self._batch_size
        return [
            numbers[at : at + n]
            for _, numbers in sorted(groups.items())
            for at in range(0, len(numbers), n)
        ]

    def __call__(self, variables: Any, samples: int = 0) -> tuple[Evaluated, list[Sample]]:
        """The records of all cases; of ``samples`` the first predictions, and as many worst ones.

        The worst are those of the lowest Dice of the rest, the lowest first; of several processes
        each has its own samples. ``variables`` lie on the evaluator's mesh, or on one device.
        """
        variables = sharding.replicated_copy(self._mesh, variables)
        records: dict[int, dict[str, Any]] = {}
        shown: list[Sample] = []
        worst: list[Sample] = []
        for numbers, cases, given in self._ahead(variables, samples):
            local = jax.tree.map(_local, given)
            for row, (number, case) in enumerate(zip(numbers, cases, strict=True)):
                of_case = jax.tree.map(lambda x, row=row: x[row], local)
                result = self._predictor.result(of_case, case)
                with jax.transfer_guard("allow"):  # a score of one's own may compute anywhere
                    records[number] = self._record(case, result)
                if not samples or result.labels is None:
                    continue
                sample = self._sample(case, result.labels, records[number]["confusion"])
                if len(shown) < samples:
                    shown.append(sample)
                elif sample.dice is not None:
                    worst = sorted([*worst, sample._replace(worst=True)], key=_dice)[:samples]
        shown += worst
        with jax.transfer_guard("allow"):  # between processes
            return self._evaluated(_gathered(records)), shown

    def _ahead(self, variables: Any, samples: int) -> Iterator[tuple[list[int], list, Rows]]:
        """Numbers, cases and results of each batch, while the device computes the next one."""
        before, wanted = None, self._gives
        if samples and "labels" not in wanted:  # which are the worst is known at the end alone
            wanted = (*wanted, "labels")
        for numbers, cases, rows in self._batches():
            with jax.set_mesh(self._mesh):
                given = _apply(self._predictor, self._model, variables, rows, wanted)
            if before is not None:
                yield before
            before = numbers, cases, given
        if before is not None:
            yield before

    def _sample(self, case: Rows, labels: np.ndarray, confusion: np.ndarray) -> Sample:
        matrix = np.asarray(confusion, np.int64)
        dice = np.asarray(Confusion(matrix=matrix).dice())  # pyright: ignore[reportCallIssue]
        some = np.delete(dice, self._background)
        some = some[np.isfinite(some)]
        mean = float(some.mean()) if some.size else None
        place = case.get("place")
        image = case["image"] if place is None else place.shown(case["image"])
        return Sample(image, case["label"], labels, case["name"], mean)

    def _record(self, case: dict[str, Any], result: CaseResult) -> Rows:
        """All that the scores of one case are made of."""
        counts, label = result.counts, case["label"]
        record: Rows = {"name": case["name"], "spaced": case.get("spacing") is not None}
        record["confusion"] = (
            counts["confusion"] if "confusion" in counts else self._count(case, result)
        )
        record["loss"] = float(counts.get("loss", np.nan))
        if not self._scores:
            return record
        assert result.labels is not None
        fields: dict[str, Any] = {"things": self._things, "leave_out": self._background}
        if result.probabilities is not None:
            fields["probabilities"] = result.probabilities
        if self._things:
            true = self._instances.true(label, self._things, case.get("instance"))
            fields["true"] = ObjectMaps(*true)
        if result.objects is not None:  # the network's own, which may touch or overlap
            fields["detections"] = result.objects
        elif self._things:
            rim = self._instances.boundary
            shares = result.probabilities
            height = None if rim is None or shares is None else shares[..., rim]
            found = self._instances.found(result.labels, self._things, height)
            fields["found"] = ObjectMaps(*found)
        known = Case(
            result.labels,
            label,
            self._dataset.num_classes,
            spacing=case.get("spacing"),
            calibration=counts.get("calibration"),
            **fields,
        )
        return record | {name: score.of(known) for name, score in self._scores.items()}

    def _count(self, case: dict[str, Any], result: CaseResult) -> np.ndarray:
        """The confusion matrix of a prediction whose pixels the device has not counted."""
        assert result.labels is not None
        k = self._dataset.num_classes
        label, found = case["label"], result.labels
        known = (label >= 0) & (label < k) & (found >= 0) & (found < k)
        return np.bincount(label[known] * k + found[known], minlength=k * k).reshape(k, k)

    def _evaluated(self, records: dict[int, Rows]) -> Evaluated:
        cases = [records[number] for number in sorted(records)]
        matrices = np.stack([case["confusion"] for case in cases]).astype(np.int64)
        return Evaluated(
            Confusion(matrix=matrices.sum(0)),  # pyright: ignore[reportCallIssue]
            self._named,
            {name: [case[name] for case in cases] for name in self._scores},
            matrices,
            "mm" if all(case["spaced"] for case in cases) else "pixels",
            self._scores,
            tuple(case["name"] for case in cases),
            tuple(case["loss"] for case in cases),
        )

    def _batches(self) -> Iterator[tuple[list[int], list[dict[str, Any]], Rows]]:
        """Numbers and cases of the rows that this process owns, and the arrays of all rows."""
        n = self._batch_size
        spec = NamedSharding(self._mesh, PartitionSpec(sharding.ROWS))
        for numbers in self._plan:
            filled = numbers + numbers[:1] * (n - len(numbers))  # repeats are marked invalid
            mine = filled[self._rows]
            cases = [self._cases[number] for number in mine]
            padded = [self._predictor.prepare(self._model, case) for case in cases]
            valid = (np.arange(n) < len(numbers))[self._rows]
            columns = {name: np.stack([row[name] for row in padded]) for name in padded[0]}
            rows = {
                name: sharding.on_mesh(spec, x, (n, *x.shape[1:]))
                for name, x in (columns | {"valid": valid}).items()
            }
            count = int(valid.sum())
            yield mine[:count], cases[:count], rows


@functools.partial(jax.jit, static_argnums=(0, 1, 4))
def _apply(predictor: Predictor, model: Any, variables: Any, rows: Rows, gives: Gives) -> Rows:
    """The predictor on a batch; each process keeps the rows that it has read."""
    given = predictor.apply(model, sharding.gathered(variables), rows, gives)
    return jax.lax.with_sharding_constraint(given, PartitionSpec(sharding.ROWS))


def _dice(sample: Sample) -> float:
    assert sample.dice is not None
    return sample.dice


def _local(x: jax.Array) -> np.ndarray:
    """This process's rows of a batch, in order."""
    if x.is_fully_addressable:
        return jax.device_get(x)
    rows = {shard.index[0].start or 0: shard.data for shard in x.addressable_shards}
    return np.concatenate([jax.device_get(rows[start]) for start in sorted(rows)])


def _gathered(records: dict[int, Rows]) -> dict[int, Rows]:
    """The records of all processes; what two of them have scored is the same."""
    if jax.process_count() == 1:
        return records
    mine = np.frombuffer(pickle.dumps(records), np.uint8)  # a process trusts its own run
    sizes = np.asarray(multihost_utils.process_allgather(np.int32(mine.size)))
    padded = np.pad(mine, (0, int(sizes.max()) - mine.size))
    every = np.asarray(multihost_utils.process_allgather(padded))
    parts = [pickle.loads(x[:n].tobytes()) for x, n in zip(every, sizes, strict=True)]
    return functools.reduce(operator.or_, parts)
