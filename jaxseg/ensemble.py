"""Runs that predict together: the mean of their probabilities, labels by its argmax.

Each network sees the image as it was trained on it: normalised and cut into windows as its own run
says. The folds of one data set (``Folder(fold=i, folds=5)``) are what this is for:
``--workdir runs/fold0 runs/fold1 ...`` in evaluate and predict.
"""

import argparse
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import jax
import numpy as np
from jaxtyping import Array, Shaped

from jaxseg import checkpoint, command
from jaxseg.checkpoint import Opened
from jaxseg.data import Grid, Normalize
from jaxseg.data.cases import Reading, seen
from jaxseg.errors import UserError
from jaxseg.experiment import Evaluation, Experiment
from jaxseg.metrics import Calibration, needs_of
from jaxseg.predictor import Case, CaseResult, Gives, Predictor
from jaxseg.tiles import Spatial

Workdirs = str | Path | Sequence[str | Path]
"""A run, or several that predict together."""


def listed(workdir: Workdirs) -> tuple[Path, ...]:
    """The folders of the runs; UserError where there is none, or one is named twice."""
    given = (workdir,) if isinstance(workdir, str | Path) else tuple(workdir)
    folders = tuple(Path(one) for one in given)
    if not folders:
        raise UserError("--workdir: name the folder of a run")
    for number, folder in enumerate(folders):
        if folder.resolve() in {other.resolve() for other in folders[:number]}:
            raise UserError(f"--workdir {folder}: named twice, so it would count twice")
    return folders


def opened(
    workdir: Workdirs,
    step: int | None = None,
    *,
    classes: Iterable[type] = (),
    verify: bool = True,
) -> tuple[Opened, ...]:
    """The runs, each at ``step`` (None: its best). UserError where they do not fit each other."""
    folders, classes = listed(workdir), tuple(classes)
    runs = tuple(checkpoint.opened(f, step, classes=classes, verify=verify) for f in folders)
    for folder, run in zip(folders[1:], runs[1:], strict=True):
        _agree(folders[0], runs[0].experiment, folder, run.experiment)
    return runs


def _agree(first: Path, one: Experiment, folder: Path, other: Experiment) -> None:
    """Refuse a run of other classes, channels or rank; a run without class names fits any."""
    for name in ("num_classes", "class_names", "channels", "rank"):
        here, there = (getattr(x.data.dataset, name) for x in (one, other))
        if here != there and (name != "class_names" or (here and there)):
            raise UserError(
                f"--workdir {folder}: {name}={there} and {first} has {name}={here}; runs that "
                "predict together must agree on it"
            )


def merged(results: Sequence[CaseResult]) -> CaseResult:
    """The mean of the probabilities of one case, and the class where it is highest."""
    total: Any = 0.0
    for result in results:
        if result.probabilities is None:
            raise UserError(
                "--workdir: the network of a run gives no probabilities, of which an ensemble is "
                "the mean; name that run alone"
            )
        total = total + result.probabilities / np.float32(len(results))
    return CaseResult(total.argmax(-1).astype(np.int32), total)


# --- scored together ------------------------------------------------------------------------------


@dataclass(frozen=True)
class AsStored:
    """No normalisation: the members of an ensemble have their own."""

    scale = "as stored"

    def statistics(self, image: Shaped[np.ndarray, "*spatial c"]) -> None:
        """Return None: nothing is to be known."""

    def __call__(self, image: Any, statistics: Any) -> Shaped[np.ndarray, "*spatial c"]:
        """The image itself."""
        return np.asarray(image)

    def on_device(self, image: Array) -> Array:
        """The image itself."""
        return image


@dataclass(frozen=True)
class Member:
    """How one run predicts: windows, and what becomes of an image first."""

    predictor: Predictor
    normalize: Normalize
    grid: Grid | None

    def seen(self, case: Case) -> dict[str, Any]:
        """The case as this run's network takes it, without the label, which stays on the host."""
        raw = case["image"]
        rank, channels = raw.ndim - 1, raw.shape[-1]
        reading = Reading(
            rank=rank, channels=channels, num_classes=1, normalize=self.normalize, grid=self.grid
        )
        image, place = seen(raw, case.get("spacing"), reading, (case["name"],))
        rest = {name: x for name, x in case.items() if name != "label"}
        return rest | {"image": image, "raw": raw} | ({} if place is None else {"place": place})


