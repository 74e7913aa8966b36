"""clDice: a topology-preserving loss for tubular structures (Shit et al. 2021)."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxseg.losses.ramp import Ramp
from jaxseg.losses.targets import chosen, of_counted, ratio, require, targets


@dataclass(frozen=True)
class ClDice:
    """One minus the harmonic mean of how much of each centre line lies in the other's object.

    ``iterations`` of the soft skeleton should be at least the largest radius in pixels (authors'
    code: 3). ``smooth`` stands on both sides of precision and sensitivity, as there. Mean over the
    classes; the authors' code pools them. Weights count in the sums, not in the skeleton, which
    ends at pixels that do not count as it does at the border of the image.

    The authors train ``(1 - a) Dice + a ClDice`` with ``a`` at most one half.
    """

    weight: float | Ramp = 1.0
    iterations: int = 3
    smooth: float = 1.0
    background: bool = False

    def __post_init__(self) -> None:
        """Refuse denominators that could vanish."""
        require(self, "smooth", self.smooth > 0, "above 0")
        require(self, "iterations", self.iterations >= 0, "at least 0")

    def __call__(
        self,
        logits: Float[Array | np.ndarray, "b *spatial k"],
        label: Int[Array | np.ndarray, " b *spatial"],
        *,
        valid: Bool[Array | np.ndarray, " b"] | None = None,
        weights: Float[Array | np.ndarray, " b *spatial"] | None = None,
    ) -> Float[Array, " b"]:
        """In [0, 1]; 0 where every pixel is ignored."""
        t = targets(logits, label, valid=valid, weights=weights)
        p = chosen(self, jax.nn.softmax(t.logits), background=self.background)
        g = chosen(self, t.one_hot, background=self.background)
        u = t.pixels[..., None]
        lines = skeleton(jnp.concatenate([p, g], -1), u > 0, iterations=self.iterations)
        of_p, of_g = jnp.split(lines, 2, axis=-1)
        precision, sensitivity = self._share(u, of_p, g), self._share(u, of_g, p)
        score = ratio(2.0 * precision * sensitivity, precision + sensitivity, empty=0.0)
        return of_counted(1.0 - score.mean(-1), t.pixels)

    def _share(self, u: Array, line: Float[Array, "b *spatial k"], inside: Array) -> Array:
        pixels = tuple(range(1, line.ndim - 1))
        part, whole = (u * line * inside).sum(pixels), (u * line).sum(pixels)
        return (part + self.smooth) / (whole + self.smooth)


def skeleton(
    x: Float[Array, "b *spatial k"], counts: Bool[Array, "b *spatial 1"], *, iterations: int
) -> Float[Array, "b *spatial k"]:
    """The soft skeleton (algorithm 1) of a map in [0, 1]: what each erosion leaves unopenable."""
    line = jax.nn.relu(x - _dilated(_eroded(x, counts), counts))
    for _ in range(iterations):
        x = _eroded(x, counts)
        ridge = jax.nn.relu(x - _dilated(_eroded(x, counts), counts))
        line = line + jax.nn.relu(ridge - line * ridge)
    return line


def _eroded(x: Float[Array, "b *spatial k"], counts: Array) -> Array:
    """Minimum over the pixel and its neighbours along the axes."""
    x = jnp.where(counts, x, 1.0)
    smallest = x
    for axis in range(1, x.ndim - 1):
        smallest = jnp.minimum(smallest, _of_three(x, axis, jnp.minimum, 1.0))
    return smallest


def _dilated(x: Float[Array, "b *spatial k"], counts: Array) -> Array:
    """Maximum over the pixel and all its neighbours, the diagonal ones too."""
    x = jnp.where(counts, x, 0.0)
    for axis in range(1, x.ndim - 1):
        x = _of_three(x, axis, jnp.maximum, 0.0)
    return x


def _of_three(x: Array, axis: int, choose: Callable[[Array, Array], Array], outside: float):
    size = x.shape[axis]
    margin = [(1, 1) if a == axis else (0, 0) for a in range(x.ndim)]
    padded = jnp.pad(x, margin, constant_values=outside)
    left, right = (jax.lax.slice_in_dim(padded, s, s + size, axis=axis) for s in (0, 2))
    return choose(choose(left, x), right)
