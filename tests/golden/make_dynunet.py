"""Make dynunet.json: records of nnU-Net's networks and MONAI's DynUNet at settings that differ.

    python tests/golden/make_dynunet.py

Needs torch 2.13.0, monai 1.6.1 and dynamic_network_architectures 0.4.4. Records are as those of
make_converted.py; of several outputs the coarsest is first. nnunet/ is a folder of results as
nnU-Net 2.8 writes it: the first network's plans, a checkpoint in both of PyTorch's formats, and its
outputs.
"""

import json
import pydoc
from pathlib import Path

import make_converted
import numpy as np
import torch
from dynamic_network_architectures.architectures import unet
from monai.networks import nets

LIBRARY = "dynamic_network_architectures"
CLASSES = ("conv_op", "norm_op", "dropout_op", "nonlin")


def of_rank(rank, **kwargs):
    """Arguments as nnU-Net's plans have them."""
    return {
        "conv_op": f"torch.nn.modules.conv.Conv{rank}d",
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{rank}d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
        "conv_bias": True,
        "num_classes": 3,
        **kwargs,
    }


ANISOTROPIC = {
    "n_stages": 3,
    "features_per_stage": [4, 6, 8],
    "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
    "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
    "deep_supervision": True,
}
FLAT = {"n_stages": 2, "features_per_stage": [4, 6], "kernel_sizes": 3, "strides": [1, [2, 3]]}

DYNAMIC = [
    (
        "PlainConvUNet",
        of_rank(3, input_channels=1, n_conv_per_stage=[1, 2, 1], n_conv_per_stage_decoder=[2, 1])
        | ANISOTROPIC,
        (1, 1, 4, 8, 12),
    ),
    (
        "PlainConvUNet",
        of_rank(2, input_channels=4, n_conv_per_stage=1, n_conv_per_stage_decoder=1)
        | FLAT
        | {"norm_op": "torch.nn.BatchNorm2d", "norm_op_kwargs": None, "conv_bias": False}
        | {"nonlin": "torch.nn.PReLU", "nonlin_kwargs": {"init": 0.1}, "nonlin_first": True}
        | {"dropout_op": "torch.nn.Dropout2d", "dropout_op_kwargs": {"p": 0.2}},
        (2, 4, 8, 9),
    ),
    (
        "ResidualEncoderUNet",
        of_rank(3, input_channels=4, n_blocks_per_stage=[1, 2, 1], n_conv_per_stage_decoder=[1, 1])
        | ANISOTROPIC,
        (1, 4, 4, 8, 12),
    ),
    (
        "ResidualEncoderUNet",
        of_rank(2, input_channels=1, n_blocks_per_stage=[1, 2], n_conv_per_stage_decoder=1)
        | FLAT
        | {"block": "BottleneckD", "bottleneck_channels": [2, 3], "stem_channels": 5}
        | {"dropout_op": "torch.nn.Dropout", "dropout_op_kwargs": {"p": 0.2}},
        (1, 1, 8, 9),
    ),
    (
        "ResidualUNet",
        of_rank(2, input_channels=2, n_blocks_per_stage=1, n_conv_per_stage_decoder=2) | FLAT,
        (1, 2, 8, 9),
    ),
]

MONAI = [
    (
        {
            "spatial_dims": 3,
            "in_channels": 4,
            "out_channels": 3,
            "kernel_size": [[1, 3, 3], 3, [3, 3, 1], 3],
            "strides": [1, [1, 2, 2], [2, 2, 1], 2],
            "upsample_kernel_size": [[1, 2, 2], [2, 2, 1], 2],
            "filters": [4, 5, 6, 8, 99],
            "deep_supervision": True,
            "deep_supr_num": 2,
            "res_block": True,
            "trans_bias": True,
        },
        (1, 4, 4, 8, 8),
    ),
    (
        {
            "spatial_dims": 2,
            "in_channels": 1,
            "out_channels": 2,
            "kernel_size": [3, 3, 5],
            "strides": [1, [3, 4], 2],
            "upsample_kernel_size": [[3, 4], [2, 2]],
            "filters": [4, 5, 6],
            "norm_name": "batch",
            "act_name": "prelu",
            "dropout": 0.2,
        },
        (1, 1, 12, 16),
    ),
]


