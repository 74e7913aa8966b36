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


class SegNet(nn.Module):
    """The encoder of VGG16 and its mirror; ``convs`` a level, batch norm with biases before it."""

    def __init__(self, classes, width):
        super().__init__()
        self.convs, last = (2, 2, 3, 3, 3), 3
        widths = [width * min(2**level, 8) for level in range(5)]
        for level, convs in enumerate(self.convs, 1):
            for i in range(1, convs + 1):
                self.add(f"conv{level}_{i}", last, last := widths[level - 1])
        for level in (5, 4, 3, 2, 1):
            for i in range(self.convs[level - 1], 0, -1):
                if (level, i) == (1, 1):
                    self.conv1_1_D = nn.Conv2d(last, classes, 3, padding=1)
                else:
                    to = widths[level - 1 if i > 1 else level - 2]
                    self.add(f"conv{level}_{i}_D", last, last := to)

    def add(self, name, i, o):
        setattr(self, name, nn.Conv2d(i, o, 3, padding=1))
        setattr(self, f"{name}_bn", nn.BatchNorm2d(o))

    def layer(self, x, name):
        return F.relu(getattr(self, f"{name}_bn")(getattr(self, name)(x)))

    def forward(self, x):
        pooled = {}
        for level, convs in enumerate(self.convs, 1):
            for i in range(1, convs + 1):
                x = self.layer(x, f"conv{level}_{i}")
            size = x.shape[2:]
            x, index = F.max_pool2d(x, 2, ceil_mode=True, return_indices=True)
            pooled[level] = index, size
        for level in (5, 4, 3, 2, 1):
            index, size = pooled[level]
            x = F.max_unpool2d(x, index, 2, output_size=size)
            for i in range(self.convs[level - 1], 0, -1):
                if (level, i) != (1, 1):
                    x = self.layer(x, f"conv{level}_{i}_D")
        return self.conv1_1_D(x)


class SegNetBasic(nn.Module):
    def __init__(self, classes, width):
        super().__init__()
        for level in (1, 2, 3, 4):
            self.add(f"conv{level}", 3 if level == 1 else width, width)
            self.add(f"conv_decode{level}", width, width)
        self.conv_classifier = nn.Conv2d(width, classes, 1)

    def add(self, name, i, o):
        setattr(self, name, nn.Conv2d(i, o, 7, padding=3))
        setattr(self, f"{name}_bn", nn.BatchNorm2d(o))

    def layer(self, x, name):
        return getattr(self, f"{name}_bn")(getattr(self, name)(x))

    def forward(self, x):
        x, pooled = F.local_response_norm(x, 5, 1e-4, 0.75), []
        for level in (1, 2, 3, 4):
            x = F.relu(self.layer(x, f"conv{level}"))
            size = x.shape[2:]
            x, index = F.max_pool2d(x, 2, ceil_mode=True, return_indices=True)
            pooled.append((index, size))
        for level in (4, 3, 2, 1):
            index, size = pooled.pop()
            x = self.layer(F.max_unpool2d(x, index, 2, output_size=size), f"conv_decode{level}")
        return self.conv_classifier(x)


class Normed(nn.Module):
    def __init__(self, conv):
        super().__init__()
        self.conv, self.norm = conv, nn.BatchNorm2d(conv.out_channels)

    def forward(self, x):
        return F.relu(self.norm(self.conv(x)))


class DeconvNet(nn.Module):
    def __init__(self, classes, width, hidden):
        super().__init__()
        self.convs, last = (2, 2, 3, 3, 3), 3
        widths = [width * min(2**level, 8) for level in range(5)]
        for level, convs in enumerate(self.convs, 1):
            for i in range(1, convs + 1):
                conv = nn.Conv2d(last, widths[level - 1], 3, padding=1)
                setattr(self, f"conv{level}_{i}", Normed(conv))
                last = widths[level - 1]
        self.fc6 = Normed(nn.Conv2d(last, hidden, 7))
        self.fc7 = Normed(nn.Conv2d(hidden, hidden, 1))
        self.fc6_deconv = Normed(nn.ConvTranspose2d(hidden, last, 7))
        for level in (5, 4, 3, 2, 1):
            for i in range(1, self.convs[level - 1] + 1):
                to = widths[max(level - 2, 0) if i == self.convs[level - 1] else level - 1]
                deconv = nn.ConvTranspose2d(last, to, 3, padding=1)
                setattr(self, f"deconv{level}_{i}", Normed(deconv))
                last = to
        self.head = nn.Conv2d(last, classes, 1)

    def forward(self, x):
        pooled = []
        for level, convs in enumerate(self.convs, 1):
            for i in range(1, convs + 1):
                x = getattr(self, f"conv{level}_{i}")(x)
            size = x.shape[2:]
            x, index = F.max_pool2d(x, 2, ceil_mode=True, return_indices=True)
            pooled.append((index, size))
        x = self.fc6_deconv(self.fc7(self.fc6(x)))
        for level in (5, 4, 3, 2, 1):
            index, size = pooled.pop()
            x = F.max_unpool2d(x, index, 2, output_size=size)
            for i in range(1, self.convs[level - 1] + 1):
                x = getattr(self, f"deconv{level}_{i}")(x)
        return self.head(x)


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
    record("segnet", SegNet(4, 4), (45, 70))  # odd at every level
    record("segnet_basic", SegNetBasic(4, 6), (27, 22))
    record("deconvnet", DeconvNet(4, 4, 6), (224, 250), "paper")  # 7 x 8 pixels before fc6
