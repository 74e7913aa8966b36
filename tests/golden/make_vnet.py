"""Make vnet.json: a V-Net of the paper's figure, in 2-D.

    python tests/golden/make_vnet.py [FACTS]

Needs torch 2.13.0 and, for make_converted.py, monai 1.6.1 and timm. The record is as those of
make_converted.py. With the founders' folder of facts, the form below is held to their fingerprints
of both flavors at full width first.
"""

import json
import math
import sys
from pathlib import Path

import make_converted
import numpy as np
import torch
from torch import nn

DEPTHS = {"paper": (1, 2, 3, 3, 3), "prototxt": (1, 1, 2, 3, 3)}


class VNet(nn.Module):
    """Figure 2 of the paper; its keys are those of the fingerprints."""

    def __init__(self, rank=3, channels=1, classes=2, flavor="paper", width=16, depths=None):
        super().__init__()
        conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[rank - 1]
        deconv = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[rank - 1]
        depths = depths or DEPTHS[flavor]
        widths = [width * 2**level for level in range(len(depths))]
        self.width, self.rank = width, rank

        def stack(c, depth):
            parts = []
            for i in range(depth):
                parts += [nn.Sequential(conv(c, c, 5, padding=2))]
                parts += [nn.PReLU(c)] if i < depth - 1 else []
            return nn.Sequential(*parts)

        def shrink(c):
            return nn.Sequential(nn.Sequential(conv(c, 2 * c, 2, 2)), nn.PReLU(2 * c))

        up = list(zip(widths[-2::-1], depths[-2::-1], strict=True))
        self.inp = nn.Sequential(conv(channels, width, 5, padding=2))
        self.a0 = nn.PReLU(width)
        self.down = nn.ModuleList(shrink(c) for c in widths[:-1])
        self.es = nn.ModuleList(stack(c, d) for c, d in zip(widths[1:], depths[1:], strict=True))
        self.ea = nn.ModuleList(nn.PReLU(c) for c in widths[1:])
        below = [widths[-1], *(2 * c for c, _ in up[:-1])]
        self.up = nn.ModuleList(
            nn.Sequential(deconv(b, c, 2, 2), nn.Identity(), nn.PReLU(c))
            for b, (c, _) in zip(below, up, strict=True)
        )
        self.ds = nn.ModuleList(stack(2 * c, d) for c, d in up)
        self.da = nn.ModuleList(nn.PReLU(2 * c) for c, _ in up)
        self.proto_out = conv(2 * width, classes, 1)
        if flavor == "prototxt":
            first = conv(2 * width, classes, 5, padding=2)
            self.proto_out = nn.Sequential(first, nn.PReLU(classes), conv(classes, classes, 1))

    def forward(self, x):
        times = self.width // x.shape[1]
        x = self.a0(self.inp(x) + x.repeat(1, times, *(1,) * self.rank))
        skips = []
        for down, stack, act in zip(self.down, self.es, self.ea, strict=True):
            skips.append(x)
            x = down(x)
            x = act(stack(x) + x)
        for up, stack, act in zip(self.up, self.ds, self.da, strict=True):
            x = torch.cat([up(x), skips.pop()], 1)
            x = act(stack(x) + x)
        return self.proto_out(x)


OURS = [({"flavor": "paper", "width": 2, "depths": [1, 2, 3], "rank": 2}, (1, 2, 12, 8))]


def check(facts, name, flavor):
    """The form gives what the founders' gave, in float64."""
    known = json.loads((facts / "outputs-medical.json").read_text())[name]
    network = VNet(flavor=flavor).double().eval()
    state = network.state_dict()
    keys = json.loads((facts / "keys" / f"{name.replace('/', '__')}.json").read_text())
    assert [[k, list(v.shape)] for k, v in state.items()] == keys
    for i, (key, value) in enumerate(state.items()):
        angle = 0.37 * np.arange(value.numel()) + i
        slope = 0.5 if key.endswith("weight") else 0.0
        r = slope + 0.1 * np.cos(angle)
        if value.ndim > 1:
            r = math.sqrt(3 * value.shape[0] / value.numel()) * np.cos(angle)
        value.copy_(torch.from_numpy(r.reshape(value.shape)))
    shape = known["inputs"][0]
    at = np.arange(math.prod(shape))
    image = torch.from_numpy((np.sin(0.01 * at) + 0.5 * np.cos(0.37 * at)).reshape(shape))
    with torch.no_grad():
        flat = network(image).flatten().numpy()
    (wanted,) = known["outputs"]
    for part, numbers in (("first8", flat[:8]), ("last4", flat[-4:])):
        off = abs(numbers - wanted[part]).max() / wanted["std"]
        print(name, part, off)
        assert off < 1e-9


if __name__ == "__main__":
    for folder in map(Path, sys.argv[1:]):
        check(folder, "vnet/paper_fig2", "paper")
        check(folder, "vnet/official_prototxt", "prototxt")
    records = []
    for kwargs, shape in OURS:
        network = VNet(channels=2, classes=3, **kwargs)
        records.append(make_converted.record("paper", "VNet", kwargs, network, shape))
        records[-1]["outputs"] = {"out": records[-1]["outputs"][0]}
    make_converted.write("vnet.json", records)
