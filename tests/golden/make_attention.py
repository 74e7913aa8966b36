"""Make attention.npz: PyTorch's numbers for the attention layers. Needs torch 2.13.0.

    python tests/golden/make_attention.py

References are written from the papers, or from the community code where a layer's docstring says
so; their submodules are called as ours are. Stored channels last, kernels as
[*kernel, c_in / groups, c_out]. For each case: x (and gate), y, w; of sum(y * w) the gradients dx
(dgate) and dparams; params, stats (running moments) before and after. All in one vector
`numbers`, whose parts `index` (JSON) names with their shapes, in order.
"""

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
RANDOM = np.random.RandomState(0)
STORE = {}
CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
BATCH_NORM = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
LINEAR = {2: "bilinear", 3: "trilinear"}


def normal(*shape):
    return torch.from_numpy(RANDOM.standard_normal(shape).astype("f4"))


def last(a):  # [b c *s] -> [b *s c]
    return np.moveaxis(a.detach().numpy(), 1, -1).copy()


def ours(module, name, value, rank):
    """A parameter under our name, in our layout."""
    *path, leaf = name.split(".")
    value = value.detach().numpy().copy()
    owner = module.get_submodule(".".join(path))
    if isinstance(owner, nn.Linear) and leaf == "weight":
        return "/".join([*path, "kernel"]), value.T.reshape((1,) * rank + value.T.shape)
    if value.ndim > 2:
        first = (0, 1) if "Transpose" in type(owner).__name__ else (1, 0)
        return "/".join([*path, "kernel"]), value.transpose(*range(2, value.ndim), *first)
    leaf = {"weight": "scale", "running_mean": "mean", "running_var": "var"}.get(leaf, leaf)
    return "/".join([*path, leaf]), value


def case(name, module, *inputs, train=False, rename=()):
    rank = inputs[0].ndim - 2
    module.train(train)
    with torch.no_grad():
        for key, value in module.named_parameters():
            fan = max(1, value[0].numel()) if value.ndim > 1 else 4
            value.copy_(normal(*value.shape) / fan**0.5 + (key.endswith("norm.weight")))
        for key, value in module.named_buffers():
            if "running" in key:
                value.copy_(0.3 * normal(*value.shape).abs() + (0.5 if "var" in key else 0))

    def put(kind, items):
        for key, value in items:
            if "num_batches" in key:
                continue
            path, value = ours(module, key, value, rank)
            STORE[f"{name}/{kind}/{dict(rename).get(path, path)}"] = value

    put("params", module.named_parameters())
    put("stats", module.named_buffers())
    inputs = [i.requires_grad_() for i in inputs]
    y = module(*inputs)
    w = normal(*y.shape)
    (y * w).sum().backward()
    put("dparams", [(key, value.grad) for key, value in module.named_parameters()])
    put("new_stats", module.named_buffers() if train else [])
    for key, value in zip(("x", "gate"), inputs, strict=False):
        STORE[f"{name}/{key}"], STORE[f"{name}/d{key}"] = last(value), last(value.grad)
    STORE[f"{name}/y"], STORE[f"{name}/w"] = last(y), last(w)


def tokens(a):  # [b c *s] -> [b n c]
    return a.flatten(2).transpose(1, 2)


class SE(nn.Module):
    def __init__(self, rank, c, width, activation=F.relu, gate=torch.sigmoid):
        super().__init__()
        self.reduce, self.expand = CONV[rank](c, width, 1), CONV[rank](width, c, 1)
        self.activation, self.gate = activation, gate

    def forward(self, x):
        y = x.mean(tuple(range(2, x.ndim)), keepdim=True)
        return x * self.gate(self.expand(self.activation(self.reduce(y))))


class SSE(nn.Module):
    def __init__(self, rank, c):
        super().__init__()
        self.squeeze = CONV[rank](c, 1, 1)

    def forward(self, x):
        return x * torch.sigmoid(self.squeeze(x))


