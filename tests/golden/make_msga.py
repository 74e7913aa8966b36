"""Make msga.json: outputs of a tiny network of two scales. Needs torch 2.13.0.

    python tests/golden/make_msga.py

Written from figures 1 to 3 of the paper and its equations 1 to 9. The outputs are, beside each
other, the mean of the refined logits, those of each scale after and before the stacks, and the two
distances of the semantic modules, spread over the image. Attributes have the places' names in
jaxseg. The form of a record: make_fully_convolutional.py.
"""

import torch
import torch.nn.functional as F
from make_fully_convolutional import record
from torch import nn


class ConvNorm(nn.Module):
    def __init__(self, i, o, k=3, slope=True, bias=True):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(i, o, k, padding=k // 2, bias=bias), nn.BatchNorm2d(o)
        if slope:
            self.slope = nn.PReLU()

    def forward(self, x):
        x = self.norm(self.conv(x))
        return self.slope(x) if hasattr(self, "slope") else x.relu()


class Encoder(nn.Module):
    """Two features, of half and a quarter of the size."""

    def __init__(self, i, widths):
        super().__init__()
        self.level0_conv1 = ConvNorm(i, widths[0], slope=False, bias=False)
        self.level1_conv1 = ConvNorm(widths[0], widths[1], slope=False, bias=False)

    def forward(self, x):
        fine = self.level0_conv1(F.max_pool2d(x, 2))
        return fine, self.level1_conv1(F.max_pool2d(fine, 2))


class Position(nn.Module):
    def __init__(self, c, reduction):
        super().__init__()
        self.query, self.key = (nn.Conv2d(c, c // reduction, 1) for _ in range(2))
        self.value, self.gamma = nn.Conv2d(c, c, 1), nn.Parameter(torch.zeros(1))

    def forward(self, x):
        q, k, v = (f(x).flatten(2) for f in (self.query, self.key, self.value))
        weights = torch.einsum("bcn,bcm->bnm", q, k).softmax(-1)
        return self.gamma * torch.einsum("bnm,bcm->bcn", weights, v).view_as(x) + x


class Channel(nn.Module):
    def __init__(self):
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        flat = x.flatten(2)
        energy = torch.einsum("bcn,bdn->bcd", flat, flat)
        weights = (energy.amax(-1, keepdim=True) - energy).softmax(-1)
        return self.gamma * torch.einsum("bcd,bdn->bcn", weights, flat).view_as(x) + x


class Branch(nn.Module):
    def __init__(self, i, c, attention):
        super().__init__()
        self.conv1, self.attention, self.conv2 = ConvNorm(i, c), attention, ConvNorm(c, c)

    def forward(self, x):
        return self.conv2(self.attention(self.conv1(x)))


class Semantic(nn.Module):
    def __init__(self, c):
        super().__init__()
        pairs = {"level0": (c, 2 * c), "level1": (2 * c, 4 * c)}
        pairs |= {"level2": (4 * c, 2 * c), "level1_up": (2 * c, c)}
        for place, (i, o) in pairs.items():
            setattr(self, f"{place}_conv1", ConvNorm(i, o, slope=False))
            setattr(self, f"{place}_conv2", ConvNorm(o, o, slope=False))
        self.level1_transposed = nn.ConvTranspose2d(2 * c, 2 * c, 2, 2)
        self.level0_transposed = nn.ConvTranspose2d(c, c, 2, 2)

    def double(self, place, x):
        return getattr(self, f"{place}_conv2")(getattr(self, f"{place}_conv1")(x))

    def forward(self, x):
        code = F.max_pool2d(self.double("level1", F.max_pool2d(self.double("level0", x), 2)), 2)
        y = self.level1_transposed(self.double("level2", code))
        return code, self.level0_transposed(self.double("level1_up", y))


class MSGA(nn.Module):
    def __init__(self, i, classes, widths, c, reduction):
        super().__init__()
        self.encoder, self.count = Encoder(i, widths), len(widths)
        for n, width in enumerate(widths):
            setattr(self, f"level{n}_reduce", ConvNorm(width, c, 1))
            setattr(self, f"level{n}_head", nn.Conv2d(c, classes, 1))
            setattr(self, f"level{n}_refined_head", nn.Conv2d(c, classes, 1))
            for s in ("stack1", "stack2"):
                position = Branch(2 * c, c, Position(c, reduction))
                setattr(self, f"{s}_level{n}_position", position)
                setattr(self, f"{s}_level{n}_channel", Branch(2 * c, c, Channel()))
                setattr(self, f"{s}_level{n}_semantic_conv", nn.Conv2d(2 * c, c, 3, padding=1))
                setattr(self, f"{s}_level{n}_project", nn.Conv2d(c, c, 1))
        self.stack1_semantic, self.stack2_semantic = Semantic(2 * c), Semantic(2 * c)
        self.fuse_conv1 = ConvNorm(c * self.count, c)
        self.fuse_conv2, self.fuse_conv3 = ConvNorm(c, c), ConvNorm(c, c, 1)

    def stack(self, name, scales, guides):
        maps, codes, distance = [], [], 0
        for n, (scale, guide) in enumerate(zip(scales, guides, strict=True)):
            x, place = torch.cat([scale, guide], 1), f"{name}_level{n}"
            code, decoded = getattr(self, f"{name}_semantic")(x)
            y = getattr(self, f"{place}_position")(x) + getattr(self, f"{place}_channel")(x)
            y = y * getattr(self, f"{place}_semantic_conv")(decoded)
            maps.append(getattr(self, f"{place}_project")(y)), codes.append(code)
            distance = distance + (x - decoded).square().mean((1, 2, 3))
        return maps, codes, distance

    def forward(self, image):
        size, features = image.shape[2:], self.encoder(image)
        scales = [getattr(self, f"level{n}_reduce")(x) for n, x in enumerate(features)]
        scales = [enlarged(x, scales[0].shape[2:]) for x in scales]
        fused = self.fuse_conv3(self.fuse_conv2(self.fuse_conv1(torch.cat(scales[::-1], 1))))
        first, codes, distance = self.stack("stack1", scales, [fused] * self.count)
        second, others, more = self.stack("stack2", scales, [a * fused for a in first])
        semantic = sum((a - b).square().mean((1, 2, 3)) for a, b in zip(codes, others, strict=True))
        early = [getattr(self, f"level{n}_head")(x) for n, x in enumerate(scales)]
        late = [getattr(self, f"level{n}_refined_head")(x) for n, x in enumerate(second)]
        maps = [enlarged(x, size) for x in (sum(late) / self.count, *late, *early)]
        ones = torch.ones_like(maps[0][:, :1])
        extra = [d[:, None, None, None] * ones for d in (semantic, distance + more)]
        return torch.cat([*maps, *extra], 1)


def enlarged(x, size):
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


if __name__ == "__main__":
    record("msga", MSGA(3, 2, (3, 5), 4, 2).double(), (16, 24), "paper")
