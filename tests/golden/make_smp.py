"""Make records of segmentation_models_pytorch's networks, and one of torchvision's: records.zip.

    python tests/golden/make_smp.py

Needs torch 2.13.0, torchvision 0.28.0, timm 1.0.31 and segmentation_models_pytorch 0.6.0. A record
says how a network is constructed there, the keys of its weights and some of its outputs. It holds
no weights: those of a key are drawn from a generator whose seed is the key (tests/models/peers.py).
"""

import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import torch

OPERATORS = torch.library.Library("torchvision", "DEF")  # torchvision's wheel is CUDA's
for name in ("nms", "qnms"):
    OPERATORS.define(f"{name}(Tensor dets, Tensor scores, float threshold) -> Tensor")

import segmentation_models_pytorch as smp  # noqa: E402
import torchvision  # noqa: E402
from torchvision.models import segmentation  # noqa: E402

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.golden.weights import weight  # noqa: E402

RECORDS = Path(__file__).parent / "records.zip"
NEAR = {"decoder_interpolation": "bilinear"}
NETWORKS = {
    "smp_unet_mit_b0_scse": ("Unet", {"encoder_name": "mit_b0", "decoder_attention_type": "scse"}),
    "smp_unet_tu_resnet34_depth4": (
        "Unet",
        {
            "encoder_name": "tu-resnet34",
            "encoder_depth": 4,
            "decoder_channels": [96, 64, 32, 16],
            "decoder_use_norm": {"type": "instancenorm", "affine": True},
            **NEAR,
        },
    ),
    "smp_unetplusplus_vgg11_depth3": (
        "UnetPlusPlus",
        {
            "encoder_name": "vgg11",
            "encoder_depth": 3,
            "decoder_channels": [64, 48, 32],
            "decoder_attention_type": "scse",
            "decoder_use_norm": False,
        },
    ),
    "smp_manet_resnet18_depth4": (
        "MAnet",
        {
            "encoder_name": "resnet18",
            "encoder_depth": 4,
            "decoder_channels": [64, 48, 32, 16],
            "decoder_pab_channels": 32,
            **NEAR,
        },
    ),
    "smp_fpn_resnet18_cat_depth3": (
        "FPN",
        {
            "encoder_name": "resnet18",
            "encoder_depth": 3,
            "decoder_merge_policy": "cat",
            "decoder_pyramid_channels": 64,
            "decoder_segmentation_channels": 32,
            "upsampling": 1,
            **NEAR,
        },
    ),
    "smp_deeplabv3_resnet18_separable_os16": (
        "DeepLabV3",
        {
            "encoder_name": "resnet18",
            "encoder_output_stride": 16,
            "decoder_atrous_rates": [3, 5, 7],
            "decoder_aspp_separable": True,
            "decoder_channels": 64,
        },
    ),
    "smp_deeplabv3plus_tu_resnet50_depth4_os8": (
        "DeepLabV3Plus",
        {
            "encoder_name": "tu-resnet50",
            "encoder_depth": 4,
            "encoder_output_stride": 8,
            "decoder_aspp_separable": False,
            "decoder_channels": 48,
        },
    ),
    "smp_upernet_mobilenet_v2_depth4": (
        "UPerNet",
        {
            "encoder_name": "mobilenet_v2",
            "encoder_depth": 4,
            "decoder_channels": 64,
            "decoder_use_norm": False,
        },
    ),
    "smp_unet_timm_efficientnet_lite1_depth4": (
        "Unet",
        {
            "encoder_name": "timm-tf_efficientnet_lite1",
            "encoder_depth": 4,
            "decoder_channels": [48, 32, 16, 16],
        },
    ),
    "smp_unet_resnet18_odd_size": ("Unet", {"encoder_name": "resnet18", **NEAR}, (1, 3, 45, 70)),
    "tv_deeplabv3_mobilenet_v3_large": (
        "deeplabv3_mobilenet_v3_large",
        {"num_classes": 5, "aux_loss": True},
        (1, 3, 64, 97),
    ),
    "smp_segformer_densenet121_depth3": (
        "Segformer",
        {
            "encoder_name": "densenet121",
            "encoder_depth": 3,
            "decoder_segmentation_channels": 48,
        },
    ),
}
"""Class and arguments by the record's name, and the shape of the image, if not the usual one."""


def constructed(name, arch, kwargs, channels):
    """The library, its version, the arguments and the network."""
    if name.startswith("tv_"):
        model = getattr(segmentation, arch)(weights=None, weights_backbone=None, **kwargs)
        return "torchvision.models.segmentation", torchvision.__version__, kwargs, model.eval()
    kwargs = {"in_channels": channels, "classes": 3, **kwargs}
    model = getattr(smp, arch)(**kwargs, encoder_weights=None)
    return "segmentation_models_pytorch", smp.__version__, kwargs, model.eval()


def record(name, arch, kwargs, shape=(2, 2, 64, 64), seed=7):
    """The record, and all numbers of the output."""
    library, version, kwargs, model = constructed(name, arch, kwargs, shape[1])
    state = {k: v.shape for k, v in model.state_dict().items()}
    model.load_state_dict({k: torch.from_numpy(np.asarray(weight(k, s))) for k, s in state.items()})
    image = np.random.RandomState(seed).standard_normal(shape).astype("f4")
    with torch.no_grad():
        out = model(torch.from_numpy(image))
    out = (out["out"] if isinstance(out, dict) else out).numpy()
    indices = np.sort(np.random.RandomState(0).permutation(out.size)[:256])
    return {
        "name": name,
        "library": library,
        "version": version,
        "arch": arch,
        "kwargs": kwargs,
        "torch": torch.__version__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "input": {"shape": list(shape), "seed": seed, "layout": "NCHW"},
        "state_dict": [[k, list(s)] for k, s in state.items()],
        "outputs": {
            "out": {
                "shape": list(out.shape),
                "indices": indices.tolist(),
                "values": [float(x) for x in out.reshape(-1)[indices]],
                "mean": float(out.mean()),
                "std": float(out.std()),
            }
        },
    }, out


def main():
    """Add the records that are not in the file yet."""
    with zipfile.ZipFile(RECORDS, "a", zipfile.ZIP_DEFLATED) as file:
        there = set(file.namelist())
        for name, described in NETWORKS.items():
            if f"{name}.json" not in there:
                file.writestr(f"{name}.json", json.dumps(record(name, *described)[0]))


if __name__ == "__main__":
    main()
