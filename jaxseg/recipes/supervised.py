"""Supervised training: the weighted sum of losses on labelled images."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxseg import sharding, step
from jaxseg.augment import Augment
from jaxseg.losses import CrossEntropy, DeepSupervision, ImageLevel, Loss, Ramp
from jaxseg.optimizers import AdamW, Optimizer
from jaxseg.step import LossAndUpdates, TrainState
from jaxseg.types import Batch, Prediction


@dataclass(frozen=True)
class Supervised:
    """Train ``model`` on the sum of ``losses``, each times its ``weight`` (a `Ramp`: by the step).

    ``dtype`` is the compute dtype of the model; parameters, statistics, logits and losses stay
    float32. ``supervision`` weighs auxiliary logits and ``image_loss`` the image-level ones, where
    the model has them. ``accumulate`` splits each batch into parts whose gradients are averaged.
    ``ema`` is the decay a step of averaged parameters, which evaluation then uses.
    ``schedule_steps`` is the length of the schedule (None: the experiment's ``steps``).
    """

    model: nn.Module
    losses: Mapping[str, Loss] = field(default_factory=lambda: {"cross_entropy": CrossEntropy()})
    optimizer: Optimizer = AdamW()
    augment: Augment | None = None
    dtype: Literal["float32", "bfloat16"] = "float32"
    supervision: DeepSupervision = DeepSupervision()
    image_loss: ImageLevel | None = None
    accumulate: int = 1
    ema: float | None = None
    schedule_steps: int | None = None

    @property
    def module(self) -> nn.Module:
        """``model`` at the recipe's compute dtype."""
        return self.model.clone(dtype=self.dtype)

    def init(self, rng: jax.Array, batch: Batch) -> TrainState:
        """The state of step 0; only shapes and dtypes of ``batch`` are used."""
        model_rng, run_rng = jax.random.split(rng)
        image = jnp.zeros((1, *batch.image.shape[1:]), jnp.float32)
        variables = self.module.init(model_rng, image, train=False)
        return step.create(run_rng, variables, self._optimizer(), ema=self.ema is not None)

    def step(self, state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, jax.Array]]:
        """One step, pure and jittable.

        The scalars are the total ``loss``, each term by its name, ``gradient_norm`` and
        ``learning_rate``.
        """
        augment_rng, dropout_rng = jax.random.split(step.key(state))
        if self.augment is not None:
            batch = self.augment(augment_rng, batch)
        grads, stats, scalars = step.gradients(
            functools.partial(self._loss, state.step),
            state,
            batch,
            dropout_rng,
            accumulate=self.accumulate,
        )
        scalars["gradient_norm"] = optax.tree.norm(grads)
        scalars["learning_rate"] = self.rate(state.step)
        return step.update(state, grads, stats, self._optimizer(), ema=self.ema), scalars

    def variables(self, state: TrainState) -> dict[str, Any]:
        """What evaluation and inference use: the averaged parameters where they are kept."""
        params = state.params if self.ema is None else state.ema
        if not state.batch_stats:
            return {"params": params}
        return {"params": params, "batch_stats": state.batch_stats}

    def rate(self, at: jax.Array) -> jax.Array:
        """The learning rate of step ``at``."""
        return jnp.asarray(self.optimizer.rate(self._steps())(at), jnp.float32)

    def _steps(self) -> int:
        if self.schedule_steps is None:
            raise ValueError("schedule_steps is None: train() sets it from the experiment's steps")
        return self.schedule_steps

    def _optimizer(self) -> optax.GradientTransformation:
        return self.optimizer.build(self._steps())

    def _loss(
        self, at: jax.Array, params: Any, batch_stats: Any, batch: Batch, rng: jax.Array
    ) -> LossAndUpdates:
        variables = {"params": sharding.gathered(params), "batch_stats": batch_stats}
        prediction, updated = self.module.apply(
            variables, batch.image, train=True, mutable=["batch_stats"], rngs={"dropout": rng}
        )
        terms = self._terms(prediction, batch)
        rows = batch.valid.astype(jnp.float32)
        means = {
            name: (rows * term).sum() / jnp.maximum(rows.sum(), 1) for name, term in terms.items()
        }
        total = sum(self._weight(name, at) * mean for name, mean in means.items())
        total = jnp.asarray(total, jnp.float32)
        return total, (updated.get("batch_stats", {}), {"loss": total, **means})

    def _terms(self, prediction: Prediction, batch: Batch) -> dict[str, jax.Array]:
        size = prediction.logits.shape[1:-1]
        label = centre(batch.label, size)
        weights = None if batch.weight is None else centre(batch.weight, size)
        terms = {
            name: self.supervision(loss, prediction, label, valid=batch.valid, weights=weights)
            for name, loss in self.losses.items()
        }
        if self.image_loss is not None and prediction.image_logits is not None:
            terms["image_level"] = self.image_loss(
                prediction.image_logits, batch.label, valid=batch.valid
            )
        return terms

    def _weight(self, name: str, at: jax.Array) -> float | jax.Array:
        if name == "image_level" and self.image_loss is not None:
            weight = self.image_loss.weight
        else:
            weight = self.losses[name].weight
        return weight.at(at) if isinstance(weight, Ramp) else weight


def centre(x: Any, size: tuple[int, ...]) -> Any:
    """The middle ``[b *size]`` of a map: what a network of valid convolutions predicts."""
    starts = [(have - want) // 2 for have, want in zip(x.shape[1:], size, strict=True)]
    window = tuple(slice(start, start + want) for start, want in zip(starts, size, strict=True))
    return x[(slice(None), *window)]
