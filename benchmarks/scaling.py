"""What do the devices of a mesh hold, and what do they tell each other?

    python -m benchmarks.scaling [--bandwidth 4.5e11] [--flops 4e14] [--only 8x1x1 1x1x8 ...]
        [--widths 64 128 256 512 1024] [--size 128 128] [--per-device 2]

The training step of a U-Net, compiled (not run) for 8 virtual CPU devices in meshes of
data x fsdp x spatial. Weak scaling: each device has as many pixels as the single device of 1x1x1
(batch x data x fsdp, rows x spatial). Memory is that of one device, as the compiled program states
it; collectives are counted in its text, with the bytes of their results on one device (one inside a
loop counts once; XLA for another platform may join or split them).

**Predictions**, not measurements: the seconds that the bytes take by ring algorithms at
``--bandwidth`` (bytes/s that a device sends), over those that the MACs take at ``--flops``, give an
efficiency without overlap of the two, and with all of it.
"""

import argparse
import dataclasses
import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks import timing
from jaxseg import cost, sharding
from jaxseg.compiled import compile_step
from jaxseg.data import Data, Synthetic
from jaxseg.encoders import Plain
from jaxseg.errors import first_line
from jaxseg.experiment import Experiment
from jaxseg.models import UNet
from jaxseg.recipes import Supervised
from jaxseg.sharding import MeshShape
from jaxseg.types import Batch

DEVICES = 8
MESHES = ("1x1x1", "8x1x1", "1x8x1", "1x1x8", "4x2x1", "4x1x2", "1x4x2", "2x2x2")
COLLECTIVES = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "collective-permute",
    "all-to-all",
)
# ``%x = f32[4,2]{1,0} all-reduce(...)``, or a tuple of types, or the start of an asynchronous pair.
INSTRUCTION = re.compile(rf"= (\(.*?\)|\S+) ({'|'.join(COLLECTIVES)})(-start)?\(")
ARRAY = re.compile(r"\b(pred|[a-z]+\d+)(?:e\d+m\d+\w*)?\[([\d,]*)\]")
GROUPS = re.compile(r"replica_groups=(?:\[(\d+),(\d+)\]|\{\{([\d,]*)\})")


class Collective(NamedTuple):
    """One collective in a device's program: bytes of its result, and devices that take part."""

    kind: str
    bytes: int
    devices: int

    @property
    def sent(self) -> float:
        """Bytes that a device sends in a ring (all-reduce: reduce-scatter, then all-gather)."""
        others = (self.devices - 1) / self.devices
        factors = {
            "all-reduce": 2 * others,
            "all-gather": others,
            "reduce-scatter": self.devices - 1,  # the result is a slice
            "all-to-all": others,
            "collective-permute": 1,
        }
        return factors[self.kind] * self.bytes


