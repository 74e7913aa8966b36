"""clDice: a topology-preserving loss for tubular structures (Shit et al. 2021)."""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxseg.errors import require
from jaxseg.losses.loss import Label, Logits, PerExample, Valid, Weights
from jaxseg.losses.ramp import Ramp
from jaxseg.losses.targets import Classes, chosen, of_counted, ratio, targets


@dataclass(frozen=True, kw_only=True)
class ClDice:
    """One minus the harmonic mean of how much of each centre line lies in the other's object.

    ``iterations`` of the soft skeleton should be at least the largest radius in pixels (authors'
    code: 3). ``smooth`` stands on both sides of precision and sensitivity, as there. Mean over
    ``classes``, which are to be the tubular ones (of a wide object few erosions leave no line); the
    authors' code pools them. Weights count in the sums, not in the skeleton, which ends at pixels
    that do not count as it does at the border of the image.

    The authors train ``(1 - a) Dice + a ClDice`` with ``a`` at most one half.
    """

    weight: float | Ramp = 1.0
    iterations: int = 3
    smooth: float = 1.0
    classes: Classes = "foreground"

    def __post_init__(self) -> None:
        """Refuse denominators that could vanish."""
        require(self.smooth > 0, "ClDice.smooth", self.smooth, "above 0")
        require(self.iterations >= 0, "ClDice.iterations", self.iterations, "at least 0")

    def __call__(
        self, logits: Logits, label: Label, *, valid: Valid = None, weights: Weights = None
    ) -> PerExample:
        """The loss of each example, in [0, 1]; 0 where every pixel is ignored."""
        t = targets(logits, label, valid=valid, weights=weights)
        p = chosen(self, jax.nn.softmax(t.logits))
        g = chosen(self, t.one_hot)
        u = t.pixels[..., None]
        of_p, of_g = (skeleton(x, u > 0, iterations=self.iterations) for x in (p, g))
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
    eroded = _eroded(x, counts)
    line = _over(x, _dilated(eroded, counts))
    for _ in range(iterations):
        x, eroded = eroded, _eroded(eroded, counts)
        ridge = _over(x, _dilated(eroded, counts))
        line = line + jax.nn.relu(ridge - line * ridge)
    return line


def _over(x: Array, opening: Array) -> Array:
    """The excess of x over its opening, with no gradient where it is 0, as it is in most pixels.

    The two are compared, since the difference may keep the digits that a product lost when it was
    rounded to x (as a fused multiply-add), and is then not 0 where both are equal.
    """
    return jnp.where(x > opening, x - opening, 0.0)


def _eroded(x: Float[Array, "b *spatial k"], counts: Array) -> Array:
    """Minimum over the pixel and its neighbours along the axes."""
    steps = [_step(axis, way, x.ndim - 2) for axis in range(x.ndim - 2) for way in (-1, 1)]
    return _extreme(jnp.where(counts, x, 1.0), (_step(0, 0, x.ndim - 2), *steps), True)


def _dilated(x: Float[Array, "b *spatial k"], counts: Array) -> Array:
    """Maximum over the pixel and all its neighbours, the diagonal ones too."""
    x = jnp.where(counts, x, 0.0)
    for axis in range(x.ndim - 2):
        x = _extreme(x, tuple(_step(axis, way, x.ndim - 2) for way in (-1, 0, 1)), False)
    return x


Step = tuple[int, ...]
"""From a pixel to a neighbour: -1, 0 or 1 on each spatial axis."""


def _step(axis: int, way: int, rank: int) -> Step:
    return tuple(way if a == axis else 0 for a in range(rank))


# The gradient by hand: that of a chain of minima keeps every one of them, and was 15 times slower.
@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _extreme(x: Array, steps: tuple[Step, ...], lowest: bool) -> Array:
    """Minimum or maximum of each pixel's neighbours; those outside of the image do not count."""
    choose, outside = (jnp.minimum, 1.0) if lowest else (jnp.maximum, 0.0)
    return functools.reduce(choose, _moved(x, steps, outside))


def _extreme_forward(x: Array, steps: tuple[Step, ...], lowest: bool):
    y = _extreme(x, steps, lowest)
    return y, (x, y)


def _extreme_backward(steps: tuple[Step, ...], lowest: bool, kept: tuple[Array, Array], dy: Array):
    """Neighbours that are equally extreme share the gradient."""
    x, y = kept
    outside = 1.0 if lowest else 0.0
    dy = dy / sum((there == y).astype(y.dtype) for there in _moved(x, steps, outside))
    back = tuple(tuple(-way for way in step) for step in steps)
    # No number in [0, 1] equals what is outside here: -1.
    pairs = zip(_moved(y, back, -1.0), _moved(dy, back, 0.0), strict=True)
    return (functools.reduce(jnp.add, [jnp.where(x == y, dy, 0.0) for y, dy in pairs]),)


_extreme.defvjp(_extreme_forward, _extreme_backward)


def _moved(x: Array, steps: tuple[Step, ...], outside: float) -> list[Array]:
    """The map as each pixel sees it one of ``steps`` away."""
    margin = [(0, 0), *[(1, 1)] * (x.ndim - 2), (0, 0)]
    padded = jnp.pad(x, margin, constant_values=outside)
    # Written out on CPU, where XLA would test for the edge again at each step: half of the time.
    padded = jax.lax.platform_dependent(
        padded, cpu=jax.lax.optimization_barrier, default=lambda padded: padded
    )
    firsts = [(0, *(1 + way for way in step), 0) for step in steps]
    return [
        jax.lax.slice(padded, first, [at + n for at, n in zip(first, x.shape, strict=True)])
        for first in firsts
    ]
