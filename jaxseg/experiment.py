"""The experiment: one frozen object that says what is trained, on what, how it is scored and kept.

It stands in ``configs/*.py`` and in ``experiment.json``. A class refuses its own impossible values
where it is made; `check` refuses those of two objects that do not fit each other.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from jaxseg import fields
from jaxseg.crf import DenseCRF, check_rank
from jaxseg.data import Data, Stream, check_data_set, check_streams
from jaxseg.errors import UserError, require
from jaxseg.metrics import NamedScore, name_of, scores_of
from jaxseg.objects import Instances
from jaxseg.predictor import Segment
from jaxseg.recipes import Recipe
from jaxseg.sharding import MeshShape
from jaxseg.tiles import Tiles
from jaxseg.types import strides_of


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """When and how the validation split is scored.

    ``every`` steps; by sliding ``window`` (None: whole images), ``window_batch`` windows at a time.
    ``metrics`` are the scores that are shown: those of ``Confusion``, which count all pixels
    together, cost nothing (``metrics.SCORES``, and ``metrics.MORE`` such as ``iou_micro``); those
    of ``metrics.CASE_SCORES``, such as ``hd95``, ``pq`` and ``ece``, are computed case by case, and
    only where they are named; an object is a score of one's own (docs/own_metric.md).
    ``loss`` computes the losses of the recipe too, of the merged logits of whole images, as
    `losses.criterion` says: a curve beside that of training.
    ``dropout_samples`` is how often an image is predicted with dropout on, as Bayesian SegNet is;
    the mean of the probabilities counts (0: dropout off).
    ``crf`` lets the labels of 2-D images follow the edges of the image as stored (`DenseCRF`).
    ``instances`` says what an object is, for those that count them. ``evaluate`` gives an interval
    over cases with each. ``patience`` stops the run after that many evaluations without a better
    ``checkpoint.best``.
    """

    every: int = 500
    window: tuple[int, ...] | None = None
    overlap: float = 0.5
    window_batch: int = 4
    metrics: tuple[str | NamedScore, ...] = ("dice", "iou")
    tta: bool = False
    dropout_samples: int = 0
    patience: int | None = None
    instances: Instances = Instances()
    loss: bool = True
    crf: DenseCRF | None = None

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        if isinstance(self.metrics, tuple):
            scores_of(self.metrics)  # says what a score lacks, which the types do not
        fields.check_own(self, "evaluation.")
        for name in ("every", "window_batch", "patience"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"evaluation.{name}", value, "at least 1")
        fine = self.window is None or min(self.window, default=0) >= 1
        require(fine, "evaluation.window", self.window, "at least 1 along every axis, or None")
        require(0 <= self.overlap < 1, "evaluation.overlap", self.overlap, "in [0, 1)")
        samples = self.dropout_samples
        require(samples >= 0, "evaluation.dropout_samples", samples, "at least 0 (dropout off)")

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the scores, those of one's own among them."""
        return tuple(name_of(score) for score in self.metrics)

    @property
    def of_cases(self) -> dict[str, NamedScore]:
        """The scores that are computed case by case, by name."""
        return scores_of(self.metrics)

    @property
    def tiles(self) -> Tiles:
        """How images are cut into windows."""
        return Tiles(
            window=self.window,
            overlap=self.overlap,
            window_batch=self.window_batch,
            tta=self.tta,
            dropout_samples=self.dropout_samples,
        )


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """Which checkpoints are written and kept.

    One every ``every`` steps, of which the last ``keep`` stay, and the one with the highest
    ``best`` on the validation split (None: no best).
    """

    every: int = 500
    keep: int = 1
    best: str | None = "dice"

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        fields.check_own(self, "checkpoint.")
        require(self.every >= 1, "checkpoint.every", self.every, "at least 1")
        require(self.keep >= 1, "checkpoint.keep", self.keep, "at least 1")


