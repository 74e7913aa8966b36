"""What is kept of an attention among all pixels, for those who want to look at it."""

from typing import Any

import flax.linen as nn
from jaxtyping import Array, Float

from jaxseg.ops import Weighing, received, to_image


def sow_received(
    module: nn.Module,
    query: Float[Array, "b n h d"],
    key: Float[Array, "b m h d"],
    size: tuple[Any, ...],
    weighing: Weighing,
) -> None:
    """Sow ``attention``, ``[b *size h]``: the share of all queries' attention that each key gets.

    The map itself, n x m numbers, is never whole. ``size`` is that of the keys' image. Nothing is
    computed unless the caller made "intermediates" mutable.
    """
    if module.is_mutable_collection("intermediates"):
        shares = received(query, key, weighing)
        module.sow("intermediates", "attention", to_image(shares[..., None], size))
