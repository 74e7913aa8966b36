"""How a library would construct a network of ours: the way back from a model to its arguments.

A ``state_dict`` has no say in what is computed with it: its keys fit networks of other rates of
dilation or another upsampling as well.
"""

import inspect
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from jaxseg import fields
from jaxseg.convert.built import Builder
from jaxseg.convert.from_torch import LIBRARIES
from jaxseg.convert.weights import SIZE
from jaxseg.encoders import ENCODERS
from jaxseg.errors import UserError
from jaxseg.types import accepted_size, at_dtype

SAME = {
    "classes": "num_classes",
    "num_classes": "num_classes",
    "out_channels": "num_classes",
    "channels": "widths",
    "strides": "strides",
    "kernel_size": "kernel_size",
    "up_kernel_size": "up_kernel_size",
    "num_res_units": "units",
    "deep_supervision": "deep_supervision",
}
"""Arguments of the libraries, by the field of ours that says the same."""


class Constructor(NamedTuple):
    """A call of a library, of names that `from_torch` takes too."""

    library: str
    arch: str
    kwargs: dict[str, Any]

    def __str__(self) -> str:
        """The call as it is typed in Python."""
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.kwargs.items())
        return f"{self.library}.{self.arch}({arguments})"


def constructor_of(model: nn.Module, library: str, channels: int, rank: int) -> Constructor | None:
    """What of ``library`` computes the same as ``model``; None where none is found.

    Channels, classes, encoder, auxiliary head, widths and strides are tried, all else as the
    library has it by default. The two networks must be one computation to the operation, from
    images that are standardized already.
    """
    program: str | None = None
    for name, arch, kwargs, built in _candidates(model, library, channels, rank):
        if type(built.model) is not type(model) or (built.channels, built.rank) != (channels, rank):
            continue
        if _bare(getattr(built.model, "encoder", None)) != _bare(getattr(model, "encoder", None)):
            continue
        program = program or _program(model, channels, rank)
        if _program(built.model, channels, rank) == program:
            return Constructor(name, arch, kwargs)
    return None


def _candidates(model: nn.Module, library: str, channels: int, rank: int) -> Iterator[tuple]:
    for name, builders in LIBRARIES.items():
        if library not in (name, name.split(".")[0]):
            continue
        for arch, builder in builders.items():
            for kwargs in _arguments(builder, model, channels, rank):
                try:
                    yield name, arch, kwargs, builder(**kwargs)
                except (UserError, TypeError, ValueError):  # a guess that this class does not take
                    continue


def _arguments(builder: Builder, model: Any, channels: int, rank: int) -> Iterator[dict[str, Any]]:
    """Arguments that may be the model's; those that are the library's default come first."""
    takes = inspect.signature(builder).parameters
    fixed = {name: getattr(model, field) for name, field in SAME.items() if hasattr(model, field)}
    fixed |= {"in_channels": channels, "spatial_dims": rank}
    if hasattr(model, "kernels"):
        fixed |= _of_levels(model, rank) | {"input_channels": channels}
    if hasattr(model, "last_width"):
        fixed["features"] = (*model.widths, model.last_width)
    fixed = {name: value for name, value in fixed.items() if name in takes}
    kind, widths = type(getattr(model, "encoder", None)), getattr(model, "widths", None)
    encoders: list[dict[str, Any]] = [{}]
    if "encoder_name" in takes:
        names = [name for name, make in ENCODERS.items() if type(make()) is kind]
        encoders = [{"encoder_name": name} for name in names]
    for of_encoder in encoders:
        for auxiliary in [{}, {"aux_loss": True}] if "aux_loss" in takes else [{}]:
            yield {**of_encoder, **fixed, **auxiliary}
            if widths and "decoder_channels" in takes:
                yield {**of_encoder, **fixed, **auxiliary, "decoder_channels": tuple(widths)}


def _of_levels(model: Any, rank: int) -> dict[str, Any]:
    """Arguments of MONAI's DynUNet and of nnU-Net's classes, with the layers of its plans."""
    auxiliary = getattr(model, "auxiliary", int(getattr(model, "deep_supervision", False)))
    found = {
        "filters": model.widths,
        "kernel_size": model.kernels,
        "upsample_kernel_size": model.strides[1:],
        "res_block": model.block == "residual",
        "deep_supervision": auxiliary > 0,
        "n_stages": len(model.widths),
        "features_per_stage": model.widths,
        "kernel_sizes": model.kernels,
        "strides": model.strides,
        "conv_op": f"torch.nn.modules.conv.Conv{rank}d",
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{rank}d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    if hasattr(model, "auxiliary"):
        return found | {"deep_supr_num": max(auxiliary, 1), "trans_bias": model.up_bias}
    if model.block == "bottleneck":
        narrow = model.bottleneck_widths
        found |= {"block": "BottleneckD", "bottleneck_channels": narrow}
    return found | {
        "n_conv_per_stage": model.depths,
        "n_blocks_per_stage": model.depths,
        "n_conv_per_stage_decoder": model.decoder_depths[::-1],
        "conv_bias": model.use_bias,
        "stem_channels": model.stem_width,
    }


def _bare(node: Any) -> Any:
    """A module without what is made of the image first, which is no part of the weights."""
    if not isinstance(node, nn.Module):
        return node
    changes = {name: _bare(value) for name, value in fields.children(node).items()}
    if "standardize" in changes:
        changes["standardize"] = None
    if "dtype" in changes:
        changes["dtype"] = "float32"
    return node.clone(**changes) if changes else node


def _program(model: nn.Module, channels: int, rank: int) -> str:
    """All that a network computes of an image, as text."""
    model = _bare(at_dtype(model, "float32"))
    size = accepted_size(model, (SIZE,) * rank)
    image = jax.ShapeDtypeStruct((1, *size, channels), "float32")
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image)
    traced = jax.make_jaxpr(lambda v, x: model.apply(v, x, train=False))(variables, image)
    constants = [np.asarray(x).tobytes().hex() for x in traced.consts]
    places = jax.tree.map(lambda leaf: leaf.shape, variables)
    return re.sub(r"0x[0-9a-f]+", "", "\n".join([str(places), str(traced), *constants]))