@dataclass(frozen=True)
class Ensemble:
    """The predictor of several runs: ``model`` is a tuple of networks, ``variables`` of theirs.

    Cases hold images as stored. Each member's probabilities leave the device, one image at a time
    of each batch, and are averaged on the host in the case's own grid. ``calibrated``: the result
    counts calibration too.
    """

    members: tuple[Member, ...]
    calibrated: bool = False

    def size(self, model: Any, case: Case) -> Spatial:
        """The sizes for all members, one after another."""
        sizes = [one.predictor.size(net, case) for one, net in self._with(model)]
        return tuple(n for size in sizes for n in size)

    def prepare(self, model: Any, case: Case) -> dict[str, np.ndarray]:
        """The members' rows, ``<member>/<name>``."""
        return {
            f"{number}/{name}": x
            for number, (one, net) in enumerate(self._with(model))
            for name, x in one.predictor.prepare(net, one.seen(case)).items()
        }

    def apply(
        self, model: Any, variables: Any, rows: Mapping[str, jax.Array], gives: Gives
    ) -> dict[str, Any]:
        """What each member gives when it is asked for probabilities, by its number."""
        del gives
        given = {}
        for number, (one, net) in enumerate(self._with(model)):
            start = f"{number}/"
            own = {n.removeprefix(start): x for n, x in rows.items() if n.startswith(start)}
            given[str(number)] = one.predictor.apply(
                net, variables[number], own, ("probabilities",)
            )
        return given

    def result(self, given: Mapping[str, Any], case: Case) -> CaseResult:
        """The merged maps of the members."""
        found = merged(
            [one.predictor.result(given[str(n)], case) for n, one in enumerate(self.members)]
        )
        if not self.calibrated:
            return found
        counted = Calibration.of(found.probabilities[None], case["label"][None])  # pyright: ignore
        parts = (counted.pixels, counted.right, counted.confidence)
        return found._replace(
            counts={"calibration": np.stack([np.asarray(x, float) for x in parts])}
        )

    def exported(self, model: Any, variables: Any, data: Any) -> NoReturn:
        """Refuse: an artifact holds one network."""
        raise UserError("an ensemble is not exported; export its runs")

    def _with(self, model: Any) -> Iterator[tuple[Member, Any]]:
        return zip(self.members, model, strict=True)


@dataclass(frozen=True)
class Together:
    """The recipe of an ensemble, as far as it is asked for in scoring; nothing trains it."""

    runs: tuple[Opened, ...]

    @property
    def model(self) -> Any:
        """The network of the first run."""
        return self.runs[0].model

    @property
    def served(self) -> Any:
        """The networks of all runs."""
        return tuple(run.model for run in self.runs)

    def predictor(self, evaluation: Evaluation) -> Ensemble:
        """Each run's own predictor, grid and normalisation; ``evaluation`` says what is scored."""
        members = tuple(
            Member(
                run.experiment.recipe.predictor(run.experiment.evaluation),
                run.experiment.data.normalize,
                run.experiment.data.grid,
            )
            for run in self.runs
        )
        needs = needs_of(evaluation.of_cases, evaluation.of_cases)
        return Ensemble(members, "calibration" in needs)

    def scheduled(self, steps: int) -> "Together":
        """The recipe itself."""
        return self

    def check(self, experiment: Any) -> None:
        """Refuse, since nothing trains an ensemble."""
        raise UserError("an ensemble is not trained; train its runs")

    def init(self, *given: Any) -> NoReturn:
        """Refuse, since nothing trains an ensemble."""
        raise UserError("an ensemble is not trained; train its runs")

    step = variables = with_variables = init


def together(runs: Sequence[Opened], experiment: Experiment) -> tuple[Experiment, tuple[Any, ...]]:
    """What the `Evaluator` scores: ``experiment`` with all runs' networks, and their variables."""
    data = dataclasses.replace(experiment.data, normalize=AsStored(), grid=None)
    recipe: Any = Together(tuple(runs))
    scored = dataclasses.replace(experiment, recipe=recipe, data=data)
    return scored, tuple(run.variables for run in runs)


# --- the command line -----------------------------------------------------------------------------


def add_runs(made: argparse.ArgumentParser, *, step: str) -> None:
    """Add what a command on one or several runs takes; ``step`` says what a checkpoint is for."""
    made.add_argument(
        "--workdir",
        nargs="+",
        required=True,
        metavar="RUN",
        help="folder of the run; of several, the mean of their probabilities is taken",
    )
    command.add_step(made, step)
    command.add_classes(made)
    command.add_debug(made)
