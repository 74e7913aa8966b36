"""An encoder with the layers that score a whole image, as its ImageNet weights were trained."""

import re
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.encoders.alexnet import AlexNet
from jaxseg.encoders.densenet import DenseNet
from jaxseg.encoders.efficientnet_lite import EfficientNetLite
from jaxseg.encoders.mobilenet_v2 import MobileNetV2
from jaxseg.encoders.mobilenet_v3 import MobileNetV3
from jaxseg.encoders.resnet import ResNet
from jaxseg.encoders.vgg import VGG
from jaxseg.encoders.xception import Xception
from jaxseg.encoders.xception_aligned import AlignedXception
from jaxseg.errors import UserError
from jaxseg.layers import Activation, Conv, ConvNorm
from jaxseg.layers.activation import activated
from jaxseg.ops import adaptive_average_pool
from jaxseg.types import Names


class Classifier(nn.Module):
    """The last feature, ``before``, mean to ``pooled`` pixels a side, hidden layers, scores.

    ``hidden`` are the widths of layers with ``activation``; the pooled map is laid out channel by
    channel, as PyTorch's, so that weights of a first layer after more than one pixel fit.
    ``form="conv"`` does so in timm's way, which is the same where that map has ``pooled`` pixels a
    side: the first hidden layer is a convolution over ``pooled`` pixels of the unpooled map (a
    smaller one is enlarged to them), and the mean comes before the scores. ``projected`` is the
    width of a 1x1 convolution with norm and ReLU6 before it all (EfficientNet; 0: none).
    ``dropout`` follows each hidden layer, or precedes the scores where there is none, and needs the
    rng ``dropout``. The head of an encoder's paper: `classifier`.
    """

    num_classes: int
    encoder: nn.Module
    pooled: int = 1
    before: Activation = "none"
    hidden: tuple[int, ...] = ()
    activation: Activation = "relu"
    dropout: float = 0.0
    form: Literal["dense", "conv"] = "dense"
    projected: int = 0
    dtype: str = "float32"

    @property
    def names(self) -> Names:
        """The places of an encoder's classifier by library; the encoder's own are among them."""
        known = _HEADS.get(type(self.encoder), _Head(()))
        of_encoder: Names = getattr(self.encoder, "names", {})
        if known.timm_fields is not None:  # its layers have another layout there
            conv = self.form == "conv"
            of_encoder = {k: v for k, v in of_encoder.items() if (k == "timm") == conv}
        ours = [*(f"hidden{i + 1}!" for i in range(len(self.hidden))), "head!"]
        found: dict[str, tuple[tuple[str, str], ...]] = {}
        for library, pairs in of_encoder.items():
            places = known.timm if library == "timm" and known.timm else known.places
            head = tuple(zip(map(re.escape, places), ours, strict=False))
            head += PROJECTED if self.projected else ()
            found[library] = head + tuple((p, f"encoder.{name}") for p, name in pairs)
        return found

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Array:
        """Scores ``[b num_classes]`` in float32."""
        run: Any = self.encoder
        *_, x = run(jnp.asarray(image, self.dtype), train=train)
        x = activated(self, x, self.before, "before_slope")
        if self.projected:
            epsilon = 1e-5 if getattr(self.encoder, "form", "") == "pytorch" else 1e-3
            fields = {"activation": "relu6", "epsilon": epsilon, "momentum": 0.99}
            x = ConvNorm(self.projected, 1, **fields, name="last_conv")(x, train=train)
        if self.form == "conv":
            x = self._convolved(x, train)
            return nn.Dense(self.num_classes, dtype=jnp.float32, name="head")(x)
        x = adaptive_average_pool(x, (self.pooled,) * (x.ndim - 2))
        x = jnp.moveaxis(x, -1, 1).reshape(x.shape[0], -1)
        for i, width in enumerate(self.hidden, start=1):
            x = nn.Dense(width, dtype=x.dtype, name=f"hidden{i}")(x)
            x = activated(self, x, self.activation, f"hidden{i}_slope")
            x = nn.Dropout(self.dropout, deterministic=not train, name=f"hidden{i}_dropout")(x)
        if not self.hidden:
            x = nn.Dropout(self.dropout, deterministic=not train, name="dropout")(x)
        return nn.Dense(self.num_classes, dtype=jnp.float32, name="head")(x)

    def _convolved(self, x: Array, train: bool) -> Float[Array, "b c"]:
        """The mean of the hidden layers' maps."""
        least = tuple(max(n, self.pooled) for n in x.shape[1:-1])
        x = adaptive_average_pool(x, least)
        for i, width in enumerate(self.hidden, start=1):
            size = self.pooled if i == 1 else 1
            x = Conv(width, size, padding=0, name=f"hidden{i}")(x)
            x = activated(self, x, self.activation, f"hidden{i}_slope")
            x = nn.Dropout(self.dropout, deterministic=not train, name=f"hidden{i}_dropout")(x)
        return x.mean(tuple(range(1, x.ndim - 1)))


PROJECTED = (("conv_head", "last_conv.conv!"), ("bn2", "last_conv.norm!"))
"""timm's places of the convolution before an EfficientNet's mean."""


class _Head(NamedTuple):
    """The fields of an encoder's classifier, and where its linear layers stand in peers.

    ``timm`` are the places there, where they differ, and ``timm_fields`` those of the form there.
    """

    places: tuple[str, ...]
    fields: dict[str, Any] = {}
    timm: tuple[str, ...] = ()
    timm_fields: dict[str, Any] | None = None


_HIDDEN = {"hidden": (4096, 4096), "dropout": 0.5}

_HEADS = {
    AlexNet: _Head(("classifier.1", "classifier.4", "classifier.6"), {**_HIDDEN, "pooled": 6}),
    VGG: _Head(
        ("classifier.0", "classifier.3", "classifier.6"),
        {**_HIDDEN, "pooled": 7},
        ("pre_logits.fc1", "pre_logits.fc2", "head.fc"),
        {**_HIDDEN, "pooled": 7, "form": "conv"},
    ),
    EfficientNetLite: _Head(("classifier",), {"projected": 1280, "dropout": 0.2}),
    ResNet: _Head(("fc",)),
    DenseNet: _Head(("classifier",), {"before": "relu"}),
    MobileNetV2: _Head(("classifier.1",), {"dropout": 0.2}, ("classifier",)),
    MobileNetV3: _Head(
        ("classifier.0", "classifier.3"),
        {"hidden": (1280,), "activation": "hard_swish", "dropout": 0.2},
    ),
    Xception: _Head(("fc",), {"before": "relu"}),
    AlignedXception: _Head(("head.fc",)),
}


def classifier(
    encoder: nn.Module, num_classes: int = 1000, library: Literal["timm"] | None = None
) -> Classifier:
    """The encoder with the classifier of its paper, in the form of ``library`` if that has its own.

    UserError where none is known.
    """
    if type(encoder) not in _HEADS:
        known = ", ".join(sorted(cls.__name__ for cls in _HEADS))
        raise UserError(
            f"no classifier is known of {type(encoder).__name__}; it is of {known}, or give "
            "`Classifier` its fields"
        )
    known = _HEADS[type(encoder)]
    fields = known.timm_fields if library == "timm" else None
    return Classifier(num_classes, encoder, **(known.fields if fields is None else fields))
