"""Networks, a paper a file. ``MODELS`` is the one list of them."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn

from jaxseg import encoders
from jaxseg.encoders import Plain
from jaxseg.errors import UserError, require, unknown
from jaxseg.fields import check, configurable
from jaxseg.models.aspp_nonlocal import ASPPNonLocal
from jaxseg.models.attention_unet import AttentionUNet
from jaxseg.models.autofocus import Autofocus
from jaxseg.models.baseline_unet import BaselineUNet
from jaxseg.models.basic_unet import BasicUNet
from jaxseg.models.basic_unet_plus_plus import BasicUNetPlusPlus
from jaxseg.models.cbam_unet import CBAMUNet
from jaxseg.models.ce_net import CENet
from jaxseg.models.danet import DANet
from jaxseg.models.deconvnet import DeconvNet
from jaxseg.models.deeplab_v1 import DeepLabV1
from jaxseg.models.deeplab_v2 import DeepLabV2
from jaxseg.models.deeplab_v3 import DeepLabV3
from jaxseg.models.deeplab_v3_plus import DeepLabV3Plus
from jaxseg.models.dense_unet import DenseUNet
from jaxseg.models.dynunet import DynUNet
from jaxseg.models.enet import ENet
from jaxseg.models.espnet import ESPNet
from jaxseg.models.espnet_v2 import ESPNetV2
from jaxseg.models.fc_densenet import FCDenseNet
from jaxseg.models.fc_resnet import FCResNet
from jaxseg.models.fcn import FCN
from jaxseg.models.fcn_2015 import FCN2015
from jaxseg.models.fpn import FPN
from jaxseg.models.h_denseunet import HDenseUNet
from jaxseg.models.hdc_duc import HDCDUC
from jaxseg.models.highres3dnet import HighRes3DNet
from jaxseg.models.inception_unet import InceptionUNet
from jaxseg.models.kinet import KiNet
from jaxseg.models.kiunet import KiUNet
from jaxseg.models.linknet import LinkNet
from jaxseg.models.lraspp import LRASPP
from jaxseg.models.lw_hcn import LWHCN
from jaxseg.models.manet import MANet
from jaxseg.models.meshnet import MeshNet
from jaxseg.models.monai_dynunet import MonaiDynUNet
from jaxseg.models.monai_unet import MonaiUNet
from jaxseg.models.monai_vnet import MonaiVNet
from jaxseg.models.msga import MSGA
from jaxseg.models.multiresunet import MultiResUNet
from jaxseg.models.nas_unet import GENOTYPES as GENOTYPES
from jaxseg.models.nas_unet import Genotype as Genotype
from jaxseg.models.nas_unet import NASUNet
from jaxseg.models.nonlocal_unet import NonLocalUNet
from jaxseg.models.normalized import Normalized as Normalized
from jaxseg.models.pan import PAN
from jaxseg.models.pspnet import PSPNet
from jaxseg.models.r2unet import R2UNet
from jaxseg.models.refinenet import RefineNet
from jaxseg.models.reversible_unet import ReversibleUNet
from jaxseg.models.scse_unet import SCSEUNet
from jaxseg.models.segformer import SegFormer
from jaxseg.models.segnet import SegNet
from jaxseg.models.segnet_basic import SegNetBasic
from jaxseg.models.segresnet import SegResNet
from jaxseg.models.segresnet import Variational as Variational
from jaxseg.models.swin_unetr import SwinUNETR
from jaxseg.models.unet import UNet
from jaxseg.models.unet_3d import UNet3D
from jaxseg.models.unet_3plus import UNet3Plus
from jaxseg.models.unet_2015 import UNet2015
from jaxseg.models.unet_multi_output import UNetMultiOutput
from jaxseg.models.unet_plus_plus import UNetPlusPlus
from jaxseg.models.unetr import UNETR
from jaxseg.models.upernet import UPerNet
from jaxseg.models.vnet import VNet
from jaxseg.types import DTYPES

MODELS: dict[str, Callable[..., nn.Module]] = {
    "aspp_nonlocal": ASPPNonLocal,
    "attention_unet": AttentionUNet,
    "autofocus": Autofocus,
    "baseline_unet": BaselineUNet,
    "basic_unet": BasicUNet,
    "basic_unet_plus_plus": BasicUNetPlusPlus,
    "cbam_unet": CBAMUNet,
    "ce_net": CENet,
    "danet": DANet,
    "deconvnet": DeconvNet,
    "dense_unet": DenseUNet,
    "dynunet": DynUNet,
    "dynunet_residual": functools.partial(
        DynUNet, block="residual", depths=(1, 3, 4, 6, 6, 6), decoder_depths=(1,) * 5
    ),
    "enet": ENet,
    "espnet": ESPNet,
    "espnet_c": functools.partial(ESPNet, decoder="none"),
    "espnet_v2": ESPNetV2,
    "fc_densenet56": functools.partial(FCDenseNet, layers=(4,) * 6, growth=12),
    "fc_densenet67": functools.partial(FCDenseNet, layers=(5,) * 6),
    "fc_densenet103": FCDenseNet,
    "fc_resnet": FCResNet,
    "fcn": FCN,
    "fcn32s": functools.partial(FCN2015, form="32s"),
    "fcn16s": functools.partial(FCN2015, form="16s"),
    "fcn8s": functools.partial(FCN2015, form="8s"),
    "fcn8s_at_once": functools.partial(FCN2015, form="8s_at_once"),
    "fcn_alexnet": functools.partial(FCN2015, form="32s", trunk="caffenet"),
    "deeplab_v1": DeepLabV1,
    "deeplab_v2": DeepLabV2,
    "deeplab_v3": DeepLabV3,
    "deeplab_v3_plus": DeepLabV3Plus,
    "fpn": FPN,
    "h_denseunet": HDenseUNet,
    "hdc_duc": HDCDUC,
    "highres3dnet": HighRes3DNet,
    "segnet": SegNet,
    "segnet_basic": SegNetBasic,
    "kinet": KiNet,
    "kiunet": KiUNet,
    "linknet": LinkNet,
    "lraspp": LRASPP,
    "lw_hcn": LWHCN,
    "manet": MANet,
    "inception_unet": InceptionUNet,
    "meshnet": MeshNet,
    "monai_dynunet": MonaiDynUNet,
    "monai_unet": MonaiUNet,
    "monai_vnet": MonaiVNet,
    "msga": MSGA,
    "multiresunet": MultiResUNet,
    "nas_unet": NASUNet,
    "nonlocal_unet": NonLocalUNet,
    "pan": PAN,
    "pspnet": PSPNet,
    "r2unet": R2UNet,
    "r2_attention_unet": functools.partial(R2UNet, gates="attention"),
    "refinenet": RefineNet,
    "reversible_unet": ReversibleUNet,
    "scse_unet": SCSEUNet,
    "segformer": SegFormer,
    "segresnet": SegResNet,
    "segresnet_vae": functools.partial(SegResNet, branch=Variational()),
    "swin_unetr": SwinUNETR,
    "unet": UNet,
    "unet_2015": UNet2015,
    "unet_3d": UNet3D,
    "unet_3plus": UNet3Plus,
    "unet_ensemble": functools.partial(UNetPlusPlus, skips="encoder", mode="ensemble"),
    "unet_multi_output": UNetMultiOutput,
    "unet_plus": functools.partial(UNetPlusPlus, skips="short"),
    "unet_plus_plus": UNetPlusPlus,
    "unetr": UNETR,
    "upernet": UPerNet,
    "vnet": VNet,
    "wide_unet": functools.partial(UNet, encoder=Plain((35, 70, 140, 280, 560), norm="none")),
}


def create(name: str, *, num_classes: int, **fields: Any) -> nn.Module:
    """The network of that name; an ``encoder`` may be given by its name in ``ENCODERS``.

    UserError names the nearest known model, encoder or field, or the value that its field, or one
    of its encoder, cannot have.
    """
    if name not in MODELS:
        raise unknown("no model is called", name, MODELS)
    names = configurable(class_of(name))
    for field in fields:
        if field not in names:
            raise unknown(f"no field of {name} is called", field, names)
    named = fields.pop("encoder") if isinstance(fields.get("encoder"), str) else None
    model = MODELS[name](num_classes=num_classes, **fields)
    check(model, f"{name}.")
    require(num_classes >= 1, f"{name}.num_classes", num_classes, "at least 1")
    dtype = getattr(model, "dtype", "float32")
    require(dtype in DTYPES, f"{name}.dtype", dtype, f"among {', '.join(DTYPES)}")
    if named is None:
        return model
    return model.clone(encoder=encoder_like(model.encoder, named))  # pyright: ignore


def class_of(name: str) -> type[nn.Module]:
    """The class of an entry of ``MODELS``, which may be a partial of one."""
    entry: Any = MODELS[name]
    while isinstance(entry, functools.partial):
        entry = entry.func
    return entry


def encoder_like(before: nn.Module, name: str) -> nn.Module:
    """The encoder of that name, in the place of ``before``: dilated to the same output stride.

    UserError where a network asks for an output stride that the encoder cannot have.
    """
    encoder = encoders.create(name)
    wanted = getattr(before, "output_stride", None)
    if wanted == getattr(type(before), "output_stride", None):  # nothing that anybody asked for
        return encoder
    if not hasattr(encoder, "output_stride"):
        raise UserError(
            f"encoder {name!r} has no output_stride={wanted}, which this network asks for; choose "
            "one that can be dilated, such as 'resnet50'"
        )
    return encoder.clone(output_stride=wanted)
