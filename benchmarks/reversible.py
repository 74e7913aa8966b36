"""Does a training step's memory grow with the blocks of a level, reversible or not?

    python -m benchmarks.reversible [--preset cpu|gpu|smoke] [--blocks 1 2 3 4]
        [--dtype float32|bfloat16]

The step of ``Supervised`` of ``reversible_unet``, compiled and not run, with 1 to 4 blocks on each
side of each level: once with the backward pass that computes activations again, and once with the
same network differentiated by JAX, which keeps them. ``cpu`` is the paper's network on 4 channels
of 64 x 64 x 64, ``gpu`` of 128 x 128 x 128.

Memory is what XLA assigns on this device: ``peak`` are arguments, results and temporaries less what
is donated, ``weights`` the parameters with Adam's two moments, which grow with the blocks whatever
the backward pass does. ``temporaries`` is what the question is about. They are the arrays of XLA's
own program in the order that this backend has chosen: on CPU scratch space inside convolutions is
not among them, and another device has other layouts, another order and its libraries' workspaces.
MACs are those of the forward pass; recomputing costs another one in the backward pass.
Prints a JSON line a network and the table at the end.
"""

from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import timing
from jaxseg import cost, process
from jaxseg.errors import first_line
from jaxseg.models import ReversibleUNet
from jaxseg.optimizers import Adam
from jaxseg.recipes import Supervised
from jaxseg.types import Batch

PAPER = (60, 120, 240, 360, 480)
PRESETS = {"cpu": (64, PAPER), "gpu": (128, PAPER), "smoke": (8, (4, 8))}
"""Edge of the volume, and the widths."""

COLUMNS = {
    "backward": "backward pass",
    "blocks": "blocks a level",
    "gmacs": "GMACs",
    "weights_mib": "weights (MiB)",
    "temporaries_mib": "temporaries (MiB)",
    "peak_mib": "peak (MiB)",
}


def measured(model: ReversibleUNet, edge: int, dtype: Any) -> dict[str, Any]:
    """Memory of the compiled step, in MiB, and MACs of the forward pass."""
    shape = (1, edge, edge, edge)
    image: Any = jax.ShapeDtypeStruct((*shape, 4), jnp.float32)
    label: Any = jax.ShapeDtypeStruct(shape, jnp.int32)
    valid: Any = jax.ShapeDtypeStruct((1,), bool)
    recipe = Supervised(model, optimizer=Adam(), dtype=dtype, schedule_steps=1000)
    batch = Batch(image, label, valid)
    state = jax.eval_shape(recipe.init, jax.random.key(0), batch)
    step = jax.jit(recipe.step, donate_argnums=0, compiler_options=process.compiler_options())
    memory: Any = step.lower(state, batch).compile().memory_analysis()
    counted = cost.counted(model, image)
    found = {
        "weights": 3 * 4 * counted["parameters"],
        "temporaries": memory.temp_size_in_bytes,
        "peak": timing.peak(memory),
    }
    mib = {f"{name}_mib": timing.rounded(size / 2**20) for name, size in found.items()}
    return {"gmacs": timing.rounded(counted["macs"] / 1e9), **mib}


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    parser = timing.parser("reversible", __doc__)
    parser.add_argument("--preset", choices=list(PRESETS), default="cpu")
    parser.add_argument("--blocks", nargs="*", type=int, default=[1, 2, 3, 4])
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    options = parser.parse_args(arguments)
    process.cache_compilations()
    edge, widths = PRESETS[options.preset]
    rows = []
    for backward in ("recompute", "keep"):
        for blocks in options.blocks:
            model = ReversibleUNet(
                3, widths, encoder_blocks=blocks, decoder_blocks=blocks, backward=backward
            )
            row = {"backward": backward, "blocks": blocks, "edge": edge, "dtype": options.dtype}
            try:
                row |= measured(model, edge, options.dtype)
            except Exception as error:  # out of memory: a device plans what it cannot hold
                row["error"] = first_line(error)
            rows.append(timing.line("memory of reversible blocks", row))
    print("\n" + timing.table(rows, COLUMNS))
    return rows


if __name__ == "__main__":
    main()
