"""What would a GPU do in a training step? Asked of XLA's compiler, on a machine that has no GPU.

    pip install 'jax[cuda13]'
    python -m benchmarks.lowered [networks|models|operations] [--only unet31m ...]
        [--dtype bfloat16] [--batch N] [--most 15]

Compiles the step of ``Supervised`` of the networks of ``benchmarks.against_torch`` or of
``benchmarks.models`` (every key), or the value and gradients of each operation of
``benchmarks.layers``, for one H100 (nothing runs, nothing is tuned) and reads the optimised
program: the bytes that each fusion reads and writes, which at the card's bandwidth are
nearly its time, and the convolutions. Maps far larger than the layer's own, or written twice, show
a form that XLA does not fuse; a convolution whose window is as large as an image is a gradient that
it did not recognise, and cuDNN takes many times as long for it.

Prints a JSON line a network or operation, and of networks a table of the largest fusions.
"""

import argparse
import functools
import os
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from benchmarks import timing
from benchmarks.layers import BATCH
from benchmarks.networks import CASES, ROWS, Case
from benchmarks.operations import OPERATIONS, Operation
from jaxseg.errors import first_line
from jaxseg.layers import Norm
from jaxseg.models import create
from jaxseg.recipes import Supervised
from jaxseg.types import Batch

QUESTION = "a step as compiled for a GPU"
BANDWIDTH = 3.0e12
"""Bytes a second of an H100's memory, a copy as measured."""

H100 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152
  shared_memory_per_core: 233472 threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98
  device_memory_size: 84978434048 shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 minor: 0 }
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 13 patch: 0 }
runtime_version { major: 13 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""

BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "f64": 8}
WIDE = 16
"""A window longer than any kernel here is an image's."""


class Program(NamedTuple):
    """One program that the GPU starts."""

    name: str
    kind: str
    made: str
    bytes: int
    source: str
    window: int = 0


def programs(text: str) -> list[Program]:
    """The programs of an optimised HLO module, in no order; what only names memory is left out."""
    bodies: dict[str, list[str]] = {}
    entry, lines = "", []
    for line in text.splitlines():
        opened = re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\{$", line)
        if opened:
            lines = bodies.setdefault(opened[2], [])
            entry = opened[2] if opened[1] else entry
        else:
            lines.append(line)
    return list(_started(bodies, entry))


def _started(bodies: dict[str, list[str]], name: str) -> Iterator[Program]:
    shapes: dict[str, str] = {}
    for line in bodies[name]:
        found = re.match(r"\s*(?:ROOT )?%([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)$", line)
        if not found:
            continue
        name, made, kind, rest = found.groups()
        shapes[name] = made
        if kind in ("parameter", "get-tuple-element", "tuple", "bitcast", "constant"):
            continue
        if kind in ("call", "while", "conditional"):
            for inner in re.findall(r"(?:to_apply|body|calls)=%([\w.\-]+)", rest):
                yield from _started(bodies, inner)
            continue
        target = re.search(r'custom_call_target="([^"]*)"', rest)
        source = re.search(r'op_name="([^"]*)"', rest)
        windows = re.findall(r"window=\{size=([\dx]+)", rest)
        read = re.findall(r"%([\w.\-]+)", rest.split(")")[0])
        if name.startswith("wrapped_slice"):
            read = []  # no more than it makes
        yield Program(
            name,
            target[1] if target else kind,
            made,
            _size(made) + sum(_size(shapes.get(operand, "")) for operand in read),
            source[1] if source else "",
            max((int(n) for w in windows for n in w.split("x")), default=0),
        )


def _size(shape: str) -> int:
    sizes = re.findall(r"(\w+)\[([\d,]*)\]", shape)
    return sum(
        BYTES.get(kind, 0) * int(np.prod([int(n) for n in dims.split(",") if n], dtype=np.int64))
        for kind, dims in sizes
    )


def compiled(function: Callable, *arguments: Any, **how: Any) -> str:
    """The program of a function for one H100; arguments are shapes."""
    device = topologies.get_topology_desc(platform="cuda", target_config=H100, topology="1x1x1")
    there = NamedSharding(Mesh(np.array(device.devices), ("one",)), PartitionSpec())

    def placed(x: Any) -> Any:
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=there)

    lowered = jax.jit(function, **how).lower(*jax.tree.map(placed, arguments))
    options = {
        "xla_gpu_autotune_level": "0",
        "xla_gpu_force_conv_nhwc": True,
        "xla_gpu_enable_triton_gemm": False,  # untuned, it finds no tiles for some
    }
    return lowered.compile(compiler_options=options).as_text() or ""


