"""The networks of ``against_torch`` and the operations of ``layers`` in plain torch.nn.

Written as people write them in PyTorch. Modules are called as in jaxseg, so that weights go over by
name: see ``torch_worker.load``.
"""
# pyright: reportMissingImports=false

import importlib

import torch
from torch import nn

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
NORM = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
POOL = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}


class ConvNorm(nn.Module):
    """Convolution, batch norm, activation."""

    def __init__(self, rank, inputs, outputs, kernel, *, stride=1, groups=1, activation=None):
        super().__init__()
        self.conv = CONV[rank](
            inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False
        )
        self.norm = NORM[rank](outputs)
        self.activation = activation or nn.Identity()

    def forward(self, x):
        """The output ``activation(norm(conv(x)))``."""
        return self.activation(self.norm(self.conv(x)))


def relu():
    """A ReLU in place, as everyone has it."""
    return nn.ReLU(inplace=True)


class Plain(nn.Module):
    """The contracting path."""

    def __init__(self, rank, channels, widths):
        super().__init__()
        self.levels, self.pool = len(widths), POOL[rank](2)
        for level, width in enumerate(widths):
            for i in (1, 2):
                conv = ConvNorm(rank, channels, width, 3, activation=relu())
                self.add_module(f"level{level}_conv{i}", conv)
                channels = width

    def forward(self, x):
        """Features, finest first."""
        features = []
        for level in range(self.levels):
            x = self.pool(x) if level else x
            for i in (1, 2):
                x = getattr(self, f"level{level}_conv{i}")(x)
            features.append(x)
        return features


class Basic(nn.Module):
    """Two 3x3 convolutions beside x, which a 1x1 convolution brings to their shape if need be."""

    def __init__(self, inputs, width, stride):
        super().__init__()
        self.conv1 = ConvNorm(2, inputs, width, 3, stride=stride, activation=relu())
        self.conv2, self.relu = ConvNorm(2, width, width, 3), relu()
        if stride > 1 or inputs != width:
            self.shortcut = ConvNorm(2, inputs, width, 1, stride=stride)

    def forward(self, x):
        """The output ``relu(shortcut(x) + branch(x))``."""
        y = self.conv2(self.conv1(x))
        return self.relu((self.shortcut(x) if hasattr(self, "shortcut") else x) + y)


class ResNet(nn.Module):
    """A ResNet of basic blocks, as in torchvision, without its classifier."""

    def __init__(self, channels, depth):
        super().__init__()
        self.blocks = BLOCKS[depth]
        self.stem_conv = ConvNorm(2, channels, 64, 7, stride=2, activation=relu())
        self.pool = nn.MaxPool2d(3, 2, 1)
        inputs = 64
        for stage, blocks in enumerate(self.blocks, start=1):
            width = 64 * 2 ** (stage - 1)
            for block in range(blocks):
                stride = 2 if stage > 1 and not block else 1
                self.add_module(f"layer{stage}_block{block}", Basic(inputs, width, stride))
                inputs = width

    def forward(self, x):
        """Features of stem and stages, finest first."""
        x = self.stem_conv(x)
        features = [x]
        x = self.pool(x)
        for stage, blocks in enumerate(self.blocks, start=1):
            for block in range(blocks):
                x = getattr(self, f"layer{stage}_block{block}")(x)
            features.append(x)
        return features


class Decoder(nn.Module):
    """The expanding path: transposed convolutions, or nearest neighbours where ``skips`` has None.

    ``skips``: channels of each level, finest first; ``widths``: the levels', coarsest first.
    """

    def __init__(self, rank, inputs, skips, widths, *, transposed):
        super().__init__()
        self.levels = len(skips)
        for level, skip, width in zip(
            reversed(range(self.levels)), reversed(skips), widths, strict=True
        ):
            if transposed:
                up = TRANSPOSED[rank](inputs, width, 2, 2)
                inputs = width
            else:
                up = nn.Upsample(scale_factor=2, mode="nearest")
            self.add_module(f"level{level}_up", up)
            for i, channels in ((1, inputs + skip), (2, width)):
                conv = ConvNorm(rank, channels, width, 3, activation=relu())
                self.add_module(f"level{level}_conv{i}", conv)
            inputs = width

    def forward(self, x, skips):
        """The map at full resolution."""
        for level in reversed(range(self.levels)):
            x = getattr(self, f"level{level}_up")(x)
            x = x if skips[level] is None else torch.cat([x, skips[level]], 1)
            for i in (1, 2):
                x = getattr(self, f"level{level}_conv{i}")(x)
        return x


class UNet(nn.Module):
    """The U-Net on the plain encoder, 2-D or 3-D."""

    def __init__(self, rank, channels, classes, widths):
        super().__init__()
        self.encoder = Plain(rank, channels, widths)
        fine = list(widths[:-1])
        self.decoder = Decoder(rank, widths[-1], fine, fine[::-1], transposed=True)
        self.head = CONV[rank](widths[0], classes, 1)

    def forward(self, x):
        """Logits."""
        *skips, x = self.encoder(x)
        return self.head(self.decoder(x, skips))


class ResNetUNet(nn.Module):
    """The U-Net of segmentation_models_pytorch on a ResNet."""

    def __init__(self, channels, classes, depth=34):
        super().__init__()
        self.encoder = ResNet(channels, depth)
        widths = (256, 128, 64, 32, 16)
        self.decoder = Decoder(2, 512, [0, 64, 64, 128, 256], widths, transposed=False)
        self.head = nn.Conv2d(16, classes, 3, padding=1)

    def forward(self, x):
        """Logits."""
        *skips, x = self.encoder(x)
        return self.head(self.decoder(x, [None, *skips]))


