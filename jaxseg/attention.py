"""The attention maps of a network, read out by the names of the modules that compute them.

A module that weighs pixels or channels says so by ``self.sow("intermediates", "attention", map)``,
which costs nothing unless somebody asks for it. One that has several maps calls them
``"channel_attention"``, ``"pixel_attention"``, ...
"""

from collections.abc import Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxseg.errors import UserError

NAME = "attention"


def attention_maps(
    model: nn.Module,
    variables: Mapping[str, Any],
    image: Float[Array | np.ndarray, "b *s c"],
    **side: Array | np.ndarray,
) -> dict[str, Array]:
    """All maps that the network computes for ``image``, as in evaluation; float32, by name.

    A key is the path of the module, such as ``level0_gate``; where it has several maps, their
    names follow (``level0_cbam/channel``), and where it is called again, a number (``gate#2``).
    Maps keep the size that they have in the network:

    - ``[b *s 1]`` are weights of pixels, ``[b 1 ... c]`` of channels, both mostly in (0, 1);
    - where each pixel attends to all, ``[b *s h]`` is the share of all pixels' attention that
      each gets, for each of h heads: it sums to one over the map;
    - ``[b *s r]`` of autofocus are the shares of its r rates, which sum to one at each pixel;
    - ``[b c c]`` are the weights (last axis) by which each channel attends to all.

    ``side`` are what the network takes beside the image. Raises UserError where it has no maps.
    Pure: may be traced and differentiated.
    """

    @jax.jit
    def sown(variables: Any, image: Array, side: Any) -> dict[str, Array]:
        found: Any = model.apply(variables, image, train=False, mutable=["intermediates"], **side)
        maps = _maps(found[1].get("intermediates", {}))
        return {name: a.astype(jnp.float32) for name, a in maps}

    found = sown(variables, image, side)
    if not found:
        raise UserError(
            f"{type(model).__name__} has no attention maps with the fields that it has here; "
            "networks that have some by default are attention_unet, scse_unet, danet and manet, "
            "among others"
        )
    return found


def _maps(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, Array]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _maps(value, (*path, name))
        elif name == NAME or name.endswith(f"_{NAME}"):
            parts = (*path, *([] if name == NAME else [name.removesuffix(f"_{NAME}")]))
            where = "/".join(parts) or NAME
            for call, array in enumerate(value, start=1):
                yield where if call == 1 else f"{where}#{call}", array
