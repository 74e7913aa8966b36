"""Make sampling.npz: PyTorch's numbers for pooling, resizing, shuffles, transposed convolution.

    python tests/golden/make_sampling.py

Needs torch 2.13.0. Everything is stored channels last; kernels as [*kernel, c_in / groups, c_out].
For each case: x, y, and of sum(y * w) the gradient dx (and those of the parameters), where w is
cos(0), cos(1), ... in the layout of y, channels last.
"""
# ruff: noqa: B023  (each closure is called in the turn of the loop that made it)

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

torch.manual_seed(0)
RANDOM = np.random.RandomState(0)
STORE = {}


def normal(*shape):
    return torch.from_numpy(RANDOM.standard_normal(shape).astype("f4")).requires_grad_()


def last(a):  # [b c *s] -> [b *s c]
    return np.moveaxis(a.detach().numpy(), 1, -1)


def weights(y):
    shape = (y.shape[0], *y.shape[2:], y.shape[1])
    w = np.cos(np.arange(y.numel())).astype("f4").reshape(shape)
    return torch.from_numpy(np.moveaxis(w, -1, 1).copy())


def kernel_last(a, groups):  # [g i, o, *k] -> [*k i, g o]
    i, o, *k = a.shape
    a = a.detach().numpy().reshape(groups, i // groups, o, *k)
    a = np.moveaxis(a, (0, 1, 2), (-2, -3, -1))
    return a.reshape(*k, i // groups, groups * o)


def case(name, function, x, also=()):
    y = function(x)
    w = weights(y)
    (y * w).sum().backward()
    found = {"x": last(x), "y": last(y), "dx": last(x.grad)} | dict(also)
    STORE.update({f"{name}/{key}": value for key, value in found.items()})


def ties(*shape):
    return torch.from_numpy(RANDOM.randint(0, 3, shape).astype("f4")).requires_grad_()


MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
POOLS = {  # window, stride, padding, ceil_mode, size
    "3s2p1": (3, 2, 1, False, (7, 8)),
    "2_ceil": (2, 2, 0, True, (7, 5)),
    "3s2_ceil": (3, 2, 0, True, (6, 8)),
    "3s2p1_ceil": (3, 2, 1, True, (6, 7)),
    "2s3_ceil": (2, 3, 0, True, (6, 8)),
    "2s3p1_ceil": (2, 3, 1, True, (6, 7)),
    "3s1p1": (3, 1, 1, False, (5, 7)),
    "5s1p2": (5, 1, 2, False, (5, 4)),
    "5s3p2": (5, 3, 2, False, (9, 11)),
    "2s3": (2, 3, 0, False, (8, 9)),
    "axes": ((3, 2), (1, 2), (1, 0), False, (7, 5)),
    "1d": (3, 2, 1, False, (9,)),
    "3d_ceil": (2, 2, 0, True, (5, 4, 3)),
    "3d_3s2p1": (3, 2, 1, False, (5, 6, 4)),
    "3d_axes": ((1, 2, 2), (1, 2, 2), (0, 1, 0), False, (3, 5, 6)),
}
for name, (k, s, p, ceil, size) in POOLS.items():
    pool = MAX[len(size)]
    case(f"max_{name}", lambda x: pool(x, k, s, p, 1, ceil), normal(1, 2, *size))
    case(f"max_ties_{name}", lambda x: pool(x, k, s, p, 1, ceil), ties(1, 2, *size))
AVERAGE = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
for name, (k, s, p, ceil, size) in POOLS.items():
    for pads in (True, False):
        pool = AVERAGE[len(size)]
        case(
            f"average_{name}_{'with' if pads else 'without'}",
            lambda x: pool(x, k, s, p, ceil, pads),
            normal(1, 2, *size),
        )
UNPOOL = {
    "even": (2, 0, False, (6, 4)),
    "odd": (2, 0, False, (7, 5)),
    "ceil": (2, 0, True, (7, 5)),
    "three": (3, 1, False, (7, 10)),
    "axes": ((2, 3), 0, False, (6, 7)),
    "3d": (2, 0, True, (4, 5, 3)),
}
for name, (k, p, ceil, size) in UNPOOL.items():
    pool = MAX[len(size)]

    def through(x):
        y, index = pool(x, k, k, p, 1, ceil, True)
        flat = torch.zeros(*x.shape[:2], x[0, 0].numel())
        y = torch.sin(y)
        return flat.scatter(2, index.flatten(2), y.flatten(2)).reshape(x.shape)

    x = normal(1, 2, *size)
    if name in ("even", "odd", "3d"):  # where torch's own takes the size, it says the same
        y, index = pool(x, k, k, p, 1, ceil, True)
        own = (F.max_unpool2d if len(size) == 2 else F.max_unpool3d)(
            torch.sin(y), index, k, k, p, list(size)
        )
        assert (own == through(x)).all()
    case(f"unpool_{name}", through, x)
ADAPTIVE = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}
for size, bins in (
    ((7, 9), (1, 1)),
    ((7, 9), (2, 3)),
    ((7, 9), (6, 6)),
    ((3, 5), (4, 7)),
    ((11,), (3,)),
    ((5, 4, 7), (3, 1, 2)),
):
    label = "x".join(map(str, size)) + "_to_" + "x".join(map(str, bins))
    case(f"adaptive_{label}", lambda x: ADAPTIVE[len(size)](x, bins), normal(1, 2, *size))
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
for size, to in (
    ((5, 7), (10, 14)),
    ((5, 7), (9, 4)),
    ((5, 7), (3, 11)),
    ((5, 7), (5, 1)),
    ((1, 6), (4, 17)),
    ((6,), (13,)),
    ((3, 4, 2), (5, 8, 3)),
):
    label = "x".join(map(str, size)) + "_to_" + "x".join(map(str, to))
    for corners in (False, True):
        case(
            f"linear{'_corners' if corners else ''}_{label}",
            lambda x: F.interpolate(x, to, mode=LINEAR[len(size)], align_corners=corners),
            normal(1, 2, *size),
        )
    for method in ("nearest", "nearest-exact"):
        case(f"{method}_{label}", lambda x: F.interpolate(x, to, mode=method), normal(1, 2, *size))
for size, scale in (((17, 13), 0.75), ((5, 7), 1.3), ((5, 9), 1.1), ((4, 6), 2.0), ((10, 7), 0.3)):
    label = "x".join(map(str, size)) + f"_by_{scale}"
    for corners in (False, True):
        case(
            f"linear{'_corners' if corners else ''}_{label}",
            lambda x: F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=corners),
            normal(1, 2, *size),
        )
    for method in ("nearest", "nearest-exact"):
        case(
            f"{method}_{label}",
            lambda x: F.interpolate(x, scale_factor=scale, mode=method),
            normal(1, 2, *size),
        )
