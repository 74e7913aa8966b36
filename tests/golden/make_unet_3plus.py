"""Make unet_3plus.json: outputs of a tiny network. Needs torch 2.13.0.

    python tests/golden/make_unet_3plus.py

Written from figures 1 and 2 of the paper and its equation 1, all side outputs beside each other;
the attributes have the names of the authors' code. The form of a record:
make_fully_convolutional.py.
"""

import torch
import torch.nn.functional as F
from make_fully_convolutional import record
from torch import nn


class Double(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU())
        self.conv2 = nn.Sequential(nn.Conv2d(o, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU())

    def forward(self, x):
        return self.conv2(self.conv1(x))


class UNet3Plus(nn.Module):
    """Levels are counted from 1; ``N`` is the coarsest."""

    def __init__(self, classes, widths, branch):
        super().__init__()
        self.count, last, merged = len(widths), 3, branch * len(widths)
        for n, width in enumerate(widths, 1):
            setattr(self, f"conv{n}", Double(last, width))
            last = width
        for i in range(len(widths) - 1, 0, -1):
            for k in range(1, len(widths) + 1):
                inputs = widths[k - 1] if k <= i or k == len(widths) else merged
                self.put(self.name(k, i), "conv", "bn", inputs, branch)
            self.put("", f"conv{i}d_1", f"bn{i}d_1", merged, merged)
        for n in range(1, len(widths) + 1):
            inputs = last if n == len(widths) else merged
            setattr(self, f"outconv{n}", nn.Conv2d(inputs, classes, 3, padding=1))

    def name(self, k, i):
        """The branch from level k to level i."""
        if k == i:
            return f"h{i}_Cat_hd{i}_"
        return f"h{k}_PT_hd{i}_" if k < i else f"hd{k}_UT_hd{i}_"

    def put(self, place, conv, norm, inputs, outputs):
        setattr(self, place + conv, nn.Conv2d(inputs, outputs, 3, padding=1))
        setattr(self, place + norm, nn.BatchNorm2d(outputs))

    def run(self, place, conv, norm, x):
        return getattr(self, place + norm)(getattr(self, place + conv)(x)).relu()

    def forward(self, image):
        encoded, decoded, x = {}, {}, image
        for n in range(1, self.count + 1):
            x = encoded[n] = getattr(self, f"conv{n}")(F.max_pool2d(x, 2) if n > 1 else x)
        decoded[self.count] = x
        for i in range(self.count - 1, 0, -1):
            branches = []
            for k in range(1, self.count + 1):
                if k < i:
                    x = F.max_pool2d(encoded[k], 2 ** (i - k))
                else:
                    x = encoded[i] if k == i else enlarged(decoded[k], 2 ** (k - i))
                branches.append(self.run(self.name(k, i), "conv", "bn", x))
            decoded[i] = self.run("", f"conv{i}d_1", f"bn{i}d_1", torch.cat(branches, 1))
        sides = [getattr(self, f"outconv{n}")(decoded[n]) for n in range(1, self.count + 1)]
        return torch.cat([enlarged(y, 2**n) for n, y in enumerate(sides)], 1)


def enlarged(x, factor):
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


if __name__ == "__main__":
    record("unet_3plus", UNet3Plus(3, (4, 5, 6, 7, 8), 3), (32, 48), "ZJUGiveLab/UNet-Version")
