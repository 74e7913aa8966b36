"""Make fcn*.json, segnet*.json, deconvnet.json: outputs of tiny networks. Needs torch 2.13.0.

    python tests/golden/make_fully_convolutional.py

Each network is written from the paper and the layer lists of the released Caffe networks, in plain
torch.nn, with the names of layers there. A record has the form of the founders' (see
tests/models/peers.py): no weights, which are drawn from a generator whose seed is the key.
"""

import json
import zlib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

torch.set_default_dtype(torch.float64)  # so that only our rounding is left to be compared


class FCN(nn.Module):
    """VGG16 of ``width``, padded by 100; ``stride`` 32, 16 or 8; ``scales`` of pool4 and pool3."""

    OFFSETS = {32: 19, 16: 27, 8: 31}

    def __init__(self, classes, width, hidden, stride, scales=(1, 1)):
        super().__init__()
        self.stride, self.scales, last = stride, scales, 3
        for level, convs in enumerate((2, 2, 3, 3, 3), 1):
            for i in range(1, convs + 1):
                pad = 100 if (level, i) == (1, 1) else 1
                features = width * min(2 ** (level - 1), 8)
                setattr(self, f"conv{level}_{i}", nn.Conv2d(last, features, 3, padding=pad))
                last = features
        self.fc6, self.fc7 = nn.Conv2d(last, hidden, 7), nn.Conv2d(hidden, hidden, 1)
        self.score_fr = nn.Conv2d(hidden, classes, 1)

        def up(factor):
            return nn.ConvTranspose2d(classes, classes, 2 * factor, factor, bias=False)

        if stride == 32:
            self.upscore = up(32)
        if stride <= 16:
            self.upscore2, self.score_pool4 = up(2), nn.Conv2d(8 * width, classes, 1)
        if stride == 16:
            self.upscore16 = up(16)
        if stride == 8:
            self.upscore_pool4, self.score_pool3 = up(2), nn.Conv2d(4 * width, classes, 1)
            self.upscore8 = up(8)

    def forward(self, image):
        x, pools = image, {}
        for level, convs in enumerate((2, 2, 3, 3, 3), 1):
            for i in range(1, convs + 1):
                x = F.relu(getattr(self, f"conv{level}_{i}")(x))
            x = pools[level] = F.max_pool2d(x, 2, ceil_mode=True)
        x = self.score_fr(F.relu(self.fc7(F.relu(self.fc6(x)))))
        name = "upscore"
        if self.stride <= 16:
            x = self.upscore2(x)
            skip = self.score_pool4(self.scales[0] * pools[4])
            x, name = x + cut(skip, 5, x), "upscore16"
        if self.stride == 8:
            x = self.upscore_pool4(x)
            skip = self.score_pool3(self.scales[1] * pools[3])
            x, name = x + cut(skip, 9, x), "upscore8"
        return cut(getattr(self, name)(x), self.OFFSETS[self.stride], image)


class FCNAlexNet(nn.Module):
    def __init__(self, classes, width, hidden):
        super().__init__()
        w = [3, 3 * width // 2, 4 * width, 6 * width, 6 * width, 4 * width]
        self.conv1 = nn.Conv2d(w[0], w[1], 11, stride=4, padding=100)
        self.conv2 = nn.Conv2d(w[1], w[2], 5, padding=2, groups=2)
        self.conv3 = nn.Conv2d(w[2], w[3], 3, padding=1)
        self.conv4 = nn.Conv2d(w[3], w[4], 3, padding=1, groups=2)
        self.conv5 = nn.Conv2d(w[4], w[5], 3, padding=1, groups=2)
        self.fc6, self.fc7 = nn.Conv2d(w[5], hidden, 6), nn.Conv2d(hidden, hidden, 1)
        self.score_fr = nn.Conv2d(hidden, classes, 1)
        self.upscore = nn.ConvTranspose2d(classes, classes, 63, 32, bias=False)

    def forward(self, image):
        x = image
        for conv in (self.conv1, self.conv2):
            x = F.max_pool2d(F.relu(conv(x)), 3, 2, ceil_mode=True)
            x = F.local_response_norm(x, 5, 1e-4, 0.75)
        for conv in (self.conv3, self.conv4, self.conv5):
            x = F.relu(conv(x))
        x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        x = self.score_fr(F.relu(self.fc7(F.relu(self.fc6(x)))))
        return cut(self.upscore(x), 18, image)


def cut(x, offset, like):
    """Caffe's Crop of the two spatial axes."""
    height, width = like.shape[2:]
    return x[:, :, offset : offset + height, offset : offset + width]


def weight(key, shape):
    r = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(tuple(shape))
    if key.endswith("running_mean") or (len(shape) == 1 and key.endswith("bias")):
        r = 0.1 * r
    elif key.endswith("running_var"):
        r = 1 + 0.1 * abs(r)
    else:
        r = r * np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 1 + 0.1 * r
    return torch.from_numpy(r.astype("f4")).double()


def record(name, network, size, library="caffe"):
    state = network.state_dict()
    drawn = {k: weight(k, v.shape) for k, v in state.items() if v.is_floating_point()}
    network.load_state_dict(state | drawn)
    shape, seed = (2, 3, *size), 5
    image = np.random.RandomState(seed).standard_normal(shape).astype("f4")
    with torch.no_grad():
        y = network.eval()(torch.from_numpy(image).double()).numpy()
    at = np.sort(np.random.RandomState(0).choice(y.size, min(256, y.size), replace=False))
    known = {
        "name": name,
        "library": library,
        "parameters": sum(p.numel() for p in network.parameters()),
        "input": {"shape": shape, "seed": seed},
        "state_dict": [[k, list(v.shape)] for k, v in state.items()],
        "outputs": {
            "out": {
                "shape": y.shape,
                "indices": at.tolist(),
                "values": [float(f"{v:.7g}") for v in y.reshape(-1)[at]],
                "std": float(y.std()),
            }
        },
    }
    path = Path(__file__).parent / f"{name}.json"
    path.write_text(json.dumps(known, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    record("fcn32s", FCN(4, 4, 6, 32), (37, 50))
    record("fcn16s", FCN(4, 4, 6, 16), (37, 50))
    record("fcn8s", FCN(4, 4, 6, 8), (37, 50))
    record("fcn8s_at_once", FCN(4, 4, 6, 8, (0.01, 0.0001)), (37, 50))
    record("fcn_alexnet", FCNAlexNet(4, 4, 6), (37, 50))
