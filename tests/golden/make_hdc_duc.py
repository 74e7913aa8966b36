"""Make hdc_duc.json: outputs of a tiny network. Needs torch 2.13.0.

    python tests/golden/make_hdc_duc.py

Hybrid dilation and dense upsampling, written from the paper and the layer list of the released
network, on a ResNet of one bottleneck a stage with the names of semseg. The form of a record:
make_fully_convolutional.py.
"""

import torch.nn.functional as F
from make_fully_convolutional import record
from torch import nn


class ASPP(nn.Module):
    def __init__(self, i, o, rates):
        super().__init__()
        for n, rate in enumerate(rates):
            setattr(self, f"c{n}", nn.Conv2d(i, o, 3, padding=rate, dilation=rate))
        self.count = len(rates)

    def forward(self, x):
        return sum(getattr(self, f"c{n}")(x) for n in range(self.count))


class Unit(nn.Module):
    """A bottleneck with the names of torchvision, its stride in the first 1x1."""

    def __init__(self, i, planes, stride, dilation):
        super().__init__()
        self.conv1 = nn.Conv2d(i, planes, 1, stride, bias=False)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, dilation, dilation, bias=False)
        self.conv3 = nn.Conv2d(planes, 4 * planes, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(planes), nn.BatchNorm2d(planes)
        self.bn3 = nn.BatchNorm2d(4 * planes)
        shortcut = nn.Conv2d(i, 4 * planes, 1, stride, bias=False)
        self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(4 * planes))

    def forward(self, x):
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).relu()
        return (self.bn3(self.conv3(y)) + self.downsample(x)).relu()


class HDCDUC(nn.Module):
    """A deep stem; the last two stages at stride 8, dilated by 1 and 3; 64 maps a class."""

    def __init__(self, classes, width, rates):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 2, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.conv3 = nn.Conv2d(width, 2 * width, 3, 1, 1, bias=False)
        for n, c in ((1, width), (2, width), (3, 2 * width)):
            setattr(self, f"bn{n}", nn.BatchNorm2d(c))
        last = 2 * width
        for stage, (stride, dilation) in enumerate(((1, 1), (2, 1), (1, 1), (1, 3)), 1):
            planes = width * 2 ** (stage - 1)
            unit = Unit(last, planes, stride, dilation)
            setattr(self, f"layer{stage}", nn.Sequential(unit))
            last = 4 * planes
        self.aspp = ASPP(last, 64 * classes, rates)

    def forward(self, image):
        x = F.pad(image, (0, -image.shape[3] % 8, 0, -image.shape[2] % 8))
        for n in (1, 2, 3):
            x = getattr(self, f"bn{n}")(getattr(self, f"conv{n}")(x)).relu()
        x = F.max_pool2d(x, 3, 2, 1)
        for stage in (1, 2, 3, 4):
            x = getattr(self, f"layer{stage}")(x)
        h, w = image.shape[2:]
        return F.pixel_shuffle(self.aspp(x), 8)[..., :h, :w]


if __name__ == "__main__":
    record("hdc_duc", HDCDUC(3, 4, (6, 12, 18, 24)), (61, 48), "semseg")
