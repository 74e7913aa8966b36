"""Make refinenet.json: outputs of a tiny network. Needs torch 2.13.0.

    python tests/golden/make_refinenet.py

Written from figures 2 and 3 of the paper, with four links of pooling and three units at the end of
a block as the released networks have, on a ResNet of one basic block a stage; the attributes have
the names of the community's port. The form of a record: make_fully_convolutional.py.
"""

import torch.nn.functional as F
from make_fully_convolutional import record
from torch import nn


def conv(i, o, bias=False):
    return nn.Conv2d(i, o, 3, padding=1, bias=bias)


class Units(nn.Module):
    """Figure 3b, some in a row."""

    def __init__(self, c, count):
        super().__init__()
        self.count = count
        for n in range(1, count + 1):
            setattr(self, f"{n}_conv", conv(c, c, bias=True))
            setattr(self, f"{n}_conv_relu_varout_dimred", conv(c, c))

    def forward(self, x):
        for n in range(1, self.count + 1):
            y = getattr(self, f"{n}_conv")(x.relu())
            x = x + getattr(self, f"{n}_conv_relu_varout_dimred")(y.relu())
        return x


class Chain(nn.Module):
    """Figure 3d after its ReLU."""

    def __init__(self, c):
        super().__init__()
        for n in (1, 2, 3, 4):
            setattr(self, f"{n}_outvar_dimred", conv(c, c))

    def forward(self, x):
        links = [x]
        for n in (1, 2, 3, 4):
            pooled = F.max_pool2d(links[-1], 5, 1, 2)
            links.append(getattr(self, f"{n}_outvar_dimred")(pooled))
        return sum(links)


class Basic(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(i, o, 3, stride, 1, bias=False)
        self.conv2, self.bn1, self.bn2 = conv(o, o), nn.BatchNorm2d(o), nn.BatchNorm2d(o)
        if stride > 1:
            shortcut = nn.Conv2d(i, o, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(o))

    def forward(self, x):
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (y + (self.downsample(x) if hasattr(self, "downsample") else x)).relu()


class RefineNet(nn.Module):
    def __init__(self, classes, width, widths):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1, c = nn.BatchNorm2d(width), width
        for stage in (1, 2, 3, 4):
            o = width * 2 ** (stage - 1)
            setattr(self, f"layer{stage}", nn.Sequential(Basic(c, o, 1 if stage == 1 else 2)))
            c = o
        for n, o in enumerate(widths, 1):
            setattr(self, f"p_ims1d2_outl{n}_dimred", conv(width * 2 ** (4 - n), o))
            setattr(self, f"adapt_stage{n}_b", nn.Sequential(Units(o, 2)))
            if n > 1:
                before = conv(widths[n - 2], o)
                setattr(self, f"mflow_conv_g{n - 1}_b3_joint_varout_dimred", before)
                setattr(self, f"adapt_stage{n}_b2_joint_varout_dimred", conv(o, o))
            setattr(self, f"mflow_conv_g{n}_pool", nn.Sequential(Chain(o)))
            setattr(self, f"mflow_conv_g{n}_b", nn.Sequential(Units(o, 3)))
        self.clf_conv = conv(widths[-1], classes, bias=True)

    def forward(self, image):
        x = F.max_pool2d(self.bn1(self.conv1(image)).relu(), 3, 2, 1)
        features, above = [], None
        for stage in (1, 2, 3, 4):
            x = getattr(self, f"layer{stage}")(x)
            features.append(x)
        for n, y in enumerate(reversed(features), 1):
            y = getattr(self, f"adapt_stage{n}_b")(getattr(self, f"p_ims1d2_outl{n}_dimred")(y))
            if n > 1:  # figure 3c
                above = getattr(self, f"mflow_conv_g{n - 1}_b3_joint_varout_dimred")(above)
                y = getattr(self, f"adapt_stage{n}_b2_joint_varout_dimred")(y)
                y = y + enlarged(above, y)
            y = getattr(self, f"mflow_conv_g{n}_pool")(y.relu())
            above = getattr(self, f"mflow_conv_g{n}_b")(y)
        return enlarged(self.clf_conv(above), image)


def enlarged(x, to):
    return F.interpolate(x, to.shape[2:], mode="bilinear", align_corners=True)


if __name__ == "__main__":
    network = RefineNet(4, 4, (6, 5, 5, 3))
    record("refinenet", network, (70, 101), "DrSleep/refinenet-pytorch")
