"""Hybrid dilated convolution (HDC): rates that leave no pixel of their field unseen.

Wang et al. 2018, "Understanding Convolution for Semantic Segmentation",
https://arxiv.org/abs/1702.08502, section 3.2.
"""

from collections.abc import Sequence

import flax.linen as nn
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.layers.activation import Activation
from jaxseg.layers.conv_norm import ConvNorm
from jaxseg.layers.norm import Kind


class HybridDilation(nn.Module):
    """A chain of dilated ``ConvNorm``, one a rate; the rates go through ``check_rates``."""

    features: int
    rates: tuple[int, ...] = (1, 2, 5)
    kernel_size: int = 3
    norm: Kind = "batch"
    activation: Activation = "relu"

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], *, train: bool) -> Float[Array, "b *s k"]:
        """The size stays."""
        check_rates(self.rates, self.kernel_size, f"HybridDilation {self.name}")
        for number, rate in enumerate(self.rates, start=1):
            conv = ConvNorm(
                self.features,
                kernel_size=self.kernel_size,
                dilation=rate,
                norm=self.norm,
                activation=self.activation,
                name=f"conv{number}",
            )
            x = conv(x, train=train)
        return x


def cycle_rates(rates: Sequence[int], depth: int) -> tuple[int, ...]:
    """The rates of ``depth`` layers in a row: the sawtooth of the paper's figure 3.

    The released ResNet-101 is ``(2, 2, 5, 9)``, then ``(1, 2, 5, 9)`` again and again for the 23
    blocks of its fourth stage, and ``(5, 9, 17)`` for the fifth's.
    """
    return tuple(rates[i % len(rates)] for i in range(depth))


def largest_gap(rates: Sequence[int]) -> int:
    """``M_2`` of equation 2: the farthest apart that two pixels seen by layers 2..n may lie.

    ``M_i = max(M_{i+1} - 2 r_i, 2 r_i - M_{i+1}, r_i)``, ``M_n = r_n``.
    """
    gap = rates[-1]
    for rate in reversed(rates[1:-1]):
        gap = max(gap - 2 * rate, 2 * rate - gap, rate)
    return gap


def check_rates(
    rates: Sequence[int], kernel_size: int = 3, layer: str = "hybrid dilation"
) -> tuple[int, ...]:
    """``rates`` again, or UserError where convolutions of these rates in a row leave holes.

    They leave none exactly where, in ascending order, no rate is larger than the field of those
    before it, ``1 + (kernel_size - 1) sum r``. For rates that ascend from 1 and 3x3 kernels this
    is the paper's design rule ``M_2 <= kernel_size``, with its ban on a common factor; the rule
    itself depends on the order, which the holes do not, and is too strict for larger kernels.

    Rates are of a whole path of layers: (5, 9, 17), the fifth stage of the paper's ResNet-101,
    has holes alone and has none after its fourth.
    """
    if not rates or min(rates) < 1:
        raise UserError(f"{layer}: rates={tuple(rates)}; it takes one or more, each at least 1")
    fitting, field = [], 1
    for rate in sorted(rates):
        fitting.append(min(rate, field))
        field += (kernel_size - 1) * fitting[-1]
    if fitting != sorted(rates):
        raise UserError(
            f"{layer}: rates={tuple(rates)} leave pixels of their field unseen (M_2 = "
            f"{largest_gap(rates)}, kernel_size = {kernel_size}); {tuple(fitting)} leave none"
        )
    return tuple(rates)
