"""The commands under one name: ``jaxseg train ...`` is ``python -m jaxseg.train ...``.

What a command needs is imported when it is called, so that help and typing errors are quick.
"""

import importlib
import importlib.util
from collections.abc import Sequence

from jaxseg import __version__, command
from jaxseg.errors import unknown

COMMANDS = {
    "train": "train an experiment, or go on with one",
    "evaluate": "score a run on a split of its data",
    "predict": "label images with a run",
    "export": "write a run's network as a file that needs no jaxseg",
    "compress": "make a smaller network of a run's, as a run of its own",
    "import_torch": "make a run of a PyTorch network and its weights",
    "hub": "share a run on the Hugging Face hub or in a folder, or fetch one",
    "inspect": "look at the data of a config before training",
    "config": "print every name of a config that can be typed, with value and type",
    "list": "print the networks, losses, metrics, data sets, ... that there are, with fields",
    "models": "print every network with its paper, parameters and MACs",
}
"""What each command does, by its name and its module's."""

MODULES = {"models": "jaxseg.models.__main__"}
"""Commands that do not lie in the module of their name."""


def main(arguments: Sequence[str]) -> None:
    """Hand the arguments after the first to the command that it names."""
    name, *rest = arguments or ["--help"]
    there = [c for c in COMMANDS if importlib.util.find_spec(f"jaxseg.{c}") is not None]
    if name in ("-h", "--help"):
        _print_help(there)
    elif name == "--version":
        print(f"jaxseg {__version__}")
    elif name not in there:
        raise unknown("no command is called", name, there)
    else:
        importlib.import_module(MODULES.get(name, f"jaxseg.{name}")).main(rest)


def _print_help(there: Sequence[str]) -> None:
    print("usage: jaxseg COMMAND ...\n\nImage segmentation in JAX.\n")
    for name in there:
        print(f"  {name:<13}{COMMANDS[name]}")
    print("\n`jaxseg COMMAND --help` lists the options of a command; --version prints ours.")
    print("example: jaxseg train --config configs/quickstart.py --workdir runs/quickstart")


def run() -> None:
    """What the console script calls."""
    command.run(main)


if __name__ == "__main__":
    run()