@dataclass(frozen=True, kw_only=True)
class InitFrom:
    """The variables of another run, for a network of this one.

    Those that lie below the path ``take`` in the run's model go below ``into`` here (empty: all).
    ``fresh`` are paths here that stay as they were drawn, such as ``("head",)`` for other classes.
    ``step=None`` is the best checkpoint. ``channels`` says what becomes of a kernel whose number of
    input channels differs: "same" refuses it, "mean" repeats the mean over its channels, "cycle"
    repeats the channels in order; both times the channels there over those here. So the sum over
    channels stays; with "cycle" only where one number divides the other, for else the channels
    that come round once more weigh more.

    ``run`` may be a file of an encoder's weights of PyTorch, as torchvision, timm or
    segmentation_models_pytorch have them, with ``into="encoder"`` (`jaxseg.convert.read`);
    ``take="backbone"`` are then the keys below ``backbone.``, or the dictionary of that name. What
    those weights expect of an image is the encoder's ``standardize``, which the config says.
    """

    run: str
    step: int | None = None
    take: str = ""
    into: str = ""
    fresh: tuple[str, ...] = ()
    channels: Literal["same", "mean", "cycle"] = "same"


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One run: what is trained, on what, how it is scored and kept.

    ``data`` is what is trained on and what is evaluated; ``streams`` are further data that a step
    sees beside it, by name. ``init_from`` gives networks of the recipe ("model", "teacher", ...)
    the variables of other runs; a string is `InitFrom` of that workdir.
    """

    recipe: Recipe
    data: Data
    steps: int
    batch_size: int
    evaluation: Evaluation = Evaluation()
    checkpoint: Checkpoints = Checkpoints()
    seed: int = 0
    mesh: MeshShape = MeshShape()
    streams: Mapping[str, Stream] = field(default_factory=dict)
    init_from: Mapping[str, InitFrom | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse impossible values, and a recipe that is none."""
        _check_recipe(self.recipe)
        fields.check_own(self)
        require(self.steps >= 1, "steps", self.steps, "at least 1")
        require(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")

    @property
    def scheduled(self) -> Recipe:
        """The recipe with the length of its schedule filled in."""
        return self.recipe.scheduled(self.steps)

    def rows_of(self, stream: str) -> int:
        """The rows of a stream's batches."""
        return self.streams[stream].batch_size or self.batch_size


def check(experiment: Experiment) -> None:
    """Refuse an experiment that cannot be trained, with a line that names the option."""
    fields.check(experiment)
    dataset, evaluation = experiment.data.dataset, experiment.evaluation
    check_data_set(dataset)
    check_streams(experiment.data, experiment.streams)
    rank = dataset.rank
    strides_of(experiment.recipe.model, rank)
    if evaluation.crf is not None:
        check_rank(rank)
    experiment.recipe.check(experiment)
    if experiment.data.grid is not None:
        _check_grid(experiment)
    sizes = {"data.patch": experiment.data.patch, "evaluation.window": evaluation.window}
    for name, size in sizes.items():
        if size is not None and (len(size) != rank or min(size) < 1):
            raise UserError(f"{name}={size}: the images have {rank} axes; give {rank} sizes")
    names, classes = dataset.class_names, dataset.num_classes
    if names and len(names) != classes:
        raise UserError(f"data.dataset.class_names={names}: {len(names)} names, {classes} classes")
    _check_best(experiment.checkpoint.best, evaluation)


def _check_grid(experiment: Experiment) -> None:
    """Refuse a grid where nothing brings predictions back from it."""
    predictor = experiment.recipe.predictor(experiment.evaluation)
    if not isinstance(predictor, Segment):
        raise UserError(
            f"data.grid: {type(predictor).__name__} does not bring predictions back to a case's "
            "own grid; set data.grid=None"
        )
    if experiment.evaluation.crf is not None:
        raise UserError("evaluation.crf: does not go with data.grid; leave one of them out")


def _check_best(best: str | None, evaluation: Evaluation) -> None:
    if best is None:
        if evaluation.patience is not None:
            raise UserError("evaluation.patience waits for a better checkpoint.best, which is None")
        return
    if best not in evaluation.names:
        raise UserError(
            f"checkpoint.best={best!r} is not among evaluation.metrics={evaluation.names}"
        )
    if best in evaluation.of_cases and not evaluation.of_cases[best].higher_is_better:
        raise UserError(
            f"checkpoint.best={best!r}: kept is the highest, and of this score the least is best"
        )


def _check_recipe(recipe: Any) -> None:
    """Refuse what is no `Recipe`, naming what is missing; its properties are not evaluated."""
    if isinstance(recipe, type):
        raise UserError(f"recipe={recipe.__name__}: expected an object, {recipe.__name__}(...)")
    members = [name for name in vars(Recipe) if not name.startswith("_")]
    nothing = object()
    missing = [m for m in members if inspect.getattr_static(recipe, m, nothing) is nothing]
    if missing:
        raise UserError(
            f"recipe: {type(recipe).__name__} is no recipe, it has no {', '.join(missing)}; "
            "build on jaxseg.recipes.Supervised (docs/own_recipe.md)"
        )