class SCSE(nn.Module):
    def __init__(self, rank, c, reduction, combine):
        super().__init__()
        self.channel, self.spatial = SE(rank, c, c // reduction), SSE(rank, c)
        self.combine = combine

    def forward(self, x):
        return self.combine(self.channel(x), self.spatial(x))


class CBAM(nn.Module):
    def __init__(self, rank, c, reduction, kernel, norm=True):
        super().__init__()
        self.channel_reduce = nn.Linear(c, c // reduction)
        self.channel_expand = nn.Linear(c // reduction, c)
        self.spatial_conv = CONV[rank](2, 1, kernel, padding=kernel // 2, bias=False)
        self.spatial_norm = BATCH_NORM[rank](1, momentum=0.01) if norm else nn.Identity()

    def mlp(self, v):
        return self.channel_expand(F.relu(self.channel_reduce(v)))

    def forward(self, x):
        flat = x.flatten(2)
        weight = torch.sigmoid(self.mlp(flat.mean(2)) + self.mlp(flat.amax(2)))
        x = x * weight.reshape(*weight.shape, *(1,) * (x.ndim - 2))
        seen = torch.stack([x.max(1)[0], x.mean(1)], 1)
        return x * torch.sigmoid(self.spatial_norm(self.spatial_conv(seen)))


class PaperGate(nn.Module):
    def __init__(self, rank, c, g, width):
        super().__init__()
        self.mode = LINEAR[rank]
        self.theta = CONV[rank](c, width, 2, 2, bias=False)
        self.phi, self.psi = CONV[rank](g, width, 1), CONV[rank](width, 1, 1)
        self.out, self.out_norm = CONV[rank](c, c, 1), BATCH_NORM[rank](c)

    def forward(self, x, gate):
        theta = self.theta(x)
        phi = F.interpolate(self.phi(gate), theta.shape[2:], mode=self.mode)
        weight = torch.sigmoid(self.psi(F.relu(theta + phi)))
        weight = F.interpolate(weight, x.shape[2:], mode=self.mode)
        return self.out_norm(self.out(x * weight))


class CommunityGate(nn.Module):
    def __init__(self, rank, c, g, width):
        super().__init__()
        self.theta, self.theta_norm = CONV[rank](c, width, 1), BATCH_NORM[rank](width)
        self.phi, self.phi_norm = CONV[rank](g, width, 1), BATCH_NORM[rank](width)
        self.psi, self.psi_norm = CONV[rank](width, 1, 1), BATCH_NORM[rank](1)

    def forward(self, x, gate):
        both = F.relu(self.theta_norm(self.theta(x)) + self.phi_norm(self.phi(gate)))
        return x * torch.sigmoid(self.psi_norm(self.psi(both)))


class Position(nn.Module):
    def __init__(self, rank, c, width):
        super().__init__()
        self.query, self.key = CONV[rank](c, width, 1), CONV[rank](c, width, 1)
        self.value = CONV[rank](c, c, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        weights = torch.softmax(tokens(self.query(x)) @ self.key(x).flatten(2), -1)
        y = weights @ tokens(self.value(x))
        return self.gamma * y.transpose(1, 2).reshape(x.shape) + x


class Channel(nn.Module):
    def __init__(self, released):
        super().__init__()
        self.released = released
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        energy = x.flatten(2) @ tokens(x)
        if self.released:
            energy = energy.max(-1, keepdim=True)[0] - energy
        y = torch.softmax(energy, -1) @ x.flatten(2)
        return self.gamma * y.reshape(x.shape) + x


class NonLocal(nn.Module):
    def __init__(self, rank, c, width, gaussian, norm, pool=1, scale=1.0):
        super().__init__()
        self.theta, self.phi, self.g = (CONV[rank](c, width, 1) for _ in range(3))
        self.out, self.norm = CONV[rank](width, c, 1), norm
        self.gaussian, self.pool, self.scale = gaussian, pool, scale
        self.max_pool = {2: F.max_pool2d, 3: F.max_pool3d}[rank]

    def forward(self, x):
        small = self.max_pool(x, self.pool)
        products = tokens(self.theta(x)) @ self.phi(small).flatten(2) * self.scale
        if self.gaussian:
            weights = torch.softmax(products, -1)
        else:
            weights = products / products.shape[-1]
        y = (weights @ tokens(self.g(small))).transpose(1, 2)
        y = y.reshape(*y.shape[:2], *x.shape[2:])
        return x + self.norm(self.out(y))


def attention(q, k, v, heads):  # [b n c] each
    q, k, v = (a.unflatten(-1, (heads, -1)).transpose(1, 2) for a in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


class Aggregation(nn.Module):
    def __init__(self, rank, c, width, features, size, heads):
        super().__init__()
        self.query = {
            "same": lambda: CONV[rank](c, width, 1),
            "down": lambda: CONV[rank](c, width, 3, 2, 1),
            "up": lambda: TRANSPOSED[rank](c, width, 3, 2, 1, 1),
        }[size]()
        self.key, self.value = CONV[rank](c, width, 1), CONV[rank](c, width, 1)
        self.out, self.heads = CONV[rank](width, features, 1), heads

    def forward(self, x):
        q = self.query(x)
        y = attention(tokens(q), tokens(self.key(x)), tokens(self.value(x)), self.heads)
        return self.out(y.transpose(1, 2).reshape(q.shape))


class SpatialReduction(nn.Module):
    def __init__(self, rank, c, heads, reduction):
        super().__init__()
        self.query, self.key_value = nn.Linear(c, c), nn.Linear(c, 2 * c)
        self.out, self.heads, self.reduction = nn.Linear(c, c), heads, reduction
        if reduction > 1:
            self.reduce = CONV[rank](c, c, reduction, reduction)
            self.norm = nn.LayerNorm(c)

    def forward(self, x):
        small = self.norm(tokens(self.reduce(x))) if self.reduction > 1 else tokens(x)
        key, value = self.key_value(small).chunk(2, -1)
        y = self.out(attention(self.query(tokens(x)), key, value, self.heads))
        return y.transpose(1, 2).reshape(x.shape)


class InvertedResidual(nn.Module):
    def __init__(self, rank, c, width, features, kernel, stride, dilation, activation, **more):
        super().__init__()
        norm = {key: more[key] for key in ("eps", "momentum") if key in more}
        self.activation, self.squeeze = activation, more.get("squeeze", nn.Identity())
        if width != c:
            self.expand_conv = CONV[rank](c, width, 1, bias=False)
            self.expand_norm = BATCH_NORM[rank](width, **norm)
        pad = dilation * (kernel - 1) // 2
        self.depthwise_conv = CONV[rank](
            width, width, kernel, stride, pad, dilation, groups=width, bias=False
        )
        self.depthwise_norm = BATCH_NORM[rank](width, **norm)
        self.project_conv = CONV[rank](width, features, 1, bias=False)
        self.project_norm = BATCH_NORM[rank](features, **norm)

    def forward(self, x):
        y = x
        if hasattr(self, "expand_conv"):
            y = self.activation(self.expand_norm(self.expand_conv(y)))
        y = self.activation(self.depthwise_norm(self.depthwise_conv(y)))
        y = self.project_norm(self.project_conv(self.squeeze(y)))
        return x + y if y.shape == x.shape else y


case("se_2d", SE(2, 8, 4), normal(2, 8, 5, 4))
case("se_3d", SE(3, 8, 4), normal(1, 8, 3, 4, 2))
case("se_mobilenet", SE(2, 8, 3, F.relu, F.hardsigmoid), normal(2, 8, 4, 3))
case("se_efficientnet", SE(2, 8, 2, F.silu), normal(2, 8, 4, 3))
case("sse_2d", SSE(2, 4), normal(2, 4, 5, 3))
case("sse_3d", SSE(3, 4), normal(1, 4, 3, 2, 4))
case("scse_max_2d", SCSE(2, 8, 2, torch.maximum), normal(2, 8, 5, 4))
case("scse_add_2d", SCSE(2, 8, 4, torch.add), normal(2, 8, 5, 4))
case("scse_max_3d", SCSE(3, 4, 2, torch.maximum), normal(1, 4, 3, 4, 2))
case("cbam_train", CBAM(2, 8, 4, 7), normal(2, 8, 7, 5), train=True)
case("cbam_eval", CBAM(2, 8, 4, 7), normal(2, 8, 7, 5))
case("cbam_paper", CBAM(2, 8, 4, 7, norm=False), normal(2, 8, 6, 5))
case("cbam_3d_train", CBAM(3, 4, 2, 3), normal(1, 4, 4, 3, 5), train=True)
for kind, gate in (("paper", PaperGate), ("community", CommunityGate)):
    for train in (True, False):
        small = (4, 3) if kind == "paper" else (7, 5)
        case(
            f"gate_{kind}_{'train' if train else 'eval'}",
            gate(2, 4, 6, 4 if kind == "paper" else 2),
            normal(2, 4, 7, 5),
            normal(2, 6, *small),
            train=train,
        )
    small = (2, 3, 2) if kind == "paper" else (4, 5, 4)
    case(f"gate_{kind}_3d", gate(3, 4, 6, 3), normal(1, 4, 4, 5, 4), normal(1, 6, *small))
case("position_2d", Position(2, 8, 1), normal(2, 8, 5, 7))
case("position_3d", Position(3, 8, 2), normal(1, 8, 3, 4, 2))
for form in ("released", "paper"):
    case(f"channel_{form}_2d", Channel(form == "released"), 0.3 * normal(2, 6, 5, 4))
    case(f"channel_{form}_3d", Channel(form == "released"), 0.3 * normal(1, 6, 3, 4, 2))
top = {"norm/scale": "scale", "norm/bias": "bias"}
for train in (True, False):
    for kind in ("gaussian", "dot"):
        module = NonLocal(2, 6, 3, kind == "gaussian", nn.BatchNorm2d(6))
        name = f"nonlocal_{kind}_{'train' if train else 'eval'}"
        case(name, module, normal(2, 6, 5, 7), train=train, rename=top)
gce = NonLocal(2, 12, 8, True, nn.GroupNorm(4, 12), pool=2, scale=8**-0.5)
case("nonlocal_gce", gce, normal(2, 12, 6, 5), rename=top)
plain = NonLocal(3, 4, 2, True, nn.Identity(), pool=2)
case("nonlocal_3d", plain, normal(1, 4, 4, 3, 5))
case("nonlocal_dot_3d", NonLocal(3, 4, 2, False, nn.Identity()), normal(1, 4, 2, 3, 4))
for size in ("same", "down", "up"):
    case(f"aggregation_{size}_2d", Aggregation(2, 6, 4, 5, size, 2), normal(2, 6, 5, 4))
    case(f"aggregation_{size}_3d", Aggregation(3, 4, 4, 3, size, 1), normal(1, 4, 3, 4, 2))
case("reduction_1", SpatialReduction(2, 8, 2, 1), normal(2, 8, 5, 4))
case("reduction_2", SpatialReduction(2, 8, 2, 2), normal(2, 8, 7, 5))
case("reduction_4", SpatialReduction(2, 8, 1, 4), normal(1, 8, 9, 8))
case("reduction_3d", SpatialReduction(3, 4, 2, 2), normal(1, 4, 4, 5, 2))
for train in (True, False):
    mode = "train" if train else "eval"
    v2 = InvertedResidual(2, 4, 12, 4, 3, 1, 1, F.relu6)
    case(f"inverted_v2_{mode}", v2, normal(2, 4, 7, 5), train=train)
    v3 = {"squeeze": SE(2, 8, 3, F.relu, F.hardsigmoid), "eps": 1e-3, "momentum": 0.01}
    v3 = InvertedResidual(2, 4, 8, 6, 5, 2, 1, F.hardswish, **v3)
    case(f"inverted_v3_{mode}", v3, normal(2, 4, 7, 6), train=train)
efficient = InvertedResidual(2, 6, 6, 6, 3, 1, 1, F.silu, squeeze=SE(2, 6, 2, F.silu))
case("inverted_efficientnet", efficient, normal(2, 6, 5, 4))
case("inverted_dilated", InvertedResidual(2, 4, 8, 4, 3, 1, 2, F.relu6), normal(1, 4, 7, 6))
case("inverted_3d", InvertedResidual(3, 4, 8, 5, 3, 2, 1, F.relu6), normal(1, 4, 4, 5, 3))
# One long vector and its index: as files of their own, 1000 small arrays are mostly headers.
index = json.dumps([[key, value.shape] for key, value in STORE.items()])
numbers = np.concatenate([np.ravel(value) for value in STORE.values()])
np.savez_compressed(Path(__file__).parent / "attention.npz", index=index, numbers=numbers)
