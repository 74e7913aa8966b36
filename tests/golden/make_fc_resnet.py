"""Make fc_resnet.json: outputs of two tiny networks beside each other. Needs torch 2.13.0.

    python tests/golden/make_fc_resnet.py

Written from the papers' description (residual stages down, across and up, activated before each
convolution; pixels repeated on the way up; a U-Net of no norm in front): the first of bottlenecks
that sums long skip connections, the second of basic blocks that concatenates them. Attributes have
the places' names in jaxseg. The form of a record: make_fully_convolutional.py.
"""

import torch
import torch.nn.functional as F
from make_fully_convolutional import record
from torch import nn


class UNet(nn.Module):
    """Two levels without norm, whose map is the new image."""

    def __init__(self, i, widths, o):
        super().__init__()
        a, b = widths
        self.fine1, self.fine2 = nn.Conv2d(i, a, 3, padding=1), nn.Conv2d(a, a, 3, padding=1)
        self.coarse1, self.coarse2 = nn.Conv2d(a, b, 3, padding=1), nn.Conv2d(b, b, 3, padding=1)
        self.up = nn.ConvTranspose2d(b, a, 2, stride=2)
        self.up1, self.up2 = nn.Conv2d(2 * a, a, 3, padding=1), nn.Conv2d(a, a, 3, padding=1)
        self.head = nn.Conv2d(a, o, 1)

    def forward(self, x):
        skip = self.fine2(self.fine1(x).relu()).relu()
        x = self.coarse2(self.coarse1(F.max_pool2d(skip, 2)).relu()).relu()
        x = torch.cat([self.up(x), skip], 1)
        return self.head(self.up2(self.up1(x).relu()).relu())


class Block(nn.Module):
    def __init__(self, i, f, kind, down=False, up=False):
        super().__init__()
        self.kind, self.down, self.up = kind, down, up
        self.out = 4 * f if kind == "bottleneck" else f
        kernels = {"simple": [3], "basic": [3, 3], "bottleneck": [1, 3, 1]}[kind]
        self.count, last = len(kernels), i
        for n, k in enumerate(kernels, 1):
            o = self.out if n == len(kernels) else f
            stride = 2 if down and n == 1 and kind != "simple" else 1
            setattr(self, f"norm{n}", nn.BatchNorm2d(last))
            setattr(self, f"conv{n}", nn.Conv2d(last, o, k, stride, k // 2))
            last = o
        if i != self.out:
            self.shortcut = nn.Conv2d(i, self.out, 1)

    def forward(self, x):
        y = x
        for n in range(1, self.count + 1):
            y = getattr(self, f"norm{n}")(y).relu()
            if self.kind == "simple" and self.down:
                y = F.max_pool2d(y, 2)
            if self.kind != "simple" and self.up and n == self.count:
                y = F.interpolate(y, scale_factor=2)
            y = getattr(self, f"conv{n}")(y)
        if self.kind == "simple" and self.up:
            y = F.interpolate(y, scale_factor=2)
        x = x[:, :, ::2, ::2] if self.down else x
        x = F.interpolate(x, scale_factor=2) if self.up else x
        return y + (self.shortcut(x) if hasattr(self, "shortcut") else x)


class FCResNet(nn.Module):
    def __init__(self, i, classes, width, simple, depths, kind, merge, normalizer=None):
        super().__init__()
        if normalizer is not None:
            self.normalizer = normalizer
        self.merge = merge
        self.stages = [("simple", width, 1)] * simple
        self.stages += [(kind, width * 2**n, depth) for n, depth in enumerate(depths)]
        self.stem_conv = nn.Conv2d(i, width, 3, padding=1)
        last, skips = width, [width]
        for level, stage in enumerate(self.stages[:-1], 1):
            last = self.stage(f"level{level}", last, stage, down=True)
            skips.append(last)
        last = self.stage("lowest", last, self.stages[-1], down=True, up=True)
        for level in range(len(skips) - 1, -1, -1):
            place = f"level{level}" if level else "head"
            if merge == "concat":
                last += skips[level]
            elif last != skips[level]:
                setattr(self, f"{place}_merge", nn.Conv2d(last, skips[level], 1))
                last = skips[level]
            if level:
                last = self.stage(f"level{level}_up", last, self.stages[level - 1], up=True)
        self.head_norm = nn.BatchNorm2d(last)
        self.head_conv = nn.Conv2d(last, width, 3, padding=1)
        self.head = nn.Conv2d(width, classes, 1)

    def stage(self, place, last, stage, down=False, up=False):
        kind, width, depth = stage
        for n in range(1, depth + 1):
            block = Block(last, width, kind, down and n == 1, up and n == depth)
            setattr(self, f"{place}_block{n}", block)
            last = block.out
        return last

    def run(self, place, depth, x):
        for n in range(1, depth + 1):
            x = getattr(self, f"{place}_block{n}")(x)
        return x

    def merged(self, place, x, skip):
        if self.merge == "concat":
            return torch.cat([x, skip], 1)
        return (getattr(self, f"{place}_merge")(x) if hasattr(self, f"{place}_merge") else x) + skip

    def forward(self, x):
        x = self.normalizer(x) if hasattr(self, "normalizer") else x
        x = self.stem_conv(x)
        skips, depths = [x], [depth for _, _, depth in self.stages]
        for level, depth in enumerate(depths[:-1], 1):
            x = self.run(f"level{level}", depth, x)
            skips.append(x)
        x = self.run("lowest", depths[-1], x)
        for level in range(len(skips) - 1, 0, -1):
            x = self.merged(f"level{level}", x, skips[level])
            x = self.run(f"level{level}_up", depths[level - 1], x)
        x = self.head_norm(self.merged("head", x, skips[0])).relu()
        return self.head(self.head_conv(x))


class Both(nn.Module):
    def __init__(self):
        super().__init__()
        normalizer = UNet(3, (3, 5), 2)
        self.first = FCResNet(2, 3, 4, 1, (2, 1), "bottleneck", "sum", normalizer)
        self.second = FCResNet(3, 3, 4, 1, (2, 1), "basic", "concat")

    def forward(self, x):
        return torch.cat([self.first(x), self.second(x)], 1)


if __name__ == "__main__":
    record("fc_resnet", Both().double(), (16, 24), "paper")
