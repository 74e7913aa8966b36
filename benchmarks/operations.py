"""The operations that ``layers`` times: in jaxseg, as one would write them naively, in PyTorch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.layers import Conv, Norm, TransposedConv
from jaxseg.ops import enlarge, max_pool
from jaxseg.ops.resize import Method

Apply = Callable[[Any, jax.Array], Any]  # (variables, x) -> y


@dataclass(frozen=True)
class Operation:
    """One operation on ``[b *size channels]``, here and there."""

    size: tuple[int, ...]
    channels: int
    module: nn.Module | None  # whose parameters all forms share; None: it has none
    chosen: Apply
    naive: Apply
    network: str
    fields: Mapping[str, Any]


def conv(size, channels, features, kernel=3, *, stride=1, dilation=1, groups=1) -> Operation:
    """A convolution without bias."""
    how: Any = {"stride": stride, "dilation": dilation, "groups": groups}
    module = Conv(features, kernel_size=kernel, use_bias=False, **how)
    rank, pad = len(size), dilation * (kernel - 1) // 2
    space = "DHW"[-rank:]

    def naive(variables, x):
        return jax.lax.conv_general_dilated(
            x,
            variables["params"]["kernel"].astype(x.dtype),
            (stride,) * rank,
            [(pad, pad)] * rank,
            rhs_dilation=(dilation,) * rank,
            dimension_numbers=(f"N{space}C", f"{space}IO", f"N{space}C"),
            feature_group_count=groups,
        )

    fields = {"rank": rank, "inputs": channels, "outputs": features, "kernel": kernel, **how}
    return Operation(size, channels, module, module.apply, naive, "convolution", fields)


def depthwise(size, channels, kernel=3, **how) -> Operation:
    """A convolution with one kernel a channel."""
    return conv(size, channels, channels, kernel, groups=channels, **how)


def transposed(size, channels, features, kernel_size=2, padding=0) -> Operation:
    """A transposed convolution by 2."""
    shape: Any = {"kernel_size": kernel_size, "padding": padding}
    module, rank = TransposedConv(features, use_bias=False, **shape), len(size)
    pad = kernel_size - 1 - padding

    def naive(variables, x):
        kernel = jnp.flip(variables["params"]["kernel"], range(rank)).astype(x.dtype)
        return jax.lax.conv_transpose(x, kernel, (2,) * rank, ((pad, pad),) * rank)

    fields = {"rank": rank, "inputs": channels, "outputs": features, "stride": 2}
    fields |= {"kernel": kernel_size, "padding": padding}
    return Operation(size, channels, module, module.apply, naive, "transposed", fields)


def pool(size, channels, window=2, stride=2, padding=0) -> Operation:
    """Max pooling."""
    rank = len(size)

    def chosen(_, x):
        return max_pool(x, window, stride=stride, padding=padding)

    def naive(_, x):
        pads: Any = ((padding, padding),) * rank
        return nn.max_pool(x, (window,) * rank, (stride,) * rank, pads)

    fields = {"rank": rank, "window": window, "stride": stride, "padding": padding}
    return Operation(size, channels, None, chosen, naive, "pool", fields)


def norm(size, channels, kind="batch") -> Operation:
    """A norm in training mode, and ReLU."""
    groups = {"group": 16, "instance": channels}.get(kind)
    group = kind if kind == "batch" else "group"
    module = Norm(group, groups=groups, activation="relu")

    def chosen(variables, x):
        return module.apply(variables, x, train=True, mutable=["batch_stats"])[0]

    def naive(variables, x):
        if kind == "batch":
            flax_norm = nn.BatchNorm(False, momentum=0.9, epsilon=1e-5, dtype=x.dtype)
        else:
            flax_norm = nn.GroupNorm(groups, epsilon=1e-5, dtype=x.dtype)
        return nn.relu(flax_norm.apply(variables, x, mutable=["batch_stats"])[0])

    fields = {"kind": group, "rank": len(size), "channels": channels, "groups": groups}
    return Operation(size, channels, module, chosen, naive, "normalized", fields)


def upsample(size, channels, method: Method = "linear") -> Operation:
    """An enlargement by 2."""

    def chosen(_, x):
        return enlarge(x, 2, method)

    def naive(_, x):
        return jax.image.resize(x, (len(x), *(2 * n for n in x.shape[1:-1]), channels), method)

    fields = {"rank": len(size), "factor": 2, "method": method}
    return Operation(size, channels, None, chosen, naive, "upsample", fields)


OPERATIONS = {
    "conv_3x3_3_to_64": conv((256, 256), 3, 64),
    "conv_3x3_16": conv((256, 256), 16, 16),
    "conv_3x3_64": conv((128, 128), 64, 64),
    "conv_3x3_256": conv((32, 32), 256, 256),
    "conv_3x3_1024": conv((16, 16), 1024, 1024),
    "conv_3x3_stride_2": conv((128, 128), 64, 128, stride=2),
    "conv_7x7_stride_2": conv((256, 256), 3, 64, 7, stride=2),
    "conv_1x1_256": conv((64, 64), 256, 256, 1),
    "conv_1x1_stride_2": conv((64, 64), 64, 128, 1, stride=2),
    "dilated_2": conv((64, 64), 128, 128, dilation=2),
    "dilated_12": conv((64, 64), 128, 128, dilation=12),
    "depthwise_3x3": depthwise((128, 128), 64),
    "depthwise_3x3_stride_2": depthwise((128, 128), 64, stride=2),
    "depthwise_3x3_dilated_6": depthwise((64, 64), 256, dilation=6),
    "depthwise_5x5_384": depthwise((64, 64), 384, 5),
    "depthwise_7x7": depthwise((64, 64), 64, 7),
    "depthwise_3d": depthwise((32, 32, 32), 16),
    "grouped_32": conv((32, 32), 256, 256, groups=32),
    "transposed_2d": transposed((64, 64), 128, 64),
    "transposed_4_stride_2": transposed((64, 64), 128, 64, 4, 1),
    "transposed_3d": transposed((32, 32, 32), 32, 16),
    "max_pool_2d": pool((256, 256), 64),
    "max_pool_2d_overlapping": pool((128, 128), 64, 3, 2, 1),
    "max_pool_3d": pool((64, 64, 64), 16),
    "batch_norm_relu": norm((256, 256), 64),
    "batch_norm_relu_3d": norm((64, 64, 64), 16),
    "group_norm_relu": norm((128, 128), 64, "group"),
    "instance_norm_relu_3d": norm((64, 64, 64), 16, "instance"),
    "bilinear": upsample((64, 64), 64),
    "trilinear": upsample((32, 32, 32), 16),
    "nearest": upsample((64, 64), 64, "nearest"),
    "conv_3d_1_to_16": conv((64, 64, 64), 1, 16),
    "conv_3d_16": conv((64, 64, 64), 16, 16),
    "conv_3d_32": conv((32, 32, 32), 32, 32),
    "conv_3d_5_16": conv((32, 32, 32), 16, 16, 5),
    "conv_3d_stride_2": conv((32, 32, 32), 16, 32, stride=2),
}
