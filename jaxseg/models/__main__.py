"""Print every network with its paper, parameters and MACs; nothing is compiled or run.

example: python -m jaxseg.models --size 256 --classes 2 --channels 1
"""

import argparse
import gc
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
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
    """The rows of all networks, counted by a process a core: tracing keeps one busy."""
    return _counted([i for name in MODELS for i in _asked(name, classes, ENCODERS)], size, channels)


def rows_of(
    name: str, size: int, classes: int, channels: int, encoders: Iterable[str] | None = None
) -> list[dict[str, Any]]:
    """One row, or one an encoder; counted at the next size from ``size`` on that it takes.

    ``encoders`` None are all.
    """
    asked = _asked(name, classes, ENCODERS if encoders is None else encoders)
    return _counted(asked, size, channels)


def _asked(
    name: str, classes: int, encoders: Iterable[str]
) -> Iterator[tuple[dict[str, Any], nn.Module]]:
    for encoder in encoders if name == WITH_EVERY_ENCODER else (None,):
        fields = {} if encoder in (None, "plain") else {"encoder": encoder}
        paper: Paper = class_of(name).paper  # pyright: ignore[reportAttributeAccessIssue]
        row = {"name": name, "encoder": encoder, **paper._asdict()}
        yield row, create(name, num_classes=classes, **fields)


def _counted(
    asked: Iterable[tuple[dict[str, Any], nn.Module]], size: int, channels: int
) -> list[dict[str, Any]]:
    rows, models = zip(*asked, strict=True)
    sizes = [accepted_size(model, (size, size))[0] for model in models]
    images = [jax.ShapeDtypeStruct((1, n, n, channels), jnp.float32) for n in sizes]
    counts = cost.counted_all(models, images)
    return [r | {"size": n} | c for r, n, c in zip(rows, sizes, counts, strict=True)]


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
