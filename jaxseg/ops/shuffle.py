"""Pixel shuffle: channels to space and back, any spatial rank.

Shi et al. 2016, "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel
Convolutional Neural Network", https://arxiv.org/abs/1609.05158, equation 4.
"""

from jaxtyping import Array, Shaped

from jaxseg.errors import UserError


def pixel_shuffle(x: Shaped[Array, "b *s c"], factor: int) -> Shaped[Array, "b *t d"]:
    """Channels as pixels: each axis ``factor`` times as long, the channels so many fewer.

    PyTorch's order: channel ``d factor^2 + i factor + j`` becomes pixel (i, j) of channel d's block
    (TensorFlow's depth_to_space has the block's places first). UserError where the channels do
    not divide.
    """
    rank, (b, *sizes, channels) = x.ndim - 2, x.shape
    block = _block("pixel_shuffle", factor, rank)
    if channels % block:
        raise UserError(
            f"pixel_shuffle: {channels} channels do not divide by factor ** {rank} = {block}; "
            f"{max(channels // block, 1) * block} channels would"
        )
    features = channels // block
    x = x.reshape(b, *sizes, features, *(factor,) * rank)
    order = [a for i in range(rank) for a in (1 + i, 2 + rank + i)]
    x = x.transpose(0, *order, 1 + rank)
    return x.reshape(b, *(factor * n for n in sizes), features)


def pixel_unshuffle(x: Shaped[Array, "b *s c"], factor: int) -> Shaped[Array, "b *t d"]:
    """The inverse of ``pixel_shuffle``. UserError where the sizes do not divide."""
    rank, (b, *sizes, channels) = x.ndim - 2, x.shape
    block = _block("pixel_unshuffle", factor, rank)
    if any(isinstance(n, int) and n % factor for n in sizes):
        fits = tuple(max(n // factor, 1) * factor for n in sizes)
        raise UserError(
            f"pixel_unshuffle: an image of {tuple(sizes)} does not divide by factor={factor}; "
            f"{fits} would"
        )
    x = x.reshape(b, *(k for n in sizes for k in (n // factor, factor)), channels)
    x = x.transpose(0, *range(1, 2 * rank, 2), 2 * rank + 1, *range(2, 2 * rank + 1, 2))
    return x.reshape(b, *(n // factor for n in sizes), channels * block)


def _block(layer: str, factor: int, rank: int) -> int:
    if factor < 1:
        raise UserError(f"{layer}: factor={factor}; at least 1 fits")
    return factor**rank