class Separable(nn.Module):
    """A chain of ReLU, depthwise and pointwise convolution, batch norm."""

    def __init__(self, channels, *, inplace):
        super().__init__()
        self.relu = nn.ReLU(inplace=inplace)
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.pointwise_norm = nn.BatchNorm2d(channels)

    def forward(self, x):
        """A map of the same shape."""
        return self.pointwise_norm(self.pointwise(self.depthwise(self.relu(x))))


class XceptionBlock(nn.Module):
    """A block of the middle flow; its first ReLU must leave x, added at the end, as it is."""

    def __init__(self, channels):
        super().__init__()
        for i in (1, 2, 3):
            self.add_module(f"separable{i}", Separable(channels, inplace=i > 1))

    def forward(self, x):
        """The sum of ``x`` and the output of the three convolutions."""
        return x + self.separable3(self.separable2(self.separable1(x)))


class MBConv(nn.Module):
    """EfficientNet's block: expand, depthwise, squeeze and excitation, project; SiLU."""

    def __init__(self, channels, width, kernel, squeezed):
        super().__init__()
        self.expand_conv = nn.Conv2d(channels, width, 1, bias=False)
        self.expand_norm = nn.BatchNorm2d(width)
        self.depthwise_conv = nn.Conv2d(
            width, width, kernel, padding=kernel // 2, groups=width, bias=False
        )
        self.depthwise_norm = nn.BatchNorm2d(width)
        self.squeeze = SqueezeExcitation(width, squeezed)
        self.project_conv = nn.Conv2d(width, channels, 1, bias=False)
        self.project_norm = nn.BatchNorm2d(channels)
        self.activation = nn.SiLU(inplace=True)

    def forward(self, x):
        """The sum of ``x`` and the block's output."""
        y = self.activation(self.expand_norm(self.expand_conv(x)))
        y = self.activation(self.depthwise_norm(self.depthwise_conv(y)))
        return x + self.project_norm(self.project_conv(self.squeeze(y)))


class SqueezeExcitation(nn.Module):
    """Squeeze and excitation with SiLU between, as EfficientNet has it."""

    def __init__(self, channels, width):
        super().__init__()
        self.reduce, self.expand = nn.Conv2d(channels, width, 1), nn.Conv2d(width, channels, 1)
        self.activation = nn.SiLU(inplace=True)

    def forward(self, x):
        """The product of ``x`` and its gate."""
        gate = self.expand(self.activation(self.reduce(x.mean((2, 3), keepdim=True))))
        return x * torch.sigmoid(gate)


# --- single operations ----------------------------------------------------------------------------


def convolution(rank, inputs, outputs, kernel, stride=1, dilation=1, groups=1):
    """A convolution without bias, padded as jaxseg pads."""
    padding = dilation * (kernel - 1) // 2
    return CONV[rank](inputs, outputs, kernel, stride, padding, dilation, groups, bias=False)


def transposed(rank, inputs, outputs, stride, kernel, padding):
    """A transposed convolution without bias."""
    return TRANSPOSED[rank](inputs, outputs, kernel, stride, padding, bias=False)


def pool(rank, window, stride, padding):
    """A pooling to the largest of each window."""
    return POOL[rank](window, stride, padding)


def normalized(kind, rank, channels, groups=None):
    """A norm, then ReLU."""
    if kind == "batch":
        norm, sizes = NORM[rank], (channels,)
    else:
        norm, sizes = nn.GroupNorm, (groups, channels)

    class NormReLU(norm):
        def forward(self, x):
            return torch.relu_(super().forward(x))

    return NormReLU(*sizes)


def upsample(rank, factor, method):
    """An enlargement, nearest, or linear with half-pixel centres."""
    linear = {1: "linear", 2: "bilinear", 3: "trilinear"}
    return nn.Upsample(scale_factor=factor, mode=linear[rank] if method == "linear" else method)


class Peer(nn.Module):
    """A network of a library, by the name of its class or builder there, without dropout."""

    def __init__(self, library, arch, classes, **kwargs):
        super().__init__()
        if library.startswith("torchvision"):
            kwargs |= {"num_classes": classes, "weights": None, "weights_backbone": None}
        else:
            kwargs |= {"classes": classes, "encoder_weights": None}
        self.net = getattr(_library(library), arch)(**kwargs)
        for module in self.net.modules():
            if isinstance(module, nn.Dropout | nn.Dropout2d):
                module.p = 0.0
            elif hasattr(module, "drop_prob"):  # stochastic depth
                module.drop_prob = 0.0

    def forward(self, x):
        """Logits."""
        y = self.net(x)
        return y["out"] if isinstance(y, dict) else y


def _library(name):
    """The module; torchvision for CUDA asks for two operators that torch for CPUs has not."""
    if not torch.cuda.is_available() and not hasattr(torch.ops.torchvision, "nms"):
        _DECLARED.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _DECLARED.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return importlib.import_module(name)


_DECLARED = torch.library.Library("torchvision", "FRAGMENT")

NETWORKS = {
    "peer": Peer,
    "unet": UNet,
    "resnet_unet": ResNetUNet,
    "xception_block": XceptionBlock,
    "mbconv": MBConv,
    "convolution": convolution,
    "transposed": transposed,
    "pool": pool,
    "normalized": normalized,
    "upsample": upsample,
}
