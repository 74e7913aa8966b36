"""Make segresnet.json: records of MONAI's SegResNets, and of the loss of its SegResNetVAE.

    python tests/golden/make_segresnet.py

Needs torch 2.13.0 and monai 1.6.1. Records are as those of make_converted.py; of SegResNetVAE the
outputs are the loss of the branch in training, with the noise of numpy's RandomState(3).
"""

import make_converted
import numpy as np
import torch
from monai.networks import nets

LIBRARY = "monai.networks.nets"
FLAT = {"spatial_dims": 2, "init_filters": 4}

PRELU = FLAT | {
    "norm": ["instance", {"affine": True}],
    "act": "prelu",
    "dropout_prob": 0.2,
    "upsample_mode": "deconv",
    "blocks_down": [1, 2],
    "blocks_up": [2],
}
SHUFFLED = FLAT | {
    "in_channels": 2,
    "norm_name": "group",
    "num_groups": 2,
    "upsample_mode": "pixelshuffle",
    "blocks_down": [1, 0, 1],
    "blocks_up": [1, 0],
}
VARIATIONAL = FLAT | {
    "norm": ["group", {"num_groups": 2}],
    "input_image_size": [8, 12],
    "vae_nz": 5,
    "vae_estimate_std": True,
    "blocks_down": [1, 1],
    "blocks_up": [1],
}

RECORDS = [("SegResNet", PRELU, (2, 1, 6, 10)), ("SegResNet", SHUFFLED, (1, 2, 8, 12))]
VAE = ("SegResNetVAE", VARIATIONAL, (2, 1, 8, 12))


def of_vae(arch, kwargs, shape, seed=7):
    network = getattr(nets, arch)(**kwargs)
    state = network.state_dict()
    network.load_state_dict({k: make_converted.weight(k, v.shape) for k, v in state.items()})
    network.double().train()
    noise = np.random.RandomState(3).standard_normal((shape[0], kwargs["vae_nz"]))
    torch.randn_like = lambda _: torch.from_numpy(noise)
    image = np.random.RandomState(seed).standard_normal(shape).astype("f4")
    _, loss = network(torch.from_numpy(image).double())
    return {
        "library": LIBRARY,
        "arch": arch,
        "kwargs": kwargs,
        "input": {"shape": shape, "seed": seed},
        "state_dict": [[k, list(v.shape)] for k, v in state.items()],
        "loss": loss.item(),
    }


if __name__ == "__main__":
    records = [
        make_converted.record(LIBRARY, arch, kwargs, getattr(nets, arch)(**kwargs), shape)
        for arch, kwargs, shape in RECORDS
    ]
    make_converted.write("segresnet.json", [*records, of_vae(*VAE)])