def gradient(operation: Operation, size: tuple[int, ...], dtype: Any) -> str:
    """The program of an operation's value and gradients."""
    x: Any = jax.ShapeDtypeStruct((*size, operation.channels), dtype)
    variables: Any = {}
    if operation.module is not None:
        how: Any = {"train": True} if isinstance(operation.module, Norm) else {}
        init = functools.partial(operation.module.init, **how)
        variables = jax.eval_shape(init, jax.random.key(0), x)
    above = jax.eval_shape(operation.chosen, variables, x)

    def both(variables: Any, x: Any, above: Any) -> Any:
        y, back = jax.vjp(operation.chosen, variables, x)
        return y, back(above)

    return compiled(both, variables, x, above)


def step(case: Case, size: tuple[int, ...], dtype: Any) -> str:
    """The program of the training step."""
    recipe = Supervised(case.model, dtype=dtype, schedule_steps=1000)
    shapes: Any = (*size, case.channels), size, size[:1]
    kinds: Any = jnp.float32, jnp.int32, jnp.bool_
    image, label, valid = map(jax.ShapeDtypeStruct, shapes, kinds)
    batch = Batch(image, label, valid)  # pyright: ignore[reportArgumentType]
    state = jax.eval_shape(recipe.init, jax.random.key(0), batch)
    return compiled(recipe.step, state, batch, donate_argnums=0)


def row_of(found: list[Program]) -> dict[str, Any]:
    """What is counted of a program."""
    convolutions = [p for p in found if "conv" in p.kind]
    others = sum(p.bytes for p in found if "conv" not in p.kind)
    return {
        "programs": len(found),
        "convolutions": len(convolutions),
        "unrecognised_gradients": sum(p.window > WIDE for p in convolutions),
        "convolution_gigabytes": timing.rounded(sum(p.bytes for p in convolutions) / 1e9, 3),
        "other_gigabytes": timing.rounded(others / 1e9, 3),
        "other_ms_at_bandwidth": timing.rounded(1e3 * others / BANDWIDTH, 3),
    }


def case_of(name: str) -> Case:
    """A network of ``benchmarks.models`` as one of ``benchmarks.against_torch``."""
    row = ROWS[name]
    model = create(row.model, num_classes=row.classes, **row.fields)
    return Case(model, "", {"classes": row.classes}, {"gpu": row.gpu}, row.channels)


def measured(what: str, name: str, options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """The row of a network or an operation, and the table of a network's largest fusions."""
    operation = OPERATIONS[name] if what == "operations" else None
    if operation is not None:
        case, size = None, (BATCH["gpu"][len(operation.size)], *operation.size)
    else:
        case = CASES[name] if what == "networks" else case_of(name)
        size = case.sizes["gpu"]
    size = size if options.batch is None else (options.batch, *size[1:])
    row: dict[str, Any] = {"name": name, "size": list(size), "dtype": options.dtype}
    try:
        if operation is not None:
            text = gradient(operation, size, options.dtype)
        else:
            assert case is not None
            text = step(case, size, options.dtype)
        found = programs(text)
    except Exception as error:  # no plugin, ...
        return row | {"error": first_line(error)}, ""
    table = largest(found, options.most) if case is not None and options.most else ""
    return row | row_of(found) | {"compiled_for": "H100"}, table


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    parser = timing.parser("lowered", __doc__)
    names = {
        "networks": [name for name, case in CASES.items() if "classes" in case.fields],
        "models": list(ROWS),
        "operations": list(OPERATIONS),
    }
    known = sorted({name for some in names.values() for name in some})
    parser.add_argument("what", nargs="?", choices=names, default="networks")
    parser.add_argument("--only", nargs="*", choices=known, metavar="NAME")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--batch", type=int, help="instead of the one measured on GPUs")
    parser.add_argument("--most", type=int, default=15, help="fusions shown of each network")
    options = parser.parse_args(arguments)
    for name in options.only or ():
        if name not in names[options.what]:
            parser.error(f"--only {name}: none of {options.what}")
    os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"  # the plugin looks for a driver
    jax.config.update("jax_platforms", "cpu")  # it compiles only
    rows = []
    for name in options.only or names[options.what]:
        row, table = measured(options.what, name, options)
        rows.append(timing.line(QUESTION, row))
        if table:
            print("\n" + table + "\n")
    print("\n" + timing.table(rows, COLUMNS))
    return rows


COLUMNS = {
    "name": "name",
    "size": "size",
    "convolutions": "convolutions",
    "unrecognised_gradients": "not recognised",
    "convolution_gigabytes": "theirs (GB)",
    "other_gigabytes": "others (GB)",
    "other_ms_at_bandwidth": "others (ms at bandwidth)",
}


def largest(found: list[Program], most: int) -> str:
    """A table of the fusions that move the most."""
    first = sorted((p for p in found if "conv" not in p.kind), key=lambda p: -p.bytes)[:most]
    rows = [
        {"megabytes": round(p.bytes / 1e6), "made": p.made[:60], "source": p.source[-70:]}
        for p in first
    ]
    return timing.table(rows, {"source": "largest fusions", "megabytes": "MB", "made": "made"})


if __name__ == "__main__":
    main()