def collectives(text: str, devices: int) -> Iterator[Collective]:
    """The collectives in the text of a compiled program of so many devices."""
    for line in text.splitlines():
        found = INSTRUCTION.search(line)
        if found is None:
            continue
        types, kind, start = found.groups()
        sizes = [array_bytes(*array) for array in ARRAY.findall(types)]
        if start and kind != "all-reduce":  # (operands, results): the results are what counts
            sizes = sizes[len(sizes) // 2 :] if len(sizes) % 2 == 0 else sizes[1:]
        yield Collective(kind, sum(sizes), group_size(line, devices))


def array_bytes(dtype: str, shape: str) -> int:
    """The bytes of an array whose type and shape read ``f32`` and ``4,2``."""
    bits = 8 if dtype == "pred" else int(re.sub(r"\D", "", dtype))
    return math.prod(int(n) for n in shape.split(",") if n) * bits // 8


def group_size(line: str, devices: int) -> int:
    """Devices that take part in the collective on that line."""
    found = GROUPS.search(line)
    if found is None:
        return devices
    _, iota, listed = found.groups()
    return int(iota) if iota else len(listed.split(",")) if listed else devices


# --- the step -------------------------------------------------------------------------------------


def experiment(mesh: MeshShape, options: argparse.Namespace) -> tuple[Experiment, Batch]:
    """A U-Net on as many pixels as the mesh's share of work, and a batch to trace with."""
    size = (options.size[0] * mesh.spatial, *options.size[1:])
    model = UNet(2, encoder=Plain(widths=tuple(options.widths)))
    made = Experiment(
        recipe=Supervised(model, dtype=options.dtype),
        data=Data(dataset=Synthetic(size=size), patch=size),
        steps=10,
        batch_size=options.per_device * mesh.data * mesh.fsdp,
        mesh=mesh,
    )
    shape = (made.batch_size, *size)
    image, label = np.zeros((*shape, 1), np.float32), np.zeros(shape, np.int32)
    return made, Batch(image, label, np.ones(shape[0], bool))


def measured(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """The row of one mesh; what XLA or jaxseg refuses is one, too."""
    mesh = MeshShape(*map(int, name.split("x")))
    row: dict[str, Any] = {"mesh": name, "axes": list(sharding.AXES)}
    try:
        chosen, batch = experiment(mesh, options)
        built = mesh.build(jax.devices()[:DEVICES])
        sharding.check_rows(built, chosen.recipe.model, batch.label.shape[1:])
        with jax.set_mesh(built):
            step, _, state = compile_step(chosen, built, batch)
            compiled = step.lower(state, batch).compile()
    except Exception as error:
        return row | {"error": f"{type(error).__name__}: {first_line(error)}"}
    row |= {"batch_size": chosen.batch_size, "size": list(batch.label.shape[1:])}
    row |= {"widths": list(options.widths), "dtype": options.dtype}
    row |= memory(compiled) | counted(compiled.as_text(), math.prod(dataclasses.astuple(mesh)))
    return row | predicted(row, macs_of_a_device(options), options)


def memory(compiled: Any) -> dict[str, Any]:
    """MiB on one device: what the step is given, and the most it holds."""
    found = compiled.memory_analysis()
    peak = (
        found.argument_size_in_bytes
        + found.output_size_in_bytes
        + found.temp_size_in_bytes
        - found.alias_size_in_bytes
    )
    given = found.argument_size_in_bytes
    return {
        "arguments_mib": timing.rounded(given / 2**20),
        "peak_mib": timing.rounded(peak / 2**20),
    }


def counted(text: str, devices: int) -> dict[str, Any]:
    """Number and MiB of each kind of collective, and what a device sends."""
    found = list(collectives(text, devices))
    kinds = {}
    for kind in COLLECTIVES:
        mine = [one for one in found if one.kind == kind]
        mib = timing.rounded(sum(one.bytes for one in mine) / 2**20)
        kinds[kind] = {"count": len(mine), "mib": mib}
    return {"collectives": kinds, "sent_mib": timing.rounded(sum(c.sent for c in found) / 2**20)}


def macs_of_a_device(options: argparse.Namespace) -> int:
    """MACs of the training step of 1x1x1: the forward pass three times."""
    chosen, batch = experiment(MeshShape(data=1), options)
    model = chosen.recipe.model
    image = jax.ShapeDtypeStruct(batch.image.shape, batch.image.dtype)
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image)
    return 3 * cost.macs(lambda v, x: model.apply(v, x, train=False), variables, image)


def predicted(row: dict[str, Any], macs: int, options: argparse.Namespace) -> dict[str, Any]:
    """Weak scaling from bytes and MACs, under a key that says what it is."""
    compute = 2 * macs / options.flops
    talk = row["sent_mib"] * 2**20 / options.bandwidth
    return {
        "prediction": {
            "assumes": {"bytes_per_second": options.bandwidth, "flops": options.flops},
            "compute_seconds": timing.rounded(compute),
            "communication_seconds": timing.rounded(talk),
            "efficiency_without_overlap": timing.rounded(compute / (compute + talk), 3),
            "efficiency_with_overlap": timing.rounded(min(1.0, compute / max(talk, 1e-12)), 3),
        }
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    columns = {
        "mesh": "data x fsdp x spatial",
        "arguments_mib": "state and batch (MiB)",
        "peak_mib": "peak (MiB)",
        **{kind: f"{kind} (n, MiB)" for kind in COLLECTIVES},
        "sent_mib": "sent (MiB)",
        "alone": "prediction: efficiency, no overlap",
        "overlapped": "prediction: full overlap",
    }
    shown = []
    for row in rows:
        kinds = row.get("collectives", {})
        cells = {k: f"{v['count']}, {v['mib']:.3g}" for k, v in kinds.items() if v["count"]}
        prediction = row.get("prediction", {})
        cells["alone"] = prediction.get("efficiency_without_overlap")
        cells["overlapped"] = prediction.get("efficiency_with_overlap")
        shown.append({**row, **cells})
    return timing.table(shown, columns)


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    parser = timing.parser("scaling", __doc__)
    parser.add_argument("--only", nargs="*", choices=MESHES, default=list(MESHES))
    parser.add_argument("--widths", nargs="*", type=int, default=[64, 128, 256, 512, 1024])
    parser.add_argument("--size", nargs=2, type=int, default=[128, 128], help="a device's image")
    parser.add_argument("--per-device", type=int, default=2, help="images")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--bandwidth", type=float, default=4.5e11, help="bytes/s, for predictions")
    parser.add_argument("--flops", type=float, default=4e14, help="FLOP/s, for predictions")
    options = parser.parse_args(arguments)
    if arguments is None:  # before the first use of a device
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", DEVICES)
    rows = [
        timing.line("memory and collectives of a mesh", measured(name, options))
        for name in options.only
    ]
    print("\n" + table(rows))
    return rows


if __name__ == "__main__":
    main()
