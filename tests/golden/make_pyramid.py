"""Make pyramid.npz: PyTorch's numbers for the pyramid and context layers. Needs torch 2.13.0.

    python tests/golden/make_pyramid.py

Each network below is written from the paper, or from what the named library computes, in plain
torch.nn; its attributes carry our names, so that a parameter's path is ours. For each case:
``CASE/x0`` (and x1), ``params/...``, ``batch_stats/...``, ``w``, and for the modes ``train`` and
``eval`` (one of them where there is no norm): ``y``, and of sum(y * w) the gradients ``dx0`` and
``dparams/...``. All channels last, kernels as [*kernel, c_in / groups, c_out].

Because a zip entry takes more room than most of these arrays, the file holds two: ``numbers``, all
arrays end to end, and ``index``, JSON of [key, shape] in that order.
"""

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)  # so that only our rounding is left to be compared
RANDOM = np.random.RandomState(0)
STORE = {}
CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
NORM = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
MEAN = {2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}
MAXIMUM = {2: F.adaptive_max_pool2d, 3: F.adaptive_max_pool3d}
MAX_POOL = {2: F.max_pool2d, 3: F.max_pool3d}
AVERAGE_POOL = {2: F.avg_pool2d, 3: F.avg_pool3d}
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


def normal(*shape):
    return torch.from_numpy(RANDOM.standard_normal(shape).astype("f4")).double()


def grown(x, like, align_corners):
    size = like.shape[2:]
    return F.interpolate(x, size, mode=LINEAR[x.ndim - 2], align_corners=align_corners)


