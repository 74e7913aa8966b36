"""Make fc_densenet.json, dense_unet.json: outputs of tiny networks. Needs torch 2.13.0.

    python tests/golden/make_dense.py

Each is written from its paper and the released code's layer list, in plain torch.nn, its attributes
with our names. The form of a record stands in make_fully_convolutional.py.
"""

import torch
import torch.nn.functional as F
from make_fully_convolutional import record
from torch import nn


class Block(nn.Module):
    """Each layer sees all maps before it; ``bottleneck`` puts a 1x1 convolution first."""

    def __init__(self, i, layers, growth, bottleneck=None, bias=True):
        super().__init__()
        self.layers, self.bottleneck = layers, bottleneck
        for n in range(layers):
            j = i + n * growth
            if bottleneck:
                setattr(self, f"layer{n}_norm1", nn.BatchNorm2d(j))
                setattr(self, f"layer{n}_conv1", nn.Conv2d(j, bottleneck, 1, bias=bias))
                j = bottleneck
            end = "2" if bottleneck else ""
            setattr(self, f"layer{n}_norm{end}", nn.BatchNorm2d(j))
            setattr(self, f"layer{n}_conv{end}", nn.Conv2d(j, growth, 3, padding=1, bias=bias))

    def forward(self, x):
        made = [x]
        for n in range(self.layers):
            y = torch.cat(made, 1)
            for end in ("1", "2") if self.bottleneck else ("",):
                y = F.relu(getattr(self, f"layer{n}_norm{end}")(y))
                y = getattr(self, f"layer{n}_conv{end}")(y)
            made.append(y)
        return made[0], torch.cat(made[1:], 1)


class FCDenseNet(nn.Module):
    def __init__(self, classes, layers, growth, first):
        super().__init__()
        self.first_conv = nn.Conv2d(3, first, 3, padding=1)
        self.down, stacks, c = layers[:-1], [], first
        for level, n in enumerate(self.down):
            setattr(self, f"down{level}_block", Block(c, n, growth))
            c += n * growth
            stacks.append(c)
            setattr(self, f"down{level}_norm", nn.BatchNorm2d(c))
            setattr(self, f"down{level}_conv", nn.Conv2d(c, c, 1))
        self.bottleneck_block, new = Block(c, layers[-1], growth), layers[-1] * growth
        for level in reversed(range(len(self.down))):
            setattr(self, f"up{level}_conv", nn.ConvTranspose2d(new, new, 3, 2))
            c = new + stacks[level]
            setattr(self, f"up{level}_block", Block(c, self.down[level], growth))
            new = self.down[level] * growth
        self.head = nn.Conv2d(c + new, classes, 1)

    def forward(self, x):
        x, skips = self.first_conv(x), []
        for level in range(len(self.down)):
            x = torch.cat(getattr(self, f"down{level}_block")(x), 1)
            skips.append(x)
            x = F.relu(getattr(self, f"down{level}_norm")(x))
            x = F.max_pool2d(getattr(self, f"down{level}_conv")(x), 2)
        _, new = self.bottleneck_block(x)
        for level in reversed(range(len(self.down))):
            up, skip = getattr(self, f"up{level}_conv")(new), skips[level]
            top, left = ((a - b) // 2 for a, b in zip(up.shape[2:], skip.shape[2:], strict=True))
            up = up[:, :, top : top + skip.shape[2], left : left + skip.shape[3]]
            old, new = getattr(self, f"up{level}_block")(torch.cat([up, skip], 1))
        return self.head(torch.cat([old, new], 1))


class DenseUNet(nn.Module):
    def __init__(self, classes, layers, growth, first, widths):
        super().__init__()
        self.stem_conv = nn.Conv2d(3, first, 7, 2, 3, bias=False)
        self.stem_norm = nn.BatchNorm2d(first)
        c, stacks = first, [first]
        for level, n in enumerate(layers, 2):
            setattr(self, f"level{level}_block", Block(c, n, growth, 4 * growth, bias=False))
            c += n * growth
            stacks.append(c)
            if level < 5:
                setattr(self, f"level{level}_transition_norm", nn.BatchNorm2d(c))
                conv = nn.Conv2d(c, c // 2, 1, bias=False)
                setattr(self, f"level{level}_transition_conv", conv)
                c //= 2
        self.last_norm, self.level4_skip = nn.BatchNorm2d(c), nn.Conv2d(stacks[3], c, 1)
        for level, o in zip((4, 3, 2, 1, 0), (*stacks[2::-1], *widths), strict=True):
            setattr(self, f"level{level}_conv", nn.Conv2d(c, o, 3, padding=1))
            setattr(self, f"level{level}_norm", nn.BatchNorm2d(o))
            c = o
        self.head = nn.Conv2d(c, classes, 1)

    def forward(self, x):
        skips = [F.relu(self.stem_norm(self.stem_conv(x)))]
        x = F.max_pool2d(skips[0], 3, 2, 1)
        for level in (2, 3, 4, 5):
            x = torch.cat(getattr(self, f"level{level}_block")(x), 1)
            skips.append(x)
            if level < 5:
                x = F.relu(getattr(self, f"level{level}_transition_norm")(x))
                x = F.avg_pool2d(getattr(self, f"level{level}_transition_conv")(x), 2)
        x, skips[3] = F.relu(self.last_norm(x)), self.level4_skip(skips[3])
        for level in (4, 3, 2, 1, 0):
            x = F.interpolate(x, scale_factor=2, mode="nearest")
            x = x + skips[level - 1] if level else x
            x = getattr(self, f"level{level}_norm")(getattr(self, f"level{level}_conv")(x))
            x = F.relu(x)
        return self.head(x)


if __name__ == "__main__":
    record("fc_densenet", FCDenseNet(4, (2, 3, 2), 3, 5), (23, 30), "paper")
    record("dense_unet", DenseUNet(4, (2, 3, 2, 1), 4, 6, (6, 5)), (32, 64), "paper")
