"""A smaller network of a run's: ``python -m jaxseg.compress --workdir W --output V ...``.

The output is a workdir of its own: evaluate, predict, export and ``jaxseg.load`` take it, and
``init_from`` of another run starts from it.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jax

from jaxseg import checkpoint, command, cost, workdir
from jaxseg.errors import UserError
from jaxseg.experiment import Experiment
from jaxseg.init_from import write_run
from jaxseg.losses import DeepSupervision
from jaxseg.models.unet_plus_plus import prune
from jaxseg.workdir import classes_for

METHODS = {"level": "the network of one level of UNet++ alone; its head's output stays the same"}
"""What each method leaves."""


@dataclasses.dataclass(frozen=True)
class Compressed:
    """What was written: the new run's experiment, and parameters of its and the old network."""

    output: Path
    experiment: Experiment
    before: int
    after: int

    def __str__(self) -> str:
        """The command's last line."""
        share = f"{self.after / self.before:.1%}"
        return f"{self.output}: {self.after:,} parameters, {share} of {self.before:,}"


def compress(
    run: str | Path,
    output: str | Path,
    *,
    method: str,
    level: int | None = None,
    step: int | None = None,
    classes: Iterable[type] = (),
    verify: bool = True,
) -> Compressed:
    """Write the smaller network of a run into the folder ``output``, as a run of no steps.

    It would be trained as the run was, with one head. ``level`` is that of the method "level".
    ``step=None`` is the best checkpoint. ``classes`` are the run's own classes; ``verify=False``
    does not hold the checkpoint against its digests. Raises UserError where the network cannot be
    made smaller in that way, and where the output holds a run; nothing is written then.
    """
    output, run = Path(output), Path(run)
    if method not in METHODS:
        raise UserError(f"--method {method}: must be among {', '.join(METHODS)}")
    if level is None:
        raise UserError("--method level: needs --level, 1 for the smallest network")
    held = [path for pattern in workdir.OUTPUTS for path in output.glob(pattern)]
    if held or output.is_file():
        raise UserError(f"--output {output}: {'holds a run' if held else 'a file'}; name another")
    opened = checkpoint.opened(run, step, classes=classes, verify=verify)
    recipe: Any = opened.experiment.recipe
    try:
        model, variables = prune(recipe.model, opened.variables, level)
    except UserError as error:
        raise UserError(f"{run}: {error}") from error
    changes: dict[str, Any] = {"model": model}
    if hasattr(recipe, "supervision"):
        changes["supervision"] = DeepSupervision()  # weights of heads that are no more
    experiment = dataclasses.replace(
        opened.experiment, recipe=dataclasses.replace(recipe, **changes), init_from={}
    )
    write_run(output, experiment, jax.device_get(variables))
    counts = (cost.parameters(x) for x in (opened.variables, variables))
    return Compressed(output, experiment, *counts)


def main(arguments: Sequence[str]) -> None:
    """The command."""
    parser = command.parser(
        prog="python -m jaxseg.compress",
        description="Write a smaller network of a run's as a run of its own.",
        epilog="example: python -m jaxseg.compress --workdir runs/unet_plus_plus --output "
        "runs/unet_plus_plus_l2 --method level --level 2",
    )
    command.of_a_run(parser, step="make smaller")
    parser.add_argument("--output", type=Path, required=True, help="folder of the new run")
    methods = "; ".join(f"{name}: {what}" for name, what in METHODS.items())
    parser.add_argument("--method", required=True, help=methods)
    parser.add_argument("--level", type=int, help="of UNet++: 1, 2, ...")
    options = parser.parse_args(arguments)
    compressed = compress(
        options.workdir,
        options.output,
        method=options.method,
        level=options.level,
        step=options.step,
        classes=classes_for(options.workdir, options.classes),
        verify=not options.unverified,
    )
    print(compressed)


if __name__ == "__main__":
    command.run(main)
