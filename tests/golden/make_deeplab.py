"""Make deeplab_*.json: outputs of tiny networks. Needs torch 2.13.0.

    python tests/golden/make_deeplab.py

Written from the papers of DeepLab v1 and v2 and the layer lists of their released Caffe networks,
with the names of layers there; the ResNet has one bottleneck a stage and torchvision's names. The
form of a record: make_fully_convolutional.py.
"""

import torch
import torch.nn.functional as F
from make_fully_convolutional import record
from torch import nn


def enlarged(x, size):
    return F.interpolate(x, size, mode="bilinear", align_corners=True)


class VGG(nn.Module):
    """The trunk: 3x3 poolings that round up, the last two with stride 1, conv5 dilated."""

    def __init__(self, width):
        super().__init__()
        last = 3
        for level, convs in enumerate((2, 2, 3, 3, 3), 1):
            for i in range(1, convs + 1):
                features, hole = width * min(2 ** (level - 1), 8), 2 if level == 5 else 1
                conv = nn.Conv2d(last, features, 3, padding=hole, dilation=hole)
                setattr(self, f"conv{level}_{i}", conv)
                last = features
        self.last = last

    def trunk(self, x):
        for level, convs in enumerate((2, 2, 3, 3, 3), 1):
            for i in range(1, convs + 1):
                x = F.relu(getattr(self, f"conv{level}_{i}")(x))
            x = F.max_pool2d(x, 3, 2 if level < 4 else 1, 1, ceil_mode=True)
        return x


class V1(VGG):
    def __init__(self, classes, width, hidden, size, hole):
        super().__init__(width)
        pad = (size - 1) * hole // 2
        self.fc6 = nn.Conv2d(self.last, hidden, size, padding=pad, dilation=hole)
        self.fc7, self.fc8_voc12 = nn.Conv2d(hidden, hidden, 1), nn.Conv2d(hidden, classes, 1)

    def forward(self, image):
        x = F.avg_pool2d(self.trunk(image), 3, 1, 1)
        x = self.fc8_voc12(F.relu(self.fc7(F.relu(self.fc6(x)))))
        return enlarged(x, image.shape[2:])


class V2VGG(VGG):
    def __init__(self, classes, width, hidden, rates):
        super().__init__(width)
        for n, rate in enumerate(rates, 1):
            fc6 = nn.Conv2d(self.last, hidden, 3, padding=rate, dilation=rate)
            setattr(self, f"fc6_{n}", fc6)
            setattr(self, f"fc7_{n}", nn.Conv2d(hidden, hidden, 1))
            setattr(self, f"fc8_voc12_{n}", nn.Conv2d(hidden, classes, 1))
        self.branches = len(rates)

    def forward(self, image):
        x, total = self.trunk(image), 0
        for n in range(1, self.branches + 1):
            y = F.relu(getattr(self, f"fc6_{n}")(x))
            y = F.relu(getattr(self, f"fc7_{n}")(y))
            total = total + getattr(self, f"fc8_voc12_{n}")(y)
        return enlarged(total, image.shape[2:])


class Bottleneck(nn.Module):
    """The first 1x1 has the stride."""

    def __init__(self, i, width, stride, hole):
        super().__init__()
        o = 4 * width
        self.conv1 = nn.Conv2d(i, width, 1, stride, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, 1, hole, hole, bias=False)
        self.conv3 = nn.Conv2d(width, o, 1, bias=False)
        self.bn1, self.bn2, self.bn3 = (nn.BatchNorm2d(c) for c in (width, width, o))
        shortcut = nn.Conv2d(i, o, 1, stride, bias=False)
        self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(o))

    def forward(self, x):
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y)).relu()
        return (self.bn3(self.conv3(y)) + self.downsample(x)).relu()


class V2ResNet(nn.Module):
    def __init__(self, classes, width, rates):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1, c = nn.BatchNorm2d(width), width
        for stage, (stride, hole) in enumerate(((1, 1), (2, 1), (1, 2), (1, 4)), 1):
            block = Bottleneck(c, width * 2 ** (stage - 1), stride, hole)
            setattr(self, f"layer{stage}", nn.Sequential(block))
            c = 4 * width * 2 ** (stage - 1)
        for n, rate in enumerate(rates):
            conv = nn.Conv2d(c, classes, 3, padding=rate, dilation=rate)
            setattr(self, f"fc1_voc12_c{n}", conv)
        self.rates = rates

    def scores(self, x):
        x = self.bn1(self.conv1(x)).relu()
        x = F.max_pool2d(x, 3, 2, 1, ceil_mode=True)
        for stage in (1, 2, 3, 4):
            x = getattr(self, f"layer{stage}")(x)
        return sum(getattr(self, f"fc1_voc12_c{n}")(x) for n in range(len(self.rates)))

    def forward(self, image):
        fused = self.scores(image)
        for scale in (0.75, 0.5):
            size = [round((n - 1) * scale) + 1 for n in image.shape[2:]]
            y = enlarged(self.scores(enlarged(image, size)), fused.shape[2:])
            fused = torch.maximum(fused, y)
        return enlarged(fused, image.shape[2:])


if __name__ == "__main__":
    record("deeplab_v1", V1(4, 4, 6, 3, 12), (41, 57))
    record("deeplab_v1_4x4", V1(4, 4, 6, 4, 4), (41, 57))
    record("deeplab_v2_vgg", V2VGG(4, 4, 5, (2, 4, 8, 12)), (41, 57))
    record("deeplab_v2_resnet", V2ResNet(4, 4, (6, 12, 18, 24)), (41, 65))
