"""Where the strides of a chain of blocks go where the output stride is bounded."""

from collections.abc import Iterable
from typing import NamedTuple


class Place(NamedTuple):
    """A block's stride and dilation, and whether it is the first or last one of its feature.

    A feature is what the blocks from one stride to the next make, dilated or not.
    """

    stride: int
    dilation: int
    first: bool
    last: bool


def feature_strides(strides: Iterable[int], output_stride: int, stem: int = 2) -> tuple[int, ...]:
    """Down-sampling of each feature after a stem of that stride; `places` has the blocks'."""
    found = [stem]
    for stride in strides:
        if stride > 1:
            found.append(found[-1] * stride)
    return tuple(min(stride, output_stride) for stride in found)


def places(strides: Iterable[int], output_stride: int, stem: int = 2) -> tuple[Place, ...]:
    """The place of each block after a stem of that stride.

    Beyond ``output_stride`` a stride becomes a dilation of all blocks from its own on, as in
    TF-DeepLab and segmentation_models_pytorch.
    """
    strides = tuple(strides)
    found, nominal = [], stem
    for i, stride in enumerate(strides):
        before, nominal = min(nominal, output_stride), nominal * stride
        now = min(nominal, output_stride)
        last = strides[i + 1 : i + 2] != (1,)
        found.append(Place(now // before, nominal // now, stride > 1, last))
    return tuple(found)
