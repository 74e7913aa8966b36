"""Feature pyramid: the way down from the coarsest feature to the finest.

Lin, Dollar, Girshick, He, Hariharan, Belongie 2017, https://arxiv.org/abs/1612.03144, figure 3
"""

from jaxtyping import Array, Float

from jaxseg.layers.conv import Conv
from jaxseg.ops import enlarge
from jaxseg.ops.resize import Method


def top_down(
    features: tuple[Float[Array, "b ..."], ...],
    strides: tuple[int, ...],
    width: int,
    method: Method = "nearest",
) -> list[Float[Array, "b ..."]]:
    """P2, P3, ..., finest first: each feature's projection, and the level above it enlarged.

    The projections, 1x1, are submodules of the caller called ``p2_lateral``, ``p3_lateral``, ...;
    the 3x3 convolution that the paper ends each level with is the caller's.
    """
    above, maps = None, []
    for i in reversed(range(len(features))):
        x = Conv(width, kernel_size=1, name=f"p{i + 2}_lateral")(features[i])
        if above is not None:
            x = x + enlarge(above, strides[i + 1] // strides[i], method)
        above = x
        maps.append(x)
    return maps[::-1]
