"""Where tests put arrays of a batch that are no `Batch`."""

from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxseg.sharding import ROWS


def by_rows(mesh: Mesh, tree: Any) -> Any:
    """Shardings of arrays: rows over data and fsdp, the second axis over spatial."""

    def place(x):
        spec = PartitionSpec(ROWS, "spatial") if x.ndim > 1 else PartitionSpec(ROWS)
        return NamedSharding(mesh, spec)

    return jax.tree.map(place, tree)
