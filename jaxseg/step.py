"""TrainState and the pure pieces that every recipe's step is made of."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxseg import sharding
from jaxseg.types import Batch


class TrainState(NamedTuple):
    """All that a step reads and writes. ``Any``: JAX rebuilds it with shardings as leaves.

    ``ema`` is an exponential moving average of ``params``, or an empty dict. ``rng`` is the raw
    data of the run's key, never advanced: step ``n`` draws from ``fold_in(rng, n)``.
    """

    step: Any
    params: Any
    batch_stats: Any
    optimizer: Any
    ema: Any
    rng: Any


LossAndUpdates = tuple[jax.Array, tuple[Any, dict[str, jax.Array]]]
LossFunction = Callable[[Any, Any, Batch, jax.Array], LossAndUpdates]
"""``(params, batch_stats, batch, rng) -> loss, (batch_stats, scalars)``."""


def create(rng: jax.Array, variables: Any, optimizer: optax.GradientTransformation, *, ema: bool):
    """The state of step 0."""
    params = variables["params"]
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=variables.get("batch_stats", {}),
        optimizer=optimizer.init(params),
        # A copy: donated buffers must not be shared between two leaves.
        ema=jax.tree.map(jnp.copy, params) if ema else {},
        rng=jax.random.key_data(rng),
    )


def key(state: TrainState) -> jax.Array:
    """The key of this step's draws."""
    return jax.random.fold_in(jax.random.wrap_key_data(state.rng), state.step)


def gradients(
    loss: LossFunction, state: TrainState, batch: Batch, rng: jax.Array, *, accumulate: int = 1
) -> tuple[Any, Any, dict[str, jax.Array]]:
    """Gradients, batch statistics and scalars of ``loss``, averaged over ``accumulate`` parts.

    Each part is weighted by its number of valid rows, so that the gradient is that of the whole
    batch for any loss that is a mean over rows. BatchNorm sees the parts one after the other.
    """
    differentiate = jax.value_and_grad(loss, has_aux=True)
    if accumulate == 1:
        (_, (stats, scalars)), grads = differentiate(state.params, state.batch_stats, batch, rng)
        return grads, stats, scalars

    def part(carry: Any, inputs: tuple[Batch, jax.Array]) -> tuple[Any, dict[str, jax.Array]]:
        total, stats = carry
        rows, part_rng = inputs
        share = rows.valid.sum() / jnp.maximum(batch.valid.sum(), 1)
        (_, (stats, scalars)), grads = differentiate(state.params, stats, rows, part_rng)
        total = jax.tree.map(lambda t, g: t + share * g, total, grads)
        return (total, stats), jax.tree.map(lambda s: share * s, scalars)

    zero = jax.tree.map(jnp.zeros_like, state.params)
    parts = sharding.microbatches(batch, accumulate), jax.random.split(rng, accumulate)
    (grads, stats), scalars = jax.lax.scan(part, (zero, state.batch_stats), parts)
    return grads, stats, jax.tree.map(lambda s: s.sum(0), scalars)


def update(
    state: TrainState,
    grads: Any,
    batch_stats: Any,
    optimizer: optax.GradientTransformation,
    *,
    ema: float | None,
) -> TrainState:
    """The next state. ``ema`` is the decay of the averaged parameters a step."""
    updates, optimizer_state = optimizer.update(grads, state.optimizer, state.params)
    params = optax.apply_updates(state.params, updates)
    averaged = state.ema
    if ema is not None:
        averaged = jax.tree.map(lambda e, p: ema * e + (1 - ema) * p, averaged, params)
    return state._replace(
        step=state.step + 1,
        params=params,
        batch_stats=batch_stats,
        optimizer=optimizer_state,
        ema=averaged,
    )
