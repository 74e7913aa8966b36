"""Make enet.json, enet_davidtvs.json and espnet_v2.json: tiny networks. Needs torch 2.13.0.

    python tests/golden/make_compact.py

Written from the papers' figures and tables and the layer lists of the released code: that of ENet
is in Lua, its attributes have the names of PyTorch-ENet here. The form of a record:
make_fully_convolutional.py.
"""

import torch
import torch.nn.functional as F
from make_fully_convolutional import record
from torch import nn

# --- ENet -----------------------------------------------------------------------------------------


TWO = {"kernel_size": 2}
THREE = {"kernel_size": 3, "padding": 1, "output_padding": 1}


class Branch(nn.Module):
    """What a bottleneck adds to ``main``, and what activates the sum."""

    def __init__(self, i, o, kind, lua, prelu):
        super().__init__()
        eps, narrow = (1e-3, o // 4) if lua else (1e-5, i // 4)

        def act(c):
            return nn.PReLU(c if lua else 1) if prelu else nn.ReLU()

        def normed(conv, c):
            return [conv, nn.BatchNorm2d(c, eps=eps)]

        step, last = 2 if kind == "down" else 1, 3
        reduce = nn.Conv2d(i, narrow, step, step, bias=False)
        self.ext_conv1 = nn.Sequential(*normed(reduce, narrow), act(narrow))
        if kind == "up":
            size, last = THREE if lua else TWO, 2
            self.ext_tconv1 = nn.ConvTranspose2d(narrow, narrow, stride=2, bias=lua, **size)
            self.ext_tconv1_bnorm = nn.BatchNorm2d(narrow, eps=eps)
            middle = [self.ext_tconv1, self.ext_tconv1_bnorm, nn.ReLU()]
        elif kind == "asymmetric":
            sizes = ((1, 5), (5, 1)) if lua else ((5, 1), (1, 5))
            first, second = (
                nn.Conv2d(narrow, narrow, s, padding=(s[0] // 2, s[1] // 2), bias=b)
                for s, b in zip(sizes, (False, lua), strict=True)
            )
            nothing = [nn.Identity(), nn.Identity()]
            between = [first, *nothing] if lua else [*normed(first, narrow), act(narrow)]
            middle = [*between, *normed(second, narrow), act(narrow)]
        else:
            d = kind if isinstance(kind, int) else 1
            conv = nn.Conv2d(narrow, narrow, 3, padding=d, dilation=d, bias=lua)
            middle = [*normed(conv, narrow), act(narrow)]
        if kind != "up":
            self.ext_conv2 = nn.Sequential(*middle)
        self.middle = lambda x: nn.Sequential(*middle)(x)
        expand = normed(nn.Conv2d(narrow, o, 1, bias=False), o)
        expand = nn.Sequential(*expand, nn.Identity() if lua else act(o))
        setattr(self, f"ext_conv{last}", expand)
        self.out_prelu, self.last, self.wide = act(o), last, o

    def forward(self, x, main):
        y = getattr(self, f"ext_conv{self.last}")(self.middle(self.ext_conv1(x)))
        return self.out_prelu(main + y)


class Initial(nn.Module):
    def __init__(self, o, lua):
        super().__init__()
        self.main_branch = nn.Conv2d(3, o - 3, 3, 2, 1, bias=lua)
        self.batch_norm = nn.BatchNorm2d(o, eps=1e-3 if lua else 1e-5)
        self.out_prelu = nn.PReLU(o if lua else 1)
        self.lua = lua

    def forward(self, x):
        pooled = F.max_pool2d(x, 2) if self.lua else F.max_pool2d(x, 3, 2, 1)
        return self.out_prelu(self.batch_norm(torch.cat([self.main_branch(x), pooled], 1)))


class ENet(nn.Module):
    """One bottleneck in stage 1, three in stages 2 and 3."""

    def __init__(self, classes, widths, lua):
        super().__init__()
        a, b, c = widths
        self.initial_block = Initial(a, lua)
        self.downsample1_0, self.regular1_1 = (
            Branch(a, b, "down", lua, True),
            Branch(b, b, 1, lua, True),
        )
        self.downsample2_0 = Branch(b, c, "down", lua, True)
        for stage, first in ((2, 1), (3, 0)):
            for i, (name, kind) in enumerate(
                (("regular", 1), ("dilated", 2), ("asymmetric", "asymmetric")), first
            ):
                setattr(self, f"{name}{stage}_{i}", Branch(c, c, kind, lua, True))
        for stage, i, o, count in ((4, c, b, 2), (5, b, a, 1)):
            up = Branch(i, o, "up", lua, False)
            eps = 1e-3 if lua else 1e-5
            project = nn.Conv2d(i, o, 1, bias=False)
            up.main_conv1 = nn.Sequential(project, nn.BatchNorm2d(o, eps=eps))
            setattr(self, f"upsample{stage}_0", up)
            for n in range(1, count + 1):
                setattr(self, f"regular{stage}_{n}", Branch(o, o, 1, lua, False))
        size = TWO if lua else THREE
        self.transposed_conv = nn.ConvTranspose2d(a, classes, stride=2, bias=lua, **size)

    def down(self, x, name):
        main, index = F.max_pool2d(x, 2, return_indices=True)
        block = getattr(self, name)
        main = F.pad(main, (0, 0, 0, 0, 0, block.wide - main.shape[1]))
        return block(x, main), index

    def up(self, x, index, name):
        block = getattr(self, name)
        return block(x, F.max_unpool2d(block.main_conv1(x), index, 2))

    def forward(self, x):
        x = self.initial_block(x)
        x, fine = self.down(x, "downsample1_0")
        x = self.regular1_1(x, x)
        x, coarse = self.down(x, "downsample2_0")
        for name in ("regular2_1", "dilated2_2", "asymmetric2_3",
                     "regular3_0", "dilated3_1", "asymmetric3_2"):  # fmt: skip
            x = getattr(self, name)(x, x)
        x = self.up(x, coarse, "upsample4_0")
        x = self.regular4_2(*[self.regular4_1(x, x)] * 2)
        x = self.up(x, fine, "upsample5_0")
        return self.transposed_conv(self.regular5_1(x, x))


# --- ESPNetv2 -------------------------------------------------------------------------------------


class Act(nn.Module):
    """[Convolution,] norm[, PReLU], with the names of the released code."""

    def __init__(self, i, o, size=1, stride=1, groups=1, act=True, conv=True):
        super().__init__()
        if conv:
            self.conv = nn.Conv2d(i, o, size, stride, size // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(o)
        if act:
            self.act = nn.PReLU(o)

    def forward(self, x):
        x = self.bn(self.conv(x) if hasattr(self, "conv") else x)
        return self.act(x) if hasattr(self, "act") else x


class Only(nn.Module):
    def __init__(self, *args, **fields):
        super().__init__()
        self.conv = nn.Conv2d(*args, bias=False, **fields)

    def forward(self, x):
        return self.conv(x)


class Unit(nn.Module):
    def __init__(self, i, o, spans, stride=1):
        super().__init__()
        n = o // 4
        self.proj_1x1 = Act(i, n, groups=4)
        self.spp_dw = nn.ModuleList(
            Only(n, n, 3, stride, (s - 1) // 2, (s - 1) // 2, groups=n) for s in spans
        )
        self.conv_1x1_exp = Act(o, o, groups=4, act=False)
        self.br_after_cat = Act(o, o, conv=False)
        self.stride = stride
        if stride == 1:
            self.module_act = nn.PReLU(o)

    def forward(self, x):
        y, total, maps = self.proj_1x1(x), 0, []
        for branch in self.spp_dw:
            total = total + branch(y)
            maps.append(total)
        y = self.conv_1x1_exp(self.br_after_cat(torch.cat(maps, 1)))
        if self.stride == 2:
            return y
        return self.module_act(y + x if y.shape == x.shape else y)


class Down(nn.Module):
    def __init__(self, i, o, spans):
        super().__init__()
        self.eesp = Unit(i, o - i, spans, 2)
        self.inp_reinf = nn.Sequential(Act(3, 3, 3), Act(3, o, act=False))
        self.act = nn.PReLU(o)

    def forward(self, x, image):
        y = torch.cat([F.avg_pool2d(x, 3, 2, 1), self.eesp(x)], 1)
        while image.shape[2] > y.shape[2]:
            image = F.avg_pool2d(image, 3, 2, 1)
        return self.act(y + self.inp_reinf(image))


class Pyramid(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.stages = nn.ModuleList(Only(c, c, 3, padding=1, groups=c) for _ in range(4))
        self.project = Act(5 * c, c)

    def forward(self, x):
        maps, small = [x], x
        for stage in self.stages:
            small = F.avg_pool2d(small, 3, 2, 1)
            maps.append(sized(stage(small), x))
        return self.project(torch.cat(maps, 1))


class Trunk(nn.Module):
    def __init__(self, widths, depths):
        super().__init__()
        a, b, c, d = widths
        wide, narrow = (3, 5, 7, 9), (3, 3, 5, 7)
        self.level1 = Act(3, a, 3, 2)
        self.level2_0, self.level3_0, self.level4_0 = (
            Down(a, b, wide),
            Down(b, c, wide),
            Down(c, d, wide),
        )
        self.level3 = nn.ModuleList(Unit(c, c, wide) for _ in range(depths[0]))
        self.level4 = nn.ModuleList(Unit(d, d, narrow) for _ in range(depths[1]))

    def forward(self, image):
        one = self.level1(image)
        two = self.level2_0(one, image)
        three = self.level3_0(two, image)
        for unit in self.level3:
            three = unit(three)
        four = self.level4_0(three, image)
        for unit in self.level4:
            four = unit(four)
        return one, two, three, four


class ESPNetV2(nn.Module):
    """The logits and, beside them, the coarser ones."""

    def __init__(self, classes, widths, depths):
        super().__init__()
        a, b, c, d = widths
        self.net = Trunk(widths, depths)
        self.proj_L4_C = Act(d, c)
        self.pspMod = nn.Sequential(Unit(2 * c, c, (3, 3, 5, 7)), Pyramid(c))
        self.project_l3 = nn.Sequential(nn.Dropout2d(), Only(c, classes, 1))
        self.act_l3 = Act(classes, classes, conv=False)
        self.project_l2 = Act(b + classes, classes)
        self.project_l1 = nn.Sequential(nn.Dropout2d(), Only(a + classes, classes, 1))

    def forward(self, image):
        one, two, three, four = self.net(image)
        x = self.pspMod(torch.cat([three, sized(self.proj_L4_C(four), three)], 1))
        coarse = self.project_l3(x)
        x = self.project_l2(torch.cat([two, sized(self.act_l3(coarse), two)], 1))
        x = self.project_l1(torch.cat([one, sized(x, one)], 1))
        for _ in range(3):
            coarse = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=True)
        return torch.cat([sized(x, image), coarse], 1)


def sized(x, like):
    return F.interpolate(x, like.shape[2:], mode="bilinear", align_corners=True)


if __name__ == "__main__":
    record("enet", ENet(3, (8, 8, 16), True), (40, 48), "e-lab/ENet-training")
    record("enet_davidtvs", ENet(3, (8, 8, 16), False), (40, 48), "davidtvs/PyTorch-ENet")
    record("espnet_v2", ESPNetV2(3, (16, 32, 48, 64), (1, 1)), (48, 64), "sacmehta/ESPNetv2")