def dynamic(arch, kwargs):
    kwargs = dict(kwargs)
    for name in CLASSES:
        if kwargs[name]:
            kwargs[name] = pydoc.locate(kwargs[name])
    if "block" in kwargs:
        kwargs["block"] = getattr(unet, kwargs["block"])
    return getattr(unet, arch)(**kwargs)


def of_monai(kwargs, shape):
    """With the coarser logits, which MONAI computes in evaluation but does not give."""
    network = nets.DynUNet(**kwargs)
    record = make_converted.record("monai.networks.nets", "DynUNet", kwargs, network, shape)
    heads = network.heads[::-1] if kwargs.get("deep_supervision") else []
    record["outputs"][:0] = [make_converted.output(y.numpy()) for y in heads]
    return record


# --- a folder of results --------------------------------------------------------------------------


def plans():
    arguments = {
        k: v for k, v in DYNAMIC[0][1].items() if k not in ("input_channels", "num_classes")
    }
    del arguments["deep_supervision"]
    name = "dynamic_network_architectures.architectures.unet.PlainConvUNet"
    architecture = {"network_class_name": name, "arch_kwargs": arguments}
    full = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [4, 8, 12],
        "median_image_size_in_voxels": [6.0, 16.0, 16.0],
        "spacing": [3.0, 0.8, 0.75],
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "architecture": architecture | {"_kw_requires_import": list(CLASSES)},
        "batch_dice": False,
    }
    return {
        "dataset_name": "Dataset999_Made",
        "plans_name": "nnUNetPlans",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "image_reader_writer": "SimpleITKIO",
        "configurations": {
            "3d_fullres": full,
            "3d_fullres_bs4": {"inherits_from": "3d_fullres", "batch_size": 4},
        },
    }


DATASET = {
    "channel_names": {"0": "MRI"},
    "labels": {"background": 0, "anterior": 1, "posterior": 2},
    "numTraining": 2,
    "file_ending": ".nii.gz",
}


def checkpoint(network):
    """What nnUNetTrainer saves, after a step."""
    optimizer = torch.optim.SGD(network.parameters(), 0.0, momentum=0.99, nesterov=True)
    network.train()(torch.zeros(1, 1, 4, 8, 12))[0].sum().backward()
    optimizer.step()
    arguments = {"plans": plans(), "configuration": "3d_fullres", "fold": 0}
    arguments |= {"dataset_json": DATASET, "unpack_dataset": True, "device": torch.device("cpu")}
    return {
        "network_weights": network.state_dict(),
        "optimizer_state": optimizer.state_dict(),
        "grad_scaler_state": {"scale": 65536.0, "growth_tracker": 0},
        "logging": {"mean_fg_dice": [np.float64(0.5)], "train_losses": [np.float32(-0.5)]},
        "_best_ema": np.float64(0.5),
        "current_epoch": 1000,
        "init_args": arguments,
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1, 2),
    }


def results(folder):
    arch, kwargs, shape = DYNAMIC[0]
    network = dynamic(arch, kwargs | {"deep_supervision": True})
    record = make_converted.record("nnunetv2", "3d_fullres", {}, network, shape)
    record["outputs"] = record["outputs"][:1]
    del record["state_dict"]
    saved = checkpoint(network)
    folder.mkdir(exist_ok=True)
    torch.save(saved, folder / "checkpoint_final.pth")
    torch.save(saved, folder / "checkpoint_legacy.pth", _use_new_zipfile_serialization=False)
    for name, tree in (("plans", plans()), ("dataset", DATASET), ("record", record)):
        (folder / f"{name}.json").write_text(json.dumps(tree) + "\n")


if __name__ == "__main__":
    records = []
    for arch, kwargs, shape in DYNAMIC:
        network = dynamic(arch, kwargs)
        records.append(make_converted.record(LIBRARY, arch, kwargs, network, shape))
        records[-1]["outputs"].reverse()
    records += [of_monai(kwargs, shape) for kwargs, shape in MONAI]
    make_converted.write("dynunet.json", records)
    results(Path(__file__).parent / "nnunet")
