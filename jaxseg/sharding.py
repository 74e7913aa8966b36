"""The mesh, and where state and batch live on it.

Three axes: ``data`` and ``fsdp`` split the rows of a batch, ``fsdp`` also holds slices of the
parameters and of the optimizer's state, ``spatial`` splits the rows (first spatial axis) of each
image; XLA exchanges the halos. BatchNorm statistics are global, since the step is one program.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxseg.errors import UserError
from jaxseg.types import BATCH_FIELDS, SPATIAL, Batch, ValidConvolutions, strides_of

AXES = ("data", "fsdp", "spatial")
ROWS = ("data", "fsdp")
"""The axes that split the rows of a batch."""

COARSEST_ROWS = 2
"""Rows of the coarsest map that each device along ``spatial`` holds at least."""

SMALLEST_SLICED = 4096
"""Arrays below this many elements are replicated: gathering them costs more than it saves."""


@dataclass(frozen=True)
class MeshShape:
    """Devices along each axis; -1 takes all that are left."""

    data: int = -1
    fsdp: int = 1
    spatial: int = 1

    def build(self, devices: Sequence[Any] | None = None) -> Mesh:
        """The mesh over the first devices that this shape needs.

        Raises UserError if the devices do not suffice, or if another process would own none.
        """
        devices = list(jax.devices() if devices is None else devices)
        sizes = (self.data, self.fsdp, self.spatial)
        named = " ".join(f"mesh.{axis}={size}" for axis, size in zip(AXES, sizes, strict=True))
        if any(size < 1 and size != -1 for size in sizes) or sizes.count(-1) > 1:
            raise UserError(f"{named}: every axis is at least 1, and one at most is -1")
        known = math.prod(size for size in sizes if size != -1)
        if -1 in sizes:
            if len(devices) % known:
                raise UserError(f"{named}: {len(devices)} devices do not divide by {known}")
            sizes = tuple(len(devices) // known if size == -1 else size for size in sizes)
        count = math.prod(sizes)
        if count > len(devices):
            raise UserError(f"{named} needs {count} devices; this machine has {len(devices)}")
        if jax.process_count() > 1 and count != len(devices):
            raise UserError(f"{named} uses {count} of {len(devices)} devices; set mesh.data=-1")
        if jax.local_device_count() % sizes[2] and jax.process_count() > 1:
            raise UserError(f"mesh.spatial={sizes[2]} must divide the devices of one process")
        return jax.make_mesh(sizes, AXES, axis_types=(AxisType.Auto,) * 3, devices=devices[:count])


def check_batch(mesh: Mesh, batch_size: int, name: str = "batch_size") -> None:
    """Refuse a batch whose rows do not divide over the devices."""
    rows = mesh.shape["data"] * mesh.shape["fsdp"]
    if batch_size % rows:
        below, above = batch_size // rows * rows, (batch_size // rows + 1) * rows
        raise UserError(
            f"{name}={batch_size} does not divide over mesh data x fsdp = {rows} devices; "
            f"use {f'{below} or ' if below else ''}{above}"
        )


def check_rows(mesh: Mesh, model: nn.Module, spatial: tuple[int, ...]) -> None:
    """Refuse images whose rows XLA would split with wrong gradients.

    Where a map comes to have rows that do not divide evenly over ``spatial``, or where strided
    convolutions leave one row a device, XLA's partitioner may return a right loss and a wrong
    gradient, in silence (seen: ResNet-18 at 64 rows, data=2 spatial=2, off by a factor of four).
    So each device must hold at least two whole rows of the coarsest level.
    """
    parts = mesh.shape["spatial"]
    if parts == 1:
        return
    strides = strides_of(model, len(spatial))
    if strides is None or isinstance(model, ValidConvolutions):
        why = "valid convolutions" if isinstance(model, ValidConvolutions) else "stride=None"
        raise UserError(
            f"mesh.spatial={parts}: {type(model).__name__} has {why}, whose rows cannot be split "
            "evenly across devices; set mesh.spatial=1"
        )
    unit = COARSEST_ROWS * strides[0] * parts
    if spatial[0] % unit:
        below, above = spatial[0] // unit * unit, (spatial[0] // unit + 1) * unit
        raise UserError(
            f"data.patch has {spatial[0]} rows; over mesh.spatial={parts} {type(model).__name__} "
            f"needs a multiple of {unit}: {f'{below} or ' if below else ''}{above}"
        )


def of_batch(mesh: Mesh, batch: Batch) -> Batch:
    """Shardings of a batch, by the roles of its fields.

    Rows go over data and fsdp; of what has spatial axes, the first goes over spatial.
    """

    def place(x: Any, role: str) -> NamedSharding:
        spec = PartitionSpec(ROWS, "spatial") if role in SPATIAL else PartitionSpec(ROWS)
        return NamedSharding(mesh, spec)

    return _by_role(place, batch)


def _by_role(place: Callable[..., Any], batch: Batch, *others: Batch) -> Batch:
    """``place(array, role, ...)`` of every array of a batch and of its streams."""
    placed: dict[str, Any] = {}
    for name, value in batch._asdict().items():
        role, rest = BATCH_FIELDS[name], [getattr(other, name) for other in others]
        if role == "batches" and value is not None:
            placed[name] = {k: _by_role(place, v, *(r[k] for r in rest)) for k, v in value.items()}
        else:
            placed[name] = jax.tree.map(lambda x, *r, role=role: place(x, role, *r), value, *rest)
    return Batch(**placed)


def of_state(mesh: Mesh, state: Any) -> Any:
    """Shardings of a state: each large array sliced along its longest axis that fsdp divides."""
    parts = mesh.shape["fsdp"]

    def place(x: Any) -> NamedSharding:
        fitting = [axis for axis, size in enumerate(x.shape) if size % parts == 0]
        if parts == 1 or x.size < SMALLEST_SLICED or not fitting:
            return replicated(mesh)
        longest = max(fitting, key=lambda axis: x.shape[axis])
        return NamedSharding(mesh, PartitionSpec(*(None,) * longest, "fsdp"))

    return jax.tree.map(place, state)


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of what every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def gathered(tree: Any) -> Any:
    """Whole parameters on every device, for use inside a jitted step under ``jax.set_mesh``.

    Without this, XLA answers a sharded convolution kernel with all-to-alls on activations, or
    refuses sizes that do not divide. The transpose scatters the gradient back.
    """
    if jax.sharding.get_abstract_mesh().empty:
        return tree
    return jax.lax.with_sharding_constraint(tree, PartitionSpec())


def microbatches(tree: Any, count: int) -> Any:
    """``[b ...] -> [count b/count ...]``, each device keeping rows that it already holds.

    Raises UserError where the parts do not divide over the devices of the mesh in use.
    """
    shape = jax.sharding.get_abstract_mesh().shape
    devices = math.prod(shape.get(axis, 1) for axis in ROWS)

    def split(x: jax.Array) -> jax.Array:
        if x.shape[0] % (count * devices):
            raise UserError(
                f"recipe.accumulate={count}: {x.shape[0]} rows do not divide into {count} parts "
                f"over mesh data x fsdp = {devices} devices; use a multiple of {count * devices}"
            )
        # Row i goes to microbatch i % count: contiguous slices would move between devices.
        return x.reshape(x.shape[0] // count, count, *x.shape[1:]).swapaxes(0, 1)

    return jax.tree.map(split, tree)


def local_rows(mesh: Mesh, batch_size: int) -> slice:
    """The contiguous rows of every global batch that this process reads."""
    sharding = NamedSharding(mesh, PartitionSpec(ROWS))
    parts = [
        index[0].indices(batch_size)
        for index in sharding.addressable_devices_indices_map((batch_size,)).values()
        if index is not None
    ]
    return slice(min(part[0] for part in parts), max(part[1] for part in parts))


def put(mesh: Mesh, batch: Batch, abstract: Batch) -> Batch:
    """Put this process's rows of a batch where the step expects them.

    ``abstract`` holds the shapes of the global batch, whose streams have rows of their own.
    """

    def place(x: np.ndarray, _: str, whole: Any, sharding: NamedSharding) -> jax.Array:
        return on_mesh(sharding, x, whole.shape)

    return _by_role(place, batch, abstract, of_batch(mesh, abstract))


def on_mesh(sharding: NamedSharding, rows: np.ndarray, shape: tuple[int, ...]) -> jax.Array:
    """The array of that shape of which ``rows`` are this process's part."""
    with jax.transfer_guard_host_to_device("allow"):  # meant: this is where batches move
        return jax.make_array_from_process_local_data(sharding, rows, shape)


def replicated_copy(mesh: Mesh, tree: Any) -> Any:
    """``tree`` whole on every device of the mesh; arrays that lie on a mesh stay where they are."""

    def place(x: Any) -> Any:
        on_mesh = isinstance(getattr(x, "sharding", None), NamedSharding)
        return x if on_mesh else jax.device_put(x, replicated(mesh))

    return jax.tree.map(place, tree)
