"""Supervised training: the weighted sum of losses on labelled images."""

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxseg import sharding, step
from jaxseg.augment import Augment
from jaxseg.errors import UserError, require
from jaxseg.losses import CrossEntropy, DeepSupervision, ImageLevel, Loss, Ramp
from jaxseg.losses.criterion import Criterion
from jaxseg.ops import crop_centre
from jaxseg.optimizers import AdamW, Optimizer
from jaxseg.predictor import Predictor, Segment
from jaxseg.recipes.recipe import Variables
from jaxseg.step import LossAndUpdates, Rates, Trained, TrainState
from jaxseg.types import Batch, Dtype, Prediction, at_dtype, output_size

TAKEN = ("loss", "gradient_norm", "learning_rate", "image_level", "images_per_second", "step")
"""Names of scalars that no loss may have."""


@dataclass(frozen=True)
class Supervised:
    """Train ``model`` on the sum of ``losses``, each times its ``weight`` (a `Ramp`: by the step).

    ``dtype`` is the compute dtype of the model; parameters, statistics, logits and losses stay
    float32. ``supervision`` weighs auxiliary logits and ``image_loss`` the image-level ones, where
    the model has them. ``accumulate`` splits each batch into parts whose gradients are averaged.
    ``ema`` is the decay a step of averaged parameters, which evaluation then uses.
    ``rates`` are factors of the update by parameter path, ``(("encoder", 0.1),)``; 0 freezes what
    lies below, running statistics included. ``schedule_steps`` is the length of the schedule
    (None: the experiment's ``steps``).

    Other recipes are subclasses that override `augmented`, `terms`, `weight`, `loss` or `step`.
    """

    model: nn.Module
    _: KW_ONLY
    losses: Mapping[str, Loss] = field(default_factory=lambda: {"cross_entropy": CrossEntropy()})
    optimizer: Optimizer = AdamW()
    augment: Augment | None = None
    dtype: Dtype = "float32"
    supervision: DeepSupervision = DeepSupervision()
    image_loss: ImageLevel | None = None
    accumulate: int = 1
    ema: float | None = None
    schedule_steps: int | None = None
    rates: Rates = ()

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        require(self.accumulate >= 1, "recipe.accumulate", self.accumulate, "at least 1")
        if not isinstance(self.model, nn.Module):
            raise UserError(
                f"recipe.model={self.model!r}: must be a Flax module, an object such as "
                "UNet(num_classes=2)"
            )
        ema, steps = self.ema, self.schedule_steps
        require(ema is None or 0 <= ema < 1, "recipe.ema", ema, "in [0, 1)")
        require(steps is None or steps >= 1, "recipe.schedule_steps", steps, "at least 1")

    @property
    def module(self) -> nn.Module:
        """``model`` at the recipe's compute dtype: what a step applies."""
        return at_dtype(self.model, self.dtype)

    @property
    def served(self) -> nn.Module:
        """What is evaluated and loaded: here the module itself."""
        return self.module

    def scheduled(self, steps: int) -> "Supervised":
        """The recipe with a schedule of ``steps``, unless it says its own length."""
        if self.schedule_steps is not None:
            return self
        return dataclasses.replace(self, schedule_steps=steps)

    def check(self, experiment: Any) -> None:
        """Refuse what cannot be trained: losses, dtypes, and numbers of classes that differ."""
        _check_losses(self.losses)
        if experiment.batch_size % self.accumulate:
            raise UserError(
                f"batch_size={experiment.batch_size} does not divide by "
                f"recipe.accumulate={self.accumulate}"
            )
        dtype, dropout = (getattr(self.model, f, None) for f in ("dtype", "dropout"))
        if dtype not in (None, "float32", self.dtype):
            raise UserError(f"recipe.model.dtype={dtype!r}: set recipe.dtype, which precedes it")
        fine = not isinstance(dropout, int | float) or 0 <= dropout < 1
        require(fine, "recipe.model.dropout", dropout, "in [0, 1)")
        if getattr(self.model, "needs_image_loss", False) and self.image_loss is None:
            raise UserError(
                f"recipe.image_loss=None: {type(self.model).__name__} leaves out classes by scores "
                "of the image, which nothing would teach; set recipe.image_loss=ImageLevel()"
            )
        classes, dataset = getattr(self.model, "num_classes", None), experiment.data.dataset
        if classes != dataset.num_classes:
            raise UserError(
                f"recipe.model.num_classes={classes}, but data.dataset has "
                f"{dataset.num_classes} classes; make them equal"
            )

    def init(self, rng: jax.Array, batch: Batch) -> TrainState:
        """The state of step 0; only shapes and dtypes of ``batch`` are used."""
        model_rng, run_rng = jax.random.split(rng)
        one = jax.tree.map(lambda x: jnp.zeros((1, *x.shape[1:]), x.dtype), batch)
        image = one.image.astype(jnp.float32)
        variables = self.module.init(model_rng, image, train=False, **self._side(one))
        step.check_rates(self.rates, variables["params"])
        return step.create(run_rng, variables, self.transformation(), ema=self.ema is not None)

    def step(self, state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, jax.Array]]:
        """One step, pure and jittable.

        The scalars are the total ``loss``, each term by its name, ``gradient_norm`` and
        ``learning_rate``.
        """
        seen = self.seen(state, batch)
        _, dropout_rng = jax.random.split(step.key(state))
        grads, stats, scalars = step.gradients(
            functools.partial(self.loss, state),
            state,
            seen,
            dropout_rng,
            accumulate=self.accumulate,
        )
        scalars["gradient_norm"] = step.gradient_norm(grads, self.rates)
        scalars["learning_rate"] = self.rate(state.step)
        optimizer = self.transformation()
        new = step.update(state, grads, stats, optimizer, ema=self.ema, rates=self.rates)
        return new, scalars

    def variables(self, state: TrainState, of: str = "model") -> Variables:
        """What evaluation and inference use: the averaged parameters where they are kept."""
        if of == "model":
            return _variables(state.params if self.ema is None else state.ema, state.batch_stats)
        found = _extra(state, of)
        return _variables(found.params, found.batch_stats) if isinstance(found, Trained) else found

    def with_variables(
        self, state: TrainState, variables: Variables, of: str = "model"
    ) -> TrainState:
        """Other parameters and statistics; the averaged parameters start at the same."""
        params, stats = variables["params"], variables.get("batch_stats", {})
        if of == "model":
            ema = {} if self.ema is None else jax.tree.map(jnp.copy, params)
            return state._replace(params=params, batch_stats=stats, ema=ema)
        found = _extra(state, of)
        if isinstance(found, Trained):
            variables = found._replace(params=params, batch_stats=stats)  # pyright: ignore
        return state._replace(extra={**state.extra, of: variables})

    def predictor(self, evaluation: Any) -> Predictor:
        """Windows and CRF as ``evaluation`` says, and the losses of what they are merged to."""
        terms = tuple(self.losses.values())
        criterion = Criterion(terms) if evaluation.loss and terms else None
        return Segment(evaluation.tiles, criterion, evaluation.crf)

    def rate(self, at: jax.Array) -> jax.Array:
        """The learning rate of step ``at``."""
        return jnp.asarray(self.optimizer.rate(self.length)(at), jnp.float32)

    @property
    def length(self) -> int:
        """Steps of the schedule; ValueError where nobody has filled it in."""
        if self.schedule_steps is None:
            raise ValueError("schedule_steps is None: train() sets it from the experiment's steps")
        return self.schedule_steps

    def transformation(self) -> optax.GradientTransformation:
        """The optimizer over the length of the schedule."""
        return self.optimizer.build(self.length)

    def seen(self, state: TrainState, batch: Batch) -> Batch:
        """The batch as the network sees it at this step: `augmented` by the step's own draw.

        ``batch.png`` shows it; a recipe whose `step` draws otherwise overrides both.
        """
        augment_rng, _ = jax.random.split(step.key(state))
        return self.augmented(augment_rng, batch)

    def augmented(self, rng: jax.Array, batch: Batch) -> Batch:
        """A batch as the network sees it, without its streams."""
        batch = batch._replace(streams=None)
        return batch if self.augment is None else self.augment(rng, batch)

    def loss(
        self, state: TrainState, params: Any, batch_stats: Any, batch: Batch, rng: jax.Array
    ) -> LossAndUpdates:
        """The mean over valid rows of the weighted terms, new statistics, and the scalars."""
        prediction, updated = self.module.apply(
            {"params": sharding.gathered(params), "batch_stats": batch_stats},
            batch.image,
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": rng},
            **self._side(batch),
        )
        terms = self.terms(state, params, prediction, batch, rng)
        rows = batch.valid.astype(jnp.float32)
        means = {
            name: (rows * term).sum() / jnp.maximum(rows.sum(), 1) for name, term in terms.items()
        }
        total = sum(self.weight(name, state.step) * mean for name, mean in means.items())
        total = jnp.asarray(total, jnp.float32)
        return total, (updated.get("batch_stats", {}), {"loss": total, **means})

    def terms(
        self, state: TrainState, params: Any, prediction: Any, batch: Batch, rng: jax.Array
    ) -> dict[str, jax.Array]:
        """The loss of each row, ``[b]``, by the name of the term, without its weight."""
        del state, params, rng  # what other recipes need
        if not isinstance(prediction, Prediction):
            raise UserError(
                f"{type(self.model).__name__} returns {type(prediction).__name__}; a network for "
                "Supervised returns jaxseg.types.Prediction(logits)"
            )
        self._check_logits(prediction.logits, batch)
        size = prediction.logits.shape[1:-1]
        label = crop_centre(batch.label, size)
        weights = None if batch.weight is None else crop_centre(batch.weight, size)
        terms = {
            name: self.supervision(loss, prediction, label, valid=batch.valid, weights=weights)
            for name, loss in self.losses.items()
        }
        for name, term in terms.items():
            if jnp.shape(term) != batch.valid.shape:
                raise UserError(
                    f"recipe.losses.{name}: gives shape {jnp.shape(term)} for {len(batch.valid)} "
                    "examples; a loss gives one number for each"
                )
        if self.image_loss is not None:
            if prediction.image_logits is None:
                raise UserError(
                    f"recipe.image_loss: {type(self.model).__name__} gives no image_logits, so it "
                    "would do nothing; leave it out"
                )
            terms["image_level"] = self.image_loss(
                prediction.image_logits, batch.label, valid=batch.valid
            )
        return terms

    def _check_logits(self, logits: jax.Array, batch: Batch) -> None:
        """Refuse maps that are not those of the classes, or not of the size that the image has."""
        what, classes = type(self.model).__name__, getattr(self.model, "num_classes", None)
        if classes not in (None, logits.shape[-1]):
            raise UserError(
                f"recipe.model: {what} gives {logits.shape[-1]} maps and has num_classes={classes}"
            )
        size = batch.image.shape[1:-1]
        if logits.shape[1:-1] != output_size(self.model, size):
            raise UserError(
                f"recipe.model: {what} gives logits of {logits.shape[1:-1]} for images of {size}; "
                "they are to have the size of the image"
            )

    def weight(self, name: str, at: jax.Array) -> float | jax.Array:
        """The weight of a term at step ``at``."""
        if name == "image_level" and self.image_loss is not None:
            weight = self.image_loss.weight
        else:
            weight = self.losses[name].weight
        return weight.at(at) if isinstance(weight, Ramp) else weight

    def _side(self, batch: Batch) -> dict[str, Any]:
        """The fields of a batch that the network takes by keyword."""
        return {name: getattr(batch, name) for name in getattr(self.model, "inputs", ())}


def _variables(params: Any, batch_stats: Any) -> Variables:
    return {"params": params} | ({"batch_stats": batch_stats} if batch_stats else {})


def _extra(state: TrainState, of: str) -> Any:
    if of not in state.extra:
        known = ", ".join(["model", *state.extra])
        raise UserError(f"the recipe has no network {of!r}; it has {known}")
    return state.extra[of]


def _check_losses(terms: Mapping[str, Any]) -> None:
    for name in terms:
        if name in TAKEN:
            raise UserError(f"recipe.losses: a term cannot be called {name!r}; rename it")
    if not terms:
        raise UserError('recipe.losses={}: nothing to train on; give {"dice": Dice()}')