# sizes at which float32 rounds i * n / m below a whole number, or not
for n, m in ((7, 41), (3, 29), (58, 49)):
    for method in ("nearest", "nearest-exact"):
        case(f"{method}_{n}_to_{m}", lambda x: F.interpolate(x, m, mode=method), normal(1, 1, n))
case("shuffle_2", lambda x: F.pixel_shuffle(x, 2), normal(2, 12, 3, 5))
case("shuffle_3", lambda x: F.pixel_shuffle(x, 3), normal(1, 18, 2, 3))
case("unshuffle_2", lambda x: F.pixel_unshuffle(x, 2), normal(2, 3, 4, 6))
case("unshuffle_3", lambda x: F.pixel_unshuffle(x, 3), normal(1, 2, 6, 3))
TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
TRANSPOSED = {  # kernel, stride, padding, output_padding, groups, size
    "2s2": (2, 2, 0, 0, 1, (3, 5)),
    "2s2o1": (2, 2, 0, 1, 1, (3, 4)),
    "2s2p1": (2, 2, 1, 0, 1, (3, 4)),
    "4s2p1": (4, 2, 1, 0, 1, (3, 5)),
    "4s2": (4, 2, 0, 0, 1, (3, 2)),
    "3s2p1o1": (3, 2, 1, 1, 1, (4, 3)),
    "3s2": (3, 2, 0, 0, 1, (4, 3)),
    "3s1p1": (3, 1, 1, 0, 1, (5, 4)),
    "5s3p1o2": (5, 3, 1, 2, 1, (3, 2)),
    "8s4p2": (8, 4, 2, 0, 1, (3, 2)),
    "1s2": (1, 2, 0, 1, 1, (3, 4)),
    "axes": ((3, 4), (1, 2), (1, 0), (0, 1), 1, (5, 3)),
    "groups": (4, 2, 1, 0, 2, (3, 5)),
    "depthwise": (3, 2, 1, 1, 4, (3, 5)),
    "1d": (4, 2, 1, 0, 1, (7,)),
    "3d_2s2": (2, 2, 0, 0, 1, (3, 2, 4)),
    "3d_4s2p1": (4, 2, 1, 0, 1, (2, 3, 2)),
    "3d_3s2p1o1": (3, 2, 1, 1, 1, (2, 3, 2)),
    "3d_axes": ((1, 2, 2), (1, 2, 2), 0, 0, 1, (3, 2, 3)),
    "3d_groups": (3, 2, 1, 1, 2, (2, 3, 2)),
}
for name, (k, s, p, o, groups, size) in TRANSPOSED.items():
    rank = len(size)
    kernel = normal(4, 4 // groups, *((k,) * rank if isinstance(k, int) else k))
    bias = normal(4)
    x = normal(1, 4, *size)
    y = TRANSPOSE[rank](x, kernel, bias, s, p, o, groups)
    w = weights(y)
    (y * w).sum().backward()
    found = {
        "x": last(x),
        "y": last(y),
        "dx": last(x.grad),
        "params/kernel": kernel_last(kernel, groups),
        "params/bias": bias.detach().numpy(),
        "grads/kernel": kernel_last(kernel.grad, groups),
        "grads/bias": bias.grad.numpy(),
    }
    STORE.update({f"transposed_{name}/{key}": value for key, value in found.items()})
path = Path(__file__).parent / "sampling.npz"
np.savez_compressed(path, **STORE)
print(f"{len({key.split('/')[0] for key in STORE})} cases, {path.stat().st_size / 1e3:.0f} kB")
