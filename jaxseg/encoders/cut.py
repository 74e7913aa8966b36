"""Some of an encoder's features: what decoders of segmentation_models_pytorch are given."""

import re
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxseg.encoders.finest import finest
from jaxseg.encoders.standardize import Standardize, standardized
from jaxseg.errors import require
from jaxseg.layers import Kind
from jaxseg.types import Names


class Cut(nn.Module):
    """The features ``begin`` to ``end`` of an encoder, numbered from the finest on.

    ``deeper="kept"`` gives what lies behind them its parameters, which nothing is computed with, as
    an encoder of segmentation_models_pytorch has them at every ``encoder_depth``. ``first`` is what
    precedes the features: the ``image`` itself, or an ``empty`` map, of half the stride of the
    first and without channels, in the place where a transformer has nothing.

    ``place`` is the encoder's in its peer, such as ``model`` of timm's encoders there. Those of the
    modules ``flat`` are called ``stem_0`` there, not ``stem.0``.
    """

    encoder: nn.Module
    end: int
    begin: int = 0
    first: Literal["none", "empty", "image"] = "none"
    deeper: Literal["kept", "none"] = "kept"
    place: str = ""
    flat: tuple[str, ...] = ()
    standardize: Standardize | None = None

    @property
    def names(self) -> Names:
        """The encoder's; those of timm alone where it has a ``place``."""
        tables: Names = getattr(self.encoder, "names", {})
        if not self.place:
            return {library: _below("", rows) for library, rows in tables.items()}
        rows = tables.get("timm") or tables.get("torchvision", ())
        for module in self.flat:
            dotted, flat = rf"{module}\.", f"{module}_"
            rows = tuple((re.sub(f"^{re.escape(dotted)}", flat, p), n) for p, n in rows)
        return {"segmentation_models_pytorch": _below(rf"{self.place}\.", rows)}

    @property
    def norm(self) -> Kind:
        """The encoder's, for decoders that name none."""
        return self.encoder.norm

    @property
    def strides(self) -> tuple[int, ...]:
        """Down-sampling of each feature, finest first."""
        own = tuple(self.encoder.strides[self.begin : self.end])
        before = {"none": (), "empty": (own[0] // 2,), "image": (1,)}[self.first]
        return before + own

    @nn.compact
    def __call__(
        self, image: Float[Array, "b *s c"], *, train: bool
    ) -> tuple[Float[Array, "b ..."], ...]:
        """A map a stride, finest first. Raises UserError for features that are not there."""
        count = len(self.encoder.strides)
        require(1 <= self.end <= count, "Cut.end", self.end, f"1 to {count}, the encoder's")
        require(0 <= self.begin < self.end, "Cut.begin", self.begin, f"0 to {self.end - 1}")
        run: Any = self.encoder
        x = standardized(image, self.standardize)
        if self.deeper == "kept" and self.is_initializing():
            features = run(x, train=train)[: self.end]
        else:
            features = finest(run, x, self.end, train=train)
        features = features[self.begin :]
        if self.first == "image":
            return (x, *features)
        if self.first == "empty":
            finer = tuple(n // self.strides[0] for n in x.shape[1:-1])
            return (jnp.zeros((x.shape[0], *finer, 0), features[0].dtype), *features)
        return features


def _below(place: str, rows: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple((f"{place}{pattern}", f"encoder.{name}") for pattern, name in rows)
