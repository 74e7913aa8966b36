"""Reversible residual blocks: the backward pass computes activations again, from the outputs.

The Reversible Residual Network, Gomez et al. 2017, https://arxiv.org/abs/1707.04585, equations 6
to 8 and algorithm 1; in 3-D: A Partially Reversible U-Net for Memory-Efficient Volumetric Image
Segmentation, Brügger et al. 2019, https://arxiv.org/abs/1906.06148.
"""

from collections.abc import Callable
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.layers.activation import Activation
from jaxseg.layers.conv import Conv
from jaxseg.layers.norm import Kind, Norm
from jaxseg.ops import Size

Halves = tuple[Float[Array, "b *s c"], Float[Array, "b *s c"]]
Backward = Literal["recompute", "keep"]
"""What a backward pass does for activations inside a sequence."""

Apply = Callable[[Any, Any, Array], tuple[Array, Any]]
"""A branch: variables, dropout key or None, input -> output and updated variables."""


class PreactivatedConv(nn.Module):
    """``conv(activation(norm(x)))``, as many channels as x has: Brügger's F and G (their code).

    ``groups`` are the norm's (30 there; None as in ``Norm``).
    """

    kernel_size: Size = 3
    norm: Kind = "group"
    groups: int | None = None
    activation: Activation = "leaky_relu"

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], *, train: bool) -> Float[Array, "b *s c"]:
        """Size and width stay."""
        norm = Norm(self.norm, self.groups, activation=self.activation, name="norm")
        conv = Conv(x.shape[-1], self.kernel_size, use_bias=self.norm == "none", name="conv")
        return conv(norm(x, train=train))


class ReversibleSequence(nn.Module):
    """Blocks ``y1 = x1 + F(x2)``, ``y2 = x2 + G(y1)`` of the two halves of the channels.

    F and G of each block are copies of ``branch``, any module ``(x, *, train)`` that keeps the
    shape; their parameters are ``block<i>_f`` and ``block<i>_g``. What a backward pass keeps of
    the forward one is the last output alone: memory does not grow with ``blocks``. It runs each
    branch once more instead.

    ``backward="keep"`` is the same function, differentiated by JAX: it keeps all activations.

    The halves are float32 between branches whatever x is (each branch computes in x's dtype): in
    bf16, inputs computed from outputs would be off by a rounding of bf16 a block. Running moments
    move once; dropout draws the same in both passes. Forward-mode derivatives (``jax.jvp``) are
    not defined, but of ``"keep"``.
    """

    branch: nn.Module = PreactivatedConv()
    blocks: int = 1
    backward: Backward = "recompute"

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], *, train: bool) -> Float[Array, "b *s c"]:
        """Size and width stay. UserError where channels are odd or a branch changes the shape."""
        if x.shape[-1] % 2:
            raise UserError(
                f"ReversibleSequence {self.name}: {x.shape[-1]} channels have no two halves; "
                f"use {x.shape[-1] + 1}"
            )
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        first, second = jnp.split(wide, 2, axis=-1)
        names = [f"block{i}_{role}" for i in range(self.blocks) for role in "fg"]
        plain = self.is_initializing() or self.backward == "keep"
        through = self._plain if plain else self._reversible
        halves = through(names, (first, second), x.dtype, train=train)
        return jnp.concatenate(halves, axis=-1).astype(x.dtype)

    def _plain(self, names: list[str], halves: Halves, dtype: Any, *, train: bool) -> Halves:
        """The blocks as written above, by submodules: makes the parameters."""
        branches = [self.branch.clone(parent=self, name=name) for name in names]

        def apply(branch, _, x):
            return branch(x.astype(dtype), train=train).astype(x.dtype), {}

        return _forward(apply, branches, [None] * len(names), halves)[0]

    def _reversible(self, names: list[str], halves: Halves, dtype: Any, *, train: bool) -> Halves:
        """The blocks by pure functions, which the backward pass can call again."""
        branch, trees = self.branch.clone(parent=None), self.variables
        variables = [
            {kind: trees[kind][name] for kind in trees if name in trees[kind]} for name in names
        ]
        mutable = [kind for kind in trees if kind != "params" and self.is_mutable_collection(kind)]
        draws = train and self.has_rng("dropout")
        keys = [self.make_rng("dropout") if draws else None for _ in names]

        def apply(variables, key, x):
            y, updated = branch.apply(
                variables,
                x.astype(dtype),
                train=train,
                rngs=None if key is None else {"dropout": key},
                mutable=mutable,
            )
            return y.astype(x.dtype), updated

        halves, updates = _sequence(apply, variables, keys, halves)
        for name, updated in zip(names, updates, strict=True):
            for kind, tree in updated.items():
                self.put_variable(kind, name, tree)
        return halves


def _forward(apply: Apply, variables: list, keys: list, halves: Halves) -> tuple[Halves, list]:
    near, far = halves  # near is added to, far is looked at; then they change places
    updates = []
    for of_branch, key in zip(variables, keys, strict=True):
        y, updated = apply(of_branch, key, far)
        if y.shape != far.shape:
            raise UserError(
                f"ReversibleSequence: its branch makes {y.shape} of {far.shape}; it must keep the "
                "shape"
            )
        near, far = far, near + y
        updates.append(updated)
    return (near, far), updates


_sequence = jax.custom_vjp(_forward, nondiff_argnums=(0,))


def _remember(apply: Apply, variables: list, keys: list, halves: Halves):
    halves, updates = _forward(apply, variables, keys, halves)
    return (halves, updates), (variables, keys, halves)


def _backward(apply: Apply, remembered: tuple, cotangents: tuple) -> tuple:
    """Equation 8 and algorithm 1, from the last branch to the first, in a loop.

    Written out, XLA leaves the kernels' gradients for last and keeps the maps that each is made of;
    on CPU it heeds no barrier.
    """
    variables, keys, halves = remembered

    def undo(maps: tuple, of_branch: tuple) -> tuple[tuple, Any]:
        (near, far), (d_near, d_far) = maps
        own, key = of_branch
        y, pull = jax.vjp(lambda own, x: apply(own, key, x)[0], own, near)
        to_own, to_input = pull(d_far)
        return ((far - y, near), (d_far, d_near + to_input)), to_own

    branches = list(zip(variables, keys, strict=True))
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *branches)
    maps = (halves, cotangents[0])  # of running moments nobody takes a gradient
    (_, d_halves), found = jax.lax.scan(undo, maps, stacked, len(branches), reverse=True)
    gradients = [jax.tree.map(lambda leaf, i=i: leaf[i], found) for i in range(len(branches))]
    return gradients, None, d_halves


_sequence.defvjp(_remember, _backward)
