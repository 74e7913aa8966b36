"""A network of PyTorch's libraries as one of ours that computes the same, and back."""

import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import numpy as np

from jaxseg.convert import bioimage, espnet, meshnet, monai, nnunetv2, timm, torchvision
from jaxseg.convert import dynamic_network_architectures as dynamic
from jaxseg.convert import segmentation_models_pytorch as smp
from jaxseg.convert.built import Builder, Built, build
from jaxseg.convert.names import names_of
from jaxseg.convert.weights import emptied, filled, shapes_of
from jaxseg.errors import UserError, unknown

LIBRARIES: Mapping[str, Mapping[str, Builder]] = {
    "torchvision.models": torchvision.CLASSIFIERS,
    "torchvision.models.segmentation": torchvision.SEGMENTATION,
    "sacmehta/ESPNet": espnet.ESPNETS,
    "sacmehta/ESPNetv2": espnet.ESPNETS_V2,
    "monai.networks.nets": monai.NETWORKS,
    "timm": timm.MODELS,
    "segmentation_models_pytorch": smp.NETWORKS,
    "bioimage.io": bioimage.NETWORKS,
    "brainchop": meshnet.BRAINCHOP,
    "Entodi/meshnet-pytorch": meshnet.AUTHORS,
    "dynamic_network_architectures": dynamic.NETWORKS,
    "dynamic_network_architectures.architectures.unet": dynamic.NETWORKS,
    "nnunetv2": {
        name: functools.partial(nnunetv2.network, name) for name in nnunetv2.CONFIGURATIONS
    },
}
"""What is known of each library, by the name of its builder or class."""


def from_torch(
    library: str, arch: str, kwargs: Mapping[str, Any], state_dict: Mapping[str, Any]
) -> tuple[nn.Module, dict[str, Any]]:
    """The network that computes what ``library``'s ``arch(**kwargs)`` does, with its weights.

    ``state_dict`` are arrays by PyTorch's keys (`jaxseg.convert.read` gives them). Every key is
    used but ``num_batches_tracked`` and others of which no output depends; numbers become float32.

    UserError where library, arch or an argument is unknown, where nothing here computes what an
    argument asks for, and, all in one line, for keys that are missing, not expected, of another
    shape or not finite.
    """
    made = counterpart(library, arch, kwargs)
    shapes = shapes_of(made.model, made.channels, made.rank)
    try:
        variables = filled(shapes, state_dict, names_of(made.model, library))
        _check_tables(constants_of(made.model, library, variables), state_dict)
    except UserError as error:
        raise UserError(f"{library} {arch}: {error}") from error
    return made.model, variables


def counterpart(library: str, arch: str, kwargs: Mapping[str, Any]) -> Built:
    """The network of ours that ``library``'s ``arch(**kwargs)`` is, and what images it takes.

    UserError as of `from_torch`, but for the weights.
    """
    return build(_builder(library, arch), arch, kwargs)


def to_torch(
    model: nn.Module, variables: Mapping[str, Any], library: str | None = None
) -> dict[str, np.ndarray]:
    """The ``state_dict`` of the peer that computes what ``model`` does: `from_torch` the other way.

    ``library`` None is the first whose keys the model knows for all of its variables. Optimizer
    and step are no part of it; a norm's ``num_batches_tracked`` is 0.

    UserError where no library, or not that one, has such a network.
    """
    of, known = type(model).__name__, _libraries_of(model)
    if library and library.split(".")[0] not in known:
        raise unknown(f"{of}: no names are known of the library", library, known)
    tried = [library] if library else known
    lacking: list[str] = []
    for name in tried:
        state_dict, missing = emptied(variables, names_of(model, name))
        if not missing:
            return state_dict | constants_of(model, name, variables)
        lacking.append(f"{name} has no key for {'/'.join(missing[0])}")
    raise UserError(f"{of}: no PyTorch library's names fit ({'; '.join(lacking) or 'none known'})")


def constants_of(
    model: nn.Module, library: str, variables: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """What every such network of the library has in its ``state_dict`` beside its weights."""
    known = getattr(model, "constants", None)
    return known(library.split(".")[0], variables) if known else {}


def _check_tables(constants: Mapping[str, np.ndarray], state_dict: Mapping[str, Any]) -> None:
    """Refuse indices by which the peer would read its weights in another order than ours."""
    for key, value in constants.items():
        table = np.issubdtype(value.dtype, np.integer) and key in state_dict
        if table and not np.array_equal(np.asarray(state_dict[key]), value):
            raise UserError(f"{key} holds other numbers than those that ours computes by")


def _builder(library: str, arch: str) -> Builder:
    if library not in LIBRARIES:
        raise unknown("no library is called", library, LIBRARIES)
    known = LIBRARIES[library]
    if library == "timm":  # what follows the dot names weights, as in "resnet18.a1_in1k"
        arch = arch.split(".")[0]
    if library == "nnunetv2":  # plans name their configurations, and say which there are
        return functools.partial(nnunetv2.network, arch)
    if arch not in known:
        raise unknown(f"{library}: no network is here that is called", arch, known)
    return known[arch]


def _libraries_of(model: nn.Module) -> list[str]:
    """The libraries of which the network, or else its encoder, has a table."""
    tables = getattr(model, "names", {}) or getattr(getattr(model, "encoder", None), "names", {})
    return list(tables)
