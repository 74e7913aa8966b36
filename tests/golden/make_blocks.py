"""Make blocks.npz: PyTorch's numbers for the blocks, forward and gradient. Needs torch 2.13.0.

    python tests/golden/make_blocks.py

Each block is written here in plain torch.nn from its paper (or the community's definition, where
that is said); its parts bear the names that jaxseg gives them. Everything is stored channels last.
A case has x, y, w, and of sum(y * w) the gradient dx; params/<path>, dparams/<path>; and where a
batch norm is, stats/<path> before and new_stats/<path> after the pass.

In the file a case is one row of numbers, its arrays in the order of "index", a JSON text that gives
the name and shape of each: 1200 entries of their own would weigh more than their numbers.
"""

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
RANDOM = np.random.RandomState(0)
STORE, INDEX = {}, {}
CONVS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
POOLS = {2: F.max_pool2d, 3: F.max_pool3d}
MEANS = {2: F.avg_pool2d, 3: F.avg_pool3d}


def normal(*shape):  # in steps of 2^-9, which halves the file
    return torch.from_numpy(np.round(512 * RANDOM.standard_normal(shape)).astype("f4") / 512)


class BatchNorm(nn.Module):
    """Batch norm whose running variance is biased, as Flax keeps it (torch: unbiased)."""

    def __init__(self, c, scale=True, bias=True, eps=1e-5, momentum=0.1):
        super().__init__()
        self.scale = nn.Parameter(1 + 0.3 * normal(c)) if scale else None
        self.bias = nn.Parameter(0.3 * normal(c)) if bias else None
        self.register_buffer("mean", 0.3 * normal(c))
        self.register_buffer("var", 1 + 0.3 * normal(c).abs())
        self.eps, self.momentum = eps, momentum

    def forward(self, x):
        if not self.training:
            return F.batch_norm(x, self.mean, self.var, self.scale, self.bias, False, 0, self.eps)
        axes = [0, *range(2, x.ndim)]
        with torch.no_grad():
            self.mean += self.momentum * (x.mean(axes) - self.mean)
            self.var += self.momentum * (x.var(axes, unbiased=False) - self.var)
        return F.batch_norm(x, None, None, self.scale, self.bias, True, 0, self.eps)


class GroupNorm(nn.Module):
    def __init__(self, groups, c):
        super().__init__()
        self.groups = groups
        self.scale = nn.Parameter(1 + 0.3 * normal(c))
        self.bias = nn.Parameter(0.3 * normal(c))

    def forward(self, x):
        return F.group_norm(x, self.groups, self.scale, self.bias, 1e-5)


