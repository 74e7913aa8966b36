"""Multi-head self-attention whose keys and values come from a smaller map.

PVT: Wang et al. 2021, https://arxiv.org/abs/2102.12122 (equations 2 and 3);
SegFormer: Xie et al. 2021, https://arxiv.org/abs/2105.15203 (equation 2).
"""

import flax.linen as nn
from jaxtyping import Array, Float

from jaxseg.errors import UserError
from jaxseg.layers.attention_map import sow_received
from jaxseg.layers.conv import Conv
from jaxseg.ops import Weighing, attend, to_image, to_tokens


class SpatialReductionAttention(nn.Module):
    """``out(attention(query(x), key_value(norm(reduce(x)))))``, scaled by one over sqrt(c / heads).

    ``reduce`` is a convolution whose kernel is as large as its stride, ``reduction``; an odd rest
    at the end of an axis is left out, as in PyTorch. Without reduction there is neither it nor
    its layer norm. ``key_value`` gives the keys of all heads, then the values. SegFormer's
    equation flattens blocks of the sequence instead; its code has this convolution, as PVT.
    ``dropout`` acts on the attention weights when training (rng ``dropout``).
    """

    heads: int = 1
    reduction: int = 1
    dropout: float = 0.0
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "b *s c"], *, train: bool) -> Float[Array, "b *s c"]:
        """The attended map, of the size of x.

        Raises UserError where heads do not divide channels, or nothing is left.
        """
        self._check(x)
        c, small = x.shape[-1], x
        if self.reduction > 1:
            small = Conv(
                c, kernel_size=self.reduction, stride=self.reduction, padding=0, name="reduce"
            )(x)
            norm = nn.LayerNorm(epsilon=1e-5, dtype=x.dtype, use_fast_variance=False, name="norm")
            small = norm(small)
        query = to_tokens(self._linear(c, "query", self.use_bias)(x), self.heads)
        both = to_tokens(self._linear(2 * c, "key_value", self.use_bias)(small), 2 * self.heads)
        key, value = both[:, :, : self.heads], both[:, :, self.heads :]
        weighing = Weighing(scale=(c // self.heads) ** -0.5, dropout=self.dropout)
        rng = self.make_rng("dropout") if train and self.dropout > 0 else None
        sow_received(self, query, key, small.shape[1:-1], weighing)
        y = to_image(attend(query, key, value, weighing, rng=rng), x.shape[1:-1])
        return self._linear(c, "out", True)(y)

    def _linear(self, features: int, name: str, use_bias: bool) -> Conv:
        return Conv(features, kernel_size=1, use_bias=use_bias, name=name)

    def _check(self, x: Array) -> None:
        c, size = x.shape[-1], x.shape[1:-1]
        if c % self.heads:
            raise UserError(
                f"SpatialReductionAttention {self.name}: heads={self.heads} does not divide {c} "
                f"channels; {max(h for h in range(1, self.heads) if c % h == 0)} does"
            )
        if any(isinstance(n, int) and n < self.reduction for n in size):
            raise UserError(
                f"SpatialReductionAttention {self.name}: reduction={self.reduction} leaves nothing "
                f"of size {size}; at most {min(size)} does"
            )
