"""nnU-Net's networks: for each class of dynamic_network_architectures, what computes the same here.

Classes of PyTorch are given by their names, as nnU-Net's plans have them:
``torch.nn.modules.conv.Conv3d``.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from jaxseg.convert.adn import adn
from jaxseg.convert.built import Builder, Built, same
from jaxseg.errors import UserError, require, unknown
from jaxseg.layers import ADN
from jaxseg.models import DynUNet

Arguments = Mapping[str, Any] | None
Several = int | Sequence[Any]
"""One for all stages, or one for each."""


def plain_conv_unet(
    *,
    input_channels: int,
    n_stages: int,
    features_per_stage: Several,
    conv_op: str,
    kernel_sizes: Several,
    strides: Several,
    n_conv_per_stage: Several,
    num_classes: int,
    n_conv_per_stage_decoder: Several,
    conv_bias: bool = False,
    norm_op: str | None = None,
    norm_op_kwargs: Arguments = None,
    dropout_op: str | None = None,
    dropout_op_kwargs: Arguments = None,
    nonlin: str | None = None,
    nonlin_kwargs: Arguments = None,
    deep_supervision: bool = False,
    nonlin_first: bool = False,
) -> Built:
    """``PlainConvUNet``."""
    rank = _rank(conv_op)
    dropped = _dropout(dropout_op, dropout_op_kwargs)
    after = _after(rank, (norm_op, norm_op_kwargs), dropped, (nonlin, nonlin_kwargs))
    # with one of the two alone there is nothing to exchange
    both = after.norm != "none" and after.activation != "none"
    model = DynUNet(
        num_classes,
        **_levels(n_stages, features_per_stage, kernel_sizes, strides),
        depths=_each("n_conv_per_stage", n_conv_per_stage, n_stages),
        decoder_depths=_upwards(n_conv_per_stage_decoder, n_stages),
        deep_supervision=deep_supervision,
        after=after.clone(order="DAN" if nonlin_first and both else "DNA"),
        use_bias=conv_bias,
    )
    return Built(model, input_channels, rank)


def residual_encoder_unet(
    decoder: Literal["plain", "residual"],
    *,
    input_channels: int,
    n_stages: int,
    features_per_stage: Several,
    conv_op: str,
    kernel_sizes: Several,
    strides: Several,
    n_blocks_per_stage: Several,
    num_classes: int,
    n_conv_per_stage_decoder: Several,
    conv_bias: bool = False,
    norm_op: str | None = None,
    norm_op_kwargs: Arguments = None,
    dropout_op: str | None = None,
    dropout_op_kwargs: Arguments = None,
    nonlin: str | None = None,
    nonlin_kwargs: Arguments = None,
    deep_supervision: bool = False,
    block: str = "BasicBlockD",
    bottleneck_channels: Several | None = None,
    stem_channels: int | None = None,
) -> Built:
    """``ResidualEncoderUNet``, and ``ResidualUNet``, which has blocks on the way up too."""
    rank, kind = _rank(conv_op), block.rpartition(".")[2]
    same("block", kind, "BasicBlockD", "BottleneckD")
    three = kind == "BottleneckD"
    dropped = _dropout(dropout_op, dropout_op_kwargs)
    if three and bottleneck_channels is None:
        raise UserError("bottleneck_channels is missing, which block='BottleneckD' needs")
    narrow = _each("bottleneck_channels", bottleneck_channels, n_stages) if three else ()
    model = DynUNet(
        num_classes,
        **_levels(n_stages, features_per_stage, kernel_sizes, strides),
        depths=_each("n_blocks_per_stage", n_blocks_per_stage, n_stages),
        decoder_depths=_upwards(n_conv_per_stage_decoder, n_stages),
        block="bottleneck" if three else "residual",
        decoder_block=decoder,
        bottleneck_widths=narrow,
        stem_width=stem_channels,
        deep_supervision=deep_supervision,
        after=_after(rank, (norm_op, norm_op_kwargs), dropped, (nonlin, nonlin_kwargs)),
        use_bias=conv_bias,
    )
    return Built(model, input_channels, rank)


NETWORKS: Mapping[str, Builder] = {
    "PlainConvUNet": plain_conv_unet,
    "ResidualEncoderUNet": functools.partial(residual_encoder_unet, "plain"),
    "ResidualUNet": functools.partial(residual_encoder_unet, "residual"),
}
"""Classes of ``dynamic_network_architectures.architectures.unet``, by name."""


def _levels(stages: int, features: Several, kernels: Several, strides: Several) -> dict[str, Any]:
    return {
        "widths": _each("features_per_stage", features, stages),
        "kernels": _each("kernel_sizes", kernels, stages),
        "strides": _each("strides", strides, stages),
    }


def _upwards(depths: Several, stages: int) -> tuple[Any, ...]:
    """Of the decoder's stages, finest first; theirs begin at the coarsest."""
    return _each("n_conv_per_stage_decoder", depths, stages - 1)[::-1]


def _each(argument: str, value: Any, count: int) -> tuple[Any, ...]:
    if isinstance(value, int):
        return (value,) * count
    require(len(value) == count, argument, value, f"one number, or {count} entries by n_stages")
    return tuple(one if isinstance(one, int) else tuple(one) for one in value)


# --- classes of PyTorch by name -------------------------------------------------------------------

Op = tuple[str | None, Arguments]
"""A class and its arguments."""

_ACTS = ("LeakyReLU", "ReLU", "ReLU6", "PReLU", "ELU", "CELU", "SELU", "GELU", "SiLU", "Mish")
_NORMS = {"InstanceNorm": "instance", "BatchNorm": "batch"}
_DROPOUTS = ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d")


def _rank(conv_op: str) -> int:
    name = conv_op.rpartition(".")[2]
    same("conv_op", name, "Conv1d", "Conv2d", "Conv3d")
    return int(name[4])


def _after(rank: int, norm_op: Op, dropped: ADN, nonlin: Op) -> ADN:
    """What follows each convolution: dropout, norm and activation."""
    norm, act = None, None
    if norm_op[0] is not None:
        kind, its_rank = re.fullmatch(r"(.*?)(\dd)?", norm_op[0].rpartition(".")[2]).groups()  # pyright: ignore
        if kind not in _NORMS:
            raise unknown("norm_op: nothing is here that is called", kind, _NORMS)
        require(its_rank == f"{rank}d", "norm_op", norm_op[0], f"for {rank} axes, as conv_op is")
        norm = (_NORMS[kind], norm_op[1] or {})
    if nonlin[0] is not None:
        name = nonlin[0].rpartition(".")[2]
        if name not in _ACTS:
            raise unknown("nonlin: nothing is here that is called", name, _ACTS)
        act = ("swish" if name == "SiLU" else name.lower(), nonlin[1] or {})
    after = adn(act, norm, None, "DNA")
    return after.clone(dropout=dropped.dropout, dropped=dropped.dropped)


def _dropout(op: str | None, arguments: Arguments) -> ADN:
    """An `ADN` that only drops."""
    if op is None:
        return ADN("none", "none")
    name = op.rpartition(".")[2]
    if name not in _DROPOUTS:
        raise unknown("dropout_op: nothing is here that is called", name, _DROPOUTS)
    after = adn(None, None, ("dropout", arguments or {}))
    what = "above 0; leave dropout_op out where nothing is dropped"
    require(after.dropout > 0, "dropout_op_kwargs: p", after.dropout, what)
    return after.clone(dropped="numbers" if name == "Dropout" else "channels")