def conv(rank, i, o, k, rate=1, groups=1, bias=True):
    return CONV[rank](i, o, k, padding=rate * (k - 1) // 2, dilation=rate, groups=groups, bias=bias)


class ConvNorm(nn.Module):
    def __init__(self, rank, i, o, k, rate=1, groups=1, norm=True):
        super().__init__()
        self.conv = conv(rank, i, o, k, rate, groups, bias=not norm)
        self.norm = NORM[rank](o) if norm else nn.Identity()

    def forward(self, x):
        return F.relu(self.norm(self.conv(x)))


class Separable(nn.Module):  # as in DeepLab v3+; without the inner norm and ReLU as in SMP
    def __init__(self, rank, i, o, rate, inner):
        super().__init__()
        self.depthwise = conv(rank, i, i, 3, rate, i, bias=False)
        self.depthwise_norm = NORM[rank](i) if inner else nn.Identity()
        self.pointwise = conv(rank, i, o, 1, bias=False)
        self.pointwise_norm = NORM[rank](o)
        self.inner = F.relu if inner else lambda x: x

    def forward(self, x):
        x = self.inner(self.depthwise_norm(self.depthwise(x)))
        return F.relu(self.pointwise_norm(self.pointwise(x)))


class ASPP(nn.Module):
    def __init__(self, rank, i, o, rates, form, order, pooling=True, norm=True, projected=None):
        super().__init__()
        self.order, self.branches = order, [f"dilated{n + 1}" for n in range(len(rates))]
        self.pointwise = ConvNorm(rank, i, o, 1, norm=norm)
        for name, rate in zip(self.branches, rates, strict=True):
            if form == "standard":
                branch = ConvNorm(rank, i, o, 3, rate, norm=norm)
            else:
                branch = Separable(rank, i, o, rate, form == "deeplab")
            setattr(self, name, branch)
        self.image = ConvNorm(rank, i, o, 1, norm=norm) if pooling else None
        count = len(rates) + 1 + pooling
        self.projection = ConvNorm(rank, count * o, projected or o, 1, norm=norm)

    def forward(self, x):
        maps = [self.pointwise(x), *(getattr(self, name)(x) for name in self.branches)]
        if self.image is not None:
            mean = self.image(x.mean(tuple(range(2, x.ndim)), keepdim=True))
            mean = mean.expand(*mean.shape[:2], *x.shape[2:])
            maps = [mean, *maps] if self.order == "tensorflow" else [*maps, mean]
        return self.projection(torch.cat(maps, 1))


class SummedASPP(nn.Module):
    def __init__(self, rank, i, o, rates, hidden=None):
        super().__init__()
        self.branches, self.hidden = [f"dilated{n + 1}" for n in range(len(rates))], hidden
        for name, rate in zip(self.branches, rates, strict=True):
            if hidden is None:
                setattr(self, name, conv(rank, i, o, 3, rate))
            else:
                setattr(self, f"{name}_fc6", conv(rank, i, hidden, 3, rate))
                setattr(self, f"{name}_fc7", conv(rank, hidden, hidden, 1))
                setattr(self, f"{name}_fc8", conv(rank, hidden, o, 1))

    def forward(self, x):
        return sum(self.branch(x, name) for name in self.branches)

    def branch(self, x, name):
        if self.hidden is None:
            return getattr(self, name)(x)
        x = F.relu(getattr(self, f"{name}_fc6")(x))
        return getattr(self, f"{name}_fc8")(F.relu(getattr(self, f"{name}_fc7")(x)))


class PyramidPooling(nn.Module):
    def __init__(self, rank, i, o, bins, pool, align, first=True, norm_of_one=True):
        super().__init__()
        self.rank, self.bins, self.pool, self.align, self.first = rank, bins, pool, align, first
        for n in bins:
            setattr(self, f"bins{n}", ConvNorm(rank, i, o, 1, norm=n > 1 or norm_of_one))

    def forward(self, x):
        pool = (MEAN if self.pool == "mean" else MAXIMUM)[self.rank]
        maps = [grown(getattr(self, f"bins{n}")(pool(x, n)), x, self.align) for n in self.bins]
        return torch.cat([x, *maps] if self.first else [*maps, x], 1)


class RMP(nn.Module):
    def __init__(self, rank, i, windows, shared):
        super().__init__()
        self.rank, self.windows, self.shared = rank, windows, shared
        for name in ["conv"] if shared else [f"conv{n}" for n in windows]:
            setattr(self, name, conv(rank, i, 1, 1))

    def forward(self, x):
        maps = []
        for n in self.windows:
            reduce = self.conv if self.shared else getattr(self, f"conv{n}")
            maps.append(grown(reduce(MAX_POOL[self.rank](x, n)), x, False))
        return torch.cat([*maps, x], 1)


class SharedDAC(nn.Module):
    def __init__(self, rank, i):
        super().__init__()
        for rate in (1, 3, 5):
            setattr(self, f"dilated{rate}", conv(rank, i, i, 3, rate))
        self.pointwise = conv(rank, i, i, 1)

    def forward(self, x):
        d1, d3, d5, c = self.dilated1, self.dilated3, self.dilated5, self.pointwise
        one, two = F.relu(d1(x)), F.relu(c(d3(x)))
        return x + one + two + F.relu(c(d3(d1(x)))) + F.relu(c(d5(d3(d1(x)))))


class SeparateDAC(nn.Module):
    CHAINS = ((1,), (3,), (1, 3), (1, 3, 5))

    def __init__(self, rank, i):
        super().__init__()
        for number, rates in enumerate(self.CHAINS, 1):
            for rate in rates:
                setattr(self, f"branch{number}_dilated{rate}", conv(rank, i, i, 3, rate))
            if number > 1:
                setattr(self, f"branch{number}_pointwise", conv(rank, i, i, 1))

    def forward(self, x):
        total = x
        for number, rates in enumerate(self.CHAINS, 1):
            y = x
            for rate in rates:
                y = getattr(self, f"branch{number}_dilated{rate}")(y)
            if number > 1:
                y = getattr(self, f"branch{number}_pointwise")(y)
            total = total + F.relu(y)
        return total


class FPA(nn.Module):
    def __init__(self, rank, i, o, width, pool, align, bias):
        super().__init__()
        self.rank, self.pool, self.align = rank, pool, align
        sizes = {"global": (i, o, 1), "main": (i, o, 1), "down1": (i, width, 7)}
        sizes |= {"down2": (width, width, 5), "down3": (width, width, 3)}
        sizes |= {f"level{n}": (width, width, k) for n, k in ((1, 7), (2, 5), (3, 3))}
        for name, (c, k, size) in sizes.items():
            setattr(self, f"{name}_conv", conv(rank, c, k, size, bias=bias))
            setattr(self, f"{name}_norm", NORM[rank](k))

    def block(self, name, x):
        return F.relu(getattr(self, f"{name}_norm")(getattr(self, f"{name}_conv")(x)))

    def forward(self, x):
        half = (MAX_POOL if self.pool == "max" else AVERAGE_POOL)[self.rank]
        mean = self.block("global", x.mean(tuple(range(2, x.ndim)), keepdim=True))
        x1 = self.block("down1", half(x, 2))
        x2 = self.block("down2", half(x1, 2))
        x3 = self.block("level3", self.block("down3", half(x2, 2)))
        x2 = self.block("level2", x2) + grown(x3, x2, self.align)
        x1 = self.block("level1", x1) + grown(x2, x1, self.align)
        return grown(x1, x, self.align) * self.block("main", x) + mean


class GAU(nn.Module):
    def __init__(self, rank, low, high, gate, align, bias):
        super().__init__()
        self.gate, self.align = gate, align
        self.gate_conv, self.gate_norm = conv(rank, high, high, 1, bias=bias), NORM[rank](high)
        self.local_conv, self.local_norm = conv(rank, low, high, 3, bias=bias), NORM[rank](high)

    def forward(self, low, high):
        mean = high.mean(tuple(range(2, high.ndim)), keepdim=True)
        weight = self.gate(self.gate_norm(self.gate_conv(mean)))
        local = F.relu(self.local_norm(self.local_conv(low)))
        return grown(high, low, self.align) + local * weight


class HDC(nn.Module):
    def __init__(self, rank, i, o, rates):
        super().__init__()
        self.count = len(rates)
        for n, rate in enumerate(rates, 1):
            setattr(self, f"conv{n}", ConvNorm(rank, i if n == 1 else o, o, 3, rate))

    def forward(self, x):
        for n in range(self.count):
            x = getattr(self, f"conv{n + 1}")(x)
        return x


class DUC(nn.Module):
    def __init__(self, rank, i, o, factor):
        super().__init__()
        self.rank, self.factor, self.features = rank, factor, o
        self.conv = conv(rank, i, o * factor**rank, 3)

    def forward(self, x):
        y = self.conv(x)
        if self.rank == 2:
            return F.pixel_shuffle(y, self.factor)
        d, (b, _, *size) = self.factor, y.shape  # the same in 3-D: c, then the place in the cube
        y = y.reshape(b, self.features, d, d, d, *size).permute(0, 1, 5, 2, 6, 3, 7, 4)
        return y.reshape(b, self.features, *(d * n for n in size))


def images(b, c, *size):
    # each of its own brightness: or the norm of the images' means divides by next to nothing
    return normal(b, c, *size) + normal(b, c, *(1 for _ in size))


def last(a):  # [b c *s] -> [b *s c]
    return np.moveaxis(a.detach().numpy(), 1, -1).astype("f4")


def leaves(network, gradient):
    """Parameters (or their gradients) by our path."""
    for path, module in network.named_modules():
        path = path.replace(".", "/")
        kernel, names = "scale", ()
        if isinstance(module, tuple(CONV.values())):
            kernel, names = "kernel", ("weight", "bias")
        elif isinstance(module, tuple(NORM.values())):
            names = ("weight", "bias")
        for name in names:
            value = getattr(module, name)
            if value is None:
                continue
            value = (value.grad if gradient else value.detach()).numpy().copy()
            if value.ndim > 1:
                value = value.transpose(*range(2, value.ndim), 1, 0)
            yield f"{path}/{kernel if name == 'weight' else 'bias'}", value.astype("f4")


def case(name, network, *inputs, modes=("eval", "train")):
    norms = [m for m in network.modules() if isinstance(m, tuple(NORM.values()))]
    for parameter in network.parameters():  # exact in float32, and the file compresses better
        parameter.data = torch.round(256 * parameter.data) / 256
    for module in network.modules():
        if isinstance(module, ConvNorm) and module.conv.bias is not None:
            module.conv.bias.data += 1  # the same
    for path, module in network.named_modules():
        if module in norms:
            module.weight.data = 1 + 0.3 * normal(*module.weight.shape)
            module.bias.data = 1 + 0.3 * normal(*module.bias.shape)  # ReLU lets most through
            module.running_mean.copy_(0.1 * normal(*module.bias.shape))
            module.running_var.copy_(0.5 + normal(*module.bias.shape).abs())
            stats = f"{name}/batch_stats/{path.replace('.', '/')}"
            STORE[f"{stats}/mean"] = module.running_mean.numpy().astype("f4")
            STORE[f"{stats}/var"] = module.running_var.numpy().astype("f4")
    STORE.update({f"{name}/params/{path}": value for path, value in leaves(network, False)})
    STORE.update({f"{name}/x{n}": last(x) for n, x in enumerate(inputs)})
    w = None
    # evaluation first: training changes the running moments
    for mode in modes if norms else modes[:1]:
        network.train(mode == "train").zero_grad()
        leaf = [x.clone().requires_grad_() for x in inputs]
        y = network(*leaf)
        w = normal(*y.shape) if w is None else w
        (y * w).sum().backward()
        STORE[f"{name}/{mode}/y"] = last(y)
        STORE.update({f"{name}/{mode}/dx{n}": last(x.grad) for n, x in enumerate(leaf)})
        gradients = {f"{name}/{mode}/dparams/{path}": v for path, v in leaves(network, True)}
        STORE.update(gradients)
    STORE[f"{name}/w"] = last(w)


flat, solid = (3, 3, 7, 4), (3, 2, 3, 2, 5)
for form in ("standard", "deeplab", "community"):
    case(f"aspp_{form}", ASPP(2, 3, 3, (1, 3), form, "torch"), images(*flat))
case("aspp_tensorflow", ASPP(2, 3, 3, (1, 3), "standard", "tensorflow"), images(*flat))
bare = ASPP(2, 3, 3, (1, 2), "standard", "torch", norm=False, projected=5)
case("aspp_without_norm", bare, images(*flat))
case("aspp_3d", ASPP(3, 2, 3, (1, 2), "standard", "torch", pooling=False), images(*solid))
case("aspp_separable_3d", ASPP(3, 2, 3, (1, 2), "deeplab", "torch"), images(*solid))
case("summed_aspp", SummedASPP(2, 3, 3, (1, 4)), images(*flat))
case("summed_aspp_hidden", SummedASPP(2, 3, 3, (1, 2), hidden=5), images(*flat))
case("summed_aspp_3d", SummedASPP(3, 2, 3, (1, 2)), images(*solid))

case("ppm_mean", PyramidPooling(2, 4, 1, (1, 2, 3, 6), "mean", True), images(3, 4, 5, 7))
case("ppm_max", PyramidPooling(2, 3, 2, (1, 3), "max", True), images(3, 3, 5, 7))
case("ppm_upernet", PyramidPooling(2, 3, 2, (1, 2, 3), "mean", False), images(*flat))
smp = PyramidPooling(2, 4, 1, (1, 2, 3, 6), "mean", True, first=False, norm_of_one=False)
case("ppm_smp", smp, images(3, 4, 5, 7))
case("ppm_3d", PyramidPooling(3, 2, 1, (1, 2), "max", True), images(*solid))

case("rmp_shared", RMP(2, 3, (2, 3, 5, 6), True), images(2, 3, 7, 10))
case("rmp_separate_3d", RMP(3, 2, (2, 3), False), images(2, 2, 4, 3, 5))

case("dac_shared", SharedDAC(2, 3), images(1, 3, 9, 7))
case("dac_separate", SeparateDAC(2, 2), images(1, 2, 9, 7))
case("dac_shared_3d", SharedDAC(3, 2), images(1, 2, 5, 4, 6))

case("fpa_smp", FPA(2, 2, 3, 1, "max", True, True), images(3, 2, 17, 16))
case("fpa_wide", FPA(2, 2, 2, 2, "average", False, False), images(3, 2, 16, 16))
case("fpa_3d", FPA(3, 1, 2, 1, "max", True, False), images(1, 1, 8, 9, 8), modes=("eval",))

case("gau_relu", GAU(2, 3, 2, F.relu, True, False), images(3, 3, 5, 6), images(3, 2, 3, 2))
case("gau_smp", GAU(2, 3, 2, torch.sigmoid, True, True), images(3, 3, 5, 6), images(3, 2, 3, 2))
small, large = images(3, 3, 2, 2, 3), images(3, 2, 3, 2, 5)
case("gau_3d", GAU(3, 2, 3, F.relu, False, False), large, small)

case("hdc", HDC(2, 3, 2, (1, 2, 5)), images(2, 3, 9, 7))
case("hdc_3d", HDC(3, 2, 2, (1, 2)), images(2, 2, 4, 3, 5))

case("duc", DUC(2, 2, 2, 3), images(1, 2, 4, 3))
case("duc_3d", DUC(3, 2, 2, 2), images(1, 2, 3, 2, 4))
np.savez_compressed(
    Path(__file__).parent / "pyramid.npz",
    numbers=np.concatenate([value.ravel() for value in STORE.values()]),
    index=json.dumps([[key, value.shape] for key, value in STORE.items()]),
)
