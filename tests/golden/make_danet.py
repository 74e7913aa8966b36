"""Make danet.json: outputs of a tiny network. Needs torch 2.13.0.

    python tests/golden/make_danet.py

Position and channel attention, written from the paper's equations 1 to 4 (the energy of channels
subtracted from its maximum, as released) and the layer list of the released network, on a ResNet
of one bottleneck a stage with the names of torchvision. The form of a record:
make_fully_convolutional.py.
"""

import torch
import torch.nn.functional as F
from make_fully_convolutional import record
from make_hdc_duc import Unit
from torch import nn


class Trunk(nn.Module):
    """A 7x7 stem; the last two stages at stride 8, dilated by 1 and 4."""

    def __init__(self, width):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        last = width
        for stage, (stride, dilation) in enumerate(((1, 1), (2, 1), (1, 1), (1, 4)), 1):
            planes = width * 2 ** (stage - 1)
            setattr(self, f"layer{stage}", nn.Sequential(Unit(last, planes, stride, dilation)))
            last = 4 * planes

    def forward(self, x):
        x = F.max_pool2d(self.bn1(self.conv1(x)).relu(), 3, 2, 1)
        for stage in (1, 2, 3, 4):
            x = getattr(self, f"layer{stage}")(x)
        return x


class Position(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.query_conv, self.key_conv = nn.Conv2d(c, c // 8, 1), nn.Conv2d(c, c // 8, 1)
        self.value_conv, self.gamma = nn.Conv2d(c, c, 1), nn.Parameter(torch.zeros(1))

    def forward(self, x):
        b, c, h, w = x.shape
        query, key, value = (
            conv(x).reshape(b, -1, h * w)
            for conv in (self.query_conv, self.key_conv, self.value_conv)
        )
        weights = torch.einsum("bci,bcj->bij", query, key).softmax(2)
        y = torch.einsum("bij,bcj->bci", weights, value)
        return self.gamma * y.reshape(x.shape) + x


class Channel(nn.Module):
    def __init__(self):
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        flat = x.flatten(2)
        energy = torch.einsum("bin,bjn->bij", flat, flat)
        weights = (energy.amax(2, keepdim=True) - energy).softmax(2)
        return self.gamma * torch.einsum("bij,bjn->bin", weights, flat).reshape(x.shape) + x


class Head(nn.Module):
    def __init__(self, inputs, c, classes):
        super().__init__()

        def conv(i):
            return nn.Sequential(
                nn.Conv2d(i, c, 3, padding=1, bias=False), nn.BatchNorm2d(c), nn.ReLU()
            )

        self.conv5a, self.conv5c = conv(inputs), conv(inputs)
        self.sa, self.sc = Position(c), Channel()
        self.conv51, self.conv52 = conv(c), conv(c)
        for n in (6, 7, 8):
            drop = nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(c, classes, 1))
            setattr(self, f"conv{n}", drop)

    def forward(self, x):
        position = self.conv51(self.sa(self.conv5a(x)))
        channel = self.conv52(self.sc(self.conv5c(x)))
        return [self.conv8(position + channel), self.conv6(position), self.conv7(channel)]


class DANet(nn.Module):
    """The logits of the sum, of the positions and of the channels, joined."""

    def __init__(self, classes, width):
        super().__init__()
        self.pretrained = Trunk(width)
        self.head = Head(32 * width, 4 * width, classes)

    def forward(self, image):
        size = image.shape[2:]
        return torch.cat(
            [
                F.interpolate(y, size, mode="bilinear", align_corners=True)
                for y in self.head(self.pretrained(image))
            ],
            1,
        )


if __name__ == "__main__":
    record("danet", DANet(3, 4), (61, 48), "junfu1115/DANet")
