"""TrainState and the pure pieces that every recipe's step is made of."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxseg import sharding
from jaxseg.errors import require, unknown
from jaxseg.types import Batch

Rates = tuple[tuple[str, float], ...]
"""Factors of the update by parameter path; of several that hold, the longest path counts.

``*/bias`` is every parameter of that role, and multiplies what its place has: Caffe's recipes
double the rate of biases.
"""


class TrainState(NamedTuple):
    """All that a step reads and writes. ``Any``: JAX rebuilds it with shardings as leaves.

    ``params``, ``batch_stats`` and ``ema`` (an exponential moving average of ``params``, or an
    empty dict) are those of the network that is served. ``rng`` is the raw data of the run's key,
    never advanced: step ``n`` draws from ``fold_in(rng, n)``. Whatever else a recipe keeps lies in
    ``extra`` by name: `Trained` for a further network that learns, ``{"params", "batch_stats"}``
    for a frozen one, arrays for masks and pools of images.
    """

    step: Any
    params: Any
    batch_stats: Any
    optimizer: Any
    ema: Any
    rng: Any
    extra: Any = {}  # never written to: a state is replaced, not changed


class Trained(NamedTuple):
    """A network that learns beside the one that is served, in ``TrainState.extra``."""

    params: Any
    batch_stats: Any
    optimizer: Any


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
    rates: Rates = (),
) -> TrainState:
    """The next state. ``ema`` is the decay of the averaged parameters a step.

    ``rates`` are factors of the *update*: with 0 a parameter stays as it is, weight decay or not,
    its gradient counts in no norm, and the running statistics below that path stay too.
    """
    grads = _thawed(grads, rates)
    updates, optimizer_state = optimizer.update(grads, state.optimizer, state.params)
    updates = _with_factors(lambda factor, u: factor * u, rates, updates)
    params = optax.apply_updates(state.params, updates)
    averaged = state.ema
    if ema is not None:
        averaged = jax.tree.map(lambda e, p: ema * e + (1 - ema) * p, averaged, params)
    return state._replace(
        step=state.step + 1,
        params=params,
        batch_stats=_with_factors(
            lambda factor, new, old: new if factor else old, rates, batch_stats, state.batch_stats
        ),
        optimizer=optimizer_state,
        ema=averaged,
    )


def updated(net: Trained, grads: Any, optimizer: optax.GradientTransformation) -> Trained:
    """A further network after one step of its own optimizer; statistics as they are."""
    updates, optimizer_state = optimizer.update(grads, net.optimizer, net.params)
    params = optax.apply_updates(net.params, updates)
    return net._replace(params=params, optimizer=optimizer_state)


def gradient_norm(grads: Any, rates: Rates = ()) -> jax.Array:
    """The global norm of the gradients of what learns."""
    return optax.tree.norm(_thawed(grads, rates))


def check_rates(rates: Rates, params: Any) -> None:
    """Refuse a path that names no parameter: it would freeze nothing, in silence."""
    paths = [path_of(entries) for entries, _ in jax.tree_util.tree_leaves_with_path(params)]
    known = {"/".join(path.split("/")[:n]) for path in paths for n in range(1, path.count("/") + 2)}
    known |= {"*/" + path.split("/")[-1] for path in paths}
    for path, factor in rates:
        require(factor >= 0, f"recipe.rates of {path!r}", factor, "at least 0")
        if path not in known:
            raise unknown("recipe.rates: no parameter lies at", path, sorted(known))


def _thawed(grads: Any, rates: Rates) -> Any:
    """Gradients with zeros for what is frozen, so that clipping does not see them."""
    return _with_factors(lambda factor, g: g if factor else jnp.zeros_like(g), rates, grads)


def _with_factors(function: Callable, rates: Rates, tree: Any, *others: Any) -> Any:
    """``function(factor, leaf, ...)`` of every leaf that a rate speaks of; the others stay."""
    if not rates:
        return tree

    def apply(entries: Any, leaf: Any, *rest: Any) -> Any:
        factor = _factor(rates, path_of(entries))
        return leaf if factor is None else function(factor, leaf, *rest)

    return jax.tree_util.tree_map_with_path(apply, tree, *others)


def _factor(rates: Rates, path: str) -> float | None:
    """The factor of the parameter's place times that of its role; None where neither is named."""
    places = {place: factor for place, factor in rates if f"{path}/".startswith(f"{place}/")}
    roles = [factor for role, factor in rates if role == "*/" + path.split("/")[-1]]
    named = [places[max(places, key=len)]] if places else []
    return math.prod([*named, *roles]) if named or roles else None


def path_of(entries: Any) -> str:
    """The path of a leaf of nested dicts, as JAX gives it, in one word: ``encoder/stem/kernel``."""
    return "/".join(str(entry.key) for entry in entries)
