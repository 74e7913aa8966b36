"""An encoder with the layers that score a whole image, as its ImageNet weights were trained."""

import re
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.encoders.alexnet import AlexNet
from jaxseg.encoders.densenet import DenseNet
from jaxseg.encoders.mobilenet_v2 import MobileNetV2
from jaxseg.encoders.mobilenet_v3 import MobileNetV3
from jaxseg.encoders.resnet import ResNet
from jaxseg.encoders.vgg import VGG
from jaxseg.encoders.xception import Xception
from jaxseg.encoders.xception_aligned import AlignedXception
from jaxseg.errors import UserError
from jaxseg.layers import Activation
from jaxseg.layers.activation import activated
from jaxseg.ops import adaptive_average_pool
from jaxseg.types import Names


class Classifier(nn.Module):
    """The last feature, ``before``, mean to ``pooled`` pixels a side, hidden layers, scores.

    ``hidden`` are the widths of layers with ``activation``; the pooled map is laid out channel by
    channel, as PyTorch's, so that weights of a first layer after more than one pixel fit.
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
    dtype: str = "float32"

    @property
    def names(self) -> Names:
        """The places of an encoder's classifier by library; the encoder's own are among them."""
        places = _HEADS[type(self.encoder)].places if type(self.encoder) in _HEADS else ()
        ours = [*(f"hidden{i + 1}!" for i in range(len(self.hidden))), "head!"]
        head = tuple((re.escape(place), name) for place, name in zip(places, ours, strict=False))
        of_encoder: Names = getattr(self.encoder, "names", {})
        return {
            library: head + tuple((pattern, f"encoder.{name}") for pattern, name in pairs)
            for library, pairs in of_encoder.items()
        }

    @nn.compact
    def __call__(self, image: Float[Array | np.ndarray, "b *s c"], *, train: bool) -> Array:
        """Scores ``[b num_classes]`` in float32."""
        run: Any = self.encoder
        *_, x = run(jnp.asarray(image, self.dtype), train=train)
        x = activated(self, x, self.before, "before_slope")
        x = adaptive_average_pool(x, (self.pooled,) * (x.ndim - 2))
        x = jnp.moveaxis(x, -1, 1).reshape(x.shape[0], -1)
        for i, width in enumerate(self.hidden, start=1):
            x = nn.Dense(width, dtype=x.dtype, name=f"hidden{i}")(x)
            x = activated(self, x, self.activation, f"hidden{i}_slope")
            x = nn.Dropout(self.dropout, deterministic=not train, name=f"hidden{i}_dropout")(x)
        if not self.hidden:
            x = nn.Dropout(self.dropout, deterministic=not train, name="dropout")(x)
        return nn.Dense(self.num_classes, dtype=jnp.float32, name="head")(x)


class _Head(NamedTuple):
    """The fields of an encoder's classifier, and where its linear layers stand in peers."""

    places: tuple[str, ...]
    fields: dict[str, Any] = {}


_HIDDEN = {"hidden": (4096, 4096), "dropout": 0.5}

_HEADS = {
    AlexNet: _Head(("classifier.1", "classifier.4", "classifier.6"), {**_HIDDEN, "pooled": 6}),
    VGG: _Head(("classifier.0", "classifier.3", "classifier.6"), {**_HIDDEN, "pooled": 7}),
    ResNet: _Head(("fc",)),
    DenseNet: _Head(("classifier",), {"before": "relu"}),
    MobileNetV2: _Head(("classifier.1",), {"dropout": 0.2}),
    MobileNetV3: _Head(
        ("classifier.0", "classifier.3"),
        {"hidden": (1280,), "activation": "hard_swish", "dropout": 0.2},
    ),
    Xception: _Head(("fc",), {"before": "relu"}),
    AlignedXception: _Head(("head.fc",)),
}


def classifier(encoder: nn.Module, num_classes: int = 1000) -> Classifier:
    """The encoder with the classifier of its paper. UserError where none is known."""
    if type(encoder) not in _HEADS:
        known = ", ".join(sorted(cls.__name__ for cls in _HEADS))
        raise UserError(
            f"no classifier is known of {type(encoder).__name__}; it is of {known}, or give "
            "`Classifier` its fields"
        )
    return Classifier(num_classes, encoder, **_HEADS[type(encoder)].fields)
