"""Make layers.npz: PyTorch's numbers for the layers, forward and gradient. Needs torch 2.13.0.

    python tests/golden/make_layers.py

Everything is stored channels last; kernels as [*kernel, c_in / groups, c_out]. For each case:
x, y, and of sum(y * w) with a random w the gradient dx (and dkernel, where there is one).
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


def kernel_last(a, transposed=False):  # [o i *k], or [i o *k] when transposed, -> [*k i o]
    first = (0, 1) if transposed else (1, 0)
    return a.detach().numpy().transpose(*range(2, a.ndim), *first)


def case(name, function, x, kernel=None, transposed=False, **also):
    y = function(x) if kernel is None else function(x, kernel)
    w = normal(*y.shape)
    (y * w).sum().backward()
    found = {"x": last(x), "y": last(y), "w": last(w), "dx": last(x.grad)}
    if kernel is not None:
        found["kernel"] = kernel_last(kernel, transposed)
        found["dkernel"] = kernel_last(kernel.grad, transposed)
    STORE.update({f"{name}/{key}": value for key, value in (found | also).items()})


CONV = {
    "conv": (3, 1, 1, 1),
    "conv_stride": (3, 2, 1, 1),
    "conv_dilated": (3, 1, 2, 2),
    "conv_stem": (7, 2, 3, 1),
    "conv_1x1": (1, 1, 0, 1),
    "conv_shortcut": (1, 2, 0, 1),
}
for name, (k, s, p, d) in CONV.items():
    for size in ((8, 8), (7, 5)):
        case(
            f"{name}_{size[0]}x{size[1]}",
            lambda x, w: F.conv2d(x, w, None, s, p, d),
            normal(1, 2, *size),
            normal(3, 2, k, k),
        )
case(
    "conv_grouped",
    lambda x, w: F.conv2d(x, w, None, 1, 1, 1, 2),
    normal(1, 4, 6, 5),
    normal(6, 2, 3, 3),
)
case(
    "conv_3d", lambda x, w: F.conv3d(x, w, None, 1, 1), normal(1, 2, 5, 4, 6), normal(3, 2, 3, 3, 3)
)
case(
    "conv_3d_stride",
    lambda x, w: F.conv3d(x, w, None, 2, 1),
    normal(1, 2, 6, 5, 4),
    normal(3, 2, 3, 3, 3),
)
case(
    "transposed_2d",
    lambda x, w: F.conv_transpose2d(x, w, None, 2),
    normal(2, 4, 3, 5),
    normal(4, 3, 2, 2),
    True,
)
case(
    "transposed_3d",
    lambda x, w: F.conv_transpose3d(x, w, None, 2),
    normal(1, 4, 3, 2, 4),
    normal(4, 3, 2, 2, 2),
    True,
)
case(
    "transposed_by_4",
    lambda x, w: F.conv_transpose2d(x, w, None, 4),
    normal(1, 2, 3, 2),
    normal(2, 3, 4, 4),
    True,
)
for name, pool, size in (("2d", F.max_pool2d, (7, 8)), ("3d", F.max_pool3d, (5, 6, 4))):
    case(f"pool_{name}", lambda x: pool(x, 2), normal(1, 2, *size))
    case(f"pool_stem_{name}", lambda x: pool(x, 3, 2, 1), normal(1, 2, *size))
ties = torch.from_numpy(RANDOM.randint(0, 2, (1, 2, 6, 6)).astype("f4")).requires_grad_()
case("pool_ties", lambda x: F.max_pool2d(x, 2), ties)
case("pool_stem_ties", lambda x: F.max_pool2d(x, 3, 2, 1), ties.detach().clone().requires_grad_())
for factor in (2, 3, 4):
    case(
        f"linear_by_{factor}",
        lambda x: F.interpolate(x, scale_factor=factor, mode="bilinear"),
        normal(1, 2, 4, 3),
    )
    case(
        f"nearest_by_{factor}", lambda x: F.interpolate(x, scale_factor=factor), normal(1, 2, 4, 3)
    )
case(
    "linear_by_2_3d",
    lambda x: F.interpolate(x, scale_factor=2, mode="trilinear"),
    normal(1, 2, 3, 4, 2),
)
for size in ((9, 4), (3, 11), (5, 7)):
    label = f"{size[0]}x{size[1]}"
    case(
        f"linear_to_{label}", lambda x: F.interpolate(x, size, mode="bilinear"), normal(1, 2, 5, 7)
    )
    case(f"nearest_to_{label}", lambda x: F.interpolate(x, size), normal(1, 2, 5, 7))
for name, size in (("2d", (5, 4)), ("3d", (3, 4, 2))):
    for kind in ("batch", "batch_eval", "group", "instance"):
        scale, bias = normal(6), normal(6)
        mean, var = torch.zeros(6), torch.ones(6)
        norms = {
            "batch": lambda x: F.batch_norm(x, mean, var, scale, bias, True, 0.1, 1e-5),
            "batch_eval": lambda x: F.batch_norm(x, mean, var, scale, bias, False, 0.1, 1e-5),
            "group": lambda x: F.group_norm(x, 2, scale, bias, 1e-5),
            "instance": lambda x: F.instance_norm(x, None, None, scale, bias, True, 0.1, 1e-5),
        }
        if kind == "batch_eval":
            mean, var = normal(6).detach(), normal(6).detach().abs() + 0.5
        old = {"mean": mean.numpy().copy(), "var": var.numpy().copy()}
        x = normal(3, 6, *size)
        case(
            f"norm_{kind}_{name}",
            norms[kind],
            x,
            scale=scale.detach().numpy(),
            bias=bias.detach().numpy(),
            new_mean=mean.numpy(),
            new_var=var.numpy(),
            **old,
        )
np.savez_compressed(Path(__file__).parent / "layers.npz", **STORE)
