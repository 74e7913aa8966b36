"""Make converted.json: records of peers' networks at sizes and options that are rarely met.

    python tests/golden/make_converted.py

Needs torch 2.13.0, monai 1.6.1 and timm 1.0.31. A record is as those of the founders' shared
folder: the constructor's arguments, the keys, and 64 numbers of each output; weights and image are
drawn from seeds (tests/models/peers.py).
"""

import json
import zlib
from pathlib import Path

import numpy as np
import torch
from monai.networks import nets

UNEVEN = {
    "spatial_dims": 3,
    "in_channels": 2,
    "out_channels": 4,
    "channels": [4, 6, 8],
    "strides": [[2, 2, 1], [1, 2, 3]],
    "kernel_size": [3, 3, 1],
    "up_kernel_size": [1, 3, 5],
    "num_res_units": 3,
    "norm": ["group", {"num_groups": 2}],
    "act": ["leakyrelu", {"negative_slope": 0.2}],
    "adn_ordering": "ADN",
}
PLAIN = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2, "channels": [4, 6]}
PLAIN |= {"strides": [3], "act": "mish", "norm": "batch", "bias": False}
BASIC = {"spatial_dims": 2, "features": [4, 6, 8, 10, 12, 5]}
GATED = {"spatial_dims": 3, "in_channels": 1, "out_channels": 2, "channels": [4, 8]}
GATED |= {"strides": [[1, 2, 3]], "kernel_size": [1, 3, 3], "up_kernel_size": [1, 3, 5]}

MONAI = [
    ("UNet", UNEVEN, (1, 2, 8, 8, 9)),
    ("UNet", PLAIN, (2, 1, 12, 9)),
    ("BasicUNet", BASIC | {"upsample": "pixelshuffle"}, (1, 1, 33, 39)),
    ("BasicUNet", BASIC | {"upsample": "nontrainable", "act": "prelu"}, (1, 1, 33, 39)),
    ("BasicUNetPlusPlus", BASIC | {"deep_supervision": True}, (1, 1, 33, 39)),
    ("AttentionUnet", GATED, (1, 1, 3, 8, 9)),
]

TIMM = [
    ("resnet50", {"num_classes": 0, "in_chans": 1, "output_stride": 8}, (1, 1, 65, 64)),
    ("mobilenetv2_100", {"num_classes": 3}, (1, 3, 65, 64)),
    ("efficientnet_lite1", {"num_classes": 3}, (1, 3, 65, 64)),
]


def weight(key, shape):
    r = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape)
    if key.endswith("running_mean") or (len(shape) == 1 and key.endswith("bias")):
        r = 0.1 * r
    elif key.endswith("running_var"):
        r = 1 + 0.1 * abs(r)
    else:
        r = r * np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 1 + 0.1 * r
    return torch.from_numpy(np.asarray(r, "f4"))


def record(library, arch, kwargs, network, shape, seed=7):
    state = network.state_dict()
    drawn = {k: weight(k, v.shape) for k, v in state.items() if v.is_floating_point()}
    network.load_state_dict(state | drawn)
    image = np.random.RandomState(seed).standard_normal(shape).astype("f4")
    with torch.no_grad():
        run = network.eval()
        if kwargs.get("num_classes") == 0:
            run = network.forward_features
        found = run(torch.from_numpy(image))
    outputs = found if isinstance(found, list | tuple) else [found]
    return {
        "library": library,
        "arch": arch,
        "kwargs": kwargs,
        "parameters": sum(p.numel() for p in network.parameters()),
        "input": {"shape": shape, "seed": seed},
        "state_dict": [[k, list(v.shape)] for k, v in state.items()],
        "outputs": [output(y.numpy()) for y in outputs],
    }


def output(y):
    at = np.sort(np.random.RandomState(0).choice(y.size, min(64, y.size), replace=False))
    values = [float(f"{v:.7g}") for v in y.reshape(-1)[at]]
    return {"shape": y.shape, "indices": at.tolist(), "values": values, "std": float(y.std())}


def write(name, records):
    lines = [json.dumps(one, separators=(",", ":")) for one in records]
    path = Path(__file__).parent / name
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    import timm

    records = [
        record("monai.networks.nets", arch, kwargs, getattr(nets, arch)(**kwargs), shape)
        for arch, kwargs, shape in MONAI
    ]
    records += [
        record("timm", arch, kwargs, timm.create_model(arch, **kwargs), shape)
        for arch, kwargs, shape in TIMM
    ]
    write("converted.json", records)