def conv(i, o, k=3, stride=1, dilation=1, groups=1, bias=False, rank=2):
    made = CONVS[rank](i, o, k, stride, dilation * (k - 1) // 2, dilation, groups, bias)
    fan = made.weight[0].numel()
    made.weight.data = (512 * normal(*made.weight.shape) * (2 / fan) ** 0.5).round() / 512
    if bias:
        made.bias.data = 0.3 * normal(o)
    return made


class ConvNorm(nn.Module):
    def __init__(self, i, o, k=3, relu=True, norm=True, **fields):
        super().__init__()
        self.conv = conv(i, o, k, bias=not norm, **fields)
        self.norm = BatchNorm(o) if norm else nn.Identity()
        self.relu = relu

    def forward(self, x):
        x = self.norm(self.conv(x))
        return F.relu(x) if self.relu else x


def last(a):  # [b c *s] -> [b *s c]
    return np.moveaxis(a.detach().numpy(), 1, -1).copy()


def stored(name, a):
    """A parameter or statistic in jaxseg's layout and under its name."""
    *path, leaf = name.split(".")
    a = a.detach().numpy()
    if leaf == "weight":
        leaf, a = "kernel", a.transpose(*range(2, a.ndim), 1, 0)
    return "/".join([*path, leaf]), a.copy()


def case(name, module, *inputs, train=True, move=last):
    module.train(train)
    inputs = [x.requires_grad_() for x in inputs]
    found = {}
    for key, a in module.named_buffers():
        path, a = stored(key, a)
        found[f"stats/{path}"] = a
    y = module(*inputs)
    w = normal(*y.shape)
    (y * w).sum().backward()
    found |= {"y": move(y), "w": move(w)}
    for i, x in enumerate(inputs):
        number = str(i) if len(inputs) > 1 else ""
        found |= {f"x{number}": move(x), f"dx{number}": move(x.grad)}
    for key, a in module.named_parameters():
        (path, value), (_, gradient) = stored(key, a), stored(key, a.grad)
        found |= {f"params/{path}": value, f"dparams/{path}": gradient}
    for key, a in module.named_buffers() if train else ():
        path, a = stored(key, a)
        found[f"new_stats/{path}"] = a
    STORE[name] = np.concatenate([value.ravel() for value in found.values()]).astype("f4")
    INDEX[name] = [(key, value.shape) for key, value in found.items()]


# Residual blocks: torchvision's BasicBlock and Bottleneck; their pre-activation forms.
class Post(nn.Module):
    def __init__(self, i, o, width=None, stride=1, dilation=1, groups=1, average=False, rank=2):
        super().__init__()
        r = {"rank": rank}
        spread = {"stride": stride, "dilation": dilation, "groups": groups}
        if width is None:
            self.conv1 = ConvNorm(i, o, **spread, **r)
            self.conv2 = ConvNorm(o, o, relu=False, dilation=dilation, groups=groups, **r)
        else:
            self.conv1 = ConvNorm(i, width, 1, **r)
            self.conv2 = ConvNorm(width, width, **spread, **r)
            self.conv3 = ConvNorm(width, o, 1, relu=False, **r)
        if stride > 1 or i != o:
            self.shortcut = ConvNorm(i, o, 1, relu=False, stride=1 if average else stride, **r)
        self.average = stride if average else 0

    def forward(self, x):
        y = self.conv2(self.conv1(x))
        y = self.conv3(y) if hasattr(self, "conv3") else y
        if self.average:
            x = MEANS[x.ndim - 2](x, self.average)
        return F.relu((self.shortcut(x) if hasattr(self, "shortcut") else x) + y)


class Pre(nn.Module):
    def __init__(self, i, o, width=None, stride=1, shortcut="conv", rank=2, relu6=False):
        super().__init__()
        plan = [(i, o, 3, stride), (o, o, 3, 1)]
        if width is not None:
            plan = [(i, width, 1, 1), (width, width, 3, stride), (width, o, 1, 1)]
        for n, (a, b, k, s) in enumerate(plan, start=1):
            setattr(self, f"norm{n}", BatchNorm(a))
            setattr(self, f"conv{n}", conv(a, b, k, s, rank=rank))
        self.count, self.kind = len(plan), shortcut if stride > 1 or i != o else "none"
        if self.kind in ("conv", "preactivated"):
            self.shortcut = conv(i, o, 1, stride, rank=rank)
        self.stride, self.more = stride, o - i
        self.f = F.relu6 if relu6 else F.relu

    def forward(self, x):
        y, first = x, None
        for n in range(1, self.count + 1):
            y = self.f(getattr(self, f"norm{n}")(y))
            first = y if first is None else first
            y = getattr(self, f"conv{n}")(y)
        if self.kind == "pad":
            x = x[:, :, :: self.stride, :: self.stride]
            zeros = x.new_zeros(x.shape[0], 1, *x.shape[2:])
            front, back = self.more // 2, self.more - self.more // 2
            return torch.cat([zeros] * front + [x] + [zeros] * back, 1) + y
        if self.kind != "none":
            x = self.shortcut(first if self.kind == "preactivated" else x)
        return x + y


for mode in ("train", "eval"):
    case(f"residual_basic_{mode}", Post(4, 4), normal(2, 4, 5, 7), train=mode == "train")
    case(f"residual_pre_{mode}", Pre(4, 4), normal(2, 4, 5, 7), train=mode == "train")
case("residual_basic_stride", Post(4, 6, stride=2), normal(2, 4, 7, 6))
case("residual_bottleneck", Post(4, 8, width=2), normal(2, 4, 5, 4))
case("residual_bottleneck_stride_dilated", Post(8, 8, 2, stride=2, dilation=2), normal(2, 8, 7, 6))
case("residual_resnext", Post(4, 8, width=6, groups=3), normal(2, 4, 5, 4))
case("residual_average", Post(4, 6, stride=2, average=True), normal(2, 4, 6, 4))
case("residual_3d", Post(3, 4, stride=2, rank=3), normal(2, 3, 4, 5, 3))
case("residual_pre_conv", Pre(4, 6, stride=2), normal(2, 4, 5, 6))
case("residual_pre_bottleneck", Pre(8, 8, width=2), normal(2, 8, 5, 6))
case(
    "residual_pre_preactivated",
    Pre(3, 4, stride=2, shortcut="preactivated", rank=3, relu6=True),
    normal(2, 3, 4, 3, 5),
)
case("residual_pre_pad", Pre(3, 6, stride=2, shortcut="pad"), normal(2, 3, 5, 6))


class Dense(nn.Module):
    """Huang et al.; Jégou et al. without a bottleneck, with biases."""

    def __init__(self, i, layers, growth, bottleneck=None, rank=2):
        super().__init__()
        self.layers, self.wide = layers, bottleneck is not None
        for n in range(layers):
            if self.wide:
                inner = bottleneck * growth
                setattr(self, f"layer{n}_norm1", BatchNorm(i))
                setattr(self, f"layer{n}_conv1", conv(i, inner, 1, rank=rank))
                setattr(self, f"layer{n}_norm2", BatchNorm(inner))
                setattr(self, f"layer{n}_conv2", conv(inner, growth, rank=rank))
            else:
                setattr(self, f"layer{n}_norm", BatchNorm(i))
                setattr(self, f"layer{n}_conv", conv(i, growth, bias=True, rank=rank))
            i += growth

    def forward(self, x):
        for n in range(self.layers):
            y = x
            for step in ("1", "2") if self.wide else ("",):
                y = F.relu(getattr(self, f"layer{n}_norm{step}")(y))
                y = getattr(self, f"layer{n}_conv{step}")(y)
            x = torch.cat([x, y], 1)
        return x


case("dense", Dense(3, 3, 2), normal(2, 3, 5, 4))
case("dense_eval", Dense(3, 2, 2), normal(2, 3, 5, 4), train=False)
case("dense_bottleneck", Dense(3, 2, 2, bottleneck=4), normal(2, 3, 4, 5))
case("dense_3d", Dense(2, 2, 2, rank=3), normal(2, 2, 3, 4, 2))


def spectral(x, size):
    """Rippel et al.: the lowest frequencies, one axis after the other; the mean stays."""
    for axis, m in enumerate(size, start=2):
        n = x.shape[axis]
        if m == n:
            continue
        f = torch.fft.fft(x, dim=axis).movedim(axis, -1)
        low, high = f[..., : (m + 1) // 2], f[..., n - (m - 1) // 2 :]
        if m % 2 == 0:
            half = m // 2
            nyquist = 0.5 * (f[..., half : half + 1] + f[..., n - half : n - half + 1])
            low = torch.cat([low, nyquist], -1)
        cut = torch.cat([low, high], -1)
        x = (torch.fft.ifft(cut, dim=-1).real * m / n).movedim(-1, axis)
    return x


class Spectral(nn.Module):
    def __init__(self, *size):
        super().__init__()
        self.size = size

    def forward(self, x):
        return spectral(x, self.size)


class Hybrid(nn.Module):
    def __init__(self, c, stride, rank=2):
        super().__init__()
        self.conv, self.stride = conv(2 * c, c, 1, bias=True, rank=rank), stride

    def forward(self, x):
        if self.stride == 1:
            padded = F.pad(x, (0, 1) * (x.ndim - 2), value=-torch.inf)
            y = POOLS[x.ndim - 2](padded, 2, 1)
        else:
            y = POOLS[x.ndim - 2](x, self.stride)
        smooth = spectral(x, [n // self.stride for n in x.shape[2:]])
        return self.conv(torch.cat([y, F.relu(smooth)], 1))


class Inception(nn.Module):
    """The authors' inception_conv_layer with trained 1x1s, in the order of their first network."""

    def __init__(self, i, o, norm=False, residual=False, rank=2):
        super().__init__()
        for k in (1, 3, 5):
            setattr(self, f"branch_{k}x{k}", ConvNorm(i, o, k, norm=norm, rank=rank))
        self.branch_pool = Hybrid(i, 1, rank)
        self.join = ConvNorm(3 * o + i, o, 1, norm=norm, rank=rank)
        if residual:
            self.shortcut = ConvNorm(i, o, 1, relu=False, norm=norm, rank=rank)

    def forward(self, x):
        branches = [self.branch_1x1(x), self.branch_3x3(x), self.branch_5x5(x)]
        y = self.join(torch.cat([*branches, self.branch_pool(x)], 1))
        return y + self.shortcut(x) if hasattr(self, "shortcut") else y


case("inception", Inception(3, 4), normal(2, 3, 5, 7))
case("inception_residual", Inception(3, 4, norm=True, residual=True), normal(2, 3, 5, 4))
case("inception_3d", Inception(2, 3, rank=3), normal(1, 2, 3, 4, 2))
case("hybrid_pool", Hybrid(3, 2), normal(2, 3, 6, 8))
case("hybrid_pool_3d", Hybrid(2, 2, 3), normal(1, 2, 4, 2, 6))
case("spectral_pool_even", Spectral(4, 2), normal(2, 3, 8, 6))
case("spectral_pool_odd", Spectral(5, 3), normal(2, 3, 7, 10))


# MultiResUNet: the Keras code of its authors.
def keras_norm(c, scale=True, bias=True):
    return BatchNorm(c, scale, bias, eps=1e-3, momentum=0.01)


class ConvBias(nn.Module):
    def __init__(self, i, o, k=3, relu=True, rank=2):
        super().__init__()
        self.conv, self.norm = conv(i, o, k, rank=rank), keras_norm(o, False, False)
        self.bias, self.relu = nn.Parameter(0.3 * normal(o)), relu

    def forward(self, x):
        x = self.norm(self.conv(x))
        x = x + self.bias.reshape(-1, *(1,) * (x.ndim - 2))
        return F.relu(x) if self.relu else x


class MultiRes(nn.Module):
    def __init__(self, i, width, alpha=1.67, rank=2):
        super().__init__()
        w = alpha * width
        a, b, c = int(w * 0.167), int(w * 0.333), int(w * 0.5)
        self.shortcut = ConvBias(i, a + b + c, 1, relu=False, rank=rank)
        self.conv1 = ConvBias(i, a, rank=rank)
        self.conv2 = ConvBias(a, b, rank=rank)
        self.conv3 = ConvBias(b, c, rank=rank)
        self.norm, self.out_norm = keras_norm(a + b + c), keras_norm(a + b + c)

    def forward(self, x):
        a = self.conv1(x)
        b = self.conv2(a)
        c = self.conv3(b)
        y = self.norm(torch.cat([a, b, c], 1))
        return self.out_norm(F.relu(self.shortcut(x) + y))


class Path_(nn.Module):
    def __init__(self, i, o, length, rank=2):
        super().__init__()
        self.length = length
        for n in range(length):
            setattr(self, f"shortcut{n}", ConvBias(i, o, 1, relu=False, rank=rank))
            setattr(self, f"conv{n}", ConvBias(i, o, rank=rank))
            setattr(self, f"norm{n}", keras_norm(o))
            i = o

    def forward(self, x):
        for n in range(self.length):
            y = getattr(self, f"shortcut{n}")(x) + getattr(self, f"conv{n}")(x)
            x = getattr(self, f"norm{n}")(F.relu(y))
        return x


case("multires", MultiRes(3, 8), normal(2, 3, 5, 6))
case("multires_eval", MultiRes(3, 8), normal(2, 3, 5, 6), train=False)
case("multires_3d", MultiRes(2, 5, rank=3), normal(2, 2, 4, 3, 3))
case("res_path", Path_(3, 4, 2), normal(2, 3, 5, 6))
case("res_path_3d", Path_(2, 2, 1, rank=3), normal(2, 2, 3, 4, 3))


class RCU(nn.Module):
    def __init__(self, c, rank=2):
        super().__init__()
        self.conv1, self.conv2 = conv(c, c, bias=True, rank=rank), conv(c, c, rank=rank)

    def forward(self, x):
        return x + self.conv2(F.relu(self.conv1(F.relu(x))))


class MRF(nn.Module):
    def __init__(self, widths, o, rank=2):
        super().__init__()
        for n, i in enumerate(widths):
            setattr(self, f"conv{n}", conv(i, o, rank=rank))

    def forward(self, *maps):
        mode = "bilinear" if maps[0].ndim == 4 else "trilinear"
        parts = [getattr(self, f"conv{n}")(x) for n, x in enumerate(maps)]
        size = maps[0].shape[2:]
        return sum(F.interpolate(x, size, mode=mode, align_corners=True) for x in parts)


class CRP(nn.Module):
    def __init__(self, c, links, order, rank=2):
        super().__init__()
        self.links, self.order = links, order
        for n in range(links):
            setattr(self, f"conv{n}", conv(c, c, rank=rank))

    def forward(self, x):
        total = link = F.relu(x)
        for n in range(self.links):
            f = getattr(self, f"conv{n}")
            pool = POOLS[x.ndim - 2]
            if self.order == "pool_conv":
                link = f(pool(link, 5, 1, 2))
            else:
                link = pool(f(link), 5, 1, 2)
            total = total + link
        return total


case("rcu", RCU(4), normal(2, 4, 5, 6))
case("rcu_3d", RCU(3, 3), normal(1, 3, 4, 3, 5))
case("mrf", MRF((3, 5), 4), normal(2, 3, 6, 7), normal(2, 5, 3, 4))
case("mrf_3d", MRF((2, 3), 2, 3), normal(1, 2, 4, 5, 6), normal(1, 3, 2, 3, 3))
for order in ("pool_conv", "conv_pool"):
    case(f"crp_{order}", CRP(3, 3, order), normal(2, 3, 6, 7))
case("crp_3d", CRP(2, 2, "pool_conv", 3), normal(1, 2, 4, 5, 3))


# Shi et al., equation 3, one convolution of [x, h] for all gates; order i, j, f, o.
class Cell(nn.Module):
    def __init__(self, f, k, peepholes, rank):
        super().__init__()
        self.hidden = conv(f, 4 * f, k, rank=rank)
        self.peephole = nn.Parameter(0.3 * normal(3, f)) if peepholes else None


class LSTM(nn.Module):
    def __init__(self, i, f, k=3, direction="forward", peepholes=False, forget=1.0, rank=2):
        super().__init__()
        self.directions = ("forward", "backward") if direction == "both" else (direction,)
        for d in self.directions:
            setattr(self, f"{d}_input", conv(i, 4 * f, k, bias=True, rank=rank))
            setattr(self, f"{d}_cell", Cell(f, k, peepholes, rank))
        self.features, self.forget = f, forget

    def run(self, x, direction):
        into, cell = getattr(self, f"{direction}_input"), getattr(self, f"{direction}_cell")
        kernel = torch.cat([into.weight, cell.hidden.weight], 1)
        h = c = x.new_zeros(x.shape[0], self.features, *x.shape[3:])
        peep = torch.zeros(3, self.features) if cell.peephole is None else cell.peephole
        peep = peep.reshape(3, -1, *(1,) * (x.ndim - 3))
        convolve = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[x.ndim - 3]
        times = range(x.shape[1])
        found = {}
        for t in times if direction == "forward" else reversed(times):
            gates = convolve(torch.cat([x[:, t], h], 1), kernel, into.bias, 1, into.padding)
            i, j, f, o = gates.chunk(4, 1)
            new = torch.sigmoid(f + peep[1] * c + self.forget) * c
            new = new + torch.sigmoid(i + peep[0] * c) * torch.tanh(j)
            h = torch.sigmoid(o + peep[2] * new) * torch.tanh(new)
            c, found[t] = new, h
        return torch.stack([found[t] for t in times], 1)

    def forward(self, x):  # [b t c *s]
        return torch.cat([self.run(x, d) for d in self.directions], 2)


def last_of_sequence(a):  # [b t c *s] -> [b t *s c]
    return np.moveaxis(a.detach().numpy(), 2, -1).copy()


for name, module, x in (
    ("lstm", LSTM(2, 3), normal(2, 4, 2, 5, 4)),
    ("lstm_backward", LSTM(2, 3, direction="backward"), normal(1, 3, 2, 4, 5)),
    ("lstm_both", LSTM(2, 1, k=5, direction="both", forget=0.0), normal(2, 3, 2, 4, 3)),
    ("lstm_peepholes", LSTM(2, 3, peepholes=True), normal(2, 4, 2, 3, 4)),
    ("lstm_3d", LSTM(2, 2, rank=3), normal(1, 3, 2, 3, 2, 4)),
):
    case(name, module, x, move=last_of_sequence)


# R2U-Net: the community's Recurrent_block, without the bias that its batch norm cancels.
class Shared(nn.Module):
    def __init__(self, c, steps, rank=2):
        super().__init__()
        self.conv, self.norm, self.steps = conv(c, c, rank=rank), BatchNorm(c), steps

    def forward(self, x):
        y = F.relu(self.norm(self.conv(x)))
        for _ in range(self.steps):
            y = F.relu(self.norm(self.conv(x + y)))
        return y


class Separate(nn.Module):
    """Equations 1 and 2, batch norm on the sum."""

    def __init__(self, i, o, steps, norm=True):
        super().__init__()
        self.input, self.recurrent = conv(i, o, bias=not norm), conv(o, o)
        self.norm, self.steps = BatchNorm(o) if norm else nn.Identity(), steps

    def forward(self, x):
        y = F.relu(self.norm(self.input(x)))
        for _ in range(self.steps):
            y = F.relu(self.norm(self.input(x) + self.recurrent(y)))
        return y


case("recurrent_shared", Shared(4, 2), normal(2, 4, 5, 6))
case("recurrent_shared_eval", Shared(4, 2), normal(2, 4, 5, 6), train=False)
case("recurrent_shared_3d", Shared(3, 1, 3), normal(2, 3, 3, 4, 3))
case("recurrent_separate", Separate(3, 4, 2), normal(2, 3, 5, 6))
case("recurrent_separate_plain", Separate(3, 4, 3, norm=False), normal(2, 3, 5, 6))


# Reversible blocks, computed the plain way.
class PreactivatedConv(nn.Module):
    def __init__(self, c, groups, rank):
        super().__init__()
        self.norm = GroupNorm(groups, c) if groups else BatchNorm(c)
        self.conv, self.f = conv(c, c, rank=rank), F.leaky_relu if groups else F.relu

    def forward(self, x):
        return self.conv(self.f(self.norm(x)))


class Reversible(nn.Module):
    def __init__(self, c, blocks, groups=None, rank=2):
        super().__init__()
        self.blocks = blocks
        for n in range(blocks):
            for role in "fg":
                setattr(self, f"block{n}_{role}", PreactivatedConv(c // 2, groups, rank))

    def forward(self, x):
        a, b = x.chunk(2, 1)
        for n in range(self.blocks):
            a = a + getattr(self, f"block{n}_f")(b)
            b = b + getattr(self, f"block{n}_g")(a)
        return torch.cat([a, b], 1)


case("reversible", Reversible(8, 2, groups=2), normal(2, 8, 5, 6))
case("reversible_3d", Reversible(4, 1, groups=2, rank=3), normal(1, 4, 3, 4, 5))
case("reversible_batch", Reversible(6, 3), normal(2, 6, 5, 4))
case("reversible_batch_eval", Reversible(6, 2), normal(2, 6, 5, 4), train=False)

np.savez_compressed(Path(__file__).parent / "blocks.npz", index=json.dumps(INDEX), **STORE)
