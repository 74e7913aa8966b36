"""Print every network with its paper, parameters and MACs; nothing is compiled or run.

example: python -m jaxseg.models --size 256 --classes 2 --channels 1
"""

import argparse
import gc
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from rich.console import Console
from rich.table import Table

from jaxseg import command, cost
from jaxseg.encoders import ENCODERS
from jaxseg.errors import UserError
from jaxseg.models import MODELS, class_of, create
from jaxseg.types import Paper, accepted_size

WITH_EVERY_ENCODER = "unet"
"""The network that is counted with each encoder; the others are with their own."""


def rows(size: int, classes: int, channels: int) -> list[dict[str, Any]]:
    """The rows of all networks."""
    return [row for name in MODELS for row in rows_of(name, size, classes, channels)]


def rows_of(
    name: str, size: int, classes: int, channels: int, encoders: Iterable[str] | None = None
) -> list[dict[str, Any]]:
    """One row, or one an encoder; counted at the next size from ``size`` on that it takes.

    ``encoders`` None are all.
    """
    found = []
    encoders = ENCODERS if encoders is None else encoders
    for encoder in encoders if name == WITH_EVERY_ENCODER else (None,):
        fields = {} if encoder in (None, "plain") else {"encoder": encoder}
        model = create(name, num_classes=classes, **fields)
        paper: Paper = class_of(name).paper  # pyright: ignore[reportAttributeAccessIssue]
        row = {"name": name, "encoder": encoder, **paper._asdict()}
        found.append(row | _count(model, size, channels))
    return found


def _count(model: nn.Module, size: int, channels: int) -> dict[str, int]:
    size, _ = accepted_size(model, (size, size))
    image = jax.ShapeDtypeStruct((1, size, size, channels), jnp.float32)
    return {"size": size, **cost.counted(model, image)}


def main(arguments: Sequence[str]) -> None:
    """The command."""
    parser = command.parser(
        prog="python -m jaxseg.models",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="a JSON list instead of a table")
    parser.add_argument("--size", type=int, default=512, help="pixels a side (default 512)")
    parser.add_argument("--classes", type=int, default=21, help="default 21")
    parser.add_argument("--channels", type=int, default=3, help="of the image (default 3)")
    command.add_debug(parser)
    options = parser.parse_args(arguments)
    for name in ("size", "classes", "channels"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name} must be at least 1")
    found = rows(options.size, options.classes, options.channels)
    if options.json:
        json.dump(found, sys.stdout, indent=2)
        print()
        return
    table = Table("network", "paper")
    for title in ("size", "parameters", "GMACs"):
        table.add_column(title, justify="right")
    for row in found:
        encoder = f" + {row['encoder']}" if row["encoder"] else ""
        paper = f"{row['author']} {row['year']}"
        counts = str(row["size"]), f"{row['parameters']:,}", f"{row['macs'] / 1e9:.2f}"
        table.add_row(row["name"] + encoder, paper, *counts)
    Console().print(table)


if __name__ == "__main__":
    gc.disable()  # which would take a third of the time, for one that ends at once
    command.run(main)
